//! What names in expressions stand for: tables, proxies, servers (`sample::link` collects them while lines are read).
//!
//! Not here: names that lines of their own refer to (`use_backend`, `stick on … table`).

use super::{Draft, LinkDraft, Resolver};
use crate::config::diag::Severity;
use crate::config::model::ProxyKind;
use crate::sample;
use crate::sample::link::{Link, LinkKind, Target};

impl Resolver<'_> {
    /// Looks up what a name in an expression stands for.
    pub(super) fn link(&mut self, draft: &LinkDraft, drafts: &[Draft]) {
        if let LinkKind::TableOfKey(key) = draft.link.kind {
            return self.table_of_key(draft, key);
        }
        let own = draft.proxy.map_or("", |proxy| &self.names[proxy].name);
        let place = draft.link.place.borrow();
        let rule = match draft.keyword.as_str() {
            _ if !place.contains("sample fetch keyword") => "",
            "http-request" => " in http-request expression",
            "http-response" => " in http-response response",
            "use_backend" => " in use_backend expression",
            "tcp-request" => " in tracking rule",
            "stick" => " in stick rule",
            "log-format" | "log-format-sd" | "error-log-format" => " in log-format string",
            "unique-id-format" => " in unique-id-format string",
            _ => "",
        };
        let place = format!("{place}{rule} in proxy '{own}'");
        match self.target(&draft.link, drafts, own, &place) {
            Ok(target) => draft.link.resolve(target),
            Err(what) => {
                let text = format!("parsing [{}:{}]: {what}.", draft.pos.file, draft.pos.line);
                self.report.push(Severity::Alert, Some(&draft.pos), text);
            }
        }
    }

    /// Looks up the table of a rule that makes keys of its own.
    fn table_of_key(&mut self, draft: &LinkDraft, key: sample::Type) {
        let own = draft.proxy.map_or("", |proxy| &self.names[proxy].name);
        let (link, place) = (&draft.link, draft.link.place.borrow());
        let name = if link.name.is_empty() {
            own
        } else {
            &link.name
        };
        let text = match self.table(name) {
            Some(index) if sample::can_be_key(key, self.tables[index].key_type) => {
                return link.resolve(Target { index, server: 0 });
            }
            Some(_) => {
                format!("stick-table '{name}' uses a type incompatible with the '{place}' rule.")
            }
            None => format!("unable to find table '{name}' referenced by {place}."),
        };
        let text = format!("Proxy '{own}': {text}");
        self.report.push(Severity::Alert, Some(&draft.pos), text);
    }

    /// What the name of a link stands for; an error in HAProxy's words.
    fn target(
        &self,
        link: &Link,
        drafts: &[Draft],
        own: &str,
        place: &str,
    ) -> Result<Target, String> {
        let name = if link.name.is_empty() {
            own
        } else {
            &link.name
        };
        let index = match link.kind {
            LinkKind::Table | LinkKind::TableOfKey(_) => self
                .table(name)
                .ok_or_else(|| format!("unable to find table '{name}' referenced in {place}")),
            LinkKind::Frontend => self.capable(name, ProxyKind::is_frontend, "frontend", place),
            LinkKind::Backend => self.capable(name, ProxyKind::is_backend, "backend", place),
            LinkKind::UserList if link.name.is_empty() => {
                Err(format!("missing userlist name in {place}"))
            }
            LinkKind::UserList => {
                let lists = self.samples.user_lists();
                let found = lists.iter().position(|list| list.name == link.name);
                found.ok_or_else(|| {
                    format!("unable to find userlist '{name}' referenced in {place}")
                })
            }
            LinkKind::Server if link.name.is_empty() => {
                Err(format!("missing server name in {place}"))
            }
            LinkKind::Server => return self.server_target(&link.name, drafts, own, place),
        }?;
        Ok(Target { index, server: 0 })
    }

    /// The proxy of that name with a capability.
    fn capable(
        &self,
        name: &str,
        is_capable: fn(ProxyKind) -> bool,
        capability: &str,
        place: &str,
    ) -> Result<usize, String> {
        let mut named = self
            .names
            .iter()
            .zip(0..)
            .filter(|(other, _)| other.name == name);
        match named.clone().find(|(other, _)| is_capable(other.kind)) {
            Some((_, index)) => Ok(index),
            None if named.next().is_some() => Err(format!(
                "proxy '{name}', referenced in {place}, has not {capability} capability"
            )),
            None => Err(format!(
                "unable to find {capability} '{name}' referenced in {place}"
            )),
        }
    }

    /// `[backend/]server`; without a backend, of the line's own proxy.
    fn server_target(
        &self,
        name: &str,
        drafts: &[Draft],
        own: &str,
        place: &str,
    ) -> Result<Target, String> {
        let (proxy, server) = name.split_once('/').unwrap_or((own, name));
        let is_own = !name.contains('/');
        let index = drafts
            .iter()
            .position(|draft| draft.name == proxy && (is_own || draft.kind.is_backend()))
            .ok_or_else(|| format!("unable to find proxy '{proxy}' referenced in {place}"))?;
        let servers = &drafts[index].servers;
        let server = servers
            .iter()
            .position(|other| other.name == server)
            .ok_or_else(|| {
                format!(
                    "unable to find server '{server}' in proxy '{proxy}', referenced in {place}"
                )
            })?;
        Ok(Target { index, server })
    }
}
