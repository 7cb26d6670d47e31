//! Workers that die while others still drain towards them: what is learnt late reaches whoever comes next.

pub mod support;

use std::net::SocketAddr;
use std::time::Duration;

use support::process::signal;
use support::{
    Answer, Client, Gate, Launcher, Origin, Program, Stats, eventually, free_address, get,
    wait_until,
};

const SOON: Duration = Duration::from_secs(20);

/// A daemon before one server, each of whose answers waits at the gate that its request names: `/0`, `/1` …; all others come at once.
struct Service {
    launcher: Launcher,
    address: SocketAddr,
    master: u32,
    gates: Vec<Gate>,
    origin: Origin,
}

impl Service {
    fn start(global: &str) -> Service {
        let gates: Vec<Gate> = (0..4).map(|_| Gate::new()).collect();
        let origin = {
            let gates = gates.clone();
            Origin::start(move |request| {
                let number: Option<usize> = request.target()[1..].parse().ok();
                if let Some(number) = number {
                    gates[number].pass();
                }
                Answer::ok("well", &[])
            })
        };
        let (launcher, address) = (Launcher::new(Program::Burdock), free_address());
        launcher.configure(&format!(
            "global\n stats socket {{dir}}/stats.sock level admin\n{global}\
             defaults\n mode http\n timeout client 20s\n timeout server 20s\n timeout connect 5s\n\
             frontend f\n bind {address}\n default_backend b\n\
             backend b\n stick-table type string len 32 size 1k expire 5m store http_req_cnt,http_err_cnt,bytes_out_cnt\n\
             stick on req.cook(ID)\n http-request track-sc0 req.cook(ID)\n server one {}\n",
            origin.address()
        ));
        let mut service = Service {
            launcher,
            address,
            master: 0,
            gates,
            origin,
        };
        service.run();
        service
    }

    fn run(&mut self) {
        let finished = self.launcher.run("-D -p {dir}/pid -f {dir}/proxy.cfg");
        assert_eq!(finished.code(), 0, "{}", finished.stderr);
        self.master = self.launcher.pid_in("pid");
    }

    fn stats(&self) -> Stats {
        Stats::at(self.launcher.folder.file("stats.sock"))
    }

    /// The worker that answers; another than `old`.
    fn worker(&self, old: Option<u32>) -> u32 {
        eventually("a worker that answers", SOON, || {
            let info = self.stats().try_command("show info")?;
            let pid = info.lines().find_map(|line| line.strip_prefix("Pid: "))?;
            pid.parse().ok().filter(|pid| Some(*pid) != old)
        })
    }

    fn reload(&self) -> u32 {
        let old = self.worker(None);
        signal(self.master, "USR2");
        self.worker(Some(old))
    }

    /// A client whose request waits at a gate, with a cookie that says which.
    fn waiting_at(&self, gate: usize) -> Client {
        let arrived = self.origin.connections();
        let mut client = Client::connect(self.address);
        client.send(format!(
            "GET /{gate} HTTP/1.1\r\nHost: h\r\nCookie: ID=late{gate}\r\n\r\n"
        ));
        wait_until("the request to arrive", || {
            self.origin.connections() > arrived
        });
        client
    }

    /// The entry that a request at this gate has made, once it has a server and its bytes are counted.
    fn entry(&self, gate: usize) -> String {
        let key = format!("key=late{gate} ");
        eventually("what was learnt late", SOON, || {
            let table = self.stats().try_command("show table b")?;
            let line = table.lines().find(|line| line.contains(&key))?;
            let is_whole = line.contains("server_id=1") && !line.contains("bytes_out_cnt=0");
            is_whole.then(|| line.to_string())
        })
    }

    fn wait_alone(&self) {
        wait_until("the old workers to end", || {
            self.launcher.children(self.master).len() == 1
        });
    }

    fn end(self) {
        signal(self.master, "TERM");
        self.launcher.wait_gone(SOON);
    }
}

#[test]
fn what_was_sent_to_a_worker_that_dies_is_sent_to_the_next() {
    let service = Service::start("");
    let mut late: Vec<Client> = (0..2).map(|gate| service.waiting_at(gate)).collect();
    let new = service.reload();
    // It is told, and does not hear it any more; nor does the client before somebody else has heard it.
    signal(new, "STOP");
    service.gates[0].open();
    late[0].stays_silent();
    signal(new, "KILL");
    assert_eq!(late[0].read_response().text(), "well");
    let next = service.worker(Some(new));
    assert!(service.entry(0).contains("server_id=1"));
    // What is learnt after the death has a way too, and so has the connection.
    service.gates[1].open();
    assert_eq!(late[1].read_response().text(), "well");
    service.entry(1);
    service.wait_alone();
    assert_eq!(
        late[1].ask("GET /quick HTTP/1.1\r\nHost: h\r\n\r\n").status,
        200
    );
    assert_eq!(service.worker(None), next);
    service.end();
}

#[test]
fn generations_that_drain_find_each_next_worker() {
    let service = Service::start("");
    let mut late = Vec::new();
    for gate in 0..3 {
        late.push(service.waiting_at(gate));
        service.reload();
    }
    let mut worker = service.worker(None);
    for (gate, client) in late.iter_mut().enumerate() {
        signal(worker, "STOP");
        service.gates[gate].open();
        client.stays_silent();
        signal(worker, "KILL");
        assert_eq!(client.read_response().text(), "well");
        worker = service.worker(Some(worker));
        service.entry(gate);
    }
    // A reload passes the lines on, wherever they came from.
    service.reload();
    service.wait_alone();
    assert_eq!(service.stats().entries("b").len(), 3);
    assert!(service.stats().command("show table b").contains("late2"));
    service.end();
}

/// What is counted once is told once, though workers died before and after.
#[test]
fn late_counts_are_right_after_deaths() {
    let service = Service::start("");
    let mut late: Vec<Client> = (0..3).map(|gate| service.waiting_at(gate)).collect();
    let mut worker = service.reload();
    for (gate, client) in late.iter_mut().enumerate() {
        service.gates[gate].open();
        assert_eq!(client.read_response().text(), "well");
        let before = service.entry(gate);
        let count = |line: &str| {
            let words = line
                .split(' ')
                .find(|word| word.starts_with("bytes_out_cnt="));
            words.map(str::to_string)
        };
        signal(worker, "KILL");
        worker = service.worker(Some(worker));
        assert_eq!(count(&service.entry(gate)), count(&before));
        assert!(before.contains("http_req_cnt=1"), "{before}");
    }
    service.wait_alone();
    service.end();
}

/// The service ends softly with a response under way in a worker that has handed over: what it teaches is in the table's file.
#[test]
fn a_soft_stop_waits_for_what_old_workers_learn() {
    let mut service = Service::start(" burdock.table-directory {dir}\n");
    let mut late = service.waiting_at(0);
    let new = service.reload();
    signal(service.master, "USR1");
    wait_until("the new worker to stop accepting", || {
        Client::try_connect(service.address).is_err()
    });
    assert!(service.launcher.processes().contains(&new));
    service.gates[0].open();
    assert_eq!(late.read_response().text(), "well");
    drop(late);
    service.launcher.wait_gone(SOON);
    service.run();
    service.entry(0);
    assert_eq!(get(service.address, "/quick", &[]).status, 200);
    service.end();
}

/// A worker that dies while it stops softly has no successor: whoever drained towards it ends all the same.
#[test]
fn a_soft_stop_ends_though_the_new_worker_dies_in_it() {
    let service = Service::start("");
    let mut late = service.waiting_at(0);
    let new = service.reload();
    signal(service.master, "USR1");
    wait_until("the new worker to stop accepting", || {
        Client::try_connect(service.address).is_err()
    });
    signal(new, "KILL");
    service.gates[0].open();
    assert_eq!(late.read_response().text(), "well");
    assert!(late.is_closed());
    service.launcher.wait_gone(SOON);
}
