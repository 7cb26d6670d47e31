//! From a request to a server: the rules that choose a backend, its stick rules, and the edits that every request gets on the way.
//!
//! Not here: when rules run (`decide`), which server of the backend (`connect`), what rules mean (`rules`, `backend::sticky`, `sample`).

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::SystemTime;

use super::decide::Stage;
use super::exchange::{Exchange, in_flight};
use super::{Core, Front, Pool, State, Step, Stream, connect, cookies, decide, reply};
use crate::backend::{Proxy, sticky};
use crate::config::model::{ConnectionMode, ForwardFor, Mode, Options, ProxyKind};
use crate::http::{EditError, HeadEdit, RequestHead};
use crate::http::{connection as hop, target};
use crate::log::{Cause, Phase};
use crate::rules::use_backend;
use crate::sample::{
    Context, Facts, ProxyView, Registry, RequestView, ResponseView, Scratch, VarScopes,
};
use crate::stick::Table;

/// The backend that `use_backend`, `default_backend` or the section itself names.
pub(super) fn choose_backend(stream: &mut Stream, core: &mut Core) -> Option<usize> {
    let index = stream.frontend as usize;
    let spec = &core.proxies[index].spec;
    let own = (spec.kind == ProxyKind::Listen).then_some(index);
    let default = spec.default_backend.or(own);
    if spec.use_backend.is_empty() {
        return default;
    }
    let rules = Rc::clone(&spec.use_backend);
    let names = Rc::clone(&core.backend_names);
    let find = |name: &[u8]| names.get(name).copied();
    use_backend::choose(&rules, &mut decide::scene(stream, core), find).or(default)
}

/// Runs the sticky rules of the backend, prepares the request for its way, and chooses a server.
pub(super) fn choose_server(stream: &mut Stream, core: &mut Core) -> Step {
    let backend = in_flight(&mut stream.exchange).backend_index();
    let is_http = core.proxies[stream.frontend as usize].spec.mode == Mode::Http;
    let used = use_server(stream, core, backend);
    let mut is_prepared = true;
    let mut by_cookie = None;
    if is_http && core.proxies[backend].spec.cookie.is_some() {
        match cookies::match_request(stream, core, used.is_some()) {
            Ok(server) => by_cookie = server,
            Err(_) => is_prepared = false,
        }
    }
    match_sticky(stream, core, backend);
    is_prepared &= !is_http
        || (add_unique_id(stream, core).is_ok() && prepare_request(stream, core, backend).is_ok());
    if !is_prepared {
        // The head is too large for what we must add.
        return reply::answer(stream, core, 400, Cause::Proxy, Phase::Request);
    }
    let named = used.or(by_cookie);
    let exchange = in_flight(&mut stream.exchange);
    if named.is_none() && exchange.stores.is_seeking() {
        // While the other requests of this turn are read, the memory comes that the lookup would wait for.
        exchange.progress.enter(Stage::Sticky, core.now_ms);
        stream.enter(State::Deciding, core.now_ms);
        core.deferred.push(stream.key);
        return Step::Later;
    }
    let sticky = find_sticky(stream, core);
    connect::dispatch(stream, core, named.or(sticky), None)
}

/// Stage `Sticky`: the server that a stick table names, or any.
pub(super) fn choose_sticky_server(stream: &mut Stream, core: &mut Core) -> Step {
    let sticky = find_sticky(stream, core);
    connect::dispatch(stream, core, sticky, None)
}

fn find_sticky(stream: &mut Stream, core: &mut Core) -> Option<usize> {
    let exchange = in_flight(&mut stream.exchange);
    if exchange.stores.is_empty() {
        return None;
    }
    let servers = &core.proxies[exchange.backend_index()].servers;
    sticky::find_server(&mut exchange.stores, servers, &mut core.tables, core.now_ms)
}

/// The server that `use-server` names, if it can be used.
fn use_server(stream: &mut Stream, core: &mut Core, backend: usize) -> Option<usize> {
    let rules = Rc::clone(&core.proxies[backend].spec.use_server);
    if rules.is_empty() {
        return None;
    }
    let names = Rc::clone(&core.proxies[backend].server_names);
    let find = |name: &[u8]| names.get(name).copied();
    let chosen = use_backend::choose(&rules, &mut decide::scene(stream, core), find);
    let proxy = &core.proxies[backend];
    let is_forced = in_flight(&mut stream.exchange).persistence.is_forced;
    let is_usable =
        |server: &usize| proxy.servers[*server].is_up() || proxy.spec.options.persist || is_forced;
    chosen.filter(is_usable)
}

/// The answer to a request for `monitor-uri`: 200, or 503 when a condition of `monitor fail` holds. `None`: it asks for something
/// else.
pub(super) fn monitor(stream: &mut Stream, core: &mut Core) -> Option<u16> {
    let frontend = &core.proxies[stream.frontend as usize];
    let monitor = frontend.spec.monitor.as_ref()?;
    let exchange = stream.exchange.as_ref().expect("in flight");
    let target = exchange.request.target(exchange.up.buffer.filled());
    let asked = match monitor.uri.starts_with('/') {
        true => target::path_and_query(target),
        false => Some(target),
    };
    if asked != Some(monitor.uri.as_bytes()) {
        return None;
    }
    decide::know_wanted_destination(stream, core);
    let exchange = stream.exchange.as_ref().expect("in flight");
    let mut cx = context(
        stream,
        exchange,
        (&core.proxies, stream.frontend as usize, None),
        (core.now_ms, core.wall),
        (&core.samples, &core.pool),
        (&mut core.sniffed, &mut core.tables, &mut core.scratch),
    );
    let fails = monitor
        .fails
        .iter()
        .any(|condition| condition.matches(&mut cx));
    Some(if fails { 503 } else { 200 })
}

fn match_sticky(stream: &mut Stream, core: &mut Core, backend_index: usize) {
    let backend = &core.proxies[backend_index];
    if backend.spec.stick_rules.is_empty() {
        return;
    }
    decide::know_wanted_destination(stream, core);
    let mut stores = std::mem::take(&mut in_flight(&mut stream.exchange).stores);
    let exchange = stream.exchange.as_ref().expect("in flight");
    let proxies = (&core.proxies, stream.frontend as usize, Some(backend_index));
    let mut cx = context(
        stream,
        exchange,
        proxies,
        (core.now_ms, core.wall),
        (&core.samples, &core.pool),
        (&mut core.sniffed, &mut core.tables, &mut core.scratch),
    );
    sticky::match_request(
        &backend.spec.stick_rules,
        &backend.servers,
        &mut cx,
        &mut stores,
    );
    in_flight(&mut stream.exchange).stores = stores;
}

/// Makes the unique id of an exchange, if its frontend has a format for it and nothing asked for it before.
pub(super) fn make_unique_id(stream: &mut Stream, core: &mut Core) {
    let spec = Rc::clone(&core.proxies[stream.frontend as usize].spec);
    let Some(format) = &spec.unique_id_format else {
        return;
    };
    if format.needs_destination() {
        decide::know_destination(stream);
    }
    decide::scene_with(stream, core, Some(true))
        .context()
        .unique_id();
}

/// Makes the unique id and tells the server (`unique-id-header`).
fn add_unique_id(stream: &mut Stream, core: &mut Core) -> Result<(), EditError> {
    make_unique_id(stream, core);
    let spec = &core.proxies[stream.frontend as usize].spec;
    let (Some(name), Some(_)) = (&spec.unique_id_header, &spec.unique_id_format) else {
        return Ok(());
    };
    let exchange = in_flight(&mut stream.exchange);
    let buffer = exchange.up.buffer.filled();
    HeadEdit::Request(&mut exchange.request).add_header(
        buffer,
        name.as_bytes(),
        &exchange.unique_id,
    )
}

/// The edits that every request gets.
fn prepare_request(
    stream: &mut Stream,
    core: &mut Core,
    backend: usize,
) -> Result<(), crate::http::header::NoRoom> {
    let frontend = &core.proxies[stream.frontend as usize].spec.options;
    let backend = &core.proxies[backend].spec.options;
    let exchange = in_flight(&mut stream.exchange);
    exchange.request.settle_edits(exchange.up.buffer.filled());
    let either = |mode| frontend.connection == mode || backend.connection == mode;
    let closes_server = either(ConnectionMode::Close) || either(ConnectionMode::ServerClose);
    exchange.keep_server =
        !closes_server && !exchange.request.closes_server && !exchange.request.is_odd_version;
    // `httpclose` is for clients in frontends, for servers in backends.
    exchange.keep_client &= frontend.connection != ConnectionMode::Close;
    let pretends = frontend.pretend_keepalive || backend.pretend_keepalive;
    hop::prepare_request(
        &mut exchange.request,
        exchange.up.buffer.filled(),
        exchange.keep_server || pretends,
    )?;
    let rules = |option: fn(&Options) -> &Option<ForwardFor>| [option(backend), option(frontend)];
    add_address(exchange, rules(|all| &all.forward_for), stream.source)?;
    let original = rules(|all| &all.original_to);
    if original.iter().any(|rule| rule.is_some()) {
        decide::know_destination(stream);
    }
    let exchange = in_flight(&mut stream.exchange);
    add_address(exchange, original, stream.destination)
}

/// `option forwardfor` and `option originalto`, the backend's before the frontend's: a header with an address.
fn add_address(
    exchange: &mut Exchange,
    rules: [&Option<ForwardFor>; 2],
    address: Option<SocketAddr>,
) -> Result<(), crate::http::header::NoRoom> {
    let (Some(rule), Some(address)) = (rules.into_iter().flatten().next(), address) else {
        return Ok(());
    };
    let address = address.ip();
    let is_excepted = rules
        .into_iter()
        .flatten()
        .any(|rule| is_excepted(rule, address));
    let (headers, buffer) = (&mut exchange.request.headers, exchange.up.buffer.filled());
    let has_one = || {
        headers
            .find(buffer, rule.header.as_bytes())
            .next()
            .is_some()
    };
    // One that adds always prevails.
    let is_once = rules.into_iter().flatten().all(|rule| rule.if_none);
    if is_excepted || (is_once && has_one()) {
        return Ok(());
    }
    let mut text = [0u8; 48];
    let mut rest = &mut text[..];
    let _ = write!(rest, "{address}");
    let length = 48 - rest.len();
    headers.insert(rule.header.as_bytes(), &text[..length])
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

/// What expressions may look at.
pub(super) fn context<'a>(
    stream: &'a Stream,
    exchange: &'a Exchange,
    (state, frontend, backend): (&'a Vec<Proxy>, usize, Option<usize>),
    (now_ms, wall): (u64, SystemTime),
    (samples, pool): (&'a Registry, &'a Pool),
    (sniffed, tables, scratch): (&'a mut RequestHead, &'a mut [Table], &'a mut Scratch),
) -> Context<'a> {
    let (frontend_index, backend_index) = (frontend, backend);
    let frontend = &state[frontend];
    let bind = &frontend.spec.binds[stream.bind as usize];
    let view = |index: usize| ProxyView {
        index,
        name: &state[index].spec.name,
        id: state[index].spec.id,
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
    let has_head = exchange.times.head_ms.is_some();
    let mut request = has_head.then_some(request);
    let (client_addresses, proxy_header) = Front::facts(&stream.front);
    let mut facts = Facts {
        is_raw: frontend.spec.mode == Mode::Tcp,
        client: Some(&stream.client),
        client_addresses,
        proxy_header,
        link: exchange.link.and_then(|link| pool.connection(link)),
        server: exchange.server,
        bind: stream.bind as usize,
        timeouts_ms: [
            exchange.notes.server_timeout_ms,
            exchange.notes.tunnel_timeout_ms,
        ],
        last_rule: exchange.notes.last_rule,
        priority: (
            exchange.notes.priority_class,
            exchange.notes.priority_offset_ms,
        ),
        ..Facts::default()
    };
    if facts.is_raw {
        facts.request_bytes = request_bytes;
        facts.response_bytes = exchange.down.buffer.filled();
        if !exchange.has_response && samples.asks_for_requests() {
            let found = decide::look_for_request(sniffed, request_bytes);
            facts.is_no_request = found.is_err();
            request = found.ok().flatten().map(|head| RequestView {
                head,
                buffer: request_bytes,
            });
        }
    }
    let response = ResponseView {
        head: &exchange.response,
        buffer: exchange.down.buffer.filled(),
    };
    Context {
        now_ms,
        wall_ms: decide::wall_ms(wall),
        source: stream.source,
        destination: stream.destination,
        frontend: Some(view(frontend_index)),
        backend: backend_index.map(view),
        listener: Some((bind.id, bind.name.as_deref())),
        request,
        response: exchange.has_response.then_some(response),
        first_request: stream.requests == 1,
        tables,
        tracked: [None; 2],
        facts,
        state: Some(state),
        vars: VarScopes {
            process: Some(samples),
            session: Some(&stream.vars),
            stream: Some(&exchange.vars),
        },
        is_final: true,
        is_missing: false,
        record: None,
        captures: None,
        unique_id: None,
        scratch,
    }
}
