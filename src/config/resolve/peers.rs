//! Peers sections: whether this node is a member, the tables of each, where updates are written to.

use super::Resolver;
use crate::config::diag::Severity;
use crate::config::peers::PeersDraft;
use crate::config::proxy::{Draft, TableDraft};
use crate::log::TargetSpec;
use crate::net::Address;
use crate::net::listener::ListenOptions;
use crate::peers::{MemberSpec, PeersSpec};

impl Resolver<'_> {
    /// The tables about whose learning something is special. To be called while the drafts are there, before
    /// `peers_sections`.
    pub(super) fn receive_rules(&self, drafts: &[Draft]) -> Vec<TableDraft> {
        let of_proxies = drafts.iter().filter_map(|draft| draft.table.as_ref());
        let of_sections = self.peers.iter().flat_map(|section| &section.tables);
        of_sections
            .chain(of_proxies)
            .filter(|table| table.write_to.is_some() || table.recv_only)
            .cloned()
            .collect()
    }

    pub(super) fn peers_sections(
        &mut self,
        rules: &[TableDraft],
    ) -> (Vec<PeersSpec>, Vec<Vec<TargetSpec>>) {
        let drafts = std::mem::take(&mut self.peers);
        let mut specs = Vec::with_capacity(drafts.len());
        let mut logs = Vec::with_capacity(drafts.len());
        for draft in drafts {
            self.check_members(&draft);
            logs.push(self.log_targets(&draft.log));
            specs.push(self.peers_section(draft));
        }
        for rule in rules {
            self.apply_rule(rule, &mut specs);
        }
        (specs, logs)
    }

    fn peers_section(&mut self, draft: PeersDraft) -> PeersSpec {
        let tables = (0..self.tables.len())
            .filter(|index| self.tables[*index].peers.as_deref() == Some(draft.name.as_str()))
            .collect();
        let local = draft
            .members
            .iter()
            .find(|member| member.name == self.local_peer);
        // Without a local peer the section is incomplete, and its `bind` serves nobody.
        let (listen, pos) = match (&draft.bind, local) {
            (Some(bind), Some(_)) => (bind.addresses.clone(), &bind.pos),
            (None, Some(member)) => (member.address.clone().into_iter().collect(), &member.pos),
            (_, None) => (Vec::new(), &draft.pos),
        };
        let declared_at = format!("{}:{}", pos.file, pos.line);
        let params = draft
            .bind
            .as_ref()
            .map_or(&draft.bind_defaults, |bind| &bind.params);
        let listen_options = ListenOptions {
            // A few connections of each peer may come at once.
            backlog: params
                .backlog
                .unwrap_or((draft.members.len() as u32 * 4).max(16)),
            v6_only: params.v6_only.unwrap_or(false),
            transparent: params.transparent,
            interface: params.interface.clone(),
            defer_accept: params.defer_accept,
            fast_open: params.fast_open,
            mode: params.mode,
            uid: params.uid,
            gid: params.gid,
            ..ListenOptions::default()
        };
        // An old process finds its successor where both listen; of several addresses HAProxy takes the last one.
        let successor = match listen.last() {
            Some(Address::Fd(_)) | None => None,
            Some(address) => Some(address.clone()),
        };
        let members = draft.members.into_iter().map(|member| MemberSpec {
            source: member.params.source,
            shard: if member.name == self.local_peer {
                0
            } else {
                member.params.shard
            },
            address: if member.name == self.local_peer {
                member.address.or_else(|| successor.clone())
            } else {
                member.address
            },
            name: member.name,
        });
        PeersSpec {
            members: members.collect(),
            declared_at,
            name: draft.name,
            local_name: self.local_peer.to_owned(),
            listen,
            listen_options,
            disabled: draft.disabled,
            tables,
            shards: draft.shards,
            ..PeersSpec::default()
        }
    }

    fn apply_rule(&mut self, rule: &TableDraft, specs: &mut [PeersSpec]) {
        let place = format!("parsing [{}:{}] : ", rule.pos.file, rule.pos.line);
        let name = &rule.spec.name;
        let Some(source) = self.table(name) else {
            return;
        };
        let target = match &rule.write_to {
            Some(target) => match self.write_target(source, rule, target) {
                Ok(target) => Some(target),
                Err(text) => return self.alert(&rule.pos, format!("{place}{text}.")),
            },
            None => None,
        };
        let section = specs
            .iter_mut()
            .find(|section| section.tables.contains(&source));
        let Some(section) = section else {
            let text = format!(
                "{place}'write-to' and 'recv-only' have no effect on stick-table '{name}', which has no peers."
            );
            return self.warn(&rule.pos, text);
        };
        if rule.recv_only {
            section.recv_only.push(source);
        }
        section
            .write_to
            .extend(target.map(|target| (source, target)));
    }

    /// The table that `write-to` names, if it takes the same keys.
    fn write_target(&self, source: usize, rule: &TableDraft, name: &str) -> Result<usize, String> {
        let index = self
            .table(name)
            .ok_or_else(|| format!("unable to find stick-table '{name}' to write to"))?;
        let target = &self.tables[index];
        if index == source {
            return Err(format!("stick-table '{name}' cannot write to itself"));
        }
        if (target.key_type, target.key_len) != (rule.spec.key_type, rule.spec.key_len) {
            return Err(format!(
                "stick-table '{}' cannot write to '{name}', whose type or length is another",
                rule.spec.name
            ));
        }
        Ok(index)
    }

    /// A local peer that is a member, shards that exist.
    fn check_members(&mut self, draft: &PeersDraft) {
        for member in &draft.members {
            if member.params.shard > draft.shards && !draft.disabled {
                let text = format!(
                    "parsing [{}:{}] : peer '{}' : shard {} is ignored, 'peers {}' has {} shards; it is sent every key.",
                    member.pos.file,
                    member.pos.line,
                    member.name,
                    member.params.shard,
                    draft.name,
                    draft.shards
                );
                self.warn(&member.pos, text);
            }
        }
        let is_local = |name: &str| name == self.local_peer;
        for member in &draft.members {
            if draft.disabled || !self.clean {
                continue;
            }
            let name = &member.name;
            let what = match (is_local(name), &member.address, &draft.bind) {
                (false, None, _) => format!("peer '{name}' has no address: it is never dialled"),
                (false, Some(Address::Inet(address)), _) if address.port() == 0 => {
                    format!("peer '{name}' has no port that can be dialled")
                }
                (true, None, None) => {
                    "this node has no address there: nobody can dial it".to_owned()
                }
                _ => continue,
            };
            let text = format!(
                "parsing [{}:{}] : 'peers {}' : {what}.",
                member.pos.file, member.pos.line, draft.name
            );
            self.report.push(Severity::Notice, Some(&member.pos), text);
        }
        if draft.disabled || draft.members.iter().any(|member| is_local(&member.name)) {
            return;
        }
        let names: Vec<String> = draft
            .members
            .iter()
            .map(|member| format!("'{}'", member.name))
            .collect();
        let known = if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        };
        let text = format!(
            "Removing incomplete section 'peers {}' (no peer named '{}').\n   | This node will not replicate its tables. Known \
             names: {known}.\n   | Set this node's name with -L or 'localpeer'.\n   | The section begins at {}:{}.",
            draft.name, self.local_peer, draft.pos.file, draft.pos.line
        );
        self.warn(&draft.pos, text);
    }
}
