//! Files that are mapped: their lock, and room for all their bytes.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Takes the exclusive lock of a file (flock(2)), which lasts until the last copy of this descriptor is closed, in whatever process.
///
/// # Errors
/// `WouldBlock`: somebody else has it.
pub fn lock(file: &File) -> io::Result<()> {
    // SAFETY: `file` is open; the call touches no memory of ours.
    match unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes the file so long, and takes room on the disk for all of it, so that no later write through a mapping can fail.
///
/// # Errors
/// The disk is full, or the file system cannot promise it.
pub fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    let len = libc::off_t::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: `file` is open; the call touches no memory of ours. It returns the error instead of setting errno.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, len) } {
        0 => Ok(()),
        number => Err(io::Error::from_raw_os_error(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_has_one_owner_until_its_last_copy_is_closed() {
        let path = std::env::temp_dir().join(format!("burdock-lock-{}", std::process::id()));
        let open = || {
            let mut options = std::fs::OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            options.open(&path).unwrap()
        };
        let (one, two) = (open(), open());
        lock(&one).unwrap();
        let copy = one.try_clone().unwrap();
        drop(one);
        assert_eq!(lock(&two).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(copy);
        lock(&two).unwrap();
        allocate(&two, 10_000).unwrap();
        assert_eq!(two.metadata().unwrap().len(), 10_000);
        assert!(allocate(&two, u64::MAX / 4).is_err());
        let _ = std::fs::remove_file(&path);
    }
}
