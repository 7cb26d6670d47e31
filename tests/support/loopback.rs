//! Addresses, ports and names that nobody else uses.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(1);

/// An address of 127.0.0.0/8 that no other test of this run was given (the process id makes it the run's, a counter the
/// test's). The kernel gives outgoing connections the source address 127.0.0.1, so no port of it is ever taken by one.
pub fn unique_loopback() -> Ipv4Addr {
    let process = std::process::id();
    let count = NEXT.fetch_add(1, Ordering::Relaxed);
    // 127.64.0.0/10 holds 254 addresses for each of 16384 processes.
    Ipv4Addr::new(
        127,
        64 | (process >> 8 & 0x3f) as u8,
        (process & 0xff) as u8,
        (count % 254 + 1) as u8,
    )
}

/// A port on `ip` that was free a moment ago, for TCP and (all but certainly) for UDP.
pub fn free_port(ip: Ipv4Addr) -> u16 {
    let probe = TcpListener::bind((ip, 0)).expect("cannot bind a loopback address");
    probe
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}

/// A free port on an address of its own.
pub fn free_address() -> SocketAddr {
    let ip = unique_loopback();
    SocketAddr::from((ip, free_port(ip)))
}

/// An abstract name, as configurations write it after `abns@`, that nobody else can listen on while the listener lives: what the check before
/// a reload does not try, so that it fails late.
pub fn taken_name() -> (String, UnixListener) {
    static NAMES: AtomicU32 = AtomicU32::new(0);
    let number = NAMES.fetch_add(1, Ordering::Relaxed);
    let name = format!("burdock-test-{}-{number}", std::process::id());
    let mut padded = name.clone().into_bytes();
    padded.resize(107, 0); // as HAProxy names them
    let address = UnixAddress::from_abstract_name(&padded).expect("a name");
    let holder = UnixListener::bind_addr(&address).expect("an abstract address");
    (name, holder)
}
