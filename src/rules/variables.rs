//! `set-var`, `set-var-fmt`: variables (configuration manual, "http-request set-var").
//!
//! Not here: how variables are kept (`sample::vars`).

use super::action::Verdict;
use super::scene::Scene;
use super::text::Text;
use crate::sample::{Expr, Value, VarTarget};

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

/// `set-var-fmt(NAME[,COND…]) FMT`.
#[derive(Clone, Debug)]
pub struct SetVarText {
    /// The variable, and when it is set.
    pub target: VarTarget,
    /// Its value, a string.
    pub text: Text,
}

impl SetVarText {
    pub(super) fn run(&self, scene: &mut Scene<'_>) -> Verdict<'static> {
        let mut cx = scene.context();
        match &self.text {
            Text::Constant(bytes) => cx.vars.set(&self.target, Value::Str(bytes)),
            Text::Format(format) => {
                let line = format.text(&mut cx);
                cx.vars.set(&self.target, Value::Str(line.as_bytes()));
                cx.scratch.texts.give(line);
            }
        }
        Verdict::Continue
    }
}
