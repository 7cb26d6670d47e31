//! Memory under full load: never more than `-c -V` announces.

pub mod support;

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use support::{Client, Program, Proxy, TempDir};
use support::{free_address, run_to_end, unique_loopback, wait_until};

const SESSIONS: usize = 200;
const ENTRIES: usize = 20_000;
const BUFFER_BYTES: usize = 16_384;
/// Commands on a line of the stats socket.
const COMMANDS: usize = 200;

fn configuration(http: SocketAddr, tcp: SocketAddr, server: SocketAddr) -> String {
    format!(
        "global\n stats socket {{dir}}/stats.sock level admin\n maxconn {SESSIONS}\n tune.bufsize {BUFFER_BYTES}\n\
         defaults\n timeout connect 10s\n timeout client 60s\n timeout server 60s\n\
         frontend h\n mode http\n bind {http}\n default_backend h\n\
         backend h\n mode http\n server s {server}\n\
         frontend t\n mode tcp\n bind {tcp}\n default_backend t\n\
         backend t\n mode tcp\n stick-table type string len 32 size {ENTRIES} expire 1h store gpc0,http_req_rate(10s)\n server s {server}\n"
    )
}

/// The bytes after "at most" in what `-c -V` says.
fn announced(proxy: &Proxy) -> u64 {
    let file = proxy.folder().file("proxy.cfg");
    let file = file.to_str().expect("a path");
    let said = run_to_end(Program::Burdock, &["-c", "-V", "-f", file]);
    let text = format!("{}{}", said.stdout, said.stderr);
    let (_, rest) = text.split_once("at most ").expect("the announcement");
    let mut words = rest.split(' ');
    let number: u64 = words
        .next()
        .and_then(|word| word.parse().ok())
        .expect("a number");
    assert_eq!(words.next(), Some("MiB"), "{text}");
    number << 20
}

/// What the processes hold of their own: everything but the pages of the program's file, of which a test's build has many more.
fn held(proxy: &Proxy) -> u64 {
    let of = |pid: u32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let lines = text.lines().filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            let kib: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
            matches!(name, "Pss_Anon" | "Pss_Shmem").then_some(kib * 1024)
        });
        lines.sum::<u64>()
    };
    proxy.processes().into_iter().map(of).sum()
}

/// Sends until nothing more is taken; true while something was.
fn push(socket: &mut TcpStream) -> bool {
    let mut was_taken = false;
    loop {
        match socket.write(&[b'x'; 8192]) {
            Ok(_) => was_taken = true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return was_taken,
            Err(error) => panic!("a session ended under load: {error}"),
        }
    }
}

/// Opens all sessions, half of either mode: nobody reads, and both sides send until all buffers on the way are full.
fn sessions(http: SocketAddr, tcp: SocketAddr, server: &TcpListener) -> Vec<TcpStream> {
    let mut sockets = Vec::new();
    for number in 0..SESSIONS {
        let mut client = TcpStream::connect([http, tcp][number % 2]).expect("a session");
        let head = b"POST /long HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000\r\n\r\n";
        client.write_all(head).expect("room for a head");
        let (mut there, _) = server.accept().expect("the proxy connects");
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
        there.write_all(head).expect("room for a head");
        for socket in [client, there] {
            socket.set_nonblocking(true).expect("a socket");
            sockets.push(socket);
        }
    }
    sockets
}

/// A proxy, what it announced, and what it holds while nothing happens.
struct Subject {
    proxy: Proxy,
    announced: u64,
    idle: u64,
}

impl Subject {
    fn start(configuration: &str) -> Subject {
        let proxy = Proxy::start(Program::Burdock, configuration);
        wait_until("the stats socket to answer", || {
            proxy.command("show info").contains("CurrConns: 0\n")
        });
        let announced = announced(&proxy);
        let idle = held(&proxy);
        Subject {
            proxy,
            announced,
            idle,
        }
    }

    /// Drives the load until the memory has not grown for a second; it is what was announced at most, and at least so much more than when idle
    /// as shows that the load was there.
    fn check(&self, least: usize, mut drive: impl FnMut()) {
        let Subject {
            proxy,
            announced,
            idle,
        } = self;
        let (mut most, mut grown) = (0, Instant::now());
        let deadline = Instant::now() + Duration::from_secs(60);
        while grown.elapsed() < Duration::from_secs(1) && Instant::now() < deadline {
            drive();
            let now = held(proxy);
            if now > most {
                (most, grown) = (now, Instant::now());
            }
        }
        println!("announced {announced}, held idle {idle}, at most {most}");
        assert!(
            most <= *announced,
            "{most} bytes, announced were {announced}"
        );
        assert!(
            most >= idle + least as u64,
            "the load was not there, so nothing was shown: {idle} and {most}"
        );
    }

    fn fill(&self, table: &str) {
        for first in (0..ENTRIES).step_by(COMMANDS) {
            let commands = (first..first + COMMANDS)
                .map(|number| format!("set table {table} key key-{number:028} data.gpc0 1"))
                .collect::<Vec<_>>();
            self.proxy.command(&commands.join(";"));
        }
        let said = self.proxy.command("show table");
        assert!(said.contains(&format!("used:{ENTRIES}\n")), "{said}");
    }
}

/// Global lines of all, and defaults.
const GLOBAL: &str = "global\n stats socket {dir}/stats.sock level admin\n maxconn 100\n";
const DEFAULTS: &str =
    "defaults\n mode http\n timeout connect 10s\n timeout client 60s\n timeout server 60s\n";

/// Stats sessions (`stats maxconn`) and peers.
const DUMPS: usize = 20;
const PEERS: [&str; 3] = ["b", "c", "d"];
const PEER_BUFFER_BYTES: usize = 65_536;

#[test]
fn lessons_dumps_and_long_lines_that_nobody_reads_stay_within_what_was_announced() {
    let (http, peers) = (free_address(), free_address());
    let nobody = free_address();
    let members: String = PEERS
        .iter()
        .map(|name| format!(" peer {name} {nobody}\n"))
        .collect();
    let subject = Subject::start(&format!(
        "{GLOBAL} stats maxconn {DUMPS}\n localpeer a\npeers mesh\n peer a {peers}\n{members}{DEFAULTS}\
         frontend h\n bind {http}\n default_backend t\n\
         backend t\n stick-table type string len 32 size {ENTRIES} expire 1h store gpc0 peers mesh\n"
    ));
    subject.fill("t");

    let mut sockets = Vec::new();
    for name in PEERS {
        let mut peer = TcpStream::connect(peers).expect("the peer's port");
        let hello = format!("HAProxyS 2.1\na\n{name} 77 1\n");
        peer.write_all(hello.as_bytes()).expect("room");
        let mut status = [0; 4];
        peer.read_exact(&mut status).expect("a status");
        assert_eq!(&status, b"200\n");
        // A lesson is asked for and not read; an update begins, of as many bytes as may be, and does not end.
        let mut said = vec![0, 0, 10, 128, 0xf0, 0xe0, 0x06];
        said.resize(16_000, 0);
        peer.write_all(&said).expect("room");
        sockets.push(peer);
    }
    for _ in 0..32 {
        let mut stranger = TcpStream::connect(peers).expect("the peer's port");
        stranger.write_all(b"HAProxyS 2.1\na\n").expect("room");
        sockets.push(stranger);
    }
    let mut dumps = Vec::new();
    for number in 0..DUMPS {
        let mut dump = subject.proxy.stats().connect().expect("a stats session");
        let line = match number {
            0..3 => "show table t;".repeat(1200),
            _ => "a;".repeat(8000),
        };
        dump.write_all(format!("{line}\n").as_bytes())
            .expect("room for a line");
        dumps.push(dump);
    }
    subject.check(PEERS.len() * PEER_BUFFER_BYTES / 2 + DUMPS * 16_384, || {});
}

#[test]
fn variables_and_captures_of_requests_stay_within_what_was_announced() {
    const CLIENTS: usize = 100;
    const VALUE_BYTES: usize = 6_000;
    const VARIABLES: usize = 40;
    let http = free_address();
    let server = TcpListener::bind((unique_loopback(), 0)).expect("an address");
    let address = server.local_addr().expect("an address");
    let variables: String = (0..VARIABLES)
        .map(|number| {
            let scope = ["sess", "txn", "req"][number % 3];
            format!(" http-request set-var({scope}.v{number}) req.hdr(x-long),upper\n")
        })
        .collect();
    let subject = Subject::start(&format!(
        "{GLOBAL}{DEFAULTS}\
         frontend h\n bind {http}\n default_backend b\n capture request header x-long len {VALUE_BYTES}\n{variables}\
         backend b\n server s {address}\n"
    ));
    let request = format!(
        "GET / HTTP/1.1\r\nHost: h\r\nX-Long: {}\r\n\r\n",
        "x".repeat(VALUE_BYTES)
    );
    let waiting: Vec<(Client, TcpStream)> = (0..CLIENTS)
        .map(|_| {
            let mut client = Client::connect(http);
            client.send(&request);
            (client, server.accept().expect("a request").0)
        })
        .collect();
    subject.check(CLIENTS * (VARIABLES + 1) * VALUE_BYTES, || {});
    drop(waiting);
}

#[test]
fn regular_expressions_that_clients_warm_stay_within_what_was_announced() {
    const EXPRESSIONS: usize = 12;
    let http = free_address();
    // Which of the letters before the end are an `a`: two to the power of fourteen states.
    let rules: String = (0..EXPRESSIONS)
        .map(|number| {
            format!(" http-request deny if {{ path_reg ^/[ab]*a[ab]{{14}}c{{{number},}}$ }}\n")
        })
        .collect();
    let subject = Subject::start(&format!(
        "{GLOBAL}{DEFAULTS}frontend h\n bind {http}\n{rules} http-request return status 200\n"
    ));
    let mut client = Client::connect(http);
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    subject.check(EXPRESSIONS * 200_000, || {
        for _ in 0..20 {
            let mut path = String::new();
            for _ in 0..100 {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                let letters = (0..64).map(|bit| if seed >> bit & 1 == 1 { 'a' } else { 'b' });
                path.extend(letters);
            }
            let answer = client.ask(&format!("GET /{path}d HTTP/1.1\r\nHost: h\r\n\r\n"));
            assert_eq!(answer.status, 200);
        }
    });
}

#[test]
fn many_servers_a_large_map_and_checks_that_wait_stay_within_what_was_announced() {
    const SERVERS: usize = 400;
    const LINES: usize = 100_000;
    let folder = TempDir::new("memory");
    let lines: String = (0..LINES).fold(String::new(), |mut all, number| {
        writeln!(all, "/path/to/number-{number} backend-{number}").expect("a string");
        all
    });
    let map = folder.write("map", lines);
    let http = free_address();
    let server = TcpListener::bind((unique_loopback(), 0)).expect("an address");
    let address = server.local_addr().expect("an address");
    let servers: String = (0..SERVERS)
        .map(|number| format!(" server s{number} {address} check inter 1s\n"))
        .collect();
    // Each check is taken and not answered.
    let checks = std::thread::spawn(move || {
        let taken = (0..SERVERS).map(|_| {
            let (mut check, _) = server.accept().expect("a check");
            check.write_all(b"HTTP/1.1 200 OK\r\n").expect("room");
            check
        });
        taken.collect::<Vec<TcpStream>>()
    });
    let subject = Subject::start(&format!(
        "{GLOBAL}{DEFAULTS} timeout check 5m\nfrontend h\n bind {http}\n\
         \x20http-request set-header x-map %[path,map({})]\n default_backend b\n\
         backend b\n option httpchk\n{servers}",
        map.display()
    ));
    wait_until("all checks to be running", || checks.is_finished());
    // `idle` may have some of them in it already.
    subject.check(0, || {});
    assert!(
        held(&subject.proxy) >= (LINES * 40 + SERVERS * BUFFER_BYTES / 2) as u64,
        "neither map nor checks were there"
    );
    drop(checks.join());
}

#[test]
fn full_tables_and_buffers_stay_within_what_was_announced() {
    let (http, tcp) = (free_address(), free_address());
    let server = TcpListener::bind((unique_loopback(), 0)).expect("an address");
    let address = server.local_addr().expect("an address");
    let subject = Subject::start(&configuration(http, tcp, address));
    subject.fill("t");
    let mut sockets = sessions(http, tcp, &server);
    // Not even one buffer a session would show nothing.
    subject.check(SESSIONS * BUFFER_BYTES, || {
        // Until nothing more is taken.
        while sockets.iter_mut().map(push).filter(|taken| *taken).count() > 0 {}
    });
    let expected = format!("CurrConns: {SESSIONS}\n");
    let info = subject.proxy.command("show info");
    assert!(info.contains(&expected), "{info}");
}
