//! How sessions come and go: who is dialled and when, whose hello is accepted, which of two connections with a peer stays,
//! and what becomes of a member whose session is over.
//!
//! Not here: what is said in a session (`session`), whom to learn from (`learn`), the words for the log (`report`).

use std::cmp::Reverse;
use std::net::IpAddr;

use super::report::Reported;
use super::{Action, Ending, Group, LastStatus, Member, REDIAL_MS, Running, SessionId};
use crate::peers::context::Cursor;
use crate::peers::event::Severity;
use crate::peers::hello::{self, Hello, Status};
use crate::peers::session::{CloseReason, Session};
use crate::stick::Table;

/// The ordinary redial is spread by this much in both directions, so that nodes do not dial each other in step.
const REDIAL_JITTER_MS: u64 = 500;
/// After a refusal only a change of a configuration helps.
pub(super) const REDIAL_REFUSED_MS: u64 = 30_000;
/// After a collision or a silence: this, and up to `REDIAL_RANDOM_MS` more.
const REDIAL_SOON_MS: u64 = 50;
const REDIAL_RANDOM_MS: u64 = 2_000;
/// Connections whose peer is not known yet.
pub const ANONYMOUS_MAX: usize = 32;
/// A stopping process dials its successor so often.
const SUCCESSOR_REDIAL_MS: u64 = 500;

impl Group {
    /// Somebody connected to the section's listener, from `origin` if that is an address. `None`: close the connection without a word.
    pub fn accepted(
        &mut self,
        origin: Option<IpAddr>,
        now_ms: u64,
        tables: &mut [Table],
    ) -> Option<SessionId> {
        if self.running != Running::Started {
            return None;
        }
        if let Some(id) = self.least_welcome() {
            self.disconnected(id, now_ms, tables, CloseReason::HandshakeTimeout);
        }
        let id = self.insert(Session::accepted(now_ms), None, now_ms);
        if let Some(slot) = self.slot_mut(id) {
            slot.origin = origin;
        }
        Some(id)
    }

    /// Which of the connections that have not said who they are gives way to a new one, if there are too many: the oldest from where
    /// most of them come. So who opens them faster than a hello can travel keeps nobody out but those beside him.
    fn least_welcome(&self) -> Option<SessionId> {
        let anonymous = || {
            self.sessions()
                .filter(|(_, session)| session.is_anonymous())
                .filter_map(|(id, _)| Some((id, self.slot(id)?)))
        };
        if anonymous().count() < ANONYMOUS_MAX {
            return None;
        }
        let from = |origin| {
            anonymous()
                .filter(|(_, slot)| slot.origin == origin)
                .count()
        };
        let (id, _) = anonymous().max_by_key(|(_, slot)| {
            (
                from(slot.origin),
                Reverse((slot.created_ms, slot.generation)),
            )
        })?;
        Some(id)
    }

    pub(super) fn dial(&mut self, member: usize, now_ms: u64) {
        let Member { name, minor, .. } = &self.members[member];
        let mut hello = hello::encode_hello(*minor, name, &self.local_name, self.settings.pid);
        let (theirs_first, clock) = (*name < self.local_name, self.members[member].clock);
        if self.settings.extension {
            hello = hello::offer_extension(hello);
        }
        let mut session = Session::dial(now_ms, hello, *minor);
        if self.settings.extension {
            session.offer_extension(theirs_first, clock);
        }
        let session = self.insert(session, Some(member), now_ms);
        let member_state = &mut self.members[member];
        member_state.session = Some(session);
        member_state.redial_at_ms = None;
        member_state.alive_ms = now_ms;
        member_state.dials = member_state.dials.wrapping_add(1);
        member_state.last_status = LastStatus::Connecting;
        self.actions.push_back(Action::Dial { session, member });
    }

    pub(super) fn judge(&mut self, id: SessionId, hello: Hello, now_ms: u64, tables: &mut [Table]) {
        if self.running != Running::Started {
            return self.close(id, CloseReason::Stopping);
        }
        let found = self
            .members
            .iter()
            .position(|member| member.name.as_bytes() == hello.name);
        let Some(member) = found else {
            let text = format!(
                "no peer is named '{}' here; known: {}",
                hello::short(&hello.name),
                self.known_names()
            );
            return self.refuse(id, now_ms, Status::RemoteName, text);
        };
        if let Some(old) = self.members[member].session {
            if self.members[member].is_local {
                let text = "an old process is teaching this one already".into();
                return self.refuse(id, now_ms, Status::TryAgain, text);
            }
            self.members[member].collisions += 1;
            self.members[member].collided_ms = Some(now_ms);
            if let Some(slot) = self.slot_mut(old) {
                slot.session.close(CloseReason::Replaced);
            }
            self.remove(old, &CloseReason::Replaced, now_ms);
        }
        let member_state = &mut self.members[member];
        let known = member_state.pid.is_some() && hello.pid.is_some();
        if known && member_state.pid != hello.pid {
            // Another process: what the old one acknowledged says nothing.
            member_state.cursors.fill(Cursor::default());
        }
        member_state.pid = hello.pid.or(member_state.pid);
        member_state.minor = hello.minor;
        member_state.session = Some(id);
        member_state.redial_at_ms = None;
        if let Some(slot) = self.slot_mut(id) {
            slot.member = Some(member);
        }
        let Member { name, clock, .. } = &self.members[member];
        let (theirs_first, clock) = (*name < self.local_name, *clock);
        let extended = self.settings.extension && hello.extension.is_some();
        let is_local = self.members[member].is_local;
        self.with_session(id, now_ms, tables, |session, context| {
            if is_local {
                session.learn_from_predecessor();
            }
            if extended {
                session.offer_extension(theirs_first, clock);
            }
            session.accept(hello.minor, context);
        });
        self.established(id, member, now_ms, tables);
    }

    fn refuse(&mut self, id: SessionId, now_ms: u64, status: Status, text: String) {
        if let Some(slot) = self.slot_mut(id) {
            slot.session.refuse(now_ms, status, text);
        }
    }

    pub(super) fn established(
        &mut self,
        id: SessionId,
        member: usize,
        now_ms: u64,
        tables: &mut [Table],
    ) {
        let dialled = self.session(id).is_some_and(Session::is_dialled);
        let member_state = &mut self.members[member];
        member_state.last_status = LastStatus::Answered(Status::Accepted);
        member_state.last_handshake_ms = Some(now_ms);
        member_state.alive_ms = now_ms;
        member_state.not_up_to_date = false;
        let is_local = member_state.is_local;
        for agreement in &mut member_state.agreements {
            agreement.begin_anew();
        }
        let was_up = std::mem::replace(&mut member_state.reported, Reported::Up) == Reported::Up;
        if !was_up {
            let text = format!(
                "peer {}: connected, {} dialled, version 2.{}",
                member_state.name,
                if dialled { "we" } else { "it" },
                if dialled {
                    hello::MINOR_VERSION.min(member_state.minor)
                } else {
                    member_state.minor
                }
            );
            self.report(Some(member), Severity::Notice, text);
        }
        if is_local && dialled {
            self.with_session(id, now_ms, tables, Session::teach);
        }
        if !is_local {
            self.choose_teacher(now_ms);
        }
    }

    pub(super) fn remove(&mut self, id: SessionId, reason: &CloseReason, now_ms: u64) {
        if self.slot(id).is_none() {
            return;
        }
        let slot = self.sessions.remove(id.index as usize);
        let ending = match reason {
            CloseReason::Refused(..) | CloseReason::Violation(_) => Ending::Explained,
            CloseReason::Silence | CloseReason::NotReading => Ending::Reset,
            _ => Ending::Closed,
        };
        self.actions.push_back(Action::Close {
            session: id,
            ending,
        });
        let Some(member) = slot.member else {
            self.report_refusal(reason, now_ms);
            return;
        };
        self.watch_end(member, &slot.session, now_ms);
        let member_state = &mut self.members[member];
        member_state.heartbeats_sent += slot.session.counters.heartbeats_sent;
        member_state.heartbeats_received += slot.session.counters.heartbeats_received;
        match reason {
            CloseReason::Violation(_) => member_state.violations += 1,
            CloseReason::Silence => member_state.silences += 1,
            CloseReason::RefusedByPeer(status) => {
                member_state.last_status = LastStatus::Answered(*status);
                if *status == Status::Version {
                    member_state.minor = 0;
                }
            }
            _ => {}
        }
        self.end_agreement(id);
        if self.resync.assigned == Some(id) {
            self.unassign(now_ms);
        }
        let member_state = &mut self.members[member];
        if member_state.session == Some(id) {
            member_state.session = None;
            self.arm_redial(member, reason, now_ms);
        }
        if !matches!(reason, CloseReason::Replaced | CloseReason::Stopping) {
            self.report_down(member, reason, now_ms);
        }
    }

    fn arm_redial(&mut self, member: usize, reason: &CloseReason, now_ms: u64) {
        let jitter = self.random.below(2 * REDIAL_JITTER_MS);
        let soon = REDIAL_SOON_MS + self.random.below(REDIAL_RANDOM_MS);
        let member = &mut self.members[member];
        if member.is_local {
            let stopping = matches!(self.running, Running::Stopping(_));
            member.redial_at_ms = stopping.then_some(now_ms + SUCCESSOR_REDIAL_MS);
            self.local_teacher_lost(now_ms);
            return;
        }
        // Nodes that dial each other at once may kill both connections: only chance separates the next attempts.
        let collided = member
            .collided_ms
            .is_some_and(|at_ms| now_ms < at_ms + REDIAL_RANDOM_MS);
        let at_ms = match reason {
            CloseReason::Connection(_) if collided => now_ms + soon,
            CloseReason::Replaced | CloseReason::Silence | CloseReason::NotReading => now_ms + soon,
            CloseReason::RefusedByPeer(Status::Version | Status::TryAgain) => now_ms + REDIAL_MS,
            CloseReason::RefusedByPeer(_) => now_ms + REDIAL_REFUSED_MS + jitter,
            _ => {
                let ordinary = member.alive_ms + REDIAL_MS - REDIAL_JITTER_MS + jitter;
                ordinary.max(now_ms + REDIAL_SOON_MS)
            }
        };
        let started = matches!(self.running, Running::Started);
        member.redial_at_ms = (started && member.dialable).then_some(at_ms);
    }
}
