//! `use_backend`: which backend serves a request (configuration manual, "use_backend").

use crate::sample::{Condition, Context};

/// `use_backend NAME [if|unless COND]`.
#[derive(Debug)]
pub struct UseBackend {
    /// Index of the proxy.
    pub backend: usize,
    /// Its condition; `None` always applies.
    pub condition: Option<Condition>,
}

/// The backend of the first rule that applies.
pub fn choose<'a>(rules: &'a [UseBackend], cx: &mut Context<'a>) -> Option<usize> {
    for rule in rules {
        if rule.condition.as_ref().is_none_or(|c| c.matches(cx)) {
            return Some(rule.backend);
        }
    }
    None
}
