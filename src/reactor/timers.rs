//! Timers: a hierarchical wheel of milliseconds.
//!
//! Six levels of 64 slots; a slot of level `n` spans `64^n` ms. A timer lies in the level of the highest six-bit group
//! in which its time differs from the wheel's, so every timer of a level is earlier than all of the next one, and the
//! nearest occupied slot is found with one bit scan a level.
//!
//! A deadline that only moves later costs nothing: the node keeps its place, and when its slot is reached it is filed
//! anew instead of firing. An object has at most one node, so the node count is bounded by the number of objects.
//!
//! Not here: a clock. The caller passes the time.

const LEVELS: usize = 6;
const SLOTS: usize = 64;
const NIL: u32 = u32::MAX;
/// Beyond the wheel's span (some two years) a timer is filed at its end and filed anew there.
const SPAN_MS: u64 = 1 << (6 * LEVELS);

/// An object's place in the wheel; the object keeps it and hands it to every call.
#[derive(Debug, PartialEq, Eq)]
pub struct TimerSlot(u32);

impl TimerSlot {
    /// No timer.
    pub const NONE: TimerSlot = TimerSlot(NIL);
}

impl Default for TimerSlot {
    fn default() -> Self {
        TimerSlot::NONE
    }
}

#[derive(Clone, Copy)]
struct Node {
    owner: mio::Token,
    deadline_ms: u64,
    /// The time by which it lies in the wheel; never later than `deadline_ms`.
    filed_ms: u64,
    prev: u32,
    next: u32,
    /// `level * SLOTS + slot`, or `UNFILED`.
    place: u16,
}

const UNFILED: u16 = u16::MAX;

/// The wheel.
pub struct Timers {
    time_ms: u64,
    nodes: Vec<Node>,
    free: u32,
    heads: [u32; LEVELS * SLOTS],
    occupied: [u64; LEVELS],
}

impl Timers {
    /// An empty wheel with room for `capacity` timers; more are allocated when needed.
    pub fn new(now_ms: u64, capacity: usize) -> Timers {
        Timers {
            time_ms: now_ms,
            nodes: Vec::with_capacity(capacity),
            free: NIL,
            heads: [NIL; LEVELS * SLOTS],
            occupied: [0; LEVELS],
        }
    }

    /// Sets the timer of `slot` to `deadline_ms`; when it is reached, `expire` reports `owner`.
    pub fn arm(&mut self, slot: &mut TimerSlot, owner: mio::Token, deadline_ms: u64) {
        if slot.0 == NIL {
            slot.0 = self.allocate(owner);
        }
        let node = &mut self.nodes[slot.0 as usize];
        node.owner = owner;
        node.deadline_ms = deadline_ms;
        if node.place != UNFILED {
            if deadline_ms >= node.filed_ms {
                return;
            }
            self.unlink(slot.0);
        }
        self.file(slot.0);
    }

    /// Takes the timer out and gives its node back.
    pub fn cancel(&mut self, slot: &mut TimerSlot) {
        if slot.0 == NIL {
            return;
        }
        if self.nodes[slot.0 as usize].place != UNFILED {
            self.unlink(slot.0);
        }
        self.nodes[slot.0 as usize].next = self.free;
        self.free = slot.0;
        slot.0 = NIL;
    }

    /// Appends to `due` the owners whose deadline has come. Their slots stay theirs, unarmed.
    pub fn expire(&mut self, now_ms: u64, due: &mut Vec<mio::Token>) {
        while let Some((level, slot, start_ms)) = self.nearest() {
            if start_ms > now_ms {
                break;
            }
            self.time_ms = self.time_ms.max(start_ms);
            let place = level * SLOTS + slot;
            let mut index = std::mem::replace(&mut self.heads[place], NIL);
            self.occupied[level] &= !(1 << slot);
            while index != NIL {
                let node = &mut self.nodes[index as usize];
                let next = node.next;
                node.place = UNFILED;
                if node.deadline_ms <= now_ms {
                    due.push(node.owner);
                } else {
                    self.file(index);
                }
                index = next;
            }
        }
        self.time_ms = self.time_ms.max(now_ms);
    }

    /// A time before which nothing can fire; `None` when nothing is armed. It may be earlier than the nearest
    /// deadline: waking up then files the timers of a wide slot into narrower ones.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.nearest().map(|(_, _, start_ms)| start_ms)
    }

    fn allocate(&mut self, owner: mio::Token) -> u32 {
        let node = Node {
            owner,
            deadline_ms: 0,
            filed_ms: 0,
            prev: NIL,
            next: NIL,
            place: UNFILED,
        };
        if self.free == NIL {
            self.nodes.push(node);
            return (self.nodes.len() - 1) as u32;
        }
        let index = self.free;
        self.free = self.nodes[index as usize].next;
        self.nodes[index as usize] = node;
        index
    }

    fn file(&mut self, index: u32) {
        let node = &mut self.nodes[index as usize];
        let filed_ms = node
            .deadline_ms
            .clamp(self.time_ms, self.time_ms + SPAN_MS / 2);
        let differing = (filed_ms ^ self.time_ms) | 63;
        let level = ((63 - differing.leading_zeros()) as usize / 6).min(LEVELS - 1);
        let slot = (filed_ms >> (6 * level)) as usize & (SLOTS - 1);
        let place = level * SLOTS + slot;
        let head = self.heads[place];
        node.filed_ms = filed_ms;
        node.place = place as u16;
        node.prev = NIL;
        node.next = head;
        if head != NIL {
            self.nodes[head as usize].prev = index;
        }
        self.heads[place] = index;
        self.occupied[level] |= 1 << slot;
    }

    fn unlink(&mut self, index: u32) {
        let Node {
            prev, next, place, ..
        } = self.nodes[index as usize];
        if prev == NIL {
            self.heads[place as usize] = next;
            if next == NIL {
                self.occupied[place as usize / SLOTS] &= !(1 << (place as usize % SLOTS));
            }
        } else {
            self.nodes[prev as usize].next = next;
        }
        if next != NIL {
            self.nodes[next as usize].prev = prev;
        }
        self.nodes[index as usize].place = UNFILED;
    }

    /// The nearest occupied slot and the time at which it starts.
    fn nearest(&self) -> Option<(usize, usize, u64)> {
        for level in 0..LEVELS {
            if self.occupied[level] == 0 {
                continue;
            }
            let shift = 6 * level;
            let current = (self.time_ms >> shift) as u32 & 63;
            let ahead = self.occupied[level].rotate_right(current).trailing_zeros();
            let slot = (current + ahead) as usize % SLOTS;
            let start_ms = ((self.time_ms >> shift) + u64::from(ahead)) << shift;
            return Some((level, slot, start_ms.max(self.time_ms)));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fire(timers: &mut Timers, now_ms: u64) -> Vec<usize> {
        let mut due = Vec::new();
        timers.expire(now_ms, &mut due);
        let mut due: Vec<usize> = due.into_iter().map(|token| token.0).collect();
        due.sort_unstable();
        due
    }

    #[test]
    fn fires_at_its_deadline_and_not_before() {
        for start in [0, 63, 64, 4095, 1_000_000_007] {
            for delay in [0, 1, 2, 63, 64, 65, 4000, 4096, 300_000, 90_000_000] {
                let mut timers = Timers::new(start, 4);
                let mut slot = TimerSlot::NONE;
                timers.arm(&mut slot, mio::Token(7), start + delay);
                if delay > 0 {
                    assert_eq!(fire(&mut timers, start + delay - 1), [] as [usize; 0]);
                }
                assert!(timers.next_deadline_ms().unwrap() <= start + delay);
                assert_eq!(fire(&mut timers, start + delay), [7]);
                assert_eq!(timers.next_deadline_ms(), None);
            }
        }
    }

    #[test]
    fn later_is_lazy_earlier_moves_cancel_forgets() {
        let mut timers = Timers::new(100, 4);
        let mut slot = TimerSlot::NONE;
        timers.arm(&mut slot, mio::Token(1), 200);
        timers.arm(&mut slot, mio::Token(1), 5000);
        assert_eq!(timers.next_deadline_ms().map(|ms| ms <= 200), Some(true));
        assert!(fire(&mut timers, 4999).is_empty());
        timers.arm(&mut slot, mio::Token(1), 5001);
        assert!(fire(&mut timers, 5000).is_empty());
        assert_eq!(fire(&mut timers, 5001), [1]);
        timers.arm(&mut slot, mio::Token(1), 9000);
        timers.arm(&mut slot, mio::Token(1), 6000);
        assert_eq!(fire(&mut timers, 6000), [1]);
        timers.arm(&mut slot, mio::Token(1), 7000);
        timers.cancel(&mut slot);
        assert!(fire(&mut timers, 100_000).is_empty());
        assert_eq!(slot, TimerSlot::NONE);
    }

    /// The loop as it runs: it sleeps until it is told to wake up, not a millisecond less or more. Whatever the wait, and however
    /// often its end was moved, a timer fires in the very millisecond of its deadline, after at most one wake-up a level.
    #[test]
    fn a_loop_that_sleeps_as_told_is_never_early_and_never_late() {
        const DAY_MS: u64 = 86_400_000;
        let waits = [
            0, 1, 2, 63, 64, 65, 300, 500, 4095, 4096, 4097, 10_000, 3_600_000, DAY_MS,
        ];
        for start_ms in [0, 1, 63, 64, 4095, 262_143, 1_000_000_007] {
            for wait_ms in waits {
                for moved_ms in [0, 1, 63, 64, 10_000] {
                    let mut timers = Timers::new(start_ms, 2);
                    let mut slot = TimerSlot::NONE;
                    timers.arm(&mut slot, mio::Token(3), start_ms + wait_ms);
                    timers.arm(&mut slot, mio::Token(3), start_ms + wait_ms + moved_ms);
                    let mut wakes = 0;
                    let mut now_ms = start_ms;
                    let fired_ms = loop {
                        let next_ms = timers.next_deadline_ms().expect("it is armed");
                        assert!(next_ms >= now_ms, "time never runs backwards");
                        now_ms = next_ms;
                        wakes += 1;
                        if fire(&mut timers, now_ms) == [3] {
                            break now_ms;
                        }
                    };
                    assert_eq!(
                        fired_ms,
                        start_ms + wait_ms + moved_ms,
                        "{start_ms} {wait_ms}"
                    );
                    // Down the levels to where it was filed, and down again to where it was moved.
                    assert!(wakes <= 2 * LEVELS, "{wakes} for {wait_ms} and {moved_ms}");
                }
            }
        }
    }

    /// Against the obvious: a list of deadlines.
    #[test]
    fn agrees_with_a_plain_list() {
        let mut seed: u64 = 4711;
        let mut random = move |bound: u64| {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (seed >> 33) % bound
        };
        let mut now_ms = 12_345;
        let mut timers = Timers::new(now_ms, 0);
        let mut slots: Vec<TimerSlot> = (0..64).map(|_| TimerSlot::NONE).collect();
        let mut list: Vec<Option<u64>> = vec![None; 64];
        for _ in 0..20_000 {
            let index = random(64) as usize;
            match random(4) {
                0 => {
                    timers.cancel(&mut slots[index]);
                    list[index] = None;
                }
                1 | 2 => {
                    let widths = [3, 70, 5000, 400_000];
                    let width = widths[random(4) as usize];
                    let deadline_ms = now_ms + random(width);
                    timers.arm(&mut slots[index], mio::Token(index), deadline_ms);
                    list[index] = Some(deadline_ms);
                }
                _ => {
                    now_ms += random(300);
                    let nearest = list.iter().flatten().min().copied();
                    if let Some(nearest) = nearest {
                        assert!(timers.next_deadline_ms().unwrap() <= nearest);
                    }
                    let mut expected = Vec::new();
                    for (index, deadline) in list.iter_mut().enumerate() {
                        if deadline.is_some_and(|at| at <= now_ms) {
                            expected.push(index);
                            *deadline = None;
                        }
                    }
                    assert_eq!(fire(&mut timers, now_ms), expected);
                }
            }
        }
    }
}
