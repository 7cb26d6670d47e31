//! The loop: starts requests when they are due, takes answers, keeps the count.

use std::collections::{HashSet, VecDeque};
use std::io::{ErrorKind, Write};
use std::os::fd::AsRawFd;

use burdock_perf::sys::{Timer, monotonic_ns};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::Plan;
use super::connection::{Asked, Connection, Failure, Progress};
use super::report::{Report, cpu_ns_of};

const TIMER: Token = Token(0);
/// Letters of a key: as many as PHP's sessions have.
const KEY_LETTERS: usize = 26;
/// A request without an answer for this long has failed.
const TIMEOUT_NS: u64 = 10_000_000_000;
/// How often timeouts are looked for, and how long a connection rests after a failure in a closed loop.
const TICK_NS: u64 = 10_000_000;

/// A run of the load generator.
pub struct Run<'a> {
    plan: &'a Plan,
    poll: Poll,
    timer: Timer,
    connections: Vec<Connection>,
    /// Connections without a request.
    idle: Vec<usize>,
    /// Open loop: requests that are due and found no idle connection.
    waiting: VecDeque<Asked>,
    /// The server that each key belongs to (0: not known), and when the key was first answered (0: not yet).
    server_of_key: Vec<(u64, u64)>,
    /// Keys whose last answer came from another server.
    pinned: HashSet<usize>,
    /// Requests begun and settled so far, of both kinds of loop.
    begun: u64,
    settled: u64,
    random: u64,
    scratch: Vec<u8>,
    report: Report,
    measure_from_ns: u64,
    end_ns: u64,
    next_due_ns: u64,
    next_tick_ns: u64,
}

impl<'a> Run<'a> {
    /// Prepares connections; none is made yet.
    pub fn new(plan: &'a Plan) -> std::io::Result<Run<'a>> {
        let poll = Poll::new()?;
        let timer = Timer::new()?;
        let fd = timer.as_raw_fd();
        poll.registry()
            .register(&mut SourceFd(&fd), TIMER, Interest::READABLE)?;
        let connection = |index: usize| {
            Connection::new(plan.targets[index % plan.targets.len()], Token(index + 1))
        };
        let now = monotonic_ns();
        let warmup = if plan.requests.is_some() {
            0.0
        } else {
            plan.warmup
        };
        let measure_from_ns = now + (warmup * 1e9) as u64;
        Ok(Run {
            plan,
            poll,
            timer,
            connections: (0..plan.connections).map(connection).collect(),
            idle: (0..plan.connections).rev().collect(),
            waiting: VecDeque::new(),
            server_of_key: match plan.homes.len() {
                0 => vec![(0, 0); plan.keys],
                count => (0..plan.keys)
                    .map(|key| (plan.homes[key % count], 1))
                    .collect(),
            },
            pinned: HashSet::new(),
            begun: 0,
            settled: 0,
            random: plan.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            scratch: vec![0; 65_536],
            report: Report::new(),
            measure_from_ns,
            end_ns: match plan.requests {
                Some(_) => u64::MAX, // until the last is settled: each fails after its time
                None => measure_from_ns + (plan.seconds * 1e9) as u64,
            },
            next_due_ns: now,
            next_tick_ns: now,
        })
    }

    /// Runs for the planned time and reports. The connections stay open as long as the run is there.
    pub fn drive(mut self) -> std::io::Result<(Report, Run<'a>)> {
        let mut events = Events::with_capacity(1024);
        let mut cpu_from_ns = None;
        loop {
            let now = monotonic_ns();
            if now >= self.measure_from_ns && cpu_from_ns.is_none() {
                cpu_from_ns = Some(self.cpu_ns());
                self.measure_from_ns = now;
            }
            if now >= self.end_ns || self.plan.requests.is_some_and(|all| self.settled >= all) {
                self.report.elapsed_ns = now - self.measure_from_ns;
                let used = self.cpu_ns().saturating_sub(cpu_from_ns.unwrap_or(0));
                self.report.cpu_ns = (!self.plan.pids.is_empty()).then_some(used);
                self.count_overdue(now);
                self.report.pinned = self.pinned.len() as u64;
                let report = std::mem::replace(&mut self.report, Report::new());
                return Ok((report, self));
            }
            self.start_due(now);
            self.tick(now);
            self.arm_timer()?;
            if let Err(error) = self.poll.poll(&mut events, None)
                && error.kind() != ErrorKind::Interrupted
            {
                return Err(error);
            }
            for event in events.iter() {
                match event.token() {
                    TIMER => self.timer.acknowledge(),
                    Token(token) => self.advance(token - 1),
                }
            }
        }
    }

    fn cpu_ns(&self) -> u64 {
        self.plan.pids.iter().map(|pid| cpu_ns_of(*pid)).sum()
    }

    fn arm_timer(&self) -> std::io::Result<()> {
        let mut moment = self.next_tick_ns.min(self.end_ns);
        if self.plan.rate.is_some() && self.may_begin() {
            moment = moment.min(self.next_due_ns);
        }
        self.timer.arm_at(moment)
    }

    /// Starts the requests that are due.
    fn start_due(&mut self, now: u64) {
        if let Some(rate) = self.plan.rate {
            let interval = (1e9 / rate) as u64;
            while self.next_due_ns <= now && self.may_begin() {
                let asked = Asked {
                    due_ns: self.next_due_ns,
                    key: self.choose_key(),
                };
                self.begun += 1;
                self.waiting.push_back(asked);
                self.next_due_ns += interval;
            }
        }
        self.serve_waiting();
    }

    /// Open loop: gives waiting requests to idle connections.
    fn serve_waiting(&mut self) {
        while !self.waiting.is_empty() {
            let Some(index) = self.idle.pop() else { return };
            if let Some(asked) = self.waiting.pop_front() {
                self.ask(index, asked);
            }
        }
    }

    /// Closed loop: wakes resting connections. Both: looks for requests that nobody answers, and for the word that ends it all.
    fn tick(&mut self, now: u64) {
        if now < self.next_tick_ns {
            return;
        }
        self.next_tick_ns = now + TICK_NS;
        if self.plan.until.as_ref().is_some_and(|file| file.exists()) {
            self.end_ns = now;
        }
        for index in 0..self.connections.len() {
            let overdue = |asked: Asked| asked.due_ns + TIMEOUT_NS < now;
            if self.connections[index].asked.is_some_and(overdue) {
                let progress = self.connections[index].fail(Failure::Timeout);
                self.settle(index, progress);
            }
        }
        if self.plan.rate.is_none() {
            for index in std::mem::take(&mut self.idle) {
                match self.next_asked(now) {
                    Some(asked) => self.ask(index, asked),
                    None => self.idle.push(index),
                }
            }
        }
    }

    fn ask(&mut self, index: usize, asked: Asked) {
        let mut next = Some(asked);
        // A loop instead of a recursion: an answer can be there at once, and in a closed loop the next request follows.
        while let Some(asked) = next {
            let plan = self.plan;
            let progress = self.connections[index].ask(
                self.poll.registry(),
                asked,
                &mut self.scratch,
                |request| {
                    write_request(plan, asked.key, request);
                },
            );
            next = self.settle(index, progress);
        }
    }

    fn advance(&mut self, index: usize) {
        let progress = self.connections[index].advance(&mut self.scratch);
        if let Some(asked) = self.settle(index, progress) {
            self.ask(index, asked);
        }
    }

    /// Keeps the count of what became of a request, and says what the connection asks next.
    fn settle(&mut self, index: usize, progress: Progress) -> Option<Asked> {
        let now = match progress {
            Progress::Pending | Progress::Idle => return None,
            Progress::Answered { .. } | Progress::Failed(_) => monotonic_ns(),
        };
        let failed = matches!(progress, Progress::Failed(_));
        if self.plan.close || failed {
            self.connections[index].close();
        }
        let Some(asked) = self.connections[index].asked.take() else {
            return None; // an idle connection that broke: no request was lost, and the next one connects again
        };
        self.count(&asked, &progress, now);
        self.settled += 1;
        if self.plan.hold && !failed {
            return None; // it has asked, and is nobody's from here on
        }
        if self.plan.rate.is_none()
            && !failed
            && let Some(next) = self.next_asked(now)
        {
            return Some(next);
        }
        match self.waiting.pop_front() {
            Some(waiting) if !failed => Some(waiting),
            Some(waiting) => {
                self.waiting.push_front(waiting);
                self.idle.push(index);
                None
            }
            None => {
                self.idle.push(index);
                None
            }
        }
    }

    /// Whether there is another request to begin.
    fn may_begin(&self) -> bool {
        self.plan.requests.is_none_or(|all| self.begun < all)
    }

    /// Closed loop: the next request, unless all are begun.
    fn next_asked(&mut self, now: u64) -> Option<Asked> {
        if !self.may_begin() {
            return None;
        }
        self.begun += 1;
        Some(Asked {
            due_ns: now,
            key: self.choose_key(),
        })
    }

    fn count(&mut self, asked: &Asked, progress: &Progress, now: u64) {
        let measured = now >= self.measure_from_ns && now < self.end_ns;
        match *progress {
            Progress::Answered {
                status,
                server_hash,
            } => {
                let is_good = (200..400).contains(&status);
                let is_wrong = is_good && !self.belongs(asked, server_hash, now);
                if measured {
                    self.report.answers += 1;
                    self.report.bad_status += u64::from(!is_good);
                    let slice = self.slice_of(asked);
                    self.report.record(now.saturating_sub(asked.due_ns), slice);
                }
                self.report.wrong_server += u64::from(is_wrong);
                if is_wrong {
                    self.pinned.insert(asked.key);
                } else if is_good {
                    self.pinned.remove(&asked.key);
                }
            }
            Progress::Failed(failure) => self.report.count_failure(failure),
            Progress::Pending | Progress::Idle => {}
        }
    }

    /// Whether this server is the key's; the first one that answers becomes it. Requests that were under way at the same time
    /// when nobody knew the key may have gone to two servers, and either may have become the key's: the next answer tells.
    fn belongs(&mut self, asked: &Asked, server_hash: u64, now: u64) -> bool {
        let Some((known, first_ns)) = self.server_of_key.get_mut(asked.key) else {
            return true;
        };
        if *first_ns == 0 {
            *first_ns = now;
        }
        if *known == 0 {
            *known = server_hash;
        } else if *known != server_hash && asked.due_ns < *first_ns {
            *known = 0;
        } else {
            return *known == server_hash;
        }
        true
    }

    /// At the end, requests that wait for longer than is normal count with the time they have waited; a stall at the very end of a
    /// run must not vanish.
    fn count_overdue(&mut self, now: u64) {
        let in_flight = self
            .connections
            .iter()
            .filter_map(|connection| connection.asked);
        let late: Vec<Asked> = in_flight.chain(self.waiting.iter().copied()).collect();
        for asked in late {
            let waited = now.saturating_sub(asked.due_ns);
            if waited > self.report.latency_ns.value_at_quantile(0.99) {
                let slice = self.slice_of(&asked);
                self.report.record(waited, slice);
            }
        }
    }

    /// In which slice of the measured time a request was due; who was due before it belongs to the first, and what is left over at the end to
    /// the last.
    fn slice_of(&self, asked: &Asked) -> Option<usize> {
        let length = self.plan.slice?;
        let count = (self.plan.seconds / length) as usize;
        let since_ns = asked.due_ns.saturating_sub(self.measure_from_ns);
        let slice = since_ns as f64 / 1e9 / length;
        Some((slice as usize).min(count.saturating_sub(1)))
    }

    fn choose_key(&mut self) -> usize {
        // xorshift64: fast, and the same keys for every subject.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        match self.plan.keys {
            0 => 0,
            keys => (self.random % keys as u64) as usize,
        }
    }
}

fn write_request(plan: &Plan, key: usize, request: &mut Vec<u8>) {
    // Writing into a vector cannot fail.
    let _ = write!(
        request,
        "{} {} HTTP/1.1\r\nHost: {}\r\n",
        if plan.body > 0 { "POST" } else { "GET" },
        plan.path,
        plan.targets[0]
    );
    if plan.keys > 0 {
        let (cookie, prefix) = (&plan.cookie, &plan.key_prefix);
        let digits = KEY_LETTERS.saturating_sub(prefix.len());
        let _ = write!(request, "Cookie: {cookie}={prefix}{key:0digits$}\r\n");
    }
    if plan.close {
        request.extend_from_slice(b"Connection: close\r\n");
    }
    if plan.body > 0 {
        let _ = write!(request, "Content-Length: {}\r\n", plan.body);
    }
    request.extend_from_slice(b"\r\n");
    request.resize(request.len() + plan.body, b'x');
}
