//! Which places of a table have changed: a bit each, in a memory that the owner and somebody who copies the table share.
//!
//! The owner sets a bit after each change of a place, the other one takes bits before it copies: so whatever it copies too early, or
//! half of, is marked again. Costs the owner nothing while nobody watches.
//! Not here: what is copied (carry).

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

use super::table::Table;
use crate::sys::memory::{Cells, Memory};

/// The bits.
#[derive(Debug)]
pub(super) struct Watch {
    memory: Memory,
    words: Cells<AtomicU64>,
}

impl Watch {
    /// For a table of so many places, none of them marked.
    pub fn create(places: u32) -> io::Result<Watch> {
        let words = places.div_ceil(64).max(1) as usize;
        Watch::over(Memory::create(c"stick-table-changes", 8 * words)?, words)
    }

    fn over(memory: Memory, words: usize) -> io::Result<Watch> {
        let words = memory.carve().take(words)?;
        Ok(Watch { memory, words })
    }

    /// To be passed to the owner.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.memory.fd()
    }

    /// The place has changed.
    #[inline]
    pub fn mark(&self, place: u32) {
        if let Some(word) = self.words.get(place as usize / 64) {
            word.fetch_or(1 << (place % 64), AcqRel);
        }
    }

    /// Number of words.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Takes the marks of 64 places.
    pub fn take(&self, word: usize) -> u64 {
        let word = &self.words[word];
        if word.load(Acquire) == 0 {
            return 0;
        }
        word.swap(0, AcqRel)
    }
}

impl Table {
    /// From now on every change of an entry is marked in this memory, which a [`super::Carrier`] made.
    ///
    /// # Errors
    /// It is too small.
    pub fn set_watch(&mut self, fd: OwnedFd) -> io::Result<()> {
        let words = self.entries.layout.size.div_ceil(64).max(1) as usize;
        self.watch = Some(Watch::over(Memory::open(fd)?, words)?);
        Ok(())
    }

    /// Nobody watches any more.
    pub fn end_watch(&mut self) {
        self.watch = None;
    }

    /// A place has changed.
    #[inline]
    pub(super) fn changed(&self, place: u32) {
        if let Some(watch) = &self.watch {
            watch.mark(place);
        }
    }
}
