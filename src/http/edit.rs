//! Edits that rules make to a head: header lines, the parts of the request line, the status.
//!
//! An edit writes the new line to the scratch bytes of the head's table and marks the old one as removed; readers, and the
//! plan of what is sent, see the message as edited. A message that nobody edits pays nothing for all this.
//!
//! As HAProxy 2.6 (each case was tried on it): a line that is added stands at the end, setting one removes all of that name
//! and adds it, replacing a value keeps the line's place; Host and the authority of an absolute target follow each other.
//!
//! Safer than HAProxy, which sends what it is told: an edit that would leave a message that is not valid, or that could be
//! read in two ways, is refused ([`EditError::Invalid`]) and changes nothing. Edits of Content-Length and
//! Transfer-Encoding have no effect, because framing is the business of each hop.
//! Not here: regular expressions, which rule edits what (`rules`).

use super::Version;
use super::facts::is_token;
use super::header::{HeaderTable, Known, NoRoom, list_items};
use super::method::Method;
use super::range::ByteRange;
use super::reason::reason_phrase;
use super::request::RequestHead;
use super::response::ResponseHead;
use super::target;

/// Why an edit was not made. HAProxy's rules speak of a failed rewrite then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditError {
    /// The head is too large for it.
    NoRoom,
    /// The message would not be valid, or not be clear.
    Invalid,
}

impl From<NoRoom> for EditError {
    fn from(_: NoRoom) -> EditError {
        EditError::NoRoom
    }
}

/// Longest header name, as for received ones.
const NAME_BYTES_MAX: usize = 255;

/// Bytes of a start line and a header line beside method, target, name and value.
const LINE_EXTRA_BYTES: usize = 32;

/// Whether bytes can be the name of a header.
pub fn is_header_name(name: &[u8]) -> bool {
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.iter().all(|byte| is_token(*byte))
}

/// Whether edits of this header have no effect: the hop frames messages itself.
pub fn is_framing_header(name: &[u8]) -> bool {
    matches!(
        Known::of(name),
        Known::ContentLength | Known::TransferEncoding
    )
}

/// Whether bytes can be the value of a header: text, tabs, and whatever is not ASCII.
pub fn is_header_value(value: &[u8]) -> bool {
    value
        .iter()
        .all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f))
}

impl HeaderTable {
    fn check(&mut self, name: &[u8], value: &[u8]) -> Result<Known, EditError> {
        if !is_header_name(name) || !is_header_value(value) {
            return Err(EditError::Invalid);
        }
        Ok(self.note_edit(Known::of(name)))
    }

    fn note_edit(&mut self, known: Known) -> Known {
        self.is_hop_edited |= matches!(known, Known::Connection | Known::Upgrade | Known::Cookie);
        known
    }

    /// Adds a line at the end.
    fn add_line(&mut self, name: &[u8], value: &[u8]) -> Result<(), EditError> {
        match self.check(name, value)? {
            Known::ContentLength | Known::TransferEncoding => Ok(()),
            _ => Ok(self.insert(name, value)?),
        }
    }

    /// Removes all lines of that name, and adds one at the end; or changes nothing.
    fn set_line(&mut self, buffer: &[u8], name: &[u8], value: &[u8]) -> Result<(), EditError> {
        match self.check(name, value)? {
            Known::ContentLength | Known::TransferEncoding => return Ok(()),
            _ => self.insert(name, value)?,
        }
        let added = self.lines.len() - 1;
        for index in 0..added {
            let line = self.lines[index];
            if !line.removed && self.name(&line, buffer).eq_ignore_ascii_case(name) {
                self.remove(index);
            }
        }
        Ok(())
    }

    /// Removes the lines whose names `is_meant`.
    fn remove_lines(&mut self, buffer: &[u8], mut is_meant: impl FnMut(&[u8]) -> bool) {
        for index in 0..self.lines.len() {
            let line = self.lines[index];
            let is_framing = matches!(line.known, Known::ContentLength | Known::TransferEncoding);
            if !line.removed && !is_framing && is_meant(self.name(&line, buffer)) {
                self.note_edit(line.known);
                self.remove(index);
            }
        }
    }

    /// Gives a line another value; it keeps its place.
    fn replace_value(
        &mut self,
        index: usize,
        buffer: &[u8],
        value: &[u8],
    ) -> Result<(), EditError> {
        if !is_header_value(value) {
            return Err(EditError::Invalid);
        }
        let Some(known) = self.lines.get(index).map(|line| line.known) else {
            return Ok(());
        };
        match self.note_edit(known) {
            Known::ContentLength | Known::TransferEncoding => Ok(()),
            _ => Ok(self.replace_line(index, buffer, value)?),
        }
    }

    /// Whether a rule has written `Connection: close`.
    pub(super) fn has_edited_close(&self, buffer: &[u8]) -> bool {
        self.lines
            .iter()
            .filter(|line| line.known == Known::Connection && line.inserted && !line.removed)
            .flat_map(|line| list_items(self.value(line, buffer)))
            .any(|token| token.eq_ignore_ascii_case(b"close"))
    }

    /// Writes a new start line from parts: pieces of the present one, or new bytes. Returns where it is, and where each part
    /// stands in it. It takes the place of the present one by being put into `edited_start`.
    pub(super) fn write_start_line<const N: usize>(
        &mut self,
        buffer: &[u8],
        parts: [Part<'_>; N],
    ) -> Result<(ByteRange, [ByteRange; N]), EditError> {
        let total: usize = parts.iter().map(Part::len).sum();
        self.make_room(total, 0)?;
        let start = self.scratch.len();
        let mut places = [ByteRange::default(); N];
        for (part, place) in parts.iter().zip(&mut places) {
            let from = self.scratch.len() - start;
            match (part, self.edited_start) {
                (Part::New(bytes), _) => self.scratch.extend_from_slice(bytes),
                (Part::Old(range), None) => self.scratch.extend_from_slice(range.of(buffer)),
                (Part::Old(range), Some(line)) => {
                    let old = line.start as usize + range.start as usize;
                    self.scratch.extend_from_within(old..old + range.len());
                }
            }
            *place = ByteRange::new(from, self.scratch.len() - start);
        }
        Ok((ByteRange::new(start, self.scratch.len()), places))
    }
}

/// A part of a start line.
pub(super) enum Part<'a> {
    /// A piece of the present one.
    Old(ByteRange),
    New(&'a [u8]),
}

impl Part<'_> {
    fn len(&self) -> usize {
        match self {
            Part::Old(range) => range.len(),
            Part::New(bytes) => bytes.len(),
        }
    }
}

/// A message under edit, of either direction; see [`RequestHead`] and [`ResponseHead`] for what is of one only.
#[derive(Debug)]
pub enum HeadEdit<'h> {
    /// A request.
    Request(&'h mut RequestHead),
    /// A response.
    Response(&'h mut ResponseHead),
}

impl HeadEdit<'_> {
    /// The header lines.
    pub fn headers(&self) -> &HeaderTable {
        match self {
            HeadEdit::Request(head) => &head.headers,
            HeadEdit::Response(head) => &head.headers,
        }
    }

    /// Adds a header at the end (`add-header`).
    ///
    /// # Errors
    /// No room; an invalid name or value; a second Host.
    pub fn add_header(
        &mut self,
        buffer: &[u8],
        name: &[u8],
        value: &[u8],
    ) -> Result<(), EditError> {
        match self {
            HeadEdit::Request(head) if Known::of(name) == Known::Host => {
                if head
                    .headers
                    .find_known(buffer, Known::Host)
                    .next()
                    .is_some()
                {
                    return Err(EditError::Invalid);
                }
                head.set_host(buffer, name, value)
            }
            HeadEdit::Request(head) => head.headers.add_line(name, value),
            HeadEdit::Response(head) => head.headers.add_line(name, value),
        }
    }

    /// Removes all headers of that name and adds one (`set-header`).
    ///
    /// # Errors
    /// As for `add_header`; nothing is changed then.
    pub fn set_header(
        &mut self,
        buffer: &[u8],
        name: &[u8],
        value: &[u8],
    ) -> Result<(), EditError> {
        match self {
            HeadEdit::Request(head) if Known::of(name) == Known::Host => {
                head.set_host(buffer, name, value)
            }
            HeadEdit::Request(head) => head.headers.set_line(buffer, name, value),
            HeadEdit::Response(head) => head.headers.set_line(buffer, name, value),
        }
    }

    /// Removes the headers whose names `is_meant` (`del-header`), which is given them as they are spelled.
    pub fn remove_headers(&mut self, buffer: &[u8], is_meant: impl FnMut(&[u8]) -> bool) {
        match self {
            HeadEdit::Request(head) => head.headers.remove_lines(buffer, is_meant),
            HeadEdit::Response(head) => head.headers.remove_lines(buffer, is_meant),
        }
    }

    /// Gives the header line `index` of [`HeaderTable::lines`] another value (`replace-header`, `replace-value`).
    ///
    /// # Errors
    /// No room, or an invalid value; nothing is changed then.
    pub fn replace_value(
        &mut self,
        index: usize,
        buffer: &[u8],
        value: &[u8],
    ) -> Result<(), EditError> {
        match self {
            HeadEdit::Request(head) => {
                let line = head.headers.lines.get(index).copied();
                match line.filter(|line| line.known == Known::Host) {
                    None => head.headers.replace_value(index, buffer, value),
                    Some(line) => {
                        head.prepare_host(buffer, line.name.len(), value)?;
                        head.headers.replace_value(index, buffer, value)?;
                        head.follow_host(buffer, value)
                    }
                }
            }
            HeadEdit::Response(head) => head.headers.replace_value(index, buffer, value),
        }
    }
}

impl RequestHead {
    /// Another method (`set-method`). CONNECT is neither made nor changed: its target is of another kind.
    ///
    /// # Errors
    /// No room; no token; CONNECT.
    pub fn set_method(&mut self, buffer: &[u8], method: &[u8]) -> Result<(), EditError> {
        let new = Method::of(method);
        let is_token = !method.is_empty() && method.iter().all(|byte| is_token(*byte));
        if !is_token || new == Method::Connect || self.method == Method::Connect {
            return Err(EditError::Invalid);
        }
        if target::fault(new, self.target(buffer)).is_some() {
            return Err(EditError::Invalid);
        }
        let target = Part::Old(self.target_range);
        self.write_line(buffer, new, Part::New(method), [target, EMPTY, EMPTY])
    }

    /// Another target as a whole (`set-uri`). If it names a host, Host follows.
    ///
    /// # Errors
    /// No room; no valid target for the method.
    pub fn set_uri(&mut self, buffer: &[u8], uri: &[u8]) -> Result<(), EditError> {
        if target::fault(self.method, uri).is_some() {
            return Err(EditError::Invalid);
        }
        let named = match self.method {
            Method::Connect => Some(uri),
            _ => target::authority(uri),
        };
        if let Some(host) = named {
            let method_bytes = self.method_range.len();
            self.headers
                .make_room(uri.len() + host.len() + method_bytes + LINE_EXTRA_BYTES, 0)?;
            self.put_host(buffer, host)?;
        }
        self.put_target(buffer, [Part::New(uri), EMPTY, EMPTY])
    }

    /// Another path; the query stays (`set-path`).
    ///
    /// # Errors
    /// No room; not a valid target any more.
    pub fn set_path(&mut self, buffer: &[u8], path: &[u8]) -> Result<(), EditError> {
        let place = self.path_range(buffer);
        let target = self.target(buffer);
        let after_path = place.of(target).iter().position(|byte| *byte == b'?');
        let end = after_path.map_or(place.end, |at| place.start + at as u32);
        self.replace_in_target(buffer, ByteRange { end, ..place }, path)
    }

    /// Another path and query (`set-pathq`).
    ///
    /// # Errors
    /// As for `set_path`.
    pub fn set_pathq(&mut self, buffer: &[u8], pathq: &[u8]) -> Result<(), EditError> {
        self.replace_in_target(buffer, self.path_range(buffer), pathq)
    }

    /// Another query (`set-query`): what follows the first `?`, which is added where there is none.
    ///
    /// # Errors
    /// As for `set_path`.
    pub fn set_query(&mut self, buffer: &[u8], query: &[u8]) -> Result<(), EditError> {
        let target = self.target(buffer);
        let end = target.len();
        match target.iter().position(|byte| *byte == b'?') {
            Some(mark) => self.replace_in_target(buffer, ByteRange::new(mark + 1, end), query),
            None if query.is_empty() => Ok(()),
            None => {
                let old = Part::Old(self.target_range);
                self.put_target(buffer, [old, Part::New(b"?"), Part::New(query)])
            }
        }
    }

    /// Where path and query stand in the target; all of it when there is no path (`*`).
    fn path_range(&self, buffer: &[u8]) -> ByteRange {
        let target = self.target(buffer);
        let whole = ByteRange::new(0, target.len());
        if target.first() == Some(&b'/') {
            return whole;
        }
        let Some(start) = target::authority_start(target) else {
            return whole;
        };
        let path = target[start..]
            .iter()
            .position(|byte| matches!(byte, b'/' | b'?'));
        ByteRange::new(path.map_or(target.len(), |at| start + at), target.len())
    }

    /// Puts `bytes` in the place of a range of the target.
    fn replace_in_target(
        &mut self,
        buffer: &[u8],
        range: ByteRange,
        bytes: &[u8],
    ) -> Result<(), EditError> {
        let old = self.target_range;
        let before = ByteRange {
            start: old.start,
            end: old.start + range.start,
        };
        let after = ByteRange {
            start: old.start + range.end,
            end: old.end,
        };
        let parts = [Part::Old(before), Part::New(bytes), Part::Old(after)];
        self.put_target(buffer, parts)
    }

    fn put_target(&mut self, buffer: &[u8], target: [Part<'_>; 3]) -> Result<(), EditError> {
        let method = Part::Old(self.method_range);
        self.write_line(buffer, self.method, method, target)
    }

    /// Writes a request line; it becomes the request's if its target is a valid one.
    fn write_line(
        &mut self,
        buffer: &[u8],
        method: Method,
        name: Part<'_>,
        [first, second, third]: [Part<'_>; 3],
    ) -> Result<(), EditError> {
        let version: &[u8] = match self.version {
            Version::Http10 => b" HTTP/1.0\r\n",
            Version::Http11 => b" HTTP/1.1\r\n",
        };
        let parts = [
            name,
            Part::New(b" "),
            first,
            second,
            third,
            Part::New(version),
        ];
        let (line, [name, _, first, _, third, _]) = self.headers.write_start_line(buffer, parts)?;
        let target = ByteRange {
            start: first.start,
            end: third.end,
        };
        let written = target.of(line.of(&self.headers.scratch));
        let agrees = |(_, host)| target::names_host(method, written, host);
        let host = self.headers.find_known(buffer, Known::Host).next();
        if target::fault(method, written).is_some() || !host.is_none_or(agrees) {
            self.headers.scratch.truncate(line.start as usize);
            return Err(EditError::Invalid);
        }
        self.headers.edited_start = Some(line);
        self.method = method;
        self.method_range = name;
        self.target_range = target;
        Ok(())
    }

    /// Sets Host, in the last place; an absolute target follows.
    fn set_host(&mut self, buffer: &[u8], name: &[u8], host: &[u8]) -> Result<(), EditError> {
        self.prepare_host(buffer, name.len(), host)?;
        self.headers.set_line(buffer, name, host)?;
        self.follow_host(buffer, host)
    }

    /// Whether Host can become `host`, and room for that.
    fn prepare_host(
        &mut self,
        buffer: &[u8],
        name_bytes: usize,
        host: &[u8],
    ) -> Result<(), EditError> {
        let target = self.target(buffer);
        let is_possible = target::is_host_and_port(host)
            && (target::names_host(self.method, target, host)
                || target::authority(target).is_some());
        if !is_possible {
            return Err(EditError::Invalid);
        }
        let start_line_bytes = self.method_range.len() + target.len() + host.len();
        let line_bytes = name_bytes + host.len();
        Ok(self
            .headers
            .make_room(start_line_bytes + line_bytes + LINE_EXTRA_BYTES, 0)?)
    }

    /// Makes the authority of an absolute target the new value of Host.
    fn follow_host(&mut self, buffer: &[u8], host: &[u8]) -> Result<(), EditError> {
        let target = self.target(buffer);
        match target::authority(target) {
            Some(authority) if !target::names_host(self.method, target, host) => {
                let range = ByteRange::locate(authority, target);
                self.replace_in_target(buffer, range, host)
            }
            _ => Ok(()),
        }
    }

    /// Makes Host agree with a new target: in its place, if there is one.
    fn put_host(&mut self, buffer: &[u8], host: &[u8]) -> Result<(), EditError> {
        let found = self.headers.find_known(buffer, Known::Host).next();
        match found.map(|(index, _)| index) {
            Some(index) => self.headers.replace_value(index, buffer, host),
            None => self.headers.add_line(b"host", host),
        }
    }
}

const EMPTY: Part<'static> = Part::New(b"");

impl ResponseHead {
    /// Another status, with its standard reason or `reason` (`set-status`). Interim statuses cannot be made, nor the status of a
    /// response that has switched protocols be changed.
    ///
    /// # Errors
    /// No room, or not possible.
    pub fn set_status(
        &mut self,
        buffer: &[u8],
        status: u16,
        reason: Option<&[u8]>,
    ) -> Result<(), EditError> {
        let reason = reason.unwrap_or_else(|| reason_phrase(status));
        let is_possible = (200..=999).contains(&status) && !self.is_tunnel && self.status >= 200;
        if !is_possible || !is_header_value(reason) {
            return Err(EditError::Invalid);
        }
        let version: &[u8] = match self.version {
            Version::Http10 => b"HTTP/1.0 ",
            Version::Http11 => b"HTTP/1.1 ",
        };
        let digits = [100, 10, 1].map(|unit| b'0' + (status / unit % 10) as u8);
        let parts = [version, &digits, b" ", reason, b"\r\n"].map(Part::New);
        let (line, [.., reason, _]) = self.headers.write_start_line(buffer, parts)?;
        self.headers.edited_start = Some(line);
        self.status = status;
        self.reason_range = reason;
        Ok(())
    }
}
