//! Real proxies as child processes: burdock from this build, HAProxy from the distribution.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::{Stats, TempDir, eventually, wait_until};

/// Which program to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The binary of this build.
    Burdock,
    /// The packaged HAProxy.
    Haproxy,
}

impl Program {
    /// The executable; panics when HAProxy is missing, since a test that needs it must not pass without.
    pub fn path(self) -> PathBuf {
        match self {
            Program::Burdock => PathBuf::from(env!("CARGO_BIN_EXE_burdock")),
            Program::Haproxy => haproxy_path().expect(
                "this test needs haproxy: scripts/test.sh installs it (apt-get install haproxy)",
            ),
        }
    }
}

/// Whether the packaged HAProxy is installed.
pub fn haproxy_available() -> bool {
    haproxy_path().is_some()
}

fn haproxy_path() -> Option<PathBuf> {
    let candidates = [
        "/usr/sbin/haproxy",
        "/usr/local/sbin/haproxy",
        "/usr/bin/haproxy",
    ];
    candidates
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
}

/// The environment variable by which the processes of one [`Proxy`] are found, detached ones included.
pub(super) const MARK: &str = "BURDOCK_TEST_FOLDER";

/// How long a program gets to end after SIGTERM before that counts as a fault.
const END_LIMIT: Duration = Duration::from_secs(5);

/// How a command ended that was run to its end.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Finished {
    /// The exit code; a death by signal is 128 and its number, as a shell counts.
    pub fn code(&self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let signal = || self.status.signal().map(|signal| 128 + signal);
        self.status.code().or_else(signal).unwrap_or(-1)
    }
}

/// Runs a program with these arguments to its end (at most ten seconds), for `-c`, `-v` and starts that must fail.
pub fn run_to_end(program: Program, args: &[&str]) -> Finished {
    let folder = TempDir::new("run");
    let mut child = command(program, &folder)
        .args(args)
        .spawn()
        .expect("cannot start the program");
    let end = Instant::now() + Duration::from_secs(10);
    let status = loop {
        if let Some(status) = child.try_wait().expect("cannot wait for a child") {
            break status;
        }
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            panic!(
                "{program:?} {args:?} did not end; stderr:\n{}",
                folder.read("stderr")
            );
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let left = end_marked(folder.path());
    let finished = Finished {
        status,
        stdout: folder.read("stdout"),
        stderr: folder.read("stderr"),
    };
    assert!(
        left.is_empty(),
        "{program:?} {args:?} left processes: {left:?}"
    );
    finished
}

fn command(program: Program, folder: &TempDir) -> Command {
    let mut command = Command::new(program.path());
    command
        .env(MARK, folder.path())
        .stdin(Stdio::null())
        .stdout(File::create(folder.file("stdout")).expect("cannot create a file"))
        .stderr(File::create(folder.file("stderr")).expect("cannot create a file"));
    command
}

/// A running proxy with a folder of its own. Dropping it ends all its processes and fails the test when that is not clean.
pub struct Proxy {
    program: Program,
    folder: TempDir,
    args: Vec<String>,
    child: Option<Child>,
}

impl Proxy {
    /// Starts `program -db -f <folder>/proxy.cfg` with the configuration written there; each `{dir}` in it becomes the
    /// folder. Waits until the socket `{dir}/stats.sock` answers, if the configuration has one.
    pub fn start(program: Program, configuration: &str) -> Proxy {
        Proxy::start_with(program, configuration, &[])
    }

    /// As [`Proxy::start`], with more arguments, such as `["-L", "haproxy1"]`.
    pub fn start_with(program: Program, configuration: &str, args: &[&str]) -> Proxy {
        let folder = TempDir::new(match program {
            Program::Burdock => "burdock",
            Program::Haproxy => "haproxy",
        });
        let mut text = configuration.replace("{dir}", &folder.path().display().to_string());
        if program == Program::Haproxy && !text.contains("nbthread") {
            // Idle server connections and queues belong to one of its threads, and chance says which.
            text.push_str("\nglobal\n nbthread 1\n");
        }
        let path = folder.write("proxy.cfg", text);
        let mut all = vec![
            "-db".to_string(),
            "-f".to_string(),
            path.display().to_string(),
        ];
        all.extend(args.iter().map(|arg| arg.to_string()));
        let mut proxy = Proxy {
            program,
            folder,
            args: all,
            child: None,
        };
        proxy.spawn();
        proxy
    }

    fn spawn(&mut self) {
        let child = command(self.program, &self.folder)
            .args(&self.args)
            .spawn()
            .expect("cannot start the program");
        self.child = Some(child);
        if !fs::read_to_string(self.folder.file("proxy.cfg"))
            .is_ok_and(|text| text.contains("stats.sock"))
        {
            return;
        }
        let stats = self.stats();
        eventually(
            "the stats socket to answer",
            Duration::from_secs(30),
            || {
                if let Some(status) = self.exited() {
                    panic!(
                        "{:?} ended at start with {status}:\n{}",
                        self.program,
                        self.stderr()
                    );
                }
                stats
                    .try_command("show info")
                    .filter(|text| text.contains("Pid:"))
            },
        );
    }

    /// Starts it again after a stop or a kill, with the same configuration and arguments.
    pub fn restart(&mut self) {
        self.reap();
        self.spawn();
    }

    /// Its folder: the configuration, `stats.sock`, stdout and stderr.
    pub fn folder(&self) -> &TempDir {
        &self.folder
    }

    /// The stats socket `{dir}/stats.sock`.
    pub fn stats(&self) -> Stats {
        Stats::at(self.folder.file("stats.sock"))
    }

    /// Sends one line to the stats socket and returns the answer.
    pub fn command(&self, line: &str) -> String {
        self.stats().command(line)
    }

    /// The pid of the process that was started (burdock's master).
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the proxy is not running").id()
    }

    /// All its processes, detached ones included.
    pub fn processes(&self) -> Vec<u32> {
        marked(self.folder.path())
    }

    /// What it wrote to standard error so far.
    pub fn stderr(&self) -> String {
        self.folder.read("stderr")
    }

    /// What it wrote to standard output so far.
    pub fn stdout(&self) -> String {
        self.folder.read("stdout")
    }

    /// Waits until a TCP connection to `address` is accepted.
    pub fn wait_listening(&self, address: SocketAddr) {
        wait_until(&format!("{address} to accept"), || {
            std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
        });
    }

    /// Sends a signal by name (`"TERM"`, `"USR1"`) to the process that was started.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Stops all its processes while `work` is done: what happens meanwhile reaches it in one turn of its loop.
    pub fn frozen<T>(&self, work: impl FnOnce() -> T) -> T {
        let processes = self.processes();
        processes.iter().for_each(|&pid| signal(pid, "STOP"));
        let result = work();
        processes.iter().for_each(|&pid| signal(pid, "CONT"));
        result
    }

    /// A field of `show stat` (`"scur"`, `"qcur"`) of `proxy` and `server` (or `FRONTEND`, `BACKEND`).
    pub fn stat(&self, proxy: &str, server: &str, field: &str) -> u64 {
        let table = self.command("show stat");
        let mut lines = table.lines();
        let names = lines.next().unwrap_or_default().trim_start_matches("# ");
        let column = names.split(',').position(|name| name == field);
        let start = format!("{proxy},{server},");
        let row = lines.find(|line| line.starts_with(&start));
        let value = row.and_then(|row| row.split(',').nth(column?));
        value
            .unwrap_or_else(|| panic!("no {field} of {start} in:\n{table}"))
            .parse()
            .unwrap_or(0)
    }

    /// Its exit status, once it has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().ok()?
    }

    /// Waits for its end.
    pub fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        eventually("the proxy to end", limit, || self.exited())
    }

    /// Kills all its processes at once, as a lost machine would.
    pub fn kill(&mut self) {
        for pid in self.processes() {
            signal(pid, "KILL");
        }
        self.reap();
    }

    /// Ends it with SIGTERM and waits.
    pub fn stop(&mut self) {
        if self.exited().is_none() {
            self.signal("TERM");
            self.wait_exit(END_LIMIT);
        }
        self.reap();
    }

    fn reap(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let folder = self.folder.path();
        wait_until("killed processes to go", || marked(folder).is_empty());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut ended_in_time = true;
        if let Some(mut child) = self.child.take() {
            if child.try_wait().ok().flatten().is_none() {
                signal(child.id(), "TERM");
                ended_in_time = ended_within(&mut child, END_LIMIT);
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        let left = end_marked(self.folder.path());
        if std::thread::panicking() {
            eprintln!(
                "{:?} said on standard error:\n{}",
                self.program,
                self.stderr()
            );
        } else {
            assert!(
                ended_in_time,
                "{:?} did not end within {END_LIMIT:?} of SIGTERM",
                self.program
            );
            assert!(
                left.is_empty(),
                "{:?} left processes behind: {left:?}",
                self.program
            );
        }
    }
}

fn ended_within(child: &mut Child, limit: Duration) -> bool {
    let end = Instant::now() + limit;
    while Instant::now() < end {
        if child.try_wait().ok().flatten().is_some() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    false
}

/// Sends a signal through the shell: no unsafe code in the tests.
pub fn signal(pid: u32, name: &str) {
    let _ = Command::new("/bin/sh")
        .args(["-c", &format!("kill -{name} {pid}")])
        .stderr(Stdio::null())
        .status();
}

/// Kills what still carries the mark of this folder; returns the command lines of what it found. A child needs a moment to follow
/// its parent, so processes that go by themselves within a second are no leftovers.
fn end_marked(folder: &Path) -> Vec<String> {
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        if marked(folder).is_empty() {
            return Vec::new();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let left = marked(folder);
    for pid in &left {
        signal(*pid, "KILL");
    }
    left.iter().map(|pid| describe(*pid)).collect()
}

pub(super) fn describe(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    format!(
        "{pid} {}",
        String::from_utf8_lossy(&line).replace('\0', " ")
    )
}

/// Live processes whose environment names this folder. Zombies have none.
pub(super) fn marked(folder: &Path) -> Vec<u32> {
    let wanted = format!("{MARK}={}", folder.display()).into_bytes();
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == wanted)
    })
    .collect()
}
