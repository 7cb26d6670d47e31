//! Files of patterns and maps: a line each. Leading blanks, empty lines and lines that begin with a sharp do not count.
//!
//! Of a map's line, what precedes the first blank is the pattern, and what follows the blanks is the value.
//!
//! Not here: what a pattern is (`method`).

use super::set::PatternSet;

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Pattern and value of a line; the value of a file without values is none, that of one with values may be empty.
pub(super) fn split(line: &[u8], has_values: bool) -> Option<(&[u8], Option<&[u8]>)> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.starts_with(b"#") {
        return None;
    }
    let start = line.iter().position(|byte| !is_blank(byte))?;
    let line = &line[start..];
    if !has_values {
        return Some((line, None));
    }
    let end = line.iter().position(is_blank).unwrap_or(line.len());
    let (pattern, value) = line.split_at(end);
    let start = value.iter().position(|byte| !is_blank(byte));
    let value = start.map_or(&[][..], |start| &value[start..]);
    let end = value.iter().rposition(|byte| !is_blank(byte));
    Some((pattern, Some(end.map_or(&[][..], |end| &value[..=end]))))
}

/// Adds the lines of a file to a set.
pub(in crate::sample) fn load(set: &PatternSet, text: &[u8]) {
    for (line, number) in text.split(|byte| *byte == b'\n').zip(1..) {
        if let Some((pattern, value)) = split(line, set.has_values) {
            set.load(pattern, value, number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let check = |line: &str, expected: Option<(&str, &str)>| {
            let found = split(line.as_bytes(), true);
            let expected =
                expected.map(|(pattern, value)| (pattern.as_bytes(), Some(value.as_bytes())));
            assert_eq!(found, expected, "{line}");
        };
        check("a b", Some(("a", "b")));
        check(" \ta \t b c \r", Some(("a", "b c")));
        check("a", Some(("a", "")));
        check("", None);
        check("  ", None);
        check("# a b", None);
        check(" # b", Some(("#", "b")));
        assert_eq!(split(b" a b ", false), Some((&b"a b "[..], None)));
    }
}
