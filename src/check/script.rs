//! What a check says and expects, and one run of it: bytes and ends in, a verdict out. No socket, no clock.
//!
//! ```text
//!   new ──on_connected──▶ (Connect: verdict) or talking: `output` is to be sent, `on_bytes` with all bytes received so far
//!                         until a verdict; `on_end` when the server closes, `on_error`, `on_timeout` at any time.
//! ```

use crate::backend::CheckStatus;
use crate::config::model::{ExpectWhat, HttpCheck, HttpExpect};
use crate::http::{Asked, BodyDecoder, BodyForm, Framing, Method, Parsed, ResponseHead};

/// Header lines of a response that a check reads.
const HEADERS_MAX: usize = 101;

/// Room for what parsing rewrites of a response.
const SCRATCH_BYTES: usize = 4096;

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The result.
    pub status: CheckStatus,
    /// Status code of the response, if the verdict depends on it.
    pub code: Option<u16>,
    /// More about it: `info` in logs, `last_chk`.
    pub detail: String,
}

impl Verdict {
    fn new(status: CheckStatus) -> Verdict {
        Verdict {
            status,
            code: None,
            detail: String::new(),
        }
    }

    pub(super) fn with_detail(status: CheckStatus, detail: impl Into<String>) -> Verdict {
        Verdict {
            detail: detail.into(),
            ..Verdict::new(status)
        }
    }

    /// Whether the server is fine.
    pub fn passed(&self) -> bool {
        matches!(
            self.status,
            CheckStatus::Layer4Passed | CheckStatus::Layer7Passed
        )
    }
}

/// What a check does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Script {
    /// A connection that stands is enough.
    Connect,
    /// `option httpchk`.
    Http {
        /// The request's bytes.
        request: Vec<u8>,
        /// Its method, on which the response's framing depends.
        method: Method,
        /// `http-check expect`; `None`: 2xx and 3xx pass.
        expect: Option<HttpExpect>,
    },
}

impl Script {
    /// What `option httpchk` and `http-check` ask for; without them a connection is enough.
    pub fn new(spec: Option<&HttpCheck>) -> Script {
        match spec {
            None => Script::Connect,
            Some(spec) => Script::Http {
                request: request_bytes(spec),
                method: Method::of(spec.method.as_bytes()),
                expect: spec.expect.clone(),
            },
        }
    }
}

/// The request as HAProxy writes it: header names in lower case, `content-length` with a body, `connection: close` in HTTP/1.1.
fn request_bytes(spec: &HttpCheck) -> Vec<u8> {
    let mut text = format!("{} {} {}\r\n", spec.method, spec.uri, spec.version);
    for (name, value) in &spec.headers {
        // These two are ours to say, whatever the configuration has.
        if !["connection", "content-length", "transfer-encoding"]
            .contains(&name.to_ascii_lowercase().as_str())
        {
            text.push_str(&format!("{}: {value}\r\n", name.to_ascii_lowercase()));
        }
    }
    if !spec.body.is_empty() {
        text.push_str(&format!("content-length: {}\r\n", spec.body.len()));
    }
    if spec.version != "HTTP/1.0" {
        text.push_str("connection: close\r\n");
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(&spec.body);
    bytes
}

/// One run of a script.
#[derive(Debug)]
pub struct Run {
    is_connected: bool,
    sent: usize,
    head: Option<Box<ResponseHead>>,
    head_is_complete: bool,
    /// The body, when the script wants to look into it: its decoder, bytes of the buffer that went into it, its data.
    decoder: BodyDecoder,
    taken: usize,
    body: Vec<u8>,
}

impl Default for Run {
    fn default() -> Self {
        Run {
            is_connected: false,
            sent: 0,
            head: None,
            head_is_complete: false,
            decoder: BodyDecoder::new(Framing::None, BodyForm::DataOnly),
            taken: 0,
            body: Vec::new(),
        }
    }
}

impl Run {
    /// Whether the connection stands.
    pub fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// The connection stands.
    pub fn on_connected(&mut self, script: &Script) -> Option<Verdict> {
        self.is_connected = true;
        match script {
            Script::Connect => Some(Verdict::new(CheckStatus::Layer4Passed)),
            Script::Http { .. } => None,
        }
    }

    /// What is still to be sent.
    pub fn output<'a>(&self, script: &'a Script) -> &'a [u8] {
        match script {
            Script::Connect => &[],
            Script::Http { request, .. } => request.get(self.sent..).unwrap_or_default(),
        }
    }

    /// `count` bytes of the output were sent.
    pub fn on_sent(&mut self, count: usize) {
        self.sent += count;
    }

    /// `bytes` is everything received so far; `is_full` when no more can be received.
    pub fn on_bytes(&mut self, script: &Script, bytes: &[u8], is_full: bool) -> Option<Verdict> {
        let Script::Http { method, expect, .. } = script else {
            return None;
        };
        if !self.head_is_complete {
            let head = self
                .head
                .get_or_insert_with(|| Box::new(ResponseHead::new(HEADERS_MAX, SCRATCH_BYTES)));
            let asked = Asked {
                method: *method,
                upgrade: false,
            };
            match head.parse(bytes, asked) {
                Ok(Parsed::Complete) => {}
                Ok(Parsed::Incomplete) if !is_full => return None,
                Ok(Parsed::Incomplete) | Err(_) => {
                    return Some(Verdict::new(CheckStatus::Layer7Invalid));
                }
            }
            self.head_is_complete = true;
            self.decoder = BodyDecoder::new(head.framing, BodyForm::DataOnly);
            self.taken = head.end as usize;
        }
        match expect.as_ref().map(|expect| (expect, &expect.what)) {
            Some((expect, ExpectWhat::String(text))) => {
                self.judge_body(expect.negate, text, bytes, is_full)
            }
            _ => self.judge_status(expect.as_ref(), bytes),
        }
    }

    fn judge_status(&self, expect: Option<&HttpExpect>, bytes: &[u8]) -> Option<Verdict> {
        let head = self.head.as_ref()?;
        let passed = match expect {
            Some(HttpExpect {
                negate,
                what: ExpectWhat::Status(ranges),
            }) => {
                ranges
                    .iter()
                    .any(|(low, high)| (*low..=*high).contains(&head.status))
                    != *negate
            }
            _ => (200..400).contains(&head.status),
        };
        let (status, detail) = if passed {
            (CheckStatus::Layer7Passed, String::new())
        } else {
            let reason = String::from_utf8_lossy(head.reason(bytes)).into_owned();
            (CheckStatus::Layer7WrongStatus, reason)
        };
        Some(Verdict {
            status,
            code: Some(head.status),
            detail,
        })
    }

    fn judge_body(
        &mut self,
        negate: bool,
        text: &[u8],
        bytes: &[u8],
        is_full: bool,
    ) -> Option<Verdict> {
        let mut is_over = is_full;
        loop {
            let fresh = bytes.get(self.taken..).unwrap_or_default();
            let Ok(progress) = self.decoder.advance(fresh) else {
                return Some(Verdict::new(CheckStatus::Layer7Invalid));
            };
            for range in progress.forward() {
                self.body.extend_from_slice(range.of(fresh));
            }
            self.taken += progress.consumed;
            is_over |= progress.complete;
            if !progress.is_full() {
                break;
            }
        }
        let found = text.is_empty() || self.body.windows(text.len()).any(|window| window == text);
        (found || is_over).then(|| self.body_verdict(found, negate))
    }

    fn body_verdict(&self, found: bool, negate: bool) -> Verdict {
        if found != negate {
            Verdict {
                code: self.head.as_ref().map(|head| head.status),
                ..Verdict::new(CheckStatus::Layer7Passed)
            }
        } else if negate {
            Verdict::with_detail(
                CheckStatus::Layer7Invalid,
                "HTTP check matched unwanted content",
            )
        } else {
            Verdict::with_detail(
                CheckStatus::Layer7Invalid,
                "HTTP content check did not match",
            )
        }
    }

    /// The server closed; `bytes` is everything it sent.
    pub fn on_end(&mut self, script: &Script, bytes: &[u8]) -> Verdict {
        if !bytes.is_empty()
            && let Some(verdict) = self.on_bytes(script, bytes, true)
        {
            return verdict;
        }
        Verdict::new(CheckStatus::Layer7Invalid)
    }

    /// The connection failed: `error` in the system's words.
    pub fn on_error(&self, error: &str) -> Verdict {
        let status = if self.is_connected {
            CheckStatus::SocketError
        } else {
            CheckStatus::Layer4Problem
        };
        Verdict::with_detail(status, error)
    }

    /// The time for connecting, or for the answer, is over.
    pub fn on_timeout(&self) -> Verdict {
        Verdict::new(if self.is_connected {
            CheckStatus::Layer7Timeout
        } else {
            CheckStatus::Layer4Timeout
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(expect: Option<(bool, ExpectWhat)>) -> HttpCheck {
        HttpCheck {
            method: "GET".to_owned(),
            uri: "/c".to_owned(),
            version: "HTTP/1.0".to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            expect: expect.map(|(negate, what)| HttpExpect { negate, what }),
        }
    }

    /// The verdict on `answer`, which comes in pieces of `step` bytes, then the server closes (or not).
    fn play(script: &Script, answer: &[u8], step: usize, closes: bool) -> Option<Verdict> {
        let mut run = Run::default();
        assert_eq!(run.on_connected(script), None);
        let mut end = 0;
        while end < answer.len() {
            end = (end + step).min(answer.len());
            if let Some(verdict) = run.on_bytes(script, &answer[..end], false) {
                return Some(verdict);
            }
        }
        closes.then(|| run.on_end(script, answer))
    }

    fn check(
        expect: Option<(bool, ExpectWhat)>,
        answer: &str,
        closes: bool,
        expected: Option<(&str, u16, &str)>,
    ) {
        let script = Script::new(Some(&spec(expect)));
        for step in [1, 2, 5, 1000] {
            let found = play(&script, answer.as_bytes(), step, closes);
            let found = found
                .as_ref()
                .map(|v| (v.status.name(), v.code.unwrap_or(0), v.detail.as_str()));
            assert_eq!(found, expected, "{answer:?} by {step}");
        }
    }

    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

    #[test]
    fn verdicts_are_those_of_haproxy() {
        check(None, OK, false, Some(("L7OK", 200, "")));
        check(
            None,
            "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
            false,
            Some(("L7OK", 302, "")),
        );
        check(
            None,
            "HTTP/1.1 404 Not Found\r\n\r\n",
            false,
            Some(("L7STS", 404, "Not Found")),
        );
        check(
            None,
            "HTTP/1.0 500\r\n\r\n",
            false,
            Some(("L7STS", 500, "")),
        );
        check(
            None,
            "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            false,
            Some(("L7STS", 100, "C")),
        );
        check(None, "hello\r\n\r\n", false, Some(("L7RSP", 0, "")));
        check(
            None,
            "HTTP/1.1 200 OK\r\nA b\r\n\r\n",
            false,
            Some(("L7RSP", 0, "")),
        );
        check(None, "HTTP/1.1 20", false, None);
        check(None, "HTTP/1.1 200 OK\r\nA: b\r\n", false, None);
        check(None, "HTTP/1.1 200 OK\r\nA: ", true, Some(("L7RSP", 0, "")));
        check(None, "", true, Some(("L7RSP", 0, "")));
    }

    #[test]
    fn expected_statuses() {
        let status =
            |negate, ranges: &[(u16, u16)]| Some((negate, ExpectWhat::Status(ranges.to_vec())));
        let not_found = "HTTP/1.1 404 Not Found\r\n\r\n";
        check(
            status(false, &[(200, 200)]),
            OK,
            false,
            Some(("L7OK", 200, "")),
        );
        check(
            status(false, &[(200, 200)]),
            not_found,
            false,
            Some(("L7STS", 404, "Not Found")),
        );
        check(
            status(false, &[(200, 399), (404, 404)]),
            not_found,
            false,
            Some(("L7OK", 404, "")),
        );
        check(
            status(true, &[(404, 404)]),
            not_found,
            false,
            Some(("L7STS", 404, "Not Found")),
        );
    }

    #[test]
    fn expected_strings() {
        let string =
            |negate, text: &str| Some((negate, ExpectWhat::String(text.as_bytes().to_vec())));
        let mismatch = Some(("L7RSP", 0, "HTTP content check did not match"));
        let unwanted = Some(("L7RSP", 0, "HTTP check matched unwanted content"));
        check(string(false, "ok"), OK, false, Some(("L7OK", 200, "")));
        check(string(false, "zz"), OK, false, mismatch);
        check(string(true, "ok"), OK, false, unwanted);
        check(string(true, "zz"), OK, false, Some(("L7OK", 200, "")));
        check(
            string(false, "zz"),
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok",
            false,
            None,
        );
        check(
            string(false, "hell"),
            "HTTP/1.1 200 OK\r\n\r\nhello",
            true,
            Some(("L7OK", 200, "")),
        );
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
        check(
            string(false, "hello"),
            chunked,
            false,
            Some(("L7OK", 200, "")),
        );
        check(string(false, "2\r\nhe"), chunked, false, mismatch);
        check(string(false, "OK"), OK, false, mismatch);
    }

    #[test]
    fn requests_are_those_of_haproxy() {
        let bytes = |spec: &HttpCheck| match Script::new(Some(spec)) {
            Script::Http { request, .. } => String::from_utf8(request).unwrap(),
            Script::Connect => String::new(),
        };
        assert_eq!(bytes(&spec(None)), "GET /c HTTP/1.0\r\n\r\n");
        let full = HttpCheck {
            method: "POST".to_owned(),
            uri: "/x".to_owned(),
            version: "HTTP/1.1".to_owned(),
            headers: vec![
                ("Host".to_owned(), "a".to_owned()),
                ("X-Y".to_owned(), "z".to_owned()),
            ],
            body: b"hey".to_vec(),
            expect: None,
        };
        let expected = "POST /x HTTP/1.1\r\nhost: a\r\nx-y: z\r\ncontent-length: 3\r\nconnection: close\r\n\r\nhey";
        assert_eq!(bytes(&full), expected);
    }

    #[test]
    fn connections_that_fail() {
        let mut run = Run::default();
        assert_eq!(
            run.on_error("Connection refused").status,
            CheckStatus::Layer4Problem
        );
        assert_eq!(run.on_timeout().status, CheckStatus::Layer4Timeout);
        assert_eq!(
            run.on_connected(&Script::Connect),
            Some(Verdict::new(CheckStatus::Layer4Passed))
        );
        assert_eq!(
            run.on_error("Connection reset by peer").status,
            CheckStatus::SocketError
        );
        assert_eq!(run.on_timeout().status, CheckStatus::Layer7Timeout);
    }
}
