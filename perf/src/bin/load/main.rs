//! The load generator: one thread, closed loop (each connection asks again as soon as it is answered) or open loop (requests start at a
//! fixed rate whatever the answers do, and a latency counts from the moment the request was due, so that a stall of the
//! proxy is not hidden by the client's own waiting).
//!
//! Requests carry a cookie out of N keys; the first answer to a key says (by its `X-Server`) which server the key belongs to,
//! and every later answer from another one is counted as wrong.

mod connection;
mod report;
mod run;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use burdock_perf::args::Args;
use burdock_perf::http::fnv1a;

const USAGE: &str = "load --target ADDRESS:PORT[,ADDRESS:PORT...] [options]

  --connections N   connections, spread over the targets (default 64)
  --rate R          open loop: R requests a second; without it, closed loop
  --seconds S       measured time (default 5)
  --warmup S        time before it, not measured (default 1)
  --slice S         tell p99 and p99.9 of each S seconds too, by when requests were due (JSON: slices_p99_us, slices_p99_9_us)
  --until FILE      ends as soon as this file is there, if that is earlier
  --close           a connection for each request
  --keys N          send the cookie of one of N keys with each request (default 0: none)
  --homes A,B       the keys are known: key number k belongs to the server (by its X-Server) at place k modulo their number
  --cookie NAME     the cookie's name (default PHPSESSID)
  --key-prefix P    keys are P and the number, 26 letters in all (default k)
  --path PATH       (default /)
  --body N          send N bytes with each request (POST)
  --requests N      closed loop: N requests in all, without warm-up; ends when the last is answered
  --hold            an idle crowd: each connection asks once (at --rate), then all stay open, idle, until standard input ends
  --seed N          of the choice of keys (default 1)
  --pid PID[,PID]   report the CPU time that these processes used meanwhile
  --json            one line of JSON instead of text

Ends with code 1 when a request failed or reached a wrong server.";

/// What to do.
pub struct Plan {
    targets: Vec<SocketAddr>,
    connections: usize,
    rate: Option<f64>,
    seconds: f64,
    warmup: f64,
    /// Length of the parts of the measured time that are told apart, seconds.
    slice: Option<f64>,
    /// Ends as soon as this file is there.
    until: Option<PathBuf>,
    close: bool,
    keys: usize,
    /// Hashes of the servers that keys belong to from the start.
    homes: Vec<u64>,
    cookie: String,
    key_prefix: String,
    path: String,
    body: usize,
    /// Requests in all, if they are counted.
    requests: Option<u64>,
    /// Each connection asks once and stays.
    hold: bool,
    seed: u64,
    pids: Vec<u32>,
}

fn main() -> std::io::Result<()> {
    let options = [
        "target",
        "connections",
        "rate",
        "seconds",
        "warmup",
        "slice",
        "until",
        "keys",
        "homes",
        "cookie",
        "key-prefix",
        "path",
        "body",
        "requests",
        "seed",
        "pid",
    ];
    let args = Args::parse(USAGE, &["close", "json", "hold"], &options);
    let pids = args.text("pid").unwrap_or_default();
    let homes = args.text("homes").unwrap_or_default();
    let plan = Plan {
        targets: args.addresses("target"),
        connections: args.value_or("connections", 64),
        rate: args.value("rate"),
        seconds: args.value_or("seconds", 5.0),
        warmup: args.value_or("warmup", 1.0),
        slice: args.value("slice"),
        until: args.text("until").map(PathBuf::from),
        close: args.flag("close"),
        keys: args.value_or("keys", 0),
        homes: homes
            .split(',')
            .filter(|name| !name.is_empty())
            .map(|name| fnv1a(name.as_bytes()))
            .collect(),
        cookie: args.value_or("cookie", "PHPSESSID".to_string()),
        key_prefix: args.value_or("key-prefix", "k".to_string()),
        path: args.value_or("path", "/".to_string()),
        body: args.value_or("body", 0),
        requests: match args.flag("hold") {
            true => Some(args.value_or("connections", 64)),
            false => args.value("requests"),
        },
        hold: args.flag("hold"),
        seed: args.value_or("seed", 1),
        pids: pids.split(',').filter_map(|pid| pid.parse().ok()).collect(),
    };
    let (report, run) = run::Run::new(&plan)?.drive()?;
    if args.flag("json") {
        println!("{}", report.json());
    } else {
        print!("{}", report.text());
    }
    if plan.hold {
        std::io::stdout().flush()?;
        std::io::stdin().read_to_end(&mut Vec::new())?;
    }
    drop(run); // its connections were open until now
    std::process::exit(i32::from(!report.is_clean()));
}
