//! How connections end, as their peers see it.

pub mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use support::{Answer, Client, Origin, Program, Proxy, Syslog, free_address, wait_until};

/// What is read at the end of a connection.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// In order, and the other side may still be written to.
    Finished,
    /// In order, and at once nothing is left on the other side.
    Gone,
    Reset,
}

fn end(connection: &mut TcpStream) -> End {
    connection
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("a timeout");
    let mut buffer = [0; 1024];
    loop {
        match connection.read(&mut buffer) {
            Ok(0) => {
                let is_gone = || connection.take_error().is_ok_and(|error| error.is_some());
                return if eventually_true(is_gone) {
                    End::Gone
                } else {
                    End::Finished
                };
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return End::Reset,
            Err(error) => panic!("no end: {error}"),
        }
    }
}

/// Whether something happens within a moment; it may well not.
fn eventually_true(mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + Duration::from_millis(300);
    while Instant::now() < end {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

fn read_head(connection: &mut TcpStream) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        connection.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
}

/// A request through a proxy with `option`; how its two connections end.
fn ends(program: Program, option: &str) -> [End; 2] {
    let origin = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let server = origin.local_addr().expect("an address");
    let address = free_address();
    let proxy = Proxy::start(
        program,
        &format!(
            "defaults\n mode http\n option http-server-close\n {option}\n timeout client 2s\n timeout server 2s\n \
             timeout connect 2s\n timeout http-keep-alive 100ms\nlisten l\n bind {address}\n server s {server}\n"
        ),
    );
    wait_until("the start", || TcpStream::connect(address).is_ok());
    let mut client = TcpStream::connect(address).expect("a connection");
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .expect("a request");
    let (mut server, _) = origin.accept().expect("a connection");
    read_head(&mut server);
    server
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .expect("a response");
    let at_server = end(&mut server);
    read_head(&mut client);
    let ends = [end(&mut client), at_server];
    drop(proxy);
    ends
}

#[test]
fn nolinger_leaves_nothing_of_either_connection() {
    for program in [Program::Burdock, Program::Haproxy] {
        // HAProxy resets connections to servers in any case.
        let [at_client, _] = ends(program, "");
        assert_eq!(at_client, End::Finished, "{program:?}");
        let with = ends(program, "option nolinger");
        assert_eq!(with, [End::Gone, End::Reset], "{program:?}");
    }
}

/// Connections that the server sees for two clients with one request each, one with two requests, and another with one.
fn server_connections(program: Program, reuse: &str) -> usize {
    let origin = Origin::named("origin");
    let bind = free_address();
    let _proxy = Proxy::start(
        program,
        &format!(
            "global\n nbthread 1\n stats socket {{dir}}/stats.sock level admin\ndefaults\n mode http\n timeout client 5s\n \
             timeout server 5s\n timeout connect 1s\nlisten l\n bind {bind}\n http-reuse {reuse}\n server s {}\n",
            origin.address()
        ),
    );
    for _ in 0..2 {
        assert_eq!(support::get(bind, "/", &[]).status, 200);
    }
    let mut client = Client::connect(bind);
    for _ in 0..2 {
        assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").status, 200);
    }
    assert_eq!(support::get(bind, "/", &[]).status, 200);
    origin.connections()
}

#[test]
fn a_first_request_travels_on_a_used_connection_only_if_it_may() {
    // The last client may share a connection that has proved itself with two requests.
    let table = [("never", 4), ("safe", 4), ("aggressive", 3), ("always", 1)];
    for (reuse, expected) in table {
        for program in [Program::Burdock, Program::Haproxy] {
            let seen = server_connections(program, reuse);
            assert_eq!(seen, expected, "http-reuse {reuse}, {program:?}");
        }
    }
}

/// Two requests at the same time, then none: connections to the server that stay open under parameters of its line.
#[test]
fn as_many_connections_are_kept_as_the_pool_may_hold() {
    let table = [("pool-max-conn 0", 0), ("pool-max-conn 1", 1), ("", 2)];
    for (parameters, expected) in table {
        for program in [Program::Burdock, Program::Haproxy] {
            let together = Arc::new(Barrier::new(2));
            let origin = Origin::start(move |_| {
                together.wait();
                support::Answer::ok("hello", &[])
            });
            let bind = free_address();
            let _proxy = Proxy::start(
                program,
                &format!(
                    "global\n nbthread 1\n stats socket {{dir}}/stats.sock level admin\ndefaults\n mode http\n timeout client 30s\n \
                     timeout server 30s\n timeout connect 30s\nlisten l\n bind {bind}\n http-reuse always\n server s {} {parameters}\n",
                    origin.address()
                ),
            );
            let request = || support::get(bind, "/", &[]).status;
            std::thread::scope(|scope| {
                let other = scope.spawn(request);
                assert_eq!((request(), other.join().expect("a client")), (200, 200));
            });
            let what = format!("{expected} connections to stay, {parameters:?}, {program:?}");
            wait_until(&what, || origin.open_connections() == expected);
            assert_eq!(origin.connections(), 2, "{what}");
        }
    }
}

#[test]
fn idle_connections_go_after_the_delay_that_is_set() {
    for program in [Program::Burdock, Program::Haproxy] {
        let origins = [Origin::named("soon"), Origin::named("never")];
        let binds = [free_address(), free_address()];
        let listen = |at: usize, delay: &str| {
            format!(
                "listen l{at}\n bind {}\n server s {} pool-purge-delay {delay}\n",
                binds[at],
                origins[at].address()
            )
        };
        let _proxy = Proxy::start(
            program,
            &format!(
                "global\n nbthread 1\n stats socket {{dir}}/stats.sock level admin\ndefaults\n mode http\n http-reuse always\n \
                 timeout client 30s\n timeout server 30s\n timeout connect 30s\n{}{}",
                listen(0, "200ms"),
                listen(1, "1h")
            ),
        );
        for bind in binds {
            assert_eq!(support::get(bind, "/", &[]).status, 200);
        }
        let what = format!("the idle connection to be given up, {program:?}");
        wait_until(&what, || origins[0].open_connections() == 0);
        assert_eq!(origins[1].open_connections(), 1, "{program:?}");
    }
}

/// While its request is with the server nobody listens to a client; what it sends meanwhile must not turn the close after the answer into a
/// reset, which could destroy the answer on its way.
#[test]
fn a_client_that_goes_on_sending_still_gets_its_answer_whole() {
    let body = vec![b'x'; 300_000];
    let (sent, has_sent) = std::sync::mpsc::channel();
    let (begun, has_begun) = std::sync::mpsc::channel();
    let has_sent = std::sync::Mutex::new(has_sent);
    let origin = Origin::start(move |_| {
        begun.send(()).expect("the test");
        has_sent.lock().expect("a lock").recv().expect("a word");
        support::Answer::ok(&body, &[])
    });
    let address = free_address();
    let _proxy = Proxy::start(
        Program::Burdock,
        &format!(
            "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\nlisten l\n bind {address}\n \
             server s {}\n",
            origin.address()
        ),
    );
    wait_until("the start", || TcpStream::connect(address).is_ok());
    let mut client = Client::connect(address);
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    has_begun.recv().expect("the request");
    client.send("what nobody asked for");
    sent.send(()).expect("the origin");
    let all = client.read_to_end().expect("the answer, and no reset");
    assert!(all.len() > 300_000, "{} bytes", all.len());
    assert!(all.ends_with(b"xxx"));
}

/// What only the end of the connection delimits would look whole if it ended in order.
#[test]
fn an_answer_broken_off_is_never_ended_in_order_where_only_the_end_delimits_it() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let origin = Origin::start(|request| match request.target() {
        "/whole" => support::Answer::raw(format!("{CHUNKED}3\r\nabc\r\n0\r\n\r\n")).close(),
        "/cut" => support::Answer::raw(format!("{CHUNKED}3\r\nabc\r\n9\r\n")).close(),
        "/until-end" => support::Answer::raw("HTTP/1.1 200 OK\r\n\r\nabc").close(),
        "/stalled" => support::Answer::raw(format!("{CHUNKED}3\r\nabc\r\n9\r\n")).then(""),
        other => panic!("{other}"),
    });
    let address = free_address();
    let _proxy = Proxy::start(
        Program::Burdock,
        &format!(
            "defaults\n mode http\n timeout client 5s\n timeout server 1s\n timeout connect 5s\nlisten l\n bind {address}\n \
             server s {}\n",
            origin.address()
        ),
    );
    wait_until("the start", || TcpStream::connect(address).is_ok());
    for (target, version, expected) in [
        ("/whole", "1.0", End::Finished),
        ("/cut", "1.0", End::Reset),
        ("/stalled", "1.0", End::Reset),
        // The last chunk is missing: that says it.
        ("/cut", "1.1", End::Finished),
        ("/until-end", "1.0", End::Finished),
    ] {
        let mut client = TcpStream::connect(address).expect("a connection");
        client
            .write_all(format!("GET {target} HTTP/{version}\r\nHost: a\r\n\r\n").as_bytes())
            .expect("a request");
        let found = match end(&mut client) {
            End::Gone => End::Finished,
            found => found,
        };
        assert_eq!(found, expected, "{target} for HTTP/{version}");
    }
}

/// A server that resets its connection has not ended the body that lasts until its end.
#[test]
fn a_body_that_lasts_until_the_end_is_not_ended_by_a_reset() {
    let origin = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let server = origin.local_addr().expect("an address");
    let address = free_address();
    let _proxy = Proxy::start(
        Program::Burdock,
        &format!(
            "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\nlisten l\n bind {address}\n \
             server s {server}\n"
        ),
    );
    wait_until("the start", || TcpStream::connect(address).is_ok());
    let mut client = TcpStream::connect(address).expect("a connection");
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .expect("a request");
    let (mut server, _) = origin.accept().expect("a connection");
    read_head(&mut server);
    server
        .write_all(b"HTTP/1.1 200 OK\r\n\r\nabc")
        .expect("a response");
    read_head(&mut client);
    client.read_exact(&mut [0; 3]).expect("what has come");
    socket2::SockRef::from(&server)
        .set_linger(Some(Duration::ZERO))
        .expect("a reset to come");
    drop(server);
    assert_eq!(end(&mut client), End::Reset);
}

/// A listener that nobody accepts from, with its queue filled: who connects now waits until the fillers are accepted.
fn full_listener() -> (TcpListener, Vec<socket2::Socket>) {
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    socket.bind(&any.into()).expect("a free port");
    socket.listen(0).expect("a listener");
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().expect("an address");
    let mut fillers = Vec::new();
    for _ in 0..8 {
        let filler = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
            .expect("a socket");
        filler.set_nonblocking(true).expect("a mode");
        let _ = filler.connect(&address.into());
        let stands = eventually_true(|| filler.peer_addr().is_ok());
        if !stands {
            return (listener, fillers);
        }
        fillers.push(filler);
    }
    panic!("its queue is never full");
}

/// A request is written as soon as its connection is begun, because a server on the same machine has accepted by then. One that has not is waited
/// for: the request goes out once, and whole, and `timeout connect` counts.
#[test]
fn a_server_that_does_not_accept_at_once_is_waited_for() {
    let log = Syslog::start();
    let start = |server: SocketAddr, timeout_ms: u32| {
        let address = free_address();
        let proxy = Proxy::start(
            Program::Burdock,
            &format!(
                "global\n log {} local0\ndefaults\n mode http\n log global\n option httplog\n retries 0\n timeout client 20s\n \
                 timeout server 20s\n timeout connect {timeout_ms}\nlisten l\n bind {address}\n server s {server}\n",
                log.address()
            ),
        );
        wait_until("the start", || TcpStream::connect(address).is_ok());
        (proxy, Client::connect(address))
    };
    let (origin, _fillers) = full_listener();
    let (_proxy, mut client) = start(origin.local_addr().expect("an address"), 200);
    let refused = client.ask("GET /late HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(refused.status, 503);
    let line = log.wait_for_text("/late");
    assert!(line.contains(" sC-- "), "{line}");

    let (origin, fillers) = full_listener();
    let (_proxy, mut client) = start(origin.local_addr().expect("an address"), 20_000);
    let body = "5\r\nhello\r\n0\r\n\r\n";
    client.send(format!(
        "POST /waits HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
    ));
    // State 2 is SYN_SENT (proc_net_tcp.rst); the port follows the address.
    let port = origin.local_addr().expect("an address").port();
    let awaited = format!("0100007F:{port:04X} 02");
    wait_until("the proxy's attempt", || {
        std::fs::read_to_string("/proc/net/tcp").is_ok_and(|sockets| sockets.contains(&awaited))
    });
    for _ in &fillers {
        origin.accept().expect("a filler");
    }
    let (mut server, _) = origin.accept().expect("the proxy");
    read_head(&mut server);
    let mut received = vec![0; body.len()];
    server.read_exact(&mut received).expect("the body");
    assert_eq!(received, body.as_bytes());
    server
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .expect("a response");
    assert_eq!(client.read_response().status, 200);
    let line = log.wait_for_text("/waits");
    assert!(line.contains(" ---- "), "{line}");
    let connected_ms: u64 = line
        .split(' ')
        .find(|word| word.matches('/').count() == 4 && word.starts_with("0/0/"))
        .and_then(|times| times.split('/').nth(2)?.parse().ok())
        .expect("its times");
    assert!(connected_ms > 100, "it waited for its connection: {line}");
}

/// A server that asks for the credentials of a connection, where the target says so.
fn asking_server() -> Origin {
    Origin::start(|request| match request.target() {
        "/ntlm" => Answer::raw(
            "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=x, NTLM\r\nContent-Length: 0\r\n\r\n",
        ),
        "/basic" => Answer::raw(
            "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n",
        ),
        _ => Answer::ok("ok", &[]),
    })
}

/// NTLM vouches for connections: what one client has proved on one, nobody else may use.
#[test]
fn a_connection_that_vouches_for_its_client_is_nobody_elses() {
    for mode in ["safe", "aggressive", "always"] {
        let (origin, front) = (asking_server(), free_address());
        let _proxy = Proxy::start(
            Program::Burdock,
            &format!(
                "global\n stats socket {{dir}}/stats.sock\ndefaults\n mode http\n timeout connect 9s\n timeout client 9s\n timeout server 9s\n http-reuse {mode}\n\
                 listen l\n bind {front}\n server s {} pool-purge-delay 1h\n",
                origin.address()
            ),
        );
        let ask = |client: &mut Client, target: &str| {
            client.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
            client.read_response();
        };
        let (mut first, mut second) = (Client::connect(front), Client::connect(front));
        ask(&mut first, "/ntlm");
        ask(&mut first, "/mine");
        for _ in 0..3 {
            ask(&mut second, "/others");
        }
        ask(&mut first, "/mine");
        drop(first);
        for _ in 0..3 {
            ask(&mut second, "/others");
        }
        let private = String::from_utf8_lossy(&origin.raw(0)).into_owned();
        assert_eq!(private.matches("GET ").count(), 3, "{mode} {private}");
        assert!(!private.contains("/others"), "{mode} {private}");
    }
}

/// Connections that only their client may use go when it goes, on both programs, however long others are kept.
#[test]
fn a_connection_that_only_one_client_may_use_goes_with_it() {
    for program in [Program::Burdock, Program::Haproxy] {
        let (origin, front) = (asking_server(), free_address());
        let _proxy = Proxy::start(
            program,
            &format!(
                "global\n nbthread 1\n stats socket {{dir}}/stats.sock\ndefaults\n mode http\n timeout connect 9s\n timeout client 9s\n timeout server 9s\n\
                 listen l\n http-reuse never\n bind {front}\n server s {} pool-purge-delay 1h\n",
                origin.address()
            ),
        );
        let mut clients: Vec<Client> = (0..20).map(|_| Client::connect(front)).collect();
        for client in &mut clients {
            client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
            client.read_response();
        }
        assert_eq!(origin.open_connections(), 20, "{program:?}");
        clients.truncate(1);
        wait_until("the others' connections to close", || {
            origin.open_connections() == 1
        });
        clients[0].send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        clients[0].read_response();
        assert_eq!(origin.connections(), 20, "{program:?}");
    }
}

/// A connection that vouches for its client goes with it also when another server gave the last answer.
#[test]
fn a_private_connection_goes_with_its_client_wherever_that_went_since() {
    let (asking, other, front) = (asking_server(), asking_server(), free_address());
    let _proxy = Proxy::start(
        Program::Burdock,
        &format!(
            "global\n stats socket {{dir}}/stats.sock\ndefaults\n mode http\n timeout connect 9s\n timeout client 9s\n timeout server 9s\n\
             frontend f\n bind {front}\n use_backend other if {{ path /other }}\n default_backend asking\n\
             backend asking\n server s {} pool-purge-delay 1h\n\
             backend other\n server s {} pool-purge-delay 1h\n",
            asking.address(),
            other.address()
        ),
    );
    let mut client = Client::connect(front);
    for target in ["/ntlm", "/other", "/mine", "/other"] {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        client.read_response();
    }
    assert_eq!(
        (asking.open_connections(), other.open_connections()),
        (1, 1)
    );
    drop(client);
    wait_until("the private connection to close", || {
        asking.open_connections() == 0
    });
    assert_eq!(other.open_connections(), 1, "anybody may use that one");
}

/// `option prefer-last-server`, and what is done without it: the same servers as HAProxy's, request by request.
#[test]
fn requests_go_where_the_last_one_went_only_where_that_is_wanted() {
    for option in [
        "",
        " option prefer-last-server\n",
        " http-reuse never\n",
        " http-reuse never\n option prefer-last-server\n",
        " http-reuse never\n option prefer-last-server\n balance source\n",
    ] {
        let found = [Program::Burdock, Program::Haproxy].map(|program| {
            let (origins, front) = ([asking_server(), asking_server()], free_address());
            let _proxy = Proxy::start(
                program,
                &format!(
                    "global\n nbthread 1\n stats socket {{dir}}/stats.sock\ndefaults\n mode http\n timeout connect 9s\n timeout client 9s\n timeout server 9s\n\
                     listen l\n bind {front}\n{option} server a {}\n server b {}\n",
                    origins[0].address(),
                    origins[1].address()
                ),
            );
            let mut client = Client::connect(front);
            let mut places = Vec::new();
            for target in ["/", "/", "/basic", "/", "/", "/basic", "/basic", "/", "/"] {
                let before = origins[0].requests().len();
                client.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
                client.read_response();
                places.push(origins[0].requests().len() > before);
            }
            places
        });
        assert_eq!(found[0], found[1], "{option}");
    }
}
