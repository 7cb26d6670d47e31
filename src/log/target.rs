//! `log` lines as values: where lines go, how they are laid out and which severities pass.

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
pub enum LineFormat {
    /// No `format` given: `local`, or `rfc3164` when `log-send-hostname` is set.
    #[default]
    Unspecified,
    /// `<PRI>Mmm dd hh:mm:ss HOST TAG[PID]: text`.
    Rfc3164,
    /// `<PRI>1 ISO-DATE HOST TAG PID - - text`.
    Rfc5424,
    /// `<SEVERITY>text`.
    Short,
    /// `text`.
    Raw,
    /// `<SEVERITY>ISO-DATE text`.
    Timed,
    /// `ISO-DATE text`.
    Iso,
    /// `<PRI>Mmm dd hh:mm:ss TAG[PID]: text`.
    Local,
    /// `<PRI>text`.
    Priority,
}

/// Syslog severities, most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
#[repr(u8)]
pub enum Severity {
    Emergency = 0,
    Alert = 1,
    Critical = 2,
    Error = 3,
    Warning = 4,
    Notice = 5,
    Info = 6,
    Debug = 7,
}

impl Severity {
    /// The severity of that number; beyond 7 is debug.
    pub fn of(number: u8) -> Severity {
        match number {
            0 => Severity::Emergency,
            1 => Severity::Alert,
            2 => Severity::Critical,
            3 => Severity::Error,
            4 => Severity::Warning,
            5 => Severity::Notice,
            6 => Severity::Info,
            _ => Severity::Debug,
        }
    }

    /// Its name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Emergency => "emerg",
            Severity::Alert => "alert",
            Severity::Critical => "crit",
            Severity::Error => "err",
            Severity::Warning => "warning",
            Severity::Notice => "notice",
            Severity::Info => "info",
            Severity::Debug => "debug",
        }
    }
}

/// Which lines of a target are sent (`sample`): of each `size` lines in a row those in the ranges, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// First and last of each, in rising order, none overlapping.
    pub ranges: Box<[(u32, u32)]>,
    /// Never less than the end of the last range.
    pub size: u32,
}

impl Sampling {
    /// Whether the next line is sent; `seen` counts the lines of a round.
    pub fn takes(&self, seen: &mut u32) -> bool {
        *seen = *seen % self.size + 1;
        let takes = |(first, last): &(u32, u32)| (*first..=*last).contains(&*seen);
        self.ranges.iter().any(takes)
    }
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
    /// More severe lines are sent as this severity (`minlevel`); 0 leaves all as they are.
    pub min_level: u8,
    /// Longest line in bytes (`len`), 1024 by default.
    pub len: u32,
    /// Which lines are sent; `None`: all.
    pub sample: Option<Sampling>,
}
