//! Fetches of a TLS hello in the bytes of a TCP stream: type, version, server name and other extensions (RFC 8446, 4.1 and 4.2).
//!
//! Nothing is decrypted: a hello is in the clear. Offsets come from the network, so every read is checked, and what reaches beyond the
//! bytes that have come is lacking, not wrong.
//!
//! Not here: TLS of our own; burdock has none.

use super::context::Context;
use super::fetch_raw::{Side, bytes, lacking};
use super::value::Sample;

/// Why there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It is no hello, or has no such part.
    Absent,
    /// It has extensions, and not this one.
    NoExtension,
    /// Bytes are lacking.
    Short,
}

const RECORD_BYTES: usize = 5;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const RANDOM_BYTES: usize = 32;

/// Reads what comes next.
#[derive(Clone, Copy)]
struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(Fault::Short)?;
        self.bytes = rest;
        Ok(taken)
    }

    /// A number of so many bytes.
    fn number(&mut self, width: usize) -> Result<usize, Fault> {
        let bytes = self.take(width)?;
        Ok(bytes
            .iter()
            .fold(0, |number, byte| (number << 8) | usize::from(*byte)))
    }

    /// Bytes behind their number, which has so many bytes.
    fn block(&mut self, width: usize) -> Result<&'a [u8], Fault> {
        let length = self.number(width)?;
        self.take(length)
    }
}

/// The handshake message that the stream begins with: its type, its length, and what has come of it.
fn handshake(bytes: &[u8]) -> Result<(u8, usize, Reader<'_>), Fault> {
    let mut reader = Reader { bytes };
    let header = reader.take(RECORD_BYTES)?;
    if header[0] != HANDSHAKE || header[1] < 3 {
        return Err(Fault::Absent);
    }
    let kind = reader.number(1)? as u8;
    let length = reader.number(3)?;
    Ok((kind, length, reader))
}

/// The type of a complete handshake message: 1 and 2 are hellos.
fn hello_type(bytes: &[u8]) -> Result<i64, Fault> {
    let (kind, length, reader) = handshake(bytes)?;
    match reader.bytes.len() < length {
        true => Err(Fault::Short),
        false => Ok(i64::from(kind)),
    }
}

/// The version that a complete record's hello asks for: major number times 65536, and the minor one.
fn version(bytes: &[u8]) -> Result<i64, Fault> {
    let pair = |pair: &[u8]| (i64::from(pair[0]) << 16) + i64::from(pair[1]);
    let mut reader = Reader { bytes };
    let header = reader.take(RECORD_BYTES)?;
    if header[0] & 0x80 != 0 && header[2] == CLIENT_HELLO {
        return old_version(bytes);
    }
    if header[0] != HANDSHAKE || header[1] < 3 {
        return Err(Fault::Absent);
    }
    let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
    let mut record = Reader {
        bytes: reader.take(length)?,
    };
    let in_record = |fault: Fault| match fault {
        Fault::Short => Fault::Absent,
        fault => fault,
    };
    record.take(4).map_err(in_record)?;
    Ok(pair(record.take(2).map_err(in_record)?))
}

/// The version of an SSLv2 hello, whose three lengths have to make up the record.
fn old_version(bytes: &[u8]) -> Result<i64, Fault> {
    let mut reader = Reader { bytes };
    let length = reader.number(2)? & 0x7fff;
    let mut record = Reader {
        bytes: reader.take(length)?,
    };
    let in_record = |_| Fault::Absent;
    record.take(1).map_err(in_record)?;
    let version = record.take(2).map_err(in_record)?;
    let ciphers = record.number(2).map_err(in_record)?;
    let session = record.number(2).map_err(in_record)?;
    let challenge = record.number(2).map_err(in_record)?;
    let is_whole = record.bytes.len() == ciphers + session + challenge;
    let is_sound = ciphers % 3 == 0 && matches!(session, 0 | 16) && (16..=32).contains(&challenge);
    match is_whole && is_sound {
        true => Ok((i64::from(version[0]) << 16) + i64::from(version[1])),
        false => Err(Fault::Absent),
    }
}

/// What an extension of a client hello holds.
fn extension(bytes: &[u8], wanted: usize) -> Result<&[u8], Fault> {
    let (kind, length, reader) = handshake(bytes)?;
    if kind != CLIENT_HELLO {
        return Err(Fault::Absent);
    }
    let is_whole = reader.bytes.len() >= length;
    let mut hello = Reader {
        bytes: &reader.bytes[..length.min(reader.bytes.len())],
    };
    // what a complete hello lacks will not come
    let lacking = |fault: Fault| match (fault, is_whole) {
        (Fault::Short, true) => Fault::Absent,
        (fault, _) => fault,
    };
    let mut find = || {
        hello.take(2 + RANDOM_BYTES)?;
        hello.block(1)?; // session
        hello.block(2)?; // ciphers
        hello.block(1)?; // compression
        let end = hello.number(2)?;
        let mut taken = 0;
        while taken < end {
            let number = hello.number(2)?;
            let content = hello.block(2)?;
            taken += 4 + content.len();
            if number == wanted {
                return Ok(content);
            }
        }
        Err(Fault::NoExtension)
    };
    find().map_err(lacking)
}

/// The host name of the extension `server_name`.
fn server_name(bytes: &[u8]) -> Result<&[u8], Fault> {
    let absent = |_| Fault::Absent;
    let mut content = Reader {
        bytes: extension(bytes, 0)?,
    };
    content.number(2).map_err(absent)?;
    match content.number(1).map_err(absent)? {
        0 => content.block(2).map_err(absent),
        _ => Err(Fault::Absent),
    }
}

/// The first protocol of the extension `application_layer_protocol_negotiation`.
fn first_protocol(bytes: &[u8]) -> Result<&[u8], Fault> {
    let absent = |_| Fault::Absent;
    let mut content = Reader {
        bytes: extension(bytes, 16)?,
    };
    content.number(2).map_err(absent)?;
    content.block(1).map_err(absent)
}

fn give<'a, T>(
    cx: &mut Context<'a>,
    found: Result<T, Fault>,
    sample: impl FnOnce(T) -> Sample<'a>,
) -> Option<Sample<'a>> {
    match found {
        Ok(value) => Some(sample(value)),
        Err(Fault::Absent | Fault::NoExtension) => None,
        Err(Fault::Short) => lacking(cx),
    }
}

/// `req.ssl_hello_type`, `res.ssl_hello_type`.
pub(super) fn kind<'a>(cx: &mut Context<'a>, side: Side) -> Option<Sample<'a>> {
    let found = hello_type(bytes(cx, side)?);
    give(cx, found, Sample::Int)
}

/// `req.ssl_ver`.
pub(super) fn asked_version<'a>(cx: &mut Context<'a>) -> Option<Sample<'a>> {
    let found = version(bytes(cx, Side::Request)?);
    give(cx, found, Sample::Int)
}

/// `req.ssl_sni`.
pub(super) fn sni<'a>(cx: &mut Context<'a>) -> Option<Sample<'a>> {
    let found = server_name(bytes(cx, Side::Request)?);
    give(cx, found, Sample::str)
}

/// `req.ssl_alpn`.
pub(super) fn alpn<'a>(cx: &mut Context<'a>) -> Option<Sample<'a>> {
    let found = first_protocol(bytes(cx, Side::Request)?);
    give(cx, found, Sample::str)
}

/// `req.ssl_ec_ext`: the extension `supported_groups` is there.
pub(super) fn curves<'a>(cx: &mut Context<'a>) -> Option<Sample<'a>> {
    let found = extension(bytes(cx, Side::Request)?, 10);
    give(cx, found, |_| Sample::Bool(true))
}

/// `req.ssl_st_ext`: 1 with the extension `session_ticket`, 2 with a ticket in it, 0 when there are only others.
pub(super) fn ticket<'a>(cx: &mut Context<'a>) -> Option<Sample<'a>> {
    let found = match extension(bytes(cx, Side::Request)?, 35) {
        Ok(content) => Ok(1 + i64::from(!content.is_empty())),
        Err(Fault::NoExtension) => Ok(0),
        Err(fault) => Err(fault),
    };
    give(cx, found, Sample::Int)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hello from its parts.
    fn hello(extensions: &[u8]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; RANDOM_BYTES]);
        body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
        let mut bytes = vec![HANDSHAKE, 3, 1];
        bytes.extend(((body.len() + 4) as u16).to_be_bytes());
        bytes.push(CLIENT_HELLO);
        bytes.extend(&(body.len() as u32).to_be_bytes()[1..]);
        bytes.extend(body);
        bytes
    }

    const EXTENSIONS: &[u8] = b"\0\x23\0\0\0\0\0\x06\0\x04\0\0\x01a\0\x10\0\x05\0\x03\x02h2";

    #[test]
    fn a_hello_says_what_it_asks_for() {
        let bytes = hello(EXTENSIONS);
        assert_eq!(hello_type(&bytes), Ok(1));
        assert_eq!(version(&bytes), Ok(0x30003));
        assert_eq!(server_name(&bytes), Ok(&b"a"[..]));
        assert_eq!(first_protocol(&bytes), Ok(&b"h2"[..]));
        assert_eq!(extension(&bytes, 35), Ok(&b""[..]));
        assert_eq!(extension(&bytes, 10), Err(Fault::NoExtension));
    }

    /// A piece of it is never another hello: each part is there or lacking, and nothing panics on any change of a byte.
    #[test]
    fn pieces_and_damage_are_no_hello() {
        let bytes = hello(EXTENSIONS);
        for length in 0..bytes.len() {
            let piece = &bytes[..length];
            assert_eq!(hello_type(piece), Err(Fault::Short), "{length}");
            assert_eq!(version(piece), Err(Fault::Short), "{length}");
            assert!(
                server_name(piece).is_ok_and(|name| name == b"a")
                    || server_name(piece) == Err(Fault::Short)
            );
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 2, 0x7f, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                let _ = (
                    hello_type(&damaged),
                    version(&damaged),
                    server_name(&damaged),
                );
                let _ = (first_protocol(&damaged), extension(&damaged, 10));
            }
        }
    }

    #[test]
    fn an_old_hello_has_a_version() {
        let mut bytes = vec![0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10];
        bytes.extend([1; 21 + 16]);
        assert_eq!(version(&bytes), Ok(2));
        bytes[6] = 0x14;
        assert_eq!(version(&bytes), Err(Fault::Absent));
    }
}
