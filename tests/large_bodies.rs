//! Bodies that pass through pipes: nothing lost, nothing added, whatever their framing and however their ends behave.

pub mod support;

use std::net::TcpStream;
use std::time::Duration;

use support::{Answer, Client, Origin, Program, Proxy, Syslog, free_address, wait_until};

/// Bytes that say where they belong.
fn pattern(count: usize) -> Vec<u8> {
    (0..count as u32 / 4).flat_map(u32::to_le_bytes).collect()
}

const BODY_BYTES: usize = 3_000_000;

struct Scene {
    proxy: Proxy,
    origin: Origin,
    syslog: Syslog,
    address: std::net::SocketAddr,
}

fn scene(answer: impl Fn(&support::Recorded) -> Answer + Send + Sync + 'static) -> Scene {
    let origin = Origin::start(answer);
    let syslog = Syslog::start();
    let address = free_address();
    let proxy = Proxy::start(
        Program::Burdock,
        &format!(
            "defaults\n mode http\n log {} local0\n option httplog\n timeout client 10s\n timeout server 10s\n timeout connect 5s\n\
             listen l\n bind {address}\n server s {}\n",
            syslog.address(),
            origin.address()
        ),
    );
    wait_until("the start", || TcpStream::connect(address).is_ok());
    Scene {
        proxy,
        origin,
        syslog,
        address,
    }
}

fn chunked(body: &[u8], chunk_bytes: usize) -> Vec<u8> {
    let mut message = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(chunk_bytes) {
        message.extend(format!("{:x}\r\n", chunk.len()).bytes());
        message.extend(chunk);
        message.extend(b"\r\n");
    }
    message.extend(b"0\r\n\r\n");
    message
}

#[test]
fn answers_of_every_framing_arrive_whole_one_after_the_other() {
    let scene = scene(|request| {
        let body = pattern(BODY_BYTES);
        match request.target() {
            "/length" => Answer::ok(&body, &[]),
            "/chunks" => Answer::raw(chunked(&body, 700_000)),
            "/small-chunks" => Answer::raw(chunked(&body, 40_001)),
            _ => Answer::raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
                .then(body)
                .close(),
        }
    });
    let mut client = Client::connect(scene.address);
    for target in ["/length", "/chunks", "/small-chunks", "/length", "/close"] {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        if target == "/length" {
            // A client that takes its time: both the socket and the pipe are full meanwhile.
            std::thread::sleep(Duration::from_millis(200));
        }
        let answer = client.read_response();
        assert!(
            answer.body == pattern(BODY_BYTES),
            "{target}: {} bytes",
            answer.body.len()
        );
    }
    drop(scene.proxy);
}

#[test]
fn a_request_with_a_large_body_arrives_whole_and_is_counted() {
    let scene = scene(|_| Answer::ok("thanks", &[]));
    let mut client = Client::connect(scene.address);
    for _ in 0..2 {
        let body = pattern(BODY_BYTES);
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
            body.len()
        ));
        client.send(&body);
        assert_eq!(client.read_response().body, b"thanks");
        let requests = scene.origin.requests();
        assert!(requests.last().expect("a request").body == body);
    }
    drop(scene.proxy);
}

#[test]
fn an_answer_that_is_cut_off_is_cut_off_for_the_client_and_the_log_says_who_did_it() {
    let scene = scene(|_| {
        Answer::raw(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {BODY_BYTES}\r\n\r\n"
        ))
        .then(pattern(BODY_BYTES / 2))
        .close()
    });
    let mut client = Client::connect(scene.address);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let all = client.read_to_end().unwrap_or_default();
    assert!(all.len() > BODY_BYTES / 2 && all.len() < BODY_BYTES);
    assert!(all.ends_with(&pattern(BODY_BYTES / 2)[BODY_BYTES / 2 - 1000..]));
    wait_until("the log line", || {
        scene
            .syslog
            .lines()
            .iter()
            .any(|line| line.contains(" SD--"))
    });
    drop(scene.proxy);
}

#[test]
fn a_client_that_leaves_in_the_middle_costs_nobody_else_a_byte() {
    let scene = scene(|_| Answer::ok(pattern(BODY_BYTES), &[]));
    for _ in 0..50 {
        let mut leaving = Client::connect(scene.address);
        leaving.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        leaving.read_bytes(100_000).expect("a part");
        drop(leaving);
    }
    let mut client = Client::connect(scene.address);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.read_response().body == pattern(BODY_BYTES));
    drop(scene.proxy);
}
