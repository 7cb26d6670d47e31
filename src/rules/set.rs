//! Rule sets and how they are walked.

use super::action::{Action, Verdict};
use super::scene::Scene;
use crate::sample::{Condition, Truth};

/// Which set a rule belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum SetKind {
    /// `tcp-request connection`
    TcpConnection,
    /// `tcp-request session`
    TcpSession,
    /// `tcp-request content`
    TcpContent,
    /// `http-request`
    HttpRequest,
    /// `tcp-response content`
    TcpResponse,
    /// `http-response`
    HttpResponse,
    /// `http-after-response`
    HttpAfterResponse,
    /// `redirect`: after `http-request`, and nothing but redirections.
    Redirect,
}

impl SetKind {
    /// All of them.
    pub const ALL: [SetKind; 7] = [
        SetKind::TcpConnection,
        SetKind::TcpSession,
        SetKind::TcpContent,
        SetKind::HttpRequest,
        SetKind::TcpResponse,
        SetKind::HttpResponse,
        SetKind::HttpAfterResponse,
    ];

    /// The words that its rules start with.
    pub fn words(self) -> &'static str {
        match self {
            SetKind::TcpConnection => "tcp-request connection",
            SetKind::TcpSession => "tcp-request session",
            SetKind::TcpContent => "tcp-request content",
            SetKind::HttpRequest => "http-request",
            SetKind::TcpResponse => "tcp-response content",
            SetKind::HttpResponse => "http-response",
            SetKind::HttpAfterResponse => "http-after-response",
            SetKind::Redirect => "redirect",
        }
    }
}

/// A rule: what is done when its condition holds.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its condition; `None` always holds.
    pub condition: Option<Condition>,
    /// What it does.
    pub action: Action,
    /// Its number, for `last_rule_line`; 0 where none is kept (rules of connections, `redirect`).
    pub number: u32,
}

/// Rules in the order in which they are evaluated.
pub type RuleSet = Vec<Rule>;

/// All rule sets of a proxy, those of its defaults section first.
#[derive(Clone, Debug, Default)]
pub struct RuleSets {
    /// `tcp-request connection`
    pub tcp_connection: RuleSet,
    /// `tcp-request session`
    pub tcp_session: RuleSet,
    /// `tcp-request content`
    pub tcp_content: RuleSet,
    /// `http-request`
    pub http_request: RuleSet,
    /// `tcp-response content`
    pub tcp_response: RuleSet,
    /// `http-response`
    pub http_response: RuleSet,
    /// `http-after-response`
    pub http_after_response: RuleSet,
    /// `redirect`
    pub redirect: RuleSet,
    /// A rule has a format with variables, which needs to know what the stream says of itself.
    pub needs_record: bool,
}

impl RuleSets {
    /// The rules of a set.
    pub fn of(&self, kind: SetKind) -> &RuleSet {
        match kind {
            SetKind::TcpConnection => &self.tcp_connection,
            SetKind::TcpSession => &self.tcp_session,
            SetKind::TcpContent => &self.tcp_content,
            SetKind::HttpRequest => &self.http_request,
            SetKind::TcpResponse => &self.tcp_response,
            SetKind::HttpResponse => &self.http_response,
            SetKind::HttpAfterResponse => &self.http_after_response,
            SetKind::Redirect => &self.redirect,
        }
    }

    /// Whether no set has a rule.
    pub fn is_empty(&self) -> bool {
        let sets = [
            &self.tcp_connection,
            &self.tcp_session,
            &self.tcp_content,
            &self.http_request,
            &self.tcp_response,
            &self.http_response,
            &self.http_after_response,
        ];
        sets.into_iter().all(Vec::is_empty)
    }

    /// The rules of a set, to add to.
    pub fn of_mut(&mut self, kind: SetKind) -> &mut RuleSet {
        match kind {
            SetKind::TcpConnection => &mut self.tcp_connection,
            SetKind::TcpSession => &mut self.tcp_session,
            SetKind::TcpContent => &mut self.tcp_content,
            SetKind::HttpRequest => &mut self.http_request,
            SetKind::TcpResponse => &mut self.tcp_response,
            SetKind::HttpResponse => &mut self.http_response,
            SetKind::HttpAfterResponse => &mut self.http_after_response,
            SetKind::Redirect => &mut self.redirect,
        }
    }
}

/// Where an evaluation goes on that waited for data. The default is the first rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Resume {
    /// Index of the rule.
    pub rule: usize,
    /// Its condition held already: its action goes on.
    pub in_action: bool,
}

/// How the evaluation of a set ended.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'r> {
    /// No rule ended it, or `allow` did.
    Pass,
    /// Data is missing: evaluate again, from there, when more has come. A condition that could not be decided means from the first
    /// rule on, so that rules before it do what they do again, as in HAProxy; an action that waits goes on itself.
    Wait(Resume),
    /// A rule decided. Never `Continue`, `Allow` or `Yield`.
    Decided(Verdict<'r>),
}

/// Evaluates a set.
pub fn evaluate<'r>(rules: &'r [Rule], resume: Resume, scene: &mut Scene<'_>) -> Outcome<'r> {
    let Resume {
        rule: mut at,
        mut in_action,
    } = resume;
    loop {
        if !in_action {
            match next(rules, at, scene) {
                Next::None => return Outcome::Pass,
                Next::Missing => return Outcome::Wait(Resume::default()),
                Next::At(index) => at = index,
            }
        }
        let Some(rule) = rules.get(at) else {
            return Outcome::Pass;
        };
        match rule.action.run(scene) {
            Verdict::Continue => {}
            Verdict::Allow => {
                scene.notes.note_last(rule.number);
                return Outcome::Pass;
            }
            Verdict::Yield => {
                return Outcome::Wait(Resume {
                    rule: at,
                    in_action: true,
                });
            }
            verdict => {
                scene.notes.note_last(rule.number);
                return Outcome::Decided(verdict);
            }
        }
        at += 1;
        in_action = false;
    }
}

enum Next {
    None,
    /// The condition of a rule cannot be decided yet.
    Missing,
    At(usize),
}

/// The next rule that applies. One context serves all conditions up to it.
fn next(rules: &[Rule], from: usize, scene: &mut Scene<'_>) -> Next {
    let Some(rest) = rules.get(from..) else {
        return Next::None;
    };
    let mut cx = scene.context();
    for (index, rule) in rest.iter().enumerate() {
        let Some(condition) = &rule.condition else {
            return Next::At(from + index);
        };
        match condition.evaluate(&mut cx) {
            Truth::Yes => return Next::At(from + index),
            Truth::Unknown => return Next::Missing,
            Truth::No => {}
        }
    }
    Next::None
}
