//! Clients and servers that behave badly, alone and together: nothing may be lost, mixed up, sent twice or held up by it.

pub mod support;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use socket2::SockRef;
use support::{
    Answer, Client, Gate, Origin, Program, Proxy, Syslog, free_address, unique_loopback, wait_until,
};

/// Size of the proxy's buffers.
const BUFFER_BYTES: usize = 16_384;

fn start(global: &str, lines: &[&str]) -> (Proxy, SocketAddr, Syslog) {
    let (address, log) = (free_address(), Syslog::start());
    let mut text = format!(
        "global\n    stats socket {{dir}}/stats.sock level admin\n    log {} local0\n    {global}\n\
         defaults\n    mode http\n    log global\n    option httplog\n    retries 1\n    timeout connect 2s\n\
         timeout client 10s\n    timeout server 10s\nlisten app\n    bind {address}\n",
        log.address()
    );
    for line in lines {
        let _ = writeln!(text, "    {line}");
    }
    (Proxy::start(Program::Burdock, &text), address, log)
}

fn start_for(origin: &Origin, lines: &[&str]) -> (Proxy, SocketAddr, Syslog) {
    let server = format!("server a {}", origin.address());
    start("", &[&[server.as_str()], lines].concat())
}

fn request(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")
}

fn sent(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Client {
    let mut client = Client::connect(address);
    client.send(bytes);
    client
}

/// Nobody holds anything: not on the server, not in a queue.
fn wait_all_left(proxy: &Proxy) {
    for (of, field) in [
        ("a", "scur"),
        ("a", "qcur"),
        ("BACKEND", "scur"),
        ("BACKEND", "qcur"),
    ] {
        wait_until(&format!("{field} of {of} to be 0"), || {
            proxy.stat("app", of, field) == 0
        });
    }
}

/// A server whose every connection is played by `play`, one after the other.
fn played(mut play: impl FnMut(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((unique_loopback(), 0)).expect("cannot listen");
    let address = listener.local_addr().expect("a bound socket");
    std::thread::spawn(move || {
        while let Ok((socket, _)) = listener.accept() {
            play(socket);
        }
    });
    address
}

/// Closes a connection, and returns when the kernel at its other end has confirmed that: on a busy machine the end may be under way for a while.
fn end_and_see_it_arrive(socket: TcpStream) {
    const FIN_WAIT_2: &str = "05";
    let port = |address: std::io::Result<SocketAddr>| address.expect("connected").port();
    let (ours, theirs) = (port(socket.local_addr()), port(socket.peer_addr()));
    let (ours, theirs) = (format!(":{ours:04X}"), format!(":{theirs:04X}"));
    drop(socket);
    wait_until("the end to arrive", || {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
        table.lines().any(|line| {
            let mut fields = line.split_ascii_whitespace().skip(1);
            let mut next_is =
                |wanted: &str| fields.next().is_some_and(|field| field.ends_with(wanted));
            next_is(&ours) && next_is(&theirs) && next_is(FIN_WAIT_2)
        })
    });
}

/// Reads one request head.
fn read_head(socket: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if socket.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

fn reset(socket: TcpStream) {
    SockRef::from(&socket)
        .set_linger(Some(Duration::ZERO))
        .expect("a TCP socket");
}

#[test]
fn a_request_behind_one_that_timed_out_is_whole() {
    let origin = Origin::start(|request| match request.target() {
        "/silence" => Answer::silence(),
        target => Answer::ok(target, &[]),
    });
    let (proxy, address, _log) = start_for(&origin, &["timeout server 200ms"]);
    let hidden = "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n";
    let outer = format!(
        "POST /outer HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{hidden}",
        hidden.len()
    );
    let mut client = sent(address, request("/silence") + &outer + &request("/last"));
    assert_eq!(client.read_response().status, 504);
    assert_eq!(client.read_response().text(), "/outer");
    assert_eq!(client.read_response().text(), "/last");
    assert!(origin.requests_for("/hidden").is_empty());
    wait_all_left(&proxy);
}

#[test]
fn what_a_server_sends_behind_its_response_reaches_nobody() {
    let origin = Origin::start(|request| match request.target() {
        "/poison" => {
            // The response fills the proxy's buffer to the last byte; the rest stays in the socket.
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n";
            let body = "x".repeat(BUFFER_BYTES - head.len());
            let head = head.replace("12345", &body.len().to_string());
            let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
            Answer::raw(head + &body + evil)
        }
        target => Answer::ok(target, &[]),
    });
    let (proxy, address, _log) = start_for(&origin, &[]);
    for _ in 0..5 {
        assert_eq!(
            sent(address, request("/poison")).read_response().status,
            200
        );
        assert_eq!(
            sent(address, request("/good")).read_response().text(),
            "/good"
        );
    }
    wait_all_left(&proxy);
}

#[test]
fn a_client_that_sends_everything_and_its_end_gets_every_answer() {
    let gate = Gate::new();
    let origin = Origin::start({
        let gate = gate.clone();
        move |request| {
            gate.pass();
            Answer::ok(request.target(), &[])
        }
    });
    let (proxy, address, _log) = start_for(&origin, &["maxconn 100"]);
    let pipeline: String = (0..1000).map(|i| request(&format!("/{i}"))).collect();
    let mut client = sent(address, pipeline);
    client.shutdown_write();
    gate.open();
    for i in 0..1000 {
        assert_eq!(client.read_response().text(), format!("/{i}"));
    }
    assert!(client.is_closed());
    wait_all_left(&proxy);
}

#[test]
fn an_upload_that_ends_early_while_it_waits_for_a_place() {
    let gate = Gate::new();
    let origin = Origin::start({
        let gate = gate.clone();
        move |_| {
            gate.pass();
            Answer::ok("ok", &[])
        }
    });
    let server = format!("server a {} maxconn 1", origin.address());
    let (proxy, address, log) = start("", &[&server]);
    let mut first = sent(address, request("/held"));
    wait_until("the place to be taken", || {
        proxy.stat("app", "a", "scur") == 1
    });
    let half = "POST /half HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc";
    let mut second = sent(address, half);
    second.shutdown_write();
    wait_until("it to wait", || proxy.stat("app", "BACKEND", "qcur") == 1);
    gate.open();
    assert_eq!(first.read_response().status, 200);
    assert!(second.is_closed());
    let line = log.wait_for_text("POST /half");
    assert!(line.contains(" CD-- "), "{line}");
    wait_all_left(&proxy);
}

#[test]
fn a_reset_is_no_end_of_a_response() {
    let gate = Gate::new();
    let address = played({
        let gate = gate.clone();
        move |mut socket| {
            read_head(&mut socket);
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\n\r\npart");
            gate.pass();
            reset(socket);
        }
    });
    let (proxy, address, log) = start("", &[&format!("server a {address}")]);
    let mut client = sent(address, request("/"));
    wait_until("the first part to pass", || {
        proxy.stat("app", "a", "bout") > 20
    });
    gate.open();
    let _ = client.try_read_response();
    let line = log.wait_for_text("GET /");
    assert!(line.contains(" SD-- "), "{line}");
    assert_eq!(proxy.stat("app", "a", "srv_abrt"), 1);
    wait_all_left(&proxy);
}

/// A server that keeps its first connection after an answer, then says something nobody asked for and resets it.
fn grumbling_server(grumble: Gate, grumbled: Gate) -> SocketAddr {
    let mut is_first = true;
    played(move |mut socket| {
        if std::mem::take(&mut is_first) {
            read_head(&mut socket);
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst");
            grumble.pass();
            let text = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 7\r\n\r\ngrumble";
            let _ = socket.write_all(text.as_bytes());
            reset(socket);
            grumbled.open();
            return;
        }
        while read_head(&mut socket).is_some() {
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nagain");
        }
    })
}

#[test]
fn a_dead_connection_is_noticed_before_anything_is_sent_on_it() {
    for method in ["GET", "POST"] {
        let (grumble, grumbled) = (Gate::new(), Gate::new());
        let server = grumbling_server(grumble.clone(), grumbled.clone());
        let (proxy, address, _log) = start("", &[&format!("server a {server}")]);
        let mut client = sent(address, request("/"));
        assert_eq!(client.read_response().text(), "first");
        wait_until("the connection to be idle", || {
            proxy.stat("app", "a", "idle_conn_cur") == 1
        });
        proxy.frozen(|| {
            client.send(format!(
                "{method} /x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"
            ));
            grumble.open();
            grumbled.pass();
        });
        assert_eq!(client.read_response().text(), "again", "{method}");
        wait_all_left(&proxy);
    }
}

#[test]
fn a_get_on_a_dying_connection_is_repeated_a_post_is_not() {
    let address = played(|mut socket| {
        if let Some(head) = read_head(&mut socket) {
            assert!(!head.is_empty());
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
        // The second request on a connection is taken and never answered.
        read_head(&mut socket);
    });
    let (proxy, address, _log) = start("", &[&format!("server a {address}")]);
    let mut client = Client::connect(address);
    for _ in 0..5 {
        assert_eq!(client.ask(&request("/get")).text(), "ok");
    }
    let post = "POST /post HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
    client.send(post);
    assert!(
        client.is_closed(),
        "a request that may have had an effect is the client's to repeat"
    );
    wait_all_left(&proxy);
}

#[test]
fn a_pipeline_that_we_answer_ourselves_holds_up_nobody() {
    let (proxy, address, _log) = start("", &["timeout connect 2s"]);
    let flood = Client::connect(address);
    let mut writer = flood.stream().try_clone().expect("a socket");
    let mut reader = flood.stream().try_clone().expect("a socket");
    let writing = std::thread::spawn(move || {
        let pipeline = request("/flood").repeat(1000);
        while writer.write_all(pipeline.as_bytes()).is_ok() {}
    });
    let reading = std::thread::spawn(move || {
        let mut bytes = [0; 65_536];
        while reader.read(&mut bytes).is_ok_and(|count| count > 0) {}
    });
    let started = Instant::now();
    for _ in 0..20 {
        assert_eq!(sent(address, request("/")).read_response().status, 503);
    }
    let elapsed = started.elapsed();
    let _ = flood.stream().shutdown(std::net::Shutdown::Both);
    let _ = (writing.join(), reading.join());
    assert!(elapsed < Duration::from_secs(5), "{elapsed:?}");
    drop(proxy);
}

#[test]
fn a_trailer_larger_than_a_buffer_is_refused() {
    let origin = Origin::start(|request| {
        let line = format!("X-Long: {}", "x".repeat(7000));
        match request.target() {
            "/long" => Answer::raw(format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n{line}\r\n\r\n"
            )),
            _ => Answer::ok("ok", &[]),
        }
    });
    let server = format!("server a {}", origin.address());
    let (proxy, address, _log) = start("tune.bufsize 4096", &[&server]);
    let mut client = sent(address, request("/long"));
    assert!(client.try_read_response().is_err());
    let post = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Long: {}\r\n\r\n",
        "x".repeat(7000)
    );
    assert_eq!(sent(address, post).read_response().status, 400);
    wait_all_left(&proxy);
}

#[test]
fn a_flood_of_interim_responses_goes_to_a_client_that_reads_late() {
    let origin = Origin::start(|_| {
        let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(5_000);
        Answer::raw(interim).then("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    let (proxy, address, _log) = start_for(&origin, &[]);
    let mut client = sent(address, request("/"));
    wait_until("much of it to come", || {
        proxy.stat("app", "FRONTEND", "bout") > 20_000
    });
    for _ in 0..5_000 {
        assert_eq!(client.read_response().status, 103);
    }
    assert_eq!(client.read_response().text(), "ok");
    wait_all_left(&proxy);
}

#[test]
fn every_byte_may_come_alone() {
    let address = played(|mut socket| {
        let _ = socket.set_nodelay(true);
        while read_head(&mut socket).is_some() {
            let mut body = [0; 5];
            if socket.read_exact(&mut body).is_err() {
                return;
            }
            let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\n";
            let answer = [answer.as_bytes(), &body, b"\r\n0\r\nX-T: 1\r\n\r\n"].concat();
            for byte in answer {
                let _ = socket.write_all(&[byte]);
                std::thread::sleep(Duration::from_micros(50));
            }
        }
    });
    let (proxy, address, _log) = start("", &[&format!("server a {address}")]);
    let mut client = Client::connect(address);
    for _ in 0..2 {
        let bytes = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello";
        for byte in bytes.bytes() {
            client.send([byte]);
        }
        assert_eq!(client.read_response().status, 100);
        assert_eq!(client.read_response().text(), "hello");
    }
    wait_all_left(&proxy);
}

#[test]
fn an_upgrade_carries_what_came_with_the_heads() {
    let address = played(|mut socket| {
        read_head(&mut socket);
        let head =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
        let _ = socket.write_all(format!("{head}welcome").as_bytes());
        let mut bytes = [0; 1024];
        while let Ok(count @ 1..) = socket.read(&mut bytes) {
            let _ = socket.write_all(&bytes[..count]);
        }
    });
    let (proxy, address, log) = start("", &[&format!("server a {address}")]);
    let head = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    let mut client = sent(address, format!("{head}early"));
    assert_eq!(client.read_response().status, 101);
    assert_eq!(client.read_bytes(12).expect("both"), b"welcomeearly");
    client.send("late");
    assert_eq!(client.read_bytes(4).expect("an echo"), b"late");
    client.shutdown_write();
    assert!(client.is_closed());
    let line = log.wait_for_text("GET /ws");
    assert!(line.contains(" 101 "), "{line}");
    wait_all_left(&proxy);
}

#[test]
fn large_bodies_arrive_whole_in_every_framing() {
    const BODY_BYTES: usize = 3_000_000;
    let pattern = |count: usize| -> Vec<u8> { (0..count).map(|i| (i * 7 % 251) as u8).collect() };
    let origin = Origin::start(move |request| match request.target() {
        "/length" => Answer::ok(pattern(BODY_BYTES), &[]),
        "/close" => Answer::raw("HTTP/1.1 200 OK\r\n\r\n")
            .then(pattern(BODY_BYTES))
            .close(),
        "/chunks" => {
            let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for (position, part) in pattern(BODY_BYTES).chunks(4_999).enumerate() {
                let extension = if position % 3 == 0 { ";a=b" } else { "" };
                bytes.extend(format!("{:x}{extension}\r\n", part.len()).bytes());
                bytes.extend(part);
                bytes.extend(b"\r\n");
            }
            Answer::raw(bytes).then("0\r\n\r\n")
        }
        _ => Answer::ok(&request.body, &[]),
    });
    for mode in [
        "option http-keep-alive",
        "option http-server-close",
        "option httpclose",
    ] {
        let (proxy, address, _log) = start_for(&origin, &[mode]);
        for target in ["/length", "/close", "/chunks"] {
            for version in ["1.0", "1.1"] {
                let ask = format!("GET {target} HTTP/{version}\r\nHost: h\r\n\r\n");
                let response = sent(address, ask).read_response();
                assert!(
                    response.body == pattern(BODY_BYTES),
                    "{mode} {target} {version}"
                );
            }
        }
        let body = pattern(BODY_BYTES);
        let mut upload = Vec::new();
        let _ = write!(
            upload,
            "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: {BODY_BYTES}\r\n\r\n"
        );
        upload.extend(&body);
        assert!(
            sent(address, &upload).read_response().body == body,
            "{mode}"
        );
        wait_all_left(&proxy);
    }
}

#[test]
fn an_early_answer_does_not_stop_the_upload() {
    const BODY_BYTES: usize = 2_000_000;
    let answered = Gate::new();
    let gate = answered.clone();
    let server = played(move |mut socket| {
        read_head(&mut socket);
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly");
        gate.pass();
        let mut body = vec![0; BODY_BYTES];
        if socket.read_exact(&mut body).is_err() {
            return;
        }
        // The connection is good for one more.
        while read_head(&mut socket).is_some() {
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nafter");
        }
    });
    let (proxy, address, _log) = start("", &[&format!("server a {server}")]);
    let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {BODY_BYTES}\r\n\r\n");
    let mut client = sent(address, head);
    client.send(vec![b'x'; BODY_BYTES / 2]);
    assert_eq!(client.read_response().text(), "early");
    answered.open();
    client.send(vec![b'x'; BODY_BYTES / 2]);
    assert_eq!(client.ask(&request("/after")).text(), "after");
    wait_all_left(&proxy);
}

#[test]
fn an_answer_is_read_after_an_upload_that_nobody_wanted() {
    let server = played(|mut socket| {
        read_head(&mut socket);
        let _ = socket.write_all(b"HTTP/1.1 413 Too Big\r\nContent-Length: 3\r\n\r\nbig");
    });
    let (proxy, address, _log) = start("", &[&format!("server a {server}")]);
    const BODY_BYTES: usize = 20_000_000;
    let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {BODY_BYTES}\r\n\r\n");
    let mut client = sent(address, head);
    for _ in 0..20 {
        client.send(vec![b'x'; BODY_BYTES / 20]);
        std::thread::sleep(Duration::from_millis(70));
    }
    assert_eq!(client.read_response().text(), "big");
    wait_all_left(&proxy);
}

#[test]
fn a_connection_that_ends_in_the_turn_of_a_request_is_not_used_for_it() {
    let (close, closed) = (Gate::new(), Gate::new());
    let (gate, done) = (close.clone(), closed.clone());
    let mut is_first = true;
    let server = played(move |mut socket| {
        let is_first = std::mem::take(&mut is_first);
        while read_head(&mut socket).is_some() {
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            if is_first {
                gate.pass();
                end_and_see_it_arrive(socket);
                done.open();
                return;
            }
        }
    });
    let (proxy, address, _log) = start("", &[&format!("server a {server}")]);
    let mut client = sent(address, request("/"));
    assert_eq!(client.read_response().text(), "ok");
    wait_until("the connection to be idle", || {
        proxy.stat("app", "a", "idle_conn_cur") == 1
    });
    proxy.frozen(|| {
        client.send("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
        close.open();
        closed.pass();
    });
    assert_eq!(client.read_response().text(), "ok");
    wait_all_left(&proxy);
}

/// Each attempt fails in the very call that makes it.
#[test]
fn attempts_that_fail_at_once_end_with_the_retries() {
    let lines = [
        "option redispatch 1",
        "retries 20000",
        "server a unix@{dir}/nobody",
        "server b unix@{dir}/nobody-either",
    ];
    let (proxy, address, _log) = start("", &lines);
    assert_eq!(Client::connect(address).ask(&request("/")).status, 503);
    assert_eq!(proxy.stat("app", "BACKEND", "wredis"), 20_000);
    wait_all_left(&proxy);
}

/// Interim responses that come all at once take their turns: who asks in the same moment, after them, is answered before the last.
#[test]
fn a_flood_of_interim_responses_keeps_nobody_waiting() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("an address");
    let server = format!("server a {}", listener.local_addr().expect("an address"));
    let answered = "http-request return status 200 content-type t/p string ok if { path /good }";
    let (proxy, address, log) = start("", &[answered, &server]);
    let mut good = sent(address, request("/good?first"));
    assert_eq!(good.read_response().status, 200);
    let mut flooded = sent(address, request("/flood"));
    let (mut socket, _) = listener.accept().expect("the proxy");
    read_head(&mut socket).expect("a request");
    // All of it fits one buffer.
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(400);
    proxy.frozen(|| {
        let all = interim.clone() + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        socket.write_all(all.as_bytes()).expect("sent");
        good.send(request("/good"));
    });
    assert_eq!(good.read_response().status, 200);
    for _ in 0..400 {
        assert_eq!(flooded.read_response().status, 103);
    }
    assert_eq!(flooded.read_response().text(), "ok");
    log.wait_for_text("GET /flood ");
    log.wait_for_text("GET /good ");
    let lines = log.lines();
    let place = |path: &str| lines.iter().position(|line| line.contains(path));
    assert!(place("GET /good ") < place("GET /flood "), "{lines:#?}");
}

/// More of them than a turn of the loop deals with: nobody is forgotten, and who is not late is served.
#[test]
fn timeouts_that_pass_in_one_moment_are_all_kept() {
    let calm = free_address();
    let other = format!("listen calm\n    bind {calm}\n    http-request return status 200");
    let (proxy, address, _syslog) = start("", &["timeout http-request 1s", &other]);
    let mut late: Vec<Client> = (0..600).map(|_| sent(address, "GET / HT")).collect();
    wait_until("all to be there", || {
        proxy.stat("app", "FRONTEND", "stot") == 600
    });
    proxy.frozen(|| std::thread::sleep(std::time::Duration::from_millis(1100)));
    assert_eq!(sent(calm, request("/")).read_response().status, 200);
    for client in &mut late {
        assert_eq!(client.read_response().status, 408);
    }
}
