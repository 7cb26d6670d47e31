//! Bodies as streaming state machines: which bytes belong to it, which may be sent on, when is it complete.
//!
//! Chunks are checked, not rewritten: sizes and data go on as they came, extensions are cut out, trailers are looked at line by
//! line. Stricter than HAProxy 2.6, which takes a bare LF as end of a chunk line and any number of leading zeros.
//!
//! ```text
//!            ┌────────────────────── data of the chunk, CRLF ────────────────────┐
//!            ▼                                                                   │
//!   Size ──digits──▶ Size ──';' or space──▶ Extension ──CR──▶ SizeLf ──LF, size > 0──▶ Data ─▶ DataCr ─▶ DataLf
//!                     └───────────CR──────────────────────────▲  └──LF, size 0──▶ Trailer ──empty line──▶ Done
//! ```

use super::facts::is_token;
use super::fault::{Fault, HeadError};
use super::header::Known;
use super::range::ByteRange;

/// How the end of a message body is found (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Framing {
    /// There is no body.
    #[default]
    None,
    /// That many bytes; 0 is possible (`Content-Length: 0` was said).
    Length(u64),
    /// Chunks, the last one of size 0, and trailers.
    Chunked,
    /// Everything until the server closes (responses only).
    UntilClose,
}

/// What a chunked body is turned into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BodyForm {
    /// It stays chunked: sizes and data are forwarded as they came, chunk extensions are cut out.
    #[default]
    Chunked,
    /// Only the data is forwarded (for a receiver that speaks HTTP/1.0, or for looking into the body).
    DataOnly,
    /// Nothing is forwarded: the receiver expects no body.
    Nothing,
}

/// Ranges that one call to `advance` can yield; when they are used up it stops early.
pub const FORWARD_RANGES_MAX: usize = 16;

/// Digits of a chunk size, leading zeros included.
const SIZE_DIGITS_MAX: u8 = 16;

/// Largest size of a chunk, as HAProxy's: what a receiver that counts in doubles still counts exactly.
const CHUNK_BYTES_MAX: u64 = (1 << 52) - 1;

/// Bytes of a chunk's extensions; signatures of single chunks, the longest seen in practice, take 85.
const EXTENSION_BYTES_MAX: u16 = 1024;

/// Bytes of all trailer lines of a message.
const TRAILER_BYTES_MAX: usize = 8192;

/// What one call to `advance` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes that are dealt with: they may be dropped once the forwarded ones among them are sent. Bytes after them must be
    /// offered again: at once if `is_full`, else together with more bytes (a trailer line that is not complete); when
    /// `complete`, they belong to the next message.
    pub consumed: usize,
    /// Body data bytes among them (without chunk framing).
    pub data_bytes: u64,
    /// Whether the body ends with the last consumed byte.
    pub complete: bool,
    ranges: [ByteRange; FORWARD_RANGES_MAX],
    range_count: u8,
}

impl Progress {
    /// What to send, in order; ranges of the bytes given to `advance`.
    pub fn forward(&self) -> &[ByteRange] {
        &self.ranges[..self.range_count as usize]
    }

    /// All ranges are used: there may be more to forward among the bytes that were given.
    pub fn is_full(&self) -> bool {
        self.range_count as usize == FORWARD_RANGES_MAX
    }

    /// Adds a range, joined to the one before when they touch; the caller checked `is_full`.
    fn push(&mut self, start: usize, end: usize) {
        if start == end {
            return;
        }
        let count = self.range_count as usize;
        if let Some(last) = count
            .checked_sub(1)
            .and_then(|last| self.ranges.get_mut(last))
            && last.end as usize == start
        {
            last.end = end as u32;
        } else if let Some(slot) = self.ranges.get_mut(count) {
            *slot = ByteRange::new(start, end);
            self.range_count += 1;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Length(u64),
    UntilClose,
    Size { value: u64, digits: u8 },
    Extension { value: u64, bytes: u16 },
    SizeLf { value: u64 },
    Data(u64),
    DataCr,
    DataLf,
    Trailer { bytes: usize },
    Done,
}

/// The body of one message.
#[derive(Clone, Debug)]
pub struct BodyDecoder {
    state: State,
    form: BodyForm,
}

impl BodyDecoder {
    /// For a body that is delimited like this.
    pub fn new(framing: Framing, form: BodyForm) -> BodyDecoder {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size {
                value: 0,
                digits: 0,
            },
            Framing::UntilClose => State::UntilClose,
        };
        BodyDecoder { state, form }
    }

    /// Whether the body has ended (true at once for `Framing::None` and `Length(0)`).
    pub fn is_complete(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes of data that are known to come before anything has to be looked at: they could be spliced. `None` when that is
    /// not known (chunk framing is due), or nothing is forwarded; `u64::MAX` until close.
    pub fn opaque_bytes(&self) -> Option<u64> {
        match self.state {
            _ if self.form == BodyForm::Nothing => None,
            State::Length(left) | State::Data(left) => Some(left),
            State::UntilClose => Some(u64::MAX),
            State::Done => Some(0),
            _ => None,
        }
    }

    /// Tells that `count` data bytes (at most `opaque_bytes`) went to the receiver without passing through `advance`.
    pub fn skip_opaque(&mut self, count: u64) {
        debug_assert!(self.opaque_bytes().is_none_or(|opaque| count <= opaque));
        self.state = match self.state {
            State::Length(left) if count >= left => State::Done,
            State::Length(left) => State::Length(left - count),
            State::Data(left) if count >= left => State::DataCr,
            State::Data(left) => State::Data(left - count),
            other => other,
        };
    }

    /// The sender closed. Whether that is the regular end of the body (`UntilClose`, or complete already).
    pub fn may_end_here(&self) -> bool {
        matches!(self.state, State::UntilClose | State::Done)
    }

    /// Takes the next bytes of the connection. An error's position is relative to `bytes`.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Progress, HeadError> {
        let mut progress = Progress::default();
        while progress.consumed < bytes.len() && self.state != State::Done && !progress.is_full() {
            let step = self.step(bytes, &mut progress);
            let stalled = !step.map_err(|error| error.after(0, progress.data_bytes))?;
            if stalled {
                break;
            }
        }
        progress.complete = self.state == State::Done;
        if self.form == BodyForm::Nothing {
            progress.range_count = 0;
        }
        Ok(progress)
    }

    /// One state's worth of bytes; false when it needs more bytes than there are.
    fn step(&mut self, bytes: &[u8], progress: &mut Progress) -> Result<bool, HeadError> {
        let at = progress.consumed;
        let byte = bytes[at];
        let is_framing_kept = self.form == BodyForm::Chunked;
        let mut keep = is_framing_kept;
        self.state = match self.state {
            State::Length(left) | State::Data(left) => {
                let count = left.min((bytes.len() - at) as u64);
                self.skip_opaque(count);
                progress.push(at, at + count as usize);
                progress.consumed += count as usize;
                progress.data_bytes += count;
                return Ok(true);
            }
            State::UntilClose => {
                progress.push(at, bytes.len());
                progress.consumed = bytes.len();
                progress.data_bytes += (bytes.len() - at) as u64;
                return Ok(true);
            }
            State::Size { value, digits } => match (hex_value(byte), byte) {
                (Some(digit), _) => State::Size {
                    value: add_digit(value, digit, digits)
                        .ok_or(HeadError::new(Fault::ChunkSize, at))?,
                    digits: digits + 1,
                },
                (None, b'\r') if digits > 0 => State::SizeLf { value },
                (None, b';' | b' ' | b'\t') if digits > 0 => {
                    keep = false;
                    State::Extension { value, bytes: 1 }
                }
                _ => return Err(HeadError::new(Fault::ChunkSize, at)),
            },
            State::Extension { value, .. } if byte == b'\r' => State::SizeLf { value },
            State::Extension {
                value,
                bytes: count,
            } => {
                keep = false;
                if count >= EXTENSION_BYTES_MAX || (byte < b' ' && byte != b'\t') || byte == 0x7f {
                    return Err(HeadError::new(Fault::ChunkSize, at));
                }
                State::Extension {
                    value,
                    bytes: count + 1,
                }
            }
            State::SizeLf { value } => match (expect(byte, b'\n', Fault::ChunkSize, at)?, value) {
                ((), 0) => State::Trailer { bytes: 0 },
                ((), size) => State::Data(size),
            },
            State::DataCr => {
                expect(byte, b'\r', Fault::ChunkEnd, at)?;
                State::DataLf
            }
            State::DataLf => {
                expect(byte, b'\n', Fault::ChunkEnd, at)?;
                State::Size {
                    value: 0,
                    digits: 0,
                }
            }
            State::Trailer { bytes: before } => return self.step_trailer(bytes, before, progress),
            State::Done => return Ok(false),
        };
        if keep {
            progress.push(at, at + 1);
        }
        progress.consumed += 1;
        Ok(true)
    }

    /// One whole trailer line, or the empty line at the end.
    fn step_trailer(
        &mut self,
        bytes: &[u8],
        before: usize,
        progress: &mut Progress,
    ) -> Result<bool, HeadError> {
        let at = progress.consumed;
        let rest = &bytes[at..];
        let Some(length) = rest.iter().position(|b| *b == b'\n').map(|lf| lf + 1) else {
            if before + rest.len() > TRAILER_BYTES_MAX {
                return Err(HeadError::new(Fault::Trailer, at));
            }
            return Ok(false);
        };
        let line = &rest[..length];
        let text = line
            .strip_suffix(b"\r\n")
            .ok_or(HeadError::new(Fault::Trailer, at + length - 1))?;
        if before + length > TRAILER_BYTES_MAX {
            return Err(HeadError::new(Fault::Trailer, at));
        }
        let keep = if text.is_empty() {
            self.state = State::Done;
            true
        } else {
            self.state = State::Trailer {
                bytes: before + length,
            };
            let name =
                trailer_name(text).map_err(|bad| HeadError::new(Fault::Trailer, at + bad))?;
            is_allowed_trailer(name)
        };
        if keep && self.form == BodyForm::Chunked {
            progress.push(at, at + length);
        }
        progress.consumed += length;
        Ok(true)
    }
}

fn expect(byte: u8, wanted: u8, fault: Fault, at: usize) -> Result<(), HeadError> {
    if byte == wanted {
        Ok(())
    } else {
        Err(HeadError::new(fault, at))
    }
}

fn hex_value(byte: u8) -> Option<u64> {
    (byte as char).to_digit(16).map(u64::from)
}

fn add_digit(value: u64, digit: u64, digits_before: u8) -> Option<u64> {
    let value = value.checked_mul(16)?.checked_add(digit)?;
    (digits_before < SIZE_DIGITS_MAX && value <= CHUNK_BYTES_MAX).then_some(value)
}

/// The name of a trailer line; `Err` with the offset of the first byte that is wrong.
fn trailer_name(text: &[u8]) -> Result<&[u8], usize> {
    let name_len = text.iter().take_while(|b| is_token(**b)).count();
    if name_len == 0 || text.get(name_len) != Some(&b':') {
        return Err(name_len);
    }
    match text
        .iter()
        .position(|b| (*b < b' ' && *b != b'\t') || *b == 0x7f)
    {
        Some(bad) => Err(bad),
        None => Ok(&text[..name_len]),
    }
}

/// Whether a field may come after the body (RFC 9110 section 6.5.1): nothing that frames, routes, authenticates, modifies the
/// request or describes the content, because a receiver that merges it into the head would act on it.
fn is_allowed_trailer(name: &[u8]) -> bool {
    const DENIED: [&[u8]; 16] = [
        b"age",
        b"authorization",
        b"cache-control",
        b"date",
        b"expires",
        b"forwarded",
        b"location",
        b"max-forwards",
        b"pragma",
        b"range",
        b"retry-after",
        b"server",
        b"vary",
        b"warning",
        b"www-authenticate",
        b"x-real-ip",
    ];
    const DENIED_PREFIXES: [&[u8]; 4] = [b"content-", b"if-", b"proxy-", b"x-forwarded-"];
    let starts_with = |prefix: &&[u8]| {
        name.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    Known::of(name) == Known::Other
        && !DENIED
            .iter()
            .any(|denied| name.eq_ignore_ascii_case(denied))
        && !DENIED_PREFIXES.iter().any(starts_with)
}
