//! One direction of a stream: what was received of a message, and what of it is still to be sent.
//!
//! Bytes stay where they were received. A plan lists the pieces of the buffer, and the few inserted bytes, that make up what leaves, and one
//! vectored write sends them; a large body that nobody looks at goes from socket to socket through a pipe.
//!
//! Invariants: the plan covers the first `taken` bytes of the buffer, which are dropped once all of it is sent, unless they are
//! kept to be sent again; what lies in the pipe comes after the plan.
//!
//! Not here: who reads or writes when, and what a head means (`http`).

use std::io::{self, Write as _};

use crate::http::{
    BodyDecoder, BodyForm, ByteRange, ForwardPlan, Framing, HeadError, HeaderTable, Measure,
    RequestHead, ResponseHead,
};
use crate::net::{Connection, Pipe, Pipes, ReadResult};
use crate::reactor::{Buffer, BufferPool};

/// Slices handed to one `writev`.
const SLICES_MAX: usize = 32;

/// A body of which less is still to come is copied: two copies of little cost less than its way through a pipe.
const SPLICED_BYTES_MIN: u64 = 32 * 1024;

/// Most bytes that one call moves into a pipe, however much room that has.
const SPLICE_BYTES_MAX: usize = 1 << 20;
/// One direction: what was received, and what of it is still to be sent.
#[derive(Debug)]
pub struct Channel {
    /// What was received and not yet sent.
    pub buffer: Buffer,
    plan: ForwardPlan,
    /// Bytes at the buffer's start that the plan covers: dropped when it is sent.
    taken: usize,
    body: BodyDecoder,
    /// What lies between the two sockets while the body passes without being looked at. It comes after the plan.
    pipe: Option<Pipe>,
    /// The message is complete: its last byte is in the plan or sent.
    pub is_complete: bool,
    /// Bytes sent.
    pub sent: u64,
    /// Bytes of body data that arrived, without their framing.
    data_bytes: u64,
    /// The receiver takes no more.
    pub is_shut: bool,
    /// Keep the bytes after they are sent, so that the message can be sent again.
    keeps: bool,
    /// The sender broke the connection off: no message ends that way, not even one that lasts until the close.
    is_cut: bool,
    /// The receiver learns the end of the message from the end of its connection alone.
    is_open_ended: bool,
}

impl Channel {
    /// A direction in which nothing has come yet.
    pub fn new() -> Channel {
        Channel {
            buffer: Buffer::default(),
            plan: ForwardPlan::new(SLICES_MAX),
            taken: 0,
            body: BodyDecoder::new(Framing::None, BodyForm::Chunked),
            pipe: None,
            is_complete: false,
            sent: 0,
            data_bytes: 0,
            is_shut: false,
            keeps: false,
            is_cut: false,
            is_open_ended: false,
        }
    }

    /// Ready for the next message; bytes that are in the buffer already belong to it.
    pub fn reset(&mut self) {
        self.plan.clear();
        self.taken = 0;
        self.body = BodyDecoder::new(Framing::None, BodyForm::Chunked);
        self.pipe = None;
        self.is_complete = false;
        self.sent = 0;
        self.data_bytes = 0;
        self.is_shut = false;
        self.keeps = false;
        self.is_cut = false;
        self.is_open_ended = false;
    }

    /// Reads from `connection` what fits; into a pipe where much of the body is still to come and nobody looks at it.
    pub fn fill_or_splice(
        &mut self,
        connection: &mut Connection,
        pool: &mut BufferPool,
        pipes: &mut Pipes,
    ) -> io::Result<ReadResult> {
        let opaque = match self.is_complete || self.keeps {
            true => 0,
            false => self.body.opaque_bytes().unwrap_or(0),
        };
        let may_begin =
            self.buffer.is_empty() && self.plan.is_done() && opaque >= SPLICED_BYTES_MIN;
        if self.pipe.is_none() && may_begin {
            self.pipe = pipes.take();
        }
        let Some(pipe) = self.pipe.as_mut().filter(|_| opaque > 0) else {
            return self.fill(connection, pool);
        };
        let room = usize::try_from(opaque).unwrap_or(usize::MAX);
        let result = connection.read_into(pipe, room.min(SPLICE_BYTES_MAX))?;
        if let ReadResult::Bytes(count) = result {
            self.body.skip_opaque(count as u64);
            self.data_bytes += count as u64;
            self.is_complete = self.body.is_complete();
        }
        Ok(result)
    }

    /// Whether the body passes through a pipe now.
    pub fn is_spliced(&self) -> bool {
        self.pipe.is_some()
    }

    /// Gives the pipe back once all that came through it is sent and what follows has to be looked at.
    pub fn leave_pipe(&mut self, pipes: &mut Pipes) {
        let is_done = |pipe: &mut Pipe| pipe.held() == 0;
        let is_opaque = !self.is_complete && self.body.opaque_bytes().is_some_and(|left| left > 0);
        if !is_opaque && let Some(pipe) = self.pipe.take_if(is_done) {
            pipes.give(pipe);
        }
    }

    /// Reads from `connection` what fits.
    pub fn fill(
        &mut self,
        connection: &mut Connection,
        pool: &mut BufferPool,
    ) -> io::Result<ReadResult> {
        pool.attach(&mut self.buffer);
        if self.buffer.room() == 0 && self.taken == 0 {
            self.buffer.compact();
        }
        if self.buffer.room() == 0 {
            return Ok(ReadResult::WouldBlock);
        }
        connection.read(&mut self.buffer)
    }

    /// Whether a read could find room.
    pub fn has_room(&self) -> bool {
        if self.pipe.is_some() {
            // Another try is worth it only when all has left: a pipe does not tell how much room it has.
            return !self.has_unsent();
        }
        !self.buffer.is_attached()
            || self.buffer.room() > 0
            || (self.taken == 0 && self.buffer.len() < self.buffer.capacity())
    }

    /// Puts a request head into the plan; the body follows as `framing` says.
    pub fn take_request(&mut self, head: &RequestHead) {
        self.plan.push_request(head, self.buffer.filled());
        self.take_head(head.end as usize, head.framing, BodyForm::Chunked);
    }

    /// Puts a response head into the plan; the body follows in the form that the client understands.
    pub fn take_response(&mut self, head: &ResponseHead, form: BodyForm) {
        self.plan.push_response(head, self.buffer.filled());
        self.take_head(head.end as usize, head.framing, form);
    }

    fn take_head(&mut self, head_bytes: usize, framing: Framing, form: BodyForm) {
        self.taken = head_bytes;
        self.body = BodyDecoder::new(framing, form);
        self.is_complete = self.body.is_complete();
        self.is_open_ended = match framing {
            Framing::UntilClose => true,
            Framing::Chunked => form == BodyForm::DataOnly,
            Framing::None | Framing::Length(_) => false,
        };
    }

    /// From here on all bytes are forwarded as they come (`take_raw`), until the sender closes.
    pub fn become_raw(&mut self) {
        self.is_complete = false;
    }

    /// Puts body bytes that have arrived into the plan. An error's position is one of the buffer.
    pub fn take_body(&mut self) -> Result<(), HeadError> {
        while !self.is_complete && self.taken < self.buffer.len() {
            let progress = self
                .body
                .advance(&self.buffer.filled()[self.taken..])
                .map_err(|error| error.after(self.taken, self.data_bytes))?;
            for range in progress.forward() {
                let [start, end] =
                    [range.start, range.end].map(|offset| offset as usize + self.taken);
                self.plan.push_buffer(ByteRange::new(start, end));
            }
            self.taken += progress.consumed;
            self.data_bytes += progress.data_bytes;
            self.is_complete = progress.complete;
            if progress.consumed == 0 {
                break;
            }
        }
        let is_full = self.buffer.is_attached() && self.buffer.len() == self.buffer.capacity();
        if !self.is_complete && self.taken == 0 && is_full {
            // A trailer line that fills the buffer: the rest of it could never be read.
            return Err(HeadError::too_large(self.buffer.len(), true));
        }
        Ok(())
    }

    /// Puts all bytes that have arrived into the plan, whatever they are.
    pub fn take_raw(&mut self) {
        let filled = self.buffer.len();
        if self.taken < filled {
            self.plan.push_buffer(ByteRange::new(self.taken, filled));
            self.data_bytes += (filled - self.taken) as u64;
            self.taken = filled;
        }
    }

    /// Counts what has come of a body that lies behind its head and will not be read.
    pub fn count_unread(&mut self, head_end: u32, framing: Framing) {
        let filled = self.buffer.filled();
        let body = filled.get(head_end as usize..).unwrap_or_default();
        // What is faulty in it was not read either.
        if let Ok(held) = Measure::new(framing).advance(body) {
            self.data_bytes += held.data_bytes;
        }
    }

    /// Whether all that was received is in the plan or gone.
    pub fn is_drained(&self) -> bool {
        self.taken >= self.buffer.len()
    }

    /// Whether a message of which nothing was taken yet, and whose head has `head_bytes`, is here to its end.
    pub fn holds_whole(&self, head_bytes: usize, framing: Framing) -> bool {
        let mut body = BodyDecoder::new(framing, BodyForm::Chunked);
        let mut at = head_bytes;
        while !body.is_complete() && at < self.buffer.len() {
            match body.advance(&self.buffer.filled()[at..]) {
                Ok(progress) if progress.consumed > 0 => at += progress.consumed,
                _ => return false,
            }
        }
        body.is_complete()
    }

    /// Drops the first bytes of the buffer, none of which are in the plan.
    pub fn skip(&mut self, count: usize) {
        debug_assert!(self.plan.is_done() && self.taken == 0);
        self.buffer.consume(count);
    }

    /// Whether a request of which nothing was taken yet is here with its whole body; then it is taken.
    pub fn has_whole(&mut self, head: &RequestHead) -> bool {
        if self.taken > 0 || self.sent > 0 {
            return false;
        }
        self.take_request(head);
        if self.take_body().is_err() || !self.is_complete {
            self.rewind();
        }
        self.is_complete
    }

    /// Gives a message up that was taken in full: what is here of it is dropped, what else is in the buffer belongs to the next.
    pub fn discard(&mut self) {
        self.plan.clear();
        self.buffer.consume(self.taken);
        self.taken = 0;
        self.keeps = false;
        self.is_complete = true;
    }

    /// Ready for the message that follows in the same direction of the same exchange.
    pub fn next_message(&mut self) {
        debug_assert!(self.is_finished());
        self.is_complete = false;
    }

    /// The sender has closed: whether the message may end here; then it is complete.
    pub fn end(&mut self) -> bool {
        if !self.is_complete && self.body.may_end_here() && !self.is_cut {
            self.is_complete = true;
        }
        self.is_complete
    }

    /// Whether the sender has broken the connection off.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The sender has broken the connection off.
    pub fn cut(&mut self) {
        self.is_cut = true;
    }

    /// Replaces whatever was received by `bytes`, which must fit the buffer.
    pub fn load(&mut self, bytes: &[u8], pool: &mut BufferPool) {
        pool.detach(&mut self.buffer);
        pool.attach(&mut self.buffer);
        self.plan.clear();
        self.taken = 0;
        let count = bytes.len().min(self.buffer.room());
        self.buffer.space()[..count].copy_from_slice(&bytes[..count]);
        self.buffer.commit(count);
    }

    /// Replaces whatever was to be sent by `bytes`, which must fit the buffer.
    pub fn replace(&mut self, bytes: &[u8], pool: &mut BufferPool) {
        self.load(bytes, pool);
        self.taken = self.buffer.len();
        self.plan.push_buffer(ByteRange::new(0, self.taken));
        self.is_complete = true;
    }

    /// Adds data to a chunked body of our own, with the body's end after it if it is the last, and takes it. Without data and end, nothing. Both
    /// must fit the buffer's room.
    pub fn take_chunk(&mut self, data: &[u8], is_last: bool) -> Result<(), HeadError> {
        let mut target = self.buffer.space();
        let room = target.len();
        let is_written = (data.is_empty() || write!(target, "{:x}\r\n", data.len()).is_ok())
            && target.write_all(data).is_ok()
            && (data.is_empty() || target.write_all(b"\r\n").is_ok())
            && (!is_last || target.write_all(b"0\r\n\r\n").is_ok());
        assert!(is_written, "the caller has seen to the room");
        let written = room - target.len();
        self.buffer.commit(written);
        self.take_body()
    }

    /// Keeps what is sent from now on, to send it again should the server connection prove dead.
    pub fn keep_for_replay(&mut self) {
        self.keeps = true;
    }

    /// Whether the whole message is still here.
    pub fn can_replay(&self) -> bool {
        self.keeps && self.is_complete
    }

    /// Drops what was kept, once an answer has begun.
    pub fn forget_kept(&mut self) {
        if std::mem::replace(&mut self.keeps, false) && self.plan.is_done() {
            self.drop_sent();
        }
    }

    /// Starts over: the plan is empty again and the head must be taken anew.
    pub fn rewind(&mut self) {
        self.plan.clear();
        self.taken = 0;
        self.sent = 0;
        self.data_bytes = 0;
        self.is_complete = false;
    }

    /// Sends what the plan holds, as far as the socket takes it. Returns the number of bytes.
    pub fn flush(
        &mut self,
        connection: &mut Connection,
        headers: &HeaderTable,
    ) -> io::Result<usize> {
        let mut total = 0;
        while !self.plan.is_done() && connection.may_write() {
            let sent = match self.plan.only_piece(self.buffer.filled(), headers) {
                Some(bytes) => connection.write(&[io::IoSlice::new(bytes)], false)?,
                None => self.write_slices(connection, headers)?,
            };
            self.plan.sent(sent);
            self.sent += sent as u64;
            total += sent;
        }
        if self.plan.is_done() && !self.keeps {
            self.drop_sent();
        }
        if let Some(pipe) = &mut self.pipe
            && self.plan.is_done()
            && connection.may_write()
        {
            let sent = connection.write_from(pipe)?;
            self.sent += sent as u64;
            total += sent;
        }
        Ok(total)
    }

    fn write_slices(
        &mut self,
        connection: &mut Connection,
        headers: &HeaderTable,
    ) -> io::Result<usize> {
        let mut slices = [io::IoSlice::new(&[]); SLICES_MAX];
        let count = self.plan.slices(self.buffer.filled(), headers, &mut slices);
        connection.write(&slices[..count], false)
    }

    fn drop_sent(&mut self) {
        debug_assert!(self.plan.is_done());
        self.plan.clear();
        self.buffer.consume(self.taken);
        self.taken = 0;
    }

    /// Whether all that is left to send of the message fits one segment of any network.
    pub fn fits_one_segment(&self) -> bool {
        const SEGMENT_BYTES: usize = 1200;
        self.is_complete && self.plan.remaining() <= SEGMENT_BYTES
    }

    /// Whether something waits to be sent.
    pub fn has_unsent(&self) -> bool {
        !self.plan.is_done() || self.pipe.as_ref().is_some_and(|pipe| pipe.held() > 0)
    }

    /// Bytes of the body's data that have come, without their framing.
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// Gives back what it holds of the pools.
    pub fn release(&mut self, pool: &mut BufferPool) {
        self.pipe = None;
        pool.detach(&mut self.buffer);
    }

    /// Whether data of the message's body has come.
    pub fn has_data(&self) -> bool {
        self.data_bytes > 0
    }

    /// Whether a part of the message is missing, and an end of the connection in order would hide that from the receiver.
    pub fn would_look_whole(&self) -> bool {
        self.is_open_ended && !self.is_finished()
    }

    /// Whether the message is complete and sent.
    pub fn is_finished(&self) -> bool {
        self.is_complete && !self.has_unsent()
    }
}
