//! The entries: the truth that everything else in a table can be rebuilt from.
//!
//! A tombstone is what remains of an entry that an operator deleted: its key, and when.
//! Invariants: an entry is live when its head word says so, and that word is the last one written when it comes and the
//! first when it goes; its sequence is even while a live entry is at rest, so whoever copies an entry from outside reads the
//! head before and after and tries again if they differ or are odd.
//! Not here: who finds an entry (index), when it goes (expiry), who hears of it (update log).

use super::cell::Slot;
use super::key::{Key, KeyBuf};
use super::layout::{EXPIRES, HEAD, Layout, MARKS};
use crate::sys::memory::Cells;
use std::sync::atomic::AtomicU64;

/// Bits of the head word.
const HEAD_LIVE: u64 = 1 << 8;
const HEAD_TOMBSTONE: u64 = 1 << 9;
const HEAD_KEY_LEN_SHIFT: u32 = 16;
const HEAD_SEQUENCE_SHIFT: u32 = 32;
const HEAD_SEQUENCE_ONE: u64 = 1 << HEAD_SEQUENCE_SHIFT;

/// Most references that the marks can count.
const REFERENCES_MAX: u32 = (1 << 22) - 1;

/// The marks word, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    /// Id of the last local change, if `has_update_id`.
    pub update_id: u32,
    pub has_update_id: bool,
    /// In the list of those that cannot expire now, instead of a bucket.
    pub parked: bool,
    /// Owner that counted the references.
    pub epoch: u8,
    pub references: u32,
}

impl Marks {
    fn from_word(word: u64) -> Marks {
        Marks {
            update_id: (word >> 32) as u32,
            has_update_id: word >> 31 & 1 != 0,
            parked: word >> 30 & 1 != 0,
            epoch: (word >> 22) as u8,
            references: word as u32 & REFERENCES_MAX,
        }
    }

    fn to_word(self) -> u64 {
        assert!(
            self.references <= REFERENCES_MAX,
            "more references than connections can exist"
        );
        u64::from(self.update_id) << 32
            | u64::from(self.has_update_id) << 31
            | u64::from(self.parked) << 30
            | u64::from(self.epoch) << 22
            | u64::from(self.references)
    }
}

/// All entries of a table.
#[derive(Debug)]
pub(super) struct Entries {
    pub cells: Cells<AtomicU64>,
    pub layout: Layout,
}

impl Entries {
    /// First word of an entry.
    #[inline]
    pub fn at(&self, entry: u32) -> usize {
        entry as usize * self.layout.stride
    }

    /// Asks for the cache lines of an entry's first and last words; those of a long key in between come as they are read.
    #[inline]
    pub fn prefetch(&self, entry: u32) {
        let first = self.at(entry);
        self.cells.prefetch(first);
        self.cells.prefetch(first + self.layout.stride - 1);
    }

    /// A word of an entry.
    #[inline]
    pub fn word(&self, entry: u32, word: usize) -> &AtomicU64 {
        &self.cells[self.at(entry) + word]
    }

    /// Reads the unit of 4 bytes at `cell`.
    #[inline]
    pub fn half(&self, entry: u32, cell: usize) -> u32 {
        (self.word(entry, cell / 2).get() >> (32 * (cell % 2))) as u32
    }

    /// Writes the unit of 4 bytes at `cell` in one store.
    #[inline]
    pub fn set_half(&self, entry: u32, cell: usize, value: u32) {
        let word = self.word(entry, cell / 2);
        let shift = 32 * (cell % 2);
        word.set(word.get() & !(0xffff_ffff << shift) | u64::from(value) << shift);
    }

    #[inline]
    pub fn is_live(&self, entry: u32) -> bool {
        self.word(entry, HEAD).get() & HEAD_LIVE != 0
    }

    #[inline]
    pub fn is_tombstone(&self, entry: u32) -> bool {
        self.word(entry, HEAD).get() & (HEAD_LIVE | HEAD_TOMBSTONE) == HEAD_TOMBSTONE
    }

    #[inline]
    pub fn expires(&self, entry: u32) -> u64 {
        self.word(entry, EXPIRES).get()
    }

    #[inline]
    pub fn set_expires(&self, entry: u32, at_ms: u64) {
        self.word(entry, EXPIRES).set(at_ms);
    }

    /// The marks as they count for the owner of `epoch`: references of earlier owners are void.
    #[inline]
    pub fn marks(&self, entry: u32, epoch: u8) -> Marks {
        let marks = Marks::from_word(self.word(entry, MARKS).get());
        if marks.epoch == epoch {
            marks
        } else {
            Marks {
                epoch,
                references: 0,
                ..marks
            }
        }
    }

    #[inline]
    pub fn set_marks(&self, entry: u32, marks: Marks) {
        self.word(entry, MARKS).set(marks.to_word());
    }

    /// Whether the gauges of the entry were written by the owner of `epoch`.
    #[inline]
    pub fn is_of_epoch(&self, entry: u32, epoch: u8) -> bool {
        Marks::from_word(self.word(entry, MARKS).get()).epoch == epoch
    }

    /// Bytes of the key.
    #[inline]
    pub fn key_len(&self, entry: u32) -> usize {
        (self.word(entry, HEAD).get() >> HEAD_KEY_LEN_SHIFT) as usize & 0xffff
    }

    /// Eight bytes of the key, little endian, zeros beyond its end.
    #[inline]
    pub fn key_word(&self, entry: u32, index: usize, len: usize) -> u64 {
        let rest = len - 8 * index;
        let word = self.word(entry, self.layout.key_word + index).get();
        if rest >= 8 {
            word
        } else {
            word & ((1 << (8 * rest)) - 1)
        }
    }

    /// Whether the entry has this key.
    #[inline]
    pub fn has_key(&self, entry: u32, key: &Key<'_>) -> bool {
        let len = key.padded_len();
        if self.key_len(entry) != len {
            return false;
        }
        let first = self.at(entry) + self.layout.key_word;
        let (whole, rest) = (len / 8, len % 8);
        let mut words = self.cells[first..first + whole].iter().enumerate();
        words.all(|(index, word)| word.get() == key.word(index))
            && (rest == 0 || self.key_word(entry, whole, len) == key.word(whole))
    }

    /// Copies the key.
    pub fn key(&self, entry: u32) -> KeyBuf {
        let len = self.key_len(entry).min(self.layout.key_len);
        let mut key = KeyBuf::zeroed(len);
        for (index, chunk) in key.bytes_mut().chunks_mut(8).enumerate() {
            let word = self.key_word(entry, index, len).to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        key
    }

    /// Copies as much of the key as `out` has room for.
    #[inline]
    pub fn copy_key(&self, entry: u32, out: &mut [u8]) {
        let len = self.key_len(entry).min(self.layout.key_len).min(out.len());
        let first = self.at(entry) + self.layout.key_word;
        let words = &self.cells[first..first + len.div_ceil(8)];
        let mut chunks = out[..len].chunks_exact_mut(8);
        for (chunk, word) in chunks.by_ref().zip(words) {
            chunk.copy_from_slice(&word.get().to_le_bytes());
        }
        if let Some(word) = words.get(len / 8) {
            let word = word.get();
            for (index, byte) in chunks.into_remainder().iter_mut().enumerate() {
                *byte = (word >> (8 * index)) as u8;
            }
        }
    }

    /// The key in whole words: `out` is as long as it is, up to the next multiple of eight.
    #[inline]
    pub fn copy_key_words(&self, entry: u32, out: &mut [u8]) {
        let first = self.at(entry) + self.layout.key_word;
        let words = &self.cells[first..first + self.layout.key_len.div_ceil(8)];
        for (chunk, word) in out.chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&word.get().to_le_bytes());
        }
    }

    /// Makes a free entry live: key, lifetime, marks and proof as given, data all zero.
    pub fn write_new(&self, entry: u32, key: &Key<'_>, expires: u64, marks: Marks, proof: u64) {
        self.write_words(entry, key, expires, marks, proof);
        let sequence = (self.sequence(entry) + 2) & !1;
        self.write_head(entry, sequence, key, HEAD_LIVE);
    }

    /// Makes a free entry the tombstone of a key that is not in the table.
    pub fn write_tombstone(&self, entry: u32, key: &Key<'_>, deleted_ms: u64, marks: Marks) {
        self.write_words(entry, key, deleted_ms, marks, 0);
        self.write_head(entry, self.sequence(entry) | 1, key, HEAD_TOMBSTONE);
    }

    fn sequence(&self, entry: u32) -> u64 {
        self.word(entry, HEAD).get() >> HEAD_SEQUENCE_SHIFT
    }

    fn write_head(&self, entry: u32, sequence: u64, key: &Key<'_>, state: u64) {
        let key_len = (key.padded_len() as u64) << HEAD_KEY_LEN_SHIFT;
        self.word(entry, HEAD)
            .set(sequence << HEAD_SEQUENCE_SHIFT | key_len | state);
    }

    fn write_words(&self, entry: u32, key: &Key<'_>, expires: u64, marks: Marks, proof: u64) {
        let key_word = self.layout.key_word;
        self.set_expires(entry, expires);
        self.set_marks(entry, marks);
        for word in MARKS + 1..key_word {
            self.word(entry, word).set(0);
        }
        if let Some(word) = self.layout.proof_word {
            self.word(entry, word).set(proof);
        }
        let key_words = key.padded_len().div_ceil(8);
        for index in 0..key_words {
            self.word(entry, key_word + index).set(key.word(index));
        }
        for word in key_word + key_words..self.layout.stride {
            self.word(entry, word).set(0);
        }
    }

    /// Makes a live entry free. Its words stay until it is used again.
    pub fn mark_free(&self, entry: u32) {
        let head = self.word(entry, HEAD);
        head.set(head.get() & !(HEAD_LIVE | HEAD_TOMBSTONE) | HEAD_SEQUENCE_ONE);
    }

    /// Makes a live entry a tombstone.
    pub fn mark_tombstone(&self, entry: u32, deleted_ms: u64, marks: Marks) {
        let head = self.word(entry, HEAD);
        head.set(head.get() & !HEAD_LIVE | HEAD_TOMBSTONE | HEAD_SEQUENCE_ONE);
        self.set_expires(entry, deleted_ms);
        self.set_marks(entry, marks);
    }

    /// Begins or ends a change of several words of a live entry.
    #[inline]
    pub fn step_sequence(&self, entry: u32) {
        let head = self.word(entry, HEAD);
        head.set(head.get().wrapping_add(HEAD_SEQUENCE_ONE));
    }

    /// Ends a change of several words that a predecessor began.
    pub fn settle_sequence(&self, entry: u32) {
        if self.word(entry, HEAD).get() & HEAD_SEQUENCE_ONE != 0 {
            self.step_sequence(entry);
        }
    }

    /// Whether an entry has a key that the table can hold; a damaged file may say anything.
    pub fn is_plausible(&self, entry: u32) -> bool {
        (1..=self.layout.key_len).contains(&self.key_len(entry))
    }
}
