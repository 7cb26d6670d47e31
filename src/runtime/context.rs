//! What commands look at and change.

use mio::Registry;

use crate::backend::Proxy;
use crate::backend::counters::ProcessCounters;
use crate::config::model::StatsSocket;
use crate::log::{Logger, TargetSet};
use crate::peers::Peers;
use crate::reactor::Timers;
use crate::stats::ProcessInfo;
use crate::stick::Table;

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
    /// All stats sockets, in the order of the configuration.
    pub stats_sockets: &'a [StatsSocket],
    /// Where notices go.
    pub log: &'a mut Logger,
    /// Log targets of each proxy.
    pub log_targets: &'a [TargetSet],
    /// The process, for `show info`.
    pub info: ProcessInfo<'a>,
    /// The counters of the process.
    pub process_counters: &'a mut ProcessCounters,
    /// What commands changed that others have to act on. The worker empties it after each call.
    pub changes: &'a mut Vec<Change>,
}

/// A change that a command made, for those who have to act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A server's state, weight, address or `maxconn` changed: those who wait for it, or for any server, may have to be
    /// dispatched anew (`Proxy::drain_server_queue`, `Proxy::next_waiting`), idle connections may have to go, its check
    /// may have to pause or go on.
    Server {
        /// Index of the proxy.
        proxy: usize,
        /// Index of its server.
        server: usize,
    },
    /// A frontend's `maxconn` changed: it may accept again.
    FrontendLimit {
        /// Index of the proxy.
        proxy: usize,
    },
}
