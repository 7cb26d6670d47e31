//! Answers of our own: an error page, of the configuration or built in, in the place of a response.

use super::exchange::{LOGGED_HEAD_BYTES, in_flight};
use super::{Core, State, Step, Stream, finish, respond};
use crate::config::model::Mode;
use crate::http::{Framing, Method, ReplyForm, Version, builtin};
use crate::log::{Cause, Phase};

/// Answers with a page of our own, then closes. A TCP stream is closed without an answer. If a response has begun,
/// nothing can be said any more: the connection is closed.
pub(super) fn answer(
    stream: &mut Stream,
    core: &mut Core,
    status: u16,
    cause: Cause,
    phase: Phase,
) -> Step {
    let exchange = in_flight(&mut stream.exchange);
    exchange.termination.set(cause, phase);
    let frontend = &core.proxies[stream.frontend as usize];
    let is_http = frontend.spec.mode == Mode::Http;
    // After half an interim response nothing would be understood.
    if !is_http || exchange.has_response || exchange.down.has_unsent() {
        return Step::Close;
    }
    exchange.status = Some(status);
    // HAProxy's parser answers before its header rewriting is there, and nothing can follow on that connection.
    let is_raw = exchange.times.head_ms.is_none();
    let is_clients_fault = matches!(status, 400 | 408 | 422);
    let has_whole_request = exchange.times.head_ms.is_some()
        && (exchange.up.is_complete
            || matches!(exchange.request.framing, Framing::None | Framing::Length(0)));
    exchange.keep_client &= !is_clients_fault && has_whole_request && !core.is_stopping;
    let backend = exchange.backend.map(|backend| &core.proxies[backend]);
    let files = backend
        .into_iter()
        .chain([frontend])
        .flat_map(|proxy| &proxy.spec.error_files);
    let page: &[u8] = match files.into_iter().find(|(of, _)| *of == status) {
        Some((_, page)) => {
            exchange.keep_client = false;
            page
        }
        None => {
            let form = match (exchange.keep_client, exchange.request.version) {
                _ if is_raw => ReplyForm::Raw,
                (false, _) => ReplyForm::Close,
                (true, Version::Http10) => ReplyForm::KeepHttp10,
                (true, Version::Http11) => ReplyForm::Keep,
            };
            let page = builtin(status, form);
            if !is_raw {
                exchange.logged_bytes += logged_page_bytes(page.bytes, is_clients_fault);
            }
            match exchange.request.client_method {
                Method::Head => page.head(),
                _ => page.bytes,
            }
        }
    };
    exchange.down.replace(page, &mut core.buffers);
    if !is_raw && respond::has_after_rules(stream, core) {
        respond::pass_own_answer(stream, core);
    }
    let exchange = in_flight(&mut stream.exchange);
    if has_whole_request {
        exchange.up.discard(exchange.request.end as usize);
    }
    exchange.keep_server = false;
    finish::leave_server(exchange, core);
    stream.client_active_ms = core.now_ms;
    stream.enter(State::Reply, core.now_ms)
}

/// What the log counts for a page of our own; see [`logged_bytes`](super::exchange::Exchange::logged_bytes).
fn logged_page_bytes(page: &[u8], is_clients_fault: bool) -> u64 {
    let text = String::from_utf8_lossy(page);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines = head.lines();
    let status_line = lines.next().map_or(0, |line| line.len().saturating_sub(2));
    // HAProxy has `Connection: close` in these pages from the start; to others it is added on the way out.
    const HOP: &str = "connection:";
    let is_hop = |line: &str| {
        let start = line.get(..HOP.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(HOP))
    };
    let headers: usize = lines
        .filter(|line| is_clients_fault || !is_hop(line))
        .map(|line| line.len().saturating_sub(2))
        .sum();
    (LOGGED_HEAD_BYTES + status_line + headers + 1 + body.len()) as u64
}
