//! What happens when descriptors are scarce: idle server connections give way, and a listener that had none goes on by itself.

pub mod support;

use std::net::SocketAddr;
use std::process::Command;

use support::{Client, Origin, Program, Proxy, Syslog, free_address, wait_until};

/// Sessions that the process may have.
const SESSIONS_MAX: usize = 20;

fn start(origin: &Origin, global: &str, lines: &str) -> (Proxy, SocketAddr) {
    let address = free_address();
    let text = format!(
        "global\n stats socket {{dir}}/stats.sock level admin\n{global}defaults\n mode http\n timeout client 20s\n \
         timeout server 20s\n timeout connect 2s\n retries 0\nlisten app\n bind {address}\n{lines} server a {} pool-purge-delay 1m\n",
        origin.address()
    );
    (Proxy::start(Program::Burdock, &text), address)
}

fn ask_once(address: SocketAddr) -> u16 {
    let mut client = Client::connect(address);
    client.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").status
}

/// Each client asks once and goes. What others may use is kept, but never more than there are sessions; what they may not goes with its
/// client.
#[test]
fn idle_server_connections_are_no_more_than_sessions() {
    let origin = Origin::named("a");
    for reuse in ["never", "safe"] {
        let global = format!(" maxconn {SESSIONS_MAX}\n");
        let (proxy, address) = start(&origin, &global, &format!(" http-reuse {reuse}\n"));
        for _ in 0..5 * SESSIONS_MAX {
            assert_eq!(ask_once(address), 200, "http-reuse {reuse}");
        }
        let idle = || proxy.stat("app", "a", "idle_conn_cur") as usize;
        match reuse {
            "never" => wait_until("all to be closed", || idle() == 0),
            _ => assert!((1..=SESSIONS_MAX).contains(&idle()), "{}", idle()),
        }
        wait_until("the others to be closed", || {
            origin.open_connections() <= SESSIONS_MAX
        });
        drop(proxy);
        wait_until("all to be closed", || origin.open_connections() == 0);
    }
}

fn limit_descriptors(pid: u32, count: u32) {
    let status = Command::new("prlimit")
        .args([
            "--pid",
            &pid.to_string(),
            &format!("--nofile={count}:{count}"),
        ])
        .status();
    assert!(status.expect("prlimit of util-linux").success());
}

/// The limit is too low for `maxconn`: what is idle goes first, then connections wait in the backlog, and are
/// accepted as soon as others end.
#[test]
fn without_descriptors_clients_wait_and_are_served_later() {
    let origin = Origin::named("a");
    let log = Syslog::start();
    let global = format!(" maxconn 200\n log {} local0\n", log.address());
    let (proxy, address) = start(&origin, &global, " log global\n");
    for pid in proxy.processes() {
        limit_descriptors(pid, 70);
    }
    for _ in 0..100 {
        assert_eq!(ask_once(address), 200);
    }
    let mut silent: Vec<Client> = (0..60).map(|_| Client::connect(address)).collect();
    let (mut early, mut late) = (silent.remove(0), Client::connect(address));
    late.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    log.wait_for_text("cannot accept a connection");
    drop(silent);
    assert_eq!(late.read_response().status, 200);
    assert_eq!(
        early.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").status,
        200,
        "who was there before is not harmed"
    );
}
