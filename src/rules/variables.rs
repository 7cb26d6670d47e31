//! `set-var`, `unset-var`: variables (configuration manual, "http-request set-var").
//!
//! Not here: how variables are kept (`sample::vars`).

use super::action::Verdict;
use super::scene::Scene;
use crate::sample::{Expr, VarTarget};

/// `set-var(NAME[,COND…]) EXPR`.
#[derive(Clone, Debug)]
pub struct SetVar {
    /// The variable, and when it is set.
    pub target: VarTarget,
    /// Its value.
    pub expr: Expr,
}

impl SetVar {
    /// Sets it; without a value, the variable is as it was.
    pub(super) fn run(&self, scene: &mut Scene<'_>) -> Verdict<'static> {
        self.expr.set_variable(&mut scene.context(), &self.target);
        Verdict::Continue
    }
}
