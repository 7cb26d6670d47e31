//! The master: forks a worker, replaces it when it dies, passes orders on, ends with it.
//!
//! ```text
//! Running ──worker died──▶ (waiting for its time) ──fork──▶ Running
//!    │ SIGUSR1                        SIGTERM, SIGINT (from any state)
//!    ▼                                        ▼
//! Finishing ──worker ended──▶ exit 0      Ending ──worker ended, or killed after 1.5 s──▶ exit 128 + signal
//! ```
//!
//! Invariant: there is at most one worker, and a new one is forked only after the old one's death was seen: listeners and
//! tables never have two owners.
//! Not here: what a worker does; the handover of a reload.

use std::os::fd::AsFd;
use std::time::SystemTime;

use crate::log::Severity;
use crate::sys::process::{self, Ended, Fork};
use crate::sys::signal::SignalFd;
use crate::sys::{socket, time};

use super::bind::signal_all;
use super::control::{self, Order, Saying, WorkerLink};
use super::daemon::Announcement;
use super::enter::{self, Worker};
use super::inheritance::Inheritance;
use super::notify::ServiceManager;
use super::pidfile::Pidfile;
use super::report::Report;

/// How long a worker has to end after an order to end at once.
const END_MS: u64 = 1_500;

/// A worker that dies younger than this died early.
const STABLE_MS: u64 = 1_000;

/// So many early deaths in a row are answered by an immediate replacement; after that come pauses.
const EARLY_DEATHS_FREE: u32 = 3;

/// First and longest pause before a worker is replaced.
const BACKOFF_MS: u64 = 100;
const BACKOFF_MS_MAX: u64 = 5_000;

/// All signals that mean something to the master, and those that must not end it.
const MASTER_SIGNALS: [i32; 9] = [
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
    ready: bool,
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
    ) -> std::io::Result<Master> {
        Ok(Master {
            inheritance,
            report,
            audience,
            pidfile,
            signals: SignalFd::new(&MASTER_SIGNALS)?,
            state: State::Running,
            child: None,
            fork_ms: Some(time::monotonic_ms()),
            served: false,
            deaths: 0,
            early_deaths: 0,
        })
    }

    /// Runs until everything has ended.
    pub fn run(mut self) -> Outcome {
        loop {
            let now_ms = time::monotonic_ms();
            if self.fork_ms.is_some_and(|fork_ms| fork_ms <= now_ms) {
                self.fork_ms = None;
                match control::pair()
                    .and_then(|(ours, theirs)| Ok((ours, theirs, process::fork()?)))
                {
                    Ok((_, theirs, Fork::Child)) => return self.become_worker(theirs),
                    Ok((ours, _, Fork::Parent(pid))) => {
                        self.adopt(pid, WorkerLink::new(ours), now_ms)
                    }
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
        }
    }

    /// The child's side of the fork.
    fn become_worker(self, link: std::os::unix::net::UnixStream) -> Outcome {
        let Master {
            inheritance,
            mut report,
            signals,
            deaths,
            ..
        } = self;
        // What is the master's alone goes with `self`: its signals, the command, the pidfile (which stays on disk).
        drop(signals);
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
            ready: false,
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
        let timeout_ms = deadline_ms.map(|deadline_ms| deadline_ms.saturating_sub(now_ms));
        let mut fds = vec![self.signals.as_fd()];
        // A worker that has closed its end is about to be reaped: its link would end every wait at once.
        fds.extend(
            self.child
                .iter()
                .filter(|child| !child.link.has_ended())
                .map(|child| child.link.as_fd()),
        );
        if socket::wait_readable(&fds, timeout_ms).is_err() {
            // Memory is short; whatever it was, do not spin.
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }

    fn take_signal(&mut self, signal: i32) {
        match signal {
            libc::SIGTERM | libc::SIGINT if matches!(self.state, State::Ending { .. }) => {}
            libc::SIGTERM | libc::SIGINT => {
                self.narrate("Exiting Master process...");
                self.audience
                    .service_manager
                    .say("STOPPING=1\nSTATUS=Stopping\n");
                self.state = State::Ending {
                    signal,
                    kill_ms: time::monotonic_ms() + END_MS,
                };
                self.order(Order::HardStop);
            }
            libc::SIGUSR1 if self.state == State::Running => {
                self.narrate("Exiting Master process...");
                self.audience
                    .service_manager
                    .say("STOPPING=1\nSTATUS=Finishing what is running\n");
                self.finish();
                self.order(Order::SoftStop);
            }
            libc::SIGUSR2 | libc::SIGHUP => {
                let name = process::signal_name(signal);
                self.tell(
                    Severity::Warning,
                    &format!(
                        "{name}: reloading is not available in this version; nothing was changed"
                    ),
                );
            }
            _ => {}
        }
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
                Some(Saying::LogLost) => self.inheritance.log.reconnect(),
                None => break,
            }
        }
    }

    fn worker_is_ready(&mut self, pid: i32) {
        let manager = &self.audience.service_manager;
        if self.served {
            manager.say("STATUS=Ready; the worker was replaced\n");
            return;
        }
        self.served = true;
        if self.audience.master_worker {
            self.report.notice("Loading success.");
        }
        signal_all(&self.audience.old_pids, self.audience.old_signal);
        manager.say(&format!(
            "READY=1\nMAINPID={}\nSTATUS=Ready.\n",
            process::pid()
        ));
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
            let Some(child) = self.child.take_if(|child| child.pid == pid) else {
                continue;
            };
            if let Some(code) = self.worker_ended(child, ended) {
                return Some(code);
            }
        }
        None
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
        let (code, name) = match ended {
            Ended::Code(code) => (code, "Exit".to_string()),
            Ended::Signal(signal) => (128 + signal, process::signal_name(signal)),
        };
        let all_exited = |code| format!("All workers exited. Exiting... ({code})");
        match self.state {
            State::Ending { signal, .. } => {
                self.narrate(&format!(
                    "Current worker ({pid}) exited with code {code} ({name})"
                ));
                self.narrate(&all_exited(128 + signal));
                return Some(128 + signal);
            }
            State::Finishing => {
                self.narrate(&format!(
                    "Current worker ({pid}) exited with code {code} ({name})"
                ));
                self.narrate(&all_exited(code));
                return Some(code);
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
            State::Running if code == 0 => {
                self.tell(Severity::Warning, &all_exited(0));
                return Some(0);
            }
            State::Running => {}
        }
        let reason = last_words
            .map(|words| format!(": {words}"))
            .unwrap_or_default();
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
    fn end_if_alone(&self) -> Option<i32> {
        match (self.state, &self.child) {
            (State::Ending { signal, .. }, None) => Some(128 + signal),
            (State::Finishing, None) => Some(0),
            _ => None,
        }
    }

    fn kill_if_late(&mut self) {
        let State::Ending { signal, kill_ms } = self.state else {
            return;
        };
        let Some(child) = &self.child else { return };
        if time::monotonic_ms() >= kill_ms {
            let _ = process::kill(child.pid, libc::SIGKILL);
            // SIGKILL cannot fail to end it; look again soon all the same.
            self.state = State::Ending {
                signal,
                kill_ms: kill_ms + END_MS,
            };
        }
    }

    /// Leaves nothing behind.
    fn exit(mut self, code: i32) -> Outcome {
        if let Some(pidfile) = self.pidfile.take() {
            pidfile.remove();
        }
        if let Some(command) = self.audience.command.take() {
            command.say(u8::try_from(code.max(1)).unwrap_or(1));
        }
        Outcome::Exit(code)
    }

    /// What the master does as it was told to: to the log, and to the terminal of one who asked for a master.
    fn narrate(&mut self, text: &str) {
        if self.audience.master_worker {
            self.report.warning(text);
        }
        self.log(Severity::Warning, text);
    }

    /// To the terminal, and to the log.
    fn tell(&mut self, severity: Severity, text: &str) {
        match severity {
            Severity::Alert => self.report.alert(text),
            Severity::Warning => self.report.warning(text),
            _ => self.report.notice(text),
        }
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
