//! `peers` sections (configuration manual, 3.5).
//!
//! Not here: whether this node is a member (`resolve`): its name may be given after the section.

use super::diag::{Report, Severity};
use super::keywords;
use super::line::{Line, Prefix, Stop, invalid_character, invalid_name};
use super::listen::{self, Owner, Params};
use super::log_line::{self, LogLine};
use super::model::Pos;
use super::proxy::{PeerParams, TableDraft, parse_table, peer_parameters};
use crate::net::Address;
use crate::net::address::{self, Usage};

/// A peers section as it was written.
#[derive(Debug)]
pub(super) struct PeersDraft {
    pub name: String,
    pub pos: Pos,
    pub members: Vec<MemberDraft>,
    pub bind: Option<PeersBind>,
    pub disabled: bool,
    pub tables: Vec<TableDraft>,
    pub log: Vec<LogLine>,
    /// `shards`; 0 without it.
    pub shards: u32,
    /// `default-bind`.
    pub bind_defaults: Params,
    /// `default-server`.
    peer_defaults: PeerParams,
}

/// The `bind` line.
#[derive(Debug)]
pub(super) struct PeersBind {
    /// At least one.
    pub addresses: Vec<Address>,
    pub params: Params,
    pub pos: Pos,
}

/// A `peer` or `server` line.
#[derive(Debug)]
pub(super) struct MemberDraft {
    pub name: String,
    pub address: Option<Address>,
    pub params: PeerParams,
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
            shards: 0,
            bind_defaults: Params::default(),
            peer_defaults: PeerParams::default(),
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
                let mut params = self.peers[index].peer_defaults.clone();
                if peer_parameters(&mut params, line, 1, false, &who, self.report) {
                    self.peers[index].peer_defaults = params;
                }
            }
            "shards" => self.shards(index, line),
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

    /// `shards N` (HAProxy 2.7).
    fn shards(&mut self, index: usize, line: &Line) {
        let value = line.arg(1);
        if line.too_many(1, 0, self.report) {
            return;
        }
        match value.parse::<u32>() {
            Ok(shards) if shards > 0 => self.peers[index].shards = shards,
            _ if value.is_empty() => self.report.alert(
                &line.pos,
                "'shards' : missing number of shards (a positive integer is expected).",
            ),
            _ => self.report.alert(
                &line.pos,
                format!("'shards' : invalid number '{value}' (a positive integer is expected)."),
            ),
        }
    }

    fn peer_line(&mut self, index: usize, line: &Line) {
        let (word, name, pos) = (line.arg(0), line.arg(1), &line.pos);
        if name.is_empty() {
            // HAProxy skips it without a word.
            let text = format!("'{word}' without a name is ignored.");
            self.report.warning(pos, text);
            return;
        }
        let place = format!("[{}:{}] : ", pos.file, pos.line);
        if let Some(bad) = invalid_character(name) {
            // HAProxy calls both by their first word.
            let what = if word == "peer" { "peer" } else { "server" };
            let text =
                format!("{place}character '{bad}' is not permitted in {what} name '{name}'.");
            self.report.push(Severity::Alert, Some(pos), text);
            return;
        }
        let old_style = word == "peer";
        if old_style && self.peers[index].bind.is_some() {
            self.report
                .alert(pos, "mixing \"peer\" and \"bind\" line is forbidden");
            return;
        }
        let local = name == self.local_name;
        let with_address = !local || old_style;
        let mut draft = MemberDraft {
            name: name.to_owned(),
            address: None,
            params: self.peers[index].peer_defaults.clone(),
            pos: pos.clone(),
            old_style,
        };
        // HAProxy names the local peer where the section's name belongs.
        let who = format!("{place}'server {}/{name}' : ", self.local_name);
        let mut start = 2;
        if with_address && !line.arg(2).is_empty() {
            draft.address = self.member_address(line, local, &who);
            start = 3;
        }
        if draft.address.is_some() || start == 2 {
            peer_parameters(
                &mut draft.params,
                line,
                start,
                with_address,
                &who,
                self.report,
            );
        }
        self.add_member(index, draft, line);
    }

    /// The address of a `peer` or `server` line; errors are reported.
    fn member_address(&mut self, line: &Line, local: bool, who: &str) -> Option<Address> {
        let (word, pos) = (line.arg(2), &line.pos);
        let dialled = address::parse(word, Usage::Server);
        if !local {
            return match dialled {
                Ok(parsed) => Some(parsed.address),
                Err(error) => {
                    let text = format!("{who}{error}");
                    self.report.push(Severity::Alert, Some(pos), text);
                    None
                }
            };
        }
        // A local peer's address is listened on, and may be an inherited socket.
        match address::parse(word, Usage::Listen) {
            Ok(parsed) => {
                let several = match parsed.address {
                    Address::Inet(first) => parsed.last_port != first.port(),
                    _ => false,
                };
                if several {
                    let text = format!("{who}port range not permitted here in '{word}'");
                    self.report.push(Severity::Alert, Some(pos), text);
                }
                Some(parsed.address)
            }
            Err(error) => {
                let text = format!("'{} {}' : {error}", line.arg(0), line.arg(1));
                self.report.alert(pos, text);
                None
            }
        }
    }

    fn add_member(&mut self, index: usize, draft: MemberDraft, line: &Line) {
        let members = &mut self.peers[index].members;
        let local = draft.name == self.local_name;
        if let Some(first) = members
            .iter()
            .find(|member| local && member.name == draft.name)
        {
            let text = format!(
                "'{} {}' : local peer name already referenced at {}:{}. {}",
                line.arg(0),
                draft.name,
                first.pos.file,
                first.pos.line,
                draft.name
            );
            self.report.alert(&line.pos, text);
            return;
        }
        members.push(draft);
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
        if let Some(PeersBind { pos: other, .. }) = &self.peers[index].bind {
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
                self.report.alert(pos, format!("'bind {word}' : {text}"));
                return;
            }
        };
        let mut params = self.peers[index].bind_defaults.clone();
        let owner = Owner::Bind { section: "peers" };
        if !listen::extend(&mut params, line, 2, owner, self.report) {
            return;
        }
        for (without_effect, word) in [
            (params.maxconn.is_some(), "maxconn"),
            (params.level.is_some(), "level"),
            (params.expose_listeners, "expose-fd"),
        ] {
            if without_effect {
                let text = format!(
                    "parsing [{}:{}] : 'bind {}' in section 'peers' : '{word}' has no effect in burdock on peers.",
                    pos.file,
                    pos.line,
                    line.arg(1)
                );
                self.report.push(Severity::Notice, Some(pos), text);
            }
        }
        self.peers[index].bind = Some(PeersBind {
            addresses,
            params,
            pos: pos.clone(),
        });
    }

    fn peers_table(&mut self, index: usize, line: &Line) {
        let section = self.peers[index].name.clone();
        let name = line.arg(1).to_owned();
        let global_name = format!("{section}/{name}");
        let Some(mut table) = parse_table(
            line,
            2,
            "table",
            &global_name,
            &format!("/{name}"),
            self.report,
        ) else {
            return;
        };
        if let Some(TableDraft { pos: at, .. }) = self.peers[index]
            .tables
            .iter()
            .find(|other| other.spec.name == global_name)
        {
            let text = format!(
                "stick-table name '{global_name}' conflicts with table declared in peers '{section}' at {}:{}.",
                at.file, at.line
            );
            self.report.alert(&line.pos, text);
            return;
        }
        table.spec.peers = Some(section);
        self.peers[index].tables.push(table);
    }
}
