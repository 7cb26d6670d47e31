//! The rules of the response phase: `http-response` of the backend and of the frontend, `http-after-response` on every response,
//! our own included.
//!
//! Not here: how a response travels (`http`), what our own answers say (`reply`).

use std::rc::Rc;

use super::decide::scene;
use super::exchange::in_flight;
use super::{Core, Step, Stream, body, decide, finish, http, reply};
use crate::backend::counters::FrontEvent;
use crate::log::{Cause, Phase};
use crate::rules::{Outcome, Resume, SetKind, Verdict, evaluate};

/// The proxies whose response rules apply, in order: the backend, and the frontend when it is another.
fn proxies(stream: &Stream) -> [Option<usize>; 2] {
    let frontend = stream.frontend as usize;
    let backend = stream
        .exchange
        .as_ref()
        .and_then(|exchange| exchange.backend);
    [backend, (backend != Some(frontend)).then_some(frontend)]
}

/// Where rules go on that wait for the response's body.
#[derive(Clone, Copy, Debug)]
pub struct ResponseProgress {
    /// Which of the proxies.
    proxy_at: usize,
    /// Where in its rules.
    resume: Resume,
}

/// `http-response`, when the head of the final response is there; `Err` when a rule keeps it from the client, `Ok(false)` when one
/// waits for its body: then it goes on where it was when it is called again.
pub(super) fn run_response_rules(stream: &mut Stream, core: &mut Core) -> Result<bool, Step> {
    let progress = in_flight(&mut stream.exchange).response_progress.take();
    let (first, mut resume) = progress.map_or_else(Default::default, |progress| {
        (progress.proxy_at, progress.resume)
    });
    for (proxy_at, proxy) in proxies(stream).into_iter().enumerate().skip(first) {
        let Some(proxy) = proxy else { continue };
        let rules = Rc::clone(&core.proxies[proxy].spec.rules);
        let set = rules.of(SetKind::HttpResponse);
        if set.is_empty() {
            continue;
        }
        let outcome = evaluate(set, std::mem::take(&mut resume), &mut scene(stream, core));
        finish::count_rewrites(stream, core);
        match outcome {
            Outcome::Pass => {}
            Outcome::Wait(resume) => {
                let exchange = in_flight(&mut stream.exchange);
                if let Some(wait) = exchange.notes.body_wait.take() {
                    exchange.response_progress = Some(ResponseProgress { proxy_at, resume });
                    body::begin_response_wait(stream, core, wait);
                    return Ok(false);
                }
            }
            Outcome::Decided(verdict) => return Err(obey(stream, core, verdict)),
        }
    }
    Ok(true)
}

/// What becomes of a response that a rule refused.
fn obey(stream: &mut Stream, core: &mut Core, verdict: Verdict<'_>) -> Step {
    if matches!(verdict, Verdict::SilentDrop) {
        stream.client.drop_silently();
    }
    let (cause, phase) = match verdict {
        Verdict::Return(_) | Verdict::Redirect(_) => (Cause::Local, Phase::Headers),
        Verdict::SilentDrop => (Cause::Proxy, Phase::Request),
        _ => (Cause::Proxy, Phase::Headers),
    };
    match verdict {
        // HAProxy counts it as a request that was denied, in whichever phase it comes.
        Verdict::SilentDrop => decide::count_denied_request(stream, core),
        Verdict::Failed => {}
        _ if cause == Cause::Proxy => count_denied_response(stream, core),
        _ => {}
    }
    let exchange = in_flight(&mut stream.exchange);
    exchange.termination.set(cause, phase);
    // Nothing of the response has left.
    http::forget_response(stream);
    if matches!(verdict, Verdict::Reject | Verdict::SilentDrop) {
        return Step::Close;
    }
    let exchange = in_flight(&mut stream.exchange);
    exchange.keep_client = exchange.request.keeps_alive();
    let how = (cause, Phase::Headers);
    match verdict {
        Verdict::Deny(reply) | Verdict::Return(reply) => {
            reply::answer_rule(stream, core, reply, how)
        }
        Verdict::Redirect(status) => reply::redirect(stream, core, status, how),
        _ => reply::answer(stream, core, 500, how.0, how.1),
    }
}

pub(super) fn count_denied_response(stream: &mut Stream, core: &mut Core) {
    core.count_front(stream.entrance(), FrontEvent::ResponseDenied);
    let exchange = in_flight(&mut stream.exchange);
    if let Some(backend) = exchange.backend {
        let proxy = &mut core.proxies[backend];
        proxy.backend_counters.responses_denied += 1;
        if let Some(server) = exchange.server {
            proxy.servers[server].counters.responses_denied += 1;
        }
    }
}

/// A rewrite of the last set failed: an internal error, for which no rule is asked.
pub(super) fn after_rules_failed(stream: &mut Stream, core: &mut Core) -> Step {
    obey(stream, core, Verdict::Failed)
}

/// `http-after-response`, on whatever goes to the client; false: a rewrite failed.
pub(super) fn run_after_rules(stream: &mut Stream, core: &mut Core) -> bool {
    for proxy in proxies(stream).into_iter().flatten() {
        let rules = Rc::clone(&core.proxies[proxy].spec.rules);
        let set = rules.of(SetKind::HttpAfterResponse);
        if set.is_empty() {
            continue;
        }
        let outcome = evaluate(set, Resume::default(), &mut scene(stream, core));
        finish::count_rewrites(stream, core);
        if matches!(outcome, Outcome::Decided(_)) {
            return false;
        }
    }
    true
}

/// Whether answers of our own have to pass rules.
pub(super) fn has_after_rules(stream: &Stream, core: &Core) -> bool {
    let mut proxies = proxies(stream).into_iter().flatten();
    proxies.any(|proxy| {
        let rules = &core.proxies[proxy].spec.rules;
        !rules.of(SetKind::HttpAfterResponse).is_empty()
    })
}
