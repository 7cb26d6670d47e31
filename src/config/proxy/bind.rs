//! `bind` lines of frontends (configuration manual, 5.1).

use super::ProxyLines;
use crate::config::diag::Severity;
use crate::config::line::Line;
use crate::config::listen::{self, Owner, Params};
use crate::config::model::{AccessLevel, Pos};
use crate::net::Address;

/// One address of a `bind` line.
#[derive(Clone, Debug)]
pub(crate) struct BindDraft {
    /// Where it listens.
    pub address: Address,
    /// The word as it was written, for messages.
    pub word: String,
    /// The words after it.
    pub params: Params,
    /// Where it was declared.
    pub pos: Pos,
}

impl ProxyLines<'_> {
    /// `bind ADDRESS[,…] …`.
    pub fn bind_line(&mut self, index: usize, line: &Line) {
        let (word, pos) = (line.arg(1), &line.pos);
        if word.is_empty() {
            self.report.alert(
                pos,
                "'bind' expects {<path>|[addr1]:port1[-end1]}{,[addr]:port[-end]}... as arguments.",
            );
            return;
        }
        let addresses = match listen::addresses(word) {
            Ok(addresses) => addresses,
            Err(text) => {
                self.report.alert(pos, format!("'bind' : {text}"));
                return;
            }
        };
        let section = self.proxies[index].kind.keyword();
        let Some(params) = listen::parameters(line, 2, Owner::Bind { section }, self.report) else {
            return;
        };
        if let Some(id) = params.id
            && let Some(other) = self.proxies[index]
                .binds
                .iter()
                .find(|other| other.params.id == Some(id))
        {
            let text = format!(
                "'bind {word}' in section '{section}' : 'id' : custom id {id} already used at {}:{} ('bind {}')",
                other.pos.file, other.pos.line, other.word
            );
            self.report.alert(pos, text);
            return;
        }
        if params
            .level
            .is_some_and(|level| level != AccessLevel::Operator)
            || params.expose_listeners
        {
            let text = format!(
                "parsing [{}:{}] : 'bind {word}' : 'level' and 'expose-fd' have no effect in burdock: they are for 'stats socket'.",
                pos.file, pos.line
            );
            self.report.push(Severity::Notice, Some(pos), text);
        }
        for (position, mut address) in addresses.into_iter().enumerate() {
            // As in HAProxy, a custom id is that of the first address.
            let id = params.id.filter(|_| position == 0);
            let mut params = Params {
                id,
                ..params.clone()
            };
            self.global.unix_bind.apply(&mut address, &mut params);
            self.proxies[index].binds.push(BindDraft {
                address,
                word: word.to_owned(),
                params,
                pos: pos.clone(),
            });
        }
    }
}
