//! The persistence cookie as values: what one that a client brings says, what one that it gets is written like, and whether a response
//! that gets one could be cached (configuration manual, "cookie").
//!
//! A cookie's value is the name that a server has in cookies, and, with `maxidle` or `maxlife`, one or two dates: `srv|last|first`,
//! each five digits to the base of 64, in units of four seconds since the epoch.
//!
//! Not here: where cookies stand in a message (`http`), what becomes of the stream (`stream::cookies`).

use crate::config::model::{CookieMode, PersistCookie};
use crate::http::{HeaderTable, Method};

/// Between the server's name and what the server itself had in the cookie (`prefix`).
pub const PREFIX_END: u8 = b'~';

/// Between the server's name and the dates.
const DATE_START: u8 = b'|';

/// A date that is further than this in the future is not believed, seconds.
const FUTURE_S_MAX: u64 = 86_400;

const DATE_BYTES: usize = 5;

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What a client's cookie says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dates {
    /// When it was sent or refreshed last, seconds since the epoch.
    pub last_s: Option<u64>,
    /// When it was first sent.
    pub first_s: Option<u64>,
}

/// The parts of a value: the server's name in cookies, and the dates. `None`: it is no value of ours.
pub fn read_value<'v>(cookie: &PersistCookie, value: &'v [u8]) -> Option<(&'v [u8], Dates)> {
    if cookie.mode == CookieMode::Prefix {
        let end = value.iter().position(|byte| *byte == PREFIX_END)?;
        return Some((&value[..end], Dates::default()));
    }
    let mut parts = value.splitn(3, |byte| *byte == DATE_START);
    let name = parts.next().unwrap_or_default();
    let mut date = || read_date(parts.next()?);
    let last_s = date();
    let dates = Dates {
        last_s,
        first_s: date(),
    };
    Some((name, dates))
}

fn read_date(text: &[u8]) -> Option<u64> {
    let digits = text.get(..DATE_BYTES)?;
    let mut date = 0;
    for digit in digits {
        let value = DIGITS.iter().position(|other| other == digit)?;
        date = date << 6 | value as u64;
    }
    Some(date << 2).filter(|date| *date > 0)
}

fn write_date(date_s: u64, text: &mut Vec<u8>) {
    text.push(DATE_START);
    let date = date_s >> 2;
    let digits = (0..DATE_BYTES).rev();
    text.extend(digits.map(|place| DIGITS[(date >> (6 * place)) as usize & 63]));
}

/// The letter for a cookie that is out of date: `E` idle for too long, `O` too old. What it says is ignored then.
pub fn out_of_date(cookie: &PersistCookie, dates: Dates, now_s: u64) -> Option<u8> {
    let is_out = |date_s: Option<u64>, limit_s: Option<u64>| {
        let (Some(date_s), Some(limit_s)) = (date_s, limit_s) else {
            return false;
        };
        now_s > date_s + limit_s || date_s > now_s + FUTURE_S_MAX
    };
    if is_out(dates.last_s, cookie.idle_s) {
        return Some(b'E');
    }
    is_out(dates.first_s, cookie.life_s).then_some(b'O')
}

/// Whether a client that was at its server has to be given its cookie anew: dates are missing, too many, or not of now.
pub fn needs_refresh(cookie: &PersistCookie, dates: Dates, now_s: u64) -> bool {
    let last = cookie.idle_s.is_some() || dates.last_s.is_some();
    (last && dates.last_s.is_none_or(|last_s| last_s < now_s))
        || cookie.life_s.is_some() != dates.first_s.is_some()
}

/// Writes the value of `Set-Cookie` for a server, or, without a name of the server, one that makes the client forget its cookie.
pub fn write(
    cookie: &PersistCookie,
    server: Option<&str>,
    dates: Dates,
    now_s: u64,
    text: &mut Vec<u8>,
) {
    text.clear();
    text.extend_from_slice(cookie.name.as_bytes());
    text.push(b'=');
    match server {
        None => text.extend_from_slice(b"; Expires=Thu, 01-Jan-1970 00:00:01 GMT"),
        Some(server) => {
            text.extend_from_slice(server.as_bytes());
            // Rounded up, so that it is not of the past at once.
            let today_s = now_s + 3;
            if cookie.idle_s.is_some() || cookie.life_s.is_some() {
                write_date(today_s, text);
            }
            if cookie.life_s.is_some() {
                write_date(dates.first_s.unwrap_or(today_s), text);
            }
        }
    }
    text.extend_from_slice(cookie.tail.as_bytes());
}

/// Whether a cache may keep the response: `nocache` says something only then. As HAProxy 2.6 judges (each case was tried on it).
pub fn is_cacheable(method: Method, status: u16, headers: &HeaderTable, buffer: &[u8]) -> bool {
    let mut may_be_kept = matches!(
        method,
        Method::Get | Method::Head | Method::Options | Method::Trace
    ) && matches!(
        status,
        200 | 203 | 204 | 206 | 300 | 301 | 404 | 405 | 410 | 414 | 501
    );
    let has = |name: &[u8]| headers.find(buffer, name).next().is_some();
    let mut pragmas = headers.list_values(buffer, b"pragma");
    if pragmas.any(|word| word.eq_ignore_ascii_case(b"no-cache")) {
        return false;
    }
    let mut is_fresh_for = has(b"expires");
    for word in headers.list_values(buffer, b"cache-control") {
        let is = |other: &[u8]| word.eq_ignore_ascii_case(other);
        let starts = |with: &[u8]| {
            let start = word.get(..with.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(with))
        };
        is_fresh_for |= starts(b"max-age=") || starts(b"s-maxage=");
        if is(b"public") {
            may_be_kept = true;
        } else if [
            &b"no-cache"[..],
            b"no-store",
            b"private",
            b"max-age=0",
            b"s-maxage=0",
        ]
        .into_iter()
        .any(is)
        {
            may_be_kept = false;
        }
    }
    may_be_kept && (is_fresh_for || has(b"etag") || has(b"last-modified"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie(idle_s: Option<u64>, life_s: Option<u64>) -> PersistCookie {
        PersistCookie {
            name: "SRV".into(),
            mode: CookieMode::Insert,
            idle_s,
            life_s,
            tail: "; path=/".into(),
            ..PersistCookie::default()
        }
    }

    #[test]
    fn dates_are_written_and_read_as_haproxy_does() {
        const NOW_S: u64 = 1_795_378_725; // HAProxy 2.6 wrote this one
        let both = cookie(Some(10), Some(3600));
        let mut text = Vec::new();
        write(&both, Some("c1"), Dates::default(), NOW_S, &mut text);
        assert_eq!(text, b"SRV=c1|awNOK|awNOK; path=/");
        let (name, dates) = read_value(&both, b"c1|awNOK|awNOK").unwrap();
        assert_eq!(name, b"c1");
        assert_eq!(dates.last_s, Some(1_795_378_728));
        assert_eq!(dates.last_s, dates.first_s);
        assert_eq!(out_of_date(&both, dates, NOW_S + 13), None);
        assert_eq!(out_of_date(&both, dates, NOW_S + 14), Some(b'E'));
        let old = Dates {
            last_s: Some(NOW_S + 4000),
            ..dates
        };
        assert_eq!(out_of_date(&both, old, NOW_S + 4000), Some(b'O'));
        assert!(!needs_refresh(&both, dates, NOW_S));
        assert!(needs_refresh(&both, dates, NOW_S + 4));
        assert!(needs_refresh(&both, Dates::default(), NOW_S));
        assert!(!needs_refresh(&cookie(None, None), Dates::default(), NOW_S));
        assert!(needs_refresh(&cookie(None, None), dates, NOW_S + 100));
    }

    #[test]
    fn whatever_is_no_date_is_none() {
        for value in ["c1|", "c1|abcd", "c1|awN!K", "c1|AAAAA", "c1"] {
            let (name, dates) = read_value(&cookie(None, None), value.as_bytes()).unwrap();
            assert_eq!((name, dates), (&b"c1"[..], Dates::default()), "{value}");
        }
    }
}
