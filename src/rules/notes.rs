//! What rules note about a stream for later: the stream looks at it when it logs, connects or waits.

/// `set-log-level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// As the configuration has it.
    #[default]
    Unchanged,
    /// No line is written.
    Silent,
    /// A syslog severity, 0 (emerg) to 7 (debug).
    Level(u8),
}

/// `wait-for-body`: the message's body is to be waited for before the rules go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyWait {
    /// For how long.
    pub time_ms: u64,
    /// So many bytes of data are enough; 0: all that fit.
    pub at_least: u64,
}

/// What the rules of one request (or one TCP stream) have noted. A new request starts with none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Notes {
    /// `expect-proxy layer4`: the connection begins with a PROXY header.
    pub expects_header: bool,
    /// `set-log-level`.
    pub log_level: LogLevel,
    /// `strict-mode off`: a rewrite that fails is skipped instead of ending the request.
    pub is_lenient: bool,
    /// Rewrites that failed and were not counted yet.
    pub rewrites_failed: u32,
    /// An early hint has begun, and the next rule goes on with it.
    pub is_hinting: bool,
    /// Bytes of early hints, as the log counts them.
    pub hint_bytes: u64,
    /// `set-timeout server`, milliseconds.
    pub server_timeout_ms: Option<u64>,
    /// `set-timeout tunnel`, milliseconds.
    pub tunnel_timeout_ms: Option<u64>,
    /// `disable-l7-retry`.
    pub no_retry: bool,
    /// `wait-for-body`, which has yielded.
    pub body_wait: Option<BodyWait>,
    /// The wait is over: the rule that yielded goes on.
    pub has_waited: bool,
    /// `set-priority-class`, in its range. Lower goes first.
    pub priority_class: i16,
    /// `set-priority-offset`, milliseconds, in its range.
    pub priority_offset_ms: i32,
    /// Counters, a bit each, that a rule began to track before the request is told to them.
    pub untold_counters: u16,
    /// The number of the last rule that ended a set; 0 before.
    pub last_rule: u32,
}

impl Notes {
    /// A rule has ended its set.
    pub(super) fn note_last(&mut self, number: u32) {
        if number > 0 {
            self.last_rule = number;
        }
    }
}
