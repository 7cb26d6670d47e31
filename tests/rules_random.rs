//! Random rule sets through burdock and the packaged HAProxy: whatever they decide, both decide the same.
//!
//! Each seed is a batch of frontends and backends with random rules and a random client for each. A plain `cargo test` runs two
//! batches; `BURDOCK_RULES_SEEDS=<n> cargo test --test rules_random` runs n, `BURDOCK_RULES_SEED=<seed>` one again.

pub mod support;

use support::parity::{Case, Topic, differences};

/// Cases in one batch: they share one process of each program.
const CASES: usize = 12;

/// A small generator of numbers (splitmix64): the same seed, the same rules.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}

const PATHS: &[&str] = &[
    "/",
    "/a//../b%2f%3a?z=1&b=2",
    "/a",
    "/a/b",
    "/b?q=1",
    "/c/d/e",
    "/a?q=2&r=x",
];

/// In front of all cases of a batch, after the defaults: the table that all of them track in.
const COMMON: &[&str] = &[
    "global",
    "expose-experimental-directives",
    "backend t",
    "stick-table type string len 32 size 100 expire 1h store gpc0,gpt0,http_req_cnt,http_err_cnt,bytes_in_cnt",
];

/// What a condition may ask of a request.
const OF_REQUESTS: &[&str] = &[
    "path /a",
    "path_beg /a",
    "path_end b",
    "path -m sub c/d",
    "hdr(x) 1",
    "hdr(x) -m found",
    "hdr_cnt(x) gt 1",
    "urlp(q) 1",
    "method POST",
    "src 127.0.0.0/8",
    "query -m found",
    "var(txn.v) -m found",
    "var(txn.v) -m str 1",
    "req.hdr(y),lower -m str ab",
    "path,length gt 3",
    "path -f {files}/random.lst",
    "path,map({files}/random.map) -m found",
    "path,map_beg({files}/random.map,none) -m beg o",
    "req.body -m len gt 2",
    "req.body_param(k) -m found",
    "req.body_len gt 0",
    "req.cook(SRV) -m found",
    "path_reg ^/(a|b)",
    "path_dir b",
    "path,regsub(/,x,g) -m sub xb",
    "hdr_reg(x) ^[12]$",
    "hdr(x),field(2,\\,) -m found",
    "url_sub ?q=",
    "capture.req.hdr(0) -m found",
    "capture.req.uri -m end x",
    "sc_get_gpc0(0) gt 0",
    "sc_get_gpt0(0) 3",
    "path,table_gpc0(t) gt 0",
    "path,in_table(t)",
    "rand(1) lt 1",
    "always_true",
    "always_false",
];

/// What a condition may ask of a response.
const OF_RESPONSES: &[&str] = &[
    "status 404",
    "status 200:299",
    "res.hdr(a) -m found",
    "res.hdr(a) b",
    "var(txn.v) -m found",
];

const REQUEST_ACTIONS: &[&str] = &[
    "allow",
    "deny",
    "deny deny_status 404",
    "deny deny_status 429 hdr Retry-After 3",
    "return status 200 content-type text/plain lf-string \"%[path] %[var(txn.v)]\"",
    "return status 204",
    "redirect location /elsewhere",
    "redirect prefix http://o.example drop-query code 301",
    "reject",
    "set-var(txn.v) req.hdr(x)",
    "set-var(txn.v) path,length",
    "unset-var(txn.v)",
    "set-log-level notice",
    "set-src req.hdr(z)",
    "set-var-fmt(txn.v) \"%[path]-%[req.hdr(x)]\"",
    "set-var(txn.v) path,map({files}/random.map,none)",
    "set-map({files}/random.map) %[path] made-%[req.hdr(x)]",
    "del-map({files}/random.map) %[path]",
    "add-acl({files}/random.lst) %[path]",
    "del-acl({files}/random.lst) %[path]",
    "wait-for-body time 100ms",
    "wait-for-body time 100ms at-least 2",
    "set-header X-Seen \"%[var(txn.v)] %[req.body]\"",
    "add-header X 1",
    "del-header y",
    "replace-value x 1 2",
    "set-path /d%[path]",
    "set-query q=1",
    "replace-path /(.) /\\1\\1",
    "set-method PUT",
    "track-sc0 path table t",
    "sc-inc-gpc0(0)",
    "strict-mode on",
    "capture path id 1",
    "normalize-uri path-merge-slashes",
    "normalize-uri path-strip-dotdot full",
    "normalize-uri query-sort-by-name",
    // Without its word, and before a condition, HAProxy 2.6.12 merges slashes instead.
    "normalize-uri percent-to-uppercase strict",
    "replace-header x [12] <\\0>",
    "replace-pathq ^/([a-z]+)(.*) /\\1-z\\2",
    "replace-uri (.*)a(.*) \\1A\\2",
    "set-uri /u%[path]?%[query]",
    "set-pathq /p%[path]",
    "sc-set-gpt0(0) 3",
    "sc-set-gpt0(0) path,length",
    "set-priority-class int(3)",
    "set-log-level silent",
    "return status 403 default-errorfiles",
    "return status 200 content-type text/plain file {files}/random.lst hdr X-F \"%[path]\"",
    "redirect location \"/r%[path]\" code 307 set-cookie C=1",
    "redirect scheme https",
];

const RESPONSE_ACTIONS: &[&str] = &[
    "allow",
    "deny",
    "deny deny_status 403",
    "return status 201 content-type text/plain string made",
    "redirect location /back",
    "set-var(txn.v) str(r)",
    "set-log-level warning",
    "set-var-fmt(txn.v) \"%[status]-%[res.hdr(a)]\"",
    "set-map({files}/random.map) %[res.hdr(a)] %[status]",
    "set-header A %[var(txn.v)]",
    "replace-header a (.) <\\1>",
    "replace-value a b \"%[status]\"",
    "add-header B \"%[res.hdr_cnt(a)] %[capture.req.hdr(0)] %[capture.req.method]\"",
    "capture res.hdr(a) id 1",
    "set-header T \"%[res.hdr(a),table_gpc0(t)]\"",
    "sc-set-gpt0(0) status",
    "del-header a",
    "set-status 299",
    "sc-inc-gpc0(0)",
];

/// Of `http-after-response`.
const AFTER_ACTIONS: &[&str] = &[
    "allow",
    "set-header X-After %[status]",
    "set-status 298",
    "set-var(txn.v) status",
];

/// Of `tcp-response content`.
const SERVER_ACTIONS: &[&str] = &[
    "accept",
    "reject",
    "close",
    "set-var(txn.v) str(t)",
    "set-log-level err",
];

/// Of `tcp-request content`.
const CONTENT_ACTIONS: &[&str] = &[
    "accept",
    "accept",
    "reject",
    "set-var(txn.v) path",
    "track-sc1 path table t",
    "sc-inc-gpc0(1)",
];

/// What decides about persistence, where a cookie says which server.
const PERSISTENCE: &[&str] = &["force-persist", "ignore-persist"];

fn condition(random: &mut Random, tests: &[&str]) -> String {
    let word = random.pick(&["if", "if", "if", "unless"]);
    let mut text = format!(" {word}");
    for index in 0..1 + random.below(3) {
        if index > 0 {
            text += random.pick(&["", "", " or", " ||"]);
        }
        let not = random.pick(&["", "", "", "!"]);
        text += &format!(" {not}{{ {} }}", random.pick(tests));
    }
    text
}

fn rules(random: &mut Random, set: &str, actions: &[&str], tests: &[&str]) -> Vec<String> {
    let count = random.below(6);
    let mut line = || match (random.pick(actions), condition(random, tests)) {
        // What had no body has one of no bytes under another status: chunked by HAProxy, by its length here.
        (action, _) if action.starts_with("set-status") => {
            format!("{set} {action} if !{{ status 204 }}")
        }
        (action, condition) => format!("{set} {action}{condition}"),
    };
    (0..count).map(|_| line()).collect()
}

fn case(random: &mut Random, number: usize) -> Case {
    let mut case = Case {
        title: format!("random {number}"),
        number,
        ..Case::default()
    };
    case.frontend = [
        "capture request header X len 5",
        "capture response header A len 5",
        "declare capture request len 4",
        "declare capture response len 4",
    ]
    .map(String::from)
    .into();
    for lines in [&mut case.frontend, &mut case.backend] {
        if random.below(3) == 0 {
            lines.push("tcp-request inspect-delay 2s".into());
            let content = "tcp-request content";
            lines.extend(rules(random, content, CONTENT_ACTIONS, OF_REQUESTS));
        }
        lines.extend(rules(random, "http-request", REQUEST_ACTIONS, OF_REQUESTS));
        lines.extend(rules(
            random,
            "http-response",
            RESPONSE_ACTIONS,
            OF_RESPONSES,
        ));
        if random.below(3) == 0 {
            let after = "http-after-response";
            lines.extend(rules(random, after, AFTER_ACTIONS, OF_RESPONSES));
        }
    }
    if random.below(3) == 0 {
        let lines = &mut case.backend;
        lines.push("tcp-response inspect-delay 2s".into());
        for _ in 0..random.below(4) {
            // Not before the response is there: what the server has seen then is known.
            let (action, test) = (random.pick(SERVER_ACTIONS), random.pick(OF_RESPONSES));
            let rule = format!("{action} if {{ status 100:599 }} {{ {test} }}");
            lines.push(format!("tcp-response content {rule}"));
        }
    }
    if random.below(3) == 0 {
        for _ in 0..random.below(3) {
            let word = random.pick(PERSISTENCE);
            let condition = condition(random, OF_REQUESTS);
            case.backend.push(format!("{word}{condition}"));
        }
        case.backend.extend([
            "cookie SRV insert".into(),
            "server s {origin} cookie a".into(),
            "server t {origin} cookie b disabled".into(),
        ]);
    }
    for path in PATHS {
        let key = path.split('?').next().unwrap_or(path);
        case.show.push(format!("show table t key {key}"));
    }
    case.show.push("show map {files}/random.map".into());
    for _ in 0..6 {
        let (method, body) = match random.below(4) {
            0 => ("POST", random.pick(&[" << body", " << k=v", " << x"])),
            _ => ("GET", ""),
        };
        let mut line = format!("{method} {}", random.pick(PATHS));
        for (name, values) in [
            ("X", &["1", "2", "1, 2"][..]),
            ("Y", &["AB", "c"]),
            ("Z", &["192.0.2.1", "none"]),
            ("Cookie", &["SRV=a", "SRV=b", "SRV=c"]),
            ("Reply", &["404 Not Found", "204 No Content", "500 Oops"]),
            ("Reply-Header", &["A: b", "A: c"]),
        ] {
            if random.below(3) == 0 {
                line += &format!(" | {name}: {}", random.pick(values));
            }
        }
        case.client.push(line + body);
        // A connection that was closed is made anew.
        case.client.push("new".into());
    }
    case
}

#[test]
fn random_rules_decide_alike() {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let seeds = match number("BURDOCK_RULES_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("BURDOCK_RULES_SEEDS").unwrap_or(2),
    };
    for seed in seeds {
        let mut random = Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let mut topic = Topic {
            common: COMMON.iter().map(|line| (*line).to_owned()).collect(),
            cases: (1..=CASES)
                .map(|number| case(&mut random, number))
                .collect(),
        };
        topic.cases[0].files = [("random.map", "/a one\n/a/b two\n"), ("random.lst", "/c\n")]
            .map(|(name, text)| (name.into(), text.into()))
            .into();
        let differences = differences(&topic);
        let rules = topic.cases.iter().filter(|case| {
            let title = format!("=== {}\n", case.title);
            differences.iter().any(|text| text.starts_with(&title))
        });
        assert!(
            differences.is_empty(),
            "BURDOCK_RULES_SEED={seed}:\n{}\nthe rules:\n{:#?}",
            differences.join("\n"),
            rules.collect::<Vec<_>>()
        );
    }
}
