//! Groups of burdock and the packaged HAProxy, as operators run them: who starts first, who freezes, restarts and reloads, full
//! tables, many tables, names of servers. All nodes are processes; what is asked is asked through their stats sockets.
//!
//! `tests/README.md` says which line of the interoperability checklist is shown where.

pub mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use support::Program::{Burdock, Haproxy};
use support::{Origin, Program, Proxy, eventually, free_address, get};

const NAMES: [&str; 3] = ["one", "two", "three"];

/// A group whose nodes all know and dial each other; nodes start when they are told to.
struct Group {
    addresses: Vec<SocketAddr>,
    programs: Vec<Program>,
    rest: String,
}

const STICKY: &str = "backend app\n stick-table type string len 32 size 20k expire 5m peers mesh store gpc0,server_id,server_key\n";

impl Group {
    fn new(programs: &[Program], rest: &str) -> Group {
        Group {
            addresses: programs.iter().map(|_| free_address()).collect(),
            programs: programs.to_vec(),
            rest: rest.to_string(),
        }
    }

    fn configuration(&self, rest: &str) -> String {
        let peers = self.addresses.iter().zip(NAMES);
        let lines: String = peers
            .map(|(address, name)| format!(" peer {name} {address}\n"))
            .collect();
        format!(
            "global\n stats socket {{dir}}/stats.sock level admin\npeers mesh\n{lines} table extra type string len 32 size 20k expire 5m store gpc0\n\
             defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n{rest}"
        )
    }

    fn start(&self, node: usize) -> Proxy {
        self.start_with(node, &self.rest, &[])
    }

    fn start_with(&self, node: usize, rest: &str, more: &[&str]) -> Proxy {
        let mut args = vec!["-L", NAMES[node]];
        args.extend(more);
        Proxy::start_with(self.programs[node], &self.configuration(rest), &args)
    }
}

/// The numbers behind `name=` in `show peers`, a number a member.
fn numbers(node: &Proxy, name: &str) -> Vec<u64> {
    let text = node.command("show peers");
    let words = text.split([' ', '\n']);
    words
        .filter_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
        .collect()
}

fn sessions(node: &Proxy) -> usize {
    let text = node.command("show peers");
    text.lines()
        .filter(|line| line.contains("(remote,active)") && line.contains("last_status=ESTA"))
        .count()
}

fn wait_sessions(node: &Proxy, count: usize) {
    eventually("the sessions", Duration::from_secs(20), || {
        (sessions(node) == count).then_some(())
    });
}

fn set(node: &Proxy, table: &str, key: &str, value: u32) {
    let answer = node.command(&format!("set table {table} key {key} data.gpc0 {value}"));
    assert_eq!(answer.trim(), "");
}

/// Sets so many keys in a few commands.
fn set_many(node: &Proxy, table: &str, keys: std::ops::Range<u32>, prefix: &str) {
    let commands: Vec<String> = keys
        .map(|key| format!("set table {table} key {prefix}{key} data.gpc0 {key}"))
        .collect();
    for some in commands.chunks(100) {
        node.command(&some.join(";"));
    }
}

fn gpc0(node: &Proxy, table: &str, key: &str) -> Option<u32> {
    let text = node.command(&format!("show table {table} key {key}"));
    let value = text.split("gpc0=").nth(1)?.split_whitespace().next()?;
    value.parse().ok()
}

fn wait_value(node: &Proxy, table: &str, key: &str, value: u32, limit: Duration) {
    eventually(&format!("{key}={value} in {table}"), limit, || {
        (gpc0(node, table, key) == Some(value)).then_some(())
    });
}

fn used(node: &Proxy, table: &str) -> u32 {
    let text = node.command(&format!("show table {table}"));
    let used = text
        .split("used:")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next());
    used.and_then(|used| used.parse().ok()).expect("used:")
}

const SOON: Duration = Duration::from_secs(10);

/// Whoever starts first: live updates flow both ways soon, and an idle minute changes nothing but the heartbeats.
#[test]
fn fresh_pairs_meet_soon_and_stay_together_for_a_minute() {
    std::thread::scope(|scope| {
        for first in [Some(0), Some(1), None] {
            scope.spawn(move || {
                let group = Group::new(&[Burdock, Haproxy], STICKY);
                let (ours, theirs) = match first {
                    Some(0) => {
                        let ours = group.start(0);
                        (ours, group.start(1))
                    }
                    Some(_) => {
                        let theirs = group.start(1);
                        (group.start(0), theirs)
                    }
                    None => std::thread::scope(|scope| {
                        let theirs = scope.spawn(|| group.start(1));
                        (group.start(0), theirs.join().expect("HAProxy starts"))
                    }),
                };
                let nodes = [&ours, &theirs];
                let started = Instant::now();
                set(&ours, "app", "ours", 5);
                set(&theirs, "app", "theirs", 7);
                // The specification allows six seconds; the rest is for a machine that has other things to do.
                wait_value(&theirs, "app", "ours", 5, SOON);
                wait_value(&ours, "app", "theirs", 7, SOON);
                // Attempts of both sides may collide at first; within five seconds one session is left.
                while started.elapsed() < Duration::from_secs(6) {
                    std::thread::sleep(Duration::from_millis(50)); // the time that they are given
                }
                nodes.iter().for_each(|node| assert_eq!(sessions(node), 1));
                let counters = || {
                    nodes.map(|node| {
                        ["new_conn", "coll", "no_hbt", "proto_err"].map(|name| numbers(node, name))
                    })
                };
                let beats = || nodes.map(|node| numbers(node, "rx_hbt").iter().sum::<u64>());
                let (before, beats_before, began) = (counters(), beats(), Instant::now());
                while began.elapsed() < Duration::from_secs(60) {
                    for node in nodes {
                        assert_eq!(
                            sessions(node),
                            1,
                            "started first: {first:?}, after {:?}\n{}\n{}",
                            began.elapsed(),
                            ours.command("show peers"),
                            theirs.command("show peers")
                        );
                    }
                    std::thread::sleep(Duration::from_millis(500)); // an idle minute is what is tested
                }
                assert_eq!(counters(), before, "started first: {first:?}");
                for (now, before) in beats().into_iter().zip(beats_before) {
                    assert!(
                        (17..=23).contains(&(now - before)),
                        "{} heartbeats",
                        now - before
                    );
                }
                set(&ours, "app", "ours", 6);
                wait_value(&theirs, "app", "ours", 6, Duration::from_secs(2));
            });
        }
    });
}

/// burdock stands still for ten seconds: HAProxy gives it up, and then all is as before, without a second session.
#[test]
fn a_frozen_burdock_is_given_up_and_comes_back() {
    let group = Group::new(&[Burdock, Haproxy], STICKY);
    let (ours, theirs) = (group.start(0), group.start(1));
    wait_sessions(&theirs, 1);
    set(&ours, "app", "before", 1);
    wait_value(&theirs, "app", "before", 1, SOON);
    ours.frozen(|| {
        let began = Instant::now();
        set(&theirs, "app", "meanwhile", 2);
        eventually("HAProxy to give burdock up", Duration::from_secs(8), || {
            (sessions(&theirs) == 0).then_some(())
        });
        std::thread::sleep(Duration::from_secs(10).saturating_sub(began.elapsed())); // ten seconds are what is tested
    });
    wait_value(&ours, "app", "meanwhile", 2, Duration::from_secs(15));
    set(&ours, "app", "after", 3);
    wait_value(&theirs, "app", "after", 3, SOON);
    wait_sessions(&ours, 1);
    wait_sessions(&theirs, 1);
    let text = ours.command("show info");
    assert!(
        text.contains("ActivePeers: 1\n") && text.contains("ConnectedPeers: 1\n"),
        "{text}"
    );
}

#[test]
fn ten_thousand_entries_are_learnt_without_a_storm_of_acks() {
    let group = Group::new(&[Burdock, Haproxy], STICKY);
    let theirs = group.start(1);
    set_many(&theirs, "app", 0..10_000, "k");
    // Before it has given up looking for a teacher itself, it would not claim to have everything.
    eventually("its own start to be over", Duration::from_secs(15), || {
        let text = theirs.command("show peers");
        text.contains("resync_timeout=<PAST>").then_some(())
    });
    let ours = group.start(0);
    eventually("all entries", Duration::from_secs(20), || {
        (used(&ours, "app") == 10_000).then_some(())
    });
    assert_eq!(gpc0(&ours, "app", "k4711"), Some(4711));
    let lag = eventually("the end of the lesson", Duration::from_secs(20), || {
        let text = ours.command("show peers lag");
        text.contains("last_resync=\"learnt 10000 entries")
            .then_some(text)
    });
    let line = lag
        .lines()
        .find(|line| line.contains("last_resync="))
        .unwrap();
    let sent = line
        .split(" bytes_out=")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let sent: u64 = sent.unwrap().parse().unwrap();
    assert!(sent < 8_000, "{sent} bytes to learn ten thousand entries");
    set(&theirs, "app", "live", 9);
    wait_value(&ours, "app", "live", 9, SOON);
    set(&ours, "app", "live", 10);
    wait_value(&theirs, "app", "live", 10, SOON);
}

/// Three nodes: an entry made on each is on all, nothing circulates; then burdock is reloaded, killed and frozen among them.
#[test]
fn three_nodes_agree_while_burdock_reloads_dies_and_freezes() {
    for programs in [[Haproxy, Burdock, Haproxy], [Burdock, Haproxy, Burdock]] {
        let group = Group::new(&programs, STICKY);
        let mut nodes: Vec<Proxy> = (0..3).map(|node| group.start(node)).collect();
        nodes.iter().for_each(|node| wait_sessions(node, 2));
        let mut made = 0;
        let mut make_everywhere = |nodes: &[Proxy], limit: Duration| {
            for maker in 0..3 {
                made += 1;
                let key = format!("k{made}");
                set(&nodes[maker], "app", &key, made);
                set(&nodes[maker], "mesh/extra", &key, made + 1_000);
                for node in nodes {
                    wait_value(node, "app", &key, made, limit);
                    wait_value(node, "mesh/extra", &key, made + 1_000, limit);
                }
            }
        };
        make_everywhere(&nodes, SOON);
        // Nothing is passed on or comes back: what each has sent and got stays as it is.
        let traffic = |nodes: &[Proxy]| -> Vec<Vec<u64>> {
            let both = |node| [numbers(node, "last_get"), numbers(node, "last_pushed")].concat();
            nodes.iter().map(both).collect()
        };
        let before = eventually("rest", SOON, || {
            let now = traffic(&nodes);
            std::thread::sleep(Duration::from_millis(1_500)); // the time in which nothing may move
            (now == traffic(&nodes)).then_some(now)
        });
        assert!(before.iter().flatten().all(|id| *id < 200), "{before:?}");
        let burdock = programs
            .iter()
            .position(|program| *program == Burdock)
            .unwrap();
        // A reload: the entries stay, the sessions come back.
        nodes[burdock].signal("USR2");
        make_everywhere(&nodes, Duration::from_secs(20));
        // A lost machine, and a new one in its place.
        nodes[burdock].kill();
        let other = (burdock + 1) % 3;
        set(&nodes[other], "app", "while-dead", 77);
        nodes[burdock].restart();
        wait_value(
            &nodes[burdock],
            "app",
            "while-dead",
            77,
            Duration::from_secs(20),
        );
        wait_value(&nodes[burdock], "app", "k1", 1, SOON);
        make_everywhere(&nodes, Duration::from_secs(20));
        // Cut off: everybody else goes on, and it catches up.
        let third = 3 - burdock - other;
        nodes[burdock].frozen(|| {
            set(&nodes[other], "app", "while-cut", 78);
            wait_value(&nodes[third], "app", "while-cut", 78, SOON);
            // Each of them dials again at its own times, so they may never be without it in the same moment.
            for node in [other, third] {
                eventually("the others to give it up", Duration::from_secs(30), || {
                    (sessions(&nodes[node]) == 1).then_some(())
                });
            }
        });
        wait_value(
            &nodes[burdock],
            "app",
            "while-cut",
            78,
            Duration::from_secs(20),
        );
        make_everywhere(&nodes, Duration::from_secs(20));
        for node in &nodes {
            assert!(numbers(node, "proto_err").iter().all(|count| *count == 0));
            assert_eq!(used(node, "app"), used(&nodes[0], "app"));
        }
    }
}

/// The server of a session is found by its address with `srvkey addr`, by its id where nobody has its name.
#[test]
fn sessions_follow_names_addresses_and_ids_of_servers() {
    let origins = [Origin::named("first"), Origin::named("second")];
    let [first, second] = [origins[0].address(), origins[1].address()];
    let fronts = [free_address(), free_address()];
    let rest = |node: usize, options: &str, servers: &[(&str, SocketAddr)]| {
        let servers: String = servers
            .iter()
            .map(|(name, address)| format!(" server {name} {address}\n"))
            .collect();
        format!(
            "frontend fe\n bind {}\n default_backend app\nbackend app\n \
             stick-table type string len 32 size 1k expire 5m peers mesh{options}\n stick on req.cook(S)\n{servers}",
            fronts[node]
        )
    };
    // The servers of both nodes, and whether a session finds the same origin there.
    let cases = [
        (
            " srvkey addr",
            [("a", first), ("b", second)],
            [("x", second), ("y", first)],
        ),
        (
            "",
            [("a", first), ("b", second)],
            [("b", second), ("a", first)],
        ),
        (
            "",
            [("a", first), ("b", second)],
            [("x", first), ("y", second)],
        ), // by id
    ];
    for (options, ours, theirs) in cases {
        let group = Group::new(&[Burdock, Haproxy], "");
        let nodes = [
            group.start_with(0, &rest(0, options, &ours), &[]),
            group.start_with(1, &rest(1, options, &theirs), &[]),
        ];
        wait_sessions(&nodes[0], 1);
        wait_sessions(&nodes[1], 1);
        for (made, asked) in [(0, 1), (1, 0)] {
            for number in 0..6 {
                let cookie = format!("Cookie: S=s{made}{number}");
                let home = get(fronts[made], "/", &[&cookie]).text();
                eventually("the entry at the other node", SOON, || {
                    let text = nodes[asked].command(&format!("show table app key s{made}{number}"));
                    text.contains("server_id=").then_some(())
                });
                let there = get(fronts[asked], "/", &[&cookie]).text();
                assert_eq!(
                    home, there,
                    "{options} {ours:?} {theirs:?}, made at node {made}"
                );
            }
        }
    }
}

/// Tables of one name in a proxy and in the section, updated in turn, hundreds of times each.
#[test]
fn tables_of_one_name_do_not_mix() {
    let rest = STICKY.replace("backend app", "backend extra")
        + "backend more\n stick-table type integer size 1k peers mesh store gpc0\n";
    let group = Group::new(&[Burdock, Haproxy], &rest);
    let nodes = [group.start(0), group.start(1)];
    nodes.iter().for_each(|node| wait_sessions(node, 1));
    for (node, prefix) in nodes.iter().zip(["b", "h"]) {
        let commands: Vec<String> = (0..300)
            .flat_map(|key| {
                [("extra", 1_000), ("mesh/extra", 2_000)].map(|(table, more)| {
                    format!(
                        "set table {table} key {prefix}{key} data.gpc0 {}",
                        key + more
                    )
                })
            })
            .collect();
        for some in commands.chunks(60) {
            node.command(&some.join(";"));
        }
        set(node, "more", "5", 55);
    }
    for node in &nodes {
        eventually("all entries", SOON, || {
            (used(node, "extra") == 600 && used(node, "mesh/extra") == 600).then_some(())
        });
        for prefix in ["b", "h"] {
            assert_eq!(gpc0(node, "extra", &format!("{prefix}299")), Some(1_299));
            assert_eq!(
                gpc0(node, "mesh/extra", &format!("{prefix}299")),
                Some(2_299)
            );
        }
        assert_eq!(used(node, "more"), 1);
    }
}

/// The receiver's table is full: the newest stay, or with `nopurge` the oldest; the session goes on in any case.
#[test]
fn a_full_table_keeps_the_newest_or_with_nopurge_the_oldest() {
    let table = |options: &str| {
        format!(
            "backend app\n stick-table type string len 32 {options} expire 5m peers mesh store gpc0\n"
        )
    };
    for (sender, receiver) in [(0, 1), (1, 0)] {
        for options in ["size 200", "size 200 nopurge"] {
            let group = Group::new(&[Burdock, Haproxy], "");
            let rest = |node: usize| {
                table(if node == receiver {
                    options
                } else {
                    "size 20k"
                })
            };
            let nodes = [
                group.start_with(0, &rest(0), &[]),
                group.start_with(1, &rest(1), &[]),
            ];
            nodes.iter().for_each(|node| wait_sessions(node, 1));
            for key in 0..400 {
                set(&nodes[sender], "app", &format!("k{key}"), key);
            }
            set(&nodes[sender], "mesh/extra", "end", 1);
            wait_value(&nodes[receiver], "mesh/extra", "end", 1, SOON);
            let count = used(&nodes[receiver], "app");
            // HAProxy rounds the size up.
            assert!((200..=256).contains(&count), "{options}: {count}");
            let has = |key: &str| gpc0(&nodes[receiver], "app", key).is_some();
            let nopurge = options.ends_with("nopurge");
            assert_eq!(has("k0"), nopurge, "{options}, node {receiver} receives");
            assert_eq!(has("k399"), !nopurge, "{options}, node {receiver} receives");
            assert!(nodes.iter().all(|node| sessions(node) == 1));
        }
    }
}

/// HAProxy is replaced by a new process (`-sf`): its entries are with the new one, and burdock goes on with it.
#[test]
fn an_haproxy_that_reloads_loses_nothing() {
    let group = Group::new(&[Burdock, Haproxy], STICKY);
    let ours = group.start(0);
    let old = group.start(1);
    wait_sessions(&ours, 1);
    wait_sessions(&old, 1);
    set_many(&old, "app", 0..500, "theirs");
    set_many(&ours, "app", 0..500, "ours");
    eventually("both to have all", SOON, || {
        (used(&ours, "app") == 1_000 && used(&old, "app") == 1_000).then_some(())
    });
    let pid = old.pid().to_string();
    let new = group.start_with(1, &group.rest, &["-sf", &pid]);
    eventually("the new one to have all", Duration::from_secs(20), || {
        (used(&new, "app") == 1_000).then_some(())
    });
    wait_sessions(&new, 1);
    set(&new, "app", "live", 1);
    wait_value(&ours, "app", "live", 1, SOON);
    set(&ours, "app", "live", 2);
    wait_value(&new, "app", "live", 2, SOON);
    let text = ours.command("show peers");
    assert!(!text.contains("RETR") && !text.contains("UNKN"), "{text}");
    drop(new);
    drop(old);
}
