//! A server of fixed answers, to stand behind what is measured: one thread, one epoll, keep-alive unless told otherwise.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, UdpSocket};

use burdock_perf::args::Args;
use burdock_perf::http::{NotOffered, request_head};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const USAGE: &str = "backend --listen ADDRESS:PORT [--listen-close ADDRESS:PORT] [--bytes N] [--name NAME]
        [--syslog ADDRESS:PORT]

Answers every request with N bytes (200). Keeps connections as the client wishes; on --listen-close it ends each one
after its answer, which does not say so. --syslog takes log datagrams and forgets them, so that what is measured logs to somebody.";

const KEEP: Token = Token(0);
const CLOSE: Token = Token(1);
/// Tokens of connections start here.
const FIRST: usize = 2;
/// Received bytes kept of a connection; a head has to fit.
const RECEIVE_BYTES: usize = 16_384;

struct Connection {
    socket: TcpStream,
    received: Vec<u8>,
    /// Bytes of request bodies still to come.
    body_left: usize,
    /// Answers owed, and how much of the first is sent.
    owed: usize,
    sent: usize,
    /// Whether the close follows the answer being sent.
    sending_close: bool,
    always_close: bool,
    closing: bool,
}

struct Server {
    poll: Poll,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    keep_answer: Vec<u8>,
    close_answer: Vec<u8>,
    scratch: Vec<u8>,
}

fn main() -> std::io::Result<()> {
    let args = Args::parse(
        USAGE,
        &[],
        &["listen", "listen-close", "bytes", "name", "syslog"],
    );
    if let Some(address) = args.value::<SocketAddr>("syslog") {
        let sink = UdpSocket::bind(address)?;
        std::thread::spawn(move || while sink.recv(&mut [0; 1]).is_ok() {});
    }
    let bytes = args.value_or("bytes", 200);
    let name = args.value_or("name", "backend".to_string());
    let mut server = Server {
        poll: Poll::new()?,
        connections: Vec::new(),
        free: Vec::new(),
        keep_answer: answer(&name, bytes, ""),
        close_answer: answer(&name, bytes, "Connection: close\r\n"),
        scratch: vec![0; 65_536],
    };
    let mut keep = listen(&server.poll, args.required("listen"), KEEP)?;
    let mut close = match args.value("listen-close") {
        Some(address) => Some(listen(&server.poll, address, CLOSE)?),
        None => None,
    };
    let mut events = Events::with_capacity(1024);
    loop {
        if let Err(error) = server.poll.poll(&mut events, None)
            && error.kind() != ErrorKind::Interrupted
        {
            return Err(error);
        }
        for event in events.iter() {
            match event.token() {
                KEEP => server.accept(&mut keep, false),
                CLOSE => {
                    if let Some(listener) = &mut close {
                        server.accept(listener, true);
                    }
                }
                Token(token) => server.advance(token - FIRST),
            }
        }
    }
}

fn listen(poll: &Poll, address: SocketAddr, token: Token) -> std::io::Result<TcpListener> {
    let mut listener = TcpListener::bind(address)?;
    poll.registry()
        .register(&mut listener, token, Interest::READABLE)?;
    Ok(listener)
}

fn answer(name: &str, bytes: usize, extra: &str) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 200 OK\r\nX-Server: {name}\r\nContent-Length: {bytes}\r\n{extra}\r\n");
    let mut answer = head.into_bytes();
    answer.resize(answer.len() + bytes, b'x');
    answer
}

impl Server {
    fn accept(&mut self, listener: &mut TcpListener, always_close: bool) {
        while let Ok((mut socket, _)) = listener.accept() {
            let index = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            let _ = socket.set_nodelay(true);
            let both = Interest::READABLE | Interest::WRITABLE;
            let registered = self
                .poll
                .registry()
                .register(&mut socket, Token(index + FIRST), both);
            if registered.is_err() {
                self.free.push(index);
                continue;
            }
            self.connections[index] = Some(Connection {
                socket,
                received: Vec::new(),
                body_left: 0,
                owed: 0,
                sent: 0,
                sending_close: false,
                always_close,
                closing: false,
            });
            self.advance(index);
        }
    }

    /// All progress that is possible on one connection.
    fn advance(&mut self, index: usize) {
        let Some(connection) = self.connections.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        let alive = connection.receive(&mut self.scratch)
            && connection.send(&self.keep_answer, &self.close_answer);
        if !alive {
            self.connections[index] = None;
            self.free.push(index);
        }
    }
}

impl Connection {
    /// Reads what is there; false when the connection is over.
    fn receive(&mut self, scratch: &mut [u8]) -> bool {
        loop {
            match self.socket.read(scratch) {
                Ok(0) => return false,
                Ok(count) => {
                    self.received.extend_from_slice(&scratch[..count]);
                    if !self.take_requests() || self.received.len() > RECEIVE_BYTES {
                        return false;
                    }
                    if count < scratch.len() {
                        return true; // drained; the next bytes come with an event
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }

    fn take_requests(&mut self) -> bool {
        let mut start = 0;
        loop {
            let skipped = self.body_left.min(self.received.len() - start);
            self.body_left -= skipped;
            start += skipped;
            if self.body_left > 0 || start == self.received.len() {
                break;
            }
            match request_head(&self.received[start..]) {
                Ok(Some(head)) => {
                    start += head.head_bytes;
                    self.body_left = head.body_bytes;
                    self.owed += 1;
                    self.closing |= head.close || self.always_close;
                }
                Ok(None) => break,
                Err(NotOffered) => return false,
            }
        }
        self.received.drain(..start);
        true
    }

    /// Sends what is owed once the request's body is in; false when the connection is over.
    fn send(&mut self, keep: &[u8], close: &[u8]) -> bool {
        while self.owed > 0 && self.body_left == 0 {
            if self.sent == 0 {
                self.sending_close = self.closing && self.owed == 1;
            }
            let answer = match self.sending_close && !self.always_close {
                true => close,
                false => keep,
            };
            match self.socket.write(&answer[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
            if self.sent == answer.len() {
                self.sent = 0;
                self.owed -= 1;
                if self.sending_close {
                    return false;
                }
            }
        }
        true
    }
}
