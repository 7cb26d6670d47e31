//! A reload, seen from the two workers: the old one hands over, the new one takes over. `process::line` draws the messages.
//!
//! Between the old worker's last accept and the new one's first lie a few messages and `Table::attach`, which costs the same
//! for any number of entries. What is costly (configuration, sockets, streams) was done before; what is long (moving
//! connections, finishing responses) comes after.
//! What an old worker learns late it keeps until the new one has heard it; when that one dies, it waits for the one in its place.
//! Invariants: the old worker writes to no table after `Handed`; a new worker that was not handed everything ends instead of
//! taking it, for the old one may still be there.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Instant, SystemTime};

use mio::Interest;
use mio::unix::SourceFd;

use super::ahead::Ahead;
use super::{Worker, check_context, peer_context};
use crate::backend::{ServerMemory, sticky};
use crate::log::Severity;
use crate::peers::Peers;
use crate::peers::group::StartState;
use crate::process::ExitReason;
use crate::process::enter::attach_tables;
use crate::process::line::{Line, Message};
use crate::process::startup::Memories;
use crate::reactor::{Kind, Token};
use crate::stick::tracked::LateCount;
use crate::stick::{Table, TableSpec};
use crate::stream::Departure;
use crate::sys::{socket, time};

/// How long a new worker waits for the old one.
const WAIT_MS_MAX: u64 = 5_000;

/// Messages taken from one line in one turn.
const MESSAGES_PER_TURN_MAX: usize = 256;

/// What a new worker needs to ask for its tables.
pub(super) struct Asked {
    pub line: Line,
    pub memories: Memories,
    pub specs: Vec<TableSpec>,
}

/// The lines of a worker.
#[derive(Default)]
pub(super) struct Lines {
    /// Before it has tables.
    pub asked: Option<Asked>,
    /// Lines to workers that drain, before they are registered.
    pub draining: Vec<OwnedFd>,
    /// Workers that drain towards this one.
    predecessors: Vec<Option<Predecessor>>,
    /// The worker that takes over from this one.
    successor: Option<Line>,
    /// No other worker comes after the one that took over.
    is_successor_last: bool,
    /// It has.
    pub handed_over: bool,
    /// When this worker asked for everything, and how many entries it got; until it accepts.
    took_over: Option<(Instant, u64)>,
    /// A line had more messages than one turn takes.
    pub has_more: bool,
    buffer: Vec<u8>,
}

/// A worker that drains towards this one.
struct Predecessor {
    line: Line,
    /// How much of what it has learnt late is in the tables, without its knowing.
    heard: u64,
}

impl Lines {
    /// Whether other workers still send connections.
    pub(super) fn has_predecessors(&self) -> bool {
        self.predecessors.iter().any(Option::is_some)
    }
}

impl Worker {
    /// The new worker, built and registered: asks for everything and waits. Afterwards the tables are its own.
    ///
    /// # Errors
    /// The old worker does not hand over; it may still be serving.
    pub(super) fn take_over(&mut self) -> io::Result<()> {
        let Some(Asked {
            line,
            mut memories,
            specs,
        }) = self.lines.asked.take()
        else {
            return Ok(());
        };
        let (logger, set) = (&mut self.streams.core.logger, self.log_global);
        logger.set_time(SystemTime::now());
        let ahead = Ahead::copy(&line, &mut memories, &specs, |severity, text| {
            logger.notice(severity, set, format_args!("{text}"));
        })?;
        let asked = Instant::now();
        line.send(&Message::Take, None)?;
        let deadline_ms = time::monotonic_ms() + WAIT_MS_MAX;
        let mut buffer = Vec::new();
        loop {
            match line.receive(&mut buffer)? {
                Some((Message::Handed, _)) => break,
                Some((Message::Server(memory), _)) => self.recall(&memory),
                Some((Message::Line, Some(older))) => self.add_predecessor(Line::new(older))?,
                Some(_) => return Err(ErrorKind::InvalidData.into()),
                None => {
                    let now_ms = time::monotonic_ms();
                    if now_ms >= deadline_ms {
                        return Err(ErrorKind::TimedOut.into());
                    }
                    socket::wait_readable(&[line.as_fd()], Some(deadline_ms - now_ms))?;
                }
            }
        }
        let core = &mut self.streams.core;
        core.now_ms = time::monotonic_ms();
        core.wall = SystemTime::now();
        let (logger, set) = (&mut core.logger, self.log_global);
        let mut tell = |severity: Severity, text: &str| {
            logger.notice(severity, set, format_args!("{text}"));
        };
        ahead.finish(core.now_ms, &mut tell);
        core.tables =
            attach_tables(memories, &specs, core.now_ms, tell).map_err(io::Error::other)?;
        let entries: u64 = core
            .tables
            .iter()
            .map(|table| u64::from(table.used()))
            .sum();
        self.lines.took_over = Some((asked, entries));
        self.add_predecessor(line)
    }

    /// This worker accepts from now on: tells how long nobody has. Between the two moments lie the old one's last accept and our first.
    pub(super) fn tell_pause(&mut self) {
        if let Some((asked, entries)) = self.lines.took_over.take() {
            let pause_us = asked.elapsed().as_micros();
            let text = format!("Took over {entries} table entries in {pause_us} us");
            self.notice(Severity::Notice, &text);
        }
    }

    fn recall(&mut self, memory: &ServerMemory) {
        let mut proxies = self.streams.core.proxies.iter_mut();
        let Some(proxy) = proxies.find(|proxy| proxy.spec.name == memory.backend) else {
            return;
        };
        let mut servers = proxy.servers.iter();
        if let Some(index) = servers.position(|server| server.spec.name == memory.server) {
            proxy.recall(index, memory);
        }
    }

    /// In the place of a worker that died: listens to those that drained towards it.
    pub(super) fn hear_draining(&mut self) -> io::Result<()> {
        for line in std::mem::take(&mut self.lines.draining) {
            self.add_predecessor(Line::new(line))?;
        }
        Ok(())
    }

    fn add_predecessor(&mut self, line: Line) -> io::Result<()> {
        let token = Token::new(Kind::Line, self.lines.predecessors.len() as u32 + 1, 0).pack();
        let fd = line.as_raw_fd();
        self.poll
            .registry()
            .register(&mut SourceFd(&fd), token, Interest::READABLE)?;
        self.lines
            .predecessors
            .push(Some(Predecessor { line, heard: 0 }));
        // Messages may have come before it was registered.
        self.lines.has_more = true;
        Ok(())
    }

    /// The master wants this worker to hand over at the other end of this line, when it is asked there.
    pub(super) fn expect_successor(&mut self, line: OwnedFd) {
        if self.lines.handed_over {
            return;
        }
        // Without a line the successor sees the end of it and gives up: nothing has changed.
        self.lines.successor = self.register_successor(line);
        self.hear_successor();
    }

    /// The worker that took over died; another one is in its place, at the other end of this line.
    pub(super) fn meet_successor(&mut self, line: OwnedFd) {
        if !self.lines.handed_over {
            return;
        }
        // The last that the dead one heard; then its end, if that was not seen yet.
        self.hear_successor();
        if self.lines.successor.is_some() {
            self.lose_successor();
        }
        self.lines.successor = self.register_successor(line);
    }

    /// The service ends: what is running ends without a successor when the one that is there has gone.
    pub(super) fn expect_no_successor(&mut self) {
        self.lines.is_successor_last = true;
        if self.lines.handed_over && self.lines.successor.is_none() {
            self.lose_successor();
        }
    }

    fn register_successor(&self, line: OwnedFd) -> Option<Line> {
        let line = Line::new(line);
        let token = Token::new(Kind::Line, 0, 0).pack();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let fd = line.as_raw_fd();
        let registry = self.poll.registry();
        let registered = registry.register(&mut SourceFd(&fd), token, interest);
        registered.is_ok().then_some(line)
    }

    /// The worker that takes over, or has, is gone.
    fn lose_successor(&mut self) {
        self.lines.successor = None;
        let tables = &mut self.streams.core.tables;
        tables.iter_mut().for_each(Table::end_watch);
        if !self.lines.handed_over {
            return;
        }
        if self.lines.is_successor_last {
            return self.streams.successor_lost();
        }
        let text = "The new worker is gone: waiting for the one that takes its place";
        self.notice(Severity::Warning, text);
        if let Some(departures) = self.streams.departures() {
            departures.resend();
        }
    }

    /// Takes what other generations have sent, a bounded number of messages each.
    pub(super) fn hear_lines(&mut self) {
        self.lines.has_more = false;
        for index in 0..self.lines.predecessors.len() {
            self.hear_predecessor(index);
        }
        self.hear_successor();
    }

    fn hear_predecessor(&mut self, index: usize) {
        let Some(mut predecessor) = self.lines.predecessors[index].take() else {
            return;
        };
        let line = &predecessor.line;
        let mut buffer = std::mem::take(&mut self.lines.buffer);
        let mut is_open = true;
        let mut count = 0;
        while is_open && count < MESSAGES_PER_TURN_MAX {
            match line.receive(&mut buffer) {
                Ok(Some((Message::Client(client), Some(socket)))) => {
                    self.streams.adopt(*client, socket);
                }
                Ok(Some((Message::Store(late), _))) => {
                    predecessor.heard += 1;
                    self.learn_late(late);
                }
                Ok(Some((Message::Count(late), _))) => {
                    predecessor.heard += 1;
                    self.count_late(late);
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => is_open = false,
            }
            count += 1;
        }
        self.lines.has_more |= count == MESSAGES_PER_TURN_MAX;
        self.lines.buffer = buffer;
        if is_open {
            if !predecessor.say_heard(Line::send) {
                self.lines.has_more = true;
            }
            self.lines.predecessors[index] = Some(predecessor);
        }
        // Otherwise the other end is gone, so nobody else holds this socket: closing it unregisters it.
    }

    fn count_late(&mut self, late: LateCount) {
        let core = &mut self.streams.core;
        if !self.lines.handed_over {
            late.apply(&mut core.tables, core.now_ms);
        } else if let Some(departures) = self.streams.departures() {
            departures.push(Departure::Count(late));
        }
    }

    fn learn_late(&mut self, late: sticky::LateStore) {
        let core = &mut self.streams.core;
        if !self.lines.handed_over {
            sticky::apply_late(&late, &mut core.tables, core.now_ms);
        } else if let Some(departures) = self.streams.departures() {
            departures.push(Departure::Store(late));
        }
    }

    fn hear_successor(&mut self) {
        loop {
            let Some(line) = &self.lines.successor else {
                return;
            };
            match line.receive(&mut self.lines.buffer) {
                Ok(Some((Message::Take, _))) if !self.lines.handed_over => {
                    // It may have asked, and died since: then nothing changes hands.
                    if !matches!(line.receive(&mut self.lines.buffer), Ok(None)) {
                        self.lines.successor = None;
                        return;
                    }
                    if let Err(error) = self.hand_over() {
                        // The master is gone, and soon we are.
                        let text = format!("the handover failed half-way: {error}");
                        self.exit = Some(ExitReason::Failed(text));
                        return;
                    }
                }
                Ok(Some((Message::Watch(table), Some(memory)))) => {
                    let answered = self.watch_table(&table, memory);
                    if !answered {
                        self.lines.successor = None;
                        return;
                    }
                }
                Ok(Some((Message::Heard(count), _))) => {
                    self.streams.late_heard(count);
                }
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(_) => return self.lose_successor(),
            }
        }
    }

    /// The new worker copies a table: changes are marked for it from now on. `false`: they cannot be, so it must not go on.
    fn watch_table(&mut self, name: &str, memory: OwnedFd) -> bool {
        let mut tables = self.streams.core.tables.iter_mut();
        let Some(table) = tables.find(|table| table.spec().name == name) else {
            return false;
        };
        let line = self.lines.successor.as_ref();
        table.set_watch(memory).is_ok()
            && line.is_some_and(|line| line.send(&Message::Watching, None).is_ok())
    }

    /// Stops accepting, stops writing to the tables, and says so.
    fn hand_over(&mut self) -> io::Result<()> {
        let Some(line) = self.lines.successor.take() else {
            return Ok(());
        };
        self.close_listeners();
        self.with_runtime(|runtime, context| runtime.stop(context));
        let core = &mut self.streams.core;
        self.checks
            .stop(&mut check_context(core, &mut self.changes));
        self.peers.close(&mut peer_context(core));
        self.peers = Peers::new(&[], Vec::new(), StartState::Complete, 1, 0, 0);
        let core = &self.streams.core;
        assert!(
            core.tables.iter().all(|table| table.is_at_rest()),
            "no change is under way between two events"
        );
        self.lines.handed_over = true;
        let told = self.tell_successor(&line);
        self.orders.say_handed_over()?;
        let told = told.and_then(|()| line.send_waiting(&Message::Handed, None));
        // From here on nothing hurries. In the place of a new worker that is gone already comes another one, which takes the tables as they are.
        self.lines.successor = Some(line);
        self.begin_draining();
        self.streams.hand_over();
        if told.is_err() {
            self.lose_successor();
        }
        Ok(())
    }

    /// What is known of servers, and the lines of older workers.
    fn tell_successor(&mut self, line: &Line) -> io::Result<()> {
        for proxy in &self.streams.core.proxies {
            for server in 0..proxy.servers.len() {
                line.send_waiting(&Message::Server(proxy.remember(server)), None)?;
            }
        }
        for mut older in self.lines.predecessors.drain(..).flatten() {
            let fd = older.line.as_raw_fd();
            let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
            older.say_heard(Line::send_waiting);
            line.send_waiting(&Message::Line, Some(older.line.as_fd()))?;
        }
        Ok(())
    }

    /// Sends what leaves, as far as there is room.
    pub(super) fn send_departures(&mut self) {
        let (Some(line), Some(departures)) = (&self.lines.successor, self.streams.departures())
        else {
            return;
        };
        let mut is_lost = false;
        while let Some(departure) = departures.next_to_send() {
            let (message, socket) = match departure {
                Departure::Client(client, socket) => (Message::Client(client), Some(socket)),
                Departure::Store(late) => (Message::Store(late), None),
                Departure::Count(late) => (Message::Count(late), None),
            };
            let sent = line.send(&message, socket.as_ref().map(AsFd::as_fd));
            let departure = match (message, socket) {
                (Message::Client(client), Some(socket)) => Departure::Client(client, socket),
                (Message::Store(late), _) => Departure::Store(late),
                (Message::Count(late), _) => Departure::Count(late),
                _ => break,
            };
            match sent {
                Ok(()) => departures.sent(departure),
                // Too long a message: this connection cannot move.
                Err(error) if error.kind() == ErrorKind::InvalidInput => {}
                Err(error) => {
                    departures.put_back(departure);
                    is_lost = error.kind() != ErrorKind::WouldBlock;
                    break;
                }
            }
        }
        if is_lost {
            self.lose_successor();
        }
    }

    /// Whether a worker that has handed over has nothing left to do.
    pub(super) fn is_drained(&mut self) -> bool {
        self.streams.is_empty()
            && !self.lines.has_predecessors()
            && self.streams.departures().is_none_or(|left| left.is_empty())
    }
}

impl Predecessor {
    /// Says what was heard; `false`: there is no room for that now. A worker that is gone needs to know nothing.
    fn say_heard(
        &mut self,
        send: impl FnOnce(&Line, &Message, Option<BorrowedFd<'_>>) -> io::Result<()>,
    ) -> bool {
        if self.heard == 0 {
            return true;
        }
        match send(&self.line, &Message::Heard(self.heard), None) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            _ => {
                self.heard = 0;
                true
            }
        }
    }
}
