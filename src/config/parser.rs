//! Files into sections: reads the lines, obeys `.if` and its like, and gives each line to the file of its section.
//!
//! The parser never stops at an error within a section: all errors of all files are reported in one run, up to
//! [`ALERTS_MAX`] a file. Errors that HAProxy stops at (a broken `.if`, a section without a name) end their file.
//! Not here: what keywords mean (`global`, `proxy`, `peers`); references between sections (`resolve`).

use std::rc::Rc;

use super::condition::{self, ConditionError};
use super::diag::{Report, Severity};
use super::global::{GlobalDraft, GlobalLines};
use super::http_errors::{HttpErrorsDraft, HttpErrorsLines};
use super::keywords;
use super::lexer::{self, Environment, LexError};
use super::line::{Line, Prefix, Stop};
use super::model::{Pos, ProxyKind};
use super::peers::{PeersDraft, PeersLines};
use super::proxy::{Defaults, Draft, Holder, PageLink, ProxyLines};
use super::userlist::{UserListDraft, UserListLines};
use super::{ParseOptions, SourceFile};
use crate::sample::Registry;
use crate::sample::link::{self, Link};

/// The variable with the names of all files.
const CFGFILES: &str = "HAPROXY_CFGFILES";

/// Alerts after which a file is given up, as in HAProxy.
const ALERTS_MAX: usize = 50;

/// The section that lines belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// Before the first section of a file.
    Outside,
    Global,
    Settings(Holder),
    Peers(usize),
    HttpErrors(usize),
    UserList(usize),
    /// After a header that was refused, or a section that burdock does not support: lines are skipped.
    Skipped,
}

/// Everything that is known while files are read.
pub(super) struct Parser<'o> {
    pub options: &'o ParseOptions,
    pub environment: Environment,
    file_names: String,
    pub report: Report,
    pub global: GlobalDraft,
    pub defaults: Vec<Defaults>,
    pub proxies: Vec<Draft>,
    pub peers: Vec<PeersDraft>,
    /// Names in expressions that are looked up at the end.
    pub links: Vec<LinkDraft>,
    pub http_errors: Vec<HttpErrorsDraft>,
    pub user_lists: Vec<UserListDraft>,
    pub page_links: Vec<PageLink>,
    section: Section,
    section_name: String,
    /// HAProxy stopped reading this file; its closing line is then the only one.
    pub aborted: bool,
    /// What expressions share.
    pub registry: Registry,
}

/// A name in an expression that is not looked up yet.
pub(super) struct LinkDraft {
    pub link: Rc<Link>,
    /// First word of its line.
    pub keyword: String,
    /// The proxy that the line belongs to; `None` in any other section.
    pub proxy: Option<usize>,
    pub pos: Pos,
}

/// One level of `.if`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Branch {
    /// Lines are taken.
    Taken,
    /// No branch was taken so far.
    Waiting,
    /// A branch was taken, or the whole block lies in one that is not.
    Done,
    /// `.else` came, and is taken.
    ElseTaken,
    /// `.else` came, and is not.
    ElseSkipped,
}

impl Branch {
    fn takes(self) -> bool {
        matches!(self, Branch::Taken | Branch::ElseTaken)
    }
}

impl<'o> Parser<'o> {
    /// A parser for these files.
    pub fn new(options: &'o ParseOptions, files: &[SourceFile]) -> Parser<'o> {
        let mut environment: Environment = options.environment.iter().cloned().collect();
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        let file_names = names.join(";");
        environment.insert(CFGFILES.into(), file_names.clone());
        environment.insert(
            "HAPROXY_LOCALPEER".into(),
            options.local_peer_name().to_owned(),
        );
        if options.master_worker {
            environment.insert("HAPROXY_MWORKER".into(), "1".into());
        }
        let registry = Registry::new();
        registry.set_environment(&environment);
        Parser {
            options,
            environment,
            file_names,
            report: Report::default(),
            global: GlobalDraft::new(options),
            defaults: Vec::new(),
            proxies: Vec::new(),
            peers: Vec::new(),
            links: Vec::new(),
            http_errors: Vec::new(),
            user_lists: Vec::new(),
            page_links: Vec::new(),
            section: Section::Outside,
            section_name: String::new(),
            aborted: false,
            registry,
        }
    }

    /// The environment that the process is to have. `resetenv` does not keep HAProxy from telling the names of the files.
    pub fn take_environment(&mut self) -> Vec<(String, String)> {
        let mut environment = std::mem::take(&mut self.environment);
        environment.insert(CFGFILES.into(), self.file_names.clone());
        environment.into_iter().collect()
    }

    /// Reads one file. Its end ends its last section.
    pub fn read(&mut self, file: &SourceFile) {
        self.section = Section::Outside;
        self.section_name.clear();
        let before = self.report.alerts();
        let name: Rc<str> = file.name.as_str().into();
        let mut branches = Vec::new();
        let mut line_number = 0;
        let mut given_up = false;
        for bytes in file.text.split_inclusive(|byte| *byte == b'\n') {
            line_number += 1;
            let pos = Pos {
                file: name.clone(),
                line: line_number,
            };
            match self.line(bytes, pos, &mut branches) {
                Ok(()) => {}
                Err(Stop) => {
                    self.aborted = true;
                    given_up = true;
                    break;
                }
            }
            if self.report.alerts() - before >= ALERTS_MAX {
                let pos = Pos {
                    file: name.clone(),
                    line: line_number,
                };
                self.report.tight_alert(
                    &pos,
                    format!("too many fatal errors ({ALERTS_MAX}), stopping now."),
                );
                given_up = true;
                break;
            }
        }
        if !given_up {
            self.end_of_file(file, name, line_number, &branches);
        }
        if self.report.alerts() > before {
            let text = format!("Error(s) found in configuration file : {}", file.name);
            self.report.push(Severity::Alert, None, text);
        }
    }

    fn end_of_file(&mut self, file: &SourceFile, name: Rc<str>, lines: u32, branches: &[Branch]) {
        let pos = Pos {
            file: name,
            line: lines,
        };
        let last = file
            .text
            .rsplit(|byte| *byte == b'\n')
            .next()
            .unwrap_or(&[]);
        if !last.is_empty() {
            let position = last.len() + 1;
            self.report.tight_alert(&pos, format!("Missing LF on last line, file might have been truncated at position {position}."));
        }
        if !branches.is_empty() {
            self.report.tight_alert(&pos, "non-terminated '.if' block.");
            self.aborted = true;
        }
    }

    fn line(&mut self, bytes: &[u8], pos: Pos, branches: &mut Vec<Branch>) -> Result<(), Stop> {
        let place = lexer::Place {
            file: &pos.file,
            line: pos.line,
            section: &self.section_name,
        };
        let nul = bytes.iter().position(|byte| *byte == 0);
        let words = match lexer::words(
            &bytes[..nul.unwrap_or(bytes.len())],
            &self.environment,
            place,
        ) {
            Ok(words) => words,
            Err(LexError::At(text) | LexError::TooManyWords(text)) => {
                self.report.tight_alert(&pos, &text);
                return Ok(());
            }
            Err(LexError::NotUtf8(word)) => {
                self.report.tight_alert(
                    &pos,
                    format!("'{word}' is not valid UTF-8, which burdock does not support."),
                );
                return Ok(());
            }
        };
        let line = Line::new(words, pos);
        if !line.arg(0).is_empty() {
            if line.arg(0).starts_with('.') {
                self.directive(&line, branches)?;
            } else if branches.last().is_none_or(|branch| branch.takes()) {
                let outcome = self.statement(line.clone());
                self.note_links(&line);
                outcome?;
            }
        }
        if let Some(nul) = nul {
            self.report.tight_alert(
                &line.pos,
                format!("Stray NUL character at position {}.", nul + 1),
            );
        }
        Ok(())
    }

    /// Keeps the names that a line's expressions refer to.
    fn note_links(&mut self, line: &Line) {
        let proxy = match self.section {
            Section::Settings(Holder::Proxy(index)) => Some(index),
            _ => None,
        };
        for link in link::collect() {
            self.links.push(LinkDraft {
                link,
                keyword: line.arg(0).to_owned(),
                proxy,
                pos: line.pos.clone(),
            });
        }
    }

    /// A line that starts with a dot.
    fn directive(&mut self, line: &Line, branches: &mut Vec<Branch>) -> Result<(), Stop> {
        let (word, pos) = (line.arg(0), &line.pos);
        let active = branches.last().is_none_or(|branch| branch.takes());
        match word {
            ".if" => {
                let branch = match active {
                    false => Branch::Done,
                    true if self.directive_condition(line)? => Branch::Taken,
                    true => Branch::Waiting,
                };
                branches.push(branch);
            }
            ".elif" => {
                let Some(last) = branches.last().copied() else {
                    return self.stop(pos, "lone '.elif' with no matching '.if'.");
                };
                let next = match last {
                    Branch::ElseTaken | Branch::ElseSkipped => {
                        return self.stop(pos, "'.elif' after '.else' is not permitted.");
                    }
                    Branch::Taken | Branch::Done => Branch::Done,
                    Branch::Waiting if self.directive_condition(line)? => Branch::Taken,
                    Branch::Waiting => Branch::Waiting,
                };
                branches.pop();
                branches.push(next);
            }
            ".else" | ".endif" => {
                if !line.arg(1).is_empty() {
                    self.report.tight_alert(
                        pos,
                        format!("Unexpected argument '{}' for '{word}'.", line.arg(1)),
                    );
                    if !branches.is_empty() {
                        self.report.tight_alert(pos, "non-terminated '.if' block.");
                    }
                    return Err(Stop);
                }
                let Some(last) = branches.pop() else {
                    return self.stop(pos, &format!("lone '{word}' with no matching '.if'."));
                };
                if word == ".else" {
                    branches.push(match last {
                        Branch::ElseTaken | Branch::ElseSkipped => {
                            return self.stop(pos, "'.else' after '.else' is not permitted.");
                        }
                        Branch::Waiting => Branch::ElseTaken,
                        Branch::Taken | Branch::Done => Branch::ElseSkipped,
                    });
                }
            }
            _ if !active => {}
            ".alert" | ".warning" | ".notice" | ".diag" => return self.message(line),
            _ => {
                self.report
                    .tight_alert(pos, format!("unknown directive '{word}'."));
                self.section = Section::Skipped;
            }
        }
        Ok(())
    }

    fn stop(&mut self, pos: &Pos, text: &str) -> Result<(), Stop> {
        self.report.tight_alert(pos, text);
        Err(Stop)
    }

    fn directive_condition(&mut self, line: &Line) -> Result<bool, Stop> {
        let text = line.from(1).join(" ");
        match condition::evaluate(&text, &self.environment) {
            Ok(value) => Ok(value),
            Err(ConditionError { text: what, offset }) => {
                let word = line.arg(0);
                let shown = format!("{word} {text}");
                let excerpt = lexer::excerpt(shown.as_bytes(), word.len() + 1 + offset);
                let position = offset + 1;
                self.report.tight_alert(
                    &line.pos,
                    format!("{what} in '{word}' at position {position}:\n{excerpt}"),
                );
                Err(Stop)
            }
        }
    }

    /// `.alert`, `.warning`, `.notice`, `.diag`.
    fn message(&mut self, line: &Line) -> Result<(), Stop> {
        let (word, pos) = (line.arg(0), &line.pos);
        if !line.arg(2).is_empty() {
            let text = format!(
                "Unexpected argument '{}' for '{word}'. Use quotes if the message should contain spaces.",
                line.arg(2)
            );
            self.report.tight_alert(pos, &text);
            return Ok(());
        }
        let severity = match word {
            ".alert" => Severity::Alert,
            ".warning" => Severity::Warning,
            ".notice" => Severity::Notice,
            _ => Severity::Diag,
        };
        if severity == Severity::Diag && !self.options.diagnostic {
            return Ok(());
        }
        let text = format!("parsing [{}:{}]: '{}'.", pos.file, pos.line, line.arg(1));
        self.report.push(severity, Some(pos), text);
        if severity == Severity::Alert {
            Err(Stop)
        } else {
            Ok(())
        }
    }

    /// A line that is no directive: the header of a section, or a keyword of the current one.
    fn statement(&mut self, mut line: Line) -> Result<(), Stop> {
        self.registry.at(&line.pos.file, line.pos.line);
        let keyword = line.arg(0).to_owned();
        if self.header(&keyword, &line)? {
            return Ok(());
        }
        let prefix = match keyword.as_str() {
            "no" => Prefix::No,
            "default" => Prefix::Default,
            _ => Prefix::None,
        };
        if prefix != Prefix::None && self.section != Section::Outside {
            line.shift();
            let known = match line.arg(0) {
                "option" => true,
                "log"
                | "busy-polling"
                | "set-dumpable"
                | "strict-limits"
                | "insecure-fork-wanted"
                | "numa-cpu-mapping" => prefix == Prefix::No,
                _ => false,
            };
            if !known && self.section != Section::Skipped {
                self.report.tight_alert(
                    &line.pos,
                    "negation/default currently supported only for options, log, busy-polling, set-dumpable, \
                     strict-limits, insecure-fork-wanted and numa-cpu-mapping.",
                );
                return Ok(());
            }
        }
        match self.section {
            Section::Outside => self.report.tight_alert(
                &line.pos,
                format!("unknown keyword '{keyword}' out of section."),
            ),
            Section::Skipped => {}
            Section::Global => self.global_line(&line, prefix),
            Section::Settings(holder) => self.proxy_lines().line(holder, &line, prefix),
            Section::Peers(index) => self.peers_lines().line(index, &line, prefix),
            Section::HttpErrors(index) => self.http_errors_lines().line(index, &line, prefix),
            Section::UserList(index) => self.user_list_lines().line(index, &line),
        }
        Ok(())
    }

    /// Enters a section when the line is the header of one.
    fn header(&mut self, keyword: &str, line: &Line) -> Result<bool, Stop> {
        let section = match keyword {
            "global" => {
                line.too_many(0, 0, &mut self.report);
                Section::Global
            }
            "defaults" => {
                Section::Settings(Holder::Defaults(self.proxy_lines().defaults_header(line)?))
            }
            "frontend" => Section::Settings(Holder::Proxy(
                self.proxy_lines().header(line, ProxyKind::Frontend)?,
            )),
            "backend" => Section::Settings(Holder::Proxy(
                self.proxy_lines().header(line, ProxyKind::Backend)?,
            )),
            "listen" => Section::Settings(Holder::Proxy(
                self.proxy_lines().header(line, ProxyKind::Listen)?,
            )),
            "peers" => Section::Peers(self.peers_lines().header(line)?),
            "http-errors" => Section::HttpErrors(self.http_errors_lines().header(line)?),
            "userlist" => Section::UserList(self.user_list_lines().header(line)),
            _ => {
                let Some((_, hint)) = keywords::FOREIGN_SECTIONS
                    .iter()
                    .find(|(name, _)| *name == keyword)
                else {
                    return Ok(false);
                };
                let instead = if hint.is_empty() {
                    String::new()
                } else {
                    format!("; use {hint}")
                };
                self.report.alert(
                    &line.pos,
                    format!("section '{keyword}' is known to HAProxy but not supported by burdock{instead}."),
                );
                Section::Skipped
            }
        };
        self.section = section;
        self.section_name = if line.arg(1).is_empty() {
            keyword
        } else {
            line.arg(1)
        }
        .to_owned();
        Ok(true)
    }

    fn global_line(&mut self, line: &Line, prefix: Prefix) {
        GlobalLines {
            global: &mut self.global,
            report: &mut self.report,
            environment: &mut self.environment,
            options: self.options,
            proxy_count: self.proxies.len(),
            peers_count: self.peers.len(),
            registry: &self.registry,
        }
        .line(line, prefix);
    }

    fn proxy_lines(&mut self) -> ProxyLines<'_> {
        ProxyLines {
            proxies: &mut self.proxies,
            defaults: &mut self.defaults,
            report: &mut self.report,
            pages: &mut self.page_links,
            global: &self.global,
            registry: &self.registry,
        }
    }

    fn peers_lines(&mut self) -> PeersLines<'_> {
        PeersLines {
            peers: &mut self.peers,
            report: &mut self.report,
            local_name: self.global.local_peer_name(self.options),
        }
    }

    fn user_list_lines(&mut self) -> UserListLines<'_> {
        UserListLines {
            lists: &mut self.user_lists,
            report: &mut self.report,
        }
    }

    fn http_errors_lines(&mut self) -> HttpErrorsLines<'_> {
        HttpErrorsLines {
            sections: &mut self.http_errors,
            report: &mut self.report,
            global: &self.global,
        }
    }

    /// The name of this node as far as it is known: `-L`, `localpeer`, the host name.
    pub fn local_peer_name(&self) -> &str {
        self.global.local_peer_name(self.options)
    }
}
