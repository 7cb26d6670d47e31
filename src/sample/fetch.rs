//! The table of fetches: name, arguments, type, source, and the function that looks the value up.
//!
//! To add a fetch, add its line here and its function here or in `fetch_http`; to support one that `known` lists, remove it
//! there.

use super::args::{Arg, ArgType, Args, Signature};
use super::context::Context;
use super::cursor::Cursor;
use super::fetch_body as body;
use super::fetch_capture::{self as captured, LinePart};
use super::fetch_connection::{self as connection, End};
use super::fetch_hello as hello;
use super::fetch_http as http;
use super::fetch_raw::{self as raw, Side};
use super::fetch_state as state;
use super::link::LinkKind;
use super::registry::Registry;
use super::state::{ProxyFact, ServerFact};
use super::stick_counters;
use super::usage::Source;
use super::users;
use super::value::{Sample, Type};
use super::vars;
use std::net::{IpAddr, SocketAddr};

/// Looks a value up. With a cursor that iterates, it is called again for the next value until there is none.
pub(super) type FetchFn =
    for<'a> fn(&'a [Arg], &mut Context<'a>, &mut Cursor) -> Option<Sample<'a>>;

/// Checks arguments beyond their types when the configuration is read; may convert them.
pub(super) type CheckFn = fn(&mut [Arg], &Registry) -> Result<(), String>;

/// One fetch.
pub(super) struct Fetch {
    pub name: &'static str,
    pub signature: Signature,
    pub check: Option<CheckFn>,
    pub output: Type,
    pub source: Source,
    /// It looks at the address that the client connected to, which may cost a system call.
    pub needs_destination: bool,
    pub run: FetchFn,
}

const NONE: Signature = Signature {
    required: 0,
    types: &[],
};
const STR: Signature = Signature {
    required: 0,
    types: &[ArgType::Str],
};
const ONE_STR: Signature = Signature {
    required: 1,
    types: &[ArgType::Str],
};
const INDEX: Signature = Signature {
    required: 1,
    types: &[ArgType::Int],
};
const HEADER: Signature = Signature {
    required: 0,
    types: &[ArgType::Str, ArgType::Int],
};
/// A user list, which has to be named.
const USERS: Signature = Signature {
    required: 1,
    types: &[ArgType::Name(LinkKind::UserList)],
};
const PARAM: Signature = Signature {
    required: 0,
    types: &[ArgType::Str, ArgType::Str],
};

const TWO_INTS: Signature = Signature {
    required: 2,
    types: &[ArgType::Int, ArgType::Int],
};
const LENGTH_VALUE: Signature = Signature {
    required: 2,
    types: &[ArgType::Int, ArgType::Int, ArgType::Str],
};

const BACKEND: Signature = Signature {
    required: 0,
    types: &[ArgType::Name(LinkKind::Backend)],
};
const FRONTEND: Signature = Signature {
    required: 0,
    types: &[ArgType::Name(LinkKind::Frontend)],
};
const SERVER: Signature = Signature {
    required: 1,
    types: &[ArgType::Name(LinkKind::Server)],
};

const fn fetch(
    name: &'static str,
    signature: Signature,
    output: Type,
    source: Source,
    run: FetchFn,
) -> Fetch {
    let check: Option<CheckFn> = None;
    Fetch {
        name,
        signature,
        check,
        output,
        source,
        needs_destination: false,
        run,
    }
}

/// A fetch of the address that the client connected to.
const fn of_destination(name: &'static str, output: Type, run: FetchFn) -> Fetch {
    let mut fetch = fetch(name, NONE, output, Source::Client, run);
    fetch.needs_destination = true;
    fetch
}

const fn checked(mut fetch: Fetch, check: CheckFn) -> Fetch {
    fetch.check = Some(check);
    fetch
}

/// Most fetches; those of stick tables are in `stick_counters`. Names with an underscore or a short form are the manual's deprecated aliases.
#[rustfmt::skip]
pub(super) static FETCHES: &[Fetch] = {
    use Source::*;
    use Type::*;
    &[
        // Constants
        fetch("always_false", NONE, Bool, Constant, |_, _, _| Some(Sample::Bool(false))),
        fetch("always_true", NONE, Bool, Constant, |_, _, _| Some(Sample::Bool(true))),
        checked(fetch("bin", ONE_STR, Bin, Constant, |args, _, _| bytes(args).map(Sample::Bin)), check_bin),
        checked(fetch("bool", ONE_STR, Bool, Constant, |args, _, _| Some(Sample::Bool(args.int(0)? != 0))), check_bool),
        fetch("int", Signature { required: 1, types: &[ArgType::Int] }, Int, Constant, |args, _, _| args.int(0).map(Sample::Int)),
        fetch("ipv4", Signature { required: 1, types: &[ArgType::Ipv4] }, Ipv4, Constant, constant_address),
        fetch("ipv6", Signature { required: 1, types: &[ArgType::Ipv6] }, Ipv6, Constant, constant_address),
        fetch("meth", ONE_STR, Method, Constant, |args, _, _| bytes(args).map(Sample::Method)),
        fetch("str", ONE_STR, Str, Constant, |args, _, _| bytes(args).map(Sample::Str)),
        // Variables
        checked(fetch("var", Signature { required: 1, types: &[ArgType::Str, ArgType::Str] }, Any, Constant, variable), check_variable),
        // The process
        checked(fetch("date", Signature { required: 0, types: &[ArgType::Int, ArgType::Str] }, Int, Constant, date), check_date),
        fetch("date_us", NONE, Int, Constant, |_, cx, _| Some(Sample::Int((cx.wall_ms % 1000 * 1000) as i64))),
        checked(fetch("env", STR, Str, Constant, |args, _, _| environment(args)), check_environment),
        fetch("hostname", NONE, Str, Constant, |_, _, _| Some(Sample::str(crate::sys::host::kept_name().as_bytes()))),
        fetch("nbproc", NONE, Int, Constant, |_, _, _| Some(Sample::Int(1))),
        fetch("proc", NONE, Int, Constant, |_, _, _| Some(Sample::Int(1))),
        fetch("thread", NONE, Int, Constant, |_, _, _| Some(Sample::Int(0))),
        checked(fetch("uuid", Signature { required: 0, types: &[ArgType::Int] }, Str, Constant, uuid), check_uuid),
        fetch("rand", Signature { required: 0, types: &[ArgType::Int] }, Int, Constant, rand),
        fetch("stopping", NONE, Bool, Internal, |_, cx, _| Some(Sample::Bool(cx.facts.is_stopping))),
        fetch("last_rule_file", NONE, Str, Internal, |_, cx, _| connection::last_rule_file(cx)),
        fetch("last_rule_line", NONE, Int, Internal, |_, cx, _| connection::last_rule_line(cx)),
        fetch("wait_end", NONE, Bool, Internal, |_, cx, _| wait_end(cx)),
        // The connection
        fetch("src", NONE, Ipv4, Client, |_, cx, _| address(cx.source)),
        fetch("src_port", NONE, Int, Client, |_, cx, _| port(cx.source)),
        of_destination("dst", Ipv4, |_, cx, _| address(cx.destination)),
        of_destination("dst_port", Int, |_, cx, _| port(cx.destination)),
        fetch("dst_conn", NONE, Int, Listener, |_, cx, _| connection::listener_connections(cx)),
        of_destination("dst_is_local", Bool, |_, cx, _| connection::is_local(cx.destination)),
        fetch("src_is_local", NONE, Bool, Client, |_, cx, _| connection::is_local(cx.source)),
        // The client's connection, whatever rules have made of `src` and `dst`
        fetch("fc_src", NONE, Ipv4, Client, |_, cx, _| connection::end_address(cx, End::ClientSource)),
        fetch("fc_src_is_local", NONE, Bool, Client, |_, cx, _| connection::is_local(connection::end(cx, End::ClientSource))),
        fetch("fc_src_port", NONE, Int, Client, |_, cx, _| connection::end_port(cx, End::ClientSource)),
        fetch("fc_dst", NONE, Ipv4, Client, |_, cx, _| connection::end_address(cx, End::ClientDestination)),
        fetch("fc_dst_is_local", NONE, Bool, Client, |_, cx, _| connection::is_local(connection::end(cx, End::ClientDestination))),
        fetch("fc_dst_port", NONE, Int, Client, |_, cx, _| connection::end_port(cx, End::ClientDestination)),
        fetch("fc_err", NONE, Int, Client, |_, cx, _| connection::client_fault(cx)),
        fetch("fc_err_str", NONE, Str, Client, |_, cx, _| connection::client_fault_text(cx)),
        fetch("fc_http_major", NONE, Int, Client, |_, cx, _| connection::client_major(cx)),
        fetch("fc_pp_authority", NONE, Str, Client, |_, cx, _| connection::authority(cx)),
        fetch("fc_pp_unique_id", NONE, Str, Client, |_, cx, _| connection::header_unique_id(cx)),
        fetch("fc_rcvd_proxy", NONE, Bool, Client, |_, cx, _| connection::received_header(cx)),
        fetch("fc_fackets", STR, Int, Client, |_, cx, _| connection::tcp_count(cx, |info| info.fackets)),
        fetch("fc_lost", STR, Int, Client, |_, cx, _| connection::tcp_count(cx, |info| info.lost)),
        fetch("fc_reordering", STR, Int, Client, |_, cx, _| connection::tcp_count(cx, |info| info.reordering)),
        fetch("fc_retrans", STR, Int, Client, |_, cx, _| connection::tcp_count(cx, |info| info.retrans)),
        fetch("fc_sacked", STR, Int, Client, |_, cx, _| connection::tcp_count(cx, |info| info.sacked)),
        fetch("fc_unacked", STR, Int, Client, |_, cx, _| connection::tcp_count(cx, |info| info.unacked)),
        checked(fetch("fc_rtt", STR, Int, Client, |args, cx, _| connection::tcp_time(args, cx, |info| info.rtt_us)), connection::check_unit),
        checked(fetch("fc_rttvar", STR, Int, Client, |args, cx, _| connection::tcp_time(args, cx, |info| info.rttvar_us)), connection::check_unit),
        fetch("ssl_fc", NONE, Bool, Client, |_, _, _| Some(Sample::Bool(false))),
        // The server and its connection
        fetch("bc_src", NONE, Ipv4, ServerAddress, |_, cx, _| connection::end_address(cx, End::ServerSource)),
        fetch("bc_src_port", NONE, Int, ServerAddress, |_, cx, _| connection::end_port(cx, End::ServerSource)),
        fetch("bc_dst", NONE, Ipv4, ServerAddress, |_, cx, _| connection::end_address(cx, End::ServerDestination)),
        fetch("bc_dst_port", NONE, Int, ServerAddress, |_, cx, _| connection::end_port(cx, End::ServerDestination)),
        fetch("bc_err", NONE, Int, ServerAddress, |_, cx, _| cx.facts.link.map(|_| Sample::Int(0))),
        fetch("bc_err_str", NONE, Str, ServerAddress, |_, cx, _| cx.facts.link.map(|_| Sample::str(b"Success"))),
        fetch("bc_http_major", NONE, Int, ServerAddress, |_, cx, _| connection::server_major(cx)),
        fetch("srv_id", NONE, Int, Server, |_, cx, _| Some(Sample::Int(i64::from(connection::server(cx)?.1)))),
        fetch("srv_name", NONE, Str, Server, |_, cx, _| Some(Sample::str(connection::server(cx)?.0.as_bytes()))),
        // Timeouts
        fetch("fe_client_timeout", NONE, Int, Frontend, |_, cx, _| connection::timeout(cx, ProxyFact::ClientTimeout)),
        fetch("be_server_timeout", NONE, Int, Backend, |_, cx, _| connection::timeout(cx, ProxyFact::ServerTimeout)),
        fetch("be_tunnel_timeout", NONE, Int, Backend, |_, cx, _| connection::timeout(cx, ProxyFact::TunnelTimeout)),
        fetch("cur_server_timeout", NONE, Int, Backend, |_, cx, _| connection::current_timeout(cx, ProxyFact::ServerTimeout)),
        fetch("cur_tunnel_timeout", NONE, Int, Backend, |_, cx, _| connection::current_timeout(cx, ProxyFact::TunnelTimeout)),
        // Bytes as they come
        fetch("payload", TWO_INTS, Bin, EitherBuffer, |args, cx, _| raw::payload(args, cx, Side::Either)),
        checked(fetch("payload_lv", LENGTH_VALUE, Bin, EitherBuffer, |args, cx, _| raw::payload_lv(args, cx, Side::Either)), raw::check_payload_lv),
        fetch("req.payload", TWO_INTS, Bin, RequestBuffer, |args, cx, _| raw::payload(args, cx, Side::Request)),
        checked(fetch("req.payload_lv", LENGTH_VALUE, Bin, RequestBuffer, |args, cx, _| raw::payload_lv(args, cx, Side::Request)), raw::check_payload_lv),
        fetch("res.payload", TWO_INTS, Bin, ResponseBuffer, |args, cx, _| raw::payload(args, cx, Side::Response)),
        checked(fetch("res.payload_lv", LENGTH_VALUE, Bin, ResponseBuffer, |args, cx, _| raw::payload_lv(args, cx, Side::Response)), raw::check_payload_lv),
        fetch("req.len", NONE, Int, RequestBuffer, |_, cx, _| raw::length(cx, Side::Request)),
        fetch("req_len", NONE, Int, RequestBuffer, |_, cx, _| raw::length(cx, Side::Request)),
        fetch("res.len", NONE, Int, ResponseBuffer, |_, cx, _| raw::length(cx, Side::Response)),
        fetch("rdp_cookie", STR, Str, RequestBuffer, |args, cx, _| raw::rdp_cookie(args, cx)),
        fetch("rdp_cookie_cnt", STR, Int, RequestBuffer, |args, cx, _| raw::rdp_cookie_count(args, cx)),
        fetch("req.rdp_cookie", STR, Str, RequestBuffer, |args, cx, _| raw::rdp_cookie(args, cx)),
        fetch("req.rdp_cookie_cnt", STR, Int, RequestBuffer, |args, cx, _| raw::rdp_cookie_count(args, cx)),
        fetch("req.ssl_hello_type", NONE, Int, RequestBuffer, |_, cx, _| hello::kind(cx, Side::Request)),
        fetch("req_ssl_hello_type", NONE, Int, RequestBuffer, |_, cx, _| hello::kind(cx, Side::Request)),
        fetch("res.ssl_hello_type", NONE, Int, ResponseBuffer, |_, cx, _| hello::kind(cx, Side::Response)),
        fetch("rep_ssl_hello_type", NONE, Int, ResponseBuffer, |_, cx, _| hello::kind(cx, Side::Response)),
        fetch("req.ssl_alpn", NONE, Str, RequestBuffer, |_, cx, _| hello::alpn(cx)),
        fetch("req.ssl_ec_ext", NONE, Bool, RequestBuffer, |_, cx, _| hello::curves(cx)),
        fetch("req.ssl_sni", NONE, Str, RequestBuffer, |_, cx, _| hello::sni(cx)),
        fetch("req_ssl_sni", NONE, Str, RequestBuffer, |_, cx, _| hello::sni(cx)),
        fetch("req.ssl_st_ext", NONE, Int, RequestBuffer, |_, cx, _| hello::ticket(cx)),
        fetch("req.ssl_ver", NONE, Int, RequestBuffer, |_, cx, _| hello::asked_version(cx)),
        fetch("req_ssl_ver", NONE, Int, RequestBuffer, |_, cx, _| hello::asked_version(cx)),
        // Where it arrived and where it goes
        fetch("fe_id", NONE, Int, Frontend, |_, cx, _| Some(Sample::Int(i64::from(cx.frontend?.id)))),
        fetch("fe_defbe", NONE, Str, Frontend, |_, cx, _| connection::default_backend(cx)),
        fetch("fe_name", NONE, Str, Frontend, |_, cx, _| Some(Sample::str(cx.frontend?.name.as_bytes()))),
        fetch("be_id", NONE, Int, Backend, |_, cx, _| Some(Sample::Int(i64::from(cx.backend?.id)))),
        fetch("be_name", NONE, Str, Backend, |_, cx, _| Some(Sample::str(cx.backend?.name.as_bytes()))),
        fetch("so_id", NONE, Int, Listener, |_, cx, _| Some(Sample::Int(i64::from(cx.listener?.0)))),
        fetch("so_name", NONE, Str, Listener, |_, cx, _| Some(Sample::str(cx.listener?.1?.as_bytes()))),
        // What the process is doing
        fetch("avg_queue", BACKEND, Int, Internal, |args, cx, _| state::proxy(args, cx, ProxyFact::AvgQueue)),
        fetch("be_conn", BACKEND, Int, Internal, |args, cx, _| state::proxy(args, cx, ProxyFact::BeConn)),
        fetch("be_conn_free", BACKEND, Int, Internal, |args, cx, _| state::proxy(args, cx, ProxyFact::BeConnFree)),
        fetch("be_sess_rate", BACKEND, Int, Internal, |args, cx, _| state::proxy(args, cx, ProxyFact::BeSessRate)),
        fetch("connslots", BACKEND, Int, Internal, |args, cx, _| state::proxy(args, cx, ProxyFact::ConnSlots)),
        fetch("fe_conn", FRONTEND, Int, Internal, |args, cx, _| state::proxy(args, cx, ProxyFact::FeConn)),
        fetch("fe_req_rate", FRONTEND, Int, Internal, |args, cx, _| state::proxy(args, cx, ProxyFact::FeReqRate)),
        fetch("fe_sess_rate", FRONTEND, Int, Internal, |args, cx, _| state::proxy(args, cx, ProxyFact::FeSessRate)),
        fetch("nbsrv", BACKEND, Int, Internal, |args, cx, _| state::proxy(args, cx, ProxyFact::NbSrv)),
        fetch("prio_class", NONE, Int, Internal, |_, cx, _| Some(Sample::Int(cx.facts.priority.0.into()))),
        fetch("prio_offset", NONE, Int, Internal, |_, cx, _| Some(Sample::Int(cx.facts.priority.1.into()))),
        fetch("queue", BACKEND, Int, Internal, |args, cx, _| state::proxy(args, cx, ProxyFact::Queue)),
        fetch("srv_conn", SERVER, Int, Internal, |args, cx, _| state::server(args, cx, ServerFact::Conn)),
        fetch("srv_conn_free", SERVER, Int, Internal, |args, cx, _| state::server(args, cx, ServerFact::ConnFree)),
        fetch("srv_is_up", SERVER, Bool, Internal, |args, cx, _| state::server(args, cx, ServerFact::IsUp)),
        fetch("srv_iweight", SERVER, Int, Internal, |args, cx, _| state::server(args, cx, ServerFact::Iweight)),
        fetch("srv_queue", SERVER, Int, Internal, |args, cx, _| state::server(args, cx, ServerFact::Queue)),
        fetch("srv_sess_rate", SERVER, Int, Internal, |args, cx, _| state::server(args, cx, ServerFact::SessRate)),
        fetch("srv_uweight", SERVER, Int, Internal, |args, cx, _| state::server(args, cx, ServerFact::Uweight)),
        fetch("srv_weight", SERVER, Int, Internal, |args, cx, _| state::server(args, cx, ServerFact::Weight)),
        // The request
        fetch("base", NONE, Str, HttpRequest, |_, cx, _| http::base(cx, false)),
        fetch("base32", NONE, Int, HttpRequest, |_, cx, _| http::base32(cx, false)),
        fetch("base32+src", NONE, Bin, HttpRequest, |_, cx, _| http::base32_src(cx, false)),
        fetch("baseq", NONE, Str, HttpRequest, |_, cx, _| http::base(cx, true)),
        fetch("cook", STR, Str, HttpRequest, |args, cx, at| http::cookie(http::request_cookies(cx)?, args, at)),
        fetch("cook_cnt", STR, Int, HttpRequest, |args, cx, _| http::cookie_count(http::request_cookies(cx)?, args)),
        fetch("cook_val", STR, Int, HttpRequest, |args, cx, at| http::as_number(http::cookie(http::request_cookies(cx)?, args, at))),
        fetch("cookie", STR, Str, HttpEither, |args, cx, at| http::cookie(http::either_cookies(cx)?, args, at)),
        checked(fetch("hdr", HEADER, Str, HttpEither, |args, cx, at| http::list_value(http::either(cx)?, args, at)), check_occurrence),
        fetch("hdr_cnt", STR, Int, HttpRequest, |args, cx, _| http::list_count(http::request(cx)?, args)),
        checked(fetch("hdr_ip", HEADER, Ipv4, HttpRequest, |args, cx, at| http::ip_value(http::request(cx)?, args, at)), check_occurrence),
        checked(fetch("hdr_val", HEADER, Int, HttpRequest, |args, cx, at| http::as_number(http::list_value(http::request(cx)?, args, at))), check_occurrence),
        checked(fetch("http_auth", USERS, Bool, HttpRequest, |args, cx, _| users::http_auth(args, cx)), users::check_list),
        fetch("http_auth_bearer", STR, Str, HttpRequest, |args, cx, _| users::bearer(args, cx)),
        checked(fetch("http_auth_group", USERS, Str, HttpRequest, users::http_auth_group), users::check_list),
        fetch("http_auth_pass", NONE, Str, HttpRequest, |_, cx, _| users::part(cx, users::Credentials::password)),
        fetch("http_auth_type", NONE, Str, HttpRequest, |_, cx, _| users::kind(cx)),
        fetch("http_auth_user", NONE, Str, HttpRequest, |_, cx, _| users::part(cx, users::Credentials::user)),
        fetch("http_first_req", NONE, Bool, RequestLine, |_, cx, _| Some(Sample::Bool(cx.first_request))),
        fetch("method", NONE, Method, RequestLine, |_, cx, _| http::method(cx)),
        fetch("path", NONE, Str, HttpRequest, |_, cx, _| http::path(cx)),
        fetch("pathq", NONE, Str, HttpRequest, |_, cx, _| http::pathq(cx)),
        fetch("query", NONE, Str, HttpRequest, |_, cx, _| http::query(cx)),
        fetch("req.body", NONE, Bin, HttpRequest, |_, cx, _| body::data(body::request(cx)?, cx.scratch)),
        fetch("req.body_len", NONE, Int, HttpRequest, |_, cx, _| body::length(body::request(cx)?)),
        fetch("req.body_param", STR, Bin, HttpRequest, body::param),
        fetch("req.body_size", NONE, Int, HttpRequest, |_, cx, _| body::size(body::request(cx)?)),
        fetch("req.cook", STR, Str, HttpRequest, |args, cx, at| http::cookie(http::request_cookies(cx)?, args, at)),
        fetch("req.cook_cnt", STR, Int, HttpRequest, |args, cx, _| http::cookie_count(http::request_cookies(cx)?, args)),
        fetch("req.cook_val", STR, Int, HttpRequest, |args, cx, at| http::as_number(http::cookie(http::request_cookies(cx)?, args, at))),
        checked(fetch("req.fhdr", HEADER, Str, HttpRequest, |args, cx, at| http::full_value(http::request(cx)?, args, at)), check_occurrence),
        fetch("req.fhdr_cnt", STR, Int, HttpRequest, |args, cx, _| http::full_count(http::request(cx)?, args)),
        checked(fetch("req.hdr", HEADER, Str, HttpRequest, |args, cx, at| http::list_value(http::request(cx)?, args, at)), check_occurrence),
        fetch("req.hdr_cnt", STR, Int, HttpRequest, |args, cx, _| http::list_count(http::request(cx)?, args)),
        checked(fetch("req.hdr_ip", HEADER, Ipv4, HttpRequest, |args, cx, at| http::ip_value(http::request(cx)?, args, at)), check_occurrence),
        fetch("req.hdr_names", STR, Str, HttpRequest, |args, cx, _| http::names(http::request(cx)?, args, cx.scratch)),
        fetch("req.hdrs", NONE, Bin, HttpRequest, |_, cx, _| http::all_lines(http::request(cx)?, cx.scratch)),
        fetch("req.hdrs_bin", NONE, Bin, HttpRequest, |_, cx, _| http::all_lines_binary(http::request(cx)?, cx.scratch)),
        checked(fetch("req.hdr_val", HEADER, Int, HttpRequest, |args, cx, at| http::as_number(http::list_value(http::request(cx)?, args, at))), check_occurrence),
        fetch("req.proto_http", NONE, Bool, RequestLine, |_, cx, _| cx.request.map(|_| Sample::Bool(true))),
        fetch("req.ver", NONE, Str, HttpRequest, |_, cx, _| http::version(cx.request?.head.version)),
        fetch("req_proto_http", NONE, Bool, RequestLine, |_, cx, _| cx.request.map(|_| Sample::Bool(true))),
        fetch("req_ver", NONE, Str, HttpRequest, |_, cx, _| http::version(cx.request?.head.version)),
        fetch("url", NONE, Str, HttpRequest, |_, cx, _| http::url(cx)),
        fetch("url32", NONE, Int, HttpRequest, |_, cx, _| http::base32(cx, true)),
        fetch("url32+src", NONE, Bin, HttpRequest, |_, cx, _| http::base32_src(cx, true)),
        fetch("url_ip", NONE, Ipv4, HttpRequest, |_, cx, _| http::url_ip(cx)),
        checked(fetch("url_param", PARAM, Str, HttpRequest, http::param), check_delimiter),
        fetch("url_port", NONE, Int, HttpRequest, |_, cx, _| http::url_port(cx)),
        checked(fetch("urlp", PARAM, Str, HttpRequest, http::param), check_delimiter),
        checked(fetch("urlp_val", PARAM, Int, HttpRequest, |args, cx, at| http::as_number(http::param(args, cx, at))), check_delimiter),
        // What was captured
        fetch("capture.req.hdr", INDEX, Str, RequestLine, |args, cx, _| captured::header(args, cx, true)),
        fetch("capture.req.method", NONE, Str, RequestLine, |_, cx, _| captured::line(cx, LinePart::Method)),
        fetch("capture.req.uri", NONE, Str, RequestLine, |_, cx, _| captured::line(cx, LinePart::Uri)),
        fetch("capture.req.ver", NONE, Str, RequestLine, |_, cx, _| captured::line(cx, LinePart::Version)),
        fetch("capture.res.hdr", INDEX, Str, ResponseLine, |args, cx, _| captured::header(args, cx, false)),
        fetch("capture.res.ver", NONE, Str, RequestLine, |_, cx, _| captured::response_version(cx)),
        fetch("unique-id", NONE, Str, Constant, |_, cx, _| captured::unique_id(cx)),
        // The response
        fetch("res.body", NONE, Bin, HttpResponse, |_, cx, _| body::data(body::response(cx)?, cx.scratch)),
        fetch("res.body_len", NONE, Int, HttpResponse, |_, cx, _| body::length(body::response(cx)?)),
        fetch("res.body_size", NONE, Int, HttpResponse, |_, cx, _| body::size(body::response(cx)?)),
        fetch("res.cook", STR, Str, HttpResponse, |args, cx, at| http::cookie(http::response_cookies(cx)?, args, at)),
        fetch("res.cook_cnt", STR, Int, HttpResponse, |args, cx, _| http::cookie_count(http::response_cookies(cx)?, args)),
        fetch("res.cook_val", STR, Int, HttpResponse, |args, cx, at| http::as_number(http::cookie(http::response_cookies(cx)?, args, at))),
        checked(fetch("res.fhdr", HEADER, Str, HttpResponse, |args, cx, at| http::full_value(http::response(cx)?, args, at)), check_occurrence),
        fetch("res.fhdr_cnt", STR, Int, HttpResponse, |args, cx, _| http::full_count(http::response(cx)?, args)),
        checked(fetch("res.hdr", HEADER, Str, HttpResponse, |args, cx, at| http::list_value(http::response(cx)?, args, at)), check_occurrence),
        fetch("res.hdr_cnt", STR, Int, HttpResponse, |args, cx, _| http::list_count(http::response(cx)?, args)),
        checked(fetch("res.hdr_ip", HEADER, Ipv4, HttpResponse, |args, cx, at| http::ip_value(http::response(cx)?, args, at)), check_occurrence),
        fetch("res.hdr_names", STR, Str, HttpResponse, |args, cx, _| http::names(http::response(cx)?, args, cx.scratch)),
        fetch("res.hdrs", NONE, Bin, HttpResponse, |_, cx, _| http::all_lines(http::response(cx)?, cx.scratch)),
        fetch("res.hdrs_bin", NONE, Bin, HttpResponse, |_, cx, _| http::all_lines_binary(http::response(cx)?, cx.scratch)),
        checked(fetch("res.hdr_val", HEADER, Int, HttpResponse, |args, cx, at| http::as_number(http::list_value(http::response(cx)?, args, at))), check_occurrence),
        fetch("res.ver", NONE, Str, HttpResponse, |_, cx, _| http::version(cx.response?.head.version)),
        fetch("resp_ver", NONE, Str, HttpResponse, |_, cx, _| http::version(cx.response?.head.version)),
        fetch("scook", STR, Str, HttpResponse, |args, cx, at| http::cookie(http::response_cookies(cx)?, args, at)),
        fetch("scook_cnt", STR, Int, HttpResponse, |args, cx, _| http::cookie_count(http::response_cookies(cx)?, args)),
        fetch("scook_val", STR, Int, HttpResponse, |args, cx, at| http::as_number(http::cookie(http::response_cookies(cx)?, args, at))),
        checked(fetch("shdr", HEADER, Str, HttpResponse, |args, cx, at| http::list_value(http::response(cx)?, args, at)), check_occurrence),
        fetch("shdr_cnt", STR, Int, HttpResponse, |args, cx, _| http::list_count(http::response(cx)?, args)),
        checked(fetch("shdr_ip", HEADER, Ipv4, HttpResponse, |args, cx, at| http::ip_value(http::response(cx)?, args, at)), check_occurrence),
        checked(fetch("shdr_val", HEADER, Int, HttpResponse, |args, cx, at| http::as_number(http::list_value(http::response(cx)?, args, at))), check_occurrence),
        fetch("status", NONE, Int, ResponseLine, |_, cx, _| Some(Sample::Int(i64::from(cx.response?.head.status)))),
    ]
};

fn all() -> impl Iterator<Item = &'static Fetch> {
    FETCHES.iter().chain(stick_counters::fetches())
}

/// The names of all fetches.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    all().map(|fetch| fetch.name)
}

/// The fetch of that name.
pub(super) fn find(name: &[u8]) -> Option<&'static Fetch> {
    all().find(|fetch| fetch.name.as_bytes() == name)
}

fn bytes<'a>(args: &'a [Arg]) -> Option<super::scratch::Bytes<'a>> {
    Some(super::scratch::Bytes::At(args.bytes(0)))
}

fn constant_address<'a>(
    args: &'a [Arg],
    _: &mut Context<'a>,
    _: &mut Cursor,
) -> Option<Sample<'a>> {
    match args.first()? {
        Arg::Ipv4(address) => Some(Sample::Ipv4(*address)),
        Arg::Ipv6(address) => Some(Sample::Ipv6(*address)),
        _ => None,
    }
}

pub(super) fn address<'a>(address: Option<SocketAddr>) -> Option<Sample<'a>> {
    // a client on a dual-stack listener is an IPv4 client
    Some(match address?.ip() {
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => Sample::Ipv4(mapped),
            None => Sample::Ipv6(address),
        },
        IpAddr::V4(address) => Sample::Ipv4(address),
    })
}

fn port<'a>(address: Option<SocketAddr>) -> Option<Sample<'a>> {
    Some(Sample::Int(i64::from(address?.port())))
}

/// `date([offset[,unit]])`: wall-clock time in seconds, milliseconds or microseconds, plus the offset.
fn date<'a>(args: &'a [Arg], cx: &mut Context<'a>, _: &mut Cursor) -> Option<Sample<'a>> {
    let wall_ms = i64::try_from(cx.wall_ms).ok()?;
    let now = match args.bytes(1) {
        b"ms" => wall_ms,
        b"us" => wall_ms.saturating_mul(1000),
        _ => wall_ms / 1000,
    };
    Some(Sample::Int(now.saturating_add(args.int(0).unwrap_or(0))))
}

/// `uuid([4])`: 122 random bits, which are no secret.
fn uuid<'a>(_: &'a [Arg], cx: &mut Context<'a>, _: &mut Cursor) -> Option<Sample<'a>> {
    use std::fmt::Write;
    let (high, low) = (cx.scratch.random(), cx.scratch.random());
    let mut text = super::value::Text::new();
    let _ = write!(
        text,
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff
    );
    cx.scratch
        .write(|out| out.push(text.bytes()))
        .map(Sample::Str)
}

fn check_uuid(args: &mut [Arg], _: &Registry) -> Result<(), String> {
    match args.int(0) {
        None | Some(4) => Ok(()),
        Some(version) => Err(format!("Unsupported UUID version: '{version}'")),
    }
}

/// `rand([range])`: 0 to range - 1, or 32 random bits.
fn rand<'a>(args: &'a [Arg], cx: &mut Context<'a>, _: &mut Cursor) -> Option<Sample<'a>> {
    let bits = cx.scratch.random() >> 32;
    let range = args.int(0).map_or(1 << 32, |range| u64::from(range as u32));
    Some(Sample::Int(((bits * range) >> 32) as i64))
}

/// `var(name[,default])`: the default is a string.
fn variable<'a>(args: &'a [Arg], cx: &mut Context<'a>, _: &mut Cursor) -> Option<Sample<'a>> {
    let Some(Arg::Var(var)) = args.first() else {
        return None;
    };
    vars::fetch(*var, cx).or_else(|| match args.get(1)? {
        Arg::Str(default) => Some(Sample::str(default)),
        _ => None,
    })
}

fn check_variable(args: &mut [Arg], registry: &Registry) -> Result<(), String> {
    args[0] = Arg::Var(registry.variable(args.bytes(0))?);
    Ok(())
}

/// `env(name)`: what `check` found.
fn environment<'a>(args: &'a [Arg]) -> Option<Sample<'a>> {
    match args.first()? {
        Arg::Str(value) => Some(Sample::str(value)),
        _ => None,
    }
}

fn check_environment(args: &mut [Arg], registry: &Registry) -> Result<(), String> {
    let name = String::from_utf8_lossy(args.bytes(0)).into_owned();
    args[0] = registry
        .environment_variable(&name)
        .map_or(Arg::None, Arg::Str);
    Ok(())
}

/// `wait_end`: true once nobody waits for data any more.
fn wait_end<'a>(cx: &mut Context<'a>) -> Option<Sample<'a>> {
    cx.is_missing |= !cx.is_final;
    cx.is_final.then_some(Sample::Bool(true))
}

fn check_bin(args: &mut [Arg], _: &Registry) -> Result<(), String> {
    let decoded = super::parse_hex(args.bytes(0))?;
    args[0] = Arg::Str(decoded.into_boxed_slice());
    Ok(())
}

fn check_bool(args: &mut [Arg], _: &Registry) -> Result<(), String> {
    let value = match args.bytes(0).to_ascii_lowercase().as_slice() {
        b"true" | b"1" => 1,
        b"false" | b"0" => 0,
        _ => return Err("Expects 'true', 'false', '0' or '1'".into()),
    };
    args[0] = Arg::Int(value);
    Ok(())
}

fn check_date(args: &mut [Arg], _: &Registry) -> Result<(), String> {
    match args.bytes(1) {
        b"" | b"s" | b"ms" | b"us" => Ok(()),
        unit => Err(format!(
            "expects 's', 'ms' or 'us', got '{}'",
            String::from_utf8_lossy(unit)
        )),
    }
}

fn check_occurrence(args: &mut [Arg], _: &Registry) -> Result<(), String> {
    match args.int(1) {
        Some(occurrence) if occurrence < -http::OCCURRENCES_BACK_MAX => Err(format!(
            "header occurrence must be >= {}",
            -http::OCCURRENCES_BACK_MAX
        )),
        _ => Ok(()),
    }
}

/// Only the first character of a delimiter counts.
fn check_delimiter(args: &mut [Arg], _: &Registry) -> Result<(), String> {
    if let Some(Arg::Str(delimiter)) = args.get_mut(1) {
        *delimiter = delimiter.iter().take(1).copied().collect();
    }
    Ok(())
}
