//! Rules that edit a message: its headers, its request line, its status.
//!
//! The text of a rule is made first, then the edit; what an edit may do is `http::edit`'s to say. One that cannot be done ends
//! the request with an internal error, unless `strict-mode off` was said (configuration manual, "http-request strict-mode").

use std::rc::Rc;

use super::action::Verdict;
use super::normalize::Normalizer;
use super::scene::Scene;
use crate::http::{EditError, HeadEdit, list_items};
use crate::sample::Regex;
use crate::sample::format::{Format, Line};

/// Names that `del-header` removes.
#[derive(Clone, Debug)]
pub enum NameMatch {
    /// This one, in any case.
    Is(Box<[u8]>),
    /// `-m beg`, in lower case.
    Begins(Box<[u8]>),
    /// `-m end`.
    Ends(Box<[u8]>),
    /// `-m sub`.
    Contains(Box<[u8]>),
    /// `-m reg`: of the name in lower case.
    Matches(Rc<Regex>),
}

impl NameMatch {
    fn matches(&self, name: &[u8]) -> bool {
        let same = |part: Option<&[u8]>, wanted: &[u8]| {
            part.is_some_and(|part| part.eq_ignore_ascii_case(wanted))
        };
        match self {
            NameMatch::Is(wanted) => name.eq_ignore_ascii_case(wanted),
            NameMatch::Begins(wanted) => same(name.get(..wanted.len()), wanted),
            NameMatch::Ends(wanted) => {
                let start = name.len().checked_sub(wanted.len());
                same(start.map(|start| &name[start..]), wanted)
            }
            NameMatch::Contains(wanted) => {
                wanted.is_empty()
                    || name
                        .windows(wanted.len())
                        .any(|part| part.eq_ignore_ascii_case(wanted))
            }
            NameMatch::Matches(regex) => {
                let mut lower = [0; 255];
                let Some(lower) = lower.get_mut(..name.len()) else {
                    return false;
                };
                lower.copy_from_slice(name);
                lower.make_ascii_lowercase();
                regex.is_match(lower)
            }
        }
    }
}

/// A regular expression, and what takes the place of what it matches: `\1` and the like stand for its groups.
#[derive(Clone, Debug)]
pub struct Replacement {
    /// What is looked for.
    pub regex: Rc<Regex>,
    /// What is written.
    pub format: Format,
}

/// What is edited.
#[derive(Clone, Debug)]
pub enum Edit {
    /// `add-header NAME FMT`.
    AddHeader(Box<[u8]>, Format),
    /// `set-header NAME FMT`.
    SetHeader(Box<[u8]>, Format),
    /// `del-header NAME [-m METHOD]`.
    RemoveHeaders(NameMatch),
    /// `replace-header NAME REGEX FMT`.
    ReplaceHeader(Box<[u8]>, Replacement),
    /// `replace-value NAME REGEX FMT`: each of the comma-separated values.
    ReplaceValue(Box<[u8]>, Replacement),
    /// `set-method`, `set-path`, `set-pathq`, `set-query`, `set-uri`.
    Set(Part, Format),
    /// `replace-path`, `replace-pathq`, `replace-uri`.
    Replace(Part, Replacement),
    /// `normalize-uri`.
    Normalize(Normalizer),
    /// `set-status`, with another reason than the usual one.
    SetStatus(u16, Option<Box<[u8]>>),
}

/// A part of the request line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Part {
    Method,
    Path,
    PathAndQuery,
    Query,
    Uri,
}

impl Edit {
    /// Edits the message that the rule is about.
    pub(super) fn run(&self, scene: &mut Scene<'_>) -> Verdict<'static> {
        if let Edit::Normalize(normalizer) = self {
            return normalize(scene, *normalizer);
        }
        match self.apply(scene) {
            Ok(()) => Verdict::Continue,
            Err(_) => failed(scene),
        }
    }

    fn apply(&self, scene: &mut Scene<'_>) -> Result<(), EditError> {
        match self {
            Edit::AddHeader(name, format) => with_text(scene, format, |scene, text| {
                let (mut head, buffer) = scene.message()?;
                head.add_header(buffer, name, text)
            }),
            Edit::SetHeader(name, format) => with_text(scene, format, |scene, text| {
                let (mut head, buffer) = scene.message()?;
                head.set_header(buffer, name, text)
            }),
            Edit::RemoveHeaders(names) => {
                let (mut head, buffer) = scene.message()?;
                head.remove_headers(buffer, |name| names.matches(name));
                Ok(())
            }
            Edit::ReplaceHeader(name, replacement) => {
                replace_lines(scene, name, replacement, replace_whole)
            }
            Edit::ReplaceValue(name, replacement) => {
                replace_lines(scene, name, replacement, replace_items)
            }
            Edit::Set(part, format) => {
                with_text(scene, format, |scene, text| set_part(scene, *part, text))
            }
            Edit::Replace(part, replacement) => replace_part(scene, *part, replacement),
            Edit::Normalize(_) => Ok(()),
            Edit::SetStatus(status, reason) => {
                let buffer = scene.response_bytes;
                match scene.response.as_deref_mut() {
                    Some(head) => head.set_status(buffer, *status, reason.as_deref()),
                    None => Ok(()),
                }
            }
        }
    }
}

/// What follows from a rewrite that failed: it is counted, and ends the request unless `strict-mode off`.
pub(super) fn failed(scene: &mut Scene<'_>) -> Verdict<'static> {
    scene.notes.rewrites_failed += 1;
    match scene.notes.is_lenient {
        true => Verdict::Continue,
        false => Verdict::Failed,
    }
}

impl<'s> Scene<'s> {
    /// The message that rules are about: the response once it is there, else the request. Without either there is nothing to edit.
    fn message(&mut self) -> Result<(HeadEdit<'_>, &'s [u8]), EditError> {
        if let Some(head) = self.response.as_deref_mut() {
            return Ok((HeadEdit::Response(head), self.response_bytes));
        }
        match self.request.as_deref_mut() {
            Some(head) => Ok((HeadEdit::Request(head), self.request_bytes)),
            None => Err(EditError::Invalid),
        }
    }
}

/// Makes the text of a format and runs `edit` with it.
fn with_text<T>(
    scene: &mut Scene<'_>,
    format: &Format,
    edit: impl FnOnce(&mut Scene<'_>, &[u8]) -> T,
) -> T {
    let text = format.text(&mut scene.context());
    let outcome = edit(scene, text.as_bytes());
    scene.scratch.texts.give(text);
    outcome
}

/// Replaces in every line of that name; `replace` appends what becomes of a value and says whether that is something else.
fn replace_lines(
    scene: &mut Scene<'_>,
    name: &[u8],
    replacement: &Replacement,
    replace: fn(&Regex, &[u8], &[u8], &mut Line) -> bool,
) -> Result<(), EditError> {
    with_text(scene, &replacement.format, |scene, template| {
        let mut value = scene.scratch.texts.take();
        let outcome = (|| {
            let (mut head, buffer) = scene.message()?;
            for index in 0..head.headers().lines().len() {
                let table = head.headers();
                let line = table.lines()[index];
                if line.removed || !table.name(&line, buffer).eq_ignore_ascii_case(name) {
                    continue;
                }
                value.clear();
                let old = table.value(&line, buffer);
                if replace(&replacement.regex, old, template, &mut value) {
                    head.replace_value(index, buffer, value.as_bytes())?;
                }
            }
            Ok(())
        })();
        scene.scratch.texts.give(value);
        outcome
    })
}

/// The whole value, if something in it matches.
fn replace_whole(regex: &Regex, old: &[u8], template: &[u8], new: &mut Line) -> bool {
    let found = regex.find(old);
    found.is_some_and(|found| {
        let push = |part: &[u8]| {
            new.push(part);
            Some(())
        };
        found.expand(template, push).is_some()
    })
}

/// Each comma-separated value in which something matches, with the white space around it.
fn replace_items(regex: &Regex, old: &[u8], template: &[u8], new: &mut Line) -> bool {
    let mut is_changed = false;
    let mut at = 0;
    for (index, item) in list_items(old).enumerate() {
        if index > 0 {
            new.push_byte(b',');
        }
        // The items are slices of the value; what stands between them is what they were trimmed of, and the commas.
        let start = item.as_ptr() as usize - old.as_ptr() as usize;
        let after = old[start + item.len()..]
            .iter()
            .position(|byte| *byte == b',');
        let end = after.map_or(old.len(), |comma| start + item.len() + comma);
        if replace_whole(regex, item, template, new) {
            is_changed = true;
        } else {
            new.push(&old[at..end]);
        }
        at = end + 1;
    }
    is_changed
}

fn set_part(scene: &mut Scene<'_>, part: Part, text: &[u8]) -> Result<(), EditError> {
    let buffer = scene.request_bytes;
    let Some(head) = scene.request.as_deref_mut() else {
        return Ok(());
    };
    match part {
        Part::Method => head.set_method(buffer, text),
        Part::Path => head.set_path(buffer, text),
        Part::PathAndQuery => head.set_pathq(buffer, text),
        Part::Query => head.set_query(buffer, text),
        Part::Uri => head.set_uri(buffer, text),
    }
}

fn replace_part(
    scene: &mut Scene<'_>,
    part: Part,
    replacement: &Replacement,
) -> Result<(), EditError> {
    with_text(scene, &replacement.format, |scene, template| {
        let mut text = scene.scratch.texts.take();
        let buffer = scene.request_bytes;
        let old = scene.request.as_deref().and_then(|head| match part {
            Part::Path => head.path(buffer),
            Part::PathAndQuery => head.pathq(buffer),
            _ => Some(head.target(buffer)),
        });
        let is_found =
            old.is_some_and(|old| replace_whole(&replacement.regex, old, template, &mut text));
        let outcome = match is_found {
            true => set_part(scene, part, text.as_bytes()),
            false => Ok(()),
        };
        scene.scratch.texts.give(text);
        outcome
    })
}

/// A target without a normal form is the client's mistake.
fn normalize(scene: &mut Scene<'_>, normalizer: Normalizer) -> Verdict<'static> {
    let buffer = scene.request_bytes;
    let mut text = scene.scratch.texts.take();
    let outcome = match scene.request.as_deref_mut() {
        None => Ok(Some(false)),
        Some(head) => match normalizer.run(head.pathq(buffer).unwrap_or_default(), &mut text) {
            Some(true) => head.set_pathq(buffer, text.as_bytes()).map(|()| Some(true)),
            other => Ok(other),
        },
    };
    scene.scratch.texts.give(text);
    match outcome {
        Ok(Some(_)) => Verdict::Continue,
        Ok(None) => Verdict::BadRequest,
        Err(_) => failed(scene),
    }
}
