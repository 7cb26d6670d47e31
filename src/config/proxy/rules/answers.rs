//! Parsers of the actions that answer: `deny`, `tarpit`, `return`, `redirect`.

use std::fs;
use std::rc::Rc;

use super::super::{Holder, ProxyLines};
use super::RuleWords;
use super::basic::Parsed;
use crate::config::http_errors;
use crate::config::line::Line;
use crate::http::PAGE_STATUSES;
use crate::rules::{Action, Content, Redirect, RedirectKind, Reply, SetKind, Text};

pub(super) fn deny(words: &mut RuleWords) -> Parsed {
    // A response that is refused is, to its client, one that the server did not give.
    let default = match words.set {
        SetKind::HttpResponse => 502,
        _ => 403,
    };
    Ok(Action::Deny(Rc::new(refusal(words, default)?)))
}

pub(super) fn tarpit(words: &mut RuleWords) -> Parsed {
    Ok(Action::Tarpit(Rc::new(refusal(words, 500)?)))
}

pub(super) fn answer(words: &mut RuleWords) -> Parsed {
    Ok(Action::Return(Rc::new(reply(words, 200)?)))
}

/// The arguments of `deny` and `tarpit`: none, or a status alone, stand for the page of the status.
fn refusal(words: &mut RuleWords, default: u16) -> Result<Reply, String> {
    if words.is_end() {
        return Ok(Reply::of_status(default));
    }
    if words.peek() == "deny_status" && words.is_end_at(2) {
        words.next();
        let status = status(words, "deny_status")?;
        page_status(status)?;
        return Ok(Reply::of_status(status));
    }
    reply(words, default)
}

fn status(words: &mut RuleWords, name: &str) -> Result<u16, String> {
    let code = words.next();
    if code.is_empty() {
        return Err(format!("'{name}' expects <status_code> as argument"));
    }
    let known = code.parse().ok();
    known
        .filter(|status| (200..=599).contains(status))
        .ok_or_else(|| format!("Unexpected status code '{code}'"))
}

fn page_status(status: u16) -> Result<(), String> {
    match PAGE_STATUSES.contains(&status) {
        true => Ok(()),
        false => Err(format!(
            "status code '{status}' not handled by default with 'default-errorfiles' argument."
        )),
    }
}

impl ProxyLines<'_> {
    /// The answer that an `http-error` line describes.
    pub(in super::super) fn error_reply(
        &mut self,
        holder: Holder,
        line: &Line,
    ) -> Result<Reply, String> {
        let mut words = RuleWords {
            line,
            at: 1,
            set: SetKind::HttpRequest,
            is_error: true,
            holder,
            needs_record: false,
            lines: self,
        };
        let reply = reply(&mut words, 0)?;
        let (rest, needs_record) = (words.peek(), words.needs_record);
        if !rest.is_empty() {
            return Err(format!("unknown keyword '{rest}'."));
        }
        let rules = match holder {
            Holder::Proxy(index) => &mut self.proxies[index].rules,
            Holder::Defaults(index) => &mut self.defaults[index].rules,
        };
        rules.needs_record |= needs_record;
        Ok(reply)
    }
}

/// The arguments of an answer in general.
fn reply(words: &mut RuleWords, default: u16) -> Result<Reply, String> {
    let mut reply = Reply {
        status: default,
        content: Content::Empty,
        content_type: None,
        headers: Vec::new(),
    };
    let mut payload: Option<&str> = None;
    let mut section = None;
    while !words.is_end() {
        let name = words.peek();
        let defines = matches!(
            name,
            "default-errorfiles"
                | "errorfile"
                | "errorfiles"
                | "file"
                | "lf-file"
                | "string"
                | "lf-string"
        );
        match name {
            "deny_status" if words.is_error => break,
            "status" | "deny_status" => {
                words.next();
                reply.status = status(words, name)?;
                continue;
            }
            "content-type" => {
                words.next();
                let kind = argument(words, name, "<ctype>")?;
                reply.content_type = Some(kind.into());
                continue;
            }
            "hdr" => {
                words.next();
                let (name, value) = (words.next(), words.peek());
                if name.is_empty() || value.is_empty() {
                    return Err("'hdr' expects <name> and <value> as arguments".into());
                }
                let text = words.text()?;
                reply.headers.push((name.into(), text));
                continue;
            }
            _ if !defines => break,
            _ => {}
        }
        if let Some(earlier) = payload {
            return Err(format!(
                "unexpected '{name}' argument, '{earlier}' already defined"
            ));
        }
        payload = Some(name);
        words.next();
        reply.content = match name {
            "errorfiles" => {
                let what = match words.is_error {
                    true => "<name>",
                    false => "<http_errors_name>",
                };
                section = Some(argument(words, name, what)?);
                Content::Status
            }
            _ => content(words, name)?,
        };
    }
    if let Some(name) = section {
        let page = words.section_page(name, reply.status);
        reply.content = Content::Section(page);
    } else if matches!(reply.content, Content::Status) {
        page_status(reply.status)?;
    }
    match (&reply.content, &reply.content_type) {
        (Content::Body(_), None) => {
            Err("a content type must be defined when non-empty payload is configured".into())
        }
        (Content::Empty, Some(kind)) => {
            words.warn(format!(
                "content-type '{kind}' ignored by the http reply because neither errorfile nor payload defined."
            ));
            reply.content_type = None;
            Ok(reply)
        }
        _ => Ok(reply),
    }
}

/// What the argument `name` says to answer with; its own arguments are next.
fn content(words: &mut RuleWords, name: &str) -> Result<Content, String> {
    let global = words.lines.global;
    Ok(match name {
        "default-errorfiles" => Content::Status,
        "errorfile" => {
            let file = argument(words, name, "<fmt>")?;
            let path = global.default_path.resolve(file, &words.line.pos);
            Content::Page(Rc::new(http_errors::load(&path, file, global)?))
        }
        "file" | "lf-file" => {
            let file = argument(words, name, "<file>")?;
            let path = global.default_path.resolve(file, &words.line.pos);
            let bytes = fs::read(&path).map_err(|_| format!("error opening file '{file}'"))?;
            Content::Body(match name {
                "file" => Text::constant(&bytes),
                _ => words.text_of(&bytes)?,
            })
        }
        "lf-string" => {
            if words.peek().is_empty() {
                return Err("'lf-string' expects <fmt> as argument".into());
            }
            Content::Body(words.text()?)
        }
        _ => Content::Body(Text::constant(argument(words, name, "<str>")?.as_bytes())),
    })
}

fn argument<'w>(words: &mut RuleWords<'w, '_>, name: &str, what: &str) -> Result<&'w str, String> {
    match words.next() {
        "" => Err(format!("'{name}' expects {what} as argument")),
        word => Ok(word),
    }
}

pub(super) fn redirect(words: &mut RuleWords) -> Parsed {
    Ok(Action::Redirect(Box::new(redirection(words)?)))
}

/// The arguments of a redirection.
fn redirection(words: &mut RuleWords) -> Result<Redirect, String> {
    let mut target = None;
    let mut redirect = Redirect {
        kind: RedirectKind::Location,
        target: Text::default(),
        status: 302,
        drop_query: false,
        append_slash: false,
        ignore_empty: false,
        cookie: None,
    };
    while !words.is_end() {
        let name = words.next();
        let missing = || match words.peek() {
            "" => Err(format!("missing argument for '{name}'")),
            _ => Ok(()),
        };
        match name {
            "location" | "prefix" | "scheme" => {
                missing()?;
                redirect.kind = match name {
                    "location" => RedirectKind::Location,
                    "prefix" => RedirectKind::Prefix,
                    _ => RedirectKind::Scheme,
                };
                target = Some(words.text()?);
            }
            "set-cookie" => {
                missing()?;
                redirect.cookie = Some(format!("{}; path=/;", words.next()).into());
            }
            "clear-cookie" => {
                missing()?;
                redirect.cookie = Some(format!("{}; path=/; Max-Age=0;", words.next()).into());
            }
            "code" => {
                missing()?;
                let code = words.next();
                redirect.status = match code {
                    "301" => 301,
                    "302" => 302,
                    "303" => 303,
                    "307" => 307,
                    "308" => 308,
                    _ => {
                        return Err(format!(
                            "'code': unsupported HTTP code '{code}' (must be one of 301, 302, 303, 307 or 308)"
                        ));
                    }
                };
            }
            "drop-query" => redirect.drop_query = true,
            "append-slash" => redirect.append_slash = true,
            "ignore-empty" => redirect.ignore_empty = true,
            other => {
                return Err(format!(
                    "expects 'code', 'prefix', 'location', 'scheme', 'set-cookie', 'clear-cookie', 'drop-query', 'ignore-empty' or 'append-slash' (was '{other}')"
                ));
            }
        }
    }
    match target {
        Some(target) => Ok(Redirect { target, ..redirect }),
        None => Err("redirection type expected ('prefix', 'location', or 'scheme')".into()),
    }
}
