//! The commands of the master itself, and what they answer.

use std::fmt::Write as _;

use crate::config::model::AccessLevel;
use crate::runtime::commands::{Spec, session};

/// All commands, in the order of the help.
pub(super) const COMMANDS: &[Spec] = &[
    session(
        &["@!<pid>"],
        "@!<pid>",
        "send a command to the <pid> process",
    ),
    session(
        &["@<relative", "pid>"],
        "@<relative pid>",
        "send a command to the <relative pid> process",
    ),
    session(
        &["@master"],
        "@master",
        "send a command to the master process",
    ),
    session(
        &["operator"],
        "operator",
        "lower the level of the current CLI session to operator",
    ),
    session(&["reload"], "reload", "reload burdock"),
    session(
        &["show", "cli", "level"],
        "show cli level",
        "display the level of the current CLI session",
    ),
    session(
        &["show", "cli", "sockets"],
        "show cli sockets",
        "dump list of cli sockets",
    ),
    session(&["show", "proc"], "show proc", "show processes status"),
    session(
        &["show", "startup-logs"],
        "show startup-logs",
        "report logs emitted during the last start or reload",
    ),
    session(
        &["show", "version"],
        "show version",
        "show version of the current process",
    ),
    session(
        &["user"],
        "user",
        "lower the level of the current CLI session to user",
    ),
    session(
        &["help"],
        "help [<command>]",
        "list matching or all commands",
    ),
    session(&["prompt"], "prompt", "toggle interactive mode with prompt"),
    session(&["quit"], "quit", "disconnect"),
];

/// A process, as `show proc` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::process) struct Process {
    /// Its pid.
    pub pid: i32,
    /// Attempts to reload that it has seen.
    pub reloads: u32,
    /// For how long it has been running.
    pub uptime_ms: u64,
    /// The version that it was started as.
    pub version: String,
}

/// All processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::process) struct Processes {
    /// The master.
    pub master: Process,
    /// Attempts to reload that failed since the last one that did not.
    pub failed: u32,
    /// The worker that serves, or is about to.
    pub current: Option<Process>,
    /// Workers that finish what is running.
    pub former: Vec<Process>,
}

impl Processes {
    /// The pid that a prefix without its `@` names; `None`: nobody's.
    pub(super) fn find(&self, name: &str) -> Option<i32> {
        let mut all = self.current.iter().chain(&self.former);
        match name.strip_prefix('!') {
            Some(pid) => {
                let pid: i32 = pid.parse().ok()?;
                all.find(|process| process.pid == pid)
                    .map(|process| process.pid)
            }
            None if name == "1" => self.current.as_ref().map(|process| process.pid),
            None => None,
        }
    }

    /// `show proc`.
    pub(super) fn show(&self) -> String {
        let mut text = row(["#<PID>", "<type>", "<reloads>", "<uptime>", "<version>"]);
        let reloads = format!("{} [failed: {}]", self.master.reloads, self.failed);
        text.push_str(&process_row(&self.master, "master", reloads));
        text.push_str("# workers\n");
        if let Some(process) = &self.current {
            let reloads = process.reloads.to_string();
            text.push_str(&process_row(process, "worker", reloads));
        }
        if !self.former.is_empty() {
            text.push_str("# old workers\n");
        }
        for process in &self.former {
            let reloads = process.reloads.to_string();
            text.push_str(&process_row(process, "worker", reloads));
        }
        // burdock runs no programs beside its workers; tools look for the line.
        text.push_str("# programs\n");
        text
    }
}

fn process_row(process: &Process, kind: &str, reloads: String) -> String {
    let seconds = process.uptime_ms / 1000;
    let uptime = format!(
        "{}d{:02}h{:02}m{:02}s",
        seconds / 86_400,
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60
    );
    let pid = process.pid.to_string();
    row([&pid, kind, &reloads, &uptime, &process.version])
}

/// HAProxy's columns.
fn row(cells: [&str; 5]) -> String {
    let mut line = String::new();
    for (index, cell) in cells.iter().enumerate() {
        let blank = if index == 4 { "\n" } else { " " };
        let _ = write!(line, "{cell:<15}{blank}");
    }
    line
}

/// `show cli sockets`.
pub(super) fn show_sockets(sockets: &[(String, AccessLevel)]) -> String {
    let mut text = String::from("# socket lvl processes\n");
    for (address, level) in sockets {
        let _ = writeln!(text, "{address} {} master", level.name());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, reloads: u32, uptime_ms: u64) -> Process {
        Process {
            pid,
            reloads,
            uptime_ms,
            version: "2.6.12-1+deb12u4".into(),
        }
    }

    #[test]
    fn processes_are_listed_as_haproxy_lists_them() {
        let mut processes = Processes {
            master: process(15041, 1, 2_999),
            failed: 0,
            current: Some(process(15115, 0, 1_000)),
            former: vec![process(15057, 1, 2_000)],
        };
        let expected = "\
#<PID>          <type>          <reloads>       <uptime>        <version>      
15041           master          1 [failed: 0]   0d00h00m02s     2.6.12-1+deb12u4
# workers
15115           worker          0               0d00h00m01s     2.6.12-1+deb12u4
# old workers
15057           worker          1               0d00h00m02s     2.6.12-1+deb12u4
# programs
";
        assert_eq!(processes.show(), expected);
        processes.former.clear();
        assert!(!processes.show().contains("old workers"));
        processes.master.uptime_ms = ((49 * 60 + 3) * 60 + 4) * 1000;
        assert!(processes.show().contains(" 2d01h03m04s "));
    }

    #[test]
    fn prefixes_name_processes() {
        let processes = Processes {
            master: process(1, 0, 0),
            failed: 0,
            current: Some(process(20, 0, 0)),
            former: vec![process(10, 0, 0)],
        };
        for (name, pid) in [
            ("1", Some(20)),
            ("2", None),
            ("!20", Some(20)),
            ("!10", Some(10)),
            ("!1", None),
            ("!", None),
            ("x", None),
            ("-1", None),
            ("1x", None),
        ] {
            assert_eq!(processes.find(name), pid, "{name}");
        }
    }
}
