//! What leaves a worker that has handed over, in order, and what of it has arrived.
//!
//! ```text
//! push ──▶ waiting ─to send, sent▶ unheard ──heard──▶ gone
//!             ▲                       │
//!             └──────── resend ───────┘        the new worker died; another one is in its place
//! ```
//!
//! What was learnt late (a key bound, something counted) stays here until the new worker has it in the tables; a response that taught it is held back
//! until then, so that what a client was told is known, whoever dies next. A client's connection leaves for good.
//! Not here: the line that it travels on (`process`).

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use super::StreamKey;
use super::handover::MovedClient;
use crate::backend::sticky::LateStore;
use crate::stick::tracked::LateCount;

/// What leaves for the new worker.
#[derive(Debug)]
pub enum Departure {
    /// A client connection with its socket.
    Client(Box<MovedClient>, OwnedFd),
    /// Something learnt late.
    Store(LateStore),
    /// Something counted late.
    Count(LateCount),
}

/// All that leaves.
#[derive(Debug, Default)]
pub struct Departures {
    waiting: VecDeque<Departure>,
    /// Sent, but not heard yet; oldest first, no connections.
    unheard: VecDeque<Departure>,
    /// How much was ever learnt late, and how much of it was heard.
    learnt_total: u64,
    heard_total: u64,
    /// Streams whose responses are held back.
    held: Vec<StreamKey>,
}

impl Departures {
    /// Something more leaves.
    pub fn push(&mut self, departure: Departure) {
        self.learnt_total += u64::from(!matches!(departure, Departure::Client(..)));
        self.waiting.push_back(departure);
    }

    /// The next to be sent: to be followed by `sent`, or by `put_back`, or it is dropped for good (a connection that cannot move).
    pub fn next_to_send(&mut self) -> Option<Departure> {
        self.waiting.pop_front()
    }

    /// It was sent.
    pub fn sent(&mut self, departure: Departure) {
        if !matches!(departure, Departure::Client(..)) {
            self.unheard.push_back(departure);
        }
    }

    /// It could not be sent now.
    pub fn put_back(&mut self, departure: Departure) {
        self.waiting.push_front(departure);
    }

    /// The new worker is gone: what it has not heard is sent again, in its order and before all else.
    pub fn resend(&mut self) {
        while let Some(departure) = self.unheard.pop_back() {
            self.waiting.push_front(departure);
        }
    }

    /// So much more of what was learnt late is in the tables; more than was sent is a mistake of the other side, and counts as all.
    pub(super) fn heard(&mut self, count: u64) {
        let count = count.min(self.unheard.len() as u64);
        self.heard_total += count;
        drop(self.unheard.drain(..count as usize));
    }

    /// How much was ever learnt late.
    pub(super) fn learnt_total(&self) -> u64 {
        self.learnt_total
    }

    /// Whether so much of it has been heard.
    pub(super) fn is_heard(&self, learnt: u64) -> bool {
        self.heard_total >= learnt
    }

    /// The response of this stream is held back: it is to be driven when more is heard.
    pub(super) fn hold(&mut self, stream: StreamKey) {
        if !self.held.contains(&stream) {
            self.held.push(stream);
        }
    }

    /// The streams that were held back until now.
    pub(super) fn take_held(&mut self) -> Vec<StreamKey> {
        std::mem::take(&mut self.held)
    }

    /// Whether all has left and was heard.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.unheard.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learnt(number: i32) -> Departure {
        Departure::Store(LateStore {
            table: "t".into(),
            key: Vec::new(),
            server_id: number,
            server_key: String::new(),
        })
    }

    /// Sends all; the numbers of what was sent.
    fn send(departures: &mut Departures) -> Vec<i32> {
        let mut numbers = Vec::new();
        while let Some(departure) = departures.next_to_send() {
            if let Departure::Store(late) = &departure {
                numbers.push(late.server_id);
            }
            departures.sent(departure);
        }
        numbers
    }

    #[test]
    fn what_was_not_heard_is_sent_again_in_order() {
        let mut departures = Departures::default();
        (0..4).for_each(|number| departures.push(learnt(number)));
        assert_eq!(send(&mut departures), [0, 1, 2, 3]);
        departures.heard(1);
        departures.push(learnt(4));
        departures.resend();
        assert!(departures.is_heard(1) && !departures.is_heard(2));
        assert_eq!(send(&mut departures), [1, 2, 3, 4]);
        departures.resend();
        let first = departures.next_to_send().unwrap();
        departures.put_back(first);
        assert_eq!(send(&mut departures), [1, 2, 3, 4]);
        departures.heard(3);
        assert!(!departures.is_empty());
        departures.heard(u64::MAX);
        assert!(departures.is_empty() && departures.is_heard(5) && !departures.is_heard(6));
        assert_eq!(departures.learnt_total(), 5);
    }
}
