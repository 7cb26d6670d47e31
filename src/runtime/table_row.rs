//! Lines of `show table`, byte for byte as HAProxy 2.6 writes them.

use crate::sample::Value;
use crate::stick::spec::DataClass;
use crate::stick::{DataType, EntryIndex, KeyType, StoredType, Table};
use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

/// `# table: NAME, type: string, size:5120, used:15`
pub(super) fn head(table: &Table, out: &mut Vec<u8>) {
    let spec = table.spec();
    let key_type = spec.key_type.name();
    // writing to a vector does not fail, here and below
    let _ = writeln!(
        out,
        "# table: {}, type: {key_type}, size:{}, used:{}",
        spec.name,
        spec.size,
        table.used()
    );
}

/// `0x1551cc4: key=… use=0 exp=286311 server_id=2 …`
pub(super) fn row(table: &Table, entry: EntryIndex, now_ms: u64, out: &mut Vec<u8>) {
    let _ = write!(out, "0x{:x}: key=", table.entry_id(entry));
    push_key(table, entry, out);
    let _ = write!(
        out,
        " use={} exp={}",
        table.use_count(entry),
        table.remaining_ms(entry, now_ms)
    );
    for stored in &table.spec().store {
        push_data(table, entry, stored, now_ms, out);
    }
    out.push(b'\n');
}

fn push_key(table: &Table, entry: EntryIndex, out: &mut Vec<u8>) {
    let key = table.key(entry);
    let bytes = key.as_bytes();
    let _ = match (table.spec().key_type, bytes) {
        (KeyType::Ip, &[a, b, c, d]) => write!(out, "{}", Ipv4Addr::new(a, b, c, d)),
        (KeyType::Ipv6, _) => {
            let octets = <[u8; 16]>::try_from(bytes).unwrap_or_default();
            Value::Ipv6(Ipv6Addr::from(octets)).append_to(out);
            Ok(())
        }
        (KeyType::Integer, &[a, b, c, d]) => write!(out, "{}", u32::from_be_bytes([a, b, c, d])),
        (KeyType::String, _) => {
            push_text(bytes, out);
            Ok(())
        }
        _ => bytes.iter().try_for_each(|byte| write!(out, "{byte:02X}")),
    };
}

/// Text with a backslash before what would end or split the word, and escapes for what cannot be printed.
fn push_text(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        let letter = match byte {
            b' ' | b'=' | b'\\' => byte,
            b'\t' => b't',
            b'\n' => b'n',
            b'\r' => b'r',
            0x1b => b'e',
            b'!'..=b'~' => {
                out.push(byte);
                continue;
            }
            _ => {
                let _ = write!(out, "\\x{byte:02X}");
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', letter]);
    }
}

/// ` gpc0=3`, ` http_req_rate(10000)=4`, ` server_key=app1`; each element of an array on its own: ` gpt0=0 gpt1=0`,
/// ` gpc0_rate(10000)=0`.
fn push_data(
    table: &Table,
    entry: EntryIndex,
    stored: &StoredType,
    now_ms: u64,
    out: &mut Vec<u8>,
) {
    let data_type = stored.data_type;
    for element in 0..stored.elements.max(1) {
        let _ = match data_type {
            DataType::Gpt => write!(out, " gpt{element}="),
            DataType::Gpc => write!(out, " gpc{element}="),
            DataType::GpcRate => write!(out, " gpc{element}_rate({})=", stored.period_ms),
            _ if data_type.class() == DataClass::Rate => {
                write!(out, " {}({})=", data_type.name(), stored.period_ms)
            }
            _ => write!(out, " {}=", data_type.name()),
        };
        match data_type.class() {
            DataClass::Name => out.extend_from_slice(table.server(entry).1.unwrap_or(b"-")),
            DataClass::Rate => {
                let _ = write!(
                    out,
                    "{}",
                    table
                        .rate_read(entry, data_type, element, now_ms)
                        .unwrap_or(0)
                );
            }
            DataClass::Signed32 => {
                let _ = write!(
                    out,
                    "{}",
                    table.value(entry, data_type, element).unwrap_or(0) as i64
                );
            }
            DataClass::Unsigned32 | DataClass::Unsigned64 => {
                let _ = write!(
                    out,
                    "{}",
                    table.value(entry, data_type, element).unwrap_or(0)
                );
            }
        }
    }
}
