//! A table whose declaration has changed, or its place: what its entries become in the new one.
//!
//! ```text
//! owner of the old table            who will own the new one
//!   serves, changes entries           first pass: copies every place, slice by slice
//!   marks what it changes (watch)     further passes: copies what was marked since, again and again, until that is little
//!   gives the table up                last pass: the few that are left; then counts, positions and ids of updates: it is the table now
//! ```
//! So nobody waits for more than the last pass, however many entries there are.
//!
//! Keys and the data types that both declarations have are copied; lifetimes and update ids go on. Of a table that has shrunk, the
//! entries that would expire last are kept. What has no place, or no key of the new type, or a key that another one has
//! become too, is counted as lost.
//! Invariants: `made` and `from` say of each copied entry where it came from and where it went; an entry whose two ends
//! disagree was evicted since. The old table is only read, and what is read while it changes is read again.
//! Not here: which table follows which, and when (process).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{BorrowedFd, OwnedFd};

use super::attach::AttachError;
use super::entries::Marks;
use super::header::{Change, Word};
use super::key::KeyBuf;
use super::spec::{DataClass, DataType, KeyType, TableSpec};
use super::table::{EntryIndex, Inserted, Table};
use super::watch::Watch;

/// Places looked at in one step.
const SLICE: u32 = 4096;

/// `made` of an entry that the new table has not.
const LOST: u32 = u32::MAX;

/// What became of the entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Live entries of the old table.
    pub found: u32,
    /// Of those, how many the new one has not.
    pub lost: u32,
}

/// Carries the entries of one table into another.
#[derive(Debug)]
pub struct Carrier {
    old: Table,
    watch: Option<Watch>,
    /// Where the first pass goes on.
    cursor: u32,
    /// For each old place the new one + 1, or `LOST`; 0: nothing that lives.
    made: Vec<u32>,
    /// For each new place the old one + 1.
    from: Vec<u32>,
    /// Live entries of the old table.
    found: u32,
    stored: Vec<(DataType, u32)>,
}

impl Carrier {
    /// From the table in `fd`, which may still have an owner, into `new`, which is emptied: an earlier attempt may have been cut short.
    ///
    /// # Errors
    /// `fd` holds no table of this declaration.
    pub fn new(fd: OwnedFd, was: &TableSpec, new: &mut Table) -> Result<Carrier, AttachError> {
        let old = Table::look_at(fd, was)?;
        for place in 0..new.high_water() {
            if new.entries.is_live(place) {
                new.remove(EntryIndex(place));
            }
        }
        let stored = new.spec().store.iter();
        Ok(Carrier {
            stored: stored
                .map(|stored| (stored.data_type, stored.elements))
                .collect(),
            made: vec![0; old.entries.layout.size as usize],
            from: vec![0; new.entries.layout.size as usize],
            old,
            watch: None,
            cursor: 0,
            found: 0,
        })
    }

    /// The memory in which the owner of the old table is to mark its changes ([`Table::set_watch`]), before the first pass begins.
    ///
    /// # Errors
    /// There is no memory.
    pub fn watch(&mut self) -> io::Result<BorrowedFd<'_>> {
        let watch = Watch::create(self.old.entries.layout.size)?;
        Ok(self.watch.insert(watch).fd())
    }

    /// A slice of the first pass; says whether more is left.
    pub fn step(&mut self, new: &mut Table, now_ms: u64) -> bool {
        let end = self.old.high_water().min(self.cursor.saturating_add(SLICE));
        for place in self.cursor..end {
            self.carry_place(place, new, now_ms);
        }
        self.cursor = end;
        end < self.old.high_water()
    }

    /// Carries what was marked since it was looked at; the number of places.
    pub fn follow(&mut self, new: &mut Table, now_ms: u64) -> u32 {
        let Some(watch) = &self.watch else {
            return 0;
        };
        let mut places = Vec::new();
        for word in 0..watch.len() {
            let mut marks = watch.take(word);
            while marks != 0 {
                places.push(64 * word as u32 + marks.trailing_zeros());
                marks &= marks - 1;
            }
        }
        places.retain(|&place| place < self.old.entries.layout.size);
        // A key may have moved from one place to another: first all go, then all come.
        for &place in &places {
            self.take_back(place, new);
        }
        for &place in &places {
            self.carry_place(place, new, now_ms);
        }
        places.len() as u32
    }

    /// The old table has no owner any more: carries what is left, and makes the new one its successor.
    pub fn finish(mut self, new: &mut Table, now_ms: u64) -> Carried {
        while self.step(new, now_ms) {}
        self.follow(new, now_ms);
        let found = self.found;
        let lost = found.saturating_sub(new.used());
        for word in [
            Word::UpdateId,
            Word::Pushed,
            Word::Learnt,
            Word::Insertions,
            Word::Evictions,
            Word::Refusals,
            Word::Expirations,
            Word::NamesRefused,
            Word::LostMs,
        ] {
            new.header.set(word, self.old.header.get(word));
        }
        if lost > 0 {
            new.header.set(Word::LostMs, now_ms);
        }
        new.copy_positions(&self.old);
        Carried { found, lost }
    }

    /// Makes the new table agree with one place of the old one.
    fn carry_place(&mut self, place: u32, new: &mut Table, now_ms: u64) {
        self.take_back(place, new);
        let entries = &self.old.entries;
        if entries.is_tombstone(place) {
            let (key, deleted_ms) = (entries.key(place), entries.expires(place));
            if let Some(key) = convert(&key, self.old.spec(), new.spec()) {
                // An entry that is here already was touched later.
                new.learn_deletion(key.as_key(), deleted_ms, 0, now_ms);
            }
            return;
        }
        let has_ended = self.old.spec().expire_ms != 0 && entries.expires(place) <= now_ms;
        if !entries.is_live(place) || has_ended {
            return;
        }
        self.found += 1;
        self.made[place as usize] = LOST;
        if let Some(entry) = self.copy(place, new, now_ms) {
            self.made[place as usize] = entry + 1;
            self.from[entry as usize] = place + 1;
        }
    }

    /// Removes what an earlier look at this place made.
    fn take_back(&mut self, place: u32, new: &mut Table) {
        let made = std::mem::take(&mut self.made[place as usize]);
        self.found -= u32::from(made != 0);
        let Some(entry) = made.checked_sub(1).filter(|_| made != LOST) else {
            return;
        };
        let from = &mut self.from[entry as usize];
        if *from == place + 1 && new.entries.is_live(entry) {
            *from = 0;
            new.remove(EntryIndex(entry));
        }
    }

    /// Copies an entry; `None`: the new table cannot have it.
    fn copy(&self, place: u32, new: &mut Table, now_ms: u64) -> Option<u32> {
        let old = &self.old;
        let key = convert(&old.entries.key(place), old.spec(), new.spec())?;
        let ends_ms = self.lifetime_end(place, new, now_ms);
        if new.used() == new.spec().size && new.spec().expire_ms != 0 {
            // Whoever would expire first has no place.
            new.next_expiry_ms()
                .filter(|&first_ms| first_ms < ends_ms)?;
        }
        let Inserted::New(entry) = new.lookup_or_insert(key.as_key(), now_ms)? else {
            return None;
        };
        let (id, name) = old.server_at(place);
        // A name is of no use where addresses are expected; the id still is.
        let is_same_kind = old.spec().server_key_kind == new.spec().server_key_kind;
        new.set_server(entry, id, name.as_deref().filter(|_| is_same_kind));
        for &(data_type, elements) in &self.stored {
            for element in 0..elements {
                copy_value(old, place, new, entry, data_type, element);
            }
        }
        new.header.begin(new.owner, Change::Structure);
        new.move_expiry(entry.0, ends_ms, now_ms);
        self.copy_update_id(place, new, entry.0);
        new.is_grown(entry.0);
        new.header.end();
        Some(entry.0)
    }

    /// When the entry ends in the new table; without `expire`, when it was touched.
    fn lifetime_end(&self, place: u32, new: &Table, now_ms: u64) -> u64 {
        let expires = self.old.entries.expires(place);
        let was = u64::from(self.old.spec().expire_ms);
        // What is ahead of time stays so (`tombstone`).
        let lead_ms = expires.saturating_sub(now_ms + was).min(new.lead_ms_max());
        match (was, u64::from(new.spec().expire_ms)) {
            (was, 0) => expires.saturating_sub(was).min(now_ms + lead_ms),
            (0, is) => now_ms + is + lead_ms,
            (_, is) => expires.min(now_ms + is + lead_ms),
        }
    }

    fn copy_update_id(&self, place: u32, new: &mut Table, entry: u32) {
        let Marks {
            update_id,
            has_update_id,
            ..
        } = self.old.entries.marks(place, 0);
        if !has_update_id {
            return;
        }
        if new.log.holds(update_id, self.old.local_update_id()) {
            new.log.set(update_id, entry);
        }
        let marks = new.fresh_marks(entry);
        new.entries.set_marks(
            entry,
            Marks {
                update_id,
                has_update_id,
                ..marks
            },
        );
    }
}

fn copy_value(
    old: &Table,
    from: u32,
    new: &mut Table,
    to: EntryIndex,
    data_type: DataType,
    element: u32,
) {
    match data_type.class() {
        // The server was carried already; connections are counted by those who hold them.
        DataClass::Name => {}
        _ if matches!(data_type, DataType::ServerId | DataType::ConnCur) => {}
        DataClass::Rate => {
            if let Some(rate) = old.rate_at(from, data_type, element) {
                new.set_rate(to, data_type, element, rate);
            }
        }
        _ => {
            if let Some(value) = old.value_at(from, data_type, element) {
                new.set_value(to, data_type, element, value);
            }
        }
    }
}

/// The key as the new table would have made it of the same sample; `None`: it would have made none.
fn convert(key: &KeyBuf, old: &TableSpec, new: &TableSpec) -> Option<KeyBuf> {
    let bytes = key.as_bytes();
    if old.key_type == new.key_type {
        return KeyBuf::new(new, bytes);
    }
    let address = match old.key_type {
        KeyType::Ip => Some(IpAddr::V4(<[u8; 4]>::try_from(bytes).ok()?.into())),
        KeyType::Ipv6 => Some(IpAddr::V6(<[u8; 16]>::try_from(bytes).ok()?.into())),
        _ => None,
    };
    let text = match (address, old.key_type, new.key_type) {
        // As HAProxy's samples turn into each other.
        (Some(IpAddr::V4(address)), _, KeyType::Ipv6) => {
            return KeyBuf::new(new, &address.to_ipv6_mapped().octets());
        }
        (Some(IpAddr::V6(address)), _, KeyType::Ip) => {
            return KeyBuf::new(new, &mapped(address)?.octets());
        }
        (_, KeyType::Ip, KeyType::Integer) | (_, KeyType::Integer, KeyType::Ip) => {
            return KeyBuf::new(new, bytes);
        }
        (Some(address), ..) => address.to_string(),
        (None, KeyType::String, _) => std::str::from_utf8(bytes).ok()?.to_string(),
        (None, KeyType::Integer, _) => u32::from_be_bytes(bytes.try_into().ok()?).to_string(),
        _ => return None,
    };
    match new.key_type {
        KeyType::Binary => None,
        _ => KeyBuf::parse(new, &text),
    }
}

/// The IPv4 address in an IPv6 one that holds one.
fn mapped(address: Ipv6Addr) -> Option<Ipv4Addr> {
    address.to_ipv4_mapped()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{stored, string_table};
    use super::*;
    use crate::stick::Key;

    fn table(spec: &TableSpec) -> Table {
        Table::create(spec, [1, 2], 0).unwrap()
    }

    fn carry(new: &mut Table, old: &Table, now_ms: u64) -> Carried {
        let fd = old.memory_fd().try_clone_to_owned().unwrap();
        let carrier = Carrier::new(fd, old.spec(), new).unwrap();
        let carried = carrier.finish(new, now_ms);
        new.check_invariants().unwrap();
        carried
    }

    fn fill(table: &mut Table, keys: &[&[u8]]) {
        for (number, bytes) in keys.iter().enumerate() {
            let key = Key::new(&table.spec().clone(), bytes).unwrap().to_buf();
            let entry = table.lookup_or_insert(key.as_key(), 10).unwrap().entry();
            table.set_server(entry, number as i32 + 1, Some(b"s"));
            table.set_value(entry, DataType::Gpc0, 0, 7);
            table.touch_local(entry, 10);
        }
    }

    #[test]
    fn what_both_declare_is_carried() {
        let mut spec = string_table(10, 1000);
        spec.store.push(stored(DataType::Gpc0));
        spec.store.sort_by_key(|stored| stored.data_type);
        let mut old = table(&spec);
        fill(&mut old, &[b"one", b"two", b"three"]);
        let mut wider = spec.clone();
        (wider.size, wider.key_len) = (20, 40);
        wider.store.insert(0, stored(DataType::ConnCnt));
        wider.store.sort_by_key(|stored| stored.data_type);
        let mut new = table(&wider);
        let carried = carry(&mut new, &old, 100);
        assert_eq!(carried, Carried { found: 3, lost: 0 });
        let entry = new.lookup(Key::new(&wider, b"two").unwrap(), 100).unwrap();
        assert_eq!(new.server(entry), (2, Some(&b"s"[..])));
        assert_eq!(new.value(entry, DataType::Gpc0, 0), Some(7));
        assert_eq!(new.remaining_ms(entry, 100), 910);
        assert_eq!(new.local_update_id(), old.local_update_id());
        assert_eq!(new.update_id(entry), Some(2), "peers go on where they were");
    }

    #[test]
    fn what_has_no_place_or_no_key_is_counted() {
        let spec = string_table(10, 1000);
        let mut old = table(&spec);
        fill(&mut old, &[b"10.0.0.1", b"10.0.0.2", b"no address"]);
        let mut smaller = spec.clone();
        smaller.size = 2;
        let mut new = table(&smaller);
        assert_eq!(carry(&mut new, &old, 100), Carried { found: 3, lost: 1 });
        assert_eq!(new.used(), 2);
        let mut addresses = spec.clone();
        (addresses.key_type, addresses.key_len) = (KeyType::Ip, 4);
        let mut new = table(&addresses);
        assert_eq!(carry(&mut new, &old, 100), Carried { found: 3, lost: 1 });
        assert!(
            new.lookup(Key::new(&addresses, &[10, 0, 0, 2]).unwrap(), 100)
                .is_some()
        );
        let mut back = table(&spec);
        assert_eq!(carry(&mut back, &new, 100), Carried { found: 2, lost: 0 });
        assert!(
            back.lookup(Key::new(&spec, b"10.0.0.2").unwrap(), 100)
                .is_some()
        );
    }
}
