//! Cookies of one header line, read as HAProxy 2.6 reads them for `req.cook` and `res.cook` (each case of the tests was tried
//! on it).
//!
//! Quotes stay part of the value and hide separators; a comma separates as a semicolon does. In Set-Cookie only what comes
//! first is a cookie, its attributes are skipped.
//! Not here: which of several values an expression wants (`sample`).

/// Which header the cookies are in. In Set-Cookie, what follows a cookie up to a comma are its attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieHeader {
    /// `Cookie`, of a request.
    Cookie,
    /// `Set-Cookie`, of a response.
    SetCookie,
}

/// The next value of the cookie `name` (of any cookie when it is empty) in `line`, from `offset` on, which moves behind it.
///
/// Names are case-sensitive and none begins with `$`; spaces around names and values do not count; a value in double
/// quotes keeps them. HAProxy stops where less than a name, an `=` and one more byte are left: so an empty value at the very
/// end of a line is seen only with a space before its name.
pub fn next_cookie<'l>(
    line: &'l [u8],
    offset: &mut usize,
    name: &[u8],
    header: CookieHeader,
) -> Option<&'l [u8]> {
    while *offset + name.len() + 1 < line.len() {
        let cookie = Cookie::read(line, *offset);
        *offset = cookie.end;
        let Some(value) = cookie.value else { continue };
        let wanted = !cookie.name.starts_with(b"$") && (name.is_empty() || name == cookie.name);
        if header == CookieHeader::SetCookie && !name.is_empty() {
            let attributes = line.get(*offset..).unwrap_or_default();
            let comma = attributes.iter().position(|&byte| byte == b',');
            // the separator itself was passed: a comma there ended the attributes already
            if cookie.separator != Some(b',') {
                *offset = comma.map_or(line.len(), |at| *offset + at + 1);
            }
        }
        if wanted {
            return Some(value);
        }
    }
    None
}

/// One cookie of a line.
#[derive(Debug)]
pub struct Cookie<'l> {
    /// Its name, without the spaces around it.
    pub name: &'l [u8],
    /// Its value, without the spaces around it. `None`: there was no `=`.
    pub value: Option<&'l [u8]>,
    separator: Option<u8>,
    /// Offset after the separator; without one, one more than the length of the line.
    pub end: usize,
}

impl<'l> Cookie<'l> {
    /// Reads the cookie that starts at an offset.
    pub fn read(line: &'l [u8], start: usize) -> Cookie<'l> {
        let text = line.get(start..).unwrap_or_default();
        let name_end = memchr::memchr3(b'=', b';', b',', text).unwrap_or(text.len());
        let name = trim(&text[..name_end]);
        if text.get(name_end) != Some(&b'=') {
            let separator = text.get(name_end).copied();
            return Cookie {
                name,
                value: None,
                separator,
                end: start + name_end + 1,
            };
        }
        let at = name_end + 1 + value_end(&text[name_end + 1..]);
        let value = Some(trim(&text[name_end + 1..at]));
        Cookie {
            name,
            value,
            separator: text.get(at).copied(),
            end: start + at + 1,
        }
    }
}

/// Offset of the separator that ends the value which `text` begins with: one in double quotes ends nothing.
fn value_end(text: &[u8]) -> usize {
    // Hardly any value has quotes.
    let mut at = memchr::memchr3(b';', b',', b'"', text).unwrap_or(text.len());
    let mut quoted = false;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => at += 1,
            b';' | b',' if !quoted => break,
            _ => {}
        }
        at += 1;
    }
    at.min(text.len())
}

/// Without the spaces and tabs around it.
pub fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All values of the cookie in these lines, in order.
    fn values<'l>(lines: &[&'l str], name: &str, header: CookieHeader) -> Vec<&'l str> {
        let mut found = Vec::new();
        for line in lines {
            let mut offset = 0;
            while let Some(value) =
                next_cookie(line.as_bytes(), &mut offset, name.as_bytes(), header)
            {
                found.push(str::from_utf8(value).unwrap());
            }
        }
        found
    }

    #[test]
    fn request_cookies_as_haproxy_reads_them() {
        let check = |lines: &[&str], expected: Option<&str>| {
            let values = values(lines, "A", CookieHeader::Cookie);
            assert_eq!(values.last().copied(), expected, "{lines:?}");
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
            let values = values(lines, "A", CookieHeader::SetCookie);
            assert_eq!(values.last().copied(), expected, "{lines:?}");
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
    fn no_name_means_every_cookie() {
        let found = values(&["$V=1; A=1; B=2"], "", CookieHeader::Cookie);
        assert_eq!(found, ["1", "2"]);
    }
}
