//! Persistence by a cookie of the client (configuration manual, "cookie", "force-persist", "ignore-persist"): the server that the
//! cookie of a request names, and the cookie that goes out with the response.
//!
//! Order, as measured on HAProxy 2.6: the rules of the backend, `use-server`, the cookie, stick rules; on the way back stick rules,
//! `http-response`, the cookie, `http-after-response`. What decided first decides.
//!
//! Not here: how cookies are written (`backend::cookie`), how lines are edited (`http::cookie_edit`).

use std::rc::Rc;

use super::exchange::in_flight;
use super::{Core, Stream, decide};
use crate::backend::Proxy;
use crate::backend::cookie::{self, Dates};
use crate::config::model::{CookieMode, PersistCookie};
use crate::http::cookie::Cookie;
use crate::http::cookie_edit::{CookieEdit, LineEdit, edit_cookies};
use crate::http::{EditError, HeadEdit, Known, Method};
use crate::log::CookieState;

/// What is known of a request's persistence.
#[derive(Clone, Copy, Debug, Default)]
pub struct Persistence {
    /// `force-persist`: also to a server that is down.
    pub is_forced: bool,
    /// `ignore-persist`: the cookie means nothing.
    pub is_ignored: bool,
    /// The dates of the cookie that was followed.
    dates: Dates,
}

/// The backend was chosen: its `force-persist` and `ignore-persist`, of which the first that applies counts.
pub(super) fn begin(stream: &mut Stream, core: &mut Core) {
    let exchange = in_flight(&mut stream.exchange);
    let spec = &core.proxies[exchange.backend_index()].spec;
    if spec
        .cookie
        .as_ref()
        .is_some_and(|cookie| cookie.shows_state)
    {
        exchange.cookies = CookieState {
            request: b'N',
            response: b'N',
        };
    }
    let rules = &spec.persist_rules;
    if rules.is_empty() {
        return;
    }
    let rules = Rc::clone(rules);
    let mut scene = decide::scene(stream, core);
    let mut cx = scene.context();
    let found = rules.iter().find(|rule| rule.condition.matches(&mut cx));
    if let Some(rule) = found {
        let persistence = &mut in_flight(&mut stream.exchange).persistence;
        persistence.is_forced = rule.is_force;
        persistence.is_ignored = !rule.is_force;
    }
}

/// Reads the cookies of a request: the server that is meant, if it can be used. Edits what the server shall not see.
///
/// `is_bound`: something else has chosen the server already.
///
/// # Errors
/// No room for the edits.
pub(super) fn match_request(
    stream: &mut Stream,
    core: &mut Core,
    is_bound: bool,
) -> Result<Option<usize>, EditError> {
    let exchange = in_flight(&mut stream.exchange);
    let proxy = &core.proxies[exchange.backend_index()];
    let Some(spec) = proxy.spec.cookie.clone() else {
        return Ok(None);
    };
    let mut found = Found {
        proxy,
        spec: &spec,
        is_bound: is_bound || exchange.persistence.is_ignored,
        may_be_down: exchange.persistence.is_forced || proxy.spec.options.persist,
        now_s: decide::wall_ms(core.wall) / 1000,
        server: None,
        dates: Dates::default(),
        letter: b'N',
    };
    let line = &mut core.cookie_line;
    let buffer = exchange.up.buffer.filled();
    for index in 0..exchange.request.headers.lines().len() {
        let headers = &exchange.request.headers;
        let header = headers.lines()[index];
        if header.removed || header.known != Known::Cookie {
            continue;
        }
        line.clear();
        line.extend_from_slice(headers.value(&header, buffer));
        match edit_cookies(line, spec.name.as_bytes(), |value| found.judge(value)) {
            LineEdit::Unchanged => {}
            LineEdit::Gone => exchange.request.headers.remove(index),
            LineEdit::Changed => {
                HeadEdit::Request(&mut exchange.request).replace_value(index, buffer, line)?;
            }
        }
    }
    let Found {
        server,
        dates,
        letter,
        ..
    } = found;
    exchange.persistence.dates = dates;
    if spec.shows_state {
        exchange.cookies.request = letter;
    }
    Ok(server)
}

/// The walk over a request's cookies.
struct Found<'a> {
    proxy: &'a Proxy,
    spec: &'a PersistCookie,
    is_bound: bool,
    may_be_down: bool,
    now_s: u64,
    server: Option<usize>,
    dates: Dates,
    letter: u8,
}

impl Found<'_> {
    /// Takes note of a value, unless the server is known, and says what becomes of the cookie.
    fn judge(&mut self, value: &[u8]) -> CookieEdit {
        let read = cookie::read_value(self.spec, value);
        if self.server.is_none() {
            self.follow(read);
        }
        match (self.spec.mode, read) {
            (CookieMode::Prefix, Some((name, _))) => CookieEdit::Cut(name.len() + 1),
            (CookieMode::Insert, _) if self.spec.indirect => CookieEdit::Remove,
            _ => CookieEdit::Keep,
        }
    }

    fn follow(&mut self, read: Option<(&[u8], Dates)>) {
        if self.is_bound {
            self.letter = b'U';
            return;
        }
        self.letter = b'I';
        let Some((name, dates)) = read else {
            return;
        };
        if let Some(letter) = cookie::out_of_date(self.spec, dates, self.now_s) {
            self.letter = letter;
            return;
        }
        let servers = self.proxy.servers.iter().enumerate();
        let is_named = |cookie: &Option<Box<str>>| {
            cookie.as_deref().is_some_and(|own| own.as_bytes() == name) && !name.is_empty()
        };
        for (index, server) in servers.filter(|(_, server)| is_named(&server.cookie)) {
            self.letter = if server.is_up() { b'V' } else { b'D' };
            if server.is_up() || self.may_be_down {
                (self.server, self.dates) = (Some(index), dates);
                return;
            }
        }
    }
}

/// A rule has refused the request: the log says all the same what its cookie was, and whose.
pub(super) fn note_refused(stream: &mut Stream, core: &mut Core) {
    let exchange = in_flight(&mut stream.exchange);
    let has_cookie = |backend: usize| core.proxies[backend].spec.cookie.is_some();
    if exchange.backend.is_some_and(has_cookie) && exchange.times.head_ms.is_some() {
        let server = match_request(stream, core, false);
        in_flight(&mut stream.exchange).server = server.unwrap_or_default();
    }
}

/// Edits the cookies of a response, and adds the persistence cookie where it is due.
///
/// # Errors
/// No room for the edits.
pub(super) fn edit_response(stream: &mut Stream, core: &mut Core) -> Result<(), EditError> {
    let exchange = in_flight(&mut stream.exchange);
    let proxy = &core.proxies[exchange.backend_index()];
    let (Some(spec), Some(server)) = (&proxy.spec.cookie, exchange.server) else {
        return Ok(());
    };
    let own = proxy.servers[server].cookie.as_deref();
    let (response, buffer) = (&mut exchange.response, exchange.down.buffer.filled());
    let line = &mut core.cookie_line;
    let is_direct = exchange.is_sticky;
    let removes =
        !spec.preserve && (spec.mode == CookieMode::Insert || (spec.indirect && is_direct));
    let mut letter = b'N';
    for index in 0..response.headers.lines().len() {
        let header = response.headers.lines()[index];
        let is_meant = header.known == Known::SetCookie
            || response
                .headers
                .name(&header, buffer)
                .eq_ignore_ascii_case(b"set-cookie2");
        if header.removed || !is_meant {
            continue;
        }
        let value = response.headers.value(&header, buffer);
        let found = Cookie::read(value, 0);
        let Some(old) = found.value.filter(|_| found.name == spec.name.as_bytes()) else {
            continue;
        };
        letter = b'P';
        if removes {
            response.headers.remove(index);
            letter = b'D';
            continue;
        }
        let Some(own) = own else { continue };
        let start = old.as_ptr() as usize - value.as_ptr() as usize;
        let kept_from = match spec.mode {
            CookieMode::Rewrite => start + old.len(),
            CookieMode::Prefix => start,
            CookieMode::Observe | CookieMode::Insert => continue,
        };
        line.clear();
        line.extend_from_slice(&value[..start]);
        line.extend_from_slice(own.as_bytes());
        if spec.mode == CookieMode::Prefix {
            line.push(cookie::PREFIX_END);
        }
        line.extend_from_slice(&value[kept_from..]);
        HeadEdit::Response(response).replace_value(index, buffer, line)?;
        letter = b'R';
    }
    let now_s = decide::wall_ms(core.wall) / 1000;
    let dates = exchange.persistence.dates;
    let is_due = spec.mode == CookieMode::Insert
        && !exchange.persistence.is_ignored
        && !(letter == b'P' && spec.preserve)
        && (!spec.post_only || exchange.request.method == Method::Post)
        && (!is_direct || cookie::needs_refresh(spec, dates, now_s));
    if is_due {
        cookie::write(spec, own, dates, now_s, line);
        let method = exchange.request.method;
        let is_cacheable = spec.no_cache
            && cookie::is_cacheable(method, response.status, &response.headers, buffer);
        let mut edit = HeadEdit::Response(response);
        edit.add_header(buffer, b"set-cookie", line)?;
        if is_cacheable {
            edit.add_header(buffer, b"cache-control", b"private")?;
        }
        letter = match is_direct && own.is_some() {
            true => b'U',
            false => b'I',
        };
    }
    if spec.shows_state {
        exchange.cookies.response = letter;
    }
    Ok(())
}
