//! Waiting for a condition instead of sleeping for a while.

use std::time::{Duration, Instant};

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(5);

/// Asks `probe` until it gives a value, and returns it; panics with `what` after `limit`.
pub fn eventually<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(Instant::now() < end, "waited {limit:?} in vain for: {what}");
        std::thread::sleep(STEP);
    }
}

/// Waits until `condition` holds, at most ten seconds; panics with `what` after that.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    eventually(what, Duration::from_secs(10), || condition().then_some(()));
}
