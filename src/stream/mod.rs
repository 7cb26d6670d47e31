//! How a request travels: accept, choose a backend, stick or balance, connect, forward, log; for HTTP and for TCP.
//!
//! A stream is one client connection with at most one exchange in flight. One function, `Streams::drive`, makes all the
//! progress a stream can make and arms its timer; it is called when an event, a timer or another stream (a place on a
//! server has become free) says that something may be possible. States:
//!
//! ```text
//!            ┌──────────────────────────── keep-alive ─────────────────────────────┐
//!            ▼                                                                     │
//!  accept → Idle → Head → (Deciding) → (Queued) → (TurnAround) → Connecting → Transfer ─────────┤
//!                    │        │           │           │              │          │    └→ Tunnel │
//!                    └────────┴ (Tarpit) ─┴───────────┴── Reply ◄────┴──────────┘         │    │
//!                                               └──────→ Linger → gone ◄──────┴────┘
//! ```
//!
//! `Redispatching` (before the choice of another server) and `Connected` (before the first byte) are steps, in which nobody waits.
//!
//! Invariants: an idle keep-alive connection holds no exchange and no buffer; a stream that left holds no place on a
//! server, no place in a queue and no server connection (`finish::leave_server` is the one way out); a place given
//! back wakes whoever waits for it in the same turn.
//!
//! Not here: what bytes mean (`http/`), where requests go (`backend/`), checks, peers.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::SystemTime;

use slab::Slab;

use crate::backend::counters::{FrontEvent, ProcessCounters};
use crate::backend::{Names, Proxy, names};
use crate::config::model::Mode;
use crate::http::{Page, RequestHead, builtin_pages};
use crate::log::{Cause, Logger, Phase, TargetSet};
use crate::net::{BoundListener, Connection, Pipes, ReadResult, proxy_protocol};
use crate::reactor::{BufferPool, Kind, TimerSlot, Timers, Token};
use crate::rules::{Action, Message, Notes, Rule, SetKind};
use crate::sample::{Registry, Scratch, VarStore};
use crate::stats::Vitals;
use crate::stick::{Table, Tracked};

mod body;
mod captured;
mod channel;
mod connect;
mod cookies;
mod decide;
mod departures;
mod exchange;
mod export;
mod finish;
mod handover;
mod http;
mod identify;
mod inspect;
mod invalid;
mod log;
mod pool;
mod reply;
mod respond;
mod retry;
mod route;
mod tcp;
mod timeouts;
mod track;

pub use departures::{Departure, Departures};
use exchange::in_flight;
pub use exchange::{Exchange, ExchangePool, Room};
pub use handover::{Handover, MovedClient};
pub use pool::Pool;

/// A frontend's listening socket.
#[derive(Debug)]
pub struct FrontListener {
    /// The socket.
    pub socket: BoundListener,
    /// Index of the proxy.
    pub proxy: usize,
    /// Index of its `bind`.
    pub bind: usize,
    /// Connections may be waiting.
    pub is_ready: bool,
}

/// Names a stream; a later stream in the same slot has another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamKey {
    index: u32,
    generation: u32,
}

impl StreamKey {
    fn token(self) -> mio::Token {
        Token::new(Kind::Client, self.index, self.generation).pack()
    }
}

/// Where a stream is; drawn in the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Its PROXY header has not come in full.
    Header,
    /// Between two requests, or before the first: no byte of a request has come.
    Idle,
    /// Some of a request's head has come.
    Head,
    /// Its rules wait for more data.
    Deciding,
    /// A rule keeps it waiting for its refusal.
    Tarpit,
    /// Waiting for a place on a server.
    Queued,
    /// Waiting a moment before the next connection attempt.
    TurnAround,
    /// The server failed it; another is to be chosen.
    Redispatching,
    /// Waiting for the connection to the server.
    Connecting,
    /// The connection stands and nothing was sent yet.
    Connected,
    /// Request and response are on their way.
    Transfer,
    /// Bytes in both directions, whatever they are: TCP, upgrades, CONNECT.
    Tunnel,
    /// Our own answer is on its way; the connection is closed after it.
    Reply,
    /// Our side is closed; the client's last bytes are read and dropped, so that it can read our answer.
    Linger,
}

/// What to do after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The state has changed: go on with it.
    Again,
    /// Nothing more can be done now.
    Wait,
    /// It goes on when all events of this turn are dealt with (`Core::deferred`).
    Later,
    /// The stream is over.
    Close,
}

/// What a client's connection is, whatever the rules of its requests make of their source.
#[derive(Debug, Default)]
struct Front {
    /// Source and destination, as the rules of connections and the PROXY header left them; no destination: the socket's own.
    addresses: [Option<SocketAddr>; 2],
    /// Its PROXY header.
    header: Option<proxy_protocol::Details>,
    /// Why it has none: the connection is about to be closed.
    fault: Option<proxy_protocol::Fault>,
}

impl Front {
    /// Whether any rule of the proxy may give requests another source or destination.
    fn is_overruled(proxy: &Proxy) -> bool {
        let sets_address = |rule: &Rule| matches!(rule.action, Action::SetAddress(_));
        let sets = SetKind::ALL.iter().map(|kind| proxy.spec.rules.of(*kind));
        sets.flatten().any(sets_address)
    }

    /// What expressions see of it; without an address they take the stream's source and the socket's own.
    fn facts(front: &Option<Box<Front>>) -> FrontFacts<'_> {
        match front.as_deref() {
            Some(front) => (front.addresses, front.header.as_ref()),
            None => ([None; 2], None),
        }
    }
}

/// Source and destination, and the PROXY header.
type FrontFacts<'a> = ([Option<SocketAddr>; 2], Option<&'a proxy_protocol::Details>);

/// A server on which a stream may have a connection of its own.
#[derive(Clone, Copy, Debug)]
struct OwnServer {
    backend: u16,
    server: u16,
    /// It gave the last answer: the next request should go there, where nothing else decides.
    is_preferred: bool,
}

/// One client connection.
#[derive(Debug)]
struct Stream {
    key: StreamKey,
    client: Connection,
    state: State,
    /// Index of the proxy that accepted it, and of the `bind` line.
    frontend: u32,
    bind: u32,
    source: Option<SocketAddr>,
    destination: Option<SocketAddr>,
    /// Where it may have a connection that nobody else may use.
    own_server: Option<OwnServer>,
    /// Kept only where it can be something else than the stream's addresses: there was a PROXY header, or a rule may change them.
    front: Option<Box<Front>>,
    accepted_ms: u64,
    accepted: SystemTime,
    /// When the present request's turn began: the connection was accepted, or the request before it ended.
    turn_ms: u64,
    turn_began: SystemTime,
    /// When the client, the server last moved a byte.
    client_active_ms: u64,
    server_active_ms: u64,
    /// When the present state was entered.
    state_since_ms: u64,
    /// Requests so far, the present one included.
    requests: u32,
    timer: TimerSlot,
    /// Stands in `Core::unfinished`.
    is_unfinished: bool,
    /// Variables of the scope `sess`.
    vars: RefCell<VarStore>,
    /// What the connection tracks; its frontend's rules let it.
    tracked: Option<Box<Tracked>>,
    /// The same, after the tables went to another process.
    late: Option<Box<track::Late>>,
    exchange: Option<Box<Exchange>>,
}

/// All that an idle keep-alive connection holds beside its timer (40 bytes) and what the kernel has of it.
const _: () = assert!(size_of::<Stream>() <= 240);

impl Stream {
    /// Backend and server that its next request should go to, where nothing else decides.
    fn preferred_server(&self) -> Option<(u16, u16)> {
        let own = self.own_server.filter(|own| own.is_preferred)?;
        Some((own.backend, own.server))
    }

    fn enter(&mut self, state: State, now_ms: u64) -> Step {
        self.state = state;
        self.state_since_ms = now_ms;
        Step::Again
    }

    /// Where it came in: the index of the proxy and of its `bind` line.
    fn entrance(&self) -> (usize, usize) {
        (self.frontend as usize, self.bind as usize)
    }

    /// Why the connection has been refused.
    fn fault(&self) -> Option<proxy_protocol::Fault> {
        self.front.as_ref()?.fault
    }

    /// Reads what the client sends into its direction of the exchange, and counts it.
    fn receive(&mut self, core: &mut Core) -> io::Result<ReadResult> {
        let entrance = self.entrance();
        let exchange = in_flight(&mut self.exchange);
        let (buffers, pipes) = (&mut core.buffers, &mut core.pipes);
        let result = exchange
            .up
            .fill_or_splice(&mut self.client, buffers, pipes)?;
        if let ReadResult::Bytes(count) = result {
            finish::count_bytes_in(exchange, &mut core.proxies, entrance, count);
            self.client_active_ms = core.now_ms;
        }
        Ok(result)
    }
}

/// Everything that streams work with and share with the rest of the worker.
pub struct Core {
    /// Where sockets are registered.
    pub registry: mio::Registry,
    /// All timers of the worker.
    pub timers: Timers,
    /// Session buffers.
    pub buffers: BufferPool,
    /// For bodies that nobody looks at.
    pipes: Pipes,
    /// Monotonic time of this turn.
    pub now_ms: u64,
    /// Wall-clock time of this turn.
    pub wall: SystemTime,
    /// Running state of all proxies, as in `Config::proxies`.
    pub proxies: Vec<Proxy>,
    /// Log targets of each proxy.
    pub log_sets: Vec<TargetSet>,
    /// All stick tables, as in `Config::tables`.
    pub tables: Vec<Table>,
    /// Log targets.
    pub logger: Logger,
    /// Name of this machine, for logs.
    host_name: String,
    /// Number of this process.
    pid: u32,
    /// Requests and TCP sessions so far.
    requests_begun: u64,
    /// For expressions.
    pub scratch: Scratch,
    /// What rules note about a connection that has no stream yet: nothing that lasts.
    unnoted: Notes,
    /// The answer that a rule has composed.
    message: Message,
    /// Backends by name.
    backend_names: Rc<Names>,
    /// Pages that ask for a password, as they were composed for the first request that needed them.
    auth_pages: Vec<reply::AuthPage>,
    /// A header line with cookies, while it is edited or written.
    cookie_line: Vec<u8>,
    /// The request that rules look for in a TCP stream; it lasts for one evaluation.
    sniffed: RequestHead,
    /// What expressions share.
    pub samples: Registry,
    /// Sets of counters for connections that track.
    unused_sets: track::SetPool,
    /// Some rule lets something be tracked.
    is_tracking: bool,
    /// Some rule may change the source or destination of requests.
    sets_addresses: bool,
    /// Counters of the process.
    pub process: ProcessCounters,
    /// What else is shown of it.
    pub vitals: Vitals,
    /// A piece of metrics on its way into a buffer.
    exported: Vec<u8>,
    /// Client connections now.
    pub connections: u32,
    /// Most client connections at once (`maxconn`).
    pub connections_max: u32,
    /// A soft stop is under way: no connection is kept after its response.
    is_stopping: bool,
    /// Whether another worker has the tables now.
    handover: Handover,
    /// Connections to servers.
    pub pool: Pool,
    /// Unused exchanges.
    pub exchanges: ExchangePool,
    /// Unused exchanges of TCP streams, without room for heads.
    pub tcp_exchanges: ExchangePool,
    /// The built-in pages.
    pages: Vec<Rc<Page>>,
    /// Most bytes of a message head: a buffer less `tune.maxrewrite`.
    head_bytes_max: usize,
    /// Streams that were given a place on a server (or, with `None`, lost the one they waited for), to be driven.
    granted: VecDeque<(mio::Token, usize, Option<usize>)>,
    /// Streams that used up their share of this turn.
    unfinished: Vec<StreamKey>,
    /// Streams that go on when all events of this turn are dealt with: what is to be looked up for them is on its way into the cache, or
    /// their server connection was opened and takes the request.
    deferred: Vec<StreamKey>,
}

/// What a `Core` is made of.
pub struct CoreParts {
    /// See [`Core`].
    pub registry: mio::Registry,
    /// See [`Core`].
    pub timers: Timers,
    /// See [`Core`].
    pub proxies: Vec<Proxy>,
    /// See [`Core`].
    pub log_sets: Vec<TargetSet>,
    /// See [`Core`].
    pub tables: Vec<Table>,
    /// See [`Core`].
    pub logger: Logger,
    /// Most client connections at once.
    pub connections_max: u32,
    /// See [`Core`].
    pub samples: Registry,
    /// `tune.bufsize`.
    pub buffer_bytes: usize,
    /// `tune.http.maxhdr`.
    pub headers_max: usize,
    /// `tune.http.logurilen`.
    pub logged_line_max: usize,
    /// `tune.maxrewrite`: what of a buffer is left for edits when a head is received.
    pub rewrite_bytes: usize,
    /// Present time, monotonic.
    pub now_ms: u64,
    /// Present time.
    pub wall: SystemTime,
}

/// Rounds of reading and writing that one stream gets in one turn of the loop.
const ROUNDS_MAX: usize = 16;

/// Changes of state that one stream may go through before others get their turn.
const STEPS_MAX: u32 = 64;

/// Unused exchanges and buffers that are kept; beyond, they go back to the allocator.
const IDLE_EXCHANGES_MAX: usize = 1024;

impl Core {
    /// The shared part of a worker.
    pub fn new(parts: CoreParts) -> Core {
        let is_tracking = parts.proxies.iter().any(track::tracks);
        let sets_addresses = parts.proxies.iter().any(Front::is_overruled);
        let proxies = parts.proxies.iter().enumerate();
        let backends = proxies.filter(|(_, proxy)| proxy.spec.kind.is_backend());
        let backend_names = names(backends.map(|(index, proxy)| (index, &*proxy.spec.name)));
        let pool = Pool::new(parts.proxies.iter().map(|proxy| proxy.servers.len()));
        Core {
            registry: parts.registry,
            timers: parts.timers,
            buffers: BufferPool::new(parts.buffer_bytes, 2 * IDLE_EXCHANGES_MAX),
            pipes: Pipes::new(),
            now_ms: parts.now_ms,
            wall: parts.wall,
            proxies: parts.proxies,
            log_sets: parts.log_sets,
            tables: parts.tables,
            logger: parts.logger,
            host_name: crate::sys::host::name().unwrap_or_default(),
            pid: std::process::id(),
            requests_begun: 0,
            scratch: Scratch::new(parts.buffer_bytes),
            unnoted: Notes::default(),
            message: Message::default(),
            cookie_line: Vec::new(),
            backend_names,
            auth_pages: Vec::new(),
            unused_sets: track::SetPool::default(),
            is_tracking,
            sets_addresses,
            process: ProcessCounters::default(),
            vitals: Vitals::new(parts.wall, parts.now_ms),
            exported: Vec::new(),
            connections: 0,
            connections_max: parts.connections_max,
            is_stopping: false,
            handover: Handover::None,
            pool,
            exchanges: ExchangePool::new(
                Room {
                    headers_max: parts.headers_max,
                    scratch_bytes: parts.buffer_bytes,
                    logged_line_max: parts.logged_line_max,
                },
                IDLE_EXCHANGES_MAX,
                &parts.samples,
            ),
            sniffed: RequestHead::new(parts.headers_max, 0),
            tcp_exchanges: ExchangePool::new(Room::default(), IDLE_EXCHANGES_MAX, &parts.samples),
            samples: parts.samples,
            pages: builtin_pages().into_iter().map(Rc::new).collect(),
            head_bytes_max: parts.buffer_bytes.saturating_sub(parts.rewrite_bytes),
            granted: VecDeque::new(),
            unfinished: Vec::new(),
            deferred: Vec::new(),
        }
    }

    /// Counts for a frontend and one of its `bind` lines.
    fn count_front(&mut self, (frontend, bind): (usize, usize), event: FrontEvent) {
        self.proxies[frontend].count_front(bind, event);
    }

    /// `option abortonclose` of either side: a client that closes its sending side waits for no answer.
    fn aborts_on_close(&self, frontend: u32, backend: Option<usize>) -> bool {
        let says = |proxy: usize| self.proxies[proxy].spec.options.abort_on_close;
        says(frontend as usize) || backend.is_some_and(says)
    }

    /// The stream has used up its share of this turn and goes on in the next one.
    fn go_on_later(&mut self, stream: &mut Stream) {
        if !std::mem::replace(&mut stream.is_unfinished, true) {
            self.unfinished.push(stream.key);
        }
    }

    /// Gives free places of a server to those who wait for them; `Streams::drive_granted` follows.
    pub fn serve_queues(&mut self, proxy: usize, server: usize) {
        while let Some(waiter) = self.proxies[proxy].next_waiting(server) {
            self.proxies[proxy].take(server);
            self.granted.push_back((waiter, proxy, Some(server)));
        }
    }

    fn server_changed(&mut self, proxy: usize, server: usize) {
        if !self.proxies[proxy].servers[server].is_up() {
            self.close_idle_connections(proxy, server);
            let mut waiting = Vec::new();
            self.proxies[proxy].drain_server_queue(server, &mut waiting);
            self.granted
                .extend(waiting.into_iter().map(|waiter| (waiter, proxy, None)));
        }
        // One that goes may bring others into play: the backups.
        for other in 0..self.proxies[proxy].servers.len() {
            self.serve_queues(proxy, other);
        }
    }

    /// Closes a server's idle connections: it is down, or somewhere else.
    pub fn close_idle_connections(&mut self, proxy: usize, server: usize) {
        let closed = self.pool.close_all_idle((proxy, server));
        self.proxies[proxy].servers[server].idle_connections -= closed as u32;
    }

    /// Closes server connections that nobody needs, for the sake of their descriptors: those that were left in this turn, or the one that has
    /// been idle longest. False when there is none.
    pub fn give_up_idle_connection(&mut self) -> bool {
        if self.pool.close_left() {
            return true;
        }
        let Some((proxy, server)) = self.pool.close_oldest() else {
            return false;
        };
        self.proxies[proxy].servers[server].idle_connections -= 1;
        true
    }

    /// Closes idle server connections that nobody has used for `pool-purge-delay`, a bounded number a call.
    pub fn purge_idle_connections(&mut self) {
        const PURGES_MAX: usize = 64;
        for (proxy_index, proxy) in self.proxies.iter_mut().enumerate() {
            for (server_index, server) in proxy
                .servers
                .iter_mut()
                .enumerate()
                .filter(|(_, s)| s.idle_connections > 0)
            {
                let age_ms = server.spec.pool_purge_ms;
                let closed = self.pool.close_old(
                    (proxy_index, server_index),
                    self.now_ms,
                    age_ms,
                    PURGES_MAX,
                );
                server.idle_connections -= closed as u32;
            }
        }
    }
}

/// Asks for the events that the stream waits for, where they were not asked for before. While a complete request is with its server,
/// there is nothing that a client could say that anybody would hear; a short exchange may be over before the client is watched at all.
fn watch(stream: &mut Stream, core: &mut Core) -> io::Result<()> {
    let mut hears_client = true;
    if let Some(exchange) = stream.exchange.as_deref() {
        if let Some(link) = exchange.link {
            core.pool.watch(link, &core.registry)?;
        }
        hears_client = stream.state != State::Transfer
            || !exchange.up.is_complete
            || stream.client.awaits_write()
            || core.aborts_on_close(stream.frontend, exchange.backend);
    }
    match hears_client {
        true => stream.client.watch(&core.registry, stream.key.token()),
        false => Ok(()),
    }
}

/// All client connections.
pub struct Streams {
    slab: Slab<Stream>,
    generation: u32,
    /// What all streams share.
    pub core: Core,
}

impl Streams {
    /// No stream yet.
    pub fn new(core: Core) -> Streams {
        Streams {
            slab: Slab::new(),
            generation: 0,
            core,
        }
    }

    /// Number of client connections.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there is no client connection.
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// Whether `frontend` may accept one more connection now.
    pub fn may_accept(&self, frontend: usize) -> bool {
        let proxy = &self.core.proxies[frontend];
        self.core.connections < self.core.connections_max && proxy.connections < proxy.maxconn
    }

    /// Takes in a connection that was accepted on a `bind` line of `frontend`.
    pub fn accepted(
        &mut self,
        client: Connection,
        source: Option<SocketAddr>,
        frontend: usize,
        bind: usize,
    ) {
        let core = &mut self.core;
        let now_ms = core.now_ms;
        self.generation = self.generation.wrapping_add(1);
        let entry = self.slab.vacant_entry();
        let key = StreamKey {
            index: entry.key() as u32,
            generation: self.generation,
        };
        let proxy = &mut core.proxies[frontend];
        if proxy.spec.options.client_keepalive {
            client.enable_keepalive(proxy.spec.options.client_probes);
        }
        if proxy.spec.options.no_linger {
            client.close_with_reset();
        }
        proxy.connection_opened(bind);
        proxy
            .frontend_counters
            .connection_accepted(now_ms, proxy.connections);
        core.connections += 1;
        core.process.connections_total += 1;
        core.process.connection_rate.count(now_ms);
        entry.insert(Stream {
            key,
            client,
            state: State::Idle,
            frontend: frontend as u32,
            bind: bind as u32,
            source,
            destination: None,
            own_server: None,
            front: None,
            accepted_ms: now_ms,
            accepted: core.wall,
            turn_ms: now_ms,
            turn_began: core.wall,
            client_active_ms: now_ms,
            server_active_ms: now_ms,
            state_since_ms: now_ms,
            requests: 0,
            timer: TimerSlot::NONE,
            is_unfinished: false,
            vars: RefCell::new(core.samples.session_vars()),
            tracked: None,
            late: None,
            exchange: None,
        });
        let step = identify::begin(&mut self.slab[key.index as usize], core);
        self.follow(key, step);
        self.drive_granted();
    }

    /// An event on a client's socket.
    pub fn on_client_event(&mut self, token: Token, event: &mio::event::Event) {
        let index = token.index as usize;
        if let Some(stream) = self
            .slab
            .get_mut(index)
            .filter(|stream| token.is_generation(stream.key.generation))
        {
            stream.client.note_event(event);
            let key = stream.key;
            self.drive(key);
            self.drive_granted();
        }
    }

    /// An event on a server's socket.
    pub fn on_server_event(&mut self, token: Token, event: &mio::event::Event) {
        let Some((_, owner, connection)) = self.core.pool.by_token(token) else {
            return;
        };
        connection.note_event(event);
        match owner {
            Some(owner) => {
                self.drive(owner);
                self.drive_granted();
            }
            None => self.on_idle_event(token, event),
        }
    }

    /// An event on a server's socket, which concerns only a connection that is idle: no request asked for it.
    pub fn on_idle_event(&mut self, token: Token, event: &mio::event::Event) {
        let Some((index, None, connection)) = self.core.pool.by_token(token) else {
            return;
        };
        connection.note_event(event);
        if connection.may_read() || connection.is_hung_up() {
            let (proxy, server) = self.core.pool.close_idle(index);
            self.core.proxies[proxy].servers[server].idle_connections -= 1;
        }
    }

    /// A stream's timer.
    pub fn on_timer(&mut self, token: Token) {
        let index = token.index as usize;
        let Some(stream) = self
            .slab
            .get_mut(index)
            .filter(|stream| token.is_generation(stream.key.generation))
        else {
            return;
        };
        let key = stream.key;
        let step = timeouts::expire(stream, &mut self.core);
        self.follow(key, step);
        self.drive_granted();
    }

    /// To be called when a server's state, weight or limit has changed: whoever can go on elsewhere, does.
    pub fn server_changed(&mut self, proxy: usize, server: usize) {
        self.core.server_changed(proxy, server);
        self.drive_granted();
    }

    /// Drives those who were given a place on a server, and those whom this sets going, and so on. To be called before
    /// anything else happens: who is in `granted` is in no queue any more and could not leave.
    fn drive_granted(&mut self) {
        while let Some((waiter, proxy, server)) = self.core.granted.pop_front() {
            let stream = Token::unpack(waiter).and_then(|token| {
                let stream = self.slab.get_mut(token.index as usize)?;
                token.is_generation(stream.key.generation).then_some(stream)
            });
            let Some(stream) = stream else {
                debug_assert!(
                    false,
                    "a stream that leaves takes its place in the queue with it"
                );
                continue;
            };
            let key = stream.key;
            let step = connect::granted(stream, &mut self.core, proxy, server);
            self.follow(key, step);
        }
    }

    /// Whether streams wait for their next share of work: the loop must not sleep.
    pub fn has_unfinished(&self) -> bool {
        !self.core.unfinished.is_empty()
    }

    /// Drives those that used up their share of the last turn.
    pub fn drive_unfinished(&mut self) {
        // Those who do not finish now stand behind the present ones.
        let present = self.core.unfinished.len();
        for index in 0..present {
            let key = self.core.unfinished[index];
            let stream = self.slab.get_mut(key.index as usize);
            if let Some(stream) = stream.filter(|stream| stream.key == key) {
                stream.is_unfinished = false;
                self.drive(key);
                self.drive_granted();
            }
        }
        self.core.unfinished.drain(..present);
    }

    /// Those who left the rest of the turn first go on: what they look for in stick tables is looked up, then the requests of all who connected
    /// leave, one right after the other.
    pub fn drive_deferred(&mut self) {
        for &key in &self.core.deferred {
            let stream = self.slab.get(key.index as usize);
            let stream = stream.filter(|stream| stream.key == key);
            if let Some(exchange) = stream.and_then(|stream| stream.exchange.as_ref()) {
                exchange.stores.announce_found(&self.core.tables);
            }
        }
        let mut index = 0;
        // Who looked something up comes again with its connection, and a connection that fails may be followed by another one; retries are
        // counted.
        while let Some(&key) = self.core.deferred.get(index) {
            index += 1;
            let stream = self.slab.get(key.index as usize);
            if stream.is_some_and(|stream| stream.key == key) {
                self.drive(key);
                self.drive_granted();
            }
        }
        self.core.deferred.clear();
    }

    /// What a turn ends with: nobody who was deferred in it waits for the next one, and connections that were left are closed.
    pub fn end_turn(&mut self) {
        self.drive_deferred();
        self.core.pool.close_left();
    }

    /// Soft stop: closes connections between two requests; the others are closed after their response.
    pub fn begin_soft_stop(&mut self) {
        self.core.is_stopping = true;
        let is_idle = |stream: &Stream| stream.state == State::Idle && stream.requests > 0;
        let keys: Vec<StreamKey> = self
            .slab
            .iter()
            .filter(|(_, stream)| is_idle(stream))
            .map(|(_, stream)| stream.key)
            .collect();
        keys.into_iter().for_each(|key| self.remove(key));
    }

    /// Ends all that is still running; the log says that it was killed.
    pub fn kill_all(&mut self) {
        // Those who wait go first: a place that is given back must find nobody to go to.
        let waits = |stream: &Stream| stream.state == State::Queued;
        let mut keys: Vec<StreamKey> = self.slab.iter().map(|(_, stream)| stream.key).collect();
        keys.sort_by_key(|key| !waits(&self.slab[key.index as usize]));
        for key in keys {
            let stream = &mut self.slab[key.index as usize];
            let phase = match stream.state {
                State::Header | State::Idle | State::Head | State::Deciding => Phase::Request,
                State::Tarpit => Phase::Tarpit,
                State::Queued => Phase::Queue,
                State::TurnAround | State::Redispatching | State::Connecting | State::Connected => {
                    Phase::Connect
                }
                State::Transfer | State::Tunnel => Phase::Data,
                State::Reply | State::Linger => Phase::Last,
            };
            if let Some(exchange) = &mut stream.exchange {
                let awaits_head = stream.state == State::Transfer && !exchange.has_response;
                let phase = if awaits_head { Phase::Headers } else { phase };
                exchange.termination.set(Cause::Killed, phase);
            }
            self.remove(key);
        }
    }

    fn follow(&mut self, key: StreamKey, step: Step) {
        match step {
            Step::Close => self.remove(key),
            Step::Again | Step::Wait => self.drive(key),
            Step::Later => {}
        }
    }

    /// Makes all the progress that a stream can make now.
    fn drive(&mut self, key: StreamKey) {
        let core = &mut self.core;
        let stream = &mut self.slab[key.index as usize];
        let mut steps = 0;
        loop {
            if matches!(stream.state, State::Idle | State::Head)
                && !matches!(core.handover, Handover::None)
            {
                return self.depart(key);
            }
            if steps == STEPS_MAX {
                // A pipeline that we answer ourselves: others come first.
                core.go_on_later(stream);
                break;
            }
            steps += 1;
            let step = match stream.state {
                State::Header => identify::read_header(stream, core),
                State::Idle | State::Head => http::read_request(stream, core),
                State::Deciding => decide::decide(stream, core),
                State::Tarpit => decide::watch_tarpit(stream, core),
                State::Queued | State::TurnAround => connect::watch_client(stream, core),
                State::Redispatching => connect::redispatch(stream, core),
                State::Connecting => connect::check(stream, core),
                State::Connected => match core.proxies[stream.frontend as usize].spec.mode {
                    Mode::Tcp => tcp::established(stream, core),
                    Mode::Http => http::begin_transfer(stream, core),
                },
                State::Transfer => http::transfer(stream, core),
                State::Tunnel => tcp::relay(stream, core),
                State::Reply => http::send_reply(stream, core),
                State::Linger => finish::linger(stream, core),
            };
            match step {
                Step::Again => {}
                Step::Wait => break,
                Step::Later => return,
                Step::Close => return self.remove(key),
            }
        }
        if watch(stream, core).is_err() {
            core.count_front(stream.entrance(), FrontEvent::InternalError);
            return self.remove(key);
        }
        timeouts::arm(stream, core);
    }

    fn remove(&mut self, key: StreamKey) {
        let mut stream = self.slab.remove(key.index as usize);
        let core = &mut self.core;
        finish::close(&mut stream, core);
        core.timers.cancel(&mut stream.timer);
        let proxy = &mut core.proxies[stream.frontend as usize];
        proxy.connection_closed(stream.bind as usize);
        core.connections -= 1;
    }
}
