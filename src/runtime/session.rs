//! One client of a stats socket: its lines, its mode, and the answer under way.
//!
//! ```text
//! read ─▶ lines ─▶ (payload) ─▶ commands ─▶ answer, piece by piece ─▶ write
//!                                  ▲                                    │
//!                                  └──────── next command, next line ◄──┘
//! ```
//!
//! Without `prompt`, the lines that have come by the time the first one is answered are answered, and the connection is
//! closed: so a client that sends a line, with or without shutting down its writing side, gets the whole answer and then
//! an end. With `prompt`, lines are read until the client ends or says `quit`.
//!
//! Invariants: at most one piece of an answer is in memory, and nothing is read while one is; an incomplete last line is
//! never run.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};

use super::answer::{Answer, Output, Progress, Reply};
use super::command::{Command, Line};
use super::commands::{self, COMMANDS};
use super::context::Context;
use super::invocation::{Invocation, Modes};
use crate::config::model::AccessLevel;
use crate::log::Severity;
use crate::net::takeover::{self, Offered, Transfer};
use crate::net::{Connection, ReadResult};
use crate::reactor::{Buffer, BufferPool, TimerSlot};

/// Size of a piece: about what a socket takes at once.
const PIECE_BYTES: usize = 16 * 1024;

/// Most things that are looked at for one piece, written or not: what keeps a turn short when a filter lets little pass.
const PIECE_STEPS: u32 = 256;

/// Most commands that are begun in one turn.
const COMMANDS_PER_TURN: u32 = 16;

/// What a session waits for after it was driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// An event of its socket.
    Event,
    /// Its next turn: it has done enough for this one.
    Turn,
    /// The listening sockets ([`Session::pass_sockets`]), to go on.
    Sockets,
    /// Nothing: it is over.
    Close,
}

/// What the socket that a session came from allows.
#[derive(Clone, Copy, Debug)]
pub struct Rights {
    /// `level`.
    pub level: AccessLevel,
    /// `expose-fd listeners`: whoever asks gets copies of all listening sockets.
    pub exposes: bool,
    /// What the session begins with.
    pub modes: Modes,
}

/// Listening sockets that are asked for (`net::takeover`).
#[derive(Debug)]
enum Passing {
    Asked,
    /// It has room for a message.
    Going(Transfer),
    /// Its receipt is due before the next message.
    Waiting(Transfer),
}

/// `set severity-output`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum SeverityOutput {
    #[default]
    None,
    Number,
    Text,
}

/// A line that waits for the end of its payload.
struct Payload {
    line: Line,
    end: Vec<u8>,
    bytes: Vec<u8>,
}

/// A client of a stats socket.
pub struct Session {
    connection: Connection,
    input: Buffer,
    input_ended: bool,
    /// What is still to be sent, from `sent` on.
    output: Vec<u8>,
    sent: usize,
    payload: Option<Payload>,
    /// The line whose commands are being run.
    line: Line,
    answer: Option<Box<dyn Answer>>,
    prompt: bool,
    level: AccessLevel,
    exposes: bool,
    modes: Modes,
    passing: Option<Passing>,
    severity_output: SeverityOutput,
    any_line: bool,
    quit: bool,
    /// `set timeout cli`, or `stats timeout`.
    pub timeout_ms: u64,
    /// Ends it when nothing moves.
    pub timer: TimerSlot,
}

impl Session {
    /// A session on a connection that was just accepted.
    pub fn new(
        socket: OwnedFd,
        rights: Rights,
        timeout_ms: u64,
        buffers: &mut BufferPool,
    ) -> Session {
        let mut input = Buffer::default();
        buffers.attach(&mut input);
        Session {
            connection: Connection::accepted(socket),
            input,
            input_ended: false,
            output: Vec::new(),
            sent: 0,
            payload: None,
            line: Line::default(),
            answer: None,
            prompt: false,
            level: rights.level,
            exposes: rights.exposes,
            modes: rights.modes,
            passing: None,
            severity_output: SeverityOutput::None,
            any_line: false,
            quit: false,
            timeout_ms,
            timer: TimerSlot::NONE,
        }
    }

    /// Its connection.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Gives its input buffer back, when it is over.
    pub fn release(&mut self, buffers: &mut BufferPool) {
        buffers.detach(&mut self.input);
    }

    /// Makes what progress is possible in this turn, and arms the timer when something moved.
    pub fn drive(&mut self, token: mio::Token, context: &mut Context<'_>) -> Next {
        let mut begun = 0;
        loop {
            match self.flush() {
                Ok(true) => {}
                Ok(false) => return Next::Event,
                Err(_) => return Next::Close,
            }
            if self.quit {
                return Next::Close;
            }
            context
                .timers
                .arm(&mut self.timer, token, context.now_ms + self.timeout_ms);
            if let Some(passing) = self.passing.take() {
                match self.pass(passing) {
                    Ok(true) => continue,
                    Ok(false) if matches!(self.passing, Some(Passing::Asked)) => {
                        return Next::Sockets;
                    }
                    Ok(false) => return Next::Event,
                    Err(_) => return Next::Close,
                }
            }
            if self.answer.is_some() {
                if self.poll_answer(context) == Progress::More {
                    return self.after_piece();
                }
                continue;
            }
            if !self.line.is_over() && begun == COMMANDS_PER_TURN {
                return Next::Turn;
            }
            if let Some(command) = self.line.next_command() {
                begun += 1;
                self.begin(&command, context);
                continue;
            }
            if self.take_line() {
                continue;
            }
            if self.input_ended || (self.any_line && !self.prompt && self.payload.is_none()) {
                return Next::Close;
            }
            match self.read() {
                Ok(true) => {}
                Ok(false) => return Next::Event,
                Err(_) => return Next::Close,
            }
        }
    }

    /// Sends the piece that is full; the next one follows in the next turn, or when the socket takes more.
    fn after_piece(&mut self) -> Next {
        match self.flush() {
            Ok(true) => Next::Turn,
            Ok(false) => Next::Event,
            Err(_) => Next::Close,
        }
    }

    /// Sends what is to be sent; says whether all of it went.
    fn flush(&mut self) -> io::Result<bool> {
        while self.sent < self.output.len() {
            if !self.connection.may_write() {
                return Ok(false);
            }
            self.sent += self
                .connection
                .write(&[IoSlice::new(&self.output[self.sent..])], false)?;
        }
        self.output.clear();
        self.sent = 0;
        Ok(true)
    }

    /// Reads once; says whether anything came, be it the end.
    fn read(&mut self) -> io::Result<bool> {
        if !self.connection.may_read() {
            return Ok(false);
        }
        self.input.compact();
        if self.input.room() == 0 {
            // A line that is longer than the buffer.
            return Err(io::ErrorKind::InvalidData.into());
        }
        match self.connection.read(&mut self.input)? {
            ReadResult::Bytes(_) => Ok(true),
            ReadResult::WouldBlock => Ok(false),
            ReadResult::End => {
                self.input_ended = true;
                Ok(true)
            }
        }
    }

    /// Whether it holds copies of listening sockets.
    pub fn is_passing_sockets(&self) -> bool {
        self.passing.is_some()
    }

    /// What it asked for with [`Next::Sockets`].
    pub fn pass_sockets(&mut self, offered: Vec<Offered>) {
        self.passing = Some(Passing::Going(Transfer::new(offered)));
    }

    /// Goes on passing sockets; says whether there was progress. An error: it is over, in one way or the other.
    fn pass(&mut self, passing: Passing) -> io::Result<bool> {
        let mut transfer = match passing {
            Passing::Asked => {
                self.passing = Some(Passing::Asked);
                return Ok(false);
            }
            Passing::Waiting(transfer) if self.input.filled().len() < takeover::RECEIPT_BYTES => {
                self.passing = Some(Passing::Waiting(transfer));
                let more = self.read()?;
                return match self.input_ended {
                    true => Err(io::ErrorKind::UnexpectedEof.into()),
                    false => Ok(more),
                };
            }
            Passing::Waiting(transfer) => {
                self.input.consume(takeover::RECEIPT_BYTES);
                transfer
            }
            Passing::Going(transfer) => transfer,
        };
        match transfer.send(self.connection.as_fd()) {
            Ok(true) => self.passing = Some(Passing::Waiting(transfer)),
            Ok(false) => self.quit = true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // An event says when there is room again.
                self.passing = Some(Passing::Going(transfer));
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// Takes a complete line from the input, if there is one: a line of commands, or one of a payload.
    fn take_line(&mut self) -> bool {
        let filled = self.input.filled();
        let Some(end) = filled.iter().position(|&byte| byte == b'\n') else {
            return false;
        };
        let line = filled[..end].to_vec();
        self.input.consume(end + 1);
        match self.payload.take() {
            Some(mut payload) => {
                let shown = line.strip_suffix(b"\r").unwrap_or(&line);
                if shown == payload.end {
                    payload.line.set_payload(payload.bytes);
                    self.line = payload.line;
                } else if payload.bytes.len() + line.len() < PIECE_BYTES {
                    payload.bytes.extend_from_slice(&line);
                    payload.bytes.push(b'\n');
                    self.payload = Some(payload);
                    self.prompt_for_payload();
                } else {
                    // As long as a line may be at most.
                    self.quit = true;
                }
            }
            None => {
                self.any_line = true;
                let line = Line::new(&line);
                match &line.payload_end {
                    Some(end) => {
                        self.payload = Some(Payload {
                            end: end.clone(),
                            bytes: Vec::new(),
                            line,
                        });
                        self.prompt_for_payload();
                    }
                    None => self.line = line,
                }
            }
        }
        true
    }

    fn prompt_for_payload(&mut self) {
        if self.prompt {
            self.output.extend_from_slice(b"+ ");
        }
    }

    /// Runs a command, or begins its answer.
    fn begin(&mut self, command: &Command, context: &mut Context<'_>) {
        // No command for people: it is in no list, and where it is not allowed the connection just ends, as in HAProxy.
        if command.word(0) == takeover::COMMAND.as_bytes() {
            self.passing = self.exposes.then_some(Passing::Asked);
            self.quit = !self.exposes;
            return;
        }
        let Some(spec) = commands::find(COMMANDS, command) else {
            return self.say(Reply::Message(
                Severity::Error,
                commands::unknown_command(COMMANDS, command),
            ));
        };
        let call = Invocation {
            command,
            level: self.level,
            modes: self.modes,
        };
        match spec.answer(&call, context) {
            Some(reply) => self.say(reply),
            None => self.run_own(spec.words, command),
        }
    }

    /// Commands that concern the session itself.
    fn run_own(&mut self, words: &[&str], command: &Command) {
        let reply = match words {
            ["quit"] => {
                self.quit = true;
                return;
            }
            ["prompt"] => {
                self.prompt = !self.prompt;
                Reply::Silent
            }
            ["help"] => Reply::Message(Severity::Info, commands::help(COMMANDS, command)),
            ["user"] => self.lower_level(AccessLevel::User),
            ["operator"] => self.lower_level(AccessLevel::Operator),
            ["expert-mode"] | ["experimental-mode"] if self.level < AccessLevel::Admin => {
                Reply::permission_denied()
            }
            ["expert-mode"] => switch(&mut self.modes.expert, command),
            ["experimental-mode"] => switch(&mut self.modes.experimental, command),
            ["show", "cli", "level"] => Reply::info(self.level.name()),
            ["set", "timeout"] => self.set_timeout(command),
            ["set", "severity-output"] => self.set_severity_output(command),
            _ => Reply::Message(
                Severity::Error,
                commands::unknown_command(COMMANDS, command),
            ),
        };
        self.say(reply);
    }

    fn lower_level(&mut self, level: AccessLevel) -> Reply {
        if self.level < level {
            return Reply::permission_denied();
        }
        self.level = level;
        Reply::Silent
    }

    fn set_timeout(&mut self, command: &Command) -> Reply {
        if command.word(2) != b"cli" {
            return Reply::error("'set timeout' only supports 'cli'.");
        }
        if command.word(3).is_empty() {
            return Reply::error("Expects an integer value.");
        }
        match parse_delay_ms(command.text(3)) {
            Some(timeout_ms) => {
                self.timeout_ms = timeout_ms;
                Reply::Silent
            }
            None => Reply::error("Invalid timeout value."),
        }
    }

    fn set_severity_output(&mut self, command: &Command) -> Reply {
        self.severity_output = match command.word(2) {
            b"none" => SeverityOutput::None,
            b"number" => SeverityOutput::Number,
            b"string" => SeverityOutput::Text,
            _ => return Reply::error("one of 'none', 'number', 'string' is a required argument"),
        };
        Reply::Silent
    }

    /// Says a reply, or begins to.
    fn say(&mut self, reply: Reply) {
        match reply {
            Reply::Silent => self.end_answer(),
            Reply::Message(severity, text) => {
                match self.severity_output {
                    SeverityOutput::None => {}
                    SeverityOutput::Number => self
                        .output
                        .extend_from_slice(format!("[{}]: ", severity as u8).as_bytes()),
                    SeverityOutput::Text => {
                        self.output
                            .extend_from_slice(format!("[{}]: ", severity.name()).as_bytes());
                    }
                }
                self.output.extend_from_slice(text.as_bytes());
                self.end_answer();
            }
            Reply::Dump(answer) => self.answer = Some(answer),
        }
    }

    fn poll_answer(&mut self, context: &mut Context<'_>) -> Progress {
        let Some(answer) = &mut self.answer else {
            return Progress::Done;
        };
        let progress = answer.poll(
            context,
            &mut Output::new(&mut self.output, PIECE_BYTES, PIECE_STEPS),
        );
        if progress == Progress::Done {
            self.answer = None;
            self.end_answer();
        }
        progress
    }

    /// An empty line ends each answer, and the prompt follows where there is one.
    fn end_answer(&mut self) {
        self.output
            .extend_from_slice(if self.prompt { b"\n> " } else { b"\n" });
    }
}

/// Longest delay that is accepted, as in HAProxy's timers: 2^31 - 1 ms.
const DELAY_MS_MAX: u64 = i32::MAX as u64;

/// A delay as the configuration writes it; without a unit, seconds.
fn parse_delay_ms(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().ok()?;
    let delay_ms = match &text[digits..] {
        "us" => number.div_ceil(1000),
        "ms" => number,
        "" | "s" => number.checked_mul(1000)?,
        "m" => number.checked_mul(60_000)?,
        "h" => number.checked_mul(3_600_000)?,
        "d" => number.checked_mul(86_400_000)?,
        _ => return None,
    };
    (1..=DELAY_MS_MAX).contains(&delay_ms).then_some(delay_ms)
}

/// `MODE [on|off]`, or how it stands.
fn switch(mode: &mut bool, command: &Command) -> Reply {
    match command.word(1) {
        b"" => {
            let state = if *mode { "ON" } else { "OFF" };
            return Reply::info(format_args!("{} is {state}", command.text(0)));
        }
        word => *mode = word == b"on",
    }
    Reply::Silent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays() {
        for (text, delay_ms) in [
            ("5", Some(5_000)),
            ("5s", Some(5_000)),
            ("250ms", Some(250)),
            ("1500us", Some(2)),
            ("2m", Some(120_000)),
            ("1d", Some(86_400_000)),
            ("0", None),
            ("", None),
            ("5x", None),
            ("foo", None),
            ("30d", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(parse_delay_ms(text), delay_ms, "{text:?}");
        }
    }
}
