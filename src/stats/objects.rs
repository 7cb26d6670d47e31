//! Rows of `show stat`: which columns a frontend, listener, server and backend have.
//!
//! A column that HAProxy leaves empty for a kind of object is left empty here. Columns of TLS, HTTP/2 and compression are
//! zero, as on a HAProxy that uses none of them.

use super::row::{Form, ObjectKind, Row, Value};
use crate::backend::counters::Responses;
use crate::backend::{Health, Proxy, Server};
use crate::config::model::{Balance, Mode, ServerPort};
use crate::net::Address;

const TLS_COLUMNS: [&str; 3] = ["ssl_sess", "ssl_reused_sess", "ssl_failed_handshake"];

const HTTP2_COLUMNS: [&str; 13] = [
    "h2_headers_rcvd",
    "h2_data_rcvd",
    "h2_settings_rcvd",
    "h2_rst_stream_rcvd",
    "h2_goaway_rcvd",
    "h2_detected_conn_protocol_errors",
    "h2_detected_strm_protocol_errors",
    "h2_rst_stream_resp",
    "h2_goaway_resp",
    "h2_open_connections",
    "h2_backend_open_streams",
    "h2_total_connections",
    "h2_backend_total_streams",
];

/// How rows are written.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Layout.
    pub form: Form,
    /// Show where servers are and how they are balanced: for operators, not for users.
    pub show_addresses: bool,
    /// Show how many of a backend's servers are up beside its state (`up`, `no-maint`).
    pub show_server_counts: bool,
    /// Now, on the monotonic clock.
    pub now_ms: u64,
}

/// The row of a proxy's frontend side.
pub fn write_frontend(out: &mut Vec<u8>, style: &Style, proxy: &Proxy) {
    let counters = &proxy.frontend_counters;
    let is_http = proxy.spec.mode == Mode::Http;
    let mut row = Row::begin(out, style.form, ObjectKind::Frontend, proxy.spec.id, 0);
    row.put("pxname", Value::Text(&proxy.spec.name));
    row.put("svname", Value::Text("FRONTEND"));
    row.put("scur", Value::U32(proxy.connections));
    row.put("smax", Value::U32(counters.connections_max));
    row.put("slim", Value::U32(proxy.maxconn));
    row.put("stot", Value::U64(counters.sessions_total));
    row.put("bin", Value::U64(counters.bytes_in));
    row.put("bout", Value::U64(counters.bytes_out));
    row.put("dreq", Value::U64(counters.requests_denied));
    row.put("dresp", Value::U64(counters.responses_denied));
    row.put("ereq", Value::U64(counters.requests_failed));
    row.put("status", Value::Text("OPEN"));
    put_identity(&mut row, proxy, 0);
    row.put("type", Value::U32(0));
    row.put("rate", Value::U32(counters.session_rate.read(style.now_ms)));
    row.put("rate_lim", Value::U32(0));
    row.put("rate_max", Value::U32(counters.session_rate.max));
    if is_http {
        put_responses(&mut row, &counters.responses);
    }
    row.put(
        "req_rate",
        Value::U32(counters.request_rate.read(style.now_ms)),
    );
    row.put("req_rate_max", Value::U32(counters.request_rate.max));
    row.put("req_tot", Value::U64(counters.requests_total));
    row.put_all(
        &["comp_in", "comp_out", "comp_byp", "comp_rsp"],
        Value::U64(0),
    );
    put_mode(&mut row, proxy);
    row.put(
        "conn_rate",
        Value::U32(counters.connection_rate.read(style.now_ms)),
    );
    row.put("conn_rate_max", Value::U32(counters.connection_rate.max));
    row.put("conn_tot", Value::U64(counters.connections_total));
    if is_http {
        row.put("intercepted", Value::U64(counters.intercepted));
    }
    row.put("dcon", Value::U64(counters.connections_denied));
    row.put("dses", Value::U64(counters.sessions_denied));
    row.put("wrew", Value::U64(counters.rewrites_failed));
    if is_http {
        row.put_all(&["cache_lookups", "cache_hits"], Value::U64(0));
    }
    row.put("eint", Value::U64(counters.internal_errors));
    row.put_all(&TLS_COLUMNS, Value::U64(0));
    row.put_all(&HTTP2_COLUMNS, Value::U64(0));
    if is_http {
        row.put("h1_open_connections", Value::U64(proxy.connections.into()));
        row.put(
            "h1_total_connections",
            Value::U64(counters.connections_total),
        );
        row.put("h1_total_streams", Value::U64(counters.requests_total));
    }
    row.end();
}

/// The row of one of a proxy's `bind` addresses; HAProxy shows them under `option socket-stats`.
pub fn write_listener(out: &mut Vec<u8>, style: &Style, proxy: &Proxy, listener: usize) {
    let (Some(bind), Some(counters)) = (
        proxy.spec.binds.get(listener),
        proxy.listener_counters.get(listener),
    ) else {
        return;
    };
    let mut row = Row::begin(
        out,
        style.form,
        ObjectKind::Listener,
        proxy.spec.id,
        bind.id,
    );
    row.put("pxname", Value::Text(&proxy.spec.name));
    let numbered = format!("sock-{}", bind.id);
    row.put(
        "svname",
        Value::Text(bind.name.as_deref().unwrap_or(&numbered)),
    );
    row.put("scur", Value::U32(counters.connections));
    row.put("smax", Value::U32(counters.connections_max));
    row.put("slim", Value::U32(bind.maxconn.unwrap_or(0)));
    row.put("stot", Value::U64(counters.connections_total));
    row.put("bin", Value::U64(counters.bytes_in));
    row.put("bout", Value::U64(counters.bytes_out));
    row.put("dreq", Value::U64(counters.requests_denied));
    row.put("dresp", Value::U64(counters.responses_denied));
    row.put("ereq", Value::U64(counters.requests_failed));
    row.put("status", Value::Text("OPEN"));
    put_identity(&mut row, proxy, bind.id);
    row.put("type", Value::U32(3));
    if style.show_addresses {
        row.put("addr", Value::Text(&address_text(&bind.address)));
    }
    put_mode(&mut row, proxy);
    row.put("dcon", Value::U64(counters.connections_denied));
    row.put("dses", Value::U64(counters.sessions_denied));
    row.put("wrew", Value::U64(0));
    row.put("eint", Value::U64(counters.internal_errors));
    row.put_all(&TLS_COLUMNS, Value::U64(0));
    row.end();
}

/// The row of a server.
pub fn write_server(out: &mut Vec<u8>, style: &Style, proxy: &Proxy, server: &Server) {
    let counters = &server.counters;
    let is_http = proxy.spec.mode == Mode::Http;
    let check = server.spec.check.as_ref();
    let mut row = Row::begin(
        out,
        style.form,
        ObjectKind::Server,
        proxy.spec.id,
        server.spec.id,
    );
    row.put("pxname", Value::Text(&proxy.spec.name));
    row.put("svname", Value::Text(&server.spec.name));
    row.put("qcur", Value::U32(count(server.queue.len())));
    row.put("qmax", Value::U32(counters.queue_max));
    row.put("scur", Value::U32(server.sessions));
    row.put("smax", Value::U32(server.sessions_max));
    if server.maxconn > 0 {
        row.put("slim", Value::U32(server.maxconn));
    }
    row.put("stot", Value::U64(counters.sessions_total));
    row.put("bin", Value::U64(counters.bytes_in));
    row.put("bout", Value::U64(counters.bytes_out));
    row.put("dresp", Value::U64(counters.responses_denied));
    row.put("econ", Value::U64(counters.connections_failed));
    row.put("eresp", Value::U64(counters.responses_failed));
    row.put("wretr", Value::U64(counters.retries));
    row.put("wredis", Value::U64(counters.redispatches));
    row.put("status", Value::Text(&server_status(server)));
    row.put("weight", Value::U32(server.weight));
    row.put("act", Value::U32(u32::from(!server.spec.backup)));
    row.put("bck", Value::U32(u32::from(server.spec.backup)));
    if check.is_some() {
        row.put("chkfail", Value::U64(counters.checks_failed));
        row.put("chkdown", Value::U64(counters.down_transitions));
    }
    let since_change_secs = seconds_since(style.now_ms, server.last_change_ms);
    row.put("lastchg", Value::U32(since_change_secs));
    if check.is_some() {
        let downtime_secs = server_downtime_secs(server, style.now_ms);
        row.put("downtime", Value::U32(downtime_secs));
    }
    if server.spec.maxqueue > 0 {
        row.put("qlimit", Value::U32(server.spec.maxqueue));
    }
    put_identity(&mut row, proxy, server.spec.id);
    row.put("lbtot", Value::U64(counters.balanced_total));
    row.put("type", Value::U32(2));
    row.put("rate", Value::U32(counters.session_rate.read(style.now_ms)));
    row.put("rate_max", Value::U32(counters.session_rate.max));
    let shown_check = check.filter(|_| !server.admin.is_maintenance());
    if shown_check.is_some() {
        put_check_outcome(&mut row, server);
    }
    if is_http {
        put_responses(&mut row, &counters.responses);
        row.put("req_tot", Value::U64(counters.requests_total));
    }
    row.put("cli_abrt", Value::U64(counters.client_aborts));
    row.put("srv_abrt", Value::U64(counters.server_aborts));
    put_last_session(&mut row, style, counters.last_session_ms);
    if shown_check.is_some() && server.check.duration_ms.is_some() {
        row.put("last_chk", Value::Text(&server.check.detail));
    }
    put_times(&mut row, AVERAGES, counters.times.averages_ms());
    if let Some(check) = shown_check {
        row.put("check_desc", Value::Text(server.check.status.describe()));
        row.put("check_rise", Value::U32(check.rise));
        row.put("check_fall", Value::U32(check.fall));
        row.put("check_health", Value::U32(server.check.health));
    }
    if style.show_addresses {
        row.put("addr", Value::Text(&server_address_text(server)));
        if let Some(cookie) = &server.cookie {
            row.put("cookie", Value::Text(cookie));
        }
    }
    put_mode(&mut row, proxy);
    row.put("wrew", Value::U64(counters.rewrites_failed));
    row.put("connect", Value::U64(counters.connects));
    row.put("reuse", Value::U64(counters.reuses));
    row.put("srv_icur", Value::U32(server.idle_connections));
    if let Some(pool_max) = server.spec.pool_max {
        row.put("src_ilim", Value::U32(pool_max));
    }
    put_times(&mut row, MAXIMA, counters.times.maxima_ms());
    row.put("eint", Value::U64(counters.internal_errors));
    row.put("idle_conn_cur", Value::U32(server.idle_connections));
    row.put("safe_conn_cur", Value::U32(0));
    row.put("used_conn_cur", Value::U32(server.sessions));
    row.put("uweight", Value::U32(server.weight));
    row.put_all(&TLS_COLUMNS, Value::U64(0));
    row.end();
}

/// The row of a proxy's backend side.
pub fn write_backend(out: &mut Vec<u8>, style: &Style, proxy: &Proxy) {
    let counters = &proxy.backend_counters;
    let is_http = proxy.spec.mode == Mode::Http;
    let (active, backup) = proxy.usable_counts();
    let is_up = is_backend_up(proxy);
    let mut row = Row::begin(out, style.form, ObjectKind::Backend, proxy.spec.id, 0);
    row.put("pxname", Value::Text(&proxy.spec.name));
    row.put("svname", Value::Text("BACKEND"));
    row.put("qcur", Value::U32(count(proxy.queue.len())));
    row.put("qmax", Value::U32(counters.queue_max));
    row.put("scur", Value::U32(proxy.sessions));
    row.put("smax", Value::U32(counters.sessions_max));
    row.put("slim", Value::U32(proxy.fullconn));
    row.put("stot", Value::U64(counters.sessions_total));
    row.put("bin", Value::U64(counters.bytes_in));
    row.put("bout", Value::U64(counters.bytes_out));
    row.put("dreq", Value::U64(counters.requests_denied));
    row.put("dresp", Value::U64(counters.responses_denied));
    row.put("econ", Value::U64(counters.connections_failed));
    row.put("eresp", Value::U64(counters.responses_failed));
    row.put("wretr", Value::U64(counters.retries));
    row.put("wredis", Value::U64(counters.redispatches));
    let state = if is_up { "UP" } else { "DOWN" };
    let counted = format!("{state} ({}/{})", active + backup, proxy.servers.len());
    row.put(
        "status",
        Value::Text(if style.show_server_counts {
            &counted
        } else {
            state
        }),
    );
    row.put("weight", Value::U32(proxy.weight_total()));
    row.put_tagged("act", b"MGP", Value::U32(count(active)));
    row.put_tagged("bck", b"MGP", Value::U32(count(backup)));
    row.put("chkdown", Value::U64(counters.down_transitions));
    let since_change_secs = seconds_since(style.now_ms, proxy.last_change_ms);
    row.put("lastchg", Value::U32(since_change_secs));
    let downtime_secs = backend_downtime_secs(proxy, style.now_ms);
    row.put("downtime", Value::U32(downtime_secs));
    put_identity(&mut row, proxy, 0);
    row.put("lbtot", Value::U64(counters.balanced_total));
    row.put("type", Value::U32(1));
    row.put_tagged(
        "rate",
        b"MGP",
        Value::U32(counters.session_rate.read(style.now_ms)),
    );
    row.put_tagged("rate_max", b"MGP", Value::U32(counters.session_rate.max));
    if is_http {
        put_responses(&mut row, &counters.responses);
        row.put("req_tot", Value::U64(counters.requests_total));
    }
    row.put("cli_abrt", Value::U64(counters.client_aborts));
    row.put("srv_abrt", Value::U64(counters.server_aborts));
    row.put_all(
        &["comp_in", "comp_out", "comp_byp", "comp_rsp"],
        Value::U64(0),
    );
    put_last_session(&mut row, style, counters.last_session_ms);
    put_times(&mut row, AVERAGES, counters.times.averages_ms());
    if let (true, Some(cookie)) = (style.show_addresses, &proxy.spec.cookie) {
        row.put("cookie", Value::Text(&cookie.name));
    }
    put_mode(&mut row, proxy);
    if style.show_addresses {
        row.put("algo", Value::Text(balance_name(&proxy.spec.balance)));
    }
    row.put("wrew", Value::U64(counters.rewrites_failed));
    row.put("connect", Value::U64(counters.connects));
    row.put("reuse", Value::U64(counters.reuses));
    if is_http {
        row.put_all(&["cache_lookups", "cache_hits"], Value::U64(0));
    }
    put_times(&mut row, MAXIMA, counters.times.maxima_ms());
    row.put("eint", Value::U64(counters.internal_errors));
    row.put("uweight", Value::U32(proxy.weight_total()));
    row.put_all(
        &[
            "agg_server_status",
            "agg_server_check_status",
            "agg_check_status",
        ],
        Value::U32(0),
    );
    row.put_all(&TLS_COLUMNS, Value::U64(0));
    row.put_all(&HTTP2_COLUMNS, Value::U64(0));
    row.end();
}

/// A server's state, checks and operator taken together. The order is that of the exporter's labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerState {
    /// The checks say that it is down.
    Down,
    /// It may be chosen, as far as its state goes.
    Up,
    /// In maintenance.
    Maintenance,
    /// It takes no new clients: the operator wants it empty.
    Drain,
    /// The same, because its checks say so.
    Stopping,
}

impl ServerState {
    /// The state of a server.
    pub(super) fn of(server: &Server) -> ServerState {
        match server.health {
            _ if server.admin.is_maintenance() => ServerState::Maintenance,
            Health::Stopped => ServerState::Down,
            Health::Stopping => ServerState::Stopping,
            _ if server.admin.is_drain() => ServerState::Drain,
            _ => ServerState::Up,
        }
    }
}

/// `status` of a server in HAProxy's words.
fn server_status(server: &Server) -> String {
    let health = server.check.health;
    let word = match (ServerState::of(server), &server.spec.check) {
        (ServerState::Maintenance, _) => return "MAINT".to_owned(),
        (ServerState::Down, Some(check)) if health > 0 => {
            return format!("DOWN {health}/{}", check.rise);
        }
        (ServerState::Down, _) => return "DOWN".to_owned(),
        (ServerState::Stopping, _) => "NOLB",
        (ServerState::Drain, _) => "DRAIN",
        (ServerState::Up, None) => "no check",
        (ServerState::Up, Some(_)) => "UP",
    };
    match &server.spec.check {
        // Failures that would not yet take it down have been seen.
        Some(check) if health + 1 < check.rise + check.fall => {
            let left = (health + 1).saturating_sub(check.rise);
            format!("{word} {left}/{}", check.fall)
        }
        _ => word.to_owned(),
    }
}

/// Whether a backend has a server that may be chosen, or none at all.
pub(super) fn is_backend_up(proxy: &Proxy) -> bool {
    let (active, backup) = proxy.usable_counts();
    active + backup > 0 || proxy.servers.is_empty()
}

/// How long a backend has been down in all.
pub(super) fn backend_downtime_secs(proxy: &Proxy, now_ms: u64) -> u32 {
    let before_secs = seconds(proxy.backend_counters.downtime_ms);
    match is_backend_up(proxy) {
        true => before_secs,
        false => before_secs.saturating_add(seconds_since(now_ms, proxy.last_change_ms)),
    }
}

/// How long a server has been down in all.
pub(super) fn server_downtime_secs(server: &Server, now_ms: u64) -> u32 {
    let before_secs = seconds(server.counters.downtime_ms);
    match server.is_up() {
        true => before_secs,
        false => before_secs.saturating_add(seconds_since(now_ms, server.last_change_ms)),
    }
}

fn put_identity(row: &mut Row<'_>, proxy: &Proxy, object_id: u32) {
    row.put("pid", Value::U32(1));
    row.put("iid", Value::U32(proxy.spec.id));
    row.put("sid", Value::U32(object_id));
}

fn put_mode(row: &mut Row<'_>, proxy: &Proxy) {
    row.put(
        "mode",
        Value::Text(match proxy.spec.mode {
            Mode::Tcp => "tcp",
            Mode::Http => "http",
        }),
    );
}

fn put_responses(row: &mut Row<'_>, responses: &Responses) {
    let names = [
        "hrsp_1xx",
        "hrsp_2xx",
        "hrsp_3xx",
        "hrsp_4xx",
        "hrsp_5xx",
        "hrsp_other",
    ];
    for (name, value) in names.into_iter().zip(responses.0) {
        row.put(name, Value::U64(value));
    }
}

fn put_check_outcome(row: &mut Row<'_>, server: &Server) {
    let report = &server.check;
    // The star tells that a check is under way.
    let running = format!("* {}", report.status.name());
    row.put(
        "check_status",
        Value::Text(if report.running {
            &running
        } else {
            report.status.name()
        }),
    );
    if let Some(code) = report.code {
        row.put("check_code", Value::U32(code.into()));
    }
    if let Some(duration_ms) = report.duration_ms {
        row.put("check_duration", Value::U64(duration_ms));
    }
}

fn put_last_session(row: &mut Row<'_>, style: &Style, last_ms: Option<u64>) {
    let age_secs = last_session_secs(style.now_ms, last_ms);
    row.put("lastsess", Value::S32(age_secs));
}

/// How long ago the last session was; -1: there was none.
pub(super) fn last_session_secs(now_ms: u64, last_ms: Option<u64>) -> i32 {
    last_ms.map_or(-1, |last_ms| {
        i32::try_from(seconds_since(now_ms, last_ms)).unwrap_or(i32::MAX)
    })
}

const AVERAGES: [&str; 4] = ["qtime", "ctime", "rtime", "ttime"];
const MAXIMA: [&str; 4] = ["qtime_max", "ctime_max", "rtime_max", "ttime_max"];

fn put_times(row: &mut Row<'_>, names: [&'static str; 4], times_ms: [u64; 4]) {
    for (name, time_ms) in names.into_iter().zip(times_ms) {
        row.put(name, Value::U32(u32::try_from(time_ms).unwrap_or(u32::MAX)));
    }
}

/// `algo` of a backend.
fn balance_name(balance: &Balance) -> &'static str {
    match balance {
        Balance::RoundRobin => "roundrobin",
        Balance::StaticRoundRobin => "static-rr",
        Balance::LeastConn => "leastconn",
        Balance::First => "first",
        Balance::Source => "source",
    }
}

/// `addr` of a server: where the port follows the client's, its offset stands for it.
fn server_address_text(server: &Server) -> String {
    match (&server.address, &server.port) {
        (Address::Inet(address), ServerPort::FromClient(offset)) => {
            let mut shown = *address;
            shown.set_port(*offset as u16);
            shown.to_string()
        }
        (address, _) => address_text(address),
    }
}

/// `addr` of a listener.
fn address_text(address: &Address) -> String {
    match address {
        Address::Inet(address) => address.to_string(),
        Address::Unix(_) | Address::Abstract(_) => "unix".to_owned(),
        Address::Fd(fd) => format!("fd@{fd}"),
    }
}

fn seconds(span_ms: u64) -> u32 {
    u32::try_from(span_ms / 1000).unwrap_or(u32::MAX)
}

pub(super) fn seconds_since(now_ms: u64, then_ms: u64) -> u32 {
    seconds(now_ms.saturating_sub(then_ms))
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
