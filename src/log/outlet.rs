//! Where lines leave the process: UDP, unix datagram sockets, descriptors. Nothing here blocks.

use std::io;

use socket2::{Domain, SockAddr, Socket, Type};

use super::batch::Batch;
use crate::sys::output;

/// One unconnected socket for each address family: no target's ICMP errors reach another, and none needs its own.
#[derive(Debug, Default)]
pub(super) struct UdpSockets {
    v4: Option<Socket>,
    v6: Option<Socket>,
}

impl UdpSockets {
    /// Opens the socket of `domain` unless it is open.
    pub fn open(&mut self, domain: Domain) -> io::Result<()> {
        let slot = if domain == Domain::IPV6 {
            &mut self.v6
        } else {
            &mut self.v4
        };
        if slot.is_none() {
            let socket = Socket::new(domain, Type::DGRAM.nonblocking(), None)?;
            // Nothing is ever received: keep the kernel from holding memory for it.
            socket.set_recv_buffer_size(0)?;
            *slot = Some(socket);
        }
        Ok(())
    }

    fn of(&self, address: &SockAddr) -> Option<&Socket> {
        if address.is_ipv6() {
            self.v6.as_ref()
        } else {
            self.v4.as_ref()
        }
    }
}

/// Where a target's lines go.
#[derive(Debug)]
pub(super) enum Outlet {
    /// Through the UDP socket of the address' family.
    Udp {
        /// Where to.
        address: SockAddr,
        /// What waits for the end of the turn.
        batch: Batch,
    },
    /// Through a unix datagram socket of its own. It is connected while the path can still be reached, so that it
    /// works after `chroot`. A syslog daemon that restarts is followed where the path is within reach; where it is not,
    /// by whoever else holds the socket and calls [`Outlet::reconnect`].
    Unix {
        /// The socket.
        socket: Socket,
        /// Where it is, or should be, connected to.
        address: SockAddr,
        /// Second of the last attempt to connect.
        tried_secs: i64,
        /// The last line found nobody.
        lost: bool,
    },
    /// A descriptor.
    Fd {
        /// Its number.
        fd: i32,
        /// The last line was written in part: end it before the next.
        torn: bool,
    },
}

impl Outlet {
    /// An outlet to a UDP address, whose family's socket is open.
    pub fn udp(address: SockAddr) -> Self {
        let batch = Batch::new();
        Self::Udp { address, batch }
    }

    /// An outlet to `fd`, made non-blocking so that a stuck reader of a pipe or terminal stops nothing.
    pub fn fd(fd: i32) -> Self {
        // A descriptor that is closed now may be open when lines are written; if not, each is counted as dropped.
        let _ = output::set_nonblocking(fd);
        Self::Fd { fd, torn: false }
    }

    /// An outlet to a unix datagram socket.
    pub fn unix(address: SockAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::DGRAM.nonblocking(), None)?;
        // Fails while nobody listens; `send` tries again.
        let _ = socket.connect(&address);
        Ok(Self::Unix {
            socket,
            address,
            tried_secs: 0,
            lost: false,
        })
    }

    /// Whether its last line found nobody who listens.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Unix { lost: true, .. })
    }

    /// Connects anew. The connection belongs to the socket: processes that inherited it are connected with it.
    pub fn reconnect(&mut self) {
        if let Self::Unix {
            socket, address, ..
        } = self
        {
            // Fails while nobody listens.
            let _ = socket.connect(address);
        }
    }

    /// Longest line before its newline, where `len` is the configured length. The newline counts for descriptors and
    /// not for datagrams, as in HAProxy.
    pub fn text_bytes_max(&self, len: usize) -> usize {
        match self {
            Self::Fd { .. } => len.saturating_sub(1),
            Self::Udp { .. } | Self::Unix { .. } => len,
        }
    }

    /// Keeps a line for the end of the turn; false: this outlet does not, or the line has no room even in an empty batch, and it is to
    /// be sent now. Adds the lines that were lost on the way to `dropped`.
    pub fn hold(&mut self, line: &[u8], udp: &UdpSockets, dropped: &mut u64) -> bool {
        let Self::Udp { address, batch } = self else {
            return false;
        };
        if !batch.has_room(line) {
            *dropped += udp
                .of(address)
                .map_or(0, |socket| batch.flush(socket, address));
        }
        let has_room = batch.has_room(line);
        if has_room {
            batch.push(line);
        }
        has_room
    }

    /// Sends the lines that were kept; returns how many were not taken.
    pub fn flush(&mut self, udp: &UdpSockets) -> u64 {
        match self {
            Self::Udp { address, batch } if !batch.is_empty() => match udp.of(address) {
                Some(socket) => batch.flush(socket, address),
                None => 0,
            },
            _ => 0,
        }
    }

    /// Sends a line and says whether it was taken whole. `now_secs` limits attempts to reconnect to one a second.
    pub fn send(&mut self, line: &[u8], udp: &UdpSockets, now_secs: i64) -> bool {
        match self {
            Self::Udp { address, .. } => udp
                .of(address)
                .is_some_and(|socket| socket.send_to(line, address).is_ok()),
            Self::Unix {
                socket,
                address,
                tried_secs,
                lost,
            } => {
                *lost = match socket.send(line) {
                    Ok(_) => false,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                    Err(_) => {
                        let due = *tried_secs != now_secs;
                        *tried_secs = now_secs;
                        !(due && socket.connect(address).is_ok() && socket.send(line).is_ok())
                    }
                };
                !*lost
            }
            Self::Fd { fd, torn } => {
                if *torn && output::write(*fd, b"\n").is_err() {
                    return false;
                }
                let written = output::write(*fd, line).unwrap_or(0);
                *torn = written > 0 && written < line.len();
                written == line.len()
            }
        }
    }
}
