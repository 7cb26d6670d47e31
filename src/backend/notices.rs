//! What is logged when servers go and come, in HAProxy's words.
//!
//! The caller changes the server's state first (`Proxy::set_health`, `Proxy::set_admin`), with [`Usability`] taken before.

use std::fmt;

use super::{Proxy, Server};
use crate::config::model::ProxyKind;
use crate::log::{Logger, Severity, TargetSet};

/// What a backend could use before a change; needed to tell what the change did.
#[derive(Clone, Copy, Debug)]
pub struct Usability {
    server_usable: bool,
    any_server: bool,
}

impl Usability {
    /// To be taken right before the change.
    pub fn before(proxy: &Proxy, server: usize) -> Usability {
        Usability {
            server_usable: proxy.servers[server].is_usable(),
            any_server: proxy.usable_counts() != (0, 0),
        }
    }
}

/// What happened to a server. Texts follow the word with a comma: `, changed from CLI`, `, reason: Layer4 timeout`.
#[derive(Clone, Copy, Debug)]
pub enum ServerEvent<'a> {
    /// It is down.
    Down(fmt::Arguments<'a>),
    /// It is up.
    Up(fmt::Arguments<'a>),
    /// It takes sticky sessions only.
    Stopping(fmt::Arguments<'a>),
    /// An operator put it into maintenance; it was up, or draining.
    Maintenance,
    /// An operator put it into maintenance; it was down.
    MaintenanceWhileDown,
    /// An operator drains it.
    Drain,
    /// It left maintenance.
    LeftMaintenance,
    /// It left maintenance and drains.
    LeftMaintenanceForDrain,
    /// It drains no more.
    LeftDrain,
    /// It drains no more, and is down.
    LeftDrainWhileDown,
    /// Its state changed, and it drains still.
    RemainsInDrain,
}

/// Logs `event` of `server`. [`announce_loss`] follows after the last event of a change.
pub fn announce(
    log: &mut Logger,
    targets: TargetSet,
    proxy: &Proxy,
    server: usize,
    before: Usability,
    event: ServerEvent<'_>,
) {
    let server = &proxy.servers[server];
    let name = ServerTitle { proxy, server };
    let loss = if before.server_usable && !server.is_usable() {
        Severity::Alert
    } else {
        Severity::Notice
    };
    match event {
        ServerEvent::Down(why) => {
            log.notice(
                loss,
                targets,
                format_args!("{name} is DOWN{why}. {}", Left { proxy, server }),
            );
        }
        ServerEvent::Maintenance => log.notice(
            loss,
            targets,
            format_args!(
                "{name} is going DOWN for maintenance. {}",
                Left { proxy, server }
            ),
        ),
        ServerEvent::MaintenanceWhileDown => {
            log.notice(
                Severity::Notice,
                targets,
                format_args!("{name} was DOWN and now enters maintenance."),
            );
        }
        ServerEvent::Up(why) => {
            log.notice(
                Severity::Notice,
                targets,
                format_args!("{name} is UP{why}. {}", Online { proxy }),
            );
        }
        ServerEvent::Stopping(why) => {
            log.notice(
                Severity::Notice,
                targets,
                format_args!("{name} is stopping{why}. {}", Online { proxy }),
            );
        }
        ServerEvent::Drain => {
            log.notice(
                Severity::Notice,
                targets,
                format_args!("{name} enters drain state. {}", Online { proxy }),
            );
        }
        ServerEvent::LeftMaintenance => {
            let state = if server.is_up() {
                "UP/READY"
            } else {
                "DOWN/READY"
            };
            log.notice(
                Severity::Notice,
                targets,
                format_args!("{name} is {state} (leaving forced maintenance)."),
            );
        }
        ServerEvent::LeftMaintenanceForDrain => {
            let state = if server.is_up() {
                "UP/DRAIN"
            } else {
                "DOWN/DRAIN"
            };
            log.notice(
                Severity::Notice,
                targets,
                format_args!("{name} is {state} (leaving forced maintenance)."),
            );
        }
        ServerEvent::LeftDrain => {
            log.notice(
                Severity::Notice,
                targets,
                format_args!("{name} is UP (leaving forced drain)."),
            );
        }
        ServerEvent::LeftDrainWhileDown => {
            log.notice(
                Severity::Notice,
                targets,
                format_args!("{name} is DOWN (leaving forced drain)."),
            );
        }
        ServerEvent::RemainsInDrain => {
            log.notice(
                Severity::Notice,
                targets,
                format_args!("{name} remains in forced drain mode."),
            );
        }
    }
}

/// Logs that a change took the backend's last server, if it did.
pub fn announce_loss(log: &mut Logger, targets: TargetSet, proxy: &Proxy, before: Usability) {
    if before.any_server && proxy.usable_counts() == (0, 0) {
        let kind = if proxy.spec.kind == ProxyKind::Backend {
            "backend"
        } else {
            "proxy"
        };
        log.notice(
            Severity::Emergency,
            targets,
            format_args!("{kind} {} has no server available!", proxy.spec.name),
        );
    }
}

/// `Server app/s1`, `Backup Server app/b1`.
struct ServerTitle<'a> {
    proxy: &'a Proxy,
    server: &'a Server,
}

impl fmt::Display for ServerTitle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let backup = if self.server.spec.backup {
            "Backup "
        } else {
            ""
        };
        write!(
            f,
            "{backup}Server {}/{}",
            self.proxy.spec.name, self.server.spec.name
        )
    }
}

/// `2 active and 1 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.`
struct Left<'a> {
    proxy: &'a Proxy,
    server: &'a Server,
}

impl fmt::Display for Left<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_counts(f, self.proxy, "left")?;
        write!(
            f,
            " {} sessions active, {} requeued, {} remaining in queue.",
            self.server.sessions,
            self.server.queue.len(),
            self.proxy.queue.len()
        )
    }
}

/// `2 active and 1 backup servers online. 0 sessions requeued, 0 total in queue.`
struct Online<'a> {
    proxy: &'a Proxy,
}

impl fmt::Display for Online<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_counts(f, self.proxy, "online")?;
        write!(
            f,
            " 0 sessions requeued, {} total in queue.",
            self.proxy.queue.len()
        )
    }
}

fn write_counts(f: &mut fmt::Formatter<'_>, proxy: &Proxy, word: &str) -> fmt::Result {
    let (active, backup) = proxy.usable_counts();
    write!(f, "{active} active and {backup} backup servers {word}.")?;
    if active == 0 && backup > 0 {
        write!(f, " Running on backup.")?;
    }
    Ok(())
}
