//! Lines to commands, commands to words (management manual, section 9.3).
//!
//! A line holds commands parted by `;`, a command words parted by blanks. A backslash takes the next character as it
//! is: `\;`, `\ `, `\\`. A line that ends with a word `<<` is followed by a payload that ends with an empty line; with
//! `<<WORD` the payload ends with a line that is `WORD`. The payload belongs to the line's last command.

/// Most words of a command; what is beyond is ignored.
const WORDS_MAX: usize = 64;

/// A command's words, and its payload if it has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    words: Vec<Vec<u8>>,
    /// Lines of the payload, with their newlines.
    pub payload: Option<Vec<u8>>,
}

impl Command {
    /// The word at `index`; empty where there is none.
    pub fn word(&self, index: usize) -> &[u8] {
        self.words.get(index).map_or(b"", Vec::as_slice)
    }

    /// The word at `index` as text; words that are no UTF-8 match no name, so what they are shown as does not matter.
    pub fn text(&self, index: usize) -> &str {
        std::str::from_utf8(self.word(index)).unwrap_or("\u{fffd}")
    }

    /// All words.
    pub fn words(&self) -> &[Vec<u8>] {
        &self.words
    }
}

/// The commands of one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// In the order in which they run.
    pub commands: Vec<Command>,
    /// The line announces a payload, which ends with a line equal to this.
    pub payload_end: Option<Vec<u8>>,
}

impl Line {
    /// Parses `line`, its newline taken off. Where nothing stands between two `;`, before the first or after the last
    /// one, there is a command without words.
    pub fn parse(line: &[u8]) -> Line {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (line, payload_end) = split_payload_mark(line);
        let mut commands = vec![Command::default()];
        let mut word: Option<Vec<u8>> = None;
        let mut bytes = line.iter();
        while let Some(&byte) = bytes.next() {
            match byte {
                b' ' | b'\t' => end_word(&mut commands, &mut word),
                b';' => {
                    end_word(&mut commands, &mut word);
                    commands.push(Command::default());
                }
                b'\\' => match bytes.next() {
                    Some(&escaped) => word.get_or_insert_default().push(escaped),
                    None => word.get_or_insert_default().push(b'\\'),
                },
                _ => word.get_or_insert_default().push(byte),
            }
        }
        end_word(&mut commands, &mut word);
        Line {
            commands,
            payload_end,
        }
    }

    /// Gives the payload to the last command.
    pub fn set_payload(&mut self, payload: Vec<u8>) {
        if let Some(last) = self.commands.last_mut() {
            last.payload = Some(payload);
        }
    }
}

fn end_word(commands: &mut [Command], word: &mut Option<Vec<u8>>) {
    if let (Some(word), Some(command)) = (word.take(), commands.last_mut())
        && command.words.len() < WORDS_MAX
    {
        command.words.push(word);
    }
}

/// Takes `<<` or `<<WORD` off the end of a line; it must stand apart from the word before it.
fn split_payload_mark(line: &[u8]) -> (&[u8], Option<Vec<u8>>) {
    let end = line
        .iter()
        .rposition(|byte| !byte.is_ascii_whitespace())
        .map_or(0, |last| last + 1);
    let start = line[..end]
        .iter()
        .rposition(|byte| matches!(byte, b' ' | b'\t'))
        .map_or(0, |blank| blank + 1);
    match line[start..end].strip_prefix(b"<<") {
        Some(mark) if !mark.contains(&b';') => (&line[..start], Some(mark.to_vec())),
        _ => (line, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &[&[&str]]) {
        let parsed = Line::parse(line.as_bytes());
        let words: Vec<Vec<&str>> = parsed
            .commands
            .iter()
            .map(|command| {
                (0..command.words().len())
                    .map(|at| command.text(at))
                    .collect()
            })
            .collect();
        assert_eq!(words, expected, "{line:?}");
    }

    #[test]
    fn words_and_commands() {
        check("show info", &[&["show", "info"]]);
        check("\tshow  info \r", &[&["show", "info"]]);
        check(
            "show info;show stat",
            &[&["show", "info"], &["show", "stat"]],
        );
        check(
            "show info ; ; show stat;",
            &[&["show", "info"], &[], &["show", "stat"], &[]],
        );
        check("", &[&[]]);
        check(";", &[&[], &[]]);
        check(
            r"set table t key a\ b\;c\\d",
            &[&["set", "table", "t", "key", r"a b;c\d"]],
        );
        check(r"a\", &[&["a\\"]]);
    }

    #[test]
    fn payload_marks() {
        let cases: [(&str, Option<&str>, usize); 6] = [
            ("set map x <<", Some(""), 3),
            ("set map x <<END ", Some("END"), 3),
            ("<<", Some(""), 0),
            ("set map x<<", None, 3),
            ("set map x << y", None, 5),
            ("show a <<E;show b", None, 3),
        ];
        for (line, mark, words) in cases {
            let parsed = Line::parse(line.as_bytes());
            assert_eq!(
                parsed.payload_end.as_deref(),
                mark.map(str::as_bytes),
                "{line:?}"
            );
            assert_eq!(parsed.commands[0].words().len(), words, "{line:?}");
        }
    }

    #[test]
    fn any_bytes_are_a_line() {
        let mut seed = 0x2545_f491_u32;
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..12)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    b" \\;<\r\ta\xff"[(seed >> 24) as usize % 8]
                })
                .collect();
            let line = Line::parse(&bytes);
            assert!(!line.commands.is_empty());
        }
    }
}
