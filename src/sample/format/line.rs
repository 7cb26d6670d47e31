//! A line under construction: a buffer that truncates instead of growing.

use std::fmt;

/// Bytes of one log line. Its capacity is fixed when it is made; what does not fit is cut off.
#[derive(Debug)]
pub struct Line {
    bytes: Vec<u8>,
    limit: usize,
}

impl Line {
    /// An empty line of at most `limit` bytes.
    pub fn with_limit(limit: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(limit),
            limit,
        }
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Keeps the first `bytes` bytes.
    pub fn truncate(&mut self, bytes: usize) {
        self.bytes.truncate(bytes);
    }

    /// What is in it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Appends `bytes`, as far as they fit.
    pub fn push(&mut self, bytes: &[u8]) {
        let room = self.limit - self.bytes.len();
        self.bytes
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Appends one byte, if it fits.
    pub fn push_byte(&mut self, byte: u8) {
        if self.bytes.len() < self.limit {
            self.bytes.push(byte);
        }
    }

    /// Appends a decimal number.
    pub fn push_number(&mut self, value: u64) {
        let mut digits = [0_u8; 20];
        let mut at = digits.len();
        let mut rest = value;
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
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
        for &byte in text {
            if (b' '..=b'~').contains(&byte)
                && byte != b'#'
                && byte != b'"'
                && !also.contains(&byte)
            {
                self.push_byte(byte);
            } else {
                self.push_hex_byte(b'#', byte);
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
        for value in [0, 7, 10, 999, 1_000_000, u64::MAX] {
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
