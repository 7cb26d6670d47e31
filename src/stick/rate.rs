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
