//! Response heads, parsed in place.
//!
//! As HAProxy 2.6: folded lines are unfolded, bare LF is a line end, several codings or contradicting lengths are refused, a
//! 101 that was not asked for is refused. Stricter: no control bytes, statuses from 100 to 999 with three digits.

use super::body::Framing;
use super::facts::{self, Facts, Guard};
use super::fault::{Fault, HeadError};
use super::header::{ConnectionTokens, HeaderTable, Known};
use super::method::{Asked, Method};
use super::range::ByteRange;
use super::{Parsed, Version};

/// What HAProxy's log counts of a response head beside its words, bytes.
pub const LOGGED_HEAD_BYTES: usize = 20;

/// A response head. Reused for one response after the other; everything in it is valid after `Parsed::Complete`.
#[derive(Debug)]
pub struct ResponseHead {
    /// Offset of the first byte of the status line.
    pub start: u32,
    /// Offset after the empty line that ends the head: where the body begins.
    pub end: u32,
    /// Version of the server.
    pub version: Version,
    /// Status code, 100 to 999, as edited.
    pub status: u16,
    /// Status code as it was received: what the framing depends on.
    pub received_status: u16,
    /// Where the reason phrase stands, in [`HeaderTable::start_line_bytes`].
    pub(super) reason_range: ByteRange,
    /// The header lines.
    pub headers: HeaderTable,
    /// How the body is delimited, given the request. `None` for 1xx, 204, 304, for answers to HEAD, and when `is_tunnel`.
    pub framing: Framing,
    /// Tokens of the Connection headers.
    pub connection: ConnectionTokens,
    /// There is an Upgrade header.
    pub upgrade: bool,
    /// 101, or 2xx to CONNECT: what follows the head is no HTTP any more.
    pub is_tunnel: bool,
    /// There is a Set-Cookie header.
    pub has_cookies: bool,
    /// A rule has written `Connection: close`.
    pub(super) closes_client: bool,
    /// The first fault that `option accept-invalid-http-response` has let through.
    pub tolerated: Option<HeadError>,
    /// Offset after the status code, as it was received.
    pub(super) code_end: u32,
    /// The framing was doubtful (both fields, or chunked in HTTP/1.0): the connection must not be used again.
    must_close: bool,
    guard: Guard,
}

impl ResponseHead {
    /// An empty head. `headers_max` is `tune.http.maxhdr`, which counts the status line too; `scratch_bytes` is the room for
    /// insertions.
    pub fn new(headers_max: usize, scratch_bytes: usize) -> ResponseHead {
        ResponseHead {
            start: 0,
            end: 0,
            version: Version::Http11,
            status: 0,
            received_status: 0,
            reason_range: ByteRange::default(),
            headers: HeaderTable::new(headers_max.saturating_sub(1), scratch_bytes),
            framing: Framing::None,
            connection: ConnectionTokens::default(),
            upgrade: false,
            is_tunnel: false,
            has_cookies: false,
            closes_client: false,
            tolerated: None,
            code_end: 0,
            must_close: false,
            guard: Guard::default(),
        }
    }

    /// Forgets the message: call it before the first `parse` of the next one (after an interim response too).
    pub fn reset(&mut self) {
        self.headers.clear();
        self.start = 0;
        self.end = 0;
        self.version = Version::Http11;
        self.status = 0;
        self.received_status = 0;
        self.reason_range = ByteRange::default();
        self.framing = Framing::None;
        self.connection = ConnectionTokens::default();
        self.upgrade = false;
        self.is_tunnel = false;
        self.has_cookies = false;
        self.closes_client = false;
        self.tolerated = None;
        self.code_end = 0;
        self.must_close = false;
        self.guard = Guard::default();
    }

    /// Parses the head at the start of `buffer`; `asked` is the request's `RequestHead::asked`. Otherwise as
    /// `RequestHead::parse`. Errors have status 502.
    pub fn parse(&mut self, buffer: &[u8], asked: Asked) -> Result<Parsed, HeadError> {
        self.parse_bytes(buffer, asked).map_err(|error| HeadError {
            status: 502,
            ..error
        })
    }

    fn parse_bytes(&mut self, buffer: &[u8], asked: Asked) -> Result<Parsed, HeadError> {
        let start = facts::skip_empty_lines(buffer, self.start as usize)?;
        self.start = start as u32;
        let message = buffer.get(start..).unwrap_or_default();
        if message.is_empty() || !self.guard.is_worth_trying(message) {
            return Ok(Parsed::Incomplete);
        }
        let lines_max = self.headers.received_max();
        let strict = httparse::ParserConfig::default();
        let parsed = match self.attempt(buffer, &strict) {
            Err(httparse::Error::HeaderName) => {
                // Perhaps a folded line: legal to read, and old applications write them.
                let mut folding = httparse::ParserConfig::default();
                folding.allow_obsolete_multiline_headers_in_responses(true);
                let parsed = self.attempt(buffer, &folding);
                if parsed == Ok(Parsed::Complete) {
                    self.unfold(buffer)?;
                }
                parsed
            }
            other => other,
        };
        let parsed =
            parsed.map_err(|error| facts::locate(error, message, start, false, lines_max))?;
        if parsed == Parsed::Complete {
            self.judge(buffer, asked)?;
        }
        Ok(parsed)
    }

    fn attempt(
        &mut self,
        buffer: &[u8],
        config: &httparse::ParserConfig,
    ) -> Result<Parsed, httparse::Error> {
        let start = self.start as usize;
        let message = &buffer[start..];
        facts::with_slots(self.headers.received_max(), |slots| {
            let mut response = httparse::Response::new(&mut []);
            match config.parse_response_with_uninit_headers(&mut response, message, slots)? {
                httparse::Status::Partial => Ok(Parsed::Incomplete),
                httparse::Status::Complete(length) => {
                    self.take(buffer, &response, start + length);
                    Ok(Parsed::Complete)
                }
            }
        })
    }

    fn take(&mut self, buffer: &[u8], response: &httparse::Response<'_, '_>, end: usize) {
        self.end = end as u32;
        self.version = match response.version {
            Some(0) => Version::Http10,
            _ => Version::Http11,
        };
        self.status = response.code.unwrap_or_default();
        self.received_status = self.status;
        self.code_end = self.start + "HTTP/1.1 200".len() as u32;
        self.headers.clear();
        facts::take_lines(&mut self.headers, buffer, response.headers, end);
        self.headers.set_received(self.start, self.end, buffer);
        self.reason_range = self.find_reason(buffer);
    }

    /// The reason phrase as edited so far.
    pub fn reason<'a>(&'a self, buffer: &'a [u8]) -> &'a [u8] {
        self.reason_range.of(self.headers.start_line_bytes(buffer))
    }

    /// Reads again what edits may have changed of the headers that this hop acts on. To be called when all rules of the
    /// response have been applied.
    pub fn settle_edits(&mut self, buffer: &[u8]) {
        if std::mem::take(&mut self.headers.is_hop_edited) {
            self.closes_client = self.headers.has_edited_close(buffer);
            self.upgrade = self
                .headers
                .find_known(buffer, Known::Upgrade)
                .next()
                .is_some();
        }
    }

    /// The reason phrase; `httparse` does not give it out when it has bytes above 127.
    fn find_reason(&self, buffer: &[u8]) -> ByteRange {
        let from = self.code_end as usize;
        let line = self.headers.received_start.of(buffer);
        let text = line
            .strip_suffix(b"\n")
            .map_or(line, |text| text.strip_suffix(b"\r").unwrap_or(text));
        let end = (self.start as usize + text.len()).max(from);
        let from = (from + 1).min(end);
        ByteRange::new(from, end)
    }

    /// Replaces folded lines by one line each, in which the folds are spaces (RFC 9112 section 5.2).
    fn unfold(&mut self, buffer: &[u8]) -> Result<(), HeadError> {
        for index in 0..self.headers.lines().len() {
            let line = self.headers.lines()[index];
            let after_name = ByteRange {
                start: line.name.end,
                end: line.line_end,
            };
            let text = after_name.of(buffer);
            if !text[..text.len().saturating_sub(1)].contains(&b'\n') {
                continue;
            }
            if matches!(
                line.known,
                Known::ContentLength | Known::TransferEncoding | Known::Connection
            ) {
                // A fold in a field that frames the message is no habit of old applications but an attempt.
                return Err(HeadError::new(
                    Fault::ObsoleteFold,
                    line.value.start as usize,
                ));
            }
            self.headers
                .unfold(index, buffer)
                .map_err(|_| HeadError::new(Fault::TooLarge, line.value.start as usize))?;
        }
        Ok(())
    }

    /// Decides what the lines mean together (RFC 9112 section 6.3).
    pub(super) fn judge(&mut self, buffer: &[u8], asked: Asked) -> Result<(), HeadError> {
        if self.status < 100 {
            return Err(HeadError::new(
                Fault::StatusLine,
                self.start as usize + "HTTP/1.1 ".len(),
            ));
        }
        let facts = facts::read(&mut self.headers, buffer, false)?;
        self.connection = facts.connection;
        self.upgrade = facts.upgrade.is_some();
        self.has_cookies = facts.has_cookies;
        self.is_tunnel = match (self.status, asked.method) {
            (101, _) if !asked.upgrade => {
                return Err(HeadError::new(
                    Fault::Upgrade,
                    self.start as usize + "HTTP/1.1 ".len(),
                ));
            }
            (101, _) => true,
            (200..=299, Method::Connect) => true,
            _ => false,
        };
        self.must_close = facts.both_framings || (facts.chunked && self.version == Version::Http10);
        self.framing = self.settle_framing(&facts, asked);
        Ok(())
    }

    fn settle_framing(&mut self, facts: &Facts, asked: Asked) -> Framing {
        if self.status < 200 || self.status == 204 || self.is_tunnel {
            // These have no body and must not speak of one (RFC 9110 section 8.6, RFC 9112 section 6.1).
            self.headers.remove_known(Known::ContentLength);
            self.headers.remove_known(Known::TransferEncoding);
            return Framing::None;
        }
        if self.status == 304 || asked.method == Method::Head {
            return Framing::None;
        }
        match (facts.chunked, facts.content_length) {
            (true, _) => Framing::Chunked,
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::UntilClose,
        }
    }

    /// 100 to 199 without 101: another response follows. HAProxy forwards these to HTTP/1.0 clients too, which do not know
    /// them; do not (RFC 9110 section 15.2).
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// Whether the server keeps the connection after this response (version, Connection tokens, framing).
    pub fn keeps_alive(&self) -> bool {
        let wanted = match self.version {
            Version::Http11 => !self.connection.close,
            Version::Http10 => self.connection.keep_alive && !self.connection.close,
        };
        wanted && !self.must_close && !self.is_tunnel && self.framing != Framing::UntilClose
    }
}
