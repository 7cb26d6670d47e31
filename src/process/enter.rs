//! A forked child becomes a worker: its own link and signals, its tables, then the loss of privileges.
//!
//! The order matters: what takes root (chroot, groups) comes before the user is changed, what takes a path (/dev/null, log
//! sockets, the time zone) before the root directory is.
//! Not here: the event loop (worker).

use std::os::unix::net::UnixStream;

use crate::config::model::Global;
use crate::log::Severity;
use crate::stick::{AttachError, Carried, Carrier, Table, TableSpec};
use crate::sys::{process, random, signal, time};

use super::control::{LastWords, Orders};
use super::inheritance::Inheritance;
use super::line::Line;
use super::report::Report;
use super::startup::{FormerTable, Memories, Tables};
use super::{Startup, daemon, pages};

/// A worker that may run.
pub struct Worker {
    /// What its loop starts with.
    pub startup: Startup,
    /// To be said if the loop fails.
    pub last_words: LastWords,
    /// To be said if it panics.
    pub panic_words: LastWords,
}

/// Turns this process, a child of `master_pid`, into a worker.
///
/// # Errors
/// The alert; the master has been told.
pub(super) fn enter(
    inheritance: Inheritance,
    link: UnixStream,
    master_pid: i32,
    replaced_workers: u32,
    report: &mut Report,
) -> Result<Worker, String> {
    // Writing to a connection that is gone is an error of that connection.
    signal::ignore(libc::SIGPIPE).map_err(|error| format!("Cannot ignore SIGPIPE: {error}."))?;
    let null = match inheritance.detached {
        true => {
            Some(daemon::open_null().map_err(|error| format!("Cannot open /dev/null: {error}."))?)
        }
        false => None,
    };
    let orders =
        Orders::new(link, null).map_err(|error| format!("Cannot receive signals: {error}."))?;
    let last_words = orders
        .last_words()
        .map_err(|error| format!("Cannot reach the master: {error}."))?;
    let panic_words = orders
        .last_words()
        .map_err(|error| format!("Cannot reach the master: {error}."))?;
    let result = build(inheritance, orders, master_pid, replaced_workers, report);
    match result {
        Ok(startup) => Ok(Worker {
            startup,
            last_words,
            panic_words,
        }),
        Err(text) => {
            last_words.say(&text);
            Err(text)
        }
    }
}

fn build(
    inheritance: Inheritance,
    orders: Orders,
    master_pid: i32,
    replaced_workers: u32,
    report: &mut Report,
) -> Result<Startup, String> {
    let Inheritance {
        config,
        limits,
        listeners,
        tables,
        has_teacher,
        predecessor,
        draining,
        mut log,
        log_targets,
        ..
    } = inheritance;
    log.set_pid(process::pid().unsigned_abs());
    let memories = Memories {
        tables: tables.memories,
        former: tables.former,
    };
    pages::prepare(&memories.tables, &config, &mut |severity, text: &str| {
        report.say(severity, text);
        log.set_time(std::time::SystemTime::now());
        log.notice(severity, log_targets.global, format_args!("{text}"));
    })?;
    let tables = match predecessor {
        Some(line) => Tables::Asked(Line::new(line), memories),
        None => {
            let now_ms = time::monotonic_ms();
            let attached = attach_tables(memories, &config.tables, now_ms, |severity, text| {
                report.say(severity, text);
                log.set_time(std::time::SystemTime::now());
                log.notice(severity, log_targets.global, format_args!("{text}"));
            })?;
            Tables::Owned(attached)
        }
    };
    let cpus = &config.global.cpus;
    if !cpus.is_empty()
        && let Err(error) = process::bind_to_cpus(cpus)
    {
        let text = format!("Cannot run on the CPUs of 'cpu-map': {error}.");
        report.warning(&text);
    }
    drop_privileges(&config.global, report)?;
    Ok(Startup {
        config,
        limits,
        listeners,
        tables,
        draining,
        log,
        log_targets,
        orders,
        master_pid,
        has_teacher,
        startup_log: report.log(),
        replaced_workers,
    })
}

/// Takes over the tables in these memories, whose owner is gone or has given them up.
///
/// # Errors
/// A table can neither be taken over nor made anew.
pub(super) fn attach_tables(
    memories: Memories,
    specs: &[TableSpec],
    now_ms: u64,
    mut tell: impl FnMut(Severity, &str),
) -> Result<Vec<Table>, String> {
    let mut attached = Vec::with_capacity(specs.len());
    for (memory, spec) in memories.tables.into_iter().zip(specs) {
        let table = Table::attach(memory, spec, now_ms).or_else(|error| {
            // Serving without the entries is better than not serving; the operator is told.
            let text = format!(
                "stick table '{}' cannot be taken over ({error}): it starts empty",
                spec.name
            );
            tell(Severity::Alert, &text);
            create_table(spec, now_ms)
        });
        let table = table
            .map_err(|error| format!("Cannot create stick table '{}': {error}.", spec.name))?;
        if table.was_mended() {
            let text = format!(
                "stick table '{}': the worker before died while it changed something; {} entries were put in order again",
                spec.name,
                table.used()
            );
            tell(Severity::Notice, &text);
        }
        attached.push(table);
    }
    for former in memories.former {
        if let Some(table) = attached.get_mut(former.table) {
            match carry_all(&former, table, now_ms) {
                Ok(carried) => tell(Severity::Notice, &outcome(table.spec(), carried)),
                Err(error) => tell(Severity::Alert, &not_carried(table.spec(), &error)),
            }
        }
    }
    Ok(attached)
}

/// Carries everything over from a table whose owner is gone.
fn carry_all(former: &FormerTable, table: &mut Table, now_ms: u64) -> Result<Carried, AttachError> {
    let memory = former.memory.try_clone()?;
    // What its owner may have left half done is mended first.
    drop(Table::attach(memory.try_clone()?, &former.spec, now_ms)?);
    let carrier = Carrier::new(memory, &former.spec, table)?;
    Ok(carrier.finish(table, now_ms))
}

/// What became of the entries of a table that has changed, in a line.
pub(super) fn outcome(spec: &TableSpec, carried: Carried) -> String {
    format!(
        "stick table '{}' is declared or kept differently now: {} of {} entries were carried over",
        spec.name,
        carried.found.saturating_sub(carried.lost),
        carried.found
    )
}

/// That none of them was.
pub(super) fn not_carried(spec: &TableSpec, error: &AttachError) -> String {
    format!(
        "stick table '{}' is declared or kept differently now, and nothing could be carried over: {error}",
        spec.name
    )
}

/// An empty table under a secret hash key.
pub(super) fn create_table(spec: &TableSpec, now_ms: u64) -> std::io::Result<Table> {
    Table::create(spec, [random::number()?, random::number()?], now_ms)
}

/// HAProxy's order, and its words.
fn drop_privileges(global: &Global, report: &mut Report) -> Result<(), String> {
    if let Some(root) = &global.chroot {
        process::change_root(root).map_err(|_| format!("Cannot chroot({}).", root.display()))?;
    }
    let uid = global.uid.filter(|uid| *uid != 0);
    let gid = global.gid.filter(|gid| *gid != 0);
    if let Some(gid) = gid {
        if process::drop_groups().is_err() {
            report.main_warning(
                "Failed to drop supplementary groups. Using 'gid'/'group' without 'uid'/'user' is generally useless.",
            );
        }
        process::set_group(gid).map_err(|_| format!("Cannot set gid {gid}."))?;
    }
    if let Some(uid) = uid {
        process::set_user(uid).map_err(|_| format!("Cannot set uid {uid}."))?;
    }
    Ok(())
}
