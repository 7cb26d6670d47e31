//! HTTP streams: read a request, decide, forward both messages, answer what cannot be forwarded.

use std::io::Write;
use std::net::IpAddr;
use std::time::SystemTime;

use super::exchange::{Exchange, LOGGED_HEAD_BYTES};
use super::{Core, State, Step, Stream, connect, finish, tcp};
use crate::backend::{Proxy, sticky};
use crate::config::model::{ConnectionMode, ForwardFor, Mode, ProxyKind};
use crate::http::{
    BodyForm, Framing, HeadError, Method, Parsed, ReplyForm, Version, builtin, connection as hop,
};
use crate::log::{Cause, Phase};
use crate::net::ReadResult;
use crate::rules::use_backend;
use crate::sample::{Context, ProxyView, RequestView, ResponseView, Scratch};

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
        let exchange = stream.exchange.as_mut().expect("taken above");
        if !exchange.up.buffer.is_empty() {
            if stream.state == State::Idle {
                stream.requests += 1;
                stream.enter(State::Head, core.now_ms);
            }
            let exchange = stream.exchange.as_mut().expect("taken above");
            match exchange.request.parse(exchange.up.buffer.filled()) {
                Ok(Parsed::Complete) if exchange.request.end as usize <= core.head_bytes_max => {
                    return begin_request(stream, core);
                }
                Ok(Parsed::Incomplete) if exchange.up.buffer.len() < core.head_bytes_max => {}
                Ok(_) => {
                    let error = HeadError::too_large(exchange.up.buffer.len(), true);
                    return refuse(stream, core, error);
                }
                Err(error) => return refuse(stream, core, error),
            }
        }
        let exchange = stream.exchange.as_mut().expect("taken above");
        if !stream.client.may_read() {
            return match stream.client.is_read_closed() {
                true => client_left(stream, core),
                false => rest(stream, core),
            };
        }
        match exchange.up.fill(&mut stream.client, &mut core.buffers) {
            Ok(ReadResult::Bytes(count)) => {
                finish::count_bytes_in(
                    exchange,
                    &mut core.proxies,
                    stream.frontend as usize,
                    count,
                );
                stream.client_active_ms = core.now_ms;
            }
            Ok(ReadResult::WouldBlock) => return rest(stream, core),
            Ok(ReadResult::End) | Err(_) => return client_left(stream, core),
        }
    }
}

/// Nothing to read now: an idle connection gives its exchange back.
fn rest(stream: &mut Stream, core: &mut Core) -> Step {
    if stream.state == State::Idle {
        if let Some(exchange) = stream.exchange.take() {
            core.exchanges.give(exchange, &mut core.buffers);
        }
    }
    Step::Wait
}

/// The client closed before a complete request.
fn client_left(stream: &mut Stream, core: &mut Core) -> Step {
    if stream.state == State::Idle && stream.requests > 0 {
        return Step::Close;
    }
    let exchange = stream.exchange.as_mut().expect("reading");
    exchange.termination.set(Cause::ClientAbort, Phase::Request);
    if stream.state == State::Idle {
        // Nothing was ever said: a probe. HAProxy logs the 400 that nobody is there to read.
        exchange.status = Some(400);
        exchange.is_logged = core.proxies[stream.frontend as usize]
            .spec
            .options
            .dont_log_null;
        return Step::Close;
    }
    finish::count_failed_request(core, stream.frontend as usize);
    reply(stream, core, 400, Cause::ClientAbort, Phase::Request)
}

/// The request cannot be understood.
fn refuse(stream: &mut Stream, core: &mut Core, error: HeadError) -> Step {
    finish::count_failed_request(core, stream.frontend as usize);
    reply(stream, core, error.status, Cause::Proxy, Phase::Request)
}

/// The head is complete: decide where it goes.
fn begin_request(stream: &mut Stream, core: &mut Core) -> Step {
    let exchange = stream.exchange.as_mut().expect("in flight");
    exchange.times.head_ms = Some(core.now_ms);
    exchange.note_request_line();
    let options = &core.proxies[stream.frontend as usize].spec.options;
    exchange.keep_client =
        options.connection != ConnectionMode::Close && exchange.request.keeps_alive();
    finish::count_request(core, stream.frontend as usize);
    finish::log_start(stream, core);
    choose_backend(stream, core)
}

/// Runs the rules that choose a backend, and its stick rules; then goes there. For HTTP and TCP alike.
pub(super) fn choose_backend(stream: &mut Stream, core: &mut Core) -> Step {
    let frontend_index = stream.frontend as usize;
    let frontend = &core.proxies[frontend_index];
    if stream.destination.is_none() && !frontend.spec.use_backend.is_empty() {
        stream.destination = stream.client.local_address();
    }
    let exchange = stream.exchange.as_ref().expect("in flight");
    let mut cx = context(
        stream,
        exchange,
        (frontend, None),
        (core.now_ms, core.wall),
        &mut core.scratch,
    );
    let ruled = use_backend::choose(&frontend.spec.use_backend, &mut cx);
    let own = (frontend.spec.kind == ProxyKind::Listen).then_some(frontend_index);
    let Some(backend_index) = ruled.or(frontend.spec.default_backend).or(own) else {
        return reply(stream, core, 503, Cause::ServerAbort, Phase::Connect);
    };
    let sticky = match_sticky(stream, core, backend_index);
    if core.proxies[frontend_index].spec.mode == Mode::Http {
        if prepare_request(stream, core, backend_index).is_err() {
            // The head is too large for what we must add.
            return reply(stream, core, 400, Cause::Proxy, Phase::Request);
        }
        core.proxies[backend_index].backend_counters.requests_total += 1;
    }
    connect::enter_backend(stream, core, backend_index, sticky)
}

fn match_sticky(stream: &mut Stream, core: &mut Core, backend_index: usize) -> Option<usize> {
    let backend = &core.proxies[backend_index];
    if backend.spec.stick_rules.is_empty() {
        return None;
    }
    let mut stores = std::mem::take(&mut stream.exchange.as_mut().expect("in flight").stores);
    let exchange = stream.exchange.as_ref().expect("in flight");
    let proxies = (&core.proxies[stream.frontend as usize], Some(backend));
    let mut cx = context(
        stream,
        exchange,
        proxies,
        (core.now_ms, core.wall),
        &mut core.scratch,
    );
    let sticky = sticky::match_request(
        &backend.spec.stick_rules,
        &backend.servers,
        &mut core.tables,
        &mut cx,
        &mut stores,
    );
    stream.exchange.as_mut().expect("in flight").stores = stores;
    sticky
}

/// What expressions may look at.
fn context<'a>(
    stream: &Stream,
    exchange: &'a Exchange,
    (frontend, backend): (&'a Proxy, Option<&'a Proxy>),
    (now_ms, wall): (u64, SystemTime),
    scratch: &'a mut Scratch,
) -> Context<'a> {
    let bind = &frontend.spec.binds[stream.bind as usize];
    let view = |proxy: &'a Proxy| ProxyView {
        name: &proxy.spec.name,
        id: proxy.spec.id,
    };
    // Once a response is there, the request's bytes may be gone: only its head's own facts are left.
    let request_bytes = if exchange.has_response {
        &[]
    } else {
        exchange.up.buffer.filled()
    };
    let request = RequestView {
        head: &exchange.request,
        buffer: request_bytes,
    };
    let response = ResponseView {
        head: &exchange.response,
        buffer: exchange.down.buffer.filled(),
    };
    Context {
        now_ms,
        wall_ms: wall
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64),
        source: stream.source,
        destination: stream.destination,
        frontend: Some(view(frontend)),
        backend: backend.map(view),
        listener: Some((bind.id, bind.name.as_deref())),
        request: exchange.times.head_ms.is_some().then_some(request),
        response: exchange.has_response.then_some(response),
        first_request: stream.requests == 1,
        scratch,
    }
}

/// The edits that every request gets.
fn prepare_request(
    stream: &mut Stream,
    core: &mut Core,
    backend: usize,
) -> Result<(), crate::http::header::NoRoom> {
    let frontend = &core.proxies[stream.frontend as usize].spec.options;
    let backend = &core.proxies[backend].spec.options;
    let exchange = stream.exchange.as_mut().expect("in flight");
    let either = |mode| frontend.connection == mode || backend.connection == mode;
    let closes_all = either(ConnectionMode::Close);
    exchange.keep_server = !closes_all && !either(ConnectionMode::ServerClose);
    exchange.keep_client &= !closes_all;
    hop::prepare_request(
        &mut exchange.request,
        exchange.up.buffer.filled(),
        exchange.keep_server,
    )?;
    if let (Some(rule), Some(source)) = (
        backend
            .forward_for
            .as_ref()
            .or(frontend.forward_for.as_ref()),
        stream.source,
    ) {
        let is_excepted = [&frontend.forward_for, &backend.forward_for]
            .into_iter()
            .flatten()
            .any(|rule| is_excepted(rule, source.ip()));
        let has_one = || {
            exchange
                .request
                .headers
                .find(exchange.up.buffer.filled(), rule.header.as_bytes())
                .next()
                .is_some()
        };
        let is_wanted = !is_excepted && (!rule.if_none || !has_one());
        if is_wanted {
            let mut text = [0u8; 48];
            let mut rest = &mut text[..];
            let _ = write!(rest, "{}", source.ip());
            let length = 48 - rest.len();
            exchange
                .request
                .headers
                .insert(rule.header.as_bytes(), &text[..length])?;
        }
    }
    Ok(())
}

fn is_excepted(rule: &ForwardFor, source: IpAddr) -> bool {
    match (rule.except, source) {
        (Some((IpAddr::V4(net), prefix)), IpAddr::V4(source)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            (u32::from(net) ^ u32::from(source)) & mask == 0
        }
        (Some((IpAddr::V6(net), prefix)), IpAddr::V6(source)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            (u128::from(net) ^ u128::from(source)) & mask == 0
        }
        _ => false,
    }
}

/// The server connection stands: the request goes out.
pub(super) fn begin_transfer(stream: &mut Stream, core: &mut Core) -> Step {
    let exchange = stream.exchange.as_mut().expect("in flight");
    exchange.up.take_request(&exchange.request);
    if exchange.is_reused && exchange.up.take_body().is_ok() && exchange.up.is_complete {
        exchange.up.keep_for_replay();
    }
    stream.client_active_ms = core.now_ms;
    stream.enter(State::Transfer, core.now_ms)
}

/// State `Transfer`: moves both messages on, as far as the sockets allow.
pub(super) fn transfer(stream: &mut Stream, core: &mut Core) -> Step {
    for _ in 0..tcp::ROUNDS_MAX {
        let moved = match move_request(stream, core) {
            Ok(moved) => moved,
            Err(step) => return step,
        };
        match move_response(stream, core) {
            Ok(false) if !moved => return Step::Wait,
            Ok(_) => {}
            Err(step) => return step,
        }
    }
    core.go_on_later(stream);
    Step::Wait
}

/// Client to server; whether anything moved.
fn move_request(stream: &mut Stream, core: &mut Core) -> Result<bool, Step> {
    let exchange = stream.exchange.as_mut().expect("in flight");
    let mut has_moved = false;
    if !exchange.up.is_complete
        && !exchange.up.is_shut
        && stream.client.may_read()
        && exchange.up.has_room()
    {
        match exchange.up.fill(&mut stream.client, &mut core.buffers) {
            Ok(ReadResult::Bytes(count)) => {
                finish::count_bytes_in(
                    exchange,
                    &mut core.proxies,
                    stream.frontend as usize,
                    count,
                );
                stream.client_active_ms = core.now_ms;
                has_moved = true;
            }
            Ok(ReadResult::WouldBlock) => {}
            Ok(ReadResult::End) | Err(_) => return Err(abandoned(stream, core)),
        }
    }
    let exchange = stream.exchange.as_mut().expect("in flight");
    let aborts_on_close = |proxy: usize| core.proxies[proxy].spec.options.abort_on_close;
    if !exchange.has_response
        && stream.client.is_hung_up()
        && (aborts_on_close(stream.frontend as usize)
            || exchange.backend.is_some_and(aborts_on_close))
    {
        return Err(abandoned(stream, core));
    }
    if let Err(error) = exchange.up.take_body() {
        return Err(match exchange.has_response {
            true => abandoned(stream, core),
            false => {
                finish::count_failed_request(core, stream.frontend as usize);
                reply(stream, core, error.status, Cause::Proxy, Phase::Headers)
            }
        });
    }
    let exchange = stream.exchange.as_mut().expect("in flight");
    if stream.client.is_read_closed() && !exchange.up.is_complete && !exchange.up.is_shut {
        // The end was read while the request still waited for its server.
        return Err(abandoned(stream, core));
    }
    let server = &mut core.pool.at(exchange.link.expect("connected")).connection;
    if exchange.up.has_unsent() && !exchange.up.is_shut && server.may_write() {
        if !exchange.up.fits_one_segment() {
            server.make_prompt();
        }
        match exchange.up.flush(server, &exchange.request.headers) {
            Ok(0) => {}
            Ok(_) => {
                stream.server_active_ms = core.now_ms;
                has_moved = true;
            }
            // Dead before it took a byte: whatever is read on it, it is no answer to this request.
            Err(_) if exchange.is_reused && exchange.up.sent == 0 => {
                return Err(connect::replace_dead_connection(stream, core));
            }
            // The server takes no more; it may have said why, so its side is still read.
            Err(_) => exchange.up.is_shut = true,
        }
    }
    if exchange.up.is_complete && !exchange.up.has_unsent() {
        core.buffers.detach_if_empty(&mut exchange.up.buffer);
    }
    Ok(has_moved)
}

/// The client went away, or broke its own message, while its request or our response was on the way.
fn abandoned(stream: &mut Stream, core: &mut Core) -> Step {
    let exchange = stream.exchange.as_mut().expect("in flight");
    let phase = if exchange.has_response || !exchange.up.is_complete {
        Phase::Data
    } else {
        Phase::Headers
    };
    finish::count_client_abort(exchange, core);
    exchange.termination.set(Cause::ClientAbort, phase);
    if !exchange.has_response && exchange.up.is_complete {
        return reply(stream, core, 400, Cause::ClientAbort, phase);
    }
    Step::Close
}

/// Server to client; whether anything moved.
fn move_response(stream: &mut Stream, core: &mut Core) -> Result<bool, Step> {
    let exchange = stream.exchange.as_mut().expect("in flight");
    let server = &mut core.pool.at(exchange.link.expect("connected")).connection;
    let mut has_moved = false;
    let mut has_ended = false;
    if !exchange.down.is_complete && server.may_read() && exchange.down.has_room() {
        match exchange.down.fill(server, &mut core.buffers) {
            Ok(ReadResult::Bytes(_)) => {
                stream.server_active_ms = core.now_ms;
                has_moved = true;
            }
            Ok(ReadResult::WouldBlock) => {}
            Ok(ReadResult::End) => has_ended = true,
            Err(_) => {
                exchange.down.cut();
                has_ended = true;
            }
        }
    } else if server.is_read_closed() && !exchange.down.is_complete {
        has_ended = true;
    }
    if !exchange.has_response {
        read_response_heads(stream, core)?;
    }
    let exchange = stream.exchange.as_mut().expect("in flight");
    if stream.state == State::Tunnel {
        return Err(Step::Again);
    }
    if exchange.has_response {
        if exchange.down.take_body().is_err() {
            finish::count_server_abort(exchange, core);
            exchange.termination.set(Cause::Proxy, Phase::Data);
            return Err(Step::Close);
        }
        if has_ended && exchange.down.is_drained() {
            exchange.down.end();
        }
    }
    has_moved |= flush_response(stream, core)?;
    let exchange = stream.exchange.as_mut().expect("in flight");
    if exchange.is_answered() {
        let server = &core.pool.at(exchange.link.expect("connected")).connection;
        // The server may answer before it has the whole request and still want the rest; the client sends on in any case,
        // unless it waits for leave to begin.
        let is_refused = exchange.request.expects_continue && !exchange.up.has_data();
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
    let exchange = stream.exchange.as_mut().expect("in flight");
    if !exchange.down.has_unsent() || !stream.client.may_write() {
        return Ok(false);
    }
    match exchange
        .down
        .flush(&mut stream.client, &exchange.response.headers)
    {
        Ok(count) => {
            finish::count_bytes_out(exchange, core, stream.frontend as usize, count);
            stream.client_active_ms = core.now_ms;
            Ok(count > 0)
        }
        Err(_) => {
            finish::count_client_abort(exchange, core);
            exchange.termination.set(Cause::ClientAbort, Phase::Data);
            Err(Step::Close)
        }
    }
}

/// Reads response heads: interim ones go to the client one by one, the final one is prepared and stays.
fn read_response_heads(stream: &mut Stream, core: &mut Core) -> Result<(), Step> {
    loop {
        let exchange = stream.exchange.as_mut().expect("in flight");
        if exchange.down.is_complete {
            // An interim response that is on its way to the client.
            if !exchange.down.is_finished() {
                flush_response(stream, core)?;
            }
            let exchange = stream.exchange.as_mut().expect("in flight");
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
        match exchange
            .response
            .parse(exchange.down.buffer.filled(), exchange.request.asked())
        {
            Ok(Parsed::Incomplete) if exchange.down.buffer.len() < core.head_bytes_max => {
                return Ok(());
            }
            Ok(Parsed::Complete) if exchange.response.end as usize <= core.head_bytes_max => {}
            Ok(_) | Err(_) => return Err(bad_response(stream, core)),
        }
        exchange.up.forget_kept();
        exchange.count_logged_head();
        if !exchange.response.is_interim() {
            return final_head(stream, core);
        }
        if exchange.request.version == Version::Http10 {
            // It does not know interim responses.
            exchange.down.skip(exchange.response.end as usize);
            exchange.response.reset();
            continue;
        }
        let (response, down) = (&mut exchange.response, &mut exchange.down);
        if hop::prepare_response(response, down.buffer.filled(), Version::Http11, true).is_err() {
            return Err(bad_response(stream, core));
        }
        down.take_response(response, BodyForm::Chunked);
    }
}

/// The final response head is there: stick, edit, and start sending it.
fn final_head(stream: &mut Stream, core: &mut Core) -> Result<(), Step> {
    let exchange = stream.exchange.as_mut().expect("in flight");
    exchange.times.response_ms = Some(core.now_ms);
    exchange.has_response = true;
    exchange.status = Some(exchange.response.status);
    let (backend_index, server_index) = (
        exchange.backend.expect("known"),
        exchange.server.expect("chosen"),
    );
    let backend = &core.proxies[backend_index];
    if !backend.spec.stick_rules.is_empty() {
        let mut stores = std::mem::take(&mut exchange.stores);
        let exchange = stream.exchange.as_ref().expect("in flight");
        let proxies = (&core.proxies[stream.frontend as usize], Some(backend));
        let mut cx = context(
            stream,
            exchange,
            proxies,
            (core.now_ms, core.wall),
            &mut core.scratch,
        );
        sticky::match_response(
            &backend.spec.stick_rules,
            &mut core.tables,
            &mut cx,
            &mut stores,
        );
        sticky::store(
            &mut stores,
            &mut core.tables,
            &backend.servers[server_index],
            core.now_ms,
        );
        stream.exchange.as_mut().expect("in flight").stores = stores;
    }
    let exchange = stream.exchange.as_mut().expect("in flight");
    exchange.keep_server &= exchange.response.keeps_alive();
    exchange.keep_client &= !core.is_stopping;
    finish::log_early(stream, core);
    let exchange = stream.exchange.as_mut().expect("in flight");
    let version = exchange.request.version;
    let edited = hop::prepare_response(
        &mut exchange.response,
        exchange.down.buffer.filled(),
        version,
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
    reply(stream, core, 502, Cause::Proxy, Phase::Headers)
}

/// The server closed, or broke, before a response head was complete.
fn no_response(stream: &mut Stream, core: &mut Core) -> Step {
    let exchange = stream.exchange.as_mut().expect("in flight");
    if exchange.is_reused
        && exchange.down.buffer.is_empty()
        && !exchange.has_response
        && exchange.down.sent == 0
    {
        if exchange.up.can_replay() && connect::is_idempotent(exchange.request.method) {
            return connect::replace_dead_connection(stream, core);
        }
        if stream.requests > 1 {
            // A request that may have had an effect is not repeated by us. The client may: it sees what it would see
            // if its own kept connection had been closed.
            finish::count_failed_response(stream, core);
            let exchange = stream.exchange.as_mut().expect("in flight");
            exchange.termination.set(Cause::ServerAbort, Phase::Headers);
            return Step::Close;
        }
    }
    finish::count_failed_response(stream, core);
    reply(stream, core, 502, Cause::ServerAbort, Phase::Headers)
}

/// Answers with a page of our own, then closes. A TCP stream is closed without an answer. If a response has begun,
/// nothing can be said any more: the connection is closed.
pub(super) fn reply(
    stream: &mut Stream,
    core: &mut Core,
    status: u16,
    cause: Cause,
    phase: Phase,
) -> Step {
    let exchange = stream.exchange.as_mut().expect("in flight");
    exchange.termination.set(cause, phase);
    let frontend = &core.proxies[stream.frontend as usize];
    let is_http = frontend.spec.mode == Mode::Http;
    // After half an interim response nothing would be understood.
    if !is_http || exchange.has_response || exchange.down.has_unsent() {
        return Step::Close;
    }
    exchange.status = Some(status);
    // HAProxy's parser answers before its header rewriting is there, and nothing can follow on that connection.
    let is_raw = exchange.times.head_ms.is_none();
    let is_clients_fault = matches!(status, 400 | 408 | 422);
    let has_whole_request = exchange.times.head_ms.is_some()
        && (exchange.up.is_complete
            || matches!(exchange.request.framing, Framing::None | Framing::Length(0)));
    exchange.keep_client &= !is_clients_fault && has_whole_request && !core.is_stopping;
    let backend = exchange.backend.map(|backend| &core.proxies[backend]);
    let files = backend
        .into_iter()
        .chain([frontend])
        .flat_map(|proxy| &proxy.spec.error_files);
    let page: &[u8] = match files.into_iter().find(|(of, _)| *of == status) {
        Some((_, page)) => {
            exchange.keep_client = false;
            page
        }
        None => {
            let form = match (exchange.keep_client, exchange.request.version) {
                _ if is_raw => ReplyForm::Raw,
                (false, _) => ReplyForm::Close,
                (true, Version::Http10) => ReplyForm::KeepHttp10,
                (true, Version::Http11) => ReplyForm::Keep,
            };
            let page = builtin(status, form);
            if !is_raw {
                exchange.logged_bytes += logged_page_bytes(page.bytes, is_clients_fault);
            }
            match exchange.request.method {
                Method::Head => page.head(),
                _ => page.bytes,
            }
        }
    };
    exchange.down.replace(page, &mut core.buffers);
    if has_whole_request {
        exchange.up.discard(exchange.request.end as usize);
    }
    exchange.keep_server = false;
    finish::leave_server(exchange, core);
    stream.client_active_ms = core.now_ms;
    stream.enter(State::Reply, core.now_ms)
}

/// What the log counts for a page of our own; see [`Exchange::logged_bytes`].
fn logged_page_bytes(page: &[u8], is_clients_fault: bool) -> u64 {
    let text = String::from_utf8_lossy(page);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines = head.lines();
    let status_line = lines.next().map_or(0, |line| line.len().saturating_sub(2));
    // HAProxy has `Connection: close` in these pages from the start; to others it is added on the way out.
    let is_counted =
        |line: &&str| is_clients_fault || !line.to_ascii_lowercase().starts_with("connection:");
    let headers: usize = lines
        .filter(is_counted)
        .map(|line| line.len().saturating_sub(2))
        .sum();
    (LOGGED_HEAD_BYTES + status_line + headers + 1 + body.len()) as u64
}

/// State `Reply`: sends our page.
pub(super) fn send_reply(stream: &mut Stream, core: &mut Core) -> Step {
    if let Err(step) = flush_response(stream, core) {
        return step;
    }
    let exchange = stream.exchange.as_mut().expect("in flight");
    if !exchange.down.is_finished() {
        return Step::Wait;
    }
    finish::complete(stream, core)
}

/// State `Linger`: what the client still sends is read and dropped; closing at once would reset the connection and
/// could destroy our answer before it is read.
pub(super) fn linger(stream: &mut Stream, core: &mut Core) -> Step {
    stream.client.shutdown_write();
    let mut buffer = crate::reactor::Buffer::default();
    core.buffers.attach(&mut buffer);
    let mut step = Step::Wait;
    for _ in 0..tcp::ROUNDS_MAX {
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
