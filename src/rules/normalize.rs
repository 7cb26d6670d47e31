//! `normalize-uri`: one spelling for targets that mean the same (configuration manual, "http-request normalize-uri").
//!
//! Each normalizer is a function from path and query to path and query, tried against HAProxy 2.6.

use crate::http::ByteRange;
use crate::sample::format::Line;

/// What is brought into one form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalizer {
    /// `fragment-encode`: `#` as `%23`.
    FragmentEncode,
    /// `fragment-strip`: nothing from `#` on.
    FragmentStrip,
    /// `path-merge-slashes`.
    MergeSlashes,
    /// `path-strip-dot`: `/./`.
    StripDot,
    /// `path-strip-dotdot`: `/a/../`; `full`: also those that lead above the root.
    StripDotDot {
        /// `full`.
        full: bool,
    },
    /// `percent-decode-unreserved`; `strict`: a wrong escape is an error.
    DecodeUnreserved {
        /// `strict`.
        strict: bool,
    },
    /// `percent-to-uppercase`; `strict`: a wrong escape is an error.
    UppercaseEscapes {
        /// `strict`.
        strict: bool,
    },
    /// `query-sort-by-name`.
    SortQuery,
}

impl Normalizer {
    /// Appends the normal form of `pathq`; whether that is another one. `None`: it has none.
    pub(super) fn run(self, pathq: &[u8], out: &mut Line) -> Option<bool> {
        let mark = pathq.iter().position(|byte| *byte == b'?');
        let (path, query) = pathq.split_at(mark.unwrap_or(pathq.len()));
        match self {
            Normalizer::FragmentEncode => encode_fragment(pathq, out),
            Normalizer::FragmentStrip => {
                let end = pathq.iter().position(|byte| *byte == b'#');
                out.push(&pathq[..end.unwrap_or(pathq.len())]);
            }
            Normalizer::MergeSlashes => {
                let mut before = 0;
                for &byte in path {
                    if byte != b'/' || before != b'/' {
                        out.push_byte(byte);
                    }
                    before = byte;
                }
                out.push(query);
            }
            Normalizer::StripDot => {
                strip_dot(path, out);
                out.push(query);
            }
            Normalizer::StripDotDot { full } => {
                strip_dotdot(path, full, out);
                out.push(query);
            }
            Normalizer::DecodeUnreserved { strict } => {
                map_escapes(pathq, strict, out, |value, digits, out| {
                    if value.is_ascii_alphanumeric() || b"-._~".contains(&value) {
                        out.push_byte(value);
                    } else {
                        out.push(&[b'%', digits[0], digits[1]]);
                    }
                })?;
            }
            Normalizer::UppercaseEscapes { strict } => {
                map_escapes(pathq, strict, out, |_, digits, out| {
                    let [high, low] = digits.map(|digit| digit.to_ascii_uppercase());
                    out.push(&[b'%', high, low]);
                })?;
            }
            Normalizer::SortQuery => {
                out.push(path);
                sort_query(query, out);
            }
        }
        Some(out.as_bytes() != pathq)
    }
}

fn encode_fragment(pathq: &[u8], out: &mut Line) {
    for &byte in pathq {
        match byte {
            b'#' => out.push(b"%23"),
            _ => out.push_byte(byte),
        }
    }
}

/// `/./` becomes `/`, a last `/.` too.
fn strip_dot(path: &[u8], out: &mut Line) {
    let mut segments = path.split(|byte| *byte == b'/').peekable();
    let mut is_first = true;
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        if segment == b"." && !is_first {
            if is_last {
                out.push_byte(b'/');
            }
            continue;
        }
        if !is_first {
            out.push_byte(b'/');
        }
        out.push(segment);
        is_first = false;
    }
}

/// `/a/..` goes; what would lead above the root stays, or goes too with `full`.
fn strip_dotdot(path: &[u8], full: bool, out: &mut Line) {
    let start = out.as_bytes().len();
    // Nothing before this may be taken back: it leads above the root.
    let mut kept = start;
    let mut segments = path.split(|byte| *byte == b'/');
    // What stands before the first slash.
    out.push(segments.next().unwrap_or_default());
    kept += out.as_bytes().len() - start;
    let mut segments = segments.peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        if segment != b".." {
            out.push_byte(b'/');
            out.push(segment);
            continue;
        }
        let written = out.as_bytes();
        match written[kept..].iter().rposition(|byte| *byte == b'/') {
            Some(slash) => out.truncate(kept + slash),
            None if full => {}
            None => {
                out.push(b"/..");
                kept = out.as_bytes().len();
            }
        }
        if is_last {
            out.push_byte(b'/');
        }
    }
}

/// Copies, and gives each `%XX` with its value to `write`.
fn map_escapes(
    text: &[u8],
    strict: bool,
    out: &mut Line,
    write: impl Fn(u8, [u8; 2], &mut Line),
) -> Option<()> {
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            out.push_byte(byte);
            continue;
        }
        let digit = |at: usize| after.get(at).and_then(|byte| (*byte as char).to_digit(16));
        match (digit(0), digit(1)) {
            (Some(high), Some(low)) => {
                write((high * 16 + low) as u8, [after[0], after[1]], out);
                rest = &after[2..];
            }
            _ if strict => return None,
            _ => out.push_byte(byte),
        }
    }
    Some(())
}

/// Parameters that are sorted without an allocation.
const FEW_PARAMETERS: usize = 128;

/// The parameters in the order of their names; those of one name keep theirs.
fn sort_query(query: &[u8], out: &mut Line) {
    let Some(parameters) = query.strip_prefix(b"?") else {
        return out.push(query);
    };
    let mut few = [ByteRange::default(); FEW_PARAMETERS];
    let mut many = Vec::new();
    let count = parameters.split(|byte| *byte == b'&').count();
    let places = match few.get_mut(..count) {
        Some(few) => few,
        None => {
            many.resize(count, ByteRange::default());
            &mut many[..]
        }
    };
    let mut start = 0;
    let all = parameters.split(|byte| *byte == b'&');
    for (place, parameter) in places.iter_mut().zip(all) {
        *place = ByteRange::new(start, start + parameter.len());
        start += parameter.len() + 1;
    }
    let name = |place: &ByteRange| {
        let mut words = place.of(parameters).split(|byte| *byte == b'=');
        words.next().unwrap_or_default()
    };
    // Unstable, so that nothing is allocated; the places themselves settle ties.
    places.sort_unstable_by(|a, b| name(a).cmp(name(b)).then(a.start.cmp(&b.start)));
    let mut separator = b'?';
    for place in places {
        out.push_byte(separator);
        out.push(place.of(parameters));
        separator = b'&';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(normalizer: Normalizer, pathq: &str) -> Option<String> {
        let mut out = Line::with_limit(1000);
        normalizer.run(pathq.as_bytes(), &mut out)?;
        Some(String::from_utf8_lossy(out.as_bytes()).into_owned())
    }

    #[test]
    fn each_has_its_form() {
        let check = |normalizer, pathq, expected: &str| {
            assert_eq!(
                normal(normalizer, pathq).as_deref(),
                Some(expected),
                "{pathq}"
            );
        };
        use Normalizer::*;
        check(MergeSlashes, "//a///b?c//d", "/a/b?c//d");
        check(StripDot, "/./a/./b/.", "/a/b/");
        check(StripDot, "/a/.b/./?./.", "/a/.b/?./.");
        let (some, full) = (StripDotDot { full: false }, StripDotDot { full: true });
        check(some, "/a/../b", "/b");
        check(some, "/a/b/..", "/a/");
        check(some, "/../a", "/../a");
        check(some, "/..", "/../");
        check(some, "/a//../b", "/a/b");
        check(full, "/a/../../../b/", "/b/");
        check(full, "/../a/../..", "/");
        check(some, "/a/../../b", "/../b");
        let decode = DecodeUnreserved { strict: false };
        check(decode, "/%61%2f%7E%zz", "/a%2f~%zz");
        assert_eq!(normal(DecodeUnreserved { strict: true }, "/%zz"), None);
        check(UppercaseEscapes { strict: false }, "/%ab?%cd", "/%AB?%CD");
        check(SortQuery, "/?c=1&a=2&b=3&a=1", "/?a=2&a=1&b=3&c=1");
        check(FragmentStrip, "/a#b", "/a");
        check(FragmentEncode, "/a#b", "/a%23b");
    }

    #[test]
    fn sorting_keeps_the_order_of_equal_names() {
        let many: Vec<String> = (0..500).map(|n| format!("{}={n}", n % 2)).collect();
        let sorted = normal(Normalizer::SortQuery, &format!("/?{}", many.join("&")));
        assert!(sorted.is_some_and(|text| text.starts_with("/?0=0&0=2&0=4")));
        assert_eq!(
            normal(Normalizer::SortQuery, "/?b&a&b=1&a=0").as_deref(),
            Some("/?a&a=0&b&b=1")
        );
    }
}
