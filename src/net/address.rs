//! Addresses as the configuration writes them (configuration manual, section 11, "bind" and "server").
//!
//! `[stream+|dgram+][FAMILY@]ADDRESS[:PORT]`, where FAMILY is `ip`, `ipv4`, `ipv6`, `tcp`, `tcp4`, `tcp6`, `udp`, `udp4`, `udp6`, `unix`, `abns`
//! or `fd`; `sockpair`, `quic4` and `quic6` are known and refused. The port follows the last colon, whatever stands before it: `::1:80`
//! is port 80 of `::1`, and `::1` is port 1 of `:`, which is no address; `[::1]` has no port.
//! Not here: opening sockets; whether an inherited descriptor is a socket.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::RawFd;
use std::path::PathBuf;

/// Where to listen or connect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// IPv4 or IPv6 address with port.
    Inet(SocketAddr),
    /// Unix socket in the file system (`unix@PATH`, or a word that starts with `/`).
    Unix(PathBuf),
    /// Unix socket in the abstract name space (`abns@NAME`).
    Abstract(Vec<u8>),
    /// A socket inherited from whoever started us (`fd@N`).
    Fd(RawFd),
}

impl fmt::Display for Address {
    /// The address as the configuration would write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Inet(SocketAddr::V4(address)) => write!(f, "{address}"),
            Address::Inet(SocketAddr::V6(address)) => {
                write!(f, "{}:{}", address.ip(), address.port())
            }
            Address::Unix(path) => write!(f, "unix@{}", path.display()),
            Address::Abstract(name) => write!(f, "abns@{}", String::from_utf8_lossy(name)),
            Address::Fd(fd) => write!(f, "fd@{fd}"),
        }
    }
}

/// What the place of an address allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// `bind`, `stats socket`: a stream; a port or a range of ports is required; `fd@` is allowed.
    Listen,
    /// `server`: a stream; the port is optional and may be an offset (`+1000`).
    Server,
    /// A peer to dial: a stream; one port.
    Peer,
    /// `log`: a datagram; the port is optional; `fd@` is allowed.
    Datagram,
    /// `source`, `addr` of a check: an IP address, the port is optional.
    Plain,
}

/// What an address with its ports means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The address, with the first port of a range, or port 0.
    pub address: Address,
    /// Last port of a range; the address's own port when there is no range.
    pub last_port: u16,
    /// The port of a server when it is not fixed: what is added to the port that the client connected to.
    pub offset: Option<i32>,
}

/// Why an address was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// In HAProxy's words.
    Invalid(String),
    /// The address is well-formed, but its host cannot be resolved. `Display` says `invalid address`, as HAProxy does for
    /// all but servers.
    Unresolved {
        /// The host.
        host: String,
        /// The whole word.
        word: String,
    },
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddressError::Invalid(text) => f.write_str(text),
            AddressError::Unresolved { host, word } => {
                write!(f, "invalid address: '{host}' in '{word}'")
            }
        }
    }
}

impl std::error::Error for AddressError {}

/// Which IP addresses a prefix admits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Any,
    V4,
    V6,
}

/// Parses one address; host names are resolved now.
///
/// # Errors
/// In HAProxy's words; see [`AddressError`].
pub fn parse(word: &str, usage: Usage) -> Result<Parsed, AddressError> {
    let invalid = |text: String| Err(AddressError::Invalid(text));
    if word.is_empty() {
        return invalid("'' resolves to an empty address (environment variable missing?)".into());
    }
    let mut rest = word;
    let mut datagram = usage == Usage::Datagram;
    if let Some(after) = rest.strip_prefix("stream+") {
        (rest, datagram) = (after, false);
    } else if let Some(after) = rest.strip_prefix("dgram+") {
        (rest, datagram) = (after, true);
    }
    let mut family = Family::Any;
    let (prefix, after) = rest.split_once('@').unwrap_or(("", rest));
    match prefix {
        "ip" => {}
        "tcp" => datagram = false,
        "udp" => datagram = true,
        "ipv4" => family = Family::V4,
        "ipv6" => family = Family::V6,
        "tcp4" => (family, datagram) = (Family::V4, false),
        "tcp6" => (family, datagram) = (Family::V6, false),
        "udp4" => (family, datagram) = (Family::V4, true),
        "udp6" => (family, datagram) = (Family::V6, true),
        "unix" | "abns" | "fd" => {}
        "sockpair" => {
            return invalid(format!(
                "'sockpair@' is known to HAProxy but not supported by burdock in '{word}'"
            ));
        }
        "quic4" | "quic6" => {
            let family = if prefix == "quic4" { 2 } else { 10 };
            return invalid(format!(
                "unsupported stream protocol for datagram family {family} address '{word}'; QUIC is not compiled in if \
                 this is what you were looking for."
            ));
        }
        _ if rest.starts_with('/') => {}
        "" => {}
        // Not a prefix: the host name is refused below.
        _ => {}
    }
    let known = matches!(
        prefix,
        "ip" | "ipv4"
            | "ipv6"
            | "tcp"
            | "tcp4"
            | "tcp6"
            | "udp"
            | "udp4"
            | "udp6"
            | "unix"
            | "abns"
            | "fd"
    );
    let after = if known { after } else { rest };
    if datagram && usage != Usage::Datagram {
        return invalid(format!("dgram-type address not acceptable in '{word}'"));
    }
    if !datagram && usage == Usage::Datagram && !matches!(prefix, "fd") {
        return invalid(format!(
            "stream-type address is known to HAProxy but not supported by burdock here in '{word}'"
        ));
    }
    let plain = |address| {
        Ok(Parsed {
            address,
            last_port: 0,
            offset: None,
        })
    };
    match prefix {
        "abns" => return plain(Address::Abstract(after.as_bytes().to_vec())),
        "unix" => return plain(Address::Unix(PathBuf::from(after))),
        "fd" => {
            if !matches!(usage, Usage::Listen | Usage::Datagram) {
                return invalid(format!(
                    "a file descriptor is not acceptable here in '{word}'"
                ));
            }
            let fd = after.parse::<RawFd>().ok().filter(|fd| *fd >= 0);
            let Some(fd) = fd else {
                return invalid(format!(
                    "file descriptor '{after}' is not a valid integer in '{word}'"
                ));
            };
            return plain(Address::Fd(fd));
        }
        _ if after.starts_with('/') && !(known && family != Family::Any) => {
            return plain(Address::Unix(PathBuf::from(after)));
        }
        _ => {}
    }
    inet(word, after, family, usage)
}

/// An IP address or a host name with its port.
fn inet(word: &str, text: &str, family: Family, usage: Usage) -> Result<Parsed, AddressError> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let mut offset = None;
    let (mut first, mut last) = (0, 0);
    match port {
        Some(port) if !port.is_empty() => {
            let ports = ports(word, port, usage)?;
            (first, last, offset) = (ports.first, ports.last, ports.offset);
        }
        _ if matches!(usage, Usage::Listen | Usage::Peer) => {
            return Err(AddressError::Invalid(format!(
                "missing port specification in '{word}'"
            )));
        }
        _ => {}
    }
    if usage == Usage::Server && first == 0 && offset.is_none() {
        offset = Some(0);
    }
    let ip = resolve(host, family).ok_or_else(|| AddressError::Unresolved {
        host: host.to_owned(),
        word: word.to_owned(),
    })?;
    Ok(Parsed {
        address: Address::Inet(SocketAddr::new(ip, first)),
        last_port: last,
        offset,
    })
}

struct Ports {
    first: u16,
    last: u16,
    offset: Option<i32>,
}

/// The ports after the last colon.
fn ports(word: &str, text: &str, usage: Usage) -> Result<Ports, AddressError> {
    let invalid = |text: String| Err(AddressError::Invalid(text));
    let single = |port| Ports {
        first: port,
        last: port,
        offset: None,
    };
    let number = |text: &str| {
        text.bytes()
            .take_while(u8::is_ascii_digit)
            .fold(0u32, |sum, digit| {
                sum.saturating_mul(10)
                    .saturating_add(u32::from(digit - b'0'))
            })
    };
    let port = |text: &str| {
        u16::try_from(number(text))
            .map_err(|_| AddressError::Invalid(format!("invalid port '{}'", number(text))))
    };
    match text.as_bytes()[0] {
        b'0'..=b'9' => {}
        sign @ (b'+' | b'-') if usage == Usage::Server => {
            let distance = i32::try_from(number(&text[1..])).unwrap_or(i32::MAX);
            let offset = if sign == b'-' { -distance } else { distance };
            return Ok(Ports {
                first: 0,
                last: 0,
                offset: Some(offset),
            });
        }
        b'+' | b'-' => return invalid(format!("port offset not permitted here in '{word}'")),
        _ => {
            let found = text.chars().next().unwrap_or(' ');
            return invalid(format!(
                "invalid character '{found}' in port number '{text}' in '{word}'"
            ));
        }
    }
    let Some((low, high)) = text.split_once('-') else {
        let port = port(text)?;
        if port == 0 && usage == Usage::Listen {
            return invalid("invalid port '0'".into());
        }
        return Ok(single(port));
    };
    if !matches!(usage, Usage::Listen | Usage::Plain) {
        return invalid(format!("port range not permitted here in '{word}'"));
    }
    let (first, last) = (port(low)?, port(high)?);
    if first == 0 || last == 0 {
        return invalid("invalid port '0'".into());
    }
    if first > last {
        return invalid(format!("invalid port range '{text}'"));
    }
    Ok(Ports {
        first,
        last,
        offset: None,
    })
}

/// An address in text, `*` or nothing for any, or a host name.
fn resolve(host: &str, family: Family) -> Option<IpAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    if host.is_empty() || host == "*" {
        return Some(match family {
            Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        });
    }
    if let Some(bare) = bare {
        let ip = bare.parse::<Ipv6Addr>().ok()?;
        return (family != Family::V4).then_some(IpAddr::V6(ip));
    }
    let fits = |ip: &IpAddr| match family {
        Family::Any => true,
        Family::V4 => ip.is_ipv4(),
        Family::V6 => ip.is_ipv6(),
    };
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Some(ip).filter(fits);
    }
    // A colon or a blank is no part of a host name; getaddrinfo would try it all the same.
    if host.contains([':', ' ', '@', '/']) {
        return None;
    }
    (host, 0)
        .to_socket_addrs()
        .ok()?
        .map(|address| address.ip())
        .find(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(word: &str, usage: Usage, expected: &str) {
        let found = match parse(word, usage) {
            Ok(parsed) => {
                let offset = parsed
                    .offset
                    .map(|offset| format!(" offset {offset}"))
                    .unwrap_or_default();
                let range = match &parsed.address {
                    Address::Inet(address) if address.port() != parsed.last_port => {
                        format!("-{}", parsed.last_port)
                    }
                    _ => String::new(),
                };
                format!("{}{range}{offset}", parsed.address)
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected, "{word}");
    }

    #[test]
    fn listen() {
        for (word, expected) in [
            (":80", "0.0.0.0:80"),
            ("*:80-89", "0.0.0.0:80-89"),
            ("::1:80", "::1:80"),
            ("[::1]:80", "::1:80"),
            (":::80", ":::80"),
            ("ipv4@:80", "0.0.0.0:80"),
            ("ipv6@:80", ":::80"),
            ("tcp@:80", "0.0.0.0:80"),
            ("stream+ipv4@:80", "0.0.0.0:80"),
            ("*:80x", "0.0.0.0:80"),
            ("/tmp/x:80", "unix@/tmp/x:80"),
            ("unix@x", "unix@x"),
            ("abns@foo", "abns@foo"),
            ("fd@3", "fd@3"),
            (
                "fd@x",
                "file descriptor 'x' is not a valid integer in 'fd@x'",
            ),
            ("foo", "missing port specification in 'foo'"),
            ("80", "missing port specification in '80'"),
            ("::", "missing port specification in '::'"),
            ("*:82-80", "invalid port range '82-80'"),
            ("*:0", "invalid port '0'"),
            ("*:65536", "invalid port '65536'"),
            ("*:70000-70001", "invalid port '70000'"),
            ("ipv4@::1:80", "invalid address: '::1' in 'ipv4@::1:80'"),
            (
                "ipv6@127.0.0.1:80",
                "invalid address: '127.0.0.1' in 'ipv6@127.0.0.1:80'",
            ),
            ("udp@:80", "dgram-type address not acceptable in 'udp@:80'"),
            (
                "dgram+ipv4@:80",
                "dgram-type address not acceptable in 'dgram+ipv4@:80'",
            ),
            ("foo@bar:80", "invalid address: 'foo@bar' in 'foo@bar:80'"),
            (
                "",
                "'' resolves to an empty address (environment variable missing?)",
            ),
        ] {
            check(word, Usage::Listen, expected);
        }
    }

    #[test]
    fn server_and_log() {
        for (word, expected) in [
            ("1.1.1.1", "1.1.1.1:0 offset 0"),
            ("1.1.1.1:80", "1.1.1.1:80"),
            ("1.1.1.1:+80", "1.1.1.1:0 offset 80"),
            ("1.1.1.1:-80", "1.1.1.1:0 offset -80"),
            ("[::1]", "::1:0 offset 0"),
            (
                "1.1.1.1:80-90",
                "port range not permitted here in '1.1.1.1:80-90'",
            ),
            (
                "1.1.1.1:x",
                "invalid character 'x' in port number 'x' in '1.1.1.1:x'",
            ),
            ("1.1.1.1:65536", "invalid port '65536'"),
            ("fd@3", "a file descriptor is not acceptable here in 'fd@3'"),
            ("::1", "invalid address: ':' in '::1'"),
            (
                "udp@127.0.0.1:80",
                "dgram-type address not acceptable in 'udp@127.0.0.1:80'",
            ),
        ] {
            check(word, Usage::Server, expected);
        }
        check("127.0.0.1", Usage::Datagram, "127.0.0.1:0");
        check("udp@127.0.0.1:514", Usage::Datagram, "127.0.0.1:514");
        check("/dev/log", Usage::Datagram, "unix@/dev/log");
    }
}
