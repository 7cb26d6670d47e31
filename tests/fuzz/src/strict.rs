//! A slow, strict reader of HTTP/1 messages, written from RFC 9110 and RFC 9112 alone: what it accepts can be read in one way.
//! It shares nothing with `src/http`, so that the two can be held against each other.
//!
//! It takes only what a sender may generate: CRLF line ends, no folding, one framing, no chunk extensions.

/// A message as read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The words of the start line: method, target and version, or version, code and reason.
    pub start: [Vec<u8>; 3],
    /// Names in lower case, and values.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The data.
    pub body: Vec<u8>,
    /// Fields after the body.
    pub trailers: Vec<(Vec<u8>, Vec<u8>)>,
    /// Bytes of the whole message.
    pub length: usize,
    /// It lasts until the connection is closed.
    pub is_until_close: bool,
}

impl Message {
    /// Values of a header.
    pub fn values(&self, name: &str) -> Vec<&[u8]> {
        let wanted = self
            .headers
            .iter()
            .filter(|(other, _)| other == name.as_bytes());
        wanted.map(|(_, value)| value.as_slice()).collect()
    }
}

/// What a reader makes of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// A message.
    Whole(Message),
    /// The beginning of one.
    Partial,
    /// What no sender may generate.
    Refused(&'static str),
}

enum Fail {
    Partial,
    Refused(&'static str),
}

type Found<T> = Result<T, Fail>;

fn refuse<T>(why: &'static str) -> Found<T> {
    Err(Fail::Refused(why))
}

fn whole(found: Found<Message>) -> Read {
    match found {
        Ok(message) => Read::Whole(message),
        Err(Fail::Partial) => Read::Partial,
        Err(Fail::Refused(why)) => Read::Refused(why),
    }
}

/// Reads the request at the start of `bytes`.
pub fn read_request(bytes: &[u8]) -> Read {
    whole(request(bytes))
}

/// Reads the response at the start of `bytes`, the answer to `method`. `is_closed`: nothing follows.
pub fn read_response(bytes: &[u8], method: &[u8], is_closed: bool) -> Read {
    whole(response(bytes, method, is_closed))
}

fn request(bytes: &[u8]) -> Found<Message> {
    let mut message = Message::default();
    let mut at = 0;
    let line = take_line(bytes, &mut at)?;
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = words[..] else {
        return refuse("a request line is three words");
    };
    if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) {
        return refuse("method");
    }
    let is_target_byte = |byte: &u8| byte.is_ascii_graphic() && *byte != b'#';
    if target.is_empty() || !target.iter().all(is_target_byte) {
        return refuse("target");
    }
    let is_form = match (method, target[0]) {
        (b"CONNECT", first) => first != b'/' && target.contains(&b':'),
        (_, b'/') => true,
        (b"OPTIONS", b'*') => target == b"*",
        _ => target.windows(3).any(|three| three == b"://"),
    };
    if !is_form {
        return refuse("form of the target");
    }
    if version != b"HTTP/1.1" && version != b"HTTP/1.0" {
        return refuse("version");
    }
    message.start = [method, target, version].map(<[u8]>::to_vec);
    message.headers = take_fields(bytes, &mut at)?;
    let hosts = message.values("host").len();
    if hosts > 1 || (version == b"HTTP/1.1" && hosts == 0) {
        return refuse("Host");
    }
    match framing(&message, version)? {
        Framing::Nothing => {}
        Framing::Length(length) => take_data(bytes, &mut at, length, &mut message)?,
        Framing::Chunks => take_chunks(bytes, &mut at, &mut message)?,
    }
    message.length = at;
    Ok(message)
}

fn response(bytes: &[u8], method: &[u8], is_closed: bool) -> Found<Message> {
    let mut message = Message::default();
    let mut at = 0;
    let line = take_line(bytes, &mut at)?;
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let (Some(version), Some(code), Some(reason)) = (words.next(), words.next(), words.next())
    else {
        return refuse("a status line is three words, of which the last may be empty");
    };
    if version != b"HTTP/1.1" && version != b"HTTP/1.0" {
        return refuse("version");
    }
    let is_code = code.len() == 3 && code.iter().all(u8::is_ascii_digit) && code[0] != b'0';
    if !is_code {
        return refuse("status code");
    }
    if !reason.iter().all(|byte| is_text(*byte)) {
        return refuse("reason");
    }
    message.start = [version, code, reason].map(<[u8]>::to_vec);
    message.headers = take_fields(bytes, &mut at)?;
    let is_interim = code[0] == b'1';
    let is_tunnel = code == b"101" || (method == b"CONNECT" && code[0] == b'2');
    let framing = framing(&message, version)?;
    if is_interim || code == b"204" || is_tunnel {
        if !matches!(framing, Framing::Nothing) {
            return refuse("framing where there is no body");
        }
        message.length = at;
        return Ok(message);
    }
    if method == b"HEAD" || code == b"304" {
        message.length = at;
        return Ok(message);
    }
    match framing {
        Framing::Length(length) => take_data(bytes, &mut at, length, &mut message)?,
        Framing::Chunks => take_chunks(bytes, &mut at, &mut message)?,
        Framing::Nothing => {
            message.is_until_close = true;
            message.body = bytes[at..].to_vec();
            at = bytes.len();
            if !is_closed {
                return Err(Fail::Partial);
            }
        }
    }
    message.length = at;
    Ok(message)
}

enum Framing {
    Nothing,
    Length(usize),
    Chunks,
}

fn framing(message: &Message, version: &[u8]) -> Found<Framing> {
    let codings = message.values("transfer-encoding");
    let lengths = message.values("content-length");
    match (&codings[..], &lengths[..]) {
        ([], []) => Ok(Framing::Nothing),
        ([coding], []) => {
            if version == b"HTTP/1.0" {
                return refuse("Transfer-Encoding in HTTP/1.0");
            }
            if !coding.eq_ignore_ascii_case(b"chunked") {
                return refuse("transfer coding");
            }
            Ok(Framing::Chunks)
        }
        ([], [length]) => {
            let text = std::str::from_utf8(length).unwrap_or_default();
            if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
                return refuse("Content-Length");
            }
            if text.len() > 1 && text.starts_with('0') {
                return refuse("Content-Length with leading zeros, which some read as octal");
            }
            match text.parse::<i64>() {
                Ok(length) => Ok(Framing::Length(
                    usize::try_from(length).unwrap_or(usize::MAX),
                )),
                Err(_) => refuse("Content-Length that overflows"),
            }
        }
        _ => refuse("framed twice"),
    }
}

fn take_line<'a>(bytes: &'a [u8], at: &mut usize) -> Found<&'a [u8]> {
    let rest = &bytes[*at..];
    let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
        return Err(Fail::Partial);
    };
    let Some(line) = rest[..end].strip_suffix(b"\r") else {
        return refuse("a line that ends with a bare LF");
    };
    if line.contains(&b'\r') {
        return refuse("a bare CR");
    }
    *at += end + 1;
    Ok(line)
}

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fn take_fields(bytes: &[u8], at: &mut usize) -> Found<Fields> {
    let mut fields = Vec::new();
    loop {
        let line = take_line(bytes, at)?;
        if line.is_empty() {
            return Ok(fields);
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return refuse("a field without a colon");
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
            return refuse("name of a field");
        }
        if !value.iter().all(|byte| is_text(*byte)) {
            return refuse("value of a field");
        }
        let is_space = |byte: &u8| *byte == b' ' || *byte == b'\t';
        let start = value.iter().take_while(|byte| is_space(byte)).count();
        let end = value.len() - value.iter().rev().take_while(|byte| is_space(byte)).count();
        let value = value.get(start..end).unwrap_or_default();
        fields.push((name.to_ascii_lowercase(), value.to_vec()));
    }
}

fn take_data(bytes: &[u8], at: &mut usize, length: usize, message: &mut Message) -> Found<()> {
    let rest = &bytes[*at..];
    if rest.len() < length {
        return Err(Fail::Partial);
    }
    message.body.extend_from_slice(&rest[..length]);
    *at += length;
    Ok(())
}

fn take_chunks(bytes: &[u8], at: &mut usize, message: &mut Message) -> Found<()> {
    loop {
        let line = take_line(bytes, at)?;
        if line.is_empty() || line.len() > 16 || !line.iter().all(u8::is_ascii_hexdigit) {
            return refuse("chunk size");
        }
        let text = std::str::from_utf8(line).unwrap_or_default();
        let Ok(size) = usize::from_str_radix(text, 16) else {
            return refuse("chunk size that overflows");
        };
        if size == 0 {
            message.trailers = take_fields(bytes, at)?;
            return Ok(());
        }
        take_data(bytes, at, size, message)?;
        if bytes.len() < *at + 2 {
            return Err(Fail::Partial);
        }
        if bytes[*at..*at + 2] != *b"\r\n" {
            return refuse("data that is longer than its chunk");
        }
        *at += 2;
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Visible, obs-text, space or tab.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}
