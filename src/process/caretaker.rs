//! A reload that failed after the master had become the new program: the workers that are there go on.
//!
//! The check before a reload makes this rare: something must have changed between the check and the start (a port taken by
//! somebody else, the file edited once more). Nothing can be forked without a configuration, so this waits: for the next
//! SIGUSR2, which tries again; for a stop; or for the end of the worker that serves, after which it tries again each second.
//! Not here: anything that a master with a configuration does.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::SystemTime;

use crate::config::model::AccessLevel;
use crate::log::{Logger, Severity};
use crate::runtime::Modes;
use crate::sys::signal::SignalFd;
use crate::sys::socket::{self, Interest};
use crate::sys::{process, time};

use super::LogTargets;
use super::console::{Console, Host, Processes};
use super::control::{self, Order, WorkerLink};
use super::master::{END_MS, MASTER_SIGNALS, Outcome, code_and_name};
use super::notify::ServiceManager;
use super::pidfile::Pidfile;
use super::reload::{CommandLine, Inherited, WorkerState};
use super::report::Report;

/// Where it says what matters: on the terminal, if there is one, and in the log, if the new configuration could be read that says where
/// that is.
pub(super) struct Voice {
    /// For the terminal, and for `show startup-logs`.
    pub report: Report,
    /// The logger, with its targets open.
    pub log: Option<(Logger, LogTargets)>,
}

impl Voice {
    fn alert(&mut self, text: &str) {
        self.report.alert(text);
        self.log(text);
    }

    fn log(&mut self, text: &str) {
        if let Some((log, targets)) = &mut self.log {
            log.set_time(SystemTime::now());
            log.notice(Severity::Alert, targets.global, format_args!("{text}"));
        }
    }
}

/// How long the next try is put off when nobody serves.
const RETRY_MS: u64 = 1_000;

/// Waits with the workers of a former image, and with the master sockets; returns when all has ended.
pub(super) fn take_care(
    mut inherited: Inherited,
    mut console: Console,
    manager: &ServiceManager,
    command_line: &CommandLine,
    mut voice: Voice,
) -> Outcome {
    for cause in alerts(&voice.report.log()) {
        voice.log(cause);
    }
    voice.alert(match serves(&inherited) {
        true => "Reload failed: the old worker goes on. SIGUSR2 tries again.",
        false => "Reload failed, and no worker is left: it is tried again each second.",
    });
    voice.report.end_log();
    inherited.history.failed += 1;
    let said = voice.report.log();
    console.reload_ended(false, &said);
    manager.ready(&format!("Reload failed: {}", first_alert(&said)));
    let mut signals = match SignalFd::new(&MASTER_SIGNALS) {
        Ok(signals) => signals,
        Err(error) => {
            // Exiting takes the workers down in order, by the end of their lines.
            voice.alert(&format!("Cannot receive signals : {error}."));
            return Outcome::Exit(1);
        }
    };
    let mut code = 1;
    let mut is_stopping = false;
    let mut kill_ms: Option<u64> = None;
    loop {
        let serves = serves(&inherited);
        let now_ms = time::monotonic_ms();
        let timeout_ms = match (serves || is_stopping, console.has_more()) {
            (_, true) => Some(0),
            (true, false) => kill_ms.map(|kill_ms| kill_ms.saturating_sub(now_ms)),
            (false, false) => Some(RETRY_MS),
        };
        let own = [Interest::read(signals.as_fd())];
        let interests: Vec<Interest<'_>> = own.into_iter().chain(console.interests()).collect();
        let _ = socket::wait(&interests, timeout_ms);
        let mut tries = !serves && !is_stopping;
        while let Ok(Some(signal)) = signals.next_signal() {
            match signal.number {
                libc::SIGUSR2 | libc::SIGHUP => tries = !is_stopping,
                libc::SIGUSR1 => {
                    (is_stopping, tries, code) = (true, false, 0);
                    manager.stopping("Finishing what is running");
                    order(&inherited, || Order::SoftStop);
                }
                libc::SIGTERM | libc::SIGINT if kill_ms.is_some() => {}
                libc::SIGTERM | libc::SIGINT => {
                    (is_stopping, tries, code) = (true, false, 128 + signal.number);
                    kill_ms = Some(time::monotonic_ms() + END_MS);
                    manager.stopping("Stopping");
                    order(&inherited, || Order::HardStop);
                }
                _ => {}
            }
        }
        if let Some(late_ms) = kill_ms.filter(|&kill_ms| kill_ms <= time::monotonic_ms()) {
            for worker in &inherited.workers {
                let _ = process::kill(worker.pid, libc::SIGKILL);
            }
            // SIGKILL cannot fail to end it; look again soon all the same.
            kill_ms = Some(late_ms + END_MS);
        }
        while let Ok(Some((pid, ended))) = process::reap() {
            let mut workers = inherited.workers.iter();
            if !is_stopping && workers.any(|worker| worker.pid == pid && worker.owns) {
                let (code, name) = code_and_name(ended);
                voice.alert(&format!(
                    "Current worker ({pid}) exited with code {code} ({name}): nobody serves until the failed reload succeeds, which is tried each second."
                ));
            }
            inherited.workers.retain(|worker| worker.pid != pid);
        }
        console.turn(&mut Held {
            inherited: &inherited,
            report: &voice.report,
        });
        if is_stopping {
            console.refuse_reloads("burdock is stopping.\n");
        }
        if is_stopping && inherited.workers.is_empty() {
            if let Some(Ok(pidfile)) = inherited.pidfile.as_deref().map(Pidfile::keep) {
                pidfile.remove();
            }
            return Outcome::Exit(code);
        }
        if tries || (console.asks_for_reload() && !is_stopping) {
            inherited.history.reloads += 1;
            console.reload_begins();
            manager.reloading();
            let mut state = inherited.state();
            state.listeners.extend(console.held());
            state.waiters = console.waiters();
            let error = command_line.execute(&state);
            drop(state);
            let text = format!("The program cannot be run: {error}");
            voice.alert(&text);
            console.reload_ended(false, &text);
            manager.ready(&format!("Reload failed: {text}"));
        }
    }
}

fn serves(inherited: &Inherited) -> bool {
    inherited.workers.iter().any(|worker| worker.owns)
}

/// The text of the first alert among messages, without its header.
pub(super) fn first_alert(messages: &str) -> &str {
    alerts(messages).next().unwrap_or("see the log")
}

/// The texts of all alerts among messages, without their headers.
fn alerts(messages: &str) -> impl Iterator<Item = &str> {
    let alerts = messages.lines().filter(|line| line.starts_with("[ALERT]"));
    alerts.filter_map(|line| Some(line.split_once(" : ")?.1))
}

fn order(inherited: &Inherited, order: impl Fn() -> Order) {
    for worker in &inherited.workers {
        give(worker, order());
    }
}

fn give(worker: &WorkerState<OwnedFd>, order: Order) {
    if let Ok(line) = worker.line.try_clone() {
        WorkerLink::new(UnixStream::from(line)).give(order);
    }
}

/// What the console sees of this process.
struct Held<'a> {
    inherited: &'a Inherited,
    report: &'a Report,
}

impl Host for Held<'_> {
    fn processes(&self) -> Processes {
        let now_ms = time::monotonic_ms();
        let history = self.inherited.history;
        let workers = self.inherited.workers.iter();
        let (current, former): (Vec<_>, Vec<_>) = workers.partition(|worker| worker.owns);
        let describe = |worker: &WorkerState<OwnedFd>| worker.describe(history, now_ms);
        Processes {
            master: history.describe(now_ms),
            failed: history.failed,
            current: current.first().map(|worker| describe(worker)),
            former: former.into_iter().map(describe).collect(),
        }
    }

    fn last_reload_failed(&self) -> bool {
        true
    }

    fn connect(&mut self, pid: i32, level: AccessLevel, modes: Modes) -> io::Result<UnixStream> {
        let mut workers = self.inherited.workers.iter();
        let worker = workers.find(|worker| worker.pid == pid);
        let worker = worker.ok_or(io::ErrorKind::NotFound)?;
        let (ours, theirs) = control::pair()?;
        give(worker, Order::Attend(theirs.into(), level, modes));
        Ok(ours)
    }

    fn startup_log(&self) -> String {
        self.report.log()
    }

    fn now_ms(&self) -> u64 {
        time::monotonic_ms()
    }
}
