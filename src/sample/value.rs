//! Sample values and their types.

use std::net::{Ipv4Addr, Ipv6Addr};

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
    /// IPv4 address.
    Ipv4,
    /// IPv6 address.
    Ipv6,
    /// String.
    Str,
    /// Binary.
    Bin,
    /// HTTP method: one of the known ones, or a string.
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
    /// binary as it is.
    pub fn append_to(&self, _out: &mut Vec<u8>) {
        todo!()
    }
}
