//! Descriptors between processes: message pairs, descriptors sent along with bytes (SCM_RIGHTS), descriptors that survive exec.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::process::check;

/// Most descriptors that one message can carry: the kernel's limit.
pub const PASSED_MAX: usize = 253;

/// Room for the control message of so many descriptors, with the alignment that the kernel asks for.
const CONTROL_WORDS: usize = PASSED_MAX / 2 + 8;

/// A pair of connected sockets that keep message boundaries: non-blocking, close-on-exec.
pub fn message_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut pair = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: `pair` is writable for two descriptors.
    check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, pair.as_mut_ptr()) })?;
    // SAFETY: the call returned two new descriptors that nobody else owns.
    Ok(unsafe { (OwnedFd::from_raw_fd(pair[0]), OwnedFd::from_raw_fd(pair[1])) })
}

/// Sends `bytes` (not empty) on a unix socket, with a descriptor if there is one: the receiver gets a copy. The caller keeps its own.
pub fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    passed: Option<BorrowedFd<'_>>,
) -> io::Result<usize> {
    send_many(socket, bytes, passed.as_slice())
}

/// As [`send`], with any number of descriptors up to [`PASSED_MAX`].
pub fn send_many(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    passed: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let mut slice = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let mut control = [0u64; CONTROL_WORDS];
    // SAFETY: all zeros is a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut slice;
    message.msg_iovlen = 1;
    if !passed.is_empty() {
        let passed_bytes = size_of_val(passed) as u32;
        message.msg_control = control.as_mut_ptr().cast();
        // SAFETY: arithmetic on a length.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(passed_bytes) } as _;
        assert!(message.msg_controllen as usize <= size_of_val(&control));
        // SAFETY: `msg_control` points to `control`, which is aligned and has room for one header and so many ints (asserted).
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(passed_bytes) as _;
            let data = libc::CMSG_DATA(header).cast::<libc::c_int>();
            for (index, fd) in passed.iter().enumerate() {
                data.add(index).write_unaligned(fd.as_raw_fd());
            }
        }
    }
    loop {
        // SAFETY: the message refers to `slice`, `bytes` and `control`, all of which live through the call and are not written to.
        let sent =
            unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
        match usize::try_from(sent) {
            Ok(sent) => return Ok(sent),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
}

/// Receives into `buffer`, and a descriptor if one came along (close-on-exec). 0 bytes: the other end is closed.
///
/// # Errors
/// Those of recvmsg(2); `InvalidData` for a message that did not fit.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let (count, mut passed) = receive_up_to(socket, buffer, 1)?;
    Ok((count, passed.pop()))
}

/// As [`receive`], with any number of descriptors up to [`PASSED_MAX`].
///
/// # Errors
/// Those of [`receive`].
pub fn receive_many(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<(usize, Vec<OwnedFd>)> {
    receive_up_to(socket, buffer, PASSED_MAX)
}

fn receive_up_to(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    passed_max: usize,
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut slice = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let mut control = [0u64; CONTROL_WORDS];
    // SAFETY: all zeros is a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut slice;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // Exactly so many descriptors, without padding: the kernel closes what a sender adds to them.
    let room = (passed_max * size_of::<libc::c_int>()) as u32;
    // SAFETY: arithmetic on a length.
    message.msg_controllen = unsafe { libc::CMSG_LEN(room) } as _;
    assert!(message.msg_controllen as usize <= size_of_val(&control));
    let received = loop {
        // SAFETY: the message refers to `slice`, `buffer` and `control`, which live through the call and are ours to write.
        let received =
            unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
        match usize::try_from(received) {
            Ok(received) => break received,
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    };
    // SAFETY: the kernel filled `control` and set the length; the header, if there is one, lies in it. A control message of
    // SCM_RIGHTS holds descriptors that the kernel just made for us, as many as its length says.
    let passed = unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        let is_rights = !header.is_null()
            && (*header).cmsg_level == libc::SOL_SOCKET
            && (*header).cmsg_type == libc::SCM_RIGHTS;
        let count = match is_rights {
            true => {
                ((*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize)
                    / size_of::<libc::c_int>()
            }
            false => 0,
        };
        (0..count)
            .map(|index| {
                let data = libc::CMSG_DATA(header).cast::<libc::c_int>();
                OwnedFd::from_raw_fd(data.add(index).read_unaligned())
            })
            .collect()
    };
    if message.msg_flags & libc::MSG_TRUNC != 0 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok((received, passed))
}

/// Says whether `fd` stays open over exec.
pub fn set_inheritable(fd: BorrowedFd<'_>, inheritable: bool) -> io::Result<()> {
    let flags = if inheritable { 0 } else { libc::FD_CLOEXEC };
    // SAFETY: `fd` is open; F_SETFD takes an int.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, flags) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_descriptor_travels_with_its_message() {
        let (one, two) = message_pair().unwrap();
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        send(one.as_fd(), b"first", None).unwrap();
        send(one.as_fd(), b"second", Some(theirs.as_fd())).unwrap();
        drop(theirs);
        let mut buffer = [0; 64];
        let (count, passed) = receive(two.as_fd(), &mut buffer).unwrap();
        assert_eq!((&buffer[..count], passed.is_none()), (&b"first"[..], true));
        let (count, passed) = receive(two.as_fd(), &mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"second");
        let passed = UnixStream::from(passed.unwrap());
        ours.write_all(b"x").unwrap();
        let mut byte = [0];
        std::io::Read::read_exact(&mut &passed, &mut byte).unwrap();
        let error = receive(two.as_fd(), &mut buffer).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(one);
        assert_eq!(receive(two.as_fd(), &mut buffer).unwrap().0, 0);
    }

    #[test]
    fn as_many_descriptors_as_the_kernel_allows_travel_at_once() {
        let (one, two) = message_pair().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        send_many(one.as_fd(), b"all", &[theirs.as_fd(); PASSED_MAX]).unwrap();
        drop(theirs);
        let mut buffer = [0; 64];
        let (count, passed) = receive_many(two.as_fd(), &mut buffer).unwrap();
        assert_eq!((count, passed.len()), (3, PASSED_MAX));
        drop(passed);
        // All copies are gone: nobody holds the other end.
        assert_eq!(std::io::Read::read(&mut &ours, &mut buffer).unwrap(), 0);
        // What is not asked for is closed, not leaked.
        send_many(one.as_fd(), b"two", &[ours.as_fd(), ours.as_fd()]).unwrap();
        assert!(receive(two.as_fd(), &mut buffer).unwrap().1.is_some());
    }

    #[test]
    fn a_message_that_does_not_fit_is_an_error() {
        let (one, two) = message_pair().unwrap();
        send(one.as_fd(), &[7; 100], None).unwrap();
        assert!(receive(two.as_fd(), &mut [0; 10]).is_err());
    }
}
