//! `defaults`, `frontend`, `listen` and `backend` sections (configuration manual, section 4).
//!
//! A section starts from the settings of its defaults section ([`Settings`], which are copied) and adds what only a proxy can have
//! ([`Draft`]). Names are resolved to indices when all files are read.
//! Not here: the keywords that fill a page of their own (`options`, `timeouts`, `bind`, `server`, `stick`, `table`, `check`).

mod bind;
mod check;
mod cookie;
mod doubts;
mod format;
mod keepalive;
mod options;
mod pages;
mod retry;
mod rules;
mod server;
mod simple;
mod stick;
mod table;
mod timeouts;

pub(super) use bind::BindDraft;
pub(super) use check::CheckDraft;
pub(super) use doubts::Doubts;
pub(super) use format::{FormatDraft, Formats, compile as compile_formats};
pub(super) use pages::PagesDraft;
pub(super) use rules::PageLink;
pub(super) use server::{PeerParams, ServerDraft, ServerSettings, peer_parameters};
pub(super) use stick::StickDraft;
pub(super) use table::{TableDraft, parse_table};

use std::rc::Rc;

use super::diag::Report;
use super::global::GlobalDraft;
use super::keywords;
use super::line::{Line, Prefix, Stop, invalid_name};
use super::log_line::LogLine;
use super::model::{
    Balance, Captures, LogFormat, Mode, Options, PersistCookie, PersistRule, Pos, ProxyKind,
    RetryOn, Reuse, Timeouts,
};
use crate::rules::{RuleSets, SetKind, Text};
use crate::sample::{AclSet, Condition, Registry};

/// What a defaults section can set.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub mode: Mode,
    pub disabled: bool,
    pub maxconn: Option<u32>,
    pub backlog: Option<u32>,
    pub fullconn: Option<u32>,
    pub retries: Option<u32>,
    pub retry_on: RetryOn,
    pub reuse: Reuse,
    pub options: Options,
    pub timeouts: Timeouts,
    pub log: Vec<LogLine>,
    pub log_tag: Option<String>,
    pub log_format: LogFormat,
    /// Where it was asked for.
    pub log_format_pos: Option<Pos>,
    /// The words that asked for it, those of `log-format` too.
    pub log_format_word: Option<&'static str>,
    pub formats: Formats,
    pub default_backend: Option<(String, Pos)>,
    pub balance: Balance,
    pub check: CheckDraft,
    /// In order; a later one prevails.
    pub error_pages: Vec<PagesDraft>,
    pub monitor_uri: Option<String>,
    pub default_server: ServerSettings,
    pub cookie: Option<Rc<PersistCookie>>,
    pub dynamic_cookie_key: Option<Rc<str>>,
    /// `http-send-name-header`.
    pub name_header: Option<Box<str>>,
    /// `tcp-request inspect-delay`, `tcp-response inspect-delay`.
    pub inspect_request_ms: Option<u64>,
    pub inspect_response_ms: Option<u64>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            mode: Mode::Tcp,
            disabled: false,
            maxconn: None,
            backlog: None,
            fullconn: None,
            retries: None,
            retry_on: RetryOn::default(),
            reuse: Reuse::default(),
            options: Options::default(),
            timeouts: Timeouts::default(),
            log: Vec::new(),
            log_tag: None,
            log_format: LogFormat::default(),
            log_format_pos: None,
            log_format_word: None,
            formats: Formats::default(),
            default_backend: None,
            balance: Balance::default(),
            check: CheckDraft::default(),
            error_pages: Vec::new(),
            monitor_uri: None,
            default_server: ServerSettings::default(),
            cookie: None,
            dynamic_cookie_key: None,
            name_header: None,
            inspect_request_ms: None,
            inspect_response_ms: None,
        }
    }
}

/// A defaults section.
#[derive(Debug)]
pub(super) struct Defaults {
    /// Empty when anonymous.
    pub name: String,
    pub pos: Pos,
    pub settings: Settings,
    pub acls: AclSet,
    pub rules: RuleSets,
    /// Which sections have taken its rules.
    rules_users: Option<ProxyKind>,
    /// As in [`Draft::final_sets`].
    final_sets: u8,
    /// The timeouts that it started from, to tell an overwritten one.
    inherited: Timeouts,
    /// A section named it with `from`.
    explicit: bool,
    /// A section took it because it was the last.
    implicit: bool,
}

/// `use_backend NAME [if|unless COND]`.
#[derive(Debug)]
pub(super) struct UseBackendDraft {
    pub backend: String,
    /// The name as a text, when it has expressions in it.
    pub text: Option<Text>,
    pub condition: Option<Condition>,
    pub pos: Pos,
}

/// `use-server NAME if|unless COND`.
#[derive(Debug)]
pub(super) struct UseServerDraft {
    pub server: String,
    /// The name as a text, when it has expressions in it.
    pub text: Option<Text>,
    pub condition: Condition,
    pub pos: Pos,
}

/// A frontend, backend or listen section.
#[derive(Debug)]
pub(super) struct Draft {
    pub kind: ProxyKind,
    pub name: String,
    pub pos: Pos,
    pub id: Option<u32>,
    pub settings: Settings,
    pub captures: Captures,
    pub description: Option<String>,
    pub binds: Vec<BindDraft>,
    pub acls: AclSet,
    /// Those of its defaults section come first.
    pub rules: RuleSets,
    /// Which kinds of rules it has so far: a bit a [`rules::Rank`].
    pub ranks: u8,
    /// The sets whose last rule so far is always the last to be evaluated: a bit a [`SetKind`].
    final_sets: u8,
    /// What may be wrong with its rules.
    pub doubts: Doubts,
    pub use_backend: Vec<UseBackendDraft>,
    pub use_server: Vec<UseServerDraft>,
    pub persist_rules: Vec<PersistRule>,
    pub monitor_fails: Vec<Condition>,
    pub servers: Vec<ServerDraft>,
    pub table: Option<TableDraft>,
    pub stick_rules: Vec<StickDraft>,
    /// Where `http-check` rules were first given in this section.
    pub check_rules: Option<Pos>,
    inherited: Timeouts,
}

impl ProxyKind {
    /// Whether the section accepts connections.
    pub fn is_frontend(self) -> bool {
        self != ProxyKind::Backend
    }

    /// Whether the section has servers.
    pub fn is_backend(self) -> bool {
        self != ProxyKind::Frontend
    }

    /// The keyword of the section.
    pub fn keyword(self) -> &'static str {
        match self {
            ProxyKind::Frontend => "frontend",
            ProxyKind::Backend => "backend",
            ProxyKind::Listen => "listen",
        }
    }

    /// How HAProxy names such a proxy in its messages.
    pub fn title(self) -> &'static str {
        match self {
            ProxyKind::Frontend => "frontend",
            ProxyKind::Backend => "backend",
            ProxyKind::Listen => "proxy",
        }
    }
}

/// What a keyword of a proxy section works on: a defaults section or a proxy.
pub(super) struct Target<'a> {
    pub settings: &'a mut Settings,
    pub inherited: &'a Timeouts,
    /// `None` in a defaults section.
    pub kind: Option<ProxyKind>,
    pub name: &'a str,
    pub report: &'a mut Report,
}

impl Target<'_> {
    /// Warns that a keyword needs servers; true in a frontend.
    pub fn needs_backend(&mut self, what: &str, pos: &Pos, hint: &str) -> bool {
        let missing = self.kind == Some(ProxyKind::Frontend);
        if missing {
            let name = self.name;
            self.report.warning(
                pos,
                format!(
                    "'{what}' ignored because frontend '{name}' has no backend capability.{hint}"
                ),
            );
        }
        missing
    }

    /// Warns that a keyword needs listeners; true in a backend.
    pub fn needs_frontend(&mut self, what: &str, pos: &Pos, hint: &str) -> bool {
        let missing = self.kind == Some(ProxyKind::Backend);
        if missing {
            let name = self.name;
            self.report.warning(
                pos,
                format!(
                    "'{what}' ignored because backend '{name}' has no frontend capability.{hint}"
                ),
            );
        }
        missing
    }

    /// Reports a keyword that no defaults section takes; true in a defaults section.
    pub fn not_in_defaults(&mut self, what: &str, pos: &Pos) -> bool {
        if self.kind.is_none() {
            let text = format!("'{what}' not allowed in 'defaults' section.");
            match what {
                "id" | "description" => self.report.tight_alert(pos, text),
                _ => self.report.alert(pos, text),
            }
        }
        self.kind.is_none()
    }
}

/// Keywords that a frontend ignores with a warning, with what HAProxy adds to it.
const BACKEND_ONLY: &[(&str, &str)] = &[
    ("balance", ""),
    ("cookie", ""),
    ("dispatch", ""),
    ("dynamic-cookie-key", ""),
    ("force-persist", ""),
    ("fullconn", " Maybe you want 'maxconn' instead ?"),
    ("hash-type", ""),
    ("http-check", ""),
    ("http-reuse", ""),
    ("http-send-name-header", ""),
    ("ignore-persist", ""),
    ("persist", ""),
    ("retries", ""),
    ("source", ""),
    ("stick", ""),
    ("use-server", ""),
];

/// Keywords that a backend ignores with a warning.
const FRONTEND_ONLY: &[(&str, &str)] = &[
    ("backlog", ""),
    ("bind", ""),
    ("capture", ""),
    ("default_backend", ""),
    ("maxconn", " Maybe you want 'fullconn' instead ?"),
    ("monitor", ""),
    ("monitor-uri", ""),
    ("use_backend", ""),
];

/// Keywords that no defaults section takes.
const NOT_IN_DEFAULTS: &[&str] = &[
    "bind",
    "capture",
    "description",
    "dispatch",
    "force-persist",
    "id",
    "ignore-persist",
    "monitor",
    "redirect",
    "stick",
    "use_backend",
];

/// A section that has the settings of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// Index in `ProxyLines::defaults`.
    Defaults(usize),
    /// Index in `ProxyLines::proxies`.
    Proxy(usize),
}

/// The proxies and defaults sections at work.
pub(super) struct ProxyLines<'a> {
    pub proxies: &'a mut Vec<Draft>,
    pub defaults: &'a mut Vec<Defaults>,
    pub report: &'a mut Report,
    /// Pages of `http-errors` sections that rules name.
    pub pages: &'a mut Vec<PageLink>,
    /// The global section as far as it was read.
    pub global: &'a GlobalDraft,
    /// What expressions share.
    pub registry: &'a Registry,
}

impl ProxyLines<'_> {
    /// A line of a defaults section or of a proxy.
    pub fn line(&mut self, holder: Holder, line: &Line, prefix: Prefix) {
        let (kind, name) = match holder {
            Holder::Proxy(index) => (
                Some(self.proxies[index].kind),
                self.proxies[index].name.clone(),
            ),
            _ => (None, String::new()),
        };
        let word = line.arg(0);
        let section_word = kind.map_or("defaults", ProxyKind::keyword);
        if simple::gone(line, self.report) {
            return;
        }
        if keywords::support(keywords::PROXY, word).is_some()
            && self.misplaced(holder, line, kind, &name)
        {
            return;
        }
        if !line.is_supported(keywords::PROXY, section_word, self.report) {
            return;
        }
        match (word, holder) {
            ("acl", _) => self.acl_line(holder, line),
            ("http-request" | "http-response" | "http-after-response", _) => {
                self.http_rule_line(holder, line);
            }
            ("redirect", _) => self.redirect_line(holder, line),
            ("use-server", Holder::Proxy(index)) => self.use_server_line(index, line),
            ("force-persist" | "ignore-persist", Holder::Proxy(index)) => {
                self.persist_line(index, line);
            }
            ("tcp-request" | "tcp-response", _) => self.tcp_rule_line(holder, line),
            (
                "use_backend" | "id" | "description" | "bind" | "stick" | "stick-table" | "monitor",
                Holder::Proxy(index),
            ) => {
                self.proxy_only(index, line);
            }
            ("server" | "server-template", Holder::Proxy(index)) => self.server_line(index, line),
            ("errorfile" | "errorfiles" | "errorloc" | "errorloc302" | "errorloc303", _) => {
                self.error_pages_line(holder, line)
            }
            ("http-error", _) => self.http_error_line(holder, line),
            ("http-check", _) => self.http_check_line(holder, line),
            ("capture" | "declare", Holder::Proxy(index)) => self.capture_line(index, line),
            ("declare", Holder::Defaults(_)) => {
                let text = "'declare' only available in frontend or listen section";
                self.report.alert(&line.pos, text);
            }
            _ => {
                let mut target = self.target(holder);
                match word {
                    "option" => target.option(line, prefix),
                    "timeout" => target.timeout(line),
                    "log" => target.log(line, prefix),
                    "default-server" => target.default_server(line),
                    "retry-on" => target.retry_on(line),
                    "monitor-uri" => target.monitor_uri(line),
                    "cookie" => target.cookie(line),
                    "http-send-name-header" => target.name_header(line),
                    "clitcpka-cnt" | "clitcpka-idle" | "clitcpka-intvl" | "srvtcpka-cnt"
                    | "srvtcpka-idle" | "srvtcpka-intvl" => target.keepalive_line(line),
                    "dynamic-cookie-key" => target.dynamic_cookie_key(line),
                    _ if target.format_line(line) => {}
                    _ => target.simple(line),
                }
            }
        }
    }

    /// `capture`, `declare`.
    fn capture_line(&mut self, index: usize, line: &Line) {
        let draft = &mut self.proxies[index];
        let (kind, captures) = (Some(draft.kind), &mut draft.captures);
        let outcome = match line.arg(0) {
            "capture" => format::capture_line(captures, line),
            _ => format::declare_line(captures, kind, line),
        };
        if let Err(text) = outcome {
            self.report.alert(&line.pos, text);
        }
    }

    /// The settings that a line of this section changes.
    fn target(&mut self, holder: Holder) -> Target<'_> {
        match holder {
            Holder::Proxy(index) => {
                let draft = &mut self.proxies[index];
                Target {
                    settings: &mut draft.settings,
                    inherited: &draft.inherited,
                    kind: Some(draft.kind),
                    name: &draft.name,
                    report: self.report,
                }
            }
            Holder::Defaults(index) => {
                let defaults = &mut self.defaults[index];
                Target {
                    settings: &mut defaults.settings,
                    inherited: &defaults.inherited,
                    kind: None,
                    name: &defaults.name,
                    report: self.report,
                }
            }
        }
    }

    /// Keywords in a section that cannot have them: reported, and true when the line has to be left alone.
    fn misplaced(
        &mut self,
        holder: Holder,
        line: &Line,
        kind: Option<ProxyKind>,
        name: &str,
    ) -> bool {
        let (word, pos) = (line.arg(0), &line.pos);
        if matches!(word, "server" | "server-template" | "default-server") {
            return self.server_misplaced(line, kind, name);
        }
        if kind.is_none() {
            return match word {
                "acl"
                | "http-request"
                | "http-response"
                | "http-after-response"
                | "tcp-request"
                | "tcp-response" => {
                    let anonymous = matches!(holder, Holder::Defaults(index) if self.defaults[index].name.is_empty());
                    if anonymous {
                        let text = match word {
                            "tcp-request" | "tcp-response" => {
                                let second = line.arg(1);
                                format!(
                                    "{word} {second} is not allowed in anonymous 'defaults' sections"
                                )
                            }
                            _ => format!("'{word}' not allowed in anonymous 'defaults' section."),
                        };
                        self.report.alert(pos, text);
                    }
                    anonymous
                }
                "stick-table" => {
                    self.report
                        .alert(pos, "'stick-table' is not supported in 'defaults' section.");
                    true
                }
                "capture" if !line.arg(1).is_empty() => {
                    let what = format!("capture {}", line.arg(1));
                    self.target(holder).not_in_defaults(&what, pos)
                }
                _ if NOT_IN_DEFAULTS.contains(&word) => {
                    self.target(holder).not_in_defaults(word, pos)
                }
                _ => false,
            };
        }
        if let Some((_, hint)) = BACKEND_ONLY.iter().find(|(name, _)| *name == word) {
            // HAProxy warns of this one and takes it all the same.
            return self.target(holder).needs_backend(word, pos, hint) && word != "cookie";
        }
        if let Some((_, hint)) = FRONTEND_ONLY.iter().find(|(name, _)| *name == word) {
            // HAProxy warns of this one and takes it all the same.
            return self.target(holder).needs_frontend(word, pos, hint) && word != "monitor-uri";
        }
        if matches!(word, "log-format" | "log-format-sd" | "error-log-format")
            && kind == Some(ProxyKind::Backend)
        {
            self.report.warning(
                pos,
                format!("backend '{name}' : '{word}' directive is ignored in backends."),
            );
            return true;
        }
        false
    }

    /// Keywords of a proxy that no defaults section takes.
    fn proxy_only(&mut self, index: usize, line: &Line) {
        match line.arg(0) {
            "bind" => self.bind_line(index, line),
            "stick" => self.stick_line(index, line),
            "stick-table" => self.stick_table_line(index, line),
            "use_backend" => self.use_backend_line(index, line),
            "id" => self.id_line(index, line),
            "monitor" => self.monitor_line(index, line),
            _ if line.arg(1).is_empty() => {
                self.report
                    .tight_alert(&line.pos, "'description' expects a string argument.");
            }
            _ => self.proxies[index].description = Some(line.from(1).join(" ")),
        }
    }

    /// `defaults [NAME] [from OTHER]`.
    pub fn defaults_header(&mut self, line: &Line) -> Result<usize, Stop> {
        let mut at = 1;
        let mut name = String::new();
        if line.arg(1) != "from" {
            name = line.arg(1).to_owned();
            at = 2;
        }
        let settings = if line.arg(at) == "from" {
            let from =
                self.named_defaults(line.arg(at + 1), &format!("defaults '{name}'"), &line.pos)?;
            let from = &self.defaults[from];
            if !from.rules.is_empty() {
                let (file, number) = (&from.pos.file, from.pos.line);
                let text = format!(
                    "a defaults section cannot inherit from a defaults section defining TCP/HTTP rules (defaults section at {file}:{number})."
                );
                self.report.tight_alert(&line.pos, text);
                return Err(Stop);
            }
            from.settings.clone()
        } else {
            Settings::default()
        };
        let inherited = settings.timeouts.clone();
        let pos = line.pos.clone();
        self.defaults.push(Defaults {
            name,
            pos,
            settings,
            rules: RuleSets::default(),
            rules_users: None,
            final_sets: 0,
            inherited,
            acls: AclSet::new(self.registry),
            explicit: false,
            implicit: false,
        });
        Ok(self.defaults.len() - 1)
    }

    fn named_defaults(&mut self, name: &str, user: &str, pos: &Pos) -> Result<usize, Stop> {
        let mut matching = (0..self.defaults.len())
            .filter(|index| !name.is_empty() && self.defaults[*index].name == name);
        let (first, second) = (matching.next(), matching.next());
        match (first, second) {
            (Some(index), None) => {
                self.defaults[index].explicit = true;
                Ok(index)
            }
            (Some(first), Some(second)) => {
                let (a, b) = (&self.defaults[first].pos, &self.defaults[second].pos);
                let text = format!(
                    "ambiguous defaults section name '{name}' referenced by {user} exists at least at {}:{} and {}:{}.",
                    a.file, a.line, b.file, b.line
                );
                self.report.alert(pos, text);
                Err(Stop)
            }
            _ => {
                self.report.alert(
                    pos,
                    format!("defaults section '{name}' not found for {user}."),
                );
                Err(Stop)
            }
        }
    }

    /// `frontend NAME [from DEFAULTS]` and its like.
    pub fn header(&mut self, line: &Line, kind: ProxyKind) -> Result<usize, Stop> {
        let (keyword, name, pos) = (kind.keyword(), line.arg(1), &line.pos);
        if name.is_empty() {
            self.report
                .alert(pos, format!("'{keyword}' expects an <id> argument"));
            return Err(Stop);
        }
        invalid_name(name, &format!("'{keyword}' name"), pos, self.report);
        self.duplicate_proxy(name, kind, pos);
        let mut extra = line.arg(2);
        let settings = if extra == "from" && !line.arg(3).is_empty() {
            let from = self.named_defaults(line.arg(3), &format!("{keyword} '{name}'"), pos)?;
            extra = line.arg(4);
            if !extra.is_empty() {
                self.report.alert(
                    pos,
                    format!("'{keyword}' cannot handle unexpected argument '{extra}'."),
                );
            }
            Some(from)
        } else {
            if let Some(last) = self.defaults.last_mut() {
                last.implicit = true;
            }
            self.defaults.len().checked_sub(1)
        };
        if !extra.is_empty() {
            match kind {
                ProxyKind::Backend => {
                    self.report.notice(
                        pos,
                        format!("'{extra}' has no effect in burdock: a backend has no address."),
                    );
                }
                _ => self.report.remark(
                    pos,
                    "please use the 'bind' keyword for listening addresses.",
                ),
            }
        }
        self.mixed_defaults(settings, pos);
        self.check_inherited_rules(settings, kind, pos)?;
        let defaults = settings.map(|index| &self.defaults[index]);
        let rules = defaults
            .map(|defaults| defaults.rules.clone())
            .unwrap_or_default();
        let mut settings = defaults
            .map(|defaults| defaults.settings.clone())
            .unwrap_or_default();
        settings.check.inherit();
        if kind == ProxyKind::Backend {
            // Of no use there, and HAProxy does not warn of what a defaults section says.
            settings.default_backend = None;
            settings.log_format_pos = None;
        }
        self.proxies.push(Draft {
            kind,
            name: name.to_owned(),
            pos: pos.clone(),
            id: None,
            inherited: settings.timeouts.clone(),
            settings,
            captures: Captures::default(),
            description: None,
            binds: Vec::new(),
            rules,
            ranks: 0,
            final_sets: 0,
            doubts: Doubts::default(),
            acls: AclSet::new(self.registry),
            use_backend: Vec::new(),
            use_server: Vec::new(),
            persist_rules: Vec::new(),
            monitor_fails: Vec::new(),
            servers: Vec::new(),
            table: None,
            stick_rules: Vec::new(),
            check_rules: None,
        });
        Ok(self.proxies.len() - 1)
    }

    /// HAProxy's errors for a defaults section whose rules cannot be inherited by such a section.
    fn check_inherited_rules(
        &mut self,
        defaults: Option<usize>,
        kind: ProxyKind,
        pos: &Pos,
    ) -> Result<(), Stop> {
        let Some(defaults) = defaults.map(|index| &mut self.defaults[index]) else {
            return Ok(());
        };
        if defaults.rules.is_empty() {
            return Ok(());
        }
        let users = &mut defaults.rules_users;
        let is_shared = users.is_some_and(|other| other != kind);
        users.get_or_insert(kind);
        let (keyword, file, line) = (kind.keyword(), &defaults.pos.file, defaults.pos.line);
        let place = format!("(defaults section at {file}:{line}).");
        let has = |set| !defaults.rules.of(set).is_empty();
        let text = if kind == ProxyKind::Listen {
            "a listen section cannot inherit from a defaults section defining TCP/HTTP rules."
                .into()
        } else if kind == ProxyKind::Backend
            && (has(SetKind::TcpConnection) || has(SetKind::TcpSession))
        {
            format!(
                "a {keyword} section cannot inherit from a defaults section defining 'tcp-request connection' or 'tcp-request session' rules {place}"
            )
        } else if kind == ProxyKind::Frontend && has(SetKind::TcpResponse) {
            format!(
                "a {keyword} section cannot inherit from a defaults section defining 'tcp-response content' rules {place}"
            )
        } else if is_shared {
            format!(
                "frontends and backends cannot inherit from the same defaults section if it defines TCP/HTTP rules {place}"
            )
        } else {
            return Ok(());
        };
        self.report.tight_alert(pos, text);
        Err(Stop)
    }

    /// HAProxy's remark when a defaults section is used both by its name and because it is the last one.
    fn mixed_defaults(&mut self, index: Option<usize>, pos: &Pos) {
        let Some(defaults) = index.and_then(|index| self.defaults.get(index)) else {
            return;
        };
        if defaults.explicit && defaults.implicit && !defaults.name.is_empty() {
            let (file, line, name) = (&defaults.pos.file, defaults.pos.line, &defaults.name);
            let text = format!(
                "defaults section '{name}' (declared at {file}:{line}) is explicitly referenced by another proxy and \
                 implicitly used here. To avoid any ambiguity don't mix both usage. Add a last defaults section not \
                 explicitly used or always use explicit references."
            );
            self.report.remark(pos, text);
        }
    }

    /// Two proxies may share a name unless one can do all that the other can.
    fn duplicate_proxy(&mut self, name: &str, kind: ProxyKind, pos: &Pos) {
        let covers = |other: ProxyKind| {
            (other.is_frontend() || !kind.is_frontend())
                && (other.is_backend() || !kind.is_backend())
        };
        let Some(other) = self
            .proxies
            .iter()
            .find(|other| other.name == name && covers(other.kind))
        else {
            return;
        };
        let text = format!(
            "Parsing [{}:{}]: {} '{name}' has the same name as {} '{name}' declared at {}:{}.",
            pos.file,
            pos.line,
            kind.title(),
            other.kind.title(),
            other.pos.file,
            other.pos.line
        );
        self.report.push(super::Severity::Alert, Some(pos), text);
    }
}
