//! The tables' memory, which outlives every worker: made at the start, taken from a file, or handed down by a reload.
//!
//! A table keeps its memory in a reload if its layout, its `expire` and its place (anonymous memory, or this file) are what they were.
//! Else a new memory is made, and the former one goes with it until a worker has carried the entries over: only then is the
//! new file renamed into the place of the old one. A table that left the configuration leaves its file, if it had one, where it is.
//! Not here: files as such (table_file), carrying (stick), the worker's side (enter, worker).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::log::Severity;
use crate::net::listener::system_text;
use crate::stick::table::POPULATED_BYTES_MAX;
use crate::stick::{self, Table, TableSpec};
use crate::sys::memory::Memory;
use crate::sys::{file, time};

use super::enter;
use super::reload::Inherited;
use super::startup::FormerTable;
use super::table_file::{self, Say};

/// Where all tables take no more than this together, the larger ones, too, get all their memory at the start, on huge pages where the
/// system has them: these cost a tenth of the small ones that would come as the tables fill, and no request or lesson waits for them. It is
/// done once and not in the loop, because the kernel waits for all other processors, milliseconds where they are busy.
const TAKEN_AT_START_BYTES_MAX: u64 = 128 << 20;

/// The memories of all tables, in the order of `Config::tables`.
#[derive(Default)]
pub(super) struct TableMemories {
    /// Each table's memory.
    pub memories: Vec<OwnedFd>,
    /// Each table's file, if it has one.
    pub paths: Vec<Option<PathBuf>>,
    /// Those that have to be carried over from another memory, until a worker has done it.
    pub former: Vec<FormerTable>,
    changes: Vec<FileChange>,
}

/// What is to be done to files once a worker owns the tables.
enum FileChange {
    /// The new file takes its place.
    Rename(PathBuf),
    /// The table is elsewhere now.
    Remove(PathBuf),
}

impl TableMemories {
    /// For a start. `waits`: processes that had the files may be about to end.
    ///
    /// # Errors
    /// The alert.
    pub fn create(
        config: &Config,
        waits: bool,
        say: &mut Say<'_>,
    ) -> Result<TableMemories, String> {
        let mut tables = TableMemories::default();
        for spec in &config.tables {
            let path = file_of(config, spec)?;
            let memory = make(spec, path.as_deref(), waits, say)?;
            tables.memories.push(memory);
            tables.paths.push(path);
        }
        tables.take_memory(config);
        Ok(tables)
    }

    /// Takes all memory of tables in memory, if it is little.
    fn take_memory(&self, config: &Config) {
        let bytes = config.tables.iter().map(stick::bytes_needed);
        if bytes
            .map(|bytes| bytes.unwrap_or(u64::MAX))
            .fold(0, u64::saturating_add)
            > TAKEN_AT_START_BYTES_MAX
        {
            return;
        }
        for (memory, path) in self.memories.iter().zip(&self.paths) {
            if path.is_none()
                && let Ok(memory) = memory.try_clone().and_then(Memory::open)
                && memory.len() > POPULATED_BYTES_MAX
            {
                // A system without huge pages, or with none left, has small ones, as they are needed.
                let _ = memory.use_huge_pages(0..memory.len());
            }
        }
    }

    /// For a reload.
    ///
    /// # Errors
    /// The alert.
    pub fn inherit(
        config: &Config,
        inherited: &Inherited,
        say: &mut Say<'_>,
    ) -> Result<TableMemories, String> {
        let mut tables = TableMemories::default();
        for (table, spec) in config.tables.iter().enumerate() {
            let path = file_of(config, spec)?;
            let memory = match inherited.table(&spec.name) {
                None => make(spec, path.as_deref(), false, say)?,
                Some(former) => tables.follow(table, spec, path.as_deref(), former)?,
            };
            tables.memories.push(memory);
            tables.paths.push(path);
        }
        report_gone(config, inherited, say);
        Ok(tables)
    }

    /// The memory of a table that was there before the reload.
    fn follow(
        &mut self,
        table: usize,
        spec: &TableSpec,
        path: Option<&Path>,
        (was, memory, was_at): (TableSpec, OwnedFd, Option<PathBuf>),
    ) -> Result<OwnedFd, String> {
        let stays = was_at.as_deref() == path;
        if stays
            && memory
                .try_clone()
                .is_ok_and(|memory| Table::fits(memory, spec))
        {
            return Ok(memory);
        }
        let made = match path {
            None => make(spec, None, false, &mut |_, _| {})?,
            Some(path) => {
                let made = table_file::create_beside(path, spec).map_err(cannot_create(spec))?;
                self.changes.push(FileChange::Rename(path.to_path_buf()));
                made
            }
        };
        if let Some(was_at) = was_at.clone().filter(|_| !stays) {
            self.changes.push(FileChange::Remove(was_at));
        }
        self.former.push(FormerTable {
            table,
            spec: was,
            memory,
            path: was_at,
        });
        Ok(made)
    }

    /// A worker owns the tables, and whatever was to be carried over has been: files follow.
    pub fn settle(&mut self, say: &mut Say<'_>) {
        self.former.clear();
        for change in self.changes.drain(..) {
            let (path, result) = match change {
                FileChange::Rename(path) => {
                    let result = fs::rename(table_file::beside(&path), &path);
                    (path, result)
                }
                FileChange::Remove(path) => {
                    let result = fs::remove_file(&path);
                    (path, result)
                }
            };
            if let Err(error) = result {
                let text = format!(
                    "The table file '{}' cannot be put in its place : {}.",
                    path.display(),
                    system_text(&error)
                );
                say(Severity::Alert, &text);
            }
        }
    }

    /// For each table, the memory that has its entries now: its declaration, the memory, the file.
    pub fn holding<'a>(
        &'a self,
        config: &'a Config,
    ) -> impl Iterator<Item = (&'a TableSpec, &'a OwnedFd, Option<&'a Path>)> {
        let all = config.tables.iter().zip(&self.memories).zip(&self.paths);
        all.enumerate().map(|(table, ((spec, memory), path))| {
            match self.former.iter().find(|former| former.table == table) {
                Some(former) => (&former.spec, &former.memory, former.path.as_deref()),
                None => (spec, memory, path.as_deref()),
            }
        })
    }
}

/// Whether the directory for tables, if one is configured, is there.
///
/// # Errors
/// The alert.
pub(super) fn check_directory(config: &Config) -> Result<(), String> {
    let Some(directory) = &config.global.table_directory else {
        return Ok(());
    };
    let why = match fs::metadata(directory) {
        Ok(there) if there.is_dir() => match scratch_file(directory) {
            Ok(_) => return Ok(()),
            Err(error) => system_text(&error),
        },
        Ok(_) => "Not a directory".to_string(),
        Err(error) => system_text(&error),
    };
    Err(format!(
        "Cannot keep stick tables in '{}' : {why}.",
        directory.display()
    ))
}

/// For the check before a reload: takes the room on the disk that the reload would need for files of tables that are not there yet as they
/// are declared now, and lets go of it again. Without it, a full disk would be found when there is no way back to the old configuration.
///
/// # Errors
/// The alert.
pub(super) fn try_new_files(config: &Config) -> Result<(), String> {
    let mut taken = Vec::new();
    for spec in &config.tables {
        let Some(path) = file_of(config, spec)? else {
            continue;
        };
        let there = OpenOptions::new().read(true).write(true).open(&path);
        if there.is_ok_and(|there| Table::fits(there.into(), spec)) {
            continue;
        }
        let directory = path.parent().unwrap_or(Path::new("."));
        let room = scratch_file(directory).and_then(|file| {
            file::allocate(&file, stick::bytes_in_file(spec)?)?;
            Ok(file)
        });
        taken.push(room.map_err(|error| {
            cannot_create(spec)(format!("'{}' : {}", path.display(), system_text(&error)))
        })?);
    }
    Ok(())
}

/// A file in a directory that is gone when it is closed; nothing can be seen of it there where the file system has files without a name.
fn scratch_file(directory: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true);
    let nameless = options
        .clone()
        .custom_flags(libc::O_TMPFILE)
        .open(directory);
    match nameless {
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EOPNOTSUPP | libc::EISDIR | libc::ENOENT)
            ) =>
        {
            let path = directory.join(format!(".burdock-{}", std::process::id()));
            let made = options.create_new(true).open(&path)?;
            fs::remove_file(path)?;
            Ok(made)
        }
        result => result,
    }
}

/// The file that a table is to have.
fn file_of(config: &Config, spec: &TableSpec) -> Result<Option<PathBuf>, String> {
    let Some(directory) = &config.global.table_directory else {
        return Ok(None);
    };
    // A later image of this process may be in another directory.
    let path = std::path::absolute(table_file::path_of(directory, &spec.name));
    path.map(Some).map_err(|error| {
        let directory = directory.display();
        format!("Cannot keep stick tables in '{directory}' : {error}.")
    })
}

fn make(
    spec: &TableSpec,
    path: Option<&Path>,
    waits: bool,
    say: &mut Say<'_>,
) -> Result<OwnedFd, String> {
    if let Some(path) = path {
        return table_file::open(path, spec, waits, say).map_err(cannot_create(spec));
    }
    let table = enter::create_table(spec, time::monotonic_ms());
    let memory = table.and_then(|table| table.memory_fd().try_clone_to_owned());
    memory.map_err(|error| {
        let cause = system_text(&error);
        format!("Cannot create stick table '{}' : {cause}.", spec.name)
    })
}

fn cannot_create(spec: &TableSpec) -> impl Fn(String) -> String {
    let name = spec.name.clone();
    move |why| format!("Cannot create stick table '{name}' in {why}.")
}

/// Says what becomes of the entries of tables that are no more.
fn report_gone(config: &Config, inherited: &Inherited, say: &mut Say<'_>) {
    for (spec, memory, path) in &inherited.tables {
        if config.tables.iter().any(|table| table.name == spec.name) {
            continue;
        }
        let memory = memory.try_clone();
        let entries = memory.map_or(0, |memory| Table::used_in(memory, spec));
        let fate = match path {
            Some(path) => format!("its {entries} entries stay in '{}'", path.display()),
            None => format!("its {entries} entries are gone with it"),
        };
        let text = format!(
            "Stick table '{}' has left the configuration: {fate}.",
            spec.name
        );
        say(Severity::Warning, &text);
    }
}
