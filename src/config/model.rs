//! The model: the configuration as a value, defaults applied, names resolved to indices.
//!
//! Indices are positions in `Config`'s vectors. All durations are milliseconds; `None` means not set.

use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;

use crate::http::Page;
pub use crate::log::LogFormat;
use crate::log::TargetSpec;
use crate::net::Address;
use crate::net::KeepaliveProbes;
use crate::net::proxy_protocol::Form;
use crate::peers::PeersSpec;
use crate::rules::{Reply, RuleSets, Use};
use crate::sample::format::Format;
use crate::sample::{Condition, Expr, Registry};
use crate::stick::TableSpec;

/// Where an object was declared; errors found after parsing name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pos {
    /// The file as it was named on the command line.
    pub file: Rc<str>,
    /// Line, from 1.
    pub line: u32,
}

/// A whole configuration.
#[derive(Debug)]
pub struct Config {
    /// The `global` section.
    pub global: Global,
    /// Frontends, backends and listens in declaration order.
    pub proxies: Vec<Proxy>,
    /// Peers sections in declaration order.
    pub peers: Vec<PeersSpec>,
    /// Log targets of each peers section, in the same order.
    pub peers_log: Vec<Vec<TargetSpec>>,
    /// All stick tables: of peers sections, then of proxies.
    pub tables: Vec<TableSpec>,
    /// The environment as `setenv`, `presetenv`, `unsetenv` and `resetenv` left it: that of the process from now on.
    pub environment: Vec<(String, String)>,
    /// What the expressions share: variables, pattern files.
    pub samples: Registry,
}

/// The `global` section (configuration manual, section 3).
#[derive(Clone, Debug)]
pub struct Global {
    /// `daemon`.
    pub daemon: bool,
    /// `expose-experimental-directives`.
    pub experimental: bool,
    /// `master-worker`. A master is always there; this keeps the command in the foreground without `daemon`.
    pub master_worker: bool,
    /// `chroot`.
    pub chroot: Option<PathBuf>,
    /// `user` or `uid`, resolved.
    pub uid: Option<u32>,
    /// `group` or `gid`, resolved.
    pub gid: Option<u32>,
    /// `pidfile`.
    pub pidfile: Option<PathBuf>,
    /// `burdock.table-directory`: stick tables live in files there.
    pub table_directory: Option<PathBuf>,
    /// `burdock.table-huge-pages`: the tables' memory is in huge pages, taken at the start.
    pub table_huge_pages: bool,
    /// `burdock.table-lock`: the tables' memory is taken at the start and never swapped out.
    pub table_lock: bool,
    /// `maxconn`, or `-n`, or what the descriptor limit allows: never `None` in a finished configuration.
    pub maxconn: Option<u32>,
    /// `maxconn` was given, in the file or with `-n`, and not computed.
    pub maxconn_given: bool,
    /// `ulimit-n`.
    pub ulimit_n: Option<u64>,
    /// `busy-polling`: the loop never sleeps.
    pub busy_polling: bool,
    /// `cpu-map`: the CPUs that the worker runs on; empty: all.
    pub cpus: Vec<u32>,
    /// `strict-limits` (default on).
    pub strict_limits: bool,
    /// `stats socket` lines.
    pub stats_sockets: Vec<StatsSocket>,
    /// `stats timeout`; 10 s by default.
    pub stats_timeout_ms: u64,
    /// `tune.http.logurilen`: bytes of a request line that the log has; 1024 by default.
    pub logged_line_max: u32,
    /// `maxconnrate`: connections accepted in a second, of all frontends.
    pub connection_rate_max: Option<u32>,
    /// `maxsessrate`: those of them that become sessions.
    pub session_rate_max: Option<u32>,
    /// `stats maxconn`; 10 by default.
    pub stats_maxconn: u32,
    /// `log` lines.
    pub log: Vec<TargetSpec>,
    /// `log-tag`; the program's name by default.
    pub log_tag: Option<String>,
    /// `log-send-hostname`: the name to send.
    pub log_hostname: Option<String>,
    /// `spread-checks`, in percent (0 to 50).
    pub spread_checks_pct: u32,
    /// `hard-stop-after`.
    pub hard_stop_after_ms: Option<u64>,
    /// Local peer name: `-L`, `localpeer`, or the host name.
    pub local_peer: String,
    /// `node`.
    pub node: Option<String>,
    /// `description`.
    pub description: Option<String>,
    /// `tune.bufsize`, bytes; 16384 by default.
    pub buffer_bytes: u32,
    /// `tune.maxrewrite`, bytes; 1024 by default.
    pub rewrite_bytes: u32,
    /// `tune.http.maxhdr`; 101 by default.
    pub headers_max: u32,
    /// `tune.maxaccept`; 64 by default (HAProxy's 4 is for many threads).
    pub accepts_per_turn_max: u32,
    /// Counters that a connection or a request can track (`tune.stick-counters`, which HAProxy has from 2.8 on).
    pub stick_counters: u32,
    /// `tune.peers.max-updates-at-once`; 200 by default.
    pub peer_updates_max: u32,
}

/// Access level of a stats socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum AccessLevel {
    User,
    Operator,
    Admin,
}

impl AccessLevel {
    /// As configurations and commands name it.
    pub fn name(self) -> &'static str {
        match self {
            AccessLevel::User => "user",
            AccessLevel::Operator => "operator",
            AccessLevel::Admin => "admin",
        }
    }
}

/// One `stats socket` line.
#[derive(Clone, Debug)]
pub struct StatsSocket {
    /// Where it listens.
    pub address: Address,
    /// `mode`, octal.
    pub mode: Option<u32>,
    /// `user`/`uid`.
    pub uid: Option<u32>,
    /// `group`/`gid`.
    pub gid: Option<u32>,
    /// `level`; operator by default.
    pub level: AccessLevel,
    /// `expose-fd listeners`.
    pub expose_listeners: bool,
    /// Where it was declared.
    pub pos: Pos,
}

/// What a proxy section declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ProxyKind {
    Frontend,
    Backend,
    Listen,
}

/// `mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Mode {
    Tcp,
    Http,
}

/// A frontend, backend or listen section with its defaults applied (configuration manual, section 4).
#[derive(Debug)]
pub struct Proxy {
    /// Name.
    pub name: String,
    /// Where it was declared.
    pub pos: Pos,
    /// Which section.
    pub kind: ProxyKind,
    /// `id`, or the next free one.
    pub id: u32,
    /// `id` is given, not chosen.
    pub id_forced: bool,
    /// `mode`; tcp by default.
    pub mode: Mode,
    /// `disabled`.
    pub disabled: bool,
    /// `description`.
    pub description: Option<String>,
    /// `maxconn` of the frontend side; the global one by default.
    pub maxconn: u32,
    /// `fullconn` of the backend side; 10 % of the frontends' maxconn by default (kept for dynamic limits).
    pub fullconn: Option<u32>,
    /// `backlog`.
    pub backlog: Option<u32>,
    /// `retries`; 3 by default.
    pub retries: u32,
    /// `retry-on`.
    pub retry_on: RetryOn,
    /// `http-reuse`.
    pub reuse: Reuse,
    /// Options.
    pub options: Options,
    /// Timeouts.
    pub timeouts: Timeouts,
    /// Log targets; `log global` is already replaced by the global ones.
    pub log: Vec<TargetSpec>,
    /// `log-tag` of this proxy.
    pub log_tag: Option<String>,
    /// Format of the request log.
    pub log_format: LogFormat,
    /// `log-format-sd`.
    pub log_format_sd: Option<Rc<Format>>,
    /// `error-log-format`: of connections that are refused, and of what comes instead of a request.
    pub error_log_format: Option<Rc<Format>>,
    /// `unique-id-format`.
    pub unique_id_format: Option<Rc<Format>>,
    /// `unique-id-header`.
    pub unique_id_header: Option<String>,
    /// What is captured, if this is a frontend.
    pub captures: Captures,
    /// `bind` lines, one for each address and port.
    pub binds: Vec<Bind>,
    /// `default_backend`: index of a proxy; for `listen`, none means itself.
    pub default_backend: Option<usize>,
    /// Rule sets; shared with the evaluations under way.
    pub rules: Rc<RuleSets>,
    /// `tcp-request inspect-delay`, milliseconds.
    pub inspect_request_ms: Option<u64>,
    /// `tcp-response inspect-delay`, milliseconds.
    pub inspect_response_ms: Option<u64>,
    /// `use_backend` rules in order.
    pub use_backend: Rc<[Use]>,
    /// `use-server` rules in order.
    pub use_server: Rc<[Use]>,
    /// `server` lines in order.
    pub servers: Vec<Server>,
    /// `balance`.
    pub balance: Balance,
    /// Index of the proxy's own `stick-table`.
    pub table: Option<usize>,
    /// `cookie`: clients stay at their server by a cookie.
    pub cookie: Option<Rc<PersistCookie>>,
    /// `http-send-name-header`: a header of requests that gets the name of the server.
    pub name_header: Option<Box<str>>,
    /// `force-persist` and `ignore-persist` in order.
    pub persist_rules: Rc<[PersistRule]>,
    /// `stick` rules in order.
    pub stick_rules: Vec<StickRule>,
    /// `option httpchk` and `http-check`; `None`: connect only.
    pub http_check: Option<HttpCheck>,
    /// `errorfile`, `errorloc` and `errorfiles`: one page a status, read at start.
    pub error_pages: Vec<(u16, ErrorAnswer)>,
    /// `monitor-uri` with its `monitor fail` conditions.
    pub monitor: Option<Monitor>,
}

/// What the persistence cookie is for (configuration manual, "cookie").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CookieMode {
    /// Only read.
    #[default]
    Observe,
    /// `rewrite`: the server's cookie gets the name of the server for a value.
    Rewrite,
    /// `insert`: responses get a cookie.
    Insert,
    /// `prefix`: the server's cookie gets the name of the server before its value.
    Prefix,
}

/// `cookie`.
#[derive(Clone, Debug, Default)]
pub struct PersistCookie {
    /// Its name.
    pub name: Box<str>,
    /// What is done with it.
    pub mode: CookieMode,
    /// `indirect`: the server does not see it, the client does not get what it has.
    pub indirect: bool,
    /// `nocache`.
    pub no_cache: bool,
    /// `postonly`.
    pub post_only: bool,
    /// `preserve`: what the server says of it goes to the client.
    pub preserve: bool,
    /// `dynamic`: servers have names in cookies of themselves.
    pub dynamic: bool,
    /// The log tells what became of it: HAProxy does so when anything was said about it beyond its name and its dates.
    pub shows_state: bool,
    /// `maxidle`, seconds.
    pub idle_s: Option<u64>,
    /// `maxlife`, seconds.
    pub life_s: Option<u64>,
    /// What follows the value in `Set-Cookie`: path, domains, attributes.
    pub tail: Box<str>,
}

/// `force-persist` or `ignore-persist`.
#[derive(Clone, Debug)]
pub struct PersistRule {
    /// `force-persist`.
    pub is_force: bool,
    /// When it applies.
    pub condition: Condition,
}

/// `monitor-uri`: requests that this proxy answers itself, without a word in the log.
#[derive(Clone, Debug)]
pub struct Monitor {
    /// The target; one that starts with a slash is compared with the request's path and query alone.
    pub uri: String,
    /// `monitor fail`: when one of these holds, the answer is 503.
    pub fails: Vec<Condition>,
}

/// What a frontend captures of messages (configuration manual, `capture`, `declare capture`).
#[derive(Clone, Debug, Default)]
pub struct Captures {
    /// Slots for the request, in order: the header that is captured, and the most bytes of it. Without a header: a rule fills it.
    pub request: Vec<(Option<Box<str>>, u32)>,
    /// Slots for the response.
    pub response: Vec<(Option<Box<str>>, u32)>,
    /// `capture cookie`: what the cookie's name begins with, and the most bytes of it.
    pub cookie: Option<(Box<str>, u32)>,
}

impl Captures {
    /// The slots of a direction, to add to.
    pub fn of_mut(&mut self, is_request: bool) -> &mut Vec<(Option<Box<str>>, u32)> {
        match is_request {
            true => &mut self.request,
            false => &mut self.response,
        }
    }
}

/// `option` lines (configuration manual, section 4.2).
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How connections are kept: keep-alive, server-close or close.
    pub connection: ConnectionMode,
    /// `option forwardfor`.
    pub forward_for: Option<ForwardFor>,
    /// `option originalto`; it knows no `if-none`.
    pub original_to: Option<ForwardFor>,
    /// `option redispatch`: `Some(n)`; every nth retry (negative: that many before the last), 0 is off.
    pub redispatch: i32,
    /// `option dontlognull`.
    pub dont_log_null: bool,
    /// `option dontlog-normal`.
    pub dont_log_normal: bool,
    /// `option logasap`.
    pub log_asap: bool,
    /// `option log-separate-errors`.
    pub log_separate_errors: bool,
    /// `option log-health-checks`.
    pub log_health_checks: bool,
    /// `option abortonclose`.
    pub abort_on_close: bool,
    /// `option allbackups`.
    pub all_backups: bool,
    /// `option clitcpka` / `tcpka`.
    pub client_keepalive: bool,
    /// `option srvtcpka` / `tcpka`.
    pub server_keepalive: bool,
    /// `clitcpka-cnt`, `clitcpka-idle`, `clitcpka-intvl`.
    pub client_probes: KeepaliveProbes,
    /// `srvtcpka-cnt`, `srvtcpka-idle`, `srvtcpka-intvl`.
    pub server_probes: KeepaliveProbes,
    /// `option http-pretend-keepalive`: a server is not told that its connection will be closed.
    pub pretend_keepalive: bool,
    /// `option nolinger`: nothing is left of this proxy's connections, on either side, once they are closed.
    pub no_linger: bool,
    /// `option persist`: use a sticky server even when it is down.
    pub persist: bool,
    /// `option socket-stats`: `show stat` has a row for each listener.
    pub socket_stats: bool,
    /// `option http-ignore-probes`.
    pub ignore_probes: bool,
    /// `option tcp-smart-accept`, `tcp-smart-connect`, `http-no-delay`: accepted, the loop does so anyway.
    pub no_delay: bool,
    /// `option prefer-last-server`.
    pub prefer_last_server: bool,
    /// `option accept-invalid-http-request`.
    pub accept_invalid_request: bool,
    /// `option accept-invalid-http-response`.
    pub accept_invalid_response: bool,
    /// `option http-buffer-request`.
    pub buffer_request: bool,
    /// `option http-restrict-req-hdr-names`.
    pub odd_names: OddNames,
}

/// What a proxy answers in the place of an error of ours.
#[derive(Clone, Debug)]
pub enum ErrorAnswer {
    /// `errorfile`, `errorloc`, `errorfiles`.
    Page(Rc<Page>),
    /// `http-error` with contents that are composed.
    Reply(Rc<Reply>),
}

/// `retry-on`: after which failures a request is tried again; a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryOn(u16);

/// The statuses that can be listed; each has a bit.
const RETRY_STATUSES: [u16; 10] = [500, 502, 503, 504, 401, 403, 404, 408, 425, 501];

impl RetryOn {
    /// None at all.
    pub const NONE: RetryOn = RetryOn(0);
    /// The connection to the server failed.
    pub const CONNECT: RetryOn = RetryOn(1);
    /// The server closed before a response head was complete.
    pub const EMPTY: RetryOn = RetryOn(1 << 1);
    /// The response cannot be understood.
    pub const JUNK: RetryOn = RetryOn(1 << 2);
    /// The response did not come in time.
    pub const TIMEOUT: RetryOn = RetryOn(1 << 3);
    /// `all-retryable-errors`: all of these, and statuses that tell of a server in trouble (500, 502, 503, 504).
    pub const ALL: RetryOn = RetryOn(0xff);

    /// The response has this status; `None` for one that cannot be listed.
    pub fn status(status: u16) -> Option<RetryOn> {
        let at = RETRY_STATUSES.iter().position(|other| *other == status)?;
        Some(RetryOn(1 << (at + 4)))
    }

    /// Both sets.
    pub fn with(self, other: RetryOn) -> RetryOn {
        RetryOn(self.0 | other.0)
    }

    /// Whether the set has this reason.
    pub fn has(self, reason: RetryOn) -> bool {
        self.0 & reason.0 != 0
    }

    /// Whether the set has this status.
    pub fn has_status(self, status: u16) -> bool {
        RetryOn::status(status).is_some_and(|reason| self.has(reason))
    }

    /// Whether there is more in it than failures to connect.
    pub fn looks_at_responses(self) -> bool {
        self.0 & !RetryOn::CONNECT.0 != 0
    }
}

impl Default for RetryOn {
    fn default() -> RetryOn {
        RetryOn::CONNECT
    }
}

/// `option http-restrict-req-hdr-names`: what becomes of request headers whose names have more than letters, digits and hyphens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OddNames {
    /// They are forwarded.
    #[default]
    Preserve,
    /// They are removed.
    Delete,
    /// The request is refused with 403.
    Reject,
}

/// How HTTP connections are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ConnectionMode {
    /// `option http-keep-alive`, the default.
    #[default]
    KeepAlive,
    /// `option http-server-close`.
    ServerClose,
    /// `option httpclose`.
    Close,
}

/// `http-reuse`: which idle server connections a request may travel on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Reuse {
    /// `never`: only those that its own client used before.
    Never,
    /// `safe`: never a client's first request.
    #[default]
    Safe,
    /// `aggressive`: a first request also on a connection that has been reused before.
    Aggressive,
    /// `always`: any.
    Always,
}

/// `option forwardfor [except NET] [header NAME] [if-none]`.
#[derive(Clone, Debug)]
pub struct ForwardFor {
    /// Source networks for which nothing is added: address and prefix length.
    pub except: Option<(IpAddr, u8)>,
    /// Header name; `X-Forwarded-For` by default.
    pub header: String,
    /// Only when the request has no such header yet.
    pub if_none: bool,
}

/// `timeout` lines, milliseconds.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Timeouts {
    pub client_ms: Option<u64>,
    pub client_fin_ms: Option<u64>,
    pub server_ms: Option<u64>,
    pub server_fin_ms: Option<u64>,
    pub connect_ms: Option<u64>,
    pub queue_ms: Option<u64>,
    pub http_request_ms: Option<u64>,
    pub http_keep_alive_ms: Option<u64>,
    pub tunnel_ms: Option<u64>,
    pub tarpit_ms: Option<u64>,
    pub check_ms: Option<u64>,
}

/// One address of a `bind` line (configuration manual, section 5.1).
#[derive(Clone, Debug)]
pub struct Bind {
    /// Where it listens.
    pub address: Address,
    /// Where it was declared.
    pub pos: Pos,
    /// `name`.
    pub name: Option<String>,
    /// `id`, or the next free one in the proxy.
    pub id: u32,
    /// `maxconn`.
    pub maxconn: Option<u32>,
    /// `backlog`.
    pub backlog: Option<u32>,
    /// `v6only` (`Some(true)`), `v4v6` (`Some(false)`).
    pub v6_only: Option<bool>,
    /// `transparent`.
    pub transparent: bool,
    /// `accept-proxy`: each connection begins with a PROXY header.
    pub accept_proxy: bool,
    /// `interface`.
    pub interface: Option<String>,
    /// `defer-accept`.
    pub defer_accept: bool,
    /// `tfo`.
    pub fast_open: bool,
    /// `mode` of a unix socket.
    pub mode: Option<u32>,
    /// Owner of a unix socket.
    pub uid: Option<u32>,
    /// Group of a unix socket.
    pub gid: Option<u32>,
}

/// `balance`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum Balance {
    #[default]
    RoundRobin,
    StaticRoundRobin,
    LeastConn,
    First,
    Source,
}

/// How a server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerPort {
    /// The port of the address.
    Fixed,
    /// The client's destination port plus an offset (`:+80`, `:-80`, or 0 when no port is given).
    FromClient(i32),
}

/// One `server` line, `default-server` applied (configuration manual, section 5.2).
#[derive(Clone, Debug)]
pub struct Server {
    /// Name.
    pub name: String,
    /// `id`, or the next free one in the backend.
    pub id: u32,
    /// `id` is given, not chosen.
    pub id_forced: bool,
    /// Where it was declared.
    pub pos: Pos,
    /// Address; the port is 0 when `port` is `FromClient`.
    pub address: Address,
    /// Meaning of the port.
    pub port: ServerPort,
    /// `weight`, 0 to 256; 1 by default.
    pub weight: u32,
    /// `cookie`: its name in persistence cookies.
    pub cookie: Option<Box<str>>,
    /// `dynamic-cookie-key` of its backend, when servers without `cookie` have such a name too.
    pub dynamic_cookie_key: Option<Rc<str>>,
    /// `maxconn`; 0: no limit.
    pub maxconn: u32,
    /// `minconn`; 0: none.
    pub minconn: u32,
    /// `maxqueue`; 0: no limit.
    pub maxqueue: u32,
    /// `backup`.
    pub backup: bool,
    /// `disabled`: starts in maintenance.
    pub disabled: bool,
    /// `check` and its settings.
    pub check: Option<ServerCheck>,
    /// `source`.
    pub source: Option<std::net::SocketAddr>,
    /// `send-proxy`, `send-proxy-v2`: each connection to it begins with a PROXY header.
    pub send_proxy: Option<Form>,
    /// `tfo`: a request that is there travels with the first packet of its connection.
    pub fast_open: bool,
    /// `pool-max-conn`; `None`: no limit.
    pub pool_max: Option<u32>,
    /// `pool-purge-delay`, 5 s by default.
    pub pool_purge_ms: u64,
}

/// Health check settings of a server.
#[derive(Clone, Debug)]
pub struct ServerCheck {
    /// `inter`; 2 s by default.
    pub inter_ms: u64,
    /// `fastinter`.
    pub fast_inter_ms: Option<u64>,
    /// `downinter`.
    pub down_inter_ms: Option<u64>,
    /// `rise`; 2 by default.
    pub rise: u32,
    /// `fall`; 3 by default.
    pub fall: u32,
    /// `addr` and `port`, when they differ from the server's.
    pub address: Option<Address>,
    /// A check's connection begins with this PROXY header.
    pub send_proxy: Option<Form>,
}

/// `option httpchk` and `http-check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    /// Method; OPTIONS by default.
    pub method: String,
    /// Target; `/` by default.
    pub uri: String,
    /// Version as sent, `HTTP/1.0` by default.
    pub version: String,
    /// Header lines, name and value.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// `http-check expect`; `None`: 2xx and 3xx pass.
    pub expect: Option<HttpExpect>,
}

/// `http-check expect [!] …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpExpect {
    /// `!`: the match is inverted.
    pub negate: bool,
    /// What is looked for.
    pub what: ExpectWhat,
}

/// What `http-check expect` looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpectWhat {
    /// `status`: inclusive ranges (`200`, `200-399`, comma separated).
    Status(Vec<(u16, u16)>),
    /// `string`: contained in the body.
    String(Vec<u8>),
}

/// Kind of a `stick` rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum StickKind {
    /// `stick on`: match and store-request.
    On,
    Match,
    StoreRequest,
    StoreResponse,
    /// `stick delete`, which is burdock's own: the entry goes, by what the request says …
    Delete,
    /// … or by what the response says.
    DeleteResponse,
}

impl StickKind {
    /// Whether the rule runs when the response is there; the others run when the request is.
    pub fn is_for_response(self) -> bool {
        matches!(self, StickKind::StoreResponse | StickKind::DeleteResponse)
    }
}

/// One `stick` rule.
#[derive(Debug)]
pub struct StickRule {
    /// What it does.
    pub kind: StickKind,
    /// What yields the key.
    pub expr: Expr,
    /// Index of the table in `Config::tables`.
    pub table: usize,
    /// Its condition.
    pub condition: Option<Condition>,
    /// Where it was declared.
    pub pos: Pos,
}
