//! The floor under every measurement: a relay that receives and sends, parses nothing, decides nothing, and keeps nothing but
//! what could not be sent at once. No proxy can do less with the same sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use burdock_perf::args::Args;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};

const USAGE: &str = "relay --listen ADDRESS:PORT --target ADDRESS:PORT [--server-close]

One server connection for each client connection. --server-close: one for each request; the server's end only ends its own
connection, and the client's next bytes after an answer open another.";

const LISTENER: Token = Token(0);
const CLIENT: usize = 0;
const SERVER: usize = 1;
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// A client connection and its server connection; side 0 is the client, side 1 the server.
#[derive(Default)]
struct Pair {
    sockets: [Option<TcpStream>; 2],
    /// Received from this side, not yet taken by the other.
    unsent: [Vec<u8>; 2],
    /// Events are asked for: none, about reading, about writing too.
    watched: [Option<Interest>; 2],
    /// The server has said something.
    has_answer: bool,
}

struct Relay {
    registry: Registry,
    target: SocketAddr,
    keeps_client: bool,
    pairs: Vec<Pair>,
    free: Vec<usize>,
    scratch: Vec<u8>,
}

/// How one direction stands after all possible progress.
#[derive(PartialEq, Eq)]
enum Flow {
    Waiting,
    SourceEnded,
    Broken,
}

fn main() -> std::io::Result<()> {
    let args = Args::parse(USAGE, &["server-close"], &["listen", "target"]);
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(args.required("listen"))?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut relay = Relay {
        registry: poll.registry().try_clone()?,
        target: args.required("target"),
        keeps_client: args.flag("server-close"),
        pairs: Vec::new(),
        free: Vec::new(),
        scratch: vec![0; 65_536],
    };
    let mut events = Events::with_capacity(1024);
    loop {
        if let Err(error) = poll.poll(&mut events, None)
            && error.kind() != ErrorKind::Interrupted
        {
            return Err(error);
        }
        for event in events.iter() {
            match event.token() {
                LISTENER => relay.accept(&listener),
                Token(token) => {
                    let (index, side) = ((token - 1) / 2, (token - 1) % 2);
                    if event.is_readable() {
                        relay.pump(index, side, event.is_read_closed());
                    }
                    if event.is_writable() && !relay.pairs[index].unsent[1 - side].is_empty() {
                        relay.pump(index, 1 - side, false);
                    }
                }
            }
        }
    }
}

fn token(index: usize, side: usize) -> Token {
    Token(1 + index * 2 + side)
}

impl Relay {
    fn accept(&mut self, listener: &TcpListener) {
        while let Ok((client, _)) = listener.accept() {
            let index = self.free.pop().unwrap_or_else(|| {
                self.pairs.push(Pair::default());
                self.pairs.len() - 1
            });
            self.pairs[index].sockets[CLIENT] = Some(client);
            if self.watch(index, CLIENT).is_err() {
                self.end(index);
            }
        }
    }

    /// Moves what this side has sent to the other side, and acts on the ends of both. `is_closed`: nothing more comes from this side.
    fn pump(&mut self, index: usize, side: usize, is_closed: bool) {
        let pair = &mut self.pairs[index];
        if pair.sockets[CLIENT].is_none() {
            return; // a late event of a pair that has ended
        }
        if side == CLIENT && self.keeps_client && pair.has_answer {
            pair.leave_server();
        }
        if side == CLIENT && pair.sockets[SERVER].is_none() && !is_closed {
            pair.sockets[SERVER] = TcpStream::connect(self.target).ok();
        }
        match (self.transfer(index, side, is_closed), side) {
            (Flow::Waiting, _) => {
                if self.watch(index, CLIENT).is_err() || self.watch(index, SERVER).is_err() {
                    self.end(index);
                }
            }
            (Flow::SourceEnded, SERVER) if self.keeps_client => self.pairs[index].leave_server(),
            _ => self.end(index),
        }
    }

    /// Asks for the events that are waited for: about writing only where a write waits for one.
    fn watch(&mut self, index: usize, side: usize) -> std::io::Result<()> {
        let pair = &mut self.pairs[index];
        let Some(socket) = &mut pair.sockets[side] else {
            return Ok(());
        };
        let is_full = !pair.unsent[1 - side].is_empty();
        let wanted = if is_full { BOTH } else { Interest::READABLE };
        match pair.watched[side] {
            None => self.registry.register(socket, token(index, side), wanted)?,
            Some(Interest::READABLE) if is_full => {
                self.registry
                    .reregister(socket, token(index, side), wanted)?;
            }
            Some(_) => return Ok(()),
        }
        pair.watched[side] = Some(wanted);
        Ok(())
    }

    fn transfer(&mut self, index: usize, side: usize, is_closed: bool) -> Flow {
        let pair = &mut self.pairs[index];
        pair.has_answer |= side == SERVER;
        let unsent = &mut pair.unsent[side];
        let (clients, servers) = pair.sockets.split_at_mut(1);
        let (Some(client), Some(server)) = (&mut clients[0], &mut servers[0]) else {
            return match side {
                CLIENT => Flow::Broken, // no server took it
                _ => Flow::Waiting,
            };
        };
        let (source, sink) = if side == CLIENT {
            (client, server)
        } else {
            (server, client)
        };
        loop {
            while !unsent.is_empty() {
                match sink.write(unsent) {
                    Ok(count) => drop(unsent.drain(..count)),
                    Err(error) if is_wait(&error) => return Flow::Waiting,
                    Err(_) => return Flow::Broken,
                }
            }
            match source.read(&mut self.scratch) {
                Ok(0) => return Flow::SourceEnded,
                Ok(count) => {
                    let sent = match sink.write(&self.scratch[..count]) {
                        Ok(sent) => sent,
                        Err(error) if is_wait(&error) => 0,
                        Err(_) => return Flow::Broken,
                    };
                    unsent.extend_from_slice(&self.scratch[sent..count]);
                    if count < self.scratch.len() && is_closed && unsent.is_empty() {
                        return Flow::SourceEnded; // the event said so: no read is spent on learning it
                    }
                    if count < self.scratch.len() {
                        return Flow::Waiting; // drained, or what is left waits for the sink
                    }
                }
                Err(error) if is_wait(&error) => return Flow::Waiting,
                Err(_) => return Flow::Broken,
            }
        }
    }

    fn end(&mut self, index: usize) {
        let was_open = self.pairs[index].sockets[CLIENT].is_some();
        self.pairs[index] = Pair::default();
        if was_open {
            self.free.push(index);
        }
    }
}

impl Pair {
    /// Ends the server connection alone.
    fn leave_server(&mut self) {
        let client = (self.sockets[CLIENT].take(), self.watched[CLIENT]);
        *self = Pair {
            sockets: [client.0, None],
            watched: [client.1, None],
            ..Pair::default()
        };
    }
}

fn is_wait(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::NotConnected | ErrorKind::Interrupted
    )
}
