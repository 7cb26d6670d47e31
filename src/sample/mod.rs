//! What rules look at: fetches, converters, ACLs, expressions.

/// A compiled expression: a fetch and its converters.
#[derive(Debug)]
pub struct Expr {}

/// A compiled condition: `if` or `unless` with its ACLs.
#[derive(Debug)]
pub struct Condition {}
