//! The article's three nodes, on loopback addresses: burdock alone, and mixed with the packaged HAProxy.
//!
//! What a loopback cluster cannot do (cutting a wire, exactly the published addresses) is in `scripts/cluster-netns.sh`.

pub mod support;

use std::time::Duration;

use support::Program::{Burdock, Haproxy};
use support::{Cluster, Origin, Program, application, application_at, wait_until};

/// Each test runs once in each of these groups.
const GROUPS: [[Program; 3]; 3] = [
    [Burdock, Burdock, Burdock],
    [Burdock, Haproxy, Burdock],
    [Haproxy, Burdock, Haproxy],
];

/// "The same entries everywhere within two seconds."
const AGREE_LIMIT: Duration = Duration::from_secs(2);

fn in_each_group(edit: impl Fn(String) -> String + Copy, test: impl Fn(Cluster, [Origin; 2])) {
    for programs in GROUPS {
        eprintln!("in the group {programs:?}:");
        let apps = [application("app1"), application("app2")];
        let cluster = Cluster::start(programs, &[&apps[0], &apps[1]], edit);
        cluster.wait_ready();
        test(cluster, apps);
    }
}

/// A client with a session: asks and checks that the session goes on where it began.
struct Walker {
    session: String,
    home: String,
    hits: u32,
}

impl Walker {
    fn start(cluster: &Cluster, node: usize) -> Walker {
        let answer = cluster.ask(node, None);
        assert_eq!(answer.status, 200);
        let text = answer.text();
        let mut words = text.split(' ').map(str::to_string);
        Walker {
            home: words.next().unwrap(),
            session: words.next().unwrap(),
            hits: 1,
        }
    }

    fn walk(&mut self, cluster: &Cluster, nodes: &[usize]) {
        for node in nodes {
            let answer = cluster.ask(*node, Some(&self.session));
            self.hits += 1;
            let expected = format!("{} {} {}", self.home, self.session, self.hits);
            assert_eq!(
                (answer.status, answer.text()),
                (200, expected),
                "at node {node}"
            );
        }
    }
}

#[test]
fn fifteen_clients_are_known_everywhere() {
    in_each_group(
        |text| text,
        |cluster, _apps| {
            for client in 0..15 {
                assert_eq!(cluster.ask(client % 3, None).status, 200);
            }
            let entries = cluster.wait_equal(&[0, 1, 2], 15, AGREE_LIMIT);
            for (_, data) in entries {
                assert!(
                    data == "server_id=1 server_key=app1" || data == "server_id=2 server_key=app2",
                    "{data}"
                );
            }
        },
    );
}

#[test]
fn a_session_stays_while_its_client_walks_and_a_node_dies() {
    in_each_group(
        |text| text,
        |mut cluster, _apps| {
            let mut walker = Walker::start(&cluster, 0);
            cluster.wait_equal(&[0, 1, 2], 1, AGREE_LIMIT);
            walker.walk(&cluster, &[1, 2, 0, 2, 1, 0]);
            cluster.nodes[0].kill();
            walker.walk(&cluster, &[1, 2, 1, 2]);
            cluster.nodes[0].restart();
            cluster.wait_serving(0);
            cluster.wait_equal(&[0, 1, 2], 1, Duration::from_secs(10));
            walker.walk(&cluster, &[0, 1, 2]);
        },
    );
}

#[test]
fn an_application_that_stops_costs_no_request_and_its_entries_move() {
    in_each_group(
        |text| text,
        |cluster, mut apps| {
            let walker = Walker::start(&cluster, 0);
            cluster.wait_equal(&[0, 1, 2], 1, AGREE_LIMIT);
            let (stopped, other) = if walker.home == "app1" {
                (0, "app2")
            } else {
                (1, "app1")
            };
            let address = apps[stopped].address();
            apps[stopped].stop();
            for node in [0, 1, 2, 0, 1, 2] {
                let answer = cluster.ask(node, Some(&walker.session));
                assert_eq!(answer.status, 200);
                assert!(answer.text().starts_with(other), "{}", answer.text());
            }
            let moved = vec![(
                walker.session.clone(),
                format!("server_id={} server_key={other}", &other[3..]),
            )];
            wait_until("the entry to name the other server everywhere", || {
                cluster
                    .nodes
                    .iter()
                    .all(|node| node.stats().entries("dynamic_group") == moved)
            });
            apps[stopped] = application_at(address, &walker.home);
            for node in 0..3 {
                cluster.wait_serving(node);
            }
            let answer = cluster.ask(0, Some(&walker.session));
            assert!(
                answer.text().starts_with(other),
                "the session must not move back"
            );
        },
    );
}

#[test]
fn a_table_of_minimal_size_overflows_and_expires() {
    in_each_group(
        |text| text.replace("size 5k expire 5m", "size 10 expire 3s"),
        |cluster, _apps| {
            for client in 0..40 {
                assert_eq!(cluster.ask(client % 3, None).status, 200);
            }
            for node in &cluster.nodes {
                let count = node.stats().entries("dynamic_group").len();
                assert!(
                    (1..=10).contains(&count),
                    "{count} entries in a table of ten"
                );
            }
            wait_until("all entries to expire", || {
                let empty = |text: String| text.contains("used:0");
                cluster
                    .nodes
                    .iter()
                    .all(|node| empty(node.command("show table dynamic_group")))
            });
            assert_eq!(cluster.ask(0, None).status, 200);
            cluster.wait_equal(&[0, 1, 2], 1, AGREE_LIMIT);
        },
    );
}
