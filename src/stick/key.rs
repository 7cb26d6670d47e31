//! Keys in table form: bytes of the length and shape that the table's type asks for.
//!
//! | type | table form |
//! |---|---|
//! | ip, ipv6 | 4 or 16 bytes, network order |
//! | integer | 4 bytes, big endian |
//! | string | 1 to `key_len` bytes: cut at the first NUL, then at `key_len` |
//! | binary | `key_len` bytes: cut, or padded on the right with zeros |
//!
//! A [`Key`] borrows its bytes, so a lookup copies nothing; a [`KeyBuf`] owns them, for who must keep a key beyond the
//! life of the buffer that it was found in.
//! Invariant: a `Key` is never empty; an empty string or binary makes no key and so is never stored.
//! Not here: how a sample becomes a key of another type (sample).

use super::spec::{KeyType, TableSpec};
use std::ffi::CStr;
use std::fmt;

/// Longest key that a table can hold; longer `len` arguments are a configuration error.
pub const KEY_LEN_MAX: u32 = 16_384;

/// A key in table form, borrowed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    bytes: &'a [u8],
    /// Length with the padding; at least `bytes.len()`. What lies beyond `bytes` is zeros.
    len: u32,
}

impl<'a> Key<'a> {
    /// The key of `spec`'s type made of `bytes`: cut or padded for string and binary, taken as they are otherwise.
    ///
    /// `None`: the bytes make no key of this table (empty, or not 4 or 16 bytes where the type asks for them).
    pub fn new(spec: &TableSpec, bytes: &'a [u8]) -> Option<Key<'a>> {
        let limit = spec.key_len as usize;
        match spec.key_type {
            KeyType::Ip | KeyType::Integer if bytes.len() == 4 => Some(Key { bytes, len: 4 }),
            KeyType::Ipv6 if bytes.len() == 16 => Some(Key { bytes, len: 16 }),
            KeyType::Ip | KeyType::Integer | KeyType::Ipv6 => None,
            KeyType::String => {
                let bytes = &bytes[..bytes.len().min(limit)];
                // The standard library looks for it a word at a time.
                let end = CStr::from_bytes_until_nul(bytes).map_or(bytes.len(), CStr::count_bytes);
                (end > 0).then(|| Key {
                    bytes: &bytes[..end],
                    len: end as u32,
                })
            }
            KeyType::Binary => {
                let bytes = &bytes[..bytes.len().min(limit)];
                (!bytes.is_empty()).then_some(Key {
                    bytes,
                    len: spec.key_len,
                })
            }
        }
    }

    /// Length in bytes, padding included.
    pub fn padded_len(&self) -> usize {
        self.len as usize
    }

    /// The bytes before the padding: all of them, unless the key is a short binary.
    pub fn unpadded(&self) -> &'a [u8] {
        self.bytes
    }

    /// Eight bytes from `8 * index` on as a little-endian number, zeros beyond the end.
    #[inline]
    pub(super) fn word(&self, index: usize) -> u64 {
        match self.bytes.as_chunks::<8>().0.get(index) {
            Some(chunk) => u64::from_le_bytes(*chunk),
            None => self.last_word(index),
        }
    }

    /// The same where fewer than eight bytes are left.
    fn last_word(&self, index: usize) -> u64 {
        let rest = self.bytes.get(8 * index..).unwrap_or_default();
        match self.bytes.last_chunk::<8>() {
            // The end of a longer key: what lies before it is shifted out. No copy of a length that the compiler cannot know.
            Some(last) => {
                let others = 8 * (8 - rest.len() as u32);
                u64::from_le_bytes(*last).checked_shr(others).unwrap_or(0)
            }
            None => rest
                .iter()
                .rev()
                .fold(0, |word, &byte| word << 8 | u64::from(byte)),
        }
    }

    /// A copy that outlives the bytes.
    pub fn to_buf(&self) -> KeyBuf {
        let mut buf = KeyBuf::zeroed(self.padded_len());
        buf.bytes_mut()[..self.bytes.len()].copy_from_slice(self.bytes);
        buf
    }
}

/// Keys up to this length live inside a [`KeyBuf`]; longer ones, for which `len` must ask, are allocated.
const INLINE_BYTES: usize = 126;

/// A key in table form, owned. Up to 126 bytes it needs no allocation.
#[derive(Clone)]
pub struct KeyBuf(Repr);

#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; INLINE_BYTES] },
    Heap(Box<[u8]>),
}

impl KeyBuf {
    /// The key of `spec`'s type made of `bytes`, as [`Key::new`], copied.
    pub fn new(spec: &TableSpec, bytes: &[u8]) -> Option<KeyBuf> {
        Key::new(spec, bytes).map(|key| key.to_buf())
    }

    /// The key that an operator typed (`show table … key …`): a number, an address, or the bytes of a string or binary.
    pub fn parse(spec: &TableSpec, text: &str) -> Option<KeyBuf> {
        match spec.key_type {
            KeyType::Ip => KeyBuf::new(spec, &text.parse::<std::net::Ipv4Addr>().ok()?.octets()),
            KeyType::Ipv6 => KeyBuf::new(spec, &text.parse::<std::net::Ipv6Addr>().ok()?.octets()),
            KeyType::Integer => KeyBuf::new(spec, &text.parse::<u32>().ok()?.to_be_bytes()),
            KeyType::String | KeyType::Binary => KeyBuf::new(spec, text.as_bytes()),
        }
    }

    pub(super) fn zeroed(len: usize) -> KeyBuf {
        if len <= INLINE_BYTES {
            KeyBuf(Repr::Inline {
                len: len as u8,
                bytes: [0; INLINE_BYTES],
            })
        } else {
            KeyBuf(Repr::Heap(vec![0; len].into_boxed_slice()))
        }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Repr::Inline { len, bytes } => &mut bytes[..usize::from(*len)],
            Repr::Heap(bytes) => bytes,
        }
    }

    /// The key's bytes, padding included.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Heap(bytes) => bytes,
        }
    }

    /// Borrows it for a lookup.
    pub fn as_key(&self) -> Key<'_> {
        let bytes = self.as_bytes();
        Key {
            bytes,
            len: bytes.len() as u32,
        }
    }
}

impl fmt::Debug for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} bytes: {})", self.len, self.bytes.escape_ascii())
    }
}

impl fmt::Debug for KeyBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_key().fmt(f)
    }
}

impl PartialEq for KeyBuf {
    fn eq(&self, other: &KeyBuf) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for KeyBuf {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stick::tests::string_table;

    fn check(key_type: KeyType, key_len: u32, bytes: &[u8], expected: Option<&[u8]>) {
        let spec = TableSpec {
            key_type,
            key_len,
            ..string_table(1, 0)
        };
        let key = Key::new(&spec, bytes);
        let buf = KeyBuf::new(&spec, bytes);
        assert_eq!(
            buf.as_ref().map(KeyBuf::as_bytes),
            expected,
            "{key_type:?} {key_len} {bytes:?}"
        );
        let Some((key, buf)) = key.zip(buf) else {
            return;
        };
        assert_eq!(key.padded_len(), buf.as_bytes().len());
        for index in 0..key.padded_len().div_ceil(8) {
            assert_eq!(key.word(index), buf.as_key().word(index));
        }
    }

    #[test]
    fn words_are_the_bytes_and_zeros_behind_them() {
        let bytes: Vec<u8> = (1..=40).collect();
        for len in 1..=bytes.len() {
            let mut padded = bytes[..len].to_vec();
            padded.resize(64, 0);
            for spec_len in [len, 48] {
                let key = Key {
                    bytes: &bytes[..len],
                    len: spec_len as u32,
                };
                for (index, chunk) in padded.chunks_exact(8).enumerate() {
                    let word = u64::from_le_bytes(chunk.try_into().unwrap());
                    assert_eq!(key.word(index), word, "{len} bytes, word {index}");
                }
            }
        }
    }

    #[test]
    fn keys_take_the_form_of_their_table() {
        let ipv6 = [7; 16];
        check(KeyType::Ip, 4, &[127, 0, 0, 1], Some(&[127, 0, 0, 1]));
        check(KeyType::Ip, 4, &ipv6, None);
        check(KeyType::Ipv6, 16, &ipv6, Some(&ipv6));
        check(KeyType::Ipv6, 16, &[], None);
        check(KeyType::Integer, 4, &[0, 0, 0, 0], Some(&[0, 0, 0, 0]));
        check(KeyType::String, 5, b"", None);
        check(KeyType::String, 5, b"\0abc", None);
        check(KeyType::String, 5, b"ab\0c", Some(b"ab"));
        check(KeyType::String, 5, b"abcde", Some(b"abcde"));
        check(KeyType::String, 5, b"abcdef", Some(b"abcde"));
        check(KeyType::String, 300, &[b'x'; 299], Some(&[b'x'; 299]));
        check(KeyType::Binary, 5, b"", None);
        check(KeyType::Binary, 5, b"a\0c", Some(b"a\0c\0\0"));
        check(KeyType::Binary, 5, b"abcdef", Some(b"abcde"));
        check(KeyType::Binary, 9, b"abcdefgh", Some(b"abcdefgh\0"));
    }

    #[test]
    fn operators_type_keys_as_text() {
        let parse = |key_type, key_len, text| {
            let spec = TableSpec {
                key_type,
                key_len,
                ..string_table(1, 0)
            };
            KeyBuf::parse(&spec, text).map(|key| key.as_bytes().to_vec())
        };
        assert_eq!(parse(KeyType::Ip, 4, "10.0.0.7"), Some(vec![10, 0, 0, 7]));
        assert_eq!(parse(KeyType::Ip, 4, "10.0.0"), None);
        assert_eq!(parse(KeyType::Ipv6, 16, "::1").map(|key| key[15]), Some(1));
        assert_eq!(parse(KeyType::Integer, 4, "4294967295"), Some(vec![255; 4]));
        assert_eq!(parse(KeyType::Integer, 4, "-1"), None);
        assert_eq!(parse(KeyType::String, 4, "cookie"), Some(b"cook".to_vec()));
    }
}
