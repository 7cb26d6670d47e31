//! The event loop's parts: tokens, timers, buffers. The loop itself is `process::worker`, which owns them.
//!
//! Sockets are registered once, edge-triggered, and once more only if they were full: whoever gets an event
//! reads or writes until `WouldBlock` or a short read, or remembers that it did not.

pub mod buffer;
pub mod timers;
pub mod token;

pub use buffer::{Buffer, BufferPool};
pub use timers::{TimerSlot, Timers};
pub use token::{Kind, Token};
