//! What every test with real processes and real sockets stands on.
//!
//! A test file says `pub mod support;` (public, so that the helpers it leaves alone are no dead code) and then builds its
//! world from a [`Proxy`] (burdock or the packaged HAProxy with a generated configuration), an [`Origin`] (a server that
//! records what reaches it), a [`Client`] (raw bytes in, parsed answers out) and a [`Syslog`].
//!
//! Rules kept here so that no test has to: addresses are loopback addresses that nobody else was given, ports are free
//! ones, files live in a folder of their own, nothing sleeps where it can wait for a condition with a deadline, every
//! process is ended by its pid when its owner goes, and a process that is still there afterwards fails the test.
//!
//! Not here: what is tested. A test that needs HAProxy fails where it is missing; `scripts/test.sh` installs it.

pub mod client;
pub mod cluster;
pub mod folder;
pub mod gate;
pub mod launch;
pub mod loopback;
pub mod normal;
pub mod origin;
pub mod parity;
pub mod process;
pub mod stats;
pub mod syslog;
pub mod wait;
pub mod world;

pub use client::{Client, Response, get};
pub use cluster::{Cluster, application, application_at};
pub use folder::TempDir;
pub use gate::Gate;
pub use launch::{Launcher, status_field};
pub use loopback::{free_address, free_port, taken_name, unique_loopback};
pub use origin::{Answer, Origin, Recorded};
pub use process::{Finished, Program, Proxy, haproxy_available, run_to_end};
pub use stats::Stats;
pub use syslog::Syslog;
pub use wait::{eventually, wait_until};
