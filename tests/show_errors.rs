//! `show errors` beside HAProxy's, line for line: what is kept of invalid requests and responses, where the fault is, how it is shown.
//!
//! Left out of the comparison: dates, the ports of clients, and where the buffer wraps, which HAProxy's does at another place.

pub mod support;

use std::net::SocketAddr;

use support::world::World;
use support::{Answer, Client, Program, run_to_end, wait_until};

const CONFIGURATION: &str = "global
    stats socket {dir}/stats.sock mode 600 level admin
    stats socket {dir}/operator.sock mode 600 level operator
    stats socket {dir}/user.sock mode 600 level user
    log {log} format short daemon
defaults
    mode http
    timeout client 10s
    timeout server 10s
    timeout connect 10s
frontend fe
    bind {fe0}
    default_backend be
frontend closing
    bind {fe1}
    option http-server-close
    default_backend be
listen li
    id 77
    bind {fe2}
    server one {origin}
listen relaxed
    bind {fe3}
    option accept-invalid-http-request
    option accept-invalid-http-response
    server one {origin}
frontend tcp
    mode tcp
    bind {dir}/tcp.sock
    default_backend raw
backend raw
    mode tcp
    server one {origin}
backend be
    server s1 {origin}
    server s2 {origin}
";

/// Both programs, each with a server that answers `/bad-…` with what is wrong.
fn both() -> [World; 2] {
    [Program::Burdock, Program::Haproxy].map(|program| {
        World::scripted(program, CONFIGURATION, |request| {
            let answer: &[u8] = match request.target() {
                "/bad-name" => b"HTTP/1.1 200 OK\r\nBad Name: x\r\nContent-Length: 0\r\n\r\n",
                "/bad-status" => b"HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n",
                "/bad-version" => b"this is no HTTP\r\nContent-Length: 0\r\n\r\n",
                "/bad-start" => b" HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                "/bad-code" => b"HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n",
                "/bad-length" => b"HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc",
                "/bad-chunk" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
                "/bad-chunk-end" => {
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcdefg\r\n0\r\n\r\n"
                }
                "/binary" => return Answer::raw(binary()),
                _ => return Answer::ok("app", &[]),
            };
            Answer::raw(answer)
        })
    })
}

/// Every byte, in lines of many lengths, after a line that is none of HTTP's.
fn binary() -> Vec<u8> {
    let mut bytes = b"HTTP/1.1 200 OK\r\n(\r\n".to_vec();
    for length in 0..200usize {
        bytes.extend((0..length).map(|at| (at * 7 + length * 13) as u8));
        if length % 3 == 0 {
            bytes.push(b'\n');
        }
    }
    bytes.truncate(12_000);
    bytes
}

fn asked(world: &World, command: &str) -> String {
    let answer = world.proxy.stats().command(command);
    let mut text = String::new();
    for line in answer.lines() {
        let line = match (line.find('['), line.find(']')) {
            (Some(from), Some(to)) if line.contains("/20") && from < to => {
                format!("{}DATE{}", &line[..=from], &line[to..])
            }
            _ => line.to_owned(),
        };
        let line = match line.split_once("src 127.0.0.1:") {
            Some((before, _)) => format!("{before}src 127.0.0.1:PORT"),
            None => line,
        };
        let line = match (line.find("wraps at "), line.find(", error at")) {
            (Some(from), Some(to)) => format!("{}wraps{}", &line[..from], &line[to..]),
            _ => line,
        };
        text += &line;
        text.push('\n');
    }
    text
}

fn send(address: SocketAddr, bytes: &[u8]) {
    let mut client = Client::connect(address);
    client.send(bytes);
    let _ = client.read_to_end();
}

/// Sends the same to both and compares what is shown of it, whole and in parts.
fn compare(worlds: &[World; 2], front: usize, bytes: &[u8]) {
    let before = worlds.each_ref().map(total);
    for world in worlds {
        send(world.fronts[front], bytes);
    }
    let sent = String::from_utf8_lossy(bytes).into_owned();
    for (world, before) in worlds.iter().zip(before) {
        wait_until("the fault to be counted", || total(world) > before);
    }
    for command in [
        "show errors",
        "show errors -1 request",
        "show errors be response",
    ] {
        let [ours, theirs] = worlds.each_ref().map(|world| asked(world, command));
        assert!(
            theirs.starts_with("Total events captured on [DATE] : "),
            "{theirs}"
        );
        assert_eq!(ours, theirs, "{command} after {sent:?}");
    }
}

fn total(world: &World) -> u64 {
    let answer = world.proxy.stats().command("show errors");
    let first = answer.lines().next().unwrap_or_default();
    let count = first.rsplit(' ').next().unwrap_or_default();
    count.parse().unwrap_or_else(|_| panic!("{answer}"))
}

#[test]
fn invalid_requests_are_shown_as_by_haproxy() {
    let worlds = both();
    let none = worlds.each_ref().map(|world| asked(world, "show errors"));
    assert_eq!(none[0], none[1]);
    let long = [
        &b"GET /"[..],
        &b"a".repeat(200),
        b" HTTP/1.1\r\nHost: x\r\nX: ",
        &b"b".repeat(131),
        b"\\\t\xc3",
        &b"c".repeat(77),
        b"\r\nA\rB: c\nd\x1b\r\n\r\n",
    ]
    .concat();
    let cases: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\nHost: x\r\nBad Name\x01: y\t\\ \x1b\xff\r\n\r\nabc",
        b"GET / HTTP/1.1\r\n: x\r\n\r\n",
        b"GET / HTTP/1.0\r\nBad Name: x\r\n\r\n",
        b"(GET / HTTP/1.1\r\n\r\n",
        b"G(T / HTTP/1.1\r\n\r\n",
        b"GET /a\0b HTTP/1.1\r\n\r\n",
        b"GET /a#b HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1,1\r\n\r\n",
        b"GET / http/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcdefg\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nabc\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nBad Name: y\r\n\r\n",
        &long,
    ];
    for bytes in cases {
        for front in 0..3 {
            compare(&worlds, front, bytes);
        }
    }
}

#[test]
fn invalid_responses_are_shown_as_by_haproxy() {
    let worlds = both();
    let paths = [
        "bad-name",
        "bad-status",
        "bad-version",
        "bad-start",
        "bad-code",
        "bad-length",
        "bad-chunk",
        "bad-chunk-end",
        "binary",
    ];
    for path in paths {
        for front in [0, 2] {
            let request = format!("GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            compare(&worlds, front, request.as_bytes());
        }
    }
}

/// What an option lets through is shown too, as what it is.
#[test]
fn what_is_let_through_is_shown_as_by_haproxy() {
    let worlds = both();
    let cases: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\nHost: x\r\nBad Name: y\r\nAn(other: z\r\nConnection: close\r\n\r\n",
        b"GET /a#b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /\xe9 HTTP/1.1\r\nHost: x\r\nBad Name: y\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.0\r\nX\x01Y: z\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nX Y: z\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"GET /bad-name HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /bad-length HTTP/1.1\r\nHost: x\r\nX Y: z\r\nConnection: close\r\n\r\n",
    ];
    for bytes in cases {
        compare(&worlds, 3, bytes);
    }
    for world in &worlds {
        let before = total(world);
        let served = |request: &[u8]| {
            let mut client = Client::connect(world.fronts[3]);
            client.send(request);
            client.read_to_end().expect("an answer")
        };
        let answers = [
            served(b"GET / RTSP/1.0\r\nHost: x\r\n\r\n"),
            served(b"GET / HTTP/1.10\r\nHost: x\r\n\r\n"),
            served(b"GET /\r\n"),
        ];
        for answer in answers {
            assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{answer:?}");
        }
        assert_eq!(total(world), before, "a version is nothing to show");
    }
}

/// The fault comes when the request's head is on its way already.
#[test]
fn a_fault_in_a_body_that_comes_later_is_shown_with_its_backend() {
    let worlds = both();
    let shown = worlds.each_ref().map(|world| {
        let mut client = Client::connect(world.fronts[0]);
        client.send("POST /slow HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        // Each piece is read alone because the one before has gone on already.
        let has_come = |part: &[u8]| {
            let came = world.origin.raw(0);
            came.windows(part.len()).any(|bytes| bytes == part)
        };
        wait_until("the head to reach the server", || {
            world.origin.connections() == 1 && has_come(b"\r\n\r\n")
        });
        client.send("5\r\nabcde\r\n");
        wait_until("the first chunk to reach the server", || {
            has_come(b"abcde\r\n")
        });
        client.send("3\r\nabcde\r\n");
        wait_until("the fault", || total(world) == 1);
        asked(world, "show errors")
    });
    for text in &shown {
        assert!(text.contains("  backend be (#"), "{text}");
        assert!(text.contains("error at position 6\n"), "{text}");
        assert!(text.contains("H1 body len 8 bytes :\n"), "{text}");
    }
    assert_eq!(shown[0], shown[1]);
}

#[test]
fn who_asks_for_what_gets_what_haproxy_gives() {
    let worlds = both();
    for world in &worlds {
        send(world.fronts[2], b"GET / HTTP/1.1\r\nBad Name: y\r\n\r\n");
        send(
            world.fronts[2],
            b"GET /bad-name HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        );
        wait_until("both", || total(world) == 2);
    }
    let commands = [
        "show errors",
        "show errors -1",
        "show errors li",
        "show errors 77",
        "show errors 77 request",
        "show errors 77 response",
        "show errors li request",
        "show errors li response",
        "show errors li requests",
        "show errors li request more",
        "show errors -1 response",
        "show errors -5",
        "show errors 99",
        "show errors 77x",
        "show errors 0",
        "show errors x",
        "show errors request",
        "show errors be",
        "show errors tcp",
        "show errors fe response",
    ];
    for command in commands {
        let [ours, theirs] = worlds.each_ref().map(|world| asked(world, command));
        assert_eq!(ours, theirs, "{command}");
    }
    for level in ["user", "operator"] {
        let [ours, theirs] = worlds.each_ref().map(|world| {
            let socket = world.proxy.folder().file(&format!("{level}.sock"));
            let answer = support::Stats::at(socket).command("show errors 99");
            answer
                .lines()
                .next()
                .unwrap_or_default()
                .split('[')
                .next()
                .unwrap_or_default()
                .to_owned()
        });
        assert_eq!(ours, theirs, "{level}");
    }
    for world in &worlds {
        world.proxy.stats().command("clear counters all");
    }
    assert_eq!(total(&worlds[0]), total(&worlds[1]));
}

/// One request and one response a proxy, whatever comes; and that is said.
#[test]
fn what_is_kept_is_bounded_and_announced() {
    let world = World::scripted(Program::Burdock, CONFIGURATION, |_| Answer::ok("app", &[]));
    for length in [10, 20_000, 60_000] {
        let request = [
            &b"GET / HTTP/1.1\r\nX: "[..],
            &b"y".repeat(length),
            b"\r\nBad Name: z\r\n\r\n",
        ];
        let mut client = Client::connect(world.fronts[0]);
        // What is too large is refused before it is read to its end.
        let _ = client.try_send(request.concat());
        let _ = client.read_to_end();
    }
    wait_until("three", || total(&world) == 3);
    let shown = asked(&world, "show errors");
    assert_eq!(shown.matches("invalid request").count(), 1, "{shown}");
    assert!(shown.contains(", event #2, "), "{shown}");
    let length = shown
        .split("\n  len ")
        .nth(1)
        .and_then(|rest| rest.split(',').next());
    let length: usize = length
        .and_then(|digits| digits.parse().ok())
        .expect("a length");
    assert!((10_000..=16_384).contains(&length), "{length}");

    let folder = support::TempDir::new("limits");
    let text = "defaults\n mode http\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n\
                listen a\n bind 127.0.0.1:1\nfrontend b\n bind 127.0.0.1:2\n default_backend c\nbackend c\n";
    let path = folder.write("a.cfg", text);
    let checked = run_to_end(
        Program::Burdock,
        &["-c", "-V", "-f", path.to_str().expect("a path")],
    );
    assert!(
        checked.stdout.contains(", 4 invalid messages, "),
        "{}",
        checked.stdout
    );
}

/// As in HAProxy, a new process has seen none.
#[test]
fn a_reload_forgets() {
    let world = World::scripted(Program::Burdock, CONFIGURATION, |_| Answer::ok("app", &[]));
    send(world.fronts[0], b"GET / HTTP/1.1\r\nBad Name: y\r\n\r\n");
    wait_until("the fault", || total(&world) == 1);
    world.proxy.signal("USR2");
    wait_until("the new worker", || {
        let stats = world.proxy.stats();
        let answer = stats.try_command("show errors").unwrap_or_default();
        answer
            .lines()
            .next()
            .is_some_and(|line| line.ends_with(" : 0"))
    });
}
