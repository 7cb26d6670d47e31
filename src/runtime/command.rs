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

/// One line: its commands are parsed when they are asked for, so that thousands of them on a line take no memory but the line's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Without its newline and what announces a payload.
    bytes: Vec<u8>,
    /// Where the next command begins; `None` once all were taken.
    next: Option<usize>,
    /// The line announces a payload, which ends with a line equal to this.
    pub payload_end: Option<Vec<u8>>,
    payload: Option<Vec<u8>>,
}

impl Line {
    /// Takes in `line`, its newline taken off.
    pub fn new(line: &[u8]) -> Line {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (line, payload_end) = split_payload_mark(line);
        Line {
            bytes: line.to_vec(),
            next: Some(0),
            payload_end,
            payload: None,
        }
    }

    /// Parses the next command, in the order in which they run. Where nothing stands between two `;`, before the first or
    /// after the last one, there is a command without words.
    pub fn next_command(&mut self) -> Option<Command> {
        let start = self.next.take()?;
        let mut command = Command::default();
        let mut word: Option<Vec<u8>> = None;
        let mut bytes = self.bytes.iter().enumerate().skip(start);
        while let Some((at, &byte)) = bytes.next() {
            match byte {
                b' ' | b'\t' => end_word(&mut command, &mut word),
                b';' => {
                    self.next = Some(at + 1);
                    break;
                }
                b'\\' => match bytes.next() {
                    Some((_, &escaped)) => word.get_or_insert_default().push(escaped),
                    None => word.get_or_insert_default().push(b'\\'),
                },
                _ => word.get_or_insert_default().push(byte),
            }
        }
        end_word(&mut command, &mut word);
        if self.next.is_none() {
            command.payload = self.payload.take();
        }
        Some(command)
    }

    /// Whether all commands were taken.
    pub fn is_over(&self) -> bool {
        self.next.is_none()
    }

    /// Gives the payload to the last command.
    pub fn set_payload(&mut self, payload: Vec<u8>) {
        self.payload = Some(payload);
    }
}

fn end_word(command: &mut Command, word: &mut Option<Vec<u8>>) {
    if let Some(word) = word.take()
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

    fn all(line: &mut Line) -> Vec<Command> {
        std::iter::from_fn(|| line.next_command()).collect()
    }

    fn check(line: &str, expected: &[&[&str]]) {
        let parsed = all(&mut Line::new(line.as_bytes()));
        let words: Vec<Vec<&str>> = parsed
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
            let mut parsed = Line::new(line.as_bytes());
            parsed.set_payload(b"x\n".to_vec());
            assert_eq!(
                parsed.payload_end.as_deref(),
                mark.map(str::as_bytes),
                "{line:?}"
            );
            let commands = all(&mut parsed);
            assert!(parsed.is_over());
            assert_eq!(commands[0].words().len(), words, "{line:?}");
            let (last, before) = commands.split_last().expect("a command");
            assert_eq!(last.payload.as_deref(), Some(&b"x\n"[..]), "{line:?}");
            assert!(before.iter().all(|command| command.payload.is_none()));
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
            assert!(!all(&mut Line::new(&bytes)).is_empty());
        }
    }
}
