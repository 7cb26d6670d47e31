//! The known word that a mistyped one most likely stands for.
//!
//! Not here: the words (`keywords`), how near two words are (`sample::nearest_word`, which expressions need too).

use super::keywords::Table;
use crate::sample::nearest_word;

/// The word of a table that a mistyped word most likely stands for.
pub fn nearest(table: Table, word: &str) -> Option<&'static str> {
    nearest_word(table.iter().map(|(name, _)| *name), word)
}

/// The word of a list that a mistyped word most likely stands for.
pub fn nearest_of(words: impl Iterator<Item = &'static str>, word: &str) -> Option<&'static str> {
    nearest_word(words, word)
}

/// HAProxy's suggestion, with what precedes it, or nothing.
pub fn suggestion(nearest: Option<&str>) -> String {
    nearest
        .map(|word| format!("; did you mean '{word}' maybe ?"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keywords::{GLOBAL, PROXY, SERVER};

    #[test]
    fn suggestions() {
        for (word, expected) in [
            ("balence", Some("balance")),
            ("bind2", Some("bind")),
            ("default_backen", Some("default_backend")),
            ("bin", Some("bind")),
            ("foo", None),
            ("unknown", None),
            ("tiemout", Some("timeout")),
        ] {
            assert_eq!(nearest(PROXY, word), expected, "{word}");
        }
        assert_eq!(nearest(SERVER, "chck"), Some("check"));
        assert_eq!(nearest(GLOBAL, "tune.bufsiz"), Some("tune.bufsize"));
    }
}
