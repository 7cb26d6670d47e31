//! What a section tells the operator: each change of a state once, in words that name the cause.

use super::learn::resync_flag;
use super::{
    CloseReason, EVENTS_MAX, Group, Member, REMINDER_MS, Running, SessionEvent, SessionId,
};
use crate::peers::event::{PeerEvent, Severity};
use crate::peers::hello::Status;
use crate::stick::Table;

/// Refused connections that are reported each minute.
const REFUSALS_REPORTED_MAX: u32 = 5;
const REFUSALS_WINDOW_MS: u64 = 60_000;

/// What was said last about a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::peers) enum Reported {
    Nothing,
    Up,
    Down(String),
}

impl Group {
    /// Why a section that should run does not.
    pub fn not_started_text(&self) -> Option<String> {
        (self.running == Running::NoLocalMember).then(|| {
            format!(
                "not started, this node does not replicate: no peer is named '{}' here; known: {}",
                self.local_name,
                self.known_names()
            )
        })
    }

    pub(super) fn known_names(&self) -> String {
        if self.members.is_empty() {
            return "none".into();
        }
        let names: Vec<&str> = self.members.iter().map(|member| &member.name[..]).collect();
        names.join(", ")
    }

    pub(super) fn remind(&mut self, now_ms: u64) {
        if let Some(text) = self.not_started_text() {
            self.report(None, Severity::Alert, text);
            self.reminder_at_ms = now_ms + REMINDER_MS;
        }
    }

    /// `member`: whom it is about.
    pub(super) fn report(&mut self, member: Option<usize>, severity: Severity, text: String) {
        if self.events.len() >= EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(PeerEvent {
            section: self.name.clone(),
            severity,
            member,
            text,
        });
    }

    /// An entry that no message can hold is told once a member.
    pub(super) fn report_too_long(&mut self, id: SessionId) {
        let Some(slot) = self.slot(id) else {
            return;
        };
        let too_long = slot
            .session
            .sender()
            .is_some_and(|sender| sender.too_long > 0);
        let Some(member) = slot.member.filter(|_| too_long) else {
            return;
        };
        let Member {
            name,
            too_long_reported,
            ..
        } = &mut self.members[member];
        if !std::mem::replace(too_long_reported, true) {
            let text = format!("peer {name}: an entry does not fit into a message and is not sent");
            self.report(Some(member), Severity::Warning, text);
        }
    }

    pub(super) fn handle_event(
        &mut self,
        id: SessionId,
        event: SessionEvent,
        now_ms: u64,
        tables: &mut [Table],
    ) {
        let Some(member) = self.slot(id).and_then(|slot| slot.member) else {
            return;
        };
        let name = self.members[member].name.clone();
        match event {
            SessionEvent::Hello(_) => {}
            SessionEvent::Established => self.established(id, member, now_ms, tables),
            SessionEvent::LessonRequested => self.resync.flags |= resync_flag::ASKED,
            SessionEvent::LessonTaught(taught) => {
                self.watch_taught(member, taught, now_ms);
                let text = format!(
                    "peer {name}: taught {} entries in {} ms",
                    taught.entries, taught.duration_ms
                );
                self.report(Some(member), Severity::Notice, text);
                if self.members[member].is_local && matches!(self.running, Running::Stopping(_)) {
                    self.stop(now_ms, tables);
                }
            }
            SessionEvent::LessonUnconfirmed => {
                self.report_fault(member, "it does not confirm the end of its lesson", now_ms);
            }
            SessionEvent::LessonEnded { partial, learnt } => {
                self.lesson_ended(id, member, partial, learnt, now_ms);
                self.note_learnt(tables);
            }
            SessionEvent::LessonStalled => {
                let text = "it was asked for a lesson and teaches nothing";
                self.report_fault(member, text, now_ms);
                if self.resync.assigned == Some(id) {
                    self.members[member].not_up_to_date = true;
                    self.unassign(now_ms);
                }
            }
            SessionEvent::DefinitionIgnored(mismatch) => {
                self.report_fault(member, &mismatch.text, now_ms);
            }
            SessionEvent::Digest(position, there) => {
                self.compare(id, member, position, there, now_ms, tables);
            }
            SessionEvent::Repaired(position, entries) => {
                self.repaired(id, member, position, entries, tables);
            }
            SessionEvent::ErrorReceived(kind) => {
                let what = match kind {
                    0 => "violated the protocol",
                    1 => "sent too long a message",
                    _ => "made an unknown mistake",
                };
                let text = format!("it says that we {what} (error {kind})");
                self.report_fault(member, &text, now_ms);
            }
        }
    }

    /// Logs what a connected peer does wrong, and keeps it for `show peers lag`.
    fn report_fault(&mut self, member: usize, text: &str, now_ms: u64) {
        let Member { name, watched, .. } = &mut self.members[member];
        watched.last_error = Some((now_ms, text.into()));
        let text = format!("peer {name}: {text}");
        self.report(Some(member), Severity::Warning, text);
    }

    pub(super) fn report_down(&mut self, member: usize, reason: &CloseReason, now_ms: u64) {
        let stopping = self.running != Running::Started;
        let position = member;
        let member = &mut self.members[position];
        let text = match reason {
            CloseReason::Connection(text) => text.clone(),
            CloseReason::RefusedByPeer(status) => refused_text(*status, &self.local_name),
            CloseReason::Refused(status, text) => {
                format!("refused with {}: {text}", status.code())
            }
            CloseReason::HandshakeTimeout => "it does not answer".into(),
            CloseReason::NoHello => "what it sends is no hello".into(),
            CloseReason::NoStatus => "its answer to the hello is no status".into(),
            CloseReason::Silence => "it has been silent for too long".into(),
            CloseReason::NotReading => "it does not read what we send".into(),
            CloseReason::Violation(error) => {
                let [class, kind] = error.message();
                format!("it violated the protocol (answered {class:02x} {kind:02x})")
            }
            CloseReason::Replaced => "replaced by a newer connection".into(),
            CloseReason::Stopping => "this node stops".into(),
        };
        if !stopping {
            member.watched.last_error = Some((now_ms, text.clone()));
        }
        let reported = Reported::Down(text);
        if member.reported == reported || stopping {
            return;
        }
        let was_up = member.reported == Reported::Up;
        member.reported = reported.clone();
        let (name, Reported::Down(text)) = (&member.name, reported) else {
            return;
        };
        let what = if was_up { "lost" } else { "not connected" };
        let text = format!("peer {name}: {what}: {text}");
        self.report(Some(position), Severity::Warning, text);
    }

    /// Strangers must not fill the log.
    pub(super) fn report_refusal(&mut self, reason: &CloseReason, now_ms: u64) {
        let CloseReason::Refused(status, text) = reason else {
            return;
        };
        if now_ms >= self.refusals_since_ms + REFUSALS_WINDOW_MS {
            self.refusals_since_ms = now_ms;
            self.refusals = 0;
        }
        self.refusals += 1;
        if self.refusals <= REFUSALS_REPORTED_MAX {
            let text = format!("refused a connection with {}: {text}", status.code());
            self.report(None, Severity::Warning, text);
        }
    }
}

fn refused_text(status: Status, local_name: &str) -> String {
    let code = status.code();
    let why = match status {
        Status::TryAgain => "try again later".into(),
        Status::Protocol => "it does not take our hello".into(),
        Status::Version => "it does not speak our version".into(),
        Status::LocalName => "another peer listens there, check names and addresses".into(),
        Status::RemoteName => format!("it knows no peer named '{local_name}'"),
        Status::Accepted | Status::Other(_) => "for no known reason".into(),
    };
    format!("it refused us with {code}: {why}")
}

/// The address as `show peers` writes it.
pub(super) fn address_text(address: Option<&crate::net::Address>) -> String {
    use crate::net::Address;
    match address {
        Some(Address::Inet(address)) => address.to_string(),
        Some(Address::Unix(path)) => format!("unix@{}", path.display()),
        Some(Address::Abstract(name)) => format!("abns@{}", name.escape_ascii()),
        Some(Address::Fd(fd)) => format!("fd@{fd}"),
        None => "-".into(),
    }
}
