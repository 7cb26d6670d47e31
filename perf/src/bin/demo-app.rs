//! The application of the demonstration: it keeps its sessions in its own memory, as PHP does with its default settings, so
//! a client that reaches the wrong instance has lost its session, and sees it.
//!
//! `GET` of any path answers its name, the session and how often that session was here. A request without PHPSESSID gets a new
//! session; one with it has that session honoured, known here or not.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use burdock_perf::args::Args;
use burdock_perf::http::cookie;

const USAGE: &str = "demo-app --listen ADDRESS:PORT --name NAME";

/// Sessions kept; beyond this, new ones are answered but not counted (a demonstration does not get there).
const SESSIONS_MAX: usize = 100_000;
/// Bytes a request's head may have.
const HEAD_BYTES_MAX: u64 = 16_384;

struct App {
    name: String,
    hits: Mutex<HashMap<String, u64>>,
}

fn main() -> std::io::Result<()> {
    let args = Args::parse(USAGE, &[], &["listen", "name"]);
    let listener = TcpListener::bind(args.required::<SocketAddr>("listen"))?;
    let app = Arc::new(App {
        name: args.required("name"),
        hits: Mutex::default(),
    });
    for socket in listener.incoming() {
        let (socket, app) = (socket?, Arc::clone(&app));
        std::thread::spawn(move || app.serve(&socket));
    }
    Ok(())
}

impl App {
    /// Answers requests until the client ends or falls silent.
    fn serve(&self, socket: &TcpStream) -> Option<()> {
        socket
            .set_read_timeout(Some(Duration::from_secs(30)))
            .ok()?;
        socket.set_nodelay(true).ok()?;
        let mut reader = BufReader::new(socket);
        loop {
            let request = Request::read(&mut reader)?;
            let answer = self.answer(&request);
            (&*socket).write_all(answer.as_bytes()).ok()?;
            if request.close {
                return Some(());
            }
        }
    }

    fn answer(&self, request: &Request) -> String {
        let (session, is_new) = match &request.session {
            Some(session) => (session.clone(), false),
            None => (new_session(), true),
        };
        let hits = self.count(&session);
        let body = format!("{} session={session} hits={hits}\n", self.name);
        let mut head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nX-Server: {}\r\n",
            body.len(),
            self.name
        );
        if is_new {
            head.push_str(&format!("Set-Cookie: PHPSESSID={session}; path=/\r\n"));
        }
        head.push_str(if request.close {
            "Connection: close\r\n\r\n"
        } else {
            "\r\n"
        });
        if !request.is_head {
            head.push_str(&body);
        }
        head
    }

    fn count(&self, session: &str) -> u64 {
        let mut hits = self.hits.lock().expect("no thread panics with the lock");
        if hits.len() >= SESSIONS_MAX && !hits.contains_key(session) {
            return 1;
        }
        let hits = hits.entry(session.to_string()).or_insert(0);
        *hits += 1;
        *hits
    }
}

#[derive(Default)]
struct Request {
    session: Option<String>,
    is_head: bool,
    close: bool,
}

impl Request {
    fn read(reader: &mut BufReader<&TcpStream>) -> Option<Request> {
        let mut head = reader.take(HEAD_BYTES_MAX);
        let mut line = String::new();
        if head.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let mut request = Request {
            is_head: line.starts_with("HEAD "),
            close: !line.trim_end().ends_with("HTTP/1.1"),
            session: None,
        };
        let mut body_bytes = 0;
        loop {
            line.clear();
            if head.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "cookie" => request.session = cookie(value, "PHPSESSID").map(str::to_string),
                "connection" => request.close |= value.eq_ignore_ascii_case("close"),
                "content-length" => body_bytes = value.parse().ok()?,
                _ => {}
            }
        }
        std::io::copy(&mut reader.take(body_bytes), &mut std::io::sink()).ok()?;
        Some(request)
    }
}

/// A session id as PHP makes them: 26 characters of 0-9 and a-v.
fn new_session() -> String {
    let mut random = [0; 26];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut random))
        .expect("/dev/urandom is there");
    let alphabet = b"0123456789abcdefghijklmnopqrstuv";
    random
        .iter()
        .map(|byte| char::from(alphabet[usize::from(byte & 31)]))
        .collect()
}
