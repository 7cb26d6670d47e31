//! `retry-on`, beside the packaged HAProxy: the same failures, the same attempts, answers, log lines and counters.
//!
//! A target is the script of its answers: the first attempt at `/503-close-ok` gets a 503, the second none, the third is answered. What no
//! word is left for is answered as by the last one.

pub mod support;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Mutex;

use support::world::stat_columns;
use support::{Answer, Client, Origin, Program, Proxy, Recorded, Syslog, free_address, wait_until};

struct Case {
    /// Lines of its section.
    lines: &'static str,
    method: &'static str,
    script: &'static str,
    body: &'static [u8],
}

fn case(lines: &'static str, script: &'static str) -> Case {
    Case {
        lines,
        method: "GET",
        script,
        body: b"",
    }
}

fn cases() -> Vec<Case> {
    static LONG: [u8; 40_000] = [b'x'; 40_000];
    let post = |body, case| Case {
        method: "POST",
        body,
        ..case
    };
    vec![
        case("", "close-ok"),
        case("retry-on empty-response", "close-ok"),
        case("retry-on empty-response", "close"),
        case("retry-on empty-response", "half-ok"),
        case("retry-on junk-response", "half-ok"),
        case("retry-on junk-response", "junk-junk-ok"),
        case("retry-on junk-response", "junk"),
        case("retry-on empty-response", "junk-ok"),
        case("retry-on response-timeout", "silence-ok"),
        case("retry-on 503", "silence-ok"),
        case("retry-on 503", "503-503-ok"),
        case("retry-on 503", "503"),
        case("retry-on 503 404", "503-404-500"),
        case("retry-on all-retryable-errors", "500-502-504-ok"),
        case("retry-on all-retryable-errors", "404-ok"),
        case("retry-on all-retryable-errors\n retries 1", "500-503-ok"),
        case("retries 0\n retry-on 503", "503-ok"),
        case("retry-on 503\n http-request disable-l7-retry", "503-ok"),
        case(
            "retry-on 503\n http-request disable-l7-retry if METH_POST",
            "503-ok",
        ),
        case(
            "retry-on 503\n http-response set-header X-Status %[status]\n http-response deny if { status 503 }",
            "503-ok",
        ),
        post(b"abc", case("retry-on 503", "503-ok")),
        post(&LONG[..10_000], case("retry-on 503", "503-ok")),
        post(&LONG, case("retry-on 503", "503-ok")),
        case("retry-on 503\n server t ORIGIN", "503-ok"),
        case(
            "option redispatch\n retry-on 503\n server t ORIGIN",
            "503-503-503-ok",
        ),
        case(
            "option redispatch 1\n retry-on 503\n server t ORIGIN",
            "503-503-ok",
        ),
        case("retry-on none\n server a DEAD weight 256", "ok"),
        case("retry-on 503\n server a DEAD weight 256", "ok"),
    ]
}

fn answer(word: &str) -> Answer {
    match word {
        "ok" => Answer::ok("fine", &[]),
        "close" => Answer::raw("").close(),
        "half" => Answer::raw("HTTP/1.1 200 OK\r\nContent-").close(),
        "junk" => Answer::raw("this is no response\r\n\r\n").close(),
        "silence" => Answer::silence(),
        status => Answer::raw(format!(
            "HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nno"
        )),
    }
}

fn scripted() -> Origin {
    let attempts = Mutex::new(HashMap::<String, usize>::new());
    Origin::start(move |request: &Recorded| {
        let target = request.target().to_owned();
        let mut attempts = attempts.lock().expect("no thread panicked");
        let attempt = attempts.entry(target.clone()).or_default();
        let words: Vec<&str> = target
            .split('/')
            .next_back()
            .unwrap_or_default()
            .split('-')
            .collect();
        let word = words[(*attempt).min(words.len() - 1)];
        *attempt += 1;
        answer(word)
    })
}

/// What all cases have come to, a text each.
fn run(program: Program, cases: &[Case]) -> Vec<String> {
    let (log, origin, dead) = (Syslog::start(), scripted(), free_address());
    let fronts: Vec<SocketAddr> = cases.iter().map(|_| free_address()).collect();
    let mut text = format!(
        "global\n stats socket {{dir}}/stats.sock level admin\n log {} local0\ndefaults\n mode http\n log global\n option httplog\n retries 3\n \
         timeout client 5s\n timeout server 300ms\n timeout connect 1s\n",
        log.address()
    );
    for (index, (case, front)) in cases.iter().zip(&fronts).enumerate() {
        let lines = case
            .lines
            .replace("ORIGIN", &origin.address().to_string())
            .replace("DEAD", &dead.to_string());
        let _ = write!(
            text,
            "listen l{index}\n bind {front}\n {lines}\n server s {}\n",
            origin.address()
        );
    }
    let proxy = Proxy::start(program, &text);
    let mut outcomes = Vec::new();
    for (index, (case, front)) in cases.iter().zip(&fronts).enumerate() {
        let target = format!("/{index}/{}", case.script);
        let mut client = Client::connect(*front);
        let head = format!(
            "{} {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n",
            case.method,
            case.body.len()
        );
        // In one piece: HAProxy asks again only what it had in full when it was first asked.
        client.send([head.as_bytes(), case.body].concat());
        let response = client.read_response();
        drop(client);
        let attempts = origin.requests_for(&target);
        let bodies: Vec<usize> = attempts.iter().map(|request| request.body.len()).collect();
        let line = log.wait_for_text(&format!(" {target} "));
        let words: Vec<&str> = line.split(' ').collect();
        let at = words
            .iter()
            .position(|word| word.starts_with(&format!("l{index}/")));
        let at = at.expect("a proxy and its server");
        let columns = [
            "svname", "econ", "eresp", "wretr", "wredis", "hrsp_2xx", "hrsp_5xx",
        ];
        let stat = || {
            let csv = proxy.stats().command("show stat");
            let own = format!("l{index},");
            let is_kept = |line: &&str| line.starts_with('#') || line.starts_with(&own);
            let csv: Vec<&str> = csv.lines().filter(is_kept).collect();
            stat_columns(&csv.join("\n"), &columns)
        };
        outcomes.push(format!(
            "{} {:?}\nattempts {bodies:?}\nlog {} {} {} {}\nstat {:?}",
            response.status,
            String::from_utf8_lossy(&response.body),
            words[at],
            words[at + 2],
            words[at + 6],
            words[at + 7].rsplit('/').next().unwrap_or_default(),
            stat(),
        ));
    }
    outcomes
}

#[test]
fn requests_are_tried_again_as_by_haproxy() {
    let cases = cases();
    let (burdock, haproxy) = std::thread::scope(|scope| {
        let haproxy = scope.spawn(|| run(Program::Haproxy, &cases));
        (run(Program::Burdock, &cases), haproxy.join().expect("runs"))
    });
    let mut differences = String::new();
    for (index, case) in cases.iter().enumerate() {
        if burdock[index] != haproxy[index] {
            let _ = writeln!(
                differences,
                "{} with {:?}\nburdock: {}\nHAProxy: {}\n",
                case.script, case.lines, burdock[index], haproxy[index]
            );
        }
    }
    assert!(differences.is_empty(), "{differences}");
    // What is compared is what was meant.
    assert!(burdock[10].starts_with("200") && burdock[10].contains("attempts [0, 0, 0]"));
    assert!(burdock[11].starts_with("503") && burdock[11].contains("attempts [0, 0, 0, 0]"));
    assert!(
        burdock[21].contains("attempts [10000, 10000]"),
        "{}",
        burdock[21]
    );
    assert!(burdock[22].contains("attempts [40000]"), "{}", burdock[22]);
}

#[test]
fn nothing_is_asked_again_once_an_answer_has_begun() {
    let origin = Origin::start(|_| {
        Answer::raw("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n")
            .then("HTTP/1.1 503 X\r\nContent-Length: 2\r\n\r\nno")
    });
    let front = free_address();
    let _proxy = Proxy::start(
        Program::Burdock,
        &format!(
            "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 1s\nlisten l\n bind {front}\n \
             retry-on all-retryable-errors\n server s {}\n",
            origin.address()
        ),
    );
    wait_until("the frontend listens", || {
        Client::try_connect(front).is_ok()
    });
    let mut client = Client::connect(front);
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.read_response().status, 103);
    assert_eq!(client.read_response().status, 503);
    assert_eq!(origin.requests().len(), 1);
}
