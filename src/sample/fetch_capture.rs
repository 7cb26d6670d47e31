//! Fetches and converters of what was captured: `capture.req.…`, `capture.res.…`, `capture-req`, `capture-res`, `unique-id`.
//!
//! What they yield is copied to the scratch: a later converter of the same expression may capture something else.

use super::args::{Arg, Args};
use super::context::Context;
use super::scratch::Scratch;
use super::value::Sample;
use crate::http::Version;

/// A part of the request line, as the client sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinePart {
    Method,
    Uri,
    Version,
}

fn copied<'a>(scratch: &mut Scratch, bytes: &[u8]) -> Option<Sample<'a>> {
    scratch.write(|out| out.push(bytes)).map(Sample::Str)
}

/// `capture.req.hdr(n)`, `capture.res.hdr(n)`.
pub(super) fn header<'a>(
    args: &'a [Arg],
    cx: &mut Context<'a>,
    is_request: bool,
) -> Option<Sample<'a>> {
    let captures = cx.captures.as_deref()?;
    let set = match is_request {
        true => &captures.request,
        false => &captures.response,
    };
    let index = usize::try_from(args.int(0)?).ok()?;
    copied(cx.scratch, set.get(index)?)
}

/// `capture.req.method`, `capture.req.uri`, `capture.req.ver`.
pub(super) fn line<'a>(cx: &mut Context<'a>, part: LinePart) -> Option<Sample<'a>> {
    let line = cx.captures.as_deref()?.line()?;
    let index = match part {
        LinePart::Method => 0,
        LinePart::Uri => 1,
        LinePart::Version => 2,
    };
    copied(cx.scratch, line.split(|byte| *byte == b' ').nth(index)?)
}

/// `capture.res.ver`.
pub(super) fn response_version<'a>(cx: &Context<'a>) -> Option<Sample<'a>> {
    Some(Sample::str(match cx.response?.head.version {
        Version::Http10 => b"HTTP/1.0",
        Version::Http11 => b"HTTP/1.1",
    }))
}

/// `unique-id`.
pub(super) fn unique_id<'a>(cx: &mut Context<'a>) -> Option<Sample<'a>> {
    if cx.unique_id().is_empty() {
        return None;
    }
    let id = &cx.unique_id.as_ref()?.text;
    copied(cx.scratch, id)
}

/// `capture-req(n)`, `capture-res(n)`: the value goes on as it is.
pub(super) fn capture<'a>(
    args: &'a [Arg],
    input: Sample<'a>,
    cx: &mut Context<'a>,
    is_request: bool,
) -> Option<Sample<'a>> {
    let index = usize::try_from(args.int(0)?).ok()?;
    let captures = cx.captures.as_deref_mut()?;
    let set = match is_request {
        true => &mut captures.request,
        false => &mut captures.response,
    };
    let text = cx.scratch.bytes(input.content()?);
    set.has(index).then(|| set.set(index, text))?;
    Some(input)
}
