//! Request heads, parsed in place.
//!
//! Stricter than HAProxy 2.6 (seen by probing it) where RFC 9112 demands it: no repeated spaces or tabs in the request line, no
//! folded lines, no control bytes in values, exactly one valid Host in HTTP/1.1, no `*` or bare word as target of a GET,
//! no Transfer-Encoding in HTTP/1.0, no versions but 1.0 and 1.1. As lenient as HAProxy: empty lines before the request, a
//! bare LF as line end in the head (forwarded as CRLF).

use super::body::Framing;
use super::facts::{self, Guard};
use super::fault::{Fault, HeadError};
use super::header::{ConnectionTokens, HeaderTable, Known};
use super::method::{Asked, Method};
use super::range::ByteRange;
use super::target;
use super::{Parsed, Version};

/// A request head. Reused for one request after the other; everything in it is valid after `Parsed::Complete`.
#[derive(Debug)]
pub struct RequestHead {
    /// Offset of the first byte of the request line (empty lines before it are skipped).
    pub start: u32,
    /// Offset after the empty line that ends the head: where the body begins.
    pub end: u32,
    /// The method, as edited: what the server is asked.
    pub method: Method,
    /// The method that the client used.
    pub client_method: Method,
    /// Where the method stands, in [`HeaderTable::start_line_bytes`].
    pub(super) method_range: ByteRange,
    /// Where the target stands, likewise.
    pub(super) target_range: ByteRange,
    /// Version of the client.
    pub version: Version,
    /// The header lines.
    pub headers: HeaderTable,
    /// How the body is delimited; never `UntilClose`.
    pub framing: Framing,
    /// Tokens of the Connection headers.
    pub connection: ConnectionTokens,
    /// `Expect: 100-continue` from an HTTP/1.1 client that announces a body.
    pub expects_continue: bool,
    /// The request asks for an upgrade that can be granted: HTTP/1.1, `upgrade` in Connection, no body.
    pub upgrade: bool,
    /// There is a Cookie header.
    pub has_cookies: bool,
    /// A rule has written `Connection: close`: the server connection serves no other request.
    pub closes_server: bool,
    /// The first fault that `option accept-invalid-http-request` has let through.
    pub tolerated: Option<HeadError>,
    /// The option has let through another version than 1.0 and 1.1: neither connection may be used again.
    pub is_odd_version: bool,
    /// Content-Length came with Transfer-Encoding: the connection must not be used again (RFC 9112 section 6.3).
    must_close: bool,
    guard: Guard,
}

impl RequestHead {
    /// An empty head. `headers_max` is `tune.http.maxhdr`, which counts the request line too; `scratch_bytes` is the room
    /// for insertions.
    pub fn new(headers_max: usize, scratch_bytes: usize) -> RequestHead {
        RequestHead {
            start: 0,
            end: 0,
            method: Method::Other,
            client_method: Method::Other,
            method_range: ByteRange::default(),
            target_range: ByteRange::default(),
            version: Version::Http11,
            headers: HeaderTable::new(headers_max.saturating_sub(1), scratch_bytes),
            framing: Framing::None,
            connection: ConnectionTokens::default(),
            expects_continue: false,
            upgrade: false,
            has_cookies: false,
            closes_server: false,
            tolerated: None,
            is_odd_version: false,
            must_close: false,
            guard: Guard::default(),
        }
    }

    /// Forgets the message: call it before the first `parse` of the next one.
    pub fn reset(&mut self) {
        self.headers.clear();
        self.start = 0;
        self.end = 0;
        self.method = Method::Other;
        self.client_method = Method::Other;
        self.method_range = ByteRange::default();
        self.target_range = ByteRange::default();
        self.version = Version::Http11;
        self.framing = Framing::None;
        self.connection = ConnectionTokens::default();
        self.expects_continue = false;
        self.upgrade = false;
        self.has_cookies = false;
        self.closes_server = false;
        self.tolerated = None;
        self.is_odd_version = false;
        self.must_close = false;
        self.guard = Guard::default();
    }

    /// Parses the head at the start of `buffer`, which holds all bytes received so far of this message (and perhaps of
    /// the next). After `Incomplete` call it again with the same bytes and more after them: work is not repeated.
    pub fn parse(&mut self, buffer: &[u8]) -> Result<Parsed, HeadError> {
        let start = facts::skip_empty_lines(buffer, self.start as usize)?;
        self.start = start as u32;
        let message = buffer.get(start..).unwrap_or_default();
        if message.is_empty() || !self.guard.is_worth_trying(message) {
            return Ok(Parsed::Incomplete);
        }
        let lines_max = self.headers.received_max();
        let parsed = facts::with_slots(lines_max, |slots| {
            let mut request = httparse::Request::new(&mut []);
            match request.parse_with_uninit_headers(message, slots) {
                Err(error) => Err(facts::locate(error, message, start, true, lines_max)),
                Ok(httparse::Status::Partial) => Ok(Parsed::Incomplete),
                Ok(httparse::Status::Complete(length)) => {
                    self.take(buffer, &request, start + length);
                    Ok(Parsed::Complete)
                }
            }
        })?;
        if parsed == Parsed::Complete {
            self.judge(buffer)?;
        }
        Ok(parsed)
    }

    fn take(&mut self, buffer: &[u8], request: &httparse::Request<'_, '_>, end: usize) {
        let method = request.method.unwrap_or_default().as_bytes();
        self.end = end as u32;
        self.method = Method::of(method);
        self.client_method = self.method;
        self.method_range = ByteRange::locate(method, buffer);
        self.target_range = ByteRange::locate(request.path.unwrap_or_default().as_bytes(), buffer);
        self.version = match request.version {
            Some(0) => Version::Http10,
            _ => Version::Http11,
        };
        self.headers.clear();
        facts::take_lines(&mut self.headers, buffer, request.headers, end);
        self.headers.set_received(self.start, self.end, buffer);
    }

    /// Decides what the lines mean together.
    pub(super) fn judge(&mut self, buffer: &[u8]) -> Result<(), HeadError> {
        let facts = facts::read(&mut self.headers, buffer, true)?;
        let is_11 = self.version == Version::Http11;
        if facts.chunked && !is_11 {
            // HAProxy forwards it and closes; a strict server must take it for faulty framing (section 6.1).
            return Err(HeadError::new(Fault::TransferEncoding, self.start as usize));
        }
        self.framing = match (facts.chunked, facts.content_length) {
            (true, _) => Framing::Chunked,
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::None,
        };
        let has_body = self.has_body();
        self.must_close = facts.both_framings || self.is_odd_version;
        self.connection = facts.connection;
        self.has_cookies = facts.has_cookies;
        self.expects_continue = facts.expects_continue && is_11 && has_body;
        let upgrade = facts
            .upgrade
            .filter(|_| is_11 && facts.connection.upgrade && !has_body);
        if let Some(range) = upgrade {
            let protocol = range.of(buffer);
            if protocol.eq_ignore_ascii_case(b"websocket") && !facts.has_websocket_key {
                // As HAProxy: a handshake without its key is refused.
                return Err(HeadError::new(Fault::Upgrade, range.start as usize));
            }
            self.upgrade = is_offered(protocol);
        }
        self.judge_target(buffer)?;
        self.judge_host(buffer, facts.host)
    }

    /// Whether a body follows.
    pub fn has_body(&self) -> bool {
        !matches!(self.framing, Framing::None | Framing::Length(0))
    }

    /// The name of the client's method; one that is no [`Method`] needs the received bytes, and is seen as edited.
    pub fn client_method_name<'a>(&'a self, buffer: &'a [u8]) -> &'a [u8] {
        self.client_method
            .name()
            .unwrap_or_else(|| self.method_range.of(self.headers.start_line_bytes(buffer)))
    }

    /// The request target as edited so far.
    pub fn target<'a>(&'a self, buffer: &'a [u8]) -> &'a [u8] {
        self.target_range.of(self.headers.start_line_bytes(buffer))
    }

    /// The path of the target as edited so far.
    pub fn path<'a>(&'a self, buffer: &'a [u8]) -> Option<&'a [u8]> {
        target::path(self.target(buffer))
    }

    /// Path and query of the target as edited so far.
    pub fn pathq<'a>(&'a self, buffer: &'a [u8]) -> Option<&'a [u8]> {
        target::path_and_query(self.target(buffer))
    }

    /// Reads again what edits may have changed of the headers that this hop acts on. To be called when all rules of the
    /// request have been applied.
    pub fn settle_edits(&mut self, buffer: &[u8]) {
        if !std::mem::take(&mut self.headers.is_hop_edited) {
            return;
        }
        self.closes_server = self.headers.has_edited_close(buffer);
        let mut tokens = ConnectionTokens::default();
        for (_, value) in self.headers.find_known(buffer, Known::Connection) {
            facts::read_tokens(value, &mut tokens);
        }
        let is_possible = self.version == Version::Http11 && tokens.upgrade && !self.has_body();
        let offered = self
            .headers
            .find_known(buffer, Known::Upgrade)
            .next()
            .is_some_and(|(_, protocol)| is_offered(protocol));
        self.upgrade = is_possible && offered;
        self.has_cookies = self
            .headers
            .find_known(buffer, Known::Cookie)
            .next()
            .is_some();
    }

    /// The target's bytes and its form.
    fn judge_target(&self, buffer: &[u8]) -> Result<(), HeadError> {
        let target = self.target(buffer);
        let fault = match self.tolerated {
            Some(HeadError {
                fault: Fault::Target,
                ..
            }) => target::fault_of_form(self.method, target),
            _ => target::fault(self.method, target),
        };
        match fault {
            None => Ok(()),
            Some(at) => Err(HeadError::new(
                Fault::Target,
                self.target_range.start as usize + at,
            )),
        }
    }

    /// Exactly one Host in HTTP/1.1, that is a host, and the target's if that names one (section 3.2.2). HAProxy checks only
    /// the last of these.
    fn judge_host(&self, buffer: &[u8], host: Option<ByteRange>) -> Result<(), HeadError> {
        let Some(range) = host else {
            return if self.version == Version::Http11 {
                Err(HeadError::new(Fault::Host, self.end as usize))
            } else {
                Ok(())
            };
        };
        let host = range.of(buffer);
        let fault = HeadError::new(Fault::Host, range.start as usize);
        if !host.is_empty() && !target::is_host_and_port(host) {
            return Err(fault);
        }
        if target::names_host(self.method, self.target(buffer), host) {
            Ok(())
        } else {
            Err(fault)
        }
    }

    /// Whether the client wants, and can have, the connection kept after this request.
    pub fn keeps_alive(&self) -> bool {
        let wanted = match self.version {
            Version::Http11 => !self.connection.close,
            Version::Http10 => self.connection.keep_alive && !self.connection.close,
        };
        wanted && !self.must_close
    }

    /// What the response has to be read against.
    pub fn asked(&self) -> Asked {
        Asked {
            method: self.method,
            upgrade: self.upgrade,
        }
    }
}

/// Whether an upgrade to these protocols may be asked of the server. Not to HTTP/2, because what follows could not be looked at.
fn is_offered(protocols: &[u8]) -> bool {
    !super::header::list_items(protocols).any(|item| item.eq_ignore_ascii_case(b"h2c"))
}
