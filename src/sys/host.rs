//! The name of this machine.

use std::ffi::CStr;
use std::io;

use super::process::check;

/// The host name; bytes that are no UTF-8 are replaced.
///
/// # Errors
/// Those of gethostname(2).
pub fn name() -> io::Result<String> {
    let mut room = [0u8; 256];
    // SAFETY: `room` is writable for one byte less than its size, so that a NUL remains at the end.
    check(unsafe { libc::gethostname(room.as_mut_ptr().cast(), room.len() - 1) })?;
    let name = CStr::from_bytes_until_nul(&room).unwrap_or_default();
    Ok(name.to_string_lossy().into_owned())
}

/// The number of this boot of the machine; `None`: the system does not tell.
pub fn boot() -> Option<[u64; 2]> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let number = u128::from_str_radix(&digits, 16).ok()?;
    Some([(number >> 64) as u64, number as u64])
}

/// The host name as it was when it was asked for first; empty when the system does not tell.
pub fn kept_name() -> &'static str {
    static NAME: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    NAME.get_or_init(|| name().unwrap_or_default())
}
