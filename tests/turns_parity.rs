//! Who says what, and who leaves, in which turn: clients and servers played step by step through burdock and the packaged HAProxy.
//!
//! A case of `tests/data/turns.txt` is one `listen` section and one script for both ends of it, in one order: what the client says, what the
//! server says, who ends its side and how. Compared are what each end read, how its connection ended (in order or by a reset), and the log line.
//! All cases of a program run at the same time in one process.
//!
//! Time is no subject but where a case sets a short timeout, and then little has to happen before it: a slow machine changes nothing.
//! Where burdock differs on purpose, the case says what burdock does instead, and why; that HAProxy still differs is checked too.

pub mod support;

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use support::normal::normal_head;
use support::parity::unescape;
use support::{Program, Proxy, Syslog, eventually, free_address};

/// A case of `tests/data/turns.txt`.
struct Case {
    name: String,
    /// Lines of the `listen` section.
    lines: Vec<String>,
    steps: Vec<String>,
    /// What burdock shows instead of what HAProxy shows.
    decided: Option<String>,
    /// HAProxy shows now this, now something else.
    varies: bool,
}

/// What scripts call by a name.
const NAMES: &[(&str, &str)] = &[
    ("{get}", r"GET /1 HTTP/1.1\r\nhost: h\r\n\r\n"),
    ("{get2}", r"GET /2 HTTP/1.1\r\nhost: h\r\n\r\n"),
    ("{ok}", r"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
    (
        "{expect}",
        r"POST /e HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n",
    ),
    ("{continue}", r"HTTP/1.1 100 Continue\r\n\r\n"),
    (
        "{post}",
        r"POST /b HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\n",
    ),
    (
        "{upgrade}",
        r"GET /u HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: test\r\n\r\n",
    ),
    (
        "{switch}",
        r"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: test\r\n\r\n",
    ),
    (
        "{connect}",
        r"CONNECT h:443 HTTP/1.1\r\nhost: h:443\r\n\r\n",
    ),
];

fn cases() -> Vec<Case> {
    let text = include_str!("data/turns.txt");
    text.split("\n=== ").skip(1).map(read_case).collect()
}

fn read_case(text: &str) -> Case {
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut case = Case {
        name: lines.next().expect("a name").to_owned(),
        lines: Vec::new(),
        steps: Vec::new(),
        decided: None,
        varies: false,
    };
    let mut is_script = false;
    for line in lines {
        if line.starts_with("--- decided: ") || line.starts_with("--- varies: ") {
            case.varies = line.starts_with("--- varies: ");
            case.decided = Some(String::new());
        } else if line == "---" {
            is_script = true;
        } else if let Some(decided) = &mut case.decided {
            *decided += &format!("{line}\n");
        } else if is_script && !line.is_empty() {
            let named = NAMES.iter();
            case.steps
                .push(named.fold(line.to_owned(), |line, (name, text)| {
                    line.replace(name, text)
                }));
        } else if !line.is_empty() {
            case.lines.push(line.to_owned());
        }
    }
    case
}

/// One end of a case: what it read, and how that ended.
#[derive(Default)]
struct End {
    socket: Option<TcpStream>,
    read: Vec<u8>,
    /// Where in `read` the next search begins.
    searched: usize,
    remarks: String,
    /// Not all that it sent was taken: whether it then reads an end or a reset is the kernel's matter.
    has_flooded: bool,
}

const PATIENCE: Duration = Duration::from_secs(10);

impl End {
    fn of(socket: TcpStream) -> End {
        socket
            .set_read_timeout(Some(PATIENCE))
            .expect("a socket option");
        socket.set_nodelay(true).expect("a socket option");
        End {
            socket: Some(socket),
            ..End::default()
        }
    }

    /// Takes a step of a script.
    fn take(&mut self, step: &str) {
        let text = |step: &str| unescape(step.get(2..).unwrap_or_default());
        match step {
            " shut" => self.shut(),
            " reset" => self.reset(),
            " end" => self.read_to_end(),
            " silent" => self.stays_silent(),
            " flood" => self.flood(),
            _ if let Some(ms) = step.strip_prefix(" wait ") => {
                std::thread::sleep(Duration::from_millis(ms.parse().expect("milliseconds")));
            }
            _ if step.starts_with('>') => self.send(&text(step)),
            _ if step.starts_with('<') => self.read_until(&text(step)),
            _ => panic!("no step: {step}"),
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        // The other side may be gone: what it said before is what counts.
        if let Some(socket) = &mut self.socket {
            let _ = socket.write_all(bytes);
        }
    }

    /// One read; false at the end, of which a remark is made.
    fn fill(&mut self) -> bool {
        let Some(socket) = &mut self.socket else {
            self.remarks += "-- not there\n";
            return false;
        };
        let mut bytes = [0; 16_384];
        match socket.read(&mut bytes) {
            Ok(0) if self.has_flooded => self.remarks += "-- gone\n",
            Ok(0) => self.remarks += "-- end\n",
            Ok(count) => {
                self.read.extend_from_slice(&bytes[..count]);
                return true;
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                self.remarks += match self.has_flooded {
                    true => "-- gone\n",
                    false => "-- reset\n",
                };
            }
            Err(_) => self.remarks += "-- nothing more\n",
        }
        false
    }

    fn read_until(&mut self, text: &[u8]) {
        loop {
            let rest = self.read[self.searched..].windows(text.len());
            if let Some(at) = rest.enumerate().find(|(_, part)| *part == text) {
                self.searched += at.0 + text.len();
                return;
            }
            if !self.fill() {
                let _ = writeln!(
                    self.remarks,
                    "-- without {:?}",
                    String::from_utf8_lossy(text)
                );
                return;
            }
        }
    }

    fn read_to_end(&mut self) {
        while self.fill() {}
    }

    fn stays_silent(&mut self) {
        let Some(socket) = &self.socket else { return };
        let set = |time| socket.set_read_timeout(Some(time)).expect("an option");
        set(Duration::from_millis(150));
        match socket.peek(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(0) => self.remarks += "-- no silence, an end\n",
            Ok(_) => self.remarks += "-- no silence\n",
            Err(error) => drop(writeln!(self.remarks, "-- no silence: {:?}", error.kind())),
        }
        set(PATIENCE);
    }

    /// Sends until nothing has been taken for a while: all buffers on the way are full.
    fn flood(&mut self) {
        self.has_flooded = true;
        let Some(mut socket) = self.socket.as_ref() else {
            return;
        };
        let bytes = [b'x'; 65_536];
        let patience = Duration::from_secs(2);
        socket.set_write_timeout(Some(patience)).expect("an option");
        while socket.write(&bytes).is_ok() {}
        socket.set_write_timeout(None).expect("an option");
    }

    fn shut(&self) {
        if let Some(socket) = &self.socket {
            let _ = socket.shutdown(Shutdown::Write);
        }
    }

    fn reset(&mut self) {
        if let Some(socket) = self.socket.take() {
            let _ = socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO));
        }
    }

    fn seen(&self, who: &str) -> String {
        let mut text = normal_head(&self.read);
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        format!("{who}:\n{text}{}", self.remarks)
    }
}

fn accept(listener: &TcpListener) -> Option<TcpStream> {
    let end = Instant::now() + PATIENCE;
    listener.set_nonblocking(true).expect("a socket option");
    while Instant::now() < end {
        if let Ok((socket, _)) = listener.accept() {
            socket.set_nonblocking(false).expect("a socket option");
            return Some(socket);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    None
}

/// Plays a case; what both ends saw.
fn play(case: &Case, front: SocketAddr, listener: &TcpListener) -> String {
    let mut client = End::of(TcpStream::connect(front).expect("the frontend"));
    let mut servers: Vec<End> = vec![End::default()];
    let mut remarks = String::new();
    for step in &case.steps {
        if step == "accept" {
            match accept(listener) {
                Some(socket) => servers.push(End::of(socket)),
                None => remarks += "no connection to the server\n",
            }
            continue;
        }
        let end = match step.starts_with('c') {
            true => &mut client,
            false => servers.last_mut().expect("one at least"),
        };
        end.take(step.get(1..).unwrap_or_default());
    }
    let seen = servers.iter().skip(1).map(|server| server.seen("server"));
    client.seen("client") + &seen.collect::<String>() + &remarks
}

/// All cases through one program; what was seen of each.
fn run(program: Program, cases: &[Case]) -> Vec<String> {
    let log = Syslog::start();
    let mut text = format!(
        "global\n nbthread 1\n stats socket {{dir}}/stats.sock level admin\n log {} local0\ndefaults\n mode http\n log global\n \
         timeout client 90s\n timeout server 90s\n timeout connect 90s\n \
         log-format \"%f %TR/%Tw/%Tc/%Tr/%Ta %ST %B %ts %rc\"\n",
        log.address()
    );
    let places: Vec<(SocketAddr, TcpListener)> = cases
        .iter()
        .map(|_| {
            let server = TcpListener::bind("127.0.0.1:0").expect("a free port");
            (free_address(), server)
        })
        .collect();
    for (number, (case, (front, listener))) in cases.iter().zip(&places).enumerate() {
        let server = listener.local_addr().expect("an address");
        let is_tcp = case.lines.iter().any(|line| line == "mode tcp");
        let format = match is_tcp {
            true => " log-format \"%f %Tw/%Tc/%Tt %B %ts %rc\"\n",
            false => "",
        };
        let _ = write!(
            text,
            "listen c{number}\n {}\n{format} bind {front}\n server s {server}\n",
            case.lines.join("\n ")
        );
    }
    let proxy = Proxy::start(program, &text);
    let seen: Vec<String> = std::thread::scope(|scope| {
        let runs: Vec<_> = cases
            .iter()
            .zip(&places)
            .map(|(case, (front, listener))| scope.spawn(move || play(case, *front, listener)))
            .collect();
        runs.into_iter()
            .map(|run| run.join().unwrap_or_else(|_| "a panic".into()))
            .collect()
    });
    // A connection that no script has taken must keep no session.
    drop(places);
    eventually(
        "all connections of clients to end",
        Duration::from_secs(100),
        || {
            let stat = proxy.command("show stat");
            let mut fronts = stat.lines().filter(|line| line.contains(",FRONTEND,"));
            let is_idle = |line: &str| line.split(',').nth(4) == Some("0");
            fronts.all(is_idle).then_some(())
        },
    );
    // The turn of the loop in which they ended is over when the next command is answered: their lines are on the way.
    proxy.command("show info");
    let lines = log.lines_so_far();
    seen.into_iter()
        .enumerate()
        .map(|(number, seen)| {
            let of_case = |line: &&String| line.contains(&format!(" c{number} "));
            let logged = lines.iter().filter(of_case).map(|line| logged(line));
            seen + &logged.collect::<String>()
        })
        .collect()
}

/// A line of the log from its timers on, in which only what did not happen is kept.
fn logged(line: &str) -> String {
    if std::env::var("BURDOCK_TURNS_TIMES").is_ok() {
        let at = line.find(": c").unwrap_or(0);
        return format!("log: {}\n", &line[at..]);
    }
    let fields = line.rsplit_once("]: ").map_or(line, |(_, fields)| fields);
    let mut words: Vec<String> = fields.split(' ').skip(1).map(str::to_owned).collect();
    for word in &mut words {
        // How much fits on the way is the kernel's matter.
        if word.parse::<u64>().is_ok_and(|bytes| bytes > 500_000) {
            "many".clone_into(word);
        }
    }
    if let Some(times) = words.first_mut() {
        let parts = times
            .split('/')
            .map(|time| if time.starts_with('-') { "-1" } else { "N" });
        *times = parts.collect::<Vec<_>>().join("/");
    }
    format!("log: {}\n", words.join(" ").trim_end())
}

#[test]
fn every_turn_is_taken_as_haproxy_takes_it() {
    let only = std::env::var("BURDOCK_PARITY_CASE").ok();
    let mut cases = cases();
    cases.retain(|case| only.as_deref().is_none_or(|only| case.name.contains(only)));
    let (ours, theirs) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| run(Program::Haproxy, &cases));
        (
            run(Program::Burdock, &cases),
            theirs.join().expect("HAProxy"),
        )
    });
    let mut faults = String::new();
    for (case, (ours, theirs)) in cases.iter().zip(ours.iter().zip(&theirs)) {
        let expected = case.decided.as_ref().unwrap_or(theirs);
        if ours.trim_end() != expected.trim_end() {
            let _ = writeln!(
                faults,
                "=== {}\n--- burdock\n{ours}--- expected\n{expected}",
                case.name
            );
        } else if case.decided.is_some() && !case.varies && ours == theirs {
            let _ = writeln!(faults, "=== {}: no difference any more", case.name);
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
}
