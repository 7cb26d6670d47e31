//! Event rates: a counter over the current period, the one before it, and when the current one began.
//!
//! The arithmetic is that of the peers protocol's nodes, so that a rate reads the same on every node.
//! Time is CLOCK_MONOTONIC milliseconds modulo 2^32; a period is shorter than half of that.

/// The state of one rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// When the current period began: milliseconds modulo 2^32.
    pub start_ms: u32,
    /// Events since then.
    pub current: u32,
    /// Events in the period before.
    pub previous: u32,
}

impl Rate {
    /// Milliseconds since the current period began, as the peers protocol sends it (it may exceed the period by far).
    pub fn age_ms(&self, now_ms: u64) -> u32 {
        (now_ms as u32).wrapping_sub(self.start_ms)
    }

    /// The rate that a peer sent, `age_ms` old.
    pub fn from_age(now_ms: u64, age_ms: u32, current: u32, previous: u32) -> Rate {
        Rate {
            start_ms: (now_ms as u32).wrapping_sub(age_ms),
            current,
            previous,
        }
    }

    /// Events per `period_ms`, the previous period counted for the part of it that is less than one period ago.
    pub fn read(&self, now_ms: u64, period_ms: u32) -> u32 {
        let mut elapsed = self.age_ms(now_ms);
        let (mut current, mut previous) = (self.current, self.previous);
        if elapsed > period_ms {
            elapsed -= period_ms;
            previous = if elapsed > period_ms { 0 } else { current };
            elapsed = elapsed.min(period_ms);
            current = 0;
        }
        if current == 0 && previous <= 1 {
            return previous; // a single event stays visible for the whole period after its own
        }
        let carried =
            u64::from(previous) * u64::from(period_ms - elapsed) / u64::from(period_ms.max(1));
        u32::try_from(u64::from(current) + carried).unwrap_or(u32::MAX)
    }

    /// The rate after `events` more.
    #[must_use]
    pub fn add(self, now_ms: u64, period_ms: u32, events: u32) -> Rate {
        if self.age_ms(now_ms) < period_ms {
            return Rate {
                current: self.current.wrapping_add(events),
                ..self
            };
        }
        let rotated = Rate {
            start_ms: self.start_ms.wrapping_add(period_ms),
            current: events,
            previous: self.current,
        };
        if rotated.age_ms(now_ms) < period_ms {
            rotated
        } else {
            Rate {
                start_ms: now_ms as u32,
                current: events,
                previous: 0,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_that_a_peer_sent_reads_as_on_the_peer() {
        let rate = Rate::from_age(1_000_000, 2000, 11, 22);
        assert_eq!(rate.age_ms(1_000_000), 2000);
        assert_eq!(rate.read(1_001_200, 10_000), 25); // 11 + 22 × 6.8 / 10
        assert_eq!(rate.read(1_008_000, 10_000), 11);
        assert_eq!(rate.read(1_013_000, 10_000), 5); // 11 × 5 / 10
        assert_eq!(rate.read(1_018_000, 10_000), 0);
        assert_eq!(rate.read(1_018_001, 10_000), 0);
    }

    #[test]
    fn a_single_event_stays_for_a_period_after_its_own() {
        let rate = Rate::default().add(70_000, 1000, 1);
        assert_eq!(
            rate,
            Rate {
                start_ms: 70_000,
                current: 1,
                previous: 0
            }
        );
        assert_eq!(rate.read(70_000, 1000), 1);
        assert_eq!(rate.read(71_999, 1000), 1);
        assert_eq!(rate.read(72_001, 1000), 0);
    }

    #[test]
    fn periods_turn() {
        let rate = Rate::default().add(5000, 1000, 3).add(5999, 1000, 1);
        assert_eq!(
            rate,
            Rate {
                start_ms: 5000,
                current: 4,
                previous: 0
            }
        );
        let next = rate.add(6000, 1000, 2);
        assert_eq!(
            next,
            Rate {
                start_ms: 6000,
                current: 2,
                previous: 4
            }
        );
        assert_eq!(next.read(6500, 1000), 4);
        let later = next.add(8000, 1000, 7);
        assert_eq!(
            later,
            Rate {
                start_ms: 8000,
                current: 7,
                previous: 0
            }
        );
    }

    #[test]
    fn time_wraps_and_ages_may_be_huge() {
        let before_wrap = u64::from(u32::MAX) - 10;
        let rate = Rate::default()
            .add(before_wrap, 1000, 5)
            .add(before_wrap + 100, 1000, 5);
        assert_eq!(rate.current, 10);
        assert_eq!(rate.read(before_wrap + 200, 1000), 10);
        assert_eq!(
            Rate::from_age(50, u32::MAX, u32::MAX, u32::MAX).read(50, 1000),
            0
        );
        assert_eq!(
            Rate::from_age(50, 0, u32::MAX, u32::MAX).read(50, u32::MAX >> 1),
            u32::MAX
        );
    }
}
