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
    MonitorFail,
    HttpRequest,
    Redirect,
    UseBackend,
    UseServer,
}

/// How the kinds are called, with their article.
const NAMES: [&str; 8] = [
    "a 'tcp-request connection'",
    "a 'tcp-request session'",
    "a 'tcp-request content'",
    "a 'monitor fail'",
    "an 'http-request'",
    "a 'redirect'",
    "a 'use_backend'",
    "a 'use-server'",
];

impl Rank {
    /// The rank of a set's rules, if their order is looked at.
    pub fn of(set: SetKind) -> Option<Rank> {
        match set {
            SetKind::TcpConnection => Some(Rank::TcpConnection),
            SetKind::TcpSession => Some(Rank::TcpSession),
            SetKind::TcpContent => Some(Rank::TcpContent),
            SetKind::HttpRequest => Some(Rank::HttpRequest),
            SetKind::Redirect => Some(Rank::Redirect),
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
        // The choice of a backend and that of a server are not compared.
        let first = match rank {
            Rank::UseBackend => NAMES.len(),
            _ => rank as usize + 1,
        };
        let later = (first..NAMES.len()).find(|later| *ranks & (1 << later) != 0);
        *ranks |= 1 << rank as u8;
        if let Some(later) = later {
            let what = match rank {
                Rank::TcpConnection | Rank::TcpSession | Rank::TcpContent => "tcp-request",
                Rank::MonitorFail => "monitor fail",
                Rank::HttpRequest => "http-request",
                Rank::Redirect => "redirect",
                Rank::UseBackend => "use_backend",
                Rank::UseServer => "use-server",
            };
            let text = format!(
                "a '{what}' rule placed after {} rule will still be processed before.",
                NAMES[later]
            );
            self.report.warning(pos, text);
        }
    }
}
