//! A worker's streams without the worker: clients on socket pairs, servers behind a unix socket, a clock that is played.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, SystemTime};

use burdock::config::{self, ParseOptions, SourceFile};
use burdock::log::{Logger, TargetSet};
use burdock::net::{Connection, connection::abstract_address};
use burdock::process::{Limits, LogTargets, worker};
use burdock::reactor::{Kind, Token};
use burdock::stick::Table;
use burdock::stream::Streams;
use socket2::{Domain, Socket, Type};

/// What every configuration has: small buffers, so that little fills them, and all timeouts.
const COMMON: &str = "global\n tune.bufsize 2048\n tune.maxrewrite 512\n maxconn 100\ndefaults\n timeout connect 1s\n timeout client 5s\n \
timeout server 4s\n timeout http-request 3s\n timeout http-keep-alive 2s\n timeout queue 2s\n timeout tunnel 6s\n timeout client-fin 1s\n \
timeout server-fin 1500\n timeout tarpit 1s\n retries 2\n";

/// `@` is the server's address.
const CONFIGURATIONS: [&str; 8] = [
    " mode http\nlisten f\n bind 127.0.0.1:1\n http-reuse always\n server a @\n",
    " mode http\nlisten f\n bind 127.0.0.1:1\n server a @ maxconn 1\n server b @ maxconn 1 maxqueue 1\n option redispatch 1\n",
    " mode http\nlisten f\n bind 127.0.0.1:1\n option http-server-close\n option abortonclose\n stick-table type string len 16 size 10 expire 1m\n \
stick on cookie(s)\n stick store-response res.cook(s)\n server a @\n http-request set-header x %[path]\n http-request deny if { path_beg /c3 }\n \
http-response set-header y z\n http-response deny if { status 503 }\n capture request header host len 8\n",
    " mode http\nlisten f\n bind 127.0.0.1:1\n option httpclose\n http-reuse never\n server a @\n",
    " mode http\nlisten f\n bind 127.0.0.1:1\n http-reuse aggressive\n server a @ pool-max-conn 1 pool-purge-delay 500\n option forwardfor\n option httplog\n",
    " mode tcp\nlisten f\n bind 127.0.0.1:1\n server a @\n",
    " mode http\nfrontend f\n bind 127.0.0.1:1\n tcp-request inspect-delay 1s\n tcp-request content accept if WAIT_END\n \
http-request tarpit if { path_end 7 }\n http-request redirect location /x if { path_end 8 }\n monitor-uri /c0.0\n default_backend b\nbackend b\n \
http-reuse always\n server a @\n",
    " mode http\nlisten f\n bind 127.0.0.1:1 accept-proxy\n http-reuse safe\n server a @\n option http-no-delay\n",
];

/// Virtual time at the start.
const BEGIN_MS: u64 = 1_000_000;

/// Rounds after which a loop that has nothing new to do must rest.
const ROUNDS_MAX: usize = 5_000;

/// Our end of a connection with the proxy: a client's or a server's.
pub struct Party {
    socket: Option<UnixStream>,
    /// What it means to send.
    pending: Vec<u8>,
    /// What it has sent.
    pub sent: Vec<u8>,
    /// What it was sent.
    pub received: Vec<u8>,
    /// It reads nothing for now.
    pub is_stalled: bool,
    /// It has read the end of what it is sent.
    pub is_ended: bool,
    /// It has closed, or shut, its sending side.
    is_shut: bool,
    /// To be shut as soon as all is sent.
    pub shut_when_flushed: bool,
}

impl Party {
    fn new(socket: UnixStream) -> Party {
        socket.set_nonblocking(true).expect("nonblocking");
        Party {
            socket: Some(socket),
            pending: Vec::new(),
            sent: Vec::new(),
            received: Vec::new(),
            is_stalled: false,
            is_ended: false,
            is_shut: false,
            shut_when_flushed: false,
        }
    }

    /// Means to send `bytes`; `slice` of them at once, all with 0.
    pub fn say(&mut self, bytes: &[u8], slice: u8) {
        if !self.is_shut && !self.shut_when_flushed && self.pending.len() < 100_000 {
            self.pending.extend(bytes);
        }
        match slice {
            0 => self.flush(usize::MAX),
            255 => {}
            slice => self.flush(usize::from(slice)),
        }
    }

    /// Sends at most `count` of the bytes that it means to send.
    pub fn flush(&mut self, count: usize) {
        let count = count.min(self.pending.len());
        let Some(socket) = &mut self.socket else {
            return;
        };
        if self.is_shut {
            return;
        }
        if count > 0 {
            match socket.write(&self.pending[..count]) {
                Ok(written) => {
                    self.sent.extend(self.pending.drain(..written));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => self.is_shut = true,
            }
        }
        if self.shut_when_flushed && self.pending.is_empty() {
            self.shut();
        }
    }

    /// Closes its sending side.
    pub fn shut(&mut self) {
        if let Some(socket) = &self.socket {
            let _ = socket.shutdown(Shutdown::Write);
        }
        self.is_shut = true;
    }

    /// Closes; what it has not read makes that a reset.
    pub fn close(&mut self) {
        self.socket = None;
        self.is_shut = true;
    }

    /// What it meant to send and has not sent.
    pub fn has_left_unsent(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Reads what is there; whether there was anything.
    fn read(&mut self) -> bool {
        let Some(socket) = self.socket.as_mut().filter(|_| !self.is_ended) else {
            return false;
        };
        let mut block = [0; 8192];
        match socket.read(&mut block) {
            Ok(0) => {
                self.is_ended = true;
                true
            }
            Ok(count) => {
                self.received.extend(&block[..count]);
                true
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(_) => {
                self.is_ended = true;
                true
            }
        }
    }
}

/// The streams and all who talk through them.
pub struct World {
    poll: mio::Poll,
    streams: Streams,
    listener: UnixListener,
    /// Clients in the order in which they came.
    pub clients: Vec<Party>,
    /// Connections that the proxy has made to servers, in the order in which they were accepted.
    pub links: Vec<Party>,
    /// Servers accept nothing for now.
    pub refuses: bool,
    /// What goes through is HTTP.
    pub is_http: bool,
    due: Vec<mio::Token>,
}

impl World {
    /// With one of the configurations.
    pub fn new(which: u8) -> World {
        // As a worker does at its start: a write to who has gone is an error, also the writes that splice makes.
        burdock::sys::signal::ignore(libc::SIGPIPE).expect("the signal is known");
        let which = usize::from(which) % CONFIGURATIONS.len();
        let name = format!(
            "burdock-fuzz-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        );
        let text =
            format!("{COMMON}{}", CONFIGURATIONS[which]).replace('@', &format!("abns@{name}"));
        let file = SourceFile {
            name: "fuzz".into(),
            text: text.into_bytes(),
        };
        let (config, diags) = config::parse(&[file], &ParseOptions::default());
        let config = config.unwrap_or_else(|| panic!("{diags:?}"));
        let limits = Limits::new(&config, 0, 0, 1000);
        let tables = config.tables.iter();
        let tables = tables.map(|spec| Table::create(spec, [1, 2], BEGIN_MS).expect("a table"));
        let tables: Vec<Table> = tables.collect();
        let logger = Logger::new(burdock::log::Identity {
            tag: "fuzz".into(),
            hostname: None,
            pid: 1,
        });
        let targets = LogTargets {
            global: TargetSet::NONE,
            proxies: vec![TargetSet::NONE; config.proxies.len()],
        };
        let poll = mio::Poll::new().expect("a poll");
        let registry = poll.registry().try_clone().expect("a registry");
        let is_http = config.proxies[0].mode == burdock::config::model::Mode::Http;
        let core = worker::core(
            config, &limits, tables, logger, &targets, registry, BEGIN_MS,
        );
        World {
            poll,
            streams: Streams::new(core),
            listener: listener(&name),
            clients: Vec::new(),
            links: Vec::new(),
            refuses: false,
            is_http,
            due: Vec::new(),
        }
    }

    /// A client connects. Its socket takes little at once.
    pub fn connect_client(&mut self) {
        if !self.streams.may_accept(0) {
            return;
        }
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let theirs = Socket::from(theirs);
        theirs.set_nonblocking(true).expect("nonblocking");
        theirs.set_send_buffer_size(1).expect("a small buffer");
        self.clients.push(Party::new(ours));
        let client = Connection::accepted(OwnedFd::from(theirs));
        self.streams.accepted(client, None, 0, 0);
    }

    /// Runs until nothing more happens.
    pub fn run(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let is_busy = self.turn() | self.accept_links() | self.exchange();
            if !is_busy {
                return;
            }
        }
        panic!("the loop does not come to rest");
    }

    /// A turn of the worker's loop; whether it had work.
    fn turn(&mut self) -> bool {
        let mut events = mio::Events::with_capacity(64);
        self.poll
            .poll(&mut events, Some(Duration::ZERO))
            .expect("events");
        let is_busy = !events.is_empty() || self.streams.has_unfinished();
        let token = |event: &mio::event::Event| Token::unpack(event.token()).expect("a token");
        for event in &events {
            if token(event).kind == Kind::Server {
                self.streams.on_idle_event(token(event), event);
            }
        }
        for event in &events {
            match token(event).kind {
                Kind::Client => self.streams.on_client_event(token(event), event),
                Kind::Server => self.streams.on_server_event(token(event), event),
                other => panic!("an event for {other:?}"),
            }
        }
        let now_ms = self.streams.core.now_ms;
        let mut due = std::mem::take(&mut self.due);
        self.streams.core.timers.expire(now_ms, &mut due);
        for token in due.drain(..).filter_map(Token::unpack) {
            self.streams.on_timer(token);
        }
        self.due = due;
        self.streams.drive_unfinished();
        self.streams.end_turn();
        is_busy
    }

    fn accept_links(&mut self) -> bool {
        let mut is_busy = false;
        while !self.refuses {
            let Ok((socket, _)) = self.listener.accept() else {
                break;
            };
            self.links.push(Party::new(socket));
            is_busy = true;
        }
        is_busy
    }

    /// Everybody reads what is there, and sends what was left for want of room.
    fn exchange(&mut self) -> bool {
        let mut is_busy = false;
        for party in self.clients.iter_mut().chain(&mut self.links) {
            if !party.is_stalled {
                is_busy |= party.read();
            }
        }
        is_busy
    }

    /// Time passes.
    pub fn pass(&mut self, pause_ms: u64) {
        let core = &mut self.streams.core;
        core.now_ms += pause_ms;
        core.wall = SystemTime::UNIX_EPOCH + Duration::from_millis(core.now_ms);
        core.purge_idle_connections();
    }

    /// Time passes until something is due.
    pub fn pass_to_next_timer(&mut self) {
        let core = &self.streams.core;
        if let Some(at_ms) = core.timers.next_deadline_ms() {
            self.pass(at_ms.saturating_sub(core.now_ms));
        }
    }

    /// All timeouts pass: nothing may be left.
    pub fn run_down(&mut self) {
        self.run();
        for _ in 0..ROUNDS_MAX {
            if self.streams.core.timers.next_deadline_ms().is_none() {
                break;
            }
            self.pass_to_next_timer();
            self.run();
        }
        assert!(
            self.streams.is_empty(),
            "{} streams never end",
            self.streams.len()
        );
        self.pass(3_600_000);
        self.run();
        let core = &self.streams.core;
        assert!(
            core.pool.is_empty(),
            "{} server connections are left",
            core.pool.len()
        );
        assert_eq!(core.buffers.attached(), 0, "buffers are left");
        assert_eq!(core.connections, 0);
        for proxy in &core.proxies {
            assert_eq!(
                (proxy.connections, proxy.sessions, proxy.queue.len()),
                (0, 0, 0)
            );
            for server in &proxy.servers {
                let left = (server.sessions, server.queue.len(), server.idle_connections);
                assert_eq!(left, (0, 0, 0), "of server {}", server.spec.name);
            }
        }
    }
}

fn listener(name: &str) -> UnixListener {
    let address = abstract_address(name.as_bytes()).expect("a name");
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
    socket.bind(&address).expect("a free name");
    socket.listen(8).expect("listening");
    socket.set_nonblocking(true).expect("nonblocking");
    UnixListener::from(OwnedFd::from(socket))
}
