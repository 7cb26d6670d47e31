//! `stick-table` of a proxy and `table` of a peers section (configuration manual, 4.2, "stick-table").
//!
//! Not here: whether its peers section exists (`resolve`).

use super::ProxyLines;
use crate::config::diag::Report;
use crate::config::line::{self, Line};
use crate::config::model::Pos;
use crate::config::units::{self, TimeError};
use crate::stick::spec::ServerKeyKind;
use crate::stick::{DataType, KeyType, StoredType, TableSpec};

/// Key bytes of a binary table without `len`. A string has one less: HAProxy counts the NUL.
const KEY_LEN: u32 = 32;
/// Largest array of `gpt(n)` and its like.
const ARRAY_MAX: i64 = 100;

/// Arguments of a data type in `store`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arguments {
    None,
    Period,
    Array,
    ArrayAndPeriod,
}

const DATA_TYPES: &[(&str, DataType, Arguments)] = &[
    ("server_id", DataType::ServerId, Arguments::None),
    ("gpt0", DataType::Gpt0, Arguments::None),
    ("gpc0", DataType::Gpc0, Arguments::None),
    ("gpc0_rate", DataType::Gpc0Rate, Arguments::Period),
    ("conn_cnt", DataType::ConnCnt, Arguments::None),
    ("conn_rate", DataType::ConnRate, Arguments::Period),
    ("conn_cur", DataType::ConnCur, Arguments::None),
    ("sess_cnt", DataType::SessCnt, Arguments::None),
    ("sess_rate", DataType::SessRate, Arguments::Period),
    ("http_req_cnt", DataType::HttpReqCnt, Arguments::None),
    ("http_req_rate", DataType::HttpReqRate, Arguments::Period),
    ("http_err_cnt", DataType::HttpErrCnt, Arguments::None),
    ("http_err_rate", DataType::HttpErrRate, Arguments::Period),
    ("bytes_in_cnt", DataType::BytesInCnt, Arguments::None),
    ("bytes_in_rate", DataType::BytesInRate, Arguments::Period),
    ("bytes_out_cnt", DataType::BytesOutCnt, Arguments::None),
    ("bytes_out_rate", DataType::BytesOutRate, Arguments::Period),
    ("gpc1", DataType::Gpc1, Arguments::None),
    ("gpc1_rate", DataType::Gpc1Rate, Arguments::Period),
    ("server_key", DataType::ServerKey, Arguments::None),
    ("http_fail_cnt", DataType::HttpFailCnt, Arguments::None),
    ("http_fail_rate", DataType::HttpFailRate, Arguments::Period),
    ("gpt", DataType::Gpt, Arguments::Array),
    ("gpc", DataType::Gpc, Arguments::Array),
    ("gpc_rate", DataType::GpcRate, Arguments::ArrayAndPeriod),
    // Of HAProxy 3.0.
    ("glitch_cnt", DataType::GlitchCnt, Arguments::None),
    ("glitch_rate", DataType::GlitchRate, Arguments::Period),
];

/// A table as it was declared.
#[derive(Clone, Debug)]
pub(crate) struct TableDraft {
    pub spec: TableSpec,
    pub pos: Pos,
    /// `write-to` (HAProxy 2.9).
    pub write_to: Option<String>,
    /// `recv-only` (HAProxy 3.2).
    pub recv_only: bool,
}

/// Parses the words from `start` on. Errors are reported; `what` is `stick-table` or `table`.
pub(crate) fn parse_table(
    line: &Line,
    start: usize,
    what: &str,
    name: &str,
    wire_name: &str,
    report: &mut Report,
) -> Option<TableDraft> {
    let spec = TableSpec {
        name: name.to_owned(),
        wire_name: wire_name.to_owned(),
        key_type: KeyType::Ip,
        key_len: 0,
        size: 0,
        expire_ms: 0,
        nopurge: false,
        expire_absolute: false,
        store: Vec::new(),
        server_key_kind: ServerKeyKind::Name,
        peers: None,
    };
    let mut draft = TableDraft {
        spec,
        pos: line.pos.clone(),
        write_to: None,
        recv_only: false,
    };
    match words(&mut draft, line, start, what, report) {
        Ok(()) => Some(draft),
        Err(text) => {
            let colon = if text.starts_with("unknown server key") {
                " :"
            } else {
                ":"
            };
            report.alert(&line.pos, format!("{what}{colon} {text}"));
            None
        }
    }
}

fn words(
    draft: &mut TableDraft,
    line: &Line,
    start: usize,
    what: &str,
    report: &mut Report,
) -> Result<(), String> {
    let spec = &mut draft.spec;
    let mut typed = false;
    let mut at = start;
    while !line.arg(at).is_empty() {
        let (word, value) = (line.arg(at), line.arg(at + 1));
        if matches!(word, "size" | "expire" | "write-to") && value.is_empty()
            || word == "peers" && what == "stick-table" && value.is_empty()
        {
            return Err(format!("missing argument after '{word}'."));
        }
        match word {
            "type" => {
                typed = true;
                at += key_type(spec, line, at)?;
            }
            "size" => {
                spec.size = units::size(value).map_err(|found| {
                    format!("unexpected character '{found}' in argument of 'size'.")
                })?;
            }
            "expire" => spec.expire_ms = expire(value)?,
            "nopurge" => {
                spec.nopurge = true;
                at += 1;
                continue;
            }
            "expire-absolute" => {
                spec.expire_absolute = true;
                at += 1;
                continue;
            }
            "write-to" => draft.write_to = Some(value.to_owned()),
            "recv-only" => {
                draft.recv_only = true;
                at += 1;
                continue;
            }
            "brates-factor" => {
                return Err(line::refused(word, "'store' of bytes rates in bytes"));
            }
            "peers" if what == "stick-table" => spec.peers = Some(value.to_owned()),
            "store" => store(spec, line, value, what, report)?,
            "srvkey" => {
                spec.server_key_kind = match value {
                    "name" => ServerKeyKind::Name,
                    "addr" => ServerKeyKind::Address,
                    other => return Err(format!("unknown server key type '{other}'.")),
                };
            }
            _ => return Err(format!("unknown argument '{word}'.")),
        }
        at += 2;
    }
    if spec.size == 0 {
        return Err("missing size.".into());
    }
    if !typed {
        return Err("missing type.".into());
    }
    if spec.expire_absolute && spec.expire_ms == 0 {
        return Err("'expire-absolute' needs 'expire'.".into());
    }
    let has = |data_type| {
        spec.store
            .iter()
            .any(|stored| stored.data_type == data_type)
    };
    if has(DataType::Gpt) && has(DataType::Gpt0) {
        return Err("simultaneous usage of 'gpt' and 'gpt0' in a same table is not permitted as 'gpt' overrides 'gpt0'.".into());
    }
    if has(DataType::Gpc) && (has(DataType::Gpc0) || has(DataType::Gpc1)) {
        return Err(
            "simultaneous usage of 'gpc' and 'gpc[0/1]' in a same table is not permitted as 'gpc' overrides 'gpc[0/1]'."
                .into(),
        );
    }
    if has(DataType::GpcRate) && (has(DataType::Gpc0Rate) || has(DataType::Gpc1Rate)) {
        return Err(
            "simultaneous usage of 'gpc_rate' and 'gpc[0/1]_rate' in a same table is not permitted as 'gpc_rate' overrides \
             'gpc[0/1]_rate'."
                .into(),
        );
    }
    spec.store.sort_by_key(|stored| stored.data_type);
    Ok(())
}

/// `type T [len N]`; returns how many words `len` took.
fn key_type(spec: &mut TableSpec, line: &Line, at: usize) -> Result<usize, String> {
    let name = line.arg(at + 1);
    (spec.key_type, spec.key_len) = match name {
        "ip" | "ipv4" => (KeyType::Ip, 4), // the second since HAProxy 3.2
        "ipv6" => (KeyType::Ipv6, 16),
        "integer" => (KeyType::Integer, 4),
        "string" => (KeyType::String, KEY_LEN - 1),
        "binary" => (KeyType::Binary, KEY_LEN),
        other => return Err(format!("unknown type '{other}'.")),
    };
    if line.arg(at + 2) != "len" || !matches!(spec.key_type, KeyType::String | KeyType::Binary) {
        return Ok(0);
    }
    // HAProxy calls a wrong length an unknown type.
    let length = line.arg(at + 3);
    match units::leading_count(length) {
        0 => Err(format!("unknown type '{length}'.")),
        len => {
            spec.key_len = len;
            Ok(2)
        }
    }
}

fn expire(value: &str) -> Result<u32, String> {
    match units::time_ms(value, 1) {
        Ok(time) => Ok(u32::try_from(time).unwrap_or(u32::MAX)),
        Err(TimeError::Overflow) => Err(format!(
            "timer overflow in argument <{value}> to <expire>, maximum value is 2147483647 ms (~24.8 days)."
        )),
        Err(TimeError::Character(found)) => Err(format!(
            "unexpected character '{found}' in argument of 'expire'."
        )),
    }
}

/// `store TYPE[(ARGUMENTS)][,…]`.
fn store(
    spec: &mut TableSpec,
    line: &Line,
    list: &str,
    what: &str,
    report: &mut Report,
) -> Result<(), String> {
    let mut rest = list;
    while !rest.is_empty() {
        let end = rest.find([',', '(']).unwrap_or(rest.len());
        let (name, mut after) = rest.split_at(end);
        let Some((_, data_type, takes)) = DATA_TYPES.iter().find(|(known, _, _)| *known == name)
        else {
            return Err(format!("unknown store option '{name}'."));
        };
        let mut arguments = None;
        if let Some(inside) = after.strip_prefix('(') {
            let Some((text, behind)) = inside.split_once(')') else {
                return Err(format!(
                    "missing closing parenthesis after store option '{name}'."
                ));
            };
            arguments = Some(text);
            after = behind;
        }
        let stored = stored_type(name, *data_type, *takes, arguments)?;
        if spec.store.iter().any(|other| other.data_type == *data_type) {
            report.warning(
                &line.pos,
                format!("{what}: store option '{name}' already enabled, ignored."),
            );
        } else {
            spec.store.push(stored);
        }
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    Ok(())
}

fn stored_type(
    name: &str,
    data_type: DataType,
    takes: Arguments,
    arguments: Option<&str>,
) -> Result<StoredType, String> {
    let missing = || format!("missing argument to store option '{name}'.");
    let mut stored = StoredType {
        data_type,
        elements: 1,
        period_ms: 0,
    };
    let mut period = None;
    match (takes, arguments) {
        (Arguments::None, None) => {}
        (Arguments::None, Some(_)) => {
            return Err(format!("unexpected argument to store option '{name}'."));
        }
        (_, None) => return Err(missing()),
        (Arguments::Period, Some(text)) => period = Some(text),
        (Arguments::Array | Arguments::ArrayAndPeriod, Some(text)) => {
            let (count, after) = text
                .split_once(',')
                .map_or((text, None), |(count, after)| (count, Some(after)));
            let elements = units::leading_number(count);
            if !(1..=ARRAY_MAX).contains(&elements) {
                return Err(format!(
                    "array size is out of allowed range (1-{ARRAY_MAX}) for store option '{name}'."
                ));
            }
            stored.elements = elements as u32;
            if takes == Arguments::ArrayAndPeriod {
                // HAProxy ignores what follows the period.
                period = Some(
                    after
                        .and_then(|after| after.split(',').next())
                        .ok_or_else(missing)?,
                );
            }
        }
    }
    if let Some(period) = period {
        let time = units::time_ms(period, 1)
            .map_err(|_| format!("error when processing store option '{name}'."))?;
        stored.period_ms = u32::try_from(time).unwrap_or(u32::MAX);
    }
    Ok(stored)
}

impl ProxyLines<'_> {
    /// `stick-table …` of a proxy.
    pub fn stick_table_line(&mut self, index: usize, line: &Line) {
        let pos = &line.pos;
        let name = self.proxies[index].name.clone();
        let Some(table) = parse_table(line, 1, "stick-table", &name, &name, self.report) else {
            return;
        };
        if let Some(other) = self
            .proxies
            .iter()
            .find(|other| other.name == name && other.table.is_some())
        {
            if let Some(TableDraft { pos: at, .. }) = &other.table {
                let text = format!(
                    "stick-table name '{name}' conflicts with table declared in {} '{name}' at {}:{}.",
                    other.kind.title(),
                    at.file,
                    at.line
                );
                self.report.alert(pos, text);
            }
            return;
        }
        self.proxies[index].table = Some(table);
    }
}
