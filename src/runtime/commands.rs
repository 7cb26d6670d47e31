//! The commands: their words, their help and who answers them. The master has a list of its own (process::console), found and shown in the same way.

use super::answer::Reply;
use super::command::Command;
use super::context::Context;
use super::invocation::Invocation;
use super::{errors, patterns, servers, table, variables, views};

/// Answers a command.
pub type Handler = fn(&Invocation<'_>, &mut Context<'_>) -> Reply;

/// A command.
pub struct Spec {
    /// The words that call it.
    pub words: &'static [&'static str],
    /// How it is called, as the help shows it.
    pub usage: &'static str,
    /// What it does.
    pub purpose: &'static str,
    /// Who answers it; `None`: the session itself.
    handler: Option<Handler>,
}

const fn spec(
    words: &'static [&'static str],
    usage: &'static str,
    purpose: &'static str,
    handler: Handler,
) -> Spec {
    Spec {
        words,
        usage,
        purpose,
        handler: Some(handler),
    }
}

/// A command that concerns only the session, which knows its words itself.
pub const fn session(
    words: &'static [&'static str],
    usage: &'static str,
    purpose: &'static str,
) -> Spec {
    Spec {
        words,
        usage,
        purpose,
        handler: None,
    }
}

/// All commands in the order of the help: by name, then those that every session has.
pub const COMMANDS: &[Spec] = &[
    spec(
        &["add", "acl"],
        "add acl [@<ver>] <acl> <pattern>",
        "add an acl entry",
        patterns::add_acl,
    ),
    spec(
        &["add", "map"],
        "add map [@<ver>] <map> <key> <val>",
        "add a map entry (payload supported instead of key/val)",
        patterns::add_map,
    ),
    spec(
        &["clear", "acl"],
        "clear acl [@<ver>] <acl>",
        "clear the contents of this acl",
        patterns::clear_acl,
    ),
    spec(
        &["clear", "counters"],
        "clear counters [all]",
        "clear max statistics counters (or all counters)",
        servers::clear_counters,
    ),
    spec(
        &["clear", "map"],
        "clear map [@<ver>] <map>",
        "clear the contents of this map",
        patterns::clear_map,
    ),
    spec(
        &["clear", "table"],
        "clear table <table> [<filter>]*",
        "remove an entry from a table (filter: data/key)",
        table::clear,
    ),
    spec(
        &["commit", "acl"],
        "commit acl @<ver> <acl>",
        "commit the ACL at this version",
        patterns::commit_acl,
    ),
    spec(
        &["commit", "map"],
        "commit map @<ver> <map>",
        "commit the map at this version",
        patterns::commit_map,
    ),
    spec(
        &["del", "acl"],
        "del acl <acl> [<key>|#<ref>]",
        "delete acl entries matching <key>",
        patterns::del_acl,
    ),
    spec(
        &["del", "map"],
        "del map <map> [<key>|#<ref>]",
        "delete map entries matching <key>",
        patterns::del_map,
    ),
    spec(
        &["disable", "server"],
        "disable server (DEPRECATED)",
        "disable a server for maintenance (use 'set server' instead)",
        servers::disable_server,
    ),
    spec(
        &["enable", "server"],
        "enable server  (DEPRECATED)",
        "enable a disabled server (use 'set server' instead)",
        servers::enable_server,
    ),
    session(
        &["expert-mode"],
        "expert-mode [on|off]",
        "enable/disable/show expert mode",
    ),
    session(
        &["experimental-mode"],
        "experimental-mode [on|off]",
        "enable/disable/show experimental mode",
    ),
    spec(
        &["get", "acl"],
        "get acl <acl> <value>",
        "report the patterns matching a sample for an ACL",
        patterns::get_acl,
    ),
    spec(
        &["get", "map"],
        "get map <acl> <value>",
        "report the keys and values matching a sample for a map",
        patterns::get_map,
    ),
    spec(
        &["get", "var"],
        "get var <name>",
        "retrieve contents of a process-wide variable",
        variables::get,
    ),
    spec(
        &["get", "weight"],
        "get weight <bk>/<srv>",
        "report a server's current weight",
        servers::get_weight,
    ),
    session(
        &["operator"],
        "operator",
        "lower the level of the current CLI session to operator",
    ),
    spec(
        &["prepare", "acl"],
        "prepare acl <acl>",
        "prepare a new version for atomic ACL replacement",
        patterns::prepare_acl,
    ),
    spec(
        &["prepare", "map"],
        "prepare map <acl>",
        "prepare a new version for atomic map replacement",
        patterns::prepare_map,
    ),
    spec(
        &["set", "map"],
        "set map <map> [<key>|#<ref>] <value>",
        "modify a map entry",
        patterns::set_map,
    ),
    spec(
        &["set", "maxconn", "frontend"],
        "set maxconn frontend <frontend> <value>",
        "change a frontend's maxconn setting",
        servers::set_maxconn_frontend,
    ),
    spec(
        &["set", "maxconn", "global"],
        "set maxconn global <value>",
        "change the per-process maxconn setting",
        servers::set_maxconn_global,
    ),
    spec(
        &["set", "maxconn", "server"],
        "set maxconn server <bk>/<srv>",
        "change a server's maxconn setting",
        servers::set_maxconn_server,
    ),
    spec(
        &["set", "server"],
        "set server <bk>/<srv> [opts]",
        "change a server's state, weight or address",
        servers::set_server,
    ),
    session(
        &["set", "severity-output"],
        "set severity-output [none|number|string]",
        "set presence of severity level in feedback information",
    ),
    spec(
        &["set", "table"],
        "set table <table> key <k> [data.* <v>]*",
        "update or create a table entry's data",
        table::set,
    ),
    session(
        &["set", "timeout"],
        "set timeout [cli] <delay>",
        "change a timeout setting",
    ),
    spec(
        &["set", "var"],
        "set var <name> [fmt|expr] {<fmt>|<expr>}",
        "set variable from an expression or a format",
        variables::set,
    ),
    spec(
        &["set", "weight"],
        "set weight <bk>/<srv>  (DEPRECATED)",
        "change a server's weight (use 'set server' instead)",
        servers::set_weight,
    ),
    spec(
        &["show", "acl"],
        "show acl [@<ver>] <acl>]",
        "report available acls or dump an acl's contents",
        patterns::show_acl,
    ),
    spec(
        &["show", "backend"],
        "show backend",
        "list backends in the current running config",
        views::show_backend,
    ),
    session(
        &["show", "cli", "level"],
        "show cli level",
        "display the level of the current CLI session",
    ),
    spec(
        &["show", "cli", "sockets"],
        "show cli sockets",
        "dump list of cli sockets",
        views::show_cli_sockets,
    ),
    spec(
        &["show", "env"],
        "show env [var]",
        "dump environment variables known to the process",
        views::show_env,
    ),
    spec(
        &["show", "errors"],
        "show errors [<px>] [request|response]",
        "report last request and/or response errors for each proxy",
        errors::show_errors,
    ),
    spec(
        &["show", "info"],
        "show info [json|typed|float]*",
        "report information about the running process",
        views::show_info,
    ),
    spec(
        &["show", "map"],
        "show map [@ver] [map]",
        "report available maps or dump a map's contents",
        patterns::show_map,
    ),
    spec(
        &["show", "peers"],
        "show peers [dict|-] [section]",
        "dump some information about all the peers or this peers section",
        views::show_peers,
    ),
    spec(
        &["show", "peers", "errors"],
        "show peers errors [section]",
        "dump the last message of each peer that violated the protocol",
        views::show_peers_errors,
    ),
    spec(
        &["show", "peers", "lag"],
        "show peers lag [section]",
        "report how far each peer is behind, table by table",
        views::show_peers_lag,
    ),
    spec(
        &["show", "servers", "conn"],
        "show servers conn [<backend>]",
        "dump server connections status (all or for a single backend)",
        views::show_servers_conn,
    ),
    spec(
        &["show", "servers", "state"],
        "show servers state [<backend>]",
        "dump volatile server information (all or for a single backend)",
        views::show_servers_state,
    ),
    spec(
        &["show", "startup-logs"],
        "show startup-logs",
        "report logs emitted during the start",
        views::show_startup_logs,
    ),
    spec(
        &["show", "stat"],
        "show stat [json|no-maint|typed|up]*",
        "report counters for each proxy and server",
        views::show_stat,
    ),
    spec(
        &["show", "table"],
        "show table <table> [<filter>]*",
        "report table usage stats or dump this table's contents (filter: data/key)",
        table::show,
    ),
    spec(
        &["show", "version"],
        "show version",
        "show version of the current process",
        views::show_version,
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

/// The commands that every list of the help ends with.
const ALWAYS_LISTED: usize = 3;

/// The most that a list of similar commands names.
const SIMILAR_MAX: usize = 5;

/// The command of `commands` that `command` calls.
pub fn find(commands: &'static [Spec], command: &Command) -> Option<&'static Spec> {
    let found = commands
        .iter()
        .filter(|spec| starts_with(command, spec.words));
    // `show peers lag` is more than `show peers`.
    found.max_by_key(|spec| spec.words.len())
}

impl Spec {
    /// Answers `call`; `None` for a command that the session answers itself.
    pub fn answer(&self, call: &Invocation<'_>, context: &mut Context<'_>) -> Option<Reply> {
        self.handler.map(|handler| handler(call, context))
    }
}

fn starts_with(command: &Command, words: &[&str]) -> bool {
    words
        .iter()
        .enumerate()
        .all(|(index, word)| command.word(index) == word.as_bytes())
}

/// What a command that does not exist answers: the similar ones, or all.
pub fn unknown_command(commands: &'static [Spec], command: &Command) -> String {
    let similar = similar(commands, command, 0);
    let head = if similar.is_empty() {
        "Unknown command. Please enter one of the following commands only:"
    } else {
        "Unknown command, but maybe one of the following ones is a better match:"
    };
    list(commands, head, &similar)
}

/// `help [<command>]`.
pub fn help(commands: &'static [Spec], command: &Command) -> String {
    list(
        commands,
        "The following commands are valid at this level:",
        &similar(commands, command, 1),
    )
}

fn list(commands: &[Spec], head: &str, similar: &[&Spec]) -> String {
    let mut text = format!("{head}\n");
    let (named, always) = commands.split_at(commands.len() - ALWAYS_LISTED);
    let named: Vec<&Spec> = if similar.is_empty() {
        named.iter().collect()
    } else {
        similar.to_vec()
    };
    for spec in named.into_iter().chain(always) {
        text.push_str(&format!("  {:<40}: {}\n", spec.usage, spec.purpose));
    }
    text
}

/// The commands that the words of `command` from `first` on may have meant, in the order of the help: those that begin
/// with these words, or else those whose words are spelt most alike.
fn similar(commands: &'static [Spec], command: &Command, first: usize) -> Vec<&'static Spec> {
    let words: Vec<&str> = (first..command.words().len())
        .map(|index| command.text(index))
        .collect();
    let named = &commands[..commands.len() - ALWAYS_LISTED];
    if words.is_empty() {
        return Vec::new();
    }
    let begun: Vec<&Spec> = named.iter().filter(|spec| begins(spec, &words)).collect();
    if !begun.is_empty() {
        return begun;
    }
    let mut near: Vec<(usize, &Spec)> = named
        .iter()
        .filter_map(|spec| {
            let typed: Vec<&str> = words.iter().copied().take(spec.words.len()).collect();
            let (typed, known) = (typed.join(" "), spec.words.join(" "));
            let distance = edit_distance(&typed, &known);
            (distance * 2 <= known.len()).then_some((distance, spec))
        })
        .collect();
    near.sort_by_key(|(distance, _)| *distance);
    near.truncate(SIMILAR_MAX);
    let mut near: Vec<&Spec> = near.into_iter().map(|(_, spec)| spec).collect();
    near.sort_by_key(|spec| spec.usage);
    near
}

/// Whether the first words of `spec` are `words`, or whether the last one of these is only begun.
fn begins(spec: &Spec, words: &[&str]) -> bool {
    let Some((last, whole)) = words.split_last() else {
        return false;
    };
    spec.words.len() >= words.len()
        && spec
            .words
            .iter()
            .zip(whole)
            .all(|(known, word)| known == word)
        && spec.words[whole.len()].starts_with(last)
}

/// Number of bytes to insert, remove or replace to make `a` of `b`. Long input is cut: it is similar to nothing.
fn edit_distance(a: &str, b: &str) -> usize {
    let a = &a.as_bytes()[..a.len().min(64)];
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, byte) in a.iter().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, other) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(*byte != other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::super::command::Line;
    use super::*;

    fn parse(line: &str) -> Command {
        Line::new(line.as_bytes()).next_command().expect("one")
    }

    fn named(text: &str) -> Vec<String> {
        let lines = text.lines().skip(1).map(|line| {
            line.split_once(" :")
                .map_or(line, |(usage, _)| usage)
                .trim()
                .to_owned()
        });
        lines
            .take_while(|usage| usage != "help [<command>]")
            .collect()
    }

    #[test]
    fn commands_are_found_by_their_words() {
        assert_eq!(
            find(COMMANDS, &parse("show info typed")).map(|spec| spec.words),
            Some(&["show", "info"][..])
        );
        assert_eq!(
            find(COMMANDS, &parse("show servers state be")).map(|spec| spec.words),
            Some(&["show", "servers", "state"][..])
        );
        assert_eq!(
            find(COMMANDS, &parse("show peers lag mesh")).map(|spec| spec.words),
            Some(&["show", "peers", "lag"][..])
        );
        assert_eq!(
            find(COMMANDS, &parse("show peers - lag")).map(|spec| spec.words),
            Some(&["show", "peers"][..])
        );
        for unknown in ["", "show", "sho info", "info show", "show infos"] {
            assert!(find(COMMANDS, &parse(unknown)).is_none(), "{unknown:?}");
        }
    }

    #[test]
    fn unknown_commands_name_those_that_were_meant() {
        let all = unknown_command(COMMANDS, &parse("xyzzy"));
        assert!(
            all.starts_with("Unknown command. Please enter one of the following commands only:\n")
        );
        assert_eq!(all.lines().count(), COMMANDS.len() + 1);
        let one = unknown_command(COMMANDS, &parse("show inof"));
        assert!(one.starts_with(
            "Unknown command, but maybe one of the following ones is a better match:\n"
        ));
        assert!(
            named(&one).contains(&"show info [json|typed|float]*".to_owned()),
            "{one}"
        );
        assert!(one.ends_with("  quit                                    : disconnect\n"));
        assert_eq!(
            named(&unknown_command(COMMANDS, &parse("set maxconn"))).len(),
            3
        );
        assert_eq!(named(&help(COMMANDS, &parse("help show servers"))).len(), 2);
        assert_eq!(
            help(COMMANDS, &parse("help")).lines().count(),
            COMMANDS.len() + 1
        );
    }

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("acb", "abc", 2),
            ("show inf", "show info", 1),
        ] {
            assert_eq!(edit_distance(a, b), expected);
        }
    }
}
