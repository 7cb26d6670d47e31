//! How far a peer is behind: which changes of a table it has not acknowledged, and since when they wait.
//!
//! Nothing is counted while changes are made: a line that asks walks the update log from the peer's cursor.
//! Not here: the words for it (`lag`), what else is kept of a peer (`watch`).

use std::collections::VecDeque;

use crate::peers::context::{Cursor, is_after};
use crate::peers::send::SendTable;
use crate::stick::{NextUpdate, Table};

/// Moments kept of each table's changes.
const MOMENTS_MAX: usize = 64;
/// Ids of the update log that one line looks at; beyond, pending updates are counted by their ids.
const COUNTED_IDS_MAX: u32 = 65_536;

/// When the changes of a table were made, by their ids: exact for the latest, coarser the longer they wait.
#[derive(Debug, Default)]
pub struct ChangeTimes {
    /// Id of the last change noticed.
    last: u32,
    /// First id of those noticed at a moment, and the moment.
    moments: VecDeque<(u32, u64)>,
}

impl ChangeTimes {
    /// The table's last change has this id now. `acked`: all peers have acknowledged the changes up to here.
    pub fn note(&mut self, local: u32, acked: u32, now_ms: u64) {
        if local == self.last {
            return;
        }
        let first = self.last.wrapping_add(1);
        self.last = local;
        let oldest = acked.wrapping_add(1);
        while self
            .moments
            .get(1)
            .is_some_and(|&(id, _)| !is_after(id, oldest))
        {
            self.moments.pop_front();
        }
        if self.moments.back().is_none_or(|&(_, at_ms)| at_ms < now_ms) {
            self.moments.push_back((first, now_ms));
        }
        if self.moments.len() > MOMENTS_MAX {
            let mut keep = false;
            self.moments.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }

    /// When the change with this id was made, at the latest known moment before it.
    pub fn made_ms(&self, id: u32) -> Option<u64> {
        let before = self
            .moments
            .iter()
            .rev()
            .find(|&&(first, _)| !is_after(first, id));
        before.or(self.moments.front()).map(|&(_, at_ms)| at_ms)
    }
}

/// What a peer has not acknowledged of a table.
pub struct Pending {
    /// How many changes.
    pub count: u32,
    /// Id of the first change that was made since the last one acknowledged; its entry may have changed again.
    pub oldest: Option<u32>,
}

/// The changes that the peer has not acknowledged. `deletions`: it is sent those, too.
pub(in crate::peers) fn pending(
    table: &Table,
    cursor: Cursor,
    sent: Option<&SendTable>,
    deletions: bool,
) -> Pending {
    let local = table.local_update_id();
    let mut after = cursor.acked;
    let owed = cursor.owed || sent.is_some_and(SendTable::awaits_end_of_sweep);
    if is_after(after, local) || table.is_behind(after) || owed {
        // Which of the entries changed since is not known any more: all of them may have.
        return Pending {
            count: table.used(),
            oldest: (after != local).then(|| after.wrapping_add(1)),
        };
    }
    let mut count: u32 = 0;
    let mut budget = COUNTED_IDS_MAX;
    while budget > 0 {
        match table.next_update(after, budget) {
            NextUpdate::Deletion(id, _) if !deletions => {
                budget -= id.wrapping_sub(after);
                after = id;
            }
            NextUpdate::Update(id, _) | NextUpdate::Deletion(id, _) => {
                count += 1;
                budget -= id.wrapping_sub(after);
                after = id;
            }
            NextUpdate::UpToDate => {
                after = local;
                break;
            }
            NextUpdate::Skipped(id) => {
                after = id;
                break;
            }
        }
    }
    count += local.wrapping_sub(after);
    // An entry in use changes all the time, and is young whenever one looks: how long it has been missing there says its first change.
    Pending {
        count,
        oldest: (count > 0).then(|| cursor.acked.wrapping_add(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_a_change_is_known_and_memory_is_bounded() {
        let mut times = ChangeTimes::default();
        times.note(3, 0, 100);
        times.note(5, 0, 200);
        times.note(6, 0, 200);
        assert_eq!(times.made_ms(1), Some(100));
        assert_eq!(times.made_ms(3), Some(100));
        assert_eq!(times.made_ms(4), Some(200));
        assert_eq!(times.made_ms(6), Some(200));
        times.note(7, 5, 300);
        assert_eq!(times.moments.len(), 2); // 1 to 3 are acknowledged by all
        for id in 8..10_000 {
            times.note(id, 5, 300 + u64::from(id));
        }
        assert!(times.moments.len() <= MOMENTS_MAX);
        assert_eq!(times.made_ms(6), Some(200)); // the oldest stays exact
        assert!(times.made_ms(9_999).is_some_and(|at_ms| at_ms > 9_000));
        let mut wrapping = ChangeTimes {
            last: u32::MAX - 1,
            ..ChangeTimes::default()
        };
        wrapping.note(2, u32::MAX - 1, 10);
        wrapping.note(3, u32::MAX - 1, 20);
        assert_eq!(wrapping.made_ms(0), Some(10));
        assert_eq!(wrapping.made_ms(3), Some(20));
    }
}
