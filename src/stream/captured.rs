//! What is kept of an exchange for its log line and its counters: the request line, captured headers and cookies, and bytes as
//! HAProxy counts them.
//!
//! Heads are looked at as they came, before they are edited. Not here: the line itself (`log`), who is counted (`track`).

use super::exchange::Exchange;
use crate::config::model;
use crate::http::{Framing, Header, HeaderTable, Known, LOGGED_HEAD_BYTES};
use crate::sample::CaptureSet;
use crate::sample::format::Format;

/// `HTTP/1.1`.
const VERSION_BYTES: usize = 8;

/// Names and values of headers, without a plain `Connection: close` or `keep-alive`.
fn header_bytes(headers: &HeaderTable, buffer: &[u8]) -> usize {
    let for_this_hop = |line: &Header| {
        let value = headers.value(line, buffer);
        line.known == Known::Connection
            && [&b"close"[..], b"keep-alive"]
                .iter()
                .any(|word| value.eq_ignore_ascii_case(word))
    };
    let is_counted = |line: &&Header| !line.removed && !for_this_hop(line);
    let counted = headers.lines().iter().filter(is_counted);
    counted.map(|line| line.name.len() + line.value.len()).sum()
}

impl Exchange {
    /// Counts the response head that was just parsed, before it is edited.
    pub fn count_logged_head(&mut self) {
        self.logged_bytes += self.response_head_bytes();
    }

    /// Bytes of the response's head as the log counts them, as edited.
    pub fn response_head_bytes(&self) -> u64 {
        const STATUS_BYTES: usize = 3;
        let buffer = self.down.buffer.filled();
        let start_line = VERSION_BYTES + STATUS_BYTES + self.response.reason(buffer).len();
        let headers = header_bytes(&self.response.headers, buffer);
        (LOGGED_HEAD_BYTES + start_line + headers + 1) as u64
    }

    /// Makes room for what the frontend captures, and counts the request's head, which is not edited yet (a TCP stream has none),
    /// where a format asks for that.
    pub fn begin_captures(&mut self, frontend: &model::Proxy) {
        let formats = [
            frontend.log_format.custom(),
            frontend.log_format_sd.as_deref(),
            frontend.unique_id_format.as_deref(),
        ];
        let is_counted = formats.into_iter().flatten().any(Format::needs_uploaded);
        if is_counted && self.times.head_ms.is_some() {
            self.count_head();
        }
        let wanted = &frontend.captures;
        if let Some((_, bytes_max)) = &wanted.cookie {
            self.captures.cookies.begin([*bytes_max; 2]);
        }
        let slots = &wanted.request;
        if slots.is_empty() && wanted.response.is_empty() {
            return;
        }
        let (request, response) = (&mut self.captures.request, &mut self.captures.response);
        request.begin(slots.iter().map(|slot| slot.1));
        response.begin(frontend.captures.response.iter().map(|slot| slot.1));
    }

    /// Keeps the request line for the log, and captures what the frontend wants of the head, which is not edited yet. What
    /// `tcp-request content` rejects is no request: nothing of it is known.
    pub fn capture_request(&mut self, frontend: &model::Proxy) {
        self.note_request_line();
        let (headers, buffer) = (&self.request.headers, self.up.buffer.filled());
        if let Some((name, _)) = &frontend.captures.cookie {
            let found = find_cookie(name, Known::Cookie, headers, buffer);
            found.inspect(|text| self.captures.cookies.set(0, text));
        }
        let slots = &frontend.captures.request;
        capture_headers(slots, headers, buffer, &mut self.captures.request);
    }

    /// Captures what the frontend wants of the response's head, which is not edited yet.
    pub fn capture_response(&mut self, frontend: &model::Proxy) {
        let (headers, buffer) = (&self.response.headers, self.down.buffer.filled());
        if let Some((name, _)) = &frontend.captures.cookie {
            let found = find_cookie(name, Known::SetCookie, headers, buffer);
            found.inspect(|text| self.captures.cookies.set(1, text));
        }
        let slots = &frontend.captures.response;
        capture_headers(slots, headers, buffer, &mut self.captures.response);
    }

    /// Counts the request head that was just parsed, before it is edited.
    pub fn count_head(&mut self) {
        let (request, buffer) = (&self.request, self.up.buffer.filled());
        let method = request.client_method_name(buffer).len();
        let start_line = method + request.target(buffer).len() + VERSION_BYTES;
        let headers = header_bytes(&request.headers, buffer);
        self.head_bytes = (LOGGED_HEAD_BYTES + start_line + headers + 1) as u64;
    }

    /// Bytes of the request as HAProxy counts them, as far as it has come; see `logged_bytes`.
    pub fn received_total(&self) -> u64 {
        let has_chunk_end = self.request.framing == Framing::Chunked && self.up.is_complete;
        self.head_bytes + self.up.data_bytes() + u64::from(has_chunk_end)
    }

    /// Bytes of the response as the log counts them; see `logged_bytes`.
    pub fn logged_total(&self) -> u64 {
        let has_chunk_end =
            self.has_response && self.response.framing == Framing::Chunked && self.down.is_complete;
        self.logged_bytes
            + self.notes.hint_bytes
            + self.down.data_bytes()
            + u64::from(has_chunk_end)
    }

    fn note_request_line(&mut self) {
        let head = self
            .up
            .buffer
            .filled()
            .get(self.request.start as usize..)
            .unwrap_or_default();
        let line = head.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.captures.request_line.clear();
        self.captures
            .request_line
            .extend_from_slice(&line[..line.len().min(self.logged_line_max)]);
    }
}

/// The first cookie whose `NAME=VALUE` begins with `start`.
fn find_cookie<'b>(
    start: &str,
    known: Known,
    headers: &'b HeaderTable,
    buffer: &'b [u8],
) -> Option<&'b [u8]> {
    let is_meant = |cookie: &&[u8]| cookie.starts_with(start.as_bytes());
    headers.find_known(buffer, known).find_map(|(_, line)| {
        let mut cookies = line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        match known {
            // What follows the first one are its attributes.
            Known::SetCookie => cookies.next().filter(is_meant),
            _ => cookies.find(is_meant),
        }
    })
}

/// Puts the last line of each captured header into its slot.
fn capture_headers(
    slots: &[(Option<Box<str>>, u32)],
    headers: &HeaderTable,
    buffer: &[u8],
    captures: &mut CaptureSet,
) {
    for (index, (name, _)) in slots.iter().enumerate() {
        let Some(name) = name else { continue };
        if let Some((_, value)) = headers.find(buffer, name.as_bytes()).last() {
            captures.set(index, value);
        }
    }
}
