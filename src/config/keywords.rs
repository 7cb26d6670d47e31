//! Every keyword that HAProxy 2.6 knows, by section: those burdock supports, those it accepts without effect, those it refuses.
//!
//! A word that is in none of the tables is unknown, and the nearest known word is suggested. The tables are data; what a
//! supported keyword does is in the file of its section.

/// What burdock does with a keyword that HAProxy knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Has an effect here.
    Full,
    /// Accepted; the reason why it has no effect.
    NoEffect(&'static str),
    /// Refused; the nearest thing that is supported, or an empty text.
    Refused(&'static str),
}
use Support::{Full, NoEffect, Refused};

/// A section's (or a line's) keywords.
pub type Table = &'static [(&'static str, Support)];

const ONE_THREAD: &str = "burdock runs one event loop on one thread";
const NO_TLS: &str = "burdock has no TLS";
const NO_LUA: &str = "burdock has no Lua";
const NO_H2: &str = "burdock has no HTTP/2";
const POLLER: &str = "burdock always uses epoll";
const MEMORY: &str = "burdock sizes its memory from maxconn and tune.bufsize";
const VARIABLES: &str = "burdock has no variables yet";
const KERNEL: &str = "burdock leaves socket buffers to the kernel";
const LATER: &str = "rules other than 'use_backend' and 'stick' are not supported yet";

/// `global`.
pub const GLOBAL: Table = &[
    ("51degrees-cache-size", Refused("")),
    ("51degrees-data-file", Refused("")),
    ("51degrees-property-name-list", Refused("")),
    ("51degrees-property-separator", Refused("")),
    ("busy-polling", NoEffect("burdock waits in epoll")),
    ("ca-base", NoEffect(NO_TLS)),
    ("chroot", Full),
    (
        "close-spread-time",
        NoEffect("a reload of burdock closes no idle connection"),
    ),
    ("cluster-secret", NoEffect("burdock has no QUIC")),
    ("cpu-map", NoEffect(ONE_THREAD)),
    ("crt-base", NoEffect(NO_TLS)),
    ("daemon", Full),
    ("default-path", Full),
    ("description", Full),
    ("deviceatlas-json-file", Refused("")),
    (
        "expose-experimental-directives",
        NoEffect("burdock has no experimental directives"),
    ),
    (
        "external-check",
        NoEffect("external checks themselves are not supported; use 'option httpchk' or 'check'"),
    ),
    ("fd-hard-limit", Full),
    ("gid", Full),
    ("grace", Refused("'hard-stop-after'")),
    ("group", Full),
    ("h1-accept-payload-with-any-method", Refused("")),
    ("h1-case-adjust", Refused("")),
    ("h1-case-adjust-file", Refused("")),
    ("h2-workaround-bogus-websocket-clients", NoEffect(NO_H2)),
    ("hard-stop-after", Full),
    (
        "httpclient.resolvers.id",
        NoEffect("burdock has no HTTP client"),
    ),
    (
        "httpclient.resolvers.prefer",
        NoEffect("burdock has no HTTP client"),
    ),
    (
        "httpclient.ssl.ca-file",
        NoEffect("burdock has no HTTP client"),
    ),
    (
        "httpclient.ssl.verify",
        NoEffect("burdock has no HTTP client"),
    ),
    ("insecure-fork-wanted", NoEffect("the worker never forks")),
    (
        "insecure-setuid-wanted",
        NoEffect("the worker never executes anything"),
    ),
    ("issuers-chain-path", NoEffect(NO_TLS)),
    ("localpeer", Full),
    ("log", Full),
    ("log-send-hostname", Full),
    ("log-tag", Full),
    ("lua-load", Refused("")),
    ("lua-load-per-thread", Refused("")),
    ("lua-prepend-path", NoEffect(NO_LUA)),
    ("master-worker", Full),
    (
        "max-spread-checks",
        NoEffect("'spread-checks' alone says how checks are spread"),
    ),
    ("maxcompcpuusage", NoEffect("burdock does not compress")),
    ("maxcomprate", NoEffect("burdock does not compress")),
    ("maxconn", Full),
    ("maxconnrate", Refused("'maxconn'")),
    (
        "maxpipes",
        NoEffect("pipes for splicing are made when needed"),
    ),
    ("maxsessrate", Refused("'maxconn'")),
    ("maxsslconn", NoEffect(NO_TLS)),
    ("maxsslrate", NoEffect(NO_TLS)),
    ("maxzlibmem", NoEffect("burdock does not compress")),
    (
        "mworker-max-reloads",
        NoEffect("the old worker ends with its last running transfer; see 'hard-stop-after'"),
    ),
    ("nbproc", Full),
    ("nbthread", Full),
    ("no-memory-trimming", NoEffect(MEMORY)),
    ("node", Full),
    ("noepoll", NoEffect(POLLER)),
    ("noevports", NoEffect(POLLER)),
    (
        "nogetaddrinfo",
        NoEffect("host names are always resolved by getaddrinfo"),
    ),
    ("nokqueue", NoEffect(POLLER)),
    ("nopoll", NoEffect(POLLER)),
    (
        "noreuseport",
        NoEffect("a reload hands the very same sockets over"),
    ),
    (
        "nosplice",
        NoEffect("burdock decides itself when to splice"),
    ),
    ("numa-cpu-mapping", NoEffect(ONE_THREAD)),
    ("ocsp-update.mindelay", NoEffect(NO_TLS)),
    ("pidfile", Full),
    ("pp2-never-send-local", Refused("")),
    ("presetenv", Full),
    (
        "profiling.tasks",
        NoEffect("burdock has no tasks to profile"),
    ),
    ("quiet", NoEffect("use -q")),
    ("resetenv", Full),
    (
        "server-state-base",
        NoEffect("server states survive a reload without a file"),
    ),
    (
        "server-state-file",
        NoEffect("server states survive a reload without a file"),
    ),
    (
        "set-dumpable",
        NoEffect("use the limits of the service manager"),
    ),
    ("set-var", Refused("")),
    ("set-var-fmt", Refused("")),
    ("setenv", Full),
    ("spread-checks", Full),
    ("ssl-default-bind-ciphers", NoEffect(NO_TLS)),
    ("ssl-default-bind-ciphersuites", NoEffect(NO_TLS)),
    ("ssl-default-bind-curves", NoEffect(NO_TLS)),
    ("ssl-default-bind-options", NoEffect(NO_TLS)),
    ("ssl-default-server-ciphers", NoEffect(NO_TLS)),
    ("ssl-default-server-ciphersuites", NoEffect(NO_TLS)),
    ("ssl-default-server-options", NoEffect(NO_TLS)),
    ("ssl-dh-param-file", NoEffect(NO_TLS)),
    ("ssl-engine", NoEffect(NO_TLS)),
    ("ssl-load-extra-del-ext", NoEffect(NO_TLS)),
    ("ssl-load-extra-files", NoEffect(NO_TLS)),
    ("ssl-mode-async", NoEffect(NO_TLS)),
    ("ssl-propquery", NoEffect(NO_TLS)),
    ("ssl-provider", NoEffect(NO_TLS)),
    ("ssl-provider-path", NoEffect(NO_TLS)),
    ("ssl-server-verify", NoEffect(NO_TLS)),
    ("ssl-skip-self-issued-ca", NoEffect(NO_TLS)),
    ("stats", Full),
    ("strict-limits", Full),
    ("thread-group", NoEffect(ONE_THREAD)),
    ("thread-groups", NoEffect(ONE_THREAD)),
    ("tune.buffers.limit", NoEffect(MEMORY)),
    ("tune.buffers.reserve", NoEffect(MEMORY)),
    ("tune.bufsize", Full),
    (
        "tune.chksize",
        NoEffect("a check uses a buffer of tune.bufsize"),
    ),
    ("tune.comp.maxlevel", NoEffect("burdock does not compress")),
    ("tune.fail-alloc", NoEffect(MEMORY)),
    (
        "tune.fd.edge-triggered",
        NoEffect("descriptors are always edge-triggered"),
    ),
    ("tune.h2.header-table-size", NoEffect(NO_H2)),
    ("tune.h2.initial-window-size", NoEffect(NO_H2)),
    ("tune.h2.max-concurrent-streams", NoEffect(NO_H2)),
    ("tune.h2.max-frame-size", NoEffect(NO_H2)),
    (
        "tune.http.cookielen",
        NoEffect("captures of cookies are not supported yet"),
    ),
    (
        "tune.http.logurilen",
        NoEffect("the length of a log line ('len') is the only limit"),
    ),
    ("tune.http.maxhdr", Full),
    ("tune.idle-pool.shared", NoEffect(ONE_THREAD)),
    (
        "tune.idletimer",
        NoEffect("burdock does not watch for idle streams"),
    ),
    ("tune.listener.multi-queue", NoEffect(ONE_THREAD)),
    ("tune.lua.forced-yield", NoEffect(NO_LUA)),
    ("tune.lua.maxmem", NoEffect(NO_LUA)),
    ("tune.lua.service-timeout", NoEffect(NO_LUA)),
    ("tune.lua.session-timeout", NoEffect(NO_LUA)),
    ("tune.lua.task-timeout", NoEffect(NO_LUA)),
    ("tune.maxaccept", Full),
    (
        "tune.maxpollevents",
        NoEffect("the event loop bounds its turns itself"),
    ),
    ("tune.maxrewrite", Full),
    (
        "tune.pattern.cache-size",
        NoEffect("patterns are not cached"),
    ),
    ("tune.peers.max-updates-at-once", Full),
    ("tune.pipesize", NoEffect(KERNEL)),
    (
        "tune.pool-high-fd-ratio",
        NoEffect("idle connections are bounded by 'pool-max-conn'"),
    ),
    (
        "tune.pool-low-fd-ratio",
        NoEffect("idle connections are bounded by 'pool-max-conn'"),
    ),
    (
        "tune.quic.frontend.conn-tx-buffers.limit",
        NoEffect("burdock has no QUIC"),
    ),
    (
        "tune.quic.frontend.max-idle-timeout",
        NoEffect("burdock has no QUIC"),
    ),
    (
        "tune.quic.frontend.max-streams-bidi",
        NoEffect("burdock has no QUIC"),
    ),
    ("tune.quic.retry-threshold", NoEffect("burdock has no QUIC")),
    ("tune.rcvbuf.client", NoEffect(KERNEL)),
    ("tune.rcvbuf.server", NoEffect(KERNEL)),
    (
        "tune.recv_enough",
        NoEffect("a short read always means that the socket is drained"),
    ),
    (
        "tune.runqueue-depth",
        NoEffect("the event loop bounds its turns itself"),
    ),
    (
        "tune.sched.low-latency",
        NoEffect("the event loop bounds its turns itself"),
    ),
    ("tune.sndbuf.client", NoEffect(KERNEL)),
    ("tune.sndbuf.server", NoEffect(KERNEL)),
    ("tune.ssl.cachesize", NoEffect(NO_TLS)),
    ("tune.ssl.capture-buffer-size", NoEffect(NO_TLS)),
    ("tune.ssl.capture-cipherlist-size", NoEffect(NO_TLS)),
    ("tune.ssl.default-dh-param", NoEffect(NO_TLS)),
    ("tune.ssl.force-private-cache", NoEffect(NO_TLS)),
    ("tune.ssl.hard-maxrecord", NoEffect(NO_TLS)),
    ("tune.ssl.keylog", NoEffect(NO_TLS)),
    ("tune.ssl.lifetime", NoEffect(NO_TLS)),
    ("tune.ssl.maxrecord", NoEffect(NO_TLS)),
    ("tune.ssl.ssl-ctx-cache-size", NoEffect(NO_TLS)),
    ("tune.vars.check-max-size", NoEffect(VARIABLES)),
    ("tune.vars.global-max-size", NoEffect(VARIABLES)),
    ("tune.vars.proc-max-size", NoEffect(VARIABLES)),
    ("tune.vars.reqres-max-size", NoEffect(VARIABLES)),
    ("tune.vars.sess-max-size", NoEffect(VARIABLES)),
    ("tune.vars.txn-max-size", NoEffect(VARIABLES)),
    ("tune.zlib.memlevel", NoEffect("burdock does not compress")),
    (
        "tune.zlib.windowsize",
        NoEffect("burdock does not compress"),
    ),
    ("uid", Full),
    ("ulimit-n", Full),
    (
        "unix-bind",
        Refused("'mode', 'user' and 'group' on each 'bind' line"),
    ),
    ("unsetenv", Full),
    ("user", Full),
    ("zero-warning", Full),
];

/// `defaults`, `frontend`, `listen`, `backend`.
pub const PROXY: Table = &[
    ("acl", Full),
    ("backlog", Full),
    ("balance", Full),
    ("bind", Full),
    ("bind-process", Full),
    ("capture", Refused("")),
    (
        "clitcpka-cnt",
        Refused("'option clitcpka' with the kernel's settings"),
    ),
    (
        "clitcpka-idle",
        Refused("'option clitcpka' with the kernel's settings"),
    ),
    (
        "clitcpka-intvl",
        Refused("'option clitcpka' with the kernel's settings"),
    ),
    ("compression", Refused("")),
    (
        "cookie",
        Refused("'stick on req.cook(NAME)' with 'stick store-response res.cook(NAME)'"),
    ),
    ("declare", Refused("")),
    ("default-server", Full),
    ("default_backend", Full),
    ("description", Full),
    ("disabled", Full),
    ("dispatch", Refused("'server'")),
    ("email-alert", Refused("'option log-health-checks'")),
    ("enabled", Full),
    ("error-log-format", Refused("'option httplog'")),
    ("errorfile", Full),
    ("errorfiles", Refused("'errorfile'")),
    ("errorloc", Refused("'errorfile'")),
    ("errorloc302", Refused("'errorfile'")),
    ("errorloc303", Refused("'errorfile'")),
    ("external-check", Refused("'option httpchk'")),
    ("filter", Refused("")),
    ("force-persist", Refused("'option persist'")),
    ("fullconn", Full),
    ("hash-balance-factor", Refused("'maxconn' on each server")),
    ("hash-type", Full),
    ("http-after-response", Refused(LATER)),
    ("http-check", Full),
    ("http-error", Refused("'errorfile'")),
    ("http-request", Refused(LATER)),
    ("http-response", Refused(LATER)),
    (
        "http-reuse",
        Refused("'option http-server-close', or nothing: connections are reused for their client"),
    ),
    ("http-send-name-header", Refused("")),
    ("id", Full),
    ("ignore-persist", Refused("a condition on the 'stick' rule")),
    (
        "load-server-state-from-file",
        NoEffect("server states survive a reload without a file"),
    ),
    ("log", Full),
    ("log-format", Refused("'option httplog' or 'option tcplog'")),
    (
        "log-format-sd",
        Refused("'option httplog' or 'option tcplog'"),
    ),
    ("log-tag", Full),
    ("max-keep-alive-queue", Refused("'timeout queue'")),
    ("maxconn", Full),
    ("mode", Full),
    ("monitor", Refused("")),
    ("monitor-uri", Refused("")),
    ("no", Full),
    ("option", Full),
    ("persist", Refused("'stick on'")),
    ("rate-limit", Refused("'maxconn'")),
    ("redirect", Refused(LATER)),
    ("retries", Full),
    ("retry-on", Refused("'retries' with 'option redispatch'")),
    ("server", Full),
    (
        "server-state-file-name",
        NoEffect("server states survive a reload without a file"),
    ),
    ("server-template", Full),
    ("source", Refused("'source' on each 'server' line")),
    (
        "srvtcpka-cnt",
        Refused("'option srvtcpka' with the kernel's settings"),
    ),
    (
        "srvtcpka-idle",
        Refused("'option srvtcpka' with the kernel's settings"),
    ),
    (
        "srvtcpka-intvl",
        Refused("'option srvtcpka' with the kernel's settings"),
    ),
    ("stats", Refused("'stats socket' in the global section")),
    ("stick", Full),
    ("stick-table", Full),
    (
        "tcp-check",
        Refused("'check', or 'option httpchk' with 'http-check'"),
    ),
    ("tcp-request", Refused(LATER)),
    ("tcp-response", Refused(LATER)),
    ("timeout", Full),
    ("transparent", Refused("'server'")),
    ("unique-id-format", Refused("")),
    ("unique-id-header", Refused("")),
    ("use-fcgi-app", Refused("'server'")),
    ("use-server", Refused("'stick on'")),
    ("use_backend", Full),
];

/// `peers`.
pub const PEERS: Table = &[
    ("bind", Full),
    ("default-bind", Full),
    ("default-server", Full),
    ("disabled", Full),
    ("enabled", Full),
    ("log", Full),
    ("peer", Full),
    ("server", Full),
    ("table", Full),
];

/// `option` in proxies.
pub const OPTIONS: Table = &[
    ("abortonclose", Full),
    ("accept-invalid-http-request", Refused("")),
    ("accept-invalid-http-response", Refused("")),
    ("allbackups", Full),
    ("checkcache", Refused("")),
    ("clitcpka", Full),
    (
        "contstats",
        NoEffect("counters are always kept up to date while data flows"),
    ),
    ("disable-h2-upgrade", NoEffect(NO_H2)),
    ("dontlog-normal", Full),
    ("dontlognull", Full),
    ("external-check", Refused("'option httpchk'")),
    ("forwardfor", Full),
    ("h1-case-adjust-bogus-client", Refused("")),
    ("h1-case-adjust-bogus-server", Refused("")),
    ("http-buffer-request", Refused("")),
    ("http-ignore-probes", Full),
    ("http-keep-alive", Full),
    ("http-no-delay", Full),
    (
        "http-pretend-keepalive",
        Refused("'option http-server-close'"),
    ),
    ("http-restrict-req-hdr-names", Refused("")),
    ("http-server-close", Full),
    ("http-use-proxy-header", Refused("")),
    ("httpchk", Full),
    ("httpclose", Full),
    ("httplog", Full),
    ("httpslog", Refused("'option httplog'")),
    (
        "idle-close-on-response",
        NoEffect("a reload of burdock closes no idle connection"),
    ),
    (
        "independent-streams",
        NoEffect("each side always has a timeout of its own"),
    ),
    ("ldap-check", Refused("'check'")),
    ("log-health-checks", Full),
    ("log-separate-errors", Full),
    ("logasap", Full),
    ("mysql-check", Refused("'check'")),
    ("nolinger", Refused("")),
    ("originalto", Refused("")),
    ("persist", Full),
    ("pgsql-check", Refused("'check'")),
    ("prefer-last-server", Full),
    ("redis-check", Refused("'check'")),
    ("redispatch", Full),
    ("smtpchk", Refused("'check'")),
    ("socket-stats", Full),
    (
        "splice-auto",
        NoEffect("burdock decides itself when to splice"),
    ),
    (
        "splice-request",
        NoEffect("burdock decides itself when to splice"),
    ),
    (
        "splice-response",
        NoEffect("burdock decides itself when to splice"),
    ),
    ("spop-check", Refused("'check'")),
    ("srvtcpka", Full),
    ("ssl-hello-chk", Refused("'check'")),
    ("tcp-check", Full),
    (
        "tcp-smart-accept",
        NoEffect("burdock acknowledges with the data where the kernel lets it"),
    ),
    (
        "tcp-smart-connect",
        NoEffect("burdock acknowledges with the data where the kernel lets it"),
    ),
    ("tcpka", Full),
    ("tcplog", Full),
    ("transparent", Refused("'server'")),
];

/// Options that `no` and `default` may precede.
pub const SWITCHES: &[&str] = &[
    "abortonclose",
    "accept-invalid-http-request",
    "accept-invalid-http-response",
    "allbackups",
    "checkcache",
    "clitcpka",
    "contstats",
    "disable-h2-upgrade",
    "dontlog-normal",
    "dontlognull",
    "h1-case-adjust-bogus-client",
    "h1-case-adjust-bogus-server",
    "http-buffer-request",
    "http-ignore-probes",
    "http-no-delay",
    "http-pretend-keepalive",
    "http-use-proxy-header",
    "idle-close-on-response",
    "independent-streams",
    "log-health-checks",
    "log-separate-errors",
    "logasap",
    "nolinger",
    "persist",
    "prefer-last-server",
    "socket-stats",
    "splice-auto",
    "splice-request",
    "splice-response",
    "srvtcpka",
    "tcp-smart-accept",
    "tcp-smart-connect",
    "transparent",
    // These four are not of HAProxy's table of switches, but take `no` all the same.
    "http-keep-alive",
    "http-server-close",
    "httpclose",
    "redispatch",
];

/// What `bind` lines take after the address. The second number of HAProxy's list, arguments, is in [`argument_count`].
pub const BIND: Table = &[
    ("accept-netscaler-cip", Refused("")),
    ("accept-proxy", Refused("")),
    ("backlog", Full),
    ("defer-accept", Full),
    ("expose-fd", Full),
    ("gid", Full),
    ("group", Full),
    ("id", Full),
    ("interface", Full),
    ("level", Full),
    ("maxconn", Full),
    ("mode", Full),
    ("mss", Refused("")),
    ("name", Full),
    ("namespace", Refused("")),
    ("nice", NoEffect("all listeners have the same priority")),
    ("process", NoEffect(ONE_THREAD)),
    ("proto", Refused("HTTP/1 and TCP only")),
    ("quic-force-retry", Refused("")),
    ("severity-output", Refused("")),
    ("shards", NoEffect(ONE_THREAD)),
    ("ssl", Refused("a TLS terminator before burdock")),
    ("tcp-ut", Refused("'timeout client'")),
    ("tfo", Refused("'defer-accept'")),
    ("thread", NoEffect(ONE_THREAD)),
    ("transparent", Full),
    ("uid", Full),
    ("user", Full),
    ("v4v6", Full),
    ("v6only", Full),
    ("allow-0rtt", NoEffect(NO_TLS)),
    ("alpn", NoEffect(NO_TLS)),
    ("ca-file", NoEffect(NO_TLS)),
    ("ca-ignore-err", NoEffect(NO_TLS)),
    ("ca-sign-file", NoEffect(NO_TLS)),
    ("ca-sign-pass", NoEffect(NO_TLS)),
    ("ca-verify-file", NoEffect(NO_TLS)),
    ("ciphers", NoEffect(NO_TLS)),
    ("ciphersuites", NoEffect(NO_TLS)),
    ("crl-file", NoEffect(NO_TLS)),
    ("crt", NoEffect(NO_TLS)),
    ("crt-ignore-err", NoEffect(NO_TLS)),
    ("crt-list", NoEffect(NO_TLS)),
    ("curves", NoEffect(NO_TLS)),
    ("ecdhe", NoEffect(NO_TLS)),
    ("force-sslv3", NoEffect(NO_TLS)),
    ("force-tlsv10", NoEffect(NO_TLS)),
    ("force-tlsv11", NoEffect(NO_TLS)),
    ("force-tlsv12", NoEffect(NO_TLS)),
    ("force-tlsv13", NoEffect(NO_TLS)),
    ("generate-certificates", NoEffect(NO_TLS)),
    ("no-alpn", NoEffect(NO_TLS)),
    ("no-ca-names", NoEffect(NO_TLS)),
    ("no-sslv3", NoEffect(NO_TLS)),
    ("no-tls-tickets", NoEffect(NO_TLS)),
    ("no-tlsv10", NoEffect(NO_TLS)),
    ("no-tlsv11", NoEffect(NO_TLS)),
    ("no-tlsv12", NoEffect(NO_TLS)),
    ("no-tlsv13", NoEffect(NO_TLS)),
    ("npn", NoEffect(NO_TLS)),
    ("prefer-client-ciphers", NoEffect(NO_TLS)),
    ("ssl-max-ver", NoEffect(NO_TLS)),
    ("ssl-min-ver", NoEffect(NO_TLS)),
    ("strict-sni", NoEffect(NO_TLS)),
    ("tls-ticket-keys", NoEffect(NO_TLS)),
    ("verify", NoEffect(NO_TLS)),
];

/// What `server` and `default-server` lines take after the address.
pub const SERVER: Table = &[
    ("addr", Full),
    ("agent-addr", Refused("'check'")),
    ("agent-check", Refused("'check'")),
    (
        "agent-inter",
        NoEffect("agent checks are not supported; this alone asks for none"),
    ),
    (
        "agent-port",
        NoEffect("agent checks are not supported; this alone asks for none"),
    ),
    (
        "agent-send",
        NoEffect("agent checks are not supported; this alone asks for none"),
    ),
    ("allow-0rtt", NoEffect(NO_TLS)),
    ("alpn", NoEffect(NO_TLS)),
    ("backup", Full),
    ("ca-file", NoEffect(NO_TLS)),
    ("check", Full),
    ("check-alpn", NoEffect(NO_TLS)),
    ("check-proto", Refused("'option httpchk'")),
    ("check-send-proxy", Refused("")),
    ("check-sni", NoEffect(NO_TLS)),
    (
        "check-ssl",
        Refused("'check' on a port without TLS ('port')"),
    ),
    ("check-via-socks4", Refused("")),
    ("ciphers", NoEffect(NO_TLS)),
    ("ciphersuites", NoEffect(NO_TLS)),
    (
        "cookie",
        Refused("'stick on req.cook(NAME)' with 'stick store-response res.cook(NAME)'"),
    ),
    ("crl-file", NoEffect(NO_TLS)),
    ("crt", NoEffect(NO_TLS)),
    ("disabled", Full),
    ("downinter", Full),
    ("enabled", Full),
    (
        "error-limit",
        NoEffect("burdock does not observe traffic; see 'observe'"),
    ),
    ("fall", Full),
    ("fastinter", Full),
    ("force-sslv3", NoEffect(NO_TLS)),
    ("force-tlsv10", NoEffect(NO_TLS)),
    ("force-tlsv11", NoEffect(NO_TLS)),
    ("force-tlsv12", NoEffect(NO_TLS)),
    ("force-tlsv13", NoEffect(NO_TLS)),
    ("id", Full),
    ("init-addr", Full),
    ("inter", Full),
    ("log-proto", NoEffect("log lines do not go to servers")),
    ("max-reuse", Refused("'option http-server-close'")),
    ("maxconn", Full),
    ("maxqueue", Full),
    ("minconn", Full),
    ("namespace", Refused("")),
    ("no-agent-check", NoEffect("agent checks are never made")),
    ("no-backup", Full),
    ("no-check", Full),
    ("no-check-send-proxy", NoEffect("no PROXY header is sent")),
    ("no-check-ssl", NoEffect(NO_TLS)),
    ("no-send-proxy", NoEffect("no PROXY header is sent")),
    ("no-send-proxy-v2", NoEffect("no PROXY header is sent")),
    ("no-send-proxy-v2-ssl", NoEffect("no PROXY header is sent")),
    (
        "no-send-proxy-v2-ssl-cn",
        NoEffect("no PROXY header is sent"),
    ),
    ("no-ssl", NoEffect(NO_TLS)),
    ("no-ssl-reuse", NoEffect(NO_TLS)),
    ("no-sslv3", NoEffect(NO_TLS)),
    ("no-tfo", NoEffect("TCP fast open is not used")),
    ("no-tls-tickets", NoEffect(NO_TLS)),
    ("no-tlsv10", NoEffect(NO_TLS)),
    ("no-tlsv11", NoEffect(NO_TLS)),
    ("no-tlsv12", NoEffect(NO_TLS)),
    ("no-tlsv13", NoEffect(NO_TLS)),
    ("no-verifyhost", NoEffect(NO_TLS)),
    ("non-stick", Refused("a condition on the 'stick' rule")),
    ("npn", NoEffect(NO_TLS)),
    ("observe", Refused("'check'")),
    (
        "on-error",
        NoEffect("burdock does not observe traffic; see 'observe'"),
    ),
    ("on-marked-down", Refused("'timeout server'")),
    ("on-marked-up", Refused("'backup'")),
    (
        "pool-low-conn",
        NoEffect("idle connections are bounded by 'pool-max-conn'"),
    ),
    ("pool-max-conn", Full),
    ("pool-purge-delay", Full),
    ("port", Full),
    ("proto", Refused("HTTP/1 and TCP only")),
    ("proxy-v2-options", Refused("")),
    ("redir", Refused("")),
    (
        "resolve-net",
        NoEffect("host names are resolved once, at start"),
    ),
    (
        "resolve-opts",
        NoEffect("host names are resolved once, at start"),
    ),
    (
        "resolve-prefer",
        NoEffect("host names are resolved once, at start"),
    ),
    (
        "resolvers",
        Refused("a host name, which is resolved at start"),
    ),
    ("rise", Full),
    ("send-proxy", Refused("'option forwardfor'")),
    ("send-proxy-v2", Refused("'option forwardfor'")),
    ("send-proxy-v2-ssl", Refused("'option forwardfor'")),
    ("send-proxy-v2-ssl-cn", Refused("'option forwardfor'")),
    ("slowstart", Refused("'weight'")),
    ("sni", NoEffect(NO_TLS)),
    ("socks4", Refused("")),
    ("source", Full),
    ("ssl", Refused("a server without TLS")),
    ("ssl-max-ver", NoEffect(NO_TLS)),
    ("ssl-min-ver", NoEffect(NO_TLS)),
    ("ssl-reuse", NoEffect(NO_TLS)),
    (
        "stick",
        NoEffect("servers stick unless 'non-stick', which is not supported"),
    ),
    ("tcp-ut", Refused("'timeout server'")),
    ("tfo", Refused("")),
    ("tls-tickets", NoEffect(NO_TLS)),
    ("track", Refused("'check' on each server")),
    ("usesrc", Refused("'source'")),
    ("verify", NoEffect(NO_TLS)),
    ("verifyhost", NoEffect(NO_TLS)),
    ("weight", Full),
    ("ws", NoEffect(NO_H2)),
];

/// Words of `bind` and `server` lines that stand alone; all others take one argument.
const ALONE: &[&str] = &[
    "accept-proxy",
    "agent-check",
    "allow-0rtt",
    "backup",
    "check",
    "check-send-proxy",
    "check-ssl",
    "check-via-socks4",
    "defer-accept",
    "disabled",
    "enabled",
    "generate-certificates",
    "non-stick",
    "prefer-client-ciphers",
    "quic-force-retry",
    "send-proxy",
    "send-proxy-v2",
    "send-proxy-v2-ssl",
    "send-proxy-v2-ssl-cn",
    "ssl",
    "ssl-reuse",
    "stick",
    "strict-sni",
    "tfo",
    "tls-tickets",
    "transparent",
    "usesrc",
    "v4v6",
    "v6only",
];

/// How many arguments a word of a `bind` or `server` line takes.
pub fn argument_count(word: &str) -> usize {
    usize::from(!(ALONE.contains(&word) || word.starts_with("no-") || word.starts_with("force-")))
}

/// Sections that HAProxy knows and burdock does not, with the nearest thing that is supported.
pub const FOREIGN_SECTIONS: &[(&str, &str)] = &[
    ("userlist", ""),
    ("resolvers", "host names, which are resolved at start"),
    ("mailers", "'log'"),
    ("program", "the service manager"),
    ("http-errors", "'errorfile'"),
    ("ring", "'log'"),
    ("cache", ""),
    ("log-forward", ""),
    ("fcgi-app", ""),
];

/// What burdock does with a word of a table; `None`: HAProxy does not know it.
pub fn support(table: Table, word: &str) -> Option<Support> {
    table
        .iter()
        .find(|(name, _)| *name == word)
        .map(|(_, support)| *support)
}

/// The word of a table that a mistyped word most likely stands for.
pub fn nearest(table: Table, word: &str) -> Option<&'static str> {
    nearest_of(table.iter().map(|(name, _)| *name), word)
}

/// The nearest of some words, if it is near enough: no more than a third of the letters differ, at least one may.
pub fn nearest_of<'a>(words: impl Iterator<Item = &'a str>, word: &str) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    words
        .map(|candidate| (distance(candidate, word), candidate))
        .filter(|(distance, candidate)| *distance <= limit && *distance < candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// HAProxy's suggestion, with what precedes it, or nothing.
pub fn suggestion(nearest: Option<&str>) -> String {
    nearest
        .map(|word| format!("; did you mean '{word}' maybe ?"))
        .unwrap_or_default()
}

/// Edits between two words: letters inserted, left out, replaced, or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, y) in b.iter().enumerate() {
            let mut best = (above[j] + usize::from(x != y))
                .min(above[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions() {
        for (word, expected) in [
            ("balence", Some("balance")),
            ("bind2", Some("bind")),
            ("default_backen", Some("default_backend")),
            ("bin", Some("bind")),
            ("foo", None),
            ("unknown", None),
            ("tiemout", Some("timeout")),
        ] {
            assert_eq!(nearest(PROXY, word), expected, "{word}");
        }
        assert_eq!(nearest(SERVER, "chck"), Some("check"));
        assert_eq!(nearest(GLOBAL, "tune.bufsiz"), Some("tune.bufsize"));
    }

    #[test]
    fn tables_name_a_word_once() {
        for table in [GLOBAL, PROXY, PEERS, OPTIONS, BIND, SERVER] {
            for (index, (word, _)) in table.iter().enumerate() {
                assert!(
                    table[index + 1..].iter().all(|(other, _)| other != word),
                    "{word}"
                );
            }
        }
        for switch in SWITCHES {
            assert!(support(OPTIONS, switch).is_some(), "{switch}");
        }
    }
}
