//! One client connection and the request on it.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use burdock_perf::http::{NotOffered, response_head};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The connection was refused or could not be made.
    Connect,
    /// The connection was reset.
    Reset,
    /// The connection ended before the answer did.
    EarlyEnd,
    /// What came is no HTTP answer.
    BadAnswer,
    /// No answer in time.
    Timeout,
}

/// All failures, in the order of [`Failure`]'s variants.
pub const FAILURES: [(Failure, &str); 5] = [
    (Failure::Connect, "connect"),
    (Failure::Reset, "reset"),
    (Failure::EarlyEnd, "early_end"),
    (Failure::BadAnswer, "bad_answer"),
    (Failure::Timeout, "timeout"),
];

/// What a connection has come to.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// The request is on its way.
    Pending,
    /// Nothing is asked and nothing came.
    Idle,
    /// The answer is complete.
    Answered {
        /// Its status.
        status: u16,
        /// The hash of its `X-Server`.
        server_hash: u64,
    },
    /// The request is lost.
    Failed(Failure),
}

/// The request that is on a connection.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// When it was due, nanoseconds.
    pub due_ns: u64,
    /// Which key it carries.
    pub key: usize,
}

/// A connection to one target; closed at first.
pub struct Connection {
    target: SocketAddr,
    token: Token,
    socket: Option<TcpStream>,
    request: Vec<u8>,
    sent: usize,
    received: Vec<u8>,
    /// The answer's head once it is in: status, server; and bytes of body to come, `None` until the connection ends.
    answer: Option<(u16, u64)>,
    body_left: Option<usize>,
    answer_closes: bool,
    /// The request in flight.
    pub asked: Option<Asked>,
}

impl Connection {
    /// A connection that is not made yet.
    pub fn new(target: SocketAddr, token: Token) -> Connection {
        Connection {
            target,
            token,
            socket: None,
            request: Vec::with_capacity(256),
            sent: 0,
            received: Vec::new(),
            answer: None,
            body_left: None,
            answer_closes: false,
            asked: None,
        }
    }

    /// Starts a request; connects first where needed. `write_request` fills the empty buffer.
    pub fn ask(
        &mut self,
        registry: &Registry,
        asked: Asked,
        scratch: &mut [u8],
        write_request: impl FnOnce(&mut Vec<u8>),
    ) -> Progress {
        self.asked = Some(asked);
        self.request.clear();
        write_request(&mut self.request);
        self.sent = 0;
        self.received.clear();
        self.answer = None;
        if self.socket.is_none() && self.connect(registry).is_err() {
            return self.fail(Failure::Connect);
        }
        self.advance(scratch)
    }

    fn connect(&mut self, registry: &Registry) -> std::io::Result<()> {
        let mut socket = TcpStream::connect(self.target)?;
        socket.set_nodelay(true)?;
        registry.register(
            &mut socket,
            self.token,
            Interest::READABLE | Interest::WRITABLE,
        )?;
        self.socket = Some(socket);
        Ok(())
    }

    /// All progress that is possible: send what is unsent, receive what is there.
    pub fn advance(&mut self, scratch: &mut [u8]) -> Progress {
        let Some(socket) = &mut self.socket else {
            return Progress::Idle;
        };
        if self.asked.is_some() {
            while self.sent < self.request.len() {
                match socket.write(&self.request[self.sent..]) {
                    Ok(count) => self.sent += count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        return Progress::Pending;
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return self.fail(failure_of(&error)),
                }
            }
        }
        self.receive(scratch)
    }

    fn receive(&mut self, scratch: &mut [u8]) -> Progress {
        loop {
            let Some(socket) = &mut self.socket else {
                return Progress::Idle;
            };
            let count = match socket.read(scratch) {
                Ok(0) => return self.ended(),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return if self.asked.is_some() {
                        Progress::Pending
                    } else {
                        Progress::Idle
                    };
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return self.fail(failure_of(&error)),
            };
            if self.asked.is_none() {
                return self.fail(Failure::BadAnswer); // bytes that nobody asked for
            }
            let progress = self.take(&scratch[..count]);
            if progress != Progress::Pending || count < scratch.len() {
                return progress;
            }
        }
    }

    /// Takes received bytes into the answer.
    fn take(&mut self, bytes: &[u8]) -> Progress {
        let mut body_bytes = bytes.len();
        if self.answer.is_none() {
            self.received.extend_from_slice(bytes);
            match response_head(&self.received) {
                Ok(Some(head)) => {
                    body_bytes = self.received.len() - head.head_bytes;
                    self.answer = Some((head.status, head.server_hash));
                    self.body_left = head.body_bytes;
                    self.answer_closes = head.close;
                }
                Ok(None) => return Progress::Pending,
                Err(NotOffered) => return self.fail(Failure::BadAnswer),
            }
        }
        let Some(left) = &mut self.body_left else {
            return Progress::Pending; // until the connection ends
        };
        if body_bytes > *left {
            return self.fail(Failure::BadAnswer);
        }
        *left -= body_bytes;
        if *left > 0 {
            return Progress::Pending;
        }
        self.complete()
    }

    fn complete(&mut self) -> Progress {
        let (status, server_hash) = self.answer.take().unwrap_or_default();
        if self.answer_closes {
            self.socket = None;
        }
        Progress::Answered {
            status,
            server_hash,
        }
    }

    /// The other side ended the connection.
    fn ended(&mut self) -> Progress {
        let until_end = self.answer.is_some() && self.body_left.is_none();
        self.socket = None;
        if self.asked.is_none() {
            Progress::Idle
        } else if until_end {
            self.complete()
        } else {
            self.fail(Failure::EarlyEnd)
        }
    }

    /// Gives the request up.
    pub fn fail(&mut self, failure: Failure) -> Progress {
        self.socket = None;
        Progress::Failed(failure)
    }

    /// Ends the connection; the next request makes a new one.
    pub fn close(&mut self) {
        self.socket = None;
    }
}

fn failure_of(error: &std::io::Error) -> Failure {
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::AddrNotAvailable | ErrorKind::TimedOut => {
            Failure::Connect
        }
        _ => Failure::Reset,
    }
}
