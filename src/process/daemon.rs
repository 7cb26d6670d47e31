//! Leaving the terminal: the command forks, waits, and ends with the code that the daemon reports.
//!
//! ```text
//! command ──fork──▶ leader of a new session ──fork──▶ daemon (the master)
//!    │ reads one byte ◀──────────── exit code ───────────┘ writes it when its worker runs, or cannot
//!    ▼ exits with it (1 when the daemon died without a word)
//! ```
//!
//! The terminal stays connected until the report, so that errors of the worker's start are still seen.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use crate::sys::process::{self, Fork};
use crate::sys::socket;

/// Which process we are after [`detach`].
pub enum Detached {
    /// The command that was typed; the daemon has reported this exit code.
    Command(i32),
    /// The daemon.
    Daemon(Announcement),
}

/// The daemon's duty to report.
#[derive(Debug)]
pub struct Announcement {
    command: UnixStream,
}

impl Announcement {
    /// Ends the command that was typed with this code. It may have been interrupted and be gone.
    pub fn say(mut self, code: u8) {
        let _ = self.command.write_all(&[code]);
    }
}

/// Forks into the background.
///
/// # Errors
/// No process could be made.
pub fn detach() -> io::Result<Detached> {
    let (mut ours, command) = UnixStream::pair()?;
    if let Fork::Parent(_) = process::fork()? {
        drop(command);
        let mut code = [1];
        let _ = ours.read_exact(&mut code);
        return Ok(Detached::Command(i32::from(code[0])));
    }
    drop(ours);
    process::new_session()?;
    // The leader of a session could acquire a controlling terminal; its child cannot.
    if let Fork::Parent(_) = process::fork()? {
        process::exit_now(0);
    }
    Ok(Detached::Daemon(Announcement { command }))
}

/// Redirects standard input, output and error to /dev/null.
///
/// # Errors
/// /dev/null cannot be opened (a chroot without it: call this before).
pub fn leave_terminal() -> io::Result<()> {
    redirect(&open_null()?)
}

/// /dev/null, for a later [`redirect`]: after `chroot` it cannot be opened.
///
/// # Errors
/// Those of open(2).
pub fn open_null() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/null")
}

/// Makes standard input, output and error lead to `null`.
///
/// # Errors
/// Those of dup2(2).
pub fn redirect(null: &File) -> io::Result<()> {
    for standard in 0..3 {
        socket::duplicate_to(null.as_fd(), standard)?;
    }
    Ok(())
}
