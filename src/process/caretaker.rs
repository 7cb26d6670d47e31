//! A reload that failed after the master had become the new program: the workers that are there go on.
//!
//! The check before a reload makes this rare: something must have changed between the check and the start (a port taken by
//! somebody else, the file edited once more). Nothing can be forked without a configuration, so this waits: for the next
//! SIGUSR2, which tries again; for a stop; or for the end of the worker that serves, after which only a new start can help.
//! Not here: anything that a master with a configuration does.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use crate::sys::process;
use crate::sys::signal::SignalFd;
use crate::sys::socket;

use super::control::{Order, WorkerLink};
use super::master::{MASTER_SIGNALS, Outcome};
use super::pidfile::Pidfile;
use super::reload::{CommandLine, Inherited};
use super::report::Report;

/// How long the next try is put off when nobody serves.
const RETRY_MS: u64 = 1_000;

/// Waits with the workers of a former image; returns when all has ended.
pub(super) fn take_care(
    mut inherited: Inherited,
    command_line: &CommandLine,
    report: &mut Report,
) -> Outcome {
    report.alert("Reload failed: the old worker goes on. SIGUSR2 tries again.");
    let mut signals = match SignalFd::new(&MASTER_SIGNALS) {
        Ok(signals) => signals,
        Err(error) => {
            // Exiting takes the workers down in order, by the end of their lines.
            report.main_alert(&format!("Cannot receive signals : {error}."));
            return Outcome::Exit(1);
        }
    };
    let mut code = 1;
    let mut is_stopping = false;
    loop {
        let serves = inherited.workers.iter().any(|(_, _, owns)| *owns);
        let timeout_ms = (!serves && !is_stopping).then_some(RETRY_MS);
        let _ = socket::wait_readable(&[signals.as_fd()], timeout_ms);
        let mut tries = !serves && !is_stopping;
        while let Ok(Some(signal)) = signals.next_signal() {
            match signal.number {
                libc::SIGUSR2 | libc::SIGHUP => tries = !is_stopping,
                libc::SIGUSR1 => {
                    (is_stopping, tries, code) = (true, false, 0);
                    order(&inherited, || Order::SoftStop);
                }
                libc::SIGTERM | libc::SIGINT => {
                    (is_stopping, tries, code) = (true, false, 128 + signal.number);
                    order(&inherited, || Order::HardStop);
                }
                _ => {}
            }
        }
        while let Ok(Some((pid, _))) = process::reap() {
            inherited.workers.retain(|(worker, _, _)| *worker != pid);
        }
        if is_stopping && inherited.workers.is_empty() {
            if let Some(Ok(pidfile)) = inherited.pidfile.as_deref().map(Pidfile::keep) {
                pidfile.remove();
            }
            return Outcome::Exit(code);
        }
        if tries {
            let error = command_line.execute(&inherited.state());
            report.alert(&format!("The program cannot be run: {error}"));
        }
    }
}

fn order(inherited: &Inherited, order: impl Fn() -> Order) {
    for (_, line, _) in &inherited.workers {
        if let Ok(line) = line.try_clone() {
            WorkerLink::new(UnixStream::from(line)).give(order());
        }
    }
}
