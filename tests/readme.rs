//! What the README says of the configuration language, asked of the command.

pub mod support;

use burdock::config::keywords::{
    BIND, FOREIGN_SECTIONS, GLOBAL, OPTIONS, PEERS, PROXY, SERVER, Support,
};
use support::{Program, TempDir, run_to_end};

const README: &str = include_str!("../README.md");

/// What `burdock -c` says to a configuration.
fn check(configuration: &str) -> String {
    let folder = TempDir::new("readme");
    let path = folder.write("proxy.cfg", configuration);
    let finished = run_to_end(
        Program::Burdock,
        &["-c", "-L", "haproxy1", "-f", &path.display().to_string()],
    );
    finished.stderr
}

/// The words in backticks of the first line (and those indented under it) that begins with `start`.
fn words(start: &str) -> Vec<&'static str> {
    let from = README
        .find(&format!("\n{start}"))
        .expect("the README has this line")
        + 1;
    let text = &README[from + start.len()..];
    let end = text
        .find("\n- ")
        .into_iter()
        .chain(text.find("\n|"))
        .chain(text.find("\n\n"))
        .min();
    let text = &text[..end.unwrap_or(text.len())];
    text.split('`').skip(1).step_by(2).collect()
}

fn lines_about(text: &str, what: &str) -> String {
    text.lines()
        .filter(|line| line.contains(what))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_configuration_is_accepted_as_it_stands() {
    let start = README.find("```\nglobal").expect("a configuration") + 4;
    let text = &README[start..start + README[start..].find("```").unwrap()];
    // Names and limits of the machine are not the page's business.
    let text: String = text
        .lines()
        .filter(|line| {
            !["user", "group", "maxconn"]
                .contains(&line.split_whitespace().next().unwrap_or_default())
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let said = check(&text);
    assert_eq!(
        lines_about(&said, "[ALERT]") + &lines_about(&said, "[WARNING]"),
        "",
        "{text}"
    );
}

#[test]
fn what_is_said_not_to_work_is_refused_by_name() {
    let rows = [
        ("- in `global`:", "global\n", " {} x"),
        ("- in a proxy:", "listen l\n", " {} x"),
        ("- not planned, in a proxy:", "listen l\n", " {} x"),
        ("- as an option:", "listen l\n", " option {} x"),
        (
            "- on a `server` line:",
            "listen l\n",
            " server s{} 127.0.0.1:80 {} x",
        ),
        (
            "- on a `bind` line:",
            "frontend f\n",
            " bind 127.0.0.1:80 {} x",
        ),
        ("- of `balance`:", "listen l\n", " balance {}"),
        ("- of `http-check`:", "listen l\n", " http-check {} x"),
        ("- sections:", "", "{} x"),
    ];
    for (row, section, line) in rows {
        // One file a row: after fifty errors the rest is not looked at.
        let mut text = String::from(section);
        for word in words(row) {
            text.push_str(&line.replace("{}", word));
            text.push('\n');
        }
        let said = check(&text);
        let first = section.lines().count();
        for (number, line) in text.lines().enumerate().skip(first) {
            let place = format!(":{}] ", number + 1);
            assert!(
                lines_about(&said, &place).contains("not supported"),
                "line {} ('{line}') is not refused as unsupported:\n{said}",
                number + 1
            );
        }
    }
}

#[test]
fn what_is_refused_is_said_not_to_work() {
    let proxy = [words("- in a proxy:"), words("- not planned, in a proxy:")].concat();
    let tables = [
        ("global", GLOBAL, words("- in `global`:")),
        ("a proxy", PROXY, proxy),
        ("peers", PEERS, Vec::new()), // refuses nothing
        ("option", OPTIONS, words("- as an option:")),
        ("server", SERVER, words("- on a `server` line:")),
        ("bind", BIND, words("- on a `bind` line:")),
    ];
    for (place, table, listed) in tables {
        for (name, support) in table {
            let is_refused = matches!(support, Support::Refused(_));
            assert!(
                !is_refused || listed.contains(name),
                "'{name}' of {place} is refused, and the README does not say so"
            );
        }
    }
    let sections = words("- sections:");
    for (name, _) in FOREIGN_SECTIONS {
        assert!(sections.contains(name), "section '{name}'");
    }
}

#[test]
fn what_is_said_to_work_is_known() {
    let sections = [
        ("global", "global\n"),
        ("proxies", "listen l\n"),
        ("servers", "listen l\n"),
        ("options", "listen l\n"),
    ];
    for (row, section) in sections {
        let name = if row == "global" { "`global`" } else { row };
        for word in words(&format!("| {name} |")) {
            let keyword = word.split(' ').next().unwrap_or_default();
            let line = match row {
                "servers" => format!(" server s 127.0.0.1:80 {keyword}"),
                "options" => format!(" option {keyword}"),
                _ => format!(" {keyword}"),
            };
            let said = check(&format!("{section}{line}\n"));
            for fault in [
                "unknown keyword",
                "unknown option",
                "not supported",
                "has no effect",
            ] {
                assert!(!said.contains(fault), "'{line}' in {row}: {said}");
            }
        }
    }
}

/// The rule sets.
const SETS: [&str; 7] = [
    "tcp-request connection",
    "tcp-request session",
    "tcp-request content",
    "tcp-response content",
    "http-request",
    "http-response",
    "http-after-response",
];

/// What is said of a word as an action of each rule set.
fn said_of_action(word: &str) -> Vec<(&'static str, String)> {
    let rule = |set: &str| check(&format!("listen l\n mode http\n {set} {word} x\n"));
    SETS.iter().map(|set| (*set, rule(set))).collect()
}

#[test]
fn actions_that_are_said_not_to_work_are_refused_by_name() {
    let actions = words("- rules:");
    assert!(actions.len() > 5);
    for action in actions {
        // A service other than the one that works is unknown to HAProxy too.
        if action.contains(' ') {
            continue;
        }
        let said = said_of_action(action);
        let is_refused = |said: &str| {
            lines_about(said, &format!("{action}'")).contains("is known to HAProxy but not")
        };
        assert!(
            said.iter().any(|(_, said)| is_refused(said)),
            "{action}: {said:?}"
        );
    }
}

#[test]
fn actions_that_are_said_to_work_are_known() {
    for action in words("| rules |") {
        let (set, name) = action.rsplit_once(' ').unwrap_or(("", action));
        if SETS.contains(&set) || SETS.contains(&action) || name == "prometheus-exporter" {
            continue;
        }
        // Not actions: keywords of the section.
        if action.starts_with('%')
            || ["inspect-delay", "use_backend", "use-server", "userlist"].contains(&action)
        {
            continue;
        }
        let said = said_of_action(action);
        let is_known = |said: &str| {
            !said.contains(&format!("got '{action}'")) && !said.contains("not supported")
        };
        assert!(
            said.iter().any(|(_, said)| is_known(said)),
            "{action}: {said:?}"
        );
    }
}

#[test]
fn samples_that_are_said_not_to_work_are_refused_by_name() {
    let fetches = words("- fetches:");
    let converters = words("- converters:");
    assert!(fetches.len() > 10 && converters.len() > 3);
    let said = |name: &str| check(&format!("frontend f\n bind 127.0.0.1:1\n acl a {name}\n"));
    for (names, kind) in [(fetches, "fetch method"), (converters, "converter")] {
        for name in names {
            let word = match kind {
                "converter" => format!("path,{name}"),
                _ => name.to_owned(),
            };
            let said = said(&word);
            let expected = format!("{kind} '{name}' is known to HAProxy but not supported");
            assert!(said.contains(&expected), "{name}: {said}");
        }
    }
}
