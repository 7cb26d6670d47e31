//! The invariants of a table, in code. It looks at everything, so it is for tests.

use super::cell::Slot;
use super::data::place_in;
use super::header::Word;
use super::table::Table;

impl Table {
    /// Checks that all structures agree; for tests, it looks at every entry.
    pub fn check_invariants(&self) -> Result<(), String> {
        if self.header.get(Word::Lock) != 0 {
            return Err("a change is under way".to_string());
        }
        let live: Vec<u32> = (0..self.high_water())
            .filter(|&entry| self.entries.is_live(entry))
            .collect();
        if live.len() != self.used() as usize || self.used() > self.spec.size {
            return Err(format!(
                "{} live entries, but used is {} of {}",
                live.len(),
                self.used(),
                self.spec.size
            ));
        }
        let tombstones: Vec<u32> = (0..self.high_water())
            .filter(|&entry| self.entries.is_tombstone(entry))
            .collect();
        if self.index.count() != live.len() + tombstones.len() {
            return Err(format!(
                "{} live entries, but {} in the index",
                live.len(),
                self.index.count()
            ));
        }
        for &entry in &live {
            self.check_entry(entry)
                .map_err(|what| format!("entry {entry}: {what}"))?;
        }
        for &entry in &tombstones {
            self.check_entry(entry)
                .map_err(|what| format!("tombstone {entry}: {what}"))?;
        }
        self.check_lists(live)?;
        let mut buried: Vec<u32> = self.expiry.buried_entries().collect();
        buried.sort_unstable();
        if buried != tombstones || tombstones.len() != self.tombstones() as usize {
            return Err("the tombstones' list does not hold them once each".to_string());
        }
        if self.digest() != self.digest_again() {
            return Err("the digest is not the sum over the entries".to_string());
        }
        self.check_free()?;
        self.check_names()
    }

    fn check_entry(&self, entry: u32) -> Result<(), &'static str> {
        if !self.entries.is_plausible(entry) {
            return Err("its key has an impossible length");
        }
        let key = self.entries.key(entry);
        let hash = self.hash_of(&key.as_key());
        if hash != self.hash_of_entry(entry) {
            return Err("its key read twice differs");
        }
        if self
            .index
            .find(hash, |other| self.entries.has_key(other, &key.as_key()))
            != Some(entry)
        {
            return Err("the index does not lead to it");
        }
        if self.entries.is_live(entry) && !self.is_proven(entry) {
            return Err("its proof is that of another entry");
        }
        let marks = self.entries.marks(entry, self.epoch);
        if marks.has_update_id
            && self.log.holds(marks.update_id, self.local_update_id())
            && self.log.entry(marks.update_id, &self.entries) != Some(entry)
        {
            return Err("the update log does not know its id");
        }
        Ok(())
    }

    fn check_lists(&self, live: Vec<u32>) -> Result<(), String> {
        let mut listed = self.expiry.check(&self.entries, &self.header)?;
        listed.sort_unstable();
        if listed != live {
            return Err("the expiry lists do not hold the live entries once each".to_string());
        }
        let parked: Vec<u32> = self.expiry.parked_entries().collect();
        for entry in live {
            if self.entries.marks(entry, self.epoch).parked != parked.contains(&entry) {
                return Err(format!(
                    "entry {entry}: whether it is parked is told in two ways"
                ));
            }
        }
        Ok(())
    }

    fn check_free(&self) -> Result<(), String> {
        let free = self.high_water() - self.used() - self.tombstones();
        let mut at = self.header.get(Word::FreeHead) as u32;
        for _ in 0..free {
            let entry = at.checked_sub(1).ok_or("the free list is too short")?;
            if self.entries.is_live(entry) || self.entries.is_tombstone(entry) {
                return Err(format!("entry {entry}: live and free"));
            }
            at = self.expiry.free_link(entry).get();
        }
        if at == 0 {
            Ok(())
        } else {
            Err("the free list is too long".to_string())
        }
    }

    /// A count of users that is too high is what dying in the middle may leave; too low must not be.
    fn check_names(&self) -> Result<(), String> {
        let layout = &self.entries.layout;
        if !layout.stores_server_key {
            return Ok(());
        }
        let mut users = vec![0; layout.names as usize];
        for entry in (0..self.high_water()).filter(|&entry| self.entries.is_live(entry)) {
            if let Some(place) = place_in(self.entries.word(entry, layout.server_word).get()) {
                *users
                    .get_mut(place as usize)
                    .ok_or(format!("entry {entry}: a name beyond the dictionary"))? += 1;
            }
        }
        for (place, &counted) in users.iter().enumerate() {
            let noted = self.names.users(place as u32);
            if noted < counted || (counted > 0 && self.names.get(place as u32).is_none()) {
                return Err(format!(
                    "name {place}: {counted} entries hold it, it knows of {noted}"
                ));
            }
        }
        Ok(())
    }
}
