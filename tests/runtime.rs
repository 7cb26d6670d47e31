//! The stats socket next to HAProxy's: the same commands to both, answer against answer.

pub mod support;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use support::world::{CONFIGURATION, World, both, stat_columns};
use support::{Program, get, wait_until};

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
        // The client that does not read goes on not reading: whoever waited for it would wait for ever.
        assert_eq!(get(world.fronts[0], "/", &[]).status, 200);
        assert!(world.ask("show cli level").starts_with("admin"));
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

#[test]
fn the_environment_is_what_the_configuration_made_of_it() {
    let configuration = "global
    stats socket {dir}/stats.sock mode 600 level admin
    setenv BURDOCK_TEST_A \"one two\"
    presetenv BURDOCK_TEST_A three
    presetenv HOME nowhere
    setenv BURDOCK_TEST_B gone
    unsetenv BURDOCK_TEST_B PATH
defaults
    mode http
    timeout client 1s
    timeout server 1s
    timeout connect 1s
frontend fe
    bind {fe0}
";
    let reset = configuration.replace("unsetenv BURDOCK_TEST_B PATH", "resetenv BURDOCK_TEST_A");
    for configuration in [configuration, &reset] {
        let both = [Program::Burdock, Program::Haproxy].map(|program| {
            let world = World::with(program, configuration);
            [
                "BURDOCK_TEST_A",
                "BURDOCK_TEST_B",
                "PATH",
                "HOME",
                "HAPROXY_CFGFILES",
            ]
            .map(|name| world.ask(&format!("show env {name}")))
        });
        assert_eq!(both[0], both[1]);
        assert_eq!(both[0][0], "BURDOCK_TEST_A=one two\n\n");
    }
}

#[test]
fn a_backends_limit_is_a_tenth_of_what_can_come_to_it() {
    let configuration = "global
    stats socket {dir}/stats.sock mode 600 level admin
    maxconn 500
defaults
    mode http
    timeout client 1s
    timeout server 1s
    timeout connect 1s
frontend one
    bind {fe0}
    maxconn 95
    use_backend both if { path /a }
    use_backend both if { path /b }
    default_backend first
frontend two
    bind {fe1}
    maxconn 205
    default_backend both
listen own
    bind {fe2}
    maxconn 40
backend first
backend both
backend given
    fullconn 77
backend nobody
";
    let limits = [Program::Burdock, Program::Haproxy].map(|program| {
        let world = World::with(program, configuration);
        stat_columns(&world.ask("show stat"), &["pxname", "svname", "slim"])
    });
    assert_eq!(limits[0], limits[1]);
}
