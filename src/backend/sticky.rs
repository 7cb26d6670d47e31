//! Sticky rules: which server a client is bound to, and what is remembered when a server has answered
//! (configuration manual, "stick on", "stick match", "stick store-request", "stick store-response").
//!
//! Rules run twice: when the request is there, to note the keys to look up and to store; and when the server
//! has answered, to note the keys of the response and to bind all of them to the server that answered. So a session
//! whose server is down finds another one by the load balancing, and its entry follows.
//!
//! Keys are noted first and looked up later, because memory far away is on its way meanwhile: `match_request` asks for where the index
//! has them, `Stores::announce_found` for their entries, `find_server` looks.

use super::Server;
use crate::config::model::{StickKind, StickRule};
use crate::sample::Context;
use crate::stick::spec::ServerKeyKind;
use crate::stick::{EntryIndex, Key, KeyBuf, KeyHash, Table};

/// Keys that one stream can store; further rules are not applied (HAProxy has the same limit).
pub const STORES_MAX: usize = 8;

/// Keys of one stream: to be looked up, and to be bound to the server that answers.
#[derive(Debug, Default)]
pub struct Stores {
    noted: Vec<Noted>,
    /// The server that an entry named.
    server: Option<usize>,
}

#[derive(Debug)]
struct Noted {
    /// Index of the table.
    table: usize,
    key: KeyBuf,
    /// The entry may name the server and has not been looked up yet.
    sought: Option<KeyHash>,
    /// It is to be bound to the server that answers.
    is_stored: bool,
    /// The key's entry when the request was matched.
    entry: Option<EntryIndex>,
}

impl Stores {
    /// Forgets all.
    pub fn clear(&mut self) {
        self.noted.clear();
        self.server = None;
    }

    /// Whether the rules that looked at the request came to nothing.
    pub fn is_empty(&self) -> bool {
        self.noted.is_empty() && self.server.is_none()
    }

    /// Whether keys have to be looked up.
    pub fn is_seeking(&self) -> bool {
        self.noted.iter().any(|noted| noted.sought.is_some())
    }

    /// Notes a key. There are no more to be stored than there may be.
    fn note(&mut self, table: usize, key: Key<'_>, sought: Option<KeyHash>, is_stored: bool) {
        let stored = self.noted.iter().filter(|noted| noted.is_stored).count();
        let is_stored = is_stored && stored < STORES_MAX;
        if is_stored || sought.is_some() {
            self.noted.push(Noted {
                table,
                key: key.to_buf(),
                sought,
                is_stored,
                entry: None,
            });
        }
    }

    /// Asks for the memory of the entries that are to be looked up, once `match_request` has asked for where the index has them.
    pub fn announce_found(&self, tables: &[Table]) {
        for noted in &self.noted {
            if let Some(hash) = noted.sought {
                tables[noted.table].announce_found(hash);
            }
        }
    }

    /// Asks for the memory of the noted keys' entries: their server's answer is about to be read, then they are stored.
    pub fn announce(&self, tables: &[Table]) {
        for noted in &self.noted {
            if let Some(entry) = noted.entry {
                tables[noted.table].announce_entry(entry);
            }
        }
    }

    fn forget(&mut self, table: usize, key: Key<'_>) {
        let key = key.to_buf();
        self.noted
            .retain(|noted| noted.table != table || noted.key != key);
    }

    fn has(&self, table: usize, from: usize) -> bool {
        let mut noted = self.noted.iter().skip(from);
        noted.any(|noted| noted.table == table && noted.is_stored)
    }
}

/// Runs the rules that look at the request: notes which keys to look up, and which to store. [`find_server`] follows.
pub fn match_request<'a>(
    rules: &'a [StickRule],
    servers: &[Server],
    cx: &mut Context<'a>,
    stores: &mut Stores,
) {
    for rule in rules
        .iter()
        .filter(|rule| !rule.kind.is_for_response() && rule.kind != StickKind::Delete)
    {
        if stores.has(rule.table, 0) || !applies(rule, cx) {
            continue;
        }
        rule.expr.with_key(cx, rule.table, |key, table| {
            let is_sought = matches!(rule.kind, StickKind::On | StickKind::Match);
            let sought = is_sought.then(|| table.hash_key(key));
            if let Some(hash) = sought {
                table.announce(hash);
            }
            let is_stored = matches!(rule.kind, StickKind::On | StickKind::StoreRequest);
            stores.note(rule.table, key, sought, is_stored);
        });
    }
    if rules.iter().any(|rule| rule.kind == StickKind::Delete) {
        // What is deleted was found before.
        find_server(stores, servers, cx.tables, cx.now_ms);
        delete(rules, StickKind::Delete, cx, stores);
    }
}

/// Looks the noted keys up: the server that a table names, if any. Its entry is touched.
///
/// A server is returned whether it is up or not, as long as it is in the configuration: the caller decides.
pub fn find_server(
    stores: &mut Stores,
    servers: &[Server],
    tables: &mut [Table],
    now_ms: u64,
) -> Option<usize> {
    for noted in &mut stores.noted {
        let Some(hash) = noted.sought.take() else {
            continue;
        };
        if stores.server.is_none() {
            let table = &mut tables[noted.table];
            noted.entry = table.lookup_hashed(noted.key.as_key(), hash, now_ms);
            let named = |entry| touched_server(table, entry, servers, now_ms);
            stores.server = noted.entry.and_then(named);
        }
    }
    stores.noted.retain(|noted| noted.is_stored);
    stores.server
}

/// Whether any of the rules looks at the response.
pub fn asks_for_response(rules: &[StickRule]) -> bool {
    rules.iter().any(|rule| rule.kind.is_for_response())
}

/// Runs the rules that look at the response and notes what to store.
pub fn match_response<'a>(rules: &'a [StickRule], cx: &mut Context<'a>, stores: &mut Stores) {
    let first = stores.noted.len();
    for rule in rules
        .iter()
        .filter(|rule| rule.kind == StickKind::StoreResponse)
    {
        if stores.has(rule.table, first) || !applies(rule, cx) {
            continue;
        }
        rule.expr.with_key(cx, rule.table, |key, _| {
            stores.note(rule.table, key, None, true);
        });
    }
    delete(rules, StickKind::DeleteResponse, cx, stores);
}

/// Binds all noted keys to `server`, which has answered.
pub fn store(stores: &mut Stores, tables: &mut [Table], server: &Server, now_ms: u64) {
    for noted in &stores.noted {
        let (table, key) = (&mut tables[noted.table], noted.key.as_key());
        let name = match table.spec().server_key_kind {
            ServerKeyKind::Name => server.spec.name.as_str(),
            ServerKeyKind::Address => server.address_text.as_str(),
        };
        let again = noted
            .entry
            .filter(|&entry| table.is_still(entry, key, now_ms));
        // Refused (`nopurge`): the table counts it, the request is served all the same.
        if let Some(entry) = again.or_else(|| Some(table.lookup_or_insert(key, now_ms)?.entry())) {
            table.set_server(entry, server.spec.id as i32, Some(name.as_bytes()));
            table.touch_local(entry, now_ms);
        }
    }
    stores.clear();
}

/// A key that was bound to a server after the table had gone to a new process, to be applied there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LateStore {
    /// Name of the table.
    pub table: String,
    /// The key's bytes.
    pub key: Vec<u8>,
    /// `id` of the server.
    pub server_id: i32,
    /// Its name or address, whichever the table stores.
    pub server_key: String,
}

/// As [`store`], for a process that does not own the tables any more: says what is to be stored.
pub fn store_late(
    stores: &mut Stores,
    tables: &[Table],
    server: &Server,
    mut tell: impl FnMut(LateStore),
) {
    for noted in stores.noted.drain(..) {
        let spec = tables[noted.table].spec();
        let server_key = match spec.server_key_kind {
            ServerKeyKind::Name => &server.spec.name,
            ServerKeyKind::Address => &server.address_text,
        };
        tell(LateStore {
            table: spec.name.clone(),
            key: noted.key.as_bytes().to_vec(),
            server_id: server.spec.id as i32,
            server_key: server_key.clone(),
        });
    }
}

/// Applies what a predecessor learnt late. A table that is gone, or whose keys are of another kind, has no use for it.
pub fn apply_late(late: &LateStore, tables: &mut [Table], now_ms: u64) {
    let Some(table) = tables
        .iter_mut()
        .find(|table| table.spec().name == late.table)
    else {
        return;
    };
    let Some(key) = KeyBuf::new(table.spec(), &late.key) else {
        return;
    };
    if let Some(inserted) = table.lookup_or_insert(key.as_key(), now_ms) {
        let entry = inserted.entry();
        table.set_server(entry, late.server_id, Some(late.server_key.as_bytes()));
        table.touch_local(entry, now_ms);
    }
}

fn applies<'a>(rule: &'a StickRule, cx: &mut Context<'a>) -> bool {
    rule.condition
        .as_ref()
        .is_none_or(|condition| condition.matches(cx))
}

/// `stick delete`, after all other rules of its phase: the entries of the keys go, here and on the other burdock nodes, and the
/// answer does not bring them back. An entry that somebody refers to stays.
fn delete<'a>(rules: &'a [StickRule], kind: StickKind, cx: &mut Context<'a>, stores: &mut Stores) {
    for rule in rules.iter().filter(|rule| rule.kind == kind) {
        if !applies(rule, cx) {
            continue;
        }
        let now_ms = cx.now_ms;
        rule.expr.with_key(cx, rule.table, |key, table| {
            stores.forget(rule.table, key);
            if let Some(entry) = table.lookup(key, now_ms) {
                table.delete(entry, now_ms);
            }
        });
    }
}

/// The server that an entry names: by `server_key` first, else by `server_id`. The entry is touched.
fn touched_server(
    table: &mut Table,
    entry: EntryIndex,
    servers: &[Server],
    now_ms: u64,
) -> Option<usize> {
    let (id, name) = table.server(entry);
    let by_name = name.and_then(|name| match table.spec().server_key_kind {
        ServerKeyKind::Name => servers
            .iter()
            .position(|server| server.spec.name.as_bytes() == name),
        ServerKeyKind::Address => servers
            .iter()
            .position(|server| server.address_text.as_bytes() == name),
    });
    let found = by_name.or_else(|| {
        servers
            .iter()
            .position(|server| id != 0 && server.spec.id as i32 == id)
    });
    table.touch_local(entry, now_ms);
    found
}
