//! What the metrics say of themselves: the help of every name, as HAProxy 2.6 has it.

/// Help of the metrics that are columns of `show stat`, the same for every kind of object.
static COLUMNS: &[(&str, &str)] = &[
    (
        "current_sessions",
        "Number of current sessions on the frontend, backend or server",
    ),
    (
        "max_sessions",
        "Highest value of current sessions encountered since process started",
    ),
    (
        "limit_sessions",
        "Frontend/listener/server's maxconn, backend's fullconn",
    ),
    (
        "sessions_total",
        "Total number of sessions since process started",
    ),
    (
        "bytes_in_total",
        "Total number of request bytes since process started",
    ),
    (
        "bytes_out_total",
        "Total number of response bytes since process started",
    ),
    (
        "requests_denied_total",
        "Total number of denied requests since process started",
    ),
    (
        "responses_denied_total",
        "Total number of denied responses since process started",
    ),
    (
        "request_errors_total",
        "Total number of invalid requests since process started",
    ),
    (
        "status",
        "Current status of the service, per state label value.",
    ),
    (
        "limit_session_rate",
        "Limit on the number of sessions accepted in a second (frontend only, 'rate-limit sessions' setting)",
    ),
    (
        "max_session_rate",
        "Highest value of sessions per second observed since the worker process started",
    ),
    (
        "http_responses_total",
        "Total number of HTTP responses with status 100-199 returned by this object since the worker process started",
    ),
    (
        "http_requests_rate_max",
        "Highest value of http requests observed since the worker process started",
    ),
    (
        "http_requests_total",
        "Total number of HTTP requests processed by this object since the worker process started",
    ),
    (
        "http_comp_bytes_in_total",
        "Total number of bytes submitted to the HTTP compressor for this object since the worker process started",
    ),
    (
        "http_comp_bytes_out_total",
        "Total number of bytes emitted by the HTTP compressor for this object since the worker process started",
    ),
    (
        "http_comp_bytes_bypassed_total",
        "Total number of bytes that bypassed HTTP compression for this object since the worker process started (CPU/memory/bandwidth limitation)",
    ),
    (
        "http_comp_responses_total",
        "Total number of HTTP responses that were compressed for this object since the worker process started",
    ),
    (
        "connections_rate_max",
        "Highest value of connections per second observed since the worker process started",
    ),
    (
        "connections_total",
        "Total number of new connections accepted on this frontend since the worker process started",
    ),
    (
        "intercepted_requests_total",
        "Total number of HTTP requests intercepted on the frontend (redirects/stats/services) since the worker process started",
    ),
    (
        "denied_connections_total",
        "Total number of incoming connections blocked on a listener/frontend by a tcp-request connection rule since the worker process started",
    ),
    (
        "denied_sessions_total",
        "Total number of incoming sessions blocked on a listener/frontend by a tcp-request connection rule since the worker process started",
    ),
    (
        "failed_header_rewriting_total",
        "Total number of failed HTTP header rewrites since the worker process started",
    ),
    (
        "http_cache_lookups_total",
        "Total number of HTTP requests looked up in the cache on this frontend/backend since the worker process started",
    ),
    (
        "http_cache_hits_total",
        "Total number of HTTP requests not found in the cache on this frontend/backend since the worker process started",
    ),
    (
        "internal_errors_total",
        "Total number of internal errors since process started",
    ),
    ("current_queue", "Number of current queued connections"),
    (
        "max_queue",
        "Highest value of queued connections encountered since process started",
    ),
    (
        "connection_errors_total",
        "Total number of failed connections to server since the worker process started",
    ),
    (
        "response_errors_total",
        "Total number of invalid responses since the worker process started",
    ),
    (
        "retry_warnings_total",
        "Total number of server connection retries since the worker process started",
    ),
    (
        "redispatch_warnings_total",
        "Total number of server redispatches due to connection failures since the worker process started",
    ),
    (
        "weight",
        "Server's effective weight, or sum of active servers' effective weights for a backend",
    ),
    (
        "active_servers",
        "Total number of active UP servers with a non-zero weight",
    ),
    (
        "backup_servers",
        "Total number of backup UP servers with a non-zero weight",
    ),
    (
        "check_up_down_total",
        "Total number of failed checks causing UP to DOWN server transitions, per server/backend, since the worker process started",
    ),
    (
        "check_last_change_seconds",
        "How long ago the last server state changed, in seconds",
    ),
    (
        "downtime_seconds_total",
        "Total time spent in DOWN state, for server or backend",
    ),
    (
        "loadbalanced_total",
        "Total number of requests routed by load balancing since the worker process started (ignores queue pop and stickiness)",
    ),
    (
        "client_aborts_total",
        "Total number of requests or connections aborted by the client since the worker process started",
    ),
    (
        "server_aborts_total",
        "Total number of requests or connections aborted by the server since the worker process started",
    ),
    (
        "last_session_seconds",
        "How long ago some traffic was seen on this object on this worker process, in seconds",
    ),
    (
        "queue_time_average_seconds",
        "Avg. queue time for last 1024 successful connections.",
    ),
    (
        "connect_time_average_seconds",
        "Avg. connect time for last 1024 successful connections.",
    ),
    (
        "response_time_average_seconds",
        "Avg. response time for last 1024 successful connections.",
    ),
    (
        "total_time_average_seconds",
        "Avg. total time for last 1024 successful connections.",
    ),
    (
        "connection_attempts_total",
        "Total number of outgoing connection attempts on this backend/server since the worker process started",
    ),
    (
        "connection_reuses_total",
        "Total number of reused connection on this backend/server since the worker process started",
    ),
    (
        "max_queue_time_seconds",
        "Maximum observed time spent in the queue",
    ),
    (
        "max_connect_time_seconds",
        "Maximum observed time spent waiting for a connection to complete",
    ),
    (
        "max_response_time_seconds",
        "Maximum observed time spent waiting for a server response",
    ),
    (
        "max_total_time_seconds",
        "Maximum observed total request+response time (request+queue+connect+response+processing)",
    ),
    (
        "uweight",
        "Server's user weight, or sum of active servers' user weights for a backend",
    ),
    (
        "agg_server_status",
        "Backend's aggregated gauge of servers' status",
    ),
    (
        "agg_server_check_status",
        "Backend's aggregated gauge of servers' state check status",
    ),
    (
        "agg_check_status",
        "Backend's aggregated gauge of servers' state check status",
    ),
    (
        "check_failures_total",
        "Total number of failed individual health checks per server/backend, since the worker process started",
    ),
    (
        "queue_limit",
        "Limit on the number of connections in queue, for servers only (maxqueue argument)",
    ),
    (
        "current_throttle",
        "Throttling ratio applied to a server's maxconn and weight during the slowstart period (0 to 100%)",
    ),
    (
        "check_status",
        "Status of last health check, per state label value.",
    ),
    (
        "check_code",
        "layer5-7 code, if available of the last health check.",
    ),
    (
        "check_duration_seconds",
        "Total duration of the latest server health check, in seconds.",
    ),
    (
        "idle_connections_current",
        "Current number of idle connections available for reuse on this server",
    ),
    (
        "idle_connections_limit",
        "Limit on the number of available idle connections on this server (server 'pool_max_conn' directive)",
    ),
    (
        "unsafe_idle_connections_current",
        "Current number of unsafe idle connections",
    ),
    (
        "safe_idle_connections_current",
        "Current number of safe idle connections",
    ),
    (
        "used_connections_current",
        "Current number of connections in use",
    ),
    (
        "need_connections_current",
        "Estimated needed number of connections",
    ),
    ("size", "Stick table size."),
    ("used", "Number of entries used in this stick table."),
];

/// The help of a metric; empty for a name that has none.
pub(super) fn help(name: &str) -> &'static str {
    let mut known = COLUMNS.iter();
    known
        .find(|(of, _)| *of == name)
        .map_or("", |(_, help)| help)
}

/// The type of a metric, which its name tells.
pub(super) fn kind(name: &str) -> &'static str {
    match name.ends_with("_total") || name == "failed_resolutions" {
        true => "counter",
        false => "gauge",
    }
}
