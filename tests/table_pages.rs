//! `burdock.table-huge-pages` and `burdock.table-lock`: where the tables' memory is.

pub mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;

use support::{Launcher, Program, Proxy, Stats, free_address, wait_until};

/// A table of 100000 entries takes some 8 MiB.
fn configuration(global: &str, size: &str) -> String {
    format!(
        "global\n stats socket {{dir}}/stats.sock level admin\n {global}\ndefaults\n mode http\n timeout client 5s\n timeout server 5s\n \
         timeout connect 5s\nfrontend f\n bind {}\n default_backend b\nbackend b\n \
         stick-table type string len 32 size {size} expire 5m store gpc0\n",
        free_address()
    )
}

/// Sum of a field of /proc/PID/smaps over all mappings, or of /proc/PID/status, in KiB.
fn kib(pid: u32, file: &str, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).expect("a process");
    let values = text
        .lines()
        .filter_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    values
        .filter_map(|value| value.trim().trim_end_matches(" kB").parse::<u64>().ok())
        .sum()
}

/// Linux 6.1 with huge pages for shared memory.
fn knows_collapse() -> bool {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let release = text("/proc/sys/kernel/osrelease");
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|n| n.parse().unwrap_or(0));
    let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let setting = text("/sys/kernel/mm/transparent_hugepage/shmem_enabled");
    version >= (6, 1) && !setting.is_empty() && !setting.contains("[deny]")
}

fn fill(stats: &Stats, count: u32) {
    for number in 0..count {
        stats.command(&format!("set table b key k{number} data.gpc0 {number}"));
    }
}

#[test]
fn huge_pages_or_a_word_that_there_are_none() {
    let launcher = Launcher::new(Program::Burdock);
    launcher.configure(&configuration("burdock.table-huge-pages", "100k"));
    let said = launcher.run("-D -p {dir}/pid -f {dir}/proxy.cfg").stderr;
    let master = launcher.pid_in("pid");
    let worker = launcher.only_child(master, None);
    let stats = Stats::at(launcher.folder.file("stats.sock"));
    fill(&stats, 50);
    let has_entries = || stats.command("show table b").contains("used:50");
    assert!(has_entries(), "{}", stats.command("show table"));
    if said.contains("is not on huge pages") {
        // No memory in one piece is the system's affair; a refusal is not, where the kernel knows the call.
        assert!(
            !knows_collapse() || !said.contains("Invalid argument"),
            "{said}"
        );
    } else {
        let huge = kib(worker, "smaps", "ShmemPmdMapped");
        assert!(huge >= 2048, "{huge} KiB, but nothing was said: {said}");
    }
    // A reload keeps the memory, and the next worker has the same pages.
    support::process::signal(master, "USR2");
    wait_until("another worker", || launcher.children(master) != [worker]);
    let next = launcher.only_child(master, Some(worker));
    wait_until("the same entries", has_entries);
    if !said.contains("is not on huge pages") {
        assert!(kib(next, "smaps", "ShmemPmdMapped") >= 2048);
    }
    support::process::signal(master, "TERM");
    launcher.wait_gone(std::time::Duration::from_secs(20));
}

/// 24 MiB of index, of which no request has touched anything yet.
#[test]
fn the_index_of_a_large_table_is_on_huge_pages_where_there_are_any() {
    let asked = Proxy::start(
        Program::Burdock,
        &configuration("burdock.table-huge-pages", "2m"),
    );
    let proxy = Proxy::start(Program::Burdock, &configuration("", "2m"));
    let (all, index) = (huge(&asked), huge(&proxy));
    // Whole huge pages for the one; then there is no reason to have none for the other.
    if all > 128 << 10 {
        assert!(
            index >= 16 << 10,
            "{index} KiB of the index, {all} KiB where asked for"
        );
    }
    assert!(index <= 28 << 10, "{index} KiB: only the index");
}

/// What all processes of a proxy have mapped on huge pages, in KiB.
fn huge(proxy: &Proxy) -> u64 {
    let pids = proxy.processes().into_iter();
    pids.map(|pid| kib(pid, "smaps", "ShmemPmdMapped")).sum()
}

/// One of some 90 MiB has all its memory at the start, wherever there are huge pages for it, and works as it fills.
#[test]
fn tables_that_are_not_large_together_have_their_memory_at_the_start() {
    let taken = |proxy: &Proxy| -> u64 {
        let file = |pid: u32| fs::read_dir(format!("/proc/{pid}/fd")).expect("a process");
        let blocks = |entry: fs::DirEntry| {
            let target = fs::read_link(entry.path()).ok()?;
            let is_table = target.to_string_lossy().contains("memfd:stick-table");
            is_table.then(|| fs::metadata(entry.path()).map_or(0, |file| file.blocks() / 2))
        };
        let pids = proxy.processes().into_iter();
        pids.flat_map(|pid| file(pid).flatten().filter_map(blocks))
            .max()
            .expect("a table")
    };
    let asked = Proxy::start(
        Program::Burdock,
        &configuration("burdock.table-huge-pages", "1m"),
    );
    let proxy = Proxy::start(Program::Burdock, &configuration("", "1m"));
    if taken(&asked) > 80 << 10 && huge(&asked) > 64 << 10 {
        assert!(taken(&proxy) > 80 << 10, "{} KiB", taken(&proxy));
    }
    let large = Proxy::start(Program::Burdock, &configuration("", "2m"));
    assert!(taken(&large) <= 32 << 10, "{} KiB", taken(&large));
    let stats = proxy.stats();
    fill(&stats, 50);
    assert!(stats.command("show table b").contains("used:50"));
}

#[test]
fn a_locked_table_is_locked() {
    let text = configuration("burdock.table-lock", "1k");
    let proxy = Proxy::start(Program::Burdock, &text);
    let locked: u64 = proxy
        .processes()
        .iter()
        .map(|pid| kib(*pid, "status", "VmLck"))
        .sum();
    assert!(locked >= 64, "{locked} KiB are locked");
    let plain = Proxy::start(Program::Burdock, &configuration("", "1k"));
    for pid in plain.processes() {
        assert_eq!(kib(pid, "status", "VmLck"), 0);
    }
}

/// A lock belongs to a process, and the memory goes from one to the next: the next one locks it anew. `cpu-map` is the worker's too.
#[test]
fn a_locked_table_and_a_bound_worker_stay_so_over_a_reload() {
    let launcher = Launcher::new(Program::Burdock);
    launcher.configure(&configuration("burdock.table-lock\n cpu-map 1 0", "100k"));
    let finished = launcher.run("-D -p {dir}/pid -f {dir}/proxy.cfg");
    assert!(finished.status.success(), "{}", finished.stderr);
    let master = launcher.pid_in("pid");
    let worker = launcher.only_child(master, None);
    let stats = Stats::at(launcher.folder.file("stats.sock"));
    fill(&stats, 50);
    let is_as_configured = |pid: u32| {
        assert!(kib(pid, "status", "VmLck") >= 8 << 10, "8 MiB of table");
        let cpus = support::launch::status_field(pid, "Cpus_allowed_list");
        assert_eq!(cpus.as_deref(), Some("0"));
    };
    is_as_configured(worker);
    support::process::signal(master, "USR2");
    wait_until("another worker", || launcher.children(master) != [worker]);
    let next = launcher.only_child(master, Some(worker));
    wait_until("the same entries", || {
        stats.command("show table b").contains("used:50")
    });
    is_as_configured(next);
    support::process::signal(master, "TERM");
    launcher.wait_gone(std::time::Duration::from_secs(20));
}

#[test]
fn a_lock_that_is_not_allowed_is_an_alert() {
    // Root may lock what it likes, unless that is taken from it.
    let launcher = Launcher::new(Program::Burdock).prefix(
        "ulimit -l 64; [ $(id -u) != 0 ] || exec setpriv --bounding-set=-ipc_lock --inh-caps=-ipc_lock \"$0\" \"$@\"",
    );
    launcher.configure(&configuration("burdock.table-lock", "100k"));
    let finished = launcher.run("-D -p {dir}/pid -f {dir}/proxy.cfg");
    let said = finished.stderr;
    assert!(!finished.status.success(), "{said}");
    assert!(
        said.contains("Stick table 'b' cannot be locked in memory, all "),
        "{said}"
    );
    assert!(said.contains("RLIMIT_MEMLOCK is 64 KiB"), "{said}");
    launcher.wait_gone(std::time::Duration::from_secs(20));
}
