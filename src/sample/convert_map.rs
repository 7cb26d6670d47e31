//! The converters that look a value up in a map (`map`, `map_beg`, `map_ip_int`, …).
//!
//! `map_sub` looks for a part of the value, as the manual says; that of HAProxy 2.6 looks at its end, as `map_end`.
//!
//! Not here: the maps (`patterns`).

use super::args::{Arg, Args};
use super::context::Context;
use super::patterns::{Method, Output, PatternSet, output};
use super::registry::Registry;
use super::value::{Sample, parse_address};
use std::rc::Rc;

/// What a map converter was given.
#[derive(Clone, Debug)]
pub(super) struct Map {
    set: Rc<PatternSet>,
    index: usize,
    output: Output,
}

/// Reads the file that the first argument names, and the default value.
pub(super) fn check(
    args: &mut [Arg],
    registry: &Registry,
    method: Method,
    kind: Output,
) -> Result<(), String> {
    let set = registry.pattern_file(args.bytes(0), true)?;
    let index = set.register(method, false, Some(kind), ("", &registry.origin()))?;
    if let (Output::Ip, Some(Arg::Str(text))) = (kind, args.get(1)) {
        let address = parse_address(text).ok_or_else(|| {
            let text = String::from_utf8_lossy(text);
            format!("'{text}' is not a valid IPv4 or IPv6 address")
        })?;
        args[1] = Arg::Addr(address);
    }
    args[0] = Arg::Map(Box::new(Map {
        set,
        index,
        output: kind,
    }));
    Ok(())
}

/// The value for the first pattern that matches (for networks and starts of strings the longest), or the default.
pub(super) fn look_up<'a>(
    args: &'a [Arg],
    input: Sample<'a>,
    cx: &mut Context<'a>,
) -> Option<Sample<'a>> {
    let Some(Arg::Map(map)) = args.first() else {
        return None;
    };
    let Some(id) = map.set.find(map.index, input, cx.scratch) else {
        return match args.get(1)? {
            Arg::Str(text) => Some(Sample::str(text)),
            Arg::Int(value) => Some(Sample::Int(*value)),
            Arg::Addr(address) => Some(Sample::address(*address)),
            _ => None,
        };
    };
    if map.output == Output::Template {
        let text = input.content()?;
        let expanded = cx.scratch.rewrite(text, |text, out| {
            map.set.with_regex(map.index, id, |regex, value| {
                regex.find(text)?.expand(value, |bytes| out.push(bytes))
            })?
        })?;
        return Some(Sample::Str(expanded));
    }
    let value = map.set.value(id)?;
    output(map.output, &value, cx.scratch)
}
