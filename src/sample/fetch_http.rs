//! Fetches of HTTP messages: headers, cookies, the parts of a target.
//!
//! All of them see a message as edited so far, because they go through its `HeaderTable`.

use super::args::{Arg, Args};
use super::context::Context;
use super::cursor::Cursor;
use super::hash;
use super::scratch::{Bytes, Out, Scratch};
use super::value::{Sample, parse_address};
use crate::http::cookie::trim;
use crate::http::{CookieHeader, HeaderTable, Known, Version, next_cookie, target};
use std::net::{IpAddr, SocketAddr};

/// How many occurrences can be counted from the end (`req.hdr(x,-10)`).
pub(super) const OCCURRENCES_BACK_MAX: i64 = 10;

/// The header lines of a message and the buffer they are in.
#[derive(Clone, Copy)]
pub(super) struct Headers<'a> {
    table: &'a HeaderTable,
    buffer: &'a [u8],
}

pub(super) fn request<'a>(cx: &Context<'a>) -> Option<Headers<'a>> {
    let view = cx.request?;
    Some(Headers {
        table: &view.head.headers,
        buffer: view.buffer,
    })
}

pub(super) fn response<'a>(cx: &Context<'a>) -> Option<Headers<'a>> {
    let view = cx.response?;
    Some(Headers {
        table: &view.head.headers,
        buffer: view.buffer,
    })
}

/// The response where there is one, else the request.
pub(super) fn either<'a>(cx: &Context<'a>) -> Option<Headers<'a>> {
    response(cx).or_else(|| request(cx))
}

pub(super) fn request_cookies<'a>(cx: &Context<'a>) -> Option<(Headers<'a>, CookieHeader)> {
    Some((request(cx)?, CookieHeader::Cookie))
}

pub(super) fn response_cookies<'a>(cx: &Context<'a>) -> Option<(Headers<'a>, CookieHeader)> {
    Some((response(cx)?, CookieHeader::SetCookie))
}

pub(super) fn either_cookies<'a>(cx: &Context<'a>) -> Option<(Headers<'a>, CookieHeader)> {
    response_cookies(cx).or_else(|| request_cookies(cx))
}

impl<'a> Headers<'a> {
    /// The value of the next line called `name` (any line when it is empty), from the cursor's line on.
    fn next_line(self, name: &[u8], line: &mut usize) -> Option<&'a [u8]> {
        while let Some(header) = self.table.lines().get(*line) {
            *line += 1;
            let wanted = !header.removed
                && (name.is_empty()
                    || self
                        .table
                        .name(header, self.buffer)
                        .eq_ignore_ascii_case(name));
            if wanted {
                return Some(self.table.value(header, self.buffer));
            }
        }
        None
    }

    /// The value of the next line of a known name, from the cursor's line on.
    fn next_known(self, known: Known, line: &mut usize) -> Option<&'a [u8]> {
        let mut rest = self.table.lines().get(*line..)?.iter();
        let wanted = rest.position(|header| header.known == known && !header.removed)?;
        *line += wanted + 1;
        let header = self.table.lines().get(*line - 1)?;
        Some(self.table.value(header, self.buffer))
    }

    /// The next comma-separated value; `at.offset` is where it starts in the line before `at.line`, 0: in a new line.
    fn next_value(self, name: &[u8], at: &mut Cursor) -> Option<&'a [u8]> {
        let line = if at.offset == 0 {
            self.next_line(name, &mut at.line)?
        } else {
            let header = self.table.lines().get(at.line.wrapping_sub(1))?;
            self.table.value(header, self.buffer)
        };
        let rest = line.get(at.offset..).unwrap_or_default();
        let end = value_end(rest);
        at.offset = if end < rest.len() {
            at.offset + end + 1
        } else {
            0
        };
        Some(trim(&rest[..end]))
    }
}

/// Offset of the first comma outside of a quoted string.
fn value_end(text: &[u8]) -> usize {
    let mut quoted = false;
    let mut bytes = text.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => _ = bytes.next(),
            b',' if !quoted => return at,
            _ => {}
        }
    }
    text.len()
}

/// The value that an expression without a cursor, or with an occurrence, asks for: `next` yields all in turn.
///
/// Occurrence 1 is the first, -1 the last; 0 and none mean the last, or each in turn for an ACL.
fn occurrence<'a>(
    args: &[Arg],
    at: &mut Cursor,
    mut next: impl FnMut(&mut Cursor) -> Option<&'a [u8]>,
) -> Option<&'a [u8]> {
    let wanted = args.int(1).unwrap_or(0);
    if wanted == 0 && at.each {
        at.more = true;
        return next(at);
    }
    let mut cursor = Cursor::default();
    if wanted > 0 {
        for _ in 1..wanted {
            next(&mut cursor)?;
        }
        return next(&mut cursor);
    }
    let back = if wanted == 0 {
        1
    } else {
        wanted.unsigned_abs() as usize
    };
    let mut latest: [&[u8]; OCCURRENCES_BACK_MAX as usize] = [&[]; OCCURRENCES_BACK_MAX as usize];
    let mut count = 0;
    while let Some(value) = next(&mut cursor) {
        latest[count % latest.len()] = value;
        count += 1;
    }
    (back <= count.min(latest.len())).then(|| latest[(count - back) % latest.len()])
}

fn list_bytes<'a>(headers: Headers<'a>, args: &'a [Arg], at: &mut Cursor) -> Option<&'a [u8]> {
    if args.is_empty() {
        return None;
    }
    occurrence(args, at, |cursor| headers.next_value(args.bytes(0), cursor))
}

/// `hdr`: a comma-separated value.
pub(super) fn list_value<'a>(
    headers: Headers<'a>,
    args: &'a [Arg],
    at: &mut Cursor,
) -> Option<Sample<'a>> {
    list_bytes(headers, args, at).map(Sample::str)
}

/// `fhdr`: the whole value of a line.
pub(super) fn full_value<'a>(
    headers: Headers<'a>,
    args: &'a [Arg],
    at: &mut Cursor,
) -> Option<Sample<'a>> {
    if args.is_empty() {
        return None;
    }
    occurrence(args, at, |cursor| {
        headers.next_line(args.bytes(0), &mut cursor.line)
    })
    .map(Sample::str)
}

/// `hdr_ip`: an address, an IPv4 address possibly with a port. A value that is none is passed over by an ACL, and nothing otherwise.
pub(super) fn ip_value<'a>(
    headers: Headers<'a>,
    args: &'a [Arg],
    at: &mut Cursor,
) -> Option<Sample<'a>> {
    loop {
        let text = std::str::from_utf8(list_bytes(headers, args, at)?).ok();
        let address = text.and_then(|text| match text.parse::<IpAddr>() {
            Ok(address) => Some(address),
            Err(_) => text
                .parse::<std::net::SocketAddrV4>()
                .ok()
                .map(|address| SocketAddr::V4(address).ip()),
        });
        match address {
            Some(address) => return Some(Sample::address(address)),
            None if at.more => {}
            None => return None,
        }
    }
}

/// `hdr_cnt`: how many comma-separated values there are.
pub(super) fn list_count<'a>(headers: Headers<'a>, args: &'a [Arg]) -> Option<Sample<'a>> {
    let mut cursor = Cursor::default();
    let values = std::iter::from_fn(|| headers.next_value(args.bytes(0), &mut cursor));
    Some(Sample::Int(values.count() as i64))
}

/// `fhdr_cnt`: how many lines there are.
pub(super) fn full_count<'a>(headers: Headers<'a>, args: &'a [Arg]) -> Option<Sample<'a>> {
    let mut line = 0;
    let lines = std::iter::from_fn(|| headers.next_line(args.bytes(0), &mut line));
    Some(Sample::Int(lines.count() as i64))
}

/// `hdr_names`: the names in lower case, with a delimiter between them.
pub(super) fn names<'a>(
    headers: Headers<'a>,
    args: &'a [Arg],
    scratch: &mut Scratch,
) -> Option<Sample<'a>> {
    let delimiter = args.bytes(0).get(..1).unwrap_or(b",");
    let names = scratch.write(|out| {
        for header in headers
            .table
            .lines()
            .iter()
            .filter(|header| !header.removed)
        {
            if !out.written().is_empty() {
                out.push(delimiter)?;
            }
            for byte in headers.table.name(header, headers.buffer) {
                out.push(&[byte.to_ascii_lowercase()])?;
            }
        }
        Some(())
    })?;
    Some(Sample::Str(names))
}

/// `req.hdrs`, `res.hdrs`: all lines and the empty one behind them, names in small letters.
pub(super) fn all_lines<'a>(headers: Headers<'a>, scratch: &mut Scratch) -> Option<Sample<'a>> {
    let lines = scratch.write(|out| {
        for header in headers
            .table
            .lines()
            .iter()
            .filter(|header| !header.removed)
        {
            for byte in headers.table.name(header, headers.buffer) {
                out.push(&[byte.to_ascii_lowercase()])?;
            }
            out.push(b": ")?;
            out.push(headers.table.value(header, headers.buffer))?;
            out.push(b"\r\n")?;
        }
        out.push(b"\r\n")
    })?;
    Some(Sample::Bin(lines))
}

/// `req.hdrs_bin`, `res.hdrs_bin`: names and values, each behind its length, and two empty ones at the end.
pub(super) fn all_lines_binary<'a>(
    headers: Headers<'a>,
    scratch: &mut Scratch,
) -> Option<Sample<'a>> {
    let lines = scratch.write(|out| {
        for header in headers
            .table
            .lines()
            .iter()
            .filter(|header| !header.removed)
        {
            let name = headers.table.name(header, headers.buffer);
            push_length(out, name.len())?;
            for byte in name {
                out.push(&[byte.to_ascii_lowercase()])?;
            }
            let value = headers.table.value(header, headers.buffer);
            push_length(out, value.len())?;
            out.push(value)?;
        }
        out.push(&[0, 0])
    })?;
    Some(Sample::Bin(lines))
}

/// A length in the form of HAProxy's SPOP: below 240 a byte; beyond it, four bits there, and seven in each byte that follows but the last.
fn push_length(out: &mut Out<'_>, length: usize) -> Option<()> {
    if length < 240 {
        return out.push(&[length as u8]);
    }
    out.push(&[(length as u8) | 240])?;
    let mut rest = (length - 240) >> 4;
    while rest >= 128 {
        out.push(&[(rest as u8) | 128])?;
        rest = (rest - 128) >> 7;
    }
    out.push(&[rest as u8])
}

/// `cook`: the last value of a cookie; the first one when no name is asked for; each in turn for an ACL.
pub(super) fn cookie<'a>(
    (headers, header): (Headers<'a>, CookieHeader),
    args: &'a [Arg],
    at: &mut Cursor,
) -> Option<Sample<'a>> {
    let name = args.bytes(0);
    if at.each {
        at.more = true;
        return next_cookie_value(headers, header, name, at).map(Sample::str);
    }
    let mut cursor = Cursor::default();
    let mut cookies = std::iter::from_fn(|| next_cookie_value(headers, header, name, &mut cursor));
    let value = if name.is_empty() {
        cookies.next()
    } else {
        cookies.last()
    };
    value.map(Sample::str)
}

/// `cook_cnt`.
pub(super) fn cookie_count<'a>(
    (headers, header): (Headers<'a>, CookieHeader),
    args: &'a [Arg],
) -> Option<Sample<'a>> {
    let mut cursor = Cursor::default();
    let cookies =
        std::iter::from_fn(|| next_cookie_value(headers, header, args.bytes(0), &mut cursor));
    Some(Sample::Int(cookies.count() as i64))
}

/// `at.line` is the line after the current one, `at.offset` the place in the current one plus one, 0: before a line.
fn next_cookie_value<'a>(
    headers: Headers<'a>,
    header: CookieHeader,
    name: &[u8],
    at: &mut Cursor,
) -> Option<&'a [u8]> {
    let known = match header {
        CookieHeader::Cookie => Known::Cookie,
        CookieHeader::SetCookie => Known::SetCookie,
    };
    loop {
        let line = if at.offset == 0 {
            at.offset = 1;
            headers.next_known(known, &mut at.line)?
        } else {
            headers.table.value(
                headers.table.lines().get(at.line.wrapping_sub(1))?,
                headers.buffer,
            )
        };
        let mut offset = at.offset - 1;
        let value = next_cookie(line, &mut offset, name, header);
        at.offset = if value.is_some() { offset + 1 } else { 0 };
        if value.is_some() {
            return value;
        }
    }
}

/// A header's, cookie's or parameter's value as a number, as the `_val` fetches read it.
pub(super) fn as_number(sample: Option<Sample<'_>>) -> Option<Sample<'_>> {
    match sample? {
        Sample::Str(Bytes::At(text)) => Some(Sample::Int(header_number(text))),
        _ => None,
    }
}

/// HAProxy's reading of a number, which ends at the first byte above `9` and counts those below `0` as negative digits.
fn header_number(text: &[u8]) -> i64 {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let mut value: i32 = 0;
    for byte in digits.iter().take_while(|byte| **byte <= b'9') {
        let digit = i32::from(*byte) - i32::from(b'0');
        value = value.wrapping_mul(10).wrapping_add(digit);
    }
    i64::from(if negative {
        value.wrapping_neg()
    } else {
        value
    })
}

/// `url`.
pub(super) fn url<'a>(cx: &Context<'a>) -> Option<Sample<'a>> {
    target_bytes(cx).map(Sample::str)
}

fn target_bytes<'a>(cx: &Context<'a>) -> Option<&'a [u8]> {
    let view = cx.request?;
    Some(view.head.target(view.buffer))
}

/// `method`: the client's, whatever rules have made of it, as in HAProxy.
pub(super) fn method<'a>(cx: &Context<'a>) -> Option<Sample<'a>> {
    let view = cx.request?;
    Some(Sample::Method(Bytes::At(
        view.head.client_method_name(view.buffer),
    )))
}

/// `req.ver`, `res.ver`.
pub(super) fn version<'a>(version: Version) -> Option<Sample<'a>> {
    Some(Sample::str(match version {
        Version::Http10 => b"1.0",
        Version::Http11 => b"1.1",
    }))
}

/// The path with the query: from the first slash on that is not part of `scheme://authority`.
fn path_and_query(target: &[u8]) -> Option<&[u8]> {
    match target {
        [b'/', ..] => Some(target),
        _ => {
            let after = after_scheme(target)?;
            let authority_end = after
                .iter()
                .position(|byte| matches!(byte, b'/' | b'?' | b'#'))?;
            after[authority_end..]
                .starts_with(b"/")
                .then(|| &after[authority_end..])
        }
    }
}

/// What follows `scheme://`.
fn after_scheme(target: &[u8]) -> Option<&[u8]> {
    let colon = target
        .iter()
        .position(|byte| !(byte.is_ascii_alphanumeric() || b"+-.".contains(byte)))?;
    (colon > 0).then(|| target[colon..].strip_prefix(b"://"))?
}

fn until_question_mark(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == b'?').next().unwrap_or_default()
}

/// `path`.
pub(super) fn path<'a>(cx: &Context<'a>) -> Option<Sample<'a>> {
    path_and_query(target_bytes(cx)?).map(|path| Sample::str(until_question_mark(path)))
}

/// `pathq`.
pub(super) fn pathq<'a>(cx: &Context<'a>) -> Option<Sample<'a>> {
    path_and_query(target_bytes(cx)?).map(Sample::str)
}

/// `query`: what follows the first question mark, if there is one.
pub(super) fn query<'a>(cx: &Context<'a>) -> Option<Sample<'a>> {
    let target = target_bytes(cx)?;
    let mark = target.iter().position(|byte| *byte == b'?')?;
    Some(Sample::str(&target[mark + 1..]))
}

/// `base` and `baseq`: the first Host header and the path, with the query or without.
pub(super) fn base<'a>(cx: &mut Context<'a>, with_query: bool) -> Option<Sample<'a>> {
    base_bytes(cx, |target| {
        let path = path_and_query(target).unwrap_or_default();
        if with_query {
            path
        } else {
            until_question_mark(path)
        }
    })
    .map(Sample::Str)
}

fn base_bytes<'a>(
    cx: &mut Context<'a>,
    part: impl FnOnce(&'a [u8]) -> &'a [u8],
) -> Option<Bytes<'a>> {
    let headers = request(cx)?;
    let host = headers.next_line(b"host", &mut 0).unwrap_or_default();
    let path = part(target_bytes(cx)?);
    if host.is_empty() && path.is_empty() {
        return None;
    }
    cx.scratch.write(|out| {
        out.push(host)?;
        out.push(path)
    })
}

/// `base32` and `url32`: SDBM of the first Host header and the path, or the path with its query; spread over all bits.
pub(super) fn base32<'a>(cx: &mut Context<'a>, with_query: bool) -> Option<Sample<'a>> {
    let base = base_bytes(cx, |target| {
        let path = path_and_query(target).unwrap_or_default();
        if with_query {
            path
        } else {
            until_question_mark(path)
        }
    })?;
    Some(Sample::Int(i64::from(hash::avalanche(hash::sdbm(
        cx.scratch.bytes(base),
    )))))
}

/// `base32+src` and `url32+src`.
pub(super) fn base32_src<'a>(cx: &mut Context<'a>, with_query: bool) -> Option<Sample<'a>> {
    let Sample::Int(hash) = base32(cx, with_query)? else {
        return None;
    };
    let source = cx.source?.ip().to_canonical();
    let bytes = cx.scratch.write(|out| {
        out.push(&(hash as u32).to_be_bytes())?;
        match source {
            IpAddr::V4(address) => out.push(&address.octets()),
            IpAddr::V6(address) => out.push(&address.octets()),
        }
    })?;
    Some(Sample::Bin(bytes))
}

fn url_authority<'a>(cx: &Context<'a>) -> Option<&'a [u8]> {
    target::authority(target_bytes(cx)?)
}

/// `url_ip`: the address that an absolute target names.
pub(super) fn url_ip<'a>(cx: &Context<'a>) -> Option<Sample<'a>> {
    match parse_address(url_authority(cx)?)? {
        IpAddr::V4(address) => Some(Sample::Ipv4(address)),
        IpAddr::V6(_) => None,
    }
}

/// `url_port`: the port of an absolute target whose host is an address; 80 when it names none.
pub(super) fn url_port<'a>(cx: &Context<'a>) -> Option<Sample<'a>> {
    let authority = url_authority(cx)?;
    parse_address(authority)?;
    let port = authority
        .rsplit(|byte| *byte == b':')
        .next()
        .filter(|port| port.len() < authority.len());
    let port = match port {
        Some(port) => std::str::from_utf8(port).ok()?.parse::<u16>().ok()?,
        None => 80,
    };
    Some(Sample::Int(i64::from(port)))
}

/// `urlp`: a parameter of the query, or of what follows another delimiter than `?`; each in turn for an ACL.
pub(super) fn param<'a>(
    args: &'a [Arg],
    cx: &mut Context<'a>,
    at: &mut Cursor,
) -> Option<Sample<'a>> {
    let target = target_bytes(cx)?;
    let name = args.bytes(0);
    let delimiter = args.bytes(1).first().copied().unwrap_or(b'?');
    if !(at.each && at.offset > 0) {
        at.offset = target.iter().position(|byte| *byte == delimiter)? + 1;
    }
    let (start, end) = next_param(target, (name, delimiter), at)?;
    Some(Sample::str(&target[start..end]))
}

/// The next parameter called `name` (any, when it is empty) from the cursor's offset on: where its value begins and ends.
pub(super) fn next_param(
    text: &[u8],
    (name, delimiter): (&[u8], u8),
    at: &mut Cursor,
) -> Option<(usize, usize)> {
    at.more = at.each;
    while let Some(rest) = text.get(at.offset..).filter(|rest| !rest.is_empty()) {
        let start = at.offset;
        let is_end = |byte: &u8| *byte == b'&' || *byte == b';' || *byte == delimiter;
        let end = rest.iter().position(is_end).unwrap_or(rest.len());
        at.offset += end + 1;
        let pair = &rest[..end];
        if let Some(equals) = pair.iter().position(|byte| *byte == b'=')
            && (name.is_empty() || name == &pair[..equals])
        {
            return Some((start + equals + 1, start + end));
        }
    }
    None
}
