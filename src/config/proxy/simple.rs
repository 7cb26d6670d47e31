//! Keywords of proxies that take a value or two (configuration manual, 4.2), and those that HAProxy has given up.
//!
//! Not here: keywords with a file of their own.

use super::FormatDraft;
use super::doubts::Turn;
use super::rules::Rank;
use super::{Holder, ProxyLines};
use super::{Settings, Target, UseBackendDraft, UseServerDraft};
use crate::config::Severity;
use crate::config::diag::Report;
use crate::config::line::{Line, Prefix};
use crate::config::log_line::{self, LogLine};
use crate::config::model::{Balance, LogFormat, Mode, Pos, Reuse};
use crate::config::units;
use crate::rules::Text;
use crate::sample::format::{Format, Purpose};
use crate::sample::{self, Condition, Place};

/// Keywords that HAProxy has given up; true when the line was one, which is reported.
pub(super) fn gone(line: &Line, report: &mut Report) -> bool {
    const REQUEST: &str = "Use 'http-request replace-path', 'http-request replace-uri' or 'http-request replace-header' instead.";
    let word = line.arg(0);
    let text = match word {
        "clitimeout" | "contimeout" | "srvtimeout" => {
            let instead = match word {
                "clitimeout" => "client",
                "contimeout" => "connect",
                _ => "server",
            };
            format!("the '{word}' directive is not supported anymore since HAProxy 2.1. Use 'timeout {instead}'.")
        }
        "reqadd" => format!("The '{word}' directive is not supported anymore since HAProxy 2.1. Use 'http-request add-header' instead."),
        "rspadd" => format!("The '{word}' directive is not supported anymore since HAProxy 2.1. Use 'http-response add-header' instead."),
        "reqrep" | "reqirep" | "cliexp" | "srvexp" => {
            format!("The '{word}' directive is not supported anymore since HAProxy 2.1. {REQUEST}")
        }
        "block" => {
            "The 'block' directive is not supported anymore since HAProxy 2.1. Use 'http-request deny' which uses the exact same syntax."
                .to_owned()
        }
        "monitor-net" => "'monitor-net' doesn't exist anymore. Please use 'http-request return status 200 if { src ".to_owned() + line.arg(1) + " }' instead.",
        "grace" => "the 'grace' keyword is not supported any more since HAProxy version 2.5.".to_owned(),
        _ => return false,
    };
    report.alert(&line.pos, text);
    true
}

impl Target<'_> {
    /// Keywords with one value.
    pub fn simple(&mut self, line: &Line) {
        let (word, text) = (line.arg(0), line.arg(1));
        match word {
            "mode" => self.mode(line),
            "disabled" if !line.too_many(0, 0, self.report) => self.settings.disabled = true,
            "enabled" if !line.too_many(0, 0, self.report) => self.settings.disabled = false,
            "maxconn" | "backlog" | "fullconn" | "retries" => self.number(line),
            "balance" => self.balance(line),
            "hash-type" => self.hash_type(line),
            "http-reuse" => self.http_reuse(line),
            "default_backend" => {
                if text.is_empty() {
                    self.report
                        .alert(&line.pos, "'default_backend' expects a backend name.");
                } else if !line.too_many(1, 0, self.report) {
                    self.settings.default_backend = Some((text.to_owned(), line.pos.clone()));
                }
            }
            "log-tag" if text.is_empty() => self
                .report
                .alert(&line.pos, "'log-tag' expects a tag for use in syslog."),
            "log-tag" => self.settings.log_tag = Some(text.to_owned()),
            "bind-process" => {
                self.report.warning(
                    &line.pos,
                    "'bind-process' has no effect, is deprecated, and will be removed in version 2.7.",
                );
            }
            _ => {}
        }
    }

    fn mode(&mut self, line: &Line) {
        if line.too_many(1, 0, self.report) {
            return;
        }
        self.settings.mode = match line.arg(1) {
            "tcp" => Mode::Tcp,
            "http" => Mode::Http,
            "health" => {
                self.report.alert(
                    &line.pos,
                    "'mode health' doesn't exist anymore. Please use 'http-request return status 200' instead.",
                );
                return;
            }
            other => {
                self.report
                    .alert(&line.pos, format!("unknown proxy mode '{other}'."));
                return;
            }
        };
    }

    /// `http-send-name-header NAME`.
    pub fn name_header(&mut self, line: &Line) {
        match line.arg(1) {
            "" => self.report.alert(
                &line.pos,
                "'http-send-name-header' requires a header string.",
            ),
            name => self.settings.name_header = Some(name.into()),
        }
    }

    /// `maxconn`, `backlog`, `fullconn`, `retries`.
    fn number(&mut self, line: &Line) {
        let word = line.arg(0);
        if line.too_many(1, 0, self.report) {
            return;
        }
        if line.arg(1).is_empty() {
            let more = if word == "retries" {
                " (dispatch counts for one)"
            } else {
                ""
            };
            self.report.alert(
                &line.pos,
                format!("'{word}' expects an integer argument{more}."),
            );
            return;
        }
        let count = units::leading_count(line.arg(1));
        let given = (count > 0).then_some(count);
        match word {
            "maxconn" => self.settings.maxconn = given,
            "backlog" => self.settings.backlog = given,
            "fullconn" => self.settings.fullconn = given,
            _ => self.settings.retries = Some(count),
        }
    }

    fn balance(&mut self, line: &Line) {
        let text = line.arg(1);
        let name = text.split('(').next().unwrap_or(text);
        self.settings.balance = match name {
            "" | "roundrobin" => Balance::RoundRobin,
            "static-rr" => Balance::StaticRoundRobin,
            "leastconn" => Balance::LeastConn,
            "first" => Balance::First,
            "source" => Balance::Source,
            "random" | "uri" | "url_param" | "hdr" | "rdp-cookie" | "hash" => {
                self.report.alert(
                    &line.pos,
                    format!(
                        "'balance {name}' is known to HAProxy but not supported by burdock; the nearest that is: \
                         'roundrobin', 'static-rr', 'leastconn', 'first' and 'source'."
                    ),
                );
                return;
            }
            _ => {
                self.report.alert(
                    &line.pos,
                    "balance only supports 'roundrobin', 'static-rr', 'leastconn', 'source', 'uri', 'url_param', \
                     'hdr(name)' and 'rdp-cookie(name)' options.",
                );
                return;
            }
        };
    }

    /// The forms that HAProxy accepts; `balance source` has one hash here.
    fn hash_type(&mut self, line: &Line) {
        let text = match (line.arg(1), line.arg(2), line.arg(3)) {
            (
                "consistent" | "map-based",
                "" | "sdbm" | "djb2" | "wt6" | "crc32",
                "" | "avalanche",
            ) => {
                self.report.notice(
                    &line.pos,
                    "'hash-type' has no effect in burdock: 'balance source' has one hash, which moves few clients when a \
                     server comes or goes.",
                );
                return;
            }
            ("consistent" | "map-based", "" | "sdbm" | "djb2" | "wt6" | "crc32", _) => {
                "'hash-type' only supports 'avalanche' as a modifier for hash functions."
            }
            ("consistent" | "map-based", _, _) => {
                "'hash-type' only supports 'sdbm', 'djb2', 'crc32', or 'wt6' hash functions."
            }
            _ => "'hash-type' only supports 'consistent' and 'map-based'.",
        };
        self.report.alert(&line.pos, text);
    }

    /// Connections to servers are reused as `safe` says, which is HAProxy's default too.
    fn http_reuse(&mut self, line: &Line) {
        let reuse = match line.arg(1) {
            "never" => Reuse::Never,
            "safe" => Reuse::Safe,
            "aggressive" => Reuse::Aggressive,
            "always" => Reuse::Always,
            _ => {
                self.report.alert(
                    &line.pos,
                    "'http-reuse' only supports 'never', 'safe', 'aggressive', 'always'.",
                );
                return;
            }
        };
        if !line.too_many(0, 1, self.report) {
            self.settings.reuse = reuse;
        }
    }

    /// `log` and `no log`.
    pub fn log(&mut self, line: &Line, prefix: Prefix) {
        if prefix == Prefix::No {
            match line.arg(1) {
                "" => self.settings.log.clear(),
                _ => self
                    .report
                    .alert(&line.pos, "log : 'no log' does not expect arguments"),
            }
            return;
        }
        match log_line::parse(line, false) {
            Ok(LogLine::Global)
                if self
                    .settings
                    .log
                    .iter()
                    .any(|log| matches!(log, LogLine::Global)) => {}
            Ok(log) => self.settings.log.push(log),
            Err(text) => self.report.alert(&line.pos, format!("log : {text}")),
        }
    }

    /// Sets the format of the request log; [`Settings::usable_log_format`] says what comes of it.
    pub fn log_format(&mut self, format: LogFormat, pos: &Pos) {
        let word = match &format {
            LogFormat::Http { .. } => "option httplog",
            _ => "option tcplog",
        };
        self.settings.log_format = format;
        self.settings.log_format_pos = Some(pos.clone());
        self.settings.formats.log = None;
        self.overrides(word, pos);
    }
}

impl Settings {
    /// The format that a proxy in this mode can fill in, and whether that is another one than asked for.
    pub fn usable_log_format(&self) -> (LogFormat, bool) {
        if self.formats.log.is_some() {
            let compiled = FormatDraft::compiled(&self.formats.log);
            return (
                compiled.map_or(LogFormat::Connect, LogFormat::Custom),
                false,
            );
        }
        match (&self.log_format, self.mode) {
            (LogFormat::Http { .. }, Mode::Tcp) => (LogFormat::Tcp, true),
            (format, _) => (format.clone(), false),
        }
    }
}

impl ProxyLines<'_> {
    /// `acl NAME CRITERION …`.
    pub fn acl_line(&mut self, holder: Holder, line: &Line) {
        let pos = &line.pos;
        let name = line.arg(1);
        if name == "or" {
            self.report.alert(
                pos,
                "acl name 'or' will never match. 'or' is used to express a logical disjunction within a condition.",
            );
            return;
        }
        let acls = match holder {
            Holder::Proxy(index) => &mut self.proxies[index].acls,
            Holder::Defaults(index) => &mut self.defaults[index].acls,
        };
        match acls.declare(line.from(1)) {
            Ok(warnings) => {
                for warning in warnings {
                    self.report.warning(pos, warning);
                }
            }
            Err(error) => self.report.alert(pos, full_stop(error.to_string())),
        }
    }

    /// `use_backend NAME [if|unless COND]`.
    pub fn use_backend_line(&mut self, index: usize, line: &Line) {
        let pos = &line.pos;
        let backend = line.arg(1).to_owned();
        if backend.is_empty() {
            self.report
                .alert(pos, "'use_backend' expects a backend name.");
            return;
        }
        let text = match self.name_text(index, &backend, Place::FrontendUseBackend) {
            Ok(text) => text,
            Err(error) => {
                let (file, number) = (&pos.file, pos.line);
                let text = format!(
                    "Parsing [{file}:{number}]: failed to parse use_backend rule '{backend}' : {error}."
                );
                self.report.push(Severity::Alert, Some(pos), text);
                return;
            }
        };
        let condition = match line.arg(2) {
            "" => None,
            "if" | "unless" => match self.rule_condition(index, line, 2, Place::FrontendUseBackend)
            {
                Ok(condition) => Some(condition),
                Err(error) => {
                    let text = format!("error detected while parsing switching rule : {error}");
                    self.report.alert(pos, full_stop(text));
                    return;
                }
            },
            other => {
                self.report.alert(
                    pos,
                    format!("unexpected keyword '{other}' after switching rule, only 'if' and 'unless' are allowed."),
                );
                return;
            }
        };
        self.note_order(Holder::Proxy(index), Rank::UseBackend, pos);
        if let Some(condition) = &condition {
            self.note_condition(index, Turn::UseBackend, condition, pos);
        }
        self.proxies[index].use_backend.push(UseBackendDraft {
            backend,
            text,
            condition,
            pos: pos.clone(),
        });
    }

    /// The name of a backend or a server as a text, when there are expressions in it.
    fn name_text(
        &mut self,
        index: usize,
        name: &str,
        place: Place,
    ) -> Result<Option<Text>, String> {
        if !name.contains('%') {
            return Ok(None);
        }
        let draft = &mut self.proxies[index];
        let is_http = draft.settings.mode == Mode::Http;
        let format = Format::parse(
            name.as_bytes(),
            Purpose::Rule,
            (&[place], is_http),
            self.registry,
        )?;
        draft.rules.needs_record |= format.needs_record();
        Ok(Some(Text::format(format)))
    }

    /// `use-server NAME if|unless COND`.
    pub fn use_server_line(&mut self, index: usize, line: &Line) {
        let pos = &line.pos;
        let server = line.arg(1).to_owned();
        if server.is_empty() {
            self.report
                .alert(pos, "'use-server' expects a server name.");
            return;
        }
        if !matches!(line.arg(2), "if" | "unless") {
            self.report.alert(
                pos,
                "'use-server' requires either 'if' or 'unless' followed by a condition.",
            );
            return;
        }
        let place = Place::BackendServerSelection;
        let condition = match self.rule_condition(index, line, 2, place) {
            Ok(condition) => condition,
            Err(error) => {
                let text = format!("error detected while parsing switching rule : {error}");
                self.report.alert(pos, full_stop(text));
                return;
            }
        };
        let text = match self.name_text(index, &server, place) {
            Ok(text) => text,
            Err(error) => {
                let (file, number) = (&pos.file, pos.line);
                let text = format!(
                    "Parsing [{file}:{number}]; use-server rule failed to parse log-format '{server}' : {error}."
                );
                self.report.push(Severity::Alert, Some(pos), text);
                return;
            }
        };
        self.note_order(Holder::Proxy(index), Rank::UseServer, pos);
        self.note_condition(index, Turn::UseServer, &condition, pos);
        self.proxies[index].use_server.push(UseServerDraft {
            server,
            text,
            condition,
            pos: pos.clone(),
        });
    }

    /// The condition that starts at a word, which is `if` or `unless`; what is to be warned of is reported.
    pub fn rule_condition(
        &mut self,
        index: usize,
        line: &Line,
        start: usize,
        place: Place,
    ) -> Result<Condition, sample::Error> {
        let acls = &mut self.proxies[index].acls;
        let (condition, warnings) = sample::parse_condition(line.from(start), acls)?;
        let never = condition.warning_in(place, acls);
        for warning in warnings.into_iter().chain(never) {
            self.report.warning(&line.pos, warning);
        }
        Ok(condition)
    }

    /// `id N`.
    pub fn id_line(&mut self, index: usize, line: &Line) {
        let pos = &line.pos;
        if line.too_many(1, 0, self.report) {
            return;
        }
        if line.arg(1).is_empty() {
            self.report
                .tight_alert(pos, "'id' expects an integer argument.");
            return;
        }
        let id = units::leading_count(line.arg(1));
        if id == 0 {
            self.report.tight_alert(pos, "custom id has to be > 0.");
            return;
        }
        if let Some(other) = self.proxies.iter().find(|other| other.id == Some(id)) {
            let draft = &self.proxies[index];
            let text = format!(
                "{} {} reuses same custom id as {} {} (declared at {}:{}).",
                draft.kind.title(),
                draft.name,
                other.kind.title(),
                other.name,
                other.pos.file,
                other.pos.line
            );
            self.report.tight_alert(pos, text);
            return;
        }
        self.proxies[index].id = Some(id);
    }
}

/// HAProxy ends these messages with a full stop, which the error may have already.
pub(super) fn full_stop(mut text: String) -> String {
    if !text.ends_with(['.', '?']) {
        text.push('.');
    }
    text
}
