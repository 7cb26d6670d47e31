//! Cookies of one header line, read as HAProxy reads them for `req.cook` and `res.cook`.

/// Which header the cookies are in. In Set-Cookie, what follows a cookie up to a comma are its attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CookieHeader {
    Cookie,
    SetCookie,
}

/// The next value of the cookie `name` (of any cookie when it is empty) in `line`, from `offset` on, which moves behind it.
///
/// Names are case-sensitive and none begins with `$`; spaces around names and values do not count; a value in double
/// quotes keeps them. HAProxy stops where less than a name, an `=` and one more byte are left: so an empty value at the very
/// end of a line is seen only with a space before its name.
pub(super) fn next_cookie<'l>(
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

struct Cookie<'l> {
    name: &'l [u8],
    /// `None`: there was no `=`.
    value: Option<&'l [u8]>,
    separator: Option<u8>,
    /// Offset after the separator.
    end: usize,
}

impl<'l> Cookie<'l> {
    fn read(line: &'l [u8], start: usize) -> Cookie<'l> {
        let text = line.get(start..).unwrap_or_default();
        let is_end = |byte: u8| byte == b';' || byte == b',';
        let name_end = text
            .iter()
            .position(|&byte| byte == b'=' || is_end(byte))
            .unwrap_or(text.len());
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
        let mut at = name_end + 1;
        let mut quoted = false;
        while let Some(&byte) = text.get(at) {
            match byte {
                b'"' => quoted = !quoted,
                b'\\' if quoted => at += 1,
                _ if !quoted && is_end(byte) => break,
                _ => {}
            }
            at += 1;
        }
        let at = at.min(text.len());
        let value = Some(trim(&text[name_end + 1..at]));
        Cookie {
            name,
            value,
            separator: text.get(at).copied(),
            end: start + at + 1,
        }
    }
}

/// Without the spaces and tabs around it.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}
