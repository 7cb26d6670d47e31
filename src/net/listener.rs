//! Listening sockets: bound before privileges are dropped, inherited by every worker.
//!
//! What: [`Endpoint`] says where and how to listen, [`BoundListener`] is the socket with the owner that it accepts for.
//! TCP options that connections inherit from their listener (TCP_NODELAY) are set here, so that accepting costs one
//! system call.
//!
//! Invariants: a `BoundListener` listens, is non-blocking and close-on-exec.
//! Not here: which listeners a configuration asks for and in which order (process), what follows an accept (stream).

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::Address;
use crate::sys::socket;

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

/// A socket that listens.
#[derive(Debug)]
pub struct BoundListener {
    owner: ListenerOwner,
    address: Address,
    socket: OwnedFd,
}

impl BoundListener {
    /// Takes note of a socket that listens already.
    pub(crate) fn new(owner: ListenerOwner, address: Address, socket: OwnedFd) -> BoundListener {
        BoundListener {
            owner,
            address,
            socket,
        }
    }

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
