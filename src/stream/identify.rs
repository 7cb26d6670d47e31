//! From a connection to a session: whose connection it is (`accept-proxy`, `expect-proxy`), and whether it may begin.
//!
//! The rules of `tcp-request connection` see the connection's own addresses; everything after them sees those of the PROXY header.
//! Not here: what a header looks like (`net::proxy_protocol`).

use super::exchange::in_flight;
use super::{Core, Front, State, Step, Stream, decide, log, tcp, track};
use crate::config::model::Mode;
use crate::log::{Cause, Phase, Severity, Termination, date_text};
use crate::net::ReadResult;
use crate::net::proxy_protocol::{self, Fault, Origin};
use crate::rules::SetKind;
use crate::stick::tracked::Event;

/// A connection was accepted: its first rules, its header, its session.
pub(super) fn begin(stream: &mut Stream, core: &mut Core) -> Step {
    if decide::refuses(stream, core, SetKind::TcpConnection) {
        return Step::Close;
    }
    let bind = &core.proxies[stream.frontend as usize].spec.binds[stream.bind as usize];
    let has_header = std::mem::take(&mut core.unnoted.expects_header) || bind.accept_proxy;
    if !has_header {
        return begin_session(stream, core);
    }
    let pool = match core.proxies[stream.frontend as usize].spec.mode {
        Mode::Tcp => &mut core.tcp_exchanges,
        Mode::Http => &mut core.exchanges,
    };
    let mut exchange = pool.take();
    exchange.begin(core.now_ms, core.wall);
    // Nothing is said in the log of requests of a connection that never was a session.
    exchange.is_logged = true;
    stream.exchange = Some(exchange);
    stream.enter(State::Header, core.now_ms)
}

/// State `Header`: reads until the PROXY header is complete.
pub(super) fn read_header(stream: &mut Stream, core: &mut Core) -> Step {
    loop {
        let exchange = in_flight(&mut stream.exchange);
        let bytes = exchange.up.buffer.filled();
        let room = core.buffers.buffer_bytes();
        match proxy_protocol::decode(bytes, room) {
            proxy_protocol::Step::Incomplete => {}
            proxy_protocol::Step::Refused(fault) => return refuse(stream, core, fault),
            proxy_protocol::Step::Complete(length, origin) => {
                let details = proxy_protocol::Details::of(&bytes[..length]);
                exchange.up.skip(length);
                stream.front = Some(Box::new(Front {
                    addresses: [None; 2],
                    header: Some(details),
                    fault: None,
                }));
                if let Origin::Client {
                    source,
                    destination,
                } = origin
                {
                    stream.source = Some(source);
                    stream.destination = Some(destination);
                }
                return begin_session(stream, core);
            }
        }
        if !stream.client.may_read() && !stream.client.is_read_closed() {
            return Step::Wait;
        }
        match in_flight(&mut stream.exchange)
            .up
            .fill(&mut stream.client, &mut core.buffers)
        {
            Ok(ReadResult::Bytes(_)) => {}
            Ok(ReadResult::WouldBlock) => return Step::Wait,
            Ok(ReadResult::End) | Err(_) => {
                return match in_flight(&mut stream.exchange).up.buffer.is_empty() {
                    true => refuse(stream, core, Fault::Closed),
                    false => refuse(stream, core, Fault::Truncated),
                };
            }
        }
    }
}

/// The header did not come in time (`timeout client`).
pub(super) fn header_expired(stream: &mut Stream, core: &mut Core) -> Step {
    refuse(stream, core, Fault::Late)
}

/// Closes a connection that said something else, with a line in the log: HAProxy's, or what `error-log-format` makes of it.
fn refuse(stream: &mut Stream, core: &mut Core, fault: Fault) -> Step {
    let addresses = [stream.source, stream.destination];
    stream.front = Some(Box::new(Front {
        addresses,
        header: None,
        fault: Some(fault),
    }));
    let is_empty = in_flight(&mut stream.exchange).up.buffer.is_empty();
    if !is_empty {
        // As of HAProxy, which leaves in the socket what it only looked at.
        stream.client.close_with_reset();
    }
    if is_empty
        && core.proxies[stream.frontend as usize]
            .spec
            .options
            .dont_log_null
    {
        return Step::Close;
    }
    let frontend = &core.proxies[stream.frontend as usize];
    if frontend.spec.error_log_format.is_some() {
        let exchange = in_flight(&mut stream.exchange);
        exchange.termination = Termination::new(Cause::Proxy, Phase::Request);
        exchange.status = Some(0);
        log::write_line(stream, core, false);
        return Step::Close;
    }
    let bind = &frontend.spec.binds[stream.bind as usize];
    let set = core.log_sets[stream.frontend as usize];
    let severity = match frontend.spec.options.log_separate_errors {
        true => Severity::Error,
        false => Severity::Info,
    };
    let millis = decide::wall_ms(stream.accepted) % 1000;
    let date = format!("{}.{millis:03}", date_text(stream.accepted));
    let (name, text) = (&frontend.spec.name, fault.text());
    let number = bind.id.to_string();
    let listener = bind.name.as_deref().unwrap_or(&number);
    match stream.source {
        Some(source) => {
            let (ip, port) = (source.ip(), source.port());
            core.logger.notice(
                severity,
                set,
                format_args!("{ip}:{port} [{date}] {name}/{listener}: {text}"),
            );
        }
        None => core.logger.notice(
            severity,
            set,
            format_args!("unix:{} [{date}] {name}/{listener}: {text}", bind.id),
        ),
    }
    Step::Close
}

/// The connection is a session: its rules, its counts, and its first request.
fn begin_session(stream: &mut Stream, core: &mut Core) -> Step {
    if core.sets_addresses || stream.front.is_some() {
        let front = stream.front.get_or_insert_default();
        front.addresses = [stream.source, stream.destination];
    }
    if decide::refuses(stream, core, SetKind::TcpSession) {
        return Step::Close;
    }
    track::count(stream, core, Event::Session);
    let frontend = &mut core.proxies[stream.frontend as usize];
    frontend.frontend_counters.session_started(core.now_ms);
    core.process.session_rate.count(core.now_ms);
    match frontend.spec.mode {
        Mode::Tcp => tcp::begin(stream, core),
        Mode::Http => {
            if let Some(exchange) = stream.exchange.as_mut() {
                // What followed the header belongs to the first request.
                exchange.begin(core.now_ms, core.wall);
            }
            stream.enter(State::Idle, core.now_ms)
        }
    }
}
