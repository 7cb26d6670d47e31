//! `option httpchk` and `http-check` (configuration manual, 4.2).
//!
//! Not here: running checks; `check` and its intervals on `server` lines.

use super::Target;
use super::{Holder, ProxyLines};
use crate::config::line::{self, Line};
use crate::config::model::{ExpectWhat, HttpCheck, HttpExpect};

/// The check of a backend as far as it is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct CheckDraft {
    /// `option httpchk` was given.
    pub http: bool,
    method: Option<String>,
    uri: Option<String>,
    version: Option<String>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    expect: Option<HttpExpect>,
    /// The rules come from a defaults section; the first of a proxy replaces them.
    inherited: bool,
}

impl CheckDraft {
    /// The finished check; `None`: connect only.
    pub fn finish(&self) -> Option<HttpCheck> {
        self.http.then(|| HttpCheck {
            method: self.method.clone().unwrap_or_else(|| "OPTIONS".into()),
            uri: self.uri.clone().unwrap_or_else(|| "/".into()),
            version: self.version.clone().unwrap_or_else(|| "HTTP/1.0".into()),
            headers: self.headers.clone(),
            body: self.body.clone(),
            expect: self.expect.clone(),
        })
    }

    /// Takes the settings of a defaults section over.
    pub fn inherit(&mut self) {
        self.inherited = self.expect.is_some();
    }
}

impl Target<'_> {
    /// `option httpchk [[METHOD] URI [VERSION]]`.
    pub fn httpchk(&mut self, line: &Line) {
        if line.too_many(3, 1, self.report) {
            return;
        }
        let check = &mut self.settings.check;
        check.http = true;
        let (method, uri, version) = match (line.arg(2), line.arg(3)) {
            ("", _) => (None, None, None),
            (uri, "") => (None, Some(uri), None),
            (method, uri) => (Some(method), Some(uri), Some(line.arg(4))),
        };
        check.method = method.map(str::to_owned);
        check.uri = uri.map(str::to_owned);
        check.version = None;
        check.headers.clear();
        check.body.clear();
        let Some(version) = version.filter(|version| !version.is_empty()) else {
            return;
        };
        // Before `http-check send`, headers and a body were appended to the version.
        let (head, body) = version.split_once("\r\n\r\n").unwrap_or((version, ""));
        let mut lines = head.split("\r\n");
        check.version = lines.next().map(str::to_owned);
        for header in lines.filter(|header| !header.is_empty()) {
            let (name, value) = header.split_once(':').unwrap_or((header, ""));
            check
                .headers
                .push((name.to_owned(), value.trim().to_owned()));
        }
        check.body = body.as_bytes().to_vec();
    }

    /// `http-check send` and `http-check expect`.
    fn http_check(&mut self, line: &Line) {
        let result = match line.arg(1) {
            "send" => self.http_check_send(line),
            "expect" => self.http_check_expect(line),
            "comment" => {
                self.report.notice(
                    &line.pos,
                    "'http-check comment' has no effect in burdock: there is one rule to speak of.",
                );
                Ok(())
            }
            word @ ("disable-on-404" | "send-state" | "connect") => {
                let hint = "'http-check send' and one 'http-check expect'";
                Err(line::refused(&format!("http-check {word}"), hint))
            }
            word if word.starts_with("set-var") || word.starts_with("unset-var") => {
                Err(line::refused(&format!("http-check {word}"), ""))
            }
            word => Err(format!(
                "'http-check' only supports 'disable-on-404', 'send-state', 'comment', 'connect', 'send', 'expect', \
                 'set-var-fmt(*)', 'set-var(*)', 'unset-var(*)'. but got '{word}'"
            )),
        };
        if let Err(text) = result {
            self.report.alert(&line.pos, text);
        }
    }

    fn http_check_send(&mut self, line: &Line) -> Result<(), String> {
        let wrong = |text: String| Err(format!("'http-check send' : {text}"));
        let mut check = self.settings.check.clone();
        let mut headers = Vec::new();
        let mut at = 2;
        while !line.arg(at).is_empty() {
            let (word, value) = (line.arg(at), line.arg(at + 1));
            match word {
                "meth" | "uri" | "ver" | "body" | "comment" if value.is_empty() => {
                    return wrong(format!("'{word}' expects a string as argument."));
                }
                "meth" => check.method = Some(value.to_owned()),
                "uri" => check.uri = Some(value.to_owned()),
                "ver" => check.version = Some(value.to_owned()),
                "body" => check.body = value.as_bytes().to_vec(),
                "comment" => {}
                "hdr" => {
                    if line.arg(at + 2).is_empty() {
                        return wrong("'hdr' expects <name> and <value> as arguments.".into());
                    }
                    headers.push((value.to_owned(), line.arg(at + 2).to_owned()));
                    at += 1;
                }
                "uri-lf" | "body-lf" => {
                    return wrong(line::refused(
                        word,
                        if word == "uri-lf" { "'uri'" } else { "'body'" },
                    ));
                }
                _ => {
                    return wrong(format!(
                        "expects 'comment', 'meth', 'uri', 'uri-lf', 'ver', 'hdr', 'body' or 'body-lf' but got '{word}' as argument."
                    ));
                }
            }
            at += 2;
        }
        if !headers.is_empty() {
            check.headers = headers;
        }
        self.settings.check = check;
        Ok(())
    }

    fn http_check_expect(&mut self, line: &Line) -> Result<(), String> {
        const ONLY: &str = "'only supports min-recv, [!]string', '[!]rstring', '[!]string-lf', '[!]status', '[!]rstatus', \
                            [!]hdr, [!]fhdr or comment but got";
        let wrong = |text: String| Err(format!("'http-check expect' : {text}"));
        let mut at = 2;
        let mut negate = false;
        let mut what = None;
        if line.arg(at).is_empty() {
            return wrong("expects at least a matching pattern as arguments.".into());
        }
        while !line.arg(at).is_empty() {
            let mut word = line.arg(at);
            if what.is_none() {
                if word == "!" {
                    negate = true;
                    at += 1;
                    word = line.arg(at);
                } else if let Some(rest) = word.strip_prefix('!') {
                    negate = true;
                    word = rest;
                }
            }
            let value = line.arg(at + 1);
            match word {
                "status" | "string" | "comment" if value.is_empty() => {
                    let kind = if word == "comment" {
                        "string"
                    } else {
                        "<pattern>"
                    };
                    return wrong(format!("'{word}' expects a {kind} as argument."));
                }
                "status" if what.is_none() => match status_ranges(value) {
                    Ok(ranges) => what = Some(ExpectWhat::Status(ranges)),
                    Err(text) => return wrong(text),
                },
                "string" if what.is_none() => {
                    what = Some(ExpectWhat::String(value.as_bytes().to_vec()))
                }
                "comment" => {}
                "rstatus" | "rstring" | "string-lf" | "hdr" | "fhdr" | "min-recv" | "ok-status"
                | "error-status" | "tout-status" | "on-success" | "on-error" | "status-code" => {
                    return wrong(line::refused(word, "'status' and 'string'"));
                }
                _ => return wrong(format!("{ONLY} '{word}' as argument.")),
            }
            at += 2;
        }
        let Some(what) = what else {
            return wrong("expects at least a matching pattern as arguments.".into());
        };
        let check = &mut self.settings.check;
        if check.expect.is_some() && !check.inherited {
            return wrong(line::refused(
                "a second rule",
                "one rule; 'status' takes a list",
            ));
        }
        check.inherited = false;
        check.expect = Some(HttpExpect { negate, what });
        Ok(())
    }
}

impl ProxyLines<'_> {
    /// `http-check …`.
    pub fn http_check_line(&mut self, holder: Holder, line: &Line) {
        if let Holder::Proxy(index) = holder {
            self.proxies[index]
                .check_rules
                .get_or_insert_with(|| line.pos.clone());
        }
        self.target(holder).http_check(line);
    }
}

/// `200`, `200-399`, `200,204`: inclusive ranges.
fn status_ranges(text: &str) -> Result<Vec<(u16, u16)>, String> {
    let mut ranges = Vec::new();
    for part in text.split(',') {
        let bad = part.chars().find(|c| !(c.is_ascii_digit() || *c == '-'));
        if let Some(bad) = bad {
            return Err(format!(
                "invalid character '{bad}' in the list of status codes."
            ));
        }
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.parse::<u16>(), last.parse::<u16>()) {
            (Ok(first), Ok(last)) if first <= last => ranges.push((first, last)),
            _ => return Err(format!("invalid range of status codes '{part}'.")),
        }
    }
    Ok(ranges)
}
