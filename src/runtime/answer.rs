//! Answers of commands: output in bounded pieces.

use std::fmt;

use super::context::Context;
use crate::log::Severity;

/// Whether an answer is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The piece is full: ask again when it is sent.
    More,
    /// Everything was said.
    Done,
}

/// What a command answers.
pub enum Reply {
    /// It is done and has nothing to say.
    Silent,
    /// A message. One that HAProxy ends with a newline of its own ends with one here too.
    Message(Severity, String),
    /// More than fits in one piece.
    Dump(Box<dyn Answer>),
}

impl Reply {
    /// An error, ended by a newline.
    pub fn error(text: impl fmt::Display) -> Reply {
        Reply::Message(Severity::Error, format!("{text}\n"))
    }

    /// Information, ended by a newline.
    pub fn info(text: impl fmt::Display) -> Reply {
        Reply::Message(Severity::Info, format!("{text}\n"))
    }

    /// A short text that is no message: it has no severity.
    pub fn text(text: impl fmt::Display) -> Reply {
        Reply::Dump(Box::new(WholeText(text.to_string().into_bytes())))
    }

    /// The session's level does not allow the command.
    pub fn permission_denied() -> Reply {
        Reply::error("Permission denied")
    }
}

/// An answer under way: a machine that is asked for the next piece when the last one is sent.
///
/// Between two pieces anything may change; a machine keeps positions, not references, and goes on as well as it can.
pub trait Answer {
    /// Appends to `out` until it says that it must not go on, or until everything is said.
    fn poll(&mut self, context: &mut Context<'_>, out: &mut Output<'_>) -> Progress;
}

/// A text that is complete, and sent in one piece: for what the configuration bounds to a few kilobytes.
pub(super) struct WholeText(pub Vec<u8>);

impl Answer for WholeText {
    fn poll(&mut self, _: &mut Context<'_>, out: &mut Output<'_>) -> Progress {
        out.push(&self.0);
        Progress::Done
    }
}

/// One piece of an answer under construction: a buffer, and how much work may still go into it.
///
/// A command that walks over many things asks [`Output::may_go_on`] before each and returns [`Progress::More`] when it
/// says no, remembering where it stands:
/// ```
/// # use burdock::runtime::{Output, Progress};
/// fn poll(next: &mut u32, out: &mut Output<'_>) -> Progress {
///     while *next < 3 {
///         if !out.may_go_on() {
///             return Progress::More;
///         }
///         out.push(b"row\n");
///         *next += 1;
///     }
///     Progress::Done
/// }
/// # let mut bytes = Vec::new();
/// # assert_eq!(poll(&mut 0, &mut Output::new(&mut bytes, 6, 100)), Progress::More);
/// # assert_eq!(bytes, b"row\nrow\n");
/// ```
#[derive(Debug)]
pub struct Output<'a> {
    bytes: &'a mut Vec<u8>,
    bytes_max: usize,
    steps_left: u32,
}

impl<'a> Output<'a> {
    /// A piece that is full when `bytes` holds `bytes_max` bytes or `steps_max` steps are done. The last step may
    /// exceed `bytes_max` by what it writes.
    pub fn new(bytes: &'a mut Vec<u8>, bytes_max: usize, steps_max: u32) -> Self {
        Self {
            bytes,
            bytes_max,
            steps_left: steps_max,
        }
    }

    /// Whether one more step (a row written, an entry looked at) fits; counts it if so.
    pub fn may_go_on(&mut self) -> bool {
        if self.steps_left == 0 || self.bytes.len() >= self.bytes_max {
            return false;
        }
        self.steps_left -= 1;
        true
    }

    /// Appends bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The buffer, for writers that append to one.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        self.bytes
    }
}

impl fmt::Write for Output<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}
