//! What an expression may look at while it is evaluated.

use super::captures::{Captures, UniqueId};
use super::format::Record;
use super::scratch::Scratch;
use super::state::State;
use super::vars::VarScopes;
use crate::http::{RequestHead, ResponseHead};
use crate::net::{Connection, proxy_protocol};
use crate::stick::{Table, Tracked};
use std::net::SocketAddr;

/// A request as rules see it: its head with the edits made so far, and the receive buffer that the head refers to.
#[derive(Clone, Copy, Debug)]
pub struct RequestView<'a> {
    /// The head, complete.
    pub head: &'a RequestHead,
    /// The buffer that was given to `RequestHead::parse`.
    pub buffer: &'a [u8],
}

/// A response as rules see it; see [`RequestView`].
#[derive(Clone, Copy, Debug)]
pub struct ResponseView<'a> {
    /// The head, complete.
    pub head: &'a ResponseHead,
    /// The buffer that was given to `ResponseHead::parse`.
    pub buffer: &'a [u8],
}

/// What is asked of a stream more seldom than the rest of its context: its connections, the raw bytes of a TCP stream, its
/// rules and timeouts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// The stream is one of TCP: its buffers hold whatever the ends say to each other.
    pub is_raw: bool,
    /// What has come over TCP is no HTTP request and will not become one.
    pub is_no_request: bool,
    /// Bytes from the client that were not sent on yet; TCP only.
    pub request_bytes: &'a [u8],
    /// Bytes from the server that were not sent on yet; TCP only.
    pub response_bytes: &'a [u8],
    /// The client's connection.
    pub client: Option<&'a Connection>,
    /// Source and destination of the client's connection, as its rules and its PROXY header left them. No destination: that of
    /// the socket.
    pub client_addresses: [Option<SocketAddr>; 2],
    /// The PROXY header that the client's connection began with.
    pub proxy_header: Option<&'a proxy_protocol::Details>,
    /// Why the client's connection was refused (`fc_err`).
    pub client_fault: Option<proxy_protocol::Fault>,
    /// The connection to the server.
    pub link: Option<&'a Connection>,
    /// The server: index in the backend.
    pub server: Option<usize>,
    /// Index of the `bind` in the frontend.
    pub bind: usize,
    /// `set-timeout server` and `tunnel`, milliseconds.
    pub timeouts_ms: [Option<u64>; 2],
    /// The last rule that ended a rule set: a number of the [`Registry`](super::Registry)'s, from 1.
    pub last_rule: u32,
    /// Class and offset (milliseconds) in a queue (`prio_class`, `prio_offset`).
    pub priority: (i16, i32),
    /// The process is stopping.
    pub is_stopping: bool,
}

/// Name and number of a frontend or backend.
#[derive(Clone, Copy, Debug)]
pub struct ProxyView<'a> {
    /// Its index in the model.
    pub index: usize,
    /// Its name.
    pub name: &'a str,
    /// Its `id`.
    pub id: u32,
}

/// What a stream fills in before it evaluates expressions. Cheap to build: references and small values only.
///
/// An expression yields nothing for what is `None` here.
pub struct Context<'a> {
    /// CLOCK_MONOTONIC milliseconds.
    pub now_ms: u64,
    /// Wall-clock milliseconds since the epoch, for `date`.
    pub wall_ms: u64,
    /// The client's address; `None` on a unix socket.
    pub source: Option<SocketAddr>,
    /// The address that the client connected to; `None` on a unix socket.
    pub destination: Option<SocketAddr>,
    /// The frontend.
    pub frontend: Option<ProxyView<'a>>,
    /// The backend, once there is one.
    pub backend: Option<ProxyView<'a>>,
    /// `id` and `name` of the listener (`bind`).
    pub listener: Option<(u32, Option<&'a str>)>,
    /// The request; in the response phase too, as long as its bytes are there: `method` asks for nothing else then.
    pub request: Option<RequestView<'a>>,
    /// The response, once its head is there. `hdr` and `cookie` look at it instead of the request then.
    pub response: Option<ResponseView<'a>>,
    /// Whether this is the first request of its connection.
    pub first_request: bool,
    /// All stick tables, in the order of the configuration.
    pub tables: &'a mut [Table],
    /// What is tracked: by the request, and by its connection. No counter is used by both.
    pub tracked: [Option<&'a Tracked>; 2],
    /// No more data will come, or nobody waits for it any more.
    pub is_final: bool,
    /// Set by a fetch that has no value, or not its last one, only because data has not come yet.
    pub is_missing: bool,
    /// What is asked more seldom.
    pub facts: Facts<'a>,
    /// Running proxies and servers.
    pub state: Option<&'a dyn State>,
    /// The variables of each scope.
    pub vars: VarScopes<'a>,
    /// What the stream says of itself, for the variables of formats; there only when a format asks for it.
    pub record: Option<&'a Record<'a>>,
    /// What was captured.
    pub captures: Option<&'a mut Captures>,
    /// The unique id; [`Context::unique_id`] makes it.
    pub unique_id: Option<UniqueId<'a>>,
    /// Buffers for what converters produce; one of them serves the whole process.
    pub scratch: &'a mut Scratch,
}

impl<'a> Context<'a> {
    /// A context that knows the time and nothing else yet.
    pub fn new(now_ms: u64, scratch: &'a mut Scratch) -> Context<'a> {
        Context {
            now_ms,
            wall_ms: 0,
            source: None,
            destination: None,
            frontend: None,
            backend: None,
            listener: None,
            request: None,
            response: None,
            first_request: false,
            tables: &mut [],
            tracked: [None; 2],
            is_final: true,
            is_missing: false,
            facts: Facts::default(),
            state: None,
            vars: VarScopes::default(),
            record: None,
            captures: None,
            unique_id: None,
            scratch,
        }
    }
}
