//! Streams in a reload: a worker that has handed over begins no request; what is between two requests moves on.
//!
//! A connection moves with what has been received of its next request, so the request is parsed, and stuck, by the new
//! worker alone. One that is busy moves when its response is complete. What a late response tells (a key and its server)
//! follows as a message, for the tables belong to the new worker; the client gets the response when that has heard it.
//! Invariant: from `hand_over` on nothing here writes to a table.
//! Not here: how departures travel (process).

use std::cell::RefCell;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::SystemTime;

use super::departures::{Departure, Departures};
use super::{Core, Front, State, Step, Stream, StreamKey, Streams, track};
use crate::backend::sticky::{self, Stores};
use crate::config::model::Mode;
use crate::net::{Connection, proxy_protocol};
use crate::reactor::TimerSlot;
use crate::sample::VarMemory;
use crate::stick::Table;
use crate::stick::tracked::CounterName;

/// A client connection between two requests, as it is passed to another worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedClient {
    /// Name of the frontend that accepted it, and the address of its `bind`.
    pub frontend: String,
    /// See above.
    pub bind: String,
    /// The client.
    pub source: Option<SocketAddr>,
    /// Where it connected to, as far as that is known: with `accept-proxy` nobody could ask again.
    pub destination: Option<SocketAddr>,
    /// When it was accepted: monotonic, and by the wall clock.
    pub accepted_ms: u64,
    /// See above.
    pub accepted: SystemTime,
    /// When the client last sent or took a byte.
    pub client_active_ms: u64,
    /// Since when it waits for the next request, or for the rest of it.
    pub waiting_since_ms: u64,
    /// Requests before the one to come.
    pub requests: u32,
    /// Bytes of the next request that have come.
    pub received: Vec<u8>,
    /// What its connection tracks.
    pub counters: Vec<CounterName>,
    /// The variables of its session.
    pub vars: Vec<VarMemory>,
    /// Source and destination of the connection itself, whatever rules have made of them.
    pub connection: [Option<SocketAddr>; 2],
    /// Its PROXY header.
    pub header: Option<proxy_protocol::Details>,
}

/// Whether this worker still owns the tables and begins requests.
#[derive(Debug, Default)]
pub enum Handover {
    /// It does.
    #[default]
    None,
    /// It has handed over; these are on their way to the new worker.
    To(Departures),
    /// It has handed over, the new worker is gone and none comes after it: nothing can move, what is running ends.
    Lost,
}

impl Handover {
    /// Whether a response that taught something late is to wait: until the new worker has heard so much. Its stream is driven then.
    pub(super) fn holds_back(&mut self, stream: StreamKey, learnt: u64) -> bool {
        match self {
            Handover::To(departures) if !departures.is_heard(learnt) => {
                departures.hold(stream);
                true
            }
            _ => false,
        }
    }
}

/// Binds the noted keys to `server`, which has answered: in the tables, or by a message to whoever owns them. Returns how much the new worker must
/// have heard before the client may know; 0: nothing.
pub(super) fn store(stores: &mut Stores, core: &mut Core, backend: usize, server: usize) -> u64 {
    let server = &core.proxies[backend].servers[server];
    match &mut core.handover {
        Handover::None => sticky::store(stores, &mut core.tables, server, core.now_ms),
        Handover::To(departures) => {
            let before = departures.learnt_total();
            sticky::store_late(stores, &core.tables, server, |late| {
                departures.push(Departure::Store(late));
            });
            let after = departures.learnt_total();
            return if after > before { after } else { 0 };
        }
        Handover::Lost => stores.clear(),
    }
    0
}

impl Streams {
    /// From now on no request is begun and no table is written to. Connections between two requests leave at once.
    pub fn hand_over(&mut self) {
        self.core.handover = Handover::To(Departures::default());
        let tables = &self.core.tables;
        self.slab
            .iter_mut()
            .for_each(|(_, stream)| track::let_go(stream, tables));
        self.core.tables.iter_mut().for_each(Table::freeze);
        for proxy in 0..self.core.proxies.len() {
            for server in 0..self.core.proxies[proxy].servers.len() {
                self.core.close_idle_connections(proxy, server);
            }
        }
        self.drive_resting();
    }

    /// The new worker is gone and none comes after it: what is running ends here, without it.
    pub fn successor_lost(&mut self) {
        let held = self.departures().map(Departures::take_held);
        self.core.handover = Handover::Lost;
        self.core.is_stopping = true;
        self.drive_resting();
        self.drive_held(held.unwrap_or_default());
    }

    /// The new worker has so much more of what was learnt late in the tables: responses that waited for that go on.
    pub fn late_heard(&mut self, count: u64) {
        if let Some(departures) = self.departures() {
            departures.heard(count);
            let held = departures.take_held();
            self.drive_held(held);
        }
    }

    fn drive_held(&mut self, held: Vec<StreamKey>) {
        for key in held {
            let stream = self.slab.get(key.index as usize);
            if stream.is_some_and(|stream| stream.key == key) {
                self.drive(key);
                self.drive_granted();
            }
        }
    }

    /// What leaves; `None`: nothing was handed over.
    pub fn departures(&mut self) -> Option<&mut Departures> {
        match &mut self.core.handover {
            Handover::To(departures) => Some(departures),
            _ => None,
        }
    }

    fn drive_resting(&mut self) {
        let is_resting = |stream: &Stream| matches!(stream.state, State::Idle | State::Head);
        let keys: Vec<StreamKey> = self
            .slab
            .iter()
            .filter(|(_, stream)| is_resting(stream))
            .map(|(_, stream)| stream.key)
            .collect();
        keys.into_iter().for_each(|key| self.drive(key));
    }

    /// A stream that rests in a worker that has handed over: it leaves.
    pub(super) fn depart(&mut self, key: StreamKey) {
        let core = &mut self.core;
        let stream = &self.slab[key.index as usize];
        if !matches!(core.handover, Handover::To(_)) || stream.client.is_read_closed() {
            return self.remove(key);
        }
        let mut stream = self.slab.remove(key.index as usize);
        let proxy = &mut core.proxies[stream.frontend as usize];
        proxy.connection_closed(stream.bind as usize);
        core.connections -= 1;
        core.timers.cancel(&mut stream.timer);
        let received = match stream.exchange.take() {
            Some(exchange) => {
                let received = exchange.up.buffer.filled().to_vec();
                core.exchanges.give(exchange, &mut core.buffers);
                received
            }
            None => Vec::new(),
        };
        // The socket lives on in another process: closing ours would leave it in this epoll.
        stream.client.deregister(&core.registry);
        let front = stream.front.map(|front| *front).unwrap_or_default();
        let moved = MovedClient {
            frontend: proxy.spec.name.clone(),
            bind: proxy.spec.binds[stream.bind as usize].address.to_string(),
            source: stream.source,
            destination: stream.destination,
            accepted_ms: stream.accepted_ms,
            accepted: stream.accepted,
            client_active_ms: stream.client_active_ms,
            waiting_since_ms: stream.state_since_ms,
            requests: stream.requests - u32::from(stream.state == State::Head),
            received,
            counters: stream
                .late
                .map(|late| late.of_connection)
                .unwrap_or_default(),
            vars: core.samples.remember_session(&stream.vars.borrow()),
            connection: front.addresses,
            header: front.header,
        };
        if let Handover::To(departures) = &mut core.handover {
            departures.push(Departure::Client(Box::new(moved), stream.client.into()));
        }
    }

    /// Takes in a connection that another worker passed on. One whose frontend is gone from the configuration is closed.
    pub fn adopt(&mut self, moved: MovedClient, socket: OwnedFd) {
        let core = &mut self.core;
        let Some(frontend) = core
            .proxies
            .iter()
            .position(|proxy| proxy.is_frontend() && proxy.spec.name == moved.frontend)
        else {
            return;
        };
        let proxy = &mut core.proxies[frontend];
        if proxy.spec.mode != Mode::Http || proxy.spec.binds.is_empty() {
            return;
        }
        let mut binds = proxy.spec.binds.iter();
        let bind = binds
            .position(|bind| bind.address.to_string() == moved.bind)
            .unwrap_or(0);
        let client = Connection::accepted(socket);
        self.generation = self.generation.wrapping_add(1);
        let entry = self.slab.vacant_entry();
        let key = StreamKey {
            index: entry.key() as u32,
            generation: self.generation,
        };
        proxy.connection_opened(bind);
        core.connections += 1;
        let mut exchange = None;
        if !moved.received.is_empty() {
            let mut taken = core.exchanges.take();
            taken.begin(core.now_ms, core.wall);
            core.buffers.attach(&mut taken.up.buffer);
            if taken.up.buffer.room() < moved.received.len() {
                // `tune.bufsize` has shrunk below what the client has sent already: too much for a head.
                core.exchanges.give(taken, &mut core.buffers);
                proxy.connection_closed(bind);
                core.connections -= 1;
                return;
            }
            taken.up.buffer.space()[..moved.received.len()].copy_from_slice(&moved.received);
            taken.up.buffer.commit(moved.received.len());
            exchange = Some(taken);
        }
        // The other worker may have had no rule that changes addresses, and this one may have some.
        let is_needed = core.sets_addresses
            || moved.connection.iter().any(Option::is_some)
            || moved.header.is_some();
        let addresses = match moved.connection {
            [None, None] => [moved.source, moved.destination],
            known => known,
        };
        let front = is_needed.then(|| {
            Box::new(Front {
                addresses,
                header: moved.header,
                fault: None,
            })
        });
        entry.insert(Stream {
            key,
            client,
            state: State::Idle,
            frontend: frontend as u32,
            bind: bind as u32,
            source: moved.source,
            destination: moved.destination,
            own_server: None,
            front,
            accepted_ms: moved.accepted_ms,
            accepted: moved.accepted,
            turn_ms: core.now_ms,
            turn_began: core.wall,
            client_active_ms: moved.client_active_ms,
            server_active_ms: core.now_ms,
            state_since_ms: moved.waiting_since_ms,
            requests: moved.requests,
            timer: TimerSlot::NONE,
            is_unfinished: false,
            vars: RefCell::new(core.samples.recall_session(&moved.vars)),
            tracked: None,
            late: None,
            exchange,
        });
        track::resume(&mut self.slab[key.index as usize], core, &moved.counters);
        self.follow(key, Step::Again);
    }
}
