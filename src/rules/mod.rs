//! Rules: what is done with a stream, in the order in which the configuration says it (configuration manual, "http-request",
//! "http-response", "http-after-response", "tcp-request", "tcp-response", "use_backend").
//!
//! A [`RuleSet`] is a flat list of [`Rule`]s, compiled at start: a condition and an [`Action`]. [`evaluate`] walks it over a
//! [`Scene`], which is everything that rules may look at and change, and gives a [`Verdict`] when a rule ends the walk. Nothing
//! is allocated on the way.
//!
//! To add an action: a variant of [`Action`] with what was compiled, its function in a file of its own here, and a line in the
//! table of `config/proxy/rules/actions.rs` with its parser.
//!
//! Not here: how conditions look at a message (`sample`), how rules are written (`config`), what becomes of a stream after a
//! verdict (`stream`).

mod action;
mod address;
mod capture;
mod early_hint;
mod edit;
mod normalize;
mod notes;
mod patterns;
mod reply;
mod scene;
mod set;
mod text;
mod track;
pub mod use_backend;
mod variables;

pub use action::{Action, Duration, TimeoutKind, Verdict};
pub use address::{Address, Field};
pub use capture::Capture;
pub use early_hint::EarlyHint;
pub use edit::{Edit, NameMatch, Part, Replacement};
pub use normalize::Normalizer;
pub use notes::{BodyWait, LogLevel, Notes};
pub use patterns::{ChangePatterns, PatternChange};
pub use reply::{Content, Message, Redirect, RedirectKind, Reply, SectionPage};
pub use scene::Scene;
pub use set::{Outcome, Resume, Rule, RuleSet, RuleSets, SetKind, evaluate};
pub use text::Text;
pub use track::{Amount, Change, ChangeCounter, Element, Track};
pub use use_backend::{Named, Use};
pub use variables::{SetVar, SetVarText};
