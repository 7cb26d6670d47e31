//! The words of a rule after its action's name, as the action's parser sees them.

use super::super::{Holder, ProxyLines};
use crate::config::line::Line;
use crate::config::model::{Mode, Pos};
use crate::rules::{SectionPage, SetKind, Text};
use crate::sample::format::{Format, Purpose};
use crate::sample::{self, Expr, Place, Registry};

/// A page of an `http-errors` section that a rule names, to be looked up when all sections are there.
#[derive(Debug)]
pub(crate) struct PageLink {
    pub page: SectionPage,
    pub section: String,
    pub status: u16,
    /// Name of the proxy.
    pub proxy: String,
    pub pos: Pos,
}

/// A cursor over the words of a rule. A parser takes its arguments and leaves the condition.
pub(in super::super) struct RuleWords<'w, 'p> {
    pub(super) line: &'w Line,
    pub(super) at: usize,
    pub(super) set: SetKind,
    /// The words are those of `http-error`: what they describe answers requests and takes the place of responses.
    pub(super) is_error: bool,
    pub(super) holder: Holder,
    /// A text of the rule needs what the log tells of a stream.
    pub(super) needs_record: bool,
    /// The section and all before it.
    pub(super) lines: &'w mut ProxyLines<'p>,
}

impl<'w> RuleWords<'w, '_> {
    /// The next word; empty at the end.
    pub fn peek(&self) -> &'w str {
        self.line.arg(self.at)
    }

    /// Takes the next word; empty at the end.
    pub fn next(&mut self) -> &'w str {
        let word = self.line.arg(self.at);
        if !word.is_empty() {
            self.at += 1;
        }
        word
    }

    /// The action's own word, with what it has in parentheses.
    pub fn word(&self) -> &'w str {
        self.line.arg(match self.set {
            SetKind::HttpRequest | SetKind::HttpResponse | SetKind::HttpAfterResponse => 1,
            _ => 2,
        })
    }

    /// How many counters a connection or request can track (`tune.stick-counters`, as far as it was read).
    pub fn counters(&self) -> u32 {
        self.lines.global.global.stick_counters
    }

    /// What expressions share.
    pub fn registry(&self) -> &Registry {
        self.lines.registry
    }

    /// Whether the arguments are over: nothing follows, or a condition.
    pub fn is_end(&self) -> bool {
        self.is_end_at(0)
    }

    /// Whether they are over after so many words.
    pub fn is_end_at(&self, words: usize) -> bool {
        matches!(self.line.arg(self.at + words), "" | "if" | "unless")
    }

    /// Takes a word that is a format.
    ///
    /// # Errors
    /// In HAProxy's words.
    pub fn format(&mut self) -> Result<Format, String> {
        let word = self.next();
        self.format_of(word.as_bytes())
    }

    fn format_of(&mut self, bytes: &[u8]) -> Result<Format, String> {
        let places = self.lines.places(self.holder, self.set);
        let mut places: Vec<Place> = places.into_iter().flatten().collect();
        if self.is_error {
            let others = self.lines.places(self.holder, SetKind::HttpResponse);
            places.extend(others.into_iter().flatten());
        }
        let is_http = self.lines.mode(self.holder) == Mode::Http;
        let places = (&places[..], is_http);
        let format = Format::parse(bytes, Purpose::Rule, places, self.registry())?;
        self.needs_record |= format.needs_record();
        self.warn_of_bytes(&format);
        Ok(format)
    }

    /// HAProxy's warning, which the formats of variables and of the section's own `redirect` are spared.
    fn warn_of_bytes(&mut self, format: &Format) {
        let is_http = matches!(
            self.set,
            SetKind::HttpRequest | SetKind::HttpResponse | SetKind::HttpAfterResponse
        );
        if is_http && !self.word().starts_with("set-var-fmt") {
            for doubt in format.doubts() {
                self.lines.report.warning(&self.line.pos, doubt);
            }
        }
    }

    /// Takes a word with expressions in it.
    ///
    /// # Errors
    /// In HAProxy's words.
    pub fn text(&mut self) -> Result<Text, String> {
        let word = self.next();
        self.text_of(word.as_bytes())
    }

    /// A text with expressions in it that is no word of the line.
    ///
    /// # Errors
    /// In HAProxy's words.
    pub fn text_of(&mut self, bytes: &[u8]) -> Result<Text, String> {
        let format = self.format_of(bytes)?;
        Ok(Text::format(format))
    }

    /// A page of an `http-errors` section, which may be declared later.
    pub fn section_page(&mut self, section: &str, status: u16) -> SectionPage {
        let page = SectionPage::default();
        self.lines.pages.push(PageLink {
            page: page.clone(),
            section: section.to_owned(),
            status,
            proxy: match self.holder {
                Holder::Proxy(index) => self.lines.proxies[index].name.clone(),
                Holder::Defaults(index) => self.lines.defaults[index].name.clone(),
            },
            pos: self.line.pos.clone(),
        });
        page
    }

    /// A warning at the rule's line.
    pub fn warn(&mut self, text: String) {
        self.lines.report.warning(&self.line.pos, text);
    }

    /// The name of the proxy, if it can have no servers.
    pub fn lacks_backend(&self) -> Option<&str> {
        let Holder::Proxy(index) = self.holder else {
            return None;
        };
        let draft = &self.lines.proxies[index];
        (!draft.kind.is_backend()).then_some(draft.name.as_str())
    }

    /// Takes an expression that can be evaluated where the rule is.
    ///
    /// # Errors
    /// In HAProxy's words.
    pub fn expr(&mut self) -> Result<Expr, String> {
        let (expr, used) = sample::parse_expr(self.line.from(self.at), self.lines.registry)
            .map_err(|error| error.to_string())?;
        let first = self.peek();
        let mut places = self
            .lines
            .places(self.holder, self.set)
            .into_iter()
            .flatten();
        if !places.any(|place| expr.places().contains(place)) {
            let source = expr.source().describe();
            return Err(format!(
                "fetch method '{first}' extracts information from '{source}', none of which is available here"
            ));
        }
        self.at += used;
        Ok(expr)
    }
}
