//! Fetches of a stream's connections: what their sockets and PROXY headers say, which server it has, how long it may be silent
//! (configuration manual, 7.3.3).
//!
//! Sockets are asked when a fetch asks, not before: most streams pay nothing for it.
//!
//! Not here: `src` and `dst`, which rules may change (`fetch`).

use super::args::{Arg, Args};
use super::context::Context;
use super::fetch;
use super::registry::Registry;
use super::state::ProxyFact;
use super::value::Sample;
use crate::net::proxy_protocol::Fault;
use crate::sys::socket::TcpInfo;
use std::net::{SocketAddr, UdpSocket};

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Of the client's connection: the client.
    ClientSource,
    /// Of the client's connection: where it connected to.
    ClientDestination,
    /// Of the server's connection: we.
    ServerSource,
    /// Of the server's connection: the server.
    ServerDestination,
}

/// The address of an end.
pub(super) fn end(cx: &Context<'_>, end: End) -> Option<SocketAddr> {
    let facts = &cx.facts;
    match end {
        End::ClientSource => facts.client_addresses[0].or(cx.source),
        End::ClientDestination => {
            facts.client_addresses[1].or_else(|| facts.client?.local_address())
        }
        End::ServerSource => facts.link?.local_address(),
        End::ServerDestination => facts.link?.peer_address(),
    }
}

/// `fc_err`: why the client's connection was refused, by HAProxy's number.
pub(super) fn client_fault<'a>(cx: &Context<'a>) -> Option<Sample<'a>> {
    cx.facts.client?;
    let number = cx.facts.client_fault.map_or(0, Fault::number);
    Some(Sample::Int(number.into()))
}

/// `fc_err_str`: the same in words.
pub(super) fn client_fault_text<'a>(cx: &Context<'a>) -> Option<Sample<'a>> {
    cx.facts.client?;
    let text = cx.facts.client_fault.map_or("Success", Fault::text);
    Some(Sample::str(text.as_bytes()))
}

/// `dst_is_local` and its like: whether an address is one of this machine's, which is asked by binding to it.
pub(super) fn is_local<'a>(address: Option<SocketAddr>) -> Option<Sample<'a>> {
    let ip = address?.ip().to_canonical();
    Some(Sample::Bool(UdpSocket::bind((ip, 0)).is_ok()))
}

/// A time that the kernel keeps, in milliseconds or, when asked so, microseconds.
pub(super) fn tcp_time<'a>(
    args: &'a [Arg],
    cx: &Context<'a>,
    time: fn(&TcpInfo) -> u32,
) -> Option<Sample<'a>> {
    let us = i64::from(time(&cx.facts.client?.tcp_info()?));
    Some(Sample::Int(match args.bytes(0) {
        b"us" => us,
        _ => us / 1000,
    }))
}

/// A number that the kernel keeps.
pub(super) fn tcp_count<'a>(cx: &Context<'a>, count: fn(&TcpInfo) -> u32) -> Option<Sample<'a>> {
    Some(Sample::Int(i64::from(count(&cx.facts.client?.tcp_info()?))))
}

/// The unit of `fc_rtt` and `fc_rttvar`.
pub(super) fn check_unit(args: &mut [Arg], _: &Registry) -> Result<(), String> {
    match args.bytes(0) {
        b"" | b"us" | b"ms" => Ok(()),
        unit => Err(format!(
            "expects 'us' or 'ms', got '{}'",
            String::from_utf8_lossy(unit)
        )),
    }
}

/// `fc_http_major`: TCP has none.
pub(super) fn client_major<'a>(cx: &Context<'a>) -> Option<Sample<'a>> {
    (!cx.facts.is_raw).then_some(Sample::Int(1))
}

/// `bc_http_major`.
pub(super) fn server_major<'a>(cx: &Context<'a>) -> Option<Sample<'a>> {
    cx.facts.link.and_then(|_| client_major(cx))
}

/// `fc_rcvd_proxy`.
pub(super) fn received_header<'a>(cx: &Context<'a>) -> Option<Sample<'a>> {
    Some(Sample::Bool(cx.facts.proxy_header.is_some()))
}

/// `fc_pp_authority`.
pub(super) fn authority<'a>(cx: &Context<'a>) -> Option<Sample<'a>> {
    Some(Sample::str(cx.facts.proxy_header?.authority.as_deref()?))
}

/// `fc_pp_unique_id`.
pub(super) fn header_unique_id<'a>(cx: &Context<'a>) -> Option<Sample<'a>> {
    Some(Sample::str(cx.facts.proxy_header?.unique_id.as_deref()?))
}

/// `dst_conn`: connections on the listener.
pub(super) fn listener_connections<'a>(cx: &Context<'a>) -> Option<Sample<'a>> {
    let (frontend, bind) = (cx.frontend?.index, cx.facts.bind);
    cx.state?
        .listener_connections(frontend, bind)
        .map(Sample::Int)
}

/// Name and number of the server.
pub(super) fn server<'a>(cx: &Context<'a>) -> Option<(&'a str, u32)> {
    cx.state?
        .server_identity(cx.backend?.index, cx.facts.server?)
}

/// `fe_defbe`.
pub(super) fn default_backend<'a>(cx: &Context<'a>) -> Option<Sample<'a>> {
    let name = cx.state?.default_backend(cx.frontend?.index)?;
    Some(Sample::str(name.as_bytes()))
}

/// `fe_client_timeout`, `be_server_timeout`, `be_tunnel_timeout`.
pub(super) fn timeout<'a>(cx: &Context<'a>, fact: ProxyFact) -> Option<Sample<'a>> {
    let proxy = match fact {
        ProxyFact::ClientTimeout => cx.frontend?,
        _ => cx.backend?,
    };
    cx.state?
        .proxy(proxy.index, fact, cx.now_ms)
        .map(Sample::Int)
}

/// `cur_server_timeout`, `cur_tunnel_timeout`: what a rule has set it to, or the backend's.
pub(super) fn current_timeout<'a>(cx: &Context<'a>, fact: ProxyFact) -> Option<Sample<'a>> {
    let set_ms = match fact {
        ProxyFact::ServerTimeout => cx.facts.timeouts_ms[0],
        _ => cx.facts.timeouts_ms[1],
    };
    match set_ms {
        Some(ms) => i64::try_from(ms).ok().map(Sample::Int),
        // none is running yet
        None if cx.facts.link.is_none() => Some(Sample::Int(0)),
        None => timeout(cx, fact),
    }
}

/// `last_rule_file`: written to the scratch, for the registry may still grow.
pub(super) fn last_rule_file<'a>(cx: &mut Context<'a>) -> Option<Sample<'a>> {
    let rule = cx.vars.process?.rule(cx.facts.last_rule)?;
    cx.scratch
        .write(|out| out.push(rule.file.as_bytes()))
        .map(Sample::Str)
}

/// `last_rule_line`.
pub(super) fn last_rule_line<'a>(cx: &Context<'a>) -> Option<Sample<'a>> {
    let rule = cx.vars.process?.rule(cx.facts.last_rule)?;
    Some(Sample::Int(i64::from(rule.line)))
}

/// An end's address as a value.
pub(super) fn end_address<'a>(cx: &Context<'a>, which: End) -> Option<Sample<'a>> {
    fetch::address(end(cx, which))
}

/// An end's port as a value.
pub(super) fn end_port<'a>(cx: &Context<'a>, which: End) -> Option<Sample<'a>> {
    Some(Sample::Int(i64::from(end(cx, which)?.port())))
}
