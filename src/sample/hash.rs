//! Hash functions of the converters and of `base32`. None of them is secret or resists an attacker.

/// SDBM: each byte is added to the hash times 65599.
pub(super) fn sdbm(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |hash: u32, byte| {
        hash.wrapping_mul(65599).wrapping_add(u32::from(*byte))
    })
}

/// DJB2: each byte is added to the hash times 33.
pub(super) fn djb2(bytes: &[u8]) -> u32 {
    bytes.iter().fold(5381, |hash: u32, byte| {
        hash.wrapping_mul(33).wrapping_add(u32::from(*byte))
    })
}

/// Spreads every bit over all bits: Bob Jenkins's integer hash (burtleburtle.net/bob/hash/integer.html); then the two low
/// bits, three times, are added to the two high ones, as HAProxy's results show.
pub(super) fn avalanche(mut a: u32) -> u32 {
    a = a.wrapping_add(a << 12).wrapping_add(0x7ed5_5d16);
    a = (a ^ 0xc761_c23c) ^ (a >> 19);
    a = a.wrapping_add(0x1656_67b1).wrapping_add(a << 5);
    a = a.wrapping_add(0xd3a2_646c) ^ (a << 9);
    a = a.wrapping_add(0xfd70_46c5).wrapping_add(a << 3);
    ((a ^ 0xb55a_4f09) ^ (a >> 16)).wrapping_mul(0xc000_0001)
}

/// CRC-32 with a reflected polynomial: 0xedb88320 as in Ethernet and gzip, 0x82f63b78 for CRC-32C.
pub(super) fn crc32(bytes: &[u8], polynomial: u32) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (polynomial & (crc & 1).wrapping_neg())
        })
    })
}

const XXH32: [u32; 5] = [
    0x9e37_79b1,
    0x85eb_ca77,
    0xc2b2_ae3d,
    0x27d4_eb2f,
    0x1656_67b1,
];

/// XXH32 (xxhash.com, specification 0.1.1).
pub(super) fn xxh32(bytes: &[u8], seed: u32) -> u32 {
    let [p1, p2, p3, p4, p5] = XXH32;
    let (stripes, mut rest) = bytes.split_at(bytes.len() - bytes.len() % 16);
    let mut hash = if stripes.is_empty() {
        seed.wrapping_add(p5)
    } else {
        let mut lanes = [
            seed.wrapping_add(p1).wrapping_add(p2),
            seed.wrapping_add(p2),
            seed,
            seed.wrapping_sub(p1),
        ];
        for stripe in stripes.chunks_exact(16) {
            for (lane, word) in lanes.iter_mut().zip(stripe.chunks_exact(4)) {
                *lane = lane
                    .wrapping_add(le32(word).wrapping_mul(p2))
                    .rotate_left(13)
                    .wrapping_mul(p1);
            }
        }
        let [a, b, c, d] = lanes;
        let mix = a.rotate_left(1).wrapping_add(b.rotate_left(7));
        mix.wrapping_add(c.rotate_left(12))
            .wrapping_add(d.rotate_left(18))
    };
    hash = hash.wrapping_add(bytes.len() as u32);
    while rest.len() >= 4 {
        hash = hash
            .wrapping_add(le32(&rest[..4]).wrapping_mul(p3))
            .rotate_left(17)
            .wrapping_mul(p4);
        rest = &rest[4..];
    }
    for byte in rest {
        hash = hash
            .wrapping_add(u32::from(*byte).wrapping_mul(p5))
            .rotate_left(11)
            .wrapping_mul(p1);
    }
    hash = (hash ^ (hash >> 15)).wrapping_mul(p2);
    hash = (hash ^ (hash >> 13)).wrapping_mul(p3);
    hash ^ (hash >> 16)
}

const XXH64: [u64; 5] = [
    0x9e37_79b1_85eb_ca87,
    0xc2b2_ae3d_27d4_eb4f,
    0x1656_67b1_9e37_79f9,
    0x85eb_ca77_c2b2_ae63,
    0x27d4_eb2f_1656_67c5,
];

/// XXH64 (same specification).
pub(crate) fn xxh64(bytes: &[u8], seed: u64) -> u64 {
    let [p1, p2, p3, p4, p5] = XXH64;
    let round = |lane: u64, word: u64| {
        lane.wrapping_add(word.wrapping_mul(p2))
            .rotate_left(31)
            .wrapping_mul(p1)
    };
    let whole = bytes.len() - bytes.len() % 32;
    let (stripes, mut rest) = bytes.split_at(whole);
    let mut hash = if stripes.is_empty() {
        seed.wrapping_add(p5)
    } else {
        let mut lanes = [
            seed.wrapping_add(p1).wrapping_add(p2),
            seed.wrapping_add(p2),
            seed,
            seed.wrapping_sub(p1),
        ];
        for stripe in stripes.chunks_exact(32) {
            for (lane, word) in lanes.iter_mut().zip(stripe.chunks_exact(8)) {
                *lane = round(*lane, le64(word));
            }
        }
        let [a, b, c, d] = lanes;
        let mix = a.rotate_left(1).wrapping_add(b.rotate_left(7));
        let mix = mix
            .wrapping_add(c.rotate_left(12))
            .wrapping_add(d.rotate_left(18));
        lanes.iter().fold(mix, |hash, lane| {
            (hash ^ round(0, *lane)).wrapping_mul(p1).wrapping_add(p4)
        })
    };
    hash = hash.wrapping_add(bytes.len() as u64);
    while rest.len() >= 8 {
        hash = (hash ^ round(0, le64(&rest[..8])))
            .rotate_left(27)
            .wrapping_mul(p1)
            .wrapping_add(p4);
        rest = &rest[8..];
    }
    if rest.len() >= 4 {
        hash = (hash ^ u64::from(le32(&rest[..4])).wrapping_mul(p1))
            .rotate_left(23)
            .wrapping_mul(p2)
            .wrapping_add(p3);
        rest = &rest[4..];
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte).wrapping_mul(p5))
            .rotate_left(11)
            .wrapping_mul(p1);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(p2);
    hash = (hash ^ (hash >> 29)).wrapping_mul(p3);
    hash ^ (hash >> 32)
}

/// Little-endian word of at most 4 bytes.
fn le32(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .rev()
        .fold(0, |word, byte| (word << 8) | u32::from(*byte))
}

/// Little-endian word of at most 8 bytes.
fn le64(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |word, byte| (word << 8) | u64::from(*byte))
}
