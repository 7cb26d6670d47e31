//! Keeps what `show errors` shows: the message that was refused, or let through though it is faulty, as it lies in the buffer.
//!
//! Requests are kept with their frontend, responses with their backend, as in HAProxy. Who sends no fault pays nothing.
//! Not here: what is kept of it and for how long (`backend::invalid`), how it is shown (`runtime`).

use super::exchange::{Exchange, in_flight};
use super::{Core, Stream};
use crate::backend::invalid::{Circumstances, Invalid, Parties, keep};
use crate::config::model::Mode;
use crate::http::{ConnectionTokens, Fault, Framing, HeadError, Version};
use crate::reactor::Buffer;

/// The request is refused for this fault; its position is one of the buffer.
#[cold]
pub(super) fn keep_request(stream: &mut Stream, core: &mut Core, error: HeadError) {
    keep_one(stream, core, Side::Request, error, true);
}

/// The response is refused for this fault; its position is one of the buffer.
#[cold]
pub(super) fn keep_response(stream: &mut Stream, core: &mut Core, error: HeadError) {
    keep_one(stream, core, Side::Response, error, true);
}

/// `HTTP/1.1`.
const VERSION_BYTES: usize = 8;

/// The request goes on although it has this fault: an option of its frontend says so.
#[cold]
pub(super) fn keep_tolerated_request(stream: &mut Stream, core: &mut Core, error: HeadError) {
    keep_one(stream, core, Side::Request, error, false);
}

/// The response goes on although it has this fault: an option of its backend says so.
#[cold]
pub(super) fn keep_tolerated_response(stream: &mut Stream, core: &mut Core, error: HeadError) {
    keep_one(stream, core, Side::Response, error, false);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Request,
    Response,
}

fn keep_one(stream: &mut Stream, core: &mut Core, side: Side, error: HeadError, is_refused: bool) {
    let frontend = stream.frontend as usize;
    if core.proxies[frontend].spec.mode != Mode::Http {
        return;
    }
    let number = core.process.invalid_messages;
    core.process.invalid_messages += 1;
    let parties = Parties {
        frontend,
        backend: None,
        server: None,
        source: stream.source,
    };
    let is_later = stream.requests > 1;
    let exchange = in_flight(&mut stream.exchange);
    let (place, buffer, parties) = match side {
        Side::Request => {
            let parties = Parties {
                backend: exchange.backend,
                ..parties
            };
            let place = &mut core.proxies[frontend].invalid.request;
            (place, &exchange.up.buffer, parties)
        }
        Side::Response => {
            let parties = Parties {
                backend: exchange.backend,
                server: exchange.server,
                ..parties
            };
            let place = &mut core.proxies[exchange.backend_index()].invalid.response;
            (place, &exchange.down.buffer, parties)
        }
    };
    let found = Invalid {
        number,
        at: core.wall,
        parties,
        circumstances: circumstances(exchange, side, error, is_refused, is_later),
        bytes: Vec::new(),
        buffer_bytes: buffer.capacity(),
    };
    keep(place, found, buffer.filled());
}

fn circumstances(
    exchange: &Exchange,
    side: Side,
    error: HeadError,
    is_refused: bool,
    is_later: bool,
) -> Circumstances {
    let (buffer, version, framing, connection) = match side {
        Side::Request => {
            let head = &exchange.request;
            (
                &exchange.up.buffer,
                head.version,
                head.framing,
                head.connection,
            )
        }
        Side::Response => {
            let head = &exchange.response;
            (
                &exchange.down.buffer,
                head.version,
                head.framing,
                head.connection,
            )
        }
    };
    let has_head = !is_refused
        || matches!(
            error.fault,
            Fault::ChunkSize | Fault::ChunkEnd | Fault::Trailer
        );
    let is_response = side == Side::Response;
    Circumstances {
        error,
        is_refused,
        has_head,
        version: match has_head {
            true => Some(version),
            false => version_before(buffer, error.position as usize, side),
        },
        framing: if has_head { framing } else { Framing::None },
        connection: if has_head {
            connection
        } else {
            ConnectionTokens::default()
        },
        is_later: is_later && !is_response,
        is_routed: is_response || exchange.server.is_some(),
        is_answered: is_response || exchange.has_response,
        is_kept: match side {
            Side::Request => exchange.keep_client || exchange.times.head_ms.is_none(),
            Side::Response => exchange.keep_server,
        },
        is_full: error.fault == Fault::TooLarge,
    }
}

/// The version that was read before `position`.
fn version_before(buffer: &Buffer, position: usize, side: Side) -> Option<Version> {
    let bytes = buffer.filled();
    let read = &bytes[..position.min(bytes.len())];
    let version = match side {
        Side::Response => read.get(..VERSION_BYTES)?,
        Side::Request => {
            let start = read.iter().position(|byte| !byte.is_ascii_whitespace())?;
            let end = start + read[start..].iter().position(|byte| *byte == b'\n')?;
            let line = read[start..end].trim_ascii_end();
            &line[line.len().saturating_sub(VERSION_BYTES)..]
        }
    };
    match version {
        b"HTTP/1.1" => Some(Version::Http11),
        b"HTTP/1.0" => Some(Version::Http10),
        _ => None,
    }
}
