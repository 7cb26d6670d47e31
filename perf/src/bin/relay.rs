//! The floor under every measurement: a relay that receives and sends, parses nothing, decides nothing, and keeps nothing but
//! what could not be sent at once. No proxy can do less with the same sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use burdock_perf::args::Args;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};

const USAGE: &str = "relay --listen ADDRESS:PORT --target ADDRESS:PORT [--server-close]

One server connection for each client connection. --server-close: the server's end only ends its own connection, the
client's next bytes open another.";

const LISTENER: Token = Token(0);
const CLIENT: usize = 0;
const SERVER: usize = 1;
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// A client connection and its server connection; side 0 is the client, side 1 the server.
struct Pair {
    sockets: [Option<TcpStream>; 2],
    /// Received from this side, not yet taken by the other.
    unsent: [Vec<u8>; 2],
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
                        relay.pump(index, side);
                    }
                    if event.is_writable() && !relay.pairs[index].unsent[1 - side].is_empty() {
                        relay.pump(index, 1 - side);
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
        while let Ok((mut client, _)) = listener.accept() {
            let _ = client.set_nodelay(true);
            let index = self.free.pop().unwrap_or_else(|| {
                self.pairs.push(Pair {
                    sockets: [None, None],
                    unsent: [Vec::new(), Vec::new()],
                });
                self.pairs.len() - 1
            });
            if self
                .registry
                .register(&mut client, token(index, CLIENT), BOTH)
                .is_err()
            {
                self.free.push(index);
                continue;
            }
            self.pairs[index].sockets[CLIENT] = Some(client);
        }
    }

    /// Moves what this side has sent to the other side, and acts on the ends of both.
    fn pump(&mut self, index: usize, side: usize) {
        if side == CLIENT && self.pairs[index].sockets[SERVER].is_none() && !self.find_server(index)
        {
            return self.end(index);
        }
        match (self.transfer(index, side), side) {
            (Flow::Waiting, _) => {}
            (Flow::SourceEnded, SERVER) if self.keeps_client => {
                self.pairs[index].sockets[SERVER] = None
            }
            _ => self.end(index),
        }
    }

    /// A server connection for the pair.
    fn find_server(&mut self, index: usize) -> bool {
        if self.pairs[index].sockets[CLIENT].is_none() {
            return true; // a late event of a pair that has ended
        }
        let place = token(index, SERVER);
        let server = TcpStream::connect(self.target).and_then(|mut server| {
            server.set_nodelay(true)?;
            self.registry.register(&mut server, place, BOTH)?;
            Ok(server)
        });
        self.pairs[index].sockets[SERVER] = server.ok();
        self.pairs[index].sockets[SERVER].is_some()
    }

    fn transfer(&mut self, index: usize, side: usize) -> Flow {
        let pair = &mut self.pairs[index];
        let unsent = &mut pair.unsent[side];
        let (clients, servers) = pair.sockets.split_at_mut(1);
        let (Some(client), Some(server)) = (&mut clients[0], &mut servers[0]) else {
            return Flow::Waiting;
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
        let pair = &mut self.pairs[index];
        let was_open = pair.sockets[CLIENT].take().is_some();
        pair.sockets[SERVER] = None;
        pair.unsent = [Vec::new(), Vec::new()];
        if was_open {
            self.free.push(index);
        }
    }
}

fn is_wait(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::NotConnected | ErrorKind::Interrupted
    )
}
