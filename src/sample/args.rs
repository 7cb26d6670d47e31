//! Arguments of fetches and converters: `(a,'b c',"d\n")`, split, unquoted and typed when the configuration is read.

use super::context::Context;
use super::convert_digest::Digest;
use super::convert_map::Map;
use super::link::{Link, LinkKind, Target};
use super::regex::Regex;
use super::registry::Registry;
use super::vars::{VarRef, VarTarget};
use super::{Error, value};
use std::ffi::CStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

/// Type that a keyword asks for at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ArgType {
    Str,
    Int,
    Ipv4,
    Ipv6,
    Mask4,
    Mask6,
    /// A stick table; the current proxy's when it may be left out and is.
    Table,
    /// A stick table, or none.
    OtherTable,
    /// The name of something else that may be declared later; the current proxy when it may be left out and is.
    Name(LinkKind),
}

impl ArgType {
    /// In HAProxy's words.
    fn name(self) -> &'static str {
        match self {
            ArgType::Str => "string",
            ArgType::Int => "integer",
            ArgType::Ipv4 => "IPv4 address",
            ArgType::Ipv6 => "IPv6 address",
            ArgType::Mask4 => "IPv4 mask",
            ArgType::Mask6 => "IPv6 mask",
            ArgType::Table
            | ArgType::OtherTable
            | ArgType::Name(LinkKind::Table | LinkKind::TableOfKey(_)) => "table",
            ArgType::Name(LinkKind::Frontend) => "frontend",
            ArgType::Name(LinkKind::Backend) => "backend",
            ArgType::Name(LinkKind::Server) => "server",
            ArgType::Name(LinkKind::UserList) => "user list",
        }
    }

    /// What stands for an argument that was left out without a word: the current proxy, or its table.
    fn left_out(self) -> Option<Arg> {
        match self {
            ArgType::Table => Some(Arg::Name(Link::new(LinkKind::Table, ""))),
            ArgType::Name(kind) => Some(Arg::Name(Link::new(kind, ""))),
            _ => None,
        }
    }

    fn parse(self, word: Vec<u8>) -> Option<Arg> {
        let text = std::str::from_utf8(&word).ok();
        Some(match self {
            ArgType::Str => Arg::Str(word.into_boxed_slice()),
            ArgType::Int => Arg::Int(parse_int(&word)?),
            ArgType::Ipv4 => Arg::Ipv4(text?.parse().ok()?),
            ArgType::Ipv6 => Arg::Ipv6(text?.parse().ok()?),
            ArgType::Mask4 => Arg::Mask4(parse_mask4(text?)?),
            ArgType::Mask6 => Arg::Mask6(parse_mask6(text?)?),
            ArgType::Table | ArgType::OtherTable => Arg::Name(Link::new(LinkKind::Table, text?)),
            ArgType::Name(kind) => Arg::Name(Link::new(kind, text?)),
        })
    }
}

/// One argument.
#[derive(Clone, Debug)]
pub(super) enum Arg {
    /// Left out.
    None,
    Str(Box<[u8]>),
    Int(i64),
    Ipv4(Ipv4Addr),
    Ipv6(Ipv6Addr),
    Mask4(u32),
    Mask6(u128),
    /// The name of something that is resolved when the whole configuration is there.
    Name(Rc<Link>),
    /// A variable to read.
    Var(VarRef),
    /// A variable to set.
    Set(VarTarget),
    Regex(Rc<Regex>),
    Addr(IpAddr),
    Digest(Digest),
    /// A date's format, for strftime(3).
    Format(Rc<CStr>),
    Map(Box<Map>),
    /// An offset; with a sign it is relative to another.
    Offset {
        from: i64,
        relative: bool,
    },
    /// A user list.
    Users(Rc<Link>, Registry),
}

/// What a keyword takes: the first `required` must be there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signature {
    pub required: usize,
    pub types: &'static [ArgType],
}

/// Reads of arguments that were typed and counted when the configuration was parsed.
pub(super) trait Args {
    /// The string at a position; empty when it was left out.
    fn bytes(&self, position: usize) -> &[u8];
    /// The integer at a position, if it was given.
    fn int(&self, position: usize) -> Option<i64>;
    /// Index of the table at a position, if one was named.
    fn table(&self, position: usize) -> Option<usize>;
    /// What the name at a position was resolved to.
    fn target(&self, position: usize) -> Option<Target>;
    /// The integer at a position, or that of the variable there.
    fn number(&self, position: usize, cx: &Context<'_>) -> Option<i64>;
}

impl Args for [Arg] {
    fn bytes(&self, position: usize) -> &[u8] {
        match self.get(position) {
            Some(Arg::Str(bytes)) => bytes,
            _ => &[],
        }
    }

    fn int(&self, position: usize) -> Option<i64> {
        match self.get(position) {
            Some(Arg::Int(value)) => Some(*value),
            _ => None,
        }
    }

    fn table(&self, position: usize) -> Option<usize> {
        match self.get(position) {
            Some(Arg::Name(link)) => link.target().map(|target| target.index),
            _ => None,
        }
    }

    fn target(&self, position: usize) -> Option<Target> {
        match self.get(position) {
            Some(Arg::Name(link)) => link.target(),
            _ => None,
        }
    }

    fn number(&self, position: usize, cx: &Context<'_>) -> Option<i64> {
        match self.get(position) {
            Some(Arg::Int(value)) => Some(*value),
            Some(Arg::Var(var)) => cx.vars.int(*var, cx.scratch),
            _ => None,
        }
    }
}

/// An error at an argument: its position from 1, and HAProxy's words.
pub(super) struct ArgError {
    pub position: usize,
    pub message: String,
}

/// Parses the arguments at the start of `text`, which begins with `(` if there are any. Returns them and what follows the `)`.
pub(super) fn parse(text: &[u8], signature: Signature) -> Result<(Box<[Arg]>, &[u8]), ArgError> {
    let mut args = Vec::new();
    let (mut rest, in_parentheses) = match text {
        [b'(', rest @ ..] => (rest, true),
        _ => (text, false),
    };
    let error = |position: usize, message: String| ArgError {
        position: position.max(1),
        message,
    };
    // Which one is wrong where a parenthesis should be: HAProxy counts one on where there is one argument at most.
    let behind = |count: usize| count + usize::from(signature.types.len() == 1);
    let empty_list = !in_parentheses || rest.first() == Some(&b')');
    // `()` is one empty argument; no parentheses are none, unless one is required
    if in_parentheses || signature.required > 0 {
        while let Some(&expected) = signature.types.get(args.len()) {
            let word = match empty_list {
                true => Vec::new(),
                false => take_word(&mut rest)
                    .ok_or_else(|| error(args.len() + 1, "expected ')'".into()))?,
            };
            let position = args.len() + 1;
            args.push(
                type_word(word, expected, position, signature)
                    .map_err(|message| error(position, message))?,
            );
            match rest.first() {
                Some(b',') if !empty_list && signature.types.len() > args.len() => {
                    rest = &rest[1..]
                }
                _ => break,
            }
        }
    }
    if in_parentheses {
        match rest {
            [b')', after @ ..] => rest = after,
            [] => return Err(error(behind(args.len()), "expected ')'".into())),
            _ => {
                let shown = String::from_utf8_lossy(rest);
                let message = format!("expected ')' before '{shown}'");
                return Err(error(behind(args.len()), message));
            }
        }
    }
    if args.len() < signature.required {
        let missing = signature.types[args.len()].name();
        let (got, required) = (args.len(), signature.required);
        return Err(error(
            got + 1,
            format!("missing arguments (got {got}/{required}), type '{missing}' expected"),
        ));
    }
    if let Some(own) = signature
        .types
        .get(args.len())
        .and_then(|next| next.left_out())
    {
        args.push(own);
    }
    Ok((args.into_boxed_slice(), rest))
}

/// The links among arguments, with their positions from 1.
pub(super) fn links(args: &[Arg]) -> impl Iterator<Item = (usize, &Rc<Link>)> {
    args.iter()
        .zip(1..)
        .filter_map(|(arg, position)| match arg {
            Arg::Name(link) | Arg::Users(link, _) => Some((position, link)),
            _ => None,
        })
}

fn type_word(
    word: Vec<u8>,
    expected: ArgType,
    position: usize,
    signature: Signature,
) -> Result<Arg, String> {
    let name = expected.name();
    if let (true, ArgType::Table | ArgType::OtherTable) = (word.is_empty(), expected) {
        return Ok(Arg::Name(Link::new(LinkKind::Table, "")));
    }
    if let (true, ArgType::Name(kind)) = (word.is_empty(), expected) {
        return Ok(Arg::Name(Link::new(kind, "")));
    }
    if word.is_empty() && expected != ArgType::Str {
        if position > signature.required {
            return Ok(Arg::None);
        }
        return Err(format!(
            "expected type '{name}' at position {position}, but got nothing"
        ));
    }
    let shown = String::from_utf8_lossy(&word).into_owned();
    expected
        .parse(word)
        .ok_or_else(|| format!("failed to parse '{shown}' as type '{name}' at position {position}"))
}

/// Takes one argument, up to a comma or a closing parenthesis outside of quotes. `None`: a quote is not closed.
///
/// `'…'` is literal. In `"…"`, and outside of quotes, a backslash stands before a quote, a backslash, a space, a sharp, or
/// the letters n, r and t; before anything else it is itself.
fn take_word(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let mut word = Vec::new();
    let mut quote = None;
    let mut text = *rest;
    loop {
        match (quote, text) {
            (None, [] | [b',' | b')', ..]) => break,
            (Some(_), []) => return None,
            (Some(open), [byte, ..]) if *byte == open => {
                quote = None;
                text = &text[1..];
            }
            (None, [byte @ (b'\'' | b'"'), ..]) => {
                quote = Some(*byte);
                text = &text[1..];
            }
            (None | Some(b'"'), [b'\\', escaped, ..]) if unescape(*escaped).is_some() => {
                word.extend(unescape(*escaped));
                text = &text[2..];
            }
            (_, [byte, ..]) => {
                word.push(*byte);
                text = &text[1..];
            }
        }
    }
    *rest = text;
    Some(word)
}

fn unescape(letter: u8) -> Option<u8> {
    match letter {
        b'n' => Some(b'\n'),
        b'r' => Some(b'\r'),
        b't' => Some(b'\t'),
        b'\\' | b'\'' | b'"' | b' ' | b'#' => Some(letter),
        _ => None,
    }
}

/// A whole integer with an optional sign; saturates.
fn parse_int(word: &[u8]) -> Option<i64> {
    let digits = match word {
        [b'-' | b'+', rest @ ..] => rest,
        _ => word,
    };
    let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    valid.then(|| value::parse_leading_int(word))?
}

/// `24` or `255.255.255.0` (any bits, as HAProxy takes them).
pub(super) fn parse_mask4(text: &str) -> Option<u32> {
    if text.contains('.') {
        return text.parse::<Ipv4Addr>().ok().map(u32::from);
    }
    let bits: u32 = text.parse().ok()?;
    (bits <= 32).then(|| (u32::MAX).checked_shl(32 - bits).unwrap_or(0))
}

/// `64` or `ffff:ffff::`.
pub(super) fn parse_mask6(text: &str) -> Option<u128> {
    if text.contains(':') {
        return text.parse::<Ipv6Addr>().ok().map(u128::from);
    }
    let bits: u32 = text.parse().ok()?;
    (bits <= 128).then(|| (u128::MAX).checked_shl(128 - bits).unwrap_or(0))
}

impl ArgError {
    /// For a fetch.
    pub(super) fn in_fetch(self, name: &str) -> Error {
        Error::new(format!("fetch method '{name}' : {}", self.message))
    }

    /// For a converter.
    pub(super) fn in_converter(self, name: &str) -> Error {
        Error::new(format!(
            "invalid arg {} in converter '{name}' : {}",
            self.position, self.message
        ))
    }
}
