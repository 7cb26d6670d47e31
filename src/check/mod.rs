//! Health checks: scripts as values, and the sockets that run them.
//!
//! What: [`Script`] says what is sent and expected, and [`Run`] plays it once: bytes and ends in, a verdict out, no socket.
//! [`Track`] counts verdicts to up and down. [`Checks`] owns the sockets and timers, one attempt a server at a time, writes
//! the server's [`CheckReport`](crate::backend::CheckReport), changes its state in the backend and says so in the log, in
//! HAProxy's words. [`Change`]s are for those who wait for a server.
//!
//! Everything observable (words, pace, counters, requests) was compared with HAProxy 2.6 run on the same servers.
//!
//! Not here: what a state means for balancing (`backend/`), what is shown of it (`stats/`).

mod attempt;
mod report;
mod schedule;
mod script;
#[cfg(test)]
mod tests;

pub use attempt::{Change, Checks, Context};
pub use schedule::{Pace, Track, Transition};
pub use script::{Run, Script, Verdict};
