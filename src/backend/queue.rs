//! A queue of streams that wait for a free place on a server: by priority, then first come, first served.
//!
//! Two orders in one: streams without a priority stand in a list, whose order is that of arrival (O(1) to enter, to go first and to
//! leave from the middle, and no allocation); the few that rules gave a priority stand in a tree beside it (O(log n)). Who is
//! first is the lower of the two heads.
//!
//! Invariants: every `Place` handed out is in the list or in the tree until it is popped or removed, exactly once; ranks in the list ascend,
//! because time and arrivals do.

use std::collections::BTreeMap;

use slab::Slab;

const NIL: usize = usize::MAX;

/// A waiting stream's place in one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(usize);

/// What rules say of a stream's place (`set-priority-class`, `set-priority-offset`). Lower goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Priority {
    /// -2047..=2047; decides before time does.
    pub class: i16,
    /// -524287..=524287 milliseconds, added to the time of arrival.
    pub offset_ms: i32,
}

/// Where a stream stands in line; comparable between the queues of one backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    class: i16,
    at_ms: i64,
    arrival: u64,
}

impl Rank {
    /// Of a stream that enters at `now_ms` as the backend's `arrival`-th (later ones have greater numbers).
    pub fn new(priority: Priority, now_ms: u64, arrival: u64) -> Rank {
        Rank {
            class: priority.class,
            at_ms: now_ms as i64 + i64::from(priority.offset_ms),
            arrival,
        }
    }
}

#[derive(Debug)]
struct Node {
    waiter: mio::Token,
    rank: Rank,
    /// In the tree, not in the list.
    is_prioritised: bool,
    prev: usize,
    next: usize,
}

/// The queue.
#[derive(Debug, Default)]
pub struct Queue {
    nodes: Slab<Node>,
    head: Option<usize>,
    tail: Option<usize>,
    prioritised: BTreeMap<Rank, usize>,
}

impl Queue {
    /// Number of waiting streams.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Rank of the first in line.
    pub fn first_rank(&self) -> Option<Rank> {
        self.first().map(|(rank, _)| rank)
    }

    /// Puts `waiter` where its priority and the time say; `arrival` is greater than that of all before.
    pub fn push(
        &mut self,
        waiter: mio::Token,
        priority: Priority,
        now_ms: u64,
        arrival: u64,
    ) -> Place {
        let rank = Rank::new(priority, now_ms, arrival);
        if priority == Priority::default() {
            return self.append(waiter, rank);
        }
        let index = self.nodes.insert(Node {
            waiter,
            rank,
            is_prioritised: true,
            prev: NIL,
            next: NIL,
        });
        self.prioritised.insert(rank, index);
        Place(index)
    }

    fn append(&mut self, waiter: mio::Token, rank: Rank) -> Place {
        let prev = self.tail.unwrap_or(NIL);
        let index = self.nodes.insert(Node {
            waiter,
            rank,
            is_prioritised: false,
            prev,
            next: NIL,
        });
        match self.tail {
            Some(tail) => self.nodes[tail].next = index,
            None => self.head = Some(index),
        }
        self.tail = Some(index);
        Place(index)
    }

    /// Takes the first in line.
    pub fn pop(&mut self) -> Option<mio::Token> {
        let (_, index) = self.first()?;
        let waiter = self.nodes[index].waiter;
        self.remove(Place(index));
        Some(waiter)
    }

    fn first(&self) -> Option<(Rank, usize)> {
        let plain = self.head.map(|head| (self.nodes[head].rank, head));
        let ranked = self.prioritised.first_key_value();
        let ranked = ranked.map(|(rank, index)| (*rank, *index));
        // Ranks are unique, so the indices never decide.
        plain.into_iter().chain(ranked).min()
    }

    /// Takes a stream out that no longer waits.
    pub fn remove(&mut self, place: Place) {
        let node = self.nodes.remove(place.0);
        if node.is_prioritised {
            self.prioritised.remove(&node.rank);
            return;
        }
        let Node { prev, next, .. } = node;
        if prev == NIL {
            self.head = (next != NIL).then_some(next);
        } else {
            self.nodes[prev].next = next;
        }
        if next == NIL {
            self.tail = (prev != NIL).then_some(prev);
        } else {
            self.nodes[next].prev = prev;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_order_whoever_leaves() {
        let mut queue = Queue::default();
        let places: Vec<Place> = (0..5)
            .map(|i| queue.push(mio::Token(i), Priority::default(), 1_000, i as u64))
            .collect();
        for leaver in [2, 0, 4] {
            queue.remove(places[leaver]);
        }
        assert_eq!(queue.len(), 2);
        assert_eq!(
            queue.first_rank(),
            Some(Rank::new(Priority::default(), 1_000, 1))
        );
        queue.push(mio::Token(9), Priority::default(), 1_000, 9);
        let order: Vec<usize> = std::iter::from_fn(|| queue.pop().map(|token| token.0)).collect();
        assert_eq!(order, [1, 3, 9]);
        assert!(queue.is_empty());
    }

    #[test]
    fn class_goes_before_time_and_an_offset_moves_it() {
        let mut queue = Queue::default();
        let waiting = [
            (0, 0, 1_000), // 0
            (1, -524_287, 1_000),
            (0, 0, 1_010), // 2
            (0, -10, 1_010),
            (0, 5, 1_000), // 4
            (-1, 524_287, 1_020),
            (0, 0, 1_020), // 6
            (0, -2_000, 1_020),
        ];
        let places: Vec<Place> = waiting
            .iter()
            .enumerate()
            .map(|(i, &(class, offset_ms, now_ms))| {
                let priority = Priority { class, offset_ms };
                queue.push(mio::Token(i), priority, now_ms, i as u64)
            })
            .collect();
        queue.remove(places[4]);
        queue.remove(places[2]);
        assert_eq!(queue.len(), 6);
        let order: Vec<usize> = std::iter::from_fn(|| queue.pop().map(|token| token.0)).collect();
        // 0 and 3 have the same time: who came first.
        assert_eq!(order, [5, 7, 0, 3, 6, 1]);
        assert!(queue.is_empty());
    }
}
