//! `tcp-response content` of the backend: what a server says is looked at before it goes to the client (configuration manual,
//! "tcp-response content").
//!
//! The rules run first when the connection to the server stands, and again whenever more has come, until they are decided: a
//! condition that asks for what has not come is undecided until the `inspect-delay` is over, the response is complete, no more of it
//! can be held, or the server has closed. Without a delay they are decided at once. Measured on HAProxy 2.6: in TCP mode a
//! verdict comes before the client's first byte is sent, in HTTP mode behind the request.
//!
//! Unlike HAProxy 2.6, which forgets the rules of the defaults section as soon as it has to wait, all rules are asked to the end.
//!
//! Not here: `http-response`, which follows (`respond`).

use std::rc::Rc;

use super::decide::scene;
use super::exchange::{Exchange, in_flight};
use super::{Core, Step, Stream, decide, finish, http, respond};
use crate::config::model::Mode;
use crate::http::Parsed;
use crate::log::{Cause, Phase};
use crate::rules::{Outcome, Resume, SetKind, Verdict, evaluate};

/// How far the rules have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Inspection {
    /// There are none, or there is no server yet.
    #[default]
    None,
    /// They run.
    Due {
        /// Where they go on.
        resume: Resume,
        /// The connection stood at this time; the delay counts from there.
        since_ms: u64,
        /// So much of the response was there when they ran last; `None`: they have not run.
        seen_bytes: Option<usize>,
    },
    /// They let the response through.
    Passed,
    /// They closed the server's connection.
    Closed,
}

impl Inspection {
    /// Whether the rules have something to say yet.
    pub fn is_due(self) -> bool {
        matches!(self, Inspection::Due { .. })
    }

    /// When the wait for data ends.
    pub(super) fn until_ms(self, core: &Core, exchange: &Exchange) -> Option<u64> {
        let Inspection::Due { since_ms, .. } = self else {
            return None;
        };
        let delay_ms = core.proxies[exchange.backend?].spec.inspect_response_ms?;
        Some(since_ms + delay_ms)
    }
}

/// What the rules say of the present data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inspected {
    /// More is needed.
    Waits,
    /// The response may go on.
    Passed,
    /// It may go on, and its server's connection is closed.
    Closed,
}

/// The connection to the server stands: from now on the rules look at what comes.
pub(super) fn begin(stream: &mut Stream, core: &Core) {
    let exchange = in_flight(&mut stream.exchange);
    let rules = &core.proxies[exchange.backend_index()].spec.rules;
    if exchange.inspection == Inspection::None && !rules.tcp_response.is_empty() {
        exchange.vars.get_mut().begin_response();
        exchange.inspection = Inspection::Due {
            resume: Resume::default(),
            since_ms: core.now_ms,
            seen_bytes: None,
        };
    }
}

/// Runs the rules over what has come; `Err` when one ends the stream. `has_ended`: nothing more comes.
pub(super) fn run(
    stream: &mut Stream,
    core: &mut Core,
    has_ended: bool,
) -> Result<Inspected, Step> {
    let exchange = in_flight(&mut stream.exchange);
    let Inspection::Due {
        resume,
        since_ms,
        seen_bytes,
    } = exchange.inspection
    else {
        return Ok(Inspected::Passed);
    };
    let backend = exchange.backend_index();
    let spec = &core.proxies[backend].spec;
    let is_http = spec.mode == Mode::Http;
    let (rules, delay_ms) = (Rc::clone(&spec.rules), spec.inspect_response_ms);
    let had_response = exchange.has_response;
    if is_http {
        exchange.response.reset();
        match http::parse_response(exchange, core) {
            Ok(parsed) => exchange.has_response = parsed == Parsed::Complete,
            // Whoever reads it next refuses it.
            Err(_) => return Ok(Inspected::Passed),
        }
    }
    let response = &exchange.response;
    let is_whole = is_http
        && exchange.has_response
        && exchange
            .down
            .holds_whole(response.end as usize, response.framing);
    let is_final = has_ended
        || is_whole
        || delay_ms.is_none_or(|delay_ms| core.now_ms >= since_ms + delay_ms)
        || !exchange.down.has_room();
    let has_head = exchange.has_response;
    let present_bytes = exchange.down.buffer.len();
    if !is_final && seen_bytes == Some(present_bytes) {
        exchange.has_response = had_response;
        return Ok(Inspected::Waits);
    }
    let mut scene = scene(stream, core);
    scene.is_final = is_final;
    scene.request_bytes = &[];
    if !has_head {
        scene.request = None;
    }
    let outcome = evaluate(rules.of(SetKind::TcpResponse), resume, &mut scene);
    let exchange = in_flight(&mut stream.exchange);
    exchange.has_response = had_response;
    if is_http
        && !matches!(
            outcome,
            Outcome::Decided(Verdict::Reject | Verdict::SilentDrop)
        )
    {
        // It will be read again.
        exchange.response.reset();
    }
    match outcome {
        Outcome::Pass => {
            exchange.inspection = Inspection::Passed;
            Ok(Inspected::Passed)
        }
        Outcome::Wait(resume) => {
            exchange.inspection = Inspection::Due {
                resume,
                since_ms,
                seen_bytes: Some(present_bytes),
            };
            Ok(Inspected::Waits)
        }
        Outcome::Decided(Verdict::CloseServer) => {
            close_server(exchange, core);
            Ok(Inspected::Closed)
        }
        Outcome::Decided(verdict) => {
            if is_http && has_head {
                let body_bytes = exchange.down.buffer.len() - exchange.response.end as usize;
                exchange.count_logged_head();
                exchange.logged_bytes += body_bytes as u64;
                exchange.status = Some(exchange.response.status);
            } else if !is_http {
                exchange.logged_bytes += exchange.down.buffer.len() as u64;
            }
            Err(refuse(stream, core, verdict))
        }
    }
}

/// `close`: the server gets no more and is asked for no more.
fn close_server(exchange: &mut Exchange, core: &mut Core) {
    let (backend, server) = (exchange.backend_index(), exchange.server_index());
    exchange.inspection = Inspection::Closed;
    exchange.keep_server = false;
    exchange.up.is_shut = true;
    core.pool.at(exchange.link_index()).connection.abandon();
    finish::release_place(exchange, core, backend, server);
}

/// `reject`, `silent-drop`: nobody gets the response.
fn refuse(stream: &mut Stream, core: &mut Core, verdict: Verdict<'_>) -> Step {
    // HAProxy counts a silent drop as a request that was denied, in whichever phase it comes.
    let phase = match verdict {
        Verdict::SilentDrop => {
            stream.client.drop_silently();
            decide::count_denied_request(stream, core);
            Phase::Request
        }
        _ => {
            respond::count_denied_response(stream, core);
            Phase::Data
        }
    };
    let exchange = in_flight(&mut stream.exchange);
    exchange.termination.set(Cause::Proxy, phase);
    exchange.keep_server = false;
    Step::Close
}
