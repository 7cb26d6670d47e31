//! Conditions of `.if`, `.elif` and `-cc` (configuration manual, 2.4).
//!
//! What burdock answers: `version_atleast` and `version_before` compare with the HAProxy release whose language burdock speaks
//! ([`VERSION`]); `feature` knows the names in [`FEATURES`], so a block for OpenSSL or Lua is not taken; the predicates on
//! the SSL library are false, there being none.

use super::lexer::Environment;

/// The HAProxy release that `version_atleast` and `version_before` compare with.
pub const VERSION: &str = "2.6.12";
/// The build features of HAProxy that have a counterpart here.
pub const FEATURES: &[&str] = &[
    "EPOLL",
    "NETFILTER",
    "POLL",
    "PRCTL",
    "TFO",
    "SYSTEMD",
    "GETADDRINFO",
    "ACCEPT4",
];

/// Why a condition cannot be evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionError {
    /// In HAProxy's words.
    pub text: String,
    /// Offset in the condition where it was found.
    pub offset: usize,
}

/// Evaluates a condition; an empty one is false.
///
/// # Errors
/// The whole condition is checked, also what lazy evaluation would not look at.
pub fn evaluate(condition: &str, environment: &Environment) -> Result<bool, ConditionError> {
    let mut parser = Parser {
        text: condition,
        at: 0,
        environment,
    };
    parser.blanks();
    if parser.at == condition.len() {
        return Ok(false);
    }
    let value = parser.or()?;
    parser.blanks();
    match parser.rest().chars().next() {
        None => Ok(value),
        Some(found) => Err(parser.error(format!(
            "unexpected character '{found}' at the end of conditional expression '{condition}'"
        ))),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    environment: &'a Environment,
}

/// A predicate: its name, how many arguments it takes, what it answers.
struct Predicate {
    name: &'static str,
    arguments: usize,
    answer: fn(&[String], &Environment) -> bool,
}

const PREDICATES: &[Predicate] = &[
    Predicate {
        name: "defined",
        arguments: 1,
        answer: |args, env| env.contains_key(&args[0]),
    },
    Predicate {
        name: "feature",
        arguments: 1,
        answer: |args, _| FEATURES.contains(&args[0].as_str()),
    },
    Predicate {
        name: "streq",
        arguments: 2,
        answer: |args, _| args[0] == args[1],
    },
    Predicate {
        name: "strneq",
        arguments: 2,
        answer: |args, _| args[0] != args[1],
    },
    Predicate {
        name: "version_atleast",
        arguments: 1,
        answer: |args, _| version(VERSION) >= version(&args[0]),
    },
    Predicate {
        name: "version_before",
        arguments: 1,
        answer: |args, _| version(VERSION) < version(&args[0]),
    },
    Predicate {
        name: "openssl_version_atleast",
        arguments: 1,
        answer: |_, _| false,
    },
    Predicate {
        name: "openssl_version_before",
        arguments: 1,
        answer: |_, _| false,
    },
    Predicate {
        name: "ssllib_name_startswith",
        arguments: 1,
        answer: |_, _| false,
    },
];

impl Parser<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start_matches([' ', '\t']).len();
    }

    fn error(&self, text: String) -> ConditionError {
        ConditionError {
            text,
            offset: self.at,
        }
    }

    fn take(&mut self, what: &str) -> bool {
        let found = self.rest().starts_with(what);
        if found {
            self.at += what.len();
        }
        found
    }

    fn or(&mut self) -> Result<bool, ConditionError> {
        let mut value = self.and()?;
        loop {
            let before = self.at;
            self.blanks();
            if !self.take("||") {
                self.at = before;
                return Ok(value);
            }
            // Not short-circuited: the right side has to be well formed in any case.
            let right = self.and()?;
            value = value || right;
        }
    }

    fn and(&mut self) -> Result<bool, ConditionError> {
        let mut value = self.term()?;
        loop {
            self.blanks();
            let operator = self.at;
            if !self.take("&&") {
                return Ok(value);
            }
            self.blanks();
            if self.rest().is_empty() {
                self.at = operator;
                return Err(self.unparsable());
            }
            let right = self.term()?;
            value = value && right;
        }
    }

    fn unparsable(&self) -> ConditionError {
        self.error(format!(
            "unparsable conditional expression '{}'",
            self.rest()
        ))
    }

    fn term(&mut self) -> Result<bool, ConditionError> {
        self.blanks();
        let mut negate = false;
        while self.take("!") {
            negate = !negate;
            self.blanks();
        }
        Ok(self.element()? != negate)
    }

    fn element(&mut self) -> Result<bool, ConditionError> {
        let start = self.at;
        if self.take("(") {
            let value = self.or()?;
            self.blanks();
            if !self.take(")") {
                let text = format!(
                    "expected ')' after conditional expression '{}'",
                    &self.text[start..]
                );
                return Err(self.error(text));
            }
            return Ok(value);
        }
        if let Some(value) = self.integer() {
            return Ok(value != 0);
        }
        for predicate in PREDICATES {
            let Some(after) = self.rest().strip_prefix(predicate.name) else {
                continue;
            };
            if after
                .chars()
                .next()
                .is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
            {
                continue;
            }
            self.at += predicate.name.len();
            let arguments = self.arguments(predicate)?;
            return Ok((predicate.answer)(&arguments, self.environment));
        }
        Err(self.unparsable())
    }

    fn integer(&mut self) -> Option<i64> {
        let rest = self.rest();
        let sign = usize::from(rest.starts_with(['-', '+']));
        let digits = rest[sign..].bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return None;
        }
        let text = &rest[..sign + digits];
        // Too large a number is not zero, which is all that matters.
        let value = text.parse().unwrap_or(i64::MAX);
        self.at += sign + digits;
        Some(value)
    }

    /// Arguments in parentheses, quotes and backslashes resolved; missing ones are empty where one is expected.
    fn arguments(&mut self, predicate: &Predicate) -> Result<Vec<String>, ConditionError> {
        let name = predicate.name;
        let inside = |what: &str| {
            format!("{what} in argument 1 of predicate '{name}' used in conditional expression")
        };
        let mut arguments = Vec::new();
        if self.take("(") {
            let mut value = String::new();
            let mut quote = None;
            let mut chars = self.text[self.at..].char_indices();
            let mut end = self.text.len();
            let mut closed = false;
            while let Some((offset, c)) = chars.next() {
                end = self.at + offset;
                match (c, quote) {
                    ('\\', None | Some('"')) => {
                        if let Some((_, escaped)) = chars.next() {
                            value.push(escaped);
                        }
                    }
                    ('"' | '\'', None) => quote = Some(c),
                    (_, Some(open)) if c == open => quote = None,
                    (')', None) => {
                        closed = true;
                        break;
                    }
                    (',', None) if arguments.len() + 1 == predicate.arguments => break,
                    (',', None) => arguments.push(std::mem::take(&mut value)),
                    _ => value.push(c),
                }
                end = self.text.len();
            }
            arguments.push(value);
            self.at = end;
            if arguments.len() == predicate.arguments && !closed {
                let before = self.rest();
                let what = if before.is_empty() {
                    "expected ')'".into()
                } else {
                    format!("expected ')' before '{before}'")
                };
                return Err(self.error(inside(&what)));
            }
            if closed {
                self.at += 1;
            }
        }
        if arguments.len() < predicate.arguments && predicate.arguments > 1 {
            let got = arguments.len();
            let what = format!(
                "missing arguments (got {got}/{}), type 'string' expected",
                predicate.arguments
            );
            return Err(self.error(inside(&what)));
        }
        arguments.resize(predicate.arguments, String::new());
        Ok(arguments)
    }
}

/// A version as numbers that compare as the versions do: major, minor, patch, commits since; `-devN` comes before the
/// release. Missing and unreadable parts are zero.
fn version(text: &str) -> [i64; 4] {
    fn number(text: &mut &str) -> i64 {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let value = text[..digits].parse().unwrap_or(0);
        *text = &text[digits..];
        value
    }
    let mut rest = text;
    let major = number(&mut rest);
    let mut minor = 0;
    if let Some(after) = rest.strip_prefix('.') {
        rest = after;
        minor = number(&mut rest);
    }
    let mut patch = 0;
    if let Some(after) = rest.strip_prefix("-dev") {
        rest = after;
        patch = number(&mut rest) - 1_000_000;
    } else if let Some(after) = rest.strip_prefix('.') {
        rest = after;
        patch = number(&mut rest);
    }
    let commits = rest
        .strip_prefix('-')
        .map_or(0, |mut after| number(&mut after));
    [major, minor, patch, commits]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluated(condition: &str) -> Result<bool, String> {
        let environment = [("A".to_owned(), "1".to_owned())].into_iter().collect();
        evaluate(condition, &environment).map_err(|error| error.text)
    }

    #[track_caller]
    fn check(condition: &str, expected: bool) {
        assert_eq!(evaluated(condition), Ok(expected), "{condition}");
    }

    #[track_caller]
    fn check_error(condition: &str, expected: &str) {
        assert_eq!(
            evaluated(condition),
            Err(expected.to_owned()),
            "{condition}"
        );
    }

    #[test]
    fn answers() {
        for condition in [
            "version_atleast(2.6.12)",
            "version_before(2.6.13)",
            "version_atleast(2.6-dev4)",
            "version_atleast(x)",
        ] {
            check(condition, true);
        }
        for condition in [
            "version_atleast(2.7-dev1)",
            "version_atleast(2.6.12-2)",
            "feature(OPENSSL)",
            "defined(B)",
            "defined",
        ] {
            check(condition, false);
        }
        for condition in [
            "-1",
            "!0",
            "!!1",
            "1||0",
            "  1 ",
            "streq(\"a b\",a b)",
            "streq(,)",
            "defined(A)",
            "!1 || (0 || 1)",
        ] {
            check(condition, true);
        }
        for condition in [
            "",
            "00",
            "! 1",
            "1&&0",
            "streq(a, a)",
            "defined(A) && defined(B)",
            "defined()",
            "0 && 1 || 0",
        ] {
            check(condition, false);
        }
    }

    #[test]
    fn errors_as_haproxy_words_them() {
        check_error("foo(2.5)", "unparsable conditional expression 'foo(2.5)'");
        check_error("1 || foo", "unparsable conditional expression 'foo'");
        check_error(
            "1x",
            "unexpected character 'x' at the end of conditional expression '1x'",
        );
        check_error("(1", "expected ')' after conditional expression '(1'");
        check_error("()", "unparsable conditional expression ')'");
        check_error("1 &&", "unparsable conditional expression '&&'");
        check_error("&& 1", "unparsable conditional expression '&& 1'");
        let used = "used in conditional expression";
        check_error(
            "defined(A",
            &format!("expected ')' in argument 1 of predicate 'defined' {used}"),
        );
        check_error(
            "feature(foo,bar)",
            &format!("expected ')' before ',bar)' in argument 1 of predicate 'feature' {used}"),
        );
        let missing = "missing arguments (got 1/2), type 'string' expected in argument 1 of predicate 'streq'";
        check_error("streq()", &format!("{missing} {used}"));
        check_error("streq(a", &format!("{missing} {used}"));
    }
}
