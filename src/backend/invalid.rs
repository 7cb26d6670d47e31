//! The last invalid request and response of a proxy: what `show errors` shows.
//!
//! Nothing is kept before something is wrong; then it is what lay in the buffer, and where in it the fault is. The next fault takes the
//! place and the memory of the one before.
//!
//! Invariants: a proxy keeps at most two messages, each of at most one buffer (`tune.bufsize`), whatever comes.
//! Not here: what is a fault (`http`), how it is written (`runtime`).

use std::net::SocketAddr;
use std::time::SystemTime;

use crate::http::{ConnectionTokens, Framing, HeadError, Version};

/// What was known of a message when its fault was found.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// Where and what it is.
    pub error: HeadError,
    /// Nothing became of the message. Otherwise an option accepted it as it is.
    pub is_refused: bool,
    /// Its head was read to the end.
    pub has_head: bool,
    /// The version that its first line names; `None` when it was not read.
    pub version: Option<Version>,
    /// How its body is delimited, as far as that was found out.
    pub framing: Framing,
    /// What its Connection headers say, as far as they were read.
    pub connection: ConnectionTokens,
    /// It is not the first request of its connection.
    pub is_later: bool,
    /// A request that is with a server, or a response.
    pub is_routed: bool,
    /// The head of the response has come, or the beginning of one.
    pub is_answered: bool,
    /// Its connection was to be kept.
    pub is_kept: bool,
    /// No byte more fitted the buffer.
    pub is_full: bool,
}

/// Whose message it is: indices of proxies, and of a server of the backend.
#[derive(Clone, Copy, Debug)]
pub struct Parties {
    /// Who accepted the connection.
    pub frontend: usize,
    /// Where the request goes, if that was decided.
    pub backend: Option<usize>,
    /// The server whose response it is.
    pub server: Option<usize>,
    /// The client; `None`: it has no address.
    pub source: Option<SocketAddr>,
}

/// A message with a fault.
#[derive(Debug)]
pub struct Invalid {
    /// Which it is among all that the process has seen, from 0.
    pub number: u64,
    /// When its fault was found.
    pub at: SystemTime,
    /// Whose it is.
    pub parties: Parties,
    /// What was known of it.
    pub circumstances: Circumstances,
    /// What lay in the buffer.
    pub bytes: Vec<u8>,
    /// Size of that buffer.
    pub buffer_bytes: usize,
}

/// The last invalid messages of a proxy.
#[derive(Debug, Default)]
pub struct InvalidMessages {
    /// The last request to its frontend.
    pub request: Option<Box<Invalid>>,
    /// The last response to its backend.
    pub response: Option<Box<Invalid>>,
}

/// Keeps `found` in `place`, with these bytes.
pub fn keep(place: &mut Option<Box<Invalid>>, mut found: Invalid, bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(found.buffer_bytes)];
    let mut memory = place.take().map(|before| before.bytes).unwrap_or_default();
    memory.clear();
    memory.reserve_exact(bytes.len());
    memory.extend_from_slice(bytes);
    found.bytes = memory;
    *place = Some(Box::new(found));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invalid(number: u64) -> Invalid {
        Invalid {
            number,
            at: SystemTime::UNIX_EPOCH,
            parties: Parties {
                frontend: 0,
                backend: None,
                server: None,
                source: None,
            },
            circumstances: Circumstances {
                error: HeadError::too_large(0, true),
                is_refused: true,
                has_head: false,
                version: None,
                framing: Framing::None,
                connection: ConnectionTokens::default(),
                is_later: false,
                is_routed: false,
                is_answered: false,
                is_kept: true,
                is_full: false,
            },
            bytes: Vec::new(),
            buffer_bytes: 1024,
        }
    }

    #[test]
    fn however_many_come_one_is_kept_and_one_buffer_is_used() {
        let mut place = None;
        let mut most = 0;
        for number in 0..200u64 {
            let bytes = vec![number as u8; (number as usize * 37) % 3000];
            keep(&mut place, invalid(number), &bytes);
            let kept = place.as_ref().unwrap();
            assert_eq!(kept.number, number);
            assert_eq!(kept.bytes, bytes[..bytes.len().min(1024)]);
            most = most.max(kept.bytes.capacity());
        }
        assert!(most <= 1024, "{most}");
    }
}
