//! Datagrams of one turn of the event loop, sent together.
//!
//! Why: a system call a line, and a receiver that is woken for each of them, cost more than writing the line. Under load a
//! turn ends many requests, and their lines leave in one call; a line waits no longer than the turn in which it was written.
//! Invariants: the room is allocated once; lines leave in the order in which they were written.
//! Not here: what lines say.

use std::io;
use std::os::fd::AsFd;

use socket2::{SockAddr, Socket};

use crate::sys::output;

/// Room for the lines of a turn: they leave earlier when it is full.
const BATCH_BYTES: usize = 16 * 1024;

/// Lines to one address that have not left yet.
#[derive(Debug)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    lengths: Vec<u32>,
}

impl Batch {
    /// An empty one, with all the room that it will have.
    pub fn new() -> Batch {
        Batch {
            bytes: Vec::with_capacity(BATCH_BYTES),
            lengths: Vec::with_capacity(output::DATAGRAMS_MAX),
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Whether `line` can wait here with the others.
    pub fn has_room(&self, line: &[u8]) -> bool {
        self.lengths.len() < output::DATAGRAMS_MAX && self.bytes.len() + line.len() <= BATCH_BYTES
    }

    /// Takes in a line, for which there is room.
    pub fn push(&mut self, line: &[u8]) {
        debug_assert!(self.has_room(line));
        self.bytes.extend_from_slice(line);
        self.lengths.push(line.len() as u32);
    }

    /// Sends what waits; returns how many lines were not taken. A line that cannot be sent keeps none of the others.
    pub fn flush(&mut self, socket: &Socket, address: &SockAddr) -> u64 {
        let (mut sent, mut offset, mut dropped) = (0, 0, 0);
        while sent < self.lengths.len() {
            let rest = &self.lengths[sent..];
            let passed = match output::send_datagrams(
                socket.as_fd(),
                address,
                &self.bytes[offset..],
                rest,
            ) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    // A full socket has no room for the others either.
                    let is_full = error.kind() == io::ErrorKind::WouldBlock;
                    let lost = if is_full { rest.len() } else { 1 };
                    dropped += lost as u64;
                    lost
                }
            };
            offset += rest[..passed].iter().sum::<u32>() as usize;
            sent += passed;
        }
        self.bytes.clear();
        self.lengths.clear();
        dropped
    }
}
