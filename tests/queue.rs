//! Who waits where, who goes first, and that every place comes back: `maxconn`, queues, retries, redispatching, balance.

pub mod support;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socket2::SockRef;
use support::{Answer, Client, Gate, Origin, Program, Proxy, Syslog, free_address, wait_until};

/// Answers `/held…` when the gate opens, everything else at once, with its name.
fn holding_origin(name: &str, gate: &Gate) -> Origin {
    let (name, gate) = (name.to_string(), gate.clone());
    Origin::start(move |request| {
        if request.target().starts_with("/held") {
            gate.pass();
        }
        Answer::ok(&name, &[])
    })
}

fn configuration(listen: SocketAddr, log: SocketAddr, lines: &[&str]) -> String {
    let mut text = format!(
        "global\n    stats socket {{dir}}/stats.sock level admin\n    log {log} local0\n\
         defaults\n    mode http\n    log global\n    option httplog\n    timeout connect 2s\n    timeout client 10s\n\
         timeout server 10s\n    timeout queue 10s\nlisten app\n    bind {listen}\n"
    );
    for line in lines {
        let _ = writeln!(text, "    {line}");
    }
    text
}

fn start(lines: &[&str]) -> (Proxy, SocketAddr, Syslog) {
    let (address, log) = (free_address(), Syslog::start());
    let proxy = Proxy::start(
        Program::Burdock,
        &configuration(address, log.address(), lines),
    );
    (proxy, address, log)
}

fn server(name: &str, origin: &Origin, options: &str) -> String {
    format!("server {name} {} {options}", origin.address())
}

fn request(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")
}

fn sent(address: SocketAddr, target: &str) -> Client {
    let mut client = Client::connect(address);
    client.send(request(target));
    client
}

fn wait_all_left(proxy: &Proxy, servers: &[&str]) {
    for (of, field) in servers
        .iter()
        .chain(&["BACKEND"])
        .flat_map(|of| [(of, "scur"), (of, "qcur")])
    {
        wait_until(&format!("{field} of {of} to be 0"), || {
            proxy.stat("app", of, field) == 0
        });
    }
}

fn reset(client: &Client) {
    SockRef::from(client.stream())
        .set_linger(Some(Duration::ZERO))
        .expect("a TCP socket");
}

#[test]
fn one_place_serves_all_in_order_of_arrival() {
    let gate = Gate::new();
    let origin = holding_origin("a", &gate);
    let (proxy, address, log) = start(&[&server("a", &origin, "maxconn 1")]);
    let mut first = sent(address, "/held");
    wait_until("the place to be taken", || {
        proxy.stat("app", "a", "scur") == 1
    });
    let mut waiting: Vec<Client> = (0..5)
        .map(|i| {
            let client = sent(address, &format!("/{i}"));
            wait_until("one more to wait", || {
                proxy.stat("app", "BACKEND", "qcur") == i + 1
            });
            client
        })
        .collect();
    gate.open();
    assert_eq!(first.read_response().status, 200);
    for client in &mut waiting {
        assert_eq!(client.read_response().text(), "a");
    }
    let order: Vec<String> = origin
        .requests()
        .iter()
        .map(|r| r.target().to_string())
        .collect();
    assert_eq!(order, ["/held", "/0", "/1", "/2", "/3", "/4"]);
    // The last one counts itself, as in HAProxy.
    let line = log.wait_for_text("GET /4 ");
    assert!(line.contains(" 0/5 \"GET /4"), "{line}");
    assert_eq!(proxy.stat("app", "BACKEND", "qmax"), 5);
    wait_all_left(&proxy, &["a"]);
}

#[test]
fn who_leaves_in_the_turn_in_which_its_place_comes_free() {
    for aborts in [1, 3] {
        let gate = Gate::new();
        let origin = holding_origin("a", &gate);
        let (proxy, address, _log) = start(&[&server("a", &origin, "maxconn 1")]);
        let mut first = sent(address, "/held");
        wait_until("the place to be taken", || {
            proxy.stat("app", "a", "scur") == 1
        });
        let mut waiting: Vec<Client> = (0..3).map(|i| sent(address, &format!("/{i}"))).collect();
        wait_until("all to wait", || proxy.stat("app", "BACKEND", "qcur") == 3);
        proxy.frozen(|| {
            gate.open();
            wait_until("the answer to be sent", || {
                !origin.requests_for("/held").is_empty()
            });
            for client in waiting.drain(..aborts) {
                reset(&client);
            }
        });
        assert_eq!(first.read_response().status, 200);
        for client in &mut waiting {
            assert_eq!(client.read_response().status, 200);
        }
        wait_all_left(&proxy, &["a"]);
    }
}

#[test]
fn timeout_queue_answers_503_and_frees_the_place_in_the_queue() {
    let gate = Gate::new();
    let origin = holding_origin("a", &gate);
    let (proxy, address, log) = start(&[
        &server("a", &origin, "maxconn 1"),
        "timeout queue 200ms",
        "stick-table type ip size 10",
        "stick on src",
    ]);
    let mut first = sent(address, "/held");
    wait_until("the place to be taken", || {
        proxy.stat("app", "a", "scur") == 1
    });
    assert_eq!(sent(address, "/late").read_response().status, 503);
    let line = log.wait_for_text("GET /late");
    assert!(line.contains(" 503 ") && line.contains(" sQ-- "), "{line}");
    gate.open();
    assert_eq!(first.read_response().status, 200);
    wait_all_left(&proxy, &["a"]);
}

#[test]
fn a_client_that_gives_up_in_the_queue_is_logged_as_such() {
    let gate = Gate::new();
    let origin = holding_origin("a", &gate);
    let (proxy, address, log) = start(&[&server("a", &origin, "maxconn 1"), "option abortonclose"]);
    let _first = sent(address, "/held");
    wait_until("the place to be taken", || {
        proxy.stat("app", "a", "scur") == 1
    });
    drop(sent(address, "/gone"));
    let line = log.wait_for_text("GET /gone");
    assert!(line.contains(" CQ-- "), "{line}");
    wait_until("the queue to be empty", || {
        proxy.stat("app", "BACKEND", "qcur") == 0
    });
    gate.open();
    wait_all_left(&proxy, &["a"]);
    assert!(origin.requests_for("/gone").is_empty());
}

#[test]
fn backups_take_over_who_waits_when_the_last_active_server_goes() {
    let gate = Gate::new();
    let (active, backup) = (
        holding_origin("active", &gate),
        holding_origin("backup", &gate),
    );
    let (proxy, address, _log) = start(&[
        &server("a", &active, "maxconn 1"),
        &server("b", &backup, "maxconn 1 backup"),
    ]);
    let mut first = sent(address, "/held");
    wait_until("the place to be taken", || {
        proxy.stat("app", "a", "scur") == 1
    });
    let mut waiting = [sent(address, "/1"), sent(address, "/2")];
    wait_until("both to wait", || proxy.stat("app", "BACKEND", "qcur") == 2);
    // A change of the backup's is no reason to use it while the active one is there.
    proxy.command("set server app/b state maint");
    proxy.command("set server app/b state ready");
    assert_eq!(proxy.stat("app", "BACKEND", "qcur"), 2);
    proxy.command("set server app/a state maint");
    for client in &mut waiting {
        assert_eq!(client.read_response().text(), "backup");
    }
    gate.open();
    assert_eq!(first.read_response().text(), "active");
    wait_all_left(&proxy, &["a", "b"]);
}

#[test]
fn who_waits_for_a_server_that_goes_is_dispatched_anew() {
    let gate = Gate::new();
    let origins = ["a", "b"].map(|name| holding_origin(name, &gate));
    let (proxy, address, _log) = start(&[
        &server("a", &origins[0], "maxconn 1"),
        &server("b", &origins[1], "maxconn 2"),
        "stick-table type string len 20 size 10",
        "stick on req.hdr(x-key)",
    ]);
    let ask = |target: &str| {
        let mut client = Client::connect(address);
        client.send(format!(
            "GET {target} HTTP/1.1\r\nHost: h\r\nX-Key: k\r\n\r\n"
        ));
        client
    };
    proxy.command("set server app/b state maint");
    assert_eq!(ask("/learn").read_response().text(), "a");
    proxy.command("set server app/b state ready");
    let mut first = ask("/held");
    wait_until("the place to be taken", || {
        proxy.stat("app", "a", "scur") == 1
    });
    let mut waiting = [ask("/1"), ask("/2")];
    wait_until("both to wait for their server", || {
        proxy.stat("app", "a", "qcur") == 2
    });
    proxy.command("disable server app/a");
    for client in &mut waiting {
        assert_eq!(client.read_response().text(), "b");
    }
    gate.open();
    assert_eq!(first.read_response().text(), "a");
    wait_all_left(&proxy, &["a", "b"]);
    assert_eq!(ask("/after").read_response().text(), "b");
}

#[test]
fn maxqueue_sends_sticky_clients_elsewhere() {
    let gate = Gate::new();
    let origins = ["a", "b"].map(|name| holding_origin(name, &gate));
    let (proxy, address, _log) = start(&[
        &server("a", &origins[0], "maxconn 1 maxqueue 1"),
        &server("b", &origins[1], "maxconn 5"),
        "stick-table type string len 20 size 10",
        "stick match req.hdr(x-key)",
    ]);
    proxy.command("set table app key k data.server_id 1");
    let ask = |target: &str| {
        let mut client = Client::connect(address);
        client.send(format!(
            "GET {target} HTTP/1.1\r\nHost: h\r\nX-Key: k\r\n\r\n"
        ));
        client
    };
    let mut first = ask("/held");
    wait_until("the place to be taken", || {
        proxy.stat("app", "a", "scur") == 1
    });
    let mut second = ask("/second");
    wait_until("one to wait", || proxy.stat("app", "a", "qcur") == 1);
    assert_eq!(ask("/third").read_response().text(), "b");
    gate.open();
    assert_eq!(first.read_response().text(), "a");
    assert_eq!(second.read_response().text(), "a");
    wait_all_left(&proxy, &["a", "b"]);
}

#[test]
fn more_places_at_run_time_serve_who_waits() {
    let gate = Gate::new();
    let origin = holding_origin("a", &gate);
    let (proxy, address, _log) = start(&[&server("a", &origin, "maxconn 1")]);
    let _first = sent(address, "/held");
    wait_until("the place to be taken", || {
        proxy.stat("app", "a", "scur") == 1
    });
    let mut second = sent(address, "/second");
    wait_until("one to wait", || proxy.stat("app", "BACKEND", "qcur") == 1);
    proxy.command("set maxconn server app/a 2");
    assert_eq!(second.read_response().text(), "a");
    gate.open();
    wait_all_left(&proxy, &["a"]);
}

#[test]
fn refused_connections_are_retried_and_redispatched() {
    let alive = Origin::named("alive");
    let dead = free_address();
    let (proxy, address, log) = start(&[
        &format!("server dead {dead}"),
        &server("alive", &alive, ""),
        "retries 2",
        "option redispatch",
    ]);
    for i in 0..6 {
        assert_eq!(
            sent(address, &format!("/{i}")).read_response().text(),
            "alive"
        );
    }
    // Every other one met the dead server first and says so.
    let line = log.wait_for("a redispatched request", |line| line.contains("/+1 0/0"));
    assert!(line.contains(" app/alive "), "{line}");
    wait_all_left(&proxy, &["dead", "alive"]);
    assert_eq!(proxy.stat("app", "dead", "wredis"), 3);
}

#[test]
fn without_redispatch_the_server_is_tried_again_then_503() {
    let (proxy, address, log) = start(&[
        &format!("server dead {}", free_address()),
        "retries 1",
        "timeout connect 300ms",
    ]);
    let started = Instant::now();
    assert_eq!(sent(address, "/").read_response().status, 503);
    assert!(
        started.elapsed() >= Duration::from_millis(290),
        "no pause before the retry"
    );
    let line = log.wait_for_text("GET /");
    assert!(line.contains(" SC-- ") && line.contains("/1 0/0"), "{line}");
    wait_all_left(&proxy, &["dead"]);
    assert_eq!(proxy.stat("app", "dead", "wretr"), 1);
    assert_eq!(proxy.stat("app", "dead", "econ"), 1);
}

#[test]
fn the_connections_beyond_a_frontends_maxconn_wait_their_turn() {
    let gate = Gate::new();
    let origin = holding_origin("a", &gate);
    let (proxy, address, _log) = start(&[&server("a", &origin, ""), "maxconn 2"]);
    let held: Vec<Client> = (0..2).map(|_| sent(address, "/held")).collect();
    wait_until("both places to be taken", || {
        proxy.stat("app", "a", "scur") == 2
    });
    let mut beyond = sent(address, "/beyond");
    gate.open();
    assert!(origin.requests_for("/beyond").is_empty());
    drop(held);
    assert_eq!(beyond.read_response().text(), "a");
    assert_eq!(proxy.stat("app", "FRONTEND", "smax"), 2);
    wait_all_left(&proxy, &["a"]);
}

#[test]
fn leastconn_first_and_source_choose_as_they_say() {
    let check = |algorithm: &str, options: &str, expected: &[&str]| {
        let gate = Gate::new();
        let origins = ["a", "b", "c"].map(|name| holding_origin(name, &gate));
        let lines = ["a", "b", "c"].map(|name| {
            let position = (name.as_bytes()[0] - b'a') as usize;
            server(name, &origins[position], options)
        });
        let (proxy, address, _log) = start(&[
            &format!("balance {algorithm}"),
            &lines[0],
            &lines[1],
            &lines[2],
        ]);
        let mut clients: Vec<Client> = (0..expected.len() as u64)
            .map(|count| {
                let client = sent(address, "/held");
                wait_until("the request to reach a server", || {
                    proxy.stat("app", "BACKEND", "lbtot") == count + 1
                });
                client
            })
            .collect();
        gate.open();
        let seen: Vec<String> = clients
            .iter_mut()
            .map(|client| client.read_response().text())
            .collect();
        assert_eq!(seen, expected, "{algorithm}");
        wait_all_left(&proxy, &["a", "b", "c"]);
    };
    check("leastconn", "", &["a", "b", "c", "a", "b", "c"]);
    check("first", "maxconn 2", &["a", "a", "b", "b", "c", "c"]);
    check("roundrobin", "", &["a", "b", "c", "a"]);
    let gate = Gate::new();
    gate.open();
    let origins = ["a", "b"].map(|name| holding_origin(name, &gate));
    let (_proxy, address, _log) = start(&[
        "balance source",
        &server("a", &origins[0], ""),
        &server("b", &origins[1], ""),
    ]);
    let seen: Vec<String> = (0..6)
        .map(|_| sent(address, "/").read_response().text())
        .collect();
    assert!(seen.iter().all(|name| *name == seen[0]), "{seen:?}");
}

#[test]
fn time_spent_on_a_server_that_failed_is_logged_as_waiting() {
    let alive = Origin::named("alive");
    let (proxy, address, log) = start(&[
        &format!("server dead {}", free_address()),
        &server("alive", &alive, ""),
        "retries 2",
        "option redispatch 2",
        "timeout connect 200ms",
        "stick-table type ip size 10",
        "stick on src",
    ]);
    proxy.command("set table app key 127.0.0.1 data.server_id 1");
    // One retry of the same server after a pause, then the other one.
    assert_eq!(sent(address, "/").read_response().text(), "alive");
    let line = log.wait_for_text("GET /");
    let times: Vec<i64> = line
        .split(" app/alive ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .map(|times| times.split('/').filter_map(|t| t.parse().ok()).collect())
        .unwrap_or_default();
    assert!(times[1] >= 190 && times[2] < 190, "{line}");
    wait_all_left(&proxy, &["dead", "alive"]);
}

/// Requests that wait for one place, each with what it says of its class and offset; in the order in which they arrive.
const PRIORITIES: [(&str, &str, &str); 9] = [
    ("/plain", "", ""),
    ("/late", "1", ""),
    ("/behind", "", "60000"),
    ("/before", "", "-60000"),
    ("/first", "-1", "60000"),
    ("/lowest", "99999", "-999999"),
    ("/highest", "-99999", "999999"),
    ("/highest-before", "-2047", "100000"),
    ("/text", "1x", "no number"),
];

/// The order in which `program` serves them, with what `prio_class` and `prio_offset` say.
fn order_of_service(program: Program) -> Vec<String> {
    let gate = Gate::new();
    let origin = holding_origin("a", &gate);
    let (address, log) = (free_address(), Syslog::start());
    let lines = [
        "http-request set-priority-class req.hdr(class)",
        "http-request set-priority-offset req.hdr(offset)",
        "http-request set-header prio %[prio_class]/%[prio_offset]",
        "http-response set-header prio %[prio_class]/%[prio_offset]",
        &server("a", &origin, "maxconn 1"),
    ];
    let proxy = Proxy::start(program, &configuration(address, log.address(), &lines));
    let mut first = sent(address, "/held");
    wait_until("the place to be taken", || {
        proxy.stat("app", "a", "scur") == 1
    });
    let mut waiting = Vec::new();
    for (target, class, offset) in PRIORITIES {
        let mut client = Client::connect(address);
        let mut text = format!("GET {target} HTTP/1.1\r\nHost: h\r\n");
        for (name, value) in [("class", class), ("offset", offset)] {
            if !value.is_empty() {
                let _ = write!(text, "{name}: {value}\r\n");
            }
        }
        client.send(format!("{text}\r\n"));
        waiting.push(client);
        wait_until("one more to wait", || {
            proxy.stat("app", "BACKEND", "qcur") == waiting.len() as u64
        });
    }
    gate.open();
    assert_eq!(first.read_response().status, 200);
    for client in &mut waiting {
        assert_eq!(client.read_response().status, 200);
    }
    origin
        .requests()
        .iter()
        .map(|request| {
            let prio = request.header("prio").unwrap_or_default();
            format!("{} {prio}", request.target())
        })
        .collect()
}

#[test]
fn priorities_decide_who_is_served_first_as_in_haproxy() {
    let ours = order_of_service(Program::Burdock);
    assert_eq!(
        ours,
        [
            "/held 0/0",
            "/highest-before -2047/100000",
            "/highest -2047/524287",
            "/first -1/60000",
            "/before 0/-60000",
            "/plain 0/0",
            "/behind 0/60000",
            "/late 1/0",
            "/text 1/0",
            "/lowest 2047/-524287",
        ]
    );
    assert_eq!(ours, order_of_service(Program::Haproxy));
}
