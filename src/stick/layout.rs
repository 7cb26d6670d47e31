//! Where everything lies: the regions of a table's memory and the fields of an entry.
//!
//! ```text
//! header   512 words      who, what, counters, journal (names in `header`)
//! entries  size × stride  one after the other, in words of 8 bytes
//! links    u32 pairs      next and previous in an expiry list: one pair an entry, one a bucket, one for the parked, one for
//!                         the tombstones
//! index    1.5 × size     words: half a hash, entry + 1; 0 is an empty slot
//! log      power of two   u32: entry + 1 of the local change whose id falls here
//! names    33 words each  the dictionary of server_key
//!
//! entry    head           sequence (32 bits) | key length (16) | state (8) | 0 (8), from high to low
//!          expires        milliseconds; without `expire`: the last touch; of a tombstone: the deletion
//!          marks          update id (32) | has id (1) | parked (1) | epoch (8) | references (22)
//!          server         server_key's place in the dictionary + 1 (32) | server_id (32): one word, one store
//!          proof          only in files: a digest of key and server (`proof`)
//!          u64 values, key, then all that is made of u32: values, arrays, rates (start, current, previous)
//! ```
//! Invariants: a layout is a function of key type, key length, size and stored types alone, whose digest stands in the
//! header; whoever changes this page changes `LAYOUT_VERSION`.

use super::spec::{DataClass, DataType, KeyType, TableSpec};
use crate::sys::memory::{Cells, Memory};
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// Version of everything on this page.
pub(super) const LAYOUT_VERSION: u64 = 2;

/// Most entries a table can have: entries and buckets are numbered with 32 bits.
pub(super) const SIZE_MAX: u32 = 1 << 30;

/// Words of the header.
pub(super) const HEADER_WORDS: usize = 512;

/// Words of an entry before its data.
pub(super) const HEAD: usize = 0;
pub(super) const EXPIRES: usize = 1;
pub(super) const MARKS: usize = 2;
const FIXED_WORDS: usize = 3;

/// Longest value of `server_key` in bytes.
pub(super) const NAME_BYTES_MAX: usize = 255;

/// Words of a name in the dictionary: users and length, then the bytes.
pub(super) const NAME_WORDS: usize = 1 + (NAME_BYTES_MAX + 1) / 8;

/// Elements of an array type.
const ELEMENTS_MAX: u32 = 100;

/// Where a stored type lies in an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    /// Offset from the start of the entry in units of 4 bytes; even for 64-bit values.
    pub cell: usize,
    /// Number of elements, one after the other.
    pub elements: u32,
    /// What each is.
    pub class: DataClass,
    /// Period of a rate in milliseconds.
    pub period_ms: u32,
}

/// The layout of one table.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Number of entries.
    pub size: u32,
    /// Words of an entry.
    pub stride: usize,
    /// First word of the key in an entry.
    pub key_word: usize,
    /// Bytes kept for the key.
    pub key_len: usize,
    /// Whether `server_id`, `server_key` are stored; then `server_word` holds both.
    pub stores_server_id: bool,
    pub stores_server_key: bool,
    pub server_word: usize,
    /// The word of the proof that key and server are whole, behind the server's; a table in anonymous memory needs none.
    pub proof_word: Option<usize>,
    /// Slots of the index.
    pub index_slots: usize,
    /// Expiry buckets, a power of two.
    pub buckets: u32,
    /// Slots of the update log, a power of two.
    pub log_slots: u32,
    /// Slots of the dictionary.
    pub names: u32,
    /// Names what was asked for: two tables with the same digest have the same layout.
    pub digest: u64,
    fields: [Option<Field>; DataType::ALL.len()],
}

impl Layout {
    /// Lays out a table in anonymous memory. An error names what is out of bounds; a checked configuration has no such thing.
    pub fn new(spec: &TableSpec) -> io::Result<Layout> {
        Layout::with_proof(spec, false)
    }

    /// The same in a file, where each entry proves that it is whole.
    pub fn in_file(spec: &TableSpec) -> io::Result<Layout> {
        Layout::with_proof(spec, true)
    }

    fn with_proof(spec: &TableSpec, proves: bool) -> io::Result<Layout> {
        check(spec)?;
        let size = spec.size;
        let stores_server_id = spec.stored(DataType::ServerId).is_some();
        let stores_server_key = spec.stored(DataType::ServerKey).is_some();
        let mut layout = Layout {
            size,
            stride: 0,
            key_word: 0,
            key_len: spec.key_len as usize,
            stores_server_id,
            stores_server_key,
            server_word: FIXED_WORDS,
            proof_word: None,
            // Linear probing at two thirds: two to five slots, that is one cache line, or two.
            index_slots: (size as usize + size as usize / 2).max(8),
            // A bucket holds a handful of entries, and 1,024 of them cost nothing.
            buckets: (size / 8)
                .max(1)
                .next_power_of_two()
                .clamp(1 << 10, 1 << 18),
            log_slots: (size + size / 4).next_power_of_two().max(1 << 10),
            names: if stores_server_key {
                (size / 4).clamp(256, 4096)
            } else {
                0
            },
            digest: digest(spec, proves),
            fields: [None; DataType::ALL.len()],
        };
        let mut word = FIXED_WORDS + usize::from(stores_server_id || stores_server_key);
        if proves {
            layout.proof_word = Some(word);
            word += 1;
        }
        layout.place(spec, DataClass::Unsigned64, 2 * word, 2);
        word += layout.elements_of(DataClass::Unsigned64);
        layout.key_word = word;
        let cell = 2 * word + layout.key_len.div_ceil(4);
        let cell = layout.place(spec, DataClass::Unsigned32, cell, 1);
        let cell = layout.place(spec, DataClass::Rate, cell, 3);
        layout.stride = cell.div_ceil(2);
        Ok(layout)
    }

    /// Places all types of a class from `cell` on, each element `cells` wide; returns where they end.
    fn place(
        &mut self,
        spec: &TableSpec,
        class: DataClass,
        mut cell: usize,
        cells: usize,
    ) -> usize {
        for stored in spec
            .store
            .iter()
            .filter(|stored| stored.data_type.class() == class)
        {
            let field = Field {
                cell,
                elements: stored.elements,
                class,
                period_ms: stored.period_ms,
            };
            self.fields[stored.data_type as usize] = Some(field);
            cell += cells * stored.elements as usize;
        }
        cell
    }

    fn elements_of(&self, class: DataClass) -> usize {
        self.fields
            .iter()
            .flatten()
            .filter(|field| field.class == class)
            .map(|field| field.elements as usize)
            .sum()
    }

    /// Where a type is stored. The server's two fields are not here but in `server_word`.
    #[inline]
    pub fn field(&self, data_type: DataType) -> Option<&Field> {
        self.fields[data_type as usize].as_ref()
    }

    /// Nodes of the expiry lists: the entries, the buckets, the parked, the tombstones.
    fn nodes(&self) -> usize {
        self.size as usize + self.buckets as usize + 2
    }

    /// Bytes of each region, in their order: header, entries, links, index, log, names.
    fn regions(&self) -> [usize; 6] {
        [
            8 * HEADER_WORDS,
            8 * self.stride * self.size as usize,
            8 * self.nodes(),
            8 * self.index_slots,
            4 * self.log_slots as usize,
            8 * NAME_WORDS * self.names as usize,
        ]
        .map(|bytes| bytes.next_multiple_of(64))
    }

    /// Bytes of the whole memory.
    pub fn bytes(&self) -> usize {
        self.regions().iter().sum::<usize>().next_multiple_of(4096)
    }

    /// Bytes of all but the dictionary.
    pub fn bytes_before_names(&self) -> usize {
        self.bytes() - 8 * NAME_WORDS * self.names as usize
    }

    /// Where the index lies in the memory.
    pub fn index_bytes(&self) -> Range<usize> {
        let [header, entries, links, index, ..] = self.regions();
        let start = header + entries + links;
        start..start + index
    }

    /// Where these places lie in the memory: the entries and their links.
    pub fn place_bytes(&self, places: Range<u32>) -> [Range<usize>; 2] {
        let [header, entries, ..] = self.regions();
        let range = |start: usize, each: usize| {
            start + each * places.start as usize..start + each * places.end as usize
        };
        [range(header, 8 * self.stride), range(header + entries, 8)]
    }
}

/// Refuses what the layout cannot carry.
fn check(spec: &TableSpec) -> io::Result<()> {
    let refuse = |what: &str| {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("table {}: {what}", spec.name),
        ))
    };
    let key_len_ok = match spec.key_type {
        KeyType::Ip | KeyType::Integer => spec.key_len == 4,
        KeyType::Ipv6 => spec.key_len == 16,
        KeyType::String | KeyType::Binary => (1..=super::key::KEY_LEN_MAX).contains(&spec.key_len),
    };
    if !key_len_ok {
        return refuse("key length out of bounds");
    }
    if !(1..=SIZE_MAX).contains(&spec.size) {
        return refuse("size out of bounds");
    }
    if !spec.store.is_sorted_by(|a, b| a.data_type < b.data_type) {
        return refuse("stored types not ascending");
    }
    for stored in &spec.store {
        let elements = 1..=if stored.data_type.is_array() {
            ELEMENTS_MAX
        } else {
            1
        };
        if !elements.contains(&stored.elements) {
            return refuse("number of elements out of bounds");
        }
        if stored.data_type.class() == DataClass::Rate && !(1..1 << 31).contains(&stored.period_ms)
        {
            return refuse("period out of bounds");
        }
    }
    Ok(())
}

/// FNV-1a over all that the layout depends on.
fn digest(spec: &TableSpec, proves: bool) -> u64 {
    let key = [
        LAYOUT_VERSION,
        spec.key_type as u64,
        u64::from(spec.key_len),
        u64::from(spec.size),
    ];
    let store = spec
        .store
        .iter()
        .flat_map(|stored| [stored.data_type as u64, u64::from(stored.elements)]);
    key.into_iter()
        .chain(store)
        .chain(proves.then_some(u64::MAX))
        .flat_map(u64::to_le_bytes)
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        })
}

/// The regions of a mapped table.
#[derive(Debug)]
pub(super) struct Regions {
    pub header: Cells<AtomicU64>,
    pub entries: Cells<AtomicU64>,
    pub links: Cells<AtomicU32>,
    pub index: Cells<AtomicU64>,
    pub log: Cells<AtomicU32>,
    pub names: Cells<AtomicU64>,
}

impl Regions {
    /// Cuts the memory as the layout says; an error if it is shorter.
    pub fn new(layout: &Layout, memory: &Memory) -> io::Result<Regions> {
        let mut carver = memory.carve();
        Ok(Regions {
            header: carver.take(HEADER_WORDS)?,
            entries: carver.take(layout.stride * layout.size as usize)?,
            links: carver.take(2 * layout.nodes())?,
            index: carver.take(layout.index_slots)?,
            log: carver.take(layout.log_slots as usize)?,
            names: carver.take(NAME_WORDS * layout.names as usize)?,
        })
    }
}
