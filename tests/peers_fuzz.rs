//! Damaged and malicious peers by the thousand, without sockets: valid streams, mutated where their structure is, go into a
//! group in pieces. Whatever comes: nothing panics, what we answer is the protocol, and the table stays sound.
//!
//! The seeds are fixed: `BURDOCK_FUZZ_SEED=<n>` runs one alone, `BURDOCK_FUZZ_SEEDS=<n>` so many.

use burdock::peers::group::{Group, Random, SessionId, Settings, StartState};
use burdock::peers::wire::{
    self, Announced, Control, Frame, MESSAGE_BYTES_MAX, UpdateWriter, Value,
};
use burdock::peers::{MemberSpec, PeersSpec};
use burdock::stick::spec::ServerKeyKind;
use burdock::stick::{DataType, KeyType, StoredType, Table, TableSpec};

const HELLO: &[u8] = b"HAProxyS 2.1\nus\nevil 77 1\n";

fn table() -> TableSpec {
    let stored = |data_type, elements, period_ms| StoredType {
        data_type,
        elements,
        period_ms,
    };
    TableSpec {
        name: "app".into(),
        wire_name: "app".into(),
        key_type: KeyType::String,
        key_len: 32,
        size: 64,
        expire_ms: 300_000,
        nopurge: false,
        expire_absolute: false,
        store: vec![
            stored(DataType::ServerId, 1, 0),
            stored(DataType::HttpReqRate, 1, 10_000),
            stored(DataType::ServerKey, 1, 0),
            stored(DataType::Gpt, 3, 0),
        ],
        server_key_kind: ServerKeyKind::Name,
        peers: Some("mesh".into()),
    }
}

fn group(seed: u64) -> Group {
    let member = |name: &str| MemberSpec {
        name: name.into(),
        address: None,
        ..MemberSpec::default()
    };
    let spec = PeersSpec {
        name: "mesh".into(),
        local_name: "us".into(),
        members: vec![member("us"), member("evil")],
        tables: vec![0],
        ..PeersSpec::default()
    };
    let settings = Settings {
        extension: true,
        updates_max: 50,
        pid: 1,
        seed,
        start: StartState::Fresh,
        fault: None,
    };
    Group::new(&spec, settings)
}

/// A valid message, and now and then one of a table whose definition is another.
fn message(random: &mut Random) -> Vec<u8> {
    let mut out = vec![0; MESSAGE_BYTES_MAX];
    let controls = [
        Control::ResyncRequest,
        Control::ResyncFinished,
        Control::ResyncPartial,
        Control::ResyncConfirm,
        Control::Heartbeat,
    ];
    let spec = table();
    let count = match random.below(8) {
        0 => wire::encode_control(&mut out, controls[random.below(5) as usize]),
        1 => wire::encode_ack(&mut out, 1, random.below(70) as u32),
        2 | 3 => wire::encode_define(
            &mut out,
            1 + random.below(3),
            if random.below(8) == 0 {
                b"other"
            } else {
                b"app"
            },
            KeyType::String,
            33,
            spec.expire_ms,
            spec.store
                .iter()
                .filter(|_| random.below(6) > 0)
                .collect::<Vec<_>>()
                .into_iter()
                .map(|stored| Announced {
                    data_type: stored.data_type as u32,
                    elements: stored.elements,
                    period_ms: stored.period_ms,
                }),
        ),
        _ => {
            let key = format!("key-{}", random.below(100));
            let lifetime = (random.below(2) == 0).then(|| random.below(400_000) as u32);
            let id = random.number() as u32;
            let mut writer =
                UpdateWriter::new(&mut out, id, lifetime, KeyType::String, 33, key.as_bytes());
            writer.value(Value::Unsigned(random.number() >> random.below(64)));
            writer.value(Value::Rate {
                age_ms: random.number() as u32,
                current: 7,
                previous: random.number() as u32,
            });
            let slot = 1 + random.below(128) as u8;
            writer.value(match random.below(3) {
                0 => Value::NoString,
                1 => Value::Slot(slot),
                _ => Value::String(slot, b"server"),
            });
            for _ in 0..3 {
                writer.value(Value::Unsigned(random.below(1 << 40)));
            }
            writer.finish()
        }
    };
    out.truncate(count.expect("room for every message"));
    out
}

/// Damages a message where it hurts: its type, its lengths, its end.
fn mutate(message: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(message.len() as u64) as usize;
    let head = random.below(message.len().min(12) as u64) as usize;
    match random.below(7) {
        0 => message[at] ^= 1 << random.below(8),
        1 => message[head] = [0, 1, 0x7f, 0x80, 0xef, 0xf0, 0xff][random.below(7) as usize],
        2 => message.truncate(at + 1),
        3 => message.insert(at, random.number() as u8),
        4 => {
            message.splice(head..head, [0xff; 9]); // a number that does not end
        }
        5 => {
            let copy = message[at..].to_vec();
            message.extend(copy);
        }
        _ => message[0] = [0, 1, 9, 10, 255][random.below(5) as usize],
    }
}

/// Takes what the group has to say; all of it is whole messages behind the greeting.
fn answer(group: &mut Group, id: SessionId, now_ms: u64, tables: &mut [Table], all: &mut Vec<u8>) {
    for room in [100, MESSAGE_BYTES_MAX] {
        let mut out = vec![0; room];
        let count = group.poll_output(id, &mut out, now_ms, tables);
        assert!(count <= room);
        all.extend(&out[..count]);
    }
}

fn check_answer(all: &[u8], seed: u64) {
    let Some(mut rest) = all.strip_prefix(b"200\n") else {
        return assert!(all.is_empty(), "seed {seed}: {all:?}");
    };
    while !rest.is_empty() {
        match wire::decode_frame(rest) {
            Ok(Some((frame, taken))) => {
                assert_ne!(frame, Frame::Unknown, "seed {seed}");
                rest = &rest[taken..];
            }
            other => panic!("seed {seed}: what we sent is not the protocol: {other:?}"),
        }
    }
}

/// The entries that the table took in its time, and how many sessions ended with the protocol's error.
fn run(seed: u64) -> (u32, u32) {
    let mut errors = 0;
    let mut random = Random::new(seed);
    let mut tables = [Table::create(&table(), [seed, 1], 0).expect("cannot create a table")];
    let mut group = group(seed);
    let mut now_ms = 0;
    group.start(now_ms, &mut tables);
    for _ in 0..3 {
        let mut stream = HELLO.to_vec();
        for _ in 0..random.below(60) {
            let mut message = message(&mut random);
            if random.below(12) == 0 {
                mutate(&mut message, &mut random);
            }
            stream.extend(message);
        }
        let Some(id) = group.accepted(None, now_ms, &mut tables) else {
            panic!("seed {seed}: not accepted");
        };
        let (mut taken, mut arrived) = (0, 0);
        let mut said = Vec::new();
        while arrived < stream.len() {
            arrived += 1 + random.below((stream.len() - arrived) as u64) as usize;
            loop {
                let consumed = group.handle_input(id, &stream[taken..arrived], now_ms, &mut tables);
                taken += consumed.bytes;
                assert!(taken <= arrived, "seed {seed}");
                answer(&mut group, id, now_ms, &mut tables, &mut said);
                if !consumed.more {
                    break;
                }
            }
            now_ms += random.below(4_000);
            group.handle_timeout(now_ms, &mut tables);
            tables[0].expire(now_ms, 10);
        }
        check_answer(&said, seed);
        errors += u32::from(said.ends_with(&[1, 0]) || said.ends_with(&[1, 1]));
        now_ms += 20_000; // it is given up
        group.handle_timeout(now_ms, &mut tables);
        while group.poll_action().is_some() {}
        while group.poll_event().is_some() {}
    }
    if let Err(error) = tables[0].check_invariants() {
        panic!("seed {seed}: {error}");
    }
    (tables[0].used(), errors)
}

#[test]
fn mutated_streams_harm_nothing() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let Some(seed) = number("BURDOCK_FUZZ_SEED") {
        run(seed);
        return;
    }
    let seeds = number("BURDOCK_FUZZ_SEEDS").unwrap_or(1_500);
    let (mut entries, mut errors) = (0, 0);
    for (used, failed) in (0..seeds).map(run) {
        entries += u64::from(used);
        errors += u64::from(failed);
    }
    // Damage does not keep all of it at the door, and much of it is noticed.
    assert!(entries > 5 * seeds, "{entries} entries");
    assert!(errors > seeds / 2, "{errors} errors");
}
