//! The dictionary of `server_key`: each distinct string once, entries hold its place.
//!
//! A name is one word (users in the upper half, length in the lower) and its bytes. A name without users stays until its
//! place is wanted. The order of stores (count up, store in the entry, count down) can leave a count too high when the owner
//! dies, never too low; a rebuild counts again.
//! Bounds: the places are fixed at creation. When all have users, a new name is refused and counted: the entry is then
//! found by `server_id` alone.
//! Not here: what a name means; when to refuse is the table's to count.

use super::cell::Slot;
use super::digest::hash_bytes;
use super::layout::{NAME_BYTES_MAX, NAME_WORDS};
use crate::sys::memory::Cells;
use std::collections::HashMap;
use std::sync::atomic::AtomicU64;

/// The dictionary of a table.
#[derive(Debug)]
pub(super) struct Names {
    cells: Cells<AtomicU64>,
    /// The strings again, to be borrowed and found; none for a place that was never used.
    strings: Vec<Option<Box<[u8]>>>,
    /// Their hashes for the table's digest.
    hashes: Vec<u64>,
    places: HashMap<Box<[u8]>, u32>,
    /// Where the search for a place without users goes on.
    hand: u32,
    /// The place of the name asked for last, which is often asked for again.
    last: u32,
    /// How many times a place was given to another name.
    pub changes: u32,
}

impl Names {
    /// Reads what is in the memory.
    pub fn new(cells: Cells<AtomicU64>) -> Names {
        let count = cells.len() / NAME_WORDS;
        let mut names = Names {
            cells,
            strings: vec![None; count],
            hashes: vec![0; count],
            places: HashMap::with_capacity(count.min(64)),
            hand: 0,
            last: 0,
            changes: 0,
        };
        for place in 0..count as u32 {
            if let Some(string) = names.read(place) {
                names.places.insert(string.clone(), place);
                names.hashes[place as usize] = hash_bytes(&string);
                names.strings[place as usize] = Some(string);
            }
        }
        names
    }

    fn word(&self, place: u32) -> &AtomicU64 {
        &self.cells[place as usize * NAME_WORDS]
    }

    /// The name at a place as the memory has it now; none beyond the dictionary.
    pub fn read(&self, place: u32) -> Option<Box<[u8]>> {
        if place as usize >= self.strings.len() {
            return None;
        }
        let len = (self.word(place).get() as u32 as usize).min(NAME_BYTES_MAX);
        let first = place as usize * NAME_WORDS + 1;
        let words = &self.cells[first..first + len.div_ceil(8)];
        let mut bytes: Vec<u8> = words
            .iter()
            .flat_map(|word| word.get().to_le_bytes())
            .collect();
        bytes.truncate(len);
        (len > 0).then(|| bytes.into_boxed_slice())
    }

    /// The name at a place.
    #[inline]
    pub fn get(&self, place: u32) -> Option<&[u8]> {
        self.strings.get(place as usize)?.as_deref()
    }

    /// The hash of the name at a place, for the table's digest.
    #[inline]
    pub fn hash(&self, place: u32) -> u64 {
        self.hashes.get(place as usize).copied().unwrap_or(0)
    }

    /// The place of a name, which is given one if it has none. `None`: empty, too long, or all places have users.
    pub fn place_of(&mut self, name: &[u8]) -> Option<u32> {
        if self.get(self.last).is_some_and(|last| last == name) {
            return Some(self.last);
        }
        if let Some(&place) = self.places.get(name) {
            self.last = place;
            return Some(place);
        }
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return None;
        }
        let count = self.strings.len() as u32;
        let place = (0..count)
            .map(|step| (self.hand + step) % count)
            .find(|&place| self.users(place) == 0)?;
        self.hand = (place + 1) % count;
        if let Some(old) = self.strings[place as usize].take() {
            self.places.remove(&old);
            self.changes = self.changes.wrapping_add(1);
        }
        let first = place as usize * NAME_WORDS + 1;
        self.word(place).set(0);
        for (cell, chunk) in self.cells[first..].iter().zip(name.chunks(8)) {
            let mut bytes = [0; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            cell.set(u64::from_le_bytes(bytes));
        }
        self.word(place).set(name.len() as u64);
        self.hashes[place as usize] = hash_bytes(name);
        self.strings[place as usize] = Some(name.into());
        self.places.insert(name.into(), place);
        Some(place)
    }

    /// Number of entries that hold the name.
    pub fn users(&self, place: u32) -> u32 {
        (self.word(place).get() >> 32) as u32
    }

    /// One more entry is going to hold the name.
    #[inline]
    pub fn refer(&self, place: u32) {
        self.word(place)
            .set(self.word(place).get().wrapping_add(1 << 32));
    }

    /// One entry less holds it.
    #[inline]
    pub fn release(&self, place: u32) {
        self.word(place)
            .set(self.word(place).get().wrapping_sub(1 << 32));
    }

    /// Forgets all users, before a rebuild counts them again.
    pub fn forget_users(&self) {
        for place in 0..self.strings.len() as u32 {
            self.word(place)
                .set(u64::from(self.word(place).get() as u32));
        }
    }
}
