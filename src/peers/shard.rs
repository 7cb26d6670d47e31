//! Which peer is sent which keys (`shards` and `shard`, HAProxy 2.7).
//!
//! A filter of the sender's alone: a key belongs to the part `XXH64(key, seed) mod shards + 1`, where the seed is the hash of the
//! table's name, so that all implementations choose the same one. A receiver takes whatever it is sent.

use crate::sample::hash::xxh64;
use crate::stick::{EntryIndex, KeyType, Table};

/// The part of the keys that one peer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which part, from 1.
    pub number: u32,
    /// How many there are; not 0.
    pub count: u32,
}

impl Shard {
    /// The part of a member with this `shard`, if it is sent only a part.
    pub fn of(number: u32, count: u32) -> Option<Shard> {
        (1..=count)
            .contains(&number)
            .then_some(Shard { number, count })
    }

    /// Whether the entry's key belongs to the part. `seed` is that of its table.
    pub(super) fn holds(self, table: &Table, seed: u64, entry: EntryIndex) -> bool {
        let key = table.key(entry);
        let hash = match (table.spec().key_type, key.as_bytes()) {
            // Others hash the number as their processors keep it.
            (KeyType::Integer, &[a, b, c, d]) => {
                xxh64(&u32::from_be_bytes([a, b, c, d]).to_ne_bytes(), seed)
            }
            (_, bytes) => xxh64(bytes, seed),
        };
        hash % u64::from(self.count) + 1 == u64::from(self.number)
    }
}

/// The seed of a table's keys.
pub(super) fn seed(table: &Table) -> u64 {
    xxh64(table.spec().name.as_bytes(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Published values of XXH64: another hash would choose other parts than the other nodes.
    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(xxh64(b"", 0), 0xef46_db37_51d8_e999);
        assert_eq!(xxh64(b"a", 0), 0xd24e_c4f1_a98c_6e5b);
    }
}
