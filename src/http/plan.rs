//! What to send of a message: slices of the receive buffer and of the few inserted bytes, in order, for one `writev`.
//!
//! A head that nobody edited is one slice, together with the body bytes behind it. Every removed line cuts the slice in two,
//! the inserted lines are one slice together, and a line that ended with a bare LF gets its CRLF from a constant.
//!
//! Invariants: pieces are never empty and are sent in order; a piece before `next` is sent; pieces that touch are joined.

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
    /// The scratch bytes of the head: lines that were edited or added.
    Scratch,
    /// Bytes that never change.
    Fixed(&'static [u8]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    source: Source,
    range: ByteRange,
}

impl Piece {
    fn of<'a>(&self, buffer: &'a [u8], headers: &'a HeaderTable) -> &'a [u8] {
        match self.source {
            Source::Buffer => self.range.of(buffer),
            Source::Scratch => self.range.of(headers.scratch()),
            Source::Fixed(bytes) => self.range.of(bytes),
        }
    }
}

/// The list of slices that is still to be sent. Survives partial writes; the buffer's bytes must not move until
/// `is_done` (or `shift` tells that they did).
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
    pub fn push_request(&mut self, head: &RequestHead, buffer: &[u8]) {
        match head.headers.edited_start {
            Some(line) => self.push(Source::Scratch, line),
            None => self.push_line(head.headers.received_start, buffer),
        }
        self.push_lines(&head.headers, head.end, buffer);
    }

    /// Appends the response head as edited. A status line without reason gets the space that must follow the code.
    pub fn push_response(&mut self, head: &ResponseHead, buffer: &[u8]) {
        if let Some(line) = head.headers.edited_start {
            self.push(Source::Scratch, line);
            return self.push_lines(&head.headers, head.end, buffer);
        }
        let line = head.headers.received_start;
        let code_end = head.code_end;
        if matches!(buffer.get(code_end as usize), Some(b'\r' | b'\n')) {
            self.push(
                Source::Buffer,
                ByteRange {
                    end: code_end,
                    ..line
                },
            );
            self.push_fixed(b" \r\n");
        } else {
            self.push_line(line, buffer);
        }
        self.push_lines(&head.headers, head.end, buffer);
    }

    fn push_lines(&mut self, headers: &HeaderTable, end: u32, buffer: &[u8]) {
        for line in headers.lines().iter().filter(|line| !line.removed) {
            let range = ByteRange {
                start: line.name.start,
                end: line.line_end,
            };
            if line.inserted {
                self.push(Source::Scratch, range);
            } else if line.bare_lf {
                self.push_line(range, buffer);
            } else {
                self.push(Source::Buffer, range);
            }
        }
        let blank = ByteRange {
            start: HeaderTable::blank_start(end, buffer),
            end,
        };
        self.push_line(blank, buffer);
    }

    /// A line of the buffer; a bare LF at its end becomes CRLF.
    fn push_line(&mut self, line: ByteRange, buffer: &[u8]) {
        if line.of(buffer).ends_with(b"\r\n") {
            self.push(Source::Buffer, line);
        } else {
            let text = ByteRange {
                end: line.end.saturating_sub(1),
                ..line
            };
            self.push(Source::Buffer, text);
            self.push_fixed(b"\r\n");
        }
    }

    /// Appends a range of the receive buffer (body bytes); joins it to the piece before when they touch.
    pub fn push_buffer(&mut self, range: ByteRange) {
        self.push(Source::Buffer, range);
    }

    /// Appends bytes that never change.
    pub fn push_fixed(&mut self, bytes: &'static [u8]) {
        self.push(Source::Fixed(bytes), ByteRange::new(0, bytes.len()));
    }

    fn push(&mut self, source: Source, range: ByteRange) {
        if range.is_empty() {
            return;
        }
        if self.is_done() {
            self.clear();
        }
        match self.pieces.last_mut() {
            Some(last)
                if last.source == source
                    && last.range.end == range.start
                    && !matches!(source, Source::Fixed(_)) =>
            {
                last.range.end = range.end;
            }
            _ => self.pieces.push(Piece { source, range }),
        }
    }

    /// Whether everything is sent.
    pub fn is_done(&self) -> bool {
        self.next >= self.pieces.len()
    }

    /// Bytes that are still to be sent.
    pub fn remaining(&self) -> usize {
        self.pieces
            .iter()
            .skip(self.next)
            .map(|piece| piece.range.len())
            .sum()
    }

    /// What is to be sent, where that is one piece: a message that nobody edits.
    pub fn only_piece<'a>(&self, buffer: &'a [u8], headers: &'a HeaderTable) -> Option<&'a [u8]> {
        match self.pieces.get(self.next..)? {
            [piece] => Some(piece.of(buffer, headers)),
            _ => None,
        }
    }

    /// Fills `slices` with what is to be sent next and returns how many it filled (0: done). `buffer` is the receive buffer
    /// from the same start as when the ranges were made; `headers` is the head's table.
    pub fn slices<'a>(
        &self,
        buffer: &'a [u8],
        headers: &'a HeaderTable,
        slices: &mut [IoSlice<'a>],
    ) -> usize {
        let mut count = 0;
        for (slot, piece) in slices.iter_mut().zip(self.pieces.iter().skip(self.next)) {
            *slot = IoSlice::new(piece.of(buffer, headers));
            count += 1;
        }
        count
    }

    /// `count` bytes were sent.
    pub fn sent(&mut self, count: usize) {
        let mut left = count;
        while let Some(piece) = self.pieces.get_mut(self.next) {
            if left < piece.range.len() {
                piece.range.start += left as u32;
                return;
            }
            left -= piece.range.len();
            self.next += 1;
        }
        debug_assert_eq!(left, 0, "more bytes sent than the plan had");
    }

    /// The receive buffer dropped `count` bytes at its start; none of them is still to be sent.
    pub fn shift(&mut self, count: usize) {
        let count = count as u32;
        for piece in self.pieces.iter_mut().skip(self.next) {
            if piece.source == Source::Buffer {
                debug_assert!(piece.range.start >= count, "bytes to send were dropped");
                piece.range.start = piece.range.start.saturating_sub(count);
                piece.range.end = piece.range.end.saturating_sub(count);
            }
        }
    }
}
