//! The sockets of the peers sections on the worker's loop.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use mio::Registry;

use super::{PeerEvent, PeersSpec};
use crate::reactor::{Timers, Token};
use crate::stick::Table;

/// What the worker lends to every call.
pub struct Context<'a> {
    /// CLOCK_MONOTONIC, milliseconds.
    pub now_ms: u64,
    /// Where sockets are registered.
    pub registry: &'a Registry,
    /// The worker's timers.
    pub timers: &'a mut Timers,
    /// All tables, in the order of `Config::tables`.
    pub tables: &'a mut [Table],
}

/// Which part of `show peers` is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ShowPeers<'a> {
    /// Both dictionary caches of every table (`show peers dict`).
    pub dictionaries: bool,
    /// Only this section.
    pub section: Option<&'a str>,
}

/// All peers sections of the worker.
pub struct Peers {
    events: VecDeque<PeerEvent>,
}

impl Peers {
    /// Builds the sections. `listeners` are bound and listening, in the order of `specs`; `None` where the section has
    /// no listener. `updates_max` is `tune.peers.max-updates-at-once`; `seed` is random.
    ///
    /// Nothing happens before `start`.
    pub fn new(
        specs: &[PeersSpec],
        listeners: Vec<Option<OwnedFd>>,
        tables: &[Table],
        updates_max: u32,
        seed: u64,
    ) -> Peers {
        todo!()
    }

    /// Registers the listeners and begins to dial. `Kind::PeerListener` and `Kind::Peer` tokens are ours from now on.
    pub fn start(&mut self, context: &mut Context<'_>) -> std::io::Result<()> {
        todo!()
    }

    /// A readiness event whose token is of kind `PeerListener` or `Peer`.
    pub fn on_event(&mut self, token: Token, event: &mio::event::Event, context: &mut Context<'_>) {
        todo!()
    }

    /// An expired timer whose token is of kind `PeerListener` or `Peer`.
    pub fn on_timer(&mut self, token: Token, context: &mut Context<'_>) {
        todo!()
    }

    /// Once a turn, after all other work: sends what changed in the tables, and goes on with what a turn's bounds cut
    /// short. Cheap when nothing changed.
    pub fn push_table_updates(&mut self, context: &mut Context<'_>) {
        todo!()
    }

    /// Whether the next wait for events must not block: a peer's bounded slice of this turn was not enough for it.
    pub fn has_pending_work(&self) -> bool {
        todo!()
    }

    /// What happened since the last call, oldest first; to be logged (`PeerEvent::severity`, `Display`).
    pub fn poll_event(&mut self) -> Option<PeerEvent> {
        self.events.pop_front()
    }

    /// Soft stop (SIGUSR1): closes all sessions and listeners and teaches a new process that listens on the local
    /// peer's address, for at most five seconds.
    pub fn soft_stop(&mut self, context: &mut Context<'_>) {
        todo!()
    }

    /// Whether nothing is left to do after `soft_stop`.
    pub fn is_stopped(&self) -> bool {
        todo!()
    }

    /// Closes everything at once.
    pub fn close(&mut self, context: &mut Context<'_>) {
        todo!()
    }

    /// Text of `show peers`, in HAProxy's format. `local_time` is the time of day as `22/Nov/2026:13:44:59`.
    /// `None`: there is no such section ("No such peers").
    pub fn show(
        &self,
        what: ShowPeers<'_>,
        now_ms: u64,
        local_time: &str,
        tables: &[Table],
    ) -> Option<String> {
        todo!()
    }
}
