//! What does a deadline cost: set anew for each request, set and taken back, and when it comes?
//!
//! With a thousand and a hundred thousand timers in the wheel. Floor: writing one deadline into a random place of as many. Beside it a
//! binary heap, where every new deadline is filed although most never come (`compare`).
//! `cargo bench --bench timers`; every case checks its answer.

#![allow(missing_docs)] // criterion's macro makes a public function

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use burdock::reactor::{TimerSlot, Timers};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use mio::Token;

/// What an idle client may take.
const TIMEOUT_MS: u64 = 30_000;

fn filled(count: usize) -> (Timers, Vec<TimerSlot>) {
    let mut timers = Timers::new(0, count);
    let mut slots = Vec::with_capacity(count);
    for index in 0..count {
        let mut slot = TimerSlot::NONE;
        let spread_ms = index as u64 * TIMEOUT_MS / count as u64;
        timers.arm(&mut slot, Token(index), TIMEOUT_MS + spread_ms);
        slots.push(slot);
    }
    (timers, slots)
}

fn wheel(criterion: &mut Criterion) {
    for count in [1_000, 100_000] {
        let mut group = criterion.benchmark_group("timer");
        let place =
            move |step: u64| (step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % count;
        let mut step = 0;
        let mut deadlines = vec![0; count];
        group.bench_function(BenchmarkId::new("floor: a store", count), |bencher| {
            bencher.iter(|| {
                step += 1;
                deadlines[place(step)] = step;
            });
        });
        black_box(&deadlines);
        let (mut timers, mut slots) = filled(count);
        group.bench_function(BenchmarkId::new("moved later", count), |bencher| {
            bencher.iter(|| {
                step += 1;
                let index = place(step);
                timers.arm(
                    &mut slots[index],
                    Token(index),
                    3 * TIMEOUT_MS + step / 1000,
                );
            });
        });
        group.bench_function(BenchmarkId::new("set and taken back", count), |bencher| {
            let mut slot = TimerSlot::NONE;
            bencher.iter(|| {
                step += 1;
                timers.arm(&mut slot, Token(count), TIMEOUT_MS + step % TIMEOUT_MS);
                timers.cancel(&mut slot);
                assert_eq!(slot, TimerSlot::NONE);
            });
        });
        group.bench_function(
            BenchmarkId::new("comes, and is set again", count),
            |bencher| {
                bencher.iter_custom(|wanted| comes(count, wanted));
            },
        );
        let mut heap: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
        heap.extend((0..count).map(|index| Reverse((TIMEOUT_MS + index as u64, index))));
        group.bench_function(
            BenchmarkId::new("compare: comes, in a heap", count),
            |bencher| {
                bencher.iter(|| {
                    let Reverse((deadline, index)) = heap.pop().expect("never empty");
                    heap.push(Reverse((deadline + TIMEOUT_MS, index)));
                });
            },
        );
        assert_eq!(heap.len(), count);
        group.finish();
    }
}

/// Time goes on until as many as wanted have come; each is set again.
fn comes(count: usize, wanted: u64) -> Duration {
    let (mut timers, mut slots) = filled(count);
    let (mut due, mut came, mut now_ms) = (Vec::with_capacity(count), 0, TIMEOUT_MS - 1);
    let begun = Instant::now();
    while came < wanted {
        now_ms += 1;
        timers.expire(now_ms, &mut due);
        came += due.len() as u64;
        for Token(index) in due.drain(..) {
            timers.arm(&mut slots[index], Token(index), now_ms + TIMEOUT_MS);
        }
    }
    let spent = begun.elapsed();
    assert!(timers.next_deadline_ms().is_some_and(|next| next > now_ms));
    spent.mul_f64(wanted as f64 / came as f64)
}

criterion_group!(benches, wheel);
criterion_main!(benches);
