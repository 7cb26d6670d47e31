//! Answers that rules give: `deny`, `tarpit`, `return`, `redirect`.
//!
//! An answer is composed as the bytes of a response, in HAProxy's order of headers, and then goes the way of any response.
//!
//! Not here: how it is sent, and what of the connection is said in it (`stream::reply`).

use std::cell::OnceCell;
use std::rc::Rc;

use super::scene::Scene;
use super::text::Text;
use crate::http::{LOGGED_HEAD_BYTES, Page, reason_phrase};

/// A page that is looked up when all sections are there.
pub type SectionPage = Rc<OnceCell<Rc<Page>>>;

/// What an answer consists of.
#[derive(Clone, Debug)]
pub enum Content {
    /// The page of the status, of the configuration or built in.
    Status,
    /// A page of its own: `errorfile`, `errorfiles`.
    Page(Rc<Page>),
    /// A page of an `http-errors` section; that of the status, where the section has none.
    Section(SectionPage),
    /// A head and no body.
    Empty,
    /// A body: `string`, `lf-string`, `file`, `lf-file`.
    Body(Text),
}

/// The answer of `deny`, `tarpit` and `return`.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status.
    pub status: u16,
    /// What follows the status line.
    pub content: Content,
    /// `content-type`
    pub content_type: Option<Box<str>>,
    /// `hdr`
    pub headers: Vec<(Box<str>, Text)>,
}

impl Reply {
    /// The page of a status.
    pub fn of_status(status: u16) -> Reply {
        Reply {
            status,
            content: Content::Status,
            content_type: None,
            headers: Vec::new(),
        }
    }

    /// Composes an answer that is no page. Call it for `Empty` and `Body` only.
    pub fn compose(&self, scene: &mut Scene<'_>, message: &mut Message) {
        message.body.clear();
        if let Content::Body(text) = &self.content {
            text.append(scene, &mut message.body);
        }
        message.begin(self.status);
        for (name, text) in &self.headers {
            message.line(name.as_bytes(), |value| text.append(scene, value));
        }
        message.content_length();
        if let Some(kind) = &self.content_type {
            message.line(b"content-type", |value| {
                value.extend_from_slice(kind.as_bytes());
            });
        }
        message.finish();
    }
}

/// A response that is being composed. Used again and again: nothing is allocated once its buffers have grown.
#[derive(Debug, Default)]
pub struct Message {
    bytes: Vec<u8>,
    body: Vec<u8>,
    head_bytes: usize,
    logged_head_bytes: usize,
}

impl Message {
    /// A text that is only wanted for a moment.
    pub(super) fn name(&mut self, fill: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        self.body.clear();
        fill(&mut self.body);
        &self.body
    }

    /// The whole message.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The message without its body.
    pub fn head(&self) -> &[u8] {
        &self.bytes[..self.head_bytes]
    }

    /// Bytes of the head as logs count them.
    pub fn logged_head_bytes(&self) -> u64 {
        self.logged_head_bytes as u64
    }

    fn begin(&mut self, status: u16) {
        self.begin_with(status, reason_phrase(status));
    }

    fn begin_with(&mut self, status: u16, reason: &[u8]) {
        const VERSION: &[u8] = b"HTTP/1.1";
        self.bytes.clear();
        self.bytes.extend_from_slice(VERSION);
        self.bytes.push(b' ');
        for divisor in [100, 10, 1] {
            self.bytes.push(b'0' + (status / divisor % 10) as u8);
        }
        self.bytes.push(b' ');
        self.bytes.extend_from_slice(reason);
        self.bytes.extend_from_slice(b"\r\n");
        self.logged_head_bytes = LOGGED_HEAD_BYTES + VERSION.len() + 3 + reason.len() + 1;
    }

    /// A header line. What would end it early is left out of the value.
    fn line(&mut self, name: &[u8], value: impl FnOnce(&mut Vec<u8>)) {
        let name_start = self.bytes.len();
        self.bytes.extend(name.iter().map(u8::to_ascii_lowercase));
        self.bytes.extend_from_slice(b": ");
        let start = self.bytes.len();
        value(&mut self.bytes);
        let is_ending = |byte: &u8| matches!(byte, 0 | b'\r' | b'\n');
        if self.bytes[start..].iter().any(is_ending) {
            for byte in &mut self.bytes[start..] {
                if is_ending(byte) {
                    *byte = b' ';
                }
            }
        }
        self.logged_head_bytes += self.bytes.len() - name_start - 2;
        self.bytes.extend_from_slice(b"\r\n");
    }

    fn content_length(&mut self) {
        let length = self.body.len();
        self.line(b"content-length", |value| push_number(value, length));
    }

    fn finish(&mut self) {
        self.bytes.extend_from_slice(b"\r\n");
        self.head_bytes = self.bytes.len();
        self.bytes.extend_from_slice(&self.body);
    }
}

fn push_number(out: &mut Vec<u8>, number: usize) {
    if number >= 10 {
        push_number(out, number / 10);
    }
    out.push(b'0' + (number % 10) as u8);
}

/// Where a redirection leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectKind {
    /// To the text.
    Location,
    /// To the text and the request's path.
    Prefix,
    /// To the request's host and path, by the scheme of the text.
    Scheme,
}

/// `redirect`
#[derive(Clone, Debug)]
pub struct Redirect {
    /// What the text is.
    pub kind: RedirectKind,
    /// The text.
    pub target: Text,
    /// `code`
    pub status: u16,
    /// `drop-query`
    pub drop_query: bool,
    /// `append-slash`
    pub append_slash: bool,
    /// `ignore-empty`
    pub ignore_empty: bool,
    /// `set-cookie`, `clear-cookie`: the value of the header.
    pub cookie: Option<Box<str>>,
}

impl Redirect {
    /// Composes the answer; false: the target is empty, and such a rule is to be passed over.
    pub fn compose(&self, scene: &mut Scene<'_>, message: &mut Message) -> bool {
        message.body.clear();
        self.target.append(scene, &mut message.body);
        if self.ignore_empty && message.body.is_empty() {
            return false;
        }
        if self.kind != RedirectKind::Location {
            self.complete(scene, &mut message.body);
        }
        let location = std::mem::take(&mut message.body);
        // HAProxy has another word for 302 here.
        match self.status {
            302 => message.begin_with(302, b"Found"),
            status => message.begin(status),
        }
        message.content_length();
        message.line(b"location", |value| value.extend_from_slice(&location));
        if !matches!(self.status, 301 | 308) {
            message.line(b"cache-control", |value| {
                value.extend_from_slice(b"no-cache");
            });
        }
        if let Some(cookie) = &self.cookie {
            message.line(b"set-cookie", |value| {
                value.extend_from_slice(cookie.as_bytes());
            });
        }
        message.finish();
        message.body = location;
        true
    }

    /// Adds what `prefix` and `scheme` take of the request.
    fn complete(&self, scene: &mut Scene<'_>, location: &mut Vec<u8>) {
        let cx = scene.context();
        let Some(request) = cx.request else { return };
        let target = crate::http::target::path_and_query(request.head.target(request.buffer))
            .unwrap_or_default();
        if self.kind == RedirectKind::Scheme {
            location.extend_from_slice(b"://");
            let host = request.head.headers.full_value(request.buffer, b"host", 1);
            location.extend_from_slice(host.unwrap_or_default());
        } else if location == b"/" {
            // "/" alone stands for nothing.
            location.clear();
        }
        let target = match self.drop_query {
            true => target
                .split(|byte| *byte == b'?')
                .next()
                .unwrap_or_default(),
            false => target,
        };
        location.extend_from_slice(target);
        if self.append_slash && self.kind == RedirectKind::Prefix && !target.ends_with(b"/") {
            location.push(b'/');
        }
    }
}
