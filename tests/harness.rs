//! The test harness tested on the packaged HAProxy alone: when this fails, no other result means anything.

pub mod support;

use std::time::Duration;

use support::{
    Answer, Client, Cluster, Origin, Program, Proxy, Syslog, eventually, free_address, get,
    run_to_end,
};

#[test]
fn a_proxied_request_is_recorded_answered_and_logged() {
    let log = Syslog::start();
    let origin = Origin::start(|request| match request.target() {
        "/chunked" => {
            Answer::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
                .then("0\r\n\r\n")
        }
        _ => Answer::ok("hello", &["Set-Cookie: a=b; path=/"]),
    });
    let bind = free_address();
    let proxy = Proxy::start(
        Program::Haproxy,
        &format!(
            "global\n stats socket {{dir}}/stats.sock level admin\n log {} local0\n\
             defaults\n mode http\n log global\n option httplog\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n\
             listen l\n bind {bind}\n server s {}\n",
            log.address(),
            origin.address()
        ),
    );
    let mut client = Client::connect(bind);
    let first = client.ask("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nxyz");
    assert_eq!((first.status, first.text().as_str()), (200, "hello"));
    assert_eq!(first.cookie("a").as_deref(), Some("b"));
    let second = client.ask("GET /chunked HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(second.text(), "abc");
    assert_eq!(get(bind, "/", &[]).status, 200);

    let requests = origin.requests();
    assert_eq!(requests.len(), 3);
    assert_eq!(
        (requests[0].method(), requests[0].body.as_slice()),
        ("POST", &b"xyz"[..])
    );
    assert!(origin.raw(0).starts_with(b"POST /x HTTP/1.1\r\n"));
    assert_eq!(origin.requests_for("/chunked").len(), 1);
    log.wait_for_text("\"GET /chunked HTTP/1.1\"");
    assert!(proxy.command("show info").contains("Name: HAProxy"));
}

#[test]
fn the_articles_cluster_replicates() {
    let app = |name: &'static str| {
        Origin::start(move |request| match request.header("cookie") {
            Some(_) => Answer::ok(name, &[]),
            None => Answer::ok(
                name,
                &[&format!(
                    "Set-Cookie: PHPSESSID=id{}; path=/",
                    request.connection
                )],
            ),
        })
    };
    let (one, two) = (app("app1"), app("app2"));
    let cluster = Cluster::start([Program::Haproxy; 3], &[&one, &two], |text| text);
    let answer = get(cluster.addresses[0], "/index.php", &[]);
    let id = answer.cookie("PHPSESSID").expect("a cookie");
    for node in &cluster.nodes {
        let entries = eventually("the entry", Duration::from_secs(10), || {
            Some(node.stats().entries("dynamic_group")).filter(|entries| !entries.is_empty())
        });
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].0, id);
    }
}

#[test]
fn a_command_that_fails_is_reported_with_its_code() {
    let finished = run_to_end(Program::Haproxy, &["-c", "-f", "/nonexistent/file.cfg"]);
    assert_eq!(finished.code(), 1);
    assert!(finished.stderr.contains("/nonexistent/file.cfg"));
}

#[test]
fn a_killed_proxy_is_gone_and_comes_back() {
    let bind = free_address();
    let text = format!(
        "global\n stats socket {{dir}}/stats.sock\ndefaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n\
         frontend f\n bind {bind}\n"
    );
    let mut proxy = Proxy::start(Program::Haproxy, &text);
    assert_eq!(get(bind, "/", &[]).status, 503);
    proxy.kill();
    assert!(Client::try_connect(bind).is_err());
    assert!(proxy.processes().is_empty());
    proxy.restart();
    assert_eq!(get(bind, "/", &[]).status, 503);
    proxy.stop();
}
