//! `show info`: what the process says of itself (management manual, section 9.3).

use std::time::{SystemTime, UNIX_EPOCH};

use super::row::{Form, Text, Value, write_json_value, write_plain_value, write_typed_value};
use crate::backend::counters::ProcessCounters;
use std::fmt::Write as _;

/// The name and version that `show info` and `show version` report. Tools that speak HAProxy's language look for the
/// fields, not for the product.
pub const PRODUCT: &str = "burdock";

/// Our version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What the worker knows of the process.
#[derive(Clone, Debug)]
pub struct ProcessInfo<'a> {
    /// Process id of the worker.
    pub pid: u32,
    /// When the worker started, on the wall clock.
    pub started: SystemTime,
    /// How long it has run.
    pub uptime_ms: u64,
    /// Limit of descriptors.
    pub descriptors_max: u64,
    /// Descriptors that may be needed.
    pub descriptors_needed: u64,
    /// Client connections that are accepted at once.
    pub connections_max: u32,
    /// The highest value that `set maxconn global` may give it.
    pub connections_max_hard: u32,
    /// Client connections now, those of stats sockets excluded.
    pub connections: u32,
    /// Connections accepted so far.
    pub connections_total: u64,
    /// HTTP requests so far.
    pub requests_total: u64,
    /// Connections accepted in the last second, and most of them in any second.
    pub connection_rate: (u32, u32),
    /// `maxconnrate` and `maxsessrate`; 0: none.
    pub rate_limits: (u32, u32),
    /// The same of sessions.
    pub session_rate: (u32, u32),
    /// Streams and other things that have a timer or wait for events.
    pub tasks: u32,
    /// Percentage of time spent waiting for events.
    pub idle_pct: u32,
    /// `node`.
    pub node: &'a str,
    /// `description`.
    pub description: Option<&'a str>,
    /// A soft stop is under way.
    pub stopping: bool,
    /// Connections, listeners and other things that keep the worker from ending.
    pub jobs: u32,
    /// Listening sockets, those of stats sockets and peers included.
    pub listeners: u32,
    /// Peers with which a session is established.
    pub peers_active: u32,
    /// Peers with which there is a connection.
    pub peers_connected: u32,
    /// Log lines that were dropped.
    pub logs_dropped: u64,
    /// Bytes sent to clients.
    pub bytes_out: u64,
    /// Bytes sent to clients in the last second.
    pub bytes_out_rate: u64,
}

impl ProcessInfo<'_> {
    /// When the worker started, seconds since the epoch.
    pub fn started_secs(&self) -> u64 {
        let since = self.started.duration_since(UNIX_EPOCH);
        since.unwrap_or_default().as_secs()
    }
}

/// What is known of the process beside its counters: facts of its start, and samples of about once a second.
#[derive(Clone, Debug)]
pub struct Vitals {
    /// When the worker started, on the wall clock and on the monotonic one.
    pub started: (SystemTime, u64),
    /// See [`ProcessInfo`].
    pub descriptors_max: u64,
    /// See [`ProcessInfo`].
    pub descriptors_needed: u64,
    /// See [`ProcessInfo`].
    pub connections_max_hard: u32,
    /// See [`ProcessInfo`].
    pub node: String,
    /// See [`ProcessInfo`].
    pub description: Option<String>,
    /// See [`ProcessInfo`].
    pub rate_limits: (u32, u32),
    /// Sampled.
    pub tasks: u32,
    /// Sampled.
    pub idle_pct: u32,
    /// Sampled.
    pub stopping: bool,
    /// Sampled: what keeps the worker from ending, without client connections.
    pub other_jobs: u32,
    /// Sampled.
    pub listeners: u32,
    /// Sampled.
    pub peers_active: u32,
    /// Sampled.
    pub peers_connected: u32,
    /// Sampled.
    pub bytes_out_rate: u64,
}

/// What is counted all the time, and now.
#[derive(Clone, Copy, Debug)]
pub struct Counted<'a> {
    /// The monotonic clock.
    pub now_ms: u64,
    /// See [`ProcessInfo`].
    pub connections: u32,
    /// See [`ProcessInfo`].
    pub connections_max: u32,
    /// See [`ProcessInfo`].
    pub logs_dropped: u64,
    /// The counters.
    pub process: &'a ProcessCounters,
}

impl Vitals {
    /// Of a worker that starts now, and of which nothing else is known.
    pub fn new(started: SystemTime, now_ms: u64) -> Vitals {
        Vitals {
            started: (started, now_ms),
            descriptors_max: 0,
            descriptors_needed: 0,
            connections_max_hard: 0,
            node: String::new(),
            description: None,
            rate_limits: (0, 0),
            tasks: 0,
            idle_pct: 100,
            stopping: false,
            other_jobs: 0,
            listeners: 0,
            peers_active: 0,
            peers_connected: 0,
            bytes_out_rate: 0,
        }
    }

    /// All that is shown of the process.
    pub fn info(&self, counted: Counted<'_>) -> ProcessInfo<'_> {
        let Counted {
            now_ms, process, ..
        } = counted;
        ProcessInfo {
            pid: std::process::id(),
            started: self.started.0,
            uptime_ms: now_ms.saturating_sub(self.started.1),
            descriptors_max: self.descriptors_max,
            descriptors_needed: self.descriptors_needed,
            connections_max: counted.connections_max,
            connections_max_hard: self.connections_max_hard,
            connections: counted.connections,
            connections_total: process.connections_total,
            requests_total: process.requests_total,
            connection_rate: (
                process.connection_rate.read(now_ms),
                process.connection_rate.max,
            ),
            session_rate: (process.session_rate.read(now_ms), process.session_rate.max),
            rate_limits: self.rate_limits,
            tasks: self.tasks,
            idle_pct: self.idle_pct,
            node: &self.node,
            description: self.description.as_deref(),
            stopping: self.stopping,
            jobs: counted.connections + self.other_jobs,
            listeners: self.listeners,
            peers_active: self.peers_active,
            peers_connected: self.peers_connected,
            logs_dropped: counted.logs_dropped,
            bytes_out: process.bytes_out,
            bytes_out_rate: self.bytes_out_rate,
        }
    }
}

/// Layout of `show info`. `Form::Csv` stands for the plain `name: value`.
#[derive(Clone, Copy, Debug, Default)]
pub struct InfoStyle {
    /// Layout.
    pub form: Form,
    /// Times and rates with a fraction where they have one (`float`).
    pub fractions: bool,
}

/// Appends the whole text of `show info`.
pub fn write(out: &mut Vec<u8>, style: InfoStyle, info: &ProcessInfo<'_>) {
    let mut lines = Lines {
        out,
        style,
        next: 0,
        empty: true,
    };
    if style.form == Form::Json {
        lines.out.push(b'[');
    }
    write_product(&mut lines, info);
    write_load(&mut lines, info);
    write_rest(&mut lines, info);
    if style.form == Form::Json {
        lines.out.extend_from_slice(b"]\n");
    }
}

fn write_product(lines: &mut Lines<'_>, info: &ProcessInfo<'_>) {
    lines.put("Name", b"POS", Value::Text(PRODUCT));
    lines.put("Version", b"POS", Value::Text(VERSION));
    lines.put("Release_date", b"POS", Value::Text(RELEASE_DATE));
    lines.put("Nbthread", b"CGS", Value::U32(1));
    lines.put("Nbproc", b"CGS", Value::U32(1));
    lines.put("Process_num", b"KGP", Value::U32(1));
    lines.put("Pid", b"SGP", Value::U32(info.pid));
    let secs = info.uptime_ms / 1000;
    let uptime = format!(
        "{}d {}h{:02}m{:02}s",
        secs / 86_400,
        secs / 3600 % 24,
        secs / 60 % 60,
        secs % 60
    );
    lines.put("Uptime", b"MDP", Value::Text(&uptime));
    if lines.style.fractions {
        let fraction = format!("{secs}.{:06}", info.uptime_ms % 1000 * 1000);
        lines.put("Uptime_sec", b"MDP", Value::Text(&fraction));
    } else {
        lines.put("Uptime_sec", b"MDP", Value::U32(clamp(secs)));
    }
}

/// Memory in pools, TLS and compression do not exist here; their fields do, for those who expect them.
fn write_load(lines: &mut Lines<'_>, info: &ProcessInfo<'_>) {
    lines.put("Memmax_MB", b"CLP", Value::U32(0));
    lines.put("PoolAlloc_MB", b"MGP", Value::U32(0));
    lines.put("PoolUsed_MB", b"MGP", Value::U32(0));
    lines.put("PoolFailed", b"MCP", Value::U32(0));
    lines.put("Ulimit-n", b"CLP", Value::U32(clamp(info.descriptors_max)));
    lines.put(
        "Maxsock",
        b"CLP",
        Value::U32(clamp(info.descriptors_needed)),
    );
    lines.put("Maxconn", b"CLP", Value::U32(info.connections_max));
    lines.put(
        "Hard_maxconn",
        b"CLP",
        Value::U32(info.connections_max_hard),
    );
    lines.put("CurrConns", b"MGP", Value::U32(info.connections));
    lines.put("CumConns", b"MCP", Value::U32(wrap(info.connections_total)));
    lines.put("CumReq", b"MCP", Value::U32(wrap(info.requests_total)));
    lines.put("MaxSslConns", b"MMP", Value::U32(0));
    lines.put("CurrSslConns", b"MGP", Value::U32(0));
    lines.put("CumSslConns", b"MCP", Value::U32(0));
    lines.put("Maxpipes", b"CLP", Value::U32(0));
    lines.put("PipesUsed", b"MGP", Value::U32(0));
    lines.put("PipesFree", b"MGP", Value::U32(0));
    lines.put("ConnRate", b"MRP", Value::U32(info.connection_rate.0));
    lines.put("ConnRateLimit", b"CLP", Value::U32(info.rate_limits.0));
    lines.put("MaxConnRate", b"MMP", Value::U32(info.connection_rate.1));
    lines.put("SessRate", b"MRP", Value::U32(info.session_rate.0));
    lines.put("SessRateLimit", b"CLP", Value::U32(info.rate_limits.1));
    lines.put("MaxSessRate", b"MRP", Value::U32(info.session_rate.1));
    lines.put("SslRate", b"MRP", Value::U32(0));
    lines.put("SslRateLimit", b"CLP", Value::U32(0));
    lines.put("MaxSslRate", b"MMP", Value::U32(0));
    lines.put("SslFrontendKeyRate", b"MGP", Value::U32(0));
    lines.put("SslFrontendMaxKeyRate", b"MMP", Value::U32(0));
    lines.put("SslFrontendSessionReuse_pct", b"MGP", Value::U32(0));
    lines.put("SslBackendKeyRate", b"MRP", Value::U32(0));
    lines.put("SslBackendMaxKeyRate", b"MMP", Value::U32(0));
    lines.put("SslCacheLookups", b"MCP", Value::U32(0));
    lines.put("SslCacheMisses", b"MCP", Value::U32(0));
    lines.put("CompressBpsIn", b"MRP", Value::U32(0));
    lines.put("CompressBpsOut", b"MRP", Value::U32(0));
    lines.put("CompressBpsRateLim", b"CLP", Value::U32(0));
}

fn write_rest(lines: &mut Lines<'_>, info: &ProcessInfo<'_>) {
    // Two positions of the typed forms belong to zlib's memory, which no build without zlib shows.
    lines.next += 2;
    lines.put("Tasks", b"MGP", Value::U32(info.tasks));
    lines.put("Run_queue", b"MGP", Value::U32(0));
    lines.put("Idle_pct", b"MaP", Value::U32(info.idle_pct));
    lines.put("node", b"COS", Value::Text(info.node));
    match info.description {
        Some(description) => lines.put("description", b"COS", Value::Text(description)),
        None => lines.next += 1,
    }
    lines.put("Stopping", b"MGP", Value::U32(u32::from(info.stopping)));
    lines.put("Jobs", b"MGP", Value::U32(info.jobs));
    lines.put("Unstoppable Jobs", b"MGP", Value::U32(0));
    lines.put("Listeners", b"MGP", Value::U32(info.listeners));
    lines.put("ActivePeers", b"MGP", Value::U32(info.peers_active));
    lines.put("ConnectedPeers", b"MGP", Value::U32(info.peers_connected));
    lines.put("DroppedLogs", b"MGP", Value::U32(wrap(info.logs_dropped)));
    lines.put("BusyPolling", b"MGP", Value::U32(0));
    lines.put("FailedResolutions", b"MGP", Value::U32(0));
    lines.put("TotalBytesOut", b"MGP", Value::U64(info.bytes_out));
    lines.put("TotalSplicdedBytesOut", b"MGP", Value::U64(0));
    lines.put("BytesOutRate", b"MRP", Value::U64(info.bytes_out_rate));
    lines.put("DebugCommandsIssued", b"MGP", Value::U32(0));
    lines.put("CumRecvLogs", b"MCP", Value::U32(0));
    lines.put("Build info", b"POS", Value::Text(VERSION));
    lines.put("Memmax_bytes", b"CLP", Value::U32(0));
    lines.put("PoolAlloc_bytes", b"MGP", Value::U64(0));
    lines.put("PoolUsed_bytes", b"MGP", Value::U64(0));
    lines.put(
        "Start_time_sec",
        b"MDP",
        Value::U32(clamp(info.started_secs())),
    );
    lines.put("Tainted", b"SGP", Value::Text("0"));
}

/// Date of the release, as `show info` reports it.
const RELEASE_DATE: &str = "2026/11/22";

/// The lines of `show info`, written one by one.
struct Lines<'a> {
    out: &'a mut Vec<u8>,
    style: InfoStyle,
    /// Position of the next field in the typed forms.
    next: usize,
    empty: bool,
}

impl Lines<'_> {
    fn put(&mut self, name: &str, tag: &[u8; 3], value: Value<'_>) {
        match self.style.form {
            Form::Csv => {
                let _ = write!(Text(self.out), "{name}: ");
                write_plain_value(self.out, value);
                self.out.push(b'\n');
            }
            Form::Typed => {
                let _ = write!(Text(self.out), "{}.{name}.1:", self.next);
                write_typed_value(self.out, *tag, value);
            }
            Form::Json => {
                self.out
                    .extend_from_slice(if self.empty { b"{" } else { b",{" });
                write_json_value(self.out, self.next, name, *tag, value);
            }
        }
        self.next += 1;
        self.empty = false;
    }
}

fn clamp(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Counters of 32 bits wrap around, as HAProxy's do.
fn wrap(number: u64) -> u32 {
    number as u32
}
