//! Variables (configuration manual, 7.3.1 `set-var`, and `tune.vars.*`): where values live from one rule to another.
//!
//! A name becomes a slot of its scope when the configuration is read ([`VarRef`]); a [`VarStore`] is an array of slots. A slot keeps the
//! memory of a former value, so that a store which is used again allocates nothing. Stores count their bytes, in HAProxy's hierarchy: the
//! process's limit holds for everything, a session's for its transaction too, a transaction's for its request too.
//!
//! Lifetimes: the process's store lives in the [`Registry`](super::Registry); a session's as long as the client's connection; of
//! [`StreamVars`], `txn` lasts from the request to the end of the response, `req` until a response is there, `res` from then on.
//! What is set in a scope that does not exist (yet, or any more) is dropped, as in HAProxy.
//!
//! Not here: names (`registry`), the rules that set variables (`rules`).

use super::context::Context;
use super::scratch::{Bytes, Scratch};
use super::value::{Sample, Value};
use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

/// Bytes that every variable counts besides those of a string, as in HAProxy.
const OVERHEAD_BYTES: usize = 56;

/// What a slot keeps of the memory of a string that was there.
const KEPT_BYTES: usize = 4096;

/// Who sees a variable, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each name is that of the configuration
pub enum Scope {
    Proc,
    Sess,
    Txn,
    Req,
    Res,
    Check,
}

impl Scope {
    /// All scopes, in the order of their discriminants.
    pub(super) const ALL: [Scope; 6] = [
        Scope::Proc,
        Scope::Sess,
        Scope::Txn,
        Scope::Req,
        Scope::Res,
        Scope::Check,
    ];

    /// The word before the dot.
    pub fn word(self) -> &'static str {
        match self {
            Scope::Proc => "proc",
            Scope::Sess => "sess",
            Scope::Txn => "txn",
            Scope::Req => "req",
            Scope::Res => "res",
            Scope::Check => "check",
        }
    }
}

/// A variable: its scope, and its slot there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VarRef {
    /// Its scope.
    pub scope: Scope,
    pub(super) slot: u16,
}

/// `tune.vars.*-max-size`, in bytes; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // each name is that of the configuration
pub struct VarLimits {
    pub global: Option<usize>,
    pub proc: Option<usize>,
    pub sess: Option<usize>,
    pub txn: Option<usize>,
    pub reqres: Option<usize>,
}

fn has_room(limit: Option<usize>, used: usize, more: usize) -> bool {
    limit.is_none_or(|limit| used.saturating_add(more) <= limit)
}

/// The type of a value in a slot; the bytes of strings are beside it.
#[derive(Clone, Copy, Debug, Default)]
enum Stored {
    /// Never set.
    #[default]
    None,
    /// Set once, and unset since.
    Unset,
    Bool(bool),
    Int(i64),
    Ipv4(Ipv4Addr),
    Ipv6(Ipv6Addr),
    Str,
    Bin,
    Method,
}

/// Memory of values comes in multiples of this.
const VALUE_STEP_BYTES: usize = 64;

#[derive(Debug, Default)]
struct Slot {
    stored: Stored,
    bytes: Vec<u8>,
}

impl Slot {
    fn value(&self) -> Option<Value<'_>> {
        Some(match self.stored {
            Stored::None | Stored::Unset => return None,
            Stored::Bool(value) => Value::Bool(value),
            Stored::Int(value) => Value::Int(value),
            Stored::Ipv4(address) => Value::Ipv4(address),
            Stored::Ipv6(address) => Value::Ipv6(address),
            Stored::Str => Value::Str(&self.bytes),
            Stored::Bin => Value::Bin(&self.bytes),
            Stored::Method => Value::Method(&self.bytes),
        })
    }

    /// What it counts.
    fn counted_bytes(&self) -> usize {
        match self.stored {
            Stored::None => 0,
            _ => OVERHEAD_BYTES + self.bytes.len(),
        }
    }

    fn put(&mut self, value: Value<'_>) {
        self.bytes.clear();
        let (stored, bytes): (_, &[u8]) = match value {
            Value::Bool(value) => (Stored::Bool(value), &[]),
            Value::Int(value) => (Stored::Int(value), &[]),
            Value::Ipv4(address) => (Stored::Ipv4(address), &[]),
            Value::Ipv6(address) => (Stored::Ipv6(address), &[]),
            Value::Str(bytes) => (Stored::Str, bytes),
            Value::Bin(bytes) => (Stored::Bin, bytes),
            Value::Method(bytes) => (Stored::Method, bytes),
        };
        self.stored = stored;
        // Little more than the value takes: what variables may take at most is announced.
        if bytes.len() > self.bytes.capacity() {
            let room = bytes.len().next_multiple_of(VALUE_STEP_BYTES);
            self.bytes.reserve_exact(room);
        }
        self.bytes.extend_from_slice(bytes);
    }

    fn empty(&mut self, stored: Stored) {
        self.stored = stored;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
    }
}

/// Values of one scope. An empty one is two words, because each connection has one; the rest comes with the first variable that is set.
#[derive(Debug, Default)]
pub struct VarStore {
    held: Option<Box<Held>>,
    /// Bytes of all stores of the process.
    meter: Rc<Cell<usize>>,
}

/// What a store holds that is, or was, not empty.
#[derive(Debug, Default)]
struct Held {
    slots: Vec<Slot>,
    used_bytes: usize,
}

impl VarStore {
    /// What a variable takes beside its value, and its value may take beyond its length.
    pub(super) const SLOT_BYTES: u64 = (size_of::<Slot>() + VALUE_STEP_BYTES) as u64;

    /// An empty store whose bytes count in `meter`.
    pub(super) fn new(meter: Rc<Cell<usize>>) -> VarStore {
        VarStore { held: None, meter }
    }

    fn slot(&self, slot: u16) -> Option<&Slot> {
        self.held.as_deref()?.slots.get(usize::from(slot))
    }

    fn used_bytes(&self) -> usize {
        self.held.as_deref().map_or(0, |held| held.used_bytes)
    }

    /// The value of a slot, if it is set.
    pub(super) fn value(&self, slot: u16) -> Option<Value<'_>> {
        self.slot(slot)?.value()
    }

    /// Whether the slot was ever set, also when it is unset now.
    fn exists(&self, slot: u16) -> bool {
        self.slot(slot)
            .is_some_and(|slot| !matches!(slot.stored, Stored::None))
    }

    /// Bytes that setting the slot to this value would add.
    fn growth(&self, slot: u16, value: &Value<'_>) -> isize {
        let bytes = match value {
            Value::Str(bytes) | Value::Bin(bytes) | Value::Method(bytes) => bytes.len(),
            _ => 0,
        };
        let before = self.slot(slot).map_or(0, Slot::counted_bytes);
        (OVERHEAD_BYTES + bytes) as isize - before as isize
    }

    fn count(&mut self, change: isize) {
        if let Some(held) = &mut self.held {
            held.used_bytes = held.used_bytes.saturating_add_signed(change);
        }
        self.meter
            .set(self.meter.get().saturating_add_signed(change));
    }

    pub(super) fn put(&mut self, slot: u16, value: Value<'_>) {
        let index = usize::from(slot);
        let growth = self.growth(slot, &value);
        let held = self.held.get_or_insert_default();
        if held.slots.len() <= index {
            held.slots.resize_with(index + 1, Slot::default);
        }
        held.slots[index].put(value);
        self.count(growth);
    }

    fn unset(&mut self, slot: u16) {
        let held = self.held.as_deref_mut();
        let Some(slot) = held.and_then(|held| held.slots.get_mut(usize::from(slot))) else {
            return;
        };
        if !matches!(slot.stored, Stored::None) {
            let freed = slot.bytes.len();
            slot.empty(Stored::Unset);
            self.count(-(freed as isize));
        }
    }

    /// Forgets all values; the memory of short ones is kept for the next.
    pub fn clear(&mut self) {
        let used_bytes = self.used_bytes();
        if used_bytes == 0 {
            return;
        }
        self.count(-(used_bytes as isize));
        if let Some(held) = &mut self.held {
            held.slots
                .iter_mut()
                .for_each(|slot| slot.empty(Stored::None));
        }
    }
}

impl Drop for VarStore {
    fn drop(&mut self) {
        self.count(-(self.used_bytes() as isize));
    }
}

/// The variables of a stream: `txn`, and `req` or `res`.
#[derive(Debug, Default)]
pub struct StreamVars {
    txn: VarStore,
    message: VarStore,
    in_response: bool,
}

impl StreamVars {
    pub(super) fn new(meter: &Rc<Cell<usize>>) -> StreamVars {
        StreamVars {
            txn: VarStore::new(Rc::clone(meter)),
            message: VarStore::new(Rc::clone(meter)),
            in_response: false,
        }
    }

    /// A response is there: `req` ends and `res` begins. Further calls do nothing.
    pub fn begin_response(&mut self) {
        if !std::mem::replace(&mut self.in_response, true) {
            self.message.clear();
        }
    }

    /// The transaction is over: all values go, the next request may come.
    pub fn clear(&mut self) {
        self.txn.clear();
        self.message.clear();
        self.in_response = false;
    }

    fn store(&self, scope: Scope) -> Option<&VarStore> {
        match scope {
            Scope::Txn => Some(&self.txn),
            Scope::Req if !self.in_response => Some(&self.message),
            Scope::Res if self.in_response => Some(&self.message),
            _ => None,
        }
    }

    fn store_mut(&mut self, scope: Scope) -> Option<&mut VarStore> {
        match scope {
            Scope::Txn => Some(&mut self.txn),
            Scope::Req if !self.in_response => Some(&mut self.message),
            Scope::Res if self.in_response => Some(&mut self.message),
            _ => None,
        }
    }
}

/// The stores that an expression sees. A scope without one has no values.
#[derive(Clone, Copy, Debug, Default)]
pub struct VarScopes<'a> {
    /// `proc`, and the limits of all.
    pub process: Option<&'a super::Registry>,
    /// `sess`.
    pub session: Option<&'a RefCell<VarStore>>,
    /// `txn`, `req`, `res`.
    pub stream: Option<&'a RefCell<StreamVars>>,
}

impl VarScopes<'_> {
    /// Calls `read` with the store of the scope.
    fn with<R>(&self, scope: Scope, read: impl FnOnce(&VarStore) -> R) -> Option<R> {
        match scope {
            Scope::Proc => Some(read(&self.process?.process_vars().borrow())),
            Scope::Sess => Some(read(&self.session?.borrow())),
            Scope::Txn | Scope::Req | Scope::Res => self.stream?.borrow().store(scope).map(read),
            Scope::Check => None,
        }
    }

    fn with_mut<R>(&self, scope: Scope, write: impl FnOnce(&mut VarStore) -> R) -> Option<R> {
        match scope {
            Scope::Proc => Some(write(&mut self.process?.process_vars().borrow_mut())),
            Scope::Sess => Some(write(&mut self.session?.borrow_mut())),
            Scope::Txn | Scope::Req | Scope::Res => {
                self.stream?.borrow_mut().store_mut(scope).map(write)
            }
            Scope::Check => None,
        }
    }

    /// Calls `read` with the value, if the variable is set.
    pub(super) fn read<R>(&self, var: VarRef, read: impl FnOnce(Value<'_>) -> R) -> Option<R> {
        self.with(var.scope, |store| store.value(var.slot).map(read))?
    }

    /// The value if it is an integer or can be cast to one.
    pub(super) fn int(&self, var: VarRef, scratch: &Scratch) -> Option<i64> {
        self.read(var, |value| as_sample(value).to_int(scratch))?
    }

    fn has_room(&self, scope: Scope, more: isize) -> bool {
        let Some(process) = self.process else {
            return true;
        };
        let Ok(more) = usize::try_from(more) else {
            return true; // it shrinks
        };
        let limits = process.var_limits();
        let stream = self.stream.map(|stream| stream.borrow());
        let message = stream.as_ref().map_or(0, |vars| vars.message.used_bytes());
        let txn = message + stream.as_ref().map_or(0, |vars| vars.txn.used_bytes());
        let sess = txn + self.session.map_or(0, |store| store.borrow().used_bytes());
        let all = process.vars_bytes();
        let in_message = matches!(scope, Scope::Req | Scope::Res);
        let in_txn = in_message || scope == Scope::Txn;
        let in_sess = in_txn || scope == Scope::Sess;
        (!in_message || has_room(limits.reqres, message, more))
            && (!in_txn || has_room(limits.txn, txn, more))
            && (!in_sess || has_room(limits.sess, sess, more))
            && has_room(limits.proc, all, more)
            && has_room(limits.global, all, more)
    }

    /// Sets a variable if its conditions hold, its scope exists and its limits have room for it.
    pub fn set(&self, target: &VarTarget, value: Value<'_>) {
        let VarRef { scope, slot } = target.var;
        let growth = self.with(scope, |store| {
            target
                .hold(store, &value)
                .then(|| store.growth(slot, &value))
        });
        if let Some(Some(growth)) = growth
            && self.has_room(scope, growth)
        {
            self.with_mut(scope, |store| store.put(slot, value));
        }
    }

    /// `unset-var`.
    pub fn unset(&self, var: VarRef) {
        self.with_mut(var.scope, |store| store.unset(var.slot));
    }
}

/// A variable's value as one under evaluation, on its way to a cast.
fn as_sample(value: Value<'_>) -> Sample<'_> {
    match value {
        Value::Bool(value) => Sample::Bool(value),
        Value::Int(value) => Sample::Int(value),
        Value::Ipv4(address) => Sample::Ipv4(address),
        Value::Ipv6(address) => Sample::Ipv6(address),
        Value::Str(bytes) => Sample::Str(Bytes::At(bytes)),
        Value::Bin(bytes) => Sample::Bin(Bytes::At(bytes)),
        Value::Method(bytes) => Sample::Method(Bytes::At(bytes)),
    }
}

/// The variable's value, its bytes copied to the scratch: a converter of the same expression may overwrite the variable.
pub(super) fn fetch<'a>(var: VarRef, cx: &mut Context<'a>) -> Option<Sample<'a>> {
    let scratch = &mut *cx.scratch;
    cx.vars.read(var, |value| {
        let mut copy = |bytes: &[u8]| scratch.write(|out| out.push(bytes));
        Some(match value {
            Value::Bool(value) => Sample::Bool(value),
            Value::Int(value) => Sample::Int(value),
            Value::Ipv4(address) => Sample::Ipv4(address),
            Value::Ipv6(address) => Sample::Ipv6(address),
            Value::Str(bytes) => Sample::Str(copy(bytes)?),
            Value::Bin(bytes) => Sample::Bin(copy(bytes)?),
            Value::Method(bytes) => Sample::Method(copy(bytes)?),
        })
    })?
}

/// A condition of `set-var`: all of them must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum If {
    Exists,
    NotExists,
    Empty,
    NotEmpty,
    Set,
    NotSet,
    Greater,
    Less,
}

impl If {
    fn named(word: &[u8]) -> Option<If> {
        Some(match word {
            b"ifexists" => If::Exists,
            b"ifnotexists" => If::NotExists,
            b"ifempty" => If::Empty,
            b"ifnotempty" => If::NotEmpty,
            b"ifset" => If::Set,
            b"ifnotset" => If::NotSet,
            b"ifgt" => If::Greater,
            b"iflt" => If::Less,
            _ => return None,
        })
    }
}

/// What `set-var(NAME[,COND…])` sets, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VarTarget {
    /// The variable.
    pub var: VarRef,
    conditions: Box<[If]>,
}

impl VarTarget {
    /// Without conditions.
    pub(super) fn always(var: VarRef) -> VarTarget {
        VarTarget {
            var,
            conditions: Box::default(),
        }
    }

    /// Of a name that the registry knows and the words of its conditions; empty words do not count.
    ///
    /// # Errors
    /// In HAProxy's words: `unknown condition "x"`.
    pub(super) fn new<'w>(
        var: VarRef,
        conditions: impl Iterator<Item = &'w [u8]>,
    ) -> Result<VarTarget, String> {
        let mut parsed = Vec::new();
        for word in conditions.filter(|word| !word.is_empty()) {
            parsed.push(If::named(word).ok_or_else(|| {
                format!("unknown condition \"{}\"", String::from_utf8_lossy(word))
            })?);
        }
        Ok(VarTarget {
            var,
            conditions: parsed.into_boxed_slice(),
        })
    }

    fn hold(&self, store: &VarStore, value: &Value<'_>) -> bool {
        let slot = self.var.slot;
        // variables of the process exist since the configuration was read
        let exists = self.var.scope == Scope::Proc || store.exists(slot);
        let current = store.value(slot);
        let is_empty = match value {
            Value::Str(bytes) | Value::Bin(bytes) | Value::Method(bytes) => bytes.is_empty(),
            _ => false,
        };
        let compares = |holds: fn(i64, i64) -> bool| match (current, value) {
            (Some(Value::Int(current)), Value::Int(input)) => holds(current, *input),
            _ => true,
        };
        self.conditions.iter().all(|condition| match condition {
            If::Exists => exists,
            If::NotExists => !exists,
            If::Empty => is_empty,
            If::NotEmpty => !is_empty,
            If::Set => current.is_some(),
            If::NotSet => current.is_none(),
            If::Greater => compares(|current, input| current > input),
            If::Less => compares(|current, input| current < input),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Place, parse_expr};
    use super::*;
    use crate::sample::Registry;

    /// Evaluates an expression in a session with one stream.
    struct Session {
        registry: Registry,
        session: RefCell<VarStore>,
        stream: RefCell<StreamVars>,
    }

    impl Session {
        fn new() -> Session {
            let registry = Registry::new();
            Session {
                session: RefCell::new(registry.session_vars()),
                stream: RefCell::new(registry.stream_vars()),
                registry,
            }
        }

        fn scopes(&self) -> VarScopes<'_> {
            VarScopes {
                process: Some(&self.registry),
                session: Some(&self.session),
                stream: Some(&self.stream),
            }
        }

        fn eval(&self, word: &str) -> Option<String> {
            let (expr, _) = parse_expr(&[word], &self.registry).expect("an expression");
            assert!(expr.unavailable_in(Place::Log, "here").is_none());
            let mut scratch = Scratch::new(4096);
            let mut cx = Context::new(0, &mut scratch);
            cx.vars = self.scopes();
            let value = expr.eval(&mut cx)?;
            Some(value.write_text(|text| String::from_utf8_lossy(text).into_owned()))
        }

        fn check(&self, word: &str, expected: Option<&str>) {
            assert_eq!(self.eval(word).as_deref(), expected, "{word}");
        }
    }

    #[test]
    fn values_keep_their_type() {
        let session = Session::new();
        session.check("int(5),set-var(txn.i),add(1)", Some("6"));
        session.check("var(txn.i),mul(2)", Some("10"));
        session.check("int(3),add(txn.i)", Some("8"));
        session.check("str(a),set-var(sess.s)", Some("a"));
        session.check("str(x),concat(<,sess.s,>)", Some("x<a>"));
        session.check("str(x),concat(<,txn.none,>)", Some("x<>"));
        session.check("ipv4(1.2.3.4),set-var(proc.a)", Some("1.2.3.4"));
        session.check("var(proc.a),ipmask(8)", Some("1.0.0.0"));
        session.check("var(txn.none)", None);
        session.check("var(txn.none,dflt)", Some("dflt"));
        session.check("int(1),add(txn.none)", None);
        session.check(
            "str(long value),set-var(txn.i),set-var(req.r)",
            Some("long value"),
        );
        session.check("var(txn.i),upper,set-var(txn.i)", Some("LONG VALUE"));
        session.check("var(txn.i)", Some("LONG VALUE"));
        session.check("bool(1),unset-var(txn.i)", Some("1"));
        session.check("var(txn.i)", None);
    }

    #[test]
    fn lifetimes() {
        let session = Session::new();
        for scope in ["proc", "sess", "txn", "req", "res", "check"] {
            session.eval(&format!("int(1),set-var({scope}.v)"));
        }
        session.check("var(req.v)", Some("1"));
        session.check("var(res.v)", None);
        session.check("var(check.v)", None);
        session.stream.borrow_mut().begin_response();
        session.check("var(req.v)", None);
        session.check("int(2),set-var(res.v)", Some("2"));
        session.stream.borrow_mut().begin_response();
        session.check("var(res.v)", Some("2"));
        session.check("var(txn.v)", Some("1"));
        session.stream.borrow_mut().clear();
        session.check("var(res.v)", None);
        session.check("var(txn.v)", None);
        session.check("var(sess.v)", Some("1"));
        session.session.borrow_mut().clear();
        session.check("var(sess.v)", None);
        session.check("var(proc.v)", Some("1"));
    }

    #[test]
    fn conditions() {
        let session = Session::new();
        let set = |word: &str, expected: Option<&str>| {
            session.eval(word);
            session.check("var(txn.v)", expected);
        };
        set("int(1),set-var(txn.v,ifexists)", None);
        set("int(1),set-var(txn.v,ifset)", None);
        set("int(1),set-var(txn.v,ifnotexists,ifnotset)", Some("1"));
        set("int(2),set-var(txn.v,ifnotexists)", Some("1"));
        set("int(2),set-var(txn.v,ifexists,ifgt)", Some("1"));
        set("int(2),set-var(txn.v,iflt)", Some("2"));
        set("int(1),set-var(txn.v,ifgt)", Some("1"));
        set("str(),set-var(txn.v,ifnotempty)", Some("1"));
        set("int(0),set-var(txn.v,ifempty)", Some("1"));
        set("str(),set-var(txn.v,ifempty)", Some(""));
        set("int(1),unset-var(txn.v)", None);
        set("int(1),set-var(txn.v,ifset)", None);
        set("int(1),set-var(txn.v,ifexists)", Some("1"));
        session.eval("int(1),set-var(proc.p,ifexists)");
        session.check("var(proc.p)", Some("1"));
    }

    #[test]
    fn limits_hold_in_their_hierarchy() {
        let session = Session::new();
        session.registry.limit_vars(VarLimits {
            sess: Some(3 * OVERHEAD_BYTES + 10),
            txn: Some(2 * OVERHEAD_BYTES + 10),
            ..VarLimits::default()
        });
        session.eval("str(0123456789),set-var(txn.a)");
        session.check("var(txn.a)", Some("0123456789"));
        session.eval("str(0),set-var(req.b)");
        session.check("var(req.b)", None);
        session.eval("int(1),set-var(req.b)");
        session.check("var(req.b)", Some("1"));
        session.eval("str(x),set-var(sess.c)");
        session.check("var(sess.c)", None);
        session.eval("int(1),set-var(sess.c)");
        session.check("var(sess.c)", Some("1"));
        session.eval("str(01234),set-var(txn.a)");
        session.eval("str(01234),set-var(req.b)");
        session.check("var(req.b)", Some("01234"));
        assert_eq!(session.registry.vars_bytes(), 3 * OVERHEAD_BYTES + 10);
        drop(session.stream);
        drop(session.session);
        assert_eq!(session.registry.vars_bytes(), 0);
    }

    #[test]
    fn a_store_that_is_used_again_allocates_nothing() {
        let session = Session::new();
        let words = [
            "str(abcdefgh),set-var(txn.a),set-var(req.b)",
            "var(txn.a),concat(x,req.b)",
        ];
        let expressions = words.map(|word| parse_expr(&[word], &session.registry).expect("one").0);
        let mut scratch = Scratch::new(4096);
        let mut run = || {
            for expr in &expressions {
                let mut cx = Context::new(0, &mut scratch);
                cx.vars = session.scopes();
                assert!(expr.eval(&mut cx).is_some());
            }
            session.stream.borrow_mut().clear();
        };
        run();
        let before = crate::sys::counting::allocations();
        run();
        assert_eq!(crate::sys::counting::allocations() - before, 0);
    }

    #[test]
    fn names() {
        let registry = Registry::new();
        let check = |name: &str, expected: &str| {
            assert_eq!(registry.variable(name.as_bytes()), Err(expected.into()));
        };
        check("", "Empty variable name cannot be accepted");
        check("txn.a-b", "invalid syntax at char '-b'");
        check(
            "txn.",
            "invalid variable name 'txn.'. A variable name must be start by its scope. The scope can be 'proc', 'sess', 'txn', 'req', 'res' or 'check'",
        );
        let first = registry.variable(b"txn.a").expect("a name");
        assert_eq!(registry.variable(b"txn.a"), Ok(first));
        assert_ne!(registry.variable(b"txn.b"), Ok(first));
        assert_eq!(registry.known_variable("txn.a"), Some(first));
        assert_eq!(registry.known_variable("txn.z"), None);
        assert_eq!(
            registry.var_target(b"txn.a,ifset,foo"),
            Err("unknown condition \"foo\"".into())
        );
    }
}
