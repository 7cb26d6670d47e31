//! The master socket (`-S`), compared with HAProxy's, and what it does over reloads and with clients that behave badly.

pub mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use support::process::signal;
use support::{
    Answer, Client, Gate, Launcher, Origin, Program, Stats, eventually, free_address, get,
    taken_name, wait_until,
};

const SOON: Duration = Duration::from_secs(10);

struct Service {
    launcher: Launcher,
    front: SocketAddr,
    master: u32,
}

fn configuration(front: SocketAddr, server: SocketAddr) -> String {
    format!(
        "global\n stats socket {{dir}}/stats.sock level admin\n\
         defaults\n mode http\n timeout client 10s\n timeout server 10s\n timeout connect 5s\n\
         frontend f\n bind {front}\n default_backend b\n\
         backend b\n server s {server}\n"
    )
}

impl Service {
    /// A daemon with a master socket in its folder.
    fn start(program: Program, server: SocketAddr) -> Service {
        Service::start_with(program, server, "")
    }

    fn start_with(program: Program, server: SocketAddr, options: &str) -> Service {
        let launcher = Launcher::new(program);
        let front = free_address();
        launcher.configure(&configuration(front, server));
        let words = format!("-W -D -S {{dir}}/master{options} -p {{dir}}/pid -f {{dir}}/proxy.cfg");
        let finished = launcher.run(&words);
        assert_eq!(finished.code(), 0, "{}", finished.stderr);
        let master = launcher.pid_in("pid");
        let service = Service {
            launcher,
            front,
            master,
        };
        wait_until("the master socket", || {
            service.socket().try_command("show proc").is_some()
        });
        service
    }

    fn socket(&self) -> Stats {
        Stats::at(self.launcher.folder.file("master"))
    }

    fn say(&self, line: &str) -> String {
        self.socket().command(line)
    }

    /// The pids of a part of `show proc`.
    fn pids(&self, part: &str) -> Vec<u32> {
        let text = self.say("show proc");
        let lines = text.lines().skip_while(|line| *line != part).skip(1);
        lines
            .take_while(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_whitespace().next()?.parse().ok())
            .collect()
    }

    fn worker(&self) -> u32 {
        eventually("a worker", SOON, || self.pids("# workers").first().copied())
    }

    fn end(self) {
        signal(self.master, "TERM");
        self.launcher.wait_gone(SOON);
    }
}

/// An answer without what differs from one run to the next: pids, times, versions, names.
fn shape(text: &str, service: &Service) -> String {
    let mut text = text.replace("2.6.12-1+deb12u4", "VERSION");
    text = text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    text = text.replace("haproxy", "burdock");
    for (pid, name) in [(service.master, "MASTER"), (service.worker(), "WORKER")] {
        text = text.replace(&pid.to_string(), name);
    }
    let words = text.split(' ').filter(|word| !word.is_empty());
    let words = words.map(|word| {
        let is_time = word.starts_with("0d00h") && word.ends_with('s');
        if is_time { "UPTIME" } else { word }
    });
    words.collect::<Vec<_>>().join(" ").replace(" \n", "\n")
}

fn nobody() -> SocketAddr {
    free_address()
}

#[test]
fn it_answers_as_haproxy_does() {
    let services = [Program::Haproxy, Program::Burdock].map(|p| Service::start(p, nobody()));
    for lines in [
        "show proc",
        "@master show proc",
        "@ show proc; @0 show version",
        "show version",
        "show version;show version",
        "show version\nshow version",
        "show cli level",
        "@1 show version",
        "@1 show cli level",
        "@!WORKER show version",
        "@1",
        "@",
        "@1; show version; show version",
        "show proc;@1 show version;show proc",
        "@2 show version",
        "@x show version",
        "@!1 show version",
        "@!MASTER show version",
        "@-1",
        "@@",
        "user\nshow cli level",
        "user\nreload",
        "user\n@1 show cli level",
        "user\n@1 disable server b/s",
        "user\noperator",
        "user;operator;show version",
        "prompt\nuser\noperator\nshow version",
        "operator\nshow cli level",
        "prompt\nshow version",
        "prompt\nshow version\nquit",
        "prompt\n@1\nshow version\n@\nquit",
        "prompt\n@1 show version;show version\n@",
        "prompt\nprompt\nshow version",
        "prompt\nuser\nshow cli level\n@1 show cli level\n@1\nshow cli level",
        "prompt\n@7\nshow version",
        "prompt\n@1\nquit",
        "prompt\n@1\nprompt\nshow version",
        "expert-mode",
        "expert-mode on;expert-mode",
        "experimental-mode on; experimental-mode; show version",
        "mcli-debug-mode on;mcli-debug-mode",
        "prompt\nexpert-mode on\nexpert-mode\nexpert-mode on; expert-mode off\nquit",
        "prompt\nexpert-mode on;experimental-mode on\nmcli-debug-mode on\n@1\nexpert-mode zork\n@\nquit",
        "prompt\nexpert-mode on\nuser\nexpert-mode off\nshow version",
        "prompt\n@1 expert-mode on\n@1 expert-mode\nexpert-mode on\n@1 expert-mode\n@1 experimental-mode\nquit",
        "expert-mode on; @1 expert-mode",
        "expert-mode on; experimental-mode on; @1 expert-mode; @1 experimental-mode",
        "expert-mode on; expert-mode off; @1 expert-mode",
        "@1 expert-mode zork; @1 experimental-mode on",
        "experimental-mode on; @1 set var proc.x int(1)",
        "@1 set var proc.x int(1)",
        "user; @1 expert-mode",
        "user; experimental-mode on; show version",
        "@1 set table nope key x <<\nfoo\n",
        "@1 show table nope;@1 show version",
        "@1 show startup-logs",
    ] {
        let answers = services.each_ref().map(|service| {
            let lines = lines
                .replace("MASTER", &service.master.to_string())
                .replace("WORKER", &service.worker().to_string());
            shape(&service.say(&lines), service)
        });
        if lines.ends_with("startup-logs") {
            // HAProxy's worker has none; ours tells its limits.
            assert!(answers[1].contains("limits:"), "{answers:?}");
            continue;
        }
        // The payload's empty line is missing: what is left of the line is each program's own affair.
        if lines.contains("<<") {
            assert!(answers[1].starts_with("No such table"), "{answers:?}");
            continue;
        }
        assert_eq!(answers[0], answers[1], "{lines:?}");
    }
    services.into_iter().for_each(Service::end);
}

#[test]
fn the_help_lists_what_is_there() {
    let service = Service::start(Program::Burdock, nobody());
    let other = Service::start(Program::Haproxy, nobody());
    let usages = |text: &str| -> Vec<String> {
        let lines = text.lines().skip(1).filter(|line| !line.is_empty());
        lines
            .map(|line| line.split(" :").next().expect("a usage").trim().to_string())
            .collect()
    };
    let mut ours = usages(&service.say("help"));
    // Newer than 2.6.
    ours.retain(|usage| usage != "show startup-logs");
    assert_eq!(ours, usages(&other.say("help")));
    assert!(service.say("zork").starts_with("Unknown command"));
    assert!(service.say("help show").contains("show startup-logs"));
    let sockets = service.say("show cli sockets");
    assert!(sockets.contains("/master admin master\n"), "{sockets}");
    service.end();
    other.end();
}

#[test]
fn levels_are_those_of_the_option() {
    for level in ["user", "operator", "admin"] {
        let options = format!(",level,{level},mode,600");
        let services = [Program::Haproxy, Program::Burdock]
            .map(|program| Service::start_with(program, nobody(), &options));
        for line in [
            "show cli level",
            "@1 show cli level",
            "@1 disable server b/s",
            "operator",
            "expert-mode on",
            "experimental-mode; show version",
            "mcli-debug-mode off; show version",
            "@1 expert-mode on; @1 experimental-mode",
            "prompt\nexpert-mode on\nshow version",
        ] {
            let answers = services
                .each_ref()
                .map(|service| shape(&service.say(line), service));
            assert_eq!(answers[0], answers[1], "{level}: {line}");
        }
        let [haproxy, burdock] = services;
        let denied = burdock.say("reload");
        assert_eq!(
            denied == "Permission denied\n\n",
            level == "user",
            "{denied}"
        );
        use std::os::unix::fs::PermissionsExt;
        let path = burdock.launcher.folder.file("master");
        let mode = std::fs::metadata(path)
            .expect("a socket")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        haproxy.end();
        burdock.end();
    }
}

/// The words of both programs for an option that is wrong.
#[test]
fn wrong_options_are_told_as_haproxy_tells_them() {
    for option in [
        "{dir}/master,zork",
        "{dir}/master,level",
        "{dir}/master,level,foo",
        "{dir}/master,mode,zz",
        "zork",
        "127.0.0.1",
        "/nonexistent/master",
    ] {
        let mut said = [Program::Haproxy, Program::Burdock].map(|program| {
            let launcher = Launcher::new(program);
            launcher.configure(&configuration(free_address(), nobody()));
            let finished = launcher.run(&format!("-W -D -f {{dir}}/proxy.cfg -S {option}"));
            assert_eq!(finished.code(), 1, "{program:?} {option}");
            let folder = launcher.folder.path().display().to_string();
            let alerts = finished.stderr.lines();
            let alerts = alerts.filter(|line| line.starts_with("[ALERT]"));
            alerts
                .map(|line| line.split_once(" : ").expect("a message").1)
                .map(|text| text.replace(&folder, "DIR").replace("haproxy", "burdock"))
                .map(|text| match text.find("[") {
                    // The program's name is its path here.
                    Some(at) if text.contains(".main()]") => {
                        text[at..].split_once(']').expect("]").1.to_string()
                    }
                    _ => text,
                })
                .collect::<Vec<_>>()
        });
        // One says "burdock.main()", the other what was typed.
        said.iter_mut().for_each(|lines| {
            lines
                .iter_mut()
                .for_each(|line| *line = line.trim().to_string())
        });
        assert_eq!(said[0], said[1], "{option}");
        assert!(!said[0].is_empty(), "{option}");
    }
    let finished = Launcher::new(Program::Burdock).run("-S");
    assert_eq!(finished.code(), 1);
    assert!(finished.stderr.contains("Usage"));
}

#[test]
fn a_reload_is_answered_when_its_outcome_is_known() {
    let origin = Origin::named("one");
    let service = Service::start(Program::Burdock, origin.address());
    let first = service.worker();
    let answer = service.say("reload");
    let new = service.worker();
    assert_ne!(new, first, "the answer came when the new worker was there");
    assert!(answer.starts_with("Success=1\n--\n"), "{answer}");
    assert!(
        answer.contains(&format!("worker {new} is ready")),
        "{answer}"
    );
    assert_eq!(get(service.front, "/", &[]).status, 200);

    let good = service.launcher.folder.read("proxy.cfg");
    service
        .launcher
        .folder
        .write("proxy.cfg", format!("{good} zork\n"));
    let answer = service.say("reload; show proc");
    assert!(answer.starts_with("Success=0\n--\n"), "{answer}");
    assert!(answer.contains("unknown keyword 'zork'"), "{answer}");
    assert!(answer.contains("proxy.cfg:"), "{answer}");
    assert!(
        !answer.contains("#<PID>"),
        "what follows is ignored: {answer}"
    );
    assert_eq!(service.worker(), new);
    assert!(
        service
            .say("show startup-logs")
            .contains("unknown keyword 'zork'")
    );
    assert!(
        service
            .say("prompt\nshow version")
            .starts_with("master[ReloadFailed]> ")
    );
    assert!(service.say("show proc").contains(" 2 [failed: 1] "));
    signal(service.master, "USR2");
    wait_until("the second failure", || {
        service.say("show proc").contains(" 3 [failed: 2] ")
    });

    service.launcher.folder.write("proxy.cfg", good);
    assert!(service.say("reload").starts_with("Success=1\n--\n"));
    let listed = service.say("show proc");
    assert!(listed.contains(" 4 [failed: 0] "), "{listed}");
    assert!(!service.say("show startup-logs").contains("zork"));
    assert_eq!(get(service.front, "/", &[]).status, 200);
    service.end();
}

/// An address that cannot be had is found by the check; one that is taken between the check and the start, by the new image.
#[test]
fn a_reload_that_fails_late_is_answered_too() {
    let origin = Origin::named("one");
    let service = Service::start(Program::Burdock, origin.address());
    let worker = service.worker();
    let good = service.launcher.folder.read("proxy.cfg");
    let (name, _holder) = taken_name();
    let late = good.replace("frontend f\n", &format!("frontend f\n bind abns@{name}\n"));
    service.launcher.folder.write("proxy.cfg", late);
    let answer = service.say("reload");
    assert!(answer.starts_with("Success=0\n--\n"), "{answer}");
    assert!(answer.contains(&name), "{answer}");
    // Now the master has no configuration, and takes care of its worker.
    assert_eq!(service.worker(), worker);
    assert_eq!(service.launcher.pid_in("pid"), service.master);
    assert_eq!(get(service.front, "/", &[]).text(), "one");
    let pid = service.say("@1 show info");
    assert!(pid.contains(&format!("Pid: {worker}\n")), "{pid}");
    assert!(service.say("reload").starts_with("Success=0\n--\n"));
    service.launcher.folder.write("proxy.cfg", good);
    let answer = service.say("reload");
    assert!(answer.starts_with("Success=1\n--\n"), "{answer}");
    assert_ne!(service.worker(), worker);
    assert_eq!(get(service.front, "/", &[]).text(), "one");
    service.end();
}

#[test]
fn old_workers_are_listed_and_reached_by_their_pid() {
    let gate = Gate::new();
    let origin = {
        let gate = gate.clone();
        Origin::start(move |_| {
            gate.pass();
            Answer::ok("slow", &[])
        })
    };
    let service = Service::start(Program::Burdock, origin.address());
    let old = service.worker();
    let mut client = Client::connect(service.front);
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_until("the request", || origin.connections() > 0);
    assert!(service.say("reload").starts_with("Success=1"));
    assert!(service.say("reload").starts_with("Success=1"));
    // The one in between ends as soon as it has handed over.
    wait_until("the old worker alone", || {
        service.pids("# old workers") == [old]
    });
    let listed = service.say("show proc");
    let row = listed
        .lines()
        .find(|line| line.starts_with(&old.to_string()));
    let cells: Vec<&str> = row.expect("a row").split_whitespace().collect();
    assert_eq!(cells[1..3], ["worker", "2"], "{listed}");
    let info = service.say(&format!("@!{old} show info"));
    assert!(info.contains(&format!("Pid: {old}\n")), "{info}");
    let current = service.say("@1 show info");
    assert!(current.contains(&format!("Pid: {}\n", service.worker())));
    gate.open();
    assert_eq!(client.read_response().text(), "slow");
    drop(client);
    wait_until("the old worker to end", || {
        service.pids("# old workers").is_empty()
    });
    assert!(
        service
            .say(&format!("@!{old} show info"))
            .starts_with("Can't find the target PID")
    );
    service.end();
}

/// A long answer of a worker passes through, and a client that does not read it holds nothing up.
#[test]
fn clients_that_hang_hold_nothing_up() {
    let origin = Origin::named("one");
    let launcher = Launcher::new(Program::Burdock);
    let front = free_address();
    launcher.configure(&configuration(front, origin.address()).replace(
        "backend b\n",
        "backend b\n stick-table type integer size 100k expire 5m store gpc0\n",
    ));
    assert_eq!(
        launcher
            .run("-D -S {dir}/master -p {dir}/pid -f {dir}/proxy.cfg")
            .code(),
        0
    );
    let master = launcher.pid_in("pid");
    let service = Service {
        launcher,
        front,
        master,
    };
    let stats = Stats::at(service.launcher.folder.file("stats.sock"));
    for first in (0..20_000).step_by(500) {
        let set = |key| format!("set table b key {key} data.gpc0 1");
        let lines: Vec<String> = (first..first + 500).map(set).collect();
        for part in lines.chunks(250) {
            stats.command(&part.join(";"));
        }
    }
    let dump = service.say("@1 show table b");
    assert_eq!(
        dump.lines().filter(|line| line.contains("key=")).count(),
        20_000
    );
    let hanging: Vec<UnixStream> = (0..20)
        .map(|number| {
            let mut stream = service.socket().connect().expect("the master socket");
            let line: &[u8] = match number % 3 {
                0 => b"@1 show table b\n",
                1 => b"prompt\nshow pro",
                _ => b"@1 show table b; reload\n",
            };
            // The first ones have made room for the last.
            let _ = stream.write_all(line);
            stream
        })
        .collect();
    let worker = service.worker();
    signal(service.master, "USR2");
    eventually("the reload", SOON, || {
        Some(service.worker()).filter(|pid| *pid != worker)
    });
    assert_eq!(get(front, "/", &[]).status, 200);
    drop(hanging);
    signal(service.master, "TERM");
    service.launcher.wait_gone(SOON);
}

/// Over TCP, with several sockets, and in the foreground; kept over a reload.
#[test]
fn there_may_be_several_sockets() {
    let launcher = Launcher::new(Program::Burdock);
    let front = free_address();
    launcher.configure(&configuration(front, nobody()));
    let address = free_address();
    let words =
        format!("-W -S {{dir}}/master -S {address},level,user -p {{dir}}/pid -f {{dir}}/proxy.cfg");
    let mut child = launcher.start(&words);
    let master = launcher.pid_in("pid");
    let ask = |line: &str| {
        let mut stream = TcpStream::connect(address).expect("the master socket");
        stream.write_all(line.as_bytes()).expect("a line");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    };
    wait_until("the socket", || TcpStream::connect(address).is_ok());
    let service = Service {
        launcher,
        front,
        master,
    };
    let worker = service.worker();
    assert_eq!(ask("show cli level\n"), "user\n\n");
    assert_eq!(ask("reload\n"), "Permission denied\n\n");
    assert!(service.say("reload").starts_with("Success=1"));
    assert_ne!(service.worker(), worker);
    assert_eq!(ask("show cli level\n"), "user\n\n");
    signal(master, "TERM");
    service.launcher.wait(&mut child);
    service.launcher.wait_gone(SOON);
}

/// Reloads that are asked for while another one is under way follow it, and each is answered.
#[test]
fn reloads_that_overlap_are_all_answered() {
    let service = Service::start(Program::Burdock, nobody());
    let streams: Vec<UnixStream> = (0..5)
        .map(|_| {
            let mut stream = service.socket().connect().expect("the master socket");
            stream.write_all(b"reload\n").expect("a command");
            stream
        })
        .collect();
    for mut stream in streams {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("Success=1\n--\n"), "{answer}");
    }
    let pids = service.launcher.processes();
    assert!(pids.contains(&service.master));
    service.end();
}

/// Whoever waits for a reload when the service is told to end hears that there will be none.
#[test]
fn a_stop_during_a_reload_ends_both() {
    let service = Service::start(Program::Burdock, nobody());
    let mut stream = service.socket().connect().expect("the master socket");
    stream.write_all(b"reload\n").expect("a command");
    signal(service.master, "TERM");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("Success="), "{answer}");
    service.launcher.wait_gone(SOON);
    assert!(!service.launcher.folder.file("pid").exists());
}
