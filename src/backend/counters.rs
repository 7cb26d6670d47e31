//! Counters of frontends, listeners, backends and servers: what `show stat` shows (management manual, section 9.1).
//!
//! Plain numbers, written by the stream and the checks, read by `stats/`.

/// Events a second over a sliding second: the present second's, and the last one's in proportion.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rate {
    second: u64,
    current: u32,
    previous: u32,
    /// Highest rate so far.
    pub max: u32,
}

impl Rate {
    /// Counts one event.
    pub fn count(&mut self, now_ms: u64) {
        self.rotate(now_ms);
        self.current += 1;
        self.max = self.max.max(self.read(now_ms));
    }

    /// The rate now, events a second.
    pub fn read(&self, now_ms: u64) -> u32 {
        let mut copy = *self;
        copy.rotate(now_ms);
        let remaining = 1000 - now_ms % 1000;
        copy.current + (u64::from(copy.previous) * remaining / 1000) as u32
    }

    fn rotate(&mut self, now_ms: u64) {
        let second = now_ms / 1000;
        if second != self.second {
            self.previous = if second == self.second + 1 {
                self.current
            } else {
                0
            };
            self.current = 0;
            self.second = second;
        }
    }
}

/// Responses by class: 1xx to 5xx, and others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Responses(pub [u64; 6]);

impl Responses {
    /// Counts a response.
    pub fn count(&mut self, status: u16) {
        let class = match status {
            100..=599 => usize::from(status / 100 - 1),
            _ => 5,
        };
        self.0[class] += 1;
    }
}

/// Moving averages over the last 1024 requests, milliseconds times the window.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    queue: u64,
    connect: u64,
    response: u64,
    total: u64,
    samples: u64,
    maxima_ms: [u64; 4],
}

const WINDOW: u64 = 1024;

impl Times {
    /// Takes one request's times, in milliseconds.
    pub fn add(&mut self, queue_ms: u64, connect_ms: u64, response_ms: u64, total_ms: u64) {
        self.samples = (self.samples + 1).min(WINDOW);
        for (sum, value) in [
            (&mut self.queue, queue_ms),
            (&mut self.connect, connect_ms),
            (&mut self.response, response_ms),
            (&mut self.total, total_ms),
        ] {
            *sum = *sum - *sum / WINDOW + value;
        }
        for (max, value) in
            self.maxima_ms
                .iter_mut()
                .zip([queue_ms, connect_ms, response_ms, total_ms])
        {
            *max = (*max).max(value);
        }
    }

    /// Forgets the longest times.
    pub fn clear_maxima(&mut self) {
        self.maxima_ms = [0; 4];
    }

    /// Longest times in milliseconds, in the order of `averages_ms`.
    pub fn maxima_ms(&self) -> [u64; 4] {
        self.maxima_ms
    }

    /// Averages in milliseconds: queue, connect, response, total.
    pub fn averages_ms(&self) -> [u64; 4] {
        let samples = self.samples.max(1);
        [self.queue, self.connect, self.response, self.total].map(|sum| sum.div_ceil(samples))
    }
}

/// Counters of a frontend side.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)] // the names are those of the manual's columns
pub struct FrontendCounters {
    pub connections_max: u32,
    pub connections_total: u64,
    pub sessions_total: u64,
    pub requests_total: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub requests_denied: u64,
    pub responses_denied: u64,
    pub requests_failed: u64,
    pub rewrites_failed: u64,
    pub connections_denied: u64,
    pub sessions_denied: u64,
    pub intercepted: u64,
    pub internal_errors: u64,
    pub connection_rate: Rate,
    pub session_rate: Rate,
    pub request_rate: Rate,
    pub responses: Responses,
}

/// Counters of a `bind` line.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct ListenerCounters {
    pub connections: u32,
    pub connections_max: u32,
    pub connections_total: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub requests_denied: u64,
    pub responses_denied: u64,
    pub requests_failed: u64,
    pub connections_denied: u64,
    pub sessions_denied: u64,
    pub internal_errors: u64,
}

/// What a frontend and the `bind` line of its client count alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum FrontEvent {
    BytesIn(u64),
    BytesOut(u64),
    RequestDenied,
    ResponseDenied,
    RequestFailed,
    ConnectionDenied,
    SessionDenied,
    InternalError,
}

macro_rules! count_front {
    ($counters:expr, $event:expr) => {
        match $event {
            FrontEvent::BytesIn(count) => $counters.bytes_in += count,
            FrontEvent::BytesOut(count) => $counters.bytes_out += count,
            FrontEvent::RequestDenied => $counters.requests_denied += 1,
            FrontEvent::ResponseDenied => $counters.responses_denied += 1,
            FrontEvent::RequestFailed => $counters.requests_failed += 1,
            FrontEvent::ConnectionDenied => $counters.connections_denied += 1,
            FrontEvent::SessionDenied => $counters.sessions_denied += 1,
            FrontEvent::InternalError => $counters.internal_errors += 1,
        }
    };
}

impl ListenerCounters {
    /// Counts what its frontend counts, too.
    pub fn count(&mut self, event: FrontEvent) {
        count_front!(self, event);
    }
}

/// Counters of a backend side.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct BackendCounters {
    pub sessions_max: u32,
    pub sessions_total: u64,
    pub balanced_total: u64,
    pub requests_total: u64,
    pub queue_max: u32,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub requests_denied: u64,
    pub responses_denied: u64,
    pub connections_failed: u64,
    pub responses_failed: u64,
    pub rewrites_failed: u64,
    pub retries: u64,
    pub redispatches: u64,
    pub client_aborts: u64,
    pub server_aborts: u64,
    pub connects: u64,
    pub reuses: u64,
    pub internal_errors: u64,
    pub session_rate: Rate,
    pub responses: Responses,
    pub times: Times,
    /// Monotonic time of the last session; `None`: never one.
    pub last_session_ms: Option<u64>,
    pub down_transitions: u64,
    /// Total downtime before the present state, milliseconds.
    pub downtime_ms: u64,
}

/// Counters of a server.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct ServerCounters {
    pub sessions_total: u64,
    pub balanced_total: u64,
    pub requests_total: u64,
    pub queue_max: u32,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub responses_denied: u64,
    pub connections_failed: u64,
    pub responses_failed: u64,
    pub rewrites_failed: u64,
    pub retries: u64,
    pub redispatches: u64,
    pub client_aborts: u64,
    pub server_aborts: u64,
    pub connects: u64,
    pub reuses: u64,
    pub internal_errors: u64,
    pub session_rate: Rate,
    pub responses: Responses,
    pub times: Times,
    /// Monotonic time of the last session; `None`: never one.
    pub last_session_ms: Option<u64>,
    pub checks_failed: u64,
    pub down_transitions: u64,
    /// Total downtime before the present state, milliseconds.
    pub downtime_ms: u64,
}

/// Counters of the whole process, for `show info`.
#[derive(Clone, Debug, Default)]
pub struct ProcessCounters {
    /// Connections accepted by frontends and stats sockets.
    pub connections_total: u64,
    /// HTTP requests.
    pub requests_total: u64,
    /// Rate of accepted connections.
    pub connection_rate: Rate,
    /// Rate of sessions: connections that their frontend's rules let in.
    pub session_rate: Rate,
    /// Bytes sent to clients.
    pub bytes_out: u64,
    /// Invalid messages that `show errors` had to show; no command clears it.
    pub invalid_messages: u64,
}

impl FrontendCounters {
    /// Counts what the `bind` line counts, too.
    pub fn count(&mut self, event: FrontEvent) {
        count_front!(self, event);
    }

    /// A connection was accepted; `open` are open now.
    pub fn connection_accepted(&mut self, now_ms: u64, open: u32) {
        self.connections_total += 1;
        self.connections_max = self.connections_max.max(open);
        self.connection_rate.count(now_ms);
    }

    /// The rules of its frontend have let a connection in: its session begins.
    pub fn session_started(&mut self, now_ms: u64) {
        self.sessions_total += 1;
        self.session_rate.count(now_ms);
    }
}

impl BackendCounters {
    /// A stream was sent here; `here` are here now.
    pub fn session_started(&mut self, now_ms: u64, here: u32) {
        self.sessions_total += 1;
        self.sessions_max = self.sessions_max.max(here);
        self.session_rate.count(now_ms);
        self.last_session_ms = Some(now_ms);
    }
}

impl ServerCounters {
    /// A stream was sent here.
    pub fn session_started(&mut self, now_ms: u64) {
        self.sessions_total += 1;
        self.session_rate.count(now_ms);
        self.last_session_ms = Some(now_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_forgets_after_two_seconds() {
        let mut rate = Rate::default();
        for _ in 0..10 {
            rate.count(5_900);
        }
        assert_eq!(
            [5_900, 6_000, 6_500, 7_000, 9_000].map(|now_ms| rate.read(now_ms)),
            [10, 10, 5, 0, 0]
        );
        assert_eq!(rate.max, 10);
    }

    #[test]
    fn averages_follow() {
        let mut times = Times::default();
        assert_eq!(times.averages_ms(), [0; 4]);
        times.add(0, 1, 10, 20);
        times.add(0, 1, 20, 20);
        assert_eq!(times.averages_ms(), [0, 1, 15, 20]);
        assert_eq!(times.maxima_ms(), [0, 1, 20, 20]);
    }
}
