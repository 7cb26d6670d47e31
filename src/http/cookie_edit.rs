//! Cookies taken out of, or shortened in, one `Cookie` line, as HAProxy 2.6 does for its persistence cookie (each case of the tests was
//! tried on it).
//!
//! A cookie that goes takes the attributes behind it along (names that begin with `$`); the separator before it stays,
//! followed by one space. A line of which only attributes are left goes as a whole.
//!
//! Not here: which cookie is meant and why (`stream::cookies`).

use super::cookie::Cookie;
use super::range::ByteRange;

/// What is to become of a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieEdit {
    /// It stays.
    Keep,
    /// It goes.
    Remove,
    /// So many bytes at the start of its value go.
    Cut(usize),
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEdit {
    /// Nothing was changed.
    Unchanged,
    /// It has another value.
    Changed,
    /// Nothing is left of it.
    Gone,
}

/// Walks over the cookies of `line` (a header's value) and does with each one called `name` what `judge` says to its value.
pub fn edit_cookies(
    line: &mut Vec<u8>,
    name: &[u8],
    mut judge: impl FnMut(&[u8]) -> CookieEdit,
) -> LineEdit {
    let mut outcome = LineEdit::Unchanged;
    // The separator before a cookie that goes; the first cookie has none.
    let mut going: Option<Option<usize>> = None;
    let mut has_others = false;
    let (mut start, mut separator) = (0, None);
    loop {
        let cookie = Cookie::read(line, start);
        let is_attribute = cookie.name.starts_with(b"$");
        if let Some(from) = going.filter(|_| !is_attribute) {
            going = None;
            separator = remove(line, from, start);
            start = separator.map_or(0, |at| at + 1);
            outcome = LineEdit::Changed;
            // This cookie has moved: it is read again.
            continue;
        }
        let value = cookie.value.filter(|_| cookie.name == name);
        let is_other = !is_attribute && (cookie.value.is_some() || !cookie.name.is_empty());
        let (mut end, range) = (
            cookie.end - 1,
            value.map(|value| ByteRange::locate(value, line)),
        );
        let edit = value.map(&mut judge);
        match (edit, range) {
            (Some(CookieEdit::Remove), _) => going = Some(separator),
            (Some(CookieEdit::Cut(count)), Some(range)) => {
                let from = range.start as usize;
                line.drain(from..from + count);
                end -= count;
                outcome = LineEdit::Changed;
                has_others = true;
            }
            _ => has_others |= is_other,
        }
        if end >= line.len() {
            break;
        }
        separator = Some(end);
        start = end + 1;
    }
    if let Some(from) = going {
        if !has_others {
            return LineEdit::Gone;
        }
        line.truncate(text_end(line, from.unwrap_or(0)));
        return LineEdit::Changed;
    }
    match line.is_empty() && outcome == LineEdit::Changed {
        true => LineEdit::Gone,
        false => outcome,
    }
}

/// Takes out what stands between the separator `from` and `next`, where the next cookie begins; returns where the separator before
/// that one is now.
fn remove(line: &mut Vec<u8>, from: Option<usize>, next: usize) -> Option<usize> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let rest = line[next..]
        .iter()
        .position(|byte| !is_space(byte))
        .map_or(line.len(), |at| next + at);
    // At the very start nothing is left to be separated from.
    let Some(at) = from.filter(|at| *at > 0) else {
        line.drain(..rest);
        return None;
    };
    let separator = line[at];
    let start = text_end(line, at);
    line.splice(start..rest, [separator, b' ']);
    Some(start)
}

/// Where the text before a place ends, without the spaces between.
fn text_end(line: &[u8], at: usize) -> usize {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    line[..at]
        .iter()
        .rposition(|byte| !is_space(byte))
        .map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str, what: CookieEdit) -> Option<String> {
        let mut line = text.as_bytes().to_vec();
        match edit_cookies(&mut line, b"SRV", |_| what) {
            LineEdit::Gone => None,
            _ => Some(String::from_utf8(line).unwrap()),
        }
    }

    #[test]
    fn cookies_are_removed_as_haproxy_removes_them() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(
                edited(text, CookieEdit::Remove).as_deref(),
                expected,
                "{text}"
            );
        };
        check("a=1; b=2", Some("a=1; b=2"));
        check("SRV=c2", None);
        check("a=1;SRV=c2;b=3", Some("a=1; b=3"));
        check("a=1 ; SRV=c2 ; b=3", Some("a=1; b=3"));
        check("a=1;   SRV=c2;   b=3", Some("a=1; b=3"));
        check("a=1,SRV=c2,b=3", Some("a=1, b=3"));
        check("SRV=c2  ;  b=3", Some("b=3"));
        check("SRV=c2; SRV=c1; b=3", Some("b=3"));
        check("a=1; SRV=c2;", Some("a=1; "));
        check("SRV=c2;", None);
        check("SRV=; b=3", Some("b=3"));
        check("b=3; SRV=", Some("b=3"));
        check("SRV", Some("SRV"));
        check(
            "$Version=1; SRV=c2; $Path=/; b=3; $Path=/x",
            Some("$Version=1; b=3; $Path=/x"),
        );
        check("$Version=1; SRV=c2", None);
        check("; SRV=c2;; b=3", Some("; b=3"));
        check("SRV=c2; foo; b=3", Some("foo; b=3"));
        check("foo; SRV=c2; b=3", Some("foo; b=3"));
        check("a=1; SRV=c2; foo", Some("a=1; foo"));
        check("foo; SRV=c2", Some("foo"));
    }

    #[test]
    fn values_are_cut_at_their_start() {
        let cut = |text: &str| edited(text, CookieEdit::Cut(3)).unwrap();
        assert_eq!(cut("SRV=c2~old"), "SRV=old");
        assert_eq!(cut("a=b; SRV=c2~old; c=d"), "a=b; SRV=old; c=d");
        assert_eq!(cut("SRV=c2~"), "SRV=");
    }

    #[test]
    fn any_line_is_read_to_its_end() {
        let bytes = b"S=;, $\"";
        let mut line = Vec::new();
        for number in 0..bytes.len().pow(6) {
            line.clear();
            let mut rest = number;
            for _ in 0..6 {
                line.push(bytes[rest % bytes.len()]);
                rest /= bytes.len();
            }
            let before = line.len();
            edit_cookies(&mut line, b"S", |_| CookieEdit::Remove);
            assert!(line.len() <= before + 1);
        }
    }
}
