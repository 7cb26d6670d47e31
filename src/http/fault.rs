//! What is wrong with a message: a value that says where, what, and which answer it deserves.

/// Why a message was refused. The RFC sections are those of RFC 9112 unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The method is no token (3.1).
    Method,
    /// The target has a forbidden byte, or a form that its method does not allow (3.2).
    Target,
    /// Not HTTP/1.0 or HTTP/1.1 (2.3).
    Version,
    /// The status line is malformed (4).
    StatusLine,
    /// A header name is empty, too long, no token, or white space stands before its colon (5.1).
    HeaderName,
    /// A control byte in a header value (RFC 9110 section 5.5).
    HeaderValue,
    /// A CR that no LF follows (2.2).
    LineEnd,
    /// A folded header line in a request (5.2).
    ObsoleteFold,
    /// More lines than `tune.http.maxhdr`.
    TooManyHeaders,
    /// The head does not fit the buffer.
    TooLarge,
    /// Content-Length is no number, too large, or contradicts itself (6.2).
    ContentLength,
    /// Transfer-Encoding is anything but one `chunked`, or stands in HTTP/1.0 (6.1).
    TransferEncoding,
    /// Host is missing, repeated, no host, or not the target's (3.2).
    Host,
    /// An upgrade that cannot work: websocket without key, 101 that nobody asked for.
    Upgrade,
    /// A chunk size is malformed, too long or too large (7.1).
    ChunkSize,
    /// The data of a chunk is not followed by CRLF (7.1).
    ChunkEnd,
    /// Trailers are malformed or too long (7.1.2).
    Trailer,
}

/// A head, or a chunk, that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadError {
    /// What is wrong.
    pub fault: Fault,
    /// Offset of the first byte that is wrong, in the slice that was given.
    pub position: u32,
    /// Status to answer a faulty request with (400 or 422). A faulty response is always answered with 502.
    pub status: u16,
    /// Bytes of body data before it: 0 when the head is faulty.
    pub body_bytes: u64,
}

impl HeadError {
    pub(super) fn new(fault: Fault, position: usize) -> HeadError {
        HeadError {
            fault,
            position: position as u32,
            status: 400,
            body_bytes: 0,
        }
    }

    /// The same fault, seen from `bytes` further to the front, with `data_bytes` of body data between.
    pub fn after(self, bytes: usize, data_bytes: u64) -> HeadError {
        HeadError {
            position: self.position + bytes as u32,
            body_bytes: self.body_bytes + data_bytes,
            ..self
        }
    }

    /// The head does not fit the buffer, of which `buffered` bytes are used. HAProxy answers 400, not 431.
    pub fn too_large(buffered: usize, is_request: bool) -> HeadError {
        HeadError {
            status: if is_request { 400 } else { 502 },
            ..HeadError::new(Fault::TooLarge, buffered)
        }
    }
}
