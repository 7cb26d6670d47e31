//! Numbers, durations and sizes as the configuration writes them (configuration manual, 2.5).
//!
//! Not here: which keyword accepts which range.

/// Longest duration, in milliseconds; HAProxy's limit.
pub const TIME_MAX_MS: u64 = i32::MAX as u64;

/// Why a duration was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeError {
    /// More than [`TIME_MAX_MS`].
    Overflow,
    /// A character that does not belong there.
    Character(char),
}

/// Milliseconds of a duration such as `30s`, `5m`, `100`; without a unit, `unit_ms` applies.
///
/// # Errors
/// The first character that does not belong, or an overflow.
pub fn time_ms(text: &str, unit_ms: u64) -> Result<u64, TimeError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    // No digit at all is 0 with whatever follows, as HAProxy reads it.
    let number: u128 = if number.is_empty() {
        0
    } else {
        number.parse().unwrap_or(u128::MAX / 1_000_000_000_000)
    };
    let (multiply, divide, unit_len) = match unit.as_bytes() {
        [] => (unit_ms, 1, 0),
        [b'u', b's', ..] => (1, 1000, 2),
        [b'm', b's', ..] => (1, 1, 2),
        [b's', ..] => (1000, 1, 1),
        [b'm', ..] => (60_000, 1, 1),
        [b'h', ..] => (3_600_000, 1, 1),
        [b'd', ..] => (86_400_000, 1, 1),
        [b'u', ..] => return Err(character_at(unit, 1)),
        _ => return Err(character_at(unit, 0)),
    };
    if digits == 0 {
        return Err(TimeError::Character(text.chars().next().unwrap_or('\0')));
    }
    if unit.len() > unit_len {
        return Err(character_at(unit, unit_len));
    }
    let value = (number * u128::from(multiply)).div_ceil(divide);
    match u64::try_from(value) {
        Ok(value) if value <= TIME_MAX_MS => Ok(value),
        _ => Err(TimeError::Overflow),
    }
}

fn character_at(text: &str, at: usize) -> TimeError {
    TimeError::Character(text[at..].chars().next().unwrap_or('u'))
}

/// A size with `k`, `m` or `g` (powers of 1024), at most `u32::MAX`.
///
/// # Errors
/// The first character that does not belong; an overflow is reported at its unit, as HAProxy does.
pub fn size(text: &str) -> Result<u32, char> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if digits == 0 {
        return Err(unit.chars().next().unwrap_or('\0'));
    }
    let mut chars = unit.chars();
    let shift = match chars.next() {
        None => 0,
        Some('k') => 10,
        Some('m') => 20,
        Some('g') => 30,
        Some(other) => return Err(other),
    };
    if let Some(other) = chars.next() {
        return Err(other);
    }
    let first = unit.chars().next().or(number.chars().next()).unwrap_or('0');
    let value = number.parse::<u64>().map_err(|_| first)?;
    u32::try_from(value.checked_shl(shift).unwrap_or(u64::MAX)).map_err(|_| first)
}

/// The number that a text starts with, 0 when there is none: what C's `atol` makes of it, which many keywords use.
pub fn leading_number(text: &str) -> i64 {
    let text = text.trim_start_matches([' ', '\t']);
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let mut value: i64 = 0;
    for byte in digits.bytes().take_while(u8::is_ascii_digit) {
        value = value
            .saturating_mul(10)
            .saturating_add(i64::from(byte - b'0'));
    }
    if negative { -value } else { value }
}

/// [`leading_number`] as a count: negative numbers are 0, large ones `u32::MAX`.
pub fn leading_count(text: &str) -> u32 {
    u32::try_from(leading_number(text).max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, expected) in [
            ("0", 0),
            ("100", 100),
            ("5us", 1),
            ("999999us", 1000),
            ("1s", 1000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("24d", 2_073_600_000),
        ] {
            assert_eq!(time_ms(text, 1), Ok(expected), "{text}");
        }
        assert_eq!(time_ms("10", 1000), Ok(10_000));
        for text in [
            "30d",
            "2147483648",
            "5000000000000",
            "99999999999999999999999999999999999999999999d",
        ] {
            assert_eq!(time_ms(text, 1), Err(TimeError::Overflow), "{text}");
        }
        for (text, found) in [
            ("x", 'x'),
            ("1x", 'x'),
            ("-1", '-'),
            ("1.5s", '.'),
            ("1sx", 'x'),
            ("s", 's'),
        ] {
            assert_eq!(time_ms(text, 1), Err(TimeError::Character(found)), "{text}");
        }
        assert!(time_ms("", 1).is_err());
    }

    #[test]
    fn sizes_and_numbers() {
        assert_eq!(size("5k"), Ok(5120));
        assert_eq!(size("3g"), Ok(3 << 30));
        for (text, found) in [
            ("4g", 'g'),
            ("5G", 'G'),
            ("1kb", 'b'),
            ("x", 'x'),
            ("-1", '-'),
        ] {
            assert_eq!(size(text), Err(found), "{text}");
        }
        assert_eq!(leading_number("10x"), 10);
        assert_eq!(leading_number("x"), 0);
        assert_eq!(leading_count("-1"), 0);
    }
}
