//! Properties of HTTP/1 messages, without sockets: a message cut at any byte comes to the same; what leaves is one message, with the
//! same body, to a slow reader that was written from the RFC alone; and what that reader accepts is read as it reads it.
//!
//! The messages are grammatical ones, made from a seed, with up to three mistakes put into them. `BURDOCK_HTTP_SEEDS=<n>` tries more;
//! a failing seed is printed. Not here: the same functions under a fuzzer (`tests/fuzz`), real sockets (`tests/corpus.rs`).

#[path = "fuzz/src/lib.rs"]
pub mod targets;

use std::panic::catch_unwind;

use burdock::http::{Method, Version};
use burdock::peers::group::Random;
use targets::http::{Outcome, forward_request, forward_response};
use targets::strict::{self, Read};

fn seeds() -> u64 {
    let given = std::env::var("BURDOCK_HTTP_SEEDS").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(4000)
}

fn pick<'a>(random: &mut Random, words: &[&'a str]) -> &'a str {
    words[random.below(words.len() as u64) as usize]
}

const FIELDS: [&str; 14] = [
    "X-A: b",
    "Accept: */*",
    "Cookie: a=b; c=\"d e\"",
    "Connection: keep-alive",
    "Connection: close, X-A",
    "Keep-Alive: timeout=5",
    "TE: trailers",
    "Upgrade: websocket",
    "Expect: 100-continue",
    "X-Empty:",
    "X-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "Via: 1.1 \t x",
    "Trailer: X-T",
    "x-a: \u{e9}",
];

/// A body with its framing field.
fn framed(random: &mut Random, version: &str, is_response: bool) -> (String, String) {
    let data: String = (0..random.below(40))
        .map(|_| char::from(b'a' + random.below(26) as u8))
        .collect();
    match random.below(if is_response { 4 } else { 3 }) {
        0 => (format!("Content-Length: {}\r\n", data.len()), data),
        1 if version == "HTTP/1.1" => {
            let mut chunks = String::new();
            let mut rest = &data[..];
            while !rest.is_empty() {
                let count = 1 + random.below(rest.len() as u64) as usize;
                let extension = pick(random, &["", "", "", ";x=y", ";x=\"y\""]);
                chunks += &format!("{count:x}{extension}\r\n{}\r\n", &rest[..count]);
                rest = &rest[count..];
            }
            let trailer = pick(random, &["", "", "X-T: 1\r\n", "Content-Length: 9\r\n"]);
            (
                "Transfer-Encoding: chunked\r\n".to_owned(),
                format!("{chunks}0\r\n{trailer}\r\n"),
            )
        }
        3 => (String::new(), data),
        _ => ("Content-Length: 0\r\n".to_owned(), String::new()),
    }
}

fn fields(random: &mut Random) -> String {
    (0..random.below(5))
        .map(|_| pick(random, &FIELDS).to_owned() + "\r\n")
        .collect()
}

fn request(random: &mut Random) -> Vec<u8> {
    let version = pick(random, &["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"]);
    let method = pick(random, &["GET", "POST", "HEAD", "PUT", "OPTIONS", "BREW"]);
    let target = pick(
        random,
        &[
            "/",
            "/a?b=c",
            "http://a/x",
            "//",
            "/%00",
            "/a/../b",
            "http://a",
        ],
    );
    let (framing, body) = framed(random, version, false);
    let (before, after) = (fields(random), fields(random));
    format!("{method} {target} {version}\r\n{before}Host: a\r\n{framing}{after}\r\n{body}").into()
}

fn response(random: &mut Random) -> Vec<u8> {
    let version = pick(random, &["HTTP/1.1", "HTTP/1.1", "HTTP/1.0"]);
    let status = pick(
        random,
        &[
            "200 OK",
            "200 ",
            "404 Not Found",
            "304 x",
            "204 x",
            "103 x",
            "500 \u{e9}",
            "999 y",
        ],
    );
    let (framing, body) = framed(random, version, true);
    let (before, after) = (fields(random), fields(random));
    format!("{version} {status}\r\n{before}{framing}{after}\r\n{body}").into()
}

/// Puts a mistake into a message.
fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    const PIECES: [&str; 16] = [
        "\r",
        "\n",
        "\0",
        " ",
        "\t",
        ",",
        ":",
        "+",
        "0x",
        "Content-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Host: b\r\n",
        "\r\n ",
        "\r\n\r\n",
        ";x",
    ];
    let at = random.below(bytes.len() as u64 + 1) as usize;
    match random.below(4) {
        0 if at < bytes.len() => drop(bytes.remove(at)),
        1 if at < bytes.len() => bytes[at] = random.below(256) as u8,
        2 => {
            // At the start of a line, where fields are.
            let starts: Vec<usize> = (1..bytes.len())
                .filter(|at| bytes[at - 1] == b'\n')
                .collect();
            let at = match starts.len() {
                0 => at,
                count => starts[random.below(count as u64) as usize],
            };
            let piece = pick(random, &PIECES[9..13]);
            bytes.splice(at..at, piece.bytes());
        }
        _ => {
            let piece = pick(random, &PIECES);
            bytes.splice(at..at, piece.bytes());
        }
    }
}

fn messages(make: fn(&mut Random) -> Vec<u8>, check: fn(&[u8])) {
    for seed in 1..=seeds() {
        let mut random = Random::new(seed);
        let mut bytes = make(&mut random);
        for _ in 0..random.below(4) {
            damage(&mut random, &mut bytes);
        }
        if catch_unwind(|| check(&bytes)).is_err() {
            panic!("seed {seed}: {:?}", String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn requests_leave_as_one_message_with_the_same_body() {
    messages(request, |bytes| {
        // No cuts, then the message.
        targets::http::request(&[&[0], bytes].concat());
    });
}

#[test]
fn responses_leave_as_one_message_with_the_same_body() {
    messages(response, |bytes| {
        for method in 0..4 {
            for version in 0..2 {
                targets::http::response(&[&[0, method, version], bytes].concat());
            }
        }
    });
}

/// Heads are not parsed again for each byte, so a fault may be found later; nothing else may depend on the pieces.
fn is_the_same(whole: &Outcome, cut: &Outcome) -> bool {
    whole == cut || (whole, cut) == (&Outcome::Refused, &Outcome::Incomplete)
}

#[test]
fn a_message_cut_at_any_byte_comes_to_the_same() {
    for seed in 1..=seeds() / 20 {
        let mut random = Random::new(seed);
        let (mut asked, mut answered) = (request(&mut random), response(&mut random));
        for _ in 0..random.below(3) {
            damage(&mut random, &mut asked);
            damage(&mut random, &mut answered);
        }
        let whole = forward_request(&asked, &[]);
        for cut in 0..asked.len() {
            let found = forward_request(&asked, &[cut]);
            assert!(
                is_the_same(&whole, &found),
                "seed {seed} cut at {cut}: {whole:?} {found:?}"
            );
        }
        let every: Vec<usize> = (0..asked.len()).collect();
        assert!(
            is_the_same(&whole, &forward_request(&asked, &every)),
            "seed {seed}"
        );
        let whole = forward_response(&answered, &[], Method::Get, Version::Http11);
        for cut in 0..answered.len() {
            let found = forward_response(&answered, &[cut], Method::Get, Version::Http11);
            assert!(
                is_the_same(&whole, &found),
                "seed {seed} cut at {cut}: {whole:?} {found:?}"
            );
        }
        let every: Vec<usize> = (0..answered.len()).collect();
        let found = forward_response(&answered, &every, Method::Get, Version::Http11);
        assert!(is_the_same(&whole, &found), "seed {seed}");
    }
}

/// The generator makes what it should: without mistakes nearly all is accepted, by both readers; with them much is refused.
#[test]
fn the_generator_reaches_both_sides() {
    let (mut accepted, mut refused) = (0, 0);
    for seed in 1..=500 {
        let mut random = Random::new(seed);
        let mut bytes = request(&mut random);
        accepted += u32::from(matches!(
            forward_request(&bytes, &[]),
            Outcome::Forwarded { .. }
        ));
        damage(&mut random, &mut bytes);
        refused += u32::from(matches!(strict::read_request(&bytes), Read::Refused(_)));
    }
    assert!(accepted > 350 && refused > 100, "{accepted} {refused}");
}
