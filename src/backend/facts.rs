//! Running proxies and servers as expressions ask for them.
//!
//! Not here: the fetches (`sample`).

use super::Proxy;
use super::server::Server;
use crate::sample::state::{ProxyFact, ServerFact, State};

impl State for Vec<Proxy> {
    fn proxy(&self, proxy: usize, fact: ProxyFact, now_ms: u64) -> Option<i64> {
        let proxy = self.get(proxy)?;
        let (active, backup) = proxy.usable_counts();
        let queued = || {
            let in_servers: usize = proxy.servers.iter().map(|server| server.queue.len()).sum();
            (proxy.queue.len() + in_servers) as i64
        };
        Some(match fact {
            ProxyFact::FeConn => i64::from(proxy.connections),
            ProxyFact::FeReqRate => i64::from(proxy.frontend_counters.request_rate.read(now_ms)),
            ProxyFact::FeSessRate => i64::from(proxy.frontend_counters.session_rate.read(now_ms)),
            ProxyFact::BeConn => i64::from(proxy.sessions),
            ProxyFact::BeSessRate => i64::from(proxy.backend_counters.session_rate.read(now_ms)),
            ProxyFact::NbSrv => (if active > 0 { active } else { backup }) as i64,
            ProxyFact::Queue => queued(),
            ProxyFact::AvgQueue => match active {
                // as HAProxy: a server is expected to come back soon
                0 => queued() * 2,
                active => (queued() + active as i64 - 1) / active as i64,
            },
            ProxyFact::ClientTimeout => timeout(proxy.spec.timeouts.client_ms),
            ProxyFact::ServerTimeout => timeout(proxy.spec.timeouts.server_ms),
            ProxyFact::TunnelTimeout => timeout(proxy.spec.timeouts.tunnel_ms),
            ProxyFact::BeConnFree => free_places(proxy),
            ProxyFact::ConnSlots => slots(proxy),
        })
    }

    fn server(&self, proxy: usize, server: usize, fact: ServerFact, now_ms: u64) -> Option<i64> {
        let server = self.get(proxy)?.servers.get(server)?;
        Some(match fact {
            ServerFact::Conn => i64::from(server.sessions),
            ServerFact::ConnFree => match server.maxconn {
                0 => -1,
                maxconn => i64::from(maxconn.saturating_sub(server.sessions)),
            },
            ServerFact::IsUp => i64::from(server.is_up() && !server.admin.is_maintenance()),
            ServerFact::Iweight => i64::from(server.spec.weight),
            ServerFact::Queue => server.queue.len() as i64,
            ServerFact::SessRate => i64::from(server.counters.session_rate.read(now_ms)),
            ServerFact::Uweight => i64::from(server.weight),
            ServerFact::Weight if server.admin.is_drain() => 0,
            ServerFact::Weight => i64::from(server.weight),
        })
    }

    fn default_backend(&self, proxy: usize) -> Option<&str> {
        let backend = self.get(proxy)?.spec.default_backend?;
        Some(&self.get(backend)?.spec.name)
    }

    fn listener_connections(&self, proxy: usize, bind: usize) -> Option<i64> {
        let counters = self.get(proxy)?.listener_counters.get(bind)?;
        Some(i64::from(counters.connections))
    }

    fn server_identity(&self, proxy: usize, server: usize) -> Option<(&str, u32)> {
        let spec = &self.get(proxy)?.servers.get(server)?.spec;
        Some((&spec.name, spec.id))
    }

    fn backend_named(&self, name: &[u8]) -> Option<usize> {
        self.iter()
            .position(|proxy| proxy.is_backend() && proxy.spec.name.as_bytes() == name)
    }

    fn server_named(&self, backend: &[u8], server: &[u8]) -> Option<(usize, usize)> {
        let proxy = self.backend_named(backend)?;
        let server = self[proxy]
            .servers
            .iter()
            .position(|other| other.spec.name.as_bytes() == server)?;
        Some((proxy, server))
    }
}

/// A timeout as fetches give it: 0 where none is set.
fn timeout(ms: Option<u64>) -> i64 {
    ms.and_then(|ms| i64::try_from(ms).ok()).unwrap_or(0)
}

/// Servers that are running, or, if there are none but backups, those.
fn in_use(proxy: &Proxy) -> impl Iterator<Item = &Server> {
    let (active, _) = proxy.usable_counts();
    proxy
        .servers
        .iter()
        .filter(move |server| server.is_up() && (active == 0 || !server.spec.backup))
}

/// `be_conn_free`: -1 where a server has no limit.
fn free_places(proxy: &Proxy) -> i64 {
    let mut free = 0;
    for server in in_use(proxy) {
        match server.maxconn {
            0 => return -1,
            maxconn => free += i64::from(maxconn) - i64::from(server.sessions),
        }
    }
    free.max(0)
}

/// `connslots`: -1 where a server has no limit of connections or of its queue.
fn slots(proxy: &Proxy) -> i64 {
    let mut slots = 0;
    for server in proxy.servers.iter().filter(|server| server.is_up()) {
        match (server.maxconn, server.spec.maxqueue) {
            (0, _) | (_, 0) => return -1,
            (maxconn, maxqueue) => {
                let connections = i64::from(maxconn) - i64::from(server.sessions);
                slots += connections + i64::from(maxqueue) - server.queue.len() as i64;
            }
        }
    }
    slots.max(0)
}
