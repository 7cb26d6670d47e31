//! `burdock.table-directory`: what a table holds outlives all processes; a file that cannot be used is named, kept and replaced.

pub mod support;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use support::process::signal;
use support::{
    Finished, Launcher, Origin, Program, Stats, eventually, free_address, get, wait_until,
};

const SOON: Duration = Duration::from_secs(10);

const TABLE: &str = "stick-table type string len 32 size 10k expire 5m";
const START: &str = "-D -p {dir}/pid -f {dir}/proxy.cfg";

struct Service {
    launcher: Launcher,
    address: SocketAddr,
    servers: [Origin; 2],
}

impl Service {
    fn new() -> Service {
        let service = Service {
            launcher: Launcher::new(Program::Burdock),
            address: free_address(),
            servers: [Origin::named("one"), Origin::named("two")],
        };
        fs::create_dir(service.directory()).expect("cannot create the directory");
        service.configure(TABLE, "burdock.table-directory {dir}/tables");
        service
    }

    fn directory(&self) -> PathBuf {
        self.launcher.folder.file("tables")
    }

    fn file(&self, suffix: &str) -> PathBuf {
        self.directory().join(format!("b.table{suffix}"))
    }

    /// The names of all files of tables.
    fn files(&self) -> Vec<String> {
        let all = fs::read_dir(self.directory()).expect("no directory");
        let mut names: Vec<String> = all
            .map(|file| file.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn configure(&self, table: &str, global: &str) {
        let [one, two] = self.servers.each_ref().map(Origin::address);
        self.launcher.configure(&format!(
            "global\n stats socket {{dir}}/stats.sock level admin\n {global}\n\
             defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n\
             frontend f\n bind {}\n default_backend b\n\
             backend b\n balance roundrobin\n {table}\n stick on req.cook(ID)\n\
             server one {one}\n server two {two}\n",
            self.address
        ));
    }

    fn start(&self) -> Finished {
        let finished = self.launcher.run(START);
        assert_eq!(finished.code(), 0, "{}", finished.stderr);
        finished
    }

    fn master(&self) -> u32 {
        self.launcher.pid_in("pid")
    }

    /// kill -9 of everything at once.
    fn kill_all(&self) {
        for pid in self.launcher.processes() {
            signal(pid, "KILL");
        }
        self.launcher.wait_gone(SOON);
    }

    fn stop(&self) {
        signal(self.master(), "TERM");
        self.launcher.wait_gone(SOON);
    }

    fn stats(&self) -> Stats {
        Stats::at(self.launcher.folder.file("stats.sock"))
    }

    fn worker(&self) -> u32 {
        eventually("a worker that answers", SOON, || {
            let info = self.stats().try_command("show info")?;
            let pid = info.lines().find_map(|line| line.strip_prefix("Pid: "))?;
            pid.parse().ok()
        })
    }

    fn reload(&self) {
        let old = self.worker();
        signal(self.master(), "USR2");
        wait_until("the new worker", || self.worker() != old);
    }

    fn ask(&self, id: usize) -> String {
        get(self.address, "/", &[&format!("Cookie: ID=session{id}")]).text()
    }

    fn entries(&self) -> Vec<(String, String)> {
        self.worker();
        self.stats().entries("b")
    }

    /// Twenty sessions, and where they live.
    fn fill(&self) -> Vec<String> {
        (0..20).map(|id| self.ask(id)).collect()
    }

    fn check_homes(&self, homes: &[String]) {
        // One request more or less than a round, so that the rotation cannot make it right by chance.
        for id in (1..homes.len()).rev() {
            assert_eq!(self.ask(id), homes[id], "session {id}");
        }
    }
}

#[test]
fn entries_outlive_all_processes() {
    let service = Service::new();
    service.start();
    let homes = service.fill();
    let before = service.entries();
    service.kill_all();
    let said = service.start().stderr;
    assert!(
        said.contains("Stick table 'b' has 20 entries from "),
        "{said}"
    );
    assert_eq!(service.entries(), before);
    service.check_homes(&homes);
    // An ordinary stop, and a death of the worker after the next start.
    service.stop();
    service.start();
    service.check_homes(&homes);
    let worker = service.worker();
    signal(worker, "KILL");
    wait_until("the next worker", || service.worker() != worker);
    service.check_homes(&homes);
    service.reload();
    service.check_homes(&homes);
    service.kill_all();
    service.start();
    service.check_homes(&homes);
    service.stop();
    assert_eq!(service.files(), ["b.table"]);
}

#[test]
fn another_boot_counts_the_time_by_the_wall_clock() {
    let service = Service::new();
    service.start();
    let homes = service.fill();
    service.kill_all();
    // As if the machine had started in between: another boot, and the last owner lived 100 s earlier by the wall clock.
    let mut bytes = fs::read(service.file("")).unwrap();
    let word = |at: usize| 8 * at..8 * (at + 1);
    let (boot, alive_ms, alive_wall_ms) = (48, 50, 51);
    bytes[word(boot)].fill(0x55);
    let wall = u64::from_le_bytes(bytes[word(alive_wall_ms)].try_into().unwrap());
    bytes[word(alive_wall_ms)].copy_from_slice(&(wall - 100_000).to_le_bytes());
    // Its clock stood elsewhere, too, and all times with it.
    assert_ne!(bytes[word(alive_ms)], [0; 8]);
    fs::write(service.file(""), &bytes).unwrap();
    let said = service.start().stderr;
    assert!(
        said.contains("20 entries") && said.contains("before the machine started"),
        "{said}"
    );
    service.check_homes(&homes[..1]);
    let table = service.stats().command("show table b");
    let left = table
        .lines()
        .find(|line| line.contains("key=session7 "))
        .unwrap();
    let left = left
        .split("exp=")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    let left: u32 = left.parse().unwrap();
    assert!((150_000..=200_000).contains(&left), "{left}");
    service.check_homes(&homes);
    service.stop();
}

/// Starts with a file that cannot be used: it is named, kept as it is, and the table is empty and works.
fn check_refused(service: &Service, suffix: &str, why: &str) {
    let before = fs::read(service.file("")).unwrap();
    let said = service.start().stderr;
    let line = said.lines().find(|line| line.contains("starts empty"));
    let line = line.unwrap_or_else(|| panic!("{said}"));
    assert!(line.starts_with("[ALERT]") && line.contains(why), "{line}");
    assert!(line.contains(&format!("b.table{suffix}'")), "{line}");
    assert_eq!(service.entries(), []);
    assert!(
        fs::read(service.file(suffix)).unwrap() == before,
        "it is not as it was"
    );
    let homes = service.fill();
    service.kill_all();
    let said = service.start().stderr;
    assert!(said.contains("has 20 entries"), "{said}");
    service.check_homes(&homes);
    service.stop();
    fs::remove_file(service.file(suffix)).unwrap();
}

#[test]
fn a_file_that_cannot_be_used_is_named_and_kept() {
    let service = Service::new();
    service.start();
    service.fill();
    service.stop();
    // A page in the middle of the entries.
    let mut bytes = fs::read(service.file("")).unwrap();
    bytes[4096 + 100..4096 + 600].fill(0xa5);
    fs::write(service.file(""), &bytes).unwrap();
    check_refused(&service, ".damaged", "it is damaged: entry ");
    let mut bytes = fs::read(service.file("")).unwrap();
    bytes.truncate(bytes.len() / 2);
    fs::write(service.file(""), &bytes).unwrap();
    check_refused(&service, ".damaged", "it is damaged: its length is not ");
    fs::write(service.file(""), "no table at all").unwrap();
    check_refused(
        &service,
        ".damaged",
        "it is damaged: it is shorter than its header",
    );
    fs::write(service.file(""), vec![b'x'; 100_000]).unwrap();
    check_refused(&service, ".damaged", "it is damaged: it is no table");
    service.configure(
        "stick-table type string len 40 size 10k expire 5m",
        "burdock.table-directory {dir}/tables",
    );
    check_refused(&service, ".other-layout", "it has another layout");
    assert_eq!(service.files(), ["b.table"]);
}

#[test]
fn a_file_has_one_owner() {
    let (one, mut two) = (Service::new(), Service::new());
    one.start();
    let homes = one.fill();
    // Two instances that were given the same directory by mistake.
    two.configure(
        TABLE,
        &format!("burdock.table-directory {}", one.directory().display()),
    );
    let said = two.launcher.run(START).stderr;
    assert!(said.contains("it is in use by another process"), "{said}");
    assert_eq!(two.entries(), []);
    one.check_homes(&homes);
    assert_eq!(one.files(), ["b.table", "b.table.in-use"]);
    two.stop();
    one.stop();
    two.address = free_address();
}

#[test]
fn a_reload_moves_a_table_into_a_file_and_out_of_it() {
    let service = Service::new();
    service.configure(TABLE, "");
    service.start();
    let homes = service.fill();
    assert_eq!(service.files(), [] as [&str; 0]);
    service.configure(TABLE, "burdock.table-directory {dir}/tables");
    service.reload();
    service.check_homes(&homes);
    wait_until("the file in its place", || service.files() == ["b.table"]);
    service.kill_all();
    service.start();
    service.check_homes(&homes);
    // Another layout, in a file again.
    service.configure(
        "stick-table type string len 40 size 20k expire 10m",
        "burdock.table-directory {dir}/tables",
    );
    service.reload();
    service.check_homes(&homes);
    wait_until("one file", || service.files() == ["b.table"]);
    service.kill_all();
    service.start();
    service.check_homes(&homes);
    // Another directory, then none: no file stays that would come back with old entries.
    fs::create_dir(service.launcher.folder.file("elsewhere")).unwrap();
    service.configure(
        "stick-table type string len 40 size 20k expire 10m",
        "burdock.table-directory {dir}/elsewhere",
    );
    service.reload();
    service.check_homes(&homes);
    wait_until("no file here", || service.files().is_empty());
    assert!(service.launcher.folder.file("elsewhere/b.table").exists());
    service.configure(TABLE, "");
    service.reload();
    service.check_homes(&homes);
    wait_until("no file there", || {
        !service.launcher.folder.file("elsewhere/b.table").exists()
    });
    service.stop();
}

#[test]
fn a_reload_without_room_on_the_disk_is_refused_by_its_check() {
    let mut service = Service::new();
    service.launcher = Launcher::new(Program::Burdock).prefix("ulimit -f 4000; trap '' XFSZ");
    fs::create_dir(service.directory()).expect("cannot create the directory");
    let directory = "burdock.table-directory {dir}/tables";
    service.configure(TABLE, directory);
    let finished = (service.launcher).run(&format!("{START} -S {{dir}}/master.sock"));
    assert_eq!(finished.code(), 0, "{}", finished.stderr);
    let homes = service.fill();
    let worker = service.worker();
    service.configure(
        "stick-table type string len 32 size 1m expire 5m",
        directory,
    );
    // Twice: the second is a reload that the first has left possible.
    for _ in 0..2 {
        let console = Stats::at(service.launcher.folder.file("master.sock"));
        let outcome = console.command("reload");
        assert!(outcome.starts_with("Success=0\n"), "{outcome}");
        let why = "/tables/b.table' : File too large.";
        assert!(outcome.contains(why), "{outcome}");
    }
    // Whoever goes on has a configuration: a worker that dies is replaced, with its entries.
    signal(worker, "KILL");
    wait_until("another worker", || service.worker() != worker);
    service.check_homes(&homes);
    assert_eq!(service.files(), ["b.table"]);
    // What has changed nothing of the file needs no room.
    service.configure(TABLE, directory);
    service.reload();
    service.check_homes(&homes);
    service.stop();
}

#[test]
fn a_directory_that_cannot_be_used_is_an_error() {
    let service = Service::new();
    for (directory, why) in [
        ("{dir}/nowhere", "No such file or directory"),
        ("{dir}/proxy.cfg", "Not a directory"),
        ("/proc/self", "in '/proc/self"),
    ] {
        service.configure(TABLE, &format!("burdock.table-directory {directory}"));
        for command in ["-c -f {dir}/proxy.cfg", START] {
            let finished = service.launcher.run(command);
            assert_eq!(finished.code(), 1, "{}", finished.stderr);
            let line = finished.stderr.lines().find(|line| line.contains(why));
            assert!(
                line.is_some_and(|line| line.starts_with("[ALERT]")),
                "{}",
                finished.stderr
            );
        }
    }
    // A disk without room: the start says so, and leaves nothing.
    service.configure(
        "stick-table type string len 32 size 1000m expire 5m",
        "burdock.table-directory {dir}/tables",
    );
    let limited = Launcher::new(Program::Burdock).prefix("ulimit -f 1000; trap '' XFSZ");
    limited
        .folder
        .write("proxy.cfg", service.launcher.folder.read("proxy.cfg"));
    let finished = limited.run("-f {dir}/proxy.cfg");
    assert_eq!(finished.code(), 1);
    assert!(
        finished
            .stderr
            .contains("Cannot create stick table 'b' in '"),
        "{}",
        finished.stderr
    );
    assert!(
        finished.stderr.contains("File too large"),
        "{}",
        finished.stderr
    );
    assert_eq!(service.files(), [] as [&str; 0]);
}
