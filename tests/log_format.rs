//! `log-format` and what belongs to it, next to HAProxy: the same formats and the same traffic through both, line against line;
//! and the same mistakes, message against message.

pub mod support;

use std::net::SocketAddr;

use support::{
    Answer, Client, Origin, Program, Proxy, Syslog, TempDir, free_address, run_to_end, wait_until,
};

const RESPONSE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: x\"y]z\\|w\r\nSet-Cookie: SID=v1; path=/\r\n\r\nhi";

const REQUEST: &str = "GET /a/b?q=1 HTTP/1.1\r\nHost: h.example\r\nCookie: x=y; SID=c1\r\nX-Q: a\"b]c\\d|e#{\r\nX-Long: 0123456789\r\n\r\n";

/// What every frontend of a case has besides its format.
const CAPTURES: &str = " capture request header X-Q len 20
 capture request header nope len 5
 capture request header X-Long len 4
 capture response header Server len 50
 declare capture request len 3
 capture cookie SID len 12
 unique-id-format %{+X}o\\ %ci_%fi-%[req.hdr(host)]
 unique-id-header X-Id
";

/// Formats whose text is the same in every run.
const FORMATS: &[&str] = &[
    "plain",
    r"a\ b\ \ c",
    r#""  lead  and   trail  ""#,
    r#""%{+Q}o %ci %s %{-Q}r %f""#,
    "%%ci%%",
    "'%{+X}o %ci %ST %lc'",
    "'%{+X}ci %{+X}lc %{+X}B %{+X}fi'",
    "'%{+Q}hr %hr %hrl %{+Q}hrl %hsl %hs %{+E}hr %{+Q,+E}hs'",
    "'%{+Q}CC %CC %{+Q}CS %CS'",
    "'%{+E}[capture.req.hdr(0)] %[capture.req.hdr(0)] %{+Q}[capture.req.hdr(0)] %{+Q,+E}[capture.req.hdr(0)]'",
    "'%[capture.req.hdr(1)] %[capture.req.hdr(9)] %[capture.req.hdr(2)] %[capture.res.hdr(0)]'",
    "'%[capture.req.method] %[capture.req.uri] %[capture.req.ver] %[capture.res.ver]'",
    "'%ID %{+Q}ID %[unique-id]'",
    "'%{+Q}f|%{+Q}b|%{+Q}ts|%{+Q}tsc|%{+Q}ST|%{+Q}B|%{+Q}s|%{+Q}fi|%{+Q}bi'",
    "'%U %B %ST %ts %tsc %ac %fc %bc %sc %rc %sq %bq %lc'",
    "'%bi %si %fi %f %ft %b %s'",
    "'%HM %HP %HPO %HQ %HU %HV %r %{+Q}HM %{+Q}HU %{+E}r'",
    "'%[src] %[status] %[be_name] %[fe_name] %[method] %[str(a b),upper] %[bool(true)] %[int(5)] %[str(),length]'",
    "'%[src,ipmask(24)]x%{+X}[int(255)]%{+Q}[src]'",
    "'%sslc %sslv %{+Q}sslc'",
    "%ci%s",
    "%{-Q}ci%{Q}s%{}f%{+}b%{+Z}s",
    "'%{+Q}[str()] %[str()]'",
    "'%{+Q}o%ci%{-Q}o%f'",
    "'%o%ci ]%]'",
    "'%[str(a]b)] %[str(\"c]d\")]'",
    "'%Th %{+Q}Th'",
];

/// A frontend for each format, and its lines.
fn lines(program: Program, mode: &str, formats: &[&str], more: &str, request: &str) -> Vec<String> {
    let log = Syslog::start();
    let origin = Origin::start(|_| Answer::raw(RESPONSE));
    let fronts: Vec<SocketAddr> = formats.iter().map(|_| free_address()).collect();
    let mut text = format!(
        "global\n log {} format raw local0 info info\n stats socket {{dir}}/stats.sock level admin\n\
         defaults\n mode {mode}\n log global\n option http-server-close\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n",
        log.address()
    );
    for (index, (front, format)) in fronts.iter().zip(formats).enumerate() {
        text += &format!(
            "frontend fe{index}\n bind {front}\n log-format \"=%ft:\"{}\n default_backend be\n{more}",
            format
        );
    }
    text += &format!("backend be\n server s1 {}\n", origin.address());
    let proxy = Proxy::start(program, &text);
    log.clear();
    let mut lines = Vec::new();
    for (index, front) in fronts.iter().enumerate() {
        let mut client = Client::connect(*front);
        client.send(request);
        let _ = client.try_read_response();
        drop(client);
        let start = format!("=fe{index}:");
        let line = log.wait_for(&start, |line| line.starts_with(&start));
        lines.push(line.trim_end_matches('\n').to_owned());
        wait_until("the connection to be counted no more", || {
            proxy.command("show info").contains("CurrConns: 0\n")
        });
    }
    lines
}

fn compare(mode: &str, formats: &[&str], more: &str, request: &str) {
    let ours = lines(Program::Burdock, mode, formats, more, request);
    let theirs = lines(Program::Haproxy, mode, formats, more, request);
    for ((format, ours), theirs) in formats.iter().zip(&ours).zip(&theirs) {
        assert_eq!(same(ours), same(theirs), "{format}");
    }
}

/// With loopback addresses, which differ between runs, as `ADDRESS`.
fn same(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some(at) = [rest.find("127."), rest.find("7F")]
        .into_iter()
        .flatten()
        .min()
    {
        let is_hex = rest[at..].starts_with("7F");
        let end = match is_hex {
            true => at + 8,
            false => rest[at..]
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .map_or(rest.len(), |end| at + end),
        };
        text += &rest[..at];
        text += "ADDRESS";
        rest = rest.get(end..).unwrap_or_default();
    }
    text + rest
}

#[test]
fn formats_are_written_as_by_haproxy() {
    compare("http", FORMATS, CAPTURES, REQUEST);
}

#[test]
fn formats_of_requests_that_are_none() {
    let formats = &[
        "'%HM %HP %HPO %HQ %HU %HV %r %{+Q}r %ST %B %tsc %CC %hr'",
        "'%ID %[capture.req.uri] %TR %Tw %Tc %Tr %Td %Tq'",
    ];
    compare("http", formats, CAPTURES, "GET\r\n\r\n");
}

#[test]
fn formats_of_other_targets() {
    let formats = &["'%HM %HP %HPO %HQ %HU %HV %r'"];
    for request in [
        "GET http://abs.example:81/p/q?r HTTP/1.1\r\nHost: abs.example:81\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a\"b]c\\d HTTP/1.0\r\n\r\n",
    ] {
        compare("http", formats, "", request);
    }
}

#[test]
fn formats_in_tcp_mode() {
    let formats = &["'%ci %fi %ft %b %s %B %ts %rc %lc %hr %ID %Th %bi %si %tsc %ST'"];
    compare("tcp", formats, "", "hello\r\n\r\n");
}

/// The messages of a configuration check, without what differs: pids, the file's folder, summaries.
fn messages(program: Program, line: &str) -> Vec<String> {
    let folder = TempDir::new("format");
    let text = format!(
        "defaults\n mode http\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n\
         frontend fe\n bind 127.0.0.1:7999\n log 127.0.0.1 local0\n {line}\n default_backend be\n\
         backend be\n server s1 127.0.0.1:1\n"
    );
    let path = folder
        .write("test.cfg", text)
        .to_string_lossy()
        .into_owned();
    let finished = run_to_end(program, &["-c", "-f", &path]);
    let output = finished.stdout + &finished.stderr;
    output
        .lines()
        .filter(|line| line.contains("[ALERT]") || line.contains("[WARNING]"))
        .filter(|line| !line.contains("rror(s) found") && !line.contains("Fatal errors"))
        .map(|line| {
            let text = line.split_once(" : ").map_or(line, |(_, text)| text);
            text.replace("config : ", "").replace(&path, "FILE")
        })
        .collect()
}

#[test]
fn mistakes_are_named_as_by_haproxy() {
    for line in [
        "log-format",
        "log-format a b",
        "log-format '%xx'",
        "log-format '%c'",
        "log-format '%'",
        "log-format 'a %'",
        "log-format '%{+Q'",
        "log-format '%{+Q}'",
        "log-format '%{+Q}}ci'",
        "log-format '%{+Q]ci'",
        "log-format '%[src'",
        "log-format '%[src,upper'",
        "log-format '%[src foo] abc'",
        "log-format '%[src;]'",
        "log-format '%[nosuch] abc %ci'",
        "log-format '%[src,nosuch]'",
        "log-format '%[]'",
        "log-format '%[req.hdr(x)] y'",
        "log-format '%[hdr(x)]'",
        "unique-id-format",
        "unique-id-format %xx",
        "unique-id-header",
        "log-tag",
        "capture",
        "capture foo",
        "capture request foo",
        "capture request header X",
        "capture request header X len",
        "capture request header X len 5 b",
        "capture cookie X",
        "declare capture",
        "declare capture foo",
        "declare capture request",
        "declare capture request len",
        "declare capture request len x",
        "log-format '%{+Q,-X}o %ci'",
        "capture cookie X len 5 6",
        "http-request capture src id 0",
        "http-response capture src id 3",
        "http-request capture src",
        "http-request capture src len 0",
        "http-request capture src foo 5",
        "http-response capture src len 5",
        "option originalto foo",
        "option originalto header",
        "http-request set-header x",
        "http-request set-header x %xx",
        "http-request set-header x y z",
        "http-request del-header x -m foo",
        "http-request del-header x -m",
        "http-request replace-header x a",
        "http-request set-path a b",
        "http-request replace-path a",
        "http-response set-status",
        "http-response set-status 99",
        "http-request early-hint x",
    ] {
        let ours = messages(Program::Burdock, line);
        assert_eq!(ours, messages(Program::Haproxy, line), "{line}");
    }
}
