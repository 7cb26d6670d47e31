//! What burdock nodes say to each other beyond the protocol: whether their tables agree, and what was deleted.
//!
//! HAProxy is told nothing of it, and need not be. A dialler ends its hello with a word that everybody else ignores, behind the
//! numbers that everybody else ignores; only who sent that word is answered in this class, and only who was answered uses it.
//!
//! ```text
//! dialler                                       acceptor
//!   HAProxyS 2.1\n<acceptor>\n
//!   <dialler> <pid> 1 burdock/1\n     ──▶
//!                                     ◀──   200\n  HELLO          (to "burdock/…" only)
//!   HELLO                             ──▶
//!   DIGEST app                        ──▶   every 3 s, each table whose changes were all sent; both ways
//!                                     ◀──   DIGEST app
//!   REPAIR app                        ──▶   the same difference for some comparisons
//!                                     ◀──   DEFINE app  ENTRY …  DELETION …  REPAIRED app, count
//!   DELETION                          ──▶   live, in the order of updates, acknowledged like them
//! ```
//!
//! | type | name | body |
//! |---|---|---|
//! | 0x80 | HELLO | `vint` version; `u64be` the sender's clock |
//! | 0x81 | DIGEST | `vint` length, table's name; `vint` flags; `vint` expire_ms; `vint` entries; `u64be` keys, ids, names, the sender's clock |
//! | 0x82 | REPAIR | table's name: "send me all you have of it" |
//! | 0x83 | ENTRY | as UPDATE_TIMED, of the table defined last; id: the clock, its lowest bit: changed at the sender, not learnt |
//! | 0x84 | REPAIRED | `vint` entries sent, table's name |
//! | 0x85 | DELETION | `u32be` id, `u32be` ms since (the last 60 000 numbers: before), key as in updates, `u32be` the clock; of the table defined last |
//!
//! All are of class 0x62; other types are skipped, so a later version may add some. Flags of DIGEST: 1 everything that the
//! table was given is in it (nothing evicted or refused), 2 it stores `server_id`, 4 it stores `server_key`, in full.
//! Clocks are CLOCK_MONOTONIC in ms (modulo 2^32 in four bytes): how long a message was on its way is what it took longer than
//! the fastest one of the session, and is added to the ages in it.
//! Not here: what the digests are compared for (`group/agree`), how entries are merged (`receive/merge`).

use super::encode::BodyWriter;
use super::{EncodeError, MESSAGE_BYTES_MAX, Reader, WireError};
use crate::stick::Digest;

/// Class of all these messages.
pub(super) const CLASS: u8 = b'b';
/// The version that is spoken.
pub const VERSION: u64 = 1;
/// The head of an entry that is to be merged, in place of that of an update.
pub const ENTRY_HEAD: [u8; 2] = [CLASS, 0x83];
/// The head of a deletion, in place of that of an update.
pub const DELETION_HEAD: [u8; 2] = [CLASS, 0x85];

const COMPLETE: u64 = 1;
const HAS_IDS: u64 = 2;
const HAS_NAMES: u64 = 4;

/// A received message of the extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension<'a> {
    /// The peer speaks it, too: the version, and its clock.
    Hello(u64, u64),
    /// What a table of the peer holds.
    Digest(Report<'a>),
    /// The peer wants all entries of the table with this name.
    Repair(&'a [u8]),
    /// One of them, its body that of a timed update.
    Entry(&'a [u8]),
    /// All of them were sent; so many.
    Repaired(u64, &'a [u8]),
    /// A key was deleted; its body is that of a timed update without data.
    Deletion(&'a [u8]),
    /// Of a later version.
    Unknown,
}

/// What a node says of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report<'a> {
    /// The table's name on the wire.
    pub table: &'a [u8],
    /// Nothing that it was given was evicted or refused.
    pub complete: bool,
    /// It stores `server_id`.
    pub has_ids: bool,
    /// It stores `server_key`, and had room for all.
    pub has_names: bool,
    /// Its `expire`, 0 for none.
    pub expire_ms: u64,
    /// Entries.
    pub entries: u64,
    /// What it holds.
    pub digest: Digest,
    /// The sender's clock.
    pub clock_ms: u64,
}

/// Decodes a message of this class.
///
/// # Errors
/// `Protocol` if it is truncated.
pub fn decode(kind: u8, body: &[u8]) -> Result<Extension<'_>, WireError> {
    let mut reader = Reader::new(body);
    Ok(match kind {
        0x80 => Extension::Hello(reader.vint()?, reader.u64()?),
        0x81 => {
            let name_bytes = reader.vint()?;
            let table = reader.bytes(name_bytes)?;
            let flags = reader.vint()?;
            Extension::Digest(Report {
                table,
                complete: flags & COMPLETE != 0,
                has_ids: flags & HAS_IDS != 0,
                has_names: flags & HAS_NAMES != 0,
                expire_ms: reader.vint()?,
                entries: reader.vint()?,
                digest: Digest {
                    keys: reader.u64()?,
                    ids: reader.u64()?,
                    names: reader.u64()?,
                },
                clock_ms: reader.u64()?,
            })
        }
        0x82 => Extension::Repair(body),
        0x83 => Extension::Entry(body),
        0x84 => Extension::Repaired(reader.vint()?, reader.rest),
        0x85 => Extension::Deletion(body),
        _ => Extension::Unknown,
    })
}

/// Ages from here on are negative: the deletion is of an entry that was ahead of time (`stick::LEAD_MS_MAX`), and so is it.
const AGE_NEGATIVE: u32 = u32::MAX - 60_000;

/// The age of a deletion as it is sent.
pub fn deletion_age(now_ms: u64, deleted_ms: u64) -> u32 {
    let ahead_ms = deleted_ms.saturating_sub(now_ms).min(60_000) as u32;
    let age_ms = u32::try_from(now_ms.saturating_sub(deleted_ms)).unwrap_or(u32::MAX);
    match ahead_ms {
        0 => age_ms.min(AGE_NEGATIVE - 1),
        _ => ahead_ms.wrapping_neg(),
    }
}

/// When a deletion was made that has this age.
pub fn deleted_ms(now_ms: u64, age_ms: u32) -> u64 {
    match age_ms {
        ..AGE_NEGATIVE => now_ms.saturating_sub(u64::from(age_ms)),
        _ => now_ms + u64::from(age_ms.wrapping_neg()).min(crate::stick::LEAD_MS_MAX),
    }
}

/// Encodes a greeting; the number of bytes written.
///
/// # Errors
/// `NoRoom` if it does not fit.
pub fn encode_hello(out: &mut [u8], version: u64, clock_ms: u64) -> Result<usize, EncodeError> {
    let mut writer = BodyWriter::new(out);
    writer.vint(version);
    writer.bytes(&clock_ms.to_be_bytes());
    writer.finish_as([CLASS, 0x80])
}

/// Encodes a report; the number of bytes written.
///
/// # Errors
/// `NoRoom` if it does not fit.
pub fn encode_digest(out: &mut [u8], report: &Report<'_>) -> Result<usize, EncodeError> {
    let mut writer = BodyWriter::new(out);
    writer.vint(report.table.len() as u64);
    writer.bytes(report.table);
    writer.vint(
        u64::from(report.complete) * COMPLETE
            + u64::from(report.has_ids) * HAS_IDS
            + u64::from(report.has_names) * HAS_NAMES,
    );
    writer.vint(report.expire_ms);
    writer.vint(report.entries);
    let Digest { keys, ids, names } = report.digest;
    for number in [keys, ids, names, report.clock_ms] {
        writer.bytes(&number.to_be_bytes());
    }
    writer.finish_as([CLASS, 0x81])
}

/// Encodes the wish for all entries of a table; the number of bytes written.
///
/// # Errors
/// `NoRoom` if it does not fit.
pub fn encode_repair(out: &mut [u8], table: &[u8]) -> Result<usize, EncodeError> {
    let mut writer = BodyWriter::new(out);
    writer.bytes(&table[..table.len().min(MESSAGE_BYTES_MAX / 2)]);
    writer.finish_as([CLASS, 0x82])
}

/// Encodes that a table was sent in full; the number of bytes written.
///
/// # Errors
/// `NoRoom` if it does not fit.
pub fn encode_repaired(out: &mut [u8], entries: u64, table: &[u8]) -> Result<usize, EncodeError> {
    let mut writer = BodyWriter::new(out);
    writer.vint(entries);
    writer.bytes(&table[..table.len().min(MESSAGE_BYTES_MAX / 2)]);
    writer.finish_as([CLASS, 0x84])
}

#[cfg(test)]
mod tests {
    use super::super::{Frame, decode_frame};
    use super::*;

    fn check(message: &[u8], expected: Extension<'_>) {
        for end in 0..message.len() {
            assert_eq!(decode_frame(&message[..end]), Ok(None));
        }
        let Ok(Some((Frame::Extension(kind, body), taken))) = decode_frame(message) else {
            panic!("{message:x?}");
        };
        assert_eq!(taken, message.len());
        assert_eq!(decode(kind, body), Ok(expected));
    }

    #[test]
    fn deletions_have_ages_even_if_they_are_ahead_of_time() {
        for (now, deleted) in [(100, 100), (100, 0), (100_000, 103_000), (1 << 31, 0)] {
            assert_eq!(deleted_ms(now, deletion_age(now, deleted)), deleted);
        }
        assert!(deleted_ms(1 << 40, deletion_age(1 << 40, 0)) < 1 << 40);
        assert_eq!(deleted_ms(5, deletion_age(5, 1 << 40)), 30_005, "bounded");
    }

    #[test]
    fn messages_decode_to_what_was_encoded() {
        let mut out = [0; 200];
        let count = encode_hello(&mut out, 1, 7).unwrap();
        assert_eq!(&out[..count], b"b\x80\x09\x01\0\0\0\0\0\0\0\x07");
        check(&out[..count], Extension::Hello(1, 7));
        let report = Report {
            table: b"app",
            complete: true,
            has_ids: false,
            has_names: true,
            expire_ms: 1_800_000,
            entries: 5_000,
            digest: Digest {
                keys: u64::MAX,
                ids: 0,
                names: 0x0123_4567_89ab_cdef,
            },
            clock_ms: 1 << 40,
        };
        let count = encode_digest(&mut out, &report).unwrap();
        check(&out[..count], Extension::Digest(report));
        for short in 3..count {
            assert_eq!(decode(0x81, &out[3..short]), Err(WireError::Protocol));
            assert_eq!(
                encode_digest(&mut vec![0; short], &report),
                Err(EncodeError::NoRoom)
            );
        }
        let count = encode_repair(&mut out, b"app").unwrap();
        check(&out[..count], Extension::Repair(b"app"));
        let count = encode_repaired(&mut out, 240, b"app").unwrap();
        check(&out[..count], Extension::Repaired(240, b"app"));
        check(b"b\x90\x02xx", Extension::Unknown);
    }

    #[test]
    fn the_class_means_nothing_without_a_length() {
        assert_eq!(decode_frame(b"b\x00"), Ok(Some((Frame::Unknown, 2))));
    }
}
