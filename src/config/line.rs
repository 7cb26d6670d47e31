//! A line of a configuration, cut into words, and what all sections say of a line in the same words.
//!
//! Not here: cutting it (`lexer`), and which section it belongs to (`parser`).

use super::diag::Report;
use super::keywords::{self, Table};
use super::model::Pos;
use super::suggest;

/// A line of words, with its place.
#[derive(Clone, Debug)]
pub(super) struct Line {
    words: Vec<String>,
    /// Where it stands.
    pub pos: Pos,
}

impl Line {
    pub fn new(words: Vec<String>, pos: Pos) -> Line {
        Line { words, pos }
    }

    /// Drops the first word, which was a prefix.
    pub fn shift(&mut self) {
        self.words.remove(0);
    }

    /// A word; empty when there is none, as HAProxy's keywords see it.
    pub fn arg(&self, index: usize) -> &str {
        self.words.get(index).map_or("", String::as_str)
    }

    /// Words from an index on.
    pub fn from(&self, index: usize) -> &[String] {
        self.words.get(index..).unwrap_or(&[])
    }

    /// Number of words.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Reports a word after the `max` that follow the keyword at `keyword`; true when there is one.
    pub fn too_many(&self, max: usize, keyword: usize, report: &mut Report) -> bool {
        let extra = self.arg(keyword + max + 1);
        if extra.is_empty() {
            return false;
        }
        let name = self.words[..=keyword].join(" ");
        report.alert(
            &self.pos,
            format!("'{name}' cannot handle unexpected argument '{extra}'."),
        );
        true
    }

    /// What is said of a keyword that is not supported in a section: nothing when it is, else a notice or an alert.
    /// Returns whether the keyword has to be obeyed.
    pub fn is_supported(&self, table: Table, section: &str, report: &mut Report) -> bool {
        let word = self.arg(0);
        match keywords::support(table, word) {
            Some(keywords::Support::Full) => true,
            Some(keywords::Support::NoEffect(reason)) => {
                report.notice(
                    &self.pos,
                    format!("'{word}' has no effect in burdock: {reason}."),
                );
                false
            }
            Some(keywords::Support::Refused(hint)) => {
                report.alert(&self.pos, refused(word, hint));
                false
            }
            None => {
                let suggestion = suggest::suggestion(suggest::nearest(table, word));
                report.alert(
                    &self.pos,
                    format!("unknown keyword '{word}' in '{section}' section{suggestion}"),
                );
                false
            }
        }
    }
}

/// `no` or `default` before a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prefix {
    None,
    No,
    Default,
}

/// Reports an invalid character of a name, as `'frontend' name 'a/b'`; true when there is one.
pub(super) fn invalid_name(name: &str, what: &str, pos: &Pos, report: &mut Report) -> bool {
    let Some(bad) = invalid_character(name) else {
        return false;
    };
    report.alert(
        pos,
        format!("character '{bad}' is not permitted in {what} '{name}'."),
    );
    true
}

/// The first character of a name that no name may have.
pub(super) fn invalid_character(name: &str) -> Option<char> {
    name.chars()
        .find(|c| !(c.is_ascii_alphanumeric() || "-_.:".contains(*c)))
}

/// The error for a keyword that HAProxy knows and burdock does not.
pub(super) fn refused(word: &str, hint: &str) -> String {
    if hint.is_empty() {
        format!("'{word}' is known to HAProxy but not supported by burdock.")
    } else {
        format!(
            "'{word}' is known to HAProxy but not supported by burdock; the nearest that is: {hint}."
        )
    }
}

/// The rest of the file is not read, as in HAProxy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop;
