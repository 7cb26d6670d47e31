//! Tracked counters: the entries that a connection or a request counts in (configuration manual, "track-sc0").
//!
//! A set is held by a connection (`tcp-request connection` and `session`) or by one request (the other rule sets). Beginning to
//! track makes or finds the entry and keeps it from expiring; every event after that is counted in all entries of the set, as
//! far as their tables store it, and announced to the peers.
//! Invariant: each tracked entry is referred to once by its set; [`Tracked::end`] gives all references back.
//! Not here: which events happen when (`stream`), keys (`sample`).

use super::key::{Key, KeyBuf};
use super::spec::DataType;
use super::table::{EntryIndex, Table};

/// Most counters that one set can have (`tune.stick-counters`).
pub const STICK_COUNTERS_MAX: usize = 16;

/// `tune.stick-counters` when it is not given.
pub const STICK_COUNTERS: usize = 3;

/// One counter: the entry that it counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Index of the table.
    pub table: u32,
    /// The entry.
    pub entry: EntryIndex,
}

/// What happened, in the words of the data types that count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A connection came (`conn_cnt`, `conn_rate`); `conn_cur` is counted by `begin` and `end`.
    Connection,
    /// A connection got past the `tcp-request connection` rules (`sess_cnt`, `sess_rate`).
    Session,
    /// A request began, valid or not (`http_req_cnt`, `http_req_rate`).
    Request,
    /// The client's fault: an invalid request, a denied one, a 4xx response (`http_err_cnt`, `http_err_rate`).
    Error,
    /// The server's fault: an invalid response, a 5xx one but 501 and 505 (`http_fail_cnt`, `http_fail_rate`).
    Failure,
}

impl Event {
    /// Whose fault a response of that status is, if it is anyone's.
    pub fn of_status(status: u16) -> Option<Event> {
        match status {
            400..=499 => Some(Event::Error),
            501 | 505 => None,
            500..=599 => Some(Event::Failure),
            _ => None,
        }
    }

    fn data_types(self) -> (DataType, DataType) {
        match self {
            Event::Connection => (DataType::ConnCnt, DataType::ConnRate),
            Event::Session => (DataType::SessCnt, DataType::SessRate),
            Event::Request => (DataType::HttpReqCnt, DataType::HttpReqRate),
            Event::Error => (DataType::HttpErrCnt, DataType::HttpErrRate),
            Event::Failure => (DataType::HttpFailCnt, DataType::HttpFailRate),
        }
    }
}

/// The counters of one connection or request.
#[derive(Debug, Default)]
pub struct Tracked {
    counters: [Option<Counter>; STICK_COUNTERS_MAX],
    /// How many of them track something.
    count: u8,
}

impl Tracked {
    /// The counter of that number, if it tracks something.
    pub fn counter(&self, number: usize) -> Option<Counter> {
        *self.counters.get(number)?
    }

    /// All counters that track something, with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (usize, Counter)> + '_ {
        let counters = match self.count {
            0 => &[][..],
            _ => &self.counters[..],
        };
        let numbered = counters.iter().enumerate();
        numbered.filter_map(|(number, counter)| counter.map(|counter| (number, counter)))
    }

    /// Whether nothing is tracked.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Begins to track `key` in the table, and counts the connection. `false`: the counter tracks something already, or the
    /// table refused the entry.
    pub fn begin(
        &mut self,
        number: usize,
        (table_index, key): (u32, Key<'_>),
        tables: &mut [Table],
        now_ms: u64,
    ) -> bool {
        let Some(slot) = self.counters.get_mut(number).filter(|slot| slot.is_none()) else {
            return false;
        };
        let Some(table) = tables.get_mut(table_index as usize) else {
            return false;
        };
        let Some(entry) = table
            .lookup_or_insert(key, now_ms)
            .map(|inserted| inserted.entry())
        else {
            return false;
        };
        table.refer(entry);
        table.add_value(entry, DataType::ConnCur, 0, 1);
        count(table, entry, Event::Connection, now_ms);
        table.touch_local(entry, now_ms);
        *slot = Some(Counter {
            table: table_index,
            entry,
        });
        self.count += 1;
        true
    }

    /// Ends all tracking: gives the references back, and the connections of `conn_cur`.
    pub fn end(&mut self, tables: &mut [Table], now_ms: u64) {
        if std::mem::take(&mut self.count) == 0 {
            return;
        }
        for slot in &mut self.counters {
            let Some(counter) = slot.take() else { continue };
            let table = &mut tables[counter.table as usize];
            table.add_value(counter.entry, DataType::ConnCur, 0, -1);
            table.touch_local(counter.entry, now_ms);
            table.release(counter.entry, now_ms);
        }
    }

    /// Forgets all without touching a table: another process owns the tables now.
    pub fn forget(&mut self) {
        *self = Tracked::default();
    }
}

/// A counter in words that another process, with tables of its own, understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterName {
    /// Which counter.
    pub number: u8,
    /// Name of the table.
    pub table: String,
    /// The key's bytes.
    pub key: Vec<u8>,
}

/// What happened to a tracked entry after its table had gone to another process, to be counted there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LateCount {
    /// The counter.
    pub counter: CounterName,
    /// See [`Event::Error`].
    pub errors: u32,
    /// See [`Event::Failure`].
    pub failures: u32,
    /// Bytes from the client, and to it.
    pub bytes: (u64, u64),
}

impl CounterName {
    /// The table and the key here; `None`: there is no such table, or its keys are of another kind.
    fn find(&self, tables: &[Table]) -> Option<(usize, KeyBuf)> {
        let table = tables
            .iter()
            .position(|table| table.spec().name == self.table)?;
        Some((table, KeyBuf::new(tables[table].spec(), &self.key)?))
    }
}

impl LateCount {
    /// Counts it. A table that is gone has no use for it.
    pub fn apply(&self, tables: &mut [Table], now_ms: u64) {
        let Some((table, key)) = self.counter.find(tables) else {
            return;
        };
        let Some(inserted) = tables[table].lookup_or_insert(key.as_key(), now_ms) else {
            return;
        };
        let counter = Counter {
            table: table as u32,
            entry: inserted.entry(),
        };
        for (event, times) in [(Event::Error, self.errors), (Event::Failure, self.failures)] {
            (0..times).for_each(|_| counter.count(event, tables, now_ms));
        }
        counter.count_bytes(self.bytes, tables, now_ms);
    }
}

impl Tracked {
    /// The counters in words, for another process.
    pub fn names(&self, tables: &[Table]) -> Vec<CounterName> {
        let name = |(number, counter): (usize, Counter)| {
            let table = tables.get(counter.table as usize)?;
            Some(CounterName {
                number: number as u8,
                table: table.spec().name.clone(),
                key: table.key(counter.entry).as_bytes().to_vec(),
            })
        };
        self.iter().filter_map(name).collect()
    }

    /// Goes on with a counter that another process began: the connection is counted among the present ones, and as nothing new.
    pub fn resume(&mut self, name: &CounterName, tables: &mut [Table], now_ms: u64) {
        let Some(slot) = self.counters.get_mut(usize::from(name.number)) else {
            return;
        };
        let Some((index, key)) = name.find(tables).filter(|_| slot.is_none()) else {
            return;
        };
        let table = &mut tables[index];
        let Some(inserted) = table.lookup_or_insert(key.as_key(), now_ms) else {
            return;
        };
        let entry = inserted.entry();
        table.refer(entry);
        table.add_value(entry, DataType::ConnCur, 0, 1);
        *slot = Some(Counter {
            table: index as u32,
            entry,
        });
        self.count += 1;
    }
}

impl Counter {
    /// Counts an event in this entry.
    pub fn count(self, event: Event, tables: &mut [Table], now_ms: u64) {
        let table = &mut tables[self.table as usize];
        if count(table, self.entry, event, now_ms) {
            table.touch_local(self.entry, now_ms);
        }
    }

    /// Counts bytes in this entry: from the client, and to it.
    pub fn count_bytes(self, moved: (u64, u64), tables: &mut [Table], now_ms: u64) {
        let table = &mut tables[self.table as usize];
        let mut is_counted = false;
        for (bytes, total, rate) in [
            (moved.0, DataType::BytesInCnt, DataType::BytesInRate),
            (moved.1, DataType::BytesOutCnt, DataType::BytesOutRate),
        ] {
            if bytes > 0 {
                let events = u32::try_from(bytes).unwrap_or(u32::MAX);
                let is_total = table
                    .add_value(self.entry, total, 0, bytes as i64)
                    .is_some();
                let is_rate = table
                    .rate_add(self.entry, rate, 0, events, now_ms)
                    .is_some();
                is_counted |= is_total || is_rate;
            }
        }
        if is_counted {
            table.touch_local(self.entry, now_ms);
        }
    }
}

/// Counts an event; whether the table stores any of it.
fn count(table: &mut Table, entry: EntryIndex, event: Event, now_ms: u64) -> bool {
    let (total, rate) = event.data_types();
    let is_total = table.add_value(entry, total, 0, 1).is_some();
    let is_rate = table.rate_add(entry, rate, 0, 1, now_ms).is_some();
    is_total || is_rate
}
