//! A connection: one nonblocking stream socket, TCP or unix, and what the loop knows about its readiness.
//!
//! Registered at most once, edge-triggered, and at most once more when a write has found the socket full: nearly every socket
//! takes what it is given, and one that is not asked about writing wakes nobody to say that it may be written to.
//! `readable` and `writable` say that trying is worth a system call; they are set by events and cleared by `WouldBlock` and by short
//! transfers (a short read has drained the socket, so no `recv` is spent on learning that).
//!
//! Not here: what the bytes mean, and timeouts.

use std::io::{self, ErrorKind, IoSlice, Read};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry};
use socket2::{Domain, SockAddr, SockRef, Socket, TcpKeepalive, Type};

use super::{Address, Pipe};
use crate::reactor::Buffer;
use crate::sys::socket;

/// How TCP asks whether the other end is still there; what is not given is the system's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct KeepaliveProbes {
    /// Probes without an answer until the connection is dead.
    pub count: Option<u32>,
    /// Seconds of silence before the first.
    pub idle_s: Option<u32>,
    /// Seconds between two.
    pub interval_s: Option<u32>,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    socket: Socket,
    readable: bool,
    writable: bool,
    /// `readable` is true because nothing has said otherwise: a pipe does not tell whether it has emptied the socket.
    is_unsure: bool,
    /// Events about reading are asked for.
    is_watched: bool,
    /// Those about writing too.
    watches_write: bool,
    /// The socket was full, or its connection does not stand yet: an event is to tell when it may be written to.
    awaits_write: bool,
    /// An event has said that the socket holds an error.
    has_failed: bool,
    /// It is written to as if it stood; the first write will tell.
    is_assumed: bool,
    /// Small writes go out at once (TCP_NODELAY).
    is_prompt: bool,
    /// The peer will send nothing more; what it sent may still be in the socket.
    hung_up: bool,
    read_closed: bool,
    write_closed: bool,
}

/// What is known, when a connection is begun, about what will be written to it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum First {
    Unknown,
    Data,
    DataWithSyn,
}

/// What a read did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadResult {
    /// So many bytes, more than none.
    Bytes(usize),
    /// The peer has closed its side.
    End,
    /// Nothing now; an event will tell.
    WouldBlock,
}

impl Connection {
    /// Wraps a socket that was just accepted; it is nonblocking already and has the listener's TCP_NODELAY. Bytes may be waiting (`defer-accept`, or a
    /// fast client), so reading is worth a try.
    pub fn accepted(fd: OwnedFd) -> Connection {
        Connection {
            socket: Socket::from(fd),
            readable: true,
            writable: true,
            is_unsure: false,
            is_watched: false,
            watches_write: false,
            awaits_write: false,
            has_failed: false,
            is_assumed: false,
            is_prompt: true,
            hung_up: false,
            read_closed: false,
            write_closed: false,
        }
    }

    /// Starts a connection to `address`, from `source` if given. It stands when the first write event has come and
    /// `connect_result` is no error. Small messages wait for each other until `make_prompt`.
    pub fn connect(address: &Address, source: Option<SocketAddr>) -> io::Result<Connection> {
        Connection::begin(address, source, First::Unknown)
    }

    /// The same for a client that writes as soon as it can: what it writes carries the acknowledgement that ends the handshake, which spares a
    /// packet and wakes the server once, not twice.
    pub fn connect_with_data(
        address: &Address,
        source: Option<SocketAddr>,
    ) -> io::Result<Connection> {
        Connection::begin(address, source, First::Data)
    }

    /// The same again with TCP Fast Open: where the server allows it, what is written first goes with the first packet. The
    /// connection can be written to at once then, and whether it comes to stand is known when something is read.
    pub fn connect_fast(address: &Address, source: Option<SocketAddr>) -> io::Result<Connection> {
        Connection::begin(address, source, First::DataWithSyn)
    }

    fn begin(
        address: &Address,
        source: Option<SocketAddr>,
        first: First,
    ) -> io::Result<Connection> {
        let target = match address {
            Address::Inet(address) => SockAddr::from(*address),
            Address::Unix(path) => SockAddr::unix(path)?,
            Address::Abstract(name) => abstract_address(name)?,
            Address::Fd(_) => return Err(ErrorKind::Unsupported.into()),
        };
        let socket = Socket::new(target.domain(), Type::STREAM.nonblocking().cloexec(), None)?;
        if let Some(source) = source {
            socket.set_reuse_address(true)?;
            socket.bind(&source.into())?;
        }
        if target.domain() != Domain::UNIX {
            // A kernel that refuses connects as ever.
            let _ = match first {
                First::Unknown => Ok(()),
                First::Data => socket.set_tcp_quickack(false),
                First::DataWithSyn => socket::set_fast_open_connect(socket.as_fd()),
            };
        }
        match socket.connect(&target) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            // A unix socket whose backlog is full says EAGAIN: the same as refused, and retried as such.
            Err(error) => return Err(error),
        }
        Ok(Connection {
            socket,
            readable: false,
            writable: false,
            is_unsure: false,
            is_watched: false,
            watches_write: false,
            awaits_write: true,
            has_failed: false,
            is_assumed: false,
            is_prompt: target.domain() == Domain::UNIX,
            hung_up: false,
            read_closed: false,
            write_closed: false,
        })
    }

    /// Registers for all events, once.
    pub fn register(&mut self, registry: &Registry, token: mio::Token) -> io::Result<()> {
        self.awaits_write = true;
        self.watch(registry, token)
    }

    /// Asks for the events that are needed now and were not asked for before: about reading always, about writing where a
    /// write waits for one. To be called whenever there is nothing to do but to wait.
    pub fn watch(&mut self, registry: &Registry, token: mio::Token) -> io::Result<()> {
        let is_asked = self.is_watched && (self.watches_write || !self.awaits_write);
        if is_asked {
            return Ok(());
        }
        let fd = self.socket.as_raw_fd();
        let interest = match self.awaits_write {
            true => Interest::READABLE | Interest::WRITABLE,
            false => Interest::READABLE,
        };
        match self.is_watched {
            true => registry.reregister(&mut SourceFd(&fd), token, interest)?,
            false => registry.register(&mut SourceFd(&fd), token, interest)?,
        }
        self.is_watched = true;
        self.watches_write = self.awaits_write;
        Ok(())
    }

    /// Whether a write waits for an event, asked for or not.
    pub fn awaits_write(&self) -> bool {
        self.awaits_write
    }

    /// Whether a connect that was begun a moment ago has succeeded already, as it does on the same machine: then it can be
    /// written to at once, and no event is needed to learn that.
    pub fn stands_already(&mut self) -> bool {
        if self.socket.peer_addr().is_err() {
            return false;
        }
        self.writable = true;
        self.awaits_write = false;
        true
    }

    /// Takes it that a connect that was begun a moment ago has succeeded already, without a look: the first write tells. If that writes nothing,
    /// `is_assumed` still says so, and the connection is one that is waited for.
    pub fn assume_standing(&mut self) {
        self.writable = true;
        self.awaits_write = false;
        self.is_assumed = true;
    }

    /// Whether it is only taken to stand: nothing was written to it yet.
    pub fn is_assumed(&self) -> bool {
        self.is_assumed
    }

    /// Looks whether something can be read, where nothing has told: no event was asked for, or what came last went into a pipe. An end
    /// that follows at once is taken note of as one that was read.
    pub fn look(&mut self) {
        if (self.is_watched && !self.is_unsure) || self.read_closed {
            return;
        }
        self.is_unsure = false;
        let mut byte = [std::mem::MaybeUninit::uninit()];
        let peeked = self
            .socket
            .recv_with_flags(&mut byte, libc::MSG_PEEK | libc::MSG_DONTWAIT);
        self.read_closed = matches!(peeked, Ok(0));
        let is_empty = peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        self.readable = !self.read_closed && !is_empty;
    }

    /// Takes it out of the loop, before the socket goes to another process: closing our descriptor would not.
    pub fn deregister(&self, registry: &Registry) {
        if !self.is_watched {
            return;
        }
        let fd = self.socket.as_raw_fd();
        // It was registered; there is nothing else that can go wrong.
        let _ = registry.deregister(&mut SourceFd(&fd));
    }

    /// Takes note of an event.
    pub fn note_event(&mut self, event: &mio::event::Event) {
        self.has_failed |= event.is_error();
        self.readable |= event.is_readable() || self.has_failed;
        self.writable |= event.is_writable() || self.has_failed;
        self.awaits_write &= !self.writable;
        self.hung_up |= event.is_read_closed();
    }

    /// Whether a read is worth trying.
    pub fn may_read(&self) -> bool {
        self.readable && !self.read_closed
    }

    /// Whether a write is worth trying.
    pub fn may_write(&self) -> bool {
        self.writable && !self.write_closed
    }

    /// Whether the end of what the peer sends has been read.
    pub fn is_read_closed(&self) -> bool {
        self.read_closed
    }

    /// Whether the peer is known to send nothing more, read or not.
    pub fn is_hung_up(&self) -> bool {
        self.hung_up || self.read_closed
    }

    /// Whether the connection is known to be broken: the peer has reset it.
    pub fn is_broken(&self) -> bool {
        self.has_failed
    }

    /// Whether our side is shut.
    pub fn is_write_closed(&self) -> bool {
        self.write_closed
    }

    /// Reads into the free part of `buffer`, which must have some.
    pub fn read(&mut self, buffer: &mut Buffer) -> io::Result<ReadResult> {
        let room = buffer.room();
        assert!(
            room > 0,
            "reading into a full buffer would look like the end"
        );
        loop {
            match self.socket.read(buffer.space()) {
                Ok(0) => {
                    self.read_closed = true;
                    self.readable = false;
                    return Ok(ReadResult::End);
                }
                Ok(count) => {
                    buffer.commit(count);
                    if count < room && !self.hung_up {
                        self.readable = false;
                    }
                    return Ok(ReadResult::Bytes(count));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Ok(ReadResult::WouldBlock);
                }
                Err(error) => {
                    self.read_closed = true;
                    self.readable = false;
                    return Err(error);
                }
            }
        }
    }

    /// Writes the slices in one call; returns how many bytes went, 0 when the socket is full. `more` tells the kernel
    /// that the rest of the message follows at once.
    pub fn write(&mut self, slices: &[IoSlice<'_>], more: bool) -> io::Result<usize> {
        let flags = libc::MSG_NOSIGNAL | if more { libc::MSG_MORE } else { 0 };
        let wanted: usize = slices.iter().map(|slice| slice.len()).sum();
        loop {
            let sent = match slices {
                [only] => self.socket.send_with_flags(only, flags),
                _ => self.socket.send_vectored_with_flags(slices, flags),
            };
            match sent {
                Ok(count) => {
                    self.is_assumed = false;
                    if count < wanted {
                        self.writable = false;
                        self.awaits_write = true;
                    }
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.writable = false;
                    self.awaits_write = true;
                    return Ok(0);
                }
                Err(error) => {
                    self.writable = false;
                    return Err(error);
                }
            }
        }
    }

    /// Moves at most `bytes` of what has come into `pipe`. That tells nothing about what is left in the socket: only `WouldBlock` does,
    /// and it does so if the pipe was empty; if it was not, it may be the pipe that is full, and reading is tried again later.
    pub fn read_into(&mut self, pipe: &mut Pipe, bytes: usize) -> io::Result<ReadResult> {
        loop {
            match pipe.fill(self.socket.as_fd(), bytes) {
                Ok(0) => {
                    self.read_closed = true;
                    self.readable = false;
                    return Ok(ReadResult::End);
                }
                Ok(count) => {
                    self.is_unsure = true;
                    return Ok(ReadResult::Bytes(count));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = pipe.held() > 0;
                    return Ok(ReadResult::WouldBlock);
                }
                Err(error) => {
                    self.read_closed = true;
                    self.readable = false;
                    return Err(error);
                }
            }
        }
    }

    /// Writes what `pipe` holds; returns how many bytes went.
    pub fn write_from(&mut self, pipe: &mut Pipe) -> io::Result<usize> {
        let mut total = 0;
        while pipe.held() > 0 {
            match pipe.drain(self.socket.as_fd()) {
                Ok(count) => total += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.writable = false;
                    self.awaits_write = true;
                    break;
                }
                Err(error) => {
                    self.writable = false;
                    return Err(error);
                }
            }
        }
        Ok(total)
    }

    /// Tells the peer that nothing more comes. Errors are not worth a word: the peer is gone then.
    pub fn shutdown_write(&mut self) {
        if !self.write_closed {
            self.write_closed = true;
            let _ = self.socket.shutdown(Shutdown::Write);
        }
    }

    /// Makes the coming close one that the peer is not told of (`silent-drop`). That takes CAP_NET_ADMIN; without it the reset
    /// gets no further than the next router.
    pub fn drop_silently(&self) {
        // What has come is acknowledged now: a peer that sends it again would be answered with a reset.
        let _ = self.socket.set_tcp_quickack(true);
        if socket::enter_repair(self.socket.as_fd()).is_err() {
            let _ = self.socket.set_ttl_v4(1);
            self.close_with_reset();
        }
    }

    /// The TOS or traffic class of what is sent (`set-tos`); a failure changes nothing else, as in HAProxy.
    pub fn set_tos(&self, tos: u8) {
        let _ = match self.socket.domain() {
            Ok(Domain::IPV6) => self.socket.set_tclass_v6(u32::from(tos)),
            _ => self.socket.set_tos_v4(u32::from(tos)),
        };
    }

    /// The netfilter mark of what is sent (`set-mark`); needs CAP_NET_ADMIN.
    pub fn set_mark(&self, mark: u32) {
        let _ = self.socket.set_mark(mark);
    }

    /// Makes the coming close a reset: what is unsent is dropped, and no port lingers in TIME_WAIT.
    pub fn close_with_reset(&self) {
        let _ = self.socket.set_linger(Some(std::time::Duration::ZERO));
    }

    /// Nothing more is read or written: the peer is told at once, and reset when the connection is dropped.
    pub fn abandon(&mut self) {
        self.close_with_reset();
        let _ = self.socket.shutdown(Shutdown::Both);
        self.read_closed = true;
        self.write_closed = true;
    }

    /// The pending error of the socket: how a connect ended.
    pub fn take_error(&self) -> io::Result<()> {
        match self.socket.take_error()? {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// How a connect ended, once an event says that writing may be tried. Costs a system call only after an error.
    pub fn connect_result(&self) -> io::Result<()> {
        if self.has_failed {
            self.take_error()
        } else {
            Ok(())
        }
    }

    /// Sends small writes at once from here on (TCP_NODELAY). A message that fits one segment and goes out in one write
    /// does not need it, and saves the system call.
    pub fn make_prompt(&mut self) {
        if !self.is_prompt {
            self.is_prompt = true;
            let _ = self.socket.set_tcp_nodelay(true);
        }
    }

    /// Turns TCP keep-alive probes on.
    pub fn enable_keepalive(&self, probes: KeepaliveProbes) {
        let mut settings = TcpKeepalive::new();
        if let Some(idle_s) = probes.idle_s {
            settings = settings.with_time(Duration::from_secs(idle_s.into()));
        }
        if let Some(interval_s) = probes.interval_s {
            settings = settings.with_interval(Duration::from_secs(interval_s.into()));
        }
        if let Some(count) = probes.count {
            settings = settings.with_retries(count);
        }
        // A unix socket has no probes.
        let _ = SockRef::from(&self.socket).set_tcp_keepalive(&settings);
    }

    /// Our own address of an internet socket; where the client connected to.
    pub fn local_address(&self) -> Option<SocketAddr> {
        SockRef::from(&self.socket).local_addr().ok()?.as_socket()
    }

    /// The other end's address of an internet socket.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        SockRef::from(&self.socket).peer_addr().ok()?.as_socket()
    }

    /// What the kernel says of a TCP connection.
    pub fn tcp_info(&self) -> Option<crate::sys::socket::TcpInfo> {
        crate::sys::socket::tcp_info(self.socket.as_fd())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl From<Connection> for OwnedFd {
    fn from(connection: Connection) -> OwnedFd {
        connection.socket.into()
    }
}

/// Whether a socket could not be made because the process, or the system, has no descriptor left.
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// The address of an abstract unix socket: a zero byte, the name, and zeros up to the end, which are part of the name
/// for the kernel. HAProxy does so, and both ends have to agree.
///
/// # Errors
/// The name is too long.
pub fn abstract_address(name: &[u8]) -> io::Result<SockAddr> {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    if name.len() >= ABSTRACT_NAME_BYTES {
        return Err(ErrorKind::InvalidInput.into());
    }
    let mut path = [0; ABSTRACT_NAME_BYTES];
    path[1..][..name.len()].copy_from_slice(name);
    SockAddr::unix(OsStr::from_bytes(&path))
}

/// Size of `sun_path`: the leading zero, the name, and zeros up to the end.
const ABSTRACT_NAME_BYTES: usize = 108;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::BufferPool;
    use std::io::Write;
    use std::net::TcpListener;

    fn pair() -> (Connection, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Inet(listener.local_addr().unwrap());
        let connection = Connection::connect(&address, None).unwrap();
        let (other, _) = listener.accept().unwrap();
        (connection, other)
    }

    #[test]
    fn a_short_read_has_drained_the_socket() {
        let (mut connection, mut other) = pair();
        let mut pool = BufferPool::new(64, 1);
        let mut buffer = Buffer::default();
        pool.attach(&mut buffer);
        other.write_all(b"hello").unwrap();
        while connection.read(&mut buffer).unwrap() == ReadResult::WouldBlock {
            std::thread::yield_now();
        }
        assert_eq!(buffer.filled(), b"hello");
        assert!(!connection.may_read());
        drop(other);
        loop {
            match connection.read(&mut buffer).unwrap() {
                ReadResult::End => break,
                ReadResult::WouldBlock => std::thread::yield_now(),
                ReadResult::Bytes(_) => panic!("nothing was sent"),
            }
        }
        assert!(connection.is_read_closed());
    }

    #[test]
    fn a_look_tells_nothing_from_bytes_and_from_the_end() {
        let seen = |says: &[u8], ends: bool| {
            let (here, mut there) = std::os::unix::net::UnixStream::pair().unwrap();
            there.write_all(says).unwrap();
            let there = (!ends).then_some(there);
            let mut connection = Connection::accepted(here.into());
            connection.look();
            drop(there);
            (connection.may_read(), connection.is_read_closed())
        };
        assert_eq!(seen(b"", false), (false, false));
        assert_eq!(seen(b"", true), (false, true));
        assert_eq!(seen(b"hello", false), (true, false));
        // What was said before the end is still to be read.
        assert_eq!(seen(b"hello", true), (true, false));
    }

    /// Whatever the kernel makes of it (a first connection, or fast open switched off): the data arrive.
    #[test]
    fn what_goes_with_the_first_packet_arrives() {
        use std::io::Read;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        socket::set_fast_open(listener.as_fd(), 16).unwrap();
        let address = Address::Inet(listener.local_addr().unwrap());
        for _ in 0..3 {
            let mut connection = Connection::connect_fast(&address, None).unwrap();
            let mut sent = 0;
            while sent == 0 {
                std::thread::yield_now();
                connection.writable = true;
                sent = connection.write(&[IoSlice::new(b"hello")], false).unwrap();
            }
            let (mut other, _) = listener.accept().unwrap();
            let mut received = [0; 5];
            other.read_exact(&mut received).unwrap();
            assert_eq!(&received[..sent], &b"hello"[..sent]);
        }
    }

    #[test]
    fn a_full_socket_is_no_error_and_a_reset_one_is() {
        let (mut connection, other) = pair();
        let block = [0u8; 65536];
        while connection
            .write(&[IoSlice::new(&block), IoSlice::new(&block)], false)
            .unwrap()
            > 0
        {}
        assert!(!connection.may_write());
        SockRef::from(&other)
            .set_linger(Some(std::time::Duration::ZERO))
            .unwrap();
        drop(other);
        let error = loop {
            match connection.write(&[IoSlice::new(&block)], false) {
                Ok(_) => std::thread::yield_now(),
                Err(error) => break error,
            }
        };
        assert!(matches!(
            error.kind(),
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
        ));
    }
}
