//! What `bind`, `stats socket` and a peers section's `bind` have in common: addresses and the words after them
//! (configuration manual, 5.1).
//!
//! Not here: opening sockets.

use std::net::SocketAddr;

use super::diag::{Diag, Report, Severity};
use super::keywords::{self, Support};
use super::line::{self, Line};
use super::model::{AccessLevel, Pos, StatsSocket};
use super::suggest;
use super::units;
use crate::net::Address;
use crate::net::address::{self, Usage};
use crate::sys::accounts;

/// The line whose words are parsed; HAProxy words its errors after it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owner<'a> {
    /// `stats socket`.
    StatsSocket,
    /// `-S`.
    MasterSocket,
    /// `bind` and `default-bind`, with the keyword of the section.
    Bind {
        /// `frontend`, `listen`, `peers`.
        section: &'a str,
    },
}

impl Owner<'_> {
    fn has_clients(self) -> bool {
        matches!(self, Owner::Bind { section } if section != "peers")
    }
}

/// The words after the address.
#[derive(Clone, Debug, Default)]
pub(super) struct Params {
    pub name: Option<String>,
    pub id: Option<u32>,
    pub maxconn: Option<u32>,
    pub backlog: Option<u32>,
    pub v6_only: Option<bool>,
    pub transparent: bool,
    pub interface: Option<String>,
    pub defer_accept: bool,
    pub fast_open: bool,
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub level: Option<AccessLevel>,
    pub expose_listeners: bool,
    pub accept_proxy: bool,
}

/// The addresses of a comma-separated list, port ranges expanded.
///
/// # Errors
/// In HAProxy's words, without what precedes them.
pub(super) fn addresses(list: &str) -> Result<Vec<Address>, String> {
    let mut found = Vec::new();
    let mut words: Vec<&str> = list.split(',').collect();
    // A comma at the end is no empty address.
    if words.len() > 1 && words.last() == Some(&"") {
        words.pop();
    }
    for word in words {
        let parsed = address::parse(word, Usage::Listen).map_err(|error| error.to_string())?;
        match parsed.address {
            Address::Inet(first) => {
                let ports = first.port()..=parsed.last_port;
                found.extend(ports.map(|port| Address::Inet(SocketAddr::new(first.ip(), port))));
            }
            other => found.push(other),
        }
    }
    Ok(found)
}

/// Why a word was refused.
enum Fault {
    /// `'name' : missing name`.
    Word(String),
    /// The word is unknown; with a suggestion.
    Unknown(Option<&'static str>),
    /// Known, but not supported.
    Refused(&'static str),
}

/// The words from `start` on; `None` when one was refused, which is reported.
pub(super) fn parameters(
    line: &Line,
    start: usize,
    owner: Owner<'_>,
    report: &mut Report,
) -> Option<Params> {
    let mut params = Params::default();
    if extend(&mut params, line, start, owner, report) {
        Some(params)
    } else {
        None
    }
}

/// As [`parameters`], over what `default-bind` has set.
pub(super) fn extend(
    params: &mut Params,
    line: &Line,
    start: usize,
    owner: Owner<'_>,
    report: &mut Report,
) -> bool {
    let mut at = start;
    let mut good = true;
    while at < line.len() {
        let word = line.arg(at);
        let value = line.arg(at + 1);
        let result = match keywords::support(keywords::BIND, word) {
            None => Err(Fault::Unknown(suggest::nearest(keywords::BIND, word))),
            Some(Support::Refused(hint)) => Err(Fault::Refused(hint)),
            Some(Support::NoEffect(reason)) => {
                let what = describe(line, owner);
                report.notice(
                    &line.pos,
                    format!("{what} : '{word}' has no effect in burdock: {reason}."),
                );
                if word == "process" {
                    let text = format!(
                        "{what} : 'process {value}' on 'bind' lines is deprecated and will be removed in 2.7."
                    );
                    report.warning(&line.pos, text);
                }
                Ok(())
            }
            // Only clients are introduced by others.
            Some(Support::Full) if word == "accept-proxy" && !owner.has_clients() => {
                Err(Fault::Refused(""))
            }
            Some(Support::Full) => parameter(params, word, value).map_err(Fault::Word),
        };
        if let Err(fault) = result {
            report_fault(line, word, &fault, owner, report);
            good = false;
            // What follows an unknown word may be its argument: nothing sure can be said of it.
            if matches!(fault, Fault::Unknown(_)) {
                return false;
            }
        }
        at += 1 + keywords::argument_count(word);
    }
    good
}

fn describe(line: &Line, owner: Owner<'_>) -> String {
    match owner {
        Owner::StatsSocket => "'stats socket'".into(),
        Owner::MasterSocket => format!("'{}'", line.arg(0)),
        Owner::Bind { section } => {
            format!("'{} {}' in section '{section}'", line.arg(0), line.arg(1))
        }
    }
}

fn report_fault(line: &Line, word: &str, fault: &Fault, owner: Owner<'_>, report: &mut Report) {
    let what = match owner {
        Owner::MasterSocket => format!("'{} {word}'", line.arg(0)),
        _ => describe(line, owner),
    };
    let is_socket = matches!(owner, Owner::StatsSocket | Owner::MasterSocket);
    let text = match (fault, owner) {
        (Fault::Word(text), _) if is_socket => format!("{what} : ''{word}' : {text}'"),
        (Fault::Word(text), _) => format!("{what} : '{word}' : {text}"),
        (Fault::Refused(hint), _) => format!("{what} : {}", line::refused(word, hint)),
        (Fault::Unknown(nearest), Owner::MasterSocket) => format!(
            "{what} : unknown keyword '{word}'{}.",
            suggest::suggestion(*nearest)
        ),
        (Fault::Unknown(nearest), Owner::StatsSocket) => {
            let suggestion = nearest
                .map(|word| format!(". Did you mean '{word}' maybe ?"))
                .unwrap_or_default();
            format!("{what} : unknown keyword '{word}'{suggestion}")
        }
        (Fault::Unknown(nearest), _) => format!(
            "{what}: unknown keyword '{word}'{}",
            suggest::suggestion(*nearest)
        ),
    };
    let place = match owner {
        Owner::MasterSocket => String::new(),
        _ => format!("parsing [{}:{}] : ", line.pos.file, line.pos.line),
    };
    report.push(
        Severity::Alert,
        Some(&line.pos),
        // `'level' only supports` has no colon of its own.
        format!("{place}{text}").replace("' : only supports", "' only supports"),
    );
}

/// The argument of `-S`: an address and the words of a `stats socket` line, parted by commas.
///
/// # Errors
/// What HAProxy says.
pub fn master_socket(text: &str) -> Result<StatsSocket, Vec<Diag>> {
    let pos = Pos {
        file: "master-socket".into(),
        line: 0,
    };
    let line = Line::new(text.split(',').map(String::from).collect(), pos.clone());
    let mut report = Report::default();
    let parsed = address::parse(line.arg(0), Usage::Listen);
    let params = match &parsed {
        Ok(_) => parameters(&line, 1, Owner::MasterSocket, &mut report),
        Err(error) => {
            for text in [
                "Cannot create the listener of the master CLI",
                &error.to_string(),
            ] {
                report.push(Severity::Alert, Some(&pos), text);
            }
            None
        }
    };
    let (Ok(parsed), Some(params)) = (parsed, params) else {
        report.push(
            Severity::Alert,
            Some(&pos),
            "Can't create the master's CLI.",
        );
        return Err(report.into_diags());
    };
    Ok(StatsSocket {
        address: parsed.address,
        mode: params.mode,
        uid: params.uid,
        gid: params.gid,
        level: params.level.unwrap_or(AccessLevel::Admin),
        expose_listeners: false,
        pos,
    })
}

/// One word that has an effect.
fn parameter(params: &mut Params, word: &str, value: &str) -> Result<(), String> {
    let required = |what: &str| {
        if value.is_empty() {
            Err(format!("missing {what}"))
        } else {
            Ok(())
        }
    };
    match word {
        "name" => {
            required("name")?;
            params.name = Some(value.to_owned());
        }
        "id" => params.id = Some(id(value)?),
        "maxconn" => {
            required("value")?;
            params.maxconn = Some(count(value, "must be >= 0")?).filter(|count| *count > 0);
        }
        "backlog" => {
            required("value")?;
            params.backlog = Some(count(value, "must be > 0")?).filter(|count| *count > 0);
        }
        "v6only" => params.v6_only = Some(true),
        "v4v6" => params.v6_only = Some(false),
        "transparent" => params.transparent = true,
        "accept-proxy" => params.accept_proxy = true,
        "interface" => {
            required("interface name")?;
            params.interface = Some(value.to_owned());
        }
        "defer-accept" => params.defer_accept = true,
        "tfo" => params.fast_open = true,
        "mode" => {
            let mode = u32::from_str_radix(value, 8)
                .ok()
                .filter(|mode| *mode <= 0o7777);
            let invalid = || format!("missing or invalid mode '{value}' (octal integer expected)");
            params.mode = Some(mode.ok_or_else(invalid)?);
        }
        "user" => {
            required("user name")?;
            params.uid = Some(
                accounts::user_id(value).ok_or_else(|| format!("unknown user name '{value}'"))?,
            );
        }
        "group" => {
            required("group name")?;
            params.gid = Some(
                accounts::group_id(value).ok_or_else(|| format!("unknown group name '{value}'"))?,
            );
        }
        "uid" => {
            required("value")?;
            params.uid = Some(units::leading_count(value));
        }
        "gid" => {
            required("value")?;
            params.gid = Some(units::leading_count(value));
        }
        "level" => {
            params.level = Some(match value {
                "user" => AccessLevel::User,
                "operator" => AccessLevel::Operator,
                "admin" => AccessLevel::Admin,
                "" => return Err("missing level".into()),
                other => {
                    return Err(format!(
                        "only supports 'user', 'operator', and 'admin' (got '{other}')"
                    ));
                }
            });
        }
        "expose-fd" => match value {
            "listeners" => params.expose_listeners = true,
            "" => return Err("missing fd type".into()),
            other => return Err(format!("only supports 'listeners' (got '{other}')")),
        },
        _ => {}
    }
    Ok(())
}

/// A custom `id`.
fn id(value: &str) -> Result<u32, String> {
    if value.is_empty() {
        return Err("expects an integer argument".into());
    }
    if !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("expects an integer argument, found '{value}'"));
    }
    match units::leading_count(value) {
        0 => Err("custom id has to be > 0".into()),
        id => Ok(id),
    }
}

fn count(value: &str, rule: &str) -> Result<u32, String> {
    let number = units::leading_number(value);
    u32::try_from(number).map_err(|_| format!("invalid value {number}, {rule}"))
}
