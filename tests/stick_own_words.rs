//! What burdock adds to HAProxy's language of stick tables: `stick delete`, `expire-absolute`.

pub mod support;

use std::time::{Duration, Instant};

use support::{
    Answer, Origin, Program, Proxy, Response, eventually, free_address, get, run_to_end,
};

const SOON: Duration = Duration::from_secs(10);

struct Site {
    proxy: Proxy,
    address: std::net::SocketAddr,
    _origins: [Origin; 2],
}

impl Site {
    fn start(table: &str, rules: &str) -> Site {
        let address = free_address();
        let origins = ["one", "two"].map(|name| {
            Origin::start(move |request| match request.target() {
                "/over" => Answer::ok(name, &["Session: over"]),
                _ => Answer::ok(name, &[]),
            })
        });
        let [one, two] = origins.each_ref().map(Origin::address);
        let proxy = Proxy::start(
            Program::Burdock,
            &format!(
                "global\n stats socket {{dir}}/stats.sock level admin\n\
                 defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n\
                 frontend f\n bind {address}\n default_backend b\n\
                 backend b\n balance roundrobin\n {table}\n stick on req.cook(ID)\n{rules} server one {one}\n server two {two}\n"
            ),
        );
        proxy.wait_listening(address);
        Site {
            proxy,
            address,
            _origins: origins,
        }
    }

    fn ask(&self, target: &str, id: &str) -> Response {
        get(self.address, target, &[&format!("Cookie: ID={id}")])
    }

    fn keys(&self) -> Vec<String> {
        let shown = self.proxy.command("show table b");
        let keys = shown
            .split_whitespace()
            .filter_map(|word| word.strip_prefix("key="));
        keys.map(str::to_owned).collect()
    }
}

#[test]
fn a_logout_takes_the_entry_away_and_its_answer_does_not_bring_it_back() {
    let site = Site::start(
        "stick-table type string len 20 size 100 expire 1m",
        " stick delete req.cook(ID) if { path /logout }\n stick delete res.hdr(Ended)\n",
    );
    let home = site.ask("/", "alice").text();
    site.ask("/", "bob");
    assert_eq!(site.ask("/", "alice").text(), home);
    // The session ends on the server that knows it.
    assert_eq!(site.ask("/logout", "alice").text(), home);
    assert_eq!(site.keys(), ["bob"]);
    site.ask("/logout", "alice");
    assert_eq!(site.keys(), ["bob"]);
    site.ask("/", "alice");
    assert_eq!(site.keys().len(), 2);
}

#[test]
fn an_entry_goes_by_what_the_response_says() {
    let site = Site::start(
        "stick-table type string len 20 size 100 expire 1m",
        " stick delete res.hdr(Session),regsub(over,bob)\n",
    );
    site.ask("/", "alice");
    site.ask("/", "bob");
    site.ask("/over", "bob");
    assert_eq!(site.keys(), ["alice"]);
}

#[test]
fn an_absolute_lifetime_is_not_extended_by_use() {
    let site = Site::start(
        "stick-table type string len 20 size 100 expire 1s expire-absolute",
        " stick match req.hdr(X)\n",
    );
    let began = Instant::now();
    site.ask("/", "alice");
    // Every round uses the entry, by a rule that does not make it.
    eventually("the entry to expire in use", SOON, || {
        get(site.address, "/", &["X: alice"]);
        site.keys().is_empty().then_some(())
    });
    let lived = began.elapsed();
    assert!(lived >= Duration::from_millis(990), "{lived:?}");
}

#[test]
fn mistakes_are_named() {
    let check = |line: &str| {
        let folder = support::TempDir::new("own-words");
        let file = folder.file("proxy.cfg");
        let text = format!("backend b\n {line}\n");
        std::fs::write(&file, text).expect("a file");
        run_to_end(Program::Burdock, &["-c", "-f", &file.to_string_lossy()]).stderr
    };
    for (line, expected) in [
        (
            "stick-table type ip size 10 expire-absolute",
            "'expire-absolute' needs 'expire'.",
        ),
        ("stick delete", "'stick' expects a fetch method."),
        ("stick delete src", "unable to find stick-table 'b'."),
        ("stick delete foo(", "unknown fetch method 'foo'"),
    ] {
        let said = check(line);
        assert!(said.contains(expected), "{line}: {said}");
    }
}
