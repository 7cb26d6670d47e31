//! `tcp-request`, `tcp-response`, `http-request`, `http-response`, `http-after-response`: lines into rules (configuration
//! manual, 4.2).
//!
//! A line is `SET ACTION [ARGUMENTS] [if|unless CONDITION]`. The action's line in the table of `actions` has the parser of its
//! arguments; the rest is the same for all and done here.
//!
//! Not here: what an action does (`rules`), conditions and expressions (`sample`).

mod actions;
mod answers;
mod basic;
mod connection;
mod edit;
mod order;
mod patterns;
mod track;
mod variables;
mod words;

pub(super) use order::Rank;
pub(in crate::config) use words::PageLink;
pub(super) use words::RuleWords;

use super::{Holder, ProxyLines};
use crate::config::line::{Line, refused};
use crate::config::model::{Mode, Pos, ProxyKind};
use crate::config::suggest;
use crate::config::units::{self, TimeError};
use crate::rules::{Action, Rule, RuleSets, SetKind};
use crate::sample::{self, Condition, Place};
use actions::{Keyword, Support};

use super::simple::full_stop;

impl ProxyLines<'_> {
    /// `http-request`, `http-response`, `http-after-response`.
    pub fn http_rule_line(&mut self, holder: Holder, line: &Line) {
        let set = match line.arg(0) {
            "http-request" => SetKind::HttpRequest,
            "http-response" => SetKind::HttpResponse,
            _ => SetKind::HttpAfterResponse,
        };
        let (set_words, word) = (set.words(), line.arg(1));
        let Some(keyword) = actions::find(word, set) else {
            let got = match word {
                "" => "'' (missing argument).".to_owned(),
                _ => {
                    let nearest = suggest::nearest_of(actions::names(set), word);
                    let hint =
                        nearest.map_or(String::new(), |n| format!(" Did you mean '{n}' maybe ?"));
                    format!("'{word}'.{hint}")
                }
            };
            let expected = actions::expected(set);
            self.report.tight_alert(
                &line.pos,
                format!("'{set_words}' expects {expected}, but got {got}"),
            );
            return;
        };
        self.warn_of_final(holder, set, line);
        let title = self.title(holder);
        let what = format!("{set_words} {word}");
        if let Some(rule) = self.rule(holder, line, set, keyword, 1, &|stage, text| match stage {
            Stage::Arguments => full_stop_once(format!(
                " : error detected in {title} while parsing '{what}' rule : {text}"
            )),
            Stage::Condition => full_stop(format!(
                " : error detected while parsing an '{what}' condition : {text}"
            )),
            Stage::Rest => format!(
                ": '{what}' expects either 'if' or 'unless' followed by a condition but found '{text}'."
            ),
        }) {
            self.push_rule(holder, set, rule, &line.pos);
        }
    }

    /// `redirect …`.
    pub fn redirect_line(&mut self, holder: Holder, line: &Line) {
        let title = self.title(holder);
        let set = SetKind::Redirect;
        let Some(keyword) = actions::find("redirect", SetKind::HttpRequest) else {
            return;
        };
        let say = |stage, text: &str| {
            let what = format!(" : error detected in {title} while parsing redirect rule : ");
            match stage {
                Stage::Condition => full_stop(format!("{what}error in condition: {text}")),
                _ => full_stop_once(format!("{what}{text}")),
            }
        };
        if let Some(rule) = self.rule(holder, line, set, keyword, 0, &say) {
            self.push_rule(holder, set, rule, &line.pos);
        }
    }

    /// `tcp-request` and `tcp-response`.
    pub fn tcp_rule_line(&mut self, holder: Holder, line: &Line) {
        let title = self.title(holder);
        let (first, second) = (line.arg(0), line.arg(1));
        let alert = |lines: &mut Self, text: String| lines.report.alert(&line.pos, text);
        if second.is_empty() {
            return alert(self, format!("missing argument for '{first}' in {title}"));
        }
        let set = match (first, second) {
            (_, "inspect-delay") => return self.inspect_delay_line(holder, line, &title),
            ("tcp-request", "connection") => SetKind::TcpConnection,
            ("tcp-request", "session") => SetKind::TcpSession,
            ("tcp-request", "content") => SetKind::TcpContent,
            ("tcp-response", "content") => SetKind::TcpResponse,
            _ => {
                let expected = match first {
                    "tcp-request" => "'inspect-delay', 'connection', or 'content'",
                    _ => "'inspect-delay' or 'content'",
                };
                let text = format!("'{first}' expects {expected} in {title} (got '{second}')");
                return alert(self, text);
            }
        };
        if let Some(text) = self.misplaced_tcp(holder, set) {
            return alert(self, text);
        }
        let word = line.arg(2);
        let set_words = set.words();
        let Some(keyword) = actions::find(word, set) else {
            let expected = actions::expected(set);
            let end = if first == "tcp-request" { "\n" } else { "" };
            let text = format!("'{set_words}' expects {expected} in {title} (got '{word}').{end}");
            return alert(self, text);
        };
        if let Some(rule) =
            self.rule(holder, line, set, keyword, 2, &|stage, text| match stage {
                Stage::Arguments => format!(" : {text}"),
                Stage::Condition => {
                    let (kind, text) = text.split_once(' ').unwrap_or(("if", text));
                    format!(
                        " : '{set_words} {word}' : error detected in {title} while parsing '{kind}' condition : {text}"
                    )
                }
                Stage::Rest => format!(
                    " : '{set_words} {word}' only accepts 'if' or 'unless', in {title} (got '{text}')"
                ),
            })
        {
            self.push_rule(holder, set, rule, &line.pos);
        }
    }

    /// Why a set of TCP rules cannot be in this section.
    fn misplaced_tcp(&self, holder: Holder, set: SetKind) -> Option<String> {
        let Holder::Proxy(index) = holder else {
            return None;
        };
        let draft = &self.proxies[index];
        let (kind, words) = (draft.kind, set.words());
        match set {
            SetKind::TcpConnection | SetKind::TcpSession if !kind.is_frontend() => Some(format!(
                "{words} is not allowed because {} {} is not a frontend",
                kind.title(),
                draft.name
            )),
            SetKind::TcpResponse if !kind.is_backend() => Some(format!(
                "{words} is only allowed in 'backend' sections or 'defaults' section with a name"
            )),
            _ => None,
        }
    }

    /// `tcp-request inspect-delay TIME`, `tcp-response inspect-delay TIME`.
    fn inspect_delay_line(&mut self, holder: Holder, line: &Line, title: &str) {
        let first = line.arg(0);
        let is_request = first == "tcp-request";
        if let (false, Holder::Proxy(index)) = (is_request, holder)
            && !self.proxies[index].kind.is_backend()
        {
            self.report.alert(&line.pos, format!("{first} inspect-delay is only allowed in 'backend' sections or 'defaults' section with a name"));
            return;
        }
        let text =
            format!("'{first} inspect-delay' expects a positive delay in milliseconds, in {title}");
        let delay = match units::time_ms(line.arg(2), 1) {
            _ if line.arg(2).is_empty() => Err(text),
            Ok(delay) => Ok(delay),
            Err(TimeError::Overflow) => Err(format!("{text} (timer overflow in argument)")),
            Err(TimeError::Character(found)) => {
                Err(format!("{text} (unexpected character '{found}')"))
            }
        };
        match delay {
            Err(text) => self.report.alert(&line.pos, text),
            Ok(delay) => {
                let settings = self.target(holder).settings;
                let place = match is_request {
                    true => &mut settings.inspect_request_ms,
                    false => &mut settings.inspect_response_ms,
                };
                match place {
                    // One that came from the defaults section stays too.
                    Some(given) if *given > 0 => {
                        let text = format!(
                            "ignoring {first} inspect-delay (was already defined) in {title}"
                        );
                        self.report.warning(&line.pos, text);
                    }
                    _ => *place = Some(delay),
                }
            }
        }
    }

    /// The action and the condition of a line whose action's word is at `at`; what is wrong is reported in the words of `say`, which
    /// continue `parsing [file:line]`.
    fn rule(
        &mut self,
        holder: Holder,
        line: &Line,
        set: SetKind,
        keyword: &Keyword,
        at: usize,
        say: &dyn Fn(Stage, &str) -> String,
    ) -> Option<Rule> {
        let alert = |lines: &mut Self, stage, text: &str| {
            let (file, number) = (&line.pos.file, line.pos.line);
            let text = format!("parsing [{file}:{number}]{}", say(stage, text));
            lines
                .report
                .push(super::super::Severity::Alert, Some(&line.pos), text);
        };
        let parse = match keyword.support {
            Support::Full(parse) => parse,
            Support::NoEffect(parse, reason) => {
                let what = format!("{} {}", set.words(), keyword.name);
                self.report.notice(
                    &line.pos,
                    format!("'{what}' has no effect in burdock: {reason}."),
                );
                parse
            }
            Support::Refused(hint) => {
                let what = format!("{} {}", set.words(), line.arg(at));
                self.report.alert(&line.pos, refused(&what, hint));
                return None;
            }
        };
        let mut words = RuleWords {
            line,
            at: at + 1,
            set,
            is_error: false,
            holder,
            needs_record: false,
            lines: self,
        };
        let action = match parse(&mut words) {
            Ok(action) => action,
            Err(text) => {
                alert(self, Stage::Arguments, &text);
                return None;
            }
        };
        let (rest, needs_record) = (words.at, words.needs_record);
        self.rules_of(holder).needs_record |= needs_record;
        let condition = match line.arg(rest) {
            "" => None,
            kind @ ("if" | "unless") => match self.condition(holder, line, rest, set) {
                Ok(condition) => Some(condition),
                Err(error) => {
                    let text = match set {
                        SetKind::HttpRequest
                        | SetKind::HttpResponse
                        | SetKind::HttpAfterResponse
                        | SetKind::Redirect => error.to_string(),
                        _ => format!("{kind} {error}"),
                    };
                    alert(self, Stage::Condition, &text);
                    return None;
                }
            },
            other => {
                alert(self, Stage::Rest, other);
                return None;
            }
        };
        let number = match set {
            SetKind::TcpConnection | SetKind::TcpSession | SetKind::Redirect => 0,
            _ => self.registry.number_rule(),
        };
        Some(Rule {
            condition,
            action,
            number,
        })
    }

    /// The condition of a rule, with HAProxy's warnings.
    fn condition(
        &mut self,
        holder: Holder,
        line: &Line,
        start: usize,
        set: SetKind,
    ) -> Result<Condition, sample::Error> {
        let places = self.places(holder, set);
        let acls = match holder {
            Holder::Proxy(index) => &mut self.proxies[index].acls,
            Holder::Defaults(index) => &mut self.defaults[index].acls,
        };
        let (condition, warnings) = sample::parse_condition(line.from(start), acls)?;
        let mut never = None;
        for place in places.into_iter().flatten() {
            never = condition.warning_in(place, acls);
            if never.is_none() {
                break;
            }
        }
        if let (
            Some(text),
            SetKind::TcpConnection
            | SetKind::TcpSession
            | SetKind::TcpContent
            | SetKind::TcpResponse,
        ) = (&mut never, set)
        {
            let in_set = format!("will never match in '{}' because", set.words());
            *text = text.replacen("will never match because", &in_set, 1);
        }
        for warning in warnings.into_iter().chain(never) {
            self.report.warning(&line.pos, warning);
        }
        Ok(condition)
    }

    /// Where the rules of a set are evaluated, for what expressions may use.
    pub(super) fn places(&self, holder: Holder, set: SetKind) -> [Option<Place>; 2] {
        let kind = match holder {
            Holder::Proxy(index) => self.proxies[index].kind,
            Holder::Defaults(_) => ProxyKind::Listen,
        };
        let (front, back) = match set {
            SetKind::TcpConnection => (Place::FrontendTcpConnection, None),
            SetKind::TcpSession => (Place::FrontendTcpSession, None),
            SetKind::TcpContent => (Place::FrontendTcpContent, Some(Place::BackendTcpContent)),
            SetKind::HttpRequest | SetKind::Redirect => {
                (Place::FrontendHttpRequest, Some(Place::BackendHttpRequest))
            }
            SetKind::TcpResponse => (Place::FrontendTcpResponse, Some(Place::BackendTcpResponse)),
            SetKind::HttpResponse | SetKind::HttpAfterResponse => (
                Place::FrontendHttpResponse,
                Some(Place::BackendHttpResponse),
            ),
        };
        [
            (kind.is_frontend() || back.is_none()).then_some(front),
            back.filter(|_| kind.is_backend()),
        ]
    }

    fn push_rule(&mut self, holder: Holder, set: SetKind, rule: Rule, pos: &Pos) {
        if let Some(rank) = Rank::of(set) {
            self.note_order(holder, rank, pos);
        }
        self.note_final(holder, set, &rule);
        self.note_doubts(holder, set, (&rule.action, rule.condition.as_ref()), pos);
        let rules = self.rules_of(holder);
        let rules = rules.of_mut(set);
        let continues = matches!(rule.action, Action::EarlyHint(_)) && rule.condition.is_none();
        if let (true, Some(Action::EarlyHint(hint))) =
            (continues, rules.last_mut().map(|last| &mut last.action))
        {
            hint.is_continued = true;
        }
        rules.push(rule);
    }

    /// The rule sets of a section.
    fn rules_of(&mut self, holder: Holder) -> &mut RuleSets {
        match holder {
            Holder::Proxy(index) => &mut self.proxies[index].rules,
            Holder::Defaults(index) => &mut self.defaults[index].rules,
        }
    }

    /// The mode of a section, as far as it was read.
    fn mode(&self, holder: Holder) -> Mode {
        match holder {
            Holder::Proxy(index) => self.proxies[index].settings.mode,
            Holder::Defaults(index) => self.defaults[index].settings.mode,
        }
    }

    /// How HAProxy names the section in these messages: `frontend 'p'`.
    pub(super) fn title(&self, holder: Holder) -> String {
        match holder {
            Holder::Proxy(index) => {
                let draft = &self.proxies[index];
                format!("{} '{}'", draft.kind.title(), draft.name)
            }
            Holder::Defaults(index) => format!("defaults '{}'", self.defaults[index].name),
        }
    }
}

/// Which part of a rule is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Arguments,
    Condition,
    /// A word that is neither an argument nor the start of a condition.
    Rest,
}

/// HAProxy's full stop, which it adds to whatever it has.
fn full_stop_once(text: String) -> String {
    text + "."
}
