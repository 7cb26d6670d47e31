//! Expressions and conditions against a record of what HAProxy 2.6 makes of them, and the record against the packaged HAProxy.
//!
//! `tests/data/samples.txt` has one case a line, words separated by a tab from the outcome:
//! `@ REQUEST` is the request for the lines that follow (`\r\n` and `\t` written out); `EXPRESSION⇥HEX` has a value with
//! these bytes as a binary, `""` an empty one, `none` no value; `? CONDITION⇥yes` or `no`; `! MESSAGE` as the outcome is an error.

pub mod support;

use burdock::http::{Parsed, RequestHead};
use burdock::sample::{
    AclSet, Context, Registry, RequestView, Scratch, Value, VarScopes, parse_condition, parse_expr,
};
use burdock::stick::{KeyType, TableSpec};
use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::TcpStream;
use support::{Answer, Origin, Program, Proxy, free_address, get, run_to_end};

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
    let registry = Registry::new();
    let (session, stream) = (
        RefCell::new(registry.session_vars()),
        RefCell::new(registry.stream_vars()),
    );
    let mut scratch = Scratch::new(16_384);
    let mut cx = Context::new(0, &mut scratch);
    cx.vars = VarScopes {
        process: Some(&registry),
        session: Some(&session),
        stream: Some(&stream),
    };
    cx.source = Some("127.0.0.1:1000".parse().unwrap());
    cx.destination = Some("127.0.0.2:80".parse().unwrap());
    cx.request = Some(RequestView {
        head: &head,
        buffer: &bytes,
    });
    if case.is_condition {
        let mut acls = AclSet::new(&registry);
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
    match parse_expr(&[case.words], &registry) {
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

/// Keys: `@ REQUEST`, then `TABLE TYPE⇥EXPRESSION⇥KEY` as `show table` writes it, `none`, or `refused` with the configuration.
/// Empty keys are not in it: HAProxy stores them, burdock never does.
const KEYS: &str = include_str!("data/keys.txt");

struct KeyCase {
    table_type: &'static str,
    expression: &'static str,
    key: &'static str,
}

fn key_cases() -> (String, Vec<KeyCase>) {
    let (request, cases) = KEYS
        .trim_start_matches("@ ")
        .split_once('\n')
        .expect("a request");
    let case = |line: &'static str| {
        let mut fields = line.split('\t');
        let mut field = || fields.next().expect("three fields");
        KeyCase {
            table_type: field(),
            expression: field(),
            key: field(),
        }
    };
    (
        request.replace("\\r\\n", "\r\n"),
        cases.lines().map(case).collect(),
    )
}

fn table_spec(table_type: &str) -> TableSpec {
    let (key_type, key_len) = match table_type {
        "ip" => (KeyType::Ip, 4),
        "ipv6" => (KeyType::Ipv6, 16),
        "integer" => (KeyType::Integer, 4),
        "string len 6" => (KeyType::String, 6),
        _ => (KeyType::Binary, 6),
    };
    TableSpec {
        name: "t".into(),
        wire_name: "t".into(),
        key_type,
        key_len,
        size: 10,
        expire_ms: 0,
        nopurge: false,
        expire_absolute: false,
        store: Vec::new(),
        server_key_kind: Default::default(),
        peers: None,
    }
}

fn shown(spec: &TableSpec, key: &[u8]) -> String {
    match (spec.key_type, key) {
        (KeyType::Ip, &[a, b, c, d]) => format!("{a}.{b}.{c}.{d}"),
        (KeyType::Ipv6, _) => {
            let mut text = Vec::new();
            let octets: [u8; 16] = key.try_into().expect("16 bytes");
            Value::Ipv6(octets.into()).append_to(&mut text);
            String::from_utf8(text).expect("text")
        }
        (KeyType::Integer, &[a, b, c, d]) => u32::from_be_bytes([a, b, c, d]).to_string(),
        (KeyType::String, _) => {
            let letter = |byte: &u8| match byte {
                b' '..=b'~' => char::from(*byte).to_string(),
                _ => format!("\\x{byte:02X}"),
            };
            key.iter().map(letter).collect()
        }
        _ => key.iter().map(|byte| format!("{byte:02X}")).collect(),
    }
}

#[test]
fn keys_are_those_of_the_record() {
    let (request, cases) = key_cases();
    let bytes = format!("{request}\r\n").into_bytes();
    let mut head = RequestHead::new(64, 1024);
    assert_eq!(head.parse(&bytes), Ok(Parsed::Complete));
    let mut wrong = String::new();
    for case in &cases {
        let spec = table_spec(case.table_type);
        let (expr, _) = parse_expr(&[case.expression], &Registry::new()).expect(case.expression);
        let mut scratch = Scratch::new(16_384);
        let mut cx = Context::new(0, &mut scratch);
        cx.source = Some("127.0.0.1:1000".parse().unwrap());
        cx.request = Some(RequestView {
            head: &head,
            buffer: &bytes,
        });
        let found = match (expr.can_be_key(spec.key_type), expr.key(&mut cx, &spec)) {
            (false, _) => "refused".into(),
            (true, None) => "none".into(),
            (true, Some(key)) => shown(&spec, key.to_buf().as_bytes()),
        };
        if found != case.key {
            let KeyCase {
                table_type,
                expression,
                key,
            } = case;
            wrong += &format!("{table_type}: {expression}\n  recorded {key}\n  found    {found}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn haproxy_makes_the_recorded_keys() {
    let (request, cases) = key_cases();
    let address = free_address();
    let cases: Vec<&KeyCase> = cases.iter().filter(|case| case.key != "refused").collect();
    let (mut rules, mut tables) = (String::new(), String::new());
    for (index, case) in cases.iter().enumerate() {
        let port = index + 1;
        rules += &format!(
            " http-request track-sc0 {} table t{index} if {{ dst_port {port} }}\n",
            quoted(case.expression)
        );
        tables += &format!(
            "backend t{index}\n stick-table type {} size 10 expire 1m store gpc0\n",
            case.table_type
        );
    }
    let text = format!(
        "global\n stats socket {{dir}}/stats.sock level admin\n{DEFAULTS} bind {address} accept-proxy\n{rules} \
         http-request return status 200\n{tables}"
    );
    let haproxy = Proxy::start(Program::Haproxy, &text);
    haproxy.wait_listening(address);
    let mut wrong = String::new();
    for (index, case) in cases.iter().enumerate() {
        let mut stream = TcpStream::connect(address).expect("HAProxy accepts");
        let request = format!(
            "PROXY TCP4 127.0.0.1 127.0.0.2 1000 {}\r\n{request}\r\n",
            index + 1
        );
        stream.write_all(request.as_bytes()).expect("sent");
        assert!(
            stream.read(&mut [0; 64]).is_ok_and(|count| count > 0),
            "{}",
            case.expression
        );
        let dump = haproxy.command(&format!("show table t{index}"));
        let row = dump
            .split_once(": key=")
            .and_then(|(_, row)| row.split_once(" use="));
        let found = row.map_or("none", |(key, _)| key);
        if found != case.key {
            wrong += &format!(
                "{}: {}\n  recorded {}\n  HAProxy  {found}\n",
                case.table_type, case.expression, case.key
            );
        }
    }
    drop(haproxy);
    assert!(wrong.is_empty(), "{wrong}");
}

/// No rule before it has asked, in one configuration each: the address is asked of the socket where something wants it.
#[test]
fn whoever_asks_where_a_client_connected_to_is_told() {
    let origins = ["one", "two"].map(|name| Origin::start(move |_| Answer::ok(name, &[])));
    let [one, two] = origins.each_ref().map(Origin::address);
    let servers = format!(" server one {one}\n server two {two}\n");
    for program in [Program::Burdock, Program::Haproxy] {
        let start = |rules: &dyn Fn(std::net::IpAddr) -> String| {
            let address = free_address();
            let text = format!("{DEFAULTS} bind {address}\n{}", rules(address.ip()));
            let proxy = Proxy::start(program, &text);
            proxy.wait_listening(address);
            (proxy, address)
        };
        let (_sticky, address) = start(&|_| {
            format!(
                " default_backend b\nbackend b\n balance roundrobin\n stick-table type ip size 100\n stick on dst\n{servers}"
            )
        });
        let first = get(address, "/", &[]).text();
        for _ in 0..3 {
            assert_eq!(get(address, "/", &[]).text(), first, "{program:?}");
        }
        let (_monitored, address) =
            start(&|ip| format!(" monitor-uri /mon\n monitor fail if {{ dst {ip} }}\n"));
        assert_eq!(get(address, "/mon", &[]).status, 503, "{program:?}");
        let (_changed, address) = start(&|_| {
            let shown = "http-request return status 200 content-type t/p lf-string";
            format!(" http-request set-dst-port int(81)\n {shown} %[dst]:%[dst_port]\n")
        });
        let expected = format!("{}:81", address.ip());
        assert_eq!(get(address, "/", &[]).text(), expected, "{program:?}");
        let (_shown, address) = start(&|_| {
            let shown = "http-request return status 200 content-type t/p lf-string";
            format!(" {shown} %fi:%fp\n")
        });
        assert_eq!(
            get(address, "/", &[]).text(),
            address.to_string(),
            "{program:?}"
        );
    }
}
