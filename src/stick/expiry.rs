//! In which order entries expire.
//!
//! ```text
//!            hand                                   time ->
//! buckets: …  [3]   [4]   [ ]   [5]   …   [12]  [ ]   …      a ring that spans at least twice the table's `expire`
//!              |     |           |          |
//!            e7,e2  e9        e1,e4,e3     e5                 each a list in order of expiry: the first goes first
//! ```
//! A local touch gives the latest possible expiry, so the entry goes to the end of a list: O(1). What a peer taught us may
//! belong anywhere; its place is searched from where the last such entry went (a lesson comes in the order in which its
//! entries were made) and then from the end of its bucket, in a bounded number of steps. Beyond them the entry
//! is put where the search stood, off by less than a bucket's width, and counted (`Word::Misplaced`).
//! So a full table evicts the entry that expires first. A bitmap finds the first bucket that is not empty.
//! A table without `expire` has one bucket, ordered by last touch.
//!
//! An entry with references cannot go. When it is met at the front it is parked: a list of its own, left when the last
//! reference is given back; so nobody walks over the same entry twice.
//! Tombstones are in a list of their own, the oldest first.
//! Invariants: each live entry is in exactly one of the other lists; a bucket's entries belong to it, or to a later one if time stood
//! still for longer than the ring spans (they are moved on when they are met), or lie before the hand and are in its bucket.
//! Not here: when time has come, and for whom (table).

use super::cell::Slot;
use super::entries::Entries;
use super::header::{Header, Word};
use crate::sys::memory::Cells;
use std::sync::atomic::AtomicU32;

/// Most entries looked at to find the place of one, from the end of its bucket.
const SEARCH_STEPS_MAX: u32 = 512;

/// Most entries looked at from where the last one went.
const NEAR_STEPS_MAX: u32 = 64;

/// log2 of the width of the only bucket of a table without `expire`: all of time.
const WIDTH_LOG2_FOREVER: u64 = 63;

/// The expiry lists of a table. Nodes are entries, then buckets, then the parked list, then that of the tombstones.
#[derive(Debug)]
pub(super) struct Expiry {
    links: Cells<AtomicU32>,
    /// Number of entries: the node of the first bucket.
    size: u32,
    buckets: u32,
    width_log2: u64,
    /// Which buckets have entries.
    filled: Bitmap,
    /// The entry whose place was searched last and the list that it is in; void since it left the list.
    near: Option<(u32, u32)>,
}

/// log2 of the bucket width for a lifetime.
pub(super) fn width_log2(buckets: u32, expire_ms: u32) -> u64 {
    if expire_ms == 0 {
        return WIDTH_LOG2_FOREVER;
    }
    let width = (2 * u64::from(expire_ms)).div_ceil(u64::from(buckets) - 1);
    u64::from(width.next_power_of_two().ilog2())
}

impl Expiry {
    /// Looks at the lists as they are in memory. New memory must be `clear`ed first.
    pub fn new(links: Cells<AtomicU32>, size: u32, buckets: u32, width_log2: u64) -> Expiry {
        let mut expiry = Expiry {
            links,
            size,
            buckets,
            width_log2,
            filled: Bitmap::new(buckets),
            near: None,
        };
        for bucket in 0..buckets {
            if expiry.next(size + bucket) != size + bucket {
                expiry.filled.set(bucket);
            }
        }
        expiry
    }

    /// Makes all lists empty.
    pub fn clear(&mut self) {
        for node in self.size..=self.tombstones() {
            self.connect(node, node);
        }
        self.filled = Bitmap::new(self.buckets);
        self.near = None;
    }

    /// The node of the parked list.
    fn parked(&self) -> u32 {
        self.size + self.buckets
    }

    /// The node of the tombstones' list.
    fn tombstones(&self) -> u32 {
        self.parked() + 1
    }

    /// Asks for the memory of an entry's links.
    #[inline]
    pub fn prefetch(&self, entry: u32) {
        self.links.prefetch(2 * entry as usize);
    }

    #[inline]
    fn next(&self, node: u32) -> u32 {
        self.links[2 * node as usize].get()
    }

    #[inline]
    fn previous(&self, node: u32) -> u32 {
        self.links[2 * node as usize + 1].get()
    }

    #[inline]
    fn connect(&self, node: u32, next: u32) {
        self.links[2 * node as usize].set(next);
        self.links[2 * next as usize + 1].set(node);
    }

    /// The link that a free entry has to the next free one (as the caller likes to encode it).
    pub fn free_link(&self, entry: u32) -> &AtomicU32 {
        &self.links[2 * entry as usize]
    }

    /// The bucket of a time, numbered from the start of time.
    #[inline]
    fn number(&self, at_ms: u64) -> u64 {
        at_ms >> self.width_log2
    }

    /// The number of a bucket of the ring, when the hand stands at `hand`.
    #[inline]
    fn number_of(&self, bucket: u32, hand: u64) -> u64 {
        hand + (u64::from(bucket).wrapping_sub(hand) & u64::from(self.buckets - 1))
    }

    /// The bucket number where an entry belongs: its time's, as far as the ring reaches.
    #[inline]
    fn home(&self, expires: u64, hand: u64) -> u64 {
        self.number(expires)
            .clamp(hand, hand + u64::from(self.buckets) - 1)
    }

    /// The node of a bucket that the ring spans.
    #[inline]
    fn list_of(&self, number: u64) -> u32 {
        self.size + (number & u64::from(self.buckets - 1)) as u32
    }

    /// Puts an entry that is in no list in its place.
    pub fn link(&mut self, entry: u32, entries: &Entries, header: &Header) {
        let expires = entries.expires(entry);
        let list = self.list_of(self.home(expires, header.get(Word::Hand)));
        let last = self.previous(list);
        let before = if last == list || entries.expires(last) <= expires {
            last
        } else {
            let before = self
                .search_nearby(list, expires, entries)
                .unwrap_or_else(|| self.search(list, expires, entries, header));
            self.near = Some((entry, list));
            before
        };
        let after = self.next(before);
        self.connect(before, entry);
        self.connect(entry, after);
        self.filled.set(list - self.size);
    }

    /// The last node of a list that expires no later, from the end on: the list's own node if there is none.
    fn search(&self, list: u32, expires: u64, entries: &Entries, header: &Header) -> u32 {
        let mut before = self.previous(list);
        let mut steps = 0;
        while before != list && entries.expires(before) > expires {
            if steps == SEARCH_STEPS_MAX {
                header.add(Word::Misplaced, 1);
                break;
            }
            before = self.previous(before);
            steps += 1;
        }
        before
    }

    /// The same from where the last search ended, in whichever direction it lies; `None`: not there, or too far.
    fn search_nearby(&self, list: u32, expires: u64, entries: &Entries) -> Option<u32> {
        let (mut before, _) = self.near.filter(|&(_, near_list)| near_list == list)?;
        if entries.expires(before) > expires {
            for _ in 0..NEAR_STEPS_MAX {
                before = self.previous(before);
                if before == list || entries.expires(before) <= expires {
                    return Some(before);
                }
            }
        } else {
            for _ in 0..NEAR_STEPS_MAX {
                let after = self.next(before);
                if after == list || entries.expires(after) > expires {
                    return Some(before);
                }
                before = after;
            }
        }
        None
    }

    /// Takes an entry out of its list.
    pub fn unlink(&mut self, entry: u32) {
        let (before, after) = (self.previous(entry), self.next(entry));
        self.connect(before, after);
        if self.near.is_some_and(|(near, _)| near == entry) {
            self.near = None;
        }
        if before == after && (self.size..self.parked()).contains(&before) {
            self.filled.clear(before - self.size);
        }
    }

    /// Moves an entry whose expiry was `old_expires` behind all that expire no later, unless it is there.
    ///
    /// It looks at no neighbour's entry where the last one of the bucket expires no later, as it does for all that was touched here: each
    /// would be one more cache line to wait for.
    pub fn relink(&mut self, entry: u32, old_expires: u64, entries: &Entries, header: &Header) {
        let expires = entries.expires(entry);
        let hand = header.get(Word::Hand);
        let home = self.home(expires, hand);
        let stays = expires >= old_expires && self.home(old_expires, hand) == home && {
            let last = self.previous(self.list_of(home));
            last == entry
                || last < self.size && entries.expires(last) > expires && {
                    let after = self.next(entry);
                    after >= self.size || entries.expires(after) > expires
                }
        };
        if !stays {
            self.unlink(entry);
            self.link(entry, entries, header);
        }
    }

    /// Moves an entry out of the way of expiry and eviction.
    pub fn park(&mut self, entry: u32) {
        self.unlink(entry);
        self.append(self.parked(), entry);
    }

    /// Puts a tombstone that is in no list behind the others.
    pub fn bury(&mut self, entry: u32) {
        self.append(self.tombstones(), entry);
    }

    fn append(&mut self, list: u32, entry: u32) {
        let last = self.previous(list);
        self.connect(last, entry);
        self.connect(entry, list);
    }

    /// The tombstone that was buried first.
    pub fn first_tombstone(&self) -> Option<u32> {
        let first = self.next(self.tombstones());
        (first < self.size).then_some(first)
    }

    /// The first parked entry.
    pub fn first_parked(&self) -> Option<u32> {
        let first = self.next(self.parked());
        (first < self.size).then_some(first)
    }

    /// The entry that expires first, of those that are not parked.
    pub fn first(&mut self, entries: &Entries, header: &Header) -> Option<u32> {
        loop {
            let hand = header.get(Word::Hand);
            let bucket = self.first_filled(hand)?;
            let entry = self.next(self.size + bucket);
            if self.home(entries.expires(entry), hand) <= self.number_of(bucket, hand) {
                return Some(entry);
            }
            self.unlink(entry);
            self.link(entry, entries, header);
        }
    }

    fn first_filled(&self, hand: u64) -> Option<u32> {
        let from = (hand & u64::from(self.buckets - 1)) as u32;
        self.filled.next(from).or_else(|| self.filled.next(0))
    }

    /// When the first entry expires, for a timer: never too late.
    pub fn first_expiry_ms(&self, entries: &Entries, header: &Header) -> Option<u64> {
        if self.width_log2 == WIDTH_LOG2_FOREVER {
            return None;
        }
        let hand = header.get(Word::Hand);
        let bucket = self.first_filled(hand)?;
        let number = self.number_of(bucket, hand);
        let expires = entries.expires(self.next(self.size + bucket));
        let is_home = self.home(expires, hand) <= number;
        Some(if is_home {
            expires
        } else {
            number << self.width_log2
        })
    }

    /// Moves the hand up to `now_ms`, or to the first entry; says whether it moved.
    pub fn advance(&self, now_ms: u64, header: &Header) -> bool {
        let hand = header.get(Word::Hand);
        let first = self
            .first_filled(hand)
            .map(|bucket| self.number_of(bucket, hand));
        let target = first.unwrap_or(u64::MAX).min(self.number(now_ms));
        if target > hand {
            header.set(Word::Hand, target);
        }
        target > hand
    }

    /// Puts the hand at `now_ms` and fills the empty lists with entries in whatever order they come.
    pub fn rebuild(
        &mut self,
        now_ms: u64,
        live: impl Iterator<Item = u32>,
        entries: &Entries,
        header: &Header,
    ) {
        header.set(Word::Hand, self.number(now_ms));
        self.clear();
        for entry in live {
            let bucket = (self.home(entries.expires(entry), header.get(Word::Hand))
                & u64::from(self.buckets - 1)) as u32;
            self.append(self.size + bucket, entry);
            self.filled.set(bucket);
        }
        let mut order = Vec::new();
        for list in self.size..self.parked() {
            order.clear();
            order.extend(self.list(list).map(|entry| (entries.expires(entry), entry)));
            order.sort_unstable();
            let mut before = list;
            for &(_, entry) in &order {
                self.connect(before, entry);
                before = entry;
            }
            self.connect(before, list);
        }
    }

    /// The entries of a list, at most as many as there are.
    fn list(&self, list: u32) -> impl Iterator<Item = u32> {
        let mut node = list;
        (0..self.size).map_while(move |_| {
            node = self.next(node);
            (node < self.size).then_some(node)
        })
    }

    /// All entries in the lists; an error says what is wrong with them.
    pub fn check(&self, entries: &Entries, header: &Header) -> Result<Vec<u32>, String> {
        let hand = header.get(Word::Hand);
        let mut seen = Vec::new();
        if let Some((near, list)) = self.near
            && !self.list(list).any(|entry| entry == near)
        {
            return Err(format!("entry {near}: searched last, not in list {list}"));
        }
        for list in self.size..=self.parked() {
            let mut before = list;
            for entry in self.list(list) {
                if self.previous(entry) != before {
                    return Err(format!(
                        "entry {entry}: the link back does not lead to {before}"
                    ));
                }
                let sorted =
                    header.get(Word::Misplaced) == 0 && list != self.parked() && before != list;
                if sorted && entries.expires(before) > entries.expires(entry) {
                    return Err(format!(
                        "entries {before} and {entry}: not in order of expiry"
                    ));
                }
                let bucket = list - self.size;
                if list != self.parked()
                    && self.home(entries.expires(entry), hand) < self.number_of(bucket, hand)
                {
                    return Err(format!(
                        "entry {entry}: in bucket {bucket}, which comes too late for it"
                    ));
                }
                seen.push(entry);
                before = entry;
            }
            if self.previous(list) != before {
                return Err(format!("list {list}: the end is not the last entry"));
            }
            if list != self.parked() && self.filled.has(list - self.size) != (before != list) {
                return Err(format!("list {list}: the bitmap is wrong"));
            }
        }
        Ok(seen)
    }

    /// Entries in the parked list.
    pub fn parked_entries(&self) -> impl Iterator<Item = u32> {
        self.list(self.parked())
    }

    /// Entries in the tombstones' list.
    pub fn buried_entries(&self) -> impl Iterator<Item = u32> {
        self.list(self.tombstones())
    }
}

/// A set of small numbers that finds its next member in a few steps: each level has a bit for each word of the one below.
#[derive(Debug)]
struct Bitmap {
    levels: Vec<Vec<u64>>,
}

impl Bitmap {
    fn new(count: u32) -> Bitmap {
        let mut levels = Vec::new();
        let mut words = count as usize;
        while words > 1 || levels.is_empty() {
            words = words.div_ceil(64);
            levels.push(vec![0; words]);
        }
        Bitmap { levels }
    }

    fn has(&self, member: u32) -> bool {
        self.levels[0][member as usize / 64] >> (member % 64) & 1 != 0
    }

    fn set(&mut self, member: u32) {
        let mut at = member as usize;
        for level in &mut self.levels {
            let word = &mut level[at / 64];
            let was_empty = *word == 0;
            *word |= 1 << (at % 64);
            if !was_empty {
                return;
            }
            at /= 64;
        }
    }

    fn clear(&mut self, member: u32) {
        let mut at = member as usize;
        for level in &mut self.levels {
            let word = &mut level[at / 64];
            *word &= !(1 << (at % 64));
            if *word != 0 {
                return;
            }
            at /= 64;
        }
    }

    /// The first member that is not below `from`.
    fn next(&self, from: u32) -> Option<u32> {
        let mut at = from as usize;
        for (height, level) in self.levels.iter().enumerate() {
            let word = level
                .get(at / 64)
                .map_or(0, |word| word & (u64::MAX << (at % 64)));
            if word != 0 {
                let mut found = at / 64 * 64 + word.trailing_zeros() as usize;
                for below in self.levels[..height].iter().rev() {
                    found = found * 64 + below[found].trailing_zeros() as usize;
                }
                return Some(found as u32);
            }
            at = at / 64 + 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_bitmap_agrees_with_a_set() {
        for count in [1, 63, 64, 65, 4096, 5000] {
            let mut bitmap = Bitmap::new(count);
            let mut oracle = BTreeSet::new();
            let mut state = 1u32;
            for _ in 0..2000 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let member = (state >> 8) % count;
                if oracle.insert(member) {
                    bitmap.set(member);
                } else if state & 1 == 0 {
                    oracle.remove(&member);
                    bitmap.clear(member);
                }
                let from = (state >> 4) % count;
                assert_eq!(
                    bitmap.next(from),
                    oracle.range(from..).next().copied(),
                    "{count}"
                );
                assert_eq!(bitmap.has(from), oracle.contains(&from));
            }
        }
    }

    #[test]
    fn the_ring_spans_twice_the_lifetime() {
        for expire_ms in [1, 999, 1000, 300_000, 86_400_000, u32::MAX] {
            let reach = 1023u64 << width_log2(1024, expire_ms);
            assert!(reach >= 2 * u64::from(expire_ms), "{expire_ms}");
            assert!(reach <= 4 * u64::from(expire_ms).max(1024), "{expire_ms}");
        }
    }
}
