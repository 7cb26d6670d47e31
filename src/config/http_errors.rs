//! `http-errors` sections (configuration manual, 3.8), and error files as such.
//!
//! Files are read when their line is, so they are there after `chroot`.
//! Not here: which proxy uses which (`proxy::pages`, `resolve`).

use std::fs;
use std::path::Path;
use std::rc::Rc;

use super::diag::Report;
use super::global::GlobalDraft;
use super::line::{Line, Prefix, Stop, invalid_name};
use super::model::Pos;
use super::units;
use crate::http::{PAGE_STATUSES, Page};

/// A section as it was written.
#[derive(Debug)]
pub(super) struct HttpErrorsDraft {
    pub name: String,
    pub pos: Pos,
    /// One page a status.
    pub pages: Vec<(u16, Rc<Page>)>,
}

/// The sections at work.
pub(super) struct HttpErrorsLines<'a> {
    pub sections: &'a mut Vec<HttpErrorsDraft>,
    pub report: &'a mut Report,
    /// The global section as far as it was read.
    pub global: &'a GlobalDraft,
}

impl HttpErrorsLines<'_> {
    /// `http-errors NAME`.
    pub fn header(&mut self, line: &Line) -> Result<usize, Stop> {
        let (name, pos) = (line.arg(1), &line.pos);
        if name.is_empty() {
            self.report
                .alert(pos, "missing name for http-errors section.");
            return Err(Stop);
        }
        invalid_name(name, "'http-errors' name", pos, self.report);
        if let Some(other) = self.sections.iter().find(|other| other.name == name) {
            self.report.tight_alert(
                pos,
                format!(
                    "http-errors section '{name}' already exists (declared at {}:{}).",
                    other.pos.file, other.pos.line
                ),
            );
        }
        self.sections.push(HttpErrorsDraft {
            name: name.to_owned(),
            pos: pos.clone(),
            pages: Vec::new(),
        });
        Ok(self.sections.len() - 1)
    }

    /// A line of a section.
    pub fn line(&mut self, index: usize, line: &Line, prefix: Prefix) {
        if prefix != Prefix::None || line.arg(0) != "errorfile" {
            let word = line.arg(0);
            self.report.alert(
                &line.pos,
                format!("unknown keyword '{word}' in 'http-errors' section"),
            );
            return;
        }
        if line.arg(2).is_empty() {
            self.report.alert(
                &line.pos,
                "errorfile: expects <status_code> and <file> as arguments.",
            );
            return;
        }
        match error_file(line, self.global) {
            Ok(found) => put(&mut self.sections[index].pages, found),
            Err(text) => self.report.alert(&line.pos, format!("errorfile : {text}")),
        }
    }
}

/// `errorfile CODE FILE`: reads the file.
///
/// # Errors
/// What is wrong, as HAProxy says it behind the keyword.
pub(super) fn error_file(line: &Line, global: &GlobalDraft) -> Result<(u16, Rc<Page>), String> {
    let status = handled_status(line.arg(1))?;
    let path = global.default_path.resolve(line.arg(2), &line.pos);
    let page = load(&path, line.arg(2), global)?;
    Ok((status, Rc::new(page)))
}

/// Reads a file with a whole response; `name` is how the configuration names it.
///
/// # Errors
/// What is wrong, in HAProxy's words.
pub(super) fn load(path: &Path, name: &str, global: &GlobalDraft) -> Result<Page, String> {
    let bytes = fs::read(path).map_err(|_| match path.is_dir() {
        true => format!("error reading file '{name}'."),
        false => format!("error opening file '{name}'."),
    })?;
    let limit = global.global.buffer_bytes as usize;
    if bytes.len() > limit {
        return Err(format!(
            "'{name}': the file is larger than tune.bufsize ({limit} bytes)"
        ));
    }
    Page::parse(&bytes).map_err(|error| format!("'{name}': {error}"))
}

/// A status that has a page.
///
/// # Errors
/// It has none.
pub(super) fn handled_status(word: &str) -> Result<u16, String> {
    let status = units::leading_count(word);
    u16::try_from(status)
        .ok()
        .filter(|status| PAGE_STATUSES.contains(status))
        .ok_or_else(|| format!("status code '{status}' not handled."))
}

/// Enters a page, in the place of the one its status has.
pub(super) fn put(pages: &mut Vec<(u16, Rc<Page>)>, (status, page): (u16, Rc<Page>)) {
    pages.retain(|(other, _)| *other != status);
    pages.push((status, page));
}
