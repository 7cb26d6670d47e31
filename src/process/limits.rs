//! All that can fill up, counted once from the configuration.
//!
//! Not here: setting the limits of the process (start), what happens when one is reached (its owner).

use std::fmt;

use crate::backend::invalid::Invalid;
use crate::config::Config;
use crate::config::model::{Mode, Proxy};
use crate::http::{Header, INSERTED_LINES_MAX};
use crate::net::pipe::PIPES_MAX;
use crate::peers::group::ANONYMOUS_MAX;
use crate::peers::link::{BUFFER_BYTES, LINGERING_MAX};
use crate::sample::regex;
use crate::stream::Exchange;

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
    /// Connections accepted in a second (`maxconnrate`).
    pub connection_rate_max: Option<u32>,
    /// Sessions begun in a second (`maxsessrate`).
    pub session_rate_max: Option<u32>,
    /// Updates sent to a peer in a turn (`tune.peers.max-updates-at-once`).
    pub peer_updates_per_turn_max: u32,
    /// Invalid messages that `show errors` keeps, of at most a buffer each: a request a frontend, a response a backend.
    pub invalid_messages_max: u32,
    /// The sum: bytes of the program, of tables and buffers, and what sessions, peers and checks need besides.
    pub memory_bytes_max: u64,
}

/// Descriptors of one session: the client's and the server's connection.
const DESCRIPTORS_PER_SESSION: u64 = 2;

/// Descriptors that every process has: standard input, output and error, the poll, the link to the master, signals, log
/// sockets of both families, and some for what is open for a moment; and the ten sessions of a master socket, each of which may ask the worker.
const DESCRIPTORS_BASE: u64 = 16 + 10;

/// Bytes of a session beside its exchange: its places in the slabs of streams, server connections and timers.
const SESSION_BYTES: u64 = 1024;

/// Bytes of the program itself, before any session and beside what the configuration takes: code in use, stacks and heap of master and
/// worker.
const PROGRAM_BYTES: u64 = 8 << 20;

/// What the configuration took when it was read (servers, lists in files) is there again in what is made of it, and where the
/// worker writes to what it has from the master.
const READ_COPIES: u64 = 2;

/// Bytes of a session of the stats socket: its input, a line, a payload and a piece of an answer, each of 16 KiB, the last two in memory that doubles as
/// it grows.
const STATS_SESSION_BYTES: u64 = 6 * 16_384;

/// Connections to a peers section of those who have not said a name yet, and of those who were refused.
const STRANGERS_MAX: usize = ANONYMOUS_MAX + LINGERING_MAX;

/// Bytes of a session with a peer beside its buffers: both dictionaries, and its places in the tables.
const PEER_SESSION_BYTES: u64 = 64 << 10;

/// Bytes of a server beside what the configuration takes: what the worker makes of it, counters above all (700, measured).
const SERVER_BYTES: u64 = 1024;

/// Bytes of a health check that is running, beside its buffer.
const CHECK_BYTES: u64 = 1024;

/// Longest request line that is kept for the log.
const LOGGED_LINE_BYTES: u64 = 1024;

/// `maxconn` where the descriptor limit leaves no room at all, as for HAProxy.
const SESSIONS_MIN: u64 = 100;

/// `maxconn` where neither the configuration nor the system sets a bound.
const SESSIONS_DEFAULT_MAX: u64 = 100_000;

impl Limits {
    /// Counts. `table_bytes` is the sum over all tables, `read_bytes` what the process took until the configuration was read;
    /// `descriptors_max` is the limit that the process can have.
    pub fn new(config: &Config, table_bytes: u64, read_bytes: u64, descriptors_max: u64) -> Limits {
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
        let strangers = config.peers.len() * STRANGERS_MAX;
        let targets = global.log.len()
            + config
                .proxies
                .iter()
                .map(|proxy| proxy.log.len())
                .sum::<usize>();
        let fixed = DESCRIPTORS_BASE
            + (listeners + checks + peer_connections + strangers + targets + config.tables.len())
                as u64
            + u64::from(global.stats_maxconn)
            + 2 * PIPES_MAX as u64;
        let fits = descriptors_max.saturating_sub(fixed) / DESCRIPTORS_PER_SESSION;
        let default = fits.clamp(SESSIONS_MIN, SESSIONS_DEFAULT_MAX);
        // What nobody asked for has to fit; what somebody asked for is checked by the caller.
        let sessions_max = match global.maxconn.filter(|max| *max > 0) {
            Some(max) if global.maxconn_given => max,
            Some(max) => max.min(default as u32),
            None => default as u32,
        };
        let buffers_max = sessions_max.saturating_mul(2);
        let invalid_messages_max = config
            .proxies
            .iter()
            .filter(|proxy| proxy.mode == Mode::Http)
            .map(|proxy| u32::from(proxy.kind.is_frontend()) + u32::from(proxy.kind.is_backend()))
            .sum::<u32>();
        let buffer_bytes = u64::from(global.buffer_bytes);
        let memory_bytes_max = PROGRAM_BYTES
            + READ_COPIES * read_bytes
            + regex::count() * regex::REGEX_BYTES
            + table_bytes
            + u64::from(invalid_messages_max) * (size_of::<Invalid>() as u64 + buffer_bytes)
            + u64::from(sessions_max) * session_bytes(config)
            + u64::from(global.stats_maxconn) * STATS_SESSION_BYTES
            + peers_memory_max(config.peers.len(), peer_connections)
            + servers_memory_max(config);
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
            connection_rate_max: global.connection_rate_max,
            session_rate_max: global.session_rate_max,
            peer_updates_per_turn_max: global.peer_updates_max,
            invalid_messages_max,
            memory_bytes_max,
        }
    }
}

/// Bytes of one session at most: two buffers, two heads with all that rules may add to them, what is captured of them, variables.
fn session_bytes(config: &Config) -> u64 {
    let global = &config.global;
    let buffer_bytes = u64::from(global.buffer_bytes);
    let head_lines = u64::from(global.headers_max) + INSERTED_LINES_MAX as u64;
    // Rules may fill what a head leaves of a buffer; without them only a few lines of our own are added.
    let has_rules = config.proxies.iter().any(|proxy| !proxy.rules.is_empty());
    let edited_bytes = match has_rules {
        true => global.buffer_bytes,
        false => global.rewrite_bytes,
    };
    let head_bytes = head_lines * size_of::<Header>() as u64 + u64::from(edited_bytes);
    let captured = config.proxies.iter().map(|proxy| {
        let slots = proxy
            .captures
            .request
            .iter()
            .chain(&proxy.captures.response);
        let cookie = proxy.captures.cookie.as_ref();
        let headers: u64 = slots.map(|(_, bytes)| u64::from(*bytes)).sum();
        // The cookie is captured of the request and of the response.
        headers + cookie.map_or(0, |(_, bytes)| 2 * u64::from(*bytes))
    });
    SESSION_BYTES
        + size_of::<Exchange>() as u64
        + LOGGED_LINE_BYTES
        + 2 * (head_bytes + buffer_bytes)
        + captured.max().unwrap_or(0)
        + config.samples.session_bytes_max(buffer_bytes)
}

/// Bytes of all servers and of their checks at most: one that only connects needs no buffer.
fn servers_memory_max(config: &Config) -> u64 {
    let of = |proxy: &Proxy| {
        let checked = proxy.servers.iter().filter(|server| server.check.is_some());
        let buffer_bytes = match proxy.http_check {
            Some(_) => u64::from(config.global.buffer_bytes),
            None => 0,
        };
        proxy.servers.len() as u64 * SERVER_BYTES
            + checked.count() as u64 * (CHECK_BYTES + buffer_bytes)
    };
    config.proxies.iter().map(of).sum()
}

/// Bytes of all connections of peers at most: those of members, and those of strangers.
fn peers_memory_max(sections: usize, connections: usize) -> u64 {
    let buffers = 2 * connections + sections * STRANGERS_MAX;
    buffers as u64 * BUFFER_BYTES as u64 + connections as u64 * PEER_SESSION_BYTES
}

/// The line that is said at start.
impl fmt::Display for Limits {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "limits: {} sessions, {} of {} descriptors, {} buffers of {} bytes, {} invalid messages, {} table entries in {}, at most {} of memory",
            self.sessions_max,
            self.descriptors_needed,
            self.descriptors_max,
            self.buffers_max,
            self.buffer_bytes,
            self.invalid_messages_max,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ParseOptions, SourceFile, parse};

    fn limits(global: &str, descriptors_max: u64) -> Limits {
        let text = format!(
            "global\n{global}\ndefaults\n mode http\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n\
             frontend f\n bind 127.0.0.1:80\n default_backend b\n\
             backend b\n server one 127.0.0.1:81 check\n server two 127.0.0.1:82\n"
        );
        let file = SourceFile {
            name: "test".to_string(),
            text: text.into_bytes(),
        };
        let (config, diags) = parse(&[file], &ParseOptions::default());
        Limits::new(
            &config.unwrap_or_else(|| panic!("{diags:?}")),
            1000,
            0,
            descriptors_max,
        )
    }

    #[test]
    fn what_was_asked_for_is_counted_and_what_was_not_fits() {
        let asked = limits(" maxconn 20000\n stats maxconn 5", 100);
        // A listener, a check, five stats sessions, what every process has, and both ends of 32 pipes.
        assert_eq!(asked.descriptors_needed, 40_000 + 26 + 1 + 1 + 5 + 64);
        assert_eq!((asked.sessions_max, asked.checks_max), (20_000, 1));
        let fitting = limits("", 10_000);
        assert!(fitting.descriptors_needed <= 10_000, "{fitting:?}");
        assert!(fitting.descriptors_needed > 9_990, "{fitting:?}");
    }

    #[test]
    fn memory_counts_variables_peers_and_checks() {
        let bytes = |global: &str| limits(&format!(" maxconn 100\n{global}"), 1000);
        let none = bytes("").memory_bytes_max;
        let stats = bytes(" stats maxconn 11").memory_bytes_max;
        assert_eq!(stats - none, STATS_SESSION_BYTES);
        let rules = |limit: &str| {
            let line = format!(
                "{limit}\ndefaults d\n mode http\nfrontend g\n mode http\n bind 127.0.0.1:82\n timeout client 1s\n \
                 http-request set-var(txn.a) path\n http-request set-var(req.b) path"
            );
            bytes(&line).memory_bytes_max
        };
        let (free, bounded) = (rules(""), rules(" tune.vars.txn-max-size 1000"));
        assert_eq!(free - bounded, 100 * (16_384 - 1000));
        let checked = |option: &str| {
            let line = format!(
                "backend c\n mode http\n timeout server 1s\n timeout connect 1s\n{option}\n server s 127.0.0.1:83 check"
            );
            bytes(&line).memory_bytes_max
        };
        assert_eq!(checked(" option httpchk") - checked(""), 16_384);
        let peers = |members: &str| bytes(&format!("peers p\n{members}")).memory_bytes_max;
        let (one, two) = (
            peers(" peer a 127.0.0.1:90"),
            peers(" peer a 127.0.0.1:90\n peer b 127.0.0.1:91"),
        );
        // Two connections with two buffers each.
        assert_eq!(two - one, 4 * BUFFER_BYTES as u64 + 2 * PEER_SESSION_BYTES);
        // The listener, both connections of the member, and those of strangers.
        let section = bytes("peers p\n peer a 127.0.0.1:90").descriptors_needed;
        let without = bytes("").descriptors_needed;
        assert_eq!(section - without, 3 + STRANGERS_MAX as u64);
    }

    #[test]
    fn memory_is_bounded_by_sessions_buffers_and_tables() {
        let small = limits(" maxconn 100\n tune.bufsize 8192", 1000);
        let large = limits(" maxconn 100\n tune.bufsize 16384", 1000);
        let none = limits(" maxconn 1\n tune.bufsize 8192", 1000);
        // Two a session, and the invalid request and response of one frontend and one backend.
        assert_eq!(small.invalid_messages_max, 2);
        assert_eq!(large.memory_bytes_max - small.memory_bytes_max, 202 * 8192);
        assert!(none.memory_bytes_max > 1000 + 2 * 8192);
        assert!(small.memory_bytes_max < 100 * none.memory_bytes_max);
        assert!(none.memory_bytes_max > PROGRAM_BYTES);
    }
}
