//! A table in a file: made there, and brought back to life after all processes, or the machine, have ended.
//!
//! ```text
//! same boot      the file is what the last process left, to the word (the system kept its pages): the journal mends what was half
//!                done, and whatever is wrong beyond that is damage, which is refused
//! another boot   the pages are of different moments: each entry must prove itself (`proof`), those that cannot are dropped and counted,
//!                and all times move by the wall-clock time that has passed, which is never less than nothing
//! ```
//! Tombstones are kept within a boot only. In both cases all that is derived is built again, and the table has no history: no
//! update ids, no positions of peers, nothing learnt. What peers acknowledged of an earlier life says nothing about this one, and they may know better by now: they are asked.
//! Invariants: a seal over what never changes tells a header from noise; bringing times into another boot can be interrupted and goes
//! on where it was.
//! Not here: names of files, locks, what becomes of a refused file (process).

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

use super::attach::AttachError;
use super::entries::Marks;
use super::hash::hash;
use super::header::{Change, Header, MAGIC, Word};
use super::layout::{HEADER_WORDS, LAYOUT_VERSION, Layout};
use super::spec::{DataClass, DataType, TableSpec};
use super::table::Table;
use crate::sys::memory::Memory;

/// A clock that is behind its own past by more than this is another one: time stands still in no boot.
const CLOCK_SLACK_MS: u64 = 1_000;

/// The boot of a machine (`/proc/sys/kernel/random/boot_id`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Boot(pub [u64; 2]);

/// Now, in the three ways that a file needs.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// This boot.
    pub boot: Boot,
    /// CLOCK_MONOTONIC, milliseconds.
    pub now_ms: u64,
    /// The wall clock, milliseconds since 1970.
    pub wall_ms: u64,
}

/// Why a file is not taken.
#[derive(Debug)]
pub enum ReviveError {
    /// The system refused.
    Io(io::Error),
    /// It is no table, or not a whole one; in words.
    Damaged(String),
    /// It is a table of another declaration, or of another version of burdock; in words.
    OtherLayout(String),
}

impl From<io::Error> for ReviveError {
    fn from(error: io::Error) -> ReviveError {
        ReviveError::Io(error)
    }
}

impl fmt::Display for ReviveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReviveError::Io(error) => error.fmt(f),
            ReviveError::Damaged(text) => write!(f, "it is damaged: {text}"),
            ReviveError::OtherLayout(text) => write!(f, "it has another layout: {text}"),
        }
    }
}

/// What came of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revived {
    /// Entries that live on.
    pub kept: u32,
    /// Entries whose lifetime ended meanwhile.
    pub expired: u32,
    /// Entries that were not whole.
    pub damaged: u32,
    /// The machine has started since, or it is another one.
    pub rebooted: bool,
    /// Milliseconds since the last owner lived.
    pub away_ms: u64,
}

/// Bytes of the file of a table.
///
/// # Errors
/// The declaration is out of bounds.
pub fn bytes_in_file(spec: &TableSpec) -> io::Result<u64> {
    Ok(Layout::in_file(spec)?.bytes() as u64)
}

impl Table {
    /// Lays an empty table out in a file of `bytes_in_file` zeros, or in whatever memory it is.
    pub fn create_in_file(
        fd: OwnedFd,
        spec: &TableSpec,
        hash_key: [u64; 2],
        moment: Moment,
    ) -> io::Result<Table> {
        let layout = Layout::in_file(spec)?;
        let memory = Memory::open(fd)?;
        let mut table = Table::create_in(memory, layout, spec, hash_key, moment.now_ms)?;
        table.header.set(Word::Seal, table.header.seal());
        table.set_boot(moment);
        Ok(table)
    }

    /// The table that a file has kept; its owner is gone for good, and nobody else has it.
    ///
    /// # Errors
    /// It is refused; nothing that matters was changed.
    pub fn revive(
        fd: OwnedFd,
        spec: &TableSpec,
        moment: Moment,
    ) -> Result<(Table, Revived), ReviveError> {
        let header = Header(header_of(&fd)?);
        check_header(&header)?;
        let mut table = Table::look_at(fd, spec).map_err(|error| match error {
            AttachError::Io(error) => ReviveError::Io(error),
            AttachError::NotATable => ReviveError::Damaged("it is no table".into()),
            AttachError::OtherSpec => refuse_spec(&header, spec),
        })?;
        let alive_ms = header.get(Word::AliveMs);
        let rebooted =
            header.boot() != moment.boot || alive_ms > moment.now_ms.saturating_add(CLOCK_SLACK_MS);
        let mut revived = Revived {
            rebooted,
            away_ms: match rebooted {
                true => moment.wall_ms.saturating_sub(header.get(Word::AliveWallMs)),
                false => moment.now_ms.saturating_sub(alive_ms),
            },
            ..Revived::default()
        };
        if rebooted {
            // The page of the header and those of the entries may be of different moments.
            header.end_journal();
            header.set(Word::Newborn, 0);
            revived.damaged = table.drop_unproven();
            if revived.damaged > 0 || header.get(Word::LostMs) > 0 {
                header.set(Word::LostMs, moment.now_ms);
            }
            table.shift_times(moment, revived.away_ms);
        } else {
            table.undo_values();
            table.refuse_unproven()?;
        }
        table.begin_anew(moment);
        let expirations = table.counters().expirations;
        table.carry_lifetimes(moment.now_ms);
        table.rebuild(moment.now_ms);
        table.drop_newborn();
        revived.expired = (table.counters().expirations - expirations) as u32;
        revived.kept = table.used();
        table.set_boot(moment);
        table.header.end();
        Ok((table, revived))
    }

    /// Notes that the owner lives, for whoever finds the file. To be called every second or so.
    pub fn note_alive(&mut self, now_ms: u64, wall_ms: u64) {
        if self.entries.layout.proof_word.is_some() {
            self.header.set(Word::AliveMs, now_ms);
            self.header.set(Word::AliveWallMs, wall_ms);
        }
    }

    /// Whether the table was made for a file.
    pub fn is_in_file(&self) -> bool {
        self.entries.layout.proof_word.is_some()
    }

    fn set_boot(&mut self, moment: Moment) {
        self.note_alive(moment.now_ms, moment.wall_ms);
        self.header.set(Word::Boot0, moment.boot.0[0]);
        self.header.set(Word::Boot1, moment.boot.0[1]);
    }

    /// The file is as a process left it: an entry that is not whole was not made by one.
    fn refuse_unproven(&self) -> Result<(), ReviveError> {
        let high_water = self.header.get(Word::HighWater);
        if high_water > u64::from(self.entries.layout.size) {
            let text = format!("it says that {high_water} entries were used");
            return Err(ReviveError::Damaged(text));
        }
        let mut live = (0..self.high_water()).filter(|&entry| self.entries.is_live(entry));
        match live.find(|&entry| !self.is_proven(entry)) {
            None => Ok(()),
            Some(entry) => {
                let text = format!("entry {entry} is not whole");
                Err(ReviveError::Damaged(text))
            }
        }
    }

    /// Keeps what proves itself, wherever the header thinks that entries end. The number of those that do not.
    fn drop_unproven(&mut self) -> u32 {
        let mut damaged = 0;
        let mut high_water = 0;
        for entry in 0..self.entries.layout.size {
            if self.entries.is_tombstone(entry) {
                self.entries.mark_free(entry);
            }
            if !self.entries.is_live(entry) {
                continue;
            }
            high_water = entry + 1;
            if !self.is_proven(entry) {
                self.entries.mark_free(entry);
                damaged += 1;
            }
        }
        self.header.set(Word::HighWater, u64::from(high_water));
        damaged
    }

    /// Brings all times from the boot that the file knows to this one.
    fn shift_times(&mut self, moment: Moment, away_ms: u64) {
        let header = &self.header;
        let begun = Boot([header.get(Word::ShiftBoot0), header.get(Word::ShiftBoot1)]);
        if begun != moment.boot {
            let alive_ms = header.get(Word::AliveMs);
            let shift_ms = moment.now_ms.wrapping_sub(away_ms).wrapping_sub(alive_ms);
            header.set(Word::ShiftBoot0, 0);
            header.set(Word::Shifted, 0);
            header.set(Word::ShiftMs, shift_ms);
            header.set(Word::ShiftBoot1, moment.boot.0[1]);
            header.set(Word::ShiftBoot0, moment.boot.0[0]);
        }
        let shift_ms = header.get(Word::ShiftMs);
        let rates: Vec<(usize, u32)> = DataType::ALL
            .iter()
            .filter_map(|&data_type| self.entries.layout.field(data_type))
            .filter(|field| field.class == DataClass::Rate)
            .map(|field| (field.cell, field.elements))
            .collect();
        let first = self.header.get(Word::Shifted) as u32;
        for entry in first..self.high_water() {
            if self.entries.is_live(entry) {
                let expires = self.entries.expires(entry) as i64;
                let shifted = expires.saturating_add(shift_ms as i64).max(0);
                self.entries.set_expires(entry, shifted as u64);
                for &(cell, elements) in &rates {
                    for element in 0..elements as usize {
                        let start = self.entries.half(entry, cell + 3 * element);
                        let start = start.wrapping_add(shift_ms as u32);
                        self.entries.set_half(entry, cell + 3 * element, start);
                    }
                }
            }
            self.header.set(Word::Shifted, u64::from(entry) + 1);
        }
    }

    /// Forgets all that is not an entry.
    fn begin_anew(&mut self, moment: Moment) {
        self.header.begin(self.owner, Change::Structure);
        self.epoch = 1;
        self.header.set(Word::Epoch, u64::from(self.epoch));
        for entry in 0..self.high_water() {
            if !self.entries.is_live(entry) && !self.entries.is_tombstone(entry) {
                continue;
            }
            let marks = Marks {
                update_id: 0,
                has_update_id: false,
                parked: false,
                epoch: self.epoch,
                references: 0,
            };
            self.entries.set_marks(entry, marks);
        }
        self.header.set(Word::UpdateId, 0);
        self.header.set(Word::Pushed, 0);
        self.header.set(Word::Learnt, 0);
        self.keep_positions(&[]);
        let expire_ms = u64::from(self.spec.expire_ms);
        if self.header.get(Word::ExpireMs) == 0 && expire_ms == 0 {
            return;
        }
        // Whatever the file says, nobody lives longer than a whole lifetime from now.
        let longest_ms = moment.now_ms + self.header.get(Word::ExpireMs).max(expire_ms);
        for entry in (0..self.high_water()).filter(|&entry| self.entries.is_live(entry)) {
            if self.entries.expires(entry) > longest_ms {
                self.entries.set_expires(entry, longest_ms);
            }
        }
    }
}

impl Header {
    fn boot(&self) -> Boot {
        Boot([self.get(Word::Boot0), self.get(Word::Boot1)])
    }

    /// The digest of what never changes.
    fn seal(&self) -> u64 {
        let words = [
            MAGIC,
            self.get(Word::Version),
            self.get(Word::Digest),
            self.get(Word::HashKey0),
            self.get(Word::HashKey1),
        ];
        hash([MAGIC, MAGIC], 8 * words.len(), |index| {
            words.get(index).copied().unwrap_or(0)
        })
    }
}

fn header_of(
    fd: &OwnedFd,
) -> Result<crate::sys::memory::Cells<std::sync::atomic::AtomicU64>, ReviveError> {
    let memory = Memory::open(fd.try_clone()?).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => ReviveError::Damaged("it is empty".into()),
        _ => ReviveError::Io(error),
    })?;
    let cells = memory.carve().take(HEADER_WORDS);
    cells.map_err(|_| ReviveError::Damaged("it is shorter than its header".into()))
}

/// A header that is good, and no table of this declaration: it is another one's, or the file was cut.
fn refuse_spec(header: &Header, spec: &TableSpec) -> ReviveError {
    match Layout::in_file(spec) {
        Ok(layout) if layout.digest == header.get(Word::Digest) => {
            ReviveError::Damaged(format!("its length is not {} bytes", layout.bytes()))
        }
        _ => ReviveError::OtherLayout(AttachError::OtherSpec.to_string()),
    }
}

fn check_header(header: &Header) -> Result<(), ReviveError> {
    if header.get(Word::Magic) != MAGIC {
        return Err(ReviveError::Damaged("it is no table".into()));
    }
    if header.get(Word::Seal) != header.seal() {
        return Err(ReviveError::Damaged("its header is not whole".into()));
    }
    let version = header.get(Word::Version);
    if version != LAYOUT_VERSION {
        let text = format!("version {version}, this is version {LAYOUT_VERSION}");
        return Err(ReviveError::OtherLayout(text));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
