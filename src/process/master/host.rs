//! What the master socket sees of the master.

use std::io;
use std::os::unix::net::UnixStream;

use super::{Child, Master};
use crate::config::model::AccessLevel;
use crate::process::console::{Host, Process, Processes};
use crate::process::control::{self, Order};
use crate::runtime::Modes;
use crate::sys::time;

impl Host for Master {
    fn processes(&self) -> Processes {
        let now_ms = time::monotonic_ms();
        let describe = |child: &Child| Process {
            pid: child.pid,
            reloads: self.history.reloads.saturating_sub(child.forked_after),
            uptime_ms: now_ms.saturating_sub(child.forked_ms),
            version: child.version.clone(),
        };
        Processes {
            master: self.history.describe(now_ms),
            failed: self.history.failed,
            current: self.child.as_ref().map(describe),
            former: self.leaving.iter().map(describe).collect(),
        }
    }

    fn last_reload_failed(&self) -> bool {
        self.history.failed > 0
    }

    fn connect(&mut self, pid: i32, level: AccessLevel, modes: Modes) -> io::Result<UnixStream> {
        let mut workers = self.child.iter_mut().chain(&mut self.leaving);
        let worker = workers.find(|child| child.pid == pid);
        let worker = worker.ok_or(io::ErrorKind::NotFound)?;
        let (ours, theirs) = control::pair()?;
        worker.link.give(Order::Attend(theirs.into(), level, modes));
        Ok(ours)
    }

    fn startup_log(&self) -> String {
        self.report.log()
    }

    fn now_ms(&self) -> u64 {
        time::monotonic_ms()
    }
}
