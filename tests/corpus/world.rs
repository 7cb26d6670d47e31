//! A proxy with lanes: each lane has an address of its own in the proxy and a recording server behind it, so that cases run side by side.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::strict::{self, Message, Read as Reading};
use super::support::{Program, Proxy, TempDir, free_address, wait_until};
use super::{Case, Seen};

/// Cases at a time.
const LANES: usize = 24;

/// How long anything may take that is not up to the proxy's own timeouts.
const LIMIT: Duration = Duration::from_secs(15);

/// What the server answers to `/next`.
const NEXT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nthis-next";

/// Whose messages are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The client's.
    Requests,
    /// The server's.
    Responses,
    /// The client's, with `option accept-invalid-http-request`.
    RelaxedRequests,
    /// The server's, with `option accept-invalid-http-response`.
    RelaxedResponses,
}

impl Kind {
    /// The files of its cases begin with this.
    pub fn prefix(self) -> &'static str {
        match self {
            Kind::Requests => "requests",
            Kind::Responses => "responses",
            Kind::RelaxedRequests => "relaxed-requests",
            Kind::RelaxedResponses => "relaxed-responses",
        }
    }

    fn is_request(self) -> bool {
        matches!(self, Kind::Requests | Kind::RelaxedRequests)
    }
}

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Software {
    /// This.
    Burdock,
    /// The packaged HAProxy.
    Haproxy,
    /// The packaged nginx.
    Nginx,
}

impl Software {
    /// Its name and version.
    pub fn title(self) -> String {
        let (program, flag, name) = match self {
            Software::Burdock => return "burdock".to_owned(),
            Software::Haproxy => ("/usr/sbin/haproxy", "-v", "HAProxy"),
            Software::Nginx => ("/usr/sbin/nginx", "-v", "nginx"),
        };
        let output = Command::new(program).arg(flag).output().expect(program);
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        let version: String = text
            .chars()
            .skip_while(|c| !c.is_ascii_digit())
            .take_while(|c| c.is_ascii_digit() || *c == '.')
            .collect();
        format!("{name} {version}")
    }
}

enum Running {
    Proxy { _proxy: Proxy },
    Nginx { child: Child, _folder: TempDir },
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Running::Nginx { child, .. } = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

struct Lane {
    /// In the proxy.
    address: SocketAddr,
    server: Arc<Server>,
}

/// Runs cases through a proxy; what came of each, in order.
pub fn run(software: Software, kind: Kind, cases: &[Case]) -> Vec<Seen> {
    let lanes: Vec<Lane> = (0..LANES)
        .map(|_| Lane {
            address: free_address(),
            server: Server::start(kind),
        })
        .collect();
    let _running = start(software, kind, &lanes);
    let next = AtomicUsize::new(0);
    let seen: Mutex<Vec<Option<Seen>>> = Mutex::new(vec![None; cases.len()]);
    std::thread::scope(|scope| {
        for lane in &lanes {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(index) else {
                        return;
                    };
                    let found = match kind.is_request() {
                        true => try_request(lane, case),
                        false => try_response(lane, case),
                    };
                    seen.lock().unwrap()[index] = Some(found);
                }
            });
        }
    });
    let seen = seen.into_inner().unwrap();
    seen.into_iter().map(|seen| seen.expect("tried")).collect()
}

fn start(software: Software, kind: Kind, lanes: &[Lane]) -> Running {
    let proxy = |program| Running::Proxy {
        _proxy: Proxy::start(program, &haproxy(kind, lanes)),
    };
    let running = match software {
        Software::Burdock => proxy(Program::Burdock),
        Software::Haproxy => proxy(Program::Haproxy),
        Software::Nginx => {
            let folder = TempDir::new("nginx");
            let path = folder.write("nginx.conf", nginx(kind, lanes, &folder));
            let child = Command::new("/usr/sbin/nginx")
                .args(["-p".as_ref(), folder.path().as_os_str()])
                .args(["-c".as_ref(), path.as_os_str()])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("the table needs nginx (apt-get install nginx-light)");
            Running::Nginx {
                child,
                _folder: folder,
            }
        }
    };
    for lane in lanes {
        wait_until("the proxy to listen", || {
            TcpStream::connect(lane.address).is_ok()
        });
    }
    running
}

fn haproxy(kind: Kind, lanes: &[Lane]) -> String {
    let mut options = match kind.is_request() {
        true => " option http-server-close\n",
        false => " option http-keep-alive\n http-reuse always\n",
    }
    .to_owned();
    options += match kind {
        Kind::RelaxedRequests => " option accept-invalid-http-request\n",
        Kind::RelaxedResponses => " option accept-invalid-http-response\n",
        Kind::Requests | Kind::Responses => "",
    };
    let mut text = format!(
        "global\n stats socket {{dir}}/stats.sock\ndefaults\n mode http\n timeout connect 5s\n timeout client 1s\n \
         timeout server 1s\n timeout http-request 1s\n timeout http-keep-alive 200ms\n retries 0\n{options}"
    );
    for (index, lane) in lanes.iter().enumerate() {
        text += &format!(
            "listen l{index}\n bind {}\n server s {}\n",
            lane.address, lane.server.address
        );
    }
    text
}

fn nginx(kind: Kind, lanes: &[Lane], folder: &TempDir) -> String {
    let word = if kind.is_request() { "close" } else { "" };
    let at = folder.path().display();
    let mut text = format!(
        "daemon off; master_process off; pid {at}/pid; error_log {at}/error.log;\nevents {{}}\nhttp {{\n access_log off;\n \
         client_body_temp_path {at}; proxy_temp_path {at}; fastcgi_temp_path {at}; uwsgi_temp_path {at}; scgi_temp_path {at};\n \
         client_header_timeout 1s; client_body_timeout 1s; keepalive_timeout 200ms; proxy_read_timeout 1s; send_timeout 1s;\n \
         proxy_http_version 1.1; proxy_set_header Connection \"{word}\"; proxy_set_header Host $http_host;\n \
         proxy_request_buffering off; proxy_buffering off; proxy_next_upstream off;\n"
    );
    for (index, lane) in lanes.iter().enumerate() {
        text += &format!(
            " upstream u{index} {{ server {}; keepalive 4; }}\n server {{ listen {}; location / {{ proxy_pass http://u{index}; }} }}\n",
            lane.server.address, lane.address
        );
    }
    text + "}\n"
}

/// A server that records, and answers what it can read strictly.
struct Server {
    address: SocketAddr,
    kind: Kind,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What came on each connection of this case, and whether it is over.
    received: Vec<(Vec<u8>, bool)>,
    /// The response of this case.
    answer: Vec<u8>,
    closes: bool,
}

impl Server {
    fn start(kind: Kind) -> Arc<Server> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("an address");
        let server = Arc::new(Server {
            address: listener.local_addr().expect("an address"),
            kind,
            state: Mutex::default(),
        });
        let accepting = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = accepting.clone();
                std::thread::spawn(move || server.serve(stream));
            }
        });
        server
    }

    /// Forgets the last case.
    fn begin(&self, answer: Vec<u8>, closes: bool) {
        *self.state.lock().unwrap() = State {
            received: Vec::new(),
            answer,
            closes,
        };
    }

    fn serve(&self, mut stream: TcpStream) {
        let slot = {
            let mut state = self.state.lock().unwrap();
            state.received.push((Vec::new(), false));
            state.received.len() - 1
        };
        let mut bytes = Vec::new();
        let mut read = [0; 65536];
        while let Ok(count) = stream.read(&mut read) {
            if count == 0 {
                break;
            }
            bytes.extend_from_slice(&read[..count]);
            self.note(slot, |entry| entry.0.extend_from_slice(&read[..count]));
            if !self.answer(&mut stream, &mut bytes) {
                break;
            }
        }
        let _ = stream.shutdown(Shutdown::Both);
        self.note(slot, |entry| entry.1 = true);
    }

    /// A connection that lived on from an earlier case has no place any more.
    fn note(&self, slot: usize, note: impl FnOnce(&mut (Vec<u8>, bool))) {
        if let Some(entry) = self.state.lock().unwrap().received.get_mut(slot) {
            note(entry);
        }
    }

    /// Answers what is whole; whether the connection stays.
    fn answer(&self, stream: &mut TcpStream, bytes: &mut Vec<u8>) -> bool {
        loop {
            match read_message(self.kind, bytes, strict::read_request) {
                Reading::Partial => return true,
                Reading::Refused(_) => {
                    let _ = stream.write_all(
                        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                    );
                    // What else comes is recorded.
                    bytes.clear();
                    return self.kind.is_request();
                }
                Reading::Whole(request) => {
                    bytes.drain(..request.length);
                    if !self.answer_one(stream, &request) {
                        return false;
                    }
                }
            }
        }
    }

    fn answer_one(&self, stream: &mut TcpStream, request: &Message) -> bool {
        let is_case = !self.kind.is_request() && request.start[1] == b"/case";
        if is_case {
            let (answer, closes) = {
                let state = self.state.lock().unwrap();
                (state.answer.clone(), state.closes)
            };
            for (index, part) in answer.split(|byte| *byte == 0x1e).enumerate() {
                if index > 0 {
                    std::thread::sleep(Duration::from_millis(60));
                }
                if stream.write_all(part).is_err() {
                    return false;
                }
            }
            return !closes;
        }
        let answer = match &request.start[0][..] {
            b"HEAD" => &NEXT[..NEXT.len() - "this-next".len()],
            b"CONNECT" => b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n",
            _ => NEXT,
        };
        let values = request.values("connection");
        let closes = values
            .iter()
            .any(|value| value.eq_ignore_ascii_case(b"close"));
        stream.write_all(answer).is_ok() && !closes
    }

    /// What came, once all connections of the case are over.
    fn received(&self) -> Vec<Vec<u8>> {
        let end = Instant::now() + LIMIT;
        loop {
            let state = self.state.lock().unwrap();
            if state.received.iter().all(|(_, is_over)| *is_over) || Instant::now() > end {
                return state
                    .received
                    .iter()
                    .map(|(bytes, _)| bytes.clone())
                    .collect();
            }
            drop(state);
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Sends bytes, reads to the end of the connection.
fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("the proxy");
    stream.set_read_timeout(Some(LIMIT)).expect("a time");
    let mut writer = stream.try_clone().expect("a socket");
    let bytes = bytes.to_vec();
    let writing = std::thread::spawn(move || {
        let _ = writer.write_all(&bytes);
    });
    let mut received = Vec::new();
    let _ = stream.read_to_end(&mut received);
    let _ = stream.shutdown(Shutdown::Both);
    let _ = writing.join();
    received
}

/// Reads a message. Of those that an option lets through, a strict reader and a generous one must make the same: what belongs in no
/// name is part of it to the one, and nothing to the other.
fn read_message(kind: Kind, bytes: &[u8], strictly: impl Fn(&[u8]) -> Reading) -> Reading {
    if matches!(kind, Kind::Requests | Kind::Responses) {
        return strictly(bytes);
    }
    let [literal, generous] = [Some(b'x'), None].map(|odd| {
        let plain = without_oddities(bytes, odd);
        match strictly(&plain) {
            Reading::Whole(mut message) => {
                message.length = message.length + bytes.len() - plain.len();
                Reading::Whole(message)
            }
            other => other,
        }
    });
    match (literal, generous) {
        (Reading::Whole(one), Reading::Whole(other)) if one.length == other.length => {
            match one.body == other.body {
                true => Reading::Whole(one),
                false => Reading::Refused("two bodies"),
            }
        }
        (Reading::Partial, Reading::Partial) => Reading::Partial,
        (Reading::Refused(why), _) | (_, Reading::Refused(why)) => Reading::Refused(why),
        _ => Reading::Refused("two lengths"),
    }
}

/// The message at the start of `bytes` as one whose names, target and version are ordinary.
fn without_oddities(bytes: &[u8], odd: Option<u8>) -> Vec<u8> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let mut plain = Vec::new();
    let mut rest = bytes;
    let mut is_first = true;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, after) = rest.split_at(end + 1);
        rest = after;
        let is_status_line = is_first && line.starts_with(b"HTTP/");
        if line == b"\r\n" {
            plain.extend_from_slice(line);
            break;
        } else if is_first && !is_status_line {
            let mut words = line.splitn(3, |byte| *byte == b' ');
            let [method, target, version] = [(); 3].map(|()| words.next().unwrap_or_default());
            let target = target.iter().map(|&byte| {
                if byte >= 0x80 || byte == b'#' {
                    b'x'
                } else {
                    byte
                }
            });
            let is_odd = !version.starts_with(b"HTTP/1.1\r") && version.ends_with(b"\r\n");
            let is_odd = is_odd
                && version[..version.len() - 2]
                    .iter()
                    .all(u8::is_ascii_graphic);
            plain.extend_from_slice(method);
            plain.push(b' ');
            plain.extend(target);
            plain.push(b' ');
            plain.extend_from_slice(if is_odd { b"HTTP/1.0\r\n" } else { version });
        } else if let (Some(colon), false) = (line.iter().position(|byte| *byte == b':'), is_first)
        {
            // A space at the start of a line, CR and NUL mean something to every reader.
            let is_kept = |byte: u8| is_token(byte) || matches!(byte, b'\r' | 0);
            let begins_odd = matches!(line.first(), Some(b' ' | b'\t'));
            let name = line[..colon]
                .iter()
                .filter_map(|&byte| match is_kept(byte) || begins_odd {
                    true => Some(byte),
                    false => odd,
                });
            plain.extend(name);
            plain.extend_from_slice(&line[colon..]);
        } else {
            plain.extend_from_slice(line);
        }
        is_first = false;
    }
    plain.extend_from_slice(rest);
    plain
}

fn statuses(mut bytes: &[u8], method: &[u8]) -> String {
    let mut found = Vec::new();
    while let Reading::Whole(message) = strict::read_response(bytes, method, true) {
        found.push(String::from_utf8_lossy(&message.start[1]).into_owned());
        bytes = &bytes[message.length..];
        if found.len() == 3 && !bytes.is_empty() {
            found.push("…".to_owned());
            break;
        }
    }
    found.join(" ")
}

fn try_request(lane: &Lane, case: &Case) -> Seen {
    lane.server.begin(Vec::new(), false);
    let read = exchange(lane.address, &case.bytes);
    let connections = lane.server.received();
    let mut messages = Vec::new();
    let mut is_cut = false;
    let mut is_ambiguous = false;
    for bytes in &connections {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match read_message(lane.server.kind, rest, strict::read_request) {
                Reading::Whole(message) => {
                    rest = &rest[message.length..];
                    messages.push(message);
                }
                Reading::Partial => {
                    is_cut = true;
                    break;
                }
                Reading::Refused(_) => {
                    is_ambiguous = true;
                    break;
                }
            }
        }
    }
    let is_smuggled = messages
        .iter()
        .any(|message| message.start[1].ends_with(b"/smuggled"));
    let is_changed = matches!((messages.first(), &case.body), (Some(message), Some(body)) if message.body != *body);
    let outcome = match messages.len() {
        _ if is_ambiguous => "ambiguous",
        _ if is_smuggled => "smuggled",
        _ if is_changed => "changed",
        0 if is_cut => "cut",
        0 => "none",
        _ if is_cut => "one and a cut one",
        1 => "one",
        2 => "two",
        _ => "many",
    };
    let method: &[u8] = if case.bytes.starts_with(b"HEAD") {
        b"HEAD"
    } else {
        b"GET"
    };
    Seen {
        outcome: outcome.to_owned(),
        statuses: statuses(&read, method),
    }
}

fn try_response(lane: &Lane, case: &Case) -> Seen {
    lane.server.begin(case.bytes.clone(), case.closes);
    let ask = |target: &str, method: &str, last: &str| {
        format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{last}\r\n")
    };
    let mut requests = ask("/case", &case.method, "");
    // What comes after a pause comes to an idle connection: a request that is under way could not tell it from its answer.
    if !case.bytes.contains(&0x1e) {
        requests += &ask("/next", "GET", "Connection: close\r\n");
    }
    let read = exchange(lane.address, requests.as_bytes());
    let other = exchange(
        lane.address,
        ask("/next", "GET", "Connection: close\r\n").as_bytes(),
    );
    let method = case.method.as_bytes();
    let mut rest = &read[..];
    let mut first = None;
    let mut outcome = None;
    while outcome.is_none() {
        let strictly = |bytes: &[u8]| strict::read_response(bytes, method, true);
        outcome = Some(match read_message(lane.server.kind, rest, strictly) {
            _ if rest.is_empty() => "none",
            Reading::Partial => "cut",
            Reading::Refused(_) => "ambiguous",
            Reading::Whole(message) => {
                rest = &rest[message.length..];
                if message.start[1][0] == b'1' {
                    continue;
                }
                let is_ours = message.start[1][0] == b'5';
                let is_changed = case
                    .body
                    .as_ref()
                    .is_some_and(|body| *body != message.body && !is_ours);
                first = Some(message);
                match (is_ours, is_changed) {
                    (true, _) => "none",
                    (false, true) => "changed",
                    (false, false) => "one",
                }
            }
        });
    }
    let is_next = |bytes: &[u8]| match strict::read_response(bytes, b"GET", true) {
        Reading::Whole(message) => {
            message.length == bytes.len()
                && (message.body == b"this-next" || message.start[1][0] == b'5')
        }
        _ => false,
    };
    let mut outcome = outcome.unwrap_or_default();
    let is_poisoned = (first.is_some() && !rest.is_empty() && !is_next(rest)) || !is_next(&other);
    if is_poisoned {
        outcome = "poisoned";
    }
    Seen {
        outcome: outcome.to_owned(),
        statuses: statuses(&read, method),
    }
}
