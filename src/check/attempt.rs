//! The sockets of the checks: one attempt a server at a time, on the worker's loop.
//!
//! A check has one timer. Its meaning follows from where the check is: without an attempt it starts one, while connecting it
//! is the end of `timeout connect` (or `inter`, if that is less), afterwards that of `timeout check` (or `inter`, counted from
//! the start). The generation in its token grows with each attempt, so that no event of an old socket reaches a new one.
//!
//! A connect costs as much as a request, so a turn begins few of them, and the rest waits in a queue. What made a check begin late (a busy
//! turn, others before it) is taken off its next interval: checks that were spread at the start stay spread, where they would gather with
//! every pause of the process until all of them began at once.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::rc::Rc;

use super::report;
use super::schedule::{Pace, Track, Transition, first_delays_ms, on_schedule, spread_ms};
use super::script::{Run, Script, Verdict};
use crate::backend::notices::{self, ServerEvent, Usability};
use crate::backend::{CheckStatus, Health, Proxy};
use crate::log::{Logger, Severity, TargetSet};
use crate::net::connection::ReadResult;
use crate::net::proxy_protocol::{self, Form, Said};
use crate::net::{Address, Connection};
use crate::reactor::{Buffer, BufferPool, Kind, TimerSlot, Timers, Token};

/// Attempts that one turn begins: what they cost together delays a request by less than its own work does.
const BEGINS_PER_TURN_MAX: usize = 4;

/// What checks need of the worker.
pub struct Context<'a> {
    /// Where sockets are registered.
    pub registry: &'a mio::Registry,
    /// All timers of the worker.
    pub timers: &'a mut Timers,
    /// Buffers for what servers answer.
    pub buffers: &'a mut BufferPool,
    /// Running state of all proxies.
    pub proxies: &'a mut [Proxy],
    /// Log targets of each proxy.
    pub log_sets: &'a [TargetSet],
    /// Log targets.
    pub logger: &'a mut Logger,
    /// Monotonic time of this turn.
    pub now_ms: u64,
    /// Receives what changed: whoever waits for these servers has to be told.
    pub changes: &'a mut Vec<Change>,
}

/// A server went up or down. After down, `Proxy::drain_server_queue`; after up, `Proxy::next_waiting`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Index of the proxy.
    pub proxy: usize,
    /// Index of the server in it.
    pub server: usize,
    /// Which way.
    pub is_up: bool,
}

/// The check of one server.
#[derive(Debug)]
struct Check {
    proxy: usize,
    server: usize,
    script: Rc<Script>,
    pace: Pace,
    /// Limit for connecting, and for the answer after it when `timeout check` is given.
    connect_timeout_ms: u64,
    answer_timeout_ms: Option<u64>,
    timer: TimerSlot,
    /// When the next attempt was to begin, and how much later the last one did.
    due_ms: u64,
    late_ms: u64,
    generation: u32,
    attempt: Option<Attempt>,
}

#[derive(Debug)]
struct Attempt {
    connection: Connection,
    run: Run,
    buffer: Buffer,
    /// The PROXY header to begin with, and the server's address for it.
    header: Option<(Form, Option<SocketAddr>)>,
    started_ms: u64,
    /// When patience ends: with connecting, then with the answer.
    deadline_ms: u64,
}

/// All checks of a worker.
#[derive(Debug)]
pub struct Checks {
    checks: Vec<Check>,
    /// Those whose time has come, by index; each at most once, so it never grows.
    due: VecDeque<u32>,
    spread_pct: u32,
    random: u64,
}

impl Checks {
    /// The checks that the proxies' configuration asks for. `spread_pct` is `spread-checks`; `seed` makes its randomness.
    pub fn new(proxies: &[Proxy], spread_pct: u32, seed: u64) -> Checks {
        let mut checks = Vec::new();
        for (proxy_index, proxy) in proxies.iter().enumerate() {
            let script = Rc::new(Script::new(proxy.spec.http_check.as_ref()));
            for (server_index, server) in proxy.servers.iter().enumerate() {
                let Some(spec) = &server.spec.check else {
                    continue;
                };
                let pace = Pace::new(spec);
                let connect_ms = proxy.spec.timeouts.connect_ms.unwrap_or(u64::MAX);
                checks.push(Check {
                    proxy: proxy_index,
                    server: server_index,
                    script: Rc::clone(&script),
                    pace,
                    connect_timeout_ms: connect_ms.min(pace.inter_ms),
                    answer_timeout_ms: proxy.spec.timeouts.check_ms,
                    timer: TimerSlot::NONE,
                    due_ms: 0,
                    late_ms: 0,
                    generation: 0,
                    attempt: None,
                });
            }
        }
        Checks {
            due: VecDeque::with_capacity(checks.len()),
            checks,
            spread_pct,
            random: seed | 1,
        }
    }

    /// Number of checks: that many sockets are open at most.
    pub fn len(&self) -> usize {
        self.checks.len()
    }

    /// Whether nothing is checked.
    pub fn is_empty(&self) -> bool {
        self.checks.is_empty()
    }

    /// Schedules the first check of each server.
    pub fn start(&mut self, cx: &mut Context<'_>) {
        let inters_ms: Vec<u64> = self
            .checks
            .iter()
            .map(|check| check.pace.inter_ms)
            .collect();
        for (index, delay_ms) in first_delays_ms(&inters_ms).into_iter().enumerate() {
            self.schedule(index, cx.now_ms + delay_ms, cx);
        }
    }

    /// Ends all checks under way, and starts no more.
    pub fn stop(&mut self, cx: &mut Context<'_>) {
        self.due.clear();
        for check in &mut self.checks {
            cx.timers.cancel(&mut check.timer);
            if let Some(mut attempt) = check.attempt.take() {
                cx.buffers.detach(&mut attempt.buffer);
            }
            check.generation += 1;
        }
    }

    /// Something happened on a check's socket.
    pub fn on_event(&mut self, token: Token, event: &mio::event::Event, cx: &mut Context<'_>) {
        let Some(index) = self.index_of(token) else {
            return;
        };
        let Some(attempt) = self.checks[index].attempt.as_mut() else {
            return;
        };
        attempt.connection.note_event(event);
        if let Some(verdict) = self.checks[index].advance(cx.buffers, cx.now_ms) {
            self.conclude(index, &verdict, cx);
            return;
        }
        self.arm_deadline(index, cx);
    }

    /// A check's timer is due.
    pub fn on_timer(&mut self, token: Token, cx: &mut Context<'_>) {
        let Some(index) = self.index_of(token) else {
            return;
        };
        match &self.checks[index].attempt {
            Some(attempt) => {
                let verdict = attempt.run.on_timeout();
                self.conclude(index, &verdict, cx);
            }
            None => self.due.push_back(index as u32),
        }
    }

    /// Whether checks wait for a turn that begins them.
    pub fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Begins some of the checks whose time has come; once a turn.
    pub fn begin_due(&mut self, cx: &mut Context<'_>) {
        for _ in 0..BEGINS_PER_TURN_MAX {
            let Some(index) = self.due.pop_front() else {
                return;
            };
            self.begin(index as usize, cx);
        }
    }

    /// The next attempt begins at `due_ms`.
    fn schedule(&mut self, index: usize, due_ms: u64, cx: &mut Context<'_>) {
        let token = self.token(index);
        let check = &mut self.checks[index];
        check.due_ms = due_ms;
        cx.timers.arm(&mut check.timer, token, due_ms);
    }

    fn token(&self, index: usize) -> mio::Token {
        Token::new(Kind::Check, index as u32, self.checks[index].generation).pack()
    }

    fn index_of(&self, token: Token) -> Option<usize> {
        let check = self.checks.get(token.index as usize)?;
        token
            .is_generation(check.generation)
            .then_some(token.index as usize)
    }

    /// Starts an attempt.
    fn begin(&mut self, index: usize, cx: &mut Context<'_>) {
        self.checks[index].generation += 1;
        let token = self.token(index);
        let check = &mut self.checks[index];
        check.late_ms = cx.now_ms.saturating_sub(check.due_ms);
        let server = &mut cx.proxies[check.proxy].servers[check.server];
        if server.admin.is_maintenance() {
            let pause_ms = on_schedule(check.pace.inter_ms, check.late_ms);
            self.schedule(index, cx.now_ms + pause_ms, cx);
            return;
        }
        server.check.running = true;
        let spec = server.spec.check.as_ref();
        let address = spec
            .and_then(|spec| spec.address.as_ref())
            .unwrap_or(&server.address);
        let opened = Connection::connect(address, server.spec.source).and_then(|mut connection| {
            connection.register(cx.registry, token).map(|()| connection)
        });
        match opened {
            Ok(connection) => {
                check.attempt = Some(Attempt {
                    connection,
                    run: Run::default(),
                    buffer: Buffer::default(),
                    header: spec.and_then(|spec| spec.send_proxy).map(|form| {
                        let server = match address {
                            Address::Inet(address) => Some(*address),
                            _ => None,
                        };
                        (form, server)
                    }),
                    started_ms: cx.now_ms,
                    deadline_ms: cx.now_ms.saturating_add(check.connect_timeout_ms),
                });
                self.arm_deadline(index, cx);
            }
            Err(error) => {
                let verdict = refused_at_once(address, &error);
                self.conclude(index, &verdict, cx);
            }
        }
    }

    fn arm_deadline(&mut self, index: usize, cx: &mut Context<'_>) {
        let token = self.token(index);
        let check = &mut self.checks[index];
        if let Some(attempt) = &check.attempt {
            cx.timers.arm(&mut check.timer, token, attempt.deadline_ms);
        }
    }

    /// The attempt is over: report, count, tell, and schedule the next.
    fn conclude(&mut self, index: usize, verdict: &Verdict, cx: &mut Context<'_>) {
        self.checks[index].generation += 1;
        let random = self.next_random();
        let check = &mut self.checks[index];
        let mut duration_ms = 0;
        if let Some(mut attempt) = check.attempt.take() {
            duration_ms = cx.now_ms.saturating_sub(attempt.started_ms);
            cx.buffers.detach(&mut attempt.buffer);
            if matches!(*check.script, Script::Connect) {
                // Nothing was said, so nothing is lost, and no port lingers.
                attempt.connection.close_with_reset();
            }
        }
        let track = record(check, verdict, duration_ms, cx);
        let interval_ms = spread_ms(check.pace.interval_ms(&track), self.spread_pct, random);
        let pause_ms = on_schedule(interval_ms, check.late_ms);
        self.schedule(index, cx.now_ms + pause_ms, cx);
    }

    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

impl Check {
    /// Makes all the progress that the socket allows.
    fn advance(&mut self, buffers: &mut BufferPool, now_ms: u64) -> Option<Verdict> {
        let attempt = self.attempt.as_mut()?;
        if !attempt.run.is_connected() {
            if let Err(error) = attempt.connection.take_error() {
                return Some(attempt.run.on_error(&words_of(&error)));
            }
            if !attempt.connection.may_write() {
                return None;
            }
            if let Err(error) = attempt.introduce() {
                return Some(attempt.run.on_error(&words_of(&error)));
            }
            if let Some(verdict) = attempt.run.on_connected(&self.script) {
                return Some(verdict);
            }
            attempt.deadline_ms = match self.answer_timeout_ms {
                Some(answer_ms) => now_ms.saturating_add(answer_ms),
                None => attempt.started_ms.saturating_add(self.pace.inter_ms),
            };
        }
        if let Err(error) = attempt.send(&self.script) {
            return Some(attempt.run.on_error(&words_of(&error)));
        }
        buffers.attach(&mut attempt.buffer);
        attempt.receive(&self.script)
    }
}

impl Attempt {
    /// `check-send-proxy`: the check is our own connection, and says so: LOCAL in version 2, which version 1 cannot say.
    fn introduce(&mut self) -> std::io::Result<()> {
        if let Some((form, server)) = self.header.take() {
            let own = match form {
                Form::Text => self.connection.local_address(),
                Form::Binary(_) => None,
            };
            let header = proxy_protocol::encode(form, own, server, Said::default());
            self.connection
                .write(&[IoSlice::new(header.bytes())], false)?;
        }
        Ok(())
    }

    fn send(&mut self, script: &Script) -> std::io::Result<()> {
        while self.connection.may_write() && !self.run.output(script).is_empty() {
            let sent = self
                .connection
                .write(&[IoSlice::new(self.run.output(script))], false)?;
            self.run.on_sent(sent);
        }
        Ok(())
    }

    fn receive(&mut self, script: &Script) -> Option<Verdict> {
        while self.connection.may_read() {
            match self.connection.read(&mut self.buffer) {
                Ok(ReadResult::Bytes(_)) => {
                    let is_full = self.buffer.room() == 0;
                    let verdict = self.run.on_bytes(script, self.buffer.filled(), is_full);
                    if verdict.is_some() || is_full {
                        return verdict;
                    }
                }
                Ok(ReadResult::End) => return Some(self.run.on_end(script, self.buffer.filled())),
                Ok(ReadResult::WouldBlock) => return None,
                Err(error) => return Some(self.run.on_error(&words_of(&error))),
            }
        }
        None
    }
}

/// Writes the verdict into the server's report, moves its state and says so.
fn record(check: &Check, verdict: &Verdict, duration_ms: u64, cx: &mut Context<'_>) -> Track {
    let proxy = &mut cx.proxies[check.proxy];
    let server = &mut proxy.servers[check.server];
    let (rise, fall) = server
        .spec
        .check
        .as_ref()
        .map_or((1, 1), |spec| (spec.rise, spec.fall));
    let mut track = Track::new(rise, fall, server.check.health);
    let was_up = track.is_up();
    let transition = track.count(verdict.passed());
    let is_news = track.health != server.check.health || verdict.status != server.check.status;
    server.counters.checks_failed += u64::from(was_up && !verdict.passed());
    server.check.status = verdict.status;
    server.check.code = verdict.code;
    server.check.duration_ms = Some(duration_ms);
    server.check.detail.clone_from(&verdict.detail);
    server.check.health = track.health;
    server.check.running = false;
    let logs_checks = proxy.spec.options.log_health_checks;
    let log_set = cx
        .log_sets
        .get(check.proxy)
        .copied()
        .unwrap_or(TargetSet::NONE);
    if logs_checks && is_news {
        let line = report::check_line(proxy, check.server, verdict, duration_ms, &track);
        cx.logger
            .notice(Severity::Notice, log_set, format_args!("{line}"));
    }
    let is_up = match transition {
        Transition::None => return track,
        Transition::Up => true,
        Transition::Down => false,
    };
    let before = Usability::before(proxy, check.server);
    let health = if is_up {
        Health::Running
    } else {
        Health::Stopped
    };
    proxy.set_health(check.server, health, cx.now_ms);
    // The check's own line has just told the reason.
    let why = if logs_checks {
        String::new()
    } else {
        format!(", {}", report::reason(verdict, duration_ms))
    };
    let event = if is_up {
        ServerEvent::Up(format_args!("{why}"))
    } else {
        ServerEvent::Down(format_args!("{why}"))
    };
    notices::announce(cx.logger, log_set, proxy, check.server, before, event);
    notices::announce_loss(cx.logger, log_set, proxy, before);
    cx.changes.push(Change {
        proxy: check.proxy,
        server: check.server,
        is_up,
    });
    track
}

/// A connection that could not even be begun. HAProxy calls this a socket error for unix sockets.
fn refused_at_once(address: &Address, error: &std::io::Error) -> Verdict {
    let words = words_of(error);
    match address {
        Address::Inet(_) => Verdict::with_detail(CheckStatus::Layer4Problem, words),
        _ => Verdict::with_detail(
            CheckStatus::SocketError,
            format!("General socket error ({words})"),
        ),
    }
}

/// The system's words for an error, without its number.
fn words_of(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}
