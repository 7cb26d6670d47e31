//! The master socket (`-S`): supervises the processes of a master, and reaches the command line of each worker
//! (management manual, 9.4).
//!
//! ```text
//! client ── lines ──▶ session ──┬─ show proc, reload … ─▶ answered here, from what the Host knows
//!                               └─ @1 show info ────────▶ one end of a socket pair goes to the worker, which attends to it as
//!                                                         to a client of its stats socket; what it says is passed on
//! ```
//!
//! The master lives on signals; nothing here may hold them up. Everything is non-blocking, a turn does a bounded amount of work, and the memory of a
//! session is bounded: one line, one piece of an answer. There are at most [`SESSIONS_MAX`] sessions; one more takes the place of the one
//! that has been silent for longest, so hanging clients lock nobody out.
//!
//! A session that said `reload` lives on in the next image of the master ([`Waiter`]), which answers it; the others end with this one.
//!
//! Not here: what a reload is (master), what a worker answers (runtime).

mod commands;
mod session;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::config::model::{AccessLevel, StatsSocket};
use crate::net::BoundListener;
use crate::process::bind::master_socket_name;
use crate::runtime::Modes;
use crate::sys::socket::Interest;

pub(super) use commands::{Process, Processes};
use session::Session;

/// Most sessions at once.
const SESSIONS_MAX: usize = 10;

/// A pause after the system had no descriptor or memory for a connection. Signals wait as long at most.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// What the console asks of the process that it is part of.
pub(super) trait Host {
    /// For `show proc`.
    fn processes(&self) -> Processes;

    /// Whether the last reload has failed.
    fn last_reload_failed(&self) -> bool;

    /// A line to the command line of a worker, with at most this level, in these modes.
    fn connect(&mut self, pid: i32, level: AccessLevel, modes: Modes) -> io::Result<UnixStream>;

    /// What the last start or reload had to say.
    fn startup_log(&self) -> String;

    /// CLOCK_MONOTONIC.
    fn now_ms(&self) -> u64;
}

struct Listener {
    socket: BoundListener,
    level: AccessLevel,
}

/// A client that waits for the end of a reload, on its way to the next image of the master.
#[derive(Debug)]
pub(super) struct Waiter<F> {
    /// Its connection.
    pub socket: F,
    /// Its reload is under way; else it was asked for while another one was.
    pub begun: bool,
}

/// The master sockets and their clients.
#[derive(Default)]
pub(super) struct Console {
    listeners: Vec<Listener>,
    sessions: Vec<Session>,
}

impl Console {
    /// With these sockets, in the order of their declarations, and the clients of a former image.
    pub(super) fn new(
        sockets: Vec<BoundListener>,
        specs: &[StatsSocket],
        waiters: Vec<Waiter<OwnedFd>>,
        now_ms: u64,
    ) -> Console {
        Console {
            listeners: sockets
                .into_iter()
                .zip(specs)
                .map(|(socket, spec)| Listener {
                    socket,
                    level: spec.level,
                })
                .collect(),
            sessions: waiters
                .into_iter()
                .filter_map(|waiter| Session::resumed(waiter, now_ms).ok())
                .collect(),
        }
    }

    /// The listening sockets and their names, for the next image of the master.
    pub(super) fn held(&self) -> impl Iterator<Item = (String, BorrowedFd<'_>)> {
        self.listeners.iter().map(|listener| {
            let name = master_socket_name(listener.socket.address());
            (name, listener.socket.as_fd())
        })
    }

    /// What to wait for.
    pub(super) fn interests(&self) -> impl Iterator<Item = Interest<'_>> {
        let listeners = self.listeners.iter();
        let accepting = listeners.map(|listener| Interest::read(listener.socket.as_fd()));
        accepting.chain(self.sessions.iter().flat_map(Session::interests))
    }

    /// Whether a turn was cut short: the next wait must not block.
    pub(super) fn has_more(&self) -> bool {
        self.sessions.iter().any(Session::has_more)
    }

    /// Does what can be done now, within bounds.
    pub(super) fn turn(&mut self, host: &mut dyn Host) {
        self.accept(host.now_ms());
        let sockets: Vec<(String, AccessLevel)> = self
            .listeners
            .iter()
            .map(|listener| (listener.socket.address().to_string(), listener.level))
            .collect();
        self.sessions
            .retain_mut(|session| session.drive(host, &sockets));
    }

    fn accept(&mut self, now_ms: u64) {
        for listener in &self.listeners {
            let mut accepted = 0;
            while accepted < SESSIONS_MAX {
                let socket = match listener.socket.accept() {
                    Ok(Some((socket, _))) => socket,
                    Ok(None) => break,
                    Err(_) => {
                        // No descriptor is left: somebody gives one up, and the wait that ends at once does not spin.
                        drop_most_silent(&mut self.sessions);
                        std::thread::sleep(ACCEPT_PAUSE);
                        break;
                    }
                };
                accepted += 1;
                if self.sessions.len() >= SESSIONS_MAX {
                    drop_most_silent(&mut self.sessions);
                }
                let session = Session::new(UnixStream::from(socket), listener.level, now_ms);
                self.sessions.push(session);
            }
        }
    }

    /// Whether somebody asks for a reload that has not begun.
    pub(super) fn asks_for_reload(&self) -> bool {
        self.sessions.iter().any(Session::asks_for_reload)
    }

    /// The reload that was asked for has begun.
    pub(super) fn reload_begins(&mut self) {
        self.sessions.iter_mut().for_each(Session::reload_begins);
    }

    /// The reload under way has ended: who asked for it is told.
    pub(super) fn reload_ended(&mut self, success: bool, log: &str) {
        for session in &mut self.sessions {
            session.reload_ended(success, log);
        }
    }

    /// There will be no reload: everybody who waits for one is told.
    pub(super) fn refuse_reloads(&mut self, why: &str) {
        self.reload_begins();
        self.reload_ended(false, why);
    }

    /// Who waits for a reload, to be passed to the next image.
    pub(super) fn waiters(&self) -> Vec<Waiter<BorrowedFd<'_>>> {
        self.sessions.iter().filter_map(Session::waiter).collect()
    }
}

/// Ends the session that has been silent for longest; one that waits for a reload last of all.
fn drop_most_silent(sessions: &mut Vec<Session>) {
    let candidates = sessions.iter().enumerate();
    let silent = candidates.min_by_key(|(_, session)| session.active_ms());
    if let Some((silent, _)) = silent {
        sessions.swap_remove(silent);
    }
}
