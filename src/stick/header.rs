//! The first words of a table's memory: what it is, what was going on, and its counters.
//!
//! The lock word is zero unless a change is under way; then it names the owner and what may be half done. The journal holds
//! the words of one entry that a change is about to overwrite together, so that a successor can put them back.

use super::cell::Slot;
use crate::sys::memory::Cells;
use std::sync::atomic::AtomicU64;

/// First word of every table: "burdockT".
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"burdockT");

/// Words of the header. Those that change together share a cache line.
#[derive(Clone, Copy, Debug)]
pub(super) enum Word {
    Magic = 0,
    Version,
    /// `Layout::digest`.
    Digest,
    HashKey0,
    HashKey1,
    /// Which owner this is, modulo 256, never 0: references and gauges of earlier ones are void.
    Epoch,
    /// A digest of the words above, for a table in a file.
    Seal,
    /// `expire` of the table in milliseconds, by which the expiry lists are built.
    ExpireMs,
    /// `owner << 8 | Change`, or 0.
    Lock = 8,
    /// First entry of the free list + 1, or 0.
    FreeHead,
    /// Entries from here on were never used.
    HighWater,
    /// Entries in use.
    Used,
    /// Id of the last local change.
    UpdateId,
    /// Highest id that a peer was sent.
    Pushed,
    /// No entry is in a bucket before this one (numbered from the start of time).
    Hand,
    Insertions = 16,
    Evictions,
    Refusals,
    Expirations,
    NamesRefused,
    /// Entries put near their place in an expiry list, where finding it would have taken too long.
    Misplaced,
    /// Number of words in the journal; 0: it is void.
    JournalLen = 24,
    /// Where they belong in the entries' words, followed by the words.
    JournalPlace,
    JournalWords,
    /// Not 0: the peers have taught this table (`positions`).
    Learnt = 32,
    /// The entry that was made last + 1, until it is touched; 0: it was.
    Newborn,
    /// Sums over the entries that are not parked; see `digest`.
    DigestKeys = 40,
    DigestIds,
    DigestNames,
    /// Tombstones held.
    Tombstones,
    /// When an entry was evicted or refused last; 0: never.
    LostMs,
    /// For a table in a file: the boot that its times belong to, and CLOCK_MONOTONIC and the wall clock when its owner last lived.
    Boot0 = 48,
    Boot1,
    AliveMs,
    AliveWallMs,
    /// Bringing times into another boot: which boot, by how much, and how many entries are done.
    ShiftBoot0,
    ShiftBoot1,
    ShiftMs,
    Shifted,
    /// How far each peer has this table: rows of two words, see `positions`.
    Positions = 64,
}

/// Most words that the journal can hold.
pub(super) const JOURNAL_WORDS_MAX: usize = 4;

/// What the lock word says is half done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Index, expiry lists, log, free list or counts.
    Structure = 1,
    /// Values of one entry; the journal has the old ones.
    Values = 2,
}

/// The header of a table.
#[derive(Debug)]
pub(super) struct Header(pub Cells<AtomicU64>);

impl Header {
    #[inline]
    pub fn get(&self, word: Word) -> u64 {
        self.0[word as usize].get()
    }

    #[inline]
    pub fn set(&self, word: Word, value: u64) {
        self.0[word as usize].set(value);
    }

    #[inline]
    pub fn add(&self, word: Word, value: u64) {
        self.set(word, self.get(word).wrapping_add(value));
    }

    /// Says that a change begins.
    #[inline]
    pub fn begin(&self, owner: u32, change: Change) {
        self.set(Word::Lock, u64::from(owner) << 8 | change as u64);
    }

    /// Says that it is complete.
    #[inline]
    pub fn end(&self) {
        self.set(Word::Lock, 0);
    }

    /// Notes words that are about to be overwritten.
    pub fn journal(&self, place: usize, words: impl Iterator<Item = u64>) {
        let mut len = 0;
        for word in words {
            assert!(len < JOURNAL_WORDS_MAX);
            self.0[Word::JournalWords as usize + len].set(word);
            len += 1;
        }
        self.set(Word::JournalPlace, place as u64);
        self.set(Word::JournalLen, len as u64);
    }

    /// Forgets them: the new words are complete.
    pub fn end_journal(&self) {
        self.set(Word::JournalLen, 0);
    }

    /// What the journal holds, if it is valid: the place and the words.
    pub fn journalled(&self) -> Option<(usize, impl Iterator<Item = u64>)> {
        let len = self.get(Word::JournalLen) as usize;
        let first = Word::JournalWords as usize;
        (1..=JOURNAL_WORDS_MAX).contains(&len).then(|| {
            let words = self.0[first..first + len].iter().map(Slot::get);
            (self.get(Word::JournalPlace) as usize, words)
        })
    }
}
