//! Cases of the rules language, run through burdock and through the packaged HAProxy and compared: what clients read, what
//! reached the servers, the log, the counters, the tables.
//!
//! A file of cases (`tests/data/rules/<topic>.txt`) is one configuration: each case has a frontend, a backend and a stick table of its
//! own, and all cases of the file run one after the other in one process. A case looks like this:
//!
//! ```text
//! === a title
//! http-request deny deny_status 429 if { path /a }     lines of `frontend f{n}`
//! --- backend
//! http-request set-header X-B yes                      lines of `backend b{n}`, before its one server
//! --- extra
//! backend other{n}                                     whole sections
//!  server s {origin}
//! --- client
//! GET /a | X-One: 1                                    a request and its answer, on the connection that is open
//! POST /b | X-One: 1 << the body
//! new                                                  another connection
//! raw GET / HTTP/1.0\r\n\r\n                           bytes as they are; `\r`, `\n`, `\x00` are read
//! read                                                 the next answer
//! end                                                  all until the proxy closes
//! bytes 5                                              exactly so many
//! shut                                                 closes the sending side
//! from 127.0.0.9                                       another connection, from there
//! wait 300                                             milliseconds, where time is the subject
//! --- show
//! show table b{n}                                      commands whose answers are compared
//! ```
//!
//! A first line `from NAME` of a frontend or a backend names the defaults section that it takes after.
//!
//! `{n}` is the number of the case, `{origin}` an HTTP server that answers 200 with `hello` unless the request says something else:
//! `Reply: 404 Not Found` is the status line, each `Reply-Header: A: b` a header, `Reply-Body: text` the body, `Reply-Close: yes` a close
//! after it. `{dead}` refuses connections, `{log}` is where log lines go, `{dir}` is a folder, `{front}` the frontend's address. `--- frontend` after `--- extra` is not
//! needed. A first block titled `common` goes in front of all sections (global and defaults lines), `--- file NAME` in any case
//! puts a file into the folder.
//!
//! Compared after taking out what no two runs share: dates, ports, pids, durations; and the case and order of header names.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::world::stat_columns;
use super::{
    Answer, Client, Origin, Program, Proxy, Recorded, Syslog, TempDir, free_address, wait_until,
};

/// Columns of `show stat` that every case compares.
const COLUMNS: &[&str] = &[
    "stot",
    "dreq",
    "dresp",
    "ereq",
    "econ",
    "eresp",
    "wretr",
    "wredis",
    "hrsp_1xx",
    "hrsp_2xx",
    "hrsp_3xx",
    "hrsp_4xx",
    "hrsp_5xx",
    "hrsp_other",
    "req_tot",
    "cli_abrt",
    "srv_abrt",
    "intercepted",
    "dcon",
    "dses",
    "wrew",
];

/// One case, `{n}` filled in.
#[derive(Clone, Debug, Default)]
pub struct Case {
    /// Its title.
    pub title: String,
    /// What `{n}` stands for.
    pub number: usize,
    /// Lines of its frontend.
    pub frontend: Vec<String>,
    /// Lines of its backend.
    pub backend: Vec<String>,
    /// Other sections.
    pub extra: Vec<String>,
    /// What its client does.
    pub client: Vec<String>,
    /// Commands whose answers are compared.
    pub show: Vec<String>,
    /// Files: name and text.
    pub files: Vec<(String, String)>,
}

/// A file of cases.
#[derive(Clone, Debug, Default)]
pub struct Topic {
    /// Lines before all sections of the cases.
    pub common: Vec<String>,
    /// The cases.
    pub cases: Vec<Case>,
}

impl Topic {
    /// Reads a file of cases.
    pub fn parse(text: &str) -> Topic {
        let mut topic = Topic::default();
        for block in text.split("\n=== ").skip(1) {
            let (title, rest) = block.split_once('\n').unwrap_or((block, ""));
            let number = topic.cases.len() + 1;
            let mut case = Case {
                title: title.trim().to_owned(),
                number,
                ..Case::default()
            };
            let mut part = "frontend".to_owned();
            for line in rest.lines() {
                if let Some(name) = line.strip_prefix("--- ") {
                    part = name.trim().to_owned();
                    if let Some(file) = part.strip_prefix("file ") {
                        case.files.push((file.to_owned(), String::new()));
                    }
                    continue;
                }
                let line = line.replace("{n}", &number.to_string());
                if part.starts_with("file ") {
                    let (_, text) = case.files.last_mut().expect("a file was begun");
                    *text += &line;
                    text.push('\n');
                    continue;
                }
                if line.trim().is_empty() || line.starts_with('#') {
                    continue;
                }
                match part.as_str() {
                    "frontend" => case.frontend.push(line),
                    "backend" => case.backend.push(line),
                    "extra" => case.extra.push(line),
                    "client" => case.client.push(line),
                    "show" => case.show.push(line),
                    other => panic!("case '{title}' has an unknown part '{other}'"),
                }
            }
            if case.title == "common" {
                topic.common = case.frontend;
            } else {
                topic.cases.push(case);
            }
        }
        topic
    }
}

/// What one case showed in one program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// What the client read.
    pub client: String,
    /// The heads and bodies that reached the origin.
    pub server: Vec<String>,
    /// The log.
    pub log: Vec<String>,
    /// Counters of the frontend and the backend.
    pub counters: Vec<String>,
    /// Answers of its commands.
    pub shown: Vec<String>,
}

/// Runs all cases in both programs; panics with all differences.
pub fn compare(name: &str, topic: &Topic) {
    let differences = differences(topic);
    assert!(
        differences.is_empty(),
        "{name}: {} of {} cases differ:\n{}",
        differences.len(),
        topic.cases.len(),
        differences.join("\n")
    );
}

/// Runs all cases in both programs; what differs, in words. `BURDOCK_PARITY_CASE` names one case to run alone.
pub fn differences(topic: &Topic) -> Vec<String> {
    let mut topic = topic.clone();
    if let Ok(only) = std::env::var("BURDOCK_PARITY_CASE") {
        topic.cases.retain(|case| case.title == only);
    }
    let (ours, theirs) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| run(Program::Haproxy, &topic));
        let ours = run(Program::Burdock, &topic);
        (ours, theirs.join().expect("the run through HAProxy"))
    });
    let pairs = topic.cases.iter().zip(ours.iter().zip(&theirs));
    pairs
        .filter(|(_, (ours, theirs))| ours != theirs)
        .map(|(case, (ours, theirs))| describe(case, ours, theirs))
        .collect()
}

fn describe(case: &Case, ours: &Seen, theirs: &Seen) -> String {
    let mut text = format!("=== {}\n", case.title);
    let mut part = |name: &str, ours: &str, theirs: &str| {
        if ours != theirs {
            let _ = writeln!(text, "{name}, burdock:\n{ours}\n{name}, HAProxy:\n{theirs}");
        }
    };
    part("client", &ours.client, &theirs.client);
    part("server", &ours.server.join("\n"), &theirs.server.join("\n"));
    part("log", &ours.log.join("\n"), &theirs.log.join("\n"));
    part(
        "counters",
        &ours.counters.join("\n"),
        &theirs.counters.join("\n"),
    );
    part("shown", &ours.shown.join("\n"), &theirs.shown.join("\n"));
    text
}

/// The configuration of a topic; `fronts` are the addresses of its frontends.
pub fn configuration(
    topic: &Topic,
    fronts: &[SocketAddr],
    origin: SocketAddr,
    log: SocketAddr,
    folder: &TempDir,
) -> String {
    let mut text = format!(
        "global\n stats socket {{dir}}/stats.sock level admin\n log {log} local0 debug\n log-tag tag\n maxconn 200\n\
         defaults\n mode http\n log global\n option httplog\n timeout client 5s\n timeout server 5s\n timeout connect 1s\n timeout tarpit 200ms\n timeout http-keep-alive 1s\n"
    );
    for line in &topic.common {
        let _ = writeln!(text, " {line}");
    }
    for (case, front) in topic.cases.iter().zip(fronts) {
        let number = case.number;
        for line in &case.extra {
            let _ = writeln!(text, "{}", line.replace("{front}", &front.to_string()));
        }
        let (from, frontend) = parent(&case.frontend);
        let _ = writeln!(text, "frontend f{number}{from}\n bind {front}");
        let mut chooses = false;
        for line in frontend {
            chooses |= line.trim().starts_with("default_backend");
            let _ = writeln!(text, " {line}");
        }
        if !chooses {
            let _ = writeln!(text, " default_backend b{number}");
        }
        let (from, backend) = parent(&case.backend);
        let _ = writeln!(text, "backend b{number}{from}");
        for line in backend {
            let _ = writeln!(text, " {line}");
        }
        if !case
            .backend
            .iter()
            .any(|line| line.trim().starts_with("server "))
        {
            let _ = writeln!(text, " server s {{origin}}");
        }
    }
    text.replace("{origin}", &origin.to_string())
        .replace("{log}", &log.to_string())
        .replace("{dead}", &free_address().to_string())
        .replace("{files}", &folder.path().display().to_string())
}

/// What follows the name of a section whose first line may be `from NAME`, and its other lines.
fn parent(lines: &[String]) -> (String, &[String]) {
    match lines.split_first() {
        Some((first, rest)) if first.starts_with("from ") => (format!(" {first}"), rest),
        _ => (String::new(), lines),
    }
}

fn run(program: Program, topic: &Topic) -> Vec<Seen> {
    let log = Syslog::start();
    let origin = Origin::start(script);
    let files = TempDir::new("parity-files");
    for (name, text) in topic.cases.iter().flat_map(|case| &case.files) {
        files.write(name, text);
    }
    let fronts: Vec<SocketAddr> = topic.cases.iter().map(|_| free_address()).collect();
    let text = configuration(topic, &fronts, origin.address(), log.address(), &files);
    let proxy = Proxy::start(program, &text);
    let world = Running {
        log,
        origin,
        proxy,
        files,
    };
    let cases = topic.cases.iter().zip(&fronts);
    cases
        .map(|(case, front)| world.case(case, *front))
        .collect()
}

/// A proxy with what is around it.
struct Running {
    log: Syslog,
    origin: Origin,
    proxy: Proxy,
    files: TempDir,
}

impl Running {
    fn case(&self, case: &Case, front: SocketAddr) -> Seen {
        let number = case.number;
        self.origin.clear();
        self.log.clear();
        let client = play(front, &case.client, &|| self.wait_idle(number));
        self.wait_idle(number);
        let log = self.log_so_far();
        self.seen(case, client, log)
    }

    /// Waits until the connections of a case have ended.
    fn wait_idle(&self, number: usize) {
        wait_until("the connections of a case to end", || {
            let stat = self.proxy.command("show stat");
            let names = [
                format!("f{number},FRONTEND,"),
                format!("b{number},BACKEND,"),
            ];
            let open = stat
                .lines()
                .filter(|line| names.iter().any(|name| line.starts_with(name)));
            open.filter(|line| line.split(',').nth(4) != Some("0"))
                .count()
                == 0
        });
        // The turn of the loop in which they ended is over when the next command is answered: their lines are on the way.
        self.proxy.command("show info");
    }

    fn seen(&self, case: &Case, client: String, log: Vec<String>) -> Seen {
        let number = case.number;
        let ours = [format!("f{number}"), format!("b{number}")];
        let csv = self.proxy.command("show stat");
        let counters = stat_columns(&csv, COLUMNS)
            .into_iter()
            .filter(|row| ours.contains(&row[0]))
            .map(|row| {
                let values = row
                    .iter()
                    .skip(2)
                    .zip(COLUMNS)
                    .filter(|(value, _)| !value.is_empty() && *value != "0");
                let values: Vec<String> = values
                    .map(|(value, name)| format!("{name}={value}"))
                    .collect();
                format!("{}/{} {}", row[0], row[1], values.join(" "))
            });
        let shown = case.show.iter().map(|command| {
            let command = command.replace("{files}", &self.files.path().display().to_string());
            normal_shown(&self.proxy.command(&command), &self.files)
        });
        Seen {
            client,
            server: self.origin.requests().iter().map(normal_request).collect(),
            log,
            counters: counters.collect(),
            shown: shown.collect(),
        }
    }

    /// The lines of the log until now: what the proxy has sent came before the mark.
    fn log_so_far(&self) -> Vec<String> {
        let lines = self.log.lines_so_far();
        let lines = lines
            .iter()
            .filter(|line| !line.contains("Proxy ") && !line.contains("is ready; limits"));
        lines.map(|line| normal_log(line)).collect()
    }
}

/// What the origin answers; see the module's documentation.
fn script(request: &Recorded) -> Answer {
    let status = request.header("reply").unwrap_or("200 OK");
    let mut head = format!("HTTP/1.1 {status}\r\n");
    for line in request.headers("reply-header") {
        head.push_str(line);
        head.push_str("\r\n");
    }
    let body = request.header("reply-body").unwrap_or("hello");
    let has_none =
        request.method() == "HEAD" || status.starts_with("304") || status.starts_with("204");
    if !has_none {
        let _ = write!(head, "Content-Length: {}\r\n", body.len());
    }
    head.push_str("\r\n");
    if !has_none {
        head.push_str(body);
    }
    let answer = Answer::raw(head);
    match request.header("reply-close") {
        Some(_) => answer.close(),
        None => answer,
    }
}

/// Does what a client's lines say; what it read.
fn play(front: SocketAddr, lines: &[String], wait_idle: &dyn Fn()) -> String {
    let mut seen = String::new();
    let mut client: Option<Client> = None;
    for line in lines {
        let line = line.trim();
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "new" | "from" => {
                // The next connection must not meet the last one in the counters.
                client = None;
                wait_idle();
                if word == "from" {
                    client = Some(connect_from(rest, front));
                }
            }
            "wait" => {
                std::thread::sleep(Duration::from_millis(rest.parse().expect("milliseconds")))
            }
            _ => {
                let client = client.get_or_insert_with(|| Client::connect(front));
                step(client, word, rest, &mut seen);
            }
        }
    }
    seen
}

fn step(client: &mut Client, word: &str, rest: &str, seen: &mut String) {
    match word {
        "raw" => drop(client.try_send(unescape(rest))),
        "read" => read(client, seen),
        "shut" => client.shutdown_write(),
        "bytes" => match client.read_bytes(rest.parse().expect("a number")) {
            Ok(bytes) => drop(writeln!(
                seen,
                "bytes {:?}",
                String::from_utf8_lossy(&bytes)
            )),
            Err(error) => drop(writeln!(seen, "no bytes: {:?}", error.kind())),
        },
        "end" => match client.read_to_end() {
            Ok(bytes) if bytes.is_empty() => seen.push_str("end\n"),
            Ok(bytes) => drop(writeln!(seen, "{}, to the end", normal_head(&bytes))),
            Err(error) => drop(writeln!(seen, "no end: {:?}", error.kind())),
        },
        method => {
            let (head, body) = rest
                .split_once(" << ")
                .map_or((rest, None), |(head, body)| (head, Some(body)));
            let mut words = head.split(" | ");
            let target = words.next().unwrap_or("/");
            let mut text = format!("{method} {target} HTTP/1.1\r\nHost: h\r\n");
            for header in words {
                text += &format!("{}\r\n", header.trim());
            }
            let body = unescape(body.unwrap_or(""));
            if !body.is_empty() {
                let _ = write!(text, "Content-Length: {}\r\n", body.len());
            }
            text.push_str("\r\n");
            let mut bytes = text.into_bytes();
            bytes.extend(body);
            let _ = client.try_send(bytes);
            if method == "HEAD" {
                let answer = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    client.read_head_only()
                }));
                match answer {
                    Ok(answer) => drop(writeln!(seen, "{}", normal_head(answer.head.as_bytes()))),
                    Err(_) => seen.push_str("no response to HEAD\n"),
                }
            } else {
                read(client, seen);
            }
        }
    }
}

fn read(client: &mut Client, seen: &mut String) {
    match client.try_read_response() {
        Ok(answer) => {
            let head = normal_head(answer.head.as_bytes());
            let _ = writeln!(seen, "{head}body {:?}", answer.text());
        }
        Err(error) => drop(writeln!(seen, "no response: {:?}", error.kind())),
    }
}

fn connect_from(source: &str, front: SocketAddr) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let source: SocketAddr = format!("{source}:0").parse().expect("an IPv4 address");
    socket
        .bind(&source.into())
        .expect("the address of a client");
    socket.connect(&front.into()).expect("a connection");
    Client::of(socket.into())
}

/// Bytes with `\r`, `\n`, `\\` and `\xhh` read.
pub fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest.next() {
            Some(b'r') => bytes.push(b'\r'),
            Some(b'n') => bytes.push(b'\n'),
            Some(b'x') => {
                let digits: String = rest.by_ref().take(2).map(char::from).collect();
                bytes.push(u8::from_str_radix(&digits, 16).expect("two hexadecimal digits"));
            }
            Some(other) => bytes.push(other),
            None => {}
        }
    }
    bytes
}

/// Header names in lower case; lines sorted by name, those of one name in their order.
fn normal_head(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines = head.lines();
    let mut normal = lines.next().unwrap_or_default().to_owned() + "\n";
    let mut headers: Vec<(String, &str)> = lines
        .map(|line| match line.split_once(':') {
            Some((name, value)) if !name.contains(' ') => (name.to_ascii_lowercase(), value.trim()),
            _ => (String::new(), line),
        })
        .collect();
    headers.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, value) in headers {
        let _ = writeln!(normal, "{name}: {}", normal_value(&name, value));
    }
    normal + body
}

/// What no two runs share in a header's value.
fn normal_value(name: &str, value: &str) -> String {
    let is_place = |value: &str| value.contains("127.") && value.contains(':');
    match name {
        "x-port" | "date" => "N".into(),
        "set-cookie" if value.contains('|') => without_dates(value),
        _ if is_place(value) => "PLACE".into(),
        _ => value.into(),
    }
}

/// A persistence cookie with its dates taken out: they change every four seconds.
fn without_dates(value: &str) -> String {
    let mut parts = value.split('|');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text += "|DATE";
        text += part.get(5..).unwrap_or_default();
    }
    text
}

fn normal_request(request: &Recorded) -> String {
    normal_head(request.head.as_bytes()) + &String::from_utf8_lossy(&request.body)
}

/// A line of the log without its date, its client's port, and its durations.
fn normal_log(line: &str) -> String {
    let (priority, rest) = line.split_once('>').unwrap_or(("", line));
    let rest = rest.split_once("]: ").map_or(rest, |(_, rest)| rest);
    let mut words: Vec<String> = rest.split(' ').map(str::to_owned).collect();
    for word in &mut words {
        let is_address = word.split_once(':').is_some_and(|(ip, port)| {
            ip.parse::<std::net::IpAddr>().is_ok() && port.parse::<u16>().is_ok()
        });
        let is_date =
            word.starts_with('[') && word.ends_with(']') && word.matches(':').count() == 3;
        let is_timers = matches!(word.matches('/').count(), 2 | 4)
            && word
                .split('/')
                .all(|part| part.trim_start_matches(['-', '+']).parse::<i64>().is_ok())
            && !is_load(word);
        if is_address {
            *word = word.split(':').next().unwrap_or_default().to_owned();
        } else if is_date {
            *word = "DATE".into();
        } else if is_timers {
            let parts = word
                .split('/')
                .map(|part| if part.starts_with('-') { "-1" } else { "N" });
            *word = parts.collect::<Vec<_>>().join("/");
        } else if is_load(word) {
            // `%ac` and `%fc`: a client that has gone is counted until its end is read.
            let rest: Vec<&str> = word.split('/').skip(2).collect();
            *word = format!("N/N/{}", rest.join("/"));
        }
    }
    format!("{priority}> {}", words.join(" ").trim_end())
}

/// `%ac/%fc/%bc/%sc/%rc` has the same form as the timers, but stands for small numbers that are compared.
fn is_load(word: &str) -> bool {
    let parts: Vec<i64> = word
        .split('/')
        .filter_map(|part| part.trim_start_matches('+').parse().ok())
        .collect();
    parts.len() == 5
        && parts[0] >= 1
        && parts[1] >= 1
        && parts.iter().all(|part| (0..=3).contains(part))
        && parts[0] >= parts[1]
}

/// An answer of the stats socket without addresses in memory, remaining times and the folder.
fn normal_shown(text: &str, files: &TempDir) -> String {
    let text = text.replace(&files.path().display().to_string(), "FILES");
    let lines = text.lines().filter(|line| !line.is_empty()).map(|line| {
        let words = line.split(' ').map(|word| match word.split_once('=') {
            Some(("exp", _)) => "exp=N".to_owned(),
            _ if word.starts_with("0x") => "0xN:".to_owned(),
            _ => word.to_owned(),
        });
        words.collect::<Vec<_>>().join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}
