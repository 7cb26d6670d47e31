//! How a peer's clock stands to ours, by the fastest of its messages: what tells how long a later one was on its way.
//!
//! A message that was late makes the peer's clock look slow, so the smallest difference counts. It is kept from one session to
//! the next, because the first message of a session may be the late one, and a deletion that seems younger than it is deletes
//! what was made again since. Clocks drift, so what was learnt long ago counts for less.
//! Limit: when the first message ever heard of a peer is late, so much later the first deletions seem, until a message comes in time.
//! Not here: who carries a clock (`wire::extension`), the calendar.

/// One part in so many by which two clocks may drift apart: more than those of computers do.
const DRIFT_PARTS: u64 = 4_000;

/// A difference larger than any delay: a session does not live that long without a message. It is another clock.
const JUMP_MS: u64 = 30_000;

/// What is known of a peer's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerClock {
    /// Our clock less the peer's, modulo 2^64, by the message that was fastest, and when it came.
    known: Option<(u64, u64)>,
}

impl PeerClock {
    /// The peer's clock showed this when it sent what came now.
    pub fn note(&mut self, clock_ms: u64, now_ms: u64) {
        let offset = now_ms.wrapping_sub(clock_ms);
        let counts = self.known.is_none_or(|(known, noted_ms)| {
            let slower_ms = offset.wrapping_sub(known) as i64;
            let drift_ms = now_ms.saturating_sub(noted_ms) / DRIFT_PARTS;
            slower_ms <= drift_ms as i64 || slower_ms > JUMP_MS as i64
        });
        if counts {
            self.known = Some((offset, now_ms));
        }
    }

    /// How long a message was on its way, for one that carries the sender's clock modulo 2^32.
    pub fn delay_ms(&self, clock_ms: u32, now_ms: u64) -> u32 {
        let Some((offset, _)) = self.known else {
            return 0;
        };
        let there_ms = now_ms.wrapping_sub(offset) as u32;
        let delay = there_ms.wrapping_sub(clock_ms) as i32;
        delay.max(0) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_message_counts() {
        for start in [0u64, 1 << 40, u64::MAX - 2_000] {
            // Our clock is 5 s ahead of the peer's.
            let (there, here) = (start, |ms: u64| 5_000 + ms);
            let clock = |ms: u64| there.wrapping_add(ms);
            let mut known = PeerClock::default();
            assert_eq!(
                known.delay_ms(clock(0) as u32, here(9)),
                0,
                "nothing is known"
            );
            known.note(clock(0), here(800));
            assert_eq!(known.delay_ms(clock(1_000) as u32, here(1_900)), 100);
            known.note(clock(2_000), here(2_003));
            assert_eq!(known.delay_ms(clock(3_000) as u32, here(3_900)), 897);
            // A late one changes nothing, and who is even faster is not from the future.
            known.note(clock(4_000), here(9_000));
            assert_eq!(known.delay_ms(clock(9_500) as u32, here(9_503)), 0);
            assert_eq!(known.delay_ms(clock(9_500) as u32, here(9_500)), 0);
        }
    }

    #[test]
    fn drift_is_followed_and_another_clock_is_noticed() {
        let mut known = PeerClock::default();
        // The peer's clock loses a second in ten thousand.
        for second in 0..100_000u64 {
            let clock_ms = second * 1_000 - second / 10;
            known.note(clock_ms, 1_000_000 + second * 1_000);
        }
        let (clock_ms, now_ms) = (100_000_000 - 10_000, 1_000_000 + 100_000_000);
        assert!(known.delay_ms(clock_ms, now_ms) < 50);
        // The other machine was started anew.
        known.note(12, now_ms + 40);
        assert_eq!(known.delay_ms(30, now_ms + 60), 2);
    }
}
