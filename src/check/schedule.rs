//! When to check, and what a verdict changes: the counter of rise and fall as a value.

use crate::config::model;

/// Intervals below this are not considered when the first checks are spread.
const SPREAD_INTERVAL_MS_MIN: u64 = 1000;

/// `inter` and its variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// `inter`: up, and no failure since.
    pub inter_ms: u64,
    /// `fastinter`: between up and down; `inter` if not given.
    pub fast_ms: u64,
    /// `downinter`: down, and no success since; `inter` if not given.
    pub down_ms: u64,
}

impl Pace {
    /// The intervals that a server's configuration asks for.
    pub fn new(spec: &model::ServerCheck) -> Pace {
        Pace {
            inter_ms: spec.inter_ms.max(1),
            fast_ms: spec.fast_inter_ms.unwrap_or(spec.inter_ms).max(1),
            down_ms: spec.down_inter_ms.unwrap_or(spec.inter_ms).max(1),
        }
    }

    /// The interval to the next check, counted from the end of the last one.
    pub fn interval_ms(&self, track: &Track) -> u64 {
        if track.is_full() {
            self.inter_ms
        } else if track.health == 0 {
            self.down_ms
        } else {
            self.fast_ms
        }
    }
}

/// What a verdict did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Nothing but perhaps the counter.
    None,
    /// The server is up now.
    Up,
    /// The server is down now.
    Down,
}

/// The counter of rise and fall (management manual, section 9.1, `check_health`): 0 to `rise + fall - 1`, up from `rise` on.
/// A server starts at `rise`: up, and one failure away from down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Track {
    /// The counter.
    pub health: u32,
    rise: u32,
    fall: u32,
}

impl Track {
    /// A counter that stands at `health`.
    pub fn new(rise: u32, fall: u32, health: u32) -> Track {
        Track {
            health,
            rise: rise.max(1),
            fall: fall.max(1),
        }
    }

    /// Whether the counter says up.
    pub fn is_up(&self) -> bool {
        self.health >= self.rise
    }

    /// Whether the server is up without a recent failure.
    pub fn is_full(&self) -> bool {
        self.health + 1 >= self.rise + self.fall
    }

    /// Counts a verdict. One success restores a server that is up; one failure takes all successes from one that is down.
    pub fn count(&mut self, passed: bool) -> Transition {
        let was_up = self.is_up();
        if passed {
            self.health += u32::from(!was_up);
            if self.is_up() {
                self.health = self.rise + self.fall - 1;
            }
        } else if self.health > self.rise {
            self.health -= 1;
        } else {
            self.health = 0;
        }
        match (was_up, self.is_up()) {
            (false, true) => Transition::Up,
            (true, false) => Transition::Down,
            _ => Transition::None,
        }
    }

    /// `2/3 UP`, `1/2 DOWN`: how far up or down, as `option log-health-checks` shows it.
    pub fn describe(&self) -> String {
        if self.is_up() {
            format!("{}/{} UP", self.health - self.rise + 1, self.fall)
        } else {
            format!("{}/{} DOWN", self.health, self.rise)
        }
    }
}

/// Delays of the first checks: spread over the smallest interval of a second and more, so that a farm is not hit at once, in
/// declaration order, as HAProxy spreads them.
pub(super) fn first_delays_ms(inters_ms: &[u64]) -> Vec<u64> {
    let base_ms = inters_ms
        .iter()
        .copied()
        .filter(|inter_ms| *inter_ms >= SPREAD_INTERVAL_MS_MIN)
        .min()
        .unwrap_or(0);
    let count = inters_ms.len() as u64;
    inters_ms
        .iter()
        .zip(0u64..)
        .map(|(inter_ms, position)| position * base_ms.max(*inter_ms) / count)
        .collect()
}

/// `spread-checks`: the interval, up to `pct` percent shorter or longer. `random` is any number.
pub(super) fn spread_ms(interval_ms: u64, pct: u32, random: u64) -> u64 {
    let range_ms = interval_ms * u64::from(pct.min(50)) / 100;
    interval_ms - range_ms + random % (2 * range_ms + 1)
}

/// The pause after an attempt that began `late_ms` later than it was to: shorter by that, but never by more than half.
pub(super) fn on_schedule(interval_ms: u64, late_ms: u64) -> u64 {
    interval_ms - late_ms.min(interval_ms / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays verdicts (`+` and `-`); the counter's description after each, with `^` and `v` for transitions.
    fn play(rise: u32, fall: u32, verdicts: &str) -> String {
        let mut track = Track::new(rise, fall, rise);
        let steps: Vec<String> = verdicts
            .bytes()
            .map(|verdict| {
                let mark = match track.count(verdict == b'+') {
                    Transition::None => "",
                    Transition::Up => "^",
                    Transition::Down => "v",
                };
                format!("{mark}{}", track.describe())
            })
            .collect();
        steps.join(", ")
    }

    #[test]
    fn counts_as_haproxy() {
        // Each line was seen in HAProxy's log with `option log-health-checks`.
        assert_eq!(
            play(2, 4, "+--+---+"),
            "4/4 UP, 3/4 UP, 2/4 UP, 4/4 UP, 3/4 UP, 2/4 UP, 1/4 UP, 4/4 UP"
        );
        assert_eq!(
            play(2, 3, "+---++"),
            "3/3 UP, 2/3 UP, 1/3 UP, v0/2 DOWN, 1/2 DOWN, ^3/3 UP"
        );
        assert_eq!(play(1, 1, "-+"), "v0/1 DOWN, ^1/1 UP");
        assert_eq!(
            play(2, 3, "-+-+"),
            "v0/2 DOWN, 1/2 DOWN, 0/2 DOWN, 1/2 DOWN"
        );
    }

    #[test]
    fn paces() {
        let pace = Pace {
            inter_ms: 100,
            fast_ms: 10,
            down_ms: 50,
        };
        let interval = |health| pace.interval_ms(&Track::new(2, 3, health));
        assert_eq!([0, 1, 2, 3, 4].map(interval), [50, 10, 10, 10, 100]);
    }

    #[test]
    fn first_checks_are_spread_as_haproxy_spreads_them() {
        assert_eq!(first_delays_ms(&[300, 500, 800]), [0, 166, 533]);
        assert_eq!(first_delays_ms(&[2000, 5000, 300]), [0, 1666, 1333]);
        assert_eq!(first_delays_ms(&[5000, 2000]), [0, 1000]);
        assert_eq!(first_delays_ms(&[1000, 1500, 900]), [0, 500, 666]);
        assert_eq!(first_delays_ms(&[]), []);
    }

    #[test]
    fn what_was_late_goes_back_to_its_place() {
        assert_eq!(on_schedule(1000, 0), 1000);
        assert_eq!(on_schedule(1000, 200), 800);
        assert_eq!(on_schedule(1000, 5000), 500);
        assert_eq!(on_schedule(1, 5000), 1);
    }

    #[test]
    fn spread_stays_in_its_range() {
        for random in [0, 1, 39, 40, 41, u64::MAX] {
            let interval_ms = spread_ms(1000, 2, random);
            assert!((980..=1020).contains(&interval_ms), "{interval_ms}");
        }
        assert_eq!(spread_ms(1000, 0, 12345), 1000);
    }
}
