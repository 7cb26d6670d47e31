//! The PROXY protocol through the real binary, beside HAProxy: who a client is said to be, what servers are told, what is refused.

pub mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use support::{Answer, Client, Origin, Program, Proxy, Syslog, free_address, wait_until};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const LINE: &[u8] = b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222\r\n";

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = (rest.len() as u16).to_be_bytes();
    [SIGNATURE, &[0x20 | command, family], &length, rest].concat()
}

const IP4: &[u8] = b"\x01\x02\x03\x04\x05\x06\x07\x08\x04\x57\x08\xae";

struct World {
    address: SocketAddr,
    origin: Origin,
    syslog: Syslog,
    proxy: Proxy,
}

fn world(program: Program, server: &str, lines: &str) -> World {
    world_with(program, " accept-proxy\n", server, lines)
}

/// `bind` is what follows the address on the `bind` line, and the lines after it.
fn world_with(program: Program, bind: &str, server: &str, lines: &str) -> World {
    let address = free_address();
    // One that reads anything: what comes first is no request.
    let origin = Origin::start(|_| Answer::ok("ok", &[]));
    let syslog = Syslog::start();
    let proxy = Proxy::start(
        program,
        &format!(
            "global\n log {} local0\n stats socket {{dir}}/stats.sock\ndefaults\n mode http\n log global\n option httplog\n \
             timeout client 1s\n timeout server 2s\n timeout connect 2s\n{lines}listen l\n bind {address}{bind} \
             option forwardfor\n server s {} {server}\n",
            syslog.address(),
            origin.address()
        ),
    );
    World {
        address,
        origin,
        syslog,
        proxy,
    }
}

/// What the log says of a connection that begins with these bytes: the client's address and, for a refusal, why.
fn said(world: &World, bytes: &[u8]) -> String {
    world.syslog.clear();
    let mut client = Client::connect(world.address);
    let own = client.stream().local_addr().expect("an address");
    let _ = client.try_send(bytes);
    let _ = client.read_to_end();
    let line = world.syslog.wait_for("a line", |line| line.contains("] l"));
    let line = line.replace(&own.to_string(), "OWN");
    let (client, rest) = line.split_once(" [").expect("an address and a date");
    let client = client.rsplit(' ').next().unwrap_or_default();
    let outcome = match rest.split_once(" l/1: ") {
        Some((_, why)) => why.trim(),
        None if rest.contains(" 200 ") => "200",
        None => rest,
    };
    format!("{client} {outcome}")
}

#[test]
fn clients_are_who_the_header_says_and_others_are_refused_as_by_haproxy() {
    let (ours, theirs) = (
        world(Program::Burdock, "", ""),
        world(Program::Haproxy, "", ""),
    );
    let mut ip6 = [0; 36];
    (ip6[15], ip6[31], ip6[33], ip6[35]) = (1, 2, 3, 4);
    let cases: [(&str, Vec<u8>); 17] = [
        ("line", LINE.to_vec()),
        ("line 6", b"PROXY TCP6 ::1 ::2 3 4\r\n".to_vec()),
        ("unknown", b"PROXY UNKNOWN\r\n".to_vec()),
        ("binary", v2(1, 0x11, IP4)),
        ("binary 6", v2(1, 0x21, &ip6)),
        ("local", v2(0, 0, b"")),
        ("local with addresses", v2(0, 0x11, IP4)),
        (
            "TLVs",
            v2(1, 0x11, &[IP4, b"\x01\0\x02h2\x05\0\x03abc"].concat()),
        ),
        (
            "large",
            v2(1, 0x11, &[IP4, b"\x04\x20\0", &[b'a'; 0x2000]].concat()),
        ),
        ("unspecified", v2(1, 0, b"")),
        ("unix", v2(1, 0x31, &[0; 216])),
        ("datagrams", v2(1, 0x12, IP4)),
        ("short", v2(1, 0x11, &IP4[..8])),
        ("another command", v2(2, 0x11, IP4)),
        ("spaces", b"PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n".to_vec()),
        (
            "another protocol",
            b"PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n".to_vec(),
        ),
        ("lower case", b"proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n".to_vec()),
    ];
    for (name, header) in cases {
        let bytes = [&header[..], REQUEST].concat();
        let [ours, theirs] = [&ours, &theirs].map(|world| said(world, &bytes));
        // HAProxy reads two spaces as one word more; both refuse.
        let general = |text: &str| text.replace("an unhandled protocol in the", "an invalid");
        assert_eq!(general(&ours), general(&theirs), "{name}");
    }
    assert_eq!(said(&ours, &[LINE, REQUEST].concat()), "1.2.3.4:1111 200");
    let bad_sum = v2(1, 0x11, &[IP4, b"\x03\0\x04\x01\x02\x03\x04"].concat());
    let invalid = "OWN Received an invalid PROXY protocol header";
    assert_eq!(said(&ours, &[&bad_sum[..], REQUEST].concat()), invalid);
    // As the specification wants it; HAProxy refuses one and reads 1.2.3.0 and port 34463 in the others.
    let skipped = b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n";
    assert_eq!(said(&ours, &[skipped, REQUEST].concat()), "OWN 200");
    for wrong in ["1.2.3 5.6.7.8 1 2", "1.2.3.4 5.6.7.8 99999 2"] {
        let line = format!("PROXY TCP4 {wrong}\r\n");
        assert_eq!(said(&ours, &[line.as_bytes(), REQUEST].concat()), invalid);
    }
}

/// `tcp-request connection expect-proxy layer4`: the header is read where the rule says so, and is no request elsewhere.
#[test]
fn a_rule_says_which_connections_begin_with_a_header() {
    for (condition, expected) in [
        ("if { src 127.0.0.0/8 }", "1.2.3.4:1111 200"),
        ("if { src 10.0.0.0/8 }", "OWN 400"),
    ] {
        let bind = format!(
            "\n tcp-request connection expect-proxy layer4 {condition}\n tcp-request connection accept\n"
        );
        for program in [Program::Burdock, Program::Haproxy] {
            let world = world_with(program, &bind, "", "");
            let outcome = said(&world, &[LINE, REQUEST].concat());
            let outcome = match outcome.split_once(" l/<NOSRV>") {
                Some((client, rest)) if rest.contains(" 400 ") => {
                    format!("{} 400", client.split(' ').next().unwrap_or_default())
                }
                _ => outcome,
            };
            assert_eq!(outcome, expected, "{program:?} {condition}");
            if expected.ends_with("200") {
                assert_eq!(
                    said(&world, REQUEST),
                    "OWN Received something which does not look like a PROXY protocol header"
                );
            }
        }
    }
}

#[test]
fn a_header_comes_in_pieces_or_ends_early() {
    let world = world(Program::Burdock, "", "");
    for header in [LINE.to_vec(), v2(1, 0x11, IP4)] {
        world.syslog.clear();
        let mut client = Client::connect(world.address);
        for byte in [&header[..], REQUEST].concat() {
            client.stream().write_all(&[byte]).expect("a byte");
        }
        assert_eq!(client.read_response().status, 200);
        world.syslog.wait_for_text("1.2.3.4:1111 [");
        for cut in [1, 7, header.len() - 1] {
            world.syslog.clear();
            let mut client = Client::connect(world.address);
            client.send(&header[..cut]);
            client.shutdown_write();
            assert_eq!(client.read_to_end().unwrap_or_default(), b"");
            world
                .syslog
                .wait_for_text("l/1: Truncated PROXY protocol header received");
        }
    }
    let mut client = Client::connect(world.address);
    client.shutdown_write();
    assert_eq!(client.read_to_end().unwrap_or_default(), b"");
    world
        .syslog
        .wait_for_text("Connection closed while waiting for PROXY protocol header");
    // `timeout client`, whether bytes trickle in or not.
    let began = std::time::Instant::now();
    let mut client = Client::connect(world.address);
    client.send("PROXY T");
    assert_eq!(client.read_to_end().unwrap_or_default(), b"");
    let took = began.elapsed();
    assert!(
        // The loop counts whole milliseconds: it may be late, and early by less than one.
        took >= Duration::from_millis(999) && took < Duration::from_secs(5),
        "{took:?}"
    );
    world
        .syslog
        .wait_for_text("Timeout while waiting for PROXY protocol header");
}

/// What the server's connections began with.
fn introductions(server: &str, lines: &str, header: &[u8]) -> [Vec<u8>; 2] {
    [Program::Burdock, Program::Haproxy].map(|program| {
        let world = world(program, server, lines);
        let mut client = Client::connect(world.address);
        client.send([header, REQUEST].concat());
        let mut bytes = Vec::new();
        wait_until("the server to hear", || {
            if world.origin.connections() > 0 {
                bytes = world.origin.raw(0);
            }
            bytes.windows(5).any(|five| five == b"GET /")
        });
        let end = bytes.windows(5).position(|five| five == b"GET /");
        bytes.truncate(end.unwrap_or_default());
        bytes
    })
}

#[test]
fn servers_are_told_who_the_client_is() {
    for server in [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options crc32c",
        "proxy-v2-options crc32c send-proxy-v2",
    ] {
        for header in [LINE, b"PROXY TCP6 2001:db8::1 2001:db8::2 3 4\r\n"] {
            let [ours, theirs] = introductions(server, "", header);
            assert!(!ours.is_empty());
            assert_eq!(ours, theirs, "{server}");
        }
    }
    let [ours, _] = introductions("send-proxy", "", LINE);
    assert_eq!(ours, LINE);
}

/// `proxy-v2-options`: what is said beside addresses, in HAProxy's order, and what nobody knows, in none.
#[test]
fn servers_are_told_more_of_the_client_than_its_addresses() {
    let named = [IP4, b"\x02\0\x0chost.example\x05\0\x05their"].concat();
    let named = v2(1, 0x11, &named);
    let long = format!(" unique-id-format {}\n", "x".repeat(300));
    let id = " unique-id-format %ci-%[path]\n unique-id-header X-Id\n";
    for (options, lines) in [
        ("unique-id", id),
        ("unique-id,crc32c", ""),
        ("unique-id", &long),
        ("authority", ""),
        ("ssl", ""),
        ("cert-cn,ssl-cipher,cert-sig,cert-key", ""),
        (
            "ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,crc32c,unique-id",
            id,
        ),
    ] {
        let server = format!("send-proxy-v2 proxy-v2-options {options}");
        for header in [LINE, &named] {
            let [ours, theirs] = introductions(&server, lines, header);
            assert!(!ours.is_empty());
            assert_eq!(ours, theirs, "{options} {lines}");
        }
    }
    // All of it, as the specification writes it.
    let server = "send-proxy-v2 proxy-v2-options authority,unique-id,ssl";
    let [ours, _] = introductions(server, id, &named);
    let said = b"\x02\0\x0chost.example\x05\0\x091.2.3.4-/\x20\0\x05\0\0\0\0\0";
    assert_eq!(ours, v2(1, 0x11, &[IP4, said].concat()));
}

/// A check is our own connection: LOCAL in version 2, which version 1 cannot say.
#[test]
fn checks_are_introduced_as_our_own() {
    for server in [
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options unique-id,authority,ssl,crc32c",
        "send-proxy-v2 check-send-proxy port 1",
        "send-proxy",
    ] {
        let said = [Program::Burdock, Program::Haproxy].map(|program| {
            let checked = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = checked.local_addr().expect("an address");
            let server = server.replace("port 1", &format!("port {}", address.port()));
            let _proxy = Proxy::start(
                program,
                &format!(
                    "defaults\n timeout client 9s\n timeout server 9s\n timeout connect 9s\n timeout check 9s\n\
                     listen l\n mode tcp\n unique-id-format id\n option httpchk\n bind {}\n \
                     server s {address} check inter 10s {server}\n",
                    free_address()
                ),
            );
            let (mut check, from) = checked.accept().expect("a check");
            let mut bytes = Vec::new();
            while !bytes.ends_with(b"\r\n\r\n") || bytes.len() < 20 {
                let mut more = [0; 1000];
                match check.read(&mut more).expect("a check") {
                    0 => break,
                    count => bytes.extend_from_slice(&more[..count]),
                }
            }
            let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
            text.replace(&format!(" {} ", from.port()), " FROM ")
                .replace(&format!(" {}\r", address.port()), " TO\r")
        });
        assert!(said[0].ends_with("OPTIONS / HTTP/1.0\r\n\r\n"), "{said:?}");
        assert_eq!(said[0], said[1], "{server}");
    }
}

/// A connection that was introduced as one client's carries no other's requests.
#[test]
fn introduced_connections_are_not_shared() {
    let world = world(
        Program::Burdock,
        "send-proxy",
        " http-reuse always\n option http-keep-alive\n",
    );
    let keep = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let _clients = [1, 2].map(|number| {
        let mut client = Client::connect(world.address);
        client.send(format!("PROXY TCP4 9.9.9.{number} 5.6.7.8 1 2\r\n{keep}"));
        client
    });
    for index in 0..2 {
        let name = format!("9.9.9.{}", index + 1);
        wait_until("the server to hear", || {
            (0..world.origin.connections())
                .any(|at| String::from_utf8_lossy(&world.origin.raw(at)).contains(&name))
        });
    }
    assert_eq!(world.origin.connections(), 2);
}

/// A connection that moves to the next worker keeps the addresses that its header gave it: nobody says them again.
#[test]
fn addresses_survive_a_reload() {
    let world = world(Program::Burdock, "", "");
    let mut client = Client::connect(world.address);
    client.send([LINE, b"GET /before HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
    assert_eq!(client.read_response().status, 200);
    let before = world.proxy.processes();
    world.proxy.signal("USR2");
    wait_until("another worker", || {
        world
            .proxy
            .processes()
            .iter()
            .any(|pid| !before.contains(pid))
    });
    client.send("GET /after HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_response().status, 200);
    let after = world.origin.requests_for("/after");
    assert_eq!(after[0].header("X-Forwarded-For"), Some("1.2.3.4"));
}
