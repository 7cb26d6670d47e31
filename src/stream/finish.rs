//! How an exchange ends: its connection parked or closed, its place given back, its numbers counted.
//!
//! Not here: what its log line says (`log`).

use super::exchange::{Exchange, in_flight};
use super::{Core, Pool, ROUNDS_MAX, State, Step, Stream, log, track};
use crate::backend::Proxy;
use crate::backend::counters::FrontEvent;
use crate::config::model::Mode;
use crate::net::ReadResult;
use crate::reactor::Buffer;

/// The response is sent: what becomes of the two connections?
pub(super) fn complete(stream: &mut Stream, core: &mut Core) -> Step {
    log_and_count(stream, core);
    track::end_request(stream, core);
    (stream.turn_ms, stream.turn_began) = (core.now_ms, core.wall);
    let exchange = in_flight(&mut stream.exchange);
    let is_request_done = exchange.up.is_finished();
    exchange.up.forget_kept();
    exchange.keep_server &= is_request_done && exchange.down.buffer.is_empty();
    leave_server(exchange, core);
    core.buffers.detach(&mut exchange.down.buffer);
    // A client that sent all its requests and its end at once waits for all the answers.
    let has_more = !exchange.up.buffer.is_empty() || !stream.client.is_read_closed();
    // A soft stop that began after the response's head: the client was not told, but between two requests it must expect a
    // close at any time.
    let is_last = core.is_stopping && exchange.up.buffer.is_empty();
    if exchange.keep_client && is_request_done && has_more && !is_last {
        stream.enter(State::Idle, core.now_ms);
        let exchange = in_flight(&mut stream.exchange);
        if exchange.up.buffer.is_empty() && !stream.client.may_read() {
            give_back(stream, core);
        } else {
            exchange.begin(core.now_ms, core.wall);
        }
        return Step::Again;
    }
    stream.client.look();
    let all_was_read =
        is_request_done && exchange.up.buffer.is_empty() && !stream.client.may_read();
    if all_was_read || stream.client.is_read_closed() {
        return Step::Close;
    }
    give_back(stream, core);
    stream.enter(State::Linger, core.now_ms)
}

/// The stream is removed, whatever it was doing.
pub(super) fn close(stream: &mut Stream, core: &mut Core) {
    log_and_count(stream, core);
    track::end_request(stream, core);
    track::end_connection(stream, core);
    let exchange = stream.exchange.as_ref();
    let is_broken_off = stream.state == State::Transfer
        && exchange.is_some_and(|exchange| exchange.down.would_look_whole());
    if is_broken_off {
        stream.client.close_with_reset();
    }
    if let Some(exchange) = stream.exchange.as_mut() {
        exchange.keep_server = false;
        leave_server(exchange, core);
    }
    close_own_connections(stream, core);
    give_back(stream, core);
    let options = &core.proxies[stream.frontend as usize].spec.options;
    if options.no_linger && !is_broken_off {
        // The client sees an end in order first; only what is left of the connection after that is cut short.
        stream.client.shutdown_write();
    }
}

/// What only this client may use goes with it.
fn close_own_connections(stream: &Stream, core: &mut Core) {
    let proxies = &mut core.proxies;
    while let Some((proxy, server)) = core.pool.close_own(stream.key) {
        proxies[proxy].servers[server].idle_connections -= 1;
    }
}

fn give_back(stream: &mut Stream, core: &mut Core) {
    if let Some(exchange) = stream.exchange.take() {
        let pool = match core.proxies[stream.frontend as usize].spec.mode {
            Mode::Tcp => &mut core.tcp_exchanges,
            Mode::Http => &mut core.exchanges,
        };
        pool.give(exchange, &mut core.buffers);
    }
}

/// Gives back all that an exchange holds of its backend: place in a queue, connection, place on the server.
pub(super) fn leave_server(exchange: &mut Exchange, core: &mut Core) {
    let Some(backend) = exchange.backend else {
        return;
    };
    if let Some((place, queue)) = exchange.waiting.take() {
        core.proxies[backend].dequeue(place, queue);
    }
    if let Some(link) = exchange.link.take() {
        let link_server = core.pool.at(link).server;
        let has_room = |pool: &Pool, max: Option<u32>| {
            max.is_none_or(|max| pool.idle_count(link_server) < max as usize)
        };
        let is_never_shared = core.proxies[backend].is_never_shared(link_server.1);
        let server = &mut core.proxies[backend].servers[link_server.1];
        let connection = core.pool.at(link);
        // What only its client may use again is not the pool's, which has a limit.
        let is_own = is_never_shared || connection.is_private();
        if exchange.keep_server {
            connection.connection.look();
        }
        // What may be waiting in the socket was not asked for: the next request must not take it for its answer.
        let is_clean = exchange.keep_server
            && !connection.connection.is_hung_up()
            && !connection.connection.may_read()
            && connection.address_version == server.address_version;
        if is_clean && server.is_up() && (is_own || has_room(&core.pool, server.spec.pool_max)) {
            server.idle_connections += 1;
            core.pool.park(link, is_own, core.now_ms);
        } else if server.maxconn > 0 {
            // It may count its connections itself: the next one must find this one gone.
            core.pool.close(link);
        } else {
            core.pool.close_later(link);
        }
    }
    if let Some(server) = exchange.server
        && exchange.holds_place
    {
        release_place(exchange, core, backend, server);
    }
    if std::mem::replace(&mut exchange.has_left, true) {
        return;
    }
    let proxy = &mut core.proxies[backend];
    proxy.sessions -= 1;
}

/// Gives a place on a server back, to whoever waits for it.
pub(super) fn release_place(
    exchange: &mut Exchange,
    core: &mut Core,
    backend: usize,
    server: usize,
) {
    if std::mem::replace(&mut exchange.holds_place, false) {
        let proxy = &mut core.proxies[backend];
        proxy.release(server);
        core.serve_queues(backend, server);
    }
}

/// Counts a request.
pub(super) fn count_request(core: &mut Core, frontend: usize) {
    let counters = &mut core.proxies[frontend].frontend_counters;
    counters.request_rate.count(core.now_ms);
    counters.requests_total += 1;
    core.process.requests_total += 1;
}

/// Counts a request that was bad or incomplete: it is a request too, as HAProxy counts.
pub(super) fn count_failed_request(core: &mut Core, entrance: (usize, usize)) {
    core.count_front(entrance, FrontEvent::RequestFailed);
    count_request(core, entrance.0);
}

/// Counts the response of a server, whatever becomes of it.
pub(super) fn count_server_response(exchange: &Exchange, core: &mut Core) {
    if let (Some(backend), Some(server)) = (exchange.backend, exchange.server) {
        let counters = &mut core.proxies[backend].servers[server].counters;
        counters.requests_total += 1;
        counters.responses.count(exchange.response.status);
    }
}

/// Counts the rewrites that failed in the rules that were just evaluated.
pub(super) fn count_rewrites(stream: &mut Stream, core: &mut Core) {
    let Some(exchange) = stream.exchange.as_mut() else {
        return;
    };
    let failed = u64::from(std::mem::take(&mut exchange.notes.rewrites_failed));
    if failed == 0 {
        return;
    }
    core.proxies[stream.frontend as usize]
        .frontend_counters
        .rewrites_failed += failed;
    if let Some(backend) = exchange.backend {
        let proxy = &mut core.proxies[backend];
        proxy.backend_counters.rewrites_failed += failed;
        if let Some(server) = exchange.server {
            proxy.servers[server].counters.rewrites_failed += failed;
        }
    }
}

/// Counts bytes from the client.
pub(super) fn count_bytes_in(
    exchange: &mut Exchange,
    proxies: &mut [Proxy],
    (frontend, bind): (usize, usize),
    count: usize,
) {
    let count = count as u64;
    proxies[frontend].count_front(bind, FrontEvent::BytesIn(count));
    exchange.untold_bytes_in.0 += count;
    exchange.untold_bytes_in.1 += count;
    tell_bytes_in(exchange, proxies);
}

/// Tells backend and server, where they are known, of the bytes that have come so far.
pub(super) fn tell_bytes_in(exchange: &mut Exchange, proxies: &mut [Proxy]) {
    let Some(backend) = exchange.backend else {
        return;
    };
    let proxy = &mut proxies[backend];
    proxy.backend_counters.bytes_in += std::mem::take(&mut exchange.untold_bytes_in.0);
    if let Some(server) = exchange.server {
        let counters = &mut proxy.servers[server].counters;
        counters.bytes_in += std::mem::take(&mut exchange.untold_bytes_in.1);
    }
}

/// Counts bytes to the client.
pub(super) fn count_bytes_out(
    exchange: &Exchange,
    core: &mut Core,
    (frontend, bind): (usize, usize),
    count: usize,
) {
    let (count, proxies) = (count as u64, &mut core.proxies);
    core.process.bytes_out += count;
    proxies[frontend].count_front(bind, FrontEvent::BytesOut(count));
    if let Some(backend) = exchange.backend {
        let proxy = &mut proxies[backend];
        proxy.backend_counters.bytes_out += count;
        if let Some(server) = exchange.server {
            proxy.servers[server].counters.bytes_out += count;
        }
    }
}

/// Counts a transfer that the client aborted.
pub(super) fn count_client_abort(exchange: &Exchange, core: &mut Core) {
    if let Some(backend) = exchange.backend {
        let proxy = &mut core.proxies[backend];
        proxy.backend_counters.client_aborts += 1;
        if let Some(server) = exchange.server {
            proxy.servers[server].counters.client_aborts += 1;
        }
    }
}

/// Counts a transfer that the server aborted.
pub(super) fn count_server_abort(exchange: &Exchange, core: &mut Core) {
    if let Some(backend) = exchange.backend {
        let proxy = &mut core.proxies[backend];
        proxy.backend_counters.server_aborts += 1;
        if let Some(server) = exchange.server {
            proxy.servers[server].counters.server_aborts += 1;
        }
    }
}

/// Counts a response that was bad or did not come.
pub(super) fn count_failed_response(stream: &mut Stream, core: &mut Core) {
    let Some(Exchange {
        backend: Some(backend),
        server,
        ..
    }) = stream.exchange.as_deref()
    else {
        return;
    };
    let proxy = &mut core.proxies[*backend];
    proxy.backend_counters.responses_failed += 1;
    if let Some(server) = *server {
        proxy.servers[server].counters.responses_failed += 1;
    }
}

/// Counts how the exchange ended and writes its log line, once.
fn log_and_count(stream: &mut Stream, core: &mut Core) {
    let Some(exchange) = stream.exchange.as_mut() else {
        return;
    };
    if std::mem::replace(&mut exchange.is_logged, true) {
        return;
    }
    let is_http = core.proxies[stream.frontend as usize].spec.mode == Mode::Http;
    if is_http && exchange.status.is_none() && stream.state == State::Idle && stream.requests > 0 {
        return;
    }
    count(stream, core, is_http);
    let exchange = in_flight(&mut stream.exchange);
    let frontend = &core.proxies[stream.frontend as usize];
    if exchange.is_logged_early || frontend.spec.log_format.is_connect() {
        return;
    }
    // `option dontlognull`: a client that says nothing is a probe. HTTP has looked at that where it waits for a head.
    let is_null = !is_http && exchange.received_total() == 0 && exchange.up.buffer.is_empty();
    if is_null && frontend.spec.options.dont_log_null {
        return;
    }
    log::write_line(stream, core, false);
}

/// Counts the response by class, and the times of its stages.
fn count(stream: &mut Stream, core: &mut Core, is_http: bool) {
    let exchange = in_flight(&mut stream.exchange);
    if is_http {
        core.proxies[stream.frontend as usize]
            .frontend_counters
            .responses
            .count(exchange.status.unwrap_or(0));
    }
    let Some(backend) = exchange.backend else {
        return;
    };
    let times = log::timers(exchange, stream.turn_ms, core.now_ms);
    let stages = [
        times.queue_ms,
        times.connect_ms,
        times.response_ms,
        Some(times.active_ms),
    ]
    .map(|ms| ms.unwrap_or(0));
    let proxy = &mut core.proxies[backend];
    let was_served = exchange.has_response;
    if is_http {
        proxy
            .backend_counters
            .responses
            .count(exchange.status.unwrap_or(0));
    }
    if was_served {
        proxy
            .backend_counters
            .times
            .add(stages[0], stages[1], stages[2], stages[3]);
    }
    if let Some(server) = exchange.server {
        let counters = &mut proxy.servers[server].counters;
        if was_served {
            counters
                .times
                .add(stages[0], stages[1], stages[2], stages[3]);
        }
    }
}

/// State `Linger`: what the client still sends is read and dropped; closing at once would reset the connection and
/// could destroy our answer before it is read.
pub(super) fn linger(stream: &mut Stream, core: &mut Core) -> Step {
    stream.client.shutdown_write();
    let mut buffer = Buffer::default();
    core.buffers.attach(&mut buffer);
    let mut step = Step::Wait;
    for _ in 0..ROUNDS_MAX {
        if !stream.client.may_read() {
            break;
        }
        match stream.client.read(&mut buffer) {
            Ok(ReadResult::Bytes(count)) => {
                buffer.consume(count);
                stream.client_active_ms = core.now_ms;
            }
            Ok(ReadResult::WouldBlock) => break,
            Ok(ReadResult::End) | Err(_) => {
                step = Step::Close;
                break;
            }
        }
    }
    if step == Step::Wait && stream.client.may_read() {
        core.go_on_later(stream);
    }
    core.buffers.detach(&mut buffer);
    step
}
