//! TCP mode: bytes both ways, ends of either side in any order, and the same log lines as the packaged HAProxy.

pub mod support;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::SockRef;
use support::{Client, Program, Proxy, Syslog, free_address, unique_loopback, wait_until};

fn start(program: Program, lines: &[&str]) -> (Proxy, SocketAddr, Syslog) {
    let (address, log) = (free_address(), Syslog::start());
    let mut text = format!(
        "global\n    stats socket {{dir}}/stats.sock level admin\n    log {} local0\n\
         defaults\n    mode tcp\n    log global\n    option tcplog\n    retries 1\n    timeout connect 300ms\n\
         timeout client 10s\n    timeout server 10s\n    timeout queue 300ms\nlisten app\n    bind {address}\n",
        log.address()
    );
    for line in lines {
        let _ = writeln!(text, "    {line}");
    }
    let proxy = Proxy::start(program, &text);
    proxy.wait_listening(address);
    (proxy, address, log)
}

/// A server that plays each connection in a thread of its own.
fn played(play: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((unique_loopback(), 0)).expect("cannot listen");
    let address = listener.local_addr().expect("a bound socket");
    std::thread::spawn(move || {
        while let Ok((socket, _)) = listener.accept() {
            let play = play.clone();
            std::thread::spawn(move || play(socket));
        }
    });
    address
}

fn read_all(socket: &mut TcpStream) -> usize {
    let mut bytes = Vec::new();
    let _ = socket.read_to_end(&mut bytes);
    bytes.len()
}

fn reset(socket: &TcpStream) {
    SockRef::from(socket)
        .set_linger(Some(Duration::ZERO))
        .expect("a TCP socket");
}

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

#[test]
fn either_side_may_end_first() {
    const BYTES: usize = 1_000_000;
    // The server answers only once it has seen the client's end.
    let counting = played(|mut socket| {
        let count = read_all(&mut socket);
        let _ = write!(socket, "got {count}");
    });
    let (proxy, address, _log) = start(Program::Burdock, &[&format!("server a {counting}")]);
    let mut client = Client::connect(address);
    client.send(vec![b'x'; BYTES]);
    client.shutdown_write();
    assert_eq!(
        client.read_to_end().expect("an answer"),
        format!("got {BYTES}").as_bytes()
    );
    wait_all_left(&proxy);

    // The server ends first and still takes what the client has to say.
    let (heard, hearing) = std::sync::mpsc::channel();
    let first = played(move |mut socket| {
        let _ = socket.write_all(b"bye");
        let _ = socket.shutdown(Shutdown::Write);
        let _ = heard.send(read_all(&mut socket));
    });
    let (proxy, address, _log) = start(Program::Burdock, &[&format!("server a {first}")]);
    // `wait_listening` was a connection too.
    assert_eq!(hearing.recv(), Ok(0));
    let mut client = Client::connect(address);
    assert_eq!(client.read_to_end().expect("its words"), b"bye");
    client.send(vec![b'x'; BYTES]);
    client.shutdown_write();
    assert_eq!(hearing.recv(), Ok(BYTES));
    wait_all_left(&proxy);
}

#[test]
fn large_transfers_both_ways_at_once() {
    const BYTES: usize = 5_000_000;
    let echo = played(|mut socket| {
        let mut bytes = [0; 65_536];
        while let Ok(count @ 1..) = socket.read(&mut bytes) {
            if socket.write_all(&bytes[..count]).is_err() {
                return;
            }
        }
    });
    let (proxy, address, _log) = start(Program::Burdock, &[&format!("server a {echo}")]);
    let mut client = Client::connect(address);
    let pattern: Vec<u8> = (0..BYTES).map(|i| (i * 7 % 251) as u8).collect();
    let mut writer = client.stream().try_clone().expect("a socket");
    let sending = std::thread::spawn({
        let pattern = pattern.clone();
        move || {
            writer.write_all(&pattern).expect("the proxy takes it");
            let _ = writer.shutdown(Shutdown::Write);
        }
    });
    assert!(client.read_to_end().expect("an echo") == pattern);
    sending.join().expect("sent");
    wait_all_left(&proxy);
}

#[test]
fn bytes_that_came_while_waiting_are_not_lost() {
    let echo = played(|mut socket| {
        let mut bytes = [0; 100];
        while let Ok(count @ 1..) = socket.read(&mut bytes) {
            let _ = socket.write_all(&bytes[..count]);
        }
    });
    let server = format!("server a {echo} maxconn 1");
    let (proxy, address, log) = start(Program::Burdock, &[&server, "timeout queue 10s"]);
    wait_all_left(&proxy);
    let mut first = Client::connect(address);
    first.send("1");
    assert_eq!(first.read_bytes(1).expect("an echo"), b"1");
    let mut second = Client::connect(address);
    second.send("second");
    second.shutdown_write();
    wait_until("it to wait", || proxy.stat("app", "BACKEND", "qcur") == 1);
    drop(first);
    assert_eq!(second.read_to_end().expect("an echo"), b"second");
    let line = log.wait_for(" its line", |line| line.contains(" 6 -- "));
    assert!(line.contains("app app/a "), "{line}");
    wait_all_left(&proxy);
}

/// What a line of `option tcplog` says, without what differs from run to run: from `frontend backend/server` on, durations only as
/// `-1` or `N`, counters of connections taken out.
fn facts(line: &str) -> String {
    let rest = line.split("] app ").nth(1).unwrap_or(line).trim_end();
    let mut words: Vec<String> = rest.split(' ').map(str::to_string).collect();
    if let Some(times) = words.get_mut(1) {
        let shown = times
            .split('/')
            .map(|time| if time == "-1" { "-1" } else { "N" });
        *times = shown.collect::<Vec<_>>().join("/");
    }
    words.join(" ")
}

#[test]
fn log_lines_are_those_of_haproxy() {
    type Play = fn(TcpStream);
    type Act = fn(SocketAddr);
    /// Connections on which the silent server has heard something, and answers whose first part a client has.
    static HEARD: AtomicUsize = AtomicUsize::new(0);
    static PARTS: AtomicUsize = AtomicUsize::new(0);
    let silent: Play = |mut socket| {
        if socket.read(&mut [0; 10]).is_ok_and(|count| count > 0) {
            HEARD.fetch_add(1, Ordering::SeqCst);
        }
        read_all(&mut socket);
    };
    /// Sends something, and waits until the silent server has it.
    fn send_heard(client: &mut Client, text: &str) {
        let before = HEARD.load(Ordering::SeqCst);
        client.send(text);
        wait_until("the server to hear it", || {
            HEARD.load(Ordering::SeqCst) > before
        });
    }
    let talking: Play = |mut socket| {
        let mut bytes = [0; 10];
        if socket.read(&mut bytes).is_ok_and(|count| count > 0) {
            let _ = socket.write_all(b"answer");
        }
    };
    let resetting: Play = |mut socket| {
        let mut bytes = [0; 10];
        if socket.read(&mut bytes).is_ok_and(|count| count > 0) {
            let before = PARTS.load(Ordering::SeqCst);
            let _ = socket.write_all(b"part");
            // A reset throws away what has not been read.
            wait_until("the part to arrive", || {
                PARTS.load(Ordering::SeqCst) > before
            });
            reset(&socket);
        }
    };
    let ask: Act = |address| {
        let mut client = Client::connect(address);
        client.send("q");
        let _ = client.read_to_end();
    };
    let ask_for_parts: Act = |address| {
        let mut client = Client::connect(address);
        client.send("q");
        assert_eq!(client.read_bytes(4).expect("a part"), b"part");
        PARTS.fetch_add(1, Ordering::SeqCst);
        let _ = client.read_to_end();
    };
    let abort: Act = |address| {
        let mut client = Client::connect(address);
        send_heard(&mut client, "q");
        reset(client.stream());
    };
    let cases: [(&str, Play, &[&str], Act); 7] = [
        ("an answer", talking, &[], ask),
        ("a reset server", resetting, &[], ask_for_parts),
        ("a reset client", silent, &[], abort),
        ("timeout server", silent, &["timeout server 200ms"], ask),
        ("no server", silent, &["server b 127.0.0.1:1 disabled"], ask),
        ("a refusal", silent, &["server b {dead}"], ask),
        (
            "timeout queue",
            silent,
            &["server a {server} maxconn 1"],
            |address| {
                let mut held = Client::connect(address);
                send_heard(&mut held, "held");
                let mut client = Client::connect(address);
                client.send("q");
                let _ = client.read_to_end();
            },
        ),
    ];
    for (name, play, lines, act) in cases {
        let seen = [Program::Haproxy, Program::Burdock].map(|program| {
            let server = played(play);
            let mut lines: Vec<String> = lines
                .iter()
                .map(|line| {
                    line.replace("{server}", &server.to_string())
                        .replace("{dead}", &free_address().to_string())
                })
                .collect();
            if !lines.iter().any(|line| line.starts_with("server")) {
                lines.push(format!("server a {server}"));
            }
            // The first look shall leave no line; one that meets no server looks like the others.
            if name != "no server" {
                lines.push("option dontlognull".to_string());
            }
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let (proxy, address, log) = start(program, &lines);
            wait_until("the first look to be over", || {
                proxy.stat("app", "FRONTEND", "stot") > 0
                    && proxy.stat("app", "FRONTEND", "scur") == 0
            });
            log.clear();
            act(address);
            let line = log.wait_for(name, |line| line.contains("] app app/"));
            facts(&line)
        });
        assert_eq!(seen[1], seen[0], "{name}");
    }
}

#[test]
fn a_client_that_said_nothing_is_not_logged_with_dontlognull() {
    for program in [Program::Haproxy, Program::Burdock] {
        let answering = played(|mut socket| {
            let mut bytes = [0; 10];
            if socket.read(&mut bytes).is_ok_and(|count| count > 0) {
                let _ = socket.write_all(b"answer");
            }
        });
        let server = format!("server a {answering}");
        let (proxy, address, log) = start(program, &[&server, "option dontlognull"]);
        drop(Client::connect(address));
        let mut silent = Client::connect(address);
        wait_until("it to be a session", || {
            proxy.stat("app", "FRONTEND", "scur") > 0
        });
        silent.shutdown_write();
        drop(silent);
        wait_all_left(&proxy);
        let mut client = Client::connect(address);
        client.send("q");
        let _ = client.read_to_end();
        drop(client);
        let line = log.wait_for("the first line", |line| line.contains("] app app/"));
        assert_eq!(facts(&line), "app/a N/N/N 6 -- 1/1/0/0/0 0/0");
    }
}
