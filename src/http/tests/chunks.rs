//! Bodies: the chunk decoder against tables and against a slow and obvious reference.

use super::*;

/// Data and trailer lines of a body, and its length.
type Read = (Vec<u8>, Vec<Vec<u8>>, usize);

/// What a body decoder makes of `input`, given in pieces of `step` bytes: forwarded bytes, data bytes, what is left.
fn decode(input: &[u8], form: BodyForm, step: usize) -> Result<(Vec<u8>, u64, Vec<u8>), Fault> {
    let mut decoder = BodyDecoder::new(Framing::Chunked, form);
    let (mut sent, mut data_bytes) = (Vec::new(), 0);
    let (mut from, mut to) = (0, 0);
    loop {
        to = (to + step).min(input.len());
        loop {
            let bytes = &input[from..to];
            let progress = decoder.advance(bytes).map_err(|error| error.fault)?;
            for range in progress.forward() {
                sent.extend_from_slice(range.of(bytes));
            }
            data_bytes += progress.data_bytes;
            from += progress.consumed;
            if progress.complete {
                return Ok((sent, data_bytes, input[from..].to_vec()));
            }
            if !progress.is_full() {
                break;
            }
        }
        if to == input.len() {
            return Err(Fault::TooLarge); // stands for "not complete"
        }
    }
}

/// The slow and obvious reading of a chunked body: data and trailer lines, or `None` for anything not strictly right.
fn reference(input: &[u8]) -> Option<Read> {
    let mut data = Vec::new();
    let mut at = 0;
    let line = |at: &mut usize| -> Option<Vec<u8>> {
        let rest = &input[*at..];
        let end = (0..rest.len()).find(|i| rest[*i] == b'\n')?;
        *at += end + 1;
        let text = rest[..end].strip_suffix(b"\r")?;
        let is_text = text
            .iter()
            .all(|b| *b == b'\t' || (*b >= 0x20 && *b != 0x7f));
        is_text.then(|| text.to_vec())
    };
    loop {
        let size_line = line(&mut at)?;
        let digits = size_line
            .iter()
            .take_while(|b| b.is_ascii_hexdigit())
            .count();
        let extension = &size_line[digits..];
        if digits == 0
            || digits > 16
            || !(extension.is_empty() || b"; \t".contains(&extension[0]))
            || extension.len() > 1024
        {
            return None;
        }
        let size = u64::from_str_radix(std::str::from_utf8(&size_line[..digits]).ok()?, 16).ok()?;
        if size == 0 {
            break;
        }
        let size = usize::try_from(size)
            .ok()
            .filter(|size| *size <= input.len())?;
        data.extend_from_slice(input.get(at..at + size)?);
        (input.get(at + size..at + size + 2)? == b"\r\n").then_some(())?;
        at += size + 2;
    }
    let mut trailers = Vec::new();
    loop {
        let text = line(&mut at)?;
        if text.is_empty() {
            return Some((data, trailers, at));
        }
        let colon = text.iter().position(|b| *b == b':')?;
        let is_name = colon > 0 && text[..colon].iter().all(|b| facts::is_token(*b));
        is_name.then_some(())?;
        trailers.push(text);
    }
}

#[test]
fn chunks_are_forwarded_verbatim_without_extensions() {
    let check = |input: &str, expected: Result<&str, Fault>| {
        let found = decode(input.as_bytes(), BodyForm::Chunked, 1000)
            .map(|(sent, _, _)| String::from_utf8(sent).unwrap());
        assert_eq!(found, expected.map(str::to_owned), "{input:?}");
    };
    check("2\r\nok\r\n0\r\n\r\n", Ok("2\r\nok\r\n0\r\n\r\n"));
    check("2;a=b\r\nok\r\n0;c\r\n\r\n", Ok("2\r\nok\r\n0\r\n\r\n"));
    check("2 \r\nok\r\n0\r\n\r\n", Ok("2\r\nok\r\n0\r\n\r\n"));
    check("0002\r\nok\r\n000\r\n\r\n", Ok("0002\r\nok\r\n000\r\n\r\n"));
    check(
        "A\r\n0123456789\r\n0\r\n\r\n",
        Ok("A\r\n0123456789\r\n0\r\n\r\n"),
    );
    check("0\r\nX-T: 1\r\n\r\n", Ok("0\r\nX-T: 1\r\n\r\n"));
    check(
        "0\r\nContent-Length: 1\r\nX-T: 1\r\nHost: b\r\nX-Forwarded-For: 1\r\n\r\n",
        Ok("0\r\nX-T: 1\r\n\r\n"),
    );
    for bad in [
        " 2\r\n",
        "2\nok",
        "+2\r\n",
        "-2\r\n",
        "0x2\r\n",
        "\r\n",
        "2\rok",
        "00000000000000002\r\nok\r\n",
        "ffffffffffffffff\r\n",
        "8000000000000000\r\n",
        "2;a\nok",
        "2;a\x01\r\nok",
        "2;a\rb\r\n",
        "g\r\n",
    ] {
        check(bad, Err(Fault::ChunkSize));
    }
    check(
        &format!("2;{}\r\nok\r\n0\r\n\r\n", "a".repeat(2000)),
        Err(Fault::ChunkSize),
    );
    for bad in ["2\r\nokk\r\n", "2\r\nok\n0\r\n\r\n", "2\r\nok\rx"] {
        check(bad, Err(Fault::ChunkEnd));
    }
    for bad in [
        "0\r\nX T: 1\r\n\r\n",
        "0\r\nA: b\n\r\n",
        "0\r\nA: b\r\n c\r\n\r\n",
        "0\r\n\n",
        "0\r\nA: \0\r\n\r\n",
        "0\r\n: b\r\n\r\n",
    ] {
        check(bad, Err(Fault::Trailer));
    }
    check(
        &format!("0\r\n{}\r\n", "A: b\r\n".repeat(2000)),
        Err(Fault::Trailer),
    );
    check(
        &format!("0\r\nA: {}", "b".repeat(9000)),
        Err(Fault::Trailer),
    );
}

#[test]
fn agrees_with_the_slow_reference_at_every_split() {
    let mut random = Random(99);
    for _ in 0..3000 {
        let mut input = Vec::new();
        for _ in 0..random.below(6) {
            let size = 1 + random.below(40);
            input.extend_from_slice(
                format!("{size:x}{}\r\n", ["", ";a=b", " ", ";\t;"][random.below(4)]).as_bytes(),
            );
            input.extend((0..size).map(|_| random.next() as u8));
            input.extend_from_slice(b"\r\n");
        }
        input.extend_from_slice(b"0\r\n");
        for _ in 0..random.below(3) {
            input.extend_from_slice(
                [&b"X-T: 1\r\n"[..], b"Content-Length: 7\r\n", b"Y:\r\n"][random.below(3)],
            );
        }
        input.extend_from_slice(b"\r\nrest");
        if random.below(3) == 0 {
            let at = random.below(input.len());
            input[at] = b"\r\n;0 f\x7fg"[random.below(8)];
        }
        let expected = reference(&input);
        for step in [1, 2, 3, 7, 1000] {
            agree(&input, expected.as_ref(), step);
        }
    }
}

fn agree(input: &[u8], expected: Option<&Read>, step: usize) {
    let text = String::from_utf8_lossy(input).into_owned();
    let data_only = decode(input, BodyForm::DataOnly, step);
    let chunked = decode(input, BodyForm::Chunked, step);
    let Some((data, _, end)) = expected else {
        assert!(data_only.is_err() && chunked.is_err(), "{text:?}");
        return;
    };
    let (sent, data_bytes, rest) = data_only.unwrap_or_else(|fault| panic!("{fault:?} {text:?}"));
    assert_eq!(
        (&sent, data_bytes, rest.as_slice()),
        (data, data.len() as u64, &input[*end..]),
        "{text:?}"
    );
    // What was forwarded as chunks reads as the same body again, and has no extensions and no forbidden trailers.
    let (sent, data_bytes, _) = chunked.unwrap();
    let (again, trailers, length) = reference(&sent).unwrap();
    assert_eq!(
        (&again, data_bytes, length),
        (data, data.len() as u64, sent.len()),
        "{text:?}"
    );
    assert!(
        trailers.iter().all(|line| !line.starts_with(b"Content")),
        "{text:?}"
    );
}

#[test]
fn other_framings() {
    let mut length = BodyDecoder::new(Framing::Length(5), BodyForm::Chunked);
    assert_eq!(length.opaque_bytes(), Some(5));
    length.skip_opaque(2);
    let progress = length.advance(b"cdefg").unwrap();
    assert_eq!(
        (progress.consumed, progress.data_bytes, progress.complete),
        (3, 3, true)
    );
    assert_eq!(progress.forward(), [ByteRange::new(0, 3)]);
    let mut until_close = BodyDecoder::new(Framing::UntilClose, BodyForm::Chunked);
    assert_eq!(until_close.advance(b"abc").unwrap().consumed, 3);
    assert!(until_close.may_end_here() && !until_close.is_complete());
    assert!(BodyDecoder::new(Framing::Length(0), BodyForm::Chunked).is_complete());
    assert!(BodyDecoder::new(Framing::None, BodyForm::Chunked).is_complete());
}
