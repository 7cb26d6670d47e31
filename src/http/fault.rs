//! What is wrong with a head: a value that says where, what, and which answer it deserves.

/// Why a message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Fault {
    Method,
    Target,
    Version,
    StatusLine,
    HeaderName,
    HeaderValue,
    LineEnd,
    ObsoleteFold,
    TooManyHeaders,
    TooLarge,
    ContentLength,
    TransferEncoding,
    BothFramings,
    Host,
    Upgrade,
    ChunkSize,
    ChunkEnd,
    Trailer,
}

/// A head that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadError {
    /// What is wrong.
    pub fault: Fault,
    /// Offset of the first byte that is wrong, in the slice given to `parse`.
    pub position: u32,
    /// Status to answer a faulty request with (400, 422, 501, 505). For a response it is 502.
    pub status: u16,
}

impl HeadError {
    /// The head does not fit the buffer, of which `buffered` bytes are used: 400 for a request, 502 for a response.
    pub fn too_large(buffered: usize, is_request: bool) -> HeadError {
        HeadError {
            fault: Fault::TooLarge,
            position: buffered as u32,
            status: if is_request { 400 } else { 502 },
        }
    }
}
