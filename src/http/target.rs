//! Parts of a request target, as HAProxy's `path`, `query` and `urlp` see them. Pure functions on slices.

use super::method::Method;

/// The path of a target: from the first `/` (after the authority of an absolute target) to `?` or the end; `None` for `*`, for
/// an authority, and for an absolute target without path.
pub fn path(target: &[u8]) -> Option<&[u8]> {
    path_and_query(target).map(|path| &path[..position(path, b'?').unwrap_or(path.len())])
}

/// What follows the first `?`; empty when there is none.
pub fn query(target: &[u8]) -> &[u8] {
    match position(target, b'?') {
        Some(at) => &target[at + 1..],
        None => &[],
    }
}

/// Path and query (`pathq`).
pub fn path_and_query(target: &[u8]) -> Option<&[u8]> {
    if target.first() == Some(&b'/') {
        return Some(target);
    }
    let from = authority_start(target)?;
    let rest = &target[from..];
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?'))?;
    (rest[end] == b'/').then(|| &rest[end..])
}

/// The authority of an absolute target (`http://HOST:PORT/…`).
pub fn authority(target: &[u8]) -> Option<&[u8]> {
    let rest = &target[authority_start(target)?..];
    let end = rest
        .iter()
        .position(|b| matches!(b, b'/' | b'?' | b'#'))
        .unwrap_or(rest.len());
    Some(&rest[..end])
}

/// Value of the first parameter `name` (`urlp`); with an empty name, of the first parameter. Parameters begin after the first
/// `delimiter` (`?` when none is given) and are separated by it, by `&` and by `;`, as HAProxy 2.6 has it.
pub fn parameter<'a>(target: &'a [u8], name: &[u8], delimiter: Option<u8>) -> Option<&'a [u8]> {
    let delimiter = delimiter.unwrap_or(b'?');
    let start = position(target, delimiter)? + 1;
    target[start..]
        .split(|b| matches!(b, b'&' | b';') || *b == delimiter)
        .find_map(|pair| {
            let equals = position(pair, b'=')?;
            (name.is_empty() || pair[..equals] == *name).then(|| &pair[equals + 1..])
        })
}

/// Offset after `scheme://`.
pub(super) fn authority_start(target: &[u8]) -> Option<usize> {
    let colon = position(target, b':')?;
    let scheme = &target[..colon];
    let valid = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b));
    (valid && target[colon..].starts_with(b"://")).then_some(colon + 3)
}

/// Offset of the first byte that is wrong in a target (RFC 9112 section 3.2): forbidden bytes, then its form: a path, an
/// absolute URI, `*` for OPTIONS, an authority for CONNECT. `None`: it is a target of that method.
pub(super) fn fault(method: Method, target: &[u8]) -> Option<usize> {
    // Branch-free, so that the compiler vectorises it. The parser has seen to the rest, but not for an edited target.
    let is_bad = |byte: &u8| *byte <= b' ' || *byte >= 0x7f || *byte == b'#';
    if target.iter().fold(false, |bad, byte| bad | is_bad(byte)) {
        return Some(target.iter().position(is_bad).unwrap_or(0));
    }
    fault_of_form(method, target)
}

/// The same of its form alone; a fragment needs a path before it.
pub(super) fn fault_of_form(method: Method, target: &[u8]) -> Option<usize> {
    let valid = match (method, target.first()) {
        (Method::Connect, _) => is_authority_with_port(target),
        (_, Some(b'/')) => true,
        (Method::Options, Some(b'*')) => target.len() == 1,
        // A query right after the authority: HAProxy finds no path in it and refuses.
        _ => {
            let is_path_or_nothing = |authority: &[u8]| {
                let end = authority_start(target).unwrap_or_default() + authority.len();
                !matches!(target.get(end), Some(b'?' | b'#'))
            };
            authority(target)
                .is_some_and(|found| is_host_and_port(found) && is_path_or_nothing(found))
        }
    };
    if valid { None } else { Some(0) }
}

/// Whether `host`, the value of Host, is what the target names; a target that names no host agrees with every one.
pub(super) fn names_host(method: Method, target: &[u8], host: &[u8]) -> bool {
    let (wanted, default_port): (&[u8], &[u8]) = match method {
        Method::Connect => (
            target,
            target.rsplit(|b| *b == b':').next().unwrap_or_default(),
        ),
        _ => match authority(target) {
            None => return true,
            Some(authority) => (authority, default_port(target)),
        },
    };
    same_authority(host, wanted, default_port)
}

/// The port that the scheme of an absolute target stands for; empty when the scheme has none.
pub(super) fn default_port(target: &[u8]) -> &'static [u8] {
    match position(target, b':').map(|colon| &target[..colon]) {
        Some(scheme) if scheme.eq_ignore_ascii_case(b"http") => b"80",
        Some(scheme) if scheme.eq_ignore_ascii_case(b"https") => b"443",
        _ => b"",
    }
}

/// Bytes of a host's name.
const NAME_BYTES: [bool; 256] = {
    let mut bytes = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        bytes[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"-._~%!$&'()*+;=";
    let mut index = 0;
    while index < others.len() {
        bytes[others[index] as usize] = true;
        index += 1;
    }
    bytes
};

/// A host, an IPv4 address or an IPv6 address in brackets, and perhaps a port (RFC 3986 section 3.2 without user
/// information, and without the comma, which a reader of lists could split at).
pub(super) fn is_host_and_port(text: &[u8]) -> bool {
    let (is_host, behind) = match text.first() {
        Some(b'[') => {
            let end = text.iter().rposition(|b| *b == b']').unwrap_or(0);
            (is_ipv6(&text[1..end.max(1)]), &text[end + 1..])
        }
        _ => {
            let end = text.iter().position(|b| !NAME_BYTES[usize::from(*b)]);
            let end = end.unwrap_or(text.len());
            (end > 0, &text[end..])
        }
    };
    let is_port = |port: &[u8]| port.len() <= 5 && port.iter().all(u8::is_ascii_digit);
    is_host && (behind.is_empty() || behind.strip_prefix(b":").is_some_and(is_port))
}

/// An IPv6 address, perhaps with a zone (RFC 6874) of hexadecimal digits and dots.
fn is_ipv6(text: &[u8]) -> bool {
    let end = position(text, b'%').unwrap_or(text.len());
    let (address, zone) = text.split_at(end);
    let is_zone_byte = |b: &u8| b.is_ascii_hexdigit() || b".%".contains(b);
    let is_address = std::str::from_utf8(address)
        .is_ok_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    is_address && zone.iter().all(is_zone_byte)
}

/// `HOST:PORT`, as CONNECT wants it.
pub(super) fn is_authority_with_port(text: &[u8]) -> bool {
    is_host_and_port(text) && split_port(text).1.is_some_and(|port| !port.is_empty())
}

/// Whether two authorities are the same host and port; a missing port is `default_port`.
pub(super) fn same_authority(a: &[u8], b: &[u8], default_port: &[u8]) -> bool {
    let (host_a, port_a) = split_port(a);
    let (host_b, port_b) = split_port(b);
    let port_a = port_a
        .filter(|port| !port.is_empty())
        .unwrap_or(default_port);
    let port_b = port_b
        .filter(|port| !port.is_empty())
        .unwrap_or(default_port);
    host_a.eq_ignore_ascii_case(host_b) && port_a == port_b
}

/// Splits at the colon before the port; colons in brackets belong to the address.
fn split_port(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let from = text.iter().rposition(|b| *b == b']').unwrap_or(0);
    match position(&text[from..], b':') {
        Some(at) => (&text[..from + at], Some(&text[from + at + 1..])),
        None => (text, None),
    }
}

fn position(bytes: &[u8], wanted: u8) -> Option<usize> {
    bytes.iter().position(|b| *b == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: Option<&[u8]>) -> Option<&str> {
        bytes.map(|b| std::str::from_utf8(b).unwrap())
    }

    #[test]
    fn splits_targets() {
        let check = |target: &str, expected_path, expected_query, expected_authority| {
            assert_eq!(text(path(target.as_bytes())), expected_path, "{target}");
            assert_eq!(
                text(Some(query(target.as_bytes()))),
                Some(expected_query),
                "{target}"
            );
            assert_eq!(
                text(authority(target.as_bytes())),
                expected_authority,
                "{target}"
            );
        };
        check("/", Some("/"), "", None);
        check("/a/b?c=d?e", Some("/a/b"), "c=d?e", None);
        check("//a", Some("//a"), "", None);
        check("/x?u=http://b/", Some("/x"), "u=http://b/", None);
        check("*", None, "", None);
        check("a:80", None, "", None);
        check("http://h", None, "", Some("h"));
        check("http://h?x", None, "x", Some("h"));
        check("http://h:8080/p?q", Some("/p"), "q", Some("h:8080"));
        check("HTTPS://[::1]:1/", Some("/"), "", Some("[::1]:1"));
        check("1ttp://h/", None, "", None);
    }

    #[test]
    fn finds_parameters() {
        let check = |target: &str, name: &str, separator: Option<u8>, expected| {
            assert_eq!(
                text(parameter(target.as_bytes(), name.as_bytes(), separator)),
                expected,
                "{target} {name}"
            );
        };
        check("/a?b=1&c=2;d=3&b=4", "b", None, Some("1"));
        check("/a?b=1&c=2;d=3", "c", None, Some("2"));
        check("/a?b=1&c=2;d=3", "d", None, Some("3"));
        check("/a?bb=1", "b", None, None);
        check("/a?b", "b", None, None);
        check("/a?b=", "b", None, Some(""));
        check("/a;sid=7?x=1", "sid", Some(b';'), Some("7?x=1"));
        check("/a?sid=3;sid=4", "sid", Some(b';'), Some("4"));
        check("/a/sid=7/b=1", "sid", Some(b'/'), Some("7"));
        check("/a?b?a=1?c", "a", None, Some("1"));
        check("/a?a==1", "a", None, Some("=1"));
        check("/a?x&c=3", "", None, Some("3"));
        check("/a", "b", None, None);
    }

    #[test]
    fn judges_hosts() {
        for good in [
            "a", "a.b:80", "a_b", "[::1]", "[::1]:80", "1.2.3.4:", "a%20b",
        ] {
            assert!(is_host_and_port(good.as_bytes()), "{good}");
        }
        for bad in [
            "", ":80", "a b", "u@a", "a/b", "a,b", "[::1", "[]", "a:b", "a:123456", "a:80:80",
            "\u{e4}", "[::1]x",
        ] {
            assert!(!is_host_and_port(bad.as_bytes()), "{bad}");
        }
        assert!(same_authority(b"A", b"a:80", b"80"));
        assert!(same_authority(b"a:", b"a:80", b"80"));
        assert!(!same_authority(b"a:8080", b"a", b"80"));
        assert!(!same_authority(b"b", b"a", b"80"));
        assert!(!same_authority(b"", b"a", b"80"));
    }
}
