//! What `option accept-invalid-http-request` and `-response` let through (configuration manual, the two options): header names with
//! any byte; in requests also targets with bytes above 127 and fragments, other protocol names, versions of several digits, HTTP/0.9.
//!
//! Whoever switches one on wants a broken program to be heard, not every reader to guess. So what frames a message is as strict
//! as ever, and these stay refused, which HAProxy 2.6 lets through:
//! - a name that a generous reader could take for one that frames or routes (`Content-Length :`, `transfer\x01-encoding`, `host\x0b`);
//! - CR and NUL in a name, a line that begins with a space (it reads as the end of the line before), a line without colon;
//! - Host at odds with the target, targets of a wrong form, versions that are no two numbers (`HTTP`, `HTTP/3`, `ICY`).
//!
//! A message of another version than 1.0 and 1.1 is taken as one of 1.0: nothing comes after it on its connections, and a request may
//! not have a Transfer-Encoding. A request keeps the version's name (who speaks RTSP means it), a response gets the one it is taken for.
//! One that is let through for its names or target tells where the first fault is ([`RequestHead::tolerated`]); as in HAProxy, a
//! version does not.
//!
//! Not here: whether the option is on. A message without fault never comes here.

use super::edit::Part;
use super::facts;
use super::fault::{Fault, HeadError};
use super::header::{Header, HeaderTable, Known};
use super::method::Method;
use super::range::ByteRange;
use super::request::RequestHead;
use super::response::ResponseHead;
use super::{Asked, Parsed, Version};

/// Longest version that is read.
const VERSION_BYTES_MAX: usize = 16;

/// Names that frame or route a message, or tell what happens to its connection.
const GUARDED: [&[u8]; 10] = [
    b"connection",
    b"content-length",
    b"expect",
    b"host",
    b"keep-alive",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
];

impl RequestHead {
    /// As `parse`, for a frontend with `option accept-invalid-http-request`.
    ///
    /// # Errors
    /// What is wrong beyond what the option lets through.
    pub fn parse_relaxed(&mut self, buffer: &[u8]) -> Result<Parsed, HeadError> {
        match self.parse(buffer) {
            Ok(Parsed::Incomplete) => {
                let line = first_line(buffer, self.start as usize);
                match line.map(|line| line.of(buffer)).map(words) {
                    Some([_, target, b""]) if !target.is_empty() => {
                        let none = HeadError::new(Fault::Version, self.start as usize);
                        self.read_relaxed(buffer, none)
                    }
                    _ => Ok(Parsed::Incomplete),
                }
            }
            Err(strict) => self.read_relaxed(buffer, strict),
            complete => complete,
        }
    }

    fn read_relaxed(&mut self, buffer: &[u8], strict: HeadError) -> Result<Parsed, HeadError> {
        let start = facts::skip_empty_lines(buffer, self.start as usize)?;
        self.start = start as u32;
        self.headers.clear();
        self.tolerated = None;
        let Some(line) = first_line(buffer, start) else {
            return wait_for_line(strict);
        };
        let [method, target, version] =
            words(line.of(buffer)).map(|word| ByteRange::locate(word, buffer));
        let fault = |fault, at: u32| Err(HeadError::new(fault, at as usize));
        let name = method.of(buffer);
        if let Some(bad) = name.iter().position(|byte| !facts::is_token(*byte)) {
            return fault(Fault::Method, method.start + bad as u32);
        }
        if name.is_empty() || target.is_empty() {
            return fault(Fault::Method, method.end);
        }
        let odd_in_target = |byte: &u8| *byte >= 0x80 || *byte == b'#';
        if let Some(bad) = target
            .of(buffer)
            .iter()
            .position(|byte| *byte <= b' ' || *byte == 0x7f)
        {
            return fault(Fault::Target, target.start + bad as u32);
        }
        if let Some(at) = target.of(buffer).iter().position(odd_in_target) {
            self.tolerated = Some(HeadError::new(Fault::Target, target.start as usize + at));
        }
        self.method = Method::of(name);
        self.client_method = self.method;
        (self.method_range, self.target_range) = (method, target);
        let end = next_line(line, buffer);
        if version.is_empty() {
            return self.take_simple(buffer, version, end);
        }
        self.version = match version.of(buffer) {
            b"HTTP/1.1" => Version::Http11,
            b"HTTP/1.0" => Version::Http10,
            other if is_version(other, false) => {
                self.is_odd_version = true;
                Version::Http10
            }
            _ => return fault(Fault::Version, version.start),
        };
        let Some(lines) = read_lines(&mut self.headers, buffer, end)? else {
            return Ok(Parsed::Incomplete);
        };
        self.end = lines.end as u32;
        self.tolerated = self.tolerated.or(lines.tolerated);
        self.headers.set_received(self.start, self.end, buffer);
        self.judge(buffer)?;
        Ok(Parsed::Complete)
    }

    /// `GET /path` and nothing else: a request of HTTP/0.9, which goes on as one of 1.0.
    fn take_simple(
        &mut self,
        buffer: &[u8],
        version: ByteRange,
        end: usize,
    ) -> Result<Parsed, HeadError> {
        if self.method != Method::Get {
            return Err(HeadError::new(Fault::Version, version.start as usize));
        }
        self.version = Version::Http10;
        self.is_odd_version = true;
        self.end = end as u32;
        self.headers.set_received(self.start, self.end, buffer);
        let (method, target) = (self.method_range, self.target_range);
        let parts = [
            Part::Old(method),
            Part::New(b" "),
            Part::Old(target),
            Part::New(b" HTTP/1.0\r\n"),
        ];
        let written = self.headers.write_start_line(buffer, parts);
        let (line, [method, _, target, _]) =
            written.map_err(|_| HeadError::new(Fault::TooLarge, end))?;
        self.headers.edited_start = Some(line);
        (self.method_range, self.target_range) = (method, target);
        self.judge(buffer)?;
        Ok(Parsed::Complete)
    }
}

impl ResponseHead {
    /// As `parse`, for a backend with `option accept-invalid-http-response`.
    ///
    /// # Errors
    /// What is wrong beyond what the option lets through.
    pub fn parse_relaxed(&mut self, buffer: &[u8], asked: Asked) -> Result<Parsed, HeadError> {
        match self.parse(buffer, asked) {
            Err(strict) => self
                .read_relaxed(buffer, asked, strict)
                .map_err(|error| HeadError {
                    status: 502,
                    ..error
                }),
            parsed => parsed,
        }
    }

    fn read_relaxed(
        &mut self,
        buffer: &[u8],
        asked: Asked,
        strict: HeadError,
    ) -> Result<Parsed, HeadError> {
        let start = facts::skip_empty_lines(buffer, self.start as usize)?;
        self.start = start as u32;
        self.headers.clear();
        self.tolerated = None;
        let Some(line) = first_line(buffer, start) else {
            return wait_for_line(strict);
        };
        let text = line.of(buffer);
        let version = text.split(|byte| *byte == b' ').next().unwrap_or_default();
        let rest = &text[version.len()..];
        let is_code = |code: &[u8]| code.iter().all(u8::is_ascii_digit) && code[0] != b'0';
        let code = rest.get(1..4).filter(|code| is_code(code));
        let reason = rest.get(4..).unwrap_or_default();
        let is_reason = reason.is_empty() || reason[0] == b' ';
        let is_text = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
        let (Some(code), true, true) = (code, is_reason, reason.iter().all(is_text)) else {
            return Err(strict);
        };
        let mut is_odd = false;
        self.version = match version {
            b"HTTP/1.1" => Version::Http11,
            b"HTTP/1.0" => Version::Http10,
            other if is_version(other, true) => {
                is_odd = true;
                Version::Http10
            }
            _ => return Err(strict),
        };
        self.status = code
            .iter()
            .fold(0, |value, digit| value * 10 + u16::from(digit - b'0'));
        self.received_status = self.status;
        let code_end = start + version.len() + 1 + code.len();
        self.code_end = code_end as u32;
        self.reason_range =
            ByteRange::new((code_end + 1).min(line.end as usize), line.end as usize);
        let Some(lines) = read_lines(&mut self.headers, buffer, next_line(line, buffer))? else {
            return Ok(Parsed::Incomplete);
        };
        self.end = lines.end as u32;
        self.tolerated = lines.tolerated;
        self.headers.set_received(self.start, self.end, buffer);
        if is_odd {
            self.speak_of_10(buffer, code_end - code.len())?;
        }
        self.judge(buffer, asked)?;
        Ok(Parsed::Complete)
    }

    /// The client is told the version that we take the response for.
    fn speak_of_10(&mut self, buffer: &[u8], code_start: usize) -> Result<(), HeadError> {
        let code = ByteRange::new(code_start, self.code_end as usize);
        let parts = [
            Part::New(b"HTTP/1.0 "),
            Part::Old(code),
            Part::New(b" "),
            Part::Old(self.reason_range),
            Part::New(b"\r\n"),
        ];
        let written = self.headers.write_start_line(buffer, parts);
        let (line, [.., reason, _]) =
            written.map_err(|_| HeadError::new(Fault::TooLarge, code_start))?;
        self.headers.edited_start = Some(line);
        self.reason_range = reason;
        Ok(())
    }
}

/// The line from `start` on, without its end; `None` while it is not there in full.
fn first_line(buffer: &[u8], start: usize) -> Option<ByteRange> {
    let rest = buffer.get(start..)?;
    let length = rest.iter().position(|byte| *byte == b'\n')?;
    let text = &rest[..length];
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    Some(ByteRange::new(start, start + text.len()))
}

/// Where the line after this one begins.
fn next_line(line: ByteRange, buffer: &[u8]) -> usize {
    let end = line.end as usize;
    end + if buffer.get(end) == Some(&b'\r') {
        2
    } else {
        1
    }
}

/// A first line that is not there in full: what is wrong with it may be what is let through.
fn wait_for_line(strict: HeadError) -> Result<Parsed, HeadError> {
    match strict.fault {
        Fault::Target | Fault::Version => Ok(Parsed::Incomplete),
        _ => Err(strict),
    }
}

/// The words of a request line. The third has all the rest, so that more than three are no version.
fn words(line: &[u8]) -> [&[u8]; 3] {
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let end = &line[line.len()..];
    [(); 3].map(|()| words.next().unwrap_or(end))
}

/// `RTSP/1.0`, `HTTP/1.10`: capitals, and two numbers. `HTTP/2.0` and the like are no oddities but what they say: not spoken here.
fn is_version(text: &[u8], must_be_http: bool) -> bool {
    let Some(slash) = text.iter().position(|byte| *byte == b'/') else {
        return false;
    };
    let (name, numbers) = (&text[..slash], &text[slash + 1..]);
    let is_other_http = name == b"HTTP" && numbers.len() == "1.1".len();
    let mut numbers = numbers.split(|byte| *byte == b'.');
    let is_number = |number: &&[u8]| !number.is_empty() && number.iter().all(u8::is_ascii_digit);
    text.len() <= VERSION_BYTES_MAX
        && !name.is_empty()
        && !is_other_http
        && name.iter().all(u8::is_ascii_uppercase)
        && (!must_be_http || name == b"HTTP")
        && numbers.next().as_ref().is_some_and(is_number)
        && numbers.next().as_ref().is_some_and(is_number)
        && numbers.next().is_none()
}

struct Lines {
    /// Offset after the empty line.
    end: usize,
    tolerated: Option<HeadError>,
}

/// Reads header lines from `from` to the empty line; `None` while that is not there.
fn read_lines(
    table: &mut HeaderTable,
    buffer: &[u8],
    from: usize,
) -> Result<Option<Lines>, HeadError> {
    let mut at = from;
    let mut tolerated = None;
    loop {
        let Some(line) = first_line(buffer, at) else {
            return Ok(None);
        };
        let next = next_line(line, buffer);
        if line.is_empty() {
            return Ok(Some(Lines {
                end: next,
                tolerated,
            }));
        }
        if table.lines().len() >= table.received_max() {
            return Err(HeadError::new(Fault::TooManyHeaders, at));
        }
        let (header, odd) = read_line(buffer, line)?;
        tolerated = tolerated.or(odd.map(|odd| HeadError::new(Fault::HeaderName, odd)));
        table.push_received(Header {
            line_end: next as u32,
            bare_lf: next - line.end as usize == 1,
            ..header
        });
        at = next;
    }
}

/// A header line, and the first byte of its name that belongs in none.
fn read_line(buffer: &[u8], line: ByteRange) -> Result<(Header, Option<usize>), HeadError> {
    let (start, text) = (line.start as usize, line.of(buffer));
    let fault = |fault, at| Err(HeadError::new(fault, start + at));
    if matches!(text[0], b' ' | b'\t') {
        return fault(Fault::ObsoleteFold, 0);
    }
    let odd = text.iter().position(|byte| !facts::is_token(*byte));
    let Some(colon) = text
        .iter()
        .position(|byte| *byte == b':')
        .filter(|colon| *colon > 0)
    else {
        return fault(Fault::HeaderName, odd.unwrap_or(text.len()));
    };
    let odd = odd.filter(|odd| *odd < colon);
    let name = &text[..colon];
    if let Some(odd) = odd
        && (name.iter().any(|byte| matches!(byte, b'\r' | 0)) || resembles_guarded(name))
    {
        return fault(Fault::HeaderName, odd);
    }
    let value = &text[colon + 1..];
    let is_bad = |byte: &u8| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f;
    match value.iter().position(is_bad) {
        Some(bad) if value[bad] == b'\r' => return fault(Fault::LineEnd, colon + 1 + bad + 1),
        Some(bad) => return fault(Fault::HeaderValue, colon + 1 + bad),
        None => {}
    }
    let header = Header {
        name: ByteRange::new(start, start + colon),
        value: ByteRange::locate(value.trim_ascii(), buffer),
        known: Known::of(name),
        ..Header::default()
    };
    Ok((header, odd.map(|odd| start + odd)))
}

/// Whether a reader that leaves out, or ends a name at, or takes for something else, bytes that belong in no name, could read
/// one of the guarded names somewhere in this one.
fn resembles_guarded(name: &[u8]) -> bool {
    let is_boundary = |at: &usize| *at == 0 || !facts::is_token(name[*at - 1]);
    let mut starts = (0..name.len()).filter(is_boundary);
    starts.any(|start| GUARDED.iter().any(|word| begins_with(&name[start..], word)))
}

/// Whether `name` begins with `word`, where each run of bytes that belong in no name may stand for one byte, or none.
fn begins_with(name: &[u8], word: &[u8]) -> bool {
    match (name.split_first(), word.split_first()) {
        (None, None) => true,
        (Some((byte, _)), None) => !facts::is_token(*byte),
        (None, Some(_)) => false,
        (Some((byte, name)), Some((wanted, word))) if facts::is_token(*byte) => {
            byte.eq_ignore_ascii_case(wanted) && begins_with(name, word)
        }
        (Some(_), Some((_, rest))) => {
            let run = name
                .iter()
                .take_while(|byte| !facts::is_token(**byte))
                .count();
            begins_with(&name[run..], word) || begins_with(&name[run..], rest)
        }
    }
}
