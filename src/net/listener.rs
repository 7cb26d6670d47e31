//! Listening sockets: bound before privileges are dropped, inherited by every worker.
//!
//! What: [`listen`] binds an address as [`ListenOptions`] say, [`BoundListener`] is the socket with the owner that it
//! accepts for.
//! TCP options that connections inherit from their listener (TCP_NODELAY) are set here, so that accepting costs one
//! system call.
//!
//! Invariants: a `BoundListener` listens, is non-blocking and close-on-exec.
//! Not here: which listeners a configuration asks for and in which order (process), what follows an accept (stream).

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::Address;
use super::connection::abstract_address;
use crate::sys::{process, socket};

/// What a listener accepts connections for: an index into the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListenerOwner {
    /// `Config::proxies[proxy].binds[bind]`.
    Proxy {
        /// Index of the proxy.
        proxy: usize,
        /// Index of its `bind`.
        bind: usize,
    },
    /// `Config::peers[_]`: the local peer of the section.
    Peers(usize),
    /// `Config::global.stats_sockets[_]`.
    Stats(usize),
}

/// How to listen (configuration manual, section 5.1).
#[derive(Clone, Debug, Default)]
pub struct ListenOptions {
    /// Connections that may wait for their accept; the kernel has a limit of its own.
    pub backlog: u32,
    /// SO_REUSEPORT: another process may listen on the same address, as an old process does during a take-over.
    pub reuse_port: bool,
    /// IPV6_V6ONLY.
    pub v6_only: bool,
    /// `transparent`.
    pub transparent: bool,
    /// `interface`.
    pub interface: Option<String>,
    /// `defer-accept`.
    pub defer_accept: bool,
    /// `tfo`.
    pub fast_open: bool,
    /// The first acknowledgement waits for our answer: for protocols in which the client speaks first.
    pub lazy_ack: bool,
    /// `mode` of a unix socket.
    pub mode: Option<u32>,
    /// Owner of a unix socket.
    pub uid: Option<u32>,
    /// Group of a unix socket.
    pub gid: Option<u32>,
}

/// Why an address could not be listened on; its text is what HAProxy says.
#[derive(Debug)]
pub struct ListenError {
    what: &'static str,
    address: Address,
    cause: io::Error,
}

impl ListenError {
    /// Whether somebody else listens there; it may go away.
    pub fn is_in_use(&self) -> bool {
        self.cause.kind() == io::ErrorKind::AddrInUse
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = system_text(&self.cause);
        match &self.address {
            Address::Inet(address) => {
                write!(
                    out,
                    "{} ({cause}) for [{}:{}]",
                    self.what,
                    address.ip(),
                    address.port()
                )
            }
            Address::Unix(path) => write!(out, "{} ({cause}) [{}]", self.what, path.display()),
            Address::Abstract(name) => write!(
                out,
                "{} ({cause}) [abns@{}]",
                self.what,
                name.escape_ascii()
            ),
            Address::Fd(fd) => write!(out, "{} ({cause}) [fd@{fd}]", self.what),
        }
    }
}

/// The system's words for an error, without the number that Rust adds.
pub fn system_text(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_string(),
        None => text,
    }
}

/// Binds `address` and listens on it. An inherited socket (`fd@`) has to listen already, and is duplicated.
///
/// # Errors
/// See [`ListenError`]. A file in the place of a unix socket is not replaced unless it is a socket.
pub fn listen(
    owner: ListenerOwner,
    address: &Address,
    options: &ListenOptions,
) -> Result<BoundListener, ListenError> {
    let socket = match address {
        Address::Inet(inet) => listen_inet(*inet, options),
        Address::Unix(path) => listen_unix(path, options),
        Address::Abstract(name) => listen_abstract(name, options),
        Address::Fd(fd) => inherit(*fd),
    };
    match socket {
        Ok(socket) => Ok(BoundListener {
            owner,
            address: address.clone(),
            socket,
        }),
        Err((what, cause)) => Err(ListenError {
            what,
            address: address.clone(),
            cause,
        }),
    }
}

/// Whether a unix socket could be placed at `path`, with the owner and mode of `options`: makes one beside it and removes that
/// again. What is at `path` stays as it is.
///
/// # Errors
/// As [`listen`] would say.
pub fn try_unix(path: &Path, options: &ListenOptions) -> Result<(), ListenError> {
    let tried = bind_beside(path, options).map(|(_, temporary)| {
        let _ = fs::remove_file(temporary);
    });
    tried.map_err(|(what, cause)| ListenError {
        what,
        address: Address::Unix(path.to_owned()),
        cause,
    })
}

/// Listens on with a socket that another process has handed to us ([`super::takeover`]), as `options` say.
///
/// # Errors
/// See [`ListenError`].
pub fn continue_listening(
    owner: ListenerOwner,
    address: &Address,
    options: &ListenOptions,
    socket: OwnedFd,
) -> Result<BoundListener, ListenError> {
    let socket = Socket::from(socket);
    let is_inet = matches!(address, Address::Inet(_));
    let prepared = socket.set_nonblocking(true).and_then(|()| {
        if is_inet {
            socket.set_tcp_nodelay(true)?;
            socket::set_defer_accept(socket.as_fd(), i32::from(options.defer_accept))?;
            if options.fast_open {
                socket::set_fast_open(socket.as_fd(), backlog(options))?;
            }
            socket.set_tcp_quickack(!options.lazy_ack)?;
        }
        // On a socket that listens this changes its backlog.
        socket.listen(backlog(options))
    });
    match prepared {
        Ok(()) => Ok(BoundListener::taken_over(owner, address, socket.into())),
        Err(cause) => Err(ListenError {
            what: "cannot listen to socket",
            address: address.clone(),
            cause,
        }),
    }
}

impl BoundListener {
    /// A socket that listens already, made for `address` by a former image of this process.
    pub fn taken_over(owner: ListenerOwner, address: &Address, socket: OwnedFd) -> BoundListener {
        BoundListener {
            owner,
            address: address.clone(),
            socket,
        }
    }
}

/// The step that failed, in HAProxy's words, and why.
type Failure = (&'static str, io::Error);

/// Says which step failed.
fn step<T>(what: &'static str, result: io::Result<T>) -> Result<T, Failure> {
    result.map_err(|error| (what, error))
}

fn listen_inet(address: SocketAddr, options: &ListenOptions) -> Result<OwnedFd, Failure> {
    let domain = Domain::for_address(address);
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = step(
        "cannot create listening socket",
        Socket::new(domain, kind, Some(Protocol::TCP)),
    )?;
    step("cannot bind socket", socket.set_reuse_address(true))?;
    if options.reuse_port {
        // Old kernels lack it; then an old process has to let go first.
        let _ = socket.set_reuse_port(true);
    }
    if let Some(interface) = &options.interface {
        step(
            "cannot bind listener to device",
            socket.bind_device(Some(interface.as_bytes())),
        )?;
    }
    if options.transparent {
        let transparent = socket::set_transparent(socket.as_fd(), address.is_ipv6());
        step("cannot make listening socket transparent", transparent)?;
    }
    if address.is_ipv6() {
        step("cannot bind socket", socket.set_only_v6(options.v6_only))?;
    }
    step("cannot bind socket", socket.bind(&address.into()))?;
    if options.defer_accept {
        step(
            "cannot enable DEFER_ACCEPT",
            socket::set_defer_accept(socket.as_fd(), 1),
        )?;
    }
    if options.fast_open {
        step(
            "cannot enable TCP_FASTOPEN",
            socket::set_fast_open(socket.as_fd(), backlog(options)),
        )?;
    }
    // Inherited by every connection: what we write is worth a packet at once.
    step("cannot bind socket", socket.set_tcp_nodelay(true))?;
    step("cannot listen to socket", socket.listen(backlog(options)))?;
    if options.lazy_ack {
        // A matter of one packet; not worth a failure.
        let _ = socket.set_tcp_quickack(false);
    }
    Ok(socket.into())
}

fn listen_abstract(name: &[u8], options: &ListenOptions) -> Result<OwnedFd, Failure> {
    let address = step("cannot bind UNIX socket", abstract_address(name))?;
    let socket = unix_socket()?;
    step("cannot bind UNIX socket", socket.bind(&address))?;
    step(
        "cannot listen to UNIX socket",
        socket.listen(backlog(options)),
    )?;
    Ok(socket.into())
}

/// Binds under a temporary name and renames, so that the path always leads to a socket that listens, and a stale one (or
/// that of the process that we replace) gives way in one step.
fn listen_unix(path: &Path, options: &ListenOptions) -> Result<OwnedFd, Failure> {
    let (socket, temporary) = bind_beside(path, options)?;
    let placed = step(
        "cannot switch final and temporary UNIX sockets",
        fs::rename(&temporary, path),
    );
    if placed.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    placed.map(|()| socket.into())
}

/// A socket that listens under a temporary name beside `path`, and that name. After an error no file is left.
fn bind_beside(path: &Path, options: &ListenOptions) -> Result<(Socket, PathBuf), Failure> {
    let cannot_bind = "cannot bind UNIX socket";
    if fs::symlink_metadata(path).is_ok_and(|there| !there.file_type().is_socket()) {
        return Err((cannot_bind, io::Error::from_raw_os_error(libc::EEXIST)));
    }
    let temporary = temporary_name(path);
    // Left behind by a process of the same pid that was killed here.
    let _ = fs::remove_file(&temporary);
    let socket = unix_socket()?;
    step(cannot_bind, SockAddr::unix(path).map(drop))?;
    let address = step(cannot_bind, SockAddr::unix(&temporary))?;
    step(cannot_bind, socket.bind(&address))?;
    let listens = own_unix(&temporary, options).and_then(|()| {
        step(
            "cannot listen to UNIX socket",
            socket.listen(backlog(options)),
        )
    });
    if listens.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    listens.map(|()| (socket, temporary))
}

fn own_unix(temporary: &Path, options: &ListenOptions) -> Result<(), Failure> {
    let refused = "cannot change UNIX socket ownership";
    if options.uid.is_some() || options.gid.is_some() {
        step(
            refused,
            std::os::unix::fs::chown(temporary, options.uid, options.gid),
        )?;
    }
    if let Some(mode) = options.mode {
        step(
            refused,
            fs::set_permissions(temporary, fs::Permissions::from_mode(mode)),
        )?;
    }
    Ok(())
}

fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.tmp", process::pid()));
    PathBuf::from(name)
}

fn unix_socket() -> Result<Socket, Failure> {
    let kind = Type::STREAM.nonblocking().cloexec();
    step(
        "cannot create UNIX socket",
        Socket::new(Domain::UNIX, kind, None),
    )
}

/// Takes a socket over that whoever started us passed by number.
fn inherit(fd: RawFd) -> Result<OwnedFd, Failure> {
    step("cannot use file descriptor", check_inherited(fd))?;
    let copy = step("cannot use file descriptor", socket::duplicate(fd))?;
    let copy = Socket::from(copy);
    step("cannot use file descriptor", copy.set_nonblocking(true))?;
    Ok(copy.into())
}

/// Whether descriptor `fd` is a stream socket that listens.
///
/// # Errors
/// It is not open, no socket, or of another kind.
pub fn check_inherited(fd: RawFd) -> io::Result<()> {
    let inherited = socket::inspect(fd)?;
    let families = [libc::AF_INET, libc::AF_INET6, libc::AF_UNIX];
    if !families.contains(&inherited.family) || inherited.kind != libc::SOCK_STREAM {
        return Err(io::Error::from_raw_os_error(libc::ESOCKTNOSUPPORT));
    }
    if !inherited.listening {
        return Err(io::Error::other("the socket does not listen"));
    }
    Ok(())
}

fn backlog(options: &ListenOptions) -> i32 {
    i32::try_from(options.backlog).unwrap_or(i32::MAX)
}

/// A socket that listens.
#[derive(Debug)]
pub struct BoundListener {
    owner: ListenerOwner,
    address: Address,
    socket: OwnedFd,
}

impl BoundListener {
    /// What it accepts for.
    pub fn owner(&self) -> ListenerOwner {
        self.owner
    }

    /// The address as the configuration names it.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Accepts one connection: non-blocking, close-on-exec. `None`: none is waiting. The address is the client's; a unix
    /// socket has none.
    ///
    /// # Errors
    /// Those of accept4(2), except for what a client can cause (a connection that is gone again), which is skipped.
    /// `EMFILE`, `ENFILE`, `ENOBUFS` and `ENOMEM` call for a pause.
    pub fn accept(&self) -> io::Result<Option<(OwnedFd, Option<SocketAddr>)>> {
        loop {
            match socket::accept(self.socket.as_fd()) {
                Ok(accepted) => return Ok(Some(accepted)),
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => return Ok(None),
                    // The connection failed before we took it (accept(2), "Error handling"): the next one may be fine.
                    Some(
                        libc::EINTR
                        | libc::ECONNABORTED
                        | libc::EPROTO
                        | libc::ENETDOWN
                        | libc::ENOPROTOOPT
                        | libc::EHOSTDOWN
                        | libc::ENONET
                        | libc::EHOSTUNREACH
                        | libc::EOPNOTSUPP
                        | libc::ENETUNREACH,
                    ) => {}
                    _ => return Err(error),
                },
            }
        }
    }
}

impl AsFd for BoundListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for BoundListener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl From<BoundListener> for OwnedFd {
    fn from(listener: BoundListener) -> OwnedFd {
        listener.socket
    }
}
