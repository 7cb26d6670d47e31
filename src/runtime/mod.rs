//! The stats socket: command parsing and the commands (management manual, section 9.3).
//!
//! A session reads lines, a line holds commands, a command yields an [`Answer`]. Answers are machines that are asked
//! for output a bounded piece at a time, only while the client's socket takes it: so neither a slow reader nor a dump
//! of a million lines holds the event loop or memory.

pub mod answer;

pub use answer::{Output, Progress};
