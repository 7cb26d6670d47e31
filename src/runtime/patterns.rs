//! Commands on ACLs and maps: `show`, `get`, `add`, `set`, `del`, `clear`, `prepare`, `commit` (management manual, 9.3).
//!
//! A set is named by its file, or by `#` and the number that `show` gives it; a version by `@` and its number.
//!
//! Not here: the sets (`sample::patterns`).

use std::rc::Rc;

use super::answer::{Answer, Output, Progress, Reply};
use super::context::Context;
use super::invocation::Invocation;
use crate::config::model::AccessLevel;
use crate::sample::PatternSet;

/// Whether a command is one of ACLs or of maps.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Acl,
    Map,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Acl => "ACL",
            Kind::Map => "map",
        }
    }

    fn has(self, set: &PatternSet) -> bool {
        match self {
            Kind::Acl => set.is_acl(),
            Kind::Map => set.is_map(),
        }
    }

    /// The set of a name.
    fn find(self, name: &str, context: &Context<'_>) -> Result<Rc<PatternSet>, Reply> {
        context
            .samples
            .pattern_set(name)
            .filter(|set| self.has(set))
            .ok_or_else(|| {
                let name = self.name();
                Reply::error(format_args!(
                    "Unknown {name} identifier. Please use #<id> or <file>."
                ))
            })
    }
}

/// A command's words after its name: a version if there is one, and the position of the next word.
fn version(call: &Invocation<'_>) -> (Option<u32>, usize) {
    match call.command.text(2).strip_prefix('@') {
        Some(number) => (Some(number.parse().unwrap_or(0)), 3),
        None => (None, 2),
    }
}

/// A result whose both sides are the reply.
fn either(result: Result<Reply, Reply>) -> Reply {
    result.unwrap_or_else(|reply| reply)
}

/// `show acl [[@VER] ACL]`.
pub fn show_acl(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    either(show(call, context, Kind::Acl))
}

/// `show map [[@VER] MAP]`.
pub fn show_map(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    either(show(call, context, Kind::Map))
}

fn show(call: &Invocation<'_>, context: &mut Context<'_>, kind: Kind) -> Result<Reply, Reply> {
    let (version, at) = version(call);
    if call.command.word(at).is_empty() {
        let mut sets = context.samples.pattern_sets();
        sets.retain(|set| kind.has(set));
        return Ok(Reply::Dump(Box::new(List { sets, next: 0 })));
    }
    let set = kind.find(call.command.text(at), context)?;
    Ok(Reply::Dump(Box::new(Entries {
        set,
        version,
        after: 0,
    })))
}

/// `show acl`, `show map`: a line a set.
struct List {
    sets: Vec<Rc<PatternSet>>,
    next: usize,
}

impl Answer for List {
    fn poll(&mut self, _: &mut Context<'_>, out: &mut Output<'_>) -> Progress {
        if self.next == 0 {
            out.push(b"# id (file) description\n");
        }
        while let Some(set) = self.sets.get(self.next) {
            if !out.may_go_on() {
                return Progress::More;
            }
            out.push(set.describe().as_bytes());
            out.push(b"\n");
            self.next += 1;
        }
        Progress::Done
    }
}

/// The entries of a set. Between two pieces entries may come and go; none is shown twice.
struct Entries {
    set: Rc<PatternSet>,
    version: Option<u32>,
    after: u64,
}

impl Answer for Entries {
    fn poll(&mut self, _: &mut Context<'_>, out: &mut Output<'_>) -> Progress {
        while out.may_go_on() {
            match self.set.show(self.version, self.after, out.bytes()) {
                Some(id) => self.after = id,
                None => return Progress::Done,
            }
        }
        Progress::More
    }
}

/// `get acl ACL VALUE`.
pub fn get_acl(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    either(get(call, context, Kind::Acl))
}

/// `get map MAP KEY`.
pub fn get_map(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    either(get(call, context, Kind::Map))
}

fn get(call: &Invocation<'_>, context: &mut Context<'_>, kind: Kind) -> Result<Reply, Reply> {
    let (set, value) = (call.command.text(2), call.command.word(3));
    if set.is_empty() || value.is_empty() {
        let name = kind.name();
        return Err(Reply::error(format_args!(
            "Missing {name} identifier and/or key."
        )));
    }
    let set = kind.find(set, context)?;
    let mut text = String::new();
    for line in set.lookup(value, kind == Kind::Map, context.scratch) {
        text += &line;
        text.push('\n');
    }
    Ok(Reply::text(text))
}

/// `add acl [@VER] ACL PATTERN`.
pub fn add_acl(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    if call.level < AccessLevel::Operator {
        return Reply::permission_denied();
    }
    let (version, at) = version(call);
    let (name, pattern) = (call.command.text(at), call.command.word(at + 1));
    if name.is_empty() || pattern.is_empty() {
        return Reply::error("'add acl' expects two parameters: ACL identifier and pattern.");
    }
    let set = match Kind::Acl.find(name, context) {
        Ok(set) => set,
        Err(reply) => return reply,
    };
    if set.has_values {
        return Reply::error(
            "This ACL is shared with a map containing samples. You must use the command 'add map' to add values.",
        );
    }
    added(set.add(version, pattern, None))
}

fn added(result: Result<(), String>) -> Reply {
    match result {
        Ok(()) => Reply::Silent,
        Err(text) => Reply::error(format_args!("{text}.")),
    }
}

/// `add map [@VER] MAP KEY VALUE`, or with a payload of lines of `KEY VALUE`.
pub fn add_map(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    if call.level < AccessLevel::Operator {
        return Reply::permission_denied();
    }
    let (version, at) = version(call);
    let name = call.command.text(at);
    let (key, value) = (call.command.word(at + 1), call.command.word(at + 2));
    let payload = call.command.payload.as_deref();
    if name.is_empty() || payload.is_none() && (key.is_empty() || value.is_empty()) {
        return Reply::error(
            "'add map' expects three parameters (map identifier, key and value) or one parameter (map identifier) and a payload",
        );
    }
    let set = match Kind::Map.find(name, context) {
        Ok(set) => set,
        Err(reply) => return reply,
    };
    let Some(payload) = payload else {
        return added(set.add(version, key, Some(value)));
    };
    for line in payload.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        let end = line.iter().position(u8::is_ascii_whitespace);
        let (key, value) = line.split_at(end.unwrap_or(line.len()));
        if key.is_empty() {
            continue;
        }
        if let Err(text) = set.add(version, key, Some(value.trim_ascii())) {
            return Reply::error(format_args!("{text}."));
        }
    }
    Reply::Silent
}

/// `set map MAP [KEY|#REF] VALUE`.
pub fn set_map(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    if call.level < AccessLevel::Operator {
        return Reply::permission_denied();
    }
    let [name, key, value] = [2, 3, 4].map(|at| call.command.word(at));
    if name.is_empty() || key.is_empty() || value.is_empty() {
        return Reply::error("'set map' expects three parameters: map identifier, key and value.");
    }
    let Some(set) = context
        .samples
        .pattern_set(call.command.text(2))
        .filter(|set| set.is_map() || set.is_acl())
    else {
        return Reply::error("Unknown map identifier. Please use #<id> or <file>.");
    };
    match set.set(key, value) {
        Ok(true) => Reply::Silent,
        Ok(false) => Reply::error("entry not found."),
        Err(text) => Reply::error(format_args!("{text}.")),
    }
}

/// `del acl ACL [KEY|#REF]`.
pub fn del_acl(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    either(delete(call, context, Kind::Acl))
}

/// `del map MAP [KEY|#REF]`.
pub fn del_map(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    either(delete(call, context, Kind::Map))
}

fn delete(call: &Invocation<'_>, context: &mut Context<'_>, kind: Kind) -> Result<Reply, Reply> {
    if call.level < AccessLevel::Operator {
        return Err(Reply::permission_denied());
    }
    let (name, key) = (call.command.text(2), call.command.word(3));
    if name.is_empty() || key.is_empty() {
        let name = kind.name();
        return Err(Reply::error(format_args!(
            "This command expects two parameters: {name} identifier and key."
        )));
    }
    match kind.find(name, context)?.delete(key) {
        true => Ok(Reply::Silent),
        false => Err(Reply::error("Key not found.")),
    }
}

/// `clear acl [@VER] ACL`.
pub fn clear_acl(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    either(clear(call, context, Kind::Acl))
}

/// `clear map [@VER] MAP`.
pub fn clear_map(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    either(clear(call, context, Kind::Map))
}

fn clear(call: &Invocation<'_>, context: &mut Context<'_>, kind: Kind) -> Result<Reply, Reply> {
    if call.level < AccessLevel::Operator {
        return Err(Reply::permission_denied());
    }
    let (version, at) = version(call);
    named(call, context, kind, at)?.clear(version);
    Ok(Reply::Silent)
}

/// The set that the word at a position names.
fn named(
    call: &Invocation<'_>,
    context: &Context<'_>,
    kind: Kind,
    at: usize,
) -> Result<Rc<PatternSet>, Reply> {
    match call.command.text(at) {
        "" => Err(Reply::error(format_args!(
            "Missing {} identifier.",
            kind.name()
        ))),
        name => kind.find(name, context),
    }
}

/// `prepare acl ACL`.
pub fn prepare_acl(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    either(prepare(call, context, Kind::Acl))
}

/// `prepare map MAP`.
pub fn prepare_map(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    either(prepare(call, context, Kind::Map))
}

fn prepare(call: &Invocation<'_>, context: &mut Context<'_>, kind: Kind) -> Result<Reply, Reply> {
    if call.level < AccessLevel::Operator {
        return Err(Reply::permission_denied());
    }
    let set = kind.find(call.command.text(2), context)?;
    Ok(Reply::info(format_args!(
        "New version created: {}",
        set.prepare()
    )))
}

/// `commit acl @VER ACL`.
pub fn commit_acl(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    either(commit(call, context, Kind::Acl))
}

/// `commit map @VER MAP`.
pub fn commit_map(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    either(commit(call, context, Kind::Map))
}

fn commit(call: &Invocation<'_>, context: &mut Context<'_>, kind: Kind) -> Result<Reply, Reply> {
    if call.level < AccessLevel::Operator {
        return Err(Reply::permission_denied());
    }
    let (Some(version), at) = version(call) else {
        return Err(Reply::error("Missing version number."));
    };
    match named(call, context, kind, at)?.commit(version) {
        true => Ok(Reply::Silent),
        false => Err(Reply::error("Version number out of range.")),
    }
}
