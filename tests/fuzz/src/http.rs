//! HTTP/1 messages: what leaves is one message to a strict reader, whatever came and in whatever pieces, with the body that was read.

use std::io::IoSlice;

use burdock::http::{
    Asked, BodyDecoder, BodyForm, ByteRange, CookieHeader, ForwardPlan, Framing, HeaderTable,
    Known, Method, Parsed, Receiver, RequestHead, ResponseHead, Version, next_cookie,
    prepare_request, prepare_response,
};

use super::input::Input;
use super::strict::{self, Message, Read};

/// As `tune.http.maxhdr` and `tune.bufsize`.
const HEADERS_MAX: usize = 101;
const BUFFER_BYTES: usize = 16384;

/// What a proxy made of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It needs more.
    Incomplete,
    /// It is refused.
    Refused,
    /// It is over: what leaves, the body's data, and the bytes that were used up.
    Forwarded {
        /// Head and body as they leave.
        bytes: Vec<u8>,
        /// The body's data.
        data: Vec<u8>,
        /// Bytes of the message as it came.
        taken: usize,
    },
}

fn drain(plan: &mut ForwardPlan, buffer: &[u8], headers: &HeaderTable) -> Vec<u8> {
    let mut sent = Vec::new();
    while !plan.is_done() {
        let mut slices = [IoSlice::new(&[]); 8];
        let count = plan.slices(buffer, headers, &mut slices);
        let before = sent.len();
        for slice in &slices[..count] {
            sent.extend_from_slice(slice);
        }
        plan.sent(sent.len() - before);
    }
    sent
}

/// Decodes a body that comes in pieces which end at `cuts`; `None`: refused. The bytes to forward, the bytes used, and whether it is
/// complete.
fn decode(
    framing: Framing,
    form: BodyForm,
    bytes: &[u8],
    cuts: &[usize],
) -> Option<(Vec<u8>, usize, bool)> {
    let mut decoder = BodyDecoder::new(framing, form);
    let (mut sent, mut taken) = (Vec::new(), 0);
    let ends = cuts.iter().copied().chain([bytes.len()]);
    for end in ends {
        while !decoder.is_complete() && taken < end.min(bytes.len()) {
            let progress = decoder.advance(&bytes[taken..end.min(bytes.len())]).ok()?;
            for range in progress.forward() {
                let range =
                    ByteRange::new(taken + range.start as usize, taken + range.end as usize);
                sent.extend_from_slice(range.of(bytes));
            }
            taken += progress.consumed;
            if progress.consumed == 0 {
                break;
            }
        }
    }
    Some((sent, taken, decoder.is_complete()))
}

/// A request that comes in pieces which end at `cuts`.
pub fn forward_request(bytes: &[u8], cuts: &[usize]) -> Outcome {
    let mut head = RequestHead::new(HEADERS_MAX, BUFFER_BYTES);
    let mut parsed = Parsed::Incomplete;
    let ends = cuts.iter().copied().chain([bytes.len()]);
    for end in ends {
        let here = &bytes[..end.min(bytes.len())];
        match head.parse(here) {
            Ok(found) => parsed = found,
            Err(_) => return Outcome::Refused,
        }
        if parsed == Parsed::Complete {
            break;
        }
    }
    if parsed == Parsed::Incomplete {
        return Outcome::Incomplete;
    }
    let end = head.end as usize;
    let framing = head.framing;
    if prepare_request(&mut head, bytes, true).is_err() {
        return Outcome::Refused;
    }
    let mut plan = ForwardPlan::new(4);
    plan.push_request(&head, bytes);
    let sent = drain(&mut plan, bytes, &head.headers);
    let inner: Vec<usize> = cuts.iter().map(|cut| cut.saturating_sub(end)).collect();
    finish(sent, framing, BodyForm::Chunked, &bytes[end..], &inner, end)
}

fn finish(
    mut sent: Vec<u8>,
    framing: Framing,
    form: BodyForm,
    rest: &[u8],
    cuts: &[usize],
    end: usize,
) -> Outcome {
    let Some((body, taken, is_complete)) = decode(framing, form, rest, cuts) else {
        return Outcome::Refused;
    };
    if !is_complete && framing != Framing::UntilClose {
        return Outcome::Incomplete;
    }
    sent.extend_from_slice(&body);
    let data = match decode(framing, BodyForm::DataOnly, rest, &[]) {
        Some((data, _, _)) => data,
        None => return Outcome::Refused,
    };
    Outcome::Forwarded {
        bytes: sent,
        data,
        taken: end + taken,
    }
}

/// A response to a client of this version that asked with this method, in pieces; the server closes after it.
pub fn forward_response(bytes: &[u8], cuts: &[usize], method: Method, version: Version) -> Outcome {
    let asked = Asked {
        method,
        upgrade: false,
    };
    let mut head = ResponseHead::new(HEADERS_MAX, BUFFER_BYTES);
    let mut parsed = Parsed::Incomplete;
    let ends = cuts.iter().copied().chain([bytes.len()]);
    for end in ends {
        let here = &bytes[..end.min(bytes.len())];
        match head.parse(here, asked) {
            Ok(found) => parsed = found,
            Err(_) => return Outcome::Refused,
        }
        if parsed == Parsed::Complete {
            break;
        }
    }
    if parsed == Parsed::Incomplete {
        return Outcome::Incomplete;
    }
    let end = head.end as usize;
    let framing = head.framing;
    let receiver = Receiver {
        version,
        wants_head: method == Method::Head,
        asked_head: method == Method::Head,
    };
    let Ok(delivery) = prepare_response(&mut head, bytes, receiver, true) else {
        return Outcome::Refused;
    };
    let mut plan = ForwardPlan::new(4);
    plan.push_response(&head, bytes);
    let sent = drain(&mut plan, bytes, &head.headers);
    let inner: Vec<usize> = cuts.iter().map(|cut| cut.saturating_sub(end)).collect();
    finish(sent, framing, delivery.body, &bytes[end..], &inner, end)
}

fn cuts(input: &mut Input<'_>) -> Vec<usize> {
    let count = input.below(5);
    let mut cuts: Vec<usize> = (0..count)
        .map(|_| usize::from(input.number()) % 512)
        .collect();
    cuts.sort_unstable();
    cuts
}

/// A request: cut anywhere it comes to the same; what leaves is one message with the same body; and what a strict reader accepts is read
/// as it reads it.
pub fn request(bytes: &[u8]) {
    let mut input = Input(bytes);
    let cuts = cuts(&mut input);
    let message = input.0;
    let whole = forward_request(message, &[]);
    let cut = forward_request(message, &cuts);
    assert_same(&whole, &cut, &cuts);
    let strictly = strict::read_request(message);
    if let Outcome::Forwarded { bytes, data, taken } = &whole {
        let left = must_be_whole(strict::read_request(bytes), bytes);
        assert_eq!(left.length, bytes.len(), "more than one message leaves");
        assert_eq!(&left.body, data);
        if let Read::Whole(came) = &strictly {
            assert_eq!(came.length, *taken);
            assert_eq!(came.body, left.body);
            assert_eq!(came.start, left.start);
            assert_same_fields(came, &left);
        }
    }
    if matches!(strictly, Read::Partial) {
        assert!(
            !matches!(whole, Outcome::Forwarded { .. }),
            "a part was taken for the whole"
        );
    }
    relaxed_request(message);
}

/// The same with `option accept-invalid-http-request`: what is strict is read alike, and what leaves besides has no line that a generous
/// reader could take for framing when a strict one does not.
fn relaxed_request(message: &[u8]) {
    let mut strict = RequestHead::new(HEADERS_MAX, BUFFER_BYTES);
    let mut head = RequestHead::new(HEADERS_MAX, BUFFER_BYTES);
    let strictly = strict.parse(message);
    if head.parse_relaxed(message) != Ok(Parsed::Complete) {
        assert_ne!(strictly, Ok(Parsed::Complete), "strict, and not accepted");
        return;
    }
    let is_let_through = head.tolerated.is_some() || head.is_odd_version;
    assert_eq!(is_let_through, strictly != Ok(Parsed::Complete));
    if prepare_request(&mut head, message, true).is_err() {
        return;
    }
    let mut plan = ForwardPlan::new(4);
    plan.push_request(&head, message);
    let sent = drain(&mut plan, message, &head.headers);
    let lines = sent.split(|byte| *byte == b'\n').skip(1);
    for line in lines.take_while(|line| line.len() > 1) {
        let colon = line.iter().position(|byte| *byte == b':');
        let name = &line[..colon.expect("a name")];
        assert!(!name.starts_with(b" ") && !name.starts_with(b"\t"));
        assert!(!name.contains(&0) && !line[..line.len() - 1].contains(&b'\r'));
        let plain: Vec<u8> = name.iter().copied().filter(u8::is_ascii_graphic).collect();
        let frames = [&b"content-length"[..], b"transfer-encoding", b"host"];
        let is_framing = |name: &[u8]| frames.iter().any(|other| name.eq_ignore_ascii_case(other));
        assert_eq!(is_framing(&plain), is_framing(name), "{name:?}");
    }
}

/// A response, likewise, to any kind of client.
pub fn response(bytes: &[u8]) {
    let mut input = Input(bytes);
    let cuts = cuts(&mut input);
    let (method, name) = [
        (Method::Get, &b"GET"[..]),
        (Method::Head, b"HEAD"),
        (Method::Connect, b"CONNECT"),
        (Method::Post, b"POST"),
    ][input.below(4)];
    let version = [Version::Http11, Version::Http10][input.below(2)];
    let message = input.0;
    let whole = forward_response(message, &[], method, version);
    let cut = forward_response(message, &cuts, method, version);
    assert_same(&whole, &cut, &cuts);
    let strictly = strict::read_response(message, name, true);
    if let Outcome::Forwarded { bytes, data, taken } = &whole {
        let left = must_be_whole(strict::read_response(bytes, name, true), bytes);
        assert_eq!(left.length, bytes.len(), "more than one message leaves");
        assert_eq!(&left.body, data);
        if let Read::Whole(came) = &strictly {
            assert_eq!(came.length, *taken);
            assert_eq!(came.body, left.body);
            assert_eq!(came.start, left.start);
            assert_same_fields(came, &left);
        }
    }
}

/// A head that comes in pieces is not looked at again for each of them, so a fault in one that has no end yet may be found later.
fn assert_same(whole: &Outcome, cut: &Outcome, cuts: &[usize]) {
    if (whole, cut) != (&Outcome::Refused, &Outcome::Incomplete) {
        assert_eq!(whole, cut, "cut at {cuts:?}");
    }
}

fn must_be_whole(read: Read, bytes: &[u8]) -> Message {
    match read {
        Read::Whole(message) => message,
        other => panic!(
            "what leaves is no message: {other:?}\n{:?}",
            String::from_utf8_lossy(bytes)
        ),
    }
}

/// Everything that is not for one hop arrives as it was sent. Names that `Connection` lists are for one hop.
fn assert_same_fields(came: &Message, left: &Message) {
    const HOP: [&[u8]; 8] = [
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"upgrade",
        b"transfer-encoding",
        b"content-length",
        b"trailer",
    ];
    let listed: Vec<Vec<u8>> = came
        .values("connection")
        .iter()
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(|item| item.trim_ascii().to_ascii_lowercase())
        .collect();
    let end_to_end = |message: &Message| -> Vec<(Vec<u8>, Vec<u8>)> {
        let fields = message.headers.iter();
        fields
            .filter(|(name, _)| !HOP.contains(&&name[..]) && !listed.contains(name))
            .cloned()
            .collect()
    };
    assert_eq!(end_to_end(came), end_to_end(left));
}

/// A chunked body in any pieces: the same data and the same end; what leaves is chunks again.
pub fn body(bytes: &[u8]) {
    let mut input = Input(bytes);
    let cuts = cuts(&mut input);
    let chunks = input.0;
    let whole = decode(Framing::Chunked, BodyForm::Chunked, chunks, &[]);
    assert_eq!(
        whole,
        decode(Framing::Chunked, BodyForm::Chunked, chunks, &cuts)
    );
    let data = decode(Framing::Chunked, BodyForm::DataOnly, chunks, &cuts);
    assert_eq!(
        whole.as_ref().map(|(_, taken, done)| (*taken, *done)),
        data.as_ref().map(|(_, taken, done)| (*taken, *done))
    );
    if let (Some((sent, _, true)), Some((data, _, _))) = (whole, data) {
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let message = [&head[..], &sent].concat();
        let read = must_be_whole(strict::read_request(&message), &message);
        assert_eq!((read.body, read.length), (data, message.len()));
    }
}

/// Cookies: nothing outside the line is read, the end is reached, and a value that is found by its name is found without it.
pub fn cookies(bytes: &[u8]) {
    let mut input = Input(bytes);
    let kind = [CookieHeader::Cookie, CookieHeader::SetCookie][input.below(2)];
    let length = input.below(6);
    let name = input.bytes(length);
    let line = input.0;
    let all = |name: &[u8]| -> Vec<&[u8]> {
        let mut offset = 0;
        let mut found = Vec::new();
        while let Some(value) = next_cookie(line, &mut offset, name, kind) {
            assert!(offset <= line.len() + 1);
            found.push(value);
            assert!(found.len() <= line.len() + 1, "no progress");
        }
        found
    };
    let (named, every) = (all(name), all(b""));
    if kind == CookieHeader::Cookie && !name.is_empty() && !name.contains(&b'=') {
        // An empty value at the end of a line is seen only with room before it, as in HAProxy.
        for value in named.iter().filter(|value| !value.is_empty()) {
            assert!(every.contains(value), "{value:?} of {name:?}");
        }
    }
    let _ = Known::of(name);
}
