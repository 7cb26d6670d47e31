//! What the worker knows of itself, for the stats socket and for metrics.
//!
//! Samples that need a span (bytes a second, idle time) are taken by the worker's housekeeping, about once a second. It is also how old
//! what metrics tell of the worker's load may be; the stats socket looks anew.

use super::Limits;
use crate::config::model::{Global, StatsSocket};
use crate::peers::Peers;
use crate::runtime::{ChangedServer, Context};
use crate::stats::{Counted, Vitals};
use crate::stream::{Core, FrontListener};
use crate::sys::{host, time};

/// Facts about the worker, and its samples.
pub struct Watch {
    started_ms: u64,
    stats_sockets: Vec<StatsSocket>,
    startup_log: String,
    sampled_ms: u64,
    sampled_bytes_out: u64,
    sampled_cpu_us: u64,
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
    /// A worker that starts now; what is known of it goes to where its streams find it, too.
    pub fn new(
        global: &Global,
        limits: &Limits,
        startup_log: String,
        now_ms: u64,
        vitals: &mut Vitals,
    ) -> Watch {
        vitals.descriptors_max = limits.descriptors_max;
        vitals.descriptors_needed = limits.descriptors_needed;
        vitals.connections_max_hard = limits.sessions_max;
        vitals.node = global
            .node
            .clone()
            .unwrap_or_else(|| host::name().unwrap_or_else(|_| "localhost".to_owned()));
        vitals.description = global.description.clone();
        vitals.rate_limits = (
            global.connection_rate_max.unwrap_or(0),
            global.session_rate_max.unwrap_or(0),
        );
        Watch {
            started_ms: now_ms,
            stats_sockets: global.stats_sockets.clone(),
            startup_log,
            sampled_ms: now_ms,
            sampled_bytes_out: 0,
            sampled_cpu_us: time::cpu_us(),
            changed_servers: Vec::new(),
        }
    }

    /// When this worker started.
    pub fn started_ms(&self) -> u64 {
        self.started_ms
    }

    /// Takes the samples of the span since the last call.
    pub fn sample(&mut self, core: &mut Core, peers: &Peers, load: &Load) {
        let (now_ms, bytes_out) = (core.now_ms, core.process.bytes_out);
        let span_ms = now_ms.saturating_sub(self.sampled_ms).max(1);
        let cpu_us = time::cpu_us();
        let busy_pct = cpu_us.saturating_sub(self.sampled_cpu_us) / 10 / span_ms;
        let vitals = &mut core.vitals;
        vitals.idle_pct = 100 - u32::try_from(busy_pct).unwrap_or(100).min(100);
        vitals.bytes_out_rate = bytes_out.saturating_sub(self.sampled_bytes_out) * 1000 / span_ms;
        note_load(vitals, peers, load);
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
        note_load(&mut core.vitals, peers, &load);
        let info = core.vitals.info(Counted {
            now_ms: core.now_ms,
            connections: core.connections,
            connections_max: core.connections_max,
            logs_dropped: core.logger.dropped(),
            process: &core.process,
        });
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

fn note_load(vitals: &mut Vitals, peers: &Peers, load: &Load) {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let (active, connected) = peers.session_counts();
    vitals.tasks = count(load.streams + load.stats_sessions);
    vitals.stopping = load.stopping;
    vitals.other_jobs = count(load.listeners + load.stats_sessions);
    vitals.listeners = count(load.listeners);
    vitals.peers_active = count(active);
    vitals.peers_connected = count(connected);
}
