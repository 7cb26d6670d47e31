//! No allocation for a request in steady state: the proxy runs here with an allocator that counts.
//!
//! This program is both sides. Without arguments it is the test: it starts itself as the proxy (`allocations proxy …`), lets it settle, and
//! then asks again and again. As the proxy it writes one byte to a file for every allocation, so that the test, and every
//! process of the proxy, agree on the count. `BURDOCK_ALLOCATIONS_TRACE=1` makes the proxy say on standard error where it allocates.

#![allow(unsafe_code)] // an allocator cannot be written without

pub mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::IntoRawFd;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use support::{Answer, Client, Origin, Syslog, TempDir, free_address, wait_until};

/// The file that counts; -1: nothing is counted.
static COUNTER: AtomicI32 = AtomicI32::new(-1);
static IS_TRACING: AtomicBool = AtomicBool::new(false);

struct Counting;

fn count() {
    let file = COUNTER.load(Ordering::Relaxed);
    if file < 0 {
        return;
    }
    // SAFETY: the descriptor stays open to the end of the process, and one byte is read from a constant.
    unsafe { libc::write(file, b".".as_ptr().cast(), 1) };
    if IS_TRACING.swap(false, Ordering::Relaxed) {
        eprintln!("{}", Backtrace::force_capture());
        IS_TRACING.store(true, Ordering::Relaxed);
    }
}

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    let arguments: Vec<String> = arguments.collect();
    if let [role, counter, rest @ ..] = arguments.as_slice()
        && role == "proxy"
    {
        let file = File::options().append(true).open(counter);
        let traces = std::env::var_os("BURDOCK_ALLOCATIONS_TRACE").is_some();
        IS_TRACING.store(traces, Ordering::Relaxed);
        COUNTER.store(file.expect("the counter").into_raw_fd(), Ordering::Relaxed);
        std::process::exit(burdock::process::main(&program, rest));
    }
    let mut failures = 0;
    for scenario in SCENARIOS {
        let name = scenario.name;
        match scenario.run(&program) {
            0 => println!("test {name} ... ok"),
            count => {
                failures += 1;
                println!("test {name} ... FAILED: {count} allocations in {ASKED} requests");
            }
        }
    }
    std::process::exit(i32::from(failures > 0));
}

/// Requests before the count, and counted.
const SETTLING: usize = 200;
const ASKED: usize = 500;

/// The scenarios of `scripts/bench.sh` with short answers, and some with rules.
struct Scenario {
    name: &'static str,
    /// Lines of the frontend and of the backend.
    frontend: &'static str,
    backend: &'static str,
    /// One client connection a request.
    reconnects: bool,
    /// How every answer begins.
    answer: &'static str,
}

const SCENARIOS: [Scenario; 9] = [
    Scenario {
        name: "a: keep-alive on both sides",
        frontend: "",
        backend: "",
        reconnects: false,
        answer: "hello",
    },
    Scenario {
        name: "b: a server connection for each request",
        frontend: " option http-server-close\n",
        backend: "",
        reconnects: false,
        answer: "hello",
    },
    Scenario {
        name: "c: b, and stick on a cookie",
        frontend: " option http-server-close\n",
        backend: " stick-table type string len 32 size 1k expire 5m\n stick on req.cook(ID)\n stick store-response res.cook(ID)\n",
        reconnects: false,
        answer: "hello",
    },
    Scenario {
        name: "d1: a client connection for each request, servers too",
        frontend: " option http-server-close\n",
        backend: "",
        reconnects: true,
        answer: "hello",
    },
    Scenario {
        name: "d2: a client connection for each request, server connections kept",
        frontend: "",
        backend: " http-reuse always\n",
        reconnects: true,
        answer: "hello",
    },
    Scenario {
        name: "f: TCP",
        frontend: " mode tcp\n option tcplog\n",
        backend: " mode tcp\n",
        reconnects: false,
        answer: "hello",
    },
    Scenario {
        name: "f: TCP, a connection for each request",
        frontend: " mode tcp\n option tcplog\n",
        backend: " mode tcp\n stick-table type ip size 1k expire 5m\n stick on src\n",
        reconnects: true,
        answer: "hello",
    },
    Scenario {
        name: "rules: conditions, edits and counters",
        frontend: " tcp-request connection track-sc0 src table t\n http-request track-sc1 hdr(host) table s\n\
            \x20acl static path_beg /static\n http-request deny if { sc0_http_req_rate gt 1000000 } || static\n\
            \x20http-request set-var(txn.a) path,lower\n http-request deny if { var(txn.a) -m reg ^/no[0-9]+$ }\n",
        backend: " http-reuse always\n http-request deny if { src,table_http_req_cnt(t) eq 0 }\n",
        reconnects: true,
        answer: "hello",
    },
    Scenario {
        name: "metrics",
        frontend: " option socket-stats\n http-request use-service prometheus-exporter\n",
        backend: "",
        reconnects: false,
        answer: "# HELP haproxy_process_nbthread",
    },
];

impl Scenario {
    /// Allocations in steady state.
    fn run(&self, program: &str) -> u64 {
        let origin = Origin::start(|_| Answer::ok("hello", &["Set-Cookie: ID=abc"]));
        let log = Syslog::start();
        let folder = TempDir::new("allocations");
        let address = free_address();
        let counter = folder.write("counter", "");
        let configuration = folder.write("proxy.cfg", format!(
            "global\n log {} local0\n maxconn 100\n\
             defaults\n mode http\n log global\n option httplog\n option forwardfor\n timeout client 10s\n timeout server 10s\n timeout connect 5s\n\
             frontend f\n bind {address}\n default_backend b\n{}\
             backend b\n server s {}\n{}\
             backend t\n stick-table type ip size 1k expire 1m store conn_cur,http_req_cnt,http_req_rate(10s)\n\
             backend s\n stick-table type string len 32 size 1k expire 1m store http_req_cnt,bytes_out_rate(10s)\n",
            log.address(), self.frontend, origin.address(), self.backend
        ));
        let mut child = Command::new(program)
            .arg("proxy")
            .arg(&counter)
            .args(["-db", "-f"])
            .arg(&configuration)
            .stdin(Stdio::null())
            .spawn()
            .expect("this program");
        wait_until("the proxy to listen", || {
            Client::try_connect(address).is_ok()
        });
        let allocated = || std::fs::metadata(&counter).map_or(0, |about| about.len());
        crowd(address);
        self.ask(address, SETTLING);
        let before = allocated();
        self.ask(address, ASKED);
        let after = allocated();
        stop(&mut child);
        after - before
    }

    fn ask(&self, address: SocketAddr, times: usize) {
        let mut client = Client::connect(address);
        for _ in 0..times {
            if self.reconnects {
                client = Client::connect(address);
            }
            let answer =
                client.ask("GET /Some/path?x=1 HTTP/1.1\r\nHost: h\r\nCookie: ID=abc\r\n\r\n");
            assert_eq!(answer.status, 200, "{}", self.name);
            assert!(answer.text().starts_with(self.answer), "{}", self.name);
        }
    }
}

/// Several requests at once: the pools are as large afterwards as requests that overlap a little need.
fn crowd(address: SocketAddr) {
    let mut clients: Vec<Client> = (0..16).map(|_| Client::connect(address)).collect();
    clients
        .iter_mut()
        .for_each(|client| client.send("GET / HTTP/1.1\r\n"));
    // A whole exchange later all of these beginnings have been read, and each holds what a request holds, however slow the machine is.
    let answer = Client::connect(address).ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(answer.status, 200);
    for client in &mut clients {
        client.send("Host: h\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.read_response().status, 200);
    }
}

fn stop(child: &mut Child) {
    support::process::signal(child.id(), "TERM");
    child.wait().expect("the proxy's end");
}
