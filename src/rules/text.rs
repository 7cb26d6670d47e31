//! Text that a rule writes: constant, or a log format (`http://%[hdr(host)]/`).

use super::scene::Scene;
use crate::sample::format::Format;

/// A compiled text.
#[derive(Clone, Debug)]
pub enum Text {
    /// It never changes.
    Constant(Box<[u8]>),
    /// It is written anew for each stream.
    Format(Box<Format>),
}

impl Default for Text {
    fn default() -> Text {
        Text::Constant(Box::default())
    }
}

impl Text {
    /// A text that never changes.
    pub fn constant(bytes: &[u8]) -> Text {
        Text::Constant(bytes.into())
    }

    /// A format, or its text if nothing in it depends on anything.
    pub fn format(format: Format) -> Text {
        match format.constant() {
            Some(bytes) => Text::constant(bytes),
            None => Text::Format(Box::new(format)),
        }
    }

    /// Appends the text as it is now.
    pub fn append(&self, scene: &mut Scene<'_>, out: &mut Vec<u8>) {
        match self {
            Text::Constant(bytes) => out.extend_from_slice(bytes),
            Text::Format(format) => {
                let mut cx = scene.context();
                let line = format.text(&mut cx);
                out.extend_from_slice(line.as_bytes());
                cx.scratch.texts.give(line);
            }
        }
    }
}
