//! Taking over a table whose owner is gone.
//!
//! What a dead owner leaves: entries that are whole, each as it was before or after the change in which it died, and a lock
//! word. If the word is zero, all else is right too, and taking over costs nothing: references and gauges are void because
//! the epoch changes. If only values were changing, the journal puts them back. Else all that is derived is built again
//! from the entries, which reads each of them once.
//! Dying while rebuilding is harmless: the lock word stays, the entries are not touched but for what any owner would do.
//! Not here: which memory belongs to which table, tables of another layout.

use super::cell::Slot;
use super::entries::Marks;
use super::header::{Change, Header, MAGIC, Word};
use super::layout::{HEADER_WORDS, LAYOUT_VERSION, Layout};
use super::spec::TableSpec;
use super::table::Table;
use crate::sys::memory::Memory;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

/// Why a memory could not be attached as a table.
#[derive(Debug)]
pub enum AttachError {
    /// The system refused.
    Io(io::Error),
    /// Not a table, or one of another layout version.
    NotATable,
    /// A table of another type, length, size or other stored data.
    OtherSpec,
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttachError::Io(error) => error.fmt(f),
            AttachError::NotATable => f.write_str("not a table of this version"),
            AttachError::OtherSpec => {
                f.write_str("a table of another type, length, size or other stored data")
            }
        }
    }
}

impl std::error::Error for AttachError {}

impl From<io::Error> for AttachError {
    fn from(error: io::Error) -> AttachError {
        AttachError::Io(error)
    }
}

impl Table {
    /// Takes over the table in `fd`, whose previous owner no longer changes it (it died, or said so).
    ///
    /// References and `conn_cur` start from zero. Index, expiry and update log are rebuilt if the owner died in a change.
    /// `expire`, `nopurge` and the periods may differ from what they were.
    pub fn attach(fd: OwnedFd, spec: &TableSpec, now_ms: u64) -> Result<Table, AttachError> {
        let mut table = Table::look_at(fd, spec)?;
        table.recover(now_ms);
        Ok(table)
    }

    /// The table in `fd` as it is. Nothing is changed, and it may have another owner: what it says can change at any time.
    pub(super) fn look_at(fd: OwnedFd, spec: &TableSpec) -> Result<Table, AttachError> {
        let memory = Memory::open(fd)?;
        let header = Header(
            memory
                .carve()
                .take(HEADER_WORDS)
                .map_err(|_| AttachError::NotATable)?,
        );
        if header.get(Word::Magic) != MAGIC || header.get(Word::Version) != LAYOUT_VERSION {
            return Err(AttachError::NotATable);
        }
        let mut layout = Layout::new(spec)?;
        if header.get(Word::Digest) != layout.digest {
            layout = Layout::in_file(spec)?;
        }
        if header.get(Word::Digest) != layout.digest || memory.len() != layout.bytes() {
            return Err(AttachError::OtherSpec);
        }
        let hash_key = [header.get(Word::HashKey0), header.get(Word::HashKey1)];
        Ok(Table::over(spec, layout, memory, hash_key)?)
    }

    /// Whether `fd` holds a table that [`Table::attach`] would take over as it is, at the same cost for any number of entries:
    /// the layout and `expire` are the same. Nothing is changed.
    pub fn fits(fd: OwnedFd, spec: &TableSpec) -> bool {
        Table::look_at(fd, spec)
            .is_ok_and(|table| table.header.get(Word::ExpireMs) == u64::from(spec.expire_ms))
    }

    /// Number of entries that the table in `fd` holds; 0 if it is none. It may have an owner that goes on changing it.
    pub fn used_in(fd: OwnedFd, spec: &TableSpec) -> u32 {
        Table::look_at(fd, spec).map_or(0, |table| table.used())
    }

    /// Whether no change is under way: the owner may give the table away now.
    pub fn is_at_rest(&self) -> bool {
        self.header.get(Word::Lock) == 0
    }

    /// Whether the owner before died in the middle of a change, so that all that is derived was built again.
    pub fn was_mended(&self) -> bool {
        self.was_mended
    }

    /// Makes the table whole and ours.
    fn recover(&mut self, now_ms: u64) {
        let died_in = self.header.get(Word::Lock) as u8;
        let is_whole = died_in == 0 || died_in == Change::Values as u8;
        self.header.begin(self.owner, Change::Structure);
        self.undo_values();
        let expire_ms = u64::from(self.spec.expire_ms);
        let same_expire = self.header.get(Word::ExpireMs) == expire_ms;
        // An epoch is used again after 255 owners; no entry may still bear it then.
        let epoch = (self.header.get(Word::Epoch) as u8).checked_add(1);
        self.epoch = epoch.unwrap_or(1);
        self.was_mended = !is_whole;
        if is_whole && same_expire && epoch.is_some() {
            self.unpark_all();
        } else {
            self.carry_lifetimes(now_ms);
            self.rebuild(now_ms);
        }
        self.drop_newborn();
        self.header.set(Word::Epoch, u64::from(self.epoch));
        self.header.set(Word::ExpireMs, expire_ms);
        self.header.end();
    }

    /// Removes the entry that its maker did not live to complete: nobody was told that it is there.
    pub(super) fn drop_newborn(&mut self) {
        let newborn = (self.header.get(Word::Newborn) as u32).checked_sub(1);
        if let Some(entry) = newborn.filter(|&entry| entry < self.high_water())
            && self.entries.is_live(entry)
        {
            self.unlink_and_free(entry);
        }
        self.header.set(Word::Newborn, 0);
    }

    /// Puts back the words that were being overwritten.
    pub(super) fn undo_values(&mut self) {
        if let Some((place, words)) = self.header.journalled() {
            for (cell, word) in self.entries.cells.iter().skip(place).zip(words) {
                cell.set(word);
            }
            let entry = place / self.entries.layout.stride;
            if entry < self.entries.layout.size as usize {
                self.entries.settle_sequence(entry as u32);
            }
        }
        self.header.end_journal();
    }

    /// Those that were parked because of references may go like any other now.
    fn unpark_all(&mut self) {
        while let Some(entry) = self.expiry.first_parked() {
            let marks = self.fresh_marks(entry);
            self.unpark(entry, marks);
        }
    }

    /// Gives the entries lifetimes that fit a changed `expire`.
    pub(super) fn carry_lifetimes(&mut self, now_ms: u64) {
        let (old, new) = (
            self.header.get(Word::ExpireMs),
            u64::from(self.spec.expire_ms),
        );
        for entry in 0..self.high_water() {
            if self.entries.is_tombstone(entry) {
                continue;
            }
            let expires = self.entries.expires(entry);
            let carried = match (old, new) {
                (0, 0) => expires.min(now_ms),
                (_, 0) => expires.saturating_sub(old).min(now_ms),
                (0, _) => now_ms + new,
                _ => expires.min(now_ms + new),
            };
            if carried != expires {
                self.entries.set_expires(entry, carried);
            }
        }
        self.header.set(Word::ExpireMs, new);
    }

    /// Builds all that is derived again.
    pub(super) fn rebuild(&mut self, now_ms: u64) {
        self.index.clear();
        self.log.clear();
        self.names.forget_users();
        for entry in 0..self.high_water() {
            if self.entries.is_live(entry) {
                self.rebuild_entry(entry, now_ms);
            }
        }
        self.header.set(Word::Tombstones, 0);
        for entry in 0..self.high_water() {
            if self.entries.is_tombstone(entry) {
                self.rebuild_tombstone(entry, now_ms);
            }
        }
        let mut used = 0;
        let mut free_head = 0;
        for entry in (0..self.high_water()).rev() {
            if self.entries.is_live(entry) {
                used += 1;
            } else if !self.entries.is_tombstone(entry) {
                self.expiry.free_link(entry).set(free_head);
                free_head = entry + 1;
            }
        }
        self.header.set(Word::FreeHead, u64::from(free_head));
        self.header.set(Word::Used, used);
        self.header.set(Word::Misplaced, 0);
        let entries = &self.entries;
        let live = (0..self.high_water()).filter(|&entry| entries.is_live(entry));
        self.expiry.rebuild(now_ms, live, entries, &self.header);
        let mut buried: Vec<u32> = (0..self.high_water())
            .filter(|&entry| self.entries.is_tombstone(entry))
            .collect();
        buried.sort_by_key(|&entry| self.entries.expires(entry));
        for entry in buried {
            self.expiry.bury(entry);
        }
        self.set_digest(self.digest_again());
    }

    /// Makes one entry ours and known again, or frees it: when it has expired, or cannot be.
    fn rebuild_entry(&mut self, entry: u32, now_ms: u64) {
        let has_expired = self.spec.expire_ms != 0 && self.entries.expires(entry) <= now_ms;
        if has_expired || !self.entries.is_plausible(entry) {
            self.header.add(Word::Expirations, 1);
            self.entries.mark_free(entry);
            return;
        }
        let key = self.entries.key(entry);
        let hash = self.hash_of_entry(entry);
        if let Some(other) = self
            .index
            .find(hash, |other| self.entries.has_key(other, &key.as_key()))
        {
            // No owner makes two entries of one key; a damaged file may.
            self.entries.mark_free(
                if self.entries.expires(other) < self.entries.expires(entry) {
                    other
                } else {
                    entry
                },
            );
            if !self.entries.is_live(entry) {
                return;
            }
            self.index.remove(hash, other);
            self.forget_server(other);
        }
        self.index.insert(hash, entry);
        self.entries.settle_sequence(entry);
        self.reset_gauge(entry);
        self.recount_names(entry);
        self.restore_update_id(entry);
    }

    /// Enters the update id that a predecessor gave, if it is still in the log.
    pub(super) fn restore_update_id(&mut self, entry: u32) {
        let marks = self.entries.marks(entry, self.epoch);
        let is_past = self.local_update_id().wrapping_sub(marks.update_id) as i32 >= 0;
        let has_update_id = marks.has_update_id && is_past;
        if has_update_id && self.log.holds(marks.update_id, self.local_update_id()) {
            self.log.set(marks.update_id, entry);
        }
        let marks = Marks {
            has_update_id,
            parked: false,
            references: 0,
            epoch: self.epoch,
            ..marks
        };
        self.entries.set_marks(entry, marks);
    }
}
