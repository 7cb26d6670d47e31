//! A peers section: its members, their sessions, when to dial, and from whom to learn.
//!
//! One session a member: the newest connection wins. If two nodes dial each other at once both connections may die, and
//! random delays separate the next attempts. Learning goes through `FromLocal` (a predecessor on this machine teaches us),
//! `FromRemote` (one peer at a time is asked) and `Finished`.
//!
//! ```text
//! FromLocal ──taught, or 5 s──▶ FromRemote ──FINISHED, or 5 s without a teacher──▶ Finished
//! ```
//! A node that gave up without having met anybody asks the first peer that it meets later on: it may have started while
//! the network was cut, and what its peers had learnt by then would never reach it otherwise.
//!
//! The owner carries out what `poll_action` asks for, reports what became of connections, hands bytes over, and logs
//! what `poll_event` says. Random numbers come from the seed, time from the caller: the same calls have the same effect.
//! Not here: sockets (`link`), messages (`session`).

mod admit;
pub(super) mod agree;
pub(super) mod behind;
mod learn;
mod positions;
mod report;
#[cfg(test)]
mod tests;
pub(super) mod watch;

use std::collections::VecDeque;
use std::net::IpAddr;

use slab::Slab;

pub use admit::ANONYMOUS_MAX;
use agree::{Agreement, Repairing};
use behind::ChangeTimes;
pub(super) use learn::resync_flag;
use learn::{Phase, Resync};
use report::{Reported, address_text};
use watch::Watched;

use super::PeersSpec;
use super::clock::PeerClock;
use super::context::{Context, Cursor, LearningRules};
use super::event::PeerEvent;
use super::fault::Fault;
use super::hello::{self, Status};
use super::session::{CloseReason, Consumed, Session, SessionEvent};
use super::shard::Shard;
use crate::stick::{Position, Table, peer_digest};

/// From the start of an attempt, or the last sign of life, to the next attempt.
const REDIAL_MS: u64 = 5_000;
/// The first attempts of a node that starts empty are spread over this time.
const FIRST_DIAL_MS_MAX: u64 = 500;
/// A stopping process dials its successor for so long.
const SUCCESSOR_MS_MAX: u64 = 5_000;
/// How often a section that is not started says so.
const REMINDER_MS: u64 = 60_000;
/// Events kept for an owner that does not fetch them.
const EVENTS_MAX: usize = 256;

/// Names a session of a group; a later session never has the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId {
    index: u32,
    generation: u32,
}

/// How far a process that is replaced has got with teaching its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lesson {
    /// It has not said anything yet.
    Expected,
    /// It is connected.
    Begun,
}

/// What the owner has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect to a member and report `connected` or `disconnected`.
    Dial {
        /// The session it is for.
        session: SessionId,
        /// Position of the member in the section.
        member: usize,
    },
    /// The session is over, and its connection ends.
    Close {
        /// The session, unknown to the group from now on.
        session: SessionId,
        /// How it ends.
        ending: Ending,
    },
}

/// How the connection of a session that is over ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// What `poll_output` gave is sent before: it says why.
    Explained,
    /// Nothing is worth saying any more. What the kernel has been given still goes.
    Closed,
    /// The peer takes nothing. An end that waits in the kernel behind what it does not take would not reach it either; a reset waits for nothing.
    Reset,
}

/// A small generator of random numbers (splitmix64): delays need to differ, not to be secret.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The generator with this seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }
}

/// Where the tables of a starting node come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartState {
    /// Empty: peers are asked.
    Fresh,
    /// A process that is being replaced may teach us first.
    Predecessor,
    /// Taken over: nobody is asked, unless the predecessor had not learnt everything itself.
    Complete,
}

/// Settings of a group that are not in its section.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// `tune.peers.max-updates-at-once`; see [`Group::set_updates_max`].
    pub updates_max: u32,
    /// Names the life of our tables to the peers, announced in the hello: the pid of a process that lives as long as they do.
    pub pid: u32,
    /// Seed of the delays.
    pub seed: u64,
    /// Where the tables come from.
    pub start: StartState,
    /// Whether it shows other burdock nodes that it is one, and compares its tables with theirs; see `wire::extension`.
    pub extension: bool,
    /// A mistake to make; see `fault`.
    pub fault: Option<Fault>,
}

/// What became of the last attempt to reach a member, as `show peers` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastStatus {
    None,
    Connecting,
    Handshake,
    Answered(Status),
}

/// A member of the section.
#[derive(Debug)]
pub(super) struct Member {
    pub name: String,
    pub address: String,
    dialable: bool,
    pub is_local: bool,
    /// `shard`; 0: it is sent all keys.
    pub shard: u32,
    pub cursors: Vec<Cursor>,
    /// Its name in the tables' memory, and what stands there of it (`positions`).
    digest: u64,
    noted: Vec<Position>,
    pub session: Option<SessionId>,
    minor: u8,
    pid: Option<u32>,
    pub redial_at_ms: Option<u64>,
    /// When the last attempt began or the last sign of life came.
    alive_ms: u64,
    pub last_status: LastStatus,
    pub last_handshake_ms: Option<u64>,
    /// It answered PARTIAL in this session.
    pub not_up_to_date: bool,
    pub dials: u32,
    pub violations: u32,
    pub collisions: u32,
    /// When the last collision was.
    collided_ms: Option<u64>,
    pub silences: u32,
    /// Of the sessions that are over.
    pub heartbeats_sent: u32,
    pub heartbeats_received: u32,
    reported: Reported,
    too_long_reported: bool,
    pub watched: Watched,
    /// What its sessions have learnt of its clock.
    clock: PeerClock,
    /// In the order of the section's tables.
    pub agreements: Vec<Agreement>,
}

impl Member {
    /// Whether hellos to it announce the older version.
    pub fn speaks_2_0(&self) -> bool {
        self.minor == 0
    }
}

#[derive(Debug)]
struct Slot {
    session: Session,
    generation: u32,
    member: Option<usize>,
    created_ms: u64,
    /// Where its connection comes from, as far as it is known.
    origin: Option<IpAddr>,
    heartbeats_received: u32,
}

/// Whether and how far a section runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Running {
    /// `disabled`.
    Disabled,
    /// The local name is no member.
    NoLocalMember,
    Started,
    /// Teaching the successor until then.
    Stopping(u64),
    Stopped,
}

/// A peers section.
#[derive(Debug)]
pub struct Group {
    pub(super) name: String,
    local_name: String,
    pub(super) members: Vec<Member>,
    pub(super) shared: Vec<usize>,
    /// In the order of `shared`.
    pub(super) change_times: Vec<ChangeTimes>,
    sessions: Slab<Slot>,
    generation: u32,
    pub(super) resync: Resync,
    pub(super) running: Running,
    reminder_at_ms: u64,
    /// The table that is being repaired.
    repairing: Option<Repairing>,
    random: Random,
    settings: Settings,
    learning: LearningRules,
    shards: u32,
    actions: VecDeque<Action>,
    events: VecDeque<PeerEvent>,
    refusals: u32,
    refusals_since_ms: u64,
}

impl Group {
    /// A group that does nothing before `start`.
    pub fn new(spec: &PeersSpec, settings: Settings) -> Group {
        let members = spec.members.iter().map(|member| Member {
            name: member.name.clone(),
            address: address_text(member.address.as_ref()),
            dialable: member.address.is_some(),
            is_local: member.name == spec.local_name,
            // Without `shards`, or beyond their number, it is as if it were not there.
            shard: Shard::of(member.shard, spec.shards).map_or(0, |shard| shard.number),
            cursors: vec![Cursor::default(); spec.tables.len()],
            digest: peer_digest(&spec.name, &member.name),
            noted: vec![Position::default(); spec.tables.len()],
            session: None,
            minor: hello::MINOR_VERSION,
            pid: None,
            redial_at_ms: None,
            alive_ms: 0,
            last_status: LastStatus::None,
            last_handshake_ms: None,
            not_up_to_date: false,
            dials: 0,
            violations: 0,
            collisions: 0,
            collided_ms: None,
            silences: 0,
            heartbeats_sent: 0,
            heartbeats_received: 0,
            reported: Reported::Nothing,
            too_long_reported: false,
            watched: Watched::default(),
            clock: PeerClock::default(),
            agreements: vec![Agreement::default(); spec.tables.len()],
        });
        let members: Vec<Member> = members.collect();
        let running = if spec.disabled {
            Running::Disabled
        } else if members.iter().any(|member| member.is_local) {
            Running::Started
        } else {
            Running::NoLocalMember
        };
        Group {
            name: spec.name.clone(),
            local_name: spec.local_name.clone(),
            members,
            shared: spec.tables.clone(),
            change_times: spec.tables.iter().map(|_| ChangeTimes::default()).collect(),
            sessions: Slab::new(),
            generation: 0,
            resync: Resync::new(),
            running,
            reminder_at_ms: 0,
            repairing: None,
            random: Random::new(settings.seed),
            settings,
            learning: LearningRules {
                write_to: spec.write_to.clone(),
                recv_only: spec.recv_only.clone(),
            },
            shards: spec.shards,
            actions: VecDeque::new(),
            events: VecDeque::new(),
            refusals: 0,
            refusals_since_ms: 0,
        }
    }

    /// Begins to dial and to learn, from where a predecessor was whose tables these are.
    ///
    /// Who took tables over dials in the same moment: its peers had a session with the process before, and what is learnt until
    /// there is one again is unknown to them, so their clients may be sent to another server.
    pub fn start(&mut self, now_ms: u64, tables: &mut [Table]) {
        if self.running != Running::Started {
            self.remind(now_ms);
            return;
        }
        let took_over = self.settings.start == StartState::Complete;
        for member in self.members.iter_mut().filter(|member| !member.is_local) {
            if member.dialable {
                let delay_ms = self.random.below(FIRST_DIAL_MS_MAX);
                member.redial_at_ms = Some(if took_over { now_ms } else { now_ms + delay_ms });
            }
        }
        self.recall_positions(tables);
        self.start_learning(now_ms, tables);
    }

    /// Whether it takes part in the protocol at all.
    pub fn is_started(&self) -> bool {
        matches!(self.running, Running::Started)
    }

    /// Whether a soft stop has nothing left to do.
    pub fn is_stopped(&self) -> bool {
        !matches!(self.running, Running::Started | Running::Stopping(_))
    }

    /// Whether this node has all there is to know.
    pub fn is_up_to_date(&self) -> bool {
        self.resync.phase == Phase::Finished
    }

    /// Name of the section.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When a member would be dialled if its session, should it have one, sent no more.
    pub(super) fn redial_at_ms(&self, member: &Member) -> Option<u64> {
        let waiting = member.session.map(|_| member.alive_ms + REDIAL_MS);
        waiting.or(member.redial_at_ms)
    }

    /// Whether the section is `disabled`: it is as if it were not there.
    pub fn is_disabled(&self) -> bool {
        self.running == Running::Disabled
    }

    /// What is to be done, in order.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What is to be logged, oldest first.
    pub fn poll_event(&mut self) -> Option<PeerEvent> {
        self.events.pop_front()
    }

    /// The session, if it is not over.
    pub fn session(&self, id: SessionId) -> Option<&Session> {
        self.slot(id).map(|slot| &slot.session)
    }

    /// All sessions.
    pub fn sessions(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.sessions.iter().map(|(index, slot)| {
            let id = SessionId {
                index: index as u32,
                generation: slot.generation,
            };
            (id, &slot.session)
        })
    }

    fn slot(&self, id: SessionId) -> Option<&Slot> {
        self.sessions
            .get(id.index as usize)
            .filter(|slot| slot.generation == id.generation)
    }

    fn slot_mut(&mut self, id: SessionId) -> Option<&mut Slot> {
        self.sessions
            .get_mut(id.index as usize)
            .filter(|slot| slot.generation == id.generation)
    }

    fn insert(&mut self, session: Session, member: Option<usize>, now_ms: u64) -> SessionId {
        self.generation = self.generation.wrapping_add(1);
        let index = self.sessions.insert(Slot {
            session,
            generation: self.generation,
            member,
            created_ms: now_ms,
            origin: None,
            heartbeats_received: 0,
        });
        SessionId {
            index: index as u32,
            generation: self.generation,
        }
    }

    /// Calls `call` with the session and its context; `None` if the session is over.
    fn with_session<T>(
        &mut self,
        id: SessionId,
        now_ms: u64,
        tables: &mut [Table],
        call: impl FnOnce(&mut Session, &mut Context<'_>) -> T,
    ) -> Option<T> {
        let up_to_date = self.is_up_to_date();
        let slot = self
            .sessions
            .get_mut(id.index as usize)
            .filter(|slot| slot.generation == id.generation)?;
        let shard = slot
            .member
            .and_then(|member| Shard::of(self.members[member].shard, self.shards));
        let cursors: &mut [Cursor] = match slot.member {
            Some(member) => &mut self.members[member].cursors,
            None => &mut [],
        };
        let mut context = Context {
            now_ms,
            tables,
            shared: &self.shared,
            cursors,
            local_name: &self.local_name,
            up_to_date,
            updates_max: self.settings.updates_max,
            learning: &self.learning,
            shard,
            fault: self.settings.fault,
        };
        let result = call(&mut slot.session, &mut context);
        if let Some(member) = slot.member {
            if slot.session.is_extended() {
                self.members[member].clock = slot.session.peer_clock();
            }
            let fault = self.settings.fault;
            self.members[member].note_positions(&self.shared, tables, fault);
        }
        Some(result)
    }

    /// The connection that `Action::Dial` asked for stands.
    pub fn connected(&mut self, id: SessionId) {
        let Some(slot) = self.slot_mut(id) else {
            return;
        };
        slot.session.connected();
        if let Some(member) = slot.member {
            self.members[member].last_status = LastStatus::Handshake;
        }
    }

    /// A connection ended, was refused, or must end.
    pub fn disconnected(
        &mut self,
        id: SessionId,
        now_ms: u64,
        tables: &mut [Table],
        reason: CloseReason,
    ) {
        if let Some(slot) = self.slot_mut(id) {
            slot.session.close(reason);
        }
        self.settle(id, now_ms, tables);
    }

    /// Changes how many messages a call takes in or sends of one table.
    pub fn set_updates_max(&mut self, updates_max: u32) {
        self.settings.updates_max = updates_max.max(1);
    }

    /// Hands over bytes that a peer sent. Those not consumed must be given again, with what follows.
    pub fn handle_input(
        &mut self,
        id: SessionId,
        bytes: &[u8],
        now_ms: u64,
        tables: &mut [Table],
    ) -> Consumed {
        let mut total = 0;
        loop {
            let step = self.with_session(id, now_ms, tables, |session, context| {
                session.handle_input(&bytes[total..], context)
            });
            let Some(step) = step else {
                return Consumed {
                    bytes: bytes.len(),
                    more: false,
                };
            };
            total += step.bytes;
            let verdict = self.settle(id, now_ms, tables);
            if !verdict {
                return Consumed {
                    bytes: total,
                    more: step.more,
                };
            }
        }
    }

    /// Writes what the session has to say into `out`.
    pub fn poll_output(
        &mut self,
        id: SessionId,
        out: &mut [u8],
        now_ms: u64,
        tables: &mut [Table],
    ) -> usize {
        let written = self.with_session(id, now_ms, tables, |session, context| {
            session.poll_output(out, context)
        });
        self.report_too_long(id);
        self.settle(id, now_ms, tables);
        written.unwrap_or(0)
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now_ms: u64, tables: &mut [Table]) {
        match self.running {
            Running::Disabled | Running::Stopped => return,
            Running::NoLocalMember => {
                if now_ms >= self.reminder_at_ms {
                    self.remind(now_ms);
                }
                return;
            }
            Running::Stopping(until_ms) if now_ms >= until_ms => {
                self.stop(now_ms, tables);
                return;
            }
            Running::Started | Running::Stopping(_) => {}
        }
        let due: Vec<SessionId> = self
            .sessions()
            .filter(|(_, session)| session.poll_timeout(now_ms).is_some_and(|at| at <= now_ms))
            .map(|(id, _)| id)
            .collect();
        for id in due {
            self.with_session(id, now_ms, tables, |session, context| {
                session.handle_timeout(context);
            });
            self.settle(id, now_ms, tables);
        }
        if self.resync.deadline_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            self.resync_timeout(now_ms);
            self.note_learnt(tables);
        }
        for member in 0..self.members.len() {
            let due = self.members[member].redial_at_ms;
            if due.is_some_and(|at_ms| at_ms <= now_ms) && self.members[member].session.is_none() {
                self.dial(member, now_ms);
            }
        }
    }

    /// When `handle_timeout`, and `poll_output` of the sessions after it, have something to do.
    pub fn poll_timeout(&self, now_ms: u64) -> Option<u64> {
        match self.running {
            Running::Disabled | Running::Stopped => return None,
            Running::NoLocalMember => return Some(self.reminder_at_ms),
            Running::Started | Running::Stopping(_) => {}
        }
        let stopping = match self.running {
            Running::Stopping(until_ms) => Some(until_ms),
            _ => None,
        };
        let sessions = self
            .sessions()
            .filter_map(|(_, session)| session.poll_timeout(now_ms));
        let members = self
            .members
            .iter()
            .filter(|member| member.session.is_none())
            .filter_map(|member| member.redial_at_ms);
        sessions
            .chain(members)
            .chain(self.resync.deadline_ms)
            .chain(stopping)
            .min()
    }

    /// Takes the session's events, and the session away if it is over. Says whether a hello was judged.
    fn settle(&mut self, id: SessionId, now_ms: u64, tables: &mut [Table]) -> bool {
        let mut verdict = false;
        while let Some(event) = self.slot_mut(id).and_then(|slot| slot.session.poll_event()) {
            if let SessionEvent::Hello(hello) = event {
                self.judge(id, hello, now_ms, tables);
                verdict = true;
            } else {
                self.handle_event(id, event, now_ms, tables);
            }
        }
        if let Some(slot) = self.slot_mut(id) {
            let received = slot.session.counters.heartbeats_received;
            if let Some(member) = slot.member
                && std::mem::replace(&mut slot.heartbeats_received, received) != received
            {
                self.members[member].alive_ms = now_ms;
            }
        }
        let reason = self
            .slot(id)
            .and_then(|slot| slot.session.close_reason())
            .cloned();
        if let Some(reason) = reason {
            self.remove(id, &reason, now_ms);
        }
        verdict
    }

    fn close(&mut self, id: SessionId, reason: CloseReason) {
        if let Some(slot) = self.slot_mut(id) {
            slot.session.close(reason);
        }
    }

    /// Closes all sessions and teaches the process that listens on the local peer's address from now on.
    pub fn soft_stop(&mut self, now_ms: u64, tables: &mut [Table]) {
        if self.running != Running::Started {
            self.running = Running::Stopped;
            return;
        }
        self.stop(now_ms, tables);
        let local = self
            .members
            .iter()
            .position(|member| member.is_local && member.dialable);
        // What we have is taught even if it may not be all (the lesson then ends as partial): it may be all there is.
        if let (Some(local), false) = (local, self.shared.is_empty()) {
            self.running = Running::Stopping(now_ms + SUCCESSOR_MS_MAX);
            self.dial(local, now_ms);
        }
    }

    /// Closes everything.
    pub fn stop(&mut self, now_ms: u64, tables: &mut [Table]) {
        self.running = Running::Stopped;
        self.resync.deadline_ms = None;
        for member in &mut self.members {
            member.redial_at_ms = None;
        }
        let all: Vec<SessionId> = self.sessions().map(|(id, _)| id).collect();
        for id in all {
            self.disconnected(id, now_ms, tables, CloseReason::Stopping);
        }
    }
}
