//! From whom a section learns, and when it has learnt enough.

use super::watch::{Direction, LastResync};
use super::{Group, Lesson, Running, Session, SessionId, StartState};
use crate::peers::event::Severity;
use crate::stick::Table;

/// Each phase of learning waits so long for a teacher.
const RESYNC_WINDOW_MS: u64 = 5_000;

/// How far a section has got with learning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::peers) enum Phase {
    FromLocal,
    FromRemote,
    Finished,
}

#[derive(Debug)]
pub(in crate::peers) struct Resync {
    pub phase: Phase,
    /// When the phase gives up.
    pub deadline_ms: Option<u64>,
    /// Who was asked.
    pub assigned: Option<SessionId>,
    /// Somebody has answered a request of ours, completely or not.
    pub taught: bool,
    /// Why the lesson is asked for, in words.
    pub cause: &'static str,
    /// Somebody has been asked already.
    asked_before: bool,
    /// The shards of those who have taught us all they have.
    shards_taught: Vec<u32>,
    /// What ended the phases, for `show peers`.
    pub flags: u32,
}

impl Resync {
    pub(super) fn new() -> Resync {
        Resync {
            phase: Phase::FromLocal,
            deadline_ms: None,
            assigned: None,
            taught: false,
            cause: "",
            asked_before: false,
            shards_taught: Vec::new(),
            flags: 0,
        }
    }
}

impl Group {
    /// What is still to come from the process that this one replaces; `None`: nothing.
    pub fn lesson_of_predecessor(&self) -> Option<Lesson> {
        let is_over = self.resync.phase != Phase::FromLocal
            || self.resync.flags & resync_flag::LOCAL_PARTIAL != 0
            || self.running != Running::Started
            || self.shared.is_empty();
        let mut local = self.members.iter().filter(|member| member.is_local);
        let established = |id| self.session(id).is_some_and(Session::is_established);
        let has_begun = local.any(|member| member.session.is_some_and(established));
        match (is_over, has_begun) {
            (true, _) => None,
            (false, true) => Some(Lesson::Begun),
            (false, false) => Some(Lesson::Expected),
        }
    }

    pub(super) fn start_learning(&mut self, now_ms: u64, tables: &[Table]) {
        let has_all = || self.shared.iter().all(|&table| tables[table].has_learnt());
        if self.settings.start == StartState::Complete && !has_all() {
            self.settings.start = StartState::Fresh;
        }
        match self.settings.start {
            StartState::Complete => self.finish_resync(),
            StartState::Predecessor => {
                self.resync.deadline_ms = Some(now_ms + RESYNC_WINDOW_MS);
            }
            StartState::Fresh => {
                self.resync.flags |= resync_flag::LOCAL_TIMEOUT;
                self.enter_remote(now_ms);
            }
        }
    }

    /// The old process broke its lesson off: it may come again.
    pub(super) fn local_teacher_lost(&mut self, now_ms: u64) {
        if self.resync.phase == Phase::FromLocal {
            self.resync.deadline_ms = Some(now_ms + RESYNC_WINDOW_MS);
        }
    }

    pub(super) fn enter_remote(&mut self, now_ms: u64) {
        self.resync.flags |= resync_flag::LOCAL_OVER;
        let remotes = self.members.iter().any(|member| !member.is_local);
        if !remotes || self.shared.is_empty() {
            return self.finish_resync();
        }
        self.resync.phase = Phase::FromRemote;
        self.resync.deadline_ms = Some(now_ms + RESYNC_WINDOW_MS);
        self.choose_teacher(now_ms);
    }

    pub(super) fn finish_resync(&mut self) {
        self.resync.flags |= resync_flag::LOCAL_OVER | resync_flag::REMOTE_OVER;
        self.resync.phase = Phase::Finished;
        self.resync.deadline_ms = None;
    }

    /// Asks a peer for a lesson, if one is wanted and nobody is asked yet.
    pub(super) fn choose_teacher(&mut self, now_ms: u64) {
        let wanted = match self.resync.phase {
            Phase::FromLocal => false,
            Phase::FromRemote => true,
            Phase::Finished => !self.resync.taught && self.settings.start != StartState::Complete,
        };
        let stopping = self.running != Running::Started;
        if !wanted || stopping || self.resync.assigned.is_some() || self.shared.is_empty() {
            return;
        }
        let candidates = self.members.iter().rev();
        let teacher = candidates
            .filter(|member| !member.is_local && !member.not_up_to_date)
            .filter(|member| !self.resync.shards_taught.contains(&member.shard))
            .filter_map(|member| member.session)
            .find(|&id| self.session(id).is_some_and(Session::is_established));
        let Some(teacher) = teacher else {
            return;
        };
        self.resync.cause = match (self.resync.phase, self.resync.asked_before) {
            (_, true) => "the lesson before did not bring everything",
            (Phase::Finished, false) => "this node had met nobody since it started",
            _ => "this node started",
        };
        self.resync.asked_before = true;
        self.resync.assigned = Some(teacher);
        self.resync.flags |= resync_flag::REQUESTED;
        self.resync.deadline_ms = None;
        if let Some(slot) = self.slot_mut(teacher) {
            slot.session.request_lesson(now_ms);
        }
    }

    /// The lesson did not come to its end: another peer is asked.
    pub(super) fn unassign(&mut self, now_ms: u64) {
        self.resync.assigned = None;
        self.resync.flags &= !resync_flag::REQUESTED;
        if self.resync.phase == Phase::FromRemote {
            self.resync.deadline_ms = Some(now_ms + RESYNC_WINDOW_MS);
        }
        self.choose_teacher(now_ms);
    }

    pub(super) fn lesson_ended(
        &mut self,
        id: SessionId,
        member: usize,
        partial: bool,
        learnt: Option<(u64, u64)>,
        now_ms: u64,
    ) {
        if self.members[member].is_local {
            if self.resync.phase == Phase::Finished {
                return;
            }
            if partial {
                self.resync.flags |= resync_flag::LOCAL_PARTIAL;
                self.resync.deadline_ms = Some(now_ms + RESYNC_WINDOW_MS);
                return;
            }
            self.resync.flags |= resync_flag::LOCAL_FINISHED;
            self.resync.taught = true;
            self.watch_local_lesson(id, member, now_ms);
            let text = "learnt everything from the old process".into();
            self.report(Some(member), Severity::Notice, text);
            return self.finish_resync();
        }
        let (Some((entries, duration_ms)), true) = (learnt, self.resync.assigned == Some(id))
        else {
            return;
        };
        self.resync.taught = true;
        self.members[member].watched.last_resync = Some(LastResync {
            direction: Direction::Learnt,
            cause: self.resync.cause,
            entries,
            duration_ms,
            ended_ms: now_ms,
            outcome: if partial { "partial" } else { "complete" },
        });
        let name = &self.members[member].name;
        let completeness = if partial {
            "; it does not claim to have all"
        } else {
            ""
        };
        let text =
            format!("peer {name}: learnt {entries} entries in {duration_ms} ms{completeness}");
        self.report(Some(member), Severity::Notice, text);
        if partial {
            self.resync.flags |= resync_flag::REMOTE_PARTIAL;
            self.members[member].not_up_to_date = true;
            self.unassign(now_ms);
            return;
        }
        let shard = self.members[member].shard;
        self.resync.shards_taught.push(shard);
        if shard == 0 || self.all_shards_taught() {
            self.resync.flags |= resync_flag::REMOTE_FINISHED;
            self.resync.assigned = None;
            self.finish_resync();
        } else {
            // What it lacks is with those who have the other parts.
            self.unassign(now_ms);
        }
    }

    fn all_shards_taught(&self) -> bool {
        let taught = &self.resync.shards_taught;
        let mut remotes = self.members.iter().filter(|member| !member.is_local);
        remotes.all(|member| taught.contains(&member.shard))
    }

    pub(super) fn resync_timeout(&mut self, now_ms: u64) {
        self.resync.deadline_ms = None;
        match self.resync.phase {
            Phase::FromLocal => {
                self.resync.flags |= resync_flag::LOCAL_TIMEOUT;
                self.enter_remote(now_ms);
            }
            Phase::FromRemote => {
                self.resync.flags |= resync_flag::REMOTE_TIMEOUT;
                self.finish_resync();
            }
            Phase::Finished => {}
        }
    }
}

/// Bits of the section's `flags` in `show peers`, as HAProxy 2.6 numbers them.
pub(in crate::peers) mod resync_flag {
    pub const LOCAL_OVER: u32 = 0x1;
    pub const REMOTE_OVER: u32 = 0x2;
    pub const ASSIGNED: u32 = 0x4;
    pub const REQUESTED: u32 = 0x8;
    pub const LOCAL_TIMEOUT: u32 = 0x10;
    pub const REMOTE_TIMEOUT: u32 = 0x20;
    pub const LOCAL_FINISHED: u32 = 0x100;
    pub const REMOTE_FINISHED: u32 = 0x200;
    pub const LOCAL_PARTIAL: u32 = 0x400;
    pub const REMOTE_PARTIAL: u32 = 0x800;
    pub const ASKED: u32 = 0x4000;
}
