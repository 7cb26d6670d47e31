//! Timeouts: until when a stream may stay where it is, and what happens then (configuration manual, "timeout …").
//!
//! A deadline is computed from the state and from when the two sides last moved a byte. The wheel may fire early (it is
//! only moved when a deadline comes nearer), so `expire` looks again.

use super::channel::Channel;
use super::exchange::{Exchange, in_flight};
use super::{
    Core, State, Step, Stream, body, connect, decide, finish, identify, reply, retry, track,
};
use crate::config::model::{Mode, RetryOn, Timeouts};
use crate::log::{Cause, Phase};
use crate::stick::tracked::Event;

/// How long a client may be silent after our last bytes before its connection is closed.
const LINGER_SILENCE_MS: u64 = 1000;

/// How long a client may go on sending what nobody wants after our last bytes; it reads them when it is done.
const LINGER_MS: u64 = 30_000;

/// Which clock runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expiry {
    /// `timeout http-keep-alive`: no further request came.
    KeepAlive,
    /// `timeout http-request`: the request's head took too long.
    Request,
    /// `tcp-request inspect-delay`, `tcp-response inspect-delay`.
    Inspect,
    /// `wait-for-body`, `timeout http-request` with `option http-buffer-request`.
    Body,
    /// `http-response wait-for-body`.
    ResponseBody,
    /// `timeout tarpit`.
    Tarpit,
    /// `timeout queue`.
    Queue,
    /// The pause before the next connection attempt.
    TurnAround,
    /// `timeout connect`.
    Connect,
    /// `timeout client`, or `tunnel` or `client-fin` in its place.
    Client,
    /// `timeout server`, or `tunnel` or `server-fin` in its place.
    Server,
    /// The end of lingering.
    Linger,
    /// `timeout client`, for the PROXY header.
    Header,
}

/// Sets the stream's timer to its nearest deadline.
pub(super) fn arm(stream: &mut Stream, core: &mut Core) {
    match nearest(stream, core) {
        Some((deadline_ms, _)) => {
            core.timers
                .arm(&mut stream.timer, stream.key.token(), deadline_ms)
        }
        None => core.timers.cancel(&mut stream.timer),
    }
}

fn nearest(stream: &Stream, core: &Core) -> Option<(u64, Expiry)> {
    let frontend = &core.proxies[stream.frontend as usize].spec.timeouts;
    let exchange = stream.exchange.as_deref();
    let backend = exchange.and_then(|exchange| backend_timeouts(exchange, core));
    let of_backend = |timeout: fn(&Timeouts) -> Option<u64>| backend.and_then(timeout);
    match stream.state {
        State::Header => since(stream.state_since_ms, frontend.client_ms, Expiry::Header),
        State::Idle if stream.requests > 0 => {
            let timeout = frontend
                .http_keep_alive_ms
                .or(frontend.http_request_ms)
                .or(frontend.client_ms);
            since(stream.state_since_ms, timeout, Expiry::KeepAlive)
        }
        State::Idle | State::Head => {
            // From the accept for a client that says nothing; a head has its time from its first byte, as in HAProxy.
            let started_ms = stream.state_since_ms;
            match frontend.http_request_ms {
                Some(_) => since(started_ms, frontend.http_request_ms, Expiry::Request),
                None => since(stream.client_active_ms, frontend.client_ms, Expiry::Request),
            }
        }
        State::Deciding if let Some(awaited) = exchange.and_then(|e| e.awaited.as_ref()) => {
            earlier(
                awaited.until_ms.map(|until_ms| (until_ms, Expiry::Body)),
                since(stream.client_active_ms, frontend.client_ms, Expiry::Body),
            )
        }
        State::Deciding => {
            let until_ms = exchange.and_then(|exchange| exchange.progress.until_ms);
            until_ms.map(|until_ms| (until_ms, Expiry::Inspect))
        }
        State::Tarpit => {
            let timeouts = backend.unwrap_or(frontend);
            let timeout = timeouts.tarpit_ms.or(timeouts.connect_ms);
            since(stream.state_since_ms, timeout, Expiry::Tarpit)
        }
        State::Queued => {
            let timeout = of_backend(|timeouts| timeouts.queue_ms.or(timeouts.connect_ms));
            since(stream.state_since_ms, timeout, Expiry::Queue)
        }
        State::TurnAround => {
            let timeout =
                of_backend(|timeouts| timeouts.connect_ms).unwrap_or(connect::TURN_AROUND_MS_MAX);
            since(
                stream.state_since_ms,
                Some(timeout.min(connect::TURN_AROUND_MS_MAX)),
                Expiry::TurnAround,
            )
        }
        State::Redispatching => None,
        State::Connecting | State::Connected => since(
            stream.state_since_ms,
            of_backend(|timeouts| timeouts.connect_ms),
            Expiry::Connect,
        ),
        State::Transfer => transferring(stream, exchange?, core),
        State::Tunnel => tunnelling(stream, exchange?, core),
        State::Reply => since(stream.client_active_ms, frontend.client_ms, Expiry::Client),
        State::Linger => {
            let active_ms = stream.client_active_ms.max(stream.state_since_ms);
            let end_ms = stream.state_since_ms + LINGER_MS;
            Some(((active_ms + LINGER_SILENCE_MS).min(end_ms), Expiry::Linger))
        }
    }
}

/// Messages are on their way: who owes something, by when.
fn transferring(stream: &Stream, exchange: &Exchange, core: &Core) -> Option<(u64, Expiry)> {
    let frontend = &core.proxies[stream.frontend as usize].spec.timeouts;
    let backend = backend_timeouts(exchange, core);
    let of_backend = |timeout: fn(&Timeouts) -> Option<u64>| backend.and_then(timeout);
    let owes_request = !exchange.up.is_complete && !exchange.up.is_shut && exchange.up.has_room();
    let client = (owes_request || exchange.down.has_unsent())
        .then(|| since(stream.client_active_ms, frontend.client_ms, Expiry::Client));
    let body = exchange
        .awaited
        .as_ref()
        .and_then(|awaited| awaited.until_ms);
    let body = body.map(|until_ms| (until_ms, Expiry::ResponseBody));
    let owes_response = !exchange.down.is_complete && exchange.down.has_room();
    let server = (exchange.up.has_unsent() || owes_response).then(|| {
        let timeout = exchange
            .notes
            .server_timeout_ms
            .or(of_backend(|timeouts| timeouts.server_ms));
        let expiry = match exchange.response_progress {
            Some(_) => Expiry::ResponseBody,
            None => Expiry::Server,
        };
        since(stream.server_active_ms, timeout, expiry)
    });
    let inspect = exchange.inspection.until_ms(core, exchange);
    let inspect = inspect.map(|until_ms| (until_ms, Expiry::Inspect));
    let looked_at = earlier(inspect, body);
    earlier(looked_at, earlier(client.flatten(), server.flatten()))
}

/// Bytes pass in both directions, whatever they mean.
fn tunnelling(stream: &Stream, exchange: &Exchange, core: &Core) -> Option<(u64, Expiry)> {
    let frontend = &core.proxies[stream.frontend as usize].spec.timeouts;
    let backend = backend_timeouts(exchange, core);
    let of_backend = |timeout: fn(&Timeouts) -> Option<u64>| backend.and_then(timeout);
    let tunnel = exchange
        .notes
        .tunnel_timeout_ms
        .or(of_backend(|timeouts| timeouts.tunnel_ms))
        .or(frontend.tunnel_ms);
    let (up, down) = (&exchange.up, &exchange.down);
    let of_half = |timeout: Option<u64>| timeout.filter(|_| up.is_complete || down.is_complete);
    // Who has said its end and was told all owes nothing, nor who may not speak while the other side takes nothing: the time is the
    // other side's.
    let owes = |half: &Channel| !half.is_complete && half.has_room();
    let client = (owes(up) || down.has_unsent()).then(|| {
        let timeout = of_half(frontend.client_fin_ms).or(tunnel);
        let timeout = timeout.or(frontend.client_ms);
        since(stream.client_active_ms, timeout, Expiry::Client)
    });
    let server = (owes(down) || up.has_unsent()).then(|| {
        let timeout = of_half(of_backend(|timeouts| timeouts.server_fin_ms)).or(tunnel);
        let timeout = timeout.or(of_backend(|timeouts| timeouts.server_ms));
        since(stream.server_active_ms, timeout, Expiry::Server)
    });
    let inspect = exchange.inspection.until_ms(core, exchange);
    let inspect = inspect.map(|until_ms| (until_ms, Expiry::Inspect));
    earlier(inspect, earlier(client.flatten(), server.flatten()))
}

fn backend_timeouts<'c>(exchange: &Exchange, core: &'c Core) -> Option<&'c Timeouts> {
    exchange
        .backend
        .map(|backend| &core.proxies[backend].spec.timeouts)
}

/// When a timeout that runs since `start_ms` has passed. Both ends are milliseconds cut off, so that one more makes sure that it is
/// never early, and at most a millisecond late.
fn since(start_ms: u64, timeout: Option<u64>, expiry: Expiry) -> Option<(u64, Expiry)> {
    Some((start_ms + timeout? + 1, expiry))
}

fn earlier(a: Option<(u64, Expiry)>, b: Option<(u64, Expiry)>) -> Option<(u64, Expiry)> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b.0 < a.0 { b } else { a }),
        (a, b) => a.or(b),
    }
}

/// The timer has fired: does what the deadline that has passed asks for.
pub(super) fn expire(stream: &mut Stream, core: &mut Core) -> Step {
    let Some((_, expiry)) =
        nearest(stream, core).filter(|&(deadline_ms, _)| deadline_ms <= core.now_ms)
    else {
        return Step::Wait;
    };
    match expiry {
        Expiry::KeepAlive | Expiry::Linger => Step::Close,
        Expiry::Header => identify::header_expired(stream, core),
        Expiry::Request => request_expired(stream, core),
        Expiry::Inspect => Step::Again,
        Expiry::Body => body::request_expired(stream, core),
        Expiry::ResponseBody => body::response_expired(stream, core),
        Expiry::Tarpit => decide::leave_tarpit(stream, core),
        Expiry::Queue => {
            let exchange = in_flight(&mut stream.exchange);
            // The wait is over, though nothing came of it: the log tells how long it was.
            exchange.times.assigned_ms.get_or_insert(core.now_ms);
            let backend = exchange.backend_index();
            core.proxies[backend].backend_counters.connections_failed += 1;
            if let Some(server) = exchange.server {
                core.proxies[backend].servers[server]
                    .counters
                    .connections_failed += 1;
            }
            reply::answer(stream, core, 503, Cause::ServerTimeout, Phase::Queue)
        }
        Expiry::TurnAround => connect::try_again(stream, core),
        Expiry::Connect => connect::failed(stream, core, true),
        Expiry::Client => client_expired(stream, core),
        Expiry::Server => server_expired(stream, core),
    }
}

fn request_expired(stream: &mut Stream, core: &mut Core) -> Step {
    let options = &core.proxies[stream.frontend as usize].spec.options;
    let is_silent = stream.requests == 0 && options.ignore_probes;
    let is_unlogged = stream.requests == 0 && options.dont_log_null;
    finish::count_failed_request(core, stream.entrance());
    track::count(stream, core, Event::Request);
    if stream.exchange.is_none() {
        let mut exchange = core.exchanges.take();
        exchange.begin(stream.accepted_ms, stream.accepted);
        stream.exchange = Some(exchange);
    }
    let exchange = in_flight(&mut stream.exchange);
    exchange.is_logged = is_unlogged || is_silent;
    if is_silent {
        return Step::Close;
    }
    reply::answer(stream, core, 408, Cause::ClientTimeout, Phase::Request)
}

fn client_expired(stream: &mut Stream, core: &mut Core) -> Step {
    let Some(exchange) = stream.exchange.as_mut() else {
        return Step::Close;
    };
    finish::count_client_abort(exchange, core);
    let is_waiting = stream.state == State::Transfer && !exchange.has_response;
    exchange.termination.set(Cause::ClientTimeout, Phase::Data);
    if stream.state == State::Transfer && exchange.is_answered() {
        return finish::complete(stream, core);
    }
    if is_waiting && core.proxies[stream.frontend as usize].spec.mode == Mode::Http {
        return reply::answer(stream, core, 408, Cause::ClientTimeout, Phase::Data);
    }
    end_in_order(stream, core);
    Step::Close
}

fn server_expired(stream: &mut Stream, core: &mut Core) -> Step {
    let Some(exchange) = stream.exchange.as_mut() else {
        return Step::Close;
    };
    if stream.state == State::Transfer && !exchange.has_response {
        if let Some(step) = retry::try_again(stream, core, RetryOn::TIMEOUT) {
            return step;
        }
        finish::count_failed_response(stream, core);
        track::count(stream, core, Event::Failure);
        return reply::answer(stream, core, 504, Cause::ServerTimeout, Phase::Headers);
    }
    finish::count_server_abort(exchange, core);
    exchange.termination.set(Cause::ServerTimeout, Phase::Data);
    if stream.state == State::Transfer && exchange.is_answered() {
        return finish::complete(stream, core);
    }
    end_in_order(stream, core);
    Step::Close
}

/// A TCP session that was silent for too long: its server reads an end, and not a reset, as with HAProxy.
fn end_in_order(stream: &mut Stream, core: &mut Core) {
    let is_tcp = core.proxies[stream.frontend as usize].spec.mode == Mode::Tcp;
    let link = stream.exchange.as_ref().and_then(|exchange| exchange.link);
    if let Some(link) = link.filter(|_| is_tcp) {
        core.pool.at(link).connection.shutdown_write();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_never_early_and_at_most_a_millisecond_late() {
        const TIMEOUT_US: u64 = 500_000;
        for start_us in 7_000_000..7_003_000 {
            let (deadline_ms, _) = since(start_us / 1000, Some(TIMEOUT_US / 1000), Expiry::Client)
                .expect("a deadline");
            // The first moment whose millisecond is the deadline's.
            let took_us = deadline_ms * 1000 - start_us;
            assert!((TIMEOUT_US..=TIMEOUT_US + 1000).contains(&took_us));
        }
    }
}
