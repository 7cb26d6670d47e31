//! A command as it was called: what its handler gets.

use super::command::Command;
use crate::config::model::AccessLevel;

/// What a session has been switched to. Off at first; an administrator's to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Modes {
    /// `expert-mode`: no command here asks for it, scripts that prefix it to others work.
    pub expert: bool,
    /// `experimental-mode`.
    pub experimental: bool,
}

/// A command as it was called.
pub struct Invocation<'a> {
    /// Its words and payload.
    pub command: &'a Command,
    /// Level of the session.
    pub level: AccessLevel,
    /// `expert-mode on`, `experimental-mode on`.
    pub modes: Modes,
}

impl<'a> Invocation<'a> {
    /// The words from `first` on.
    pub fn options(&self, first: usize) -> impl Iterator<Item = &'a [u8]> {
        self.command.words().iter().skip(first).map(Vec::as_slice)
    }
}
