//! What to send of a message: slices of the receive buffer and of the few inserted bytes, in order, for one `writev`.

use std::io::IoSlice;

use super::header::HeaderTable;
use super::range::ByteRange;
use super::request::RequestHead;
use super::response::ResponseHead;

/// Where the bytes of a piece are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The receive buffer.
    Buffer,
    /// The scratch bytes of the head.
    Scratch,
    /// Bytes that never change.
    Fixed(&'static [u8]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    source: Source,
    range: ByteRange,
}

/// The list of slices that is still to be sent. Survives partial writes; the buffer's bytes must not move until
/// `is_done`.
#[derive(Debug)]
pub struct ForwardPlan {
    pieces: Vec<Piece>,
    /// First piece that is not sent in full; what was sent of it is cut off already.
    next: usize,
}

impl ForwardPlan {
    /// An empty plan with room for `pieces` slices; it grows beyond when a message is heavily edited.
    pub fn new(pieces: usize) -> ForwardPlan {
        ForwardPlan {
            pieces: Vec::with_capacity(pieces),
            next: 0,
        }
    }

    /// Empties the plan.
    pub fn clear(&mut self) {
        self.pieces.clear();
        self.next = 0;
    }

    /// Appends the request head as edited.
    pub fn push_request(&mut self, head: &RequestHead) {
        let _ = head;
        todo!()
    }

    /// Appends the response head as edited.
    pub fn push_response(&mut self, head: &ResponseHead) {
        let _ = head;
        todo!()
    }

    /// Appends a range of the receive buffer (body bytes); joins it to the piece before when they touch.
    pub fn push_buffer(&mut self, range: ByteRange) {
        let _ = range;
        todo!()
    }

    /// Appends bytes that never change.
    pub fn push_fixed(&mut self, bytes: &'static [u8]) {
        let _ = bytes;
        todo!()
    }

    /// Whether everything is sent.
    pub fn is_done(&self) -> bool {
        self.next >= self.pieces.len()
    }

    /// Bytes that are still to be sent.
    pub fn remaining(&self) -> usize {
        let _ = (self.pieces.first().map(|p| (p.source, p.range)),);
        todo!()
    }

    /// Fills `slices` with what is to be sent next and returns how many it filled (0: done). `buffer` is the receive buffer
    /// from the same start as when the ranges were made; `headers` is the head's table.
    pub fn slices<'a>(
        &self,
        buffer: &'a [u8],
        headers: &'a HeaderTable,
        slices: &mut [IoSlice<'a>],
    ) -> usize {
        let _ = (buffer, headers, slices);
        todo!()
    }

    /// `count` bytes were sent.
    pub fn sent(&mut self, count: usize) {
        let _ = count;
        todo!()
    }

    /// The receive buffer dropped `count` bytes at its start (all of them sent or not part of the plan).
    pub fn shift(&mut self, count: usize) {
        let _ = count;
        todo!()
    }
}
