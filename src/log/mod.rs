//! Logs: syslog targets and the formats of log lines (configuration manual, "log" and section 8).
//!
//! What: [`TargetSpec`] is one `log` line as the configuration states it; [`Logger`] opens the targets of all proxies
//! and sends lines; [`Record`] is what a finished stream has to say, [`LogFormat`] which line is made of it.
//!
//! Invariants: writing a line never blocks and never allocates; a line that a target cannot take at once is dropped for
//! that target and counted.
//!
//! Not here: which events are logged, and at which severity (their owners decide); the counters shown by the stats socket.

mod batch;
mod format;
mod httplog;
mod logger;
mod outlet;
mod target;

pub use crate::sample::format::{
    Cause, CookieState, Endpoint, Phase, Record, ServerName, Termination, Timers, date_text,
};
pub use format::LogFormat;
pub use logger::{Identity, Logger, TargetSet};
pub use target::{LineFormat, Sampling, Severity, TargetAddress, TargetSpec};
