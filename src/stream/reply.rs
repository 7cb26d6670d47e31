//! Answers of our own: a page, of the configuration or built in, in the place of a response.
//!
//! A page goes the way of a response: it is parsed in the response's own buffer, gets its Connection header like any other and
//! leaves as a plan. Only the answer to what is no request (and to a request that never came) is raw bytes, as in HAProxy.

use std::rc::Rc;

use super::exchange::in_flight;
use super::{Core, State, Step, Stream, decide, finish, respond};
use crate::config::model::{ErrorAnswer, Mode};
use crate::http::{
    Asked, Method, PAGE_STATUSES, Page, Parsed, Receiver, prepare_response, raw_page,
};
use crate::log::{Cause, Phase};
use crate::rules::{Content, Reply};

/// Answers with the page of a status, then closes or goes on with the next request. A TCP stream is closed without an answer. If
/// a response has begun, nothing can be said any more: the connection is closed.
pub(super) fn answer(
    stream: &mut Stream,
    core: &mut Core,
    status: u16,
    cause: Cause,
    phase: Phase,
) -> Step {
    answer_with(stream, core, status, None, (cause, phase))
}

/// A page with `www-authenticate`. There is one for each realm of the configuration and each way to it, so few that a list will do.
#[derive(Debug)]
pub(super) struct AuthPage {
    /// Frontend and backend of the request.
    for_whom: (usize, Option<usize>),
    realm: Box<str>,
    /// `None`: the line does not fit.
    page: Option<Rc<Page>>,
}

/// Asks for user and password (`http-request auth`).
pub(super) fn answer_auth(stream: &mut Stream, core: &mut Core, realm: Option<&str>) -> Step {
    const STATUS: u16 = 401;
    const LINE: &[u8] = b"www-authenticate: Basic realm=\"";
    let how = (Cause::Local, Phase::Request);
    count_intercepted(stream, core);
    let exchange = in_flight(&mut stream.exchange);
    let frontend = stream.frontend as usize;
    let asker = exchange.backend.unwrap_or(frontend);
    let realm = realm.unwrap_or(&core.proxies[asker].spec.name);
    let for_whom = (frontend, exchange.backend);
    let known = core
        .auth_pages
        .iter()
        .find(|known| known.for_whom == for_whom && &*known.realm == realm);
    let page = match known {
        Some(known) => known.page.clone(),
        None => {
            // What is composed has no place for the line that asks.
            let page = match configured(core, frontend, exchange.backend, STATUS) {
                Some(ErrorAnswer::Page(page)) => page,
                _ => builtin(&core.pages, STATUS),
            };
            let page = page.with_line(&[LINE, realm.as_bytes(), b"\""]);
            let page = page.map(Rc::new);
            core.auth_pages.push(AuthPage {
                for_whom,
                realm: realm.into(),
                page: page.clone(),
            });
            page
        }
    };
    answer_with(stream, core, STATUS, page.as_ref(), how)
}

/// Counts a request that the frontend's rules answered themselves.
pub(super) fn count_intercepted(stream: &mut Stream, core: &mut Core) {
    if in_flight(&mut stream.exchange).backend.is_none() {
        let counters = &mut core.proxies[stream.frontend as usize].frontend_counters;
        counters.intercepted += 1;
    }
}

/// Answers with this page; otherwise as `answer`. `status` is what logs and counters are told.
pub(super) fn answer_with(
    stream: &mut Stream,
    core: &mut Core,
    status: u16,
    page: Option<&Rc<Page>>,
    (cause, phase): (Cause, Phase),
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
    let own = match page {
        None => configured(core, stream.frontend as usize, exchange.backend, status),
        Some(_) => None,
    };
    let own = match own {
        Some(ErrorAnswer::Reply(_)) if is_raw => None,
        Some(ErrorAnswer::Reply(reply)) => {
            let reply = Rc::clone(reply);
            return answer_composed(stream, core, &reply, (cause, phase));
        }
        Some(ErrorAnswer::Page(page)) => Some(page),
        None => None,
    };
    let page = page
        .or(own)
        .or_else(|| (!is_raw).then(|| builtin(&core.pages, status)))
        .map(Rc::clone);
    let has_whole_request = begin_answer(stream, core, is_raw);
    let exchange = in_flight(&mut stream.exchange);
    match page {
        Some(page) => {
            exchange.logged_bytes += page.logged_head_bytes();
            exchange.keep_client &= !page.closes && !page.is_empty();
            let method = exchange.request.client_method;
            load(stream, core, page.message(method), is_raw);
        }
        None => exchange
            .down
            .replace(raw_page(status).as_bytes(), &mut core.buffers),
    }
    finish_answer(stream, core, has_whole_request)
}

/// Says whether the client's connection can be kept; whether the whole request is here.
pub(super) fn begin_answer(stream: &mut Stream, core: &mut Core, is_raw: bool) -> bool {
    let exchange = in_flight(&mut stream.exchange);
    let has_whole_request =
        !is_raw && (exchange.up.is_complete || exchange.up.has_whole(&exchange.request));
    exchange.keep_client &= has_whole_request && !core.is_stopping;
    has_whole_request
}

/// The answer is loaded: the request is over, and its server is left.
pub(super) fn finish_answer(stream: &mut Stream, core: &mut Core, has_whole_request: bool) -> Step {
    let exchange = in_flight(&mut stream.exchange);
    if has_whole_request {
        exchange.up.discard();
    }
    exchange.keep_server = false;
    finish::leave_server(exchange, core);
    stream.client_active_ms = core.now_ms;
    stream.enter(State::Reply, core.now_ms)
}

/// The answer of a rule.
pub(super) fn answer_rule(
    stream: &mut Stream,
    core: &mut Core,
    reply: &Reply,
    how: (Cause, Phase),
) -> Step {
    match &reply.content {
        Content::Status => answer_with(stream, core, reply.status, None, how),
        Content::Page(page) => answer_with(stream, core, reply.status, Some(page), how),
        Content::Section(page) => answer_with(stream, core, reply.status, page.get(), how),
        Content::Empty | Content::Body(_) => answer_composed(stream, core, reply, how),
    }
}

/// Answers with what a rule or `http-error` describes.
fn answer_composed(
    stream: &mut Stream,
    core: &mut Core,
    reply: &Reply,
    how: (Cause, Phase),
) -> Step {
    let mut message = std::mem::take(&mut core.message);
    reply.compose(&mut decide::scene(stream, core), &mut message);
    core.message = message;
    answer_message(stream, core, reply.status, how)
}

/// Sends a client elsewhere. As in HAProxy, the connection of a request with a body that no server was sent is closed after it, and the log counts the words
/// that say so.
pub(super) fn redirect(
    stream: &mut Stream,
    core: &mut Core,
    status: u16,
    how: (Cause, Phase),
) -> Step {
    let exchange = in_flight(&mut stream.exchange);
    if exchange.request.has_body() && how.1 == Phase::Request {
        exchange.keep_client = false;
        exchange.logged_bytes += "connection".len() as u64 + "close".len() as u64;
    }
    answer_message(stream, core, status, how)
}

/// Answers with the message that a rule has composed.
pub(super) fn answer_message(
    stream: &mut Stream,
    core: &mut Core,
    status: u16,
    (cause, phase): (Cause, Phase),
) -> Step {
    let exchange = in_flight(&mut stream.exchange);
    exchange.termination.set(cause, phase);
    if exchange.down.has_unsent() {
        return Step::Close;
    }
    exchange.status = Some(status);
    let has_whole_request = begin_answer(stream, core, false);
    let message = std::mem::take(&mut core.message);
    let exchange = in_flight(&mut stream.exchange);
    exchange.logged_bytes += message.logged_head_bytes();
    let bytes = match exchange.request.client_method {
        Method::Head => message.head(),
        _ => message.bytes(),
    };
    load(stream, core, bytes, false);
    core.message = message;
    finish_answer(stream, core, has_whole_request)
}

/// Answers a request for `monitor-uri`: it is counted, and never logged.
pub(super) fn answer_probe(stream: &mut Stream, core: &mut Core, status: u16) -> Step {
    let counters = &mut core.proxies[stream.frontend as usize].frontend_counters;
    counters.intercepted += 1;
    in_flight(&mut stream.exchange).is_logged_early = true;
    answer(stream, core, status, Cause::Proxy, Phase::Request)
}

/// The page that the configuration has for a status: the backend's before the frontend's.
fn configured(
    core: &Core,
    frontend: usize,
    backend: Option<usize>,
    status: u16,
) -> Option<&ErrorAnswer> {
    let proxies = backend.into_iter().chain([frontend]);
    let mut pages = proxies.flat_map(|proxy| &core.proxies[proxy].spec.error_pages);
    pages.find(|(of, _)| *of == status).map(|(_, page)| page)
}

/// The built-in page of a status, or that of 500.
pub(super) fn builtin(pages: &[Rc<Page>], status: u16) -> &Rc<Page> {
    let at = |status: u16| PAGE_STATUSES.iter().position(|other| *other == status);
    let index = at(status).or_else(|| at(500)).unwrap_or_default();
    &pages[index]
}

/// Puts a page on its way. `is_raw`: there was no request, so no rule looks at it.
fn load(stream: &mut Stream, core: &mut Core, message: &[u8], is_raw: bool) {
    let has_rules = !is_raw && respond::has_after_rules(stream, core);
    for passes_rules in [has_rules, false] {
        let exchange = in_flight(&mut stream.exchange);
        exchange.down.load(message, &mut core.buffers);
        if settle(stream, core, passes_rules) {
            return;
        }
    }
    // There is nothing to say, or no room to say more.
    let exchange = in_flight(&mut stream.exchange);
    exchange.keep_client = false;
    exchange.down.replace(message, &mut core.buffers);
}

/// Makes the page that was loaded a response to this request; false when that is impossible, because it does not fit or a rule
/// failed, and when there is nothing to say.
fn settle(stream: &mut Stream, core: &mut Core, passes_rules: bool) -> bool {
    let exchange = in_flight(&mut stream.exchange);
    let wants_head = exchange.request.client_method == Method::Head;
    // Whatever was asked for, what follows is no tunnel.
    let asked = Asked {
        method: if wants_head {
            Method::Head
        } else {
            Method::Get
        },
        upgrade: false,
    };
    exchange.response.reset();
    let parsed = exchange
        .response
        .parse(exchange.down.buffer.filled(), asked);
    if parsed != Ok(Parsed::Complete) {
        return false;
    }
    if passes_rules {
        exchange.has_response = true;
        exchange.vars.get_mut().begin_response();
        let head_bytes = exchange.response_head_bytes();
        let is_fine = respond::run_after_rules(stream, core);
        let exchange = in_flight(&mut stream.exchange);
        exchange.has_response = false;
        if !is_fine {
            return false;
        }
        // The log tells what rules have made of the page.
        exchange.status = Some(exchange.response.status);
        exchange.logged_bytes += exchange.response_head_bytes();
        exchange.logged_bytes = exchange.logged_bytes.saturating_sub(head_bytes);
    }
    let exchange = in_flight(&mut stream.exchange);
    let (response, down) = (&mut exchange.response, &mut exchange.down);
    if exchange.request.client_method == Method::Connect && (200..300).contains(&response.status) {
        // To its client a tunnel begins here.
        exchange.keep_client = false;
    }
    let receiver = Receiver {
        version: exchange.request.version,
        wants_head,
        asked_head: wants_head,
    };
    let edited = prepare_response(
        response,
        down.buffer.filled(),
        receiver,
        exchange.keep_client,
    );
    let Ok(delivery) = edited else {
        return false;
    };
    exchange.keep_client = delivery.keep_client;
    down.take_response(response, delivery.body);
    let is_body_right = down.take_body().is_ok();
    down.end();
    is_body_right && down.is_complete
}
