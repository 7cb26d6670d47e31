//! What does the log line of a request cost, beside handing it to the system?
//!
//! Floor: one `write` of as many bytes to the same target, `/dev/null`: what the line is handed over with, and the only part
//! that is not ours. `cargo bench --bench log`; every case checks that no line was dropped.

#![allow(missing_docs)] // criterion's macro makes a public function

#[path = "fixtures/line.rs"]
pub mod line;

use std::fs::File;
use std::hint::black_box;
use std::io::Write;

use criterion::{Criterion, criterion_group, criterion_main};
use line::{Quiet, record};

fn lines(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("log line");
    let null = File::options().write(true).open("/dev/null");
    let mut null = null.expect("/dev/null");
    let bytes = [b'x'; 200];
    group.bench_function("floor: write", |bencher| {
        bencher.iter(|| assert_eq!(null.write(black_box(&bytes)).ok(), Some(bytes.len())));
    });
    let mut quiet = Quiet::open();
    let record = record();
    group.bench_function("option httplog", |bencher| {
        bencher.iter(|| quiet.write(black_box(&record)));
    });
    assert_eq!(quiet.dropped(), 0);
    group.finish();
}

criterion_group!(benches, lines);
criterion_main!(benches);
