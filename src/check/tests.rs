//! Checks on real sockets: scripted servers, a small loop, and what is logged and reported.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use super::*;
use crate::backend::{Health, Proxy};
use crate::config::{ParseOptions, SourceFile, parse};
use crate::log::{Identity, Logger, TargetSet};
use crate::reactor::{BufferPool, Timers, Token};
use crate::sys::time;

/// What a scripted server does with a connection; it is told how many came before.
type Behaviour = fn(&mut TcpStream, usize);

/// Starts a server that reads a request from each connection, then behaves; returns its port.
fn server(behaviour: Behaviour) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), before) = (stream, count.fetch_add(1, Ordering::Relaxed)) else {
                return;
            };
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            let mut request = [0; 1024];
            if matches!(stream.read(&mut request), Ok(count) if count > 0) {
                behaviour(&mut stream, before);
            }
        }
    });
    port
}

fn say(stream: &mut TcpStream, answer: &str) {
    let _ = stream.write_all(answer.as_bytes());
}

/// A worker reduced to checks.
struct Loop {
    poll: Poll,
    timers: Timers,
    buffers: BufferPool,
    proxies: Vec<Proxy>,
    log_sets: Vec<TargetSet>,
    logger: Logger,
    checks: Checks,
    log: UdpSocket,
    changes: Vec<Change>,
}

impl Loop {
    /// `sections` is configuration text.
    fn new(sections: &str) -> Loop {
        let log = UdpSocket::bind("127.0.0.1:0").unwrap();
        log.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let text = format!(
            "global\n log {} format short local0\ndefaults\n mode http\n log global\n timeout connect 1s\n timeout client 1s\n \
             timeout server 1s\n timeout check 300ms\nfrontend f\n bind 127.0.0.1:1\n{sections}\n",
            log.local_addr().unwrap()
        );
        let file = SourceFile {
            name: "test.cfg".to_owned(),
            text: text.into_bytes(),
        };
        let (config, diags) = parse(&[file], &ParseOptions::default());
        let config = config.unwrap_or_else(|| panic!("{diags:?}"));
        let mut logger = Logger::new(Identity {
            tag: "burdock".to_owned(),
            hostname: None,
            pid: 1,
        });
        let log_sets = config
            .proxies
            .iter()
            .map(|proxy| logger.add(&proxy.log, None).unwrap())
            .collect();
        let now_ms = time::monotonic_ms();
        let proxies: Vec<Proxy> = config
            .proxies
            .into_iter()
            .map(|p| Proxy::new(Rc::new(p), 10, now_ms))
            .collect();
        let checks = Checks::new(&proxies, 0, 1);
        let mut this = Loop {
            poll: Poll::new().unwrap(),
            timers: Timers::new(now_ms, 8),
            buffers: BufferPool::new(16384, 4),
            proxies,
            log_sets,
            logger,
            checks,
            log,
            changes: Vec::new(),
        };
        this.with(|checks, cx| checks.start(cx));
        this
    }

    fn with(&mut self, act: impl FnOnce(&mut Checks, &mut Context<'_>)) {
        let mut cx = Context {
            registry: self.poll.registry(),
            timers: &mut self.timers,
            buffers: &mut self.buffers,
            proxies: &mut self.proxies,
            log_sets: &self.log_sets,
            logger: &mut self.logger,
            now_ms: time::monotonic_ms(),
            changes: &mut self.changes,
        };
        act(&mut self.checks, &mut cx);
    }

    /// Runs until `done`, five seconds at most.
    fn run_until(&mut self, done: impl Fn(&Loop) -> bool) {
        let start = Instant::now();
        let mut events = Events::with_capacity(16);
        let mut due = Vec::new();
        while !done(self) {
            assert!(
                start.elapsed() < Duration::from_secs(5),
                "nothing happened: {:?}",
                self.backend().servers[0].check
            );
            self.poll
                .poll(&mut events, Some(Duration::from_millis(5)))
                .unwrap();
            for event in &events {
                let token = Token::unpack(event.token()).unwrap();
                self.with(|checks, cx| checks.on_event(token, event, cx));
            }
            self.timers.expire(time::monotonic_ms(), &mut due);
            for token in due.drain(..) {
                self.with(|checks, cx| checks.on_timer(Token::unpack(token).unwrap(), cx));
            }
            self.with(|checks, cx| checks.begin_due(cx));
        }
    }

    fn backend(&self) -> &Proxy {
        &self.proxies[1]
    }

    /// Runs until the first server was checked; its report as `status code detail`.
    fn first_report(&mut self) -> String {
        self.run_until(|this| this.backend().servers[0].check.duration_ms.is_some());
        let report = &self.backend().servers[0].check;
        format!(
            "{} {} {}",
            report.status.name(),
            report.code.unwrap_or(0),
            report.detail
        )
    }

    /// The next log line, durations replaced.
    fn log_line(&self) -> String {
        let mut bytes = [0; 2048];
        let count = self.log.recv(&mut bytes).expect("a line");
        let line = String::from_utf8_lossy(&bytes[..count])
            .trim_end()
            .to_owned();
        match (line.find("duration: "), line.find("ms")) {
            (Some(from), Some(to)) => {
                format!("{}N{}", &line[..from + "duration: ".len()], &line[to..])
            }
            _ => line,
        }
    }
}

fn http_backend(port: u16, options: &str) -> String {
    format!(
        "backend app\n option httpchk GET /c\n {options}\n server s1 127.0.0.1:{port} check inter 50ms fall 1 rise 1"
    )
}

/// A port on which nothing listens.
fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

#[test]
fn each_end_of_a_check() {
    let check = |behaviour: Behaviour, expected: &str| {
        assert_eq!(
            Loop::new(&http_backend(server(behaviour), "")).first_report(),
            expected
        );
    };
    check(
        |s, _| say(s, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        "L7OK 200 ",
    );
    check(
        |s, _| say(s, "HTTP/1.1 404 Not Found\r\n\r\n"),
        "L7STS 404 Not Found",
    );
    check(|s, _| say(s, "hello\r\n\r\n"), "L7RSP 0 ");
    check(|_, _| (), "L7RSP 0 ");
    check(|_, _| thread::sleep(Duration::from_secs(1)), "L7TOUT 0 ");
    check(
        |s, _| {
            let _ = socket2::SockRef::from(&*s).set_linger(Some(Duration::ZERO));
        },
        "SOCKERR 0 Connection reset by peer",
    );
    assert_eq!(
        Loop::new(&http_backend(closed_port(), "")).first_report(),
        "L4CON 0 Connection refused"
    );
    let tcp = |port| format!("backend app\n server s1 127.0.0.1:{port} check inter 50ms");
    assert_eq!(
        Loop::new(&tcp(closed_port())).first_report(),
        "L4CON 0 Connection refused"
    );
    assert_eq!(Loop::new(&tcp(server(|_, _| ()))).first_report(), "L4OK 0 ");
    let missing = "backend app\n server s1 unix@/nonexistent/socket check inter 50ms";
    assert_eq!(
        Loop::new(missing).first_report(),
        "SOCKERR 0 General socket error (No such file or directory)"
    );
}

#[test]
fn a_full_backlog_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    socket2::SockRef::from(&listener).listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let fill: Vec<_> = (0..4)
        .map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(20)))
        .collect();
    assert_eq!(
        Loop::new(&http_backend(address.port(), "")).first_report(),
        "L4TOUT 0 "
    );
    drop(fill);
}

#[test]
fn states_and_log_lines_are_those_of_haproxy() {
    let port = server(|s, before| match before {
        1 => say(s, "HTTP/1.1 404 Not Found\r\n\r\n"),
        _ => say(s, "HTTP/1.1 200 OK\r\n\r\n"),
    });
    let mut this = Loop::new(&http_backend(port, ""));
    this.run_until(|this| this.changes.len() == 2);
    assert_eq!(
        this.changes[0],
        Change {
            proxy: 1,
            server: 0,
            is_up: false
        }
    );
    assert_eq!(
        this.changes[1],
        Change {
            proxy: 1,
            server: 0,
            is_up: true
        }
    );
    assert_eq!(
        this.log_line(),
        "<1>Server app/s1 is DOWN, reason: Layer7 wrong status, code: 404, info: \"Not Found\", check duration: Nms. \
         0 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue."
    );
    assert_eq!(this.log_line(), "<0>backend app has no server available!");
    assert_eq!(
        this.log_line(),
        "<5>Server app/s1 is UP, reason: Layer7 check passed, code: 200, check duration: Nms. \
         1 active and 0 backup servers online. 0 sessions requeued, 0 total in queue."
    );
    let counters = &this.backend().servers[0].counters;
    assert_eq!((counters.checks_failed, counters.down_transitions), (1, 1));
    assert_eq!(this.backend().backend_counters.down_transitions, 1);
}

#[test]
fn log_health_checks_tells_the_reason_once() {
    let port = server(|s, before| match before {
        0 | 2 => say(s, "HTTP/1.1 200 OK\r\n\r\n"),
        _ => say(s, "HTTP/1.1 500 E\r\n\r\n"),
    });
    let mut this = Loop::new(&http_backend(port, "option log-health-checks"));
    this.run_until(|this| this.backend().servers[0].counters.checks_failed >= 1);
    assert_eq!(
        this.log_line(),
        "<5>Health check for server app/s1 succeeded, reason: Layer7 check passed, code: 200, check duration: Nms, \
         status: 1/1 UP."
    );
    assert_eq!(
        this.log_line(),
        "<5>Health check for server app/s1 failed, reason: Layer7 wrong status, code: 500, info: \"E\", \
         check duration: Nms, status: 0/1 DOWN."
    );
    let down = "<1>Server app/s1 is DOWN. 0 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.";
    assert_eq!(this.log_line(), down);
}

#[test]
fn a_server_that_is_down_is_not_chosen() {
    let up = server(|s, _| say(s, "HTTP/1.1 200 OK\r\n\r\n"));
    let mut this = Loop::new(&format!(
        "backend app\n balance roundrobin\n server s1 127.0.0.1:{} check inter 50ms\n server s2 127.0.0.1:{up} check inter 50ms",
        closed_port()
    ));
    this.run_until(|this| this.backend().servers[0].health == Health::Stopped);
    for _ in 0..4 {
        assert_eq!(
            this.proxies[1].pick(None, None),
            crate::backend::Pick::Server(1)
        );
    }
}

#[test]
fn a_turn_begins_few_of_the_checks_that_are_due() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let servers: Vec<String> = (0..9)
        .map(|n| format!(" server s{n} 127.0.0.1:{port} check inter 60s"))
        .collect();
    let mut this = Loop::new(&format!("backend b\n{}", servers.join("\n")));
    let mut due = Vec::new();
    // As after a pause of the process that was longer than all the first delays.
    this.timers.expire(time::monotonic_ms() + 60_000, &mut due);
    assert_eq!(due.len(), 9);
    for token in due {
        this.with(|checks, cx| checks.on_timer(Token::unpack(token).unwrap(), cx));
    }
    let mut begun = Vec::new();
    while this.checks.has_due() {
        this.with(|checks, cx| checks.begin_due(cx));
        let running = |server: &&crate::backend::Server| server.check.running;
        begun.push(this.backend().servers.iter().filter(running).count());
    }
    assert_eq!(begun, [4, 8, 9]);
}

#[test]
fn a_stop_closes_everything() {
    let mut this = Loop::new(&http_backend(
        server(|_, _| thread::sleep(Duration::from_secs(1))),
        "",
    ));
    this.run_until(|this| this.backend().servers[0].check.running);
    this.with(|checks, cx| checks.stop(cx));
    assert_eq!(this.buffers.attached(), 0);
    assert_eq!(this.timers.next_deadline_ms(), None);
}
