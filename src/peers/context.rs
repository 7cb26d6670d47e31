//! What a session works with but does not own: the tables, how far the peer has been sent each, the time.
//!
//! Not here: what is done with it (`session`, its halves `receive` and `send`).

use super::fault::Fault;
use super::shard::Shard;
use crate::stick::Table;

/// How far a peer has been sent the local changes of one table. Outlives the session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Id of the last change sent.
    pub pushed: u32,
    /// Id of the last change that the peer acknowledged.
    pub acked: u32,
    /// A lesson was declared finished before its end, and the peer has not acknowledged the rest of it: whatever it
    /// acknowledged, all entries are sent to it again.
    pub owed: bool,
}

/// What is special about how tables learn from peers (indices in `Context::tables`).
#[derive(Clone, Debug, Default)]
pub struct LearningRules {
    /// `write-to`: source and target.
    pub write_to: Vec<(usize, usize)>,
    /// `recv-only`.
    pub recv_only: Vec<usize>,
}

impl LearningRules {
    /// Whether the table at this index is given what comes for another one.
    pub fn writes_to(&self, index: usize) -> bool {
        self.write_to.iter().any(|&(_, target)| target == index)
    }
}

/// What the owner lends to a call.
pub struct Context<'a> {
    /// Milliseconds, monotonic.
    pub now_ms: u64,
    /// All tables.
    pub tables: &'a mut [Table],
    /// Indices in `tables` of those that the section replicates; their position here is their number on the wire less 1.
    pub shared: &'a [usize],
    /// The peer's cursors, in the order of `shared`; empty while the peer is unknown.
    pub cursors: &'a mut [Cursor],
    /// Name of this node, which a hello must name.
    pub local_name: &'a str,
    /// Whether this node has all there is to know: a lesson ends with FINISHED then, otherwise with PARTIAL.
    pub up_to_date: bool,
    /// Messages that one call takes in or sends of one table (`tune.peers.max-updates-at-once`).
    pub updates_max: u32,
    /// What is special about how tables learn.
    pub learning: &'a LearningRules,
    /// The part of the keys that the peer is sent; `None`: all of them.
    pub shard: Option<Shard>,
    /// A mistake to make; see `fault`.
    pub fault: Option<Fault>,
}

impl Context<'_> {
    /// Whether this mistake is to be made. Never, and known when it is compiled, without debug assertions.
    #[inline]
    pub(super) fn has(&self, fault: Fault) -> bool {
        cfg!(debug_assertions) && self.fault == Some(fault)
    }
}

/// Whether `id` comes after `other` in the circle of ids.
pub(super) fn is_after(id: u32, other: u32) -> bool {
    id.wrapping_sub(other) as i32 > 0
}
