//! `-x`: the listening sockets of a running process, and with `-sf` its tables, pass between HAProxy and burdock in both
//! directions; no connection is refused meanwhile.

pub mod support;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use support::process::signal;
use support::{
    Client, Launcher, Origin, Program, Stats, eventually, free_address, get, wait_until,
};

const SOON: Duration = Duration::from_secs(10);
const SESSIONS: usize = 100;

/// A configuration that both programs run, and who answers behind it.
struct Place {
    text: String,
    front: SocketAddr,
}

impl Place {
    fn new(servers: &[Origin; 2], extra: &str) -> Place {
        let (peer, gone) = (free_address(), free_address());
        Place::with_peers(
            servers,
            &format!(" peer me {peer}\n peer gone {gone}\n"),
            extra,
        )
    }

    fn with_peers(servers: &[Origin; 2], peers: &str, extra: &str) -> Place {
        let front = free_address();
        let [one, two] = servers.each_ref().map(Origin::address);
        Place {
            text: format!(
                "global\n stats socket {{dir}}/stats.sock mode 600 level admin expose-fd listeners\n\
                 defaults\n mode http\n timeout client 10s\n timeout server 10s\n timeout connect 5s\n\
                 peers p\n{peers}\
                 frontend f\n bind {front}\n default_backend b\n{extra}\
                 backend b\n balance roundrobin\n option httpclose\n\
                 stick-table type string len 32 size 10k expire 5m peers p\n\
                 stick on req.cook(ID)\n server one {one}\n server two {two}\n"
            ),
            front,
        }
    }

    /// Starts a program in the place of `old`, with `-x` and `-sf`, or as the first one.
    fn start(&self, program: Program, old: Option<&Launcher>) -> Launcher {
        let launcher = Launcher::new(program);
        launcher.configure(&self.text);
        let words = "-D -L me -p {dir}/pid -f {dir}/proxy.cfg";
        let words = match old {
            None => words.to_string(),
            Some(old) => format!(
                "{words} -x {} -sf {}",
                old.folder.file("stats.sock").display(),
                old.pid_in("pid")
            ),
        };
        let finished = launcher.run(&words);
        assert_eq!(finished.code(), 0, "{program:?}: {}", finished.stderr);
        launcher
    }
}

fn stats(launcher: &Launcher) -> Stats {
    Stats::at(launcher.folder.file("stats.sock"))
}

fn end(launcher: &Launcher) {
    signal(launcher.pid_in("pid"), "TERM");
    launcher.wait_gone(SOON);
}

/// An HAProxy teaches only what it believes to be complete: once its own search for a teacher is over.
fn wait_sure(launcher: &Launcher) {
    wait_until("the old process is sure of its table", || {
        stats(launcher)
            .command("show peers")
            .contains("resync_timeout=<PAST>")
    });
}

fn ask(front: SocketAddr, id: usize) -> Result<String, String> {
    let request =
        format!("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nCookie: ID=session{id}\r\n\r\n");
    let mut client = Client::try_connect(front).map_err(|error| format!("connecting: {error}"))?;
    client
        .try_send(request)
        .map_err(|error| format!("sending: {error}"))?;
    let answer = client
        .try_read_response()
        .map_err(|error| format!("reading: {error}"))?;
    match answer.status {
        200 => Ok(answer.text()),
        status => Err(format!("status {status}")),
    }
}

/// Clients with a connection for each request; what goes wrong is counted, not asserted.
struct Hammer {
    stop: Arc<AtomicBool>,
    requests: Arc<AtomicUsize>,
    wrong: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Hammer {
    fn start(front: SocketAddr, home: &HashMap<usize, String>) -> Hammer {
        let mut hammer = Hammer {
            stop: Arc::default(),
            requests: Arc::default(),
            wrong: Arc::default(),
            failures: Arc::default(),
            threads: Vec::new(),
        };
        for thread in 0..4 {
            let (stop, requests, wrong, failures, home) = (
                hammer.stop.clone(),
                hammer.requests.clone(),
                hammer.wrong.clone(),
                hammer.failures.clone(),
                home.clone(),
            );
            hammer.threads.push(std::thread::spawn(move || {
                for round in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let id = (round * 7 + thread) % home.len();
                    match ask(front, id) {
                        Ok(server) if server == home[&id] => {}
                        Ok(_) => drop(wrong.fetch_add(1, Ordering::Relaxed)),
                        Err(text) => failures.lock().unwrap().push(text),
                    }
                    requests.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        hammer.wait_for(50);
        hammer
    }

    fn wait_for(&self, requests: usize) {
        let until = self.requests.load(Ordering::Relaxed) + requests;
        wait_until("requests", || {
            self.requests.load(Ordering::Relaxed) >= until
        });
    }

    /// Requests that reached a wrong server so far.
    fn wrong(&self) -> usize {
        self.wrong.load(Ordering::Relaxed)
    }

    fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("a client panicked");
        }
        let failures = self.failures.lock().unwrap();
        let shown = &failures[..failures.len().min(5)];
        assert!(failures.is_empty(), "{} failed: {shown:?}", failures.len());
    }
}

fn homes(front: SocketAddr) -> HashMap<usize, String> {
    let home: HashMap<usize, String> = (0..SESSIONS)
        .map(|id| (id, ask(front, id).expect("an answer")))
        .collect();
    assert!(home.values().any(|server| server == "one"));
    assert!(home.values().any(|server| server == "two"));
    home
}

fn servers() -> [Origin; 2] {
    [Origin::named("one"), Origin::named("two")]
}

#[test]
fn from_haproxy_and_back_nothing_is_refused_and_no_entry_is_lost() {
    let servers = servers();
    let place = Place::new(&servers, "");
    let haproxy = place.start(Program::Haproxy, None);
    let home = homes(place.front);
    wait_sure(&haproxy);
    let hammer = Hammer::start(place.front, &home);

    let burdock = place.start(Program::Burdock, Some(&haproxy));
    haproxy.wait_gone(2 * SOON);
    hammer.wait_for(200);
    assert_eq!(hammer.wrong(), 0, "burdock serves only what it has learnt");
    assert_eq!(stats(&burdock).entries("b").len(), SESSIONS);

    // HAProxy answers from the first moment, before it has learnt: what that costs is its own.
    let again = place.start(Program::Haproxy, Some(&burdock));
    burdock.wait_gone(2 * SOON);
    wait_until("the new HAProxy has every entry", || {
        stats(&again).entries("b").len() == SESSIONS
    });
    hammer.wait_for(200);
    println!("HAProxy sent {} requests to a wrong server", hammer.wrong());
    hammer.end();
    end(&again);
}

#[test]
fn from_burdock_to_burdock() {
    let servers = servers();
    let place = Place::new(&servers, "");
    let first = place.start(Program::Burdock, None);
    let home = homes(place.front);
    let hammer = Hammer::start(place.front, &home);
    let mut old = first;
    for _ in 0..3 {
        let new = place.start(Program::Burdock, Some(&old));
        old.wait_gone(2 * SOON);
        hammer.wait_for(100);
        assert_eq!(stats(&new).entries("b").len(), SESSIONS);
        old = new;
    }
    assert_eq!(hammer.wrong(), 0);
    hammer.end();
    // The sockets are nobody's when the last one is gone.
    end(&old);
    assert!(TcpListener::bind(place.front).is_ok());
}

/// In a section with a `bind` line an old process finds its successor at what is bound, at the last of several addresses;
/// peers find the node at all of them.
#[test]
fn a_section_with_a_bind_line_hands_its_entries_on() {
    let servers = servers();
    let (first, last, gone) = (free_address(), free_address(), free_address());
    let other = format!(" server me\n server gone {gone}\n");
    let place = Place::with_peers(&servers, &format!(" bind {first},{last}\n{other}"), "");
    let old = place.start(Program::Burdock, None);
    homes(place.front);
    let shown = stats(&old).command("show peers");
    assert!(
        shown.contains(&format!("id=me(local,inactive) addr={last} ")),
        "{shown}"
    );
    let new = place.start(Program::Burdock, Some(&old));
    old.wait_gone(2 * SOON);
    assert_eq!(stats(&new).entries("b").len(), SESSIONS);
    for address in [first, last] {
        let mut peer = std::net::TcpStream::connect(address).unwrap();
        peer.set_read_timeout(Some(SOON)).unwrap();
        peer.write_all(b"HAProxyS 2.1\nme\ngone 1 1\n").unwrap();
        let mut answer = [0; 4];
        peer.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"200\n", "{address}");
    }
    end(&new);

    // One address, because the packaged HAProxy crashes where somebody connects to one of several.
    let place = Place::with_peers(&servers, &format!(" bind {last}\n{other}"), "");
    let old = place.start(Program::Burdock, None);
    homes(place.front);
    let new = place.start(Program::Haproxy, Some(&old));
    old.wait_gone(2 * SOON);
    wait_until("the HAProxy has every entry", || {
        stats(&new).entries("b").len() == SESSIONS
    });
    end(&new);
}

/// The inodes of the listening sockets of a process and its children.
fn inodes(launcher: &Launcher) -> Vec<String> {
    let mut inodes: Vec<String> = Vec::new();
    for pid in launcher.processes() {
        let Ok(fds) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
            continue;
        };
        let targets = fds.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        let sockets = targets.map(|target| target.display().to_string());
        inodes.extend(sockets.filter(|target| target.starts_with("socket:")));
    }
    inodes.sort();
    inodes.dedup();
    inodes
}

/// All kinds of listeners: the very same sockets are found in the new process, and each answers.
#[test]
fn sockets_of_every_kind_cross() {
    use Program::{Burdock, Haproxy};
    for (old_kind, new_kind) in [(Haproxy, Burdock), (Burdock, Haproxy), (Burdock, Burdock)] {
        let servers = servers();
        let folder = support::TempDir::new("kinds");
        let unix = folder.file("front.sock");
        let name = format!("burdock-takeover-{}", free_address().port());
        let six = free_address().port();
        let lo = free_address();
        let mut place = Place::new(
            &servers,
            &format!(
                " bind [::1]:{six} v6only name six\n bind unix@{}\n bind abns@{name}\n\
                  bind {lo} interface lo\n",
                unix.display()
            ),
        );
        let control = folder.file("control.sock");
        let line = format!("global\n stats socket {} level admin\n", control.display());
        place.text = place.text.replacen("global\n", &line, 1);
        let old = place.start(old_kind, None);
        let before = inodes(&old);
        let inode = |path: &std::path::Path| {
            use std::os::unix::fs::MetadataExt;
            std::fs::metadata(path).expect("a socket").ino()
        };
        let on_disk = inode(&unix);
        let new = place.start(new_kind, Some(&old));
        let shared = inodes(&new)
            .iter()
            .filter(|inode| before.contains(inode))
            .count();
        // Five of the frontend, that of the peer, and the second stats socket. The first one has another path now: it is bound anew.
        assert!(
            shared >= 7,
            "{old_kind:?} to {new_kind:?}: only {shared} sockets are the same"
        );
        assert_eq!(inode(&unix), on_disk, "the path was not bound again");
        old.wait_gone(2 * SOON);
        for address in [
            place.front,
            lo,
            SocketAddr::new("::1".parse().unwrap(), six),
        ] {
            assert_eq!(get(address, "/", &[]).status, 200, "{address}");
        }
        let mut stream = UnixStream::connect(&unix).expect("the unix socket");
        stream
            .write_all(b"GET / HTTP/1.0\r\n\r\n")
            .expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.contains(" 200 "), "{answer}");
        let info = Stats::at(&control).command("show info");
        let pid = info.lines().find_map(|line| line.strip_prefix("Pid: "));
        let pid: u32 = pid.expect("a pid").parse().expect("a number");
        assert!(
            new.processes().contains(&pid),
            "the stats socket is the new process's"
        );
        end(&new);
    }
}

#[test]
fn what_the_new_configuration_does_not_use_is_closed_and_what_it_adds_is_bound() {
    let servers = servers();
    let dropped = free_address();
    let added = free_address();
    let place = Place::new(&servers, &format!(" bind {dropped}\n"));
    let old = place.start(Program::Haproxy, None);
    let other = Place {
        text: place.text.replace(&dropped.to_string(), &added.to_string()),
        front: place.front,
    };
    let new = other.start(Program::Burdock, Some(&old));
    old.wait_gone(2 * SOON);
    assert_eq!(get(added, "/", &[]).status, 200);
    assert!(Client::try_connect(dropped).is_err());
    end(&new);
}

/// More sockets than one message can carry.
#[test]
fn hundreds_of_sockets_cross() {
    use Program::{Burdock, Haproxy};
    for (old_kind, new_kind) in [(Haproxy, Burdock), (Burdock, Haproxy)] {
        let servers = servers();
        let ip = support::unique_loopback();
        let place = Place::new(&servers, &format!(" bind {ip}:20000-20599\n"));
        let old = place.start(old_kind, None);
        let before = inodes(&old);
        let new = place.start(new_kind, Some(&old));
        let shared = inodes(&new)
            .iter()
            .filter(|inode| before.contains(inode))
            .count();
        assert!(shared >= 602, "{old_kind:?} to {new_kind:?}: {shared}");
        old.wait_gone(2 * SOON);
        for port in [20000, 20251, 20252, 20599] {
            assert_eq!(get((ip, port).into(), "/", &[]).status, 200, "{port}");
        }
        end(&new);
    }
}

/// The words of both programs for a socket that gives nothing, beside their names and pids.
#[test]
fn failures_are_told_as_haproxy_tells_them() {
    let servers = servers();
    let place = Place::new(&servers, "");
    let closed = Launcher::new(Program::Haproxy);
    closed.configure(&place.text.replace(" expose-fd listeners", ""));
    assert_eq!(
        closed
            .run("-D -L me -p {dir}/pid -f {dir}/proxy.cfg")
            .code(),
        0
    );
    let own = Launcher::new(Program::Burdock);
    let other = Place::new(&servers, "");
    own.configure(&other.text.replace(" expose-fd listeners", ""));
    assert_eq!(
        own.run("-D -L me -p {dir}/pid -f {dir}/proxy.cfg").code(),
        0
    );
    let sockets = [
        "/nonexistent/stats.sock".to_string(),
        closed.folder.file("stats.sock").display().to_string(),
        own.folder.file("stats.sock").display().to_string(),
        closed.folder.file("proxy.cfg").display().to_string(),
    ];
    for socket in &sockets {
        let said = [Program::Haproxy, Program::Burdock].map(|program| {
            let launcher = Launcher::new(program);
            launcher.configure(
                &place
                    .text
                    .replace(&place.front.to_string(), &free_address().to_string()),
            );
            let finished = launcher.run(&format!("-D -f {{dir}}/proxy.cfg -L me -x {socket}"));
            assert_eq!(finished.code(), 1, "{program:?}");
            let lines = finished.stderr.lines();
            let lines = lines.filter(|line| {
                line.starts_with("[ALERT]")
                    || line.starts_with("[WARNING]") && line.contains("ocket")
            });
            lines
                .map(|line| line.split_once(" : ").expect("a message").1.to_string())
                .collect::<Vec<_>>()
        });
        assert_eq!(said[0], said[1], "{socket}");
        assert_eq!(said[0].len(), 2, "{said:?}");
    }
    let usage = Launcher::new(Program::Burdock).run("-x");
    assert_eq!(usage.code(), 1);
    assert!(
        usage
            .stderr
            .contains("Unix socket path expected with the -x flag")
    );
    // The old ones go on.
    assert_eq!(get(place.front, "/", &[]).status, 200);
    end(&closed);
    end(&own);
}

/// Who asks for the sockets and then hangs holds nothing up, and holds no port.
#[test]
fn a_client_that_does_not_read_is_harmless() {
    let servers = servers();
    let ip = support::unique_loopback();
    let place = Place::new(&servers, &format!(" bind {ip}:20000-20599\n"));
    let burdock = place.start(Program::Burdock, None);
    let socket = || {
        let mut stream = stats(&burdock).connect().expect("the stats socket");
        stream.write_all(b"_getsocks\n").expect("a command");
        stream
    };
    let hanging: Vec<UnixStream> = (0..3).map(|_| socket()).collect();
    let mut first = [0; 4];
    for mut stream in &hanging {
        stream.read_exact(&mut first).expect("a count");
        assert!(u32::from_ne_bytes(first) >= 603);
    }
    assert_eq!(get(place.front, "/", &[]).status, 200);
    signal(burdock.pid_in("pid"), "USR1");
    burdock.wait_gone(SOON);
    drop(hanging);
    eventually("the port to be free", SOON, || {
        TcpListener::bind(place.front).ok()
    });
}
