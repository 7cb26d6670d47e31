//! Parsers of `set-var` and `unset-var`.

use super::RuleWords;
use super::basic::Parsed;
use crate::rules::{Action, SetVar};

/// What stands in the parentheses of the action's word.
fn in_parentheses<'w>(words: &RuleWords<'w, '_>) -> Result<&'w str, String> {
    let word = words.word();
    let inside = word
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'));
    inside.ok_or_else(|| {
        format!(
            "incomplete argument after action '{word}'. Expects 'set-var(<var-name>)', \
             'set-var-fmt(<var-name>)' or 'unset-var(<var-name>)'"
        )
    })
}

/// `set-var(NAME[,COND…]) EXPR`.
pub(super) fn set(words: &mut RuleWords) -> Parsed {
    let name = in_parentheses(words)?;
    let target = words.registry().var_target(name.as_bytes())?;
    let expr = words.expr()?;
    Ok(Action::SetVar(Box::new(SetVar { target, expr })))
}

/// `unset-var(NAME)`.
pub(super) fn unset(words: &mut RuleWords) -> Parsed {
    let name = in_parentheses(words)?;
    let var = words.registry().variable(name.as_bytes())?;
    Ok(Action::UnsetVar(var))
}
