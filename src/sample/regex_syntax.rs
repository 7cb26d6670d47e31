//! PCRE's syntax of regular expressions, rewritten for the `regex` crate.
//!
//! The two agree on most; here is what is written otherwise (`\h`, octal escapes, `\Q…\E`, literal braces and brackets, classes that hold
//! `[` or `&&`), and what only backtracking can do, which is refused by name. Bytes beyond ASCII are written as escapes, so that a pattern
//! matches bytes, as in HAProxy.
//!
//! Not here: compiling and matching (`regex`).

use std::fmt::Write as _;

/// Why a pattern was refused.
pub(super) enum SyntaxError {
    /// A construct that linear-time matching cannot do, in words: `a look-ahead '(?='`.
    Unsupported(String),
    /// The pattern is wrong at an offset.
    Invalid { reason: &'static str, offset: usize },
}

/// The pattern in the crate's syntax.
///
/// # Errors
/// See [`SyntaxError`]; what else is wrong the crate finds itself.
pub(super) fn rewrite(pattern: &[u8]) -> Result<String, SyntaxError> {
    let mut rewriter = Rewriter {
        pattern,
        at: 0,
        out: String::with_capacity(pattern.len() + 8),
    };
    let mut after_quantifier = None;
    while let Some(byte) = rewriter.next() {
        let quantifier_before = after_quantifier.take();
        match byte {
            b'\\' => rewriter.escape()?,
            b'[' => rewriter.class()?,
            b'(' => rewriter.group()?,
            b'{' => match rewriter.repetition() {
                Some(length) => {
                    let end = rewriter.at + length;
                    let text = &pattern[rewriter.at - 1..end];
                    rewriter.out += &String::from_utf8_lossy(text);
                    rewriter.at = end;
                    after_quantifier = Some('}');
                }
                None => rewriter.out += "\\{",
            },
            b'+' if quantifier_before.is_some() => {
                let quantifier = quantifier_before.unwrap_or_default();
                return unsupported(format!("a possessive quantifier '{quantifier}+'"));
            }
            b'?' if quantifier_before.is_some() => rewriter.out.push('?'), // lazy
            b'*' | b'+' | b'?' => {
                rewriter.out.push(byte as char);
                after_quantifier = Some(byte as char);
            }
            b'}' => rewriter.out += "\\}",
            b']' => rewriter.out += "\\]",
            _ => rewriter.literal(byte),
        }
    }
    Ok(rewriter.out)
}

fn unsupported<T>(construct: String) -> Result<T, SyntaxError> {
    Err(SyntaxError::Unsupported(construct))
}

/// What `(?` may be followed by, and what it is called when it is not supported; longer ones first.
const GROUPS: &[(&str, &str)] = &[
    ("=", "a look-ahead"),
    ("!", "a look-ahead"),
    ("<=", "a look-behind"),
    ("<!", "a look-behind"),
    (">", "an atomic group"),
    ("|", "a branch reset group"),
    ("(", "a conditional group"),
    ("P=", "a back-reference"),
    ("P>", "a recursion"),
    ("&", "a recursion"),
    ("R", "a recursion"),
    ("C", "a callout"),
];

struct Rewriter<'p> {
    pattern: &'p [u8],
    at: usize,
    out: String,
}

impl Rewriter<'_> {
    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn peek(&self) -> Option<u8> {
        self.pattern.get(self.at).copied()
    }

    fn rest(&self) -> &[u8] {
        self.pattern.get(self.at..).unwrap_or_default()
    }

    fn invalid<T>(&self, reason: &'static str) -> Result<T, SyntaxError> {
        Err(SyntaxError::Invalid {
            reason,
            offset: self.at,
        })
    }

    /// A byte that both syntaxes read alike, or one beyond ASCII.
    fn literal(&mut self, byte: u8) {
        if byte.is_ascii() {
            self.out.push(byte as char);
        } else {
            self.byte(byte);
        }
    }

    /// A byte that stands for itself, whatever it is.
    fn byte(&mut self, byte: u8) {
        if byte.is_ascii_alphanumeric() {
            self.out.push(byte as char);
        } else {
            let _ = write!(self.out, "\\x{byte:02X}");
        }
    }

    /// Length of what follows a brace if that is `n}`, `n,}` or `n,m}`.
    fn repetition(&self) -> Option<usize> {
        let rest = self.rest();
        let end = rest.iter().position(|byte| *byte == b'}')?;
        let mut numbers = rest[..end].split(|byte| *byte == b',');
        let is_number = |text: &[u8]| text.iter().all(u8::is_ascii_digit);
        let low = numbers.next()?;
        let high = numbers.next().unwrap_or_default();
        let valid = !low.is_empty() && is_number(low) && is_number(high);
        (valid && numbers.next().is_none()).then_some(end + 1)
    }

    /// After `(`.
    fn group(&mut self) -> Result<(), SyntaxError> {
        let rest = self.rest();
        if rest.starts_with(b"*") {
            return unsupported("a verb '(*'".into());
        }
        let Some(rest) = rest.strip_prefix(b"?") else {
            self.out.push('(');
            return Ok(());
        };
        if rest.starts_with(b"#") {
            let Some(end) = rest.iter().position(|byte| *byte == b')') else {
                return self.invalid("missing ) after (?# comment");
            };
            self.at += 1 + end + 1;
            return Ok(());
        }
        for (start, name) in GROUPS {
            if rest.starts_with(start.as_bytes()) {
                return unsupported(format!("{name} '(?{start}'"));
            }
        }
        if let Some(sign @ (b'0'..=b'9' | b'+')) = rest.first() {
            return unsupported(format!("a recursion '(?{}'", *sign as char));
        }
        if let [b'-', digit @ b'0'..=b'9', ..] = rest {
            return unsupported(format!("a recursion '(?-{}'", *digit as char));
        }
        if rest.starts_with(b"'") {
            let Some(end) = rest[1..].iter().position(|byte| *byte == b'\'') else {
                return self.invalid("syntax error in subpattern name");
            };
            let name = String::from_utf8_lossy(&rest[1..1 + end]).into_owned();
            let _ = write!(self.out, "(?P<{name}>");
            self.at += 1 + 1 + end + 1;
            return Ok(());
        }
        let flags = rest
            .iter()
            .take_while(|byte| byte.is_ascii_alphabetic() || **byte == b'-');
        let is_known = |byte: &u8| matches!(byte, b'i' | b'm' | b's' | b'x' | b'U' | b'-' | b'P');
        if let Some(flag) = flags.clone().find(|byte| !is_known(byte)) {
            return unsupported(format!("an option '(?{}'", *flag as char));
        }
        self.out += "(?";
        self.at += 1;
        Ok(())
    }

    /// After a backslash, outside of a class.
    fn escape(&mut self) -> Result<(), SyntaxError> {
        let Some(byte) = self.next() else {
            return self.invalid("\\ at end of pattern");
        };
        match byte {
            b'1'..=b'9' if !self.is_octal_after(byte) => {
                return unsupported(format!("a back-reference '\\{}'", byte as char));
            }
            b'g' | b'k' => {
                return unsupported(format!("a back-reference '\\{}'", byte as char));
            }
            b'K' => return unsupported("a match start '\\K'".into()),
            b'G' | b'X' | b'C' | b'p' | b'P' => {
                return unsupported(format!("an escape '\\{}'", byte as char));
            }
            b'd' | b'D' | b'w' | b'W' | b's' | b'S' | b'b' | b'B' | b'A' | b'z' => {
                self.out.push('\\');
                self.out.push(byte as char);
            }
            b'Z' => self.out += "\\z",
            b'h' => self.out += "[\\t\\x20\\xA0]",
            b'H' => self.out += "[^\\t\\x20\\xA0]",
            b'v' => self.out += "[\\n\\x0B\\f\\r\\x85]",
            b'V' => self.out += "[^\\n\\x0B\\f\\r\\x85]",
            b'R' => self.out += "(?:\\r\\n|[\\n\\x0B\\f\\r\\x85])",
            b'N' => self.out += "[^\\n]",
            b'Q' => {
                let rest = self.rest();
                let end = rest.windows(2).position(|pair| pair == b"\\E");
                let quoted = rest[..end.unwrap_or(rest.len())].to_vec();
                self.at += quoted.len() + end.map_or(0, |_| 2);
                for byte in quoted {
                    self.byte(byte);
                }
            }
            b'E' => {}
            _ => {
                let byte = self.character(byte)?;
                self.byte(byte);
            }
        }
        Ok(())
    }

    /// Whether the digits from `first` on are an octal number: three of them (fewer would be a back-reference).
    fn is_octal_after(&self, first: u8) -> bool {
        let is_octal = |byte: &u8| (b'0'..=b'7').contains(byte);
        is_octal(&first) && matches!(self.rest(), [a, b, ..] if is_octal(a) && is_octal(b))
    }

    /// The byte that an escape stands for, in a class or not.
    fn character(&mut self, byte: u8) -> Result<u8, SyntaxError> {
        Ok(match byte {
            b'a' => 7,
            b'e' => 27,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'c' => match self.next() {
                Some(letter) => letter.to_ascii_uppercase() ^ 64,
                None => return self.invalid("\\c at end of pattern"),
            },
            b'0'..=b'7' => {
                let mut value = u32::from(byte - b'0');
                for _ in 0..2 {
                    match self.peek() {
                        Some(digit @ b'0'..=b'7') => value = value * 8 + u32::from(digit - b'0'),
                        _ => break,
                    }
                    self.at += 1;
                }
                value as u8
            }
            b'x' => return self.hexadecimal(),
            _ if byte.is_ascii_alphanumeric() => {
                return self.invalid("unrecognized character follows \\");
            }
            _ => byte,
        })
    }

    /// `\xHH`, `\xH`, `\x` or `\x{…}`.
    fn hexadecimal(&mut self) -> Result<u8, SyntaxError> {
        let digit = |byte: &u8| (*byte as char).to_digit(16);
        let rest = self.rest();
        let in_braces = rest.first() == Some(&b'{');
        let digits = if in_braces { &rest[1..] } else { rest };
        let most = if in_braces { digits.len() } else { 2 };
        let values = digits.iter().take(most).map_while(digit);
        let count = values.clone().count();
        let value = values.fold(0u32, |value, digit| value.saturating_mul(16) | digit);
        self.at += count;
        if in_braces {
            self.at += 1;
            if self.next() != Some(b'}') {
                return self.invalid("missing terminating } for \\x{");
            }
        }
        match u8::try_from(value) {
            Ok(byte) => Ok(byte),
            Err(_) => self.invalid("character code point value in \\x{} or \\o{} is too large"),
        }
    }

    /// After `[`.
    fn class(&mut self) -> Result<(), SyntaxError> {
        self.out.push('[');
        if self.peek() == Some(b'^') {
            self.at += 1;
            self.out.push('^');
        }
        let mut first = true;
        // whether the last member may start a range
        let mut can_start_range = false;
        loop {
            let Some(byte) = self.next() else {
                return self.invalid("missing terminating ] for character class");
            };
            let is_first = std::mem::take(&mut first);
            match byte {
                b']' if !is_first => {
                    self.out.push(']');
                    return Ok(());
                }
                b'-' if can_start_range && self.peek().is_some_and(|next| next != b']') => {
                    let before = self.out.len();
                    self.out.push('-');
                    let Some(byte) = self.next() else {
                        return self.invalid("missing terminating ] for character class");
                    };
                    if !self.member(byte)? {
                        self.out.insert(before, '\\'); // `a-\d`: the dash is one
                    }
                    can_start_range = false;
                }
                _ => can_start_range = self.member(byte)?,
            }
        }
    }

    /// One member of a class. Returns whether it is a single character.
    fn member(&mut self, byte: u8) -> Result<bool, SyntaxError> {
        match byte {
            b'[' => {
                let rest = self.rest();
                if let Some(mark @ (b'.' | b'=')) = rest.first() {
                    let close = [*mark, b']'];
                    if rest.windows(2).skip(1).any(|pair| pair == close) {
                        return unsupported(format!("a collating element '[{}'", *mark as char));
                    }
                }
                let end = rest.windows(2).position(|pair| pair == b":]");
                if let (Some(b':'), Some(end)) = (rest.first(), end) {
                    let name = String::from_utf8_lossy(&rest[1.min(end)..end]).into_owned();
                    let word = name.trim_start_matches('^');
                    if end > 0 && word.bytes().all(|byte| byte.is_ascii_lowercase()) {
                        const NAMES: &[&str] = &[
                            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower",
                            "print", "punct", "space", "upper", "word", "xdigit",
                        ];
                        if !NAMES.contains(&word) {
                            return self.invalid("unknown POSIX class name");
                        }
                        let _ = write!(self.out, "[:{name}:]");
                        self.at += end + 2;
                        return Ok(false);
                    }
                }
                self.byte(b'[');
            }
            b'\\' => {
                let Some(byte) = self.next() else {
                    return self.invalid("\\ at end of pattern");
                };
                match byte {
                    b'd' | b'D' | b'w' | b'W' | b's' | b'S' => {
                        self.out.push('\\');
                        self.out.push(byte as char);
                        return Ok(false);
                    }
                    b'h' => {
                        self.out += "\\t\\x20\\xA0";
                        return Ok(false);
                    }
                    b'v' => {
                        self.out += "\\n\\x0B\\f\\r\\x85";
                        return Ok(false);
                    }
                    b'b' => self.byte(8),
                    b'p' | b'P' | b'H' | b'V' | b'R' | b'N' | b'Q' | b'E' => {
                        return unsupported(format!("an escape '[\\{}'", byte as char));
                    }
                    _ => {
                        let byte = self.character(byte)?;
                        self.byte(byte);
                    }
                }
            }
            _ => self.byte(byte),
        }
        Ok(true)
    }
}
