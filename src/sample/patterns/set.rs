//! Pattern sets: the patterns of a file, or of one ACL, with the values of a map, in versions, and searched under several methods.
//!
//! All expressions that name the same file share one set, so what changes at run time changes for all of them. A version is built beside the
//! current one and takes its place at once ([`PatternSet::commit`]).
//!
//! Invariants: each index of a version has each of its entries; ids of entries grow in the order in which they were added.
//!
//! Not here: how one pattern matches (`method`, `index`), files (`file`), the stats socket (`runtime`).

use super::index::{EntryId, Ids, Index, Which};
use super::method::{Method, Operator};
use crate::sample::registry::Origin;
use crate::sample::scratch::{Bytes, Scratch};
use crate::sample::value::{Sample, parse_address, parse_leading_int};
use std::cell::{Cell, Ref, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::rc::Rc;

/// What a map's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sample) enum Output {
    Str,
    /// Text whose groups are replaced by what the pattern matched (`map_regm`).
    Template,
    Int,
    Ip,
}

impl Output {
    fn accepts(self, value: &[u8]) -> bool {
        match self {
            Output::Str | Output::Template => true,
            Output::Int => is_int(value),
            Output::Ip => parse_address(value).is_some(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Output::Str | Output::Template => "str",
            Output::Int => "sint",
            Output::Ip => "addr",
        }
    }
}

fn is_int(value: &[u8]) -> bool {
    let digits = match value {
        [b'-' | b'+', rest @ ..] => rest,
        _ => value,
    };
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// How one expression searches a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Use {
    method: Method,
    ignore_case: bool,
    /// `None`: an ACL.
    output: Option<Output>,
}

/// A pattern, and a map's value for it.
#[derive(Debug)]
struct Entry {
    pattern: Rc<[u8]>,
    value: Option<Box<[u8]>>,
    /// Its line in the file; 0: none.
    line: u32,
}

/// The entries at one time.
#[derive(Debug, Default)]
struct Version {
    entries: BTreeMap<EntryId, Entry>,
    by_pattern: HashMap<Rc<[u8]>, Ids>,
    /// One for each `Use` of the set.
    indexes: Vec<Index>,
}

impl Version {
    fn new(uses: &[Use]) -> Version {
        Version {
            indexes: uses
                .iter()
                .map(|user| Index::new(user.method, user.ignore_case))
                .collect(),
            ..Version::default()
        }
    }

    fn add(
        &mut self,
        id: EntryId,
        pattern: &[u8],
        value: Option<&[u8]>,
        operator: Operator,
    ) -> Result<(), String> {
        for at in 0..self.indexes.len() {
            if let Err(error) = self.indexes[at].insert(id, pattern, operator) {
                for index in &mut self.indexes[..at] {
                    index.remove(id, pattern);
                }
                return Err(error);
            }
        }
        let pattern: Rc<[u8]> = pattern.into();
        self.by_pattern
            .entry(Rc::clone(&pattern))
            .and_modify(|ids| ids.push(id))
            .or_insert_with(|| Ids::new(id));
        let value = value.map(Into::into);
        let line = 0;
        self.entries.insert(
            id,
            Entry {
                pattern,
                value,
                line,
            },
        );
        Ok(())
    }

    fn remove(&mut self, id: EntryId) -> bool {
        let Some(entry) = self.entries.remove(&id) else {
            return false;
        };
        for index in &mut self.indexes {
            index.remove(id, &entry.pattern);
        }
        let ids = self.by_pattern.get_mut(&entry.pattern);
        if ids.is_some_and(|ids| ids.remove(id)) {
            self.by_pattern.remove(&entry.pattern);
        }
        true
    }

    /// The entries of a pattern's text, or the one that `#0x…` names.
    fn named(&self, key: &[u8]) -> Vec<EntryId> {
        if let Some(id) = key.strip_prefix(b"#") {
            let digits = std::str::from_utf8(id).unwrap_or_default();
            let digits = digits.strip_prefix("0x").unwrap_or(digits);
            let id = EntryId::from_str_radix(digits, 16).unwrap_or_default();
            return self.entries.get(&id).map(|_| id).into_iter().collect();
        }
        let ids = self.by_pattern.get(key);
        ids.map_or(Vec::new(), |ids| ids.iter().collect())
    }
}

#[derive(Debug)]
struct Inner {
    uses: Vec<Use>,
    current: Version,
    current_number: u32,
    next_number: u32,
    pending: BTreeMap<u32, Version>,
    /// Who uses the set, in HAProxy's words.
    users: Vec<String>,
    used_by_acl: bool,
    used_by_map: bool,
}

/// A set of patterns; see the module.
pub struct PatternSet {
    /// The file's name; empty for the patterns of a line.
    pub file: Box<str>,
    /// A map's file: its lines are a pattern and a value.
    pub has_values: bool,
    /// Number for commands; forced by `-u`, or given when all lines were read.
    id: Cell<Option<u32>>,
    inner: RefCell<Inner>,
    ids: Rc<Cell<EntryId>>,
}

impl fmt::Debug for PatternSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.inner.borrow().current.entries.len();
        write!(f, "PatternSet({:?}, {count} entries)", self.file)
    }
}

impl PatternSet {
    pub(in crate::sample) fn new(
        file: &str,
        has_values: bool,
        id: Option<u32>,
        ids: &Rc<Cell<EntryId>>,
    ) -> PatternSet {
        PatternSet {
            file: file.into(),
            has_values,
            id: Cell::new(id),
            ids: Rc::clone(ids),
            inner: RefCell::new(Inner {
                uses: Vec::new(),
                current: Version::default(),
                current_number: 0,
                next_number: 0,
                pending: BTreeMap::new(),
                users: Vec::new(),
                used_by_acl: false,
                used_by_map: false,
            }),
        }
    }

    /// Its number for commands (`#N`).
    pub fn id(&self) -> Option<u32> {
        self.id.get()
    }

    pub(in crate::sample) fn set_id(&self, id: u32) {
        self.id.set(Some(id));
    }

    /// Whether ACLs look at it.
    pub fn is_acl(&self) -> bool {
        self.inner.borrow().used_by_acl
    }

    /// Whether maps look at it.
    pub fn is_map(&self) -> bool {
        self.inner.borrow().used_by_map
    }

    /// Notes that an expression of a line searches the set so; returns the number of its index. `keyword` is the ACL's.
    ///
    /// # Errors
    /// In HAProxy's words: an entry is nothing that the method, or the type of the map's values, understands.
    pub(in crate::sample) fn register(
        &self,
        method: Method,
        ignore_case: bool,
        output: Option<Output>,
        (keyword, origin): (&str, &Origin),
    ) -> Result<usize, String> {
        let inner = &mut *self.inner.borrow_mut();
        let (file, line) = (&origin.file, origin.line);
        let kind = if self.has_values { "map" } else { "acl" };
        let user = match self.file.is_empty() {
            true => format!("acl '{keyword}' file '{file}' line {line}"),
            false => format!("by {kind} at file '{file}' line {line}"),
        };
        if !inner.users.contains(&user) || !self.file.is_empty() {
            inner.users.push(user);
        }
        match output {
            Some(_) => inner.used_by_map = true,
            None => inner.used_by_acl = true,
        }
        let user = Use {
            method,
            ignore_case,
            output,
        };
        if let Some(at) = inner.uses.iter().position(|other| *other == user) {
            return Ok(at);
        }
        let mut index = Index::new(method, ignore_case);
        for (id, entry) in &inner.current.entries {
            index
                .insert(*id, &entry.pattern, Operator::default())
                .and_then(|()| check_value(output, entry.value.as_deref()))
                .map_err(|error| {
                    format!("{error} at line {} of file '{}'", entry.line, self.file)
                })?;
        }
        inner.current.indexes.push(index);
        inner.uses.push(user);
        Ok(inner.uses.len() - 1)
    }

    /// Adds an entry to the current version.
    ///
    /// # Errors
    /// In HAProxy's words; then nothing has changed.
    pub(in crate::sample) fn push(
        &self,
        pattern: &[u8],
        value: Option<&[u8]>,
        operator: Operator,
    ) -> Result<(), String> {
        let inner = &mut *self.inner.borrow_mut();
        for user in &inner.uses {
            check_value(user.output, value)?;
        }
        let id = self.next_id();
        inner.current.add(id, pattern, value, operator)
    }

    /// Adds a line of the file, which no expression searches yet: what it means is not known.
    pub(super) fn load(&self, pattern: &[u8], value: Option<&[u8]>, line: u32) {
        let id = self.next_id();
        let current = &mut self.inner.borrow_mut().current;
        debug_assert!(current.indexes.is_empty());
        let added = current.add(id, pattern, value, Operator::default());
        debug_assert!(added.is_ok(), "nothing can refuse it");
        if let Some(entry) = current.entries.get_mut(&id) {
            entry.line = line;
        }
    }

    fn next_id(&self) -> EntryId {
        let id = self.ids.get() + 0x10;
        self.ids.set(id);
        id
    }

    /// The entry that a value matches under an index.
    pub(in crate::sample) fn find(
        &self,
        index: usize,
        sample: Sample<'_>,
        scratch: &mut Scratch,
    ) -> Option<EntryId> {
        let inner = self.inner.borrow();
        inner
            .current
            .indexes
            .get(index)?
            .find(sample, scratch, Which::Right)
    }

    /// Whether a value matches under an index.
    pub(in crate::sample) fn matches(
        &self,
        index: usize,
        sample: Sample<'_>,
        scratch: &mut Scratch,
    ) -> bool {
        let inner = self.inner.borrow();
        let index = inner.current.indexes.get(index);
        index.is_some_and(|index| index.find(sample, scratch, Which::Any).is_some())
    }

    /// The value of an entry.
    pub(in crate::sample) fn value(&self, id: EntryId) -> Option<Ref<'_, [u8]>> {
        Ref::filter_map(self.inner.borrow(), |inner| {
            inner.current.entries.get(&id)?.value.as_deref()
        })
        .ok()
    }

    /// Calls `see` with the regular expression of an entry and its value.
    pub(in crate::sample) fn with_regex<R>(
        &self,
        index: usize,
        id: EntryId,
        see: impl FnOnce(&crate::sample::Regex, &[u8]) -> R,
    ) -> Option<R> {
        let inner = self.inner.borrow();
        let regex = inner.current.indexes.get(index)?.regex(id)?;
        let value = inner.current.entries.get(&id)?.value.as_deref()?;
        Some(see(regex, value))
    }

    /// `show acl`, `show map`: what the set is, in HAProxy's words, without a line feed.
    pub fn describe(&self) -> String {
        let inner = self.inner.borrow();
        let (id, file) = (self.id.get().unwrap_or_default(), &self.file);
        let users = inner.users.join(", ");
        let users = match file.is_empty() {
            true => users,
            false => format!("pattern loaded from file '{file}' used {users}"),
        };
        let pending: usize = inner.pending.values().map(|v| v.entries.len()).sum();
        let count = (inner.current.entries.len() + pending) * inner.uses.len().max(1);
        format!(
            "{id} ({file}) {users}. curr_ver={} next_ver={} entry_cnt={count}",
            inner.current_number, inner.next_number
        )
    }

    /// Appends the first entry of a version (the current one by default) whose id is greater than `after` to `out`, as HAProxy shows it.
    /// Returns its id, or `None` when there are no more.
    pub fn show(&self, version: Option<u32>, after: u64, out: &mut Vec<u8>) -> Option<u64> {
        use std::io::Write;
        use std::ops::Bound::{Excluded, Unbounded};
        let inner = self.inner.borrow();
        let version = inner.version(version)?;
        let mut rest = version.entries.range((Excluded(after), Unbounded));
        let (id, entry) = rest.next()?;
        let _ = write!(out, "0x{id:x} ");
        out.extend_from_slice(&entry.pattern);
        if let Some(value) = &entry.value {
            out.push(b' ');
            out.extend_from_slice(value);
        }
        out.push(b'\n');
        Some(*id)
    }

    /// `add acl`, `add map`.
    ///
    /// # Errors
    /// In HAProxy's words, without a full stop.
    pub fn add(
        &self,
        version: Option<u32>,
        pattern: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), String> {
        let number = version.filter(|number| *number != self.inner.borrow().current_number);
        let Some(number) = number else {
            return self.push(pattern, value, Operator::default());
        };
        let inner = &mut *self.inner.borrow_mut();
        if number.wrapping_sub(inner.next_number) as i32 > 0 {
            return Err(FUTURE.into());
        }
        for user in &inner.uses {
            check_value(user.output, value)?;
        }
        let id = self.next_id();
        let uses = &inner.uses;
        let version = inner
            .pending
            .entry(number)
            .or_insert_with(|| Version::new(uses));
        version.add(id, pattern, value, Operator::default())
    }

    /// `del acl`, `del map`: removes all entries of a pattern, or the one of `#0x…`; whether there was one.
    pub fn delete(&self, key: &[u8]) -> bool {
        let current = &mut self.inner.borrow_mut().current;
        let ids = current.named(key);
        for id in &ids {
            current.remove(*id);
        }
        !ids.is_empty()
    }

    /// `set map`: another value for all entries of a pattern, or the one of `#0x…`; whether there was one.
    ///
    /// # Errors
    /// In HAProxy's words: a map cannot understand the value.
    pub fn set(&self, key: &[u8], value: &[u8]) -> Result<bool, String> {
        let inner = &mut *self.inner.borrow_mut();
        for user in &inner.uses {
            check_value(user.output, Some(value))?;
        }
        let ids = inner.current.named(key);
        for id in &ids {
            if let Some(entry) = inner.current.entries.get_mut(id) {
                entry.value = Some(value.into());
            }
        }
        Ok(!ids.is_empty())
    }

    /// Removes all entries of a pattern's text, which may be anything.
    pub fn delete_pattern(&self, pattern: &[u8]) {
        let current = &mut self.inner.borrow_mut().current;
        while let Some(id) = current.by_pattern.get(pattern).map(Ids::first) {
            current.remove(id);
        }
    }

    /// Gives all entries of a pattern's text another value; whether there was one.
    ///
    /// # Errors
    /// In HAProxy's words: a map cannot understand the value.
    pub fn set_pattern(&self, pattern: &[u8], value: &[u8]) -> Result<bool, String> {
        let inner = &mut *self.inner.borrow_mut();
        for user in &inner.uses {
            check_value(user.output, Some(value))?;
        }
        let Some(ids) = inner.current.by_pattern.get(pattern) else {
            return Ok(false);
        };
        for id in ids.iter() {
            if let Some(entry) = inner.current.entries.get_mut(&id) {
                entry.value = Some(value.into());
            }
        }
        Ok(true)
    }

    /// Whether an entry has this pattern.
    pub fn has(&self, pattern: &[u8]) -> bool {
        self.inner.borrow().current.by_pattern.contains_key(pattern)
    }

    /// `clear acl`, `clear map`: removes the entries of a version, the current one by default.
    pub fn clear(&self, version: Option<u32>) {
        let inner = &mut *self.inner.borrow_mut();
        match version.filter(|number| *number != inner.current_number) {
            None => inner.current = Version::new(&inner.uses),
            Some(number) => _ = inner.pending.remove(&number),
        }
    }

    /// `prepare acl`, `prepare map`: the number of a new version.
    pub fn prepare(&self) -> u32 {
        let inner = &mut *self.inner.borrow_mut();
        inner.next_number = inner.next_number.wrapping_add(1);
        inner.next_number
    }

    /// `commit acl`, `commit map`: makes a version the current one and drops all before it; false: there is no such version.
    pub fn commit(&self, number: u32) -> bool {
        let inner = &mut *self.inner.borrow_mut();
        let is_prepared = number > inner.current_number && number <= inner.next_number;
        if is_prepared {
            let version = inner.pending.remove(&number);
            inner.current = version.unwrap_or_else(|| Version::new(&inner.uses));
            inner.current_number = number;
            inner.pending = inner.pending.split_off(&number);
        }
        is_prepared
    }

    /// `get acl`, `get map`: how each expression that searches the set sees a string. A line each.
    pub fn lookup(&self, text: &[u8], as_map: bool, scratch: &mut Scratch) -> Vec<String> {
        let inner = self.inner.borrow();
        let found = inner.uses.iter().zip(&inner.current.indexes);
        found
            .map(|(user, index)| {
                let sample = Sample::Str(Bytes::At(text));
                let sample = sample.cast(user.method.input(), scratch);
                let id = sample.and_then(|sample| index.find(sample, scratch, Which::Right));
                let entry = id.and_then(|id| inner.current.entries.get(&id));
                user.lookup_line(entry, as_map)
            })
            .collect()
    }
}

const FUTURE: &str = "Version number in the future, please use 'prepare acl' before";

/// Whether a map of this type understands a value.
fn check_value(output: Option<Output>, value: Option<&[u8]>) -> Result<(), String> {
    let value = value.unwrap_or_default();
    match output.is_none_or(|output| output.accepts(value)) {
        true => Ok(()),
        false => Err(format!(
            "unable to parse '{}'",
            String::from_utf8_lossy(value)
        )),
    }
}

/// A map's value as a sample, its text copied to the scratch.
pub(in crate::sample) fn output<'a>(
    kind: Output,
    value: &[u8],
    scratch: &mut Scratch,
) -> Option<Sample<'a>> {
    match kind {
        Output::Str | Output::Template => scratch.write(|out| out.push(value)).map(Sample::Str),
        Output::Int => parse_leading_int(value).map(Sample::Int),
        Output::Ip => parse_address(value).map(Sample::address),
    }
}

impl Inner {
    fn version(&self, number: Option<u32>) -> Option<&Version> {
        match number.filter(|number| *number != self.current_number) {
            None => Some(&self.current),
            Some(number) => self.pending.get(&number),
        }
    }
}

impl Use {
    fn lookup_line(&self, entry: Option<&Entry>, as_map: bool) -> String {
        let case = if self.ignore_case {
            "insensitive"
        } else {
            "sensitive"
        };
        let method = match self.output {
            Some(Output::Template) => "regm",
            _ => self.method.name(),
        };
        let start = format!("type={method}, case={case}");
        let found = if as_map { "found" } else { "match" };
        let Some(entry) = entry else {
            return format!("{start}, {found}=no");
        };
        let is_tree = match self.method {
            Method::Str | Method::Beg => !self.ignore_case,
            Method::Ip => true,
            _ => false,
        };
        let index = if is_tree { "tree" } else { "list" };
        let pattern = String::from_utf8_lossy(&entry.pattern);
        let word = if as_map { "key" } else { "pattern" };
        let line = format!("{start}, {found}=yes, idx={index}, {word}=\"{pattern}\"");
        if !as_map {
            return line;
        }
        match (&entry.value, self.output) {
            (Some(value), Some(output)) => {
                let value = String::from_utf8_lossy(value);
                format!("{line}, value=\"{value}\", type=\"{}\"", output.name())
            }
            _ => format!("{line}, value=none"),
        }
    }
}
