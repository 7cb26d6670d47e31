//! Servers: their numbers, their addresses, where and how they are checked.

use super::{Draft, Ids, Resolver, ServerDraft};
use crate::config::diag::Severity;
use crate::config::model::{RetryOn, Server, ServerCheck, ServerPort};
use crate::net::Address;
use crate::net::proxy_protocol::Form;

impl Resolver<'_> {
    pub(super) fn servers(&mut self, draft: &Draft) -> Vec<Server> {
        let mut ids = Ids::new(draft.servers.iter().map(|server| server.settings.id));
        let is_dynamic = draft
            .settings
            .cookie
            .as_ref()
            .is_some_and(|cookie| cookie.dynamic);
        let key = draft.settings.dynamic_cookie_key.as_ref();
        let mut servers = Vec::with_capacity(draft.servers.len());
        for server in &draft.servers {
            let id = ids.take(server.settings.id);
            self.check_server_ports(draft, server);
            self.check_server_address(draft, server);
            self.check_fast_open(draft, server);
            let mut server = finish_server(server, id);
            server.dynamic_cookie_key = key.filter(|_| is_dynamic).cloned();
            servers.push(server);
        }
        servers
    }

    /// A server that is checked needs a port for it.
    fn check_server_ports(&mut self, draft: &Draft, server: &ServerDraft) {
        let has_port = server.settings.check_port.is_some()
            || server.port == ServerPort::Fixed
            || server.settings.check_address.as_ref().is_some_and(
                |address| matches!(address, Address::Inet(address) if address.port() != 0),
            );
        if !server.settings.check
            || has_port
            || draft.settings.disabled
            || !matches!(server.address, Address::Inet(_))
        {
            return;
        }
        let rules = if draft.settings.check.http {
            " nor tcp_check rule 'connect' with port information"
        } else {
            ""
        };
        let text = format!(
            "config: {} '{}': server '{}' has neither service port nor check port{rules}.",
            draft.kind.title(),
            draft.name,
            server.name
        );
        self.alert(&server.pos, text);
    }

    /// The name of its host must have been found.
    fn check_server_address(&mut self, draft: &Draft, server: &ServerDraft) {
        let Some(host) = &server.unresolved else {
            return;
        };
        let (file, line) = (&server.pos.file, server.pos.line);
        let text = format!(
            "[{file}:{line}] : 'server {}/{}' : could not resolve address '{host}'.",
            draft.name, server.name
        );
        self.alert(&server.pos, text);
        self.report.push(
            Severity::Alert,
            None,
            "Failed to initialize server(s) addr.",
        );
    }

    /// With `tfo` a connect fails when the request has left: nothing but the retry of a request helps then.
    fn check_fast_open(&mut self, draft: &Draft, server: &ServerDraft) {
        let retry_on = draft.settings.retry_on;
        let may_retry = retry_on.has(RetryOn::EMPTY) && retry_on.has(RetryOn::TIMEOUT);
        if server.settings.fast_open && !may_retry {
            let (file, line) = (&server.pos.file, server.pos.line);
            let text = format!(
                "[{file}:{line}] : 'server {}/{}' : server has tfo activated, the backend should be configured with at least 'conn-failure', \
                 'empty-response' and 'response-timeout' or we wouldn't be able to retry the connection on failure.",
                draft.name, server.name
            );
            self.warn(&server.pos, text);
        }
    }

    pub(super) fn check_server_names(&mut self, draft: &Draft) {
        for (index, server) in draft.servers.iter().enumerate() {
            let Some(other) = draft.servers[..index]
                .iter()
                .find(|other| other.name == server.name)
            else {
                continue;
            };
            let text = format!(
                "parsing [{}:{}] : {} '{}', another server named '{}' was already defined at line {}, please use distinct names.",
                server.pos.file,
                server.pos.line,
                draft.kind.title(),
                draft.name,
                server.name,
                other.pos.line
            );
            self.alert(&server.pos, text);
        }
    }
}

fn finish_server(draft: &ServerDraft, id: u32) -> Server {
    let settings = &draft.settings;
    let check_address = || {
        if settings.check_address.is_none() && settings.check_port.is_none() {
            return None;
        }
        let base = settings.check_address.as_ref().unwrap_or(&draft.address);
        let own_port = match &draft.address {
            Address::Inet(address) => address.port(),
            _ => 0,
        };
        Some(match base {
            Address::Inet(address) => {
                let given = Some(address.port()).filter(|port| *port != 0);
                let mut address = *address;
                address.set_port(settings.check_port.or(given).unwrap_or(own_port));
                Address::Inet(address)
            }
            other => other.clone(),
        })
    };
    // A check elsewhere than at the server itself is only introduced when that is asked for.
    let is_same_place = settings.check_address.is_none() && settings.check_port.is_none();
    let check_send_proxy = match settings.send_proxy {
        Some(form) if is_same_place || settings.check_send_proxy => Some(form),
        None if settings.check_send_proxy => Some(Form::Text),
        _ => None,
    };
    Server {
        name: draft.name.clone(),
        id,
        id_forced: settings.id.is_some(),
        pos: draft.pos.clone(),
        address: draft.address.clone(),
        port: draft.port.clone(),
        weight: settings.weight.unwrap_or(1),
        cookie: settings.cookie.clone(),
        dynamic_cookie_key: None,
        maxconn: settings.maxconn,
        // As in HAProxy: a minconn needs a maxconn above it.
        minconn: if settings.minconn > settings.maxconn {
            settings.maxconn
        } else {
            settings.minconn
        },
        maxqueue: settings.maxqueue,
        backup: settings.backup,
        disabled: settings.disabled,
        check: settings.check.then(|| ServerCheck {
            inter_ms: settings.inter_ms.unwrap_or(2000),
            fast_inter_ms: settings.fast_inter_ms,
            down_inter_ms: settings.down_inter_ms,
            rise: settings.rise.unwrap_or(2),
            fall: settings.fall.unwrap_or(3),
            address: check_address(),
            send_proxy: check_send_proxy,
        }),
        source: settings.source,
        send_proxy: settings.send_proxy,
        fast_open: settings.fast_open,
        pool_max: settings.pool_max,
        pool_purge_ms: settings.pool_purge_ms.unwrap_or(5000),
    }
}
