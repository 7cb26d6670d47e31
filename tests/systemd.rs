//! `-Ws`: what systemd hears over a start, reloads that succeed and fail, and a stop; and the unit file.

pub mod support;

use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};
use std::process::Child;
use std::time::Duration;

use support::process::signal;
use support::{Launcher, Origin, Program, Stats, free_address, get, taken_name, wait_until};

const SOON: Duration = Duration::from_secs(10);

/// In systemd's place: a datagram socket, at a path or with an abstract name.
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    fn bind(address: &UnixAddress) -> Manager {
        let socket = UnixDatagram::bind_addr(address).expect("a socket");
        socket.set_read_timeout(Some(SOON)).expect("a time limit");
        Manager { socket }
    }

    /// The next message, as its lines.
    fn next(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        let count = self.socket.recv(&mut bytes).expect("a message");
        let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
        text.lines().map(String::from).collect()
    }

    fn expect_ready(&self, pid: u32, status: &str) {
        let message = self.next();
        let [ready, main, said] = &message[..] else {
            panic!("{message:?}");
        };
        assert_eq!(ready, "READY=1");
        assert_eq!(main, &format!("MAINPID={pid}"));
        assert!(said.starts_with(&format!("STATUS={status}")), "{said}");
    }

    /// RELOADING, with a time between `since_us` and now.
    fn expect_reloading(&self, since_us: u64) {
        let message = self.next();
        assert_eq!(message[0], "RELOADING=1", "{message:?}");
        let time = message[1].strip_prefix("MONOTONIC_USEC=");
        let time: u64 = time.expect("a time").parse().expect("a number");
        assert!((since_us..=monotonic_us()).contains(&time), "{time}");
        assert_eq!(message[2], "STATUS=Reloading");
    }
}

fn monotonic_us() -> u64 {
    burdock::sys::time::monotonic_us()
}

fn configuration(front: SocketAddr, server: SocketAddr) -> String {
    format!(
        "global\n stats socket {{dir}}/stats.sock level admin\n\
         defaults\n mode http\n timeout client 10s\n timeout server 10s\n timeout connect 5s\n\
         frontend f\n bind {front}\n default_backend b\n\
         backend b\n server s {server}\n"
    )
}

struct Service {
    launcher: Launcher,
    manager: Manager,
    front: SocketAddr,
    child: Child,
}

impl Service {
    fn start(name: &str, address: &UnixAddress, origin: &Origin) -> Service {
        let manager = Manager::bind(address);
        let launcher = Launcher::new(Program::Burdock).environment("NOTIFY_SOCKET", name);
        let front = free_address();
        // A configuration that clears its environment must not lose systemd (nor the harness its processes).
        let text = configuration(front, origin.address());
        launcher.configure(&text.replacen(
            "global\n",
            "global\n resetenv PATH BURDOCK_TEST_FOLDER\n",
            1,
        ));
        let child = launcher.start("-Ws -p {dir}/pid -f {dir}/proxy.cfg");
        let service = Service {
            launcher,
            manager,
            front,
            child,
        };
        service.manager.expect_ready(service.child.id(), "Ready.");
        service
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn worker(&self) -> String {
        let info = Stats::at(self.launcher.folder.file("stats.sock")).command("show info");
        let pid = info.lines().find_map(|line| line.strip_prefix("Pid: "));
        pid.expect("a pid").to_string()
    }

    fn reload(&self) {
        let before_us = monotonic_us();
        signal(self.pid(), "USR2");
        self.manager.expect_reloading(before_us);
    }

    fn stop(mut self, name: &str, status: &str, code: i32) {
        signal(self.pid(), name);
        assert_eq!(
            self.manager.next(),
            ["STOPPING=1", &format!("STATUS={status}")]
        );
        let status = self.launcher.wait(&mut self.child);
        assert_eq!(self.launcher.finished(status).code(), code);
        self.launcher.wait_gone(SOON);
    }
}

fn life(name: &str, address: &UnixAddress) {
    let origin = Origin::named("one");
    let service = Service::start(name, address, &origin);
    assert_eq!(get(service.front, "/", &[]).text(), "one");
    let first = service.worker();

    service.reload();
    service.manager.expect_ready(service.pid(), "Ready.");
    let second = service.worker();
    assert_ne!(first, second);

    let good = service.launcher.folder.read("proxy.cfg");
    service
        .launcher
        .folder
        .write("proxy.cfg", format!("{good} zork\n"));
    service.reload();
    service.manager.expect_ready(
        service.pid(),
        "Reload failed: the configuration is not good: config : parsing [",
    );
    assert_eq!(service.worker(), second);

    // What the check cannot find out fails in the new image, which goes on with the old worker.
    let (name, _holder) = taken_name();
    let late = good.replace("frontend f\n", &format!("frontend f\n bind abns@{name}\n"));
    service.launcher.folder.write("proxy.cfg", late);
    service.reload();
    service
        .manager
        .expect_ready(service.pid(), "Reload failed: Binding [");
    assert_eq!(service.worker(), second);
    assert_eq!(get(service.front, "/", &[]).text(), "one");

    service.launcher.folder.write("proxy.cfg", good);
    service.reload();
    service.manager.expect_ready(service.pid(), "Ready.");
    assert_ne!(service.worker(), second);
    service.stop("TERM", "Stopping", 143);
}

#[test]
fn systemd_hears_of_a_whole_life() {
    let folder = support::TempDir::new("systemd");
    let path = folder.file("notify");
    let address = UnixAddress::from_pathname(&path).expect("an address");
    life(&path.display().to_string(), &address);
}

#[test]
fn an_abstract_name_will_do() {
    let name = format!("burdock-notify-{}", free_address().port());
    let address = UnixAddress::from_abstract_name(&name).expect("an address");
    life(&format!("@{name}"), &address);
}

#[test]
fn a_soft_stop_is_told() {
    let folder = support::TempDir::new("systemd");
    let path = folder.file("notify");
    let address = UnixAddress::from_pathname(&path).expect("an address");
    let origin = Origin::named("one");
    let service = Service::start(&path.display().to_string(), &address, &origin);
    service.stop("USR1", "Finishing what is running", 0);
}

/// A worker that is killed in the middle of a reload: READY follows all the same.
#[test]
fn every_reload_ends() {
    let folder = support::TempDir::new("systemd");
    let path = folder.file("notify");
    let address = UnixAddress::from_pathname(&path).expect("an address");
    let origin = Origin::named("one");
    let service = Service::start(&path.display().to_string(), &address, &origin);
    for round in 0..10 {
        let worker: u32 = service.worker().parse().expect("a pid");
        service.reload();
        // Before, while, or after it hands over.
        std::thread::sleep(Duration::from_millis(round * 6));
        signal(worker, "KILL");
        loop {
            let message = service.manager.next();
            match message[0].as_str() {
                "READY=1" => break,
                // Killed before the check had ended: replaced, and then reloaded.
                "STATUS=Ready; the worker was replaced" => {}
                _ => panic!("{message:?}"),
            }
        }
        wait_until("an answer", || {
            support::Client::try_connect(service.front).is_ok()
        });
        assert_eq!(get(service.front, "/", &[]).text(), "one");
    }
    // Late news of a replaced worker come before the end.
    signal(service.pid(), "TERM");
    loop {
        let message = service.manager.next();
        if message[0] == "STOPPING=1" {
            break;
        }
        assert!(message[0].starts_with("STATUS="), "{message:?}");
    }
    let mut service = service;
    service.launcher.wait(&mut service.child);
    service.launcher.wait_gone(SOON);
}

#[test]
fn without_ws_nothing_is_told() {
    let folder = support::TempDir::new("systemd");
    let path = folder.file("notify");
    let address = UnixAddress::from_pathname(&path).expect("an address");
    let manager = Manager::bind(&address);
    let launcher =
        Launcher::new(Program::Burdock).environment("NOTIFY_SOCKET", &path.display().to_string());
    let origin = Origin::named("one");
    launcher.configure(&configuration(free_address(), origin.address()));
    let mut child = launcher.start("-W -p {dir}/pid -f {dir}/proxy.cfg");
    let stats = Stats::at(launcher.folder.file("stats.sock"));
    wait_until("the service", || stats.try_command("show info").is_some());
    signal(child.id(), "TERM");
    launcher.wait(&mut child);
    manager.socket.set_nonblocking(true).expect("a flag");
    assert!(manager.socket.recv(&mut [0; 10]).is_err());
}

/// The commands of the unit, with this binary and this configuration in the place of the installed ones.
#[test]
fn the_unit_starts_reloads_and_stops_it() {
    let unit = include_str!("../scripts/burdock.service");
    let commands = |name: &str| -> Vec<String> {
        let lines = unit.lines().filter_map(|line| line.strip_prefix(name));
        lines.map(String::from).collect()
    };
    assert!(unit.contains("\nType=notify\n") && unit.contains("\nSuccessExitStatus=143\n"));
    let folder = support::TempDir::new("systemd");
    let path = folder.file("notify");
    let address = UnixAddress::from_pathname(&path).expect("an address");
    let manager = Manager::bind(&address);
    let launcher =
        Launcher::new(Program::Burdock).environment("NOTIFY_SOCKET", &path.display().to_string());
    let origin = Origin::named("one");
    launcher.configure(&configuration(free_address(), origin.address()));
    let words = |command: &str| -> String {
        let words = command.strip_prefix("/usr/sbin/burdock ").expect("burdock");
        words
            .replace("$CONFIG", "{dir}/proxy.cfg")
            .replace("$PIDFILE", "{dir}/pid")
            .replace("$EXTRAOPTS", "-S {dir}/master,mode,600")
    };
    let [before] = &commands("ExecStartPre=")[..] else {
        panic!("one ExecStartPre");
    };
    let finished = launcher.run(&words(before));
    assert_eq!((finished.code(), finished.stderr.as_str()), (0, ""));
    let mut child = launcher.start(&words(&commands("ExecStart=")[0]));
    manager.expect_ready(child.id(), "Ready.");
    let reload = commands("ExecReload=");
    assert_eq!(reload.len(), 2);
    assert_eq!(launcher.run(&words(&reload[0])).code(), 0);
    assert_eq!(reload[1], "/bin/kill -USR2 $MAINPID");
    signal(child.id(), "USR2");
    manager.expect_reloading(0);
    manager.expect_ready(child.id(), "Ready.");
    // A configuration that is not good stops the reload at its first command.
    let good = launcher.folder.read("proxy.cfg");
    launcher.folder.write("proxy.cfg", format!("{good} zork\n"));
    assert_eq!(launcher.run(&words(&reload[0])).code(), 1);
    signal(child.id(), "TERM");
    let status = launcher.wait(&mut child);
    assert_eq!(launcher.finished(status).code(), 143);
}
