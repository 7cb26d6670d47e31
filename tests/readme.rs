//! What the README says of the configuration language, asked of the command.

pub mod support;

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
    let proxy: Vec<_> = words("- in a proxy:")
        .into_iter()
        .chain(words("- not planned, in a proxy:"))
        .collect();
    let mut text = String::from("listen l\n mode http\n");
    for word in proxy {
        text.push_str(&format!(" {word} x\n"));
    }
    for word in words("- on a `server` line:") {
        text.push_str(&format!(" server s{word} 127.0.0.1:80 {word} x\n"));
    }
    text.push_str("frontend f\n");
    for word in words("- on a `bind` line:") {
        text.push_str(&format!(" bind 127.0.0.1:80 {word} x\n"));
    }
    let said = check(&text);
    for (number, line) in text.lines().enumerate() {
        let place = format!(":{}] ", number + 1);
        if line.starts_with(' ')
            && !line.contains("mode")
            && !lines_about(&said, &place).contains("not supported")
        {
            panic!(
                "line {} ('{line}') is not refused as unsupported:\n{said}",
                number + 1
            );
        }
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
