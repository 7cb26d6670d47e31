//! A client of the stats socket.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Speaks to a stats socket: one connection a command, as `socat` does.
#[derive(Clone, Debug)]
pub struct Stats {
    path: PathBuf,
}

impl Stats {
    /// The socket at `path`, which need not exist yet.
    pub fn at(path: impl AsRef<Path>) -> Stats {
        Stats {
            path: path.as_ref().to_path_buf(),
        }
    }

    /// Sends a line, shuts the writing side, and returns the whole answer; `None` when nobody listens (yet, any more).
    pub fn try_command(&self, line: &str) -> Option<String> {
        let mut stream = self.connect()?;
        stream.write_all(format!("{line}\n").as_bytes()).ok()?;
        stream.shutdown(Shutdown::Write).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        Some(String::from_utf8_lossy(&answer).into_owned())
    }

    /// As [`Stats::try_command`], where the socket has to answer.
    pub fn command(&self, line: &str) -> String {
        self.try_command(line)
            .unwrap_or_else(|| panic!("{} did not answer '{line}'", self.path.display()))
    }

    /// An open connection, for tests of `prompt`, of payloads and of clients that behave badly.
    pub fn connect(&self) -> Option<UnixStream> {
        let stream = UnixStream::connect(&self.path).ok()?;
        let limit = Some(Duration::from_secs(10));
        stream.set_read_timeout(limit).ok()?;
        stream.set_write_timeout(limit).ok()?;
        Some(stream)
    }

    /// The entries of a table: key and the rest of its line after `key=… `, without the address, use and expiry, sorted.
    pub fn entries(&self, table: &str) -> Vec<(String, String)> {
        let text = self
            .try_command(&format!("show table {table}"))
            .unwrap_or_default();
        let mut entries: Vec<_> = text.lines().filter_map(entry_of_line).collect();
        entries.sort();
        entries
    }
}

/// `0x1551cc4: key=abc use=0 exp=286311 server_id=2` → (`abc`, `server_id=2`).
fn entry_of_line(line: &str) -> Option<(String, String)> {
    let rest = line.split_once(": key=")?.1;
    let (key, rest) = rest.split_once(" use=")?;
    let data: Vec<&str> = rest
        .split(' ')
        .skip(1)
        .filter(|word| !word.starts_with("exp=") && !word.starts_with("shard="))
        .collect();
    Some((key.to_string(), data.join(" ")))
}
