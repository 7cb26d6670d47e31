//! The table of converters: name, arguments, input and output type, and the function. Here those that work on strings and
//! addresses; numbers and encodings are in `convert_number` and `convert_code`.
//!
//! To add a converter, add its line and its function; to support one that `known` lists, remove it there.

use super::args::{Arg, ArgType, Args, Signature};
use super::context::Context;
use super::convert_digest::{self as digest, Digest};
use super::fetch::CheckFn;
use super::fetch_capture;
use super::patterns::{self, Output};
use super::regex::Regex;
use super::registry::Registry;
use super::value::{Sample, Type};
use super::vars::VarTarget;
use super::{
    convert_code as code, convert_json as json, convert_map as map, convert_number as number,
    convert_text as text,
};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

/// Converts a value that has been cast to the input type. `None`: it cannot be converted, and the expression has no value.
pub(super) type ConvertFn =
    for<'a> fn(&'a [Arg], Sample<'a>, &mut Context<'a>) -> Option<Sample<'a>>;

/// One converter.
pub(super) struct Convert {
    pub name: &'static str,
    pub signature: Signature,
    pub check: Option<CheckFn>,
    pub input: Type,
    pub output: Type,
    pub run: ConvertFn,
}

const NONE: Signature = Signature {
    required: 0,
    types: &[],
};
const OPTIONAL_INT: Signature = Signature {
    required: 0,
    types: &[ArgType::Int],
};
const ONE_STR: Signature = Signature {
    required: 1,
    types: &[ArgType::Str],
};
const OPTIONAL_STR: Signature = Signature {
    required: 0,
    types: &[ArgType::Str],
};
const OPTIONAL_DEFAULT: Signature = Signature {
    required: 1,
    types: &[ArgType::Str, ArgType::Str],
};
const DEFAULT_INT: Signature = Signature {
    required: 1,
    types: &[ArgType::Str, ArgType::Int],
};
const TWO_STR: Signature = Signature {
    required: 2,
    types: &[ArgType::Str, ArgType::Str],
};
const JWT: Signature = Signature {
    required: 0,
    types: &[ArgType::Str, ArgType::Str],
};
const DATE: Signature = Signature {
    required: 1,
    types: &[ArgType::Str, ArgType::Int],
};
const SPLIT: Signature = Signature {
    required: 2,
    types: &[ArgType::Int, ArgType::Str, ArgType::Int],
};
const CHUNKS: Signature = Signature {
    required: 1,
    types: &[ArgType::Str, ArgType::Int, ArgType::Int],
};
const OPTIONAL_CHUNKS: Signature = Signature {
    required: 0,
    ..CHUNKS
};

const fn convert(
    name: &'static str,
    signature: Signature,
    input: Type,
    output: Type,
    run: ConvertFn,
) -> Convert {
    let check: Option<CheckFn> = None;
    Convert {
        name,
        signature,
        check,
        input,
        output,
        run,
    }
}

const fn checked(mut convert: Convert, check: CheckFn) -> Convert {
    convert.check = Some(check);
    convert
}

/// Most converters; those of stick tables are in `stick_counters`.
#[rustfmt::skip]
pub(super) static CONVERTERS: &[Convert] = {
    use Type::*;
    &[
        // Numbers
        checked(convert("add", ONE_STR, Int, Int, |args, input, cx| number::apply(args, input, cx, i64::saturating_add)), number::check_operand),
        checked(convert("and", ONE_STR, Int, Int, |args, input, cx| number::apply(args, input, cx, |a, b| a & b)), number::check_operand),
        convert("bool", NONE, Int, Bool, |_, input, _| number::test(input, |value| value != 0)),
        convert("cpl", NONE, Int, Int, |_, input, _| number::map(input, |value| !value)),
        checked(convert("div", ONE_STR, Int, Int, |args, input, cx| number::apply(args, input, cx, number::divide)), number::check_operand),
        convert("even", NONE, Int, Bool, |_, input, _| number::test(input, |value| value & 1 == 0)),
        convert("htonl", NONE, Int, Bin, number::htonl),
        checked(convert("http_date", Signature { required: 0, types: &[ArgType::Int, ArgType::Str] }, Int, Str, number::http_date), number::check_unit),
        checked(convert("mod", ONE_STR, Int, Int, |args, input, cx| number::apply(args, input, cx, number::remainder)), number::check_operand),
        checked(convert("mul", ONE_STR, Int, Int, |args, input, cx| number::apply(args, input, cx, i64::saturating_mul)), number::check_operand),
        convert("neg", NONE, Int, Int, |_, input, _| number::map(input, i64::saturating_neg)),
        convert("not", NONE, Int, Bool, |_, input, _| number::test(input, |value| value == 0)),
        convert("odd", NONE, Int, Bool, |_, input, _| number::test(input, |value| value & 1 == 1)),
        checked(convert("or", ONE_STR, Int, Int, |args, input, cx| number::apply(args, input, cx, |a, b| a | b)), number::check_operand),
        checked(convert("sub", ONE_STR, Int, Int, |args, input, cx| number::apply(args, input, cx, i64::saturating_sub)), number::check_operand),
        checked(convert("xor", ONE_STR, Int, Int, |args, input, cx| number::apply(args, input, cx, |a, b| a ^ b)), number::check_operand),
        // Hashes
        convert("crc32", OPTIONAL_INT, Bin, Int, number::crc32),
        convert("crc32c", OPTIONAL_INT, Bin, Int, number::crc32c),
        convert("djb2", OPTIONAL_INT, Bin, Int, number::djb2),
        convert("sdbm", OPTIONAL_INT, Bin, Int, number::sdbm),
        convert("xxh32", OPTIONAL_INT, Bin, Int, number::xxh32),
        convert("xxh64", OPTIONAL_INT, Bin, Int, number::xxh64),
        // Encodings
        convert("b64dec", NONE, Str, Bin, |_, input, cx| code::decode_base64(input, cx, code::STANDARD)),
        convert("base64", NONE, Bin, Str, |_, input, cx| code::encode_base64(input, cx, code::STANDARD)),
        checked(convert("be2dec", CHUNKS, Bin, Str, code::be2dec), code::check_be2dec),
        checked(convert("be2hex", OPTIONAL_CHUNKS, Bin, Str, code::be2hex), code::check_be2hex),
        convert("hex", NONE, Bin, Str, code::hex),
        convert("hex2i", NONE, Str, Int, code::hex_to_int),
        convert("ub64dec", NONE, Str, Bin, |_, input, cx| code::decode_base64(input, cx, code::URL)),
        convert("ub64enc", NONE, Bin, Str, |_, input, cx| code::encode_base64(input, cx, code::URL)),
        convert("url_dec", OPTIONAL_INT, Str, Str, code::url_decode),
        checked(convert("url_enc", OPTIONAL_STR, Str, Str, code::url_encode), code::check_url_encode),
        // Strings
        convert("bytes", Signature { required: 1, types: &[ArgType::Int, ArgType::Int] }, Bin, Bin, cut_bytes),
        checked(convert("concat", Signature { required: 0, types: &[ArgType::Str, ArgType::Str, ArgType::Str] }, Str, Str, concat), check_concat),
        convert("cut_crlf", NONE, Str, Str, cut_crlf),
        checked(convert("field", SPLIT, Str, Str, field), check_split),
        convert("host_only", NONE, Str, Str, host_only),
        convert("iif", Signature { required: 2, types: &[ArgType::Str, ArgType::Str] }, Bool, Str, iif),
        convert("length", NONE, Str, Int, length),
        convert("lower", NONE, Str, Str, |_, input, cx| map_bytes(input, cx, |byte| byte.to_ascii_lowercase())),
        convert("ltrim", ONE_STR, Str, Str, ltrim),
        convert("port_only", NONE, Str, Int, port_only),
        convert("rtrim", ONE_STR, Str, Str, rtrim),
        convert("upper", NONE, Str, Str, |_, input, cx| map_bytes(input, cx, |byte| byte.to_ascii_uppercase())),
        checked(convert("word", SPLIT, Str, Str, word), check_split),
        checked(convert("regsub", Signature { required: 2, types: &[ArgType::Str, ArgType::Str, ArgType::Str] }, Str, Str, regsub), check_regsub),
        // Digests
        checked(convert("digest", ONE_STR, Bin, Bin, digest::digest), digest::check_digest),
        checked(convert("hmac", TWO_STR, Bin, Bin, digest::hmac), digest::check_hmac),
        convert("sha1", NONE, Bin, Bin, |_, input, cx| digest::run(Digest::Sha1, input, cx)),
        checked(convert("sha2", OPTIONAL_INT, Bin, Bin, digest::digest), digest::check_sha2),
        convert("xxh3", OPTIONAL_INT, Bin, Int, number::xxh3),
        // JSON
        checked(convert("json", OPTIONAL_STR, Str, Str, json::escape), json::check_escape),
        checked(convert("json_query", Signature { required: 1, types: &[ArgType::Str, ArgType::Str] }, Str, Any, json::query), json::check_query),
        checked(convert("jwt_header_query", JWT, Bin, Any, |args, input, cx| json::jwt(args, input, cx, 0)), json::check_jwt),
        checked(convert("jwt_payload_query", JWT, Bin, Any, |args, input, cx| json::jwt(args, input, cx, 1)), json::check_jwt),
        // Lists, comparisons, dates
        checked(convert("add_item", Signature { required: 2, types: &[ArgType::Str, ArgType::Str, ArgType::Str] }, Str, Str, text::add_item), text::check_add_item),
        convert("language", OPTIONAL_DEFAULT, Str, Str, text::language),
        checked(convert("ltime", DATE, Int, Str, |args, input, cx| text::date(args, input, cx, true)), text::check_date),
        checked(convert("secure_memcmp", ONE_STR, Bin, Bool, text::secure_memcmp), text::check_variable),
        checked(convert("strcmp", ONE_STR, Str, Int, text::strcmp), text::check_variable),
        checked(convert("utime", DATE, Int, Str, |args, input, cx| text::date(args, input, cx, false)), text::check_date),
        // Maps
        checked(convert("map", OPTIONAL_DEFAULT, Str, Str, map::look_up), |args, registry| map::check(args, registry, patterns::Method::Str, Output::Str)),
        checked(convert("map_beg", OPTIONAL_DEFAULT, Str, Str, map::look_up), |args, registry| map::check(args, registry, patterns::Method::Beg, Output::Str)),
        checked(convert("map_beg_int", DEFAULT_INT, Str, Int, map::look_up), |args, registry| map::check(args, registry, patterns::Method::Beg, Output::Int)),
        checked(convert("map_beg_ip", OPTIONAL_DEFAULT, Str, Addr, map::look_up), |args, registry| map::check(args, registry, patterns::Method::Beg, Output::Ip)),
        checked(convert("map_dir", OPTIONAL_DEFAULT, Str, Str, map::look_up), |args, registry| map::check(args, registry, patterns::Method::Dir, Output::Str)),
        checked(convert("map_dir_int", DEFAULT_INT, Str, Int, map::look_up), |args, registry| map::check(args, registry, patterns::Method::Dir, Output::Int)),
        checked(convert("map_dir_ip", OPTIONAL_DEFAULT, Str, Addr, map::look_up), |args, registry| map::check(args, registry, patterns::Method::Dir, Output::Ip)),
        checked(convert("map_dom", OPTIONAL_DEFAULT, Str, Str, map::look_up), |args, registry| map::check(args, registry, patterns::Method::Dom, Output::Str)),
        checked(convert("map_dom_int", DEFAULT_INT, Str, Int, map::look_up), |args, registry| map::check(args, registry, patterns::Method::Dom, Output::Int)),
        checked(convert("map_dom_ip", OPTIONAL_DEFAULT, Str, Addr, map::look_up), |args, registry| map::check(args, registry, patterns::Method::Dom, Output::Ip)),
        checked(convert("map_end", OPTIONAL_DEFAULT, Str, Str, map::look_up), |args, registry| map::check(args, registry, patterns::Method::End, Output::Str)),
        checked(convert("map_end_int", DEFAULT_INT, Str, Int, map::look_up), |args, registry| map::check(args, registry, patterns::Method::End, Output::Int)),
        checked(convert("map_end_ip", OPTIONAL_DEFAULT, Str, Addr, map::look_up), |args, registry| map::check(args, registry, patterns::Method::End, Output::Ip)),
        checked(convert("map_int", OPTIONAL_DEFAULT, Int, Str, map::look_up), |args, registry| map::check(args, registry, patterns::Method::Int, Output::Str)),
        checked(convert("map_int_int", DEFAULT_INT, Int, Int, map::look_up), |args, registry| map::check(args, registry, patterns::Method::Int, Output::Int)),
        checked(convert("map_int_ip", OPTIONAL_DEFAULT, Int, Addr, map::look_up), |args, registry| map::check(args, registry, patterns::Method::Int, Output::Ip)),
        checked(convert("map_ip", OPTIONAL_DEFAULT, Addr, Str, map::look_up), |args, registry| map::check(args, registry, patterns::Method::Ip, Output::Str)),
        checked(convert("map_ip_int", DEFAULT_INT, Addr, Int, map::look_up), |args, registry| map::check(args, registry, patterns::Method::Ip, Output::Int)),
        checked(convert("map_ip_ip", OPTIONAL_DEFAULT, Addr, Addr, map::look_up), |args, registry| map::check(args, registry, patterns::Method::Ip, Output::Ip)),
        checked(convert("map_reg", OPTIONAL_DEFAULT, Str, Str, map::look_up), |args, registry| map::check(args, registry, patterns::Method::Reg, Output::Str)),
        checked(convert("map_reg_int", DEFAULT_INT, Str, Int, map::look_up), |args, registry| map::check(args, registry, patterns::Method::Reg, Output::Int)),
        checked(convert("map_reg_ip", OPTIONAL_DEFAULT, Str, Addr, map::look_up), |args, registry| map::check(args, registry, patterns::Method::Reg, Output::Ip)),
        checked(convert("map_regm", OPTIONAL_DEFAULT, Str, Str, map::look_up), |args, registry| map::check(args, registry, patterns::Method::Reg, Output::Template)),
        checked(convert("map_str", OPTIONAL_DEFAULT, Str, Str, map::look_up), |args, registry| map::check(args, registry, patterns::Method::Str, Output::Str)),
        checked(convert("map_str_int", DEFAULT_INT, Str, Int, map::look_up), |args, registry| map::check(args, registry, patterns::Method::Str, Output::Int)),
        checked(convert("map_str_ip", OPTIONAL_DEFAULT, Str, Addr, map::look_up), |args, registry| map::check(args, registry, patterns::Method::Str, Output::Ip)),
        checked(convert("map_sub", OPTIONAL_DEFAULT, Str, Str, map::look_up), |args, registry| map::check(args, registry, patterns::Method::Sub, Output::Str)),
        checked(convert("map_sub_int", DEFAULT_INT, Str, Int, map::look_up), |args, registry| map::check(args, registry, patterns::Method::Sub, Output::Int)),
        checked(convert("map_sub_ip", OPTIONAL_DEFAULT, Str, Addr, map::look_up), |args, registry| map::check(args, registry, patterns::Method::Sub, Output::Ip)),
        // Servers
        convert("nbsrv", NONE, Str, Int, super::fetch_state::nbsrv),
        convert("srv_queue", NONE, Str, Int, super::fetch_state::srv_queue),
        // Variables
        convert("capture-req", Signature { required: 1, types: &[ArgType::Int] }, Str, Str, |args, input, cx| fetch_capture::capture(args, input, cx, true)),
        convert("capture-res", Signature { required: 1, types: &[ArgType::Int] }, Str, Str, |args, input, cx| fetch_capture::capture(args, input, cx, false)),
        checked(convert("set-var", Signature { required: 1, types: &[ArgType::Str; 5] }, Any, Any, set_var), check_set_var),
        checked(convert("unset-var", ONE_STR, Any, Any, unset_var), check_unset_var),
        // Addresses
        convert("ipmask", Signature { required: 1, types: &[ArgType::Mask4, ArgType::Mask6] }, Addr, Ipv4, ipmask),
    ]
};

fn all() -> impl Iterator<Item = &'static Convert> {
    CONVERTERS.iter().chain(super::stick_counters::CONVERTERS)
}

/// The names of all converters.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    all().map(|convert| convert.name)
}

/// The converter of that name.
pub(super) fn find(name: &[u8]) -> Option<&'static Convert> {
    all().find(|convert| convert.name.as_bytes() == name)
}

/// A part of a string, as `range` finds it: from and to.
fn part<'a>(
    input: Sample<'a>,
    cx: &mut Context<'a>,
    range: impl FnOnce(&[u8]) -> Option<(usize, usize)>,
) -> Option<Sample<'a>> {
    let bytes = input.content()?;
    let (from, to) = range(cx.scratch.bytes(bytes))?;
    Some(Sample::Str(bytes.slice(from, to)))
}

fn map_bytes<'a>(
    input: Sample<'a>,
    cx: &mut Context<'a>,
    map: fn(&u8) -> u8,
) -> Option<Sample<'a>> {
    let bytes = input.content()?;
    let mapped = cx.scratch.rewrite(bytes, |input, out| {
        for byte in input {
            out.push(&[map(byte)])?;
        }
        Some(())
    })?;
    Some(Sample::Str(mapped))
}

/// `length`.
fn length<'a>(_: &'a [Arg], input: Sample<'a>, cx: &mut Context<'a>) -> Option<Sample<'a>> {
    Some(Sample::Int(cx.scratch.bytes(input.content()?).len() as i64))
}

/// `bytes(offset[,length])`.
fn cut_bytes<'a>(args: &'a [Arg], input: Sample<'a>, cx: &mut Context<'a>) -> Option<Sample<'a>> {
    let bytes = input.content()?;
    let len = cx.scratch.bytes(bytes).len();
    let from = usize::try_from(args.int(0)?).unwrap_or(usize::MAX).min(len);
    let to = match args.int(1).map(usize::try_from) {
        Some(Ok(length)) => from.saturating_add(length).min(len),
        _ => len,
    };
    Some(Sample::Bin(bytes.slice(from, to)))
}

/// `concat([start],[var],[end])`: a variable that is not set adds nothing.
fn concat<'a>(args: &'a [Arg], input: Sample<'a>, cx: &mut Context<'a>) -> Option<Sample<'a>> {
    let vars = cx.vars;
    let joined = cx.scratch.rewrite(input.content()?, |input, out| {
        out.push(input)?;
        out.push(args.bytes(0))?;
        if let Some(Arg::Var(var)) = args.get(1) {
            vars.read(*var, |value| value.write_text(|text| out.push(text)))
                .unwrap_or(Some(()))?;
        }
        out.push(args.bytes(2))
    })?;
    Some(Sample::Str(joined))
}

fn check_concat(args: &mut [Arg], registry: &Registry) -> Result<(), String> {
    let name = args.bytes(1);
    if name.is_empty() {
        return Ok(());
    }
    args[1] = match registry.variable(name) {
        Ok(var) => Arg::Var(var),
        Err(_) => return Err(failed_to_register(name)),
    };
    Ok(())
}

fn failed_to_register(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    format!("failed to register variable name '{name}'")
}

/// `regsub(regex,replacement[,flags])`: the first match, or with `g` all of them.
fn regsub<'a>(args: &'a [Arg], input: Sample<'a>, cx: &mut Context<'a>) -> Option<Sample<'a>> {
    let Some(Arg::Regex(regex)) = args.first() else {
        return None;
    };
    let all = args.bytes(2).contains(&b'g');
    let replaced = cx.scratch.rewrite(input.content()?, |input, out| {
        let mut at = 0;
        while let Some(found) = regex.find_at(input, at) {
            let (from, to) = found.range();
            out.push(&input[at..from])?;
            found.expand(args.bytes(1), |bytes| out.push(bytes))?;
            at = to;
            if from == to {
                // an empty match: go on behind the next byte
                let Some(byte) = input.get(at) else {
                    break;
                };
                out.push(&[*byte])?;
                at += 1;
            }
            if !all {
                break;
            }
        }
        out.push(input.get(at..).unwrap_or_default())
    })?;
    Some(Sample::Str(replaced))
}

fn check_regsub(args: &mut [Arg], _: &Registry) -> Result<(), String> {
    let flags = args.bytes(2);
    if let Some(flag) = flags.iter().find(|flag| !b"ig".contains(flag)) {
        return Err(format!(
            "invalid regex flag '{}', only 'i' and 'g' are supported",
            *flag as char
        ));
    }
    let regex = Regex::new(args.bytes(0), flags.contains(&b'i'))?;
    args[0] = Arg::Regex(Rc::new(regex));
    Ok(())
}

/// `set-var(name[,cond…])`: the value goes on as it is.
fn set_var<'a>(args: &'a [Arg], input: Sample<'a>, cx: &mut Context<'a>) -> Option<Sample<'a>> {
    if let Some(Arg::Set(target)) = args.first() {
        cx.vars.set(target, input.resolve(cx.scratch));
    }
    Some(input)
}

fn check_set_var(args: &mut [Arg], registry: &Registry) -> Result<(), String> {
    let var = registry.variable(args.bytes(0))?;
    let conditions = (1..args.len()).map(|position| args.bytes(position));
    args[0] = Arg::Set(VarTarget::new(var, conditions)?);
    Ok(())
}

/// `unset-var(name)`.
fn unset_var<'a>(args: &'a [Arg], input: Sample<'a>, cx: &mut Context<'a>) -> Option<Sample<'a>> {
    if let Some(Arg::Var(var)) = args.first() {
        cx.vars.unset(*var);
    }
    Some(input)
}

fn check_unset_var(args: &mut [Arg], registry: &Registry) -> Result<(), String> {
    args[0] = Arg::Var(registry.variable(args.bytes(0))?);
    Ok(())
}

/// `cut_crlf`.
fn cut_crlf<'a>(_: &'a [Arg], input: Sample<'a>, cx: &mut Context<'a>) -> Option<Sample<'a>> {
    part(input, cx, |text| {
        let end = text.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        Some((0, end.unwrap_or(text.len())))
    })
}

/// `iif(true,false)`.
fn iif<'a>(args: &'a [Arg], input: Sample<'a>, _: &mut Context<'a>) -> Option<Sample<'a>> {
    match input {
        Sample::Bool(value) => Some(Sample::str(args.bytes(if value { 0 } else { 1 }))),
        _ => None,
    }
}

/// `ltrim(chars)`.
fn ltrim<'a>(args: &'a [Arg], input: Sample<'a>, cx: &mut Context<'a>) -> Option<Sample<'a>> {
    part(input, cx, |text| {
        let kept = text.iter().position(|byte| !args.bytes(0).contains(byte));
        Some((kept.unwrap_or(text.len()), text.len()))
    })
}

/// `rtrim(chars)`.
fn rtrim<'a>(args: &'a [Arg], input: Sample<'a>, cx: &mut Context<'a>) -> Option<Sample<'a>> {
    part(input, cx, |text| {
        let kept = text.iter().rposition(|byte| !args.bytes(0).contains(byte));
        Some((0, kept.map_or(0, |last| last + 1)))
    })
}

/// Where the host of a Host header ends: at its last colon, one inside of `[…]` apart.
fn host_end(text: &[u8]) -> usize {
    match text.iter().rposition(|byte| matches!(byte, b':' | b']')) {
        Some(at) if text[at] == b':' => at,
        _ => text.len(),
    }
}

/// `host_only`.
fn host_only<'a>(args: &'a [Arg], input: Sample<'a>, cx: &mut Context<'a>) -> Option<Sample<'a>> {
    let _ = args;
    let host = part(input, cx, |text| Some((0, host_end(text))))?;
    map_bytes(host, cx, |byte| byte.to_ascii_lowercase())
}

/// `port_only`: 0 without a port.
fn port_only<'a>(_: &'a [Arg], input: Sample<'a>, cx: &mut Context<'a>) -> Option<Sample<'a>> {
    let text = cx.scratch.bytes(input.content()?);
    let port = text.get(host_end(text) + 1..).unwrap_or_default();
    let port = port.iter().fold(0u32, |port, digit| {
        port.wrapping_mul(10)
            .wrapping_add(u32::from(*digit).wrapping_sub(u32::from(b'0')))
    });
    Some(Sample::Int(i64::from(port)))
}

/// `field(index,delimiters[,count])`: fields may be empty; one that is not there has no value.
fn field<'a>(args: &'a [Arg], input: Sample<'a>, cx: &mut Context<'a>) -> Option<Sample<'a>> {
    let (index, delimiters) = (args.int(0)?, args.bytes(1));
    let count = args.int(2).unwrap_or(1).unsigned_abs() as usize;
    part(input, cx, |text| {
        let is_delimiter = |byte: &u8| delimiters.contains(byte);
        let skip = index.unsigned_abs() as usize - 1;
        let nth_field = |nth: usize| match index > 0 {
            true => nth_span(text, nth, is_delimiter),
            false => nth_span_back(text, nth, is_delimiter),
        };
        let first = nth_field(skip)?;
        let last = match count {
            0 => None,
            1 => Some(first),
            _ => nth_field(skip.saturating_add(count - 1)),
        };
        Some(join(text, first, last, index > 0))
    })
}

/// From one piece to another; to the end of the text, or to its start when counting backwards, if there is no other.
fn join(
    text: &[u8],
    first: (usize, usize),
    last: Option<(usize, usize)>,
    forward: bool,
) -> (usize, usize) {
    match (forward, last) {
        (true, Some(last)) => (first.0, last.1),
        (true, None) => (first.0, text.len()),
        (false, Some(last)) => (last.0, first.1),
        (false, None) => (0, first.1),
    }
}

/// The nth piece (from 0) between delimiters.
fn nth_span(text: &[u8], nth: usize, is_delimiter: impl Fn(&u8) -> bool) -> Option<(usize, usize)> {
    let mut start = 0;
    for _ in 0..nth {
        start += text.get(start..)?.iter().position(&is_delimiter)? + 1;
    }
    let rest = text.get(start..)?;
    Some((
        start,
        start + rest.iter().position(&is_delimiter).unwrap_or(rest.len()),
    ))
}

/// The nth piece (from 0) between delimiters, counted from the end.
fn nth_span_back(
    text: &[u8],
    nth: usize,
    is_delimiter: impl Fn(&u8) -> bool,
) -> Option<(usize, usize)> {
    let mut end = text.len();
    for _ in 0..nth {
        end = text[..end].iter().rposition(&is_delimiter)?;
    }
    let start = text[..end]
        .iter()
        .rposition(&is_delimiter)
        .map_or(0, |at| at + 1);
    Some((start, end))
}

/// `word(index,delimiters[,count])`: words are never empty, delimiters around them do not count; a word that is not there is empty.
fn word<'a>(args: &'a [Arg], input: Sample<'a>, cx: &mut Context<'a>) -> Option<Sample<'a>> {
    let (index, delimiters) = (args.int(0)?, args.bytes(1));
    let count = args.int(2).unwrap_or(1).unsigned_abs() as usize;
    part(input, cx, |text| {
        let skip = index.unsigned_abs() as usize - 1;
        let (mut words, mut words_back) = (
            Words {
                text,
                delimiters,
                at: 0,
            },
            WordsBack {
                text,
                delimiters,
                end: text.len(),
            },
        );
        let spans: &mut dyn Iterator<Item = (usize, usize)> = if index > 0 {
            &mut words
        } else {
            &mut words_back
        };
        let Some(first) = spans.nth(skip) else {
            return Some((text.len(), text.len()));
        };
        let last = match count {
            0 => None,
            1 => Some(first),
            _ => spans.nth(count - 2),
        };
        Some(join(text, first, last, index > 0))
    })
}

struct Words<'t> {
    text: &'t [u8],
    delimiters: &'t [u8],
    at: usize,
}

impl Iterator for Words<'_> {
    type Item = (usize, usize);

    fn next(&mut self) -> Option<(usize, usize)> {
        let rest = &self.text[self.at..];
        let start = self.at
            + rest
                .iter()
                .position(|byte| !self.delimiters.contains(byte))?;
        let rest = &self.text[start..];
        let len = rest
            .iter()
            .position(|byte| self.delimiters.contains(byte))
            .unwrap_or(rest.len());
        self.at = start + len;
        Some((start, start + len))
    }
}

struct WordsBack<'t> {
    text: &'t [u8],
    delimiters: &'t [u8],
    end: usize,
}

impl Iterator for WordsBack<'_> {
    type Item = (usize, usize);

    fn next(&mut self) -> Option<(usize, usize)> {
        let end = self.text[..self.end]
            .iter()
            .rposition(|byte| !self.delimiters.contains(byte))?
            + 1;
        let start = self.text[..end]
            .iter()
            .rposition(|byte| self.delimiters.contains(byte))
            .map_or(0, |at| at + 1);
        self.end = start;
        Some((start, end))
    }
}

fn check_split(args: &mut [Arg], _: &Registry) -> Result<(), String> {
    if args.int(0) == Some(0) {
        return Err("Unexpected value 0 for index".into());
    }
    if args.bytes(1).is_empty() {
        return Err("Empty separators list".into());
    }
    Ok(())
}

/// `ipmask(mask4[,mask6])`: without a mask for IPv6, such an address has no value.
fn ipmask<'a>(args: &'a [Arg], input: Sample<'a>, _: &mut Context<'a>) -> Option<Sample<'a>> {
    match (input, args.first(), args.get(1)) {
        (Sample::Ipv4(address), Some(Arg::Mask4(mask)), _) => {
            Some(Sample::Ipv4(Ipv4Addr::from(u32::from(address) & mask)))
        }
        (Sample::Ipv6(address), _, Some(Arg::Mask6(mask))) => {
            Some(Sample::Ipv6(Ipv6Addr::from(u128::from(address) & mask)))
        }
        _ => None,
    }
}
