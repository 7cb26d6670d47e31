//! Addresses as the configuration writes them (configuration manual, "bind", "server", section 11.2 of management).

use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::path::PathBuf;

/// Where to listen or connect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// IPv4 or IPv6 address with port.
    Inet(SocketAddr),
    /// Unix socket in the file system (`unix@PATH`, or a word that starts with `/`).
    Unix(PathBuf),
    /// Unix socket in the abstract name space (`abns@NAME`).
    Abstract(Vec<u8>),
    /// A socket inherited from whoever started us (`fd@N`).
    Fd(RawFd),
}
