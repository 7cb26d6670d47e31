//! Where the peers stand, kept in the tables' memory (`stick::positions`): a reload or a death pushes nothing twice.
//!
//! What a peer has acknowledged it holds, whatever becomes of us. If it has lost it since, it either names another process
//! in its hello, which voids the position, or asks for a lesson. What was sent and not acknowledged is sent again.
//! Not here: the rows themselves (stick).

use super::{Group, Member, Phase};
use crate::peers::context::Cursor;
use crate::peers::fault::Fault;
use crate::stick::{Position, Table};

impl Group {
    /// Takes the positions that a predecessor has left in the tables, and forgets who is no member any more.
    pub(super) fn recall_positions(&mut self, tables: &mut [Table]) {
        let digests: Vec<u64> = self.members.iter().map(|member| member.digest).collect();
        for (position, &index) in self.shared.iter().enumerate() {
            tables[index].keep_positions(&digests);
            for member in &mut self.members {
                let Some(noted) = tables[index].position(member.digest) else {
                    continue;
                };
                member.noted[position] = noted;
                member.cursors[position] = Cursor {
                    pushed: noted.acked,
                    acked: noted.acked,
                    owed: noted.owed,
                };
                member.pid = member.pid.or(Some(noted.pid).filter(|pid| *pid != 0));
            }
        }
    }

    /// Notes in the tables whether a successor need ask for a lesson.
    pub(super) fn note_learnt(&self, tables: &mut [Table]) {
        if self.resync.phase == Phase::Finished && self.resync.taught {
            self.shared
                .iter()
                .for_each(|&table| tables[table].set_learnt());
        }
    }
}

impl Member {
    /// Notes in the tables how far this member is now.
    pub(super) fn note_positions(
        &mut self,
        shared: &[usize],
        tables: &mut [Table],
        fault: Option<Fault>,
    ) {
        let pid = self.pid.unwrap_or(0) & (u32::MAX >> 1);
        let behind_sent = cfg!(debug_assertions) && fault == Some(Fault::SuccessorBehindSent);
        for ((cursor, noted), &index) in self.cursors.iter().zip(&mut self.noted).zip(shared) {
            let acked = if behind_sent {
                cursor.pushed
            } else {
                cursor.acked
            };
            let now = Position {
                acked,
                pid,
                owed: cursor.owed,
            };
            if now != *noted {
                *noted = now;
                tables[index].note_position(self.digest, now);
            }
        }
    }
}
