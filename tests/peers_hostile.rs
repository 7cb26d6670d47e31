//! Peers that violate the protocol: whoever reaches the port gets the protocol's answer and disturbs nobody.

#[path = "sim/loop_node.rs"]
pub mod loop_node;
#[path = "sim/raw_peer.rs"]
pub mod raw_peer;

use std::io::{ErrorKind, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use burdock::peers::PeersView;
use burdock::peers::group::Random;
use burdock::stick::spec::ServerKeyKind;
use burdock::stick::{DataType, KeyType, StoredType, TableSpec};
use loop_node::LoopNode;
use raw_peer::{Client, bytes};

fn table() -> TableSpec {
    let stored = |data_type| StoredType {
        data_type,
        elements: 1,
        period_ms: 0,
    };
    TableSpec {
        name: "app".into(),
        wire_name: "app".into(),
        key_type: KeyType::String,
        key_len: 32,
        size: 1_000,
        expire_ms: 300_000,
        nopurge: false,
        expire_absolute: false,
        store: vec![stored(DataType::ServerId), stored(DataType::ServerKey)],
        server_key_kind: ServerKeyKind::Name,
        peers: Some("mesh".into()),
    }
}

/// A node that knows `good` and `evil`, neither of which it dials.
fn node() -> (LoopNode, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let members = [("good", None), ("evil", None), ("us", Some(address))];
    (
        LoopNode::start("us", Some(listener), &members, &[table()]),
        address,
    )
}

fn line_with<'a>(text: &'a str, part: &str) -> &'a str {
    text.lines()
        .find(|line| line.contains(part))
        .unwrap_or_else(|| panic!("no line with {part}:\n{text}"))
}

/// What `show peers lag` says of a peer's updates, its lessons and its failures.
#[test]
fn lag_is_shown() {
    let (mut node, address) = node();
    for number in 0..10 {
        node.bind(0, &format!("k{number}"), 1, "s1");
    }
    let table = |node: &LoopNode| {
        let text = node.view(PeersView::Lag);
        line_with(&text, "peer=good table=app ").to_string()
    };
    let member = |node: &LoopNode| {
        let text = node.view(PeersView::Lag);
        line_with(&text, "peer=good state=").to_string()
    };
    node.run_for(Duration::from_millis(30));
    assert!(table(&node).contains("state=\"not connected\" pending=10 oldest_ms="));
    assert!(member(&node).contains("state=\"not connected, it is expected to dial\" bytes_in=0 "));
    let mut good = Client::established(&mut node, address, "good");
    // We asked it for a lesson when it came, and it ends one of two entries; then it asks for one.
    assert!(
        member(&node).contains("state=\"connected, teaches us: 0 entries"),
        "{}",
        member(&node)
    );
    good.send(&bytes(DEFINE));
    good.send(&bytes(
        "0a 85 0f 00 00 00 09 00 00 ff ff 01 71 02 03 01 01 74",
    ));
    good.send(&bytes("0a 80 0b 00 00 00 0a 01 72 02 03 01 01 74")); // live, no part of the lesson
    good.send(&bytes("00 01"));
    node.run_until("the end of our lesson", |node| {
        member(node).contains("last_resync=\"learnt 1 entries in ")
    });
    assert!(
        member(&node).contains(": this node started\""),
        "{}",
        member(&node)
    );
    // It takes ten updates and acknowledges three, then all.
    node.run_until("updates sent", |node| {
        table(node).contains("updates_out=10")
    });
    assert!(
        table(&node).contains("state=\"behind\" pending=10 "),
        "{}",
        table(&node)
    );
    assert!(!table(&node).contains(" oldest_ms=0 "), "{}", table(&node));
    good.send(&bytes("0a 84 05 01 00 00 00 03"));
    node.run_until("an ack", |node| table(node).contains("pending=7 "));
    assert!(!table(&node).contains("ack_rtt_ms=-"), "{}", table(&node));
    good.send(&bytes("0a 84 05 01 00 00 00 0a"));
    node.run_until("all acks", |node| {
        table(node).contains("state=\"in step\" pending=0 oldest_ms=0 ")
    });
    good.send(&bytes("00 00"));
    node.run_until("its lesson", |node| {
        member(node).contains("not confirmed yet")
    });
    good.send(&bytes("00 03"));
    node.run_until("the end of its lesson", |node| {
        member(node).contains("last_resync=\"taught 12 entries in ")
    });
    assert!(member(&node).contains("complete, "), "{}", member(&node));
    assert!(
        member(&node).contains("state=\"connected\""),
        "{}",
        member(&node)
    );
    drop(good);
    node.run_until("the loss", |node| {
        member(node).contains("state=\"not connected")
    });
    assert!(
        member(&node).contains("last_error=\"it closed the connection, ")
            || member(&node).contains("last_error=\"Connection reset"),
        "{}",
        member(&node)
    );
}

/// A peer lacks an entry since its first change that it was not told of, however young the last one is; and while somebody is dialled
/// who says nothing, nobody knows whether it is a burdock.
#[test]
fn what_is_missing_grows_older_although_it_changes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let members = [
        ("silent", Some(silent.local_addr().unwrap())),
        ("us", Some(listener.local_addr().unwrap())),
    ];
    let mut node = LoopNode::start("us", Some(listener), &members, &[table()]);
    for round in 0..10 {
        node.bind(0, "busy", 1 + round % 2, "s1");
        node.run_for(Duration::from_millis(20));
    }
    let line = |node: &LoopNode| {
        let text = node.view(PeersView::Lag);
        line_with(&text, "peer=silent table=app ").to_string()
    };
    let text = line(&node);
    let oldest = text.split_once("oldest_ms=").unwrap().1;
    let oldest_ms: u64 = oldest.split_once(' ').unwrap().0.parse().unwrap();
    assert!(text.contains(" pending=1 ") && oldest_ms >= 150, "{text}");
    node.run_until("a connection", |node| {
        node.view(PeersView::Lag)
            .contains("state=\"connected, not yet greeted\"")
    });
    let text = line(&node);
    assert!(
        text.ends_with("in_sync=unknown differs_for_ms=0 not_compared=\"there is no connection\""),
        "{text}"
    );
}

const DEFINE: &str = "0a 82 0f 05 03 61 70 70 06 21 f1 f1 fe 00 f0 e5 ed 05";

/// What a peer that says nothing wrong looks like: an update of it arrives.
fn assert_good_peer_works(node: &mut LoopNode, good: &mut Client, key: &str) {
    let mut message = bytes("0a 80");
    let mut body = bytes("00 00 00 05");
    body.push(key.len() as u8);
    body.extend(key.as_bytes());
    body.extend(bytes("01 04 01 02 73 31"));
    message.push(body.len() as u8);
    message.extend(body);
    good.send(&bytes(DEFINE));
    good.send(&message);
    node.run_until("the good peer's update", |node| {
        node.server(0, key).is_some()
    });
    assert_eq!(node.server(0, key), Some((1, Some("s1".into()))));
}

#[test]
fn bad_hellos_get_their_status() {
    let (mut node, address) = node();
    let mut check = |hello: &str, expected: &str| {
        let mut client = Client::connect(address);
        client.send(hello.as_bytes());
        let answer = client.read_to_end(&mut node);
        assert_eq!(String::from_utf8_lossy(&answer), expected, "{hello:?}");
    };
    check("HAProxyS 2.1\nus\nstranger 1 1\n", "504\n");
    check("HAProxyS 2.1\nsomebody\n", "503\n");
    check("HAProxyS 2.2\n", "502\n");
    check("HAProxyS x\n", "502\n");
    check("GET / HTTP/1.1\r\n\r\n", "501\n");
    check("HAProxyS 2.1\nus\ngood\n", "501\n");
    check(&format!("HAProxyS 2.1{}", "1".repeat(40_000)), "");
    let log = node.log.join("\n");
    assert!(
        log.contains(
            "refused a connection with 504: no peer is named 'stranger' here; known: good, evil, us"
        ),
        "{log}"
    );
    assert!(
        log.contains("503: it asked for peer 'somebody', this is 'us'"),
        "{log}"
    );
    // A stranger who tries all day does not fill the log.
    for _ in 0..50 {
        Client::hello(address, "stranger").read_to_end(&mut node);
    }
    assert!(node.log.len() < 10, "{:?}", node.log);
    let mut good = Client::established(&mut node, address, "good");
    assert_good_peer_works(&mut node, &mut good, "a");
}

#[test]
fn hellos_in_pieces_and_messages_behind_them_are_taken() {
    let (mut node, address) = node();
    let mut client = Client::connect(address);
    for byte in b"HAProxyS 2.1\r\nus\r\ngood 5 1\r\n" {
        client.send(&[*byte]);
        node.run_for(Duration::from_millis(2));
    }
    client.read_until(&mut node, "the status", |client| {
        client.received.starts_with(b"200\n")
    });
    let mut client = Client::connect(address);
    let mut all = b"HAProxyS 2.0\nus\nevil 5 1\n".to_vec();
    all.extend(bytes("00 04"));
    all.extend(bytes(DEFINE));
    all.extend(bytes("0a 80 0b 00 00 00 09 01 71 02 03 01 01 74"));
    client.send(&all);
    node.run_until("the update behind the hello", |node| {
        node.server(0, "q") == Some((2, Some("t".into())))
    });
    client.read_until(&mut node, "the ack", |client| {
        let ack = bytes("0a 84 05 05 00 00 00 09");
        client.received.windows(8).any(|window| window == ack)
    });
    assert!(client.received.starts_with(b"200\n"));
    client.read_until(&mut node, "a heartbeat", |client| {
        client.received.ends_with(&[0, 4])
    });
}

#[test]
fn malformed_messages_end_the_session_with_the_protocols_error() {
    let (mut node, address) = node();
    let mut good = Client::established(&mut node, address, "good");
    let mut check = |messages: &[&str], error: Option<&str>| {
        let mut evil = Client::established(&mut node, address, "evil");
        evil.received.clear();
        for message in messages {
            evil.send(&bytes(message));
        }
        if let Some(error) = error {
            let end = evil.read_to_end(&mut node);
            assert!(end.ends_with(&bytes(error)), "{messages:?}: {end:?}");
        } else {
            // The session goes on: a lesson is asked for and ends.
            evil.send(&bytes("00 00"));
            evil.read_until(&mut node, "the end of a lesson", |client| {
                client.received.ends_with(&[0, 1]) || client.received.ends_with(&[0, 2])
            });
            assert!(!evil.ended);
        }
    };
    let protocol = Some("01 00");
    let define = DEFINE;
    check(&["0a 82 00"], protocol); // an empty definition
    check(&["0a 82 02 01 00"], protocol); // no name
    check(&["0a 82 05 01 03 61 70 70"], protocol); // ends after the name
    check(&["0a 82 06 01 03 61 70 70 06"], protocol); // no key length
    check(&["0a 82 07 01 03 61 70 70 06 21"], protocol); // no data types
    check(&["0a 82 04 01 7f 61 70"], protocol); // a name beyond the end
    check(&["0a 83 00"], protocol); // an empty switch
    check(&["0a 84 00"], protocol);
    check(&["0a 84 03 01 00 00"], protocol); // a truncated ack
    check(&["ff 00"], protocol); // the reserved class
    check(&["0a 80 ff ff ff ff ff"], protocol); // an endless length
    check(&["0a 80 f1 f1 fe 00"], Some("01 01")); // too long
    check(&[define, "0a 80 03 00 00 00"], protocol); // a truncated id
    check(&[define, "0a 85 06 00 00 00 01 00 00"], protocol); // a truncated expiry
    check(&[define, "0a 80 04 00 00 00 01"], protocol); // no key
    check(&[define, "0a 80 06 00 00 00 01 05 61"], protocol); // a key beyond the end
    check(&[define, "0a 80 06 00 00 00 01 01 61"], protocol); // no value
    check(&[define, "0a 80 08 00 00 00 01 01 61 01 01"], protocol); // a dictionary entry beyond the end
    check(&[define, "0a 80 09 00 00 00 01 01 61 01 01 00"], protocol); // slot 0
    check(&[define, "0a 80 09 00 00 00 01 01 61 01 01 81"], protocol); // slot 129
    check(
        &[define, "0a 80 0c 00 00 00 01 01 61 01 04 81 02 73 31"],
        protocol,
    );
    check(
        &[define, "0a 80 0c 00 00 00 01 01 61 01 04 01 7f 73 31"],
        protocol,
    );
    // What is only unknown, or of tables that we do not share, is skipped.
    check(
        &[
            "00 7f",
            "00 85 01 55",
            "55 05",
            "55 95 02 01 02",
            "0a 87 01 00",
            "0a 10",
        ],
        None,
    );
    check(&["01 00", "01 01", "01 77"], None); // errors that we caused, it says
    check(&["00 03", "00 01", "00 02"], None); // confirmations and ends that nobody asked for
    check(
        &["0a 84 05 01 00 00 00 07", "0a 84 05 7f ff ff ff ff"],
        None,
    ); // acks of nothing
    check(&["0a 80 03 00 00 00", "0a 81 00", "0a 86 00"], None); // updates of no table
    check(&["0a 83 01 63", "0a 80 01 00"], None); // a switch to an unknown table
    check(&["0a 82 07 01 01 78 06 21 01 00", "0a 80 01 00"], None); // an unknown table
    check(
        &["0a 82 09 01 03 61 70 70 06 20 01 00", "0a 80 01 00"],
        None,
    ); // another length
    check(
        &["0a 82 09 01 03 61 70 70 63 21 01 00", "0a 80 01 00"],
        None,
    ); // no key type
    check(
        &["0a 82 0b 01 03 61 70 70 06 21 f0 01 00", "0a 80 01 00"],
        None,
    );
    assert_good_peer_works(&mut node, &mut good, "still");
    assert!(!good.ended);
    assert!(node.log.iter().any(|line| line.contains("peer evil: lost: it violated the protocol (answered 01 00)")), "{:?}", node.log);
    let text = node.show();
    assert!(text.contains("proto_err=22"), "{text}");
    // The last one: behind a hello, a definition and what came with them.
    let errors = node.view(PeersView::Errors);
    let evil = line_with(&errors, "peer=evil ");
    assert!(evil.contains(" bad_messages=22 "), "{errors}");
    let hello = "HAProxyS 2.1\nus\nevil 77 1\n".len() + bytes(DEFINE).len();
    assert!(evil.contains(&format!(" position={hello} ")), "{errors}");
    assert!(
        evil.contains(
            "reason=\"an update that is cut short, or has a length or number out of bounds\""
        ),
        "{errors}"
    );
    assert!(
        evil.ends_with("bytes=\"0a 80 0c 00 00 00 01 01 61 01 04 01 7f 73 31\""),
        "{errors}"
    );
    assert_eq!(
        line_with(&errors, "peer=good "),
        "section=mesh peer=good bad_messages=0"
    );
}

#[test]
fn random_bytes_and_damaged_sessions_harm_nobody() {
    let (mut node, address) = node();
    let mut good = Client::established(&mut node, address, "good");
    let mut random = Random::new(7);
    let stream: Vec<u8> = [
        "00 00",
        DEFINE,
        "0a 80 0c 00 00 00 01 01 61 01 04 01 02 73 31",
        "0a 86 09 00 00 10 00 01 62 01 01 01 00",
        "0a 84 05 01 00 00 00 01",
        "00 04",
        "00 03",
        "00 02",
        "0a 82 14 07 03 61 70 70 06 21 f3 ff fe 7e 00 03 01 05 01 08 01 0a 01",
        "0a 81 02 01 61",
    ]
    .iter()
    .flat_map(|hex| bytes(hex))
    .collect();
    for round in 0..150 {
        let mut evil = Client::hello(address, "evil");
        let mut sent = stream.repeat(3);
        if round % 3 == 0 {
            sent = (0..2_000).map(|_| random.number() as u8).collect();
        } else {
            for _ in 0..1 + random.below(6) {
                let at = random.below(sent.len() as u64) as usize;
                sent[at] = random.number() as u8;
            }
            sent.truncate(random.below(sent.len() as u64 + 1) as usize);
        }
        evil.send(&sent);
        node.run_for(Duration::from_millis(1));
        if round % 2 == 0 {
            let _ = evil.stream.shutdown(Shutdown::Write);
        }
        node.run_for(Duration::from_millis(1));
    }
    assert_good_peer_works(&mut node, &mut good, "alive");
    node.tables[0].check_invariants().unwrap();
}

/// What this thread has had of a processor: a turn that others interrupt is no longer for it.
fn thread_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let on_cpu = text.split(' ').next().and_then(|word| word.parse().ok());
    Duration::from_nanos(on_cpu.expect("nanoseconds"))
}

/// A peer that sends as fast as it can, one that never reads, and one that says nothing: turns stay short.
#[test]
fn floods_and_deaf_peers_delay_nobody() {
    let (mut node, address) = node();
    let mut good = Client::established(&mut node, address, "good");
    for number in 0..900 {
        node.bind(
            0,
            &format!("k{number}"),
            1,
            "server-with-a-long-name-to-fill-buffers",
        );
    }
    let mut deaf = Client::established(&mut node, address, "evil");
    deaf.send(&bytes("00 00").repeat(20_000)); // lessons without end, never read
    for _ in 0..200 {
        deaf.send(&bytes("00 04").repeat(5_000));
        let before = thread_cpu();
        node.turn();
        let took = thread_cpu() - before;
        assert!(took < Duration::from_millis(100), "{took:?}");
    }
    good.read();
    assert_good_peer_works(&mut node, &mut good, "quick");
    // Connections that never say who they are do not keep the others out.
    let silent: Vec<Client> = (0..100).map(|_| Client::connect(address)).collect();
    node.run_for(Duration::from_millis(50));
    let mut again = Client::established(&mut node, address, "good");
    assert_good_peer_works(&mut node, &mut again, "known");
    drop(silent);
}

#[test]
fn silent_peers_are_given_up() {
    let (mut node, address) = node();
    let mut mute = Client::connect(address);
    let mut half = Client::connect(address);
    half.send(b"HAProxyS 2.1\nus\ngo");
    let mut established = Client::established(&mut node, address, "good");
    let began = Instant::now();
    assert_eq!(mute.read_to_end(&mut node), b"");
    assert_eq!(half.read_to_end(&mut node), b"");
    assert!(began.elapsed() > Duration::from_secs(4));
    node.run_until("the silence to be noticed", |us| {
        let mut lines = us.log.iter();
        lines.any(|line| line.contains("peer good: lost: it has been silent"))
    });
    // Not only an end, which waits behind what a peer does not take.
    let told = established.stream.take_error().unwrap();
    let told = told.map(|error| error.kind());
    assert_eq!(told, Some(ErrorKind::ConnectionReset));
    established.read();
    assert!(established.received.ends_with(&[0, 4]), "no heartbeats");
}

/// A peer of version 2.0 gets no lifetimes, and is greeted as such afterwards.
#[test]
fn an_old_peer_gets_untimed_updates() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let old = TcpListener::bind("127.0.0.1:0").unwrap();
    old.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let members = [
        ("old", Some(old.local_addr().unwrap())),
        ("us", Some(address)),
    ];
    let mut node = LoopNode::start("us", Some(listener), &members, &[table()]);
    node.bind(0, "key", 1, "s1");
    let mut client = Client::connect(address);
    client.send(b"HAProxyS 2.0\nus\nold 5 1\n\x00\x00");
    let update = bytes("03 6b 65 79 01 04 01 02 73 31");
    let holds = |client: &Client, kind: u8| {
        client
            .received
            .windows(2 + 1 + 4 + update.len())
            .any(|window| window[..2] == [10, kind] && window.ends_with(&update))
    };
    client.read_until(&mut node, "the lesson", |client| holds(client, 0x80));
    client.read_until(&mut node, "its end", |client| {
        client.received.ends_with(&[0, 2])
    });
    assert!(
        !client
            .received
            .windows(2)
            .any(|window| window == [10, 0x85])
    );
    drop(client);
    let mut hello: Vec<u8> = Vec::new();
    let mut accepted: Vec<TcpStream> = Vec::new();
    node.run_until("a hello of version 2.0", |_| {
        if let Ok((stream, _)) = old.accept() {
            stream.set_nonblocking(true).unwrap();
            accepted.push(stream);
        }
        for stream in &mut accepted {
            let mut bytes = [0; 100];
            if let Ok(count) = stream.read(&mut bytes) {
                hello.extend(&bytes[..count]);
            }
        }
        hello
            .windows(16)
            .any(|window| window == b"HAProxyS 2.0\nold")
    });
}

/// Lifetimes: what is left is kept, no entry lives longer than the table allows, and a sender without `expire` says nothing by it.
#[test]
fn lifetimes_are_kept_and_bounded() {
    let (mut node, address) = node();
    let mut good = Client::established(&mut node, address, "good");
    let timed = |key: &str, ms: u32| {
        let mut body = vec![0, 0, 0, 1];
        body.extend(ms.to_be_bytes());
        body.push(key.len() as u8);
        body.extend(key.as_bytes());
        body.extend(bytes("01 04 01 02 73 31"));
        let mut message = vec![10, 0x85, body.len() as u8];
        message.extend(body);
        message
    };
    let left = |node: &mut LoopNode, key: &str| {
        node.run_until("the entry", |node| node.server(0, key).is_some());
        let entry = node.find(0, key.as_bytes()).unwrap();
        node.tables[0].remaining_ms(entry, node.now_ms())
    };
    good.send(&bytes(DEFINE));
    good.send(&timed("short", 100_000));
    good.send(&timed("long", 90_000_000));
    good.send(&timed("over", 0));
    good.send(&timed("endless", u32::MAX));
    assert!((60_000..=100_000).contains(&left(&mut node, "short")));
    assert!((260_000..=300_000).contains(&left(&mut node, "long")));
    assert!((260_000..=300_000).contains(&left(&mut node, "endless")));
    assert_eq!(node.server(0, "over"), None);
    // A live update of the same key begins a whole lifetime.
    good.send(&bytes(
        "0a 80 10 00 00 00 09 05 73 68 6f 72 74 01 04 01 02 73 31",
    ));
    node.run_until("the whole lifetime", |node| {
        let entry = node.find(0, b"short").unwrap();
        node.tables[0].remaining_ms(entry, node.now_ms()) > 200_000
    });
    // A table without `expire` there: the zero in its updates means nothing.
    good.send(&bytes("0a 82 0c 05 03 61 70 70 06 21 f1 f1 fe 00 00"));
    good.send(&timed("zero", 0));
    assert!((260_000..=300_000).contains(&left(&mut node, "zero")));
}

/// A newer peer announces data that nobody here knows: the known values before them are taken, the rest of each message is not.
#[test]
fn unknown_data_types_are_skipped_with_all_behind_them() {
    let (mut node, address) = node();
    let mut good = Client::established(&mut node, address, "good");
    let message = |kind: u8, body: &[u8]| [&[10, kind, body.len() as u8], body].concat();
    // server_id, server_key and the types 30 and 40, the last of which takes a period.
    let mut bits = vec![0xf1];
    let mut rest: u64 = ((1 | 1 << 19 | 1 << 30 | 1 << 40) - 0xf0) >> 4;
    while rest >= 0x80 {
        bits.push(rest as u8 | 0x80);
        rest = (rest - 0x80) >> 7;
    }
    bits.push(rest as u8);
    let define = [
        bytes("05 03 61 70 70 06 21"),
        bits,
        bytes("f0 e5 ed 05 28 63"),
    ]
    .concat();
    good.send(&message(0x82, &define));
    let first = bytes("00 00 00 07 01 71 02 04 01 02 73 39 de ad be ef");
    good.send(&message(0x80, &first));
    let second = bytes("00 00 00 08 01 72 03 01 01 ff ff ff ff ff ff");
    good.send(&message(0x80, &second));
    node.run_until("both updates", |node| node.server(0, "r").is_some());
    assert_eq!(node.server(0, "q"), Some((2, Some("s9".into()))));
    assert_eq!(node.server(0, "r"), Some((3, Some("s9".into()))));
    good.read_until(&mut node, "the ack", |client| {
        let ack = bytes("0a 84 05 05 00 00 00 08");
        client.received.windows(8).any(|window| window == ack)
    });
}

/// A message of 16384 bytes, head included, is taken, in one piece and in many; with one byte more the session ends.
#[test]
fn the_longest_message_is_taken_and_a_longer_one_is_not() {
    // The definition's table, an id, a key, a server; what follows them in the message is for readers of the future.
    let update = |key: &str, body_bytes: usize| {
        let mut body = bytes("00 00 00 05");
        body.push(key.len() as u8);
        body.extend(key.as_bytes());
        body.extend(bytes("01 04 01 02 73 31"));
        body.resize(body_bytes, 0x55);
        let mut message = vec![10, 0x80, body_bytes as u8 | 0xf0];
        let rest = (body_bytes - 0xf0) >> 4;
        message.extend([rest as u8 | 0x80, ((rest - 0x80) >> 7) as u8]);
        message.extend(body);
        message
    };
    let (mut node, address) = node();
    let mut client = Client::established(&mut node, address, "good");
    client.send(&bytes(DEFINE));
    let longest = update("whole", 16_384 - 5);
    assert_eq!(longest.len(), 16_384);
    client.send(&longest);
    node.run_until("the longest", |node| node.server(0, "whole").is_some());
    for piece in update("pieces", 16_384 - 5).chunks(700) {
        client.send(piece);
        node.run_for(Duration::from_millis(1));
    }
    node.run_until("the pieces", |node| node.server(0, "pieces").is_some());
    // Several in a row: the second begins anywhere in the buffer.
    let row: Vec<u8> = (0..8)
        .flat_map(|number| update(&format!("k{number}"), 16_000 + number * 50))
        .collect();
    client.send(&row);
    node.run_until("all of the row", |node| node.server(0, "k7").is_some());
    assert!((0..8).all(|number| node.server(0, &format!("k{number}")).is_some()));
    assert!(!client.ended);
    for body_bytes in [16_380, 16_384, 16_385] {
        let mut client = Client::established(&mut node, address, "evil");
        client.send(&bytes(DEFINE));
        client.send(&update("over", body_bytes));
        let end = client.read_to_end(&mut node);
        assert!(end.ends_with(&[1, 1]), "{body_bytes}: {end:?}");
        assert_eq!(node.server(0, "over"), None);
    }
}
