//! Every key type and every data type, value by value: burdock and the packaged HAProxy with the same configuration, each
//! written to through its own `set table` or its own traffic, compared through `show table` on both.
//!
//! Live updates and lessons, in both directions and with either side dialling. What HAProxy's `set table` cannot write (all
//! elements of arrays, binary keys, server keys) its traffic writes.

pub mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use support::Program::{Burdock, Haproxy};
use support::{Origin, Program, Proxy, eventually, free_address, get};

/// How much two readings of a decaying rate may differ: the two commands are answered some milliseconds apart.
const RATE_TOLERANCE: f64 = 0.05;

/// Everything that 2.6 stores and that is one value.
const SCALARS: &str = "server_id,gpt0,gpc0,gpc0_rate(10s),conn_cnt,conn_rate(10s),conn_cur,sess_cnt,sess_rate(10s),\
    http_req_cnt,http_req_rate(10s),http_err_cnt,http_err_rate(10s),bytes_in_cnt,bytes_in_rate(10s),bytes_out_cnt,\
    bytes_out_rate(10s),gpc1,gpc1_rate(10s),server_key,http_fail_cnt,http_fail_rate(10s)";
/// Those that `set table` writes, each with the largest value that it holds.
const NUMBERS: [(&str, u64); 12] = [
    ("server_id", i32::MAX as u64),
    ("gpt0", u32::MAX as u64),
    ("gpc0", u32::MAX as u64),
    ("gpc1", u32::MAX as u64),
    ("conn_cnt", u32::MAX as u64),
    ("sess_cnt", u32::MAX as u64),
    ("http_req_cnt", u32::MAX as u64),
    ("http_err_cnt", u32::MAX as u64),
    ("http_fail_cnt", u32::MAX as u64),
    ("bytes_in_cnt", i64::MAX as u64),
    ("bytes_out_cnt", i64::MAX as u64),
    ("conn_cur", 77),
];
const RATES: [&str; 9] = [
    "gpc0_rate",
    "gpc1_rate",
    "conn_rate",
    "sess_rate",
    "http_req_rate",
    "http_err_rate",
    "http_fail_rate",
    "bytes_in_rate",
    "bytes_out_rate",
];
/// Where the variable-length integers change their length, and the ends.
const VALUES: [u64; 12] = [
    0,
    1,
    239,
    240,
    241,
    2_287,
    2_288,
    264_431,
    264_432,
    33_818_864,
    4_294_967_295,
    u64::MAX,
];

/// Who dials whom. The other one knows an address at which nobody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dials {
    Burdock,
    Haproxy,
}
const BOTH: [Dials; 2] = [Dials::Burdock, Dials::Haproxy];

/// Two nodes; `ours` is burdock.
struct Pair {
    ours: Proxy,
    theirs: Proxy,
}

/// A member of the group: its name, where it listens, where the other one believes it to listen.
struct Member {
    name: &'static str,
    listen: SocketAddr,
    known_at: SocketAddr,
}

fn members(dials: Dials) -> [Member; 2] {
    let member = |name, is_dialled| {
        let listen = free_address();
        Member {
            name,
            listen,
            known_at: if is_dialled { listen } else { free_address() },
        }
    };
    [
        member("burdock", dials == Dials::Haproxy),
        member("haproxy", dials == Dials::Burdock),
    ]
}

fn configuration(local: &Member, remote: &Member, rest: &str) -> String {
    format!(
        "global\n stats socket {{dir}}/stats.sock level admin\npeers mesh\n peer {} {}\n peer {} {}\n\
         defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n{rest}",
        local.name, local.listen, remote.name, remote.known_at
    )
}

fn start(program: Program, local: &Member, remote: &Member, rest: &str) -> Proxy {
    let text = configuration(local, remote, rest);
    Proxy::start_with(program, &text, &["-L", local.name])
}

impl Pair {
    fn start(dials: Dials, ours: &str, theirs: &str) -> Pair {
        let [us, them] = members(dials);
        let pair = Pair {
            theirs: start(Haproxy, &them, &us, theirs),
            ours: start(Burdock, &us, &them, ours),
        };
        wait_connected(&pair.ours);
        wait_connected(&pair.theirs);
        pair
    }

    /// From whom, to whom: both ways.
    fn both_ways(&self) -> [(&Proxy, &Proxy); 2] {
        [(&self.theirs, &self.ours), (&self.ours, &self.theirs)]
    }

    fn assert_healthy(&self) {
        for node in [&self.ours, &self.theirs] {
            let text = node.command("show peers");
            assert!(text.contains(" proto_err=0 "), "{text}");
            assert!(!text.contains(" proto_err=1 "), "{text}");
        }
    }
}

fn wait_connected(node: &Proxy) {
    eventually("the peers to be connected", Duration::from_secs(20), || {
        let text = node.command("show peers");
        (text.contains("(remote,active)") && text.contains("last_status=ESTA")).then_some(())
    });
}

/// The fields of a key's line in `show table`; `server_id=3` is `server_id` → `3`.
fn row(node: &Proxy, table: &str, key: &str) -> Option<BTreeMap<String, String>> {
    let entries = node.stats().entries(table);
    let (_, data) = entries.into_iter().find(|(other, _)| other == key)?;
    let fields = data.split(' ').filter_map(|word| word.split_once('='));
    Some(
        fields
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
    )
}

fn wait_row(node: &Proxy, table: &str, key: &str) -> BTreeMap<String, String> {
    let what = format!("the entry {key} of {table}");
    eventually(&what, Duration::from_secs(10), || row(node, table, key))
}

/// Sets everything of a key that can be set, to as much of `value` as each type holds; the answer must be empty.
fn set_all(node: &Proxy, table: &str, key: &str, value: u64) {
    let numbers = NUMBERS
        .iter()
        .map(|(name, max)| format!(" data.{name} {}", value.min(*max)));
    let rates = RATES
        .iter()
        .map(|name| format!(" data.{name} {}", value.min(1 << 30)));
    let words: String = numbers.chain(rates).collect();
    let answer = node.command(&format!("set table {table} key {key}{words}"));
    assert_eq!(answer.trim(), "", "{table} {key}");
}

fn is_rate(name: &str) -> bool {
    name.contains("_rate(")
}

/// All fields but rates are equal, except `conn_cur`, a gauge of each node's own.
fn assert_equal_rows(written: &BTreeMap<String, String>, learnt: &BTreeMap<String, String>) {
    for (name, value) in written {
        let expected = if name == "conn_cur" { "0" } else { value };
        if !is_rate(name) {
            assert_eq!(
                learnt.get(name).map(String::as_str),
                Some(expected),
                "{name}\n{written:?}\n{learnt:?}"
            );
        }
    }
    let names = |row: &BTreeMap<String, String>| row.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(written), names(learnt));
}

const KEYS: [(&str, &str, &[&str]); 4] = [
    ("integer", "integer", &["0", "1", "4294967295"]),
    ("ip", "ip", &["0.0.0.0", "10.1.2.3", "255.255.255.255"]),
    (
        "ipv6",
        "ipv6",
        &["::", "::1", "2001:db8::ffff", "::ffff:10.0.0.1"],
    ),
    (
        "string",
        "string len 12",
        &["a", "twelve-bytes", "k\u{e9}y", "longer-than-twelve-bytes"],
    ),
];

/// The key as `show table` writes it.
fn shown(key: &str) -> String {
    let bytes = &key.as_bytes()[..key.len().min(if key.contains('-') { 12 } else { 99 })];
    let escaped = bytes.iter().map(|&byte| match byte {
        0x20..0x7f => char::from(byte).to_string(),
        _ => format!("\\x{byte:02X}"),
    });
    escaped.collect()
}

fn scalar_tables() -> String {
    let tables = KEYS.iter().map(|(name, key_type, _)| {
        format!(
            "backend {name}\n stick-table type {key_type} size 1k expire 5m peers mesh store {SCALARS}\n"
        )
    });
    tables.collect()
}

#[test]
fn every_number_of_every_key_type_arrives_both_ways() {
    let tables = scalar_tables();
    for dials in BOTH {
        let pair = Pair::start(dials, &tables, &tables);
        for (way, (from, to)) in pair.both_ways().into_iter().enumerate() {
            for (table, _, keys) in KEYS {
                for (number, key) in keys.iter().enumerate() {
                    // Another value for each way, or the second would change nothing.
                    let value = VALUES[(number + way * 5) % VALUES.len()];
                    set_all(from, table, key, value);
                    let written = wait_row(from, table, &shown(key));
                    let what = format!("{key} of {table} with {value}, {dials:?} dials");
                    eventually(&what, Duration::from_secs(10), || {
                        let learnt = row(to, table, &shown(key))?;
                        (learnt.get("bytes_in_cnt") == written.get("bytes_in_cnt")
                            && learnt.get("gpc1") == written.get("gpc1"))
                        .then_some(())
                    });
                    let mut written = written;
                    if way == 1 {
                        // What HAProxy wrote first stays in the gauge of each.
                        written.remove("conn_cur");
                    }
                    let mut learnt = wait_row(to, table, &shown(key));
                    if way == 1 {
                        learnt.remove("conn_cur");
                    }
                    assert_equal_rows(&written, &learnt);
                }
            }
        }
        // Every length of an integer on the wire, in one table.
        for (from, to) in pair.both_ways() {
            for (number, value) in VALUES.into_iter().enumerate() {
                let key = format!("10.9.{}.{number}", u8::from(from.pid() == pair.ours.pid()));
                set_all(from, "ip", &key, value);
                let learnt = wait_row(to, "ip", &key);
                assert_equal_rows(&wait_row(from, "ip", &key), &learnt);
                assert_eq!(learnt["conn_cur"], "0", "gauges stay at home");
            }
        }
        pair.assert_healthy();
    }
}

/// A lesson brings what live updates bring, and the lifetime that is left.
#[test]
fn lessons_bring_every_value_and_what_is_left_of_the_lifetime() {
    let tables = scalar_tables();
    for program in [Burdock, Haproxy] {
        for dials in BOTH {
            let [us, them] = members(dials);
            let start_one = |program| match program {
                Burdock => start(Burdock, &us, &them, &tables),
                Haproxy => start(Haproxy, &them, &us, &tables),
            };
            let teacher = start_one(program);
            for (table, _, keys) in KEYS {
                for (key, value) in keys.iter().zip([u64::MAX, 0, 240, 2_288]) {
                    set_all(&teacher, table, key, value);
                }
            }
            let told = Instant::now();
            // It must know that nobody can teach it, and its entries must have aged.
            eventually(
                "the teacher's start to be over",
                Duration::from_secs(20),
                || {
                    let text = teacher.command("show peers");
                    let over =
                        text.contains("resync_timeout=<PAST>") || text.contains("<NEVER> task");
                    (over && told.elapsed() > Duration::from_secs(2)).then_some(())
                },
            );
            let learner = start_one(if program == Burdock { Haproxy } else { Burdock });
            for (table, _, keys) in KEYS {
                for key in keys {
                    let learnt = wait_row(&learner, table, &shown(key));
                    assert_equal_rows(&wait_row(&teacher, table, &shown(key)), &learnt);
                    let looked = Instant::now();
                    let [left, there] =
                        [&learner, &teacher].map(|node| expiry(node, table, &shown(key)));
                    let tolerance = 1_000 + looked.elapsed().as_millis() as u64;
                    // HAProxy sends what nobody had acknowledged before the lesson once more after it, without a lifetime.
                    assert!(left <= 300_000, "{key}: {left} ms left");
                    assert!(
                        program == Haproxy || (left < 299_000 && left.abs_diff(there) < tolerance),
                        "{key}: {left} ms left, {there} at the teacher ({dials:?} dials)"
                    );
                }
            }
        }
    }
}

fn expiry(node: &Proxy, table: &str, key: &str) -> u64 {
    let text = node.command(&format!("show table {table}"));
    let line = text
        .lines()
        .find(|line| line.contains(&format!(" key={key} ")));
    let line = line.unwrap_or_else(|| panic!("no {key} in {text}"));
    let exp = line
        .split("exp=")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    exp.and_then(|exp| exp.parse().ok()).expect("an expiry")
}

/// A rate travels with its age: both nodes read the same while it stands, while it decays, and when it is over.
#[test]
fn rates_decay_alike_on_both_nodes() {
    let tables = format!(
        "backend rates\n stick-table type string size 1k expire 5m peers mesh store {}\n",
        SCALARS.replace("10s", "2s")
    );
    let pair = Pair::start(Dials::Burdock, &tables, &tables);
    for (from, to) in pair.both_ways() {
        let key = format!("by-{}", from.pid());
        let rates: String = RATES
            .iter()
            .map(|name| format!(" data.{name} 1000"))
            .collect();
        let began = Instant::now();
        from.command(&format!("set table rates key {key}{rates}"));
        wait_row(to, "rates", &key);
        // The age that a counter has when it is sent does not grow on the way: by so much it may be younger there.
        let on_its_way = 1_000.0 * began.elapsed().as_secs_f64() / 2.0;
        let mut decayed = 0;
        while began.elapsed() < Duration::from_millis(4_600) {
            // Three looks at two nodes: time goes on between them, a long time where processors are busy.
            let before = wait_row(from, "rates", &key);
            let there = wait_row(to, "rates", &key);
            let after = wait_row(from, "rates", &key);
            for (name, value) in before.iter().filter(|(name, _)| is_rate(name)) {
                let [most, b, least] =
                    [value, &there[name], &after[name]].map(|text| text.parse::<f64>().unwrap());
                let tolerance = 1_000.0 * RATE_TOLERANCE;
                assert!(
                    (least - tolerance..=most + tolerance + on_its_way).contains(&b),
                    "{name}: {most} to {least} here, {b} there after {:?}; it was on its way for {on_its_way}",
                    began.elapsed()
                );
                decayed += u32::from(b > 0.0 && b < 900.0);
            }
            std::thread::sleep(Duration::from_millis(100)); // samples over time, not a wait for something
        }
        assert!(decayed > 0, "no decay was seen");
        eventually("rates that are over", Duration::from_secs(20), || {
            let over = wait_row(to, "rates", &key);
            let mut rates = over.iter().filter(|(name, _)| is_rate(name));
            rates.all(|(_, value)| value == "0").then_some(())
        });
    }
}

/// Arrays of one, of some and of a hundred elements, every element: HAProxy's traffic writes them, a burdock learns them and teaches them to another HAProxy, which does
/// not know the first one.
#[test]
fn arrays_pass_through_burdock_element_by_element() {
    let origin = Origin::named("app");
    let table = "backend arrays\n stick-table type integer size 1k expire 5m peers mesh store gpt(100),gpc(1),gpc_rate(4,30s)\n";
    let front = free_address();
    let counting = format!(
        "{table}frontend fe\n bind {front}\n http-request track-sc0 int(7) table arrays\n \
         http-request sc-set-gpt(0,0) 240\n http-request sc-set-gpt(1,0) 0\n http-request sc-set-gpt(99,0) 4294967295\n \
         http-request sc-inc-gpc(0,0)\n http-request sc-inc-gpc(3,0)\n default_backend be\nbackend be\n server s {}\n",
        origin.address()
    );
    let [first, ours, last] = [free_address(), free_address(), free_address()];
    let config = |local: &str, peers: &[(&str, SocketAddr)], rest: &str| {
        let lines: String = peers
            .iter()
            .map(|(name, address)| format!(" peer {name} {address}\n"))
            .collect();
        let _ = local;
        format!(
            "global\n stats socket {{dir}}/stats.sock level admin\npeers mesh\n{lines}\
             defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n{rest}"
        )
    };
    let all = [("first", first), ("ours", ours), ("last", last)];
    let teacher = Proxy::start_with(
        Haproxy,
        &config("first", &all[..2], &counting),
        &["-L", "first"],
    );
    let relay = Proxy::start_with(Burdock, &config("ours", &all, table), &["-L", "ours"]);
    for _ in 0..3 {
        assert_eq!(get(front, "/", &[]).status, 200);
    }
    let expected = eventually("HAProxy's counters", Duration::from_secs(5), || {
        row(&teacher, "arrays", "7").filter(|row| row.get("gpc0").is_some_and(|count| count == "3"))
    });
    assert_eq!(expected["gpt99"], "4294967295");
    let equal = |node: &Proxy| {
        let row = row(node, "arrays", "7")?;
        let exact = row.iter().all(|(name, value)| {
            is_rate(name)
                && value
                    .parse::<u32>()
                    .unwrap()
                    .abs_diff(expected[name].parse().unwrap())
                    <= 1
                || *value == expected[name]
        });
        (exact && row.len() == expected.len()).then_some(())
    };
    eventually("the arrays at burdock", Duration::from_secs(15), || {
        equal(&relay)
    });
    // It learns in a lesson, what burdock itself only learnt.
    let last_one = [("ours", ours), ("last", last)];
    let learner = Proxy::start_with(Haproxy, &config("last", &last_one, table), &["-L", "last"]);
    eventually(
        "the arrays at the last node",
        Duration::from_secs(20),
        || equal(&learner),
    );
    // And back: what `set table` can write of an array here.
    let sets: [(&Proxy, &[&Proxy]); 2] = [(&relay, &[&teacher, &learner]), (&learner, &[&relay])];
    for (node, others) in sets {
        let value = node.pid().to_string();
        let answer = node.command(&format!("set table arrays key 8 data.gpt {value}"));
        assert_eq!(answer.trim(), "");
        // All of them: what is still on its way would take the place of what is set next.
        for other in others {
            eventually("the element that was set", Duration::from_secs(10), || {
                row(other, "arrays", "8").filter(|row| row["gpt0"] == value)
            });
        }
    }
}

/// Other element counts: what both have agrees, what is missing stays as it was.
#[test]
fn definitions_that_store_other_things_agree_in_what_both_have() {
    let ours = "backend mixed\n stick-table type ip size 1k expire 5m peers mesh store gpc0,bytes_in_cnt,http_req_rate(20s),gpt(2),server_id\n\
        backend only_ours\n stick-table type ip size 1k peers mesh store gpc0\n\
        backend last\n stick-table type ip size 1k peers mesh store gpc0\n";
    let theirs = "backend only_theirs\n stick-table type ip size 1k peers mesh store gpc0\n\
        backend mixed\n stick-table type ip size 1k expire 1m peers mesh store gpt(5),gpc1,conn_cnt,gpc0,http_req_rate(10s),server_id\n\
        backend last\n stick-table type ip size 1k peers mesh store gpc0\n";
    for dials in BOTH {
        let pair = Pair::start(dials, ours, theirs);
        for (number, (from, to)) in pair.both_ways().into_iter().enumerate() {
            let key = format!("10.0.0.{number}");
            for table in ["only_ours", "only_theirs"] {
                from.command(&format!("set table {table} key {key} data.gpc0 5"));
            }
            let answer = from.command(&format!(
                "set table mixed key {key} data.gpc0 11 data.gpt 13 data.server_id 17 data.http_req_rate 19"
            ));
            assert_eq!(answer.trim(), "");
            let learnt = wait_row(to, "mixed", &key);
            assert_eq!(
                (&*learnt["gpc0"], &*learnt["gpt0"], &*learnt["server_id"]),
                ("11", "13", "17")
            );
            assert_eq!(learnt["gpt1"], "0");
            let rate = learnt.iter().find(|(name, _)| is_rate(name)).unwrap();
            assert_eq!(rate.1, "19", "the local period is used: {rate:?}");
            // Tables that the other one does not have disturb nothing.
            from.command(&format!("set table last key {key} data.gpc0 23"));
            assert_eq!(wait_row(to, "last", &key)["gpc0"], "23");
        }
        pair.assert_healthy();
    }
}

/// Names of servers travel through a cache of 128 slots: more than that, met again, and again after a reconnection.
#[test]
fn more_server_names_than_the_cache_holds_stay_right() {
    let origin = Origin::named("app");
    const SERVERS: usize = 150;
    for dials in BOTH {
        let fronts = [free_address(), free_address()];
        let rest = |front: SocketAddr| {
            format!(
                "frontend fe\n bind {front}\n default_backend app\nbackend app\n balance roundrobin\n \
                 stick-table type string len 20 size 10k expire 5m peers mesh\n stick on req.cook(S)\n \
                 server-template srv 1-{SERVERS} {}\n",
                origin.address()
            )
        };
        let mut pair = Pair::start(dials, &rest(fronts[0]), &rest(fronts[1]));
        let ask = |front: SocketAddr, from: usize, to: usize| {
            for number in from..to {
                let cookie = format!("Cookie: S=k{number}");
                assert_eq!(get(front, "/", &[&cookie]).status, 200);
            }
        };
        let agree = |pair: &Pair, count: usize| {
            let tables = || [&pair.ours, &pair.theirs].map(|node| node.stats().entries("app"));
            let entries = eventually("both tables to agree", Duration::from_secs(15), || {
                let [here, there] = tables();
                (here.len() == count && here == there).then_some(here)
            });
            for (key, data) in entries {
                let id = data
                    .strip_prefix("server_id=")
                    .and_then(|rest| rest.split(' ').next());
                let name = format!("server_key=srv{}", id.unwrap());
                assert!(data.ends_with(&name), "{key}: {data}");
            }
        };
        ask(fronts[0], 0, 160);
        agree(&pair, 160);
        ask(fronts[1], 160, 320);
        agree(&pair, 320);
        // Each key again, the other way round: names that have lost their slots take new ones.
        ask(fronts[1], 0, 160);
        ask(fronts[0], 160, 320);
        agree(&pair, 320);
        // Caches are empty in a new session.
        pair.theirs.kill();
        pair.theirs.restart();
        agree(&pair, 320);
        ask(fronts[1], 320, 340);
        ask(fronts[0], 340, 360);
        agree(&pair, 360);
        pair.assert_healthy();
    }
}

/// Binary keys are of one length, padded and cut at their source.
#[test]
fn binary_keys_are_padded_and_cut_alike() {
    let origin = Origin::named("app");
    let fronts = [free_address(), free_address()];
    let rest = |front: SocketAddr| {
        format!(
            "frontend fe\n bind {front}\n default_backend app\nbackend app\n \
             stick-table type binary len 8 size 1k expire 5m peers mesh\n stick on req.hdr(X)\n server s1 {}\n",
            origin.address()
        )
    };
    for dials in BOTH {
        let pair = Pair::start(dials, &rest(fronts[0]), &rest(fronts[1]));
        for (index, front) in fronts.into_iter().enumerate() {
            for key in ["ABC", "exactly8", "longer-than-eight"] {
                assert_eq!(get(front, "/", &[&format!("X: {index}{key}")]).status, 200);
            }
        }
        let entries = eventually("both tables to agree", Duration::from_secs(10), || {
            let [here, there] = [&pair.ours, &pair.theirs].map(|node| node.stats().entries("app"));
            (here.len() == 6 && here == there).then_some(here)
        });
        let keys: Vec<&str> = entries.iter().map(|(key, _)| &**key).collect();
        assert!(keys.contains(&"3041424300000000"), "{keys:?}");
        pair.assert_healthy();
    }
}

/// Tables without `len`: 31 characters, 32 bytes. What is longer is cut. An empty key is stored by HAProxy, never by burdock; one of a
/// binary table comes from HAProxy as zeros.
#[test]
fn keys_of_the_default_length_are_cut_alike() {
    let origin = Origin::named("app");
    let fronts = [free_address(), free_address()];
    let rest = |front: SocketAddr| {
        let tables: String = ["string", "binary"]
            .map(|key_type| {
                format!("backend {key_type}\n stick-table type {key_type} size 1k expire 5m peers mesh store gpc0\n")
            })
            .concat();
        format!(
            "{tables}frontend fe\n bind {front}\n default_backend app\nbackend app\n \
             stick store-request req.hdr(X) table string\n stick store-request req.hdr(X) table binary\n server s1 {}\n",
            origin.address()
        )
    };
    let text: String = ('a'..='z').chain('0'..='9').chain('A'..='Z').collect();
    for dials in BOTH {
        let pair = Pair::start(dials, &rest(fronts[0]), &rest(fronts[1]));
        for (index, front) in fronts.into_iter().enumerate() {
            for bytes in [1, 30, 31, 32, 33, 50] {
                let key = &text[index..index + bytes];
                assert_eq!(get(front, "/", &[&format!("X: {key}")]).status, 200);
            }
            assert_eq!(get(front, "/", &["X:"]).status, 200);
        }
        // Of each node: 32 characters and more are one key of 31, 33 bytes and more one of 32.
        for (table, count, longest) in [("string", 6, 31), ("binary", 8, 64)] {
            let entries = eventually("both tables to agree", Duration::from_secs(10), || {
                let [mut here, mut there] =
                    [&pair.ours, &pair.theirs].map(|node| node.stats().entries(table));
                for entries in [&mut here, &mut there] {
                    entries.retain(|(key, _)| !key.trim_matches('0').is_empty());
                }
                (here.len() == count && here == there).then_some(here)
            });
            let lengths = entries.iter().map(|(key, _)| key.len());
            assert_eq!(lengths.max(), Some(longest), "{entries:?}");
        }
        pair.assert_healthy();
    }
}
