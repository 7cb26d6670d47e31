//! From a request to a server: which rule sets run when, what a verdict does to the stream, and where it waits.
//!
//! A request (or a TCP stream) passes these stages in order; each may end it, and those that look at data may wait for more of it
//! in state `Deciding`:
//!
//! ```text
//!  frontend:  tcp-request content → http-request → redirect → use_backend, default_backend
//!  backend:   tcp-request content → http-request → redirect → use-server, sticky rules, balance (`connect`)
//! ```
//!
//! A `listen` section that serves its own requests runs its rules once, as a frontend. `allow` ends a set, never a later stage.
//!
//! Not here: what rules do (`rules`), which server of the backend (`connect`).

use std::rc::Rc;
use std::time::SystemTime;

use super::exchange::{Exchange, in_flight};
use super::{
    Core, Front, State, Step, Stream, body, connect, cookies, export, finish, log, reply, route,
    track,
};
use crate::backend::Proxy;
use crate::backend::counters::FrontEvent;
use crate::config::model::{Mode, OddNames};
use crate::http::{Parsed, RequestHead};
use crate::log::{Cause, Phase};
use crate::net::ReadResult;
use crate::rules::{Outcome, Resume, Scene, SetKind, Verdict, evaluate};
use crate::sample::{Facts, ProxyView, UniqueId, VarScopes};
use crate::stick::tracked::Event;

/// The stages before a server is chosen, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Stage {
    /// `tcp-request content` of the frontend.
    #[default]
    FrontendContent,
    /// `option http-buffer-request` of the frontend.
    FrontendBody,
    /// `http-request` of the frontend.
    FrontendRequest,
    /// `redirect` of the frontend.
    FrontendRedirect,
    /// `use_backend`, `default_backend`.
    Switching,
    /// `option http-buffer-request` of the backend.
    BackendBody,
    /// `tcp-request content` of the backend.
    BackendContent,
    /// `http-request` of the backend.
    BackendRequest,
    /// `redirect` of the backend.
    BackendRedirect,
    /// Sticky rules and the choice of a server.
    Server,
    /// Sticky rules found keys, which are looked up when all events of the turn are dealt with.
    Sticky,
}

/// How far the decision about a stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Progress {
    /// The stage.
    pub stage: Stage,
    /// Where in its rules.
    pub resume: Resume,
    /// Until when the stage waits for data; `None` before it waits.
    pub until_ms: Option<u64>,
    /// The stage began at this time; its inspect-delay counts from there.
    pub since_ms: u64,
}

impl Progress {
    /// The first stage begins now.
    pub fn begun(now_ms: u64) -> Progress {
        Progress {
            since_ms: now_ms,
            ..Progress::default()
        }
    }

    /// The next stage, which has waited for nothing yet.
    pub fn enter(&mut self, stage: Stage, now_ms: u64) {
        *self = Progress {
            stage,
            since_ms: now_ms,
            ..Progress::default()
        };
    }
}

/// Runs the stages as far as they go. For HTTP and TCP alike; in state `Deciding` it is called again when something has happened.
pub(super) fn decide(stream: &mut Stream, core: &mut Core) -> Step {
    let is_http = core.proxies[stream.frontend as usize].spec.mode == Mode::Http;
    loop {
        let exchange = in_flight(&mut stream.exchange);
        let front = stream.frontend as usize;
        let (proxy, set, next) = match exchange.progress.stage {
            Stage::FrontendContent => (
                front,
                SetKind::TcpContent,
                match core.proxies[front].spec.options.buffer_request {
                    true => Stage::FrontendBody,
                    false => Stage::FrontendRequest,
                },
            ),
            Stage::FrontendBody => {
                if let Err(step) = buffer(stream, core, front, Stage::FrontendRequest) {
                    return step;
                }
                continue;
            }
            Stage::BackendBody => {
                let backend = exchange.backend_index();
                if let Err(step) = buffer(stream, core, backend, Stage::BackendContent) {
                    return step;
                }
                continue;
            }
            Stage::FrontendRequest => (front, SetKind::HttpRequest, Stage::FrontendRedirect),
            Stage::FrontendRedirect => (front, SetKind::Redirect, Stage::Switching),
            Stage::Switching => {
                if let Err(step) = switch(stream, core) {
                    return step;
                }
                continue;
            }
            Stage::BackendContent => (
                exchange.backend_index(),
                SetKind::TcpContent,
                Stage::BackendRequest,
            ),
            Stage::BackendRequest => (
                exchange.backend_index(),
                SetKind::HttpRequest,
                Stage::BackendRedirect,
            ),
            Stage::BackendRedirect => (exchange.backend_index(), SetKind::Redirect, Stage::Server),
            Stage::Server if exchange.is_cut_short => return body::cut_short(stream, core),
            Stage::Server => return route::choose_server(stream, core),
            Stage::Sticky => return route::choose_sticky_server(stream, core),
        };
        let is_skipped = set != SetKind::TcpContent && !is_http;
        if !is_skipped
            && !core.proxies[proxy].spec.rules.of(set).is_empty()
            && let Err(step) = run_request_rules(stream, core, proxy, set)
        {
            return step;
        }
        if matches!(next, Stage::FrontendBody | Stage::FrontendRequest)
            && is_http
            && let Some(step) = begin_request(stream, core)
        {
            return step;
        }
        if next == Stage::BackendRequest && is_http {
            track::tell_backend_content(stream, core);
        }
        if set == SetKind::HttpRequest
            && is_http
            && let Err(step) = restrict_names(stream, core, proxy)
        {
            return step;
        }
        let exchange = in_flight(&mut stream.exchange);
        exchange.progress.enter(next, core.now_ms);
    }
}

/// `option http-buffer-request` of a proxy, then the next stage.
fn buffer(stream: &mut Stream, core: &mut Core, proxy: usize, next: Stage) -> Result<(), Step> {
    body::buffer_request(stream, core, proxy)?;
    let exchange = in_flight(&mut stream.exchange);
    exchange.progress.enter(next, core.now_ms);
    Ok(())
}

/// `option http-restrict-req-hdr-names`, after the rules of each proxy.
fn restrict_names(stream: &mut Stream, core: &mut Core, proxy: usize) -> Result<(), Step> {
    let policy = core.proxies[proxy].spec.options.odd_names;
    if policy == OddNames::Preserve {
        return Ok(());
    }
    let exchange = in_flight(&mut stream.exchange);
    let (headers, buffer) = (&mut exchange.request.headers, exchange.up.buffer.filled());
    let mut from = 0;
    while let Some(index) = headers.odd_name(buffer, from) {
        if policy == OddNames::Reject {
            count_denied_request(stream, core);
            return Err(reply::answer(
                stream,
                core,
                403,
                Cause::Proxy,
                Phase::Request,
            ));
        }
        headers.remove(index);
        from = index + 1;
    }
    Ok(())
}

/// A request that `tcp-request content` let through is one: it is counted, and its line is known to the log.
fn begin_request(stream: &mut Stream, core: &mut Core) -> Option<Step> {
    let frontend = &core.proxies[stream.frontend as usize];
    in_flight(&mut stream.exchange).capture_request(&frontend.spec);
    finish::count_request(core, stream.frontend as usize);
    track::begin_request(stream, core);
    if let Some(status) = route::monitor(stream, core) {
        return Some(reply::answer_probe(stream, core, status));
    }
    log::log_start(stream, core);
    None
}

/// `use_backend`, `default_backend`: where the stream goes on.
fn switch(stream: &mut Stream, core: &mut Core) -> Result<(), Step> {
    let Some(backend) = route::choose_backend(stream, core) else {
        let step = reply::answer(stream, core, 503, Cause::ServerAbort, Phase::Connect);
        // HAProxy logs no time of the request's head here: to it a request ends when a backend has it.
        in_flight(&mut stream.exchange).times.head_ms = None;
        return Err(step);
    };
    connect::enter_backend(stream, core, backend);
    cookies::begin(stream, core);
    // A section that is both has run its rules already.
    let next = if backend == stream.frontend as usize {
        Stage::Server
    } else if core.proxies[backend].spec.options.buffer_request {
        Stage::BackendBody
    } else {
        Stage::BackendContent
    };
    in_flight(&mut stream.exchange)
        .progress
        .enter(next, core.now_ms);
    Ok(())
}

/// Runs a set of the request phase; `Err` is what becomes of the stream when it does not go on to the next stage.
fn run_request_rules(
    stream: &mut Stream,
    core: &mut Core,
    proxy: usize,
    set: SetKind,
) -> Result<(), Step> {
    let rules = Rc::clone(&core.proxies[proxy].spec.rules);
    let delay_ms = core.proxies[proxy].spec.inspect_request_ms;
    if in_flight(&mut stream.exchange).awaited.is_some() {
        await_body(stream, core)?;
    }
    loop {
        let progress = in_flight(&mut stream.exchange).progress;
        let is_final = set != SetKind::TcpContent
            || delay_ms.is_none_or(|delay_ms| core.now_ms >= progress.since_ms + delay_ms)
            || is_complete(stream);
        let mut scene = scene(stream, core);
        scene.is_final = is_final;
        let outcome = evaluate(rules.of(set), progress.resume, &mut scene);
        finish::count_rewrites(stream, core);
        match outcome {
            Outcome::Pass => return Ok(()),
            Outcome::Decided(verdict) => return Err(obey(stream, core, set, verdict)),
            Outcome::Wait(resume) => {
                let exchange = in_flight(&mut stream.exchange);
                exchange.progress.resume = resume;
                if let Some(wait) = exchange.notes.body_wait.take() {
                    body::begin_request_wait(stream, core, wait);
                    await_body(stream, core)?;
                    continue;
                }
                exchange.progress.until_ms = delay_ms.map(|ms| progress.since_ms + ms);
                if stream.state != State::Deciding {
                    stream.enter(State::Deciding, core.now_ms);
                }
                read_more(stream, core)?;
            }
        }
    }
}

/// Waits for the body that a rule wants; then the rule goes on.
fn await_body(stream: &mut Stream, core: &mut Core) -> Result<(), Step> {
    body::await_request(stream, core)?;
    in_flight(&mut stream.exchange).notes.has_waited = true;
    Ok(())
}

/// Whether nothing more can come, or no more can be held.
fn is_complete(stream: &mut Stream) -> bool {
    stream.client.is_read_closed() || !in_flight(&mut stream.exchange).up.has_room()
}

/// Reads what has come; `Err` when that is nothing.
fn read_more(stream: &mut Stream, core: &mut Core) -> Result<(), Step> {
    if !stream.client.may_read() || !in_flight(&mut stream.exchange).up.has_room() {
        return Err(Step::Wait);
    }
    match stream.receive(core) {
        Ok(ReadResult::Bytes(_) | ReadResult::End) => Ok(()),
        Ok(ReadResult::WouldBlock) => Err(Step::Wait),
        Err(_) => {
            let exchange = in_flight(&mut stream.exchange);
            finish::count_client_abort(exchange, core);
            exchange.termination.set(Cause::ClientAbort, Phase::Request);
            Err(Step::Close)
        }
    }
}

/// What becomes of a request that a rule ended.
fn obey(stream: &mut Stream, core: &mut Core, set: SetKind, verdict: Verdict<'_>) -> Step {
    match verdict {
        Verdict::Deny(reply) => {
            count_denied_request(stream, core);
            track::count(stream, core, Event::Error);
            cookies::note_refused(stream, core);
            reply::answer_rule(stream, core, reply, (Cause::Proxy, Phase::Request))
        }
        Verdict::Return(reply) => {
            reply::count_intercepted(stream, core);
            reply::answer_rule(stream, core, reply, (Cause::Local, Phase::Request))
        }
        Verdict::Export => export::answer(stream, core),
        Verdict::Redirect(status) => {
            reply::count_intercepted(stream, core);
            reply::redirect(stream, core, status, (Cause::Local, Phase::Request))
        }
        Verdict::Auth(realm) => reply::answer_auth(stream, core, realm),
        Verdict::Tarpit(reply) => {
            count_denied_request(stream, core);
            track::count(stream, core, Event::Error);
            cookies::note_refused(stream, core);
            let exchange = in_flight(&mut stream.exchange);
            exchange.termination.set(Cause::Proxy, Phase::Tarpit);
            exchange.tarpit_reply = Some(Rc::clone(reply));
            stream.enter(State::Tarpit, core.now_ms)
        }
        Verdict::Reject | Verdict::SilentDrop => {
            if matches!(verdict, Verdict::SilentDrop) {
                stream.client.drop_silently();
            }
            match set {
                SetKind::TcpContent => {
                    core.count_front(stream.entrance(), FrontEvent::RequestDenied);
                }
                _ => count_denied_request(stream, core),
            }
            let exchange = in_flight(&mut stream.exchange);
            if exchange.times.head_ms.is_some() {
                let (end, framing) = (exchange.request.end, exchange.request.framing);
                exchange.up.count_unread(end, framing);
            }
            exchange.termination.set(Cause::Proxy, Phase::Request);
            // To HAProxy's log such a request never ended.
            exchange.times.head_ms = None;
            Step::Close
        }
        Verdict::Failed => fail(stream, core, 500),
        Verdict::BadRequest => {
            core.count_front(stream.entrance(), FrontEvent::RequestFailed);
            fail(stream, core, 400)
        }
        Verdict::Continue | Verdict::Allow | Verdict::Yield | Verdict::CloseServer => Step::Again,
    }
}

/// A rule could not be followed. HAProxy logs no time of the request's head here: to it, the request never was complete.
fn fail(stream: &mut Stream, core: &mut Core, status: u16) -> Step {
    let step = reply::answer(stream, core, status, Cause::Proxy, Phase::Request);
    in_flight(&mut stream.exchange).times.head_ms = None;
    step
}

/// State `Tarpit`: a client that goes is not kept any longer.
pub(super) fn watch_tarpit(stream: &mut Stream, core: &mut Core) -> Step {
    let timeouts = &core.proxies[stream.frontend as usize].spec.timeouts;
    let is_endless = timeouts.tarpit_ms.or(timeouts.connect_ms).is_none();
    while !is_endless && stream.client.may_read() && in_flight(&mut stream.exchange).up.has_room() {
        match stream.receive(core) {
            Ok(ReadResult::Bytes(_)) => {}
            Ok(ReadResult::WouldBlock) => break,
            Ok(ReadResult::End) | Err(_) => return leave_tarpit(stream, core),
        }
    }
    match is_endless || stream.client.is_read_closed() {
        true => leave_tarpit(stream, core),
        false => Step::Wait,
    }
}

/// State `Tarpit`, when its time is over, or its client has gone: the answer.
pub(super) fn leave_tarpit(stream: &mut Stream, core: &mut Core) -> Step {
    let exchange = in_flight(&mut stream.exchange);
    exchange.times.assigned_ms = Some(core.now_ms);
    let reply = exchange.tarpit_reply.take();
    let how = (Cause::Proxy, Phase::Tarpit);
    let step = match reply {
        Some(reply) => reply::answer_rule(stream, core, &reply, how),
        None => reply::answer(stream, core, 500, how.0, how.1),
    };
    // The log tells the wait as one in a queue, and no time of the request's head.
    in_flight(&mut stream.exchange).times.tarpit = true;
    step
}

/// Counts a request that a rule refused.
pub(super) fn count_denied_request(stream: &mut Stream, core: &mut Core) {
    core.count_front(stream.entrance(), FrontEvent::RequestDenied);
    if let Some(backend) = in_flight(&mut stream.exchange).backend {
        core.proxies[backend].backend_counters.requests_denied += 1;
    }
}

/// What rules see of a stream.
pub(super) fn scene<'s>(stream: &'s mut Stream, core: &'s mut Core) -> Scene<'s> {
    let proxy = |index: usize| &core.proxies[index].spec;
    let backend = stream
        .exchange
        .as_ref()
        .and_then(|exchange| exchange.backend);
    let is_recorded = proxy(stream.frontend as usize).rules.needs_record
        || backend.is_some_and(|backend| proxy(backend).rules.needs_record);
    match is_recorded {
        true => know_destination(stream),
        false => know_wanted_destination(stream, core),
    }
    scene_with(stream, core, is_recorded.then_some(true))
}

/// Asks the socket where its client connected to, unless that is known. It costs a system call.
pub(super) fn know_destination(stream: &mut Stream) {
    if stream.destination.is_none() {
        stream.destination = stream.client.local_address();
    }
}

/// The same where some expression may look at it, or some rule change a part of it.
pub(super) fn know_wanted_destination(stream: &mut Stream, core: &Core) {
    if core.sets_addresses || core.samples.asks_for_destinations() {
        know_destination(stream);
    }
}

/// Bytes that are no HTTP request.
pub(super) struct NoRequest;

/// The request that a TCP stream begins with, for rules that look at one; `None` while its head is not complete.
pub(super) fn look_for_request<'s>(
    head: &'s mut RequestHead,
    bytes: &[u8],
) -> Result<Option<&'s mut RequestHead>, NoRequest> {
    head.reset();
    match head.parse(bytes) {
        Ok(Parsed::Complete) => Ok(Some(head)),
        Ok(_) => Ok(None),
        Err(_) => Err(NoRequest),
    }
}

/// What rules and log lines see of a stream. `record`: whether variables need to know of it, and then whether it stays.
pub(super) fn scene_with<'s>(
    stream: &'s mut Stream,
    core: &'s mut Core,
    record: Option<bool>,
) -> Scene<'s> {
    let process = log::Process {
        now_ms: core.now_ms,
        connections: core.connections,
        host_name: &core.host_name,
        pid: core.pid,
    };
    let record = match (record, stream.exchange.as_deref()) {
        (Some(stays), Some(exchange)) => Some(log::record(
            stream,
            exchange,
            &core.proxies,
            &process,
            stays,
        )),
        _ => None,
    };
    let proxies = &core.proxies;
    let frontend = stream.frontend as usize;
    let bind = &proxies[frontend].spec.binds[stream.bind as usize];
    let (client_addresses, proxy_header) = Front::facts(&stream.front);
    let client_fault = stream.fault();
    let mut scene = Scene {
        now_ms: core.now_ms,
        wall_ms: wall_ms(core.wall),
        source: &mut stream.source,
        destination: &mut stream.destination,
        frontend: view(proxies, frontend),
        backend: None,
        listener: (bind.id, bind.name.as_deref()),
        client: &mut stream.client,
        request: None,
        request_bytes: &[],
        response: None,
        response_bytes: &[],
        first_request: stream.requests == 1,
        is_final: true,
        facts: Facts {
            is_raw: proxies[frontend].spec.mode == Mode::Tcp,
            client_addresses,
            proxy_header,
            client_fault,
            bind: stream.bind as usize,
            is_stopping: core.is_stopping,
            ..Facts::default()
        },
        tables: &mut core.tables,
        state: proxies,
        vars: VarScopes {
            process: Some(&core.samples),
            session: Some(&stream.vars),
            stream: None,
        },
        request_tracked: None,
        is_request_counted: false,
        connection_tracked: stream.tracked.as_deref_mut(),
        notes: &mut core.unnoted,
        record,
        captures: None,
        unique_id: None,
        message: &mut core.message,
        scratch: &mut core.scratch,
    };
    if let Some(exchange) = stream.exchange.as_deref_mut() {
        scene.facts.link = exchange.link.and_then(|link| core.pool.connection(link));
        let sniffed = match core.samples.asks_for_requests() {
            true => Some(&mut core.sniffed),
            false => None,
        };
        show_exchange(&mut scene, exchange, proxies, sniffed);
    }
    scene
}

/// What a scene has of the request under way. `sniffed`: for the head of a request in a TCP stream, if any rule looks at one.
fn show_exchange<'s>(
    scene: &mut Scene<'s>,
    exchange: &'s mut Exchange,
    proxies: &'s [Proxy],
    sniffed: Option<&'s mut RequestHead>,
) {
    scene.backend = exchange.backend.map(|index| view(proxies, index));
    let has_head = exchange.times.head_ms.is_some();
    scene.request = has_head.then_some(&mut exchange.request);
    scene.facts.server = exchange.server;
    if scene.facts.is_raw {
        scene.facts.response_bytes = exchange.down.buffer.filled();
        let is_request_phase = !exchange.has_response;
        if is_request_phase {
            scene.facts.request_bytes = exchange.up.buffer.filled();
        }
        if let Some(sniffed) = sniffed.filter(|_| is_request_phase) {
            match look_for_request(sniffed, scene.facts.request_bytes) {
                Ok(head) => scene.request = head,
                Err(NoRequest) => scene.facts.is_no_request = true,
            }
        }
    }
    if exchange.has_response {
        // The request's bytes may be gone: only its head's own facts are left.
        scene.response = Some(&mut exchange.response);
    } else {
        scene.request_bytes = exchange.up.buffer.filled();
    }
    scene.response_bytes = exchange.down.buffer.filled();
    scene.vars.stream = Some(&exchange.vars);
    scene.notes = &mut exchange.notes;
    scene.request_tracked = Some(&mut exchange.tracked);
    scene.is_request_counted =
        exchange.is_request_counted && exchange.progress.stage != Stage::BackendContent;
    scene.captures = Some(&mut exchange.captures);
    let format = proxies[scene.frontend.index]
        .spec
        .unique_id_format
        .as_deref();
    scene.unique_id = format.map(|format| UniqueId {
        format,
        text: &mut exchange.unique_id,
    });
}

fn view(proxies: &[Proxy], index: usize) -> ProxyView<'_> {
    ProxyView {
        index,
        name: &proxies[index].spec.name,
        id: proxies[index].spec.id,
    }
}

/// `tcp-request connection` and `tcp-request session`, as soon as a connection is accepted; whether it is refused.
pub(super) fn refuses(stream: &mut Stream, core: &mut Core, set: SetKind) -> bool {
    let frontend = stream.frontend as usize;
    let rules = Rc::clone(&core.proxies[frontend].spec.rules);
    if set == SetKind::TcpConnection {
        track::prepare_connection(stream, core, &rules);
    }
    if rules.of(set).is_empty() {
        return false;
    }
    let outcome = evaluate(rules.of(set), Resume::default(), &mut scene(stream, core));
    let Outcome::Decided(verdict) = outcome else {
        return false;
    };
    let event = match set {
        SetKind::TcpConnection => FrontEvent::ConnectionDenied,
        _ => FrontEvent::SessionDenied,
    };
    core.count_front(stream.entrance(), event);
    match verdict {
        Verdict::SilentDrop => stream.client.drop_silently(),
        // A connection that is no session yet is not worth an orderly end.
        _ if set == SetKind::TcpConnection => stream.client.close_with_reset(),
        _ => {}
    }
    true
}

/// Milliseconds since the epoch.
pub(super) fn wall_ms(wall: SystemTime) -> u64 {
    wall.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}
