//! Processes: the command, the master, the worker.
//!
//! ```text
//! command: parse, limits, bind, tables ──▶ daemonise, pidfile ──▶ master ──fork──▶ worker
//!                                                          (root, waits for signals)  (unprivileged, the event loop)
//! ```
//!
//! Everything that outlives a worker (listening sockets, the tables' memory, log sockets) is made by the command before
//! the first fork and kept by the master, which gives a copy to every worker it forks. The master's pid is the one in
//! the pidfile. master ↔ worker talk over one socket pair ([`control`]); its end tells each that the other is gone.
//!
//! Not here: what the worker does with it all, except for worker.rs, which is its event loop.

mod bind;
mod caretaker;
mod console;
pub mod control;
mod daemon;
mod enter;
mod inheritance;
pub mod limits;
pub mod line;
mod master;
mod notify;
mod pages;
mod pidfile;
mod reload;
mod report;
mod start;
pub mod startup;
mod table_file;
mod tables;
pub mod watch;
pub mod worker;

pub use control::{Order, Orders};
pub use limits::Limits;
pub use startup::{ExitReason, LogTargets, Startup, Tables};

use std::panic;

use crate::flags::{self, FlagError};
use master::Outcome;
use report::Report;

/// The whole command: reads the arguments, does what they ask for, and returns the exit code. In a service it returns
/// once in each process.
pub fn main(program: &str, arguments: &[String]) -> i32 {
    let flags = match flags::parse(arguments) {
        Ok(flags) => flags,
        Err(FlagError::Alert(text)) => {
            Report::new(program, false).alert(&text);
            return 1;
        }
        Err(FlagError::Usage(text)) => {
            if let Some(text) = text {
                Report::new(program, false).alert(&text);
            }
            report::print_error(&flags::usage(program));
            return 1;
        }
    };
    match start::run(program, &flags) {
        Outcome::Exit(code) => code,
        Outcome::Worker(worker) => run_worker(*worker),
    }
}

/// Runs the loop. Whatever ends it unasked, the master learns why.
fn run_worker(worker: enter::Worker) -> i32 {
    let enter::Worker {
        startup,
        last_words,
        panic_words,
    } = worker;
    let default_hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        panic_words.say(&format!("{info}"));
        default_hook(info);
    }));
    match worker::run(startup) {
        ExitReason::SoftStop | ExitReason::HardStop => 0,
        ExitReason::Failed(text) => {
            last_words.say(&text);
            1
        }
    }
}
