//! A peers node on real sockets: `link::Peers` and its tables on a loop of their own, driven by the test's thread.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use burdock::net::Address;
use burdock::peers::group::StartState;
use burdock::peers::link::{Context, Peers, PeersView, ShowPeers};
use burdock::peers::{MemberSpec, PeersSpec};
use burdock::reactor::{Timers, Token};
use burdock::stick::{DataType, EntryIndex, Inserted, Key, Table, TableSpec};

/// One node with one peers section, `mesh`.
pub struct LoopNode {
    poll: mio::Poll,
    ready: mio::Events,
    timers: Timers,
    /// Its peers.
    pub peers: Peers,
    /// Its tables.
    pub tables: Vec<Table>,
    started: Instant,
    /// Everything that it would have logged.
    pub log: Vec<String>,
    closed: bool,
}

impl LoopNode {
    /// A node `local_name` that listens on `listener` and knows these members.
    pub fn start(
        local_name: &str,
        listener: Option<TcpListener>,
        members: &[(&str, Option<SocketAddr>)],
        tables: &[TableSpec],
    ) -> LoopNode {
        let spec = PeersSpec {
            name: "mesh".into(),
            local_name: local_name.into(),
            members: members
                .iter()
                .map(|(name, address)| MemberSpec {
                    name: (*name).into(),
                    address: address.map(Address::Inet),
                    ..MemberSpec::default()
                })
                .collect(),
            tables: (0..tables.len()).collect(),
            ..PeersSpec::default()
        };
        let tables = tables
            .iter()
            .map(|spec| Table::create(spec, [1, 2], 1_000_000).expect("cannot create a table"))
            .collect();
        let peers = Peers::new(
            &[spec],
            vec![listener.map(OwnedFd::from).into_iter().collect()],
            StartState::Fresh,
            200,
            1,
            4711,
        );
        let mut node = LoopNode {
            poll: mio::Poll::new().expect("cannot create a poll"),
            ready: mio::Events::with_capacity(64),
            timers: Timers::new(1_000_000, 16),
            peers,
            tables,
            started: Instant::now(),
            log: Vec::new(),
            closed: false,
        };
        node.with_context(|peers, context| peers.start(context).expect("cannot start"));
        node
    }

    /// Its clock.
    pub fn now_ms(&self) -> u64 {
        1_000_000 + self.started.elapsed().as_millis() as u64
    }

    fn with_context<T>(&mut self, call: impl FnOnce(&mut Peers, &mut Context<'_>) -> T) -> T {
        let now_ms = self.now_ms();
        let mut context = Context {
            now_ms,
            registry: self.poll.registry(),
            timers: &mut self.timers,
            tables: &mut self.tables,
        };
        call(&mut self.peers, &mut context)
    }

    /// One turn of the loop.
    pub fn turn(&mut self) {
        let wait_ms = if self.peers.has_pending_work() {
            0
        } else {
            let now_ms = self.now_ms();
            let deadline_ms = self.timers.next_deadline_ms().unwrap_or(u64::MAX);
            deadline_ms.saturating_sub(now_ms).min(5)
        };
        let _ = self
            .poll
            .poll(&mut self.ready, Some(Duration::from_millis(wait_ms)));
        let mut ready = std::mem::replace(&mut self.ready, mio::Events::with_capacity(1));
        for event in &ready {
            if let Some(token) = Token::unpack(event.token()) {
                self.with_context(|peers, context| peers.on_event(token, event, context));
            }
        }
        ready.clear();
        self.ready = ready;
        let now_ms = self.now_ms();
        let mut due = Vec::new();
        self.timers.expire(now_ms, &mut due);
        for token in due.into_iter().filter_map(Token::unpack) {
            self.with_context(|peers, context| peers.on_timer(token, context));
        }
        for table in &mut self.tables {
            table.expire(now_ms, 100);
        }
        // Half of the time there are requests that it makes way for.
        if (now_ms / 100).is_multiple_of(2) {
            self.peers.make_way(now_ms);
        }
        self.with_context(Peers::push_table_updates);
        while let Some(event) = self.peers.poll_event() {
            self.log.push(event.to_string());
        }
    }

    /// Runs until the condition holds; fails after fifteen seconds.
    pub fn run_until(&mut self, what: &str, mut condition: impl FnMut(&mut LoopNode) -> bool) {
        let end = Instant::now() + Duration::from_secs(15);
        while !condition(self) {
            assert!(
                Instant::now() < end,
                "waited in vain for: {what}\n{}\n{}",
                self.log.join("\n"),
                self.show()
            );
            self.turn();
        }
    }

    /// Runs for a time, for what must not happen in it.
    pub fn run_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn();
        }
    }

    /// Its `show peers`.
    pub fn show(&self) -> String {
        let what = ShowPeers {
            dictionaries: true,
            section: None,
        };
        self.peers
            .show(what, self.now_ms(), "22/Nov/2026:12:00:00", &self.tables)
            .unwrap_or_default()
    }

    /// Its `show peers lag` or `show peers errors`.
    pub fn view(&self, view: PeersView) -> String {
        self.peers
            .show_view(view, None, self.now_ms(), &self.tables)
            .unwrap_or_default()
    }

    /// Begins a soft stop.
    pub fn soft_stop(&mut self) {
        self.with_context(Peers::soft_stop);
        self.closed = true;
    }

    /// Changes an entry as a request would.
    pub fn write(
        &mut self,
        table: usize,
        key: &[u8],
        change: impl FnOnce(&mut Table, EntryIndex, u64),
    ) {
        let now_ms = self.now_ms();
        let table = &mut self.tables[table];
        let spec = table.spec().clone();
        let key = Key::new(&spec, key).expect("a key");
        match table.lookup_or_insert(key, now_ms) {
            Some(Inserted::Found(entry) | Inserted::New(entry)) => {
                change(table, entry, now_ms);
                table.touch_local(entry, now_ms);
            }
            None => panic!("the table is full"),
        }
    }

    /// Binds a key to a server.
    pub fn bind(&mut self, table: usize, key: &str, id: i32, name: &str) {
        self.write(table, key.as_bytes(), |table, entry, _| {
            table.set_server(entry, id, Some(name.as_bytes()));
        });
    }

    /// The live entry of a key.
    pub fn find(&self, table: usize, key: &[u8]) -> Option<EntryIndex> {
        let table = &self.tables[table];
        table.lookup(Key::new(table.spec(), key)?, self.now_ms())
    }

    /// An integer value of a key.
    pub fn value(&self, table: usize, key: &[u8], data_type: DataType) -> Option<u64> {
        self.tables[table].value(self.find(table, key)?, data_type, 0)
    }

    /// The server of a key.
    pub fn server(&self, table: usize, key: &str) -> Option<(i32, Option<String>)> {
        let (id, name) = self.tables[table].server(self.find(table, key.as_bytes())?);
        Some((
            id,
            name.map(|name| String::from_utf8_lossy(name).into_owned()),
        ))
    }
}

impl Drop for LoopNode {
    fn drop(&mut self) {
        if !self.closed {
            self.with_context(Peers::close);
        }
    }
}
