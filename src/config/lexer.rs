//! A line of configuration into words: quotes, escapes, comments, environment variables (configuration manual, 2.2 and 2.3).
//!
//! Unquoted, `\` escapes a space, `#`, `\`, a quote, and writes `\n`, `\r`, `\t`, `\xNN`; before anything else it is itself. Double
//! quotes keep blanks and `#` and expand `$NAME`, `${NAME}`, `${NAME-default}`, `${NAME[*]}`; single quotes keep everything.
//! A line ends at LF or CR. Nothing continues on the next line.
//! Not here: what the words mean.

use std::collections::BTreeMap;
use std::ops::Range;

/// Most words of a line; HAProxy's limit.
pub const WORDS_MAX: usize = 64;
/// Width of the excerpt that an error shows.
const EXCERPT_WIDTH: usize = 80;

/// The environment of the parser: that of the process, as `setenv` and its like have changed it.
pub type Environment = BTreeMap<String, String>;

/// What the pseudo-variables `.FILE`, `.LINE` and `.SECTION` stand for.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Name of the file.
    pub file: &'a str,
    /// Line, from 1.
    pub line: u32,
    /// Name of the section, or its keyword when it has no name; empty before the first.
    pub section: &'a str,
}

/// Why a line could not be cut into words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LexError {
    /// A fault at a place of the line: the text that follows `parsing [file:line]: `, excerpt included.
    At(String),
    /// More than [`WORDS_MAX`] words.
    TooManyWords(String),
    /// A word is not UTF-8, which burdock demands.
    NotUtf8(String),
}

/// Cuts a line into words. Words in double quotes may be empty; a line of blanks or a comment gives no words.
///
/// # Errors
/// See [`LexError`]; the line has to be skipped.
pub fn words(
    line: &[u8],
    environment: &Environment,
    place: Place<'_>,
) -> Result<Vec<String>, LexError> {
    let mut lexer = Lexer {
        line,
        at: 0,
        environment,
        place,
        words: Vec::new(),
        starts: Vec::new(),
        word: Vec::new(),
        open: false,
        word_start: 0,
    };
    lexer.run()?;
    lexer.finish()
}

/// Which quotes the lexer is in, and where they were opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Weak(usize),
    Strong(usize),
}

struct Lexer<'a> {
    line: &'a [u8],
    at: usize,
    environment: &'a Environment,
    place: Place<'a>,
    words: Vec<Vec<u8>>,
    /// Offset in `line` where each word starts, for the error about too many.
    starts: Vec<usize>,
    word: Vec<u8>,
    /// A word has begun, be it empty.
    open: bool,
    word_start: usize,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.line.get(self.at + ahead).copied()
    }

    fn push(&mut self, byte: u8) {
        self.begin();
        self.word.push(byte);
    }

    fn begin(&mut self) {
        if !self.open {
            self.open = true;
            self.word_start = self.at;
        }
    }

    fn end_word(&mut self) {
        if self.open {
            self.words.push(std::mem::take(&mut self.word));
            self.starts.push(self.word_start);
            self.open = false;
        }
    }

    fn run(&mut self) -> Result<(), LexError> {
        let mut quote = Quote::None;
        while let Some(byte) = self.peek(0) {
            match (byte, quote) {
                (b'\n' | b'\r', Quote::None) => break,
                (b'#', Quote::None) => break,
                (b' ' | b'\t', Quote::None) => {
                    self.end_word();
                    self.at += 1;
                }
                (b'"', Quote::None) => {
                    self.begin();
                    quote = Quote::Weak(self.at);
                    self.at += 1;
                }
                (b'\'', Quote::None) => {
                    self.begin();
                    quote = Quote::Strong(self.at);
                    self.at += 1;
                }
                (b'"', Quote::Weak(_)) | (b'\'', Quote::Strong(_)) => {
                    quote = Quote::None;
                    self.at += 1;
                }
                (b'\\', Quote::None | Quote::Weak(_)) => self.escape(quote != Quote::None)?,
                (b'$', Quote::Weak(_)) => self.variable()?,
                _ => {
                    self.push(byte);
                    self.at += 1;
                }
            }
        }
        match quote {
            Quote::None => Ok(()),
            Quote::Weak(start) | Quote::Strong(start) => {
                Err(self.fault("unmatched quote", start, None))
            }
        }
    }

    /// At a backslash outside single quotes.
    fn escape(&mut self, weak: bool) -> Result<(), LexError> {
        let next = self.peek(1);
        let (byte, len) = match next {
            Some(byte @ (b' ' | b'\\' | b'#' | b'"' | b'\'')) => (byte, 2),
            Some(b'$') if weak => (b'$', 2),
            Some(b'n') => (b'\n', 2),
            Some(b'r') => (b'\r', 2),
            Some(b't') => (b'\t', 2),
            Some(b'x') => match (
                self.peek(2).and_then(hex_digit),
                self.peek(3).and_then(hex_digit),
            ) {
                (Some(high), Some(low)) => (high * 16 + low, 4),
                _ => {
                    return Err(self.fault(
                        "truncated or invalid hexadecimal sequence",
                        self.at,
                        None,
                    ));
                }
            },
            _ => (b'\\', 1),
        };
        self.push(byte);
        self.at += len;
        Ok(())
    }

    /// At a dollar in double quotes.
    fn variable(&mut self) -> Result<(), LexError> {
        self.begin();
        let mut at = self.at + 1;
        let brace = (self.line.get(at) == Some(&b'{')).then_some(at);
        if brace.is_some() {
            at += 1;
        }
        let start = at;
        match self.line.get(at) {
            Some(byte) if byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'.') => at += 1,
            _ => {
                return Err(self.fault(
                    "forbidden first char in environment variable name",
                    start,
                    None,
                ));
            }
        }
        while self
            .line
            .get(at)
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        {
            at += 1;
        }
        let name = String::from_utf8_lossy(&self.line[start..at]).into_owned();
        let value = if let Some(pseudo) = name.strip_prefix('.') {
            let Some(value) = self.pseudo_variable(pseudo) else {
                return Err(self.fault(
                    "forbidden first char in environment variable name",
                    start,
                    Some(at),
                ));
            };
            Some(value)
        } else {
            self.environment.get(&name).cloned()
        };
        let mut split = false;
        let mut default = 0..0;
        if let Some(brace) = brace {
            if self.line.get(at) == Some(&b'[') {
                if !self.line[at..].starts_with(b"[*]") {
                    return Err(self.fault(
                        "truncated or invalid word expansion sequence",
                        at,
                        None,
                    ));
                }
                split = true;
                at += 3;
            }
            if self.line.get(at) == Some(&b'-') {
                let from = at + 1;
                while self.line.get(at).is_some_and(|byte| *byte != b'}') {
                    at += 1;
                }
                default = from..at;
            }
            if self.line.get(at) != Some(&b'}') {
                return Err(self.fault(
                    "unmatched brace in environment variable name",
                    brace,
                    None,
                ));
            }
            at += 1;
        }
        self.expand(value, default, split);
        self.at = at;
        Ok(())
    }

    fn expand(&mut self, value: Option<String>, default: Range<usize>, split: bool) {
        let bytes = match value {
            Some(value) => value.into_bytes(),
            None => self.line[default].to_vec(),
        };
        if !split {
            self.word.extend_from_slice(&bytes);
            return;
        }
        let mut blank = false;
        for byte in bytes {
            if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                if !blank {
                    self.end_word();
                }
                blank = true;
            } else {
                self.push(byte);
                blank = false;
            }
        }
        // What follows the variable inside the quotes belongs to a word, be it empty.
        self.begin();
    }

    fn pseudo_variable(&self, name: &str) -> Option<String> {
        match name {
            "FILE" => Some(self.place.file.to_owned()),
            "LINE" => Some(self.place.line.to_string()),
            "SECTION" => Some(self.place.section.to_owned()),
            _ => None,
        }
    }

    /// An error at an offset of the line; the excerpt ends at `cut` when there is one.
    fn fault(&self, what: &str, offset: usize, cut: Option<usize>) -> LexError {
        let mut line = self.line;
        while let Some((last, rest)) = line.split_last() {
            if !matches!(last, b'\n' | b'\r') {
                break;
            }
            line = rest;
        }
        let line = &line[..cut.unwrap_or(line.len()).min(line.len())];
        let indent = line
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count()
            .min(offset);
        LexError::At(format!(
            "{what} at position {}:\n{}",
            offset + 1,
            excerpt(&line[indent..], offset - indent)
        ))
    }

    fn finish(mut self) -> Result<Vec<String>, LexError> {
        self.end_word();
        if self.words.len() > WORDS_MAX {
            let position = self.starts[WORDS_MAX - 1] + 1;
            let last = String::from_utf8_lossy(&self.words[WORDS_MAX - 1]).into_owned();
            return Err(LexError::TooManyWords(format!(
                "too many words, truncating after word {WORDS_MAX}, position {position}: <{last}>."
            )));
        }
        let mut words = Vec::with_capacity(self.words.len());
        for mut word in self.words {
            // As in HAProxy, a NUL that was written as `\x00` ends the word.
            if let Some(nul) = word.iter().position(|byte| *byte == 0) {
                word.truncate(nul);
            }
            match String::from_utf8(word) {
                Ok(word) => words.push(word),
                Err(error) => {
                    return Err(LexError::NotUtf8(
                        String::from_utf8_lossy(error.as_bytes()).into_owned(),
                    ));
                }
            }
        }
        Ok(words)
    }
}

/// A line and a caret under one of its bytes, both indented by two; long lines are cut around the caret.
pub fn excerpt(line: &[u8], caret: usize) -> String {
    let printable = |byte: &u8| match byte {
        b'\t' => ' ',
        0x20..=0x7e => *byte as char,
        _ => '?',
    };
    let (text, caret): (String, usize) = if caret < EXCERPT_WIDTH {
        (
            line.iter().take(EXCERPT_WIDTH).map(printable).collect(),
            caret,
        )
    } else {
        let shift = caret - EXCERPT_WIDTH / 2;
        let mut text: String = "..."
            .chars()
            .chain(line.iter().skip(shift + 3).map(printable))
            .collect();
        if text.len() > EXCERPT_WIDTH {
            text.truncate(EXCERPT_WIDTH - 3);
            text.push_str("...");
        }
        (text, caret - shift)
    };
    format!("  {text}\n  {:caret$}^", "")
}

fn hex_digit(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        [("A", "one two  three"), ("EMPTY", ""), ("B", "q\"uo\\te$A")]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    fn lex(line: &str) -> Result<Vec<String>, LexError> {
        words(
            line.as_bytes(),
            &environment(),
            Place {
                file: "x.cfg",
                line: 7,
                section: "web",
            },
        )
    }

    #[track_caller]
    fn check(line: &str, expected: &[&str]) {
        assert_eq!(lex(line).unwrap(), expected, "{line}");
    }

    #[track_caller]
    fn check_error(line: &str, expected: &str) {
        match lex(line).unwrap_err() {
            LexError::At(text) | LexError::TooManyWords(text) | LexError::NotUtf8(text) => {
                assert_eq!(text, expected)
            }
        }
    }

    #[test]
    fn words_quotes_and_escapes() {
        check("", &[]);
        check("   # only a comment", &[]);
        check(" mode \t http#x\n", &["mode", "http"]);
        check("bind :80\r\n", &["bind", ":80"]);
        check(
            r"a\ b a\tb\x41c a\#b a\\b a\'b",
            &["a b", "a\tbAc", "a#b", "a\\b", "a'b"],
        );
        check(
            r#"a\qb a\$b "a\qb" "a\$A" 'a\b\"c\x41'"#,
            &["a\\qb", "a\\$b", "a\\qb", "a$A", "a\\b\\\"c\\x41"],
        );
        check(r#""a'b"'c"d' "" foo "x#y""#, &["a'bc\"d", "", "foo", "x#y"]);
        check("bind abc\\", &["bind", "abc\\"]);
        check("a\\\tb", &["a\\", "b"]);
        check(r"a\x00b c", &["a", "c"]);
    }

    #[test]
    fn variables() {
        check(
            r#""$A" "${A}" "${B}"x $A ${A}"#,
            &[
                "one two  three",
                "one two  three",
                "q\"uo\\te$Ax",
                "$A",
                "${A}",
            ],
        );
        check(r#"x"${A[*]}"y z"#, &["xone", "two", "threey", "z"]);
        check(
            r#""${EMPTY-def}" "${NOPE-a b}"x "${NOPE-}" "$NOPE""#,
            &["", "a bx", "", ""],
        );
        check(r#""${NOPE-a\}b}"x "$A.x""#, &["a\\b}x", "one two  three.x"]);
        check(r#""${.FILE}:${.LINE}:$.SECTION""#, &["x.cfg:7:web"]);
    }

    #[test]
    fn errors_point_at_the_byte() {
        check_error(
            " bind \"abc",
            "unmatched quote at position 7:\n  bind \"abc\n       ^",
        );
        check_error(
            " bind abc\\xzz",
            "truncated or invalid hexadecimal sequence at position 10:\n  bind abc\\xzz\n          ^",
        );
        check_error(
            " bind \"${FOO\"",
            "unmatched brace in environment variable name at position 9:\n  bind \"${FOO\"\n         ^",
        );
        check_error(
            " \"${.FOO}\"",
            "forbidden first char in environment variable name at position 5:\n  \"${.FOO\n     ^",
        );
        check_error(
            " \"${A[0]}\"",
            "truncated or invalid word expansion sequence at position 6:\n  \"${A[0]}\"\n      ^",
        );
        let long = format!(" {} \"{}", "a".repeat(100), "b".repeat(200));
        let expected = format!(
            "unmatched quote at position 103:\n  ...{} \"{}...\n  {}^",
            "a".repeat(36),
            "b".repeat(36),
            " ".repeat(40)
        );
        check_error(&long, &expected);
    }

    #[test]
    fn too_many_words() {
        let words = |count: usize| (0..count).map(|n| format!(" w{n}")).collect::<String>();
        assert_eq!(lex(&words(64)).unwrap().len(), 64);
        check_error(
            &words(65),
            "too many words, truncating after word 64, position 244: <w63>.",
        );
    }
}
