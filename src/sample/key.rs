//! Values as keys of stick tables.

use super::scratch::Scratch;
use super::value::{Sample, Type};
use crate::stick::{Key, KeyType, TableSpec};

/// The type that a value is cast to for a key.
pub(super) fn sample_type(key_type: KeyType) -> Type {
    match key_type {
        KeyType::Ip => Type::Ipv4,
        KeyType::Ipv6 => Type::Ipv6,
        KeyType::Integer => Type::Int,
        KeyType::String => Type::Str,
        KeyType::Binary => Type::Bin,
    }
}

/// A value as a key of the table; see `stick::Key` for its form.
pub(super) fn convert<'v, 'a: 'v>(
    sample: Sample<'a>,
    scratch: &'v mut Scratch,
    table: &TableSpec,
) -> Option<Key<'v>> {
    let bytes = match sample.cast(sample_type(table.key_type), scratch)? {
        Sample::Str(bytes) | Sample::Bin(bytes) | Sample::Method(bytes) => bytes,
        // the 32 low bits, as HAProxy stores them
        Sample::Int(value) => scratch.write(|out| out.push(&(value as u32).to_be_bytes()))?,
        Sample::Ipv4(address) => scratch.write(|out| out.push(&address.octets()))?,
        Sample::Ipv6(address) => scratch.write(|out| out.push(&address.octets()))?,
        Sample::Bool(value) => scratch.write(|out| out.push(&u32::from(value).to_be_bytes()))?,
    };
    Key::new(table, scratch.bytes(bytes))
}
