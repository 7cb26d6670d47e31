//! Pipes: what lies between two sockets where bytes pass without being looked at (`splice`).
//!
//! Why: a byte that nobody looks at is copied twice for nothing, out of the kernel and back. Through a pipe its page changes hands.
//! Invariants: an unused pipe is empty; one with something in it is closed, never used for another message. There are at most
//! [`PIPES_MAX`]; who finds none copies.
//! Not here: which bytes may pass so (stream).

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use crate::sys::splice;

/// Most pipes at once; each has two descriptors.
pub const PIPES_MAX: usize = 32;

/// Room that is asked for in a pipe. The system's default is 64 KiB, and it may stay so.
const PIPE_BYTES: usize = 256 * 1024;

/// A pipe in use.
#[derive(Debug)]
pub struct Pipe {
    source: OwnedFd,
    sink: OwnedFd,
    /// Bytes in it.
    held: usize,
    /// How many there are.
    count: Rc<Cell<usize>>,
}

impl Pipe {
    /// Bytes in it.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Takes in at most `bytes` from a socket; 0: it has ended.
    ///
    /// # Errors
    /// `WouldBlock`: nothing is there, or there is no room.
    pub fn fill(&mut self, socket: BorrowedFd<'_>, bytes: usize) -> io::Result<usize> {
        let count = splice::splice(socket, self.sink.as_fd(), bytes)?;
        self.held += count;
        Ok(count)
    }

    /// Gives what it holds to a socket, as far as that takes it.
    ///
    /// # Errors
    /// `WouldBlock`: the socket is full.
    pub fn drain(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let count = splice::splice(self.source.as_fd(), socket, self.held)?;
        self.held -= count;
        Ok(count)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.count.set(self.count.get() - 1);
    }
}

/// Pipes that nobody uses.
#[derive(Debug)]
pub struct Pipes {
    unused: Vec<Pipe>,
    count: Rc<Cell<usize>>,
}

impl Pipes {
    /// None yet.
    pub fn new() -> Pipes {
        Pipes {
            unused: Vec::with_capacity(PIPES_MAX),
            count: Rc::new(Cell::new(0)),
        }
    }

    /// An empty pipe, unless there are too many, or the system has none.
    pub fn take(&mut self) -> Option<Pipe> {
        if let Some(pipe) = self.unused.pop() {
            return Some(pipe);
        }
        if self.count.get() == PIPES_MAX {
            return None;
        }
        let (source, sink) = splice::pipe().ok()?;
        // With less room it only takes more calls.
        let _ = splice::resize(sink.as_fd(), PIPE_BYTES);
        self.count.set(self.count.get() + 1);
        Some(Pipe {
            source,
            sink,
            held: 0,
            count: Rc::clone(&self.count),
        })
    }

    /// Takes a pipe back; one that is not empty is closed.
    pub fn give(&mut self, pipe: Pipe) {
        if pipe.held == 0 {
            self.unused.push(pipe);
        }
    }
}

impl Default for Pipes {
    fn default() -> Self {
        Self::new()
    }
}
