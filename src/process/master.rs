//! The master: forks a worker, replaces it when it dies, passes orders on, ends with it.
//!
//! ```text
//! Running ──worker died──▶ (waiting for its time) ──fork──▶ Running
//!    │ SIGUSR1                        SIGTERM, SIGINT (from any state)
//!    ▼                                        ▼
//! Finishing ──worker ended──▶ exit 0      Ending ──worker ended, or killed after 1.5 s──▶ exit 128 + signal
//! ```
//!
//! SIGUSR2 reloads: `reload` checks, then this process becomes the new program, which finds its workers again
//! (`Master::resume`) and forks one that asks the old one for everything.
//!
//! Invariant: listeners and tables never have two owners: a new worker is forked after the death of the old one was seen, or
//! asks it to hand over and waits for that.
//! Not here: what a worker does; what the workers say to each other in a reload (line); the clients of the master socket (console).

mod host;

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::SystemTime;

use crate::log::Severity;
use crate::sys::process::{self, Ended, Fork};
use crate::sys::signal::SignalFd;
use crate::sys::socket::Interest;
use crate::sys::{passing, socket, time};

use super::bind::signal_all;
use super::caretaker::first_alert;
use super::console::Console;
use super::control::{self, Order, Saying, WorkerLink};
use super::daemon::Announcement;
use super::enter::{self, Worker};
use super::inheritance::Inheritance;
use super::notify::ServiceManager;
use super::pidfile::Pidfile;
use super::reload::{self, Check, CommandLine, History, WorkerState};
use super::report::{Report, VERSION};

/// How long a worker has to end after an order to end at once.
pub(super) const END_MS: u64 = 1_500;

/// A worker that dies younger than this died early.
const STABLE_MS: u64 = 1_000;

/// So many early deaths in a row are answered by an immediate replacement; after that come pauses.
const EARLY_DEATHS_FREE: u32 = 3;

/// First and longest pause before a worker is replaced.
const BACKOFF_MS: u64 = 100;
const BACKOFF_MS_MAX: u64 = 5_000;

/// All signals that mean something to the master, and those that must not end it.
pub(super) const MASTER_SIGNALS: [i32; 9] = [
    libc::SIGCHLD,
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGTTOU,
    libc::SIGTTIN,
];

/// What [`Master::run`] ends with. After a fork it returns in two processes.
pub(super) enum Outcome {
    /// This process is to exit with this code.
    Exit(i32),
    /// This process is a worker.
    Worker(Box<Worker>),
}

/// What is told to whom when the first worker is ready, or cannot be.
#[derive(Default)]
pub(super) struct Audience {
    /// The command that was typed, when it waits.
    pub command: Option<Announcement>,
    /// systemd.
    pub service_manager: ServiceManager,
    /// `-W`: whoever watches the terminal wants to hear what the master does, too.
    pub master_worker: bool,
    /// Processes that this one replaces, and the signal that tells them.
    pub old_pids: Vec<i32>,
    /// SIGUSR1 or SIGTERM.
    pub old_signal: i32,
}

/// What a reload leaves to the new image of the master.
pub(super) struct Legacy {
    /// All workers.
    pub workers: Vec<WorkerState<OwnedFd>>,
    /// What the master remembers of itself.
    pub history: History,
    /// The master sockets, and clients that wait for this reload.
    pub console: Console,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// A soft stop was ordered.
    Finishing,
    /// SIGTERM or SIGINT came.
    Ending {
        signal: i32,
        kill_ms: u64,
    },
}

/// A live worker.
struct Child {
    pid: i32,
    link: WorkerLink,
    forked_ms: u64,
    /// Attempts to reload before it was forked.
    forked_after: u32,
    /// The version of its program.
    version: String,
    ready: bool,
    /// It owns listeners and tables no more.
    handed_over: bool,
}

impl Child {
    /// Whether it owns listeners and tables no more.
    fn hear_handover(&mut self) -> bool {
        while let Some(saying) = self.link.next_saying() {
            self.handed_over |= saying == Saying::HandedOver;
        }
        self.handed_over
    }
}

/// Which process [`Master::fork_worker`] returned in.
enum Forked {
    Master(i32, WorkerLink),
    Worker(UnixStream),
}

/// The master.
pub(super) struct Master {
    inheritance: Inheritance,
    report: Report,
    audience: Audience,
    pidfile: Option<Pidfile>,
    signals: SignalFd,
    state: State,
    child: Option<Child>,
    /// Workers of earlier configurations, which finish what is running.
    leaving: Vec<Child>,
    /// Of those, the pid of the one that hands over to `child`, until `child` is ready.
    predecessor: Option<i32>,
    /// How to become the next version of this program.
    command_line: CommandLine,
    /// The master sockets and their clients.
    console: Console,
    /// Since when it has been running, and its reloads.
    history: History,
    /// The check before a reload.
    check: Option<Check>,
    /// It is this reload's second one.
    checks_again: bool,
    /// This image was executed for a reload, whose outcome is not known yet.
    reloading: bool,
    /// A reload was asked for while another one was under way.
    reload_again: bool,
    /// The code that the last worker ended with after a soft stop.
    code: i32,
    /// When the next worker is to be forked.
    fork_ms: Option<u64>,
    /// A worker has been ready: from now on a death is no failure of the start.
    served: bool,
    /// Workers that died.
    deaths: u32,
    /// Workers that died early, in a row.
    early_deaths: u32,
}

impl Master {
    /// The master of this process: signals are blocked from now on and wait for it.
    ///
    /// # Errors
    /// Signals cannot be received.
    pub fn new(
        inheritance: Inheritance,
        report: Report,
        audience: Audience,
        pidfile: Option<Pidfile>,
        console: Console,
        command_line: CommandLine,
    ) -> std::io::Result<Master> {
        Ok(Master {
            inheritance,
            report,
            audience,
            pidfile,
            signals: SignalFd::new(&MASTER_SIGNALS)?,
            state: State::Running,
            child: None,
            leaving: Vec::new(),
            predecessor: None,
            command_line,
            console,
            history: History {
                started_ms: time::monotonic_ms(),
                ..History::default()
            },
            check: None,
            checks_again: false,
            reloading: false,
            reload_again: false,
            code: 0,
            fork_ms: Some(time::monotonic_ms()),
            served: false,
            deaths: 0,
            early_deaths: 0,
        })
    }

    /// Goes on as the new image of a master that has workers already.
    pub fn resume(mut self, legacy: Legacy) -> Master {
        self.served = true;
        self.reloading = true;
        self.history = legacy.history;
        self.console = legacy.console;
        for worker in legacy.workers {
            if worker.owns {
                self.predecessor = Some(worker.pid);
            }
            self.leaving.push(Child {
                pid: worker.pid,
                link: WorkerLink::new(UnixStream::from(worker.line)),
                forked_ms: worker.forked_ms,
                forked_after: worker.forked_after,
                version: worker.version,
                ready: true,
                handed_over: !worker.owns,
            });
        }
        self
    }

    /// Runs until everything has ended.
    pub fn run(mut self) -> Outcome {
        loop {
            let now_ms = time::monotonic_ms();
            if self.fork_ms.is_some_and(|fork_ms| fork_ms <= now_ms) {
                self.fork_ms = None;
                match self.fork_worker() {
                    Ok(Forked::Master(pid, link)) => self.adopt(pid, link, now_ms),
                    Ok(Forked::Worker(link)) => return self.become_worker(link),
                    Err(error) => {
                        self.tell(Severity::Alert, &format!("Cannot fork a worker: {error}"));
                        self.fork_later(now_ms);
                    }
                }
            }
            self.wait(now_ms);
            while let Ok(Some(signal)) = self.signals.next_signal() {
                self.take_signal(signal.number);
            }
            self.listen_to_worker();
            if let Some(code) = self.reap().or_else(|| self.end_if_alone()) {
                return self.exit(code);
            }
            self.kill_if_late();
            self.serve_console();
            if std::mem::take(&mut self.reload_again) {
                self.begin_reload();
            }
        }
    }

    /// The clients of the master socket, as far as they can be served now.
    fn serve_console(&mut self) {
        let mut console = std::mem::take(&mut self.console);
        console.turn(self);
        self.console = console;
        if self.console.asks_for_reload() {
            match self.state {
                State::Running => self.reload_again = true,
                _ => self.console.refuse_reloads("burdock is stopping.\n"),
            }
        }
    }

    /// Forks a worker. In a reload, it gets one end of a line, and the worker that it replaces gets the other. In the place of one that died, it
    /// gets a line to each worker that drains, for what these still learn.
    fn fork_worker(&mut self) -> std::io::Result<Forked> {
        let (ours, theirs) = control::pair()?;
        let predecessor = self.predecessor;
        let old = self
            .leaving
            .iter_mut()
            .find(|child| Some(child.pid) == predecessor);
        let line = match old {
            Some(old) => {
                let (theirs, ours) = passing::message_pair()?;
                old.link.give(Order::HandOver(theirs));
                Some(ours)
            }
            None => None,
        };
        let mut draining = Vec::new();
        if line.is_none() {
            for child in self.leaving.iter_mut().filter(|child| child.handed_over) {
                let (theirs, ours) = passing::message_pair()?;
                child.link.give(Order::Successor(theirs));
                draining.push(ours);
            }
        }
        match process::fork()? {
            Fork::Child => {
                self.inheritance.predecessor = line;
                self.inheritance.draining = draining;
                Ok(Forked::Worker(theirs))
            }
            Fork::Parent(pid) => Ok(Forked::Master(pid, WorkerLink::new(ours))),
        }
    }

    /// The child's side of the fork.
    fn become_worker(self, link: UnixStream) -> Outcome {
        let Master {
            inheritance,
            mut report,
            signals,
            deaths,
            leaving,
            console,
            ..
        } = self;
        // What is the master's alone goes with `self`: its signals, the command, the pidfile (which stays on disk), the master sockets,
        // and the lines to other workers, which end when the master does.
        drop((signals, leaving, console));
        let master_pid = process::parent_pid();
        match enter::enter(inheritance, link, master_pid, deaths, &mut report) {
            Ok(worker) => Outcome::Worker(Box::new(worker)),
            Err(text) => {
                report.main_alert(&text);
                Outcome::Exit(1)
            }
        }
    }

    fn adopt(&mut self, pid: i32, link: WorkerLink, now_ms: u64) {
        self.child = Some(Child {
            pid,
            link,
            forked_ms: now_ms,
            forked_after: self.history.reloads,
            version: VERSION.to_string(),
            ready: false,
            handed_over: false,
        });
        let text = format!("New worker ({pid}) forked");
        if self.deaths > 0 {
            self.tell(Severity::Notice, &text);
        } else if self.audience.master_worker {
            self.report.notice(&text);
        }
    }

    /// Until a signal, a word of the worker, or the time to act.
    fn wait(&self, now_ms: u64) {
        let kill_ms = match self.state {
            State::Ending { kill_ms, .. } => Some(kill_ms),
            _ => None,
        };
        let deadline_ms = [self.fork_ms, kill_ms].into_iter().flatten().min();
        let timeout_ms = match self.console.has_more() {
            true => Some(0),
            false => deadline_ms.map(|deadline_ms| deadline_ms.saturating_sub(now_ms)),
        };
        let mut interests = vec![Interest::read(self.signals.as_fd())];
        // A worker that has closed its end is about to be reaped: its link would end every wait at once.
        interests.extend(
            self.child
                .iter()
                .chain(&self.leaving)
                .filter(|child| !child.link.has_ended())
                .map(|child| Interest::read(child.link.as_fd())),
        );
        interests.extend(self.console.interests());
        if socket::wait(&interests, timeout_ms).is_err() {
            // Memory is short; whatever it was, do not spin.
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }

    /// SIGUSR2, SIGHUP: first of all, is the configuration good?
    fn begin_reload(&mut self) {
        if self.state != State::Running {
            return;
        }
        // Without any worker (it died, and its replacement is put off) there is nobody to hand over, and a new configuration may help.
        let is_settled = self.child.as_ref().is_none_or(|child| child.ready);
        if self.check.is_some() || !is_settled || self.predecessor.is_some() {
            // One after the other: looked at again whenever something has happened.
            self.reload_again = true;
            return;
        }
        self.report.begin_log();
        self.history.reloads += 1;
        self.console.reload_begins();
        self.tell(Severity::Notice, "Reloading: checking the configuration");
        self.audience.service_manager.reloading();
        self.checks_again = false;
        self.begin_check();
    }

    /// Starts the new program's check of the new configuration.
    fn begin_check(&mut self) {
        let listeners = self.inheritance.listeners.iter();
        let held: Vec<String> = listeners
            .map(|listener| listener.address().to_string())
            .collect();
        match self.command_line.check(&held) {
            Ok(check) => self.check = Some(check),
            Err(error) => self.reload_failed(&format!("the new program cannot be run: {error}")),
        }
    }

    /// The check has ended: on with the new program, or with the old state.
    fn checked(&mut self, check: Check, ended: Ended) {
        if self.state != State::Running {
            return;
        }
        let verdict = check.verdict();
        if ended != Ended::Code(0) {
            for line in &verdict.messages {
                self.pass_on(line);
            }
            let messages = verdict.messages.join("\n");
            let why = first_alert(&messages);
            return self.reload_failed(&format!("the configuration is not good: {why}"));
        }
        if !verdict.greets {
            return self.reload_failed("the new program is not a burdock that can go on here");
        }
        // Whoever asked once more may have changed it since. Twice will do: somebody who never stops asking gets his reload.
        if std::mem::take(&mut self.reload_again)
            && !std::mem::replace(&mut self.checks_again, true)
        {
            self.tell(
                Severity::Notice,
                "Reloading: asked once more meanwhile, checking the configuration again",
            );
            return self.begin_check();
        }
        self.tell(Severity::Notice, "Reloading: the configuration is good");
        let listeners = self.inheritance.listeners.iter();
        let tables = self.inheritance.tables.holding(&self.inheritance.config);
        let owner = self.child.iter().map(|child| (child, true));
        let draining = self.leaving.iter().map(|child| (child, false));
        let state = reload::State {
            detached: self.inheritance.detached,
            pidfile: self.pidfile.as_ref().map(Pidfile::path),
            listeners: listeners
                .map(|listener| (listener.address().to_string(), listener.as_fd()))
                .chain(self.console.held())
                .collect(),
            tables: tables
                .map(|(spec, memory, path)| (spec, memory.as_fd(), path))
                .collect(),
            workers: draining
                .chain(owner)
                .map(|(child, owns)| WorkerState {
                    pid: child.pid,
                    line: child.link.as_fd(),
                    owns,
                    forked_ms: child.forked_ms,
                    forked_after: child.forked_after,
                    version: child.version.clone(),
                })
                .collect(),
            history: self.history,
            waiters: self.console.waiters(),
        };
        let error = self.command_line.execute(&state);
        drop(state);
        self.reload_failed(&format!("the new program cannot be run: {error}"));
    }

    fn reload_failed(&mut self, why: &str) {
        self.tell(
            Severity::Alert,
            &format!("Reload failed, nothing was changed: {why}"),
        );
        self.audience
            .service_manager
            .ready(&format!("Reload failed: {why}"));
        self.reloading = false;
        self.report.end_log();
        self.history.failed += 1;
        self.console.reload_ended(false, &self.report.log());
    }

    fn take_signal(&mut self, signal: i32) {
        match signal {
            libc::SIGTERM | libc::SIGINT if matches!(self.state, State::Ending { .. }) => {}
            libc::SIGTERM | libc::SIGINT => {
                self.begin_exit();
                self.audience.service_manager.stopping("Stopping");
                self.state = State::Ending {
                    signal,
                    kill_ms: time::monotonic_ms() + END_MS,
                };
                self.order(Order::HardStop);
                for child in &mut self.leaving {
                    child.link.give(Order::HardStop);
                }
            }
            libc::SIGUSR1 if self.state == State::Running => {
                self.begin_exit();
                self.audience
                    .service_manager
                    .stopping("Finishing what is running");
                self.finish();
                self.order(Order::SoftStop);
                // One of them may not have handed over yet.
                for child in &mut self.leaving {
                    child.link.give(Order::SoftStop);
                }
            }
            libc::SIGUSR2 | libc::SIGHUP => self.begin_reload(),
            _ => {}
        }
    }

    fn begin_exit(&mut self) {
        let text = "Exiting Master process...";
        self.narrate(text);
        self.log(Severity::Warning, text);
    }

    /// No new worker from now on, and no listener of ours.
    fn finish(&mut self) {
        self.state = State::Finishing;
        self.fork_ms = None;
        self.inheritance.listeners.clear();
    }

    fn order(&mut self, order: Order) {
        if let Some(child) = &mut self.child {
            child.link.give(order);
        }
    }

    fn listen_to_worker(&mut self) {
        while let Some(child) = &mut self.child {
            match child.link.next_saying() {
                Some(Saying::Ready) => {
                    child.ready = true;
                    let pid = child.pid;
                    self.worker_is_ready(pid);
                }
                Some(Saying::Stopping) if self.state == State::Running => self.finish(),
                Some(Saying::Stopping) => {}
                Some(Saying::HandedOver) => self.child_handed_over(),
                Some(Saying::LogLost) => self.inheritance.log.reconnect(),
                None => break,
            }
        }
        for child in &mut self.leaving {
            child.hear_handover();
        }
    }

    /// A worker that is in service again, because its successor died, had given up everything before it saw that: another one takes over.
    fn child_handed_over(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let text = format!("Worker ({}) had handed over already", child.pid);
        child.handed_over = true;
        self.leaving.push(child);
        self.tell(Severity::Alert, &text);
        if self.state == State::Running {
            self.fork_later(time::monotonic_ms());
        }
    }

    fn worker_is_ready(&mut self, pid: i32) {
        let inheritance = &mut self.inheritance;
        inheritance.log.set_time(SystemTime::now());
        inheritance.tables.settle(&mut |severity, text| {
            self.report.say(severity, text);
            let targets = inheritance.log_targets.global;
            inheritance
                .log
                .notice(severity, targets, format_args!("{text}"));
        });
        let manager = &self.audience.service_manager;
        self.predecessor = None;
        // Also when the first new worker died after the handover and this is the one after it.
        if std::mem::take(&mut self.reloading) {
            manager.ready("Ready.");
            let limits = self.inheritance.limits.to_string();
            self.tell(
                Severity::Notice,
                &format!("Reloaded: worker {pid} is ready; {limits}"),
            );
            self.report.end_log();
            self.history.failed = 0;
            return self.console.reload_ended(true, &self.report.log());
        }
        if self.served {
            manager.status("Ready; the worker was replaced");
            return;
        }
        self.served = true;
        if self.audience.master_worker {
            self.report.notice("Loading success.");
        }
        for failure in signal_all(&self.audience.old_pids, self.audience.old_signal) {
            self.report.warning(&failure);
        }
        self.report.end_log();
        manager.ready("Ready.");
        if let Some(command) = self.audience.command.take() {
            // From here on nobody watches; a failure to let go of the terminal changes nothing for clients.
            let _ = super::daemon::leave_terminal();
            self.report.set_quiet(true);
            command.say(0);
        }
        let limits = self.inheritance.limits.to_string();
        self.log(
            Severity::Notice,
            &format!("worker {pid} is ready; {limits}"),
        );
    }

    /// Takes note of children that ended; the code to exit with when that ends the master too.
    fn reap(&mut self) -> Option<i32> {
        while let Ok(Some((pid, ended))) = process::reap() {
            if let Some(check) = self.check.take_if(|check| check.pid == pid) {
                self.checked(check, ended);
                continue;
            }
            if let Some(index) = self.leaving.iter().position(|child| child.pid == pid) {
                let child = self.leaving.remove(index);
                self.former_worker_ended(child, ended);
                continue;
            }
            let Some(child) = self.child.take_if(|child| child.pid == pid) else {
                continue;
            };
            if let Some(code) = self.worker_ended(child, ended) {
                return Some(code);
            }
        }
        None
    }

    fn former_worker_ended(&mut self, child: Child, ended: Ended) {
        let pid = child.pid;
        let (code, name) = code_and_name(ended);
        let words = child.link.last_words().map(|words| format!(": {words}"));
        let severity = if code == 0 {
            Severity::Notice
        } else {
            Severity::Alert
        };
        let words = words.unwrap_or_default();
        self.tell(
            severity,
            &format!("Former worker ({pid}) exited with code {code} ({name}){words}"),
        );
    }

    /// In a reload, the new worker ended before it was ready. If the old one still owns everything, it goes on doing so.
    fn old_worker_stays(&mut self, reason: &str) -> bool {
        let Some(predecessor) = self.predecessor.take() else {
            return false;
        };
        let is_owner = |child: &mut Child| child.pid == predecessor && !child.hear_handover();
        let Some(index) = self.leaving.iter_mut().position(is_owner) else {
            return false;
        };
        self.child = Some(self.leaving.remove(index));
        self.reload_failed(&format!("the new worker has ended{reason}"));
        true
    }

    fn worker_ended(&mut self, mut child: Child, ended: Ended) -> Option<i32> {
        while let Some(saying) = child.link.next_saying() {
            if saying == Saying::Ready && !child.ready {
                child.ready = true;
                self.worker_is_ready(child.pid);
            }
            if saying == Saying::Stopping && self.state == State::Running {
                self.finish();
            }
        }
        let pid = child.pid;
        let last_words = child.link.last_words();
        let (code, name) = code_and_name(ended);
        match self.state {
            State::Ending { .. } | State::Finishing => {
                self.code = code;
                // Nobody comes after it, so nobody waits for a successor.
                for child in &mut self.leaving {
                    child.link.give(Order::SoftStop);
                }
                self.narrate(&format!(
                    "Current worker ({pid}) exited with code {code} ({name})"
                ));
                return None;
            }
            State::Running if !self.served => {
                // A worker that could say why it ends has done so on the terminal.
                if last_words.is_none() {
                    self.tell(
                        Severity::Alert,
                        &format!("Worker ({pid}) exited with code {code} ({name}) at its start"),
                    );
                }
                return Some(code.max(1));
            }
            // It was told to end, not by us.
            State::Running if code == 0 && self.predecessor.is_none() => {
                self.tell(Severity::Warning, &all_exited(0));
                return Some(0);
            }
            State::Running => {}
        }
        let reason = last_words
            .map(|words| format!(": {words}"))
            .unwrap_or_default();
        if self.old_worker_stays(&reason) {
            return None;
        }
        self.tell(
            Severity::Alert,
            &format!("Current worker ({pid}) exited with code {code} ({name}){reason}"),
        );
        self.deaths += 1;
        let now_ms = time::monotonic_ms();
        if child.ready && now_ms - child.forked_ms >= STABLE_MS {
            self.early_deaths = 0;
        }
        self.fork_later(now_ms);
        None
    }

    /// A worker is replaced at once, unless several in a row died early: then each pause is twice the one before.
    fn fork_later(&mut self, now_ms: u64) {
        let pause_ms = backoff_ms(self.early_deaths);
        self.early_deaths = self.early_deaths.saturating_add(1);
        if pause_ms > 0 {
            self.tell(
                Severity::Warning,
                &format!("The next worker is forked in {pause_ms} ms"),
            );
        }
        self.fork_ms = Some(now_ms + pause_ms);
    }

    /// A stop while no worker lives has nothing to wait for.
    fn end_if_alone(&mut self) -> Option<i32> {
        if self.child.is_some() || !self.leaving.is_empty() {
            return None;
        }
        let code = match self.state {
            State::Ending { signal, .. } => 128 + signal,
            State::Finishing => self.code,
            State::Running => return None,
        };
        self.narrate(&all_exited(code));
        Some(code)
    }

    fn kill_if_late(&mut self) {
        let State::Ending { signal, kill_ms } = self.state else {
            return;
        };
        if time::monotonic_ms() >= kill_ms {
            for child in self.child.iter().chain(&self.leaving) {
                let _ = process::kill(child.pid, libc::SIGKILL);
            }
            // SIGKILL cannot fail to end it; look again soon all the same.
            self.state = State::Ending {
                signal,
                kill_ms: kill_ms + END_MS,
            };
        }
    }

    /// Leaves nothing behind, and nobody on the master socket without an answer.
    fn exit(mut self, code: i32) -> Outcome {
        self.serve_console();
        self.console.refuse_reloads("burdock is stopping.\n");
        self.serve_console();
        if let Some(pidfile) = self.pidfile.take() {
            pidfile.remove();
        }
        if let Some(command) = self.audience.command.take() {
            command.say(u8::try_from(code.max(1)).unwrap_or(1));
        }
        Outcome::Exit(code)
    }

    /// What the master does as it was told to: to the terminal of one who asked for a master.
    fn narrate(&mut self, text: &str) {
        if self.audience.master_worker {
            self.report.warning(text);
        }
    }

    /// A message of another process: to the terminal and to the startup log as it is, to the log with its severity.
    fn pass_on(&mut self, line: &str) {
        let severity = match line.split(']').next() {
            Some("[ALERT") => Severity::Alert,
            Some("[WARNING") => Severity::Warning,
            _ => Severity::Notice,
        };
        self.report.relay(line);
        self.log(severity, line);
    }

    /// To the terminal, and to the log.
    fn tell(&mut self, severity: Severity, text: &str) {
        self.report.say(severity, text);
        self.log(severity, text);
    }

    fn log(&mut self, severity: Severity, text: &str) {
        let inheritance = &mut self.inheritance;
        inheritance.log.set_time(SystemTime::now());
        inheritance.log.notice(
            severity,
            inheritance.log_targets.global,
            format_args!("{text}"),
        );
    }
}

fn all_exited(code: i32) -> String {
    format!("All workers exited. Exiting... ({code})")
}

/// How a process ended: the code that a shell would tell, and in words.
pub(super) fn code_and_name(ended: Ended) -> (i32, String) {
    match ended {
        Ended::Code(code) => (code, "Exit".to_string()),
        Ended::Signal(signal) => (128 + signal, process::signal_name(signal)),
    }
}

/// The pause before a replacement when so many workers in a row died early.
fn backoff_ms(early_deaths: u32) -> u64 {
    match early_deaths.checked_sub(EARLY_DEATHS_FREE) {
        None => 0,
        Some(doublings) => (BACKOFF_MS << doublings.min(16)).min(BACKOFF_MS_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_replacements_are_immediate_and_pauses_are_bounded() {
        let pauses: Vec<u64> = (0..11).map(backoff_ms).collect();
        assert_eq!(
            pauses,
            [0, 0, 0, 100, 200, 400, 800, 1600, 3200, 5000, 5000]
        );
        assert_eq!(backoff_ms(u32::MAX), 5000);
    }
}
