//! What do a hundred rules cost whose conditions do not hold, by what they look at?
//!
//! Floor: comparing the first bytes of the request's target with as many strings, which is what the cheapest of them has to do.
//! `cargo bench --bench rules`; every case checks its answer. `perf/configs/r.cfg` is the same question asked of whole proxies.

#![allow(missing_docs)] // criterion's macro makes a public function

#[path = "fixtures/hundred.rs"]
pub mod hundred;

use std::hint::black_box;

use burdock::rules::SetKind;
use burdock::sample::Scratch;
use criterion::{Criterion, criterion_group, criterion_main};
use hundred::{CONDITIONS, REQUEST, configured, held, request_head, rules};

fn bench(c: &mut Criterion) {
    let head = request_head();
    let mut group = c.benchmark_group("100 rules that do not apply");
    for (name, condition) in CONDITIONS {
        let config = configured(&rules(condition));
        let set = config.proxies[0].rules.of(SetKind::HttpRequest);
        assert_eq!(set.len(), 100);
        let mut scratch = Scratch::new(16_384);
        group.bench_function(name, |b| {
            b.iter(|| assert_eq!(held(black_box(set), &head, &mut scratch), 0));
        });
    }
    let prefixes: Vec<String> = (0..100).map(|n| format!("/admin{n}/")).collect();
    group.bench_function("floor: 100 comparisons", |b| {
        b.iter(|| {
            let target = &black_box(REQUEST)[4..];
            let begins = |prefix: &&String| target.starts_with(prefix.as_bytes());
            assert_eq!(prefixes.iter().filter(begins).count(), 0);
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
