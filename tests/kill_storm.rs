//! Workers die at random points of a storm, by whatever kills processes: no entry is lost, torn or invented.
//!
//! `BURDOCK_KILL_SEED=<n>` replays a schedule (the machine's own timing is beyond any seed), `BURDOCK_KILLS=<n>` makes it longer:
//! `BURDOCK_KILLS=5000 cargo test --release --test kill_storm -- --nocapture` takes about half an hour.

pub mod support;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use burdock::peers::group::Random;
use support::process::signal;
use support::{
    Answer, Client, Launcher, Origin, Program, Proxy, Recorded, Stats, Syslog, eventually,
    free_address, free_port, unique_loopback, wait_until,
};

const SOON: Duration = Duration::from_secs(20);

/// A worker that lived for so long (and a little) died late: its replacement is immediate whatever came before.
const STABLE: Duration = Duration::from_millis(1_100);

/// Keys of each client; together they fit into the table.
const KEYS: u64 = 3_000;

/// What is known of the world, by those who act in it.
#[derive(Default)]
struct Known {
    /// Where an acknowledged session lives.
    homes: HashMap<String, String>,
    /// Values written through the stats socket and acknowledged; `None`: deleted.
    written: HashMap<String, Option<u64>>,
    /// All keys that anybody ever sent.
    tried: HashSet<String>,
    /// What went wrong.
    complaints: Vec<String>,
}

struct Storm {
    launcher: Launcher,
    master: u32,
    /// The frontends of the three tables: `b`, which never is full; `small`, which always is; `short`, whose entries soon expire.
    addresses: [SocketAddr; 3],
    log: Syslog,
    neighbour: Proxy,
    known: Arc<Mutex<Known>>,
    /// Which servers saw which session.
    seen: Arc<Mutex<HashMap<String, HashSet<String>>>>,
    stop: Arc<AtomicBool>,
    requests: Arc<AtomicU64>,
    _servers: [Origin; 2],
}

/// An origin that answers with its name and notes who asked.
fn origin(name: &'static str, seen: &Arc<Mutex<HashMap<String, HashSet<String>>>>) -> Origin {
    let seen = Arc::clone(seen);
    Origin::start(move |request: &Recorded| {
        let session = request.header("cookie").unwrap_or_default();
        let session = session.trim_start_matches("ID=").to_string();
        let mut seen = seen.lock().unwrap();
        seen.entry(session).or_default().insert(name.to_string());
        Answer::ok(name, &[])
    })
}

impl Storm {
    fn start() -> Storm {
        let seen = Arc::default();
        let servers = [origin("one", &seen), origin("two", &seen)];
        let addresses = [free_address(), free_address(), free_address()];
        let log = Syslog::start();
        let peer = || {
            let host = unique_loopback();
            SocketAddr::from((host, free_port(host)))
        };
        let (us, other) = (peer(), peer());
        let configuration = |addresses: [SocketAddr; 3]| {
            let [one, two] = servers.each_ref().map(Origin::address);
            let backend = |name: &str, table: &str| {
                format!(
                    "backend {name}\n balance roundrobin\n stick-table type string len 32 {table}\n \
                     stick on req.cook(ID)\n server one {one}\n server two {two}\n"
                )
            };
            let frontend = |index: usize, name: &str| {
                let bind = addresses[index];
                format!("frontend f{index}\n bind {bind}\n default_backend {name}\n")
            };
            format!(
                "global\n stats socket {{dir}}/stats.sock level admin\n log {} local0\n\
                 defaults\n mode http\n timeout client 20s\n timeout server 20s\n timeout connect 5s\n\
                 peers mesh\n peer us {us}\n peer other {other}\n{}{}{}{}{}{}",
                log.address(),
                frontend(0, "b"),
                frontend(1, "small"),
                frontend(2, "short"),
                backend("b", "size 40k expire 30m store gpc0,conn_cur peers mesh"),
                backend("small", "size 100 expire 30m"),
                backend("short", "size 10k expire 700ms"),
            )
        };
        let launcher = Launcher::new(Program::Burdock).prefix("ulimit -c 0");
        launcher.configure(&configuration(addresses));
        let finished = launcher.run("-D -L us -p {dir}/pid -f {dir}/proxy.cfg");
        assert_eq!(finished.code(), 0, "{}", finished.stderr);
        let master = launcher.pid_in("pid");
        let elsewhere = [free_address(), free_address(), free_address()];
        let neighbour = Proxy::start_with(
            Program::Burdock,
            &configuration(elsewhere),
            &["-L", "other"],
        );
        Storm {
            launcher,
            master,
            addresses,
            log,
            neighbour,
            known: Arc::default(),
            seen,
            stop: Arc::default(),
            requests: Arc::default(),
            _servers: servers,
        }
    }

    fn stats(&self) -> Stats {
        Stats::at(self.launcher.folder.file("stats.sock"))
    }

    /// Clients of one frontend that ask for known and new sessions without a pause.
    fn client(&self, frontend: usize, number: u64, seed: u64) -> JoinHandle<()> {
        let address = self.addresses[frontend];
        let (known, stop) = (Arc::clone(&self.known), Arc::clone(&self.stop));
        let requests = Arc::clone(&self.requests);
        std::thread::spawn(move || {
            let mut random = Random::new(seed);
            let mut connection = None;
            while !stop.load(Ordering::Relaxed) {
                let key = format!("c{frontend}-{number}-{}", random.below(KEYS));
                known.lock().unwrap().tried.insert(key.clone());
                let Some(server) = ask(&mut connection, address, &key, random.below(5) == 0) else {
                    continue;
                };
                requests.fetch_add(1, Ordering::Relaxed);
                if frontend != 0 {
                    continue;
                }
                let mut known = known.lock().unwrap();
                match known.homes.get(&key).cloned() {
                    Some(home) if home != server => {
                        let complaint = format!("{key} lives on {home}, {server} answered");
                        known.complaints.push(complaint);
                    }
                    None => {
                        known.homes.insert(key, server);
                    }
                    _ => {}
                }
            }
        })
    }

    /// An operator who sets and clears entries. What is not acknowledged may have happened or not.
    fn operator(&self, stats: Stats, prefix: &'static str, seed: u64) -> JoinHandle<()> {
        let (known, stop) = (Arc::clone(&self.known), Arc::clone(&self.stop));
        std::thread::spawn(move || {
            let mut random = Random::new(seed);
            let mut next = 0u64;
            while !stop.load(Ordering::Relaxed) {
                // Entries are written again and again, and some are deleted once: when a deletion and a write of the same moment
                // meet on two nodes, either may win.
                let clears = next > 100 && random.below(5) == 0;
                let number = match (clears, random.below(2)) {
                    (true, _) => next - 100,
                    (false, 0) => next.saturating_sub(random.below(90)),
                    (false, _) => next,
                };
                next += 1;
                let key = format!("{prefix}{number}");
                let value = random.below(1_000_000);
                let command = match clears {
                    true => format!("clear table b key {key}"),
                    false => format!("set table b key {key} data.gpc0 {value}"),
                };
                {
                    let mut known = known.lock().unwrap();
                    known.tried.insert(key.clone());
                    known.written.remove(&key);
                }
                let answer = stats.try_command(&command).unwrap_or_default();
                if answer == "\n" {
                    let value = (!clears).then_some(value);
                    known.lock().unwrap().written.insert(key, value);
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        })
    }

    fn workers(&self) -> Vec<u32> {
        let master = self.master;
        let path = format!("/proc/{master}/task/{master}/children");
        let children = std::fs::read_to_string(path).unwrap_or_default();
        let pids = children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok());
        pids.collect()
    }

    /// Waits for a worker other than `not`: as soon as it is forked.
    fn next_worker(&self, not: Option<u32>) -> u32 {
        let end = Instant::now() + SOON;
        let mut survives_at = Some(Instant::now() + SOON / 4);
        loop {
            // Not every way to die works every time: a worker may find the memory that it needs.
            if let (Some(pid), Some(at)) = (not, survives_at)
                && Instant::now() > at
                && self.workers().contains(&pid)
            {
                signal(pid, "KILL");
                survives_at = None;
            }
            if let Some(&pid) = self.workers().iter().rev().find(|pid| Some(**pid) != not) {
                return pid;
            }
            if Instant::now() > end {
                let state = |pid: u32| {
                    let name = support::status_field(pid, "Name");
                    (pid, name, support::status_field(pid, "State"))
                };
                panic!(
                    "no worker but {not:?}; master {:?}, workers {:?}; the log:\n{}",
                    state(self.master),
                    self.workers().into_iter().map(state).collect::<Vec<_>>(),
                    self.log.lines().join("\n")
                );
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Lets so many workers die. Three die young, one has been stable: the pauses between them stay short.
    fn kill(&self, kills: u64, random: &mut Random) -> HashMap<&'static str, u64> {
        let mut counts = HashMap::new();
        let mut last = None;
        for round in 0..kills {
            let worker = self.next_worker(last);
            let pause = match (round % 4, random.below(3)) {
                (0, _) => STABLE + Duration::from_millis(random.below(200)),
                (_, 0) => Duration::ZERO,
                (_, 1) => Duration::from_micros(random.below(20_000)),
                _ => Duration::from_micros(random.below(150_000)),
            };
            std::thread::sleep(pause);
            let way = match random.below(20) {
                0..=1 => "ABRT",
                2 => "ILL",
                3 => "memory",
                4..=6 => "reload",
                _ => "KILL",
            };
            let target = match way {
                "memory" => {
                    self.take_memory(worker);
                    worker
                }
                "reload" => self.kill_in_reload(random),
                _ => {
                    signal(worker, way);
                    worker
                }
            };
            *counts.entry(way).or_default() += 1;
            last = Some(target);
        }
        counts
    }

    /// No page is left for this worker: the next allocation kills it. If it needs none, it is killed.
    fn take_memory(&self, worker: u32) {
        let limited = Command::new("prlimit")
            .args(["--pid", &worker.to_string(), "--as=1"])
            .stderr(Stdio::null())
            .status();
        if limited.is_ok_and(|status| status.success()) {
            let _ = self.stats().try_command("show table b");
        }
        signal(worker, "KILL");
    }

    /// Any of the workers dies at any point of a reload.
    fn kill_in_reload(&self, random: &mut Random) -> u32 {
        signal(self.master, "USR2");
        std::thread::sleep(Duration::from_micros(random.below(120_000)));
        let workers = self.workers();
        let target = match workers.len() as u64 {
            0 => 0,
            count => workers[random.below(count) as usize],
        };
        if target != 0 {
            signal(target, "KILL");
        }
        // Over when a single worker serves.
        wait_until("the end of the reload", || {
            self.workers().len() == 1
                && self
                    .stats()
                    .try_command("show info")
                    .is_some_and(|info| info.contains("Pid:"))
        });
        target
    }

    fn entries(&self, table: &str) -> HashMap<String, HashMap<String, String>> {
        let lines = eventually("an answer", SOON, || {
            let answer = self.stats().try_command(&format!("show table {table}"))?;
            answer.starts_with("# table").then_some(answer)
        });
        let fields = |line: &str| -> HashMap<String, String> {
            let words = line.split(' ').filter_map(|word| word.split_once('='));
            words
                .map(|(name, value)| (name.into(), value.into()))
                .collect()
        };
        let lines = lines.lines().filter(|line| line.contains("key="));
        lines
            .map(fields)
            .map(|fields| (fields["key"].clone(), fields))
            .collect()
    }

    /// After the storm: everything that was acknowledged is there, and nothing else.
    fn check(&self) {
        let entries = self.entries("b");
        let known = self.known.lock().unwrap();
        assert_eq!(known.complaints, [] as [&str; 0]);
        for (key, home) in &known.homes {
            let entry = entries.get(key).unwrap_or_else(|| panic!("{key} is lost"));
            let server = if home == "one" { "1" } else { "2" };
            assert_eq!(entry["server_id"], server, "{entry:?}");
            assert_eq!(entry["server_key"], *home, "{entry:?}");
        }
        for (key, value) in &known.written {
            let found = entries.get(key).map(|entry| entry["gpc0"].clone());
            assert_eq!(found, value.map(|value| value.to_string()), "{key}");
        }
        for (key, entry) in &entries {
            assert!(
                known.tried.contains(key),
                "{key} was never there: {entry:?}"
            );
            assert_eq!(
                (&*entry["use"], &*entry["conn_cur"]),
                ("0", "0"),
                "{entry:?}"
            );
        }
        self.check_seen("b", &entries);
        let small = self.entries("small");
        assert!((1..=100).contains(&small.len()), "{}", small.len());
        self.check_seen("small", &small);
    }

    /// Sessions are bound to servers that saw them.
    fn check_seen(&self, table: &str, entries: &HashMap<String, HashMap<String, String>>) {
        let seen = self.seen.lock().unwrap();
        for (key, entry) in entries.iter().filter(|(key, _)| key.starts_with('c')) {
            let servers = seen.get(key);
            let name = &entry["server_key"];
            assert!(
                servers.is_some_and(|all| all.contains(name)),
                "{table}: {entry:?}"
            );
            assert_eq!(entry["server_id"] == "1", name == "one", "{entry:?}");
        }
    }

    /// Waits until the neighbour has the same entries.
    fn check_neighbour(&self) {
        let values = |stats: Stats| -> HashMap<String, String> {
            let entries = stats.entries("b").into_iter();
            let value = |data: String| data.replace("conn_cur=0 ", "");
            entries.map(|(key, data)| (key, value(data))).collect()
        };
        eventually("the neighbour to agree", SOON, || {
            (values(self.stats()) == values(self.neighbour.stats())).then_some(())
        });
    }
}

/// One request; the name of the server that answered it, if one did.
fn ask(
    connection: &mut Option<Client>,
    address: SocketAddr,
    session: &str,
    anew: bool,
) -> Option<String> {
    if anew {
        *connection = None;
    }
    if connection.is_none() {
        *connection = Client::try_connect(address).ok();
    }
    let client = connection.as_mut()?;
    let request = format!("GET / HTTP/1.1\r\nHost: h\r\nCookie: ID={session}\r\n\r\n");
    let response = client
        .try_send(request)
        .and_then(|()| client.try_read_response());
    match response {
        Ok(response) if response.status == 200 => Some(response.text()),
        _ => {
            *connection = None;
            // Nobody may listen for a moment.
            std::thread::sleep(Duration::from_millis(1));
            None
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn storm(seed: u64, kills: u64) {
    println!("BURDOCK_KILL_SEED={seed} BURDOCK_KILLS={kills}");
    let mut random = Random::new(seed);
    let storm = Storm::start();
    let mut threads = Vec::new();
    for (client, frontend) in [0, 0, 0, 1, 2].into_iter().enumerate() {
        threads.push(storm.client(frontend, client as u64, random.number()));
    }
    threads.push(storm.operator(storm.stats(), "ours", random.number()));
    let neighbour = storm.neighbour.stats();
    threads.push(storm.operator(neighbour, "theirs", random.number()));
    let counts = storm.kill(kills, &mut random);
    std::thread::sleep(STABLE);
    storm.stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().expect("a client failed");
    }
    storm.check_neighbour();
    storm.check();
    // Known sessions go where they live, and what was to expire has.
    let homes = storm.known.lock().unwrap().homes.clone();
    let mut connection = None;
    for (key, home) in homes.iter().take(500) {
        // The last worker to be starved of memory may die only now, and a request with it.
        let end = Instant::now() + SOON;
        let server = loop {
            if let Some(server) = ask(&mut connection, storm.addresses[0], key, false) {
                break server;
            }
            let late = Instant::now() > end;
            assert!(
                !late,
                "no answer; the log:\n{}",
                storm.log.lines().join("\n")
            );
        };
        assert_eq!(server, *home, "{key}");
    }
    drop(connection);
    wait_until("the short-lived to expire", || {
        storm.entries("short").is_empty()
    });
    let lines = storm.log.lines();
    let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    println!(
        "seed {seed}: {counts:?}, {} requests, {} sessions; deaths logged: {} killed, {} aborted; repaired tables: {}",
        storm.requests.load(Ordering::Relaxed),
        homes.len(),
        count("(Killed)"),
        count("(Aborted)"),
        count("put in order again"),
    );
    assert!(homes.len() > 100, "{} sessions", homes.len());
    signal(storm.master, "TERM");
    storm.launcher.wait_gone(SOON);
}

#[test]
fn nothing_is_lost_torn_or_invented() {
    let kills = number("BURDOCK_KILLS").unwrap_or(240);
    match number("BURDOCK_KILL_SEED") {
        Some(seed) => storm(seed, kills),
        None => {
            let seed = Instant::now().elapsed().as_nanos() as u64 ^ u64::from(std::process::id());
            let halves = [seed, seed.wrapping_add(1)]
                .map(|seed| std::thread::spawn(move || storm(seed, kills / 2)));
            for half in halves {
                if let Err(panic) = half.join() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }
}
