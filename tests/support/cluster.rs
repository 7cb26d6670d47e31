//! The three nodes of the article: its configuration, moved to loopback addresses.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::{
    Answer, Origin, Program, Proxy, Response, eventually, free_port, get, unique_loopback,
    wait_until,
};

/// The article's configuration as operators have it, byte for byte.
pub const CONFIGURATION: &str = include_str!("../configs/three-nodes.cfg");

/// Three nodes in one peers group in front of given applications.
pub struct Cluster {
    /// The nodes `haproxy1` to `haproxy3`, in that order.
    pub nodes: Vec<Proxy>,
    /// Where each node's frontend listens.
    pub addresses: Vec<SocketAddr>,
    /// The configuration that each node was given, before `{dir}` was replaced.
    pub configuration: Vec<String>,
}

impl Cluster {
    /// Starts a node for each program given. The stick table can be changed with `edit`, which sees the text of each node.
    pub fn start(
        programs: [Program; 3],
        apps: &[&Origin; 2],
        edit: impl Fn(String) -> String,
    ) -> Cluster {
        let hosts: Vec<Ipv4Addr> = (0..3).map(|_| unique_loopback()).collect();
        let peer_ports: Vec<u16> = hosts.iter().map(|host| free_port(*host)).collect();
        let mut cluster = Cluster {
            nodes: Vec::new(),
            addresses: Vec::new(),
            configuration: Vec::new(),
        };
        for (index, program) in programs.into_iter().enumerate() {
            let address = SocketAddr::from((hosts[index], free_port(hosts[index])));
            let text = edit(moved(&hosts, &peer_ports, apps, address));
            let name = format!("haproxy{}", index + 1);
            cluster
                .nodes
                .push(Proxy::start_with(program, &text, &["-L", &name]));
            cluster.addresses.push(address);
            cluster.configuration.push(text);
        }
        cluster
    }

    /// Waits until every node serves requests and is connected to both others.
    pub fn wait_ready(&self) {
        for index in 0..self.nodes.len() {
            self.wait_serving(index);
        }
        let limit = Duration::from_secs(20);
        eventually("all peers to be connected", limit, || {
            let connected =
                |node: &Proxy| node.command("show peers").matches(" state=EST").count() == 2;
            self.nodes.iter().all(connected).then_some(())
        });
    }

    /// Waits until both servers of a node are up.
    pub fn wait_serving(&self, index: usize) {
        wait_until("both servers to be up", || {
            let up = |line: &str| line.starts_with("dynamic_group,app") && line.contains(",UP,");
            let stat = self.nodes[index]
                .stats()
                .try_command("show stat")
                .unwrap_or_default();
            stat.lines().filter(|line| up(line)).count() == 2
        });
    }

    /// A request to a node, with the cookie of a session if there is one.
    pub fn ask(&self, node: usize, session: Option<&str>) -> Response {
        let cookie = session.map(|session| format!("Cookie: PHPSESSID={session}"));
        let headers: Vec<&str> = cookie.as_deref().into_iter().collect();
        get(self.addresses[node], "/index.php", &headers)
    }

    /// Waits until these nodes have the same entries, `count` of them, and returns them.
    pub fn wait_equal(
        &self,
        nodes: &[usize],
        count: usize,
        limit: Duration,
    ) -> Vec<(String, String)> {
        let tables = || {
            nodes
                .iter()
                .map(|node| self.nodes[*node].stats().entries("dynamic_group"))
                .collect::<Vec<_>>()
        };
        eventually(
            &format!("{count} equal entries on nodes {nodes:?}"),
            limit,
            || {
                let all = tables();
                let agree = all
                    .iter()
                    .all(|table| table.len() == count && *table == all[0]);
                agree.then(|| all[0].clone())
            },
        )
    }
}

/// An application that keeps sessions in its own memory, as PHP does: its answer is `<name> <session> <hits>`. A request
/// without PHPSESSID gets a new session, one with it has that session honoured.
pub fn application(name: &str) -> Origin {
    Origin::start(sessions_of(name))
}

/// As [`application`], on the address of one that was stopped; its sessions are lost.
pub fn application_at(address: SocketAddr, name: &str) -> Origin {
    Origin::start_at(address, sessions_of(name))
}

fn sessions_of(name: &str) -> impl Fn(&super::Recorded) -> Answer + Send + Sync + 'static {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = name.to_string();
    let hits: Mutex<HashMap<String, u32>> = Mutex::default();
    move |request| {
        let known = request
            .header("cookie")
            .and_then(|line| line.strip_prefix("PHPSESSID="));
        let session = match known {
            Some(session) => session.to_string(),
            None => format!("session{:019}", NEXT.fetch_add(1, Ordering::Relaxed)),
        };
        let mut hits = hits.lock().unwrap();
        let count = hits.entry(session.clone()).or_insert(0);
        *count += 1;
        let body = format!("{name} {session} {count}");
        match known {
            Some(_) => Answer::ok(body, &[]),
            None => Answer::ok(body, &[&format!("Set-Cookie: PHPSESSID={session}; path=/")]),
        }
    }
}

/// The article's configuration with addresses, ports and paths that need no root and no machine of its own.
fn moved(hosts: &[Ipv4Addr], peer_ports: &[u16], apps: &[&Origin; 2], bind: SocketAddr) -> String {
    let mut text = CONFIGURATION.to_string();
    let published = ["192.168.100.59", "192.168.100.54", "192.168.100.42"];
    for (index, old) in published.iter().enumerate() {
        text = text.replace(
            &format!("{old}:12138"),
            &format!("{}:{}", hosts[index], peer_ports[index]),
        );
    }
    text = text.replace("192.168.100.60:80", &apps[0].address().to_string());
    text = text.replace("192.168.100.61:80", &apps[1].address().to_string());
    text = text.replace("*:80", &bind.to_string());
    text = text.replace("/var/run/haproxy.sock", "{dir}/stats.sock");
    // 20000 connections need 40000 descriptors, which not every machine that runs tests allows.
    text = text.replace("maxconn     20000", "maxconn     2000");
    let drop_words = ["chroot", "pidfile", "user", "group", "daemon"];
    text.lines()
        .filter(|line| !drop_words.contains(&line.split_whitespace().next().unwrap_or_default()))
        .map(|line| format!("{line}\n"))
        .collect()
}
