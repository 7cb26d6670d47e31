//! Listening sockets from process to process, as HAProxy's `-x` asks for them on a stats socket with `expose-fd listeners`.
//!
//! The exchange is not documented. What follows was measured between two HAProxy 2.6.12 (`strace -e trace=network`), with IPv4,
//! IPv6, unix and abstract listeners, an `interface`, and 523 listeners:
//!
//! ```text
//! new process                          old process (a unix stream socket)
//!   "_getsocks\n" ────────────────────▶
//!                ◀──────────────────── 4 bytes: how many sockets there are, an int of the machine (little-endian)
//!                ◀──────────────────── one message with at most 252 descriptors (SCM_RIGHTS) and, for each of them in the same
//!                                      order, the bytes below
//!   4 bytes ──────────────────────────▶ how many sockets it had before this message: 0, 252, 504, …
//!                ◀──────────────────── the next message, if there are more; then shutdown and close
//!
//! name length (1 byte), name of the network namespace; name length (1 byte), name of the interface; 4 bytes, always 0
//! ```
//!
//! Order: internet sockets, then unix sockets; sockets of frontends, of the peers section and of the stats sockets alike. The old process
//! answers at every access level, and waits a second for each receipt; without `expose-fd listeners` it closes the connection
//! without a word. The new one asks after it has read its configuration, waits a second for each answer, finds out with
//! getsockname(2) where each socket listens, and closes those that it has no use for. The path that a unix socket reports is that under which it was bound:
//! HAProxy and burdock bind `PATH.PID.tmp` and rename it to `PATH`.
//!
//! Not here: who asks (process::start), who answers (runtime::session).

use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use socket2::SockRef;

use super::Address;
use crate::sys::{passing, socket};

/// The command, as one line.
pub const COMMAND: &str = "_getsocks";

/// Most descriptors in a message.
pub const BATCH: usize = 252;

/// Bytes of a receipt.
pub const RECEIPT_BYTES: usize = 4;

/// How long the old process may take for each of its messages.
const WAIT: Duration = Duration::from_secs(1);

/// What is more than this is no number of sockets, but something else that the other side says.
const SOCKETS_MAX: u32 = 1_000_000;

/// Most bytes of the description of one socket: two names and what is around them.
const DESCRIPTION_BYTES_MAX: usize = 2 * 256 + 4;

/// A listening socket on its way to another process.
#[derive(Debug)]
pub struct Offered {
    /// The socket.
    pub socket: OwnedFd,
    /// The `interface` that it is bound to.
    pub interface: Option<String>,
}

/// Why no sockets came; its text is what HAProxy says.
#[derive(Debug, PartialEq, Eq)]
pub enum TakeoverError {
    /// Nobody listens at this path.
    Connect(String),
    /// The request cannot be sent.
    Request,
    /// The old process does not say how many sockets it has: it does not expose them.
    Count,
    /// What it says is not a number of sockets.
    NotACount,
    /// It promised so many sockets, and sent so many.
    Missing(u32, usize),
}

impl fmt::Display for TakeoverError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TakeoverError::Connect(path) => {
                write!(out, "Failed to connect to the old process socket '{path}'")
            }
            TakeoverError::Request => {
                write!(out, "Failed to send the request to the old process !")
            }
            TakeoverError::Count => {
                write!(
                    out,
                    "Failed to get the number of sockets to be transferred !"
                )
            }
            TakeoverError::NotACount => {
                write!(out, "Failed to allocate memory while receiving sockets")
            }
            TakeoverError::Missing(promised, came) => write!(
                out,
                "We didn't get the expected number of sockets (expecting {promised} got {came})"
            ),
        }
    }
}

/// Fetches all listening sockets of the process whose stats socket is at `path`. Waits, a second for each message at most.
///
/// # Errors
/// See [`TakeoverError`].
pub fn fetch(path: &str) -> Result<Vec<Offered>, TakeoverError> {
    let cannot_connect = |_| TakeoverError::Connect(path.to_string());
    let mut stream = UnixStream::connect(path).map_err(cannot_connect)?;
    stream
        .set_read_timeout(Some(WAIT))
        .and_then(|()| stream.set_write_timeout(Some(WAIT)))
        .and_then(|()| stream.write_all(format!("{COMMAND}\n").as_bytes()))
        .map_err(|_| TakeoverError::Request)?;
    let mut count = [0; 4];
    stream
        .read_exact(&mut count)
        .map_err(|_| TakeoverError::Count)?;
    let promised = u32::from_ne_bytes(count);
    if promised > SOCKETS_MAX {
        return Err(TakeoverError::NotACount);
    }
    let mut offered = Vec::new();
    while offered.len() < promised as usize {
        let before = offered.len();
        receive_batch(&stream, promised as usize, &mut offered)
            .map_err(|_| TakeoverError::Missing(promised, before))?;
        // The last receipt may find nobody: the old process has closed after its last message.
        let _ = stream.write_all(&(before as u32).to_ne_bytes());
    }
    Ok(offered)
}

/// Receives one message: descriptors, and the description of each.
fn receive_batch(
    stream: &UnixStream,
    promised: usize,
    offered: &mut Vec<Offered>,
) -> io::Result<()> {
    let mut buffer = vec![0; BATCH * DESCRIPTION_BYTES_MAX];
    let (mut filled, sockets) = passing::receive_many(stream.as_fd(), &mut buffer)?;
    if filled == 0 || sockets.is_empty() || offered.len() + sockets.len() > promised {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut sockets = sockets.into_iter();
    let mut start = 0;
    while sockets.len() > 0 {
        match description(&buffer[start..filled]) {
            Some((interface, len)) => {
                start += len;
                offered.extend(sockets.next().map(|socket| Offered { socket, interface }));
            }
            // The kernel may part a long message.
            None => match (&mut &*stream).read(&mut buffer[filled..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            },
        }
    }
    Ok(())
}

/// The interface that a description names, and the length of the description; `None`: it is not complete.
fn description(bytes: &[u8]) -> Option<(Option<String>, usize)> {
    let name = |bytes: &[u8]| -> Option<(String, usize)> {
        let (&len, rest) = bytes.split_first()?;
        let name = rest.get(..usize::from(len))?;
        Some((
            String::from_utf8_lossy(name).into_owned(),
            1 + usize::from(len),
        ))
    };
    let (_, namespace_bytes) = name(bytes)?;
    let (interface, interface_bytes) = name(&bytes[namespace_bytes..])?;
    let len = namespace_bytes + interface_bytes + 4;
    bytes.get(..len)?;
    Some((Some(interface).filter(|name| !name.is_empty()), len))
}

/// The sending side: what goes with the request's connection, message by message.
#[derive(Debug)]
pub struct Transfer {
    offered: Vec<Offered>,
    /// The count has gone.
    announced: bool,
    /// So many sockets have gone.
    sent: usize,
}

impl Transfer {
    /// Of these sockets; they are kept open until the transfer is dropped.
    pub fn new(offered: Vec<Offered>) -> Transfer {
        Transfer {
            offered,
            announced: false,
            sent: 0,
        }
    }

    /// Sends the next message; true: a receipt is due before the next one, false: that was the last.
    ///
    /// # Errors
    /// `WouldBlock`: there is no room now. Others: the other end is gone.
    pub fn send(&mut self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        if !self.announced {
            let count = (self.offered.len() as u32).to_ne_bytes();
            whole(passing::send(socket, &count, None)?, count.len())?;
            self.announced = true;
        }
        let batch = &self.offered[self.sent..];
        let batch = &batch[..batch.len().min(BATCH)];
        if !batch.is_empty() {
            let bytes = describe(batch);
            let fds: Vec<BorrowedFd<'_>> = batch.iter().map(|one| one.socket.as_fd()).collect();
            whole(passing::send_many(socket, &bytes, &fds)?, bytes.len())?;
            self.sent += fds.len();
        }
        Ok(self.sent < self.offered.len())
    }
}

/// A message that went only in part cannot be continued: the descriptors belong to its first byte.
fn whole(sent: usize, len: usize) -> io::Result<()> {
    match sent == len {
        true => Ok(()),
        false => Err(io::ErrorKind::WriteZero.into()),
    }
}

fn describe(batch: &[Offered]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for one in batch {
        // No namespace: burdock has no `namespace` keyword.
        bytes.push(0);
        let interface = one.interface.as_deref().unwrap_or_default().as_bytes();
        // The kernel's names have at most 15 bytes.
        let interface = &interface[..interface.len().min(255)];
        bytes.push(interface.len() as u8);
        bytes.extend_from_slice(interface);
        bytes.extend_from_slice(&[0; 4]);
    }
    bytes
}

impl Offered {
    /// Whether this is a socket that listens on `address` as asked. What can be changed on a socket that listens (its backlog,
    /// `defer-accept`) makes no difference.
    pub fn fits(&self, address: &Address, v6_only: bool, interface: Option<&str>) -> bool {
        let is_stream = socket::inspect(self.socket.as_raw_fd())
            .is_ok_and(|socket| socket.kind == libc::SOCK_STREAM && socket.listening);
        let socket = SockRef::from(&self.socket);
        let Ok(local) = socket.local_addr() else {
            return false;
        };
        let same_address = match address {
            Address::Inet(asked) => {
                local.as_socket() == Some(*asked)
                    && (asked.is_ipv4() || socket.only_v6().is_ok_and(|only| only == v6_only))
            }
            Address::Unix(asked) => local
                .as_pathname()
                .is_some_and(|path| is_bound_for(path, asked)),
            Address::Abstract(asked) => local
                .as_abstract_namespace()
                .is_some_and(|name| without_padding(name) == without_padding(asked)),
            Address::Fd(_) => false,
        };
        is_stream && same_address && self.interface.as_deref() == interface
    }
}

/// Whether a unix socket that was bound at `bound` is the one for `path`: that name, or `PATH.PID.tmp`.
fn is_bound_for(bound: &Path, path: &Path) -> bool {
    let (bound, path) = (bound.as_os_str().as_bytes(), path.as_os_str().as_bytes());
    let is_pid = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    match bound.strip_prefix(path) {
        Some([]) => true,
        Some(rest) => rest
            .strip_prefix(b".")
            .and_then(|rest| rest.strip_suffix(b".tmp"))
            .is_some_and(is_pid),
        None => false,
    }
}

/// Abstract names are padded to their full size by some and not by others.
fn without_padding(name: &[u8]) -> &[u8] {
    let end = name.iter().rposition(|&byte| byte != 0);
    &name[..end.map_or(0, |last| last + 1)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    fn offered(count: usize) -> Vec<Offered> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let offer = |index| Offered {
            socket: listener.try_clone().unwrap().into(),
            interface: (index % 3 == 0).then(|| format!("eth{index}")),
        };
        (0..count).map(offer).collect()
    }

    /// A temporary path; the socket there answers with `answer`.
    fn served(name: &str, answer: impl FnOnce(UnixStream) + Send + 'static) -> String {
        let path = std::env::temp_dir().join(format!("burdock-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || answer(listener.accept().unwrap().0));
        path.display().to_string()
    }

    fn fetched(
        name: &str,
        answer: impl FnOnce(UnixStream) + Send + 'static,
    ) -> Result<Vec<Offered>, TakeoverError> {
        let path = served(name, answer);
        let result = fetch(&path);
        let _ = std::fs::remove_file(&path);
        result
    }

    #[test]
    fn any_number_of_sockets_crosses_in_batches() {
        for count in [0, 1, BATCH, BATCH + 1, 2 * BATCH + 19] {
            let answer = move |mut stream: UnixStream| {
                let mut command = [0; 10];
                stream.read_exact(&mut command).unwrap();
                assert_eq!(&command, b"_getsocks\n");
                let mut transfer = Transfer::new(offered(count));
                let mut had = 0u32;
                while transfer.send(stream.as_fd()).unwrap() {
                    let mut receipt = [0; RECEIPT_BYTES];
                    stream.read_exact(&mut receipt).unwrap();
                    assert_eq!(u32::from_ne_bytes(receipt), had);
                    had += BATCH as u32;
                }
            };
            let sockets = fetched(&format!("batches-{count}"), answer).unwrap();
            assert_eq!(sockets.len(), count);
            for (index, socket) in sockets.iter().enumerate() {
                let name = (index % 3 == 0).then(|| format!("eth{index}"));
                assert_eq!(socket.interface, name);
            }
        }
    }

    #[test]
    fn other_answers_are_errors() {
        let say = |bytes: &'static [u8]| {
            move |mut stream: UnixStream| {
                let mut command = [0; 10];
                stream.read_exact(&mut command).unwrap();
                stream.write_all(bytes).unwrap();
            }
        };
        let failed = |name, bytes| fetched(name, say(bytes)).unwrap_err();
        assert_eq!(failed("nothing", b""), TakeoverError::Count);
        assert_eq!(failed("text", b"Unknown command"), TakeoverError::NotACount);
        assert_eq!(
            failed("promise", &[2, 0, 0, 0]),
            TakeoverError::Missing(2, 0)
        );
        let without = failed("without", &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(without, TakeoverError::Missing(1, 0));
        let nobody = fetch("/nonexistent/socket").unwrap_err();
        assert_eq!(
            nobody.to_string(),
            "Failed to connect to the old process socket '/nonexistent/socket'"
        );
    }

    #[test]
    fn a_socket_fits_its_address() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let offer = Offered {
            socket: listener.into(),
            interface: None,
        };
        assert!(offer.fits(&Address::Inet(address), false, None));
        assert!(!offer.fits(&Address::Inet(address), false, Some("lo")));
        let other = std::net::SocketAddr::new(address.ip(), address.port() ^ 1);
        assert!(!offer.fits(&Address::Inet(other), false, None));
        for (bound, fits) in [
            ("/run/a", true),
            ("/run/a.4711.tmp", true),
            ("/run/a.tmp", false),
            ("/run/a.x.tmp", false),
            ("/run/ab", false),
            ("/run/", false),
        ] {
            assert_eq!(
                is_bound_for(Path::new(bound), Path::new("/run/a")),
                fits,
                "{bound}"
            );
        }
    }
}
