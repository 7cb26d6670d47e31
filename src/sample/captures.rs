//! What is kept of a request and its response for later: captured headers and samples, and the unique id.
//!
//! The slots are the frontend's: `capture request header`, `declare capture`, `http-request capture … len` each make one. A
//! value is cut to the length of its slot. An exchange owns its captures and uses their memory again, so that nothing is
//! allocated for a request; one without slots pays nothing.
//!
//! Not here: what is captured when (the stream, and the rules).

use super::Context;
use super::format::Format;
use crate::http::ByteRange;

/// The captures of one exchange.
#[derive(Debug, Default)]
pub struct Captures {
    /// The request line as it was received, without its end; empty: no valid request.
    pub request_line: Vec<u8>,
    /// `capture cookie`: in the request, in the response.
    pub cookies: CaptureSet,
    /// Of the request.
    pub request: CaptureSet,
    /// Of the response.
    pub response: CaptureSet,
}

/// The captures of one direction.
#[derive(Debug, Default)]
pub struct CaptureSet {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
}

/// A place for one value.
#[derive(Clone, Copy, Debug)]
struct Slot {
    bytes_max: u32,
    value: Option<ByteRange>,
}

impl Captures {
    /// The request line, if there was a valid request.
    pub fn line(&self) -> Option<&[u8]> {
        (!self.request_line.is_empty()).then_some(&self.request_line[..])
    }

    /// Empties all of it.
    pub fn clear(&mut self) {
        self.request_line.clear();
        for set in [&mut self.request, &mut self.response, &mut self.cookies] {
            set.begin([]);
        }
    }
}

impl CaptureSet {
    /// Empties it; from now on it has slots of these lengths.
    pub fn begin(&mut self, lengths: impl IntoIterator<Item = u32>) {
        self.bytes.clear();
        self.slots.clear();
        let slots = lengths.into_iter().map(|bytes_max| Slot {
            bytes_max,
            value: None,
        });
        self.slots.extend(slots);
    }

    /// Puts a value into a slot; one that does not exist stays empty.
    pub fn set(&mut self, index: usize, value: &[u8]) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let value = &value[..value.len().min(slot.bytes_max as usize)];
        let start = self.bytes.len();
        self.bytes.extend_from_slice(value);
        slot.value = Some(ByteRange::new(start, self.bytes.len()));
    }

    /// The value in a slot.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        Some(self.slots.get(index)?.value?.of(&self.bytes))
    }

    /// Whether there is that slot.
    pub fn has(&self, index: usize) -> bool {
        index < self.slots.len()
    }

    /// Whether there is no slot.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The values of all slots, in order.
    pub fn iter(&self) -> impl Iterator<Item = Option<&[u8]>> {
        self.slots
            .iter()
            .map(|slot| slot.value.map(|range| range.of(&self.bytes)))
    }
}

/// The unique id of a stream: made when an expression asks for it first, or when the request goes to its server. The variable
/// `%ID` does not make it, as in HAProxy.
#[derive(Debug)]
pub struct UniqueId<'a> {
    /// How it is made: `unique-id-format`.
    pub format: &'a Format,
    /// The id; empty before it is made.
    pub text: &'a mut Vec<u8>,
}

impl UniqueId<'_> {
    /// The same, lent.
    pub fn reborrow(&mut self) -> UniqueId<'_> {
        UniqueId {
            format: self.format,
            text: self.text,
        }
    }
}

/// Longest unique id, bytes, as in HAProxy.
const UNIQUE_ID_BYTES_MAX: usize = 127;

impl<'a> Context<'a> {
    /// The unique id, which is made if need be; nothing where the frontend has no format for it.
    pub fn unique_id(&mut self) -> &[u8] {
        // Out of reach meanwhile: a format that shows the unique id shows nothing in its place.
        if let Some(id) = self.unique_id.take() {
            if id.text.is_empty() {
                let line = id.format.text(self);
                let made = line.as_bytes();
                id.text
                    .extend_from_slice(&made[..made.len().min(UNIQUE_ID_BYTES_MAX)]);
                self.scratch.texts.give(line);
            }
            self.unique_id = Some(id);
        }
        match &self.unique_id {
            Some(id) => id.text,
            None => &[],
        }
    }
}
