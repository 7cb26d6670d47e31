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
    let is_loss = before.server_usable && !server.is_usable();
    let severity = match event {
        ServerEvent::Down(_) | ServerEvent::Maintenance if is_loss => Severity::Alert,
        _ => Severity::Notice,
    };
    let sentence = Sentence {
        proxy,
        server,
        event,
    };
    log.notice(severity, targets, format_args!("{sentence}"));
    log.tell_console(Severity::Warning, format_args!("{sentence}"));
}

/// Logs that a change took the backend's last server, if it did.
pub fn announce_loss(log: &mut Logger, targets: TargetSet, proxy: &Proxy, before: Usability) {
    if !before.any_server || proxy.usable_counts() != (0, 0) {
        return;
    }
    let name = &proxy.spec.name;
    let kind = match proxy.spec.kind {
        ProxyKind::Backend => "backend",
        ProxyKind::Frontend | ProxyKind::Listen => "proxy",
    };
    let severity = Severity::Emergency;
    log.notice(
        severity,
        targets,
        format_args!("{kind} {name} has no server available!"),
    );
    log.tell_console(
        severity,
        format_args!("{kind} '{name}' has no server available!"),
    );
}

/// What happened, in words.
struct Sentence<'a> {
    proxy: &'a Proxy,
    server: &'a Server,
    event: ServerEvent<'a>,
}

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (proxy, server) = (self.proxy, self.server);
        let up_or_down = if server.is_up() { "UP" } else { "DOWN" };
        write!(f, "{} ", ServerTitle { proxy, server })?;
        match self.event {
            ServerEvent::Down(why) => write!(f, "is DOWN{why}. {}", Left { proxy, server }),
            ServerEvent::Up(why) => write!(f, "is UP{why}. {}", Online { proxy }),
            ServerEvent::Stopping(why) => write!(f, "is stopping{why}. {}", Online { proxy }),
            ServerEvent::Maintenance => {
                let left = Left { proxy, server };
                write!(f, "is going DOWN for maintenance. {left}")
            }
            ServerEvent::MaintenanceWhileDown => {
                f.write_str("was DOWN and now enters maintenance.")
            }
            ServerEvent::Drain if server.is_up() => {
                write!(f, "enters drain state. {}", Online { proxy })
            }
            ServerEvent::Drain => write!(f, "enters drain state. {}", Left { proxy, server }),
            ServerEvent::LeftMaintenance => {
                write!(f, "is {up_or_down}/READY (leaving forced maintenance).")
            }
            ServerEvent::LeftMaintenanceForDrain => {
                write!(f, "is {up_or_down}/DRAIN (leaving forced maintenance).")
            }
            ServerEvent::LeftDrain => f.write_str("is UP (leaving forced drain)."),
            ServerEvent::LeftDrainWhileDown => f.write_str("is DOWN (leaving forced drain)."),
            ServerEvent::RemainsInDrain => f.write_str("remains in forced drain mode."),
        }
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
