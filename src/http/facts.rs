//! What every message's header lines say about its framing and its connection: read once, judged strictly.
//!
//! Whatever could be read in two ways is refused, or rewritten so that one reading is left (RFC 9112 section 6). HAProxy
//! 2.6, probed with a recording server behind it, is the lower bound of strictness; where this is stricter, the reason stands
//! beside the rule.

use std::mem::MaybeUninit;

use super::fault::{Fault, HeadError};
use super::header::{ConnectionTokens, Header, HeaderTable, Known, list_items};
use super::range::ByteRange;

/// Longest header name, as HAProxy's.
const NAME_BYTES_MAX: usize = 255;

/// Largest Content-Length: what fits a signed 64-bit number, because receivers use those.
pub(super) const BODY_BYTES_MAX: u64 = i64::MAX as u64;

/// What the lines of one message say.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub content_length: Option<u64>,
    pub chunked: bool,
    pub both_framings: bool,
    pub connection: ConnectionTokens,
    pub host: Option<ByteRange>,
    pub upgrade: Option<ByteRange>,
    pub has_websocket_key: bool,
    pub expects_continue: bool,
    pub has_cookies: bool,
}

/// Slots for `httparse` on the stack: no allocation, whatever `tune.http.maxhdr` is.
pub(super) fn with_slots<'b, T>(
    count: usize,
    parse: impl FnOnce(&mut [MaybeUninit<httparse::Header<'b>>]) -> T,
) -> T {
    if count <= 128 {
        let mut slots = [const { MaybeUninit::uninit() }; 128];
        parse(&mut slots[..count])
    } else {
        with_many_slots(count, parse)
    }
}

/// A function of its own: inlined, its megabyte would be probed page by page for every head.
#[cold]
#[inline(never)]
fn with_many_slots<'b, T>(
    count: usize,
    parse: impl FnOnce(&mut [MaybeUninit<httparse::Header<'b>>]) -> T,
) -> T {
    let mut slots = [const { MaybeUninit::uninit() }; 32768];
    let count = count.min(slots.len());
    parse(&mut slots[..count])
}

/// Takes over the lines that `httparse` found. `end` is the offset after the empty line.
pub(super) fn take_lines(
    table: &mut HeaderTable,
    buffer: &[u8],
    found: &[httparse::Header<'_>],
    end: usize,
) {
    let blank_bytes = if buffer[..end].ends_with(b"\r\n") {
        2
    } else {
        1
    };
    let mut lines = found.iter().peekable();
    while let Some(line) = lines.next() {
        let line_end = match lines.peek() {
            Some(next) => ByteRange::locate(next.name.as_bytes(), buffer).start as usize,
            None => end - blank_bytes,
        };
        table.push_received(Header {
            name: ByteRange::locate(line.name.as_bytes(), buffer),
            value: ByteRange::locate(line.value, buffer),
            line_end: line_end as u32,
            known: Known::of(line.name.as_bytes()),
            inserted: false,
            removed: false,
            bare_lf: !buffer[..line_end].ends_with(b"\r\n"),
        });
    }
}

/// Reads the facts. Rewrites Content-Length and Transfer-Encoding where their spelling leaves room for another reading.
pub(super) fn read(
    table: &mut HeaderTable,
    buffer: &[u8],
    is_request: bool,
) -> Result<Facts, HeadError> {
    let mut facts = Facts::default();
    let mut lengths = Lengths::default();
    let mut codings = Codings::default();
    for line in table.lines().iter().filter(|line| !line.removed) {
        if line.name.len() > NAME_BYTES_MAX {
            return Err(HeadError::new(Fault::HeaderName, line.name.start as usize));
        }
        let value = table.value(line, buffer);
        match line.known {
            Known::Other => {}
            Known::Connection => read_tokens(value, &mut facts.connection),
            Known::ContentLength => lengths.add(value, line.value)?,
            Known::TransferEncoding => codings.add(value, line.value, is_request)?,
            Known::Host if facts.host.is_some() && is_request => {
                // HAProxy accepts the same Host twice and drops one; RFC 9112 section 3.2 wants 400.
                return Err(HeadError::new(Fault::Host, line.value.start as usize));
            }
            Known::Host => facts.host = Some(line.value),
            Known::Upgrade => facts.upgrade = facts.upgrade.or(Some(line.value)),
            Known::SecWebSocketKey => facts.has_websocket_key = true,
            Known::Expect => facts.expects_continue |= value.eq_ignore_ascii_case(b"100-continue"),
            Known::Cookie | Known::SetCookie => facts.has_cookies = true,
            Known::KeepAlive | Known::ProxyConnection | Known::Te | Known::Trailer => {}
        }
    }
    facts.chunked = codings.count > 0;
    facts.content_length = lengths.value;
    settle_framing(table, &mut facts, &lengths, &codings)?;
    Ok(facts)
}

/// Leaves one framing, spelled in one way.
fn settle_framing(
    table: &mut HeaderTable,
    facts: &mut Facts,
    lengths: &Lengths,
    codings: &Codings,
) -> Result<(), HeadError> {
    let no_room = |_| HeadError::new(Fault::TooLarge, 0);
    if facts.chunked && lengths.count > 0 {
        // Both: the length is dropped, and so is the connection afterwards (section 6.3, as HAProxy does).
        facts.both_framings = true;
        facts.content_length = None;
        table.remove_known(Known::ContentLength);
    } else if let (Some(value), true) = (lengths.value, lengths.needs_rewrite) {
        table.remove_known(Known::ContentLength);
        let mut digits = [0; 20];
        table
            .insert_own(b"content-length", decimal(value, &mut digits))
            .map_err(no_room)?;
    }
    if codings.needs_rewrite {
        table.remove_known(Known::TransferEncoding);
        table
            .insert_own(b"transfer-encoding", b"chunked")
            .map_err(no_room)?;
    }
    Ok(())
}

/// Writes a number; returns its digits.
pub(super) fn decimal(mut value: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return &digits[start..];
        }
    }
}

/// All Content-Length lines of a message.
#[derive(Default)]
struct Lengths {
    count: u32,
    value: Option<u64>,
    /// It is not one line with one plain number.
    needs_rewrite: bool,
}

impl Lengths {
    /// Equal repetitions are one length, as RFC 9112 section 6.3 allows and HAProxy does; anything else is a fault.
    fn add(&mut self, value: &[u8], range: ByteRange) -> Result<(), HeadError> {
        if self.count == 0
            && let Some(number) = parse_length(value)
        {
            // As nearly always: one line with one number.
            self.value = Some(number);
            self.needs_rewrite = value.len() > 1 && value[0] == b'0';
            self.count = 1;
            return Ok(());
        }
        for item in value.split(|b| *b == b',') {
            let number = parse_length(item.trim_ascii())
                .filter(|number| self.value.is_none_or(|before| before == *number))
                .ok_or(HeadError::new(Fault::ContentLength, range.start as usize))?;
            self.needs_rewrite |= self.value.is_some();
            self.value = Some(number);
        }
        self.needs_rewrite |= value.len() > 1 && value[0] == b'0';
        self.count += 1;
        Ok(())
    }
}

/// Digits only, no sign, at most `BODY_BYTES_MAX`.
fn parse_length(digits: &[u8]) -> Option<u64> {
    /// So many nines fit.
    const SURE_DIGITS: usize = 18;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let (sure, rest) = digits.split_at(digits.len().min(SURE_DIGITS));
    let number = |value: u64, digit: &u8| value * 10 + u64::from(digit - b'0');
    let value = sure.iter().fold(0, number);
    rest.iter().try_fold(value, |value, digit| {
        value
            .checked_mul(10)?
            .checked_add(u64::from(digit - b'0'))
            .filter(|value| *value <= BODY_BYTES_MAX)
    })
}

/// All Transfer-Encoding lines of a message.
#[derive(Default)]
struct Codings {
    count: u32,
    needs_rewrite: bool,
}

impl Codings {
    /// One `chunked` and nothing else: HAProxy too refuses other codings, with 422 when `chunked` comes last.
    fn add(&mut self, value: &[u8], range: ByteRange, is_request: bool) -> Result<(), HeadError> {
        let mut error = HeadError::new(Fault::TransferEncoding, range.start as usize);
        if !value.eq_ignore_ascii_case(b"chunked") {
            let items = value.split(|b| *b == b',').count();
            let last = value.rsplit(|b| *b == b',').next().unwrap_or_default();
            if is_request && items > 1 && last.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                let first = value.split(|b| *b == b',').next().unwrap_or_default();
                let repeated = first.trim_ascii().eq_ignore_ascii_case(b"chunked");
                error.status = if repeated { 400 } else { 422 };
            }
            return Err(error);
        }
        if self.count > 0 {
            return Err(error);
        }
        self.count = 1;
        self.needs_rewrite = value != b"chunked";
        Ok(())
    }
}

pub(super) fn read_tokens(value: &[u8], tokens: &mut ConnectionTokens) {
    for token in list_items(value) {
        if token.eq_ignore_ascii_case(b"close") {
            tokens.close = true;
        } else if token.eq_ignore_ascii_case(b"keep-alive") {
            tokens.keep_alive = true;
        } else if token.eq_ignore_ascii_case(b"upgrade") {
            tokens.upgrade = true;
        } else if !token.is_empty() {
            tokens.others = true;
        }
    }
}

/// Remembers how much of a head was looked at, so that a head that comes in small pieces is not parsed again for each of them:
/// a new attempt is made only when the end of the head came, or the bytes doubled (so that a fault is still found early).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Guard {
    /// Bytes at the last attempt.
    tried: usize,
    /// Bytes that are searched for the end of the head.
    searched: usize,
}

impl Guard {
    /// Whether another attempt can tell anything new. `bytes` begin with the start line.
    pub fn is_worth_trying(&mut self, bytes: &[u8]) -> bool {
        if self.tried == 0 || bytes.len() >= self.tried.saturating_mul(2) || self.finds_end(bytes) {
            self.tried = bytes.len();
            self.searched = bytes.len();
            return true;
        }
        self.searched = bytes.len();
        false
    }

    fn finds_end(&self, bytes: &[u8]) -> bool {
        let from = self.searched.saturating_sub(2);
        let Some(fresh) = bytes.get(from..) else {
            return true;
        };
        fresh.windows(2).any(|pair| pair == b"\n\n")
            || fresh.windows(3).any(|three| three == b"\n\r\n")
    }
}

/// Offset of the first byte that is no CRLF or LF; `Err` for a CR with something else after it.
pub(super) fn skip_empty_lines(buffer: &[u8], from: usize) -> Result<usize, HeadError> {
    let mut at = from;
    loop {
        match (buffer.get(at), buffer.get(at + 1)) {
            (Some(b'\n'), _) => at += 1,
            (Some(b'\r'), Some(b'\n')) => at += 2,
            (Some(b'\r'), Some(_)) => return Err(HeadError::new(Fault::LineEnd, at + 1)),
            _ => return Ok(at),
        }
    }
}

/// Turns an error of `httparse` into one with a position: the faulty line is looked for again, which only refused messages
/// pay for.
pub(super) fn locate(
    error: httparse::Error,
    message: &[u8],
    offset: usize,
    is_request: bool,
    lines_max: usize,
) -> HeadError {
    let line_end = message
        .iter()
        .position(|b| *b == b'\n')
        .map_or(message.len(), |at| at + 1);
    let (start_line, lines) = message.split_at(line_end);
    let text = start_line.trim_ascii_end();
    let (fault, position) = match error {
        httparse::Error::NewLine if text.contains(&b'\r') => {
            let bare = text.iter().position(|byte| *byte == b'\r');
            (Fault::LineEnd, bare.unwrap_or(0) + 1)
        }
        httparse::Error::NewLine
            if is_request && !text.ends_with(b"/1.1") && !text.ends_with(b"/1.0") =>
        {
            locate_in_start_line(start_line, is_request)
        }
        httparse::Error::Token | httparse::Error::Version | httparse::Error::Status => {
            locate_in_start_line(start_line, is_request)
        }
        httparse::Error::NewLine if start_line.ends_with(b"\r\n") || start_line.is_empty() => {
            locate_in_lines(lines, line_end)
        }
        httparse::Error::NewLine => locate_in_start_line(start_line, is_request),
        httparse::Error::TooManyHeaders => {
            // The end of the first line that is too many.
            let lines = message
                .split_inclusive(|byte| *byte == b'\n')
                .take(lines_max + 2);
            (Fault::TooManyHeaders, lines.map(<[u8]>::len).sum())
        }
        httparse::Error::HeaderName | httparse::Error::HeaderValue => {
            locate_in_lines(lines, line_end)
        }
    };
    HeadError::new(fault, offset + position)
}

fn locate_in_start_line(line: &[u8], is_request: bool) -> (Fault, usize) {
    if !is_request {
        return locate_in_status_line(line);
    }
    let method = line.iter().take_while(|b| is_token(**b)).count();
    if method == 0 || line.get(method) != Some(&b' ') {
        return (Fault::Method, method);
    }
    let target = line[method + 1..]
        .iter()
        .take_while(|b| b.is_ascii_graphic())
        .count();
    let after = method + 1 + target;
    if target == 0 || line.get(after) != Some(&b' ') {
        return (Fault::Target, after);
    }
    let version = line[after + 1..]
        .iter()
        .zip(b"HTTP/1.1")
        .take_while(|(a, b)| a == b)
        .count();
    (Fault::Version, after + 1 + version)
}

/// `HTTP/1.1 200 OK`: the first byte that does not fit.
fn locate_in_status_line(line: &[u8]) -> (Fault, usize) {
    const CODE: usize = "HTTP/1.1 ".len();
    const REASON: usize = CODE + 3;
    let is_right = |at: usize, byte: u8| match at {
        0..7 => byte == b"HTTP/1."[at],
        7 => matches!(byte, b'0' | b'1'),
        8 => byte == b' ',
        CODE..REASON => byte.is_ascii_digit(),
        REASON => matches!(byte, b' ' | b'\r' | b'\n'),
        _ => byte >= b' ' && byte != 0x7f || matches!(byte, b'\t' | b'\r' | b'\n'),
    };
    let wrong = line
        .iter()
        .enumerate()
        .position(|(at, &byte)| !is_right(at, byte));
    match wrong.unwrap_or(line.len()) {
        at @ 0..CODE => (Fault::Version, at),
        at => (Fault::StatusLine, at),
    }
}

fn locate_in_lines(lines: &[u8], offset: usize) -> (Fault, usize) {
    let mut at = 0;
    for line in lines.split_inclusive(|b| *b == b'\n') {
        if let Some((fault, position)) = fault_in_line(line) {
            return (fault, offset + at + position);
        }
        at += line.len();
    }
    (Fault::LineEnd, offset + lines.len())
}

fn fault_in_line(line: &[u8]) -> Option<(Fault, usize)> {
    if matches!(line, b"\r\n" | b"\n" | b"\r") {
        return None;
    }
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Some((Fault::ObsoleteFold, 0));
    }
    let name = line.iter().take_while(|b| is_token(**b)).count();
    if name == 0 || line.get(name).is_some_and(|b| *b != b':') {
        let fault = if line.first() == Some(&b'\r') {
            Fault::LineEnd
        } else {
            Fault::HeaderName
        };
        return Some((fault, name));
    }
    let text = line
        .strip_suffix(b"\n")
        .map_or(line, |text| text.strip_suffix(b"\r").unwrap_or(text));
    let bad = text
        .iter()
        .position(|b| *b != b'\t' && (*b < b' ' || *b == 0x7f))?;
    // A CR may be the last byte received so far.
    match text[bad] {
        b'\r' if bad + 1 == line.len() => None,
        b'\r' => Some((Fault::LineEnd, bad + 1)),
        _ => Some((Fault::HeaderValue, bad)),
    }
}

/// A byte of a token (RFC 9110 section 5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
