//! Regular expressions: patterns and replacements of the configuration, compiled to automata that match in linear time.
//!
//! HAProxy's packages use PCRE2 on bytes. A pattern is rewritten to the syntax of the `regex` crate (`regex_syntax`);
//! a construct that needs backtracking is an error that names it. A match allocates nothing once the automaton is warm.
//!
//! Not here: the methods and converters that use them (`pattern`, `convert`), edits of messages (`rules`).

use super::regex_syntax;
use regex::bytes::{CaptureLocations, RegexBuilder};
use std::cell::{Cell, RefCell, RefMut};
use std::fmt;

/// Groups that a replacement can name: `\0` to `\9`.
const GROUPS: usize = 10;

/// Bytes of states that one automaton keeps of what it has seen; when they are full it begins anew. Without a bound of ours it is 2 MiB,
/// which clients can fill by what they ask for.
const STATES_BYTES: usize = 512 << 10;

/// Bytes that an expression takes when it is warm, at most: states of the search forwards and of the one backwards.
pub const REGEX_BYTES: u64 = 2 * STATES_BYTES as u64;

thread_local! {
    /// Expressions that there are.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// How many expressions this thread has compiled and not dropped.
pub fn count() -> u64 {
    COUNT.get()
}

/// A compiled regular expression.
pub struct Regex {
    text: Box<[u8]>,
    automaton: regex::bytes::Regex,
    locations: RefCell<CaptureLocations>,
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Regex({})", String::from_utf8_lossy(&self.text))
    }
}

impl Drop for Regex {
    fn drop(&mut self) {
        COUNT.set(COUNT.get() - 1);
    }
}

impl PartialEq for Regex {
    fn eq(&self, other: &Regex) -> bool {
        self.text == other.text
    }
}

impl Eq for Regex {}

impl Regex {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// `regex 'a(' is invalid (error=unclosed group, erroffset=1)`, or which construct is not supported.
    pub fn new(pattern: &[u8], ignore_case: bool) -> Result<Regex, String> {
        let shown = String::from_utf8_lossy(pattern);
        let rewritten = regex_syntax::rewrite(pattern).map_err(|error| match error {
            regex_syntax::SyntaxError::Unsupported(construct) => format!(
                "regex '{shown}' has {construct}, which burdock does not support: it matches in linear time, without backtracking"
            ),
            regex_syntax::SyntaxError::Invalid { reason, offset } => {
                format!("regex '{shown}' is invalid (error={reason}, erroffset={offset})")
            }
        })?;
        let automaton = RegexBuilder::new(&rewritten)
            .unicode(false)
            .case_insensitive(ignore_case)
            .dfa_size_limit(STATES_BYTES)
            .build()
            .map_err(|error| {
                let text = error.to_string();
                let reason = text.lines().last().unwrap_or_default();
                let reason = reason.strip_prefix("error: ").unwrap_or(reason);
                format!("regex '{shown}' is invalid (error={reason})")
            })?;
        let locations = RefCell::new(automaton.capture_locations());
        COUNT.set(COUNT.get() + 1);
        Ok(Regex {
            text: pattern.into(),
            automaton,
            locations,
        })
    }

    /// Whether the expression matches anywhere in the text.
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.automaton.is_match(text)
    }

    /// The first match at or after `start`, with its groups. One match of an expression can be looked at at a time.
    pub fn find_at<'r, 't>(&'r self, text: &'t [u8], start: usize) -> Option<Match<'r, 't>> {
        let mut locations = self.locations.try_borrow_mut().ok()?;
        if start > text.len() {
            return None;
        }
        self.automaton
            .captures_read_at(&mut locations, text, start)?;
        Some(Match { text, locations })
    }

    /// The first match, with its groups.
    pub fn find<'r, 't>(&'r self, text: &'t [u8]) -> Option<Match<'r, 't>> {
        self.find_at(text, 0)
    }
}

/// A match, and what its groups matched.
pub struct Match<'r, 't> {
    text: &'t [u8],
    locations: RefMut<'r, CaptureLocations>,
}

impl<'t> Match<'_, 't> {
    /// Where the whole match is.
    pub fn range(&self) -> (usize, usize) {
        self.locations.get(0).unwrap_or_default()
    }

    /// What a group matched; empty when it took no part. Group 0 is the whole match.
    pub fn group(&self, index: usize) -> &'t [u8] {
        self.locations
            .get(index)
            .and_then(|(from, to)| self.text.get(from..to))
            .unwrap_or_default()
    }

    /// Writes a replacement: `\0` to `\9` are groups, `\xHH` is a byte, a backslash before anything else stands for that.
    /// `None` when `push` has no room, or when a backslash has nothing behind it or `\x` no two digits.
    pub fn expand(&self, template: &[u8], mut push: impl FnMut(&[u8]) -> Option<()>) -> Option<()> {
        let mut rest = template;
        while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
            push(&rest[..at])?;
            rest = match &rest[at + 1..] {
                [digit @ b'0'..=b'9', after @ ..] => {
                    let index = usize::from(digit - b'0');
                    debug_assert!(index < GROUPS);
                    push(self.group(index))?;
                    after
                }
                [b'x', high, low, after @ ..] => {
                    let digit = |byte: &u8| (*byte as char).to_digit(16);
                    push(&[(digit(high)? << 4 | digit(low)?) as u8])?;
                    after
                }
                [byte, after @ ..] => {
                    push(&[*byte])?;
                    after
                }
                [] => return None, // a lone backslash ends it
            };
        }
        push(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(pattern: &str, text: &str, template: &str) -> Option<String> {
        let regex = Regex::new(pattern.as_bytes(), false).expect("a regex");
        let mut out = Vec::new();
        regex
            .find(text.as_bytes())?
            .expand(template.as_bytes(), |bytes| {
                out.extend_from_slice(bytes);
                Some(())
            })?;
        Some(String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn replacements() {
        let check = |pattern, text, template, expected: Option<&str>| {
            assert_eq!(replaced(pattern, text, template).as_deref(), expected);
        };
        check(
            "^/(a+)/(b)?",
            "/aa/x",
            r"\2<\1>\0\\\x41\.",
            Some(r"<aa>/aa/\A."),
        );
        check("^b", "ab", "x", None);
        check("(.)", "q", r"\9\1", Some("q"));
    }

    /// Rewritten patterns match what PCRE matches.
    #[test]
    fn pcre_syntax() {
        let check = |pattern: &str, text: &[u8], expected: bool| {
            let regex = Regex::new(pattern.as_bytes(), false).map_err(|error| panic!("{error}"));
            assert_eq!(
                regex.map(|regex| regex.is_match(text)),
                Ok::<_, ()>(expected),
                "{pattern}"
            );
        };
        check(r"^\<a\>$", b"<a>", true);
        check("a{", b"a{", true);
        check("a{,3}", b"a{,3}", true);
        check("^a{2,3}$", b"aaa", true);
        check("]}", b"]}", true);
        check("[]a]", b"]", true);
        check("[^]a]", b"]", false);
        check("^[[a]$", b"[", true);
        check("^[a&&b]+$", b"&&", true);
        check(r"^[\w-.]+$", b"a-.", true);
        check("^[a-z-9]+$", b"b-9", true);
        check("^[+--]+$", b"+,-", true);
        check("^[[:alpha:]_]+$", b"a_", true);
        check(r"^\Qa.b\E+$", b"a.bb", true);
        check(r"\h", b"a\tb", true);
        check(r"^\R$", b"\r\n", true);
        check(r"^\x41\x{42}\103\e$", b"ABC\x1b", true);
        check(r"^[\101-C]$", b"B", true);
        check(r"^[\b]$", b"\x08", true);
        check("^é$", "é".as_bytes(), true);
        check("^[é]{2}$", "é".as_bytes(), true);
        check("(?i)^A(?-i)b", b"ab", true);
        check("a(?#comment)b", b"ab", true);
        check("(?<n>a)(?P<m>b)(?'o'c)", b"abc", true);
        check("^.$", b"\xff", true);
        check("^a|b$", b"xb", true);
    }

    #[test]
    fn what_needs_backtracking_is_named() {
        let check = |pattern: &str, construct: &str| {
            let error = Regex::new(pattern.as_bytes(), false).expect_err(pattern);
            let expected =
                format!("regex '{pattern}' has {construct}, which burdock does not support");
            assert!(error.starts_with(&expected), "{error}");
        };
        check("a(?=b)", "a look-ahead '(?='");
        check("a(?!b)", "a look-ahead '(?!'");
        check("(?<=a)b", "a look-behind '(?<='");
        check("(?<!a)b", "a look-behind '(?<!'");
        check(r"(a)\1", r"a back-reference '\1'");
        check(r"(?<n>a)\k<n>", r"a back-reference '\k'");
        check("(?P<n>a)(?P=n)", "a back-reference '(?P='");
        check("(?>a)", "an atomic group '(?>'");
        check("a++b", "a possessive quantifier '++'");
        check("a{2}+b", "a possessive quantifier '}+'");
        check("(?R)", "a recursion '(?R'");
        check("(?1)", "a recursion '(?1'");
        check("(?(1)a|b)", "a conditional group '(?('");
        check("(?|a|b)", "a branch reset group '(?|'");
        check("(*UTF8)a", "a verb '(*'");
        check(r"a\Kb", r"a match start '\K'");
    }

    #[test]
    fn mistakes() {
        let check = |pattern: &str| {
            let error = Regex::new(pattern.as_bytes(), false).expect_err(pattern);
            assert!(
                error.starts_with(&format!("regex '{pattern}' is invalid (error=")),
                "{error}"
            );
        };
        for pattern in [
            "a(",
            "a)",
            "[a",
            "*a",
            r"a\",
            "[b-a]",
            "a{3,2}",
            "[[:foo:]]",
        ] {
            check(pattern);
        }
    }
}
