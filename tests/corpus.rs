//! The corpus of doubtful messages (`tests/corpus/*.txt`) through the real binary, with a server behind it that records what reaches it
//! and a strict reader (`tests/fuzz/src/strict.rs`) on either side.
//!
//! Each case says which outcomes are safe. `tests/corpus/TABLE.md` shows what burdock, HAProxy and nginx make of all of them;
//! `BURDOCK_CORPUS_TABLE=1 cargo test --test corpus` runs the three and writes it. Without, burdock runs all cases, and HAProxy
//! every tenth; what they do must be safe, what the table says, and never more lenient than HAProxy there.
//!
//! `relaxed-*.txt` are tried with `option accept-invalid-http-request` and `-response` in burdock and HAProxy; there a strict reader and a
//! generous one have to agree on the framing, instead of the strict one accepting every byte.
//!
//! A case: its name, `section` (RFC and section), `safe` (outcomes), perhaps `body` (what has to arrive), `method` and `then` (what the server
//! does after a response: `keep` or `close`), then the bytes. `\r \n \t \0
//! \xHH \\` are what they are elsewhere, `\{N*text}` repeats, line ends of the file are nothing; in a response `\x1e` is a pause.
//!
//! Outcomes of a request, as its server sees it: `none` of it arrived whole; it was `cut`, and the connection closed; `one` message
//! arrived, or `two`, where a second was sent. Of a response, as its client sees it: `none`, an error page or no word in its place; `cut`; `one`.
//! Everything else (`ambiguous`, `smuggled`, `poisoned`, `changed`) is never safe.

#[path = "fuzz/src/strict.rs"]
pub mod strict;
pub mod support;
#[path = "corpus/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use world::{Kind, Software, run};

/// A case of the corpus.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// RFC and section.
    pub section: String,
    /// Safe outcomes.
    pub safe: Vec<String>,
    /// The body that has to arrive.
    pub body: Option<Vec<u8>>,
    /// Method of the request that a response answers.
    pub method: String,
    /// The server closes after a response.
    pub closes: bool,
    /// The message.
    pub bytes: Vec<u8>,
}

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The outcome, one of the words above.
    pub outcome: String,
    /// Statuses that the client read.
    pub statuses: String,
}

/// All that is tried, in the order of the table.
const KINDS: [Kind; 4] = [
    Kind::Requests,
    Kind::Responses,
    Kind::RelaxedRequests,
    Kind::RelaxedResponses,
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn cases(prefix: &str) -> Vec<Case> {
    let files = fs::read_dir(folder()).expect("tests/corpus");
    let mut paths: Vec<PathBuf> = files
        .map(|file| file.expect("a file").path())
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(prefix) && name.ends_with(".txt"))
        })
        .collect();
    paths.sort();
    let mut cases = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).expect("a corpus file");
        for block in text.split("=== ").skip(1) {
            let (head, bytes) = block.split_once("---\n").expect("a case has bytes");
            let mut lines = head.lines();
            let mut case = Case {
                name: lines.next().expect("a name").to_owned(),
                section: String::new(),
                safe: Vec::new(),
                body: None,
                method: "GET".to_owned(),
                closes: true,
                bytes: unescape(bytes),
            };
            for line in lines {
                let (key, value) = line.split_once(':').expect("key: value");
                let value = value.strip_prefix(' ').unwrap_or(value);
                match key {
                    "section" => case.section = value.to_owned(),
                    "safe" => case.safe = value.split(' ').map(str::to_owned).collect(),
                    "body" => case.body = Some(unescape(value)),
                    "method" => case.method = value.to_owned(),
                    "then" => case.closes = value == "close",
                    _ => panic!("{}: {key}?", case.name),
                }
            }
            cases.push(case);
        }
    }
    cases
}

/// The bytes that a text stands for.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        match first {
            '\n' => {}
            '\\' => {
                let kind = rest.chars().next().expect("an escape");
                rest = &rest[1..];
                match kind {
                    'r' => bytes.push(b'\r'),
                    'n' => bytes.push(b'\n'),
                    't' => bytes.push(b'\t'),
                    '0' => bytes.push(0),
                    '\\' => bytes.push(b'\\'),
                    'x' => {
                        let (digits, after) = rest.split_at(2);
                        bytes.push(u8::from_str_radix(digits, 16).expect("two digits"));
                        rest = after;
                    }
                    '{' => {
                        let (inner, after) = rest.split_once('}').expect("a repetition ends");
                        let (count, what) = inner.split_once('*').expect("N*text");
                        let what = unescape(what);
                        bytes.extend(what.repeat(count.parse().expect("a count")));
                        rest = after;
                    }
                    other => panic!("\\{other}?"),
                }
            }
            other => bytes.extend(other.to_string().bytes()),
        }
    }
    bytes
}

/// How much an outcome lets through.
fn leniency(outcome: &str) -> u32 {
    match outcome {
        "none" => 0,
        "cut" => 1,
        "one" | "two" => 2,
        _ => 3,
    }
}

/// A cell of the table, and back.
fn cell(seen: &Seen) -> String {
    match seen.statuses.as_str() {
        "" => seen.outcome.clone(),
        statuses => format!("{} ({statuses})", seen.outcome),
    }
}

fn outcome_of(cell: &str) -> &str {
    cell.split(" (").next().unwrap_or(cell)
}

/// The rows of the table by case: burdock, HAProxy, nginx.
fn recorded() -> BTreeMap<String, [String; 3]> {
    let text = fs::read_to_string(folder().join("TABLE.md")).expect("tests/corpus/TABLE.md");
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let clean = |index: usize| cells[index].trim_matches('*').to_owned();
        rows.insert(
            cells[1].trim_matches('`').to_owned(),
            [clean(4), clean(5), clean(6)],
        );
    }
    rows
}

/// What is wrong, a line each.
fn faults(kind: Kind) -> String {
    let cases = cases(kind.prefix());
    let table = recorded();
    let sample: Vec<Case> = cases.iter().step_by(10).cloned().collect();
    let seen = run(Software::Burdock, kind, &cases);
    let theirs = run(Software::Haproxy, kind, &sample);
    let mut wrong = String::new();
    for (case, seen) in cases.iter().zip(&seen) {
        let Some([ours, haproxy, _]) = table.get(&case.name) else {
            let _ = writeln!(wrong, "{}: not in TABLE.md", case.name);
            continue;
        };
        if !case.safe.contains(&seen.outcome) {
            let _ = writeln!(wrong, "{}: {} is not safe", case.name, cell(seen));
        }
        if outcome_of(ours) != seen.outcome {
            let _ = writeln!(wrong, "{}: {}, TABLE.md has {ours}", case.name, cell(seen));
        }
        if leniency(&seen.outcome) > leniency(outcome_of(haproxy)) {
            let _ = writeln!(
                wrong,
                "{}: {} lets more through than HAProxy's {haproxy}",
                case.name,
                cell(seen)
            );
        }
    }
    for (case, seen) in sample.iter().zip(&theirs) {
        let haproxy = &table[&case.name][1];
        // What HAProxy does with some faults depends on which of its two sides is faster.
        let does_so = |_| {
            run(Software::Haproxy, kind, std::slice::from_ref(case))[0].outcome
                == outcome_of(haproxy)
        };
        if outcome_of(haproxy) != seen.outcome && !(0..8).any(does_so) {
            let _ = writeln!(
                wrong,
                "{}: HAProxy: {}, TABLE.md has {haproxy}",
                case.name,
                cell(seen)
            );
        }
    }
    wrong
}

/// Runs the three and writes the table.
fn write_table() {
    let mut text = String::from(
        "# The corpus through burdock, HAProxy and nginx\n\n\
         Written by `BURDOCK_CORPUS_TABLE=1 cargo test --test corpus`, from the cases in this folder; `tests/corpus.rs` says what the words \
         mean. An outcome in **bold** is not among the safe ones. In brackets: the statuses that the client read.\n",
    );
    for kind in KINDS {
        let prefix = kind.prefix().replace('-', " ");
        let cases = cases(kind.prefix());
        let all = [Software::Burdock, Software::Haproxy, Software::Nginx]
            .map(|software| run(software, kind, &cases));
        let unsafe_count = |seen: &[Seen]| {
            let pairs = cases.iter().zip(seen);
            pairs
                .filter(|(case, seen)| !case.safe.contains(&seen.outcome))
                .count()
        };
        let _ = write!(
            text,
            "\n## {} {prefix}\n\nNot safe: burdock {}, HAProxy {}, nginx {}.\n\n\
             | case | RFC | safe | burdock | {} | {} |\n|---|---|---|---|---|---|\n",
            cases.len(),
            unsafe_count(&all[0]),
            unsafe_count(&all[1]),
            unsafe_count(&all[2]),
            Software::Haproxy.title(),
            Software::Nginx.title(),
        );
        for (index, case) in cases.iter().enumerate() {
            let cells = all.each_ref().map(|seen| {
                let mark = if case.safe.contains(&seen[index].outcome) {
                    ""
                } else {
                    "**"
                };
                format!("{mark}{}{mark}", cell(&seen[index]))
            });
            let _ = writeln!(
                text,
                "| `{}` | {} | {} | {} |",
                case.name,
                case.section,
                case.safe.join(", "),
                cells.join(" | ")
            );
        }
    }
    fs::write(folder().join("TABLE.md"), text).expect("TABLE.md");
}

#[test]
fn what_leaves_is_what_was_decided() {
    if std::env::var_os("BURDOCK_CORPUS_TABLE").is_some() {
        write_table();
    }
    let wrong: String = KINDS.into_iter().map(faults).collect();
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn the_corpus_is_large_enough_and_names_its_sections() {
    let (requests, responses) = (cases("requests"), cases("responses"));
    assert!(requests.len() >= 300 && responses.len() >= 150);
    let mut names = std::collections::HashSet::new();
    let relaxed = [Kind::RelaxedRequests, Kind::RelaxedResponses].map(|kind| cases(kind.prefix()));
    assert!(relaxed.iter().all(|cases| !cases.is_empty()));
    for case in requests
        .iter()
        .chain(&responses)
        .chain(relaxed.iter().flatten())
    {
        assert!(names.insert(&case.name), "{} twice", case.name);
        assert!(case.section.starts_with("911"), "{}", case.name);
        assert!(!case.safe.is_empty() && case.safe.iter().all(|safe| leniency(safe) < 3));
    }
}
