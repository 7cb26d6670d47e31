//! The header lines of a message, as ranges, and the edits made to them.
//!
//! A line lives in the receive buffer, or, when it was inserted, in the table's own scratch bytes. Readers therefore give
//! the buffer and get slices; they see the message as edited. Removed lines stay in the table, marked, so that indices
//! are stable.
//!
//! Invariants: a line is either whole in the buffer or whole in the scratch bytes; a line that was replaced keeps its place.
//! The scratch bytes, the edited start line among them, and what was received of the head are together never more than
//! `head_bytes_max`, but for a little of our own (`OWN_BYTES_MAX`).
//! Not here: which edits are allowed (`edit`).

use super::range::ByteRange;

/// Header names that burdock itself acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum Known {
    #[default]
    Other,
    Connection,
    ContentLength,
    Cookie,
    Expect,
    Host,
    KeepAlive,
    ProxyConnection,
    SecWebSocketKey,
    SetCookie,
    Te,
    Trailer,
    TransferEncoding,
    Upgrade,
}

impl Known {
    /// Which name this is, in any case.
    pub fn of(name: &[u8]) -> Known {
        let is_it = match (name.len(), name.first().map(|byte| byte | 0x20)) {
            (2, Some(b't')) => (Known::Te, is_name(name, b"te")),
            (4, Some(b'h')) => (Known::Host, is_name(name, b"host")),
            (6, Some(b'c')) => (Known::Cookie, is_name(name, b"cookie")),
            (6, Some(b'e')) => (Known::Expect, is_name(name, b"expect")),
            (7, Some(b't')) => (Known::Trailer, is_name(name, b"trailer")),
            (7, Some(b'u')) => (Known::Upgrade, is_name(name, b"upgrade")),
            (10, Some(b'c')) => (Known::Connection, is_name(name, b"connection")),
            (10, Some(b'k')) => (Known::KeepAlive, is_name(name, b"keep-alive")),
            (10, Some(b's')) => (Known::SetCookie, is_name(name, b"set-cookie")),
            (14, Some(b'c')) => (Known::ContentLength, is_name(name, b"content-length")),
            (16, Some(b'p')) => (Known::ProxyConnection, is_name(name, b"proxy-connection")),
            (17, Some(b's')) => (Known::SecWebSocketKey, is_name(name, b"sec-websocket-key")),
            (17, Some(b't')) => (Known::TransferEncoding, is_name(name, b"transfer-encoding")),
            _ => return Known::Other,
        };
        match is_it {
            (known, true) => known,
            (_, false) => Known::Other,
        }
    }
}

/// Whether `name` is `spelled`, which is in lower case, in any case. With a length that the compiler knows this is a few
/// instructions, where `eq_ignore_ascii_case` goes from byte to byte.
#[inline]
fn is_name<const LEN: usize>(name: &[u8], spelled: &[u8; LEN]) -> bool {
    let Ok(name) = <&[u8; LEN]>::try_from(name) else {
        return false;
    };
    let mut difference = 0;
    for (byte, wanted) in name.iter().zip(spelled) {
        // The bit that tells small letters from capitals is the same for both, but only in letters.
        let case = if wanted.is_ascii_lowercase() { 0x20 } else { 0 };
        difference |= (byte | case) ^ wanted;
    }
    difference == 0
}

/// One header line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Header {
    /// The name; starts where the line starts.
    pub name: ByteRange,
    /// The value without the white space around it.
    pub value: ByteRange,
    /// Offset after the line's end (its CRLF or LF included).
    pub line_end: u32,
    /// Which name it is.
    pub known: Known,
    /// The line was inserted: its ranges are in the table's scratch bytes.
    pub inserted: bool,
    /// The line is not forwarded and not seen by lookups.
    pub removed: bool,
    /// The line ends with a bare LF in the buffer; it is forwarded with CRLF.
    pub bare_lf: bool,
}

/// Tokens of all Connection headers of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ConnectionTokens {
    /// `close`
    pub close: bool,
    /// `keep-alive`
    pub keep_alive: bool,
    /// `upgrade`
    pub upgrade: bool,
    /// Any other token: a header of that name is for this hop only.
    pub others: bool,
}

/// The insertion did not fit: scratch bytes or header slots are used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

/// Lines that may be inserted into one message, beyond the received ones.
pub const INSERTED_LINES_MAX: usize = 256;

/// Bytes of the lines that this hop must write about itself, whatever rules have used up: `connection`, `content-length`,
/// `transfer-encoding`.
pub(super) const OWN_BYTES_MAX: usize = 128;

/// All header lines of a message.
#[derive(Debug)]
pub struct HeaderTable {
    pub(super) lines: Vec<Header>,
    received_max: usize,
    /// Bytes of the head as it was received.
    received_bytes: usize,
    /// The start line as it was received, line end included.
    pub(super) received_start: ByteRange,
    pub(super) scratch: Vec<u8>,
    head_bytes_max: usize,
    /// The start line, line end included, when it was edited: in the scratch bytes.
    pub(super) edited_start: Option<ByteRange>,
    /// An edit concerned a header that this hop acts on: what was read of them is to be read again.
    pub(super) is_hop_edited: bool,
}

impl HeaderTable {
    /// An empty table for `received_max` received lines. What is received and what is written into it may together have
    /// `head_bytes_max` bytes (`tune.bufsize`: the limit of HAProxy, where both share one buffer). The vectors grow to the
    /// sizes that traffic needs and stay there.
    pub fn new(received_max: usize, head_bytes_max: usize) -> HeaderTable {
        HeaderTable {
            lines: Vec::with_capacity(received_max.min(32)),
            received_max,
            received_bytes: 0,
            received_start: ByteRange::default(),
            scratch: Vec::with_capacity(head_bytes_max.min(256)),
            head_bytes_max,
            edited_start: None,
            is_hop_edited: false,
        }
    }

    /// Forgets all lines.
    pub(super) fn clear(&mut self) {
        self.lines.clear();
        self.scratch.clear();
        self.received_bytes = 0;
        self.edited_start = None;
        self.is_hop_edited = false;
    }

    /// Takes note of the head that was received, from `start` to `end`; its lines are there already.
    pub(super) fn set_received(&mut self, start: u32, end: u32, buffer: &[u8]) {
        self.received_bytes = (end - start) as usize;
        self.received_start = ByteRange {
            start,
            end: match self.lines.first() {
                Some(line) => line.name.start,
                None => HeaderTable::blank_start(end, buffer),
            },
        };
    }

    /// Makes sure that `bytes` more can be written to the scratch bytes, `reserve` of them beyond what is allowed to rules.
    pub(super) fn make_room(&mut self, bytes: usize, reserve: usize) -> Result<(), NoRoom> {
        let room = self.head_bytes_max.saturating_sub(self.received_bytes) + reserve;
        if self.scratch.len() + bytes > room {
            self.compact();
            if self.scratch.len() + bytes > room {
                return Err(NoRoom);
            }
        }
        Ok(())
    }

    /// Drops the scratch bytes of what was removed or replaced. Only messages that are edited until they are full come
    /// here, so it may allocate.
    #[cold]
    fn compact(&mut self) {
        let old = std::mem::take(&mut self.scratch);
        let mut kept = Vec::with_capacity(old.capacity());
        let mut keep = |from: u32, to: u32| {
            let start = kept.len() as u32;
            kept.extend_from_slice(
                ByteRange {
                    start: from,
                    end: to,
                }
                .of(&old),
            );
            start
        };
        if let Some(line) = &mut self.edited_start {
            let start = keep(line.start, line.end);
            line.end = start + line.len() as u32;
            line.start = start;
        }
        for line in self.lines.iter_mut().filter(|line| line.inserted) {
            if line.removed {
                (line.name, line.value, line.line_end) = Default::default();
                continue;
            }
            let before = line.name.start;
            let start = keep(before, line.line_end);
            let moved = |at: u32| at - before + start;
            line.name = ByteRange {
                start,
                end: moved(line.name.end),
            };
            line.value = ByteRange {
                start: moved(line.value.start),
                end: moved(line.value.end),
            };
            line.line_end = moved(line.line_end);
        }
        self.scratch = kept;
    }

    /// The bytes that the parts of the start line are ranges of: the receive buffer, or the start line as edited.
    pub(super) fn start_line_bytes<'a>(&'a self, buffer: &'a [u8]) -> &'a [u8] {
        match self.edited_start {
            Some(line) => line.of(&self.scratch),
            None => buffer,
        }
    }

    /// Most lines a received message may have.
    pub(super) fn received_max(&self) -> usize {
        self.received_max
    }

    /// Appends a received line.
    pub(super) fn push_received(&mut self, line: Header) {
        self.lines.push(line);
    }

    /// All lines in order, removed ones too.
    pub fn lines(&self) -> &[Header] {
        &self.lines
    }

    /// Where the empty line at the end of a head begins; the head ends at `end`.
    pub(super) fn blank_start(end: u32, buffer: &[u8]) -> u32 {
        let head = buffer.get(..end as usize).unwrap_or_default();
        end.saturating_sub(if head.ends_with(b"\r\n") { 2 } else { 1 })
    }

    /// Bytes of the inserted lines.
    pub fn scratch(&self) -> &[u8] {
        &self.scratch
    }

    /// Name of a line.
    pub fn name<'a>(&'a self, line: &Header, buffer: &'a [u8]) -> &'a [u8] {
        line.name
            .of(if line.inserted { &self.scratch } else { buffer })
    }

    /// Value of a line, white space around it removed.
    pub fn value<'a>(&'a self, line: &Header, buffer: &'a [u8]) -> &'a [u8] {
        line.value
            .of(if line.inserted { &self.scratch } else { buffer })
    }

    /// Lines named `name` (any case), in order, without the removed ones: index and value.
    pub fn find<'a>(
        &'a self,
        buffer: &'a [u8],
        name: &'a [u8],
    ) -> impl Iterator<Item = (usize, &'a [u8])> + 'a {
        self.lines
            .iter()
            .enumerate()
            .filter(move |(_, line)| {
                line.name.len() == name.len()
                    && !line.removed
                    && self.name(line, buffer).eq_ignore_ascii_case(name)
            })
            .map(move |(index, line)| (index, self.value(line, buffer)))
    }

    /// Lines of one of the known names, in order, without the removed ones: index and value.
    pub fn find_known<'a>(
        &'a self,
        buffer: &'a [u8],
        known: Known,
    ) -> impl Iterator<Item = (usize, &'a [u8])> + 'a {
        self.lines
            .iter()
            .enumerate()
            .filter(move |(_, line)| line.known == known && !line.removed)
            .map(move |(index, line)| (index, self.value(line, buffer)))
    }

    /// Whole value of the `occurrence`-th line of that name: 1 is the first, -1 the last (`req.fhdr`).
    pub fn full_value<'a>(
        &'a self,
        buffer: &'a [u8],
        name: &'a [u8],
        occurrence: i32,
    ) -> Option<&'a [u8]> {
        pick(
            || self.find(buffer, name).map(|(_, value)| value),
            occurrence,
        )
    }

    /// The `occurrence`-th comma-separated value over all lines of that name: 1 is the first, -1 the last (`req.hdr`).
    /// Commas in quoted strings do not separate.
    pub fn list_value<'a>(
        &'a self,
        buffer: &'a [u8],
        name: &'a [u8],
        occurrence: i32,
    ) -> Option<&'a [u8]> {
        pick(|| self.list_values(buffer, name), occurrence)
    }

    /// All comma-separated values of all lines of that name, in order.
    pub fn list_values<'a>(
        &'a self,
        buffer: &'a [u8],
        name: &'a [u8],
    ) -> impl Iterator<Item = &'a [u8]> + 'a {
        self.find(buffer, name)
            .flat_map(|(_, value)| list_items(value))
    }

    /// Takes the line out of the message.
    pub fn remove(&mut self, index: usize) {
        if let Some(line) = self.lines.get_mut(index) {
            line.removed = true;
        }
    }

    /// The next line from `start` on whose name has more than letters, digits and hyphens: such names mean another one to servers
    /// that turn them into variables.
    pub fn odd_name(&self, buffer: &[u8], start: usize) -> Option<usize> {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        let mut lines = self.lines.iter().enumerate().skip(start);
        lines
            .find(|(_, line)| !line.removed && !self.name(line, buffer).iter().all(is_plain))
            .map(|(index, _)| index)
    }

    /// Takes all lines of that name out of the message; says whether there was one.
    pub fn remove_all(&mut self, buffer: &[u8], name: &[u8]) -> bool {
        let scratch = &self.scratch;
        let mut found = false;
        for line in &mut self.lines {
            let bytes = if line.inserted { scratch } else { buffer };
            if !line.removed && line.name.of(bytes).eq_ignore_ascii_case(name) {
                line.removed = true;
                found = true;
            }
        }
        found
    }

    /// Takes out every line that a Connection header of the message names, but none of those that burdock itself acted on
    /// (framing, Host, cookies): naming these is an attempt to make the next hop see another message. Nor any that a rule
    /// wrote: the sender cannot name those away.
    pub(super) fn remove_nominated(&mut self, buffer: &[u8]) {
        for index in 0..self.lines.len() {
            let line = self.lines[index];
            if line.known != Known::Connection || line.inserted {
                continue;
            }
            for token in list_items(line.value.of(buffer)) {
                let kept = [
                    Known::ContentLength,
                    Known::TransferEncoding,
                    Known::Host,
                    Known::Cookie,
                    Known::SetCookie,
                ];
                if !token.is_empty()
                    && Known::of(token) != Known::Upgrade
                    && !kept.contains(&Known::of(token))
                {
                    self.remove_received(buffer, token);
                }
            }
        }
    }

    fn remove_received(&mut self, buffer: &[u8], name: &[u8]) {
        for line in self.lines.iter_mut().filter(|line| !line.inserted) {
            line.removed |= line.name.of(buffer).eq_ignore_ascii_case(name);
        }
    }

    /// Leaves exactly one Connection line, which says `wanted`, or none.
    pub(super) fn settle_connection(
        &mut self,
        buffer: &[u8],
        wanted: Option<&[u8]>,
    ) -> Result<(), NoRoom> {
        let mut said = false;
        for line in self
            .lines
            .iter_mut()
            .filter(|line| line.known == Known::Connection)
        {
            let says_so = !line.inserted
                && wanted.is_some_and(|word| line.value.of(buffer).eq_ignore_ascii_case(word));
            line.removed = said || !says_so;
            said |= says_so;
        }
        match wanted {
            Some(word) if !said => self.insert_own(b"connection", word),
            _ => Ok(()),
        }
    }

    /// Adds a line that this hop must say, for which there is room when rules have used up theirs.
    pub(super) fn insert_own(&mut self, name: &[u8], value: &[u8]) -> Result<(), NoRoom> {
        self.insert_within(name, &[value], OWN_BYTES_MAX)
    }

    /// Takes all lines of one of the known names out of the message.
    pub fn remove_known(&mut self, known: Known) {
        for line in self.lines.iter_mut().filter(|line| line.known == known) {
            line.removed = true;
        }
    }

    /// Adds a line at the end. Name and value must be free of control bytes (asserted in debug builds).
    pub fn insert(&mut self, name: &[u8], value: &[u8]) -> Result<(), NoRoom> {
        self.insert_parts(name, &[value])
    }

    /// Puts the received line `index`, which is folded, into one line, in which the line ends are spaces.
    pub(super) fn unfold(&mut self, index: usize, buffer: &[u8]) -> Result<(), NoRoom> {
        let Some(line) = self.lines.get(index).copied() else {
            return Ok(());
        };
        let value = line.value.of(buffer);
        self.replace_line(index, buffer, value)?;
        let unfolded = self.lines[index].value;
        let bytes = &mut self.scratch[unfolded.start as usize..unfolded.end as usize];
        for byte in bytes
            .iter_mut()
            .filter(|byte| matches!(byte, b'\r' | b'\n'))
        {
            *byte = b' ';
        }
        Ok(())
    }

    /// Gives the line `index` another value; it keeps its name and its place.
    pub(super) fn replace_line(
        &mut self,
        index: usize,
        buffer: &[u8],
        value: &[u8],
    ) -> Result<(), NoRoom> {
        let Some(line) = self.lines.get(index) else {
            return Ok(());
        };
        self.make_room(line.name.len() + value.len() + 4, 0)?;
        // Only now: making room may have moved it.
        let line = self.lines[index];
        let start = self.scratch.len();
        if line.inserted {
            let name = line.name.start as usize..line.name.end as usize;
            self.scratch.extend_from_within(name);
        } else {
            self.scratch.extend_from_slice(line.name.of(buffer));
        }
        let name = ByteRange::new(start, self.scratch.len());
        self.lines[index] = Header {
            removed: line.removed,
            ..self.finish_line(name, line.known, &[value])
        };
        Ok(())
    }

    /// Writes what follows a name at the end of the scratch bytes.
    fn finish_line(&mut self, name: ByteRange, known: Known, parts: &[&[u8]]) -> Header {
        self.scratch.extend_from_slice(b": ");
        let value_start = self.scratch.len();
        for part in parts {
            self.scratch.extend_from_slice(part);
        }
        let value = ByteRange::new(value_start, self.scratch.len());
        self.scratch.extend_from_slice(b"\r\n");
        Header {
            name,
            value,
            line_end: self.scratch.len() as u32,
            known,
            inserted: true,
            removed: false,
            bare_lf: false,
        }
    }

    /// Adds a line at the end whose value is the concatenation of `parts`.
    pub fn insert_parts(&mut self, name: &[u8], parts: &[&[u8]]) -> Result<(), NoRoom> {
        self.insert_within(name, parts, 0)
    }

    fn insert_within(
        &mut self,
        name: &[u8],
        parts: &[&[u8]],
        reserve: usize,
    ) -> Result<(), NoRoom> {
        debug_assert!(!name.is_empty() && name.iter().all(|b| b.is_ascii_graphic() && *b != b':'));
        debug_assert!(
            parts
                .iter()
                .all(|part| part.iter().all(|b| !matches!(b, 0 | b'\r' | b'\n')))
        );
        let value_len: usize = parts.iter().map(|part| part.len()).sum();
        if self.lines.len() >= self.received_max + INSERTED_LINES_MAX {
            return Err(NoRoom);
        }
        self.make_room(name.len() + value_len + 4, reserve)?;
        let start = self.scratch.len();
        self.scratch.extend_from_slice(name);
        let written = ByteRange::new(start, self.scratch.len());
        let line = self.finish_line(written, Known::of(name), parts);
        self.lines.push(line);
        Ok(())
    }
}

/// The n-th of the items, counted from 1 at the front or from -1 at the back; 0 is none.
fn pick<'a, I: Iterator<Item = &'a [u8]>>(
    items: impl Fn() -> I,
    occurrence: i32,
) -> Option<&'a [u8]> {
    if occurrence > 0 {
        return items().nth(occurrence as usize - 1);
    }
    let count = items().count();
    let back = occurrence.unsigned_abs() as usize;
    if back == 0 || back > count {
        return None;
    }
    items().nth(count - back)
}

/// The comma-separated items of a value, white space around each removed. Commas inside quoted strings do not separate.
/// Empty items are kept, as HAProxy's `req.hdr` keeps them.
pub fn list_items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let bytes = rest?;
        let end = item_end(bytes);
        rest = bytes.get(end + 1..);
        Some(bytes[..end].trim_ascii())
    })
}

/// Offset of the first comma outside quotes, or the length.
fn item_end(bytes: &[u8]) -> usize {
    let mut quoted = false;
    let mut escaped = false;
    for (index, byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return index,
            _ => {}
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(lines: &[(&str, &str)]) -> HeaderTable {
        let mut table = HeaderTable::new(10, 1000);
        for (name, value) in lines {
            table.insert(name.as_bytes(), value.as_bytes()).unwrap();
        }
        table
    }

    #[test]
    fn knows_its_names_in_any_case() {
        assert_eq!(Known::of(b"Transfer-Encoding"), Known::TransferEncoding);
        assert_eq!(Known::of(b"cOOKIE"), Known::Cookie);
        assert_eq!(Known::of(b"cookiE2"), Known::Other);
        assert_eq!(Known::of(b""), Known::Other);
        // One bit from a name is another name.
        for name in [
            "Keep-Alive",
            "HOST",
            "content-LENGTH",
            "Te",
            "Sec-WebSocket-Key",
        ] {
            assert_ne!(Known::of(name.as_bytes()), Known::Other);
            for bit in 0..8 * name.len() {
                let mut other = name.as_bytes().to_vec();
                other[bit / 8] ^= 1 << (bit % 8);
                let is_same = other.eq_ignore_ascii_case(name.as_bytes());
                assert_eq!(Known::of(&other) == Known::of(name.as_bytes()), is_same);
            }
        }
    }

    #[test]
    fn picks_occurrences_from_both_ends() {
        let table = table(&[("A", "1, 2"), ("B", "x"), ("a", "\"3,4\" ,5"), ("A", "")]);
        let list = |n| {
            table
                .list_value(b"", b"a", n)
                .map(|v| String::from_utf8_lossy(v).into_owned())
        };
        assert_eq!(list(1).as_deref(), Some("1"));
        assert_eq!(list(2).as_deref(), Some("2"));
        assert_eq!(list(3).as_deref(), Some("\"3,4\""));
        assert_eq!(list(5).as_deref(), Some(""));
        assert_eq!(list(-1).as_deref(), Some(""));
        assert_eq!(list(-2).as_deref(), Some("5"));
        assert_eq!(list(0), None);
        assert_eq!(list(6), None);
        assert_eq!(list(-6), None);
        assert_eq!(table.full_value(b"", b"A", 2), Some(&b"\"3,4\" ,5"[..]));
        assert_eq!(table.full_value(b"", b"A", -3), Some(&b"1, 2"[..]));
    }

    #[test]
    fn removed_lines_are_not_seen() {
        let mut table = table(&[("A", "1"), ("B", "2"), ("a", "3")]);
        assert!(table.remove_all(b"", b"A"));
        assert!(!table.remove_all(b"", b"A"));
        assert_eq!(table.full_value(b"", b"a", 1), None);
        assert_eq!(table.full_value(b"", b"b", 1), Some(&b"2"[..]));
    }

    #[test]
    fn insertions_are_bounded() {
        let mut table = HeaderTable::new(1, 20);
        assert_eq!(table.insert(b"abc", b"0123456789ab"), Ok(()));
        assert_eq!(table.insert(b"a", b""), Err(NoRoom));
    }
}
