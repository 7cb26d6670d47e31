//! The table of actions: name, the sets that have it, and the parser of its arguments.
//!
//! To add an action, write its parser in a file beside this one and name it here; what it does is a variant of
//! `rules::Action`. Names that end in `(*)` take what is in the parentheses as an argument.

use super::words::RuleWords;
use super::{answers, basic, connection, edit, patterns, track, variables};
use crate::rules::{Action, SetKind};

/// Reads an action's arguments.
pub(super) type Parser = fn(&mut RuleWords) -> Result<Action, String>;

/// What burdock does with an action.
pub(super) enum Support {
    /// Has an effect here.
    Full(Parser),
    /// Accepted; the reason why it has no effect.
    NoEffect(Parser, &'static str),
    /// Refused; the nearest thing that is supported, or an empty text.
    Refused(&'static str),
}
use Support::{Full, NoEffect, Refused};

/// One action.
pub(super) struct Keyword {
    pub name: &'static str,
    sets: u8,
    pub support: Support,
}

const CONN: u8 = 1 << SetKind::TcpConnection as u8;
const SESS: u8 = 1 << SetKind::TcpSession as u8;
const CONT: u8 = 1 << SetKind::TcpContent as u8;
const HREQ: u8 = 1 << SetKind::HttpRequest as u8;
const TRES: u8 = 1 << SetKind::TcpResponse as u8;
const HRES: u8 = 1 << SetKind::HttpResponse as u8;
const HAFT: u8 = 1 << SetKind::HttpAfterResponse as u8;
const TCPQ: u8 = CONN | SESS | CONT;
const HTTP: u8 = HREQ | HRES | HAFT;

const ALL_BUT_AFTER: u8 = TCPQ | TRES | HREQ | HRES;

const fn action(name: &'static str, sets: u8, support: Support) -> Keyword {
    Keyword {
        name,
        sets,
        support,
    }
}

const NO_SPOE: &str = "";
const NO_CACHE: &str = "";
const ONE_NODE: &str = "addresses in 'server' lines";

/// All actions of all sets, by name.
static ACTIONS: &[Keyword] = &[
    action("add-acl(*)", HREQ | HRES, Full(patterns::add_acl)),
    action("accept", TCPQ | TRES, Full(basic::allow)),
    action("add-header", HTTP, Full(edit::add_header)),
    action("allow", HTTP, Full(basic::allow)),
    action("auth", HREQ, Full(basic::auth)),
    action("close", TRES, Full(basic::close)),
    action("cache-store", HRES, Refused(NO_CACHE)),
    action("cache-use", HREQ, Refused(NO_CACHE)),
    action("capture", HTTP | CONT, Full(edit::capture)),
    action("del-header", HTTP, Full(edit::del_header)),
    action("del-acl(*)", HREQ | HRES, Full(patterns::delete)),
    action("del-map(*)", HREQ | HRES, Full(patterns::delete)),
    action("deny", HREQ | HRES, Full(answers::deny)),
    action("disable-l7-retry", HREQ, Full(basic::disable_retry)),
    action("do-resolve(*)", HREQ | CONT, Refused(ONE_NODE)),
    action("early-hint", HREQ, Full(edit::early_hint)),
    action(
        "expect-netscaler-cip",
        CONN,
        Refused("'expect-proxy layer4'"),
    ),
    action("expect-proxy", TCPQ, Full(connection::expect_proxy)),
    action("normalize-uri", HREQ, Full(edit::normalize_uri)),
    action("use-service", HREQ, Full(basic::use_service)),
    action("use-service", CONT, Refused("'http-request use-service'")),
    action(
        "set-priority-class",
        HREQ | CONT,
        Full(basic::set_priority_class),
    ),
    action(
        "set-priority-offset",
        HREQ | CONT,
        Full(basic::set_priority_offset),
    ),
    action("wait-for-body", HREQ | HRES, Full(basic::wait_for_body)),
    action("ot-group", HTTP | CONT | TRES, Refused("")),
    action("redirect", HREQ | HRES, Full(answers::redirect)),
    action("return", HREQ | HRES, Full(answers::answer)),
    action("reject", TCPQ | TRES | HREQ, Full(basic::reject)),
    action("replace-header", HTTP, Full(edit::replace_header)),
    action("replace-path", HREQ, Full(edit::replace_path)),
    action("replace-pathq", HREQ, Full(edit::replace_pathq)),
    action("replace-uri", HREQ, Full(edit::replace_uri)),
    action("replace-value", HTTP, Full(edit::replace_value)),
    action("sc-add-gpc(*)", ALL_BUT_AFTER, Full(track::add_gpc)),
    action("sc-inc-gpc(*)", ALL_BUT_AFTER, Full(track::inc_gpc)),
    action("sc-inc-gpc0(*)", ALL_BUT_AFTER, Full(track::inc_gpc0)),
    action("sc-inc-gpc1(*)", ALL_BUT_AFTER, Full(track::inc_gpc1)),
    action("sc-set-gpt(*)", ALL_BUT_AFTER, Full(track::set_gpt)),
    action("sc-set-gpt0(*)", ALL_BUT_AFTER, Full(track::set_gpt0)),
    action(
        "send-spoe-group",
        HREQ | HRES | CONT | TRES,
        Refused(NO_SPOE),
    ),
    action("set-dst", TCPQ | HREQ, Full(connection::set_dst)),
    action("set-dst-port", TCPQ | HREQ, Full(connection::set_dst_port)),
    action("set-header", HTTP, Full(edit::set_header)),
    action(
        "set-log-level",
        HREQ | HRES | CONT | TRES,
        Full(basic::set_log_level),
    ),
    action(
        "set-mark",
        TCPQ | TRES | HREQ | HRES,
        Full(connection::set_mark),
    ),
    action("set-method", HREQ, Full(edit::set_method)),
    action(
        "set-nice",
        HREQ | HRES | CONT | TRES,
        NoEffect(basic::set_nice, "one event loop serves all streams in turn"),
    ),
    action("set-path", HREQ, Full(edit::set_path)),
    action("set-pathq", HREQ, Full(edit::set_pathq)),
    action("set-query", HREQ, Full(edit::set_query)),
    action("set-src", TCPQ | HREQ, Full(connection::set_src)),
    action("set-src-port", TCPQ | HREQ, Full(connection::set_src_port)),
    action("set-status", HRES | HAFT, Full(edit::set_status)),
    action("set-timeout", HREQ, Full(basic::set_timeout)),
    action(
        "set-tos",
        TCPQ | TRES | HREQ | HRES,
        Full(connection::set_tos),
    ),
    action("set-uri", HREQ, Full(edit::set_uri)),
    action("set-map(*)", HREQ | HRES, Full(patterns::set_map)),
    action(
        "set-var-fmt(*)",
        TCPQ | TRES | HTTP,
        Full(variables::set_text),
    ),
    action("set-var(*)", TCPQ | TRES | HTTP, Full(variables::set)),
    action(
        "silent-drop",
        TCPQ | TRES | HREQ | HRES,
        Full(basic::silent_drop),
    ),
    action("strict-mode", HTTP, Full(basic::strict_mode)),
    action("switch-mode", CONT, Refused("'mode http'")),
    action("tarpit", HREQ, Full(answers::tarpit)),
    action("track-sc(*)", TCPQ | HREQ | HRES, Full(track::track)),
    action("unset-var(*)", TCPQ | TRES | HTTP, Full(variables::unset)),
    action(
        "wait-for-handshake",
        HREQ,
        NoEffect(basic::nothing, "burdock has no TLS"),
    ),
];

/// Whether a word is this action; a name with `(*)` also without its parentheses, which its parser asks for.
fn is_named(keyword: &Keyword, word: &str) -> bool {
    match keyword.name.strip_suffix("(*)") {
        Some("track-sc") => word.starts_with("track-sc"),
        Some(name) => word
            .strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('(')),
        None => keyword.name == word,
    }
}

/// The action of that name in a set.
pub(super) fn find(word: &str, set: SetKind) -> Option<&'static Keyword> {
    let bit = 1 << set as u8;
    ACTIONS
        .iter()
        .find(|keyword| keyword.sets & bit != 0 && is_named(keyword, word))
}

/// The names of a set's actions, for a suggestion.
pub(super) fn names(set: SetKind) -> impl Iterator<Item = &'static str> {
    let bit = 1 << set as u8;
    ACTIONS
        .iter()
        .filter(move |keyword| keyword.sets & bit != 0)
        .map(|keyword| keyword.name)
}

/// The actions that HAProxy says it expects, in its order.
pub(super) fn expected(set: SetKind) -> String {
    let (first, listed) = match set {
        SetKind::HttpRequest | SetKind::Redirect => ("", HTTP_REQUEST),
        SetKind::HttpResponse => ("", HTTP_RESPONSE),
        SetKind::HttpAfterResponse => ("", HTTP_AFTER_RESPONSE),
        SetKind::TcpConnection | SetKind::TcpSession => (TCP_FIRST, TCP_CONNECTION),
        SetKind::TcpContent => (TCP_FIRST, TCP_CONTENT),
        SetKind::TcpResponse => ("'accept', 'close', 'reject', ", TCP_RESPONSE),
    };
    let quoted: Vec<String> = listed
        .split_ascii_whitespace()
        .map(|name| format!("'{name}'"))
        .collect();
    format!("{first}{}", quoted.join(", "))
}

const TCP_FIRST: &str = "'accept', 'reject', 'capture', 'expect-proxy', 'expect-netscaler-cip', 'track-sc0' ... 'track-sc2', ";
const HTTP_REQUEST: &str = "wait-for-handshake ot-group set-log-level set-nice use-service sc-inc-gpc(*) sc-inc-gpc0(*) \
    sc-inc-gpc1(*) sc-set-gpt(*) sc-set-gpt0(*) send-spoe-group do-resolve(*) cache-use add-acl(*) add-header allow auth \
    capture del-acl(*) del-header del-map(*) deny disable-l7-retry early-hint normalize-uri redirect reject replace-header \
    replace-path replace-pathq replace-uri replace-value return set-header set-map(*) set-method set-path set-pathq \
    set-query set-uri strict-mode tarpit track-sc(*) set-timeout wait-for-body set-var-fmt(*) set-var(*) unset-var(*) \
    set-dst set-dst-port set-mark set-src set-src-port set-tos silent-drop set-priority-class set-priority-offset";
const HTTP_RESPONSE: &str = "ot-group set-log-level set-nice sc-inc-gpc(*) sc-inc-gpc0(*) sc-inc-gpc1(*) sc-set-gpt(*) \
    sc-set-gpt0(*) send-spoe-group cache-store add-acl(*) add-header allow capture del-acl(*) del-header del-map(*) deny \
    redirect replace-header replace-value return set-header set-map(*) set-status strict-mode track-sc(*) wait-for-body \
    set-var-fmt(*) set-var(*) unset-var(*) set-mark set-tos silent-drop";
const HTTP_AFTER_RESPONSE: &str = "ot-group add-header allow capture del-header replace-header replace-value set-header \
    set-status strict-mode set-var-fmt(*) set-var(*) unset-var(*)";
const TCP_CONNECTION: &str = "sc-inc-gpc(*) sc-inc-gpc0(*) sc-inc-gpc1(*) sc-set-gpt(*) sc-set-gpt0(*) set-var-fmt(*) \
    set-var(*) unset-var(*) set-dst set-dst-port set-mark set-src set-src-port set-tos silent-drop";
const TCP_CONTENT: &str = "ot-group set-log-level set-nice switch-mode use-service sc-inc-gpc(*) sc-inc-gpc0(*) \
    sc-inc-gpc1(*) sc-set-gpt(*) sc-set-gpt0(*) send-spoe-group do-resolve(*) set-var-fmt(*) set-var(*) unset-var(*) \
    set-src set-src-port set-dst set-dst-port set-mark set-tos silent-drop set-priority-class set-priority-offset";
const TCP_RESPONSE: &str = "ot-group set-log-level set-nice sc-inc-gpc(*) sc-inc-gpc0(*) sc-inc-gpc1(*) sc-set-gpt(*) \
    sc-set-gpt0(*) send-spoe-group set-var-fmt(*) set-var(*) unset-var(*) set-mark set-tos silent-drop";
