//! What the nodes of the simulation write into their tables, and delete.

use std::collections::BTreeMap;

use burdock::peers::fault::Fault;
use burdock::stick::{DataType, Inserted, Key};

use super::{Sim, name_of};

impl Sim {
    pub(super) fn key(&mut self, table: usize, number: u64) -> Vec<u8> {
        match table {
            0 => format!("session-{number}").into_bytes(),
            _ => (number as u32).to_be_bytes().to_vec(),
        }
    }

    pub(super) fn write(&mut self) {
        let table = self.random.below(2) as usize;
        let number = self.random.below(self.faults.keys);
        let node = if self.faults.single_writer {
            (number % self.faults.nodes as u64) as usize
        } else {
            self.random.below(self.faults.nodes as u64) as usize
        };
        if self.nodes[node].up && self.place_of(node, table).is_some() {
            let key = self.key(table, number);
            if self.random.below(100) < self.faults.deletes_pct {
                self.delete(node, table, &key);
            } else {
                self.write_to(node, table, key);
            }
        }
    }

    /// The node that writes a key where each has one writer.
    pub(super) fn writer_of(&self, table: usize, key: &[u8]) -> usize {
        let number = match (table, key) {
            (1, &[a, b, c, d]) => u64::from(u32::from_be_bytes([a, b, c, d])),
            _ => {
                let digits = key.iter().filter(|byte| byte.is_ascii_digit());
                digits.fold(0, |number, digit| 10 * number + u64::from(digit - b'0'))
            }
        };
        (number % self.faults.nodes as u64) as usize
    }

    /// Deletes a key on a node, as `clear table` does.
    pub fn delete(&mut self, node: usize, table: usize, key: &[u8]) {
        let now_ms = self.now_of(node);
        let Some(place) = self.place_of(node, table) else {
            return;
        };
        let stick = &mut self.nodes[node].tables[place];
        let spec = stick.spec().clone();
        let key = Key::new(&spec, key).unwrap();
        if let Some(entry) = stick.lookup(key, now_ms) {
            assert!(stick.delete(entry, now_ms), "nobody refers to it");
            self.log(|| format!("n{node} deletes {key:?} in table {table}"));
        }
    }

    /// Nobody reaches a node any more, or (`None`) everybody reaches everybody again.
    pub fn isolate(&mut self, node: Option<usize>) {
        self.isolated = node;
        if let Some(node) = node {
            self.cut_all_of(node);
        }
    }

    /// Writes a new value for a key on a node.
    pub fn write_to(&mut self, node: usize, table: usize, key: Vec<u8>) {
        let value = self.next_value;
        self.next_value += 1;
        let now_ms = self.now_of(node);
        let Some(place) = self.place_of(node, table) else {
            return;
        };
        let stick = &mut self.nodes[node].tables[place];
        let Some(found) = Key::new(stick.spec(), &key) else {
            panic!("a key of ours");
        };
        let (entry, known) = match stick.lookup_or_insert(found, now_ms) {
            Some(Inserted::Found(entry)) => (entry, true),
            Some(Inserted::New(entry)) => (entry, false),
            None => return,
        };
        let forgotten = self.faults.planted == Some(Fault::LearntNeverAnnounced)
            && known
            && stick.update_id(entry).is_none();
        stick.set_server(entry, value as i32, Some(name_of(value).as_bytes()));
        stick.set_value(entry, DataType::Gpc0, 0, value);
        if forgotten {
            stick.touch(entry, now_ms);
        } else {
            stick.touch_local(entry, now_ms);
        }
        self.log(|| {
            format!(
                "n{node} writes {} := {value} in table {table}",
                key.escape_ascii()
            )
        });
        self.latest.insert((table, key.clone()), value);
        self.written.insert((table, key, value));
        self.written_ms.insert(value, self.now_ms);
    }

    /// Every key that somebody holds is written once more, by somebody who holds it.
    pub fn settle_conflicts(&mut self) {
        for table in 0..2 {
            let mut holders: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
            for node in 0..self.faults.nodes {
                for key in self.snapshot(node, table).into_keys() {
                    holders.entry(key).or_default().push(node);
                }
            }
            for (key, nodes) in holders {
                let node = nodes[self.random.below(nodes.len() as u64) as usize];
                self.write_to(node, table, key);
            }
        }
    }
}
