//! A command as it was called: what its handler gets.

use super::command::Command;
use crate::config::model::AccessLevel;

/// A command as it was called.
pub struct Invocation<'a> {
    /// Its words and payload.
    pub command: &'a Command,
    /// Level of the session.
    pub level: AccessLevel,
    /// `experimental-mode on`.
    pub is_experimental: bool,
}

impl<'a> Invocation<'a> {
    /// The words from `first` on.
    pub fn options(&self, first: usize) -> impl Iterator<Item = &'a [u8]> {
        self.command.words().iter().skip(first).map(Vec::as_slice)
    }
}
