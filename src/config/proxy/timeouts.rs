//! `timeout` lines (configuration manual, 4.2, "timeout …").

use super::Target;
use crate::config::line::Line;
use crate::config::model::{ProxyKind, Timeouts};
use crate::config::units::{self, TimeError};

/// Which side of a proxy a timeout belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Server,
    Both,
}

fn field<'t>(timeouts: &'t mut Timeouts, name: &str) -> Option<(&'t mut Option<u64>, Side)> {
    Some(match name {
        "client" => (&mut timeouts.client_ms, Side::Client),
        "client-fin" => (&mut timeouts.client_fin_ms, Side::Client),
        "server" => (&mut timeouts.server_ms, Side::Server),
        "server-fin" => (&mut timeouts.server_fin_ms, Side::Server),
        "connect" => (&mut timeouts.connect_ms, Side::Server),
        "queue" => (&mut timeouts.queue_ms, Side::Server),
        "check" => (&mut timeouts.check_ms, Side::Server),
        "tunnel" => (&mut timeouts.tunnel_ms, Side::Server),
        "http-request" => (&mut timeouts.http_request_ms, Side::Both),
        "http-keep-alive" => (&mut timeouts.http_keep_alive_ms, Side::Both),
        "tarpit" => (&mut timeouts.tarpit_ms, Side::Both),
        _ => return None,
    })
}

impl Target<'_> {
    /// `timeout NAME TIME`; 0 is no timeout.
    pub fn timeout(&mut self, line: &Line) {
        let (name, text, pos) = (line.arg(1), line.arg(2), &line.pos);
        if let "clitimeout" | "contimeout" | "srvtimeout" = name {
            let instead = match name {
                "clitimeout" => "client",
                "contimeout" => "connect",
                _ => "server",
            };
            self.report.alert(
                pos,
                format!("the '{name}' directive is not supported anymore since HAProxy 2.1. Use 'timeout {instead}'."),
            );
            return;
        }
        let mut inherited = self.inherited.clone();
        let Some((slot, side)) = field(&mut self.settings.timeouts, name) else {
            self.report.alert(
                pos,
                format!(
                    "'timeout' supports 'client', 'server', 'connect', 'check', 'queue', 'http-keep-alive', 'http-request', \
                     'tunnel', 'tarpit', 'client-fin' and 'server-fin' (got '{name}')"
                ),
            );
            return;
        };
        if text.is_empty() {
            self.report.alert(
                pos,
                format!("'timeout {name}' expects an integer value (in milliseconds)"),
            );
            return;
        }
        let value = match units::time_ms(text, 1) {
            Ok(value) => value,
            Err(TimeError::Overflow) => {
                self.report.alert(
                    pos,
                    format!(
                        "timer overflow in argument '{text}' to 'timeout {name}' (maximum value is 2147483647 ms or ~24.8 days)"
                    ),
                );
                return;
            }
            Err(TimeError::Character(found)) => {
                self.report.alert(
                    pos,
                    format!("unexpected character '{found}' in 'timeout {name}'"),
                );
                return;
            }
        };
        if !line.arg(3).is_empty() {
            let extra = line.arg(3);
            self.report.alert(
                pos,
                format!(
                    "'timeout {name}' : unexpected extra argument '{extra}' after value '{text}'."
                ),
            );
            return;
        }
        let before = field(&mut inherited, name).and_then(|(slot, _)| *slot);
        let overwritten = slot.is_some() && *slot != before;
        *slot = (value > 0).then_some(value);
        let missing = match (self.kind, side) {
            (Some(ProxyKind::Frontend), Side::Server) => Some(("frontend", "backend")),
            (Some(ProxyKind::Backend), Side::Client) => Some(("backend", "frontend")),
            _ => None,
        };
        if let Some((kind, capability)) = missing {
            let proxy = self.name;
            self.report.warning(
                pos,
                format!("'timeout {name}' will be ignored because {kind} '{proxy}' has no {capability} capability"),
            );
        } else if overwritten {
            self.report.warning(
                pos,
                format!("overwriting 'timeout {name}' which was already specified"),
            );
        }
    }
}
