//! Parsers of the actions that end a rule set, or only note something about the stream.

use super::RuleWords;
use crate::config::units;
use crate::rules::{Action, BodyWait, Duration, LogLevel, TimeoutKind};

/// What a parser gives: the action, or why not, in HAProxy's words.
pub(super) type Parsed = Result<Action, String>;

pub(super) fn allow(_: &mut RuleWords) -> Parsed {
    Ok(Action::Allow)
}

pub(super) fn reject(_: &mut RuleWords) -> Parsed {
    Ok(Action::Reject)
}

pub(super) fn close(_: &mut RuleWords) -> Parsed {
    Ok(Action::CloseServer)
}

pub(super) fn silent_drop(_: &mut RuleWords) -> Parsed {
    Ok(Action::SilentDrop)
}

pub(super) fn nothing(_: &mut RuleWords) -> Parsed {
    Ok(Action::Nothing)
}

pub(super) fn disable_retry(_: &mut RuleWords) -> Parsed {
    Ok(Action::DisableRetry)
}

/// HAProxy's other services are Lua scripts.
pub(super) fn use_service(words: &mut RuleWords) -> Parsed {
    match words.next() {
        "" => Err("'use-service' expects a service name.".into()),
        "prometheus-exporter" => Ok(Action::Export),
        other => Err(format!("'{other}' unknown service name.")),
    }
}

pub(super) fn auth(words: &mut RuleWords) -> Parsed {
    let mut realm = None;
    if words.peek() == "realm" {
        words.next();
        if words.peek().is_empty() {
            return Err("missing realm value.\n".into());
        }
        realm = Some(words.next().into());
    }
    Ok(Action::Auth(realm))
}

/// Log levels as `set-log-level` has them, in the order of syslog's severities.
const LEVELS: [&str; 8] = [
    "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
];

pub(super) fn set_log_level(words: &mut RuleWords) -> Parsed {
    let word = words.next();
    let level = match LEVELS.iter().position(|level| *level == word) {
        Some(level) => LogLevel::Level(level as u8),
        None if word == "silent" => LogLevel::Silent,
        None => return Err("expects exactly 1 argument (log level name or 'silent')".into()),
    };
    Ok(Action::SetLogLevel(level))
}

pub(super) fn set_priority_class(words: &mut RuleWords) -> Parsed {
    Ok(Action::SetPriorityClass(words.expr()?))
}

pub(super) fn set_priority_offset(words: &mut RuleWords) -> Parsed {
    Ok(Action::SetPriorityOffset(words.expr()?))
}

pub(super) fn strict_mode(words: &mut RuleWords) -> Parsed {
    match words.next() {
        "" => Err("expects exactly 1 arguments".into()),
        "on" => Ok(Action::StrictMode(true)),
        "off" => Ok(Action::StrictMode(false)),
        other => Err(format!(
            "Unexpected value '{other}'. Only 'on' and 'off' are supported"
        )),
    }
}

pub(super) fn set_timeout(words: &mut RuleWords) -> Parsed {
    if words.is_end() || words.is_end_at(1) {
        return Err("expects exactly 2 arguments".into());
    }
    let name = words.peek();
    if let Some(proxy) = words.lacks_backend() {
        return Err(format!("proxy '{proxy}' has no backend capability"));
    }
    let kind = match name {
        "server" => TimeoutKind::Server,
        "tunnel" => TimeoutKind::Tunnel,
        _ => {
            return Err(format!(
                "'set-timeout' rule supports 'server'/'tunnel' (got '{name}')"
            ));
        }
    };
    words.next();
    let word = words.peek();
    if let Ok(ms) = units::time_ms(word, 1) {
        words.next();
        if ms == 0 {
            return Err("null value is not valid for a 'set-timeout' rule".into());
        }
        return Ok(Action::SetTimeout(kind, Duration::Fixed(ms)));
    }
    Ok(Action::SetTimeout(kind, Duration::Of(words.expr()?)))
}

pub(super) fn wait_for_body(words: &mut RuleWords) -> Parsed {
    let (mut time_ms, mut at_least) = (None, 0);
    loop {
        let name = words.peek();
        if !matches!(name, "time" | "at-least") {
            break;
        }
        words.next();
        let word = words.next();
        if word.is_empty() {
            return Err(format!("missing argument for '{name}'"));
        }
        let character = |bad| format!("unexpected character '{bad}'");
        if name == "time" {
            time_ms = Some(units::time_ms(word, 1).map_err(|error| match error {
                units::TimeError::Character(bad) => character(bad),
                units::TimeError::Overflow => {
                    "time overflow (maximum value is 2147483647 ms or ~24.8 days)".to_owned()
                }
            })?);
        } else {
            let bytes = units::size(word).map_err(character)?;
            at_least = u64::from(bytes);
        }
    }
    let time_ms = time_ms.ok_or("expects time <time> [ at-least <bytes> ]")?;
    Ok(Action::WaitForBody(BodyWait { time_ms, at_least }))
}

pub(super) fn set_nice(words: &mut RuleWords) -> Parsed {
    match words.next() {
        "" => Err("expects exactly 1 argument (integer value)".into()),
        _ => Ok(Action::Nothing),
    }
}
