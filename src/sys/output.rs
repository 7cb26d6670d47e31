//! Writing to descriptors that others own (`stdout`, `stderr`, `fd@N` of a log target).

use std::io;
use std::os::fd::RawFd;

/// Writes `bytes` with one write(2).
///
/// # Errors
/// Those of write(2); `WouldBlock` where the descriptor is non-blocking and full, `EBADF` where it is not open.
pub fn write(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: `bytes` is readable for its length during the call; write(2) does not keep it. A descriptor that is not
    // open is an error, not undefined.
    let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    usize::try_from(written).map_err(|_| io::Error::last_os_error())
}

/// Whether a write of up to `PIPE_BUF` bytes (4096) would go at once: for descriptors that are shared with others and
/// therefore must stay blocking, such as a terminal.
pub fn is_writable(fd: RawFd) -> bool {
    let mut wanted = libc::pollfd {
        fd,
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: `wanted` is one valid pollfd for the call to change; with a timeout of zero it returns at once.
    let ready = unsafe { libc::poll(&mut wanted, 1, 0) };
    ready == 1 && wanted.revents & libc::POLLOUT != 0
}

/// Sets `O_NONBLOCK`.
///
/// # Errors
/// Those of fcntl(2).
pub fn set_nonblocking(fd: RawFd) -> io::Result<()> {
    // SAFETY: F_GETFL and F_SETFL take and return integers only.
    unsafe {
        let flags = libc::fcntl(fd, libc::F_GETFL);
        if flags < 0 || libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
