//! The codec against the specification's tables and captures, and against itself.

use super::encode::encode_vint;
use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    hex.split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

fn vint(value: u64) -> Vec<u8> {
    let mut out = [0; VINT_BYTES_MAX];
    let count = encode_vint(value, &mut out);
    out[..count].to_vec()
}

#[test]
fn integers_are_encoded_as_the_table_says() {
    let check = |value: u64, hex: &str| {
        assert_eq!(vint(value), bytes(hex), "{value}");
        let encoded = bytes(hex);
        let mut reader = Reader::new(&encoded);
        assert_eq!(reader.vint(), Ok(value));
        assert!(reader.rest.is_empty());
    };
    check(0, "00");
    check(1, "01");
    check(239, "ef");
    check(240, "f0 00");
    check(241, "f1 00");
    check(255, "ff 00");
    check(256, "f0 01");
    check(2287, "ff 7f");
    check(2288, "f0 80 00");
    check(4660, "f4 94 01");
    check(264_431, "ff ff 7f");
    check(264_432, "f0 80 80 00");
    check(33_818_863, "ff ff ff 7f");
    check(33_818_864, "f0 80 80 80 00");
    check(2_147_483_647, "ff f0 fe fe 3e");
    check(2_147_483_648, "f0 f1 fe fe 3e");
    check(4_294_967_295, "ff f0 fe fe 7e");
    check(4_328_786_159, "ff ff ff ff 7f");
    check(4_328_786_160, "f0 80 80 80 80 00");
    check(1 << 53, "f0 f1 fe fe fe fe fe 7e");
    check(1 << 63, "f0 f1 fe fe fe fe fe fe fe 06");
    check(u64::MAX, "ff f0 fe fe fe fe fe fe fe 0e");
    for shift in 0..64 {
        for value in [1u64 << shift, (1 << shift) - 1, (1 << shift) + 1] {
            let encoded = vint(value);
            assert_eq!(Reader::new(&encoded).vint(), Ok(value));
            assert_eq!(
                Reader::new(&encoded[..encoded.len() - 1]).vint(),
                Err(WireError::Protocol)
            );
        }
    }
    assert_eq!(Reader::new(&[0xff; 20]).vint(), Err(WireError::Protocol));
}

#[test]
fn frames_are_taken_whole_and_within_bounds() {
    let check = |hex: &str, expected| assert_eq!(decode_frame(&bytes(hex)), expected, "{hex}");
    check("", Ok(None));
    check("00", Ok(None));
    check(
        "00 00",
        Ok(Some((Frame::Control(Control::ResyncRequest), 2))),
    );
    check(
        "00 04 00",
        Ok(Some((Frame::Control(Control::Heartbeat), 2))),
    );
    check("01 01", Ok(Some((Frame::Error(1), 2))));
    check("00 7f", Ok(Some((Frame::Unknown, 2))));
    check("00 80 01", Ok(None));
    check("00 80 01 55 00", Ok(Some((Frame::Unknown, 4))));
    check("07 85 00", Ok(Some((Frame::Unknown, 3))));
    check("0a 87 01 00", Ok(Some((Frame::Unknown, 4))));
    check(
        "0a 84 05 09 00 00 00 64",
        Ok(Some((Frame::Ack(&[9, 0, 0, 0, 100]), 8))),
    );
    check("0a 80 f0 00", Ok(None));
    check("0a 80 f0", Ok(None));
    check("0a 80 ff ff ff ff", Ok(None));
    check("0a 80 ff ff ff ff ff", Err(WireError::Protocol));
    check("ff 00", Err(WireError::Protocol));
    for (body, fits) in [
        (16379, true),
        (16380, false),
        (16384, false),
        (16385, false),
        (u32::MAX.into(), false),
    ] {
        let mut message = vec![10, 0x80];
        message.extend(vint(body));
        let expected = if fits {
            Ok(None)
        } else {
            Err(WireError::SizeLimit)
        };
        assert_eq!(decode_frame(&message), expected, "{body}");
    }
}

fn announced(list: &[(u32, u32, u32)]) -> impl Iterator<Item = Announced> + Clone {
    list.iter()
        .map(|&(data_type, elements, period_ms)| Announced {
            data_type,
            elements,
            period_ms,
        })
}

fn define(
    name: &[u8],
    key_type: KeyType,
    key_len: u64,
    expire_ms: u32,
    stored: &[(u32, u32, u32)],
) -> Vec<u8> {
    let mut out = [0; 1000];
    let count = encode_define(
        &mut out,
        1,
        name,
        key_type,
        key_len,
        expire_ms,
        announced(stored),
    )
    .unwrap();
    out[..count].to_vec()
}

#[test]
fn definitions_are_those_of_the_specification() {
    let sticky = define(
        b"bk_sess",
        KeyType::String,
        65,
        1_800_000,
        &[(0, 1, 0), (19, 1, 0)],
    );
    assert_eq!(
        sticky,
        bytes("0a 82 13 01 07 62 6b 5f 73 65 73 73 06 41 f1 f1 fe 00 f0 e5 ed 05")
    );
    let counters = define(
        b"/tint",
        KeyType::Integer,
        4,
        3_600_000,
        &[(2, 1, 0), (3, 1, 10_000), (6, 1, 0)],
    );
    assert_eq!(
        counters,
        bytes("0a 82 12 01 05 2f 74 69 6e 74 02 04 4c f0 d9 dc 0c 03 f0 e2 03")
    );
    let arrays = define(
        b"a",
        KeyType::Integer,
        4,
        0,
        &[(22, 3, 0), (23, 2, 0), (24, 4, 30_000)],
    );
    assert!(arrays.ends_with(&bytes("16 03 17 02 18 04 f0 c4 0d")));
    for message in [sticky, counters, arrays] {
        let Ok(Some((Frame::Define(body), taken))) = decode_frame(&message) else {
            panic!();
        };
        assert_eq!(taken, message.len());
        assert!(decode_define(body).unwrap().layout.is_some());
    }
}

#[test]
fn a_definition_is_judged_piece_by_piece() {
    let whole = bytes("01 07 62 6b 5f 73 65 73 73 06 41 f1 f1 fe 00 f0 e5 ed 05");
    for end in 0..15 {
        assert_eq!(
            decode_define(&whole[..end]).unwrap_err(),
            WireError::Protocol,
            "{end}"
        );
    }
    let old = decode_define(&whole[..15]).unwrap();
    assert_eq!(
        (old.name, old.key_type, old.key_len),
        (&b"bk_sess"[..], 6, 65)
    );
    assert!(old.layout.unwrap().expires);
    assert!(
        decode_define(&whole[..17]).unwrap().layout.is_none(),
        "half an expiry"
    );
    assert_eq!(
        decode_define(&bytes("01 00 06 41 00")).unwrap_err(),
        WireError::Protocol
    );
    let layout = |hex: &str| decode_define(&bytes(hex)).unwrap().layout;
    assert!(layout("01 01 61 02 04 08 00").is_none(), "no parameters");
    assert!(
        layout("01 01 61 02 04 08 00 04 0a").is_none(),
        "parameters of another type"
    );
    assert!(layout("01 01 61 02 04 08 00 03 0a").is_some());
    assert!(
        layout("01 01 61 03 04 01 00").is_none(),
        "an unused key type"
    );
    assert!(
        layout("01 01 61 f0 04 04 01 00").is_none(),
        "a key type beyond all"
    );
    let array = vint(1 << 22)
        .iter()
        .map(|byte| format!("{byte:02x} "))
        .collect::<String>();
    assert!(layout(&format!("01 01 61 02 04 {array} 00 16 64")).is_some());
    assert!(
        layout(&format!("01 01 61 02 04 {array} 00 16 65")).is_none(),
        "101 elements"
    );
    assert!(
        layout(&format!("01 01 61 02 04 {array}")).is_none(),
        "an array of no size"
    );
    let unknown = vint(1 << 40 | 1)
        .iter()
        .map(|byte| format!("{byte:02x} "))
        .collect::<String>();
    assert!(
        layout(&format!("01 01 61 02 04 {unknown} 00 28 01 02")).is_some(),
        "a newer sender"
    );
}

fn layout_of(key_type: KeyType, key_len: u64, stored: &[(u32, u32, u32)]) -> Layout {
    let message = define(b"t", key_type, key_len, 1000, stored);
    let Ok(Some((Frame::Define(body), _))) = decode_frame(&message) else {
        panic!();
    };
    decode_define(body).unwrap().layout.unwrap()
}

const EXPLICIT: UpdateForm = form(true, false);

#[test]
fn updates_come_back_as_they_were_written() {
    let stored = [
        (0, 1, 0),
        (3, 1, 10_000),
        (13, 1, 0),
        (19, 1, 0),
        (22, 3, 0),
        (24, 2, 5_000),
    ];
    let layout = layout_of(KeyType::String, 33, &stored);
    let rate = |seed: u32| Value::Rate {
        age_ms: seed.wrapping_mul(77_777),
        current: seed,
        previous: u32::MAX - seed,
    };
    let values = [
        Value::Unsigned(-1i64 as u64),
        rate(1),
        Value::Unsigned(u64::MAX),
        Value::String(128, b"app1"),
        Value::Unsigned(0),
        Value::Unsigned(239),
        Value::Unsigned(240),
        rate(2),
        rate(3),
    ];
    for expire_ms in [None, Some(5)] {
        let mut out = [0; 400];
        let mut writer = UpdateWriter::new(
            &mut out,
            0xffff_ffff,
            expire_ms,
            KeyType::String,
            33,
            b"key",
        );
        values.iter().for_each(|&value| writer.value(value));
        let count = writer.finish().unwrap();
        let Ok(Some((Frame::Update(form, body), taken))) = decode_frame(&out[..count]) else {
            panic!();
        };
        assert_eq!(
            (taken, form.explicit_id, form.timed),
            (count, true, expire_ms.is_some())
        );
        let update = decode_update(form, body, &layout).unwrap();
        assert_eq!(
            (update.id, update.expire_ms, update.key),
            (Some(u32::MAX), expire_ms, &b"key"[..])
        );
        assert_eq!(update.string, Some((128, &b"app1"[..])));
        assert_eq!(update_key(form, body, &layout), Some(&b"key"[..]));
        let key_end = body.len() - update.data.len();
        assert!((0..key_end).all(|end| update_key(form, &body[..end], &layout).is_none()));
        let read: Vec<Value<'_>> = update.fields().map(|field| field.value).collect();
        assert_eq!(read, values);
        let places: Vec<(u32, u32)> = update
            .fields()
            .map(|field| (field.data_type, field.element))
            .collect();
        assert_eq!(
            places,
            [
                (0, 0),
                (3, 0),
                (13, 0),
                (19, 0),
                (22, 0),
                (22, 1),
                (22, 2),
                (24, 0),
                (24, 1)
            ]
        );
        // Every truncation is noticed, and what a newer sender appends is not.
        for end in 0..body.len() {
            assert_eq!(
                decode_update(form, &body[..end], &layout).unwrap_err(),
                WireError::Protocol
            );
        }
        let mut longer = body.to_vec();
        longer.extend([0xff; 9]);
        assert!(decode_update(form, &longer, &layout).is_ok());
        // No room is noticed too, and leaves nothing half written that would be taken for a message.
        for room in 0..count {
            let mut writer =
                UpdateWriter::new(&mut out[..room], 1, expire_ms, KeyType::String, 33, b"key");
            values.iter().for_each(|&value| writer.value(value));
            assert!(
                room >= count - 2 || writer.finish() == Err(EncodeError::NoRoom),
                "{room}"
            );
        }
    }
}

#[test]
fn captured_updates_are_read() {
    let layout = layout_of(KeyType::String, 65, &[(0, 1, 0), (19, 1, 0)]);
    let read = |hex: &str| {
        let message = bytes(hex);
        let Ok(Some((Frame::Update(form, body), taken))) = decode_frame(&message) else {
            panic!();
        };
        assert_eq!(taken, message.len());
        let update = decode_update(form, body, &layout).unwrap();
        let values: Vec<String> = update
            .fields()
            .map(|field| format!("{:?}", field.value))
            .collect();
        (
            update.id,
            update.expire_ms,
            String::from_utf8_lossy(update.key).into_owned(),
            values.join(" "),
        )
    };
    let string = |slot, text: &[u8]| format!("{:?}", Value::String(slot, text));
    assert_eq!(
        read("0a 85 13 00 00 00 07 00 09 27 c0 04 6f 6c 64 31 02 04 01 02 73 32"),
        (
            Some(7),
            Some(600_000),
            "old1".into(),
            format!("Unsigned(2) {}", string(1, b"s2"))
        )
    );
    assert_eq!(
        read("0a 86 0c 00 07 a1 20 04 6f 6c 64 32 02 01 01"),
        (
            None,
            Some(500_000),
            "old2".into(),
            "Unsigned(2) Slot(1)".into()
        )
    );
}

#[test]
fn dictionary_entries_stay_within_their_bounds() {
    let layout = layout_of(KeyType::Integer, 4, &[(19, 1, 0)]);
    let read = |hex: &str| {
        let mut body = vec![0, 0, 0, 1, 0, 0, 0, 9];
        body.extend(bytes(hex));
        let update = decode_update(EXPLICIT, &body, &layout)?;
        let slot = update.fields().next().map(|field| match field.value {
            Value::Slot(slot) => (slot, None),
            Value::String(slot, string) => (slot, Some(string.len())),
            _ => (0, None),
        });
        Ok::<_, WireError>(slot.unwrap())
    };
    let malformed = Err(WireError::Protocol);
    assert_eq!(read("00"), Ok((0, None)));
    assert_eq!(read("01 01"), Ok((1, None)));
    assert_eq!(read("01 80"), Ok((128, None)));
    assert_eq!(read("04 01 02 73 31"), Ok((1, Some(2))));
    assert_eq!(read("02 01 00"), Ok((1, Some(0))));
    assert_eq!(
        read("05 01 02 73 31 55"),
        Ok((1, Some(2))),
        "more than we know of"
    );
    assert_eq!(read("01 00"), malformed, "slot 0");
    assert_eq!(read("01 81"), malformed, "slot 129");
    assert_eq!(read("04 81 02 73 31"), malformed, "slot 129 with a string");
    assert_eq!(
        read("04 01 03 73 31 55"),
        malformed,
        "a string beyond its data"
    );
    assert_eq!(read("05 01 02 73 31"), malformed, "data beyond the message");
    assert_eq!(read("01 f0"), malformed, "half a slot");
    assert_eq!(read(""), malformed);
}

#[test]
fn keys_are_padded_or_counted() {
    let mut out = [0; 64];
    let count = UpdateWriter::new(&mut out, 1, None, KeyType::Binary, 8, b"ABC")
        .finish()
        .unwrap();
    assert_eq!(
        out[..count],
        bytes("0a 80 0c 00 00 00 01 41 42 43 00 00 00 00 00")[..]
    );
    let layout = layout_of(KeyType::Binary, 8, &[]);
    let body = bytes("00 00 00 01 41 42 43 00 00 00 00 00");
    assert_eq!(
        decode_update(EXPLICIT, &body, &layout).unwrap().key,
        b"ABC\0\0\0\0\0"
    );
    assert!(decode_update(EXPLICIT, &body[..11], &layout).is_err());
    let string = layout_of(KeyType::String, 33, &[]);
    assert_eq!(
        decode_update(EXPLICIT, &bytes("00 00 00 01 00"), &string)
            .unwrap()
            .key,
        b""
    );
    assert!(decode_update(EXPLICIT, &bytes("00 00 00 01 02 41"), &string).is_err());
}

#[test]
fn the_longest_message_is_accepted_and_no_longer_one_is_made() {
    let mut out = vec![0; 40_000];
    let longest = MESSAGE_BYTES_MAX - 2 - 3 - 4 - 3; // head, length, id, key length
    for (key_bytes, fits) in [(longest, true), (longest + 1, false)] {
        let key = vec![b'k'; key_bytes];
        let written = UpdateWriter::new(&mut out, 1, None, KeyType::String, 16_384, &key).finish();
        if !fits {
            assert_eq!(written, Err(EncodeError::TooLong));
            continue;
        }
        assert_eq!(written, Ok(MESSAGE_BYTES_MAX));
        let Ok(Some((Frame::Update(..), taken))) = decode_frame(&out) else {
            panic!();
        };
        assert_eq!(taken, MESSAGE_BYTES_MAX);
        let short =
            UpdateWriter::new(&mut out[..16_000], 1, None, KeyType::String, 16_384, &key).finish();
        assert_eq!(short, Err(EncodeError::NoRoom));
    }
}

/// However an update is written, its bytes are the same.
#[test]
fn updates_with_encoded_values_are_the_same_updates() {
    let kept = [
        vec![],
        vec![Value::Unsigned(3), Value::NoString],
        vec![Value::Unsigned(-1i64 as u64), Value::String(128, b"app1")],
        vec![Value::String(1, b"a.name.that.just.fits.in.here")],
    ];
    let bytes: Vec<u8> = (1..=255).collect();
    for (values, expire_ms) in kept.iter().flat_map(|it| [(it, None), (it, Some(70_000))]) {
        let encoded = EncodedValues::new(values.iter().copied()).unwrap();
        for (key_type, key_bytes) in [(KeyType::Ip, 4), (KeyType::Ipv6, 16)]
            .into_iter()
            .chain((1..=SHORT_KEY_BYTES_MAX).map(|len| (KeyType::String, len)))
            .chain([(KeyType::Binary, 9)])
        {
            let key = &bytes[..key_bytes];
            let mut expected = [0; 400];
            let mut writer =
                UpdateWriter::new(&mut expected, 7, expire_ms, key_type, key_bytes, key);
            values.iter().for_each(|&value| writer.value(value));
            let count = writer.finish().unwrap();
            let fill = |room: &mut [u8]| {
                room.fill(0xee);
                room[..key_bytes].copy_from_slice(key);
            };
            let mut out = [0; 400];
            let id = (7, expire_ms);
            let quick = encode_update(&mut out, id, key_type, key_bytes, fill, &encoded);
            assert_eq!(quick, Some(count));
            assert_eq!(out[..count], expected[..count], "{key_type:?} {key_bytes}");
            for room in 0..count {
                let out = &mut out[..room];
                let quick = encode_update(out, id, key_type, key_bytes, fill, &encoded);
                assert_eq!(quick, None, "{room} bytes of room");
            }
        }
    }
    let encoded = EncodedValues::new(std::iter::empty()).unwrap();
    let mut out = [0; 600];
    let long = SHORT_KEY_BYTES_MAX + 1;
    let quick = encode_update(&mut out, (7, None), KeyType::String, long, |_| {}, &encoded);
    assert_eq!(quick, None, "a longer key");
    let longer = [Value::String(1, b"a.name.that.does.not.fit.in.here")];
    assert!(EncodedValues::new(longer.into_iter()).is_none());
}
