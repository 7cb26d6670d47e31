//! TCP streams, and HTTP streams that have become tunnels: bytes in both directions, whatever they are.

use super::exchange::in_flight;
use super::inspect::{Inspected, Inspection};
use super::{Core, ROUNDS_MAX, State, Step, Stream, decide, finish, handover, inspect, log};
use crate::log::{Cause, Phase};
use crate::net::ReadResult;

/// A TCP stream starts at once: its backend does not depend on bytes.
pub(super) fn begin(stream: &mut Stream, core: &mut Core) -> Step {
    // What followed a PROXY header is there already.
    let mut exchange = match stream.exchange.take() {
        Some(exchange) => exchange,
        None => core.tcp_exchanges.take(),
    };
    exchange.begin(core.now_ms, core.wall);
    exchange.up.become_raw();
    exchange.down.become_raw();
    exchange.number = core.requests_begun;
    core.requests_begun += 1;
    exchange.begin_captures(&core.proxies[stream.frontend as usize].spec);
    stream.exchange = Some(exchange);
    log::log_start(stream, core);
    decide::decide(stream, core)
}

/// The server connection stands.
pub(super) fn established(stream: &mut Stream, core: &mut Core) -> Step {
    let exchange = in_flight(&mut stream.exchange);
    let (backend, server) = (exchange.backend_index(), exchange.server_index());
    // What follows is no answer that could wait.
    let _ = handover::store(&mut exchange.stores, core, backend, server);
    exchange.has_response = true;
    exchange.vars.get_mut().begin_response();
    log::log_early(stream, core);
    inspect::begin(stream, core);
    // What the rules say without data is done before the client's first byte goes out.
    match inspect::run(stream, core, false) {
        Ok(_) => stream.enter(State::Tunnel, core.now_ms),
        Err(step) => step,
    }
}

/// State `Tunnel`: moves bytes both ways; the end of one direction is passed on, the end of both is the end.
pub(super) fn relay(stream: &mut Stream, core: &mut Core) -> Step {
    for _ in 0..ROUNDS_MAX {
        match relay_once(stream, core) {
            Ok(true) => {}
            Ok(false) => return Step::Wait,
            Err(End::Both | End::Decided) => return Step::Close,
            Err(End::Client) => return broken(stream, core, Cause::ClientAbort),
            Err(End::Server) => return broken(stream, core, Cause::ServerAbort),
        }
    }
    core.go_on_later(stream);
    Step::Wait
}

enum End {
    Both,
    Client,
    Server,
    /// A rule wants it.
    Decided,
}

/// One round; whether anything moved.
fn relay_once(stream: &mut Stream, core: &mut Core) -> Result<bool, End> {
    let entrance = stream.entrance();
    let exchange = in_flight(&mut stream.exchange);
    core.pool.at(exchange.link_index()).connection.make_prompt();
    let (mut has_moved, mut holds_back) = (false, false);
    if !exchange.up.is_complete && stream.client.may_read() && exchange.up.has_room() {
        match stream.receive(core).map_err(|_| End::Client)? {
            ReadResult::Bytes(_) => has_moved = true,
            ReadResult::End => in_flight(&mut stream.exchange).up.is_complete = true,
            ReadResult::WouldBlock => {}
        }
    }
    let exchange = in_flight(&mut stream.exchange);
    let server = &mut core.pool.at(exchange.link_index()).connection;
    if !exchange.down.is_complete && server.may_read() && exchange.down.has_room() {
        match exchange
            .down
            .fill(server, &mut core.buffers)
            .map_err(|_| End::Server)?
        {
            ReadResult::Bytes(_) => {
                exchange.times.response_ms.get_or_insert(core.now_ms);
                stream.server_active_ms = core.now_ms;
                has_moved = true;
            }
            ReadResult::End => exchange.down.is_complete = true,
            ReadResult::WouldBlock => {}
        }
    }
    // The client's end may have been read while the server connection was still being made.
    exchange.up.is_complete |= stream.client.is_read_closed();
    exchange.up.take_raw();
    if exchange.inspection.is_due() {
        let has_ended = exchange.down.is_complete;
        if inspect::run(stream, core, has_ended).map_err(|_| End::Decided)? == Inspected::Waits {
            holds_back = true;
        }
    }
    let exchange = in_flight(&mut stream.exchange);
    let server = &mut core.pool.at(exchange.link_index()).connection;
    if !holds_back {
        exchange.down.take_raw();
    }
    if exchange.up.has_unsent() && server.may_write() {
        let was_full = !exchange.up.has_room();
        let sent = exchange
            .up
            .flush(server, &exchange.request.headers)
            .map_err(|_| End::Server)?;
        if sent > 0 {
            stream.server_active_ms = core.now_ms;
            // The client may speak again: its time begins now.
            if was_full && !exchange.down.has_unsent() {
                stream.client_active_ms = core.now_ms;
            }
            has_moved = true;
        }
    }
    if exchange.down.has_unsent() && stream.client.may_write() {
        let was_full = !exchange.down.has_room();
        let sent = exchange
            .down
            .flush(&mut stream.client, &exchange.response.headers)
            .map_err(|_| End::Client)?;
        if sent > 0 {
            finish::count_bytes_out(exchange, core, entrance, sent);
            stream.client_active_ms = core.now_ms;
            if was_full && !exchange.up.has_unsent() {
                stream.server_active_ms = core.now_ms;
            }
            has_moved = true;
        }
    }
    if exchange.inspection == Inspection::Closed {
        exchange.down.is_complete = true;
        if exchange.down.is_finished() {
            return Err(End::Both);
        }
    }
    if exchange.up.is_finished() && exchange.down.is_finished() && !holds_back {
        return Err(End::Both);
    }
    let server = &mut core.pool.at(exchange.link_index()).connection;
    // `timeout server-fin` and `client-fin` count from here.
    if exchange.up.is_finished() && !server.is_write_closed() {
        server.shutdown_write();
        stream.server_active_ms = core.now_ms;
    }
    if exchange.down.is_finished() && !holds_back && !stream.client.is_write_closed() {
        stream.client.shutdown_write();
        stream.client_active_ms = core.now_ms;
    }
    // An idle tunnel holds no buffer.
    core.buffers.detach_if_empty(&mut exchange.up.buffer);
    core.buffers.detach_if_empty(&mut exchange.down.buffer);
    Ok(has_moved)
}

fn broken(stream: &mut Stream, core: &mut Core, cause: Cause) -> Step {
    let exchange = in_flight(&mut stream.exchange);
    exchange.termination.set(cause, Phase::Data);
    match cause {
        Cause::ClientAbort => finish::count_client_abort(exchange, core),
        _ => finish::count_server_abort(exchange, core),
    }
    Step::Close
}
