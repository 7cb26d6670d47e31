//! What commands look at and change.

use mio::Registry;

use crate::backend::Proxy;
use crate::backend::counters::ProcessCounters;
use crate::config::model::StatsSocket;
use crate::log::{Logger, TargetSet};
use crate::peers::Peers;
use crate::reactor::Timers;
use crate::sample as samples;
use crate::stats::ProcessInfo;
use crate::stick::Table;
use crate::stream::FrontListener;

/// What the worker lends to the stats socket for the time of a call.
pub struct Context<'a> {
    /// CLOCK_MONOTONIC, milliseconds.
    pub now_ms: u64,
    /// Where sockets are registered.
    pub registry: &'a Registry,
    /// The worker's timers.
    pub timers: &'a mut Timers,
    /// All proxies, in the order of the configuration.
    pub proxies: &'a mut [Proxy],
    /// All tables, in the order of the configuration.
    pub tables: &'a mut [Table],
    /// The peers sections.
    pub peers: &'a Peers,
    /// Listening sockets of the frontends.
    pub fronts: &'a [FrontListener],
    /// All stats sockets, in the order of the configuration.
    pub stats_sockets: &'a [StatsSocket],
    /// Where notices go.
    pub log: &'a mut Logger,
    /// Log targets of each proxy.
    pub log_targets: &'a [TargetSet],
    /// What the start had to say.
    pub startup_log: &'a str,
    /// The tables belong to another worker (after a reload): nothing may be written to them.
    pub tables_handed_over: bool,
    /// The process, for `show info`.
    pub info: ProcessInfo<'a>,
    /// Most client connections at once.
    pub connections_max: &'a mut u32,
    /// The counters of the process.
    pub process_counters: &'a mut ProcessCounters,
    /// What expressions share: variables, pattern sets.
    pub samples: &'a samples::Registry,
    /// For expressions.
    pub scratch: &'a mut samples::Scratch,
    /// Wall-clock milliseconds since the epoch.
    pub wall_ms: u64,
    /// Servers that commands changed. The worker acts on them after each call.
    pub changed_servers: &'a mut Vec<ChangedServer>,
}

/// A server whose state, weight, address or limit a command changed: those who wait for it, or for any server, may have
/// to be dispatched anew, idle connections may have to go, its check may have to pause or go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangedServer {
    /// Index of the proxy.
    pub proxy: usize,
    /// Index of its server.
    pub server: usize,
    /// It has another address: idle connections lead to the old one.
    pub has_moved: bool,
}
