//! Load balancing: which server gets a new session (configuration manual, "balance").
//!
//! Invariant: `usable` holds exactly the servers that may be chosen: all usable active servers, or, when there is
//! none, the first usable backup (all of them with `option allbackups`). `refresh` restores it after each change of
//! a server's state or weight; no pick looks at a server outside it.

use std::net::IpAddr;

use super::server::Server;
use crate::config::model::Balance;

/// Balancing state of a backend.
#[derive(Debug, Default)]
pub struct Balancer {
    algorithm: Balance,
    all_backups: bool,
    /// Indices of the servers that may be chosen.
    usable: Vec<usize>,
    /// One server index for each unit of weight, for `balance source` and `static-rr`.
    map: Vec<u16>,
    /// Place of the map whose turn it is in `static-rr`.
    next_place: usize,
    /// Number of usable active servers.
    active: usize,
    /// Number of usable backup servers.
    backup: usize,
    weight_total: u32,
    picks: u64,
}

/// What a pick yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// This server.
    Server(usize),
    /// All usable servers are full: wait.
    AllFull,
    /// No usable server.
    NoServer,
}

impl Balancer {
    /// Balances over `servers`.
    pub fn new(algorithm: Balance, all_backups: bool, servers: &mut [Server]) -> Balancer {
        let mut balancer = Balancer {
            algorithm,
            all_backups,
            ..Balancer::default()
        };
        balancer.refresh(servers);
        balancer
    }

    /// The algorithm in force.
    pub fn algorithm(&self) -> &Balance {
        &self.algorithm
    }

    /// Number of usable servers: active, backup.
    pub fn usable_counts(&self) -> (usize, usize) {
        (self.active, self.backup)
    }

    /// Whether `server` is among those that may be chosen. A backup is not while an active server is usable.
    pub fn may_choose(&self, server: usize) -> bool {
        self.usable.contains(&server)
    }

    /// Sum of the weights of the servers in use.
    pub fn weight_total(&self) -> u32 {
        self.weight_total
    }

    /// Must be called after each change of a server's state or weight.
    pub fn refresh(&mut self, servers: &mut [Server]) {
        let usable_of = |backup: bool| {
            servers
                .iter()
                .enumerate()
                .filter(move |(_, server)| server.is_usable() && server.spec.backup == backup)
        };
        self.active = usable_of(false).count();
        self.backup = usable_of(true).count();
        self.usable.clear();
        if self.active > 0 {
            self.usable.extend(usable_of(false).map(|(index, _)| index));
        } else {
            let backups_max = if self.all_backups { usize::MAX } else { 1 };
            self.usable
                .extend(usable_of(true).map(|(index, _)| index).take(backups_max));
        }
        self.weight_total = self.usable.iter().map(|&index| servers[index].weight).sum();
        if matches!(self.algorithm, Balance::Source | Balance::StaticRoundRobin) {
            self.fill_map(servers);
        }
    }

    /// Chooses a server with a free place, other than `avoided` if there is another.
    pub fn pick(
        &mut self,
        servers: &mut [Server],
        source: Option<IpAddr>,
        avoided: Option<usize>,
        is_full: impl Fn(&Server) -> bool,
    ) -> Pick {
        if self.usable.is_empty() {
            return Pick::NoServer;
        }
        self.picks += 1;
        let avoided = avoided.filter(|_| self.usable.len() > 1);
        let chosen = match self.algorithm {
            Balance::Source => self.by_source(servers, source, avoided, &is_full),
            Balance::LeastConn => self.least_loaded(servers, avoided, &is_full),
            Balance::First => self
                .usable
                .iter()
                .copied()
                .find(|&index| Some(index) != avoided && !is_full(&servers[index])),
            Balance::StaticRoundRobin => self.by_map(servers, avoided, &is_full),
            Balance::RoundRobin => self.round_robin(servers, avoided, &is_full),
        };
        match chosen {
            Some(index) => {
                servers[index].last_pick = self.picks;
                Pick::Server(index)
            }
            None => Pick::AllFull,
        }
    }

    /// Smooth weighted round robin: over any `weight_total` picks each server gets its weight, spread evenly.
    fn round_robin(
        &self,
        servers: &mut [Server],
        avoided: Option<usize>,
        is_full: &impl Fn(&Server) -> bool,
    ) -> Option<usize> {
        let mut best: Option<usize> = None;
        let mut offered: i64 = 0;
        for &index in &self.usable {
            let server = &mut servers[index];
            if Some(index) == avoided || is_full(server) {
                continue;
            }
            offered += i64::from(server.weight);
            server.credit += i64::from(server.weight);
            if best.is_none_or(|best| servers[index].credit > servers[best].credit) {
                best = Some(index);
            }
        }
        if let Some(best) = best {
            servers[best].credit -= offered;
        }
        best
    }

    fn least_loaded(
        &self,
        servers: &[Server],
        avoided: Option<usize>,
        is_full: &impl Fn(&Server) -> bool,
    ) -> Option<usize> {
        self.usable
            .iter()
            .copied()
            .filter(|&index| Some(index) != avoided && !is_full(&servers[index]))
            .min_by(|&a, &b| {
                let load = |server: &Server| u64::from(server.sessions) + server.queue.len() as u64;
                let (a, b) = (&servers[a], &servers[b]);
                // a / wa < b / wb without dividing.
                (load(a) * u64::from(b.weight))
                    .cmp(&(load(b) * u64::from(a.weight)))
                    .then(a.last_pick.cmp(&b.last_pick))
            })
    }

    /// The same source goes to the same server while the set of usable servers stays.
    fn by_source(
        &mut self,
        servers: &mut [Server],
        source: Option<IpAddr>,
        avoided: Option<usize>,
        is_full: &impl Fn(&Server) -> bool,
    ) -> Option<usize> {
        let Some(source) = source else {
            return self.round_robin(servers, avoided, is_full);
        };
        let chosen = usize::from(self.map[source_hash(source) as usize % self.map.len()]);
        if Some(chosen) == avoided {
            return self.round_robin(servers, avoided, is_full);
        }
        (!is_full(&servers[chosen])).then_some(chosen)
    }

    /// Spreads the weights over one place a unit of weight: each place goes to the server that lags furthest behind its
    /// share, in whole places, the first one declared among equals. HAProxy's maps come out the same (compared), so
    /// nodes of both kinds send a source to the same server.
    fn fill_map(&mut self, servers: &[Server]) {
        self.map.clear();
        self.next_place = 0;
        let total = i64::from(self.weight_total);
        let mut given = vec![0i64; self.usable.len()];
        for places in 1..=total {
            let lag = |position: usize| {
                places * i64::from(servers[self.usable[position]].weight) / total - given[position]
            };
            let best = (1..self.usable.len()).fold(0, |best, position| {
                if lag(position) > lag(best) {
                    position
                } else {
                    best
                }
            });
            given[best] += 1;
            self.map.push(self.usable[best] as u16);
        }
    }

    /// `static-rr`: the places of the map one after the other.
    fn by_map(
        &mut self,
        servers: &[Server],
        avoided: Option<usize>,
        is_full: &impl Fn(&Server) -> bool,
    ) -> Option<usize> {
        for _ in 0..self.map.len() {
            let chosen = usize::from(self.map[self.next_place]);
            self.next_place = (self.next_place + 1) % self.map.len();
            if Some(chosen) != avoided && !is_full(&servers[chosen]) {
                return Some(chosen);
            }
        }
        None
    }
}

/// The words of the address in network order, folded together.
fn source_hash(source: IpAddr) -> u32 {
    match source {
        IpAddr::V4(address) => u32::from(address),
        IpAddr::V6(address) => {
            let bits = u128::from(address);
            (0..4).fold(0, |hash, word| hash ^ (bits >> (32 * word)) as u32)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Server;
    use crate::config::model;
    use crate::net::Address;
    use std::rc::Rc;

    fn servers(weights: &[(u32, bool)]) -> Vec<Server> {
        let server = |(position, &(weight, backup)): (usize, &(u32, bool))| {
            let spec = model::Server {
                name: format!("s{position}"),
                id: position as u32 + 1,
                id_forced: false,
                pos: model::Pos {
                    file: "test".into(),
                    line: 1,
                },
                address: Address::Inet("127.0.0.1:80".parse().unwrap()),
                port: model::ServerPort::Fixed,
                weight,
                cookie: None,
                dynamic_cookie_key: None,
                maxconn: 0,
                minconn: 0,
                maxqueue: 0,
                backup,
                disabled: false,
                check: None,
                source: None,
                send_proxy: None,
                fast_open: false,
                pool_max: None,
                pool_purge_ms: 5000,
            };
            Server::new(Rc::new(spec), 0)
        };
        weights.iter().enumerate().map(server).collect()
    }

    fn picks(algorithm: Balance, weights: &[(u32, bool)], count: usize) -> Vec<usize> {
        let mut servers = servers(weights);
        let mut balancer = Balancer::new(algorithm, false, &mut servers);
        let pick = |_| match balancer.pick(&mut servers, None, None, |_| false) {
            Pick::Server(index) => {
                servers[index].sessions += 1;
                index
            }
            other => panic!("{other:?}"),
        };
        (0..count).map(pick).collect()
    }

    #[test]
    fn round_robin_spreads_by_weight() {
        assert_eq!(
            picks(Balance::RoundRobin, &[(1, false), (1, false)], 4),
            [0, 1, 0, 1]
        );
        let chosen = picks(
            Balance::RoundRobin,
            &[(3, false), (1, false), (0, false), (5, true)],
            8,
        );
        assert_eq!(
            [0, 1, 2, 3].map(|server| chosen.iter().filter(|&&s| s == server).count()),
            [6, 2, 0, 0]
        );
    }

    #[test]
    fn static_round_robin_spreads_as_haproxy_does() {
        let check = |weights: &[u32], expected: &[usize]| {
            let weights: Vec<(u32, bool)> = weights.iter().map(|&weight| (weight, false)).collect();
            assert_eq!(
                picks(Balance::StaticRoundRobin, &weights, expected.len()),
                expected
            );
        };
        check(&[2, 1], &[0, 0, 1]);
        check(&[1, 2], &[0, 1, 1]);
        check(&[3, 1, 2], &[0, 0, 2, 0, 1, 2]);
        check(&[5, 1, 1], &[0, 0, 0, 1, 0, 0, 2]);
        check(&[1, 1, 2], &[0, 2, 1, 2]);
        check(&[1, 2, 3], &[0, 2, 1, 2, 1, 2]);
        check(&[4, 3, 2], &[0, 1, 0, 1, 2, 0, 0, 1, 2, 0]);
    }

    #[test]
    fn least_loaded_by_weight_then_least_recent() {
        assert_eq!(
            picks(Balance::LeastConn, &[(1, false), (2, false)], 6),
            [0, 1, 1, 0, 1, 1]
        );
    }

    #[test]
    fn backups_serve_only_when_no_active_server_does() {
        let mut servers = servers(&[(1, false), (1, true), (1, true)]);
        let mut balancer = Balancer::new(Balance::RoundRobin, false, &mut servers);
        assert_eq!(
            balancer.pick(&mut servers, None, None, |_| false),
            Pick::Server(0)
        );
        servers[0].health = crate::backend::Health::Stopped;
        balancer.refresh(&mut servers);
        for _ in 0..3 {
            assert_eq!(
                balancer.pick(&mut servers, None, None, |_| false),
                Pick::Server(1)
            );
        }
        assert_eq!(
            balancer.pick(&mut servers, None, None, |_| true),
            Pick::AllFull
        );
        servers
            .iter_mut()
            .for_each(|server| server.health = crate::backend::Health::Stopped);
        balancer.refresh(&mut servers);
        assert_eq!(
            balancer.pick(&mut servers, None, None, |_| false),
            Pick::NoServer
        );
    }

    #[test]
    fn a_source_keeps_its_server() {
        let mut servers = servers(&[(1, false), (1, false)]);
        let mut balancer = Balancer::new(Balance::Source, false, &mut servers);
        for (source, expected) in [("127.0.0.1", 1), ("127.0.0.2", 0), ("127.0.0.1", 1)] {
            let source = source.parse().ok();
            assert_eq!(
                balancer.pick(&mut servers, source, None, |_| false),
                Pick::Server(expected)
            );
        }
    }
}
