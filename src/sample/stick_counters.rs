//! What stick tables know, as fetches and converters: `sc_*`, `sc0_*` to `sc2_*` (the counters that a stream tracks), `src_*` (the entry of
//! the client's address), `table_*` (the entry of any value) (configuration manual, 7.3.1, 7.3.3).
//!
//! One list says what can be read of an entry; it becomes four to six keywords an item. An entry that does not exist reads as zero; a
//! data type that the table does not store has no value. `gpc0`, `gpc1`, `gpt0` mean the first elements of the arrays
//! where a table stores those.
//! Not here: what is counted when (`stick::Tracked` and its callers).

use super::args::{Arg, ArgType, Args, Signature};
use super::context::Context;
use super::convert::Convert;
use super::fetch::Fetch;
use super::key;
use super::usage::Source;
use super::value::{Sample, Type};
use crate::stick::{DataType, EntryIndex, KeyBuf, KeyType, Table};

/// What is read of an entry, or done with it.
#[derive(Clone, Copy)]
enum Reading {
    Value(DataType),
    Rate(DataType),
    Kilobytes(DataType),
    /// `gpc0`, `gpc1` and their rates, `gpt0`: by number.
    Gpc(u32),
    GpcRate(u32),
    Gpt,
    /// Adds one to a counter and to its rate; the value is the new one.
    Increment(u32),
    /// Puts a counter to zero; the value is the old one.
    Clear(u32),
    /// The same for the elements of an array, by the first argument.
    ArrayGpc,
    ArrayGpcRate,
    ArrayGpt,
    ArrayIncrement,
    ArrayClear,
}

use Reading::{
    ArrayClear, ArrayGpc, ArrayGpcRate, ArrayGpt, ArrayIncrement, Clear, Gpc, GpcRate, Gpt,
    Increment, Kilobytes, Rate, Value,
};

/// The table of the entry and the entry, if there is one.
type Place = (usize, Option<EntryIndex>);

const fn signature(required: usize, types: &'static [ArgType]) -> Signature {
    Signature { required, types }
}

const fn fetch(
    name: &'static str,
    signature: Signature,
    output: Type,
    source: Source,
    run: super::fetch::FetchFn,
) -> Fetch {
    Fetch {
        name,
        signature,
        check: None,
        output,
        source,
        needs_destination: false,
        run,
    }
}

const fn convert(
    name: &'static str,
    signature: Signature,
    output: Type,
    run: super::convert::ConvertFn,
) -> Convert {
    Convert {
        name,
        signature,
        check: None,
        input: Type::Any,
        output,
        run,
    }
}

const COUNTER: Signature = signature(1, &[ArgType::Int, ArgType::OtherTable]);
const FIXED: Signature = signature(0, &[ArgType::OtherTable]);
const OWN: Signature = signature(0, &[ArgType::Table]);
const ELEMENT_OF_COUNTER: Signature =
    signature(2, &[ArgType::Int, ArgType::Int, ArgType::OtherTable]);
const ELEMENT: Signature = signature(1, &[ArgType::Int, ArgType::Table]);
const OF_TABLE: Signature = signature(1, &[ArgType::Table]);
const ELEMENT_OF_TABLE: Signature = signature(2, &[ArgType::Int, ArgType::Table]);
const WITH_DEFAULT: Signature = signature(1, &[ArgType::Table, ArgType::Int]);

/// What has a keyword of its own for each way to find an entry: the tracked ones and the source's.
macro_rules! readings {
    ($($name:literal => $reading:expr;)*) => {
        /// `sc_NAME`, `sc0_NAME`, `sc1_NAME`, `sc2_NAME`, `src_NAME`.
        #[rustfmt::skip]
        static READINGS: &[[Fetch; 5]] = &[$([
            fetch(concat!("sc_", $name), COUNTER, Type::Int, Source::Internal, |args, cx, _| of_counter(args, cx, None, $reading)),
            fetch(concat!("sc0_", $name), FIXED, Type::Int, Source::Internal, |args, cx, _| of_counter(args, cx, Some(0), $reading)),
            fetch(concat!("sc1_", $name), FIXED, Type::Int, Source::Internal, |args, cx, _| of_counter(args, cx, Some(1), $reading)),
            fetch(concat!("sc2_", $name), FIXED, Type::Int, Source::Internal, |args, cx, _| of_counter(args, cx, Some(2), $reading)),
            fetch(concat!("src_", $name), OWN, Type::Int, Source::Client, |args, cx, _| of_source(args, cx, $reading)),
        ]),*];
    };
}

readings! {
    "bytes_in_rate" => Rate(DataType::BytesInRate);
    "bytes_out_rate" => Rate(DataType::BytesOutRate);
    "clr_gpc0" => Clear(0);
    "clr_gpc1" => Clear(1);
    "conn_cnt" => Value(DataType::ConnCnt);
    "conn_cur" => Value(DataType::ConnCur);
    "conn_rate" => Rate(DataType::ConnRate);
    "get_gpc0" => Gpc(0);
    "get_gpc1" => Gpc(1);
    "get_gpt0" => Gpt;
    "glitch_cnt" => Value(DataType::GlitchCnt);
    "glitch_rate" => Rate(DataType::GlitchRate);
    "gpc0_rate" => GpcRate(0);
    "gpc1_rate" => GpcRate(1);
    "http_err_cnt" => Value(DataType::HttpErrCnt);
    "http_err_rate" => Rate(DataType::HttpErrRate);
    "http_fail_cnt" => Value(DataType::HttpFailCnt);
    "http_fail_rate" => Rate(DataType::HttpFailRate);
    "http_req_cnt" => Value(DataType::HttpReqCnt);
    "http_req_rate" => Rate(DataType::HttpReqRate);
    "inc_gpc0" => Increment(0);
    "inc_gpc1" => Increment(1);
    "kbytes_in" => Kilobytes(DataType::BytesInCnt);
    "kbytes_out" => Kilobytes(DataType::BytesOutCnt);
    "sess_cnt" => Value(DataType::SessCnt);
    "sess_rate" => Rate(DataType::SessRate);
}

/// What exists once or twice only.
#[rustfmt::skip]
static OTHERS: &[Fetch] = &[
    fetch("sc_clr_gpc", ELEMENT_OF_COUNTER, Type::Int, Source::Internal, |args, cx, _| of_counter(args, cx, None, ArrayClear)),
    fetch("sc_get_gpc", ELEMENT_OF_COUNTER, Type::Int, Source::Internal, |args, cx, _| of_counter(args, cx, None, ArrayGpc)),
    fetch("sc_get_gpt", ELEMENT_OF_COUNTER, Type::Int, Source::Internal, |args, cx, _| of_counter(args, cx, None, ArrayGpt)),
    fetch("sc_gpc_rate", ELEMENT_OF_COUNTER, Type::Int, Source::Internal, |args, cx, _| of_counter(args, cx, None, ArrayGpcRate)),
    fetch("sc_inc_gpc", ELEMENT_OF_COUNTER, Type::Int, Source::Internal, |args, cx, _| of_counter(args, cx, None, ArrayIncrement)),
    fetch("sc_tracked", COUNTER, Type::Bool, Source::Internal, |args, cx, _| is_tracked(args, cx, None)),
    fetch("sc0_tracked", FIXED, Type::Bool, Source::Internal, |args, cx, _| is_tracked(args, cx, Some(0))),
    fetch("sc1_tracked", FIXED, Type::Bool, Source::Internal, |args, cx, _| is_tracked(args, cx, Some(1))),
    fetch("sc2_tracked", FIXED, Type::Bool, Source::Internal, |args, cx, _| is_tracked(args, cx, Some(2))),
    fetch("sc_trackers", COUNTER, Type::Int, Source::Internal, |args, cx, _| trackers(args, cx, None)),
    fetch("sc0_trackers", FIXED, Type::Int, Source::Internal, |args, cx, _| trackers(args, cx, Some(0))),
    fetch("sc1_trackers", FIXED, Type::Int, Source::Internal, |args, cx, _| trackers(args, cx, Some(1))),
    fetch("sc2_trackers", FIXED, Type::Int, Source::Internal, |args, cx, _| trackers(args, cx, Some(2))),
    fetch("src_clr_gpc", ELEMENT, Type::Int, Source::Client, |args, cx, _| of_source(args, cx, ArrayClear)),
    fetch("src_get_gpc", ELEMENT, Type::Int, Source::Client, |args, cx, _| of_source(args, cx, ArrayGpc)),
    fetch("src_get_gpt", ELEMENT, Type::Int, Source::Client, |args, cx, _| of_source(args, cx, ArrayGpt)),
    fetch("src_gpc_rate", ELEMENT, Type::Int, Source::Client, |args, cx, _| of_source(args, cx, ArrayGpcRate)),
    fetch("src_inc_gpc", ELEMENT, Type::Int, Source::Client, |args, cx, _| of_source(args, cx, ArrayIncrement)),
    fetch("src_updt_conn_cnt", OWN, Type::Int, Source::Client, |args, cx, _| count_connection(args, cx)),
    fetch("table_avl", OWN, Type::Int, Source::Internal, |args, cx, _| {
        let table = cx.tables.get(args.table(0)?)?;
        Some(Sample::Int(i64::from(table.spec().size) - i64::from(table.used())))
    }),
    fetch("table_cnt", OWN, Type::Int, Source::Internal, |args, cx, _| {
        let table = cx.tables.get(args.table(0)?)?;
        Some(Sample::Int(i64::from(table.used())))
    }),
];

/// The converters: the entry is that of the value.
#[rustfmt::skip]
pub(super) static CONVERTERS: &[Convert] = &[
    convert("in_table", OF_TABLE, Type::Bool, |args, input, cx| {
        let (_, entry) = of_value(args.table(0)?, input, cx)?;
        Some(Sample::Bool(entry.is_some()))
    }),
    convert("table_bytes_in_rate", OF_TABLE, Type::Int, |args, input, cx| read_value(args, input, cx, Rate(DataType::BytesInRate))),
    convert("table_bytes_out_rate", OF_TABLE, Type::Int, |args, input, cx| read_value(args, input, cx, Rate(DataType::BytesOutRate))),
    convert("table_conn_cnt", OF_TABLE, Type::Int, |args, input, cx| read_value(args, input, cx, Value(DataType::ConnCnt))),
    convert("table_conn_cur", OF_TABLE, Type::Int, |args, input, cx| read_value(args, input, cx, Value(DataType::ConnCur))),
    convert("table_conn_rate", OF_TABLE, Type::Int, |args, input, cx| read_value(args, input, cx, Rate(DataType::ConnRate))),
    convert("table_expire", WITH_DEFAULT, Type::Int, |args, input, cx| lifetime(args, input, cx, |_, left| left)),
    convert("table_glitch_cnt", OF_TABLE, Type::Int, |args, input, cx| read_value(args, input, cx, Value(DataType::GlitchCnt))),
    convert("table_glitch_rate", OF_TABLE, Type::Int, |args, input, cx| read_value(args, input, cx, Rate(DataType::GlitchRate))),
    convert("table_gpc", ELEMENT_OF_TABLE, Type::Int, |args, input, cx| read_value(args, input, cx, ArrayGpc)),
    convert("table_gpc0", OF_TABLE, Type::Int, |args, input, cx| read_value(args, input, cx, Gpc(0))),
    convert("table_gpc0_rate", OF_TABLE, Type::Int, |args, input, cx| read_value(args, input, cx, GpcRate(0))),
    convert("table_gpc1", OF_TABLE, Type::Int, |args, input, cx| read_value(args, input, cx, Gpc(1))),
    convert("table_gpc1_rate", OF_TABLE, Type::Int, |args, input, cx| read_value(args, input, cx, GpcRate(1))),
    convert("table_gpc_rate", ELEMENT_OF_TABLE, Type::Int, |args, input, cx| read_value(args, input, cx, ArrayGpcRate)),
    convert("table_gpt", ELEMENT_OF_TABLE, Type::Int, |args, input, cx| read_value(args, input, cx, ArrayGpt)),
    convert("table_gpt0", OF_TABLE, Type::Int, |args, input, cx| read_value(args, input, cx, Gpt)),
    convert("table_http_err_cnt", OF_TABLE, Type::Int, |args, input, cx| read_value(args, input, cx, Value(DataType::HttpErrCnt))),
    convert("table_http_err_rate", OF_TABLE, Type::Int, |args, input, cx| read_value(args, input, cx, Rate(DataType::HttpErrRate))),
    convert("table_http_fail_cnt", OF_TABLE, Type::Int, |args, input, cx| read_value(args, input, cx, Value(DataType::HttpFailCnt))),
    convert("table_http_fail_rate", OF_TABLE, Type::Int, |args, input, cx| read_value(args, input, cx, Rate(DataType::HttpFailRate))),
    convert("table_http_req_cnt", OF_TABLE, Type::Int, |args, input, cx| read_value(args, input, cx, Value(DataType::HttpReqCnt))),
    convert("table_http_req_rate", OF_TABLE, Type::Int, |args, input, cx| read_value(args, input, cx, Rate(DataType::HttpReqRate))),
    convert("table_idle", WITH_DEFAULT, Type::Int, |args, input, cx| lifetime(args, input, cx, |whole, left| whole.saturating_sub(left))),
    convert("table_kbytes_in", OF_TABLE, Type::Int, |args, input, cx| read_value(args, input, cx, Kilobytes(DataType::BytesInCnt))),
    convert("table_kbytes_out", OF_TABLE, Type::Int, |args, input, cx| read_value(args, input, cx, Kilobytes(DataType::BytesOutCnt))),
    convert("table_server_id", OF_TABLE, Type::Int, |args, input, cx| read_value(args, input, cx, Value(DataType::ServerId))),
    convert("table_sess_cnt", OF_TABLE, Type::Int, |args, input, cx| read_value(args, input, cx, Value(DataType::SessCnt))),
    convert("table_sess_rate", OF_TABLE, Type::Int, |args, input, cx| read_value(args, input, cx, Rate(DataType::SessRate))),
    convert("table_trackers", OF_TABLE, Type::Int, |args, input, cx| {
        let (table, entry) = of_value(args.table(0)?, input, cx)?;
        // The look itself counts as a user, as in HAProxy.
        let users = entry.map_or(0, |entry| 1 + i64::from(cx.tables[table].use_count(entry)));
        Some(Sample::Int(users))
    }),
];

/// All fetches of this file.
pub(super) fn fetches() -> impl Iterator<Item = &'static Fetch> {
    READINGS.iter().flatten().chain(OTHERS)
}

/// The counter that a stream tracks, and the entry: that counter's, or that of its key in the table that the argument
/// after the counter's number names.
fn tracked(args: &[Arg], cx: &Context<'_>, fixed: Option<usize>, skipped: usize) -> Option<Place> {
    let (number, other) = match fixed {
        Some(number) => (number, args.table(0)),
        None => {
            let number = usize::try_from(args.int(skipped)?).ok()?;
            (number, args.table(skipped + 1))
        }
    };
    let counter = cx
        .tracked
        .iter()
        .flatten()
        .find_map(|tracked| tracked.counter(number))?;
    let own = counter.table as usize;
    match other.filter(|&other| other != own) {
        None => Some((own, Some(counter.entry))),
        Some(other) => {
            let key = cx.tables.get(own)?.key(counter.entry);
            let table = cx.tables.get(other)?;
            let key = KeyBuf::new(table.spec(), key.as_bytes())?;
            Some((other, table.lookup(key.as_key(), cx.now_ms)))
        }
    }
}

fn of_counter<'a>(
    args: &'a [Arg],
    cx: &mut Context<'a>,
    fixed: Option<usize>,
    reading: Reading,
) -> Option<Sample<'a>> {
    let skipped = usize::from(reading.element(args).is_some());
    let place = tracked(args, cx, fixed, skipped)?;
    reading.read(args, place, cx)
}

fn is_tracked<'a>(
    args: &'a [Arg],
    cx: &mut Context<'a>,
    fixed: Option<usize>,
) -> Option<Sample<'a>> {
    let place = tracked(args, cx, fixed, 0);
    Some(Sample::Bool(
        place.is_some_and(|(_, entry)| entry.is_some()),
    ))
}

fn trackers<'a>(args: &'a [Arg], cx: &mut Context<'a>, fixed: Option<usize>) -> Option<Sample<'a>> {
    let (table, entry) = tracked(args, cx, fixed, 0)?;
    let users = entry.map_or(0, |entry| cx.tables[table].use_count(entry));
    Some(Sample::Int(i64::from(users)))
}

/// The client's address as a key of the table.
fn source_key(table: usize, cx: &mut Context<'_>) -> Option<KeyBuf> {
    let source = super::fetch::address(cx.source)?;
    let spec = cx.tables.get(table)?.spec();
    Some(key::convert(source, cx.scratch, spec)?.to_buf())
}

fn of_source<'a>(args: &'a [Arg], cx: &mut Context<'a>, reading: Reading) -> Option<Sample<'a>> {
    let index = args.table(usize::from(reading.element(args).is_some()))?;
    let key = source_key(index, cx)?;
    let table = cx.tables.get_mut(index)?;
    let entry = match reading {
        Increment(_) | Clear(_) | ArrayIncrement | ArrayClear => table
            .lookup_or_insert(key.as_key(), cx.now_ms)
            .map(|inserted| inserted.entry()),
        _ => table.lookup(key.as_key(), cx.now_ms),
    };
    reading.read(args, (index, entry), cx)
}

/// `src_updt_conn_cnt`: counts a connection from the source, and says how many there were.
fn count_connection<'a>(args: &'a [Arg], cx: &mut Context<'a>) -> Option<Sample<'a>> {
    let index = args.table(0)?;
    let key = source_key(index, cx)?;
    let table = cx.tables.get_mut(index)?;
    if !table.stores(DataType::ConnCnt) {
        return None;
    }
    let entry = table.lookup_or_insert(key.as_key(), cx.now_ms)?.entry();
    let count = table.add_value(entry, DataType::ConnCnt, 0, 1)?;
    table.touch_local(entry, cx.now_ms);
    Some(Sample::Int(count as i64))
}

/// The entry of a value, which must have a form that can be a key of the table.
fn of_value<'a>(table: usize, input: Sample<'a>, cx: &mut Context<'a>) -> Option<Place> {
    let of_table = cx.tables.get(table)?;
    let takes_text = matches!(of_table.spec().key_type, KeyType::String | KeyType::Binary);
    let is_empty = |text| cx.scratch.bytes(text).is_empty();
    if takes_text && input.content().is_some_and(is_empty) {
        // No entry has an empty key.
        return Some((table, None));
    }
    let key = key::convert(input, cx.scratch, of_table.spec())?;
    Some((table, of_table.lookup(key, cx.now_ms)))
}

fn read_value<'a>(
    args: &'a [Arg],
    input: Sample<'a>,
    cx: &mut Context<'a>,
    reading: Reading,
) -> Option<Sample<'a>> {
    let table = args.table(usize::from(reading.element(args).is_some()))?;
    let place = of_value(table, input, cx)?;
    reading.read(args, place, cx)
}

/// `table_expire`, `table_idle`: from the whole lifetime and what is left of it, in milliseconds; the second argument without an entry.
fn lifetime<'a>(
    args: &'a [Arg],
    input: Sample<'a>,
    cx: &mut Context<'a>,
    pick: fn(u32, u32) -> u32,
) -> Option<Sample<'a>> {
    let (table, entry) = of_value(args.table(0)?, input, cx)?;
    let Some(entry) = entry else {
        return args.int(1).map(Sample::Int);
    };
    let table = &cx.tables[table];
    let ms = pick(table.spec().expire_ms, table.remaining_ms(entry, cx.now_ms));
    Some(Sample::Int(i64::from(ms)))
}

impl Reading {
    /// The element of an array that the first argument names; `None` for readings without such an argument.
    fn element(self, args: &[Arg]) -> Option<u32> {
        match self {
            ArrayGpc | ArrayGpcRate | ArrayGpt | ArrayIncrement | ArrayClear => Some(
                args.int(0)
                    .and_then(|index| u32::try_from(index).ok())
                    .unwrap_or(u32::MAX),
            ),
            _ => None,
        }
    }

    fn read<'a>(
        self,
        args: &[Arg],
        (table, entry): Place,
        cx: &mut Context<'a>,
    ) -> Option<Sample<'a>> {
        let now_ms = cx.now_ms;
        let element = self.element(args).unwrap_or(0);
        let Some(entry) = entry else {
            return Some(Sample::Int(0));
        };
        let table = cx.tables.get_mut(table)?;
        let value = match self {
            Value(data_type) => table.value(entry, data_type, 0)?,
            Kilobytes(data_type) => table.value(entry, data_type, 0)? >> 10,
            Rate(data_type) => u64::from(table.rate_read(entry, data_type, 0, now_ms)?),
            Gpc(number) => {
                let (data_type, element) = gpc(table, number);
                table.value(entry, data_type, element)?
            }
            GpcRate(number) => {
                let (data_type, element) = gpc_rate(table, number);
                u64::from(table.rate_read(entry, data_type, element, now_ms)?)
            }
            Gpt => {
                let data_type = gpt(table);
                table.value(entry, data_type, 0)?
            }
            ArrayGpc => table.value(entry, DataType::Gpc, element)?,
            ArrayGpt => table.value(entry, DataType::Gpt, element)?,
            ArrayGpcRate => {
                u64::from(table.rate_read(entry, DataType::GpcRate, element, now_ms)?)
            }
            Increment(number) => {
                let (count, rate) = (gpc(table, number), gpc_rate(table, number));
                increment(table, entry, count, rate, now_ms).unwrap_or(0)
            }
            ArrayIncrement => {
                let (count, rate) = ((DataType::Gpc, element), (DataType::GpcRate, element));
                increment(table, entry, count, rate, now_ms).unwrap_or(0)
            }
            Clear(number) => clear(table, entry, gpc(table, number), now_ms)?,
            ArrayClear => clear(table, entry, (DataType::Gpc, element), now_ms)?,
        };
        Some(Sample::Int(i64::try_from(value).unwrap_or(i64::MAX)))
    }
}

/// Where a table stores `gpc0` or `gpc1`: on its own, or as an element of `gpc`.
pub fn gpc(table: &Table, number: u32) -> (DataType, u32) {
    let single = [DataType::Gpc0, DataType::Gpc1][usize::from(number != 0)];
    match table.stores(single) {
        true => (single, 0),
        false => (DataType::Gpc, number),
    }
}

/// Where a table stores the rate of `gpc0` or `gpc1`.
pub fn gpc_rate(table: &Table, number: u32) -> (DataType, u32) {
    let single = [DataType::Gpc0Rate, DataType::Gpc1Rate][usize::from(number != 0)];
    match table.stores(single) {
        true => (single, 0),
        false => (DataType::GpcRate, number),
    }
}

/// Where a table stores `gpt0`.
pub fn gpt(table: &Table) -> DataType {
    match table.stores(DataType::Gpt0) {
        true => DataType::Gpt0,
        false => DataType::Gpt,
    }
}

/// Adds one to a counter and to its rate, as far as they are stored: the new value, of the rate when there is no counter.
pub fn increment(
    table: &mut Table,
    entry: EntryIndex,
    count: (DataType, u32),
    rate: (DataType, u32),
    now_ms: u64,
) -> Option<u64> {
    let rate = table.rate_add(entry, rate.0, rate.1, 1, now_ms);
    let count = table.add_value(entry, count.0, count.1, 1);
    let value = count.or(rate.map(u64::from))?;
    table.touch_local(entry, now_ms);
    Some(value)
}

fn clear(
    table: &mut Table,
    entry: EntryIndex,
    (data_type, element): (DataType, u32),
    now_ms: u64,
) -> Option<u64> {
    let old = table.value(entry, data_type, element)?;
    table.set_value(entry, data_type, element, 0);
    table.touch_local(entry, now_ms);
    Some(old)
}

#[cfg(test)]
mod tests {
    use crate::sample::{Context, Scratch, Value, link, parse_expr};
    use crate::stick::{DataType, KeyType, StoredType, Table, TableSpec, Tracked};
    use std::net::SocketAddr;

    fn table(name: &str, key_type: KeyType, store: &[(DataType, u32, u32)]) -> Table {
        let spec = TableSpec {
            name: name.into(),
            wire_name: name.into(),
            key_type,
            key_len: 4,
            size: 10,
            expire_ms: 60_000,
            nopurge: false,
            expire_absolute: false,
            store: store
                .iter()
                .map(|&(data_type, elements, period_ms)| StoredType {
                    data_type,
                    elements,
                    period_ms,
                })
                .collect(),
            server_key_kind: Default::default(),
            peers: None,
        };
        Table::create(&spec, [1, 2], 1000).expect("a table")
    }

    /// Evaluates expressions one after the other, as HAProxy 2.6 did in one request that tracked `full`: 127.0.0.1 came once.
    #[test]
    fn expressions_read_what_haproxy_reads() {
        use DataType::*;
        let full = [
            (Gpt0, 1, 0),
            (Gpc0, 1, 0),
            (Gpc0Rate, 1, 10_000),
            (ConnCnt, 1, 0),
            (ConnCur, 1, 0),
            (HttpReqCnt, 1, 0),
            (BytesInCnt, 1, 0),
        ];
        let arrays = [(Gpt, 3, 0), (Gpc, 3, 0), (GpcRate, 3, 10_000)];
        let mut tables = [
            table("full", KeyType::Ip, &full),
            table("be2", KeyType::Ip, &full),
            table("few", KeyType::Ip, &[(ConnCnt, 1, 0)]),
            table("arr", KeyType::Ip, &arrays),
        ];
        let mut tracked = Tracked::default();
        let key = crate::stick::KeyBuf::parse(tables[0].spec(), "127.0.0.1").expect("a key");
        assert!(tracked.begin(0, (0, key.as_key()), &mut tables, 1000));
        let cases: &[(&str, Option<i64>)] = &[
            ("sc_conn_cnt(0)", Some(1)),
            ("sc0_conn_cnt", Some(1)),
            ("sc0_conn_cur", Some(1)),
            ("sc0_tracked", Some(1)),
            ("sc1_tracked", Some(0)),
            ("sc0_trackers", Some(1)),
            ("sc1_conn_cnt", None),
            ("sc_conn_cnt(7)", None),
            ("src_conn_cnt(full)", Some(1)),
            ("src_conn_cnt(few)", Some(0)),
            ("src_http_req_cnt(few)", Some(0)),
            ("sc0_http_req_cnt(be2)", Some(0)),
            ("sc0_inc_gpc0", Some(1)),
            ("sc0_inc_gpc0", Some(2)),
            ("sc0_gpc0_rate", Some(2)),
            ("sc0_clr_gpc0", Some(2)),
            ("sc0_get_gpc0", Some(0)),
            ("src_inc_gpc0(be2)", Some(1)),
            ("src_get_gpc0(be2)", Some(1)),
            ("src_clr_gpc0(few)", None),
            ("src_inc_gpc0(few)", Some(0)),
            ("src,table_conn_cnt(full)", Some(1)),
            ("src,table_conn_cnt(be2)", Some(0)),
            ("src,table_http_req_cnt(few)", None),
            ("src,in_table(few)", Some(1)),
            ("str(10.9.9.9),in_table(few)", Some(0)),
            ("str(zz),in_table(few)", None),
            ("src,table_trackers(full)", Some(2)),
            ("src,table_expire(full)", Some(60_000)),
            ("str(10.9.9.9),table_expire(full,77)", Some(77)),
            ("str(10.9.9.9),table_expire(full)", None),
            ("src,table_idle(full)", Some(0)),
            ("src,table_server_id(full)", None),
            ("src,table_gpc(0,arr)", Some(0)),
            ("src_inc_gpc(1,arr)", Some(1)),
            ("src_inc_gpc1(arr)", Some(2)),
            ("src_get_gpc1(arr)", Some(2)),
            ("src_gpc_rate(1,arr)", Some(2)),
            ("src_get_gpt0(arr)", Some(0)),
            ("src_inc_gpc(5,arr)", Some(0)),
            ("sc_inc_gpc(0,0)", Some(0)),
            ("sc_get_gpc(0,0)", None),
            ("src_updt_conn_cnt(few)", Some(1)),
            ("src_updt_conn_cnt(few)", Some(2)),
            ("src_updt_conn_cnt(arr)", None),
            ("table_cnt(full)", Some(1)),
            ("table_avl(full)", Some(9)),
        ];
        let mut scratch = Scratch::new(1024);
        for (text, expected) in cases {
            let (expr, _) = parse_expr(&[text], &crate::sample::Registry::new()).expect(text);
            for link in link::collect() {
                let names = ["full", "be2", "few", "arr"];
                let index = names
                    .iter()
                    .position(|name| **name == *link.name)
                    .expect(text);
                link.resolve(link::Target { index, server: 0 });
            }
            let mut cx = Context::new(1000, &mut scratch);
            cx.source = Some(SocketAddr::from(([127, 0, 0, 1], 4711)));
            cx.tables = &mut tables;
            cx.tracked = [Some(&tracked), None];
            let value = expr.eval(&mut cx).map(|value| match value {
                Value::Int(value) => value,
                Value::Bool(value) => i64::from(value),
                other => panic!("{text}: {other:?}"),
            });
            assert_eq!(value, *expected, "{text}");
        }
        tracked.end(&mut tables, 1000);
        assert_eq!(tables[0].used(), 1);
    }
}
