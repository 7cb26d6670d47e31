//! What a section keeps of its members for `show peers lag` and `show peers errors`.

use super::behind::pending;
use super::{Group, Member, Session, SessionId};
use crate::peers::send::Taught;
use crate::stick::Table;

/// Which way a lesson went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Learnt,
    Taught,
}

/// A lesson that is over.
#[derive(Clone, Debug)]
pub struct LastResync {
    pub direction: Direction,
    /// Why it was given.
    pub cause: &'static str,
    pub entries: u64,
    pub duration_ms: u64,
    pub ended_ms: u64,
    /// How it ended.
    pub outcome: &'static str,
}

/// The last message of a peer that violated the protocol.
#[derive(Clone, Debug)]
pub struct BadMessage {
    pub at_ms: u64,
    /// Offset of its first byte in what the peer sent in that session.
    pub position: u64,
    /// Its first bytes, at most 64.
    pub bytes: Vec<u8>,
}

/// What is kept of a member for those views. Outlives its sessions.
#[derive(Debug, Default)]
pub struct Watched {
    /// Of the sessions that are over.
    pub bytes_received: u64,
    pub bytes_sent: u64,
    pub last_resync: Option<LastResync>,
    /// When, and in words.
    pub last_error: Option<(u64, String)>,
    pub bad_message: Option<BadMessage>,
}

impl Group {
    /// Notes when the tables changed. To be called in a turn in which one did, before its updates are sent.
    pub fn note_changes(&mut self, tables: &[Table], now_ms: u64) {
        let remotes = self.members.iter().filter(|member| !member.is_local);
        for (position, &index) in self.shared.iter().enumerate() {
            let local = tables[index].local_update_id();
            let behind = remotes
                .clone()
                .map(|member| local.wrapping_sub(member.cursors[position].acked))
                .max();
            let acked = local.wrapping_sub(behind.unwrap_or(0));
            self.change_times[position].note(local, acked, now_ms);
        }
    }

    /// Changes that a peer has not acknowledged, summed over all tables and peers.
    pub fn pending_updates(&self, tables: &[Table]) -> u64 {
        let remotes = self.members.iter().filter(|member| !member.is_local);
        remotes.map(|member| self.pending_of(member, tables)).sum()
    }

    /// Changes that the member has not acknowledged, in all tables.
    pub(in crate::peers) fn pending_of(&self, member: &Member, tables: &[Table]) -> u64 {
        let sender = member
            .session
            .and_then(|id| self.session(id))
            .and_then(Session::sender);
        let counts = self.shared.iter().enumerate().map(|(position, &index)| {
            let sent = sender.map(|sender| &sender.tables[position]);
            let deletions = sender.is_none_or(|sender| sender.deletions);
            u64::from(pending(&tables[index], member.cursors[position], sent, deletions).count)
        });
        counts.sum()
    }

    /// A session of the member is over: keeps its counters, the lesson that it broke off, and its bad message.
    pub(super) fn watch_end(&mut self, member: usize, session: &Session, now_ms: u64) {
        let broken_off = |direction, cause, (entries, started_ms): (u64, u64)| LastResync {
            direction,
            cause,
            entries,
            duration_ms: now_ms.saturating_sub(started_ms),
            ended_ms: now_ms,
            outcome: "broken off",
        };
        let learning = session
            .learning_progress()
            .map(|progress| broken_off(Direction::Learnt, self.resync.cause, progress));
        let teaching = session.teaching_progress().map(|progress| {
            broken_off(Direction::Taught, self.cause_of_teaching(member), progress)
        });
        let watched = &mut self.members[member].watched;
        watched.bytes_received += session.counters.bytes_received;
        watched.bytes_sent += session.counters.bytes_sent;
        if let Some(resync) = learning.or(teaching) {
            watched.last_resync = Some(resync);
        }
        if let Some((position, bytes)) = &session.violation {
            watched.bad_message = Some(BadMessage {
                at_ms: now_ms,
                position: *position,
                bytes: bytes.clone(),
            });
        }
    }

    fn cause_of_teaching(&self, member: usize) -> &'static str {
        if self.members[member].is_local {
            "a new process takes over"
        } else {
            "it asked"
        }
    }

    /// The member has confirmed its lesson.
    pub(super) fn watch_taught(&mut self, member: usize, taught: Taught, now_ms: u64) {
        self.members[member].watched.last_resync = Some(LastResync {
            direction: Direction::Taught,
            cause: self.cause_of_teaching(member),
            entries: taught.entries,
            duration_ms: taught.duration_ms,
            ended_ms: now_ms,
            outcome: "complete",
        });
    }

    /// The old process has taught us everything.
    pub(super) fn watch_local_lesson(&mut self, id: SessionId, member: usize, now_ms: u64) {
        let entries = self
            .session(id)
            .map_or(0, |session| session.counters.updates_received);
        let member = &mut self.members[member];
        let began_ms = member.last_handshake_ms.unwrap_or(now_ms);
        member.watched.last_resync = Some(LastResync {
            direction: Direction::Learnt,
            cause: "the old process leaves",
            entries,
            duration_ms: now_ms.saturating_sub(began_ms),
            ended_ms: now_ms,
            outcome: "complete",
        });
    }
}
