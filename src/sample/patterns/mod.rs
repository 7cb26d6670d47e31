//! Patterns: what ACLs match values against, and maps look values up by (configuration manual, 7.1, and `map` in 7.3.1).
//!
//! `method` says what a pattern's text means, `index` searches many of them at once, `set` keeps them with the values of maps and in
//! versions, `file` reads them.
//!
//! Not here: expressions and conditions (`acl`, `convert`), commands (`runtime`).

pub(super) mod file;
mod index;
pub(super) mod method;
pub(super) mod set;

pub(super) use method::{Method, Operator};
pub use set::PatternSet;
pub(super) use set::{Output, output};
