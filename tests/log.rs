//! Log lines next to those of HAProxy: the same configuration and the same traffic through both, line against line.

pub mod support;

use std::net::SocketAddr;
use std::time::Duration;

use support::{Answer, Client, Origin, Program, Proxy, Recorded, Syslog, free_address, wait_until};

/// A proxy under test with everything around it.
struct World {
    /// `{fe0}` to `{fe3}` of the configuration.
    fronts: Vec<SocketAddr>,
    log: Syslog,
    proxy: Proxy,
    _origin: Origin,
}

/// What the origin answers, by target.
fn script(request: &Recorded) -> Answer {
    match request.target() {
        "/slow" => Answer::silence()
            .pause(Duration::from_millis(200))
            .then("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        "/late" => Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")
            .pause(Duration::from_millis(200))
            .then("abc"),
        "/never" => Answer::silence(),
        "/close" => Answer::silence().close(),
        "/garbage" => Answer::raw("nonsense\r\n\r\n").close(),
        "/truncated" => Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc").close(),
        "/stalled" => Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"),
        "/chunked" => Answer::raw(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ),
        "/until-close" => Answer::raw("HTTP/1.0 200 OK\r\n\r\nabc").close(),
        "/304" => Answer::raw("HTTP/1.1 304 Not Modified\r\n\r\n"),
        "/500" => Answer::raw("HTTP/1.1 500 Oops\r\nContent-Length: 3\r\n\r\nabc"),
        "/early" => Answer::raw(
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
        ),
        _ => Answer::ok("hello", &["X-Answer: yes"]),
    }
}

impl World {
    /// Starts `program`. In the configuration, `{log}` is the syslog server, `{origin}` the origin, `{dead}` an address
    /// that refuses, `{fe0}` to `{fe3}` addresses to bind.
    fn start(program: Program, configuration: &str) -> World {
        let log = Syslog::start();
        let origin = Origin::start(script);
        let fronts: Vec<SocketAddr> = (0..4).map(|_| free_address()).collect();
        let mut text = format!(
            "global\n stats socket {{dir}}/stats.sock level admin\n log-tag tag\n maxconn 100\n{configuration}"
        )
        .replace("{log}", &log.address().to_string())
        .replace("{origin}", &origin.address().to_string())
        .replace("{dead}", &free_address().to_string());
        for (index, front) in fronts.iter().enumerate() {
            text = text.replace(&format!("{{fe{index}}}"), &front.to_string());
        }
        let proxy = Proxy::start(program, &text);
        World {
            fronts,
            log,
            proxy,
            _origin: origin,
        }
    }

    /// All lines about traffic.
    fn lines(&self) -> Vec<String> {
        let mut lines = self.log.lines();
        lines.retain(|line| !line.contains("is ready; limits: "));
        lines
    }

    /// Waits until the last case's connection is counted no more.
    fn wait_idle(&self) {
        wait_until("connections to be gone", || {
            self.proxy.command("show info").contains("CurrConns: 0\n")
        });
    }

    /// Waits for `count` more lines than `before` and returns them.
    fn lines_after(&self, before: usize, count: usize) -> Vec<String> {
        wait_until(
            &format!("{count} log lines, got {:?}", self.lines()),
            || self.lines().len() >= before + count,
        );
        self.lines()[before..].to_vec()
    }
}

/// What a case does with its connection.
enum Act {
    /// Sends, then reads until the proxy closes or `count` answers have come.
    Ask(&'static str, usize),
    /// Sends, then closes at once.
    SendAndClose(&'static str),
    /// Sends, shuts the writing side, and reads to the end.
    SendAndShut(&'static str),
}

fn perform(front: SocketAddr, act: &Act) {
    let mut client = Client::connect(front);
    match act {
        Act::Ask(bytes, count) => {
            client.send(bytes);
            for _ in 0..*count {
                if client.try_read_response().is_err() {
                    return;
                }
            }
            if *count == 0 {
                let _ = client.read_to_end();
            }
        }
        Act::SendAndClose(bytes) => client.send(bytes),
        Act::SendAndShut(bytes) => {
            client.send(bytes);
            client.shutdown_write();
            let _ = client.read_to_end();
        }
    }
}

/// Runs every case through one proxy, one after the other, and returns the lines of each.
fn run(program: Program, configuration: &str, cases: &[(usize, usize, Act)]) -> Vec<Vec<String>> {
    let world = World::start(program, configuration);
    cases
        .iter()
        .map(|(front, lines, act)| {
            world.wait_idle();
            let before = world.lines().len();
            perform(world.fronts[*front], act);
            world
                .lines_after(before, *lines)
                .iter()
                .map(|line| normal(line, &world))
                .collect()
        })
        .collect()
}

/// Compares all cases; `cases` are: index of the frontend, number of lines, what to do.
fn compare(configuration: &str, cases: &[(usize, usize, Act)]) {
    let ours = run(Program::Burdock, configuration, cases);
    let theirs = run(Program::Haproxy, configuration, cases);
    let mut different = String::new();
    for (index, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        if ours != theirs {
            different.push_str(&format!(
                "case {index}:\n  burdock {}\n  HAProxy {}\n",
                ours.join("\n          "),
                theirs.join("\n          ")
            ));
        }
    }
    assert!(different.is_empty(), "log lines differ:\n{different}");
}

/// The line without what cannot be equal: dates, pids, ports, and the values of timers, which are `N` unless they are -1.
fn normal(line: &str, world: &World) -> String {
    let line = line.trim_end_matches('\n');
    let mut text = line.to_owned();
    for (index, front) in world.fronts.iter().enumerate() {
        text = text.replace(&front.to_string(), &format!("FRONT{index}"));
    }
    let (header, message) = split_header(&text);
    let mut words: Vec<String> = message.split(' ').map(str::to_owned).collect();
    let is_stream = words.get(1).is_some_and(|word| word.starts_with('['));
    for (index, word) in words.iter_mut().enumerate() {
        if word.starts_with("127.0.0.1:") {
            *word = "CLIENT".to_owned();
        } else if word.starts_with('[') && word.contains('/') && word.ends_with(']') {
            *word = "[DATE]".to_owned();
        } else if is_stream && index == 4 {
            *word = word
                .split('/')
                .map(normal_timer)
                .collect::<Vec<_>>()
                .join("/");
        }
    }
    format!("{header}{}", words.join(" "))
}

fn normal_timer(timer: &str) -> String {
    match timer {
        "-1" => timer.to_owned(),
        _ if timer.starts_with('+') => "+N".to_owned(),
        _ => "N".to_owned(),
    }
}

/// The header without date and pid, and the message.
fn split_header(line: &str) -> (String, &str) {
    match line.split_once("]: ") {
        Some((header, message)) if header.starts_with('<') => {
            let priority = header.split_once('>').map_or("", |(priority, _)| priority);
            let name = header.rsplit(' ').next().unwrap_or("");
            let name = name.split('[').next().unwrap_or("");
            (format!("{priority}> {name}: "), message)
        }
        _ => (String::new(), line),
    }
}

const TIMEOUTS: &str = "defaults\n log {log} local2\n timeout client 700ms\n timeout server 500ms\n timeout connect 500ms\n \
    timeout http-request 400ms\n timeout queue 300ms\n retries 0\n";

const GET: &str = "GET /x HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn http_lines() {
    let configuration = format!(
        "{TIMEOUTS} mode http\n option httplog\n\
         frontend www\n bind {{fe0}}\n default_backend app\n\
         frontend dead\n bind {{fe1}}\n default_backend dead\n\
         frontend off\n bind {{fe2}}\n default_backend off\n\
         frontend second\n bind {{fe3}}\n default_backend second\n\
         backend app\n server s1 {{origin}}\n\
         backend dead\n server d1 {{dead}}\n\
         backend off\n server o1 {{origin}} disabled\n\
         backend second\n option redispatch\n retries 1\n balance roundrobin\n server d1 {{dead}}\n server s2 {{origin}} backup\n"
    );
    use Act::{Ask, SendAndClose, SendAndShut};
    let cases = [
        (0, 1, Ask(GET, 1)),
        (0, 1, Ask("GET /a%20b?c=d HTTP/1.0\r\n\r\n", 1)),
        (
            0,
            2,
            Ask(
                "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n",
                2,
            ),
        ),
        (
            0,
            1,
            Ask(
                "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
                1,
            ),
        ),
        (0, 1, Ask("GET /304 HTTP/1.1\r\nHost: h\r\n\r\n", 1)),
        (0, 1, Ask("GET /500 HTTP/1.1\r\nHost: h\r\n\r\n", 1)),
        (0, 1, Ask("GET /chunked HTTP/1.1\r\nHost: h\r\n\r\n", 1)),
        (0, 1, Ask("GET /until-close HTTP/1.0\r\n\r\n", 0)),
        (0, 1, Ask("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n", 1)),
        (0, 1, Ask("GET /close HTTP/1.1\r\nHost: h\r\n\r\n", 1)),
        (0, 1, Ask("GET /garbage HTTP/1.1\r\nHost: h\r\n\r\n", 1)),
        (0, 1, Ask("GET /truncated HTTP/1.1\r\nHost: h\r\n\r\n", 0)),
        (0, 1, Ask("GET /never HTTP/1.1\r\nHost: h\r\n\r\n", 1)),
        (0, 1, Ask("GET /stalled HTTP/1.1\r\nHost: h\r\n\r\n", 0)),
        (0, 1, Ask("GET \x01 HTTP/1.1\r\nHost: h\r\n\r\n", 0)),
        (0, 1, Ask("GET /par", 0)),
        (0, 1, SendAndClose("GET /par")),
        (0, 1, SendAndClose("")),
        (0, 1, SendAndShut("GET /par")),
        (0, 1, SendAndShut(GET)),
        (
            0,
            1,
            Ask(
                "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc",
                0,
            ),
        ),
        (0, 1, Ask("GET /\"q\"#f HTTP/1.1\r\nHost: h\r\n\r\n", 0)),
        (
            0,
            1,
            Ask("GET /a{b|c}<d>^`~'$ HTTP/1.1\r\nHost: h\r\n\r\n", 1),
        ),
        (0, 1, Ask("GET /b\\c HTTP/1.1\r\nHost: h\r\n\r\n", 1)),
        (1, 1, Ask(GET, 1)),
        (2, 1, Ask(GET, 1)),
        (3, 1, Ask(GET, 1)),
    ];
    compare(&configuration, &cases);
}

#[test]
fn clf_lines() {
    let configuration = format!(
        "{TIMEOUTS} mode http\n option httplog clf\n\
         frontend www\n bind {{fe0}}\n default_backend app\n\
         backend app\n server s1 {{origin}}\n"
    );
    let [ours, theirs] = [Program::Burdock, Program::Haproxy].map(|program| {
        let world = World::start(program, &configuration);
        perform(world.fronts[0], &Act::Ask(GET, 1));
        let mut lines = world.lines_after(0, 1);
        world.wait_idle();
        perform(world.fronts[0], &Act::Ask("GET \x01 HTTP/1.1\r\n\r\n", 0));
        lines.extend(world.lines_after(1, 1));
        lines
            .iter()
            .map(|line| normal_clf(line, &world))
            .collect::<Vec<_>>()
    });
    assert_eq!(ours, theirs);
}

/// Words of a CLF line that cannot be equal: date, port, milliseconds, timers.
fn normal_clf(line: &str, world: &World) -> String {
    let text = normal(line, world);
    let mut words: Vec<&str> = text.split(' ').collect();
    let Some(first) = words.iter().position(|word| *word == "\"\"") else {
        return text;
    };
    // `"" "" port ms "fe" "be" "srv" TR Tw Tc Tr Ta`
    for offset in [2, 3, 7, 8, 9, 10, 11] {
        if let Some(word) = words.get_mut(first + offset).filter(|word| **word != "-1") {
            *word = "N";
        }
    }
    words
        .iter()
        .map(|word| {
            if word.starts_with('[') && word.contains(':') {
                "[DATE"
            } else {
                word
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn tcp_and_default_lines() {
    let configuration = format!(
        "{TIMEOUTS} mode tcp\n\
         frontend tcp\n option tcplog\n bind {{fe0}}\n default_backend app\n\
         frontend plain\n bind {{fe1}}\n default_backend app\n\
         frontend web\n mode http\n option tcplog\n bind {{fe2}}\n default_backend web\n\
         frontend dead\n option tcplog\n bind {{fe3}}\n default_backend dead\n\
         backend app\n server s1 {{origin}}\n\
         backend web\n mode http\n server s1 {{origin}}\n\
         backend dead\n server d1 {{dead}}\n"
    );
    use Act::{Ask, SendAndShut};
    let cases = [
        (0, 1, Ask("GET /until-close HTTP/1.0\r\n\r\n", 0)),
        (0, 1, SendAndShut(GET)),
        (0, 1, Ask("GET /never HTTP/1.1\r\nHost: h\r\n\r\n", 0)),
        (1, 1, Ask(GET, 1)),
        (2, 1, Ask(GET, 1)),
        (3, 1, Ask(GET, 0)),
    ];
    compare(&configuration, &cases);
}

#[test]
fn options_choose_what_is_logged() {
    let configuration = format!(
        "{TIMEOUTS} mode http\n option httplog\n\
         frontend early\n option logasap\n bind {{fe0}}\n default_backend app\n\
         frontend errors\n option dontlog-normal\n bind {{fe1}}\n default_backend app\n\
         frontend apart\n option log-separate-errors\n bind {{fe2}}\n default_backend app\n\
         frontend nulls\n option dontlognull\n bind {{fe3}}\n default_backend app\n\
         backend app\n server s1 {{origin}}\n"
    );
    use Act::{Ask, SendAndClose};
    let cases = [
        (0, 1, Ask("GET /late HTTP/1.1\r\nHost: h\r\n\r\n", 1)),
        (0, 1, Ask("GET \x01 HTTP/1.1\r\n\r\n", 0)),
        (
            1,
            1,
            Ask(
                "GET /x HTTP/1.1\r\nHost: h\r\n\r\nGET /500 HTTP/1.1\r\nHost: h\r\n\r\n",
                2,
            ),
        ),
        (1, 1, Ask("GET \x01 HTTP/1.1\r\n\r\n", 0)),
        (2, 1, Ask(GET, 1)),
        (2, 1, Ask("GET /500 HTTP/1.1\r\nHost: h\r\n\r\n", 1)),
        (2, 1, Ask("GET /never HTTP/1.1\r\nHost: h\r\n\r\n", 1)),
        (3, 0, SendAndClose("")),
        (3, 1, Ask(GET, 1)),
    ];
    compare(&configuration, &cases);
}

#[test]
fn targets_of_every_kind() {
    let formats = [
        "raw", "short", "timed", "iso", "priority", "rfc3164", "rfc5424", "local",
    ];
    let mut configuration = String::from(" log-send-hostname my.host\n");
    for format in formats {
        configuration.push_str(&format!(" log {{log}} format {format} local3\n"));
    }
    configuration.push_str(
        " log {log} local4\n log {log} len 80 local4\n log {log} local4 notice\n log {log} format short local4 debug err\n \
         log stdout format raw local0\n log stderr len 80 format short local0\n\
         defaults\n log global\n mode http\n option httplog\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n\
         frontend www\n bind {fe0}\n default_backend app\n\
         backend app\n server s1 {origin}\n",
    );
    let [ours, theirs] = [Program::Burdock, Program::Haproxy].map(|program| {
        let world = World::start(program, &configuration);
        perform(world.fronts[0], &Act::Ask(GET, 1));
        let mut lines: Vec<String> = world.lines_after(0, formats.len() + 3);
        wait_until("the line on stdout", || {
            world.proxy.stdout().contains("GET /x")
        });
        wait_until("the line on stderr", || {
            world.proxy.stderr().contains("<6>127.0.0.1")
        });
        let stdout = world.proxy.stdout();
        lines.extend(
            stdout
                .lines()
                .filter(|line| line.contains("GET /x"))
                .map(str::to_owned),
        );
        lines.extend(
            world
                .proxy
                .stderr()
                .lines()
                .filter(|line| line.starts_with("<6>"))
                .map(str::to_owned),
        );
        lines.iter().map(|line| shape(line)).collect::<Vec<_>>()
    });
    assert_eq!(ours, theirs);
}

/// The line with each run of digits as `#`, so that only its layout is left.
fn shape(line: &str) -> String {
    let mut shape = String::new();
    for character in line.chars() {
        match character {
            '0'..='9' if shape.ends_with('#') => {}
            '0'..='9' => shape.push('#'),
            other => shape.push(other),
        }
    }
    shape
}

#[test]
fn a_unix_socket_gets_lines_and_may_go() {
    let world_folder = support::TempDir::new("log");
    let path = world_folder.file("dev");
    let receiver = std::os::unix::net::UnixDatagram::bind(&path).expect("a socket");
    receiver
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a timeout");
    let configuration = format!(
        " log {} local0\ndefaults\n log global\n mode http\n option httplog\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n\
         listen www\n bind {{fe0}}\n server s1 {{origin}}\n",
        path.display()
    );
    let world = World::start(Program::Burdock, &configuration);
    perform(world.fronts[0], &Act::Ask(GET, 1));
    let mut bytes = [0; 2048];
    wait_until("the line on the socket", || {
        let len = receiver.recv(&mut bytes).expect("a line");
        String::from_utf8_lossy(&bytes[..len]).contains("\"GET /x HTTP/1.1\"")
    });
    drop(receiver);
    perform(world.fronts[0], &Act::Ask(GET, 1));
    wait_until("the lost line to be counted", || {
        world
            .proxy
            .command("show info")
            .contains("DroppedLogs: 1\n")
    });
}

#[test]
fn timers_tell_where_the_time_went() {
    let configuration = format!(
        "{TIMEOUTS} mode http\n option httplog\n\
         listen www\n bind {{fe0}}\n server s1 {{origin}}\n"
    );
    let world = World::start(Program::Burdock, &configuration);
    let mut client = Client::connect(world.fronts[0]);
    client.send("GET /slow HTTP/1.1\r\n");
    std::thread::sleep(Duration::from_millis(100)); // the slow half of the head is what is measured
    client.send("Host: h\r\n\r\n");
    client.read_response();
    let line = world.lines_after(0, 1).remove(0);
    let timers: Vec<i64> = line
        .split(' ')
        .find(|word| word.matches('/').count() == 4)
        .expect("the timers")
        .split('/')
        .map(|timer| timer.parse().expect("a number"))
        .collect();
    let [request, queue, connect, response, active] = timers[..] else {
        panic!("five timers: {timers:?}");
    };
    assert!(request >= 90 && response >= 190, "{line}");
    assert!(active >= request + queue + connect + response, "{line}");
}

#[test]
fn the_end_of_a_tcp_client_is_passed_on_whenever_it_comes() {
    let configuration = "defaults\n log {log} local2\n mode tcp\n option tcplog\n timeout client 5s\n timeout server 5s\n \
        timeout connect 5s\nlisten tcp\n bind {fe0}\n server s1 {origin}\n";
    let world = World::start(Program::Burdock, configuration);
    for (index, act) in [
        Act::SendAndClose(""),
        Act::SendAndClose("x"),
        Act::SendAndShut(""),
    ]
    .iter()
    .enumerate()
    {
        perform(world.fronts[0], act);
        let line = world.lines_after(index, 1).remove(0);
        assert!(
            !line.contains(" sD ") && !line.contains(" cD "),
            "a timeout had to end it: {line}"
        );
    }
}

#[test]
fn queues_are_told() {
    let configuration = format!(
        "{TIMEOUTS} mode http\n option httplog\n\
         frontend www\n bind {{fe0}}\n default_backend app\n\
         backend app\n server s1 {{origin}} maxconn 1\n"
    );
    let lines = [Program::Burdock, Program::Haproxy].map(|program| {
        let world = World::start(program, &configuration);
        let mut all = Vec::new();
        // One that is served after a wait, and one that waits too long.
        for (first, expected) in [("/slow", 200), ("/never", 503)] {
            world.wait_idle();
            let before = world.lines().len();
            let mut holder = Client::connect(world.fronts[0]);
            holder.send(format!("GET {first} HTTP/1.1\r\nHost: h\r\n\r\n"));
            wait_until("the place to be taken", || {
                let state = world.proxy.command("show stat app 4 -1");
                state
                    .lines()
                    .nth(1)
                    .is_some_and(|row| row.split(',').nth(4) == Some("1"))
            });
            let mut waiting = Client::connect(world.fronts[0]);
            assert_eq!(waiting.ask(GET).status, expected);
            let _ = holder.try_read_response();
            drop((holder, waiting));
            let mut lines: Vec<String> = world
                .lines_after(before, 2)
                .iter()
                .map(|line| normal(line, &world))
                .collect();
            lines.sort();
            all.extend(lines);
        }
        all
    });
    // How many connections there were when a line was written depends on when clients close.
    let without_connections = |lines: &[String]| -> Vec<String> {
        let words = |line: &String| {
            let keep = |word: &&str| word.matches('/').count() != 4 || word.contains('N');
            line.split(' ').filter(keep).collect::<Vec<_>>().join(" ")
        };
        lines.iter().map(words).collect()
    };
    assert_eq!(
        without_connections(&lines[0]),
        without_connections(&lines[1])
    );
}
