//! Nodes that agree, and know it: real processes, a connection that loses updates on purpose, HAProxy in the same group.

pub mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use burdock::peers::wire::{Frame, decode_frame};
use support::{Program, Proxy, Syslog, eventually, free_address, wait_until};

/// Agreement is judged by several comparisons, a repair may wait until another one had its chance.
const LIMIT: Duration = Duration::from_secs(45);

/// A node `name` of the section `mesh`, with one table.
fn node(
    program: Program,
    name: &str,
    members: &[(&str, SocketAddr)],
    syslog: Option<SocketAddr>,
) -> Proxy {
    let configuration = configuration(members, syslog);
    Proxy::start_with(program, &configuration, &["-L", name])
}

fn configuration(members: &[(&str, SocketAddr)], syslog: Option<SocketAddr>) -> String {
    let peers: String = members
        .iter()
        .map(|(name, address)| format!(" peer {name} {address}\n"))
        .collect();
    let log = syslog.map_or(String::new(), |address| format!(" log {address} local0\n"));
    format!(
        "global\n{log} stats socket {{dir}}/stats.sock level admin\npeers mesh\n{peers}\
         defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n\
         backend app\n stick-table type string len 32 size 10k expire 10m peers mesh\n stick on req.cook(S)\n \
         server s1 127.0.0.1:9\n server s2 127.0.0.1:9\n server s3 127.0.0.1:9\n"
    )
}

/// Passes connections on; updates from the dialler whose key is `lost` are lost on the way while `loses` is set.
struct Relay {
    address: SocketAddr,
    loses: Arc<AtomicBool>,
    lost: Arc<AtomicU32>,
}

impl Relay {
    fn start(target: SocketAddr) -> Relay {
        let listener = TcpListener::bind(free_address()).expect("cannot listen");
        let relay = Relay {
            address: listener.local_addr().expect("it is bound"),
            loses: Arc::new(AtomicBool::new(true)),
            lost: Arc::new(AtomicU32::new(0)),
        };
        let (loses, lost) = (Arc::clone(&relay.loses), Arc::clone(&relay.lost));
        std::thread::spawn(move || {
            for dialler in listener.incoming().flatten() {
                let Ok(acceptor) = TcpStream::connect(target) else {
                    continue;
                };
                let back = (acceptor.try_clone(), dialler.try_clone());
                if let (Ok(from), Ok(to)) = back {
                    std::thread::spawn(move || copy(from, to, |_| true));
                }
                let (loses, lost) = (Arc::clone(&loses), Arc::clone(&lost));
                std::thread::spawn(move || {
                    copy(dialler, acceptor, |frame| {
                        let is_lost = loses.load(Ordering::Relaxed)
                            && matches!(frame, Frame::Update(_, body)
                                if body.windows(4).any(|bytes| bytes == b"lost"));
                        lost.fetch_add(u32::from(is_lost), Ordering::Relaxed);
                        !is_lost
                    })
                });
            }
        });
        relay
    }
}

/// Copies lines as they are, up to the first message, and then the messages that may pass.
fn copy(mut from: TcpStream, mut to: TcpStream, passes: impl Fn(Frame<'_>) -> bool) {
    let mut buffer = Vec::new();
    let mut chunk = [0; 4096];
    // Lines are text, and no class of messages is a letter of theirs before their end is seen.
    let mut lines_left = 3;
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        buffer.extend_from_slice(&chunk[..count]);
        if buffer.starts_with(b"200\n") {
            lines_left = 1;
        }
        let mut out = Vec::new();
        while lines_left > 0
            && let Some(end) = buffer.iter().position(|&byte| byte == b'\n')
        {
            out.extend(buffer.drain(..=end));
            lines_left -= 1;
        }
        while lines_left == 0
            && let Ok(Some((frame, taken))) = decode_frame(&buffer)
        {
            if passes(frame) {
                out.extend_from_slice(&buffer[..taken]);
            }
            buffer.drain(..taken);
        }
        if to.write_all(&out).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// The line of `show peers lag` of the table.
fn lag(node: &Proxy, peer: &str) -> String {
    let text = node.command("show peers lag");
    let wanted = |line: &&str| line.contains(&format!(" peer={peer} table=app "));
    text.lines().find(wanted).unwrap_or_default().to_string()
}

fn in_sync(node: &Proxy, peer: &str) -> String {
    let line = lag(node, peer);
    let at = line.find(" in_sync=").map_or(line.len(), |at| at + 9);
    line[at..].split(' ').next().unwrap_or_default().to_string()
}

fn wait_in_sync(node: &Proxy, peer: &str, verdict: &str) {
    eventually(&format!("in_sync={verdict}"), LIMIT, || {
        (in_sync(node, peer) == verdict).then_some(())
    });
}

fn holds(node: &Proxy, key: &str) -> bool {
    let table = node.command("show table app");
    table.contains(&format!(" key={key} "))
}

fn bind(node: &Proxy, key: &str, server: u32) {
    let command = format!("set table app key {key} data.server_id {server}");
    assert_eq!(node.command(&command).trim(), "");
}

/// What cannot be compared, or not any more, is not called equal.
#[test]
fn tables_that_do_not_fit_and_peers_that_are_gone_are_not_in_sync() {
    let (first, second) = (free_address(), free_address());
    let members = [("a", first), ("b", second)];
    let a = node(Program::Burdock, "a", &members, None);
    let longer = configuration(&members, None).replace("len 32", "len 64");
    let b = Proxy::start_with(Program::Burdock, &longer, &["-L", "b"]);
    bind(&a, "k", 1);
    bind(&b, "l", 1);
    let expected =
        "in_sync=unknown differs_for_ms=0 not_compared=\"its definition does not fit ours\"";
    for (node, peer) in [(&a, "b"), (&b, "a")] {
        eventually(expected, LIMIT, || {
            lag(node, peer).contains(expected).then_some(())
        });
    }
    drop(b);
    let b = node(Program::Burdock, "b", &members, None);
    wait_in_sync(&a, "b", "yes");
    drop(b);
    eventually("the end of the connection", LIMIT, || {
        lag(&a, "b")
            .contains("in_sync=unknown differs_for_ms=0 not_compared=\"there is no connection\"")
            .then_some(())
    });
}

#[test]
fn a_lost_update_is_noticed_and_healed() {
    let (first, second, nobody) = (free_address(), free_address(), free_address());
    let relay = Relay::start(second);
    let syslog = Syslog::start();
    let b = node(
        Program::Burdock,
        "b",
        &[("a", nobody), ("b", second)],
        Some(syslog.address()),
    );
    let a = node(
        Program::Burdock,
        "a",
        &[("a", first), ("b", relay.address)],
        None,
    );
    wait_in_sync(&a, "b", "yes");
    wait_in_sync(&b, "a", "yes");
    bind(&a, "arrives", 1);
    bind(&a, "lost", 2);
    bind(&a, "later", 3);
    wait_until("what is not lost", || holds(&b, "later"));
    assert_eq!(relay.lost.load(Ordering::Relaxed), 1);
    assert!(!holds(&b, "lost"), "the relay lost it");
    wait_in_sync(&b, "a", "no");
    let line = syslog.wait_for_text("is not the same here and there");
    assert!(line.contains("peer a: table app"), "{line}");
    assert!(line.contains("(2 entries here, 3 there)"), "{line}");
    let (at, shown) = (" differs_for_ms=", lag(&b, "a"));
    let differs = shown.find(at).map(|start| &shown[start + at.len()..]);
    let ms = differs.and_then(|text| text.split(' ').next()?.parse::<u32>().ok());
    assert!(ms.is_some_and(|ms| ms >= 6_000), "{shown}");
    wait_in_sync(&b, "a", "yes");
    wait_in_sync(&a, "b", "yes");
    assert!(holds(&b, "lost"), "it was repaired");
    assert!(b.command("show table app").contains("server_id=2"));
    syslog.wait_for_text("is the same here and there again");
    let alarms = syslog.lines().into_iter();
    let alarms = alarms.filter(|line| line.contains("is not the same here and there"));
    assert_eq!(alarms.count(), 1, "a state is logged once");
}

#[test]
fn who_takes_the_table_over_still_agrees() {
    let (first, second) = (free_address(), free_address());
    let members = [("a", first), ("b", second)];
    let a = node(Program::Burdock, "a", &members, None);
    let b = node(Program::Burdock, "b", &members, None);
    wait_in_sync(&a, "b", "yes");
    for number in 0..100 {
        bind(&a, &format!("key{number}"), 1 + number % 3);
    }
    a.command("clear table app key key7");
    wait_until("all that was written", || {
        holds(&b, "key99") && !holds(&b, "key7")
    });
    let worker = a.processes().into_iter().find(|&pid| pid != a.pid());
    support::process::signal(worker.expect("a master has a worker"), "KILL");
    eventually("a new worker", LIMIT, || {
        let stats = a.stats();
        stats
            .try_command("show table app")
            .filter(|text| text.contains("used:99"))
    });
    wait_in_sync(&a, "b", "yes");
    wait_in_sync(&b, "a", "yes");
    assert!(!holds(&a, "key7") && !holds(&b, "key7"));
}

#[test]
fn deletions_reach_burdocks_and_haproxy_is_left_alone() {
    let (first, second, third) = (free_address(), free_address(), free_address());
    let members = [("a", first), ("b", second), ("h", third)];
    let haproxy = node(Program::Haproxy, "h", &members, None);
    let a = node(Program::Burdock, "a", &members, None);
    let mut b = node(Program::Burdock, "b", &members, None);
    wait_in_sync(&a, "b", "yes");
    wait_until("HAProxy's sessions", || {
        haproxy
            .command("show peers")
            .matches("last_status=ESTA")
            .count()
            == 2
    });
    for (key, server) in [
        ("one", 1),
        ("two", 2),
        ("three", 3),
        ("four", 2),
        ("five", 3),
    ] {
        bind(&a, key, server);
    }
    for node in [&b, &haproxy] {
        wait_until("all five", || node.stats().entries("app").len() == 5);
    }

    assert_eq!(a.command("clear table app key one").trim(), "");
    a.command("clear table app data.server_id eq 2");
    wait_until("the deletions", || b.stats().entries("app").len() == 2);
    assert!(holds(&b, "three") && holds(&b, "five"));
    // HAProxy keeps what it has, and hears nothing that it could complain about.
    assert_eq!(haproxy.stats().entries("app").len(), 5);
    let shown = haproxy.command("show peers");
    assert_eq!(shown.matches("proto_err=0").count(), 3, "{shown}");
    assert_eq!(in_sync(&a, "h"), "unknown");
    assert!(
        lag(&a, "h").contains("it is no burdock"),
        "{}",
        lag(&a, "h")
    );

    // Who restarts empty may learn them from HAProxy; then they go again.
    b.restart();
    wait_until("the lesson", || holds(&b, "three") && holds(&b, "five"));
    wait_in_sync(&a, "b", "yes");
    wait_in_sync(&b, "a", "yes");
    for node in [&a, &b] {
        assert_eq!(node.stats().entries("app").len(), 2, "deleted is deleted");
    }

    // What is made again is there again, on whatever node.
    bind(&b, "one", 3);
    wait_until("a new entry", || holds(&a, "one"));
    assert_eq!(haproxy.stats().entries("app").len(), 5);
    haproxy.command("set table app key two data.server_id 1");
    wait_until("HAProxy's change", || holds(&a, "two") && holds(&b, "two"));

    a.command("clear table app");
    wait_until("an empty table", || b.stats().entries("app").is_empty());
    assert!(a.stats().entries("app").is_empty());
    assert_eq!(haproxy.stats().entries("app").len(), 5);
    let shown = haproxy.command("show peers");
    assert_eq!(shown.matches("proto_err=0").count(), 3, "{shown}");
    assert_eq!(shown.matches("no_hbt=0").count(), 3, "{shown}");
}
