//! `server`, `server-template` and `default-server` lines (configuration manual, 5.2).
//!
//! Not here: what is only known when all lines are read: ids, duplicates, checks without a port (`resolve`).

use std::net::SocketAddr;

use super::ProxyLines;
use super::Target;
use crate::config::diag::{Report, Severity};
use crate::config::keywords::{self, Support};
use crate::config::line::{self, Line};
use crate::config::model::{Pos, ProxyKind, ServerPort};
use crate::config::suggest;
use crate::config::units::{self, TimeError};
use crate::net::Address;
use crate::net::address::{self, AddressError, Usage};
use crate::net::proxy_protocol::{self, Form};

/// What a `default-server` line can set.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerSettings {
    pub id: Option<u32>,
    pub weight: Option<u32>,
    pub cookie: Option<Box<str>>,
    pub maxconn: u32,
    pub minconn: u32,
    pub maxqueue: u32,
    pub backup: bool,
    pub disabled: bool,
    pub check: bool,
    pub inter_ms: Option<u64>,
    pub fast_inter_ms: Option<u64>,
    pub down_inter_ms: Option<u64>,
    pub rise: Option<u32>,
    pub fall: Option<u32>,
    pub check_address: Option<Address>,
    pub check_port: Option<u16>,
    pub source: Option<SocketAddr>,
    /// `shard` of a peer.
    pub shard: Option<u32>,
    pub send_proxy: Option<Form>,
    pub fast_open: bool,
    /// `proxy-v2-options`.
    pub proxy_options: proxy_protocol::Options,
    pub check_send_proxy: bool,
    pub pool_max: Option<u32>,
    pub pool_purge_ms: Option<u64>,
    /// `init-addr` ends with `none` or an address: a name that cannot be resolved is no error.
    pub init_address: InitAddress,
}

/// `init-addr`: what happens when the name cannot be resolved at start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum InitAddress {
    /// It is an error (the default).
    #[default]
    Required,
    /// The server starts disabled, with a warning.
    Optional,
    /// It is not even tried.
    Never,
    /// This address is used.
    Fixed(std::net::IpAddr),
}

/// A server before ids are given.
#[derive(Clone, Debug)]
pub(crate) struct ServerDraft {
    pub name: String,
    pub pos: Pos,
    pub address: Address,
    pub port: ServerPort,
    /// The host name that could not be resolved.
    pub unresolved: Option<String>,
    pub settings: ServerSettings,
}

/// The line whose words are parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Server,
    DefaultServer,
    /// A peer, or its defaults.
    Peer {
        /// An address precedes the words.
        with_address: bool,
    },
}

impl Owner {
    /// Whether an unknown word may have been meant as the address.
    fn has_no_address(self) -> bool {
        matches!(
            self,
            Owner::DefaultServer
                | Owner::Peer {
                    with_address: false
                }
        )
    }
}

impl ProxyLines<'_> {
    /// `server` and its like in a section that cannot have them; true when reported.
    pub fn server_misplaced(&mut self, line: &Line, kind: Option<ProxyKind>, name: &str) -> bool {
        let (word, pos) = (line.arg(0), &line.pos);
        let place = format!("[{}:{}] : ", pos.file, pos.line);
        match kind {
            None if word == "default-server" => false,
            None => {
                self.report.push(
                    Severity::Alert,
                    Some(pos),
                    format!("{place}'{word}' not allowed in 'defaults' section."),
                );
                true
            }
            Some(ProxyKind::Frontend) => {
                let text = format!(
                    "{place}parsing {place}'{word}' not allowed because frontend '{name}' has no backend capability."
                );
                self.report.push(Severity::Alert, Some(pos), text);
                true
            }
            Some(_) => false,
        }
    }

    /// `server NAME ADDRESS …`, `server-template PREFIX RANGE ADDRESS …`.
    pub fn server_line(&mut self, index: usize, line: &Line) {
        let template = line.arg(0) == "server-template";
        let at = if template { 3 } else { 2 };
        let draft = &mut self.proxies[index];
        let report = &mut *self.report;
        let place = format!("[{}:{}] : ", line.pos.file, line.pos.line);
        if line.arg(at).is_empty() {
            let usage = match template {
                true => {
                    "'server-template' expects <prefix> <nb | range> <addr>[:<port>] as arguments."
                }
                false => "'server' expects <name> and <addr>[:<port>] as arguments.",
            };
            report.push(Severity::Alert, Some(&line.pos), format!("{place}{usage}"));
            return;
        }
        let name = line.arg(1);
        if let Some(bad) = name
            .chars()
            .find(|c| !(c.is_ascii_alphanumeric() || "-_.:".contains(*c)))
        {
            let text =
                format!("{place}character '{bad}' is not permitted in server name '{name}'.");
            report.push(Severity::Alert, Some(&line.pos), text);
            return;
        }
        let names = match template.then(|| range(line.arg(2))) {
            None => vec![name.to_owned()],
            Some(Some((first, last))) => (first..=last)
                .map(|number| format!("{name}{number}"))
                .collect(),
            Some(None) => {
                let text = format!(
                    "{place}Wrong server-template number or range arg '{}'.",
                    line.arg(2)
                );
                report.push(Severity::Alert, Some(&line.pos), text);
                return;
            }
        };
        let who = format!("{place}'server {}/{name}' : ", draft.name);
        let mut unresolved = None;
        let (mut address, port) = match address::parse(line.arg(at), Usage::Server) {
            Ok(parsed) => {
                let port = parsed
                    .offset
                    .map_or(ServerPort::Fixed, ServerPort::FromClient);
                (parsed.address, port)
            }
            Err(AddressError::Unresolved { host, word }) => {
                unresolved = Some(host);
                (unresolved_address(&word), ServerPort::Fixed)
            }
            Err(error) => {
                report.push(Severity::Alert, Some(&line.pos), format!("{who}{error}"));
                return;
            }
        };
        let mut settings = draft.settings.default_server.clone();
        if !parameters(&mut settings, line, at + 1, Owner::Server, &who, report) {
            return;
        }
        if let Some(id) = settings.id
            && let Some(other) = draft
                .servers
                .iter()
                .find(|other| other.settings.id == Some(id))
        {
            let text = format!(
                "{who}'id' : custom id {id} already used at {}:{} ('server {}').",
                other.pos.file, other.pos.line, other.name
            );
            report.push(Severity::Alert, Some(&line.pos), text);
            return;
        }
        let unresolved = unresolved.filter(|host| {
            !resolved_otherwise(host, &mut settings, &mut address, &who, line, report)
        });
        for (number, name) in names.into_iter().enumerate() {
            let mut settings = settings.clone();
            settings.id = settings.id.filter(|_| number == 0);
            draft.servers.push(ServerDraft {
                name,
                pos: line.pos.clone(),
                address: address.clone(),
                port: port.clone(),
                unresolved: unresolved.clone(),
                settings,
            });
        }
    }
}

impl Target<'_> {
    /// `default-server …`.
    pub fn default_server(&mut self, line: &Line) {
        let who = format!("[{}:{}] : ", line.pos.file, line.pos.line);
        let mut settings = self.settings.default_server.clone();
        if parameters(
            &mut settings,
            line,
            1,
            Owner::DefaultServer,
            &who,
            self.report,
        ) {
            self.settings.default_server = settings;
        }
    }
}

/// What of a peer's words has an effect.
#[derive(Clone, Debug, Default)]
pub(crate) struct PeerParams {
    /// `source`.
    pub source: Option<SocketAddr>,
    /// `shard`; 0: all keys.
    pub shard: u32,
    /// `check` and its like, of which HAProxy warns on each line that has or inherits them.
    is_checked: bool,
}

/// Words that change the bytes on a peer's connection or where it leads: refused. All others that we do not support do
/// nothing to a peer in HAProxy either.
const TRANSPORT: &[&str] = &[
    "namespace",
    "proxy-v2-options",
    "send-proxy",
    "send-proxy-v2",
    "send-proxy-v2-ssl",
    "send-proxy-v2-ssl-cn",
    "socks4",
    "ssl",
    "usesrc",
];

/// Words that have an effect on a peer, or a warning of their own.
const PEER_WORDS: &[&str] = &[
    "addr",
    "check",
    "downinter",
    "fall",
    "fastinter",
    "init-addr",
    "inter",
    "port",
    "rise",
    "shard",
    "source",
];

/// The words after the address of a peer, or of `default-server`; only those about transport mean anything there.
/// Whether all were accepted.
pub(crate) fn peer_parameters(
    params: &mut PeerParams,
    line: &Line,
    start: usize,
    with_address: bool,
    who: &str,
    report: &mut Report,
) -> bool {
    let mut settings = ServerSettings {
        source: params.source,
        ..ServerSettings::default()
    };
    let owner = Owner::Peer { with_address };
    let good = parameters(&mut settings, line, start, owner, who, report);
    let word = |wanted: &[&str]| (start..line.len()).any(|at| wanted.contains(&line.arg(at)));
    params.is_checked |= settings.check
        || settings.init_address != InitAddress::Required
        || word(&["resolvers", "agent-check"]);
    params.source = settings.source;
    if let Some(shard) = settings.shard {
        params.shard = shard;
    }
    if params.is_checked && line.arg(0) != "default-server" {
        let text = format!(
            "'{} {}' : init_addr, resolvers, check and agent are ignored for peers.",
            line.arg(0),
            line.arg(1)
        );
        report.warning(&line.pos, text);
    }
    good
}

/// Whether `init-addr` says what to do without the address of a host name: disable the server, or use another address.
fn resolved_otherwise(
    host: &str,
    settings: &mut ServerSettings,
    address: &mut Address,
    who: &str,
    line: &Line,
    report: &mut Report,
) -> bool {
    match settings.init_address {
        InitAddress::Required => return false,
        InitAddress::Optional => {
            let text = format!("{who}could not resolve address '{host}', disabling server.");
            report.push(Severity::Warning, Some(&line.pos), text);
            settings.disabled = true;
        }
        InitAddress::Never => settings.disabled = true,
        InitAddress::Fixed(ip) => {
            if let Address::Inet(address) = address {
                address.set_ip(ip);
            }
        }
    }
    true
}

/// The port of an address whose host is not known.
fn unresolved_address(word: &str) -> Address {
    let port = word
        .rsplit_once(':')
        .map_or(0, |(_, port)| units::leading_count(port));
    Address::Inet(SocketAddr::from((
        [0, 0, 0, 0],
        u16::try_from(port).unwrap_or(0),
    )))
}

/// `N` or `FIRST-LAST`.
fn range(text: &str) -> Option<(u32, u32)> {
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (first.parse().ok()?, last.parse().ok()?),
        None => (1, text.parse().ok()?),
    };
    (first >= 1 && first <= last && last - first < 65536).then_some((first, last))
}

/// The words from `start` on; false when one was refused, which is reported.
fn parameters(
    settings: &mut ServerSettings,
    line: &Line,
    start: usize,
    owner: Owner,
    who: &str,
    report: &mut Report,
) -> bool {
    let mut at = start;
    while at < line.len() {
        let (word, value) = (line.arg(at), line.arg(at + 1));
        let outcome = match keywords::support(keywords::SERVER, word) {
            None => {
                let suggestion = suggest::suggestion(suggest::nearest(keywords::SERVER, word));
                let hint = match (owner.has_no_address(), suggestion.is_empty()) {
                    (true, true) => ". Hint: no address was expected for this server.",
                    (true, false) => " Hint: no address was expected for this server.",
                    (false, true) => ".",
                    (false, false) => "",
                };
                Err(format!("unknown keyword '{word}'{suggestion}{hint}"))
            }
            Some(Support::Refused(_))
                if matches!(owner, Owner::Peer { .. }) && !TRANSPORT.contains(&word) =>
            {
                let text = format!("{who}'{word}' has no effect on a peer.");
                report.push(Severity::Notice, Some(&line.pos), text);
                Ok(0)
            }
            Some(Support::Refused(hint)) => Err(line::refused(word, hint)),
            Some(Support::Full) if word == "shard" && !matches!(owner, Owner::Peer { .. }) => {
                let text = format!("{who}'shard' has no effect on a server that is no peer.");
                report.push(Severity::Notice, Some(&line.pos), text);
                Ok(0)
            }
            Some(Support::NoEffect(reason)) => {
                let text = format!("{who}'{word}' has no effect in burdock: {reason}.");
                report.push(Severity::Notice, Some(&line.pos), text);
                Ok(0)
            }
            Some(Support::Full)
                if matches!(owner, Owner::Peer { .. }) && TRANSPORT.contains(&word) =>
            {
                Err(line::refused(word, ""))
            }
            Some(Support::Full)
                if matches!(owner, Owner::Peer { .. }) && !PEER_WORDS.contains(&word) =>
            {
                let text = format!("{who}'{word}' has no effect on a peer.");
                report.push(Severity::Notice, Some(&line.pos), text);
                parameter(settings, line.arg(1), word, value).map(|()| 0)
            }
            Some(Support::Full) if owner == Owner::DefaultServer && word == "id" => {
                let text = format!("{who}'id' option is not accepted in default-server sections");
                report.push(Severity::Remark, Some(&line.pos), text);
                return false;
            }
            Some(Support::Full) if word == "source" => source(settings, line, at),
            Some(Support::Full) => parameter(settings, line.arg(1), word, value).map(|()| 0),
        };
        match outcome {
            Ok(more) => at += 1 + more + keywords::argument_count(word),
            Err(text) => {
                report.push(Severity::Alert, Some(&line.pos), format!("{who}{text}"));
                return false;
            }
        }
    }
    true
}

/// One word that has an effect.
fn parameter(
    settings: &mut ServerSettings,
    name: &str,
    word: &str,
    value: &str,
) -> Result<(), String> {
    match word {
        "backup" => settings.backup = true,
        "no-backup" => settings.backup = false,
        "disabled" => settings.disabled = true,
        "enabled" => settings.disabled = false,
        "check" => settings.check = true,
        "no-check" => settings.check = false,
        "weight" => {
            let weight = units::leading_number(value);
            let fits = u32::try_from(weight).ok().filter(|weight| *weight <= 256);
            settings.weight = Some(fits.ok_or_else(|| {
                format!("weight of server {name} is not within 0 and 256 ({weight}).")
            })?);
        }
        "cookie" => {
            if value.is_empty() {
                return Err("'cookie' expects <value> as argument.".into());
            }
            settings.cookie = Some(value.into());
        }
        "maxconn" => settings.maxconn = units::leading_count(value),
        "minconn" => settings.minconn = units::leading_count(value),
        "shard" => {
            let shard = value.parse().map_err(|_| {
                format!("'shard' : invalid number '{value}' (an integer is expected).")
            })?;
            settings.shard = Some(shard);
        }
        "maxqueue" => settings.maxqueue = units::leading_count(value),
        "rise" => settings.rise = Some(positive("rise", value)?),
        "fall" => settings.fall = Some(positive("fall", value)?),
        "inter" => settings.inter_ms = Some(delay(name, "inter", value)?),
        "fastinter" => settings.fast_inter_ms = Some(delay(name, "fastinter", value)?),
        "downinter" => settings.down_inter_ms = Some(delay(name, "downinter", value)?),
        "id" => {
            if value.is_empty() {
                return Err("'id' : expects an integer argument.".into());
            }
            match units::leading_count(value) {
                0 => return Err("'id' : custom id has to be > 0.".into()),
                id => settings.id = Some(id),
            }
        }
        "port" => {
            if value.is_empty() {
                return Err("'port' expects a port number as argument.".into());
            }
            let port = units::leading_count(value);
            let port =
                u16::try_from(port).map_err(|_| format!("'port' : invalid port '{port}'."))?;
            settings.check_port = (port > 0).then_some(port);
        }
        "addr" => {
            if value.is_empty() {
                return Err("'addr' expects <ipv4|ipv6> as argument.".into());
            }
            let parsed = address::parse(value, Usage::Plain)
                .map_err(|error| format!("'addr' : {error}."))?;
            settings.check_address = Some(parsed.address);
        }
        "send-proxy" => settings.send_proxy = Some(Form::Text),
        "send-proxy-v2" => {
            settings.send_proxy = Some(Form::Binary(settings.proxy_options));
        }
        "no-send-proxy" | "no-send-proxy-v2" => settings.send_proxy = None,
        "tfo" => settings.fast_open = true,
        "no-tfo" => settings.fast_open = false,
        "check-send-proxy" => settings.check_send_proxy = true,
        "no-check-send-proxy" => settings.check_send_proxy = false,
        "proxy-v2-options" => proxy_options(settings, value)?,
        "pool-max-conn" => {
            let count = units::leading_number(value);
            if count < -1 {
                return Err("'pool-max-conn' must be >= -1.".into());
            }
            settings.pool_max = u32::try_from(count).ok();
        }
        "pool-purge-delay" => settings.pool_purge_ms = Some(time("pool-purge-delay", value)?),
        "init-addr" => settings.init_address = init_address(value)?,
        _ => {}
    }
    Ok(())
}

/// `proxy-v2-options OPTION[,…]`.
fn proxy_options(settings: &mut ServerSettings, value: &str) -> Result<(), String> {
    let options = &mut settings.proxy_options;
    for option in value.split(',') {
        match option {
            "crc32c" => options.has_checksum = true,
            "authority" => options.has_authority = true,
            "unique-id" => options.has_unique_id = true,
            "ssl" | "cert-cn" | "ssl-cipher" | "cert-sig" | "cert-key" => options.has_tls = true,
            other => return Err(format!("'{other}' : proxy v2 option not implemented.")),
        }
    }
    // The words may come in any order.
    if let Some(Form::Binary(sent)) = &mut settings.send_proxy {
        *sent = *options;
    }
    Ok(())
}

fn positive(word: &str, value: &str) -> Result<u32, String> {
    match (value, units::leading_count(value)) {
        ("", _) => Err(format!("'{word}' expects an integer argument.")),
        (_, 0) => Err(format!("'{word}' has to be > 0.")),
        (_, count) => Ok(count),
    }
}

/// A delay of checks, which may not be zero.
fn delay(name: &str, word: &str, value: &str) -> Result<u64, String> {
    if value.is_empty() {
        return Err(format!("'{word}' expects a delay as argument."));
    }
    match units::time_ms(value, 1) {
        Ok(0) => Err(format!(
            "invalid value 0 for argument '{word}' of server {name}."
        )),
        Ok(delay) => Ok(delay),
        Err(TimeError::Overflow) => Err(format!(
            "timer overflow in argument <{value}> to <{word}> of server {name}, maximum value is 2147483647 ms (~24.8 days)."
        )),
        Err(TimeError::Character(found)) => Err(format!(
            "unexpected character '{found}' in '{word}' argument of server {name}."
        )),
    }
}

fn time(word: &str, value: &str) -> Result<u64, String> {
    if value.is_empty() {
        return Err(format!("'{word}' expects <time> as argument."));
    }
    match units::time_ms(value, 1) {
        Ok(time) => Ok(time),
        Err(TimeError::Overflow) => {
            Err(format!("timer overflow in argument <{value}> to <{word}>."))
        }
        Err(TimeError::Character(found)) => Err(format!(
            "unexpected character '{found}' in argument to <{word}>."
        )),
    }
}

/// `source ADDRESS`; returns how many words follow it.
fn source(settings: &mut ServerSettings, line: &Line, at: usize) -> Result<usize, String> {
    let value = line.arg(at + 1);
    if value.is_empty() {
        return Err(
            "'source' expects <addr>[:<port>[-<port>]], and optionally 'usesrc' <addr>, and 'interface' <name> as argument."
                .into(),
        );
    }
    let parsed = address::parse(value, Usage::Plain)
        .map_err(|error| format!("'source {value}' : {error}"))?;
    let Address::Inet(address) = parsed.address else {
        return Err(format!(
            "'source {value}' : invalid address: '{value}' in '{value}'"
        ));
    };
    if parsed.last_port != address.port() {
        return Err("'source' with a range of ports is known to HAProxy but not supported by burdock; the nearest that is: 'source ADDRESS'.".into());
    }
    if let next @ ("usesrc" | "interface") = line.arg(at + 2) {
        return Err(format!(
            "'source' with '{next}' is known to HAProxy but not supported by burdock; the nearest that is: 'source ADDRESS'."
        ));
    }
    settings.source = Some(address);
    Ok(0)
}

fn init_address(value: &str) -> Result<InitAddress, String> {
    let mut tried = false;
    for method in value.split(',') {
        match method {
            "libc" => tried = true,
            // There is no state file to take it from.
            "last" => {}
            "none" if tried => return Ok(InitAddress::Optional),
            "none" => return Ok(InitAddress::Never),
            other => match other.parse() {
                Ok(ip) => return Ok(InitAddress::Fixed(ip)),
                Err(_) => {
                    return Err(format!(
                        "'init-addr' : unknown init-addr method '{other}', supported methods are 'libc', 'last', 'none'."
                    ));
                }
            },
        }
    }
    Ok(InitAddress::Required)
}
