//! The peers protocol: wire (codec), session and group (state machines, no sockets), link (their sockets).

pub mod context;
pub mod event;
pub mod fault;
pub mod group;
pub mod hello;
mod lag;
pub mod link;
mod receive;
mod send;
pub mod session;
mod show;
pub mod wire;

pub use event::{PeerEvent, Severity};
pub use link::{Peers, PeersView, ShowPeers};

use crate::net::Address;

/// A `peers` section.
#[derive(Clone, Debug)]
pub struct PeersSpec {
    /// Section name.
    pub name: String,
    /// Name of the local peer (may be no member of the section; then it is not started).
    pub local_name: String,
    /// Members in declaration order.
    pub members: Vec<MemberSpec>,
    /// Where the local peer listens.
    pub listen: Option<Address>,
    /// `disabled`.
    pub disabled: bool,
    /// Indices in `Config::tables` of the tables that the section replicates, in declaration order.
    pub tables: Vec<usize>,
    /// File and line of what makes the local peer listen, else of the section; for messages.
    pub declared_at: String,
}

/// A member of a peers section.
#[derive(Clone, Debug)]
pub struct MemberSpec {
    /// Name.
    pub name: String,
    /// Where to dial it; none for a local member without address.
    pub address: Option<Address>,
}
