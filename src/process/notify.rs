//! What systemd is told (`Type=notify`, sd_notify(3)): a datagram of `NAME=value` lines to `$NOTIFY_SOCKET`.
//!
//! Not here: when what is said (master).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The service manager, when there is one that listens and `-Ws` was given.
#[derive(Debug, Default)]
pub struct ServiceManager {
    target: Option<(UnixDatagram, SocketAddr)>,
}

impl ServiceManager {
    /// Talks to the socket that the environment names. Without one, everything said goes nowhere.
    pub fn from_environment() -> ServiceManager {
        let socket = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        ServiceManager {
            target: socket.and_then(|name| open(&name).ok()),
        }
    }

    /// Sends lines. A service manager that does not listen is no reason to stop serving.
    pub fn say(&self, lines: &str) {
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
