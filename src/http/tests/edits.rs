//! Edits: what each does, alone, and that no sequence of them leaves a message that can be read in two ways.

use super::*;
use crate::http::edit::{EditError, HeadEdit};
use crate::http::{ConnectionTokens, reason_phrase};

const REQUEST: &str =
    "GET /a/b?q=1 HTTP/1.1\r\nHost: h.example\r\nX-One: 1\r\nx-two: 2\r\nX-One: 3\r\n\r\n";
const LINES: &str = "Host: h.example\r\nX-One: 1\r\nx-two: 2\r\nX-One: 3\r\n\r\n";

/// The head as it leaves after `edit`.
fn edited(input: &str, edit: impl FnOnce(&mut RequestHead, &[u8])) -> String {
    let buffer = input.as_bytes();
    let (_, mut head) = request(buffer).expect("valid");
    edit(&mut head, buffer);
    head.settle_edits(buffer);
    sent(&head, buffer)
}

fn sent(head: &RequestHead, buffer: &[u8]) -> String {
    let mut plan = ForwardPlan::new(4);
    plan.push_request(head, buffer);
    drain(&mut plan, buffer, &head.headers, 1000)
}

/// The request line after an edit of it, or why there was none.
fn line(
    input: &str,
    edit: impl FnOnce(&mut RequestHead, &[u8]) -> Result<(), EditError>,
) -> String {
    let mut outcome = Ok(());
    let text = edited(input, |head, buffer| outcome = edit(head, buffer));
    match outcome {
        Ok(()) => text.lines().next().unwrap_or_default().to_owned(),
        Err(error) => {
            assert_eq!(text, input, "a refused edit changes nothing");
            format!("{error:?}")
        }
    }
}

#[test]
fn headers_are_added_set_removed_and_replaced() {
    type Edit = fn(&mut HeadEdit<'_>, &[u8]) -> Result<(), EditError>;
    let check = |edit: Edit, expected: &str| {
        let text = edited(REQUEST, |head, buffer| {
            edit(&mut HeadEdit::Request(head), buffer).expect("possible");
        });
        assert_eq!(text, format!("GET /a/b?q=1 HTTP/1.1\r\n{expected}\r\n"));
    };
    check(
        |edit, buffer| edit.add_header(buffer, b"x-one", b"4"),
        "Host: h.example\r\nX-One: 1\r\nx-two: 2\r\nX-One: 3\r\nx-one: 4\r\n",
    );
    check(
        |edit, buffer| edit.set_header(buffer, b"x-one", b"4"),
        "Host: h.example\r\nx-two: 2\r\nx-one: 4\r\n",
    );
    check(
        |edit, buffer| {
            edit.remove_headers(buffer, |name| name.eq_ignore_ascii_case(b"X-ONE"));
            Ok(())
        },
        "Host: h.example\r\nx-two: 2\r\n",
    );
    check(
        |edit, buffer| edit.replace_value(1, buffer, b"one"),
        "Host: h.example\r\nX-One: one\r\nx-two: 2\r\nX-One: 3\r\n",
    );
    check(
        |edit, buffer| {
            edit.replace_value(0, buffer, b"first.example")?;
            edit.replace_value(0, buffer, b"second.example")?;
            edit.add_header(buffer, b"x-three", b"")?;
            edit.replace_value(4, buffer, b"3")
        },
        "Host: second.example\r\nX-One: 1\r\nx-two: 2\r\nX-One: 3\r\nx-three: 3\r\n",
    );
    // Framing is not what rules decide.
    check(
        |edit, buffer| {
            edit.set_header(buffer, b"content-length", b"5")?;
            edit.add_header(buffer, b"Transfer-Encoding", b"chunked")
        },
        "Host: h.example\r\nX-One: 1\r\nx-two: 2\r\nX-One: 3\r\n",
    );
}

#[test]
fn later_readers_see_the_edited_message() {
    let buffer = REQUEST.as_bytes();
    let (_, mut head) = request(buffer).expect("valid");
    head.set_uri(buffer, b"http://u.example/x?y")
        .expect("possible");
    let mut edit = HeadEdit::Request(&mut head);
    edit.set_header(buffer, b"x-two", b"two").expect("possible");
    edit.replace_value(1, buffer, b"one").expect("possible");
    assert_eq!(head.target(buffer), b"http://u.example/x?y");
    let value = |name: &'static [u8], n| head.headers.full_value(buffer, name, n);
    assert_eq!(value(b"host", 1), Some(&b"u.example"[..]));
    assert_eq!(value(b"x-two", 1), Some(&b"two"[..]));
    assert_eq!(value(b"x-two", 2), None);
    assert_eq!(value(b"x-one", 1), Some(&b"one"[..]));
    assert_eq!(value(b"x-one", 2), Some(&b"3"[..]));
    assert_eq!(head.client_method_name(buffer), b"GET");
}

#[test]
fn targets_change_as_in_haproxy() {
    let absolute = REQUEST.replace("/a/b", "http://h.example/a/b");
    let none = REQUEST.replace("?q=1", "");
    let star = "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n";
    let bare = REQUEST.replace("/a/b?q=1", "http://h.example");
    type Edit = fn(&mut RequestHead, &[u8]) -> Result<(), EditError>;
    let check = |input: &str, edit: Edit, expected: &str| assert_eq!(line(input, edit), expected);
    check(
        REQUEST,
        |head, b| head.set_path(b, b"/np"),
        "GET /np?q=1 HTTP/1.1",
    );
    check(
        REQUEST,
        |head, b| head.set_path(b, b"/a?b"),
        "GET /a?b?q=1 HTTP/1.1",
    );
    check(
        &absolute,
        |head, b| head.set_path(b, b"/np"),
        "GET http://h.example/np?q=1 HTTP/1.1",
    );
    check(
        &bare,
        |head, b| head.set_path(b, b"/np"),
        "GET http://h.example/np HTTP/1.1",
    );
    check(
        star,
        |head, b| head.set_path(b, b"/x"),
        "OPTIONS /x HTTP/1.1",
    );
    check(
        REQUEST,
        |head, b| head.set_pathq(b, b"/z"),
        "GET /z HTTP/1.1",
    );
    check(
        &absolute,
        |head, b| head.set_pathq(b, b"/z?w"),
        "GET http://h.example/z?w HTTP/1.1",
    );
    check(
        REQUEST,
        |head, b| head.set_query(b, b"a=b?c"),
        "GET /a/b?a=b?c HTTP/1.1",
    );
    check(
        REQUEST,
        |head, b| head.set_query(b, b""),
        "GET /a/b? HTTP/1.1",
    );
    check(
        &none,
        |head, b| head.set_query(b, b"x"),
        "GET /a/b?x HTTP/1.1",
    );
    check(&none, |head, b| head.set_query(b, b""), "GET /a/b HTTP/1.1");
    check(
        REQUEST,
        |head, b| head.set_uri(b, b"/rel"),
        "GET /rel HTTP/1.1",
    );
    check(
        REQUEST,
        |head, b| head.set_method(b, b"lower"),
        "lower /a/b?q=1 HTTP/1.1",
    );
    check(
        REQUEST,
        |head, b| {
            head.set_path(b, b"/one")?;
            head.set_method(b, b"PURGE")?;
            head.set_query(b, b"two")?;
            head.set_path(b, b"/three")
        },
        "PURGE /three?two HTTP/1.1",
    );
    // What HAProxy would send.
    for bad in [
        &b"foo"[..],
        b"",
        b"/a b",
        b"/a#b",
        b"/\xc3",
        b"/\r\n",
        b"*",
        b"http:///x",
    ] {
        assert_eq!(line(REQUEST, |head, b| head.set_uri(b, bad)), "Invalid");
    }
    check(star, |head, b| head.set_query(b, b"a"), "Invalid");
    check(star, |head, b| head.set_method(b, b"GET"), "Invalid");
    check(REQUEST, |head, b| head.set_method(b, b"CONNECT"), "Invalid");
    check(REQUEST, |head, b| head.set_method(b, b"A B"), "Invalid");
}

#[test]
fn host_and_an_absolute_target_agree() {
    let absolute = REQUEST.replace("/a/b", "http://h.example:80/a/b");
    let set = |input: &str, host: &[u8]| {
        edited(input, |head, b| {
            HeadEdit::Request(head)
                .set_header(b, b"host", host)
                .expect("possible");
        })
    };
    assert_eq!(
        set(&absolute, b"new.example"),
        "GET http://new.example/a/b?q=1 HTTP/1.1\r\nX-One: 1\r\nx-two: 2\r\nX-One: 3\r\nhost: new.example\r\n\r\n"
    );
    assert_eq!(
        edited(REQUEST, |head, b| head
            .set_uri(b, b"http://u:81/")
            .expect("possible")),
        format!(
            "GET http://u:81/ HTTP/1.1\r\n{}",
            LINES.replace("h.example", "u:81")
        )
    );
    let refused = |input: &str, edit: fn(&mut HeadEdit<'_>, &[u8]) -> Result<(), EditError>| {
        let text = edited(input, |head, b| {
            let outcome = edit(&mut HeadEdit::Request(head), b);
            assert_eq!(outcome, Err(EditError::Invalid));
        });
        assert_eq!(text, input, "a refused edit changes nothing");
    };
    refused(REQUEST, |edit, b| {
        edit.add_header(b, b"HOST", b"two.example")
    });
    refused(REQUEST, |edit, b| edit.set_header(b, b"host", b"bad host"));
    refused(&absolute, |edit, b| edit.set_header(b, b"host", b""));
    refused(&absolute, |edit, b| edit.replace_value(0, b, b"a,b"));
    refused(REQUEST, |edit, b| edit.set_header(b, b"x y", b"1"));
    refused(REQUEST, |edit, b| edit.set_header(b, b"", b"1"));
    refused(REQUEST, |edit, b| edit.add_header(b, b"x", b"a\r\nb: c"));
    refused(REQUEST, |edit, b| edit.replace_value(1, b, b"a\0"));
}

#[test]
fn a_client_cannot_name_away_what_a_rule_wrote() {
    let input = "GET / HTTP/1.1\r\nHost: h\r\nConnection: x-a, x-b\r\nx-a: 1\r\nx-b: 2\r\n\r\n";
    let text = edited(input, |head, b| {
        let mut edit = HeadEdit::Request(head);
        edit.set_header(b, b"x-a", b"ours").expect("possible");
        prepare_request(head, b, true).expect("room");
    });
    assert_eq!(text, "GET / HTTP/1.1\r\nHost: h\r\nx-a: ours\r\n\r\n");
}

#[test]
fn upgrades_follow_the_edits() {
    let input = "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n";
    let text = edited(input, |head, b| {
        HeadEdit::Request(head).remove_headers(b, |name| name.eq_ignore_ascii_case(b"upgrade"));
        head.settle_edits(b);
        assert!(!head.upgrade);
        prepare_request(head, b, true).expect("room");
    });
    assert_eq!(text, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
}

/// Status, and the head that is sent, after `set-status`; what happens to the body.
fn status(input: &str, asked: Asked, client: Method, status: u16) -> (String, BodyForm) {
    let buffer = input.as_bytes();
    let (_, mut head) = response(buffer, asked).expect("valid");
    head.set_status(buffer, status, None).expect("possible");
    let receiver = Receiver {
        version: Version::Http11,
        wants_head: client == Method::Head,
        asked_head: asked.method == Method::Head,
    };
    let delivery = prepare_response(&mut head, buffer, receiver, true).expect("room");
    let mut plan = ForwardPlan::new(4);
    plan.push_response(&head, buffer);
    (drain(&mut plan, buffer, &head.headers, 1000), delivery.body)
}

#[test]
fn a_new_status_or_method_gets_the_body_that_its_reader_expects() {
    let get = Asked {
        method: Method::Get,
        upgrade: false,
    };
    let head = Asked {
        method: Method::Head,
        upgrade: false,
    };
    let two = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
    let check = |input: &str, asked, client, code, expected: &str, body| {
        assert_eq!(
            status(input, asked, client, code),
            (expected.to_owned(), body),
            "{input} {code}"
        );
    };
    let (whole, nothing) = (BodyForm::Chunked, BodyForm::Nothing);
    check(
        two,
        get,
        Method::Get,
        404,
        "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n",
        whole,
    );
    check(
        two,
        get,
        Method::Get,
        204,
        "HTTP/1.1 204 No Content\r\n\r\n",
        nothing,
    );
    check(
        two,
        get,
        Method::Get,
        304,
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n",
        nothing,
    );
    check(two, get, Method::Head, 200, two, nothing);
    check(two, head, Method::Head, 200, two, whole);
    check(
        two,
        head,
        Method::Get,
        200,
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        whole,
    );
    let empty = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    check(
        "HTTP/1.1 204 No Content\r\n\r\n",
        get,
        Method::Get,
        200,
        empty,
        whole,
    );
    check(
        "HTTP/1.1 304 N\r\nContent-Length: 7\r\n\r\n",
        get,
        Method::Get,
        200,
        empty,
        whole,
    );
    assert_eq!(reason_phrase(599), b"Server Error");
    let (_, mut switched) = response(
        b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n",
        Asked {
            method: Method::Get,
            upgrade: true,
        },
    )
    .expect("valid");
    assert_eq!(switched.set_status(b"", 200, None), Err(EditError::Invalid));
    let (_, mut plain) = response(two.as_bytes(), get).expect("valid");
    for code in [0, 99, 100, 101, 199, 1000] {
        assert_eq!(
            plain.set_status(two.as_bytes(), code, None),
            Err(EditError::Invalid)
        );
    }
    let split = plain.set_status(two.as_bytes(), 200, Some(b"a\r\nb: c"));
    assert_eq!(split, Err(EditError::Invalid));
}

#[test]
fn the_room_is_bounded_and_used_again() {
    let buffer = REQUEST.as_bytes();
    let bytes_max = 400;
    let mut head = RequestHead::new(20, bytes_max);
    assert_eq!(head.parse(buffer), Ok(Parsed::Complete));
    let value = [b'v'; 100];
    // The same header again and again: what it was before does not count.
    for _ in 0..20 {
        let mut edit = HeadEdit::Request(&mut head);
        assert_eq!(edit.set_header(buffer, b"x-one", &value), Ok(()));
        assert_eq!(head.set_path(buffer, b"/p"), Ok(()));
    }
    let mut edit = HeadEdit::Request(&mut head);
    assert_eq!(edit.add_header(buffer, b"x-more", &value), Ok(()));
    assert_eq!(
        edit.add_header(buffer, b"x-much", &value),
        Err(EditError::NoRoom)
    );
    assert_eq!(
        edit.set_header(buffer, b"x-one", &[b'w'; 120]),
        Err(EditError::NoRoom)
    );
    assert_eq!(
        edit.headers().full_value(buffer, b"x-one", 1),
        Some(&value[..])
    );
    // This hop's own words have their own room.
    assert!(prepare_request(&mut head, buffer, false).is_ok());
    assert!(sent(&head, buffer).len() <= bytes_max + 128);
}

/// Numbers that are spread well and the same in every run (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 27)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.next() as usize % from.len()]
    }

    /// Bytes that are mostly harmless.
    fn bytes(&mut self) -> Vec<u8> {
        const PIECES: [&[u8]; 16] = [
            b"a",
            b"/",
            b"?",
            b" ",
            b"\r\n",
            b"\0",
            b":",
            b"#",
            b"%20",
            b"chunked",
            b"close",
            b"\xff",
            b"http://x.y",
            b"\n\nGET / HTTP/1.1\r\n",
            b",",
            b"upgrade",
        ];
        (0..self.next() % 4)
            .flat_map(|_| self.pick(&PIECES).to_vec())
            .collect()
    }

    fn edit(&mut self, head: &mut RequestHead, buffer: &[u8]) -> Result<(), EditError> {
        const NAMES: [&[u8]; 12] = [
            b"x-one",
            b"x-two",
            b"Host",
            b"host",
            b"content-length",
            b"Transfer-Encoding",
            b"connection",
            b"upgrade",
            b"a b",
            b"",
            b"cookie",
            b"te",
        ];
        let (name, value) = (self.pick(&NAMES), self.bytes());
        let line = self.next() as usize % 8;
        match self.next() % 11 {
            0 => HeadEdit::Request(head).add_header(buffer, name, &value),
            1 | 2 => HeadEdit::Request(head).set_header(buffer, name, &value),
            3 => {
                // A request without Host is the one thing that an operator may make invalid.
                HeadEdit::Request(head).remove_headers(buffer, |other| {
                    !other.eq_ignore_ascii_case(b"host") && other.eq_ignore_ascii_case(name)
                });
                Ok(())
            }
            4 | 5 => {
                let index = line.min(head.headers.lines().len() - 1);
                HeadEdit::Request(head).replace_value(index, buffer, &value)
            }
            6 => head.set_method(buffer, &value),
            7 => head.set_uri(buffer, &value),
            8 => head.set_path(buffer, &value),
            9 => head.set_pathq(buffer, &value),
            _ => head.set_query(buffer, &value),
        }
    }
}

#[test]
fn no_sequence_of_edits_makes_a_message_ambiguous() {
    const INPUTS: [&str; 5] = [
        REQUEST,
        "POST http://h:80/a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nX-One: 1\n\r\n",
        "PUT /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: x-one\r\nx-one: 1\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n",
        "GET /o HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    ];
    let mut random = Random(1);
    for round in 0..20_000 {
        let buffer = random.pick(&INPUTS).as_bytes();
        let mut head = RequestHead::new(20, random.pick(&[300, 700, 16384]));
        assert_eq!(head.parse(buffer), Ok(Parsed::Complete));
        let framing = head.framing;
        let had_host = head.headers.find_known(buffer, Known::Host).count();
        for _ in 0..1 + random.next() % 6 {
            let before = sent(&head, buffer);
            if random.edit(&mut head, buffer).is_err() {
                assert_eq!(
                    sent(&head, buffer),
                    before,
                    "round {round}: refused, but changed"
                );
            }
        }
        head.settle_edits(buffer);
        prepare_request(&mut head, buffer, random.next().is_multiple_of(2))
            .expect("room of its own");
        let text = sent(&head, buffer);
        let mut again = RequestHead::new(500, 16384);
        let parsed = again.parse(text.as_bytes());
        assert_eq!(parsed, Ok(Parsed::Complete), "round {round}: {text:?}");
        assert_eq!(again.end as usize, text.len(), "round {round}: {text:?}");
        assert_eq!(again.framing, framing, "round {round}: {text:?}");
        assert!(!again.connection.others, "round {round}: {text:?}");
        assert_eq!(again.upgrade, head.upgrade, "round {round}: {text:?}");
        assert_eq!(again.method, head.method, "round {round}: {text:?}");
        assert_eq!(
            again.target(text.as_bytes()),
            head.target(buffer),
            "round {round}: {text:?}"
        );
        let hosts = again
            .headers
            .find_known(text.as_bytes(), Known::Host)
            .count();
        assert!((had_host..=1).contains(&hosts), "round {round}: {text:?}");
        let tokens = again.connection;
        assert!(
            tokens == ConnectionTokens::default()
                || tokens.close != tokens.upgrade
                || tokens.keep_alive
        );
    }
}
