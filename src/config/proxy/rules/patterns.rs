//! Parsers of `add-acl`, `del-acl`, `set-map` and `del-map`.

use super::RuleWords;
use super::basic::Parsed;
use crate::rules::{Action, ChangePatterns, PatternChange};

pub(super) fn add_acl(words: &mut RuleWords) -> Parsed {
    change(words, PatternChange::Add)
}

pub(super) fn delete(words: &mut RuleWords) -> Parsed {
    change(words, PatternChange::Delete)
}

pub(super) fn set_map(words: &mut RuleWords) -> Parsed {
    if words.is_end() || words.is_end_at(1) {
        return Err("expects exactly 2 arguments".into());
    }
    let key = words.text()?;
    let change = PatternChange::Set(words.text()?);
    Ok(changed(words, key, change))
}

fn change(words: &mut RuleWords, change: PatternChange) -> Parsed {
    if words.is_end() {
        return Err("expects exactly 1 arguments".into());
    }
    let key = words.text()?;
    Ok(changed(words, key, change))
}

/// The action; its file is in the parentheses of its word.
fn changed(words: &RuleWords, key: crate::rules::Text, change: PatternChange) -> Action {
    let inside = words.word().split_once('(').map(|(_, rest)| rest);
    let file = inside.and_then(|rest| rest.strip_suffix(')'));
    Action::ChangePatterns(Box::new(ChangePatterns {
        file: file.unwrap_or_default().into(),
        key,
        change,
    }))
}
