//! Rules: what is done with a stream, in the order in which the configuration says it.
//!
//! A file a kind of rule: its parts, resolved, and what it does with what an expression sees. Today that is `use_backend`.
//!
//! Not here: how conditions look at a message (`sample`), how rules are written (`config`).

pub mod use_backend;

pub use use_backend::UseBackend;
