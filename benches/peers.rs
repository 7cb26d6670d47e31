//! What does an entry cost on its way to a peer: encoded for a lesson, decoded, applied to the peer's table?
//!
//! * `encode`: a lesson of the whole table by a real session, per entry. Floor: copying as many bytes.
//! * `decode`: the messages of a lesson taken apart down to their last value. Floor: adding up as many bytes.
//! * `apply`: the same messages handed to a session, which writes them into its table. Floor: the table's own calls for as many
//!   entries (`lookup_or_insert`, `set_server`, `touch_remote`), without a message.
//!
//! All on tables of 1,024 and of 262,144 entries (a session cookie, server_id, server_key); `cargo bench --bench peers`. Every case
//! checks its answers: as many entries arrive as were sent, and both tables have the same digest.

#![allow(missing_docs)] // criterion's macro makes a public function

use burdock::peers::group::{Action, Group, SessionId, Settings, StartState};
use burdock::peers::wire::{self, Frame};
use burdock::peers::{MemberSpec, PeersSpec};
use burdock::stick::{DataType, Key, KeyType, ServerKeyKind, StoredType, Table, TableSpec};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::Duration;

const NOW_MS: u64 = 1_000_000;

fn table(entries: u32) -> Table {
    let stored = |data_type| StoredType {
        data_type,
        elements: 1,
        period_ms: 0,
    };
    let spec = TableSpec {
        name: "app".to_string(),
        wire_name: "app".to_string(),
        key_type: KeyType::String,
        key_len: 32,
        size: entries,
        expire_ms: 300_000,
        nopurge: false,
        expire_absolute: false,
        store: vec![stored(DataType::ServerId), stored(DataType::ServerKey)],
        server_key_kind: ServerKeyKind::Name,
        peers: Some("mesh".to_string()),
    };
    Table::create(&spec, [1, 2], NOW_MS).expect("memory")
}

fn cookie(number: u32) -> [u8; 26] {
    let mut bytes = *b"session-------------------";
    let mixed = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bytes[10..26].copy_from_slice(format!("{mixed:016x}").as_bytes());
    bytes
}

fn write(table: &mut Table, number: u32) {
    let bytes = cookie(number);
    let key = Key::new(table.spec(), &bytes).expect("a key");
    let entry = table.lookup_or_insert(key, NOW_MS).expect("room").entry();
    let server: &[u8] = if number % 2 == 0 { b"app1" } else { b"app2" };
    table.set_server(entry, 1 + (number % 2) as i32, Some(server));
    table.touch_remote(entry, NOW_MS, Some(200_000));
}

fn full_table(entries: u32) -> Table {
    let mut table = table(entries);
    for number in 0..entries {
        write(&mut table, number);
    }
    assert_eq!(table.used(), entries);
    table
}

/// A node with one table, and its session with the other one.
struct Node {
    group: Group,
    tables: [Table; 1],
    session: Option<SessionId>,
}

impl Node {
    fn new(name: &str, table: Table) -> Node {
        let member = |name: &str| MemberSpec {
            name: name.into(),
            address: Some(burdock::net::Address::Abstract(name.into())),
            ..MemberSpec::default()
        };
        let section = PeersSpec {
            name: "mesh".into(),
            local_name: name.into(),
            members: vec![member("a"), member("b")],
            tables: vec![0],
            ..PeersSpec::default()
        };
        let settings = Settings {
            updates_max: 200,
            pid: 1,
            seed: 7,
            start: StartState::Complete,
            extension: false,
            fault: None,
        };
        let mut node = Node {
            group: Group::new(&section, settings),
            tables: [table],
            session: None,
        };
        node.group.start(NOW_MS, &mut node.tables);
        node
    }

    fn give(&mut self, bytes: &[u8]) {
        let session = self.session.expect("a session");
        let mut rest = bytes;
        loop {
            let consumed = self
                .group
                .handle_input(session, rest, NOW_MS, &mut self.tables);
            rest = &rest[consumed.bytes..];
            if !consumed.more {
                break;
            }
        }
        assert!(rest.is_empty(), "whole messages were given");
    }

    /// Everything that it has to say.
    fn say(&mut self, out: &mut Vec<u8>) {
        let session = self.session.expect("a session");
        let mut buffer = [0; 32 * 1024];
        loop {
            let count = self
                .group
                .poll_output(session, &mut buffer, NOW_MS, &mut self.tables);
            if count == 0 {
                break;
            }
            out.extend_from_slice(&buffer[..count]);
        }
    }
}

/// Two nodes with a session between them.
fn pair(first: Table, second: Table) -> (Node, Node) {
    let (mut a, mut b) = (Node::new("a", first), Node::new("b", second));
    let mut now_ms = NOW_MS;
    while a.session.is_none() {
        now_ms += 10;
        a.group.handle_timeout(now_ms, &mut a.tables);
        if let Some(Action::Dial { session, .. }) = a.group.poll_action() {
            a.group.connected(session);
            a.session = Some(session);
        }
    }
    b.session = b.group.accepted(NOW_MS, &mut b.tables);
    for _ in 0..3 {
        let mut bytes = Vec::new();
        a.say(&mut bytes);
        b.give(&bytes);
        bytes.clear();
        b.say(&mut bytes);
        a.give(&bytes);
    }
    (a, b)
}

const REQUEST: [u8; 2] = [0, 0];
const CONFIRM: [u8; 2] = [0, 3];

/// One whole lesson.
fn lesson(teacher: &mut Node, out: &mut Vec<u8>) {
    out.clear();
    teacher.give(&REQUEST);
    teacher.say(out);
    teacher.give(&CONFIRM);
}

/// Takes all messages apart; the number of updates and of their values.
fn decode(bytes: &[u8]) -> (u32, u32) {
    let (mut rest, mut layout) = (bytes, None);
    let (mut updates, mut values) = (0, 0);
    while let Ok(Some((frame, taken))) = wire::decode_frame(rest) {
        match frame {
            Frame::Define(body) => layout = wire::decode_define(body).ok().and_then(|it| it.layout),
            Frame::Update(form, body) => {
                let layout = layout.as_ref().expect("a definition comes first");
                let update = wire::decode_update(form, body, layout).expect("well formed");
                updates += 1;
                values += black_box(update.fields().count()) as u32;
            }
            _ => {}
        }
        rest = &rest[taken..];
    }
    (updates, values)
}

fn peers(criterion: &mut Criterion) {
    for entries in [1 << 10, 1 << 18] {
        let mut group = criterion.benchmark_group("peers");
        group
            .sample_size(10)
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(1))
            .throughput(Throughput::Elements(u64::from(entries)));
        let (mut a, mut b) = pair(full_table(entries), table(entries));
        let mut bytes = Vec::new();
        lesson(&mut a, &mut bytes);
        assert_eq!(
            decode(&bytes),
            (entries, 2 * entries),
            "all, with their data"
        );
        b.give(&bytes);
        assert_eq!(b.tables[0].digest(), a.tables[0].digest());

        let mut out = Vec::with_capacity(bytes.len());
        group.bench_function(BenchmarkId::new("encode", entries), |bencher| {
            bencher.iter(|| lesson(&mut a, &mut out));
        });
        assert_eq!(out.len(), bytes.len());
        group.bench_function(
            BenchmarkId::new("encode, floor: copy", entries),
            |bencher| {
                bencher.iter(|| {
                    out.clear();
                    out.extend_from_slice(black_box(&bytes));
                });
            },
        );
        group.bench_function(BenchmarkId::new("decode", entries), |bencher| {
            bencher.iter(|| assert_eq!(decode(black_box(&bytes)).0, entries));
        });
        group.bench_function(BenchmarkId::new("decode, floor: add", entries), |bencher| {
            bencher.iter(|| {
                black_box(&bytes)
                    .iter()
                    .map(|&byte| u64::from(byte))
                    .sum::<u64>()
            });
        });
        group.bench_function(BenchmarkId::new("apply", entries), |bencher| {
            bencher.iter(|| b.give(&bytes));
        });
        assert_eq!(b.tables[0].used(), entries);
        let mut floor = full_table(entries);
        group.bench_function(
            BenchmarkId::new("apply, floor: table", entries),
            |bencher| {
                bencher.iter(|| (0..entries).for_each(|number| write(&mut floor, number)));
            },
        );
        assert_eq!(floor.digest(), b.tables[0].digest());
        group.finish();
    }
}

criterion_group!(benches, peers);
criterion_main!(benches);
