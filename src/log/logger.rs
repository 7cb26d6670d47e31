//! The logger: opens targets, builds lines, sends them.
//!
//! A line's text is built once, behind some headroom; each target's header is then put right in front of it, so that
//! every target gets its line with one system call and no copy of the text.

use std::fmt;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::SystemTime;

use socket2::{Domain, SockAddr, Socket, Type};

use super::date::{DateText, Moment};
use super::httplog;
use super::line::Line;
use super::record::{LogFormat, Record};
use super::target::{LineFormat, Severity, TargetAddress, TargetSpec};
use crate::net::Address;
use crate::sys::output;

/// Who is speaking: what line headers say about this process.
#[derive(Clone, Debug)]
pub struct Identity {
    /// `log-tag` of the global section; the program's name by default.
    pub tag: String,
    /// `log-send-hostname`.
    pub hostname: Option<String>,
    /// Process id shown in headers; see [`Logger::set_pid`].
    pub pid: u32,
}

/// The targets of one proxy, or of the global section: what [`Logger::add`] returned. `TargetSet::NONE` logs nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetSet(u32);

impl TargetSet {
    /// No target.
    pub const NONE: TargetSet = TargetSet(0);
}

/// Where a target's lines go.
#[derive(Debug)]
enum Outlet {
    /// Through the unconnected UDP socket of its family.
    Udp(SockAddr),
    /// Through a socket of its own, connected while the path could be reached.
    Unix { socket: Socket, address: SockAddr, retry_secs: i64 },
    /// A descriptor; `torn` when the last line was written in part.
    Fd { fd: i32, torn: bool },
}

#[derive(Debug)]
struct Target {
    spec: TargetSpec,
    outlet: Outlet,
}

/// The targets of one set, and their tag as headers show it.
#[derive(Debug, Default)]
struct Set {
    targets: Vec<usize>,
    tag: String,
    /// `TAG[PID]: `
    tag_and_pid: String,
}

/// Sends log lines. See the module for its promises.
#[derive(Debug)]
pub struct Logger {
    identity: Identity,
    pid: String,
    targets: Vec<Target>,
    sets: Vec<Set>,
    udp_v4: Option<Socket>,
    udp_v6: Option<Socket>,
    now: Moment,
    /// Text of the current second.
    now_text: DateText,
    /// Text of the second in which the last logged request began.
    request_text: DateText,
    header: Line,
    /// Headroom for headers, then the text and its newline.
    line: Vec<u8>,
    text: Line,
    dropped: u64,
}

impl Logger {
    /// A logger without targets. Reads the time zone: to be called before `chroot`.
    pub fn new(identity: Identity) -> Self {
        todo!()
    }

    /// Opens `targets` and returns the set of them. `tag` is the proxy's `log-tag`, if it has one. Equal targets are
    /// opened once. To be called before `chroot` and before privileges are dropped.
    ///
    /// A unix socket that nobody listens on yet is no error: lines to it are dropped until it can be connected to.
    ///
    /// # Errors
    /// A socket cannot be created, or a descriptor is not open.
    pub fn add(&mut self, targets: &[TargetSpec], tag: Option<&str>) -> io::Result<TargetSet> {
        todo!()
    }

    /// Changes the process id in headers, after a fork.
    pub fn set_pid(&mut self, pid: u32) {
        todo!()
    }

    /// Tells the time. Called once a turn of the event loop; lines carry the time told last.
    pub fn set_time(&mut self, now: SystemTime) {
        todo!()
    }

    /// Whether a line to `set` goes anywhere.
    pub fn has_targets(&self, set: TargetSet) -> bool {
        todo!()
    }

    /// Sends one line of text, without its newline.
    pub fn notice(&mut self, severity: Severity, set: TargetSet, text: fmt::Arguments<'_>) {
        todo!()
    }

    /// Sends the line of a finished stream.
    pub fn stream(&mut self, severity: Severity, set: TargetSet, format: &LogFormat, record: &Record<'_>) {
        todo!()
    }

    /// Lines that were dropped because a target was full, absent or broken (`DroppedLogs` of `show info`).
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}
