//! ACL and map files, variables of the process, and their commands: the same conversation with the packaged HAProxy and with burdock,
//! over real stats sockets, and what requests are answered in between.

pub mod support;

use support::{Program, Proxy, TempDir, free_address, get};

const CONFIGURATION: &str = "global
 stats socket {dir}/stats.sock level admin
 set-var proc.number int(5)
 set-var proc.text str(hello)
 set-var proc.sum int(2),add(proc.number)
 set-var proc.address ipv4(1.2.3.4)
 set-var proc.bytes bin(6162)
defaults
 mode http
 timeout client 5s
 timeout server 5s
 timeout connect 1s
frontend f
 bind {address}
 acl listed path -f {files}/paths.acl
 acl begun path -m beg -f {files}/paths.acl
 acl near src 127.0.0.0/8 10.0.0.0/8
 acl numbered path -u 77 /seventy-seven
 acl keyed path -M -f {files}/paths.map
 acl regular path_reg ^/r[0-9]+$ -- ^/s$
 acl long hdr_len(x-long) gt 5
 http-request deny deny_status 401 if listed
 http-request deny deny_status 421 if { path,map({files}/paths.map,none) -m str one } || { path,map_beg({files}/paths.map) -m sub prefix }
 http-request deny deny_status 404 if { path,map_reg({files}/regs.map) reg } or { path,map_regm({files}/regs.map) back-12 }
 http-request deny deny_status 405 if { req.hdr_ip(x-ip),map_ip({files}/nets.map) net }
 http-request deny deny_status 408 if { req.hdr_val(x-int),map_int_int({files}/numbers.map,0) gt 100 }
 http-request deny deny_status 410 if begun near
 http-request deny deny_status 425 if numbered or regular or long
 http-request set-var(proc.seen) path if { path /remember }
 http-request set-var(txn.count) int(1) if { path_end /var }
 http-request deny deny_status 429 if { var(txn.count) -m int 1 } { var(proc.number) -m int 5 }
 http-request deny deny_status 403 if { var(proc.seen) -m found } { path /seen }
 http-request deny deny_status 500
";

/// Paths, headers, and the status that both programs answer.
const REQUESTS: &[(&str, &str)] = &[
    ("/a", ""),
    ("/b x", ""),
    ("/k1", ""),
    ("/k2/more", ""),
    ("/k5", ""),
    ("/x-12-y", ""),
    ("/a/more", ""),
    ("/r12", ""),
    ("/s", ""),
    ("/seventy-seven", ""),
    ("/new", ""),
    ("/tx", ""),
    ("/other", ""),
    ("/other", "x-ip: 10.1.2.3"),
    ("/other", "x-ip: 192.0.2.7"),
    ("/other", "x-ip: 2001:db8::1"),
    ("/other", "x-ip: 192.0.3.7"),
    ("/other", "x-int: 7"),
    ("/other", "x-int: 8"),
    ("/other", "x-long: 123456"),
    ("/other", "x-long: 12345"),
    ("/a/var", ""),
    ("/var", ""),
    ("/remember", ""),
    ("/seen", ""),
];

const COMMANDS: &[&str] = &[
    "show acl",
    "show map",
    "show acl {files}/paths.acl",
    "show acl #1",
    "show map {files}/paths.map",
    "show acl #77",
    "show map #77",
    "show acl #999",
    "show acl /nofile",
    "get acl {files}/paths.acl /a",
    "get map {files}/paths.map /k1",
    "get map {files}/paths.map /k1x",
    "get map {files}/nets.map 10.1.2.3",
    "get map {files}/nets.map 11.1.2.3",
    "get map {files}/regs.map /x-1-",
    "get acl {files}/paths.acl nothing",
    "get acl {files}/paths.acl",
    "get map",
    "add acl {files}/paths.acl /new",
    "add acl {files}/paths.acl",
    "add acl",
    "add acl /no x",
    "add acl {files}/paths.map x",
    "add map {files}/paths.map k",
    "add map {files}/paths.map /k5 one",
    "add map {files}/nets.map bad x",
    "add map {files}/nets.map 192.0.2.0/24 net",
    "add map {files}/numbers.map abc 1",
    "add map {files}/numbers.map 8 notanumber",
    "add map {files}/numbers.map 8 200",
    "add acl #7 notip",
    "show acl {files}/paths.acl",
    "show map {files}/paths.map",
    "get map {files}/paths.map /k5",
    "?",
    "set map {files}/paths.map /k5 two",
    "set map {files}/paths.map /none two",
    "set map {files}/paths.map /k5",
    "set map /nofile a b",
    "show map {files}/numbers.map",
    "del acl {files}/paths.acl /new",
    "del acl {files}/paths.acl /nope",
    "del acl {files}/paths.acl",
    "del map {files}/paths.map /k1",
    "del map {files}/paths.map #0x1",
    "del map",
    "show map {files}/paths.map",
    "?",
    "prepare acl {files}/paths.acl",
    "prepare map {files}/paths.acl",
    "prepare acl",
    "add acl @1 {files}/paths.acl /tx",
    "add acl @9 {files}/paths.acl /tx",
    "show acl @1 {files}/paths.acl",
    "show acl {files}/paths.acl",
    "?",
    "commit acl {files}/paths.acl",
    "commit acl @5 {files}/paths.acl",
    "commit acl @1",
    "commit acl @1 {files}/paths.acl",
    "commit acl @1 {files}/paths.acl",
    "show acl {files}/paths.acl",
    "?",
    "prepare map {files}/paths.map",
    "add map @1 {files}/paths.map <<\n/k1 one\n/k2 prefix again\n",
    "show map @1 {files}/paths.map",
    "commit map @1 {files}/paths.map",
    "show map {files}/paths.map",
    "?",
    "prepare map {files}/paths.map",
    "add map @2 {files}/paths.map /gone x",
    "clear map @2 {files}/paths.map",
    "show map @2 {files}/paths.map",
    "clear map {files}/nets.map",
    "show map {files}/nets.map",
    "clear acl",
    "clear acl /no",
    "?",
    "get var proc.number",
    "get var proc.text",
    "get var proc.sum",
    "get var proc.address",
    "get var proc.bytes",
    "get var proc.seen",
    "get var proc.none",
    "get var txn.count",
    "get var",
    "set var proc.number int(6)",
    "experimental-mode on; set var proc.number int(6); get var proc.number",
    "experimental-mode on; set var proc.new expr str(x),upper; get var proc.new",
    "experimental-mode on; set var txn.z int(1)",
    "experimental-mode on; set var proc.z src",
    "experimental-mode on; set var proc.z nothing(1)",
    "experimental-mode on; set var proc.z",
    "experimental-mode on; set var",
    "experimental-mode",
    "expert-mode",
    "expert-mode on; expert-mode; expert-mode zork; expert-mode",
    "experimental-mode on; experimental-mode zork; experimental-mode",
    "operator; experimental-mode on",
    "user; expert-mode",
    "?",
];

/// Without what differs by nature: addresses in memory, how entries are counted, the sets of HAProxy's own HTTP client.
fn masked(answer: &str, files: &str) -> String {
    let mut lines = Vec::new();
    for line in answer.lines() {
        if line.contains("file 'httpclient'") {
            continue;
        }
        let line = match line.split_once(' ') {
            Some((id, rest)) if id.starts_with("0x") => format!("0x {rest}"),
            _ => line.to_string(),
        };
        let line = match line.split_once(" entry_cnt=") {
            Some((start, _)) => start.to_string(),
            None => line,
        };
        let words: Vec<&str> = line
            .split(' ')
            .map(|word| match word.ends_with("/proxy.cfg'") {
                true => "proxy.cfg'",
                false => word,
            })
            .collect();
        lines.push(words.join(" ").replace(files, "{files}"));
    }
    lines.join("\n")
}

fn converse(program: Program, folder: &TempDir) -> Vec<(String, String)> {
    let files = folder.path().display().to_string();
    let address = free_address();
    let configuration = CONFIGURATION
        .replace("{files}", &files)
        .replace("{address}", &address.to_string());
    let proxy = Proxy::start(program, &configuration);
    let mut said = Vec::new();
    let requests = |when: usize, said: &mut Vec<(String, String)>| {
        for (path, header) in REQUESTS {
            let headers: &[&str] = if header.is_empty() { &[] } else { &[header] };
            let status = get(address, path, headers).status;
            said.push((format!("{when}: GET {path} {header}"), status.to_string()));
        }
    };
    requests(0, &mut said);
    let mut answers = Vec::new();
    for (index, command) in COMMANDS.iter().enumerate() {
        if *command == "?" {
            requests(index, &mut said);
            continue;
        }
        let found = proxy.command(&command.replace("{files}", &files));
        answers.push((format!("{index}: {command}"), masked(&found, &files)));
    }
    drop(proxy);
    said.extend(answers);
    said
}

#[test]
fn burdock_answers_as_haproxy() {
    let folder = TempDir::new("patterns");
    folder.write("paths.acl", "# comment\n/a\n  /c\n\n/new-ish\n/a\n");
    folder.write(
        "paths.map",
        "# c\n/k1 one\n/k2   a prefix  \n/k3\n /k4\tv4\n/k1 dup\n",
    );
    folder.write("regs.map", "^/r[a-z] reg\n-([0-9]+)- back-\\1\n");
    folder.write(
        "nets.map",
        "10.0.0.0/8 wide\n10.1.0.0/16 net\n2001:db8::/32 net\n",
    );
    folder.write("numbers.map", "7 700\n20:30 5\n");
    let ours = converse(Program::Burdock, &folder);
    let theirs = converse(Program::Haproxy, &folder);
    let mut wrong = String::new();
    for ((what, ours), (_, theirs)) in ours.iter().zip(&theirs) {
        if ours != theirs {
            wrong += &format!("{what}\n  HAProxy {theirs:?}\n  burdock {ours:?}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    let statuses: std::collections::BTreeSet<&str> = ours
        .iter()
        .filter(|(what, _)| what.contains("GET"))
        .map(|(_, status)| status.as_str())
        .collect();
    assert!(
        statuses.len() > 9,
        "each rule has its requests: {statuses:?}"
    );
}
