//! A server behind the proxy: answers by script, records every byte that reaches it.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{eventually, unique_loopback};

/// One step of an answer.
#[derive(Clone, Debug)]
enum Step {
    Send(Vec<u8>),
    Pause(Duration),
    HalfClose,
    Close,
    Reset,
}

/// What the origin does after a request: raw bytes, pauses, an end of the connection. The connection stays open otherwise.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    steps: Vec<Step>,
}

impl Answer {
    /// These bytes, unaltered.
    pub fn raw(bytes: impl AsRef<[u8]>) -> Answer {
        Answer::default().then(bytes)
    }

    /// 200 with this body, a Content-Length and these header lines (each without its line end).
    pub fn ok(body: impl AsRef<[u8]>, headers: &[&str]) -> Answer {
        let body = body.as_ref();
        let mut head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", body.len());
        for line in headers {
            head.push_str(line);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        Answer::raw(head).then(body)
    }

    /// No answer at all; the connection stays open.
    pub fn silence() -> Answer {
        Answer::default()
    }

    /// More bytes, in a write of their own.
    pub fn then(mut self, bytes: impl AsRef<[u8]>) -> Answer {
        self.steps.push(Step::Send(bytes.as_ref().to_vec()));
        self
    }

    /// Waits before the next step.
    pub fn pause(mut self, time: Duration) -> Answer {
        self.steps.push(Step::Pause(time));
        self
    }

    /// Ends the writing side and goes on reading.
    pub fn half_close(mut self) -> Answer {
        self.steps.push(Step::HalfClose);
        self
    }

    /// Closes the connection.
    pub fn close(mut self) -> Answer {
        self.steps.push(Step::Close);
        self
    }

    /// Closes the connection with a reset.
    pub fn reset(mut self) -> Answer {
        self.steps.push(Step::Reset);
        self
    }
}

/// A request as it reached the origin.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// Which connection it came on, from 0.
    pub connection: usize,
    /// Request line and headers, without the empty line.
    pub head: String,
    /// The body, without chunk sizes.
    pub body: Vec<u8>,
}

impl Recorded {
    /// The method.
    pub fn method(&self) -> &str {
        self.head.split(' ').next().unwrap_or_default()
    }

    /// The request target as it was sent.
    pub fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    /// The first header of that name, its value trimmed.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).into_iter().next()
    }

    /// All headers of that name in order.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        self.head
            .split("\r\n")
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }
}

type Script = dyn Fn(&Recorded) -> Answer + Send + Sync;

#[derive(Default)]
struct Records {
    requests: Vec<Recorded>,
    raw: Vec<Vec<u8>>,
    /// Of the connections that are open, by their numbers.
    sockets: HashMap<usize, TcpStream>,
    open: usize,
}

struct Shared {
    script: Box<Script>,
    records: Mutex<Records>,
    stop: AtomicBool,
}

/// A recording HTTP/1 server on an address of its own; a thread for each connection.
pub struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Origin {
    /// Starts an origin that answers each complete request as `script` says. The script runs after the body is in;
    /// a request with `Expect: 100-continue` is told to continue first.
    pub fn start(script: impl Fn(&Recorded) -> Answer + Send + Sync + 'static) -> Origin {
        Origin::start_at(SocketAddr::from((unique_loopback(), 0)), script)
    }

    /// As [`Origin::start`], on a given address (to come back after a stop, for instance).
    pub fn start_at(
        address: SocketAddr,
        script: impl Fn(&Recorded) -> Answer + Send + Sync + 'static,
    ) -> Origin {
        let listener = eventually("the origin's port", Duration::from_secs(5), || {
            TcpListener::bind(address).ok()
        });
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            script: Box::new(script),
            records: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let acceptor = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept_connections(&listener, &shared)
        });
        Origin {
            address,
            shared,
            acceptor: Some(acceptor),
        }
    }

    /// An origin that answers 200 with `name` as body, on any request.
    pub fn named(name: &str) -> Origin {
        let name = name.to_string();
        Origin::start(move |_| Answer::ok(&name, &[]))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All complete requests so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.records.lock().unwrap().requests.clone()
    }

    /// Requests to `target`; health checks, which have their own, are left out that way.
    pub fn requests_for(&self, target: &str) -> Vec<Recorded> {
        let all = self.requests();
        all.into_iter()
            .filter(|request| request.target() == target)
            .collect()
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.records.lock().unwrap().raw.len()
    }

    /// How many of them are still open.
    pub fn open_connections(&self) -> usize {
        self.shared.records.lock().unwrap().open
    }

    /// Every byte that came on one connection, complete requests or not.
    pub fn raw(&self, connection: usize) -> Vec<u8> {
        let records = self.shared.records.lock().unwrap();
        records.raw.get(connection).cloned().unwrap_or_default()
    }

    /// Forgets the requests so far (connections keep their numbers).
    pub fn clear(&self) {
        self.shared.records.lock().unwrap().requests.clear();
    }

    /// Stops listening and cuts every connection, as an application that dies does.
    pub fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // The acceptor sits in accept(2); a connection of our own wakes it.
        drop(TcpStream::connect_timeout(
            &self.address,
            Duration::from_secs(1),
        ));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        for (_, socket) in self.shared.records.lock().unwrap().sockets.drain() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop();
    }
}

fn accept_connections(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((socket, _)) = listener.accept() {
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        let _ = socket.set_nodelay(true);
        let number = {
            let mut records = shared.records.lock().unwrap();
            let Ok(copy) = socket.try_clone() else {
                continue;
            };
            let number = records.raw.len();
            records.sockets.insert(number, copy);
            records.raw.push(Vec::new());
            records.open += 1;
            number
        };
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            let mut connection = Connection {
                number,
                socket,
                received: Vec::new(),
                shared: &shared,
            };
            connection.serve();
            let _ = connection.socket.shutdown(Shutdown::Both);
            let mut records = shared.records.lock().unwrap();
            records.sockets.remove(&number);
            records.open -= 1;
        });
    }
}

struct Connection<'a> {
    number: usize,
    socket: TcpStream,
    received: Vec<u8>,
    shared: &'a Shared,
}

impl Connection<'_> {
    /// Reads requests and plays their answers until one side ends.
    fn serve(&mut self) {
        while let Some(request) = self.read_request() {
            let answer = (self.shared.script)(&request);
            self.shared.records.lock().unwrap().requests.push(request);
            for step in answer.steps {
                let done = match step {
                    Step::Send(bytes) => self.socket.write_all(&bytes).is_err(),
                    Step::Pause(time) => {
                        std::thread::sleep(time);
                        false
                    }
                    Step::HalfClose => self.socket.shutdown(Shutdown::Write).is_err(),
                    Step::Close => true,
                    Step::Reset => {
                        let _ =
                            socket2::SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
                        self.forget_copy();
                        return;
                    }
                };
                if done {
                    return;
                }
            }
        }
    }

    /// The kept copy of the socket would hold back the reset; replace it by a socket that leads nowhere.
    fn forget_copy(&mut self) {
        let mut records = self.shared.records.lock().unwrap();
        records.sockets.remove(&self.number);
    }

    fn read_request(&mut self) -> Option<Recorded> {
        let end = loop {
            if let Some(at) = find(&self.received, b"\r\n\r\n") {
                break at;
            }
            self.fill()?;
        };
        let head = String::from_utf8_lossy(&self.take(end + 4)?[..end]).into_owned();
        let mut request = Recorded {
            connection: self.number,
            head,
            body: Vec::new(),
        };
        if request.header("expect").is_some() {
            self.socket
                .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
                .ok()?;
        }
        if request.header("transfer-encoding").is_some() {
            request.body = self.read_chunked()?;
        } else if let Some(length) = request.header("content-length") {
            let length = length.parse().ok()?;
            request.body = self.take(length)?;
        }
        Some(request)
    }

    fn read_chunked(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.read_line()?;
            let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
            if size == 0 {
                while !self.read_line()?.is_empty() {}
                return Some(body);
            }
            body.extend(self.take(size)?);
            self.read_line()?;
        }
    }

    fn read_line(&mut self) -> Option<String> {
        let end = loop {
            if let Some(at) = find(&self.received, b"\r\n") {
                break at;
            }
            self.fill()?;
        };
        Some(String::from_utf8_lossy(&self.take(end + 2)?[..end]).into_owned())
    }

    fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.received.len() < count {
            self.fill()?;
        }
        let rest = self.received.split_off(count);
        Some(std::mem::replace(&mut self.received, rest))
    }

    fn fill(&mut self) -> Option<()> {
        let mut bytes = [0; 65_536];
        let count = loop {
            match self.socket.read(&mut bytes) {
                Ok(0) => return None,
                Ok(count) => break count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        };
        self.received.extend_from_slice(&bytes[..count]);
        let mut records = self.shared.records.lock().unwrap();
        records.raw[self.number].extend_from_slice(&bytes[..count]);
        Some(())
    }
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}
