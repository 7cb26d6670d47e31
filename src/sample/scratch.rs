//! Where converters write: two buffers, and the bytes of a value that may lie in one of them.
//!
//! Not here: what the bytes are (`value`).

use super::format::{Dates, Texts};

/// Two buffers that converters fill in turn, so that a chain of converters needs no allocation.
///
/// Invariant: at most one value lives here at a time; a writer writes to the half that the value it reads is not in.
#[derive(Debug)]
pub struct Scratch {
    halves: [Vec<u8>; 2],
    bytes_max: usize,
    random: u64,
    /// Lines for the text of formats.
    pub texts: Texts,
    /// The dates in them.
    pub(super) dates: Dates,
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
            texts: Texts::new(bytes),
            dates: Dates::default(),
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

/// Bytes of a value under evaluation: outside of the scratch buffers, or a place in one of them. The place is an offset, not a
/// borrow, so that the next converter may write to the other buffer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bytes<'a> {
    At(&'a [u8]),
    Scratch { half: u8, start: u32, end: u32 },
}

impl<'a> Bytes<'a> {
    /// The bytes `from..to` of these; the caller has checked the bounds.
    pub(super) fn slice(self, from: usize, to: usize) -> Bytes<'a> {
        match self {
            Bytes::At(bytes) => Bytes::At(bytes.get(from..to).unwrap_or_default()),
            Bytes::Scratch { half, start, end } => Bytes::Scratch {
                half,
                start: (start + from as u32).min(end),
                end: (start + to as u32).min(end),
            },
        }
    }
}
