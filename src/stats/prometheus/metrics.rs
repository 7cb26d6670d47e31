//! The metrics of proxies, servers, listeners and tables, in HAProxy's order, each with where its number comes from.
//!
//! What HAProxy counts and burdock has not (TLS, compression, caches, pools) is zero, as on a HAProxy that uses none of it.

use crate::backend::{CheckStatus, Proxy, Server};
use crate::config::model::Mode;
use crate::stats::objects::{self, ServerState};
use crate::stick::Table;

/// Most states that one metric tells apart.
pub(super) const STATES_MAX: usize = 16;

/// What a metric says of one object.
pub(super) enum Number {
    /// Nothing: the object has no line.
    Absent,
    /// It has none, and says so.
    Nan,
    /// A count.
    Count(u64),
    /// Seconds, or -1.
    Signed(i64),
    /// Milliseconds, shown as seconds.
    Millis(u64),
    /// A line for each state, with how many are in it.
    States(&'static [&'static str], [u64; STATES_MAX]),
}

/// A metric of one kind of object.
pub(super) struct Metric<F> {
    /// Without its prefix, which is the kind's.
    pub name: &'static str,
    /// `code`, for those that are split by it: metrics of the same name follow each other.
    pub code: Option<&'static str>,
    /// Its help, where its name does not tell.
    pub help: &'static str,
    /// Its number.
    pub value: F,
}

/// Of a proxy's frontend or backend side; the time is now.
pub(super) type OfProxy = fn(&Proxy, u64) -> Number;
/// Of a `bind` line, by its index.
pub(super) type OfListener = fn(&Proxy, usize) -> Number;
/// Of a server.
pub(super) type OfServer = fn(&Proxy, &Server, u64) -> Number;
/// Of a stick table.
pub(super) type OfTable = fn(&Table) -> Number;

const fn metric<F: Copy>(name: &'static str, value: F) -> Metric<F> {
    Metric {
        name,
        code: None,
        help: "",
        value,
    }
}

const fn responses<F: Copy>(code: &'static str, value: F) -> Metric<F> {
    Metric {
        name: "http_responses_total",
        code: Some(code),
        help: "",
        value,
    }
}

pub(super) static FRONTEND: &[Metric<OfProxy>] = &[
    metric("current_sessions", |p, _| count(p.connections)),
    metric("max_sessions", |p, _| {
        count(p.frontend_counters.connections_max)
    }),
    metric("limit_sessions", |p, _| count(p.maxconn)),
    metric("sessions_total", |p, _| {
        count(p.frontend_counters.sessions_total)
    }),
    metric("bytes_in_total", |p, _| count(p.frontend_counters.bytes_in)),
    metric("bytes_out_total", |p, _| {
        count(p.frontend_counters.bytes_out)
    }),
    metric("requests_denied_total", |p, _| {
        count(p.frontend_counters.requests_denied)
    }),
    metric("responses_denied_total", |p, _| {
        count(p.frontend_counters.responses_denied)
    }),
    metric("request_errors_total", |p, _| {
        count(p.frontend_counters.requests_failed)
    }),
    metric("status", |_, _| one_of(&["DOWN", "UP"], Some(1))),
    metric("limit_session_rate", |_, _| NONE),
    metric("max_session_rate", |p, _| {
        count(p.frontend_counters.session_rate.max)
    }),
    responses("1xx", |p, _| http(p, p.frontend_counters.responses.0[0])),
    responses("2xx", |p, _| http(p, p.frontend_counters.responses.0[1])),
    responses("3xx", |p, _| http(p, p.frontend_counters.responses.0[2])),
    responses("4xx", |p, _| http(p, p.frontend_counters.responses.0[3])),
    responses("5xx", |p, _| http(p, p.frontend_counters.responses.0[4])),
    responses("other", |p, _| http(p, p.frontend_counters.responses.0[5])),
    metric("http_requests_rate_max", |p, _| {
        http(p, p.frontend_counters.request_rate.max)
    }),
    metric("http_requests_total", |p, _| {
        http(p, p.frontend_counters.requests_total)
    }),
    metric("http_comp_bytes_in_total", |p, _| http(p, 0_u32)),
    metric("http_comp_bytes_out_total", |p, _| http(p, 0_u32)),
    metric("http_comp_bytes_bypassed_total", |p, _| http(p, 0_u32)),
    metric("http_comp_responses_total", |p, _| http(p, 0_u32)),
    metric("connections_rate_max", |p, _| {
        count(p.frontend_counters.connection_rate.max)
    }),
    metric("connections_total", |p, _| {
        count(p.frontend_counters.connections_total)
    }),
    metric("intercepted_requests_total", |p, _| {
        http(p, p.frontend_counters.intercepted)
    }),
    metric("denied_connections_total", |p, _| {
        count(p.frontend_counters.connections_denied)
    }),
    metric("denied_sessions_total", |p, _| {
        count(p.frontend_counters.sessions_denied)
    }),
    metric("failed_header_rewriting_total", |p, _| {
        count(p.frontend_counters.rewrites_failed)
    }),
    metric("http_cache_lookups_total", |p, _| http(p, 0_u32)),
    metric("http_cache_hits_total", |p, _| http(p, 0_u32)),
    metric("internal_errors_total", |p, _| {
        count(p.frontend_counters.internal_errors)
    }),
];

pub(super) static LISTENER: &[Metric<OfListener>] = &[
    metric("current_sessions", |p, i| {
        count(p.listener_counters[i].connections)
    }),
    metric("max_sessions", |p, i| {
        count(p.listener_counters[i].connections_max)
    }),
    metric("limit_sessions", |p, i| {
        count(p.spec.binds[i].maxconn.unwrap_or(0))
    }),
    metric("sessions_total", |p, i| {
        count(p.listener_counters[i].connections_total)
    }),
    metric("bytes_in_total", |p, i| {
        count(p.listener_counters[i].bytes_in)
    }),
    metric("bytes_out_total", |p, i| {
        count(p.listener_counters[i].bytes_out)
    }),
    metric("requests_denied_total", |p, i| {
        count(p.listener_counters[i].requests_denied)
    }),
    metric("responses_denied_total", |p, i| {
        count(p.listener_counters[i].responses_denied)
    }),
    metric("request_errors_total", |p, i| {
        count(p.listener_counters[i].requests_failed)
    }),
    metric("status", |_, _| {
        one_of(&["WAITING", "OPEN", "FULL"], Some(1))
    }),
    metric("denied_connections_total", |p, i| {
        count(p.listener_counters[i].connections_denied)
    }),
    metric("denied_sessions_total", |p, i| {
        count(p.listener_counters[i].sessions_denied)
    }),
    metric("failed_header_rewriting_total", |_, _| NONE),
    metric("internal_errors_total", |p, i| {
        count(p.listener_counters[i].internal_errors)
    }),
];

pub(super) static BACKEND: &[Metric<OfProxy>] = &[
    metric("current_queue", |p, _| count(p.queue.len() as u64)),
    metric("max_queue", |p, _| count(p.backend_counters.queue_max)),
    metric("current_sessions", |p, _| count(p.sessions)),
    metric("max_sessions", |p, _| {
        count(p.backend_counters.sessions_max)
    }),
    metric("limit_sessions", |p, _| count(p.fullconn)),
    metric("sessions_total", |p, _| {
        count(p.backend_counters.sessions_total)
    }),
    metric("bytes_in_total", |p, _| count(p.backend_counters.bytes_in)),
    metric("bytes_out_total", |p, _| {
        count(p.backend_counters.bytes_out)
    }),
    metric("requests_denied_total", |p, _| {
        count(p.backend_counters.requests_denied)
    }),
    metric("responses_denied_total", |p, _| {
        count(p.backend_counters.responses_denied)
    }),
    metric("connection_errors_total", |p, _| {
        count(p.backend_counters.connections_failed)
    }),
    metric("response_errors_total", |p, _| {
        count(p.backend_counters.responses_failed)
    }),
    metric("retry_warnings_total", |p, _| {
        count(p.backend_counters.retries)
    }),
    metric("redispatch_warnings_total", |p, _| {
        count(p.backend_counters.redispatches)
    }),
    metric("status", |p, _| {
        one_of(
            &["DOWN", "UP"],
            Some(usize::from(objects::is_backend_up(p))),
        )
    }),
    metric("weight", |p, _| count(p.weight_total())),
    metric("active_servers", |p, _| count(p.usable_counts().0 as u64)),
    metric("backup_servers", |p, _| count(p.usable_counts().1 as u64)),
    metric("check_up_down_total", |p, _| {
        count(p.backend_counters.down_transitions)
    }),
    metric("check_last_change_seconds", |p, now| {
        count(objects::seconds_since(now, p.last_change_ms))
    }),
    metric("downtime_seconds_total", |p, now| {
        match p.servers.is_empty() {
            true => Number::Nan,
            false => count(objects::backend_downtime_secs(p, now)),
        }
    }),
    metric("loadbalanced_total", |p, _| {
        count(p.backend_counters.balanced_total)
    }),
    metric("max_session_rate", |p, _| {
        count(p.backend_counters.session_rate.max)
    }),
    responses("1xx", |p, _| http(p, p.backend_counters.responses.0[0])),
    responses("2xx", |p, _| http(p, p.backend_counters.responses.0[1])),
    responses("3xx", |p, _| http(p, p.backend_counters.responses.0[2])),
    responses("4xx", |p, _| http(p, p.backend_counters.responses.0[3])),
    responses("5xx", |p, _| http(p, p.backend_counters.responses.0[4])),
    responses("other", |p, _| http(p, p.backend_counters.responses.0[5])),
    metric("http_requests_total", |p, _| {
        http(p, p.backend_counters.requests_total)
    }),
    metric("client_aborts_total", |p, _| {
        count(p.backend_counters.client_aborts)
    }),
    metric("server_aborts_total", |p, _| {
        count(p.backend_counters.server_aborts)
    }),
    metric("http_comp_bytes_in_total", |p, _| http(p, 0_u32)),
    metric("http_comp_bytes_out_total", |p, _| http(p, 0_u32)),
    metric("http_comp_bytes_bypassed_total", |p, _| http(p, 0_u32)),
    metric("http_comp_responses_total", |p, _| http(p, 0_u32)),
    metric("last_session_seconds", |p, now| {
        last_session(now, p.backend_counters.last_session_ms)
    }),
    metric("queue_time_average_seconds", |p, _| {
        millis(p.backend_counters.times.averages_ms()[0])
    }),
    metric("connect_time_average_seconds", |p, _| {
        millis(p.backend_counters.times.averages_ms()[1])
    }),
    metric("response_time_average_seconds", |p, _| {
        millis(p.backend_counters.times.averages_ms()[2])
    }),
    metric("total_time_average_seconds", |p, _| {
        millis(p.backend_counters.times.averages_ms()[3])
    }),
    metric("failed_header_rewriting_total", |p, _| {
        count(p.backend_counters.rewrites_failed)
    }),
    metric("connection_attempts_total", |p, _| {
        count(p.backend_counters.connects)
    }),
    metric("connection_reuses_total", |p, _| {
        count(p.backend_counters.reuses)
    }),
    metric("http_cache_lookups_total", |p, _| http(p, 0_u32)),
    metric("http_cache_hits_total", |p, _| http(p, 0_u32)),
    metric("max_queue_time_seconds", |p, _| {
        millis(p.backend_counters.times.maxima_ms()[0])
    }),
    metric("max_connect_time_seconds", |p, _| {
        millis(p.backend_counters.times.maxima_ms()[1])
    }),
    metric("max_response_time_seconds", |p, _| {
        millis(p.backend_counters.times.maxima_ms()[2])
    }),
    metric("max_total_time_seconds", |p, _| {
        millis(p.backend_counters.times.maxima_ms()[3])
    }),
    metric("internal_errors_total", |p, _| {
        count(p.backend_counters.internal_errors)
    }),
    metric("uweight", |p, _| count(p.weight_total())),
    metric("agg_server_status", |p, _| server_states(p)),
    metric("agg_server_check_status", |p, _| server_states(p)),
    metric("agg_check_status", |p, _| check_states(p)),
];

pub(super) static SERVER: &[Metric<OfServer>] = &[
    metric("current_queue", |_, s, _| count(s.queue.len() as u64)),
    metric("max_queue", |_, s, _| count(s.counters.queue_max)),
    metric("current_sessions", |_, s, _| count(s.sessions)),
    metric("max_sessions", |_, s, _| count(s.sessions_max)),
    metric("limit_sessions", |_, s, _| limit(s.maxconn)),
    metric("sessions_total", |_, s, _| count(s.counters.sessions_total)),
    metric("bytes_in_total", |_, s, _| count(s.counters.bytes_in)),
    metric("bytes_out_total", |_, s, _| count(s.counters.bytes_out)),
    metric("responses_denied_total", |_, s, _| {
        count(s.counters.responses_denied)
    }),
    metric("connection_errors_total", |_, s, _| {
        count(s.counters.connections_failed)
    }),
    metric("response_errors_total", |_, s, _| {
        count(s.counters.responses_failed)
    }),
    metric("retry_warnings_total", |_, s, _| count(s.counters.retries)),
    metric("redispatch_warnings_total", |_, s, _| {
        count(s.counters.redispatches)
    }),
    metric("status", |_, s, _| {
        one_of(&SERVER_STATES, Some(ServerState::of(s) as usize))
    }),
    metric("weight", |_, s, _| count(s.weight)),
    metric("check_failures_total", |_, s, _| {
        checked(s, s.counters.checks_failed)
    }),
    metric("check_up_down_total", |_, s, _| {
        checked(s, s.counters.down_transitions)
    }),
    metric("check_last_change_seconds", |_, s, now| {
        count(objects::seconds_since(now, s.last_change_ms))
    }),
    metric("downtime_seconds_total", |_, s, now| {
        checked(s, objects::server_downtime_secs(s, now))
    }),
    metric("queue_limit", |_, s, _| limit(s.spec.maxqueue)),
    metric("current_throttle", |_, _, _| Number::Nan),
    metric("loadbalanced_total", |_, s, _| {
        count(s.counters.balanced_total)
    }),
    metric("max_session_rate", |_, s, _| {
        count(s.counters.session_rate.max)
    }),
    metric("check_status", |_, s, _| match shows_check(s) {
        true => one_of(&CHECK_STATES, check_state(s.check.status)),
        false => Number::Absent,
    }),
    metric("check_code", |_, s, _| match shows_check(s) {
        true => count(s.check.code.unwrap_or(0)),
        false => Number::Absent,
    }),
    metric("check_duration_seconds", |_, s, _| {
        match s.check.duration_ms {
            // Unlike the rest, this stays in maintenance.
            Some(ms) if s.spec.check.is_some() => Number::Millis(ms),
            _ => Number::Absent,
        }
    }),
    responses("1xx", |p, s, _| http(p, s.counters.responses.0[0])),
    responses("2xx", |p, s, _| http(p, s.counters.responses.0[1])),
    responses("3xx", |p, s, _| http(p, s.counters.responses.0[2])),
    responses("4xx", |p, s, _| http(p, s.counters.responses.0[3])),
    responses("5xx", |p, s, _| http(p, s.counters.responses.0[4])),
    responses("other", |p, s, _| http(p, s.counters.responses.0[5])),
    metric("client_aborts_total", |_, s, _| {
        count(s.counters.client_aborts)
    }),
    metric("server_aborts_total", |_, s, _| {
        count(s.counters.server_aborts)
    }),
    metric("last_session_seconds", |_, s, now| {
        last_session(now, s.counters.last_session_ms)
    }),
    metric("queue_time_average_seconds", |_, s, _| {
        millis(s.counters.times.averages_ms()[0])
    }),
    metric("connect_time_average_seconds", |_, s, _| {
        millis(s.counters.times.averages_ms()[1])
    }),
    metric("response_time_average_seconds", |_, s, _| {
        millis(s.counters.times.averages_ms()[2])
    }),
    metric("total_time_average_seconds", |_, s, _| {
        millis(s.counters.times.averages_ms()[3])
    }),
    metric("failed_header_rewriting_total", |_, s, _| {
        count(s.counters.rewrites_failed)
    }),
    metric("connection_attempts_total", |_, s, _| {
        count(s.counters.connects)
    }),
    metric("connection_reuses_total", |_, s, _| {
        count(s.counters.reuses)
    }),
    metric("idle_connections_current", |_, s, _| {
        count(s.idle_connections)
    }),
    metric("idle_connections_limit", |_, s, _| match s.spec.pool_max {
        Some(max) => count(max),
        None => Number::Nan,
    }),
    metric("max_queue_time_seconds", |_, s, _| {
        millis(s.counters.times.maxima_ms()[0])
    }),
    metric("max_connect_time_seconds", |_, s, _| {
        millis(s.counters.times.maxima_ms()[1])
    }),
    metric("max_response_time_seconds", |_, s, _| {
        millis(s.counters.times.maxima_ms()[2])
    }),
    metric("max_total_time_seconds", |_, s, _| {
        millis(s.counters.times.maxima_ms()[3])
    }),
    metric("internal_errors_total", |_, s, _| {
        count(s.counters.internal_errors)
    }),
    metric("unsafe_idle_connections_current", |_, s, _| {
        count(s.idle_connections)
    }),
    metric("safe_idle_connections_current", |_, _, _| NONE),
    metric("used_connections_current", |_, s, _| count(s.sessions)),
    metric("need_connections_current", |_, s, _| count(s.sessions_max)),
    metric("uweight", |_, s, _| count(s.weight)),
];

pub(super) static TABLE: &[Metric<OfTable>] = &[
    metric("size", |table| count(table.spec().size)),
    metric("used", |table| count(table.used())),
];

/// What is always zero here.
pub(super) const NONE: Number = Number::Count(0);

/// In the order of `ServerState`.
static SERVER_STATES: [&str; 5] = ["DOWN", "UP", "MAINT", "DRAIN", "NOLB"];

/// What a check can come to, as far as HAProxy's exporter knows; `check_state` names our part of it.
static CHECK_STATES: [&str; 16] = [
    "HANA", "SOCKERR", "L4OK", "L4TOUT", "L4CON", "L6OK", "L6TOUT", "L6RSP", "L7TOUT", "L7RSP",
    "L7OK", "L7OKC", "L7STS", "PROCERR", "PROCTOUT", "PROCOK",
];

pub(super) fn count(number: impl Into<u64>) -> Number {
    Number::Count(number.into())
}

fn millis(ms: u64) -> Number {
    Number::Millis(ms)
}

/// A number that only proxies in HTTP mode have.
fn http(proxy: &Proxy, number: impl Into<u64>) -> Number {
    match proxy.spec.mode {
        Mode::Http => count(number),
        Mode::Tcp => Number::Absent,
    }
}

/// A number that only servers with checks have.
fn checked(server: &Server, number: impl Into<u64>) -> Number {
    match server.spec.check {
        Some(_) => count(number),
        None => Number::Nan,
    }
}

/// A limit of which 0 means none.
fn limit(limit: u32) -> Number {
    match limit {
        0 => Number::Nan,
        _ => count(limit),
    }
}

fn last_session(now_ms: u64, last_ms: Option<u64>) -> Number {
    Number::Signed(objects::last_session_secs(now_ms, last_ms).into())
}

/// Whether the last check of a server is shown: not while it is in maintenance.
fn shows_check(server: &Server) -> bool {
    server.spec.check.is_some() && !server.admin.is_maintenance()
}

fn one_of(labels: &'static [&'static str], state: Option<usize>) -> Number {
    let mut counts = [0; STATES_MAX];
    if let Some(count) = state.and_then(|state| counts.get_mut(state)) {
        *count = 1;
    }
    Number::States(labels, counts)
}

/// A check's place in `CHECK_STATES`; none before the first.
fn check_state(status: CheckStatus) -> Option<usize> {
    CHECK_STATES.iter().position(|name| *name == status.name())
}

fn server_states(proxy: &Proxy) -> Number {
    if proxy.servers.is_empty() {
        return Number::Absent;
    }
    let mut counts = [0; STATES_MAX];
    for server in &proxy.servers {
        counts[ServerState::of(server) as usize] += 1;
    }
    Number::States(&SERVER_STATES, counts)
}

fn check_states(proxy: &Proxy) -> Number {
    if proxy.servers.is_empty() {
        return Number::Absent;
    }
    let mut counts = [0; STATES_MAX];
    let checked = proxy
        .servers
        .iter()
        .filter(|server| server.spec.check.is_some());
    for state in checked.filter_map(|server| check_state(server.check.status)) {
        counts[state] += 1;
    }
    Number::States(&CHECK_STATES, counts)
}
