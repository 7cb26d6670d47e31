//! Parsers of the actions that change what is known of the client's connection.

use super::RuleWords;
use super::basic::Parsed;
use crate::rules::{Action, Address, Field, SetKind};

pub(super) fn expect_proxy(words: &mut RuleWords) -> Parsed {
    let title = words.lines.title(words.holder);
    let set = words.set.words();
    let layer = words.next();
    if layer != "layer4" {
        return Err(format!(
            "'{set} expect-proxy' only supports 'layer4' in {title} (got '{layer}')"
        ));
    }
    if words.set != SetKind::TcpConnection {
        return Err(format!(
            "'expect-proxy layer4' is not allowed in '{set}' rules in {title}"
        ));
    }
    Ok(Action::ExpectProxy)
}

pub(super) fn set_src(words: &mut RuleWords) -> Parsed {
    set_field(words, Field::Source)
}

pub(super) fn set_src_port(words: &mut RuleWords) -> Parsed {
    set_field(words, Field::SourcePort)
}

pub(super) fn set_dst(words: &mut RuleWords) -> Parsed {
    set_field(words, Field::Destination)
}

pub(super) fn set_dst_port(words: &mut RuleWords) -> Parsed {
    set_field(words, Field::DestinationPort)
}

fn set_field(words: &mut RuleWords, field: Field) -> Parsed {
    let expr = words.expr()?;
    Ok(Action::SetAddress(Address { field, expr }))
}

pub(super) fn set_tos(words: &mut RuleWords) -> Parsed {
    Ok(Action::SetTos(number(words)? as u8))
}

pub(super) fn set_mark(words: &mut RuleWords) -> Parsed {
    Ok(Action::SetMark(number(words)?))
}

/// A number in decimal, hexadecimal (`0x`) or octal (`0`).
fn number(words: &mut RuleWords) -> Result<u32, String> {
    let word = words.next();
    if word.is_empty() {
        return Err("expects exactly 1 argument (integer/hex value)".into());
    }
    let (digits, radix) = match word.strip_prefix("0x").or(word.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if word.starts_with('0') => (word, 8),
        None => (word, 10),
    };
    let used = digits
        .find(|digit: char| !digit.is_digit(radix))
        .unwrap_or(digits.len());
    let rest = &digits[used..];
    if used == 0 || !rest.is_empty() {
        let rest = if used == 0 { word } else { rest };
        return Err(format!(
            "invalid character starting at '{rest}' (integer/hex value expected)"
        ));
    }
    Ok(u64::from_str_radix(&digits[..used], radix).map_or(u32::MAX, |value| value as u32))
}
