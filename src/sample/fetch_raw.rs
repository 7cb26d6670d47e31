//! Fetches of the bytes that have come, whatever they are (configuration manual, 7.3.5): lengths, pieces, RDP cookies.
//!
//! They are for TCP. Of an HTTP message HAProxy tells a length that counts its own way of keeping it (`message_len`), and no pieces.
//!
//! A fetch that lacks bytes says so (`Context::is_missing`), and its rules wait.
//!
//! Not here: TLS (`fetch_hello`).

use super::args::{Arg, Args};
use super::context::Context;
use super::registry::Registry;
use super::value::Sample;
use crate::http::{HeaderTable, LOGGED_HEAD_BYTES};

/// Which direction's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Response,
    /// The one in which the expression is used.
    Either,
}

/// The bytes of a TCP stream; `None` in HTTP.
pub(super) fn bytes<'a>(cx: &Context<'a>, side: Side) -> Option<&'a [u8]> {
    let facts = &cx.facts;
    facts.is_raw.then_some(match side {
        Side::Request => facts.request_bytes,
        Side::Response => facts.response_bytes,
        Side::Either if facts.link.is_some() => facts.response_bytes,
        Side::Either => facts.request_bytes,
    })
}

/// No value, or not yet.
pub(super) fn lacking<'a>(cx: &mut Context<'a>) -> Option<Sample<'a>> {
    cx.is_missing |= !cx.is_final;
    None
}

/// `req.len`, `res.len`: it may still grow.
pub(super) fn length<'a>(cx: &mut Context<'a>, side: Side) -> Option<Sample<'a>> {
    cx.is_missing |= !cx.is_final;
    let length = match bytes(cx, side) {
        Some(bytes) => bytes.len(),
        None => message_len(cx, side),
    };
    Some(Sample::Int(length as i64))
}

/// What HAProxy keeps of an HTTP message: some bytes for the head, its words, names and values, one for its end, and the body.
fn message_len(cx: &Context<'_>, side: Side) -> usize {
    const VERSION_BYTES: usize = "HTTP/1.1".len();
    const STATUS_BYTES: usize = 3;
    let lines = |table: &HeaderTable| {
        let lines = table.lines().iter().filter(|line| !line.removed);
        let bytes: usize = lines.map(|line| line.name.len() + line.value.len()).sum();
        LOGGED_HEAD_BYTES + VERSION_BYTES + bytes + 1
    };
    match (side, cx.request, cx.response) {
        (Side::Request, Some(view), None) => {
            let (head, buffer) = (view.head, view.buffer);
            let words = head.client_method_name(buffer).len() + head.target(buffer).len();
            words + lines(&head.headers) + buffer.len().saturating_sub(head.end as usize)
        }
        (Side::Response, _, Some(view)) => {
            let (head, buffer) = (view.head, view.buffer);
            let words = STATUS_BYTES + head.reason(buffer).len();
            words + lines(&head.headers) + buffer.len().saturating_sub(head.end as usize)
        }
        _ => 0,
    }
}

/// `payload(offset,length)`; length 0 is all that has come.
pub(super) fn payload<'a>(args: &'a [Arg], cx: &mut Context<'a>, side: Side) -> Option<Sample<'a>> {
    let bytes = bytes(cx, side)?;
    let number = |at| usize::try_from(args.int(at)?).ok();
    let (offset, length) = (number(0)?, number(1)?);
    let rest = match bytes.get(offset..) {
        Some(rest) if rest.len() >= length => rest,
        _ => return lacking(cx),
    };
    if length == 0 {
        cx.is_missing |= !cx.is_final; // more may follow
        return Some(Sample::Bin(super::scratch::Bytes::At(rest)));
    }
    Some(Sample::Bin(super::scratch::Bytes::At(&rest[..length])))
}

/// `payload_lv(offset1,length[,offset2])`: as many bytes as the number at `offset1` says, from behind it, or from `offset2`, which a
/// sign makes relative to there. (HAProxy 2.6 takes an `offset2` without a sign for another one than its manual says; the manual counts.)
pub(super) fn payload_lv<'a>(
    args: &'a [Arg],
    cx: &mut Context<'a>,
    side: Side,
) -> Option<Sample<'a>> {
    let bytes = bytes(cx, side)?;
    let number = |at| usize::try_from(args.int(at)?).ok();
    let (at, width) = (number(0)?, number(1)?);
    let Some(digits) = bytes.get(at..).and_then(|rest| rest.get(..width)) else {
        return lacking(cx);
    };
    let value = digits
        .iter()
        .fold(0usize, |value, digit| (value << 8) | usize::from(*digit));
    if value == 0 {
        return None;
    }
    let start = match args.get(2) {
        Some(Arg::Offset {
            from,
            relative: true,
        }) => usize::try_from(i64::try_from(at + width).ok()?.checked_add(*from)?).ok()?,
        Some(Arg::Offset { from, .. }) => usize::try_from(*from).ok()?,
        _ => at + width,
    };
    match bytes.get(start..).and_then(|rest| rest.get(..value)) {
        Some(found) => Some(Sample::Bin(super::scratch::Bytes::At(found))),
        None => lacking(cx),
    }
}

/// Arguments of `payload_lv`.
pub(super) fn check_payload_lv(args: &mut [Arg], _: &Registry) -> Result<(), String> {
    if args.int(0).is_some_and(|offset| offset < 0) {
        return Err("payload offset1 must be positive".into());
    }
    if args.int(1).is_some_and(|length| length <= 0) {
        return Err("payload length must be > 0".into());
    }
    let after = args.int(0).unwrap_or(0) + args.int(1).unwrap_or(0);
    let text = args.bytes(2);
    if text.is_empty() {
        return Ok(());
    }
    let not_a_number = || "payload offset2 is not a number".to_owned();
    let text = std::str::from_utf8(text).map_err(|_| not_a_number())?;
    let relative = text.starts_with(['+', '-']);
    let from: i64 = text.parse().map_err(|_| not_a_number())?;
    if relative && from + after < 0 {
        return Err("payload offset2 too negative".into());
    }
    args[2] = Arg::Offset { from, relative };
    Ok(())
}

/// The value of the RDP cookie at the start of the stream; the name's case does not count. `Err`: bytes are lacking.
fn rdp_cookie_in<'a>(bytes: &'a [u8], name: &[u8]) -> Result<Option<&'a [u8]>, ()> {
    // TPKT: version 3, reserved, length; X.224: length, connection request (0xe0), two references, class
    const HEADER_BYTES: usize = 11;
    const TPKT_VERSION: u8 = 3;
    const CONNECTION_REQUEST: u8 = 0xe0;
    const WORD: &[u8] = b"Cookie:";
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Err(());
    };
    let is_request = header[0] == TPKT_VERSION
        && header[1] == 0
        && header[5] == CONNECTION_REQUEST
        && header[6..11] == [0; 5];
    if !is_request {
        return Ok(None);
    }
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if usize::from(header[4]) + 5 != total {
        return Ok(None);
    }
    let data = &bytes[HEADER_BYTES..];
    let Some((word, cookie)) = data.split_at_checked(WORD.len()) else {
        return Err(());
    };
    if !word.eq_ignore_ascii_case(WORD) {
        return Ok(None);
    }
    let spaces = cookie.iter().take_while(|byte| **byte == b' ').count();
    let cookie = &cookie[spaces..];
    let equals = match name.is_empty() {
        true => cookie.iter().position(|byte| *byte == b'=').ok_or(())?,
        false => name.len(),
    };
    let Some((found, [after, value @ ..])) = cookie.split_at_checked(equals) else {
        return Err(());
    };
    if *after != b'=' || !(name.is_empty() || found.eq_ignore_ascii_case(name)) {
        return Ok(None);
    }
    let end = value
        .windows(2)
        .position(|pair| pair == b"\r\n")
        .ok_or(())?;
    Ok(Some(&value[..end]))
}

/// `req.rdp_cookie([name])`.
pub(super) fn rdp_cookie<'a>(args: &'a [Arg], cx: &mut Context<'a>) -> Option<Sample<'a>> {
    match rdp_cookie_in(bytes(cx, Side::Request)?, args.bytes(0)) {
        Ok(value) => value.map(Sample::str),
        Err(()) => lacking(cx),
    }
}

/// `req.rdp_cookie_cnt([name])`: one or none.
pub(super) fn rdp_cookie_count<'a>(args: &'a [Arg], cx: &mut Context<'a>) -> Option<Sample<'a>> {
    let Some(bytes) = bytes(cx, Side::Request) else {
        return Some(Sample::Int(0));
    };
    match rdp_cookie_in(bytes, args.bytes(0)) {
        Ok(value) => Some(Sample::Int(i64::from(value.is_some()))),
        Err(()) => lacking(cx),
    }
}
