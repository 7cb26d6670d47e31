//! The PROXY protocol, versions 1 and 2: the header before a connection's first byte that says whose connection it is
//! (proxy-protocol.txt, of HAProxy's documentation). Bytes in, addresses out, and back.
//!
//! Stricter than HAProxy 2.6, which reads `1.2.3` and port 99999: addresses and ports are those of the specification, and nothing
//! follows them. As HAProxy: version 2 with an unspecified or unix family is refused, unless it is LOCAL. As the specification, and
//! not HAProxy: whatever follows `UNKNOWN` is skipped, and a header may come in pieces.
//!
//! Not here: sockets, timeouts, who may send a header (`stream`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Start of a version 2 header.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Start of a version 1 header.
const WORD: &[u8] = b"PROXY ";

/// Longest version 1 header, CRLF included.
const LINE_BYTES_MAX: usize = 107;

/// A version 2 header without its addresses and TLVs.
const FIXED_BYTES: usize = 16;

/// Type of the TLV with the CRC-32C of the header.
const TLV_CRC32C: u8 = 0x03;

/// Type of the TLV with the host name that the client asked for.
const TLV_AUTHORITY: u8 = 0x02;

/// Type of the TLV with the connection's unique id.
const TLV_UNIQUE_ID: u8 = 0x05;

/// Type of the TLV about TLS.
const TLV_SSL: u8 = 0x20;

/// Longest name of a host, and longest unique id, in a header that is sent: HAProxy's limits.
const AUTHORITY_BYTES_MAX: usize = 255;
const UNIQUE_ID_BYTES_MAX: usize = 127;

/// Longest header that [`encode`] writes: two IPv6 addresses with their ports, the checksum, a name, an id, and what is said of TLS.
pub const HEADER_BYTES_MAX: usize =
    FIXED_BYTES + 36 + 7 + (3 + AUTHORITY_BYTES_MAX) + (3 + UNIQUE_ID_BYTES_MAX) + 8;
const _: () = assert!(HEADER_BYTES_MAX > LINE_BYTES_MAX);

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The proxy's own, or it does not know: the connection's own addresses count.
    Own,
    /// A client's: where it came from, and where it connected to.
    Client {
        /// The client.
        source: SocketAddr,
        /// The address that it used.
        destination: SocketAddr,
    },
}

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The beginning of a header.
    Incomplete,
    /// A header of so many bytes.
    Complete(usize, Origin),
    /// No header.
    Refused(Fault),
}

/// Why there is no header, or what came is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection ended before the first byte.
    Closed,
    /// It did not come in time.
    Late,
    /// The connection ended within it.
    Truncated,
    /// They do not begin like one.
    Foreign,
    /// They do, and go on in another way.
    Invalid,
    /// A protocol other than TCP over IPv4 or IPv6.
    Unhandled,
}

impl Fault {
    /// HAProxy's number for it (`fc_err`).
    pub fn number(self) -> u8 {
        match self {
            Fault::Closed => 11,
            Fault::Late => 13,
            Fault::Truncated => 14,
            Fault::Foreign => 15,
            Fault::Invalid => 16,
            Fault::Unhandled => 17,
        }
    }

    /// What the log says, in HAProxy's words.
    pub fn text(self) -> &'static str {
        match self {
            Fault::Closed => "Connection closed while waiting for PROXY protocol header",
            Fault::Late => "Timeout while waiting for PROXY protocol header",
            Fault::Truncated => "Truncated PROXY protocol header received",
            Fault::Foreign => "Received something which does not look like a PROXY protocol header",
            Fault::Invalid => "Received an invalid PROXY protocol header",
            Fault::Unhandled => "Received an unhandled protocol in the PROXY protocol header",
        }
    }
}

/// Reads the header at the start of a connection. `room` is the most bytes that can be held: a longer header is refused.
pub fn decode(bytes: &[u8], room: usize) -> Step {
    let agrees = |start: &[u8]| bytes.iter().zip(start).all(|(a, b)| a == b);
    if agrees(&SIGNATURE) && !bytes.is_empty() {
        return match decode_binary(bytes, room) {
            Ok(step) => step,
            Err(fault) => Step::Refused(fault),
        };
    }
    if !agrees(WORD) {
        return Step::Refused(Fault::Foreign);
    }
    let line = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    match line.iter().position(|byte| *byte == b'\n') {
        Some(end) => match decode_line(&line[..end]) {
            Ok(origin) => Step::Complete(end + 1, origin),
            Err(fault) => Step::Refused(fault),
        },
        None if bytes.len() >= LINE_BYTES_MAX => Step::Refused(Fault::Invalid),
        None => Step::Incomplete,
    }
}

/// A version 1 header without its LF.
fn decode_line(line: &[u8]) -> Result<Origin, Fault> {
    let text = line.strip_suffix(b"\r").ok_or(Fault::Invalid)?;
    let text = std::str::from_utf8(text).map_err(|_| Fault::Invalid)?;
    let mut words = text.split(' ').skip(1);
    let family = words.next().unwrap_or_default();
    if family == "UNKNOWN" {
        return Ok(Origin::Own);
    }
    let mut next = || words.next().ok_or(Fault::Invalid);
    let addresses = match family {
        "TCP4" => [next()?, next()?].map(|word| word.parse::<Ipv4Addr>().map(IpAddr::V4).ok()),
        "TCP6" => [next()?, next()?].map(|word| word.parse::<Ipv6Addr>().map(IpAddr::V6).ok()),
        _ => return Err(Fault::Unhandled),
    };
    let ports = [next()?, next()?].map(port);
    match (addresses, ports, words.next()) {
        ([Some(from), Some(to)], [Some(from_port), Some(to_port)], None) => Ok(Origin::Client {
            source: SocketAddr::new(from, from_port),
            destination: SocketAddr::new(to, to_port),
        }),
        _ => Err(Fault::Invalid),
    }
}

/// A decimal number without sign or leading zeros.
fn port(word: &str) -> Option<u16> {
    let is_plain = word == "0" || (!word.starts_with(['0', '+']) && !word.is_empty());
    is_plain.then(|| word.parse().ok()).flatten()
}

fn decode_binary(bytes: &[u8], room: usize) -> Result<Step, Fault> {
    let Some(fixed) = bytes.first_chunk::<FIXED_BYTES>() else {
        return Ok(Step::Incomplete);
    };
    let (version, command) = (fixed[12] >> 4, fixed[12] & 0x0f);
    if version != 2 {
        return Err(Fault::Foreign);
    }
    let length = FIXED_BYTES + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > room || command > 1 {
        return Err(Fault::Invalid);
    }
    let Some(header) = bytes.get(..length) else {
        return Ok(Step::Incomplete);
    };
    let rest = &header[FIXED_BYTES..];
    if command == 0 {
        // LOCAL: whatever it says of addresses is to be ignored.
        return Ok(Step::Complete(length, Origin::Own));
    }
    let (address_bytes, origin) = match fixed[13] {
        0x11 => {
            let at = rest.first_chunk::<12>().ok_or(Fault::Invalid)?;
            let ip = |at: usize, bytes: &[u8; 12]| {
                Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3])
            };
            let ports = [
                u16::from_be_bytes([at[8], at[9]]),
                u16::from_be_bytes([at[10], at[11]]),
            ];
            (12, client([ip(0, at).into(), ip(4, at).into()], ports))
        }
        0x21 => {
            let at = rest.first_chunk::<36>().ok_or(Fault::Invalid)?;
            let ip = |at: &[u8]| {
                let mut bytes = [0; 16];
                bytes.copy_from_slice(at);
                IpAddr::V6(Ipv6Addr::from(bytes))
            };
            let ports = [
                u16::from_be_bytes([at[32], at[33]]),
                u16::from_be_bytes([at[34], at[35]]),
            ];
            (36, client([ip(&at[..16]), ip(&at[16..32])], ports))
        }
        _ => return Err(Fault::Invalid),
    };
    check_tlvs(header, FIXED_BYTES + address_bytes)?;
    Ok(Step::Complete(length, origin))
}

fn client([from, to]: [IpAddr; 2], [from_port, to_port]: [u16; 2]) -> Origin {
    Origin::Client {
        source: SocketAddr::new(from, from_port),
        destination: SocketAddr::new(to, to_port),
    }
}

/// TLVs have to be whole; the checksum, if there is one, has to be right. The others concern nobody here.
fn check_tlvs(header: &[u8], start: usize) -> Result<(), Fault> {
    let mut at = start;
    while at < header.len() {
        let [kind, high, low] = *header
            .get(at..)
            .and_then(|rest| rest.first_chunk::<3>())
            .ok_or(Fault::Invalid)?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let value = header.get(at + 3..at + 3 + length).ok_or(Fault::Invalid)?;
        if kind == TLV_CRC32C {
            let said = *value.first_chunk::<4>().ok_or(Fault::Invalid)?;
            let before = crc32c(!0, &header[..at + 3]);
            let zeros = crc32c(before, &[0; 4]);
            let sum = !crc32c(zeros, &header[at + 7..]);
            if length != 4 || sum != u32::from_be_bytes(said) {
                return Err(Fault::Invalid);
            }
        }
        at += 3 + length;
    }
    Ok(())
}

/// What a header says beside addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// The host name that the client asked for (`PP2_TYPE_AUTHORITY`).
    pub authority: Option<Box<[u8]>>,
    /// What names the connection on its way through several proxies (`PP2_TYPE_UNIQUE_ID`).
    pub unique_id: Option<Box<[u8]>>,
}

impl Details {
    /// Those of a complete header that was accepted.
    pub fn of(header: &[u8]) -> Details {
        let mut details = Details::default();
        let address_bytes = match header.get(12..14) {
            _ if !header.starts_with(&SIGNATURE) => return details,
            Some([0x21, 0x11]) => 12,
            Some([0x21, 0x21]) => 36,
            _ => return details,
        };
        let mut rest = header
            .get(FIXED_BYTES + address_bytes..)
            .unwrap_or_default();
        while let [kind, high, low, after @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let Some(value) = after.get(..length) else {
                break;
            };
            match *kind {
                TLV_AUTHORITY => details.authority = Some(value.into()),
                TLV_UNIQUE_ID => details.unique_id = Some(value.into()),
                _ => {}
            }
            rest = &after[length..];
        }
        details
    }
}

/// Which header to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `send-proxy`.
    Text,
    /// `send-proxy-v2`.
    Binary(Options),
}

/// `proxy-v2-options`: what a header of version 2 says beside addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `crc32c`.
    pub has_checksum: bool,
    /// `authority`: the host name that the client's own header named.
    pub has_authority: bool,
    /// `unique-id`.
    pub has_unique_id: bool,
    /// `ssl`, `cert-cn`, `ssl-cipher`, `cert-sig`, `cert-key`: here that the client came without TLS.
    pub has_tls: bool,
}

/// What the options of a header refer to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said<'a> {
    /// The host name that the client's header named.
    pub authority: Option<&'a [u8]>,
    /// The unique id; none in what is no client's connection.
    pub unique_id: Option<&'a [u8]>,
}

/// A header as it is sent.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    bytes: [u8; HEADER_BYTES_MAX],
    length: usize,
}

impl Header {
    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if let Some(slot) = self.bytes.get_mut(self.length) {
                *slot = *byte;
                self.length += 1;
            }
        }
    }

    /// At most `most` bytes of a value: a longer one is cut, as HAProxy cuts it.
    fn push_tlv(&mut self, kind: u8, value: &[u8], most: usize) {
        let value = &value[..value.len().min(most)];
        let [high, low] = (value.len() as u16).to_be_bytes();
        self.push(&[kind, high, low]);
        self.push(value);
    }
}

impl std::fmt::Write for Header {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

/// Writes a header. Without both addresses, or where they are of two families, it says that the connection is our own, or its client unknown.
pub fn encode(
    form: Form,
    source: Option<SocketAddr>,
    destination: Option<SocketAddr>,
    said: Said,
) -> Header {
    let mut header = Header {
        bytes: [0; HEADER_BYTES_MAX],
        length: 0,
    };
    let pair = source.zip(destination);
    let pair = pair.filter(|(source, destination)| source.is_ipv4() == destination.is_ipv4());
    match form {
        Form::Text => encode_line(&mut header, pair),
        Form::Binary(options) => encode_binary(&mut header, pair, options, said),
    }
    header
}

fn encode_line(header: &mut Header, pair: Option<(SocketAddr, SocketAddr)>) {
    use std::fmt::Write;
    let _ = match pair {
        None => write!(header, "PROXY UNKNOWN\r\n"),
        Some((source, destination)) => {
            let family = if source.is_ipv4() { 4 } else { 6 };
            write!(
                header,
                "PROXY TCP{family} {} {} {} {}\r\n",
                source.ip(),
                destination.ip(),
                source.port(),
                destination.port()
            )
        }
    };
}

fn encode_binary(
    header: &mut Header,
    pair: Option<(SocketAddr, SocketAddr)>,
    options: Options,
    said: Said,
) {
    header.push(&SIGNATURE);
    header.push(&match pair {
        None => [0x20, 0x00, 0, 0],
        Some((source, _)) if source.is_ipv4() => [0x21, 0x11, 0, 0],
        Some(_) => [0x21, 0x21, 0, 0],
    });
    if let Some((source, destination)) = pair {
        for address in [source, destination] {
            match address.ip() {
                IpAddr::V4(ip) => header.push(&ip.octets()),
                IpAddr::V6(ip) => header.push(&ip.octets()),
            }
        }
        header.push(&source.port().to_be_bytes());
        header.push(&destination.port().to_be_bytes());
    }
    // The order is HAProxy's.
    let checksum_at = header.length + 3;
    if options.has_checksum {
        header.push_tlv(TLV_CRC32C, &[0; 4], 4);
    }
    if let Some(name) = said.authority.filter(|_| options.has_authority) {
        header.push_tlv(TLV_AUTHORITY, name, AUTHORITY_BYTES_MAX);
    }
    if let Some(id) = said.unique_id.filter(|_| options.has_unique_id) {
        header.push_tlv(TLV_UNIQUE_ID, id, UNIQUE_ID_BYTES_MAX);
    }
    if options.has_tls {
        // No client certificate, no version, no verification: nothing of it took place.
        header.push_tlv(TLV_SSL, &[0; 5], 5);
    }
    let length = (header.length - FIXED_BYTES) as u16;
    header.bytes[14..16].copy_from_slice(&length.to_be_bytes());
    if options.has_checksum {
        let sum = !crc32c(!0, header.bytes());
        header.bytes[checksum_at..checksum_at + 4].copy_from_slice(&sum.to_be_bytes());
    }
}

/// CRC-32C (Castagnoli), reflected; begins with all ones and is inverted at the end.
fn crc32c(mut crc: u32, bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (POLYNOMIAL & 0u32.wrapping_sub(crc & 1));
        }
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = (rest.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &[0x20 | command, family], &length, rest].concat()
    }

    fn ip4() -> Vec<u8> {
        [&[1, 2, 3, 4, 5, 6, 7, 8][..], &[4, 87], &[8, 174]].concat()
    }

    fn origin(source: &str, destination: &str) -> Origin {
        Origin::Client {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        }
    }

    /// The step for these bytes; every beginning of a header has to be incomplete, and what follows it must not matter.
    fn check(bytes: &[u8], expected: Step) {
        assert_eq!(decode(bytes, 16384), expected, "{bytes:?}");
        if let Step::Complete(length, _) = expected {
            assert_eq!(length, bytes.len());
            for cut in 0..length {
                assert_eq!(
                    decode(&bytes[..cut], 16384),
                    Step::Incomplete,
                    "cut at {cut}"
                );
            }
            for after in [&b"GET / HTTP/1.1\r\n"[..], b"\r\n", b"\0"] {
                assert_eq!(decode(&[bytes, after].concat(), 16384), expected);
            }
        }
    }

    #[test]
    fn lines_are_read() {
        let check = |text: &str, expected| check(text.as_bytes(), expected);
        let whole = |text: &str, origin| check(text, Step::Complete(text.len(), origin));
        whole(
            "PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222\r\n",
            origin("1.2.3.4:1111", "5.6.7.8:2222"),
        );
        whole(
            "PROXY TCP6 2001:db8::1 ::ffff:1.2.3.4 0 65535\r\n",
            origin("[2001:db8::1]:0", "[::ffff:1.2.3.4]:65535"),
        );
        whole("PROXY UNKNOWN\r\n", Origin::Own);
        whole("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", Origin::Own);
        let invalid = Step::Refused(Fault::Invalid);
        for bad in [
            "PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 99999 2\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
            "PROXY TCP4 01.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 \r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
            "PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY TCP4 ::1 ::2 1 2\r\n",
        ] {
            check(bad, invalid);
        }
        check(
            "PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
            Step::Refused(Fault::Unhandled),
        );
        check(
            "proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
            Step::Refused(Fault::Foreign),
        );
        check("GET / HTTP/1.1\r\n", Step::Refused(Fault::Foreign));
        check("\r\n\r\nGET", Step::Refused(Fault::Foreign));
        check("", Step::Incomplete);
        let longest = format!("PROXY UNKNOWN {}\r\n", "a".repeat(LINE_BYTES_MAX - 16));
        whole(&longest, Origin::Own);
        check(&format!("PROXY UNKNOWN {}", "a".repeat(100)), invalid);
    }

    #[test]
    fn binary_headers_are_read() {
        let client4 = origin("1.2.3.4:1111", "5.6.7.8:2222");
        let whole = |bytes: &[u8], origin| check(bytes, Step::Complete(bytes.len(), origin));
        whole(&v2(1, 0x11, &ip4()), client4);
        whole(&v2(0, 0x00, b""), Origin::Own);
        whole(&v2(0, 0x11, &ip4()), Origin::Own);
        whole(&v2(0, 0x00, b"anything"), Origin::Own);
        let mut ip6 = vec![0; 36];
        (ip6[15], ip6[31], ip6[33], ip6[35]) = (1, 2, 3, 4);
        whole(&v2(1, 0x21, &ip6), origin("[::1]:3", "[::2]:4"));
        let with_tlv = |tlv: &[u8]| v2(1, 0x11, &[&ip4()[..], tlv].concat());
        whole(&with_tlv(b"\x01\0\x02h2\x05\0\x03abc\x04\0\0"), client4);
        let invalid = Step::Refused(Fault::Invalid);
        for bad in [
            v2(1, 0x00, b""),
            v2(1, 0x31, &[0; 216]),
            v2(1, 0x12, &ip4()),
            v2(1, 0x51, &ip4()),
            v2(2, 0x11, &ip4()),
            v2(1, 0x11, &ip4()[..11]),
            v2(1, 0x21, &[0; 35]),
            with_tlv(b"\x01\0\x09h"),
            with_tlv(b"\x01\0"),
            with_tlv(b"\x03\0\x04\x01\x02\x03\x04"),
            with_tlv(b"\x03\0\x03\x01\x02\x03"),
        ] {
            check(&bad, invalid);
        }
        let mut old = v2(1, 0x11, &ip4());
        old[12] = 0x11;
        check(&old, Step::Refused(Fault::Foreign));
        assert_eq!(decode(&v2(1, 0x11, &[0; 2000]), 1024), invalid);
    }

    #[test]
    fn headers_are_written_as_haproxy_writes_them() {
        let address = |text: &str| Some(text.parse().unwrap());
        let (from, to) = (address("127.0.0.1:40028"), address("127.0.0.1:18103"));
        let text = |source, destination| {
            String::from_utf8_lossy(
                encode(Form::Text, source, destination, Said::default()).bytes(),
            )
            .into_owned()
        };
        assert_eq!(
            text(from, to),
            "PROXY TCP4 127.0.0.1 127.0.0.1 40028 18103\r\n"
        );
        assert_eq!(
            text(address("[::1]:1"), address("[::2]:2")),
            "PROXY TCP6 ::1 ::2 1 2\r\n"
        );
        assert_eq!(text(None, to), "PROXY UNKNOWN\r\n");
        assert_eq!(text(address("[::1]:1"), to), "PROXY UNKNOWN\r\n");
        let options = Options {
            has_checksum: true,
            ..Options::default()
        };
        let summed = Form::Binary(options);
        let encode = |form, source, destination| encode(form, source, destination, Said::default());
        assert_eq!(
            encode(summed, from, to).bytes(),
            b"\r\n\r\n\0\r\nQUIT\n!\x11\0\x13\x7f\0\0\x01\x7f\0\0\x01\x9c\\F\xb7\x03\0\x04\x80k#\x90"
        );
        assert_eq!(
            encode(summed, None, to).bytes(),
            b"\r\n\r\n\0\r\nQUIT\n \0\0\x07\x03\0\x04\xa9\xb8~\x8f"
        );
    }

    #[test]
    fn what_is_written_is_read() {
        let addresses = [
            "1.2.3.4:5",
            "255.255.255.255:65535",
            "[::1]:5",
            "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
        ];
        let forms = [
            Form::Text,
            Form::Binary(Options::default()),
            Form::Binary(Options {
                has_checksum: true,
                has_authority: true,
                has_unique_id: true,
                has_tls: true,
            }),
        ];
        let long = [b'x'; 300];
        let said = Said {
            authority: Some(&long),
            unique_id: Some(&long),
        };
        for form in forms {
            for source in addresses {
                for destination in addresses {
                    let [source, destination] =
                        [source, destination].map(|text| text.parse().unwrap());
                    let header = encode(form, Some(source), Some(destination), said);
                    let expected = match source.is_ipv4() == destination.is_ipv4() {
                        true => Origin::Client {
                            source,
                            destination,
                        },
                        false => Origin::Own,
                    };
                    check(
                        header.bytes(),
                        Step::Complete(header.bytes().len(), expected),
                    );
                }
            }
        }
    }
}
