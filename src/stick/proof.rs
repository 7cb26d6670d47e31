//! What proves that an entry of a file is whole: a keyed digest of its key and of the server it is bound to.
//!
//! The system writes the pages of a file when it likes, and a crash of the machine leaves some old and some new: an entry that
//! lies on two of them, or names a server whose page of the dictionary is older, may be made of two. Its proof tells. The name
//! itself goes into the proof, not its place. Times and counters do not: half of a change of them is no other client's server.
//! Server and proof change together, under the journal, so a process that dies leaves both old or both new.
//! Not here: what is done with an entry that fails (revive).

use super::cell::Slot;
use super::data::place_in;
use super::hash::hash;
use super::key::Key;
use super::table::Table;

/// Bytes of a proof's input before the key.
const FIXED_BYTES: usize = 16;

impl Table {
    /// The proof of a new entry of this key, which is bound to no server; 0 where the layout has none.
    pub(super) fn proof_of_new(&self, key: &Key<'_>) -> u64 {
        match self.entries.layout.proof_word {
            None => 0,
            Some(_) => self.proof(key.padded_len(), |index| key.word(index), 0),
        }
    }

    /// The proof of an entry as its words stand, with this server's word.
    fn proof_of(&self, entry: u32, server_word: u64) -> u64 {
        let len = self.entries.key_len(entry);
        let word = |index| self.entries.key_word(entry, index, len);
        self.proof(len, word, server_word)
    }

    fn proof(&self, len: usize, word: impl Fn(usize) -> u64, server_word: u64) -> u64 {
        let name = place_in(server_word).and_then(|place| self.names.get(place));
        let name = name.map_or(0, |name| {
            hash(self.hash_key, name.len(), |index| {
                let rest = &name[8 * index..];
                let mut bytes = [0; 8];
                let count = rest.len().min(8);
                bytes[..count].copy_from_slice(&rest[..count]);
                u64::from_le_bytes(bytes)
            })
        });
        let fixed = [(len as u64) << 32 | server_word & u64::from(u32::MAX), name];
        hash(self.hash_key, FIXED_BYTES + len, |index| {
            match fixed.get(index) {
                Some(&word) => word,
                None => word(index - fixed.len()),
            }
        })
    }

    /// Whether a live entry is what somebody wrote. Always, where the layout has no proof.
    pub(super) fn is_proven(&self, entry: u32) -> bool {
        let layout = &self.entries.layout;
        let Some(word) = layout.proof_word else {
            return true;
        };
        if !self.entries.is_plausible(entry) {
            return false;
        }
        let has_server = layout.stores_server_id || layout.stores_server_key;
        let server = has_server.then(|| self.entries.word(entry, layout.server_word).get());
        self.entries.word(entry, word).get() == self.proof_of(entry, server.unwrap_or(0))
    }

    /// Writes the proof of an entry that has this server's word already.
    pub(super) fn prove(&self, entry: u32, server_word: u64) {
        if let Some(word) = self.entries.layout.proof_word {
            let proof = self.proof_of(entry, server_word);
            self.entries.word(entry, word).set(proof);
        }
    }

    /// Writes the server's word and the proof; between `begin` and `end`.
    pub(super) fn set_proven_server(&mut self, entry: u32, server_word: u64) {
        let proof = self.proof_of(entry, server_word);
        let first = self.entries.at(entry) + self.entries.layout.server_word;
        let words = &self.entries.cells[first..first + 2];
        self.header.journal(first, words.iter().map(Slot::get));
        words[0].set(server_word);
        words[1].set(proof);
        self.header.end_journal();
    }
}
