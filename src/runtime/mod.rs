//! The stats socket: command parsing and the commands (management manual, section 9.3).
//!
//! A session reads lines, a line holds commands, a command yields a [`Reply`]. Long ones are machines ([`Answer`]) that
//! are asked for output a bounded piece at a time, only when the last piece was sent: so neither a slow reader nor a dump
//! of a million lines holds the event loop or memory.
//!
//! Invariants: there are never more than `stats maxconn` sessions; the connections beyond wait in the listener's backlog.
//!
//! Not here: what numbers mean (`stats/`), who acts on changes (the worker, by [`ChangedServer`]).

mod answer;
mod command;
pub mod commands;
mod context;
mod errors;
mod invocation;
mod patterns;
mod servers;
mod session;
mod table;
mod table_filter;
mod table_row;
mod variables;
mod views;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use mio::Interest;
use mio::unix::SourceFd;

pub use answer::{Answer, Output, Progress, Reply};
pub use command::{Command, Line};

pub use context::{ChangedServer, Context};
pub use invocation::{Invocation, Modes};

use crate::config::model::{AccessLevel, Global};
use crate::net::takeover::Offered;
use crate::net::{Address, BoundListener};
use crate::reactor::{BufferPool, Kind, TimerSlot, Token};
use session::{Next, Rights, Session};

/// Longest line of a client, as in HAProxy one buffer of default size.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// Most connections accepted in one turn.
const ACCEPTS_PER_TURN: u32 = 16;

/// Sessions beyond those of the stats sockets, for clients of the master socket: they get through when others take all places.
const ADOPTED_MAX: usize = 10;

/// How long accepting pauses when the process has no descriptor or memory left for another connection.
const ACCEPT_PAUSE_MS: u64 = 100;

struct Listener {
    socket: BoundListener,
    level: AccessLevel,
    /// `expose-fd listeners`.
    exposes: bool,
    /// Connections may be waiting: it was readable and has not been emptied.
    waiting: bool,
    /// Accepting failed for want of resources; the timer ends the pause.
    paused: bool,
    timer: TimerSlot,
}

/// A place for a session, and how often it was used: tokens of former sessions reach nobody.
#[derive(Default)]
struct Slot {
    generation: u32,
    session: Option<Session>,
    pending: bool,
}

/// The stats sockets of a worker and their sessions.
pub struct Runtime {
    listeners: Vec<Listener>,
    /// Those of the stats sockets, then [`ADOPTED_MAX`] others.
    slots: Vec<Slot>,
    buffers: BufferPool,
    timeout_ms: u64,
}

impl Runtime {
    /// The stats sockets `listeners`, whose levels and limits `global` tells by their index. Nothing happens before [`Runtime::start`].
    pub fn new(listeners: Vec<(BoundListener, usize)>, global: &Global) -> Runtime {
        let slots = global.stats_maxconn.max(1) as usize + ADOPTED_MAX;
        Runtime {
            listeners: listeners
                .into_iter()
                .map(|(socket, index)| Listener {
                    socket,
                    level: global.stats_sockets[index].level,
                    exposes: global.stats_sockets[index].expose_listeners,
                    waiting: false,
                    paused: false,
                    timer: TimerSlot::NONE,
                })
                .collect(),
            slots: std::iter::repeat_with(Slot::default).take(slots).collect(),
            buffers: BufferPool::new(LINE_BYTES_MAX, 1),
            timeout_ms: global.stats_timeout_ms,
        }
    }

    /// Registers the listeners: events of the kinds `StatsListener` and `StatsSession` are ours from now on.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub fn start(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        for (index, listener) in self.listeners.iter().enumerate() {
            let token = Token::new(Kind::StatsListener, index as u32, 0).pack();
            context.registry.register(
                &mut SourceFd(&listener.socket.as_raw_fd()),
                token,
                Interest::READABLE,
            )?;
        }
        Ok(())
    }

    /// An event with a token of kind `StatsListener` or `StatsSession`.
    pub fn on_event(&mut self, token: Token, event: &mio::event::Event, context: &mut Context<'_>) {
        let index = token.index as usize;
        if token.kind == Kind::StatsListener {
            if let Some(listener) = self.listeners.get_mut(index) {
                listener.waiting = true;
            }
            return self.accept(context);
        }
        let Some(slot) = self
            .slots
            .get_mut(index)
            .filter(|slot| token.is_generation(slot.generation))
        else {
            return;
        };
        if let Some(session) = &mut slot.session {
            session.connection().note_event(event);
            self.drive(index, context);
            self.accept(context);
        }
    }

    /// An expired timer with a token of kind `StatsListener` (the end of a pause) or `StatsSession` (nothing moved).
    pub fn on_timer(&mut self, token: Token, context: &mut Context<'_>) {
        let index = token.index as usize;
        if token.kind == Kind::StatsListener {
            if let Some(listener) = self.listeners.get_mut(index) {
                listener.paused = false;
            }
            return self.accept(context);
        }
        if self
            .slots
            .get(index)
            .is_some_and(|slot| token.is_generation(slot.generation))
        {
            self.close(index, context);
            self.accept(context);
        }
    }

    /// Whether the next wait for events must not block: an answer, or accepting, goes on in the next turn.
    pub fn has_pending_work(&self) -> bool {
        self.slots.iter().any(|slot| slot.pending) || self.may_accept()
    }

    fn may_accept(&self) -> bool {
        self.listeners
            .iter()
            .any(|listener| listener.waiting && !listener.paused)
            && self.free_slot().is_some()
    }

    /// A place for a client of a stats socket.
    fn free_slot(&self) -> Option<usize> {
        let own = &self.slots[..self.slots.len() - ADOPTED_MAX];
        own.iter().position(|slot| slot.session.is_none())
    }

    /// Attends to a client of the master socket, at the other end of this socket pair.
    pub fn adopt(
        &mut self,
        socket: OwnedFd,
        (level, modes): (AccessLevel, Modes),
        context: &mut Context<'_>,
    ) {
        let first = self.slots.len() - ADOPTED_MAX;
        let free = self.slots[first..]
            .iter()
            .position(|slot| slot.session.is_none());
        // Without a place, the end of the socket tells the master.
        if let Some(free) = free {
            let rights = Rights {
                level,
                exposes: false,
                modes,
            };
            let session = Session::new(socket, rights, self.timeout_ms, &mut self.buffers);
            self.open(first + free, session, context);
        }
    }

    /// Once a turn: goes on with what a turn's bounds cut short.
    pub fn run_pending(&mut self, context: &mut Context<'_>) {
        for index in 0..self.slots.len() {
            if self.slots[index].pending {
                self.drive(index, context);
            }
        }
        if self.may_accept() {
            self.accept(context);
        }
    }

    /// Number of sessions.
    pub fn sessions(&self) -> usize {
        self.slots
            .iter()
            .filter(|slot| slot.session.is_some())
            .count()
    }

    /// Number of listening sockets.
    pub fn listeners(&self) -> usize {
        self.listeners.len()
    }

    /// Soft stop: accepts no more. Sessions go on until they end, except for those that pass sockets on: they hold them open.
    pub fn stop_accepting(&mut self, context: &mut Context<'_>) {
        for index in 0..self.slots.len() {
            if let Some(session) = &self.slots[index].session
                && session.is_passing_sockets()
            {
                self.close(index, context);
            }
        }
        for mut listener in self.listeners.drain(..) {
            context.timers.cancel(&mut listener.timer);
            // Gone with its descriptor at the latest.
            let _ = context
                .registry
                .deregister(&mut SourceFd(&listener.socket.as_raw_fd()));
        }
    }

    /// Ends everything at once: the tables that commands change belong to another worker now.
    pub fn stop(&mut self, context: &mut Context<'_>) {
        self.stop_accepting(context);
        for index in 0..self.slots.len() {
            self.close(index, context);
        }
    }

    /// Accepts connections as long as there is room for sessions, a bounded number a turn.
    fn accept(&mut self, context: &mut Context<'_>) {
        let mut left = ACCEPTS_PER_TURN;
        for index in 0..self.listeners.len() {
            while self.listeners[index].waiting && !self.listeners[index].paused && left > 0 {
                let Some(free) = self.free_slot() else {
                    return;
                };
                left -= 1;
                let listener = &mut self.listeners[index];
                match listener.socket.accept() {
                    Ok(Some((socket, _))) => {
                        let session = Session::new(
                            socket,
                            Rights {
                                level: listener.level,
                                exposes: listener.exposes,
                                modes: Modes::default(),
                            },
                            self.timeout_ms,
                            &mut self.buffers,
                        );
                        self.open(free, session, context);
                    }
                    Ok(None) => listener.waiting = false,
                    Err(_) => {
                        listener.paused = true;
                        let token = Token::new(Kind::StatsListener, index as u32, 0).pack();
                        context.timers.arm(
                            &mut listener.timer,
                            token,
                            context.now_ms + ACCEPT_PAUSE_MS,
                        );
                    }
                }
            }
        }
    }

    fn open(&mut self, index: usize, mut session: Session, context: &mut Context<'_>) {
        let slot = &mut self.slots[index];
        slot.generation = slot.generation.wrapping_add(1);
        let token = Token::new(Kind::StatsSession, index as u32, slot.generation).pack();
        if session
            .connection()
            .register(context.registry, token)
            .is_err()
        {
            session.release(&mut self.buffers);
            return;
        }
        slot.session = Some(session);
        self.drive(index, context);
    }

    fn drive(&mut self, index: usize, context: &mut Context<'_>) {
        let slot = &mut self.slots[index];
        let token = Token::new(Kind::StatsSession, index as u32, slot.generation).pack();
        let Some(session) = &mut slot.session else {
            return;
        };
        let mut next = session.drive(token, context);
        if next == Next::Sockets {
            session.pass_sockets(offered(&self.listeners, context));
            next = session.drive(token, context);
        }
        match next {
            Next::Event => slot.pending = false,
            Next::Turn => slot.pending = true,
            Next::Close | Next::Sockets => self.close(index, context),
        }
    }

    fn close(&mut self, index: usize, context: &mut Context<'_>) {
        let slot = &mut self.slots[index];
        slot.pending = false;
        if let Some(mut session) = slot.session.take() {
            context.timers.cancel(&mut session.timer);
            session.release(&mut self.buffers);
        }
    }
}

/// Copies of all listening sockets, in HAProxy's order: internet sockets first. What cannot be copied for want of descriptors is left out: the other
/// process binds it itself.
fn offered(stats: &[Listener], context: &Context<'_>) -> Vec<Offered> {
    let mut offered: Vec<(bool, Offered)> = Vec::new();
    let mut offer = |socket: BorrowedFd<'_>, is_inet: bool, interface: Option<String>| {
        if let Ok(socket) = socket.try_clone_to_owned() {
            offered.push((is_inet, Offered { socket, interface }));
        }
    };
    let is_inet = |socket: &BoundListener| matches!(socket.address(), Address::Inet(_));
    for front in context.fronts {
        let bind = &context.proxies[front.proxy].spec.binds[front.bind];
        offer(
            front.socket.as_fd(),
            is_inet(&front.socket),
            bind.interface.clone(),
        );
    }
    for socket in context.peers.listeners() {
        offer(socket, true, None);
    }
    for listener in stats {
        offer(listener.socket.as_fd(), is_inet(&listener.socket), None);
    }
    offered.sort_by_key(|(is_inet, _)| !is_inet);
    offered.into_iter().map(|(_, offered)| offered).collect()
}
