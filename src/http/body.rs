//! Bodies as streaming state machines: which bytes belong to it, which may be sent on, when is it complete.

use super::fault::HeadError;
use super::range::ByteRange;

/// How the end of a message body is found (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Framing {
    /// There is no body.
    #[default]
    None,
    /// That many bytes; 0 is possible (`Content-Length: 0` was said).
    Length(u64),
    /// Chunks, the last one of size 0, and trailers.
    Chunked,
    /// Everything until the server closes (responses only).
    UntilClose,
}

/// What a chunked body is turned into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BodyForm {
    /// It stays chunked: sizes and data are forwarded as they came, chunk extensions are cut out.
    #[default]
    Chunked,
    /// Only the data is forwarded (for a receiver that speaks HTTP/1.0, or for looking into the body).
    DataOnly,
}

/// Ranges that one call to `advance` can yield; when they are used up it stops early.
pub const FORWARD_RANGES_MAX: usize = 16;

/// What one call to `advance` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes that are dealt with: they may be dropped once the forwarded ones among them are sent. Bytes after them must be
    /// offered again: with more bytes (a trailer line that is not complete), or at once if `forward` is full; when
    /// `complete`, they belong to the next message.
    pub consumed: usize,
    /// Body data bytes among them (without chunk framing).
    pub data_bytes: u64,
    /// Whether the body ends with the last consumed byte.
    pub complete: bool,
    ranges: [ByteRange; FORWARD_RANGES_MAX],
    range_count: u8,
}

impl Progress {
    /// What to send, in order; ranges of the bytes given to `advance`.
    pub fn forward(&self) -> &[ByteRange] {
        &self.ranges[..self.range_count as usize]
    }
}

/// The body of one message.
#[derive(Clone, Debug)]
pub struct BodyDecoder {
    framing: Framing,
    form: BodyForm,
}

impl BodyDecoder {
    /// For a body that is delimited like this.
    pub fn new(framing: Framing, form: BodyForm) -> BodyDecoder {
        BodyDecoder { framing, form }
    }

    /// Whether the body has ended (true at once for `Framing::None` and `Length(0)`).
    pub fn is_complete(&self) -> bool {
        let _ = (self.framing, self.form);
        todo!()
    }

    /// Bytes of data that are known to come before anything has to be looked at: they could be spliced. `None` when that is
    /// not known (chunk framing is due); `u64::MAX` until close.
    pub fn opaque_bytes(&self) -> Option<u64> {
        todo!()
    }

    /// Tells that `count` data bytes (at most `opaque_bytes`) went to the receiver without passing through `advance`.
    pub fn skip_opaque(&mut self, count: u64) {
        let _ = count;
        todo!()
    }

    /// Takes the next bytes of the connection. An error's position is relative to `bytes`.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Progress, HeadError> {
        let _ = bytes;
        todo!()
    }

    /// The sender closed. Whether that is the regular end of the body (`UntilClose`, or complete already).
    pub fn may_end_here(&self) -> bool {
        todo!()
    }
}
