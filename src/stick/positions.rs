//! How far each peer has a table, kept with the table itself: a process that takes the memory over goes on where its
//! predecessor was, so neither a reload nor a death makes it push everything again.
//!
//! A row is two words: the peer (a digest of its names; 0: the row is free), then the id of the last local change that it has
//! acknowledged (upper half), whether it is owed the rest of a lesson, and its process (lower half). The second is one store; a new row gets it before the first.
//! Bounds: `ROWS` peers; of one that finds no row nothing is kept, and it is pushed everything after a death.
//! Not here: what a position means for a session (peers).

use super::cell::Slot;
use super::header::Word;
use super::layout::HEADER_WORDS;
use super::table::Table;

/// Rows that the header has room for.
const ROWS: usize = (HEADER_WORDS - Word::Positions as usize) / 2;

/// How far a peer has the local changes of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Id of the last change that it has acknowledged.
    pub acked: u32,
    /// Its process, as its hello named it, modulo 2^31; 0: not known.
    pub pid: u32,
    /// It is owed the rest of a lesson.
    pub owed: bool,
}

/// The lower half of a row's second word.
const OWED: u32 = 1 << 31;

/// The digest of a peer's section and name, never 0.
pub fn peer_digest(section: &str, name: &str) -> u64 {
    let bytes = section.bytes().chain([0]).chain(name.bytes());
    let digest = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    digest.max(1)
}

impl Table {
    /// The position that was noted last of a peer, by this process or one before it.
    pub fn position(&self, peer: u64) -> Option<Position> {
        let row = self.row_of(peer)?;
        let word = self.header.0[row + 1].get();
        Some(Position {
            acked: (word >> 32) as u32,
            pid: word as u32 & !OWED,
            owed: word as u32 & OWED != 0,
        })
    }

    /// Notes the position of a peer.
    pub fn note_position(&mut self, peer: u64, position: Position) {
        let row = self.row_of(peer);
        if let Some(row) = row.or_else(|| self.row_of(0)) {
            let owed = if position.owed { OWED } else { 0 };
            let word = u64::from(position.acked) << 32 | u64::from(position.pid & !OWED | owed);
            self.header.0[row + 1].set(word);
            self.header.0[row].set(peer);
        }
    }

    /// Forgets all peers but these.
    pub fn keep_positions(&mut self, peers: &[u64]) {
        for row in rows() {
            if !peers.contains(&self.header.0[row].get()) {
                self.header.0[row].set(0);
            }
        }
    }

    /// Takes the positions that another table's memory has.
    pub(super) fn copy_positions(&mut self, other: &Table) {
        for row in rows() {
            self.header.0[row + 1].set(other.header.0[row + 1].get());
            self.header.0[row].set(other.header.0[row].get());
        }
    }

    /// Whether `set_learnt` was called for this memory.
    pub fn has_learnt(&self) -> bool {
        self.header.get(Word::Learnt) != 0
    }

    /// Says that the peers have taught us this table: who takes it over need not ask.
    pub fn set_learnt(&mut self) {
        self.header.set(Word::Learnt, 1);
    }

    fn row_of(&self, peer: u64) -> Option<usize> {
        rows().find(|&row| self.header.0[row].get() == peer)
    }
}

fn rows() -> impl Iterator<Item = usize> {
    (0..ROWS).map(|row| Word::Positions as usize + 2 * row)
}

#[cfg(test)]
mod tests {
    use super::super::tests::string_table;
    use super::*;

    fn at(acked: u32) -> Position {
        Position {
            acked,
            pid: 3,
            owed: false,
        }
    }

    #[test]
    fn positions_outlive_their_process() {
        let spec = string_table(10, 1000);
        let mut table = Table::create(&spec, [1, 2], 0).unwrap();
        let (one, two) = (peer_digest("mesh", "one"), peer_digest("mesh", "two"));
        assert_eq!(table.position(one), None);
        table.note_position(one, at(7));
        let last = Position {
            acked: u32::MAX,
            pid: u32::MAX >> 1,
            owed: true,
        };
        table.note_position(two, last);
        table.note_position(one, at(8));
        table.set_learnt();
        let memory = table.memory_fd().try_clone_to_owned().unwrap();
        drop(table);
        let mut table = Table::attach(memory, &spec, 10).unwrap();
        assert_eq!(table.position(one), Some(at(8)));
        assert_eq!(table.position(two), Some(last));
        assert!(table.has_learnt());
        table.keep_positions(&[two]);
        assert_eq!(
            (table.position(one), table.position(two)),
            (None, Some(last))
        );
    }

    #[test]
    fn more_peers_than_rows_are_not_kept() {
        let mut table = Table::create(&string_table(10, 1000), [1, 2], 0).unwrap();
        let peers: Vec<u64> = (0..ROWS as u64 + 1)
            .map(|number| peer_digest("mesh", &number.to_string()))
            .collect();
        for &peer in &peers {
            table.note_position(peer, at(1));
        }
        assert!(
            peers[..ROWS]
                .iter()
                .all(|&peer| table.position(peer).is_some())
        );
        assert_eq!(table.position(peers[ROWS]), None);
        assert!(table.check_invariants().is_ok());
    }
}
