//! SIGUSR2: a new configuration without a failed request, a lost entry or a wrong server; with real processes.

pub mod support;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use support::process::signal;
use support::{
    Answer, Client, Launcher, Origin, Program, Stats, Syslog, eventually, free_address, get,
    wait_until,
};

const SOON: Duration = Duration::from_secs(10);

/// A daemon that balances over two servers and sticks on a cookie.
struct Service {
    launcher: Launcher,
    address: SocketAddr,
    master: u32,
    log: Syslog,
    servers: [SocketAddr; 2],
}

/// What the sections of the configuration get beside what is always there.
#[derive(Clone, Copy, Default)]
struct Extra<'a> {
    /// In place of the usual `stick-table` line.
    table: Option<&'a str>,
    global: &'a str,
    frontend: &'a str,
    backend: &'a str,
    rest: &'a str,
}

impl Service {
    fn start(servers: [&Origin; 2], extra: Extra<'_>) -> Service {
        let launcher = Launcher::new(Program::Burdock);
        let mut service = Service {
            launcher,
            address: free_address(),
            master: 0,
            log: Syslog::start(),
            servers: servers.map(Origin::address),
        };
        service.configure(extra);
        let finished = service.launcher.run("-D -p {dir}/pid -f {dir}/proxy.cfg");
        assert_eq!(finished.code(), 0, "{}", finished.stderr);
        service.master = service.launcher.pid_in("pid");
        service
    }

    fn configure(&self, extra: Extra<'_>) {
        let [one, two] = self.servers;
        let Extra {
            table,
            global,
            frontend,
            backend,
            rest,
        } = extra;
        self.launcher.configure(&format!(
            "global\n log {} local0\n stats socket {{dir}}/stats.sock level admin\n{global}\
             defaults\n mode http\n timeout client 10s\n timeout server 10s\n timeout connect 5s\n\
             frontend f\n bind {}\n default_backend b\n{frontend}\
             backend b\n balance roundrobin\n {}\n stick on req.cook(ID)\n\
             server one {one}\n server two {two}\n{backend}{rest}",
            self.log.address(),
            self.address,
            table.unwrap_or("stick-table type string len 32 size 10k expire 5m"),
        ));
    }

    /// The newest worker.
    fn worker(&self) -> u32 {
        eventually("a worker that answers", SOON, || {
            let info = self.stats().try_command("show info")?;
            let pid = info.lines().find_map(|line| line.strip_prefix("Pid: "))?;
            pid.parse().ok()
        })
    }

    fn stats(&self) -> Stats {
        Stats::at(self.launcher.folder.file("stats.sock"))
    }

    /// Reloads and waits until another worker answers; returns its pid.
    fn reload(&self) -> u32 {
        let old = self.worker();
        signal(self.master, "USR2");
        eventually("the new worker", SOON, || {
            Some(self.worker()).filter(|pid| *pid != old)
        })
    }

    fn ask(&self, id: usize) -> String {
        get(self.address, "/", &[&format!("Cookie: ID=session{id}")]).text()
    }

    fn entries(&self) -> usize {
        let answer = self.stats().command("show table b");
        answer.lines().filter(|line| line.contains("key=")).count()
    }

    fn end(self) {
        assert_eq!(self.launcher.pid_in("pid"), self.master);
        signal(self.master, "TERM");
        self.launcher.wait_gone(SOON);
        assert!(!self.launcher.folder.file("pid").exists());
    }
}

/// Clients that ask without a pause and check that each session stays on its server.
struct Load {
    stop: Arc<AtomicBool>,
    requests: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Result<(), String>>>,
}

impl Load {
    fn start(address: SocketAddr, home: &HashMap<usize, String>) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let requests = Arc::new(AtomicUsize::new(0));
        let threads = (0..4)
            .map(|thread| {
                let (stop, requests, home) = (stop.clone(), requests.clone(), home.clone());
                let keeps = thread % 2 == 0;
                std::thread::spawn(move || {
                    let mut client = Client::connect(address);
                    for round in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        let id = (round * 7 + thread) % home.len();
                        if !keeps {
                            client = Client::try_connect(address)
                                .map_err(|error| format!("request {round}: connecting: {error}"))?;
                        }
                        let request =
                            format!("GET / HTTP/1.1\r\nHost: h\r\nCookie: ID=session{id}\r\n\r\n");
                        let answer = client
                            .try_send(&request)
                            .and_then(|()| client.try_read_response())
                            .map_err(|error| {
                                format!("request {round} (keep-alive {keeps}): {error}")
                            })?;
                        if answer.status != 200 || answer.text() != home[&id] {
                            return Err(format!(
                                "session {id} of {}: {} {}",
                                home[&id],
                                answer.status,
                                answer.text()
                            ));
                        }
                        requests.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        Load {
            stop,
            requests,
            threads,
        }
    }

    /// Waits for so many requests more.
    fn wait_for(&self, requests: usize) {
        let until = self.requests.load(Ordering::Relaxed) + requests;
        wait_until("requests", || {
            self.requests.load(Ordering::Relaxed) >= until
                || self.threads.iter().any(JoinHandle::is_finished)
        });
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let result = thread.join().expect("a client panicked");
            assert_eq!(result, Ok(()));
        }
    }
}

fn homes(service: &Service, count: usize) -> HashMap<usize, String> {
    let home: HashMap<usize, String> = (0..count).map(|id| (id, service.ask(id))).collect();
    assert!(home.values().any(|server| server == "one"));
    assert!(home.values().any(|server| server == "two"));
    home
}

#[test]
fn reloads_under_load_lose_nothing() {
    let (one, two) = (Origin::named("one"), Origin::named("two"));
    let service = Service::start([&one, &two], Extra::default());
    let home = homes(&service, 50);
    let load = Load::start(service.address, &home);
    let mut workers = vec![service.worker()];
    for _ in 0..5 {
        load.wait_for(100);
        workers.push(service.reload());
        load.wait_for(100);
    }
    load.end();
    assert_eq!(service.entries(), 50);
    workers.dedup();
    assert_eq!(workers.len(), 6, "each reload made a worker: {workers:?}");
    let last = *workers.last().expect("some");
    eventually("the old workers to go", SOON, || {
        (service.launcher.children(service.master) == [last]).then_some(())
    });
    service.end();
}

fn named() -> (Origin, Origin) {
    (Origin::named("one"), Origin::named("two"))
}

#[test]
fn ten_reloads_at_once_are_some_reloads_in_a_row() {
    let (one, two) = named();
    let service = Service::start([&one, &two], Extra::default());
    let home = homes(&service, 20);
    let load = Load::start(service.address, &home);
    let first = service.worker();
    for _ in 0..10 {
        signal(service.master, "USR2");
        load.wait_for(20);
    }
    wait_until("another worker", || service.worker() != first);
    load.wait_for(100);
    load.end();
    eventually("the old workers to go", SOON, || {
        (service.launcher.children(service.master).len() == 1).then_some(())
    });
    assert_eq!(service.entries(), 20);
    service.end();
}

#[test]
fn a_bad_configuration_changes_nothing_and_is_told() {
    let (one, two) = named();
    let service = Service::start([&one, &two], Extra::default());
    let home = service.ask(1);
    let worker = service.worker();
    service.configure(Extra {
        backend: " zork\n",
        ..Extra::default()
    });
    signal(service.master, "USR2");
    service
        .log
        .wait_for("the error", |line| line.contains("unknown keyword 'zork'"));
    service.log.wait_for("the outcome", |line| {
        line.contains("Reload failed, nothing was changed")
    });
    assert_eq!(service.worker(), worker);
    assert_eq!(service.ask(1), home);
    // An address that somebody else has is found out before anything changes too.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address");
    service.configure(Extra {
        frontend: &format!(" bind {address}\n"),
        ..Extra::default()
    });
    signal(service.master, "USR2");
    service
        .log
        .wait_for("the error", |line| line.contains("cannot bind socket"));
    assert_eq!(service.worker(), worker);
    // And once it is good again, it is taken.
    drop(taken);
    service.reload();
    assert_eq!(get(address, "/", &["Cookie: ID=session1"]).text(), home);
    service.end();
}

#[test]
fn addresses_come_and_go() {
    let (one, two) = named();
    let service = Service::start([&one, &two], Extra::default());
    let other = free_address();
    assert!(Client::try_connect(other).is_err());
    service.configure(Extra {
        frontend: &format!(" bind {other}\n"),
        ..Extra::default()
    });
    service.reload();
    assert_eq!(get(other, "/", &[]).status, 200);
    service.configure(Extra::default());
    service.reload();
    wait_until("the address to close", || {
        Client::try_connect(other).is_err()
    });
    assert_eq!(get(service.address, "/", &[]).status, 200);
    service.end();
}

#[test]
fn a_connection_between_two_requests_moves() {
    let (one, two) = named();
    let service = Service::start([&one, &two], Extra::default());
    let request = "GET / HTTP/1.1\r\nHost: h\r\nCookie: ID=a\r\n\r\n";
    let mut idle = Client::connect(service.address);
    let home = idle.ask(request).text();
    let mut begun = Client::connect(service.address);
    begun.send(&request[..20]);
    let mut silent = Client::connect(service.address);
    let old = service.worker();
    for _ in 0..2 {
        service.reload();
        // The old worker goes although none of them says a word.
        wait_until("the old worker to go", || {
            !service.launcher.processes().contains(&old)
        });
        assert_eq!(idle.ask(request).text(), home);
    }
    begun.send(&request[20..]);
    assert_eq!(begun.read_response().text(), home);
    assert_eq!(silent.ask(request).text(), home);
    service.end();
}

#[test]
fn a_busy_connection_moves_when_its_response_is_complete() {
    let slow = |name: &'static str| {
        Origin::start(move |request| match request.target() {
            "/slow" => Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
                .pause(Duration::from_millis(1500))
                .then("half"),
            _ => Answer::ok(name, &[]),
        })
    };
    let (one, two) = (slow("one"), slow("two"));
    let service = Service::start([&one, &two], Extra::default());
    let old = service.worker();
    let mut client = Client::connect(service.address);
    client.send("GET /slow HTTP/1.1\r\nHost: h\r\nCookie: ID=late\r\n\r\n");
    // The next request waits behind the response already.
    client.send("GET / HTTP/1.1\r\nHost: h\r\nCookie: ID=late\r\n\r\n");
    wait_until("the request to arrive", || {
        !one.requests_for("/slow").is_empty() || !two.requests_for("/slow").is_empty()
    });
    service.reload();
    assert!(service.launcher.processes().contains(&old));
    assert_eq!(client.read_response().text(), "halfhalf");
    let home = client.read_response().text();
    let was_one = !one.requests_for("/slow").is_empty();
    assert_eq!(home, if was_one { "one" } else { "two" });
    wait_until("the old worker to go", || {
        !service.launcher.processes().contains(&old)
    });
    assert_eq!(
        client
            .ask("GET / HTTP/1.1\r\nHost: h\r\nCookie: ID=late\r\n\r\n")
            .text(),
        home
    );
    service.end();
}

#[test]
fn what_a_late_response_tells_reaches_the_new_worker() {
    // The response head itself comes after the reload, so its key is learnt by a worker that owns no table any more.
    let slow = |name: &'static str| {
        Origin::start(move |request| match request.target() {
            "/slow" => Answer::default()
                .pause(Duration::from_millis(1500))
                .then(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{name}"
                )),
            _ => Answer::ok(name, &[]),
        })
    };
    let (one, two) = (slow("one"), slow("two"));
    let service = Service::start([&one, &two], Extra::default());
    let mut client = Client::connect(service.address);
    client.send("GET /slow HTTP/1.1\r\nHost: h\r\nCookie: ID=session7\r\n\r\n");
    wait_until("the request to arrive", || {
        one.requests().len() + two.requests().len() == 1
    });
    service.reload();
    service.reload();
    assert_eq!(service.entries(), 0);
    let home = client.read_response().text();
    wait_until("the entry", || service.entries() == 1);
    for _ in 0..4 {
        assert_eq!(service.ask(7), home);
    }
    service.end();
}

#[test]
fn a_tunnel_stays_with_the_old_worker_until_it_ends() {
    let (one, two) = named();
    let echo = Origin::named("echo");
    let address = free_address();
    let rest = format!(
        "listen t\n mode tcp\n bind {address}\n server e {}\n",
        echo.address()
    );
    let extra = Extra {
        rest: &rest,
        ..Extra::default()
    };
    let service = Service::start([&one, &two], extra);
    let old = service.worker();
    let mut tunnel = Client::connect(address);
    assert_eq!(tunnel.ask("GET /1 HTTP/1.1\r\nHost: h\r\n\r\n").status, 200);
    service.reload();
    service.reload();
    assert_eq!(tunnel.ask("GET /2 HTTP/1.1\r\nHost: h\r\n\r\n").status, 200);
    assert!(service.launcher.processes().contains(&old));
    drop(tunnel);
    wait_until("the old workers to go", || {
        service.launcher.children(service.master).len() == 1
    });
    service.end();
}

#[test]
fn hard_stop_after_bounds_the_old_worker() {
    let (one, two) = named();
    let echo = Origin::named("echo");
    let address = free_address();
    let rest = format!(
        "listen t\n mode tcp\n bind {address}\n server e {}\n",
        echo.address()
    );
    let extra = Extra {
        global: " hard-stop-after 1s\n",
        rest: &rest,
        ..Extra::default()
    };
    let service = Service::start([&one, &two], extra);
    let mut tunnel = Client::connect(address);
    assert_eq!(tunnel.ask("GET /1 HTTP/1.1\r\nHost: h\r\n\r\n").status, 200);
    service.reload();
    assert!(tunnel.is_closed());
    service.end();
}

#[test]
fn what_is_known_of_servers_crosses() {
    let (one, two) = named();
    let dead = free_address();
    let backend = format!(" server gone {dead} check inter 10s fall 1 fastinter 20ms\n");
    let extra = Extra {
        backend: &backend,
        ..Extra::default()
    };
    let service = Service::start([&one, &two], extra);
    let status = |server: &str| {
        let table = service.stats().command("show stat");
        let line = table
            .lines()
            .find(|line| line.starts_with(&format!("b,{server},")));
        let fields: Vec<&str> = line.expect("the server").split(',').collect();
        (fields[17].to_string(), fields[18].to_string())
    };
    wait_until("the dead server to be down", || status("gone").0 == "DOWN");
    service.stats().command("set server b/one weight 7");
    service.stats().command("disable server b/two");
    service.reload();
    assert_eq!(status("gone").0, "DOWN");
    assert_eq!(status("one"), ("no check".into(), "7".into()));
    assert_eq!(status("two").0, "MAINT");
    service.stats().command("enable server b/two");
    service.end();
}

#[test]
fn a_new_worker_that_dies_leaves_the_old_one_in_charge() {
    let (one, two) = named();
    let service = Service::start([&one, &two], Extra::default());
    let home = service.ask(1);
    let old = service.worker();
    // The old worker does not listen for a while, so the new one waits for it and can be hit.
    signal(old, "STOP");
    signal(service.master, "USR2");
    service
        .log
        .wait_for_text("Reloading: the configuration is good");
    // Nothing but the check, which has ended, and the new worker is forked meanwhile.
    let new = eventually("the new worker", SOON, || {
        let mut children = service.launcher.children(service.master);
        children.retain(|pid| *pid != old);
        children.pop()
    });
    signal(new, "KILL");
    // Until it is dead the old one may still hand over to it.
    wait_until("its end", || {
        !service.launcher.children(service.master).contains(&new)
    });
    signal(old, "CONT");
    service.log.wait_for("the outcome", |line| {
        line.contains("Reload failed, nothing was changed")
    });
    assert_eq!(service.worker(), old);
    assert_eq!(service.ask(1), home);
    service.reload();
    assert_eq!(service.ask(1), home);
    assert_eq!(service.entries(), 1);
    service.end();
}

#[test]
fn a_worker_killed_after_a_reload_is_replaced() {
    let (one, two) = named();
    let service = Service::start([&one, &two], Extra::default());
    let home = homes(&service, 20);
    let worker = service.reload();
    signal(worker, "KILL");
    let next = service.launcher.only_child(service.master, Some(worker));
    assert_eq!(service.worker(), next);
    for id in (0..19).rev() {
        assert_eq!(service.ask(id), home[&id]);
    }
    service.end();
}

#[test]
fn it_works_with_a_user_and_a_root_of_its_own() {
    let uid = support::status_field(std::process::id(), "Uid");
    if !uid.is_some_and(|ids| ids.starts_with('0')) {
        return; // only root can change users and roots
    }
    let (one, two) = named();
    let root = support::TempDir::new("root");
    let extra = Extra {
        global: &format!(" user nobody\n chroot {}\n", root.path().display()),
        ..Extra::default()
    };
    let service = Service::start([&one, &two], extra);
    let home = homes(&service, 20);
    let load = Load::start(service.address, &home);
    for _ in 0..3 {
        let worker = service.reload();
        let ids = support::status_field(worker, "Uid").expect("it lives");
        assert!(!ids.starts_with('0'), "{ids}");
        let its_root = std::fs::read_link(format!("/proc/{worker}/root")).expect("its root");
        assert_eq!(its_root, root.path());
        load.wait_for(50);
    }
    load.end();
    assert_eq!(service.entries(), 20);
    service.end();
}

#[test]
fn a_table_of_another_layout_keeps_its_entries() {
    let (one, two) = named();
    let service = Service::start([&one, &two], Extra::default());
    let home = homes(&service, 50);
    for table in [
        "stick-table type string len 40 size 20k expire 10m",
        "stick-table type string len 40 size 20k expire 10m store gpc0,http_req_rate(10s)",
        "stick-table type string len 32 size 10k",
    ] {
        service.configure(Extra {
            table: Some(table),
            ..Extra::default()
        });
        let load = Load::start(service.address, &home);
        load.wait_for(20);
        service.reload();
        load.wait_for(50);
        load.end();
        assert_eq!(service.entries(), 50, "{table}");
        for id in (0..49).rev() {
            assert_eq!(service.ask(id), home[&id], "{table}");
        }
    }
    let told = service.log.wait_for("the outcome", |line| {
        line.contains("is declared or kept differently now")
    });
    assert!(told.contains("50 of 50 entries"), "{told}");
    // What has no place any more is counted.
    service.configure(Extra {
        table: Some("stick-table type string len 32 size 20"),
        ..Extra::default()
    });
    service.reload();
    service
        .log
        .wait_for_text("20 of 50 entries were carried over");
    assert_eq!(service.entries(), 20);
    service.end();
}

#[test]
fn a_change_of_lifetimes_keeps_the_entries() {
    let (one, two) = named();
    let service = Service::start([&one, &two], Extra::default());
    let home = homes(&service, 50);
    service.configure(Extra {
        table: Some("stick-table type string len 32 size 10k expire 1h"),
        ..Extra::default()
    });
    service.reload();
    assert_eq!(service.entries(), 50);
    for id in (0..49).rev() {
        assert_eq!(service.ask(id), home[&id]);
    }
    service.end();
}

/// The pause of the reload with this number, microseconds.
fn pause_us(service: &Service, number: usize) -> u64 {
    let took = eventually("the new worker's word", SOON, || {
        let lines = service.log.lines();
        let mut took = lines.into_iter().filter(|line| line.contains("Took over "));
        took.nth(number)
    });
    let words = took.trim_end().strip_suffix(" us");
    let number = words.and_then(|line| line.rsplit(' ').next());
    number.unwrap().parse().unwrap()
}

#[test]
fn the_pause_does_not_grow_with_a_table_that_changes() {
    const ENTRIES: usize = 40_000;
    let (one, two) = named();
    let table = |size: usize| format!("stick-table type string len 32 size {size} expire 1h");
    let service = Service::start(
        [&one, &two],
        Extra {
            table: Some(&table(100_000)),
            ..Extra::default()
        },
    );
    let home = homes(&service, 50);
    let mut stream = service.stats().connect().expect("no stats socket");
    let reader = stream.try_clone().expect("cannot clone");
    let drain = std::thread::spawn(move || std::io::copy(&mut &reader, &mut std::io::sink()));
    let commands: String = (0..ENTRIES)
        .map(|number| format!("set table b key filler{number} data.server_id 1\n"))
        .collect();
    let commands = format!("prompt\n{commands}quit\n");
    std::io::Write::write_all(&mut stream, commands.as_bytes()).expect("cannot write");
    drain
        .join()
        .expect("the reader failed")
        .expect("cannot read");
    assert_eq!(service.entries(), ENTRIES + 50);
    let load = Load::start(service.address, &home);
    for (number, size) in [110_000, 120_000, 130_000].into_iter().enumerate() {
        service.configure(Extra {
            table: Some(&table(size)),
            ..Extra::default()
        });
        service.reload();
        let pause_us = pause_us(&service, number);
        // Copying all of it takes longer in a build without optimisation; a busy machine may take its time for the rest.
        assert!(pause_us < 150_000, "{pause_us}");
    }
    load.wait_for(50);
    load.end();
    assert_eq!(service.entries(), ENTRIES + 50);
    let told = service.log.wait_for_text("kept differently now");
    assert!(
        told.contains(&format!("{0} of {0} entries", ENTRIES + 50)),
        "{told}"
    );
    service.end();
}

#[test]
fn keys_of_another_type_and_tables_of_another_name() {
    let (one, two) = named();
    let keyed =
        |key_type: &str| format!("stick-table type {key_type} size 1k expire 1h store gpc0");
    let string = keyed("string len 40");
    let service = Service::start(
        [&one, &two],
        Extra {
            table: Some(&string),
            ..Extra::default()
        },
    );
    for key in ["10.0.0.1", "10.0.0.2", "no-address"] {
        service
            .stats()
            .command(&format!("set table b key {key} data.gpc0 7"));
    }
    for (key_type, keys) in [
        ("ip", ["10.0.0.1", "10.0.0.2"]),
        ("ipv6", ["::ffff:10.0.0.1", "::ffff:10.0.0.2"]),
        ("ip", ["10.0.0.1", "10.0.0.2"]),
        ("string len 20", ["10.0.0.1", "10.0.0.2"]),
    ] {
        service.configure(Extra {
            table: Some(&keyed(key_type)),
            ..Extra::default()
        });
        service.reload();
        let entries = service.stats().entries("b");
        let found: Vec<&str> = entries.iter().map(|(key, _)| &**key).collect();
        assert_eq!(found, keys, "{key_type}");
        assert!(
            entries
                .iter()
                .all(|(_, data)| data == "gpc0=7" || data.contains("gpc0=7"))
        );
    }
    service
        .log
        .wait_for_text("2 of 3 entries were carried over");
    // Under another name its entries cannot follow, and a line says how many there were.
    let text = service.launcher.folder.read("proxy.cfg");
    service.launcher.folder.write(
        "proxy.cfg",
        text.replace("backend b", "backend c")
            .replace("default_backend b", "default_backend c"),
    );
    service.reload();
    service.log.wait_for_text(
        "Stick table 'b' has left the configuration: its 2 entries are gone with it",
    );
    assert_eq!(service.stats().entries("c"), []);
    service.end();
}

#[test]
fn entries_of_a_server_that_left_count_again_when_it_is_back() {
    let (one, two) = named();
    let service = Service::start([&one, &two], Extra::default());
    let home = homes(&service, 20);
    let text = service.launcher.folder.read("proxy.cfg");
    let without: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("server two"))
        .map(|line| format!("{line}\n"))
        .collect();
    service.launcher.folder.write("proxy.cfg", &without);
    service.reload();
    // Those that lived there go to the server that is left; most are not asked for, and keep their entry.
    let (asked, resting): (Vec<_>, Vec<_>) = home
        .iter()
        .filter(|(_, server)| *server == "two")
        .partition(|(id, _)| *id % 4 == 1);
    assert!(!asked.is_empty() && !resting.is_empty());
    for (id, _) in &asked {
        assert_eq!(service.ask(**id), "one");
    }
    assert_eq!(service.entries(), 20);
    service.launcher.folder.write("proxy.cfg", &text);
    service.reload();
    for (id, _) in resting {
        assert_eq!(service.ask(*id), "two", "session {id}");
    }
    for (id, _) in asked {
        assert_eq!(service.ask(*id), "one", "session {id} lives there now");
    }
    service.end();
}

/// Variables of a session live as long as the client's connection, wherever that is served.
#[test]
fn variables_of_a_session_move_with_its_connection() {
    let (one, two) = named();
    let frontend = " tcp-request session set-var(sess.port) src_port\n\
                     http-request set-var(sess.first,ifnotexists) path\n\
                     http-request set-var(sess.count) int(0) unless { var(sess.count) -m found }\n\
                     http-request set-var(sess.count) var(sess.count),add(1)\n\
                     http-request return status 200 content-type text/plain lf-string \"%[var(sess.port)] %[var(sess.first)] %[var(sess.count)]\"\n";
    let extra = Extra {
        frontend,
        ..Extra::default()
    };
    let service = Service::start([&one, &two], extra);
    let mut client = Client::connect(service.address);
    let port = client.stream().local_addr().unwrap().port();
    for count in 1..6 {
        let answer = client.ask(&format!("GET /{count} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!(answer.text(), format!("{port} /1 {count}"));
        service.reload();
    }
    service.end();
}
