//! What systemd is told (`Type=notify`, sd_notify(3)): a datagram of `NAME=value` lines to `$NOTIFY_SOCKET`.
//!
//! ```text
//! start       READY=1 MAINPID=… STATUS=Ready.
//! reload      RELOADING=1 MONOTONIC_USEC=… STATUS=…   then READY=1 MAINPID=… STATUS=Ready. (or: Reload failed: …)
//! stop        STOPPING=1 STATUS=…
//! ```
//!
//! Each RELOADING is followed by a READY, whatever becomes of the reload: systemd waits for it.
//! Not here: when what is said (master, caretaker).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::sys::{process, time};

/// The service manager, when there is one that listens and `-Ws` was given.
#[derive(Debug, Default)]
pub struct ServiceManager {
    target: Option<(UnixDatagram, SocketAddr)>,
}

impl ServiceManager {
    /// Talks to this socket (`$NOTIFY_SOCKET`). Without one, everything said goes nowhere.
    pub fn at(socket: Option<&OsStr>) -> ServiceManager {
        ServiceManager {
            target: socket
                .filter(|name| !name.is_empty())
                .and_then(|name| open(name).ok()),
        }
    }

    /// The service runs, after a start or a reload (whether or not it brought a new configuration).
    pub fn ready(&self, status: &str) {
        let pid = process::pid();
        self.say(&format!("READY=1\nMAINPID={pid}\nSTATUS={status}\n"));
    }

    /// A reload has begun.
    pub fn reloading(&self) {
        let now_us = time::monotonic_us();
        self.say(&format!(
            "RELOADING=1\nMONOTONIC_USEC={now_us}\nSTATUS=Reloading\n"
        ));
    }

    /// The service is about to end.
    pub fn stopping(&self, status: &str) {
        self.say(&format!("STOPPING=1\nSTATUS={status}\n"));
    }

    /// Something worth a line in `systemctl status`.
    pub fn status(&self, status: &str) {
        self.say(&format!("STATUS={status}\n"));
    }

    /// Sends lines. A service manager that does not listen is no reason to stop serving.
    fn say(&self, lines: &str) {
        if let Some((socket, address)) = &self.target {
            let _ = socket.send_to_addr(lines.as_bytes(), address);
        }
    }
}

fn open(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes() {
        [b'@', abstract_name @ ..] => SocketAddr::from_abstract_name(abstract_name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}
