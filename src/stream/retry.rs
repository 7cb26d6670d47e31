//! `retry-on`: a request whose server answered badly, or not at all, is asked again (configuration manual, "retry-on").
//!
//! Such a request stays in its buffer after it was sent, until a response has come that is not refused. One that does not fit its
//! buffer is let go and not asked again. Whoever does not use it keeps nothing.
//!
//! Invariant: nothing of an answer, not even an interim one, has gone to the client when a request is asked again.
//! Not here: connections that fail (`connect`), and kept ones that prove dead (`connect::replace_dead_connection`).

use super::exchange::in_flight;
use super::inspect::Inspection;
use super::{Core, State, Step, Stream, connect};
use crate::config::model::RetryOn;

/// Whether the backend wants requests kept for another attempt.
pub(super) fn keeps(stream: &mut Stream, core: &Core) -> bool {
    let exchange = in_flight(&mut stream.exchange);
    let spec = &core.proxies[exchange.backend_index()].spec;
    spec.retry_on.looks_at_responses() && exchange.retries_left > 0 && !exchange.notes.no_retry
}

/// Begins another attempt, if this is a reason for one and one is left; otherwise the failure stands.
pub(super) fn try_again(stream: &mut Stream, core: &mut Core, reason: RetryOn) -> Option<Step> {
    let is_kept = keeps(stream, core);
    let exchange = in_flight(&mut stream.exchange);
    let (backend, server) = (exchange.backend_index(), exchange.server_index());
    let is_silent = exchange.down.sent == 0 && !exchange.down.has_unsent();
    let is_reason = core.proxies[backend].spec.retry_on.has(reason);
    if !is_reason || !is_kept || !exchange.up.can_replay() || !is_silent {
        return None;
    }
    exchange.retries_left -= 1;
    exchange.retries += 1;
    if let Some(link) = exchange.link.take() {
        core.pool.close(link);
    }
    exchange.up.rewind();
    core.buffers.detach(&mut exchange.down.buffer);
    exchange.down.reset();
    exchange.response.reset();
    exchange.inspection = Inspection::None;
    exchange.times.connected_ms = None;
    let proxy = &mut core.proxies[backend];
    // HAProxy counts one that stays with its server twice.
    let is_leaving = connect::may_redispatch(proxy, exchange);
    let count = if is_leaving { 1 } else { 2 };
    proxy.backend_counters.retries += count;
    proxy.servers[server].counters.retries += count;
    if is_leaving {
        return Some(stream.enter(State::Redispatching, core.now_ms));
    }
    let counters = &mut proxy.servers[server].counters;
    counters.session_started(core.now_ms);
    Some(connect::open(stream, core, false))
}
