//! Encoding of messages into the room that there is.

use super::{
    CLASS_CONTROL, CLASS_TABLE, Control, MESSAGE_BYTES_MAX, Shape, VINT_BYTES_MAX, Value,
    WireError, key_type_number,
};
use crate::stick::KeyType;

/// Class, type and a length of one byte, as nearly all messages have.
const HEAD_BYTES: usize = 3;
/// The same with the longest length that `MESSAGE_BYTES_MAX` needs, three bytes.
const HEAD_BYTES_MAX: usize = 5;

/// Why nothing was encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// Not enough room now; with `MESSAGE_BYTES_MAX` bytes of room there may be.
    NoRoom,
    /// The message would be longer than `MESSAGE_BYTES_MAX`.
    TooLong,
}

/// Encodes a control message; the number of bytes written.
///
/// # Errors
/// `NoRoom` for less than two bytes of room.
pub fn encode_control(out: &mut [u8], control: Control) -> Result<usize, EncodeError> {
    encode_short(out, [CLASS_CONTROL, control as u8])
}

/// Encodes an error message; the number of bytes written.
///
/// # Errors
/// `NoRoom` for less than two bytes of room.
pub fn encode_error(out: &mut [u8], error: WireError) -> Result<usize, EncodeError> {
    encode_short(out, error.message())
}

fn encode_short(out: &mut [u8], message: [u8; 2]) -> Result<usize, EncodeError> {
    out.get_mut(..2)
        .ok_or(EncodeError::NoRoom)?
        .copy_from_slice(&message);
    Ok(2)
}

/// Encodes an ack; the number of bytes written.
///
/// # Errors
/// `NoRoom` if it does not fit.
pub fn encode_ack(out: &mut [u8], table_id: u64, id: u32) -> Result<usize, EncodeError> {
    let mut writer = BodyWriter::new(out);
    writer.vint(table_id);
    writer.bytes(&id.to_be_bytes());
    writer.finish(0x84)
}

/// What a definition announces of one data type.
#[derive(Clone, Copy, Debug)]
pub struct Announced {
    /// Number of the data type.
    pub data_type: u32,
    /// Elements of an array.
    pub elements: u32,
    /// Period of a rate, in milliseconds.
    pub period_ms: u32,
}

/// Encodes a definition; the number of bytes written. `stored` ascends by data type.
///
/// # Errors
/// `NoRoom` if it does not fit, `TooLong` if it never can.
pub fn encode_define(
    out: &mut [u8],
    table_id: u64,
    name: &[u8],
    key_type: KeyType,
    key_len: u64,
    expire_ms: u32,
    stored: impl Iterator<Item = Announced> + Clone,
) -> Result<usize, EncodeError> {
    let mut writer = BodyWriter::new(out);
    writer.vint(table_id);
    writer.vint(name.len() as u64);
    writer.bytes(name);
    writer.vint(key_type_number(key_type));
    writer.vint(key_len);
    writer.vint(
        stored
            .clone()
            .fold(0, |bits, announced| bits | 1 << announced.data_type),
    );
    writer.vint(u64::from(expire_ms));
    for announced in stored {
        let Some(shape) = Shape::of(announced.data_type) else {
            continue;
        };
        if shape.is_array() || shape.is_rate() {
            writer.vint(u64::from(announced.data_type));
        }
        if shape.is_array() {
            writer.vint(u64::from(announced.elements));
        }
        if shape.is_rate() {
            writer.vint(u64::from(announced.period_ms));
        }
    }
    writer.finish(0x82)
}

/// Encodes one update: `new`, then a `value` for every element of every announced data type, then `finish`.
///
/// The id is always explicit: some receivers acknowledge wrong ids after incremental ones.
pub struct UpdateWriter<'a> {
    body: BodyWriter<'a>,
    timed: bool,
}

impl<'a> UpdateWriter<'a> {
    /// Begins an update. `key_len` is the announced length, to which binary keys are padded.
    pub fn new(
        out: &'a mut [u8],
        id: u32,
        expire_ms: Option<u32>,
        key_type: KeyType,
        key_len: usize,
        key: &[u8],
    ) -> UpdateWriter<'a> {
        let fill = |room: &mut [u8]| room.copy_from_slice(&key[..room.len()]);
        UpdateWriter::with_key(out, id, expire_ms, key_type, key_len, key.len(), fill)
    }

    /// The same, with a key of so many bytes that `fill` writes into the message.
    #[inline]
    pub fn with_key(
        out: &'a mut [u8],
        id: u32,
        expire_ms: Option<u32>,
        key_type: KeyType,
        key_len: usize,
        key_bytes: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> UpdateWriter<'a> {
        let mut body = BodyWriter::new(out);
        body.bytes(&id.to_be_bytes());
        if let Some(expire_ms) = expire_ms {
            body.bytes(&expire_ms.to_be_bytes());
        }
        match key_type {
            KeyType::String => {
                body.vint(key_bytes as u64);
                body.filled(key_bytes, fill);
            }
            KeyType::Binary => {
                let kept = key_bytes.min(key_len);
                body.filled(kept, fill);
                body.zeros(key_len - kept);
            }
            KeyType::Integer | KeyType::Ip | KeyType::Ipv6 => {
                body.filled(key_bytes, fill);
            }
        }
        UpdateWriter {
            body,
            timed: expire_ms.is_some(),
        }
    }

    /// Appends a value. The caller keeps the order that the definition announced.
    #[inline]
    pub fn value(&mut self, value: Value<'_>) {
        match value {
            Value::Unsigned(number) => self.body.vint(number),
            Value::Rate {
                age_ms,
                current,
                previous,
            } => {
                self.body.vint(u64::from(age_ms));
                self.body.vint(u64::from(current));
                self.body.vint(u64::from(previous));
            }
            Value::NoString => self.body.vint(0),
            Value::Slot(slot) => {
                self.body.vint(vint_bytes(u64::from(slot)) as u64);
                self.body.vint(u64::from(slot));
            }
            Value::String(slot, string) => {
                let length = string.len() as u64;
                let bytes = vint_bytes(u64::from(slot)) + vint_bytes(length) + string.len();
                self.body.vint(bytes as u64);
                self.body.vint(u64::from(slot));
                self.body.vint(length);
                self.body.bytes(string);
            }
        }
    }

    /// Appends the sender's clock, modulo 2^32, as a deletion ends with it.
    pub fn clock(&mut self, clock_ms: u32) {
        self.body.bytes(&clock_ms.to_be_bytes());
    }

    /// Completes it; the number of bytes written.
    ///
    /// # Errors
    /// `NoRoom` if it does not fit, `TooLong` if it never can.
    pub fn finish(mut self) -> Result<usize, EncodeError> {
        self.body.finish(if self.timed { 0x85 } else { 0x80 })
    }
}

/// The values of an update, encoded: what updates of entries that say the same end with.
#[derive(Clone, Copy, Debug)]
pub struct EncodedValues {
    bytes: [u8; ENCODED_BYTES_MAX],
    len: u8,
}

/// Most bytes of encoded values that are kept.
const ENCODED_BYTES_MAX: usize = 32;

impl EncodedValues {
    /// Encodes them; `None` if they are longer than what is kept.
    pub fn new<'v>(values: impl Iterator<Item = Value<'v>>) -> Option<EncodedValues> {
        let mut room = [0; HEAD_BYTES + ENCODED_BYTES_MAX];
        let mut writer = UpdateWriter {
            body: BodyWriter::new(&mut room),
            timed: false,
        };
        values.for_each(|value| writer.value(value));
        let end = writer.finish().ok()?;
        let mut bytes = [0; ENCODED_BYTES_MAX];
        let encoded = &room[HEAD_BYTES..end];
        bytes[..encoded.len()].copy_from_slice(encoded);
        Some(EncodedValues {
            bytes,
            len: encoded.len() as u8,
        })
    }
}

/// Longest key of an update that `encode_update` writes: its message has a length of one byte.
pub const SHORT_KEY_BYTES_MAX: usize = 0xf0 - 1 - (4 + 4 + 1) - ENCODED_BYTES_MAX;

/// Encodes an update of a short key, whose values are encoded already: copies of fixed lengths, each of which may write beyond its
/// end, where the next one follows. `fill` writes the key, of so many bytes, and what it likes up to the next multiple of eight. The
/// number of bytes written; `None`: it takes more room to write like that.
#[inline]
pub fn encode_update(
    out: &mut [u8],
    (id, expire_ms): (u32, Option<u32>),
    key_type: KeyType,
    key_bytes: usize,
    fill: impl FnOnce(&mut [u8]),
    values: &EncodedValues,
) -> Option<usize> {
    let filled_bytes = key_bytes.next_multiple_of(8);
    let room = HEAD_BYTES + 4 + 4 + 1 + filled_bytes + ENCODED_BYTES_MAX;
    if key_bytes > SHORT_KEY_BYTES_MAX {
        return None;
    }
    let out = out.get_mut(..room)?;
    let mut end = HEAD_BYTES;
    let mut append = |bytes: &[u8], len: usize| {
        out[end..end + bytes.len()].copy_from_slice(bytes);
        end += len;
    };
    append(&id.to_be_bytes(), 4);
    append(
        &expire_ms.unwrap_or(0).to_be_bytes(),
        4 * usize::from(expire_ms.is_some()),
    );
    append(&[key_bytes as u8], usize::from(key_type == KeyType::String));
    fill(&mut out[end..end + filled_bytes]);
    end += key_bytes;
    out[end..end + ENCODED_BYTES_MAX].copy_from_slice(&values.bytes);
    end += usize::from(values.len);
    let kind = if expire_ms.is_some() { 0x85 } else { 0x80 };
    out[..HEAD_BYTES].copy_from_slice(&[CLASS_TABLE, kind, (end - HEAD_BYTES) as u8]);
    Some(end)
}

/// Writes a body behind room for a short head; `finish` writes the head, and moves a long body on to make room for its length.
///
/// One comparison a piece: what is beyond the room, or beyond the longest message, is beyond `out`; after an overflow all is.
pub(super) struct BodyWriter<'a> {
    out: &'a mut [u8],
    end: usize,
    /// The room was that of the longest message: what does not fit never will.
    is_whole: bool,
}

impl<'a> BodyWriter<'a> {
    pub(super) fn new(out: &'a mut [u8]) -> BodyWriter<'a> {
        let (is_whole, room) = (out.len() >= MESSAGE_BYTES_MAX, out.len());
        let usable = match room {
            ..HEAD_BYTES_MAX => 0,
            _ => room.min(MESSAGE_BYTES_MAX),
        };
        BodyWriter {
            out: &mut out[..usable],
            end: HEAD_BYTES,
            is_whole,
        }
    }

    #[inline]
    fn room(&mut self, count: usize) -> Option<&mut [u8]> {
        let start = self.end;
        let end = start.saturating_add(count);
        if end > self.out.len() {
            self.out = &mut [];
            return None;
        }
        self.end = end;
        self.out.get_mut(start..end)
    }

    #[inline]
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        if let Some(room) = self.room(bytes.len()) {
            room.copy_from_slice(bytes);
        }
    }

    #[inline]
    fn filled(&mut self, count: usize, fill: impl FnOnce(&mut [u8])) {
        if let Some(room) = self.room(count) {
            fill(room);
        }
    }

    fn zeros(&mut self, count: usize) {
        if let Some(room) = self.room(count) {
            room.fill(0);
        }
    }

    #[inline]
    pub(super) fn vint(&mut self, value: u64) {
        if value < 0xf0 {
            return self.bytes(&[value as u8]);
        }
        self.long_vint(value);
    }

    fn long_vint(&mut self, value: u64) {
        let mut bytes = [0; VINT_BYTES_MAX];
        let count = encode_vint(value, &mut bytes);
        self.bytes(&bytes[..count]);
    }

    #[inline]
    fn finish(&mut self, kind: u8) -> Result<usize, EncodeError> {
        self.finish_as([CLASS_TABLE, kind])
    }

    #[inline]
    pub(super) fn finish_as(&mut self, head: [u8; 2]) -> Result<usize, EncodeError> {
        let body_bytes = self.end - HEAD_BYTES;
        if body_bytes < 0xf0
            && let Some(room) = self.out.first_chunk_mut::<HEAD_BYTES>()
        {
            *room = [head[0], head[1], body_bytes as u8];
            return Ok(self.end);
        }
        self.finish_long(head)
    }

    fn finish_long(&mut self, head: [u8; 2]) -> Result<usize, EncodeError> {
        let body_bytes = self.end - HEAD_BYTES;
        let mut length = [0; VINT_BYTES_MAX];
        let length_bytes = encode_vint(body_bytes as u64, &mut length);
        let head_bytes = 2 + length_bytes;
        let message_bytes = head_bytes + body_bytes;
        if message_bytes > self.out.len() {
            return Err(if self.is_whole {
                EncodeError::TooLong
            } else {
                EncodeError::NoRoom
            });
        }
        if head_bytes > HEAD_BYTES {
            self.out.copy_within(HEAD_BYTES..self.end, head_bytes);
        }
        self.out[..2].copy_from_slice(&head);
        self.out[2..head_bytes].copy_from_slice(&length[..length_bytes]);
        assert!(message_bytes <= MESSAGE_BYTES_MAX);
        Ok(message_bytes)
    }
}

pub(super) fn encode_vint(mut value: u64, out: &mut [u8; VINT_BYTES_MAX]) -> usize {
    if value < 0xf0 {
        out[0] = value as u8;
        return 1;
    }
    out[0] = value as u8 | 0xf0;
    value = (value - 0xf0) >> 4;
    let mut count = 1;
    while value >= 0x80 {
        out[count] = value as u8 | 0x80;
        value = (value - 0x80) >> 7;
        count += 1;
    }
    out[count] = value as u8;
    count + 1
}

#[inline]
fn vint_bytes(value: u64) -> usize {
    match value {
        ..0xf0 => 1,
        _ => encode_vint(value, &mut [0; VINT_BYTES_MAX]),
    }
}
