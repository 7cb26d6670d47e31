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

const PATHS: &[&str] = &["/", "/a", "/a/b", "/b?q=1", "/c/d/e", "/a?q=2&r=x"];

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
];

const RESPONSE_ACTIONS: &[&str] = &[
    "allow",
    "deny",
    "deny deny_status 403",
    "return status 201 content-type text/plain string made",
    "redirect location /back",
    "set-var(txn.v) str(r)",
    "set-log-level warning",
];

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
    let mut line = || format!("{set} {}{}", random.pick(actions), condition(random, tests));
    (0..count).map(|_| line()).collect()
}

fn case(random: &mut Random, number: usize) -> Case {
    let mut case = Case {
        title: format!("random {number}"),
        number,
        ..Case::default()
    };
    for lines in [&mut case.frontend, &mut case.backend] {
        lines.extend(rules(random, "http-request", REQUEST_ACTIONS, OF_REQUESTS));
        lines.extend(rules(
            random,
            "http-response",
            RESPONSE_ACTIONS,
            OF_RESPONSES,
        ));
    }
    for _ in 0..6 {
        let (method, body) = match random.below(4) {
            0 => ("POST", " << body"),
            _ => ("GET", ""),
        };
        let mut line = format!("{method} {}", random.pick(PATHS));
        for (name, values) in [
            ("X", &["1", "2", "1, 2"][..]),
            ("Y", &["AB", "c"]),
            ("Z", &["192.0.2.1", "none"]),
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
        let topic = Topic {
            common: Vec::new(),
            cases: (1..=CASES)
                .map(|number| case(&mut random, number))
                .collect(),
        };
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
