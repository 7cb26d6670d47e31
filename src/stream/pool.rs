//! Connections to servers: those in use by a stream, and idle ones kept for the next request.
//!
//! Invariants: a connection has an owner or stands in exactly one idle list, never both; an idle connection on which
//! anything happens (bytes that no request asked for, or its end) is closed, never handed out; one that vouches for its client goes
//! to that client alone; an idle connection that only one stream may use is in that stream's list, too.

use std::{io, iter};

use slab::Slab;

use super::StreamKey;
use crate::net::Connection;
use crate::reactor::{Kind, Token};

/// A connection to a server.
#[derive(Debug)]
pub struct ServerConnection {
    /// The socket.
    pub connection: Connection,
    generation: u32,
    owner: Option<StreamKey>,
    last_owner: StreamKey,
    /// Index of the proxy and of the server in it.
    pub server: (usize, usize),
    /// `Server::address_version` when it was made: it leads to the address of that time.
    pub address_version: u32,
    /// Requests it has carried, the present one included.
    pub requests: u32,
    idle_since_ms: u64,
    /// It vouches for its client (NTLM, Negotiate authenticate connections, not requests): nobody else's request may travel on it.
    is_private: bool,
    /// Its neighbours in the list of idle connections that are its last owner's alone, if it is in one.
    own: Option<Neighbours>,
}

/// Indices of connections; `NONE`: there is none.
#[derive(Clone, Copy, Debug)]
struct Neighbours {
    previous: u32,
    next: u32,
}

const NONE: u32 = u32::MAX;

impl ServerConnection {
    /// Whether it is its last owner's alone.
    pub fn is_private(&self) -> bool {
        self.is_private
    }
}

/// What is said to a server before its connection is dropped. An end in order, if we are the first to say it, would keep our port
/// for a minute (TIME_WAIT); with a connection for each request there soon would be none left. So it is a reset, as in HAProxy, unless one
/// side has told its end already: then the other end in order costs nothing, and what is still on its way arrives.
fn leave(connection: &Connection) {
    if !connection.is_hung_up() && !connection.is_write_closed() {
        connection.close_with_reset();
    }
}

/// Connections that wait for the end of a turn to be closed; beyond, they are closed at once.
const LEFT_MAX: usize = 64;

/// All connections to servers.
#[derive(Debug)]
pub struct Pool {
    connections: Slab<ServerConnection>,
    /// Those that were left in this turn.
    left: Vec<Connection>,
    /// For each proxy, for each server: idle connections, the one used last on top.
    idle: Vec<Vec<Vec<usize>>>,
    /// For each place of a stream: the idle connection that it used last of those that nobody else may use. Only as long as the highest
    /// place that has had one.
    own: Vec<u32>,
    generation: u32,
}

impl Pool {
    /// An empty pool; `server_counts` has the number of servers of each proxy.
    pub fn new(server_counts: impl Iterator<Item = usize>) -> Pool {
        let idle = server_counts.map(|count| vec![Vec::new(); count]).collect();
        Pool {
            connections: Slab::new(),
            left: Vec::with_capacity(LEFT_MAX),
            idle,
            own: Vec::new(),
            generation: 0,
        }
    }

    /// Takes in a fresh connection that belongs to `owner`; returns its index and token.
    pub fn insert(
        &mut self,
        connection: Connection,
        server: (usize, usize),
        address_version: u32,
        owner: StreamKey,
    ) -> (usize, mio::Token) {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let index = self.connections.insert(ServerConnection {
            connection,
            generation,
            owner: Some(owner),
            last_owner: owner,
            server,
            address_version,
            requests: 0,
            idle_since_ms: 0,
            is_private: false,
            own: None,
        });
        (
            index,
            Token::new(Kind::Server, index as u32, generation).pack(),
        )
    }

    /// The connection at an index, to look at.
    pub fn connection(&self, index: usize) -> Option<&Connection> {
        Some(&self.connections.get(index)?.connection)
    }

    /// The connection at `index`, which its owner knows to exist.
    pub fn at(&mut self, index: usize) -> &mut ServerConnection {
        &mut self.connections[index]
    }

    /// Asks for the events that a connection in use waits for, where they were not asked for before.
    pub fn watch(&mut self, index: usize, registry: &mio::Registry) -> io::Result<()> {
        let watched = &mut self.connections[index];
        if !watched.connection.awaits_write() {
            return Ok(());
        }
        let token = Token::new(Kind::Server, index as u32, watched.generation).pack();
        watched.connection.watch(registry, token)
    }

    /// The connection that an event is for, and its owner; `None` when it is gone.
    pub fn by_token(
        &mut self,
        token: Token,
    ) -> Option<(usize, Option<StreamKey>, &mut Connection)> {
        let index = token.index as usize;
        let found = self
            .connections
            .get_mut(index)
            .filter(|found| token.is_generation(found.generation))?;
        Some((index, found.owner, &mut found.connection))
    }

    /// Closes a connection that is in use.
    pub fn close(&mut self, index: usize) {
        let closed = self.connections.remove(index);
        debug_assert!(closed.owner.is_some());
        leave(&closed.connection);
    }

    /// Closes a connection that is in use at the end of this turn (`close_left`): to close one takes as long as to serve a request
    /// from another one, and nobody waits for it.
    pub fn close_later(&mut self, index: usize) {
        if self.left.len() == LEFT_MAX {
            return self.close(index);
        }
        let closed = self.connections.remove(index);
        debug_assert!(closed.owner.is_some());
        leave(&closed.connection);
        self.left.push(closed.connection);
    }

    /// Closes what was left in this turn; whether there was anything.
    pub fn close_left(&mut self) -> bool {
        let was_any = !self.left.is_empty();
        self.left.clear();
        was_any
    }

    /// Closes an idle connection; returns its server.
    pub fn close_idle(&mut self, index: usize) -> (usize, usize) {
        self.disown(index);
        let closed = self.connections.remove(index);
        leave(&closed.connection);
        let list = &mut self.idle[closed.server.0][closed.server.1];
        if let Some(position) = list.iter().position(|&other| other == index) {
            list.remove(position);
        }
        closed.server
    }

    /// Closes the connection that has been idle longest, of all servers; returns its server. `None`: there is none.
    pub fn close_oldest(&mut self) -> Option<(usize, usize)> {
        let bottoms = self.idle.iter().flatten().filter_map(|list| list.first());
        let oldest = *bottoms.min_by_key(|&&index| self.connections[index].idle_since_ms)?;
        Some(self.close_idle(oldest))
    }

    /// Closes an idle connection that nobody but `owner` may use; returns its server. `None`: there is none.
    pub fn close_own(&mut self, owner: StreamKey) -> Option<(usize, usize)> {
        let index = self.owned_by(owner).next()?;
        Some(self.close_idle(index))
    }

    /// Keeps a connection for the next request; `is_own`: of its owner alone.
    pub fn park(&mut self, index: usize, is_own: bool, now_ms: u64) {
        let parked = &mut self.connections[index];
        parked.owner = None;
        parked.idle_since_ms = now_ms;
        let (proxy, server) = parked.server;
        self.idle[proxy][server].push(index);
        if is_own {
            self.own(index);
        }
    }

    /// Puts a connection first in the list of its last owner.
    fn own(&mut self, index: usize) {
        let place = self.connections[index].last_owner.index as usize;
        if self.own.len() <= place {
            self.own.resize(place + 1, NONE);
        }
        let next = std::mem::replace(&mut self.own[place], index as u32);
        self.connections[index].own = Some(Neighbours {
            previous: NONE,
            next,
        });
        if let Some(next) = self.neighbours(next) {
            next.previous = index as u32;
        }
    }

    /// Takes a connection out of the list of its last owner, if it is in it.
    fn disown(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        let Some(Neighbours { previous, next }) = connection.own.take() else {
            return;
        };
        let place = connection.last_owner.index as usize;
        match self.neighbours(previous) {
            Some(previous) => previous.next = next,
            None => self.own[place] = next,
        }
        if let Some(next) = self.neighbours(next) {
            next.previous = previous;
        }
    }

    fn neighbours(&mut self, index: u32) -> Option<&mut Neighbours> {
        self.connections.get_mut(index as usize)?.own.as_mut()
    }

    /// Idle connections that are this stream's alone, the one used last first. Those that a former stream in its place has left are not.
    fn owned_by(&self, owner: StreamKey) -> impl Iterator<Item = usize> {
        let first = self.own.get(owner.index as usize).copied();
        let is_there = |index: &u32| *index != NONE;
        let all = iter::successors(first.filter(is_there), move |&index| {
            let neighbours = self.connections[index as usize].own?;
            Some(neighbours.next).filter(is_there)
        });
        all.map(|index| index as usize)
            .filter(move |&index| self.connections[index].last_owner == owner)
    }

    /// Number of idle connections to a server.
    pub fn idle_count(&self, server: (usize, usize)) -> usize {
        self.idle[server.0][server.1].len()
    }

    /// From now on the connection is its owner's alone.
    pub fn make_private(&mut self, index: usize) {
        self.connections[index].is_private = true;
    }

    /// Takes the idle connection that was used last, for `owner`.
    pub fn take_idle(&mut self, server: (usize, usize), owner: StreamKey) -> Option<usize> {
        let list = &mut self.idle[server.0][server.1];
        let may_take = |&index: &usize| {
            let connection = &self.connections[index];
            !connection.is_private || connection.last_owner == owner
        };
        let index = list.remove(list.iter().rposition(may_take)?);
        self.give(index, owner);
        Some(index)
    }

    /// Takes the idle connection that `owner` itself used last, of those that are its alone, if there is one.
    pub fn take_own(&mut self, server: (usize, usize), owner: StreamKey) -> Option<usize> {
        let is_there = |&index: &usize| self.connections[index].server == server;
        let index = self.owned_by(owner).find(is_there)?;
        let list = &mut self.idle[server.0][server.1];
        if let Some(position) = list.iter().rposition(|&other| other == index) {
            list.remove(position);
        }
        self.give(index, owner);
        Some(index)
    }

    fn give(&mut self, index: usize, owner: StreamKey) {
        self.disown(index);
        let connection = &mut self.connections[index];
        connection.owner = Some(owner);
        connection.last_owner = owner;
    }

    /// Whether the connection that `take_idle` would hand out has carried several requests.
    pub fn was_reused(&self, server: (usize, usize)) -> bool {
        let last = self.idle[server.0][server.1].last();
        last.map(|&index| &self.connections[index])
            .is_some_and(|last| last.requests > 1 && !last.is_private)
    }

    /// Closes all idle connections of a server; returns how many.
    pub fn close_all_idle(&mut self, server: (usize, usize)) -> usize {
        let list = std::mem::take(&mut self.idle[server.0][server.1]);
        for &index in &list {
            self.disown(index);
            leave(&self.connections.remove(index).connection);
        }
        list.len()
    }

    /// Closes those that have been idle for `age_ms` and more, at most `budget`; returns how many.
    pub fn close_old(
        &mut self,
        server: (usize, usize),
        now_ms: u64,
        age_ms: u64,
        budget: usize,
    ) -> usize {
        let list = &self.idle[server.0][server.1];
        // The oldest are at the bottom.
        let is_old = |&&index: &&usize| self.connections[index].idle_since_ms + age_ms <= now_ms;
        let count = list.iter().take(budget).take_while(is_old).count();
        for at in 0..count {
            let index = self.idle[server.0][server.1][at];
            self.disown(index);
            leave(&self.connections.remove(index).connection);
        }
        self.idle[server.0][server.1].drain(..count);
        count
    }

    /// Connections in use, idle, and about to be closed.
    pub fn len(&self) -> usize {
        self.connections.len() + self.left.len()
    }

    /// Whether there is no connection.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn key(index: u32, generation: u32) -> StreamKey {
        StreamKey { index, generation }
    }

    /// What `owner` may use alone is found as by looking at all that is idle, whatever was parked, taken and closed in between.
    #[test]
    fn own_connections_are_those_that_a_search_finds() {
        let mut pool = Pool::new([2, 1].into_iter());
        let servers = [(0, 0), (0, 1), (1, 0)];
        let mut parked: Vec<(usize, StreamKey)> = Vec::new(); // own ones, the last one parked last
        let (mut seed, mut now_ms) = (7_u64, 0);
        let mut random = move |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        for _ in 0..4_000 {
            now_ms += 1;
            let owner = key(random(4) as u32, random(2) as u32);
            let server = servers[random(3) as usize];
            match random(8) {
                0..=3 => {
                    let (socket, _) = UnixStream::pair().expect("a pair");
                    let connection = Connection::accepted(socket.into());
                    let (index, _) = pool.insert(connection, server, 0, owner);
                    let is_own = random(3) > 0;
                    pool.park(index, is_own, now_ms);
                    if is_own {
                        parked.push((index, owner));
                    }
                }
                4 => {
                    let fits = |&(index, whose): &(usize, StreamKey)| {
                        whose == owner && pool.connections[index].server == server
                    };
                    let expected = parked.iter().rposition(fits).map(|at| parked.remove(at).0);
                    let taken = pool.take_own(server, owner);
                    assert_eq!(taken, expected);
                    taken.into_iter().for_each(|index| pool.close(index));
                }
                5 => {
                    let last = parked.iter().rposition(|(_, whose)| *whose == owner);
                    let expected = last.map(|at| parked.remove(at).0);
                    let of = expected.map(|index| pool.connections[index].server);
                    assert_eq!(pool.close_own(owner), of);
                    assert!(expected.is_none_or(|index| pool.connection(index).is_none()));
                }
                6 => {
                    pool.close_old(server, now_ms, 40, 2);
                }
                _ => {
                    let taken = pool.take_idle(server, owner);
                    taken.into_iter().for_each(|index| pool.close(index));
                    if random(50) == 0 {
                        pool.close_all_idle(server);
                    }
                }
            }
            parked.retain(|&(index, whose)| {
                let there = pool.connections.get(index);
                there.is_some_and(|there| there.own.is_some() && there.last_owner == whose)
            });
        }
        assert!(!parked.is_empty());
    }
}
