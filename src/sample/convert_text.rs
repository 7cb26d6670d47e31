//! Converters of strings that look at variables, lists of languages, or a date's format.

use super::args::{Arg, Args};
use super::context::Context;
use super::registry::Registry;
use super::value::Sample;
use crate::sys::localtime;

/// `add_item(delim,[var][,suff])`: the delimiter only where it parts two things.
pub(super) fn add_item<'a>(
    args: &'a [Arg],
    input: Sample<'a>,
    cx: &mut Context<'a>,
) -> Option<Sample<'a>> {
    let vars = cx.vars;
    let joined = cx.scratch.rewrite(input.content()?, |input, out| {
        out.push(input)?;
        let mut is_parted = input.is_empty();
        if let Some(Arg::Var(var)) = args.get(1) {
            let pushed = vars.read(*var, |value| {
                if !std::mem::replace(&mut is_parted, true) {
                    out.push(args.bytes(0))?;
                }
                value.write_text(|text| out.push(text))
            });
            pushed.unwrap_or(Some(()))?;
        }
        let suffix = args.bytes(2);
        if !suffix.is_empty() && !is_parted {
            out.push(args.bytes(0))?;
        }
        out.push(suffix)
    })?;
    Some(Sample::Str(joined))
}

pub(super) fn check_add_item(args: &mut [Arg], registry: &Registry) -> Result<(), String> {
    let name = args.bytes(1);
    if name.is_empty() {
        return match args.bytes(2) {
            b"" => Err("one of the optional arguments has to be nonempty".into()),
            _ => Ok(()),
        };
    }
    args[1] = Arg::Var(variable(name, registry)?);
    Ok(())
}

fn variable(name: &[u8], registry: &Registry) -> Result<super::VarRef, String> {
    registry.variable(name).map_err(|_| {
        let name = String::from_utf8_lossy(name);
        format!("failed to register variable name '{name}'")
    })
}

/// `strcmp(var)`, `secure_memcmp(var)`: the first argument is a variable.
pub(super) fn check_variable(args: &mut [Arg], registry: &Registry) -> Result<(), String> {
    args[0] = Arg::Var(variable(args.bytes(0), registry)?);
    Ok(())
}

/// `strcmp(var)`: as the C library's.
pub(super) fn strcmp<'a>(
    args: &'a [Arg],
    input: Sample<'a>,
    cx: &mut Context<'a>,
) -> Option<Sample<'a>> {
    let Some(Arg::Var(var)) = args.first() else {
        return None;
    };
    let text = cx.scratch.bytes(input.content()?);
    let order = cx
        .vars
        .read(*var, |value| value.write_text(|other| compare(text, other)))?;
    Some(Sample::Int(order))
}

/// The difference of the first bytes that differ, or which of the two ends first.
fn compare(left: &[u8], right: &[u8]) -> i64 {
    let differing = left.iter().zip(right).find(|(a, b)| a != b);
    match differing {
        Some((a, b)) => i64::from(*a) - i64::from(*b),
        None => match left.len().cmp(&right.len()) {
            std::cmp::Ordering::Less => -1,
            std::cmp::Ordering::Equal => 0,
            std::cmp::Ordering::Greater => 1,
        },
    }
}

/// `secure_memcmp(var)`: takes the same time wherever they differ.
pub(super) fn secure_memcmp<'a>(
    args: &'a [Arg],
    input: Sample<'a>,
    cx: &mut Context<'a>,
) -> Option<Sample<'a>> {
    let Some(Arg::Var(var)) = args.first() else {
        return None;
    };
    let bytes = cx.scratch.bytes(input.content()?);
    let is_same = cx.vars.read(*var, |value| {
        value.write_text(|other| {
            let differing = bytes.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
            other.len() == bytes.len() && std::hint::black_box(differing) == 0
        })
    })?;
    Some(Sample::Bool(is_same))
}

/// `language(value[,default])`: of the languages in the argument, the one that the list of the input likes best.
pub(super) fn language<'a>(
    args: &'a [Arg],
    input: Sample<'a>,
    cx: &mut Context<'a>,
) -> Option<Sample<'a>> {
    let list = cx.scratch.bytes(input.content()?);
    let offered = args.bytes(0);
    let mut best: Option<(u32, &'a [u8])> = None;
    for item in list.split(|byte| *byte == b',') {
        let mut parts = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let quality = parts
            .find_map(|part| part.strip_prefix(b"q=").or(part.strip_prefix(b"Q=")))
            .map_or(1000, quality_thousandths);
        if quality == 0 || best.is_some_and(|(most, _)| quality <= most) {
            continue;
        }
        let find = |name: &[u8]| {
            let mut words = offered.split(|byte| *byte == b';');
            words.find(|word| *word == name && !word.is_empty())
        };
        let base = name.split(|byte| *byte == b'-').next().unwrap_or_default();
        if let Some(word) = find(name).or_else(|| find(base)) {
            best = Some((quality, word));
        }
    }
    match (best, args.get(1)) {
        (Some((_, word)), _) => Some(Sample::str(word)),
        (None, Some(Arg::Str(default))) => Some(Sample::str(default)),
        _ => None,
    }
}

/// `0.8` is 800.
fn quality_thousandths(text: &[u8]) -> u32 {
    let digit = |byte: &u8| u32::from(byte.wrapping_sub(b'0').min(9));
    match text {
        [b'0', b'.', digits @ ..] => digits
            .iter()
            .take(3)
            .zip([100, 10, 1])
            .map(|(byte, value)| digit(byte) * value)
            .sum(),
        [b'0'] => 0,
        _ => 1000,
    }
}

/// `ltime(format[,offset])`, `utime(format[,offset])`.
pub(super) fn date<'a>(
    args: &'a [Arg],
    input: Sample<'a>,
    cx: &mut Context<'a>,
    is_local: bool,
) -> Option<Sample<'a>> {
    let Sample::Int(seconds) = input else {
        return None;
    };
    let Some(Arg::Format(format)) = args.first() else {
        return None;
    };
    let seconds = seconds.saturating_add(args.int(1).unwrap_or(0));
    let mut text = [0; 256];
    let length = localtime::format_date(seconds, is_local, format, &mut text)?;
    cx.scratch
        .write(|out| out.push(&text[..length]))
        .map(Sample::Str)
}

pub(super) fn check_date(args: &mut [Arg], _: &Registry) -> Result<(), String> {
    let format = std::ffi::CString::new(args.bytes(0)).map_err(|error| error.to_string())?;
    args[0] = Arg::Format(format.into());
    Ok(())
}
