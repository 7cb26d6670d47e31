//! Tombstones: what an operator deleted, so that it is told to peers and stays deleted.
//!
//! A deleted entry keeps its place: its key, when it was deleted, and its update id, so the update log carries a deletion
//! as it carries any change. Nobody finds it, nobody counts it. A new entry of the same key takes its place.
//! Bounds: a tombstone lives as long as the table's entries do (nobody can hold the deleted entry for longer without having
//! touched it), in a table without `expire` for a day; it is the first to go when a place is wanted; and one that peers
//! tell of never takes a live entry's place.
//!
//! Nodes know of each other's times only as well as the network is fast, so a touch within `SLACK_MS` of a deletion counts as before
//! it. A key that is made again where the deletion is known must not: its touch is noted as `LEAD_MS` after the deletion, that is,
//! a little ahead of time. The times then tell the order on every node that hears of them. Whoever deletes that entry does so
//! after its touch. Leads are bounded (`lead_ms_max`): who deletes and makes a key ten times within moments may lose the last.
//! Not here: which update of a peer is older than a deletion (peers).

use super::entries::Marks;
use super::header::{Change, Word};
use super::key::{Key, KeyBuf};
use super::table::{EntryIndex, Table};

/// How long tombstones are kept in a table whose entries never expire.
const KEPT_MS_WITHOUT_EXPIRE: u64 = 86_400_000;

/// A touch counts as after a deletion if it is later by more than this.
pub const SLACK_MS: u64 = 2_000;
/// What is made again is touched this long after the deletion: more than `SLACK_MS` even when times are a little off.
const LEAD_MS: u64 = 3_000;
/// No time is further ahead than this.
pub const LEAD_MS_MAX: u64 = 30_000;

/// Names a tombstone; use it only within the turn that obtained it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tombstone(pub(super) u32);

/// What became of a deletion that a peer tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LearntDeletion {
    /// The entry is gone, or was not there: the deletion is remembered.
    Deleted,
    /// The entry was touched after the deletion; it stays.
    Newer(EntryIndex),
    /// A stream refers to the entry; it stays.
    InUse(EntryIndex),
}

impl Table {
    /// Deletes an entry for good, and announces it; `false`: it is referred to and stays. Without peers, it is just removed.
    pub fn delete(&mut self, entry: EntryIndex, now_ms: u64) -> bool {
        if self.spec.peers.is_none() {
            return self.remove(entry);
        }
        if self.is_frozen || self.use_count(entry) > 0 {
            return false;
        }
        let deleted_ms = self.touched_ms(entry).max(now_ms);
        self.header.begin(self.owner, Change::Structure);
        let update_id = self.take_update_id(entry.0);
        self.entomb(entry.0, deleted_ms, Some(update_id));
        self.header.end();
        true
    }

    /// Takes in that a peer deleted the key at `deleted_ms`, unless the entry was touched after `touched_until_ms`.
    pub fn learn_deletion(
        &mut self,
        key: Key<'_>,
        deleted_ms: u64,
        touched_until_ms: u64,
        now_ms: u64,
    ) -> LearntDeletion {
        let hash = self.hash_of(&key);
        match self.find_any(&key, hash) {
            Some(entry) if self.entries.is_live(entry) => {
                let index = EntryIndex(entry);
                let visible = self.is_visible(entry, now_ms);
                if visible && self.touched_ms(index) > touched_until_ms {
                    return LearntDeletion::Newer(index);
                }
                if self.use_count(index) > 0 {
                    return LearntDeletion::InUse(index);
                }
                self.header.begin(self.owner, Change::Structure);
                self.entomb(entry, deleted_ms, None);
                self.header.end();
            }
            Some(tombstone) => {
                let later_ms = self.entries.expires(tombstone).max(deleted_ms);
                self.entries.set_expires(tombstone, later_ms);
            }
            None => {
                self.header.begin(self.owner, Change::Structure);
                if let Some(place) = self.unused_place() {
                    let marks = self.tombstone_marks(None);
                    self.entries.write_tombstone(place, &key, deleted_ms, marks);
                    self.index.insert(hash, place);
                    self.expiry.bury(place);
                    self.header.add(Word::Tombstones, 1);
                }
                self.header.end();
            }
        }
        LearntDeletion::Deleted
    }

    /// When the key was deleted, if its tombstone stands.
    pub fn deleted_ms(&self, key: Key<'_>) -> Option<u64> {
        if self.tombstones() == 0 {
            return None;
        }
        let entry = self.find_any(&key, self.hash_of(&key))?;
        let is_tombstone = self.entries.is_tombstone(entry);
        is_tombstone.then(|| self.entries.expires(entry))
    }

    /// Number of tombstones held.
    pub fn tombstones(&self) -> u32 {
        self.header.get(Word::Tombstones) as u32
    }

    /// The key that a tombstone stands for, and when it was deleted.
    pub fn tombstone(&self, tombstone: Tombstone) -> (KeyBuf, u64) {
        let entry = tombstone.0;
        assert!(self.entries.is_tombstone(entry), "the tombstone is gone");
        (self.entries.key(entry), self.entries.expires(entry))
    }

    /// Whether the place still, or again, holds a tombstone.
    pub fn has_tombstone(&self, tombstone: Tombstone) -> bool {
        self.entries.is_tombstone(tombstone.0)
    }

    /// Id of the deletion, if it was made here.
    pub fn tombstone_update_id(&self, tombstone: Tombstone) -> Option<u32> {
        let marks = self.entries.marks(tombstone.0, self.epoch);
        marks.has_update_id.then_some(marks.update_id)
    }

    /// The tombstones among `count` places from `cursor` on, as [`Table::scan`] gives the entries.
    pub fn tombstones_in(&self, cursor: u32, count: u32) -> impl Iterator<Item = Tombstone> {
        let end = if self.tombstones() == 0 {
            cursor
        } else {
            self.high_water().min(cursor.saturating_add(count))
        };
        (cursor..end)
            .filter(|&entry| self.entries.is_tombstone(entry))
            .map(Tombstone)
    }

    /// When the entry was last touched, here or where it was learnt from, as far as its lifetime tells.
    pub fn touched_ms(&self, entry: EntryIndex) -> u64 {
        let expires = self.entries.expires(self.live(entry));
        expires.saturating_sub(u64::from(self.spec.expire_ms))
    }

    /// By how much the entry's last touch is ahead of time, because it was deleted and made again.
    pub fn lead_ms(&self, entry: EntryIndex, now_ms: u64) -> u32 {
        let lead_ms = self.touched_ms(entry).saturating_sub(now_ms);
        lead_ms.min(self.lead_ms_max()) as u32
    }

    /// The longest lead: what the expiry's buckets have room for, too.
    pub fn lead_ms_max(&self) -> u64 {
        match self.spec.expire_ms {
            0 => LEAD_MS_MAX,
            expire_ms => LEAD_MS_MAX.min(u64::from(expire_ms / 2)),
        }
    }
}

/// Inside. All that changes something is to be called between `begin` and `end`.
impl Table {
    fn tombstone_marks(&self, update_id: Option<u32>) -> Marks {
        Marks {
            update_id: update_id.unwrap_or(0),
            has_update_id: update_id.is_some(),
            parked: false,
            epoch: self.epoch,
            references: 0,
        }
    }

    /// Makes a live entry without references a tombstone.
    fn entomb(&mut self, entry: u32, deleted_ms: u64, update_id: Option<u32>) {
        self.digest_subtract(entry);
        let marks = self.tombstone_marks(update_id);
        self.entries.mark_tombstone(entry, deleted_ms, marks);
        self.expiry.unlink(entry);
        self.expiry.bury(entry);
        self.forget_server(entry);
        self.changed(entry);
        self.is_grown(entry);
        self.header.set(Word::Used, self.header.get(Word::Used) - 1);
        self.header.add(Word::Tombstones, 1);
    }

    /// When an entry counts as touched that is made now, after the deletion.
    pub(super) fn made_again_ms(&self, tombstone: u32, now_ms: u64) -> u64 {
        let after_ms = self.entries.expires(tombstone).saturating_add(LEAD_MS);
        after_ms.clamp(now_ms, now_ms + self.lead_ms_max())
    }

    /// The end of a lifetime that is set now: a lead stays until it is caught up with.
    pub(super) fn with_lead(&self, entry: u32, end_ms: u64, now_ms: u64) -> u64 {
        let standing_ms = self.entries.expires(entry);
        let latest_ms = self.lifetime_end(now_ms, None);
        let has_lead = (latest_ms + 1..=latest_ms + self.lead_ms_max()).contains(&standing_ms);
        if has_lead {
            standing_ms.max(end_ms)
        } else {
            end_ms
        }
    }

    /// Frees a tombstone's place.
    pub(super) fn exhume(&mut self, entry: u32) {
        let hash = self.hash_of_entry(entry);
        self.entries.mark_free(entry);
        self.index.remove(hash, entry);
        self.expiry.unlink(entry);
        self.push_free(entry);
        self.header
            .set(Word::Tombstones, self.header.get(Word::Tombstones) - 1);
    }

    /// Frees the place of the oldest tombstone, if there is one.
    pub(super) fn exhume_oldest(&mut self) -> bool {
        let oldest = self.expiry.first_tombstone();
        if let Some(entry) = oldest {
            self.exhume(entry);
        }
        oldest.is_some()
    }

    /// When the oldest tombstone has done its duty.
    pub(super) fn first_tombstone_end_ms(&self) -> Option<u64> {
        let oldest = self.expiry.first_tombstone()?;
        let kept_ms = match self.spec.expire_ms {
            0 => KEPT_MS_WITHOUT_EXPIRE,
            expire_ms => u64::from(expire_ms),
        };
        Some(self.entries.expires(oldest).saturating_add(kept_ms))
    }

    /// Frees the places of tombstones that have done their duty, at most `budget`; what is left of the budget.
    pub(super) fn expire_tombstones(&mut self, now_ms: u64, mut budget: u32) -> u32 {
        while budget > 0
            && self
                .first_tombstone_end_ms()
                .is_some_and(|end_ms| end_ms <= now_ms)
        {
            self.exhume_oldest();
            budget -= 1;
        }
        budget
    }

    /// Makes a tombstone that another owner left known again, or frees it.
    pub(super) fn rebuild_tombstone(&mut self, entry: u32, now_ms: u64) {
        if !self.entries.is_plausible(entry) {
            return self.entries.mark_free(entry);
        }
        let hash = self.hash_of_entry(entry);
        let key = self.entries.key(entry);
        if self.find_any(&key.as_key(), hash).is_some() {
            return self.entries.mark_free(entry);
        }
        // A change that was cut short may have left the end of a lifetime here, which lies in the future.
        let deleted_ms = self.entries.expires(entry).min(now_ms);
        self.entries.set_expires(entry, deleted_ms);
        self.index.insert(hash, entry);
        self.restore_update_id(entry);
        self.header.add(Word::Tombstones, 1);
    }
}
