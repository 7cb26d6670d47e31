//! The worker: owns everything and runs the event loop.
//!
//! One turn of the loop does a bounded amount of work for everybody: what was started goes on first, new connections are
//! accepted last. Whatever is cut short by its bound keeps the loop from sleeping until it is done.
//!
//! Not here: how a request travels (`stream/`), what a peer says (`peers/`), how a stats command answers (`runtime/`),
//! what a check finds (`check/`).

mod ahead;
mod handover;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll};

use super::watch::{Load, Watch};
use super::{ExitReason, Limits, LogTargets, Order, Orders, Startup, Tables};
use crate::backend::Proxy;
use crate::check::{self, Checks};
use crate::config::Config;
use crate::config::model::{self, Global, ProxyKind};
use crate::log::{Severity, TargetSet};
use crate::net::listener::ListenerOwner;
use crate::net::{BoundListener, Connection, is_out_of_descriptors};
use crate::peers::group::{Lesson, StartState};
use crate::peers::{self, Peers, link as peer_link};
use crate::reactor::{Kind, TimerSlot, Timers, Token};
use crate::rules::Named;
use crate::runtime::{self, Runtime};
use crate::stream::{Core, CoreParts, FrontListener, Streams};
use crate::sys::{process, random, time};
use handover::{Asked, Lines};

/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 512;

/// Streams whose time is up that are dealt with in one turn: some 10 ms of work at most, a page and a line of the log each. While
/// some are left no turn sleeps.
const STREAM_TIMERS_PER_TURN_MAX: usize = 256;

/// Expired entries removed from one table in one turn: some 10 us of work. While some are left no turn sleeps.
const EXPIRIES_PER_TURN_MAX: u32 = 64;

/// Turns in a row, all of them serving requests, that a long answer on the stats socket waits at most for its next piece.
const COMMANDS_WAIT_TURNS_MAX: u32 = 7;

/// How often idle connections are looked over and clocks are compared.
const HOUSEKEEPING_MS: u64 = 1000;

/// A pause after the system had no descriptor or memory for a connection.
const ACCEPT_PAUSE_MS: u64 = 100;
/// Shortest pause for `maxconnrate` and `maxsessrate`.
const RATE_PAUSE_MS_MIN: u64 = 5;

/// How long a process that replaces another one (`-sf`) waits for its first word as a teacher, and for the end of its lesson. Connections
/// wait in the backlog meanwhile: better late than at the wrong server.
const TEACHER_MS_MAX: u64 = 1_000;
const LESSON_MS_MAX: u64 = 10_000;

/// How long the worker wants to run at a time where others want its CPU, too: the least that the scheduler grants.
const SLICE: Duration = Duration::from_micros(100);

struct Worker {
    poll: Poll,
    streams: Streams,
    listeners: Vec<FrontListener>,
    peers: Peers,
    runtime: Runtime,
    watch: Watch,
    checks: Checks,
    changes: Vec<check::Change>,
    orders: Orders,
    global: Global,
    log_global: TargetSet,
    accepts_per_turn_max: u32,
    connection_rate_max: Option<u32>,
    session_rate_max: Option<u32>,
    accept_paused_until_ms: u64,
    /// The process that this one replaces (`-sf`) is still to teach it: nothing is accepted until then, or until this time.
    awaits_teacher_until_ms: Option<u64>,
    due: Vec<mio::Token>,
    /// Streams whose timer has fired, not dealt with yet.
    due_streams: VecDeque<Token>,
    /// Some expired entries could not be removed in the last turn.
    expiries_left: bool,
    /// Whether this turn has events of clients or servers; and how many such turns in a row long answers have waited.
    serves_requests: bool,
    commands_waited: u32,
    housekeeping: TimerSlot,
    /// A soft stop is under way; until when at the latest.
    stopping: bool,
    hard_stop_at_ms: Option<u64>,
    /// To older and newer generations, in a reload.
    lines: Lines,
    exit: Option<ExitReason>,
}

/// Runs the worker to its end. Privileges are dropped already.
pub fn run(startup: Startup) -> ExitReason {
    match Worker::new(startup) {
        Ok(mut worker) => {
            let reason = worker.run();
            worker.streams.core.logger.flush();
            reason
        }
        Err(error) => ExitReason::Failed(format!("the worker cannot start: {error}")),
    }
}

fn register(listeners: &[FrontListener], registry: &mio::Registry) -> io::Result<()> {
    for (index, listener) in listeners.iter().enumerate() {
        let token = Token::new(Kind::Listener, index as u32, 0).pack();
        let mut source = SourceFd(&listener.socket.as_raw_fd());
        registry.register(&mut source, token, Interest::READABLE)?;
    }
    Ok(())
}

impl Worker {
    fn new(startup: Startup) -> io::Result<Worker> {
        let Startup {
            config,
            limits,
            listeners,
            tables,
            draining,
            log,
            log_targets,
            orders,
            replaced_workers,
            master_pid,
            has_teacher,
            startup_log,
            ..
        } = startup;
        let poll = Poll::new()?;
        let now_ms = time::monotonic_ms();
        let Listeners {
            fronts,
            peers: peer_listeners,
            stats: stats_listeners,
        } = Listeners::sorted(listeners, &config);
        register(&fronts, poll.registry())?;
        orders.register(poll.registry(), Token::new(Kind::Control, 0, 0).pack())?;
        let mut lines = Lines::default();
        let is_reload = matches!(tables, Tables::Asked(..));
        let tables = match tables {
            Tables::Owned(tables) => tables,
            Tables::Asked(line, memories) => {
                let specs = config.tables.clone();
                lines.asked = Some(Asked {
                    line,
                    memories,
                    specs,
                });
                Vec::new()
            }
        };
        let start = match (replaced_workers > 0 || is_reload, has_teacher) {
            // In the place of another one it has its tables, and the tables know what they have not learnt.
            (true, _) => StartState::Complete,
            (false, true) => StartState::Predecessor,
            (false, false) => StartState::Fresh,
        };
        let updates_max = limits.peer_updates_per_turn_max;
        let peers = Peers::new(
            &config.peers,
            peer_listeners,
            start,
            updates_max,
            master_pid.unsigned_abs(),
            random::number()?,
        );
        let global = config.global.clone();
        let runtime = Runtime::new(stats_listeners, &global);
        let mut core = core(
            config,
            &limits,
            tables,
            log,
            &log_targets,
            poll.registry().try_clone()?,
            now_ms,
        );
        let watch = Watch::new(&global, &limits, startup_log, now_ms, &mut core.vitals);
        let checks = Checks::new(&core.proxies, global.spread_checks_pct, random::number()?);
        lines.draining = draining;
        Ok(Worker {
            poll,
            checks,
            changes: Vec::new(),
            streams: Streams::new(core),
            listeners: fronts,
            peers,
            runtime,
            watch,
            orders,
            global,
            log_global: log_targets.global,
            accepts_per_turn_max: limits.accepts_per_turn_max,
            connection_rate_max: limits.connection_rate_max,
            session_rate_max: limits.session_rate_max,
            accept_paused_until_ms: 0,
            awaits_teacher_until_ms: (start == StartState::Predecessor)
                .then_some(now_ms + TEACHER_MS_MAX),
            due: Vec::with_capacity(EVENTS_MAX),
            due_streams: VecDeque::with_capacity(EVENTS_MAX),
            expiries_left: false,
            serves_requests: false,
            commands_waited: 0,
            housekeeping: TimerSlot::NONE,
            stopping: false,
            hard_stop_at_ms: None,
            lines,
            exit: None,
        })
    }

    fn run(&mut self) -> ExitReason {
        if let Err(error) = self.take_over().and_then(|()| self.hear_draining()) {
            return ExitReason::Failed(format!("the old worker does not hand over: {error}"));
        }
        if let Err(error) = self.start() {
            return ExitReason::Failed(format!("the worker cannot start: {error}"));
        }
        let mut events = Events::with_capacity(EVENTS_MAX);
        self.streams.core.logger.hold_lines();
        loop {
            if let Err(error) = self.wait_for_events(&mut events) {
                return ExitReason::Failed(format!("waiting for events failed: {error}"));
            }
            self.dispatch_ready(&events);
            self.expire_timers();
            self.streams.drive_deferred(); // before any work that no request waits for
            if self.lines.has_more {
                self.hear_lines();
            }
            self.answer_commands(); // the pieces that the last turn cut off
            self.streams.drive_unfinished();
            self.begin_checks();
            self.expire_entries();
            self.push_table_updates(); // one batch to the peers a turn, not one a request
            self.accept_connections(); // work begun goes before new work
            self.streams.end_turn();
            self.send_departures();
            if let Some(reason) = self.exit_reason() {
                return reason;
            }
        }
    }

    fn start(&mut self) -> io::Result<()> {
        // Requests wait for nobody who has more time, such as the next generation, which reads its configuration on the same CPU.
        // A kernel that refuses schedules as ever.
        let _ = process::ask_for_slices_of(SLICE);
        let core = &mut self.streams.core;
        let mut context = peer_context(core);
        self.peers.start(&mut context)?;
        self.with_runtime(|runtime, context| runtime.start(context))?;
        let core = &mut self.streams.core;
        self.checks
            .start(&mut check_context(core, &mut self.changes));
        self.arm_housekeeping();
        self.orders.say_ready()
    }

    /// Sleeps until something is ready or due; then reads the clocks, once for the whole turn.
    fn wait_for_events(&mut self, events: &mut Events) -> io::Result<()> {
        self.streams.core.logger.flush(); // the lines of the turn that ends here
        let now_ms = self.streams.core.now_ms;
        let timeout = if self.global.busy_polling || self.must_not_sleep() {
            Some(Duration::ZERO)
        } else {
            self.wakes_at_ms()
                .map(|at_ms| Duration::from_millis(at_ms.saturating_sub(now_ms)))
        };
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => other?,
        }
        let core = &mut self.streams.core;
        core.now_ms = time::monotonic_ms();
        core.wall = SystemTime::now();
        core.logger.set_time(core.wall);
        Ok(())
    }

    /// The nearest of what is due without an event: a timer, the end of a soft stop, or of a pause in accepting.
    fn wakes_at_ms(&self) -> Option<u64> {
        let core = &self.streams.core;
        let resumes_ms = self.accept_paused_until_ms;
        [
            core.timers.next_deadline_ms(),
            self.hard_stop_at_ms,
            self.awaits_teacher_until_ms,
            (resumes_ms > core.now_ms).then_some(resumes_ms),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn must_not_sleep(&self) -> bool {
        let may_accept = self.streams.core.now_ms >= self.accept_paused_until_ms
            && self.awaits_teacher_until_ms.is_none();
        self.expiries_left
            || !self.due_streams.is_empty()
            || self.lines.has_more
            || self.streams.has_unfinished()
            || self.peers.has_pending_work()
            || self.runtime.has_pending_work()
            || self.checks.has_due()
            || (may_accept
                && self
                    .listeners
                    .iter()
                    .any(|l| l.is_ready && self.streams.may_accept(l.proxy)))
    }

    fn dispatch_ready(&mut self, events: &Events) {
        // Idle connections on which something was said or that ended go first, before a request of the same turn takes them.
        self.serves_requests = false;
        for event in events {
            if let Some(token) = Token::unpack(event.token()).filter(|t| t.kind == Kind::Server) {
                self.streams.on_idle_event(token, event);
            }
        }
        for event in events {
            let Some(token) = Token::unpack(event.token()) else {
                continue;
            };
            if matches!(token.kind, Kind::Client | Kind::Server | Kind::Listener) {
                self.serves_requests = true;
                self.peers.make_way(self.streams.core.now_ms);
            }
            match token.kind {
                Kind::Client => self.streams.on_client_event(token, event),
                Kind::Server => self.streams.on_server_event(token, event),
                Kind::Listener => {
                    if let Some(listener) = self.listeners.get_mut(token.index as usize) {
                        listener.is_ready = true;
                    }
                }
                Kind::PeerListener | Kind::Peer => {
                    self.peers
                        .on_event(token, event, &mut peer_context(&mut self.streams.core));
                }
                Kind::StatsListener | Kind::StatsSession => {
                    self.with_runtime(|runtime, context| runtime.on_event(token, event, context));
                }
                Kind::Check => {
                    let mut context = check_context(&mut self.streams.core, &mut self.changes);
                    self.checks.on_event(token, event, &mut context);
                    self.follow_checks();
                }
                Kind::Control => self.follow_orders(),
                Kind::Line => self.lines.has_more = true,
                Kind::Housekeeping => {}
            }
        }
    }

    fn expire_timers(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        self.streams
            .core
            .timers
            .expire(self.streams.core.now_ms, &mut due);
        for token in due.drain(..).filter_map(Token::unpack) {
            match token.kind {
                Kind::Client => self.due_streams.push_back(token),
                Kind::PeerListener | Kind::Peer => {
                    self.peers
                        .on_timer(token, &mut peer_context(&mut self.streams.core));
                }
                Kind::StatsListener | Kind::StatsSession => {
                    self.with_runtime(|runtime, context| runtime.on_timer(token, context));
                }
                Kind::Check => {
                    let mut context = check_context(&mut self.streams.core, &mut self.changes);
                    self.checks.on_timer(token, &mut context);
                    self.follow_checks();
                }
                Kind::Housekeeping => {
                    let load = self.load();
                    let core = &mut self.streams.core;
                    self.watch.sample(core, &self.peers, &load);
                    if core.logger.has_lost_target() {
                        self.orders.say_log_lost();
                    }
                    self.streams.core.purge_idle_connections();
                    self.note_alive();
                    self.arm_housekeeping();
                }
                Kind::Listener | Kind::Server | Kind::Control | Kind::Line => {}
            }
        }
        self.due = due;
        // Each says for itself whether its time has come: what happened to it meanwhile does not matter.
        for _ in 0..STREAM_TIMERS_PER_TURN_MAX {
            let Some(token) = self.due_streams.pop_front() else {
                break;
            };
            self.streams.on_timer(token);
        }
    }

    /// For whoever finds the files of the tables: until now they were used.
    fn note_alive(&mut self) {
        let core = &mut self.streams.core;
        let wall = core.wall.duration_since(SystemTime::UNIX_EPOCH);
        let wall_ms = wall.map_or(0, |since| since.as_millis() as u64);
        if !self.lines.handed_over {
            for table in &mut core.tables {
                table.note_alive(core.now_ms, wall_ms);
            }
        }
    }

    fn begin_checks(&mut self) {
        if self.checks.has_due() {
            let mut context = check_context(&mut self.streams.core, &mut self.changes);
            self.checks.begin_due(&mut context);
            self.follow_checks();
        }
    }

    /// Tells the streams which servers went or came.
    fn follow_checks(&mut self) {
        for change in self.changes.drain(..) {
            self.streams.server_changed(change.proxy, change.server);
        }
    }

    fn arm_housekeeping(&mut self) {
        let core = &mut self.streams.core;
        let owner = Token::new(Kind::Housekeeping, 0, 0).pack();
        core.timers
            .arm(&mut self.housekeeping, owner, core.now_ms + HOUSEKEEPING_MS);
    }

    /// Goes on with long answers, in turns that serve no request; in every eighth turn at the latest, so that they end on a busy proxy too.
    fn answer_commands(&mut self) {
        if !self.runtime.has_pending_work() {
            return;
        }
        if self.serves_requests && self.commands_waited < COMMANDS_WAIT_TURNS_MAX {
            self.commands_waited += 1;
            return;
        }
        self.commands_waited = 0;
        self.with_runtime(|runtime, context| runtime.run_pending(context));
    }

    fn load(&self) -> Load {
        Load {
            streams: self.streams.len(),
            listeners: self.listeners.len() + self.runtime.listeners(),
            stats_sessions: self.runtime.sessions(),
            stopping: self.stopping,
            handed_over: self.lines.handed_over,
        }
    }

    /// Lets the stats socket work, and has others act on what its commands changed.
    fn with_runtime<T>(
        &mut self,
        work: impl FnOnce(&mut Runtime, &mut runtime::Context<'_>) -> T,
    ) -> T {
        let load = self.load();
        let mut context =
            self.watch
                .context(&mut self.streams.core, &self.peers, &self.listeners, load);
        let result = work(&mut self.runtime, &mut context);
        for changed in self.watch.changed_servers.drain(..) {
            let core = &mut self.streams.core;
            if changed.has_moved {
                core.close_idle_connections(changed.proxy, changed.server);
            }
            self.streams.server_changed(changed.proxy, changed.server);
        }
        result
    }

    fn expire_entries(&mut self) {
        if self.lines.handed_over {
            return;
        }
        let core = &mut self.streams.core;
        self.expiries_left = false;
        for table in &mut core.tables {
            if table
                .next_expiry_ms()
                .is_some_and(|at_ms| at_ms <= core.now_ms)
            {
                self.expiries_left |= table.expire(core.now_ms, EXPIRIES_PER_TURN_MAX);
            }
        }
    }

    fn push_table_updates(&mut self) {
        let core = &mut self.streams.core;
        self.peers.push_table_updates(&mut peer_context(core));
        while let Some(event) = self.peers.poll_event() {
            let severity = match event.severity {
                peers::Severity::Alert => Severity::Alert,
                peers::Severity::Warning => Severity::Warning,
                peers::Severity::Notice => Severity::Notice,
            };
            core.logger
                .notice(severity, self.log_global, format_args!("{event}"));
        }
    }

    /// Whether the process that this one replaces is about to teach it, or does.
    fn awaits_teacher(&mut self) -> bool {
        let Some(until_ms) = &mut self.awaits_teacher_until_ms else {
            return false;
        };
        let now_ms = self.streams.core.now_ms;
        let lesson = self.peers.lesson_of_predecessor();
        if lesson == Some(Lesson::Begun) {
            *until_ms = (*until_ms).max(self.watch.started_ms() + LESSON_MS_MAX);
        }
        if lesson.is_some() && now_ms < *until_ms {
            return true;
        }
        self.awaits_teacher_until_ms = None;
        if lesson.is_some() {
            let text = "The old process has not taught everything in time: accepting connections";
            self.notice(Severity::Warning, text);
        }
        false
    }

    fn accept_connections(&mut self) {
        if self.streams.core.now_ms < self.accept_paused_until_ms || self.awaits_teacher() {
            return;
        }
        self.tell_pause();
        for index in 0..self.listeners.len() {
            let (proxy, bind) = (self.listeners[index].proxy, self.listeners[index].bind);
            for _ in 0..self.accepts_per_turn_max {
                if !self.listeners[index].is_ready || !self.streams.may_accept(proxy) {
                    break;
                }
                if let Some(pause_ms) = self.rate_pause_ms() {
                    self.accept_paused_until_ms = self.streams.core.now_ms + pause_ms;
                    return;
                }
                match self.listeners[index].socket.accept() {
                    Ok(Some((fd, source))) => {
                        self.streams
                            .accepted(Connection::accepted(fd), source, proxy, bind)
                    }
                    Ok(None) => self.listeners[index].is_ready = false,
                    // An idle server connection is worth less than a client.
                    Err(error)
                        if is_out_of_descriptors(&error)
                            && self.streams.core.give_up_idle_connection() => {}
                    Err(error) => {
                        self.accept_paused_until_ms = self.streams.core.now_ms + ACCEPT_PAUSE_MS;
                        let name = &self.streams.core.proxies[proxy].spec.name;
                        let text = format!("Proxy {name}: cannot accept a connection: {error}");
                        self.notice(Severity::Emergency, &text);
                        return;
                    }
                }
            }
        }
    }

    /// How long `maxconnrate` and `maxsessrate` let nobody in; `None`: they do not.
    fn rate_pause_ms(&self) -> Option<u64> {
        let core = &self.streams.core;
        let limits = [
            (self.connection_rate_max, &core.process.connection_rate),
            (self.session_rate_max, &core.process.session_rate),
        ];
        let reached = limits.iter().filter_map(|(limit, rate)| {
            let limit = (*limit)?;
            (rate.read(core.now_ms) >= limit).then_some(limit)
        });
        // One more may come in when so much of the last second is past.
        reached
            .map(|limit| u64::from(1000 / limit).max(RATE_PAUSE_MS_MIN))
            .max()
    }

    fn follow_orders(&mut self) {
        while let Some(order) = self.orders.next_order() {
            match order {
                Order::SoftStop => {
                    self.expect_no_successor();
                    self.begin_soft_stop();
                }
                Order::HardStop => self.exit = Some(ExitReason::HardStop),
                Order::HandOver(line) => self.expect_successor(line),
                Order::Successor(line) => self.meet_successor(line),
                Order::Attend(client, level, modes) => {
                    let rights = (level, modes);
                    self.with_runtime(|runtime, context| runtime.adopt(client, rights, context));
                }
            }
        }
    }

    /// Stops listening; what is running goes on to its end, or to `hard-stop-after`.
    fn begin_soft_stop(&mut self) {
        if self.stopping {
            return;
        }
        self.close_listeners();
        self.with_runtime(|runtime, context| runtime.stop_accepting(context));
        self.streams.begin_soft_stop();
        self.peers
            .soft_stop(&mut peer_context(&mut self.streams.core));
        self.begin_draining();
    }

    /// Accepts no more. The sockets may stay open in other processes (a successor, the master): closing our descriptors would leave
    /// them in this epoll.
    fn close_listeners(&mut self) {
        for listener in self.listeners.drain(..) {
            let fd = listener.socket.as_raw_fd();
            let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
        }
    }

    /// What is running ends; when it has, or at `hard-stop-after`, so does the worker.
    fn begin_draining(&mut self) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        let now_ms = self.streams.core.now_ms;
        self.hard_stop_at_ms = self
            .global
            .hard_stop_after_ms
            .map(|after_ms| now_ms + after_ms);
        let core = &mut self.streams.core;
        // Those that listened stop first, as in HAProxy.
        for listened in [true, false] {
            for index in 0..core.proxies.len() {
                let proxy = &core.proxies[index];
                if proxy.is_frontend() != listened || proxy.spec.disabled {
                    continue;
                }
                let counters = (&proxy.frontend_counters, &proxy.backend_counters);
                let text = format!(
                    "Proxy {} stopped (cumulated conns: FE: {}, BE: {}).",
                    proxy.spec.name, counters.0.connections_total, counters.1.sessions_total
                );
                warn_all(core, core.log_sets[index], &text);
            }
        }
    }

    /// `hard-stop-after` is over: what still runs is ended, and the log says so.
    fn end_soft_stop(&mut self) {
        let text = "soft-stop running for too long, performing a hard-stop.";
        let core = &mut self.streams.core;
        warn_all(core, self.log_global, text);
        for index in 0..core.proxies.len() {
            let sessions = core.proxies[index].connections;
            if sessions == 0 {
                continue;
            }
            let name = &core.proxies[index].spec.name;
            let text =
                format!("Proxy {name} hard-stopped ({sessions} remaining conns will be closed).");
            warn_all(core, core.log_sets[index], &text);
        }
        self.streams.kill_all();
    }

    fn exit_reason(&mut self) -> Option<ExitReason> {
        if self.exit.is_none() && self.stopping {
            let is_over = self
                .hard_stop_at_ms
                .is_some_and(|at_ms| at_ms <= self.streams.core.now_ms);
            if is_over {
                self.end_soft_stop();
            }
            let is_idle = match self.lines.handed_over {
                true => self.is_drained(),
                // What older workers still learn belongs into the tables.
                false => {
                    self.streams.is_empty()
                        && self.runtime.sessions() == 0
                        && !self.lines.has_predecessors()
                }
            };
            if is_over || (is_idle && self.peers.is_stopped()) {
                self.exit = Some(ExitReason::SoftStop);
            }
        }
        self.exit.take()
    }

    fn notice(&mut self, severity: Severity, text: &str) {
        self.streams
            .core
            .logger
            .notice(severity, self.log_global, format_args!("{text}"));
    }
}

/// A warning for the log and for who sits at the terminal.
fn warn_all(core: &mut Core, targets: TargetSet, text: &str) {
    let (logger, severity) = (&mut core.logger, Severity::Warning);
    logger.notice(severity, targets, format_args!("{text}"));
    logger.tell_console(severity, format_args!("{text}"));
}

/// The listening sockets by whom they are for.
struct Listeners {
    fronts: Vec<FrontListener>,
    /// For each peers section its listeners.
    peers: Vec<Vec<OwnedFd>>,
    /// With their indices in the configuration.
    stats: Vec<(BoundListener, usize)>,
}

impl Listeners {
    fn sorted(listeners: Vec<BoundListener>, config: &Config) -> Listeners {
        let mut sorted = Listeners {
            fronts: Vec::new(),
            peers: config.peers.iter().map(|_| Vec::new()).collect(),
            stats: Vec::new(),
        };
        for socket in listeners {
            match socket.owner() {
                ListenerOwner::Proxy { proxy, bind } => sorted.fronts.push(FrontListener {
                    socket,
                    proxy,
                    bind,
                    is_ready: true,
                }),
                ListenerOwner::Peers(section) => sorted.peers[section].push(socket.into()),
                ListenerOwner::Stats(index) => sorted.stats.push((socket, index)),
            }
        }
        sorted
    }
}

/// The running state that a configuration describes.
pub fn core(
    config: crate::config::Config,
    limits: &Limits,
    tables: Vec<crate::stick::Table>,
    logger: crate::log::Logger,
    log_targets: &LogTargets,
    registry: mio::Registry,
    now_ms: u64,
) -> Core {
    let fullconns = default_fullconns(&config.proxies);
    let proxies = config.proxies.into_iter().map(Rc::new);
    Core::new(CoreParts {
        registry,
        timers: Timers::new(now_ms, limits.sessions_max.min(65_536) as usize),
        proxies: proxies
            .zip(fullconns)
            .map(|(proxy, fullconn)| Proxy::new(proxy, fullconn, now_ms))
            .collect(),
        log_sets: log_targets.proxies.clone(),
        tables,
        logger,
        samples: config.samples,
        connections_max: limits.sessions_max,
        buffer_bytes: limits.buffer_bytes as usize,
        headers_max: limits.headers_max as usize,
        logged_line_max: config.global.logged_line_max as usize,
        rewrite_bytes: config.global.rewrite_bytes as usize,
        now_ms,
        wall: SystemTime::now(),
    })
}

/// `fullconn` where it is not given: a tenth of what all frontends that may use a backend can bring (configuration manual,
/// "fullconn").
fn default_fullconns(proxies: &[model::Proxy]) -> Vec<u32> {
    let leads_to = |(index, front): (usize, &model::Proxy), backend: usize| {
        let is_own = front.kind == ProxyKind::Listen && index == backend;
        let mut rules = front.use_backend.iter();
        is_own
            || front.default_backend == Some(backend)
            || rules.any(|rule| matches!(rule.named, Named::At(index) if index == backend))
    };
    let fronts = || {
        let all = proxies.iter().enumerate();
        all.filter(|(_, proxy)| proxy.kind != ProxyKind::Backend)
    };
    let fullconn = |backend| {
        let leading = fronts().filter(|front| leads_to(*front, backend));
        let total: u32 = leading.fold(0, |sum, (_, front)| sum.saturating_add(front.maxconn));
        total.div_ceil(10).max(1)
    };
    (0..proxies.len()).map(fullconn).collect()
}

fn check_context<'a>(
    core: &'a mut Core,
    changes: &'a mut Vec<check::Change>,
) -> check::Context<'a> {
    check::Context {
        registry: &core.registry,
        timers: &mut core.timers,
        buffers: &mut core.buffers,
        proxies: &mut core.proxies,
        log_sets: &core.log_sets,
        logger: &mut core.logger,
        now_ms: core.now_ms,
        changes,
    }
}

fn peer_context(core: &mut Core) -> peer_link::Context<'_> {
    peer_link::Context {
        now_ms: core.now_ms,
        registry: &core.registry,
        timers: &mut core.timers,
        tables: &mut core.tables,
    }
}
