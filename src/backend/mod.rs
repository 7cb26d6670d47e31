//! Where requests go: proxies with their servers, balance, queues, sticky rules and counters.
//!
//! A `Proxy` is the running state of a frontend, backend or listen section; its index is that of `Config::proxies`.
//! Invariants: a session that holds a place on a server is counted in `Server::sessions` exactly once, from `take` to
//! `release`; nobody waits in a backend's queue while a usable server has a free place.
//!
//! Not here: sockets and clocks. Streams are known by their tokens only.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

pub mod balance;
pub mod check_report;
pub mod cookie;
pub mod counters;
mod facts;
pub mod invalid;
pub mod notices;
pub mod queue;
pub mod readiness;
pub mod server;
pub mod sticky;

pub use balance::{Balancer, Pick};
pub use check_report::{CheckReport, CheckStatus};
pub use queue::{Place, Priority, Queue};
pub use server::{Admin, Health, Server};

use crate::config::model::{self, Reuse, ServerPort};
use crate::net::Address;
use counters::{BackendCounters, FrontEvent, FrontendCounters, ListenerCounters};
use invalid::InvalidMessages;

/// The running state of a frontend, backend or listen section.
#[derive(Debug)]
pub struct Proxy {
    /// Log lines of the frontend so far.
    pub lines_logged: u64,
    /// As the configuration declares it.
    pub spec: Rc<model::Proxy>,
    /// Client connections of the frontend side.
    pub connections: u32,
    /// `maxconn` of the frontend side in force.
    pub maxconn: u32,
    /// Counters of the frontend side.
    pub frontend_counters: FrontendCounters,
    /// Counters of each `bind` line, in order.
    pub listener_counters: Vec<ListenerCounters>,
    /// Servers in declaration order.
    pub servers: Vec<Server>,
    /// Sessions of the backend side, waiting ones included.
    pub sessions: u32,
    /// Streams that wait for any server.
    pub queue: Queue,
    /// Counters of the backend side.
    pub backend_counters: BackendCounters,
    /// Monotonic time since when the backend side is up or down.
    pub last_change_ms: u64,
    /// `fullconn` in force.
    pub fullconn: u32,
    /// Servers by name.
    pub server_names: Rc<Names>,
    /// What `show errors` shows.
    pub invalid: InvalidMessages,
    balancer: Balancer,
    arrivals: u64,
}

/// Places by name, for names that are only known at run time. The first of a name counts.
pub type Names = HashMap<Box<[u8]>, usize>;

/// The table of a list of names.
pub fn names<'n>(list: impl Iterator<Item = (usize, &'n str)>) -> Rc<Names> {
    let mut names = Names::default();
    for (index, name) in list {
        names.entry(name.as_bytes().into()).or_insert(index);
    }
    Rc::new(names)
}

impl Proxy {
    /// The state at start.
    pub fn new(spec: Rc<model::Proxy>, fullconn: u32, now_ms: u64) -> Proxy {
        let mut servers: Vec<Server> = spec
            .servers
            .iter()
            .map(|server| Server::new(Rc::new(server.clone()), now_ms))
            .collect();
        Proxy {
            connections: 0,
            maxconn: spec.maxconn,
            frontend_counters: FrontendCounters::default(),
            listener_counters: spec
                .binds
                .iter()
                .map(|_| ListenerCounters::default())
                .collect(),
            sessions: 0,
            queue: Queue::default(),
            backend_counters: BackendCounters::default(),
            last_change_ms: now_ms,
            fullconn: spec.fullconn.unwrap_or(fullconn),
            server_names: names(
                spec.servers
                    .iter()
                    .enumerate()
                    .map(|(index, server)| (index, &*server.name)),
            ),
            balancer: Balancer::new(spec.balance.clone(), spec.options.all_backups, &mut servers),
            servers,
            arrivals: 0,
            lines_logged: 0,
            invalid: InvalidMessages::default(),
            spec,
        }
    }

    /// A client's connection is open on one of its `bind`s.
    pub fn connection_opened(&mut self, bind: usize) {
        self.connections += 1;
        if let Some(listener) = self.listener_counters.get_mut(bind) {
            listener.connections += 1;
            listener.connections_total += 1;
            listener.connections_max = listener.connections_max.max(listener.connections);
        }
    }

    /// Counts what happened on the frontend side, for itself and for the `bind` where the client came in.
    pub fn count_front(&mut self, bind: usize, event: FrontEvent) {
        self.frontend_counters.count(event);
        if let Some(listener) = self.listener_counters.get_mut(bind) {
            listener.count(event);
        }
    }

    /// It is closed, or left for another process.
    pub fn connection_closed(&mut self, bind: usize) {
        self.connections -= 1;
        if let Some(listener) = self.listener_counters.get_mut(bind) {
            listener.connections -= 1;
        }
    }

    /// Whether it has a frontend side.
    pub fn is_frontend(&self) -> bool {
        self.spec.kind != model::ProxyKind::Backend
    }

    /// Whether it has a backend side.
    pub fn is_backend(&self) -> bool {
        self.spec.kind != model::ProxyKind::Frontend
    }

    /// Number of usable servers: active, backup.
    pub fn usable_counts(&self) -> (usize, usize) {
        self.balancer.usable_counts()
    }

    /// Sum of the weights of the servers in use.
    pub fn weight_total(&self) -> u32 {
        self.balancer.weight_total()
    }

    /// Changes what the checks say of a server. Whoever waited for it alone must be dispatched anew when it goes
    /// down: see `drain_server_queue`.
    pub fn set_health(&mut self, server: usize, health: Health, now_ms: u64) {
        let changed = &mut self.servers[server];
        let was_stopped = changed.health == Health::Stopped;
        let is_stopped = health == Health::Stopped;
        match (was_stopped, is_stopped) {
            (false, true) => changed.counters.down_transitions += 1,
            (true, false) => {
                changed.counters.downtime_ms += now_ms.saturating_sub(changed.last_change_ms);
            }
            _ => {}
        }
        changed.health = health;
        self.after_change(server, was_stopped != is_stopped, now_ms);
    }

    /// Changes what the operator says of a server.
    pub fn set_admin(&mut self, server: usize, admin: Admin, now_ms: u64) {
        let changes = self.servers[server].admin.is_maintenance() != admin.is_maintenance();
        self.servers[server].admin = admin;
        self.after_change(server, changes, now_ms);
    }

    /// Changes a server's weight (0 to 256).
    pub fn set_weight(&mut self, server: usize, weight: u32) {
        self.servers[server].weight = weight.min(server::WEIGHT_MAX);
        self.balancer.refresh(&mut self.servers);
    }

    /// What is known of a server beyond its configuration.
    pub fn remember(&self, server: usize) -> ServerMemory {
        let server = &self.servers[server];
        let declared = Server::declared_admin(&server.spec);
        ServerMemory {
            backend: self.spec.name.clone(),
            server: server.spec.name.clone(),
            admin: (server.admin != declared).then_some(server.admin.0),
            weight: (server.weight != server.spec.weight).then_some(server.weight),
            declared_weight: server.spec.weight,
            address: server.moved_address(),
            declared_address: server.spec.address.to_string(),
            is_stopped: server.health == Health::Stopped,
            is_checked: server.spec.check.is_some(),
            last_change_ms: server.last_change_ms,
            check: server.check.clone(),
        }
    }

    /// Takes over what a predecessor knew of a server, as far as the configuration still asks for it.
    pub fn recall(&mut self, server: usize, memory: &ServerMemory) {
        let recalled = &mut self.servers[server];
        if let Some(admin) = memory.admin {
            recalled.admin = Admin(admin);
            recalled.check.paused = recalled.admin.is_maintenance();
        }
        if let Some(weight) = memory.weight
            && recalled.spec.weight == memory.declared_weight
        {
            recalled.weight = weight.min(server::WEIGHT_MAX);
        }
        if let Some(moved) = &memory.address
            && recalled.spec.address.to_string() == memory.declared_address
        {
            recalled.set_address(Address::Inet(moved.address), moved.port.clone());
        }
        if memory.is_checked && !recalled.admin.is_maintenance() {
            if let Some(spec) = &recalled.spec.check {
                let health_max = (spec.rise + spec.fall).saturating_sub(1);
                // Up stays up and down stays down, also where `rise` changed.
                let health = match memory.is_stopped {
                    true => memory.check.health.min(spec.rise.saturating_sub(1)),
                    false => memory.check.health.max(spec.rise),
                };
                recalled.check = CheckReport {
                    health: health.min(health_max),
                    running: false,
                    ..memory.check.clone()
                };
                recalled.health = match memory.is_stopped {
                    true => Health::Stopped,
                    false => Health::Running,
                };
            }
        } else if memory.admin.is_some() {
            recalled.health = match recalled.admin.is_maintenance() {
                true => Health::Stopped,
                false => Health::Running,
            };
        }
        recalled.last_change_ms = memory.last_change_ms;
        self.balancer.refresh(&mut self.servers);
    }

    fn after_change(&mut self, server: usize, changes: bool, now_ms: u64) {
        let was_up = self.usable_counts() != (0, 0);
        self.balancer.refresh(&mut self.servers);
        if changes {
            self.servers[server].last_change_ms = now_ms;
        }
        let is_up = self.usable_counts() != (0, 0);
        match (was_up, is_up) {
            (true, false) => self.backend_counters.down_transitions += 1,
            (false, true) => {
                self.backend_counters.downtime_ms += now_ms.saturating_sub(self.last_change_ms);
            }
            _ => return,
        }
        self.last_change_ms = now_ms;
    }

    /// Most sessions that `server` takes now: `maxconn`, or less under `minconn` while the backend is not full.
    /// `None`: no limit.
    pub fn session_limit(&self, server: &Server) -> Option<u32> {
        session_limit(server, self.sessions, self.fullconn)
    }

    /// Whether an idle connection to this server is only for the client that used it: `http-reuse never`, or it was introduced by a
    /// PROXY header.
    pub fn is_never_shared(&self, server: usize) -> bool {
        self.spec.reuse == Reuse::Never || self.servers[server].spec.send_proxy.is_some()
    }

    /// Chooses a server for a new session; `avoided` is the one that just failed it.
    pub fn pick(&mut self, source: Option<IpAddr>, avoided: Option<usize>) -> Pick {
        let (sessions, fullconn) = (self.sessions, self.fullconn);
        self.balancer
            .pick(&mut self.servers, source, avoided, |server| {
                is_full(server, sessions, fullconn)
            })
    }

    /// Whether `server` has no free place.
    pub fn is_full(&self, server: usize) -> bool {
        is_full(&self.servers[server], self.sessions, self.fullconn)
    }

    /// Takes a place on a server.
    pub fn take(&mut self, server: usize) {
        let server = &mut self.servers[server];
        server.sessions += 1;
        server.sessions_max = server.sessions_max.max(server.sessions);
    }

    /// Gives a place back. The caller then serves the queues: `next_waiting`.
    pub fn release(&mut self, server: usize) {
        let server = &mut self.servers[server];
        assert!(server.sessions > 0, "a place is given back once");
        server.sessions -= 1;
    }

    /// Waits for `server`, or for any, from `now_ms` on.
    pub fn enqueue(
        &mut self,
        waiter: mio::Token,
        server: Option<usize>,
        priority: Priority,
        now_ms: u64,
    ) -> Place {
        self.arrivals += 1;
        let arrival = self.arrivals;
        self.queue_of(server)
            .push(waiter, priority, now_ms, arrival)
    }

    /// Waits no longer.
    pub fn dequeue(&mut self, place: Place, server: Option<usize>) {
        self.queue_of(server).remove(place);
    }

    /// The queue of a server, or the backend's own.
    pub fn queue_of(&mut self, server: Option<usize>) -> &mut Queue {
        match server {
            Some(server) => &mut self.servers[server].queue,
            None => &mut self.queue,
        }
    }

    /// Takes the stream that goes first to a place that `server` has free now: of its own queue and the
    /// backend's, by priority, then by order of arrival. The stream is out of the queue; it holds no place yet.
    pub fn next_waiting(&mut self, server: usize) -> Option<mio::Token> {
        if !self.servers[server].is_up() || self.is_full(server) {
            return None;
        }
        let own = self.servers[server].queue.first_rank();
        let shared = if self.balancer.may_choose(server) {
            self.queue.first_rank()
        } else {
            None
        };
        match (own, shared) {
            (Some(own), Some(shared)) if shared < own => self.queue.pop(),
            (Some(_), _) => self.servers[server].queue.pop(),
            (None, Some(_)) => self.queue.pop(),
            (None, None) => None,
        }
    }

    /// Takes all who wait for `server` alone, after it went down, to be dispatched anew.
    pub fn drain_server_queue(&mut self, server: usize, waiting: &mut Vec<mio::Token>) {
        waiting.extend(std::iter::from_fn(|| self.servers[server].queue.pop()));
    }
}

/// What a worker knows of a server beyond its configuration, to be passed to its successor.
#[derive(Clone, Debug)]
pub struct ServerMemory {
    /// Name of the backend.
    pub backend: String,
    /// Name of the server.
    pub server: String,
    /// What the operator says of it, if that is not what the configuration says.
    pub admin: Option<u8>,
    /// Its weight, if that is not what the configuration says.
    pub weight: Option<u32>,
    /// What the configuration says of its weight. Another one in the new configuration is obeyed.
    pub declared_weight: u32,
    /// Where it was moved to at run time.
    pub address: Option<MovedAddress>,
    /// Where the configuration has it. Another place in the new configuration is obeyed.
    pub declared_address: String,
    /// The checks say that it is down.
    pub is_stopped: bool,
    /// It was checked.
    pub is_checked: bool,
    /// Monotonic time of the last change between up and down.
    pub last_change_ms: u64,
    /// What the checks said last.
    pub check: CheckReport,
}

/// An address that a command gave to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedAddress {
    /// Where connections go.
    pub address: SocketAddr,
    /// Meaning of the port.
    pub port: ServerPort,
}

fn session_limit(server: &Server, sessions: u32, fullconn: u32) -> Option<u32> {
    if server.maxconn == 0 {
        return None;
    }
    let minconn = server.spec.minconn;
    if minconn == 0 || minconn >= server.maxconn || fullconn == 0 || sessions >= fullconn {
        return Some(server.maxconn);
    }
    let scaled = u64::from(server.maxconn) * u64::from(sessions) / u64::from(fullconn);
    Some(minconn.max(scaled as u32))
}

fn is_full(server: &Server, sessions: u32, fullconn: u32) -> bool {
    session_limit(server, sessions, fullconn).is_some_and(|limit| server.sessions >= limit)
}
