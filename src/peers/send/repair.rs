//! Deletions on their way, and all entries of a table for a peer that holds others.
//!
//! A repair is no lesson: nothing of it is acknowledged, live updates go on beside it, and the receiver merges what comes.

use super::{
    LIFETIME_MS_MAX, Output, SWEEP_PLACES_MAX, Sender, Sweep, encode_entry, update_bytes_max,
};
use crate::peers::context::Context;
use crate::peers::wire::{EncodeError, MESSAGE_BYTES_MAX, UpdateWriter, extension};
use crate::stick::{EntryIndex, Table, Tombstone};

/// The bit in the id of an entry that was changed here, and not learnt.
pub(in crate::peers) const CHANGED_HERE: u32 = 1;

/// A table that is being sent for a repair.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repair {
    /// Next place to look at; `None`: all were seen.
    cursor: Option<u32>,
    /// Entries sent.
    entries: u64,
}

impl Sender {
    /// The peer wants all that we have of this table.
    pub fn start_repair(&mut self, position: usize) {
        self.tables[position].repair = Some(Repair {
            cursor: Some(0),
            entries: 0,
        });
    }

    /// Whether everything that changed in the table has been sent, and no sweep is under way.
    pub fn has_sent_all(&self, position: usize, context: &Context<'_>) -> bool {
        let local = context.tables[context.shared[position]].local_update_id();
        self.lesson.is_none()
            && self.tables[position].sweep.is_none()
            && context.cursors[position].pushed == local
    }

    /// Goes on with the repairs that are under way.
    pub(super) fn fill_repairs(
        &mut self,
        context: &mut Context<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), EncodeError> {
        let mut places = SWEEP_PLACES_MAX;
        for position in 0..self.tables.len() {
            while let Some(repair) = self.tables[position].repair {
                let Some(cursor) = repair.cursor else {
                    let name = &context.tables[context.shared[position]].spec().wire_name;
                    out.append(|room| {
                        extension::encode_repaired(room, repair.entries, name.as_bytes())
                    })?;
                    self.tables[position].repair = None;
                    break;
                };
                if places == 0 {
                    self.more = true;
                    return Ok(());
                }
                let step = self.repair_step(context, position, cursor, places, out)?;
                places -= step.places;
                self.tables[position].repair = Some(Repair {
                    cursor: step.next,
                    entries: repair.entries + step.entries,
                });
            }
        }
        Ok(())
    }

    fn repair_step(
        &mut self,
        context: &mut Context<'_>,
        position: usize,
        cursor: u32,
        places: u32,
        out: &mut Output<'_>,
    ) -> Result<Step, EncodeError> {
        let table = &context.tables[context.shared[position]];
        let fitting = (out.room() / update_bytes_max(table)).saturating_sub(1);
        if fitting == 0 && out.room() < MESSAGE_BYTES_MAX {
            return Err(EncodeError::NoRoom);
        }
        let count = (fitting.clamp(1, 256) as u32).min(places);
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        let mut scan = table.scan(cursor, count, context.now_ms);
        found.extend(&mut scan);
        let next = scan.next_cursor();
        let result = found
            .iter()
            .try_for_each(|&entry| self.append_entry(context, position, entry, out));
        let entries = found.len() as u64;
        self.found = found;
        result?;
        self.append_deletions(context, position, cursor, count, None, out)?;
        Ok(Step {
            places: count,
            entries,
            next,
        })
    }

    fn append_entry(
        &mut self,
        context: &Context<'_>,
        position: usize,
        entry: EntryIndex,
        out: &mut Output<'_>,
    ) -> Result<(), EncodeError> {
        self.select(context, position, out)?;
        let table = &context.tables[context.shared[position]];
        let remaining_ms = remaining_ms(table, entry, context.now_ms);
        let server = self.server_of(table, entry);
        let changed_here = u32::from(table.update_id(entry).is_some());
        let id = context.now_ms as u32 & !CHANGED_HERE | changed_here;
        let encoded = out.append(|room| {
            let now_ms = context.now_ms;
            let count = encode_entry(room, table, entry, id, Some(remaining_ms), server, now_ms)?;
            room[..2].copy_from_slice(&extension::ENTRY_HEAD);
            Ok(count)
        });
        match encoded {
            Err(EncodeError::TooLong) => {
                self.too_long += 1;
                Ok(())
            }
            result => result,
        }
    }

    /// The deletions among these places; of a sweep, or of a repair. Nothing for a peer that would not know what they are.
    /// The last one that was sent.
    pub(super) fn append_deletions(
        &mut self,
        context: &Context<'_>,
        position: usize,
        cursor: u32,
        count: u32,
        sweep: Option<Sweep>,
        out: &mut Output<'_>,
    ) -> Result<Option<Tombstone>, EncodeError> {
        let mut last = None;
        if !self.deletions {
            return Ok(last);
        }
        let table = &context.tables[context.shared[position]];
        let id = context.cursors[position].acked;
        for tombstone in table.tombstones_in(cursor, count) {
            let changed = table.tombstone_update_id(tombstone);
            if sweep.is_some_and(|sweep| !sweep.wants(changed)) {
                continue;
            }
            self.append_deletion(context, position, tombstone, id, out)?;
            last = Some(tombstone);
        }
        Ok(last)
    }

    pub(super) fn append_deletion(
        &mut self,
        context: &Context<'_>,
        position: usize,
        tombstone: Tombstone,
        id: u32,
        out: &mut Output<'_>,
    ) -> Result<(), EncodeError> {
        self.select(context, position, out)?;
        let table = &context.tables[context.shared[position]];
        let spec = table.spec();
        let (key, deleted_ms) = table.tombstone(tombstone);
        let age_ms = extension::deletion_age(context.now_ms, deleted_ms);
        let before = out.end;
        out.append(|room| {
            let key_len = spec.wire_key_len() as usize;
            let mut body = UpdateWriter::new(
                room,
                id,
                Some(age_ms),
                spec.key_type,
                key_len,
                key.as_bytes(),
            );
            body.clock(context.now_ms as u32);
            let count = body.finish()?;
            room[..2].copy_from_slice(&extension::DELETION_HEAD);
            Ok(count)
        })?;
        self.updates_sent += 1;
        self.tables[position].updates += 1;
        self.tables[position].bytes += (out.end - before) as u64;
        Ok(())
    }
}

struct Step {
    places: u32,
    entries: u64,
    next: Option<u32>,
}

/// What is left of the entry's lifetime; in a table without `expire`, counted from the longest that can be sent.
fn remaining_ms(table: &Table, entry: EntryIndex, now_ms: u64) -> u32 {
    let lead_ms = table.lead_ms(entry, now_ms);
    if table.spec().expire_ms != 0 {
        let remaining_ms = table.remaining_ms(entry, now_ms) + lead_ms;
        return remaining_ms.clamp(1, LIFETIME_MS_MAX);
    }
    let age_ms = now_ms.saturating_sub(table.touched_ms(entry));
    let age_ms = u32::try_from(age_ms).unwrap_or(u32::MAX);
    (LIFETIME_MS_MAX + lead_ms).saturating_sub(age_ms).max(1)
}

/// What this node holds of a table.
pub(in crate::peers) fn report<'a>(table: &'a Table, now_ms: u64) -> extension::Report<'a> {
    let spec = table.spec();
    let counters = table.counters();
    extension::Report {
        table: spec.wire_name.as_bytes(),
        complete: table.is_complete(now_ms),
        has_ids: table.stores(crate::stick::DataType::ServerId),
        has_names: table.stores(crate::stick::DataType::ServerKey) && counters.names_refused == 0,
        expire_ms: u64::from(spec.expire_ms),
        entries: u64::from(table.used()),
        digest: table.digest(),
        clock_ms: now_ms,
    }
}
