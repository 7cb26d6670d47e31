//! What burdock says of small configurations, next to what the packaged HAProxy says of them.
//!
//! `tests/data/diagnostics.txt` holds the cases: a title, the configuration, and then `--- both accepted` or `--- both refused` with
//! the messages, or `--- burdock …` followed by `--- haproxy …` where the two differ on purpose: a keyword that burdock does not
//! support or has no use for, a suggestion, a hint that it adds. Messages are compared without the process id, without the two
//! notices that precede them, and without HAProxy's empty lines and doubled full stops.

use std::process::Command;

use burdock::config::{self, ParseOptions, SourceFile};

const CASES: &str = include_str!("data/diagnostics.txt");
const FILE: &str = "c.cfg";
/// Name of the local peer in all cases.
const LOCAL_PEER: &str = "me";

/// HAProxy is run on each case when this is set, else on every fifth, which takes a few seconds.
const ALL_CASES: &str = "BURDOCK_ALL_CASES";

/// What a program says of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    accepted: bool,
    messages: Vec<String>,
}

struct Case {
    title: &'static str,
    text: String,
    burdock: Verdict,
    haproxy: Verdict,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for block in CASES.split("=== ").skip(1) {
        let mut lines = block.lines();
        let title = lines.next().unwrap();
        let mut text = String::new();
        let mut verdicts: Vec<(&str, Verdict)> = Vec::new();
        for line in lines {
            if let Some(header) = line.strip_prefix("--- ") {
                let (who, what) = header.split_once(' ').unwrap();
                verdicts.push((
                    who,
                    Verdict {
                        accepted: what == "accepted",
                        messages: Vec::new(),
                    },
                ));
            } else if let Some((_, verdict)) = verdicts.last_mut() {
                verdict.messages.push(line.to_owned());
            } else {
                text.push_str(line);
                text.push('\n');
            }
        }
        let verdict = |name: &str| {
            let found = verdicts
                .iter()
                .find(|(who, _)| *who == name || *who == "both");
            found
                .unwrap_or_else(|| panic!("{title}: no verdict of {name}"))
                .1
                .clone()
        };
        cases.push(Case {
            title,
            text,
            burdock: verdict("burdock"),
            haproxy: verdict("haproxy"),
        });
    }
    cases
}

fn environment() -> Vec<(String, String)> {
    [("A", "one two  three"), ("EMPTY", ""), ("B", "q\"uo\\te$A")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}

/// One message a line, as the corpus has them.
fn normalise(output: &str) -> Vec<String> {
    let mut messages = Vec::new();
    for line in output.lines() {
        let line = line.trim_end();
        let skipped = ["Configuration file", "Warnings were found."]
            .iter()
            .any(|start| line.starts_with(start));
        if line.is_empty()
            || skipped
            || line.contains("version is")
            || line.contains("path to executable")
        {
            continue;
        }
        // `[ALERT]    (123) : config : text` to `[ALERT] text`.
        let mut message = line.to_owned();
        if let (true, Some((label, rest))) = (line.starts_with('['), line.split_once('('))
            && let Some((_, text)) = rest.split_once(") : config : ")
        {
            message = format!("{} {text}", label.trim_end());
        }
        while message.ends_with("..") && !message.ends_with("...") {
            message.pop();
        }
        messages.push(message);
    }
    messages
}

fn burdock(case: &Case) -> Verdict {
    let files = [SourceFile {
        name: FILE.into(),
        text: case.text.clone().into_bytes(),
    }];
    let options = ParseOptions {
        environment: environment(),
        host_name: "host".into(),
        local_peer: Some(LOCAL_PEER.into()),
        descriptors_max: Some(1024),
        ..ParseOptions::default()
    };
    let (config, diags) = config::parse(&files, &options);
    let context = config::diag::RenderContext {
        pid: 1,
        program: "burdock",
        version: "0",
        executable: None,
    };
    Verdict {
        accepted: config.is_some(),
        messages: normalise(&config::diag::render(&diags, &context)),
    }
}

#[test]
fn burdock_says_what_the_corpus_says() {
    let mut wrong = Vec::new();
    for case in cases() {
        let found = burdock(&case);
        if found != case.burdock {
            wrong.push(format!(
                "{}\n{}\nexpected {:#?}\nfound {found:#?}",
                case.title, case.text, case.burdock
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} cases differ\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn haproxy_says_what_the_corpus_says() {
    let version = Command::new("haproxy").arg("-v").output();
    let is_oracle = version
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("version 2.6."));
    if !is_oracle {
        eprintln!("HAProxy 2.6 is not installed: nothing to compare with");
        return;
    }
    let folder = std::env::temp_dir().join(format!("burdock-diagnostics-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let step = if std::env::var_os(ALL_CASES).is_some() {
        1
    } else {
        5
    };
    let mut wrong = Vec::new();
    for case in cases().into_iter().step_by(step) {
        std::fs::write(folder.join(FILE), &case.text).unwrap();
        let output = Command::new("haproxy")
            .args(["-L", LOCAL_PEER, "-c", "-f", FILE])
            .current_dir(&folder)
            .envs(environment())
            .output()
            .unwrap();
        // 2: a valid configuration without a listener.
        let accepted = matches!(output.status.code(), Some(0 | 2));
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        let found = Verdict {
            accepted,
            messages: normalise(&text),
        };
        if found != case.haproxy {
            wrong.push(format!(
                "{}\n{}\nexpected {:#?}\nfound {found:#?}",
                case.title, case.text, case.haproxy
            ));
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(
        wrong.is_empty(),
        "{} cases differ\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Whatever the bytes are, parsing ends and does not panic.
#[test]
fn damaged_configurations_are_refused_not_crashed_on() {
    let mut seed: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below.max(1) as u64) as usize
    };
    let all: Vec<Vec<u8>> = cases()
        .into_iter()
        .map(|case| case.text.into_bytes())
        .collect();
    // Names would be looked up in the network.
    let cases: Vec<&Vec<u8>> = all
        .iter()
        .filter(|text| !String::from_utf8_lossy(text).contains("nosuch"))
        .collect();
    let junk = b"\"'\\$#{}()[]@:,-%\0\n\xff \t.0/";
    for round in 0..3000 {
        let mut text = cases[random(cases.len())].clone();
        text.extend_from_slice(cases[random(cases.len())]);
        for _ in 0..=round % 4 {
            let at = random(text.len() + 1).min(text.len());
            match random(3) {
                0 => text.insert(at, junk[random(junk.len())]),
                1 => text.truncate(at),
                _ if at < text.len() => {
                    text.remove(at);
                }
                _ => {}
            }
        }
        let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
        // A damaged `server` line may hold a new host name.
        if lines
            .iter()
            .any(|line| line.windows(6).any(|word| word == b"server") && line.contains(&b'@'))
        {
            continue;
        }
        let files = [SourceFile {
            name: FILE.into(),
            text,
        }];
        let (config, diags) = config::parse(&files, &ParseOptions::default());
        let fatal = config::diag::any(&diags, config::Severity::Alert);
        assert_eq!(config.is_none(), fatal);
    }
}
