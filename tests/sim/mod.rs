//! A simulated network of peers: the real groups, sessions and tables, over byte streams and a clock that a seed drives.
//!
//! TCP loses nothing, so the faults are those that it leaves: bytes arrive in pieces and late, streams stall, connections
//! are refused, cut, and made from both ends at once, processes restart empty, or go on with the tables that they had (a reload,
//! or a death). The same seed gives the same run.
//!
//! Every write stores a number that no other write stores, in `server_id`, `gpc0` and, as a name made from it, in
//! `server_key`: so a value on any node tells whether it was ever written for its key, and whether its parts belong
//! together.

use std::collections::{BTreeMap, HashSet, VecDeque};

use burdock::net::Address;
use burdock::peers::fault::Fault;
use burdock::peers::group::{Action, Group, Random, SessionId, Settings, StartState};
use burdock::peers::session::CloseReason;
use burdock::peers::{MemberSpec, PeersSpec};
use burdock::stick::spec::ServerKeyKind;
use burdock::stick::{DataType, EntryIndex, Inserted, Key, KeyType, StoredType, Table, TableSpec};

/// Bytes that a direction of a stream holds.
const STREAM_BYTES: usize = 8 * 1024;
const INPUT_BYTES: usize = 32 * 1024;

/// What goes wrong, and how often.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Nodes in the group.
    pub nodes: usize,
    /// Cuts of a stream, per thousand steps.
    pub cuts: u64,
    /// Stalls of a direction, per thousand steps.
    pub stalls: u64,
    /// Longest stall.
    pub stall_ms_max: u64,
    /// Connections refused, in percent.
    pub refused_pct: u64,
    /// Restarts of a node, per ten thousand steps.
    pub restarts: u64,
    /// Processes that are replaced and leave their tables, per ten thousand steps.
    pub reloads: u64,
    /// Entries that a table holds.
    pub table_size: u32,
    /// Lifetime of entries; 0: none.
    pub expire_ms: u32,
    /// Distinct keys.
    pub keys: u64,
    /// A key is written on one node only.
    pub single_writer: bool,
    /// Writes that are deletions, in percent.
    pub deletes_pct: u64,
    /// Nodes that do not know the extension, as HAProxy does not: a bit each.
    pub plain: u64,
    /// Nodes declare their tables differently: other data, other sizes, another order, one less.
    pub odd_tables: bool,
    /// The nodes' clocks stand at different times.
    pub skewed: bool,
    /// A mistake that all nodes make.
    pub planted: Option<Fault>,
}

/// A table as comparable values.
pub type Snapshot = BTreeMap<Vec<u8>, u64>;

struct Node {
    name: String,
    group: Group,
    /// Stays when it is replaced, as a master's does.
    pid: u32,
    tables: Vec<Table>,
    up: bool,
    up_at_ms: u64,
    /// Its clock is ahead by this.
    ahead_ms: u64,
    connections: Vec<(SessionId, usize)>,
}

/// One direction of a stream, seen from its reader.
#[derive(Default)]
struct Direction {
    in_flight: VecDeque<u8>,
    received: Vec<u8>,
    stalled_until_ms: u64,
    /// The writer has closed; what is in flight still arrives.
    closed: bool,
}

struct End {
    node: usize,
    session: Option<SessionId>,
}

struct Stream {
    ends: [End; 2],
    /// `directions[i]` is read by `ends[i]`.
    directions: [Direction; 2],
    connected_at_ms: u64,
    pending: bool,
    refused: bool,
    /// A direction has stalled once: what takes long may have a good reason.
    stalled: bool,
    gone: bool,
}

/// The network.
pub struct Sim {
    /// Virtual time.
    pub now_ms: u64,
    /// Where all chance comes from.
    pub random: Random,
    faults: Faults,
    healed: bool,
    nodes: Vec<Node>,
    streams: Vec<Stream>,
    next_value: u64,
    /// All values ever written, by table and key.
    written: HashSet<(usize, Vec<u8>, u64)>,
    /// The last of them.
    latest: BTreeMap<(usize, Vec<u8>), u64>,
    /// Nobody reaches this node.
    isolated: Option<usize>,
    /// Disagreements that nodes reported.
    pub alarms: u64,
    /// Steps done.
    pub steps: u64,
    /// Tell what happens on standard error.
    pub trace: bool,
    seed: u64,
    starts: u64,
}

/// The tables of a node. With `odd_tables` each fourth node is as the others think, more or less.
fn table_specs(faults: &Faults, node: usize) -> Vec<TableSpec> {
    let odd = if faults.odd_tables { node % 4 } else { 0 };
    let stored = |data_type, elements, period_ms| StoredType {
        data_type,
        elements,
        period_ms,
    };
    let spec = |name: &str, key_type, key_len, mut store: Vec<StoredType>| {
        store.push(stored(DataType::ServerId, 1, 0));
        store.push(stored(DataType::ServerKey, 1, 0));
        store.push(stored(DataType::Gpc0, 1, 0));
        store.sort_by_key(|stored| stored.data_type);
        TableSpec {
            name: name.into(),
            wire_name: name.into(),
            key_type,
            key_len,
            size: faults.table_size,
            expire_ms: faults.expire_ms,
            nopurge: false,
            expire_absolute: false,
            store,
            server_key_kind: ServerKeyKind::Name,
            peers: Some("mesh".into()),
        }
    };
    let mut app = spec("app", KeyType::String, 32, Vec::new());
    let data = match odd {
        0 => vec![
            stored(DataType::HttpReqRate, 1, 10_000),
            stored(DataType::Gpt, 3, 0),
        ],
        1 => vec![stored(DataType::Gpt, 2, 0)],
        2 => vec![
            stored(DataType::HttpReqRate, 1, 5_000),
            stored(DataType::ConnCnt, 1, 0),
        ],
        _ => Vec::new(),
    };
    let counters = spec("counters", KeyType::Integer, 4, data);
    let other = spec("other", KeyType::Ip, 4, Vec::new());
    match odd {
        0 => vec![app, counters],
        1 => vec![counters, app],
        2 => {
            app.size *= 2;
            vec![other, app, counters]
        }
        _ => vec![app],
    }
}

/// Names of the tables that are written.
const TABLES: [&str; 2] = ["app", "counters"];

impl Sim {
    /// A network whose nodes are about to start.
    pub fn new(seed: u64, faults: Faults) -> Sim {
        let mut sim = Sim {
            now_ms: 1_000_000,
            random: Random::new(seed),
            healed: false,
            nodes: Vec::new(),
            streams: Vec::new(),
            next_value: 1,
            written: HashSet::new(),
            latest: BTreeMap::new(),
            isolated: None,
            alarms: 0,
            steps: 0,
            trace: std::env::var_os("BURDOCK_SIM_TRACE").is_some(),
            seed,
            starts: 0,
            faults,
        };
        for index in 0..sim.faults.nodes {
            let node = sim.make_node(index);
            sim.nodes.push(node);
        }
        sim
    }

    fn make_node(&mut self, index: usize) -> Node {
        self.starts += 1;
        let group = self.make_group(index, self.starts as u32, StartState::Fresh);
        let specs = table_specs(&self.faults, index);
        let ahead_ms = match self.nodes.get(index) {
            Some(node) => node.ahead_ms,
            None if self.faults.skewed => self.random.below(1 << 40),
            None => 0,
        };
        let now_ms = self.now_ms + ahead_ms;
        Node {
            name: format!("n{index}"),
            group,
            pid: self.starts as u32,
            tables: specs
                .iter()
                .map(|spec| Table::create(spec, [self.seed, index as u64], now_ms).unwrap())
                .collect(),
            up: false,
            up_at_ms: self.now_ms + self.random.below(300),
            ahead_ms,
            connections: Vec::new(),
        }
    }

    fn make_group(&mut self, index: usize, pid: u32, start: StartState) -> Group {
        let section = PeersSpec {
            name: "mesh".into(),
            local_name: format!("n{index}"),
            members: (0..self.faults.nodes)
                .map(|member| MemberSpec {
                    name: format!("n{member}"),
                    address: Some(Address::Abstract(format!("n{member}").into_bytes())),
                    ..MemberSpec::default()
                })
                .collect(),
            tables: (0..table_specs(&self.faults, index).len()).collect(),
            ..PeersSpec::default()
        };
        let settings = Settings {
            updates_max: 1 + self.random.below(200) as u32,
            pid,
            seed: self.random.number(),
            start,
            extension: self.faults.plain >> index & 1 == 0,
            fault: self.faults.planted,
        };
        Group::new(&section, settings)
    }

    fn log(&self, text: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:>9} {}", self.now_ms, text());
        }
    }

    /// What a node's clock shows.
    fn now_of(&self, node: usize) -> u64 {
        self.now_ms + self.nodes[node].ahead_ms
    }

    /// Where a node has a table, if it has it.
    fn place_of(&self, node: usize, table: usize) -> Option<usize> {
        let mut tables = self.nodes[node].tables.iter();
        tables.position(|stick| stick.spec().name == TABLES[table])
    }

    fn chance(&mut self, per: u64, of: u64) -> bool {
        !self.healed && per > 0 && self.random.below(of) < per
    }

    /// Runs so many steps with writes and faults.
    pub fn run(&mut self, steps: u64, writes_pct: u64) {
        for _ in 0..steps {
            if self.random.below(100) < writes_pct {
                self.write();
            }
            self.faults();
            self.step(50);
        }
    }

    /// Faults stop; runs until nothing but heartbeats has moved for `quiet_ms`.
    pub fn heal_and_run_until_idle(&mut self, quiet_ms: u64) {
        self.healed = true;
        for stream in &mut self.streams {
            for direction in &mut stream.directions {
                direction.stalled_until_ms = 0;
            }
        }
        let limit_ms = self.now_ms + 600_000;
        let steps_max = self.steps + 50_000; // an update that circulates for ever takes little time
        let mut quiet_since_ms = self.now_ms;
        let mut last = self.activity();
        while self.now_ms < quiet_since_ms + quiet_ms {
            assert!(
                self.now_ms < limit_ms && self.steps < steps_max,
                "seed {}: never comes to rest: {:?}",
                self.seed,
                self.activity()
            );
            self.step(500);
            let activity = self.activity();
            if activity != last || !self.is_connected() {
                last = activity;
                quiet_since_ms = self.now_ms;
            }
        }
    }

    /// Runs without faults for a time.
    pub fn run_for(&mut self, duration_ms: u64) {
        let until_ms = self.now_ms + duration_ms;
        while self.now_ms < until_ms {
            self.step(100);
        }
    }

    fn activity(&self) -> (u64, usize) {
        let updates = self
            .nodes
            .iter()
            .flat_map(|node| node.group.sessions())
            .map(|(_, session)| session.counters.updates_received)
            .sum();
        let sessions = self
            .nodes
            .iter()
            .map(|node| node.group.sessions().count())
            .sum();
        (updates, sessions)
    }

    /// Whether every pair of nodes has an established session and everybody is up to date.
    pub fn is_connected(&self) -> bool {
        self.nodes.iter().all(|node| {
            let established = node
                .group
                .sessions()
                .filter(|(_, session)| session.is_established())
                .count();
            node.up && node.group.is_up_to_date() && established == self.nodes.len() - 1
        })
    }

    fn faults(&mut self) {
        if self.chance(self.faults.cuts, 1000) && !self.streams.is_empty() {
            let stream = self.random.below(self.streams.len() as u64) as usize;
            self.log(|| format!("fault: cut of stream {stream}"));
            self.cut(stream, "cut");
        }
        if self.chance(self.faults.stalls, 1000) && !self.streams.is_empty() {
            let stream = self.random.below(self.streams.len() as u64) as usize;
            let side = self.random.below(2) as usize;
            let until_ms = self.now_ms + self.random.below(self.faults.stall_ms_max + 1);
            self.streams[stream].directions[side].stalled_until_ms = until_ms;
            self.streams[stream].stalled = true;
        }
        if self.chance(self.faults.restarts, 10_000) {
            let node = self.random.below(self.nodes.len() as u64) as usize;
            if self.nodes[node].up {
                self.restart(node);
            }
        }
        if self.chance(self.faults.reloads, 10_000) {
            let node = self.random.below(self.nodes.len() as u64) as usize;
            if self.nodes[node].up {
                self.reload(node);
            }
        }
    }

    fn cut_all_of(&mut self, index: usize) {
        for stream in 0..self.streams.len() {
            if self.streams[stream]
                .ends
                .iter()
                .any(|end| end.node == index)
            {
                self.cut(stream, "restart");
            }
        }
    }

    /// Cuts a node's connections; another process goes on at once with the tables as they are.
    pub fn reload(&mut self, index: usize) {
        self.log(|| format!("fault: n{index} is replaced"));
        self.cut_all_of(index);
        let pid = self.nodes[index].pid;
        self.nodes[index].group = self.make_group(index, pid, StartState::Complete);
        self.nodes[index].up = false;
        self.nodes[index].up_at_ms = self.now_ms;
        let now_ms = self.now_of(index);
        for table in &mut self.nodes[index].tables {
            let memory = table.memory_fd().try_clone_to_owned().unwrap();
            *table = Table::attach(memory, &table.spec().clone(), now_ms).unwrap();
        }
    }

    /// Updates that the sessions of a node have brought it.
    pub fn updates_received(&self, index: usize) -> u64 {
        let sessions = self.nodes[index].group.sessions();
        let received = sessions.map(|(_, session)| session.counters.updates_received);
        received.sum()
    }

    /// Cuts a node's connections; it starts anew and empty a little later.
    pub fn restart(&mut self, index: usize) {
        self.log(|| format!("fault: n{index} restarts"));
        self.cut_all_of(index);
        let mut node = self.make_node(index);
        node.up_at_ms += self.random.below(3_000);
        self.nodes[index] = node;
    }

    fn cut(&mut self, stream: usize, reason: &str) {
        let stream = &mut self.streams[stream];
        stream.gone = true;
        let ends = stream
            .ends
            .iter_mut()
            .filter_map(|end| Some((end.node, end.session.take()?)));
        for (node, session) in ends.collect::<Vec<_>>() {
            let now_ms = self.now_of(node);
            let node_state = &mut self.nodes[node];
            node_state.connections.retain(|(id, _)| *id != session);
            let reason = CloseReason::Connection(reason.into());
            node_state
                .group
                .disconnected(session, now_ms, &mut node_state.tables, reason);
            self.carry_out(node);
        }
    }

    /// One step: due timers, some bytes moved, then time goes on.
    fn step(&mut self, jump_ms_max: u64) {
        self.steps += 1;
        for node in 0..self.nodes.len() {
            if !self.nodes[node].up && self.nodes[node].up_at_ms <= self.now_ms {
                self.nodes[node].up = true;
                let now_ms = self.now_of(node);
                let state = &mut self.nodes[node];
                state.group.start(now_ms, &mut state.tables);
                self.log(|| format!("n{node} starts"));
            }
            if !self.nodes[node].up {
                continue;
            }
            let now_ms = self.now_of(node);
            let due = self.nodes[node].group.poll_timeout(now_ms);
            if due.is_some_and(|at_ms| at_ms <= now_ms) {
                let node_state = &mut self.nodes[node];
                node_state
                    .group
                    .handle_timeout(now_ms, &mut node_state.tables);
            }
            for table in &mut self.nodes[node].tables {
                table.expire(now_ms, 100);
            }
            self.carry_out(node);
        }
        for stream in 0..self.streams.len() {
            self.serve(stream);
        }
        self.streams.retain(|stream| !stream.gone);
        self.renumber();
        self.advance(jump_ms_max);
    }

    fn renumber(&mut self) {
        for node in &mut self.nodes {
            node.connections.clear();
        }
        for (index, stream) in self.streams.iter().enumerate() {
            for end in &stream.ends {
                if let Some(session) = end.session {
                    self.nodes[end.node].connections.push((session, index));
                }
            }
        }
    }

    fn advance(&mut self, jump_ms_max: u64) {
        let moving = self.streams.iter().any(|stream| {
            stream.directions.iter().any(|direction| {
                !direction.in_flight.is_empty() && direction.stalled_until_ms <= self.now_ms
            })
        });
        if moving {
            self.now_ms += self.random.below(3);
            return;
        }
        let timers = self.nodes.iter().filter(|node| node.up).filter_map(|node| {
            let now_ms = self.now_ms + node.ahead_ms;
            let at_ms = node.group.poll_timeout(now_ms)?;
            Some(at_ms.saturating_sub(node.ahead_ms))
        });
        let next_ms = timers.min().unwrap_or(u64::MAX);
        let limit_ms = self.now_ms + 1 + self.random.below(jump_ms_max);
        self.now_ms = next_ms.clamp(self.now_ms + 1, limit_ms);
    }

    fn carry_out(&mut self, node: usize) {
        while let Some(event) = self.nodes[node].group.poll_event() {
            self.log(|| format!("n{node}: {event}"));
            self.check_event(node, &event.text);
        }
        while let Some(action) = self.nodes[node].group.poll_action() {
            match action {
                Action::Dial { session, member } => {
                    let connected_at_ms = self.now_ms + self.random.below(40);
                    let refused_pct = self.faults.refused_pct;
                    let refused = self.chance(refused_pct, 100);
                    self.nodes[node]
                        .connections
                        .push((session, self.streams.len()));
                    self.streams.push(Stream {
                        ends: [
                            End {
                                node,
                                session: Some(session),
                            },
                            End {
                                node: member,
                                session: None,
                            },
                        ],
                        directions: Default::default(),
                        connected_at_ms,
                        pending: true,
                        refused,
                        stalled: false,
                        gone: false,
                    });
                }
                Action::Close { session, abort } => {
                    let Some(at) = self.nodes[node]
                        .connections
                        .iter()
                        .position(|(id, _)| *id == session)
                    else {
                        continue;
                    };
                    let (_, stream) = self.nodes[node].connections.remove(at);
                    let stream = &mut self.streams[stream];
                    let side = usize::from(stream.ends[1].session == Some(session));
                    assert_eq!(stream.ends[side].session, Some(session));
                    stream.ends[side].session = None;
                    let towards_peer = &mut stream.directions[1 - side];
                    towards_peer.closed = true;
                    if abort {
                        towards_peer.in_flight.clear();
                    }
                }
            }
        }
    }

    /// What no fault of the network explains.
    fn check_event(&mut self, node: usize, text: &str) {
        if text.contains(" is not the same here and there ") {
            self.alarms += 1;
        }
        let Some(peer) = text.strip_suffix(": it does not confirm the end of its lesson") else {
            return;
        };
        let between = self.streams.iter().find(|stream| {
            let [dialler, target] = &stream.ends;
            let nodes = [dialler.node, target.node].map(|node| format!("peer n{node}"));
            stream.ends.iter().any(|end| end.node == node)
                && nodes.iter().any(|name| name == peer)
                && !stream.pending
                && !stream.gone
        });
        assert!(
            between.is_none_or(|stream| stream.stalled),
            "seed {}: n{node}: {peer} did not confirm its lesson over a connection that never stalled",
            self.seed
        );
    }

    fn serve(&mut self, index: usize) {
        if self.streams[index].gone {
            return;
        }
        if self.streams[index].pending {
            if self.streams[index].connected_at_ms <= self.now_ms {
                self.finish_connect(index);
            }
            return;
        }
        let sides = if self.random.below(2) == 0 {
            [0, 1]
        } else {
            [1, 0]
        };
        for side in sides {
            self.write_out(index, side);
            self.deliver(index, side);
        }
        let stream = &mut self.streams[index];
        stream.gone |= stream.ends.iter().all(|end| end.session.is_none());
    }

    fn finish_connect(&mut self, index: usize) {
        let stream = &mut self.streams[index];
        stream.pending = false;
        let target = stream.ends[1].node;
        let Some(session) = stream.ends[0].session else {
            stream.gone = true;
            return;
        };
        let isolated = self
            .isolated
            .is_some_and(|node| stream.ends.iter().any(|end| end.node == node));
        if stream.refused || isolated || !self.nodes[target].up {
            return self.cut(index, "refused");
        }
        let now_ms = self.now_of(target);
        let node = &mut self.nodes[target];
        let Some(accepted) = node.group.accepted(now_ms, &mut node.tables) else {
            return self.cut(index, "closed");
        };
        node.connections.push((accepted, index));
        self.streams[index].ends[1].session = Some(accepted);
        let dialler = self.streams[index].ends[0].node;
        self.nodes[dialler].group.connected(session);
    }

    /// The session of `side` writes what fits into the stream.
    fn write_out(&mut self, index: usize, side: usize) {
        let stream = &mut self.streams[index];
        let (Some(session), node) = (stream.ends[side].session, stream.ends[side].node) else {
            return;
        };
        let direction = &mut stream.directions[1 - side];
        if direction.in_flight.len() >= STREAM_BYTES {
            return;
        }
        let mut out = [0; 16 * 1024];
        let room = if self.random.below(4) == 0 {
            64 + self.random.below(1000) as usize
        } else {
            out.len()
        };
        let now_ms = self.now_ms + self.nodes[node].ahead_ms;
        let node_state = &mut self.nodes[node];
        let count =
            node_state
                .group
                .poll_output(session, &mut out[..room], now_ms, &mut node_state.tables);
        direction.in_flight.extend(&out[..count]);
        self.carry_out(node);
    }

    /// Some of what is in flight reaches the session of `side`.
    fn deliver(&mut self, index: usize, side: usize) {
        let stream = &mut self.streams[index];
        let direction = &mut stream.directions[side];
        if direction.stalled_until_ms > self.now_ms {
            return;
        }
        let available = direction
            .in_flight
            .len()
            .min(INPUT_BYTES - direction.received.len());
        let count = match self.random.below(3) {
            0 => (1 + self.random.below(30) as usize).min(available),
            1 => self.random.below(available as u64 + 1) as usize,
            _ => available,
        };
        direction
            .received
            .extend(direction.in_flight.drain(..count));
        let node = stream.ends[side].node;
        let Some(session) = stream.ends[side].session else {
            direction.received.clear();
            return;
        };
        let now_ms = self.now_ms + self.nodes[node].ahead_ms;
        let node_state = &mut self.nodes[node];
        let consumed = node_state.group.handle_input(
            session,
            &direction.received,
            now_ms,
            &mut node_state.tables,
        );
        direction.received.drain(..consumed.bytes);
        let ended = direction.closed && direction.in_flight.is_empty() && !consumed.more;
        self.carry_out(node);
        if ended {
            self.cut(index, "closed by the peer");
        }
    }

    // Tables.

    fn key(&mut self, table: usize, number: u64) -> Vec<u8> {
        match table {
            0 => format!("session-{number}").into_bytes(),
            _ => (number as u32).to_be_bytes().to_vec(),
        }
    }

    fn write(&mut self) {
        let table = self.random.below(2) as usize;
        let number = self.random.below(self.faults.keys);
        let node = if self.faults.single_writer {
            (number % self.nodes.len() as u64) as usize
        } else {
            self.random.below(self.nodes.len() as u64) as usize
        };
        if self.nodes[node].up && self.place_of(node, table).is_some() {
            let key = self.key(table, number);
            if self.random.below(100) < self.faults.deletes_pct {
                self.delete(node, table, &key);
            } else {
                self.write_to(node, table, key);
            }
        }
    }

    /// Deletes a key on a node, as `clear table` does.
    pub fn delete(&mut self, node: usize, table: usize, key: &[u8]) {
        let now_ms = self.now_of(node);
        let Some(place) = self.place_of(node, table) else {
            return;
        };
        let stick = &mut self.nodes[node].tables[place];
        let spec = stick.spec().clone();
        let key = Key::new(&spec, key).unwrap();
        if let Some(entry) = stick.lookup(key, now_ms) {
            assert!(stick.delete(entry, now_ms), "nobody refers to it");
            self.log(|| format!("n{node} deletes {key:?} in table {table}"));
        }
    }

    /// Nobody reaches a node any more, or (`None`) everybody reaches everybody again.
    pub fn isolate(&mut self, node: Option<usize>) {
        self.isolated = node;
        if let Some(node) = node {
            self.cut_all_of(node);
        }
    }

    /// Writes a new value for a key on a node.
    pub fn write_to(&mut self, node: usize, table: usize, key: Vec<u8>) {
        let value = self.next_value;
        self.next_value += 1;
        let now_ms = self.now_of(node);
        let Some(place) = self.place_of(node, table) else {
            return;
        };
        let stick = &mut self.nodes[node].tables[place];
        let Some(found) = Key::new(stick.spec(), &key) else {
            panic!("a key of ours");
        };
        let (entry, known) = match stick.lookup_or_insert(found, now_ms) {
            Some(Inserted::Found(entry)) => (entry, true),
            Some(Inserted::New(entry)) => (entry, false),
            None => return,
        };
        let forgotten = self.faults.planted == Some(Fault::LearntNeverAnnounced)
            && known
            && stick.update_id(entry).is_none();
        stick.set_server(entry, value as i32, Some(name_of(value).as_bytes()));
        stick.set_value(entry, DataType::Gpc0, 0, value);
        if forgotten {
            stick.touch(entry, now_ms);
        } else {
            stick.touch_local(entry, now_ms);
        }
        self.log(|| {
            format!(
                "n{node} writes {} := {value} in table {table}",
                key.escape_ascii()
            )
        });
        self.latest.insert((table, key.clone()), value);
        self.written.insert((table, key, value));
    }

    /// Every key that somebody holds is written once more, by somebody who holds it.
    pub fn settle_conflicts(&mut self) {
        for table in 0..2 {
            let mut holders: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
            for node in 0..self.nodes.len() {
                for key in self.snapshot(node, table).into_keys() {
                    holders.entry(key).or_default().push(node);
                }
            }
            for (key, nodes) in holders {
                let node = nodes[self.random.below(nodes.len() as u64) as usize];
                self.write_to(node, table, key);
            }
        }
    }

    /// A table's entries. Panics if a value was never written for its key, or its parts do not belong together.
    pub fn snapshot(&self, node: usize, table: usize) -> Snapshot {
        let mut entries = Snapshot::new();
        let now_ms = self.now_of(node);
        let Some(place) = self.place_of(node, table) else {
            return entries;
        };
        let stick = &self.nodes[node].tables[place];
        let mut cursor = Some(0);
        while let Some(at) = cursor {
            let mut scan = stick.scan(at, 1000, now_ms);
            let found: Vec<EntryIndex> = (&mut scan).collect();
            cursor = scan.next_cursor();
            for entry in found {
                let key = stick.key(entry).as_bytes().to_vec();
                let value = stick.value(entry, DataType::Gpc0, 0).unwrap();
                let (server_id, server_key) = stick.server(entry);
                let whose = format!(
                    "seed {}: {} table {table} key {}",
                    self.seed,
                    self.nodes[node].name,
                    key.escape_ascii()
                );
                assert_eq!(server_id as u64, value, "{whose}: parts of two writes");
                assert_eq!(
                    server_key.map(|key| String::from_utf8_lossy(key).into_owned()),
                    Some(name_of(value)),
                    "{whose}: the name of another server than {value}"
                );
                assert!(
                    self.written.contains(&(table, key.clone(), value)),
                    "{whose}: {value} was never written"
                );
                entries.insert(key, value);
            }
        }
        entries
    }

    /// Checks the tables' structures and that nothing was invented.
    pub fn assert_sound(&self) {
        for node in 0..self.nodes.len() {
            for table in 0..2 {
                self.snapshot(node, table);
            }
            for table in &self.nodes[node].tables {
                if let Err(error) = table.check_invariants() {
                    let name = &table.spec().name;
                    panic!("seed {}: n{node} table {name}: {error}", self.seed);
                }
            }
        }
    }

    /// All nodes hold the same entries with the same values, and nobody waits for an ack.
    pub fn assert_tables_equal(&self) {
        self.assert_sound();
        for node in &self.nodes {
            let pending = node.group.pending_updates(&node.tables);
            assert_eq!(
                pending, 0,
                "seed {}: {} waits for acks that never come",
                self.seed, node.name
            );
        }
        for table in 0..2 {
            let first = self.snapshot(0, table);
            for node in 1..self.nodes.len() {
                if self.place_of(node, table).is_none() {
                    continue;
                }
                let other = self.snapshot(node, table);
                if let Some(text) = difference(&first, &other) {
                    panic!(
                        "seed {}: table {table} differs after {} steps: n0 {}, n{node} {}; {text}",
                        self.seed,
                        self.steps,
                        first.len(),
                        other.len()
                    );
                }
            }
        }
    }

    /// Nodes that know the extension hold the same, and know that they do.
    pub fn assert_agreement(&self) {
        self.assert_sound();
        let knows = |node: usize| self.faults.plain >> node & 1 == 0;
        let nodes: Vec<usize> = (0..self.nodes.len()).filter(|&node| knows(node)).collect();
        for table in 0..2 {
            let mut holders = nodes.iter().copied();
            let mut holders = holders
                .by_ref()
                .filter(|&node| self.place_of(node, table).is_some());
            let Some(first) = holders.next() else {
                continue;
            };
            let held = self.snapshot(first, table);
            for node in holders {
                if let Some(text) = difference(&held, &self.snapshot(node, table)) {
                    panic!(
                        "seed {}: table {table} differs after {} steps on n{first} and n{node}; {text}",
                        self.seed, self.steps
                    );
                }
            }
        }
        for &node in &nodes {
            for &peer in nodes.iter().filter(|&&peer| peer != node) {
                self.assert_in_sync(node, peer);
            }
        }
    }

    fn assert_in_sync(&self, node: usize, peer: usize) {
        for table in 0..2 {
            let (Some(place), Some(_)) = (self.place_of(node, table), self.place_of(peer, table))
            else {
                continue;
            };
            let verdict = self.nodes[node]
                .group
                .in_sync(peer, place, self.now_of(node));
            let is_complete = |node: usize| {
                let place = self.place_of(node, table);
                place.is_some_and(|place| {
                    self.nodes[node].tables[place].is_complete(self.now_of(node))
                })
            };
            let expected = is_complete(node) && is_complete(peer);
            assert_eq!(
                verdict,
                if expected { "yes" } else { "unknown" },
                "seed {}: n{node} on n{peer}, table {table}",
                self.seed
            );
        }
    }

    /// Every node holds what was written last for each key. Only where each key has one writer, which loses nothing.
    pub fn assert_last_writes_won(&self) {
        let may_differ = self.faults.planted.is_some() || self.faults.restarts > 0;
        assert!(
            may_differ || self.alarms == 0,
            "seed {}: {} disagreements, and nothing was lost",
            self.seed,
            self.alarms
        );
        for node in 0..self.nodes.len() {
            let held = [0, 1].map(|table| self.snapshot(node, table));
            for ((table, key), value) in &self.latest {
                if self.place_of(node, *table).is_none() {
                    continue;
                }
                let found = held[*table].get(key);
                assert_eq!(
                    found,
                    Some(value),
                    "seed {}: n{node} table {table} key {}: not what was written last",
                    self.seed,
                    key.escape_ascii()
                );
            }
        }
    }

    /// Entries that the first node holds.
    pub fn entry_count(&self) -> usize {
        (0..2).map(|table| self.snapshot(0, table).len()).sum()
    }
}

fn difference(first: &Snapshot, other: &Snapshot) -> Option<String> {
    let keys: HashSet<&Vec<u8>> = first.keys().chain(other.keys()).collect();
    let mut keys: Vec<_> = keys.into_iter().collect();
    keys.sort();
    keys.into_iter()
        .find(|key| first.get(*key) != other.get(*key))
        .map(|key| {
            format!(
                "key {}: {:?} and {:?}",
                key.escape_ascii(),
                first.get(key),
                other.get(key)
            )
        })
}

/// More names than a dictionary has slots, so that slots are used again.
fn name_of(value: u64) -> String {
    format!("server-{}", value % 300)
}
