//! The tools run small: what measures others has to be right itself.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

static NEXT: AtomicU8 = AtomicU8::new(1);

/// A free port on a loopback address of this test alone.
fn free_address() -> SocketAddr {
    let process = std::process::id();
    let last = NEXT.fetch_add(1, Ordering::Relaxed);
    let ip = Ipv4Addr::new(
        127,
        32 | (process >> 8 & 0x1f) as u8,
        (process & 0xff) as u8,
        last,
    );
    let probe = TcpListener::bind((ip, 0)).unwrap();
    probe.local_addr().unwrap()
}

/// A server process that ends with its owner.
struct Server(Child);

impl Server {
    fn start(program: &str, listens: SocketAddr, args: &[&str]) -> Server {
        let server = Server(Command::new(program).args(args).spawn().unwrap());
        let end = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(listens).is_err() {
            assert!(Instant::now() < end, "{program} does not listen");
            std::thread::sleep(Duration::from_millis(2));
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn load(args: &[&str]) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_load"))
        .args([
            "--seconds",
            "0.3",
            "--warmup",
            "0.1",
            "--connections",
            "4",
            "--json",
        ])
        .args(args)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    (output, text)
}

/// The number after `"name":`.
fn number(json: &str, name: &str) -> f64 {
    let start = json.find(&format!("\"{name}\":")).unwrap() + name.len() + 3;
    let rest = &json[start..];
    rest[..rest.find([',', '}']).unwrap()].parse().unwrap()
}

fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn load_measures_a_backend_through_the_relay() {
    let (server, closing, relay, closing_relay) = (
        free_address(),
        free_address(),
        free_address(),
        free_address(),
    );
    let text = |address: SocketAddr| address.to_string();
    let args = [
        "--listen",
        &text(server),
        "--listen-close",
        &text(closing),
        "--bytes",
        "300",
    ];
    let _backend = Server::start(env!("CARGO_BIN_EXE_backend"), closing, &args);
    let args = ["--listen", &text(relay), "--target", &text(server)];
    let first = Server::start(env!("CARGO_BIN_EXE_relay"), relay, &args);
    let args = [
        "--listen",
        &text(closing_relay),
        "--target",
        &text(closing),
        "--server-close",
    ];
    let _second = Server::start(env!("CARGO_BIN_EXE_relay"), closing_relay, &args);

    let (output, json) = load(&[
        "--target",
        &text(relay),
        "--keys",
        "10",
        "--pid",
        &first.0.id().to_string(),
    ]);
    assert!(output.status.success(), "{json}");
    assert!(
        number(&json, "answers") > 10.0 && number(&json, "cpu_us") > 0.0,
        "{json}"
    );
    assert!(number(&json, "p50_us") <= number(&json, "p99_us"), "{json}");

    let (output, json) = load(&["--target", &text(closing_relay)]);
    assert!(output.status.success(), "{json}");
    let by_slices = ["--close", "--rate", "200", "--slice", "0.1"];
    let (output, json) = load(&[&["--target", &text(server)][..], &by_slices].concat());
    assert!(output.status.success(), "{json}");
    for list in ["slices_p99_us", "slices_p99_9_us"] {
        let values = json.split(&format!("\"{list}\":[")).nth(1);
        let values = values.and_then(|rest| rest.split(']').next());
        let values: Vec<f64> = values
            .unwrap_or_default()
            .split(',')
            .map(|value| value.parse().expect("a latency"))
            .collect();
        assert!((1..=3).contains(&values.len()), "{json}");
        let longest = values.iter().copied().fold(0.0, f64::max);
        assert!(
            (longest - number(&json, "max_us")).abs() <= longest / 500.0,
            "the longest of all is that of a slice: {json}"
        );
    }
    assert!(
        (40.0..=80.0).contains(&number(&json, "answers")),
        "200 a second for 0.3 s: {json}"
    );
}

#[test]
fn load_counts_requests_sends_bodies_and_holds_idle_crowds() {
    let (server, relay) = (free_address(), free_address());
    let args = ["--listen", &server.to_string(), "--bytes", "1048576"];
    let _backend = Server::start(env!("CARGO_BIN_EXE_backend"), server, &args);
    let args = [
        "--listen",
        &relay.to_string(),
        "--target",
        &server.to_string(),
    ];
    let _relay = Server::start(env!("CARGO_BIN_EXE_relay"), relay, &args);
    let target = relay.to_string();
    let counted = ["--target", &target, "--requests", "33", "--body", "70000"];
    let (output, json) = load(&counted);
    assert!(output.status.success(), "{json}");
    assert_eq!(number(&json, "answers"), 33.0, "{json}");

    let mut crowd = Command::new(env!("CARGO_BIN_EXE_load"))
        .args(["--json", "--hold", "--connections", "20", "--rate", "500"])
        .args(["--target", &target])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = std::io::BufReader::new(crowd.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    assert_eq!(number(&line, "answers"), 20.0, "{line}");
    let sockets = std::fs::read_dir(format!("/proc/{}/fd", crowd.id())).unwrap();
    let is_socket = |entry: std::io::Result<std::fs::DirEntry>| {
        let target = std::fs::read_link(entry.unwrap().path());
        target.is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
    };
    assert_eq!(
        sockets.filter_map(|fd| is_socket(fd).then_some(())).count(),
        20
    );
    drop(crowd.stdin.take());
    assert!(crowd.wait().unwrap().success());
}

#[test]
fn load_counts_failures_and_wrong_servers() {
    let nobody = free_address().to_string();
    let (output, json) = load(&["--target", &nobody]);
    assert_eq!(output.status.code(), Some(1));
    assert!(number(&json, "failed_connect") > 0.0, "{json}");

    let (one, two) = (free_address(), free_address());
    let _one = Server::start(
        env!("CARGO_BIN_EXE_backend"),
        one,
        &["--listen", &one.to_string(), "--name", "s1"],
    );
    let _two = Server::start(
        env!("CARGO_BIN_EXE_backend"),
        two,
        &["--listen", &two.to_string(), "--name", "s2"],
    );
    let both = format!("{one},{two}");
    let (output, json) = load(&["--target", &both, "--keys", "1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        number(&json, "wrong_server") > 0.0,
        "one key on two servers must be noticed: {json}"
    );
}

#[test]
fn the_demo_application_keeps_sessions() {
    let address = free_address();
    let args = ["--listen", &address.to_string(), "--name", "app1"];
    let _app = Server::start(env!("CARGO_BIN_EXE_demo-app"), address, &args);
    let fresh = ask(address, "GET /index.php HTTP/1.0\r\n\r\n");
    assert!(fresh.contains("Set-Cookie: PHPSESSID="), "{fresh}");
    for hits in 1..=3 {
        let request =
            "GET / HTTP/1.1\r\nHost: a\r\nCookie: b=c; PHPSESSID=mine\r\nConnection: close\r\n\r\n";
        let answer = ask(address, request);
        assert!(
            answer.ends_with(&format!("app1 session=mine hits={hits}\n")),
            "{answer}"
        );
        assert!(!answer.contains("Set-Cookie"), "{answer}");
    }
    let head = ask(address, "HEAD / HTTP/1.0\r\n\r\n");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
}
