//! PROXY headers: nothing is read beyond one, a beginning of one is incomplete, and what was read is written and read again.

use burdock::net::proxy_protocol::{Details, Form, Options, Origin, Said, Step, decode, encode};

/// The first bytes of a connection.
pub fn header(bytes: &[u8]) {
    let Step::Complete(length, origin) = decode(bytes, 16384) else {
        return;
    };
    assert!(length <= bytes.len());
    assert_eq!(
        decode(&bytes[..length], 16384),
        Step::Complete(length, origin)
    );
    for cut in 0..length {
        assert_eq!(
            decode(&bytes[..cut], 16384),
            Step::Incomplete,
            "cut at {cut}"
        );
    }
    let Origin::Client {
        source,
        destination,
    } = origin
    else {
        return;
    };
    let details = Details::of(&bytes[..length]);
    let said = Said {
        authority: details.authority.as_deref(),
        unique_id: details.unique_id.as_deref(),
    };
    let options = Options {
        has_checksum: true,
        has_authority: true,
        has_unique_id: true,
        has_tls: true,
    };
    let forms = [
        Form::Text,
        Form::Binary(Options::default()),
        Form::Binary(options),
    ];
    for form in forms {
        let header = encode(form, Some(source), Some(destination), said);
        let again = decode(header.bytes(), 16384);
        assert_eq!(again, Step::Complete(header.bytes().len(), origin));
        if form == Form::Binary(options) {
            let read = Details::of(header.bytes());
            let agree = |read: Option<Box<[u8]>>, said: Option<&[u8]>| match (read, said) {
                (Some(read), Some(said)) => said.starts_with(&read),
                (read, said) => read.is_none() && said.is_none(),
            };
            assert!(agree(read.authority, said.authority) && agree(read.unique_id, said.unique_id));
        }
    }
}
