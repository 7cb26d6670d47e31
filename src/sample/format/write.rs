//! Nodes to text.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::alias::Alias;
use super::date::{DateText, Moment, Zone};
use super::line::Line;
use super::record::{Endpoint, Record};
use super::{Flags, Format, Node, Purpose};
use crate::http::target;
use crate::sample::value::Text;
use crate::sample::{CaptureSet, Captures, Context, Value};

/// Escaped in captured headers besides what is escaped everywhere: they delimit the captures.
const CAPTURE_DELIMITERS: &[u8] = b"{|}";

/// Texts of the seconds that were formatted last, local and universal.
#[derive(Debug)]
pub struct Dates {
    local: DateText,
    universal: DateText,
}

impl Default for Dates {
    fn default() -> Dates {
        Dates {
            local: DateText::new(0),
            universal: DateText::new(0),
        }
    }
}

impl Dates {
    fn of(&mut self, secs: i64, zone: Zone) -> &DateText {
        let text = match zone {
            Zone::Local => &mut self.local,
            Zone::Utc => &mut self.universal,
        };
        text.update(secs, zone);
        text
    }
}

/// Lines for what formats become in rules, used again and again: a rule takes one, uses it, and gives it back.
#[derive(Debug)]
pub struct Texts {
    idle: Vec<Line>,
    bytes_max: usize,
}

impl Texts {
    /// None yet; each will have room for `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Texts {
        Texts {
            idle: Vec::new(),
            bytes_max,
        }
    }

    /// An empty line.
    pub fn take(&mut self) -> Line {
        self.idle
            .pop()
            .unwrap_or_else(|| Line::with_limit(self.bytes_max))
    }

    /// Takes a line back.
    pub fn give(&mut self, mut line: Line) {
        line.clear();
        self.idle.push(line);
    }
}

impl Format {
    /// The text as a rule needs it, in a line that is to be given back to `Scratch::texts`.
    pub fn text<'a>(&'a self, cx: &mut Context<'a>) -> Line {
        let mut line = cx.scratch.texts.take();
        self.write(&mut line, cx);
        line
    }

    /// Appends the text, as far as there is room.
    pub fn write<'a>(&'a self, line: &mut Line, cx: &mut Context<'a>) {
        let mut is_space = true;
        for node in &self.nodes {
            match node {
                Node::Separator => {
                    if !is_space {
                        line.push_byte(b' ');
                    }
                    is_space = true;
                    continue;
                }
                Node::Text(text) => line.push(text),
                Node::Variable(Alias::UniqueId, flags) => {
                    let id = cx.unique_id.as_ref().map(|id| &id.text[..]);
                    write_text(line, *flags, self.purpose, id.unwrap_or_default());
                }
                Node::Variable(alias, flags) => {
                    let Some(record) = cx.record else { continue };
                    if lacks_captures(*alias, cx.captures.as_deref()) {
                        // Spaces on both sides of nothing are one.
                        continue;
                    }
                    Writer {
                        line,
                        flags: *flags,
                        purpose: self.purpose,
                        dates: &mut cx.scratch.dates,
                    }
                    .variable(*alias, record, cx.captures.as_deref());
                }
                Node::Sample(expr, flags) => {
                    // Its dates are out of reach while a value is borrowed from the scratch, and not needed.
                    let value = expr.eval(cx);
                    write_sample(line, *flags, self.purpose, value);
                }
            }
            is_space = false;
        }
    }
}

/// Whether a variable shows a block of captures, and no capture is declared.
fn lacks_captures(alias: Alias, captures: Option<&Captures>) -> bool {
    let declared = |set: fn(&Captures) -> &CaptureSet| {
        captures.is_some_and(|captures| !set(captures).is_empty())
    };
    match alias {
        Alias::RequestCaptures | Alias::RequestCaptureList => !declared(|all| &all.request),
        Alias::ResponseCaptures | Alias::ResponseCaptureList => !declared(|all| &all.response),
        _ => false,
    }
}

fn write_sample(line: &mut Line, flags: Flags, purpose: Purpose, value: Option<Value<'_>>) {
    match value {
        Some(Value::Str(text) | Value::Bin(text) | Value::Method(text)) => {
            write_text(line, flags, purpose, text);
        }
        None => write_text(line, flags, purpose, b""),
        Some(other) => {
            if flags.quote {
                line.push_byte(b'"');
            }
            other.write_text(|text| line.push(text));
            if flags.quote {
                line.push_byte(b'"');
            }
        }
    }
}

/// A value that is text, and not escaped as a header is.
fn write_text(line: &mut Line, flags: Flags, purpose: Purpose, text: &[u8]) {
    if text.is_empty() {
        match (flags.quote, purpose) {
            (true, _) => line.push(b"\"\""),
            (false, Purpose::Log) => line.push_byte(b'-'),
            (false, _) => {}
        }
        return;
    }
    if flags.quote {
        line.push_byte(b'"');
    }
    for &byte in text {
        if flags.escape && matches!(byte, b'"' | b'\\' | b']') {
            line.push(&[b'\\', byte]);
        } else if byte.is_ascii_control() {
            let mark = if purpose == Purpose::Log { b'#' } else { b'%' };
            line.push_hex_byte(mark, byte);
        } else {
            line.push_byte(byte);
        }
    }
    if flags.quote {
        line.push_byte(b'"');
    }
}

/// Writes one variable.
struct Writer<'w> {
    line: &'w mut Line,
    flags: Flags,
    purpose: Purpose,
    dates: &'w mut Dates,
}

impl Writer<'_> {
    fn variable(&mut self, alias: Alias, record: &Record<'_>, captures: Option<&Captures>) {
        let timers = &record.timers;
        let request_captures = captures.map(|captures| &captures.request);
        let response_captures = captures.map(|captures| &captures.response);
        match alias {
            Alias::BytesRead => self.total(Some(record.bytes), record),
            Alias::BytesUploaded => self.total(Some(record.bytes_uploaded), record),
            Alias::RequestCookie | Alias::ResponseCookie => {
                let slot = usize::from(alias == Alias::ResponseCookie);
                let cookie = captures.and_then(|captures| captures.cookies.get(slot));
                self.text(cookie.unwrap_or_default());
            }
            Alias::HostName => self.text(record.host_name.as_bytes()),
            Alias::UniqueId => {}
            Alias::Status if !record.mode_http => self.line.push_byte(b'0'),
            Alias::Status => self.maybe(record.status.map(u64::from)),
            Alias::ActiveTime => self.total(Some(timers.active_ms), record),
            Alias::ConnectTime => self.maybe(timers.connect_ms),
            Alias::DataTime => self.total(timers.data_ms, record),
            Alias::HandshakeTime => self.line.push_number(0),
            Alias::IdleTime => self.maybe(Some(timers.idle_ms)),
            Alias::QuestionTime => {
                self.maybe(timers.request_ms.map(|request| timers.idle_ms + request));
            }
            Alias::RequestTime => self.maybe(timers.request_ms),
            Alias::ResponseTime => self.maybe(timers.response_ms),
            Alias::TotalTime => self.total(Some(timers.total_ms), record),
            Alias::UserTime => {
                self.total(Some(timers.total_ms.saturating_sub(timers.idle_ms)), record);
            }
            Alias::WaitTime => self.maybe(timers.queue_ms),
            Alias::Timestamp
            | Alias::Milliseconds
            | Alias::Date
            | Alias::GmtDate
            | Alias::LocalDate => self.moment(alias, Moment::from(record.accepted)),
            Alias::RequestDate | Alias::RequestGmtDate | Alias::RequestLocalDate => {
                self.moment(alias, Moment::from(record.request_started));
            }
            Alias::ProcessConnections => self.number(record.process_connections),
            Alias::FrontendConnections => self.number(record.frontend_connections),
            Alias::BackendConnections => self.number(record.backend_connections),
            Alias::ServerConnections => self.number(record.server_connections),
            Alias::BackendQueue => self.number(record.backend_queue),
            Alias::ServerQueue => self.number(record.server_queue),
            Alias::Retries => {
                if record.redispatched {
                    self.line.push_byte(b'+');
                }
                self.number(record.retries);
            }
            Alias::LogCounter => self.counter(record.log_counter),
            Alias::RequestCounter => self.counter(record.request_counter),
            Alias::Pid => self.counter(u64::from(record.pid)),
            Alias::Backend => self.text(record.backend.as_bytes()),
            Alias::Frontend => self.text(record.frontend.as_bytes()),
            Alias::FrontendTransport => {
                // Without TLS there is no mark behind it.
                self.text(record.frontend.as_bytes());
            }
            Alias::Server => self.text(record.server.text().as_bytes()),
            Alias::ClientAddress => self.address(Some(record.client)),
            Alias::ClientPort => self.port(Some(record.client)),
            Alias::FrontendAddress => self.address(Some(record.destination)),
            Alias::FrontendPort => self.port(Some(record.destination)),
            Alias::BackendSourceAddress => self.address(record.server_source),
            Alias::BackendSourcePort => self.port(record.server_source),
            Alias::ServerAddress => self.address(record.server_address),
            Alias::ServerPort => self.port(record.server_address),
            Alias::TlsCiphers | Alias::TlsVersion => self.text(b""),
            Alias::Termination => self.line.push(&record.termination.letters()),
            Alias::TerminationAndCookie => {
                self.line.push(&record.termination.letters());
                self.line.push(&record.cookies.letters());
            }
            Alias::RequestCaptures => self.captures(request_captures),
            Alias::ResponseCaptures => self.captures(response_captures),
            Alias::RequestCaptureList => self.capture_list(request_captures),
            Alias::ResponseCaptureList => self.capture_list(response_captures),
            Alias::RequestLine
            | Alias::Method
            | Alias::Uri
            | Alias::UriWithoutQuery
            | Alias::PathOnly
            | Alias::Query
            | Alias::Version => {
                self.request_line(alias, captures.and_then(Captures::line));
            }
        }
    }

    /// A moment in the layout that the variable asks for.
    fn moment(&mut self, alias: Alias, moment: Moment) {
        match alias {
            Alias::Timestamp => self.counter(moment.secs as u64),
            Alias::Milliseconds => self.line.push_milliseconds(moment.micros / 1000),
            Alias::GmtDate | Alias::RequestGmtDate => self.date(moment, Layout::Zone(Zone::Utc)),
            Alias::LocalDate | Alias::RequestLocalDate => {
                self.date(moment, Layout::Zone(Zone::Local));
            }
            _ => self.date(moment, Layout::Millis),
        }
    }

    fn text(&mut self, text: &[u8]) {
        write_text(self.line, self.flags, self.purpose, text);
    }

    fn number(&mut self, value: u32) {
        self.line.push_number(u64::from(value));
    }

    fn maybe(&mut self, value: Option<u64>) {
        match value {
            Some(value) => self.line.push_number(value),
            None => self.line.push(b"-1"),
        }
    }

    /// A number that is not final with `option logasap`.
    fn total(&mut self, value: Option<u64>, record: &Record<'_>) {
        if record.log_asap {
            self.line.push_byte(b'+');
        }
        self.maybe(value);
    }

    /// A number that may be hexadecimal, four digits at least.
    fn counter(&mut self, value: u64) {
        if self.flags.hex {
            let _ = write!(self.line, "{value:04X}");
        } else {
            self.line.push_number(value);
        }
    }

    fn date(&mut self, moment: Moment, layout: Layout) {
        match layout {
            Layout::Millis => {
                self.line
                    .push(self.dates.of(moment.secs, Zone::Local).request());
                self.line.push_byte(b'.');
                self.line.push_milliseconds(moment.micros / 1000);
            }
            Layout::Zone(zone) => self
                .line
                .push(self.dates.of(moment.secs, zone).request_with_zone()),
        }
    }

    fn address(&mut self, endpoint: Option<Endpoint>) {
        let mut text = Text::new();
        let _ = match endpoint {
            None => Ok(()),
            Some(Endpoint::Unix { .. }) => text.write_str("unix"),
            Some(Endpoint::Inet(address)) => match address.ip().to_canonical() {
                IpAddr::V4(ip) if self.flags.hex => write!(text, "{:08X}", u32::from(ip)),
                IpAddr::V6(ip) if self.flags.hex => write!(text, "{:032X}", u128::from(ip)),
                ip => write!(text, "{ip}"),
            },
        };
        self.text(text.bytes());
    }

    fn port(&mut self, endpoint: Option<Endpoint>) {
        let port = match endpoint {
            None => return self.text(b""),
            Some(Endpoint::Unix { listener_id }) => u64::from(listener_id),
            Some(Endpoint::Inet(address)) => u64::from(address.port()),
        };
        self.counter(port);
    }

    /// Runs `write` between quotes, if the variable wants them.
    fn quoted(&mut self, write: impl FnOnce(&mut Self)) {
        if self.flags.quote {
            self.line.push_byte(b'"');
        }
        write(self);
        if self.flags.quote {
            self.line.push_byte(b'"');
        }
    }

    /// Text of a message, escaped as HAProxy escapes it.
    fn escaped(&mut self, text: &[u8], also: &[u8]) {
        if !self.flags.escape {
            return self.line.push_escaped(text, also);
        }
        for &byte in text {
            match byte {
                b'"' => self.line.push_escaped(&[byte], also),
                b'\\' | b']' => self.line.push(&[b'\\', byte]),
                _ => self.line.push_escaped(&[byte], also),
            }
        }
    }

    /// `{first||third}`; nothing without captures.
    fn captures(&mut self, captures: Option<&CaptureSet>) {
        let Some(captures) = captures.filter(|captures| !captures.is_empty()) else {
            return;
        };
        self.quoted(|writer| {
            writer.line.push_byte(b'{');
            for (index, capture) in captures.iter().enumerate() {
                if index > 0 {
                    writer.line.push_byte(b'|');
                }
                writer.escaped(capture.unwrap_or_default(), CAPTURE_DELIMITERS);
            }
            writer.line.push_byte(b'}');
        });
    }

    /// `"first" "" "third"`, or with dashes and no quotes.
    fn capture_list(&mut self, captures: Option<&CaptureSet>) {
        for (index, capture) in captures.into_iter().flat_map(CaptureSet::iter).enumerate() {
            if index > 0 {
                self.line.push_byte(b' ');
            }
            match capture {
                None if self.flags.quote => self.line.push(b"\"\""),
                None => self.line.push_byte(b'-'),
                Some(text) => self.quoted(|writer| writer.escaped(text, CAPTURE_DELIMITERS)),
            }
        }
    }

    fn request_line(&mut self, alias: Alias, line: Option<&[u8]>) {
        let Some(line) = line else {
            return self.quoted(|writer| writer.line.push(b"<BADREQ>"));
        };
        let mut words = line.split(|byte| *byte == b' ');
        let method = words.next().unwrap_or_default();
        let uri = words.next().unwrap_or_default();
        let text = match alias {
            Alias::Method => method,
            Alias::Uri => uri,
            // A line that was cut, to HAProxy, is one of a request without a version.
            Alias::Version => words.next().unwrap_or(b"HTTP/0.9"),
            Alias::UriWithoutQuery => uri.split(|byte| *byte == b'?').next().unwrap_or_default(),
            Alias::PathOnly => target::path(uri).unwrap_or_default(),
            Alias::Query => uri
                .iter()
                .position(|byte| *byte == b'?')
                .map_or(&[][..], |mark| &uri[mark..]),
            _ => line,
        };
        self.quoted(|writer| writer.escaped(text, b""));
    }
}

/// How a date is written.
enum Layout {
    /// Local, with milliseconds and no zone.
    Millis,
    Zone(Zone),
}
