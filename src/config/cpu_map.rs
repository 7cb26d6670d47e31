//! `cpu-map` (configuration manual, section 3.1): the CPUs that the worker may run on.
//!
//! A worker is thread 1 of process 1; what a line says of others concerns nobody here. Not here: binding to them (process).

use super::diag::Report;
use super::line::Line;

/// Processes and threads have numbers from 1 to this in HAProxy.
const THREADS_MAX: u32 = 64;

/// Highest number of a CPU in an open range, as for HAProxy.
const CPU_MAX: u32 = 63;

const USAGE: &str = "cpu-map expects a process number  ('all', 'odd', 'even', a number from 1 to 64 or a range),  followed by a list of \
                     CPU ranges with numbers from 0 to 63.";

/// The CPUs that a line gives to the worker: `None` where it is about others, or wrong, which `report` then says.
pub(super) fn cpus(line: &Line, report: &mut Report) -> Option<Vec<u32>> {
    let target = line.arg(1);
    if target.is_empty() || line.arg(2).is_empty() {
        report.alert(&line.pos, USAGE);
        return None;
    }
    let (is_auto, set) = match target.strip_prefix("auto:") {
        Some(set) => (true, set),
        None => (false, target),
    };
    let mut concerns_us = true;
    for part in set.splitn(2, '/') {
        match contains_first(part) {
            Ok(contains) => concerns_us &= contains,
            Err(hint) => {
                report.alert(
                    &line.pos,
                    format!("cpu-map : '{part}' is not a valid number/range.{hint}"),
                );
                return None;
            }
        }
    }
    let mut cpus = Vec::new();
    for word in line.from(2).iter().flat_map(|arg| arg.split(',')) {
        let Some((first, last)) = cpu_range(word) else {
            report.alert(&line.pos, format!("cpu-map : '{word}' is not a CPU range."));
            return None;
        };
        cpus.extend(first..=last);
    }
    cpus.sort_unstable();
    cpus.dedup();
    if is_auto {
        // One CPU a thread, in order: the worker has the first.
        cpus.truncate(1);
    }
    concerns_us.then_some(cpus)
}

/// Whether a set of processes or threads contains the first; otherwise what HAProxy adds to its complaint.
fn contains_first(set: &str) -> Result<bool, &'static str> {
    match set {
        "all" | "odd" => return Ok(true),
        "even" => return Ok(false),
        _ => {}
    }
    let (first, last) = set.split_once('-').unwrap_or((set, set));
    let number = |text: &str| text.parse::<u32>().map_err(|_| "");
    let first = number(first)?;
    let last = if last.is_empty() {
        THREADS_MAX
    } else {
        number(last)?
    };
    match first >= 1 && first <= last && last <= THREADS_MAX {
        true => Ok(first == 1),
        false => Err(" It supports numbers from 1 to 64."),
    }
}

/// `N`, `N-M` in either order, or `N-`.
fn cpu_range(word: &str) -> Option<(u32, u32)> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    let first: u32 = first.parse().ok()?;
    let last = if last.is_empty() {
        CPU_MAX.max(first)
    } else {
        last.parse().ok()?
    };
    let (low, high) = (first.min(last), first.max(last));
    // More CPUs than a kernel can have.
    (high < 8192).then_some((low, high))
}

#[cfg(test)]
mod tests {
    use crate::config::{ParseOptions, SourceFile, parse};

    /// What a line says, or the alert.
    fn cpus(line: &str) -> Result<Vec<u32>, String> {
        let text = format!("global\n {line}\nlisten l\n mode tcp\n bind 127.0.0.1:80\n");
        let file = SourceFile {
            name: "test".to_string(),
            text: text.into_bytes(),
        };
        let (config, diags) = parse(&[file], &ParseOptions::default());
        match config {
            Some(config) => Ok(config.global.cpus),
            None => Err(format!("{diags:?}")),
        }
    }

    #[test]
    fn the_worker_is_thread_one_of_process_one() {
        for (line, expected) in [
            ("cpu-map 1 3", &[3][..]),
            ("cpu-map 1/1 0,2-3 5", &[0, 2, 3, 5]),
            ("cpu-map all/odd 3-1", &[1, 2, 3]),
            ("cpu-map auto:1/1-4 4-7", &[4]),
            ("cpu-map 2 1", &[]),
            ("cpu-map 1/2-4 1", &[]),
            ("cpu-map even 1", &[]),
            ("cpu-map 1/1 0\n cpu-map 1/2 1", &[0]),
        ] {
            assert_eq!(cpus(line).as_deref(), Ok(expected), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_as_by_haproxy() {
        for (line, expected) in [
            (
                "cpu-map 1",
                "cpu-map expects a process number  ('all', 'odd'",
            ),
            ("cpu-map x 0", "cpu-map : 'x' is not a valid number/range."),
            (
                "cpu-map 1/65 0",
                "cpu-map : '65' is not a valid number/range. It supports numbers from 1 to 64.",
            ),
            (
                "cpu-map 1-0 0",
                "cpu-map : '1-0' is not a valid number/range. It supports numbers from 1 to 64.",
            ),
            ("cpu-map 1 x", "cpu-map : 'x' is not a CPU range."),
        ] {
            let said = cpus(line).expect_err(line);
            assert!(said.contains(expected), "{line}: {said}");
        }
    }
}
