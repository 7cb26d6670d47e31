//! Commands that show something: `show info`, `show stat`, `show servers state`, `show peers` and their like.

use std::fmt::Write as _;
use std::time::SystemTime;

use super::answer::{Answer, Output, Progress, Reply, WholeText};
use super::context::Context;
use super::invocation::Invocation;
use crate::backend::Proxy;
use crate::config::model::AccessLevel;
use crate::log::date_text;
use crate::net::Address;
use crate::peers::{PeersView, ShowPeers};
use crate::stats::{Filter, Form, InfoStyle, Position, Style, info, servers};

/// `show info [typed|json] [float]`.
pub fn show_info(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    let mut style = InfoStyle::default();
    for word in call.options(2) {
        match word {
            b"typed" => style.form = Form::Typed,
            b"json" => style.form = Form::Json,
            b"float" => style.fractions = true,
            _ => {}
        }
    }
    let mut text = Vec::new();
    info::write(&mut text, style, &context.info);
    Reply::Dump(Box::new(WholeText(text)))
}

/// `show version`.
pub fn show_version(_: &Invocation<'_>, _: &mut Context<'_>) -> Reply {
    Reply::info(info::VERSION)
}

/// `show startup-logs`.
pub fn show_startup_logs(_: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    match context.startup_log {
        "" => Reply::info(""),
        log => Reply::text(log),
    }
}

/// `show stat [domain proxy] [{<iid>|<proxy>} <type> <sid>] [typed|json] [up|no-maint]`.
pub fn show_stat(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    let mut first = 2;
    if call.command.word(2) == b"domain" {
        if call.command.word(3) != b"proxy" {
            return Reply::error("Invalid statistics domain.");
        }
        first = 4;
    }
    let mut filter = Filter::default();
    // Fewer than three words select nothing: HAProxy reads them as options then, and so ignores them.
    if !call.command.word(first + 2).is_empty() {
        match select(call, first, context.proxies) {
            Some(selected) => filter = selected,
            None => return Reply::error("No such proxy."),
        }
    }
    let mut form = Form::Csv;
    for word in call.options(first) {
        match word {
            b"typed" => form = Form::Typed,
            b"json" => form = Form::Json,
            b"up" => filter.up = true,
            b"no-maint" => filter.no_maintenance = true,
            _ => {}
        }
    }
    let style = Style {
        form,
        show_addresses: call.level >= AccessLevel::Operator,
        show_server_counts: filter.up || filter.no_maintenance,
        now_ms: context.now_ms,
    };
    Reply::Dump(Box::new(ShowStat {
        filter,
        style,
        position: Position::default(),
    }))
}

/// The three words `<proxy> <type> <sid>` from `first` on; `None` if there is no such proxy.
fn select(call: &Invocation<'_>, first: usize, proxies: &[Proxy]) -> Option<Filter> {
    let name = call.command.text(first);
    let mut filter = Filter::default();
    match name.parse::<i64>() {
        Ok(id) => filter.proxy_id = u32::try_from(id).ok(),
        Err(_) => {
            filter.proxy_id = Some(
                proxies
                    .iter()
                    .find(|proxy| proxy.spec.name == name)?
                    .spec
                    .id,
            )
        }
    }
    // Words that are no numbers count as 0, as atoi(3) has it.
    let number = |index: usize| call.command.text(index).parse::<i64>().unwrap_or(0);
    filter.kinds = number(first + 1) as u32;
    filter.object_id = u32::try_from(number(first + 2)).ok();
    Some(filter)
}

struct ShowStat {
    filter: Filter,
    style: Style,
    position: Position,
}

impl Answer for ShowStat {
    fn poll(&mut self, context: &mut Context<'_>, out: &mut Output<'_>) -> Progress {
        while out.may_go_on() {
            if !self
                .position
                .write_next(out.bytes(), &self.style, &self.filter, context.proxies)
            {
                return Progress::Done;
            }
        }
        Progress::More
    }
}

/// `show servers state [<backend>]`.
pub fn show_servers_state(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    show_servers(call, context, servers::STATE_HEADER, ServerLine::State)
}

/// `show servers conn [<backend>]`.
pub fn show_servers_conn(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    show_servers(
        call,
        context,
        servers::CONNECTIONS_HEADER,
        ServerLine::Connections,
    )
}

fn show_servers(
    call: &Invocation<'_>,
    context: &Context<'_>,
    header: &'static str,
    line: ServerLine,
) -> Reply {
    let name = call.command.text(3);
    let only = match find_backend(context.proxies, name) {
        _ if name.is_empty() => None,
        Some(index) => Some(index),
        None => return Reply::error("Can't find backend."),
    };
    Reply::Dump(Box::new(ShowServers {
        header: Some(header),
        line,
        only,
        proxy: only.unwrap_or(0),
        server: 0,
    }))
}

/// The backend called `name`, or with the id `#name`; tables of HAProxy take both.
pub(super) fn find_backend(proxies: &[Proxy], name: &str) -> Option<usize> {
    let by_id = name.strip_prefix('#').and_then(|id| id.parse::<u32>().ok());
    proxies.iter().position(|proxy| {
        proxy.is_backend() && (proxy.spec.name == name || Some(proxy.spec.id) == by_id)
    })
}

enum ServerLine {
    State,
    Connections,
}

struct ShowServers {
    header: Option<&'static str>,
    line: ServerLine,
    only: Option<usize>,
    proxy: usize,
    server: usize,
}

impl Answer for ShowServers {
    fn poll(&mut self, context: &mut Context<'_>, out: &mut Output<'_>) -> Progress {
        if let Some(header) = self.header.take() {
            out.push(header.as_bytes());
        }
        while out.may_go_on() {
            let Some(proxy) = context.proxies.get(self.proxy) else {
                return Progress::Done;
            };
            let shown = proxy.is_backend() && !proxy.spec.disabled;
            match proxy.servers.get(self.server).filter(|_| shown) {
                Some(server) => {
                    match self.line {
                        ServerLine::State => {
                            servers::write_state(out.bytes(), proxy, server, context.now_ms)
                        }
                        ServerLine::Connections => {
                            servers::write_connections(out.bytes(), proxy, server)
                        }
                    }
                    self.server += 1;
                }
                None if self.only.is_some() => return Progress::Done,
                None => {
                    self.proxy += 1;
                    self.server = 0;
                }
            }
        }
        Progress::More
    }
}

/// `show backend`.
pub fn show_backend(_: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    let mut text = b"# name\n".to_vec();
    for proxy in context
        .proxies
        .iter()
        .filter(|proxy| proxy.is_backend() && !proxy.spec.disabled)
    {
        text.extend_from_slice(proxy.spec.name.as_bytes());
        text.push(b'\n');
    }
    Reply::Dump(Box::new(WholeText(text)))
}

/// `show peers [dict|-] [<section>]`.
pub fn show_peers(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    let dictionaries = call.command.word(2) == b"dict";
    let section_index = if dictionaries || call.command.word(2) == b"-" {
        3
    } else {
        2
    };
    let section = call.command.text(section_index);
    let what = ShowPeers {
        dictionaries,
        section: Some(section).filter(|name| !name.is_empty()),
    };
    let local_time = date_text(SystemTime::now());
    match context
        .peers
        .show(what, context.now_ms, &local_time, context.tables)
    {
        Some(text) => Reply::Dump(Box::new(WholeText(text.into_bytes()))),
        None => Reply::error("No such peers"),
    }
}

/// `show peers lag [<section>]`: not of HAProxy. A section named `lag` is shown by `show peers - lag`.
pub fn show_peers_lag(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    show_peers_view(PeersView::Lag, call, context)
}

/// `show peers errors [<section>]`: not of HAProxy.
pub fn show_peers_errors(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    show_peers_view(PeersView::Errors, call, context)
}

fn show_peers_view(view: PeersView, call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    let section = Some(call.command.text(3)).filter(|name| !name.is_empty());
    let text = context
        .peers
        .show_view(view, section, context.now_ms, context.tables);
    match text {
        Some(text) => Reply::Dump(Box::new(WholeText(text.into_bytes()))),
        None => Reply::error("No such peers"),
    }
}

/// `show cli sockets`.
pub fn show_cli_sockets(_: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    let mut text = String::from("# socket lvl processes\n");
    for socket in context.stats_sockets {
        let level = socket.level.name();
        // Writing to memory does not fail.
        let _ = match &socket.address {
            Address::Inet(address) if address.is_ipv6() => {
                writeln!(text, "ipv6@{address} {level} all")
            }
            Address::Inet(address) => writeln!(text, "ipv4@{address} {level} all"),
            Address::Unix(path) => writeln!(text, "unix@{} {level} all", path.display()),
            Address::Abstract(name) => {
                writeln!(text, "abns@{} {level} all", String::from_utf8_lossy(name))
            }
            Address::Fd(fd) => writeln!(text, "sockpair@{fd} {level} all"),
        };
    }
    Reply::Dump(Box::new(WholeText(text.into_bytes())))
}

/// `show env [<name>]`.
pub fn show_env(call: &Invocation<'_>, _: &mut Context<'_>) -> Reply {
    if call.level < AccessLevel::Operator {
        return Reply::permission_denied();
    }
    let name = call.command.text(2);
    if name.is_empty() {
        let mut text = Vec::new();
        for (name, value) in std::env::vars_os() {
            use std::os::unix::ffi::OsStrExt;
            text.extend_from_slice(name.as_bytes());
            text.push(b'=');
            text.extend_from_slice(value.as_bytes());
            text.push(b'\n');
        }
        return Reply::Dump(Box::new(WholeText(text)));
    }
    // A name that cannot be one (`=` or a zero byte in it) is in no environment.
    match std::env::vars_os().find(|(known, _)| known == name) {
        Some((_, value)) => Reply::info(format_args!("{name}={}", value.to_string_lossy())),
        None => Reply::error("Variable not found"),
    }
}
