//! Memory under full load: never more than `-c -V` announces.

pub mod support;

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use support::{Program, Proxy, free_address, run_to_end, unique_loopback, wait_until};

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

#[test]
fn full_tables_and_buffers_stay_within_what_was_announced() {
    let (http, tcp) = (free_address(), free_address());
    let server = TcpListener::bind((unique_loopback(), 0)).expect("an address");
    let address = server.local_addr().expect("an address");
    let proxy = Proxy::start(Program::Burdock, &configuration(http, tcp, address));
    wait_until("the stats socket to answer", || {
        proxy.command("show info").contains("CurrConns: 0\n")
    });
    let announced = announced(&proxy);
    let idle = held(&proxy);
    for first in (0..ENTRIES).step_by(COMMANDS) {
        let commands = (first..first + COMMANDS)
            .map(|number| format!("set table t key key-{number:028} data.gpc0 1"))
            .collect::<Vec<_>>();
        proxy.command(&commands.join(";"));
    }
    assert!(
        proxy
            .command("show table")
            .contains(&format!("used:{ENTRIES}\n")),
        "{}",
        proxy.command("show table")
    );

    let mut sockets = sessions(http, tcp, &server);
    let mut most = held(&proxy);
    let mut quiet_since = Instant::now();
    let deadline = Instant::now() + Duration::from_secs(60);
    while quiet_since.elapsed() < Duration::from_secs(1) && Instant::now() < deadline {
        let moving = sockets.iter_mut().map(push).filter(|taken| *taken);
        if moving.count() > 0 {
            quiet_since = Instant::now();
        }
        most = most.max(held(&proxy));
    }
    let expected = format!("CurrConns: {SESSIONS}\n");
    let info = proxy.command("show info");
    assert!(info.contains(&expected), "{info}");
    println!("announced {announced}, held idle {idle}, at most {most}");
    assert!(
        most <= announced,
        "{most} bytes, announced were {announced}"
    );
    let buffers = (SESSIONS * BUFFER_BYTES) as u64;
    assert!(
        most >= idle + buffers,
        "not even one buffer a session was in use, so nothing was shown: {idle} and {most}"
    );
}
