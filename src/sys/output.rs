//! Writing to descriptors that others own (`stdout`, `stderr`, `fd@N` of a log target), and datagrams by the batch.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use socket2::SockAddr;

/// Most datagrams that one call of [`send_datagrams`] sends.
pub const DATAGRAMS_MAX: usize = 64;

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
    // Only what is used of these is written: a turn with one line must not pay for sixty-four.
    let mut slices = [const { MaybeUninit::<libc::iovec>::uninit() }; DATAGRAMS_MAX];
    let mut messages = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; DATAGRAMS_MAX];
    let mut rest = bytes;
    let mut count = 0;
    for ((slice, message), &length) in slices.iter_mut().zip(&mut messages).zip(lengths) {
        let (datagram, behind) = rest.split_at(length as usize);
        let slice = slice.write(libc::iovec {
            iov_base: datagram.as_ptr().cast_mut().cast(),
            iov_len: datagram.len(),
        });
        message.write(libc::mmsghdr {
            msg_hdr: libc::msghdr {
                msg_name: address.as_ptr().cast_mut().cast(),
                msg_namelen: address.len(),
                msg_iov: slice,
                msg_iovlen: 1,
                msg_control: std::ptr::null_mut(),
                msg_controllen: 0,
                msg_flags: 0,
            },
            msg_len: 0,
        });
        rest = behind;
        count += 1;
    }
    // SAFETY: the first `count` headers were written; each names one slice of `bytes`, written too, and `address`, which sendmmsg(2)
    // only reads and which outlive the call; it writes nothing but `msg_len` of headers that are ours.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            messages.as_mut_ptr().cast(),
            count,
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
