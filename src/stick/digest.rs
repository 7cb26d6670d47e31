//! A digest of a table's keys and server bindings, kept up to date by every change, to tell whether two nodes agree.
//!
//! Three sums modulo 2^64, over the entries in whatever order: of the keys, of keys with their `server_id`, of keys with
//! their `server_key`. A sum and not an exclusive or, because then the *difference* of two tables stays the same while
//! both take in the same changes: what two busy nodes disagree about can be told from what is on its way between them.
//! Counters and lifetimes are left out: counters are never the same everywhere, lifetimes are as exact as the network.
//!
//! The hash is the same on all nodes, so it has no secret: who chooses keys can hide a disagreement, nothing else.
//! Invariant: the sums cover the live entries that are not parked (one that is parked has expired for all other nodes, or was
//! about to be evicted). `check_invariants` adds them up again.
//! Not here: who compares (peers).

use super::cell::Slot;
use super::data::place_in;
use super::header::Word;
use super::key::Key;
use super::table::Table;

/// What a table holds, in three numbers; equal numbers mean equal contents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// Of the keys.
    pub keys: u64,
    /// Of the keys that have a `server_id`, with it.
    pub ids: u64,
    /// Of the keys that have a `server_key`, with it.
    pub names: u64,
}

impl Digest {
    /// The digest of both together.
    pub fn plus(self, other: Digest) -> Digest {
        Digest {
            keys: self.keys.wrapping_add(other.keys),
            ids: self.ids.wrapping_add(other.ids),
            names: self.names.wrapping_add(other.names),
        }
    }

    /// What is left when the other is taken away: the default if they are equal.
    pub fn minus(self, other: Digest) -> Digest {
        Digest {
            keys: self.keys.wrapping_sub(other.keys),
            ids: self.ids.wrapping_sub(other.ids),
            names: self.names.wrapping_sub(other.names),
        }
    }
}

const FACTORS: [u64; 3] = [
    0x9e37_79b9_7f4a_7c15,
    0xbf58_476d_1ce4_e5b9,
    0x94d0_49bb_1331_11eb,
];

/// Both halves of a product, folded: each bit of either factor reaches all of the result.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ (product >> 64) as u64
}

/// Hashes `len` bytes that come eight at a time, little endian, zeros beyond the end.
#[inline]
fn hash_words(len: usize, word: impl Fn(usize) -> u64) -> u64 {
    let mut hash = FACTORS[0] ^ len as u64;
    for index in 0..len.div_ceil(8) {
        hash = fold(hash ^ word(index), FACTORS[1]).wrapping_add(FACTORS[2]);
    }
    fold(hash, FACTORS[2] ^ len as u64)
}

/// The hash of a name.
pub(super) fn hash_bytes(bytes: &[u8]) -> u64 {
    hash_words(bytes.len(), |index| {
        let mut word = [0; 8];
        let rest = &bytes[8 * index..];
        let count = rest.len().min(8);
        word[..count].copy_from_slice(&rest[..count]);
        u64::from_le_bytes(word)
    })
}

impl Table {
    /// What the table holds; entries that only wait for their last reference to go are left out.
    pub fn digest(&self) -> Digest {
        Digest {
            keys: self.header.get(Word::DigestKeys),
            ids: self.header.get(Word::DigestIds),
            names: self.header.get(Word::DigestNames),
        }
    }

    pub(super) fn set_digest(&self, digest: Digest) {
        self.header.set(Word::DigestKeys, digest.keys);
        self.header.set(Word::DigestIds, digest.ids);
        self.header.set(Word::DigestNames, digest.names);
    }

    pub(super) fn digest_add(&self, entry: u32) {
        self.set_digest(self.digest().plus(self.digest_of(entry)));
    }

    /// The same for an entry that has just been made, without a server.
    pub(super) fn digest_add_new(&mut self, entry: u32, key: &Key<'_>) {
        let hash = hash_words(key.padded_len(), |index| key.word(index));
        self.newest = (entry, hash);
        self.set_digest(self.digest().plus(self.digest_with(hash, 0)));
    }

    pub(super) fn digest_subtract(&self, entry: u32) {
        self.set_digest(self.digest().minus(self.digest_of(entry)));
    }

    fn key_hash(&self, entry: u32) -> u64 {
        let len = self.entries.key_len(entry);
        hash_words(len, |index| self.entries.key_word(entry, index, len))
    }

    /// What one entry adds.
    pub(super) fn digest_of(&self, entry: u32) -> Digest {
        let layout = &self.entries.layout;
        let word = if layout.stores_server_id || layout.stores_server_key {
            self.entries.word(entry, layout.server_word).get()
        } else {
            0
        };
        self.digest_with(self.key_hash(entry), word)
    }

    /// How the digest changes when the entry's server word does.
    pub(super) fn digest_change(&self, entry: u32, old: u64, new: u64) -> Digest {
        // A place gets another key only by being filled again.
        let key = match self.newest {
            (newest, hash) if newest == entry => hash,
            _ => self.key_hash(entry),
        };
        debug_assert_eq!(key, self.key_hash(entry), "the newest entry's key");
        self.digest_with(key, new).minus(self.digest_with(key, old))
    }

    fn digest_with(&self, key: u64, server_word: u64) -> Digest {
        let id = server_word as u32;
        let ids = match id {
            0 => 0,
            _ => fold(key ^ FACTORS[1], u64::from(id) ^ FACTORS[0]),
        };
        let names = place_in(server_word).map_or(0, |place| {
            fold(key ^ FACTORS[2], self.names.hash(place) ^ FACTORS[1])
        });
        Digest {
            keys: key,
            ids,
            names,
        }
    }

    /// The digest, added up entry by entry.
    pub(super) fn digest_again(&self) -> Digest {
        (0..self.high_water())
            .filter(|&entry| self.entries.is_live(entry))
            .filter(|&entry| !self.entries.marks(entry, self.epoch).parked)
            .fold(Digest::default(), |sum, entry| {
                sum.plus(self.digest_of(entry))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::string_table;
    use super::*;
    use crate::stick::{EntryIndex, Key};

    fn entry_of(table: &mut Table, key: &str, now_ms: u64) -> EntryIndex {
        let spec = table.spec().clone();
        let key = Key::new(&spec, key.as_bytes()).unwrap();
        table.lookup_or_insert(key, now_ms).unwrap().entry()
    }

    #[test]
    fn hashes_depend_on_every_byte_and_on_the_length() {
        let bytes = [7u8; 40];
        let mut seen = std::collections::HashSet::new();
        for len in 0..bytes.len() {
            assert!(seen.insert(hash_bytes(&bytes[..len])));
            for at in 0..len {
                let mut changed = bytes;
                changed[at] ^= 1;
                assert!(seen.insert(hash_bytes(&changed[..len])));
            }
        }
    }

    #[test]
    fn order_and_history_do_not_matter_contents_do() {
        let spec = string_table(100, 10_000);
        let mut first = Table::create(&spec, [1, 2], 0).unwrap();
        let mut other = Table::create(&spec, [3, 4], 0).unwrap();
        for number in 0..50 {
            let entry = entry_of(&mut first, &format!("key {number}"), 0);
            first.set_server(entry, number % 3, Some(b"s1"));
        }
        for number in (0..60).rev() {
            let entry = entry_of(&mut other, &format!("key {number}"), 5);
            other.set_server(entry, 9, None);
            other.set_server(entry, number % 3, Some(b"s1"));
            if number >= 50 {
                assert!(other.remove(entry));
            }
        }
        assert_eq!(first.digest(), other.digest());
        let entry = entry_of(&mut other, "key 7", 5);
        other.set_server_id(entry, 5);
        let difference = first.digest().minus(other.digest());
        assert_eq!((difference.keys, difference.names), (0, 0));
        assert_ne!(difference.ids, 0);
        // The same change on both leaves the difference as it is.
        for table in [&mut first, &mut other] {
            let entry = entry_of(table, "one more", 6);
            table.set_server(entry, 2, Some(b"s2"));
        }
        assert_eq!(first.digest().minus(other.digest()), difference);
        other.set_server(entry, 1, Some(b"s1"));
        assert_eq!(first.digest(), other.digest());
    }
}
