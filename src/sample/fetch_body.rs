//! Fetches of bodies: `req.body`, `res.body` and their kin (configuration manual, 7.3.6).
//!
//! They see what of the body has come and was not sent yet: all of it after `wait-for-body` or `option http-buffer-request`,
//! otherwise what came with the head. Data in chunks is seen without its framing.

use super::args::{Arg, Args};
use super::context::Context;
use super::cursor::Cursor;
use super::fetch_http;
use super::scratch::{Bytes, Scratch};
use super::value::Sample;
use crate::http::{Framing, Held, held};

/// A body, as far as it is there.
#[derive(Clone, Copy)]
pub(super) struct Body<'a> {
    framing: Framing,
    bytes: &'a [u8],
}

pub(super) fn request<'a>(cx: &Context<'a>) -> Option<Body<'a>> {
    let view = cx.request?;
    Some(Body {
        framing: view.head.framing,
        bytes: view.buffer.get(view.head.end as usize..)?,
    })
}

pub(super) fn response<'a>(cx: &Context<'a>) -> Option<Body<'a>> {
    let view = cx.response?;
    Some(Body {
        framing: view.head.framing,
        bytes: view.buffer.get(view.head.end as usize..)?,
    })
}

impl<'a> Body<'a> {
    /// The data in one piece; `None` when it has more bytes than a buffer.
    fn data(self, scratch: &mut Scratch) -> Option<Bytes<'a>> {
        if let Some(data) = held::one_piece(self.framing, self.bytes) {
            return Some(Bytes::At(data));
        }
        scratch.write(|out| {
            let mut has_room = true;
            held::pieces(self.framing, self.bytes, |piece| {
                has_room &= out.push(piece).is_some();
            });
            has_room.then_some(())
        })
    }

    fn data_bytes(self) -> u64 {
        Held::measure(self.framing, self.bytes).map_or(0, |held| held.data_bytes)
    }
}

/// `req.body`, `res.body`.
pub(super) fn data<'a>(body: Body<'a>, scratch: &mut Scratch) -> Option<Sample<'a>> {
    body.data(scratch).map(Sample::Bin)
}

/// `req.body_len`, `res.body_len`: bytes that are there.
pub(super) fn length<'a>(body: Body<'_>) -> Option<Sample<'a>> {
    Some(Sample::Int(body.data_bytes() as i64))
}

/// `req.body_size`, `res.body_size`: bytes that the message announces; those that are there where it announces none.
pub(super) fn size<'a>(body: Body<'_>) -> Option<Sample<'a>> {
    let bytes = match body.framing {
        Framing::Length(length) => length,
        _ => body.data_bytes(),
    };
    Some(Sample::Int(i64::try_from(bytes).unwrap_or(i64::MAX)))
}

/// `req.body_param`: a parameter of a form; each in turn for an ACL.
pub(super) fn param<'a>(
    args: &'a [Arg],
    cx: &mut Context<'a>,
    at: &mut Cursor,
) -> Option<Sample<'a>> {
    let data = request(cx)?.data(cx.scratch)?;
    let text = cx.scratch.bytes(data);
    let (start, end) = fetch_http::next_param(text, (args.bytes(0), b'&'), at)?;
    Some(Sample::Bin(data.slice(start, end)))
}
