//! Codec of the text lines that open a session: the dialler's hello and the acceptor's status.
//!
//! ```text
//! HAProxyS 2.1\n<name of the peer dialled>\n<name of the dialler> <pid> <relative pid> burdock/1\n        200\n
//! ```
//! Lines are judged as they arrive, in their order. Not here: who is a member (`group`).

/// Longest hello that is waited for; an endless line is closed upon without a status.
pub const HELLO_BYTES_MAX: usize = 16384;
/// Longest status line that is waited for.
pub const STATUS_BYTES_MAX: usize = 256;
/// Newest minor version that is spoken; 2.1 has timed updates, 2.0 has not.
pub const MINOR_VERSION: u8 = 1;

const GREETING: &[u8] = b"HAProxyS ";
const EXTENSION: &[u8] = b"burdock/";

/// The acceptor's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Established.
    Accepted,
    /// The local peer has a session already: try again later.
    TryAgain,
    /// Not a hello.
    Protocol,
    /// A version that is not spoken.
    Version,
    /// The peer dialled is not this one.
    LocalName,
    /// The dialler is no member.
    RemoteName,
    /// A number without a meaning; never sent.
    Other(u32),
}

impl Status {
    /// The number on the wire.
    pub fn code(self) -> u32 {
        match self {
            Status::Accepted => 200,
            Status::TryAgain => 300,
            Status::Protocol => 501,
            Status::Version => 502,
            Status::LocalName => 503,
            Status::RemoteName => 504,
            Status::Other(code) => code,
        }
    }

    fn from_code(code: u32) -> Status {
        match code {
            200 => Status::Accepted,
            300 => Status::TryAgain,
            501 => Status::Protocol,
            502 => Status::Version,
            503 => Status::LocalName,
            504 => Status::RemoteName,
            code => Status::Other(code),
        }
    }
}

/// A hello that names this peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Minor version that the dialler speaks.
    pub minor: u8,
    /// Name of the dialler.
    pub name: Vec<u8>,
    /// Its process.
    pub pid: Option<u32>,
    /// Version of the extension that it offers; see `wire::extension`.
    pub extension: Option<u32>,
}

/// What the bytes of a hello amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HelloStep {
    /// So far so good.
    Incomplete,
    /// To be answered with this status; the text says why.
    Refused(Status, String),
    /// No hello, not worth a status.
    TooLong,
    /// Complete; so many bytes of it.
    Complete(Hello, usize),
}

/// Judges the bytes received so far.
pub fn decode_hello(bytes: &[u8], local_name: &str) -> HelloStep {
    let mut rest = bytes;
    let Some(greeting) = next_line(&mut rest) else {
        return incomplete(bytes);
    };
    let Some(version) = greeting.strip_prefix(GREETING) else {
        let text = "it does not speak the peers protocol".to_string();
        return HelloStep::Refused(Status::Protocol, text);
    };
    let Some(minor) = minor_version(version) else {
        let text = format!("it speaks version {}", version.escape_ascii());
        return HelloStep::Refused(Status::Version, text);
    };
    let Some(dialled) = next_line(&mut rest) else {
        return incomplete(bytes);
    };
    if dialled != local_name.as_bytes() {
        let text = format!(
            "it asked for peer '{}', this is '{local_name}'",
            short(dialled)
        );
        return HelloStep::Refused(Status::LocalName, text);
    }
    let Some(dialler) = next_line(&mut rest) else {
        return incomplete(bytes);
    };
    let Some(space) = dialler.iter().position(|&byte| byte == b' ') else {
        let text = "its hello names no process".to_string();
        return HelloStep::Refused(Status::Protocol, text);
    };
    let hello = Hello {
        minor,
        name: dialler[..space].to_vec(),
        pid: leading_number(&dialler[space + 1..]),
        extension: extension(&dialler[space + 1..]),
    };
    HelloStep::Complete(hello, bytes.len() - rest.len())
}

/// A name as it may stand in a message: escaped, and not longer than it is useful.
pub fn short(name: &[u8]) -> String {
    let shown = &name[..name.len().min(64)];
    let more = if shown.len() < name.len() { "…" } else { "" };
    format!("{}{more}", shown.escape_ascii())
}

fn incomplete(bytes: &[u8]) -> HelloStep {
    if bytes.len() >= HELLO_BYTES_MAX {
        HelloStep::TooLong
    } else {
        HelloStep::Incomplete
    }
}

fn next_line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|&byte| byte == b'\n')?;
    let line = &rest[..end];
    *rest = &rest[end + 1..];
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}

/// `digits.digits`, leading zeros allowed; the minor version if it is one of ours.
fn minor_version(version: &[u8]) -> Option<u8> {
    let version = std::str::from_utf8(version).ok()?;
    let (major, minor) = version.split_once('.')?;
    let number = |digits: &str| {
        let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        all_digits.then(|| digits.parse::<u32>().ok()).flatten()
    };
    let minor = number(minor)?;
    (number(major)? == 2 && minor <= u32::from(MINOR_VERSION)).then_some(minor as u8)
}

fn leading_number(text: &[u8]) -> Option<u32> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&text[..digits]).ok()?.parse().ok()
}

/// The last word of a hello that offers the extension.
fn extension(words: &[u8]) -> Option<u32> {
    let word = words.rsplit(|&byte| byte == b' ').next()?;
    leading_number(word.strip_prefix(EXTENSION)?)
}

/// The same hello with the offer to speak the extension, in a place that everybody else ignores.
pub fn offer_extension(mut hello: Vec<u8>) -> Vec<u8> {
    hello.pop();
    hello.push(b' ');
    hello.extend_from_slice(EXTENSION);
    hello.extend_from_slice(format!("{}\n", super::wire::extension::VERSION).as_bytes());
    hello
}

/// The hello of `local_name` to `remote_name`.
pub fn encode_hello(minor: u8, remote_name: &str, local_name: &str, pid: u32) -> Vec<u8> {
    format!("HAProxyS 2.{minor}\n{remote_name}\n{local_name} {pid} 1\n").into_bytes()
}

/// What the bytes of a status line amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusStep {
    /// The line is not complete.
    Incomplete,
    /// It is no status line.
    Malformed,
    /// The status, and how many bytes the line took.
    Complete(Status, usize),
}

/// Judges the bytes that the acceptor sent so far.
pub fn decode_status(bytes: &[u8]) -> StatusStep {
    let mut rest = &bytes[..bytes.len().min(STATUS_BYTES_MAX)];
    let scanned = rest.len();
    let Some(line) = next_line(&mut rest) else {
        return if scanned == STATUS_BYTES_MAX {
            StatusStep::Malformed
        } else {
            StatusStep::Incomplete
        };
    };
    match leading_number(line) {
        Some(code) => StatusStep::Complete(Status::from_code(code), scanned - rest.len()),
        None => StatusStep::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_of(hello: &str) -> Option<u32> {
        match decode_hello(hello.as_bytes(), "me") {
            HelloStep::Refused(status, _) => Some(status.code()),
            HelloStep::Complete(..) => Some(200),
            HelloStep::Incomplete | HelloStep::TooLong => None,
        }
    }

    #[test]
    fn judges_each_line_as_it_arrives() {
        let check = |hello: &str, expected| assert_eq!(status_of(hello), expected, "{hello:?}");
        check("HAProxyS 2.1\nme\nyou 1 1\n", Some(200));
        check("HAProxyS 2.1\r\nme\r\nyou 1 1\r\n", Some(200));
        check("HAProxyS 2.0\nme\nyou \n", Some(200));
        check("HAProxyS 02.01\nme\nyou x\n", Some(200));
        check("HAProxyS 2.1\nme\nyou 1 1", None);
        check("haproxys 2.1\n", Some(501));
        check("HAProxyS\n", Some(501));
        check("\n", Some(501));
        check("HAProxyS 2.2\n", Some(502));
        check("HAProxyS 2\n", Some(502));
        check("HAProxyS 2.1 \n", Some(502));
        check("HAProxyS 3.0\n", Some(502));
        check("HAProxyS 1.0\n", Some(502));
        check("HAProxyS 2.99999999999\n", Some(502));
        check("HAProxyS 2.1\nother\n", Some(503));
        check("HAProxyS 2.1\nme\nyou\n", Some(501));
    }

    #[test]
    fn takes_the_hello_off_what_follows() {
        let bytes = b"HAProxyS 2.0\nme\nyou 4711 1\n\x00\x04";
        let HelloStep::Complete(hello, consumed) = decode_hello(bytes, "me") else {
            panic!();
        };
        assert_eq!(
            (hello.minor, hello.pid, consumed),
            (0, Some(4711), bytes.len() - 2)
        );
        assert_eq!(hello.name, b"you");
        assert_eq!(
            decode_hello(&[b'x'; HELLO_BYTES_MAX], "me"),
            HelloStep::TooLong
        );
    }

    #[test]
    fn reads_a_status() {
        let check = |bytes: &[u8], expected| assert_eq!(decode_status(bytes), expected);
        check(b"200\n\x00\x00", StatusStep::Complete(Status::Accepted, 4));
        check(b"504\r\n", StatusStep::Complete(Status::RemoteName, 5));
        check(b"999 what\n", StatusStep::Complete(Status::Other(999), 9));
        check(b"20", StatusStep::Incomplete);
        check(b"no\n", StatusStep::Malformed);
        check(&[b'2'; 400], StatusStep::Malformed);
    }

    #[test]
    fn our_hello_is_one() {
        let plain = encode_hello(1, "me", "you", 12);
        let offering = offer_extension(plain.clone());
        assert_eq!(offering, b"HAProxyS 2.1\nme\nyou 12 1 burdock/1\n");
        let HelloStep::Complete(hello, _) = decode_hello(&offering, "me") else {
            panic!("an offer is a hello");
        };
        assert_eq!((hello.pid, hello.extension), (Some(12), Some(1)));
        let hello = plain;
        let HelloStep::Complete(hello, _) = decode_hello(&hello, "me") else {
            panic!();
        };
        assert_eq!((hello.name, hello.pid), (b"you".to_vec(), Some(12)));
    }
}
