//! A queue of streams that wait for a free place on a server: first come, first served, O(1) removal from the middle.
//!
//! Invariant: every `Place` handed out is in the list until it is popped or removed, exactly once.

use slab::Slab;

const NIL: usize = usize::MAX;

/// A waiting stream's place in one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(usize);

#[derive(Debug)]
struct Node {
    waiter: mio::Token,
    /// Global order of arrival, to compare two queues.
    arrival: u64,
    prev: usize,
    next: usize,
}

/// The queue.
#[derive(Debug, Default)]
pub struct Queue {
    nodes: Slab<Node>,
    head: Option<usize>,
    tail: Option<usize>,
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

    /// Arrival of the first in line.
    pub fn first_arrival(&self) -> Option<u64> {
        self.head.map(|head| self.nodes[head].arrival)
    }

    /// Puts `waiter` at the end.
    pub fn push(&mut self, waiter: mio::Token, arrival: u64) -> Place {
        let prev = self.tail.unwrap_or(NIL);
        let index = self.nodes.insert(Node {
            waiter,
            arrival,
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
        let head = self.head?;
        let waiter = self.nodes[head].waiter;
        self.remove(Place(head));
        Some(waiter)
    }

    /// Takes a stream out that no longer waits.
    pub fn remove(&mut self, place: Place) {
        let Node { prev, next, .. } = self.nodes.remove(place.0);
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
            .map(|i| queue.push(mio::Token(i), i as u64))
            .collect();
        for leaver in [2, 0, 4] {
            queue.remove(places[leaver]);
        }
        assert_eq!((queue.len(), queue.first_arrival()), (2, Some(1)));
        queue.push(mio::Token(9), 9);
        let order: Vec<usize> = std::iter::from_fn(|| queue.pop().map(|token| token.0)).collect();
        assert_eq!(order, [1, 3, 9]);
        assert!(queue.is_empty());
    }
}
