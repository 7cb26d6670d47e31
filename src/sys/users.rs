//! Users, groups and the host name.

use std::ffi::CStr;
use std::io;

use super::process::{c_string, check};

/// Room for one line of the user or group database; getgrnam_r asks for more when a group has many members.
const ENTRY_BYTES_MAX: usize = 1 << 20;

/// The uid and primary gid of a user; `None` when there is no such user.
pub fn user(name: &str) -> io::Result<Option<(u32, u32)>> {
    let name = c_string(name.as_bytes())?;
    let mut room = vec![0 as libc::c_char; 4096];
    loop {
        let mut entry = std::mem::MaybeUninit::<libc::passwd>::uninit();
        let mut found = std::ptr::null_mut();
        // SAFETY: `name` is NUL-terminated; `entry`, `room` and `found` are writable, and `room.len()` is its size.
        let ret = unsafe {
            libc::getpwnam_r(
                name.as_ptr(),
                entry.as_mut_ptr(),
                room.as_mut_ptr(),
                room.len(),
                &mut found,
            )
        };
        match ret {
            0 if found.is_null() => return Ok(None),
            0 => {
                // SAFETY: `found` is not null, so the call filled `entry`.
                let entry = unsafe { entry.assume_init() };
                return Ok(Some((entry.pw_uid, entry.pw_gid)));
            }
            libc::ERANGE if room.len() < ENTRY_BYTES_MAX => room.resize(room.len() * 4, 0),
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// The gid of a group; `None` when there is no such group.
pub fn group(name: &str) -> io::Result<Option<u32>> {
    let name = c_string(name.as_bytes())?;
    let mut room = vec![0 as libc::c_char; 4096];
    loop {
        let mut entry = std::mem::MaybeUninit::<libc::group>::uninit();
        let mut found = std::ptr::null_mut();
        // SAFETY: `name` is NUL-terminated; `entry`, `room` and `found` are writable, and `room.len()` is its size.
        let ret = unsafe {
            libc::getgrnam_r(
                name.as_ptr(),
                entry.as_mut_ptr(),
                room.as_mut_ptr(),
                room.len(),
                &mut found,
            )
        };
        match ret {
            0 if found.is_null() => return Ok(None),
            // SAFETY: `found` is not null, so the call filled `entry`.
            0 => return Ok(Some(unsafe { entry.assume_init() }.gr_gid)),
            libc::ERANGE if room.len() < ENTRY_BYTES_MAX => room.resize(room.len() * 4, 0),
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// The host name of this machine; bytes that are no UTF-8 are replaced.
pub fn host_name() -> io::Result<String> {
    let mut room = [0u8; 256];
    // SAFETY: `room` is writable for one byte less than its size, so that a NUL remains at the end.
    check(unsafe { libc::gethostname(room.as_mut_ptr().cast(), room.len() - 1) })?;
    let name = CStr::from_bytes_until_nul(&room).unwrap_or_default();
    Ok(name.to_string_lossy().into_owned())
}
