//! Resource limits of the process.

use std::io;

use super::process::check;

/// A soft and a hard limit; `u64::MAX` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What counts now.
    pub soft: u64,
    /// How far the soft one may be raised without privilege.
    pub hard: u64,
}

/// The limit of open descriptors (RLIMIT_NOFILE).
pub fn descriptors() -> io::Result<Limit> {
    limit_of(libc::RLIMIT_NOFILE)
}

/// The limit of bytes that a process without privilege may lock in memory (RLIMIT_MEMLOCK).
pub fn locked_bytes() -> io::Result<Limit> {
    limit_of(libc::RLIMIT_MEMLOCK)
}

fn limit_of(resource: libc::__rlimit_resource_t) -> io::Result<Limit> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid rlimit for the call to fill.
    check(unsafe { libc::getrlimit(resource, &mut limit) })?;
    Ok(Limit {
        soft: limit.rlim_cur,
        hard: limit.rlim_max,
    })
}

/// Sets the limit of open descriptors. Raising the hard one takes privilege.
pub fn set_descriptors(limit: Limit) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: limit.soft,
        rlim_max: limit.hard,
    };
    // SAFETY: `limit` is a valid rlimit that lives through the call.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })
}
