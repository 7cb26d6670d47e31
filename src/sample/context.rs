//! What an expression may look at while it is evaluated.

use super::value::Bytes;
use crate::http::{RequestHead, ResponseHead};
use std::net::SocketAddr;

/// A request as rules see it: its head with the edits made so far, and the receive buffer that the head refers to.
#[derive(Clone, Copy, Debug)]
pub struct RequestView<'a> {
    /// The head, complete.
    pub head: &'a RequestHead,
    /// The buffer that was given to `RequestHead::parse`.
    pub buffer: &'a [u8],
}

/// A response as rules see it; see [`RequestView`].
#[derive(Clone, Copy, Debug)]
pub struct ResponseView<'a> {
    /// The head, complete.
    pub head: &'a ResponseHead,
    /// The buffer that was given to `ResponseHead::parse`.
    pub buffer: &'a [u8],
}

/// Name and number of a frontend or backend.
#[derive(Clone, Copy, Debug)]
pub struct ProxyView<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its `id`.
    pub id: u32,
}

/// What a stream fills in before it evaluates expressions. Cheap to build: references and small values only.
///
/// An expression yields nothing for what is `None` here.
pub struct Context<'a> {
    /// CLOCK_MONOTONIC milliseconds.
    pub now_ms: u64,
    /// Wall-clock milliseconds since the epoch, for `date`.
    pub wall_ms: u64,
    /// The client's address; `None` on a unix socket.
    pub source: Option<SocketAddr>,
    /// The address that the client connected to; `None` on a unix socket.
    pub destination: Option<SocketAddr>,
    /// The frontend.
    pub frontend: Option<ProxyView<'a>>,
    /// The backend, once there is one.
    pub backend: Option<ProxyView<'a>>,
    /// `id` and `name` of the listener (`bind`).
    pub listener: Option<(u32, Option<&'a str>)>,
    /// The request; in the response phase too, as long as its bytes are there: `method` asks for nothing else then.
    pub request: Option<RequestView<'a>>,
    /// The response, once its head is there. `hdr` and `cookie` look at it instead of the request then.
    pub response: Option<ResponseView<'a>>,
    /// Whether this is the first request of its connection.
    pub first_request: bool,
    /// Buffers for what converters produce; one of them serves the whole process.
    pub scratch: &'a mut Scratch,
}

impl<'a> Context<'a> {
    /// A context that knows the time and nothing else yet.
    pub fn new(now_ms: u64, scratch: &'a mut Scratch) -> Context<'a> {
        Context {
            now_ms,
            wall_ms: 0,
            source: None,
            destination: None,
            frontend: None,
            backend: None,
            listener: None,
            request: None,
            response: None,
            first_request: false,
            scratch,
        }
    }
}

/// Two buffers that converters fill in turn, so that a chain of converters needs no allocation.
///
/// Invariant: at most one value lives here at a time; a writer writes to the half that the value it reads is not in.
#[derive(Debug)]
pub struct Scratch {
    halves: [Vec<u8>; 2],
    bytes_max: usize,
    random: u64,
}

/// A scratch buffer that is being filled.
pub(super) struct Out<'s> {
    bytes: &'s mut Vec<u8>,
    bytes_max: usize,
}

impl Out<'_> {
    /// Appends; `None` when the buffer has no room for it.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Option<()> {
        if bytes.len() > self.bytes_max - self.bytes.len() {
            return None;
        }
        self.bytes.extend_from_slice(bytes);
        Some(())
    }

    /// What has been written so far.
    pub(super) fn written(&self) -> &[u8] {
        self.bytes
    }
}

impl Scratch {
    /// Buffers of `bytes` each (`tune.bufsize`): a longer result makes its expression fail.
    pub fn new(bytes: usize) -> Scratch {
        Scratch {
            halves: [Vec::with_capacity(bytes), Vec::with_capacity(bytes)],
            bytes_max: bytes,
            random: 0x9e37_79b9_7f4a_7c15,
        }
    }

    /// Where `rand` starts; a process that does not say so counts from a fixed point.
    pub fn seed(&mut self, seed: u64) {
        self.random = seed;
    }

    /// The next number of a sequence that is spread well and is no secret (splitmix64).
    pub(super) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn bytes<'v, 'a: 'v>(&'v self, bytes: Bytes<'a>) -> &'v [u8] {
        match bytes {
            Bytes::At(bytes) => bytes,
            Bytes::Scratch { half, start, end } => self.halves[usize::from(half & 1)]
                .get(start as usize..end as usize)
                .unwrap_or_default(),
        }
    }

    /// Writes a new value; what was there is lost.
    pub(super) fn write<'a>(
        &mut self,
        fill: impl FnOnce(&mut Out<'_>) -> Option<()>,
    ) -> Option<Bytes<'a>> {
        self.rewrite(Bytes::At(&[]), |_, out| fill(out))
    }

    /// Writes a new value made from `input`, which may be the scratch's current value.
    pub(super) fn rewrite<'a>(
        &mut self,
        input: Bytes<'a>,
        fill: impl FnOnce(&[u8], &mut Out<'_>) -> Option<()>,
    ) -> Option<Bytes<'a>> {
        let [first, second] = &mut self.halves;
        let (source, target, half) = match input {
            Bytes::Scratch {
                half: 0,
                start,
                end,
            } => (first.get(start as usize..end as usize), second, 1),
            Bytes::Scratch { start, end, .. } => {
                (second.get(start as usize..end as usize), first, 0)
            }
            Bytes::At(bytes) => (Some(bytes), first, 0),
        };
        target.clear();
        let mut out = Out {
            bytes: target,
            bytes_max: self.bytes_max,
        };
        fill(source.unwrap_or_default(), &mut out)?;
        Some(Bytes::Scratch {
            half,
            start: 0,
            end: out.bytes.len() as u32,
        })
    }
}
