//! What the expressions of one configuration share: the names of variables, and the values of those of the process.
//!
//! One [`Registry`] lives from the first line of the configuration to the end of the process; it is a handle, clones are the same
//! registry. The parser tells it where it is ([`Registry::at`]), so that what is listed at run time can name the line.
//!
//! Not here: how values of variables are kept (`vars`), the sections themselves (`config`).

use super::patterns::{self, PatternSet};
use super::users::UserList;
use super::vars::{Scope, StreamVars, VarLimits, VarRef, VarStore, VarTarget};
use std::cell::{Cell, Ref, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

/// A line of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The file as it was named on the command line.
    pub file: Rc<str>,
    /// From 1; 0 outside of any file.
    pub line: u32,
}

#[derive(Default)]
struct Inner {
    origin: RefCell<Origin>,
    names: RefCell<[Vec<Box<str>>; Scope::ALL.len()]>,
    process_vars: RefCell<VarStore>,
    limits: Cell<VarLimits>,
    meter: Rc<Cell<usize>>,
    sets: RefCell<Vec<Rc<PatternSet>>>,
    /// Ids of entries of pattern sets: that of the last one.
    entry_ids: Rc<Cell<u64>>,
    user_lists: RefCell<Vec<UserList>>,
    environment: RefCell<BTreeMap<String, String>>,
    /// Where the rules are that have a number; it is one more than the index.
    rules: RefCell<Vec<Origin>>,
    /// Some expression looks at a request.
    asks_for_requests: Cell<bool>,
    /// Some expression asks where clients connected to.
    asks_for_destinations: Cell<bool>,
}

/// A handle to what expressions share; see the module.
#[derive(Clone, Default)]
pub struct Registry(Rc<Inner>);

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registry({} bytes of variables)", self.vars_bytes())
    }
}

impl Registry {
    /// The `userlist` sections, once all files were read.
    pub fn set_user_lists(&self, lists: Vec<UserList>) {
        *self.0.user_lists.borrow_mut() = lists;
    }

    /// The `userlist` sections.
    pub fn user_lists(&self) -> Ref<'_, Vec<UserList>> {
        self.0.user_lists.borrow()
    }

    /// The environment as it is where the configuration is read now.
    pub fn set_environment(&self, environment: &BTreeMap<String, String>) {
        self.0.environment.borrow_mut().clone_from(environment);
    }

    /// A variable of the environment.
    pub(super) fn environment_variable(&self, name: &str) -> Option<Box<[u8]>> {
        let environment = self.0.environment.borrow();
        Some(environment.get(name)?.as_bytes().into())
    }

    /// A number for the rule in the line that is read, from 1.
    pub fn number_rule(&self) -> u32 {
        let mut rules = self.0.rules.borrow_mut();
        rules.push(self.origin());
        rules.len() as u32
    }

    /// Where the rule with a number is.
    pub(super) fn rule(&self, number: u32) -> Option<Ref<'_, Origin>> {
        let index = (number as usize).checked_sub(1)?;
        Ref::filter_map(self.0.rules.borrow(), |rules| rules.get(index)).ok()
    }

    /// Some expression looks at a request.
    pub(super) fn ask_for_requests(&self) {
        self.0.asks_for_requests.set(true);
    }

    /// Whether some expression of the configuration looks at requests, so that TCP streams have to be looked at as such, too.
    pub fn asks_for_requests(&self) -> bool {
        self.0.asks_for_requests.get()
    }

    /// Some expression asks where a client connected to.
    pub(super) fn ask_for_destinations(&self) {
        self.0.asks_for_destinations.set(true);
    }

    /// Whether some expression of the configuration asks where clients connected to, which costs a system call a connection.
    pub fn asks_for_destinations(&self) -> bool {
        self.0.asks_for_destinations.get()
    }

    /// A registry that knows nothing yet.
    pub fn new() -> Registry {
        let meter = Rc::new(Cell::new(0));
        Registry(Rc::new(Inner {
            process_vars: RefCell::new(VarStore::new(Rc::clone(&meter))),
            meter,
            ..Inner::default()
        }))
    }

    /// The line that is read from now on.
    pub fn at(&self, file: &Rc<str>, line: u32) {
        let mut origin = self.0.origin.borrow_mut();
        origin.file = Rc::clone(file);
        origin.line = line;
    }

    /// Where the line that is read is.
    pub fn origin(&self) -> Origin {
        self.0.origin.borrow().clone()
    }

    /// The variable of a name like `txn.foo`; a new name gets a slot.
    ///
    /// # Errors
    /// In HAProxy's words: the scope is none, or the name is empty or has other characters than letters, digits, `.` and `_`.
    pub fn variable(&self, name: &[u8]) -> Result<VarRef, String> {
        let shown = String::from_utf8_lossy(name);
        if name.is_empty() {
            return Err("Empty variable name cannot be accepted".into());
        }
        let Some((scope, rest)) = split_scope(&shown) else {
            return Err(format!(
                "invalid variable name '{shown}'. A variable name must be start by its scope. \
                 The scope can be 'proc', 'sess', 'txn', 'req', 'res' or 'check'"
            ));
        };
        let is_permitted =
            |letter: char| letter.is_ascii_alphanumeric() || letter == '.' || letter == '_';
        if let Some(at) = rest.find(|letter| !is_permitted(letter)) {
            return Err(format!("invalid syntax at char '{}'", &rest[at..]));
        }
        let names = &mut self.0.names.borrow_mut()[scope as usize];
        let slot = match names.iter().position(|known| **known == *rest) {
            Some(slot) => slot,
            None => {
                names.push(rest.into());
                names.len() - 1
            }
        };
        match u16::try_from(slot) {
            Ok(slot) => Ok(VarRef { scope, slot }),
            Err(_) => Err(format!("too many variables in scope '{}'", scope.word())),
        }
    }

    /// The variable of a name that is already known.
    pub fn known_variable(&self, name: &str) -> Option<VarRef> {
        let (scope, rest) = split_scope(name)?;
        let names = &self.0.names.borrow()[scope as usize];
        let slot = names.iter().position(|known| **known == *rest)?;
        Some(VarRef {
            scope,
            slot: u16::try_from(slot).ok()?,
        })
    }

    /// The names of a scope's variables, without the scope, each at the place of its slot.
    pub(super) fn variable_names(&self, scope: Scope) -> Ref<'_, Vec<Box<str>>> {
        Ref::map(self.0.names.borrow(), |names| &names[scope as usize])
    }

    /// What `set-var(NAME[,COND…])` sets: the words between the parentheses.
    ///
    /// # Errors
    /// In HAProxy's words.
    pub fn var_target(&self, text: &[u8]) -> Result<VarTarget, String> {
        let mut words = text.split(|byte| *byte == b',');
        let var = self.variable(words.next().unwrap_or_default())?;
        VarTarget::new(var, words)
    }

    /// `tune.vars.*`.
    pub fn limit_vars(&self, limits: VarLimits) {
        self.0.limits.set(limits);
    }

    /// `tune.vars.*`.
    pub fn var_limits(&self) -> VarLimits {
        self.0.limits.get()
    }

    /// Bytes that the variables of one session, its request and its response take at most, where a value has at most so many bytes:
    /// as many as there are names, or `tune.vars.*` allow.
    pub fn session_bytes_max(&self, value_bytes: u64) -> u64 {
        let names = self.0.names.borrow();
        let limits = self.var_limits();
        let of = |scopes: &[Scope], limit: Option<usize>| {
            let count = scopes.iter().map(|scope| names[*scope as usize].len());
            let count = count.sum::<usize>() as u64;
            let bytes = count.saturating_mul(value_bytes);
            let slots = count * VarStore::SLOT_BYTES;
            slots + limit.map_or(bytes, |limit| bytes.min(limit as u64))
        };
        let session = of(&[Scope::Sess], limits.sess);
        let transaction = of(&[Scope::Txn], limits.txn);
        session + transaction + of(&[Scope::Req, Scope::Res], limits.reqres)
    }

    /// Bytes that all variables of the process take, as `tune.vars.global-max-size` counts them.
    pub fn vars_bytes(&self) -> usize {
        self.0.meter.get()
    }

    /// Type and text of a variable of the process, if it is set.
    pub fn show_process_variable(&self, var: VarRef) -> Option<(&'static str, String)> {
        let vars = self.0.process_vars.borrow();
        let value = vars.value(var.slot)?;
        let text = value.write_text(|text| String::from_utf8_lossy(text).into_owned());
        Some((value.type_name(), text))
    }

    /// The variables of scope `proc`.
    pub(super) fn process_vars(&self) -> &RefCell<VarStore> {
        &self.0.process_vars
    }

    /// An empty store for the variables of a session.
    pub fn session_vars(&self) -> VarStore {
        VarStore::new(Rc::clone(&self.0.meter))
    }

    /// Empty stores for the variables of a stream.
    pub fn stream_vars(&self) -> StreamVars {
        StreamVars::new(&self.0.meter)
    }

    /// The patterns of a file, which is read when it is named first.
    ///
    /// # Errors
    /// In HAProxy's words: the file cannot be read, or it is used both with values and without.
    pub(super) fn pattern_file(
        &self,
        path: &[u8],
        has_values: bool,
    ) -> Result<Rc<PatternSet>, String> {
        use std::os::unix::ffi::OsStrExt;
        let shown = String::from_utf8_lossy(path);
        if let Some(set) = self.pattern_set(&shown) {
            if set.has_values == has_values {
                return Ok(set);
            }
            let [first, second] = match set.has_values {
                true => ["two", "one"],
                false => ["one", "two"],
            };
            return Err(format!(
                "The file \"{shown}\" is already used as {first} column file and cannot be used by as {second} column file."
            ));
        }
        let text = std::fs::read(std::ffi::OsStr::from_bytes(path))
            .map_err(|_| format!("failed to open pattern file <{shown}>"))?;
        let set = Rc::new(PatternSet::new(&shown, has_values, None, &self.0.entry_ids));
        patterns::file::load(&set, &text);
        self.0.sets.borrow_mut().push(Rc::clone(&set));
        Ok(set)
    }

    /// A set for the patterns of a line; with the number that `-u` gives.
    ///
    /// # Errors
    /// In HAProxy's words: another set has the number.
    pub(super) fn line_patterns(&self, id: Option<u32>) -> Result<Rc<PatternSet>, String> {
        let mut sets = self.0.sets.borrow_mut();
        if id.is_some() && sets.iter().any(|set| set.id() == id) {
            return Err("the id is already used".into());
        }
        let set = Rc::new(PatternSet::new("", false, id, &self.0.entry_ids));
        sets.push(Rc::clone(&set));
        Ok(set)
    }

    /// Gives numbers to the sets that have none, in the order in which they were named.
    pub fn number_pattern_sets(&self) {
        let sets = self.0.sets.borrow();
        let mut next = 0;
        for set in sets.iter().filter(|set| set.id().is_none()) {
            while sets.iter().any(|other| other.id() == Some(next)) {
                next += 1;
            }
            set.set_id(next);
        }
    }

    /// The set that `#ID` or a file's name stands for.
    pub fn pattern_set(&self, name: &str) -> Option<Rc<PatternSet>> {
        let sets = self.0.sets.borrow();
        let found = match name.strip_prefix('#') {
            Some(id) => {
                let id = id.parse().ok()?;
                sets.iter().find(|set| set.id() == Some(id))
            }
            None => sets
                .iter()
                .find(|set| *set.file == *name && !name.is_empty()),
        };
        found.cloned()
    }

    /// All sets, by their numbers.
    pub fn pattern_sets(&self) -> Vec<Rc<PatternSet>> {
        let mut sets = self.0.sets.borrow().clone();
        sets.sort_by_key(|set| set.id());
        sets
    }

    /// Whether the configuration has variables of a scope.
    pub fn has_variables(&self, scope: Scope) -> bool {
        !self.0.names.borrow()[scope as usize].is_empty()
    }
}

/// Scope and rest of `SCOPE.NAME`.
fn split_scope(name: &str) -> Option<(Scope, &str)> {
    let (word, rest) = name.split_once('.')?;
    let scope = Scope::ALL.into_iter().find(|scope| scope.word() == word)?;
    (!rest.is_empty()).then_some((scope, rest))
}
