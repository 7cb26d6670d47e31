//! What a stream says of itself: the record that log lines and the variables of formats are made of, and when a line is written.
//!
//! Not here: how lines look (`log`, `sample::format`).

use std::rc::Rc;

use super::exchange::{Exchange, Service};
use super::{Core, Stream, decide};
use crate::backend;
use crate::config::model::{Mode, Proxy};
use crate::log::{Endpoint, Record, ServerName, Severity, TargetSet, Timers};
use crate::net::Address;
use crate::rules::LogLevel;
use crate::sample::format::Format;

/// The default line is written as soon as it is known that there is a stream: there is nothing in it to wait for.
pub(super) fn log_start(stream: &mut Stream, core: &mut Core) {
    if core.proxies[stream.frontend as usize]
        .spec
        .log_format
        .is_connect()
    {
        write_line(stream, core, true);
    }
}

/// `option logasap`: the line is written as soon as the response begins, or, in TCP mode, the connection stands.
pub(super) fn log_early(stream: &mut Stream, core: &mut Core) {
    let Some(exchange) = stream.exchange.as_mut() else {
        return;
    };
    let frontend = &core.proxies[stream.frontend as usize];
    let is_due = frontend.spec.options.log_asap && !frontend.spec.log_format.is_connect();
    if is_due && !exchange.is_logged {
        exchange.is_logged_early = true;
        write_line(stream, core, true);
    }
}

/// What of the process a record says. Built in place, so that the rest of the `Core` stays free to be changed.
pub(super) struct Process<'r> {
    /// Monotonic time.
    pub now_ms: u64,
    /// Client connections.
    pub connections: u32,
    /// Name of this machine.
    pub host_name: &'r str,
    /// Its number.
    pub pid: u32,
}

/// The record of a stream, without what its exchange keeps itself (`Captures`). A stream that stays
/// (`is_early`) counts itself where it is.
pub(super) fn record<'r>(
    stream: &Stream,
    exchange: &Exchange,
    proxies: &'r [backend::Proxy],
    process: &Process<'r>,
    is_early: bool,
) -> Record<'r> {
    let frontend = &proxies[stream.frontend as usize];
    let backend = exchange.backend.map(|backend| &proxies[backend]);
    let server = exchange
        .server
        .and_then(|server| backend.map(|backend| &backend.servers[server]));
    let listener_id = frontend.spec.binds[stream.bind as usize].id;
    let endpoint =
        |address: Option<_>| address.map_or(Endpoint::Unix { listener_id }, Endpoint::Inet);
    Record {
        client: endpoint(stream.source),
        destination: endpoint(stream.destination),
        accepted: stream.turn_began,
        request_started: exchange.started,
        frontend: &frontend.spec.name,
        tls: false,
        mode_http: frontend.spec.mode == Mode::Http,
        backend: backend.map_or(&frontend.spec.name, |backend| &backend.spec.name),
        server: match server {
            Some(server) => ServerName::Named(&server.spec.name),
            None if exchange.service != Service::None => ServerName::Exporter,
            None => ServerName::None,
        },
        server_address: server.and_then(|server| match server.address {
            Address::Inet(address) => Some(Endpoint::Inet(address)),
            _ => None,
        }),
        server_source: None,
        timers: timers(exchange, stream.turn_ms, process.now_ms),
        log_asap: frontend.spec.options.log_asap,
        status: exchange.status,
        bytes: exchange.logged_total(),
        bytes_uploaded: exchange.received_total(),
        termination: exchange.termination,
        cookies: exchange.cookies,
        process_connections: process.connections,
        frontend_connections: frontend.connections,
        // The stream itself no longer counts where it is about to leave, as HAProxy has it.
        backend_connections: backend.map_or(0, |backend| {
            backend.sessions - u32::from(!exchange.has_left && !is_early)
        }),
        server_connections: server.map_or(0, |server| {
            server.sessions - u32::from(exchange.holds_place && !is_early)
        }),
        retries: exchange.retries,
        redispatched: exchange.is_redispatched,
        server_queue: exchange.queue_places.0,
        backend_queue: exchange.queue_places.1,
        host_name: process.host_name,
        pid: process.pid,
        request_counter: exchange.number,
        log_counter: frontend.lines_logged,
    }
}

/// Writes the log line.
pub(super) fn write_line(stream: &mut Stream, core: &mut Core, is_early: bool) {
    let frontend = stream.frontend as usize;
    let set = core.log_sets[frontend];
    if stream.exchange.is_none() || !core.logger.has_targets(set) {
        return;
    }
    let spec = Rc::clone(&core.proxies[frontend].spec);
    let formats = [line_format(stream, &spec), spec.log_format_sd.as_deref()];
    let is_custom = formats.iter().any(Option::is_some);
    let formats = formats
        .into_iter()
        .chain([spec.unique_id_format.as_deref()]);
    let is_shown = |asks: fn(&Format) -> bool| is_custom && formats.clone().flatten().any(asks);
    let shows_destination = spec.log_format.is_connect() || is_shown(Format::needs_destination);
    if shows_destination {
        decide::know_destination(stream);
    }
    let server_source = match is_shown(Format::needs_server_source) {
        true => server_source(stream, core),
        false => None,
    };
    if is_no_request(stream, &spec) {
        // What is no request has no number; its line has.
        if let Some(exchange) = stream.exchange.as_deref_mut() {
            exchange.number = core.requests_begun;
        }
        core.requests_begun += 1;
    }
    let Some(exchange) = stream.exchange.as_deref() else {
        return;
    };
    let process = Process {
        now_ms: core.now_ms,
        connections: core.connections,
        host_name: &core.host_name,
        pid: core.pid,
    };
    let record = record(stream, exchange, &core.proxies, &process, is_early);
    if spec.options.dont_log_normal && !record.is_error() {
        return;
    }
    let severity = match exchange.notes.log_level {
        LogLevel::Silent => return,
        LogLevel::Level(level) => Severity::of(level),
        LogLevel::Unchanged if spec.options.log_separate_errors && record.is_error() => {
            Severity::Error
        }
        LogLevel::Unchanged => Severity::Info,
    };
    if !is_custom {
        let built_in = (&record, &exchange.captures);
        core.logger
            .stream(severity, set, &spec.log_format, built_in, b"");
    } else {
        write_custom(
            stream,
            core,
            (severity, set),
            &spec,
            server_source,
            is_early,
        );
    }
    core.proxies[frontend].lines_logged += 1;
}

/// Whether the connection was refused, or said something that is no request.
fn is_no_request(stream: &Stream, spec: &Proxy) -> bool {
    let has_head = |exchange: &Exchange| exchange.times.head_ms.is_some();
    let is_request = spec.mode != Mode::Http || stream.exchange.as_deref().is_some_and(has_head);
    stream.fault().is_some() || !is_request
}

/// The format of the line: `error-log-format` of what is no request, else `log-format`.
fn line_format<'p>(stream: &Stream, spec: &'p Proxy) -> Option<&'p Format> {
    let error = spec.error_log_format.as_deref();
    let error = error.filter(|_| is_no_request(stream, spec));
    error.or(spec.log_format.custom())
}

/// Writes a line that has a `log-format`, or structured data.
fn write_custom(
    stream: &mut Stream,
    core: &mut Core,
    (severity, set): (Severity, TargetSet),
    spec: &Proxy,
    server_source: Option<Endpoint>,
    is_early: bool,
) {
    // The log has one for whatever was a request, also when it went to no server.
    let is_valid = !is_no_request(stream, spec);
    let format = line_format(stream, spec);
    let mut scene = decide::scene_with(stream, core, Some(is_early));
    if let Some(record) = &mut scene.record {
        record.server_source = server_source;
    }
    let mut cx = scene.context();
    if is_valid {
        cx.unique_id();
    }
    let text = format.map(|format| format.text(&mut cx));
    let mut structured = cx.scratch.texts.take();
    if let Some(format) = &spec.log_format_sd {
        format.write(&mut structured, &mut cx);
    }
    match &text {
        Some(text) => core
            .logger
            .line(severity, set, text.as_bytes(), structured.as_bytes()),
        None => {
            let Some(exchange) = stream.exchange.as_deref() else {
                return;
            };
            let process = Process {
                now_ms: core.now_ms,
                connections: core.connections,
                host_name: &core.host_name,
                pid: core.pid,
            };
            let record = record(stream, exchange, &core.proxies, &process, is_early);
            let built_in = (&record, &exchange.captures);
            core.logger.stream(
                severity,
                set,
                &spec.log_format,
                built_in,
                structured.as_bytes(),
            );
        }
    }
    core.scratch.texts.give(structured);
    if let Some(text) = text {
        core.scratch.texts.give(text);
    }
}

/// Where the server was connected to from.
fn server_source(stream: &Stream, core: &mut Core) -> Option<Endpoint> {
    let link = stream.exchange.as_deref()?.link?;
    let address = core.pool.at(link).connection.local_address()?;
    Some(Endpoint::Inet(address))
}

/// The stages of an exchange as durations. `turn_ms`: when the connection was accepted, or the request before it ended.
pub(super) fn timers(exchange: &Exchange, turn_ms: u64, now_ms: u64) -> Timers {
    let times = &exchange.times;
    let between = |from: Option<u64>, to: Option<u64>| Some(to?.saturating_sub(from?));
    // TCP has no request head: its queueing starts at once.
    let is_tcp = exchange.captures.request_line.is_empty();
    let decided_ms = times.head_ms.or(is_tcp.then_some(times.started_ms));
    let data_from_ms = match is_tcp {
        true => times.connected_ms,
        false => times.response_ms,
    };
    Timers {
        request_ms: between(
            Some(times.started_ms),
            times.head_ms.filter(|_| !times.tarpit),
        ),
        queue_ms: between(decided_ms, times.assigned_ms),
        connect_ms: between(times.assigned_ms, times.connected_ms),
        response_ms: between(times.connected_ms, times.response_ms),
        data_ms: between(data_from_ms, Some(now_ms)),
        idle_ms: times.started_ms.saturating_sub(turn_ms),
        active_ms: now_ms.saturating_sub(times.started_ms),
        total_ms: now_ms.saturating_sub(turn_ms),
    }
}
