//! A table whose declaration has changed: what its entries become in the new one.
//!
//! Keys and the data types that both declarations have are copied; lifetimes go on. Of a table that has shrunk, the entries that
//! would expire last are kept, as an eviction would have it. Nothing is announced to peers: they know these entries.
//! Not here: which table follows which (process).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::key::KeyBuf;
use super::spec::{DataClass, DataType, KeyType, TableSpec};
use super::table::{EntryIndex, Inserted, Table};

/// Places looked at in one step.
const SLICE: u32 = 4096;

/// What became of the entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Live entries of the old table.
    pub found: u32,
    /// Of those, how many the new one has not: no place, or a key that makes none of its type.
    pub lost: u32,
}

impl Table {
    /// Takes over the live entries of `old`, which nobody changes any more. An entry that is here already stays as it is.
    pub fn carry(&mut self, old: &Table, now_ms: u64) -> Carried {
        let mut carried = Carried::default();
        let evictions = self.counters().evictions;
        let mut cursor = Some(0);
        while let Some(from) = cursor {
            let mut scan = old.scan(from, SLICE, now_ms);
            for entry in scan.by_ref() {
                carried.found += 1;
                carried.lost += u32::from(!self.carry_entry(old, entry, now_ms));
            }
            cursor = scan.next_cursor();
        }
        self.carry_tombstones(old, now_ms);
        let evicted = self.counters().evictions - evictions;
        carried.lost += u32::try_from(evicted).unwrap_or(u32::MAX);
        carried
    }

    fn carry_tombstones(&mut self, old: &Table, now_ms: u64) {
        for tombstone in old.tombstones_in(0, u32::MAX) {
            let (key, deleted_ms) = old.tombstone(tombstone);
            if let Some(key) = convert(&key, old.spec(), self.spec()) {
                // An entry that is here already was touched later.
                self.learn_deletion(key.as_key(), deleted_ms, 0, now_ms);
            }
        }
    }

    fn carry_entry(&mut self, old: &Table, from: EntryIndex, now_ms: u64) -> bool {
        let Some(key) = convert(&old.key(from), old.spec(), self.spec()) else {
            return false;
        };
        let entry = match self.lookup_or_insert(key.as_key(), now_ms) {
            Some(Inserted::New(entry)) => entry,
            Some(Inserted::Found(_)) => return true,
            None => return false,
        };
        let (id, name) = old.server(from);
        // A name is of no use where addresses are expected; the id still is.
        let is_same_kind = old.spec().server_key_kind == self.spec().server_key_kind;
        self.set_server(entry, id, name.filter(|_| is_same_kind));
        let stored: Vec<(DataType, u32)> = self
            .spec()
            .store
            .iter()
            .map(|stored| (stored.data_type, stored.elements))
            .collect();
        for (data_type, elements) in stored {
            for element in 0..elements {
                self.carry_value(old, from, entry, data_type, element);
            }
        }
        let remaining_ms = (old.spec().expire_ms != 0).then(|| old.remaining_ms(from, now_ms));
        self.touch_remote(entry, now_ms, remaining_ms);
        true
    }

    fn carry_value(
        &mut self,
        old: &Table,
        from: EntryIndex,
        to: EntryIndex,
        data_type: DataType,
        element: u32,
    ) {
        match data_type.class() {
            // The server was carried already; connections are counted by those who hold them.
            DataClass::Name => {}
            _ if matches!(data_type, DataType::ServerId | DataType::ConnCur) => {}
            DataClass::Rate => {
                if let Some(rate) = old.rate(from, data_type, element) {
                    self.set_rate(to, data_type, element, rate);
                }
            }
            _ => {
                if let Some(value) = old.value(from, data_type, element) {
                    self.set_value(to, data_type, element, value);
                }
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
    let text = match old.key_type {
        KeyType::String => std::str::from_utf8(bytes).ok()?.to_string(),
        KeyType::Ip => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).to_string(),
        KeyType::Ipv6 => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string(),
        KeyType::Integer => u32::from_be_bytes(bytes.try_into().ok()?).to_string(),
        KeyType::Binary => return None,
    };
    match new.key_type {
        KeyType::Binary => None,
        _ => KeyBuf::parse(new, &text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{stored, string_table};
    use super::*;
    use crate::stick::Key;

    fn table(spec: &TableSpec) -> Table {
        Table::create(spec, [1, 2], 0).unwrap()
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
        let carried = new.carry(&old, 100);
        assert_eq!(carried, Carried { found: 3, lost: 0 });
        let entry = new.lookup(Key::new(&wider, b"two").unwrap(), 100).unwrap();
        assert_eq!(new.server(entry), (2, Some(&b"s"[..])));
        assert_eq!(new.value(entry, DataType::Gpc0, 0), Some(7));
        assert_eq!(new.remaining_ms(entry, 100), 910);
        assert_eq!(new.local_update_id(), 0, "peers know these entries");
    }

    #[test]
    fn what_has_no_place_or_no_key_is_counted() {
        let spec = string_table(10, 1000);
        let mut old = table(&spec);
        fill(&mut old, &[b"10.0.0.1", b"10.0.0.2", b"no address"]);
        let mut smaller = spec.clone();
        smaller.size = 2;
        let mut new = table(&smaller);
        assert_eq!(new.carry(&old, 100), Carried { found: 3, lost: 1 });
        assert_eq!(new.used(), 2);
        let mut addresses = spec.clone();
        (addresses.key_type, addresses.key_len) = (KeyType::Ip, 4);
        let mut new = table(&addresses);
        assert_eq!(new.carry(&old, 100), Carried { found: 3, lost: 1 });
        assert!(
            new.lookup(Key::new(&addresses, &[10, 0, 0, 2]).unwrap(), 100)
                .is_some()
        );
        let mut back = table(&spec);
        assert_eq!(back.carry(&new, 100), Carried { found: 2, lost: 0 });
        assert!(
            back.lookup(Key::new(&spec, b"10.0.0.2").unwrap(), 100)
                .is_some()
        );
    }
}
