//! From a backend to a connection: stickiness, balance, queues, connecting, retrying, redispatching.

use std::io;

use super::exchange::{Exchange, in_flight};
use super::{Core, State, Step, Stream, finish, reply, route};
use crate::backend::{Pick, Priority, Proxy};
use crate::config::model::{Balance, Mode, RetryOn, Reuse, ServerPort};
use crate::http::Method;
use crate::log::{Cause, Phase};
use crate::net::proxy_protocol::{self, Form, Said};
use crate::net::{Address, Connection, ReadResult, is_out_of_descriptors};

/// Longest pause before a server that refused a connection is tried again (configuration manual, "retries").
pub(super) const TURN_AROUND_MS_MAX: u64 = 1000;

/// Takes up the service of a backend.
pub(super) fn enter_backend(stream: &mut Stream, core: &mut Core, backend: usize) {
    let proxy = &mut core.proxies[backend];
    proxy.sessions += 1;
    proxy
        .backend_counters
        .session_started(core.now_ms, proxy.sessions);
    let exchange = in_flight(&mut stream.exchange);
    exchange.backend = Some(backend);
    exchange.retries_left = proxy.spec.retries;
    if proxy.spec.mode == Mode::Http {
        proxy.backend_counters.requests_total += 1;
    }
}

/// Chooses a server, or a queue. `sticky` is the server that a stick rule named, `avoided` the one that just failed.
pub(super) fn dispatch(
    stream: &mut Stream,
    core: &mut Core,
    sticky: Option<usize>,
    avoided: Option<usize>,
) -> Step {
    let exchange = in_flight(&mut stream.exchange);
    let backend = exchange.backend_index();
    let proxy = &mut core.proxies[backend];
    let may_be_down = proxy.spec.options.persist || exchange.persistence.is_forced;
    let sticky = sticky.filter(|&server| proxy.servers[server].is_up() || may_be_down);
    exchange.is_sticky = sticky.is_some();
    let kept = preferred(stream.preferred_server(), proxy, backend, avoided);
    let chosen = match (sticky, kept) {
        (Some(server), _) if proxy.is_full(server) => {
            return wait_in_queue(stream, core, Some(server));
        }
        (Some(server), _) | (None, Some(server)) => server,
        (None, None) => match proxy.pick(stream.source.map(|source| source.ip()), avoided) {
            Pick::Server(server) => {
                proxy.backend_counters.balanced_total += 1;
                proxy.servers[server].counters.balanced_total += 1;
                server
            }
            Pick::AllFull => return wait_in_queue(stream, core, None),
            Pick::NoServer => {
                proxy.backend_counters.connections_failed += 1;
                return reply::answer(stream, core, 503, Cause::ServerAbort, Phase::Connect);
            }
        },
    };
    proxy.take(chosen);
    assigned(stream, core, chosen)
}

/// The server that holds a connection of this client, where it may be chosen as well as another: the connection vouches for its
/// client, or `option prefer-last-server` asks for it.
fn preferred(
    last: Option<(u16, u16)>,
    proxy: &Proxy,
    backend: usize,
    avoided: Option<usize>,
) -> Option<usize> {
    let (last_backend, server) = last?;
    let server = usize::from(server);
    let may_choose = usize::from(last_backend) == backend
        && avoided.is_none()
        && proxy.spec.balance != Balance::Source
        && proxy.servers[server].is_usable()
        && !proxy.is_full(server);
    may_choose.then_some(server)
}

/// A place on `server` is ours.
fn assigned(stream: &mut Stream, core: &mut Core, server: usize) -> Step {
    let exchange = in_flight(&mut stream.exchange);
    let backend = exchange.backend_index();
    exchange.server = Some(server);
    exchange.holds_place = true;
    exchange.times.assigned_ms.get_or_insert(core.now_ms);
    if let Some(failed) = exchange
        .failed_server
        .take()
        .filter(|&failed| failed != server)
    {
        exchange.is_redispatched = true;
        // What was spent on the failed server counts as waiting, as in HAProxy's logs.
        exchange.times.assigned_ms = Some(core.now_ms);
        let proxy = &mut core.proxies[backend];
        proxy.backend_counters.redispatches += 1;
        proxy.servers[failed].counters.redispatches += 1;
    }
    core.proxies[backend].servers[server]
        .counters
        .session_started(core.now_ms);
    finish::tell_bytes_in(exchange, &mut core.proxies);
    open(stream, core, true)
}

fn wait_in_queue(stream: &mut Stream, core: &mut Core, server: Option<usize>) -> Step {
    let exchange = in_flight(&mut stream.exchange);
    let backend = exchange.backend_index();
    let proxy = &mut core.proxies[backend];
    let ahead = proxy.queue_of(server).len() as u32;
    if let Some(index) = server {
        let maxqueue = proxy.servers[index].spec.maxqueue;
        if maxqueue > 0 && ahead >= maxqueue {
            // The operator prefers another server to a long queue.
            return dispatch(stream, core, None, server);
        }
        exchange.server = server;
        exchange.queue_places.0 += ahead + 1;
        let queue_max = &mut proxy.servers[index].counters.queue_max;
        *queue_max = (*queue_max).max(ahead + 1);
    } else {
        exchange.queue_places.1 += ahead + 1;
        let queue_max = &mut proxy.backend_counters.queue_max;
        *queue_max = (*queue_max).max(ahead + 1);
    }
    let priority = Priority {
        class: exchange.notes.priority_class,
        offset_ms: exchange.notes.priority_offset_ms,
    };
    let place = proxy.enqueue(stream.key.token(), server, priority, core.now_ms);
    exchange.waiting = Some((place, server));
    // Its client may have gone already, with its request.
    stream.enter(State::Queued, core.now_ms)
}

/// The wait is over: a place on a server was taken for this stream, or (`None`) its server went down.
pub(super) fn granted(
    stream: &mut Stream,
    core: &mut Core,
    proxy: usize,
    server: Option<usize>,
) -> Step {
    let exchange = in_flight(&mut stream.exchange);
    debug_assert_eq!(exchange.backend, Some(proxy));
    exchange.waiting = None;
    match server {
        Some(server) => assigned(stream, core, server),
        None => {
            exchange.server = None;
            dispatch(stream, core, None, None)
        }
    }
}

/// Connects to the chosen server, or takes an idle connection when `may_reuse`.
pub(super) fn open(stream: &mut Stream, core: &mut Core, may_reuse: bool) -> Step {
    let exchange = in_flight(&mut stream.exchange);
    let (backend, index) = (exchange.backend_index(), exchange.server_index());
    let proxy = &mut core.proxies[backend];
    let server = &mut proxy.servers[index];
    if may_reuse && exchange.keep_server {
        let is_first = stream.requests <= 1;
        let place = (backend, index);
        // Should a shared connection prove dead, the client of a later request knows how to repeat it; and what a faulty
        // server sends too much reaches no client that is new.
        let is_shared = match proxy.spec.reuse {
            Reuse::Never => false,
            Reuse::Safe => !is_first,
            Reuse::Aggressive => !is_first || core.pool.was_reused(place),
            Reuse::Always => true,
        };
        // A connection that was introduced as one client's is no other's.
        let is_shared = is_shared && server.spec.send_proxy.is_none();
        // Its own first, on the server where it may have one.
        let own = match stream.own_server {
            Some(own) if (own.backend.into(), own.server.into()) == place => {
                core.pool.take_own(place, stream.key)
            }
            _ => None,
        };
        let idle = match is_shared {
            _ if own.is_some() => own,
            true => core.pool.take_idle(place, stream.key),
            false if is_first => None,
            false => core.pool.take_own(place, stream.key),
        };
        if let Some(link) = idle {
            server.idle_connections -= 1;
            server.counters.reuses += 1;
            proxy.backend_counters.reuses += 1;
            exchange.link = Some(link);
            exchange.is_reused = true;
            return established(stream, core);
        }
    }
    server.counters.connects += 1;
    proxy.backend_counters.connects += 1;
    // The descriptors are counted for one server connection a session: an idle one more than that has to go.
    if core.pool.len() >= core.connections_max as usize {
        core.give_up_idle_connection();
    }
    let mut connection = match connect(stream, core, (backend, index)) {
        Ok(connection) => connection,
        Err(_) => return failed(stream, core, false),
    };
    let is_http = core.proxies[stream.frontend as usize].spec.mode == Mode::Http;
    let proxy = &mut core.proxies[backend];
    let server = &mut proxy.servers[index];
    if server.readiness.expects(server.counters.connects) {
        // A request is written at once and tells; where nothing may be there to write, or what goes first must go whole, we ask.
        if is_http && server.spec.send_proxy.is_none() {
            connection.assume_standing();
        } else {
            server.readiness.found(connection.stands_already());
        }
    }
    let version = server.address_version;
    if proxy.spec.options.server_keepalive {
        connection.enable_keepalive(proxy.spec.options.server_probes);
    }
    if proxy.spec.options.no_linger {
        connection.close_with_reset();
    }
    let exchange = in_flight(&mut stream.exchange);
    let (link, token) = core
        .pool
        .insert(connection, (backend, index), version, stream.key);
    exchange.link = Some(link);
    exchange.is_reused = false;
    if core
        .pool
        .at(link)
        .connection
        .watch(&core.registry, token)
        .is_err()
    {
        return failed(stream, core, false);
    }
    let is_assumed = core.pool.at(link).connection.is_assumed();
    let step = stream.enter(State::Connecting, core.now_ms);
    if is_assumed {
        // Its request leaves with those of all others that connect in this turn: a server that is woken finds work for all of them.
        core.deferred.push(stream.key);
        return Step::Later;
    }
    step
}

/// Begins a connection to a server. Where the process has no descriptor left for it, idle connections give theirs.
fn connect(
    stream: &Stream,
    core: &mut Core,
    (backend, index): (usize, usize),
) -> io::Result<Connection> {
    loop {
        let server = &core.proxies[backend].servers[index];
        let Some(address) = target(&server.address, &server.port, stream) else {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        };
        let address = address.as_ref().unwrap_or(&server.address);
        // Without anything to send the connection would not even begin.
        let has_data = server.spec.send_proxy.is_some()
            || stream
                .exchange
                .as_deref()
                .is_some_and(|exchange| !exchange.up.buffer.is_empty());
        let source = server.spec.source;
        let connected = match has_data {
            true if server.spec.fast_open => Connection::connect_fast(address, source),
            true => Connection::connect_with_data(address, source),
            false => Connection::connect(address, source),
        };
        match connected {
            Err(error) if is_out_of_descriptors(&error) && core.give_up_idle_connection() => {}
            connected => return connected,
        }
    }
}

pub(super) fn is_idempotent(method: Method) -> bool {
    matches!(
        method,
        Method::Get | Method::Head | Method::Options | Method::Trace | Method::Put | Method::Delete
    )
}

/// Where to connect: `Some(None)` the server's own address, `Some(Some(_))` one with the client's port in it.
fn target(address: &Address, port: &ServerPort, stream: &Stream) -> Option<Option<Address>> {
    match (address, port) {
        (Address::Inet(address), ServerPort::FromClient(offset)) => {
            let client = stream
                .destination
                .or_else(|| stream.client.local_address())?;
            let port = u16::try_from(i32::from(client.port()) + offset).ok()?;
            Some(Some(Address::Inet((address.ip(), port).into())))
        }
        _ => Some(None),
    }
}

/// State `Connecting`: has the connection come to stand?
pub(super) fn check(stream: &mut Stream, core: &mut Core) -> Step {
    let exchange = in_flight(&mut stream.exchange);
    let connection = &core.pool.at(exchange.link_index()).connection;
    if !connection.may_write() {
        return watch_client(stream, core);
    }
    match connection.connect_result() {
        Ok(()) if introduce(stream, core).is_ok() => established(stream, core),
        _ => failed(stream, core, false),
    }
}

/// `send-proxy`: the first bytes of a connection say whose it is.
fn introduce(stream: &mut Stream, core: &mut Core) -> io::Result<()> {
    let exchange = in_flight(&mut stream.exchange);
    let (backend, index) = (exchange.backend_index(), exchange.server_index());
    let Some(form) = core.proxies[backend].servers[index].spec.send_proxy else {
        return Ok(());
    };
    let destination = stream.destination.or_else(|| stream.client.local_address());
    let has_id = matches!(form, Form::Binary(options) if options.has_unique_id);
    if has_id {
        route::make_unique_id(stream, core);
    }
    let exchange = in_flight(&mut stream.exchange);
    let front = stream.front.as_deref();
    let said = Said {
        authority: front
            .and_then(|front| front.header.as_ref())
            .and_then(|header| header.authority.as_deref()),
        unique_id: has_id.then_some(&exchange.unique_id[..]),
    };
    let header = proxy_protocol::encode(form, stream.source, destination, said);
    // A request follows at once, and can travel in the same segment.
    let has_more = core.proxies[stream.frontend as usize].spec.mode == Mode::Http;
    let connection = &mut core.pool.at(exchange.link_index()).connection;
    let sent = connection.write(&[io::IoSlice::new(header.bytes())], has_more)?;
    // The send buffer of a new connection has room for more than that.
    match sent == header.bytes().len() {
        true => Ok(()),
        false => Err(io::ErrorKind::WriteZero.into()),
    }
}

fn established(stream: &mut Stream, core: &mut Core) -> Step {
    let exchange = in_flight(&mut stream.exchange);
    exchange.times.connected_ms = Some(core.now_ms);
    core.pool.at(exchange.link_index()).requests += 1;
    stream.server_active_ms = core.now_ms;
    stream.enter(State::Connected, core.now_ms)
}

/// A connection attempt failed (`timed_out`: it took too long). Tries again, elsewhere or later, or gives up.
pub(super) fn failed(stream: &mut Stream, core: &mut Core, timed_out: bool) -> Step {
    let exchange = in_flight(&mut stream.exchange);
    let (backend, server) = (exchange.backend_index(), exchange.server_index());
    if let Some(link) = exchange.link.take() {
        core.pool.close(link);
    }
    let proxy = &mut core.proxies[backend];
    if exchange.retries_left == 0 || !proxy.spec.retry_on.has(RetryOn::CONNECT) {
        proxy.backend_counters.connections_failed += 1;
        proxy.servers[server].counters.connections_failed += 1;
        let cause = if timed_out {
            Cause::ServerTimeout
        } else {
            Cause::ServerAbort
        };
        return reply::answer(stream, core, 503, cause, Phase::Connect);
    }
    exchange.retries_left -= 1;
    exchange.retries += 1;
    if may_redispatch(proxy, exchange) {
        // Not at once: where each attempt fails at once, one call would lie in the other, `retries` deep.
        return stream.enter(State::Redispatching, core.now_ms);
    }
    proxy.backend_counters.retries += 1;
    proxy.servers[server].counters.retries += 1;
    if timed_out {
        return open_again(stream, core);
    }
    // Its client may have gone already, with its request.
    stream.enter(State::TurnAround, core.now_ms)
}

/// Nothing of the request could be written: the connection, which was taken to stand, does not yet. It is waited for, and so are the next ones
/// of this server.
pub(super) fn stands_not_yet(stream: &mut Stream, core: &mut Core) -> Step {
    let exchange = in_flight(&mut stream.exchange);
    let (backend, server) = (exchange.backend_index(), exchange.server_index());
    core.proxies[backend].servers[server].readiness.found(false);
    core.pool.at(exchange.link_index()).requests -= 1;
    exchange.up.rewind();
    exchange.times.connected_ms = None;
    stream.enter(State::Connecting, core.now_ms)
}

/// A connection with `tfo`, or one that was taken to stand, may turn out to be refused when its request is written: that is a failed connect,
/// and no answer. The request goes out again if it is still here.
pub(super) fn refused_late(stream: &mut Stream, core: &mut Core) -> Step {
    let exchange = in_flight(&mut stream.exchange);
    match exchange.up.can_replay() || exchange.up.sent == 0 {
        true => exchange.up.rewind(),
        false => exchange.retries_left = 0,
    }
    exchange.times.connected_ms = None;
    failed(stream, core, false)
}

/// `option redispatch [n]`: every nth retry goes elsewhere, or with a negative n the one n before the end; and with
/// round robin each retry of a stream that no stick rule bound (configuration manual, "option redispatch").
pub(super) fn may_redispatch(proxy: &Proxy, exchange: &Exchange) -> bool {
    let (retries, retries_left) = (exchange.retries, exchange.retries_left);
    let interval = proxy.spec.options.redispatch;
    let is_due = match interval {
        0 => return false,
        1.. => retries % interval.unsigned_abs() == 0,
        _ => retries_left + 1 == interval.unsigned_abs(),
    };
    let is_free = !exchange.is_sticky
        && proxy.usable_counts().0 > 1
        && matches!(
            proxy.spec.balance,
            Balance::RoundRobin | Balance::StaticRoundRobin
        );
    is_due || is_free
}

/// State `Redispatching`: gives the place on the server that failed back, and chooses another.
pub(super) fn redispatch(stream: &mut Stream, core: &mut Core) -> Step {
    let exchange = in_flight(&mut stream.exchange);
    let (backend, server) = (
        exchange.backend_index(),
        exchange.server.take().expect("chosen"),
    );
    exchange.failed_server = Some(server);
    if exchange.cookies.request == b'V' {
        // The client's cookie led to a server that does not answer.
        exchange.cookies.request = b'D';
    }
    finish::release_place(exchange, core, backend, server);
    dispatch(stream, core, None, Some(server))
}

/// The pause before the next attempt is over. If the server went down meanwhile, the stream may go elsewhere.
pub(super) fn try_again(stream: &mut Stream, core: &mut Core) -> Step {
    let exchange = in_flight(&mut stream.exchange);
    let proxy = &core.proxies[exchange.backend_index()];
    let is_down = !proxy.servers[exchange.server_index()].is_up();
    if is_down && proxy.spec.options.redispatch != 0 {
        return redispatch(stream, core);
    }
    open_again(stream, core)
}

/// Another attempt at the same server, which counts as a session of it, as in HAProxy.
fn open_again(stream: &mut Stream, core: &mut Core) -> Step {
    let exchange = in_flight(&mut stream.exchange);
    let (backend, server) = (exchange.backend_index(), exchange.server_index());
    let counters = &mut core.proxies[backend].servers[server].counters;
    counters.session_started(core.now_ms);
    open(stream, core, false)
}

/// The reused connection proved dead before an answer began: connects anew to the same server.
pub(super) fn replace_dead_connection(stream: &mut Stream, core: &mut Core) -> Step {
    let exchange = in_flight(&mut stream.exchange);
    if let Some(link) = exchange.link.take() {
        core.pool.close(link);
    }
    exchange.up.rewind();
    exchange.times.connected_ms = None;
    open(stream, core, false)
}

/// While nothing else can happen: notices a client that gives up. A client that only closes its sending side after
/// a complete request still waits for the answer, unless `option abortonclose`.
pub(super) fn watch_client(stream: &mut Stream, core: &mut Core) -> Step {
    while stream.client.may_read() && in_flight(&mut stream.exchange).up.has_room() {
        let received = stream.receive(core);
        let exchange = in_flight(&mut stream.exchange);
        let gives_up = match received {
            Ok(ReadResult::Bytes(_)) => continue,
            Ok(ReadResult::WouldBlock) => break,
            Ok(ReadResult::End) => core.aborts_on_close(stream.frontend, exchange.backend),
            Err(_) => true,
        };
        if gives_up {
            let phase = if stream.state == State::Queued {
                Phase::Queue
            } else {
                Phase::Connect
            };
            finish::count_client_abort(exchange, core);
            exchange.termination.set(Cause::ClientAbort, phase);
            return Step::Close;
        }
        break;
    }
    Step::Wait
}
