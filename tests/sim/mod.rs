//! A simulated network of peers: the real groups, sessions and tables, over byte streams and a clock that a seed drives.
//!
//! TCP loses nothing, so the faults are those that it leaves: bytes arrive in pieces and late, streams stall, connections
//! are refused, cut, and made from both ends at once, processes restart empty, or go on with the tables that they had (a reload,
//! or a death). The same seed gives the same run.
//!
//! Every write stores a number that no other write stores, in `server_id`, `gpc0` and, as a name made from it, in
//! `server_key`: so a value on any node tells whether it was ever written for its key, and whether its parts belong
//! together.

mod checks;
mod streams;
mod writes;

use std::collections::{BTreeMap, HashSet, VecDeque};

use burdock::net::Address;
use burdock::peers::fault::Fault;
use burdock::peers::group::{Group, Random, SessionId, Settings, StartState};
use burdock::peers::{MemberSpec, PeersSpec};
use burdock::stick::spec::ServerKeyKind;
use burdock::stick::{DataType, KeyType, StoredType, Table, TableSpec};

/// Bytes that a direction of a stream holds.
const STREAM_BYTES: usize = 8 * 1024;
const INPUT_BYTES: usize = 32 * 1024;
const OUTPUT_BYTES: usize = 16 * 1024;

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
    /// Parts that keys are spread over: n1 is sent the first one, n2 the second …, each `shards + 1`th node all. 0: all nodes are.
    pub shards: u32,
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
    /// Those of the group, and behind them processes that teach their successors.
    nodes: Vec<Node>,
    streams: Vec<Stream>,
    /// What a session writes, on its way into a stream; made once, as clearing it each time would be a fifth of all work.
    output: Vec<u8>,
    next_value: u64,
    /// All values ever written, by table and key.
    written: HashSet<(usize, Vec<u8>, u64)>,
    /// When each value was written; no two writes have the same.
    written_ms: BTreeMap<u64, u64>,
    /// The last of them.
    latest: BTreeMap<(usize, Vec<u8>), u64>,
    /// Nobody reaches this node.
    isolated: Option<usize>,
    /// Disagreements that nodes reported, and that nothing explains.
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
            output: vec![0; OUTPUT_BYTES],
            next_value: 1,
            written: HashSet::new(),
            written_ms: BTreeMap::new(),
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
                    shard: self.shard_of(member),
                    address: Some(Address::Abstract(format!("n{member}").into_bytes())),
                    ..MemberSpec::default()
                })
                .collect(),
            tables: (0..table_specs(&self.faults, index).len()).collect(),
            shards: self.faults.shards,
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

    /// The part of the keys that a node is sent; 0: all.
    fn shard_of(&self, node: usize) -> u32 {
        node as u32 % (self.faults.shards + 1)
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
        // An update that circulates for ever takes little time; many nodes that repair one table after the other take a while.
        let steps_max = self.steps + 25_000 * self.faults.nodes.max(2) as u64;
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

    /// Faults begin again.
    pub fn break_again(&mut self) {
        self.healed = false;
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
        let mut nodes = self.nodes[..self.faults.nodes].iter().enumerate();
        nodes.all(|(index, node)| {
            node.up && node.group.is_up_to_date() && !self.misses_a_node(index)
        })
    }

    /// Whether a node has no established session with one of the others.
    fn misses_a_node(&self, node: usize) -> bool {
        let sessions = self.nodes[node].group.sessions();
        let established = sessions.filter(|(_, session)| session.is_established());
        established.count() < self.faults.nodes - 1
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
            let node = self.random.below(self.faults.nodes as u64) as usize;
            if self.nodes[node].up {
                self.restart(node);
            }
        }
        if self.chance(self.faults.reloads, 10_000) {
            let node = self.random.below(self.faults.nodes as u64) as usize;
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

    /// A new process takes a node's place with empty tables, as with `-sf`: the old one finishes, and teaches it through the local
    /// peer. It goes on as a node of its own, which nobody dials.
    pub fn succeed(&mut self, index: usize) {
        self.log(|| format!("fault: n{index} has a successor"));
        self.cut_all_of(index);
        let mut successor = self.make_node(index);
        let pid = successor.pid;
        successor.group = self.make_group(index, pid, StartState::Predecessor);
        successor.up_at_ms = self.now_ms;
        let now_ms = self.now_of(index);
        let mut old = std::mem::replace(&mut self.nodes[index], successor);
        old.group.soft_stop(now_ms, &mut old.tables);
        self.nodes.push(old);
        self.carry_out(self.nodes.len() - 1);
    }

    /// Whether all processes that were succeeded have finished.
    pub fn has_finished(&self) -> bool {
        let mut old = self.nodes[self.faults.nodes..].iter();
        old.all(|node| node.group.is_stopped())
    }

    /// Cuts a node's connections; it starts anew and empty a little later.
    pub fn restart(&mut self, index: usize) {
        self.log(|| format!("fault: n{index} restarts"));
        self.cut_all_of(index);
        let mut node = self.make_node(index);
        node.up_at_ms += self.random.below(3_000);
        self.nodes[index] = node;
    }
}

/// More names than a dictionary has slots, so that slots are used again.
fn name_of(value: u64) -> String {
    format!("server-{}", value % 300)
}
