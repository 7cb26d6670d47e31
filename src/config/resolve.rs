//! Drafts into the model: defaults filled in, names resolved to indices, what contradicts itself reported.
//!
//! Runs after all files were read, also when there were errors in them, so that one run tells all of them; warnings are only given
//! when there was none, since they could be consequences.
//! Not here: the syntax of anything.

mod links;
mod peers;
mod servers;

use std::rc::Rc;

use super::diag::Severity;
use super::http_errors::HttpErrorsDraft;
use super::log_line::LogLine;
use super::model::{
    Bind, Config, ErrorAnswer, Global, Mode, Monitor, Pos, Proxy, ProxyKind, StickKind, StickRule,
};
use super::parser::{LinkDraft, Parser};
use super::peers::PeersDraft;
use super::proxy::{
    Doubts, Draft, FormatDraft, PageLink, PagesDraft, ServerDraft, TableDraft, compile_formats,
};
use super::userlist;
use crate::http::Page;
use crate::log::TargetSpec;
use crate::rules::{Action, Named, SetKind, Use};
use crate::stick::{DataType, StoredType, TableSpec};

/// `tune.maxrewrite` when it is not given.
const REWRITE_BYTES: u32 = 1024;
/// Descriptors that a process needs for itself: standard streams, epoll, logs, the pipe to its master.
const OWN_DESCRIPTORS: u64 = 16;
/// HAProxy's default of `fd-hard-limit`.
const DESCRIPTORS_MAX: u64 = 1_048_576;

/// What the parser found, as a model. Everything wrong is in the report.
pub(super) fn resolve(parser: &mut Parser<'_>) -> Config {
    let clean = parser.report.alerts() == 0;
    let local_peer = parser.local_peer_name().to_owned();
    let lists = userlist::finish(std::mem::take(&mut parser.user_lists), &mut parser.report);
    parser.registry.set_user_lists(lists);
    let mut drafts = std::mem::take(&mut parser.proxies);
    for (index, draft) in drafts.iter_mut().enumerate() {
        let (report, links) = (&mut parser.report, &mut parser.links);
        compile_formats(
            draft,
            index,
            &parser.registry,
            links,
            |severity, pos, text| {
                report.push(severity, Some(pos), text);
            },
        );
    }
    let peers_drafts = std::mem::take(&mut parser.peers);
    // Their rules were copied to the proxies; the ACLs of these rules are complete now.
    parser.defaults.clear();
    let mut resolver = Resolver {
        clean,
        names: drafts.iter().map(Name::of).collect(),
        tables: Vec::new(),
        peers: peers_drafts,
        http_errors: std::mem::take(&mut parser.http_errors),
        local_peer: &local_peer,
        report: &mut parser.report,
        global_log: parser.global.global.log.clone(),
        samples: parser.registry.clone(),
        ids: Ids::new(drafts.iter().map(|draft| draft.id)),
    };
    resolver.link_pages(&std::mem::take(&mut parser.page_links));
    resolver.collect_tables(&drafts);
    for link in std::mem::take(&mut parser.links) {
        resolver.link(&link, &drafts);
    }
    let receive_rules = resolver.receive_rules(&drafts);
    parser.registry.number_pattern_sets();
    let control_socket_at = parser.global.control_socket_at;
    let mut proxies = Vec::with_capacity(drafts.len());
    for (index, draft) in drafts.into_iter().enumerate() {
        if control_socket_at == Some(index) {
            resolver.ids.skip();
        }
        proxies.push(resolver.proxy(draft));
    }
    let (peers, peers_log) = resolver.peers_sections(&receive_rules);
    let tables = std::mem::take(&mut resolver.tables);
    let mut global = parser.global.global.clone();
    global.local_peer = local_peer;
    finish_global(&mut global, &parser.global, parser.options, &proxies);
    let mut config = Config {
        global,
        proxies,
        peers,
        peers_log,
        tables,
        environment: parser.take_environment(),
        samples: parser.registry.clone(),
    };
    let maxconn = parser
        .options
        .proxy_maxconn
        .or(config.global.maxconn)
        .unwrap_or(0);
    for proxy in &mut config.proxies {
        if proxy.maxconn == 0 {
            proxy.maxconn = maxconn;
        }
    }
    config
}

/// What other proxies have to know of one.
struct Name {
    name: String,
    kind: ProxyKind,
    mode: Mode,
    pos: Pos,
}

impl Name {
    fn of(draft: &Draft) -> Name {
        Name {
            name: draft.name.clone(),
            kind: draft.kind,
            mode: draft.settings.mode,
            pos: draft.pos.clone(),
        }
    }
}

/// Numbers for what has no `id` of its own. As in HAProxy, what has one uses a number up all the same: replication refers to
/// servers by these numbers, so they have to be the same on all nodes.
struct Ids {
    given: Vec<u32>,
    next: u32,
}

impl Ids {
    fn new(given: impl Iterator<Item = Option<u32>>) -> Ids {
        Ids {
            given: given.flatten().collect(),
            next: 1,
        }
    }

    fn take(&mut self, given: Option<u32>) -> u32 {
        let id = given.unwrap_or_else(|| {
            while self.given.contains(&self.next) {
                self.next += 1;
            }
            self.next
        });
        self.next += 1;
        id
    }

    fn skip(&mut self) {
        self.next += 1;
    }
}

struct Resolver<'a> {
    clean: bool,
    names: Vec<Name>,
    tables: Vec<TableSpec>,
    peers: Vec<PeersDraft>,
    http_errors: Vec<HttpErrorsDraft>,
    local_peer: &'a str,
    report: &'a mut super::diag::Report,
    global_log: Vec<TargetSpec>,
    samples: crate::sample::Registry,
    ids: Ids,
}

impl Resolver<'_> {
    fn alert(&mut self, pos: &Pos, text: String) {
        self.report.push(Severity::Alert, Some(pos), text);
    }

    fn warn(&mut self, pos: &Pos, text: String) {
        if self.clean {
            self.report.push(Severity::Warning, Some(pos), text);
        }
    }

    /// The pages of `http-errors` sections that rules name.
    fn link_pages(&mut self, links: &[PageLink]) {
        for link in links {
            let Some(section) = self
                .http_errors
                .iter()
                .find(|section| section.name == link.section)
            else {
                let text = format!(
                    "Proxy '{}': unknown http-errors section '{}' referenced by an http reply .",
                    link.proxy, link.section
                );
                self.alert(&link.pos, text);
                continue;
            };
            let found = section.pages.iter().find(|(of, _)| *of == link.status);
            if let Some((_, page)) = found {
                let _ = link.page.set(Rc::clone(page)); // set once: only here
            }
        }
    }

    /// All tables: those of peers sections first, then those of proxies.
    fn collect_tables(&mut self, drafts: &[Draft]) {
        for section in &self.peers {
            self.tables
                .extend(section.tables.iter().map(|table| table.spec.clone()));
        }
        self.tables.extend(
            drafts
                .iter()
                .filter_map(|draft| draft.table.as_ref())
                .map(|table| table.spec.clone()),
        );
    }

    fn table(&self, name: &str) -> Option<usize> {
        self.tables.iter().position(|table| table.name == name)
    }

    fn proxy(&mut self, draft: Draft) -> Proxy {
        let id_forced = draft.id.is_some();
        let id = self.ids.take(draft.id);
        if !draft.settings.disabled {
            self.check_listening(&draft);
        }
        let default_backend = self.default_backend(&draft);
        let use_backend = self.use_backend(&draft);
        let use_server = self.use_server(&draft);
        let log = self.log_targets(&draft.settings.log);
        if !draft.settings.disabled {
            self.check_table_peers(&draft);
        }
        let stick_rules = self.stick_rules(&draft);
        if !draft.settings.disabled {
            self.check_proxy(&draft, log.is_empty());
        }
        self.check_server_names(&draft);
        let servers = self.servers(&draft);
        self.check_captures(&draft);
        let binds = binds(&draft);
        let (log_format, _) = draft.settings.usable_log_format();
        let http_check = draft.settings.check.finish();
        let error_pages = self.error_pages(&draft);
        let monitor = self.monitor(&draft);
        let Draft {
            kind,
            name,
            pos,
            settings,
            description,
            acls,
            rules,
            table,
            captures,
            persist_rules,
            ..
        } = draft;
        acls.finish();
        Proxy {
            table: table.and_then(|table| self.table(&table.spec.name)),
            name,
            pos,
            kind,
            id,
            id_forced,
            mode: settings.mode,
            disabled: settings.disabled,
            description,
            maxconn: settings.maxconn.unwrap_or(0),
            fullconn: settings.fullconn,
            backlog: settings.backlog,
            retries: settings.retries.unwrap_or(3),
            retry_on: settings.retry_on,
            reuse: settings.reuse,
            options: settings.options,
            timeouts: settings.timeouts,
            log,
            log_tag: settings.log_tag,
            log_format,
            log_format_sd: FormatDraft::compiled(&settings.formats.structured),
            error_log_format: FormatDraft::compiled(&settings.formats.error),
            unique_id_format: FormatDraft::compiled(&settings.formats.unique_id),
            unique_id_header: settings.formats.unique_id_header,
            captures,
            binds,
            default_backend,
            rules: Rc::new(rules),
            inspect_request_ms: settings.inspect_request_ms,
            inspect_response_ms: settings.inspect_response_ms,
            use_backend: use_backend.into(),
            use_server: use_server.into(),
            servers,
            balance: settings.balance,
            cookie: settings.cookie.filter(|_| settings.mode == Mode::Http),
            name_header: settings.name_header,
            persist_rules: persist_rules.into(),
            stick_rules,
            http_check,
            error_pages,
            monitor,
        }
    }

    fn log_targets(&self, lines: &[LogLine]) -> Vec<TargetSpec> {
        let mut targets = Vec::new();
        for line in lines {
            match line {
                LogLine::Global => targets.extend(self.global_log.iter().cloned()),
                LogLine::Target(target) => targets.push(target.clone()),
            }
        }
        targets
    }

    /// Cookies mean nothing without HTTP.
    fn check_cookies_of_tcp(&mut self, draft: &Draft) {
        let (title, name) = (draft.kind.title(), &draft.name);
        if draft.settings.cookie.is_some() {
            let text = format!("cookie will be ignored for {title} '{name}' (needs 'mode http').");
            self.warn(&draft.pos, text);
        }
        for server in &draft.servers {
            if server.settings.cookie.is_some() {
                let text = format!(
                    "{title} '{name}' : ignoring cookie for server '{}' as HTTP mode is disabled.",
                    server.name
                );
                self.warn(&draft.pos, text);
            }
        }
    }

    fn check_listening(&mut self, draft: &Draft) {
        if draft.kind.is_frontend() && draft.binds.is_empty() {
            let (title, name) = (draft.kind.title(), &draft.name);
            let text = format!(
                "{title} '{name}' has no 'bind' directive. Please declare it as a backend if this was intended."
            );
            self.warn(&draft.pos, text);
        }
    }

    /// The backend of a name, if it exists and can be used.
    fn backend(&mut self, draft: &Draft, name: &str, pos: &Pos, keyword: &str) -> Option<usize> {
        let found = self
            .names
            .iter()
            .position(|other| other.name == name && other.kind.is_backend());
        let Some(index) = found else {
            let text = format!(
                "Proxy '{}': unable to find required {keyword}: '{name}'.",
                draft.name
            );
            self.alert(pos, text);
            return None;
        };
        let other = &self.names[index];
        let is_itself = other.pos == draft.pos;
        if is_itself && keyword == "default_backend" {
            let text = format!(
                "Proxy '{}': loop detected for {keyword}: '{name}'.",
                draft.name
            );
            self.alert(pos, text);
            return None;
        }
        if draft.settings.mode == Mode::Http && other.mode == Mode::Tcp {
            let place = if keyword == "default_backend" {
                "as its default backend".to_owned()
            } else {
                "in a 'use_backend' rule".to_owned()
            };
            let text = format!(
                "http {} '{}' ({}:{}) tries to use incompatible tcp {} '{name}' ({}:{}) {place} (see 'mode').",
                draft.kind.title(),
                draft.name,
                draft.pos.file,
                draft.pos.line,
                other.kind.title(),
                other.pos.file,
                other.pos.line
            );
            self.alert(pos, text);
            return None;
        }
        Some(index)
    }

    fn default_backend(&mut self, draft: &Draft) -> Option<usize> {
        let (name, pos) = draft.settings.default_backend.as_ref()?;
        if draft.settings.disabled {
            return None;
        }
        self.backend(draft, name, pos, "default_backend")
    }

    fn use_backend(&mut self, draft: &Draft) -> Vec<Use> {
        if draft.settings.disabled {
            return Vec::new();
        }
        let mut rules = Vec::new();
        for rule in &draft.use_backend {
            let named = match &rule.text {
                Some(text) => Some(Named::ByText(text.clone())),
                None => self
                    .backend(draft, &rule.backend, &rule.pos, "use_backend")
                    .map(Named::At),
            };
            rules.extend(named.map(|named| Use {
                named,
                condition: rule.condition.clone(),
            }));
        }
        rules
    }

    fn use_server(&mut self, draft: &Draft) -> Vec<Use> {
        let mut rules = Vec::new();
        for rule in &draft.use_server {
            let mut servers = draft.servers.iter();
            let found = servers.position(|server| server.name == rule.server);
            let named = match (&rule.text, found) {
                (Some(text), _) => Named::ByText(text.clone()),
                (None, Some(index)) => Named::At(index),
                (None, None) => {
                    let text = format!(
                        "{} '{}' : unable to find server '{}' referenced in a 'use-server' rule.",
                        draft.kind.title(),
                        draft.name,
                        rule.server
                    );
                    self.alert(&rule.pos, text);
                    continue;
                }
            };
            rules.push(Use {
                named,
                condition: Some(rule.condition.clone()),
            });
        }
        rules
    }

    /// The pages of a proxy: what its lines say, in order.
    fn error_pages(&mut self, draft: &Draft) -> Vec<(u16, ErrorAnswer)> {
        let mut pages: Vec<(u16, ErrorAnswer)> = Vec::new();
        let mut put = |status: u16, answer: Option<ErrorAnswer>| {
            pages.retain(|(other, _)| *other != status);
            pages.extend(answer.map(|answer| (status, answer)));
        };
        for line in &draft.settings.error_pages {
            match line {
                PagesDraft::One(status, page) => {
                    put(*status, Some(ErrorAnswer::Page(page.clone())));
                }
                PagesDraft::Reply(status, reply) => {
                    put(*status, Some(ErrorAnswer::Reply(reply.clone())));
                }
                PagesDraft::Default(status) => put(*status, None),
                PagesDraft::Section {
                    name,
                    statuses,
                    pos,
                } => {
                    let imported = self.pages_of_section(draft, name, statuses, pos);
                    for (status, page) in imported {
                        put(status, Some(ErrorAnswer::Page(page)));
                    }
                }
            }
        }
        pages
    }

    /// `errorfiles NAME [CODE …]`.
    fn pages_of_section(
        &mut self,
        draft: &Draft,
        name: &str,
        statuses: &[u16],
        pos: &Pos,
    ) -> Vec<(u16, Rc<Page>)> {
        let proxy = &draft.name;
        let at = format!("(at {}:{})", pos.file, pos.line);
        let Some(section) = self.http_errors.iter().find(|other| other.name == name) else {
            self.alert(
                pos,
                format!("proxy '{proxy}': unknown http-errors section '{name}' {at}."),
            );
            return Vec::new();
        };
        let pages = section.pages.clone();
        if statuses.is_empty() {
            return pages;
        }
        for status in statuses {
            if pages.iter().all(|(of, _)| of != status) {
                let text = format!(
                    "config: proxy '{proxy}' : status '{status}' not declared in http-errors section '{name}' {at}."
                );
                self.warn(pos, text);
            }
        }
        let is_wanted = |(of, _): &(u16, Rc<Page>)| statuses.contains(of);
        pages.into_iter().filter(is_wanted).collect()
    }

    fn monitor(&mut self, draft: &Draft) -> Option<Monitor> {
        let uri = draft.settings.monitor_uri.clone()?;
        if draft.settings.mode != Mode::Http {
            let (title, name) = (draft.kind.title(), &draft.name);
            let text =
                format!("monitor-uri will be ignored for {title} '{name}' (needs 'mode http').");
            self.warn(&draft.pos, text);
            return None;
        }
        draft.kind.is_frontend().then(|| Monitor {
            uri,
            fails: draft.monitor_fails.clone(),
        })
    }

    /// The peers section of the proxy's table.
    fn check_table_peers(&mut self, draft: &Draft) {
        let Some(TableDraft {
            spec: table, pos, ..
        }) = &draft.table
        else {
            return;
        };
        let Some(name) = &table.peers else { return };
        let text = match self.peers.iter().find(|section| section.name == *name) {
            None => format!(
                "Proxy '{}': unable to find sync peers '{name}'.",
                draft.name
            ),
            Some(section) if section.disabled => {
                if let Some(table) = self
                    .tables
                    .iter_mut()
                    .find(|other| other.name == table.name)
                {
                    table.peers = None;
                }
                return;
            }
            Some(section) if section.members.is_empty() && section.bind.is_none() => {
                format!(
                    "Proxy '{}': unable to find local peer '{}' in peers section '{name}'.",
                    draft.name, self.local_peer
                )
            }
            Some(_) => return,
        };
        // HAProxy's words name no place.
        let place = format!("   | The table is declared at {}:{}.", pos.file, pos.line);
        self.alert(pos, format!("{text}\n{place}"));
    }

    fn stick_rules(&mut self, draft: &Draft) -> Vec<StickRule> {
        let mut rules = Vec::new();
        if draft.settings.disabled {
            return rules;
        }
        for rule in &draft.stick_rules {
            let name = rule.table.as_deref().unwrap_or(&draft.name);
            let Some(index) = self.table(name) else {
                let text = format!(
                    "Proxy '{}': unable to find stick-table '{name}'.",
                    draft.name
                );
                self.alert(&rule.pos, text);
                continue;
            };
            let key_type = self.tables[index].key_type;
            if !rule.expr.can_be_key(key_type) {
                let text = format!(
                    "Proxy '{}': type of fetch not usable with type of stick-table '{name}'.",
                    draft.name
                );
                self.alert(&rule.pos, text);
                continue;
            }
            // A table that decides on servers stores them, whether `store` says so or not.
            let decides = !matches!(rule.kind, StickKind::Delete | StickKind::DeleteResponse);
            let fields = [DataType::ServerId, DataType::ServerKey];
            for data_type in fields.into_iter().filter(|_| decides) {
                let store = &mut self.tables[index].store;
                if store.iter().all(|stored| stored.data_type != data_type) {
                    store.push(StoredType {
                        data_type,
                        elements: 1,
                        period_ms: 0,
                    });
                    store.sort_by_key(|stored| stored.data_type);
                }
            }
            rules.push(StickRule {
                kind: rule.kind,
                expr: rule.expr.clone(),
                table: index,
                condition: rule.condition.clone(),
                pos: rule.pos.clone(),
            });
        }
        rules
    }

    /// Rules that capture need their slot in the same proxy, if it is a frontend; a backend's rules use those of whoever came there.
    fn check_captures(&mut self, draft: &Draft) {
        let sets = [
            (SetKind::HttpRequest, "http-request"),
            (SetKind::HttpResponse, "http-response"),
            (SetKind::HttpAfterResponse, "http-response"),
        ];
        for (set, word) in sets.into_iter().filter(|_| draft.kind.is_frontend()) {
            for rule in draft.rules.of(set) {
                let Action::Capture(capture) = &rule.action else {
                    continue;
                };
                let slots = match capture.is_request {
                    true => &draft.captures.request,
                    false => &draft.captures.response,
                };
                if capture.slot >= slots.len() {
                    let text = format!(
                        "Proxy '{}': unable to find capture id '{}' referenced by {word} capture rule.",
                        draft.name, capture.slot
                    );
                    self.alert(&draft.pos, text);
                }
            }
        }
    }

    /// What HAProxy warns of in a proxy as a whole.
    fn check_proxy(&mut self, draft: &Draft, no_log: bool) {
        let (title, name, pos) = (draft.kind.title(), &draft.name, &draft.pos);
        let timeouts = &draft.settings.timeouts;
        let http = draft.settings.mode == Mode::Http;
        let (_, fallen_back) = draft.settings.usable_log_format();
        if let (true, Some(at)) = (fallen_back, &draft.settings.log_format_pos) {
            let text = format!(
                "parsing [{}:{}] : 'option httplog' not usable with {title} '{name}' (needs 'mode http'). Falling back to 'option tcplog'.",
                at.file, at.line
            );
            self.warn(at, text);
        }
        let client_missing = draft.kind.is_frontend() && timeouts.client_ms.is_none();
        let server_missing = draft.kind.is_backend()
            && !draft.servers.is_empty()
            && (timeouts.connect_ms.is_none()
                || timeouts.server_ms.is_none() && (http || timeouts.tunnel_ms.is_none()));
        if client_missing || server_missing {
            let text = format!(
                "missing timeouts for {title} '{name}'.\n   | While not properly invalid, you will certainly encounter various \
                 problems\n   | with such a configuration. To fix this, please ensure that all following\n   | timeouts are set \
                 to a non-zero value: 'client', 'connect', 'server'."
            );
            self.warn(pos, text);
        }
        for text in Doubts::warnings(draft) {
            self.warn(pos, text);
        }
        if let Some(rules) = &draft.check_rules
            && !draft.settings.check.http
        {
            let text = format!(
                "{title} '{name}' uses http-check rules without 'option httpchk', so the rules are ignored."
            );
            self.warn(rules, text);
        }
        for set in [
            SetKind::HttpRequest,
            SetKind::HttpResponse,
            SetKind::HttpAfterResponse,
            SetKind::Redirect,
        ] {
            if !http && !draft.rules.of(set).is_empty() {
                let words = set.words();
                let text = format!(
                    "'{words}' rules ignored for {title} '{name}' as they require HTTP mode."
                );
                self.warn(pos, text);
            }
        }
        if !http {
            self.check_cookies_of_tcp(draft);
        }
        if !http && draft.settings.options.original_to.is_some() {
            let text = format!(
                "'option originalto' ignored for {title} '{name}' as it requires HTTP mode."
            );
            self.warn(pos, text);
        }
        if !http && draft.settings.options.forward_for.is_some() {
            let text = format!(
                "'option forwardfor' ignored for {title} '{name}' as it requires HTTP mode."
            );
            self.warn(pos, text);
        }
        if draft.kind.is_frontend() && draft.settings.log_format_word.is_some() && no_log {
            let text =
                format!("log format ignored for {title} '{name}' since it has no log address.");
            self.warn(pos, text);
        }
    }
}

fn binds(draft: &Draft) -> Vec<Bind> {
    let mut ids = Ids::new(draft.binds.iter().map(|bind| bind.params.id));
    let mut binds = Vec::with_capacity(draft.binds.len());
    for bind in &draft.binds {
        let params = &bind.params;
        let id = ids.take(params.id);
        binds.push(Bind {
            address: bind.address.clone(),
            pos: bind.pos.clone(),
            name: params.name.clone(),
            id,
            maxconn: params.maxconn,
            backlog: params.backlog,
            v6_only: params.v6_only,
            transparent: params.transparent,
            accept_proxy: params.accept_proxy,
            interface: params.interface.clone(),
            defer_accept: params.defer_accept,
            fast_open: params.fast_open,
            mode: params.mode,
            uid: params.uid,
            gid: params.gid,
        });
    }
    binds
}

/// Values of the global section that depend on others, or on the process.
fn finish_global(
    global: &mut Global,
    draft: &super::global::GlobalDraft,
    options: &super::ParseOptions,
    proxies: &[Proxy],
) {
    if !draft.rewrite_given {
        global.rewrite_bytes = REWRITE_BYTES;
    }
    global.rewrite_bytes = global.rewrite_bytes.min(global.buffer_bytes / 2);
    if let Some(maxconn) = options.maxconn.filter(|maxconn| *maxconn > 0) {
        global.maxconn = Some(maxconn);
        global.maxconn_given = true;
    }
    if global.maxconn.is_none() {
        let limit = global
            .ulimit_n
            .or(options.descriptors_max)
            .unwrap_or(DESCRIPTORS_MAX);
        let limit = limit.min(draft.descriptors_max.unwrap_or(DESCRIPTORS_MAX));
        let listeners: usize = proxies.iter().map(|proxy| proxy.binds.len()).sum();
        let checks = proxies
            .iter()
            .flat_map(|proxy| &proxy.servers)
            .filter(|server| server.check.is_some())
            .count();
        let others = listeners + checks + global.stats_sockets.len();
        let reserved = OWN_DESCRIPTORS + u64::from(global.stats_maxconn) + others as u64;
        // A connection to the client and one to the server.
        let maxconn = limit.saturating_sub(reserved) / 2;
        global.maxconn = Some(u32::try_from(maxconn).unwrap_or(u32::MAX).max(1));
    }
}
