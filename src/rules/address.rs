//! `set-src`, `set-src-port`, `set-dst`, `set-dst-port`: what is taken for the two ends of the client's connection.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::scene::Scene;
use crate::sample::{Expr, Value};

/// What an action replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The client's address; the port becomes 0.
    Source,
    /// The client's port.
    SourcePort,
    /// The address that the client connected to; the port becomes 0.
    Destination,
    /// The port that the client connected to.
    DestinationPort,
}

/// One such action.
#[derive(Clone, Debug)]
pub struct Address {
    /// What is replaced.
    pub field: Field,
    /// By what.
    pub expr: Expr,
}

impl Address {
    /// Does it, where the expression has a value of the right kind.
    pub(super) fn run(&self, scene: &mut Scene<'_>) {
        let is_port = matches!(self.field, Field::SourcePort | Field::DestinationPort);
        let (ip, port) = {
            let mut cx = scene.context();
            match self.expr.eval(&mut cx) {
                Some(Value::Ipv4(address)) => (Some(IpAddr::V4(address)), None),
                Some(Value::Ipv6(address)) => (Some(IpAddr::V6(address)), None),
                Some(Value::Int(number)) => (
                    Some(IpAddr::V4(Ipv4Addr::from(number as u32))),
                    Some(number as u16),
                ),
                Some(Value::Bool(number)) => (None, Some(u16::from(number))),
                Some(Value::Str(text)) => {
                    let text = std::str::from_utf8(text).ok();
                    (
                        text.and_then(|text| text.parse().ok()),
                        text.and_then(|text| text.parse().ok()),
                    )
                }
                _ => (None, None),
            }
        };
        let slot = match self.field {
            Field::Source | Field::SourcePort => &mut *scene.source,
            Field::Destination | Field::DestinationPort => &mut *scene.destination,
        };
        match (is_port, ip, port, *slot) {
            (false, Some(ip), ..) => *slot = Some(SocketAddr::new(ip, 0)),
            (true, _, Some(port), Some(address)) => {
                *slot = Some(SocketAddr::new(address.ip(), port));
            }
            // A connection from a unix socket has got an address, then.
            (true, _, Some(port), None) => {
                *slot = Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port));
            }
            _ => {}
        }
    }
}
