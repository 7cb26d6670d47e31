//! Responses that are known before any request comes: error files, redirections, and the built-in pages (`reply`).
//!
//! A page is a whole message in one spelling: lower-case names, one line a field, no Connection, which each answer says anew
//! after looking at the client. On its way out it is parsed like any response, so what is done to responses is done to it.
//!
//! Invariants: what `Page::parse` accepted can be framed in one way; an empty page answers nothing.
//! Not here: files (`config`), which page a status gets (`stream::reply`).

use std::fmt;

use super::body::Framing;
use super::header::Known;
use super::method::{Asked, Method};
use super::response::{LOGGED_HEAD_BYTES, ResponseHead};
use super::{Parsed, Version};

/// Lines of a page's head.
const LINES_MAX: usize = 101;

/// Bytes of a page's head, as it is and with what is unfolded; the buffer sets a lower limit.
const HEAD_BYTES_MAX: usize = 1 << 20;

/// A response to be sent as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    bytes: Vec<u8>,
    head_bytes: usize,
    logged_head_bytes: usize,
    /// It says `Connection: close` itself.
    pub closes: bool,
}

/// Why a message is no page, in HAProxy's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageError {
    /// The head cannot be parsed: the offset of the fault, -2 where its end is missing.
    Head(i64),
    /// An interim response answers nothing.
    Status(u16),
    /// A status that has no body, with one.
    UnexpectedBody,
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The body is not as long as Content-Length says.
    Length {
        /// Bytes of the body.
        found: usize,
        /// What the head says.
        announced: u64,
    },
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PageError::Head(offset) => {
                write!(f, "unable to parse headers (error offset: {offset})")
            }
            PageError::Status(status) => {
                write!(
                    f,
                    "invalid http status code for an error message ({status})"
                )
            }
            PageError::UnexpectedBody => f.write_str("message payload not expected"),
            PageError::Chunked => f.write_str("chunk-encoded payload not supported"),
            PageError::Length { found, announced } => write!(
                f,
                "payload size does not match the announced content-length ({found} != {announced})"
            ),
        }
    }
}

impl Page {
    /// A page from a whole response message; an empty message is the page that answers nothing.
    ///
    /// # Errors
    /// What is wrong with the message.
    pub fn parse(message: &[u8]) -> Result<Page, PageError> {
        if message.is_empty() {
            return Ok(Page::default());
        }
        let asked = Asked {
            method: Method::Get,
            upgrade: false,
        };
        let mut head = ResponseHead::new(LINES_MAX, HEAD_BYTES_MAX);
        match head.parse(message, asked) {
            Ok(Parsed::Complete) => {}
            Ok(Parsed::Incomplete) => return Err(PageError::Head(-2)),
            Err(error) => return Err(PageError::Head(i64::from(error.position))),
        }
        if head.status < 200 {
            return Err(PageError::Status(head.status));
        }
        let body = message.get(head.end as usize..).unwrap_or_default();
        match head.framing {
            Framing::Chunked => return Err(PageError::Chunked),
            Framing::None if !body.is_empty() => return Err(PageError::UnexpectedBody),
            Framing::Length(announced) if announced != body.len() as u64 => {
                let found = body.len();
                return Err(PageError::Length { found, announced });
            }
            _ => {}
        }
        Ok(Page::spell(&head, message, body))
    }

    fn spell(head: &ResponseHead, message: &[u8], body: &[u8]) -> Page {
        let version: &[u8] = match head.version {
            Version::Http10 => b"HTTP/1.0 ",
            Version::Http11 => b"HTTP/1.1 ",
        };
        let reason = head.reason(message);
        let mut page = Page {
            bytes: version.to_vec(),
            head_bytes: 0,
            logged_head_bytes: LOGGED_HEAD_BYTES
                + "HTTP/1.1".len()
                + "200".len()
                + reason.len()
                + 1,
            closes: false,
        };
        page.bytes
            .extend_from_slice(format!("{} ", head.status).as_bytes());
        page.bytes.extend_from_slice(reason);
        page.bytes.extend_from_slice(b"\r\n");
        let lines = head.headers.lines().iter().filter(|line| !line.removed);
        for line in lines {
            let name = head.headers.name(line, message);
            let value = head.headers.value(line, message);
            page.logged_head_bytes += name.len() + value.len();
            if line.known == Known::Connection {
                page.closes |= head.connection.close;
                continue;
            }
            page.bytes.extend(name.iter().map(u8::to_ascii_lowercase));
            page.bytes.extend_from_slice(b": ");
            page.bytes.extend_from_slice(value);
            page.bytes.extend_from_slice(b"\r\n");
        }
        page.bytes.extend_from_slice(b"\r\n");
        page.head_bytes = page.bytes.len();
        page.bytes.extend_from_slice(body);
        page
    }

    /// `errorloc`: sends the client elsewhere, with 302 or 303.
    ///
    /// # Errors
    /// The location has a byte that no header value may have.
    pub fn redirection(status: u16, location: &str) -> Result<Page, PageError> {
        let reason = if status == 303 { "See Other" } else { "Found" };
        let message = format!(
            "HTTP/1.1 {status} {reason}\r\nCache-Control: no-cache\r\nContent-length: 0\r\nLocation: {location}\r\n\r\n"
        );
        Page::parse(message.as_bytes())
    }

    /// The page with one more line in its head, which is the concatenation of `parts`. `None`: it answers nothing.
    pub fn with_line(&self, parts: &[&[u8]]) -> Option<Page> {
        let head = self.bytes.get(..self.head_bytes)?.strip_suffix(b"\r\n")?;
        let line: usize = parts.iter().map(|part| part.len()).sum();
        let mut bytes = Vec::with_capacity(self.bytes.len() + line + 2);
        bytes.extend_from_slice(head);
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        bytes.extend_from_slice(b"\r\n\r\n");
        bytes.extend_from_slice(self.bytes.get(self.head_bytes..)?);
        Some(Page {
            bytes,
            head_bytes: self.head_bytes + line + 2,
            // Between name and value stand two bytes that logs do not count.
            logged_head_bytes: self.logged_head_bytes + line - 2,
            closes: self.closes,
        })
    }

    /// Whether it answers nothing: the connection is closed without a word.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The message as it goes out, without its body for a HEAD.
    pub fn message(&self, method: Method) -> &[u8] {
        match method {
            Method::Head => self.bytes.get(..self.head_bytes).unwrap_or_default(),
            _ => &self.bytes,
        }
    }

    /// Bytes of the head as logs count them.
    pub fn logged_head_bytes(&self) -> u64 {
        self.logged_head_bytes as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(message: &str) -> Result<String, String> {
        let page = Page::parse(message.as_bytes()).map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(page.message(Method::Get)).into_owned())
    }

    #[test]
    fn pages_are_spelled_in_one_way() {
        let check = |message: &str, expected: &str| {
            assert_eq!(text(message).as_deref(), Ok(expected), "{message:?}");
        };
        check("", "");
        check(
            "HTTP/1.0 503 Down\nX-A:  b \nConnection: close\n\nsorry\n",
            "HTTP/1.0 503 Down\r\nx-a: b\r\n\r\nsorry\n",
        );
        check("HTTP/1.1 503\r\n\r\n", "HTTP/1.1 503 \r\n\r\n");
        check(
            "HTTP/1.1 503 X\r\nFoo: b\r\n c\r\n\r\n",
            "HTTP/1.1 503 X\r\nfoo: b   c\r\n\r\n",
        );
    }

    #[test]
    fn what_is_no_page_is_refused_in_haproxys_words() {
        let check = |message: &str, expected: &str| {
            assert_eq!(text(message), Err(expected.to_owned()), "{message:?}");
        };
        check("junk", "unable to parse headers (error offset: 0)");
        check(
            "HTTP/1.1 503 X\r\n",
            "unable to parse headers (error offset: -2)",
        );
        check(
            "HTTP/1.1 503 X\r\nFoo : b\r\n\r\n",
            "unable to parse headers (error offset: 19)",
        );
        check(
            "HTTP/1.1 103 Early\r\n\r\n",
            "invalid http status code for an error message (103)",
        );
        check("HTTP/1.1 204 X\r\n\r\nabc", "message payload not expected");
        check(
            "HTTP/1.1 503 X\r\nContent-Length: 5\r\n\r\nabc",
            "payload size does not match the announced content-length (3 != 5)",
        );
        check(
            "HTTP/1.1 503 X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "chunk-encoded payload not supported",
        );
    }

    #[test]
    fn logs_count_a_page_as_haproxy_does() {
        let check = |message: &str, expected: u64| {
            assert_eq!(
                Page::parse(message.as_bytes()).unwrap().logged_head_bytes(),
                expected
            );
        };
        check(
            "HTTP/1.0 503 My Down\r\nCache-Control: no-cache\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n",
            97,
        );
        check("HTTP/1.1 503 X\r\n\r\n", 33);
    }
}
