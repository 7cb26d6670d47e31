//! One connection to a peer, from the hello to the close, as a state machine: bytes and time in, bytes and events out.
//!
//! ```text
//! dialled:   Connecting ──▶ AwaitStatus ──200──▶ Established ──▶ Failing ──▶ Closed
//! accepted:  AwaitHello ──▶ Verdict ──accept──▶ Established
//!                                   └─refuse──▶ Refusing ──▶ Closed
//! ```
//! Order of calls: `handle_*` with what happened, then `poll_event` until it is empty, `poll_output` while there is room,
//! and `close_reason`; `poll_timeout` says when to call `handle_timeout`.
//!
//! Any state may go to `Closed`; the owner then drops the connection, after what `poll_output` gave has been sent.
//! Invariants: a session keeps no byte that it was given (the caller keeps what was not consumed) and no message that it
//! wants to send; it holds the dictionaries, a few words a table, and at most `EVENTS_MAX` events.
//! Not here: who is a member, which peer teaches us, when to dial (`group`).

mod extended;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use extended::Extended;
pub use extended::HeldThere;

use super::context::Context;
use super::fault::Fault;
use super::hello::{self, Hello, HelloStep, Status, StatusStep};
use super::receive::{Mismatch, Receiver};
use super::send::{Sender, Taught};
use super::wire::extension;
use super::wire::{self, Control, EncodeError, Frame, WireError};
use crate::stick::KeyHash;

/// A hello and its status must come within this time.
pub const HANDSHAKE_MS_MAX: u64 = 5_000;
/// A peer that sends nothing for this long is dead.
pub const SILENCE_MS_MAX: u64 = 5_000;
/// The same while a lesson is under way: some peers say nothing then.
const SILENCE_IN_LESSON_MS_MAX: u64 = 15_000;
/// A heartbeat is due so long after the last one or the last update.
const HEARTBEAT_MS: u64 = 3_000;
/// A heartbeat that finds no room for this long: the peer does not read.
const UNREAD_MS_MAX: u64 = 15_000;
/// Time for the last bytes of a refusal or an error to find room.
const FAREWELL_MS_MAX: u64 = 1_000;
/// A teacher that sends no entry and no end for this long is not one.
const LEARNING_IDLE_MS_MAX: u64 = 10_000;
/// Confirmations owed at once; more are as good as this many.
const CONFIRMS_DUE_MAX: u32 = 255;
/// Bytes kept of a message that violates the protocol.
const VIOLATION_BYTES_MAX: usize = 64;
/// Reading pauses while so many events wait.
const EVENTS_MAX: usize = 16;
/// Messages that are looked at together: what they need of the tables is fetched at the same time.
const MESSAGES_AHEAD: usize = 16;

/// Why a session is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The connection ended; the text says how.
    Connection(String),
    /// The peer answered our hello with this status.
    RefusedByPeer(Status),
    /// We answered its hello with this status.
    Refused(Status, String),
    /// No hello, or no status, in time.
    HandshakeTimeout,
    /// What came was no hello and has no end.
    NoHello,
    /// The answer to our hello was no status.
    NoStatus,
    /// Nothing was received for too long.
    Silence,
    /// It sends but does not read.
    NotReading,
    /// It violated the protocol.
    Violation(WireError),
    /// A newer connection with the same peer replaces this one.
    Replaced,
    /// This node stops.
    Stopping,
}

/// What the owner learns from a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// A valid hello: answer with `accept` or `refuse`.
    Hello(Hello),
    /// The peer accepted our hello.
    Established,
    /// The peer asks for a lesson; it is being taught already.
    LessonRequested,
    /// The peer has taken the end of a lesson in.
    LessonTaught(Taught),
    /// The peer did not confirm the end of a lesson.
    LessonUnconfirmed,
    /// The end of a lesson to us, asked for or not.
    LessonEnded {
        /// The teacher does not claim to have everything.
        partial: bool,
        /// If we had asked: entries received, and milliseconds since.
        learnt: Option<(u64, u64)>,
    },
    /// We asked and are not being taught.
    LessonStalled,
    /// A definition is ignored.
    DefinitionIgnored(Mismatch),
    /// The peer says that we violated the protocol.
    ErrorReceived(u8),
    /// What the peer holds of the table at this position.
    Digest(usize, HeldThere),
    /// The peer has sent all that it holds of the table at this position: so many entries.
    Repaired(usize, u64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Connecting,
    AwaitStatus,
    AwaitHello,
    Verdict,
    Refusing(Status, String),
    Established,
    Failing(WireError),
    Closed(CloseReason),
}

#[derive(Clone, Copy, Debug)]
struct Learning {
    started_ms: u64,
    /// Of the last entry.
    progress_ms: u64,
    entries: u64,
}

/// A message that was split off and not handled yet.
#[derive(Clone, Copy, Debug)]
struct Message<'a> {
    frame: Frame<'a>,
    bytes: usize,
    /// Of an update's key, in the table that is selected.
    hash: Option<KeyHash>,
}

/// Messages that were split off together.
#[derive(Clone, Copy, Debug)]
struct Batch<'a> {
    messages: [Message<'a>; MESSAGES_AHEAD],
    /// So many of the places above are in use; the others hold what they held before.
    count: usize,
    /// Of all messages.
    bytes: usize,
    /// None of them selects a table.
    same_table: bool,
}

impl Default for Batch<'_> {
    fn default() -> Self {
        Batch {
            messages: [Message {
                frame: Frame::Unknown,
                bytes: 0,
                hash: None,
            }; MESSAGES_AHEAD],
            count: 0,
            bytes: 0,
            same_table: true,
        }
    }
}

/// What `handle_input` did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consumed {
    /// Bytes to drop from the front.
    pub bytes: usize,
    /// It stopped because of its bounds, or for a verdict: call it again with what is left.
    pub more: bool,
}

/// Counters of one session, for `show peers`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Heartbeats sent.
    pub heartbeats_sent: u32,
    /// Heartbeats received.
    pub heartbeats_received: u32,
    /// Updates received for tables of ours.
    pub updates_received: u64,
    /// Bytes received and taken in.
    pub bytes_received: u64,
    /// Bytes handed out to be sent.
    pub bytes_sent: u64,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    state: State,
    dialled: bool,
    minor: u8,
    deadline_ms: u64,
    /// Bytes of the hello that were looked at and are not all of it.
    hello_bytes_judged: usize,
    /// What is to be sent before any message: a hello or a status line.
    greeting: Vec<u8>,
    last_input_ms: u64,
    heartbeat_at_ms: u64,
    request_due: bool,
    confirms_due: u32,
    halves: Option<(Receiver, Sender)>,
    learning: Option<Learning>,
    /// The peer is the process that this one replaces: all that it says is a lesson.
    is_predecessor: bool,
    extended: Extended,
    events: VecDeque<SessionEvent>,
    /// Counters.
    pub counters: Counters,
    /// The message that violated the protocol: the offset of its first byte in what was received, and its first bytes.
    pub violation: Option<(u64, Vec<u8>)>,
}

impl Session {
    fn new(state: State, dialled: bool, now_ms: u64) -> Session {
        Session {
            state,
            dialled,
            minor: hello::MINOR_VERSION,
            deadline_ms: now_ms + HANDSHAKE_MS_MAX,
            hello_bytes_judged: 0,
            greeting: Vec::new(),
            last_input_ms: now_ms,
            heartbeat_at_ms: now_ms,
            request_due: false,
            confirms_due: 0,
            halves: None,
            learning: None,
            is_predecessor: false,
            extended: Extended::default(),
            events: VecDeque::new(),
            counters: Counters::default(),
            violation: None,
        }
    }

    /// A session that we dial: `hello` goes out once `connected` was called. `minor` is the version it announces.
    pub fn dial(now_ms: u64, hello: Vec<u8>, minor: u8) -> Session {
        let mut session = Session::new(State::Connecting, true, now_ms);
        session.greeting = hello;
        session.minor = minor;
        session
    }

    /// A session that somebody else dialled.
    pub fn accepted(now_ms: u64) -> Session {
        Session::new(State::AwaitHello, false, now_ms)
    }

    /// The connection that we dialled stands.
    pub fn connected(&mut self) {
        if self.state == State::Connecting {
            self.state = State::AwaitStatus;
        }
    }

    /// Whether we dialled.
    pub fn is_dialled(&self) -> bool {
        self.dialled
    }

    /// Whether the connection that we dial does not stand yet.
    pub fn is_connecting(&self) -> bool {
        self.state == State::Connecting
    }

    /// Whether the handshake is over and messages flow.
    pub fn is_established(&self) -> bool {
        self.state == State::Established
    }

    /// Whether nobody has said yet who dialled.
    pub fn is_anonymous(&self) -> bool {
        matches!(
            self.state,
            State::AwaitHello | State::Verdict | State::Refusing(..)
        )
    }

    /// Minor version that is spoken.
    pub fn minor(&self) -> u8 {
        self.minor
    }

    /// Whether we asked this peer for a lesson that has not ended.
    pub fn is_learning(&self) -> bool {
        self.learning.is_some()
    }

    /// Whether this peer is being taught.
    pub fn is_teaching(&self) -> bool {
        self.sender().is_some_and(Sender::is_teaching)
    }

    /// Entries that the lesson asked for has brought so far, and when it was asked for.
    pub fn learning_progress(&self) -> Option<(u64, u64)> {
        self.learning
            .map(|learning| (learning.entries, learning.started_ms))
    }

    /// Entries of the lesson that the peer is being taught, and when it began.
    pub fn teaching_progress(&self) -> Option<(u64, u64)> {
        self.sender().and_then(Sender::lesson_progress)
    }

    /// Confirmations that we owe.
    pub fn confirms_due(&self) -> u32 {
        self.confirms_due
    }

    /// Milliseconds until the next heartbeat.
    pub fn heartbeat_in_ms(&self, now_ms: u64) -> u64 {
        self.heartbeat_at_ms.saturating_sub(now_ms)
    }

    pub(super) fn receiver(&self) -> Option<&Receiver> {
        self.halves.as_ref().map(|(receiver, _)| receiver)
    }

    pub(super) fn sender(&self) -> Option<&Sender> {
        self.halves.as_ref().map(|(_, sender)| sender)
    }

    /// Whether `poll_output` stopped because of the bounds of a turn.
    pub fn has_more_output(&self) -> bool {
        self.is_established() && self.sender().is_some_and(|sender| sender.more)
    }

    /// Why it is over, if it is.
    pub fn close_reason(&self) -> Option<&CloseReason> {
        match &self.state {
            State::Closed(reason) => Some(reason),
            _ => None,
        }
    }

    /// The connection ended, or the owner ends it.
    pub fn close(&mut self, reason: CloseReason) {
        if self.close_reason().is_none() {
            self.state = State::Closed(reason);
        }
    }

    /// Welcomes the peer whose hello was reported.
    pub fn accept(&mut self, minor: u8, context: &mut Context<'_>) {
        assert_eq!(self.state, State::Verdict);
        self.greeting = b"200\n".to_vec();
        self.greeting
            .extend_from_slice(&self.extended.hello(context.now_ms));
        self.minor = minor;
        self.establish(context);
    }

    /// Refuses the peer whose hello was reported.
    pub fn refuse(&mut self, now_ms: u64, status: Status, text: String) {
        self.greeting = format!("{}\n", status.code()).into_bytes();
        self.deadline_ms = now_ms + FAREWELL_MS_MAX;
        self.state = State::Refusing(status, text);
    }

    fn establish(&mut self, context: &mut Context<'_>) {
        self.state = State::Established;
        self.last_input_ms = context.now_ms;
        // At once: an implementation that had a collision gives up a session in which nothing comes soon.
        self.heartbeat_at_ms = context.now_ms;
        let receiver = Receiver::new(context.shared.len());
        self.halves = Some((receiver, Sender::new(context, self.minor > 0)));
        self.begin_extension(context.now_ms);
    }

    /// Asks the peer for a lesson.
    pub fn request_lesson(&mut self, now_ms: u64) {
        self.request_due = true;
        self.learning = Some(Learning {
            started_ms: now_ms,
            progress_ms: now_ms,
            entries: 0,
        });
    }

    /// The peer is the process that this one replaces: what changed here is newer than what it knows.
    pub fn learn_from_predecessor(&mut self) {
        self.is_predecessor = true;
    }

    /// Teaches the peer without being asked, as an old process does its successor.
    pub fn teach(&mut self, context: &mut Context<'_>) {
        if let Some((_, sender)) = &mut self.halves {
            sender.teach(context);
        }
    }

    /// Takes in what the peer sent: whole messages, as many as fit into a turn. What is not consumed must be given again,
    /// with what follows.
    pub fn handle_input(&mut self, bytes: &[u8], context: &mut Context<'_>) -> Consumed {
        let mut consumed = 0;
        let mut budget = context.updates_max.max(1);
        if !bytes.is_empty() {
            self.last_input_ms = context.now_ms;
        }
        loop {
            let rest = &bytes[consumed..];
            let step = match self.state {
                State::AwaitHello => {
                    // One verdict at a time: the owner has to speak before messages are read.
                    let bytes = self.handle_hello(rest, context);
                    self.counters.bytes_received += bytes as u64;
                    return Consumed {
                        bytes: consumed + bytes,
                        more: self.state == State::Verdict,
                    };
                }
                State::AwaitStatus => self.handle_status(rest, context),
                State::Established => {
                    if budget == 0 || self.events.len() >= EVENTS_MAX {
                        return Consumed {
                            bytes: consumed,
                            more: true,
                        };
                    }
                    self.handle_messages(rest, &mut budget, context)
                }
                State::Verdict => 0,
                // What comes after an error or a refusal is dropped.
                State::Refusing(..) | State::Failing(_) | State::Closed(_) => rest.len(),
                State::Connecting => 0,
            };
            if step == 0 {
                return Consumed {
                    bytes: consumed,
                    more: false,
                };
            }
            consumed += step;
            self.counters.bytes_received += step as u64;
        }
    }

    fn handle_hello(&mut self, bytes: &[u8], context: &Context<'_>) -> usize {
        // Only the end of a line can change the verdict: a hello that comes a byte at a time is not read again for each.
        let new = &bytes[self.hello_bytes_judged.min(bytes.len())..];
        if !new.contains(&b'\n') && bytes.len() < hello::HELLO_BYTES_MAX {
            self.hello_bytes_judged = bytes.len();
            return 0;
        }
        self.hello_bytes_judged = bytes.len();
        match hello::decode_hello(bytes, context.local_name) {
            HelloStep::Incomplete => 0,
            HelloStep::TooLong => {
                self.close(CloseReason::NoHello);
                bytes.len()
            }
            HelloStep::Refused(status, text) => {
                self.refuse(context.now_ms, status, text);
                bytes.len()
            }
            HelloStep::Complete(hello, consumed) => {
                self.state = State::Verdict;
                self.events.push_back(SessionEvent::Hello(hello));
                consumed
            }
        }
    }

    fn handle_status(&mut self, bytes: &[u8], context: &mut Context<'_>) -> usize {
        match hello::decode_status(bytes) {
            StatusStep::Incomplete => 0,
            StatusStep::Malformed => {
                self.close(CloseReason::NoStatus);
                bytes.len()
            }
            StatusStep::Complete(Status::Accepted, consumed) => {
                self.establish(context);
                self.events.push_back(SessionEvent::Established);
                consumed
            }
            StatusStep::Complete(status, _) => {
                self.close(CloseReason::RefusedByPeer(status));
                bytes.len()
            }
        }
    }

    /// Whole messages, within the budget; the number of bytes they took, 0 if the first is not complete. While some are handled, what
    /// the next ones need of the tables is on its way from memory.
    fn handle_messages(
        &mut self,
        bytes: &[u8],
        budget: &mut u32,
        context: &mut Context<'_>,
    ) -> usize {
        let mut consumed = 0;
        let handled = self.try_handle_messages(bytes, &mut consumed, budget, context);
        match handled {
            Ok(()) => consumed,
            Err(error) => {
                let offset = self.counters.bytes_received + consumed as u64;
                let rest = &bytes[consumed..];
                let first = rest[..rest.len().min(VIOLATION_BYTES_MAX)].to_vec();
                self.violation = Some((offset, first));
                self.deadline_ms = context.now_ms + FAREWELL_MS_MAX;
                self.state = State::Failing(error);
                bytes.len()
            }
        }
    }

    fn try_handle_messages(
        &mut self,
        bytes: &[u8],
        consumed: &mut usize,
        budget: &mut u32,
        context: &mut Context<'_>,
    ) -> Result<(), WireError> {
        let mut batches = [Batch::default(), Batch::default()];
        let [batch, next] = &mut batches;
        let (mut batch, mut next) = (batch, next);
        let mut looked = self.look_ahead(bytes, batch, context);
        loop {
            looked?;
            // Their hashes hold if the table that is selected stays the same.
            let is_ahead = batch.same_table && *budget > MESSAGES_AHEAD as u32;
            if is_ahead {
                looked = self.look_ahead(&bytes[*consumed + batch.bytes..], next, context);
            }
            for message in &batch.messages[..batch.count] {
                if *budget == 0 || self.events.len() >= EVENTS_MAX {
                    return Ok(());
                }
                *budget -= 1;
                self.handle_frame(message.frame, message.hash, context)?;
                *consumed += message.bytes;
            }
            if !is_ahead || batch.bytes == 0 {
                return Ok(());
            }
            std::mem::swap(&mut batch, &mut next);
        }
    }

    /// Splits off the first messages and announces the updates among them to their table: where one belongs is being fetched
    /// from memory while those before it are handled. An error is that of the first message; later ones have their turn.
    fn look_ahead<'a>(
        &self,
        bytes: &'a [u8],
        batch: &mut Batch<'a>,
        context: &Context<'_>,
    ) -> Result<(), WireError> {
        (batch.count, batch.bytes, batch.same_table) = (0, 0, true);
        let Some((receiver, _)) = &self.halves else {
            return Ok(());
        };
        let mut rest = bytes;
        for (index, message) in batch.messages.iter_mut().enumerate() {
            let (frame, bytes) = match wire::decode_frame(rest) {
                Ok(Some(decoded)) => decoded,
                Err(error) if index == 0 => return Err(error),
                Ok(None) | Err(_) => break,
            };
            let hash = match frame {
                Frame::Update(form, body) if batch.same_table => receiver.hash(form, body, context),
                _ => None,
            };
            batch.same_table &= !matches!(frame, Frame::Define(_) | Frame::Switch(_));
            batch.bytes += bytes;
            batch.count += 1;
            *message = Message { frame, bytes, hash };
            rest = &rest[bytes..];
        }
        let messages = &batch.messages[..batch.count];
        receiver.announce(messages.iter().filter_map(|message| message.hash), context);
        Ok(())
    }

    fn handle_frame(
        &mut self,
        frame: Frame<'_>,
        hash: Option<KeyHash>,
        context: &mut Context<'_>,
    ) -> Result<(), WireError> {
        let Some((receiver, sender)) = &mut self.halves else {
            return Ok(());
        };
        match frame {
            Frame::Control(control) => self.handle_control(control, context),
            Frame::Error(kind) => self.events.push_back(SessionEvent::ErrorReceived(kind)),
            Frame::Update(form, body) => {
                let keep_unacked = self.learning.is_some() || self.is_predecessor;
                if receiver.update((form, body), hash, keep_unacked, context)? {
                    self.counters.updates_received += 1;
                    if let Some(learning) = &mut self.learning {
                        // Without a lifetime it is a live update that was on its way, except from an old peer.
                        learning.entries += u64::from(form.timed || self.minor == 0);
                        learning.progress_ms = context.now_ms;
                    }
                }
            }
            Frame::Define(body) => {
                if let Some(mismatch) = receiver.define(body, context)? {
                    self.events
                        .push_back(SessionEvent::DefinitionIgnored(mismatch));
                }
            }
            Frame::Switch(body) => receiver.switch(body)?,
            Frame::Ack(body) => {
                let (table_id, id) = wire::decode_ack(body)?;
                sender.acked(table_id, id, context);
            }
            Frame::Extension(kind, body) => self.handle_extension(kind, body, context)?,
            Frame::Unknown => {}
        }
        Ok(())
    }

    fn handle_control(&mut self, control: Control, context: &mut Context<'_>) {
        let Some((_, sender)) = &mut self.halves else {
            return;
        };
        match control {
            Control::ResyncRequest => {
                sender.teach(context);
                self.events.push_back(SessionEvent::LessonRequested);
            }
            Control::ResyncFinished | Control::ResyncPartial => {
                if !context.has(Fault::FinishedUnanswered) {
                    self.confirms_due = (self.confirms_due + 1).min(CONFIRMS_DUE_MAX);
                }
                // An end that comes before our request went out is not the answer to it.
                let learnt = if self.request_due {
                    None
                } else {
                    self.learning.take()
                };
                self.events.push_back(SessionEvent::LessonEnded {
                    partial: control == Control::ResyncPartial,
                    learnt: learnt.map(|learning| {
                        let duration_ms = context.now_ms.saturating_sub(learning.started_ms);
                        (learning.entries, duration_ms)
                    }),
                });
            }
            Control::ResyncConfirm => {
                if let Some(taught) = sender.confirmed(context) {
                    self.events.push_back(SessionEvent::LessonTaught(taught));
                }
            }
            Control::Heartbeat => self.counters.heartbeats_received += 1,
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, context: &mut Context<'_>) {
        let now_ms = context.now_ms;
        match &self.state {
            State::Connecting | State::AwaitStatus | State::AwaitHello | State::Verdict => {
                if now_ms >= self.deadline_ms {
                    self.close(CloseReason::HandshakeTimeout);
                }
            }
            State::Refusing(status, text) => {
                if now_ms >= self.deadline_ms {
                    let reason = CloseReason::Refused(*status, text.clone());
                    self.close(reason);
                }
            }
            State::Failing(error) => {
                if now_ms >= self.deadline_ms {
                    let reason = CloseReason::Violation(*error);
                    self.close(reason);
                }
            }
            State::Established => self.check_established(context),
            State::Closed(_) => {}
        }
    }

    fn check_established(&mut self, context: &mut Context<'_>) {
        let now_ms = context.now_ms;
        if now_ms >= self.silent_at_ms() {
            return self.close(CloseReason::Silence);
        }
        if now_ms >= self.heartbeat_at_ms + UNREAD_MS_MAX {
            return self.close(CloseReason::NotReading);
        }
        if let Some(learning) = self.learning
            && now_ms >= learning.progress_ms + LEARNING_IDLE_MS_MAX
        {
            self.learning = None;
            self.request_due = false;
            self.events.push_back(SessionEvent::LessonStalled);
        }
        if let Some((_, sender)) = &mut self.halves
            && sender.handle_timeout(now_ms, context.cursors)
        {
            self.events.push_back(SessionEvent::LessonUnconfirmed);
        }
    }

    fn silent_at_ms(&self) -> u64 {
        let in_lesson = self.is_teaching() || self.is_learning() || self.confirms_due > 0;
        let limit = if in_lesson {
            SILENCE_IN_LESSON_MS_MAX
        } else {
            SILENCE_MS_MAX
        };
        self.last_input_ms + limit
    }

    /// When `handle_timeout` or `poll_output` has something to do.
    pub fn poll_timeout(&self, now_ms: u64) -> Option<u64> {
        match self.state {
            State::Closed(_) => None,
            State::Established => {
                // A heartbeat that is due but finds no room is tried again when there is room, not by the clock.
                let heartbeat = if self.heartbeat_at_ms > now_ms {
                    self.heartbeat_at_ms
                } else {
                    self.heartbeat_at_ms + UNREAD_MS_MAX
                };
                let learning = self
                    .learning
                    .map(|learning| learning.progress_ms + LEARNING_IDLE_MS_MAX);
                let lesson = self
                    .sender()
                    .and_then(Sender::timeout_ms)
                    .filter(|&at_ms| at_ms > now_ms);
                let digest = self.digest_at_ms().filter(|&at_ms| at_ms > now_ms);
                [
                    Some(self.silent_at_ms()),
                    Some(heartbeat),
                    learning,
                    lesson,
                    digest,
                ]
                .into_iter()
                .flatten()
                .min()
            }
            _ => Some(self.deadline_ms),
        }
    }

    /// The next event, oldest first.
    pub fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    /// Writes what there is to say into `out`; 0 for nothing, or no room for it.
    pub fn poll_output(&mut self, out: &mut [u8], context: &mut Context<'_>) -> usize {
        if matches!(
            self.state,
            State::Connecting | State::AwaitHello | State::Verdict | State::Closed(_)
        ) {
            return 0;
        }
        let Some(room) = out.get_mut(..self.greeting.len()) else {
            return 0;
        };
        room.copy_from_slice(&self.greeting);
        let mut end = self.greeting.len();
        self.greeting = Vec::new();
        match &self.state {
            State::Refusing(status, text) => {
                let reason = CloseReason::Refused(*status, text.clone());
                self.close(reason);
            }
            State::Failing(error) => {
                let error = *error;
                if let Ok(count) = wire::encode_error(&mut out[end..], error) {
                    end += count;
                    self.close(CloseReason::Violation(error));
                }
            }
            State::Established => {
                let (written, _) = self.write_short(&mut out[end..], context);
                end += written;
                end += self.write_updates(&mut out[end..], context);
                end += self.write_digests(&mut out[end..], context);
            }
            _ => {}
        }
        self.counters.bytes_sent += end as u64;
        end
    }

    /// Request, acks, confirmations, heartbeat: what must not wait behind a lesson.
    fn write_short(
        &mut self,
        out: &mut [u8],
        context: &Context<'_>,
    ) -> (usize, Result<(), EncodeError>) {
        let mut end = 0;
        let result = self.try_write_short(out, &mut end, context);
        (end, result)
    }

    fn try_write_short(
        &mut self,
        out: &mut [u8],
        end: &mut usize,
        context: &Context<'_>,
    ) -> Result<(), EncodeError> {
        let Some((receiver, _)) = &mut self.halves else {
            return Ok(());
        };
        if let Some(name) = self.extended.repair_due(context) {
            *end += extension::encode_repair(&mut out[*end..], name)?;
            self.extended.repair_asked();
        }
        if self.request_due {
            *end += wire::encode_control(&mut out[*end..], Control::ResyncRequest)?;
            self.request_due = false;
        }
        while let Some((position, remote_id, id)) = receiver.ack_due() {
            let named = id.wrapping_sub(u32::from(context.has(Fault::AckBefore)));
            *end += wire::encode_ack(&mut out[*end..], remote_id, named)?;
            receiver.tables[position].last_acked = id;
        }
        while self.confirms_due > 0 {
            *end += wire::encode_control(&mut out[*end..], Control::ResyncConfirm)?;
            self.confirms_due -= 1;
        }
        if context.now_ms >= self.heartbeat_at_ms {
            *end += wire::encode_control(&mut out[*end..], Control::Heartbeat)?;
            self.counters.heartbeats_sent += 1;
            self.heartbeat_at_ms = context.now_ms + HEARTBEAT_MS;
        }
        Ok(())
    }

    fn write_updates(&mut self, out: &mut [u8], context: &mut Context<'_>) -> usize {
        let learning = self.learning.is_some();
        let Some((_, sender)) = &mut self.halves else {
            return 0;
        };
        let sent_before = sender.updates_sent;
        let written = sender.fill(context, learning, out);
        if sender.updates_sent > sent_before {
            self.heartbeat_at_ms = context.now_ms + HEARTBEAT_MS;
        }
        written
    }
}
