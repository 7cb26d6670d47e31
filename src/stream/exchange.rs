//! An exchange: one request, its response, and all that is known about them while they are in flight.
//!
//! Exchanges are large (head tables, plans) and few: a stream holds one only from the first byte of a request to the
//! last of its response. They come from a pool and are used again, so nothing is allocated for a request.
//!
//! Not here: how bytes are moved (`channel`), what is kept of them for the log (`captured`).

use std::cell::RefCell;
use std::rc::Rc;
use std::time::SystemTime;

use super::body::Awaited;
use super::channel::Channel;
use super::cookies::Persistence;
use super::decide::Progress;
use super::inspect::Inspection;
use super::respond::ResponseProgress;
use crate::backend::Place;
use crate::backend::sticky::Stores;
use crate::http::{RequestHead, ResponseHead};
use crate::log::{CookieState, Termination};
use crate::reactor::BufferPool;
use crate::rules::{Notes, Reply};
use crate::sample::{Captures, Registry, StreamVars};
use crate::stats::prometheus::Export;
use crate::stick::Tracked;

/// What answers a request in the place of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Service {
    /// Nothing but servers and our own pages.
    #[default]
    None,
    /// The exporter of metrics, which has not written all yet.
    Exports(Export),
    /// The exporter, which has no more to say.
    Over,
}

/// When the stages of an exchange were reached, monotonic milliseconds.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct Times {
    pub started_ms: u64,
    pub head_ms: Option<u64>,
    pub assigned_ms: Option<u64>,
    pub connected_ms: Option<u64>,
    pub response_ms: Option<u64>,
    /// The request was tarpitted: its wait counts as one in a queue, and its head has no time.
    pub tarpit: bool,
}

/// One request and its response.
#[derive(Debug)]
pub struct Exchange {
    /// The request's head.
    pub request: RequestHead,
    /// The response's head.
    pub response: ResponseHead,
    /// Client to server.
    pub up: Channel,
    /// Server to client.
    pub down: Channel,
    /// Index of the proxy whose backend side serves it.
    pub backend: Option<usize>,
    /// Index of the server in the backend.
    pub server: Option<usize>,
    /// Whether a place on `server` is held.
    pub holds_place: bool,
    /// The server was chosen by a stick rule.
    pub is_sticky: bool,
    /// The connection to the server, an index into the pool.
    pub link: Option<usize>,
    /// The server connection has carried requests before.
    pub is_reused: bool,
    /// Place in a queue: of the server, or, with `None`, of the backend.
    pub waiting: Option<(Place, Option<usize>)>,
    /// What stick rules will store when the server has answered.
    pub stores: Stores,
    /// Connection attempts that may still be made.
    pub retries_left: u32,
    /// Connection attempts that failed.
    pub retries: u32,
    /// The stream was moved to another server than the first.
    pub is_redispatched: bool,
    /// Bytes from the client that its backend, and its server, have not been told of: they came before either was known.
    pub untold_bytes_in: (u64, u64),
    /// The server that failed it, until it has another (`option redispatch`).
    pub failed_server: Option<usize>,
    /// Stages.
    pub times: Times,
    /// Wall-clock time of the request's first byte.
    pub started: SystemTime,
    /// How far the decision about it has come.
    pub progress: Progress,
    /// What its rules have noted.
    pub notes: Notes,
    /// The body that its rules wait for.
    pub awaited: Option<Awaited>,
    /// Its client closed in the middle of the body that was waited for.
    pub is_cut_short: bool,
    /// Where the rules of its response go on that wait for its body.
    pub response_progress: Option<ResponseProgress>,
    /// What a tarpit will answer.
    pub tarpit_reply: Option<Rc<Reply>>,
    /// What answers it in the place of a server.
    pub service: Service,
    /// How it ended.
    pub termination: Termination,
    /// Status sent to the client.
    pub status: Option<u16>,
    /// Its place in the queue of the server and of the backend, from 1; 0 where it did not wait. Places add up when it
    /// waits again after a redispatch.
    pub queue_places: (u32, u32),
    /// Bytes of response heads as the log counts them (`%B`, with the body's). HAProxy does not log what it writes but what it
    /// holds: 20 bytes a head, the words of the status line, names and values of the headers as they came (a plain `Connection: close`
    /// or `keep-alive` left out), a byte for the
    /// end of the head and of a chunked body, and the data. Its lines and ours are read by the same tools.
    pub logged_bytes: u64,
    /// Bytes of the request's head, counted in the same way; 0 while nothing is tracked.
    pub head_bytes: u64,
    /// What this request tracks.
    pub tracked: Tracked,
    /// What is tracked has been told of the request.
    pub is_request_counted: bool,
    /// What was tracked has been told of the bytes too, and is tracked no more.
    pub is_settled: bool,
    /// How much of what this worker learnt late must have been heard before the client gets the response (`handover`); 0: nothing.
    pub held_until: u64,
    /// The client connection stays open after this exchange.
    pub keep_client: bool,
    /// The server connection may be used again after this exchange.
    pub keep_server: bool,
    /// What was captured of the messages.
    pub captures: Captures,
    /// Most bytes that are kept of its request line.
    pub logged_line_max: usize,
    /// The unique id, once it is made.
    pub unique_id: Vec<u8>,
    /// Requests and TCP sessions that the process had begun before it.
    pub number: u64,
    /// What the persistence cookie did.
    pub cookies: CookieState,
    /// What is known of its persistence.
    pub persistence: Persistence,
    /// How far `tcp-response content` has come.
    pub inspection: Inspection,
    /// A final response head has arrived.
    pub has_response: bool,
    /// The backend has been left: its counts no longer hold this exchange.
    pub has_left: bool,
    /// The log line was written, and the numbers counted.
    pub is_logged: bool,
    /// Its log line was written when the response began (`option logasap`).
    pub is_logged_early: bool,
    /// Variables of the scopes `txn`, `req` and `res`.
    pub vars: RefCell<StreamVars>,
}

/// The exchange of a stream that has one: in every state but `Idle` and `Linger`. The functions of those states are the
/// only callers, so the absence of an exchange is a mistake of ours that nobody outside can provoke.
pub fn in_flight(slot: &mut Option<BoxedExchange>) -> &mut Exchange {
    slot.as_mut()
        .expect("a stream in this state has an exchange")
}

impl Exchange {
    /// An exchange with such room.
    pub fn new(room: Room, vars: StreamVars) -> Exchange {
        let Room {
            headers_max,
            scratch_bytes,
            logged_line_max,
        } = room;
        Exchange {
            request: RequestHead::new(headers_max, scratch_bytes),
            response: ResponseHead::new(headers_max, scratch_bytes),
            up: Channel::new(),
            down: Channel::new(),
            backend: None,
            server: None,
            holds_place: false,
            is_sticky: false,
            link: None,
            is_reused: false,
            waiting: None,
            stores: Stores::default(),
            retries_left: 0,
            retries: 0,
            is_redispatched: false,
            untold_bytes_in: (0, 0),
            failed_server: None,
            times: Times::default(),
            started: SystemTime::UNIX_EPOCH,
            progress: Progress::default(),
            notes: Notes::default(),
            awaited: None,
            is_cut_short: false,
            response_progress: None,
            tarpit_reply: None,
            service: Service::None,
            termination: Termination::default(),
            status: None,
            queue_places: (0, 0),
            logged_bytes: 0,
            head_bytes: 0,
            tracked: Tracked::default(),
            is_request_counted: false,
            is_settled: false,
            held_until: 0,
            keep_client: false,
            keep_server: false,
            captures: Captures {
                request_line: Vec::with_capacity(logged_line_max),
                ..Captures::default()
            },
            logged_line_max,
            unique_id: Vec::new(),
            number: 0,
            cookies: CookieState::default(),
            persistence: Persistence::default(),
            inspection: Inspection::None,
            has_response: false,
            has_left: false,
            is_logged: false,
            is_logged_early: false,
            vars: RefCell::new(vars),
        }
    }

    /// The backend, in every state that follows its choice.
    pub fn backend_index(&self) -> usize {
        self.backend.expect("a backend was chosen")
    }

    /// The server, from the moment that a place on it is held.
    pub fn server_index(&self) -> usize {
        self.server.expect("a server was chosen")
    }

    /// The connection to the server, while there is one.
    pub fn link_index(&self) -> usize {
        self.link.expect("there is a server connection")
    }

    /// Ready for a request whose first bytes may be in `up.buffer` already.
    pub fn begin(&mut self, now_ms: u64, wall: SystemTime) {
        debug_assert!(self.link.is_none() && !self.holds_place && self.waiting.is_none());
        self.request.reset();
        self.response.reset();
        self.up.reset();
        self.down.reset();
        self.backend = None;
        self.server = None;
        self.is_sticky = false;
        self.is_reused = false;
        self.stores.clear();
        self.retries = 0;
        self.is_redispatched = false;
        self.untold_bytes_in = (0, 0);
        self.failed_server = None;
        self.times = Times {
            started_ms: now_ms,
            ..Times::default()
        };
        self.started = wall;
        self.progress = Progress::begun(now_ms);
        self.notes = Notes::default();
        self.awaited = None;
        self.is_cut_short = false;
        self.response_progress = None;
        self.tarpit_reply = None;
        self.service = Service::None;
        self.termination = Termination::default();
        self.status = None;
        self.queue_places = (0, 0);
        self.logged_bytes = 0;
        self.head_bytes = 0;
        debug_assert!(self.tracked.is_empty());
        self.is_request_counted = false;
        self.is_settled = false;
        self.held_until = 0;
        self.keep_client = false;
        self.keep_server = false;
        self.captures.clear();
        self.unique_id.clear();
        self.cookies = CookieState::default();
        self.persistence = Persistence::default();
        self.inspection = Inspection::None;
        self.has_response = false;
        self.has_left = false;
        self.is_logged = false;
        self.is_logged_early = false;
        self.vars.get_mut().clear();
    }

    /// Whether the client was told nothing yet about the body that it asked leave for, and sent nothing of it.
    pub fn awaits_leave(&self) -> bool {
        self.request.expects_continue && !self.up.has_data()
    }

    /// Whether the whole response is sent to the client.
    pub fn is_answered(&self) -> bool {
        self.has_response && self.down.is_finished()
    }
}

/// What changes hands is a pointer: streams that have no exchange stay small, and taking one copies nothing.
pub type BoxedExchange = Box<Exchange>;

/// Exchanges that are not in use.
#[derive(Debug)]
pub struct ExchangePool {
    idle: Vec<BoxedExchange>,
    room: Room,
    samples: Registry,
}

/// What an exchange has room for. TCP has no heads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Room {
    /// Lines of a head (`tune.http.maxhdr`).
    pub headers_max: usize,
    /// Bytes of insertions.
    pub scratch_bytes: usize,
    /// Bytes of a request line that the log has (`tune.http.logurilen`).
    pub logged_line_max: usize,
}

impl ExchangePool {
    /// A pool that keeps at most `idle_max` exchanges.
    pub fn new(room: Room, idle_max: usize, samples: &Registry) -> ExchangePool {
        ExchangePool {
            idle: Vec::with_capacity(idle_max),
            room,
            samples: samples.clone(),
        }
    }

    /// An exchange; `begin` it.
    pub fn take(&mut self) -> BoxedExchange {
        self.idle.pop().unwrap_or_else(|| {
            let vars = self.samples.stream_vars();
            Box::new(Exchange::new(self.room, vars))
        })
    }

    /// Takes an exchange back, with its buffers.
    pub fn give(&mut self, mut exchange: BoxedExchange, buffers: &mut BufferPool) {
        exchange.up.release(buffers);
        exchange.down.release(buffers);
        exchange.vars.get_mut().clear();
        if self.idle.len() < self.idle.capacity() {
            self.idle.push(exchange);
        }
    }
}
