//! The line between two generations of the worker: what a reload passes from the old one to the new one.
//!
//! ```text
//! old worker                                   new worker (built, does not accept yet)
//!     ◀─────────── Watch + memory, for each table that has changed: mark there what you change
//!     ├── Watching ──────────────▶   it copies, and follows what is marked, until that is little
//!     ◀──────────────────────────── Take ──────────┘
//!  stops accepting, stops writing to its tables
//!     ├── Server × n, Line × n ──▶   what it knows of servers; lines of still older workers that drain
//!     ├── Handed ────────────────▶   the tables are the new worker's: it attaches to them and accepts
//!     ├── Client + socket ───────▶   a client connection between two requests        (until the old one
//!     ├── Store, Count ──────────▶   what a late response taught: a key bound to a server, something counted
//!     ◀──────────────────────────── Heard: so many of those are in the tables                has nothing left)
//! ```
//!
//! What was learnt late is kept by the old worker until it was heard. If the new worker dies, the master gives each old worker a line to
//! the one that takes its place (the last three rows only), where it is sent again: twice at worst, never not at all. Binding a key
//! twice changes nothing; something counted may count twice if a worker dies between counting and saying so.
//!
//! One message is one datagram of a SOCK_SEQPACKET pair: a tag byte and fields. Integers are little-endian, strings have a
//! length of 4 bytes before them. The first message each way begins with the version, so that two versions of burdock notice
//! that they do not understand each other before anything has changed hands.
//! A message that cannot be decoded ends the line; nothing in it can panic.
//! Not here: what the workers do with the messages (worker, stream::handover).

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, SystemTime};

use crate::backend::sticky::LateStore;
use crate::backend::{CheckReport, CheckStatus, MovedAddress, ServerMemory};
use crate::config::model::ServerPort;
use crate::net::proxy_protocol;
use crate::sample::VarMemory;
use crate::stick::tracked::{CounterName, LateCount};
use crate::stream::MovedClient;
use crate::sys::{passing, socket};

/// Version of the messages.
const VERSION: u8 = 3;

/// Longest message. What a client has sent of its next request is the only thing in them that can be long.
const MESSAGE_BYTES_MAX: usize = 160 * 1024;

/// How long a message that must not be lost may wait for room.
const SEND_MS_MAX: i32 = 1_000;

/// What is said on the line.
#[derive(Debug)]
pub enum Message {
    /// With a descriptor: where changes of the table with this name are to be marked from now on.
    Watch(String),
    /// They are.
    Watching,
    /// The new worker is built.
    Take,
    /// What is known of a server.
    Server(ServerMemory),
    /// With a descriptor: the line of a worker that has been draining since an earlier reload.
    Line,
    /// The tables are yours.
    Handed,
    /// With a descriptor: a client connection.
    Client(Box<MovedClient>),
    /// A key that was bound late.
    Store(LateStore),
    /// Something that is counted late.
    Count(LateCount),
    /// From the new worker: so many more of what was learnt late are in the tables.
    Heard(u64),
}

const TAKE: u8 = 1;
const SERVER: u8 = 2;
const LINE: u8 = 3;
const HANDED: u8 = 4;
const CLIENT: u8 = 5;
const STORE: u8 = 6;
const COUNT: u8 = 7;
const WATCH: u8 = 8;
const WATCHING: u8 = 9;
const HEARD: u8 = 10;

/// One end of the line.
#[derive(Debug)]
pub struct Line {
    socket: OwnedFd,
}

impl Line {
    /// Over one end of a `passing::message_pair`.
    pub fn new(socket: OwnedFd) -> Line {
        Line { socket }
    }

    /// Sends a message, with a descriptor if it has one.
    ///
    /// # Errors
    /// `WouldBlock`: there is no room now. Others: the other end is gone, or the message is too long.
    pub fn send(&self, message: &Message, passed: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let bytes = encode(message);
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(ErrorKind::InvalidInput.into());
        }
        match passing::send(self.socket.as_fd(), &bytes, passed) {
            Ok(_) => Ok(()),
            // Too many descriptors are on their way: as good as no room.
            Err(error) if error.raw_os_error() == Some(libc::ETOOMANYREFS) => {
                Err(ErrorKind::WouldBlock.into())
            }
            Err(error) => Err(error),
        }
    }

    /// As `send`, but waits for room for a while.
    pub fn send_waiting(
        &self,
        message: &Message,
        passed: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        match self.send(message, passed) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                socket::wait_writable(self.socket.as_fd(), SEND_MS_MAX)?;
                self.send(message, passed)
            }
            result => result,
        }
    }

    /// The next message; `None`: none is there now.
    ///
    /// # Errors
    /// `UnexpectedEof`: the other end is closed. Others: what came is no message.
    pub fn receive(&self, buffer: &mut Vec<u8>) -> io::Result<Option<(Message, Option<OwnedFd>)>> {
        buffer.resize(MESSAGE_BYTES_MAX, 0);
        let (count, passed) = match passing::receive(self.socket.as_fd(), buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            result => result?,
        };
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let message = decode(&buffer[..count]).ok_or(ErrorKind::InvalidData)?;
        Ok(Some((message, passed)))
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Line {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

fn encode(message: &Message) -> Vec<u8> {
    let mut out = Writer(Vec::with_capacity(256));
    match message {
        Message::Watch(table) => out.byte(WATCH).text(table.as_bytes()),
        Message::Watching => out.byte(WATCHING),
        Message::Take => out.byte(TAKE).byte(VERSION),
        Message::Server(memory) => out.byte(SERVER).server(memory),
        Message::Line => out.byte(LINE),
        Message::Handed => out.byte(HANDED).byte(VERSION),
        Message::Client(client) => out.byte(CLIENT).client(client),
        Message::Store(late) => out
            .byte(STORE)
            .text(late.table.as_bytes())
            .text(&late.key)
            .number(late.server_id as u32 as u64)
            .text(late.server_key.as_bytes()),
        Message::Count(late) => out
            .byte(COUNT)
            .counter(&late.counter)
            .number(u64::from(late.errors))
            .number(u64::from(late.failures))
            .number(late.bytes.0)
            .number(late.bytes.1),
        Message::Heard(count) => out.byte(HEARD).number(*count),
    };
    out.0
}

fn decode(bytes: &[u8]) -> Option<Message> {
    let mut input = Reader(bytes);
    let message = match input.byte()? {
        WATCH => Message::Watch(input.string()?),
        WATCHING => Message::Watching,
        TAKE => (input.byte()? == VERSION).then_some(Message::Take)?,
        SERVER => Message::Server(input.server()?),
        LINE => Message::Line,
        HANDED => (input.byte()? == VERSION).then_some(Message::Handed)?,
        CLIENT => Message::Client(Box::new(input.client()?)),
        STORE => Message::Store(LateStore {
            table: input.string()?,
            key: input.text()?.to_vec(),
            server_id: input.number()? as u32 as i32,
            server_key: input.string()?,
        }),
        COUNT => Message::Count(LateCount {
            counter: input.counter()?,
            errors: input.number()? as u32,
            failures: input.number()? as u32,
            bytes: (input.number()?, input.number()?),
        }),
        HEARD => Message::Heard(input.number()?),
        _ => return None,
    };
    input.0.is_empty().then_some(message)
}

struct Writer(Vec<u8>);

impl Writer {
    fn byte(&mut self, byte: u8) -> &mut Writer {
        self.0.push(byte);
        self
    }

    fn number(&mut self, number: u64) -> &mut Writer {
        self.0.extend(number.to_le_bytes());
        self
    }

    fn text(&mut self, text: &[u8]) -> &mut Writer {
        self.0.extend((text.len() as u32).to_le_bytes());
        self.0.extend(text);
        self
    }

    /// A number that may be missing.
    fn option(&mut self, number: Option<u64>) -> &mut Writer {
        self.byte(u8::from(number.is_some()))
            .number(number.unwrap_or(0))
    }

    fn server(&mut self, memory: &ServerMemory) -> &mut Writer {
        let check = &memory.check;
        self.text(memory.backend.as_bytes())
            .text(memory.server.as_bytes())
            .option(memory.admin.map(u64::from))
            .option(memory.weight.map(u64::from))
            .number(u64::from(memory.declared_weight))
            .address(memory.address.as_ref())
            .text(memory.declared_address.as_bytes())
            .byte(u8::from(memory.is_stopped))
            .byte(u8::from(memory.is_checked))
            .number(memory.last_change_ms)
            .byte(check.status.number())
            .option(check.code.map(u64::from))
            .option(check.duration_ms)
            .text(check.detail.as_bytes())
            .number(u64::from(check.health))
            .byte(u8::from(check.paused))
    }

    /// An address that may be missing: an empty text then. Its port may be an offset.
    fn address(&mut self, moved: Option<&MovedAddress>) -> &mut Writer {
        let text = moved.map(|moved| moved.address.to_string());
        let offset = moved.and_then(|moved| match moved.port {
            ServerPort::Fixed => None,
            ServerPort::FromClient(offset) => Some(offset as u32 as u64),
        });
        self.text(text.unwrap_or_default().as_bytes())
            .option(offset)
    }

    fn client(&mut self, client: &MovedClient) -> &mut Writer {
        let source = client.source.map(|source| source.to_string());
        let destination = client.destination.map(|address| address.to_string());
        let accepted = client.accepted.duration_since(SystemTime::UNIX_EPOCH);
        self.text(client.frontend.as_bytes())
            .text(client.bind.as_bytes())
            .text(source.unwrap_or_default().as_bytes())
            .text(destination.unwrap_or_default().as_bytes())
            .number(client.accepted_ms)
            .number(accepted.map_or(0, |since| since.as_micros() as u64))
            .number(client.client_active_ms)
            .number(client.waiting_since_ms)
            .number(u64::from(client.requests))
            .text(&client.received)
            .byte(client.counters.len() as u8);
        for counter in &client.counters {
            self.counter(counter);
        }
        self.number(client.vars.len() as u64);
        for var in &client.vars {
            self.text(var.name.as_bytes())
                .byte(var.kind)
                .text(&var.bytes);
        }
        for address in client.connection {
            let text = address.map(|address| address.to_string());
            self.text(text.unwrap_or_default().as_bytes());
        }
        self.byte(u8::from(client.header.is_some()));
        if let Some(header) = &client.header {
            self.detail(&header.authority).detail(&header.unique_id);
        }
        self
    }

    /// A part of a PROXY header that may be missing.
    fn detail(&mut self, detail: &Option<Box<[u8]>>) -> &mut Writer {
        self.byte(u8::from(detail.is_some()))
            .text(detail.as_deref().unwrap_or_default())
    }

    fn counter(&mut self, counter: &CounterName) -> &mut Writer {
        self.byte(counter.number)
            .text(counter.table.as_bytes())
            .text(&counter.key)
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn flag(&mut self) -> Option<bool> {
        Some(self.byte()? != 0)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let len = u32::from_le_bytes(self.take(4)?.try_into().ok()?);
        self.take(len as usize)
    }

    fn string(&mut self) -> Option<String> {
        String::from_utf8(self.text()?.to_vec()).ok()
    }

    /// A number that may be missing: `Some(None)` if it is.
    fn option(&mut self) -> Option<Option<u64>> {
        let is_there = self.flag()?;
        let number = self.number()?;
        Some(is_there.then_some(number))
    }

    fn server(&mut self) -> Option<ServerMemory> {
        Some(ServerMemory {
            backend: self.string()?,
            server: self.string()?,
            admin: self.option()?.map(|admin| admin as u8),
            weight: self.option()?.map(|weight| weight as u32),
            declared_weight: self.number()? as u32,
            address: self.address()?,
            declared_address: self.string()?,
            is_stopped: self.flag()?,
            is_checked: self.flag()?,
            last_change_ms: self.number()?,
            check: CheckReport {
                status: CheckStatus::from_number(self.byte()?)?,
                code: self.option()?.map(|code| code as u16),
                duration_ms: self.option()?,
                detail: self.string()?,
                health: self.number()? as u32,
                running: false,
                paused: self.flag()?,
            },
        })
    }

    /// An address that may be missing: `Some(None)` if it is.
    fn address(&mut self) -> Option<Option<MovedAddress>> {
        let text = self.string()?;
        let offset = self.option()?;
        if text.is_empty() {
            return Some(None);
        }
        let port = offset.map_or(ServerPort::Fixed, |offset| {
            ServerPort::FromClient(offset as u32 as i32)
        });
        let address = text.parse().ok()?;
        Some(Some(MovedAddress { address, port }))
    }

    fn client_address(&mut self) -> Option<Option<SocketAddr>> {
        let text = self.string()?;
        match text.is_empty() {
            true => Some(None),
            false => Some(Some(text.parse().ok()?)),
        }
    }

    fn client(&mut self) -> Option<MovedClient> {
        Some(MovedClient {
            frontend: self.string()?,
            bind: self.string()?,
            source: self.client_address()?,
            destination: self.client_address()?,
            accepted_ms: self.number()?,
            accepted: SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(self.number()?))?,
            client_active_ms: self.number()?,
            waiting_since_ms: self.number()?,
            requests: self.number()? as u32,
            received: self.text()?.to_vec(),
            counters: {
                let count = self.byte()?;
                (0..count)
                    .map(|_| self.counter())
                    .collect::<Option<Vec<_>>>()?
            },
            vars: {
                // Each takes some bytes: a number that is too large ends with the message.
                let count = self.number()?;
                (0..count).map(|_| self.var()).collect::<Option<Vec<_>>>()?
            },
            connection: [self.client_address()?, self.client_address()?],
            header: match self.byte()? {
                0 => None,
                _ => Some(proxy_protocol::Details {
                    authority: self.detail()?,
                    unique_id: self.detail()?,
                }),
            },
        })
    }

    fn var(&mut self) -> Option<VarMemory> {
        Some(VarMemory {
            name: self.string()?,
            kind: self.byte()?,
            bytes: self.text()?.to_vec(),
        })
    }

    fn detail(&mut self) -> Option<Option<Box<[u8]>>> {
        let is_there = self.byte()? != 0;
        let text = self.text()?;
        Some(is_there.then(|| text.into()))
    }

    fn counter(&mut self) -> Option<CounterName> {
        Some(CounterName {
            number: self.byte()?,
            table: self.string()?,
            key: self.text()?.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter() -> CounterName {
        CounterName {
            number: 2,
            table: "t".into(),
            key: vec![127, 0, 0, 1],
        }
    }

    fn messages() -> Vec<Message> {
        vec![
            Message::Watch("t".into()),
            Message::Watching,
            Message::Take,
            Message::Server(ServerMemory {
                backend: "b".into(),
                server: "s".into(),
                admin: Some(1),
                weight: None,
                declared_weight: 5,
                address: Some(MovedAddress {
                    address: "[::1]:0".parse().unwrap(),
                    port: ServerPort::FromClient(-80),
                }),
                declared_address: "127.0.0.1:80".into(),
                is_stopped: true,
                is_checked: true,
                last_change_ms: 7,
                check: CheckReport {
                    status: CheckStatus::Layer7WrongStatus,
                    code: Some(503),
                    duration_ms: Some(2),
                    detail: "no".into(),
                    health: 1,
                    running: false,
                    paused: true,
                },
            }),
            Message::Line,
            Message::Handed,
            Message::Client(Box::new(MovedClient {
                frontend: "f".into(),
                bind: "127.0.0.1:80".into(),
                source: Some("[::1]:5".parse().unwrap()),
                destination: Some("1.2.3.4:80".parse().unwrap()),
                accepted_ms: 1,
                accepted: SystemTime::UNIX_EPOCH + Duration::from_micros(5),
                client_active_ms: 2,
                waiting_since_ms: 3,
                requests: 4,
                received: b"GET / HT".to_vec(),
                counters: vec![counter()],
                vars: vec![VarMemory {
                    name: "sess.v".into(),
                    kind: 4,
                    bytes: b"x".to_vec(),
                }],
                connection: ["192.0.2.1:1".parse().ok(), None],
                header: Some(proxy_protocol::Details {
                    authority: Some(b"a.example"[..].into()),
                    unique_id: None,
                }),
            })),
            Message::Count(LateCount {
                counter: counter(),
                errors: 1,
                failures: 2,
                bytes: (3, 4),
            }),
            Message::Store(LateStore {
                table: "t".into(),
                key: vec![0, 1],
                server_id: -1,
                server_key: "s1".into(),
            }),
            Message::Heard(5),
        ]
    }

    #[test]
    fn what_is_sent_arrives() {
        let (one, two) = passing::message_pair().unwrap();
        let (one, two) = (Line::new(one), Line::new(two));
        let mut buffer = Vec::new();
        for message in messages() {
            one.send(&message, None).unwrap();
            let (arrived, passed) = two.receive(&mut buffer).unwrap().unwrap();
            assert_eq!(format!("{message:?}"), format!("{arrived:?}"));
            assert!(passed.is_none());
        }
        assert!(two.receive(&mut buffer).unwrap().is_none());
        drop(one);
        let error = two.receive(&mut buffer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_is_cut_or_too_long_is_refused() {
        for message in messages() {
            let mut bytes = encode(&message);
            for end in 0..bytes.len() {
                assert!(decode(&bytes[..end]).is_none(), "{message:?} cut at {end}");
            }
            bytes.push(0);
            assert!(decode(&bytes).is_none(), "{message:?} and a byte");
        }
        assert!(decode(&[TAKE, VERSION + 1]).is_none());
    }
}
