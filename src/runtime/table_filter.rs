//! Filters of `show table` and `clear table`: `data.TYPE OPERATOR VALUE`.

use crate::stick::spec::DataClass;
use crate::stick::{DataType, EntryIndex, Table, TableSpec};

/// Filters that one command may have, as in HAProxy.
const FILTERS_MAX: usize = 4;

/// Index of the first word of the filters.
const FIRST: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    LessEqual,
    GreaterEqual,
    Less,
    Greater,
}

impl Operator {
    fn named(word: &[u8]) -> Option<Operator> {
        Some(match word {
            b"eq" => Operator::Equal,
            b"ne" => Operator::NotEqual,
            b"le" => Operator::LessEqual,
            b"ge" => Operator::GreaterEqual,
            b"lt" => Operator::Less,
            b"gt" => Operator::Greater,
            _ => return None,
        })
    }

    fn holds(self, value: i64, than: i64) -> bool {
        match self {
            Operator::Equal => value == than,
            Operator::NotEqual => value != than,
            Operator::LessEqual => value <= than,
            Operator::GreaterEqual => value >= than,
            Operator::Less => value < than,
            Operator::Greater => value > than,
        }
    }
}

/// One filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    data_type: DataType,
    operator: Operator,
    value: i64,
}

impl Filter {
    /// Whether an entry passes: by the first element of its type, by the reading of a rate now.
    pub(super) fn passes(&self, table: &Table, entry: EntryIndex, now_ms: u64) -> bool {
        let value = match self.data_type.class() {
            DataClass::Name => Some(0), // HAProxy compares with 0 whatever the name is
            DataClass::Rate => table
                .rate_read(entry, self.data_type, 0, now_ms)
                .map(i64::from),
            DataClass::Signed32 | DataClass::Unsigned32 | DataClass::Unsigned64 => table
                .value(entry, self.data_type, 0)
                .map(|value| value as i64),
        };
        value.is_some_and(|value| self.operator.holds(value, self.value))
    }
}

/// The filters in a command's words.
///
/// # Errors
/// In HAProxy's words, which number the filters.
pub(super) fn parse_filters(words: &[Vec<u8>], spec: &TableSpec) -> Result<Vec<Filter>, String> {
    let mut filters = Vec::new();
    for filter in words.get(FIRST..).unwrap_or_default().chunks(3) {
        if filters.len() == FILTERS_MAX {
            let last = FIRST + 3 * FILTERS_MAX;
            let shown = words
                .get(last - 1)
                .map(|word| String::from_utf8_lossy(word))
                .unwrap_or_default();
            return Err(format!(
                "Detected extra data in filter, {}th word of input, after '{shown}'",
                last + 1
            ));
        }
        let entry = filters.len() + 1;
        let parsed = parse_filter(filter, spec)
            .map_err(|message| format!("Filter entry #{entry}: {message}"))?;
        filters.push(parsed);
    }
    Ok(filters)
}

fn parse_filter(words: &[Vec<u8>], spec: &TableSpec) -> Result<Filter, String> {
    let word = |index: usize| words.get(index).map_or(&b""[..], Vec::as_slice);
    let data_type = stored_type(word(0).strip_prefix(b"data.").unwrap_or_default(), spec)?;
    let operator = Operator::named(word(1))
        .ok_or("Require and operator among \"eq\", \"ne\", \"le\", \"ge\", \"lt\", \"gt\"")?;
    let value = parse_integer(word(2)).ok_or("Require a valid integer value to compare against")?;
    Ok(Filter {
        data_type,
        operator,
        value,
    })
}

/// A whole 64-bit integer, with a minus sign or none.
pub(super) fn parse_integer(word: &[u8]) -> Option<i64> {
    std::str::from_utf8(word)
        .ok()
        .filter(|text| !text.starts_with('+'))?
        .parse()
        .ok()
}

/// The data type of that name, if the table stores it.
pub(super) fn stored_type(name: &[u8], spec: &TableSpec) -> Result<DataType, String> {
    let data_type = std::str::from_utf8(name)
        .ok()
        .and_then(DataType::from_name)
        .ok_or("Unknown data type")?;
    match spec
        .store
        .iter()
        .any(|stored| stored.data_type == data_type)
    {
        true => Ok(data_type),
        false => Err("Data type not stored in this table".into()),
    }
}
