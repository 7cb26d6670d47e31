//! What the master keeps and every worker inherits: all that outlives a worker.

use std::os::fd::OwnedFd;

use crate::config::Config;
use crate::log::Logger;
use crate::net::BoundListener;

use super::tables::TableMemories;
use super::{Limits, LogTargets};

/// Made by the command before the first fork. A forked child gets a copy of it by being forked.
pub(super) struct Inheritance {
    /// The configuration.
    pub config: Config,
    /// All that can fill up.
    pub limits: Limits,
    /// Listening sockets. Emptied by a soft stop: a port is free when nobody holds its socket any more.
    pub listeners: Vec<BoundListener>,
    /// Memory of the stick tables.
    pub tables: TableMemories,
    /// Processes that this one replaces (`-sf`) are told to finish: they teach our tables through the local peer.
    pub has_teacher: bool,
    /// In a worker that is forked for a reload: its end of the line to the worker that it replaces.
    pub predecessor: Option<OwnedFd>,
    /// In a worker that is forked in the place of one that died: its ends of lines to workers that drain.
    pub draining: Vec<OwnedFd>,
    /// The logger, its targets open.
    pub log: Logger,
    /// What it calls them.
    pub log_targets: LogTargets,
    /// This is a daemon: standard input, output and error lead nowhere once it runs.
    pub detached: bool,
}
