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

#[path = "fixtures/nodes.rs"]
pub mod nodes;

use burdock::peers::wire::{self, Frame};
use burdock::stick::{DataType, KeyType};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nodes::{full_table, lesson, pair, table, write};
use std::hint::black_box;
use std::time::Duration;

/// How the updates of the table are laid out. The nodes told each other when they met, before the lessons.
fn layout() -> wire::Layout {
    let stored = [DataType::ServerId, DataType::ServerKey].map(|data_type| wire::Announced {
        data_type: data_type as u32,
        elements: 1,
        period_ms: 0,
    });
    let mut out = [0; 256];
    let count = wire::encode_define(
        &mut out,
        1,
        b"app",
        KeyType::String,
        33,
        300_000,
        stored.into_iter(),
    );
    let bytes = &out[..count.expect("room")];
    match wire::decode_frame(bytes) {
        Ok(Some((Frame::Define(body), _))) => {
            wire::decode_define(body).ok().and_then(|it| it.layout)
        }
        _ => None,
    }
    .expect("a definition")
}

/// Takes all messages apart; the number of updates and of their values.
fn decode(bytes: &[u8], layout: &wire::Layout) -> (u32, u32) {
    let mut rest = bytes;
    let (mut updates, mut values) = (0, 0);
    while let Ok(Some((frame, taken))) = wire::decode_frame(rest) {
        if let Frame::Update(form, body) = frame {
            let update = wire::decode_update(form, body, layout).expect("well formed");
            updates += 1;
            values += black_box(update.fields().count()) as u32;
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
            decode(&bytes, &layout()),
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
            let layout = layout();
            bencher.iter(|| assert_eq!(decode(black_box(&bytes), &layout).0, entries));
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
