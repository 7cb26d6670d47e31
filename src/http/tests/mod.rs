//! Whole messages: tables of heads and what becomes of them, every split point, random bytes, a slow reference for chunks.

use std::io::IoSlice;

use super::connection::{Receiver, prepare_request, prepare_response};
use super::*;

mod chunks;
mod edits;
mod relaxed;

fn request(input: &[u8]) -> Result<(Parsed, RequestHead), HeadError> {
    let mut head = RequestHead::new(101, 1024);
    let parsed = head.parse(input)?;
    Ok((parsed, head))
}

fn response(input: &[u8], asked: Asked) -> Result<(Parsed, ResponseHead), HeadError> {
    let mut head = ResponseHead::new(101, 1024);
    let parsed = head.parse(input, asked)?;
    Ok((parsed, head))
}

/// All bytes of a plan, taken in slices of at most `step` bytes.
fn drain(plan: &mut ForwardPlan, buffer: &[u8], headers: &HeaderTable, step: usize) -> String {
    let mut sent = Vec::new();
    while !plan.is_done() {
        let mut slices = [IoSlice::new(&[]); 3];
        let count = plan.slices(buffer, headers, &mut slices);
        assert!(count > 0);
        let ready: Vec<u8> = slices[..count]
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect();
        let taken = ready.len().min(step);
        sent.extend_from_slice(&ready[..taken]);
        plan.sent(taken);
    }
    assert_eq!(plan.remaining(), 0);
    String::from_utf8_lossy(&sent).into_owned()
}

fn forwarded_request(input: &str, keep_server: bool) -> String {
    let (parsed, mut head) = request(input.as_bytes()).unwrap();
    assert_eq!(parsed, Parsed::Complete);
    prepare_request(&mut head, input.as_bytes(), keep_server).unwrap();
    let mut plan = ForwardPlan::new(4);
    plan.push_request(&head, input.as_bytes());
    drain(&mut plan, input.as_bytes(), &head.headers, 7)
}

/// A client that sent a GET.
fn receiver(version: Version) -> Receiver {
    Receiver {
        version,
        wants_head: false,
        asked_head: false,
    }
}

fn forwarded_response(input: &str, client: Version, keep: bool) -> (String, Delivery) {
    let (parsed, mut head) = response(input.as_bytes(), Asked::default()).unwrap();
    assert_eq!(parsed, Parsed::Complete);
    let delivery = prepare_response(&mut head, input.as_bytes(), receiver(client), keep).unwrap();
    let mut plan = ForwardPlan::new(4);
    plan.push_response(&head, input.as_bytes());
    (
        drain(&mut plan, input.as_bytes(), &head.headers, 11),
        delivery,
    )
}

/// `POST` with these lines after a valid Host.
fn post(lines: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

#[test]
fn framing_of_requests() {
    let check = |lines: &str, expected: Result<Framing, u16>| {
        let found = request(post(lines).as_bytes())
            .map(|(_, head)| head.framing)
            .map_err(|e| e.status);
        assert_eq!(found, expected, "{lines:?}");
    };
    check("", Ok(Framing::None));
    check("Content-Length: 5\r\n", Ok(Framing::Length(5)));
    check("Content-Length:5\r\n", Ok(Framing::Length(5)));
    check("Content-Length: \t5\t\r\n", Ok(Framing::Length(5)));
    check("Content-Length: 0\r\n", Ok(Framing::Length(0)));
    check("Content-Length: 5, 5\r\n", Ok(Framing::Length(5)));
    check(
        "Content-Length: 5\r\ncontent-length: 05\r\n",
        Ok(Framing::Length(5)),
    );
    check(
        "Content-Length: 9223372036854775807\r\n",
        Ok(Framing::Length(i64::MAX as u64)),
    );
    for bad in [
        "+5",
        "-5",
        "5,6",
        ",5",
        "5,",
        "",
        "0x5",
        "5 5",
        "5.0",
        "5;a",
        "\"5\"",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999",
        "\u{665}",
    ] {
        check(&format!("Content-Length: {bad}\r\n"), Err(400));
    }
    check("Content-Length: 5\r\nContent-Length: 6\r\n", Err(400));
    check("Transfer-Encoding: chunked\r\n", Ok(Framing::Chunked));
    check("Transfer-Encoding: CHUNKED\r\n", Ok(Framing::Chunked));
    check(
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        Ok(Framing::Chunked),
    );
    check(
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        Ok(Framing::Chunked),
    );
    for bad in [
        "identity",
        "gzip",
        "chunked, gzip",
        "chunked, chunked",
        "chunked,",
        "",
        "xchunked",
        "chunked;a=b",
        "\"chunked\"",
        "chunked\x0b",
        "chunked identity",
        "chunked\r\nTransfer-Encoding: chunked",
        "chunked\r\nTransfer-Encoding: identity",
    ] {
        check(&format!("Transfer-Encoding: {bad}\r\n"), Err(400));
    }
    for unprocessable in ["gzip, chunked", ",chunked", "identity, chunked"] {
        check(&format!("Transfer-Encoding: {unprocessable}\r\n"), Err(422));
    }
    let old = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(request(old).unwrap_err().fault, Fault::TransferEncoding);
}

#[test]
fn doubtful_framings_leave_one_reading() {
    let check = |lines: &str, expected: &str| {
        assert_eq!(
            forwarded_request(&post(lines), true),
            post(expected),
            "{lines:?}"
        );
    };
    check(
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
    );
    check(
        "Transfer-Encoding: CHUNKED\r\n",
        "transfer-encoding: chunked\r\n",
    );
    check(
        "Content-Length: 5, 5\r\nA: b\r\n",
        "A: b\r\ncontent-length: 5\r\n",
    );
    check(
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "content-length: 5\r\n",
    );
    check("Content-Length: 0005\r\n", "content-length: 5\r\n");
    let both = post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n");
    assert!(!request(both.as_bytes()).unwrap().1.keeps_alive());
}

#[test]
fn faults_say_where() {
    let check = |input: &[u8], fault: Fault, position: u32| {
        let error = request(input).map(|(parsed, _)| parsed).unwrap_err();
        assert_eq!(
            (error.fault, error.position),
            (fault, position),
            "{}",
            String::from_utf8_lossy(input)
        );
    };
    check(b"G@T / HTTP/1.1\r\n\r\n", Fault::Method, 1);
    check(b" GET / HTTP/1.1\r\n\r\n", Fault::Method, 0);
    check(b"\x16\x03\x01\x02\x00\x01\x00", Fault::Method, 0);
    check(b"GET\t/ HTTP/1.1\r\n\r\n", Fault::Method, 3);
    check(b"GET  / HTTP/1.1\r\n\r\n", Fault::Target, 4);
    check(b"GET /a\x01 HTTP/1.1\r\n\r\n", Fault::Target, 6);
    check(b"GET /\r\n\r\n", Fault::Target, 5);
    check(b"GET /  HTTP/1.1\r\n\r\n", Fault::Version, 6);
    check(b"GET / HTTP/2.0\r\n\r\n", Fault::Version, 11);
    check(b"GET / HTTP/1.2\r\n\r\n", Fault::Version, 13);
    check(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Fault::Version, 11);
    check(
        b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n",
        Fault::HeaderName,
        26,
    );
    check(b"GET / HTTP/1.1\r\n: b\r\n\r\n", Fault::HeaderName, 16);
    check(
        b"GET / HTTP/1.1\r\nHost: a\r\nabc\r\n\r\n",
        Fault::HeaderName,
        28,
    );
    check(
        b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        Fault::ObsoleteFold,
        22,
    );
    check(b"GET / HTTP/1.1\r\n A: b\r\n\r\n", Fault::ObsoleteFold, 16);
    check(b"GET / HTTP/1.1\r\nA: b\0c\r\n\r\n", Fault::HeaderValue, 20);
    check(b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", Fault::LineEnd, 21);
    check(b"GET / HTTP/1.1\r\nA: b\r\r\n\r\n", Fault::LineEnd, 21);
    check(b"\rGET / HTTP/1.1\r\n\r\n", Fault::LineEnd, 1);
    check(
        b"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n",
        Fault::Target,
        5,
    );
    check(b"GET /#a HTTP/1.1\r\nHost: a\r\n\r\n", Fault::Target, 5);
    let long = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}: b\r\n\r\n",
        "n".repeat(256)
    );
    check(long.as_bytes(), Fault::HeaderName, 25);
}

#[test]
fn targets_and_hosts() {
    let check = |start: &str, host: Option<&str>, expected: Result<(), Fault>| {
        let host = host
            .map(|host| format!("Host: {host}\r\n"))
            .unwrap_or_default();
        let input = format!("{start}\r\n{host}\r\n");
        let found = request(input.as_bytes()).map(|_| ()).map_err(|e| e.fault);
        assert_eq!(found, expected, "{input:?}");
    };
    check("GET / HTTP/1.1", Some("a"), Ok(()));
    check("GET / HTTP/1.1", Some(""), Ok(()));
    check("GET / HTTP/1.0", None, Ok(()));
    check("GET / HTTP/1.1", None, Err(Fault::Host));
    check("GET / HTTP/1.1", Some("a\r\nHost: a"), Err(Fault::Host));
    check("GET / HTTP/1.0", Some("a\r\nHost: b"), Err(Fault::Host));
    check("GET / HTTP/1.1", Some("a b"), Err(Fault::Host));
    check("GET / HTTP/1.1", Some("a, b"), Err(Fault::Host));
    check("GET / HTTP/1.1", Some("a/b"), Err(Fault::Host));
    check("GET http://a/x HTTP/1.1", Some("A:80"), Ok(()));
    check("GET http://a/x HTTP/1.1", Some("b"), Err(Fault::Host));
    check("GET http://a:8080/x HTTP/1.1", Some("a"), Err(Fault::Host));
    check("GET http://a/x HTTP/1.1", Some(""), Err(Fault::Host));
    check("GET http:///x HTTP/1.1", Some("a"), Err(Fault::Target));
    check("GET http://u@a/x HTTP/1.1", Some("a"), Err(Fault::Target));
    check("GET a HTTP/1.1", Some("a"), Err(Fault::Target));
    check("GET * HTTP/1.1", Some("a"), Err(Fault::Target));
    check("OPTIONS * HTTP/1.1", Some("a"), Ok(()));
    check("OPTIONS *a HTTP/1.1", Some("a"), Err(Fault::Target));
    check("CONNECT a:80 HTTP/1.1", Some("a:80"), Ok(()));
    check("CONNECT a:80 HTTP/1.1", Some("a"), Ok(()));
    check("CONNECT a:80 HTTP/1.1", Some("b:80"), Err(Fault::Host));
    check("CONNECT /x HTTP/1.1", Some("a"), Err(Fault::Target));
    check("M-SEARCH /\"<>\\^`{|} HTTP/1.1", Some("a"), Ok(()));
}

#[test]
fn upgrades() {
    let asked = |lines: &str| {
        request(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes())
            .map(|(_, head)| head.upgrade)
    };
    let key = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n";
    assert_eq!(asked(key), Ok(true));
    assert_eq!(
        asked("Connection: Upgrade\r\nUpgrade: websocket\r\n")
            .unwrap_err()
            .fault,
        Fault::Upgrade
    );
    assert_eq!(asked("Connection: Upgrade\r\nUpgrade: foo\r\n"), Ok(true));
    assert_eq!(asked("Connection: Upgrade\r\nUpgrade: h2c\r\n"), Ok(false));
    assert_eq!(asked("Upgrade: foo\r\n"), Ok(false));
    assert_eq!(
        asked("Connection: Upgrade\r\nUpgrade: foo\r\nContent-Length: 2\r\n"),
        Ok(false)
    );

    let answer = b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\nabc";
    let granted = Asked {
        method: Method::Get,
        upgrade: true,
    };
    assert!(response(answer, granted).unwrap().1.is_tunnel);
    assert_eq!(
        response(answer, Asked::default()).unwrap_err().fault,
        Fault::Upgrade
    );
}

#[test]
fn requests_as_the_server_sees_them() {
    let check = |input: &str, keep_server: bool, expected: &str| {
        assert_eq!(forwarded_request(input, keep_server), expected, "{input:?}");
    };
    // Untouched: not a byte differs.
    check(
        "GET /p HTTP/1.1\r\nHost: a\r\nAccept:*/* \r\n\r\n",
        true,
        "GET /p HTTP/1.1\r\nHost: a\r\nAccept:*/* \r\n\r\n",
    );
    check(
        "GET /p HTTP/1.1\r\nHost: a\r\n\r\n",
        false,
        "GET /p HTTP/1.1\r\nHost: a\r\nconnection: close\r\n\r\n",
    );
    check(
        "GET /p HTTP/1.0\r\nHost: a\r\n\r\n",
        false,
        "GET /p HTTP/1.0\r\nHost: a\r\n\r\n",
    );
    check(
        "GET /p HTTP/1.0\r\n\r\n",
        true,
        "GET /p HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
    );
    check(
        "GET /p HTTP/1.1\r\nConnection: keep-alive\r\nHost: a\r\n\r\n",
        false,
        "GET /p HTTP/1.1\r\nHost: a\r\nconnection: close\r\n\r\n",
    );
    check(
        "GET /p HTTP/1.1\r\nHost: a\r\nConnection: close\r\nB: c\r\n\r\n",
        false,
        "GET /p HTTP/1.1\r\nHost: a\r\nConnection: close\r\nB: c\r\n\r\n",
    );
    check(
        "GET /p HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        true,
        "GET /p HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    check(
        "GET /p HTTP/1.1\r\nConnection: x-foo, close, Host, cookie\r\nX-Foo: 1\r\nHost: a\r\nCookie: b=c\r\nKeep-Alive: 3\r\n\
         Proxy-Connection: keep-alive\r\nTE: gzip\r\nUpgrade: h2c\r\nX-Foo: 2\r\n\r\n",
        true,
        "GET /p HTTP/1.1\r\nHost: a\r\nCookie: b=c\r\n\r\n",
    );
    check(
        "GET /p HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: foo\r\n\r\n",
        false,
        "GET /p HTTP/1.1\r\nHost: a\r\nUpgrade: foo\r\nconnection: Upgrade\r\n\r\n",
    );
    // Empty lines before it are dropped; bare LFs become CRLF.
    check(
        "\r\n\r\nGET /p HTTP/1.1\r\nHost: a\r\n\r\n",
        true,
        "GET /p HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    check(
        "\nGET /p HTTP/1.1\nHost: a\nB: c\r\nC:\n\n",
        true,
        "GET /p HTTP/1.1\r\nHost: a\r\nB: c\r\nC:\r\n\r\n",
    );
}

#[test]
fn nobody_names_our_headers_away() {
    let input = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Forwarded-For\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n";
    let (_, mut head) = request(input).unwrap();
    prepare_request(&mut head, input, true).unwrap();
    head.headers.insert(b"x-forwarded-for", b"1.2.3.4").unwrap();
    let mut plan = ForwardPlan::new(4);
    plan.push_request(&head, input);
    let sent = drain(&mut plan, input, &head.headers, 1000);
    assert_eq!(
        sent,
        "GET / HTTP/1.1\r\nHost: a\r\nx-forwarded-for: 1.2.3.4\r\n\r\n"
    );
}

/// What a client of this version gets of a response, and whether it keeps its connection.
fn response_is(input: &str, client: Version, keep: bool, expected: &str, kept: bool) {
    let (sent, delivery) = forwarded_response(input, client, keep);
    assert_eq!(
        (sent.as_str(), delivery.keep_client),
        (expected, kept),
        "{input:?}"
    );
}

#[test]
fn responses_as_the_client_sees_them() {
    use Version::{Http10, Http11};
    let check = response_is;
    let plain = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
    check(plain, Http11, true, plain, true);
    check(
        plain,
        Http11,
        false,
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nconnection: close\r\n\r\n",
        false,
    );
    check(
        plain,
        Http10,
        true,
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nconnection: keep-alive\r\n\r\n",
        true,
    );
    check(
        plain,
        Http10,
        false,
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nconnection: close\r\n\r\n",
        false,
    );
    let old = "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n";
    check(
        old,
        Http11,
        true,
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nconnection: keep-alive\r\n\r\n",
        true,
    );
    check(old, Http11, false, old, false);
    check(
        "HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n",
        Http11,
        true,
        "HTTP/1.0 200 OK\r\n\r\n",
        false,
    );
    check(
        "HTTP/1.1 200 OK\r\n\r\n",
        Http11,
        true,
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n",
        false,
    );
    check(
        "HTTP/1.1 200 OK\r\nConnection: Upgrade, Keep-Alive, X-A\r\nUpgrade: h2\r\nX-A: 1\r\nContent-Length: 2\r\n\r\n",
        Http11,
        true,
        plain,
        true,
    );
    check(
        "HTTP/1.1 204 N\r\nContent-Length: 2\r\n\r\n",
        Http11,
        true,
        "HTTP/1.1 204 N\r\n\r\n",
        true,
    );
    check(
        "HTTP/1.1 100 C\r\nContent-Length: 2\r\n\r\n",
        Http11,
        false,
        "HTTP/1.1 100 C\r\n\r\n",
        false,
    );
    check(
        "HTTP/1.1 304 N\r\nContent-Length: 2\r\n\r\n",
        Http11,
        true,
        "HTTP/1.1 304 N\r\nContent-Length: 2\r\n\r\n",
        true,
    );
}

#[test]
fn chunked_responses_as_the_client_sees_them() {
    use Version::{Http10, Http11};
    let check = response_is;
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    check(
        chunked,
        Http11,
        true,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
            .replace("transfer-encoding", "Transfer-Encoding")
            .as_str(),
        true,
    );
    check(
        chunked,
        Http10,
        true,
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n",
        false,
    );
    assert_eq!(
        forwarded_response(chunked, Http10, true).1.body,
        BodyForm::DataOnly
    );
    check(
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        Http11,
        true,
        "HTTP/1.0 200 OK\r\n\r\n",
        false,
    );
}

#[test]
fn status_lines_without_reason_get_their_space() {
    for line in [
        "HTTP/1.1 204\r\n\r\n",
        "HTTP/1.1 204\n\n",
        "HTTP/1.1 204 \r\n\r\n",
    ] {
        assert_eq!(
            forwarded_response(line, Version::Http11, true).0,
            "HTTP/1.1 204 \r\n\r\n"
        );
    }
}

/// How the response to such a request is framed; `None`: it is none.
fn framing_is(input: &str, method: Method, expected: Option<Framing>) {
    let asked = Asked {
        method,
        upgrade: false,
    };
    let found = response(input.as_bytes(), asked)
        .ok()
        .map(|(parsed, head)| {
            assert_eq!(parsed, Parsed::Complete, "{input:?}");
            head.framing
        });
    assert_eq!(found, expected, "{input:?}");
}

#[test]
fn framing_of_responses() {
    let (check, get) = (framing_is, Method::Get);
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
        get,
        Some(Framing::Length(2)),
    );
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
        Method::Head,
        Some(Framing::None),
    );
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        Method::Head,
        None,
    );
    check("HTTP/1.1 200 OK\r\n\r\n", get, Some(Framing::UntilClose));
    check("HTTP/1.1 200\r\n\r\n", get, Some(Framing::UntilClose));
    check("HTTP/1.1 200 \r\n\r\n", get, Some(Framing::UntilClose));
    check(
        "HTTP/1.1 200 O\u{e4}\r\n\r\n",
        get,
        Some(Framing::UntilClose),
    );
    check(
        "HTTP/1.1 204 N\r\nTransfer-Encoding: chunked\r\n\r\n",
        get,
        Some(Framing::None),
    );
    check(
        "HTTP/1.1 304 N\r\nContent-Length: 2\r\n\r\n",
        get,
        Some(Framing::None),
    );
    check("HTTP/1.1 100 C\r\n\r\n", get, Some(Framing::None));
    check(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n",
        get,
        Some(Framing::Chunked),
    );
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n",
        get,
        Some(Framing::Length(2)),
    );
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
        get,
        None,
    );
    check(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        get,
        None,
    );
    check("HTTP/1.1 200 OK\r\nTransfer-Encoding: \r\n\r\n", get, None);
    check(
        "HTTP/1.1 200 OK\r\n\r\n",
        Method::Connect,
        Some(Framing::None),
    );
    check(
        "HTTP/1.1 403 F\r\nContent-Length: 2\r\n\r\n",
        Method::Connect,
        Some(Framing::Length(2)),
    );
    check("HTTP/1.1 999 OK\r\n\r\n", get, Some(Framing::UntilClose));
}

#[test]
fn broken_responses_have_no_framing() {
    for bad in [
        "HTTP/1.1 099 OK",
        "HTTP/1.1 99 OK",
        "HTTP/1.1 1000 OK",
        "HTTP/1.1 20x OK",
        "HTTP/1.1 +20 OK",
        "HTTP/1.2 200 OK",
        "HTTP/2.0 200 OK",
        "http/1.1 200 OK",
        "ICY 200 OK",
        "HTTP/1.1",
        "HTTP/1.1 200 O\0K",
        " HTTP/1.1 200 OK",
        "HTTP/1.1 200 OK\r\nA : b",
        "HTTP/1.1 200 OK\r\nA: b\0",
        "HTTP/1.1 200 OK\r\nA: b\rc",
        "HTTP/1.1 200 OK\r\nabc",
        "HTTP/1.1 200 OK\r\n A: b",
    ] {
        framing_is(&format!("{bad}\r\n\r\n"), Method::Get, None);
    }
}

#[test]
fn folded_response_lines_are_unfolded() {
    let input = "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\n";
    let (sent, _) = forwarded_response(input, Version::Http11, true);
    assert_eq!(
        sent,
        "HTTP/1.1 200 OK\r\nX: a   b\r\nContent-Length: 2\r\n\r\n"
    );
    let hidden = b"HTTP/1.1 200 OK\r\nContent-Length:\r\n 2\r\n\r\n";
    assert!(response(hidden, Asked::default()).is_err());
}

#[test]
fn heads_have_limits() {
    let lines = |count: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "A: b\r\n".repeat(count)
        )
    };
    assert!(request(lines(99).as_bytes()).is_ok());
    assert_eq!(
        request(lines(100).as_bytes()).unwrap_err().fault,
        Fault::TooManyHeaders
    );
    let mut large = RequestHead::new(5000, 1024);
    assert_eq!(large.parse(lines(4000).as_bytes()), Ok(Parsed::Complete));
    assert_eq!(large.headers.lines().len(), 4001);
}

#[test]
fn reason_and_ranges() {
    let input = b"HTTP/1.1 404 Not Fo\xfcnd\r\nA: b\r\n\r\nbody";
    let (_, head) = response(input, Asked::default()).unwrap();
    assert_eq!(head.reason(input), b"Not Fo\xfcnd");
    assert_eq!(&input[head.end as usize..], b"body");
    let (_, head) = response(b"HTTP/1.1 404\r\n\r\n", Asked::default()).unwrap();
    assert!(head.reason(input).is_empty());
}

#[test]
fn keep_alive_rules() {
    let kept = |version: &str, lines: &str| {
        let input = format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n");
        request(input.as_bytes()).unwrap().1.keeps_alive()
    };
    assert!(kept("1.1", ""));
    assert!(!kept("1.1", "Connection: Close\r\n"));
    assert!(!kept("1.1", "Connection: a\r\nConnection: b, close\r\n"));
    assert!(!kept("1.0", ""));
    assert!(kept("1.0", "Connection: Keep-Alive\r\n"));
    assert!(!kept("1.0", "Connection: keep-alive, close\r\n"));
}

#[test]
fn a_head_cut_anywhere_parses_to_the_same() {
    let inputs: [&[u8]; 5] = [
        b"\r\n\r\nGET /a?b=c HTTP/1.1\r\nHost: a\r\nCookie: x=y\r\nContent-Length: 3\r\n\r\nabcGET ",
        b"POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nA: b\0\r\n\r\n",
    ];
    for input in inputs {
        let whole = request(input).map(|(_, head)| summary(&head));
        for cut in 0..input.len() {
            let mut head = RequestHead::new(101, 1024);
            let found = match head.parse(&input[..cut]) {
                Ok(Parsed::Incomplete) => head.parse(input),
                other => other,
            };
            compare(found.map(|_| summary(&head)), &whole, cut);
        }
        let mut head = RequestHead::new(101, 1024);
        let found = (1..=input.len())
            .map(|end| head.parse(&input[..end]))
            .find(|parsed| *parsed != Ok(Parsed::Incomplete));
        compare(found.unwrap().map(|_| summary(&head)), &whole, 0);
    }
}

/// The same head; or the same kind of fault (a cut head may show only a later fault, never none).
fn compare(found: Result<String, HeadError>, whole: &Result<String, HeadError>, cut: usize) {
    match (found, whole) {
        (Ok(found), Ok(whole)) => assert_eq!(found, *whole, "cut at {cut}"),
        (Err(found), Err(whole)) => assert_eq!(
            (found.fault, found.position),
            (whole.fault, whole.position),
            "cut at {cut}"
        ),
        (found, whole) => panic!("cut at {cut}: {found:?} is not {whole:?}"),
    }
}

fn summary(head: &RequestHead) -> String {
    format!(
        "{} {} {:?} {:?} {:?} {:?} {:?} {:?}",
        head.start,
        head.end,
        head.method,
        head.target_range,
        head.version,
        head.framing,
        head.connection,
        head.headers.lines()
    )
}

#[test]
fn one_byte_at_a_time_is_not_parsed_each_time() {
    let mut guard = facts::Guard::default();
    let input = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(10_000));
    let tries = (1..=input.len())
        .filter(|end| guard.is_worth_trying(&input.as_bytes()[..*end]))
        .count();
    assert!(tries < 20, "{tries} attempts");
    assert!(guard.is_worth_trying(format!("{input}x").as_bytes()) || tries > 0);
}

#[test]
fn plans_survive_shifts_and_join_touching_pieces() {
    let input = b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
    let (_, head) = request(input).unwrap();
    let mut plan = ForwardPlan::new(1);
    plan.push_request(&head, input);
    plan.push_buffer(ByteRange::new(head.end as usize, input.len()));
    let mut slices = [IoSlice::new(&[]); 8];
    assert_eq!(plan.slices(input, &head.headers, &mut slices), 1);
    plan.sent(20);
    plan.shift(20);
    assert_eq!(plan.remaining(), input.len() - 20);
    assert_eq!(
        drain(&mut plan, &input[20..], &head.headers, 1).as_bytes(),
        &input[20..]
    );
}

/// Pseudo-random numbers that repeat (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

#[test]
fn random_and_damaged_bytes_do_no_harm() {
    let mut random = Random(4711);
    let seed: &[u8] = b"POST /a HTTP/1.1\r\nHost: a\r\nCookie: a=\"b\"; c=d\r\nTransfer-Encoding: chunked\r\nConnection: x, y\r\n\r\n5;e=f\r\nabcde\r\n0\r\nT: u\r\n\r\n";
    let answer: &[u8] = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; c, d=e\r\nX: y\r\n z\r\nContent-Length: 10\r\n\r\n0123456789";
    for round in 0..20_000 {
        let mut bytes = if round % 2 == 0 {
            seed.to_vec()
        } else {
            answer.to_vec()
        };
        for _ in 0..1 + random.below(4) {
            let at = random.below(bytes.len());
            match random.below(3) {
                0 => bytes[at] = random.next() as u8,
                1 => bytes.insert(at, b"\r\n \t:;,\0=\""[random.below(10)]),
                _ => drop(bytes.drain(at..)),
            }
            if bytes.is_empty() {
                break;
            }
        }
        exercise(&bytes);
    }
}

/// Takes a message through everything that a stream does with it; a forwarded head must parse again, strictly, to the same.
fn exercise(bytes: &[u8]) {
    if let Ok((Parsed::Complete, mut head)) = request(bytes) {
        let framing = head.framing;
        read_cookies(&head.headers, bytes, CookieHeader::Cookie);
        prepare_request(&mut head, bytes, false).unwrap();
        let mut plan = ForwardPlan::new(2);
        plan.push_request(&head, bytes);
        let sent = drain(&mut plan, bytes, &head.headers, 50_000);
        if sent.is_ascii() {
            let (parsed, again) = request(sent.as_bytes()).unwrap();
            assert_eq!(
                (parsed, again.framing, again.end as usize),
                (Parsed::Complete, framing, sent.len()),
                "{sent:?}"
            );
            assert!(!sent.replace("\r\n", "").contains(['\r', '\n']), "{sent:?}");
        }
        let mut body = BodyDecoder::new(framing, BodyForm::Chunked);
        let _ = body.advance(&bytes[head.end as usize..]);
    }
    if let Ok((Parsed::Complete, mut head)) = response(bytes, Asked::default()) {
        read_cookies(&head.headers, bytes, CookieHeader::SetCookie);
        prepare_response(&mut head, bytes, receiver(Version::Http11), true).unwrap();
        let mut plan = ForwardPlan::new(2);
        plan.push_response(&head, bytes);
        let sent = drain(&mut plan, bytes, &head.headers, 50_000);
        assert!(!sent.replace("\r\n", "").contains(['\r', '\n']), "{sent:?}");
    }
}

fn read_cookies(headers: &HeaderTable, bytes: &[u8], kind: CookieHeader) {
    for line in headers.lines() {
        let (line, mut offset) = (headers.value(line, bytes), 0);
        while let Some(value) = next_cookie(line, &mut offset, b"a", kind) {
            assert!(value.len() + offset <= 2 * line.len() + 1);
        }
    }
}
