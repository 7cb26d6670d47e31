//! Random numbers from the kernel.

use std::io;

/// A number that nobody can guess.
///
/// # Errors
/// Those of getrandom(2).
pub fn number() -> io::Result<u64> {
    let mut bytes = [0u8; 8];
    // SAFETY: `bytes` is writable for its length. Requests of up to 256 bytes are answered in full.
    let filled = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if filled != bytes.len() as isize {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::from_ne_bytes(bytes))
}
