//! From key to entry: open addressing with linear probing.
//!
//! A slot is one word: the upper half is 32 bits of the key's hash, which also say where the probing began, the lower half
//! the entry + 1; a probe reads an entry only when the 32 bits agree. Zero is an empty slot. Capacity is 1.5 times the
//! table's size, not a power of two: the hash is scaled, not masked.
//! Deleting moves later slots of the run back, so there are no tombstones and a run never grows beyond what is in it.
//! Not here: hashing, comparing keys.

use super::cell::Slot;
use crate::sys::memory::Cells;
use std::sync::atomic::AtomicU64;

/// The hash index of a table.
#[derive(Debug)]
pub(super) struct Index(pub Cells<AtomicU64>);

impl Index {
    /// Where the probing for a hash begins.
    #[inline]
    pub fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.0.len() as u64) >> 32) as usize
    }

    #[inline]
    fn after(&self, slot: usize) -> usize {
        if slot + 1 == self.0.len() {
            0
        } else {
            slot + 1
        }
    }

    /// Asks for the slot where the probing for a hash begins.
    #[inline]
    pub fn prefetch(&self, hash: u32) {
        self.0.prefetch(self.home(hash));
    }

    /// The entry with this hash for which `is_it` holds.
    #[inline]
    pub fn find(&self, hash: u32, is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        self.find_or_slot(hash, is_it).ok()
    }

    /// The same; else the slot where it is not, for `insert_at`.
    #[inline]
    pub fn find_or_slot(
        &self,
        hash: u32,
        mut is_it: impl FnMut(u32) -> bool,
    ) -> Result<u32, usize> {
        let mut slot = self.home(hash);
        loop {
            let word = self.0[slot].get();
            if word == 0 {
                return Err(slot);
            }
            let entry = (word as u32).wrapping_sub(1);
            if (word >> 32) as u32 == hash && is_it(entry) {
                return Ok(entry);
            }
            slot = self.after(slot);
        }
    }

    /// Adds an entry that is not in the index.
    pub fn insert(&self, hash: u32, entry: u32) {
        self.insert_at(self.home(hash), hash, entry);
    }

    /// The same, when the search may begin at `slot`: all from the hash's home to there are taken.
    #[inline]
    pub fn insert_at(&self, mut slot: usize, hash: u32, entry: u32) {
        while self.0[slot].get() != 0 {
            slot = self.after(slot);
        }
        self.0[slot].set(u64::from(hash) << 32 | u64::from(entry + 1));
    }

    /// Removes an entry that is in the index.
    pub fn remove(&self, hash: u32, entry: u32) {
        let wanted = u64::from(hash) << 32 | u64::from(entry + 1);
        let mut hole = self.home(hash);
        loop {
            let word = self.0[hole].get();
            assert!(word != 0, "an entry is in the index while it lives");
            if word == wanted {
                break;
            }
            hole = self.after(hole);
        }
        // A slot may fill the hole unless its home lies behind the hole, on the way to where it is.
        let capacity = self.0.len();
        let distance = |from: usize, to: usize| {
            if to >= from {
                to - from
            } else {
                to + capacity - from
            }
        };
        let mut slot = hole;
        loop {
            slot = self.after(slot);
            let word = self.0[slot].get();
            if word == 0 {
                break;
            }
            if distance(self.home((word >> 32) as u32), slot) >= distance(hole, slot) {
                self.0[hole].set(word);
                hole = slot;
            }
        }
        self.0[hole].set(0);
    }

    /// Empties it.
    pub fn clear(&self) {
        self.0.iter().for_each(|slot| slot.set(0));
    }

    /// Number of slots in use.
    pub fn count(&self) -> usize {
        self.0.iter().filter(|slot| slot.get() != 0).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::memory::Memory;
    use std::collections::HashMap;

    /// Few homes, long runs that wrap around the end, every deletion order: what is in stays found, the rest is not.
    #[test]
    fn agrees_with_a_map() {
        for seed in 0..200u64 {
            let memory = Memory::create(c"test", 4096).unwrap();
            let index = Index(memory.carve().take(24).unwrap());
            let mut oracle: HashMap<u32, u32> = HashMap::new();
            let mut state = seed;
            let mut random = move || {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as u32
            };
            for _ in 0..500 {
                let entry = random() % 16;
                if let Some(hash) = oracle.remove(&entry) {
                    index.remove(hash, entry);
                } else {
                    let hash = (random() % 6 + 18) * (u32::MAX / 24);
                    oracle.insert(entry, hash);
                    index.insert(hash, entry);
                }
                for entry in 0..16 {
                    let hash = oracle.get(&entry).copied();
                    let found =
                        index.find(hash.unwrap_or(u32::MAX), |candidate| candidate == entry);
                    assert_eq!(found, hash.map(|_| entry), "seed {seed}");
                }
                assert_eq!(index.count(), oracle.len());
            }
        }
    }
}
