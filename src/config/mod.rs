//! Configuration text to model: lexer, one file a section, cross-checks, diagnostics with file and line.

pub mod model;

pub use model::{Config, Pos};
