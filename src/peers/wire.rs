//! Codec of the peers protocol's binary messages (protocol 2.1).
//!
//! A message is two bytes, class and type; from type 0x80 on a length and a body follow. Decoding checks every length,
//! number and type before anything is handed out; encoding knows its room and never writes half a message.
//!
//! Invariants: no decoded slice is longer than the message that it came from; what an encoder emits is at most
//! `MESSAGE_BYTES_MAX` bytes and decodes to the same values.
//! Not here: what messages mean (`session`), the text lines before them (`hello`).

mod encode;
pub mod extension;
#[cfg(test)]
mod tests;

pub use encode::{
    Announced, EncodeError, EncodedValues, SHORT_KEY_BYTES_MAX, UpdateWriter, encode_ack,
    encode_control, encode_define, encode_error, encode_update,
};

use crate::stick::KeyType;

/// Longest message, head included: an implementation with the default buffer size cannot take in more.
pub const MESSAGE_BYTES_MAX: usize = 16384;
/// Most elements of an array data type.
pub const ELEMENTS_MAX: u64 = 100;
/// Slots of a dictionary cache; slot numbers are 1 to this.
pub const DICTIONARY_SLOTS: usize = 128;
/// Data types whose encoding is known: 0 to this minus one.
pub const DATA_TYPES_KNOWN: u32 = 27;

/// Numbers of the data types that say which server an entry is bound to, and the sets of those between and behind them.
const SERVER_ID: u32 = 0;
const SERVER_KEY: u32 = 19;
const BETWEEN_SERVER: u32 = (1 << SERVER_KEY) - (2 << SERVER_ID);
const BEHIND_SERVER: u32 = !((2 << SERVER_KEY) - 1);

const VINT_BYTES_MAX: usize = 10;
const CLASS_CONTROL: u8 = 0;
const CLASS_ERROR: u8 = 1;
const CLASS_TABLE: u8 = 10;
const CLASS_RESERVED: u8 = 255;

/// What is wrong with received bytes; the protocol has an error message for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// Malformed: answered `01 00`.
    Protocol,
    /// Longer than any buffer: answered `01 01`.
    SizeLimit,
}

impl WireError {
    /// The message that tells the peer.
    pub fn message(self) -> [u8; 2] {
        match self {
            WireError::Protocol => [CLASS_ERROR, 0],
            WireError::SizeLimit => [CLASS_ERROR, 1],
        }
    }
}

/// What is wrong with a message that was refused, in words, as far as its first bytes tell.
pub fn explain(bytes: &[u8]) -> String {
    let &[class, kind, ref rest @ ..] = bytes else {
        return "incomplete".into();
    };
    if class == CLASS_RESERVED {
        return "class 255 is reserved".into();
    }
    let name = match (class, kind) {
        (CLASS_TABLE, 0x80 | 0x81 | 0x85 | 0x86) => "an update",
        (CLASS_TABLE, 0x82) => "a definition of a table",
        (CLASS_TABLE, 0x83) => "a switch to a table",
        (CLASS_TABLE, 0x84) => "an ack",
        _ => "a message",
    };
    match Reader::new(rest).length() {
        Ok(Some(len)) if len > MESSAGE_BYTES_MAX as u64 - 2 => {
            format!("{name} of {len} bytes, longer than a message may be")
        }
        Err(_) => format!("{name} whose length has no end"),
        Ok(_) => format!("{name} that is cut short, or has a length or number out of bounds"),
    }
}

/// Control messages: class 0, two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Control {
    /// "Teach me everything."
    ResyncRequest = 0,
    /// End of a lesson; the teacher has everything.
    ResyncFinished = 1,
    /// End of a lesson; the teacher may lack something.
    ResyncPartial = 2,
    /// The learner has taken the end of a lesson in.
    ResyncConfirm = 3,
    /// Nothing to say, alive.
    Heartbeat = 4,
}

/// The four forms of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpdateForm {
    /// The id precedes the key; otherwise it is the previous one plus one.
    pub explicit_id: bool,
    /// The remaining lifetime precedes the key.
    pub timed: bool,
}

/// A received message, its body still encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A control message.
    Control(Control),
    /// The peer reports an error and is about to close.
    Error(u8),
    /// An entry.
    Update(UpdateForm, &'a [u8]),
    /// A table's definition.
    Define(&'a [u8]),
    /// A table defined earlier is selected.
    Switch(&'a [u8]),
    /// Receipt of updates.
    Ack(&'a [u8]),
    /// What only burdock nodes say to each other: the type and the body, for `extension::decode`.
    Extension(u8, &'a [u8]),
    /// A message of an unknown class or type: skipped.
    Unknown,
}

/// Takes the first message off `bytes`: the message and its length, or `None` if it is not complete yet.
///
/// # Errors
/// `Protocol` for the reserved class or an endless length, `SizeLimit` for a message beyond `MESSAGE_BYTES_MAX`.
pub fn decode_frame(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, WireError> {
    let &[class, kind, ref rest @ ..] = bytes else {
        return Ok(None);
    };
    if class == CLASS_RESERVED {
        return Err(WireError::Protocol);
    }
    if kind < 0x80 {
        let frame = match (class, kind) {
            (CLASS_CONTROL, 0) => Frame::Control(Control::ResyncRequest),
            (CLASS_CONTROL, 1) => Frame::Control(Control::ResyncFinished),
            (CLASS_CONTROL, 2) => Frame::Control(Control::ResyncPartial),
            (CLASS_CONTROL, 3) => Frame::Control(Control::ResyncConfirm),
            (CLASS_CONTROL, 4) => Frame::Control(Control::Heartbeat),
            (CLASS_ERROR, kind) => Frame::Error(kind),
            _ => Frame::Unknown,
        };
        return Ok(Some((frame, 2)));
    }
    let mut reader = Reader::new(rest);
    let Some(body_bytes) = reader.length()? else {
        return Ok(None);
    };
    let head_bytes = bytes.len() - reader.rest.len();
    if body_bytes > (MESSAGE_BYTES_MAX - head_bytes) as u64 {
        return Err(WireError::SizeLimit);
    }
    let Some(body) = reader.rest.get(..body_bytes as usize) else {
        return Ok(None);
    };
    let frame = match (class, kind) {
        (CLASS_TABLE, 0x80) => Frame::Update(form(true, false), body),
        (CLASS_TABLE, 0x81) => Frame::Update(form(false, false), body),
        (CLASS_TABLE, 0x82) => Frame::Define(body),
        (CLASS_TABLE, 0x83) => Frame::Switch(body),
        (CLASS_TABLE, 0x84) => Frame::Ack(body),
        (CLASS_TABLE, 0x85) => Frame::Update(form(true, true), body),
        (CLASS_TABLE, 0x86) => Frame::Update(form(false, true), body),
        (extension::CLASS, kind) => Frame::Extension(kind, body),
        _ => Frame::Unknown,
    };
    Ok(Some((frame, head_bytes + body.len())))
}

const fn form(explicit_id: bool, timed: bool) -> UpdateForm {
    UpdateForm { explicit_id, timed }
}

/// Reads fields off a body.
#[derive(Clone, Copy, Debug)]
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(rest: &'a [u8]) -> Reader<'a> {
        Reader { rest }
    }

    #[inline]
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// A variable-length integer. Modulo 2^64, as the encoding's inventor computes it.
    #[inline(always)]
    fn vint(&mut self) -> Result<u64, WireError> {
        let first = self.byte().ok_or(WireError::Protocol)?;
        if first < 0xf0 {
            return Ok(u64::from(first));
        }
        self.long_vint(first)
    }

    #[inline(never)]
    fn long_vint(&mut self, first: u8) -> Result<u64, WireError> {
        let mut value = u64::from(first);
        let mut shift = 4;
        loop {
            let next = self.byte().ok_or(WireError::Protocol)?;
            value = value.wrapping_add(u64::from(next) << shift);
            if next < 0x80 {
                return Ok(value);
            }
            shift += 7;
            if shift >= u64::BITS {
                return Err(WireError::Protocol);
            }
        }
    }

    /// The length of a message: `None` while its bytes are missing. At most five bytes are read for it.
    #[inline]
    fn length(&mut self) -> Result<Option<u64>, WireError> {
        match self.rest.split_first() {
            Some((&first, rest)) if first < 0xf0 => {
                self.rest = rest;
                Ok(Some(u64::from(first)))
            }
            _ => self.long_length(),
        }
    }

    #[cold]
    fn long_length(&mut self) -> Result<Option<u64>, WireError> {
        let mut head = Reader::new(&self.rest[..self.rest.len().min(5)]);
        let available = head.rest.len();
        match head.vint() {
            Ok(value) => {
                self.rest = &self.rest[available - head.rest.len()..];
                Ok(Some(value))
            }
            Err(_) if available < 5 => Ok(None),
            Err(error) => Err(error),
        }
    }

    #[inline]
    fn u32(&mut self) -> Result<u32, WireError> {
        let bytes = self.bytes(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    #[inline]
    fn key(&mut self, layout: &Layout) -> Result<&'a [u8], WireError> {
        let key_bytes = match layout.key {
            KeyLayout::Fixed(bytes) => u64::from(bytes),
            KeyLayout::String => self.vint()?,
        };
        self.bytes(key_bytes)
    }

    fn u64(&mut self) -> Result<u64, WireError> {
        let high = self.u32()?;
        Ok(u64::from(high) << 32 | u64::from(self.u32()?))
    }

    #[inline]
    fn bytes(&mut self, count: u64) -> Result<&'a [u8], WireError> {
        if count > self.rest.len() as u64 {
            return Err(WireError::Protocol);
        }
        let (taken, rest) = self.rest.split_at(count as usize);
        self.rest = rest;
        Ok(taken)
    }
}

/// How the values of a data type travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One integer.
    Unsigned,
    /// Age, current and previous count.
    Rate,
    /// `elements` integers.
    UnsignedArray,
    /// `elements` rates.
    RateArray,
    /// A string through the dictionary cache.
    Dictionary,
}

impl Shape {
    /// The shape of a data type by its number; `None` for one that this implementation does not know.
    pub fn of(data_type: u32) -> Option<Shape> {
        match data_type {
            3 | 5 | 8 | 10 | 12 | 14 | 16 | 18 | 21 | 26 => Some(Shape::Rate),
            19 => Some(Shape::Dictionary),
            22 | 23 => Some(Shape::UnsignedArray),
            24 => Some(Shape::RateArray),
            0..DATA_TYPES_KNOWN => Some(Shape::Unsigned),
            _ => None,
        }
    }

    fn is_array(self) -> bool {
        matches!(self, Shape::UnsignedArray | Shape::RateArray)
    }

    fn is_rate(self) -> bool {
        matches!(self, Shape::Rate | Shape::RateArray)
    }
}

/// The number of a key type on the wire.
pub fn key_type_number(key_type: KeyType) -> u64 {
    match key_type {
        KeyType::Integer => 2,
        KeyType::Ip => 4,
        KeyType::Ipv6 => 5,
        KeyType::String => 6,
        KeyType::Binary => 7,
    }
}

/// What a definition says about the updates that follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bits of the data types that updates carry and that we can decode, without a gap above the highest.
    data_types: u32,
    /// Element counts of the array types 22, 23, 24.
    elements: [u8; 3],
    key: KeyLayout,
    /// Whether the sender's entries expire, so that its timed updates mean something.
    pub expires: bool,
    /// How long they live untouched, as far as it can be told.
    pub expire_ms: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyLayout {
    Fixed(u32),
    String,
}

impl Layout {
    /// Whether updates carry anything but the entry's server.
    #[inline]
    pub fn has_more_than_server(&self) -> bool {
        self.data_types & (BETWEEN_SERVER | BEHIND_SERVER) != 0
    }

    /// The same for updates that carry no data.
    pub fn without_data(self) -> Layout {
        Layout {
            data_types: 0,
            ..self
        }
    }

    fn elements(&self, data_type: u32, shape: Shape) -> u32 {
        if shape.is_array() {
            u32::from(self.elements[data_type as usize - 22])
        } else {
            1
        }
    }
}

/// A decoded definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition<'a> {
    /// The sender's number for the table.
    pub table_id: u64,
    /// The table's name on the wire; never empty.
    pub name: &'a [u8],
    /// Key type as a number on the wire; any value.
    pub key_type: u64,
    /// Key length as announced; any value.
    pub key_len: u64,
    /// Data types that updates carry, unknown bits included.
    pub data_types: u64,
    /// How to read updates; `None` if the parameters are missing or wrong or the key type is unknown: the table is then
    /// ignored.
    pub layout: Option<Layout>,
}

/// Decodes a definition.
///
/// # Errors
/// `Protocol` if it ends before its data types or its name is empty. Faults behind that only leave `layout` empty.
pub fn decode_define(body: &[u8]) -> Result<Definition<'_>, WireError> {
    let mut reader = Reader::new(body);
    let table_id = reader.vint()?;
    let name_bytes = reader.vint()?;
    let name = reader.bytes(name_bytes)?;
    if name.is_empty() {
        return Err(WireError::Protocol);
    }
    let key_type = reader.vint()?;
    let key_len = reader.vint()?;
    let data_types = reader.vint()?;
    Ok(Definition {
        table_id,
        name,
        key_type,
        key_len,
        data_types,
        layout: decode_layout(reader, key_type, key_len, data_types),
    })
}

fn decode_layout(
    mut reader: Reader<'_>,
    key_type: u64,
    key_len: u64,
    data_types: u64,
) -> Option<Layout> {
    let key = match key_type {
        2 | 4 => KeyLayout::Fixed(4),
        5 => KeyLayout::Fixed(16),
        6 => KeyLayout::String,
        7 => KeyLayout::Fixed(u32::try_from(key_len).ok()?),
        _ => return None,
    };
    // Types are only ever added above the known ones, so everything up to the first unknown bit can be read.
    let known = data_types as u32 & ((1 << DATA_TYPES_KNOWN) - 1);
    let mut layout = Layout {
        data_types: known,
        elements: [0; 3],
        key,
        expires: true,
        expire_ms: None,
    };
    if reader.rest.is_empty() {
        // A very old sender: no expiry and no parameters. Arrays cannot be read without their size.
        return (known >> 22 & 7 == 0).then_some(layout);
    }
    let expire_ms = reader.vint().ok()?;
    layout.expires = expire_ms != 0;
    layout.expire_ms = u32::try_from(expire_ms).ok();
    for (data_type, shape) in known_types(known) {
        if !shape.is_array() && !shape.is_rate() {
            continue;
        }
        if reader.vint().ok()? != u64::from(data_type) {
            return None;
        }
        if shape.is_array() {
            let count = reader.vint().ok()?;
            if count > ELEMENTS_MAX {
                return None;
            }
            layout.elements[data_type as usize - 22] = count as u8;
        }
        if shape.is_rate() {
            reader.vint().ok()?; // the sender's period: ours counts
        }
    }
    Some(layout)
}

/// The data types of a set, from the lowest on, without a look at those that are not in it.
fn known_types(mut bits: u32) -> impl Iterator<Item = (u32, Shape)> {
    std::iter::from_fn(move || {
        let data_type = bits.trailing_zeros();
        bits &= bits.wrapping_sub(1);
        Some((data_type, Shape::of(data_type)?))
    })
}

/// A value of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// An integer.
    Unsigned(u64),
    /// A frequency counter as its owner keeps it, not rotated.
    Rate {
        /// Milliseconds since the current period began, modulo 2^32.
        age_ms: u32,
        /// Events in the current period.
        current: u32,
        /// Events in the previous period.
        previous: u32,
    },
    /// No string: leaves the receiver's alone.
    NoString,
    /// A string that the dictionary cache of this session holds.
    Slot(u8),
    /// A string and the slot that it takes from now on.
    String(u8, &'a [u8]),
}

/// One value and where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Number of the data type.
    pub data_type: u32,
    /// Element of an array, from 0; 0 for what is no array.
    pub element: u32,
    /// The value.
    pub value: Value<'a>,
}

/// A decoded update. All of it has been checked: iterating over `fields` cannot fail.
#[derive(Clone, Copy, Debug)]
pub struct Update<'a> {
    /// Its id; `None`: one more than the previous.
    pub id: Option<u32>,
    /// Remaining lifetime, in milliseconds.
    pub expire_ms: Option<u32>,
    /// The key as sent, without padding or termination.
    pub key: &'a [u8],
    /// The string that it brings into the dictionary cache, and the slot.
    pub string: Option<(u8, &'a [u8])>,
    /// Its `server_id`, if it carries one, and its `server_key` (`NoString` if it carries none): what nearly all updates are about.
    pub server_id: Option<i32>,
    /// See `server_id`.
    pub server_key: Value<'a>,
    data: &'a [u8],
    layout: Layout,
}

/// The id of an update, if it carries one: also needed for updates of tables that are skipped.
///
/// # Errors
/// `Protocol` if the update is shorter than that.
pub fn decode_update_id(form: UpdateForm, body: &[u8]) -> Result<Option<u32>, WireError> {
    let mut reader = Reader::new(body);
    form.explicit_id.then(|| reader.u32()).transpose()
}

/// The key of an update, before the update is decoded; `None` if the update is cut short before its end.
pub fn update_key<'a>(form: UpdateForm, body: &'a [u8], layout: &Layout) -> Option<&'a [u8]> {
    let head_bytes = 4 * usize::from(form.explicit_id) + 4 * usize::from(form.timed);
    let mut reader = Reader::new(body.get(head_bytes..)?);
    reader.key(layout).ok()
}

/// Decodes an update, down to its last value.
///
/// # Errors
/// `Protocol` if anything in it is truncated or out of bounds.
pub fn decode_update<'a>(
    form: UpdateForm,
    body: &'a [u8],
    layout: &Layout,
) -> Result<Update<'a>, WireError> {
    let mut reader = Reader::new(body);
    let id = form.explicit_id.then(|| reader.u32()).transpose()?;
    let expire_ms = form.timed.then(|| reader.u32()).transpose()?;
    let key = reader.key(layout)?;
    let mut update = Update {
        id,
        expire_ms,
        key,
        string: None,
        server_id: None,
        server_key: Value::NoString,
        data: reader.rest,
        layout: *layout,
    };
    if layout.data_types & 1 << SERVER_ID != 0 {
        update.server_id = Some(reader.vint()? as i32);
    }
    for (data_type, shape) in known_types(layout.data_types & BETWEEN_SERVER) {
        skip_values(&mut reader, layout, data_type, shape)?;
    }
    if layout.data_types & 1 << SERVER_KEY != 0 {
        update.server_key = decode_dictionary(&mut reader)?;
        if let Value::String(slot, string) = update.server_key {
            update.string = Some((slot, string));
        }
    }
    for (data_type, shape) in known_types(layout.data_types & BEHIND_SERVER) {
        skip_values(&mut reader, layout, data_type, shape)?;
    }
    Ok(update)
}

/// Sees that the values of a data type, which is no string, are whole.
fn skip_values(
    reader: &mut Reader<'_>,
    layout: &Layout,
    data_type: u32,
    shape: Shape,
) -> Result<(), WireError> {
    for _ in 0..layout.elements(data_type, shape) {
        decode_value(reader, shape)?;
    }
    Ok(())
}

impl<'a> Update<'a> {
    /// The four bytes behind the key of an update without data: the clock that a deletion carries.
    pub fn clock_ms(&self) -> Option<u32> {
        let bytes = self.data.first_chunk::<4>()?;
        Some(u32::from_be_bytes(*bytes))
    }

    /// Its values in the order of their data types.
    pub fn fields(&self) -> Fields<'a> {
        Fields {
            reader: Reader::new(self.data),
            layout: self.layout,
            bits: self.layout.data_types,
            element: 0,
        }
    }
}

/// The values of an update; see [`Update::fields`].
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    reader: Reader<'a>,
    layout: Layout,
    /// Data types that are still to come, the current one included.
    bits: u32,
    element: u32,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    #[inline]
    fn next(&mut self) -> Option<Field<'a>> {
        loop {
            let data_type = self.bits.trailing_zeros();
            let shape = Shape::of(data_type)?;
            let element = self.element;
            self.element += 1;
            let elements = self.layout.elements(data_type, shape);
            if self.element >= elements {
                self.bits &= self.bits.wrapping_sub(1);
                self.element = 0;
            }
            // An array may have none.
            if element < elements {
                let value = decode_value(&mut self.reader, shape).ok()?;
                return Some(Field {
                    data_type,
                    element,
                    value,
                });
            }
        }
    }
}

#[inline]
fn decode_value<'a>(reader: &mut Reader<'a>, shape: Shape) -> Result<Value<'a>, WireError> {
    Ok(match shape {
        Shape::Unsigned | Shape::UnsignedArray => Value::Unsigned(reader.vint()?),
        // Counters and the clock of a frequency counter are 32 bits wide; what is above is cut off.
        Shape::Rate | Shape::RateArray => Value::Rate {
            age_ms: reader.vint()? as u32,
            current: reader.vint()? as u32,
            previous: reader.vint()? as u32,
        },
        Shape::Dictionary => decode_dictionary(reader)?,
    })
}

fn decode_dictionary<'a>(reader: &mut Reader<'a>) -> Result<Value<'a>, WireError> {
    let data_bytes = reader.vint()?;
    if data_bytes == 0 {
        return Ok(Value::NoString);
    }
    let mut data = Reader::new(reader.bytes(data_bytes)?);
    let slot = data.vint()?;
    if slot == 0 || slot > DICTIONARY_SLOTS as u64 {
        return Err(WireError::Protocol);
    }
    if data.rest.is_empty() {
        return Ok(Value::Slot(slot as u8));
    }
    let string_bytes = data.vint()?;
    Ok(Value::String(slot as u8, data.bytes(string_bytes)?))
}

/// Decodes the body of a switch: the number of the table that it selects.
///
/// # Errors
/// `Protocol` if it is truncated.
pub fn decode_switch(body: &[u8]) -> Result<u64, WireError> {
    Reader::new(body).vint()
}

/// Decodes an ack: the receiver of the updates names the table by their sender's number, then the id.
///
/// # Errors
/// `Protocol` if it is truncated.
pub fn decode_ack(body: &[u8]) -> Result<(u64, u32), WireError> {
    let mut reader = Reader::new(body);
    Ok((reader.vint()?, reader.u32()?))
}
