//! A reload, seen from the master: check the new configuration with the new binary, then become the new binary.
//!
//! ```text
//! master ──spawn──▶ burdock -c … (the new binary; also tries to bind what is new)
//!   │ exit code not 0: its errors go to the log, nothing has changed
//!   ▼ 0
//! execve in place: same pid; sockets, table memories and the lines to the workers stay open. Which is which says a
//! description in a memfd, whose number is in the environment (BURDOCK_RELOAD).
//! ```
//!
//! The description is text, one thing a line, blanks and control characters of names as `%XX`:
//!
//! ```text
//! burdock-reload 1             version; the check before the reload says it too: only who knows this version is executed
//! master 1200 3 0              when it was started (CLOCK_MONOTONIC, ms), attempts to reload, failures since the last success
//! detached 1                   a daemon: do not detach again
//! pidfile /run/burdock.pid
//! listener 7 127.0.0.1:80      descriptor, address as configurations name it; that of a master socket after `-S `
//! table 9 app string 32 10240 300000 name server_id:1:0,…
//!                              descriptor, name, key type, key length, size, expire in ms, kind of server keys, stored data types
//!                              with elements and period
//! file app /var/lib/burdock/app.table
//!                              the file of the table with this name; without, it is in anonymous memory
//! worker 4711 12 owner 1500 2 0.1.0
//!                              pid, descriptor of the line to it; "owner": it has listeners and tables, "draining": no more; when it was
//!                              forked, after how many attempts to reload, its version
//! client 13 begun              a client of the master socket that waits for the end of this reload, or ("asked") of the next one
//! ```
//!
//! Not here: what is done with what was inherited (start), the handover between the workers (line).

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::{Command as Child, Stdio};

use super::console::{Process, Waiter};
use super::notify::ServiceManager;
use super::report::VERSION;
use crate::stick::{DataType, KeyType, ServerKeyKind, StoredType, TableSpec};
use crate::sys::{memory, passing, process, socket};

/// Names the descriptor of the description.
pub(super) const DESCRIPTION: &str = "BURDOCK_RELOAD";

/// Lists, for a check before a reload, the addresses that are listened on already; one a line.
pub(super) const HELD: &str = "BURDOCK_RELOAD_HELD";

const FIRST_LINE: &str = "burdock-reload 1";

/// Most bytes of a check's complaints that are kept.
const OUTPUT_BYTES_MAX: u64 = 64 * 1024;

/// How this program was started, to be started again. Taken before anything changes directories.
#[derive(Clone, Debug)]
pub(super) struct CommandLine {
    program: PathBuf,
    arguments: Vec<OsString>,
    directory: PathBuf,
    notify_socket: Option<OsString>,
}

/// Where the service manager listens. A configuration may change the environment; this is kept.
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

impl CommandLine {
    /// That of this process. The program is found again by the path that was typed, so that a new version under it is taken
    /// (a link that leads somewhere else by then, for instance); one found through PATH, by the path of its file.
    pub(super) fn of_this_process() -> CommandLine {
        let arguments: Vec<OsString> = std::env::args_os().collect();
        let directory = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        let typed = arguments.first().map(Path::new);
        let program = match typed {
            Some(typed) if typed.components().count() > 1 => directory.join(typed),
            _ => std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe")),
        };
        CommandLine {
            program,
            arguments,
            directory,
            notify_socket: std::env::var_os(NOTIFY_SOCKET),
        }
    }

    /// The service manager that started this process.
    pub(super) fn service_manager(&self) -> ServiceManager {
        ServiceManager::at(self.notify_socket.as_deref())
    }

    /// Starts the check. What it says goes into the file.
    ///
    /// # Errors
    /// The new binary cannot be run.
    pub(super) fn check(&self, held: &[String]) -> io::Result<Check> {
        let output = memory::scratch_file(c"reload-check")?;
        let child = Child::new(&self.program)
            // The last word on being quiet: the errors are wanted.
            .args(["-c", "-V"])
            .args(self.arguments.iter().skip(1))
            .current_dir(&self.directory)
            .env_remove(DESCRIPTION)
            .env_remove(NOTIFY_SOCKET)
            .env(HELD, held.join("\n"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::from(output.try_clone()?))
            .spawn()?;
        let pid = child.id() as i32;
        // Requests are in a hurry, the check is not. One that keeps its priority does no harm.
        let _ = process::put_behind_others(pid);
        Ok(Check { pid, output })
    }

    /// Becomes the new binary. Only comes back with an error; then everything is as it was.
    pub(super) fn execute(&self, state: &State<'_>) -> io::Error {
        let result = (|| -> io::Result<io::Error> {
            let mut description = memory::scratch_file(c"reload")?;
            description.write_all(state.describe().as_bytes())?;
            description.rewind()?;
            state.set_inheritable(true)?;
            passing::set_inheritable(description.as_fd(), true)?;
            std::env::set_current_dir(&self.directory)?;
            let mut environment: Vec<(OsString, OsString)> = std::env::vars_os()
                .filter(|(name, _)| name != DESCRIPTION && name != HELD && name != NOTIFY_SOCKET)
                .collect();
            let notify_socket = self.notify_socket.clone();
            environment.extend(notify_socket.map(|socket| (NOTIFY_SOCKET.into(), socket)));
            let number = description.as_raw_fd().to_string();
            environment.push((DESCRIPTION.into(), number.into()));
            Ok(process::execute(
                &self.program,
                &self.arguments,
                &environment,
            ))
        })();
        let _ = state.set_inheritable(false);
        match result {
            Ok(error) | Err(error) => error,
        }
    }
}

/// What `-c` says on standard error when it checks for a reload: that it knows the description.
pub(super) fn greeting() -> String {
    format!("{FIRST_LINE}\n")
}

/// What a check had to say.
#[derive(Debug)]
pub(super) struct Verdict {
    /// The new binary knows how to go on.
    pub greets: bool,
    /// Its messages.
    pub messages: Vec<String>,
}

/// A check that is running.
#[derive(Debug)]
pub(super) struct Check {
    /// Its process.
    pub pid: i32,
    output: File,
}

impl Check {
    /// What it had to say, for one that has ended.
    pub(super) fn verdict(mut self) -> Verdict {
        let mut bytes = Vec::new();
        // What cannot be read is lost; the exit code speaks for itself.
        let _ = self.output.rewind();
        let _ = (&self.output)
            .take(OUTPUT_BYTES_MAX)
            .read_to_end(&mut bytes);
        let output = String::from_utf8_lossy(&bytes);
        let (greetings, messages) = output
            .lines()
            .filter(|line| !line.is_empty())
            .map(String::from)
            .partition::<Vec<_>, _>(|line| line == FIRST_LINE);
        Verdict {
            greets: !greetings.is_empty(),
            messages,
        }
    }
}

/// What a master remembers of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct History {
    /// When the first image of it was started, CLOCK_MONOTONIC.
    pub started_ms: u64,
    /// Attempts to reload.
    pub reloads: u32,
    /// Of those, how many have failed since the last one that did not.
    pub failed: u32,
}

impl History {
    /// The master, for `show proc`.
    pub(super) fn describe(&self, now_ms: u64) -> Process {
        Process {
            pid: process::pid(),
            reloads: self.reloads,
            uptime_ms: now_ms.saturating_sub(self.started_ms),
            version: VERSION.to_string(),
        }
    }
}

/// A worker, as one image of the master describes it to the next.
#[derive(Debug)]
pub(super) struct WorkerState<F> {
    /// Its pid.
    pub pid: i32,
    /// The line to it.
    pub line: F,
    /// It owns listeners and tables.
    pub owns: bool,
    /// When it was forked, CLOCK_MONOTONIC.
    pub forked_ms: u64,
    /// Attempts to reload before it was forked.
    pub forked_after: u32,
    /// The version of its program.
    pub version: String,
}

impl<F> WorkerState<F> {
    /// For `show proc`.
    pub(super) fn describe(&self, history: History, now_ms: u64) -> Process {
        Process {
            pid: self.pid,
            reloads: history.reloads.saturating_sub(self.forked_after),
            uptime_ms: now_ms.saturating_sub(self.forked_ms),
            version: self.version.clone(),
        }
    }

    /// The same with another line.
    pub(super) fn with_line<G>(&self, line: G) -> WorkerState<G> {
        WorkerState {
            pid: self.pid,
            line,
            owns: self.owns,
            forked_ms: self.forked_ms,
            forked_after: self.forked_after,
            version: self.version.clone(),
        }
    }
}

/// What a master holds and its next image inherits, borrowed.
pub(super) struct State<'a> {
    /// It has left its terminal.
    pub detached: bool,
    /// The pidfile, if there is one.
    pub pidfile: Option<&'a Path>,
    /// Listening sockets and their addresses.
    pub listeners: Vec<(String, BorrowedFd<'a>)>,
    /// The tables' declarations, memories and files.
    pub tables: Vec<(&'a TableSpec, BorrowedFd<'a>, Option<&'a Path>)>,
    /// All workers.
    pub workers: Vec<WorkerState<BorrowedFd<'a>>>,
    /// What the master remembers of itself.
    pub history: History,
    /// Clients of the master socket that wait for the end of a reload.
    pub waiters: Vec<Waiter<BorrowedFd<'a>>>,
}

impl State<'_> {
    fn describe(&self) -> String {
        let History {
            started_ms,
            reloads,
            failed,
        } = self.history;
        let mut text = format!(
            "{FIRST_LINE}\nmaster {started_ms} {reloads} {failed}\ndetached {}\n",
            u8::from(self.detached)
        );
        if let Some(path) = self.pidfile {
            let _ = writeln!(text, "pidfile {}", escape(path.as_os_str()));
        }
        for (address, fd) in &self.listeners {
            let address = escape(OsStr::new(address));
            let _ = writeln!(text, "listener {} {address}", fd.as_raw_fd());
        }
        for (spec, fd, path) in &self.tables {
            let _ = writeln!(text, "table {} {}", fd.as_raw_fd(), describe_table(spec));
            if let Some(path) = path {
                let (name, path) = (escape(OsStr::new(&spec.name)), escape(path.as_os_str()));
                let _ = writeln!(text, "file {name} {path}");
            }
        }
        for worker in &self.workers {
            let role = if worker.owns { "owner" } else { "draining" };
            let _ = writeln!(
                text,
                "worker {} {} {role} {} {} {}",
                worker.pid,
                worker.line.as_raw_fd(),
                worker.forked_ms,
                worker.forked_after,
                escape(OsStr::new(&worker.version))
            );
        }
        for waiter in &self.waiters {
            let state = if waiter.begun { "begun" } else { "asked" };
            let _ = writeln!(text, "client {} {state}", waiter.socket.as_raw_fd());
        }
        text
    }

    fn set_inheritable(&self, inheritable: bool) -> io::Result<()> {
        let listeners = self.listeners.iter().map(|(_, fd)| fd);
        let fds = listeners
            .chain(self.tables.iter().map(|(_, fd, _)| fd))
            .chain(self.workers.iter().map(|worker| &worker.line))
            .chain(self.waiters.iter().map(|waiter| &waiter.socket));
        for fd in fds {
            passing::set_inheritable(*fd, inheritable)?;
        }
        Ok(())
    }
}

/// What a former image of this master has left.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    /// See [`State`].
    pub detached: bool,
    /// See [`State`].
    pub pidfile: Option<PathBuf>,
    /// See [`State`].
    pub listeners: Vec<(String, OwnedFd)>,
    /// See [`State`].
    pub tables: Vec<(TableSpec, OwnedFd, Option<PathBuf>)>,
    /// See [`State`].
    pub workers: Vec<WorkerState<OwnedFd>>,
    /// See [`State`].
    pub history: History,
    /// See [`State`].
    pub waiters: Vec<Waiter<OwnedFd>>,
}

impl Inherited {
    /// What the environment names; `None`: this is no reload.
    ///
    /// # Errors
    /// A description that cannot be read, or of another version.
    pub(super) fn from_environment() -> Option<Result<Inherited, String>> {
        let number = std::env::var(DESCRIPTION).ok()?;
        let read = || -> io::Result<String> {
            let number: RawFd = number.parse().map_err(|_| io::ErrorKind::InvalidData)?;
            let mut text = String::new();
            let mut file = File::from(take(number)?);
            file.rewind()?;
            file.read_to_string(&mut text)?;
            Ok(text)
        };
        Some(
            read()
                .map_err(|error| error.to_string())
                .and_then(|text| Inherited::parse(&text)),
        )
    }

    fn parse(text: &str) -> Result<Inherited, String> {
        let mut lines = text.lines();
        if lines.next() != Some(FIRST_LINE) {
            return Err("its description is of another version".to_string());
        }
        let mut inherited = Inherited::default();
        for line in lines {
            inherited
                .parse_line(line)
                .ok_or_else(|| format!("its description says '{line}'"))?;
        }
        Ok(inherited)
    }

    fn parse_line(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split(' ').collect();
        let fd = |word: &str| take(word.parse().ok()?).ok();
        match words[..] {
            ["detached", flag] => self.detached = flag == "1",
            ["pidfile", path] => self.pidfile = Some(PathBuf::from(unescape(path)?)),
            ["listener", number, address] => {
                self.listeners.push((unescape(address)?, fd(number)?));
            }
            ["table", number, ref spec @ ..] => {
                self.tables.push((parse_table(spec)?, fd(number)?, None));
            }
            ["file", name, path] => {
                let name = unescape(name)?;
                let mut tables = self.tables.iter_mut();
                let (_, _, at) = tables.find(|(spec, _, _)| spec.name == name)?;
                *at = Some(PathBuf::from(unescape(path)?));
            }
            [
                "worker",
                pid,
                number,
                role,
                forked_ms,
                forked_after,
                version,
            ] => {
                self.workers.push(WorkerState {
                    pid: pid.parse().ok()?,
                    line: fd(number)?,
                    owns: role == "owner",
                    forked_ms: forked_ms.parse().ok()?,
                    forked_after: forked_after.parse().ok()?,
                    version: unescape(version)?,
                });
            }
            ["client", number, state] => self.waiters.push(Waiter {
                socket: fd(number)?,
                begun: state == "begun",
            }),
            ["master", started_ms, reloads, failed] => {
                self.history = History {
                    started_ms: started_ms.parse().ok()?,
                    reloads: reloads.parse().ok()?,
                    failed: failed.parse().ok()?,
                };
            }
            _ => return None,
        }
        Some(())
    }

    /// Borrowed, to be described once more.
    pub(super) fn state(&self) -> State<'_> {
        State {
            detached: self.detached,
            pidfile: self.pidfile.as_deref(),
            listeners: self
                .listeners
                .iter()
                .map(|(address, fd)| (address.clone(), fd.as_fd()))
                .collect(),
            tables: self
                .tables
                .iter()
                .map(|(spec, fd, path)| (spec, fd.as_fd(), path.as_deref()))
                .collect(),
            workers: self
                .workers
                .iter()
                .map(|worker| worker.with_line(worker.line.as_fd()))
                .collect(),
            history: self.history,
            waiters: Vec::new(),
        }
    }

    /// A copy of the listening socket for this address, if there is one that was not taken yet.
    pub(super) fn listener(&self, address: &str, taken: &mut Vec<RawFd>) -> Option<OwnedFd> {
        let mut matching = self.listeners.iter().filter(|(name, _)| name == address);
        let (_, fd) = matching.find(|(_, fd)| !taken.contains(&fd.as_raw_fd()))?;
        taken.push(fd.as_raw_fd());
        fd.try_clone().ok()
    }

    /// The declaration, a copy of the memory, and the file of the table of this name.
    pub(super) fn table(&self, name: &str) -> Option<(TableSpec, OwnedFd, Option<PathBuf>)> {
        let mut tables = self.tables.iter();
        let (spec, fd, path) = tables.find(|(spec, _, _)| spec.name == name)?;
        Some((spec.clone(), fd.try_clone().ok()?, path.clone()))
    }
}

const KEY_TYPES: [(KeyType, &str); 5] = [
    (KeyType::Ip, "ip"),
    (KeyType::Ipv6, "ipv6"),
    (KeyType::Integer, "integer"),
    (KeyType::String, "string"),
    (KeyType::Binary, "binary"),
];

fn describe_table(spec: &TableSpec) -> String {
    let mut key_types = KEY_TYPES.iter();
    let key_type = key_types.find(|(key_type, _)| *key_type == spec.key_type);
    let server_keys = match spec.server_key_kind {
        ServerKeyKind::Name => "name",
        ServerKeyKind::Address => "addr",
    };
    let store: Vec<String> = spec
        .store
        .iter()
        .map(|stored| {
            let name = stored.data_type.name();
            format!("{name}:{}:{}", stored.elements, stored.period_ms)
        })
        .collect();
    format!(
        "{} {} {} {} {} {server_keys} {}",
        escape(OsStr::new(&spec.name)),
        key_type.map_or("", |(_, name)| name),
        spec.key_len,
        spec.size,
        spec.expire_ms,
        store.join(","),
    )
}

/// The declaration that [`describe_table`] wrote. What has no influence on the memory is left at its default.
fn parse_table(words: &[&str]) -> Option<TableSpec> {
    let [name, key_type, key_len, size, expire_ms, server_keys, store] = *words else {
        return None;
    };
    let mut key_types = KEY_TYPES.iter();
    let (key_type, _) = key_types.find(|(_, name)| *name == key_type)?;
    let stored = |text: &str| -> Option<StoredType> {
        let mut parts = text.split(':');
        Some(StoredType {
            data_type: DataType::from_name(parts.next()?)?,
            elements: parts.next()?.parse().ok()?,
            period_ms: parts.next()?.parse().ok()?,
        })
    };
    let store = store.split(',').filter(|text| !text.is_empty());
    Some(TableSpec {
        name: unescape(name)?,
        wire_name: String::new(),
        key_type: *key_type,
        key_len: key_len.parse().ok()?,
        size: size.parse().ok()?,
        expire_ms: expire_ms.parse().ok()?,
        nopurge: false,
        expire_absolute: false,
        store: store.map(stored).collect::<Option<_>>()?,
        server_key_kind: match server_keys {
            "addr" => ServerKeyKind::Address,
            _ => ServerKeyKind::Name,
        },
        peers: None,
    })
}

/// Owns a descriptor that the former image left open: close-on-exec again.
fn take(number: RawFd) -> io::Result<OwnedFd> {
    let copy = socket::duplicate(number)?;
    socket::close_inherited(number);
    Ok(copy)
}

fn escape(name: &OsStr) -> String {
    use std::os::unix::ffi::OsStrExt;
    let mut text = String::new();
    for &byte in name.as_bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02x}");
        }
    }
    text
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(pid: i32, line: BorrowedFd<'_>, owns: bool) -> WorkerState<BorrowedFd<'_>> {
        WorkerState {
            pid,
            line,
            owns,
            forked_ms: 5,
            forked_after: 1,
            version: "0.1.0".into(),
        }
    }

    #[test]
    fn what_is_described_is_inherited() {
        let (one, two) = passing::message_pair().unwrap();
        let words = "peers/t%c3%a4ble string 32 10 5000 addr server_id:1:0,gpc0_rate:1:1000";
        let spec = parse_table(&words.split(' ').collect::<Vec<_>>()).unwrap();
        assert_eq!(spec.name, "peers/täble");
        let state = State {
            detached: true,
            pidfile: Some(Path::new("/run/a b%.pid")),
            listeners: vec![("127.0.0.1:80".into(), one.as_fd())],
            tables: vec![(&spec, two.as_fd(), Some(Path::new("/var/t t.table")))],
            workers: vec![
                worker(4711, one.as_fd(), true),
                worker(4712, two.as_fd(), false),
            ],
            history: History {
                started_ms: 7,
                reloads: 2,
                failed: 1,
            },
            waiters: vec![Waiter {
                socket: one.as_fd(),
                begun: true,
            }],
        };
        let text = state.describe();
        let (one, two) = (one.as_raw_fd(), two.as_raw_fd());
        let expected = format!(
            "{FIRST_LINE}\nmaster 7 2 1\ndetached 1\npidfile /run/a%20b%25.pid\n\
             listener {one} 127.0.0.1:80\ntable {two} {words}\nfile peers/t%c3%a4ble /var/t%20t.table\n\
             worker 4711 {one} owner 5 1 0.1.0\nworker 4712 {two} draining 5 1 0.1.0\n\
             client {one} begun\n"
        );
        assert_eq!(text, expected);
        // Reading takes the descriptors, which other objects own here: only the other lines are read.
        let text = format!("{FIRST_LINE}\nmaster 7 2 1\ndetached 1\npidfile /run/a%20b%25.pid\n");
        let inherited = Inherited::parse(&text).unwrap();
        assert!(inherited.detached);
        assert_eq!(inherited.history, state.history);
        assert_eq!(
            inherited.pidfile.as_deref(),
            Some(Path::new("/run/a b%.pid"))
        );
        assert_eq!(unescape("peers/t%c3%a4ble").as_deref(), Some("peers/täble"));
    }

    #[test]
    fn another_version_or_a_strange_line_is_refused() {
        for text in ["", "burdock-reload 2\n", "burdock-reload 1\nzork\n"] {
            assert!(Inherited::parse(text).is_err(), "{text:?}");
        }
        let closed = format!("{FIRST_LINE}\nlistener 999999 a\n");
        assert!(Inherited::parse(&closed).is_err());
        assert_eq!(unescape("%4"), None);
        assert_eq!(unescape("%zz"), None);
    }
}
