//! SipHash-1-3, the keyed hash of the index.
//!
//! Why this one: keys come from clients, and who does not know the hash key cannot choose keys that collide. The standard
//! library has the same function but neither promises it nor lets one give the key, and the index outlives a process.

/// Hashes `len` bytes that come eight at a time, little endian, zeros beyond the end; `words(len / 8)` is the last asked for.
#[inline]
pub(super) fn hash(key: [u64; 2], len: usize, words: impl Fn(usize) -> u64) -> u64 {
    let mut v = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    for index in 0..len / 8 {
        mix_in(&mut v, words(index));
    }
    let tail = if len.is_multiple_of(8) {
        0
    } else {
        words(len / 8)
    };
    mix_in(&mut v, tail | (len as u64) << 56);
    v[2] ^= 0xff;
    for _ in 0..3 {
        round(&mut v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

#[inline]
fn mix_in(v: &mut [u64; 4], word: u64) {
    v[3] ^= word;
    round(v);
    v[0] ^= word;
}

#[inline]
fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasher, Hasher};

    fn hash_bytes(key: [u64; 2], bytes: &[u8]) -> u64 {
        hash(key, bytes.len(), |index| {
            let mut word = [0; 8];
            let rest = &bytes[8 * index..];
            let count = rest.len().min(8);
            word[..count].copy_from_slice(&rest[..count]);
            u64::from_le_bytes(word)
        })
    }

    /// `DefaultHasher::new()` is SipHash-1-3 with a zero key.
    #[test]
    fn equals_the_standard_library() {
        let oracle = std::hash::BuildHasherDefault::<std::hash::DefaultHasher>::default();
        let bytes: Vec<u8> = (0..100u8).map(|byte| byte.wrapping_mul(7)).collect();
        for len in 0..bytes.len() {
            let mut hasher = oracle.build_hasher();
            hasher.write(&bytes[..len]);
            assert_eq!(
                hash_bytes([0, 0], &bytes[..len]),
                hasher.finish(),
                "{len} bytes"
            );
        }
    }

    #[test]
    fn the_key_matters() {
        assert_ne!(
            hash_bytes([0, 1], b"burdock"),
            hash_bytes([0, 2], b"burdock")
        );
        assert_ne!(
            hash_bytes([1, 0], b"burdock"),
            hash_bytes([2, 0], b"burdock")
        );
    }
}
