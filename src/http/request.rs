//! Request heads, parsed in place.

use super::body::Framing;
use super::fault::HeadError;
use super::header::{ConnectionTokens, HeaderTable};
use super::range::ByteRange;
use super::{Parsed, Version};

/// Request method; names are case-sensitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    Trace,
    Connect,
    Patch,
    #[default]
    Other,
}

/// A request head. Reused for one request after the other; everything in it is valid after `Parsed::Complete`.
#[derive(Debug)]
pub struct RequestHead {
    /// Offset of the first byte of the request line (empty lines before it are skipped).
    pub start: u32,
    /// Offset after the empty line that ends the head: where the body begins.
    pub end: u32,
    /// The method.
    pub method: Method,
    /// The method as it was written.
    pub method_range: ByteRange,
    /// The request target as it was written.
    pub target: ByteRange,
    /// Version of the client.
    pub version: Version,
    /// The header lines.
    pub headers: HeaderTable,
    /// How the body is delimited; never `UntilClose`.
    pub framing: Framing,
    /// Tokens of the Connection headers.
    pub connection: ConnectionTokens,
    /// `Expect: 100-continue` from an HTTP/1.1 client.
    pub expects_continue: bool,
    /// Value of the Host header.
    pub host: Option<ByteRange>,
    /// Value of the Upgrade header, when the Connection header has `upgrade`.
    pub upgrade: Option<ByteRange>,
}

impl RequestHead {
    /// An empty head for at most `headers_max` lines, with `scratch_bytes` for insertions.
    pub fn new(headers_max: usize, scratch_bytes: usize) -> RequestHead {
        let _ = (headers_max, scratch_bytes);
        todo!()
    }

    /// Forgets the message: call it before the first `parse` of the next one.
    pub fn reset(&mut self) {
        todo!()
    }

    /// Parses the head at the start of `buffer`, which holds all bytes received so far of this message (and perhaps of
    /// the next). After `Incomplete` call it again with the same bytes and more after them: work is not repeated.
    pub fn parse(&mut self, buffer: &[u8]) -> Result<Parsed, HeadError> {
        let _ = buffer;
        todo!()
    }

    /// Whether the client wants the connection kept after this request (version and Connection tokens).
    pub fn keeps_alive(&self) -> bool {
        todo!()
    }
}
