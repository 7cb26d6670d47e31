//! `show table`, `set table`, `clear table` (management manual, section 9.3).
//!
//! A dump and a clearing keep a position in the table, not in a list of entries: entries that live throughout are seen exactly
//! once, whatever comes and goes meanwhile, in the order of their places (HAProxy's is the order of the keys).
//!
//! What differs from HAProxy 2.6 on purpose: an address that does not parse is an invalid key, not 0.0.0.0; all data of a
//! `set table` are checked before the first is stored; a session without the right to clear is told so.
//!
//! Not here: peers. A removal is local; what is set here is announced as a change of this node.

use super::answer::{Answer, Output, Progress, Reply};
use super::context::Context;
use super::invocation::Invocation;
use super::table_filter::{Filter, parse_filters, parse_integer, stored_type};
use super::table_row;
use crate::config::model::AccessLevel;
use crate::stick::spec::DataClass;
use crate::stick::{DataType, EntryIndex, KeyBuf, KeyType, Rate, Table, TableSpec};

/// Places of a table that one step of an answer looks at: a row costs a step, and so do this many empty places.
const PLACES_PER_STEP: u32 = 16;

const SHOW_USAGE: &str =
    "Optional argument only supports \"data.<store_data_type>\" <operator> <value> and key <key>";
const SET_USAGE: &str = "Required arguments: <table> key <key> [data.<store_data_type> <value>]*";
const CLEAR_USAGE: &str = "Required arguments: <table> \"data.<store_data_type>\" <operator> <value> or <table> key <key>";
const NO_TABLE: &str = "No such table";
const IN_USE: &str = "Entry currently in use, cannot remove";
const FULL: &str = "Unable to allocate a new entry";

/// What a command does with a table; the word that messages use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Show,
    Set,
    Clear,
}

impl Action {
    fn usage(self) -> &'static str {
        match self {
            Action::Show => SHOW_USAGE,
            Action::Set => SET_USAGE,
            Action::Clear => CLEAR_USAGE,
        }
    }

    fn unsupported_type(self) -> String {
        let what = match self {
            Action::Show => "Showing keys from",
            Action::Set => "Inserting keys into",
            Action::Clear => "Removing keys from",
        };
        format!("{what} tables of type other than ip, ipv6, string and integer is not supported")
    }
}

/// Which entries a command is about.
enum Selection {
    /// One key: `key K`.
    Key(KeyBuf),
    /// All that pass every filter: `data.T OP V …`; all without a filter.
    Filtered(Vec<Filter>),
}

/// `show table`, `show table T`, `show table T key K`, `show table T data.TYPE OP VALUE …`.
pub(super) fn show(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    reply(show_words(
        call.command.words(),
        call.level,
        context.tables,
        context.now_ms,
    ))
}

/// `set table T key K [data.TYPE VALUE]…`.
pub(super) fn set(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    if context.tables_handed_over {
        return Reply::error(HANDED_OVER);
    }
    reply(set_words(
        call.command.words(),
        call.level,
        context.tables,
        context.now_ms,
    ))
}

/// `clear table T`, `clear table T key K`, `clear table T data.TYPE OP VALUE …`.
pub(super) fn clear(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    if context.tables_handed_over {
        return Reply::error(HANDED_OVER);
    }
    reply(clear_words(
        call.command.words(),
        call.level,
        context.tables,
        context.now_ms,
    ))
}

/// What a worker answers that has handed its tables over in a reload.
const HANDED_OVER: &str = "The tables belong to a newer worker.";

fn reply(outcome: Result<Reply, String>) -> Reply {
    outcome.unwrap_or_else(Reply::error)
}

type Words = [Vec<u8>];

fn word(words: &Words, index: usize) -> &[u8] {
    words.get(index).map_or(b"", Vec::as_slice)
}

fn find(words: &Words, tables: &[Table]) -> Result<usize, String> {
    let name = word(words, 2);
    let found = tables
        .iter()
        .position(|table| table.spec().name.as_bytes() == name);
    found.ok_or_else(|| NO_TABLE.into())
}

/// What the words from the fourth on select.
fn select(
    words: &Words,
    action: Action,
    level: AccessLevel,
    spec: &TableSpec,
) -> Result<Selection, String> {
    match word(words, 3) {
        b"" if action != Action::Set => Ok(Selection::Filtered(Vec::new())),
        b"key" => {
            let text = word(words, 4);
            if text.is_empty() {
                return Err("Key value expected".into());
            }
            if level < AccessLevel::Operator {
                return Err("Permission denied".into());
            }
            parse_key(spec, text, action).map(Selection::Key)
        }
        data if data.starts_with(b"data.") => match action {
            Action::Set => Err(
                "content-based lookup is only supported with the \"show\" and \"clear\" actions"
                    .into(),
            ),
            Action::Show | Action::Clear => parse_filters(words, spec).map(Selection::Filtered),
        },
        _ => Err(action.usage().into()),
    }
}

fn parse_key(spec: &TableSpec, text: &[u8], action: Action) -> Result<KeyBuf, String> {
    let invalid = || "Invalid key".to_string();
    let address = || std::str::from_utf8(text).map_err(|_| invalid());
    let key = match spec.key_type {
        KeyType::Binary => return Err(action.unsupported_type()),
        KeyType::String => KeyBuf::new(spec, text),
        KeyType::Ip | KeyType::Ipv6 => KeyBuf::parse(spec, address()?),
        KeyType::Integer => {
            leading_u32(text).and_then(|number| KeyBuf::new(spec, &number.to_be_bytes()))
        }
    };
    key.ok_or_else(invalid)
}

/// The number that a text begins with, as HAProxy reads integer keys.
fn leading_u32(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    let len = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    std::str::from_utf8(&digits[..len]).ok()?.parse().ok()
}

fn show_words(
    words: &Words,
    level: AccessLevel,
    tables: &[Table],
    now_ms: u64,
) -> Result<Reply, String> {
    if word(words, 2).is_empty() {
        return Ok(Reply::Dump(Box::new(TableList { next: tables.len() })));
    }
    let index = find(words, tables)?;
    let table = &tables[index];
    match select(words, Action::Show, level, table.spec())? {
        Selection::Key(key) => {
            let Some(entry) = table.lookup(key.as_key(), now_ms) else {
                return Ok(Reply::Silent);
            };
            let mut text = Vec::new();
            table_row::head(table, &mut text);
            table_row::row(table, entry, now_ms, &mut text);
            Ok(Reply::Message(
                crate::log::Severity::Info,
                String::from_utf8_lossy(&text).into_owned(),
            ))
        }
        Selection::Filtered(filters) => {
            let may_see = level >= AccessLevel::Operator;
            Ok(Reply::Dump(Box::new(Dump {
                table: index,
                may_see,
                head_is_written: false,
                walk: Walk::new(filters),
            })))
        }
    }
}

fn set_words(
    words: &Words,
    level: AccessLevel,
    tables: &mut [Table],
    now_ms: u64,
) -> Result<Reply, String> {
    if word(words, 2).is_empty() {
        return Err(SET_USAGE.into());
    }
    let index = find(words, tables)?;
    let table = &mut tables[index];
    let Selection::Key(key) = select(words, Action::Set, level, table.spec())? else {
        return Err(SET_USAGE.into());
    };
    let mut values = Vec::new();
    for pair in words.get(5..).unwrap_or_default().chunks(2) {
        let Some(name) = pair[0].strip_prefix(b"data.") else {
            return Err("\"data.<type>\" followed by a value expected".into());
        };
        let data_type = stored_type(name, table.spec())?;
        let value = pair.get(1).and_then(|value| parse_integer(value));
        values.push((
            data_type,
            value.ok_or("Require a valid integer value to store")?,
        ));
    }
    let entry = table
        .lookup_or_insert(key.as_key(), now_ms)
        .ok_or(FULL)?
        .entry();
    for (data_type, value) in values {
        store(table, entry, data_type, value, now_ms);
    }
    table.touch_local(entry, now_ms);
    Ok(Reply::Silent)
}

/// Stores a value in the first element of a type: a rate reads as the value from now on. `server_key` is not a number, and is left alone.
fn store(table: &mut Table, entry: EntryIndex, data_type: DataType, value: i64, now_ms: u64) {
    match data_type.class() {
        DataClass::Name => {}
        DataClass::Rate => {
            table.set_rate(
                entry,
                data_type,
                0,
                Rate::from_age(now_ms, 0, value as u32, 0),
            );
        }
        DataClass::Signed32 | DataClass::Unsigned32 | DataClass::Unsigned64 => {
            table.set_value(entry, data_type, 0, value as u64);
        }
    }
}

fn clear_words(
    words: &Words,
    level: AccessLevel,
    tables: &mut [Table],
    now_ms: u64,
) -> Result<Reply, String> {
    if word(words, 2).is_empty() {
        return Err(CLEAR_USAGE.into());
    }
    let index = find(words, tables)?;
    let table = &mut tables[index];
    match select(words, Action::Clear, level, table.spec())? {
        _ if level < AccessLevel::Operator => Err("Permission denied".into()),
        Selection::Key(key) => match table.lookup(key.as_key(), now_ms) {
            Some(entry) if !table.delete(entry, now_ms) => Err(IN_USE.into()),
            _ => Ok(Reply::Silent),
        },
        Selection::Filtered(filters) => Ok(Reply::Dump(Box::new(Clearing {
            table: index,
            walk: Walk::new(filters),
        }))),
    }
}

/// `show table`: one line a table, the last declared first, as HAProxy lists them.
struct TableList {
    /// Tables that are left.
    next: usize,
}

impl Answer for TableList {
    fn poll(&mut self, context: &mut Context<'_>, out: &mut Output<'_>) -> Progress {
        self.poll_tables(context.tables, out)
    }
}

impl TableList {
    fn poll_tables(&mut self, tables: &[Table], out: &mut Output<'_>) -> Progress {
        while let Some(index) = self.next.checked_sub(1) {
            if !out.may_go_on() {
                return Progress::More;
            }
            self.next = index;
            if let Some(table) = tables.get(index) {
                table_row::head(table, out.bytes());
            }
        }
        Progress::Done
    }
}

/// A walk over the entries that pass the filters, in bounded steps.
struct Walk {
    filters: Vec<Filter>,
    /// The next place; `None`: the end was reached.
    cursor: Option<u32>,
}

impl Walk {
    fn new(filters: Vec<Filter>) -> Walk {
        Walk {
            filters,
            cursor: Some(0),
        }
    }

    fn is_over(&self) -> bool {
        self.cursor.is_none()
    }

    /// One step, which may yield an entry.
    fn step(&mut self, table: &Table, now_ms: u64) -> Option<EntryIndex> {
        let (entry, next) = match table.next_entry(self.cursor?, PLACES_PER_STEP, now_ms) {
            Ok((entry, next)) => (Some(entry), Some(next)),
            Err(next) => (None, next),
        };
        self.cursor = next;
        let passes = |&entry: &EntryIndex| {
            let mut filters = self.filters.iter();
            filters.all(|filter| filter.passes(table, entry, now_ms))
        };
        entry.filter(passes)
    }
}

/// `show table T`.
struct Dump {
    table: usize,
    may_see: bool,
    head_is_written: bool,
    walk: Walk,
}

impl Answer for Dump {
    fn poll(&mut self, context: &mut Context<'_>, out: &mut Output<'_>) -> Progress {
        match context.tables.get(self.table) {
            Some(table) => self.poll_table(table, context.now_ms, out),
            None => Progress::Done,
        }
    }
}

impl Dump {
    fn poll_table(&mut self, table: &Table, now_ms: u64, out: &mut Output<'_>) -> Progress {
        if !self.head_is_written {
            self.head_is_written = true;
            table_row::head(table, out.bytes());
            if !self.may_see {
                out.push(b"# contents not dumped due to insufficient privileges\n");
                return Progress::Done;
            }
        }
        while !self.walk.is_over() {
            if !out.may_go_on() {
                return Progress::More;
            }
            if let Some(entry) = self.walk.step(table, now_ms) {
                table_row::row(table, entry, now_ms, out.bytes());
            }
        }
        Progress::Done
    }
}

/// `clear table T`. Entries in use stay, as in HAProxy.
struct Clearing {
    table: usize,
    walk: Walk,
}

impl Answer for Clearing {
    fn poll(&mut self, context: &mut Context<'_>, out: &mut Output<'_>) -> Progress {
        match context.tables.get_mut(self.table) {
            Some(table) => self.poll_table(table, context.now_ms, out),
            None => Progress::Done,
        }
    }
}

impl Clearing {
    fn poll_table(&mut self, table: &mut Table, now_ms: u64, out: &mut Output<'_>) -> Progress {
        while !self.walk.is_over() {
            if !out.may_go_on() {
                return Progress::More;
            }
            if let Some(entry) = self.walk.step(table, now_ms) {
                table.delete(entry, now_ms);
            }
        }
        Progress::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stick::StoredType;

    /// A transcript of HAProxy 2.6: `> command` and the answer, rows sorted, without the entries' ids and lifetimes.
    const TRANSCRIPT: &str = include_str!("../../tests/data/table-commands.txt");

    fn table(name: &str, key_type: KeyType, size: u32, store: &[(DataType, u32, u32)]) -> Table {
        let key_len = match key_type {
            KeyType::Ip | KeyType::Integer => 4,
            KeyType::Ipv6 => 16,
            KeyType::String if name == "t_str" => 8,
            KeyType::String => 32,
            KeyType::Binary => 4,
        };
        let stored = |&(data_type, elements, period_ms): &_| StoredType {
            data_type,
            elements,
            period_ms,
        };
        let spec = TableSpec {
            name: name.into(),
            wire_name: name.into(),
            key_type,
            key_len,
            size,
            expire_ms: match name {
                "t_arr" | "t_noexp" | "mypeers/pt" => 0,
                _ => 300_000,
            },
            nopurge: name == "t_noexp",
            expire_absolute: false,
            store: store.iter().map(stored).collect(),
            server_key_kind: Default::default(),
            peers: None,
        };
        Table::create(&spec, [1, 2], 0).expect("a small table")
    }

    /// The tables of `tests/data/table-commands.cfg`.
    fn tables() -> Vec<Table> {
        use DataType::*;
        let second = 1000;
        let all = [
            (ServerId, 1, 0),
            (Gpt0, 1, 0),
            (Gpc0, 1, 0),
            (Gpc0Rate, 1, 60 * second),
            (ConnCnt, 1, 0),
            (ConnRate, 1, 120 * second),
            (ConnCur, 1, 0),
            (SessCnt, 1, 0),
            (SessRate, 1, 180 * second),
            (HttpReqCnt, 1, 0),
            (HttpReqRate, 1, 10 * second),
            (HttpErrCnt, 1, 0),
            (HttpErrRate, 1, 60 * second),
            (BytesInCnt, 1, 0),
            (BytesInRate, 1, 3600 * second),
            (BytesOutCnt, 1, 0),
            (BytesOutRate, 1, 86_400 * second),
            (Gpc1, 1, 0),
            (Gpc1Rate, 1, 10 * second),
            (ServerKey, 1, 0),
            (HttpFailCnt, 1, 0),
            (HttpFailRate, 1, 10 * second),
        ];
        let rates = [
            (Gpc0, 1, 0),
            (Gpc0Rate, 1, 10 * second),
            (ConnCnt, 1, 0),
            (HttpReqRate, 1, 10 * second),
        ];
        vec![
            table("mypeers/pt", KeyType::String, 10, &[(Gpc0, 1, 0)]),
            table("t_ip", KeyType::Ip, 1024, &rates),
            table("t_ip6", KeyType::Ipv6, 1024, &[]),
            table("t_int", KeyType::Integer, 1024, &[(Gpt0, 1, 0)]),
            table("t_str", KeyType::String, 1024, &[(ServerId, 1, 0)]),
            table("t_bin", KeyType::Binary, 1024, &[]),
            table("t_all", KeyType::String, 4, &all),
            table(
                "t_arr",
                KeyType::Integer,
                1024,
                &[(Gpt, 3, 0), (Gpc, 2, 0), (GpcRate, 2, 10 * second)],
            ),
            table("t_noexp", KeyType::Ip, 2, &[(Gpc0, 1, 0)]),
        ]
    }

    /// Runs a command as the given level; each piece of the answer has room for `steps` steps.
    fn run(tables: &mut [Table], command: &str, level: AccessLevel, steps: u32) -> String {
        let words: Vec<Vec<u8>> = command
            .split(' ')
            .map(|word| word.as_bytes().to_vec())
            .collect();
        let now_ms = 5_000;
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        let mut whole = Vec::new();
        macro_rules! drain {
            ($machine:expr, $tables:expr) => {
                while $machine.poll_table(
                    $tables,
                    now_ms,
                    &mut Output::new(&mut whole, 1 << 20, steps),
                ) == Progress::More
                {}
            };
        }
        // the machines are taken apart here, because a context of the worker is more than a test needs
        let outcome = match word(&words, 0) {
            b"show" => show_words(&words, level, tables, now_ms),
            b"set" => set_words(&words, level, tables, now_ms),
            _ => clear_words(&words, level, tables, now_ms),
        };
        match outcome {
            Err(message) => format!("{message}\n"),
            Ok(Reply::Silent) => String::new(),
            Ok(Reply::Message(_, message)) => message,
            Ok(Reply::Dump(_)) => {
                let index = tables
                    .iter()
                    .position(|table| table.spec().name.as_bytes() == word(&words, 2));
                let Some(index) = index else {
                    let mut list = TableList { next: tables.len() };
                    while list.poll_tables(tables, &mut Output::new(&mut whole, 1 << 20, steps))
                        == Progress::More
                    {}
                    return text(whole);
                };
                let filters = parse_filters(&words, tables[index].spec()).expect("checked");
                if word(&words, 0) == b"show" {
                    let may_see = level >= AccessLevel::Operator;
                    let mut dump = Dump {
                        table: index,
                        may_see,
                        head_is_written: false,
                        walk: Walk::new(filters),
                    };
                    drain!(dump, &tables[index]);
                } else {
                    let mut clearing = Clearing {
                        table: index,
                        walk: Walk::new(filters),
                    };
                    drain!(clearing, &mut tables[index]);
                }
                text(whole)
            }
        }
    }

    /// Without ids and lifetimes, rows sorted.
    fn masked(answer: &str) -> Vec<String> {
        let mask = |line: &str| match line.split_once(": key=") {
            Some((_, rest)) => {
                let word = |word: &str| match word.strip_prefix("exp=") {
                    Some(exp) if exp != "0" => "exp=*".to_string(),
                    _ => word.to_string(),
                };
                let words: Vec<String> = rest.split(' ').map(word).collect();
                format!("0x: key={}", words.join(" "))
            }
            None => line.to_string(),
        };
        let (mut rows, mut lines): (Vec<String>, Vec<String>) = answer
            .lines()
            .map(mask)
            .partition(|line| line.starts_with("0x: "));
        rows.sort();
        lines.extend(rows);
        lines
    }

    #[test]
    fn answers_are_those_of_haproxy() {
        for steps in [1, 1000] {
            let mut tables = tables();
            for entry in TRANSCRIPT.trim_start_matches("> ").split("\n> ") {
                let (command, answer) = entry.split_once('\n').unwrap_or((entry, ""));
                let found = run(&mut tables, command, AccessLevel::Admin, steps);
                assert_eq!(masked(&found), masked(answer), "{command}");
            }
        }
    }

    #[test]
    fn levels() {
        let mut tables = tables();
        run(
            &mut tables,
            "set table t_str key a",
            AccessLevel::Operator,
            10,
        );
        let check = |tables: &mut [Table], command: &str, expected: &str| {
            assert_eq!(
                run(tables, command, AccessLevel::User, 10),
                expected,
                "{command}"
            );
        };
        check(&mut tables, "show table t_str key a", "Permission denied\n");
        check(&mut tables, "set table t_str key b", "Permission denied\n");
        check(
            &mut tables,
            "clear table t_str key a",
            "Permission denied\n",
        );
        check(&mut tables, "clear table t_str", "Permission denied\n");
        let head = "# table: t_str, type: string, size:1024, used:1\n";
        let dumped = format!("{head}# contents not dumped due to insufficient privileges\n");
        check(&mut tables, "show table t_str", &dumped);
    }

    #[test]
    fn keys_that_would_break_the_line_are_escaped() {
        let mut tables = tables();
        let key = KeyBuf::new(tables[4].spec(), b"a =\\\t\n\x1b\xe9").expect("a key");
        let entry = tables[4]
            .lookup_or_insert(key.as_key(), 0)
            .expect("room")
            .entry();
        let mut row = Vec::new();
        table_row::row(&tables[4], entry, 0, &mut row);
        let row = String::from_utf8(row).expect("text");
        assert!(row.contains(r": key=a\ \=\\\t\n\e\xE9 use=0"), "{row}");
    }

    #[test]
    fn entries_in_use_are_not_cleared() {
        let mut tables = tables();
        run(&mut tables, "set table t_str key a", AccessLevel::Admin, 10);
        run(&mut tables, "set table t_str key b", AccessLevel::Admin, 10);
        let key = KeyBuf::new(tables[4].spec(), b"a").expect("a key");
        let entry = tables[4].lookup(key.as_key(), 5_000).expect("the entry");
        tables[4].refer(entry);
        assert_eq!(
            run(
                &mut tables,
                "clear table t_str key a",
                AccessLevel::Admin,
                10
            ),
            format!("{IN_USE}\n")
        );
        run(&mut tables, "clear table t_str", AccessLevel::Admin, 10);
        let left = run(&mut tables, "show table t_str", AccessLevel::Admin, 10);
        assert!(
            left.contains("key=a use=1") && !left.contains("key=b"),
            "{left}"
        );
    }
}
