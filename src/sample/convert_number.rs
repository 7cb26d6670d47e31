//! Converters that yield or take numbers: arithmetic, hashes, dates.

use super::args::{Arg, Args};
use super::context::Context;
use super::hash;
use super::registry::Registry;
use super::value::Sample;
use crate::sys::calendar::{MONTHS, civil_date};
use std::fmt::Write as _;

/// Applies an operator to the value and the operand, which [`check_operand`] made an integer.
pub(super) fn apply<'a>(
    args: &[Arg],
    input: Sample<'a>,
    cx: &Context<'_>,
    operator: fn(i64, i64) -> i64,
) -> Option<Sample<'a>> {
    match input {
        Sample::Int(value) => Some(Sample::Int(operator(value, args.number(0, cx)?))),
        _ => None,
    }
}

pub(super) fn map(input: Sample<'_>, operator: fn(i64) -> i64) -> Option<Sample<'_>> {
    match input {
        Sample::Int(value) => Some(Sample::Int(operator(value))),
        _ => None,
    }
}

pub(super) fn test(input: Sample<'_>, predicate: fn(i64) -> bool) -> Option<Sample<'_>> {
    match input {
        Sample::Int(value) => Some(Sample::Bool(predicate(value))),
        _ => None,
    }
}

/// `div`: by zero it is the largest integer.
pub(super) fn divide(value: i64, divisor: i64) -> i64 {
    match divisor {
        0 => i64::MAX,
        _ => value.checked_div(divisor).unwrap_or(i64::MAX),
    }
}

/// `mod`: by zero it is zero.
pub(super) fn remainder(value: i64, divisor: i64) -> i64 {
    value.checked_rem(divisor).unwrap_or(0)
}

/// An operand is an integer or the name of a variable.
pub(super) fn check_operand(args: &mut [Arg], registry: &Registry) -> Result<(), String> {
    let word = args.bytes(0);
    if word.is_empty() {
        args[0] = Arg::Int(0);
        return Ok(());
    }
    match std::str::from_utf8(word)
        .ok()
        .and_then(|text| text.parse().ok())
    {
        Some(value) => args[0] = Arg::Int(value),
        None => match registry.variable(word) {
            Ok(var) => args[0] = Arg::Var(var),
            Err(_) => return Err("expects an integer or a variable name".into()),
        },
    }
    Ok(())
}

/// `htonl`: 32 bits in network order.
pub(super) fn htonl<'a>(
    _: &'a [Arg],
    input: Sample<'a>,
    cx: &mut Context<'a>,
) -> Option<Sample<'a>> {
    match input {
        Sample::Int(value) => cx
            .scratch
            .write(|out| out.push(&(value as u32).to_be_bytes()))
            .map(Sample::Bin),
        _ => None,
    }
}

fn hash32<'a>(
    args: &[Arg],
    input: Sample<'a>,
    cx: &Context<'a>,
    hash: impl FnOnce(&[u8]) -> u32,
) -> Option<Sample<'a>> {
    let hash = hash(cx.scratch.bytes(input.content()?));
    let spread = args.int(0).unwrap_or(0) != 0;
    Some(Sample::Int(i64::from(if spread {
        hash::avalanche(hash)
    } else {
        hash
    })))
}

/// `crc32([avalanche])`.
pub(super) fn crc32<'a>(
    args: &'a [Arg],
    input: Sample<'a>,
    cx: &mut Context<'a>,
) -> Option<Sample<'a>> {
    hash32(args, input, cx, |bytes| hash::crc32(bytes, 0xedb8_8320))
}

/// `crc32c([avalanche])`.
pub(super) fn crc32c<'a>(
    args: &'a [Arg],
    input: Sample<'a>,
    cx: &mut Context<'a>,
) -> Option<Sample<'a>> {
    hash32(args, input, cx, |bytes| hash::crc32(bytes, 0x82f6_3b78))
}

/// `djb2([avalanche])`.
pub(super) fn djb2<'a>(
    args: &'a [Arg],
    input: Sample<'a>,
    cx: &mut Context<'a>,
) -> Option<Sample<'a>> {
    hash32(args, input, cx, hash::djb2)
}

/// `sdbm([avalanche])`.
pub(super) fn sdbm<'a>(
    args: &'a [Arg],
    input: Sample<'a>,
    cx: &mut Context<'a>,
) -> Option<Sample<'a>> {
    hash32(args, input, cx, hash::sdbm)
}

/// `xxh32([seed])`.
pub(super) fn xxh32<'a>(
    args: &'a [Arg],
    input: Sample<'a>,
    cx: &mut Context<'a>,
) -> Option<Sample<'a>> {
    let seed = args.int(0).unwrap_or(0) as u32;
    Some(Sample::Int(i64::from(hash::xxh32(
        cx.scratch.bytes(input.content()?),
        seed,
    ))))
}

/// `xxh64([seed])`: 64 bits, so it may be negative.
pub(super) fn xxh64<'a>(
    args: &'a [Arg],
    input: Sample<'a>,
    cx: &mut Context<'a>,
) -> Option<Sample<'a>> {
    let seed = args.int(0).unwrap_or(0) as u64;
    Some(Sample::Int(
        hash::xxh64(cx.scratch.bytes(input.content()?), seed) as i64,
    ))
}

/// `xxh3([seed])`: 64 bits, so it may be negative.
pub(super) fn xxh3<'a>(
    args: &'a [Arg],
    input: Sample<'a>,
    cx: &mut Context<'a>,
) -> Option<Sample<'a>> {
    let seed = args.int(0).unwrap_or(0) as u64;
    let bytes = cx.scratch.bytes(input.content()?);
    let hash = xxhash_rust::xxh3::xxh3_64_with_seed(bytes, seed);
    Some(Sample::Int(hash as i64))
}

pub(super) fn check_unit(args: &mut [Arg], _: &Registry) -> Result<(), String> {
    match args.bytes(1) {
        b"" | b"s" | b"ms" | b"us" => Ok(()),
        unit => Err(format!(
            "expects 's', 'ms' or 'us', got '{}'",
            String::from_utf8_lossy(unit)
        )),
    }
}

/// `http_date([offset[,unit]])`: `Sun, 06 Nov 1994 08:49:37 GMT`, with a fraction for the finer units.
pub(super) fn http_date<'a>(
    args: &'a [Arg],
    input: Sample<'a>,
    cx: &mut Context<'a>,
) -> Option<Sample<'a>> {
    let Sample::Int(value) = input else {
        return None;
    };
    let value = value.saturating_add(args.int(0).unwrap_or(0));
    let (per_second, digits) = match args.bytes(1) {
        b"ms" => (1000, 3),
        b"us" => (1_000_000, 6),
        _ => (1, 0),
    };
    let (seconds, fraction) = (value.div_euclid(per_second), value.rem_euclid(per_second));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil_date(days);
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][days.rem_euclid(7) as usize];
    let month = MONTHS[month as usize - 1];
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let mut text = super::value::Text::new();
    write!(
        text,
        "{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02}"
    )
    .ok()?;
    if digits > 0 {
        write!(text, ".{fraction:0digits$}").ok()?;
    }
    text.write_str(" GMT").ok()?;
    cx.scratch
        .write(|out| out.push(text.bytes()))
        .map(Sample::Str)
}
