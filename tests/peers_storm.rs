//! Attacks on the peers port of a running burdock by somebody who reaches it and knows a name: requests beside must not
//! wait for it, memory must not grow with it, and an honest peer must still get through.

pub mod support;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use support::{Client, Origin, Program, Proxy, Syslog, eventually, free_address};

/// The longest that a request may take beside an attack: two attacking threads, this one and a proxy without optimisation share
/// what processors there are, with whatever else runs there. The attack goes on for as long as the request waits, so a loop that
/// an attack can hold is held for longer.
const REQUEST_LIMIT: Duration = Duration::from_secs(4);
/// One attack at a time: the tests of this file must not be attacks on each other.
static ATTACK: Mutex<()> = Mutex::new(());
/// What its memory may grow by: buffers of sessions, and what the kernel and the allocator keep.
const GROWTH_BYTES_MAX: u64 = 24 << 20;

struct Node {
    proxy: Proxy,
    front: SocketAddr,
    peers: SocketAddr,
    log: Syslog,
    _origin: Origin,
}

impl Node {
    fn start() -> Node {
        let origin = Origin::named("app");
        let (front, peers) = (free_address(), free_address());
        let log = Syslog::start();
        let proxy = Proxy::start_with(
            Program::Burdock,
            &format!(
                "global\n stats socket {{dir}}/stats.sock level admin\n log {} local0\n\
                 peers mesh\n peer us {peers}\n peer good {}\n peer evil {}\n\
                 defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n\
                 frontend fe\n bind {front}\n default_backend app\n\
                 backend app\n stick-table type string len 32 size 50k expire 5m peers mesh\n stick on req.cook(S)\n server s1 {}\n",
                log.address(),
                free_address(),
                free_address(),
                origin.address()
            ),
            &["-L", "us"],
        );
        let node = Node {
            proxy,
            front,
            peers,
            log,
            _origin: origin,
        };
        let commands: Vec<String> = (0..5_000)
            .map(|number| format!("set table app key k{number} data.server_id 1"))
            .collect();
        for some in commands.chunks(50) {
            node.proxy.command(&some.join(";"));
        }
        let text = node.proxy.command("show table app");
        assert!(
            text.contains("used:5000"),
            "{}",
            text.lines().next().unwrap()
        );
        node
    }

    /// Resident memory of the worker and its master.
    fn memory_bytes(&self) -> u64 {
        let resident = |pid: u32| {
            let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            // Anonymous memory: the tables are shared and were there before.
            let line = text.lines().find(|line| line.starts_with("RssAnon:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        };
        1024 * self
            .proxy
            .processes()
            .into_iter()
            .filter_map(resident)
            .sum::<u64>()
    }

    /// Requests over one kept connection until `until` says so; the longest of them.
    fn slowest_request(&self, mut until: impl FnMut(u32) -> bool) -> Duration {
        let mut client = Client::connect(self.front);
        let mut slowest = Duration::ZERO;
        for count in 0.. {
            if until(count) {
                break;
            }
            let began = Instant::now();
            let answer = client.ask("GET / HTTP/1.1\r\nHost: a\r\nCookie: S=k17\r\n\r\n");
            assert_eq!(answer.status, 200);
            slowest = slowest.max(began.elapsed());
        }
        slowest
    }

    /// Somebody attacks in two threads for a while; requests go on beside.
    fn under(&self, what: &str, attack: impl Fn(SocketAddr, &AtomicBool) + Sync) {
        let turn = ATTACK.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = self.memory_bytes();
        let over = AtomicBool::new(false);
        let slowest = std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        attack(self.peers, &over);
                    }
                });
            }
            let end = Instant::now() + Duration::from_millis(1_200);
            let slowest = self.slowest_request(|_| Instant::now() > end);
            over.store(true, Ordering::Relaxed);
            slowest
        });
        drop(turn);
        eprintln!("{what}: the slowest request took {slowest:?}");
        assert!(
            slowest < REQUEST_LIMIT,
            "{what}: a request took {slowest:?}"
        );
        let growth = self.memory_bytes().saturating_sub(memory);
        assert!(
            growth < GROWTH_BYTES_MAX,
            "{what}: {} KiB more",
            growth >> 10
        );
        self.assert_an_honest_peer_gets_through(what);
    }

    fn assert_an_honest_peer_gets_through(&self, what: &str) {
        let key = what.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let mut good = established(self.peers, "good").expect("a known name is welcome");
        send(&mut good, &bytes(DEFINE));
        let mut body = bytes("00 00 00 05");
        body.push(key.len() as u8);
        body.extend(key.as_bytes());
        body.extend(bytes("01 04 01 02 73 31"));
        let mut message = vec![10, 0x80, body.len() as u8];
        message.extend(body);
        send(&mut good, &message);
        eventually(
            &format!("an update after {what}"),
            Duration::from_secs(5),
            || {
                let text = self.proxy.command(&format!("show table app key {key}"));
                text.contains("server_key=s1").then_some(())
            },
        );
    }
}

const DEFINE: &str = "0a 82 0f 05 03 61 70 70 06 21 f1 f1 fe 00 f0 e5 ed 05";

fn bytes(hex: &str) -> Vec<u8> {
    hex.split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

fn connect(address: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .ok()?;
    stream
        .set_write_timeout(Some(Duration::from_millis(200)))
        .ok()?;
    Some(stream)
}

/// Whether all was taken; an attacker does not mind if it was not.
fn send(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    stream.write_all(bytes).is_ok()
}

fn established(address: SocketAddr, name: &str) -> Option<TcpStream> {
    established_as(address, &format!("{name} 77 1"))
}

/// `who`: the last line of the hello.
fn established_as(address: SocketAddr, who: &str) -> Option<TcpStream> {
    let mut stream = connect(address)?;
    send(&mut stream, format!("HAProxyS 2.1\nus\n{who}\n").as_bytes());
    let mut status = [0; 4];
    stream.read_exact(&mut status).ok()?;
    (status == *b"200\n").then_some(stream)
}

/// Sends the same again and again, as long as the other side takes it, reading or not.
fn flood(address: SocketAddr, over: &AtomicBool, before: &[u8], again: &[u8], reads: bool) {
    if let Some(stream) = established(address, "evil") {
        flood_over(stream, over, before, again, reads);
    }
}

/// As `flood`, by somebody who says that it is a burdock, too.
fn flood_extended(
    address: SocketAddr,
    over: &AtomicBool,
    before: &[u8],
    again: &[u8],
    reads: bool,
) {
    if let Some(mut stream) = established_as(address, "evil 77 1 burdock/1") {
        let mut greeting = [0; 12];
        if stream.read_exact(&mut greeting).is_err() {
            return; // the other attacker has taken its place
        }
        assert_eq!(greeting[..4], [b'b', 0x80, 9, 1], "a greeting");
        send(&mut stream, &greeting);
        flood_over(stream, over, before, again, reads);
    }
}

fn flood_over(mut stream: TcpStream, over: &AtomicBool, before: &[u8], again: &[u8], reads: bool) {
    let block = again.repeat(1 + 60_000 / again.len());
    let mut sink = vec![0; 1 << 16];
    if !send(&mut stream, before) {
        return;
    }
    while !over.load(Ordering::Relaxed) {
        if !send(&mut stream, &block) {
            return;
        }
        if reads {
            let _ = stream.set_nonblocking(true);
            while stream.read(&mut sink).is_ok_and(|count| count > 0) {}
            let _ = stream.set_nonblocking(false);
        }
    }
}

#[test]
fn connections_by_the_thousand() {
    let node = Node::start();
    node.under("silent connections", |address, over| {
        let silent: Vec<_> = (0..500)
            .map_while(|_| (!over.load(Ordering::Relaxed)).then(|| connect(address)))
            .collect();
        drop(silent);
    });
    node.under("hellos that do not end", |address, over| {
        let mut half: Vec<_> = (0..300).filter_map(|_| connect(address)).collect();
        for stream in &mut half {
            send(stream, b"HAProxyS 2.1\nus\nev");
        }
        while !over.load(Ordering::Relaxed) && half.iter_mut().any(|stream| send(stream, b"i")) {
            std::thread::sleep(Duration::from_millis(20)); // a drip, not a wait for something
        }
    });
    node.under("hellos without end", |address, _| {
        if let Some(mut stream) = connect(address) {
            while send(&mut stream, &[b'H'; 4096]) {}
        }
    });
    node.under("sessions that replace each other", |address, _| {
        drop(established(address, "evil"));
    });
    // Who was refused is read from for a while, but few are.
    let worker = *node.proxy.processes().last().expect("a worker");
    let descriptors = || {
        fs::read_dir(format!("/proc/{worker}/fd"))
            .expect("it runs")
            .count()
    };
    let before = descriptors();
    let refused: Vec<TcpStream> = (0..300)
        .filter_map(|_| {
            let mut stream = connect(node.peers)?;
            send(&mut stream, b"GET / HTTP/1.1\r\n\r\n");
            let mut status = [0; 4];
            stream.read_exact(&mut status).ok()?;
            assert_eq!(status, *b"501\n");
            Some(stream)
        })
        .collect();
    let more = descriptors().saturating_sub(before);
    assert!(
        refused.len() > 250 && more < 80,
        "{more} descriptors for {} that were refused",
        refused.len()
    );
    drop(refused);
    // Who comes and goes all day must not fill the log: a hundred lines of a section in a minute.
    let end = Instant::now() + Duration::from_secs(10);
    for _ in 0..150 {
        drop(established(node.peers, "evil"));
        assert!(Instant::now() < end, "connections take too long");
    }
    let lines = node.log.lines();
    let lines = lines.iter().filter(|line| line.contains("peers mesh"));
    let count = lines.count();
    assert!((1..=220).contains(&count), "{count} lines about peers");
    // Nothing of it stays open.
    eventually(
        "all connections to be closed",
        Duration::from_secs(15),
        || {
            let text = node.proxy.command("show info");
            text.lines()
                .any(|line| line == "ConnectedPeers: 0")
                .then_some(())
        },
    );
}

#[test]
fn messages_without_measure() {
    let node = Node::start();
    let garbage: Vec<u8> = (0..50_000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    node.under("a valid name and garbage", |address, over| {
        flood(address, over, &[], &garbage, false)
    });
    node.under("integers without end", |address, over| {
        flood(
            address,
            over,
            &bytes(DEFINE),
            &bytes("0a 80 ff ff ff ff ff ff ff ff ff ff"),
            false,
        );
    });
    node.under("slots that do not exist", |address, over| {
        flood(
            address,
            over,
            &bytes(DEFINE),
            &bytes("0a 80 09 00 00 00 01 01 61 01 01 81"),
            false,
        );
    });
    node.under("acks", |address, over| {
        flood(address, over, &[], &bytes("0a 84 05 01 ff ff ff fe"), true)
    });
    node.under("heartbeats", |address, over| {
        flood(address, over, &[], &bytes("00 04"), true)
    });
    node.under("confirmations", |address, over| {
        flood(address, over, &[], &bytes("00 03 00 01 00 02"), true)
    });
    node.under("requests for lessons, read", |address, over| {
        flood(address, over, &[], &[0, 0], true)
    });
    node.under("requests for lessons, never read", |address, over| {
        flood(address, over, &[], &[0, 0], false)
    });
    node.under("lessons one after the other", |address, over| {
        flood(address, over, &[], &bytes("00 00 00 03"), true);
    });
}

#[test]
fn tables_and_updates_without_measure() {
    let node = Node::start();
    let tables: Vec<u8> = (0..4_000u32)
        .flat_map(|number| {
            let name = format!("t{number:05}");
            let mut body = vec![0xf0 | (number % 16) as u8, (number / 16 % 128) as u8, 6];
            body.extend(name.as_bytes());
            body.extend(bytes("06 21 01 00"));
            let mut message = vec![10, 0x82, body.len() as u8];
            message.extend(body);
            message.extend(bytes("0a 80 01 00")); // an update of it
            message
        })
        .collect();
    node.under("tables by the thousand", |address, over| {
        flood(address, over, &[], &tables, false)
    });
    let mut switched = bytes(DEFINE);
    switched.extend(bytes("0a 80 0b 00 00 00 09 01 71 02 03 01 01 74"));
    switched.extend(bytes("0a 82 0d 05 03 61 70 70 06 21 01 f0 e5 ed 05")); // fewer data
    switched.extend(bytes("0a 80 07 ff ff ff ff 01 71 02"));
    switched.extend(bytes(
        "0a 83 01 05 0a 81 03 01 72 03 0a 83 01 63 0a 81 03 01 73 03",
    ));
    node.under("definitions that change", |address, over| {
        flood(address, over, &[], &switched, true)
    });
    let entries: Vec<u8> = (0..3_000u32)
        .flat_map(|number| {
            let key = format!("flood-{number:06}");
            let mut body = number.to_be_bytes().to_vec();
            body.push(key.len() as u8);
            body.extend(key.as_bytes());
            body.extend(bytes("01 04 01 02 73 31"));
            let mut message = vec![10, 0x80, body.len() as u8];
            message.extend(body);
            message
        })
        .collect();
    node.under("updates", |address, over| {
        flood(address, over, &bytes(DEFINE), &entries, true)
    });
    node.under("updates whose acks are never read", |address, over| {
        flood(address, over, &bytes(DEFINE), &entries, false);
    });
}

/// What burdock nodes say to each other beyond the protocol, said by somebody who means harm. What he deletes was never there,
/// and what was there stays.
#[test]
fn comparisons_repairs_and_deletions_without_measure() {
    let node = Node::start();
    let message = |kind: u8, body: &[u8]| [&[b'b', kind, body.len() as u8], body].concat();
    let digest = |number: u64| {
        let mut body = bytes("03 61 70 70 07 f0 af 91 00 f0 01"); // app, complete, 5 min, 256 entries
        for _ in 0..4 {
            body.extend(number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        }
        message(0x81, &body)
    };
    let digests: Vec<u8> = (0..1_000).flat_map(digest).collect();
    node.under("digests", |address, over| {
        flood_extended(address, over, &[], &digests, true)
    });
    let greetings: Vec<u8> = (0..1_000u64)
        .flat_map(|clock| {
            let clock = clock.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
            message(0x80, &[&[1], &clock[..]].concat())
        })
        .collect();
    node.under("greetings of all clocks", |address, over| {
        flood_extended(address, over, &[], &greetings, true)
    });
    let repair = message(0x82, b"app");
    node.under("wishes for repairs, read", |address, over| {
        flood_extended(address, over, &[], &repair, true)
    });
    node.under("wishes for repairs, never read", |address, over| {
        flood_extended(address, over, &[], &repair, false)
    });
    node.under("repairs that nobody asked for", |address, over| {
        let entry = message(0x83, &bytes("00 00 00 01 00 09 11 d8 03 6b 31 37 09 00"));
        let end = message(0x84, &bytes("f0 01 61 70 70"));
        flood_extended(address, over, &bytes(DEFINE), &[entry, end].concat(), true);
    });
    let deletions: Vec<u8> = (0..60_000u32)
        .flat_map(|number| {
            let key = format!("never-{number:06}");
            let mut body = number.to_be_bytes().to_vec();
            body.extend(bytes("00 00 00 00"));
            body.push(key.len() as u8);
            body.extend(key.as_bytes());
            body.extend(number.to_be_bytes());
            message(0x85, &body)
        })
        .collect();
    node.under("deletions", |address, over| {
        flood_extended(address, over, &bytes(DEFINE), &deletions, true)
    });
    let text = node.proxy.command("show table app");
    let used = text.lines().next().unwrap_or_default();
    let used = used.rsplit_once("used:").map(|(_, used)| used.trim());
    let used: u32 = used.and_then(|used| used.parse().ok()).expect("a count");
    assert!((5_000..5_100).contains(&used), "{used} entries are left");
    let text = node.proxy.command("show table app key k17");
    assert!(text.contains("server_id=1"), "{text}");
    // Such a message is no empty word: of a key that is there, it deletes it.
    let mut good = established_as(node.peers, "good 77 1 burdock/1").expect("a known name");
    send(&mut good, &bytes(DEFINE));
    send(
        &mut good,
        &message(
            0x85,
            &bytes("00 00 00 01 00 00 00 00 03 6b 31 38 00 00 00 00"),
        ),
    );
    eventually("a deletion", Duration::from_secs(5), || {
        let text = node.proxy.command("show table app key k18");
        (!text.contains("server_id")).then_some(())
    });
}

/// A byte at a time is as good as all at once, and who closes one half is answered before the other is closed.
#[test]
fn a_byte_at_a_time_and_half_a_connection() {
    let node = Node::start();
    let mut slow = connect(node.peers).expect("a connection");
    let mut all = b"HAProxyS 2.1\nus\ngood 5 1\n".to_vec();
    all.extend(bytes(DEFINE));
    all.extend(bytes("0a 80 0b ff ff ff ff 01 71 02 03 01 01 74"));
    all.extend(bytes("0a 81 07 01 72 02 03 01 01 74")); // the id after the last one: 0
    all.extend(bytes("0a 81 07 01 73 02 03 01 01 74"));
    for byte in all {
        assert!(send(&mut slow, &[byte]));
    }
    for key in ["q", "r", "s"] {
        eventually("an update in pieces", Duration::from_secs(5), || {
            let text = node.proxy.command(&format!("show table app key {key}"));
            text.contains("server_key=t").then_some(())
        });
    }
    let mut said: Vec<u8> = Vec::new();
    let ack = bytes("0a 84 05 05 00 00 00 01");
    eventually(
        "the ack behind the wrap of ids",
        Duration::from_secs(5),
        || {
            let mut block = [0; 4096];
            match slow.read(&mut block) {
                Ok(count) => said.extend(&block[..count]),
                Err(error) => assert!(
                    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                    "{error}"
                ),
            }
            said.windows(8).any(|window| window == ack).then_some(())
        },
    );
    slow.shutdown(std::net::Shutdown::Write)
        .expect("half a close");
    let mut rest = Vec::new();
    let _ = slow.set_read_timeout(Some(Duration::from_secs(5)));
    slow.read_to_end(&mut rest).expect("the other half");
    let text = node.proxy.command("show peers lag");
    assert!(
        text.contains("last_error=\"it closed the connection"),
        "{text}"
    );
}
