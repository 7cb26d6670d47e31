//! What a session says and hears beyond the protocol, when its peer is a burdock too (`wire/extension` draws it).
//!
//! Invariant: nothing of the extension is sent before the peer has proved that it knows it, and nothing is taken in before.

use super::{Context, Session, SessionEvent};
use crate::peers::clock::PeerClock;
use crate::peers::send;
use crate::peers::wire::WireError;
use crate::peers::wire::extension::{self, Extension};
use crate::stick::Digest;

/// How often the tables are compared.
const DIGEST_MS: u64 = 3_000;

/// What a peer says that it holds of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldThere {
    /// Nothing that it was given was evicted or refused.
    pub complete: bool,
    /// It stores `server_id`.
    pub has_ids: bool,
    /// It stores `server_key`, all of them.
    pub has_names: bool,
    /// Its `expire`.
    pub expire_ms: u64,
    /// Its entries.
    pub entries: u64,
    /// Its digest.
    pub digest: Digest,
}

#[derive(Debug, Default)]
pub(super) struct Extended {
    /// We offered the extension in our hello, or answer an offer.
    offered: bool,
    /// Version spoken; 0 until the peer has proved that it speaks one.
    version: u64,
    /// Where two entries are of one age, the peer's counts.
    theirs_first: bool,
    /// A greeting that is to be sent.
    greeting_due: bool,
    clock: PeerClock,
    digest_at_ms: u64,
    /// The table whose digest is sent next in this round.
    next_table: usize,
    /// The table that we want in full: its position, and whether the wish was sent.
    repair: Option<(usize, bool)>,
    /// When the last entry of it came.
    repair_progress_ms: u64,
}

impl Extended {
    /// The acceptor's answer, to follow its status.
    pub fn hello(&self, now_ms: u64) -> Vec<u8> {
        let mut out = [0; 32];
        if !self.offered {
            return Vec::new();
        }
        match extension::encode_hello(&mut out, extension::VERSION, now_ms) {
            Ok(count) => out[..count].to_vec(),
            Err(_) => Vec::new(),
        }
    }

    /// The name of a table that is to be asked for.
    pub fn repair_due<'a>(&self, context: &'a Context<'_>) -> Option<&'a [u8]> {
        let (position, false) = self.repair? else {
            return None;
        };
        let table = &context.tables[*context.shared.get(position)?];
        Some(table.spec().wire_name.as_bytes())
    }

    /// It was asked for.
    pub fn repair_asked(&mut self) {
        if let Some((_, asked)) = &mut self.repair {
            *asked = true;
        }
    }
}

impl Session {
    /// Offers the extension in the hello that is about to be sent, or answers the offer of the one that was received.
    /// `theirs_first`: where two entries are of one age, the peer's counts. `clock`: what is known of its clock.
    pub fn offer_extension(&mut self, theirs_first: bool, clock: PeerClock) {
        self.extended.offered = true;
        self.extended.theirs_first = theirs_first;
        self.extended.clock = clock;
    }

    /// What this session knows of the peer's clock.
    pub fn peer_clock(&self) -> PeerClock {
        self.extended.clock
    }

    /// Whether the peer is a burdock that compares its tables with ours.
    pub fn is_extended(&self) -> bool {
        self.extended.version > 0
    }

    /// Asks for all entries of the table at this position, to merge them with ours.
    pub fn request_repair(&mut self, position: usize, now_ms: u64) {
        self.extended.repair = Some((position, false));
        self.extended.repair_progress_ms = now_ms;
    }

    /// When the last entry of the repair under way came.
    pub fn repair_progress_ms(&self) -> Option<u64> {
        self.extended
            .repair
            .map(|_| self.extended.repair_progress_ms)
    }

    /// Gives up waiting for the rest of a repair.
    pub fn abandon_repair(&mut self) {
        self.extended.repair = None;
    }

    /// The session is established: who accepted an offer has its proof.
    pub(super) fn begin_extension(&mut self, now_ms: u64) {
        if self.extended.offered && !self.dialled {
            self.extend(extension::VERSION, now_ms);
        }
    }

    fn extend(&mut self, version: u64, now_ms: u64) {
        self.extended.version = version.min(extension::VERSION);
        self.extended.digest_at_ms = now_ms + DIGEST_MS;
        if let Some((_, sender)) = &mut self.halves {
            sender.deletions = self.extended.version > 0;
        }
    }

    pub(super) fn handle_extension(
        &mut self,
        kind: u8,
        body: &[u8],
        context: &mut Context<'_>,
    ) -> Result<(), WireError> {
        let may_greet = self.extended.offered && self.dialled;
        if !self.is_extended() && !may_greet {
            return Ok(());
        }
        let message = extension::decode(kind, body)?;
        if let Extension::Hello(version, clock_ms) = message {
            if !self.is_extended() {
                self.extended.greeting_due = true;
                self.extend(version, context.now_ms);
            }
            self.extended.clock.note(clock_ms, context.now_ms);
            return Ok(());
        }
        let (clock, now_ms) = (self.extended.clock, context.now_ms);
        let delay_ms = |clock_ms| clock.delay_ms(clock_ms, now_ms);
        let Some((receiver, sender)) = &mut self.halves else {
            return Ok(());
        };
        if self.extended.version == 0 {
            return Ok(());
        }
        match message {
            Extension::Hello(..) | Extension::Unknown => {}
            Extension::Digest(report) => {
                self.extended.clock.note(report.clock_ms, context.now_ms);
                let held = HeldThere {
                    complete: report.complete,
                    has_ids: report.has_ids,
                    has_names: report.has_names,
                    expire_ms: report.expire_ms,
                    entries: report.entries,
                    digest: report.digest,
                };
                if let Some(position) = position_of(report.table, context) {
                    self.events.push_back(SessionEvent::Digest(position, held));
                }
            }
            Extension::Repair(name) => {
                if let Some(position) = position_of(name, context) {
                    sender.start_repair(position);
                }
            }
            Extension::Entry(body) => {
                // Nobody sends these unasked; who does is not believed.
                if self.extended.repair.is_some() {
                    let theirs_first = self.extended.theirs_first;
                    if receiver.merge(body, theirs_first, delay_ms, context)? {
                        self.counters.updates_received += 1;
                    }
                    self.extended.repair_progress_ms = context.now_ms;
                }
            }
            Extension::Repaired(entries, name) => {
                let position = position_of(name, context);
                if let Some((wanted, _)) = self.extended.repair
                    && position == Some(wanted)
                {
                    self.extended.repair = None;
                    self.events
                        .push_back(SessionEvent::Repaired(wanted, entries));
                }
            }
            Extension::Deletion(body) => {
                if receiver.delete(body, delay_ms, context)? {
                    self.counters.updates_received += 1;
                }
            }
        }
        Ok(())
    }

    /// When digests are due.
    pub(super) fn digest_at_ms(&self) -> Option<u64> {
        self.is_extended().then_some(self.extended.digest_at_ms)
    }

    /// Greets, and says what is held of each table, if all its changes have been sent.
    pub(super) fn write_digests(&mut self, out: &mut [u8], context: &mut Context<'_>) -> usize {
        let mut end = 0;
        if self.extended.greeting_due {
            let greeting = self.extended.hello(context.now_ms);
            let Some(room) = out.get_mut(..greeting.len()) else {
                return 0;
            };
            room.copy_from_slice(&greeting);
            end = greeting.len();
            self.extended.greeting_due = false;
        }
        if !self.is_extended() || context.now_ms < self.extended.digest_at_ms {
            return end;
        }
        let is_quiet = context.up_to_date && self.learning.is_none();
        while let (Some(&index), true) = (context.shared.get(self.extended.next_table), is_quiet) {
            let has_sent_all = self
                .sender()
                .is_some_and(|sender| sender.has_sent_all(self.extended.next_table, context));
            if has_sent_all {
                let mut report = send::report(&context.tables[index], context.now_ms);
                // Who is sent only its shard must not take what it lacks for a fault; nor what is here from another table.
                report.complete &= context.shard.is_none() && !context.learning.writes_to(index);
                match extension::encode_digest(&mut out[end..], &report) {
                    Ok(count) => end += count,
                    Err(_) => return end,
                }
            }
            self.extended.next_table += 1;
        }
        self.extended.next_table = 0;
        self.extended.digest_at_ms = context.now_ms + DIGEST_MS;
        end
    }
}

fn position_of(name: &[u8], context: &Context<'_>) -> Option<usize> {
    context
        .shared
        .iter()
        .position(|&index| context.tables[index].spec().wire_name.as_bytes() == name)
}
