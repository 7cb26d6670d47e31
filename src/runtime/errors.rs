//! `show errors`: the last invalid messages, in HAProxy 2.6's layout (management manual, section 9.3).
//!
//! ```text
//!  [22/Nov/2026:23:03:02.699] frontend fe (#2): invalid request
//!   backend <NONE> (#-1), server <NONE> (#-1), event #0, src 127.0.0.1:52924
//!   buffer starts at 0 (including 0 out), 16335 free,
//!   len 49, wraps at 16384, error at position 28
//!   H1 connection flags 0x00000100, H1 stream flags 0x00000810
//!   H1 msg state MSG_HDR_NAME(17), H1 msg flags 0x00001410
//!   H1 chunk len 0 bytes, H1 body len 0 bytes :
//!
//!   00000  GET / HTTP/1.1\r\n
//!   00016  Host: x\r\n
//! ```
//!
//! States and flags are those of HAProxy's parser, as observed: a state names the part of the message in which the fault is, and each
//! flag that is set here was seen set under the same circumstances. Those that tell of HAProxy's own doings (its buffers, its
//! rewriting) are left out.
//!
//! Not here: what is kept, and when (`backend::invalid`).

use std::fmt::Write as _;
use std::time::SystemTime;

use super::answer::{Answer, Output, Progress, Reply};
use super::context::Context;
use super::invocation::Invocation;
use crate::backend::Proxy;
use crate::backend::invalid::{Circumstances, Invalid};
use crate::config::model::AccessLevel;
use crate::http::{Fault, Framing, Version};
use crate::sample::format::{Moment, date_text};

/// Columns of text on a line, after its offset.
const COLUMNS_MAX: usize = 70;

/// Which messages are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Request,
    Response,
}

/// `show errors [<iid>|<proxy>] [request|response]`.
pub fn show_errors(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    if call.level < AccessLevel::Operator {
        return Reply::permission_denied();
    }
    let only = match select(call.command.text(2), context.proxies) {
        Some(only) => only,
        None => return Reply::error("No such proxy."),
    };
    let kind = match call.command.word(3) {
        b"request" => Some(Kind::Request),
        b"response" => Some(Kind::Response),
        _ => None,
    };
    let title = format!(
        "Total events captured on [{}] : {}\n",
        date_with_millis(SystemTime::now()),
        context.process_counters.invalid_messages
    );
    Reply::Dump(Box::new(ShowErrors {
        title: Some(title),
        only,
        kind,
        proxy: 0,
        is_response: false,
        under_way: None,
    }))
}

/// The id that is meant: `Some(None)` all of them, `None` a name that nobody has. A number need not be anybody's.
fn select(name: &str, proxies: &[Proxy]) -> Option<Option<u32>> {
    if name.is_empty() {
        return Some(None);
    }
    if let Some(proxy) = proxies.iter().find(|proxy| proxy.spec.name == name) {
        return Some(Some(proxy.spec.id));
    }
    let digits = name.strip_prefix('-').unwrap_or(name);
    let end = digits
        .find(|digit: char| !digit.is_ascii_digit())
        .unwrap_or(digits.len());
    // A number beyond all ids is nobody's.
    let id = match &digits[..end] {
        "" => 0,
        number => number.parse::<u32>().unwrap_or(u32::MAX),
    };
    match (id, name.starts_with('-')) {
        (0, _) => None,
        (_, true) => Some(None),
        (id, false) => Some(Some(id)),
    }
}

struct ShowErrors {
    title: Option<String>,
    only: Option<u32>,
    kind: Option<Kind>,
    proxy: usize,
    is_response: bool,
    /// The message that is being shown, and how far it was.
    under_way: Option<(u64, usize)>,
}

impl Answer for ShowErrors {
    fn poll(&mut self, context: &mut Context<'_>, out: &mut Output<'_>) -> Progress {
        if let Some(title) = self.title.take() {
            out.push(title.as_bytes());
        }
        while out.may_go_on() {
            let Some(proxy) = context.proxies.get(self.proxy) else {
                return Progress::Done;
            };
            let (kind, message) = match self.is_response {
                false => (Kind::Request, &proxy.invalid.request),
                true => (Kind::Response, &proxy.invalid.response),
            };
            let is_meant = self.only.is_none_or(|id| proxy.spec.id == id)
                && self.kind.is_none_or(|only| only == kind);
            let has_more = match message.as_deref().filter(|_| is_meant) {
                Some(invalid) => self.show(invalid, context.proxies, out),
                None => false,
            };
            if !has_more {
                self.under_way = None;
                self.proxy += usize::from(self.is_response);
                self.is_response = !self.is_response;
            }
        }
        Progress::More
    }
}

impl ShowErrors {
    /// The next line of a message, its first ones at once; whether there is more of it.
    fn show(&mut self, invalid: &Invalid, proxies: &[Proxy], out: &mut Output<'_>) -> bool {
        let (number, from) = *self.under_way.get_or_insert_with(|| {
            write_head(out, invalid, proxies, self.is_response);
            (invalid.number, 0)
        });
        if number != invalid.number {
            out.push(b"  (another one has taken its place meanwhile)\n");
            return false;
        }
        let next = write_line(out, &invalid.bytes, from);
        self.under_way = Some((number, next));
        next < invalid.bytes.len()
    }
}

fn write_head(out: &mut Output<'_>, invalid: &Invalid, proxies: &[Proxy], is_response: bool) {
    let parties = &invalid.parties;
    let named = |proxy: Option<usize>| {
        Named(proxy.map(|at| (&*proxies[at].spec.name, proxies[at].spec.id)))
    };
    let server = parties
        .backend
        .zip(parties.server)
        .and_then(|(backend, server)| {
            let server = proxies.get(backend)?.servers.get(server)?;
            Some((&*server.spec.name, server.spec.id))
        });
    let (title, kind) = match is_response {
        false => ("frontend", "request"),
        true => ("backend", "response"),
    };
    let (owner, other_title, other) = match is_response {
        false => (Some(parties.frontend), "backend", parties.backend),
        true => (parties.backend, "frontend", Some(parties.frontend)),
    };
    let source = parties.source.map(|source| (source.ip(), source.port()));
    let date = date_with_millis(invalid.at);
    // Writing to memory does not fail.
    let _ = write!(
        out,
        " \n[{date}] {title} {}: invalid {kind}\n  {other_title} {}, server {}, event #{}, src ",
        named(owner),
        named(other),
        Named(server),
        invalid.number
    );
    let _ = match source {
        Some((address, port)) => write!(out, "{address}:{port}"),
        None => write!(out, "unix:0"),
    };
    let circumstances = &invalid.circumstances;
    let begins_with_letter = invalid.bytes.first().is_some_and(u8::is_ascii_alphabetic);
    let (state, state_number) = state(circumstances, is_response, begins_with_letter);
    let [connection, stream, message] = flags(circumstances, is_response);
    let length = invalid.bytes.len();
    let _ = write!(
        out,
        "\n  buffer starts at 0 (including 0 out), {} free,\n  len {length}, wraps at {}, error at position {}\n  \
         H1 connection flags {connection:#010x}, H1 stream flags {stream:#010x}\n  \
         H1 msg state {state}({state_number}), H1 msg flags {message:#010x}\n  \
         H1 chunk len 0 bytes, H1 body len {} bytes :\n  \n",
        invalid.buffer_bytes - length,
        invalid.buffer_bytes,
        circumstances.error.position,
        circumstances.error.body_bytes,
    );
}

/// `NAME (#ID)`.
struct Named<'a>(Option<(&'a str, u32)>);

impl std::fmt::Display for Named<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some((name, id)) => write!(out, "{name} (#{id})"),
            None => out.write_str("<NONE> (#-1)"),
        }
    }
}

/// `22/Nov/2026:13:39:55.082`.
fn date_with_millis(at: SystemTime) -> String {
    format!("{}.{:03}", date_text(at), Moment::from(at).micros / 1000)
}

/// The part of the message in which HAProxy's parser says that it was.
fn state(
    circumstances: &Circumstances,
    is_response: bool,
    begins_with_letter: bool,
) -> (&'static str, u32) {
    let error = &circumstances.error;
    match (error.fault, is_response) {
        _ if !circumstances.is_refused => match circumstances.framing {
            Framing::None | Framing::Length(0) => ("MSG_DONE", 30),
            Framing::Chunked => ("MSG_CHUNK_SIZE", 26),
            Framing::Length(_) | Framing::UntilClose => ("MSG_DATA", 27),
        },
        (Fault::Method, false) if error.position == 0 => ("MSG_RQBEFORE", 0),
        (Fault::Method, _) => ("MSG_RQMETH", 2),
        (Fault::Target, _) => ("MSG_RQURI", 4),
        (Fault::Version, false) => ("MSG_RQVER", 6),
        (Fault::Version, true) if !begins_with_letter => ("MSG_RPBEFORE", 8),
        (Fault::Version, true) => ("MSG_RPVER", 10),
        (Fault::StatusLine, _) => ("MSG_RPCODE", 12),
        (Fault::LineEnd, false) if !begins_with_letter => ("MSG_RQBEFORE_CR", 1),
        (Fault::LineEnd, true) if !begins_with_letter => ("MSG_RPBEFORE_CR", 9),
        (Fault::LineEnd, false) if circumstances.version.is_none() => ("MSG_RQLINE_END", 7),
        (Fault::LineEnd, true) if circumstances.version.is_none() => ("MSG_RPLINE_END", 15),
        (Fault::LineEnd, _) => ("MSG_HDR_L2_LF", 23),
        (Fault::HeaderName | Fault::ObsoleteFold, _) => ("MSG_HDR_NAME", 17),
        (Fault::HeaderValue, _) => ("MSG_HDR_VAL", 22),
        (Fault::TooLarge, false) if circumstances.version.is_none() => ("MSG_RQURI", 4),
        (Fault::TooLarge, _) => ("MSG_HDR_VAL", 22),
        (Fault::ContentLength | Fault::TransferEncoding, _) => ("MSG_HDR_L2_LWS", 24),
        (Fault::TooManyHeaders | Fault::Host, _) => ("MSG_LAST_LF", 25),
        (Fault::ChunkSize, _) => ("MSG_CHUNK_SIZE", 26),
        (Fault::ChunkEnd, _) => ("MSG_CHUNK_CRLF", 28),
        (Fault::Trailer, _) => ("MSG_TRAILERS", 29),
        (Fault::Upgrade, _) => ("MSG_DONE", 30),
    }
}

/// Flags of connection, stream and message.
fn flags(circumstances: &Circumstances, is_response: bool) -> [u32; 3] {
    let set = |flag: u32, is_set: bool| if is_set { flag } else { 0 };
    let connection = match (is_response, circumstances.is_routed) {
        (true, _) => 0x8000_2200,
        (false, true) => 0x2200,
        (false, false) => 0x100,
    } | set(0x20, circumstances.is_full);
    let stream = set(0x10, circumstances.is_kept)
        | set(0x40, !circumstances.is_kept)
        | set(0x80, circumstances.is_later)
        | set(0x800, circumstances.is_refused)
        | set(0x4000, circumstances.is_answered);
    let framing = match circumstances.framing {
        Framing::Chunked => 0x1_0302,
        Framing::Length(_) => 0x101,
        Framing::None => set(0x100, circumstances.has_head),
        Framing::UntilClose => 0,
    };
    let message = 0x1400
        | set(0x4, is_response)
        | set(0x10, circumstances.version == Some(Version::Http11))
        | set(0x20, circumstances.connection.close)
        | set(0x40, circumstances.connection.keep_alive)
        | set(0x80, circumstances.connection.upgrade)
        | framing;
    [connection, stream, message]
}

/// One line of a message: to its next LF or as far as it fits. Returns where the next one begins.
fn write_line(out: &mut Output<'_>, bytes: &[u8], from: usize) -> usize {
    let is_continued = from > 0 && bytes.get(from - 1) != Some(&b'\n');
    let mark = if is_continued { '+' } else { ' ' };
    // Writing to memory does not fail.
    let _ = write!(out, "  {from:05}{mark} ");
    let mut columns = 0;
    let mut at = from;
    while let Some(&byte) = bytes.get(at) {
        let escaped = Escaped(byte);
        columns += escaped.columns();
        if columns > COLUMNS_MAX {
            break;
        }
        let _ = write!(out, "{escaped}");
        at += 1;
        if byte == b'\n' {
            break;
        }
    }
    out.push(b"\n");
    at
}

/// A byte as `show errors` shows it.
struct Escaped(u8);

impl Escaped {
    fn columns(&self) -> usize {
        match self.0 {
            b'\t' | b'\n' | b'\r' | 0x1b | b'\\' => 2,
            b' '..=b'~' => 1,
            _ => 4,
        }
    }
}

impl std::fmt::Display for Escaped {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            b'\t' => out.write_str("\\t"),
            b'\n' => out.write_str("\\n"),
            b'\r' => out.write_str("\\r"),
            0x1b => out.write_str("\\e"),
            b'\\' => out.write_str("\\\\"),
            byte @ b' '..=b'~' => out.write_char(char::from(byte)),
            byte => write!(out, "\\x{byte:02X}"),
        }
    }
}
