//! The stick table: arena, key, data, index, expiry, update log.
//!
//! A [`Table`] is one shared memory (`layout`), written cell by cell (`cell`), whose first words say what is going on
//! (`header`). `entries` are the truth; `index` (by key, with `hash`), `expiry` (by time) and `update_log` (by change) are
//! derived from them, and `names` holds the strings that entries share. `positions` keeps how far peers have the table,
//! `digest` sums up what it holds, a `tombstone` is what a deleted entry leaves. `attach` takes over what another process left,
//! `carry` what another declaration left, `revive` what a file kept (with `proof`).
//!
//! Not here: sockets, clocks, configuration text. The caller passes `now_ms`.

mod attach;
mod carry;
mod cell;
mod check;
mod data;
mod digest;
mod entries;
mod expiry;
mod hash;
mod header;
mod index;
pub mod key;
mod layout;
mod names;
mod positions;
mod proof;
pub mod rate;
mod revive;
mod scan;
pub mod spec;
pub mod table;
mod tombstone;
pub mod tracked;
mod update_log;
mod watch;

pub use attach::AttachError;
pub use carry::{Carried, Carrier};
pub use digest::Digest;
pub use key::{Key, KeyBuf};
pub use positions::{Position, peer_digest};
pub use rate::Rate;
pub use revive::{Boot, Moment, ReviveError, Revived, bytes_in_file};
pub use scan::Scan;
pub use spec::{DataClass, DataType, KeyType, ServerKeyKind, StoredType, TableSpec};
pub use table::{Counters, EntryIndex, Inserted, KeyHash, NextUpdate, Table};
pub use tombstone::{LEAD_MS_MAX, LearntDeletion, SLACK_MS, Tombstone};
pub use tracked::Tracked;

/// Bytes of memory that a table of this declaration takes when it is full; nothing is created.
///
/// # Errors
/// The declaration is out of bounds.
pub fn bytes_needed(spec: &TableSpec) -> std::io::Result<u64> {
    Ok(layout::Layout::new(spec)?.bytes() as u64)
}

#[cfg(test)]
mod cases;
#[cfg(test)]
mod tests;
