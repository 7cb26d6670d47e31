//! What do a hundred rules cost whose conditions do not hold, by what they look at?
//!
//! `cargo bench --bench rules`; every case checks its answer. `perf/configs/r100.cfg` is the same question asked of whole proxies.

#![allow(missing_docs)] // criterion's macro makes a public function

use std::hint::black_box;

use burdock::config::{self, ParseOptions, SourceFile};
use burdock::rules::SetKind;
use burdock::sample::{Context, RequestView, Scratch, Truth};
use criterion::{Criterion, criterion_group, criterion_main};

const REQUEST: &[u8] = b"GET /static/image.png?size=large HTTP/1.1\r\nHost: www.example.org\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: */*\r\nCookie: SID=abcdef0123456789\r\nX-Token: 42\r\n\r\n";

/// What the rule of a number asks.
type Condition = fn(usize) -> String;

/// A hundred rules of one kind each, none of whose conditions holds for `REQUEST`.
fn rules(condition: Condition) -> String {
    (0..100)
        .map(|index| format!(" http-request deny if {{ {} }}\n", condition(index)))
        .collect()
}

fn conditions(lines: &str) -> config::Config {
    let text = format!(
        "defaults\n mode http\n timeout client 1s\n timeout server 1s\n timeout connect 1s\nfrontend f\n bind 127.0.0.1:80\n{lines}"
    );
    let file = SourceFile {
        name: "bench.cfg".into(),
        text: text.into_bytes(),
    };
    let options = ParseOptions {
        host_name: "me".into(),
        descriptors_max: Some(20_000),
        ..ParseOptions::default()
    };
    let (config, diags) = config::parse(&[file], &options);
    config.unwrap_or_else(|| panic!("{diags:#?}"))
}

fn bench(c: &mut Criterion) {
    let mut head = burdock::http::RequestHead::new(101, 16_384);
    assert!(matches!(
        head.parse(REQUEST),
        Ok(burdock::http::Parsed::Complete)
    ));
    let cases: [(&str, Condition); 4] = [
        ("path prefix", |n| format!("path_beg /admin{n}/")),
        ("header", |n| format!("req.hdr(x-token) -m str t{n}")),
        ("address", |n| format!("src 10.{n}.0.0/16")),
        ("query parameter", |n| format!("urlp(size) small{n}")),
    ];
    let mut group = c.benchmark_group("100 rules that do not apply");
    for (name, condition) in cases {
        let config = conditions(&rules(condition));
        let set = config.proxies[0].rules.of(SetKind::HttpRequest);
        assert_eq!(set.len(), 100);
        let mut scratch = Scratch::new(16_384);
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut cx = Context::new(1, &mut scratch);
                cx.source = Some("192.0.2.1:1000".parse().expect("an address"));
                cx.request = Some(RequestView {
                    head: &head,
                    buffer: REQUEST,
                });
                let held = set.iter().filter(|rule| {
                    let condition = rule.condition.as_ref().expect("each has one");
                    condition.evaluate(&mut cx) == Truth::Yes
                });
                assert_eq!(black_box(held.count()), 0);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
