//! What a stream says of itself in logs and in the variables of formats, as plain values that borrow from it.

use std::net::SocketAddr;
use std::time::SystemTime;

use super::termination::{Cause, CookieState, Termination};

/// One end of the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Address and port.
    Inet(SocketAddr),
    /// A unix socket: shown as `unix` with the listener's id for a port.
    Unix {
        /// `id` of the listener that accepted the connection.
        listener_id: u32,
    },
}

/// The server's place in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerName<'a> {
    /// The last server that was tried.
    Named(&'a str),
    /// `<NOSRV>`: none was chosen.
    None,
    /// `<STATS>`: the statistics answered.
    Stats,
    /// `<PROMEX>`: the exporter of metrics answered.
    Exporter,
}

impl<'a> ServerName<'a> {
    /// As lines show it.
    pub fn text(self) -> &'a str {
        match self {
            ServerName::Named(name) => name,
            ServerName::None => "<NOSRV>",
            ServerName::Stats => "<STATS>",
            ServerName::Exporter => "<PROMEX>",
        }
    }
}

/// Timers in milliseconds (configuration manual, section 8.4). `None`: the stage was never completed, shown as -1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Timers {
    /// `TR`: from the request's first byte to its complete head.
    pub request_ms: Option<u64>,
    /// `Tw`: in the queues.
    pub queue_ms: Option<u64>,
    /// `Tc`: until the connection to the server stood, retries included.
    pub connect_ms: Option<u64>,
    /// `Tr`: until the complete response head, counted from the established connection.
    pub response_ms: Option<u64>,
    /// `Td`: of the data that followed the response's head, or in TCP mode the established connection.
    pub data_ms: Option<u64>,
    /// `Ti`: from the accept, or the end of the request before, to the request's first byte.
    pub idle_ms: u64,
    /// `Ta`: from the request's first byte to the end.
    pub active_ms: u64,
    /// `Tt`: from the accept, or the end of the request before, to the end.
    pub total_ms: u64,
}

/// A finished stream (configuration manual, sections 8.2.2 and 8.2.3). Built on the stack when the line is due; it
/// borrows everything.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// The client: `%ci:%cp`.
    pub client: Endpoint,
    /// Where it connected to: `%fi:%fp`.
    pub destination: Endpoint,
    /// When the connection was accepted, or the request before it ended: `%t`.
    pub accepted: SystemTime,
    /// When the request's first byte came: `%tr`.
    pub request_started: SystemTime,
    /// Frontend name: `%f`.
    pub frontend: &'a str,
    /// The frontend's connection is encrypted: a `~` follows its name.
    pub tls: bool,
    /// The frontend's `mode` is http.
    pub mode_http: bool,
    /// Backend name: `%b`; the frontend's own while none is chosen.
    pub backend: &'a str,
    /// Server name: `%s`.
    pub server: ServerName<'a>,
    /// The server's address: `%si:%sp`.
    pub server_address: Option<Endpoint>,
    /// Where it was connected to from: `%bi:%bp`. Given only to formats that show it.
    pub server_source: Option<Endpoint>,
    /// Timers.
    pub timers: Timers,
    /// `option logasap` is set: totals get a `+`, whether or not the line is early.
    pub log_asap: bool,
    /// Status sent to the client: `%ST`. `None`: nothing was answered, shown as -1.
    pub status: Option<u16>,
    /// Bytes sent to the client, heads included: `%B`. HAProxy counts none for the 400 and 408 that answer an invalid
    /// or incomplete request.
    pub bytes: u64,
    /// Bytes received from the client: `%U`.
    pub bytes_uploaded: u64,
    /// How it ended: `%ts`.
    pub termination: Termination,
    /// What the persistence cookie did: the last two letters of `%tsc`.
    pub cookies: CookieState,
    /// Connections of the process, this one included: `%ac`.
    pub process_connections: u32,
    /// Connections of the frontend: `%fc`.
    pub frontend_connections: u32,
    /// Streams of the backend: `%bc`.
    pub backend_connections: u32,
    /// Streams of the server: `%sc`.
    pub server_connections: u32,
    /// Connection retries: `%rc`.
    pub retries: u32,
    /// The stream went to another server than the first one chosen: a `+` precedes the retries.
    pub redispatched: bool,
    /// Place in the server's queue, from 1: `%sq`; 0 for a stream that did not wait.
    pub server_queue: u32,
    /// Place in the backend's queue: `%bq`.
    pub backend_queue: u32,
    /// `%H`.
    pub host_name: &'a str,
    /// `%pid`.
    pub pid: u32,
    /// Requests and TCP sessions of the process before this one: `%rt`.
    pub request_counter: u64,
    /// Lines that the frontend has logged before this one: `%lc`.
    pub log_counter: u64,
}

impl Record<'_> {
    /// Whether `option dontlog-normal` still logs it and `option log-separate-errors` raises it: errors, timeouts,
    /// retries, redispatches and statuses of 500 and more.
    pub fn is_error(&self) -> bool {
        !matches!(self.termination.cause, Cause::Normal | Cause::Local)
            || self.retries > 0
            || self.redispatched
            || self.status.is_some_and(|status| status >= 500)
    }
}
