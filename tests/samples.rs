//! Expressions and conditions against a record of what HAProxy 2.6 makes of them, and the record against the packaged HAProxy.
//!
//! `tests/data/samples.txt` has one case a line, words separated by a tab from the outcome:
//! `@ REQUEST` is the request for the lines that follow (`\r\n` and `\t` written out); `EXPRESSION⇥HEX` has a value with
//! these bytes as a binary, `""` an empty one, `none` no value; `? CONDITION⇥yes` or `no`; `! MESSAGE` as the outcome is an error.

pub mod support;

use burdock::http::{Parsed, RequestHead};
use burdock::sample::{AclSet, Context, RequestView, Scratch, Value, parse_condition, parse_expr};
use std::io::{Read, Write};
use std::net::TcpStream;
use support::{Program, Proxy, free_address, run_to_end};

const RECORD: &str = include_str!("data/samples.txt");

/// One line of the record.
struct Case {
    line: usize,
    request: String,
    words: &'static str,
    is_condition: bool,
    outcome: &'static str,
}

fn cases() -> Vec<Case> {
    let mut request = String::new();
    let mut cases = Vec::new();
    for (index, line) in RECORD.lines().enumerate() {
        if let Some(text) = line.strip_prefix("@ ") {
            request = text
                .replace("\\r\\n", "\r\n")
                .replace("\\t", "\t")
                .replace("\\\\", "\\");
        } else if let Some((words, outcome)) = line.split_once('\t') {
            let is_condition = words.starts_with("? ");
            let words = words.trim_start_matches("? ");
            cases.push(Case {
                line: index + 1,
                request: request.clone(),
                words,
                is_condition,
                outcome,
            });
        }
    }
    cases
}

/// Evaluates in this process, on raw bytes.
fn evaluate(case: &Case) -> String {
    let bytes = format!("{}\r\n", case.request).into_bytes();
    let mut head = RequestHead::new(64, 1024);
    let parsed = head.parse(&bytes);
    if parsed != Ok(Parsed::Complete) {
        return format!("{parsed:?}");
    }
    let mut scratch = Scratch::new(16_384);
    let mut cx = Context::new(0, &mut scratch);
    cx.source = Some("127.0.0.1:1000".parse().unwrap());
    cx.destination = Some("127.0.0.2:80".parse().unwrap());
    cx.request = Some(RequestView {
        head: &head,
        buffer: &bytes,
    });
    if case.is_condition {
        let mut acls = AclSet::new();
        let words: Vec<&str> = ["if"].into_iter().chain(case.words.split(' ')).collect();
        return match parse_condition(&words, &mut acls) {
            Ok((condition, _)) => {
                acls.finish();
                if condition.matches(&mut cx) {
                    "yes"
                } else {
                    "no"
                }
                .into()
            }
            Err(error) => format!("! {}", error.message),
        };
    }
    match parse_expr(&[case.words]) {
        Ok((expr, _)) => match expr.eval(&mut cx) {
            Some(value) => hex(value),
            None => "none".into(),
        },
        Err(error) => format!("! {}", error.message),
    }
}

fn hex(value: Value<'_>) -> String {
    let bytes = match value {
        Value::Bool(value) => i64::from(value).to_be_bytes().to_vec(),
        Value::Int(value) => value.to_be_bytes().to_vec(),
        Value::Ipv4(address) => address.octets().to_vec(),
        Value::Ipv6(address) => address.octets().to_vec(),
        Value::Str(bytes) | Value::Bin(bytes) | Value::Method(bytes) => bytes.to_vec(),
    };
    if bytes.is_empty() {
        return "\"\"".into();
    }
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[test]
fn the_record_holds() {
    let mut wrong = String::new();
    for case in cases() {
        let found = evaluate(&case);
        if found != case.outcome {
            wrong += &format!(
                "line {}: {}\n  recorded {}\n  found    {found}\n",
                case.line, case.words, case.outcome
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// A word for HAProxy's configuration.
fn quoted(word: &str) -> String {
    format!(
        "\"{}\"",
        word.replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('$', "\\$")
    )
}

fn rule(case: &Case, port: usize) -> String {
    match case.is_condition {
        true => {
            let words: Vec<String> = case.words.split(' ').map(quoted).collect();
            format!(
                "http-request return status 200 content-type t/p string yes if {{ dst_port {port} }} {}",
                words.join(" ")
            )
        }
        false => format!(
            "http-request set-var(txn.v) {} if {{ dst_port {port} }}",
            quoted(case.words)
        ),
    }
}

const DEFAULTS: &str = "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 1s\nfrontend f\n option accept-invalid-http-request\n";

#[test]
fn haproxy_agrees_with_the_record() {
    let address = free_address();
    let cases = cases();
    let mut text = format!("{DEFAULTS} bind {address} accept-proxy\n");
    for (index, case) in cases
        .iter()
        .enumerate()
        .filter(|(_, case)| !case.outcome.starts_with("! "))
    {
        text += &format!(" {}\n", rule(case, index + 1));
        if case.is_condition {
            text += &format!(
                " http-request return status 200 content-type t/p string no if {{ dst_port {} }}\n",
                index + 1
            );
        }
    }
    text += " http-request return status 200 content-type t/p lf-string \"<%[var(txn.v),hex]>\" if { var(txn.v) -m found }\n \
             http-request return status 200 content-type t/p string none\n";
    let haproxy = Proxy::start(Program::Haproxy, &text);
    support::wait_until("HAProxy listens", || TcpStream::connect(address).is_ok());
    let mut wrong = String::new();
    for (index, case) in cases
        .iter()
        .enumerate()
        .filter(|(_, case)| !case.outcome.starts_with("! "))
    {
        let mut stream = TcpStream::connect(address).expect("HAProxy accepts");
        // in one piece: HAProxy wants the whole PROXY header at once
        let request = format!(
            "PROXY TCP4 127.0.0.1 127.0.0.2 1000 {}\r\n{}\r\n",
            index + 1,
            case.request
        );
        stream.write_all(request.as_bytes()).expect("sent");
        let found = answer(&mut stream);
        if found != case.outcome {
            wrong += &format!(
                "line {}: {}\n  recorded {}\n  HAProxy  {found}\n",
                case.line, case.words, case.outcome
            );
        }
    }
    drop(haproxy);
    assert!(wrong.is_empty(), "{wrong}");
}

/// The body of an answer that stays within its Content-Length.
fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse()
                    .ok()
            });
            if body.len() >= length.unwrap_or(usize::MAX) {
                let body = body.trim_start_matches('<').trim_end_matches('>');
                return if body.is_empty() {
                    "\"\"".into()
                } else {
                    body.into()
                };
            }
        }
        match stream.read(&mut piece) {
            Ok(count @ 1..) => bytes.extend_from_slice(&piece[..count]),
            _ => return format!("cut short: {text}"),
        }
    }
}

#[test]
fn haproxy_refuses_what_the_record_says_in_these_words() {
    let folder = support::TempDir::new("samples");
    let mut wrong = String::new();
    for case in cases().iter().filter(|case| case.outcome.starts_with("! ")) {
        let address = free_address();
        let text = format!("{DEFAULTS} bind {address}\n {}\n", rule(case, 1));
        let path = folder.write("wrong.cfg", text);
        let finished = run_to_end(Program::Haproxy, &["-c", "-f", &path.display().to_string()]);
        let message = format!(" : {}.\n", case.outcome.trim_start_matches("! "));
        if !finished.stderr.contains(&message) {
            wrong += &format!(
                "line {}: {}\n  recorded {message}  HAProxy {}\n",
                case.line, case.words, finished.stderr
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
