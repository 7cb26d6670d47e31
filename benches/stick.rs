//! What does a stick table cost a request, and how much of it is the memory's own latency?
//!
//! Each case runs on a table of 1,024 and of 1,048,576 entries (10,485,760 with `BURDOCK_BENCH_HUGE=1`), keys in random
//! order. Floor: reading one random cache line of as much memory as the table's entries have, its address known only from the
//! line before. A table needs at least two such lines: index and entry.
//! `cargo bench --bench stick`; every case checks its answers.

#![allow(missing_docs)] // criterion's macro makes a public function

#[path = "fixtures/table.rs"]
pub mod table;

use burdock::stick::{Inserted, Key, NextUpdate, Table, TableSpec};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::Duration;
use table::{EXPIRE_MS, cookie, full_table, insert, scramble};

fn attach(table: &Table, expire_ms: u32) {
    let fd = table
        .memory_fd()
        .try_clone_to_owned()
        .expect("a descriptor");
    let spec = TableSpec {
        expire_ms,
        ..table.spec().clone()
    };
    let again = Table::attach(fd, &spec, u64::from(EXPIRE_MS) / 2).expect("it is a table");
    assert_eq!(again.used(), table.used());
}

fn sizes() -> Vec<u32> {
    let mut sizes = vec![1 << 10, 1 << 20];
    if std::env::var_os("BURDOCK_BENCH_HUGE").is_some() {
        sizes.push(10 << 20);
    }
    sizes
}

/// One case: `run(state, n)` does the nth operation.
fn case<S>(
    criterion: &mut Criterion,
    name: &str,
    size: u32,
    state: &mut S,
    mut run: impl FnMut(&mut S, u64),
) {
    let mut count = 0;
    criterion.bench_with_input(BenchmarkId::new(name, size), &size, |bencher, _| {
        bencher.iter(|| {
            count += 1;
            run(state, count);
        });
    });
}

fn benches(criterion: &mut Criterion) {
    for size in sizes() {
        let random = move |count: u64| scramble(count) % u64::from(size);
        let mut lines = vec![[1u64; 8]; size as usize];
        let mut at = 0;
        case(
            criterion,
            "floor: a random line",
            size,
            &mut lines,
            |lines, count| {
                at = random(count + lines[at as usize][0]);
            },
        );
        black_box(at);
        drop(lines);
        case(
            criterion,
            "floor: making a key",
            size,
            &mut (),
            |_, count| {
                black_box(cookie(random(count)));
            },
        );

        let mut table = full_table(size);
        let start_ms = u64::from(EXPIRE_MS) / 2;
        case(
            criterion,
            "lookup, found",
            size,
            &mut table,
            |table, count| {
                let bytes = cookie(random(count));
                let key = Key::new(table.spec(), &bytes).expect("a key");
                assert!(table.lookup(key, start_ms).is_some());
            },
        );
        case(
            criterion,
            "lookup, not there",
            size,
            &mut table,
            |table, count| {
                let bytes = cookie(random(count) + u64::from(size));
                let key = Key::new(table.spec(), &bytes).expect("a key");
                assert!(table.lookup(key, start_ms).is_none());
            },
        );
        // A stick-on request: find, read the server, touch. 20 of them a millisecond; what a peer would read is read.
        let mut position = table.local_update_id();
        let mut now_ms = start_ms;
        case(
            criterion,
            "lookup and touch",
            size,
            &mut table,
            |table, count| {
                now_ms = now_ms.max(start_ms + count / 20);
                let bytes = cookie(random(count));
                let key = Key::new(table.spec(), &bytes).expect("a key");
                let found = table.lookup(key, start_ms);
                let entry = found.expect("it is there");
                black_box(table.server(entry));
                table.touch_local(entry, now_ms);
                table.set_pushed(table.local_update_id());
            },
        );
        case(
            criterion,
            "reading the update log",
            size,
            &mut table,
            |table, _| {
                if table.is_behind(position) || position == table.local_update_id() {
                    position = table.local_update_id().wrapping_sub(size / 2);
                }
                match table.next_update(position, 64) {
                    NextUpdate::Update(id, entry) => {
                        black_box(table.server(entry));
                        position = id;
                    }
                    NextUpdate::Deletion(id, _) | NextUpdate::Skipped(id) => position = id,
                    NextUpdate::UpToDate => position = table.local_update_id(),
                }
            },
        );
        let mut fresh = u64::from(size) * 2;
        case(
            criterion,
            "insert into a full table",
            size,
            &mut table,
            |table, _| {
                fresh += 1;
                let inserted = insert(table, fresh, now_ms);
                assert!(matches!(inserted, Inserted::New(_)) && table.used() == size);
                table.touch_local(inserted.entry(), now_ms);
                table.set_pushed(table.local_update_id());
            },
        );
        case(
            criterion,
            "insert and remove",
            size,
            &mut table,
            |table, count| {
                let place = table
                    .scan((scramble(count) % u64::from(size)) as u32, 1, now_ms)
                    .next();
                assert!(table.remove(place.expect("the table is full")));
                fresh += 1;
                let inserted = insert(table, fresh, now_ms);
                table.touch_local(inserted.entry(), now_ms);
                table.set_pushed(table.local_update_id());
            },
        );
        // A changed `expire` makes the successor rebuild all that is derived, as a death in the middle of a change does.
        case(
            criterion,
            "attach, all whole",
            size,
            &mut table,
            |table, _| attach(table, EXPIRE_MS),
        );
        case(
            criterion,
            "attach, all rebuilt",
            size,
            &mut table,
            |table, count| {
                attach(table, EXPIRE_MS + 1 + (count % 2) as u32);
            },
        );
    }
}

fn config() -> Criterion {
    Criterion::default()
        .measurement_time(Duration::from_secs(2))
        .warm_up_time(Duration::from_millis(500))
}

criterion_group! { name = stick; config = config(); targets = benches }
criterion_main!(stick);
