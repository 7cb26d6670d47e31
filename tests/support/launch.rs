//! Commands as an operator types them: any flags, a shell's limits and descriptors before them, daemons followed by pid.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::process::{MARK, describe, marked, signal};
use super::{Finished, Program, TempDir, eventually};

/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(10);

/// A place to start commands in: a folder, and the processes that were started there. Dropping it kills what is left, and
/// fails the test when something is left that nobody ended.
pub struct Launcher {
    program: Program,
    /// Configurations, pidfiles, sockets; also the standard output and error of the last command.
    pub folder: TempDir,
    prefix: String,
    environment: Vec<(String, String)>,
}

impl Launcher {
    /// For this program.
    pub fn new(program: Program) -> Launcher {
        Launcher {
            program,
            folder: TempDir::new("launch"),
            prefix: ":".to_string(),
            environment: Vec::new(),
        }
    }

    /// Shell commands to run before the program takes the shell's place (`ulimit -n 100`).
    pub fn prefix(mut self, commands: &str) -> Launcher {
        self.prefix = commands.to_string();
        self
    }

    /// An environment variable; `{dir}` becomes the folder.
    pub fn environment(mut self, name: &str, value: &str) -> Launcher {
        let value = self.expand(value);
        self.environment.push((name.to_string(), value));
        self
    }

    /// Writes `proxy.cfg`; `{dir}` becomes the folder.
    pub fn configure(&self, text: &str) {
        self.folder.write("proxy.cfg", self.expand(text));
    }

    fn expand(&self, text: &str) -> String {
        text.replace("{dir}", &self.folder.path().display().to_string())
    }

    /// Starts the program with these words, separated by blanks; `{dir}` becomes the folder.
    pub fn start(&self, words: &str) -> Child {
        self.start_with(words, Stdio::null())
    }

    /// The same with a socket as standard input, for the prefix to move (`exec 7<&0 </dev/null`).
    pub fn start_with_socket(&self, words: &str, socket: OwnedFd) -> Child {
        self.start_with(words, Stdio::from(socket))
    }

    fn start_with(&self, words: &str, input: Stdio) -> Child {
        let output = |name| File::create(self.folder.file(name)).expect("cannot create a file");
        Command::new("/bin/sh")
            .arg("-c")
            .arg(format!("{}; exec \"$0\" \"$@\"", self.prefix))
            .arg(self.program.path())
            .args(self.expand(words).split_whitespace())
            .env(MARK, self.folder.path())
            .envs(self.environment.iter().cloned())
            .stdin(input)
            .stdout(output("stdout"))
            .stderr(output("stderr"))
            .spawn()
            .expect("cannot start the program")
    }

    /// Starts the program and waits for the command that was typed to end; a daemon may stay.
    pub fn run(&self, words: &str) -> Finished {
        let mut child = self.start(words);
        let status = self.wait(&mut child);
        self.finished(status)
    }

    /// Waits for the end of a command.
    pub fn wait(&self, child: &mut Child) -> ExitStatus {
        eventually("the command to end", LIMIT, || {
            child.try_wait().expect("cannot wait for a child")
        })
    }

    /// The result of a command that ended with `status`.
    pub fn finished(&self, status: ExitStatus) -> Finished {
        Finished {
            status,
            stdout: self.folder.read("stdout"),
            stderr: self.folder.read("stderr"),
        }
    }

    /// All live processes that were started here, lowest pid first.
    pub fn processes(&self) -> Vec<u32> {
        let mut pids = marked(self.folder.path());
        pids.sort_unstable();
        pids
    }

    /// The children of a process.
    pub fn children(&self, parent: u32) -> Vec<u32> {
        let mut pids = self.processes();
        pids.retain(|pid| status_field(*pid, "PPid").as_deref() == Some(&parent.to_string()));
        pids
    }

    /// Waits until `parent` has exactly one child other than `not`, and returns it.
    pub fn only_child(&self, parent: u32, not: Option<u32>) -> u32 {
        eventually("a worker", LIMIT, || match self.children(parent)[..] {
            [child] if Some(child) != not => Some(child),
            _ => None,
        })
    }

    /// The pid in a file of the folder, once it is there.
    pub fn pid_in(&self, name: &str) -> u32 {
        eventually("a pidfile", LIMIT, || {
            self.folder.read(name).trim().parse().ok()
        })
    }

    /// Waits until no process is left.
    pub fn wait_gone(&self, limit: Duration) {
        eventually("all processes to end", limit, || {
            self.processes().is_empty().then_some(())
        });
    }
}

/// A line of `/proc/PID/status`, its value trimmed.
pub fn status_field(pid: u32, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().to_string())
}

impl Drop for Launcher {
    fn drop(&mut self) {
        let left = self.processes();
        let lines: Vec<String> = left.iter().map(|pid| describe(*pid)).collect();
        for pid in left {
            signal(pid, "KILL");
        }
        if std::thread::panicking() {
            eprintln!("standard error:\n{}", self.folder.read("stderr"));
        } else {
            assert!(lines.is_empty(), "left behind: {lines:?}");
        }
    }
}
