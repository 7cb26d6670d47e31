//! HAProxy's warning for rules that stand after others that run later.

use super::super::{Holder, ProxyLines};
use crate::config::model::Pos;
use crate::rules::SetKind;

/// The kinds of rules whose order in a section is looked at, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(in super::super) enum Rank {
    TcpConnection,
    TcpSession,
    TcpContent,
    HttpRequest,
    UseBackend,
}

/// How the kinds are called, with their article.
const NAMES: [&str; 5] = [
    "a 'tcp-request connection'",
    "a 'tcp-request session'",
    "a 'tcp-request content'",
    "an 'http-request'",
    "a 'use_backend'",
];

impl Rank {
    /// The rank of a set's rules, if their order is looked at.
    pub fn of(set: SetKind) -> Option<Rank> {
        match set {
            SetKind::TcpConnection => Some(Rank::TcpConnection),
            SetKind::TcpSession => Some(Rank::TcpSession),
            SetKind::TcpContent => Some(Rank::TcpContent),
            SetKind::HttpRequest => Some(Rank::HttpRequest),
            SetKind::TcpResponse | SetKind::HttpResponse | SetKind::HttpAfterResponse => None,
        }
    }
}

impl ProxyLines<'_> {
    /// Notes that a rule of this kind stands here; warns when one that runs later came before it.
    pub(in super::super) fn note_order(&mut self, holder: Holder, rank: Rank, pos: &Pos) {
        let Holder::Proxy(index) = holder else {
            return;
        };
        let ranks = &mut self.proxies[index].ranks;
        let later = (rank as usize + 1..NAMES.len()).find(|later| *ranks & (1 << later) != 0);
        *ranks |= 1 << rank as u8;
        if let Some(later) = later {
            let what = match rank {
                Rank::TcpConnection | Rank::TcpSession | Rank::TcpContent => "tcp-request",
                Rank::HttpRequest => "http-request",
                Rank::UseBackend => "use_backend",
            };
            let text = format!(
                "a '{what}' rule placed after {} rule will still be processed before.",
                NAMES[later]
            );
            self.report.warning(pos, text);
        }
    }
}
