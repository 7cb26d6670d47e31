//! The stick table: arena, key, data, index, expiry, update log.
//!
//! Not here: sockets, clocks, configuration text. The caller passes `now_ms`.

pub mod key;
pub mod rate;
pub mod spec;
pub mod table;

pub use key::{Key, KeyBuf};
pub use rate::Rate;
pub use spec::{DataType, KeyType, StoredType, TableSpec};
pub use table::{AttachError, Counters, EntryIndex, Inserted, NextUpdate, Scan, Table};
