//! The configuration that the project started from is a configuration without a word from us.

use burdock::config::{self, ParseOptions, diag::RenderContext};

fn options() -> ParseOptions {
    ParseOptions {
        host_name: "node".into(),
        local_peer: Some("haproxy1".into()),
        ..ParseOptions::default()
    }
}

#[test]
fn the_article_parses_without_a_diagnostic() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/article.cfg");
    let mut files = config::load(&[path.to_owned()]).unwrap();
    if burdock::sys::accounts::user_id("haproxy").is_none() {
        // A machine without that user.
        let text = String::from_utf8(std::mem::take(&mut files[0].text)).unwrap();
        let text = text
            .replace("user        haproxy", "user        root")
            .replace("group       haproxy", "group       root");
        files[0].text = text.into_bytes();
    }
    let (config, diags) = config::parse(&files, &options());
    let context = RenderContext {
        pid: 1,
        program: "burdock",
        version: "0",
        executable: None,
    };
    assert_eq!(config::diag::render(&diags, &context), "");
    let config = config.unwrap();
    assert_eq!(config.global.maxconn, Some(20_000));
    assert_eq!(config.proxies.len(), 2);
    assert_eq!(config.proxies[0].default_backend, Some(1));
    assert_eq!(config.tables.len(), 1);
    let table = &config.tables[0];
    assert_eq!(
        (
            table.name.as_str(),
            table.size,
            table.key_len,
            table.expire_ms
        ),
        ("dynamic_group", 5120, 32, 300_000)
    );
    assert_eq!(table.store.len(), 2);
    let peers = &config.peers[0];
    assert_eq!((peers.members.len(), &peers.tables[..]), (3, &[0][..]));
    assert_eq!(
        peers
            .listen
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["192.168.100.59:12138"]
    );
    let servers = &config.proxies[1].servers;
    assert_eq!(
        servers
            .iter()
            .map(|server| (server.name.as_str(), server.id))
            .collect::<Vec<_>>(),
        [("app1", 1), ("app2", 2)]
    );
    assert_eq!(
        servers[0]
            .check
            .as_ref()
            .map(|check| (check.rise, check.fall)),
        Some((1, 3))
    );
}
