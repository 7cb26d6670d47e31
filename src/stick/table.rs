//! One stick table.

use super::key::{Key, KeyBuf};
use super::rate::Rate;
use super::spec::{DataType, TableSpec};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Names an entry of one table, for as long as the entry lives. Entries do not move.
///
/// It stays valid until the entry is evicted, expires or is removed, which `refer` prevents; without a reference, use it
/// only within the turn that obtained it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryIndex(pub(super) u32);

/// What `lookup_or_insert` found or did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// The key had a live entry.
    Found(EntryIndex),
    /// A new entry, all its data zero, its lifetime the table's. It has no update id: touch it to announce it.
    New(EntryIndex),
}

/// The next step through the update log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextUpdate {
    /// The entry whose local change has this id.
    Update(u32, EntryIndex),
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

/// A stick table in shared memory. One owner changes it.
pub struct Table {}

impl Table {
    /// Creates an empty table, laid out in full. `hash_key` is random and secret; it makes chosen keys harmless.
    pub fn create(spec: &TableSpec, hash_key: [u64; 2], now_ms: u64) -> io::Result<Table> {
        todo!()
    }

    /// Takes over the table in `fd`, whose previous owner no longer changes it (it died, or said so).
    ///
    /// References and `conn_cur` start from zero. Index, expiry and update log are rebuilt if the owner died in a change.
    pub fn attach(fd: OwnedFd, spec: &TableSpec, now_ms: u64) -> Result<Table, AttachError> {
        todo!()
    }

    /// The descriptor of the table's memory, to be inherited or passed on. Close-on-exec is set.
    pub fn memory_fd(&self) -> BorrowedFd<'_> {
        todo!()
    }

    /// How the table was declared.
    pub fn spec(&self) -> &TableSpec {
        todo!()
    }

    /// Bytes of memory that the table takes when it is full, everything included.
    pub fn bytes(&self) -> u64 {
        todo!()
    }

    /// Number of entries held (`used:` of `show table`): some may have expired and await their removal.
    pub fn used(&self) -> u32 {
        todo!()
    }

    /// What happened since the table was created.
    pub fn counters(&self) -> Counters {
        todo!()
    }

    /// The live entry of `key`.
    pub fn lookup(&self, key: Key<'_>, now_ms: u64) -> Option<EntryIndex> {
        todo!()
    }

    /// The live entry of `key`, or a new one; a full table evicts the entry that would expire first.
    ///
    /// `None`: refused and counted (`nopurge`, or every entry is referred to).
    pub fn lookup_or_insert(&mut self, key: Key<'_>, now_ms: u64) -> Option<Inserted> {
        todo!()
    }

    /// A change made here: restarts the lifetime and announces the entry to the peers.
    ///
    /// Call it after the change of data, once; several touches before a peer was sent the entry count as one.
    pub fn touch_local(&mut self, entry: EntryIndex, now_ms: u64) {
        todo!()
    }

    /// A change learnt from a peer: sets the lifetime (`None`: the whole of it; never more than that) and is not announced.
    pub fn touch_remote(&mut self, entry: EntryIndex, now_ms: u64, remaining_ms: Option<u32>) {
        todo!()
    }

    /// Restarts the lifetime without announcing the entry.
    pub fn touch(&mut self, entry: EntryIndex, now_ms: u64) {
        todo!()
    }

    /// Keeps the entry from being evicted, expired or removed until `release`.
    pub fn refer(&mut self, entry: EntryIndex) {
        todo!()
    }

    /// Gives a reference back. The last one of an entry whose lifetime is over makes it disappear.
    pub fn release(&mut self, entry: EntryIndex, now_ms: u64) {
        todo!()
    }

    /// Number of references (`use=`).
    pub fn use_count(&self, entry: EntryIndex) -> u32 {
        todo!()
    }

    /// Removes the entry; `false`: it is referred to and stays.
    pub fn remove(&mut self, entry: EntryIndex) -> bool {
        todo!()
    }

    /// Removes what has expired, at most `budget` entries; says whether more is left.
    pub fn expire(&mut self, now_ms: u64, budget: u32) -> bool {
        todo!()
    }

    /// When the next entry expires, if any does: when to call `expire` again.
    pub fn next_expiry_ms(&self) -> Option<u64> {
        todo!()
    }

    /// Milliseconds that the entry still has (`exp=`); 0 in a table without `expire`.
    pub fn remaining_ms(&self, entry: EntryIndex, now_ms: u64) -> u32 {
        todo!()
    }

    /// A number that stays the entry's own while it lives (`0x…:` of `show table`).
    pub fn entry_id(&self, entry: EntryIndex) -> u64 {
        todo!()
    }

    /// The entry's key, copied.
    pub fn key(&self, entry: EntryIndex) -> KeyBuf {
        todo!()
    }

    /// Appends the entry's key to `out`.
    pub fn append_key(&self, entry: EntryIndex, out: &mut Vec<u8>) {
        todo!()
    }

    /// Looks at the next `budget` places from `cursor` on (0 at first): the live entries among them, and where to go on
    /// (`None`: all places were seen). An entry that lives throughout is seen exactly once, whatever changes meanwhile.
    ///
    /// ```ignore
    /// let mut scan = table.scan(cursor, 200, now_ms);
    /// for entry in &mut scan { … }
    /// cursor = scan.next_cursor();
    /// ```
    pub fn scan(&self, cursor: u32, budget: u32, now_ms: u64) -> Scan<'_> {
        todo!()
    }

    /// Id of the last local change; 0 before the first. Ids are compared modulo 2^32.
    pub fn local_update_id(&self) -> u32 {
        todo!()
    }

    /// The first local change after the id `after` that still stands, looking at `budget` ids at most.
    ///
    /// Call it only if `is_behind(after)` is false. What peers taught us is never returned.
    pub fn next_update(&self, after: u32, budget: u32) -> NextUpdate {
        todo!()
    }

    /// Whether changes after the id `after` may have left the log: only a full lesson helps.
    pub fn is_behind(&self, after: u32) -> bool {
        todo!()
    }

    /// Id of the entry's standing local change; `None`: it was learnt, or never announced.
    pub fn update_id(&self, entry: EntryIndex) -> Option<u32> {
        todo!()
    }

    /// A peer has been sent the change with this id: a later change of the same entry gets a new id.
    /// Call it for each update sent live (highest of a batch is enough).
    pub fn set_pushed(&mut self, id: u32) {
        todo!()
    }

    /// Whether the table stores the type at all.
    pub fn stores(&self, data_type: DataType) -> bool {
        todo!()
    }

    /// An integer value (not a rate, not `server_key`). `None`: not stored, or no such element.
    pub fn value(&self, entry: EntryIndex, data_type: DataType, element: u32) -> Option<u64> {
        todo!()
    }

    /// Sets an integer value (cut to the type's width); `false` as `None` above.
    pub fn set_value(
        &mut self,
        entry: EntryIndex,
        data_type: DataType,
        element: u32,
        value: u64,
    ) -> bool {
        todo!()
    }

    /// Adds to an integer value, modulo its width; a gauge (`conn_cur`) does not go below zero. Returns the new value.
    pub fn add_value(
        &mut self,
        entry: EntryIndex,
        data_type: DataType,
        element: u32,
        delta: i64,
    ) -> Option<u64> {
        todo!()
    }

    /// Events per period at `now_ms`.
    pub fn rate_read(
        &self,
        entry: EntryIndex,
        data_type: DataType,
        element: u32,
        now_ms: u64,
    ) -> Option<u32> {
        todo!()
    }

    /// Counts events in a rate; returns the new reading.
    pub fn rate_add(
        &mut self,
        entry: EntryIndex,
        data_type: DataType,
        element: u32,
        events: u32,
        now_ms: u64,
    ) -> Option<u32> {
        todo!()
    }

    /// The state of a rate, for the wire.
    pub fn rate(&self, entry: EntryIndex, data_type: DataType, element: u32) -> Option<Rate> {
        todo!()
    }

    /// Overwrites the state of a rate with what a peer sent.
    pub fn set_rate(
        &mut self,
        entry: EntryIndex,
        data_type: DataType,
        element: u32,
        rate: Rate,
    ) -> bool {
        todo!()
    }

    /// The server that the entry is bound to: `server_id` (0: none) and `server_key` (a name, or an address).
    pub fn server(&self, entry: EntryIndex) -> (i32, Option<&[u8]>) {
        todo!()
    }

    /// Binds the entry to a server: both fields change in one store. `None` removes the key.
    pub fn set_server(&mut self, entry: EntryIndex, id: i32, key: Option<&[u8]>) {
        todo!()
    }

    /// Sets `server_id` alone.
    pub fn set_server_id(&mut self, entry: EntryIndex, id: i32) {
        todo!()
    }

    /// Sets `server_key` alone; `false`: not stored (see `Counters::names_refused`).
    pub fn set_server_key(&mut self, entry: EntryIndex, key: &[u8]) -> bool {
        todo!()
    }

    /// Checks that all structures agree; for tests, it looks at every entry.
    pub fn check_invariants(&self) -> Result<(), String> {
        todo!()
    }
}

/// The live entries in a range of places; see [`Table::scan`].
pub struct Scan<'a> {
    table: &'a Table,
}

impl Scan<'_> {
    /// Where the next scan starts; `None`: this one saw the end.
    pub fn next_cursor(&self) -> Option<u32> {
        todo!()
    }
}

impl Iterator for Scan<'_> {
    type Item = EntryIndex;

    fn next(&mut self) -> Option<EntryIndex> {
        todo!()
    }
}
