//! PROXY headers: nothing is read beyond one, a beginning of one is incomplete, and what was read is written and read again.

use burdock::net::proxy_protocol::{Form, Origin, Step, decode, encode};

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
    let forms = [
        Form::Text,
        Form::Binary {
            with_checksum: false,
        },
        Form::Binary {
            with_checksum: true,
        },
    ];
    for form in forms {
        let header = encode(form, Some(source), Some(destination));
        let again = decode(header.bytes(), 16384);
        assert_eq!(again, Step::Complete(header.bytes().len(), origin));
    }
}
