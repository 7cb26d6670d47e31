//! A line under construction: a buffer that truncates instead of growing.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

/// Bytes of one log line. Its room is fixed when it is made; what does not fit is cut off.
#[derive(Debug)]
pub struct Line {
    room: Box<[u8]>,
    len: usize,
}

/// `00` to `99`.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut value = 0;
    while value < 100 {
        pairs[value] = [b'0' + value as u8 / 10, b'0' + value as u8 % 10];
        value += 1;
    }
    pairs
};

/// Bytes that are themselves in text from outside: all that are printable but `#` and `"`.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        plain[byte as usize] = byte != b'#' && byte != b'"';
        byte += 1;
    }
    plain
};

impl Line {
    /// An empty line of at most `limit` bytes.
    pub fn with_limit(limit: usize) -> Self {
        Self {
            room: vec![0; limit].into(),
            len: 0,
        }
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Keeps the first `bytes` bytes.
    pub fn truncate(&mut self, bytes: usize) {
        self.len = self.len.min(bytes);
    }

    /// What is in it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.room[..self.len]
    }

    /// Appends `bytes`, as far as they fit.
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) {
        // The first arm is for itself so that a few bytes of a length that is known are a store and no call.
        match self.room.get_mut(self.len..self.len + bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => self.push_what_fits(bytes),
        }
    }

    #[cold]
    fn push_what_fits(&mut self, bytes: &[u8]) {
        let room = &mut self.room[self.len..];
        room.copy_from_slice(&bytes[..room.len()]);
        self.len = self.room.len();
    }

    /// Appends one byte, if it fits.
    #[inline]
    pub fn push_byte(&mut self, byte: u8) {
        if let Some(room) = self.room.get_mut(self.len) {
            *room = byte;
            self.len += 1;
        }
    }

    /// Appends a decimal number.
    #[inline]
    pub fn push_number(&mut self, value: u64) {
        match value {
            0..10 => self.push_byte(b'0' + value as u8),
            10..100 => self.push(&PAIRS[value as usize]),
            _ => self.push_long_number(value),
        }
    }

    fn push_long_number(&mut self, value: u64) {
        let mut digits = [0_u8; 20];
        let mut at = digits.len();
        let mut rest = value;
        while rest >= 10 {
            at -= 2;
            digits[at..at + 2].copy_from_slice(&PAIRS[(rest % 100) as usize]);
            rest /= 100;
        }
        // What is left is one digit, or none where all went in pairs.
        if rest > 0 {
            at -= 1;
            digits[at] = b'0' + rest as u8;
        }
        self.push(&digits[at..]);
    }

    /// Appends `value` with leading zeroes, `width` digits at least.
    pub fn push_padded(&mut self, value: u32, width: u32) {
        let mut scale = 10_u32.pow(width - 1);
        while scale > value.max(1) {
            self.push_byte(b'0');
            scale /= 10;
        }
        self.push_number(u64::from(value));
    }

    /// Appends a number of three digits, `000` to `999`: the milliseconds of a second.
    pub fn push_milliseconds(&mut self, value: u32) {
        debug_assert!(value < 1000);
        let [tens, ones] = PAIRS[(value % 100) as usize];
        self.push(&[b'0' + (value / 100) as u8, tens, ones]);
    }

    /// Appends an address without its port, as it is written everywhere.
    pub fn push_address(&mut self, address: IpAddr) {
        let IpAddr::V4(address) = address else {
            // As long as any that `Display` writes; it never fails.
            let _ = write!(self, "{address}");
            return;
        };
        let mut text = [b'.'; 15];
        let mut len = 0;
        for octet in address.octets() {
            let [tens, ones] = PAIRS[usize::from(octet % 100)];
            if octet >= 100 {
                text[len] = b'0' + octet / 100;
                len += 1;
            }
            if octet >= 10 {
                text[len] = tens;
                len += 1;
            }
            text[len] = ones;
            len += 2; // behind the dot, which is there already
        }
        self.push(&text[..len - 1]);
    }

    /// Appends `mark` and the two hexadecimal digits of a byte.
    pub fn push_hex_byte(&mut self, mark: u8, byte: u8) {
        const HEX: &[u8; 16] = b"0123456789ABCDEF";
        self.push(&[
            mark,
            HEX[usize::from(byte >> 4)],
            HEX[usize::from(byte & 15)],
        ]);
    }

    /// Appends text in which only control characters are escaped.
    pub fn push_printable(&mut self, text: &[u8]) {
        for &byte in text {
            if byte.is_ascii_control() {
                self.push_hex_byte(b'#', byte);
            } else {
                self.push_byte(byte);
            }
        }
    }

    /// Appends text that comes from outside: bytes that are not printable, and `#` and `"` and those in `also`, as `#XX`
    /// (configuration manual, section 8.6).
    pub fn push_escaped(&mut self, text: &[u8], also: &[u8]) {
        let is_plain = |byte: &u8| PLAIN[usize::from(*byte)] && !also.contains(byte);
        let mut rest = text;
        while !rest.is_empty() {
            let run = rest.iter().position(|byte| !is_plain(byte));
            let (plain, others) = rest.split_at(run.unwrap_or(rest.len()));
            self.push(plain);
            rest = others;
            if let Some((&byte, others)) = rest.split_first() {
                self.push_hex_byte(b'#', byte);
                rest = others;
            }
        }
    }
}

/// Formatted text is our own but may quote others: its control characters are escaped, so that a line stays one line.
impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for run in text.as_bytes().split_inclusive(u8::is_ascii_control) {
            match run.split_last() {
                Some((last, printable)) if last.is_ascii_control() => {
                    self.push(printable);
                    self.push_escaped(&[*last], b"");
                }
                _ => self.push(run),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(build: impl FnOnce(&mut Line)) -> String {
        let mut line = Line::with_limit(64);
        build(&mut line);
        String::from_utf8_lossy(line.as_bytes()).into_owned()
    }

    #[test]
    fn numbers() {
        let corners = [999_999, 1_000_000, 10_000_001, u64::MAX - 1, u64::MAX];
        for value in (0..=10_100).chain(corners) {
            assert_eq!(text(|line| line.push_number(value)), value.to_string());
        }
        for (value, expected) in [
            (0, "000"),
            (1, "001"),
            (9, "009"),
            (10, "010"),
            (99, "099"),
            (100, "100"),
            (999, "999"),
        ] {
            assert_eq!(text(|line| line.push_padded(value, 3)), expected);
        }
    }

    #[test]
    fn addresses_and_milliseconds() {
        for address in [
            "0.0.0.0",
            "1.2.3.4",
            "10.20.30.40",
            "127.0.0.1",
            "99.100.101.9",
            "255.255.255.255",
            "::1",
            "2001:db8::7:8",
            "::ffff:10.0.0.1",
        ] {
            let parsed: IpAddr = address.parse().unwrap();
            assert_eq!(text(|line| line.push_address(parsed)), parsed.to_string());
        }
        for octet in 0..=255 {
            let address = IpAddr::from([octet, 7, octet, octet]);
            assert_eq!(text(|line| line.push_address(address)), address.to_string());
        }
        for value in 0..1000 {
            assert_eq!(
                text(|line| line.push_milliseconds(value)),
                format!("{value:03}")
            );
        }
    }

    #[test]
    fn escapes() {
        assert_eq!(
            text(|line| line.push_escaped(b"a b#\"\x01\x7f\xff|{}", b"")),
            "a b#23#22#01#7F#FF|{}"
        );
        assert_eq!(text(|line| line.push_escaped(b"|{}", b"{|}")), "#7C#7B#7D");
    }

    #[test]
    fn what_does_not_fit_is_cut() {
        let mut line = Line::with_limit(4);
        line.push(b"abc");
        line.push(b"def");
        line.push_byte(b'g');
        assert_eq!(line.as_bytes(), b"abcd");
    }
}
