//! `unix-bind`: what `bind` lines on unix sockets have in common (configuration manual, section 3.1).
//!
//! It holds for the `bind` lines of proxies that follow it; a word of such a line goes before it.

use std::ffi::OsString;
use std::path::PathBuf;

use super::diag::Report;
use super::line::Line;
use super::listen::Params;
use super::units;
use crate::net::Address;
use crate::sys::accounts;

/// What the section says so far.
#[derive(Clone, Debug, Default)]
pub(super) struct UnixBind {
    prefix: Option<String>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
}

impl UnixBind {
    /// `unix-bind [prefix PREFIX] [mode MODE] [user USER] [uid UID] [group GROUP] [gid GID]`.
    pub fn line(&mut self, line: &Line, report: &mut Report) {
        let mut at = 1;
        while at < line.len() {
            let (word, value) = (line.arg(at), line.arg(at + 1));
            match word {
                "prefix" if self.prefix.is_some() => {
                    let text = "unix-bind 'prefix' already specified. Continuing.";
                    return report.remark(&line.pos, text);
                }
                "prefix" if value.is_empty() => {
                    let text = "unix_bind 'prefix' expects a path as an argument.";
                    return report.alert(&line.pos, text);
                }
                "prefix" => self.prefix = Some(value.to_owned()),
                "mode" => self.mode = octal(value),
                "uid" => self.uid = Some(units::leading_count(value)),
                "gid" => self.gid = Some(units::leading_count(value)),
                "user" | "group" => {
                    let (id, slot) = match word {
                        "user" => (accounts::user_id(value), &mut self.uid),
                        _ => (accounts::group_id(value), &mut self.gid),
                    };
                    if id.is_none() {
                        let text = format!("'unix-bind' : '{value}' unknown {word}.");
                        return report.alert(&line.pos, text);
                    }
                    *slot = id;
                }
                _ => {
                    let text = "'unix-bind' only supports the 'prefix', 'mode', 'uid', 'gid', 'user' and 'group' options.";
                    return report.alert(&line.pos, text);
                }
            }
            at += 2;
        }
    }

    /// Makes a listener's address and words what they are with it.
    pub fn apply(&self, address: &mut Address, params: &mut Params) {
        let Address::Unix(path) = address else { return };
        if let Some(prefix) = &self.prefix {
            // Text before text: a prefix may end within a file's name.
            let mut whole = OsString::from(prefix);
            whole.push(&*path);
            *path = PathBuf::from(whole);
        }
        params.mode = params.mode.or(self.mode);
        params.uid = params.uid.or(self.uid);
        params.gid = params.gid.or(self.gid);
    }
}

/// The mode that octal digits at the start of a text say; none, or 0: the system's default.
fn octal(text: &str) -> Option<u32> {
    let end = text.find(|digit| !matches!(digit, '0'..='7'));
    let digits = &text[..end.unwrap_or(text.len())];
    u32::from_str_radix(digits, 8).ok().filter(|mode| *mode > 0)
}
