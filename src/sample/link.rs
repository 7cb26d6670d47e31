//! Names in arguments that stand for something declared elsewhere: a stick table, a proxy, a server. They are looked up when all files were read.
//!
//! An expression may stand in any of a hundred places of a configuration, before or after what it names. So every argument of
//! that kind notes itself here when it is parsed, and whoever reads the configuration collects the notes after each line
//! ([`collect`]), knows file, line and proxy, and resolves them at the end. Expressions are copied; copies share their links.
//! The notes are the only state of this thread's parser that is not passed along: nothing at run time looks at them.

use super::value::Type;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// A stick table; without a name, that of the current proxy.
    Table,
    /// The same, and values of this type are to be its keys.
    TableOfKey(Type),
    /// A proxy with frontend capability; without a name, the current one.
    Frontend,
    /// A proxy with backend capability; without a name, the current one.
    Backend,
    /// `[backend/]server`.
    Server,
    /// A `userlist` section; always with a name.
    UserList,
}

/// A name in an argument.
#[derive(Debug)]
pub struct Link {
    /// What it stands for.
    pub kind: LinkKind,
    /// The name; empty: the current proxy's.
    pub name: Box<str>,
    /// Where it stands, in HAProxy's words: `arg 1 of ACL keyword 'src_conn_cnt'`.
    pub place: RefCell<String>,
    target: Cell<Option<Target>>,
}

/// What a name stands for: indices into the configuration's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Of the table, the proxy, or the server's proxy.
    pub index: usize,
    /// Of the server in its proxy; 0 otherwise.
    pub server: usize,
}

thread_local! {
    static NOTES: RefCell<Vec<Rc<Link>>> = const { RefCell::new(Vec::new()) };
}

impl Link {
    /// A link that is to be resolved.
    pub(super) fn new(kind: LinkKind, name: &str) -> Rc<Link> {
        let link = Rc::new(Link {
            kind,
            name: name.into(),
            place: RefCell::new(String::new()),
            target: Cell::new(None),
        });
        NOTES.with_borrow_mut(|notes| notes.push(Rc::clone(&link)));
        link
    }

    /// The table of a rule whose keys are of the type; `place` is what refers to it.
    pub fn of_key(name: &str, key: Type, place: &str) -> Rc<Link> {
        let link = Link::new(LinkKind::TableOfKey(key), name);
        link.place.replace(place.to_owned());
        link
    }

    /// Says what the name stands for.
    pub fn resolve(&self, target: Target) {
        self.target.set(Some(target));
    }

    /// What the name stands for. `None`: it was not resolved.
    pub fn target(&self) -> Option<Target> {
        self.target.get()
    }
}

/// All names noted since the last call, in the order in which they were read. What stands nowhere is left out: its expression was
/// refused.
pub fn collect() -> Vec<Rc<Link>> {
    let mut notes = NOTES.take();
    notes.retain(|link| !link.place.borrow().is_empty());
    notes
}
