//! The several values that one fetch may have.

/// Where an ACL is in the several values of one fetch (`hdr` in all its occurrences). Without `each`, a fetch yields its one value.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursor {
    /// Every value is asked for, one a call.
    pub each: bool,
    /// Another call may yield another value.
    pub more: bool,
    /// Index of the header line.
    pub line: usize,
    /// Offset in it.
    pub offset: usize,
}

impl Cursor {
    pub(super) fn all() -> Cursor {
        Cursor {
            each: true,
            ..Cursor::default()
        }
    }
}
