//! How long an ACL with 100 000 patterns takes to match: strings, starts and ends of strings, networks.
//!
//! The floor is a hash table of the same strings. `cargo bench --bench patterns`; every case checks its answer.

#![allow(missing_docs)] // what criterion_group! makes has none

use burdock::sample::Value;
use burdock::sample::{AclSet, Condition, Context, Registry, Scratch, VarScopes, parse_condition};
use criterion::{Criterion, criterion_group, criterion_main};
use std::cell::RefCell;
use std::collections::HashSet;
use std::hint::black_box;

const PATTERNS: u32 = 100_000;

/// A condition whose ACL has the lines of a file.
fn condition(registry: &Registry, flags: &str, lines: impl Iterator<Item = String>) -> Condition {
    let path = std::env::temp_dir().join(format!("burdock-bench-{}", std::process::id()));
    std::fs::write(&path, lines.map(|line| line + "\n").collect::<String>()).expect("a file");
    let mut acls = AclSet::new(registry);
    let text = format!("if {{ var(txn.v) {flags} -f {} }}", path.display());
    let words: Vec<&str> = text.split(' ').collect();
    let (condition, _) = parse_condition(&words, &mut acls).expect("a condition");
    acls.finish();
    std::fs::remove_file(&path).expect("the file");
    condition
}

fn name(index: u32) -> String {
    format!("host-{:08x}.example.com", index.wrapping_mul(2_654_435_761))
}

fn network(index: u32) -> String {
    let address = std::net::Ipv4Addr::from(index.wrapping_mul(2_654_435_761));
    format!("{address}/{}", 16 + index % 17)
}

fn bench(c: &mut Criterion, title: &str, flags: &str, line: fn(u32) -> String, value: &str) {
    let registry = Registry::new();
    let condition = condition(&registry, flags, (0..PATTERNS).map(line));
    let stream = RefCell::new(registry.stream_vars());
    let vars = VarScopes {
        process: Some(&registry),
        stream: Some(&stream),
        ..VarScopes::default()
    };
    let target = registry.var_target(b"txn.v").expect("a variable");
    match value.parse() {
        Ok(address) => vars.set(&target, Value::Ipv4(address)),
        Err(_) => vars.set(&target, Value::Str(value.as_bytes())),
    }
    let mut scratch = Scratch::new(16_384);
    let mut matches = || {
        let mut cx = Context::new(0, &mut scratch);
        cx.vars = vars;
        condition.matches(&mut cx)
    };
    assert!(matches(), "{title} has its pattern");
    c.bench_function(title, |b| b.iter(|| assert!(black_box(matches()))));
}

fn patterns(c: &mut Criterion) {
    let set: HashSet<Vec<u8>> = (0..PATTERNS)
        .map(|index| name(index).into_bytes())
        .collect();
    let wanted = name(77_777);
    c.bench_function("floor: a hash table", |b| {
        b.iter(|| assert!(set.contains(black_box(wanted.as_bytes()))));
    });
    let longer = format!("{wanted}/path");
    let deeper = format!("www.{wanted}");
    let address = network(77_777);
    let address = address.split('/').next().expect("an address");
    bench(c, "strings", "-m str", name, &wanted);
    bench(
        c,
        "strings, any case",
        "-i -m str",
        name,
        &wanted.to_ascii_uppercase(),
    );
    bench(c, "starts of strings", "-m beg", name, &longer);
    bench(c, "ends of strings", "-m end", name, &deeper);
    bench(c, "networks of 17 lengths", "-m ip", network, address);
}

criterion_group!(benches, patterns);
criterion_main!(benches);
