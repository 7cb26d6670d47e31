//! Fetches of what the process is doing: proxies, servers, queues (configuration manual, 7.3.2).
//!
//! Not here: how the numbers are kept (`backend`, by [`State`](super::state::State)).

use super::args::{Arg, Args};
use super::context::Context;
use super::state::{ProxyFact, ServerFact};
use super::value::Sample;

/// A number of the proxy that the first argument names.
pub(super) fn proxy<'a>(args: &'a [Arg], cx: &Context<'a>, fact: ProxyFact) -> Option<Sample<'a>> {
    let target = args.target(0)?;
    let number = cx.state?.proxy(target.index, fact, cx.now_ms)?;
    Some(Sample::Int(number))
}

/// A number of the server that the first argument names.
pub(super) fn server<'a>(
    args: &'a [Arg],
    cx: &Context<'a>,
    fact: ServerFact,
) -> Option<Sample<'a>> {
    let target = args.target(0)?;
    let number = cx
        .state?
        .server(target.index, target.server, fact, cx.now_ms)?;
    Some(match fact {
        ServerFact::IsUp => Sample::Bool(number != 0),
        _ => Sample::Int(number),
    })
}

/// The converter `nbsrv`: of the backend that the value names.
pub(super) fn nbsrv<'a>(
    _: &'a [Arg],
    input: Sample<'a>,
    cx: &mut Context<'a>,
) -> Option<Sample<'a>> {
    let state = cx.state?;
    let proxy = state.backend_named(cx.scratch.bytes(input.content()?))?;
    let number = state.proxy(proxy, ProxyFact::NbSrv, cx.now_ms)?;
    Some(Sample::Int(number))
}

/// The converter `srv_queue`: of the server that the value names, as `backend/server` or a server of the current backend.
pub(super) fn srv_queue<'a>(
    _: &'a [Arg],
    input: Sample<'a>,
    cx: &mut Context<'a>,
) -> Option<Sample<'a>> {
    let state = cx.state?;
    let name = cx.scratch.bytes(input.content()?);
    let (backend, server) = match name.iter().position(|byte| *byte == b'/') {
        Some(at) => (&name[..at], &name[at + 1..]),
        None => (cx.backend?.name.as_bytes(), name),
    };
    let (proxy, server) = state.server_named(backend, server)?;
    let number = state.server(proxy, server, ServerFact::Queue, cx.now_ms)?;
    Some(Sample::Int(number))
}
