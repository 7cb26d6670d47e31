//! Walking over all entries of a table, a bounded number of places at a time.
//!
//! Entries do not move, so a cursor is a place: what lives throughout a walk is met once, whatever comes and goes meanwhile.
//! Not here: what is done with them.

use super::table::{EntryIndex, Table};

impl Table {
    /// Looks at the next `budget` places from `cursor` on (0 at first): the live entries among them, and where to go on
    /// (`None`: all places were seen). An entry that lives throughout is seen exactly once, whatever changes meanwhile.
    ///
    /// The table stays borrowed; who changes it meanwhile takes entries one by one with [`Table::next_entry`].
    pub fn scan(&self, cursor: u32, budget: u32, now_ms: u64) -> Scan<'_> {
        let end = self.high_water().min(cursor.saturating_add(budget));
        Scan {
            table: self,
            at: cursor,
            end,
            now_ms,
        }
    }

    /// The first live entry at or after the place `cursor`, of at most `budget` places, and the cursor after it. `Err`: none
    /// of them is live; go on from there, or (`None`) the end is reached.
    pub fn next_entry(
        &self,
        cursor: u32,
        budget: u32,
        now_ms: u64,
    ) -> Result<(EntryIndex, u32), Option<u32>> {
        let mut scan = self.scan(cursor, budget, now_ms);
        match scan.next() {
            Some(entry) => Ok((entry, entry.0 + 1)),
            None => Err(scan.next_cursor()),
        }
    }
}

/// The live entries in a range of places; see [`Table::scan`].
#[derive(Debug)]
pub struct Scan<'a> {
    table: &'a Table,
    at: u32,
    end: u32,
    now_ms: u64,
}

impl Scan<'_> {
    /// Where the next scan starts; `None`: this one saw the end.
    pub fn next_cursor(&self) -> Option<u32> {
        (self.at < self.table.high_water()).then_some(self.at)
    }
}

impl Iterator for Scan<'_> {
    type Item = EntryIndex;

    fn next(&mut self) -> Option<EntryIndex> {
        while self.at < self.end {
            let entry = self.at;
            self.at += 1;
            if self.table.entries.is_live(entry) && self.table.is_visible(entry, self.now_ms) {
                return Some(EntryIndex(entry));
            }
        }
        None
    }
}
