//! Socket calls that neither `std`, `mio` nor `socket2` wrap.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use socket2::SockAddr;

use super::process::check;

/// What a descriptor that somebody passed to us is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inherited {
    /// Address family (`AF_INET`, `AF_INET6`, `AF_UNIX`).
    pub family: i32,
    /// Socket type (`SOCK_STREAM`, …).
    pub kind: i32,
    /// Whether listen(2) was called on it.
    pub listening: bool,
}

/// Looks at descriptor `fd`: an error when it is not open or no socket.
pub fn inspect(fd: RawFd) -> io::Result<Inherited> {
    Ok(Inherited {
        family: int_option(fd, libc::SO_DOMAIN)?,
        kind: int_option(fd, libc::SO_TYPE)?,
        listening: int_option(fd, libc::SO_ACCEPTCONN)? != 0,
    })
}

fn int_option(fd: RawFd, name: i32) -> io::Result<i32> {
    let mut value: libc::c_int = 0;
    let mut len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `value` is writable for `len` bytes; a descriptor that is not open only makes the call fail.
    check(unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            name,
            (&raw mut value).cast(),
            &mut len,
        )
    })?;
    Ok(value)
}

/// What the kernel says of a TCP connection (tcp(7), `TCP_INFO`). Times are microseconds, the others numbers of segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // each name is the kernel's, without its `tcpi_`
pub struct TcpInfo {
    pub rtt_us: u32,
    pub rttvar_us: u32,
    pub unacked: u32,
    pub sacked: u32,
    pub lost: u32,
    pub retrans: u32,
    pub fackets: u32,
    pub reordering: u32,
}

/// Asks the kernel about a TCP connection; `None` for any other descriptor.
pub fn tcp_info(fd: BorrowedFd<'_>) -> Option<TcpInfo> {
    let mut info = std::mem::MaybeUninit::<libc::tcp_info>::zeroed();
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: `info` is writable for `len` bytes, and `fd` is open for as long as it is borrowed.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &mut len,
        )
    })
    .ok()?;
    // SAFETY: `tcp_info` is made of integers alone, and all its bytes were zeroed before the kernel wrote some of them.
    let info = unsafe { info.assume_init() };
    Some(TcpInfo {
        rtt_us: info.tcpi_rtt,
        rttvar_us: info.tcpi_rttvar,
        unacked: info.tcpi_unacked,
        sacked: info.tcpi_sacked,
        lost: info.tcpi_lost,
        retrans: info.tcpi_retrans,
        fackets: info.tcpi_fackets,
        reordering: info.tcpi_reordering,
    })
}

/// What a wait is for.
#[derive(Clone, Copy, Debug)]
pub struct Interest<'a> {
    /// The descriptor.
    pub fd: BorrowedFd<'a>,
    /// That it can be read, or that its other end is gone.
    pub read: bool,
    /// That it can be written to.
    pub write: bool,
}

impl<'a> Interest<'a> {
    /// That it can be read.
    pub fn read(fd: BorrowedFd<'a>) -> Interest<'a> {
        Interest {
            fd,
            read: true,
            write: false,
        }
    }
}

/// Waits until one of `interests` comes true, at most `timeout_ms` (`None`: for ever). A signal may end the wait early.
pub fn wait(interests: &[Interest<'_>], timeout_ms: Option<u64>) -> io::Result<()> {
    let asked = |interest: &Interest<'_>| {
        let event = |wanted: bool, event: i16| if wanted { event } else { 0 };
        libc::pollfd {
            fd: interest.fd.as_raw_fd(),
            events: event(interest.read, libc::POLLIN) | event(interest.write, libc::POLLOUT),
            revents: 0,
        }
    };
    let mut polled: Vec<libc::pollfd> = interests.iter().map(asked).collect();
    let timeout = timeout_ms.map_or(-1, |ms| i32::try_from(ms).unwrap_or(i32::MAX));
    // SAFETY: `polled` is an array of `polled.len()` pollfds that lives through the call.
    match check(unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, timeout) }) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        result => result,
    }
}

/// Waits until one of `fds` can be read (or its other end is gone), at most `timeout_ms` (`None`: for ever). A signal
/// may end the wait early.
pub fn wait_readable(fds: &[BorrowedFd<'_>], timeout_ms: Option<u64>) -> io::Result<()> {
    let interests: Vec<Interest<'_>> = fds.iter().copied().map(Interest::read).collect();
    wait(&interests, timeout_ms)
}

/// Waits until `fd` can be written to (or its other end is gone), at most `timeout_ms`.
pub fn wait_writable(fd: BorrowedFd<'_>, timeout_ms: i32) -> io::Result<()> {
    let mut polled = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: `polled` is one pollfd that lives through the call.
    match check(unsafe { libc::poll(&raw mut polled, 1, timeout_ms) }) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        result => result,
    }
}

/// Puts a TCP socket into repair mode, in which closing it sends nothing. Needs CAP_NET_ADMIN.
pub fn enter_repair(fd: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `on` is readable for `len` bytes through the call, and `fd` is open for as long as it is borrowed.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_REPAIR,
            (&raw const on).cast(),
            len,
        )
    })
}

/// Closes a descriptor that was passed to this process by number and that no object owns.
pub fn close_inherited(fd: RawFd) {
    // SAFETY: the caller names a descriptor from outside, which no Rust object owns; a wrong number only fails.
    unsafe { libc::close(fd) };
}

/// Duplicates a descriptor that was passed to this process by number (close-on-exec); the original stays open.
pub fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl reads no memory for F_DUPFD_CLOEXEC; a descriptor that is not open only makes the call fail.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) };
    check(copy)?;
    // SAFETY: the call returned a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Makes `source` known under the number `target` as well (dup2): how standard input, output and error are redirected.
pub fn duplicate_to(source: BorrowedFd<'_>, target: RawFd) -> io::Result<()> {
    // SAFETY: integers only; `source` is open. `target` is one of the standard descriptors, which no Rust object owns.
    check(unsafe { libc::dup2(source.as_raw_fd(), target) })
}

/// TCP_DEFER_ACCEPT: the kernel wakes us for a connection when its first bytes are there, or after `seconds`.
pub fn set_defer_accept(fd: BorrowedFd<'_>, seconds: i32) -> io::Result<()> {
    set_int(fd, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, seconds)
}

/// TCP_FASTOPEN: the kernel takes data that comes with the first packet of clients that have been here before, for at most `waiting`
/// connections that are not accepted yet.
pub fn set_fast_open(fd: BorrowedFd<'_>, waiting: i32) -> io::Result<()> {
    set_int(fd, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, waiting)
}

/// TCP_FASTOPEN_CONNECT: what is written first goes with the first packet, to servers that this machine has been at before. Until
/// something is written, connect(2) does nothing then but succeed.
pub fn set_fast_open_connect(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_int(fd, libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, 1)
}

/// IP_TRANSPARENT (or IPV6_TRANSPARENT): listen on addresses that are not this machine's. Takes privilege.
pub fn set_transparent(fd: BorrowedFd<'_>, ipv6: bool) -> io::Result<()> {
    if ipv6 {
        set_int(fd, libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT, 1)
    } else {
        set_int(fd, libc::IPPROTO_IP, libc::IP_TRANSPARENT, 1)
    }
}

/// accept4(2): a non-blocking, close-on-exec connection and the address of its other end (internet sockets only).
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    let mut accepted = -1;
    // SAFETY: socket2 passes zeroed storage of sockaddr_storage's size and takes the address accept4 stores in it.
    let result = unsafe {
        SockAddr::try_init(|storage, len| {
            let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
            accepted = libc::accept4(listener.as_raw_fd(), storage.cast(), len, flags);
            check(accepted)
        })
    };
    let ((), address) = result?;
    // SAFETY: accept4 succeeded, so it returned a descriptor that nobody else owns.
    let accepted = unsafe { OwnedFd::from_raw_fd(accepted) };
    Ok((accepted, address.as_socket()))
}

fn set_int(fd: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `value` is readable for `len` bytes through the call.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), len) })
}
