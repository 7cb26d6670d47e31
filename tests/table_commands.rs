//! `show table`, `set table` and `clear table`: a transcript of HAProxy 2.6 against the packaged HAProxy and against burdock, over
//! real stats sockets.

pub mod support;

use support::{Program, Proxy, free_address};

const CONFIGURATION: &str = include_str!("data/table-commands.cfg");
const TRANSCRIPT: &str = include_str!("data/table-commands.txt");

/// Without ids and lifetimes, rows sorted: HAProxy lists entries by key, burdock by place.
fn masked(answer: &str) -> Vec<String> {
    let mut lines: Vec<String> = answer
        .lines()
        .filter(|line| !line.is_empty())
        .map(masked_line)
        .collect();
    lines.sort_by_key(|line| {
        if line.starts_with("0x: ") {
            line.clone()
        } else {
            String::new()
        }
    });
    lines
}

fn masked_line(line: &str) -> String {
    let Some((_, row)) = line.split_once(": key=") else {
        return line.to_string();
    };
    let mask = |word: &str| match word.strip_prefix("exp=") {
        Some(exp) if exp != "0" => "exp=*".to_string(),
        _ => word.to_string(),
    };
    let words: Vec<String> = row.split(' ').map(mask).collect();
    format!("0x: key={}", words.join(" "))
}

fn check(program: Program) {
    let configuration = CONFIGURATION.replace("{peer}", &free_address().to_string());
    let proxy = Proxy::start_with(program, &configuration, &["-L", "here"]);
    let mut wrong = String::new();
    for entry in TRANSCRIPT.trim_start_matches("> ").split("\n> ") {
        let (command, expected) = entry.split_once('\n').unwrap_or((entry, ""));
        let found = proxy.command(command);
        if masked(&found) != masked(expected) || !found.ends_with('\n') {
            wrong += &format!("{command}\n  recorded {expected}\n  found    {found}\n");
        }
    }
    drop(proxy);
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn haproxy_answers_as_recorded() {
    check(Program::Haproxy);
}

#[test]
fn burdock_answers_as_recorded() {
    check(Program::Burdock);
}
