//! burdock's peers beside the packaged HAProxy: definitions, live updates, lessons, acks and reconnections in both
//! directions of dialling, all data types value by value.

#[path = "sim/loop_node.rs"]
pub mod loop_node;
pub mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use burdock::peers::PeersView;
use burdock::stick::spec::ServerKeyKind;
use burdock::stick::{DataType, KeyType, Rate, StoredType, TableSpec};
use loop_node::LoopNode;
use support::{Program, Proxy, free_address};

/// Who dials whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dials {
    Us,
    Haproxy,
    Both,
}

fn table(name: &str, key_type: KeyType, key_len: u32, store: &[(DataType, u32, u32)]) -> TableSpec {
    TableSpec {
        name: name.into(),
        wire_name: name.into(),
        key_type,
        key_len,
        size: 20_000,
        expire_ms: 300_000,
        nopurge: false,
        expire_absolute: false,
        store: store
            .iter()
            .map(|&(data_type, elements, period_ms)| StoredType {
                data_type,
                elements,
                period_ms,
            })
            .collect(),
        server_key_kind: ServerKeyKind::Name,
        peers: Some("mesh".into()),
    }
}

fn sticky() -> TableSpec {
    let store = [(DataType::ServerId, 1, 0), (DataType::ServerKey, 1, 0)];
    table("app", KeyType::String, 32, &store)
}

const STICKY: &str = "backend app\n stick-table type string len 32 size 20k expire 5m peers mesh\n \
    stick on req.cook(S)\n server s1 127.0.0.1:9\n server s2 127.0.0.1:9\n";

fn haproxy(local: SocketAddr, us: SocketAddr, backends: &str) -> Proxy {
    Proxy::start(
        Program::Haproxy,
        &format!(
            "global\n localpeer hap\n stats socket {{dir}}/stats.sock level admin\n\
             peers mesh\n peer hap {local}\n peer us {us}\n\
             defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n{backends}"
        ),
    )
}

struct Pair {
    haproxy: Proxy,
    us: LoopNode,
}

fn pair(dials: Dials, backends: &str, tables: &[TableSpec]) -> Pair {
    let hap_address = free_address();
    let listener = TcpListener::bind(free_address()).unwrap();
    let local_address = listener.local_addr().unwrap();
    let nobody = free_address();
    let our_address = match dials {
        Dials::Us => nobody,
        Dials::Haproxy | Dials::Both => local_address,
    };
    let dialled = (dials != Dials::Haproxy).then_some(hap_address);
    Pair {
        haproxy: haproxy(hap_address, our_address, backends),
        us: LoopNode::start(
            "us",
            Some(listener),
            &[("hap", dialled), ("us", Some(local_address))],
            tables,
        ),
    }
}

impl Pair {
    fn wait_connected(&mut self) {
        self.us.run_until("the session and its lesson", |us| {
            us.log.iter().any(|line| line.contains("learnt"))
        });
    }

    fn wait_table(&mut self, table: &str, what: &str, check: impl Fn(&str) -> bool) {
        let stats = self.haproxy.stats();
        self.us.run_until(what, |us| {
            us.run_for(Duration::from_millis(10));
            check(&stats.command(&format!("show table {table}")))
        });
    }
}

fn line_of<'a>(table: &'a str, key: &str) -> Option<&'a str> {
    table
        .lines()
        .find(|line| line.contains(&format!(" key={key} ")))
}

fn live_updates(dials: Dials) {
    let mut pair = pair(dials, STICKY, &[sticky()]);
    pair.wait_connected();
    pair.us.bind(0, "ours", 2, "s2");
    pair.wait_table("app", "our entry at HAProxy", |table| {
        line_of(table, "ours").is_some_and(|line| line.ends_with("server_id=2 server_key=s2"))
    });
    pair.haproxy
        .command("set table app key theirs data.server_id 1");
    pair.us.run_until("HAProxy's entry here", |us| {
        us.server(0, "theirs").is_some()
    });
    assert_eq!(pair.us.server(0, "theirs"), Some((1, None)));

    // What HAProxy acknowledged, by our account; what we acknowledged, by HAProxy's.
    pair.us
        .run_until("HAProxy's ack", |us| us.show().contains(" update=1\n"));
    let stats = pair.haproxy.stats();
    pair.us.run_until("our ack", |us| {
        us.run_for(Duration::from_millis(10));
        let text = stats.command("show peers mesh");
        let pushed = text
            .lines()
            .find(|line| line.contains("last_pushed="))
            .unwrap_or_default();
        let number = |name: &str| {
            let at = pushed.find(name)? + name.len();
            pushed[at..].split(' ').next()?.parse::<u32>().ok()
        };
        number("last_pushed=").is_some_and(|id| id > 0 && number("update=") == Some(id))
    });

    // A change of a learnt entry goes back to where it came from.
    pair.us.bind(0, "theirs", 2, "s2");
    pair.wait_table("app", "our change of its entry", |table| {
        line_of(table, "theirs").is_some_and(|line| line.contains("server_id=2 server_key=s2"))
    });
    pair.us.run_for(Duration::from_secs(4)); // longer than a heartbeat
    let text = pair.haproxy.command("show peers mesh");
    assert!(
        text.contains("last_status=ESTA") && text.contains("no_hbt=0"),
        "{text}"
    );
    assert!(text.contains("proto_err=0"), "{text}");
}

#[test]
fn live_updates_when_we_dial() {
    live_updates(Dials::Us);
}

#[test]
fn live_updates_when_haproxy_dials() {
    live_updates(Dials::Haproxy);
}

#[test]
fn live_updates_when_both_dial() {
    live_updates(Dials::Both);
}

#[test]
fn we_learn_what_haproxy_holds() {
    for dials in [Dials::Us, Dials::Haproxy] {
        let hap_address = free_address();
        let listener = TcpListener::bind(free_address()).unwrap();
        let haproxy = haproxy(hap_address, listener.local_addr().unwrap(), STICKY);
        for number in 0..200 {
            haproxy.command(&format!(
                "set table app key k{number} data.server_id {}",
                number % 2 + 1
            ));
        }
        let dialled = (dials == Dials::Us).then_some(hap_address);
        let mut us = LoopNode::start(
            "us",
            Some(listener),
            &[("hap", dialled), ("us", None)],
            &[sticky()],
        );
        us.run_until("all entries", |us| us.tables[0].used() == 200);
        us.run_until("the end of the lesson", |us| {
            us.log
                .iter()
                .any(|line| line.contains("learnt 200 entries"))
        });
        assert_eq!(us.server(0, "k7"), Some((2, None)));
        let remaining = us.tables[0].remaining_ms(us.find(0, b"k0").unwrap(), us.now_ms());
        assert!(remaining < 300_000 && remaining > 280_000, "{remaining}");
    }
}

#[test]
fn haproxy_learns_what_we_hold_and_learns_again_after_a_restart() {
    let hap_address = free_address();
    let listener = TcpListener::bind(free_address()).unwrap();
    let our_address = listener.local_addr().unwrap();
    let members = [("hap", Some(hap_address)), ("us", None)];
    let mut us = LoopNode::start("us", Some(listener), &members, &[sticky()]);
    for number in 0..10_000 {
        us.bind(
            0,
            &format!("k{number}"),
            number % 2 + 1,
            if number % 2 == 0 { "s1" } else { "s2" },
        );
    }
    us.run_until("giving up on a teacher", |us| {
        us.show().contains("resync_timeout=<NEVER>")
    });
    let mut pair = Pair {
        haproxy: haproxy(hap_address, our_address, STICKY),
        us,
    };
    for round in 0..2 {
        pair.wait_table("app", "all our entries at HAProxy", |table| {
            table.starts_with("# table: app, type: string, size:20480, used:10000")
        });
        let table = pair.haproxy.command("show table app");
        let line = line_of(&table, "k4711").unwrap();
        assert!(line.ends_with("server_id=2 server_key=s2"), "{line}");
        let remaining: u32 = line
            .split("exp=")
            .nth(1)
            .unwrap()
            .split(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        assert!(remaining < 299_900, "the remaining time is taught: {line}");
        pair.us.bind(0, "live", round + 1, "s1");
        let wanted = format!("server_id={}", round + 1);
        pair.wait_table("app", "live updates after the lesson", |table| {
            line_of(table, "live").is_some_and(|line| line.contains(&wanted))
        });
        let live = pair.us.find(0, b"live").unwrap();
        pair.us.tables[0].remove(live);
        if round == 0 {
            pair.haproxy.kill();
            pair.us.run_until("the loss", |us| {
                us.log.iter().any(|line| line.contains("lost"))
            });
            pair.haproxy.restart();
        }
    }
}

#[test]
fn changes_during_a_cut_arrive_after_it() {
    let mut pair = pair(Dials::Both, STICKY, &[sticky()]);
    pair.wait_connected();
    pair.us.bind(0, "before", 1, "s1");
    pair.wait_table("app", "an entry before the cut", |table| {
        line_of(table, "before").is_some()
    });
    pair.haproxy.signal("STOP");
    pair.us.bind(0, "during", 2, "s2");
    pair.us.run_until("the silence to be noticed", |us| {
        us.log
            .iter()
            .any(|line| line.contains("lost: it has been silent"))
    });
    pair.haproxy.signal("CONT");
    pair.wait_table("app", "the entry written during the cut", |table| {
        line_of(table, "during").is_some()
    });
    pair.haproxy
        .command("set table app key after data.server_id 1");
    pair.us.run_until("an entry after the cut", |us| {
        us.server(0, "after").is_some()
    });
}

#[test]
fn a_table_of_another_length_is_named_and_the_others_replicate() {
    let mut wrong = sticky();
    wrong.key_len = 64;
    let mut right = sticky();
    right.name = "other".into();
    right.wire_name = "other".into();
    let backends = format!("{STICKY}{}", STICKY.replace("backend app", "backend other"));
    let mut pair = pair(Dials::Us, &backends, &[wrong, right]);
    pair.wait_connected();
    pair.haproxy.command("set table app key x data.server_id 1");
    pair.haproxy
        .command("set table other key y data.server_id 1");
    pair.us.run_until("the entry of the good table", |us| {
        us.server(1, "y").is_some()
    });
    assert_eq!(pair.us.server(0, "x"), None);
    pair.us.run_until("a word on the bad one", |us| {
        us.log
            .iter()
            .any(|line| line.contains("key length there is 33 (len 32), here 65 (len 64)"))
    });
    pair.us.bind(1, "z", 1, "s1");
    pair.wait_table("other", "our entry of the good table", |table| {
        line_of(table, "z").is_some()
    });
}

/// `store` of a table that has everything that 2.6 knows.
const EVERYTHING: &str = "backend all\n stick-table type ip size 1k expire 5m peers mesh store \
    server_id,gpt0,gpc0,gpc0_rate(10s),conn_cnt,conn_rate(10s),conn_cur,sess_cnt,sess_rate(10s),http_req_cnt,\
    http_req_rate(10s),http_err_cnt,http_err_rate(10s),bytes_in_cnt,bytes_in_rate(10s),bytes_out_cnt,\
    bytes_out_rate(10s),gpc1,gpc1_rate(10s),server_key,http_fail_cnt,http_fail_rate(10s)\n";
const ARRAYS: &str = "backend arrays\n stick-table type integer size 1k expire 5m peers mesh store \
    gpt(3),gpc(2),gpc_rate(4,30s)\n";

fn is_rate(data_type: DataType) -> bool {
    data_type.name().ends_with("_rate")
}

fn everything() -> TableSpec {
    let scalars = DataType::ALL.into_iter().take(22);
    let store: Vec<_> = scalars
        .map(|data_type| (data_type, 1, if is_rate(data_type) { 10_000 } else { 0 }))
        .collect();
    table("all", KeyType::Ip, 4, &store)
}

fn arrays() -> TableSpec {
    let store = [
        (DataType::Gpt, 3, 0),
        (DataType::Gpc, 2, 0),
        (DataType::GpcRate, 4, 30_000),
    ];
    table("arrays", KeyType::Integer, 4, &store)
}

#[test]
fn every_data_type_travels_both_ways() {
    let backends = format!("{EVERYTHING}{ARRAYS}");
    let mut pair = pair(Dials::Us, &backends, &[everything(), arrays()]);
    pair.wait_connected();
    let extremes = [
        0,
        1,
        239,
        240,
        2287,
        2288,
        264_431,
        264_432,
        u64::from(u32::MAX),
        u64::MAX,
    ];
    for (row, &value) in extremes.iter().enumerate() {
        pair.us
            .write(0, &[10, 0, 0, row as u8], |table, entry, now_ms| {
                for stored in table.spec().store.clone() {
                    match stored.data_type {
                        DataType::ServerKey => {}
                        data_type if is_rate(data_type) => {
                            table.set_rate(
                                entry,
                                data_type,
                                0,
                                Rate::from_age(now_ms, 0, row as u32 * 1000, 0),
                            );
                        }
                        data_type => {
                            table.set_value(entry, data_type, 0, value);
                        }
                    }
                }
                table.set_server(entry, row as i32, Some(format!("srv{row}").as_bytes()));
            });
    }
    pair.wait_table("all", "all rows", |table| {
        line_of(table, "10.0.0.9").is_some()
    });
    let table = pair.haproxy.command("show table all");
    for (row, &value) in extremes.iter().enumerate() {
        let line = line_of(&table, &format!("10.0.0.{row}")).unwrap();
        let small = value as u32;
        for name in [
            "gpt0",
            "gpc0",
            "conn_cnt",
            "sess_cnt",
            "http_req_cnt",
            "http_err_cnt",
            "gpc1",
            "http_fail_cnt",
        ] {
            assert!(
                line.contains(&format!(" {name}={small} ")),
                "{name} of {value}: {line}"
            );
        }
        for name in ["bytes_in_cnt", "bytes_out_cnt"] {
            assert!(
                line.contains(&format!(" {name}={value} ")),
                "{name} of {value}: {line}"
            );
        }
        assert!(line.contains(" conn_cur=0 "), "gauges stay at home: {line}");
        assert!(
            line.contains(&format!(" server_id={row} "))
                && line.contains(&format!(" server_key=srv{row} "))
        );
        assert!(
            line.contains(&format!(" http_req_rate(10000)={} ", row * 1000)),
            "{line}"
        );
    }

    pair.us
        .write(1, &7u32.to_be_bytes(), |table, entry, now_ms| {
            for (element, value) in [1, 0, 240].into_iter().enumerate() {
                table.set_value(entry, DataType::Gpt, element as u32, value);
            }
            table.set_value(entry, DataType::Gpc, 1, 3);
            table.set_rate(
                entry,
                DataType::GpcRate,
                3,
                Rate::from_age(now_ms, 0, 77, 0),
            );
        });
    let wanted = "gpt0=1 gpt1=0 gpt2=240 gpc0=0 gpc1=3 gpc0_rate(30000)=0 gpc1_rate(30000)=0 \
        gpc2_rate(30000)=0 gpc3_rate(30000)=77";
    pair.wait_table("arrays", "the arrays", |table| {
        line_of(table, "7").is_some_and(|line| line.ends_with(wanted))
    });

    pair.haproxy.command("set table all key 10.1.0.1 data.gpc0 4294967295 data.bytes_in_cnt 5000000000 data.http_req_rate 500 data.conn_cur 9");
    pair.us
        .run_until("HAProxy's row", |us| us.find(0, &[10, 1, 0, 1]).is_some());
    let key = [10, 1, 0, 1];
    assert_eq!(
        pair.us.value(0, &key, DataType::Gpc0),
        Some(u64::from(u32::MAX))
    );
    assert_eq!(
        pair.us.value(0, &key, DataType::BytesInCnt),
        Some(5_000_000_000)
    );
    assert_eq!(pair.us.value(0, &key, DataType::ConnCur), Some(0));
    let entry = pair.us.find(0, &key).unwrap();
    let rate = pair.us.tables[0].rate_read(entry, DataType::HttpReqRate, 0, pair.us.now_ms());
    assert_eq!(rate, Some(500));
    let text = pair.haproxy.command("show peers mesh");
    assert!(text.contains("proto_err=0"), "{text}");
}

/// The text without what differs from run to run: addresses, ports, numbers, names of the two peers.
fn shape(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| {
            let mut shape = String::new();
            for word in line.split_inclusive([' ', '=', ':', '(', ',']) {
                let bare = word.trim_end_matches([' ', '=', ':', '(', ',']);
                let number = bare.starts_with("0x")
                    || bare.starts_with(|first: char| first.is_ascii_digit())
                    || bare.starts_with('[')
                    || ["us", "hap", "<NEVER>", "<PAST>", "-"].contains(&bare);
                if bare == "-" {
                    shape.push_str("#:");
                }
                shape.push_str(if number { "#" } else { bare });
                shape.push_str(&word[bare.len()..]);
            }
            shape
        })
        .collect();
    lines.retain(|line| !line.is_empty());
    lines
}

#[test]
fn show_peers_reads_like_haproxys() {
    // HAProxy shows the addresses of the connections that it accepted, and we those that we accepted.
    for dials in [Dials::Us, Dials::Haproxy] {
        let mut pair = pair(dials, STICKY, &[sticky()]);
        pair.wait_connected();
        pair.us.bind(0, "ours", 2, "s2");
        pair.wait_table("app", "our entry", |table| line_of(table, "ours").is_some());
        pair.haproxy.command("set table app key x data.server_id 1");
        pair.us
            .run_until("its entry", |us| us.server(0, "x").is_some());
        let mut ours = shape(&pair.us.show());
        let mut theirs = shape(&pair.haproxy.command("show peers dict"));
        assert!(pair.us.show().starts_with("0x"));
        for text in [&mut ours, &mut theirs] {
            // Who accepted shows addresses; the dictionaries are filled on one side only; members are in reverse order.
            text.retain(|line| !line.contains("xprt=RAW") && !line.contains(" -> "));
            text.sort();
        }
        assert_eq!(ours, theirs);
    }
}

/// HAProxy stops softly; the node that takes over its name and address is taught by it.
#[test]
fn an_haproxy_that_leaves_teaches_us() {
    let address = free_address();
    let haproxy = haproxy(address, free_address(), STICKY);
    for number in 0..100 {
        haproxy.command(&format!("set table app key k{number} data.server_id 1"));
    }
    // It must have given up looking for a teacher itself.
    let stats = haproxy.stats();
    support::eventually("its resync to be over", Duration::from_secs(15), || {
        stats
            .command("show peers mesh")
            .contains("resync_timeout=<PAST>")
            .then_some(())
    });
    haproxy.signal("USR1");
    let listener = support::eventually("its address", Duration::from_secs(5), || {
        TcpListener::bind(address).ok()
    });
    let members = [("hap", Some(address)), ("other", None)];
    let mut us = LoopNode::start("hap", Some(listener), &members, &[sticky()]);
    us.run_until("all its entries", |us| us.tables[0].used() == 100);
    us.run_until("the end of the lesson", |us| {
        us.log
            .iter()
            .any(|line| line.contains("learnt everything from the old process"))
    });
    us.run_for(Duration::from_millis(200)); // it leaves with our confirmation
}

/// We stop softly; the HAProxy that takes over our name and address is taught by us.
#[test]
fn an_haproxy_that_follows_us_is_taught() {
    let listener = TcpListener::bind(free_address()).unwrap();
    let address = listener.local_addr().unwrap();
    let mut us = LoopNode::start(
        "hap",
        Some(listener),
        &[("hap", Some(address))],
        &[sticky()],
    );
    for number in 0..5_000 {
        us.bind(0, &format!("k{number}"), 2, "s2");
    }
    us.soft_stop();
    let haproxy = haproxy(address, free_address(), STICKY);
    us.run_until("the end of the lesson", |us| us.peers.is_stopped());
    assert!(
        us.log
            .iter()
            .any(|line| line.contains("peer hap: taught 5000 entries")),
        "{:?}",
        us.log
    );
    let table = haproxy.command("show table app");
    assert!(
        table.contains("used:5000"),
        "{}",
        table.lines().next().unwrap()
    );
    assert!(
        line_of(&table, "k17")
            .unwrap()
            .ends_with("server_id=2 server_key=s2")
    );
}

/// A lesson that takes long, to an HAProxy that dialled and has traffic of its own meanwhile: it gives up a session on which it
/// writes nothing for five seconds, and would then ask for the same lesson for ever.
#[test]
fn half_a_million_entries_are_taught_to_a_busy_haproxy_that_dialled() {
    const ENTRIES: u32 = 500_000;
    let mut large = sticky();
    large.size = 600_000;
    let hap_address = free_address();
    let listener = TcpListener::bind(free_address()).unwrap();
    let our_address = listener.local_addr().unwrap();
    let members = [("hap", None), ("us", Some(our_address))];
    let mut us = LoopNode::start("us", Some(listener), &members, &[large]);
    for number in 0..ENTRIES {
        us.bind(0, &format!("k{number}"), 2, "s2");
    }
    let haproxy = haproxy(
        hap_address,
        our_address,
        &STICKY.replace("size 20k", "size 600k"),
    );
    let stats = haproxy.stats();
    let (mut busy, mut last, mut polled) = (0, Instant::now(), Instant::now());
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        assert!(Instant::now() < end, "{}\n{}", us.log.join("\n"), us.show());
        us.turn();
        if last.elapsed() > Duration::from_millis(20) {
            last = Instant::now();
            busy += 1;
            stats.command(&format!("set table app key busy{busy} data.server_id 1"));
        }
        if polled.elapsed() > Duration::from_millis(500) {
            polled = Instant::now();
            let text = stats.command("show peers mesh");
            assert!(
                text.contains("no_hbt=0") && text.contains("coll=0"),
                "{text}"
            );
            // `show table` of so many lines is not asked for before all of it may be there.
            let text = stats.command("show table app key k499999");
            let used = text
                .split("used:")
                .nth(1)
                .and_then(|rest| rest.split('\n').next());
            let used: u32 = used.and_then(|used| used.trim().parse().ok()).unwrap_or(0);
            if used >= ENTRIES + busy {
                break;
            }
        }
    }
    us.run_until("HAProxy's own entries here", |us| {
        us.server(0, &format!("busy{busy}")).is_some()
    });
    assert!(
        us.log.iter().all(|line| !line.contains("lost")),
        "{:?}",
        us.log
    );
    assert!(
        us.log.iter().any(|line| line.contains("taught")),
        "{:?}",
        us.log
    );
    let text = stats.command("show table app key k4711");
    assert!(text.contains("server_id=2 server_key=s2"), "{text}");
}

/// What does not fit into the update log any more is swept from the table, and HAProxy acknowledges it as everything else.
/// It has asked for a lesson, and until that is over, be it with nothing to teach, it keeps its own changes to itself.
#[test]
fn haproxy_pushes_only_when_its_request_was_answered() {
    let address = free_address();
    let haproxy = haproxy(address, free_address(), STICKY);
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"HAProxyS 2.1\nhap\nus 77 1\n").unwrap();
    let answer = b"200\n\x00\x00"; // and the request
    let mut received = [0; 6];
    stream.read_exact(&mut received).unwrap();
    assert_eq!(&received, answer);

    let stats = haproxy.stats();
    stats.command("set table app key k data.server_id 1");
    assert!(stats.command("show table app").contains("key=k"));
    stream
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let early = stream.read(&mut received);
    assert!(early.is_err(), "{early:?} {received:?}");

    stream.write_all(b"\x00\x02").unwrap(); // PARTIAL
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    stream.read_exact(&mut received[..2]).unwrap();
    assert_eq!(received[..2], [10, 130], "a definition");
}

#[test]
fn what_is_swept_is_acknowledged_by_haproxy() {
    let mut pair = pair(Dials::Us, STICKY, &[sticky()]);
    pair.wait_connected();
    pair.us.bind(0, "first", 1, "s1");
    pair.us
        .run_until("HAProxy's ack", |us| us.show().contains(" update=1\n"));
    pair.haproxy.signal("STOP");
    let mut rounds = 0;
    while !pair.us.tables[0].is_behind(1) {
        rounds += 1;
        assert!(rounds < 2_000_000, "the update log has no end");
        pair.us
            .bind(0, &format!("k{}", rounds % 300), rounds % 2 + 1, "s1");
        let id = pair.us.tables[0].local_update_id();
        pair.us.tables[0].set_pushed(id);
    }
    pair.us.run_until("the silence to be noticed", |us| {
        us.log.iter().any(|line| line.contains("lost"))
    });
    pair.haproxy.signal("CONT");
    pair.wait_table("app", "all entries", |table| table.contains("used:301"));
    let local = pair.us.tables[0].local_update_id();
    pair.us.run_until("the ack of the sweep", |us| {
        us.show().contains(&format!(" update={local}\n"))
    });
    let lag = pair.us.view(PeersView::Lag);
    assert!(lag.contains("state=\"in step\" pending=0 "), "{lag}");
}

/// Good and bad hellos get the status that HAProxy gives them, and all of them no other byte before it.
#[test]
fn hellos_are_answered_as_haproxy_answers_them() {
    let hap_address = free_address();
    let _haproxy = haproxy(hap_address, free_address(), STICKY);
    let listener = TcpListener::bind(free_address()).unwrap();
    let our_address = listener.local_addr().unwrap();
    // Under the name that the other one is known by there.
    let members = [("us", None), ("hap", Some(our_address))];
    let mut node = LoopNode::start("hap", Some(listener), &members, &[sticky()]);
    let hellos = [
        "HAProxyS 2.1\nhap\nus 1 1\n",
        "HAProxyS 2.1\r\nhap\r\nus 1 1\r\n",
        "HAProxyS 2.0\nhap\nus 1 1\n",
        "HAProxyS 02.01\nhap\nus whatever follows\n",
        "HAProxyS 2.1\nhap\nus \n",
        "HAProxyS 2.1\nhap\nus\n",
        "HAProxyS 2.2\n",
        "HAProxyS 3.0\n",
        "HAProxyS 2\n",
        "HAProxyS 2.1 \n",
        "HAProxyS x.y\n",
        "HAProxyT 2.1\n",
        "haproxys 2.1\n",
        "\n",
        "GET / HTTP/1.1\r\n\r\n",
        "HAProxyS 2.1\nHAP\n",
        "HAProxyS 2.1\nus\n",
        "HAProxyS 2.1\nhap\nstranger 1 1\n",
        "HAProxyS 2.1\nhap\nUS 1 1\n",
    ];
    for hello in hellos {
        let answers = [hap_address, our_address].map(|address| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream.write_all(hello.as_bytes()).unwrap();
            let mut answer = Vec::new();
            node.run_until("a status", |_| {
                let mut block = [0; 100];
                if let Ok(count) = stream.read(&mut block) {
                    answer.extend(&block[..count]);
                }
                answer.contains(&b'\n')
            });
            let end = answer.iter().position(|byte| *byte == b'\n').unwrap();
            String::from_utf8_lossy(&answer[..end]).into_owned()
        });
        assert_eq!(answers[0], answers[1], "{hello:?}");
    }
}
