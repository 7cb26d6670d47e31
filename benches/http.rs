//! What does a request's head cost, and how much of it is `httparse`?
//!
//! Floor: `httparse` alone on the same bytes, for chunked bodies its chunk sizes; for the cookie, looking for its name with `memmem`. The question for parsing is what classifying, checking and keeping the lines adds;
//! for forwarding, what the edits of `http-server-close` and `forwardfor` add; for a cookie, what finding it costs.
//! `cargo bench --bench http`; every case checks its answer.

#![allow(missing_docs)] // criterion's macro makes a public function

#[path = "fixtures/heads.rs"]
pub mod heads;

use std::hint::black_box;
use std::io::IoSlice;
use std::mem::MaybeUninit;

use burdock::http::{
    BodyDecoder, BodyForm, CookieHeader, ForwardPlan, Framing, Known, Parsed, Receiver,
    RequestHead, ResponseHead, next_cookie, prepare_request, prepare_response,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use heads::{BROWSER, RESPONSE, SMALL};

fn requests(c: &mut Criterion) {
    let mut group = c.benchmark_group("head");
    for (name, input) in [("small", SMALL), ("browser", BROWSER)] {
        group.throughput(Throughput::Bytes(input.len() as u64));
        group.bench_function(format!("{name}/httparse alone"), |b| {
            b.iter(|| {
                let mut slots = [const { MaybeUninit::uninit() }; 100];
                let mut request = httparse::Request::new(&mut []);
                let parsed = request.parse_with_uninit_headers(black_box(input), &mut slots);
                assert_eq!(parsed, Ok(httparse::Status::Complete(input.len())));
            });
        });
        let mut head = RequestHead::new(101, 1024);
        group.bench_function(format!("{name}/parse"), |b| {
            b.iter(|| {
                head.reset();
                assert_eq!(head.parse(black_box(input)), Ok(Parsed::Complete));
            });
        });
        group.bench_function(format!("{name}/cookie"), |b| {
            b.iter(|| {
                let mut lines = head.headers.find_known(black_box(input), Known::Cookie);
                let (_, line) = lines.next().expect("there");
                let value = next_cookie(line, &mut 0, b"PHPSESSID", CookieHeader::Cookie);
                assert_eq!(value, Some(&b"1t1lr3s5s7pm4tuu3476c40jk3"[..]));
            });
        });
        group.bench_function(format!("{name}/cookie, floor: memmem"), |b| {
            let finder = memchr::memmem::Finder::new(b"PHPSESSID=");
            b.iter(|| assert!(finder.find(black_box(input)).is_some()));
        });
        let mut plan = ForwardPlan::new(16);
        group.bench_function(format!("{name}/parse, edit, plan"), |b| {
            b.iter(|| {
                head.reset();
                assert_eq!(head.parse(black_box(input)), Ok(Parsed::Complete));
                prepare_request(&mut head, input, false).expect("room");
                head.headers
                    .insert(b"x-forwarded-for", b"192.168.100.7")
                    .expect("room");
                plan.clear();
                plan.push_request(&head, input);
                let mut slices = [IoSlice::new(&[]); 8];
                let count = plan.slices(input, &head.headers, &mut slices);
                assert!((1..=8).contains(&count));
                plan.sent(plan.remaining());
            });
        });
    }
    group.finish();
}

fn responses(c: &mut Criterion) {
    let mut group = c.benchmark_group("response");
    let mut head = ResponseHead::new(101, 1024);
    let mut plan = ForwardPlan::new(16);
    let request = RequestHead::new(1, 0);
    let (asked, receiver) = (request.asked(), Receiver::of(&request));
    group.throughput(Throughput::Bytes(RESPONSE.len() as u64));
    group.bench_function("httparse alone", |b| {
        b.iter(|| {
            let mut slots = [const { MaybeUninit::uninit() }; 100];
            let mut response = httparse::Response::new(&mut []);
            let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
                &mut response,
                black_box(RESPONSE),
                &mut slots,
            );
            assert_eq!(parsed, Ok(httparse::Status::Complete(RESPONSE.len())));
        });
    });
    group.bench_function("parse, edit, plan", |b| {
        b.iter(|| {
            head.reset();
            assert_eq!(head.parse(black_box(RESPONSE), asked), Ok(Parsed::Complete));
            prepare_response(&mut head, RESPONSE, receiver, true).expect("room");
            plan.clear();
            plan.push_response(&head, RESPONSE);
            assert_eq!(plan.remaining(), RESPONSE.len());
        });
    });
    group.finish();
}

fn bodies(c: &mut Criterion) {
    let mut group = c.benchmark_group("chunked");
    for chunk_bytes in [16, 1024, 8192] {
        let mut body = Vec::new();
        while body.len() < 16_000 {
            body.extend_from_slice(format!("{chunk_bytes:x}\r\n").as_bytes());
            body.extend(std::iter::repeat_n(b'x', chunk_bytes));
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\n\r\n");
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(format!("chunks of {chunk_bytes}, floor: httparse"), |b| {
            b.iter(|| {
                let (mut rest, mut sum) = (black_box(&body[..]), 0);
                while let Ok(httparse::Status::Complete((line, size @ 1..))) =
                    httparse::parse_chunk_size(rest)
                {
                    rest = &rest[line + size as usize + 2..];
                    sum += size as usize;
                }
                assert!((16_000 - 8192..16_000 + 8192).contains(&sum) && rest == b"0\r\n\r\n");
            });
        });
        group.bench_function(format!("chunks of {chunk_bytes}"), |b| {
            b.iter(|| {
                let mut decoder = BodyDecoder::new(Framing::Chunked, BodyForm::Chunked);
                let progress = decoder.advance(black_box(&body)).expect("valid");
                assert!(progress.complete && progress.forward().len() == 1);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, requests, responses, bodies);
criterion_main!(benches);
