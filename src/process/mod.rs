//! Processes: the command, the master, the worker.
//!
//! ```text
//! command: parse, limits, bind, tables ──▶ daemonise, pidfile ──▶ master ──fork──▶ worker
//!                                                          (root, waits for signals)  (unprivileged, the event loop)
//! ```
//!
//! Everything that outlives a worker (listening sockets, the tables' memory, log sockets) is made by the command before
//! the first fork and kept by the master, which gives a copy to every worker it forks. The master's pid is the one in
//! the pidfile. master ↔ worker talk over one socket pair ([`control`]); its end tells each that the other is gone.
//!
//! Not here: what the worker does with it all, except for worker.rs, which is its event loop.

mod bind;
pub mod control;
mod daemon;
mod enter;
mod inheritance;
pub mod limits;
mod master;
mod notify;
mod pidfile;
mod report;
mod start;
pub mod startup;
pub mod worker;

pub use control::{Order, Orders};
pub use limits::Limits;
pub use startup::{ExitReason, LogTargets, Startup};
