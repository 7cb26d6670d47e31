//! What a stream counts in stick tables: the events and bytes of its requests, in the entries that it tracks.
//!
//! A connection may track entries (`tcp-request connection` and `session` rules), and each request may (all other rule sets), with the
//! counters that its connection does not use. When what is counted was measured on HAProxy 2.6:
//!
//! ```text
//! connection        tracking begins, whoever begins it      request   begun, valid or not; or tracking begins in its course
//! session           the connection passed its rules          error     400, an empty or broken-off request, deny, tarpit, auth, 4xx
//! bytes             as the log counts them, at the end           failure   502, 504, a bad response, 5xx but 501 and 505
//! ```
//!
//! Not here: which rules begin to track (`rules`), what is stored (`stick::Tracked`).

use super::{Core, Stream};
use crate::backend::Proxy;
use crate::config::model::Mode;
use crate::rules::{Action, Rule, RuleSets, SetKind};
use crate::stick::tracked::{Counter, Event, Tracked};

/// Unused sets of counters. They are large and few connections have one, so a stream holds a pointer.
#[derive(Debug, Default)]
pub(super) struct SetPool(#[allow(clippy::vec_box)] Vec<Box<Tracked>>);

/// The sets at work: the request's, and its connection's.
fn sets(stream: &Stream) -> [Option<&Tracked>; 2] {
    [
        stream.exchange.as_ref().map(|exchange| &exchange.tracked),
        stream.tracked.as_deref(),
    ]
}

/// All counters in effect: no rule lets both sets use the same number.
fn counters<'s>(sets: [Option<&'s Tracked>; 2]) -> impl Iterator<Item = Counter> + 's {
    let tracked = sets.into_iter().flatten().flat_map(Tracked::iter);
    tracked.map(|(_, counter)| counter)
}

/// Whether any rule of the proxy tracks.
pub(super) fn tracks(proxy: &Proxy) -> bool {
    let is_tracking = |rule: &Rule| matches!(rule.action, Action::Track(_));
    let sets = SetKind::ALL.iter().map(|kind| proxy.spec.rules.of(*kind));
    sets.flatten().any(is_tracking)
}

/// Gives a connection a set of counters before its rules run, if any of them may track.
pub(super) fn prepare_connection(stream: &mut Stream, core: &mut Core, rules: &RuleSets) {
    let is_tracking = |rule: &Rule| matches!(rule.action, Action::Track(_));
    let mut rules = rules.tcp_connection.iter().chain(&rules.tcp_session);
    if rules.any(is_tracking) {
        stream.tracked = Some(core.unused_sets.0.pop().unwrap_or_default());
    }
}

/// The head of a request is there; nothing of it is edited yet.
pub(super) fn measure_request(stream: &mut Stream, core: &Core) {
    if let Some(exchange) = stream.exchange.as_mut().filter(|_| core.is_tracking) {
        exchange.count_head();
    }
}

/// The request begins; what is tracked later in its course is told by the rule that begins it.
pub(super) fn begin_request(stream: &mut Stream, core: &mut Core) {
    if let Some(exchange) = stream.exchange.as_mut() {
        exchange.is_request_counted = true;
    }
    count(stream, core, Event::Request);
}

/// What came was no request, or only a part of one.
pub(super) fn count_bad_request(stream: &Stream, core: &mut Core) {
    count(stream, core, Event::Request);
    count(stream, core, Event::Error);
}

/// Counts an event in all that the stream tracks.
pub(super) fn count(stream: &Stream, core: &mut Core, event: Event) {
    for counter in counters(sets(stream)) {
        counter.count(event, &mut core.tables, core.now_ms);
    }
}

/// Counts the status of a server's response, as soon as it is known.
pub(super) fn count_status(stream: &Stream, core: &mut Core, status: u16) {
    if let Some(event) = Event::of_status(status) {
        count(stream, core, event);
    }
}

/// Counts the bytes of a request that is over, as HAProxy does: no earlier.
fn count_bytes(stream: &Stream, core: &mut Core) {
    let is_tcp = core.proxies[stream.frontend as usize].spec.mode == Mode::Tcp;
    let Some(exchange) = stream.exchange.as_ref() else {
        return;
    };
    // What was no request counts no bytes.
    if !is_tcp && exchange.head_bytes == 0 {
        return;
    }
    if exchange.tracked.is_empty() && stream.tracked.is_none() {
        return;
    }
    let moved = (exchange.received_total(), exchange.logged_total());
    for counter in counters(sets(stream)) {
        counter.count_bytes(moved, &mut core.tables, core.now_ms);
    }
}

/// The tables go to another process: nothing is counted here any more.
pub(super) fn forget(stream: &mut Stream) {
    if let Some(exchange) = &mut stream.exchange {
        exchange.tracked.forget();
    }
    if let Some(tracked) = &mut stream.tracked {
        tracked.forget();
    }
}

/// The request is over: its tracking ends.
pub(super) fn end_request(stream: &mut Stream, core: &mut Core) {
    let Some(exchange) = stream.exchange.as_mut() else {
        return;
    };
    if std::mem::replace(&mut exchange.is_settled, true) {
        return;
    }
    count_bytes(stream, core);
    if let Some(exchange) = stream.exchange.as_mut() {
        exchange.tracked.end(&mut core.tables, core.now_ms);
    }
}

/// The connection is over.
pub(super) fn end_connection(stream: &mut Stream, core: &mut Core) {
    if let Some(mut tracked) = stream.tracked.take() {
        tracked.end(&mut core.tables, core.now_ms);
        core.unused_sets.0.push(tracked);
    }
}
