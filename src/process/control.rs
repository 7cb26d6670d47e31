//! Master and worker: the socket pair between them, and the signals that reach the worker itself.
//!
//! Each message is one byte. The master writes [`Order`]s; the worker says once that it is ready. The end of the pair
//! tells the worker that the master died: it stops at once, so that there never are two owners of listeners and tables.
//!
//! Not here: what an order means for connections.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use crate::sys::signal::SignalFd;

/// What a worker is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// SIGUSR1: stop listening, finish what is running, then end.
    SoftStop,
    /// SIGTERM, SIGINT, or the master is gone: end now.
    HardStop,
}

const SOFT_STOP: u8 = b's';
const HARD_STOP: u8 = b'h';
const READY: u8 = b'r';

/// Signals that a worker understands when they are sent to itself. SIGHUP and SIGUSR2 mean something to the master only.
const WORKER_SIGNALS: [i32; 5] = [
    libc::SIGUSR1,
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGHUP,
    libc::SIGUSR2,
];

/// The worker's end.
#[derive(Debug)]
pub struct Orders {
    master: UnixStream,
    signals: SignalFd,
    master_gone: bool,
}

impl Orders {
    /// For a worker that was just forked: takes over its signals, which the master had blocked.
    pub(crate) fn new(master: UnixStream) -> io::Result<Orders> {
        master.set_nonblocking(true)?;
        Ok(Orders {
            master,
            signals: SignalFd::new(&WORKER_SIGNALS)?,
            master_gone: false,
        })
    }

    /// Registers both sources under one token; an event with it means: call [`Orders::next`] until it says `None`.
    pub fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(
            &mut SourceFd(&self.master.as_raw_fd()),
            token,
            Interest::READABLE,
        )?;
        registry.register(
            &mut SourceFd(&self.signals.as_raw_fd()),
            token,
            Interest::READABLE,
        )
    }

    /// The next order, or `None` when there is none for now. An error of either source counts as the master's end.
    pub fn next(&mut self) -> Option<Order> {
        while let Ok(Some(signal)) = self.signals.next() {
            match signal.number {
                libc::SIGUSR1 => return Some(Order::SoftStop),
                libc::SIGTERM | libc::SIGINT => return Some(Order::HardStop),
                _ => {}
            }
        }
        while !self.master_gone {
            let mut message = [0];
            match self.master.read(&mut message) {
                Ok(1) if message[0] == SOFT_STOP => return Some(Order::SoftStop),
                Ok(1) if message[0] == HARD_STOP => return Some(Order::HardStop),
                Ok(1) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => {
                    self.master_gone = true;
                    return Some(Order::HardStop);
                }
            }
        }
        None
    }

    /// Tells the master that this worker accepts connections: the command that was typed ends now with success.
    pub fn say_ready(&mut self) -> io::Result<()> {
        self.master.write_all(&[READY])
    }
}
