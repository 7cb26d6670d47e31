//! `early-hint`: a 103 response before the real one (configuration manual, "http-request early-hint").
//!
//! It is written to the client at once. A client whose socket takes none of it gets no hint, which is no more than a hint lost; one
//! whose socket takes a part of it is left, because nothing else could follow.

use std::io::IoSlice;

use super::action::Verdict;
use super::edit::failed;
use super::scene::Scene;
use crate::http::Version;
use crate::http::edit::is_header_value;
use crate::sample::format::Format;

/// `early-hint NAME FMT`.
#[derive(Clone, Debug)]
pub struct EarlyHint {
    /// The header's name.
    pub name: Box<[u8]>,
    /// Its value.
    pub value: Format,
    /// The next rule is another one, without condition: it goes on with this response.
    pub is_continued: bool,
}

const START_LINE: &[u8] = b"HTTP/1.1 103 Early Hints\r\n";

/// What a head counts in the log's bytes beside its names and values.
const LOGGED_BYTES: u64 = 43;

impl EarlyHint {
    /// Sends it. A client that speaks HTTP/1.0 knows no interim responses.
    pub(super) fn run(&self, scene: &mut Scene<'_>) -> Verdict<'static> {
        let is_known = scene
            .request
            .as_deref()
            .is_some_and(|head| head.version == Version::Http11);
        if !is_known {
            return Verdict::Continue;
        }
        let value = self.value.text(&mut scene.context());
        let mut hint = scene.scratch.texts.take();
        let is_valid = is_header_value(value.as_bytes());
        if is_valid {
            if !scene.notes.is_hinting {
                hint.push(START_LINE);
                scene.notes.hint_bytes += LOGGED_BYTES;
            }
            for part in [&self.name, &b": "[..], value.as_bytes(), b"\r\n"] {
                hint.push(part);
            }
            if !self.is_continued {
                hint.push(b"\r\n");
            }
            scene.notes.is_hinting = self.is_continued;
        }
        let verdict = match is_valid {
            true => send(scene, hint.as_bytes()),
            false => failed(scene),
        };
        if is_valid {
            let words = (self.name.len() + value.as_bytes().len()) as u64;
            scene.notes.hint_bytes += words;
        }
        scene.scratch.texts.give(hint);
        scene.scratch.texts.give(value);
        verdict
    }
}

fn send(scene: &mut Scene<'_>, hint: &[u8]) -> Verdict<'static> {
    match scene.client.write(&[IoSlice::new(hint)], false) {
        Ok(0) if hint.starts_with(START_LINE) && hint.ends_with(b"\r\n\r\n") => Verdict::Continue,
        Ok(count) if count == hint.len() => Verdict::Continue,
        Ok(_) | Err(_) => Verdict::Reject,
    }
}
