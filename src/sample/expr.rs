//! Expressions: a fetch and its converters, compiled.

use super::{Context, Error, Place, Places, Source, Type, Value};
use crate::stick::KeyType;

/// A compiled expression: a fetch and its converters.
#[derive(Clone, Debug)]
pub struct Expr {}

/// Parses the expression that `words` starts with: `fetch[(args)][,converter[(args)]]…`, where converters may also be words of their own
/// (`stick on src ipmask(24) table x`). Returns the expression and how many words it took; the first word that is no
/// converter (`table`, `if`, …) is left.
///
/// # Errors
/// In HAProxy's words, without `'stick': ` before it. No word at all is the caller's error (`'stick' expects a fetch method.`).
pub fn parse_expr<W: AsRef<[u8]>>(_words: &[W]) -> Result<(Expr, usize), Error> {
    todo!()
}

impl Expr {
    /// The value now, or `None` where there is none (no such header, a converter that cannot convert).
    pub fn eval<'v>(&'v self, _cx: &'v mut Context<'_>) -> Option<Value<'v>> {
        todo!()
    }

    /// Evaluates, converts to the key type of a table and hands the bytes that the table stores to `with`.
    /// `None` when there is no value or it cannot be converted; an empty key is `None` too (it is never stored).
    /// `key_len` is `TableSpec::key_len`: longer strings are truncated; binary keys are padded with zeros.
    pub fn with_key<R>(
        &self,
        _cx: &mut Context<'_>,
        _key_type: KeyType,
        _key_len: u32,
        _with: impl FnOnce(&[u8]) -> R,
    ) -> Option<R> {
        todo!()
    }

    /// Type of the values.
    pub fn output_type(&self) -> Type {
        todo!()
    }

    /// Whether the values can become keys of a table of this type (HAProxy refuses the rule otherwise).
    pub fn can_be_key(&self, _key_type: KeyType) -> bool {
        todo!()
    }

    /// Name of the fetch, for messages.
    pub fn fetch_name(&self) -> &'static str {
        todo!()
    }

    /// Where the fetch gets its information from.
    pub fn source(&self) -> Source {
        todo!()
    }

    /// Where the expression may be used.
    pub fn places(&self) -> Places {
        todo!()
    }

    /// HAProxy's error for an expression in a place that lacks its information: `fetch method 'res.cook' extracts information from
    /// 'HTTP response headers', none of which is available during request.` The caller gives the last words (`during request`).
    pub fn unavailable_in(&self, _place: Place, _place_words: &str) -> Option<Error> {
        todo!()
    }
}
