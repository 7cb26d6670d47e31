//! Answers of our own: a page, of the configuration or built in, in the place of a response.
//!
//! A page goes the way of a response: it is parsed in the response's own buffer, gets its Connection header like any other and
//! leaves as a plan. Only the answer to what is no request (and to a request that never came) is raw bytes, as in HAProxy.

use std::rc::Rc;

use super::exchange::in_flight;
use super::{Core, State, Step, Stream, finish, respond};
use crate::config::model::Mode;
use crate::http::{
    Asked, Method, PAGE_STATUSES, Page, Parsed, Receiver, prepare_response, raw_page,
};
use crate::log::{Cause, Phase};

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

/// Asks for user and password (`http-request auth`).
pub(super) fn answer_auth(stream: &mut Stream, core: &mut Core, realm: Option<&str>) -> Step {
    const STATUS: u16 = 401;
    const LINE: &[u8] = b"www-authenticate: Basic realm=\"";
    let how = (Cause::Local, Phase::Request);
    count_intercepted(stream, core);
    let exchange = in_flight(&mut stream.exchange);
    let frontend = stream.frontend as usize;
    let asker = exchange.backend.unwrap_or(frontend);
    let page = configured(core, frontend, exchange.backend, STATUS)
        .unwrap_or_else(|| builtin(&core.pages, STATUS));
    let realm = realm.unwrap_or(&core.proxies[asker].spec.name);
    let page = page.with_line(&[LINE, realm.as_bytes(), b"\""]);
    let page = page.map(Rc::new);
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
    let has_whole_request =
        !is_raw && (exchange.up.is_complete || exchange.up.has_whole(&exchange.request));
    exchange.keep_client &= has_whole_request && !core.is_stopping;
    let page = page
        .or_else(|| configured(core, stream.frontend as usize, exchange.backend, status))
        .or_else(|| (!is_raw).then(|| builtin(&core.pages, status)))
        .map(Rc::clone);
    match page {
        Some(page) => {
            exchange.logged_bytes += page.logged_head_bytes();
            exchange.keep_client &= !page.closes && !page.is_empty();
            load(stream, core, &page, is_raw);
        }
        None => exchange
            .down
            .replace(raw_page(status).as_bytes(), &mut core.buffers),
    }
    let exchange = in_flight(&mut stream.exchange);
    if has_whole_request {
        exchange.up.discard();
    }
    exchange.keep_server = false;
    finish::leave_server(exchange, core);
    stream.client_active_ms = core.now_ms;
    stream.enter(State::Reply, core.now_ms)
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
) -> Option<&Rc<Page>> {
    let proxies = backend.into_iter().chain([frontend]);
    let mut pages = proxies.flat_map(|proxy| &core.proxies[proxy].spec.error_pages);
    pages.find(|(of, _)| *of == status).map(|(_, page)| page)
}

/// The built-in page of a status, or that of 500.
fn builtin(pages: &[Rc<Page>], status: u16) -> &Rc<Page> {
    let at = |status: u16| PAGE_STATUSES.iter().position(|other| *other == status);
    let index = at(status).or_else(|| at(500)).unwrap_or_default();
    &pages[index]
}

/// Puts a page on its way. `is_raw`: there was no request, so no rule looks at it.
fn load(stream: &mut Stream, core: &mut Core, page: &Page, is_raw: bool) {
    let method = in_flight(&mut stream.exchange).request.client_method;
    let message = page.message(method);
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
        let is_fine = respond::run_after_rules(stream, core);
        in_flight(&mut stream.exchange).has_response = false;
        if !is_fine {
            return false;
        }
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
