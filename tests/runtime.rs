//! The stats socket next to HAProxy's: the same commands to both, answer against answer.

pub mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use support::{
    Answer, Client, Origin, Program, Proxy, Recorded, Stats, Syslog, free_address, get, wait_until,
};

const CONFIGURATION: &str = "global
    stats socket {dir}/stats.sock mode 600 level admin
    stats socket {dir}/operator.sock mode 600 level operator
    stats socket {dir}/user.sock mode 600 level user
    log {log} format short daemon
    node mynode
    maxconn 100
defaults
    mode http
    log global
    option dontlog-normal
    timeout client 2s
    timeout server 2s
    timeout connect 1s
frontend fe
    bind {fe0} name foo
    default_backend be
frontend off
    disabled
    bind {fe1}
listen li
    id 77
    bind {fe2}
    option socket-stats
    server s1 127.0.0.1:9 weight 10
    server s2 127.0.0.1:9 disabled
    server s3 127.0.0.1:9 maxconn 10 maxqueue 5 id 12
    server s4 [::1]:9 maxconn 10
    server s5 /tmp/burdock-no-such-socket
    server s6 127.0.0.1
    server s7 127.0.0.1:+5
    server s8 127.0.0.1:9 backup
listen one
    mode tcp
    bind {fe3}
    balance static-rr
    server s1 {origin} weight 5
backend be
    balance leastconn
    server s1 {origin}
backend checked
    server s1 {origin} check inter 100s
    server s2 {origin} check inter 100s rise 4 fall 5 disabled
";

/// A proxy with everything around it.
struct World {
    fronts: Vec<SocketAddr>,
    origin: Origin,
    log: Syslog,
    proxy: Proxy,
}

impl World {
    fn start(program: Program) -> World {
        World::with(program, CONFIGURATION)
    }

    fn with(program: Program, configuration: &str) -> World {
        World::scripted(program, configuration, |_| Answer::ok("app", &[]))
    }

    fn scripted(
        program: Program,
        configuration: &str,
        script: impl Fn(&Recorded) -> Answer + Send + Sync + 'static,
    ) -> World {
        let log = Syslog::start();
        let origin = Origin::start(script);
        let fronts: Vec<SocketAddr> = (0..4).map(|_| free_address()).collect();
        let mut text = configuration
            .replace("{log}", &log.address().to_string())
            .replace("{origin}", &origin.address().to_string());
        for (index, front) in fronts.iter().enumerate() {
            text = text.replace(&format!("{{fe{index}}}"), &front.to_string());
        }
        World {
            proxy: Proxy::start(program, &text),
            fronts,
            origin,
            log,
        }
    }

    /// An answer without what differs between two runs: addresses, the folder.
    fn ask(&self, command: &str) -> String {
        self.without_places(&self.proxy.command(command))
    }

    fn without_places(&self, text: &str) -> String {
        let mut text = text.replace(&self.proxy.folder().path().display().to_string(), "DIR");
        text = text.replace(&self.origin.address().to_string(), "ORIGIN");
        text = text.replace(&self.origin.address().ip().to_string(), "ORIGIN-IP");
        text = text.replace(
            &format!(" {} ", self.origin.address().port()),
            " ORIGIN-PORT ",
        );
        for (index, front) in self.fronts.iter().enumerate() {
            text = text.replace(&front.to_string(), &format!("FRONT{index}"));
        }
        text
    }

    fn stats(&self, socket: &str) -> Stats {
        Stats::at(self.proxy.folder().file(socket))
    }
}

/// Both programs with the same configuration: burdock, HAProxy.
fn both() -> [World; 2] {
    [
        World::start(Program::Burdock),
        World::start(Program::Haproxy),
    ]
}

/// Gives each command to both and compares the answers.
fn compare(commands: &[&str]) {
    let [ours, theirs] = both();
    for command in commands {
        assert_eq!(ours.ask(command), theirs.ask(command), "{command}");
    }
}

/// Help texts differ, since the commands do: only whether there is one, and which, is compared.
fn without_help(text: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in text.split('\n') {
        let is_help = line.starts_with("  ") && line.contains(": ");
        match (is_help, lines.last()) {
            (true, Some(&"HELP")) => {}
            (true, _) => lines.push("HELP"),
            (false, _) => lines.push(line),
        }
    }
    lines
        .join("\n")
        .replace(
            "Unknown command, but maybe one of the following ones is a better match:",
            "Unknown command",
        )
        .replace(
            "Unknown command. Please enter one of the following commands only:",
            "Unknown command",
        )
}

#[test]
fn lines_modes_and_ends() {
    let [ours, theirs] = both();
    // What is sent, and whether the writing side is shut after it.
    let cases: &[(&str, bool)] = &[
        ("show cli level\n", true),
        ("show cli level\n", false),
        ("show cli level", true),
        ("prompt\nshow cli level\nquit\n", false),
        ("prompt\nshow cli level\n", true),
        ("prompt;show cli level;prompt\n", false),
        ("prompt\nprompt\nshow cli level\n", true),
        ("prompt\n\nquit\n", false),
        ("prompt\nhelp\nquit\n", false),
        ("prompt\nxyzzy;show cli level\nquit\n", false),
        ("show cli level; show cli level\n", false),
        ("show cli level ; ; show cli level\n", true),
        (";\n", true),
        ("\n", true),
        ("\n\nshow cli level\n", true),
        ("show cli level\nshow cli level\n", true),
        ("quit;show cli level\n", true),
        ("\tshow  cli\tlevel \r\n", true),
        ("show cli level and more\n", true),
        ("show cli level\\;show cli level\n", true),
        ("show\\ cli level\n", true),
        ("\"show cli level\"\n", true),
        ("show cli level <<\npayload\n\nshow cli level\n", true),
        ("prompt\nshow cli level <<\npayload\n\nquit\n", false),
        ("# comment\n", true),
        ("show cli level # comment\n", true),
        ("xyzzy\n", true),
        ("show\n", true),
        ("set maxconn\n", true),
        ("help xyzzy\n", true),
        ("help show cli\n", true),
        ("quit foo\n", true),
    ];
    for (bytes, shut) in cases {
        let answers = [&ours, &theirs].map(|world| {
            let mut stream = world.stats("stats.sock").connect().expect("a session");
            stream.write_all(bytes.as_bytes()).expect("sent");
            if *shut {
                stream.shutdown(Shutdown::Write).expect("shut");
            }
            let mut answer = String::new();
            stream
                .read_to_string(&mut answer)
                .expect("an answer and an end");
            without_help(&answer)
        });
        assert_eq!(answers[0], answers[1], "{bytes:?}");
    }
}

#[test]
fn commands_of_the_session() {
    compare(&[
        "show cli sockets",
        "show cli level",
        "operator; show cli level",
        "user; show cli level; operator; show env",
        "set timeout",
        "set timeout cli",
        "set timeout cli 5",
        "set timeout cli 5m",
        "set timeout cli foo",
        "set timeout foo 5",
        "set severity-output",
        "set severity-output foo",
        "set severity-output number; get weight li/foo; get weight li/s1; set weight li/s1 foo",
        "set severity-output string; get weight li/foo; get weight li/s1",
        "set severity-output none; get weight li/foo",
        "show env BURDOCK_NO_SUCH_NAME",
        "show backend",
        "show peers",
        "show peers foo",
    ]);
}

#[test]
fn levels_allow_what_they_do() {
    let [ours, theirs] = both();
    let commands = [
        "show cli level",
        "show env BURDOCK_NO_SUCH_NAME",
        "show backend",
        "get weight li/s1",
        "set weight li/s1 3",
        "set server li/s1 weight 4",
        "disable server li/s1",
        "enable server li/s1",
        "set maxconn server li/s1 3",
        "set maxconn frontend fe 10",
        "set maxconn global 10",
        "clear counters",
        "clear counters all",
        "set timeout cli 3",
        "operator",
        "user",
    ];
    for socket in ["user.sock", "operator.sock", "stats.sock"] {
        for command in commands {
            let answers = [&ours, &theirs].map(|world| world.stats(socket).command(command));
            assert_eq!(answers[0], answers[1], "{command} on {socket}");
        }
    }
}

#[test]
fn commands_that_change_servers() {
    compare(&[
        "get weight li/s1",
        "get weight li",
        "get weight li/foo",
        "get weight foo/s1",
        "get weight",
        "get weight #77/#12",
        "set weight li/s1 5",
        "set weight li/s1 50%",
        "get weight li/s1",
        "set weight li/s1 257",
        "set weight li/s1 -1",
        "set weight li/s1 foo",
        "set weight li/s1 5x",
        "set weight li/s1 -5%",
        "set weight li/s1",
        "set weight li/s1 100000%",
        "get weight li/s1",
        "set weight one/s1 3",
        "set weight one/s1 0%",
        "set weight one/s1 100%",
        "set server",
        "set server li",
        "set server li/s3 state",
        "set server li/s3 state foo",
        "set server li/s3 state maint",
        "set server li/s3 state drain",
        "set server li/s3 state ready",
        "set server li/s3 health",
        "set server li/s3 health foo",
        "set server li/s3 health down",
        "set server li/s3 health up",
        "set server li/s3 weight",
        "set server li/s3 weight 7",
        "set server li/s3 agent up",
        "set server li/s3 fqdn foo",
        "set server li/s3 ssl on",
        "set server li/s3 addr",
        "set server li/s3 addr foo",
        "set server li/s3 addr 127.0.0.2",
        "set server li/s3 addr 127.0.0.2",
        "set server li/s3 addr 127.0.0.2 port 80",
        "set server li/s3 addr 127.0.0.2 port 80",
        "set server li/s3 addr 127.0.0.3 port 81",
        "set server li/s3 addr 127.0.0.3 port foo",
        "set server li/s3 addr ::2",
        "set server li/#12 state ready",
        "set server 77/12 state ready",
        "disable server li/s3",
        "disable server li",
        "disable server",
        "disable server li/foo",
        "enable server li/s3",
        "enable server li/foo",
        "set maxconn server li/s3 11",
        "set maxconn server li/s3",
        "set maxconn server li/s3 foo",
        "set maxconn server li/s3 5x",
        "set maxconn server li/foo 3",
        "set maxconn frontend",
        "set maxconn frontend fe",
        "set maxconn frontend fe 50",
        "set maxconn frontend foo 50",
        "set maxconn global",
        "set maxconn global 50",
        "set maxconn global 500",
        "set maxconn global 0",
        "clear counters",
        "clear counters all",
        "show servers state foo",
        "show stat foo 1 1",
        "show stat domain foo",
    ]);
}

/// The words of a `show servers state` line without the time since the last change.
fn state_words(text: &str) -> Vec<Vec<String>> {
    text.lines()
        .map(|line| {
            let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            if words.len() == 25 && words[0] != "#" {
                words[9] = "AGE".to_owned();
            }
            words
        })
        .collect()
}

#[test]
fn states_of_servers() {
    let [ours, theirs] = both();
    let states = |world: &World| state_words(&world.ask("show servers state"));
    for world in [&ours, &theirs] {
        wait_until("the first check", || {
            world
                .proxy
                .command("show servers state checked")
                .contains(" 6 3 ")
        });
    }
    assert_eq!(states(&ours), states(&theirs));
    let mut different = String::new();
    for command in [
        "set server li/s1 state maint",
        "set server li/s1 state drain",
        "set server li/s1 state ready",
        "set server li/s2 state ready",
        "set server li/s2 state maint",
        "set server li/s2 state drain",
        "set server li/s3 health down",
        "set server li/s3 health stopping",
        "set server li/s3 health up",
        "set server li/s4 state drain",
        "set server li/s4 health down",
        "set server li/s4 state ready",
        "set server li/s5 weight 0",
        "disable server li/s6",
        "set server checked/s1 health down",
        "set server checked/s1 state drain",
        "set server checked/s1 state maint",
        "set server checked/s2 health up",
        "set server one/s1 state maint",
        "set server one/s1 state ready",
        "set server one/s1 state drain",
    ] {
        let answers = [&ours, &theirs].map(|world| world.ask(command));
        assert_eq!(answers[0], answers[1], "{command}");
        let shown = [&ours, &theirs].map(|world| {
            let mut rows = states(world);
            rows.extend(stat_columns(
                &world.ask("show stat"),
                &[
                    "status",
                    "weight",
                    "act",
                    "bck",
                    "check_status",
                    "check_health",
                    "chkdown",
                ],
            ));
            rows
        });
        for (ours, theirs) in shown[0].iter().zip(&shown[1]) {
            if ours != theirs {
                different.push_str(&format!(
                    "after {command}:\n  burdock {ours:?}\n  HAProxy {theirs:?}\n"
                ));
            }
        }
    }
    assert!(different.is_empty(), "states differ:\n{different}");
    let notices = [&ours, &theirs].map(|world| {
        world.log.wait_for_text("Server one/s1 enters drain state");
        wait_until("the loss of the last server", || {
            world
                .log
                .lines()
                .iter()
                .filter(|line| line.contains("proxy one has no server"))
                .count()
                >= 2
        });
        let mut lines = world.log.lines();
        lines.retain(|line| !line.contains("is ready; limits"));
        lines
    });
    assert_eq!(notices[0], notices[1]);
    // The console says the same, to whoever started the proxy in the foreground.
    let console = [&ours, &theirs].map(|world| {
        let stderr = world.proxy.stderr();
        let told = stderr.lines().filter(|line| !line.starts_with("[NOTICE]"));
        told.map(|line| {
            let (label, rest) = line.split_once('(').unwrap_or((line, ""));
            format!(
                "{label}{}",
                rest.split_once(')').map_or(rest, |(_, text)| text)
            )
        })
        .collect::<Vec<_>>()
    });
    assert_eq!(console[0], console[1]);
}

/// These columns of all rows of `show stat`, each row led by its names.
fn stat_columns(csv: &str, columns: &[&str]) -> Vec<Vec<String>> {
    let mut lines = csv.lines();
    let header: Vec<&str> = lines
        .next()
        .expect("a header")
        .trim_start_matches("# ")
        .split(',')
        .collect();
    let places: Vec<usize> = ["pxname", "svname"]
        .iter()
        .chain(columns)
        .map(|column| {
            header
                .iter()
                .position(|name| name == column)
                .unwrap_or_else(|| panic!("no column {column}"))
        })
        .collect();
    let rows = lines
        .filter(|line| !line.is_empty())
        .map(|line| line.split(',').collect::<Vec<_>>());
    rows.map(|row| places.iter().map(|place| row[*place].to_owned()).collect())
        .collect()
}

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

#[test]
fn a_server_in_maintenance_gets_nothing_and_comes_back() {
    let world = World::start(Program::Burdock);
    assert_eq!(get(world.fronts[0], "/", &[]).status, 200);
    for command in ["set server be/s1 state maint", "disable server be/s1"] {
        world.ask(command);
        assert_eq!(get(world.fronts[0], "/", &[]).status, 503);
    }
    world.ask("enable server be/s1");
    assert_eq!(get(world.fronts[0], "/", &[]).status, 200);
    world.ask("set server be/s1 addr 127.0.0.1 port 9");
    assert_eq!(get(world.fronts[0], "/", &[]).status, 503);
}

/// A client that asks for much and reads nothing, and clients beyond the limit: nobody else notices.
#[test]
fn slow_readers_and_crowds_disturb_nobody() {
    let world = World::start(Program::Burdock);
    let mut slow = world.stats("stats.sock").connect().expect("a session");
    let line = format!("{}\n", vec!["show stat"; 1500].join(";"));
    assert!(line.len() < 16_384, "one line");
    slow.write_all(line.as_bytes()).expect("sent");
    let rss_kb = || -> u64 {
        let pids = world.proxy.processes();
        let status =
            |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let kilobytes = |text: String| {
            text.lines().find_map(|line| {
                line.strip_prefix("VmRSS:")?
                    .trim()
                    .split(' ')
                    .next()?
                    .parse::<u64>()
                    .ok()
            })
        };
        pids.iter().map(status).filter_map(kilobytes).sum()
    };
    let before_kb = rss_kb();
    for _ in 0..20 {
        let start = Instant::now();
        assert_eq!(get(world.fronts[0], "/", &[]).status, 200);
        assert!(world.ask("show cli level").starts_with("admin"));
        assert!(start.elapsed() < Duration::from_secs(1));
    }
    assert!(
        rss_kb() < before_kb + 4096,
        "the answer waits where it is made, not in memory"
    );

    // Nine more sessions fill the ten places; the eleventh waits until one of them ends.
    let crowd: Vec<_> = (0..9)
        .map(|_| world.stats("stats.sock").connect().expect("a connection"))
        .collect();
    let mut late = world.stats("stats.sock").connect().expect("a connection");
    late.write_all(b"show cli level\n").expect("sent");
    late.set_read_timeout(Some(Duration::from_millis(200)))
        .expect("a timeout");
    let mut byte = [0];
    assert!(late.read(&mut byte).is_err(), "all places are taken");
    drop(crowd);
    late.set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a timeout");
    let mut answer = String::new();
    late.read_to_string(&mut answer).expect("an answer");
    assert_eq!(answer, "admin\n\n");

    let mut all = String::new();
    slow.read_to_string(&mut all).expect("the whole answer");
    assert_eq!(all.matches("# pxname,svname").count(), 1500);
}

#[test]
fn silent_clients_and_endless_lines_are_dropped() {
    let configuration = CONFIGURATION.replace("node mynode", "stats timeout 300ms");
    let world = World::with(Program::Burdock, &configuration);
    let mut silent = world.stats("stats.sock").connect().expect("a session");
    let mut waiting = world.stats("stats.sock").connect().expect("a session");
    waiting
        .write_all(b"prompt; set timeout cli 1h\n")
        .expect("sent");
    let mut endless = world.stats("stats.sock").connect().expect("a session");
    let mut answer = Vec::new();
    silent.read_to_end(&mut answer).expect("an end");
    assert!(answer.is_empty());
    // The end may come while we still write, or as a reset.
    let _ = endless.write_all(&[b'x'; 40_000]);
    let _ = endless.read_to_end(&mut answer);
    assert!(answer.is_empty());
    waiting
        .write_all(b"show cli level\nquit\n")
        .expect("its timeout is longer");
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).expect("an answer");
    assert_eq!(answer, "\n> \n> admin\n\n> ");
}
