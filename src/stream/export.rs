//! Metrics for Prometheus (`http-request use-service prometheus-exporter`): the service is to its stream what a server is, but for the connection.
//!
//! Its response goes through captures, counters and the response rules of the backend and the frontend like a server's, as in HAProxy. Its head is
//! written when the request asks for it; its body follows in chunks that fit the stream's buffer, the next one when the last has left. So
//! however many servers there are, a scrape takes one buffer, and gives the loop back after `ROUNDS_MAX` chunks.
//!
//! Not here: what the metrics say (`stats::prometheus`).

use super::exchange::{Service, in_flight};
use super::{Core, Step, Stream, reply, respond, track};
use crate::http::{Asked, Method, Parsed, Receiver, prepare_response, target};
use crate::log::{Cause, Phase};
use crate::stats::Counted;
use crate::stats::prometheus::{Export, Selection, Sources};
use std::rc::Rc;

const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncache-control: no-cache\r\ncontent-type: text/plain; version=0.0.4\r\n\
    transfer-encoding: chunked\r\n\r\n";

/// What a chunk needs around its data: its size, three line ends, and the last chunk with the end of the body.
const CHUNK_FRAME_BYTES: usize = 16;

/// Answers the request with metrics.
pub(super) fn answer(stream: &mut Stream, core: &mut Core) -> Step {
    reply::count_intercepted(stream, core);
    let exchange = in_flight(&mut stream.exchange);
    exchange.termination.set(Cause::Local, Phase::Request);
    let now = Some(core.now_ms);
    exchange.times.assigned_ms = now;
    exchange.times.connected_ms = now;
    exchange.times.response_ms = now;
    let wanted = exchange.request.target(exchange.up.buffer.filled());
    let selection = Selection::parse(target::query(wanted));
    exchange.service = match selection {
        Some(selection) => Service::Exports(Export::new(selection)),
        None => Service::Over,
    };
    let has_whole_request = reply::begin_answer(stream, core, false);
    let exchange = in_flight(&mut stream.exchange);
    match selection {
        Some(_) => exchange.down.load(HEAD, &mut core.buffers),
        None => {
            // HAProxy's service has a page of its own, whatever the configuration says.
            let page = Rc::clone(reply::builtin(&core.pages, 400));
            exchange.keep_client = false;
            exchange.logged_bytes += page.logged_head_bytes();
            let message = page.message(exchange.request.client_method);
            // Whoever asks for the head alone: the log counts the page.
            exchange.logged_bytes += (page.message(Method::Get).len() - message.len()) as u64;
            exchange.down.load(message, &mut core.buffers);
        }
    }
    match deliver(stream, core) {
        Ok(()) => reply::finish_answer(stream, core, has_whole_request),
        Err(step) => {
            // Something else is answered, or nothing.
            in_flight(&mut stream.exchange).service = Service::Over;
            step
        }
    }
}

/// The head of the response is in the buffer: takes it through the rules, and puts it on its way.
fn deliver(stream: &mut Stream, core: &mut Core) -> Result<(), Step> {
    let exchange = in_flight(&mut stream.exchange);
    let wants_head = exchange.request.client_method == Method::Head;
    let asked = Asked {
        method: if wants_head {
            Method::Head
        } else {
            Method::Get
        },
        upgrade: false,
    };
    exchange.response.reset();
    let parsed = exchange
        .response
        .parse(exchange.down.buffer.filled(), asked);
    if parsed != Ok(Parsed::Complete) {
        // It does not fit this configuration's buffers.
        return Err(Step::Close);
    }
    let status = exchange.response.status;
    exchange.status = Some(status);
    if exchange.service != Service::Over {
        exchange.count_logged_head();
    }
    exchange.has_response = true;
    exchange.vars.get_mut().begin_response();
    exchange.capture_response(&core.proxies[stream.frontend as usize].spec);
    track::count_status(stream, core, status);
    while !respond::run_response_rules(stream, core)? {
        // A rule waits for the body; it is as good as here.
        let exchange = in_flight(&mut stream.exchange);
        exchange.awaited = None;
        exchange.notes.has_waited = true;
    }
    if !respond::run_after_rules(stream, core) {
        return Err(respond::after_rules_failed(stream, core));
    }
    let exchange = in_flight(&mut stream.exchange);
    exchange.has_response = false;
    exchange.status = Some(exchange.response.status);
    if exchange.request.client_method == Method::Connect && exchange.response.status < 300 {
        // To its client a tunnel begins here.
        exchange.keep_client = false;
    }
    let receiver = Receiver {
        version: exchange.request.version,
        wants_head,
        asked_head: wants_head,
    };
    let delivery = prepare_response(
        &mut exchange.response,
        exchange.down.buffer.filled(),
        receiver,
        exchange.keep_client,
    )
    .map_err(|_| Step::Close)?;
    exchange.keep_client = delivery.keep_client;
    exchange
        .down
        .take_response(&exchange.response, delivery.body);
    exchange.down.take_body().map_err(|_| Step::Close)?;
    match write_chunk(stream, core) {
        Progress::Stuck => Err(Step::Close),
        _ => Ok(()),
    }
}

/// What came of asking for the next chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// There is something to send, or there will be when asked again.
    More,
    /// Nothing follows.
    Over,
    /// A line is longer than the buffer.
    Stuck,
}

/// Puts the next chunk into the buffer.
pub(super) fn write_chunk(stream: &mut Stream, core: &mut Core) -> Progress {
    let exchange = in_flight(&mut stream.exchange);
    let Service::Exports(export) = &mut exchange.service else {
        return Progress::Over;
    };
    core.buffers.attach(&mut exchange.down.buffer);
    let room = exchange.down.buffer.room();
    let bytes_max = room.saturating_sub(CHUNK_FRAME_BYTES);
    let info = core.vitals.info(Counted {
        now_ms: core.now_ms,
        connections: core.connections,
        connections_max: core.connections_max,
        logs_dropped: core.logger.dropped(),
        process: &core.process,
    });
    let sources = Sources {
        info: &info,
        proxies: &core.proxies,
        tables: &core.tables,
        now_ms: core.now_ms,
    };
    let before = *export;
    core.exported.clear();
    let has_more = export.write_piece(&mut core.exported, bytes_max, &sources);
    let is_stuck = core.exported.is_empty() && *export == before;
    if has_more && is_stuck && exchange.down.buffer.is_empty() {
        return Progress::Stuck;
    }
    if !has_more {
        exchange.service = Service::Over;
    }
    if exchange.request.client_method == Method::Head {
        // As in HAProxy, the log counts what would have been sent.
        exchange.logged_bytes += core.exported.len() as u64;
        return Progress::More;
    }
    match exchange.down.take_chunk(&core.exported, !has_more) {
        Ok(()) => Progress::More,
        Err(_) => Progress::Stuck,
    }
}
