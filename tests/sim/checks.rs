//! What must be true of the simulated nodes and their tables.

use std::collections::HashSet;

use burdock::stick::{DataType, EntryIndex};

use xxhash_rust::xxh64::xxh64;

use super::{Sim, Snapshot, TABLES, name_of};

impl Sim {
    /// A table's entries. Panics if a value was never written for its key, or its parts do not belong together.
    pub fn snapshot(&self, node: usize, table: usize) -> Snapshot {
        let mut entries = Snapshot::new();
        let now_ms = self.now_of(node);
        let Some(place) = self.place_of(node, table) else {
            return entries;
        };
        let stick = &self.nodes[node].tables[place];
        let mut cursor = Some(0);
        while let Some(at) = cursor {
            let mut scan = stick.scan(at, 1000, now_ms);
            let found: Vec<EntryIndex> = (&mut scan).collect();
            cursor = scan.next_cursor();
            for entry in found {
                let key = stick.key(entry).as_bytes().to_vec();
                let value = stick.value(entry, DataType::Gpc0, 0).unwrap();
                let (server_id, server_key) = stick.server(entry);
                let whose = format!(
                    "seed {}: {} table {table} key {}",
                    self.seed,
                    self.nodes[node].name,
                    key.escape_ascii()
                );
                assert_eq!(server_id as u64, value, "{whose}: parts of two writes");
                assert_eq!(
                    server_key.map(|key| String::from_utf8_lossy(key).into_owned()),
                    Some(name_of(value)),
                    "{whose}: the name of another server than {value}"
                );
                assert!(
                    self.written.contains(&(table, key.clone(), value)),
                    "{whose}: {value} was never written"
                );
                entries.insert(key, value);
            }
        }
        entries
    }

    /// Checks the tables' structures and that nothing was invented.
    pub fn assert_sound(&self) {
        for node in 0..self.faults.nodes {
            for table in 0..2 {
                self.snapshot(node, table);
            }
            for table in &self.nodes[node].tables {
                if let Err(error) = table.check_invariants() {
                    let name = &table.spec().name;
                    panic!("seed {}: n{node} table {name}: {error}", self.seed);
                }
            }
        }
    }

    /// All nodes hold the same entries with the same values, and nobody waits for an ack.
    pub fn assert_tables_equal(&self) {
        self.assert_sound();
        for node in &self.nodes[..self.faults.nodes] {
            let pending = node.group.pending_updates(&node.tables);
            assert_eq!(
                pending, 0,
                "seed {}: {} waits for acks that never come",
                self.seed, node.name
            );
        }
        for table in 0..2 {
            let first = self.snapshot(0, table);
            for node in 1..self.faults.nodes {
                if self.place_of(node, table).is_none() {
                    continue;
                }
                let other = self.snapshot(node, table);
                if let Some(text) = difference(&first, &other) {
                    panic!(
                        "seed {}: table {table} differs after {} steps: n0 {}, n{node} {}; {text}",
                        self.seed,
                        self.steps,
                        first.len(),
                        other.len()
                    );
                }
            }
        }
    }

    /// Nodes that know the extension hold the same, and know that they do.
    pub fn assert_agreement(&self) {
        self.assert_sound();
        let knows = |node: usize| self.faults.plain >> node & 1 == 0;
        let nodes: Vec<usize> = (0..self.faults.nodes).filter(|&node| knows(node)).collect();
        for table in 0..2 {
            let mut holders = nodes.iter().copied();
            let mut holders = holders
                .by_ref()
                .filter(|&node| self.place_of(node, table).is_some());
            let Some(first) = holders.next() else {
                continue;
            };
            let held = self.snapshot(first, table);
            for node in holders {
                if let Some(text) = difference(&held, &self.snapshot(node, table)) {
                    panic!(
                        "seed {}: table {table} differs after {} steps on n{first} and n{node}; {text}",
                        self.seed, self.steps
                    );
                }
            }
        }
        for &node in &nodes {
            for &peer in nodes.iter().filter(|&&peer| peer != node) {
                self.assert_in_sync(node, peer);
            }
        }
    }

    fn assert_in_sync(&self, node: usize, peer: usize) {
        for table in 0..2 {
            let (Some(place), Some(_)) = (self.place_of(node, table), self.place_of(peer, table))
            else {
                continue;
            };
            let verdict = self.nodes[node]
                .group
                .in_sync(peer, place, self.now_of(node));
            let is_complete = |node: usize| {
                let place = self.place_of(node, table);
                place.is_some_and(|place| {
                    self.nodes[node].tables[place].is_complete(self.now_of(node))
                })
            };
            let expected = is_complete(node) && is_complete(peer);
            assert_eq!(
                verdict,
                if expected { "yes" } else { "unknown" },
                "seed {}: n{node} on n{peer}, table {table}",
                self.seed
            );
        }
    }

    /// Every node holds what was written last for each key. Only where each key has one writer, which loses nothing.
    pub fn assert_last_writes_won(&self) {
        let may_differ = self.faults.planted.is_some() || self.faults.restarts > 0;
        assert!(
            may_differ || self.alarms == 0,
            "seed {}: {} disagreements, and nothing was lost",
            self.seed,
            self.alarms
        );
        for node in 0..self.faults.nodes {
            let held = [0, 1].map(|table| self.snapshot(node, table));
            for ((table, key), value) in &self.latest {
                if self.place_of(node, *table).is_none() {
                    continue;
                }
                let found = held[*table].get(key);
                assert_eq!(
                    found,
                    Some(value),
                    "seed {}: n{node} table {table} key {}: not what was written last",
                    self.seed,
                    key.escape_ascii()
                );
            }
        }
    }

    /// Every node holds what was written last for the keys of its part, and of others at most what was written there. Only where
    /// each key has one writer.
    pub fn assert_parts_are_held(&self) {
        self.assert_sound();
        assert_eq!(self.alarms, 0, "seed {}: disagreements", self.seed);
        let seeds = TABLES.map(|name| xxh64(name.as_bytes(), 0));
        for node in 0..self.faults.nodes {
            let held = [0, 1].map(|table| self.snapshot(node, table));
            let part = self.shard_of(node);
            for ((table, key), value) in &self.latest {
                let found = held[*table].get(key);
                let whose = format!(
                    "seed {}: n{node} table {table} key {}",
                    self.seed,
                    key.escape_ascii()
                );
                let bytes = match key[..] {
                    [a, b, c, d] => u32::from_be_bytes([a, b, c, d]).to_ne_bytes().to_vec(),
                    _ => key.clone(),
                };
                let of = xxh64(&bytes, seeds[*table]) % u64::from(self.faults.shards) + 1;
                if part == 0 || u64::from(part) == of {
                    assert_eq!(found, Some(value), "{whose}: not what was written last");
                } else if self.writer_of(*table, key) != node {
                    assert_eq!(found, None, "{whose}: of another part");
                }
            }
        }
    }

    /// What was written last for a key.
    pub fn latest_of(&self, table: usize, key: &[u8]) -> Option<u64> {
        self.latest.get(&(table, key.to_vec())).copied()
    }

    /// All nodes hold what the node wrote last into its keys, or what it wrote less than `slack_ms` before.
    pub fn assert_newest_of_writer(&self, writer: usize, slack_ms: u64) {
        for node in 0..self.faults.nodes {
            let held = [0, 1].map(|table| self.snapshot(node, table));
            for ((table, key), value) in &self.latest {
                if self.writer_of(*table, key) != writer {
                    continue;
                }
                let found = held[*table].get(key);
                let is_recent =
                    |other: &u64| self.written_ms[value] < self.written_ms[other] + slack_ms;
                assert!(
                    found == Some(value) || found.is_some_and(is_recent),
                    "seed {}: n{node} table {table} key {}: {found:?}, but n{writer} wrote {value} last",
                    self.seed,
                    key.escape_ascii()
                );
            }
        }
    }

    /// Entries that the first node holds.
    pub fn entry_count(&self) -> usize {
        (0..2).map(|table| self.snapshot(0, table).len()).sum()
    }
}

fn difference(first: &Snapshot, other: &Snapshot) -> Option<String> {
    let keys: HashSet<&Vec<u8>> = first.keys().chain(other.keys()).collect();
    let mut keys: Vec<_> = keys.into_iter().collect();
    keys.sort();
    keys.into_iter()
        .find(|key| first.get(*key) != other.get(*key))
        .map(|key| {
            format!(
                "key {}: {:?} and {:?}",
                key.escape_ascii(),
                first.get(key),
                other.get(key)
            )
        })
}
