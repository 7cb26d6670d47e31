//! Parsers of the actions that edit messages, capture, and give early hints.

use std::rc::Rc;

use super::super::Holder;
use super::RuleWords;
use super::basic::Parsed;
use crate::http::edit::{is_framing_header, is_header_name};
use crate::rules::{
    Action, Capture, EarlyHint, Edit, NameMatch, Normalizer, Part, Replacement, SetKind,
};
use crate::sample::Regex;

impl RuleWords<'_, '_> {
    /// Takes the name of a header, in lower case, as HAProxy writes it.
    fn header_name(&mut self) -> Result<Box<[u8]>, String> {
        let name = self.next();
        if !is_header_name(name.as_bytes()) {
            return Err(format!("'{name}' is not a valid header name"));
        }
        if is_framing_header(name.as_bytes()) {
            let word = self.word();
            let text = format!(
                "'{word} {name}' has no effect: burdock frames each message itself, as it was received."
            );
            let line = self.line;
            self.lines.report.notice(&line.pos, text);
        }
        Ok(name.to_ascii_lowercase().into_bytes().into())
    }

    /// Whether so many words follow, of which the last is not empty.
    fn has(&self, count: usize) -> bool {
        (0..count).all(|word| !self.line.arg(self.at + word).is_empty())
    }

    fn is_over_after(&self, count: usize) -> bool {
        matches!(self.line.arg(self.at + count), "" | "if" | "unless")
    }
}

fn edit(edit: Edit) -> Parsed {
    Ok(Action::Edit(Box::new(edit)))
}

pub(super) fn add_header(words: &mut RuleWords) -> Parsed {
    two_words(words)?;
    edit(Edit::AddHeader(words.header_name()?, words.format()?))
}

pub(super) fn set_header(words: &mut RuleWords) -> Parsed {
    two_words(words)?;
    edit(Edit::SetHeader(words.header_name()?, words.format()?))
}

fn two_words(words: &RuleWords) -> Result<(), String> {
    match words.has(2) {
        true => Ok(()),
        false => Err("expects exactly 2 arguments".into()),
    }
}

/// `early-hint NAME FMT`.
pub(super) fn early_hint(words: &mut RuleWords) -> Parsed {
    two_words(words)?;
    Ok(Action::EarlyHint(Box::new(EarlyHint {
        name: words.header_name()?,
        value: words.format()?,
        is_continued: false,
    })))
}

/// `del-header NAME [-m str|beg|end|sub|reg]`.
pub(super) fn del_header(words: &mut RuleWords) -> Parsed {
    if !words.has(1) {
        return Err("expects at least 1 argument".into());
    }
    let name = words.next();
    let bytes: Box<[u8]> = name.as_bytes().into();
    if words.peek() != "-m" {
        return edit(Edit::RemoveHeaders(NameMatch::Is(bytes)));
    }
    words.next();
    let names = match words.next() {
        "" => return Err("-m flag expects exactly 1 argument".into()),
        "str" => NameMatch::Is(bytes),
        "beg" => NameMatch::Begins(bytes),
        "end" => NameMatch::Ends(bytes),
        "sub" => NameMatch::Contains(bytes),
        "reg" => NameMatch::Matches(Rc::new(Regex::new(name.as_bytes(), false)?)),
        other => return Err(format!("-m with unsupported matching method '{other}'")),
    };
    edit(Edit::RemoveHeaders(names))
}

pub(super) fn replace_header(words: &mut RuleWords) -> Parsed {
    let (name, replacement) = header_replacement(words)?;
    edit(Edit::ReplaceHeader(name, replacement))
}

pub(super) fn replace_value(words: &mut RuleWords) -> Parsed {
    let (name, replacement) = header_replacement(words)?;
    edit(Edit::ReplaceValue(name, replacement))
}

fn header_replacement(words: &mut RuleWords) -> Result<(Box<[u8]>, Replacement), String> {
    if !words.has(3) {
        return Err("expects exactly 3 arguments".into());
    }
    let name = words.header_name()?;
    let regex = Rc::new(Regex::new(words.next().as_bytes(), false)?);
    let format = words.format()?;
    Ok((name, Replacement { regex, format }))
}

pub(super) fn set_method(words: &mut RuleWords) -> Parsed {
    set_part(words, Part::Method)
}

pub(super) fn set_path(words: &mut RuleWords) -> Parsed {
    set_part(words, Part::Path)
}

pub(super) fn set_pathq(words: &mut RuleWords) -> Parsed {
    set_part(words, Part::PathAndQuery)
}

pub(super) fn set_query(words: &mut RuleWords) -> Parsed {
    set_part(words, Part::Query)
}

pub(super) fn set_uri(words: &mut RuleWords) -> Parsed {
    set_part(words, Part::Uri)
}

fn set_part(words: &mut RuleWords, part: Part) -> Parsed {
    if !words.has(1) || !words.is_over_after(1) {
        return Err("expects exactly 1 argument <format>".into());
    }
    edit(Edit::Set(part, words.format()?))
}

pub(super) fn replace_path(words: &mut RuleWords) -> Parsed {
    replace_part(words, Part::Path)
}

pub(super) fn replace_pathq(words: &mut RuleWords) -> Parsed {
    replace_part(words, Part::PathAndQuery)
}

pub(super) fn replace_uri(words: &mut RuleWords) -> Parsed {
    replace_part(words, Part::Uri)
}

fn replace_part(words: &mut RuleWords, part: Part) -> Parsed {
    if !words.has(2) || !words.is_over_after(2) {
        return Err("expects exactly 2 arguments <match-regex> and <replace-format>".into());
    }
    let regex = Regex::new(words.next().as_bytes(), false)
        .map_err(|error| format!("failed to parse the regex : {error}"))?;
    let format = words.format()?;
    let regex = Rc::new(regex);
    edit(Edit::Replace(part, Replacement { regex, format }))
}

/// `set-status CODE [reason TEXT]`.
pub(super) fn set_status(words: &mut RuleWords) -> Parsed {
    let arguments = match (words.line.arg(words.at + 1), words.has(3)) {
        _ if !words.has(1) => 0,
        ("reason", true) => 3,
        _ => 1,
    };
    if arguments == 0 {
        return Err("expects 1 argument: <status>; or 3 arguments: <status> reason <fmt>".into());
    }
    let status = words.next().parse().ok();
    let Some(status) = status.filter(|status| (100..=999).contains(status)) else {
        return Err("expects an integer status code between 100 and 999".into());
    };
    if status < 200 {
        return Err(format!(
            "status {status} would announce another response, which burdock does not support"
        ));
    }
    let mut reason = None;
    if arguments == 3 {
        words.next();
        reason = Some(words.next().as_bytes().into());
    }
    edit(Edit::SetStatus(status, reason))
}

/// `normalize-uri NORMALIZER [full|strict]`.
pub(super) fn normalize_uri(words: &mut RuleWords) -> Parsed {
    if !words.lines.global.global.experimental {
        return Err(
            "'normalize-uri' action is experimental, must be allowed via a global 'expose-experimental-directives'".into(),
        );
    }
    let name = words.next();
    let argument = match words.is_over_after(0) {
        true => "",
        false => words.peek(),
    };
    let option = |wanted: &str| match argument {
        "" => Ok(false),
        _ if argument == wanted => Ok(true),
        other => Err(format!(
            "unknown argument '{other}' for '{name}' normalizer"
        )),
    };
    let normalizer = match name {
        "" => return Err("missing argument <normalizer>".into()),
        "fragment-encode" => Normalizer::FragmentEncode,
        "fragment-strip" => Normalizer::FragmentStrip,
        "path-merge-slashes" => Normalizer::MergeSlashes,
        "path-strip-dot" => Normalizer::StripDot,
        "path-strip-dotdot" => Normalizer::StripDotDot {
            full: option("full")?,
        },
        "percent-decode-unreserved" => Normalizer::DecodeUnreserved {
            strict: option("strict")?,
        },
        "percent-to-uppercase" => Normalizer::UppercaseEscapes {
            strict: option("strict")?,
        },
        "query-sort-by-name" => Normalizer::SortQuery,
        other => return Err(format!("unknown normalizer '{other}'")),
    };
    let takes_option = matches!(
        normalizer,
        Normalizer::StripDotDot { .. }
            | Normalizer::DecodeUnreserved { .. }
            | Normalizer::UppercaseEscapes { .. }
    );
    if takes_option && !argument.is_empty() {
        words.next();
    }
    edit(Edit::Normalize(normalizer))
}

/// `capture EXPR len N` and `capture EXPR id N`.
pub(super) fn capture(words: &mut RuleWords) -> Parsed {
    let is_request = matches!(words.set, SetKind::HttpRequest | SetKind::TcpContent);
    let usage = match (words.set, is_request) {
        (SetKind::TcpContent, _) => "a positive 'len' argument is mandatory",
        (_, true) => "expects <expression> [ 'len' <length> | id <idx> ]",
        (_, false) => "expects <expression> id <idx>",
    };
    if !words.has(1) {
        return Err(usage.into());
    }
    let expr = words.expr()?;
    let keyword = words.next();
    let value = words.next();
    if keyword.is_empty() || value.is_empty() {
        return Err(usage.into());
    }
    let slot = match keyword {
        "len" if is_request => declare(words, value)?,
        "id" if words.set != SetKind::TcpContent => value
            .parse()
            .map_err(|_| format!("cannot parse id '{value}'"))?,
        _ if words.set == SetKind::TcpContent => return Err(usage.into()),
        other if is_request => return Err(format!("expects 'len' or 'id', found '{other}'")),
        other => return Err(format!("expects 'id', found '{other}'")),
    };
    Ok(Action::Capture(Box::new(Capture {
        expr,
        slot,
        is_request,
    })))
}

/// A slot of its own in the captures of the frontend.
fn declare(words: &mut RuleWords, length: &str) -> Result<usize, String> {
    let length: u32 = length.parse().unwrap_or(0);
    if length == 0 {
        return Err("length must be > 0".into());
    }
    let Holder::Proxy(index) = words.holder else {
        return Err("captures are not allowed in 'defaults' sections".into());
    };
    let draft = &mut words.lines.proxies[index];
    if !draft.kind.is_frontend() {
        return Err(format!("proxy '{}' has no frontend capability", draft.name));
    }
    draft.captures.request.push((None, length));
    Ok(draft.captures.request.len() - 1)
}
