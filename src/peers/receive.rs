//! The receiving half of an established session: definitions, dictionary cache, updates applied to the tables, acks due.
//!
//! An update is decoded and checked down to its last byte before anything of it is applied. Memory is bounded by the
//! tables that exist here: definitions of others are forgotten at once.
//! Not here: framing and control messages (`session`).

mod merge;

use super::context::{Context, Cursor, is_after};
use super::fault::Fault;
use super::wire::{
    self, DICTIONARY_SLOTS, Definition, Layout, Update, UpdateForm, Value, WireError,
};
use crate::stick::{DataType, EntryIndex, Inserted, Key, KeyHash, Rate, Table};

/// Longest `server_key` that is kept; a longer one counts as none.
const STRING_BYTES_MAX: usize = 255;

/// What a session knows of a table here as its peer sees it.
#[derive(Debug, Default)]
pub(super) struct ReceiveTable {
    /// The peer's number for it; 0 in `show peers` while it has none.
    pub remote_id: Option<u64>,
    layout: Option<Layout>,
    /// Data types that the peer announced last.
    pub remote_data: u64,
    /// Id of the last update received.
    pub last_id: u32,
    /// Id that we acknowledged last.
    pub last_acked: u32,
    /// Updates received for it in this session, and their bytes without heads.
    pub updates: u64,
    pub bytes: u64,
    mismatch_reported: bool,
}

impl ReceiveTable {
    /// Whether the peer has defined the table in a way that does not fit ours.
    pub fn is_ignored(&self) -> bool {
        self.mismatch_reported && self.layout.is_none()
    }
}

/// Why a definition is ignored, for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Position among the shared tables; `None`: there is no such table here.
    pub table: Option<usize>,
    /// The reason, with the peer's value and ours.
    pub text: String,
}

/// The receiving half.
#[derive(Debug)]
pub(super) struct Receiver {
    /// In the order of the section's tables.
    pub tables: Vec<ReceiveTable>,
    /// The table that updates belong to; `None`: they are skipped.
    pub selected: Option<usize>,
    dictionary: Vec<Option<Box<[u8]>>>,
    unknown_reported: bool,
}

impl Receiver {
    pub fn new(table_count: usize) -> Receiver {
        Receiver {
            tables: (0..table_count).map(|_| ReceiveTable::default()).collect(),
            selected: None,
            dictionary: vec![None; DICTIONARY_SLOTS],
            unknown_reported: false,
        }
    }

    /// The string in a slot of the cache, from 0.
    pub fn dictionary(&self, slot: usize) -> Option<&[u8]> {
        self.dictionary.get(slot)?.as_deref()
    }

    /// A definition: selects its table, or none if it does not fit ours. A reason is returned once a table and session.
    pub fn define(
        &mut self,
        body: &[u8],
        context: &Context<'_>,
    ) -> Result<Option<Mismatch>, WireError> {
        let definition = wire::decode_define(body)?;
        self.selected = None;
        for table in &mut self.tables {
            if table.remote_id == Some(definition.table_id) {
                table.remote_id = None;
                table.layout = None;
            }
        }
        let found = context.shared.iter().position(|&index| {
            context.tables[index].spec().wire_name.as_bytes() == definition.name
        });
        let Some(position) = found else {
            let first = !std::mem::replace(&mut self.unknown_reported, true);
            return Ok(first.then(|| Mismatch {
                table: None,
                text: format!(
                    "table '{}' is unknown here and ignored",
                    super::hello::short(definition.name)
                ),
            }));
        };
        let local = &context.tables[context.shared[position]];
        let table = &mut self.tables[position];
        table.remote_data = definition.data_types;
        match (mismatch(&definition, local), definition.layout) {
            (None, Some(layout)) => {
                table.remote_id = Some(definition.table_id);
                table.layout = Some(layout);
                self.selected = Some(position);
                Ok(None)
            }
            (text, _) => {
                let first = !std::mem::replace(&mut table.mismatch_reported, true);
                Ok(first.then(|| Mismatch {
                    table: Some(position),
                    text: text.unwrap_or_else(|| {
                        format!(
                            "table '{}' is ignored: its definition is incomplete",
                            local.spec().name
                        )
                    }),
                }))
            }
        }
    }

    /// Selects a table defined earlier.
    pub fn switch(&mut self, body: &[u8]) -> Result<(), WireError> {
        let table_id = wire::decode_switch(body)?;
        self.selected = self
            .tables
            .iter()
            .position(|table| table.remote_id == Some(table_id));
        Ok(())
    }

    /// The hash of the key of an update for the selected table.
    pub fn hash(&self, form: UpdateForm, body: &[u8], context: &Context<'_>) -> Option<KeyHash> {
        let position = self.selected?;
        let layout = self.tables[position].layout.as_ref()?;
        let table = &context.tables[context.shared[position]];
        let key = Key::new(table.spec(), wire::update_key(form, body, layout)?)?;
        Some(table.hash_key(key))
    }

    /// Updates of the selected table with these hashes are about to be applied: has their places brought near.
    pub fn announce(&self, hashes: impl Iterator<Item = KeyHash>, context: &Context<'_>) {
        if let Some(position) = self.selected {
            let table = &context.tables[context.shared[position]];
            hashes.for_each(|hash| table.announce(hash));
        }
    }

    /// An update: applied to the selected table, or skipped. `hash`: what `announce` said of it, while that table was selected.
    /// `keep_unacked`: entries with a change of ours that the peer has not acknowledged keep it. Says whether there was a
    /// table for it.
    pub fn update(
        &mut self,
        (form, body): (UpdateForm, &[u8]),
        hash: Option<KeyHash>,
        keep_unacked: bool,
        context: &mut Context<'_>,
    ) -> Result<bool, WireError> {
        let Some(position) = self.selected else {
            return Ok(false);
        };
        let received = &mut self.tables[position];
        let Some(layout) = received.layout else {
            return Ok(false);
        };
        let update = wire::decode_update(form, body, &layout)?;
        received.updates += 1;
        received.bytes += body.len() as u64;
        received.last_id = update.id.unwrap_or(received.last_id.wrapping_add(1));
        self.remember_string(&update, context);
        let in_lesson = keep_unacked;
        let keep_unacked = keep_unacked && !context.has(Fault::LessonOverwrites);
        let echo = context.has(Fault::Echo);
        let keep = keep_unacked.then(|| context.cursors[position]);
        let index = context.shared[position];
        let table = &mut context.tables[index];
        let now_ms = context.now_ms;
        if table.tombstones() > 0
            && let Some(key) = Key::new(table.spec(), update.key)
            && merge::is_deleted(table, key, &update, &layout, in_lesson, now_ms)
        {
            return Ok(true);
        }
        let source = Source {
            update: &update,
            hash,
            layout: &layout,
            dictionary: &self.dictionary,
            values: if context.learning.recv_only.contains(&index) {
                Values::All
            } else {
                Values::Shared
            },
        };
        let table = &mut context.tables[index];
        let applied = apply(table, &source, keep, context.now_ms);
        if applied.is_some() {
            write_on(&source, index, context);
        }
        let table = &mut context.tables[index];
        if let (true, Some(entry)) = (echo, applied) {
            table.touch_local(entry, context.now_ms);
        }
        Ok(true)
    }

    fn remember_string(&mut self, update: &Update<'_>, context: &Context<'_>) {
        if let Some((slot, string)) = update.string {
            let held = &mut self.dictionary[usize::from(slot) - 1];
            // Most senders repeat the string in each update.
            let is_known = held.as_deref().is_some_and(|held| held == string);
            let stays = is_known || held.is_some() && context.has(Fault::StaleDictionary);
            if !stays {
                *held = (string.len() <= STRING_BYTES_MAX).then(|| string.into());
            }
        }
    }

    /// The next ack that is due: the position of its table, the peer's number for it, the id.
    pub fn ack_due(&self) -> Option<(usize, u64, u32)> {
        self.tables
            .iter()
            .enumerate()
            .find_map(|(position, table)| {
                let remote_id = table.remote_id?;
                (table.last_id != table.last_acked).then_some((position, remote_id, table.last_id))
            })
    }
}

/// The reason why a definition cannot be that of `local`, if there is one.
fn mismatch(definition: &Definition<'_>, local: &Table) -> Option<String> {
    let spec = local.spec();
    let local_type = wire::key_type_number(spec.key_type);
    let local_len = u64::from(spec.wire_key_len());
    if (definition.key_type, definition.key_len) == (local_type, local_len) {
        return None;
    }
    let name = &spec.name;
    if definition.key_type == local_type {
        // What operators write is `len`, which does not count the NUL that the wire counts.
        let unit = u64::from(local_type == 6);
        return Some(format!(
            "table '{name}' is ignored: key length there is {} (len {}), here {local_len} (len {})",
            definition.key_len,
            definition.key_len.saturating_sub(unit),
            local_len - unit
        ));
    }
    Some(format!(
        "table '{name}' is ignored: its key type there is {}, here {}",
        key_type_name(definition.key_type),
        key_type_name(local_type)
    ))
}

fn key_type_name(number: u64) -> String {
    match number {
        2 => "integer".into(),
        4 => "ip".into(),
        5 => "ipv6".into(),
        6 => "string".into(),
        7 => "binary".into(),
        number => format!("unknown ({number})"),
    }
}

/// Whether the entry carries a change of ours that the peer has not acknowledged.
fn has_unacked_change(table: &Table, entry: EntryIndex, cursor: Cursor) -> bool {
    table
        .update_id(entry)
        .is_some_and(|id| is_after(id, cursor.acked))
}

/// Which values of an update are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Values {
    /// Gauges, too, which count what stands on the other node.
    All,
    /// All but gauges.
    Shared,
    /// Those that nobody calculates with.
    AsIs,
}

impl Values {
    fn include(self, data_type: DataType) -> bool {
        use DataType::{ConnCur, Gpt, Gpt0, ServerId, ServerKey};
        match self {
            Values::All => true,
            Values::Shared => data_type != ConnCur,
            Values::AsIs => matches!(data_type, ServerId | ServerKey | Gpt0 | Gpt),
        }
    }
}

/// An update with what it takes to read it.
struct Source<'a> {
    update: &'a Update<'a>,
    /// Of its key in the table that it is applied to, if it is known.
    hash: Option<KeyHash>,
    layout: &'a Layout,
    dictionary: &'a [Option<Box<[u8]>>],
    values: Values,
}

/// `write-to`: what came for one table is written into another one, too. As anything learnt it is not sent on, or two nodes whose
/// tables write to each other would never rest.
fn write_on(source: &Source<'_>, index: usize, context: &mut Context<'_>) {
    for &(from, target) in &context.learning.write_to {
        if from != index {
            continue;
        }
        let source = Source {
            values: Values::AsIs,
            hash: None,
            ..*source
        };
        apply(&mut context.tables[target], &source, None, context.now_ms);
    }
}

/// Writes all values but the server's.
fn write_values(
    table: &mut Table,
    entry: EntryIndex,
    update: &Update<'_>,
    values: Values,
    now_ms: u64,
) {
    for field in update.fields() {
        let Some(data_type) = DataType::from_number(u64::from(field.data_type)) else {
            continue;
        };
        if !values.include(data_type) || data_type == DataType::ServerId {
            continue;
        }
        match field.value {
            Value::Unsigned(value) => {
                table.set_value(entry, data_type, field.element, value);
            }
            Value::Rate {
                age_ms,
                current,
                previous,
            } => {
                let rate = Rate::from_age(now_ms, age_ms, current, previous);
                table.set_rate(entry, data_type, field.element, rate);
            }
            Value::NoString | Value::Slot(_) | Value::String(..) => {}
        }
    }
}

/// Writes an update into the table; the entry that took it, if one did.
fn apply(
    table: &mut Table,
    source: &Source<'_>,
    keep: Option<Cursor>,
    now_ms: u64,
) -> Option<EntryIndex> {
    let Source {
        update,
        hash,
        layout,
        dictionary,
        values,
    } = *source;
    let remaining_ms = update.expire_ms.filter(|_| layout.expires);
    let lead_ms = match (remaining_ms, layout.expire_ms) {
        (Some(remaining_ms), Some(whole_ms)) => merge::lead_ms(remaining_ms, whole_ms),
        _ => 0,
    };
    let key = Key::new(table.spec(), update.key)?; // an empty key is never stored
    let lead_ms = lead_ms.min(table.lead_ms_max());
    let touched_ms = now_ms + lead_ms;
    let left_ms = remaining_ms.map(|remaining_ms| remaining_ms - lead_ms as u32);
    // A table that is full drops it, but it is acknowledged.
    let entry = if remaining_ms == Some(0) {
        // It is over already: not worth an eviction.
        table.lookup(key, now_ms)
    } else {
        let hash = hash.unwrap_or_else(|| table.hash_key(key));
        table
            .lookup_or_insert_learnt(key, hash, (touched_ms, left_ms), now_ms)
            .map(Inserted::entry)
    }?;
    if keep.is_some_and(|cursor| has_unacked_change(table, entry, cursor)) {
        return None;
    }
    if layout.has_more_than_server() {
        write_values(table, entry, update, values, now_ms);
    }
    let server_key = match update.server_key {
        Value::Slot(slot) | Value::String(slot, _) => dictionary[usize::from(slot) - 1].as_deref(),
        _ => None,
    };
    let server_id = update
        .server_id
        .filter(|_| table.stores(DataType::ServerId));
    let server_key = server_key.filter(|key| !key.is_empty() && table.stores(DataType::ServerKey));
    match (server_id, server_key) {
        (Some(id), Some(key)) => table.set_server(entry, id, Some(key)),
        (Some(id), None) => table.set_server_id(entry, id),
        (None, Some(key)) => {
            table.set_server_key(entry, key);
        }
        (None, None) => {}
    }
    table.touch_remote(entry, touched_ms, left_ms);
    Some(entry)
}
