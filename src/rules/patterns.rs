//! `add-acl`, `del-acl`, `set-map`, `del-map`: entries of ACL and map files, changed by requests (configuration manual, "http-request
//! add-acl").
//!
//! The file is looked up when the rule runs, since a later line may be the one that names it in an ACL or a map; a file that none
//! names has no entries, and nobody would see them.
//!
//! Not here: the sets (`sample::patterns`).

use super::scene::Scene;
use super::text::Text;
use crate::sample::Context;
use crate::sample::format::Line;

/// What becomes of the entry.
#[derive(Clone, Debug)]
pub enum PatternChange {
    /// `add-acl`: there is one entry for the key.
    Add,
    /// `del-acl`, `del-map`.
    Delete,
    /// `set-map`: there is one entry for the key, with this value.
    Set(Text),
}

/// A change of a file's entries in memory.
#[derive(Clone, Debug)]
pub struct ChangePatterns {
    /// The file, as ACLs and maps name it.
    pub file: Box<str>,
    /// The entry's pattern.
    pub key: Text,
    /// What becomes of it.
    pub change: PatternChange,
}

/// The text in a line of the scratch, which is to be given back.
fn written<'a>(text: &'a Text, cx: &mut Context<'a>) -> Line {
    match text {
        Text::Format(format) => format.text(cx),
        Text::Constant(bytes) => {
            let mut line = cx.scratch.texts.take();
            line.push(bytes);
            line
        }
    }
}

impl ChangePatterns {
    /// Does it. A pattern or value that the set cannot understand changes nothing.
    pub(super) fn run(&self, scene: &mut Scene<'_>) {
        let registry = scene.vars.process;
        let Some(set) = registry.and_then(|registry| registry.pattern_set(&self.file)) else {
            return;
        };
        let mut cx = scene.context();
        let key = written(&self.key, &mut cx);
        match &self.change {
            PatternChange::Add if set.has(key.as_bytes()) => {}
            PatternChange::Add => _ = set.add(None, key.as_bytes(), None),
            PatternChange::Delete => set.delete_pattern(key.as_bytes()),
            PatternChange::Set(value) => {
                let value = written(value, &mut cx);
                if set.set_pattern(key.as_bytes(), value.as_bytes()) == Ok(false) {
                    let _ = set.add(None, key.as_bytes(), Some(value.as_bytes()));
                }
                cx.scratch.texts.give(value);
            }
        }
        cx.scratch.texts.give(key);
    }
}
