//! A node among peers is reloaded, or its worker dies: what the peers have they are not told again, in either direction.

pub mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use support::process::signal;
use support::{
    Launcher, Program, Proxy, Stats, eventually, free_port, haproxy_available, unique_loopback,
    wait_until,
};

const SOON: Duration = Duration::from_secs(20);
const ENTRIES: usize = 3_000;

/// Three nodes with one table: ours, which is reloaded, a burdock and, where it is installed, a HAProxy.
struct Group {
    launcher: Launcher,
    master: u32,
    neighbours: Vec<(&'static str, Proxy)>,
}

fn configuration(
    peers: &[(&str, SocketAddr)],
    dials: &[&str],
    local: &str,
    socket: &str,
) -> String {
    let members: String = peers
        .iter()
        .filter(|(name, _)| *name == local || dials.contains(name))
        .map(|(name, address)| format!(" peer {name} {address}\n"))
        .collect();
    let bind = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(Ipv4Addr::LOCALHOST)));
    format!(
        "global\n stats socket {socket} level admin\n\
         defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n\
         peers mesh\n{members}\
         frontend f\n bind {bind}\n default_backend b\n\
         backend b\n stick-table type string len 32 size 10k expire 1h store gpc0 peers mesh\n\
         stick on req.cook(ID)\n server one 127.0.0.1:9\n"
    )
}

impl Group {
    fn start() -> Group {
        let others = [("other", Program::Burdock), ("real", Program::Haproxy)];
        let others = others
            .into_iter()
            .filter(|(_, program)| *program == Program::Burdock || haproxy_available());
        let others: Vec<_> = others.collect();
        let address = || {
            let host = unique_loopback();
            SocketAddr::from((host, free_port(host)))
        };
        let mut peers = vec![("us", address())];
        peers.extend(others.iter().map(|(name, _)| (*name, address())));
        let names: Vec<&str> = peers.iter().map(|(name, _)| *name).collect();
        let launcher = Launcher::new(Program::Burdock);
        launcher.configure(&configuration(&peers, &names, "us", "{dir}/stats.sock"));
        let finished = launcher.run("-D -L us -p {dir}/pid -f {dir}/proxy.cfg");
        assert_eq!(finished.code(), 0, "{}", finished.stderr);
        let master = launcher.pid_in("pid");
        // The neighbours know only us: what they have came from here.
        let start = |(name, program): (&'static str, Program)| {
            let text = configuration(&peers, &["us"], name, "{dir}/stats.sock");
            (name, Proxy::start_with(program, &text, &["-L", name]))
        };
        Group {
            master,
            neighbours: others.into_iter().map(start).collect(),
            launcher,
        }
    }

    fn stats(&self) -> Stats {
        Stats::at(self.launcher.folder.file("stats.sock"))
    }

    fn worker(&self) -> u32 {
        eventually("a worker that answers", SOON, || {
            let info = self.stats().try_command("show info")?;
            let pid = info.lines().find_map(|line| line.strip_prefix("Pid: "))?;
            pid.parse().ok()
        })
    }

    /// A field of a neighbour's line in `show peers lag`; `None` while we are not in step with it.
    fn in_step(&self, neighbour: &str, field: &str) -> Option<u64> {
        let lag = self.stats().try_command("show peers lag")?;
        let start = format!("section=mesh peer={neighbour} table=b ");
        let line = lag.lines().find(|line| line.starts_with(&start))?;
        if !line.contains("state=\"in step\"") {
            return None;
        }
        let value = line.split(' ').find_map(|word| word.strip_prefix(field));
        value?.strip_prefix('=')?.parse().ok()
    }

    /// Waits until we are in step with all neighbours; updates sent to and received from each in the session that stands.
    fn wait_in_step(&self) -> Vec<(u64, u64)> {
        let updates = |name: &str| {
            eventually(&format!("to be in step with {name}"), SOON, || {
                Some((
                    self.in_step(name, "updates_out")?,
                    self.in_step(name, "updates_in")?,
                ))
            })
        };
        self.neighbours
            .iter()
            .map(|(name, _)| updates(name))
            .collect()
    }

    /// Writes entries with one connection to a stats socket.
    fn set(stats: &Stats, prefix: &str, count: usize) {
        use std::io::{Read, Write};
        let mut stream = stats.connect().expect("no stats socket");
        let commands: String = (0..count)
            .map(|number| format!("set table b key {prefix}{number} data.gpc0 7\n"))
            .collect();
        let mut reader = stream.try_clone().expect("cannot clone");
        let drain = std::thread::spawn(move || reader.read_to_end(&mut Vec::new()));
        stream.write_all(b"prompt\n").expect("cannot write");
        stream.write_all(commands.as_bytes()).expect("cannot write");
        stream.write_all(b"quit\n").expect("cannot write");
        let _ = drain.join().expect("the reader failed");
    }

    /// Waits until nobody asks for a lesson any more: nodes that start together do for five seconds.
    fn wait_settled(&self) {
        let others = self.neighbours.iter().map(|(_, node)| node.stats());
        for stats in others.chain([self.stats()]) {
            wait_until("the end of all lessons", || {
                let peers = stats.try_command("show peers").unwrap_or_default();
                let flags = peers.split("flags=0x").nth(1);
                let digits = flags.and_then(|rest| rest.split(char::is_whitespace).next());
                let flags = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
                flags.is_some_and(|flags| flags & 3 == 3)
            });
        }
    }

    fn end(self) {
        signal(self.master, "TERM");
        self.launcher.wait_gone(SOON);
    }
}

/// Replaces our worker with `replace`, and sees that only what is new is told.
fn check(replace: impl Fn(&Group)) {
    let group = Group::start();
    group.wait_settled();
    Group::set(&group.stats(), "ours", ENTRIES);
    for (name, node) in &group.neighbours {
        Group::set(&node.stats(), name, ENTRIES / 3);
    }
    group.wait_in_step();
    // The neighbours do not know each other, so each has its own entries and ours.
    for (name, node) in &group.neighbours {
        wait_until(&format!("our entries on {name}"), || {
            node.stats().entries("b").len() == ENTRIES + ENTRIES / 3
        });
    }
    wait_until("their entries here", || {
        group.stats().entries("b").len() == ENTRIES + group.neighbours.len() * (ENTRIES / 3)
    });
    for round in 0..3 {
        let worker = group.worker();
        // A change that may or may not have been acknowledged when the worker goes.
        Group::set(&group.stats(), &format!("late{round}-"), 5);
        replace(&group);
        wait_until("the next worker", || group.worker() != worker);
        let updates = group.wait_in_step();
        for ((name, _), (sent, received)) in group.neighbours.iter().zip(updates) {
            assert!(sent <= 5, "round {round}: {sent} updates to {name}");
            assert!(
                received <= 5,
                "round {round}: {received} updates from {name}"
            );
        }
        Group::set(&group.stats(), &format!("new{round}-"), 1);
        for (name, node) in &group.neighbours {
            wait_until(&format!("what is new on {name}"), || {
                let count = ENTRIES + ENTRIES / 3 + 6 * (round + 1);
                node.stats().entries("b").len() == count
            });
        }
    }
    group.end();
}

#[test]
fn a_reload_tells_the_peers_only_what_is_new() {
    check(|group| signal(group.master, "USR2"));
}

#[test]
fn a_death_tells_the_peers_only_what_is_new() {
    check(|group| signal(group.worker(), "KILL"));
}
