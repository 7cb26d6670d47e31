//! The sockets of the peers sections on the worker's loop.
//!
//! Everything that decides is in `group`; here bytes are moved, once a turn, in slices: a connection's slice is the messages that
//! the group takes at once from one read, and one buffer of output, sent with one call. All slices of a turn share
//! `TURN_BYTES`; whose turn has not come waits for the next one, first in the line. So no peer delays a request by more than
//! that, however many of them learn, however much one sends or however little it reads. While requests are served the turns of peers
//! are a fraction of that: a request waits for some turns on its way, and each would be longer by a whole slice.
//!
//! Invariants: a connection holds at most one input and one output buffer, and holds none while nothing is in flight;
//! a session of a group has exactly one connection, and one that is lingering has no session.
//! Not here: logging (the worker fetches `poll_event`), binding (listeners are given).

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry};
use slab::Slab;
use socket2::Socket;

use super::event::LogLimit;
use super::group::{Action, Ending, Group, Lesson, Random, SessionId, Settings, StartState};
use super::session::CloseReason;
use super::wire::MESSAGE_BYTES_MAX;
use super::{PeerEvent, PeersSpec, lag, show};
use crate::net::{Address, Connection, ReadResult};
use crate::reactor::token::Kind;
use crate::reactor::{Buffer, BufferPool, TimerSlot, Timers, Token};
use crate::stick::Table;

/// Room to read on while a message is incomplete, and for what a call of the system moves well at once.
pub const BUFFER_BYTES: usize = 4 * MESSAGE_BYTES_MAX;
/// Unused buffers that are kept.
const BUFFERS_IDLE_MAX: usize = 4;
/// Connections accepted from a listener in one turn, and while requests are served: each has some 20 µs of work, its end included.
const ACCEPTS_PER_TURN: usize = 16;
const MAKING_WAY_ACCEPTS: usize = 4;
/// Bytes after which no other connection gets a slice in the same turn: some 30 µs of work. A slice has some 50 µs.
const TURN_BYTES: usize = 2 * MESSAGE_BYTES_MAX;
/// Calls that fill the output of one slice: with the bound of messages that there is without `tune.peers.max-updates-at-once`, 1200 entries.
const FILLS_PER_SLICE: usize = 6;
/// How long after a request was served the slices are small ones.
const MAKE_WAY_MS: u64 = 20;
/// Messages that a small slice takes in, and says, at most: some 30 µs of work.
const MAKING_WAY_UPDATES_MAX: u32 = 128;
/// Bytes after which no other connection gets a small slice in the same turn.
const MAKING_WAY_TURN_BYTES: usize = 2048;
/// A read of so many bytes is work enough for a small slice: they are taken in in the next turn.
const MAKING_WAY_READ_BYTES: usize = 4096;
/// How long a finished connection is read from, so that the peer gets our last word before a reset.
const LINGER_MS: u64 = 1_000;
/// Connections of a section that are read from like that; of more, the oldest ends at once.
pub const LINGERING_MAX: usize = 32;
/// After a failure to accept for want of resources.
const ACCEPT_RETRY_MS: u64 = 100;

/// What the worker lends to every call.
pub struct Context<'a> {
    /// CLOCK_MONOTONIC, milliseconds.
    pub now_ms: u64,
    /// Where sockets are registered.
    pub registry: &'a Registry,
    /// The worker's timers.
    pub timers: &'a mut Timers,
    /// All tables, in the order of `Config::tables`.
    pub tables: &'a mut [Table],
}

/// Which part of `show peers` is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ShowPeers<'a> {
    /// Both dictionary caches of every table (`show peers dict`).
    pub dictionaries: bool,
    /// Only this section.
    pub section: Option<&'a str>,
}

/// A view that HAProxy does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeersView {
    /// How far each peer is behind (`show peers lag`).
    Lag,
    /// The last message of each peer that violated the protocol (`show peers errors`).
    Errors,
}

struct Section {
    group: Group,
    listeners: Vec<Socket>,
    /// A listener may have more connections than one turn accepts.
    accepting: bool,
    accept_retry_ms: Option<u64>,
    /// Where each member is dialled, and from where.
    addresses: Vec<(Option<Address>, Option<SocketAddr>)>,
    timer: TimerSlot,
    connections: HashMap<SessionId, usize>,
    /// Something happened to it in this turn: its group may ask for actions.
    touched: bool,
    /// The tables' last local changes when they were last pushed.
    pushed: Vec<u32>,
    log_limit: LogLimit,
}

struct Link {
    section: usize,
    /// `None`: it lingers.
    session: Option<SessionId>,
    connection: Connection,
    /// The connect has not ended yet.
    connecting: bool,
    generation: u32,
    input: Buffer,
    /// Whole messages are left in `input`: they come before anything is read or said.
    backlog: bool,
    output: Buffer,
    /// Waits for its slice in `pending`.
    queued: bool,
    linger_until_ms: Option<u64>,
}

impl Link {
    /// Puts it in the line, once.
    fn queue(&mut self, index: usize, line: &mut VecDeque<mio::Token>) {
        if !std::mem::replace(&mut self.queued, true) {
            line.push_back(Token::new(Kind::Peer, index as u32, self.generation).pack());
        }
    }
}

/// All peers sections of the worker.
pub struct Peers {
    sections: Vec<Section>,
    links: Slab<Link>,
    generation: u32,
    pool: BufferPool,
    /// Connections that wait for a slice, the first in line in front.
    pending: VecDeque<mio::Token>,
    /// `tune.peers.max-updates-at-once`.
    updates_max: u32,
    /// Slices are small until then; and whether those of this turn are.
    make_way_until_ms: u64,
    makes_way: bool,
    events: VecDeque<PeerEvent>,
}

impl Peers {
    /// Builds the sections. `listeners` are bound and listening, in the order of `specs`; none where the section does
    /// not listen. `updates_max` is `tune.peers.max-updates-at-once`; `seed` is random; `pid` is that of a process that lives
    /// as long as the tables do.
    ///
    /// Nothing happens before `start`.
    pub fn new(
        specs: &[PeersSpec],
        listeners: Vec<Vec<OwnedFd>>,
        start: StartState,
        updates_max: u32,
        pid: u32,
        seed: u64,
    ) -> Peers {
        let mut random = Random::new(seed);
        let mut listeners = listeners.into_iter();
        let sections = specs
            .iter()
            .map(|spec| Section {
                group: Group::new(
                    spec,
                    Settings {
                        updates_max: updates_max.max(1),
                        pid,
                        seed: random.number(),
                        start,
                        extension: true,
                        fault: None,
                    },
                ),
                listeners: listeners
                    .next()
                    .unwrap_or_default()
                    .into_iter()
                    .map(Socket::from)
                    .collect(),
                accepting: false,
                accept_retry_ms: None,
                addresses: spec
                    .members
                    .iter()
                    .map(|member| (member.address.clone(), member.source))
                    .collect(),
                timer: TimerSlot::NONE,
                connections: HashMap::new(),
                touched: false,
                pushed: vec![0; spec.tables.len()],
                log_limit: LogLimit::new(spec.members.len()),
            })
            .collect();
        Peers {
            sections,
            links: Slab::new(),
            generation: 0,
            pool: BufferPool::new(BUFFER_BYTES, BUFFERS_IDLE_MAX),
            pending: VecDeque::new(),
            updates_max: updates_max.max(1),
            make_way_until_ms: 0,
            makes_way: false,
            events: VecDeque::new(),
        }
    }

    /// Registers the listeners and begins to dial. `Kind::PeerListener` and `Kind::Peer` tokens are ours from now on.
    ///
    /// # Errors
    /// Those of registering a listener.
    pub fn start(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        for index in 0..self.sections.len() {
            let section = &mut self.sections[index];
            section.group.start(context.now_ms, context.tables);
            if !section.group.is_started() {
                section.listeners.clear();
            }
            for listener in &section.listeners {
                listener.set_nonblocking(true)?;
                context.registry.register(
                    &mut SourceFd(&listener.as_raw_fd()),
                    section_token(index),
                    Interest::READABLE,
                )?;
            }
            self.finish_turn(index, context);
        }
        Ok(())
    }

    /// A readiness event whose token is of kind `PeerListener` or `Peer`.
    pub fn on_event(&mut self, token: Token, event: &mio::event::Event, context: &mut Context<'_>) {
        if token.kind == Kind::PeerListener {
            let index = token.index as usize;
            if index < self.sections.len() {
                // Those of this turn are taken at its end.
                self.sections[index].accepting = true;
            }
            return;
        }
        let index = token.index as usize;
        let Some(link) = self.links.get_mut(index) else {
            return;
        };
        if !token.is_generation(link.generation) {
            return;
        }
        link.connection.note_event(event);
        if link.connecting {
            self.finish_connect(index, context);
        }
        self.queue(index);
    }

    /// An expired timer whose token is of kind `PeerListener`: each section has one.
    pub fn on_timer(&mut self, token: Token, context: &mut Context<'_>) {
        let index = token.index as usize;
        let Some(section) = self.sections.get_mut(index) else {
            return;
        };
        section.group.handle_timeout(context.now_ms, context.tables);
        if section
            .accept_retry_ms
            .is_some_and(|at_ms| at_ms <= context.now_ms)
        {
            section.accept_retry_ms = None;
            section.accepting = true;
        }
        self.queue_all(index);
        self.finish_turn(index, context);
    }

    /// Requests are being served: for a while, work for peers is done in smaller portions.
    pub fn make_way(&mut self, now_ms: u64) {
        self.make_way_until_ms = now_ms + MAKE_WAY_MS;
    }

    /// How much a turn does for peers.
    fn set_pace(&mut self, now_ms: u64) -> usize {
        self.makes_way = now_ms < self.make_way_until_ms;
        let (turn_bytes, updates_max) = match self.makes_way {
            true => (
                MAKING_WAY_TURN_BYTES,
                self.updates_max.min(MAKING_WAY_UPDATES_MAX),
            ),
            false => (TURN_BYTES, self.updates_max),
        };
        for section in &mut self.sections {
            section.group.set_updates_max(updates_max);
        }
        turn_bytes
    }

    /// Once a turn, after all other work: takes in what peers sent, sends what changed in the tables, and goes on with what
    /// a turn's bounds cut short. Cheap when nothing happened.
    pub fn push_table_updates(&mut self, context: &mut Context<'_>) {
        for index in 0..self.sections.len() {
            if self.sections[index].accepting {
                self.accept(index, context);
                self.sections[index].touched = true;
            }
            if self.note_changes(index, context.tables, context.now_ms) {
                self.queue_all(index);
            }
        }
        let mut bytes = 0;
        let turn_bytes = self.set_pace(context.now_ms);
        for _ in 0..self.pending.len() {
            if bytes >= turn_bytes {
                break;
            }
            let Some(token) = self.pending.pop_front().and_then(Token::unpack) else {
                continue;
            };
            let index = token.index as usize;
            if let Some(link) = self.links.get_mut(index)
                && token.is_generation(link.generation)
            {
                link.queued = false;
                self.sections[link.section].touched = true;
                bytes += self.serve(index, context);
            }
        }
        for index in 0..self.sections.len() {
            if std::mem::take(&mut self.sections[index].touched) {
                self.finish_turn(index, context);
            }
        }
    }

    /// Every connection of a section gets a slice.
    fn queue_all(&mut self, section: usize) {
        for (index, link) in &mut self.links {
            if link.section == section {
                link.queue(index, &mut self.pending);
            }
        }
    }

    /// Whether a table of the section changed here since the last call.
    fn note_changes(&mut self, index: usize, tables: &[Table], now_ms: u64) -> bool {
        let Section { group, pushed, .. } = &mut self.sections[index];
        let mut changed = false;
        for (pushed, &table) in pushed.iter_mut().zip(&group.shared) {
            let id = tables[table].local_update_id();
            changed |= *pushed != id;
            *pushed = id;
        }
        if changed {
            group.note_changes(tables, now_ms);
        }
        changed
    }

    /// Whether the next wait for events must not block: a peer's bounded slice of this turn was not enough for it.
    pub fn has_pending_work(&self) -> bool {
        !self.pending.is_empty() || self.sections.iter().any(|section| section.accepting)
    }

    /// The listening sockets of the local peers.
    pub fn listeners(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let sections = self.sections.iter();
        sections.flat_map(|section| section.listeners.iter().map(Socket::as_fd))
    }

    /// What is still to come from the process that this one replaces, over all sections; `None`: nothing.
    pub fn lesson_of_predecessor(&self) -> Option<Lesson> {
        let sections = self.sections.iter();
        let lessons = sections.filter_map(|section| section.group.lesson_of_predecessor());
        lessons.max_by_key(|lesson| *lesson == Lesson::Begun)
    }

    /// Sessions that are established, and connections that stand (`ActivePeers` and `ConnectedPeers` of `show info`).
    pub fn session_counts(&self) -> (usize, usize) {
        let sessions = || {
            self.sections
                .iter()
                .flat_map(|section| section.group.sessions())
        };
        let established = sessions()
            .filter(|(_, session)| session.is_established())
            .count();
        let connected = sessions()
            .filter(|(_, session)| !session.is_connecting())
            .count();
        (established, connected)
    }

    /// What happened since the last call, oldest first; to be logged (`PeerEvent::severity`, `Display`).
    pub fn poll_event(&mut self) -> Option<PeerEvent> {
        self.events.pop_front()
    }

    /// Soft stop (SIGUSR1): closes all sessions and listeners and teaches a new process that listens on the local
    /// peer's address, for at most five seconds.
    pub fn soft_stop(&mut self, context: &mut Context<'_>) {
        for index in 0..self.sections.len() {
            self.close_listener(index, context.registry);
            let section = &mut self.sections[index];
            section.group.soft_stop(context.now_ms, context.tables);
            self.finish_turn(index, context);
        }
    }

    /// Whether nothing is left to do after `soft_stop`.
    pub fn is_stopped(&self) -> bool {
        self.sections
            .iter()
            .all(|section| section.group.is_stopped())
    }

    /// Closes everything at once.
    pub fn close(&mut self, context: &mut Context<'_>) {
        for index in 0..self.sections.len() {
            self.close_listener(index, context.registry);
            let section = &mut self.sections[index];
            section.group.stop(context.now_ms, context.tables);
            self.finish_turn(index, context);
        }
        let links: Vec<usize> = self.links.iter().map(|(index, _)| index).collect();
        for index in links {
            self.drop_link(index, context.registry);
        }
    }

    /// Text of `show peers`, in HAProxy's format. `local_time` is the time of day as `22/Nov/2026:13:44:59`.
    /// `None`: there is no such section ("No such peers").
    pub fn show(
        &self,
        what: ShowPeers<'_>,
        now_ms: u64,
        local_time: &str,
        tables: &[Table],
    ) -> Option<String> {
        let mut text = String::new();
        let mut found = what.section.is_none();
        for section in self.sections.iter().rev() {
            if what
                .section
                .is_some_and(|name| name != section.group.name())
            {
                continue;
            }
            found = true;
            let sockets = |session: SessionId| {
                let link = self.links.get(*section.connections.get(&session)?)?;
                let socket = socket2::SockRef::from(&link.connection);
                let name = |address: io::Result<socket2::SockAddr>| {
                    address
                        .ok()
                        .and_then(|address| address.as_socket())
                        .map_or_else(|| "unix".to_string(), |address| address.to_string())
                };
                Some((name(socket.peer_addr()), name(socket.local_addr())))
            };
            show::section(
                &mut text,
                &section.group,
                &show::View {
                    now_ms,
                    local_time,
                    tables,
                    dictionaries: what.dictionaries,
                    sockets: &sockets,
                },
            );
        }
        found.then_some(text)
    }

    /// Text of a view of ours, a line a peer and one for each of its tables; of all sections, or of the one named.
    /// `None`: there is no such section.
    pub fn show_view(
        &self,
        view: PeersView,
        section: Option<&str>,
        now_ms: u64,
        tables: &[Table],
    ) -> Option<String> {
        let mut text = String::new();
        let mut found = section.is_none();
        for Section { group, .. } in &self.sections {
            if section.is_some_and(|name| name != group.name()) {
                continue;
            }
            found = true;
            match view {
                PeersView::Lag => lag::write_lag(&mut text, group, tables, now_ms),
                PeersView::Errors => lag::write_errors(&mut text, group, now_ms),
            }
        }
        found.then_some(text)
    }

    fn close_listener(&mut self, index: usize, registry: &Registry) {
        let section = &mut self.sections[index];
        section.accepting = false;
        section.accept_retry_ms = None;
        for listener in section.listeners.drain(..) {
            let _ = registry.deregister(&mut SourceFd(&listener.as_raw_fd()));
        }
    }

    /// Takes connections of each of a section's listeners, a bounded number in a turn.
    fn accept(&mut self, index: usize, context: &mut Context<'_>) {
        self.sections[index].accepting = false;
        let accepts = match context.now_ms < self.make_way_until_ms {
            true => MAKING_WAY_ACCEPTS,
            false => ACCEPTS_PER_TURN,
        };
        for listener in 0..self.sections[index].listeners.len() {
            let may_have_more = (0..accepts).all(|_| self.accept_one(index, listener, context));
            self.sections[index].accepting |= may_have_more;
        }
    }

    /// Takes one connection, if there is one; whether there may be another.
    fn accept_one(&mut self, index: usize, listener: usize, context: &mut Context<'_>) -> bool {
        let section = &mut self.sections[index];
        let Some(listener) = section.listeners.get(listener) else {
            return false;
        };
        let (socket, origin) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => true,
                    io::ErrorKind::WouldBlock => false,
                    _ => {
                        section.accept_retry_ms = Some(context.now_ms + ACCEPT_RETRY_MS);
                        false
                    }
                };
            }
        };
        if socket.set_nonblocking(true).is_err() {
            return true;
        }
        let _ = socket.set_tcp_nodelay(true); // a unix socket has no such option
        let origin = origin.as_socket().map(|address| address.ip());
        let (now_ms, tables) = (context.now_ms, &mut *context.tables);
        let Some(session) = section.group.accepted(origin, now_ms, tables) else {
            return true;
        };
        let connection = Connection::accepted(socket.into());
        let link = self.add_link(index, session, connection, false, context);
        self.carry_out(index, context);
        if let Some(link) = link {
            self.queue(link);
        }
        true
    }

    fn add_link(
        &mut self,
        section: usize,
        session: SessionId,
        mut connection: Connection,
        connecting: bool,
        context: &mut Context<'_>,
    ) -> Option<usize> {
        self.generation = self.generation.wrapping_add(1);
        let entry = self.links.vacant_entry();
        let index = entry.key();
        let token = Token::new(Kind::Peer, index as u32, self.generation).pack();
        if let Err(error) = connection.register(context.registry, token) {
            let reason = CloseReason::Connection(words(&error));
            let group = &mut self.sections[section].group;
            group.disconnected(session, context.now_ms, context.tables, reason);
            return None;
        }
        entry.insert(Link {
            section,
            session: Some(session),
            connection,
            connecting,
            generation: self.generation,
            input: Buffer::default(),
            backlog: false,
            output: Buffer::default(),
            queued: false,
            linger_until_ms: None,
        });
        self.sections[section].connections.insert(session, index);
        Some(index)
    }

    fn finish_connect(&mut self, index: usize, context: &mut Context<'_>) {
        let link = &mut self.links[index];
        let Some(session) = link.session else {
            return;
        };
        let group = &mut self.sections[link.section].group;
        match link.connection.take_error() {
            Ok(()) if link.connection.may_write() => {
                link.connecting = false;
                group.connected(session);
            }
            Ok(()) => {}
            Err(error) => {
                let reason = CloseReason::Connection(format!("cannot connect: {}", words(&error)));
                group.disconnected(session, context.now_ms, context.tables, reason);
            }
        }
    }

    /// One slice of a turn for one connection; the bytes that it took in and has to say.
    fn serve(&mut self, index: usize, context: &mut Context<'_>) -> usize {
        match self.links.get(index) {
            None => 0,
            Some(link) if link.connecting => 0,
            Some(Link { session: None, .. }) => {
                self.linger(index, context);
                0
            }
            Some(_) => {
                let received = self.receive(index, context);
                let sent = self.send(index, context);
                self.check_end(index, context);
                received + sent
            }
        }
    }

    /// Reads once, unless there is something to take in, and hands over what there is; the bytes taken in.
    fn receive(&mut self, index: usize, context: &mut Context<'_>) -> usize {
        let link = &mut self.links[index];
        let Some(session) = link.session else {
            return 0;
        };
        if link.connection.may_read() && !link.backlog {
            self.pool.attach(&mut link.input);
            link.input.compact();
            let bytes_before = link.input.len();
            if link.input.room() > 0
                && let Err(error) = link.connection.read(&mut link.input)
            {
                self.fail(index, &error, context);
                return 0;
            }
            let bytes_read = link.input.len() - bytes_before;
            if self.makes_way && bytes_read >= MAKING_WAY_READ_BYTES {
                link.backlog = true;
                self.queue(index);
                return bytes_read;
            }
        }
        let group = &mut self.sections[link.section].group;
        let consumed =
            group.handle_input(session, link.input.filled(), context.now_ms, context.tables);
        link.input.consume(consumed.bytes);
        link.backlog = consumed.more;
        self.pool.detach_if_empty(&mut link.input);
        if consumed.more || link.connection.may_read() {
            self.queue(index);
        }
        consumed.bytes
    }

    /// Fills the output buffer and writes it with one call; the bytes that it was filled with. Nothing is said before all that
    /// was read has been taken in: one ack for all of it.
    fn send(&mut self, index: usize, context: &mut Context<'_>) -> usize {
        let link = &mut self.links[index];
        let (Some(session), false) = (link.session, link.backlog) else {
            return 0;
        };
        let group = &mut self.sections[link.section].group;
        self.pool.attach(&mut link.output);
        link.output.compact();
        let (mut filled, mut more) = (0, true);
        let fills = if self.makes_way { 1 } else { FILLS_PER_SLICE };
        for _ in 0..fills {
            let space = link.output.space();
            let count = group.poll_output(session, space, context.now_ms, context.tables);
            link.output.commit(count);
            filled += count;
            more = group
                .session(session)
                .is_some_and(|session| session.has_more_output());
            if count == 0 || !more {
                break;
            }
        }
        // With so little room left, that may be why there is nothing more to say.
        more |= filled > 0 && link.output.room() < MESSAGE_BYTES_MAX;
        if let Err(error) = flush(link) {
            self.fail(index, &error, context);
            return 0;
        }
        self.pool.detach_if_empty(&mut link.output);
        let is_blocked = link.output.is_attached();
        if more && !is_blocked {
            self.queue(index);
        }
        filled
    }

    /// The peer has closed its side, and all that it sent has been taken in and answered.
    fn check_end(&mut self, index: usize, context: &mut Context<'_>) {
        let Some(link) = self.links.get(index) else {
            return;
        };
        if let (Some(session), true, false) =
            (link.session, link.connection.is_read_closed(), link.queued)
        {
            let reason = CloseReason::Connection("it closed the connection".into());
            let group = &mut self.sections[link.section].group;
            group.disconnected(session, context.now_ms, context.tables, reason);
        }
    }

    fn fail(&mut self, index: usize, error: &io::Error, context: &mut Context<'_>) {
        let link = &self.links[index];
        if let Some(session) = link.session {
            let reason = CloseReason::Connection(words(error));
            let group = &mut self.sections[link.section].group;
            group.disconnected(session, context.now_ms, context.tables, reason);
        }
    }

    fn queue(&mut self, index: usize) {
        self.links[index].queue(index, &mut self.pending);
    }

    /// After anything happened in a section: does what its group asks for, takes its events, sets its timer.
    fn finish_turn(&mut self, index: usize, context: &mut Context<'_>) {
        self.carry_out(index, context);
        let lingering = self
            .links
            .iter()
            .filter(|(_, link)| link.section == index)
            .filter_map(|(_, link)| link.linger_until_ms)
            .min();
        let section = &mut self.sections[index];
        while let Some(event) = section.group.poll_event() {
            self.events
                .extend(section.log_limit.admit(event, context.now_ms));
        }
        let deadline_ms = section
            .group
            .poll_timeout(context.now_ms)
            .into_iter()
            .chain(section.accept_retry_ms)
            .chain(lingering)
            .min();
        match deadline_ms {
            Some(at_ms) => context.timers.arm(
                &mut section.timer,
                section_token(index),
                at_ms.max(context.now_ms),
            ),
            None => context.timers.cancel(&mut section.timer),
        }
    }

    fn carry_out(&mut self, index: usize, context: &mut Context<'_>) {
        while let Some(action) = self.sections[index].group.poll_action() {
            match action {
                Action::Dial { session, member } => self.dial(index, session, member, context),
                Action::Close { session, ending } => {
                    let section = &mut self.sections[index];
                    let Some(link) = section.connections.remove(&session) else {
                        continue;
                    };
                    self.links[link].session = None;
                    match ending {
                        Ending::Explained => {
                            self.make_room_to_linger(index, context.registry);
                            self.links[link].linger_until_ms = Some(context.now_ms + LINGER_MS);
                            self.linger(link, context);
                        }
                        Ending::Closed => self.drop_link(link, context.registry),
                        Ending::Reset => {
                            self.links[link].connection.close_with_reset();
                            self.drop_link(link, context.registry);
                        }
                    }
                }
            }
        }
    }

    fn dial(&mut self, index: usize, session: SessionId, member: usize, context: &mut Context<'_>) {
        let section = &mut self.sections[index];
        let connection = match &section.addresses[member] {
            (Some(address), source) => Connection::connect(address, *source),
            (None, _) => Err(io::ErrorKind::AddrNotAvailable.into()),
        };
        match connection {
            Ok(mut connection) => {
                connection.make_prompt();
                self.add_link(index, session, connection, true, context);
            }
            Err(error) => {
                let reason = CloseReason::Connection(format!("cannot connect: {}", words(&error)));
                section
                    .group
                    .disconnected(session, context.now_ms, context.tables, reason);
            }
        }
    }

    fn make_room_to_linger(&mut self, section: usize, registry: &Registry) {
        let lingering = || {
            let links = self.links.iter();
            links
                .filter(|(_, link)| link.section == section)
                .filter_map(|(index, link)| Some((link.linger_until_ms?, link.generation, index)))
        };
        if lingering().count() >= LINGERING_MAX
            && let Some((.., oldest)) = lingering().min()
        {
            self.drop_link(oldest, registry);
        }
    }

    /// Sends what is left, says that nothing follows, and reads on until the peer has closed or the time is up.
    fn linger(&mut self, index: usize, context: &mut Context<'_>) {
        let link = &mut self.links[index];
        let mut over = link
            .linger_until_ms
            .is_none_or(|until_ms| until_ms <= context.now_ms);
        over |= flush(link).is_err();
        if link.output.is_empty() {
            link.connection.shutdown_write();
        }
        if link.connection.may_read() && !over {
            self.pool.attach(&mut link.input);
            link.input.consume(link.input.len());
            over |= matches!(
                link.connection.read(&mut link.input),
                Err(_) | Ok(ReadResult::End)
            );
            link.input.consume(link.input.len());
            self.pool.detach(&mut link.input);
        }
        if over || link.connection.is_read_closed() {
            self.drop_link(index, context.registry);
        } else if link.connection.may_read() {
            self.queue(index);
        }
    }

    fn drop_link(&mut self, index: usize, registry: &Registry) {
        let mut link = self.links.remove(index);
        self.pool.detach(&mut link.input);
        self.pool.detach(&mut link.output);
        let fd = link.connection.as_fd().as_raw_fd();
        let _ = registry.deregister(&mut SourceFd(&fd));
    }
}

/// Writes as much of the output as the socket takes.
fn flush(link: &mut Link) -> io::Result<()> {
    while !link.output.is_empty() && link.connection.may_write() {
        let slices = [IoSlice::new(link.output.filled())];
        let count = link.connection.write(&slices, false)?;
        link.output.consume(count);
    }
    Ok(())
}

/// An error without the number behind it.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_string(),
        None => text,
    }
}

fn section_token(index: usize) -> mio::Token {
    Token::new(Kind::PeerListener, index as u32, 0).pack()
}
