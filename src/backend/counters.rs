//! Counters of frontends, listeners, backends and servers: what `show stat` reports (management manual, section 9.1).
//!
//! Whoever sees an event adds to the counter; nothing here is derived. Gauges that follow from live state (current
//! sessions, queue lengths, weights, states) are kept by their owners, which also report a new value to the matching
//! `*_max` through the methods below.
//!
//! Not here: how counters are shown (`stats/`).

/// Events per second over a sliding second.
///
/// The events of the last full second are weighed with the part of it that is still within reach: the rate of an even
/// flow is exact, and there is no sawtooth at the turn of a second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rate {
    /// Start of the current second, on the monotonic clock.
    start_ms: u64,
    current: u32,
    previous: u32,
}

impl Rate {
    /// Counts `count` events at `now_ms` and returns the rate including them.
    pub fn add(&mut self, now_ms: u64, count: u32) -> u32 {
        self.turn(now_ms);
        self.current = self.current.saturating_add(count);
        self.per_second(now_ms)
    }

    /// Events per second at `now_ms`.
    pub fn per_second(&self, now_ms: u64) -> u32 {
        let age_ms = now_ms.saturating_sub(self.start_ms);
        match age_ms {
            0..1000 => {
                let still_counting = u64::from(self.previous) * (1000 - age_ms) / 1000;
                self.current.saturating_add(still_counting as u32)
            }
            1000..2000 => (u64::from(self.current) * (2000 - age_ms) / 1000) as u32,
            _ => 0,
        }
    }

    fn turn(&mut self, now_ms: u64) {
        let age_ms = now_ms.saturating_sub(self.start_ms);
        if age_ms >= 2000 {
            *self = Self { start_ms: now_ms, ..Self::default() };
        } else if age_ms >= 1000 {
            *self = Self { start_ms: self.start_ms + 1000, current: 0, previous: self.current };
        }
    }
}

/// Responses by class of their status (`hrsp_*`).
#[derive(Clone, Copy, Debug, Default)]
pub struct StatusClasses {
    /// 1xx to 5xx.
    pub classes: [u64; 5],
    /// Any other status, or none.
    pub other: u64,
}

impl StatusClasses {
    /// Counts a response, or, with `None`, a request that got none.
    pub fn count(&mut self, status: Option<u16>) {
        match status {
            Some(status @ 100..600) => self.classes[usize::from(status / 100 - 1)] += 1,
            _ => self.other += 1,
        }
    }
}

/// Counters of a frontend.
#[derive(Clone, Debug, Default)]
pub struct FrontendCounters {
    /// Accepted connections (`conn_tot`).
    pub connections: u64,
    /// Their rate (`conn_rate`).
    pub connection_rate: Rate,
    /// `conn_rate_max`.
    pub connection_rate_max: u32,
    /// Sessions that passed the connection rules (`stot`).
    pub sessions: u64,
    /// Sessions open (`scur`).
    pub sessions_current: u32,
    /// `smax`.
    pub sessions_max: u32,
    /// `rate`.
    pub session_rate: Rate,
    /// `rate_max`.
    pub session_rate_max: u32,
    /// HTTP requests (`req_tot`).
    pub requests: u64,
    /// `req_rate`.
    pub request_rate: Rate,
    /// `req_rate_max`.
    pub request_rate_max: u32,
    /// Bytes from clients (`bin`).
    pub bytes_in: u64,
    /// Bytes to clients (`bout`).
    pub bytes_out: u64,
    /// Requests denied by a rule (`dreq`).
    pub denied_requests: u64,
    /// Responses denied by a rule (`dresp`).
    pub denied_responses: u64,
    /// Bad or incomplete requests (`ereq`).
    pub failed_requests: u64,
    /// Connections denied by `tcp-request connection` (`dcon`).
    pub denied_connections: u64,
    /// Sessions denied by `tcp-request session` (`dses`).
    pub denied_sessions: u64,
    /// Requests answered by the proxy itself (`intercepted`).
    pub intercepted: u64,
    /// Responses sent, by class.
    pub responses: StatusClasses,
    /// Transfers that the client aborted.
    pub client_aborts: u64,
    /// Transfers that the server aborted.
    pub server_aborts: u64,
    /// Internal errors (`eint`).
    pub internal_errors: u64,
}

impl FrontendCounters {
    /// A connection was accepted.
    pub fn connection_accepted(&mut self, now_ms: u64) {
        self.connections += 1;
        self.connection_rate_max = self.connection_rate_max.max(self.connection_rate.add(now_ms, 1));
    }

    /// Its session begins.
    pub fn session_started(&mut self, now_ms: u64) {
        self.sessions += 1;
        self.sessions_current += 1;
        self.sessions_max = self.sessions_max.max(self.sessions_current);
        self.session_rate_max = self.session_rate_max.max(self.session_rate.add(now_ms, 1));
    }

    /// The session ended.
    pub fn session_ended(&mut self) {
        self.sessions_current = self.sessions_current.saturating_sub(1);
    }

    /// A request began.
    pub fn request_started(&mut self, now_ms: u64) {
        self.requests += 1;
        self.request_rate_max = self.request_rate_max.max(self.request_rate.add(now_ms, 1));
    }
}

/// Counters of one listener, shown when `option socket-stats` is set.
#[derive(Clone, Debug, Default)]
pub struct ListenerCounters {
    /// Sessions (`stot`).
    pub sessions: u64,
    /// Sessions open (`scur`).
    pub sessions_current: u32,
    /// `smax`.
    pub sessions_max: u32,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
    /// Bad or incomplete requests.
    pub failed_requests: u64,
}

/// Times of the last 1024 answered streams, in milliseconds (`qtime`, `ctime`, `rtime`, `ttime`).
///
/// Kept as sums from which a 1024th is taken off for each one added, so that no samples need to be stored.
#[derive(Clone, Copy, Debug, Default)]
pub struct AverageTimes {
    sums: [u64; 4],
    maxima: [u64; 4],
    samples: u64,
}

impl AverageTimes {
    const WINDOW: u64 = 1024;

    /// Adds one stream's times in the queue, to connect, to the response head, and in total. Milliseconds.
    pub fn add(&mut self, queue_ms: u64, connect_ms: u64, response_ms: u64, total_ms: u64) {
        for (index, value) in [queue_ms, connect_ms, response_ms, total_ms].into_iter().enumerate() {
            let sum = &mut self.sums[index];
            if self.samples >= Self::WINDOW {
                *sum -= sum.div_ceil(Self::WINDOW).min(*sum);
            }
            *sum += value;
            self.maxima[index] = self.maxima[index].max(value);
        }
        self.samples += 1;
    }

    /// Averages: queue, connect, response, total. Milliseconds, rounded up.
    pub fn averages(&self) -> [u64; 4] {
        self.sums.map(|sum| sum.div_ceil(self.samples.clamp(1, Self::WINDOW)))
    }

    /// Largest values seen, in the same order.
    pub fn maxima(&self) -> [u64; 4] {
        self.maxima
    }
}

/// Counters of a backend.
#[derive(Clone, Debug, Default)]
pub struct BackendCounters {
    /// Streams that were sent here (`stot`).
    pub sessions: u64,
    /// Streams here now (`scur`).
    pub sessions_current: u32,
    /// `smax`.
    pub sessions_max: u32,
    /// `rate`.
    pub session_rate: Rate,
    /// `rate_max`.
    pub session_rate_max: u32,
    /// HTTP requests (`req_tot`).
    pub requests: u64,
    /// Longest the backend's own queue has been (`qmax`).
    pub queue_max: u32,
    /// `bin`.
    pub bytes_in: u64,
    /// `bout`.
    pub bytes_out: u64,
    /// `dreq`.
    pub denied_requests: u64,
    /// `dresp`.
    pub denied_responses: u64,
    /// Streams that could not be connected (`econ`).
    pub failed_connections: u64,
    /// Bad or missing responses (`eresp`).
    pub failed_responses: u64,
    /// Connection retries (`wretr`).
    pub retries: u64,
    /// Redispatches (`wredis`).
    pub redispatches: u64,
    /// Streams handed to a server by the balance algorithm (`lbtot`).
    pub balanced: u64,
    /// `cli_abrt`.
    pub client_aborts: u64,
    /// `srv_abrt`.
    pub server_aborts: u64,
    /// `hrsp_*`.
    pub responses: StatusClasses,
    /// Connections established to servers (`connect`).
    pub connects: u64,
    /// Requests that reused one (`reuse`).
    pub reuses: u64,
    /// Requests answered by the proxy itself (`intercepted`).
    pub intercepted: u64,
    /// `wrew`.
    pub failed_rewrites: u64,
    /// `eint`.
    pub internal_errors: u64,
    /// Times of the last streams.
    pub times: AverageTimes,
    /// When a stream last began, on the monotonic clock (`lastsess`).
    pub last_session_ms: Option<u64>,
    /// How often the backend lost its last server (`chkdown`).
    pub downs: u64,
}

impl BackendCounters {
    /// A stream was sent here.
    pub fn session_started(&mut self, now_ms: u64) {
        self.sessions += 1;
        self.sessions_current += 1;
        self.sessions_max = self.sessions_max.max(self.sessions_current);
        self.session_rate_max = self.session_rate_max.max(self.session_rate.add(now_ms, 1));
        self.last_session_ms = Some(now_ms);
    }

    /// The stream left.
    pub fn session_ended(&mut self) {
        self.sessions_current = self.sessions_current.saturating_sub(1);
    }

    /// The backend's queue holds `length` streams now.
    pub fn queue_is(&mut self, length: u32) {
        self.queue_max = self.queue_max.max(length);
    }
}

/// Counters of a server.
#[derive(Clone, Debug, Default)]
pub struct ServerCounters {
    /// Streams that were sent here (`stot`).
    pub sessions: u64,
    /// Streams that hold one of its slots now (`scur`).
    pub sessions_current: u32,
    /// `smax`.
    pub sessions_max: u32,
    /// `rate`.
    pub session_rate: Rate,
    /// `rate_max`.
    pub session_rate_max: u32,
    /// HTTP requests (`req_tot`).
    pub requests: u64,
    /// Longest its queue has been (`qmax`).
    pub queue_max: u32,
    /// `bin`.
    pub bytes_in: u64,
    /// `bout`.
    pub bytes_out: u64,
    /// `dresp`.
    pub denied_responses: u64,
    /// `econ`.
    pub failed_connections: u64,
    /// `eresp`.
    pub failed_responses: u64,
    /// `wretr`.
    pub retries: u64,
    /// `wredis`.
    pub redispatches: u64,
    /// `lbtot`.
    pub balanced: u64,
    /// `cli_abrt`.
    pub client_aborts: u64,
    /// `srv_abrt`.
    pub server_aborts: u64,
    /// `hrsp_*`.
    pub responses: StatusClasses,
    /// `connect`.
    pub connects: u64,
    /// `reuse`.
    pub reuses: u64,
    /// `wrew`.
    pub failed_rewrites: u64,
    /// `eint`.
    pub internal_errors: u64,
    /// Checks that failed while the server was up (`chkfail`).
    pub failed_checks: u64,
    /// Turns from up to down (`chkdown`).
    pub downs: u64,
    /// Times of the last streams.
    pub times: AverageTimes,
    /// When a stream last began, on the monotonic clock (`lastsess`).
    pub last_session_ms: Option<u64>,
}

impl ServerCounters {
    /// A stream was sent here.
    pub fn session_started(&mut self, now_ms: u64) {
        self.sessions += 1;
        self.sessions_current += 1;
        self.sessions_max = self.sessions_max.max(self.sessions_current);
        self.session_rate_max = self.session_rate_max.max(self.session_rate.add(now_ms, 1));
        self.last_session_ms = Some(now_ms);
    }

    /// The stream left.
    pub fn session_ended(&mut self) {
        self.sessions_current = self.sessions_current.saturating_sub(1);
    }

    /// The server's queue holds `length` streams now.
    pub fn queue_is(&mut self, length: u32) {
        self.queue_max = self.queue_max.max(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_flow_has_its_rate() {
        let mut rate = Rate::default();
        for step in 0..50 {
            rate.add(10_000 + step * 100, 1);
        }
        assert_eq!(rate.per_second(15_000), 10);
        assert_eq!(rate.per_second(15_500), 5, "half of the last second is out of reach");
        assert_eq!(rate.per_second(17_000), 0);
    }

    #[test]
    fn averages_follow_the_last_streams() {
        let mut times = AverageTimes::default();
        assert_eq!(times.averages(), [0; 4]);
        times.add(0, 10, 20, 30);
        times.add(0, 20, 20, 30);
        assert_eq!(times.averages(), [0, 15, 20, 30]);
        for _ in 0..20_000 {
            times.add(0, 1, 1, 100);
        }
        let [_, connect_ms, _, total_ms] = times.averages();
        assert!(connect_ms <= 2 && (95..=105).contains(&total_ms), "{:?}", times.averages());
        assert_eq!(times.maxima(), [0, 20, 20, 100]);
    }

    #[test]
    fn statuses_have_classes() {
        let mut responses = StatusClasses::default();
        for status in [Some(100), Some(200), Some(204), Some(599), Some(600), Some(99), None] {
            responses.count(status);
        }
        assert_eq!((responses.classes, responses.other), ([1, 2, 0, 0, 1], 3));
    }
}
