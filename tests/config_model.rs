//! What configurations become: defaults, numbers, addresses, tables.

use burdock::config::model::{ConnectionMode, LogFormat, ServerPort};
use burdock::config::{self, Config, ParseOptions, SourceFile};
use burdock::stick::DataType;

fn parse(texts: &[&str]) -> Config {
    let files: Vec<SourceFile> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| SourceFile {
            name: format!("{index}.cfg"),
            text: text.as_bytes().to_vec(),
        })
        .collect();
    let options = ParseOptions {
        host_name: "me".into(),
        descriptors_max: Some(20_000),
        ..ParseOptions::default()
    };
    let (config, diags) = config::parse(&files, &options);
    config.unwrap_or_else(|| panic!("{diags:#?}"))
}

#[test]
fn numbers_are_those_that_haproxy_gives() {
    // As `show stat` of HAProxy 2.6 has them: the control socket is number 1.
    let config = parse(&[
        "global\n stats socket /tmp/x level admin\nfrontend f\n bind :8080\nbackend b\n \
        server s1 127.0.0.1:1 id 2\n server s2 127.0.0.1:1\n server s3 127.0.0.1:1\nbackend c\nbackend d\n id 4\nbackend e\n",
    ]);
    let ids: Vec<u32> = config.proxies.iter().map(|proxy| proxy.id).collect();
    assert_eq!(ids, [2, 3, 5, 4, 7]);
    let ids: Vec<u32> = config.proxies[1]
        .servers
        .iter()
        .map(|server| server.id)
        .collect();
    assert_eq!(ids, [2, 3, 4]);
    let ids: Vec<u32> = parse(&["frontend f\n bind :80-82,:90\n"]).proxies[0]
        .binds
        .iter()
        .map(|bind| bind.id)
        .collect();
    assert_eq!(ids, [1, 2, 3, 4]);
}

#[test]
fn settings_come_from_the_defaults_before_or_by_name() {
    let config = parse(&[
        "defaults base\n mode http\n timeout client 1s\n option httpclose\n option httplog\n retries 7\n\
        defaults other from base\n timeout client 2s\n no option httpclose\n\
        backend a from base\n option http-server-close\nfrontend b from other\n bind :8080\n mode tcp\n maxconn 5\nlisten c\n bind :81\n",
    ]);
    let [a, b, c] = config.proxies.as_slice() else {
        panic!()
    };
    assert_eq!(
        (a.options.connection, a.retries),
        (ConnectionMode::ServerClose, 7)
    );
    assert_eq!(
        (b.options.connection, b.timeouts.client_ms, b.maxconn),
        (ConnectionMode::KeepAlive, Some(2000), 5)
    );
    // HTTP cannot be logged in TCP mode.
    assert!(matches!(b.log_format, LogFormat::Tcp));
    assert!(matches!(c.log_format, LogFormat::Http { clf: false }));
    // Computed from the descriptors: HAProxy 2.6 has 9984 here.
    assert!((9900..10_000).contains(&c.maxconn), "{}", c.maxconn);
    assert!(!config.global.maxconn_given);
}

#[test]
fn tables_store_what_their_rules_need_and_know_their_peers() {
    let config = parse(&[
        "peers p\n peer me 127.0.0.1:1\n peer you 127.0.0.1:2\n table t type binary len 8 size 1k store gpc(3),gpc_rate(2,10s)\n",
        "backend b\n stick-table type string size 2k expire 1m peers p store conn_cnt\n stick store-request src table c\n\
         backend c\n stick-table type ip size 100k nopurge\n",
    ]);
    let names: Vec<_> = config
        .tables
        .iter()
        .map(|table| (table.name.as_str(), table.wire_name.as_str(), table.size))
        .collect();
    assert_eq!(
        names,
        [("p/t", "/t", 1024), ("b", "b", 2048), ("c", "c", 102_400)]
    );
    assert_eq!(
        (
            config.tables[0].store[0].elements,
            config.tables[0].store[1].period_ms
        ),
        (3, 10_000)
    );
    assert_eq!(config.peers[0].tables, [0, 1]);
    let stored = |index: usize| {
        config.tables[index]
            .store
            .iter()
            .map(|stored| stored.data_type)
            .collect::<Vec<_>>()
    };
    assert_eq!(stored(1), [DataType::ConnCnt]);
    assert_eq!(stored(2), [DataType::ServerId, DataType::ServerKey]);
}

#[test]
fn servers_have_ports_of_their_own_or_of_the_client() {
    let config = parse(&[
        "backend b\n default-server inter 3s weight 5\n server a 127.0.0.1\n server b 127.0.0.1:+100 check port 8 fall 9\n \
        server-template t 2-3 127.0.0.1:80 weight 0 backup\n",
    ]);
    let servers = &config.proxies[0].servers;
    assert_eq!(
        (&servers[0].port, servers[0].weight),
        (&ServerPort::FromClient(0), 5)
    );
    assert_eq!(servers[1].port, ServerPort::FromClient(100));
    let check = servers[1].check.as_ref().unwrap();
    assert_eq!((check.inter_ms, check.fall), (3000, 9));
    assert_eq!(
        check.address.as_ref().map(ToString::to_string),
        Some("127.0.0.1:8".into())
    );
    assert_eq!(
        (
            servers[2].name.as_str(),
            servers[3].name.as_str(),
            servers[3].weight
        ),
        ("t2", "t3", 0)
    );
}

#[test]
fn a_node_that_is_no_member_is_told_the_names_and_with_zero_warning_refused() {
    let text = "peers p\n peer a 127.0.0.1:1\n peer b 127.0.0.1:2\n";
    let files = [SourceFile {
        name: "x.cfg".into(),
        text: text.into(),
    }];
    let mut options = ParseOptions {
        host_name: "me".into(),
        ..ParseOptions::default()
    };
    let (config, diags) = config::parse(&files, &options);
    assert!(config.is_some());
    assert!(
        diags[0]
            .text
            .starts_with("Removing incomplete section 'peers p' (no peer named 'me').")
    );
    assert!(diags[0].text.contains("Known names: 'a', 'b'."));
    options.zero_warning = true;
    let (config, diags) = config::parse(&files, &options);
    assert!(config.is_none());
    assert_eq!(
        diags[1].text,
        "Some warnings were found and 'zero-warning' is set. Aborting."
    );
}
