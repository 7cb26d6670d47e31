//! What the peers tell the operator: values that the worker logs.

use std::fmt;

/// How bad an event is; the worker maps it to a syslog level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Replication does not work as configured.
    Alert,
    /// A peer is lost or misbehaves.
    Warning,
    /// A change for the better, or a fact.
    Notice,
}

/// A state change of a peers section, in words that name its cause (`Display`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerEvent {
    /// Name of the section.
    pub section: String,
    /// How bad it is.
    pub severity: Severity,
    /// What happened, one line without the section's name.
    pub text: String,
}

impl fmt::Display for PeerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peers {}: {}", self.section, self.text)
    }
}
