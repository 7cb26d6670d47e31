//! The metrics of the process, in HAProxy's order; zero where HAProxy counts what is not there.

use super::metrics::{Metric, NONE, Number, count};
use crate::stats::ProcessInfo;

/// Of the process.
type OfProcess = fn(&ProcessInfo<'_>) -> Number;

const fn process(name: &'static str, help: &'static str, value: OfProcess) -> Metric<OfProcess> {
    Metric {
        name,
        code: None,
        help,
        value,
    }
}

pub(super) static PROCESS: &[Metric<OfProcess>] = &[
    process(
        "nbthread",
        "Number of started threads (global.nbthread)",
        |_| count(1_u32),
    ),
    process(
        "nbproc",
        "Number of started worker processes (historical, always 1)",
        |_| count(1_u32),
    ),
    process(
        "relative_process_id",
        "Relative worker process number (1)",
        |_| count(1_u32),
    ),
    process(
        "uptime_seconds",
        "How long ago this worker process was started (seconds)",
        |info| count(info.uptime_ms / 1000),
    ),
    process(
        "pool_failures_total",
        "Number of failed pool allocations since this worker was started",
        |_| NONE,
    ),
    process(
        "max_fds",
        "Hard limit on the number of per-process file descriptors",
        |info| count(info.descriptors_max),
    ),
    process(
        "max_sockets",
        "Hard limit on the number of per-process sockets",
        |info| count(info.descriptors_needed),
    ),
    process(
        "max_connections",
        "Hard limit on the number of per-process connections (configured or imposed by Ulimit-n)",
        |info| count(info.connections_max),
    ),
    process(
        "hard_max_connections",
        "Hard limit on the number of per-process connections (imposed by Memmax_MB or Ulimit-n)",
        |info| count(info.connections_max_hard),
    ),
    process(
        "current_connections",
        "Current number of connections on this worker process",
        |info| count(info.connections),
    ),
    process(
        "connections_total",
        "Total number of connections on this worker process since started",
        |info| count(info.connections_total),
    ),
    process(
        "requests_total",
        "Total number of requests on this worker process since started",
        |info| count(info.requests_total),
    ),
    process(
        "max_ssl_connections",
        "Hard limit on the number of per-process SSL endpoints (front+back), 0=unlimited",
        |_| NONE,
    ),
    process(
        "current_ssl_connections",
        "Current number of SSL endpoints on this worker process (front+back)",
        |_| NONE,
    ),
    process(
        "ssl_connections_total",
        "Total number of SSL endpoints on this worker process since started (front+back)",
        |_| NONE,
    ),
    process(
        "max_pipes",
        "Hard limit on the number of pipes for splicing, 0=unlimited",
        |_| NONE,
    ),
    process(
        "pipes_used_total",
        "Current number of pipes in use in this worker process",
        |_| NONE,
    ),
    process(
        "pipes_free_total",
        "Current number of allocated and available pipes in this worker process",
        |_| NONE,
    ),
    process(
        "current_connection_rate",
        "Number of front connections created on this worker process over the last second",
        |info| count(info.connection_rate.0),
    ),
    process(
        "limit_connection_rate",
        "Hard limit for ConnRate (global.maxconnrate)",
        |info| count(info.rate_limits.0),
    ),
    process(
        "max_connection_rate",
        "Highest ConnRate reached on this worker process since started (in connections per second)",
        |info| count(info.connection_rate.1),
    ),
    process(
        "current_session_rate",
        "Number of sessions created on this worker process over the last second",
        |info| count(info.session_rate.0),
    ),
    process(
        "limit_session_rate",
        "Hard limit for SessRate (global.maxsessrate)",
        |info| count(info.rate_limits.1),
    ),
    process(
        "max_session_rate",
        "Highest SessRate reached on this worker process since started (in sessions per second)",
        |info| count(info.session_rate.1),
    ),
    process(
        "current_ssl_rate",
        "Number of SSL connections created on this worker process over the last second",
        |_| NONE,
    ),
    process(
        "limit_ssl_rate",
        "Hard limit for SslRate (global.maxsslrate)",
        |_| NONE,
    ),
    process(
        "max_ssl_rate",
        "Highest SslRate reached on this worker process since started (in connections per second)",
        |_| NONE,
    ),
    process(
        "current_frontend_ssl_key_rate",
        "Number of SSL keys created on frontends in this worker process over the last second",
        |_| NONE,
    ),
    process(
        "max_frontend_ssl_key_rate",
        "Highest SslFrontendKeyRate reached on this worker process since started (in SSL keys per second)",
        |_| NONE,
    ),
    process(
        "frontend_ssl_reuse",
        "Percent of frontend SSL connections which did not require a new key",
        |_| NONE,
    ),
    process(
        "current_backend_ssl_key_rate",
        "Number of SSL keys created on backends in this worker process over the last second",
        |_| NONE,
    ),
    process(
        "max_backend_ssl_key_rate",
        "Highest SslBackendKeyRate reached on this worker process since started (in SSL keys per second)",
        |_| NONE,
    ),
    process(
        "ssl_cache_lookups_total",
        "Total number of SSL session ID lookups in the SSL session cache on this worker since started",
        |_| NONE,
    ),
    process(
        "ssl_cache_misses_total",
        "Total number of SSL session ID lookups that didn't find a session in the SSL session cache on this worker since started",
        |_| NONE,
    ),
    process(
        "http_comp_bytes_in_total",
        "Number of bytes submitted to the HTTP compressor in this worker process over the last second",
        |_| NONE,
    ),
    process(
        "http_comp_bytes_out_total",
        "Number of bytes emitted by the HTTP compressor in this worker process over the last second",
        |_| NONE,
    ),
    process(
        "limit_http_comp",
        "Limit of CompressBpsOut beyond which HTTP compression is automatically disabled",
        |_| NONE,
    ),
    process(
        "current_zlib_memory",
        "Amount of memory currently used by HTTP compression on the current worker process (in bytes)",
        |_| Number::Nan,
    ),
    process(
        "max_zlib_memory",
        "Limit on the amount of memory used by HTTP compression above which it is automatically disabled (in bytes, see global.maxzlibmem)",
        |_| Number::Nan,
    ),
    process(
        "current_tasks",
        "Total number of tasks in the current worker process (active + sleeping)",
        |info| count(info.tasks),
    ),
    process(
        "current_run_queue",
        "Total number of active tasks+tasklets in the current worker process",
        |_| NONE,
    ),
    process(
        "idle_time_percent",
        "Percentage of last second spent waiting in the current worker thread",
        |info| count(info.idle_pct),
    ),
    process(
        "stopping",
        "1 if the worker process is currently stopping, otherwise zero",
        |info| count(info.stopping),
    ),
    process(
        "jobs",
        "Current number of active jobs on the current worker process (frontend connections, master connections, listeners)",
        |info| count(info.jobs),
    ),
    process(
        "unstoppable_jobs",
        "Current number of unstoppable jobs on the current worker process (master connections)",
        |_| NONE,
    ),
    process(
        "listeners",
        "Current number of active listeners on the current worker process",
        |info| count(info.listeners),
    ),
    process(
        "active_peers",
        "Current number of verified active peers connections on the current worker process",
        |info| count(info.peers_active),
    ),
    process(
        "connected_peers",
        "Current number of peers having passed the connection step on the current worker process",
        |info| count(info.peers_connected),
    ),
    process(
        "dropped_logs_total",
        "Total number of dropped logs for current worker process since started",
        |info| count(info.logs_dropped),
    ),
    process(
        "busy_polling_enabled",
        "1 if busy-polling is currently in use on the worker process, otherwise zero (config.busy-polling)",
        |_| NONE,
    ),
    process(
        "failed_resolutions",
        "Total number of failed DNS resolutions in current worker process since started",
        |_| NONE,
    ),
    process(
        "bytes_out_total",
        "Total number of bytes emitted by current worker process since started",
        |info| count(info.bytes_out),
    ),
    process(
        "spliced_bytes_out_total",
        "Total number of bytes emitted by current worker process through a kernel pipe since started",
        |_| NONE,
    ),
    process(
        "bytes_out_rate",
        "Number of bytes emitted by current worker process over the last second",
        |info| count(info.bytes_out_rate),
    ),
    process(
        "recv_logs_total",
        "Total number of log messages received by log-forwarding listeners on this worker process since started",
        |_| NONE,
    ),
    process("build_info", "Build info", |_| count(1_u32)),
    process(
        "max_memory_bytes",
        "Worker process's hard limit on memory usage in byes (-m on command line)",
        |_| NONE,
    ),
    process(
        "pool_allocated_bytes",
        "Amount of memory allocated in pools (in bytes)",
        |_| NONE,
    ),
    process(
        "pool_used_bytes",
        "Amount of pool memory currently used (in bytes)",
        |_| NONE,
    ),
    process("start_time_seconds", "Start time in seconds", |info| {
        count(info.started_secs())
    }),
];
