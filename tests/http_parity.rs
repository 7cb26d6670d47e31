//! The same requests through burdock and through the packaged HAProxy: what the client sees, what reaches the server
//! and what the log says must be the same, but for what a case names.
//!
//! Compared after taking out what no two runs share (dates, ports, pids, durations) and the case and order of header
//! names (HAProxy writes names in lower case; burdock leaves lines that it does not edit as they came).

pub mod support;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use support::normal::normal_head;
use support::{Answer, Client, Origin, Program, Proxy, Recorded, Syslog, free_address, wait_until};

/// One step of a client.
enum Do {
    /// Sends bytes.
    Send(&'static str),
    /// Sends that many bytes of a body.
    SendMany(usize),
    /// Reads a response.
    Read,
    /// Reads the head of a response that has no body.
    ReadHead,
    /// Reads to the end of the connection.
    ReadEnd,
    /// Closes the sending side.
    Shut,
}
use Do::*;

struct Case {
    name: &'static str,
    /// Lines for the `defaults` section.
    defaults: &'static str,
    /// Parameters of the server line.
    server: &'static str,
    steps: Vec<Do>,
    /// Takes out of both runs in what they differ on purpose.
    but: fn(&mut Seen),
}

fn case(name: &'static str, steps: Vec<Do>) -> Case {
    Case {
        name,
        defaults: "",
        server: "",
        steps,
        but: |_| {},
    }
}

/// burdock takes hop-by-hop headers out (RFC 9110 section 7.6.1), HAProxy forwards them.
fn without_hop_headers(seen: &mut Seen) {
    let is_hop = |line: &&str| {
        !["connection: ", "keep-alive: ", "x-hop: ", "x-mine: "]
            .iter()
            .any(|name| line.starts_with(name))
    };
    for text in [&mut seen.client].into_iter().chain(&mut seen.server) {
        *text = text.lines().filter(is_hop).collect::<Vec<_>>().join("\n");
    }
}

/// HAProxy writes chunks anew, burdock forwards them as they came: a cut one keeps the size it announced.
fn without_chunk_sizes(seen: &mut Seen) {
    seen.client = seen.client.replace("\n5\n", "\n").replace("\n2\n", "\n");
}

/// HAProxy counts names and values of trailers in the log's bytes, burdock does not.
fn without_logged_bytes(seen: &mut Seen) {
    seen.log
        .iter_mut()
        .for_each(|line| *line = line.replace(" 76 ", " N ").replace(" 72 ", " N "));
}

fn get(target: &'static str) -> Do {
    Send(Box::leak(
        format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").into_boxed_str(),
    ))
}

fn origin_script(request: &Recorded) -> Answer {
    let echo = || String::from_utf8_lossy(&request.body).into_owned();
    match request.target().split('?').next().unwrap_or_default() {
        "/chunked" => {
            Answer::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
                .then("2\r\nde\r\n0\r\n\r\n")
        }
        "/trailers" => Answer::raw(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
        ),
        "/until-close" => Answer::raw("HTTP/1.1 200 OK\r\nX: y\r\n\r\nuntil the end").close(),
        "/http10" => Answer::raw("HTTP/1.0 200 OK\r\nX: y\r\n\r\nold").close(),
        "/http10-keep" => {
            Answer::raw("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nold")
        }
        "/close-header" => {
            Answer::raw("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
                .close()
        }
        "/204" => Answer::raw("HTTP/1.1 204 No Content\r\nX: y\r\n\r\n"),
        "/304" => {
            Answer::raw("HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\nETag: x\r\n\r\n")
        }
        "/interim" => Answer::raw("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n")
            .then("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        "/no-answer" => Answer::raw("").close(),
        "/half-head" => Answer::raw("HTTP/1.1 200 OK\r\nContent-Le").close(),
        "/truncated" => Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").close(),
        "/truncated-chunks" => {
            Answer::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab").close()
        }
        "/garbage" => Answer::raw("this is no HTTP at all\r\n\r\n").close(),
        "/silence" => Answer::silence(),
        "/hop" => Answer::raw(
            "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-End: 2\r\nContent-Length: 2\r\n\r\nok",
        ),
        "/echo" => Answer::ok(echo(), &[]),
        "/404" => Answer::raw("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone"),
        "/big" => Answer::ok(vec![b'x'; 300_000], &[]),
        "/upgrade" => Answer::raw(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n",
        )
        .then("hello")
        .close(),
        _ => Answer::ok("hello", &["Set-Cookie: a=b"]),
    }
}

fn cases() -> Vec<Case> {
    vec![
        case(
            "keep-alive",
            vec![get("/1"), Read, get("/2"), Read, get("/404"), Read],
        ),
        case(
            "bodies",
            vec![get("/chunked"), Read, get("/until-close"), ReadEnd],
        ),
        Case {
            defaults: " option http-restrict-req-hdr-names delete\n",
            ..case(
                "names that servers confuse, removed",
                vec![
                    Send(
                        "GET /1 HTTP/1.1\r\nHost: h\r\nX_Forwarded_For: 1.1.1.1\r\nX-Plain: 1\r\nX.Y: 2\r\n!: 3\r\n\r\n",
                    ),
                    Read,
                ],
            )
        },
        Case {
            defaults: " option http-restrict-req-hdr-names reject\n",
            ..case(
                "names that servers confuse, refused",
                vec![
                    Send("GET /1 HTTP/1.1\r\nHost: h\r\nX-Plain9: 1\r\n\r\n"),
                    Read,
                    Send("GET /2 HTTP/1.1\r\nHost: h\r\nX_Forwarded_For: 1.1.1.1\r\n\r\n"),
                    Read,
                ],
            )
        },
        Case {
            but: without_logged_bytes,
            ..case("trailers", vec![get("/trailers"), Read, get("/1"), Read])
        },
        case(
            "no bodies",
            vec![
                get("/204"),
                Read,
                get("/304"),
                ReadHead,
                Send("HEAD /204 HTTP/1.1\r\nHost: h\r\n\r\n"),
                ReadHead,
                get("/1"),
                Read,
            ],
        ),
        case("interim", vec![get("/interim"), Read, Read]),
        case("old server", vec![get("/http10"), ReadEnd]),
        case(
            "old server keeps",
            vec![get("/http10-keep"), Read, get("/1"), Read],
        ),
        case("old client", vec![Send("GET /1 HTTP/1.0\r\n\r\n"), ReadEnd]),
        case(
            "old client keeps",
            vec![
                Send("GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
                Read,
                Send("GET /2 HTTP/1.0\r\n\r\n"),
                ReadEnd,
            ],
        ),
        case(
            "server closes",
            vec![get("/close-header"), Read, get("/1"), Read],
        ),
        case(
            "client closes",
            vec![
                Send("GET /1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
                ReadEnd,
            ],
        ),
        Case {
            but: without_hop_headers,
            ..case(
                "hop by hop",
                vec![
                    Send(
                        "GET /hop HTTP/1.1\r\nHost: h\r\nConnection: X-Mine\r\nX-Mine: 1\r\nX-Other: 2\r\n\r\n",
                    ),
                    Read,
                ],
            )
        },
        case(
            "posts",
            vec![
                Send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"),
                Read,
                Send(
                    "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
                ),
                Read,
            ],
        ),
        case(
            "post in pieces",
            vec![
                Send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe"),
                Send("llo"),
                Read,
            ],
        ),
        case(
            "pipelined",
            vec![
                Send(
                    "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /404 HTTP/1.1\r\nHost: h\r\n\r\nGET /chunked HTTP/1.1\r\nHost: h\r\n\r\n",
                ),
                Read,
                Read,
                Read,
            ],
        ),
        case(
            "big",
            vec![
                get("/big"),
                Read,
                Send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n"),
                SendMany(200_000),
                Read,
            ],
        ),
        case("half-closed client", vec![get("/1"), Shut, ReadEnd]),
        case("no answer", vec![get("/no-answer"), ReadEnd]),
        case("half a head", vec![get("/half-head"), ReadEnd]),
        case("garbage", vec![get("/garbage"), ReadEnd]),
        case("truncated", vec![get("/truncated"), ReadEnd]),
        Case {
            but: without_chunk_sizes,
            ..case("truncated chunks", vec![get("/truncated-chunks"), ReadEnd])
        },
        case("server is silent", vec![get("/silence"), ReadEnd]),
        case(
            "bad request",
            vec![Send("GET /a b HTTP/1.1\r\nHost: h\r\n\r\n"), ReadEnd],
        ),
        case(
            "bad header",
            vec![Send("GET / HTTP/1.1\r\nHost : h\r\n\r\n"), ReadEnd],
        ),
        case(
            "half a request",
            vec![Send("GET / HTTP/1.1\r\nHo"), Shut, ReadEnd],
        ),
        Case {
            defaults: "no option dontlognull",
            ..case("no request, half-closed", vec![Shut, ReadEnd])
        },
        case("no request, not logged", vec![Shut, ReadEnd]),
        Case {
            defaults: "no option dontlognull\n option http-ignore-probes",
            ..case("no request, probes ignored", vec![Shut, ReadEnd])
        },
        case("slow request", vec![Send("GET / HTTP/1.1\r\nHo"), ReadEnd]),
        case("silent client", vec![ReadEnd]),
        case(
            "slow second request",
            vec![get("/1"), Read, Send("GET / HTTP/1.1\r\nHo"), ReadEnd],
        ),
        case("idle after a request", vec![get("/1"), Read, ReadEnd]),
        case(
            "slow body",
            vec![
                Send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe"),
                ReadEnd,
            ],
        ),
        case(
            "upgrade",
            vec![
                Send(
                    "GET /upgrade HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n",
                ),
                ReadEnd,
            ],
        ),
        Case {
            defaults: "option http-server-close",
            ..case("server-close", vec![get("/1"), Read, get("/chunked"), Read])
        },
        Case {
            defaults: "option httpclose",
            ..case("httpclose", vec![get("/1"), ReadEnd])
        },
        Case {
            defaults: "option forwardfor",
            ..case(
                "forwardfor",
                vec![
                    Send("GET /1 HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n"),
                    Read,
                ],
            )
        },
        Case {
            defaults: "option forwardfor except 127.0.0.0/8",
            ..case("forwardfor except", vec![get("/1"), Read])
        },
        Case {
            defaults: "option forwardfor header X-Client if-none",
            ..case(
                "forwardfor if-none",
                vec![
                    Send("GET /1 HTTP/1.1\r\nHost: h\r\nX-Client: 1\r\n\r\n"),
                    Read,
                    get("/2"),
                    Read,
                ],
            )
        },
        Case {
            server: "disabled",
            ..case("no server", vec![get("/1"), ReadEnd])
        },
    ]
}

/// What one run showed.
#[derive(Debug, PartialEq)]
struct Seen {
    client: String,
    server: Vec<String>,
    log: Vec<String>,
}

fn run(program: Program, case: &Case) -> Seen {
    let log = Syslog::start();
    let origin = Origin::start(origin_script);
    let bind = free_address();
    let configuration = format!(
        "global\n stats socket {{dir}}/stats.sock level admin\n log {} local0\ndefaults\n mode http\n log global\n option httplog\n option dontlognull\n \
         timeout client 900ms\n timeout server 700ms\n timeout connect 1s\n timeout http-request 500ms\n \
         timeout http-keep-alive 600ms\n {}\nfrontend f\n bind {bind}\n default_backend b\nbackend b\n server s {} {}\n",
        log.address(),
        case.defaults,
        origin.address(),
        case.server
    );
    let proxy = Proxy::start(program, &configuration);
    let client = play(bind, &case.steps);
    // The log is in order: once the client is gone and the line of a last request is there, all lines of the case are.
    wait_until("the client's connection ends", || {
        let stat = proxy.command("show stat");
        stat.lines()
            .any(|line| line.starts_with("f,FRONTEND,") && line.split(',').nth(4) == Some("0"))
    });
    let _ = support::get(bind, "/last", &[]);
    log.wait_for_text("/last");
    let raw = (0..origin.connections()).map(|connection| origin.raw(connection));
    let before_last = |bytes: Vec<u8>| {
        let end = bytes
            .windows(9)
            .position(|window| window == b"GET /last")
            .unwrap_or(bytes.len());
        normal_head(&bytes[..end])
    };
    let server = raw.map(before_last).filter(|text| !text.is_empty());
    Seen {
        client,
        server: server.collect(),
        log: requests_logged(&log),
    }
}

fn play(bind: SocketAddr, steps: &[Do]) -> String {
    let mut client = Client::connect(bind);
    let mut seen = String::new();
    for step in steps {
        match step {
            Send(bytes) => drop(client.try_send(bytes)),
            SendMany(count) => drop(client.try_send(vec![b'y'; *count])),
            Read | ReadHead => {
                let answer = if matches!(step, Read) {
                    client.try_read_response()
                } else {
                    Ok(client.read_head_only())
                };
                match answer {
                    Ok(answer) => {
                        let body = if answer.body.len() > 1000 {
                            format!("{} bytes", answer.body.len())
                        } else {
                            answer.text()
                        };
                        let _ = writeln!(
                            seen,
                            "status {}\n{}body {body:?}",
                            answer.status,
                            normal_head(answer.head.as_bytes())
                        );
                    }
                    Err(error) => drop(writeln!(seen, "no response: {:?}", error.kind())),
                }
            }
            ReadEnd => match client.read_to_end() {
                Ok(bytes) if bytes.is_empty() => seen.push_str("end\n"),
                Ok(bytes) => drop(writeln!(seen, "status {}, to the end", normal_head(&bytes))),
                Err(error) => drop(writeln!(seen, "no end: {:?}", error.kind())),
            },
            Shut => client.shutdown_write(),
        }
    }
    seen
}

/// The request lines of the log without dates, ports and durations.
fn requests_logged(log: &Syslog) -> Vec<String> {
    log.lines()
        .iter()
        .filter(|line| line.contains(" f ") && !line.contains("/last"))
        .map(|line| normal_log(line))
        .collect()
}

fn normal_log(line: &str) -> String {
    let line = line.split_once("]: ").map_or(line, |(_, rest)| rest);
    let words = line
        .split(' ')
        .enumerate()
        .map(|(position, word)| match position {
            0 | 1 => "-".to_string(),
            // TR/Tw/Tc/Tr/Ta: -1 or a duration.
            4 => {
                let times = word
                    .split('/')
                    .map(|time| if time == "-1" { "-1" } else { "N" });
                times.collect::<Vec<_>>().join("/")
            }
            _ => word.to_string(),
        });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn requests_fare_as_through_haproxy() {
    let only = std::env::var("BURDOCK_PARITY_CASE").ok();
    let cases: Vec<Case> = cases()
        .into_iter()
        .filter(|case| only.as_deref().is_none_or(|only| only == case.name))
        .collect();
    let differences: Vec<String> = std::thread::scope(|scope| {
        let runs: Vec<_> = cases
            .iter()
            .map(|case| {
                scope.spawn(move || {
                    let (mut burdock, mut haproxy) =
                        (run(Program::Burdock, case), run(Program::Haproxy, case));
                    (case.but)(&mut burdock);
                    (case.but)(&mut haproxy);
                    (burdock != haproxy).then(|| {
                        format!(
                            "case '{}'\nburdock {burdock:#?}\nHAProxy {haproxy:#?}",
                            case.name
                        )
                    })
                })
            })
            .collect();
        let name = |index: usize| cases[index].name;
        let joined = runs
            .into_iter()
            .enumerate()
            .map(|(index, run)| match run.join() {
                Ok(difference) => difference,
                Err(_) => Some(format!("case '{}' panicked", name(index))),
            });
        joined.flatten().collect()
    });
    assert!(
        differences.is_empty(),
        "{} of {} differ:\n{}",
        differences.len(),
        cases.len(),
        differences.join("\n\n")
    );
}

#[test]
fn durations_in_the_log_are_the_real_ones() {
    let log = Syslog::start();
    let origin = Origin::start(|_| {
        Answer::raw("")
            .pause(Duration::from_millis(300))
            .then("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    let bind = free_address();
    let _proxy = Proxy::start(
        Program::Burdock,
        &format!(
            "global\n stats socket {{dir}}/stats.sock level admin\n log {} local0\ndefaults\n mode http\n log global\n option httplog\n timeout client 5s\n timeout server 5s\n \
             timeout connect 1s\nlisten f\n bind {bind}\n server s {}\n",
            log.address(),
            origin.address()
        ),
    );
    wait_until("the frontend listens", || Client::try_connect(bind).is_ok());
    assert_eq!(support::get(bind, "/x", &[]).status, 200);
    let line = log.wait_for_text("\"GET /x HTTP/1.1\"");
    let times = line
        .split(' ')
        .find(|word| word.matches('/').count() == 4)
        .expect("the timers");
    let times: Vec<u64> = times
        .split('/')
        .map(|time| time.parse().expect("a duration"))
        .collect();
    assert!(
        (290..5_000).contains(&times[3]) && times[4] >= times[3],
        "{line}"
    );
}
