//! What the worker knows of itself, for the stats socket.
//!
//! Samples that need a span (bytes a second, idle time) are taken by the worker's housekeeping, about once a second.

use std::time::SystemTime;

use super::Limits;
use crate::config::model::{Global, StatsSocket};
use crate::peers::Peers;
use crate::runtime::{ChangedServer, Context};
use crate::stats::ProcessInfo;
use crate::stream::{Core, FrontListener};
use crate::sys::{host, time};

/// Facts about the worker, and its samples.
pub struct Watch {
    started: SystemTime,
    started_ms: u64,
    descriptors_max: u64,
    descriptors_needed: u64,
    connections_max: u32,
    node: String,
    description: Option<String>,
    /// `maxconnrate` and `maxsessrate`; 0: none.
    rate_limits: (u32, u32),
    stats_sockets: Vec<StatsSocket>,
    startup_log: String,
    sampled_ms: u64,
    sampled_bytes_out: u64,
    sampled_cpu_us: u64,
    bytes_out_rate: u64,
    idle_pct: u32,
    /// Servers that commands changed since the worker looked last.
    pub changed_servers: Vec<ChangedServer>,
}

/// What changes from call to call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// Streams.
    pub streams: usize,
    /// Listening sockets.
    pub listeners: usize,
    /// Sessions of stats sockets.
    pub stats_sessions: usize,
    /// A soft stop is under way.
    pub stopping: bool,
    /// The tables belong to another worker.
    pub handed_over: bool,
}

impl Watch {
    /// A worker that starts now.
    pub fn new(global: &Global, limits: &Limits, startup_log: String, now_ms: u64) -> Watch {
        Watch {
            started: SystemTime::now(),
            started_ms: now_ms,
            descriptors_max: limits.descriptors_max,
            descriptors_needed: limits.descriptors_needed,
            connections_max: limits.sessions_max,
            node: global
                .node
                .clone()
                .unwrap_or_else(|| host::name().unwrap_or_else(|_| "localhost".to_owned())),
            description: global.description.clone(),
            rate_limits: (
                global.connection_rate_max.unwrap_or(0),
                global.session_rate_max.unwrap_or(0),
            ),
            stats_sockets: global.stats_sockets.clone(),
            startup_log,
            sampled_ms: now_ms,
            sampled_bytes_out: 0,
            sampled_cpu_us: time::cpu_us(),
            bytes_out_rate: 0,
            idle_pct: 100,
            changed_servers: Vec::new(),
        }
    }

    /// When this worker started.
    pub fn started_ms(&self) -> u64 {
        self.started_ms
    }

    /// Takes the samples of the span since the last call.
    pub fn sample(&mut self, now_ms: u64, bytes_out: u64) {
        let span_ms = now_ms.saturating_sub(self.sampled_ms).max(1);
        let cpu_us = time::cpu_us();
        let busy_pct = cpu_us.saturating_sub(self.sampled_cpu_us) / 10 / span_ms;
        self.idle_pct = 100 - u32::try_from(busy_pct).unwrap_or(100).min(100);
        self.bytes_out_rate = bytes_out.saturating_sub(self.sampled_bytes_out) * 1000 / span_ms;
        (self.sampled_ms, self.sampled_bytes_out, self.sampled_cpu_us) =
            (now_ms, bytes_out, cpu_us);
    }

    /// What the stats socket may look at and change.
    pub fn context<'a>(
        &'a mut self,
        core: &'a mut Core,
        peers: &'a Peers,
        fronts: &'a [FrontListener],
        load: Load,
    ) -> Context<'a> {
        let process = &core.process;
        let (peers_active, peers_connected) = peers.session_counts();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let info = ProcessInfo {
            pid: std::process::id(),
            started: self.started,
            uptime_ms: core.now_ms.saturating_sub(self.started_ms),
            descriptors_max: self.descriptors_max,
            descriptors_needed: self.descriptors_needed,
            connections_max: core.connections_max,
            connections_max_hard: self.connections_max,
            connections: core.connections,
            connections_total: process.connections_total,
            requests_total: process.requests_total,
            connection_rate: (
                process.connection_rate.read(core.now_ms),
                process.connection_rate.max,
            ),
            rate_limits: self.rate_limits,
            session_rate: (
                process.session_rate.read(core.now_ms),
                process.session_rate.max,
            ),
            tasks: count(load.streams + load.stats_sessions),
            idle_pct: self.idle_pct,
            node: &self.node,
            description: self.description.as_deref(),
            stopping: load.stopping,
            jobs: core.connections + count(load.listeners + load.stats_sessions),
            listeners: count(load.listeners),
            peers_active: count(peers_active),
            peers_connected: count(peers_connected),
            logs_dropped: core.logger.dropped(),
            bytes_out: process.bytes_out,
            bytes_out_rate: self.bytes_out_rate,
        };
        Context {
            now_ms: core.now_ms,
            registry: &core.registry,
            timers: &mut core.timers,
            proxies: &mut core.proxies,
            tables: &mut core.tables,
            peers,
            fronts,
            stats_sockets: &self.stats_sockets,
            startup_log: &self.startup_log,
            tables_handed_over: load.handed_over,
            log: &mut core.logger,
            log_targets: &core.log_sets,
            info,
            connections_max: &mut core.connections_max,
            process_counters: &mut core.process,
            samples: &core.samples,
            scratch: &mut core.scratch,
            wall_ms: core
                .wall
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |since| since.as_millis() as u64),
            changed_servers: &mut self.changed_servers,
        }
    }
}
