//! The sending half of an established session: live updates, lessons, sweeps.
//!
//! Nothing is queued. A live update is taken from the table's update log when there is room for it; `Cursor::pushed` is
//! how far the log has been sent, `Cursor::acked` how far the peer has it, and a reconnection goes on from there.
//! A *sweep* looks at all entries of a table in bounded steps: for a lesson, or because the cursor fell out of the log.
//!
//! A lesson is a sweep of every table. HAProxy gives a session up whose lesson takes longer than it keeps silent, so a
//! lesson ends after `LESSON_MS_MAX`, and what is left of its sweeps goes on as ordinary updates that carry a lifetime. That
//! rest is owed to the peer beyond this session (`Cursor::owed`): it believes to have everything and would not ask again.
//!
//! Entries that a sweep finds have no place in the order of ids, so they carry one whose ack says nothing. The last one is
//! sent once more with an id of its own, half the circle away from those of changes: its ack vouches for the whole sweep.
//!
//! Invariant: an ack moves `acked` only when everything up to it has been written to this session: acks are ignored
//! while a lesson or a sweep of the table is under way, and up to what had been pushed when it ended.
//! Not here: whether this node has everything (`Context::up_to_date`), reading the peer's answers (`session`).

mod entry;
mod repair;

use super::context::{Context, Cursor, is_after};
use super::fault::Fault;
use super::shard;
use super::wire::{
    self, Announced, Control, DICTIONARY_SLOTS, EncodeError, MESSAGE_BYTES_MAX, Value,
};
use crate::stick::{EntryIndex, NextUpdate, Table, Tombstone};
use entry::{Servers, encode_entry, update_bytes_max};
use repair::Repair;
pub(super) use repair::{CHANGED_HERE, report};

/// A lesson is declared finished after this time; the rest follows as ordinary updates.
const LESSON_MS_MAX: u64 = 3_000;
/// How long the end of a lesson may stay unconfirmed before ordinary updates go on.
const CONFIRM_MS_MAX: u64 = 15_000;
/// So far ahead of the update that is written is the one whose entry is fetched from memory.
const UPDATES_AHEAD: u32 = 12;
/// Most places of a table that one call looks at in sweeps; with a low bound of messages twice that many.
const SWEEP_PLACES_MAX: u32 = 512;
/// Places that are searched for an entry that stands for a sweep.
const WITNESS_PLACES_MAX: u32 = 4096;
/// Ids of the update log that one step may skip.
const SKIP_BUDGET: u32 = 1024;
/// Longest lifetime that is sent: HAProxy's arithmetic on times is that of 31 bits.
pub(super) const LIFETIME_MS_MAX: u32 = 0x3fff_ffff;
/// An entry whose lifetime began less than this ago is sent without it: the receiver starts the whole one.
const FRESH_MS: u32 = 1_000;

/// Which entries a sweep sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    All,
    /// Those with a local change after this id.
    ChangedAfter(u32),
}

#[derive(Clone, Copy, Debug)]
struct Sweep {
    /// The next place to look at; `None`: all have been seen.
    cursor: Option<u32>,
    scope: Scope,
    /// The last local change when it began; later ones are live updates.
    until: u32,
    /// The last entry sent, and the last deletion.
    last: Option<EntryIndex>,
    deletion: Option<Tombstone>,
}

impl Sweep {
    fn new(scope: Scope, until: u32) -> Sweep {
        Sweep {
            cursor: Some(0),
            scope,
            until,
            last: None,
            deletion: None,
        }
    }
}

/// The end of a sweep, sent and not yet acknowledged.
#[derive(Clone, Copy, Debug)]
struct Closing {
    /// Id of the update that ended it.
    id: u32,
    /// The last change that had been sent by then.
    covers: u32,
}

impl Sweep {
    /// Whether an entry with this update id is to be sent.
    fn wants(self, changed: Option<u32>) -> bool {
        match self.scope {
            Scope::All => true,
            Scope::ChangedAfter(after) => {
                changed.is_some_and(|id| is_after(id, after) && !is_after(id, self.until))
            }
        }
    }
}

/// What a session keeps of a table that it sends.
#[derive(Debug, Default)]
pub(super) struct SendTable {
    sweep: Option<Sweep>,
    closing: Option<Closing>,
    /// Sweeps that ended in this session: each ends with another id.
    sweeps_closed: u32,
    /// Acks up to here are ignored.
    ack_floor: u32,
    /// What was acknowledged when the lesson began (`teaching_origin`).
    pub origin: u32,
    /// The last local change that a completed sweep of the lesson covers.
    taught_until: Option<u32>,
    /// Id of the last live update written to this session; those behind it, up to the cursor, were not for this peer.
    last_live: Option<u32>,
    shard_seed: u64,
    /// A live update whose ack is waited for: its id, and when it was handed out.
    probe: Option<(u32, u64)>,
    /// From a live update to its ack, measured last.
    pub ack_rtt_ms: Option<u64>,
    /// Updates sent in this session, and their bytes.
    pub updates: u64,
    pub bytes: u64,
    /// The peer wants all entries, to merge them.
    repair: Option<Repair>,
}

impl SendTable {
    /// Whether all entries are being looked at, for a lesson or to catch up.
    pub fn is_sweeping(&self) -> bool {
        self.sweep.is_some()
    }

    /// Whether all entries are being sent, not only those that changed.
    pub fn is_sweeping_all(&self) -> bool {
        self.sweep.is_some_and(|sweep| sweep.scope == Scope::All)
    }

    /// Whether the last update of a sweep has been sent and is not acknowledged.
    pub fn awaits_end_of_sweep(&self) -> bool {
        self.closing.is_some()
    }

    /// An ack of everything that was sent, if it is one.
    fn acked_until(&self, id: u32, cursor: Cursor) -> Option<u32> {
        if self.sweep.is_some() {
            return None;
        }
        if let Some(closing) = self.closing
            && closing.id == id
        {
            return Some(closing.covers);
        }
        let in_window = is_after(id, cursor.acked)
            && is_after(id, self.ack_floor)
            && !is_after(id, cursor.pushed);
        in_window.then_some(id)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lesson {
    Sweeping { started_ms: u64 },
    AwaitConfirm { started_ms: u64, since_ms: u64 },
}

/// A lesson that the peer confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taught {
    /// Entries sent until its end.
    pub entries: u64,
    /// From the request to the confirmation.
    pub duration_ms: u64,
}

/// The sending half.
#[derive(Debug)]
pub(super) struct Sender {
    pub tables: Vec<SendTable>,
    /// The table that the peer has selected, by our definition of it.
    pub selected: Option<usize>,
    lesson: Option<Lesson>,
    lesson_entries: u64,
    dictionary: Vec<Box<[u8]>>,
    dictionary_next: usize,
    /// What entries of the same server end with.
    servers: Servers,
    /// Whether lifetimes may be sent: not to a peer of version 2.0.
    timed: bool,
    /// What a step of a sweep found; kept for its memory.
    found: Vec<EntryIndex>,
    /// Where the next round over the tables begins, so that a busy table does not starve the others.
    first: usize,
    /// Updates sent in this session.
    pub updates_sent: u64,
    /// Entries that no message can hold.
    pub too_long: u64,
    /// Work was left because of the bounds of a turn, not for want of room.
    pub more: bool,
    /// The peer knows what a deletion is.
    pub deletions: bool,
}

impl Sender {
    pub fn new(context: &mut Context<'_>, timed: bool) -> Sender {
        let mut tables = Vec::with_capacity(context.shared.len());
        let resume_behind_sent = context.has(Fault::ResumeBehindSent);
        for (cursor, &index) in context.cursors.iter_mut().zip(context.shared) {
            if resume_behind_sent {
                cursor.acked = cursor.pushed;
            }
            cursor.pushed = cursor.acked;
            let mut sent = SendTable {
                ack_floor: cursor.acked,
                origin: cursor.acked,
                shard_seed: shard::seed(&context.tables[index]),
                ..SendTable::default()
            };
            if cursor.owed {
                let table = &mut context.tables[index];
                let until = table.local_update_id();
                table.set_pushed(until);
                cursor.pushed = until;
                sent.sweep = Some(Sweep::new(Scope::All, until));
            }
            tables.push(sent);
        }
        Sender {
            tables,
            selected: None,
            lesson: None,
            lesson_entries: 0,
            dictionary: Vec::new(),
            dictionary_next: 0,
            servers: Servers::default(),
            timed,
            found: Vec::new(),
            first: 0,
            updates_sent: 0,
            too_long: 0,
            more: false,
            deletions: false,
        }
    }

    /// The string in a slot of the cache, from 0.
    pub fn dictionary(&self, slot: usize) -> Option<&[u8]> {
        self.dictionary.get(slot).map(|string| &string[..])
    }

    /// Whether a lesson is being taught or waits for its confirmation.
    pub fn is_teaching(&self) -> bool {
        self.lesson.is_some()
    }

    /// Whether the end of a lesson has been sent and not been confirmed.
    pub fn awaits_confirm(&self) -> bool {
        matches!(self.lesson, Some(Lesson::AwaitConfirm { .. }))
    }

    /// Entries sent in the lesson so far, and when it began.
    pub fn lesson_progress(&self) -> Option<(u64, u64)> {
        let (Lesson::Sweeping { started_ms } | Lesson::AwaitConfirm { started_ms, .. }) =
            self.lesson?;
        Some((self.lesson_entries, started_ms))
    }

    /// Begins a lesson, or begins it anew.
    pub fn teach(&mut self, context: &mut Context<'_>) {
        self.lesson = Some(Lesson::Sweeping {
            started_ms: context.now_ms,
        });
        self.lesson_entries = 0;
        for (position, sent) in self.tables.iter_mut().enumerate() {
            let table = &mut context.tables[context.shared[position]];
            let until = table.local_update_id();
            // A change that comes after its entry was swept must get an id behind `until`.
            table.set_pushed(until);
            sent.origin = context.cursors[position].acked;
            sent.taught_until = None;
            sent.probe = None;
            sent.closing = None;
            sent.sweep = Some(Sweep::new(Scope::All, until));
        }
    }

    /// The peer has taken in the end of the lesson: what was swept need not be pushed again.
    pub fn confirmed(&mut self, context: &mut Context<'_>) -> Option<Taught> {
        let Some(Lesson::AwaitConfirm { started_ms, .. }) = self.lesson else {
            return None;
        };
        self.lesson = None;
        for (sent, cursor) in self.tables.iter_mut().zip(context.cursors.iter_mut()) {
            if let Some(until) = sent.taught_until.take() {
                *cursor = Cursor {
                    pushed: until,
                    acked: until,
                    owed: false,
                };
                sent.ack_floor = until;
            }
            if let Some(sweep) = sent.sweep {
                cursor.pushed = sweep.until;
                cursor.owed = true;
            }
        }
        Some(Taught {
            entries: self.lesson_entries,
            duration_ms: context.now_ms.saturating_sub(started_ms),
        })
    }

    /// An ack for the table that we numbered `table_id`. Some senders garble it: only what was pushed and not yet
    /// acknowledged counts.
    pub fn acked(&mut self, table_id: u64, id: u32, context: &mut Context<'_>) {
        if self.lesson.is_some() {
            return;
        }
        let position = match table_id.checked_sub(1) {
            Some(position) if position < self.tables.len() as u64 => position as usize,
            _ => return,
        };
        let sent = &mut self.tables[position];
        let Some(mut until) = sent.acked_until(id, context.cursors[position]) else {
            return;
        };
        if sent.last_live == Some(until) {
            // What came behind it was of entries that are gone, or not for this peer.
            until = context.cursors[position].pushed;
        }
        let beyond = u32::from(context.has(Fault::AckBeyond));
        let cursor = &mut context.cursors[position];
        cursor.acked = until.wrapping_add(beyond);
        cursor.owed = false;
        sent.closing = None;
        if let Some((probe, sent_ms)) = sent.probe
            && !is_after(probe, until)
        {
            sent.ack_rtt_ms = Some(context.now_ms.saturating_sub(sent_ms));
            sent.probe = None;
        }
    }

    /// When to look again although nothing happened.
    pub fn timeout_ms(&self) -> Option<u64> {
        match self.lesson? {
            Lesson::Sweeping { started_ms } => Some(started_ms + LESSON_MS_MAX),
            Lesson::AwaitConfirm { since_ms, .. } => Some(since_ms + CONFIRM_MS_MAX),
        }
    }

    /// Gives the confirmation up when it is overdue; says so.
    pub fn handle_timeout(&mut self, now_ms: u64, cursors: &mut [Cursor]) -> bool {
        let Some(Lesson::AwaitConfirm { since_ms, .. }) = self.lesson else {
            return false;
        };
        if now_ms < since_ms + CONFIRM_MS_MAX {
            return false;
        }
        self.lesson = None;
        for (sent, cursor) in self.tables.iter_mut().zip(cursors) {
            sent.taught_until = None;
            if let Some(sweep) = sent.sweep {
                cursor.pushed = sweep.until;
                cursor.owed = true;
            }
        }
        true
    }

    /// Encodes what there is to send: the lesson, or live updates and then what sweeps are left. `learning`: this peer
    /// is teaching us, and is left alone meanwhile. The number of bytes written.
    pub fn fill(&mut self, context: &mut Context<'_>, learning: bool, out: &mut [u8]) -> usize {
        self.more = false;
        let mut out = Output { out, end: 0 };
        match self.lesson {
            Some(Lesson::Sweeping { started_ms }) => {
                self.fill_lesson(context, started_ms, &mut out)
            }
            Some(Lesson::AwaitConfirm { .. }) => {}
            None if learning => {}
            None => {
                let count = self.tables.len();
                self.first = (self.first + 1) % count.max(1);
                let order = (self.first..count).chain(0..self.first);
                let _ = order
                    .clone()
                    .try_for_each(|position| self.fill_live(context, position, &mut out))
                    .and_then(|()| self.fill_sweeps(context, order, false, &mut out))
                    .and_then(|()| self.fill_repairs(context, &mut out));
            }
        }
        out.end
    }

    fn fill_lesson(&mut self, context: &mut Context<'_>, started_ms: u64, out: &mut Output<'_>) {
        let overdue = context.now_ms >= started_ms + LESSON_MS_MAX;
        let count = if context.has(Fault::LessonOfOneTable) {
            1
        } else {
            self.tables.len()
        };
        if !overdue && self.fill_sweeps(context, 0..count, true, out).is_err() {
            return;
        }
        if context.has(Fault::LessonOfOneTable) {
            for table in &mut self.tables[count..] {
                table.sweep = None;
            }
        }
        if !overdue && self.tables.iter().any(|table| table.sweep.is_some()) {
            return;
        }
        let end = if context.up_to_date {
            Control::ResyncFinished
        } else {
            Control::ResyncPartial
        };
        if out.append(|room| wire::encode_control(room, end)).is_ok() {
            self.lesson = Some(Lesson::AwaitConfirm {
                started_ms,
                since_ms: context.now_ms,
            });
        }
    }

    /// Live updates of one table. An error means that there is no room.
    fn fill_live(
        &mut self,
        context: &mut Context<'_>,
        position: usize,
        out: &mut Output<'_>,
    ) -> Result<(), EncodeError> {
        let index = context.shared[position];
        let local = context.tables[index].local_update_id();
        if context.cursors[position].pushed == local {
            return Ok(());
        }
        let first = context.cursors[position].pushed;
        if is_after(first, local) || context.tables[index].is_behind(first) {
            self.start_catching_up(context, position);
        }
        let mut result = Ok(());
        let mut budget = context.updates_max;
        loop {
            let pushed = context.cursors[position].pushed;
            if pushed == local {
                break;
            }
            if budget == 0 {
                self.more = true;
                break;
            }
            let table = &context.tables[index];
            table.announce_update(pushed.wrapping_add(UPDATES_AHEAD));
            match table.next_update(pushed, SKIP_BUDGET) {
                NextUpdate::UpToDate => self.skip(context, position, local),
                NextUpdate::Deletion(id, _) if !self.deletions => {
                    self.skip(context, position, id);
                    budget -= 1;
                }
                NextUpdate::Deletion(id, tombstone) => {
                    result = self.append_deletion(context, position, tombstone, id, out);
                    if result.is_err() {
                        break;
                    }
                    context.cursors[position].pushed = id;
                    self.tables[position].last_live = Some(id);
                    budget -= 1;
                }
                NextUpdate::Skipped(id) => {
                    self.skip(context, position, id);
                    budget = budget.saturating_sub(budget.min(50));
                }
                NextUpdate::Update(id, entry) if !self.is_for_peer(context, position, entry) => {
                    self.skip(context, position, id);
                    budget -= 1;
                }
                NextUpdate::Update(id, entry) => {
                    if context.has(Fault::LoseUpdate) && id % 16 == 3 {
                        context.cursors[position].pushed = id;
                        continue;
                    }
                    result = self.append_update(context, position, entry, id, true, out);
                    if result.is_err() {
                        if context.has(Fault::SkipWithoutRoom) {
                            context.cursors[position].pushed = id;
                        }
                        break;
                    }
                    context.cursors[position].pushed = id;
                    let sent = &mut self.tables[position];
                    sent.last_live = Some(id);
                    sent.probe.get_or_insert((id, context.now_ms));
                    budget -= 1;
                }
            }
        }
        let pushed = context.cursors[position].pushed;
        if !context.has(Fault::TouchedDuringSend) {
            context.tables[index].set_pushed(pushed);
        }
        result
    }

    /// Whether the peer is sent this entry at all.
    fn is_for_peer(&self, context: &Context<'_>, position: usize, entry: EntryIndex) -> bool {
        context.shard.is_none_or(|shard| {
            let table = &context.tables[context.shared[position]];
            shard.holds(table, self.tables[position].shard_seed, entry)
        })
    }

    /// Moves the cursor over changes of which there is nothing to send; with it what is acknowledged, if nothing before it waits
    /// for an ack.
    fn skip(&mut self, context: &mut Context<'_>, position: usize, id: u32) {
        let cursor = &mut context.cursors[position];
        if cursor.acked == cursor.pushed && self.tables[position].sweep.is_none() {
            cursor.acked = id;
        }
        cursor.pushed = id;
    }

    /// The log does not reach back to the cursor: sweeps the table for what changed since.
    fn start_catching_up(&mut self, context: &mut Context<'_>, position: usize) {
        let table = &context.tables[context.shared[position]];
        let until = table.local_update_id();
        let cursor = &mut context.cursors[position];
        // A cursor ahead of the log is one of another life of the table.
        let after = if is_after(cursor.pushed, until) {
            cursor.acked = until.wrapping_add((1 << 31) + 1);
            cursor.acked
        } else {
            cursor.acked
        };
        cursor.pushed = until;
        let scope = if cursor.owed {
            Scope::All
        } else {
            Scope::ChangedAfter(after)
        };
        let sent = &mut self.tables[position];
        sent.closing = None;
        sent.sweep = Some(Sweep::new(scope, until));
        self.more = true;
    }

    fn fill_sweeps(
        &mut self,
        context: &mut Context<'_>,
        order: impl Iterator<Item = usize>,
        define_all: bool,
        out: &mut Output<'_>,
    ) -> Result<(), EncodeError> {
        let mut places = SWEEP_PLACES_MAX.min(context.updates_max.max(1).saturating_mul(2));
        for position in order {
            if self.tables[position].sweep.is_none() {
                continue;
            }
            if define_all {
                self.select(context, position, out)?;
            }
            self.fill_sweep(context, position, &mut places, out)?;
            if places == 0 {
                self.more = true;
                break;
            }
        }
        Ok(())
    }

    fn fill_sweep(
        &mut self,
        context: &mut Context<'_>,
        position: usize,
        places: &mut u32,
        out: &mut Output<'_>,
    ) -> Result<(), EncodeError> {
        let index = context.shared[position];
        let message_bytes = update_bytes_max(&context.tables[index]);
        while let Some(sweep) = self.tables[position].sweep {
            let Some(cursor) = sweep.cursor else {
                return self.end_sweep(context, position, sweep, out);
            };
            if *places == 0 {
                return Ok(());
            }
            // Room for the definition and for every entry that the step may find.
            let fitting = (out.room() / message_bytes).saturating_sub(1);
            if fitting == 0 && out.room() < MESSAGE_BYTES_MAX {
                return Err(EncodeError::NoRoom);
            }
            let step = (fitting.clamp(1, 256) as u32).min(*places);
            *places -= step;
            let mut scan = context.tables[index].scan(cursor, step, context.now_ms);
            let mut found = std::mem::take(&mut self.found);
            found.clear();
            found.extend(&mut scan);
            let next = scan.next_cursor();
            self.found = found;
            let mut last = sweep.last;
            for at in 0..self.found.len() {
                let entry = self.found[at];
                let changed = context.tables[index].update_id(entry);
                if sweep.wants(changed) && self.is_for_peer(context, position, entry) {
                    // An id that the peer has acknowledged already: its ack says nothing, and is ignored.
                    let id = context.cursors[position].acked;
                    self.append_update(context, position, entry, id, false, out)?;
                    self.lesson_entries += 1;
                    last = Some(entry);
                }
            }
            let deletion =
                self.append_deletions(context, position, cursor, step, Some(sweep), out)?;
            self.tables[position].sweep = Some(Sweep {
                cursor: next,
                last,
                deletion: deletion.or(sweep.deletion),
                ..sweep
            });
        }
        Ok(())
    }

    /// All places have been seen. That of a lesson is vouched for by its confirmation, any other by the ack of one more update.
    fn end_sweep(
        &mut self,
        context: &mut Context<'_>,
        position: usize,
        sweep: Sweep,
        out: &mut Output<'_>,
    ) -> Result<(), EncodeError> {
        if self.lesson.is_some() {
            let sent = &mut self.tables[position];
            sent.taught_until = Some(sweep.until);
            sent.sweep = None;
            return Ok(());
        }
        let covers = context.cursors[position].pushed;
        let table = &context.tables[context.shared[position]];
        let last = sweep
            .last
            .filter(|&entry| table.is_visible_entry(entry, context.now_ms));
        let any = || {
            let mut scan = table.scan(0, WITNESS_PLACES_MAX, context.now_ms);
            scan.find(|&entry| self.is_for_peer(context, position, entry))
        };
        let deletion = sweep.deletion.filter(|&it| table.has_tombstone(it));
        let was_silent = sweep.last.is_none() && sweep.deletion.is_none() && covers == sweep.until;
        let apart = (1 << 31) + self.tables[position].sweeps_closed;
        let id = covers.wrapping_add(apart);
        let closing = Some(Closing { id, covers });
        match (last.or_else(any).filter(|_| !was_silent), deletion) {
            (Some(entry), _) => {
                self.append_update(context, position, entry, id, false, out)?;
                self.tables[position].closing = closing;
            }
            (None, Some(tombstone)) => {
                self.append_deletion(context, position, tombstone, id, out)?;
                self.tables[position].closing = closing;
            }
            // Nothing was sent, or nothing of it is left: there is nothing to vouch for.
            (None, None) => {
                let cursor = &mut context.cursors[position];
                cursor.acked = covers;
                cursor.owed = false;
            }
        }
        let sent = &mut self.tables[position];
        sent.sweep = None;
        sent.ack_floor = covers;
        sent.sweeps_closed = sent.sweeps_closed.wrapping_add(1) & 0xffff;
        Ok(())
    }

    /// Makes the table the one that the following updates belong to.
    fn select(
        &mut self,
        context: &Context<'_>,
        position: usize,
        out: &mut Output<'_>,
    ) -> Result<(), EncodeError> {
        if self.selected == Some(position) {
            return Ok(());
        }
        let spec = context.tables[context.shared[position]].spec();
        let stored = spec.store.iter().map(|stored| Announced {
            data_type: stored.data_type as u32,
            elements: stored.elements,
            period_ms: stored.period_ms,
        });
        out.append(|room| {
            wire::encode_define(
                room,
                position as u64 + 1,
                spec.wire_name.as_bytes(),
                spec.key_type,
                u64::from(spec.wire_key_len()),
                spec.expire_ms,
                stored.clone(),
            )
        })?;
        self.selected = Some(position);
        Ok(())
    }

    fn append_update(
        &mut self,
        context: &Context<'_>,
        position: usize,
        entry: EntryIndex,
        id: u32,
        live: bool,
        out: &mut Output<'_>,
    ) -> Result<(), EncodeError> {
        self.select(context, position, out)?;
        let table = &context.tables[context.shared[position]];
        let lifetime = self.lifetime(table, entry, live, context.now_ms);
        let before = out.end;
        let quickly = self.servers.get(position, table, entry).and_then(|values| {
            entry::encode_bound(&mut out.out[before..], table, entry, (id, lifetime), values)
        });
        let written = match quickly {
            Some(count) => {
                out.end += count;
                Ok(())
            }
            None => {
                let server = self.server_of(table, entry);
                self.servers.keep(position, table, entry, server);
                out.append(|room| {
                    encode_entry(room, table, entry, id, lifetime, server, context.now_ms)
                })
            }
        };
        match written {
            Ok(()) => {
                self.updates_sent += 1;
                self.tables[position].updates += 1;
                self.tables[position].bytes += (out.end - before) as u64;
            }
            Err(EncodeError::TooLong) => self.too_long += 1,
            Err(EncodeError::NoRoom) => return Err(EncodeError::NoRoom),
        }
        Ok(())
    }

    /// The lifetime to send, if one is to be sent.
    fn lifetime(&self, table: &Table, entry: EntryIndex, live: bool, now_ms: u64) -> Option<u32> {
        if !self.timed {
            return None;
        }
        let expire_ms = table.spec().expire_ms;
        if expire_ms == 0 {
            return (!live).then_some(LIFETIME_MS_MAX);
        }
        let remaining_ms = table.remaining_ms(entry, now_ms);
        if self.deletions {
            let lead_ms = table.lead_ms(entry, now_ms);
            if lead_ms > 0 {
                return Some((remaining_ms + lead_ms).min(LIFETIME_MS_MAX));
            }
        }
        if live && remaining_ms.saturating_add(FRESH_MS) >= expire_ms {
            return None;
        }
        Some(remaining_ms.clamp(1, LIFETIME_MS_MAX))
    }

    /// The entry's server as it is sent: with the slot of its name.
    fn server_of<'a>(&mut self, table: &'a Table, entry: EntryIndex) -> (i32, Value<'a>) {
        let (id, key) = table.server(entry);
        let key = match key {
            Some(key) => Value::String(self.dictionary_slot(key), key),
            None => Value::NoString,
        };
        (id, key)
    }

    /// The slot of a string, from 1. A new string takes the oldest slot.
    fn dictionary_slot(&mut self, string: &[u8]) -> u8 {
        let known = self.dictionary.iter().position(|held| **held == *string);
        let slot = known.unwrap_or_else(|| {
            let slot = self.dictionary_next;
            self.dictionary_next = (slot + 1) % DICTIONARY_SLOTS;
            // The slot may have been another name's.
            self.servers = Servers::default();
            match self.dictionary.get_mut(slot) {
                Some(held) => *held = string.into(),
                None => self.dictionary.push(string.into()),
            }
            slot
        });
        slot as u8 + 1
    }
}

/// The room given, and how much of it is used.
struct Output<'a> {
    out: &'a mut [u8],
    end: usize,
}

impl Output<'_> {
    fn room(&self) -> usize {
        self.out.len() - self.end
    }

    fn append(
        &mut self,
        encode: impl FnOnce(&mut [u8]) -> Result<usize, EncodeError>,
    ) -> Result<(), EncodeError> {
        self.end += encode(&mut self.out[self.end..])?;
        Ok(())
    }
}
