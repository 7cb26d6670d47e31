//! HTTP/1 as values: heads, bodies, edits, cookies, replies. Bytes in, bytes out, no sockets.
//!
//! The order of use for one message, all on the session's own receive buffer:
//! 1. [`RequestHead::parse`] / [`ResponseHead::parse`] read the head in place; what they know is kept as [`ByteRange`]s.
//! 2. Rules edit the head ([`edit`]), [`connection`] sees to the hop-by-hop part. Whoever looks at a head sees it as edited.
//! 3. [`ForwardPlan`] lists the slices to send: what was not edited is sent from the receive buffer, the rest from the
//!    head's own scratch bytes.
//! 4. [`BodyDecoder::advance`] says which of the following bytes belong to the body and may be sent as they are.
//!
//! Invariants: a range is relative to the slice that was given to `parse`, and stays valid as long as the bytes stay
//! there; nothing here allocates for a message once a head and a plan have grown to the sizes they are used at; a message
//! that can be framed in two ways is an error, never a guess.
//! Not here: sockets, clocks, timeouts, the decision where a message goes.

pub mod body;
pub mod connection;
pub mod cookie;
pub mod cookie_edit;
pub mod edit;
mod facts;
pub mod fault;
pub mod header;
pub mod held;
pub mod method;
pub mod page;
pub mod plan;
pub mod range;
mod reason;
mod relaxed;
pub mod reply;
pub mod request;
pub mod response;
pub mod target;
#[cfg(test)]
mod tests;

pub use body::{BodyDecoder, BodyForm, Framing, Progress};
pub use connection::{Delivery, Receiver, prepare_request, prepare_response};
pub use cookie::{CookieHeader, next_cookie};
pub use edit::{EditError, HeadEdit};
pub use fault::{Fault, HeadError};
pub use header::{
    ConnectionTokens, Header, HeaderTable, INSERTED_LINES_MAX, Known, NoRoom, list_items,
};
pub use held::{Held, Measure};
pub use method::{Asked, Method};
pub use page::{Page, PageError};
pub use plan::ForwardPlan;
pub use range::ByteRange;
pub use reason::reason_phrase;
pub use reply::{STATUSES as PAGE_STATUSES, builtin_pages, raw as raw_page};
pub use request::RequestHead;
pub use response::{LOGGED_HEAD_BYTES, ResponseHead};

/// Outcome of parsing a head that has no fault so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// More bytes are needed. If the buffer is full, the head is too large: see [`HeadError::too_large`].
    Incomplete,
    /// The head is there; the body begins at the head's `end`.
    Complete,
}

/// HTTP version of a message; others are faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
}
