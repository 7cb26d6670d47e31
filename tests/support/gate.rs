//! A gate that holds threads until a test opens it: for origins that answer when told to.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Longest wait; a test that forgets to open its gate must not hang.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// Closed at first. Clones are the same gate.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// A closed gate.
    pub fn new() -> Gate {
        Gate::default()
    }

    /// Lets all pass, for ever.
    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    /// Waits until it is open.
    pub fn pass(&self) {
        let (lock, condition) = &*self.0;
        let opened = lock.lock().unwrap();
        let wait = condition.wait_timeout_while(opened, WAIT_MAX, |is_open| !*is_open);
        drop(wait.unwrap());
    }
}
