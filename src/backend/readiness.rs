//! Whether a server accepts connections as soon as they are asked for: one on this machine has by the time `connect` returns, one elsewhere has not.

/// Every so many connects, a server that did not accept at once is tried again.
const TRIES_AGAIN_EVERY: u64 = 64;

/// What is expected of a server's next connection.
#[derive(Debug)]
pub struct Readiness {
    at_once: bool,
}

impl Readiness {
    /// At first the best is expected.
    pub(super) const fn new() -> Readiness {
        Readiness { at_once: true }
    }

    /// Whether the connection that is the server's `connects`th is to be taken to stand. From then on it is expected again, unless this one
    /// is [found](Readiness::found) not to.
    pub fn expects(&mut self, connects: u64) -> bool {
        self.at_once |= connects.is_multiple_of(TRIES_AGAIN_EVERY);
        self.at_once
    }

    /// A connection that was taken to stand did, or did not.
    pub fn found(&mut self, at_once: bool) {
        self.at_once = at_once;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_delay_is_not_held_against_a_server_for_ever() {
        let mut readiness = Readiness::new();
        assert!(readiness.expects(1));
        readiness.found(false);
        assert!((2..64).all(|connects| !readiness.expects(connects)));
        // Nobody says that these stood: the first write of each would have told if they did not.
        assert!((64..200).all(|connects| readiness.expects(connects)));
    }

    #[test]
    fn a_server_that_is_far_away_is_rarely_tried() {
        let mut readiness = Readiness::new();
        let mut tried = 0;
        for connects in 1..=640 {
            if readiness.expects(connects) {
                tried += 1;
                readiness.found(false);
            }
        }
        assert_eq!(tried, 1 + 10);
    }
}
