//! What the record of HAProxy's answers (`tests/samples.rs`) does not reach: responses, conditions over several lines, warnings, the
//! errors that are ours, memory.

use super::*;
use crate::http::Asked;
use crate::http::{Parsed, RequestHead, ResponseHead};

fn text(value: Value<'_>) -> String {
    let mut bytes = Vec::new();
    value.append_to(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn request(bytes: &[u8]) -> RequestHead {
    let mut head = RequestHead::new(64, 1024);
    assert_eq!(head.parse(bytes), Ok(Parsed::Complete));
    head
}

fn in_request(bytes: &[u8], words: &[&str]) -> Option<String> {
    let (expr, _) = parse_expr(words, &Registry::new()).expect("an expression");
    let head = request(bytes);
    let mut scratch = Scratch::new(4096);
    let mut cx = Context::new(0, &mut scratch);
    cx.request = Some(RequestView {
        head: &head,
        buffer: bytes,
    });
    expr.eval(&mut cx).map(text)
}

fn in_response(lines: &str, expression: &str) -> Option<String> {
    let bytes = format!("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n{lines}\r\n").into_bytes();
    let mut head = ResponseHead::new(64, 1024);
    assert_eq!(head.parse(&bytes, Asked::default()), Ok(Parsed::Complete));
    let (expr, _) = parse_expr(&[expression], &Registry::new()).expect("an expression");
    let mut scratch = Scratch::new(4096);
    let mut cx = Context::new(0, &mut scratch);
    cx.response = Some(ResponseView {
        head: &head,
        buffer: &bytes,
    });
    expr.eval(&mut cx).map(text)
}

/// Values that HAProxy 2.6 gives.
#[test]
fn cookies_of_responses() {
    let check = |lines: &[&str], expected: &[(&str, Option<&str>)]| {
        let lines: String = lines
            .iter()
            .map(|line| format!("Set-Cookie: {line}\r\n"))
            .collect();
        for (expression, value) in expected {
            assert_eq!(
                in_response(&lines, expression).as_deref(),
                *value,
                "{expression} of {lines}"
            );
        }
    };
    check(
        &["a=1; path=/; b=2"],
        &[
            ("res.cook(a)", Some("1")),
            ("res.cook(b)", None),
            ("res.cook", Some("1")),
            ("res.cook_cnt", Some("3")),
        ],
    );
    check(
        &["a=1", "b=2; HttpOnly", "a=3"],
        &[
            ("res.cook(a)", Some("3")),
            ("res.cook", Some("1")),
            ("scook_cnt(a)", Some("2")),
            ("res.cook_val(a)", Some("3")),
        ],
    );
    check(
        &["a=1, b=2; c=3"],
        &[
            ("res.cook(b)", Some("2")),
            ("res.cook(c)", None),
            ("res.cook_cnt", Some("3")),
        ],
    );
    check(
        &["a=\"x;y\"; z"],
        &[
            ("res.cook(a)", Some("\"x;y\"")),
            ("res.cook_val(a)", Some("-14")),
        ],
    );
    check(
        &["a"],
        &[("res.cook(a)", None), ("res.cook_cnt", Some("0"))],
    );
    check(
        &["a;b=1"],
        &[("res.cook(a)", None), ("scook(b)", Some("1"))],
    );
    check(&["$a=1"], &[("res.cook", None)]);
    check(&[" a = 1 ;"], &[("res.cook(a)", Some("1"))]);
    check(
        &["a=; b=1"],
        &[("res.cook(a)", Some("")), ("res.cook(b)", None)],
    );
    check(
        &["a=Wed, 09 Jun 2021; e=1"],
        &[("res.cook(a)", Some("Wed")), ("res.cook(e)", Some("1"))],
    );
}

#[test]
fn headers_of_responses() {
    let lines = "X-A: 1, 2\r\nX-A: 3\r\nX-Ip: 10.0.0.1:80\r\n";
    let check = |expression: &str, expected: Option<&str>| {
        assert_eq!(
            in_response(lines, expression).as_deref(),
            expected,
            "{expression}"
        );
    };
    check("status", Some("404"));
    check("res.ver", Some("1.1"));
    check("res.hdr(x-a)", Some("3"));
    check("hdr(x-a,2)", Some("2"));
    check("shdr(x-a,-3)", Some("1"));
    check("res.fhdr(x-a,1)", Some("1, 2"));
    check("res.hdr_cnt(x-a)", Some("3"));
    check("res.fhdr_cnt(x-a)", Some("2"));
    check("res.hdr_ip(x-ip)", Some("10.0.0.1"));
    check("shdr_val(x-a)", Some("3"));
    check("res.hdr_names", Some("content-length,x-a,x-a,x-ip"));
    check("req.hdr(x-a)", None);
}

#[test]
fn converters_may_be_words() {
    let words = ["src", "ipmask(24)", "lower,upper", "table", "x"];
    let (expr, used) = parse_expr(&words, &Registry::new()).expect("an expression");
    assert_eq!((used, expr.output_type()), (3, Type::Str));
    let words = ["path,", "lower", "if"];
    assert_eq!(
        parse_expr(&words, &Registry::new()).map(|(_, used)| used),
        Ok(2)
    );
}

#[test]
fn errors_that_are_ours() {
    let check = |word: &str, expected: &str| {
        assert_eq!(
            parse_expr(&[word], &Registry::new())
                .map(|_| ())
                .map_err(|error| error.to_string()),
            Err(expected.to_string())
        );
    };
    check(
        "srcc",
        "unknown fetch method 'srcc'; did you mean 'src' maybe ?",
    );
    check(
        "req.cok(a)",
        "unknown fetch method 'req.cok'; did you mean 'req.cook' maybe ?",
    );
    check(
        "path,lowr",
        "unknown converter 'lowr'; did you mean 'lower' maybe ?",
    );
    check("qqqqqqqq", "unknown fetch method 'qqqqqqqq'");
    check(
        "ssl_fc_sni",
        "fetch method 'ssl_fc_sni' is known to HAProxy but not supported by burdock",
    );
    check(
        "path,map(/nonexistent/x)",
        "invalid args in converter 'map' : failed to open pattern file </nonexistent/x>",
    );
    check(
        "path,jwt_verify(a,b)",
        "converter 'jwt_verify' is known to HAProxy but not supported by burdock",
    );
    // a converter that we lack is no keyword of the line either
    assert!(parse_expr(&["path", "jwt_verify(a,b)"], &Registry::new()).is_err());
}

#[test]
fn places() {
    let available = |expression: &str, place: Place| {
        let (expr, _) = parse_expr(&[expression], &Registry::new()).expect("an expression");
        expr.unavailable_in(place, "here")
            .map(|error| error.message)
    };
    let refused = |fetch: &str, source: &str| {
        Some(format!(
            "fetch method '{fetch}' extracts information from '{source}', none of which is available here"
        ))
    };
    use Place::*;
    assert_eq!(available("req.cook(a)", BackendServerSelection), None);
    assert_eq!(available("res.cook(a)", BackendStickStore), None);
    assert_eq!(available("method", BackendStickStore), None);
    assert_eq!(
        available("req.cook(a)", BackendStickStore),
        refused("req.cook", "HTTP request headers")
    );
    assert_eq!(
        available("res.cook(a)", BackendServerSelection),
        refused("res.cook", "HTTP response headers")
    );
    assert_eq!(
        available("status", FrontendUseBackend),
        refused("status", "HTTP response")
    );
    assert_eq!(
        available("be_name", FrontendUseBackend),
        refused("be_name", "backend")
    );
    assert_eq!(
        available("path", FrontendTcpConnection),
        refused("path", "HTTP request headers")
    );
    assert_eq!(
        available("cookie", FrontendTcpSession),
        refused("cookie", "HTTP request headers,HTTP response headers")
    );
    assert_eq!(available("src", TcpCheck), None);
}

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

#[test]
fn conditions_see_later_lines_of_their_acls() {
    let mut acls = AclSet::new(&Registry::new());
    acls.declare(&words("is_a path /a")).expect("an ACL");
    let (condition, _) = parse_condition(&words("if is_a !METH_POST or { path /c }"), &mut acls)
        .expect("a condition");
    acls.declare(&words("is_a path -i /B")).expect("an ACL");
    acls.finish();
    let check = |line: &str, expected: bool| {
        let bytes = format!("{line} HTTP/1.0\r\n\r\n").into_bytes();
        let head = request(&bytes);
        let mut scratch = Scratch::new(4096);
        let mut cx = Context::new(0, &mut scratch);
        cx.request = Some(RequestView {
            head: &head,
            buffer: &bytes,
        });
        assert_eq!(condition.matches(&mut cx), expected, "{line}");
    };
    check("GET /a", true);
    check("GET /b", true);
    check("GET /c", true);
    check("GET /d", false);
    check("POST /a", false);
    check("POST /c", true);
}

#[test]
fn conditions_of_many_forms() {
    let check = |line: &str, expected: Result<bool, &str>| {
        let mut acls = AclSet::new(&Registry::new());
        let found = parse_condition(&words(line), &mut acls).map(|(condition, _)| {
            acls.finish();
            let mut scratch = Scratch::new(64);
            condition.matches(&mut Context::new(0, &mut scratch))
        });
        assert_eq!(
            found.map_err(|error| error.to_string()),
            expected.map_err(String::from),
            "{line}"
        );
    };
    check("if TRUE", Ok(true));
    check("unless TRUE", Ok(false));
    check("if ! TRUE", Ok(false));
    check("if ! ! TRUE", Ok(true));
    check("if !!TRUE", Ok(true));
    check("if FALSE || FALSE or TRUE", Ok(true));
    check("if FALSE OR TRUE FALSE", Ok(false));
    check("if !{ always_false } TRUE", Ok(true));
    check("if || TRUE", Ok(true));
    check("if TRUE ||", Ok(true));
    check("if FALSE ||", Ok(false));
    check("if !", Ok(false));
    check("unless", Ok(true));
    check("if foo", Err("no such ACL : 'foo'"));
    check(
        "if TRU",
        Err("no such ACL : 'TRU'; did you mean 'TRUE' maybe ?"),
    );
    check("if TRUE }", Err("no such ACL : '}'"));
    check("if { src 1.2.3.4", Err("missing closing '}' in condition"));
    check("if { }", Err("missing fetch method in ACL expression ''"));
    check(
        "if { path_reg a(?=b) }",
        Err(
            "regex 'a(?=b)' has a look-ahead '(?=', which burdock does not support: it matches in linear time, without backtracking",
        ),
    );
}

#[test]
fn acl_lines_that_are_refused() {
    let check = |line: &str, expected: &str| {
        assert_eq!(
            AclSet::new(&Registry::new())
                .declare(&words(line))
                .map_err(|error| error.to_string()),
            Err(expected.to_string())
        );
    };
    check(
        "a*b src 1.2.3.4",
        "character '*' is not permitted in acl name 'a*b'.",
    );
    check(
        "OR path x",
        "acl name 'OR' will never match. 'or' is used to express a logical disjunction within a condition.",
    );
    check(
        "a",
        "error detected while parsing ACL 'a' : missing fetch method in ACL expression ''.",
    );
    check(
        "a path -f /nonexistent/x",
        "error detected while parsing ACL 'a' : failed to open pattern file </nonexistent/x>.",
    );
}

#[test]
fn warnings() {
    let mut acls = AclSet::new(&Registry::new());
    let never = "no pattern to match against were provided, so this ACL will never match.";
    let declared =
        |acls: &mut AclSet, line: &str| acls.declare(&words(line)).expect("an ACL").join("\n");
    assert!(declared(&mut acls, "a path").contains(never));
    assert_eq!(declared(&mut acls, "a path --"), "");
    assert_eq!(declared(&mut acls, "a always_true"), "");
    assert!(
        declared(&mut acls, "a path (x)")
            .contains("matching 'path' for pattern '(x)' is likely a mistake")
    );
    let mut never_matches = |line: &str, place: Place| {
        let (condition, _) = parse_condition(&words(line), &mut acls).expect("a condition");
        condition.warning_in(place, &acls)
    };
    let place = Place::BackendServerSelection;
    assert_eq!(never_matches("if a TRUE", place), None);
    assert_eq!(
        never_matches("if { res.hdr(x) y }", place).as_deref(),
        Some(
            "anonymous acl will never match because it uses keyword 'res.hdr' which is incompatible with 'backend use-server, balance or stick-match rule'"
        )
    );
    assert_eq!(
        never_matches("if HTTP_1.1", Place::BackendStickStore).as_deref(),
        Some(
            "acl 'HTTP_1.1' will never match because it only involves keywords that are incompatible with 'backend stick-store rule'"
        )
    );
    declared(&mut acls, "both res.hdr(x) y");
    declared(&mut acls, "both path y");
    let (condition, _) = parse_condition(&words("if both"), &mut acls).expect("a condition");
    assert_eq!(
        condition.warning_in(place, &acls).as_deref(),
        Some(
            "acl 'both' involves keywords 'res.hdr' which is incompatible with 'backend use-server, balance or stick-match rule'"
        )
    );
}

#[test]
fn patterns_of_files() {
    let path = std::env::temp_dir().join(format!("burdock-patterns-{}", std::process::id()));
    std::fs::write(&path, "# a comment\n\n  /a b\n\t/c\r\n/d value\n").expect("a file");
    let file = path.display().to_string();
    let check = |flags: &str, target: &str, expected: bool| {
        let mut acls = AclSet::new(&Registry::new());
        let line = format!("if {{ path {flags} -f {file} }}").replace("  ", " ");
        let (condition, _) = parse_condition(&words(&line), &mut acls).expect("a condition");
        acls.finish();
        let bytes = format!("GET {target} HTTP/1.0\r\n\r\n").into_bytes();
        let head = request(&bytes);
        let mut scratch = Scratch::new(4096);
        let mut cx = Context::new(0, &mut scratch);
        cx.request = Some(RequestView {
            head: &head,
            buffer: &bytes,
        });
        assert_eq!(condition.matches(&mut cx), expected, "{flags} {target}");
    };
    check("", "/c", true);
    check("", "/C", false);
    check("-i", "/C", true);
    check("", "/d", false);
    check("-M", "/d", true);
    check("-m beg", "/c/x", true);
    let mut acls = AclSet::new(&Registry::new());
    let line = format!("a src -f {file}");
    let error = acls.declare(&words(&line)).map_err(|error| error.message);
    let expected = "error detected while parsing ACL 'a' : '/a b' is not a valid IPv4 or IPv6 address at line 3 of file";
    assert!(error.is_err_and(|message| message.starts_with(expected)));
    std::fs::remove_file(&path).expect("the file");
}

#[test]
fn results_longer_than_the_scratch_are_none() {
    let request = b"GET /0123456789 HTTP/1.0\r\nHost: abc\r\n\r\n";
    let long = |bytes: usize| {
        let (expr, _) = parse_expr(&["base,upper"], &Registry::new()).expect("an expression");
        let head = self::request(request);
        let mut scratch = Scratch::new(bytes);
        let mut cx = Context::new(0, &mut scratch);
        cx.request = Some(RequestView {
            head: &head,
            buffer: request,
        });
        expr.eval(&mut cx).map(text)
    };
    assert_eq!(long(14).as_deref(), Some("ABC/0123456789"));
    assert_eq!(long(13), None);
}

#[test]
fn edits_are_seen() {
    let bytes = b"GET / HTTP/1.0\r\nX-A: 1\r\nX-A: 2\r\n\r\n";
    let mut head = request(bytes);
    head.headers.remove(1);
    head.headers.insert(b"x-a", b"3, 4").expect("room");
    let (expr, _) = parse_expr(&["req.hdr(x-a,2)"], &Registry::new()).expect("an expression");
    let mut scratch = Scratch::new(64);
    let mut cx = Context::new(0, &mut scratch);
    cx.request = Some(RequestView {
        head: &head,
        buffer: bytes,
    });
    assert_eq!(expr.eval(&mut cx).map(text).as_deref(), Some("3"));
}

#[test]
fn evaluation_allocates_nothing() {
    let bytes = b"GET /path?a=1 HTTP/1.1\r\nHost: www.example.com\r\nCookie: A=1; PHPSESSID=abcdef\r\nX-A: 1,2\r\n\r\n";
    let head = request(bytes);
    let expressions: Vec<Expr> = [
        "req.cook(PHPSESSID)",
        "base,lower,hex,upper,base64",
        "src,ipmask(24),lower,length",
        "req.hdr(x-a,-2),add(3),mul(4)",
        "path,word(1,/),url_enc,url_dec,crc32,xxh64",
        "urlp(a),concat(x,,y),field(1,x)",
        "base32+src,be2hex(:,2)",
    ]
    .iter()
    .map(|word| {
        parse_expr(&[word], &Registry::new())
            .expect("an expression")
            .0
    })
    .collect();
    let mut acls = AclSet::new(&Registry::new());
    let line = "if METH_GET { hdr_dom(host) -i Example } !{ path_beg /x } { src 127.0.0.0/8 } { req.cook(A),lower 1 } or { hdr(x-a),length gt 3 }";
    let (condition, _) = parse_condition(&words(line), &mut acls).expect("a condition");
    acls.finish();
    let mut scratch = Scratch::new(4096);
    let mut cx = Context::new(0, &mut scratch);
    cx.request = Some(RequestView {
        head: &head,
        buffer: bytes,
    });
    cx.source = Some("127.0.0.1:1".parse().expect("an address"));
    let before = crate::sys::counting::allocations();
    let values = expressions
        .iter()
        .filter(|expr| expr.eval(&mut cx).is_some())
        .count();
    let matches = condition.matches(&mut cx);
    assert_eq!(crate::sys::counting::allocations() - before, 0);
    assert_eq!((values, matches), (expressions.len(), true));
}

/// Pieces of the language and stray bytes, in any order: errors or expressions, but no panic, also when they are evaluated.
#[test]
fn no_words_panic() {
    const PIECES: &[&str] = &[
        "req.hdr",
        "hdr",
        "urlp",
        "req.cook",
        "src",
        "path",
        "str",
        "int",
        "bin",
        "base",
        "(",
        ")",
        ",",
        "'",
        "\"",
        "\\",
        "a",
        "-1",
        "0",
        "9999999999999999999",
        "lower",
        "word",
        "field",
        "bytes",
        "ipmask",
        "24",
        "be2hex",
        "hex2i",
        "url_dec",
        "b64dec",
        "add",
        "xxh64",
        "http_date",
        "concat",
        " ",
        "é",
        "%zz",
        "{",
        "}",
        "!",
        "||",
        "-m",
        "-i",
        "-f",
        "beg",
        "dir",
        "ip",
        "len",
        "gt",
        "1:2",
        "::1",
        "/",
    ];
    let bytes = b"GET /a?b=c&d HTTP/1.1\r\nHost: h\r\nCookie: a=b; c\r\nA: ,, \"\r\n\r\n";
    let head = request(bytes);
    let mut seed = 0x5eed_u64;
    let mut next = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % below
    };
    let (mut expressions, mut conditions) = (0, 0);
    for _ in 0..3_000 {
        let word: String = (0..1 + next(9))
            .map(|_| PIECES[next(PIECES.len())])
            .collect();
        let mut scratch = Scratch::new(64);
        if let Ok((expr, _)) = parse_expr(&[&word], &Registry::new()) {
            expressions += 1;
            let mut cx = Context::new(0, &mut scratch);
            cx.request = Some(RequestView {
                head: &head,
                buffer: bytes,
            });
            let _ = expr.eval(&mut cx);
        }
        let spread: Vec<&str> = (0..next(7)).map(|_| PIECES[next(PIECES.len())]).collect();
        let line: Vec<&str> = ["if", "{", &word]
            .into_iter()
            .chain(spread)
            .chain(["}"])
            .collect();
        let mut acls = AclSet::new(&Registry::new());
        if let Ok((condition, _)) = parse_condition(&line, &mut acls) {
            conditions += 1;
            acls.finish();
            let mut cx = Context::new(0, &mut scratch);
            cx.request = Some(RequestView {
                head: &head,
                buffer: bytes,
            });
            let _ = condition.matches(&mut cx);
        }
    }
    assert!(
        expressions > 20 && conditions > 20,
        "{expressions} expressions, {conditions} conditions"
    );
}

#[test]
fn addresses_as_the_c_library_writes_them() {
    let check = |address: &str| {
        let value = Value::Ipv6(address.parse().expect("an address"));
        assert_eq!(text(value), address);
    };
    check("::1.2.3.4");
    check("::0.1.0.0");
    check("::ffff:1.2.3.4");
    check("1:0:0:2::3");
    check("::1");
    check("64:ff9b::102:304");
}

#[test]
fn unnamed_headers_count_too() {
    let bytes = b"GET / HTTP/1.0\r\nA: 1,2\r\nB: 3\r\n\r\n";
    assert_eq!(in_request(bytes, &["req.hdr_cnt"]).as_deref(), Some("3"));
    assert_eq!(in_request(bytes, &["req.fhdr_cnt"]).as_deref(), Some("2"));
    assert_eq!(in_request(bytes, &["req.hdr"]), None);
}
