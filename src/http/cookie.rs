//! Cookies, read as HAProxy 2.6's `req.cook` and `res.cook` read them (each case of the tests was tried on it).
//!
//! Of several cookies with the name the *last* one counts (manual section 7.3.6). Names are case-sensitive; white space around
//! name and value is dropped; quotes stay part of the value and hide separators; a comma separates as a semicolon does. In
//! Set-Cookie only what comes first is a cookie, its attributes are skipped.

use super::header::{HeaderTable, Known};

/// Value of the last cookie `name` in the Cookie headers; the first of all cookies when `name` is empty.
pub fn request_cookie<'a>(
    headers: &'a HeaderTable,
    buffer: &'a [u8],
    name: &'a [u8],
) -> Option<&'a [u8]> {
    pick(request_cookies(headers, buffer, name), name)
}

/// Value of the last cookie `name` in the Set-Cookie headers; the first of all cookies when `name` is empty.
pub fn response_cookie<'a>(
    headers: &'a HeaderTable,
    buffer: &'a [u8],
    name: &'a [u8],
) -> Option<&'a [u8]> {
    pick(response_cookies(headers, buffer, name), name)
}

/// Values of all cookies `name` (of all cookies when it is empty) in the Cookie headers, in order.
pub fn request_cookies<'a>(
    headers: &'a HeaderTable,
    buffer: &'a [u8],
    name: &'a [u8],
) -> impl Iterator<Item = &'a [u8]> + 'a {
    named(headers, buffer, name, Known::Cookie)
}

/// Values of all cookies `name` (of all cookies when it is empty) in the Set-Cookie headers, in order.
pub fn response_cookies<'a>(
    headers: &'a HeaderTable,
    buffer: &'a [u8],
    name: &'a [u8],
) -> impl Iterator<Item = &'a [u8]> + 'a {
    named(headers, buffer, name, Known::SetCookie)
}

fn pick<'a>(mut values: impl Iterator<Item = &'a [u8]>, name: &[u8]) -> Option<&'a [u8]> {
    if name.is_empty() {
        values.next()
    } else {
        values.last()
    }
}

fn named<'a>(
    headers: &'a HeaderTable,
    buffer: &'a [u8],
    name: &'a [u8],
    field: Known,
) -> impl Iterator<Item = &'a [u8]> + 'a {
    headers
        .find_known(buffer, field)
        // HAProxy does not look into a header that has no room for the name, `=` and one byte.
        .filter(move |(_, text)| text.len() >= name.len() + 2)
        .flat_map(move |(_, text)| Pairs {
            rest: text,
            has_attributes: field == Known::SetCookie,
        })
        .filter(move |(found, _)| {
            if name.is_empty() {
                found.first() != Some(&b'$')
            } else {
                *found == name
            }
        })
        .map(|(_, value)| value)
}

/// The `name=value` pairs of one header value.
struct Pairs<'a> {
    rest: &'a [u8],
    /// What follows a pair after a semicolon are its attributes.
    has_attributes: bool,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let name_end = self
                .rest
                .iter()
                .position(|b| matches!(b, b'=' | b';' | b','))
                .unwrap_or(self.rest.len());
            let name = self.rest[..name_end].trim_ascii();
            if self.rest.get(name_end) != Some(&b'=') {
                self.rest = self.rest.get(name_end + 1..).unwrap_or_default();
                continue;
            }
            let text = &self.rest[name_end + 1..];
            let value_end = separator(text, |b| matches!(b, b';' | b','));
            self.skip_to_next(name_end + 1 + value_end);
            return Some((name, text[..value_end].trim_ascii()));
        }
        None
    }
}

impl Pairs<'_> {
    /// Moves behind the separator at `at` that ends a value; behind the attributes, too.
    fn skip_to_next(&mut self, at: usize) {
        let mut end = at;
        if self.has_attributes && self.rest.get(at) == Some(&b';') {
            end = at + separator(&self.rest[at..], |b| b == b',');
        }
        self.rest = self.rest.get(end + 1..).unwrap_or_default();
    }
}

/// Offset of the first separator outside quotes, or the length.
fn separator(text: &[u8], is_separator: impl Fn(u8) -> bool) -> usize {
    let mut quoted = false;
    let mut escaped = false;
    for (index, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            byte if !quoted && is_separator(*byte) => return index,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, lines: &[&str]) -> HeaderTable {
        let mut table = HeaderTable::new(10, 1000);
        for line in lines {
            table.insert(name.as_bytes(), line.as_bytes()).unwrap();
        }
        table
    }

    fn text(value: Option<&[u8]>) -> Option<String> {
        value.map(|v| String::from_utf8_lossy(v).into_owned())
    }

    #[test]
    fn request_cookies_as_haproxy_reads_them() {
        let check = |lines: &[&str], expected: Option<&str>| {
            let table = table("Cookie", lines);
            assert_eq!(
                text(request_cookie(&table, b"", b"A")).as_deref(),
                expected,
                "{lines:?}"
            );
        };
        check(&["A=1"], Some("1"));
        check(&["A=1; B=2"], Some("1"));
        check(&["B=2;A=1"], Some("1"));
        check(&["B=2 ; A = 1 ; C=3"], Some("1"));
        check(&["A=\"1;2\"; B=3"], Some("\"1;2\""));
        check(&["A=\"a\\\"b\"; A=2"], Some("2"));
        check(&["A="], None);
        check(&["A=1; A="], Some(""));
        check(&["A"], None);
        check(&["A; A=2"], Some("2"));
        check(&["A=1;A=2;A=3"], Some("3"));
        check(&["a=1"], None);
        check(&["A=1,2"], Some("1"));
        check(&["B=1, A=2"], Some("2"));
        check(&["A=1; $A=2"], Some("1"));
        check(&["A=1=2"], Some("1=2"));
        check(&["A=1 2"], Some("1 2"));
        check(&["A=1\t"], Some("1"));
        check(&["B=\"x; A=5\"; A=7"], Some("7"));
        check(&["B=\"x; A=5"], None);
        check(&["B=x\"; A=5"], None);
        check(&["AA=1; A=2"], Some("2"));
        check(&[";;A=1"], Some("1"));
        check(&["A=\"1"], Some("\"1"));
        check(&["A=a\\;b"], Some("a\\"));
        check(&["=5; A=1"], Some("1"));
        check(&["B=1 A=2"], None);
        check(&["\"A\"=1"], None);
        check(&["A=1", "A=2"], Some("2"));
        check(&["A=1", "A="], Some("1"));
        check(&["B=1", "A=2"], Some("2"));
        check(&[], None);
    }

    #[test]
    fn response_cookies_as_haproxy_reads_them() {
        let check = |lines: &[&str], expected: Option<&str>| {
            let table = table("Set-Cookie", lines);
            assert_eq!(
                text(response_cookie(&table, b"", b"A")).as_deref(),
                expected,
                "{lines:?}"
            );
        };
        check(&["A=1; Path=/"], Some("1"));
        check(&["B=2, A=1"], Some("1"));
        check(&["A=\"1;2\"; x"], Some("\"1;2\""));
        check(&["A=1", "A=2"], Some("2"));
        check(&["B=1; A=2"], None);
        check(&["A = 1 ; b"], Some("1"));
        check(&["A="], None);
        check(&["B=1; Expires=Mon, A=3"], Some("3"));
        check(&["A=1 2; x"], Some("1 2"));
        check(&["A; A=2"], Some("2"));
        check(&["B=1; x, A=2; y"], Some("2"));
        check(&["B=\"x, A=5\"; y, A=7"], Some("7"));
    }

    #[test]
    fn no_name_means_the_first_cookie() {
        let table = table("cookie", &["$V=1; A=1; B=2"]);
        assert_eq!(text(request_cookie(&table, b"", b"")).as_deref(), Some("1"));
        let values: Vec<_> = request_cookies(&table, b"", b"").collect();
        assert_eq!(values, [b"1", b"2"]);
    }
}
