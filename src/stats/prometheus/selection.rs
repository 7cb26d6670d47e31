//! What a request for metrics asks for: its query, read as HAProxy reads it.

/// Kinds of objects, in the order in which they are written; each is a bit of `Selection::scopes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Global,
    Frontend,
    Listener,
    Backend,
    Server,
    Sticktable,
}

impl Scope {
    pub(super) const ALL: [Scope; 6] = [
        Scope::Global,
        Scope::Frontend,
        Scope::Listener,
        Scope::Backend,
        Scope::Server,
        Scope::Sticktable,
    ];

    /// Its name in a query.
    fn word(self) -> &'static [u8] {
        match self {
            Scope::Global => b"global",
            Scope::Frontend => b"frontend",
            Scope::Listener => b"listener",
            Scope::Backend => b"backend",
            Scope::Server => b"server",
            Scope::Sticktable => b"sticktable",
        }
    }
}

/// All scopes.
const ALL_SCOPES: u8 = (1 << Scope::ALL.len()) - 1;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    scopes: u8,
    /// `no-maint`: servers in maintenance have no lines.
    pub(super) no_maintenance: bool,
}

impl Selection {
    /// Reads a query: `scope=…` as often as one likes, `no-maint`, and whatever else, which is passed over. The first `scope` selects that one
    /// instead of all, further ones add to it, `*` stands for all, and an empty one takes back those before it.
    ///
    /// `None`: the query is wrong. A scope is unknown or has no value, a value has a second equals sign, or something is not
    /// percent-encoded as it must be.
    pub fn parse(query: &[u8]) -> Option<Selection> {
        let mut selection = Selection {
            scopes: ALL_SCOPES,
            no_maintenance: false,
        };
        let mut has_scope = false;
        for parameter in query.split(|byte| *byte == b'&') {
            let mut parts = parameter.split(|byte| *byte == b'=');
            let name = Word::decode(parts.next()?)?;
            let value = match parts.next() {
                Some(value) => Some(Word::decode(value)?),
                None => None,
            };
            if parts.next().is_some() {
                return None;
            }
            if name.is(b"scope") {
                let named = value?.scopes()?;
                let before = match has_scope && named != 0 {
                    true => selection.scopes,
                    false => 0,
                };
                selection.scopes = before | named;
                has_scope = true;
            } else if name.is(b"no-maint") {
                selection.no_maintenance = true;
            }
        }
        Some(selection)
    }

    pub(super) fn has(self, scope: Scope) -> bool {
        self.scopes & (1 << scope as u8) != 0
    }
}

/// A decoded word, as far as it is long enough to be told from those that mean something.
struct Word {
    bytes: [u8; Word::BYTES_MAX],
    len: usize,
}

impl Word {
    /// Longer than any word that means something.
    const BYTES_MAX: usize = 12;

    /// Decodes percent-encoding. As in HAProxy, what follows a zero byte does not count. `None`: it is not encoded right.
    fn decode(mut text: &[u8]) -> Option<Word> {
        let mut word = Word {
            bytes: [0; Word::BYTES_MAX],
            len: 0,
        };
        let mut is_over = false;
        while let [first, rest @ ..] = text {
            text = rest;
            let mut byte = *first;
            if byte == b'%' {
                let [high, low, rest @ ..] = rest else {
                    return None;
                };
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                byte = (digit(high)? << 4 | digit(low)?) as u8;
                text = rest;
            }
            is_over |= byte == 0;
            if !is_over && word.len < Word::BYTES_MAX {
                word.bytes[word.len] = byte;
                word.len += 1;
            }
        }
        Some(word)
    }

    fn is(&self, other: &[u8]) -> bool {
        self.bytes[..self.len] == *other
    }

    /// The scopes that it names; `None`: there is no such scope.
    fn scopes(&self) -> Option<u8> {
        if self.len == 0 {
            return Some(0);
        }
        if self.is(b"*") {
            return Some(ALL_SCOPES);
        }
        let mut scopes = Scope::ALL.into_iter();
        let named = scopes.find(|scope| self.is(scope.word()))?;
        Some(1 << named as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The scopes as letters, `-` for `no-maint`.
    fn shown(query: &str) -> String {
        let Some(selection) = Selection::parse(query.as_bytes()) else {
            return "bad".to_owned();
        };
        let letters = Scope::ALL.into_iter().zip("gflbst".chars());
        let selected = letters.filter(|(scope, _)| selection.has(*scope));
        let mut text: String = selected.map(|(_, letter)| letter).collect();
        text.extend(selection.no_maintenance.then_some('-'));
        text
    }

    #[test]
    fn queries_mean_what_they_mean_to_haproxy() {
        for (query, expected) in [
            ("", "gflbst"),
            ("foo=bar", "gflbst"),
            ("&&", "gflbst"),
            ("=", "gflbst"),
            ("scope=global", "g"),
            ("scope=*", "gflbst"),
            ("scope=", ""),
            ("scope", "bad"),
            ("scope=bad", "bad"),
            ("scope=glob", "bad"),
            ("scope=globals", "bad"),
            ("scope=globalglobalglobal", "bad"),
            ("scope==global", "bad"),
            ("scope&scope=global", "bad"),
            ("scope=global&scope=bad", "bad"),
            ("scope=global+", "bad"),
            ("scope=global;scope=server", "bad"),
            ("scope=global&scope=server", "gs"),
            ("scope=server&scope=global", "gs"),
            ("scope=*&scope=global", "gflbst"),
            ("scope=global&scope=*", "gflbst"),
            ("scope=&scope=global", "g"),
            ("scope=global&scope=", ""),
            ("scope=*&scope=", ""),
            ("&scope=global&", "g"),
            ("no-maint", "gflbst-"),
            ("no-maint=1", "gflbst-"),
            ("no-mainttt", "gflbst"),
            ("scope=global&no-maint&scope=server", "gs-"),
            ("%6eo-maint", "gflbst-"),
            ("no-maint%00x", "gflbst-"),
            ("sco%70e=global", "g"),
            ("scope=%67lobal", "g"),
            ("scope=%2a", "gflbst"),
            ("scope=global%00x", "g"),
            ("scope=%00bad", ""),
            ("%00scope=global", "gflbst"),
            ("a%26scope=bad", "gflbst"),
            ("scope%3d=global", "gflbst"),
            ("scope=gl%zzobal", "bad"),
            ("scope=global%", "bad"),
            ("a%zz&scope=global", "bad"),
            ("a=scope=global", "bad"),
            ("a=no-maint", "gflbst"),
            ("a=b=no-maint", "bad"),
            ("Scope=global", "gflbst"),
        ] {
            assert_eq!(shown(query), expected, "{query}");
        }
    }
}
