//! Which entries changed here, in order: a ring of slots, one for each of the last update ids.
//!
//! A slot holds the entry + 1 that was given the id; the entry's marks hold the id in turn. They agree for an entry's standing
//! change and for nothing else, so a slot left behind by a later change, an eviction or an expiry is skipped when it is met.
//! Invariants: ids are consecutive modulo 2^32; a standing id that is younger than the ring is long is in the ring.
//! Not here: who has been sent what (peers).

use super::cell::Slot;
use super::entries::Entries;
use crate::sys::memory::Cells;
use std::sync::atomic::AtomicU32;

/// The update log of a table.
#[derive(Debug)]
pub(super) struct UpdateLog(pub Cells<AtomicU32>);

impl UpdateLog {
    #[inline]
    fn slot(&self, id: u32) -> &AtomicU32 {
        &self.0[id as usize & (self.0.len() - 1)]
    }

    /// Gives the id to an entry.
    #[inline]
    pub fn set(&self, id: u32, entry: u32) {
        self.slot(id).set(entry + 1);
    }

    /// The entry, or tombstone, whose standing change has this id; `id` must not have left the ring.
    pub fn entry(&self, id: u32, entries: &Entries) -> Option<u32> {
        let entry = self.slot(id).get().checked_sub(1)?;
        let marks = entries.marks(entry, 0);
        let stands = entries.is_live(entry) || entries.is_tombstone(entry);
        (stands && marks.has_update_id && marks.update_id == id).then_some(entry)
    }

    /// Asks for the memory of the entry that was given the id, whether its change still stands or not.
    #[inline]
    pub fn prefetch(&self, id: u32, entries: &Entries) {
        if let Some(entry) = self.slot(id).get().checked_sub(1) {
            entries.prefetch(entry);
        }
    }

    /// Number of ids that the ring holds.
    pub fn len(&self) -> u32 {
        self.0.len() as u32
    }

    /// Whether an id is still in the ring when `last` is the latest one.
    #[inline]
    pub fn holds(&self, id: u32, last: u32) -> bool {
        (last.wrapping_sub(id) as usize) < self.0.len()
    }

    /// Empties it.
    pub fn clear(&self) {
        self.0.iter().for_each(|slot| slot.set(0));
    }
}
