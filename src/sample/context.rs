//! What an expression may look at while it is evaluated.

use std::net::SocketAddr;

/// What a stream fills in before it evaluates expressions. Cheap to build: references and small values only.
pub struct Context<'a> {
    /// CLOCK_MONOTONIC milliseconds.
    pub now_ms: u64,
    /// The client's address; `None` on a unix socket.
    pub source: Option<SocketAddr>,
    /// The address that the client connected to; `None` on a unix socket.
    pub destination: Option<SocketAddr>,
    /// Name of the frontend.
    pub frontend: &'a str,
    /// Name of the backend, once there is one.
    pub backend: Option<&'a str>,
    /// Buffers for what converters produce; one of them serves the whole process.
    pub scratch: &'a mut Scratch,
}

/// Two buffers that converters fill in turn, so that a chain of converters needs no allocation.
#[derive(Debug)]
pub struct Scratch {}

impl Scratch {
    /// Buffers of `bytes` each (`tune.bufsize`): a longer result makes its expression fail, as HAProxy's does.
    pub fn new(_bytes: usize) -> Scratch {
        todo!()
    }
}
