//! The three nodes of the article: its configuration, moved to loopback addresses.

use std::net::{Ipv4Addr, SocketAddr};

use super::{Origin, Program, Proxy, free_port, unique_loopback};

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
