//! What an entry stores: integers, rates, and the server it is bound to.
//!
//! Values of one word, the server's two fields among them, change in one store. A rate has three numbers in two words: the
//! old words are kept in the header's journal while they change, so that a successor finds the old rate or the new one.
//! Not here: who is told of a change; call `touch_local` or `touch_remote` after it.

use super::cell::Slot;
use super::header::{Change, Word};
use super::layout::Field;
use super::rate::Rate;
use super::spec::{DataClass, DataType};
use super::table::{EntryIndex, Table};

impl Table {
    /// Whether the table stores the type at all.
    pub fn stores(&self, data_type: DataType) -> bool {
        self.spec.stored(data_type).is_some()
    }

    /// An integer value (not a rate, not `server_key`). `None`: not stored, or no such element.
    pub fn value(&self, entry: EntryIndex, data_type: DataType, element: u32) -> Option<u64> {
        if data_type == DataType::ServerId {
            let is_stored = self.entries.layout.stores_server_id && element == 0;
            return is_stored.then(|| i64::from(self.server(entry).0) as u64);
        }
        let entry = self.live(entry);
        if data_type == DataType::ConnCur && !self.entries.is_of_epoch(entry, self.epoch) {
            return self.field(data_type, element).map(|_| 0);
        }
        self.value_at(entry, data_type, element)
    }

    /// The same of a place, whatever is there now; not `server_id`.
    pub(super) fn value_at(&self, entry: u32, data_type: DataType, element: u32) -> Option<u64> {
        let field = self.field(data_type, element)?;
        match field.class {
            DataClass::Unsigned64 => Some(
                self.entries
                    .word(entry, field.cell / 2 + element as usize)
                    .get(),
            ),
            DataClass::Unsigned32 => Some(u64::from(
                self.entries.half(entry, field.cell + element as usize),
            )),
            DataClass::Signed32 | DataClass::Rate | DataClass::Name => None,
        }
    }

    /// Sets an integer value (cut to the type's width); `false` as `None` above.
    pub fn set_value(
        &mut self,
        entry: EntryIndex,
        data_type: DataType,
        element: u32,
        value: u64,
    ) -> bool {
        if self.is_frozen {
            return false;
        }
        if data_type == DataType::ServerId {
            let is_stored = self.entries.layout.stores_server_id && element == 0;
            self.set_server_id(entry, value as i32);
            return is_stored;
        }
        let Some(field) = self.field(data_type, element).copied() else {
            return false;
        };
        let entry = self.live(entry);
        match field.class {
            DataClass::Unsigned64 => self
                .entries
                .word(entry, field.cell / 2 + element as usize)
                .set(value),
            DataClass::Unsigned32 => {
                if data_type == DataType::ConnCur {
                    self.fresh_marks(entry);
                }
                self.entries
                    .set_half(entry, field.cell + element as usize, value as u32);
            }
            DataClass::Signed32 | DataClass::Rate | DataClass::Name => return false,
        }
        self.changed(entry);
        true
    }

    /// Adds to an integer value, modulo its width; a gauge (`conn_cur`) does not go below zero. Returns the new value.
    pub fn add_value(
        &mut self,
        entry: EntryIndex,
        data_type: DataType,
        element: u32,
        delta: i64,
    ) -> Option<u64> {
        let old = self.value(entry, data_type, element)?;
        let new = match data_type {
            DataType::ConnCur => old.saturating_add_signed(delta),
            _ => old.wrapping_add_signed(delta),
        };
        self.set_value(entry, data_type, element, new);
        self.value(entry, data_type, element)
    }

    /// Events per period at `now_ms`.
    pub fn rate_read(
        &self,
        entry: EntryIndex,
        data_type: DataType,
        element: u32,
        now_ms: u64,
    ) -> Option<u32> {
        let period_ms = self.rate_field(data_type, element)?.period_ms;
        Some(
            self.rate(entry, data_type, element)?
                .read(now_ms, period_ms),
        )
    }

    /// Counts events in a rate; returns the new reading.
    pub fn rate_add(
        &mut self,
        entry: EntryIndex,
        data_type: DataType,
        element: u32,
        events: u32,
        now_ms: u64,
    ) -> Option<u32> {
        let period_ms = self.rate_field(data_type, element)?.period_ms;
        let rate = self
            .rate(entry, data_type, element)?
            .add(now_ms, period_ms, events);
        self.set_rate(entry, data_type, element, rate);
        Some(rate.read(now_ms, period_ms))
    }

    /// The state of a rate, for the wire.
    pub fn rate(&self, entry: EntryIndex, data_type: DataType, element: u32) -> Option<Rate> {
        let entry = self.live(entry);
        self.rate_at(entry, data_type, element)
    }

    /// The same of a place, whatever is there now.
    pub(super) fn rate_at(&self, entry: u32, data_type: DataType, element: u32) -> Option<Rate> {
        let cell = self.rate_field(data_type, element)?.cell + 3 * element as usize;
        Some(Rate {
            start_ms: self.entries.half(entry, cell),
            current: self.entries.half(entry, cell + 1),
            previous: self.entries.half(entry, cell + 2),
        })
    }

    /// Overwrites the state of a rate with what a peer sent.
    pub fn set_rate(
        &mut self,
        entry: EntryIndex,
        data_type: DataType,
        element: u32,
        rate: Rate,
    ) -> bool {
        if self.is_frozen {
            return false;
        }
        let Some(field) = self.rate_field(data_type, element) else {
            return false;
        };
        let cell = field.cell + 3 * element as usize;
        let entry = self.live(entry);
        let first = self.entries.at(entry) + cell / 2;
        self.header.begin(self.owner, Change::Values);
        self.header.journal(
            first,
            self.entries.cells[first..first + 2].iter().map(Slot::get),
        );
        self.entries.step_sequence(entry);
        self.entries.set_half(entry, cell, rate.start_ms);
        self.entries.set_half(entry, cell + 1, rate.current);
        self.entries.set_half(entry, cell + 2, rate.previous);
        self.entries.step_sequence(entry);
        self.header.end_journal();
        self.header.end();
        self.changed(entry);
        true
    }

    /// The server that the entry is bound to: `server_id` (0: none) and `server_key` (a name, or an address).
    pub fn server(&self, entry: EntryIndex) -> (i32, Option<&[u8]>) {
        let layout = &self.entries.layout;
        if !layout.stores_server_id && !layout.stores_server_key {
            return (0, None);
        }
        let word = self
            .entries
            .word(self.live(entry), layout.server_word)
            .get();
        (
            word as i32,
            place_in(word).and_then(|place| self.names.get(place)),
        )
    }

    /// A number for what `server` says of the entry, and one that changes when such numbers lose their meaning.
    #[inline]
    pub fn server_number(&self, entry: EntryIndex) -> (u64, u32) {
        let layout = &self.entries.layout;
        let number = match layout.stores_server_id || layout.stores_server_key {
            true => self
                .entries
                .word(self.live(entry), layout.server_word)
                .get(),
            false => 0,
        };
        (number, self.names.changes)
    }

    /// Binds the entry to a server: both fields change in one store. `None` removes the key.
    pub fn set_server(&mut self, entry: EntryIndex, id: i32, key: Option<&[u8]>) {
        if self.server(entry) == (id, key) {
            return;
        }
        let place = key.and_then(|key| self.place_of(key));
        self.write_server(entry, Some(id), Some(place));
    }

    /// Sets `server_id` alone.
    pub fn set_server_id(&mut self, entry: EntryIndex, id: i32) {
        self.write_server(entry, Some(id), None);
    }

    /// Sets `server_key` alone; `false`: not stored, and the entry has no key now (see `Counters::names_refused`).
    pub fn set_server_key(&mut self, entry: EntryIndex, key: &[u8]) -> bool {
        let place = self.place_of(key);
        self.write_server(entry, None, Some(place));
        place.is_some()
    }

    /// The place of a name in the dictionary, if the table has one and it has room.
    fn place_of(&mut self, name: &[u8]) -> Option<u32> {
        if !self.entries.layout.stores_server_key {
            return None;
        }
        let place = self.names.place_of(name);
        if place.is_none() {
            self.header.add(Word::NamesRefused, 1);
        }
        place
    }

    /// Writes what is given of the server's fields, as far as the table stores them.
    fn write_server(&mut self, entry: EntryIndex, id: Option<i32>, place: Option<Option<u32>>) {
        let layout = &self.entries.layout;
        let (id, place) = (
            id.filter(|_| layout.stores_server_id),
            place.filter(|_| layout.stores_server_key),
        );
        if self.is_frozen || id.is_none() && place.is_none() {
            return;
        }
        let cell = self.entries.word(self.live(entry), layout.server_word);
        let old = cell.get();
        let id = id.unwrap_or(old as i32);
        let place = place.unwrap_or(place_in(old));
        let new = u64::from(place.map_or(0, |place| place + 1)) << 32 | u64::from(id as u32);
        if new == old {
            return;
        }
        // Who dies in here leaves a digest that is wrong: it is added up again then.
        self.header.begin(self.owner, Change::Structure);
        let parked = self.entries.marks(entry.0, self.epoch).parked;
        if !parked {
            let change = self.digest_change(entry.0, old, new);
            self.set_digest(self.digest().plus(change));
        }
        if let Some(place) = place {
            self.names.refer(place);
        }
        let layout = &self.entries.layout;
        match layout.proof_word {
            None => self.entries.word(entry.0, layout.server_word).set(new),
            Some(_) => self.set_proven_server(entry.0, new),
        }
        if let Some(place) = place_in(old) {
            self.names.release(place);
        }
        self.header.end();
        self.changed(entry.0);
    }

    /// What is stored at a place of another process's table, whatever is there now: its names may be newer than ours.
    pub(super) fn server_at(&self, entry: u32) -> (i32, Option<Box<[u8]>>) {
        let layout = &self.entries.layout;
        if !layout.stores_server_id && !layout.stores_server_key {
            return (0, None);
        }
        let word = self.entries.word(entry, layout.server_word).get();
        let name = place_in(word).and_then(|place| self.names.read(place));
        (word as i32, name)
    }

    /// Gives back the name of an entry that is no more.
    pub(super) fn forget_server(&mut self, entry: u32) {
        let layout = &self.entries.layout;
        if !layout.stores_server_key {
            return;
        }
        let cell = self.entries.word(entry, layout.server_word);
        if let Some(place) = place_in(cell.get()) {
            cell.set(0);
            self.names.release(place);
        }
    }

    /// Counts again who uses which name; one that is not in the dictionary is taken from its entry.
    pub(super) fn recount_names(&mut self, entry: u32) {
        let layout = &self.entries.layout;
        if !layout.stores_server_key {
            return;
        }
        let cell = self.entries.word(entry, layout.server_word);
        match place_in(cell.get()) {
            Some(place) if self.names.get(place).is_some() => self.names.refer(place),
            Some(_) => {
                let nameless = u64::from(cell.get() as u32);
                cell.set(nameless);
                self.prove(entry, nameless);
            }
            None => {}
        }
    }

    /// Puts the gauge of connections to zero: those of an earlier owner died with it.
    pub(super) fn reset_gauge(&mut self, entry: u32) {
        if let Some(field) = self.entries.layout.field(DataType::ConnCur) {
            self.entries.set_half(entry, field.cell, 0);
        }
    }

    fn field(&self, data_type: DataType, element: u32) -> Option<&Field> {
        self.entries
            .layout
            .field(data_type)
            .filter(|field| element < field.elements)
    }

    fn rate_field(&self, data_type: DataType, element: u32) -> Option<Field> {
        self.field(data_type, element)
            .filter(|field| field.class == DataClass::Rate)
            .copied()
    }
}

/// The place in the dictionary that a server word holds.
pub(super) fn place_in(word: u64) -> Option<u32> {
    ((word >> 32) as u32).checked_sub(1)
}
