//! The words of a rule after its action's name, as the action's parser sees them.

use super::super::{Holder, ProxyLines};
use crate::config::line::Line;
use crate::rules::SetKind;
use crate::sample::{self, Expr, Registry};

/// A cursor over the words of a rule. A parser takes its arguments and leaves the condition.
pub(in super::super) struct RuleWords<'w, 'p> {
    pub(super) line: &'w Line,
    pub(super) at: usize,
    pub(super) set: SetKind,
    pub(super) holder: Holder,
    /// The section and all before it.
    pub(super) lines: &'w mut ProxyLines<'p>,
}

impl<'w> RuleWords<'w, '_> {
    /// The next word; empty at the end.
    pub fn peek(&self) -> &'w str {
        self.line.arg(self.at)
    }

    /// Takes the next word; empty at the end.
    pub fn next(&mut self) -> &'w str {
        let word = self.line.arg(self.at);
        if !word.is_empty() {
            self.at += 1;
        }
        word
    }

    /// The action's own word, with what it has in parentheses.
    pub fn word(&self) -> &'w str {
        self.line.arg(match self.set {
            SetKind::HttpRequest | SetKind::HttpResponse | SetKind::HttpAfterResponse => 1,
            _ => 2,
        })
    }

    /// How many counters a connection or request can track (`tune.stick-counters`, as far as it was read).
    pub fn counters(&self) -> u32 {
        self.lines.global.global.stick_counters
    }

    /// What expressions share.
    pub fn registry(&self) -> &Registry {
        self.lines.registry
    }

    /// Takes an expression that can be evaluated where the rule is.
    ///
    /// # Errors
    /// In HAProxy's words.
    pub fn expr(&mut self) -> Result<Expr, String> {
        let (expr, used) = sample::parse_expr(self.line.from(self.at), self.lines.registry)
            .map_err(|error| error.to_string())?;
        let first = self.peek();
        let mut places = self
            .lines
            .places(self.holder, self.set)
            .into_iter()
            .flatten();
        if !places.any(|place| expr.places().contains(place)) {
            let source = expr.source().describe();
            return Err(format!(
                "fetch method '{first}' extracts information from '{source}', none of which is available here"
            ));
        }
        self.at += used;
        Ok(expr)
    }
}
