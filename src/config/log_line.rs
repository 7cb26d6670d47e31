//! `log` lines of all sections (configuration manual, "log").
//!
//! Not here: sending anything.

use super::line::Line;
use super::units;
use crate::log::{LineFormat, Sampling, TargetAddress, TargetSpec};
use crate::net::Address;
use crate::net::address::{self, Usage};

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "auth2",
    "ftp", "ntp", "audit", "alert", "cron2", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];
const LEVELS: [&str; 8] = [
    "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
];
/// `len` when it is not given; bytes.
const LENGTH_DEFAULT: u32 = 1024;
/// The port of syslog.
const SYSLOG_PORT: u16 = 514;

/// A `log` line of a proxy or a peers section.
#[derive(Clone, Debug)]
pub(super) enum LogLine {
    /// `log global`.
    Global,
    /// Any other.
    Target(TargetSpec),
}

/// Parses the words after `log`.
///
/// # Errors
/// What follows `log : `, in HAProxy's words.
pub(super) fn parse(line: &Line, global_section: bool) -> Result<LogLine, String> {
    if line.arg(1) == "global" && line.arg(2).is_empty() {
        if global_section {
            return Err("'global' is not supported for a global syslog server".into());
        }
        return Ok(LogLine::Global);
    }
    if line.arg(1).is_empty() || line.arg(2).is_empty() {
        let or_global = if global_section { "" } else { "or global" };
        return Err(format!(
            "expects <address> and <facility> {or_global} as arguments"
        ));
    }
    let address = target(line.arg(1))?;
    let mut spec = TargetSpec {
        address,
        format: LineFormat::default(),
        facility: 0,
        level: 7,
        min_level: 0,
        len: LENGTH_DEFAULT,
        sample: None,
    };
    // In this order only, as in HAProxy.
    let mut at = 2;
    if line.arg(at) == "len" {
        let len = units::leading_number(line.arg(at + 1));
        spec.len = u32::try_from(len)
            .ok()
            .filter(|len| (80..=65535).contains(len))
            .ok_or_else(|| {
                format!(
                    "invalid log length '{}', must be between 80 and 65535",
                    line.arg(at + 1)
                )
            })?;
        at += 2;
    }
    if line.arg(at) == "format" {
        spec.format = format(line.arg(at + 1))
            .ok_or_else(|| format!("unknown log format '{}'", line.arg(at + 1)))?;
        at += 2;
    }
    if line.arg(at) == "sample" {
        spec.sample = Some(sampling(line.arg(at + 1))?);
        at += 2;
    }
    spec.facility = position(&FACILITIES, line.arg(at))
        .ok_or_else(|| format!("unknown log facility '{}'", line.arg(at)))?;
    if !line.arg(at + 1).is_empty() {
        spec.level = position(&LEVELS, line.arg(at + 1))
            .ok_or_else(|| format!("unknown optional log level '{}'", line.arg(at + 1)))?;
    }
    if !line.arg(at + 2).is_empty() {
        spec.min_level = position(&LEVELS, line.arg(at + 2))
            .ok_or_else(|| format!("unknown optional minimum log level '{}'", line.arg(at + 2)))?;
    }
    if !line.arg(at + 3).is_empty() {
        return Err(format!(
            "cannot handle unexpected argument '{}'",
            line.arg(at + 3)
        ));
    }
    Ok(LogLine::Target(spec))
}

/// `RANGES:SIZE` of `sample`: `1-3,7:10`.
fn sampling(word: &str) -> Result<Sampling, String> {
    let Some((ranges, size_word)) = word.split_once(':') else {
        return Err("Missing sample size".into());
    };
    let wrong = |what: &str| format!("wrong sample range '{what}'");
    let mut found: Vec<(u32, u32)> = Vec::new();
    let mut rest = ranges;
    while !rest.is_empty() {
        let (range, after) = rest.split_once(',').unwrap_or((rest, ""));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let bounds = (first.parse::<u32>(), last.parse::<u32>());
        let (Ok(first @ 1..), Ok(last)) = bounds else {
            // HAProxy shows all that is left where there is no number at all.
            return Err(wrong(if range.is_empty() { rest } else { range }));
        };
        if last < first {
            return Err(wrong(range));
        }
        found.push((first, last));
        rest = after;
    }
    found.sort_unstable();
    if found.windows(2).any(|pair| pair[1].0 <= pair[0].1) {
        return Err("ranges are overlapping".into());
    }
    let Some(&(_, highest)) = found.last() else {
        return Err("no sampling ranges given".into());
    };
    let Ok(size @ 1..) = size_word.parse::<u32>() else {
        return Err(format!(
            "wrong sample size '{size_word}' for sample range '{ranges}'"
        ));
    };
    if size < highest {
        return Err(format!(
            "sample size {size} should be greater or equal to {highest} the maximum of the high ranges limits"
        ));
    }
    Ok(Sampling {
        ranges: found.into(),
        size,
    })
}

fn position(names: &[&str], word: &str) -> Option<u8> {
    names
        .iter()
        .position(|name| *name == word)
        .and_then(|index| u8::try_from(index).ok())
}

fn target(word: &str) -> Result<TargetAddress, String> {
    match word {
        "stdout" => return Ok(TargetAddress::Fd(1)),
        "stderr" => return Ok(TargetAddress::Fd(2)),
        _ => {}
    }
    if word.starts_with("ring@") {
        return Err(format!(
            "'{word}': rings are known to HAProxy but not supported by burdock; the nearest that is: a syslog server"
        ));
    }
    let parsed = address::parse(word, Usage::Datagram).map_err(|error| error.to_string())?;
    Ok(match parsed.address {
        Address::Fd(fd) => TargetAddress::Fd(fd),
        Address::Inet(mut address) => {
            if address.port() == 0 {
                address.set_port(SYSLOG_PORT);
            }
            TargetAddress::Datagram(Address::Inet(address))
        }
        other => TargetAddress::Datagram(other),
    })
}

fn format(word: &str) -> Option<LineFormat> {
    Some(match word {
        "local" => LineFormat::Local,
        "rfc3164" => LineFormat::Rfc3164,
        "rfc5424" => LineFormat::Rfc5424,
        "priority" => LineFormat::Priority,
        "short" => LineFormat::Short,
        "timed" => LineFormat::Timed,
        "iso" => LineFormat::Iso,
        "raw" => LineFormat::Raw,
        _ => return None,
    })
}
