//! What the command says and how it ends when it cannot serve, next to HAProxy.

pub mod support;

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;

use support::{Finished, Launcher, Program, Proxy, free_address, unique_loopback};

/// What every configuration here ends with: a frontend on `bind`.
fn configuration(global: &str, bind: &str) -> String {
    format!(
        "global\n{global}\ndefaults\n mode http\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n\
         frontend http-in\n bind {bind}\n"
    )
}

/// The alerts of a command, without what differs from run to run and from program to program.
fn alerts(finished: &Finished, launcher: &Launcher) -> Vec<String> {
    let folder = launcher.folder.path().display().to_string();
    let mut alerts = Vec::new();
    for line in finished
        .stderr
        .lines()
        .filter(|line| line.starts_with("[ALERT]"))
    {
        let text = line.split_once(" : ").map_or(line, |(_, text)| text);
        // "[/usr/sbin/haproxy.main()]" names the command as it was typed.
        let text = match text.split_once(".main()]") {
            Some((_, rest)) => format!("[main()]{rest}"),
            None => text.to_string(),
        };
        alerts.push(text.replace(&folder, "{dir}"));
    }
    alerts
}

/// Runs both programs with the same configuration and words; they have to say the same alerts and end with the same code.
fn same_failure(configuration: &str, words: &str, prefix: &str) -> Vec<String> {
    let [ours, theirs] = [Program::Burdock, Program::Haproxy].map(|program| {
        let launcher = Launcher::new(program).prefix(prefix);
        launcher.configure(configuration);
        let finished = launcher.run(words);
        (
            alerts(&finished, &launcher),
            finished.code(),
            finished.stdout,
        )
    });
    assert_eq!(ours, theirs, "burdock (left) and haproxy with {words}");
    assert_ne!(ours.1, 0);
    ours.0
}

/// A port that somebody else listens on, without SO_REUSEPORT.
fn taken() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((unique_loopback(), 0)).expect("a free port");
    let address = listener
        .local_addr()
        .expect("a bound socket has an address");
    (listener, address)
}

#[test]
fn a_port_in_use_is_named_in_haproxys_words() {
    let (_other, address) = taken();
    let text = configuration("", &address.to_string());
    for words in [
        "-f {dir}/proxy.cfg",
        "-db -f {dir}/proxy.cfg",
        "-D -f {dir}/proxy.cfg",
        "-W -f {dir}/proxy.cfg",
    ] {
        let alerts = same_failure(&text, words, ":");
        let expected = format!("cannot bind socket (Address already in use) for [{address}]");
        assert!(alerts[0].ends_with(&expected), "{alerts:?}");
    }
}

#[test]
fn all_addresses_that_fail_are_named() {
    let (_one, first) = taken();
    let (_two, second) = taken();
    let free = free_address();
    let binds =
        format!("{first}\n bind {free}\n bind unix@/nonexistent/folder/socket\n bind {second}");
    let text = configuration("stats socket {dir}/nodir/stats", &binds);
    let alerts = same_failure(&text, "-db -f {dir}/proxy.cfg", ":");
    assert_eq!(alerts.len(), 5, "{alerts:?}");
}

#[test]
fn sockets_in_the_file_system_are_made_as_unix_bind_says() {
    let text = "global\n unix-bind prefix {dir}/ mode 640\n stats socket {dir}/stats.sock level admin\n\
                defaults\n mode http\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n\
                frontend a\n bind /one\nfrontend b\n bind unix@two mode 600\nfrontend c\n bind abns@{dir}-three\n";
    for program in [Program::Burdock, Program::Haproxy] {
        let proxy = Proxy::start(program, text);
        let mode = |name: &str| {
            let data = std::fs::metadata(proxy.folder().path().join(name));
            data.expect("a socket").permissions().mode() & 0o777
        };
        assert_eq!((mode("one"), mode("two")), (0o640, 0o600));
    }
}

#[test]
fn unix_bind_is_checked_as_by_haproxy() {
    for words in [
        "foo",
        "prefix",
        "user no-such-user",
        "group no-such-group",
        "mode 600 level admin",
    ] {
        let text = configuration(&format!(" unix-bind {words}"), "127.0.0.1:0");
        same_failure(&text, "-c -f {dir}/proxy.cfg", "");
    }
}

#[test]
fn ipv6_and_listen_sections_are_named_alike() {
    let listener = TcpListener::bind("[::1]:0").expect("IPv6 on the loopback interface");
    let port = listener.local_addr().expect("an address").port();
    let (_other, address) = taken();
    let text = configuration(
        "",
        &format!("::1:{port}\nlisten both\n bind {address} name x"),
    );
    same_failure(&text, "-db -f {dir}/proxy.cfg", ":");
}

#[test]
fn a_quiet_failure_is_silent_and_a_failure() {
    let (_other, address) = taken();
    let launcher = Launcher::new(Program::Burdock);
    launcher.configure(&configuration("", &address.to_string()));
    let finished = launcher.run("-q -D -f {dir}/proxy.cfg");
    assert_eq!((finished.code(), finished.stderr.as_str()), (1, ""));
}

#[test]
fn files_and_folders_that_cannot_be_read() {
    same_failure("", "-f /nonexistent/proxy.cfg", ":");
    same_failure("", "-D -f /nonexistent/proxy.cfg", ":");
    same_failure("", "-C /nonexistent -f {dir}/proxy.cfg", ":");
}

#[test]
fn unknown_users_and_roots_that_cannot_be_entered() {
    let bind = free_address().to_string();
    same_failure(
        &configuration("user no-such-user", &bind),
        "-db -f {dir}/proxy.cfg",
        ":",
    );
    same_failure(
        &configuration("chroot /nonexistent/root", &bind),
        "-db -f {dir}/proxy.cfg",
        ":",
    );
}

#[test]
fn a_daemon_whose_worker_cannot_start_is_no_success() {
    let launcher = Launcher::new(Program::Burdock);
    launcher.configure(&configuration(
        "chroot /nonexistent/root",
        &free_address().to_string(),
    ));
    let finished = launcher.run("-D -p {dir}/pid -f {dir}/proxy.cfg");
    assert_eq!(finished.code(), 1);
    assert!(
        finished
            .stderr
            .contains(".main()] Cannot chroot(/nonexistent/root)."),
        "{}",
        finished.stderr
    );
    launcher.wait_gone(std::time::Duration::from_secs(2));
    assert!(!launcher.folder.file("pid").exists());
}

#[test]
fn a_pidfile_that_cannot_be_created() {
    let text = configuration(
        "pidfile /nonexistent/folder/pid",
        &free_address().to_string(),
    );
    same_failure(&text, "-D -f {dir}/proxy.cfg", ":");
}

#[test]
fn a_maxconn_that_the_descriptor_limit_cannot_serve() {
    let text = |more: &str| {
        configuration(
            &format!("maxconn 20000\n{more}"),
            &free_address().to_string(),
        )
    };
    let launcher = Launcher::new(Program::Burdock).prefix("ulimit -n 200");
    launcher.configure(&text(""));
    let finished = launcher.run("-db -f {dir}/proxy.cfg");
    assert_eq!(finished.code(), 1);
    let needed = 40_000;
    let alert = &alerts(&finished, &launcher)[0];
    let number: u32 = alert
        .strip_prefix("[main()] Cannot raise FD limit to ")
        .and_then(|rest| rest.split_once(", limit is 200."))
        .and_then(|(number, _)| number.parse().ok())
        .unwrap_or_else(|| panic!("{alert}"));
    assert!((needed..needed + 200).contains(&number), "{alert}");
    // The same command with a number that fits, and the file with leave to try.
    for (more, words) in [
        ("", "-n 30 -db -f {dir}/proxy.cfg"),
        ("no strict-limits", "-db -f {dir}/proxy.cfg"),
    ] {
        launcher.configure(&text(more));
        let mut child = launcher.start(words);
        launcher.only_child(child.id(), None);
        support::process::signal(child.id(), "TERM");
        assert_eq!(launcher.finished(launcher.wait(&mut child)).code(), 143);
    }
    let said = launcher.folder.read("stderr");
    assert!(
        said.contains("FD limit (200) too low for maxconn=20000/maxsock="),
        "{said}"
    );
}

#[test]
fn nothing_to_listen_on() {
    let text = "global\n maxconn 10\n";
    same_failure(text, "-db -f {dir}/proxy.cfg", ":");
    same_failure(text, "-c -f {dir}/proxy.cfg", ":");
}

#[test]
fn a_check_says_whether_the_file_is_valid() {
    for words in ["-c -f {dir}/proxy.cfg", "-c -q -f {dir}/proxy.cfg"] {
        let both = [Program::Burdock, Program::Haproxy].map(|program| {
            let launcher = Launcher::new(program);
            // A check does not bind.
            let (_other, address) = taken();
            launcher.configure(&configuration("", &address.to_string()));
            let finished = launcher.run(words);
            (finished.code(), finished.stdout, finished.stderr)
        });
        assert_eq!(both[0], both[1]);
        assert_eq!(both[0].0, 0);
    }
}

#[test]
fn a_verbose_check_says_the_limits() {
    let launcher = Launcher::new(Program::Burdock);
    let table = "backend b\n stick-table type ip size 1k expire 1m store gpc0\n";
    launcher.configure(&(configuration("maxconn 100", &free_address().to_string()) + table));
    let finished = launcher.run("-c -V -f {dir}/proxy.cfg");
    assert_eq!(finished.code(), 0);
    for part in [
        "Configuration file is valid\n",
        "limits: 100 sessions",
        "1024 table entries",
        "MiB of memory",
    ] {
        assert!(finished.stdout.contains(part), "{}", finished.stdout);
    }
}

#[test]
fn flags_that_make_no_sense() {
    let bind = free_address().to_string();
    let text = configuration("", &bind);
    same_failure(&text, "-db -sf abc -f {dir}/proxy.cfg", ":");
    for (words, said) in [
        ("-zork", "Usage : "),
        ("", "Usage : "),
        ("-f", "'-f' expects an argument"),
        ("-n many -f {dir}/proxy.cfg", "'-n' expects a number"),
        ("-x", "Unix socket path expected with the -x flag"),
        ("-S", "'-S' expects an address"),
    ] {
        let launcher = Launcher::new(Program::Burdock);
        launcher.configure(&text);
        let finished = launcher.run(words);
        assert_eq!(finished.code(), 1, "{words}");
        assert!(
            finished.stderr.contains(said),
            "{words}: {}",
            finished.stderr
        );
    }
}

#[test]
fn versions_go_to_standard_output() {
    let launcher = Launcher::new(Program::Burdock);
    for words in ["-v", "-vv"] {
        let finished = launcher.run(words);
        assert_eq!((finished.code(), finished.stderr.as_str()), (0, ""));
        assert!(
            finished
                .stdout
                .starts_with(&format!("burdock version {}", env!("CARGO_PKG_VERSION")))
        );
    }
}

#[test]
fn conditions_are_answered_by_the_exit_code() {
    for condition in ["streq(a,a)", "streq(a,b)", "1", "0", "zork("] {
        let codes = [Program::Burdock, Program::Haproxy].map(|program| {
            Launcher::new(program)
                .run(&format!("-cc {condition}"))
                .code()
        });
        assert_eq!(codes[0], codes[1], "{condition}");
    }
}

#[test]
fn a_flag_without_effect_is_noticed() {
    let launcher = Launcher::new(Program::Burdock);
    launcher.configure(&configuration("", &free_address().to_string()));
    let finished = launcher.run("-c -dW -dM0x50 -f {dir}/proxy.cfg");
    assert_eq!(finished.code(), 0, "a notice is no warning");
    assert!(
        finished.stderr.contains("[NOTICE]") && finished.stderr.contains("'-dM0x50' is accepted")
    );
}

#[test]
fn an_inherited_descriptor_has_to_listen() {
    for address in ["fd@9", "fd@1"] {
        let launcher = Launcher::new(Program::Burdock);
        launcher.configure(&configuration("", address));
        for words in ["-c -f {dir}/proxy.cfg", "-db -f {dir}/proxy.cfg"] {
            let finished = launcher.run(words);
            assert_eq!(finished.code(), 1);
            let alerts = alerts(&finished, &launcher);
            assert!(
                alerts[0].contains("'bind' : cannot use file descriptor"),
                "{alerts:?}"
            );
        }
    }
    // So do those of peers; HAProxy has something to say of `peer me fd@1` besides.
    for (line, words) in [
        ("bind fd@9\n server me", "bind fd@9"),
        ("bind fd@9,fd@1\n server me", "bind fd@9,fd@1"),
        ("peer me fd@1", "peer me"),
    ] {
        let launcher = Launcher::new(Program::Burdock);
        launcher.configure(&format!("peers p\n {line}\n server b 127.0.0.1:3\n"));
        let finished = launcher.run("-c -L me -f {dir}/proxy.cfg");
        assert_eq!(finished.code(), 1, "{line}");
        let alert = format!("proxy.cfg:2] : '{words}' : cannot use file descriptor");
        let alerts = alerts(&finished, &launcher);
        assert!(alerts[0].contains(&alert), "{alerts:?}");
    }
    let theirs = same_failure(&configuration("", "fd@9"), "-db -f {dir}/proxy.cfg", ":");
    assert!(
        theirs[0].contains("'9' : Bad file descriptor."),
        "{theirs:?}"
    );
}

#[test]
fn a_node_that_is_not_in_its_peers_section() {
    let text = configuration("", &free_address().to_string())
        + "peers mypeers\n peer one 127.0.0.1:1\n peer two 127.0.0.1:2\n\
           backend b\n stick-table type ip size 1k peers mypeers\n";
    let launcher = Launcher::new(Program::Burdock);
    launcher.configure(&text);
    let finished = launcher.run("-c -L three -f {dir}/proxy.cfg");
    assert_eq!(finished.code(), 0);
    assert!(
        finished.stderr.contains("no peer named 'three'"),
        "{}",
        finished.stderr
    );
    assert!(
        finished.stderr.contains("one") && finished.stderr.contains("two"),
        "{}",
        finished.stderr
    );
    assert_eq!(launcher.run("-c -dW -L three -f {dir}/proxy.cfg").code(), 1);
    assert_eq!(launcher.run("-c -dW -L two -f {dir}/proxy.cfg").code(), 0);
}

#[test]
fn a_default_maxconn_fits_the_limit() {
    let launcher = Launcher::new(Program::Burdock).prefix("ulimit -n 1000");
    let peers = "peers p\n peer one 127.0.0.1:1\n peer two 127.0.0.1:2\n";
    launcher.configure(&(configuration("", &free_address().to_string()) + peers));
    let mut child = launcher.start("-db -L one -N 7 -f {dir}/proxy.cfg");
    launcher.only_child(child.id(), None);
    support::process::signal(child.id(), "INT");
    let finished = launcher.finished(launcher.wait(&mut child));
    assert_eq!(finished.code(), 130, "{}", finished.stderr);
    assert!(
        finished.stderr.contains("of 1000 descriptors"),
        "{}",
        finished.stderr
    );
}

#[test]
fn a_peers_port_in_use() {
    let (_other, address) = taken();
    let text = configuration("", &free_address().to_string())
        + &format!(
            "peers p\n peer one {address}\nbackend b\n stick-table type ip size 1k peers p\n"
        );
    same_failure(&text, "-db -L one -f {dir}/proxy.cfg", ":");
}

/// A message without the process id and the name of the folder.
fn without_places(text: &str, launcher: &Launcher) -> String {
    let folder = launcher.folder.path().display().to_string();
    let without_pid = |line: &str| match (line.find('('), line.find(')')) {
        (Some(open), Some(close)) if line.starts_with('[') => {
            format!("{}{}", &line[..open], &line[close + 1..])
        }
        _ => line.to_string(),
    };
    let lines: Vec<String> = text.lines().map(without_pid).collect();
    lines.join("\n").replace(&folder, "{dir}")
}

#[test]
fn a_check_says_whether_there_were_warnings() {
    let warned = "defaults\n mode http\nfrontend f\n bind 127.0.0.1:80\n";
    for (words, code, lines) in [
        (
            "-c -f {dir}/proxy.cfg",
            0,
            "Warnings were found.\nConfiguration file is valid\n",
        ),
        ("-c -q -f {dir}/proxy.cfg", 0, ""),
        ("-c -dW -f {dir}/proxy.cfg", 1, ""),
    ] {
        for program in [Program::Burdock, Program::Haproxy] {
            let launcher = Launcher::new(program);
            launcher.configure(warned);
            let finished = launcher.run(words);
            assert_eq!(
                (finished.code(), finished.stdout.as_str()),
                (code, lines),
                "{program:?} {words}"
            );
        }
    }
}

#[test]
fn notices_alone_are_not_introduced() {
    let said = [Program::Burdock, Program::Haproxy].map(|program| {
        let launcher = Launcher::new(program);
        let global = "maxconn 10\n.notice \"by the way\"";
        launcher.configure(&configuration(global, &free_address().to_string()));
        let finished = launcher.run("-c -f {dir}/proxy.cfg");
        without_places(&finished.stderr, &launcher)
    });
    assert_eq!(said[0], said[1]);
    assert_eq!(said[0].lines().count(), 1, "{}", said[0]);
}

#[test]
fn a_master_in_the_foreground_says_what_it_does_when_it_was_asked_for() {
    let launcher = Launcher::new(Program::Burdock);
    let address = free_address();
    let backend = "backend b\n server s 127.0.0.1:1\n";
    launcher.configure(&(configuration("", &address.to_string()) + backend));
    let mut child = launcher.start("-W -f {dir}/proxy.cfg");
    let worker = launcher.only_child(child.id(), None);
    support::eventually("the start", std::time::Duration::from_secs(5), || {
        let said = launcher.folder.read("stderr");
        said.contains("Loading success.").then_some(())
    });
    support::get(address, "/", &[]);
    support::process::signal(child.id(), "USR1");
    let finished = launcher.finished(launcher.wait(&mut child));
    assert_eq!(finished.code(), 0);
    let said = without_places(&finished.stderr, &launcher).replace(&worker.to_string(), "N");
    // HAProxy 2.6's, in its order; master and worker speak at the same time, and of limits and versions we speak otherwise.
    for told in [
        "[NOTICE]    : New worker (N) forked",
        "[NOTICE]    : Loading success.",
        "[WARNING]   : Exiting Master process...",
        "[WARNING]   : Proxy http-in stopped (cumulated conns: FE: 1, BE: 0).",
        "[WARNING]   : Proxy b stopped (cumulated conns: FE: 0, BE: 0).",
        "[WARNING]   : Current worker (N) exited with code 0 (Exit)",
        "[WARNING]   : All workers exited. Exiting... (0)",
    ] {
        assert!(said.lines().any(|line| line == told), "{told}: {said}");
    }
}

#[test]
fn without_w_a_stop_is_told_by_the_proxies_alone() {
    for (words, stopped) in [
        ("-db -f {dir}/proxy.cfg", 2),
        ("-q -db -f {dir}/proxy.cfg", 0),
    ] {
        let launcher = Launcher::new(Program::Burdock);
        let backend = "backend b\n server s 127.0.0.1:1\n";
        launcher.configure(&(configuration("", &free_address().to_string()) + backend));
        let mut child = launcher.start(words);
        launcher.only_child(child.id(), None);
        support::process::signal(child.id(), "USR1");
        let said = launcher.finished(launcher.wait(&mut child)).stderr;
        let lines: Vec<&str> = said
            .lines()
            .filter(|line| line.starts_with("[WARNING]"))
            .collect();
        assert_eq!(lines.len(), stopped, "{said}");
        assert!(
            lines
                .iter()
                .all(|line| line.contains("stopped (cumulated conns: FE: ")),
            "{said}"
        );
    }
}
