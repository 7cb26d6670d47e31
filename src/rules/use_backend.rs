//! `use_backend` and `use-server`: which backend, which server serves a request (configuration manual, "use_backend", "use-server").

use super::scene::Scene;
use super::text::Text;
use crate::sample::Condition;

/// What a rule names.
#[derive(Debug)]
pub enum Named {
    /// Index of the proxy, or of the server in its proxy.
    At(usize),
    /// By a text, which is looked up for each request.
    ByText(Text),
}

/// `use_backend NAME [if|unless COND]`, `use-server NAME if|unless COND`.
#[derive(Debug)]
pub struct Use {
    /// The backend or the server.
    pub named: Named,
    /// Its condition; `None` always applies.
    pub condition: Option<Condition>,
}

/// What the first rule that applies names; `find` looks a name up. A name that nobody has ends the search, as in HAProxy.
pub fn choose(
    rules: &[Use],
    scene: &mut Scene<'_>,
    mut find: impl FnMut(&[u8]) -> Option<usize>,
) -> Option<usize> {
    for rule in rules {
        let condition = rule.condition.as_ref();
        if !condition.is_none_or(|condition| condition.matches(&mut scene.context())) {
            continue;
        }
        let Named::ByText(text) = &rule.named else {
            let Named::At(index) = rule.named else {
                continue;
            };
            return Some(index);
        };
        let mut message = std::mem::take(scene.message);
        let found = find(message.name(|name| text.append(scene, name)));
        *scene.message = message;
        return found;
    }
    None
}
