//! Writing to descriptors that others own (`stdout`, `stderr`, `fd@N` of a log target), and datagrams by the batch.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use socket2::SockAddr;

/// Most datagrams that one call of [`send_datagrams`] sends.
pub const DATAGRAMS_MAX: usize = 32;

/// Sends datagrams to `address` with one sendmmsg(2): they lie in `bytes` one behind the other, and `lengths` says how long each is. Returns
/// how many went, one at least; those beyond [`DATAGRAMS_MAX`] are not tried.
///
/// # Errors
/// The first one could not be sent.
pub fn send_datagrams(
    socket: BorrowedFd<'_>,
    address: &SockAddr,
    bytes: &[u8],
    lengths: &[u32],
) -> io::Result<usize> {
    const EMPTY: libc::iovec = libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: 0,
    };
    let mut slices = [EMPTY; DATAGRAMS_MAX];
    let mut rest = bytes;
    let count = lengths.len().min(DATAGRAMS_MAX);
    for (slice, &length) in slices.iter_mut().zip(lengths) {
        let (datagram, behind) = rest.split_at(length as usize);
        slice.iov_base = datagram.as_ptr().cast_mut().cast();
        slice.iov_len = datagram.len();
        rest = behind;
    }
    let slices = slices.as_mut_ptr();
    let mut messages = std::array::from_fn::<_, DATAGRAMS_MAX, _>(|index| libc::mmsghdr {
        msg_hdr: libc::msghdr {
            msg_name: address.as_ptr().cast_mut().cast(),
            msg_namelen: address.len(),
            msg_iov: slices.wrapping_add(index),
            msg_iovlen: 1,
            msg_control: std::ptr::null_mut(),
            msg_controllen: 0,
            msg_flags: 0,
        },
        msg_len: 0,
    });
    // SAFETY: the first `count` headers each name one slice of `bytes` and `address`, which sendmmsg(2) only reads and which outlive the
    // call; it writes nothing but `msg_len` of headers that are ours.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            messages.as_mut_ptr(),
            count as libc::c_uint,
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

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
