//! One client of the master socket: its lines, the process that it talks to, the answer under way.
//!
//! As on the stats socket, the lines that have come by the time the first one is answered are answered and the connection is
//! closed, unless `prompt` was said; an incomplete last line is never run. `prompt`, `quit`, `user`, `operator` and the modes are the
//! session's own, whichever process it talks to.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use super::commands::{self, COMMANDS};
use super::{Host, Waiter};
use crate::config::model::AccessLevel;
use crate::process::report::VERSION;
use crate::runtime::commands::{find, help, unknown_command};
use crate::runtime::{Command, Line, Modes};
use crate::sys::socket::Interest;

/// Longest line, and longest payload.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// Size of a piece of an answer that is passed on.
const PIECE_BYTES: usize = 16 * 1024;

/// Steps (a read, a command, a piece) of one session in one turn.
const STEPS_PER_TURN: u32 = 32;

/// The process that a session talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Master,
    Worker(i32),
}

/// A line to a worker, with one command on it.
#[derive(Debug)]
struct Relay {
    socket: UnixStream,
    /// Of the command.
    unsent: Vec<u8>,
}

#[derive(Debug)]
enum Doing {
    /// The next line, or command.
    Reading,
    /// What a worker answers is passed on.
    Relaying(Relay),
    /// It waits for the end of a reload, which has begun or not.
    Reloading { begun: bool },
    /// What is left to be said, then the end.
    Closing,
}

/// A line that waits for the end of its payload.
#[derive(Debug)]
struct Payload {
    line: Vec<u8>,
    end: Vec<u8>,
    bytes: Vec<u8>,
}

/// What a step led to.
#[derive(PartialEq, Eq)]
enum Step {
    Progress,
    Wait,
    Over,
}

/// A client.
#[derive(Debug)]
pub(super) struct Session {
    socket: UnixStream,
    input: Vec<u8>,
    input_ended: bool,
    output: Vec<u8>,
    /// Commands of the current line, payloads included.
    queue: VecDeque<Vec<u8>>,
    payload: Option<Payload>,
    doing: Doing,
    target: Target,
    level: AccessLevel,
    prompt: bool,
    any_line: bool,
    /// For the commands of workers.
    modes: Modes,
    /// `mcli-debug-mode`: shown, and no more than that.
    is_debug: bool,
    /// The last reload has: the prompt says so.
    reload_failed: bool,
    /// The last turn was cut short.
    has_more: bool,
    /// When something moved last.
    active_ms: u64,
}

impl Session {
    /// On a connection that was just accepted; non-blocking.
    pub(super) fn new(socket: UnixStream, level: AccessLevel, now_ms: u64) -> Session {
        Session {
            socket,
            input: Vec::new(),
            input_ended: false,
            output: Vec::new(),
            queue: VecDeque::new(),
            payload: None,
            doing: Doing::Reading,
            target: Target::Master,
            level,
            prompt: false,
            any_line: false,
            modes: Modes::default(),
            is_debug: false,
            reload_failed: false,
            has_more: false,
            active_ms: now_ms,
        }
    }

    /// The client of a former image of the master, which asked that for a reload.
    pub(super) fn resumed(waiter: Waiter<OwnedFd>, now_ms: u64) -> io::Result<Session> {
        let socket = UnixStream::from(waiter.socket);
        socket.set_nonblocking(true)?;
        let mut session = Session::new(socket, AccessLevel::User, now_ms);
        session.doing = Doing::Reloading {
            begun: waiter.begun,
        };
        Ok(session)
    }

    pub(super) fn active_ms(&self) -> u64 {
        match self.doing {
            // Not the first one to give way.
            Doing::Reloading { .. } => u64::MAX,
            _ => self.active_ms,
        }
    }

    pub(super) fn has_more(&self) -> bool {
        self.has_more
    }

    pub(super) fn asks_for_reload(&self) -> bool {
        matches!(self.doing, Doing::Reloading { begun: false })
    }

    pub(super) fn reload_begins(&mut self) {
        if let Doing::Reloading { begun } = &mut self.doing {
            *begun = true;
        }
    }

    /// The last thing that this client hears.
    pub(super) fn reload_ended(&mut self, success: bool, log: &str) {
        if !matches!(self.doing, Doing::Reloading { begun: true }) {
            return;
        }
        let head = format!("Success={}\n--\n", u8::from(success));
        self.output.extend_from_slice(head.as_bytes());
        self.output.extend_from_slice(log.as_bytes());
        self.output.push(b'\n');
        self.doing = Doing::Closing;
        self.has_more = true;
    }

    pub(super) fn waiter(&self) -> Option<Waiter<BorrowedFd<'_>>> {
        let Doing::Reloading { begun } = self.doing else {
            return None;
        };
        Some(Waiter {
            socket: self.socket.as_fd(),
            begun,
        })
    }

    /// What it waits for: its own socket, and the worker's.
    pub(super) fn interests(&self) -> impl Iterator<Item = Interest<'_>> {
        let is_sending = !self.output.is_empty();
        let (reads, relay) = match &self.doing {
            // A client that waits may go away; what it says is read later.
            Doing::Reading | Doing::Reloading { .. } => {
                (!self.input_ended && self.has_room(), None)
            }
            Doing::Relaying(relay) => (false, Some(relay)),
            Doing::Closing => (false, None),
        };
        let own = Interest {
            fd: self.socket.as_fd(),
            read: reads && !is_sending,
            write: is_sending,
        };
        // An interest in nothing still hears of a hangup, which ends the session or is none of its business now.
        let own = (own.read || own.write).then_some(own);
        let relay = relay.filter(|_| !is_sending).map(|relay| Interest {
            fd: relay.socket.as_fd(),
            read: true,
            write: !relay.unsent.is_empty(),
        });
        own.into_iter().chain(relay)
    }

    fn has_room(&self) -> bool {
        self.input.len() < LINE_BYTES_MAX
    }

    /// Makes what progress is possible; false: the session is over.
    pub(super) fn drive(&mut self, host: &mut dyn Host, sockets: &[(String, AccessLevel)]) -> bool {
        self.has_more = false;
        self.reload_failed = host.last_reload_failed();
        for _ in 0..STEPS_PER_TURN {
            match self.step(host, sockets) {
                Ok(Step::Progress) => self.active_ms = host.now_ms(),
                Ok(Step::Wait) => return true,
                Ok(Step::Over) | Err(_) => return false,
            }
        }
        self.has_more = true;
        true
    }

    fn step(&mut self, host: &mut dyn Host, sockets: &[(String, AccessLevel)]) -> io::Result<Step> {
        if !self.output.is_empty() {
            return self.flush();
        }
        match &self.doing {
            Doing::Closing => Ok(Step::Over),
            Doing::Relaying(_) => self.relay(),
            Doing::Reloading { .. } => match self.read()? {
                // It has gone, or has only ended its writing side: the answer finds out.
                Step::Progress if !self.input_ended => Ok(Step::Progress),
                _ => Ok(Step::Wait),
            },
            Doing::Reading => {
                if let Some(command) = self.queue.pop_front() {
                    self.run(&command, host, sockets);
                    return Ok(Step::Progress);
                }
                if self.take_line() {
                    return Ok(Step::Progress);
                }
                let is_answered = self.any_line && !self.prompt && self.payload.is_none();
                if self.input_ended || is_answered {
                    return Ok(Step::Over);
                }
                self.read()
            }
        }
    }

    fn flush(&mut self) -> io::Result<Step> {
        match self.socket.write(&self.output) {
            Ok(count) => {
                self.output.drain(..count);
                Ok(Step::Progress)
            }
            Err(error) if is_temporary(&error) => Ok(Step::Wait),
            Err(error) => Err(error),
        }
    }

    fn read(&mut self) -> io::Result<Step> {
        if self.input_ended {
            return Ok(Step::Wait);
        }
        if !self.has_room() {
            return match self.doing {
                Doing::Reloading { .. } => Ok(Step::Wait),
                // A line that is too long.
                _ => Err(ErrorKind::InvalidData.into()),
            };
        }
        let mut bytes = [0; 4096];
        let room = bytes.len().min(LINE_BYTES_MAX - self.input.len());
        match self.socket.read(&mut bytes[..room]) {
            Ok(0) => self.input_ended = true,
            Ok(count) => self.input.extend_from_slice(&bytes[..count]),
            Err(error) if is_temporary(&error) => return Ok(Step::Wait),
            Err(error) => return Err(error),
        }
        Ok(Step::Progress)
    }

    /// Passes the command and the answer on.
    fn relay(&mut self) -> io::Result<Step> {
        let Doing::Relaying(relay) = &mut self.doing else {
            return Ok(Step::Wait);
        };
        if !relay.unsent.is_empty() {
            match relay.socket.write(&relay.unsent) {
                Ok(count) => {
                    relay.unsent.drain(..count);
                    if relay.unsent.is_empty() {
                        // The worker ends its session with the answer.
                        let _ = relay.socket.shutdown(Shutdown::Write);
                    }
                    return Ok(Step::Progress);
                }
                Err(error) if is_temporary(&error) => {}
                // It does not want to hear more; it may have said why.
                Err(_) => relay.unsent.clear(),
            }
        }
        let mut bytes = [0; PIECE_BYTES];
        match relay.socket.read(&mut bytes) {
            Err(error) if is_temporary(&error) => return Ok(Step::Wait),
            Ok(count @ 1..) => self.output.extend_from_slice(&bytes[..count]),
            // It has said everything, or is gone.
            Ok(0) | Err(_) => {
                self.doing = Doing::Reading;
                self.say_prompt();
            }
        }
        Ok(Step::Progress)
    }

    /// Takes a complete line from the input, if there is one: a line of commands, or one of a payload.
    fn take_line(&mut self) -> bool {
        let Some(end) = self.input.iter().position(|&byte| byte == b'\n') else {
            return false;
        };
        let mut line: Vec<u8> = self.input.drain(..=end).collect();
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        match self.payload.take() {
            Some(mut payload) => {
                payload.bytes.push(b'\n');
                payload.bytes.extend_from_slice(&line);
                if line == payload.end {
                    self.queue_line(&payload.line, &payload.bytes);
                } else if payload.bytes.len() < LINE_BYTES_MAX {
                    self.payload = Some(payload);
                    self.say_continuation();
                } else {
                    self.doing = Doing::Closing;
                }
            }
            None => {
                self.any_line = true;
                match Line::new(&line).payload_end {
                    Some(end) => {
                        self.payload = Some(Payload {
                            line,
                            end,
                            bytes: Vec::new(),
                        });
                        self.say_continuation();
                    }
                    None => self.queue_line(&line, b""),
                }
            }
        }
        true
    }

    /// Parts a line at each `;` that no backslash protects; the payload is the last command's.
    fn queue_line(&mut self, line: &[u8], payload: &[u8]) {
        let mut command = Vec::new();
        let mut bytes = line.iter();
        while let Some(&byte) = bytes.next() {
            match byte {
                b';' => self.queue.push_back(std::mem::take(&mut command)),
                b'\\' => {
                    command.push(byte);
                    command.extend(bytes.next());
                }
                _ => command.push(byte),
            }
        }
        command.extend_from_slice(payload);
        self.queue.push_back(command);
    }

    /// Runs one command, or begins to.
    fn run(&mut self, command: &[u8], host: &mut dyn Host, sockets: &[(String, AccessLevel)]) {
        let command = command.trim_ascii_start();
        let Some(prefixed) = command.strip_prefix(b"@") else {
            if !self.run_own(command) {
                self.run_on(self.target, command, host, sockets);
            }
            return;
        };
        let end = prefixed.iter().position(u8::is_ascii_whitespace);
        let (name, rest) = prefixed.split_at(end.unwrap_or(prefixed.len()));
        let name = String::from_utf8_lossy(name);
        let target = match &*name {
            "" | "0" | "master" => Some(Target::Master),
            name => host.processes().find(name).map(Target::Worker),
        };
        let rest = rest.trim_ascii_start();
        match target {
            None => {
                let text = format!("Can't find the target PID matching the prefix '@{name}'\n");
                self.output.extend_from_slice(text.as_bytes());
                self.doing = Doing::Closing;
            }
            Some(target) if rest.is_empty() => {
                self.target = target;
                self.say_prompt();
            }
            Some(target) => self.run_on(target, rest, host, sockets),
        }
    }

    /// Commands that concern the session itself; whether this was one.
    fn run_own(&mut self, text: &[u8]) -> bool {
        let command = parse(text);
        match command.word(0) {
            b"quit" => self.doing = Doing::Closing,
            b"prompt" => self.prompt = !self.prompt,
            b"user" => self.level = AccessLevel::User,
            b"operator" if self.level < AccessLevel::Operator => return self.refuse(),
            b"operator" => self.level = AccessLevel::Operator,
            b"expert-mode" | b"experimental-mode" | b"mcli-debug-mode"
                if self.level < AccessLevel::Admin =>
            {
                return self.refuse();
            }
            // Anything but `on` switches off, silently.
            b"expert-mode" => self.modes.expert = command.word(1) == b"on",
            b"experimental-mode" => self.modes.experimental = command.word(1) == b"on",
            b"mcli-debug-mode" => self.is_debug = command.word(1) == b"on",
            _ => return false,
        }
        self.say_prompt();
        true
    }

    /// What a worker is told; a session that has lowered its level has lost them.
    fn worker_modes(&self) -> Modes {
        match self.level {
            AccessLevel::Admin => self.modes,
            _ => Modes::default(),
        }
    }

    /// What is above the session's level ends it.
    fn refuse(&mut self) -> bool {
        self.output.extend_from_slice(b"Permission denied!\n");
        self.doing = Doing::Closing;
        true
    }

    fn run_on(
        &mut self,
        target: Target,
        text: &[u8],
        host: &mut dyn Host,
        sockets: &[(String, AccessLevel)],
    ) {
        match target {
            Target::Master => self.run_here(&parse(text), host, sockets),
            Target::Worker(pid) => match host.connect(pid, self.level, self.worker_modes()) {
                Ok(socket) => {
                    let unsent = [text, b"\n"].concat();
                    self.doing = Doing::Relaying(Relay { socket, unsent });
                }
                Err(_) => {
                    let text = format!("Can't connect to the target CLI of process {pid}\n");
                    self.output.extend_from_slice(text.as_bytes());
                    self.doing = Doing::Closing;
                }
            },
        }
    }

    /// A command of the master.
    fn run_here(
        &mut self,
        command: &Command,
        host: &mut dyn Host,
        sockets: &[(String, AccessLevel)],
    ) {
        let words = find(COMMANDS, command).map_or(&[][..], |spec| spec.words);
        let text = match words {
            ["reload"] if self.level >= AccessLevel::Operator => {
                // Whatever follows is ignored.
                self.queue.clear();
                self.doing = Doing::Reloading { begun: false };
                return;
            }
            ["reload"] => "Permission denied\n".to_string(),
            ["show", "proc"] => host.processes().show(),
            ["show", "version"] => format!("{VERSION}\n"),
            ["show", "startup-logs"] => match host.startup_log() {
                log if log.is_empty() => "\n".to_string(),
                log => log,
            },
            ["show", "cli", "level"] => format!("{}\n", self.level.name()),
            ["show", "cli", "sockets"] => commands::show_sockets(sockets),
            ["help"] => help(COMMANDS, command),
            _ => unknown_command(COMMANDS, command),
        };
        self.output.extend_from_slice(text.as_bytes());
        self.output.push(b'\n');
        self.say_prompt();
    }

    fn say_continuation(&mut self) {
        if self.prompt {
            self.output.extend_from_slice(b"+ ");
        }
    }

    fn say_prompt(&mut self) {
        if !self.prompt {
            return;
        }
        let mut prompt = match self.target {
            Target::Master if self.reload_failed => "master[ReloadFailed]".to_string(),
            Target::Master => "master".to_string(),
            Target::Worker(pid) => pid.to_string(),
        };
        let marks = [
            (self.modes.experimental, 'x'),
            (self.modes.expert, 'e'),
            (self.is_debug, 'd'),
        ];
        if marks.iter().any(|(is_on, _)| *is_on) {
            let marks = marks.iter().filter(|(is_on, _)| *is_on);
            prompt.push('(');
            prompt.extend(marks.map(|(_, mark)| *mark));
            prompt.push(')');
        }
        prompt.push_str("> ");
        self.output.extend_from_slice(prompt.as_bytes());
    }
}

fn parse(text: &[u8]) -> Command {
    Line::new(text).next_command().unwrap_or_default()
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
