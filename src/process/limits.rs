//! All that can fill up, counted once from the configuration.
//!
//! Not here: setting the limits of the process (start), what happens when one is reached (its owner).

use std::fmt;

use crate::config::Config;

/// What can fill up, and how far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections: `-n`, `maxconn` of `global`, or what the descriptor limit allows.
    pub sessions_max: u32,
    /// Descriptors that `sessions_max` sessions and everything else may have open (`Maxsock` of `show info`).
    pub descriptors_needed: u64,
    /// The limit of descriptors in force (`Ulimit-n` of `show info`).
    pub descriptors_max: u64,
    /// Bytes of one buffer (`tune.bufsize`).
    pub buffer_bytes: u32,
    /// Buffers that may be in use at once: two a session, one each way.
    pub buffers_max: u32,
    /// Header lines of a message (`tune.http.maxhdr`).
    pub headers_max: u32,
    /// Entries of all stick tables.
    pub table_entries_max: u64,
    /// Bytes of all stick tables when they are full.
    pub table_bytes: u64,
    /// Stats socket sessions (`stats maxconn`).
    pub stats_sessions_max: u32,
    /// Connections with peers, both ways.
    pub peer_connections_max: u32,
    /// Health checks that may run at once: one a checked server.
    pub checks_max: u32,
    /// Connections accepted in a turn for one listener (`tune.maxaccept`).
    pub accepts_per_turn_max: u32,
    /// Updates sent to a peer in a turn (`tune.peers.max-updates-at-once`).
    pub peer_updates_per_turn_max: u32,
    /// The sum: bytes of tables and buffers and what sessions need besides.
    pub memory_bytes_max: u64,
}

/// Descriptors of one session: the client's and the server's connection.
const DESCRIPTORS_PER_SESSION: u64 = 2;

/// Descriptors that every process has: standard input, output and error, the poll, the link to the master, signals, log
/// sockets of both families, and some for what is open for a moment.
const DESCRIPTORS_BASE: u64 = 16;

/// Bytes of a session without its buffers: its state, two connections, timers, what a log line needs.
const SESSION_BYTES: u64 = 2048;

/// `maxconn` where the descriptor limit leaves no room at all, as for HAProxy.
const SESSIONS_MIN: u64 = 100;

/// `maxconn` where neither the configuration nor the system sets a bound.
const SESSIONS_DEFAULT_MAX: u64 = 100_000;

impl Limits {
    /// Counts. `table_bytes` is the sum over all tables; `descriptors_max` is the limit that the process can have.
    pub fn new(config: &Config, table_bytes: u64, descriptors_max: u64) -> Limits {
        let global = &config.global;
        let binds = config
            .proxies
            .iter()
            .map(|proxy| proxy.binds.len())
            .sum::<usize>();
        let listeners = binds + global.stats_sockets.len() + config.peers.len();
        let servers = config.proxies.iter().flat_map(|proxy| &proxy.servers);
        let checks = servers.filter(|server| server.check.is_some()).count();
        let members = config
            .peers
            .iter()
            .map(|section| section.members.len())
            .sum::<usize>();
        // A peer may dial us while we dial it; the one that loses is closed at once.
        let peer_connections = members * 2;
        let targets = global.log.len()
            + config
                .proxies
                .iter()
                .map(|proxy| proxy.log.len())
                .sum::<usize>();
        let fixed = DESCRIPTORS_BASE
            + (listeners + checks + peer_connections + targets + config.tables.len()) as u64
            + u64::from(global.stats_maxconn);
        let fits = descriptors_max.saturating_sub(fixed) / DESCRIPTORS_PER_SESSION;
        let default = fits.clamp(SESSIONS_MIN, SESSIONS_DEFAULT_MAX);
        // What nobody asked for has to fit; what somebody asked for is checked by the caller.
        let sessions_max = match global.maxconn.filter(|max| *max > 0) {
            Some(max) if global.maxconn_given => max,
            Some(max) => max.min(default as u32),
            None => default as u32,
        };
        let buffers_max = sessions_max.saturating_mul(2);
        let session_bytes = SESSION_BYTES + 2 * u64::from(global.buffer_bytes);
        Limits {
            sessions_max,
            descriptors_needed: fixed + DESCRIPTORS_PER_SESSION * u64::from(sessions_max),
            descriptors_max,
            buffer_bytes: global.buffer_bytes,
            buffers_max,
            headers_max: global.headers_max,
            table_entries_max: config
                .tables
                .iter()
                .map(|table| u64::from(table.size))
                .sum(),
            table_bytes,
            stats_sessions_max: global.stats_maxconn,
            peer_connections_max: peer_connections as u32,
            checks_max: checks as u32,
            accepts_per_turn_max: global.accepts_per_turn_max,
            peer_updates_per_turn_max: global.peer_updates_max,
            memory_bytes_max: table_bytes + u64::from(sessions_max) * session_bytes,
        }
    }
}

/// The line that is said at start.
impl fmt::Display for Limits {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "limits: {} sessions, {} of {} descriptors, {} buffers of {} bytes, {} table entries in {}, at most {} of memory",
            self.sessions_max,
            self.descriptors_needed,
            self.descriptors_max,
            self.buffers_max,
            self.buffer_bytes,
            self.table_entries_max,
            Bytes(self.table_bytes),
            Bytes(self.memory_bytes_max),
        )
    }
}

/// A number of bytes as a person reads it.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        const KIB: u64 = 1024;
        const MIB: u64 = KIB * KIB;
        match self.0 {
            bytes @ 0..KIB => write!(out, "{bytes} bytes"),
            bytes @ KIB..MIB => write!(out, "{} KiB", bytes.div_ceil(KIB)),
            bytes => write!(out, "{} MiB", bytes.div_ceil(MIB)),
        }
    }
}
