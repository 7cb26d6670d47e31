//! Lines of finished streams: `option httplog`, `httplog clf`, `tcplog`, and the default "Connect from"
//! (configuration manual, sections 8.2.1 to 8.2.3).

use std::fmt::Write as _;

use super::LogFormat;
use crate::sample::format::{DateText, Endpoint, Line, Moment, Record, Zone};
use crate::sample::{CaptureSet, Captures};

/// Escaped in captured headers besides what is escaped everywhere: they delimit the captures.
const CAPTURE_DELIMITERS: &[u8] = b"{|}";

/// Appends the line of `record`. `date` keeps the text of the last second that was formatted.
pub(super) fn write(
    line: &mut Line,
    date: &mut DateText,
    format: &LogFormat,
    record: &Record<'_>,
    captures: &Captures,
) {
    match format {
        LogFormat::Connect => write_connect(line, record),
        LogFormat::Tcp => write_tcp(line, date, record),
        LogFormat::Http { clf: false } => write_http(line, date, record, captures),
        LogFormat::Http { clf: true } => write_clf(line, date, record, captures),
        // Interpreted elsewhere: it needs more than the record.
        LogFormat::Custom(_) => {}
    }
}

/// `Connect from 127.0.0.1:45758 to 127.0.0.1:8802 (www/HTTP)`.
fn write_connect(line: &mut Line, record: &Record<'_>) {
    match record.client {
        Endpoint::Inet(_) => {
            line.push(b"Connect from ");
            write_endpoint(line, record.client);
            line.push(b" to ");
            write_endpoint(line, record.destination);
        }
        Endpoint::Unix { .. } => {
            line.push(b"Connect to ");
            write_endpoint(line, record.client);
        }
    }
    line.push(b" (");
    line.push(record.frontend.as_bytes());
    line.push(if record.mode_http {
        b"/HTTP)"
    } else {
        b"/TCP)"
    });
}

/// `%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq`.
fn write_tcp(line: &mut Line, date: &mut DateText, record: &Record<'_>) {
    write_endpoint(line, record.client);
    write_date(line, date, Moment::from(record.accepted));
    write_route(line, record);
    let timers = &record.timers;
    write_timer(line, timers.queue_ms);
    line.push_byte(b'/');
    write_timer(line, timers.connect_ms);
    line.push_byte(b'/');
    write_total(line, timers.total_ms, record.log_asap);
    line.push_byte(b' ');
    write_total(line, record.bytes, record.log_asap);
    line.push_byte(b' ');
    line.push(&record.termination.letters());
    line.push_byte(b' ');
    write_load(line, record, b'/');
}

/// `%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r`.
fn write_http(line: &mut Line, date: &mut DateText, record: &Record<'_>, captures: &Captures) {
    write_endpoint(line, record.client);
    write_date(line, date, Moment::from(record.request_started));
    write_route(line, record);
    write_timers(line, record, b'/');
    line.push_byte(b' ');
    write_status(line, record.status);
    line.push_byte(b' ');
    write_total(line, record.bytes, record.log_asap);
    for cookie in [captures.cookies.get(0), captures.cookies.get(1)] {
        line.push_byte(b' ');
        line.push_printable(cookie.unwrap_or(b"-"));
    }
    line.push_byte(b' ');
    write_termination(line, record);
    line.push_byte(b' ');
    write_load(line, record, b'/');
    line.push_byte(b' ');
    for captures in [&captures.request, &captures.response] {
        if !captures.is_empty() {
            write_captures(line, captures);
            line.push_byte(b' ');
        }
    }
    write_request_line(line, captures);
}

/// `%{+Q}o %{-Q}ci - - [%trg] %r %ST %B "" "" %cp %ms %ft %b %s %TR %Tw %Tc %Tr %Ta %tsc %ac %fc %bc %sc %rc %sq %bq
/// %CC %CS %hrl %hsl`.
fn write_clf(line: &mut Line, date: &mut DateText, record: &Record<'_>, captures: &Captures) {
    let started = Moment::from(record.request_started);
    match record.client {
        Endpoint::Inet(address) => {
            line.push_address(address.ip());
        }
        Endpoint::Unix { .. } => line.push(b"unix"),
    }
    line.push(b" - - [");
    date.update(started.secs, Zone::Utc);
    line.push(date.request_with_zone());
    line.push(b"] ");
    write_request_line(line, captures);
    line.push_byte(b' ');
    write_status(line, record.status);
    line.push_byte(b' ');
    write_total(line, record.bytes, record.log_asap);
    line.push(b" \"\" \"\" ");
    line.push_number(match record.client {
        Endpoint::Inet(address) => u64::from(address.port()),
        Endpoint::Unix { listener_id } => u64::from(listener_id),
    });
    line.push_byte(b' ');
    line.push_milliseconds(started.micros / 1000);
    let tls_mark = if record.tls { "~" } else { "" };
    let _ = write!(
        line,
        " \"{}{tls_mark}\" \"{}\" \"{}\"",
        record.frontend,
        record.backend,
        record.server.text()
    );
    line.push_byte(b' ');
    write_timers(line, record, b' ');
    line.push_byte(b' ');
    write_termination(line, record);
    line.push_byte(b' ');
    write_load(line, record, b' ');
    for cookie in [captures.cookies.get(0), captures.cookies.get(1)] {
        line.push_byte(b' ');
        line.push_byte(b'"');
        line.push_printable(cookie.unwrap_or(b""));
        line.push_byte(b'"');
    }
    line.push_byte(b' ');
    // The space after the request's captures stays even where the response has none.
    for capture in captures.request.iter() {
        write_quoted(line, capture.unwrap_or(b""), CAPTURE_DELIMITERS);
        line.push_byte(b' ');
    }
    for (index, capture) in captures.response.iter().enumerate() {
        if index > 0 {
            line.push_byte(b' ');
        }
        write_quoted(line, capture.unwrap_or(b""), CAPTURE_DELIMITERS);
    }
}

/// Client or destination as `address:port`.
fn write_endpoint(line: &mut Line, endpoint: Endpoint) {
    match endpoint {
        Endpoint::Inet(address) => {
            line.push_address(address.ip());
            line.push_byte(b':');
            line.push_number(u64::from(address.port()));
        }
        Endpoint::Unix { listener_id } => {
            line.push(b"unix:");
            line.push_number(u64::from(listener_id));
        }
    }
}

/// ` [22/Nov/2026:13:39:55.082] `.
fn write_date(line: &mut Line, date: &mut DateText, moment: Moment) {
    date.update(moment.secs, Zone::Local);
    line.push(b" [");
    line.push(date.request());
    line.push_byte(b'.');
    line.push_milliseconds(moment.micros / 1000);
    line.push(b"] ");
}

/// `frontend backend/server `.
fn write_route(line: &mut Line, record: &Record<'_>) {
    line.push(record.frontend.as_bytes());
    if record.tls {
        line.push_byte(b'~');
    }
    line.push_byte(b' ');
    line.push(record.backend.as_bytes());
    line.push_byte(b'/');
    line.push(record.server.text().as_bytes());
    line.push_byte(b' ');
}

fn write_timers(line: &mut Line, record: &Record<'_>, separator: u8) {
    let timers = &record.timers;
    for timer in [
        timers.request_ms,
        timers.queue_ms,
        timers.connect_ms,
        timers.response_ms,
    ] {
        write_timer(line, timer);
        line.push_byte(separator);
    }
    write_total(line, timers.active_ms, record.log_asap);
}

fn write_timer(line: &mut Line, timer_ms: Option<u64>) {
    match timer_ms {
        Some(timer_ms) => line.push_number(timer_ms),
        None => line.push(b"-1"),
    }
}

fn write_total(line: &mut Line, total: u64, log_asap: bool) {
    if log_asap {
        line.push_byte(b'+');
    }
    line.push_number(total);
}

fn write_status(line: &mut Line, status: Option<u16>) {
    match status {
        Some(status) => line.push_number(u64::from(status)),
        None => line.push(b"-1"),
    }
}

/// Two letters, and two for the persistence cookie.
fn write_termination(line: &mut Line, record: &Record<'_>) {
    line.push(&record.termination.letters());
    line.push(&record.cookies.letters());
}

/// `%ac/%fc/%bc/%sc/%rc %sq/%bq`.
fn write_load(line: &mut Line, record: &Record<'_>, separator: u8) {
    for count in [
        record.process_connections,
        record.frontend_connections,
        record.backend_connections,
        record.server_connections,
    ] {
        line.push_number(u64::from(count));
        line.push_byte(separator);
    }
    if record.redispatched {
        line.push_byte(b'+');
    }
    line.push_number(u64::from(record.retries));
    line.push_byte(b' ');
    line.push_number(u64::from(record.server_queue));
    line.push_byte(separator);
    line.push_number(u64::from(record.backend_queue));
}

/// `{first||third}`.
fn write_captures(line: &mut Line, captures: &CaptureSet) {
    line.push_byte(b'{');
    for (index, capture) in captures.iter().enumerate() {
        if index > 0 {
            line.push_byte(b'|');
        }
        line.push_escaped(capture.unwrap_or(b""), CAPTURE_DELIMITERS);
    }
    line.push_byte(b'}');
}

fn write_request_line(line: &mut Line, captures: &Captures) {
    match captures.line() {
        Some(text) => write_quoted(line, text, b""),
        None => line.push(b"\"<BADREQ>\""),
    }
}

fn write_quoted(line: &mut Line, text: &[u8], also: &[u8]) {
    line.push_byte(b'"');
    line.push_escaped(text, also);
    line.push_byte(b'"');
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::super::{Cause, CookieState, Phase, ServerName, Termination, Timers};
    use super::*;

    /// The record of a request that was redispatched and answered.
    fn record() -> Record<'static> {
        let accepted = SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_355_220_189_700);
        let inet = |text: &str| Endpoint::Inet(text.parse().expect("an address"));
        Record {
            client: inet("127.0.0.1:54500"),
            destination: inet("127.0.0.1:8801"),
            accepted,
            request_started: accepted,
            frontend: "fe",
            tls: false,
            mode_http: true,
            backend: "be",
            server: ServerName::Named("s2"),
            server_address: None,
            server_source: None,
            timers: Timers {
                request_ms: Some(0),
                queue_ms: Some(0),
                connect_ms: Some(0),
                response_ms: Some(1),
                data_ms: Some(0),
                idle_ms: 0,
                active_ms: 1,
                total_ms: 2,
            },
            log_asap: false,
            status: Some(200),
            bytes: 137,
            bytes_uploaded: 0,
            termination: Termination::default(),
            cookies: CookieState::default(),
            process_connections: 1,
            frontend_connections: 1,
            backend_connections: 0,
            server_connections: 0,
            retries: 1,
            redispatched: true,
            server_queue: 0,
            backend_queue: 0,
            host_name: "host",
            pid: 1,
            request_counter: 0,
            log_counter: 0,
        }
    }

    /// The line of `record`, its date replaced by DATE: the tests run in any time zone.
    fn text(format: LogFormat, record: &Record<'_>) -> String {
        text_with(format, record, &with_line(b"GET /foo%20b HTTP/1.1"))
    }

    fn with_line(line: &[u8]) -> Captures {
        Captures {
            request_line: line.to_vec(),
            ..Captures::default()
        }
    }

    fn text_with(format: LogFormat, record: &Record<'_>, captures: &Captures) -> String {
        let mut line = Line::with_limit(1024);
        write(&mut line, &mut DateText::new(0), &format, record, captures);
        let text = String::from_utf8(line.as_bytes().to_vec()).expect("escaped text is ASCII");
        match (text.find('['), text.find(']')) {
            (Some(start), Some(end)) => format!("{}DATE{}", &text[..start], &text[end + 1..]),
            _ => text,
        }
    }

    const HTTP: LogFormat = LogFormat::Http { clf: false };

    #[test]
    fn lines_are_those_of_haproxy() {
        let mut record = record();
        assert_eq!(
            text(HTTP, &record),
            "127.0.0.1:54500 DATE fe be/s2 0/0/0/1/1 200 137 - - ---- 1/1/0/0/+1 0/0 \"GET /foo%20b HTTP/1.1\""
        );
        assert_eq!(
            text(LogFormat::Tcp, &record),
            "127.0.0.1:54500 DATE fe be/s2 0/0/2 137 -- 1/1/0/0/+1 0/0"
        );
        assert_eq!(
            text(LogFormat::Connect, &record),
            "Connect from 127.0.0.1:54500 to 127.0.0.1:8801 (fe/HTTP)"
        );
        let mut captures = with_line(b"GET /foo%20b HTTP/1.1");
        captures.request.begin([20, 5]);
        captures.request.set(0, b"127.0.0.1:8801");
        captures.response.begin([12]);
        captures.response.set(0, b"BaseHTTP|0.6 and more");
        captures.cookies.begin([7, 7]);
        captures.cookies.set(1, b"SID=srv");
        record.tls = true;
        assert_eq!(
            text_with(HTTP, &record, &captures),
            "127.0.0.1:54500 DATE fe~ be/s2 0/0/0/1/1 200 137 - SID=srv ---- 1/1/0/0/+1 0/0 {127.0.0.1:8801|} \
             {BaseHTTP#7C0.6} \"GET /foo%20b HTTP/1.1\""
        );
        assert_eq!(
            text_with(LogFormat::Http { clf: true }, &record, &captures),
            "127.0.0.1 - - DATE \"GET /foo%20b HTTP/1.1\" 200 137 \"\" \"\" 54500 189 \"fe~\" \"be\" \"s2\" \
             0 0 0 1 1 ---- 1 1 0 0 +1 0 0 \"\" \"SID=srv\" \"127.0.0.1:8801\" \"\" \"BaseHTTP#7C0.6\""
        );
    }

    #[test]
    fn a_request_that_got_nowhere() {
        let mut record = record();
        record.backend = "fe";
        record.server = ServerName::None;
        record.timers = Timers {
            active_ms: 502,
            total_ms: 502,
            ..Timers::default()
        };
        (
            record.status,
            record.bytes,
            record.retries,
            record.redispatched,
        ) = (Some(408), 0, 0, false);
        record.termination = Termination::new(Cause::ClientTimeout, Phase::Request);
        record.log_asap = true;
        assert_eq!(
            text_with(HTTP, &record, &Captures::default()),
            "127.0.0.1:54500 DATE fe fe/<NOSRV> -1/-1/-1/-1/+502 408 +0 - - cR-- 1/1/0/0/0 0/0 \"<BADREQ>\""
        );
        record.client = Endpoint::Unix { listener_id: 3 };
        assert_eq!(
            text(LogFormat::Connect, &record),
            "Connect to unix:3 (fe/HTTP)"
        );
        assert_eq!(
            text(LogFormat::Tcp, &record),
            "unix:3 DATE fe fe/<NOSRV> -1/-1/+502 +0 cR 1/1/0/0/0 0/0"
        );
        assert!(record.is_error());
    }

    #[test]
    fn request_lines_are_escaped() {
        let captures = with_line(b"GET /\"\x00#{|}\xc3\xa9 HTTP/1.1");
        assert!(
            text_with(HTTP, &record(), &captures).ends_with("\"GET /#22#00#23{|}#C3#A9 HTTP/1.1\"")
        );
    }
}
