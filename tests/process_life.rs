//! A service from its start to its end: daemon, pidfile, privileges, signals, a worker that dies.

pub mod support;

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use support::process::signal;
use support::{Launcher, Program, Stats, free_address, status_field, wait_until};

const SOON: Duration = Duration::from_secs(20);

fn configuration(global: &str, bind: SocketAddr) -> String {
    format!(
        "global\n{global}\ndefaults\n mode http\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n\
         frontend http-in\n bind {bind}\n"
    )
}

fn accepts(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

/// A daemon that runs; the address it listens on, and the pid in its pidfile.
fn daemon(global: &str) -> (Launcher, SocketAddr, u32) {
    let launcher = Launcher::new(Program::Burdock);
    let address = free_address();
    launcher.configure(&configuration(global, address));
    let finished = launcher.run("-D -p {dir}/pid -f {dir}/proxy.cfg");
    assert_eq!(finished.code(), 0, "{}", finished.stderr);
    let master = launcher.pid_in("pid");
    (launcher, address, master)
}

fn end(launcher: &Launcher, master: u32) {
    signal(master, "TERM");
    launcher.wait_gone(SOON);
    assert!(
        !launcher.folder.file("pid").exists(),
        "the pidfile goes with its process"
    );
}

#[test]
fn a_daemon_serves_when_its_command_ends() {
    let (launcher, address, master) = daemon("");
    assert!(accepts(address));
    let worker = launcher.only_child(master, None);
    assert_eq!(launcher.processes().len(), 2);
    for pid in [master, worker] {
        for descriptor in 0..3 {
            let target = std::fs::read_link(format!("/proc/{pid}/fd/{descriptor}"))
                .expect("an open descriptor");
            assert_eq!(
                target.to_str(),
                Some("/dev/null"),
                "descriptor {descriptor} of {pid}"
            );
        }
    }
    // In a session of its own, and not its leader.
    let stat = std::fs::read_to_string(format!("/proc/{master}/stat")).expect("a process");
    let session: u32 = stat
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.split(' ').nth(3)?.parse().ok())
        .expect("a session");
    assert_ne!(session, master);
    end(&launcher, master);
    assert!(!accepts(address));
}

#[test]
fn the_keyword_daemon_is_the_flag() {
    let launcher = Launcher::new(Program::Burdock);
    let address = free_address();
    launcher.configure(&configuration("daemon\npidfile {dir}/pid", address));
    assert_eq!(launcher.run("-f {dir}/proxy.cfg").code(), 0);
    assert!(accepts(address));
    end(&launcher, launcher.pid_in("pid"));
    // -db wins over it, and leaves the pidfile alone.
    let mut child = launcher.start("-db -f {dir}/proxy.cfg");
    launcher.only_child(child.id(), None);
    wait_until("the port", || accepts(address));
    assert!(!launcher.folder.file("pid").exists());
    signal(child.id(), "INT");
    assert_eq!(launcher.finished(launcher.wait(&mut child)).code(), 130);
}

#[test]
fn the_pidfile_of_a_successor_stays() {
    let (launcher, _, master) = daemon("");
    launcher.folder.write("pid", "1\n");
    signal(master, "TERM");
    launcher.wait_gone(SOON);
    assert_eq!(launcher.folder.read("pid"), "1\n");
}

#[test]
fn signals_end_the_foreground_with_their_number() {
    for (name, code) in [("TERM", 143), ("INT", 130), ("USR1", 0)] {
        let launcher = Launcher::new(Program::Burdock);
        let address = free_address();
        launcher.configure(&configuration("", address));
        let mut child = launcher.start("-W -p {dir}/pid -f {dir}/proxy.cfg");
        wait_until("the port", || accepts(address));
        launcher.only_child(child.id(), None);
        assert_eq!(launcher.pid_in("pid"), child.id());
        signal(child.id(), name);
        assert_eq!(
            launcher.finished(launcher.wait(&mut child)).code(),
            code,
            "SIG{name}"
        );
        launcher.wait_gone(SOON);
        assert!(!launcher.folder.file("pid").exists());
    }
}

#[test]
fn a_worker_that_does_not_listen_to_orders_is_killed_in_time() {
    let (launcher, address, master) = daemon("");
    let worker = launcher.only_child(master, None);
    signal(worker, "STOP");
    wait_until("the worker to halt", || {
        status_field(worker, "State").is_some_and(|state| state.starts_with('T'))
    });
    // A worker that has halted never ends by itself.
    signal(master, "TERM");
    launcher.wait_gone(SOON);
    assert!(!accepts(address));
}

#[test]
fn a_killed_worker_is_replaced_on_the_same_sockets() {
    let (launcher, address, master) = daemon("stats socket {dir}/stats mode 600 level admin");
    let inode = std::fs::metadata(launcher.folder.file("stats"))
        .expect("a socket")
        .ino();
    let mut worker = launcher.only_child(master, None);
    for _ in 0..3 {
        signal(worker, "KILL");
        // The socket is never closed: connections wait for the next worker.
        assert!(accepts(address));
        worker = launcher.only_child(master, Some(worker));
    }
    assert_eq!(launcher.pid_in("pid"), master);
    assert_eq!(
        std::fs::metadata(launcher.folder.file("stats"))
            .expect("a socket")
            .ino(),
        inode
    );
    end(&launcher, master);
}

#[test]
fn a_worker_dies_with_its_master() {
    let (launcher, address, master) = daemon("");
    signal(master, "KILL");
    launcher.wait_gone(SOON);
    assert!(!accepts(address));
}

#[test]
fn a_soft_stop_of_the_worker_alone_ends_the_service_too() {
    let (launcher, address, master) = daemon("");
    signal(launcher.only_child(master, None), "USR1");
    launcher.wait_gone(SOON);
    assert!(!accepts(address));
    assert!(!launcher.folder.file("pid").exists());
}

#[test]
fn signals_that_mean_nothing_change_nothing() {
    let (launcher, address, master) = daemon("");
    let worker = launcher.only_child(master, None);
    for name in ["QUIT", "TTOU", "TTIN", "PIPE"] {
        signal(master, name);
        signal(worker, name);
    }
    // These two are the master's alone.
    for name in ["USR2", "HUP"] {
        signal(worker, name);
    }
    assert!(accepts(address));
    assert_eq!(launcher.only_child(master, None), worker);
    end(&launcher, master);
}

/// Whether this test may change users and roots.
fn is_root() -> bool {
    status_field(std::process::id(), "Uid").is_some_and(|ids| ids.starts_with('0'))
}

#[test]
fn the_worker_has_no_privileges_and_the_master_keeps_them() {
    if !is_root() {
        return;
    }
    let launcher = Launcher::new(Program::Burdock);
    let address = free_address();
    let root = launcher.folder.file("root");
    std::fs::create_dir(&root).expect("a folder");
    launcher.configure(&configuration(
        "chroot {dir}/root\nuser nobody\ngroup nogroup\nstats socket {dir}/stats mode 640 user nobody group nogroup level admin",
        address,
    ));
    assert_eq!(launcher.run("-D -p {dir}/pid -f {dir}/proxy.cfg").code(), 0);
    let master = launcher.pid_in("pid");
    let check = |worker: u32| {
        let ids = |text: &str| {
            text.split_whitespace()
                .map(String::from)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            ids(&status_field(worker, "Uid").expect("a process")),
            ["65534"; 4]
        );
        assert_eq!(
            ids(&status_field(worker, "Gid").expect("a process")),
            ["65534"; 4]
        );
        assert_eq!(status_field(worker, "Groups").as_deref(), Some(""));
        assert_eq!(
            std::fs::read_link(format!("/proc/{worker}/root")).expect("a root"),
            root
        );
        assert_eq!(
            std::fs::read_link(format!("/proc/{worker}/cwd")).expect("a folder"),
            root
        );
    };
    let worker = launcher.only_child(master, None);
    check(worker);
    assert!(status_field(master, "Uid").is_some_and(|ids| ids.starts_with('0')));
    let socket = std::fs::metadata(launcher.folder.file("stats")).expect("a socket");
    assert_eq!(
        (
            socket.permissions().mode() & 0o777,
            socket.uid(),
            socket.gid()
        ),
        (0o640, 65534, 65534)
    );
    // A worker that follows has to give up the same privileges, from outside the new root.
    signal(worker, "KILL");
    let next = launcher.only_child(master, Some(worker));
    wait_until("the next worker to enter its root", || {
        std::fs::read_link(format!("/proc/{next}/root")).is_ok_and(|path| path == root)
    });
    wait_until("the next worker to change its user", || {
        status_field(next, "Uid").is_some_and(|ids| ids.starts_with("65534"))
    });
    check(next);
    end(&launcher, master);
}

#[test]
fn an_inherited_socket_is_served_and_given_up() {
    for (number, prefix) in [(7, "exec 7<&0 </dev/null"), (0, ":")] {
        let listener = TcpListener::bind(free_address()).expect("a free address");
        let address = listener.local_addr().expect("an address");
        let launcher = Launcher::new(Program::Burdock).prefix(prefix);
        launcher.configure(&format!(
            "defaults\n mode http\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n\
             frontend f\n bind fd@{number}\n"
        ));
        let mut child =
            launcher.start_with_socket("-db -f {dir}/proxy.cfg", OwnedFd::from(listener));
        launcher.only_child(child.id(), None);
        assert!(accepts(address));
        signal(child.id(), "USR1");
        assert_eq!(launcher.finished(launcher.wait(&mut child)).code(), 0);
        assert!(!accepts(address));
    }
}

#[test]
fn stale_sockets_give_way_and_files_do_not() {
    let launcher = Launcher::new(Program::Burdock);
    let address = free_address();
    launcher.configure(&configuration("stats socket {dir}/stats", address));
    drop(std::os::unix::net::UnixListener::bind(launcher.folder.file("stats")).expect("a socket"));
    let mut child = launcher.start("-db -f {dir}/proxy.cfg");
    launcher.only_child(child.id(), None);
    wait_until("the stats socket", || {
        std::os::unix::net::UnixStream::connect(launcher.folder.file("stats")).is_ok()
    });
    signal(child.id(), "TERM");
    launcher.wait(&mut child);
    std::fs::remove_file(launcher.folder.file("stats"))
        .expect("the socket stays, as HAProxy's does");
    launcher.folder.write("stats", "somebody's file");
    let finished = launcher.run("-db -f {dir}/proxy.cfg");
    assert_eq!(finished.code(), 1);
    assert!(
        finished
            .stderr
            .contains("cannot bind UNIX socket (File exists) ["),
        "{}",
        finished.stderr
    );
    assert_eq!(launcher.folder.read("stats"), "somebody's file");
}

#[test]
fn the_old_process_is_told_when_the_new_one_runs() {
    use Program::{Burdock, Haproxy};
    for (flag, old_kind, new_kind) in [
        ("-sf", Burdock, Burdock),
        ("-st", Burdock, Burdock),
        ("-sf", Haproxy, Burdock),
        ("-sf", Burdock, Haproxy),
    ] {
        let old = Launcher::new(old_kind);
        let address = free_address();
        old.configure(&configuration("", address));
        assert_eq!(old.run("-D -p {dir}/pid -f {dir}/proxy.cfg").code(), 0);
        let new = Launcher::new(new_kind);
        new.configure(&configuration("", address));
        let words = format!(
            "-D -p {{dir}}/pid -f {{dir}}/proxy.cfg {flag} {}",
            old.pid_in("pid")
        );
        let finished = new.run(&words);
        assert_eq!(finished.code(), 0, "{}", finished.stderr);
        old.wait_gone(SOON);
        assert!(accepts(address));
        signal(new.pid_in("pid"), "TERM");
        new.wait_gone(SOON);
    }
}

/// The old process teaches the new one through the local peer, also when every other node is gone.
#[test]
fn a_successor_is_taught_the_whole_table() {
    use Program::{Burdock, Haproxy};
    const ENTRIES: usize = 500;
    for (old_kind, new_kind) in [(Burdock, Burdock), (Haproxy, Burdock), (Burdock, Haproxy)] {
        let text = format!(
            "{}\n default_backend b\npeers p\n peer me {}\n peer gone {}\n\
             backend b\n stick-table type string len 32 size 10k expire 5m store gpc0 peers p\n",
            configuration(" stats socket {dir}/stats level admin", free_address()),
            free_address(),
            free_address()
        );
        let words = "-D -L me -p {dir}/pid -f {dir}/proxy.cfg";
        let old = Launcher::new(old_kind);
        old.configure(&text);
        assert_eq!(old.run(words).code(), 0);
        let stats = Stats::at(old.folder.file("stats"));
        for first in (0..ENTRIES).step_by(50) {
            let set = |entry| format!("set table b key session-{entry} data.gpc0 {entry}");
            let commands: Vec<String> = (first..first + 50).map(set).collect();
            stats.command(&commands.join(";"));
        }
        assert_eq!(stats.entries("b").len(), ENTRIES);
        if old_kind == Haproxy {
            // It teaches only what it believes to be complete: once its own search for a teacher is over.
            wait_until("the old process is sure of its table", || {
                stats
                    .command("show peers")
                    .contains("resync_timeout=<PAST>")
            });
        }
        let new = Launcher::new(new_kind);
        new.configure(&text);
        let finished = new.run(&format!("{words} -sf {}", old.pid_in("pid")));
        assert_eq!(finished.code(), 0, "{}", finished.stderr);
        let stats = Stats::at(new.folder.file("stats"));
        wait_until("the new process has every entry", || {
            stats.entries("b").len() == ENTRIES
        });
        old.wait_gone(2 * SOON);
        signal(new.pid_in("pid"), "TERM");
        new.wait_gone(SOON);
    }
}

#[test]
fn a_failed_successor_leaves_the_old_process_alone() {
    let (old, address, master) = daemon("");
    let new = Launcher::new(Program::Burdock);
    let taken = TcpListener::bind(free_address()).expect("a free address");
    let other = taken.local_addr().expect("an address");
    new.configure(&format!("{} bind {other}\n", configuration("", address)));
    let finished = new.run(&format!(
        "-D -p {{dir}}/pid -f {{dir}}/proxy.cfg -sf {master}"
    ));
    assert_eq!(finished.code(), 1);
    assert!(accepts(address));
    end(&old, master);
}

#[test]
fn a_syslog_daemon_that_restarts_is_followed_out_of_the_chroot() {
    let launcher = Launcher::new(Program::Burdock);
    let address = free_address();
    std::fs::create_dir(launcher.folder.file("root")).expect("a folder");
    let path = launcher.folder.file("log");
    let listen = || {
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket
            .set_nonblocking(true)
            .expect("a socket that does not block");
        socket
    };
    let global = "chroot {dir}/root\nuser nobody\ngroup nogroup\nlog {dir}/log local0";
    let text = configuration(global, address)
        .replace("mode http", "mode http\n log global\n option httplog");
    launcher.configure(&text);
    let hears = |socket: &UnixDatagram, path: &str| {
        let mut buffer = [0; 1024];
        wait_until("a logged request", || {
            support::get(address, path, &[]);
            std::iter::from_fn(|| {
                socket
                    .recv(&mut buffer)
                    .ok()
                    .map(|count| buffer[..count].to_vec())
            })
            .any(|line| String::from_utf8_lossy(&line).contains(path))
        });
    };
    let first = listen();
    assert_eq!(launcher.run("-D -p {dir}/pid -f {dir}/proxy.cfg").code(), 0);
    hears(&first, "/before");
    drop(first);
    std::fs::remove_file(&path).expect("the socket's name");
    support::get(address, "/nobody-hears", &[]);
    let second = listen();
    hears(&second, "/after");
    end(&launcher, launcher.pid_in("pid"));
}

#[test]
fn what_outlives_hard_stop_after_is_killed_and_logged() {
    let told = [Program::Burdock, Program::Haproxy].map(|program| {
        let log = support::Syslog::start();
        let origin = support::Origin::start(|request| match request.target() {
            "/slow" => support::Answer::silence(),
            _ => support::Answer::ok("", &[]),
        });
        let launcher = Launcher::new(program);
        let address = free_address();
        let global = format!(
            "log {} format raw local0\nhard-stop-after 300ms",
            log.address()
        );
        let text = configuration(&global, address)
            .replace("mode http", "mode http\n log global\n option httplog")
            .replace("1s", "8s");
        let backend = format!(
            " default_backend b\nbackend b\n server s {}\n",
            origin.address()
        );
        launcher.configure(&(text + &backend));
        let mut child = launcher.start("-db -f {dir}/proxy.cfg");
        wait_until("the start", || accepts(address));
        support::get(address, "/", &[]);
        let mut slow = TcpStream::connect(address).expect("a connection");
        slow.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            .expect("a request");
        wait_until("the request", || origin.requests_for("/slow").len() == 1);
        signal(child.id(), "USR1");
        let finished = launcher.finished(launcher.wait(&mut child));
        assert_eq!(finished.code(), 0);
        (finished.stderr, log)
    });
    for (stderr, log) in told {
        let warning = "soft-stop running for too long, performing a hard-stop.";
        let closed = "Proxy http-in hard-stopped (1 remaining conns will be closed).";
        assert!(
            stderr.contains(warning) && stderr.contains(closed),
            "{stderr}"
        );
        for part in [warning, closed, " KH", "GET /slow"] {
            wait_until(part, || log.lines().iter().any(|line| line.contains(part)));
        }
    }
}

/// A place that a killed stream gives back must not go to one that is killed next.
#[test]
fn who_waits_in_a_queue_is_killed_too() {
    let origin = support::Origin::start(|_| support::Answer::silence());
    let address = free_address();
    let mut proxy = support::Proxy::start(
        Program::Burdock,
        &format!(
            "global\n stats socket {{dir}}/stats.sock\n hard-stop-after 300ms\n\
             defaults\n mode http\n timeout client 9s\n timeout server 9s\n timeout connect 9s\n\
             frontend f\n bind {address}\n default_backend b\n\
             backend b\n server s {} maxconn 1\n",
            origin.address()
        ),
    );
    let ask = |path: &str| {
        let mut client = TcpStream::connect(address).expect("a connection");
        write!(client, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
        client
    };
    let _served = ask("/first");
    wait_until("the first request", || {
        origin.requests_for("/first").len() == 1
    });
    let _waiting = ["/second", "/third"].map(ask);
    wait_until("two to wait for the one that is served", || {
        let stat = proxy.command("show stat");
        stat.lines().any(|line| line.starts_with("b,BACKEND,2,"))
    });
    proxy.signal("USR1");
    let status = proxy.wait_exit(SOON);
    assert_eq!(status.code(), Some(0), "{}", proxy.stderr());
    assert!(!proxy.stderr().contains("panicked"), "{}", proxy.stderr());
}

#[test]
fn systemd_is_told() {
    let launcher = Launcher::new(Program::Burdock).environment("NOTIFY_SOCKET", "{dir}/notify");
    let socket = UnixDatagram::bind(launcher.folder.file("notify")).expect("a socket");
    socket.set_read_timeout(Some(SOON)).expect("a timeout");
    launcher.configure(&configuration("daemon", free_address()));
    let mut child = launcher.start("-Ws -f {dir}/proxy.cfg");
    let mut buffer = [0; 512];
    let mut heard = || {
        let count = socket.recv(&mut buffer).expect("a notice in time");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    };
    let ready = heard();
    assert!(ready.contains("READY=1\n"), "{ready}");
    assert!(
        ready.contains(&format!("MAINPID={}\n", child.id())),
        "{ready}"
    );
    signal(child.id(), "TERM");
    let stopping = heard();
    assert!(stopping.contains("STOPPING=1\n"), "{stopping}");
    assert_eq!(launcher.finished(launcher.wait(&mut child)).code(), 143);
}

#[test]
fn files_are_found_from_the_folder_of_the_flag() {
    let launcher = Launcher::new(Program::Burdock);
    launcher.configure(&configuration("", free_address()));
    assert_eq!(launcher.run("-c -C {dir} -f proxy.cfg").code(), 0);
    assert_eq!(launcher.run("-c -f proxy.cfg").code(), 1);
    assert_eq!(launcher.run("-c -C {dir} -- proxy.cfg").code(), 0);
}
