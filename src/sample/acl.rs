//! ACLs and conditions (configuration manual, 7.1, 7.2, 7.4).

use super::{Context, Error, Place};

/// The ACLs of one proxy (or of one defaults section), while the configuration is read.
///
/// Conditions refer to ACLs by name, and later lines may complete an ACL that a condition already uses. So conditions see the
/// ACLs only when the set is dropped or [`AclSet::finish`]ed; before that they never match.
#[derive(Debug, Default)]
pub struct AclSet {}

impl AclSet {
    /// An empty set; the predefined ACLs (`TRUE`, `METH_GET`, …) are always there.
    pub fn new() -> AclSet {
        todo!()
    }

    /// `acl NAME CRITERION [FLAGS] [OPERATOR] [VALUE…]`, the words after `acl`. Returns warnings, in HAProxy's words
    /// (`parsing acl keyword 'src' :` and what follows).
    ///
    /// # Errors
    /// As HAProxy's, complete: `error detected while parsing ACL 'a' : unknown fetch method 'foo' in ACL expression 'foo'.`
    pub fn declare<W: AsRef<[u8]>>(&mut self, _words: &[W]) -> Result<Vec<String>, Error> {
        todo!()
    }

    /// Makes the ACLs visible to the conditions that use them.
    pub fn finish(self) {
        todo!()
    }
}

/// A compiled condition: `if` or `unless` with its ACLs. Clones share the ACLs.
#[derive(Clone, Debug)]
pub struct Condition {}

/// Parses `if …` or `unless …` to the end of `words`. Returns the condition and warnings (anonymous ACLs).
///
/// # Errors
/// As HAProxy's, e.g. `no such ACL : 'foo'`; the caller adds what it was parsing
/// (`'stick': error detected while parsing sticking condition : ` and a full stop).
pub fn parse_condition<W: AsRef<[u8]>>(
    _words: &[W],
    _acls: &mut AclSet,
) -> Result<(Condition, Vec<String>), Error> {
    todo!()
}

impl Condition {
    /// Whether the rule applies now.
    pub fn matches(&self, _cx: &mut Context<'_>) -> bool {
        todo!()
    }

    /// HAProxy's warning for a condition that can never match in this place, because an ACL needs what is not available there.
    pub fn warning_in(&self, _place: Place) -> Option<String> {
        todo!()
    }
}
