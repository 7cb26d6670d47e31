//! Which pages the tables' memory is in: huge ones (`burdock.table-huge-pages`), and locked (`burdock.table-lock`).
//!
//! A worker does this before it loses its privileges, and in a reload before it takes over: the old one serves meanwhile. Huge pages belong to the
//! memory, so whoever maps it has them from then on; a lock belongs to a process, so each worker has its own.
//! Not here: memory and its mappings (`sys`), files (table_file).

use std::io;
use std::os::fd::OwnedFd;

use super::table_file::Say;
use crate::config::Config;
use crate::net::listener::system_text;
use crate::sys::limits;
use crate::sys::memory::Memory;

/// Brings the memories of all tables into the pages that the configuration asks for. That there are no huge pages is told and no error:
/// everything works without.
///
/// # Errors
/// The alert: a memory cannot be locked.
pub(super) fn prepare(
    memories: &[OwnedFd],
    config: &Config,
    say: &mut Say<'_>,
) -> Result<(), String> {
    let (wants_huge, wants_lock) = (config.global.table_huge_pages, config.global.table_lock);
    if !wants_huge && !wants_lock {
        return Ok(());
    }
    for (memory, spec) in memories.iter().zip(&config.tables) {
        let name = &spec.name;
        let mapped = memory.try_clone().and_then(Memory::open).map_err(|error| {
            let error = system_text(&error);
            format!("Stick table '{name}' cannot be mapped : {error}.")
        })?;
        if wants_huge && let Err(error) = mapped.use_huge_pages(0..mapped.len()) {
            let error = system_text(&error);
            let text = format!("stick table '{name}' is not on huge pages : {error}.");
            say(crate::log::Severity::Warning, &text);
        }
        if wants_lock {
            let locked = mapped.lock();
            locked.map_err(|error| cannot_lock(name, mapped.len(), &error))?;
            // The lock is this mapping's, and is to last as long as the process.
            std::mem::forget(mapped);
        }
    }
    Ok(())
}

fn cannot_lock(name: &str, bytes: usize, error: &io::Error) -> String {
    let kib = |bytes: u64| bytes.div_ceil(1024);
    let allowed = match limits::locked_bytes() {
        Ok(limit) if limit.soft != u64::MAX => format!("RLIMIT_MEMLOCK is {} KiB", kib(limit.soft)),
        _ => "RLIMIT_MEMLOCK is no limit".to_string(),
    };
    format!(
        "Stick table '{name}' cannot be locked in memory, all {} KiB of it : {}; {allowed}.",
        kib(bytes as u64),
        system_text(error)
    )
}
