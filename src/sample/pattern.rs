//! Patterns and the methods that match values against them (configuration manual, 7.1).

use super::regex::Regex;
use super::scratch::Scratch;
use super::value::{Sample, Type, embedded_ipv4};
use std::cmp::Ordering;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

/// How a value is compared: `-m`, or what the keyword or the type of the value implies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Found,
    Bool,
    Int,
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
const DIR_DELIMITERS: &[u8] = b"/";
const DOM_DELIMITERS: &[u8] = b"/?.:";

/// The methods that HAProxy matches by number; others it compares as strings.
const HTTP_METHODS: [&[u8]; 8] = [
    b"OPTIONS", b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"TRACE", b"CONNECT",
];

impl Method {
    /// The method of `-m`.
    pub(super) fn named(name: &[u8]) -> Option<Method> {
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
    pub(super) fn implied_by(output: Type) -> Option<Method> {
        match output {
            Type::Bool => Some(Method::Bool),
            Type::Int => Some(Method::Int),
            Type::Addr | Type::Ipv4 | Type::Ipv6 => Some(Method::Ip),
            Type::Str => Some(Method::Str),
            Type::Bin | Type::Method | Type::Any => None,
        }
    }

    /// The type that a value is cast to for the comparison.
    pub(super) fn input(self) -> Type {
        match self {
            Method::Found => Type::Any,
            Method::Bool | Method::Int => Type::Int,
            Method::Ip => Type::Addr,
            Method::Bin => Type::Bin,
            Method::Verb => Type::Method,
            _ => Type::Str,
        }
    }

    /// Whether patterns are needed to match anything.
    pub(super) fn takes_patterns(self) -> bool {
        !matches!(self, Method::Found | Method::Bool)
    }
}

/// One pattern that is no exact string.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
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
    /// A string or bytes; `true`: letters of either case are the same.
    Bytes(Box<[u8]>, bool),
    Regex(Rc<Regex>),
}

/// The patterns of one ACL expression, under one method.
#[derive(Clone, Debug)]
pub(super) struct Patterns {
    method: Method,
    /// Whole strings that must match exactly, sorted once all are there.
    exact: Vec<Box<[u8]>>,
    others: Vec<Pattern>,
}

/// Operators that integer patterns may follow; they hold until the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Operator {
    #[default]
    Equal,
    GreaterEqual,
    Greater,
    LessEqual,
    Less,
}

impl Operator {
    pub(super) fn named(word: &[u8]) -> Option<Operator> {
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

impl Patterns {
    pub(super) fn new(method: Method) -> Patterns {
        Patterns {
            method,
            exact: Vec::new(),
            others: Vec::new(),
        }
    }

    /// Whether words like `gt` are operators.
    pub(super) fn has_operators(&self) -> bool {
        matches!(self.method, Method::Int | Method::Len)
    }

    /// Adds a pattern.
    ///
    /// # Errors
    /// In HAProxy's words.
    pub(super) fn add(
        &mut self,
        word: &[u8],
        ignore_case: bool,
        operator: Operator,
    ) -> Result<(), String> {
        match self.method {
            Method::Found | Method::Bool => {} // taken and ignored
            Method::Reg => {
                let regex = Regex::new(word, ignore_case)?;
                self.others.push(Pattern::Regex(Rc::new(regex)));
            }
            Method::Int | Method::Len => {
                let (low, high) = parse_range(word, operator)?;
                self.others.push(Pattern::Range(low, high));
            }
            Method::Ip => self.others.push(parse_network(word)?),
            Method::Bin => self.exact.push(super::parse_hex(word)?.into_boxed_slice()),
            Method::Str if !ignore_case => self.exact.push(word.into()),
            Method::Dir => self.others.push(Pattern::Bytes(
                strip(word, DIR_DELIMITERS).into(),
                ignore_case,
            )),
            Method::Dom => self.others.push(Pattern::Bytes(
                strip(word, DOM_DELIMITERS).into(),
                ignore_case,
            )),
            _ => self.others.push(Pattern::Bytes(word.into(), ignore_case)),
        }
        Ok(())
    }

    /// Sorts what is searched; call it after the last `add`.
    pub(super) fn finish(&mut self) {
        self.exact.sort_unstable();
        self.exact.dedup();
    }

    /// Whether a value matches any pattern.
    pub(super) fn matches(&self, sample: Sample<'_>, scratch: &mut Scratch) -> bool {
        match self.method {
            Method::Found => true,
            Method::Bool => sample.to_int(scratch).is_some_and(|value| value != 0),
            Method::Int => sample
                .to_int(scratch)
                .is_some_and(|value| self.has_number(value)),
            Method::Ip => match sample {
                // the embedding matters here: no canonical form
                Sample::Ipv6(address) => self.has_address(IpAddr::V6(address)),
                _ => sample
                    .to_address(scratch)
                    .is_some_and(|address| self.has_address(address)),
            },
            Method::Bin => {
                let Some(bytes) = sample.to_binary(scratch) else {
                    return false;
                };
                self.has_exact(scratch.bytes(bytes))
            }
            _ => {
                let Some(text) = sample.to_text(scratch) else {
                    return false;
                };
                self.matches_text(scratch.bytes(text))
            }
        }
    }

    fn matches_text(&self, text: &[u8]) -> bool {
        match self.method {
            Method::Len => self.has_number(text.len() as i64),
            Method::Reg => self.others.iter().any(|pattern| match pattern {
                Pattern::Regex(regex) => regex.is_match(text),
                _ => false,
            }),
            Method::Verb => self.any_bytes(|pattern, ignore_case| {
                let both_other = !HTTP_METHODS.contains(&text) && !HTTP_METHODS.contains(&pattern);
                equal(text, pattern, ignore_case && both_other)
            }),
            Method::Str => {
                self.has_exact(text) || self.any_bytes(|pattern, icase| equal(text, pattern, icase))
            }
            Method::Beg => self.any_bytes(|pattern, icase| {
                text.get(..pattern.len())
                    .is_some_and(|start| equal(start, pattern, icase))
            }),
            Method::End => self.any_bytes(|pattern, icase| {
                let start = text.len().wrapping_sub(pattern.len());
                text.get(start..)
                    .is_some_and(|end| equal(end, pattern, icase))
            }),
            Method::Sub => self.any_bytes(|pattern, icase| {
                pattern.is_empty()
                    || text
                        .windows(pattern.len())
                        .any(|part| equal(part, pattern, icase))
            }),
            Method::Dir => {
                self.any_bytes(|pattern, icase| has_part(text, pattern, icase, DIR_DELIMITERS))
            }
            Method::Dom => {
                self.any_bytes(|pattern, icase| has_part(text, pattern, icase, DOM_DELIMITERS))
            }
            Method::Found | Method::Bool | Method::Int | Method::Ip | Method::Bin => false,
        }
    }

    fn has_exact(&self, text: &[u8]) -> bool {
        self.exact
            .binary_search_by(|pattern| pattern.as_ref().cmp(text))
            .is_ok()
    }

    fn has_number(&self, value: i64) -> bool {
        self.others.iter().any(|pattern| match pattern {
            Pattern::Range(low, high) => (low..=high).contains(&&value),
            _ => false,
        })
    }

    fn has_address(&self, address: IpAddr) -> bool {
        let (four, six) = match address {
            IpAddr::V4(address) => (Some(address), address.to_ipv6_mapped()),
            IpAddr::V6(address) => (embedded_ipv4(address), address),
        };
        self.others.iter().any(|pattern| match pattern {
            Pattern::Net4 { network, mask } => {
                four.is_some_and(|four| u32::from(four) & mask == *network)
            }
            Pattern::Net6 { network, mask } => u128::from(six) & mask == *network,
            _ => false,
        })
    }

    fn any_bytes(&self, matches: impl Fn(&[u8], bool) -> bool) -> bool {
        self.others.iter().any(|pattern| match pattern {
            Pattern::Bytes(bytes, ignore_case) => matches(bytes, *ignore_case),
            _ => false,
        })
    }
}

fn equal(text: &[u8], pattern: &[u8], ignore_case: bool) -> bool {
    if ignore_case {
        text.eq_ignore_ascii_case(pattern)
    } else {
        text.cmp(pattern) == Ordering::Equal
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

/// Whether the pattern stands in the text with a delimiter, the start or the end at both its sides.
fn has_part(text: &[u8], pattern: &[u8], ignore_case: bool, delimiters: &[u8]) -> bool {
    if pattern.is_empty() {
        return false;
    }
    let is_bound = |byte: Option<&u8>| byte.is_none_or(|byte| delimiters.contains(byte));
    text.windows(pattern.len()).enumerate().any(|(at, part)| {
        equal(part, pattern, ignore_case)
            && is_bound(at.checked_sub(1).and_then(|before| text.get(before)))
            && is_bound(text.get(at + pattern.len()))
    })
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
