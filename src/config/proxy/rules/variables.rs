//! Parsers of `set-var`, `set-var-fmt` and `unset-var`.

use super::RuleWords;
use super::basic::Parsed;
use crate::rules::{Action, SetVar, SetVarText};

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

/// `set-var-fmt(NAME[,COND…]) FMT`.
pub(super) fn set_text(words: &mut RuleWords) -> Parsed {
    let name = in_parentheses(words)?;
    let target = words.registry().var_target(name.as_bytes())?;
    let text = words.text()?;
    Ok(Action::SetVarText(Box::new(SetVarText { target, text })))
}

/// `unset-var(NAME)`.
pub(super) fn unset(words: &mut RuleWords) -> Parsed {
    let name = in_parentheses(words)?;
    let var = words.registry().variable(name.as_bytes())?;
    Ok(Action::UnsetVar(var))
}
