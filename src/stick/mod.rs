//! The stick table: arena, key, data, index, expiry, update log.
//!
//! Not here: sockets, clocks, configuration text. The caller passes `now_ms`.

pub mod spec;

pub use spec::{DataType, KeyType, StoredType, TableSpec};
