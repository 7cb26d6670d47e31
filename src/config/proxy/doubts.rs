//! Rules that a proxy has but that will not do what they seem to: HAProxy's warnings when all of a section is read.
//!
//! What is doubtful depends on lines that may come later (`mode`, `inspect-delay`), so a rule is noted when it is read and judged at the end.
//! Not here: the order of rules (`rules::order`), what a place cannot know at all (`sample`).

use super::{Draft, Holder, ProxyLines};
use crate::config::diag::Severity;
use crate::config::line::Line;
use crate::config::model::{Mode, Pos};
use crate::rules::{Action, Rule, SetKind};
use crate::sample::{Condition, Expr, Source};

/// In the order in which HAProxy looks at a section's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    UseBackend,
    UseServer,
    Stick,
    TcpContent,
    TcpResponse,
    HttpRequest,
    HttpResponse,
    HttpAfterResponse,
}

impl Turn {
    /// The turn of a set, if its rules are looked at.
    pub fn of(set: SetKind) -> Option<Turn> {
        match set {
            SetKind::TcpContent => Some(Turn::TcpContent),
            SetKind::TcpResponse => Some(Turn::TcpResponse),
            SetKind::HttpRequest => Some(Turn::HttpRequest),
            SetKind::HttpResponse => Some(Turn::HttpResponse),
            SetKind::HttpAfterResponse => Some(Turn::HttpAfterResponse),
            SetKind::TcpConnection | SetKind::TcpSession | SetKind::Redirect => None,
        }
    }
}

/// What may be wrong with a rule.
#[derive(Clone, Debug)]
enum Doubt {
    /// Its condition looks at bytes, which HTTP does not show.
    Bytes(Pos),
    /// `track-sc*` or `capture` in `tcp-request content`; whether its key is in what the client sends.
    Content(&'static str, bool),
}

/// What may be wrong with the rules of a section, in the order of their lines.
#[derive(Clone, Debug, Default)]
pub struct Doubts(Vec<(Turn, Doubt)>);

impl Doubts {
    /// Notes a rule of `tcp-request content`.
    fn note_content(&mut self, action: &Action) {
        let (word, key) = match action {
            Action::Track(track) => ("content track-sc*", &track.key),
            Action::Capture(capture) => ("capture", &capture.expr),
            _ => return,
        };
        let doubt = Doubt::Content(word, is_content(key));
        self.0.push((Turn::TcpContent, doubt));
    }

    /// HAProxy's warnings about the section.
    pub fn warnings(draft: &Draft) -> Vec<String> {
        let is_http = draft.settings.mode == Mode::Http;
        let (title, name) = (draft.kind.title(), &draft.name);
        let has_delay = draft.settings.inspect_request_ms.is_some_and(|ms| ms > 0);
        let mut doubts: Vec<&(Turn, Doubt)> = draft.doubts.0.iter().collect();
        doubts.sort_by_key(|(turn, _)| *turn);
        let text = |(_, doubt): &&(Turn, Doubt)| match doubt {
            Doubt::Bytes(pos) if is_http => Some(format!(
                "Proxy '{name}': L6 sample fetches ignored on HTTP proxies (declared at {}:{}).",
                pos.file, pos.line
            )),
            Doubt::Content(word, true) if draft.kind.is_frontend() && !has_delay => Some(format!(
                "{title} '{name}' : a 'tcp-request {word}' rule explicitly depending on request contents without any \
                 'tcp-request inspect-delay' setting. This means that this rule will randomly find its contents. This can be \
                 fixed by setting the tcp-request inspect-delay."
            )),
            Doubt::Content(word, false)
                if draft.kind.is_frontend() && is_http && *word != "capture" =>
            {
                Some(format!(
                    "{title} '{name}' : a 'tcp-request {word}' rule not depending on request contents for an HTTP frontend \
                     should be executed at the session level, using a 'tcp-request session' rule (mandatory to track invalid \
                     HTTP requests)."
                ))
            }
            Doubt::Bytes(_) | Doubt::Content(..) => None,
        };
        doubts.iter().filter_map(text).collect()
    }
}

/// Whether an expression needs what the client sends after its connection.
fn is_content(expr: &Expr) -> bool {
    let source = expr.source();
    source.is_bytes()
        || matches!(
            source,
            Source::HttpRequest | Source::RequestLine | Source::HttpEither
        )
}

impl ProxyLines<'_> {
    /// Notes what may be wrong with a rule of a proxy; what a defaults section has is not looked at.
    pub fn note_doubts(
        &mut self,
        holder: Holder,
        set: SetKind,
        (action, condition): (&Action, Option<&Condition>),
        pos: &Pos,
    ) {
        let (Holder::Proxy(index), Some(turn)) = (holder, Turn::of(set)) else {
            return;
        };
        let draft = &mut self.proxies[index];
        if set == SetKind::TcpContent {
            draft.doubts.note_content(action);
        }
        if let Some(condition) = condition {
            self.note_condition(index, turn, condition, pos);
        }
    }

    /// Notes a condition that looks at bytes.
    pub fn note_condition(&mut self, index: usize, turn: Turn, condition: &Condition, pos: &Pos) {
        let draft = &mut self.proxies[index];
        if condition.sources(&draft.acls).any(Source::is_bytes) {
            draft.doubts.0.push((turn, Doubt::Bytes(pos.clone())));
        }
    }

    /// Warns of a rule after one that ends its set whatever is asked.
    pub fn warn_of_final(&mut self, holder: Holder, set: SetKind, line: &Line) {
        if *self.final_sets(holder) & (1 << set as u8) != 0 {
            let (words, place) = (set.words(), &line.pos);
            let text = format!(
                "parsing [{}:{}]: previous '{words}' action is final and has no condition attached, further entries are NOOP.",
                place.file, place.line
            );
            self.report.push(Severity::Warning, Some(place), text);
        }
    }

    /// Notes whether a rule ends its set whatever is asked.
    pub fn note_final(&mut self, holder: Holder, set: SetKind, rule: &Rule) {
        let ends = matches!(
            rule.action,
            Action::Allow
                | Action::Deny(_)
                | Action::Tarpit(_)
                | Action::Auth(_)
                | Action::Return(_)
                | Action::Redirect(_)
        );
        let bit = 1 << set as u8;
        let sets = self.final_sets(holder);
        match ends && rule.condition.is_none() {
            true => *sets |= bit,
            false => *sets &= !bit,
        }
    }

    fn final_sets(&mut self, holder: Holder) -> &mut u8 {
        match holder {
            Holder::Proxy(index) => &mut self.proxies[index].final_sets,
            Holder::Defaults(index) => &mut self.defaults[index].final_sets,
        }
    }
}
