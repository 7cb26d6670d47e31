//! `log-format`, `log-format-sd`, `error-log-format`, `unique-id-format`, `unique-id-header`, `capture` and `declare capture`
//! (configuration manual, sections 4.2 and 8.2.6).
//!
//! Formats are compiled when all files are read, because what they may contain depends on the mode that the proxy ends up with.
//! Not here: the language of formats (`sample::format`).

use std::rc::Rc;

use super::{Draft, Target};
use crate::config::diag::Severity;
use crate::config::line::Line;
use crate::config::model::{Captures, Mode, Pos, ProxyKind};
use crate::config::parser::LinkDraft;
use crate::config::units;
use crate::sample::format::{Format, Purpose};
use crate::sample::{Place, Registry, link};

/// A format as it is written, and where.
#[derive(Clone, Debug)]
pub struct FormatDraft {
    text: String,
    pos: Pos,
    compiled: Option<Rc<Format>>,
}

impl FormatDraft {
    /// The format, if there was nothing wrong with it.
    pub fn compiled(draft: &Option<FormatDraft>) -> Option<Rc<Format>> {
        draft.as_ref()?.compiled.clone()
    }
}

/// The formats of a section.
#[derive(Clone, Debug, Default)]
pub struct Formats {
    /// `log-format`.
    pub log: Option<FormatDraft>,
    /// `log-format-sd`.
    pub structured: Option<FormatDraft>,
    /// `error-log-format`.
    pub error: Option<FormatDraft>,
    /// `unique-id-format`.
    pub unique_id: Option<FormatDraft>,
    /// `unique-id-header`.
    pub unique_id_header: Option<String>,
}

impl Target<'_> {
    /// `log-format` and its kin, `unique-id-format`, `unique-id-header`; false for other lines.
    pub fn format_line(&mut self, line: &Line) -> bool {
        let (word, text) = (line.arg(0), line.arg(1));
        if !matches!(
            word,
            "log-format"
                | "log-format-sd"
                | "error-log-format"
                | "unique-id-format"
                | "unique-id-header"
        ) {
            return false;
        }
        if text.is_empty() {
            let text = format!("{word} expects an argument.");
            self.report.alert(&line.pos, text);
            return true;
        }
        if word != "unique-id-header" && !line.arg(2).is_empty() {
            let text = format!("{word} expects only one argument, don't forget to escape spaces!");
            self.report.alert(&line.pos, text);
            return true;
        }
        let draft = FormatDraft {
            text: text.to_owned(),
            pos: line.pos.clone(),
            compiled: None,
        };
        let formats = &mut self.settings.formats;
        match word {
            "log-format" => {
                formats.log = Some(draft);
                self.overrides("log-format", &line.pos);
            }
            "log-format-sd" => formats.structured = Some(draft),
            "error-log-format" => {
                let is_another = formats.error.replace(draft).is_some();
                if is_another && self.kind.is_none() {
                    self.warn_override(word, word, &line.pos);
                }
            }
            "unique-id-format" => formats.unique_id = Some(draft),
            _ => formats.unique_id_header = Some(text.to_owned()),
        }
        true
    }

    /// In a defaults section HAProxy warns of a format that takes another one's place.
    pub fn overrides(&mut self, word: &'static str, pos: &Pos) {
        let before = self.settings.log_format_word.replace(word);
        if let (Some(before), None) = (before, self.kind) {
            self.warn_override(word, before, pos);
        }
    }

    fn warn_override(&mut self, word: &str, before: &str, pos: &Pos) {
        let place = format!("parsing [{}:{}]", pos.file, pos.line);
        let text =
            format!("{place}: '{word}' overrides previous '{before}' in 'defaults' section.");
        self.report.push(Severity::Warning, Some(pos), text);
    }
}

/// Compiles the formats of a proxy. Mistakes and doubts go to `report`, names that are to be looked up to `links`.
pub(crate) fn compile(
    draft: &mut Draft,
    index: usize,
    registry: &Registry,
    links: &mut Vec<LinkDraft>,
    mut report: impl FnMut(Severity, &Pos, String),
) {
    if draft.settings.disabled {
        return;
    }
    let is_http = draft.settings.mode == Mode::Http;
    let id_place = match is_http {
        true => Place::FrontendHttpRequest,
        false => Place::FrontendTcpContent,
    };
    let is_frontend = draft.kind.is_frontend();
    let formats = &mut draft.settings.formats;
    if !is_frontend {
        (formats.log, formats.structured, formats.error) = (None, None, None);
    }
    let compiled = [
        (
            &mut formats.log,
            "log-format",
            "log-format",
            Purpose::Log,
            Place::Log,
        ),
        (
            &mut formats.structured,
            "log-format-sd",
            "log-format-sd",
            Purpose::Log,
            Place::Log,
        ),
        (
            &mut formats.error,
            "log-format",
            "error-log-format",
            Purpose::Log,
            Place::Log,
        ),
        (
            &mut formats.unique_id,
            "unique-id-format",
            "unique-id",
            Purpose::UniqueId,
            id_place,
        ),
    ];
    for (format, keyword, what, purpose, place) in compiled {
        let Some(format) = format else { continue };
        registry.at(&format.pos.file, format.pos.line);
        match Format::parse(
            format.text.as_bytes(),
            purpose,
            (&[place], is_http),
            registry,
        ) {
            Ok(compiled) => {
                for doubt in compiled.doubts().filter(|_| is_http) {
                    let place = format!("parsing [{}:{}]", format.pos.file, format.pos.line);
                    report(Severity::Warning, &format.pos, format!("{place} : {doubt}"));
                }
                format.compiled = Some(Rc::new(compiled));
            }
            Err(error) => {
                let place = format!("Parsing [{}:{}]", format.pos.file, format.pos.line);
                report(
                    Severity::Alert,
                    &format.pos,
                    format!("{place}: failed to parse {what} : {error}."),
                );
            }
        }
        for link in link::collect() {
            links.push(LinkDraft {
                link,
                keyword: keyword.to_owned(),
                proxy: Some(index),
                pos: format.pos.clone(),
            });
        }
    }
}

/// The captures of a frontend: `capture …` and `declare capture …`. Says what is wrong with a line.
pub(super) fn capture_line(captures: &mut Captures, line: &Line) -> Result<(), String> {
    let length = |at: usize| u32::try_from(units::leading_number(line.arg(at))).unwrap_or(0);
    let unexpected = |what: &str, at: usize| match line.arg(at) {
        "" => Ok(()),
        extra => Err(format!(
            "'{what}' cannot handle unexpected argument '{extra}'."
        )),
    };
    match (line.arg(1), line.arg(2)) {
        ("cookie", _) => {
            if line.arg(3) != "len" || line.arg(4).is_empty() {
                return Err("'capture' expects 'cookie' <cookie_name> 'len' <len>.".into());
            }
            captures.cookie = Some((line.arg(2).into(), length(4)));
            Ok(())
        }
        (direction @ ("request" | "response"), "header") => {
            let what = format!("capture {direction}");
            if line.arg(3).is_empty() || line.arg(4) != "len" || line.arg(5).is_empty() {
                return Err(format!(
                    "'{what}' expects 'header' <header_name> 'len' <len>."
                ));
            }
            unexpected(&what, 6)?;
            let slots = captures.of_mut(direction == "request");
            slots.push((Some(line.arg(3).into()), length(5)));
            Ok(())
        }
        _ => Err("'capture' expects 'cookie' or 'request header' or 'response header'.".into()),
    }
}

/// `declare capture request|response len N`.
pub(super) fn declare_line(
    captures: &mut Captures,
    kind: Option<ProxyKind>,
    line: &Line,
) -> Result<(), String> {
    if line.arg(1) != "capture" {
        return Err("'declare' supports only 'capture'.".to_owned());
    }
    if !kind.is_some_and(ProxyKind::is_frontend) {
        return Err("'declare' only available in frontend or listen section".into());
    }
    let direction = line.arg(2);
    if !matches!(direction, "request" | "response") {
        return Err("'declare capture' requires a direction ('request' or 'response')".into());
    }
    if line.arg(3) != "len" {
        return Err("'declare capture' requires a capture length ('len')".into());
    }
    if line.arg(4).is_empty() {
        return Err(
            "'declare capture': 'len' requires a numeric value that represents the capture length"
                .into(),
        );
    }
    let length = line.arg(4).parse().ok().filter(|length| *length > 0);
    let Some(length) = length else {
        return Err("'declare capture': cannot parse the length 'len'.".into());
    };
    captures.of_mut(direction == "request").push((None, length));
    Ok(())
}
