//! Pages of the configuration and built-in ones, `monitor-uri`: what a client reads and what the log says, beside HAProxy.

pub mod support;

use std::fmt::Write as _;
use std::net::SocketAddr;

use support::{Client, Program, Proxy, Syslog, TempDir, free_address, run_to_end, wait_until};

const FRONTENDS: usize = 7;

const PLAIN: &str = "GET /a HTTP/1.1\r\nhost: a\r\n\r\n";
const BAD: &str = "GE(T / HTTP/1.1\r\n\r\n";

/// Files that the configuration names.
const FILES: [(&str, &str); 6] = [
    (
        "503.http",
        "HTTP/1.0 503 My Down\r\nCache-Control: no-cache\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\nsorry\n",
    ),
    ("404.http", "HTTP/1.1 404 Nope\r\nX-A: b\n\nhello"),
    (
        "200.http",
        "HTTP/1.1 200 OK mine\r\nX-Mon: yes\r\nContent-Length: 3\r\n\r\nup\n",
    ),
    (
        "closing.http",
        "HTTP/1.1 503 X\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc",
    ),
    ("folded.http", "HTTP/1.1 503 X\r\nFoo: b\r\n c\r\n\r\n"),
    ("empty.http", ""),
];

/// Each frontend, and one backend; `{}` is the folder of the files.
fn configuration(folder: &TempDir, syslog: &Syslog, addresses: &[SocketAddr]) -> String {
    let mut text = format!(
        "global\n log {} local0\n stats socket {{dir}}/stats.sock\ndefaults\n mode http\n log global\n option httplog\n timeout client 2s\n \
         timeout server 2s\n timeout connect 2s\n timeout http-request 500ms\n errorfile 503 {{}}/404.http\n\
         http-errors site\n errorfile 404 {{}}/404.http\n errorfile 503 {{}}/503.http\n",
        syslog.address()
    );
    let bodies = [
        " errorfile 503 {}/503.http\n errorfile 200 {}/200.http\n monitor-uri /mon\n monitor fail if { method PUT }\n",
        " errorloc 503 http://x/err\n errorfile 408 {}/empty.http\n monitor-uri http://a/mon\n",
        " errorfile 503 {}/empty.http\n errorfile 400 {}/empty.http\n monitor-uri /mon\n monitor fail if TRUE\n",
        " errorfiles site\n",
        " errorfiles site 404\n errorloc303 503 /see\n",
        " errorfile 503 {}/closing.http\n",
        " errorfile 503 {}/closing.http\n default_backend b\n",
    ];
    for (index, (body, address)) in bodies.iter().zip(addresses).enumerate() {
        let _ = write!(text, "frontend f{index}\n bind {address}\n{body}");
    }
    text += "backend b\n errorfile 503 {}/folded.http\n";
    text.replace("{}", &folder.path().display().to_string())
}

/// Name, frontend, what the client sends, and how many lines are logged.
const CASES: [(&str, usize, &str, usize); 24] = [
    ("a page of its own", 0, PLAIN, 1),
    ("to an old client", 0, "GET /a HTTP/1.0\r\n\r\n", 1),
    (
        "to an old client that stays",
        0,
        "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        1,
    ),
    ("probe", 0, "GET /mon HTTP/1.1\r\nhost: a\r\n\r\n", 0),
    (
        "probe that fails",
        0,
        "PUT /mon HTTP/1.1\r\nhost: a\r\n\r\n",
        0,
    ),
    (
        "probe by an absolute target",
        0,
        "GET http://a/mon HTTP/1.1\r\nhost: a\r\n\r\n",
        0,
    ),
    (
        "no probe, for the query",
        0,
        "GET /mon?x HTTP/1.1\r\nhost: a\r\n\r\n",
        1,
    ),
    (
        "two probes with bodies",
        0,
        "POST /mon HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabcGET /mon HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        0,
    ),
    (
        "probe without its body",
        0,
        "POST /mon HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n",
        0,
    ),
    ("elsewhere", 1, PLAIN, 1),
    ("elsewhere, old client", 1, "GET /a HTTP/1.0\r\n\r\n", 1),
    ("bad request", 1, BAD, 1),
    ("no word on time out", 1, "GET /", 1),
    (
        "probe by its whole target",
        1,
        "GET http://a/mon HTTP/1.1\r\nhost: a\r\n\r\n",
        0,
    ),
    (
        "probe of another form",
        1,
        "GET /mon HTTP/1.1\r\nhost: a\r\n\r\n",
        1,
    ),
    ("no word", 2, PLAIN, 1),
    ("no word to a bad request", 2, BAD, 1),
    ("time out", 2, "GET /", 1),
    (
        "probe that fails without a word",
        2,
        "GET /mon HTTP/1.1\r\nhost: a\r\n\r\n",
        0,
    ),
    ("of a section", 3, PLAIN, 1),
    ("see other", 4, PLAIN, 1),
    (
        "see other, twice",
        4,
        "GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        2,
    ),
    ("a page that closes", 5, PLAIN, 1),
    ("the backend's page", 6, PLAIN, 1),
];

/// What the client read, and the log line from the frontend's name on with its times and the connections of frontend and process taken out.
fn run(program: Program) -> Vec<(&'static str, String, Vec<String>)> {
    let folder = TempDir::new("pages");
    for (name, text) in FILES {
        folder.write(name, text);
    }
    let syslog = Syslog::start();
    let addresses: Vec<SocketAddr> = (0..FRONTENDS).map(|_| free_address()).collect();
    let _proxy = Proxy::start(program, &configuration(&folder, &syslog, &addresses));
    let mut results = Vec::new();
    for (name, frontend, request, logged) in CASES {
        syslog.clear();
        let mut client = Client::connect(addresses[frontend]);
        client.send(request);
        if request.ends_with("\r\n\r\n") && request != BAD && !request.contains("POST") {
            client.shutdown_write();
        }
        let text = String::from_utf8_lossy(&client.read_to_end().unwrap_or_default()).into_owned();
        // Other lines may come too: the start's, for one.
        let own_name = format!("] f{frontend} ");
        let lines = || -> Vec<String> {
            let all = syslog.lines();
            let own = all.iter().filter(|line| line.contains(&own_name));
            own.map(|line| without_times(line)).collect()
        };
        wait_until("the log lines", || lines().len() >= logged);
        let lines = lines();
        results.push((name, text, lines));
    }
    results
}

fn without_times(line: &str) -> String {
    let Some((_, rest)) = line.split_once("] ") else {
        return line.to_owned();
    };
    let words = rest.split(' ').enumerate();
    let masked = words.map(|(index, word)| match index {
        2 => word
            .split('/')
            .map(|time| if time == "-1" { "-" } else { "N" })
            .collect::<Vec<_>>()
            .join("/"),
        // Whether the client before, or the one of the stats socket, is gone already is a matter of moments.
        _ if word.matches('/').count() == 4 => {
            let counters: Vec<&str> = word.splitn(3, '/').collect();
            format!("N/N/{}", counters[2])
        }
        _ => word.to_owned(),
    });
    masked.collect::<Vec<_>>().join(" ")
}

#[test]
fn pages_are_what_haproxy_sends_and_logs() {
    let (ours, theirs) = (run(Program::Burdock), run(Program::Haproxy));
    let mut wrong = String::new();
    for (ours, theirs) in ours
        .iter()
        .zip(&theirs)
        .filter(|(ours, theirs)| ours != theirs)
    {
        let _ = writeln!(
            wrong,
            "{}\n burdock: {ours:?}\n haproxy: {theirs:?}",
            ours.0
        );
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(ours[0].1.ends_with("\r\n\r\nsorry\n"), "{:?}", ours[0]);
}

/// The manual promises the page of the configuration for each error that the proxy detects; HAProxy 2.6 sends its own where it could
/// not parse the request.
#[test]
fn a_bad_request_gets_the_page_of_the_configuration() {
    let folder = TempDir::new("pages");
    let page = folder.write("400.http", "HTTP/1.1 400 Mine\r\nX-Mine: 1\r\n\r\nbad\n");
    let address = free_address();
    let _proxy = Proxy::start(
        Program::Burdock,
        &format!(
            "global\n stats socket {{dir}}/stats.sock\ndefaults\n mode http\n timeout client 2s\nfrontend f\n bind {address}\n \
             errorfile 400 {}\n",
            page.display()
        ),
    );
    let mut client = Client::connect(address);
    client.send(BAD);
    assert_eq!(
        String::from_utf8_lossy(&client.read_to_end().unwrap()),
        "HTTP/1.1 400 Mine\r\nx-mine: 1\r\nconnection: close\r\n\r\nbad\n"
    );
}

#[test]
fn files_that_are_no_pages_are_refused_in_haproxys_words() {
    let folder = TempDir::new("pages");
    let files = [
        "junk",
        "HTTP/1.1 503 X\r\n",
        "HTTP/1.1 503 X\r\nContent-Length: 5\r\n\r\nabc",
        "HTTP/1.1 503 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 103 Early\r\n\r\n",
        "HTTP/1.1 503 X\r\nFoo : b\r\n\r\n",
        "HTTP/1.1 503 X\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 204 X\r\nA: b\r\n\r\nabc",
    ];
    let mut text = String::from(
        "defaults\n mode http\n timeout client 1s\n timeout server 1s\n timeout connect 1s\nfrontend f\n bind :8080\n",
    );
    for (index, file) in files.iter().enumerate() {
        let path = folder.write(&format!("{index}.http"), file);
        let _ = writeln!(text, " errorfile 503 {}", path.display());
    }
    let path = folder.write("c.cfg", text);
    let said = |program| {
        let finished = run_to_end(program, &["-c", "-f", path.to_str().unwrap()]);
        assert_eq!(finished.code(), 1);
        let parsing = |line: &str| {
            line.split_once("parsing [")
                .map(|(_, rest)| rest.to_owned())
        };
        finished
            .stderr
            .lines()
            .filter_map(parsing)
            .collect::<Vec<_>>()
    };
    let ours = said(Program::Burdock);
    assert_eq!(ours.len(), files.len());
    assert_eq!(ours, said(Program::Haproxy));
}
