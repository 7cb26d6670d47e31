//! A server's running state.

use std::net::IpAddr;
use std::rc::Rc;

use super::check_report::CheckReport;
use super::counters::ServerCounters;
use super::queue::Queue;
use super::readiness::Readiness;
use crate::config::model;
use crate::net::Address;
use crate::sample::hash::xxh64;

/// Largest weight that a server can have.
pub const WEIGHT_MAX: u32 = 256;

/// What the health checks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Health {
    /// Down.
    Stopped = 0,
    /// Coming up (slow start).
    Starting = 1,
    /// Up.
    Running = 2,
    /// Up, but takes no new sessions but sticky ones.
    Stopping = 3,
}

/// What operators say: the flags of `srv_admin_state` in `show servers state` (management manual).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Admin(pub u8);

impl Admin {
    /// Maintenance by the stats socket.
    pub const FORCED_MAINTENANCE: u8 = 0x01;
    /// Maintenance by `disabled` in the configuration. It only tells why a server was forced into maintenance at start, and
    /// stays when the server leaves it.
    pub const CONFIGURED_MAINTENANCE: u8 = 0x04;
    /// Drain by the stats socket.
    pub const FORCED_DRAIN: u8 = 0x08;

    /// Whether the server is in maintenance, for whatever reason.
    pub fn is_maintenance(self) -> bool {
        self.0 & Admin::FORCED_MAINTENANCE != 0
    }

    /// Whether the server drains: sticky sessions only.
    pub fn is_drain(self) -> bool {
        self.0 & Admin::FORCED_DRAIN != 0
    }
}

/// A server of a backend.
#[derive(Debug)]
pub struct Server {
    /// As the configuration declares it.
    pub spec: Rc<model::Server>,
    /// Where connections go; may be changed on the stats socket.
    pub address: Address,
    /// The address as `srvkey addr` stores it.
    pub address_text: String,
    /// Grows with each change of the address: connections made before lead elsewhere.
    pub address_version: u32,
    /// Meaning of the port.
    pub port: model::ServerPort,
    /// Its name in persistence cookies.
    pub cookie: Option<Box<str>>,
    /// By the health checks. Change it with `Backend::set_health`.
    pub health: Health,
    /// By the operator. Change it with `Backend::set_admin`.
    pub admin: Admin,
    /// Weight in force. Change it with `Backend::set_weight`.
    pub weight: u32,
    /// `maxconn` in force; 0: no limit.
    pub maxconn: u32,
    /// Sessions that hold a place on the server.
    pub sessions: u32,
    /// Most sessions at once so far.
    pub sessions_max: u32,
    /// Streams that wait for this server and no other.
    pub queue: Queue,
    /// Idle connections kept to it.
    pub idle_connections: u32,
    /// Whether it accepts connections as soon as they are asked for.
    pub readiness: Readiness,
    /// Monotonic time of the last change between up and down.
    pub last_change_ms: u64,
    /// What the health checks said last.
    pub check: CheckReport,
    /// Counters for `show stat`.
    pub counters: ServerCounters,
    /// Smooth weighted round robin: grows by the weight each turn, falls by the total when chosen.
    pub(super) credit: i64,
    /// When it was last chosen, in picks; breaks ties.
    pub(super) last_pick: u64,
}

impl Server {
    /// The state at start: up until a check says otherwise, as HAProxy does.
    pub fn new(spec: Rc<model::Server>, now_ms: u64) -> Server {
        let admin = Server::declared_admin(&spec);
        Server {
            address: spec.address.clone(),
            address_text: text_of(&spec.address),
            address_version: 0,
            port: spec.port.clone(),
            cookie: cookie_of(&spec, &spec.address),
            health: if spec.disabled {
                Health::Stopped
            } else {
                Health::Running
            },
            admin,
            weight: spec.weight,
            maxconn: spec.maxconn,
            sessions: 0,
            sessions_max: 0,
            queue: Queue::default(),
            readiness: Readiness::new(),
            idle_connections: 0,
            last_change_ms: now_ms,
            check: CheckReport::new(&spec),
            counters: ServerCounters::default(),
            credit: 0,
            last_pick: 0,
            spec,
        }
    }

    /// What the configuration says in the operator's place.
    pub fn declared_admin(spec: &model::Server) -> Admin {
        if spec.disabled {
            Admin(Admin::FORCED_MAINTENANCE | Admin::CONFIGURED_MAINTENANCE)
        } else {
            Admin::default()
        }
    }

    /// Changes where connections go.
    pub fn set_address(&mut self, address: Address, port: model::ServerPort) {
        self.address_text = text_of(&address);
        self.cookie = cookie_of(&self.spec, &address);
        self.address = address;
        self.address_version = self.address_version.wrapping_add(1);
        self.port = port;
    }

    /// Where a command has moved it, if it has.
    pub(super) fn moved_address(&self) -> Option<super::MovedAddress> {
        let is_declared = self.address == self.spec.address && self.port == self.spec.port;
        match self.address {
            Address::Inet(address) if !is_declared => Some(super::MovedAddress {
                address,
                port: self.port.clone(),
            }),
            _ => None,
        }
    }

    /// Whether it may receive sessions at all: up and not in maintenance.
    pub fn is_up(&self) -> bool {
        self.health != Health::Stopped && !self.admin.is_maintenance()
    }

    /// Whether the load balancing may choose it: up, with a weight, not draining.
    pub fn is_usable(&self) -> bool {
        self.is_up() && self.weight > 0 && !self.admin.is_drain() && self.health != Health::Stopping
    }
}

/// The name of a server in cookies: the given one, or one that follows from its address and the key of its backend.
fn cookie_of(spec: &model::Server, address: &Address) -> Option<Box<str>> {
    let dynamic = || dynamic_cookie(spec.dynamic_cookie_key.as_deref()?, address);
    spec.cookie.clone().or_else(dynamic)
}

/// `cookie … dynamic`: a hash of key, address and port, as HAProxy makes it, so that nodes agree.
fn dynamic_cookie(key: &str, address: &Address) -> Option<Box<str>> {
    let Address::Inet(address) = address else {
        return None;
    };
    let mut bytes = key.as_bytes().to_vec();
    match address.ip() {
        IpAddr::V4(ip) => bytes.extend(ip.octets()),
        IpAddr::V6(ip) => bytes.extend(ip.octets()),
    }
    bytes.extend(u32::from(address.port()).to_be_bytes());
    Some(format!("{:016x}", xxh64(&bytes, 0)).into())
}

fn text_of(address: &Address) -> String {
    match address {
        Address::Inet(address) => address.to_string(),
        Address::Unix(path) => path.display().to_string(),
        Address::Abstract(name) => String::from_utf8_lossy(name).into_owned(),
        Address::Fd(fd) => fd.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_cookies_follow_from_the_address() {
        let check = |address: &str, expected: &str| {
            let address = address.parse().map(Address::Inet).unwrap();
            assert_eq!(
                dynamic_cookie("secret", &address).as_deref(),
                Some(expected)
            );
        };
        // as HAProxy 2.6 shows them
        check("127.0.0.1:80", "83fb1331509c7322");
        check("127.0.0.1:8080", "f22943d7bfe33914");
        check("[::1]:80", "acb2c8fe37035824");
    }
}
