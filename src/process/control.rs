//! Master and worker: the socket pair between them, and the signals that reach the worker itself.
//!
//! Each message is one byte, except for the last words of a worker that fails, which go on until the end of the stream.
//! The end of the pair tells the worker that the master died: it stops at once, so that there never are two owners of
//! listeners and tables.
//!
//! Not here: what an order means for connections, what the master does about a worker that died.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::daemon;
use crate::config::model::AccessLevel;

use crate::runtime::Modes;
use crate::sys::passing;
use crate::sys::signal::SignalFd;

/// What a worker is told.
#[derive(Debug)]
pub enum Order {
    /// SIGUSR1: stop listening, finish what is running, then end.
    SoftStop,
    /// SIGTERM, SIGINT, or the master is gone: end now.
    HardStop,
    /// A reload: hand everything over to the worker at the other end of this line, when it asks.
    HandOver(OwnedFd),
    /// To a worker that has handed over: the one that took over died; at the other end of this line is the one in its place.
    Successor(OwnedFd),
    /// Attend to a client of the master socket at the other end of this line, with commands up to this level, in these modes.
    Attend(OwnedFd, AccessLevel, Modes),
}

/// What a worker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saying {
    /// It accepts connections.
    Ready,
    /// It stops of its own accord, softly: a signal was sent to it and not to the master.
    Stopping,
    /// A syslog daemon has a new socket at a path that a worker in its `chroot` cannot reach.
    LogLost,
    /// The tables and the listeners are its successor's.
    HandedOver,
}

const SOFT_STOP: u8 = b's';
const HARD_STOP: u8 = b'h';
/// Comes with a descriptor.
const HAND_OVER: u8 = b'o';
/// So does this.
const SUCCESSOR: u8 = b'n';
/// These come with a descriptor too: one for each level.
const ATTEND: [(u8, AccessLevel); 3] = [
    (b'1', AccessLevel::User),
    (b'2', AccessLevel::Operator),
    (b'3', AccessLevel::Admin),
];
/// Added to one of them: `expert-mode on`, `experimental-mode on`.
const EXPERT: u8 = 0x08;
const EXPERIMENTAL: u8 = 0x80;

fn attend(level: AccessLevel, modes: Modes) -> u8 {
    let byte = ATTEND.iter().find(|(_, known)| *known == level);
    let byte = byte.map_or(ATTEND[0].0, |(byte, _)| *byte);
    let expert = if modes.expert { EXPERT } else { 0 };
    let experimental = if modes.experimental { EXPERIMENTAL } else { 0 };
    byte | expert | experimental
}

fn attended(message: u8) -> Option<(AccessLevel, Modes)> {
    let byte = message & !(EXPERT | EXPERIMENTAL);
    let (_, level) = ATTEND.iter().find(|(known, _)| *known == byte)?;
    let modes = Modes {
        expert: message & EXPERT != 0,
        experimental: message & EXPERIMENTAL != 0,
    };
    Some((*level, modes))
}
const READY: u8 = b'r';
const STOPPING: u8 = b's';
const LOG_LOST: u8 = b'l';
const LAST_WORDS: u8 = b'w';
const HANDED_OVER: u8 = b'o';

/// Longest last words that are listened to, in bytes.
const LAST_WORDS_MAX: usize = 2048;

/// Signals that a worker takes from its own queue. Only the first three have a meaning; the others are the master's, and
/// a worker that got one of them by mistake must not die of it.
const WORKER_SIGNALS: [i32; 8] = [
    libc::SIGUSR1,
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGHUP,
    libc::SIGUSR2,
    libc::SIGQUIT,
    libc::SIGTTOU,
    libc::SIGTTIN,
];

/// Master's and worker's end of a new pair, in this order.
pub(super) fn pair() -> io::Result<(UnixStream, UnixStream)> {
    let (master, worker) = UnixStream::pair()?;
    master.set_nonblocking(true)?;
    worker.set_nonblocking(true)?;
    Ok((master, worker))
}

/// The worker's end.
#[derive(Debug)]
pub struct Orders {
    master: UnixStream,
    signals: SignalFd,
    master_gone: bool,
    /// Where standard input, output and error go once the worker is ready; `None`: they stay.
    null: Option<File>,
}

impl Orders {
    /// For a worker that was just forked: takes over its signals, which the master had blocked.
    pub(super) fn new(master: UnixStream, null: Option<File>) -> io::Result<Orders> {
        let signals = SignalFd::new(&WORKER_SIGNALS)?;
        Ok(Orders {
            master,
            signals,
            master_gone: false,
            null,
        })
    }

    /// Registers both sources under one token; an event with it means: call [`Orders::next_order`] until it says `None`.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(
            &mut SourceFd(&self.master.as_raw_fd()),
            token,
            Interest::READABLE,
        )?;
        registry.register(
            &mut SourceFd(&self.signals.as_raw_fd()),
            token,
            Interest::READABLE,
        )
    }

    /// The next order, or `None` when there is none for now. An error of the master's socket counts as its end.
    pub fn next_order(&mut self) -> Option<Order> {
        while let Ok(Some(signal)) = self.signals.next_signal() {
            match signal.number {
                libc::SIGUSR1 => {
                    // The master holds the listeners too, and has to close them for clients to see the end.
                    let _ = self.master.write_all(&[STOPPING]);
                    return Some(Order::SoftStop);
                }
                libc::SIGTERM | libc::SIGINT => return Some(Order::HardStop),
                _ => {}
            }
        }
        while !self.master_gone {
            let mut message = [0];
            match passing::receive(self.master.as_fd(), &mut message) {
                Ok((1, Some(line))) if message[0] == HAND_OVER => {
                    return Some(Order::HandOver(line));
                }
                Ok((1, Some(line))) if message[0] == SUCCESSOR => {
                    return Some(Order::Successor(line));
                }
                Ok((1, Some(client))) => {
                    if let Some((level, modes)) = attended(message[0]) {
                        return Some(Order::Attend(client, level, modes));
                    }
                }
                Ok((1, _)) if message[0] == SOFT_STOP => return Some(Order::SoftStop),
                Ok((1, _)) if message[0] == HARD_STOP => return Some(Order::HardStop),
                Ok((1, _)) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => {
                    self.master_gone = true;
                    return Some(Order::HardStop);
                }
            }
        }
        None
    }

    /// Tells the master that this worker accepts connections: the command that was typed ends now with success, and a
    /// daemon's standard input, output and error lead nowhere from here on.
    ///
    /// # Errors
    /// The master is gone.
    pub fn say_ready(&mut self) -> io::Result<()> {
        if let Some(null) = self.null.take() {
            daemon::redirect(&null)?;
        }
        self.master.write_all(&[READY])
    }

    /// Asks the master, who sees the whole file system, to connect the log sockets again; they are the same sockets here.
    pub fn say_log_lost(&mut self) {
        // A master that does not listen now is asked again.
        let _ = self.master.write_all(&[LOG_LOST]);
    }

    /// Tells the master that the successor owns everything now.
    ///
    /// # Errors
    /// The master is gone.
    pub fn say_handed_over(&mut self) -> io::Result<()> {
        self.master.write_all(&[HANDED_OVER])
    }

    /// A way to say why this worker ends, which works until it has ended.
    pub(super) fn last_words(&self) -> io::Result<LastWords> {
        Ok(LastWords {
            master: self.master.try_clone()?,
        })
    }
}

/// Says why a worker ends.
#[derive(Debug)]
pub struct LastWords {
    master: UnixStream,
}

impl LastWords {
    /// To be called once. What the master does not hear is lost.
    pub fn say(&self, text: &str) {
        let mut end = text.len().min(LAST_WORDS_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let message = [&[LAST_WORDS], &text.as_bytes()[..end]].concat();
        let _ = (&self.master).write_all(&message);
    }
}

/// The master's end.
#[derive(Debug)]
pub(super) struct WorkerLink {
    worker: UnixStream,
    last_words: Option<Vec<u8>>,
    ended: bool,
}

impl WorkerLink {
    pub(super) fn new(worker: UnixStream) -> WorkerLink {
        WorkerLink {
            worker,
            last_words: None,
            ended: false,
        }
    }

    /// Gives an order. A worker that cannot be told is about to end, or will be killed.
    pub(super) fn give(&mut self, order: Order) {
        let _ = match order {
            Order::SoftStop => self.worker.write_all(&[SOFT_STOP]),
            Order::HardStop => self.worker.write_all(&[HARD_STOP]),
            Order::HandOver(line) => {
                passing::send(self.worker.as_fd(), &[HAND_OVER], Some(line.as_fd())).map(|_| ())
            }
            Order::Successor(line) => {
                passing::send(self.worker.as_fd(), &[SUCCESSOR], Some(line.as_fd())).map(|_| ())
            }
            Order::Attend(client, level, modes) => {
                let byte = attend(level, modes);
                passing::send(self.worker.as_fd(), &[byte], Some(client.as_fd())).map(|_| ())
            }
        };
    }

    /// The next thing the worker has said, or `None`.
    pub(super) fn next_saying(&mut self) -> Option<Saying> {
        let mut bytes = [0; 256];
        loop {
            // One byte at a time until the last words begin, so that nothing is read past what is returned.
            let room = if self.last_words.is_some() {
                bytes.len()
            } else {
                1
            };
            let read = match self.worker.read(&mut bytes[..room]) {
                Ok(0) => {
                    self.ended = true;
                    return None;
                }
                Ok(read) => &bytes[..read],
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.ended |= error.kind() != ErrorKind::WouldBlock;
                    return None;
                }
            };
            match &mut self.last_words {
                Some(words) => {
                    let room = LAST_WORDS_MAX - words.len();
                    words.extend_from_slice(&read[..read.len().min(room)]);
                }
                None => match read {
                    [READY] => return Some(Saying::Ready),
                    [STOPPING] => return Some(Saying::Stopping),
                    [LOG_LOST] => return Some(Saying::LogLost),
                    [HANDED_OVER] => return Some(Saying::HandedOver),
                    [LAST_WORDS] => self.last_words = Some(Vec::new()),
                    _ => {}
                },
            }
        }
    }

    /// Whether the worker's end is closed: nothing more will be heard.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Why the worker ended, if it said so; for a worker that has ended.
    pub(super) fn last_words(mut self) -> Option<String> {
        while self.next_saying().is_some() {}
        self.last_words
            .map(|words| String::from_utf8_lossy(&words).into_owned())
    }
}

impl AsFd for WorkerLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.worker.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_heard_to_its_last_words() {
        let (master, mut worker) = pair().unwrap();
        let mut link = WorkerLink::new(master);
        assert_eq!(link.next_saying(), None);
        worker.write_all(&[READY, STOPPING]).unwrap();
        LastWords {
            master: worker.try_clone().unwrap(),
        }
        .say("the sky fell");
        drop(worker);
        assert_eq!(link.next_saying(), Some(Saying::Ready));
        assert_eq!(link.next_saying(), Some(Saying::Stopping));
        assert_eq!(link.last_words().as_deref(), Some("the sky fell"));
    }

    #[test]
    fn an_order_to_attend_brings_the_client_and_the_level() {
        let (master, worker) = pair().unwrap();
        let (mut link, mut orders) = (WorkerLink::new(master), Orders::new(worker, None).unwrap());
        let modes = [(false, false), (true, false), (false, true), (true, true)];
        for (level, (expert, experimental)) in ATTEND
            .iter()
            .flat_map(|(_, level)| modes.map(|modes| (*level, modes)))
        {
            let modes = Modes {
                expert,
                experimental,
            };
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            link.give(Order::Attend(theirs.into(), level, modes));
            let Some(Order::Attend(client, given, asked)) = orders.next_order() else {
                panic!("no order");
            };
            assert_eq!((given, asked), (level, modes));
            UnixStream::from(client).write_all(b"x").unwrap();
            ours.read_exact(&mut [0]).unwrap();
        }
        assert!(orders.next_order().is_none());
    }

    #[test]
    fn last_words_are_cut_at_a_character() {
        let (master, worker) = pair().unwrap();
        LastWords { master: worker }.say(&"ä".repeat(LAST_WORDS_MAX));
        let words = WorkerLink::new(master).last_words().unwrap();
        assert_eq!(words, "ä".repeat(LAST_WORDS_MAX / 2));
    }
}
