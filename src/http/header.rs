//! The header lines of a message, as ranges; the facts that every message needs; and the edits made to it.
//!
//! A line lives in the receive buffer, or, when it was inserted, in the table's own scratch bytes. Readers therefore give
//! the buffer and get slices; they see the message as edited. Removed lines stay in the table, marked, so that indices
//! are stable.

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
    SetCookie,
    Te,
    Trailer,
    TransferEncoding,
    Upgrade,
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

/// All header lines of a message.
#[derive(Debug)]
pub struct HeaderTable {
    lines: Vec<Header>,
    lines_max: usize,
    scratch: Vec<u8>,
    scratch_max: usize,
}

impl HeaderTable {
    /// An empty table for `lines_max` received lines (`tune.http.maxhdr`) and `scratch_max` bytes of insertions
    /// (`tune.maxrewrite`).
    pub fn new(lines_max: usize, scratch_max: usize) -> HeaderTable {
        HeaderTable {
            lines: Vec::with_capacity(lines_max),
            lines_max,
            scratch: Vec::with_capacity(scratch_max),
            scratch_max,
        }
    }

    /// All lines in order, removed ones too.
    pub fn lines(&self) -> &[Header] {
        &self.lines
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
            .filter_map(move |(index, line)| {
                (!line.removed && self.name(line, buffer).eq_ignore_ascii_case(name))
                    .then(|| (index, self.value(line, buffer)))
            })
    }

    /// Whole value of the `occurrence`-th line of that name: 1 is the first, -1 the last (`req.fhdr`).
    pub fn full_value<'a>(
        &'a self,
        buffer: &'a [u8],
        name: &'a [u8],
        occurrence: i32,
    ) -> Option<&'a [u8]> {
        let _ = (buffer, name, occurrence);
        todo!()
    }

    /// The `occurrence`-th comma-separated value over all lines of that name: 1 is the first, -1 the last (`req.hdr`).
    /// Commas in quoted strings do not separate.
    pub fn list_value<'a>(
        &'a self,
        buffer: &'a [u8],
        name: &'a [u8],
        occurrence: i32,
    ) -> Option<&'a [u8]> {
        let _ = (buffer, name, occurrence);
        todo!()
    }

    /// All comma-separated values of all lines of that name, in order.
    pub fn list_values<'a>(
        &'a self,
        buffer: &'a [u8],
        name: &'a [u8],
    ) -> impl Iterator<Item = &'a [u8]> + 'a {
        self.find(buffer, name).map(|(_, value)| value)
    }

    /// Takes the line out of the message.
    pub fn remove(&mut self, index: usize) {
        if let Some(line) = self.lines.get_mut(index) {
            line.removed = true;
        }
    }

    /// Takes all lines of that name out of the message; says whether there was one.
    pub fn remove_all(&mut self, buffer: &[u8], name: &[u8]) -> bool {
        let _ = (buffer, name);
        todo!()
    }

    /// Adds a line at the end. Name and value must be valid: no control bytes (asserted in debug builds).
    pub fn insert(&mut self, name: &[u8], value: &[u8]) -> Result<(), NoRoom> {
        let _ = (name, value, self.lines_max, self.scratch_max);
        todo!()
    }
}
