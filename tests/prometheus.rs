//! The metrics of `use-service prometheus-exporter` beside those of the packaged HAProxy: the same configuration, the same requests, the
//! same states, and then every line of both; and what burdock does with many servers and slow readers.
//!
//! What requests get metrics, and what logs and counters say of it, is in `tests/data/rules/exporter.txt`.

pub mod support;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use support::world::World;
use support::{Client, Program, Proxy, free_address, wait_until};

/// Objects of all kinds. `{dead}` refuses connections.
const CONFIGURATION: &str = "global
    stats socket {dir}/stats.sock mode 600 level admin
    node mynode
    maxconn 100
peers mates
    table pt type ip size 10 store gpc0
    peer {local} {peer}
defaults
    mode http
    timeout client 5s
    timeout server 5s
    timeout connect 1s
    retries 0
frontend metrics
    bind {fe0}
    http-request use-service prometheus-exporter
frontend fe
    bind {fe1} name foo maxconn 7
    maxconn 20
    option socket-stats
    http-request deny if { path /deny }
    http-request return status 204 if { path /return }
    stick-table type string len 12 size 1k
    http-request track-sc0 path
    use_backend dead if { path /dead }
    default_backend app
frontend off
    disabled
    bind 127.0.0.1:1
listen both
    mode tcp
    bind {fe2}
    bind {fe3}
    option socket-stats
    server b1 {origin} maxconn 10 maxqueue 3 backup weight 5 pool-max-conn 4
    server b2 {origin} disabled
backend app
    stick-table type ip size 100 expire 1m store http_req_cnt
    stick on src
    fullconn 33
    server s1 {origin}
backend checked
    option httpchk GET /health
    default-server check inter 200ms fall 1 rise 1
    server up {origin}
    server failing {origin} no-check weight 7
    server down {dead}
    server disabled {dead} disabled
    server drained {origin}
    server stopped {origin}
    server drained-and-down {dead}
backend tcp-checked
    mode tcp
    server up {origin} check inter 200ms fall 1 rise 1
    server down {dead} check inter 200ms fall 1 rise 1
backend dead
    server d1 {dead}
    server d2 {dead} backup
backend off-too
    disabled
    server x {dead}
backend empty
    mode tcp
    stick-table type integer size 5
backend empty-http
    stick-table type binary len 5 size 5
";

fn start(program: Program) -> World {
    let configuration = CONFIGURATION
        .replace("{dead}", &free_address().to_string())
        .replace("{local}", &local_peer())
        .replace("{peer}", &free_address().to_string());
    World::with(program, &configuration)
}

/// The local peer is this machine.
fn local_peer() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.expect("the machine's name").trim().to_owned()
}

fn scrape(front: SocketAddr, query: &str) -> String {
    let response = support::get(front, &format!("/metrics{query}"), &[]);
    assert_eq!(response.status, 200, "{query}");
    assert_eq!(
        response.header("content-type"),
        Some("text/plain; version=0.0.4")
    );
    response.text()
}

/// Lets things happen to a proxy that metrics tell of.
fn live(world: &World) {
    let is_settled = |expected: &[(&str, &str)]| {
        let stat = world.proxy.command("show stat");
        let rows: Vec<Vec<&str>> = stat.lines().map(|line| line.split(',').collect()).collect();
        let is = |name: &str, word: &str| {
            let mut of = rows
                .iter()
                .filter(|row| row.len() > 36 && row[0].ends_with("checked") && row[1] == name);
            of.all(|row| row[17].starts_with(word) && !row[36].ends_with("INI"))
        };
        let mut open = rows
            .iter()
            .filter(|row| row.len() > 4 && row[1] == "FRONTEND");
        open.all(|row| row[4] == "0") && expected.iter().all(|(name, word)| is(name, word))
    };
    let checked = [
        ("up", "UP"),
        ("down", "DOWN"),
        ("drained", "UP"),
        ("stopped", "UP"),
        ("drained-and-down", "DOWN"),
    ];
    wait_until("every server to be checked", || is_settled(&checked));
    for command in [
        "set server checked/drained state drain",
        "set server checked/drained-and-down state drain",
        "set server checked/stopped state maint",
    ] {
        world.ask(command);
    }
    // One connection: how many there are at once is compared, too.
    let mut client = Client::connect(world.fronts[1]);
    for path in ["/a", "/b", "/a", "/deny", "/return", "/dead", "/c"] {
        client.ask(&format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
    }
    drop(client);
    support::get(world.fronts[2], "/", &[]);
    wait_until("all to be quiet", || is_settled(&[]));
}

/// Metrics whose numbers are a matter of time or of the program: that there is a number is all that is compared.
fn is_volatile(name: &str) -> bool {
    const PROCESS: [&str; 25] = [
        "nbthread",
        "uptime_seconds",
        "max_fds",
        "max_sockets",
        "max_connections",
        "hard_max_connections",
        "connections_total",
        "requests_total",
        "current_connection_rate",
        "max_connection_rate",
        "current_session_rate",
        "max_session_rate",
        "max_pipes",
        "pipes_used_total",
        "pipes_free_total",
        "current_tasks",
        "current_run_queue",
        "idle_time_percent",
        "jobs",
        "listeners",
        "bytes_out_total",
        "bytes_out_rate",
        "pool_allocated_bytes",
        "pool_used_bytes",
        "start_time_seconds",
    ];
    if let Some(name) = name.strip_prefix("haproxy_process_") {
        return PROCESS.contains(&name);
    }
    const ENDS: [&str; 8] = [
        "_bytes_in_total",
        "_bytes_out_total",
        "_rate_max",
        "_max_session_rate",
        // burdock keeps connections to servers longer, and does not estimate how many it needs.
        "idle_connections_current",
        "need_connections_current",
        "_seconds",
        "_seconds_total",
    ];
    ENDS.iter().any(|end| name.ends_with(end))
}

/// A line without what no two runs share.
fn masked(line: &str) -> String {
    if line.starts_with('#') {
        return line.to_owned();
    }
    let (object, value) = line.rsplit_once(' ').expect("an object and its value");
    let (name, labels) = object.split_once('{').unwrap_or((object, ""));
    match value.parse::<f64>() {
        _ if name == "haproxy_process_build_info" => format!("{name} {value}"),
        // Not `-1` and not `NaN`, which mean something else.
        Ok(number) if number >= 0.0 && is_volatile(name) => {
            let digits = value.split_once('.').map_or(0, |(_, behind)| behind.len());
            format!("{name}{{{labels} N.{digits}")
        }
        _ => line.to_owned(),
    }
}

fn masked_lines(text: &str) -> Vec<String> {
    text.lines().map(masked).collect()
}

/// Waits for the end of the scrape before: the most sessions at a time are among what is compared.
fn wait_unused(world: &World) {
    wait_until("the end of the scrape", || {
        let stat = world.proxy.command("show stat");
        let row = stat
            .lines()
            .find(|row| row.starts_with("metrics,FRONTEND,"));
        row.is_some_and(|row| row.split(',').nth(4) == Some("0"))
    });
}

/// What two lists of lines do not share, in words.
fn difference(ours: &[String], theirs: &[String]) -> String {
    let mut text = String::new();
    let sets = [ours, theirs].map(|lines| lines.iter().collect::<BTreeSet<_>>());
    for line in sets[0].difference(&sets[1]) {
        let _ = writeln!(text, "burdock {line}");
    }
    for line in sets[1].difference(&sets[0]) {
        let _ = writeln!(text, "HAProxy {line}");
    }
    if text.is_empty() {
        text.push_str("the order of the lines");
    }
    text
}

#[test]
fn every_line_is_that_of_haproxy() {
    let worlds = [start(Program::Burdock), start(Program::Haproxy)];
    worlds.iter().for_each(live);
    for query in [
        "",
        "?no-maint",
        "?scope=global",
        "?scope=frontend",
        "?scope=listener",
        "?scope=backend",
        "?scope=server",
        "?scope=server&no-maint",
        "?scope=sticktable",
        "?scope=sticktable&scope=listener",
        "?scope=*&scope=global",
        "?scope=",
        "?extra-counters&metrics=x&desc-labels",
    ] {
        // While a check is under way, HAProxy shows another code of it: the lines agree between two checks.
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            worlds.iter().for_each(wait_unused);
            let [ours, theirs] = worlds
                .each_ref()
                .map(|world| masked_lines(&scrape(world.fronts[0], query)));
            assert_eq!(ours.is_empty(), query == "?scope=", "{query}");
            if ours == theirs {
                break;
            }
            let is_late = Instant::now() > deadline;
            assert!(!is_late, "{query}:\n{}", difference(&ours, &theirs));
        }
    }
}

#[test]
fn numbers_are_those_of_the_statistics() {
    let world = start(Program::Burdock);
    live(&world);
    let text = scrape(world.fronts[0], "");
    let value = |object: &str| {
        let mut lines = text.lines().filter_map(|line| line.rsplit_once(' '));
        let found = lines.find(|(name, _)| *name == object);
        found.unwrap_or_else(|| panic!("no {object}")).1.to_owned()
    };
    for (object, expected) in [
        ("haproxy_frontend_http_requests_total{proxy=\"fe\"}", "7"),
        ("haproxy_frontend_requests_denied_total{proxy=\"fe\"}", "1"),
        (
            "haproxy_frontend_http_responses_total{proxy=\"fe\",code=\"2xx\"}",
            "5",
        ),
        (
            "haproxy_frontend_http_responses_total{proxy=\"fe\",code=\"5xx\"}",
            "1",
        ),
        (
            "haproxy_listener_sessions_total{proxy=\"fe\",listener=\"foo\"}",
            "1",
        ),
        (
            "haproxy_listener_limit_sessions{proxy=\"fe\",listener=\"foo\"}",
            "7",
        ),
        ("haproxy_backend_limit_sessions{proxy=\"app\"}", "33"),
        (
            "haproxy_backend_connection_errors_total{proxy=\"dead\"}",
            "1",
        ),
        (
            "haproxy_backend_agg_server_status{proxy=\"checked\",state=\"MAINT\"}",
            "2",
        ),
        (
            "haproxy_backend_agg_server_status{proxy=\"checked\",state=\"DRAIN\"}",
            "1",
        ),
        (
            "haproxy_server_status{proxy=\"checked\",server=\"up\",state=\"UP\"}",
            "1",
        ),
        (
            "haproxy_server_status{proxy=\"checked\",server=\"down\",state=\"DOWN\"}",
            "1",
        ),
        (
            "haproxy_server_status{proxy=\"checked\",server=\"down\",state=\"UP\"}",
            "0",
        ),
        (
            "haproxy_server_check_status{proxy=\"checked\",server=\"up\",state=\"L7OK\"}",
            "1",
        ),
        (
            "haproxy_server_check_code{proxy=\"checked\",server=\"up\"}",
            "200",
        ),
        (
            "haproxy_server_check_failures_total{proxy=\"checked\",server=\"failing\"}",
            "NaN",
        ),
        (
            "haproxy_server_limit_sessions{proxy=\"both\",server=\"b1\"}",
            "10",
        ),
        (
            "haproxy_sticktable_size{name=\"fe\",type=\"string\"}",
            "1024",
        ),
        ("haproxy_sticktable_used{name=\"app\",type=\"ip\"}", "1"),
        ("haproxy_process_connected_peers", "0"),
    ] {
        assert_eq!(value(object), expected, "{object}");
    }
    let pid = world.proxy.command("show info");
    assert!(pid.contains("Maxconn: 100"), "{pid}");
    assert_eq!(value("haproxy_process_max_connections"), "100");
    assert_ne!(value("haproxy_process_listeners"), "0");
    assert_ne!(value("haproxy_process_max_fds"), "0");
}

/// A configuration with that many servers, every other one in maintenance.
fn crowded(front: SocketAddr, servers: usize) -> String {
    let mut text = format!(
        "global\n stats socket {{dir}}/stats.sock level admin\n maxconn 50\n\
         defaults\n mode http\n timeout client 30s\n timeout server 5s\n timeout connect 1s\n\
         frontend f\n bind {front} name \"a \\\"quoted\\\\name\"\n option socket-stats\n\
         \x20http-request return status 200 content-type text/plain string \"quick\" if {{ path /quick }}\n\
         \x20http-request use-service prometheus-exporter\nbackend b\n"
    );
    for number in 0..servers {
        let state = if number % 2 == 1 { " disabled" } else { "" };
        let _ = writeln!(text, " server s{number} 127.0.0.1:9{state}");
    }
    text
}

#[test]
fn many_servers_are_told_in_pieces_and_others_go_on() {
    const SERVERS: usize = 1500;
    let front = free_address();
    let proxy = Proxy::start(Program::Burdock, &crowded(front, SERVERS));
    let resident = |what: &str| {
        let status = support::launch::status_field(worker_of(&proxy), what);
        let kb = status.and_then(|text| text.split(' ').next().map(str::to_owned));
        kb.and_then(|kb| kb.parse::<u64>().ok()).expect("kilobytes")
    };
    let before_kb = resident("VmRSS");
    // Eight readers that do not read yet, and one that does not wait for them.
    let mut slow: Vec<Client> = (0..8)
        .map(|_| {
            let mut client = Client::connect(front);
            client.send("GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n");
            client
        })
        .collect();
    assert_eq!(support::get(front, "/quick", &[]).text(), "quick");
    let during_kb = resident("VmRSS");
    for client in &mut slow {
        let text = client.read_response().text();
        let weights = text
            .lines()
            .filter(|line| line.starts_with("haproxy_server_weight{"));
        assert_eq!(weights.count(), SERVERS);
        assert!(
            text.ends_with(&format!("server=\"s{}\"}} 1\n", SERVERS - 1)),
            "cut off"
        );
        assert_eq!(
            text.lines().count(),
            text.lines().collect::<BTreeSet<_>>().len()
        );
    }
    // The text of one scrape is five megabytes; a buffer is sixteen kilobytes.
    assert!(
        during_kb < before_kb + 16 * 1024,
        "{before_kb} kB and then {during_kb} kB"
    );
    let text = support::get(front, "/?scope=server&no-maint", &[]).text();
    let weights = text
        .lines()
        .filter(|line| line.starts_with("haproxy_server_weight{"));
    assert_eq!(weights.count(), SERVERS / 2);
}

fn worker_of(proxy: &Proxy) -> u32 {
    let processes = proxy.processes();
    *processes.iter().max().expect("a worker")
}

#[test]
fn names_are_written_so_that_they_can_be_read() {
    let front = free_address();
    let _proxy = Proxy::start(Program::Burdock, &crowded(front, 1));
    let text = scrape(front, "?scope=listener");
    let expected =
        "haproxy_listener_status{proxy=\"f\",listener=\"a \\\"quoted\\\\name\",state=\"OPEN\"} 1";
    assert!(text.lines().any(|line| line == expected), "{text}");
}

/// HAProxy sends chunks to whoever asks with HTTP/1.0, who cannot read them, and keeps the connection of a request whose body has not come.
#[test]
fn old_clients_and_half_requests_get_what_they_can_read() {
    let front = free_address();
    let _proxy = Proxy::start(Program::Burdock, &crowded(front, 100));
    let whole = scrape(front, "?scope=sticktable&scope=server");
    let mut client = Client::connect(front);
    client.send("GET /?scope=server&scope=sticktable HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let answer = client.read_to_end().expect("an answer to its end");
    let answer = String::from_utf8(answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(
        !head.to_ascii_lowercase().contains("transfer-encoding"),
        "{head}"
    );
    assert!(head.ends_with("connection: close"), "{head}");
    assert_eq!(body.lines().count(), whole.lines().count());
    let mut client = Client::connect(front);
    client.send("POST /?scope=server HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc");
    let response = client.read_response();
    assert_eq!(response.header("connection"), Some("close"));
    assert_eq!(response.text().lines().count(), whole.lines().count());
}

/// A client that goes in the middle of a scrape, or reads nothing for too long, leaves nothing behind.
#[test]
fn a_client_that_goes_takes_its_scrape_with_it() {
    let front = free_address();
    let configuration = crowded(front, 3000).replace("timeout client 30s", "timeout client 300ms");
    let proxy = Proxy::start(Program::Burdock, &configuration);
    let mut gone = Client::connect(front);
    gone.send("GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n");
    gone.read_bytes(1000).expect("the beginning");
    drop(gone);
    let mut asleep = Client::connect(front);
    asleep.send("GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_until("both to be gone", || {
        proxy.stat("f", "FRONTEND", "scur") == 0
    });
    assert_eq!(proxy.stat("f", "FRONTEND", "intercepted"), 2);
    drop(asleep);
    let mut client = Client::connect(front);
    client
        .stream()
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a limit");
    assert!(
        client
            .ask("GET /?scope=global HTTP/1.1\r\nHost: h\r\n\r\n")
            .status
            == 200
    );
}
