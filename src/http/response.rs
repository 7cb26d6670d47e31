//! Response heads, parsed in place.

use super::body::Framing;
use super::fault::HeadError;
use super::header::{ConnectionTokens, HeaderTable};
use super::range::ByteRange;
use super::request::Method;
use super::{Parsed, Version};

/// A response head. Reused for one response after the other; everything in it is valid after `Parsed::Complete`.
#[derive(Debug)]
pub struct ResponseHead {
    /// Offset of the first byte of the status line.
    pub start: u32,
    /// Offset after the empty line that ends the head: where the body begins.
    pub end: u32,
    /// Version of the server.
    pub version: Version,
    /// Status code, 100 to 999.
    pub status: u16,
    /// The reason phrase.
    pub reason: ByteRange,
    /// The header lines.
    pub headers: HeaderTable,
    /// How the body is delimited, given the request's method. `None` for 1xx, 204, 304, for answers to HEAD, and for
    /// 101 and 2xx answers to CONNECT (see `is_tunnel`).
    pub framing: Framing,
    /// Tokens of the Connection headers.
    pub connection: ConnectionTokens,
    /// Value of the Upgrade header, when the Connection header has `upgrade`.
    pub upgrade: Option<ByteRange>,
    /// 101, or 2xx to CONNECT: what follows the head is no HTTP any more.
    pub is_tunnel: bool,
}

impl ResponseHead {
    /// An empty head for at most `headers_max` lines, with `scratch_bytes` for insertions.
    pub fn new(headers_max: usize, scratch_bytes: usize) -> ResponseHead {
        let _ = (headers_max, scratch_bytes);
        todo!()
    }

    /// Forgets the message: call it before the first `parse` of the next one.
    pub fn reset(&mut self) {
        todo!()
    }

    /// Parses the head at the start of `buffer`; `method` is the request's. See `RequestHead::parse`.
    pub fn parse(&mut self, buffer: &[u8], method: Method) -> Result<Parsed, HeadError> {
        let _ = (buffer, method);
        todo!()
    }

    /// 100 to 199 without 101: another response follows.
    pub fn is_interim(&self) -> bool {
        todo!()
    }

    /// Whether the server keeps the connection after this response (version, Connection tokens, framing).
    pub fn keeps_alive(&self) -> bool {
        todo!()
    }
}
