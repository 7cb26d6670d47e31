//! An entry as an update.
//!
//! Most tables hold nothing but keys and their servers. What such an entry's update ends with depends on its server alone, and servers are
//! few, so it is encoded once and copied (`Servers`).
//! Invariant: what is kept was encoded for what the table's number of a server means now, and for the slots that the names have now in
//! this session's dictionary.
//! Not here: which entry is sent, when, with which lifetime (`send`).

use crate::peers::wire::{
    self, EncodeError, EncodedValues, MESSAGE_BYTES_MAX, UpdateWriter, Value,
};
use crate::stick::spec::DataClass;
use crate::stick::{EntryIndex, Table};

/// Servers whose values are kept; a power of two.
const SERVERS_KEPT: usize = 64;

/// What updates of entries that hold only their server end with.
#[derive(Debug, Default)]
pub(super) struct Servers {
    kept: Vec<Option<Kept>>,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    position: usize,
    server: (u64, u32),
    values: EncodedValues,
}

impl Servers {
    /// Servers of a backend are numbered from 1, names have their places in the order in which they came.
    fn slot(position: usize, server: u64) -> usize {
        (position * 7 + server as usize + (server >> 32) as usize) % SERVERS_KEPT
    }

    /// The values of an entry, if they are kept.
    #[inline]
    pub fn get(&self, position: usize, table: &Table, entry: EntryIndex) -> Option<&EncodedValues> {
        let server = table.server_number(entry);
        let kept = self.kept.get(Servers::slot(position, server.0))?.as_ref()?;
        (kept.position == position && kept.server == server).then_some(&kept.values)
    }

    /// Keeps the values of an entry, if they are its server alone.
    pub fn keep(
        &mut self,
        position: usize,
        table: &Table,
        entry: EntryIndex,
        (server_id, server_key): (i32, Value<'_>),
    ) {
        let stored = &table.spec().store;
        let values = stored.iter().map(|stored| match stored.data_type.class() {
            DataClass::Signed32 => Some(id_value(server_id)),
            DataClass::Name => Some(server_key),
            _ => None,
        });
        if values.clone().any(|value| value.is_none()) {
            return;
        }
        let Some(values) = EncodedValues::new(values.flatten()) else {
            return;
        };
        let server = table.server_number(entry);
        self.kept.resize(SERVERS_KEPT, None);
        self.kept[Servers::slot(position, server.0)] = Some(Kept {
            position,
            server,
            values,
        });
    }
}

fn id_value(server_id: i32) -> Value<'static> {
    Value::Unsigned(i64::from(server_id) as u64)
}

/// Encodes an entry whose values are known; `None`: not without more room, or not this way.
#[inline]
pub(super) fn encode_bound(
    room: &mut [u8],
    table: &Table,
    entry: EntryIndex,
    id_and_lifetime: (u32, Option<u32>),
    values: &EncodedValues,
) -> Option<usize> {
    wire::encode_update(
        room,
        id_and_lifetime,
        table.spec().key_type,
        table.key_len(entry),
        |out| table.copy_key_words(entry, out),
        values,
    )
}

/// Bytes of the longest update that the table's declaration allows, or of the longest message if that is less.
pub(super) fn update_bytes_max(table: &Table) -> usize {
    const HEAD: usize = 5 + 4 + 4 + 3;
    const VINT32: usize = 5;
    const VINT64: usize = 10;
    let spec = table.spec();
    let data: usize = spec
        .store
        .iter()
        .map(|stored| {
            let each = match stored.data_type.class() {
                DataClass::Signed32 | DataClass::Unsigned64 => VINT64,
                DataClass::Unsigned32 => VINT32,
                DataClass::Rate => 3 * VINT32,
                DataClass::Name => 262,
            };
            each * stored.elements as usize
        })
        .sum();
    (HEAD + spec.key_len as usize + data).min(MESSAGE_BYTES_MAX)
}

/// Encodes an entry with whatever its table stores.
pub(super) fn encode_entry(
    room: &mut [u8],
    table: &Table,
    entry: EntryIndex,
    id: u32,
    lifetime_ms: Option<u32>,
    (server_id, server_key): (i32, Value<'_>),
    now_ms: u64,
) -> Result<usize, EncodeError> {
    let spec = table.spec();
    let key_len = spec.wire_key_len() as usize;
    let mut writer = UpdateWriter::with_key(
        room,
        id,
        lifetime_ms,
        spec.key_type,
        key_len,
        table.key_len(entry),
        |out| table.copy_key(entry, out),
    );
    for stored in &spec.store {
        let data_type = stored.data_type;
        match data_type.class() {
            DataClass::Signed32 => writer.value(id_value(server_id)),
            // The string goes with every update: a receiver that dropped an earlier one (table unknown or full there)
            // would resolve a bare slot to nothing, or to another server.
            DataClass::Name => writer.value(server_key),
            DataClass::Rate => {
                for element in 0..stored.elements {
                    let rate = table.rate(entry, data_type, element).unwrap_or_default();
                    writer.value(Value::Rate {
                        age_ms: rate.age_ms(now_ms),
                        current: rate.current,
                        previous: rate.previous,
                    });
                }
            }
            DataClass::Unsigned32 | DataClass::Unsigned64 => {
                for element in 0..stored.elements {
                    let value = table.value(entry, data_type, element);
                    writer.value(Value::Unsigned(value.unwrap_or_default()));
                }
            }
        }
    }
    writer.finish()
}
