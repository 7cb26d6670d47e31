//! A client that sends exactly the bytes it is given and reads answers one by one.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// An answer, its body decoded from whatever framing it had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Status line and headers as they came, without the empty line.
    pub head: String,
    /// The body, without chunk sizes.
    pub body: Vec<u8>,
}

impl Response {
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

    /// The value of a cookie that this answer sets.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.headers("set-cookie").into_iter().find_map(|line| {
            let (found, value) = line.split(';').next()?.split_once('=')?;
            (found.trim() == name).then(|| value.trim().to_string())
        })
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection and what was received on it but not yet handed out.
pub struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    /// Connects; reads and writes fail after ten seconds.
    pub fn connect(address: SocketAddr) -> Client {
        Client::try_connect(address)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    /// As [`Client::connect`], where a refusal is an answer.
    pub fn try_connect(address: SocketAddr) -> std::io::Result<Client> {
        Client::wrap(TcpStream::connect_timeout(
            &address,
            Duration::from_secs(10),
        )?)
    }

    /// A connection that was made elsewhere.
    pub fn of(stream: TcpStream) -> Client {
        Client::wrap(stream).expect("options of a connection")
    }

    fn wrap(stream: TcpStream) -> std::io::Result<Client> {
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.set_write_timeout(Some(Duration::from_secs(10)))?;
        stream.set_nodelay(true)?;
        Ok(Client {
            stream,
            received: Vec::new(),
        })
    }

    /// The socket, for what is not offered here.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends these bytes; panics when the other side does not take them.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("cannot send");
    }

    /// Sends these bytes.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Ends the writing side; answers can still be read.
    pub fn shutdown_write(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Sends a request and reads its answer.
    pub fn ask(&mut self, request: &str) -> Response {
        self.send(request);
        if request.starts_with("HEAD ") {
            self.read_head_only()
        } else {
            self.read_response()
        }
    }

    /// The next answer; panics when none comes.
    pub fn read_response(&mut self) -> Response {
        self.try_read_response().expect("no complete response")
    }

    /// The next answer; an error when the connection ends or stays silent first.
    pub fn try_read_response(&mut self) -> std::io::Result<Response> {
        let mut response = self.read_head()?;
        let chunked = response
            .headers("transfer-encoding")
            .iter()
            .any(|value| value.to_ascii_lowercase().contains("chunked"));
        if matches!(response.status, 100..=199 | 204 | 304) {
            return Ok(response);
        }
        if chunked {
            response.body = self.read_chunked()?;
        } else if let Some(length) = response.header("content-length") {
            let length = length.parse().map_err(|_| invalid("content-length"))?;
            response.body = self.read_bytes(length)?;
        } else {
            response.body = self.read_to_end()?;
        }
        Ok(response)
    }

    /// The next answer of a HEAD request: no body whatever its headers say.
    pub fn read_head_only(&mut self) -> Response {
        self.read_head().expect("no complete response")
    }

    /// All that comes until the other side closes.
    pub fn read_to_end(&mut self) -> std::io::Result<Vec<u8>> {
        while self.fill()? {}
        Ok(std::mem::take(&mut self.received))
    }

    /// Exactly `count` bytes.
    pub fn read_bytes(&mut self, count: usize) -> std::io::Result<Vec<u8>> {
        while self.received.len() < count {
            self.need_more()?;
        }
        let rest = self.received.split_off(count);
        Ok(std::mem::replace(&mut self.received, rest))
    }

    /// Whether the other side has closed (or reset) and nothing is left to read; waits up to ten seconds for it.
    pub fn is_closed(&mut self) -> bool {
        match self.fill() {
            Ok(more) => !more && self.received.is_empty(),
            Err(error) => matches!(
                error.kind(),
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
            ),
        }
    }

    /// Asserts that nothing comes for a while, and that the connection stays.
    pub fn stays_silent(&mut self) {
        let timeout = |milliseconds| {
            let timeout = Some(Duration::from_millis(milliseconds));
            self.stream.set_read_timeout(timeout).expect("an option");
        };
        timeout(200);
        let came = self.stream.peek(&mut [0]);
        timeout(10_000);
        assert!(
            came.as_ref()
                .is_err_and(|error| error.kind() == ErrorKind::WouldBlock),
            "{came:?}"
        );
    }

    fn read_head(&mut self) -> std::io::Result<Response> {
        let end = loop {
            if let Some(at) = find(&self.received, b"\r\n\r\n") {
                break at;
            }
            self.need_more()?;
        };
        let head = String::from_utf8_lossy(&self.read_bytes(end + 4)?[..end]).into_owned();
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|code| code.get(..3)?.parse().ok())
            .ok_or_else(|| invalid(&head))?;
        Ok(Response {
            status,
            head,
            body: Vec::new(),
        })
    }

    fn read_chunked(&mut self) -> std::io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.read_line()?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| invalid(&line))?;
            if size == 0 {
                while !self.read_line()?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.read_bytes(size)?);
            if !self.read_line()?.is_empty() {
                return Err(invalid("bytes after a chunk"));
            }
        }
    }

    fn read_line(&mut self) -> std::io::Result<String> {
        let end = loop {
            if let Some(at) = find(&self.received, b"\r\n") {
                break at;
            }
            self.need_more()?;
        };
        Ok(String::from_utf8_lossy(&self.read_bytes(end + 2)?[..end]).into_owned())
    }

    fn need_more(&mut self) -> std::io::Result<()> {
        if self.fill()? {
            return Ok(());
        }
        let so_far = String::from_utf8_lossy(&self.received).into_owned();
        Err(std::io::Error::new(
            ErrorKind::UnexpectedEof,
            format!("closed after: {so_far:?}"),
        ))
    }

    /// Reads once; false at the end of the connection.
    fn fill(&mut self) -> std::io::Result<bool> {
        let mut bytes = [0; 16_384];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(count) => {
                    self.received.extend_from_slice(&bytes[..count]);
                    return Ok(count > 0);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// One GET on a connection of its own, with extra header lines (each without its line end).
pub fn get(address: SocketAddr, path: &str, headers: &[&str]) -> Response {
    let mut request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n");
    for line in headers {
        request.push_str(line);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    Client::connect(address).ask(&request)
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

fn invalid(what: &str) -> std::io::Error {
    std::io::Error::new(ErrorKind::InvalidData, format!("not HTTP: {what:?}"))
}
