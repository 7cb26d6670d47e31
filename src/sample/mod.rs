//! What rules look at: fetches, converters, ACLs, expressions (configuration manual, section 7).
//!
//! Text is compiled once, at start ([`parse_expr`], [`AclSet::declare`], [`parse_condition`]); evaluation allocates
//! nothing: values borrow from the message, from the compiled expression, or from the [`Scratch`] of the [`Context`].
//! Every keyword is a line in a table (`fetch`, `convert`); what HAProxy knows and burdock does not is listed by name too
//! (`known`), so that an error can tell a typing mistake from a missing feature.
//!
//! Not here: sockets, clocks, configuration lines and their positions; the caller adds file and line to an [`Error`].

pub mod acl;
mod args;
mod captures;
pub mod context;
mod convert;
mod convert_code;
mod convert_digest;
mod convert_json;
mod convert_map;
mod convert_number;
mod convert_text;
mod cursor;
pub mod expr;
mod fetch;
mod fetch_body;
mod fetch_capture;
mod fetch_connection;
mod fetch_hello;
mod fetch_http;
mod fetch_raw;
mod fetch_state;
pub mod format;
pub(crate) mod hash;
mod key;
mod known;
pub mod link;
mod nearest;
pub mod patterns;
pub mod regex;
mod regex_syntax;
pub mod registry;
pub mod scratch;
pub mod state;
pub mod stick_counters;
pub mod usage;
pub mod users;
pub mod value;
pub mod var_memory;
pub mod vars;

pub use acl::{AclSet, Condition, Truth, parse_condition};
pub use captures::{CaptureSet, Captures, UniqueId};
pub use context::{Context, Facts, ProxyView, RequestView, ResponseView};
pub use expr::{Expr, can_be_key, parse_expr};
pub use nearest::nearest_word;
pub use patterns::PatternSet;
pub use regex::Regex;
pub use registry::Registry;
pub use scratch::Scratch;
pub use usage::{Place, Places, Source};
pub use value::{Type, Value};
pub use var_memory::VarMemory;
pub use vars::{Scope, StreamVars, VarRef, VarScopes, VarStore, VarTarget};

use std::fmt;

/// Why an expression, an ACL or a condition was refused, in HAProxy's words and without the part before them
/// (`parsing [file:line] : 'stick': `), which the caller adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The message, e.g. `unknown fetch method 'srcc'`.
    pub message: String,
    /// The nearest word that would have been accepted; `Display` adds it in HAProxy's words.
    pub nearest: Option<&'static str>,
}

impl Error {
    /// An error without suggestion.
    pub fn new(message: impl Into<String>) -> Error {
        Error {
            message: message.into(),
            nearest: None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.nearest {
            Some(word) => write!(f, "; did you mean '{word}' maybe ?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// Bytes written as hexadecimal digits.
///
/// # Errors
/// In HAProxy's words.
fn parse_hex(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    for pair in text.chunks(2) {
        let mut byte = 0;
        for digit in pair {
            let digit = *digit as char;
            let value = digit
                .to_digit(16)
                .ok_or_else(|| format!("an hex digit is expected (found '{digit}')"))?;
            byte = (byte << 4) | value as u8;
        }
        if pair.len() < 2 {
            return Err("an even number of hex digit is expected".into());
        }
        bytes.push(byte);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
