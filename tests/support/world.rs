//! One configuration in burdock and in HAProxy, each with an origin behind it and a syslog server beside it.

use std::net::SocketAddr;

use super::{Answer, Origin, Program, Proxy, Recorded, Stats, Syslog, free_address};

/// A bit of everything that the stats socket shows. `{log}`, `{origin}` and `{fe0}` to `{fe3}` are filled in.
pub const CONFIGURATION: &str = "global
    stats socket {dir}/stats.sock mode 600 level admin
    stats socket {dir}/operator.sock mode 600 level operator
    stats socket {dir}/user.sock mode 600 level user
    log {log} format short daemon
    node mynode
    maxconn 100
defaults
    mode http
    log global
    option dontlog-normal
    timeout client 2s
    timeout server 2s
    timeout connect 1s
frontend fe
    bind {fe0} name foo
    default_backend be
frontend off
    disabled
    bind {fe1}
listen li
    id 77
    bind {fe2}
    option socket-stats
    server s1 127.0.0.1:9 weight 10
    server s2 127.0.0.1:9 disabled
    server s3 127.0.0.1:9 maxconn 10 maxqueue 5 id 12
    server s4 [::1]:9 maxconn 10
    server s5 /tmp/burdock-no-such-socket
    server s6 127.0.0.1
    server s7 127.0.0.1:+5
    server s8 127.0.0.1:9 backup
listen one
    mode tcp
    bind {fe3}
    balance static-rr
    server s1 {origin} weight 5
backend be
    balance leastconn
    server s1 {origin}
backend checked
    server s1 {origin} check inter 100s
    server s2 {origin} check inter 100s rise 4 fall 5 disabled
";

/// A proxy with everything around it.
pub struct World {
    /// `{fe0}` to `{fe3}` of the configuration.
    pub fronts: Vec<SocketAddr>,
    /// `{origin}`.
    pub origin: Origin,
    /// `{log}`.
    pub log: Syslog,
    /// The proxy.
    pub proxy: Proxy,
}

impl World {
    /// Starts a program with `CONFIGURATION`.
    pub fn start(program: Program) -> World {
        World::with(program, CONFIGURATION)
    }

    /// Starts a program with a configuration.
    pub fn with(program: Program, configuration: &str) -> World {
        World::scripted(program, configuration, |_| Answer::ok("app", &[]))
    }

    /// The same, with an origin that answers as `script` says.
    pub fn scripted(
        program: Program,
        configuration: &str,
        script: impl Fn(&Recorded) -> Answer + Send + Sync + 'static,
    ) -> World {
        let log = Syslog::start();
        let origin = Origin::start(script);
        let fronts: Vec<SocketAddr> = (0..4).map(|_| free_address()).collect();
        let mut text = configuration
            .replace("{log}", &log.address().to_string())
            .replace("{origin}", &origin.address().to_string());
        for (index, front) in fronts.iter().enumerate() {
            text = text.replace(&format!("{{fe{index}}}"), &front.to_string());
        }
        World {
            proxy: Proxy::start(program, &text),
            fronts,
            origin,
            log,
        }
    }

    /// An answer without what differs between two runs: addresses, the folder.
    pub fn ask(&self, command: &str) -> String {
        self.without_places(&self.proxy.command(command))
    }

    /// `text` without addresses and the folder.
    pub fn without_places(&self, text: &str) -> String {
        let mut text = text.replace(&self.proxy.folder().path().display().to_string(), "DIR");
        text = text.replace(&self.origin.address().to_string(), "ORIGIN");
        text = text.replace(&self.origin.address().ip().to_string(), "ORIGIN-IP");
        text = text.replace(
            &format!(" {} ", self.origin.address().port()),
            " ORIGIN-PORT ",
        );
        for (index, front) in self.fronts.iter().enumerate() {
            text = text.replace(&front.to_string(), &format!("FRONT{index}"));
        }
        text
    }

    /// Another of its stats sockets.
    pub fn stats(&self, socket: &str) -> Stats {
        Stats::at(self.proxy.folder().file(socket))
    }
}

/// Both programs with the same configuration: burdock, HAProxy.
pub fn both() -> [World; 2] {
    [
        World::start(Program::Burdock),
        World::start(Program::Haproxy),
    ]
}

/// These columns of all rows of `show stat`, each row led by its names.
pub fn stat_columns(csv: &str, columns: &[&str]) -> Vec<Vec<String>> {
    let mut lines = csv.lines();
    let header: Vec<&str> = lines
        .next()
        .expect("a header")
        .trim_start_matches("# ")
        .split(',')
        .collect();
    let places: Vec<usize> = ["pxname", "svname"]
        .iter()
        .chain(columns)
        .map(|column| {
            header
                .iter()
                .position(|name| name == column)
                .unwrap_or_else(|| panic!("no column {column}"))
        })
        .collect();
    let rows = lines
        .filter(|line| !line.is_empty())
        .map(|line| line.split(',').collect::<Vec<_>>());
    rows.map(|row| places.iter().map(|place| row[*place].to_owned()).collect())
        .collect()
}
