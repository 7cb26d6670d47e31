//! What a finished stream says, as plain values that borrow from it.

use std::net::SocketAddr;
use std::time::SystemTime;

use super::termination::{Cause, Termination};

/// Which line a finished stream writes (configuration manual, section 8.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Neither `option httplog` nor `tcplog`: "Connect from IP:PORT to IP:PORT (FRONTEND/MODE)".
    #[default]
    Connect,
    /// `option tcplog`.
    Tcp,
    /// `option httplog`; `clf` when true.
    Http {
        /// `option httplog clf`.
        clf: bool,
    },
}

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
    /// `Ta`: from the request's first byte to the end.
    pub active_ms: u64,
    /// `Tt`: from accept to the end.
    pub total_ms: u64,
}

/// A finished stream (configuration manual, sections 8.2.2 and 8.2.3). Built on the stack when the line is due; it
/// borrows everything.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// The client: `%ci:%cp`.
    pub client: Endpoint,
    /// Where it connected to; shown by [`LogFormat::Connect`] only.
    pub destination: Endpoint,
    /// When the connection was accepted: `%t`, shown by [`LogFormat::Tcp`].
    pub accepted: SystemTime,
    /// When the request's first byte came: `%tr`, shown by [`LogFormat::Http`].
    pub request_started: SystemTime,
    /// Frontend name: `%f`.
    pub frontend: &'a str,
    /// The frontend's connection is encrypted: a `~` follows its name.
    pub tls: bool,
    /// The frontend's `mode` is http; shown by [`LogFormat::Connect`] only.
    pub mode_http: bool,
    /// Backend name: `%b`; the frontend's own while none is chosen.
    pub backend: &'a str,
    /// Server name: `%s`.
    pub server: ServerName<'a>,
    /// Timers.
    pub timers: Timers,
    /// `option logasap` is set: totals get a `+`, whether or not the line is early.
    pub log_asap: bool,
    /// Status sent to the client: `%ST`. `None`: nothing was answered, shown as -1.
    pub status: Option<u16>,
    /// Bytes sent to the client, heads included: `%B`. HAProxy counts none for the 400 and 408 that answer an invalid
    /// or incomplete request.
    pub bytes: u64,
    /// `capture cookie` in the request: `%CC`.
    pub request_cookie: Option<&'a [u8]>,
    /// `capture cookie` in the response: `%CS`.
    pub response_cookie: Option<&'a [u8]>,
    /// How it ended: `%ts`.
    pub termination: Termination,
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
    /// `capture request header`: one value a declared capture, none when the header was absent. Empty: no block.
    pub request_captures: &'a [Option<&'a [u8]>],
    /// `capture response header`.
    pub response_captures: &'a [Option<&'a [u8]>],
    /// The request line as received, without its end: `%r`. `None`: no valid request, shown as `<BADREQ>`.
    pub request_line: Option<&'a [u8]>,
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
