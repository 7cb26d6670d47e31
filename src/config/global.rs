//! The `global` section (configuration manual, section 3).
//!
//! Not here: limits that depend on other sections (`resolve`).

use std::path::PathBuf;

use super::ParseOptions;
use super::cpu_map;
use super::diag::{Report, Severity};
use super::keywords;
use super::lexer::Environment;
use super::line::{Line, Prefix};
use super::listen;
use super::log_line::{self, LogLine};
use super::model::{AccessLevel, Global, Pos, StatsSocket};
use super::units::{self, TimeError};
use super::unix_bind::UnixBind;
use super::variables;
use crate::sample::Registry;
use crate::stick::tracked::{STICK_COUNTERS, STICK_COUNTERS_MAX};
use crate::sys::accounts;

/// Bytes of a buffer when `tune.bufsize` is not given.
const BUFFER_BYTES: u32 = 16384;
/// Smallest buffer that holds a request worth forwarding.
const BUFFER_BYTES_MIN: u32 = 1000;
/// `tune.http.logurilen` when it is not given.
const LOGGED_LINE_MAX: u32 = 1024;
/// No log line is longer.
const LOGGED_LINE_LIMIT: u32 = 65535;

/// What the section says so far.
#[derive(Debug)]
pub(super) struct GlobalDraft {
    /// The section, without what is computed at the end.
    pub global: Global,
    /// `localpeer`.
    pub local_peer: Option<String>,
    /// `fd-hard-limit`.
    pub descriptors_max: Option<u64>,
    /// `zero-warning`.
    pub zero_warning: bool,
    /// How many proxies came before the first `stats socket`, which HAProxy counts as a proxy when it numbers them.
    pub control_socket_at: Option<usize>,
    /// `default-path`: what relative paths of files start from.
    pub default_path: DefaultPath,
    /// `unix-bind`.
    pub unix_bind: UnixBind,
    /// `tune.maxrewrite` was given.
    pub rewrite_given: bool,
    user_given: bool,
    group_given: bool,
    spread_given: bool,
    hostname_given: bool,
}

/// `default-path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DefaultPath {
    Current,
    /// The folder of the configuration file.
    Config,
    /// The parent of that folder.
    Parent,
    Origin(PathBuf),
}

impl DefaultPath {
    /// A path of the configuration, as it has to be opened.
    pub fn resolve(&self, path: &str, pos: &Pos) -> PathBuf {
        let folder = std::path::Path::new(&*pos.file)
            .parent()
            .map(PathBuf::from)
            .unwrap_or_default();
        match self {
            DefaultPath::Current => PathBuf::from(path),
            DefaultPath::Config => folder.join(path),
            DefaultPath::Parent => folder.join("..").join(path),
            DefaultPath::Origin(origin) => origin.join(path),
        }
    }
}

impl GlobalDraft {
    pub fn new(options: &ParseOptions) -> GlobalDraft {
        let global = Global {
            daemon: false,
            experimental: false,
            master_worker: false,
            chroot: None,
            uid: None,
            gid: None,
            pidfile: None,
            table_directory: None,
            table_huge_pages: false,
            table_lock: false,
            maxconn: None,
            maxconn_given: false,
            ulimit_n: None,
            busy_polling: false,
            cpus: Vec::new(),
            strict_limits: true,
            stats_sockets: Vec::new(),
            stats_timeout_ms: 10_000,
            logged_line_max: LOGGED_LINE_MAX,
            connection_rate_max: None,
            session_rate_max: None,
            stats_maxconn: 10,
            log: Vec::new(),
            log_tag: None,
            log_hostname: None,
            spread_checks_pct: 0,
            hard_stop_after_ms: None,
            local_peer: String::new(),
            node: None,
            description: None,
            buffer_bytes: BUFFER_BYTES,
            rewrite_bytes: 0,
            headers_max: 101,
            accepts_per_turn_max: 64,
            stick_counters: STICK_COUNTERS as u32,
            peer_updates_max: 200,
        };
        GlobalDraft {
            global,
            local_peer: None,
            descriptors_max: None,
            zero_warning: options.zero_warning,
            control_socket_at: None,
            default_path: DefaultPath::Current,
            unix_bind: UnixBind::default(),
            rewrite_given: false,
            user_given: false,
            group_given: false,
            spread_given: false,
            hostname_given: false,
        }
    }

    /// The name of this node as far as it is known: `-L`, `localpeer`, the host name.
    pub fn local_peer_name<'a>(&'a self, options: &'a ParseOptions) -> &'a str {
        match (&options.local_peer, &self.local_peer) {
            (Some(name), _) | (None, Some(name)) => name,
            (None, None) => &options.host_name,
        }
    }
}

/// A line of the section at work: the draft, and what of the rest a line may look at.
pub(super) struct GlobalLines<'a> {
    pub global: &'a mut GlobalDraft,
    pub report: &'a mut Report,
    pub environment: &'a mut Environment,
    pub options: &'a ParseOptions,
    /// Proxies that came before.
    pub proxy_count: usize,
    /// Peers sections that came before.
    pub peers_count: usize,
    /// What expressions share.
    pub registry: &'a Registry,
}

impl GlobalLines<'_> {
    /// A line of the global section.
    pub fn line(&mut self, line: &Line, prefix: Prefix) {
        if !line.is_supported(keywords::GLOBAL, "global", self.report) {
            return;
        }
        let pos = &line.pos;
        let report = &mut *self.report;
        let draft = &mut *self.global;
        match line.arg(0) {
            "expose-experimental-directives" => {
                draft.global.experimental |= !line.too_many(0, 0, report);
            }
            "daemon" => draft.global.daemon |= !line.too_many(0, 0, report),
            "zero-warning" => draft.zero_warning |= !line.too_many(0, 0, report),
            "busy-polling" if !line.too_many(0, 0, report) => draft.global.busy_polling = prefix == Prefix::None,
            "busy-polling" => {}
            "cpu-map" => {
                if let Some(cpus) = cpu_map::cpus(line, report) {
                    draft.global.cpus = cpus;
                }
            }
            "strict-limits" if !line.too_many(0, 0, report) => draft.global.strict_limits = prefix == Prefix::None,
            "master-worker" => draft.set_master_worker(line, report),
            "chroot" => once_path(line, &mut draft.global.chroot, "a directory", report),
            "burdock.table-directory" => once_path(line, &mut draft.global.table_directory, "a directory", report),
            "burdock.table-huge-pages" => draft.global.table_huge_pages |= !line.too_many(0, 0, report),
            "burdock.table-lock" => draft.global.table_lock |= !line.too_many(0, 0, report),
            "pidfile" => once_path(line, &mut draft.global.pidfile, "a file name", report),
            "maxconn" => draft.maxconn(line, report),
            "maxconnrate" => once_rate(line, &mut draft.global.connection_rate_max, report),
            "maxsessrate" => once_rate(line, &mut draft.global.session_rate_max, report),
            "user" | "uid" => draft.user(line, report),
            "group" | "gid" => draft.group(line, report),
            "spread-checks" => draft.spread_checks(line, report),
            "stats" => {
                if line.arg(1) == "socket" {
                    draft.control_socket_at.get_or_insert(self.proxy_count);
                }
                draft.stats(line, report);
            }
            "log" => draft.log(line, prefix, report),
            "localpeer" => {
                let peers = self.peers_count > 0;
                draft.set_local_peer(line, self.options.local_peer.is_some(), peers, report);
                if let Some(name) = &draft.local_peer {
                    self.environment.insert("HAPROXY_LOCALPEER".into(), name.clone());
                }
            }
            "log-tag" => draft.set_log_tag(line, report),
            "log-send-hostname" => draft.send_hostname(line, &self.options.host_name, report),
            "set-var" => {
                let buffer_bytes = draft.global.buffer_bytes;
                variables::set_var(line, self.registry, (buffer_bytes, self.options.wall_ms), report);
            },
            "set-var-fmt" => {
                let buffer_bytes = draft.global.buffer_bytes;
                variables::set_var_text(line, self.registry, (buffer_bytes, self.options.wall_ms), report);
            },
            "tune.vars.global-max-size" | "tune.vars.proc-max-size" | "tune.vars.sess-max-size"
            | "tune.vars.txn-max-size" | "tune.vars.reqres-max-size" => variables::limit(line, self.registry, report),
            "ulimit-n" | "fd-hard-limit" => draft.descriptors(line, report),
            "hard-stop-after" => draft.hard_stop_after(line, report),
            "node" => draft.node(line, report),
            "description" if line.arg(1).is_empty() => report.tight_alert(pos, "'description' expects a string argument."),
            "description" => draft.global.description = Some(line.from(1).join(" ")),
            "setenv" | "presetenv" | "unsetenv" | "resetenv" => self.environment_line(line),
            "unix-bind" => draft.unix_bind.line(line, report),
            "default-path" => draft.default_path(line, report),
            "nbproc" => report.alert(
                pos,
                "nbproc is not supported any more since HAProxy 2.5. Threads will automatically be used on \
                 multi-processor machines if available.",
            ),
            "nbthread" => nbthread(line, report),
            _ => draft.tune(line, report),
        }
    }

    fn environment_line(&mut self, line: &Line) {
        let keyword = line.arg(0);
        match keyword {
            "setenv" | "presetenv" => {
                if line.arg(2).is_empty() {
                    self.report.tight_alert(
                        &line.pos,
                        format!("'{keyword}' expects a name and a value."),
                    );
                } else if keyword == "setenv" || !self.environment.contains_key(line.arg(1)) {
                    self.environment
                        .insert(line.arg(1).to_owned(), line.arg(2).to_owned());
                }
            }
            "unsetenv" if line.arg(1).is_empty() => {
                self.report
                    .tight_alert(&line.pos, "'unsetenv' expects at least one variable name.");
            }
            "unsetenv" => {
                for name in line.from(1) {
                    self.environment.remove(name);
                }
            }
            _ => {
                let kept = line.from(1);
                self.environment.retain(|name, _| kept.contains(name));
            }
        }
        self.registry.set_environment(self.environment);
    }
}

fn once_path(line: &Line, slot: &mut Option<PathBuf>, what: &str, report: &mut Report) {
    let keyword = line.arg(0);
    if line.too_many(1, 0, report) {
        return;
    }
    if line.arg(1).is_empty() {
        report.alert(
            &line.pos,
            format!("'{keyword}' expects {what} as an argument."),
        );
    } else if slot.is_some() {
        report.remark(
            &line.pos,
            format!("'{keyword}' already specified. Continuing."),
        );
    } else {
        *slot = Some(PathBuf::from(line.arg(1)));
    }
}

fn nbthread(line: &Line, report: &mut Report) {
    if line.too_many(1, 0, report) {
        return;
    }
    let text = line.arg(1);
    match text.parse::<i64>() {
        Err(_) => report.alert(
            &line.pos,
            format!("'nbthread' passed a missing or unparsable integer value in '{text}'"),
        ),
        Ok(1..=64) => {
            report.notice(
                &line.pos,
                "'nbthread' has no effect in burdock: burdock runs one event loop on one thread.",
            );
        }
        Ok(count) => report.alert(
            &line.pos,
            format!("'nbthread' value must be between 1 and 64 (was {count})"),
        ),
    }
}

impl GlobalDraft {
    fn set_master_worker(&mut self, line: &Line, report: &mut Report) {
        match line.arg(1) {
            "" => {}
            "no-exit-on-failure" => report.notice(
                &line.pos,
                "'no-exit-on-failure' has no effect in burdock: a worker that dies is always replaced.",
            ),
            _ => report.alert(&line.pos, "'master-worker' only supports 'no-exit-on-failure' option."),
        }
        self.global.master_worker = true;
    }

    fn maxconn(&mut self, line: &Line, report: &mut Report) {
        if line.too_many(1, 0, report) {
            return;
        }
        if self.global.maxconn_given {
            report.remark(&line.pos, "'maxconn' already specified. Continuing.");
        } else if line.arg(1).is_empty() {
            report.alert(&line.pos, "'maxconn' expects an integer argument.");
        } else {
            let count = units::leading_count(line.arg(1));
            self.global.maxconn_given = count > 0;
            self.global.maxconn = (count > 0).then_some(count);
        }
    }

    fn user(&mut self, line: &Line, report: &mut Report) {
        if line.too_many(1, 0, report) {
            return;
        }
        let (keyword, name) = (line.arg(0), line.arg(1));
        if self.user_given {
            report.remark(&line.pos, "user/uid already specified. Continuing.");
        } else if keyword == "user" {
            match accounts::user_id(name) {
                Some(uid) => (self.global.uid, self.user_given) = (Some(uid), true),
                None => report.alert(
                    &line.pos,
                    format!("cannot find user id for '{name}' (0:Success)"),
                ),
            }
        } else {
            self.global.uid = numeric_id(line, "user", report);
            self.user_given = self.global.uid.is_some_and(|uid| uid != 0);
        }
    }

    fn group(&mut self, line: &Line, report: &mut Report) {
        if line.too_many(1, 0, report) {
            return;
        }
        let (keyword, name) = (line.arg(0), line.arg(1));
        if self.group_given {
            let text = if keyword == "gid" {
                "group/gid already specified. Continuing."
            } else {
                "gid/group was already specified. Continuing."
            };
            report.remark(&line.pos, text);
        } else if keyword == "group" {
            match accounts::group_id(name) {
                Some(gid) => (self.global.gid, self.group_given) = (Some(gid), true),
                None => report.alert(
                    &line.pos,
                    format!("cannot find group id for '{name}' (0:Success)"),
                ),
            }
        } else {
            self.global.gid = numeric_id(line, "group", report);
            self.group_given = self.global.gid.is_some_and(|gid| gid != 0);
        }
    }

    fn spread_checks(&mut self, line: &Line, report: &mut Report) {
        if line.too_many(1, 0, report) {
            return;
        }
        let value = units::leading_number(line.arg(1));
        if self.spread_given {
            let place = format!("parsing [{}:{}]: ", line.pos.file, line.pos.line);
            let text = place + "spread-checks already specified. Continuing.";
            report.push(Severity::Remark, Some(&line.pos), text);
        } else if line.arg(1).is_empty() {
            report.tight_alert(
                &line.pos,
                "'spread-checks' expects an integer argument (0..50).",
            );
        } else {
            self.spread_given = value != 0;
            match u32::try_from(value) {
                Ok(percent @ 0..=50) => self.global.spread_checks_pct = percent,
                _ => report.tight_alert(
                    &line.pos,
                    "'spread-checks' needs a positive value in range 0..50.",
                ),
            }
        }
    }

    fn stats(&mut self, line: &Line, report: &mut Report) {
        let pos = &line.pos;
        match line.arg(1) {
            "socket" => self.stats_socket(line, report),
            "timeout" => match units::time_ms(line.arg(2), 1) {
                Err(TimeError::Overflow) => report.alert(
                    pos,
                    format!("timer overflow in argument '{}' to 'stats timeout' (maximum value is 2147483647 ms or ~24.8 days)", line.arg(2)),
                ),
                Err(TimeError::Character(found)) => {
                    let found = if found == '\0' { String::new() } else { found.to_string() };
                    report.alert(pos, format!("'stats timeout' : unexpected character '{found}'"));
                }
                Ok(0) => report.alert(pos, "'stats timeout' expects a positive value"),
                Ok(timeout) => self.global.stats_timeout_ms = timeout,
            },
            "maxconn" => match units::leading_count(line.arg(2)) {
                0 => report.alert(pos, "'stats maxconn' expects a positive value"),
                count => self.global.stats_maxconn = count,
            },
            "bind-process" => report.notice(pos, "'stats bind-process' has no effect in burdock: there is one worker."),
            other => report.alert(
                pos,
                format!("'stats' only supports 'socket', 'maxconn', 'bind-process' and 'timeout' (got '{other}')"),
            ),
        }
    }

    fn stats_socket(&mut self, line: &Line, report: &mut Report) {
        if line.arg(2).is_empty() {
            report.alert(
                &line.pos,
                "'stats socket' in global section expects an address or a path to a UNIX socket",
            );
            return;
        }
        let addresses = match listen::addresses(line.arg(2)) {
            Ok(addresses) => addresses,
            Err(text) => {
                let (file, number) = (&line.pos.file, line.pos.line);
                report.alert(
                    &line.pos,
                    format!("parsing [{file}:{number}] : 'stats socket' : {text}"),
                );
                return;
            }
        };
        let Some(params) = listen::parameters(line, 3, listen::Owner::StatsSocket, report) else {
            return;
        };
        for address in addresses {
            self.global.stats_sockets.push(StatsSocket {
                address,
                mode: params.mode,
                uid: params.uid,
                gid: params.gid,
                level: params.level.unwrap_or(AccessLevel::Operator),
                expose_listeners: params.expose_listeners,
                pos: line.pos.clone(),
            });
        }
    }

    fn log(&mut self, line: &Line, prefix: Prefix, report: &mut Report) {
        if prefix == Prefix::No {
            match line.arg(1) {
                "" => self.global.log.clear(),
                _ => report.alert(&line.pos, "log : 'no log' does not expect arguments"),
            }
            return;
        }
        match log_line::parse(line, true) {
            Ok(LogLine::Target(target)) => self.global.log.push(target),
            Ok(LogLine::Global) => {}
            Err(text) => report.alert(&line.pos, format!("log : {text}")),
        }
    }

    fn set_log_tag(&mut self, line: &Line, report: &mut Report) {
        if line.too_many(1, 0, report) {
            return;
        }
        match line.arg(1) {
            "" => report.alert(&line.pos, "'log-tag' expects a tag for use in syslog."),
            tag => self.global.log_tag = Some(tag.to_owned()),
        }
    }

    fn set_local_peer(&mut self, line: &Line, flag: bool, peers: bool, report: &mut Report) {
        if line.too_many(1, 0, report) {
            return;
        }
        let name = line.arg(1);
        if name.is_empty() {
            report.alert(&line.pos, "'localpeer' expects a name as an argument.");
        } else if flag {
            report.warning(
                &line.pos,
                "'localpeer' ignored since it is already set by using the '-L' command line argument.",
            );
        } else if peers {
            report.warning(
                &line.pos,
                "'localpeer' ignored since it is used after 'peers' section.",
            );
        } else {
            self.local_peer = Some(name.to_owned());
        }
    }

    fn send_hostname(&mut self, line: &Line, host_name: &str, report: &mut Report) {
        if self.hostname_given {
            report.remark(
                &line.pos,
                "'log-send-hostname' already specified. Continuing.",
            );
            return;
        }
        self.hostname_given = true;
        let name = if line.arg(1).is_empty() {
            host_name
        } else {
            line.arg(1)
        };
        self.global.log_hostname = Some(name.to_owned());
    }

    /// `ulimit-n` and `fd-hard-limit`.
    fn descriptors(&mut self, line: &Line, report: &mut Report) {
        let keyword = line.arg(0);
        if line.too_many(1, 0, report) {
            return;
        }
        let slot = if keyword == "ulimit-n" {
            &mut self.global.ulimit_n
        } else {
            &mut self.descriptors_max
        };
        if slot.is_some() {
            report.remark(
                &line.pos,
                format!("'{keyword}' already specified. Continuing."),
            );
        } else if line.arg(1).is_empty() {
            report.alert(
                &line.pos,
                format!("'{keyword}' expects an integer argument."),
            );
        } else {
            let count = u64::from(units::leading_count(line.arg(1)));
            *slot = (count > 0).then_some(count);
        }
    }

    fn hard_stop_after(&mut self, line: &Line, report: &mut Report) {
        let text = line.arg(1);
        if text.is_empty() {
            report.alert(&line.pos, "'hard-stop-after' expects <time> as argument.");
            return;
        }
        match units::time_ms(text, 1) {
            Ok(time) => self.global.hard_stop_after_ms = Some(time),
            Err(TimeError::Overflow) => report.alert(
                &line.pos,
                format!("timer overflow in argument '{text}' to 'hard-stop-after' (maximum value is 2147483647 ms or ~24.8 days)."),
            ),
            Err(TimeError::Character(found)) => {
                report.alert(&line.pos, format!("unexpected character '{found}' in argument to <hard-stop-after>."));
            }
        }
    }

    fn node(&mut self, line: &Line, report: &mut Report) {
        let name = line.arg(1);
        if name.is_empty()
            || !name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c))
        {
            report.tight_alert(&line.pos,
                "'node' requires valid node name - non-empty string with digits(0-9), letters(A-Z, a-z), dot(.), \
                 hyphen(-) or underscode(_).",
            );
        } else if !line.too_many(1, 0, report) {
            self.global.node = Some(name.to_owned());
        }
    }

    fn default_path(&mut self, line: &Line, report: &mut Report) {
        const MODES: &str = "supported modes include 'current', 'config', 'parent', and 'origin'.";
        self.default_path = match line.arg(1) {
            "current" => DefaultPath::Current,
            "config" => DefaultPath::Config,
            "parent" => DefaultPath::Parent,
            "origin" if line.arg(2).is_empty() => {
                report.alert(
                    &line.pos,
                    "'default-path origin' expects a directory as an argument.",
                );
                return;
            }
            "origin" => DefaultPath::Origin(PathBuf::from(line.arg(2))),
            "" => {
                report.alert(
                    &line.pos,
                    format!("missing default-path mode '' for 'default-path', {MODES}"),
                );
                return;
            }
            other => {
                report.alert(
                    &line.pos,
                    format!("unsupported default-path mode '{other}' for 'default-path', {MODES}"),
                );
                return;
            }
        };
    }

    /// The `tune.` keywords that have an effect.
    fn tune(&mut self, line: &Line, report: &mut Report) {
        let (keyword, text) = (line.arg(0), line.arg(1));
        if line.too_many(1, 0, report) {
            return;
        }
        let value = units::leading_number(text);
        let count = u32::try_from(value).ok();
        if keyword == "tune.peers.max-updates-at-once" {
            match text.parse::<u32>() {
                Ok(updates) if updates > 0 => self.global.peer_updates_max = updates,
                _ => report.alert(
                    &line.pos,
                    format!("'{keyword}' expects an integer argument greater than 0."),
                ),
            }
            return;
        }
        if text.is_empty() {
            report.alert(
                &line.pos,
                format!("'{keyword}' expects an integer argument."),
            );
            return;
        }
        match (keyword, count) {
            ("tune.bufsize", Some(bytes @ 1..BUFFER_BYTES_MIN)) => report.alert(
                &line.pos,
                format!("'tune.bufsize' of {bytes} is too small for burdock, which needs {BUFFER_BYTES_MIN} at least."),
            ),
            ("tune.bufsize", Some(bytes @ BUFFER_BYTES_MIN..)) => {
                // As in HAProxy: the size is a multiple of that of two pointers.
                self.global.buffer_bytes = bytes.saturating_add(15) & !15;
            }
            ("tune.maxrewrite", Some(bytes)) => {
                self.global.rewrite_bytes = bytes;
                self.rewrite_given = true;
            }
            ("tune.bufsize" | "tune.maxrewrite", _) => {
                report.alert(
                    &line.pos,
                    format!("'{keyword}' expects a positive integer argument."),
                );
            }
            ("tune.http.maxhdr", Some(headers @ 1..=32767)) => self.global.headers_max = headers,
            ("tune.http.logurilen", Some(length @ 1..)) => self.global.logged_line_max = length.min(LOGGED_LINE_LIMIT),
            ("tune.http.maxhdr", _) => {
                report.alert(
                    &line.pos,
                    format!("'{keyword}' expects a numeric value between 1 and 32767"),
                );
            }
            ("tune.stick-counters", Some(counters)) if counters <= STICK_COUNTERS_MAX as u32 => {
                self.global.stick_counters = counters;
            }
            ("tune.stick-counters", _) => report.alert(
                &line.pos,
                format!("'{keyword}' expects a number between 0 and {STICK_COUNTERS_MAX}."),
            ),
            // -1 removes the limit; the default stays for 0, as for a value that is not a number.
            ("tune.maxaccept", None) => self.global.accepts_per_turn_max = u32::MAX,
            ("tune.maxaccept", Some(accepts @ 1..)) => self.global.accepts_per_turn_max = accepts,
            _ => {}
        }
    }
}

/// `maxconnrate`, `maxsessrate`: 0 is no limit.
fn once_rate(line: &Line, place: &mut Option<u32>, report: &mut Report) {
    let word = line.arg(0);
    if line.too_many(1, 0, report) {
        return;
    }
    if place.is_some() {
        let text = format!("'{word}' already specified. Continuing.");
        report.remark(&line.pos, text);
        return;
    }
    if line.arg(1).is_empty() {
        let text = format!("'{word}' expects an integer argument.");
        report.alert(&line.pos, text);
        return;
    }
    *place = Some(units::leading_count(line.arg(1))).filter(|rate| *rate > 0);
}

fn numeric_id(line: &Line, named: &str, report: &mut Report) -> Option<u32> {
    let (keyword, text) = (line.arg(0), line.arg(1));
    if text.is_empty() {
        report.alert(
            &line.pos,
            format!("'{keyword}' expects an integer argument."),
        );
        return None;
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        report.warning(
            &line.pos,
            format!(
                " {keyword}: string '{text}' is not a number.\n   | You might want to use the '{named}' parameter to use a \
                 system {named} name."
            ),
        );
    }
    Some(units::leading_count(text))
}
