//! Tracked counters over what happens to processes: a reload, a draining worker.

pub mod support;

use std::time::Duration;

use support::process::signal;
use support::{Answer, Client, Launcher, Origin, Program, Stats, eventually, free_address};

const SOON: Duration = Duration::from_secs(10);

fn worker(stats: &Stats) -> Option<u32> {
    let info = stats.try_command("show info")?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid: "))?;
    pid.parse().ok()
}

/// The numbers of the one entry, by name: `conn_cur`, `use`, ….
fn numbers(stats: &Stats) -> impl Fn(&str) -> u64 + use<> {
    let text = stats.try_command("show table t").unwrap_or_default();
    move |name| {
        let mut words = text.split_whitespace();
        let found = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        found.and_then(|number| number.parse().ok()).unwrap_or(0)
    }
}

#[test]
fn a_reload_loses_no_count() {
    let origin = Origin::start(|request| match request.target() {
        "/slow" => Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
            .pause(Duration::from_millis(1500))
            .then("67890"),
        _ => Answer::ok("hello", &[]),
    });
    let launcher = Launcher::new(Program::Burdock);
    let address = free_address();
    launcher.configure(&format!(
        "global\n stats socket {{dir}}/stats.sock level admin\n\
         defaults\n mode http\n timeout client 10s\n timeout server 10s\n timeout connect 5s\n\
         frontend f\n bind {address}\n tcp-request connection track-sc0 src table t\n default_backend b\n\
         backend b\n server s {}\n\
         backend t\n stick-table type ip size 10 expire 5m store conn_cnt,conn_cur,sess_cnt,http_req_cnt,bytes_out_cnt\n",
        origin.address()
    ));
    let finished = launcher.run("-D -p {dir}/pid -f {dir}/proxy.cfg");
    assert_eq!(finished.code(), 0, "{}", finished.stderr);
    let master = launcher.pid_in("pid");
    let stats = Stats::at(launcher.folder.file("stats.sock"));

    let mut resting = Client::connect(address);
    let ask = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(resting.ask(ask).text(), "hello");
    let mut busy = Client::connect(address);
    busy.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
    busy.read_head_only();
    let first = numbers(&stats);
    assert_eq!(
        (first("use"), first("conn_cur"), first("conn_cnt")),
        (2, 2, 2)
    );
    let bytes_before = first("bytes_out_cnt");

    let old = eventually("the worker", SOON, || worker(&stats));
    signal(master, "USR2");
    eventually("the new worker", SOON, || {
        worker(&stats).filter(|pid| *pid != old)
    });
    eventually(
        "the resting connection to count in the new worker",
        SOON,
        || {
            let now = numbers(&stats);
            (now("use") == 1 && now("conn_cur") == 1).then_some(())
        },
    );
    assert_eq!(resting.ask(ask).text(), "hello");
    assert_eq!(
        busy.read_bytes(10).expect("the rest of the body"),
        b"1234567890"
    );
    eventually(
        "the late count, and the connection that moved after it",
        SOON,
        || {
            let now = numbers(&stats);
            let is_counted = now("bytes_out_cnt") > bytes_before + 10;
            (is_counted && now("conn_cur") == 2).then_some(())
        },
    );
    let now = numbers(&stats);
    assert_eq!(
        (now("conn_cnt"), now("sess_cnt"), now("http_req_cnt")),
        (2, 2, 3)
    );
    drop((resting, busy));
    eventually("both connections to end", SOON, || {
        let now = numbers(&stats);
        (now("use") == 0 && now("conn_cur") == 0).then_some(())
    });
    signal(master, "TERM");
    launcher.wait_gone(SOON);
}
