//! Sample values, their types, and the casts between them (configuration manual, 7.1 and 7.3.1).
//!
//! A cast that HAProxy has is a line in `can_cast`; it may still fail on a value (an IPv6 address that stands for no
//! IPv4 address), and then the expression has no value.

use super::scratch::{Bytes, Out, Scratch};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Type of a value, as known when the configuration is parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Whatever comes in (some converters).
    Any,
    /// Boolean.
    Bool,
    /// Signed 64-bit integer.
    Int,
    /// IPv4 or IPv6 address, known only when it is there.
    Addr,
    /// IPv4 address. As the type of a fetch: such an address in most cases, but an IPv6 address where there is one.
    Ipv4,
    /// IPv6 address.
    Ipv6,
    /// String.
    Str,
    /// Binary.
    Bin,
    /// HTTP method.
    Method,
}

/// A value, borrowed from the message, the expression or the scratch buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'v> {
    /// Boolean.
    Bool(bool),
    /// Integer.
    Int(i64),
    /// IPv4 address.
    Ipv4(Ipv4Addr),
    /// IPv6 address.
    Ipv6(Ipv6Addr),
    /// String; any bytes.
    Str(&'v [u8]),
    /// Binary.
    Bin(&'v [u8]),
    /// HTTP method by its name.
    Method(&'v [u8]),
}

impl Value<'_> {
    /// Appends the value as a string, as log formats and headers show it: booleans as `1` and `0`, addresses in text,
    /// binary as it is, up to its first NUL.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        self.write_text(|text| out.extend_from_slice(text));
    }

    /// Gives that string to `write`.
    pub fn write_text<R>(&self, write: impl FnOnce(&[u8]) -> R) -> R {
        let mut text = Text::new();
        match *self {
            Value::Str(bytes) | Value::Method(bytes) => return write(bytes),
            Value::Bin(bytes) => {
                let end = memchr::memchr(0, bytes);
                return write(&bytes[..end.unwrap_or(bytes.len())]);
            }
            Value::Bool(value) => text.int(i64::from(value)),
            Value::Int(value) => text.int(value),
            Value::Ipv4(address) => text.ipv4(address),
            Value::Ipv6(address) => text.ipv6(address),
        }
        write(text.bytes())
    }

    /// The type's name, as the stats socket shows it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Bool(_) => "bool",
            Value::Int(_) => "sint",
            Value::Ipv4(_) => "ipv4",
            Value::Ipv6(_) => "ipv6",
            Value::Str(_) => "str",
            Value::Bin(_) => "bin",
            Value::Method(_) => "meth",
        }
    }
}

/// A value under evaluation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sample<'a> {
    Bool(bool),
    Int(i64),
    Ipv4(Ipv4Addr),
    Ipv6(Ipv6Addr),
    Str(Bytes<'a>),
    Bin(Bytes<'a>),
    Method(Bytes<'a>),
}

impl<'a> Sample<'a> {
    /// The bytes of a string or binary value: what the converters with such an input are given.
    pub(super) fn content(self) -> Option<Bytes<'a>> {
        match self {
            Sample::Str(bytes) | Sample::Bin(bytes) | Sample::Method(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(super) fn str(bytes: &'a [u8]) -> Sample<'a> {
        Sample::Str(Bytes::At(bytes))
    }

    pub(super) fn address(address: IpAddr) -> Sample<'a> {
        match address {
            IpAddr::V4(address) => Sample::Ipv4(address),
            IpAddr::V6(address) => Sample::Ipv6(address),
        }
    }

    pub(super) fn resolve<'v>(self, scratch: &'v Scratch) -> Value<'v>
    where
        'a: 'v,
    {
        match self {
            Sample::Bool(value) => Value::Bool(value),
            Sample::Int(value) => Value::Int(value),
            Sample::Ipv4(address) => Value::Ipv4(address),
            Sample::Ipv6(address) => Value::Ipv6(address),
            Sample::Str(bytes) => Value::Str(scratch.bytes(bytes)),
            Sample::Bin(bytes) => Value::Bin(scratch.bytes(bytes)),
            Sample::Method(bytes) => Value::Method(scratch.bytes(bytes)),
        }
    }

    /// As an integer; strings up to the first byte that is no digit.
    pub(super) fn to_int(self, scratch: &Scratch) -> Option<i64> {
        match self {
            Sample::Bool(value) => Some(i64::from(value)),
            Sample::Int(value) => Some(value),
            Sample::Ipv4(address) => Some(i64::from(u32::from(address))),
            Sample::Str(bytes) => parse_leading_int(scratch.bytes(bytes)),
            Sample::Ipv6(_) | Sample::Bin(_) | Sample::Method(_) => None,
        }
    }

    pub(super) fn to_bool(self, scratch: &Scratch) -> Option<bool> {
        Some(self.to_int(scratch)? != 0)
    }

    pub(super) fn to_address(self, scratch: &Scratch) -> Option<IpAddr> {
        match self {
            Sample::Int(value) => Some(IpAddr::V4(Ipv4Addr::from(value as u32))),
            Sample::Ipv4(address) => Some(IpAddr::V4(address)),
            Sample::Ipv6(address) => Some(IpAddr::V6(address).to_canonical()),
            Sample::Str(bytes) => parse_address(scratch.bytes(bytes)),
            Sample::Bool(_) | Sample::Bin(_) | Sample::Method(_) => None,
        }
    }

    pub(super) fn to_ipv4(self, scratch: &Scratch) -> Option<Ipv4Addr> {
        match self {
            Sample::Ipv6(address) => address.to_ipv4_mapped(),
            Sample::Str(bytes) => parse_leading_ipv4(scratch.bytes(bytes)),
            _ => match self.to_address(scratch)? {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            },
        }
    }

    pub(super) fn to_ipv6(self, scratch: &Scratch) -> Option<Ipv6Addr> {
        match self {
            Sample::Ipv6(address) => Some(address),
            Sample::Str(bytes) => std::str::from_utf8(scratch.bytes(bytes)).ok()?.parse().ok(),
            _ => match self.to_address(scratch)? {
                IpAddr::V4(address) => Some(address.to_ipv6_mapped()),
                IpAddr::V6(address) => Some(address),
            },
        }
    }

    /// As text; what is no string yet is written to the scratch. Binary ends at its first NUL, as in HAProxy.
    pub(super) fn to_text(self, scratch: &mut Scratch) -> Option<Bytes<'a>> {
        let mut text = Text::new();
        match self {
            Sample::Str(bytes) | Sample::Method(bytes) => return Some(bytes),
            Sample::Bin(bytes) => {
                let end = memchr::memchr(0, scratch.bytes(bytes));
                return Some(end.map_or(bytes, |end| bytes.slice(0, end)));
            }
            Sample::Bool(value) => text.int(i64::from(value)),
            Sample::Int(value) => text.int(value),
            Sample::Ipv4(address) => text.ipv4(address),
            Sample::Ipv6(address) => text.ipv6(address),
        }
        scratch.write(|out| out.push(text.bytes()))
    }

    /// As binary: integers as 8 bytes and addresses as 4 or 16, in network order.
    pub(super) fn to_binary(self, scratch: &mut Scratch) -> Option<Bytes<'a>> {
        let mut write = |bytes: &[u8]| scratch.write(|out: &mut Out<'_>| out.push(bytes));
        match self {
            Sample::Str(bytes) | Sample::Bin(bytes) | Sample::Method(bytes) => Some(bytes),
            Sample::Bool(value) => write(&i64::from(value).to_be_bytes()),
            Sample::Int(value) => write(&value.to_be_bytes()),
            Sample::Ipv4(address) => write(&address.octets()),
            Sample::Ipv6(address) => write(&address.octets()),
        }
    }

    /// Casts to what a converter takes.
    pub(super) fn cast(self, to: Type, scratch: &mut Scratch) -> Option<Sample<'a>> {
        Some(match to {
            Type::Any => self,
            Type::Bool => Sample::Bool(self.to_bool(scratch)?),
            Type::Int => Sample::Int(self.to_int(scratch)?),
            Type::Addr => Sample::address(self.to_address(scratch)?),
            Type::Ipv4 => Sample::Ipv4(self.to_ipv4(scratch)?),
            Type::Ipv6 => Sample::Ipv6(self.to_ipv6(scratch)?),
            Type::Str => Sample::Str(self.to_text(scratch)?),
            Type::Bin => Sample::Bin(self.to_binary(scratch)?),
            Type::Method => Sample::Method(self.to_text(scratch)?),
        })
    }
}

/// Whether values of one type can be cast to another, as far as the types tell.
pub(super) fn can_cast(from: Type, to: Type) -> bool {
    use Type::*;
    matches!(
        (from, to),
        (Any, _)
            | (_, Any | Str | Bin)
            | (Bool | Int | Ipv4 | Addr | Str, Bool | Int)
            | (Int | Ipv4 | Ipv6 | Addr | Str, Addr | Ipv4 | Ipv6)
            | (Method | Str | Bin, Method)
    )
}

/// The IPv4 address that an IPv6 address stands for: `::ffff:a.b.c.d`, `::a.b.c.d` or `2002:a.b:c.d::`.
pub(super) fn embedded_ipv4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let words = address.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match words {
        [0x2002, high, low, ..] => Some(join(high, low)),
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => Some(join(high, low)),
        _ => None,
    }
}

/// An integer with an optional sign up to the first byte that is no digit (0 when there is none at all); saturates.
/// An empty string is no integer.
pub(super) fn parse_leading_int(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [] => return None,
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let mut value: i64 = 0;
    for digit in digits.iter().take_while(|byte| byte.is_ascii_digit()) {
        let digit = i64::from(digit - b'0');
        let step = if negative { -digit } else { digit };
        value = value.saturating_mul(10).saturating_add(step);
    }
    Some(value)
}

/// An address at the start of a string: four numbers with dots, whatever else than a dot follows; or a whole IPv6 address.
pub(super) fn parse_address(text: &[u8]) -> Option<IpAddr> {
    match parse_leading_ipv4(text) {
        Some(address) => Some(IpAddr::V4(address)),
        None => Some(IpAddr::V6(std::str::from_utf8(text).ok()?.parse().ok()?).to_canonical()),
    }
}

fn parse_leading_ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0u8; 4];
    let mut rest = text;
    for (index, octet) in octets.iter_mut().enumerate() {
        if index > 0 {
            rest = rest.strip_prefix(b".")?;
        }
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        let mut value: u32 = 0;
        for digit in &rest[..digits] {
            value = value * 10 + u32::from(digit - b'0');
            if value > 255 {
                return None;
            }
        }
        *octet = value as u8;
        rest = &rest[digits..];
    }
    (!rest.starts_with(b".")).then(|| Ipv4Addr::from(octets))
}

/// The text of a number or an address, without allocation.
pub(super) struct Text {
    bytes: [u8; 48], // the longest IPv6 text has 45 bytes
    len: usize,
}

impl Text {
    pub(super) fn new() -> Text {
        Text {
            bytes: [0; 48],
            len: 0,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(super) fn int(&mut self, value: i64) {
        let _ = write!(self, "{value}");
    }

    pub(super) fn ipv4(&mut self, address: Ipv4Addr) {
        let _ = write!(self, "{address}");
    }

    /// As the C library prints it: the last 32 bits in IPv4 form after six words of zeros, too.
    pub(super) fn ipv6(&mut self, address: Ipv6Addr) {
        let _ = match address.segments() {
            [0, 0, 0, 0, 0, 0, high, low] if high != 0 => {
                write!(
                    self,
                    "::{}",
                    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
                )
            }
            _ => write!(self, "{address}"),
        };
    }
}

impl std::fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = self
            .bytes
            .get_mut(self.len..self.len + text.len())
            .ok_or(std::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}
