//! Logs: syslog targets and log formats.

use crate::net::Address;

/// Where a log line goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetAddress {
    /// Syslog over UDP, or over a unix datagram socket.
    Datagram(Address),
    /// A file descriptor that is open already (`stdout`, `stderr`, `fd@N`).
    Fd(i32),
}

/// Layout of a log line (`format`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum LineFormat {
    #[default]
    Rfc3164,
    Rfc5424,
    Short,
    Raw,
    Timed,
    Iso,
    Local,
    Priority,
}

/// One `log` line (configuration manual, "log").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetSpec {
    /// Where it goes.
    pub address: TargetAddress,
    /// Layout.
    pub format: LineFormat,
    /// Syslog facility, 0 to 23.
    pub facility: u8,
    /// Most verbose severity that is sent (0 emerg to 7 debug).
    pub level: u8,
    /// Severities below this are raised to it (`minlevel`).
    pub min_level: u8,
    /// Longest line in bytes (`len`), 1024 by default.
    pub len: u32,
}
