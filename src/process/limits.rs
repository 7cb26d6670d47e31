//! All that can fill up, counted once from the configuration.
//!
//! Not here: setting the limits of the process (start), what happens when one is reached (its owner).

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
