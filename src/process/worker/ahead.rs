//! Tables that a reload has changed: the new worker copies them while the old one still serves from them.
//!
//! The old worker marks what it changes; what was marked is copied again, until little is left for the moment of the handover
//! (`stick::Carrier`). A worker that ends on the way has harmed nothing: the copy is begun anew by the next.
//! Not here: the handover itself.

use std::io::{self, ErrorKind};
use std::os::fd::AsFd;

use crate::log::Severity;
use crate::process::enter::{not_carried, outcome};
use crate::process::line::{Line, Message};
use crate::process::startup::Memories;
use crate::stick::{Carrier, Table, TableSpec};
use crate::sys::{socket, time};

/// How long the old worker may take to begin with marking.
const WAIT_MS_MAX: u64 = 5_000;

/// So few marked entries are left to the moment of the handover.
const RESIDUE: u32 = 256;

/// Passes over what was marked; a table that changes faster than it is copied gets no more.
const PASSES_MAX: u32 = 16;

/// Copies that are nearly complete.
#[derive(Default)]
pub(super) struct Ahead(Vec<(Carrier, Table)>);

impl Ahead {
    /// Copies all tables that have changed, while the old worker at the other end of the line goes on with them.
    ///
    /// # Errors
    /// The old worker is gone, or a new table cannot be had.
    pub fn copy(
        line: &Line,
        memories: &mut Memories,
        specs: &[TableSpec],
        mut tell: impl FnMut(Severity, &str),
    ) -> io::Result<Ahead> {
        let mut ahead = Ahead::default();
        let mut buffer = Vec::new();
        for former in memories.former.drain(..) {
            let (memory, spec) = (&memories.tables[former.table], &specs[former.table]);
            let now_ms = time::monotonic_ms();
            let attached = Table::attach(memory.try_clone()?, spec, now_ms);
            let mut made = attached.map_err(io::Error::other)?;
            match Carrier::new(former.memory, &former.spec, &mut made) {
                Ok(mut carrier) => {
                    line.send(&Message::Watch(former.spec.name), Some(carrier.watch()?))?;
                    ahead.0.push((carrier, made));
                }
                Err(error) => tell(Severity::Alert, &not_carried(spec, &error)),
            }
        }
        for _ in 0..ahead.0.len() {
            wait_for_watching(line, &mut buffer)?;
        }
        for (carrier, made) in &mut ahead.0 {
            while carrier.step(made, time::monotonic_ms()) {
                check_open(line, &mut buffer)?;
            }
        }
        for _ in 0..PASSES_MAX {
            check_open(line, &mut buffer)?;
            let copies = ahead.0.iter_mut();
            let now_ms = time::monotonic_ms();
            let count: u32 = copies
                .map(|(carrier, made)| carrier.follow(made, now_ms))
                .sum();
            if count <= RESIDUE {
                break;
            }
        }
        Ok(ahead)
    }

    /// The old worker has given the tables up: copies what is left. Afterwards the new memories are whole.
    pub fn finish(self, now_ms: u64, mut tell: impl FnMut(Severity, &str)) {
        for (carrier, mut made) in self.0 {
            let carried = carrier.finish(&mut made, now_ms);
            tell(Severity::Notice, &outcome(made.spec(), carried));
        }
    }
}

fn wait_for_watching(line: &Line, buffer: &mut Vec<u8>) -> io::Result<()> {
    let deadline_ms = time::monotonic_ms() + WAIT_MS_MAX;
    loop {
        match line.receive(buffer)? {
            Some((Message::Watching, _)) => return Ok(()),
            Some(_) => return Err(ErrorKind::InvalidData.into()),
            None => {
                let now_ms = time::monotonic_ms();
                if now_ms >= deadline_ms {
                    return Err(ErrorKind::TimedOut.into());
                }
                socket::wait_readable(&[line.as_fd()], Some(deadline_ms - now_ms))?;
            }
        }
    }
}

/// Nothing is said before we ask; the end of the line is the end of the old worker, or of its master.
fn check_open(line: &Line, buffer: &mut Vec<u8>) -> io::Result<()> {
    match line.receive(buffer)? {
        None => Ok(()),
        Some(_) => Err(ErrorKind::InvalidData.into()),
    }
}
