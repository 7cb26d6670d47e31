//! One stick table: finding, making, keeping and losing entries.
//!
//! Why: see DESIGN in ARCHITECTURE.md. All of a table is in one shared memory, laid out in full when it is created; nothing
//! here allocates afterwards, except for a name that the dictionary meets for the first time.
//! Invariants (`check_invariants` states them in code): an entry is live, or in the free list, or beyond the high-water mark;
//! a live entry is in the index once and in one expiry list; `used` counts the live ones; an entry with references is
//! neither evicted nor expired nor removed; an expired entry without references is invisible at once.
//! Dying: every change of more than one word happens between `begin` and `end` of the lock word; the order of stores leaves
//! the entries themselves whole at each step, and what is derived from them is rebuilt by `attach`.
//! Not here: sockets, clocks, configuration text. The caller passes `now_ms`, CLOCK_MONOTONIC milliseconds.

use super::cell::Slot;
use super::entries::{Entries, Marks};
use super::expiry::{Expiry, width_log2};
use super::hash::hash;
use super::header::{Change, Header, MAGIC, Word};
use super::index::Index;
use super::key::{Key, KeyBuf};
use super::layout::{LAYOUT_VERSION, Layout, Regions};
use super::names::Names;
use super::spec::TableSpec;
use super::tombstone::Tombstone;
use super::update_log::UpdateLog;
use super::watch::Watch;
use crate::sys::memory::Memory;
use std::io;
use std::os::fd::BorrowedFd;

/// Tables up to this many bytes get their memory at creation, larger ones as they fill.
pub const POPULATED_BYTES_MAX: usize = 32 << 20;

/// An index of so many bytes is in huge pages, where the system has them.
const HUGE_INDEX_BYTES_MIN: usize = 2 << 20;
/// So many places get their memory at once.
const PLACES_POPULATED: u32 = 1024;

/// Names an entry of one table, for as long as the entry lives. Entries do not move.
///
/// It stays valid until the entry is evicted, expires or is removed, which `refer` prevents; without a reference, use it
/// only within the turn that obtained it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryIndex(pub(super) u32);

/// The hash of a key in one table; see [`Table::hash_key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHash(u32);

/// What `lookup_or_insert` found or did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// The key had a live entry.
    Found(EntryIndex),
    /// A new entry, all its data zero, its lifetime the table's. It has no update id. Touch it once it is what it should be:
    /// if the process dies before, the entry is gone with it.
    New(EntryIndex),
}

impl Inserted {
    /// The entry, old or new.
    pub fn entry(self) -> EntryIndex {
        match self {
            Inserted::Found(entry) | Inserted::New(entry) => entry,
        }
    }
}

/// The next step through the update log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextUpdate {
    /// The entry whose local change has this id.
    Update(u32, EntryIndex),
    /// The deletion that has this id.
    Deletion(u32, Tombstone),
    /// The budget is spent on ids that belong to no live entry any more; continue after this one.
    Skipped(u32),
    /// Nothing is left; `local_update_id()` is reached.
    UpToDate,
}

/// What happened in a table since it was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Entries created.
    pub insertions: u64,
    /// Live entries removed to make room for new ones.
    pub evictions: u64,
    /// New entries refused: the table was full, and `nopurge` or references forbade eviction.
    pub refusals: u64,
    /// Entries whose lifetime ended.
    pub expirations: u64,
    /// Values of `server_key` not stored because the dictionary was full or the value longer than 255 bytes.
    pub names_refused: u64,
}

/// A stick table in shared memory. One owner changes it.
///
/// After a fork, one process goes on with the table and says so with [`Table::set_owner`]; a process that comes later
/// [`Table::attach`]es to the memory, because some of what a `Table` knows is its own.
#[derive(Debug)]
pub struct Table {
    pub(super) spec: TableSpec,
    pub(super) memory: Memory,
    pub(super) header: Header,
    pub(super) entries: Entries,
    pub(super) index: Index,
    pub(super) expiry: Expiry,
    pub(super) log: UpdateLog,
    pub(super) names: Names,
    pub(super) hash_key: [u64; 2],
    pub(super) owner: u32,
    pub(super) epoch: u8,
    /// It was put in order again when it was attached.
    pub(super) was_mended: bool,
    /// The entry that was filled last, and the hash of its key in the digest: its server usually follows at once.
    pub(super) newest: (u32, u64),
    /// Somebody copies the table and wants to know of changes.
    pub(super) watch: Option<Watch>,
    /// The memory belongs to another process now: whatever would change it does nothing.
    pub(super) is_frozen: bool,
}

impl Table {
    /// Creates an empty table, laid out in full. `hash_key` is random and secret; it makes chosen keys harmless.
    pub fn create(spec: &TableSpec, hash_key: [u64; 2], now_ms: u64) -> io::Result<Table> {
        let layout = Layout::new(spec)?;
        let memory = Memory::create(c"stick-table", layout.bytes())?;
        // The first thousands of keys reach every page of the index, and each lookup another one. A system that has no huge pages
        // to give has small ones.
        let index = layout.index_bytes();
        if index.len() >= HUGE_INDEX_BYTES_MIN {
            let _ = memory.use_huge_pages(index);
        }
        Table::create_in(memory, layout, spec, hash_key, now_ms)
    }

    /// Lays an empty table out in a zeroed memory.
    pub(super) fn create_in(
        memory: Memory,
        layout: Layout,
        spec: &TableSpec,
        hash_key: [u64; 2],
        now_ms: u64,
    ) -> io::Result<Table> {
        if layout.bytes() <= POPULATED_BYTES_MAX {
            memory.populate(0..layout.bytes_before_names());
        }
        let digest = layout.digest;
        let mut table = Table::over(spec, layout, memory, hash_key)?;
        table.header.set(Word::Version, LAYOUT_VERSION);
        table.header.set(Word::Digest, digest);
        table.header.set(Word::HashKey0, hash_key[0]);
        table.header.set(Word::HashKey1, hash_key[1]);
        table.header.set(Word::Epoch, 1);
        table.header.set(Word::ExpireMs, u64::from(spec.expire_ms));
        table.epoch = 1;
        table
            .expiry
            .rebuild(now_ms, std::iter::empty(), &table.entries, &table.header);
        table.header.set(Word::Magic, MAGIC);
        Ok(table)
    }

    /// A table over a memory whose header has been checked, or is about to be written.
    pub(super) fn over(
        spec: &TableSpec,
        layout: Layout,
        memory: Memory,
        hash_key: [u64; 2],
    ) -> io::Result<Table> {
        let regions = Regions::new(&layout, &memory)?;
        let header = Header(regions.header);
        let width = width_log2(layout.buckets, spec.expire_ms);
        Ok(Table {
            spec: spec.clone(),
            expiry: Expiry::new(regions.links, layout.size, layout.buckets, width),
            index: Index(regions.index),
            log: UpdateLog(regions.log),
            names: Names::new(regions.names),
            epoch: header.get(Word::Epoch) as u8,
            header,
            entries: Entries {
                cells: regions.entries,
                layout,
            },
            memory,
            hash_key,
            owner: std::process::id(),
            was_mended: false,
            newest: (u32::MAX, 0),
            watch: None,
            is_frozen: false,
        })
    }

    /// Says which process goes on with the table after a fork.
    pub fn set_owner(&mut self, pid: u32) {
        self.owner = pid;
    }

    /// Another process owns the table from now on. This one may still look, and what would change anything does nothing:
    /// a lookup never makes an entry, references do not count.
    pub fn freeze(&mut self) {
        self.is_frozen = true;
    }

    /// The descriptor of the table's memory, to be inherited or passed on. Close-on-exec is set.
    pub fn memory_fd(&self) -> BorrowedFd<'_> {
        self.memory.fd()
    }

    /// How the table was declared.
    pub fn spec(&self) -> &TableSpec {
        &self.spec
    }

    /// Bytes of memory that the table takes when it is full, everything included.
    pub fn bytes(&self) -> u64 {
        self.memory.len() as u64
    }

    /// Bytes that one entry takes with its share of links, index and log; the rest of `bytes` is the dictionary of
    /// `server_key`, the header and the least sizes of small tables.
    pub fn bytes_per_entry(&self) -> f64 {
        let layout = &self.entries.layout;
        let shared = 8.0 * layout.index_slots as f64
            + 4.0 * f64::from(layout.log_slots)
            + 8.0 * f64::from(layout.buckets);
        8.0 * layout.stride as f64 + 8.0 + shared / f64::from(layout.size)
    }

    /// Number of entries held (`used:` of `show table`): some may have expired and await their removal.
    pub fn used(&self) -> u32 {
        self.header.get(Word::Used) as u32
    }

    /// What happened since the table was created.
    pub fn counters(&self) -> Counters {
        Counters {
            insertions: self.header.get(Word::Insertions),
            evictions: self.header.get(Word::Evictions),
            refusals: self.header.get(Word::Refusals),
            expirations: self.header.get(Word::Expirations),
            names_refused: self.header.get(Word::NamesRefused),
        }
    }

    /// Whether the table holds all that it was given: what was evicted or refused would have expired by now.
    pub fn is_complete(&self, now_ms: u64) -> bool {
        let lost_ms = self.header.get(Word::LostMs);
        let expire_ms = u64::from(self.spec.expire_ms);
        lost_ms == 0 || (expire_ms != 0 && now_ms > lost_ms.saturating_add(expire_ms))
    }

    /// The live entry of `key`.
    pub fn lookup(&self, key: Key<'_>, now_ms: u64) -> Option<EntryIndex> {
        self.lookup_hashed(key, self.hash_key(key), now_ms)
    }

    /// The same for a key that was hashed before.
    pub fn lookup_hashed(
        &self,
        key: Key<'_>,
        KeyHash(hash): KeyHash,
        now_ms: u64,
    ) -> Option<EntryIndex> {
        debug_assert_eq!(hash, self.hash_of(&key), "the key that was hashed");
        let entry = self.find(&key, hash)?;
        self.is_visible(entry, now_ms).then_some(EntryIndex(entry))
    }

    /// Whether what `lookup` once found is still the live entry of the same key. Who remembers an entry without a reference asks this, and
    /// waits for one place in memory, not for two.
    pub fn is_still(&self, EntryIndex(entry): EntryIndex, key: Key<'_>, now_ms: u64) -> bool {
        self.entries.is_live(entry)
            && self.entries.has_key(entry, &key)
            && self.is_visible(entry, now_ms)
    }

    /// Asks for the memory of an entry that will be looked at and touched soon, if it is still there.
    pub fn announce_entry(&self, EntryIndex(entry): EntryIndex) {
        self.entries.prefetch(entry);
        self.expiry.prefetch(entry);
    }

    /// Hashes a key, for [`Table::announce`] and [`Table::lookup_or_insert_learnt`].
    pub fn hash_key(&self, key: Key<'_>) -> KeyHash {
        KeyHash(self.hash_of(&key))
    }

    /// Asks for the memory where the entry of a key is found, so that a lookup soon after does not wait for it. Who has many keys
    /// hashes them all before he announces the first: each of these requests may wait for the translation of its
    /// address, and only with nothing else between them do they wait together.
    pub fn announce(&self, KeyHash(hash): KeyHash) {
        self.index.prefetch(hash);
    }

    /// Asks for the memory of the entry of a key that was announced before: what its hash is found at, for the key itself is not looked at.
    pub fn announce_found(&self, KeyHash(hash): KeyHash) {
        let _ = self.index.find(hash, |entry| {
            self.announce_entry(EntryIndex(entry));
            true
        });
    }

    /// The live entry of `key`, or a new one; a full table evicts the entry that would expire first.
    ///
    /// `None`: refused and counted (`nopurge`, or every entry is referred to).
    pub fn lookup_or_insert(&mut self, key: Key<'_>, now_ms: u64) -> Option<Inserted> {
        let (hash, end_ms) = (self.hash_key(key), self.lifetime_end(now_ms, None));
        self.lookup_or_insert_until(key, hash, end_ms, now_ms)
    }

    /// The same for what a peer taught us: a new entry has at once the lifetime that `touch_remote(touched_ms, remaining_ms)` gives it,
    /// so its place in the order of expiry is searched once.
    pub fn lookup_or_insert_learnt(
        &mut self,
        key: Key<'_>,
        hash: KeyHash,
        (touched_ms, remaining_ms): (u64, Option<u32>),
        now_ms: u64,
    ) -> Option<Inserted> {
        let end_ms = self.lifetime_end(touched_ms, remaining_ms);
        self.lookup_or_insert_until(key, hash, end_ms, now_ms)
    }

    fn lookup_or_insert_until(
        &mut self,
        key: Key<'_>,
        KeyHash(hash): KeyHash,
        mut end_ms: u64,
        now_ms: u64,
    ) -> Option<Inserted> {
        assert!(
            key.padded_len() <= self.entries.layout.key_len,
            "a key is made for its table"
        );
        debug_assert_eq!(hash, self.hash_of(&key), "the key that was announced");
        let searched = self.find_or_slot(&key, hash);
        let found = searched.ok();
        let is_live = found.is_some_and(|entry| self.entries.is_live(entry));
        if let Some(entry) = found.filter(|&entry| is_live && self.is_visible(entry, now_ms)) {
            return Some(Inserted::Found(EntryIndex(entry)));
        }
        if self.is_frozen {
            return None;
        }
        self.header.begin(self.owner, Change::Structure);
        match found {
            Some(expired) if is_live => self.drop_entry(expired, Word::Expirations),
            Some(tombstone) => {
                end_ms = self.lifetime_end(self.made_again_ms(tombstone, now_ms), None);
                self.exhume(tombstone);
            }
            None => {}
        }
        // Only where nothing had to go, the slot that the search ended at is still the right one.
        let (place, slot) = match self.unused_place() {
            Some(entry) => (Some(entry), searched.err()),
            None => (self.place_made_free(now_ms), None),
        };
        match place {
            Some(entry) => {
                let slot = slot.unwrap_or_else(|| self.index.home(hash));
                self.fill(entry, &key, (hash, slot), end_ms);
                self.header.add(Word::Insertions, 1);
            }
            None => {
                self.header.add(Word::Refusals, 1);
                self.header.set(Word::LostMs, now_ms);
            }
        }
        self.header.end();
        place.map(|entry| Inserted::New(EntryIndex(entry)))
    }

    /// A change made here: restarts the lifetime and announces the entry to the peers.
    ///
    /// Call it after the change of data, once; several touches before a peer was sent the entry count as one.
    pub fn touch_local(&mut self, entry: EntryIndex, now_ms: u64) {
        if self.is_frozen {
            return;
        }
        let entry = self.live(entry);
        self.header.begin(self.owner, Change::Structure);
        self.move_expiry(entry, self.touched_end(entry, now_ms, None), now_ms);
        let marks = self.fresh_marks(entry);
        let pushed = self.pushed();
        let is_queued = marks.has_update_id && marks.update_id.wrapping_sub(pushed) as i32 > 0;
        if !is_queued {
            let update_id = self.take_update_id(entry);
            self.entries.set_marks(
                entry,
                Marks {
                    update_id,
                    has_update_id: true,
                    ..marks
                },
            );
        }
        self.changed(entry);
        self.is_grown(entry);
        self.header.end();
    }

    /// A change learnt from a peer: sets the lifetime (`None`: the whole of it; never more than that) and is not announced.
    pub fn touch_remote(&mut self, entry: EntryIndex, now_ms: u64, remaining_ms: Option<u32>) {
        if self.is_frozen {
            return;
        }
        let entry = self.live(entry);
        self.header.begin(self.owner, Change::Structure);
        let end = self.touched_end(entry, now_ms, remaining_ms);
        // What was just made for this lifetime is where it belongs.
        let is_placed = self.is_newborn(entry) && self.entries.expires(entry) == end;
        if !is_placed {
            self.move_expiry(entry, end, now_ms);
        }
        self.changed(entry);
        self.is_grown(entry);
        self.header.end();
    }

    /// Restarts the lifetime without announcing the entry.
    pub fn touch(&mut self, entry: EntryIndex, now_ms: u64) {
        self.touch_remote(entry, now_ms, None);
    }

    /// Keeps the entry from being evicted, expired or removed until `release`.
    pub fn refer(&mut self, entry: EntryIndex) {
        if self.is_frozen {
            return;
        }
        let entry = self.live(entry);
        let marks = self.fresh_marks(entry);
        self.entries.set_marks(
            entry,
            Marks {
                references: marks.references + 1,
                ..marks
            },
        );
    }

    /// Gives a reference back. The last one of an entry whose lifetime is over makes it disappear.
    pub fn release(&mut self, entry: EntryIndex, now_ms: u64) {
        if self.is_frozen {
            return;
        }
        let entry = self.live(entry);
        let marks = self.fresh_marks(entry);
        assert!(marks.references > 0, "a reference is given back once");
        let references = marks.references - 1;
        if references > 0 || !marks.parked {
            self.entries.set_marks(
                entry,
                Marks {
                    references,
                    ..marks
                },
            );
            return;
        }
        self.header.begin(self.owner, Change::Structure);
        self.entries.set_marks(
            entry,
            Marks {
                references,
                parked: false,
                ..marks
            },
        );
        self.digest_add(entry);
        if self.is_visible(entry, now_ms) {
            self.expiry.unlink(entry);
            self.expiry.link(entry, &self.entries, &self.header);
        } else {
            self.drop_entry(entry, Word::Expirations);
        }
        self.header.end();
    }

    /// Number of references (`use=`).
    pub fn use_count(&self, entry: EntryIndex) -> u32 {
        self.entries.marks(self.live(entry), self.epoch).references
    }

    /// Removes the entry; `false`: it is referred to and stays.
    pub fn remove(&mut self, entry: EntryIndex) -> bool {
        if self.is_frozen || self.use_count(entry) > 0 {
            return false;
        }
        self.header.begin(self.owner, Change::Structure);
        self.unlink_and_free(entry.0);
        self.header.end();
        true
    }

    /// Removes what has expired, at most `budget` entries; says whether more is left.
    pub fn expire(&mut self, now_ms: u64, budget: u32) -> bool {
        if self.is_frozen || self.spec.expire_ms == 0 && self.tombstones() == 0 {
            return false;
        }
        self.header.begin(self.owner, Change::Structure);
        let budget = self.expire_tombstones(now_ms, budget);
        let mut more = self.spec.expire_ms != 0 || budget == 0;
        let budget = if self.spec.expire_ms == 0 { 0 } else { budget };
        for _ in 0..budget {
            self.expiry.advance(now_ms, &self.header);
            match self.expiry.first(&self.entries, &self.header) {
                Some(entry) if self.entries.expires(entry) <= now_ms => {
                    self.park_or_drop(entry, Word::Expirations);
                }
                // The hand may have been so late that entries wait before their buckets: go on until it is not.
                Some(_) if self.expiry.advance(now_ms, &self.header) => {}
                _ => {
                    more = false;
                    break;
                }
            }
        }
        self.header.end();
        more
    }

    /// When the next entry expires, if any does: when to call `expire` again.
    pub fn next_expiry_ms(&self) -> Option<u64> {
        let entry = self.expiry.first_expiry_ms(&self.entries, &self.header);
        entry.into_iter().chain(self.first_tombstone_end_ms()).min()
    }

    /// Milliseconds that the entry still has (`exp=`); 0 in a table without `expire`.
    pub fn remaining_ms(&self, entry: EntryIndex, now_ms: u64) -> u32 {
        if self.spec.expire_ms == 0 {
            return 0;
        }
        let left = self
            .entries
            .expires(self.live(entry))
            .saturating_sub(now_ms);
        left.min(u64::from(self.spec.expire_ms)) as u32
    }

    /// A number that stays the entry's own while it lives (`0x…:` of `show table`): its offset in the memory.
    pub fn entry_id(&self, entry: EntryIndex) -> u64 {
        (self.entries.cells.offset() + 8 * self.entries.at(entry.0)) as u64
    }

    /// The entry's key, copied.
    pub fn key(&self, entry: EntryIndex) -> KeyBuf {
        self.entries.key(self.live(entry))
    }

    /// Bytes of the entry's key.
    pub fn key_len(&self, entry: EntryIndex) -> usize {
        self.entries
            .key_len(self.live(entry))
            .min(self.entries.layout.key_len)
    }

    /// Copies the key's first bytes, as many as `out` has room for and the key has.
    pub fn copy_key(&self, entry: EntryIndex, out: &mut [u8]) {
        self.entries.copy_key(self.live(entry), out);
    }

    /// The same in steps of eight bytes, which is quicker: `out` has room for the key up to the next multiple of eight, and what is
    /// behind the key is of no meaning.
    #[inline]
    pub fn copy_key_words(&self, entry: EntryIndex, out: &mut [u8]) {
        self.entries.copy_key_words(self.live(entry), out);
    }

    /// Appends the entry's key to `out`.
    pub fn append_key(&self, entry: EntryIndex, out: &mut Vec<u8>) {
        out.extend_from_slice(self.key(entry).as_bytes());
    }

    /// A new table whose ids begin behind this one, to see them wrap.
    #[cfg(test)]
    pub(crate) fn begin_ids_at(&mut self, id: u32) {
        self.header.set(Word::UpdateId, u64::from(id));
        self.header.set(Word::Pushed, u64::from(id));
    }

    /// Id of the last local change; 0 before the first. Ids are compared modulo 2^32.
    pub fn local_update_id(&self) -> u32 {
        self.header.get(Word::UpdateId) as u32
    }

    /// The first local change after the id `after` that still stands, looking at `budget` ids at most.
    ///
    /// Call it only if `is_behind(after)` is false. What peers taught us is never returned.
    pub fn next_update(&self, after: u32, budget: u32) -> NextUpdate {
        let last = self.local_update_id();
        let mut id = after;
        for _ in 0..budget {
            if id == last {
                return NextUpdate::UpToDate;
            }
            id = id.wrapping_add(1);
            if let Some(entry) = self.log.entry(id, &self.entries) {
                return if self.entries.is_live(entry) {
                    NextUpdate::Update(id, EntryIndex(entry))
                } else {
                    NextUpdate::Deletion(id, Tombstone(entry))
                };
            }
        }
        if id == last {
            NextUpdate::UpToDate
        } else {
            NextUpdate::Skipped(id)
        }
    }

    /// Asks for the memory of the entry whose local change has this id, if any has: who steps through many changes does not wait for
    /// each.
    #[inline]
    pub fn announce_update(&self, id: u32) {
        self.log.prefetch(id, &self.entries);
    }

    /// Whether changes after the id `after` may have left the log: only a full lesson helps. True, too, for an id that was
    /// never given out.
    pub fn is_behind(&self, after: u32) -> bool {
        !self
            .log
            .holds(after.wrapping_add(1), self.local_update_id())
            && after != self.local_update_id()
    }

    /// Id of the entry's standing local change; `None`: it was learnt, or never announced.
    pub fn update_id(&self, entry: EntryIndex) -> Option<u32> {
        let marks = self.entries.marks(self.live(entry), self.epoch);
        marks.has_update_id.then_some(marks.update_id)
    }

    /// No peer's position is beyond `id` now: later changes of the entries up to it get new ids. Ids that go back,
    /// or were never given out, are ignored.
    ///
    /// To be called whenever a peer's position moves forward: after updates sent live (the highest of a batch is enough), and
    /// also when a lesson or a hello puts it at `local_update_id()`; else a change could hide behind the position.
    pub fn set_pushed(&mut self, id: u32) {
        let is_ahead = id.wrapping_sub(self.pushed()) as i32 > 0;
        if is_ahead && self.local_update_id().wrapping_sub(id) as i32 >= 0 {
            self.header.set(Word::Pushed, u64::from(id));
        }
    }

    /// The highest id that `set_pushed` was told, or that has left the log.
    pub fn pushed(&self) -> u32 {
        self.header.get(Word::Pushed) as u32
    }
}

/// Inside.
impl Table {
    pub(super) fn hash_of(&self, key: &Key<'_>) -> u32 {
        hash(self.hash_key, key.padded_len(), |index| key.word(index)) as u32
    }

    /// The hash of the key that an entry holds.
    pub(super) fn hash_of_entry(&self, entry: u32) -> u32 {
        let len = self.entries.key_len(entry);
        hash(self.hash_key, len, |index| {
            self.entries.key_word(entry, index, len)
        }) as u32
    }

    /// The entry of a key, or its tombstone.
    pub(super) fn find_any(&self, key: &Key<'_>, hash: u32) -> Option<u32> {
        self.find_or_slot(key, hash).ok()
    }

    /// The same; else where the search in the index ended.
    #[inline]
    fn find_or_slot(&self, key: &Key<'_>, hash: u32) -> Result<u32, usize> {
        self.index.find_or_slot(hash, |entry| {
            // Who finds an entry touches it next: its links come while its key is waited for.
            self.expiry.prefetch(entry);
            self.entries.has_key(entry, key)
        })
    }

    fn find(&self, key: &Key<'_>, hash: u32) -> Option<u32> {
        self.find_any(key, hash)
            .filter(|&entry| self.entries.is_live(entry))
    }

    /// Enters a change in the log. The entry's marks come after it: an id in them is never one of the future.
    pub(super) fn take_update_id(&mut self, entry: u32) -> u32 {
        let update_id = self.local_update_id().wrapping_add(1);
        self.header.set(Word::UpdateId, u64::from(update_id));
        self.log.set(update_id, entry);
        // Ids that left the ring count as pushed: so all comparisons stay within half of the ids.
        let left = update_id.wrapping_sub(self.log.len());
        if left.wrapping_sub(self.pushed()) as i32 > 0 {
            self.header.set(Word::Pushed, u64::from(left));
        }
        update_id
    }

    pub(super) fn high_water(&self) -> u32 {
        (self.header.get(Word::HighWater) as u32).min(self.entries.layout.size)
    }

    /// An index is not to be used after its entry went: changing a free place would break the lists. Whoever holds one for
    /// longer than a turn must hold a reference, so this is our own mistake.
    #[inline]
    pub(super) fn live(&self, entry: EntryIndex) -> u32 {
        assert!(
            self.is_frozen || self.entries.is_live(entry.0),
            "the entry is gone"
        );
        entry.0
    }

    /// Whether the place still, or again, holds an entry that a lookup would find.
    pub fn is_visible_entry(&self, entry: EntryIndex, now_ms: u64) -> bool {
        self.entries.is_live(entry.0) && self.is_visible(entry.0, now_ms)
    }

    /// The entry is what whoever made it wanted it to be: it outlives a death from now on.
    #[inline]
    pub(super) fn is_grown(&self, entry: u32) {
        if self.is_newborn(entry) {
            self.header.set(Word::Newborn, 0);
        }
    }

    /// Whether the entry was made last and has not been touched since.
    #[inline]
    fn is_newborn(&self, entry: u32) -> bool {
        self.header.get(Word::Newborn) == u64::from(entry) + 1
    }

    /// Expired entries are invisible, unless a stream still counts in them.
    pub(super) fn is_visible(&self, entry: u32, now_ms: u64) -> bool {
        self.spec.expire_ms == 0
            || self.entries.expires(entry) > now_ms
            || self.entries.marks(entry, self.epoch).references > 0
    }

    /// When a lifetime that begins now ends. A table without `expire` notes the touch itself, its order of eviction.
    pub(super) fn lifetime_end(&self, now_ms: u64, remaining_ms: Option<u32>) -> u64 {
        let whole = self.spec.expire_ms;
        now_ms + u64::from(remaining_ms.map_or(whole, |remaining| remaining.min(whole)))
    }

    /// When the lifetime of an entry ends that was touched now.
    fn touched_end(&self, entry: u32, now_ms: u64, remaining_ms: Option<u32>) -> u64 {
        match remaining_ms {
            None if self.spec.expire_absolute => self.entries.expires(entry),
            _ => self.with_lead(entry, self.lifetime_end(now_ms, remaining_ms), now_ms),
        }
    }

    pub(super) fn move_expiry(&mut self, entry: u32, expires: u64, now_ms: u64) {
        let old_expires = self.entries.expires(entry);
        self.entries.set_expires(entry, expires);
        let marks = self.entries.marks(entry, self.epoch);
        if !marks.parked {
            self.expiry
                .relink(entry, old_expires, &self.entries, &self.header);
        } else if self.spec.expire_ms == 0 || expires > now_ms {
            self.unpark(entry, marks);
        }
    }

    /// Puts a parked entry among those that go when their time comes.
    pub(super) fn unpark(&mut self, entry: u32, marks: Marks) {
        self.expiry.unlink(entry);
        self.expiry.link(entry, &self.entries, &self.header);
        self.entries.set_marks(
            entry,
            Marks {
                parked: false,
                ..marks
            },
        );
        self.digest_add(entry);
    }

    /// The entry's marks, after its references and gauges were made ours.
    pub(super) fn fresh_marks(&mut self, entry: u32) -> Marks {
        let marks = self.entries.marks(entry, self.epoch);
        if !self.entries.is_of_epoch(entry, self.epoch) {
            self.reset_gauge(entry);
            self.entries.set_marks(entry, marks);
        }
        marks
    }

    /// A place for a new entry where there is no unused one: that of a tombstone, or of the entry which expires first.
    fn place_made_free(&mut self, now_ms: u64) -> Option<u32> {
        if self.exhume_oldest() {
            return self.take_free();
        }
        self.expiry.advance(now_ms, &self.header);
        while let Some(entry) = self.expiry.first(&self.entries, &self.header) {
            let has_expired = self.spec.expire_ms != 0 && self.entries.expires(entry) <= now_ms;
            if self.spec.nopurge && !has_expired {
                return None;
            }
            if !has_expired {
                self.header.set(Word::LostMs, now_ms);
            }
            self.park_or_drop(
                entry,
                if has_expired {
                    Word::Expirations
                } else {
                    Word::Evictions
                },
            );
            if let Some(entry) = self.take_free() {
                return Some(entry);
            }
        }
        None
    }

    /// A place that nothing is in.
    pub(super) fn unused_place(&mut self) -> Option<u32> {
        if let Some(entry) = self.take_free() {
            return Some(entry);
        }
        let unused = self.high_water();
        (unused < self.entries.layout.size).then(|| {
            if unused.is_multiple_of(PLACES_POPULATED) {
                self.populate_places(unused);
            }
            self.header.set(Word::HighWater, u64::from(unused) + 1);
            unused
        })
    }

    /// Takes memory for the next places to be used.
    fn populate_places(&self, first: u32) {
        let end = first
            .saturating_add(PLACES_POPULATED)
            .min(self.entries.layout.size);
        for bytes in self.entries.layout.place_bytes(first..end) {
            self.memory.populate(bytes);
        }
    }

    fn take_free(&mut self) -> Option<u32> {
        let entry = (self.header.get(Word::FreeHead) as u32).checked_sub(1)?;
        self.header.set(
            Word::FreeHead,
            u64::from(self.expiry.free_link(entry).get()),
        );
        Some(entry)
    }

    /// `slot`: where the search for a free slot of the index may begin.
    fn fill(&mut self, entry: u32, key: &Key<'_>, (hash, slot): (u32, usize), end_ms: u64) {
        self.header.set(Word::Newborn, u64::from(entry) + 1);
        let marks = Marks {
            update_id: 0,
            has_update_id: false,
            parked: false,
            epoch: self.epoch,
            references: 0,
        };
        let proof = self.proof_of_new(key);
        self.entries.write_new(entry, key, end_ms, marks, proof);
        self.index.insert_at(slot, hash, entry);
        self.expiry.link(entry, &self.entries, &self.header);
        self.header.add(Word::Used, 1);
        self.changed(entry);
        self.digest_add_new(entry, key);
    }

    /// Removes an entry that must go, or parks it if it is referred to.
    fn park_or_drop(&mut self, entry: u32, reason: Word) {
        let marks = self.fresh_marks(entry);
        if marks.references > 0 {
            self.digest_subtract(entry);
            self.expiry.park(entry);
            self.entries.set_marks(
                entry,
                Marks {
                    parked: true,
                    ..marks
                },
            );
        } else {
            self.drop_entry(entry, reason);
        }
    }

    fn drop_entry(&mut self, entry: u32, reason: Word) {
        self.unlink_and_free(entry);
        self.header.add(reason, 1);
    }

    pub(super) fn unlink_and_free(&mut self, entry: u32) {
        let hash = self.hash_of_entry(entry);
        self.digest_subtract(entry);
        self.entries.mark_free(entry);
        self.index.remove(hash, entry);
        self.expiry.unlink(entry);
        self.forget_server(entry);
        self.changed(entry);
        self.is_grown(entry);
        self.push_free(entry);
        self.header.set(Word::Used, self.header.get(Word::Used) - 1);
    }

    pub(super) fn push_free(&mut self, entry: u32) {
        self.expiry
            .free_link(entry)
            .set(self.header.get(Word::FreeHead) as u32);
        self.header.set(Word::FreeHead, u64::from(entry) + 1);
    }
}
