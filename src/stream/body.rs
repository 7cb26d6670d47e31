//! Waiting for bodies before rules go on: `option http-buffer-request`, `wait-for-body`.
//!
//! A body that is waited for stays in the buffer behind its head, unread: the wait ends when it is complete, when as much of it is
//! there as was asked for, when it fills the buffer (`tune.bufsize` less `tune.maxrewrite`, as for heads), or when its sender
//! closes. What is not there by then is forwarded as it comes, like any body.
//!
//! Not here: what rules see of a body (`sample`), which rules wait (`decide`, `respond`).

use std::io::IoSlice;

use super::exchange::in_flight;
use super::{Core, State, Step, Stream, finish, http, invalid, reply, track};
use crate::backend::counters::FrontEvent;
use crate::http::{HeadError, Held, Known, Measure};
use crate::log::{Cause, Phase};
use crate::net::ReadResult;
use crate::rules::BodyWait;
use crate::stick::tracked::Event;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What the log counts of that head.
const CONTINUE_LOGGED_BYTES: u64 = 40;

/// A body that is waited for.
#[derive(Clone, Debug)]
pub struct Awaited {
    measure: Measure,
    at_least: u64,
    /// Until then; `None`: as long as its sender may be silent.
    pub until_ms: Option<u64>,
}

impl Awaited {
    fn is_enough(&self, held: Held) -> bool {
        held.is_complete || (self.at_least > 0 && held.data_bytes >= self.at_least)
    }
}

/// Begins to wait for the request's body, because a rule says so.
pub(super) fn begin_request_wait(stream: &mut Stream, core: &Core, wait: BodyWait) {
    let exchange = in_flight(&mut stream.exchange);
    exchange.awaited = Some(Awaited {
        measure: Measure::new(exchange.request.framing),
        at_least: wait.at_least,
        until_ms: Some(core.now_ms + wait.time_ms),
    });
}

/// `option http-buffer-request` of a proxy: `Err` while the body is not there.
pub(super) fn buffer_request(
    stream: &mut Stream,
    core: &mut Core,
    proxy: usize,
) -> Result<(), Step> {
    let exchange = in_flight(&mut stream.exchange);
    if exchange.awaited.is_none() {
        let time_ms = core.proxies[proxy].spec.timeouts.http_request_ms;
        exchange.awaited = Some(Awaited {
            measure: Measure::new(exchange.request.framing),
            at_least: 0,
            until_ms: time_ms.map(|time_ms| core.now_ms + time_ms),
        });
    }
    await_request(stream, core)
}

/// Goes on waiting for the request's body; `Err` while it is not there, and when it will not come.
pub(super) fn await_request(stream: &mut Stream, core: &mut Core) -> Result<(), Step> {
    loop {
        let exchange = in_flight(&mut stream.exchange);
        let Some(awaited) = &mut exchange.awaited else {
            return Ok(());
        };
        let bytes = exchange.up.buffer.filled();
        let body = bytes
            .get(exchange.request.end as usize..)
            .unwrap_or_default();
        let held = match awaited.measure.advance(body) {
            Ok(held) => held,
            Err(error) => return Err(faulty(stream, core, error)),
        };
        let is_over = bytes.len() >= core.head_bytes_max || stream.client.is_read_closed();
        if is_over || awaited.is_enough(held) {
            exchange.awaited = None;
            exchange.is_cut_short = stream.client.is_read_closed() && !held.is_complete;
            if stream.state == State::Deciding {
                // To the log, the wait belongs to the request.
                exchange.times.head_ms = Some(core.now_ms);
            }
            return Ok(());
        }
        encourage(stream)?;
        if stream.state != State::Deciding {
            stream.enter(State::Deciding, core.now_ms);
        }
        if !stream.client.may_read() {
            return Err(Step::Wait);
        }
        match stream.receive(core) {
            Ok(ReadResult::Bytes(_) | ReadResult::End) => {}
            Ok(ReadResult::WouldBlock) => return Err(Step::Wait),
            Err(_) => return Err(cut_short(stream, core)),
        }
    }
}

/// A client that waits for leave to send its body gets it from us, for the server is not asked yet.
fn encourage(stream: &mut Stream) -> Result<(), Step> {
    let exchange = in_flight(&mut stream.exchange);
    if !std::mem::take(&mut exchange.request.expects_continue) {
        return Ok(());
    }
    exchange.request.headers.remove_known(Known::Expect);
    exchange.notes.hint_bytes += CONTINUE_LOGGED_BYTES;
    match stream.client.write(&[IoSlice::new(CONTINUE)], false) {
        Ok(count) if count == CONTINUE.len() => Ok(()),
        // A client that takes nothing loses a hint that it can do without; half of one leaves nothing to say.
        Ok(0) => Ok(()),
        Ok(_) | Err(_) => Err(Step::Close),
    }
}

/// The client is gone before its request was complete, and nothing of it was sent on.
pub(super) fn cut_short(stream: &mut Stream, core: &mut Core) -> Step {
    count_failed(stream, core);
    let exchange = in_flight(&mut stream.exchange);
    finish::count_client_abort(exchange, core);
    exchange.termination.set(Cause::ClientAbort, Phase::Request);
    Step::Close
}

fn faulty(stream: &mut Stream, core: &mut Core, error: HeadError) -> Step {
    let head_bytes = in_flight(&mut stream.exchange).request.end as usize;
    invalid::keep_request(stream, core, error.after(head_bytes, 0));
    count_failed(stream, core);
    track::count(stream, core, Event::Error);
    refuse(stream, core, error.status, Cause::Proxy)
}

/// Counts a request that failed in its body: as a request it is counted already.
fn count_failed(stream: &Stream, core: &mut Core) {
    core.count_front(stream.entrance(), FrontEvent::RequestFailed);
}

/// The body did not come in time.
pub(super) fn request_expired(stream: &mut Stream, core: &mut Core) -> Step {
    count_failed(stream, core);
    track::count(stream, core, Event::Error);
    refuse(stream, core, 408, Cause::ClientTimeout)
}

/// HAProxy logs no time of the request's head here: to it, the request never was complete.
fn refuse(stream: &mut Stream, core: &mut Core, status: u16, cause: Cause) -> Step {
    let step = reply::answer(stream, core, status, cause, Phase::Request);
    in_flight(&mut stream.exchange).times.head_ms = None;
    step
}

/// Begins to wait for the response's body.
pub(super) fn begin_response_wait(stream: &mut Stream, core: &Core, wait: BodyWait) {
    let exchange = in_flight(&mut stream.exchange);
    exchange.awaited = Some(Awaited {
        measure: Measure::new(exchange.response.framing),
        at_least: wait.at_least,
        until_ms: Some(core.now_ms + wait.time_ms),
    });
}

/// Whether the response's body that rules wait for is there, or as much of it as can be. `has_ended`: the server closed.
///
/// # Errors
/// Its framing is faulty, at a position of the buffer.
pub(super) fn response_is_here(
    stream: &mut Stream,
    core: &Core,
    has_ended: bool,
) -> Result<bool, HeadError> {
    let exchange = in_flight(&mut stream.exchange);
    let Some(awaited) = &mut exchange.awaited else {
        return Ok(true);
    };
    let bytes = exchange.down.buffer.filled();
    let body = bytes
        .get(exchange.response.end as usize..)
        .unwrap_or_default();
    let head_bytes = exchange.response.end as usize;
    let held = awaited.measure.advance(body);
    let held = held.map_err(|error| error.after(head_bytes, 0))?;
    let is_over = has_ended || bytes.len() >= core.head_bytes_max;
    let is_here = is_over || awaited.is_enough(held);
    if is_here {
        exchange.awaited = None;
    }
    Ok(is_here)
}

/// The response's body did not come in time. HAProxy's termination state is the one of a request.
pub(super) fn response_expired(stream: &mut Stream, core: &mut Core) -> Step {
    http::forget_response(stream);
    finish::count_failed_response(stream, core);
    track::count(stream, core, Event::Failure);
    reply::answer(stream, core, 504, Cause::ServerTimeout, Phase::Request)
}
