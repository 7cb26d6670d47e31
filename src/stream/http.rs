//! HTTP streams: read a request, decide, forward both messages, answer what cannot be forwarded.

use std::io;

use super::exchange::{Exchange, in_flight};
use super::inspect::Inspected;
use super::{
    Core, OwnServer, ROUNDS_MAX, State, Step, Stream, body, connect, cookies, decide, export,
    finish, handover, inspect, invalid, log, reply, respond, retry, route, track,
};
use crate::backend::counters::FrontEvent;
use crate::backend::sticky;
use crate::config::model::{ConnectionMode, RetryOn, Reuse};
use crate::http::{
    BodyForm, Framing, HeadEdit, HeadError, Held, Parsed, Receiver, Version, connection as hop,
};
use crate::log::{Cause, Phase};
use crate::net::ReadResult;
use crate::stick::tracked::Event;

/// States `Idle` and `Head`: reads until a request head is complete.
pub(super) fn read_request(stream: &mut Stream, core: &mut Core) -> Step {
    if stream.exchange.is_none() {
        if !stream.client.may_read() {
            return Step::Wait;
        }
        let mut exchange = core.exchanges.take();
        exchange.begin(core.now_ms, core.wall);
        stream.exchange = Some(exchange);
    }
    loop {
        let exchange = in_flight(&mut stream.exchange);
        if !exchange.up.buffer.is_empty() {
            if stream.state == State::Idle {
                stream.requests += 1;
                stream.enter(State::Head, core.now_ms);
            }
            let exchange = in_flight(&mut stream.exchange);
            let (head, bytes) = (&mut exchange.request, exchange.up.buffer.filled());
            let frontend = &core.proxies[stream.frontend as usize].spec;
            let parsed = match frontend.options.accept_invalid_request {
                false => head.parse(bytes),
                true => head.parse_relaxed(bytes),
            };
            match parsed {
                Ok(Parsed::Complete) if exchange.request.end as usize <= core.head_bytes_max => {
                    return match fault_behind_head(exchange) {
                        None => {
                            if let Some(error) = exchange.request.tolerated {
                                invalid::keep_tolerated_request(stream, core, error);
                            }
                            begin_request(stream, core)
                        }
                        Some(error) => refuse(stream, core, error),
                    };
                }
                Ok(Parsed::Incomplete) if exchange.up.buffer.len() < core.head_bytes_max => {}
                Ok(_) => {
                    let error = HeadError::too_large(exchange.up.buffer.len(), true);
                    return refuse(stream, core, error);
                }
                Err(error) => return refuse(stream, core, error),
            }
        }
        if !stream.client.may_read() {
            return match stream.client.is_read_closed() {
                true => client_left(stream, core),
                false => rest(stream, core),
            };
        }
        match stream.receive(core) {
            Ok(ReadResult::Bytes(_)) => {}
            Ok(ReadResult::WouldBlock) => return rest(stream, core),
            Ok(ReadResult::End) | Err(_) => return client_left(stream, core),
        }
    }
}

/// What is wrong with the chunks that came together with their head: such a request never was one.
fn fault_behind_head(exchange: &Exchange) -> Option<HeadError> {
    if exchange.request.framing != Framing::Chunked {
        return None;
    }
    let head_bytes = exchange.request.end;
    let body = exchange.up.buffer.filled().get(head_bytes as usize..)?;
    let measured = Held::measure(exchange.request.framing, body);
    let error = measured.err()?;
    Some(error.after(head_bytes as usize, 0))
}

/// Nothing to read now: an idle connection gives its exchange back.
fn rest(stream: &mut Stream, core: &mut Core) -> Step {
    if stream.state == State::Idle
        && let Some(exchange) = stream.exchange.take()
    {
        core.exchanges.give(exchange, &mut core.buffers);
    }
    Step::Wait
}

/// The client closed before a complete request.
fn client_left(stream: &mut Stream, core: &mut Core) -> Step {
    if stream.state == State::Idle && stream.requests > 0 {
        return Step::Close;
    }
    finish::count_failed_request(core, stream.entrance());
    track::count_bad_request(stream, core);
    let exchange = in_flight(&mut stream.exchange);
    if stream.state == State::Idle {
        // Nothing was ever said: a probe, or half a connection whose other half still reads. The wait since the accept is logged.
        let options = &core.proxies[stream.frontend as usize].spec.options;
        exchange.begin(stream.accepted_ms, stream.accepted);
        exchange.is_logged = options.dont_log_null || options.ignore_probes;
        if options.ignore_probes {
            return Step::Close;
        }
    }
    reply::answer(stream, core, 400, Cause::ClientAbort, Phase::Request)
}

/// The request cannot be understood.
fn refuse(stream: &mut Stream, core: &mut Core, error: HeadError) -> Step {
    invalid::keep_request(stream, core, error);
    finish::count_failed_request(core, stream.entrance());
    track::count_bad_request(stream, core);
    reply::answer(stream, core, error.status, Cause::Proxy, Phase::Request)
}

/// The head is complete: decide where it goes.
fn begin_request(stream: &mut Stream, core: &mut Core) -> Step {
    let exchange = in_flight(&mut stream.exchange);
    exchange.times.head_ms = Some(core.now_ms);
    let options = &core.proxies[stream.frontend as usize].spec.options;
    exchange.keep_client =
        options.connection != ConnectionMode::Close && exchange.request.keeps_alive();
    let frontend = &core.proxies[stream.frontend as usize];
    exchange.number = core.requests_begun;
    core.requests_begun += 1;
    exchange.begin_captures(&frontend.spec);
    track::measure_request(stream, core);
    decide::decide(stream, core)
}

/// The server connection stands: the request goes out.
pub(super) fn begin_transfer(stream: &mut Stream, core: &mut Core) -> Step {
    let exchange = in_flight(&mut stream.exchange);
    let backend = &core.proxies[exchange.backend_index()];
    if let Some(name) = &backend.spec.name_header {
        let server = &backend.servers[exchange.server_index()].spec.name;
        let edited = HeadEdit::Request(&mut exchange.request).set_header(
            exchange.up.buffer.filled(),
            name.as_bytes(),
            server.as_bytes(),
        );
        if edited.is_err() {
            return reply::answer(stream, core, 400, Cause::Proxy, Phase::Request);
        }
    }
    let exchange = in_flight(&mut stream.exchange);
    exchange.up.take_request(&exchange.request);
    if retry::keeps(stream, core) {
        in_flight(&mut stream.exchange).up.keep_for_replay();
    }
    let exchange = in_flight(&mut stream.exchange);
    if exchange.is_reused && exchange.up.take_body().is_ok() && exchange.up.is_complete {
        exchange.up.keep_for_replay();
    }
    stream.client_active_ms = core.now_ms;
    inspect::begin(stream, core);
    stream.enter(State::Transfer, core.now_ms)
}

/// Rounds of one turn that move a pipe of bytes each, and not a buffer.
const SPLICED_ROUNDS_MAX: usize = 4;

/// State `Transfer`: moves both messages on, as far as the sockets allow.
pub(super) fn transfer(stream: &mut Stream, core: &mut Core) -> Step {
    for round in 1..=ROUNDS_MAX {
        let moved = match move_request(stream, core) {
            Ok(moved) => moved,
            Err(step) => return step,
        };
        match move_response(stream, core) {
            Ok(false) if !moved => return Step::Wait,
            Ok(_) => {}
            Err(step) => return step,
        }
        let exchange = in_flight(&mut stream.exchange);
        if round >= SPLICED_ROUNDS_MAX && (exchange.up.is_spliced() || exchange.down.is_spliced()) {
            break;
        }
    }
    core.go_on_later(stream);
    Step::Wait
}

/// Client to server; whether anything moved.
fn move_request(stream: &mut Stream, core: &mut Core) -> Result<bool, Step> {
    let exchange = in_flight(&mut stream.exchange);
    let mut has_moved = false;
    if !exchange.up.is_complete && !exchange.up.has_room() {
        // It fits no buffer.
        exchange.up.forget_kept();
    }
    if !exchange.up.is_complete
        && !exchange.up.is_shut
        && stream.client.may_read()
        && exchange.up.has_room()
    {
        match stream.receive(core) {
            Ok(ReadResult::Bytes(_)) => has_moved = true,
            Ok(ReadResult::WouldBlock) => {}
            Ok(ReadResult::End) | Err(_) => return Err(abandoned(stream, core)),
        }
    }
    let exchange = in_flight(&mut stream.exchange);
    let has_left = stream.client.is_hung_up() && !exchange.has_response;
    if (has_left || stream.client.is_broken())
        && core.aborts_on_close(stream.frontend, exchange.backend)
    {
        return Err(abandoned(stream, core));
    }
    if let Err(error) = exchange.up.take_body() {
        let has_response = exchange.has_response;
        invalid::keep_request(stream, core, error);
        return Err(match has_response {
            true => {
                let exchange = in_flight(&mut stream.exchange);
                exchange.termination.set(Cause::Proxy, Phase::Data);
                finish::count_failed_request(core, stream.entrance());
                track::count(stream, core, Event::Error);
                Step::Close
            }
            false => {
                finish::count_failed_request(core, stream.entrance());
                track::count(stream, core, Event::Error);
                reply::answer(stream, core, error.status, Cause::Proxy, Phase::Headers)
            }
        });
    }
    let exchange = in_flight(&mut stream.exchange);
    if stream.client.is_read_closed() && !exchange.up.is_complete && !exchange.up.is_shut {
        // The end was read while the request still waited for its server.
        return Err(abandoned(stream, core));
    }
    let server = &mut core.pool.at(exchange.link_index()).connection;
    if exchange.up.has_unsent() && !exchange.up.is_shut && server.may_write() {
        if !exchange.up.fits_one_segment() {
            server.make_prompt();
        }
        let was_full = !exchange.up.has_room();
        match exchange.up.flush(server, &exchange.request.headers) {
            Ok(0) if server.is_assumed() => return Err(connect::stands_not_yet(stream, core)),
            Ok(0) => {}
            Ok(_) => {
                stream.server_active_ms = core.now_ms;
                // The client may speak again: its time begins now.
                if was_full && !exchange.down.has_unsent() {
                    stream.client_active_ms = core.now_ms;
                }
                has_moved = true;
            }
            // Dead before it took a byte: whatever is read on it, it is no answer to this request.
            Err(_) if exchange.is_reused && exchange.up.sent == 0 => {
                return Err(connect::replace_dead_connection(stream, core));
            }
            Err(error)
                if server.is_assumed() || error.kind() == io::ErrorKind::ConnectionRefused =>
            {
                return Err(connect::refused_late(stream, core));
            }
            // The server takes no more; it may have said why, so its side is still read.
            Err(_) => exchange.up.is_shut = true,
        }
    }
    exchange.up.leave_pipe(&mut core.pipes);
    if exchange.up.is_complete && !exchange.up.has_unsent() {
        core.buffers.detach_if_empty(&mut exchange.up.buffer);
    }
    Ok(has_moved)
}

/// The client went away, or broke its own message, while its request or our response was on the way.
fn abandoned(stream: &mut Stream, core: &mut Core) -> Step {
    let exchange = in_flight(&mut stream.exchange);
    let is_answerable =
        !exchange.has_response && exchange.up.is_complete && !stream.client.is_broken();
    let phase = if !is_answerable {
        Phase::Data
    } else {
        Phase::Headers
    };
    finish::count_client_abort(exchange, core);
    exchange.termination.set(Cause::ClientAbort, phase);
    if is_answerable {
        return reply::answer(stream, core, 400, Cause::ClientAbort, phase);
    }
    Step::Close
}

/// Server to client; whether anything moved.
fn move_response(stream: &mut Stream, core: &mut Core) -> Result<bool, Step> {
    let exchange = in_flight(&mut stream.exchange);
    let server = &mut core.pool.at(exchange.link_index()).connection;
    let mut has_moved = false;
    let mut has_ended = false;
    if !exchange.down.is_complete && server.may_read() && exchange.down.has_room() {
        if !exchange.has_response {
            exchange.stores.announce(&core.tables);
        }
        match exchange
            .down
            .fill_or_splice(server, &mut core.buffers, &mut core.pipes)
        {
            Ok(ReadResult::Bytes(_)) => {
                stream.server_active_ms = core.now_ms;
                has_moved = true;
            }
            Ok(ReadResult::WouldBlock) => {}
            Ok(ReadResult::End) => has_ended = true,
            // Its request went with the first packet: what was refused is the connection.
            Err(error)
                if server.is_assumed() || error.kind() == io::ErrorKind::ConnectionRefused =>
            {
                return Err(connect::refused_late(stream, core));
            }
            Err(_) => {
                exchange.down.cut();
                has_ended = true;
            }
        }
    } else if server.is_read_closed() && !exchange.down.is_complete {
        has_ended = true;
    }
    if !exchange.has_response {
        match inspect::run(stream, core, has_ended)? {
            Inspected::Waits => return Ok(has_moved),
            Inspected::Passed => {}
            Inspected::Closed => has_ended = true,
        }
        read_response_heads(stream, core)?;
    }
    if in_flight(&mut stream.exchange).response_progress.is_some()
        && !rules_go_on(stream, core, has_ended)?
    {
        return Ok(has_moved);
    }
    let exchange = in_flight(&mut stream.exchange);
    if stream.state == State::Tunnel {
        return Err(Step::Again);
    }
    if exchange.has_response {
        if let Err(error) = exchange.down.take_body() {
            invalid::keep_response(stream, core, error);
            let exchange = in_flight(&mut stream.exchange);
            finish::count_server_abort(exchange, core);
            exchange.termination.set(Cause::Proxy, Phase::Data);
            return Err(Step::Close);
        }
        if has_ended && exchange.down.is_drained() {
            exchange.down.end();
        }
    }
    has_moved |= flush_response(stream, core)?;
    let exchange = in_flight(&mut stream.exchange);
    exchange.down.leave_pipe(&mut core.pipes);
    if exchange.is_answered() {
        let server = &core.pool.at(exchange.link_index()).connection;
        // The server may answer before it has the whole request and still want the rest; the client sends on in any case,
        // unless it waits for leave to begin.
        let is_refused = exchange.awaits_leave();
        let is_over = exchange.up.is_finished() || exchange.up.is_shut || server.is_hung_up();
        if is_over || is_refused {
            return Err(finish::complete(stream, core));
        }
        return Ok(has_moved);
    }
    if has_ended && !exchange.has_response {
        return Err(no_response(stream, core));
    }
    if has_ended
        && !exchange.down.is_complete
        && exchange.down.is_drained()
        && !exchange.down.has_unsent()
    {
        // Cut off in the middle: the client must see that, so its connection is closed too.
        finish::count_server_abort(exchange, core);
        exchange.termination.set(Cause::ServerAbort, Phase::Data);
        finish::count_failed_response(stream, core);
        return Err(Step::Close);
    }
    Ok(has_moved)
}

fn flush_response(stream: &mut Stream, core: &mut Core) -> Result<bool, Step> {
    let entrance = stream.entrance();
    let exchange = in_flight(&mut stream.exchange);
    if !exchange.down.has_unsent() || !stream.client.may_write() {
        return Ok(false);
    }
    if exchange.held_until > 0 && core.handover.holds_back(stream.key, exchange.held_until) {
        return Ok(false);
    }
    let was_full = !exchange.down.has_room();
    match exchange
        .down
        .flush(&mut stream.client, &exchange.response.headers)
    {
        Ok(count) => {
            finish::count_bytes_out(exchange, core, entrance, count);
            stream.client_active_ms = core.now_ms;
            if count > 0 && was_full && !exchange.up.has_unsent() {
                stream.server_active_ms = core.now_ms;
            }
            Ok(count > 0)
        }
        Err(_) => {
            finish::count_client_abort(exchange, core);
            exchange.termination.set(Cause::ClientAbort, Phase::Data);
            Err(Step::Close)
        }
    }
}

/// Parses the head of the response that has come, as its backend wants it done.
pub(super) fn parse_response(exchange: &mut Exchange, core: &Core) -> Result<Parsed, HeadError> {
    let backend = &core.proxies[exchange.backend_index()].spec;
    let (bytes, asked) = (exchange.down.buffer.filled(), exchange.request.asked());
    match backend.options.accept_invalid_response {
        false => exchange.response.parse(bytes, asked),
        true => exchange.response.parse_relaxed(bytes, asked),
    }
}

/// Interim responses that one stream takes in one turn: each is a parse and a write, however many of them fit a buffer.
const INTERIMS_PER_TURN: u32 = 32;

/// Reads response heads: interim ones go to the client one by one, the final one is prepared and stays.
fn read_response_heads(stream: &mut Stream, core: &mut Core) -> Result<(), Step> {
    let mut interims = 0;
    loop {
        let exchange = in_flight(&mut stream.exchange);
        if exchange.down.is_complete {
            // An interim response that is on its way to the client.
            if !exchange.down.is_finished() {
                flush_response(stream, core)?;
            }
            let exchange = in_flight(&mut stream.exchange);
            if !exchange.down.is_finished() {
                return Ok(());
            }
            exchange.response.reset();
            exchange.down.next_message();
            continue;
        }
        if exchange.down.buffer.is_empty() {
            return Ok(());
        }
        if interims == INTERIMS_PER_TURN {
            // A server that floods its client keeps no other one waiting.
            core.go_on_later(stream);
            return Err(Step::Wait);
        }
        let parsed = parse_response(exchange, core);
        match parsed {
            Ok(Parsed::Incomplete) if exchange.down.buffer.len() < core.head_bytes_max => {
                return Ok(());
            }
            Ok(Parsed::Complete) if exchange.response.end as usize <= core.head_bytes_max => {}
            Ok(_) => {
                let error = HeadError::too_large(exchange.down.buffer.len(), false);
                invalid::keep_response(stream, core, error);
                return Err(bad_response(stream, core));
            }
            Err(error) => {
                invalid::keep_response(stream, core, error);
                return Err(bad_response(stream, core));
            }
        }
        if let Some(error) = exchange.response.tolerated {
            invalid::keep_tolerated_response(stream, core, error);
        }
        let exchange = in_flight(&mut stream.exchange);
        if let Some(reason) = RetryOn::status(exchange.response.status)
            && let Some(step) = retry::try_again(stream, core, reason)
        {
            return Err(step);
        }
        let exchange = in_flight(&mut stream.exchange);
        exchange.up.forget_kept();
        exchange.count_logged_head();
        if !exchange.response.is_interim() {
            return final_head(stream, core);
        }
        interims += 1;
        if exchange.response.status == 100 {
            exchange.request.expects_continue = false;
        }
        if exchange.request.version == Version::Http10 {
            // It does not know interim responses.
            exchange.down.skip(exchange.response.end as usize);
            exchange.response.reset();
            continue;
        }
        let (response, down) = (&mut exchange.response, &mut exchange.down);
        let receiver = Receiver::of(&exchange.request);
        if hop::prepare_response(response, down.buffer.filled(), receiver, true).is_err() {
            return Err(bad_response(stream, core));
        }
        down.take_response(response, BodyForm::Chunked);
    }
}

/// `stick store-response` and its like, then all that was noted is stored.
fn store_sticky(stream: &mut Stream, core: &mut Core) {
    let exchange = in_flight(&mut stream.exchange);
    let (backend_index, server_index) = (exchange.backend_index(), exchange.server_index());
    let rules = &core.proxies[backend_index].spec.stick_rules;
    if rules.is_empty() {
        return;
    }
    let mut stores = std::mem::take(&mut exchange.stores);
    if sticky::asks_for_response(rules) {
        let exchange = stream.exchange.as_ref().expect("in flight");
        let proxies = (&core.proxies, stream.frontend as usize, Some(backend_index));
        let mut cx = route::context(
            stream,
            exchange,
            proxies,
            (core.now_ms, core.wall),
            (&core.samples, &core.pool),
            (&mut core.sniffed, &mut core.tables, &mut core.scratch),
        );
        sticky::match_response(rules, &mut cx, &mut stores);
    }
    let learnt = handover::store(&mut stores, core, backend_index, server_index);
    let exchange = in_flight(&mut stream.exchange);
    exchange.stores = stores;
    exchange.held_until = learnt;
}

/// The final response head is there.
fn final_head(stream: &mut Stream, core: &mut Core) -> Result<(), Step> {
    let exchange = in_flight(&mut stream.exchange);
    exchange.times.response_ms = Some(core.now_ms);
    exchange.has_response = true;
    exchange.vars.get_mut().begin_response();
    let status = exchange.response.status;
    exchange.status = Some(status);
    keep_together(stream, core);
    let exchange = in_flight(&mut stream.exchange);
    exchange.capture_response(&core.proxies[stream.frontend as usize].spec);
    finish::count_server_response(exchange, core);
    track::count_status(stream, core, status);
    // HAProxy's order: what is stuck is what the server said, before any rule edits it, and whatever a rule makes of it.
    store_sticky(stream, core);
    match respond::run_response_rules(stream, core)? {
        true => deliver(stream, core),
        false => Ok(()),
    }
}

/// A server that authenticates connections keeps its connection for this client, whose next request goes there; with `option
/// prefer-last-server`, any whose connections are never shared.
fn keep_together(stream: &mut Stream, core: &mut Core) {
    let exchange = in_flight(&mut stream.exchange);
    let (backend, server) = (exchange.backend_index(), exchange.server_index());
    let link = exchange.link_index();
    if asks_for_a_connections_credentials(exchange) {
        core.pool.make_private(link);
    }
    let spec = &core.proxies[backend].spec;
    // Elsewhere the connection goes to whoever comes first, and HAProxy prefers nothing, either.
    let is_preferred = spec.options.prefer_last_server && spec.reuse == Reuse::Never;
    let is_kept = is_preferred || core.pool.at(link).is_private();
    let place = u16::try_from(backend).ok().zip(u16::try_from(server).ok());
    stream.own_server = match place.filter(|_| is_kept) {
        Some((backend, server)) => Some(OwnServer {
            backend,
            server,
            is_preferred: true,
        }),
        // What it has elsewhere is its own yet.
        None => stream.own_server.map(|own| OwnServer {
            is_preferred: false,
            ..own
        }),
    };
}

/// NTLM and Negotiate vouch for a connection, not for a request.
fn asks_for_a_connections_credentials(exchange: &Exchange) -> bool {
    let name: &[u8] = match exchange.response.status {
        401 => b"www-authenticate",
        407 => b"proxy-authenticate",
        _ => return false,
    };
    let begins = |scheme: &[u8], word: &[u8]| {
        let start = scheme.trim_ascii_start().get(..word.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    let buffer = exchange.down.buffer.filled();
    let mut challenges = exchange.response.headers.find(buffer, name);
    challenges.any(|(_, value)| {
        let mut schemes = value.split(|byte| *byte == b',');
        schemes.any(|scheme| begins(scheme, b"ntlm") || begins(scheme, b"negotiate"))
    })
}

/// Rules wait for the body of the response: whether they are through. `has_ended`: nothing more of it comes.
fn rules_go_on(stream: &mut Stream, core: &mut Core, has_ended: bool) -> Result<bool, Step> {
    loop {
        match body::response_is_here(stream, core, has_ended) {
            Ok(true) => in_flight(&mut stream.exchange).notes.has_waited = true,
            Ok(false) => return Ok(false),
            Err(error) => {
                invalid::keep_response(stream, core, error);
                forget_response(stream);
                return Err(bad_response(stream, core));
            }
        }
        if respond::run_response_rules(stream, core)? {
            deliver(stream, core)?;
            return Ok(true);
        }
    }
}

/// The response that has come is none any more: nothing of it was sent, and another one takes its place. The log counts what came
/// of it all the same, but not when.
pub(super) fn forget_response(stream: &mut Stream) {
    let exchange = in_flight(&mut stream.exchange);
    let head_bytes = exchange.response.end as usize;
    exchange.logged_bytes += exchange.down.buffer.len().saturating_sub(head_bytes) as u64;
    exchange.has_response = false;
    exchange.times.response_ms = None;
    exchange.response_progress = None;
    exchange.awaited = None;
}

/// All rules of the response are through: edit, and start sending it.
fn deliver(stream: &mut Stream, core: &mut Core) -> Result<(), Step> {
    if cookies::edit_response(stream, core).is_err() {
        forget_response(stream);
        return Err(bad_response(stream, core));
    }
    let exchange = in_flight(&mut stream.exchange);
    // A rule may have changed it.
    exchange.status = Some(exchange.response.status);
    exchange.keep_server &= exchange.response.keeps_alive();
    // Whether its body follows all the same, only the client knows: the connection's end tells the next request from it.
    exchange.keep_client &= !core.is_stopping && !exchange.awaits_leave();
    if !respond::run_after_rules(stream, core) {
        return Err(respond::after_rules_failed(stream, core));
    }
    let exchange = in_flight(&mut stream.exchange);
    exchange.status = Some(exchange.response.status);
    log::log_early(stream, core);
    let exchange = in_flight(&mut stream.exchange);
    let receiver = Receiver::of(&exchange.request);
    let edited = hop::prepare_response(
        &mut exchange.response,
        exchange.down.buffer.filled(),
        receiver,
        exchange.keep_client,
    );
    let Ok(delivery) = edited else {
        return Err(bad_response(stream, core));
    };
    exchange.keep_client = delivery.keep_client;
    exchange
        .down
        .take_response(&exchange.response, delivery.body);
    if exchange.response.is_tunnel {
        exchange.up.become_raw();
        exchange.down.become_raw();
        exchange.keep_client = false;
        exchange.keep_server = false;
        stream.enter(State::Tunnel, core.now_ms);
    }
    Ok(())
}

/// The response cannot be understood, or is too large.
fn bad_response(stream: &mut Stream, core: &mut Core) -> Step {
    finish::count_failed_response(stream, core);
    if let Some(step) = retry::try_again(stream, core, RetryOn::JUNK) {
        return step;
    }
    track::count(stream, core, Event::Failure);
    reply::answer(stream, core, 502, Cause::Proxy, Phase::Headers)
}

/// The server closed, or broke, before a response head was complete.
fn no_response(stream: &mut Stream, core: &mut Core) -> Step {
    let exchange = in_flight(&mut stream.exchange);
    let is_untouched =
        exchange.is_reused && exchange.down.buffer.is_empty() && exchange.down.sent == 0;
    let may_repeat = exchange.up.can_replay() && connect::is_idempotent(exchange.request.method);
    if is_untouched && may_repeat {
        return connect::replace_dead_connection(stream, core);
    }
    // A connection that breaks is a failure, whatever follows; one that is closed only if nothing follows.
    let is_broken = exchange.down.is_cut();
    if is_broken {
        finish::count_failed_response(stream, core);
    }
    if let Some(step) = retry::try_again(stream, core, RetryOn::EMPTY) {
        return step;
    }
    if !is_broken {
        finish::count_failed_response(stream, core);
    }
    if is_untouched && stream.requests > 1 {
        // A request that may have had an effect is not repeated by us. The client may: it sees what it would see
        // if its own kept connection had been closed.
        let exchange = in_flight(&mut stream.exchange);
        exchange.termination.set(Cause::ServerAbort, Phase::Headers);
        return Step::Close;
    }
    track::count(stream, core, Event::Failure);
    reply::answer(stream, core, 502, Cause::ServerAbort, Phase::Headers)
}

/// State `Reply`: sends our page, or what a service has to say, piece by piece.
pub(super) fn send_reply(stream: &mut Stream, core: &mut Core) -> Step {
    for _ in 0..ROUNDS_MAX {
        if let Err(step) = flush_response(stream, core) {
            return step;
        }
        if in_flight(&mut stream.exchange).down.has_unsent() {
            return Step::Wait;
        }
        match export::write_chunk(stream, core) {
            export::Progress::More => {}
            export::Progress::Over => {
                return match in_flight(&mut stream.exchange).down.is_finished() {
                    true => finish::complete(stream, core),
                    false => Step::Wait,
                };
            }
            export::Progress::Stuck => {
                core.count_front(stream.entrance(), FrontEvent::InternalError);
                return Step::Close;
            }
        }
    }
    core.go_on_later(stream);
    Step::Wait
}
