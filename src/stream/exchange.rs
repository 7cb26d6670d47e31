//! An exchange: one request, its response, and all that is known about them while they are in flight.
//!
//! Exchanges are large (head tables, plans) and few: a stream holds one only from the first byte of a request to the
//! last of its response. They come from a pool and are used again, so nothing is allocated for a request.

use std::cell::RefCell;
use std::io::{self, Write as _};
use std::rc::Rc;
use std::time::SystemTime;

use super::body::Awaited;
use super::cookies::Persistence;
use super::decide::Progress;
use super::inspect::Inspection;
use super::respond::ResponseProgress;
use crate::backend::Place;
use crate::backend::sticky::Stores;
use crate::config::model;
use crate::http::{
    BodyDecoder, BodyForm, ByteRange, ForwardPlan, Framing, HeadError, Header, HeaderTable, Known,
    LOGGED_HEAD_BYTES, Measure, RequestHead, ResponseHead,
};
use crate::log::{CookieState, Termination};
use crate::net::{Connection, Pipe, Pipes, ReadResult};
use crate::reactor::{Buffer, BufferPool};
use crate::rules::{Notes, Reply};
use crate::sample::format::Format;
use crate::sample::{CaptureSet, Captures};
use crate::sample::{Registry, StreamVars};
use crate::stats::prometheus::Export;
use crate::stick::Tracked;

/// Slices handed to one `writev`.
const SLICES_MAX: usize = 32;

/// A body of which less is still to come is copied: two copies of little cost less than its way through a pipe.
const SPLICED_BYTES_MIN: u64 = 32 * 1024;

/// Most bytes that one call moves into a pipe, however much room that has.
const SPLICE_BYTES_MAX: usize = 1 << 20;

/// `HTTP/1.1`.
const VERSION_BYTES: usize = 8;

/// Names and values of headers, without a plain `Connection: close` or `keep-alive`.
fn header_bytes(headers: &HeaderTable, buffer: &[u8]) -> usize {
    let for_this_hop = |line: &Header| {
        let value = headers.value(line, buffer);
        line.known == Known::Connection
            && [&b"close"[..], b"keep-alive"]
                .iter()
                .any(|word| value.eq_ignore_ascii_case(word))
    };
    let is_counted = |line: &&Header| !line.removed && !for_this_hop(line);
    let counted = headers.lines().iter().filter(is_counted);
    counted.map(|line| line.name.len() + line.value.len()).sum()
}

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
    fn new() -> Channel {
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

/// What answers a request in the place of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Service {
    /// Nothing but servers and our own pages.
    #[default]
    None,
    /// The exporter of metrics, which has not written all yet.
    Exports(Export),
    /// The exporter, which has no more to say.
    Over,
}

/// When the stages of an exchange were reached, monotonic milliseconds.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct Times {
    pub started_ms: u64,
    pub head_ms: Option<u64>,
    pub assigned_ms: Option<u64>,
    pub connected_ms: Option<u64>,
    pub response_ms: Option<u64>,
    /// The request was tarpitted: its wait counts as one in a queue, and its head has no time.
    pub tarpit: bool,
}

/// One request and its response.
#[derive(Debug)]
pub struct Exchange {
    /// The request's head.
    pub request: RequestHead,
    /// The response's head.
    pub response: ResponseHead,
    /// Client to server.
    pub up: Channel,
    /// Server to client.
    pub down: Channel,
    /// Index of the proxy whose backend side serves it.
    pub backend: Option<usize>,
    /// Index of the server in the backend.
    pub server: Option<usize>,
    /// Whether a place on `server` is held.
    pub holds_place: bool,
    /// The server was chosen by a stick rule.
    pub is_sticky: bool,
    /// The connection to the server, an index into the pool.
    pub link: Option<usize>,
    /// The server connection has carried requests before.
    pub is_reused: bool,
    /// Place in a queue: of the server, or, with `None`, of the backend.
    pub waiting: Option<(Place, Option<usize>)>,
    /// What stick rules will store when the server has answered.
    pub stores: Stores,
    /// Connection attempts that may still be made.
    pub retries_left: u32,
    /// Connection attempts that failed.
    pub retries: u32,
    /// The stream was moved to another server than the first.
    pub is_redispatched: bool,
    /// Bytes from the client that its backend, and its server, have not been told of: they came before either was known.
    pub untold_bytes_in: (u64, u64),
    /// The server that failed it, until it has another (`option redispatch`).
    pub failed_server: Option<usize>,
    /// Stages.
    pub times: Times,
    /// Wall-clock time of the request's first byte.
    pub started: SystemTime,
    /// How far the decision about it has come.
    pub progress: Progress,
    /// What its rules have noted.
    pub notes: Notes,
    /// The body that its rules wait for.
    pub awaited: Option<Awaited>,
    /// Its client closed in the middle of the body that was waited for.
    pub is_cut_short: bool,
    /// Where the rules of its response go on that wait for its body.
    pub response_progress: Option<ResponseProgress>,
    /// What a tarpit will answer.
    pub tarpit_reply: Option<Rc<Reply>>,
    /// What answers it in the place of a server.
    pub service: Service,
    /// How it ended.
    pub termination: Termination,
    /// Status sent to the client.
    pub status: Option<u16>,
    /// Its place in the queue of the server and of the backend, from 1; 0 where it did not wait. Places add up when it
    /// waits again after a redispatch.
    pub queue_places: (u32, u32),
    /// Bytes of response heads as the log counts them (`%B`, with the body's). HAProxy does not log what it writes but what it
    /// holds: 20 bytes a head, the words of the status line, names and values of the headers as they came (a plain `Connection: close`
    /// or `keep-alive` left out), a byte for the
    /// end of the head and of a chunked body, and the data. Its lines and ours are read by the same tools.
    pub logged_bytes: u64,
    /// Bytes of the request's head, counted in the same way; 0 while nothing is tracked.
    pub head_bytes: u64,
    /// What this request tracks.
    pub tracked: Tracked,
    /// What is tracked has been told of the request.
    pub is_request_counted: bool,
    /// What was tracked has been told of the bytes too, and is tracked no more.
    pub is_settled: bool,
    /// How much of what this worker learnt late must have been heard before the client gets the response (`handover`); 0: nothing.
    pub held_until: u64,
    /// The client connection stays open after this exchange.
    pub keep_client: bool,
    /// The server connection may be used again after this exchange.
    pub keep_server: bool,
    /// What was captured of the messages.
    pub captures: Captures,
    logged_line_max: usize,
    /// The unique id, once it is made.
    pub unique_id: Vec<u8>,
    /// Requests and TCP sessions that the process had begun before it.
    pub number: u64,
    /// What the persistence cookie did.
    pub cookies: CookieState,
    /// What is known of its persistence.
    pub persistence: Persistence,
    /// How far `tcp-response content` has come.
    pub inspection: Inspection,
    /// A final response head has arrived.
    pub has_response: bool,
    /// The backend has been left: its counts no longer hold this exchange.
    pub has_left: bool,
    /// The log line was written, and the numbers counted.
    pub is_logged: bool,
    /// Its log line was written when the response began (`option logasap`).
    pub is_logged_early: bool,
    /// Variables of the scopes `txn`, `req` and `res`.
    pub vars: RefCell<StreamVars>,
}

/// The exchange of a stream that has one: in every state but `Idle` and `Linger`. The functions of those states are the
/// only callers, so the absence of an exchange is a mistake of ours that nobody outside can provoke.
pub fn in_flight(slot: &mut Option<BoxedExchange>) -> &mut Exchange {
    slot.as_mut()
        .expect("a stream in this state has an exchange")
}

impl Exchange {
    /// An exchange with such room.
    pub fn new(room: Room, vars: StreamVars) -> Exchange {
        let Room {
            headers_max,
            scratch_bytes,
            logged_line_max,
        } = room;
        Exchange {
            request: RequestHead::new(headers_max, scratch_bytes),
            response: ResponseHead::new(headers_max, scratch_bytes),
            up: Channel::new(),
            down: Channel::new(),
            backend: None,
            server: None,
            holds_place: false,
            is_sticky: false,
            link: None,
            is_reused: false,
            waiting: None,
            stores: Stores::default(),
            retries_left: 0,
            retries: 0,
            is_redispatched: false,
            untold_bytes_in: (0, 0),
            failed_server: None,
            times: Times::default(),
            started: SystemTime::UNIX_EPOCH,
            progress: Progress::default(),
            notes: Notes::default(),
            awaited: None,
            is_cut_short: false,
            response_progress: None,
            tarpit_reply: None,
            service: Service::None,
            termination: Termination::default(),
            status: None,
            queue_places: (0, 0),
            logged_bytes: 0,
            head_bytes: 0,
            tracked: Tracked::default(),
            is_request_counted: false,
            is_settled: false,
            held_until: 0,
            keep_client: false,
            keep_server: false,
            captures: Captures {
                request_line: Vec::with_capacity(logged_line_max),
                ..Captures::default()
            },
            logged_line_max,
            unique_id: Vec::new(),
            number: 0,
            cookies: CookieState::default(),
            persistence: Persistence::default(),
            inspection: Inspection::None,
            has_response: false,
            has_left: false,
            is_logged: false,
            is_logged_early: false,
            vars: RefCell::new(vars),
        }
    }

    /// The backend, in every state that follows its choice.
    pub fn backend_index(&self) -> usize {
        self.backend.expect("a backend was chosen")
    }

    /// The server, from the moment that a place on it is held.
    pub fn server_index(&self) -> usize {
        self.server.expect("a server was chosen")
    }

    /// The connection to the server, while there is one.
    pub fn link_index(&self) -> usize {
        self.link.expect("there is a server connection")
    }

    /// Ready for a request whose first bytes may be in `up.buffer` already.
    pub fn begin(&mut self, now_ms: u64, wall: SystemTime) {
        debug_assert!(self.link.is_none() && !self.holds_place && self.waiting.is_none());
        self.request.reset();
        self.response.reset();
        self.up.reset();
        self.down.reset();
        self.backend = None;
        self.server = None;
        self.is_sticky = false;
        self.is_reused = false;
        self.stores.clear();
        self.retries = 0;
        self.is_redispatched = false;
        self.untold_bytes_in = (0, 0);
        self.failed_server = None;
        self.times = Times {
            started_ms: now_ms,
            ..Times::default()
        };
        self.started = wall;
        self.progress = Progress::begun(now_ms);
        self.notes = Notes::default();
        self.awaited = None;
        self.is_cut_short = false;
        self.response_progress = None;
        self.tarpit_reply = None;
        self.service = Service::None;
        self.termination = Termination::default();
        self.status = None;
        self.queue_places = (0, 0);
        self.logged_bytes = 0;
        self.head_bytes = 0;
        debug_assert!(self.tracked.is_empty());
        self.is_request_counted = false;
        self.is_settled = false;
        self.held_until = 0;
        self.keep_client = false;
        self.keep_server = false;
        self.captures.clear();
        self.unique_id.clear();
        self.cookies = CookieState::default();
        self.persistence = Persistence::default();
        self.inspection = Inspection::None;
        self.has_response = false;
        self.has_left = false;
        self.is_logged = false;
        self.is_logged_early = false;
        self.vars.get_mut().clear();
    }

    /// Counts the response head that was just parsed, before it is edited.
    pub fn count_logged_head(&mut self) {
        self.logged_bytes += self.response_head_bytes();
    }

    /// Bytes of the response's head as the log counts them, as edited.
    pub fn response_head_bytes(&self) -> u64 {
        const STATUS_BYTES: usize = 3;
        let buffer = self.down.buffer.filled();
        let start_line = VERSION_BYTES + STATUS_BYTES + self.response.reason(buffer).len();
        let headers = header_bytes(&self.response.headers, buffer);
        (LOGGED_HEAD_BYTES + start_line + headers + 1) as u64
    }

    /// Makes room for what the frontend captures, and counts the request's head, which is not edited yet (a TCP stream has none),
    /// where a format asks for that.
    pub fn begin_captures(&mut self, frontend: &model::Proxy) {
        let formats = [
            frontend.log_format.custom(),
            frontend.log_format_sd.as_deref(),
            frontend.unique_id_format.as_deref(),
        ];
        let is_counted = formats.into_iter().flatten().any(Format::needs_uploaded);
        if is_counted && self.times.head_ms.is_some() {
            self.count_head();
        }
        let wanted = &frontend.captures;
        if let Some((_, bytes_max)) = &wanted.cookie {
            self.captures.cookies.begin([*bytes_max; 2]);
        }
        let slots = &wanted.request;
        if slots.is_empty() && wanted.response.is_empty() {
            return;
        }
        let (request, response) = (&mut self.captures.request, &mut self.captures.response);
        request.begin(slots.iter().map(|slot| slot.1));
        response.begin(frontend.captures.response.iter().map(|slot| slot.1));
    }

    /// Keeps the request line for the log, and captures what the frontend wants of the head, which is not edited yet. What
    /// `tcp-request content` rejects is no request: nothing of it is known.
    pub fn capture_request(&mut self, frontend: &model::Proxy) {
        self.note_request_line();
        let (headers, buffer) = (&self.request.headers, self.up.buffer.filled());
        if let Some((name, _)) = &frontend.captures.cookie {
            let found = find_cookie(name, Known::Cookie, headers, buffer);
            found.inspect(|text| self.captures.cookies.set(0, text));
        }
        let slots = &frontend.captures.request;
        capture_headers(slots, headers, buffer, &mut self.captures.request);
    }

    /// Captures what the frontend wants of the response's head, which is not edited yet.
    pub fn capture_response(&mut self, frontend: &model::Proxy) {
        let (headers, buffer) = (&self.response.headers, self.down.buffer.filled());
        if let Some((name, _)) = &frontend.captures.cookie {
            let found = find_cookie(name, Known::SetCookie, headers, buffer);
            found.inspect(|text| self.captures.cookies.set(1, text));
        }
        let slots = &frontend.captures.response;
        capture_headers(slots, headers, buffer, &mut self.captures.response);
    }

    /// Counts the request head that was just parsed, before it is edited.
    pub fn count_head(&mut self) {
        let (request, buffer) = (&self.request, self.up.buffer.filled());
        let method = request.client_method_name(buffer).len();
        let start_line = method + request.target(buffer).len() + VERSION_BYTES;
        let headers = header_bytes(&request.headers, buffer);
        self.head_bytes = (LOGGED_HEAD_BYTES + start_line + headers + 1) as u64;
    }

    /// Bytes of the request as HAProxy counts them, as far as it has come; see `logged_bytes`.
    pub fn received_total(&self) -> u64 {
        let has_chunk_end = self.request.framing == Framing::Chunked && self.up.is_complete;
        self.head_bytes + self.up.data_bytes + u64::from(has_chunk_end)
    }

    /// Bytes of the response as the log counts them; see `logged_bytes`.
    pub fn logged_total(&self) -> u64 {
        let has_chunk_end =
            self.has_response && self.response.framing == Framing::Chunked && self.down.is_complete;
        self.logged_bytes + self.notes.hint_bytes + self.down.data_bytes + u64::from(has_chunk_end)
    }

    /// Whether the client was told nothing yet about the body that it asked leave for, and sent nothing of it.
    pub fn awaits_leave(&self) -> bool {
        self.request.expects_continue && !self.up.has_data()
    }

    /// Whether the whole response is sent to the client.
    pub fn is_answered(&self) -> bool {
        self.has_response && self.down.is_finished()
    }

    fn note_request_line(&mut self) {
        let head = self
            .up
            .buffer
            .filled()
            .get(self.request.start as usize..)
            .unwrap_or_default();
        let line = head.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.captures.request_line.clear();
        self.captures
            .request_line
            .extend_from_slice(&line[..line.len().min(self.logged_line_max)]);
    }
}

/// The first cookie whose `NAME=VALUE` begins with `start`.
fn find_cookie<'b>(
    start: &str,
    known: Known,
    headers: &'b HeaderTable,
    buffer: &'b [u8],
) -> Option<&'b [u8]> {
    let is_meant = |cookie: &&[u8]| cookie.starts_with(start.as_bytes());
    headers.find_known(buffer, known).find_map(|(_, line)| {
        let mut cookies = line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        match known {
            // What follows the first one are its attributes.
            Known::SetCookie => cookies.next().filter(is_meant),
            _ => cookies.find(is_meant),
        }
    })
}

/// Puts the last line of each captured header into its slot.
fn capture_headers(
    slots: &[(Option<Box<str>>, u32)],
    headers: &HeaderTable,
    buffer: &[u8],
    captures: &mut CaptureSet,
) {
    for (index, (name, _)) in slots.iter().enumerate() {
        let Some(name) = name else { continue };
        if let Some((_, value)) = headers.find(buffer, name.as_bytes()).last() {
            captures.set(index, value);
        }
    }
}

/// What changes hands is a pointer: streams that have no exchange stay small, and taking one copies nothing.
pub type BoxedExchange = Box<Exchange>;

/// Exchanges that are not in use.
#[derive(Debug)]
pub struct ExchangePool {
    idle: Vec<BoxedExchange>,
    room: Room,
    samples: Registry,
}

/// What an exchange has room for. TCP has no heads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Room {
    /// Lines of a head (`tune.http.maxhdr`).
    pub headers_max: usize,
    /// Bytes of insertions.
    pub scratch_bytes: usize,
    /// Bytes of a request line that the log has (`tune.http.logurilen`).
    pub logged_line_max: usize,
}

impl ExchangePool {
    /// A pool that keeps at most `idle_max` exchanges.
    pub fn new(room: Room, idle_max: usize, samples: &Registry) -> ExchangePool {
        ExchangePool {
            idle: Vec::with_capacity(idle_max),
            room,
            samples: samples.clone(),
        }
    }

    /// An exchange; `begin` it.
    pub fn take(&mut self) -> BoxedExchange {
        self.idle.pop().unwrap_or_else(|| {
            let vars = self.samples.stream_vars();
            Box::new(Exchange::new(self.room, vars))
        })
    }

    /// Takes an exchange back, with its buffers.
    pub fn give(&mut self, mut exchange: BoxedExchange, buffers: &mut BufferPool) {
        exchange.up.pipe = None;
        exchange.down.pipe = None;
        buffers.detach(&mut exchange.up.buffer);
        buffers.detach(&mut exchange.down.buffer);
        exchange.vars.get_mut().clear();
        if self.idle.len() < self.idle.capacity() {
            self.idle.push(exchange);
        }
    }
}
