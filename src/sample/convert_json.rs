//! JSON: `json` writes a string for it, `json_query` reads a value of it, and so do `jwt_header_query` and `jwt_payload_query`.
//!
//! A text is read once from its start to the value that is asked for, without building a tree.

use super::args::{Arg, Args};
use super::context::Context;
use super::convert_code as code;
use super::registry::Registry;
use super::scratch::Out;
use super::value::{Sample, parse_leading_int};

/// Deepest nesting that is read.
const DEPTH_MAX: u32 = 64;

/// A cursor in a JSON text.
struct Json<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> Json<'t> {
    fn peek(&mut self) -> Option<u8> {
        while self.text.get(self.at)?.is_ascii_whitespace() {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// A string's text between its quotes, as it is written.
    fn string(&mut self) -> Option<&'t [u8]> {
        self.take(b'"')?;
        let start = self.at;
        loop {
            match self.text.get(self.at)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        self.text.get(start..self.at - 1)
    }

    /// Passes over a value; returns its text.
    fn skip(&mut self, depth: u32) -> Option<&'t [u8]> {
        let first = self.peek()?;
        let start = self.at;
        match first {
            b'"' => _ = self.string()?,
            b'{' | b'[' if depth < DEPTH_MAX => {
                let end = if first == b'{' { b'}' } else { b']' };
                self.at += 1;
                if self.peek()? != end {
                    loop {
                        if first == b'{' {
                            self.string()?;
                            self.take(b':')?;
                        }
                        self.skip(depth + 1)?;
                        if self.take(b',').is_none() {
                            break;
                        }
                    }
                }
                self.take(end)?;
            }
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
                let rest = self.text.get(self.at..)?;
                let length = rest.iter().take_while(|byte| is_part(byte)).count();
                self.at += length;
            }
            _ => return None,
        }
        self.text.get(start..self.at)
    }

    /// Enters the object at the cursor, up to the value of a member.
    fn member(&mut self, name: &[u8]) -> Option<()> {
        self.take(b'{')?;
        loop {
            let found = is_named(self.string()?, name);
            self.take(b':')?;
            if found {
                return Some(());
            }
            self.skip(0)?;
            self.take(b',')?;
        }
    }

    /// Enters the array at the cursor, up to an element.
    fn element(&mut self, index: usize) -> Option<()> {
        self.take(b'[')?;
        for _ in 0..index {
            self.skip(0)?;
            self.take(b',')?;
        }
        (self.peek()? != b']').then_some(())
    }
}

/// Whether a member is called so; in a path, a backslash takes a dot or a bracket into the name.
fn is_named(member: &[u8], name: &[u8]) -> bool {
    let mut rest = name;
    for byte in member {
        rest = match rest {
            [b'\\', escaped, rest @ ..] if escaped == byte => rest,
            [letter, rest @ ..] if letter == byte => rest,
            _ => return false,
        };
    }
    rest.is_empty()
}

/// The value at a path like `$.a.b[0]`, as it is written.
fn find<'t>(text: &'t [u8], path: &[u8]) -> Option<&'t [u8]> {
    let mut json = Json { text, at: 0 };
    let mut path = path.strip_prefix(b"$")?;
    loop {
        path = match path {
            [] => return json.skip(0),
            [b'.', rest @ ..] => {
                let mut end = 0;
                while let Some(byte) = rest.get(end).filter(|byte| !b".[".contains(byte)) {
                    end += if *byte == b'\\' { 2 } else { 1 };
                }
                let (name, rest) = rest.split_at(end.min(rest.len()));
                json.member(name)?;
                rest
            }
            [b'[', rest @ ..] => {
                let end = rest.iter().position(|byte| *byte == b']')?;
                let index = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
                json.element(index)?;
                &rest[end + 1..]
            }
            _ => return None,
        };
    }
}

/// Writes a JSON string's text without its escapes.
fn unescape(text: &[u8], out: &mut Out<'_>) -> Option<()> {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        out.push(&rest[..at])?;
        let (escaped, after) = match &rest[at + 1..] {
            [b'u', digits @ ..] => {
                let number = std::str::from_utf8(digits.get(..4)?).ok()?;
                let letter = u16::from_str_radix(number, 16).ok()?;
                // as HAProxy: what is no single byte has no value
                (u8::try_from(letter).ok()?, &digits[4..])
            }
            [b'n', after @ ..] => (b'\n', after),
            [b'r', after @ ..] => (b'\r', after),
            [b't', after @ ..] => (b'\t', after),
            [b'b', after @ ..] => (8, after),
            [b'f', after @ ..] => (12, after),
            [byte @ (b'"' | b'\\'), after @ ..] => (*byte, after),
            _ => return None,
        };
        out.push(&[escaped])?;
        rest = after;
    }
    out.push(rest)
}

/// `json_query(path[,'int'])`.
pub(super) fn query<'a>(
    args: &'a [Arg],
    input: Sample<'a>,
    cx: &mut Context<'a>,
) -> Option<Sample<'a>> {
    let bytes = input.content()?;
    let text = cx.scratch.bytes(bytes);
    let value = find(text, args.bytes(0))?;
    let from = value.as_ptr() as usize - text.as_ptr() as usize;
    let to = from + value.len();
    match *value.first()? {
        b't' if value == b"true" => Some(Sample::Bool(true)),
        b'f' if value == b"false" => Some(Sample::Bool(false)),
        b'"' => {
            let inner = bytes.slice(from + 1, to - 1);
            cx.scratch.rewrite(inner, unescape).map(Sample::Str)
        }
        b'-' | b'0'..=b'9' => match args.bytes(1) {
            b"" => Some(Sample::Str(bytes.slice(from, to))),
            _ => parse_leading_int(value).map(Sample::Int),
        },
        _ => None,
    }
}

pub(super) fn check_query(args: &mut [Arg], _: &Registry) -> Result<(), String> {
    if args.bytes(0).is_empty() {
        return Err("json_path must not be empty".into());
    }
    check_type(args)
}

fn check_type(args: &[Arg]) -> Result<(), String> {
    match args.bytes(1) {
        b"" | b"int" => Ok(()),
        _ => Err("output_type only supports \"int\" as argument".into()),
    }
}

pub(super) fn check_jwt(args: &mut [Arg], _: &Registry) -> Result<(), String> {
    check_type(args)
}

/// `jwt_header_query`, `jwt_payload_query`: a part of a token, or a value in it.
pub(super) fn jwt<'a>(
    args: &'a [Arg],
    input: Sample<'a>,
    cx: &mut Context<'a>,
    part: usize,
) -> Option<Sample<'a>> {
    let bytes = input.content()?;
    let (from, to) = {
        let token = cx.scratch.bytes(bytes);
        if token.iter().filter(|byte| **byte == b'.').count() != 2 {
            return None;
        }
        let piece = token.split(|byte| *byte == b'.').nth(part)?;
        let from = piece.as_ptr() as usize - token.as_ptr() as usize;
        (from, from + piece.len())
    };
    let decoded = code::decode_base64(Sample::Str(bytes.slice(from, to)), cx, code::URL)?;
    match args.bytes(0) {
        b"" => Some(Sample::Str(decoded.content()?)),
        _ => query(args, decoded, cx),
    }
}

/// `json([input-code])`.
pub(super) fn escape<'a>(
    args: &'a [Arg],
    input: Sample<'a>,
    cx: &mut Context<'a>,
) -> Option<Sample<'a>> {
    let mode = Decoder::named(args.bytes(0))?;
    let escaped = cx
        .scratch
        .rewrite(input.content()?, |input, out| mode.escape(input, out))?;
    Some(Sample::Str(escaped))
}

pub(super) fn check_escape(args: &mut [Arg], _: &Registry) -> Result<(), String> {
    match Decoder::named(args.bytes(0)) {
        Some(_) => Ok(()),
        None => Err(
            "Unexpected input code type. Allowed value are 'ascii', 'utf8', 'utf8s', 'utf8p' and 'utf8ps'"
                .into(),
        ),
    }
}

/// How `json` reads its input, and what becomes of what is no UTF-8.
#[derive(Clone, Copy)]
struct Decoder {
    /// Bytes are characters.
    is_ascii: bool,
    /// `s`: errors are left out; the conversion fails at them otherwise.
    skips: bool,
    /// `p`: what is written with more bytes than necessary is taken.
    takes_overlong: bool,
}

impl Decoder {
    fn named(name: &[u8]) -> Option<Decoder> {
        let (is_ascii, skips, takes_overlong) = match name {
            b"" | b"ascii" => (true, false, false),
            b"utf8" => (false, false, false),
            b"utf8s" => (false, true, false),
            b"utf8p" => (false, false, true),
            b"utf8ps" => (false, true, true),
            _ => return None,
        };
        Some(Decoder {
            is_ascii,
            skips,
            takes_overlong,
        })
    }

    fn escape(self, input: &[u8], out: &mut Out<'_>) -> Option<()> {
        let mut rest = input;
        while let Some(byte) = rest.first() {
            let (letter, length) = match self.is_ascii {
                true => (Some(u32::from(*byte)), 1),
                false => self.decode(rest),
            };
            match letter {
                Some(letter) => escape_letter(letter, out)?,
                None if self.skips => {}
                None => return None,
            }
            rest = &rest[length..];
        }
        Some(())
    }

    /// The first character, if there is a valid one that four hexadecimal digits can name; and the length of what was looked at.
    fn decode(self, text: &[u8]) -> (Option<u32>, usize) {
        let first = u32::from(text[0]);
        let (length, least) = match text[0] {
            0..0x80 => return (Some(first), 1),
            0xc0..0xe0 => (2, 0x80),
            0xe0..0xf0 => (3, 0x800),
            0xf0..0xf8 => (4, 0x1_0000),
            _ => return (None, 1),
        };
        let mut letter = first & (0xff >> (length + 1));
        for at in 1..length {
            match text.get(at) {
                Some(byte) if byte & 0xc0 == 0x80 => letter = letter << 6 | u32::from(byte & 0x3f),
                _ => return (None, at),
            }
        }
        let is_prohibited = matches!(letter, 0xd800..0xe000 | 0xfffe | 0xffff);
        let is_overlong = letter < least && !self.takes_overlong;
        let is_valid = !is_prohibited && !is_overlong && letter <= 0xffff;
        (is_valid.then_some(letter), length)
    }
}

fn escape_letter(letter: u32, out: &mut Out<'_>) -> Option<()> {
    let short: &[u8] = match u8::try_from(letter) {
        Ok(b'"') => b"\\\"",
        Ok(b'\\') => b"\\\\",
        Ok(b'/') => b"\\/",
        Ok(8) => b"\\b",
        Ok(12) => b"\\f",
        Ok(b'\r') => b"\\r",
        Ok(b'\n') => b"\\n",
        Ok(b'\t') => b"\\t",
        Ok(byte @ 0x20..0x7f) => return out.push(&[byte]),
        _ => {
            // as HAProxy: four digits, also where a character has more
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            let digit = |shift: u32| DIGITS[(letter >> shift & 15) as usize];
            return out.push(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]);
        }
    };
    out.push(short)
}
