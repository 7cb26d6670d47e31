//! Actions: what a rule does when its condition holds.

use std::rc::Rc;

use super::address::Address;
use super::capture::Capture;
use super::early_hint::EarlyHint;
use super::edit::Edit;
use super::notes::{BodyWait, LogLevel};
use super::patterns::ChangePatterns;
use super::reply::{Redirect, Reply};
use super::scene::Scene;
use super::track::{ChangeCounter, Track};
use super::variables::{SetVar, SetVarText};
use crate::sample::VarRef;
use crate::sample::{Expr, Value};

/// Which timeout `set-timeout` sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeoutKind {
    /// `timeout server`
    Server,
    /// `timeout tunnel`
    Tunnel,
}

/// A duration in milliseconds.
#[derive(Clone, Debug)]
pub enum Duration {
    /// Given in the configuration.
    Fixed(u64),
    /// The value of an expression.
    Of(Expr),
}

/// What a rule does. Compiled: nothing is looked up or parsed when it runs.
#[derive(Clone, Debug)]
pub enum Action {
    /// `allow`, `accept`: the rest of the set is skipped.
    Allow,
    /// `deny`: answers with an error.
    Deny(Rc<Reply>),
    /// `tarpit`: answers with an error, much later.
    Tarpit(Rc<Reply>),
    /// `return`: answers.
    Return(Rc<Reply>),
    /// `redirect`: sends the client elsewhere.
    Redirect(Box<Redirect>),
    /// `reject`: closes without an answer.
    Reject,
    /// `close`: closes the server's connection.
    CloseServer,
    /// `silent-drop`: closes without the client's knowing.
    SilentDrop,
    /// `auth`: asks for user and password.
    Auth(Option<Box<str>>),
    /// `set-log-level`.
    SetLogLevel(LogLevel),
    /// `expect-proxy layer4`: the connection begins with a PROXY header.
    ExpectProxy,
    /// `set-src`, `set-dst` and their ports.
    SetAddress(Address),
    /// `set-tos`: the TOS or traffic class of what is sent to the client.
    SetTos(u8),
    /// `set-priority-class`, -2047 to 2047; lower goes first.
    SetPriorityClass(Expr),
    /// `set-priority-offset`, -524287 to 524287 milliseconds.
    SetPriorityOffset(Expr),
    /// `set-mark`: the netfilter mark of what is sent to the client.
    SetMark(u32),
    /// `track-sc*`
    Track(Track),
    /// `sc-inc-gpc*`, `sc-add-gpc`, `sc-set-gpt*`
    ChangeCounter(ChangeCounter),
    /// `set-timeout`
    SetTimeout(TimeoutKind, Duration),
    /// `strict-mode`; true: `on`.
    StrictMode(bool),
    /// `set-var`.
    SetVar(Box<SetVar>),
    /// `set-var-fmt`.
    SetVarText(Box<SetVarText>),
    /// `add-acl`, `del-acl`, `set-map`, `del-map`.
    ChangePatterns(Box<ChangePatterns>),
    /// `unset-var`.
    UnsetVar(VarRef),
    /// An edit of the message.
    Edit(Box<Edit>),
    /// `capture`.
    Capture(Box<Capture>),
    /// `early-hint`.
    EarlyHint(Box<EarlyHint>),
    /// `wait-for-body`.
    WaitForBody(BodyWait),
    /// `disable-l7-retry`.
    DisableRetry,
    /// `use-service prometheus-exporter`: answers with metrics.
    Export,
    /// Accepted, and of no effect here: `set-nice`, `wait-for-handshake`.
    Nothing,
}

/// What a rule says about the stream.
#[derive(Clone, Copy, Debug)]
pub enum Verdict<'r> {
    /// The next rule.
    Continue,
    /// No further rule of this set.
    Allow,
    /// Answer and be done with the request.
    Deny(&'r Reply),
    /// Wait, then answer.
    Tarpit(&'r Rc<Reply>),
    /// Answer: no error.
    Return(&'r Reply),
    /// Answer with the composed message of this status.
    Redirect(u16),
    /// Answer with metrics.
    Export,
    /// Answer that user and password are needed; in this realm, or one of the proxy's name.
    Auth(Option<&'r str>),
    /// Close the client's connection.
    Reject,
    /// Close the server's connection; what it has sent goes on to the client.
    CloseServer,
    /// Close it silently.
    SilentDrop,
    /// The action needs data that has not come: it is asked again when more is there.
    Yield,
    /// A rewrite found no room, or could not be done: an internal error ends the request.
    Failed,
    /// The request is not what the rule says it must be: 400.
    BadRequest,
}

impl Action {
    /// Does it.
    pub fn run<'r>(&'r self, scene: &mut Scene<'_>) -> Verdict<'r> {
        match self {
            Action::Allow => Verdict::Allow,
            Action::Deny(reply) => Verdict::Deny(reply),
            Action::Tarpit(reply) => Verdict::Tarpit(reply),
            Action::Return(reply) => Verdict::Return(reply),
            Action::Redirect(redirect) => {
                let mut message = std::mem::take(scene.message);
                let is_due = redirect.compose(scene, &mut message);
                *scene.message = message;
                match is_due {
                    true => Verdict::Redirect(redirect.status),
                    false => Verdict::Continue,
                }
            }
            Action::Reject => Verdict::Reject,
            Action::CloseServer => Verdict::CloseServer,
            Action::SilentDrop => Verdict::SilentDrop,
            Action::Auth(realm) => Verdict::Auth(realm.as_deref()),
            Action::SetLogLevel(level) => {
                scene.notes.log_level = *level;
                Verdict::Continue
            }
            Action::ExpectProxy => {
                scene.notes.expects_header = true;
                Verdict::Continue
            }
            Action::SetAddress(address) => {
                address.run(scene);
                Verdict::Continue
            }
            Action::SetTos(tos) => {
                scene.client.set_tos(*tos);
                Verdict::Continue
            }
            Action::SetMark(mark) => {
                scene.client.set_mark(*mark);
                Verdict::Continue
            }
            Action::SetPriorityClass(expr) => {
                if let Some(class) = integer(expr, scene) {
                    scene.notes.priority_class = class.clamp(-2047, 2047) as i16;
                }
                Verdict::Continue
            }
            Action::SetPriorityOffset(expr) => {
                if let Some(offset) = integer(expr, scene) {
                    scene.notes.priority_offset_ms = offset.clamp(-524_287, 524_287) as i32;
                }
                Verdict::Continue
            }
            Action::Track(track) => {
                track.run(scene);
                Verdict::Continue
            }
            Action::ChangeCounter(change) => {
                change.run(scene);
                Verdict::Continue
            }
            Action::SetTimeout(kind, duration) => {
                set_timeout(*kind, duration, scene);
                Verdict::Continue
            }
            Action::StrictMode(is_strict) => {
                scene.notes.is_lenient = !is_strict;
                Verdict::Continue
            }
            Action::SetVar(set) => set.run(scene),
            Action::SetVarText(set) => set.run(scene),
            Action::ChangePatterns(change) => {
                change.run(scene);
                Verdict::Continue
            }
            Action::UnsetVar(var) => {
                scene.vars.unset(*var);
                Verdict::Continue
            }
            Action::Edit(edit) => edit.run(scene),
            Action::Capture(capture) => {
                capture.run(scene);
                Verdict::Continue
            }
            Action::EarlyHint(hint) => hint.run(scene),
            Action::WaitForBody(_) if std::mem::take(&mut scene.notes.has_waited) => {
                Verdict::Continue
            }
            Action::WaitForBody(wait) => {
                scene.notes.body_wait = Some(*wait);
                Verdict::Yield
            }
            Action::DisableRetry => {
                scene.notes.no_retry = true;
                Verdict::Continue
            }
            Action::Export => Verdict::Export,
            Action::Nothing => Verdict::Continue,
        }
    }
}

/// Gives the stream a timeout of its own; an expression without a usable value leaves it as it is.
fn set_timeout(kind: TimeoutKind, duration: &Duration, scene: &mut Scene<'_>) {
    let ms = match duration {
        Duration::Fixed(ms) => Some(*ms),
        Duration::Of(expr) => match expr.eval(&mut scene.context()) {
            Some(Value::Int(ms)) => u64::try_from(ms).ok().filter(|ms| *ms > 0),
            _ => None,
        },
    };
    if ms.is_some() {
        match kind {
            TimeoutKind::Server => scene.notes.server_timeout_ms = ms,
            TimeoutKind::Tunnel => scene.notes.tunnel_timeout_ms = ms,
        }
    }
}

/// The value of an expression as a number, if it has one.
fn integer(expr: &Expr, scene: &mut Scene<'_>) -> Option<i64> {
    match expr.eval_as_int(&mut scene.context())? {
        Value::Int(number) => Some(number),
        _ => None,
    }
}
