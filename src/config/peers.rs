//! `peers` sections (configuration manual, 3.5).
//!
//! Not here: whether this node is a member (`resolve`): its name may be given after the section.

use super::diag::{Report, Severity};
use super::keywords;
use super::line::{Line, Prefix, Stop, invalid_name};
use super::listen::{self, Owner, Params};
use super::log_line::{self, LogLine};
use super::model::Pos;
use super::proxy::{parse_table, peer_parameters};
use crate::net::Address;
use crate::net::address::{self, Usage};
use crate::stick::TableSpec;

/// A peers section as it was written.
#[derive(Debug)]
pub(super) struct PeersDraft {
    pub name: String,
    pub pos: Pos,
    pub members: Vec<MemberDraft>,
    /// The address of the `bind` line.
    pub bind: Option<(Address, Pos)>,
    pub disabled: bool,
    pub tables: Vec<(TableSpec, Pos)>,
    pub log: Vec<LogLine>,
    /// `default-bind`.
    bind_defaults: Params,
}

/// A `peer` or `server` line.
#[derive(Debug)]
pub(super) struct MemberDraft {
    pub name: String,
    pub address: Option<Address>,
    pub pos: Pos,
    /// It was written `peer`, whose address is where a local peer listens.
    pub old_style: bool,
}

/// The peers sections at work.
pub(super) struct PeersLines<'a> {
    pub peers: &'a mut Vec<PeersDraft>,
    pub report: &'a mut Report,
    /// This node, as far as it is known.
    pub local_name: &'a str,
}

impl PeersLines<'_> {
    /// `peers NAME`.
    pub fn header(&mut self, line: &Line) -> Result<usize, Stop> {
        let (name, pos) = (line.arg(1), &line.pos);
        if name.is_empty() {
            self.report.alert(pos, "missing name for peers section.");
            return Err(Stop);
        }
        line.too_many(1, 0, self.report);
        invalid_name(name, "'peers' name", pos, self.report);
        if let Some(other) = self.peers.iter().find(|other| other.name == name) {
            let text = format!(
                "Parsing [{}:{}]: peers section '{name}' has the same name as another peers section declared at {}:{}.",
                pos.file, pos.line, other.pos.file, other.pos.line
            );
            self.report.push(Severity::Alert, Some(pos), text);
        }
        self.peers.push(PeersDraft {
            name: name.to_owned(),
            pos: pos.clone(),
            members: Vec::new(),
            bind: None,
            disabled: false,
            tables: Vec::new(),
            log: Vec::new(),
            bind_defaults: Params::default(),
        });
        Ok(self.peers.len() - 1)
    }

    /// A line of a peers section.
    pub fn line(&mut self, index: usize, line: &Line, prefix: Prefix) {
        if prefix == Prefix::No && line.arg(0) != "log" {
            self.report.alert(
                &line.pos,
                format!("unknown keyword '{}' in 'peers' section", line.arg(0)),
            );
            return;
        }
        if !line.is_supported(keywords::PEERS, "peers", self.report) {
            return;
        }
        match line.arg(0) {
            "peer" | "server" => self.peer_line(index, line),
            "bind" => self.peers_bind(index, line),
            "default-bind" => {
                let mut params = self.peers[index].bind_defaults.clone();
                let owner = Owner::Bind { section: "peers" };
                if listen::extend(&mut params, line, 1, owner, self.report) {
                    self.peers[index].bind_defaults = params;
                }
            }
            "default-server" => {
                let who = format!("[{}:{}] : ", line.pos.file, line.pos.line);
                peer_parameters(line, 1, &who, self.report);
            }
            "table" => self.peers_table(index, line),
            "disabled" => self.peers[index].disabled = true,
            "enabled" => self.peers[index].disabled = false,
            _ => self.peers_log(index, line, prefix),
        }
    }

    fn peers_log(&mut self, index: usize, line: &Line, prefix: Prefix) {
        if prefix == Prefix::No {
            self.peers[index].log.clear();
            return;
        }
        match log_line::parse(line, false) {
            Ok(log) => self.peers[index].log.push(log),
            Err(text) => self.report.alert(&line.pos, format!("log : {text}")),
        }
    }

    fn peer_line(&mut self, index: usize, line: &Line) {
        let (word, name, pos) = (line.arg(0), line.arg(1), &line.pos);
        if name.is_empty() {
            self.report.alert(
                pos,
                format!("'{word}' expects a name and <addr>:<port> as arguments."),
            );
            return;
        }
        let old_style = word == "peer";
        if old_style && self.peers[index].bind.is_some() {
            self.report
                .alert(pos, "mixing \"peer\" and \"bind\" line is forbidden");
            return;
        }
        let who = format!(
            "[{}:{}] : '{word} {}/{name}' : ",
            pos.file, pos.line, self.peers[index].name
        );
        let local = name == self.local_name;
        // A local peer's address may be an inherited socket; all others are dialled.
        let usage = if local { Usage::Listen } else { Usage::Server };
        let mut address = None;
        let mut start = 2;
        if !line.arg(2).is_empty() && (!local || old_style) {
            match address::parse(line.arg(2), usage) {
                Ok(parsed) => address = Some(parsed.address),
                Err(error) => {
                    self.report
                        .push(Severity::Alert, Some(pos), format!("{who}{error}"));
                    return;
                }
            }
            start = 3;
        }
        if !peer_parameters(line, start, &who, self.report) {
            return;
        }
        let member = MemberDraft {
            name: name.to_owned(),
            address,
            pos: pos.clone(),
            old_style,
        };
        self.peers[index].members.push(member);
    }

    fn peers_bind(&mut self, index: usize, line: &Line) {
        let (word, pos) = (line.arg(1), &line.pos);
        if word.is_empty() {
            return;
        }
        if self.peers[index]
            .members
            .iter()
            .any(|member| member.old_style)
        {
            self.report
                .alert(pos, "mixing \"peer\" and \"bind\" line is forbidden");
            return;
        }
        if let Some((_, other)) = &self.peers[index].bind {
            let text = format!(
                "One listener per \"peers\" section is authorized but another is already configured at [{}:{}].",
                other.file, other.line
            );
            self.report.alert(pos, text);
            return;
        }
        let addresses = match listen::addresses(word) {
            Ok(addresses) => addresses,
            Err(text) => {
                self.report.alert(pos, format!("'bind' : {text}"));
                return;
            }
        };
        let mut params = self.peers[index].bind_defaults.clone();
        let owner = Owner::Bind { section: "peers" };
        if !listen::extend(&mut params, line, 2, owner, self.report) {
            return;
        }
        let mut addresses = addresses.into_iter();
        let Some(address) = addresses.next() else {
            return;
        };
        if addresses.next().is_some() {
            self.report.alert(
                pos,
                "'bind' : several addresses are known to HAProxy but not supported by burdock in a peers section; the \
                 nearest that is: one address.",
            );
            return;
        }
        self.peers[index].bind = Some((address, pos.clone()));
    }

    fn peers_table(&mut self, index: usize, line: &Line) {
        let section = self.peers[index].name.clone();
        let name = line.arg(1).to_owned();
        let global_name = format!("{section}/{name}");
        let Some(mut spec) = parse_table(
            line,
            2,
            "table",
            &global_name,
            &format!("/{name}"),
            self.report,
        ) else {
            return;
        };
        if let Some((_, at)) = self.peers[index]
            .tables
            .iter()
            .find(|(other, _)| other.name == global_name)
        {
            let text = format!(
                "stick-table name '{global_name}' conflicts with table declared in peers section '{section}' at {}:{}.",
                at.file, at.line
            );
            self.report.alert(&line.pos, text);
            return;
        }
        spec.peers = Some(section);
        self.peers[index].tables.push((spec, line.pos.clone()));
    }
}
