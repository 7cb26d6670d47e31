//! Pages that a proxy answers with: `errorfile`, `errorloc`, `errorfiles`, `http-error`, and `monitor-uri` with `monitor fail`.
//!
//! Not here: what a page is (`http::page`), which sections there are (`http_errors`, `resolve`).

use std::rc::Rc;

use super::rules::Rank;
use super::simple::full_stop;
use super::{Holder, ProxyLines, Target};
use crate::config::http_errors;
use crate::config::line::Line;
use crate::config::model::Pos;
use crate::http::{PAGE_STATUSES, Page};
use crate::rules::{Content, Reply};
use crate::sample;

/// A line that names pages; a later one prevails.
#[derive(Clone, Debug)]
pub(crate) enum PagesDraft {
    /// `errorfile`, `errorloc`.
    One(u16, Rc<Page>),
    /// `http-error` with contents that are composed.
    Reply(u16, Rc<Reply>),
    /// `http-error` with `default-errorfiles`: what was said before does not count.
    Default(u16),
    /// `errorfiles NAME [CODE …]`; no code is all of them.
    Section {
        name: String,
        statuses: Vec<u16>,
        pos: Pos,
    },
}

impl ProxyLines<'_> {
    /// `errorfile`, `errorloc`, `errorloc302`, `errorloc303`, `errorfiles`.
    pub fn error_pages_line(&mut self, holder: Holder, line: &Line) {
        let word = line.arg(0);
        let found = match word {
            "errorfiles" => section(line),
            _ if line.arg(2).is_empty() => {
                let what = if word == "errorfile" { "file" } else { "url" };
                Err(format!("expects <status_code> and <{what}> as arguments."))
            }
            "errorfile" => http_errors::error_file(line, self.global)
                .map(|(status, page)| PagesDraft::One(status, page)),
            _ => redirection(line),
        };
        match found {
            Ok(pages) => self.target(holder).settings.error_pages.push(pages),
            Err(text) => self.report.alert(&line.pos, format!("{word} : {text}")),
        }
    }

    /// `http-error status CODE …`.
    pub fn http_error_line(&mut self, holder: Holder, line: &Line) {
        let found = match line.arg(1) {
            "status" => self.http_error(holder, line),
            _ => Err("http-error : expects at least a <status> as arguments.".to_owned()),
        };
        match found {
            Ok(pages) => self.target(holder).settings.error_pages.push(pages),
            Err(text) => self.report.alert(&line.pos, text),
        }
    }

    fn http_error(&mut self, holder: Holder, line: &Line) -> Result<PagesDraft, String> {
        let reply = self
            .error_reply(holder, line)
            .map_err(|text| format!("http-error : {text}"))?;
        let status = reply.status;
        if !PAGE_STATUSES.contains(&status) {
            return Err(format!("http-error: status code '{status}' not handled."));
        }
        Ok(match reply.content {
            Content::Status => PagesDraft::Default(status),
            Content::Page(page) => PagesDraft::One(status, page),
            Content::Section(_) => PagesDraft::Section {
                // Whoever parsed the line left the name for the rules; it is looked up with the other pages.
                name: self
                    .pages
                    .pop()
                    .map_or_else(String::new, |link| link.section),
                statuses: vec![status],
                pos: line.pos.clone(),
            },
            Content::Empty | Content::Body(_) => PagesDraft::Reply(status, Rc::new(reply)),
        })
    }

    /// `monitor fail if|unless COND`.
    pub fn monitor_line(&mut self, index: usize, line: &Line) {
        if line.arg(1) != "fail" {
            self.report
                .alert(&line.pos, "'monitor' only supports 'fail'.");
            return;
        }
        if !matches!(line.arg(2), "if" | "unless") {
            self.report.alert(
                &line.pos,
                "'monitor fail' requires either 'if' or 'unless' followed by a condition.",
            );
            return;
        }
        let draft = &mut self.proxies[index];
        match sample::parse_condition(line.from(2), &mut draft.acls) {
            Ok((condition, warnings)) => {
                draft.monitor_fails.push(condition);
                for warning in warnings {
                    self.report.warning(&line.pos, warning);
                }
                self.note_order(Holder::Proxy(index), Rank::MonitorFail, &line.pos);
            }
            Err(error) => {
                let text =
                    format!("error detected while parsing a 'monitor fail' condition : {error}");
                self.report.alert(&line.pos, full_stop(text));
            }
        }
    }
}

impl Target<'_> {
    /// `monitor-uri URI`.
    pub fn monitor_uri(&mut self, line: &Line) {
        if line.arg(1).is_empty() {
            self.report
                .alert(&line.pos, "'monitor-uri' expects an URI.");
        } else if !line.too_many(1, 0, self.report) {
            self.settings.monitor_uri = Some(line.arg(1).to_owned());
        }
    }
}

fn section(line: &Line) -> Result<PagesDraft, String> {
    if line.arg(1).is_empty() {
        return Err("expects <name> as argument.".to_owned());
    }
    let statuses = line.from(2).iter();
    Ok(PagesDraft::Section {
        name: line.arg(1).to_owned(),
        statuses: statuses
            .map(|word| http_errors::handled_status(word))
            .collect::<Result<_, _>>()?,
        pos: line.pos.clone(),
    })
}

fn redirection(line: &Line) -> Result<PagesDraft, String> {
    let status = http_errors::handled_status(line.arg(1))?;
    let code = if line.arg(0) == "errorloc303" {
        303
    } else {
        302
    };
    let page = Page::redirection(code, line.arg(2))
        .map_err(|error| format!("invalid error message: {error}"))?;
    Ok(PagesDraft::One(status, Rc::new(page)))
}
