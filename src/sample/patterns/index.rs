//! Many patterns under one method, searched at once.
//!
//! A few patterns are compared one after the other. Beyond [`LIST_MAX`] those that allow it move to a structure of their own: whole
//! strings and numbers to a hash table, networks to a hash table by prefix length, starts and ends of strings to a sorted map in which
//! the longest pattern that begins a text is found by its predecessors. What allows nothing (parts of strings, regular expressions,
//! ranges, masks with holes) stays in the list.
//!
//! Of several patterns that match, networks and starts of strings give the longest, all others the first that was added, as in HAProxy.
//!
//! Not here: texts of patterns and their values (`set`).

use super::method::{DIR_DELIMITERS, DOM_DELIMITERS, HTTP_METHODS, Method, Operator, Pattern};
use crate::sample::scratch::Scratch;
use crate::sample::value::{Sample, embedded_ipv4};
use memchr::memmem::Finder;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// Patterns that are compared one after the other before a structure is built.
const LIST_MAX: usize = 8;

/// Room for texts in small letters from the start; longer ones make it grow once.
const FOLDED_BYTES: usize = 256;

/// What a pattern is called: unique, and larger than those of all earlier ones.
pub(super) type EntryId = u64;

/// The entries of one key, in their order.
#[derive(Debug)]
pub(super) struct Ids {
    first: EntryId,
    more: Vec<EntryId>,
}

impl Ids {
    pub(super) fn new(id: EntryId) -> Ids {
        Ids {
            first: id,
            more: Vec::new(),
        }
    }

    pub(super) fn first(&self) -> EntryId {
        self.first
    }

    pub(super) fn push(&mut self, id: EntryId) {
        self.more.push(id);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = EntryId> + '_ {
        std::iter::once(self.first).chain(self.more.iter().copied())
    }

    /// Removes one; whether none is left.
    pub(super) fn remove(&mut self, id: EntryId) -> bool {
        if self.first != id {
            self.more.retain(|other| *other != id);
            return false;
        }
        if self.more.is_empty() {
            return true;
        }
        self.first = self.more.remove(0);
        false
    }
}

/// Networks by prefix length.
#[derive(Debug)]
struct Nets<A> {
    by_prefix: HashMap<(u8, A), Ids>,
    /// Prefix lengths in use and how many networks have them, longest first.
    lengths: Vec<(u8, u32)>,
}

impl<A: std::hash::Hash + Eq> Nets<A> {
    fn new() -> Nets<A> {
        Nets {
            by_prefix: HashMap::new(),
            lengths: Vec::new(),
        }
    }

    fn insert(&mut self, length: u8, network: A, id: EntryId) {
        insert_id(&mut self.by_prefix, (length, network), id);
        match self
            .lengths
            .binary_search_by(|(other, _)| length.cmp(other))
        {
            Ok(at) => self.lengths[at].1 += 1,
            Err(at) => self.lengths.insert(at, (length, 1)),
        }
    }

    fn remove(&mut self, length: u8, network: A, id: EntryId) {
        remove_id(&mut self.by_prefix, &(length, network), id);
        if let Some(at) = self.lengths.iter().position(|(other, _)| *other == length) {
            self.lengths[at].1 -= 1;
            if self.lengths[at].1 == 0 {
                self.lengths.remove(at);
            }
        }
    }

    /// The longest network that has the address, which `masked` cuts to a length.
    fn find(&self, masked: impl Fn(u8) -> A) -> Option<(u8, EntryId)> {
        self.lengths.iter().find_map(|(length, _)| {
            let ids = self.by_prefix.get(&(*length, masked(*length)))?;
            Some((*length, ids.first()))
        })
    }
}

fn insert_id<K: std::hash::Hash + Eq>(map: &mut HashMap<K, Ids>, key: K, id: EntryId) {
    map.entry(key)
        .and_modify(|ids| ids.push(id))
        .or_insert_with(|| Ids::new(id));
}

fn remove_id<K: std::hash::Hash + Eq>(map: &mut HashMap<K, Ids>, key: &K, id: EntryId) {
    if map.get_mut(key).is_some_and(|ids| ids.remove(id)) {
        map.remove(key);
    }
}

/// Which of several patterns that match is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// The one that HAProxy gives, for its value.
    Right,
    /// Any: an ACL only asks whether there is one.
    Any,
}

/// Structures for many patterns; the method decides which of them is filled.
#[derive(Debug)]
enum Fast {
    Strings(HashMap<Box<[u8]>, Ids>),
    /// Starts of strings, or ends written backwards.
    Starts(BTreeMap<Box<[u8]>, Ids>),
    Numbers(HashMap<i64, Ids>),
    Nets(Box<(Nets<u32>, Nets<u128>)>),
}

/// The patterns of one set under one method.
#[derive(Debug)]
pub(super) struct Index {
    method: Method,
    ignore_case: bool,
    list: Vec<(EntryId, Pattern)>,
    fast: Option<Fast>,
    /// For a text in small letters, or written backwards.
    folded: RefCell<Vec<u8>>,
}

fn mask4(length: u8) -> u32 {
    !u32::MAX.checked_shr(u32::from(length)).unwrap_or(0)
}

fn mask6(length: u8) -> u128 {
    !u128::MAX.checked_shr(u32::from(length)).unwrap_or(0)
}

/// Length of a mask without holes.
fn prefix4(mask: u32) -> Option<u8> {
    let length = mask.leading_ones() as u8;
    (mask4(length) == mask).then_some(length)
}

fn prefix6(mask: u128) -> Option<u8> {
    let length = mask.leading_ones() as u8;
    (mask6(length) == mask).then_some(length)
}

impl Index {
    pub(super) fn new(method: Method, ignore_case: bool) -> Index {
        Index {
            method,
            ignore_case,
            list: Vec::new(),
            fast: None,
            folded: RefCell::new(Vec::with_capacity(if ignore_case {
                FOLDED_BYTES
            } else {
                0
            })),
        }
    }

    /// Adds a pattern.
    ///
    /// # Errors
    /// In HAProxy's words; then nothing has changed.
    pub(super) fn insert(
        &mut self,
        id: EntryId,
        text: &[u8],
        operator: Operator,
    ) -> Result<(), String> {
        let pattern = Pattern::parse(self.method, self.ignore_case, text, operator)?;
        if self.fast.is_none() && self.list.len() >= LIST_MAX {
            self.build();
        }
        if let Some(pattern) = self.insert_fast(id, pattern) {
            self.list.push((id, pattern));
        }
        Ok(())
    }

    /// Moves what it can from the list to a structure.
    fn build(&mut self) {
        self.fast = Some(match self.method {
            Method::Str | Method::Bin => Fast::Strings(HashMap::new()),
            Method::Beg | Method::End => Fast::Starts(BTreeMap::new()),
            Method::Int | Method::Dotted | Method::Len => Fast::Numbers(HashMap::new()),
            Method::Ip => Fast::Nets(Box::new((Nets::new(), Nets::new()))),
            _ => return,
        });
        for (id, pattern) in std::mem::take(&mut self.list) {
            if let Some(pattern) = self.insert_fast(id, pattern) {
                self.list.push((id, pattern));
            }
        }
    }

    /// Puts a pattern into the structure, or gives it back.
    fn insert_fast(&mut self, id: EntryId, pattern: Pattern) -> Option<Pattern> {
        let is_end = self.method == Method::End;
        match (&mut self.fast, pattern) {
            (Some(Fast::Strings(map)), Pattern::Bytes(bytes)) => insert_id(map, bytes, id),
            (Some(Fast::Starts(map)), Pattern::Bytes(mut bytes)) => {
                if is_end {
                    bytes.reverse();
                }
                map.entry(bytes)
                    .and_modify(|ids| ids.push(id))
                    .or_insert_with(|| Ids::new(id));
            }
            (Some(Fast::Numbers(map)), Pattern::Range(low, high)) if low == high => {
                insert_id(map, low, id);
            }
            (Some(Fast::Nets(nets)), pattern) => match pattern {
                Pattern::Net4 { network, mask } => match prefix4(mask) {
                    Some(length) => nets.0.insert(length, network, id),
                    None => return Some(pattern),
                },
                Pattern::Net6 { network, mask } => match prefix6(mask) {
                    Some(length) => nets.1.insert(length, network, id),
                    None => return Some(pattern),
                },
                _ => return Some(pattern),
            },
            (_, pattern) => return Some(pattern),
        }
        None
    }

    /// Removes the pattern that was added under this id with this text.
    pub(super) fn remove(&mut self, id: EntryId, text: &[u8]) {
        if let Ok(at) = self.list.binary_search_by(|(other, _)| other.cmp(&id)) {
            self.list.remove(at);
            return;
        }
        let operator = Operator::default();
        let Ok(pattern) = Pattern::parse(self.method, self.ignore_case, text, operator) else {
            return;
        };
        let is_end = self.method == Method::End;
        match (&mut self.fast, pattern) {
            (Some(Fast::Strings(map)), Pattern::Bytes(bytes)) => remove_id(map, &bytes, id),
            (Some(Fast::Starts(map)), Pattern::Bytes(mut bytes)) => {
                if is_end {
                    bytes.reverse();
                }
                if map.get_mut(&bytes).is_some_and(|ids| ids.remove(id)) {
                    map.remove(&bytes);
                }
            }
            (Some(Fast::Numbers(map)), Pattern::Range(low, _)) => remove_id(map, &low, id),
            (Some(Fast::Nets(nets)), Pattern::Net4 { network, mask }) => {
                nets.0
                    .remove(prefix4(mask).unwrap_or_default(), network, id);
            }
            (Some(Fast::Nets(nets)), Pattern::Net6 { network, mask }) => {
                nets.1
                    .remove(prefix6(mask).unwrap_or_default(), network, id);
            }
            _ => {}
        }
    }

    /// The pattern that a value matches.
    pub(super) fn find(
        &self,
        sample: Sample<'_>,
        scratch: &mut Scratch,
        which: Which,
    ) -> Option<EntryId> {
        match self.method {
            Method::Found | Method::Bool => None, // no patterns
            Method::Int | Method::Dotted => self.find_number(sample.to_int(scratch)?),
            Method::Ip => match sample {
                // the embedding matters here: no canonical form
                Sample::Ipv6(address) => self.find_address(IpAddr::V6(address)),
                _ => self.find_address(sample.to_address(scratch)?),
            },
            Method::Bin => {
                let bytes = sample.to_binary(scratch)?;
                self.find_text(scratch.bytes(bytes), which)
            }
            _ => {
                let text = sample.to_text(scratch)?;
                self.find_text(scratch.bytes(text), which)
            }
        }
    }

    /// The regular expression of an entry.
    pub(super) fn regex(&self, id: EntryId) -> Option<&crate::sample::Regex> {
        let at = self
            .list
            .binary_search_by(|(other, _)| other.cmp(&id))
            .ok()?;
        match &self.list[at].1 {
            Pattern::Regex(regex) => Some(regex),
            _ => None,
        }
    }

    fn find_text(&self, text: &[u8], which: Which) -> Option<EntryId> {
        let backwards = matches!((self.method, &self.fast), (Method::End, Some(_)));
        if self.method == Method::Len {
            return self.find_number(text.len() as i64);
        }
        let folds = self.ignore_case && !matches!(self.method, Method::Verb | Method::Reg);
        if !folds && !backwards {
            return self.find_folded(text, which);
        }
        let Ok(mut folded) = self.folded.try_borrow_mut() else {
            return None;
        };
        folded.clear();
        folded.extend_from_slice(text);
        if folds {
            folded.make_ascii_lowercase();
        }
        if backwards {
            folded.reverse();
        }
        self.find_folded(&folded, which)
    }

    /// Among strings, in a text whose case and direction are those of the patterns.
    fn find_folded(&self, text: &[u8], which: Which) -> Option<EntryId> {
        match &self.fast {
            Some(Fast::Strings(map)) => return map.get(text).map(Ids::first),
            Some(Fast::Starts(map)) => {
                let mut starts = Starts { map, text }.map(Ids::first);
                return match (self.method, which) {
                    (Method::Beg, _) | (_, Which::Any) => starts.next(),
                    _ => starts.min(),
                };
            }
            _ => {}
        }
        let bytes = |holds: &dyn Fn(&[u8]) -> bool| {
            self.first(|pattern| matches!(pattern, Pattern::Bytes(bytes) if holds(bytes)))
        };
        let part = |holds: &dyn Fn(&Finder<'_>) -> bool| {
            self.first(|pattern| matches!(pattern, Pattern::Part(part) if holds(part)))
        };
        match self.method {
            Method::Verb => bytes(&|pattern| {
                let both_other = !HTTP_METHODS.contains(&text) && !HTTP_METHODS.contains(&pattern);
                pattern == text
                    || self.ignore_case && both_other && pattern.eq_ignore_ascii_case(text)
            }),
            Method::Beg => self.longest_start(text),
            Method::End => bytes(&|pattern| text.ends_with(pattern)),
            Method::Sub => part(&|finder| finder.find(text).is_some()),
            Method::Dir => part(&|finder| has_part(text, finder, DIR_DELIMITERS)),
            Method::Dom => part(&|finder| has_part(text, finder, DOM_DELIMITERS)),
            Method::Reg => self
                .first(|pattern| matches!(pattern, Pattern::Regex(regex) if regex.is_match(text))),
            _ => bytes(&|pattern| pattern == text),
        }
    }

    /// The first pattern of the list that holds.
    fn first(&self, holds: impl Fn(&Pattern) -> bool) -> Option<EntryId> {
        let found = self.list.iter().find(|(_, pattern)| holds(pattern));
        found.map(|(id, _)| *id)
    }

    fn longest_start(&self, text: &[u8]) -> Option<EntryId> {
        let mut longest: Option<(usize, EntryId)> = None;
        for (id, pattern) in &self.list {
            if let Pattern::Bytes(bytes) = pattern {
                let is_longer = longest.is_none_or(|(length, _)| bytes.len() > length);
                if is_longer && text.starts_with(bytes) {
                    longest = Some((bytes.len(), *id));
                }
            }
        }
        longest.map(|(_, id)| id)
    }

    fn find_number(&self, value: i64) -> Option<EntryId> {
        let single = match &self.fast {
            Some(Fast::Numbers(map)) => map.get(&value).map(Ids::first),
            _ => None,
        };
        let range = self.first(
            |pattern| matches!(pattern, Pattern::Range(low, high) if (*low..=*high).contains(&value)),
        );
        match (single, range) {
            (Some(single), Some(range)) => Some(single.min(range)),
            (single, range) => single.or(range),
        }
    }

    fn find_address(&self, address: IpAddr) -> Option<EntryId> {
        let (four, six) = match address {
            IpAddr::V4(address) => (Some(u32::from(address)), address.to_ipv6_mapped()),
            IpAddr::V6(address) => (embedded_ipv4(address).map(u32::from), address),
        };
        let six = u128::from(six);
        if let Some(Fast::Nets(nets)) = &self.fast {
            let four = four.and_then(|four| nets.0.find(|length| four & mask4(length)));
            let found = four.or_else(|| nets.1.find(|length| six & mask6(length)));
            if let Some((_, id)) = found {
                return Some(id);
            }
        }
        let mut longest: Option<(u32, EntryId)> = None;
        for (id, pattern) in &self.list {
            let bits = match pattern {
                Pattern::Net4 { network, mask } if four.is_some_and(|f| f & mask == *network) => {
                    mask.leading_ones() + 96
                }
                Pattern::Net6 { network, mask } if six & mask == *network => mask.leading_ones(),
                _ => continue,
            };
            if longest.is_none_or(|(longest, _)| bits > longest) {
                longest = Some((bits, *id));
            }
        }
        longest.map(|(_, id)| id)
    }
}

/// The keys of a sorted map that begin a text, longest first.
///
/// The greatest key that is not greater than the text either begins it, or has a part in common with it, and any key that
/// begins the text begins that part too: so the part takes the text's place, and the search goes on.
struct Starts<'m, 't> {
    map: &'m BTreeMap<Box<[u8]>, Ids>,
    text: &'t [u8],
}

impl<'m> Iterator for Starts<'m, '_> {
    type Item = &'m Ids;

    fn next(&mut self) -> Option<&'m Ids> {
        use std::ops::Bound::{Included, Unbounded};
        loop {
            let range = self.map.range::<[u8], _>((Unbounded, Included(self.text)));
            let (key, ids) = range.last()?;
            let common = key
                .iter()
                .zip(self.text)
                .take_while(|(a, b)| a == b)
                .count();
            if common == key.len() {
                // the next one must be shorter
                match common.checked_sub(1) {
                    Some(shorter) => self.text = &self.text[..shorter],
                    None => self.map = &EMPTY,
                }
                return Some(ids);
            }
            self.text = &self.text[..common];
        }
    }
}

/// What is left to search after the empty key.
static EMPTY: BTreeMap<Box<[u8]>, Ids> = BTreeMap::new();

/// Whether the part stands in the text with a delimiter, the start or the end at both its sides.
fn has_part(text: &[u8], part: &Finder<'_>, delimiters: &[u8]) -> bool {
    let length = part.needle().len();
    if length == 0 {
        return false;
    }
    let is_bound = |byte: Option<&u8>| byte.is_none_or(|byte| delimiters.contains(byte));
    let mut start = 0;
    while let Some(found) = text.get(start..).and_then(|rest| part.find(rest)) {
        let at = start + found;
        if is_bound(at.checked_sub(1).and_then(|before| text.get(before)))
            && is_bound(text.get(at + length))
        {
            return true;
        }
        start = at + 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::scratch::Bytes;

    /// The first (or longest) match, one pattern after the other.
    fn slow(method: Method, ignore_case: bool, patterns: &[String], text: &str) -> Option<usize> {
        let fold = |text: &str| match ignore_case {
            true => text.to_ascii_lowercase(),
            false => text.to_owned(),
        };
        let text = fold(text);
        let matching = patterns.iter().enumerate().filter(|(_, pattern)| {
            let pattern = fold(pattern);
            match method {
                Method::Str => text == pattern,
                Method::Beg => text.starts_with(&pattern),
                Method::End => text.ends_with(&pattern),
                _ => text.contains(&pattern),
            }
        });
        match method {
            Method::Beg => matching
                .max_by_key(|(at, pattern)| (pattern.len(), std::cmp::Reverse(*at)))
                .map(|(at, _)| at),
            _ => matching.map(|(at, _)| at).next(),
        }
    }

    fn random(seed: &mut u64, below: usize) -> usize {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (*seed >> 33) as usize % below
    }

    /// Texts of few letters, so that they have much in common.
    fn text(seed: &mut u64) -> String {
        let length = random(seed, 7);
        (0..length)
            .map(|_| ['a', 'A', 'b', '/'][random(seed, 4)])
            .collect()
    }

    #[test]
    fn strings_match_as_one_after_the_other() {
        let mut seed = 1;
        let mut scratch = Scratch::new(64);
        for method in [Method::Str, Method::Beg, Method::End, Method::Sub] {
            for round in 0..200 {
                let ignore_case = round % 2 == 1;
                let mut patterns: Vec<String> = (0..random(&mut seed, 30))
                    .map(|_| text(&mut seed))
                    .collect();
                let mut index = Index::new(method, ignore_case);
                for (id, pattern) in patterns.iter().enumerate() {
                    let added = index.insert(id as u64, pattern.as_bytes(), Operator::Equal);
                    assert_eq!(added, Ok(()));
                }
                if !patterns.is_empty() {
                    let gone = random(&mut seed, patterns.len());
                    index.remove(gone as u64, patterns[gone].as_bytes());
                    patterns[gone] = "\0".into(); // matches nothing
                }
                for _ in 0..50 {
                    let text = text(&mut seed);
                    let sample = Sample::Str(Bytes::At(text.as_bytes()));
                    let found = index.find(sample, &mut scratch, Which::Right);
                    let any = index.find(sample, &mut scratch, Which::Any);
                    assert_eq!(any.is_some(), found.is_some(), "{method:?}");
                    let expected = slow(method, ignore_case, &patterns, &text);
                    assert_eq!(
                        found,
                        expected.map(|at| at as u64),
                        "{method:?} {ignore_case} {text} in {patterns:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_longest_network_counts() {
        let mut index = Index::new(Method::Ip, false);
        let words = [
            "10.0.0.0/8",
            "10.1.0.0/16",
            "10.1.2.3",
            "0.0.0.0/0",
            "2001:db8::/32",
            "2001:db8:1::/48",
            "192.0.2.0/24",
            "10.0.0.7/255.0.0.255",
            "::1",
            "172.16.0.0/12",
            "10.1.0.0/16",
        ];
        let mut scratch = Scratch::new(64);
        let mut check = |index: &Index, text: &str, expected: Option<u64>| {
            let address = text.parse().expect("an address");
            let found = index.find(Sample::address(address), &mut scratch, Which::Right);
            assert_eq!(found, expected, "{text}");
        };
        for (id, word) in words.iter().enumerate() {
            assert_eq!(
                index.insert(id as u64, word.as_bytes(), Operator::Equal),
                Ok(())
            );
            if id == 7 {
                check(&index, "10.1.2.3", Some(2)); // still a list
            }
        }
        check(&index, "10.1.2.3", Some(2));
        check(&index, "10.1.2.4", Some(1));
        check(&index, "10.9.9.9", Some(0));
        check(&index, "11.0.0.1", Some(3));
        check(&index, "2001:db8:1::5", Some(5));
        check(&index, "2001:db8:2::5", Some(4));
        check(&index, "::2:1", Some(3)); // it stands for 0.2.0.1
        check(&index, "2001:db9::", None);
        index.remove(1, b"10.1.0.0/16");
        check(&index, "10.1.2.4", Some(10));
        index.remove(10, b"10.1.0.0/16");
        check(&index, "10.1.2.4", Some(0));
        index.remove(3, b"0.0.0.0/0");
        check(&index, "11.0.0.1", None);
        index.remove(7, b"10.0.0.7/255.0.0.255");
        check(&index, "10.1.2.7", Some(0));
    }

    #[test]
    fn numbers_match_the_first() {
        let mut index = Index::new(Method::Int, false);
        for id in 0..20u64 {
            let word = id.to_string();
            assert_eq!(index.insert(id, word.as_bytes(), Operator::Equal), Ok(()));
        }
        assert_eq!(index.insert(20, b"5:30", Operator::Equal), Ok(()));
        let mut scratch = Scratch::new(64);
        let mut check = |value, expected| {
            assert_eq!(
                index.find(Sample::Int(value), &mut scratch, Which::Right),
                expected
            );
        };
        check(5, Some(5));
        check(25, Some(20));
        check(31, None);
        check(-1, None);
    }
}
