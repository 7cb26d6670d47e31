//! The file of a stick table: its name, its lock, how it is made, and what becomes of one that cannot be used.
//!
//! ```text
//! <directory>/<table>.table            the table; locked by whoever has it, for as long as a descriptor of it is open anywhere
//! <directory>/<table>.table.new        one that is being made: it gets its name when it is whole
//! <directory>/<table>.table.damaged    set aside: not whole; .other-layout: another declaration, or version; .in-use: another
//!                                      process had it. The last one of each is kept.
//! ```
//! All of a file is allocated before it is used: a disk that is full is an error of the start, not a fault of a running service.
//! Not here: what is in a file (stick), which table has one (tables).

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::log::Severity;
use crate::net::listener::system_text;
use crate::stick::{self, Boot, Moment, ReviveError, Revived, Table, TableSpec};
use crate::sys::{file, host, random, time};

/// How long a start waits for the lock of a file: processes that were killed take a moment to be gone.
const LOCK_WAIT_MS: u64 = 3_000;
const LOCK_POLL: Duration = Duration::from_millis(20);

/// What is said while a file is opened: to the terminal and to the log.
pub(super) type Say<'a> = dyn FnMut(Severity, &str) + 'a;

/// The file of a table in this directory. Table names are harmless but for the slash of a peers section's.
pub(super) fn path_of(directory: &Path, table: &str) -> PathBuf {
    let mut name = String::new();
    for character in table.chars() {
        match character {
            '/' | '%' => name += &format!("%{:02x}", u32::from(character)),
            character => name.push(character),
        }
    }
    directory.join(name + ".table")
}

/// The memory of a table in its file: what is there, or an empty one.
///
/// `waits`: somebody who has the file may be about to end.
///
/// # Errors
/// Neither can be had; the text names the file.
pub(super) fn open(
    path: &Path,
    spec: &TableSpec,
    waits: bool,
    say: &mut Say<'_>,
) -> Result<OwnedFd, String> {
    let failed = |error: &io::Error| format!("'{}' : {}", path.display(), system_text(error));
    loop {
        let there = match options().open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let made = create_beside(path, spec)?;
                fs::rename(beside(path), path).map_err(|error| failed(&error))?;
                return Ok(made);
            }
            there => there.map_err(|error| failed(&error))?,
        };
        if !there.metadata().is_ok_and(|there| there.is_file()) {
            return Err(format!("'{}' : it is no file", path.display()));
        }
        let refusal = match lock(&there, waits) {
            // It may have been renamed or replaced meanwhile.
            Ok(()) if !is_at(&there, path) => continue,
            Ok(()) => match revive(there, spec) {
                Ok((memory, revived)) => {
                    say(Severity::Notice, &revival(spec, path, revived));
                    return Ok(memory);
                }
                Err(ReviveError::Io(error)) => return Err(failed(&error)),
                Err(error @ ReviveError::Damaged(_)) => ("damaged", error.to_string()),
                Err(error @ ReviveError::OtherLayout(_)) => ("other-layout", error.to_string()),
            },
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                ("in-use", "it is in use by another process".to_string())
            }
            Err(error) => return Err(failed(&error)),
        };
        let (suffix, why) = refusal;
        let aside = with_suffix(path, suffix);
        fs::rename(path, &aside).map_err(|error| failed(&error))?;
        let text = format!(
            "Stick table '{}' starts empty: '{}' is not used, {why}. It is kept as '{}'.",
            spec.name,
            path.display(),
            aside.display()
        );
        say(Severity::Alert, &text);
    }
}

/// An empty table in the file beside `path` that is to take its place later.
///
/// # Errors
/// It cannot be made; the text names the file.
pub(super) fn create_beside(path: &Path, spec: &TableSpec) -> Result<OwnedFd, String> {
    let new = beside(path);
    let create = || -> io::Result<OwnedFd> {
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let made = options().create_new(true).mode(0o600).open(&new)?;
        file::lock(&made)?;
        file::allocate(&made, stick::bytes_in_file(spec)?)?;
        let memory = OwnedFd::from(made);
        let hash_key = [random::number()?, random::number()?];
        Table::create_in_file(memory.try_clone()?, spec, hash_key, moment()?)?;
        Ok(memory)
    };
    create().map_err(|error| {
        let _ = fs::remove_file(&new);
        format!("'{}' : {}", path.display(), system_text(&error))
    })
}

/// Where `create_beside` makes the file.
pub(super) fn beside(path: &Path) -> PathBuf {
    with_suffix(path, "new")
}

/// Milliseconds since 1970 by the wall clock.
pub(super) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

fn moment() -> io::Result<Moment> {
    // A system that does not tell its boots apart has a new one each time: the wall clock decides then.
    let boot = match host::boot() {
        Some(boot) => boot,
        None => [random::number()?, random::number()?],
    };
    Ok(Moment {
        boot: Boot(boot),
        now_ms: time::monotonic_ms(),
        wall_ms: wall_ms(),
    })
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOFOLLOW);
    options
}

fn lock(there: &File, waits: bool) -> io::Result<()> {
    let until_ms = time::monotonic_ms() + if waits { LOCK_WAIT_MS } else { 0 };
    loop {
        match file::lock(there) {
            Err(error)
                if error.kind() == ErrorKind::WouldBlock && time::monotonic_ms() < until_ms =>
            {
                std::thread::sleep(LOCK_POLL);
            }
            result => return result,
        }
    }
}

/// Whether the path still leads to this file.
fn is_at(there: &File, path: &Path) -> bool {
    let same =
        |one: &fs::Metadata, two: &fs::Metadata| (one.dev(), one.ino()) == (two.dev(), two.ino());
    match (there.metadata(), fs::symlink_metadata(path)) {
        (Ok(one), Ok(two)) => same(&one, &two),
        _ => false,
    }
}

fn revive(there: File, spec: &TableSpec) -> Result<(OwnedFd, Revived), ReviveError> {
    let memory = OwnedFd::from(there);
    let (_, revived) = Table::revive(memory.try_clone()?, spec, moment()?)?;
    Ok((memory, revived))
}

fn revival(spec: &TableSpec, path: &Path, revived: Revived) -> String {
    let mut text = format!(
        "Stick table '{}' has {} entries from '{}'; {} have expired since it was used {} s ago",
        spec.name,
        revived.kept,
        path.display(),
        revived.expired,
        revived.away_ms / 1000
    );
    if revived.rebooted {
        text += &format!(
            ", before the machine started; {} were not whole and are gone",
            revived.damaged
        );
    }
    text + "."
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().as_bytes().to_vec();
    name.push(b'.');
    name.extend(suffix.bytes());
    PathBuf::from(std::ffi::OsStr::from_bytes(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_in_its_directory() {
        let path = |name| path_of(Path::new("/d"), name).display().to_string();
        assert_eq!(path("app"), "/d/app.table");
        assert_eq!(path("mesh/t"), "/d/mesh%2ft.table");
        assert_eq!(path(".."), "/d/...table");
        assert_eq!(path("a%b"), "/d/a%25b.table");
        let aside = with_suffix(Path::new("/d/app.table"), "damaged");
        assert_eq!(aside, Path::new("/d/app.table.damaged"));
    }
}
