//! Converters between encodings: hexadecimal, base64, percent-encoding.

use super::args::{Arg, Args};
use super::context::Context;
use super::registry::Registry;
use super::scratch::Out;
use super::value::{Sample, Text};

/// A base64 alphabet: its last two letters, and whether the output is padded (and the input must be).
#[derive(Clone, Copy)]
pub(super) struct Alphabet {
    last: [u8; 2],
    padded: bool,
}

/// RFC 4648, section 4.
pub(super) const STANDARD: Alphabet = Alphabet {
    last: *b"+/",
    padded: true,
};
/// RFC 4648, section 5.
pub(super) const URL: Alphabet = Alphabet {
    last: *b"-_",
    padded: false,
};

impl Alphabet {
    fn letter(self, value: u32) -> u8 {
        match (value & 63) as u8 {
            value @ 0..26 => b'A' + value,
            value @ 26..52 => b'a' + value - 26,
            value @ 52..62 => b'0' + value - 52,
            62 => self.last[0],
            _ => self.last[1],
        }
    }

    fn value(self, letter: u8) -> Option<u32> {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            _ if letter == self.last[0] => 62,
            _ if letter == self.last[1] => 63,
            _ => return None,
        };
        Some(u32::from(value))
    }
}

pub(super) fn encode_base64<'a>(
    input: Sample<'a>,
    cx: &mut Context<'a>,
    alphabet: Alphabet,
) -> Option<Sample<'a>> {
    let encoded = cx.scratch.rewrite(input.content()?, |input, out| {
        for chunk in input.chunks(3) {
            let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
            let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
            let letters = [18, 12, 6, 0].map(|shift| alphabet.letter(bits >> shift));
            out.push(&letters[..=chunk.len()])?;
            if alphabet.padded {
                out.push(&b"=="[..3 - chunk.len()])?;
            }
        }
        Some(())
    })?;
    Some(Sample::Str(encoded))
}

pub(super) fn decode_base64<'a>(
    input: Sample<'a>,
    cx: &mut Context<'a>,
    alphabet: Alphabet,
) -> Option<Sample<'a>> {
    let decoded = cx.scratch.rewrite(input.content()?, |input, out| {
        if alphabet.padded && input.len() % 4 != 0 {
            return None;
        }
        let padding = if alphabet.padded {
            input
                .iter()
                .rev()
                .take(2)
                .take_while(|byte| **byte == b'=')
                .count()
        } else {
            0
        };
        for chunk in input[..input.len() - padding].chunks(4) {
            let mut bits = 0;
            for letter in chunk {
                bits = (bits << 6) | alphabet.value(*letter)?;
            }
            bits <<= 6 * (4 - chunk.len());
            match chunk.len() {
                1 => return None,
                letters => out.push(&bits.to_be_bytes()[1..letters])?,
            }
        }
        Some(())
    })?;
    Some(Sample::Bin(decoded))
}

fn push_hex(out: &mut Out<'_>, bytes: &[u8]) -> Option<()> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        out.push(&[
            DIGITS[usize::from(byte >> 4)],
            DIGITS[usize::from(byte & 15)],
        ])?;
    }
    Some(())
}

/// `hex`.
pub(super) fn hex<'a>(_: &'a [Arg], input: Sample<'a>, cx: &mut Context<'a>) -> Option<Sample<'a>> {
    cx.scratch
        .rewrite(input.content()?, |input, out| push_hex(out, input))
        .map(Sample::Str)
}

/// `hex2i`.
pub(super) fn hex_to_int<'a>(
    _: &'a [Arg],
    input: Sample<'a>,
    cx: &mut Context<'a>,
) -> Option<Sample<'a>> {
    let mut value: i64 = 0;
    for digit in cx.scratch.bytes(input.content()?) {
        value = value.wrapping_shl(4) | i64::from((*digit as char).to_digit(16)?);
    }
    Some(Sample::Int(value))
}

fn chunks<'a>(
    args: &[Arg],
    input: Sample<'a>,
    cx: &mut Context<'a>,
    push: fn(&mut Out<'_>, &[u8]) -> Option<()>,
) -> Option<Sample<'a>> {
    let chunk_bytes = usize::try_from(args.int(1).unwrap_or(1)).ok()?;
    let truncate = args.int(2).unwrap_or(0) != 0;
    let joined = cx.scratch.rewrite(input.content()?, |input, out| {
        if chunk_bytes == 0 {
            return push(out, input);
        }
        for (index, chunk) in input.chunks(chunk_bytes).enumerate() {
            if truncate && chunk.len() < chunk_bytes {
                break;
            }
            if index > 0 {
                out.push(args.bytes(0))?;
            }
            push(out, chunk)?;
        }
        Some(())
    })?;
    Some(Sample::Str(joined))
}

/// `be2hex([separator],[chunk_size],[truncate])`.
pub(super) fn be2hex<'a>(
    args: &'a [Arg],
    input: Sample<'a>,
    cx: &mut Context<'a>,
) -> Option<Sample<'a>> {
    chunks(args, input, cx, push_hex)
}

pub(super) fn check_be2hex(args: &mut [Arg], _: &Registry) -> Result<(), String> {
    match args.int(1) {
        None if args.bytes(0).is_empty() => Ok(()),
        None => Err("chunk_size needs to be positive (0)".into()),
        Some(size) if size <= 0 => Err(format!("chunk_size needs to be positive ({size})")),
        Some(_) => Ok(()),
    }
}

/// `be2dec(separator,chunk_size,[truncate])`.
pub(super) fn be2dec<'a>(
    args: &'a [Arg],
    input: Sample<'a>,
    cx: &mut Context<'a>,
) -> Option<Sample<'a>> {
    chunks(args, input, cx, |out, chunk| {
        let value = chunk
            .iter()
            .fold(0u64, |value, byte| (value << 8) | u64::from(*byte));
        let mut text = Text::new();
        std::fmt::Write::write_fmt(&mut text, format_args!("{value}")).ok()?;
        out.push(text.bytes())
    })
}

pub(super) fn check_be2dec(args: &mut [Arg], _: &Registry) -> Result<(), String> {
    match args.int(1).unwrap_or(0) {
        size if !(1..=8).contains(&size) => Err(format!("chunk_size out of [1..8] range ({size})")),
        _ => Ok(()),
    }
}

/// `url_dec([in_form])`: a plus is a space after the first question mark, and everywhere in a form.
pub(super) fn url_decode<'a>(
    args: &'a [Arg],
    input: Sample<'a>,
    cx: &mut Context<'a>,
) -> Option<Sample<'a>> {
    let mut in_form = args.int(0).unwrap_or(0) != 0;
    let decoded = cx.scratch.rewrite(input.content()?, |input, out| {
        let mut rest = input;
        while let [byte, after @ ..] = rest {
            rest = after;
            match byte {
                b'+' if in_form => out.push(b" ")?,
                b'%' => {
                    let [high, low, after @ ..] = after else {
                        return None;
                    };
                    let digit = |byte: &u8| (*byte as char).to_digit(16);
                    out.push(&[(digit(high)? << 4 | digit(low)?) as u8])?;
                    rest = after;
                }
                _ => {
                    in_form |= *byte == b'?';
                    out.push(&[*byte])?;
                }
            }
        }
        Some(())
    })?;
    Some(Sample::Str(decoded))
}

/// `url_enc([type])`.
pub(super) fn url_encode<'a>(
    _: &'a [Arg],
    input: Sample<'a>,
    cx: &mut Context<'a>,
) -> Option<Sample<'a>> {
    let encoded = cx.scratch.rewrite(input.content()?, |input, out| {
        for byte in input {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
                out.push(&[*byte])?;
            } else {
                out.push(b"%")?;
                push_hex(out, &[*byte])?;
            }
        }
        Some(())
    })?;
    Some(Sample::Str(encoded))
}

pub(super) fn check_url_encode(args: &mut [Arg], _: &Registry) -> Result<(), String> {
    match args.bytes(0) {
        b"" | b"query" => Ok(()),
        _ => Err("Unexpected encode type. Allowed value is 'query'".into()),
    }
}

/// Decodes standard base64 into a buffer; `None` when it is not valid, or too long for it.
pub(super) fn decode_into<'b>(text: &[u8], buffer: &'b mut [u8]) -> Option<&'b [u8]> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let padding = text.iter().rev().take(2).take_while(|byte| **byte == b'=');
    let text = &text[..text.len() - padding.count()];
    let mut at = 0;
    for chunk in text.chunks(4) {
        let mut bits = 0;
        for letter in chunk {
            bits = (bits << 6) | STANDARD.value(*letter)?;
        }
        bits <<= 6 * (4 - chunk.len());
        let bytes = bits.to_be_bytes();
        let bytes = bytes.get(1..chunk.len())?;
        buffer.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
        at += bytes.len();
    }
    buffer.get(..at)
}
