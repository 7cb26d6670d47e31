//! Whether this node and each burdock peer hold the same, and what is done when they do not.
//!
//! A peer says every few seconds what it holds of each table (`wire/extension`). Between two busy nodes something is always on its
//! way, so one comparison proves nothing. But changes that both take in leave the *difference* of the digests as it is: the
//! same difference again and again is what one node has and the other will never get by itself. That is logged once,
//! shown as `in_sync=no`, and healed: this node asks for all entries of the table and merges them.
//!
//! ```text
//! unknown ──equal──▶ yes ──same difference 3 times, 6 s──▶ no ──equal──▶ yes
//!                                                           └─ repair, after 10 s, 20 s, 40 s … 10 min
//! ```
//! Nothing is compared, and the reason is shown, while it cannot be equal: other `expire`, entries evicted or refused lately,
//! a lesson under way, a shard, no quiet moment for half a minute. One repair at a time; the node whose name sorts first begins, the other one waits whether that was enough.
//! Not here: what goes over the wire (`session/extended`), how entries are merged (`receive/merge`).

use std::borrow::Cow;

use super::{Group, SessionId};
use crate::peers::event::Severity;
use crate::peers::send;
use crate::peers::session::HeldThere;
use crate::stick::{Digest, Table};

/// So many comparisons in a row must give the same difference.
const COMPARISONS_MIN: u32 = 3;
/// And over so long a time.
const LASTING_MS: u64 = 6_000;
/// Who comes second waits so long whether the first one's repair was enough.
const SECOND_MS: u64 = 10_000;
/// So long after the last comparison nothing is said any more; peers tell every three seconds what they hold.
const STALE_MS: u64 = 30_000;
/// From one repair to the next, doubled each time.
const BACKOFF_MS: u64 = 10_000;
const BACKOFF_MS_MAX: u64 = 600_000;
/// A repair in which nothing comes for so long is over.
const REPAIR_IDLE_MS_MAX: u64 = 15_000;
/// However much comes: longer than that no peer keeps the others waiting for theirs. Ten million entries take some ten seconds.
const REPAIR_MS_MAX: u64 = 120_000;

/// Whether a peer holds what we hold of a table. Outlives sessions.
#[derive(Clone, Debug, Default)]
pub(in crate::peers) struct Agreement {
    /// The last comparison found no difference, or only one that may be on its way.
    agrees: bool,
    /// When the last comparison was made.
    compared_at_ms: u64,
    /// Why nothing is compared.
    not_compared: Option<String>,
    /// Since when each comparison found a difference.
    differs_since_ms: Option<u64>,
    /// The last difference, since when, and how often it was found in a row.
    last: Option<(Digest, u64, u32)>,
    /// The disagreement lasts, and was logged.
    lasting: bool,
    /// Repairs asked for, one after the other without much success.
    repairs: u32,
    repair_at_ms: u64,
    /// Differences that lasted, ever.
    pub disagreements: u64,
}

impl Agreement {
    /// A new session: what was on its way is not any more.
    pub(super) fn begin_anew(&mut self) {
        self.last = None;
        self.not_compared = None;
        if !self.lasting {
            self.agrees = false;
            self.differs_since_ms = None;
        }
    }

    /// `yes`, `no` or `unknown`, and for how long it has been `no`.
    pub fn verdict(&self, now_ms: u64) -> (&'static str, u64) {
        match (self.lasting, self.differs_since_ms) {
            (true, since_ms) => ("no", now_ms.saturating_sub(since_ms.unwrap_or(now_ms))),
            (false, _) if self.agrees && self.not_compared.is_none() && !self.is_stale(now_ms) => {
                ("yes", 0)
            }
            (false, _) => ("unknown", 0),
        }
    }

    /// Why the verdict is unknown.
    pub fn reason(&self, now_ms: u64) -> Cow<'_, str> {
        match &self.not_compared {
            Some(text) => text.into(),
            None if self.lasting => "".into(),
            None if self.agrees && self.is_stale(now_ms) => format!(
                "not compared for {} ms: there was no quiet moment",
                now_ms - self.compared_at_ms
            )
            .into(),
            None if self.agrees => "".into(),
            None => "not compared yet".into(),
        }
    }

    fn is_stale(&self, now_ms: u64) -> bool {
        now_ms >= self.compared_at_ms + STALE_MS
    }
}

/// The repair under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repairing {
    session: SessionId,
    position: usize,
    began_ms: u64,
}

impl Group {
    /// Whether a member holds what we hold of a table, by their positions in the section: `yes`, `no` or `unknown`.
    pub fn in_sync(&self, member: usize, table: usize, now_ms: u64) -> &'static str {
        self.members[member].agreements[table].verdict(now_ms).0
    }

    /// A session is over.
    pub(super) fn end_agreement(&mut self, id: SessionId) {
        if self
            .repairing
            .is_some_and(|repairing| repairing.session == id)
        {
            self.repairing = None;
        }
    }

    /// A member says what it holds of a table.
    pub(super) fn compare(
        &mut self,
        id: SessionId,
        member: usize,
        position: usize,
        there: HeldThere,
        now_ms: u64,
        tables: &mut [Table],
    ) {
        let is_quiet = self.with_session(id, now_ms, tables, |session, context| {
            let sent_all = session
                .sender()
                .is_some_and(|sender| sender.has_sent_all(position, context));
            context.up_to_date && !session.is_learning() && sent_all
        });
        if is_quiet != Some(true) {
            return;
        }
        let table = &tables[self.shared[position]];
        let difference = if self.members[member].shard > 0 {
            Err("it is sent only its shard".into())
        } else if self.learning.writes_to(self.shared[position]) {
            Err("another table has its updates written here (write-to)".into())
        } else {
            difference(table, there, now_ms)
        };
        let agreement = &mut self.members[member].agreements[position];
        let difference = match difference {
            Ok(difference) => {
                agreement.not_compared = None;
                agreement.compared_at_ms = now_ms;
                difference
            }
            Err(reason) => {
                agreement.begin_anew();
                agreement.lasting = false;
                agreement.differs_since_ms = None;
                agreement.not_compared = Some(reason);
                return;
            }
        };
        if difference == Digest::default() {
            return self.agrees(member, position, now_ms, tables);
        }
        agreement.differs_since_ms.get_or_insert(now_ms);
        let (since_ms, count) = match agreement.last {
            Some((last, since_ms, count)) if last == difference => (since_ms, count + 1),
            _ => (now_ms, 1),
        };
        agreement.last = Some((difference, since_ms, count));
        if count < COMPARISONS_MIN || now_ms < since_ms + LASTING_MS {
            return;
        }
        if !std::mem::replace(&mut agreement.lasting, true) {
            agreement.agrees = false;
            agreement.disagreements += 1;
            self.report_disagreement(member, position, there, now_ms, tables);
        }
        self.repair(id, member, position, now_ms);
    }

    fn agrees(&mut self, member: usize, position: usize, now_ms: u64, tables: &[Table]) {
        let agreement = &mut self.members[member].agreements[position];
        agreement.agrees = true;
        agreement.last = None;
        let since_ms = agreement.differs_since_ms.take();
        if !std::mem::replace(&mut agreement.lasting, false) {
            return;
        }
        let text = format!(
            "peer {}: table {} is the same here and there again, after {} ms",
            self.members[member].name,
            tables[self.shared[position]].spec().name,
            now_ms.saturating_sub(since_ms.unwrap_or(now_ms)),
        );
        self.report(Some(member), Severity::Notice, text);
    }

    fn report_disagreement(
        &mut self,
        member: usize,
        position: usize,
        there: HeldThere,
        now_ms: u64,
        tables: &[Table],
    ) {
        let table = &tables[self.shared[position]];
        let agreement = &self.members[member].agreements[position];
        let since_ms = agreement.differs_since_ms.unwrap_or(now_ms);
        let same_keys = agreement
            .last
            .is_some_and(|(difference, ..)| difference.keys == 0);
        let text = format!(
            "peer {}: table {} is not the same here and there for {} ms: {} ({} entries here, {} there); it will be repaired",
            self.members[member].name,
            table.spec().name,
            now_ms.saturating_sub(since_ms),
            if same_keys {
                "other servers for the same keys"
            } else {
                "other keys"
            },
            table.used(),
            there.entries,
        );
        self.report(Some(member), Severity::Warning, text);
        let member = &mut self.members[member];
        let agreement = &mut member.agreements[position];
        let first = self.local_name < member.name;
        let waits_ms = if first { 0 } else { SECOND_MS };
        if now_ms > agreement.repair_at_ms + BACKOFF_MS_MAX {
            agreement.repairs = 0;
        }
        agreement.repair_at_ms = agreement.repair_at_ms.max(now_ms + waits_ms);
    }

    /// Asks for the table's entries, if it is time.
    pub(super) fn repair(&mut self, id: SessionId, member: usize, position: usize, now_ms: u64) {
        if let Some(repairing) = self.repairing {
            let progress_ms = self
                .session(repairing.session)
                .and_then(|session| session.repair_progress_ms());
            let is_moving = progress_ms.is_some_and(|at_ms| now_ms < at_ms + REPAIR_IDLE_MS_MAX);
            if is_moving && now_ms < repairing.began_ms + REPAIR_MS_MAX {
                return;
            }
            if let Some(slot) = self.slot_mut(repairing.session) {
                slot.session.abandon_repair();
            }
            self.repairing = None;
        }
        let agreement = &mut self.members[member].agreements[position];
        if now_ms < agreement.repair_at_ms {
            return;
        }
        let backoff_ms = BACKOFF_MS
            .saturating_mul(1 << agreement.repairs.min(10))
            .min(BACKOFF_MS_MAX);
        agreement.repairs += 1;
        agreement.repair_at_ms = now_ms + backoff_ms + self.random.below(backoff_ms / 4);
        self.repairing = Some(Repairing {
            session: id,
            position,
            began_ms: now_ms,
        });
        if let Some(slot) = self.slot_mut(id) {
            slot.session.request_repair(position, now_ms);
        }
    }

    /// The member has sent all that it holds of a table.
    pub(super) fn repaired(
        &mut self,
        id: SessionId,
        member: usize,
        position: usize,
        entries: u64,
        tables: &[Table],
    ) {
        let is_ours = self
            .repairing
            .is_some_and(|repairing| repairing.session == id && repairing.position == position);
        if is_ours {
            self.repairing = None;
        }
        // What was found before the repair says nothing about what comes after it.
        self.members[member].agreements[position].last = None;
        let text = format!(
            "peer {}: table {} was repaired with its {entries} entries",
            self.members[member].name,
            tables[self.shared[position]].spec().name,
        );
        self.report(Some(member), Severity::Notice, text);
    }
}

/// The difference between a table here and there; an error says why there is nothing to compare.
fn difference(table: &Table, there: HeldThere, now_ms: u64) -> Result<Digest, String> {
    let here = send::report(table, now_ms);
    if here.expire_ms != there.expire_ms {
        return Err(format!(
            "expire is {} ms here and {} ms there",
            here.expire_ms, there.expire_ms
        ));
    }
    let lossy = match (here.complete, there.complete) {
        (true, true) => None,
        (false, true) => Some("here"),
        (true, false) => Some("there, or we are not sent all"),
        (false, false) => Some("on both nodes"),
    };
    if let Some(side) = lossy {
        return Err(format!("entries were evicted or refused {side}"));
    }
    let difference = here.digest.minus(there.digest);
    Ok(Digest {
        keys: difference.keys,
        ids: if here.has_ids && there.has_ids {
            difference.ids
        } else {
            0
        },
        names: if here.has_names && there.has_names {
            difference.names
        } else {
            0
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_long_ago_is_not_said_any_more() {
        let agreement = Agreement {
            agrees: true,
            compared_at_ms: 1_000,
            ..Agreement::default()
        };
        assert_eq!(agreement.verdict(30_000), ("yes", 0));
        assert_eq!(agreement.reason(30_000), "");
        assert_eq!(agreement.verdict(31_000), ("unknown", 0));
        assert_eq!(
            agreement.reason(31_000),
            "not compared for 30000 ms: there was no quiet moment"
        );
    }
}
