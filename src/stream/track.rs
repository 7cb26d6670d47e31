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

use super::departures::Departure;
use super::handover::Handover;
use super::{Core, Stream};
use crate::backend::Proxy;
use crate::config::model::Mode;
use crate::rules::{Action, Rule, RuleSets, SetKind};
use crate::stick::Table;
use crate::stick::tracked::{Counter, CounterName, Event, LateCount, Tracked};

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
        exchange.notes.untold_counters = 0;
    }
    count(stream, core, Event::Request);
}

/// The request has passed the rules of its backend that may still reject it: what they track is told of it.
pub(super) fn tell_backend_content(stream: &mut Stream, core: &mut Core) {
    let Some(exchange) = stream.exchange.as_mut() else {
        return;
    };
    let untold = std::mem::take(&mut exchange.notes.untold_counters);
    for (number, counter) in exchange.tracked.iter() {
        if untold & (1 << number) != 0 {
            counter.count(Event::Request, &mut core.tables, core.now_ms);
        }
    }
}

/// What came was no request, or only a part of one.
pub(super) fn count_bad_request(stream: &mut Stream, core: &mut Core) {
    count(stream, core, Event::Request);
    count(stream, core, Event::Error);
}

/// Counts an event in all that the stream tracks.
pub(super) fn count(stream: &mut Stream, core: &mut Core, event: Event) {
    if let Some(late) = &mut stream.late {
        return late.count(event);
    }
    for counter in counters(sets(stream)) {
        counter.count(event, &mut core.tables, core.now_ms);
    }
}

/// Counts the status of a server's response, as soon as it is known.
pub(super) fn count_status(stream: &mut Stream, core: &mut Core, status: u16) {
    if let Some(event) = Event::of_status(status) {
        count(stream, core, event);
    }
}

/// Bytes in and out of a request that is over; HAProxy counts them no earlier. What was no request counts none.
fn bytes(stream: &Stream, core: &Core) -> (u64, u64) {
    let is_tcp = core.proxies[stream.frontend as usize].spec.mode == Mode::Tcp;
    match &stream.exchange {
        Some(exchange) if is_tcp || exchange.head_bytes > 0 => {
            (exchange.received_total(), exchange.logged_total())
        }
        _ => (0, 0),
    }
}

/// What a stream tracks whose tables belong to another process now, and what it has yet to tell about it.
#[derive(Debug, Default)]
pub(super) struct Late {
    /// What the connection tracks; it moves with the connection.
    pub of_connection: Vec<CounterName>,
    of_request: Vec<CounterName>,
    errors: u32,
    failures: u32,
}

impl Late {
    fn count(&mut self, event: Event) {
        match event {
            Event::Error => self.errors += 1,
            Event::Failure => self.failures += 1,
            // No connection, session or request begins in a worker that has handed over.
            Event::Connection | Event::Session | Event::Request => {}
        }
    }
}

/// The tables go to another process: from now on everything is told to it.
pub(super) fn let_go(stream: &mut Stream, tables: &[Table]) {
    let names = |tracked: &mut Tracked| {
        let names = tracked.names(tables);
        tracked.forget();
        names
    };
    let late = Late {
        of_connection: stream.tracked.as_deref_mut().map_or(Vec::new(), names),
        of_request: stream
            .exchange
            .as_mut()
            .map_or(Vec::new(), |exchange| names(&mut exchange.tracked)),
        ..Late::default()
    };
    if !(late.of_connection.is_empty() && late.of_request.is_empty()) {
        stream.late = Some(Box::new(late));
    }
}

/// A connection that another worker passed on tracks here what it tracked there.
pub(super) fn resume(stream: &mut Stream, core: &mut Core, counters: &[CounterName]) {
    if counters.is_empty() {
        return;
    }
    let tracked = stream
        .tracked
        .get_or_insert_with(|| core.unused_sets.0.pop().unwrap_or_default());
    for name in counters {
        tracked.resume(name, &mut core.tables, core.now_ms);
    }
}

/// Tells the owner of the tables what a request has done to the entries that it tracked here.
fn tell(late: &mut Late, bytes: (u64, u64), handover: &mut Handover) {
    let (errors, failures) = (
        std::mem::take(&mut late.errors),
        std::mem::take(&mut late.failures),
    );
    let of_request = std::mem::take(&mut late.of_request);
    let Handover::To(departures) = handover else {
        return;
    };
    for counter in late.of_connection.iter().cloned().chain(of_request) {
        departures.push(Departure::Count(LateCount {
            counter,
            errors,
            failures,
            bytes,
        }));
    }
}

/// The request is over: its tracking ends.
pub(super) fn end_request(stream: &mut Stream, core: &mut Core) {
    let Some(exchange) = stream.exchange.as_mut() else {
        return;
    };
    let is_settled = std::mem::replace(&mut exchange.is_settled, true);
    let is_idle = exchange.tracked.is_empty() && stream.tracked.is_none() && stream.late.is_none();
    if is_settled || is_idle {
        return;
    }
    let moved = bytes(stream, core);
    if let Some(late) = &mut stream.late {
        return tell(late, moved, &mut core.handover);
    }
    for counter in counters(sets(stream)) {
        counter.count_bytes(moved, &mut core.tables, core.now_ms);
    }
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
