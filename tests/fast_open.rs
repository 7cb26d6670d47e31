//! `tfo`: requests travel with the first packet of a connection, to servers and from clients, and what fails then is answered.
//!
//! Whether the kernel lets them is a setting of the network namespace, so the test runs itself again in one of its own. Where that may not be
//! made (no user namespaces, no `unshare`), it runs here, and only looks whether everything still arrives.

pub mod support;

use std::process::Command;

use support::{Client, Program, Proxy, free_address};

/// Set in the namespace of our own.
const INSIDE: &str = "BURDOCK_TEST_FAST_OPEN";

const ENTER: &str = "ip link set lo up && echo 3 >/proc/sys/net/ipv4/tcp_fastopen";

/// A count of the kernel's, of this namespace.
fn counted(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/netstat").expect("counters");
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let names = lines.next().expect("names").split(' ');
    let values = lines.next().expect("values").split(' ');
    let (_, value) = names
        .zip(values)
        .find(|(found, _)| *found == name)
        .expect("a counter");
    value.parse().expect("a number")
}

fn post(client: &mut Client, body: &[u8]) -> u16 {
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    ));
    client.send(body);
    client.read_response().status
}

fn exchange() {
    let [http, tcp, introduced, dead, server, introduced_server] =
        std::array::from_fn(|_| free_address());
    let nobody = free_address();
    let _proxy = Proxy::start(
        Program::Burdock,
        &format!(
            "global\n stats socket {{dir}}/stats.sock level admin\n\
             defaults\n mode http\n timeout client 20s\n timeout server 20s\n timeout connect 20s\n option http-server-close\n \
             retry-on conn-failure empty-response response-timeout\n\
             listen http\n bind {http}\n server s {server} tfo\n\
             listen tcp\n bind {tcp}\n mode tcp\n no option http-server-close\n retry-on none\n server s {server} tfo\n\
             listen introduced\n bind {introduced}\n server s {introduced_server} tfo send-proxy\n\
             listen dead\n bind {dead}\n retries 0\n server s {nobody} tfo\n\
             frontend server\n bind {server} tfo\n http-request wait-for-body time 20s if METH_POST\n \
             http-request return status 200 content-type text/plain lf-string %ci\n\
             frontend introduced_server\n bind {introduced_server} tfo accept-proxy\n http-request return status 200\n"
        ),
    );
    for _ in 0..5 {
        for address in [http, tcp, introduced] {
            let response = support::get(address, "/", &["Connection: close"]);
            assert_eq!(response.status, 200, "{address}");
        }
    }
    // More than a first packet holds, and more than a buffer of the server's socket may.
    for size in [1_000, 15_000] {
        let status = post(&mut Client::connect(http), &vec![b'x'; size]);
        assert_eq!(status, 200, "{size} bytes");
    }
    // The kernel of `nobody` has given its word for 127.0.0.1 meanwhile, so the refusal comes when the request has left.
    let response = support::get(dead, "/", &[]);
    assert_eq!(response.status, 503, "as for any connect that fails");
}

#[test]
fn requests_travel_with_the_first_packet() {
    if std::env::var_os(INSIDE).is_some() {
        let before = ["TCPFastOpenActive", "TCPFastOpenPassive"].map(counted);
        exchange();
        let after = ["TCPFastOpenActive", "TCPFastOpenPassive"].map(counted);
        // 12 connections to each side or more; the first of all asks for the cookie, and a kernel may refuse some.
        assert!(after[0] >= before[0] + 6, "sent: {before:?} to {after:?}");
        assert!(after[1] >= before[1] + 6, "taken: {before:?} to {after:?}");
        return;
    }
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--net", "sh", "-c", script]);
        command
    };
    let may_enter = unshare(ENTER)
        .output()
        .is_ok_and(|output| output.status.success());
    if !may_enter {
        eprintln!("no network namespace may be made here: only looks whether everything arrives");
        return exchange();
    }
    let own = std::env::current_exe().expect("the test's own program");
    let output = unshare(&format!(
        "{ENTER} && exec \"$0\" --exact requests_travel_with_the_first_packet --nocapture"
    ))
    .arg(own)
    .env(INSIDE, "1")
    .output()
    .expect("a namespace");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
