//! The peers protocol: wire (codec), session and group (state machines, no sockets), link (their sockets).

mod clock;
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
mod shard;
mod show;
pub mod wire;

pub use event::{PeerEvent, Severity};
pub use link::{Peers, PeersView, ShowPeers};

use std::net::SocketAddr;

use crate::net::Address;
use crate::net::listener::ListenOptions;

/// A `peers` section.
#[derive(Clone, Debug, Default)]
pub struct PeersSpec {
    /// Section name.
    pub name: String,
    /// Name of the local peer (may be no member of the section; then it is not started).
    pub local_name: String,
    /// Members in declaration order.
    pub members: Vec<MemberSpec>,
    /// Where the local peer listens: nowhere, at its address, or at all of a `bind` line.
    pub listen: Vec<Address>,
    /// How it listens.
    pub listen_options: ListenOptions,
    /// `disabled`.
    pub disabled: bool,
    /// Indices in `Config::tables` of the tables that the section replicates, in declaration order.
    pub tables: Vec<usize>,
    /// `write-to`: what peers send of the first table is written into the second, too (indices in `Config::tables`).
    pub write_to: Vec<(usize, usize)>,
    /// `recv-only`: tables that nothing here counts in, so that gauges are learnt as well (indices in `Config::tables`).
    pub recv_only: Vec<usize>,
    /// `shards`: the number of parts that keys are spread over; 0 if they are not.
    pub shards: u32,
    /// File and line of what makes the local peer listen, else of the section; for messages.
    pub declared_at: String,
}

/// A member of a peers section.
#[derive(Clone, Debug, Default)]
pub struct MemberSpec {
    /// Name.
    pub name: String,
    /// Where to dial it; none for a local member without address.
    pub address: Option<Address>,
    /// From where it is dialled.
    pub source: Option<SocketAddr>,
    /// `shard`: it is sent only keys of this part, from 1; 0: all.
    pub shard: u32,
}
