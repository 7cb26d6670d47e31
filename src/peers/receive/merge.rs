//! Deletions, and the merging of two tables that do not agree.
//!
//! Neither node knows what the other one missed, so the times of touch decide, which lifetimes tell: of two entries of a key
//! the younger one stays, of an entry and a deletion the later one. Times of nodes are as exact as the network is fast. Within
//! `SLACK_MS` two entries are of one age: then the one that was changed where it is counts, not the one that was learnt; of
//! two such the node whose name sorts first is believed, on both sides. An entry within `SLACK_MS` of a deletion is the
//! deleted one.
//! Not here: when tables are compared (`group/agree`), tombstones (`stick/tombstone`).

use super::{Receiver, Source, Values};
use crate::peers::context::Context;
use crate::peers::send::{CHANGED_HERE, LIFETIME_MS_MAX};
use crate::peers::wire::{self, Layout, Update, UpdateForm, WireError, extension};
use crate::stick::{Key, LEAD_MS_MAX, LearntDeletion, SLACK_MS, Table};

const TIMED: UpdateForm = UpdateForm {
    explicit_id: true,
    timed: true,
};

/// When the sender's entry was touched last, by our clock; `None`: it cannot be told.
fn touched_ms(update: &Update<'_>, layout: &Layout, now_ms: u64) -> Option<u64> {
    let remaining_ms = update.expire_ms?;
    let whole_ms = match layout.expires {
        true => layout.expire_ms?,
        // Only a burdock counts down from there.
        false => LIFETIME_MS_MAX,
    };
    let lead_ms = lead_ms(remaining_ms, whole_ms);
    let age_ms = u64::from(whole_ms.saturating_sub(remaining_ms));
    Some((now_ms + lead_ms).saturating_sub(age_ms))
}

/// By how much a touch is ahead of time whose lifetime is longer than the whole: what was deleted and made again says so.
pub(super) fn lead_ms(remaining_ms: u32, whole_ms: u32) -> u64 {
    u64::from(remaining_ms.saturating_sub(whole_ms)).min(LEAD_MS_MAX)
}

/// Whether an ordinary update brings back what was deleted here, because its sender has not heard of it.
pub(super) fn is_deleted(
    table: &Table,
    key: Key<'_>,
    update: &Update<'_>,
    layout: &Layout,
    in_lesson: bool,
    now_ms: u64,
) -> bool {
    let Some(deleted_ms) = table.deleted_ms(key) else {
        return false;
    };
    match touched_ms(update, layout, now_ms) {
        Some(touched_ms) if layout.expires => touched_ms <= deleted_ms + SLACK_MS,
        // A change that was just made; a lesson's entries are of any age.
        _ => in_lesson || update.expire_ms.is_some(),
    }
}

impl Receiver {
    /// An entry of a table that is being repaired. `theirs_first`: the sender is believed where ages do not decide.
    /// `delay_ms`: how long a message of that time was on its way.
    pub fn merge(
        &mut self,
        body: &[u8],
        theirs_first: bool,
        delay_ms: impl Fn(u32) -> u32,
        context: &mut Context<'_>,
    ) -> Result<bool, WireError> {
        let Some((position, layout)) = self.selected_layout() else {
            return Ok(false);
        };
        let mut update = wire::decode_update(TIMED, body, &layout)?;
        let clock_ms = update.id.unwrap_or(0);
        let is_change = |id: u32| id & CHANGED_HERE != 0;
        update.expire_ms = update
            .expire_ms
            .map(|remaining_ms| remaining_ms.saturating_sub(delay_ms(clock_ms)).max(1));
        self.remember_string(&update, context);
        let now_ms = context.now_ms;
        let table = &mut context.tables[context.shared[position]];
        let spec = table.spec().clone();
        let Some(key) = Key::new(&spec, update.key) else {
            return Ok(true);
        };
        let theirs_ms = touched_ms(&update, &layout, now_ms).unwrap_or(0);
        let is_wanted = match (table.deleted_ms(key), table.lookup(key, now_ms)) {
            (Some(deleted_ms), _) => theirs_ms > deleted_ms + SLACK_MS,
            (None, Some(entry)) => {
                let ours_ms = table.touched_ms(entry);
                let is_tie = theirs_ms.abs_diff(ours_ms) < SLACK_MS;
                let theirs_is_change = is_change(clock_ms);
                let ours_is_change = table.update_id(entry).is_some();
                match (is_tie, theirs_is_change == ours_is_change) {
                    (false, _) => theirs_ms > ours_ms,
                    (true, false) => theirs_is_change,
                    (true, true) => theirs_first,
                }
            }
            (None, None) => true,
        };
        if is_wanted {
            let source = Source {
                update: &update,
                hash: None,
                layout: &layout,
                dictionary: &self.dictionary,
                values: Values::Shared,
            };
            super::apply(table, &source, None, now_ms);
        }
        Ok(true)
    }

    /// A deletion, live or of a lesson.
    pub fn delete(
        &mut self,
        body: &[u8],
        delay_ms: impl Fn(u32) -> u32,
        context: &mut Context<'_>,
    ) -> Result<bool, WireError> {
        let Some((position, layout)) = self.selected_layout() else {
            return Ok(false);
        };
        let deletion = wire::decode_update(TIMED, body, &layout.without_data())?;
        let received = &mut self.tables[position];
        received.updates += 1;
        received.bytes += body.len() as u64;
        received.last_id = deletion.id.unwrap_or(received.last_id);
        let now_ms = context.now_ms;
        let table = &mut context.tables[context.shared[position]];
        let spec = table.spec().clone();
        let Some(key) = Key::new(&spec, deletion.key) else {
            return Ok(true);
        };
        let age_ms = deletion.expire_ms.unwrap_or(0);
        let delay_ms = u64::from(deletion.clock_ms().map_or(0, delay_ms));
        let deleted_ms = extension::deleted_ms(now_ms, age_ms).saturating_sub(delay_ms);
        match table.learn_deletion(key, deleted_ms, deleted_ms + SLACK_MS, now_ms) {
            LearntDeletion::Deleted | LearntDeletion::Newer(_) => {}
            // As with `clear table` here, what is in use stays; then it stays everywhere.
            LearntDeletion::InUse(entry) => table.touch_local(entry, now_ms),
        }
        Ok(true)
    }

    fn selected_layout(&self) -> Option<(usize, Layout)> {
        let position = self.selected?;
        Some((position, self.tables[position].layout?))
    }
}
