//! A worker that dies: nothing of the table is lost, service goes on, the log says why.

pub mod support;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use support::process::signal;
use support::{Client, Launcher, Origin, Program, Syslog, free_address, get, wait_until};

/// Far below the timeouts of the configuration: what waits for those is found out.
const SOON: Duration = Duration::from_secs(20);

struct Service {
    launcher: Launcher,
    address: SocketAddr,
    master: u32,
    log: Syslog,
}

/// A daemon that balances over two servers and sticks on a cookie.
fn service(servers: [&Origin; 2]) -> Service {
    let (launcher, address, log) = (
        Launcher::new(Program::Burdock),
        free_address(),
        Syslog::start(),
    );
    let [one, two] = servers.map(Origin::address);
    launcher.configure(&format!(
        "global\n log {} local0\ndefaults\n mode http\n timeout client 60s\n timeout server 60s\n timeout connect 60s\n\
         frontend f\n bind {address}\n default_backend b\n\
         backend b\n balance roundrobin\n stick-table type string len 32 size 1k expire 5m\n stick on req.cook(ID)\n\
         server one {one}\n server two {two}\n",
        log.address()
    ));
    let finished = launcher.run("-D -p {dir}/pid -f {dir}/proxy.cfg");
    assert_eq!(finished.code(), 0, "{}", finished.stderr);
    let master = launcher.pid_in("pid");
    Service {
        launcher,
        address,
        master,
        log,
    }
}

impl Service {
    fn ask(&self, id: usize) -> String {
        get(self.address, "/", &[&format!("Cookie: ID=session{id}")]).text()
    }

    /// Kills the worker and waits for the next.
    fn kill_worker(&self) {
        let worker = self.launcher.only_child(self.master, None);
        signal(worker, "KILL");
        self.launcher.only_child(self.master, Some(worker));
    }

    fn has_logged(&self, text: &str) -> bool {
        self.log.lines().iter().any(|line| line.contains(text))
    }

    fn end(self) {
        signal(self.master, "TERM");
        self.launcher.wait_gone(SOON);
    }
}

#[test]
fn a_killed_worker_loses_no_entry() {
    let (one, two) = (Origin::named("one"), Origin::named("two"));
    let service = service([&one, &two]);
    let mut home = HashMap::new();
    for id in 0..20 {
        home.insert(id, service.ask(id));
    }
    assert!(home.values().any(|server| server == "one"));
    assert!(home.values().any(|server| server == "two"));
    for round in 0..3 {
        service.kill_worker();
        // One request less or more each round, so that the rotation of round robin cannot make it right by chance.
        for id in (0..20 - round).rev() {
            assert_eq!(
                service.ask(id),
                home[&id],
                "session {id} after {round} kills"
            );
        }
    }
    let died = service.log.wait_for("the master's complaint", |line| {
        line.contains("exited with code 137 (Killed)")
    });
    assert!(died.contains("Current worker ("), "{died}");
    service
        .log
        .wait_for("the replacement", |line| line.contains("New worker ("));
    service.end();
}

#[test]
fn a_worker_that_dies_again_and_again_is_replaced_more_slowly() {
    let (one, two) = (Origin::named("one"), Origin::named("two"));
    let service = service([&one, &two]);
    // The fourth death in a row is the first that makes the next worker wait; one that had a second to serve ends the row.
    wait_until("the pause", || {
        service.kill_worker();
        service.has_logged("The next worker is forked in 100 ms")
    });
    assert!(!service.ask(1).is_empty());
    service.end();
}

/// Deaths far apart: each is replaced at once, however many there were, and each is told with its reason.
#[test]
fn a_worker_that_dies_now_and_then_is_replaced_at_once_every_time() {
    let (one, two) = (Origin::named("one"), Origin::named("two"));
    let service = service([&one, &two]);
    let home = service.ask(1);
    for round in 0..5 {
        let worker = service.launcher.only_child(service.master, None);
        // It serves; from here on it lives for longer than what counts as an early death.
        assert_eq!(service.ask(1), home, "after {round} deaths");
        let served = Instant::now();
        wait_until("it to be stable", || {
            served.elapsed() > Duration::from_millis(1_100)
        });
        signal(worker, "ABRT");
        service.launcher.only_child(service.master, Some(worker));
        let told = format!("Current worker ({worker}) exited with code 134 (Aborted)");
        service
            .log
            .wait_for("the reason", |line| line.contains(&told));
    }
    assert_eq!(service.ask(1), home);
    assert!(!service.has_logged("The next worker is forked in"));
    service.end();
}

#[test]
fn a_stop_does_not_wait_for_what_is_running() {
    let (one, two) = (
        Origin::start(|_| support::Answer::silence()),
        Origin::start(|_| support::Answer::silence()),
    );
    let service = service([&one, &two]);
    let mut client = Client::connect(service.address);
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    support::wait_until("the request to arrive", || {
        one.requests().len() + two.requests().len() == 1
    });
    service.end();
    assert!(client.is_closed());
}

#[test]
fn a_soft_stop_finishes_what_is_running() {
    let slow = || {
        Origin::start(|_| {
            support::Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
                .pause(Duration::from_millis(300))
                .then("llo")
        })
    };
    let (one, two) = (slow(), slow());
    let service = service([&one, &two]);
    let mut client = Client::connect(service.address);
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    support::wait_until("the request to arrive", || {
        one.requests().len() + two.requests().len() == 1
    });
    signal(service.master, "USR1");
    assert_eq!(client.read_response().text(), "hello");
    drop(client);
    service.launcher.wait_gone(SOON);
    assert!(Client::try_connect(service.address).is_err());
    assert!(!service.launcher.folder.file("pid").exists());
}

#[test]
fn without_its_master_a_worker_ends_at_once_and_the_next_start_works() {
    let (one, two) = (Origin::named("one"), Origin::named("two"));
    let service = service([&one, &two]);
    let server = service.ask(1);
    signal(service.master, "KILL");
    service.launcher.wait_gone(SOON);
    // Nobody is left on the port; the pidfile names a process that is gone, and is replaced.
    assert!(Client::try_connect(service.address).is_err());
    assert_eq!(service.launcher.pid_in("pid"), service.master);
    let finished = service.launcher.run("-D -p {dir}/pid -f {dir}/proxy.cfg");
    assert_eq!(finished.code(), 0, "{}", finished.stderr);
    let master = service.launcher.pid_in("pid");
    assert_ne!(master, service.master);
    assert!(!server.is_empty() && !service.ask(1).is_empty());
    signal(master, "TERM");
    service.launcher.wait_gone(SOON);
}
