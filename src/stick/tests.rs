//! Random operations on a table beside a slow, obvious oracle; then the same with a death between any two stores.

use super::cell::{Slot, crash};
use super::header::Word;
use super::*;
use crate::sys::memory::{Cells, Memory};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;

/// A small generator, so that a seed replays exactly.
pub(super) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    pub fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

pub(super) fn stored(data_type: DataType) -> StoredType {
    let period_ms = if data_type.class() == DataClass::Rate {
        1000
    } else {
        0
    };
    StoredType {
        data_type,
        elements: if data_type.is_array() { 3 } else { 1 },
        period_ms,
    }
}

pub(super) fn string_table(size: u32, expire_ms: u32) -> TableSpec {
    TableSpec {
        name: "sessions".to_string(),
        wire_name: "sessions".to_string(),
        key_type: KeyType::String,
        key_len: 32,
        size,
        expire_ms,
        nopurge: false,
        expire_absolute: false,
        store: vec![stored(DataType::ServerId), stored(DataType::ServerKey)],
        server_key_kind: ServerKeyKind::Name,
        peers: None,
    }
}

fn random_spec(random: &mut Random) -> TableSpec {
    let mut spec = string_table(1 + random.below(40) as u32, 0);
    spec.peers = Some("mesh".to_string());
    (spec.key_type, spec.key_len) = match random.below(6) {
        0 => (KeyType::Ip, 4),
        1 => (KeyType::Ipv6, 16),
        2 => (KeyType::Integer, 4),
        3 => (KeyType::Binary, 1 + random.below(20) as u32),
        4 => (KeyType::String, 2 + random.below(7) as u32),
        _ => (KeyType::String, 32),
    };
    spec.expire_ms = [0, 1, 50, 5000][random.below(4) as usize];
    spec.nopurge = random.one_in(6);
    spec.store = DataType::ALL
        .into_iter()
        .filter(|&data_type| data_type == DataType::Gpc0 || random.one_in(3))
        .map(stored)
        .collect();
    spec
}

/// The bytes of the key with this number, as a client would give them.
fn raw_key(spec: &TableSpec, number: u32) -> Vec<u8> {
    match spec.key_type {
        KeyType::Ip | KeyType::Integer => (number * 7).to_be_bytes().to_vec(),
        KeyType::Ipv6 => u128::from(number).to_be_bytes().to_vec(),
        KeyType::String | KeyType::Binary => {
            let mut bytes = format!("{number:02}").into_bytes();
            bytes.resize(2 + number as usize % 29, b'k');
            bytes
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Expected {
    expires: u64,
    references: u32,
    update_id: Option<u32>,
    /// Counts the changes of the entry; stored as gpc0.
    version: u32,
    version_is_local: bool,
    server: (i32, Option<Vec<u8>>),
    conn_cur: u64,
    bytes_in: u64,
    rate: Rate,
}

struct Model {
    spec: TableSpec,
    table: Table,
    random: Random,
    now_ms: u64,
    entries: BTreeMap<Vec<u8>, Expected>,
    last_id: u32,
    pushed: u32,
    refusals: u64,
    /// When keys were deleted that nobody made again.
    deleted: BTreeMap<Vec<u8>, u64>,
    /// What a peer that follows the log has: the version of each key; and how far it is.
    peer: BTreeMap<Vec<u8>, u32>,
    position: u32,
}

/// Slots of the log of the small tables here.
const LOG_SLOTS: u32 = 1024;

impl Model {
    fn new(seed: u64) -> Model {
        let mut random = Random::new(seed);
        let spec = random_spec(&mut random);
        let now_ms = 1_000_000 + random.below(1 << 33);
        // Every other one as if it were in a file: the rules are the same.
        let mut table = if random.one_in(2) {
            let memory = Memory::create(c"file", bytes_in_file(&spec).unwrap() as usize).unwrap();
            let moment = Moment {
                boot: Boot([1, 1]),
                now_ms,
                wall_ms: 0,
            };
            let fd = memory.fd().try_clone_to_owned().unwrap();
            Table::create_in_file(fd, &spec, [seed, !seed], moment).unwrap()
        } else {
            Table::create(&spec, [seed, !seed], now_ms).unwrap()
        };
        // Some tables begin shortly before the ids wrap.
        let last_id = if random.one_in(2) {
            u32::MAX - random.below(100) as u32
        } else {
            0
        };
        table.begin_ids_at(last_id);
        Model {
            spec,
            table,
            random,
            now_ms,
            entries: BTreeMap::new(),
            last_id,
            pushed: last_id,
            refusals: 0,
            deleted: BTreeMap::new(),
            peer: BTreeMap::new(),
            position: last_id,
        }
    }

    fn is_gone(&self, expected: &Expected) -> bool {
        self.spec.expire_ms != 0 && expected.expires <= self.now_ms && expected.references == 0
    }

    fn forget_expired(&mut self) {
        let gone: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| self.is_gone(entry))
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            self.entries.remove(&key);
        }
    }

    fn lifetime_end(&self, remaining_ms: Option<u32>) -> u64 {
        self.now_ms + u64::from(remaining_ms.unwrap_or(u32::MAX).min(self.spec.expire_ms))
    }

    /// The longest that a touch can be ahead of time.
    fn lead_ms_max(&self) -> u64 {
        match self.spec.expire_ms {
            0 => 30_000,
            expire_ms => 30_000.min(u64::from(expire_ms / 2)),
        }
    }

    /// The end of an entry's lifetime that is set to `end` now: what is ahead of time stays so.
    fn with_lead(&self, key: &KeyBuf, end: u64) -> u64 {
        let standing = self.entries[key.as_bytes()].expires;
        let latest = self.lifetime_end(None);
        if standing > latest && standing <= latest + self.lead_ms_max() {
            standing.max(end)
        } else {
            end
        }
    }

    /// The oracle's view of what room an insertion finds; the key that must go, if one must.
    fn victims(&self) -> Option<BTreeSet<Vec<u8>>> {
        if self.table.used() < self.spec.size || self.entries.len() < self.table.used() as usize {
            return Some(BTreeSet::new()); // a free place, or an expired entry's
        }
        let unused = || {
            self.entries
                .iter()
                .filter(|(_, entry)| entry.references == 0)
        };
        let first = unused()
            .map(|(_, entry)| entry.expires)
            .min()
            .filter(|_| !self.spec.nopurge)?;
        Some(
            unused()
                .filter(|(_, entry)| entry.expires == first)
                .map(|(key, _)| key.clone())
                .collect(),
        )
    }

    fn insert(&mut self, key: &KeyBuf) {
        let victims = self.victims();
        let deleted = self.table.deleted_ms(key.as_key());
        let inserted = self.table.lookup_or_insert(key.as_key(), self.now_ms);
        let Some(victims) = victims else {
            assert_eq!(inserted, None);
            self.refusals += 1;
            return;
        };
        let Some(Inserted::New(entry)) = inserted else {
            panic!("{inserted:?}");
        };
        self.table.touch(entry, self.now_ms);
        if !victims.is_empty() {
            let gone: Vec<_> = victims
                .iter()
                .filter(|key| {
                    self.table
                        .lookup(KeyBuf::new(&self.spec, key).unwrap().as_key(), self.now_ms)
                        .is_none()
                })
                .collect();
            assert_eq!(gone.len(), 1, "one of those that expire first goes");
            self.entries.remove(gone[0]);
        }
        // Made again after its deletion is known, it is younger than that.
        let lead = deleted.map_or(0, |at| (at + 3_000).saturating_sub(self.now_ms));
        let expected = Expected {
            expires: self.lifetime_end(None) + lead.min(self.lead_ms_max()),
            ..Expected::default()
        };
        self.deleted.remove(key.as_bytes());
        self.entries.insert(key.as_bytes().to_vec(), expected);
    }

    /// One random operation.
    fn step(&mut self) {
        if self.random.one_in(4) {
            self.now_ms += self.random.below(u64::from(self.spec.expire_ms / 3 + 2));
        }
        self.forget_expired();
        let keys = u64::from(self.spec.size) * 2 + 2;
        let raw = raw_key(&self.spec, self.random.below(keys) as u32);
        let key = KeyBuf::new(&self.spec, &raw).unwrap();
        let found = self.table.lookup(key.as_key(), self.now_ms);
        assert_eq!(
            found.is_some(),
            self.entries.contains_key(key.as_bytes()),
            "{key:?}"
        );
        match (found, self.random.below(24)) {
            (_, 0) => {
                let budget = self.random.below(5) as u32;
                if !self.table.expire(self.now_ms, budget) && self.spec.expire_ms != 0 {
                    assert_eq!(
                        self.table.used() as usize,
                        self.entries.len(),
                        "all that expired is gone"
                    );
                }
            }
            (_, 1) => self.pull(),
            (None, 2) => self.learn_deletion(&key),
            (None, _) => self.insert(&key),
            (Some(entry), operation) => self.change(entry, &key, operation),
        }
    }

    fn change(&mut self, entry: EntryIndex, key: &KeyBuf, operation: u64) {
        let end = self.with_lead(key, self.lifetime_end(None));
        let learnt = match operation {
            2 | 3 => self.random.below(u64::from(self.spec.expire_ms) + 10) as u32,
            _ => 0,
        };
        let learnt_end = self.with_lead(key, self.lifetime_end(Some(learnt)));
        let expected = self.entries.get_mut(key.as_bytes()).unwrap();
        match operation {
            2 | 3 => {
                let remaining = learnt;
                expected.expires = learnt_end;
                expected.version += 1;
                expected.version_is_local = false;
                self.table
                    .set_value(entry, DataType::Gpc0, 0, u64::from(expected.version));
                self.table.touch_remote(entry, self.now_ms, Some(remaining));
            }
            4 => {
                expected.expires = end;
                self.table.touch(entry, self.now_ms);
            }
            5 | 6 => {
                expected.references += 1;
                self.table.refer(entry);
            }
            7..=10 if expected.references > 0 => {
                expected.references -= 1;
                self.table.release(entry, self.now_ms);
            }
            11 if self.random.one_in(2) => {
                if expected.references > 0 {
                    assert!(!self.table.delete(entry, self.now_ms));
                } else {
                    assert!(self.table.delete(entry, self.now_ms));
                    let touched_ms = expected.expires - u64::from(self.spec.expire_ms);
                    let deleted_ms = self.now_ms.max(touched_ms);
                    self.entries.remove(key.as_bytes());
                    self.deleted.insert(key.as_bytes().to_vec(), deleted_ms);
                    self.take_update_id();
                }
            }
            11 if self.random.one_in(2) => self.learn_deletion(key),
            11 => {
                let stays = expected.references > 0;
                assert_eq!(self.table.remove(entry), !stays);
                if !stays {
                    self.entries.remove(key.as_bytes());
                }
            }
            12 | 13 => self.change_server(entry, key),
            14 => self.change_values(entry, key),
            _ => {
                expected.expires = end;
                expected.version += 1;
                expected.version_is_local = true;
                self.table
                    .set_value(entry, DataType::Gpc0, 0, u64::from(expected.version));
                self.table.touch_local(entry, self.now_ms);
                if expected
                    .update_id
                    .is_none_or(|id| id.wrapping_sub(self.pushed) as i32 <= 0)
                {
                    expected.update_id = Some(self.last_id.wrapping_add(1));
                    self.take_update_id();
                }
            }
        }
    }

    fn take_update_id(&mut self) {
        self.last_id = self.last_id.wrapping_add(1);
        let left = self.last_id.wrapping_sub(LOG_SLOTS);
        if left.wrapping_sub(self.pushed) as i32 > 0 {
            self.pushed = left;
        }
    }

    /// A peer says that a key was deleted a moment ago.
    fn learn_deletion(&mut self, key: &KeyBuf) {
        let touched = self.entries.get(key.as_bytes());
        let in_use = touched.is_some_and(|entry| entry.references > 0);
        let end = touched.map_or(0, |entry| entry.expires);
        let touched_ms = end.saturating_sub(u64::from(self.spec.expire_ms));
        // The deletion came before the last touch in half of the cases.
        let until_ms = (touched_ms + self.random.below(2)).saturating_sub(1);
        let known_ms = self.table.deleted_ms(key.as_key()).unwrap_or(0);
        let deleted_ms = self.now_ms.max(known_ms);
        let learnt = self
            .table
            .learn_deletion(key.as_key(), self.now_ms, until_ms, self.now_ms);
        if touched.is_some() && touched_ms > until_ms {
            assert!(matches!(learnt, LearntDeletion::Newer(_)), "{learnt:?}");
        } else if in_use {
            assert!(matches!(learnt, LearntDeletion::InUse(_)), "{learnt:?}");
        } else {
            assert_eq!(learnt, LearntDeletion::Deleted);
            self.entries.remove(key.as_bytes());
            self.deleted.insert(key.as_bytes().to_vec(), deleted_ms);
            // It is not announced, and what this node knew of the key is no news any more.
            self.peer.remove(key.as_bytes());
        }
    }

    fn change_server(&mut self, entry: EntryIndex, key: &KeyBuf) {
        let expected = self.entries.get_mut(key.as_bytes()).unwrap();
        let id = self.random.below(5) as i32 - 1;
        // Some 300 names for 256 places: unused ones make room.
        let name = format!("server-{}", self.random.below(300)).into_bytes();
        let (has_id, has_key) = (
            self.table.stores(DataType::ServerId),
            self.table.stores(DataType::ServerKey),
        );
        match self.random.below(3) {
            0 => {
                let name = (!self.random.one_in(4)).then_some(name);
                self.table.set_server(entry, id, name.as_deref());
                expected.server = (
                    if has_id { id } else { 0 },
                    if has_key { name } else { None },
                );
            }
            1 => {
                self.table.set_server_id(entry, id);
                expected.server.0 = if has_id { id } else { 0 };
            }
            _ => {
                assert_eq!(self.table.set_server_key(entry, &name), has_key);
                expected.server.1 = has_key.then_some(name);
            }
        }
    }

    fn change_values(&mut self, entry: EntryIndex, key: &KeyBuf) {
        let expected = self.entries.get_mut(key.as_bytes()).unwrap();
        let delta = self.random.below(7) as i64 - 3;
        let gauge = self.table.add_value(entry, DataType::ConnCur, 0, delta);
        if self.table.stores(DataType::ConnCur) {
            expected.conn_cur = expected.conn_cur.saturating_add_signed(delta);
            assert_eq!(gauge, Some(expected.conn_cur));
        }
        if self
            .table
            .add_value(entry, DataType::BytesInCnt, 0, 1 << 40)
            .is_some()
        {
            expected.bytes_in += 1 << 40;
        }
        if self
            .table
            .rate_add(entry, DataType::GpcRate, 2, 3, self.now_ms)
            .is_some()
        {
            expected.rate = expected.rate.add(self.now_ms, 1000, 3);
        }
    }

    /// The peer reads on, not always to the end.
    fn pull(&mut self) {
        if self.table.is_behind(self.position) {
            self.position = self.table.local_update_id();
            self.peer = self
                .entries
                .iter()
                .map(|(key, entry)| (key.clone(), entry.version))
                .collect();
        }
        for _ in 0..1 + self.random.below(20) {
            match self.table.next_update(self.position, 3) {
                NextUpdate::Update(id, entry) => {
                    assert_eq!(self.table.update_id(entry), Some(id));
                    let version = self.table.value(entry, DataType::Gpc0, 0).unwrap() as u32;
                    self.peer
                        .insert(self.table.key(entry).as_bytes().to_vec(), version);
                    self.position = id;
                }
                NextUpdate::Deletion(id, tombstone) => {
                    assert_eq!(self.table.tombstone_update_id(tombstone), Some(id));
                    let (key, _) = self.table.tombstone(tombstone);
                    self.peer.remove(key.as_bytes());
                    self.position = id;
                }
                NextUpdate::Skipped(id) => self.position = id,
                NextUpdate::UpToDate => {
                    self.position = self.table.local_update_id();
                    self.check_peer();
                }
            }
        }
        self.table.set_pushed(self.position);
        if self.position.wrapping_sub(self.pushed) as i32 > 0 {
            self.pushed = self.position;
        }
    }

    /// A peer at the end of the log has the latest of all that was last changed here.
    fn check_peer(&self) {
        for (key, entry) in self
            .entries
            .iter()
            .filter(|(_, entry)| entry.version_is_local)
        {
            assert_eq!(
                self.peer.get(key),
                Some(&entry.version),
                "{}",
                key.escape_ascii()
            );
        }
    }

    /// What has a tombstone was deleted then, and a peer at the end of the log knows of it.
    fn check_tombstones(&self) {
        let mut count = 0;
        for tombstone in self.table.tombstones_in(0, u32::MAX) {
            let (key, deleted_ms) = self.table.tombstone(tombstone);
            let expected = self.deleted.get(key.as_bytes());
            assert_eq!(expected, Some(&deleted_ms), "{key:?}");
            assert_eq!(self.table.deleted_ms(key.as_key()), Some(deleted_ms));
            if self.position == self.last_id {
                assert_eq!(self.peer.get(key.as_bytes()), None, "{key:?}");
            }
            count += 1;
        }
        assert_eq!(self.table.tombstones(), count);
    }

    fn check(&self) {
        self.table.check_invariants().unwrap();
        self.check_tombstones();
        assert_eq!(self.table.local_update_id(), self.last_id);
        assert_eq!(self.table.pushed(), self.pushed);
        let counters = self.table.counters();
        assert_eq!(counters.refusals, self.refusals);
        let removed = counters.insertions - u64::from(self.table.used());
        assert!(counters.evictions + counters.expirations <= removed);
        let mut seen = 0;
        for entry in self.table.scan(0, u32::MAX, self.now_ms) {
            let key = self.table.key(entry);
            let expected = self
                .entries
                .get(key.as_bytes())
                .filter(|expected| !self.is_gone(expected));
            let expected = expected.unwrap_or_else(|| panic!("{key:?} is not gone"));
            self.check_entry(entry, expected);
            seen += 1;
        }
        let alive = self
            .entries
            .values()
            .filter(|expected| !self.is_gone(expected))
            .count();
        assert_eq!(seen, alive);
    }

    fn check_entry(&self, entry: EntryIndex, expected: &Expected) {
        let table = &self.table;
        if self.spec.expire_ms != 0 {
            let left = expected.expires.saturating_sub(self.now_ms);
            let left = left.min(u64::from(self.spec.expire_ms));
            assert_eq!(u64::from(table.remaining_ms(entry, self.now_ms)), left);
        }
        assert_eq!(table.use_count(entry), expected.references);
        assert_eq!(table.update_id(entry), expected.update_id);
        assert_eq!(
            table.value(entry, DataType::Gpc0, 0),
            Some(u64::from(expected.version))
        );
        let (id, name) = table.server(entry);
        assert_eq!((id, name.map(<[u8]>::to_vec)), expected.server);
        let or_none = |data_type, value| table.stores(data_type).then_some(value);
        assert_eq!(
            table.value(entry, DataType::ConnCur, 0),
            or_none(DataType::ConnCur, expected.conn_cur)
        );
        assert_eq!(
            table.value(entry, DataType::BytesInCnt, 0),
            or_none(DataType::BytesInCnt, expected.bytes_in)
        );
        let is_rate_stored = table.stores(DataType::GpcRate);
        assert_eq!(
            table.rate(entry, DataType::GpcRate, 2),
            is_rate_stored.then_some(expected.rate)
        );
        assert_eq!(
            table.rate(entry, DataType::GpcRate, 1),
            is_rate_stored.then_some(Rate::default())
        );
    }

    /// The owner dies at rest: another process goes on.
    fn attach_again(&mut self) {
        let fd = self.table.memory_fd().try_clone_to_owned().unwrap();
        self.table = Table::attach(fd, &self.spec, self.now_ms).unwrap();
        for entry in self.entries.values_mut() {
            entry.references = 0;
            entry.conn_cur = 0;
        }
        self.forget_expired();
    }
}

#[test]
fn agrees_with_the_oracle() {
    for seed in 0..2000 {
        let run = catch_unwind(|| {
            let mut model = Model::new(seed);
            for step in 0..200 {
                model.step();
                if step % 15 == 0 {
                    model.check();
                }
                if step % 97 == 96 {
                    model.attach_again();
                    model.check();
                }
            }
        });
        assert!(run.is_ok(), "seed {seed}");
    }
}

/// A copy of the memory, as a dying process leaves it.
fn copy_of(table: &Table) -> Memory {
    let copy = Memory::create(c"copy", table.memory.len()).unwrap();
    let words = table.memory.len() / 8;
    let from: Cells<AtomicU64> = table.memory.carve().take(words).unwrap();
    let to: Cells<AtomicU64> = copy.carve().take(words).unwrap();
    for (from, to) in from.iter().zip(to.iter()) {
        if from.get() != 0 {
            to.set(from.get());
        }
    }
    copy
}

fn attach_to(memory: &Memory, spec: &TableSpec, now_ms: u64) -> Table {
    Table::attach(memory.fd().try_clone_to_owned().unwrap(), spec, now_ms).unwrap()
}

/// All that must survive a death, entry by entry.
type Content = BTreeMap<
    Vec<u8>,
    (
        u32,
        Option<u64>,
        i32,
        Option<Vec<u8>>,
        Option<Rate>,
        Option<u32>,
    ),
>;

fn content_of(table: &Table, now_ms: u64) -> Content {
    table
        .scan(0, u32::MAX, now_ms)
        .map(|entry| {
            let (id, name) = table.server(entry);
            let gpc0 = table.value(entry, DataType::Gpc0, 0);
            let rate = table.rate(entry, DataType::GpcRate, 2);
            let left = table.remaining_ms(entry, now_ms);
            let key = table.key(entry).as_bytes().to_vec();
            (
                key,
                (
                    left,
                    gpc0,
                    id,
                    name.map(<[u8]>::to_vec),
                    rate,
                    table.update_id(entry),
                ),
            )
        })
        .collect()
}

/// Runs one step of the model on a copy of the table, and dies after `stores` stores. Returns the copy, and whether it died.
fn die_in_step(model: &Model, seed: u64, stores: u64) -> (Memory, u64, bool) {
    let memory = copy_of(&model.table);
    let mut dying = Model {
        spec: model.spec.clone(),
        table: attach_to(&memory, &model.spec, model.now_ms),
        random: Random::new(seed),
        entries: model.entries.clone(),
        peer: model.peer.clone(),
        deleted: model.deleted.clone(),
        ..*model
    };
    for entry in dying.entries.values_mut() {
        (entry.references, entry.conn_cur) = (0, 0);
    }
    crash::after(stores);
    let died = catch_unwind(AssertUnwindSafe(|| dying.step())).is_err();
    crash::never();
    (memory, dying.now_ms, died)
}

#[test]
fn a_death_between_two_stores_leaves_each_entry_old_or_new() {
    let mut deaths = 0;
    for seed in 0..30 {
        let mut model = Model::new(seed);
        for _ in 0..150 {
            model.step();
        }
        for step in 0..6 {
            model.attach_again();
            let step_seed = seed * 100 + step;
            let (memory, now_ms, died) = die_in_step(&model, step_seed, u64::MAX);
            assert!(!died);
            let after = content_of(&attach_to(&memory, &model.spec, now_ms), now_ms);
            let before = content_of(
                &attach_to(&copy_of(&model.table), &model.spec, now_ms),
                now_ms,
            );
            for stores in 0.. {
                let (memory, _, died) = die_in_step(&model, step_seed, stores);
                if !died {
                    break;
                }
                deaths += 1;
                // The successor dies, too, while it puts things right.
                crash::after(stores * 3);
                let _ = catch_unwind(|| attach_to(&memory, &model.spec, now_ms));
                crash::never();
                let mut table = attach_to(&memory, &model.spec, now_ms);
                let at = format!("seed {seed}, step {step}, {stores} stores");
                table
                    .check_invariants()
                    .unwrap_or_else(|what| panic!("{at}: {what}"));
                let found = content_of(&table, now_ms);
                for key in before.keys().chain(after.keys()).chain(found.keys()) {
                    let now = found.get(key);
                    let is_whole = now == before.get(key) || now == after.get(key);
                    assert!(
                        is_whole || is_mixed_in_order(now, before.get(key), after.get(key)),
                        "{at}: {now:?}"
                    );
                }
                table.expire(now_ms + 10_000, u32::MAX);
                table
                    .check_invariants()
                    .unwrap_or_else(|what| panic!("{at}: {what}"));
            }
            model.random = Random::new(step_seed);
            model.step();
        }
    }
    assert!(deaths > 1000, "{deaths} deaths");
}

/// One step of the model changes several values in turn; each of them is old or new.
fn is_mixed_in_order<
    T: PartialEq,
    U: PartialEq,
    V: PartialEq,
    W: PartialEq,
    X: PartialEq,
    Y: PartialEq,
>(
    now: Option<&(T, U, V, W, X, Y)>,
    before: Option<&(T, U, V, W, X, Y)>,
    after: Option<&(T, U, V, W, X, Y)>,
) -> bool {
    let (Some(now), Some(before), Some(after)) = (now, before, after) else {
        return false;
    };
    (now.0 == before.0 || now.0 == after.0)
        && (now.1 == before.1 || now.1 == after.1)
        && ((now.2 == before.2 && now.3 == before.3) || (now.2 == after.2 && now.3 == after.3))
        && (now.4 == before.4 || now.4 == after.4)
        && (now.5 == before.5 || now.5 == after.5)
}

/// A table is copied slice by slice while its owner goes on: the copy is what the table is in the end, whatever happened meanwhile.
#[test]
fn a_copy_of_a_table_that_changes_agrees_with_it() {
    for seed in 0..400 {
        let mut model = Model::new(seed);
        for _ in 0..100 {
            model.step();
        }
        let mut random = Random::new(seed + 7);
        let mut spec = model.spec.clone();
        spec.size += 100 * random.below(2) as u32;
        if spec.expire_ms != 0 && random.one_in(2) {
            spec.expire_ms *= 2;
        }
        spec.store.retain(|_| !random.one_in(8));
        if spec.stored(DataType::HttpReqCnt).is_none() {
            spec.store.push(stored(DataType::HttpReqCnt));
            spec.store.sort_by_key(|stored| stored.data_type);
        }
        let mut copy = Table::create(&spec, [seed, 1], model.now_ms).unwrap();
        // What an attempt before left.
        let junk = KeyBuf::new(&spec, &raw_key(&spec, 1_000)).unwrap();
        if let Some(inserted) = copy.lookup_or_insert(junk.as_key(), model.now_ms) {
            copy.touch(inserted.entry(), model.now_ms);
        }
        let fd = || model.table.memory_fd().try_clone_to_owned().unwrap();
        let mut carrier = Carrier::new(fd(), &model.spec, &mut copy).unwrap();
        let watch = carrier.watch().unwrap().try_clone_to_owned().unwrap();
        model.table.set_watch(watch).unwrap();
        for _ in 0..60 {
            model.step();
            match random.below(3) {
                0 => {
                    carrier.step(&mut copy, model.now_ms);
                }
                1 => {
                    carrier.follow(&mut copy, model.now_ms);
                }
                _ => {}
            }
        }
        let carried = carrier.finish(&mut copy, model.now_ms);
        let at = format!("seed {seed}");
        copy.check_invariants()
            .unwrap_or_else(|what| panic!("{at}: {what}"));
        let (was, is) = (
            content_of(&model.table, model.now_ms),
            content_of(&copy, model.now_ms),
        );
        for (key, entry) in &is {
            let old = was.get(key).unwrap_or_else(|| panic!("{at}: {key:?}"));
            let id = spec.stored(DataType::ServerId).map_or(0, |_| old.2);
            let name = old.3.as_ref().filter(|_| copy.stores(DataType::ServerKey));
            assert_eq!((entry.2, entry.3.as_ref()), (id, name), "{at}: {key:?}");
            assert_eq!(entry.5, old.5, "{at}: {key:?}");
            assert!(entry.1.is_none() || entry.1 == old.1, "{at}: {key:?}");
            assert_eq!(entry.0, old.0, "{at}: {key:?}");
        }
        // All that is not there is counted, but for what had expired and was only referred to.
        let had_expired = model
            .entries
            .values()
            .filter(|entry| model.spec.expire_ms != 0 && entry.expires <= model.now_ms);
        let missing = (was.len() - is.len()).saturating_sub(had_expired.count());
        assert!(
            missing <= carried.lost as usize,
            "{at}: {missing} {carried:?}"
        );
        assert!(
            spec.size < model.spec.size + 100 || missing == 0,
            "{at}: {missing}"
        );
        assert_eq!(copy.local_update_id(), model.table.local_update_id());
    }
}

/// Entries of this node stand at the end of the bucket; a lesson whose entries expire a little earlier, in the order in which
/// they were made and with the jitter of a network, goes in before them: each beside the one before, and in order.
#[test]
fn a_lesson_finds_its_places_beside_each_other() {
    const ENTRIES: u32 = 3_000;
    // One bucket for everything: what a lesson of this size meets in a table of a million.
    let spec = string_table(2 * ENTRIES, 1 << 23);
    let now_ms = 1;
    let mut table = Table::create(&spec, [1, 2], now_ms).unwrap();
    let mut learn = |name: String, remaining_ms: Option<u32>| {
        let key = Key::new(&spec, name.as_bytes()).unwrap();
        let hash = table.hash_key(key);
        table.announce(hash);
        let lifetime = (now_ms, remaining_ms);
        let learnt = table.lookup_or_insert_learnt(key, hash, lifetime, now_ms);
        table.touch_remote(learnt.unwrap().entry(), now_ms, remaining_ms);
    };
    for number in 0..ENTRIES {
        learn(format!("here-{number}"), None);
    }
    for number in 0..ENTRIES {
        let jitter_ms = (number / 100) % 2;
        learn(
            format!("there-{number}"),
            Some((1 << 23) - 2_000 + number / 10 + jitter_ms),
        );
    }
    let misplaced = table.header.get(Word::Misplaced);
    assert!(
        misplaced <= 2,
        "only the first ones are far from everything: {misplaced}"
    );
    table.check_invariants().unwrap();
    // In the order of expiry: what the peer made first goes first.
    let order: Vec<u64> = table
        .expiry
        .check(&table.entries, &table.header)
        .unwrap()
        .into_iter()
        .map(|entry| table.entries.expires(entry))
        .collect();
    let inversions = order.windows(2).filter(|pair| pair[0] > pair[1]).count();
    assert!(
        inversions <= 2,
        "{inversions} of {} are out of order",
        order.len()
    );
}
