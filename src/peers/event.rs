//! What the peers tell the operator: values that the worker logs.

use std::fmt;

/// Events of a member that are logged in a minute, and of what is about no member.
const EVENTS_PER_MINUTE: u32 = 100;
const MINUTE_MS: u64 = 60_000;

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
    /// Position of the member that it is about.
    pub member: Option<usize>,
    /// What happened, one line without the section's name.
    pub text: String,
}

impl fmt::Display for PeerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peers {}: {}", self.section, self.text)
    }
}

/// How much of what happens to a section is logged: who comes and goes all day, under a name that is known, must neither fill the log
/// nor hide what happens to others.
#[derive(Debug)]
pub(super) struct LogLimit {
    /// When the minute began whose events are counted.
    minute_ms: u64,
    /// How many there were, of each member; the last number is for what is about none.
    counts: Vec<u32>,
}

impl LogLimit {
    pub fn new(members: usize) -> LogLimit {
        LogLimit {
            minute_ms: 0,
            counts: vec![0; members + 1],
        }
    }

    /// What is to be logged of an event.
    pub fn admit(&mut self, event: PeerEvent, now_ms: u64) -> Option<PeerEvent> {
        if now_ms >= self.minute_ms + MINUTE_MS {
            self.minute_ms = now_ms;
            self.counts.fill(0);
        }
        let others = self.counts.len() - 1;
        let count = &mut self.counts[event.member.map_or(others, |member| member.min(others))];
        *count = count.saturating_add(1);
        match *count {
            ..EVENTS_PER_MINUTE => Some(event),
            EVENTS_PER_MINUTE => {
                let left_s = (self.minute_ms + MINUTE_MS - now_ms).div_ceil(1_000);
                Some(PeerEvent {
                    severity: Severity::Warning,
                    text: format!(
                        "{}; {EVENTS_PER_MINUTE} changes in a minute: the next ones of it are not logged for {left_s} s",
                        event.text
                    ),
                    ..event
                })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_noise_of_one_hides_nobody_else() {
        let event = |member: usize| PeerEvent {
            section: "mesh".into(),
            severity: Severity::Notice,
            member: Some(member),
            text: format!("peer {member}: connected"),
        };
        let mut limit = LogLimit::new(2);
        let logged: Vec<String> = (0..1_000)
            .filter_map(|_| limit.admit(event(0), 70_000))
            .map(|event| event.text)
            .collect();
        assert_eq!(logged.len(), 100);
        assert_eq!(
            logged[99],
            "peer 0: connected; 100 changes in a minute: the next ones of it are not logged for 60 s"
        );
        assert_eq!(limit.admit(event(1), 71_000), Some(event(1)));
        assert_eq!(limit.admit(event(0), 129_999), None);
        assert_eq!(limit.admit(event(0), 130_000), Some(event(0)));
    }
}
