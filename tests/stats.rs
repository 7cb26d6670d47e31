//! `show stat` and `show info` next to HAProxy's: the same columns, fields, selections and counts.

pub mod support;

use support::world::{World, both, stat_columns};
use support::{Answer, Client, Program, get, wait_until};

/// Columns whose values depend on time, chance or what HAProxy does inside; that they are filled is compared.
const MOVING_COLUMNS: &[&str] = &[
    "smax",
    "lastchg",
    "downtime",
    "rate",
    "rate_max",
    "req_rate",
    "req_rate_max",
    "conn_rate",
    "conn_rate_max",
    "lastsess",
    "qtime",
    "ctime",
    "rtime",
    "ttime",
    "qtime_max",
    "ctime_max",
    "rtime_max",
    "ttime_max",
    "check_duration",
    "connect",
    "reuse",
    "srv_icur",
    "idle_conn_cur",
    "safe_conn_cur",
    "used_conn_cur",
    "scur",
    "bin",
    "bout",
    "slim",
    "uweight",
];

/// Columns of HAProxy's that are empty here: what they count does not exist here, or is not told apart.
const LEFT_OUT_COLUMNS: &[&str] = &["need_conn_est", "-"];

#[test]
fn statistics_have_the_same_columns_and_numbers() {
    let [ours, theirs] = both();
    for world in [&ours, &theirs] {
        wait_until("the first check", || {
            world
                .proxy
                .command("show servers state checked")
                .contains(" 6 3 ")
        });
        for _ in 0..3 {
            assert_eq!(get(world.fronts[0], "/", &[]).status, 200);
        }
        wait_until("connections to be gone", || {
            world.proxy.command("show info").contains("CurrConns: 0\n")
        });
    }
    let [our_csv, their_csv] = [&ours, &theirs].map(|world| world.ask("show stat"));
    let header = our_csv.lines().next().expect("a header").to_owned();
    assert_eq!(Some(header.as_str()), their_csv.lines().next());
    let columns: Vec<&str> = header
        .trim_start_matches("# ")
        .split(',')
        .filter(|name| !name.is_empty())
        .collect();
    let shown: Vec<&str> = columns
        .into_iter()
        .filter(|name| !LEFT_OUT_COLUMNS.contains(name) && !name.starts_with("h1_"))
        .collect();
    let [our_rows, their_rows] = [our_csv, their_csv].map(|csv| stat_columns(&csv, &shown));
    for (ours, theirs) in our_rows.iter().zip(&their_rows) {
        for ((name, ours), theirs) in ["pxname", "svname"]
            .iter()
            .chain(&shown)
            .zip(ours)
            .zip(theirs)
        {
            if MOVING_COLUMNS.contains(name) {
                assert_eq!(
                    ours.is_empty(),
                    theirs.is_empty(),
                    "{name} of {}/{}: {ours} {theirs}",
                    our_rows[0][0],
                    our_rows[0][1]
                );
            }
        }
    }
    let still = |rows: &[Vec<String>]| -> Vec<Vec<String>> {
        let keep = |(name, value): (&&str, &String)| {
            (!MOVING_COLUMNS.contains(name)).then(|| format!("{name}={value}"))
        };
        let names: Vec<&str> = ["pxname", "svname"]
            .into_iter()
            .chain(shown.iter().copied())
            .collect();
        rows.iter()
            .map(|row| names.iter().zip(row).filter_map(keep).collect())
            .collect()
    };
    for (ours, theirs) in still(&our_rows).iter().zip(&still(&their_rows)) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(our_rows.len(), their_rows.len());
}

const FAILURES: &str = "global
    stats socket {dir}/stats.sock level admin
    maxconn 100
defaults
    mode http
    timeout client 2s
    timeout server 400ms
    timeout connect 1s
    timeout http-request 300ms
    retries 0
frontend www
    bind {fe0}
    default_backend app
frontend dead
    bind {fe1}
    default_backend dead
frontend off
    bind {fe2}
    default_backend off
listen tcp
    mode tcp
    bind {fe3}
    server s1 {origin}
backend app
    server s1 {origin}
backend dead
    server d1 127.0.0.1:9
backend off
    server o1 {origin} disabled
";

/// Requests that fail in all ways are counted where HAProxy counts them.
#[test]
fn failures_are_counted_alike() {
    let columns = [
        "stot",
        "dreq",
        "dresp",
        "ereq",
        "econ",
        "eresp",
        "wretr",
        "wredis",
        "lbtot",
        "hrsp_1xx",
        "hrsp_2xx",
        "hrsp_3xx",
        "hrsp_4xx",
        "hrsp_5xx",
        "hrsp_other",
        "req_tot",
        "cli_abrt",
        "srv_abrt",
        "conn_tot",
        "intercepted",
        "eint",
        "bin",
        "bout",
        "connect",
        "reuse",
        "bin",
        "bout",
        "connect",
        "reuse",
    ];
    let asked = [
        (0, "GET /ok HTTP/1.1\r\nHost: h\r\n\r\n"),
        (0, "GET /404 HTTP/1.1\r\nHost: h\r\n\r\n"),
        (0, "GET /302 HTTP/1.1\r\nHost: h\r\n\r\n"),
        (0, "GET /500 HTTP/1.1\r\nHost: h\r\n\r\n"),
        (0, "GET \x01 HTTP/1.1\r\n\r\n"),
        (0, "GET /half"),
        (0, "GET /close HTTP/1.1\r\nHost: h\r\n\r\n"),
        (0, "GET /garbage HTTP/1.1\r\nHost: h\r\n\r\n"),
        (0, "GET /never HTTP/1.1\r\nHost: h\r\n\r\n"),
        (0, "GET /truncated HTTP/1.1\r\nHost: h\r\n\r\n"),
        (1, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
        (2, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
        (3, "GET /close-after HTTP/1.1\r\nHost: h\r\n\r\n"),
    ];
    let rows = [Program::Burdock, Program::Haproxy].map(|program| {
        let world = World::scripted(program, FAILURES, |request| match request.target() {
            "/404" => Answer::raw("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"),
            "/302" => Answer::raw("HTTP/1.1 302 Off\r\nContent-Length: 0\r\n\r\n"),
            "/500" => Answer::raw("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"),
            "/close" => Answer::silence().close(),
            "/garbage" => Answer::raw("nonsense\r\n\r\n").close(),
            "/never" => Answer::silence(),
            "/truncated" => {
                Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc").close()
            }
            "/close-after" => Answer::ok("ok", &[]).close(),
            _ => Answer::ok("ok", &[]),
        });
        for (front, bytes) in asked {
            let mut client = Client::connect(world.fronts[front]);
            client.send(bytes);
            let _ = client.try_read_response();
            drop(client);
            wait_until("the connection to be gone", || {
                world.proxy.command("show info").contains("CurrConns: 0\n")
            });
        }
        stat_columns(&world.ask("show stat"), &columns)
    });
    // HAProxy counts bytes of HTTP messages in a form of its own, here they are those on the wire; and which idle connection
    // is used again depends on its threads.
    let mut different = String::new();
    for (ours, theirs) in rows[0].iter().zip(&rows[1]) {
        for (index, (ours_value, theirs_value)) in ours.iter().zip(theirs).enumerate() {
            let name = columns.get(index.wrapping_sub(2)).unwrap_or(&"name");
            let is_http = ours[0] != "tcp";
            if is_http && ["bin", "bout", "connect", "reuse"].contains(name) {
                continue;
            }
            if ours_value != theirs_value {
                different.push_str(&format!(
                    "{}/{} {name}: burdock {ours_value}, HAProxy {theirs_value}\n",
                    ours[0], ours[1]
                ));
            }
        }
    }
    assert!(different.is_empty(), "counters differ:\n{different}");
}

#[test]
fn statistics_are_selected_alike() {
    let [ours, theirs] = both();
    for command in [
        "show stat fe 1 -1",
        "show stat -1 4 -1",
        "show stat 77 7 -1",
        "show stat li 15 12",
        "show stat li 8 -1",
        "show stat -1 8 -1",
        "show stat li foo bar",
        "show stat 999 15 -1",
        "show stat foo",
        "show stat up",
        "show stat no-maint",
        "show stat domain proxy",
        "show stat li 7 -1 up",
    ] {
        let names = [&ours, &theirs].map(|world| stat_columns(&world.ask(command), &["status"]));
        assert_eq!(names[0], names[1], "{command}");
    }
    // Users do not see where servers are.
    let hidden = [&ours, &theirs].map(|world| {
        stat_columns(
            &world.stats("user.sock").command("show stat"),
            &["addr", "algo", "cookie"],
        )
    });
    assert_eq!(hidden[0], hidden[1]);
}

/// The part of typed lines that does not change: everything before the value, without the modules' columns.
fn typed_keys(text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| !line.contains(".h1_") && !line.contains("need_conn_est"))
        .map(|line| line.splitn(4, ':').take(3).collect::<Vec<_>>().join(":"))
        .collect()
}

#[test]
fn typed_and_json_forms() {
    let [ours, theirs] = both();
    for command in [
        "show stat typed",
        "show info typed",
        "show stat li 4 12 typed",
    ] {
        let keys = [&ours, &theirs].map(|world| typed_keys(&world.ask(command)));
        assert_eq!(keys[0], keys[1], "{command}");
    }
    let [our_json, their_json] = [&ours, &theirs].map(|world| world.ask("show stat be 2 -1 json"));
    let upto = |json: &str| json.split("\"value\":{").next().unwrap_or("").to_owned();
    assert_eq!(upto(&our_json), upto(&their_json));
    assert_eq!(our_json.matches('[').count(), our_json.matches(']').count());
    assert!(our_json.ends_with("}}]]\n\n") && their_json.ends_with("}}]]\n\n"));
    let [our_json, their_json] = [&ours, &theirs].map(|world| world.ask("show info json"));
    assert_eq!(
        our_json.matches("\"field\"").count(),
        their_json.matches("\"field\"").count()
    );
    assert!(our_json.ends_with("}}]\n\n") && their_json.ends_with("}}]\n\n"));
}

#[test]
fn information_has_the_same_fields() {
    let [ours, theirs] = both();
    let names = |text: &str| -> Vec<String> {
        text.lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, _)| name.to_owned())
            .collect()
    };
    let texts = [&ours, &theirs].map(|world| world.ask("show info"));
    assert_eq!(names(&texts[0]), names(&texts[1]));
    let value = |text: &str, name: &str| {
        let prefix = format!("{name}: ");
        text.lines()
            .find_map(|line| line.strip_prefix(&prefix))
            .map(str::to_owned)
    };
    for name in [
        "Nbproc",
        "Process_num",
        "Maxconn",
        "Hard_maxconn",
        "CurrConns",
        "node",
        "Stopping",
        "Listeners",
        "DroppedLogs",
    ] {
        assert_eq!(value(&texts[0], name), value(&texts[1], name), "{name}");
    }
    assert!(value(&texts[0], "Uptime").is_some_and(|uptime| uptime.starts_with("0d 0h00m0")));
    assert!(value(&texts[0], "Name").is_some_and(|name| name == "burdock"));
}

#[test]
fn counters_are_cleared() {
    let world = World::start(Program::Burdock);
    assert_eq!(get(world.fronts[0], "/", &[]).status, 200);
    let totals = || {
        stat_columns(
            &world.ask("show stat fe 1 -1"),
            &["stot", "req_tot", "rate_max"],
        )
    };
    wait_until("the request to be counted", || {
        totals()[0][2..] == ["1", "1", "1"]
    });
    world.ask("clear counters");
    assert_eq!(totals()[0][2..], ["1", "1", "0"]);
    world.ask("clear counters all");
    assert_eq!(totals()[0][2..], ["0", "0", "0"]);
}
