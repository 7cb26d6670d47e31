//! The methods of matching (`-m`), and what a pattern's text means under each (configuration manual, 7.1).
//!
//! Not here: how many patterns are searched at once (`index`), where they come from (`set`).

use crate::sample::regex::Regex;
use crate::sample::value::Type;
use memchr::memmem::Finder;
use std::net::{Ipv4Addr, Ipv6Addr};

/// How a value is compared: `-m`, or what the keyword or the type of the value implies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::sample) enum Method {
    Found,
    Bool,
    Int,
    /// A version: `MAJOR.MINOR` is a number of two times 16 bits.
    Dotted,
    Ip,
    Bin,
    Len,
    Str,
    Sub,
    Beg,
    End,
    Dir,
    Dom,
    /// An HTTP method: exact for the well-known ones.
    Verb,
    /// A regular expression.
    Reg,
}

/// Parts between these bytes are what `dir` and `dom` compare.
pub(super) const DIR_DELIMITERS: &[u8] = b"/";
pub(super) const DOM_DELIMITERS: &[u8] = b"/?.:";

/// The methods that HAProxy matches by number; others it compares as strings.
pub(super) const HTTP_METHODS: [&[u8]; 8] = [
    b"OPTIONS", b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"TRACE", b"CONNECT",
];

impl Method {
    /// The method of `-m`.
    pub(in crate::sample) fn named(name: &[u8]) -> Option<Method> {
        Some(match name {
            b"found" => Method::Found,
            b"bool" => Method::Bool,
            b"int" => Method::Int,
            b"ip" => Method::Ip,
            b"bin" => Method::Bin,
            b"len" => Method::Len,
            b"str" => Method::Str,
            b"sub" => Method::Sub,
            b"beg" => Method::Beg,
            b"end" => Method::End,
            b"dir" => Method::Dir,
            b"dom" => Method::Dom,
            b"reg" => Method::Reg,
            _ => return None,
        })
    }

    /// What a type implies; binary values and methods need `-m`.
    pub(in crate::sample) fn implied_by(output: Type) -> Option<Method> {
        match output {
            Type::Bool => Some(Method::Bool),
            Type::Int => Some(Method::Int),
            Type::Addr | Type::Ipv4 | Type::Ipv6 => Some(Method::Ip),
            Type::Str => Some(Method::Str),
            Type::Bin | Type::Method | Type::Any => None,
        }
    }

    /// The type that a value is cast to for the comparison.
    pub(in crate::sample) fn input(self) -> Type {
        match self {
            Method::Found => Type::Any,
            Method::Bool | Method::Int | Method::Dotted => Type::Int,
            Method::Ip => Type::Addr,
            Method::Bin => Type::Bin,
            Method::Verb => Type::Method,
            _ => Type::Str,
        }
    }

    /// Whether words like `gt` are operators.
    pub(in crate::sample) fn has_operators(self) -> bool {
        matches!(self, Method::Int | Method::Dotted | Method::Len)
    }

    /// The method's name, as the stats socket shows it.
    pub(in crate::sample) fn name(self) -> &'static str {
        match self {
            Method::Found => "found",
            Method::Bool => "bool",
            Method::Int | Method::Dotted => "int",
            Method::Ip => "ip",
            Method::Bin => "bin",
            Method::Len => "len",
            Method::Str => "str",
            Method::Sub => "sub",
            Method::Beg => "beg",
            Method::End => "end",
            Method::Dir => "dir",
            Method::Dom => "dom",
            Method::Verb => "meth",
            Method::Reg => "reg",
        }
    }

    /// Whether patterns are needed to match anything.
    pub(in crate::sample) fn takes_patterns(self) -> bool {
        !matches!(self, Method::Found | Method::Bool)
    }
}

/// One pattern, as its method needs it. Strings of either case are in small letters when case does not count.
#[derive(Debug)]
pub(super) enum Pattern {
    /// `found`, `bool`: matches nothing; the method needs none.
    Nothing,
    /// Bounds, both included.
    Range(i64, i64),
    Net4 {
        network: u32,
        mask: u32,
    },
    Net6 {
        network: u128,
        mask: u128,
    },
    /// A whole string, or a part of one at its start or end.
    Bytes(Box<[u8]>),
    /// A part of a string anywhere.
    Part(Box<Finder<'static>>),
    Regex(Box<Regex>),
}

impl Pattern {
    /// What a text means under a method.
    ///
    /// # Errors
    /// In HAProxy's words.
    pub(super) fn parse(
        method: Method,
        ignore_case: bool,
        text: &[u8],
        operator: Operator,
    ) -> Result<Pattern, String> {
        let folded = || match ignore_case && method != Method::Verb {
            true => text.to_ascii_lowercase(),
            false => text.to_vec(),
        };
        let part = |text: &[u8]| Pattern::Part(Box::new(Finder::new(text).into_owned()));
        Ok(match method {
            Method::Found | Method::Bool => Pattern::Nothing,
            Method::Int | Method::Len => {
                let (low, high) = parse_range(text, operator)?;
                Pattern::Range(low, high)
            }
            Method::Dotted => {
                let (low, high) = parse_versions(text, operator)?;
                Pattern::Range(low, high)
            }
            Method::Ip => parse_network(text)?,
            Method::Bin => Pattern::Bytes(crate::sample::parse_hex(text)?.into_boxed_slice()),
            Method::Reg => Pattern::Regex(Box::new(Regex::new(text, ignore_case)?)),
            Method::Sub => part(&folded()),
            Method::Dir => part(strip(&folded(), DIR_DELIMITERS)),
            Method::Dom => part(strip(&folded(), DOM_DELIMITERS)),
            Method::Str | Method::Beg | Method::End | Method::Verb => {
                Pattern::Bytes(folded().into_boxed_slice())
            }
        })
    }
}

/// Operators that integer patterns may follow; they hold until the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(in crate::sample) enum Operator {
    #[default]
    Equal,
    GreaterEqual,
    Greater,
    LessEqual,
    Less,
}

impl Operator {
    pub(in crate::sample) fn named(word: &[u8]) -> Option<Operator> {
        Some(match word {
            b"eq" => Operator::Equal,
            b"ge" => Operator::GreaterEqual,
            b"gt" => Operator::Greater,
            b"le" => Operator::LessEqual,
            b"lt" => Operator::Less,
            _ => return None,
        })
    }

    /// The range that the operator makes of one number.
    fn of_value(self, value: i64) -> (i64, i64) {
        match self {
            Operator::Equal => (value, value),
            Operator::GreaterEqual => (value, i64::MAX),
            Operator::Greater => (value.saturating_add(1), i64::MAX),
            Operator::LessEqual => (i64::MIN, value),
            Operator::Less => (i64::MIN, value.saturating_sub(1)),
        }
    }

    /// With a range, `gt` and `lt` only leave out its lower or upper bound.
    fn of_range(self, low: i64, high: i64) -> (i64, i64) {
        match self {
            Operator::Greater => (low.saturating_add(1), high),
            Operator::Less => (low, high.saturating_sub(1)),
            _ => (low, high),
        }
    }
}

/// Without the delimiters at both ends.
fn strip<'p>(mut pattern: &'p [u8], delimiters: &[u8]) -> &'p [u8] {
    while let [first, rest @ ..] = pattern {
        if !delimiters.contains(first) {
            break;
        }
        pattern = rest;
    }
    while let [rest @ .., last] = pattern {
        if !delimiters.contains(last) {
            break;
        }
        pattern = rest;
    }
    pattern
}

/// `N`, `N:M`, `N:` or `:M`, with the operator before it.
fn parse_range(word: &[u8], operator: Operator) -> Result<(i64, i64), String> {
    let shown = String::from_utf8_lossy(word);
    let number = |text: &str| text.parse::<i64>().ok().filter(|_| !text.starts_with('+'));
    let range_error = || format!("'{shown}' is not a valid number range");
    match shown.split_once(':') {
        None => {
            let value = number(&shown).ok_or_else(|| format!("'{shown}' is not a number"))?;
            Ok(operator.of_value(value))
        }
        Some(("", "")) => Err(range_error()),
        Some((low, high)) => {
            let bound = |text: &str, open: i64| match text {
                "" => Ok(open),
                _ => number(text).ok_or_else(range_error),
            };
            let (low, high) = (bound(low, i64::MIN)?, bound(high, i64::MAX)?);
            if low > high {
                return Err(range_error());
            }
            Ok(operator.of_range(low, high))
        }
    }
}

/// As [`parse_range`], of numbers like `3.1`; one without a point has no major part.
fn parse_versions(word: &[u8], operator: Operator) -> Result<(i64, i64), String> {
    let shown = String::from_utf8_lossy(word);
    let error = || format!("'{shown}' is not a dotted number");
    let number = |text: &str| -> Option<i64> {
        let (major, minor) = text.split_once('.')?;
        let part = |text: &str| text.parse::<u16>().ok().map(i64::from);
        Some((part(major)? << 16) + part(minor)?)
    };
    match shown.split_once(':') {
        None => Ok(operator.of_value(number(&shown).ok_or_else(error)?)),
        Some((low, high)) => {
            let (low, high) = (
                number(low).ok_or_else(error)?,
                number(high).ok_or_else(error)?,
            );
            Ok(operator.of_range(low, high))
        }
    }
}

/// An address with an optional prefix length or, for IPv4, mask.
fn parse_network(word: &[u8]) -> Result<Pattern, String> {
    let shown = String::from_utf8_lossy(word);
    let (address, mask) = match shown.split_once('/') {
        Some((address, mask)) => (address, Some(mask)),
        None => (&*shown, None),
    };
    let parsed = if address.contains(':') {
        let mask = mask.map_or(Some(u128::MAX), |mask| {
            bits(mask, 128).map(|bits| !u128::MAX.checked_shr(bits).unwrap_or(0))
        });
        address
            .parse::<Ipv6Addr>()
            .ok()
            .zip(mask)
            .map(|(address, mask)| {
                let network = u128::from(address) & mask;
                Pattern::Net6 { network, mask }
            })
    } else {
        let mask = mask.map_or(Some(u32::MAX), |mask| match bits(mask, 32) {
            Some(bits) => Some(!u32::MAX.checked_shr(bits).unwrap_or(0)),
            None => mask.parse::<Ipv4Addr>().ok().map(u32::from),
        });
        parse_short_ipv4(address).zip(mask).map(|(address, mask)| {
            let network = u32::from(address) & mask;
            Pattern::Net4 { network, mask }
        })
    };
    parsed.ok_or_else(|| format!("'{shown}' is not a valid IPv4 or IPv6 address"))
}

fn bits(text: &str, most: u32) -> Option<u32> {
    text.parse().ok().filter(|bits| *bits <= most)
}

/// `a.b.c.d`, or fewer numbers: the last one fills what is left (`127.1` is 127.0.0.1).
fn parse_short_ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut address: u32 = 0;
    let mut bits_left = 32;
    let mut numbers = text.split('.').peekable();
    while let Some(number) = numbers.next() {
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let number: u32 = number.parse().ok()?;
        let bits = if numbers.peek().is_some() {
            8
        } else {
            bits_left
        };
        if bits_left < bits
            || bits_left == 8 && numbers.peek().is_some()
            || (bits < 32 && number >> bits != 0)
        {
            return None;
        }
        bits_left -= bits;
        address |= number << bits_left;
    }
    Some(Ipv4Addr::from(address))
}
