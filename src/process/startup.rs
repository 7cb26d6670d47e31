//! What a worker starts with, and how it says why it ended.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::config::Config;
use crate::log::{Logger, TargetSet};
use crate::net::BoundListener;
use crate::stick::{Table, TableSpec};

use super::line::Line;
use super::{Limits, Orders};

/// Everything that a worker needs. Privileges are dropped already and the root directory is changed: what has to be opened
/// by a path or as root is open.
pub struct Startup {
    /// The configuration.
    pub config: Config,
    /// All that can fill up, counted.
    pub limits: Limits,
    /// Listening sockets; each names what it accepts for. `peers` sections without a local peer have none.
    pub listeners: Vec<BoundListener>,
    /// The stick tables, in the order of `Config::tables`.
    pub tables: Tables,
    /// Lines to workers that drain, whose successor died before this one.
    pub draining: Vec<OwnedFd>,
    /// Sends log lines; its targets are open and its pid is this worker's.
    pub log: Logger,
    /// What the logger calls the targets of the sections.
    pub log_targets: LogTargets,
    /// Orders from the master and from signals.
    pub orders: Orders,
    /// Pid of the master.
    pub master_pid: i32,
    /// A process that this one replaces (`-sf`) will teach the tables through the local peer.
    pub has_teacher: bool,
    /// What the start had to say, for `show startup-logs`.
    pub startup_log: String,
    /// How many workers of this master died before this one (0: none); `show info` and the log tell.
    pub replaced_workers: u32,
}

/// The stick tables of a worker that starts.
pub enum Tables {
    /// They are its own.
    Owned(Vec<Table>),
    /// Another worker still owns them, which is to be asked for them on this line.
    Asked(Line, Memories),
}

/// The memories of all tables, to be attached to.
pub struct Memories {
    /// In the order of `Config::tables`.
    pub tables: Vec<OwnedFd>,
    /// Tables whose layout has changed, as they were.
    pub former: Vec<FormerTable>,
}

/// A table as it was before a reload changed its layout.
pub struct FormerTable {
    /// Index of the table in its place.
    pub table: usize,
    /// How it was declared.
    pub spec: TableSpec,
    /// Its memory.
    pub memory: OwnedFd,
    /// Its file, if it had one.
    pub path: Option<PathBuf>,
}

/// The target sets of the logger.
#[derive(Clone, Debug)]
pub struct LogTargets {
    /// Those of the `global` section.
    pub global: TargetSet,
    /// Those of each proxy, in the order of `Config::proxies`.
    pub proxies: Vec<TargetSet>,
}

/// Why the worker's loop ended.
#[derive(Debug)]
pub enum ExitReason {
    /// A soft stop is complete: nothing was left to do, or `hard-stop-after` was over.
    SoftStop,
    /// Stopped at once, by order or because the master is gone.
    HardStop,
    /// It cannot go on; the master logs the text and starts another worker.
    Failed(String),
}
