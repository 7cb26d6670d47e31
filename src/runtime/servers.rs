//! Commands that change servers, frontends and counters. All but `get weight` need a level; the texts are HAProxy's.

use std::net::{IpAddr, SocketAddr};

use super::answer::Reply;
use super::context::{ChangedServer, Context};
use super::invocation::Invocation;
use super::views::find_backend;
use crate::backend::counters::{ProcessCounters, Rate};
use crate::backend::notices::{self, ServerEvent, Usability};
use crate::backend::server::WEIGHT_MAX;
use crate::backend::{Admin, Health, Proxy, Server};
use crate::config::model::{AccessLevel, Balance, ServerPort};
use crate::net::Address;

/// Why a health or state changed, as logs say it.
const BY_COMMAND: &str = ", changed from CLI";

/// Indices of a proxy and its server.
type Place = (usize, usize);

/// The server that `word` names: `backend/server`, either of them as `#id` too.
fn find_server(word: &str, proxies: &[Proxy]) -> Result<Place, Reply> {
    let Some((backend, name)) = word.split_once('/') else {
        return Err(Reply::error("Require 'backend/server'."));
    };
    let Some(proxy) = find_backend(proxies, backend) else {
        return Err(Reply::error("No such backend."));
    };
    let by_id = name.strip_prefix('#').and_then(|id| id.parse::<u32>().ok());
    let server = proxies[proxy]
        .servers
        .iter()
        .position(|server| server.spec.name == name || Some(server.spec.id) == by_id);
    match server {
        Some(server) => Ok((proxy, server)),
        None => Err(Reply::error("No such server.")),
    }
}

/// Finds the server of word `index` for a command that only administrators may give.
fn server_to_change(
    call: &Invocation<'_>,
    index: usize,
    context: &Context<'_>,
) -> Result<Place, Reply> {
    if call.level < AccessLevel::Admin {
        return Err(Reply::permission_denied());
    }
    find_server(call.command.text(index), context.proxies)
}

/// `get weight <backend>/<server>`.
pub fn get_weight(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    match find_server(call.command.text(2), context.proxies) {
        Ok((proxy, server)) => {
            let server = &context.proxies[proxy].servers[server];
            Reply::text(format_args!(
                "{} (initial {})
",
                server.weight, server.spec.weight
            ))
        }
        Err(reply) => reply,
    }
}

/// `set weight <backend>/<server> <weight>[%]`.
pub fn set_weight(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    match server_to_change(call, 2, context) {
        Ok(place) => change_weight(call.command.text(3), place, context),
        Err(reply) => reply,
    }
}

/// `disable server <backend>/<server>`.
pub fn disable_server(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    match server_to_change(call, 2, context) {
        Ok(place) => change_state("maint", place, context),
        Err(reply) => reply,
    }
}

/// `enable server <backend>/<server>`.
pub fn enable_server(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    match server_to_change(call, 2, context) {
        Ok(place) => change_state("ready", place, context),
        Err(reply) => reply,
    }
}

/// `set server <backend>/<server> state|health|weight|addr …`.
pub fn set_server(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    let place = match server_to_change(call, 2, context) {
        Ok(place) => place,
        Err(reply) => return reply,
    };
    let value = call.command.text(4);
    match call.command.word(3) {
        b"state" => change_state(value, place, context),
        b"health" => change_health(value, place, context),
        b"weight" => change_weight(value, place, context),
        b"addr" => change_address(call, place, context),
        b"agent" => Reply::error("agent checks are not enabled on this server."),
        b"fqdn" => {
            Reply::error("set server <b>/<s> fqdn failed because no resolution is configured.")
        }
        b"ssl" => Reply::error(
            "'set server <srv> ssl' cannot be set.  default-server should define ssl settings",
        ),
        _ => Reply::error("usage: set server <backend>/<server> addr | health | state | weight"),
    }
}

fn change_state(word: &str, place: Place, context: &mut Context<'_>) -> Reply {
    let server = &context.proxies[place.0].servers[place.1];
    let (admin, was_up) = (server.admin, server.health != Health::Stopped);
    let rise = server.spec.check.as_ref().map_or(2, |check| check.rise);
    match word {
        "maint" if admin.is_maintenance() => {}
        "maint" => {
            let flags = Admin(admin.0 & !Admin::FORCED_DRAIN | Admin::FORCED_MAINTENANCE);
            let event = if was_up {
                ServerEvent::Maintenance
            } else {
                ServerEvent::MaintenanceWhileDown
            };
            apply(place, context, &[event], |proxy, server, now_ms| {
                proxy.servers[server].check.paused |= proxy.servers[server].spec.check.is_some();
                proxy.servers[server].check.health = 0;
                proxy.set_health(server, Health::Stopped, now_ms);
                proxy.set_admin(server, flags, now_ms);
            });
        }
        "drain" if admin.is_drain() => {}
        "drain" => {
            let flags = Admin(admin.0 & !Admin::FORCED_MAINTENANCE | Admin::FORCED_DRAIN);
            let events: &[ServerEvent<'_>] = if admin.is_maintenance() {
                &[
                    ServerEvent::LeftMaintenanceForDrain,
                    ServerEvent::RemainsInDrain,
                ]
            } else {
                &[ServerEvent::Drain]
            };
            apply(place, context, events, |proxy, server, now_ms| {
                leave_maintenance(proxy, server, flags, rise, now_ms);
            });
        }
        "ready" if !admin.is_maintenance() && !admin.is_drain() => {}
        "ready" => {
            let flags = Admin(admin.0 & !(Admin::FORCED_MAINTENANCE | Admin::FORCED_DRAIN));
            let event = match (admin.is_maintenance(), was_up) {
                (true, _) => ServerEvent::LeftMaintenance,
                (false, true) => ServerEvent::LeftDrain,
                (false, false) => ServerEvent::LeftDrainWhileDown,
            };
            apply(place, context, &[event], |proxy, server, now_ms| {
                leave_maintenance(proxy, server, flags, rise, now_ms);
            });
        }
        _ => return Reply::error("'set server <srv> state' expects 'ready', 'drain' and 'maint'."),
    }
    Reply::Silent
}

/// Sets `flags`; a server that comes back from maintenance is up until a check says otherwise, one failure away from
/// being down.
fn leave_maintenance(proxy: &mut Proxy, server: usize, flags: Admin, rise: u32, now_ms: u64) {
    if proxy.servers[server].admin.is_maintenance() && !flags.is_maintenance() {
        if proxy.servers[server].spec.check.is_some() {
            proxy.servers[server].check.paused = false;
            proxy.servers[server].check.health = rise;
        }
        proxy.set_health(server, Health::Running, now_ms);
    }
    proxy.set_admin(server, flags, now_ms);
}

fn change_health(word: &str, place: Place, context: &mut Context<'_>) -> Reply {
    let server = &context.proxies[place.0].servers[place.1];
    // A server that is not checked has the default rise of 2 and fall of 3.
    let best = server
        .spec
        .check
        .as_ref()
        .map_or(4, |check| check.rise + check.fall - 1);
    let health = match word {
        "up" => Health::Running,
        "stopping" => Health::Stopping,
        "down" => Health::Stopped,
        _ => return Reply::error("'set server <srv> health' expects 'up', 'stopping', or 'down'."),
    };
    let counter = if health == Health::Stopped { 0 } else { best };
    if server.health == health || server.admin.is_maintenance() {
        context.proxies[place.0].servers[place.1].check.health = counter;
        return Reply::Silent;
    }
    let why = format_args!("{BY_COMMAND}");
    let event = match health {
        Health::Stopped => ServerEvent::Down(why),
        Health::Stopping => ServerEvent::Stopping(why),
        Health::Starting | Health::Running => ServerEvent::Up(why),
    };
    let remains = [event, ServerEvent::RemainsInDrain];
    let events = if server.admin.is_drain() {
        &remains[..]
    } else {
        &remains[..1]
    };
    apply(place, context, events, |proxy, server, now_ms| {
        proxy.servers[server].check.health = counter;
        proxy.set_health(server, health, now_ms);
    });
    Reply::Silent
}

fn change_weight(word: &str, place: Place, context: &mut Context<'_>) -> Reply {
    if word.is_empty() {
        return Reply::error("Require <weight> or <weight%>.");
    }
    let server = &context.proxies[place.0].servers[place.1];
    let initial = server.spec.weight;
    let (digits, rest) = leading_number(word);
    let Some(number) = digits else {
        return Reply::Message(
            crate::log::Severity::Error,
            "Empty weight string empty or preceded by garbage".to_owned(),
        );
    };
    let weight = match rest {
        "%" if number < 0 => return Reply::error("Relative weight must be positive."),
        "%" => (i64::from(initial).saturating_mul(number) / 100).min(i64::from(WEIGHT_MAX)),
        "" if !(0..=i64::from(WEIGHT_MAX)).contains(&number) => {
            return Reply::error("Absolute weight can only be between 0 and 256 inclusive.");
        }
        "" => number,
        _ => {
            return Reply::Message(
                crate::log::Severity::Error,
                "Trailing garbage in weight string".to_owned(),
            );
        }
    };
    let weight = u32::try_from(weight).unwrap_or(WEIGHT_MAX);
    let is_static = matches!(
        context.proxies[place.0].spec.balance,
        Balance::StaticRoundRobin | Balance::Source
    );
    if is_static && weight != 0 && weight != initial {
        return Reply::error(
            "Backend is using a static LB algorithm and only accepts weights '0%' and '100%'.",
        );
    }
    apply(place, context, &[], |proxy, server, _| {
        proxy.set_weight(server, weight)
    });
    Reply::Silent
}

/// The number that `text` begins with, if it begins with one, and what follows it.
fn leading_number(text: &str) -> (Option<i64>, &str) {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    let end = text.len() - unsigned.len() + digits;
    let number = text[..end].strip_prefix('+').unwrap_or(&text[..end]);
    match digits {
        0 => (None, text),
        // Too many digits are out of every range.
        _ => (Some(number.parse().unwrap_or(i64::MAX)), &text[end..]),
    }
}

/// `set server <backend>/<server> addr <ip> [port <port>]`.
fn change_address(call: &Invocation<'_>, place: Place, context: &mut Context<'_>) -> Reply {
    const BY: &str = " by 'stats socket command'";
    let word = call.command.text(4);
    if word.is_empty() {
        return Reply::error("set server <b>/<s> addr requires an address and optionally a port.");
    }
    let Ok(ip) = word.parse::<IpAddr>() else {
        return Reply::error(format_args!("Invalid addr '{word}'{BY}"));
    };
    let server = &mut context.proxies[place.0].servers[place.1];
    let Address::Inet(old) = server.address else {
        return Reply::error(format_args!(
            "can't change addr: server's address is no IP address{BY}"
        ));
    };
    let mut text = if old.ip() == ip {
        "no need to change the addr".to_owned()
    } else {
        format!("IP changed from '{}' to '{ip}'", old.ip())
    };
    let mut address = SocketAddr::new(ip, old.port());
    let mut port = server.port.clone();
    if call.command.word(5) == b"port" {
        let word = call.command.text(6);
        let Some(new) = parse_port(word) else {
            return Reply::error(format_args!(
                "{text}, problem converting port '{word}' to an int{BY}"
            ));
        };
        let old = port_text(&port, old.port());
        match new {
            ServerPort::Fixed => address.set_port(word.parse().unwrap_or(0)),
            ServerPort::FromClient(_) => address.set_port(0),
        }
        port = new;
        let new = port_text(&port, address.port());
        if new == old {
            text.push_str(", no need to change the port");
        } else {
            text.push_str(&format!(", port changed from '{old}' to '{new}'"));
        }
    }
    server.set_address(Address::Inet(address), port);
    context.changed_servers.push(ChangedServer {
        proxy: place.0,
        server: place.1,
        has_moved: true,
    });
    Reply::info(format_args!("{text}{BY}"))
}

/// `80`, or `+80` and `-80`: an offset to the client's port.
fn parse_port(word: &str) -> Option<ServerPort> {
    if word.starts_with(['+', '-']) {
        let offset = word
            .parse::<i32>()
            .ok()
            .filter(|offset| offset.unsigned_abs() < 65_536)?;
        return Some(ServerPort::FromClient(offset));
    }
    word.parse::<u16>()
        .ok()
        .filter(|port| *port > 0)
        .map(|_| ServerPort::Fixed)
}

fn port_text(port: &ServerPort, fixed: u16) -> String {
    match port {
        ServerPort::Fixed => fixed.to_string(),
        ServerPort::FromClient(offset) => format!("{offset:+}"),
    }
}

/// Makes a change to a server, logs what became of it, and tells those who have to act on it.
fn apply(
    place: Place,
    context: &mut Context<'_>,
    events: &[ServerEvent<'_>],
    change: impl FnOnce(&mut Proxy, usize, u64),
) {
    let (index, server) = place;
    let targets = context
        .log_targets
        .get(index)
        .copied()
        .unwrap_or(crate::log::TargetSet::NONE);
    let proxy = &mut context.proxies[index];
    let before = Usability::before(proxy, server);
    change(proxy, server, context.now_ms);
    for event in events {
        notices::announce(context.log, targets, proxy, server, before, *event);
    }
    notices::announce_loss(context.log, targets, proxy, before);
    context.changed_servers.push(ChangedServer {
        proxy: index,
        server,
        has_moved: false,
    });
}

/// `set maxconn server <backend>/<server> <value>`.
pub fn set_maxconn_server(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    let place = match server_to_change(call, 3, context) {
        Ok(place) => place,
        Err(reply) => return reply,
    };
    let word = call.command.text(4);
    if word.is_empty() {
        return Reply::error("Require <maxconn>.");
    }
    let severity = crate::log::Severity::Error;
    let maxconn = match leading_number(word) {
        (None, _) => {
            return Reply::Message(
                severity,
                "maxconn string empty or preceded by garbage".to_owned(),
            );
        }
        (Some(_), rest) if !rest.is_empty() => {
            return Reply::Message(severity, "Trailing garbage in maxconn string".to_owned());
        }
        (Some(number), _) => u32::try_from(number).unwrap_or(0),
    };
    context.proxies[place.0].servers[place.1].maxconn = maxconn;
    context.changed_servers.push(ChangedServer {
        proxy: place.0,
        server: place.1,
        has_moved: false,
    });
    Reply::Silent
}

/// `set maxconn frontend <frontend> <value>`.
pub fn set_maxconn_frontend(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    if call.level < AccessLevel::Admin {
        return Reply::permission_denied();
    }
    let name = call.command.text(3);
    if name.is_empty() {
        return Reply::error("A frontend name is expected.");
    }
    let Some(index) = context
        .proxies
        .iter()
        .position(|proxy| proxy.is_frontend() && proxy.spec.name == name)
    else {
        return Reply::error("No such frontend.");
    };
    let Ok(maxconn) = call.command.text(4).parse::<i64>() else {
        return Reply::error("Integer value expected.");
    };
    let Ok(maxconn) = u32::try_from(maxconn) else {
        return Reply::error("Value out of range.");
    };
    context.proxies[index].maxconn = maxconn;
    Reply::Silent
}

/// `set maxconn global <value>`; 0 is the value at start.
pub fn set_maxconn_global(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    if call.level < AccessLevel::Admin {
        return Reply::permission_denied();
    }
    let hard = context.info.connections_max_hard;
    match call.command.text(3).parse::<u32>() {
        Ok(maxconn) if maxconn > hard => return Reply::error("Value out of range."),
        Ok(0) => *context.connections_max = hard,
        Ok(maxconn) => *context.connections_max = maxconn,
        Err(_) => return Reply::error("Expects an integer value."),
    }
    Reply::Silent
}

/// `clear counters [all]`: the maxima, or everything that is counted.
pub fn clear_counters(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    let all = call.command.word(2) == b"all";
    let needed = if all {
        AccessLevel::Admin
    } else {
        AccessLevel::Operator
    };
    if call.level < needed {
        return Reply::permission_denied();
    }
    for proxy in context.proxies.iter_mut() {
        if all {
            proxy.frontend_counters = Default::default();
            proxy.backend_counters = Default::default();
            for listener in &mut proxy.listener_counters {
                *listener = crate::backend::counters::ListenerCounters {
                    connections: listener.connections,
                    ..Default::default()
                };
            }
            proxy
                .servers
                .iter_mut()
                .for_each(|server| server.counters = Default::default());
        }
        clear_maxima(proxy);
    }
    if all {
        *context.process_counters = ProcessCounters {
            invalid_messages: context.process_counters.invalid_messages,
            ..ProcessCounters::default()
        };
    } else {
        context.process_counters.connection_rate.max = 0;
        context.process_counters.session_rate.max = 0;
    }
    Reply::Silent
}

/// What goes on now stays the highest known.
fn clear_maxima(proxy: &mut Proxy) {
    let clear = |rate: &mut Rate| rate.max = 0;
    let frontend = &mut proxy.frontend_counters;
    frontend.connections_max = proxy.connections;
    for rate in [
        &mut frontend.connection_rate,
        &mut frontend.session_rate,
        &mut frontend.request_rate,
    ] {
        clear(rate);
    }
    for listener in &mut proxy.listener_counters {
        listener.connections_max = listener.connections;
    }
    let backend = &mut proxy.backend_counters;
    backend.sessions_max = proxy.sessions;
    backend.queue_max = u32::try_from(proxy.queue.len()).unwrap_or(u32::MAX);
    clear(&mut backend.session_rate);
    backend.times.clear_maxima();
    for server in &mut proxy.servers {
        clear_server_maxima(server);
    }
}

fn clear_server_maxima(server: &mut Server) {
    server.sessions_max = server.sessions;
    server.counters.queue_max = u32::try_from(server.queue.len()).unwrap_or(u32::MAX);
    server.counters.session_rate.max = 0;
    server.counters.times.clear_maxima();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_what_follows() {
        for (text, number, rest) in [
            ("5", Some(5), ""),
            ("50%", Some(50), "%"),
            ("-1", Some(-1), ""),
            ("+7x", Some(7), "x"),
            ("foo", None, "foo"),
            ("", None, ""),
            ("-", None, "-"),
            ("99999999999999999999", Some(i64::MAX), ""),
        ] {
            assert_eq!(leading_number(text), (number, rest), "{text:?}");
        }
    }

    #[test]
    fn ports() {
        for (word, port) in [
            ("80", Some(ServerPort::Fixed)),
            ("+80", Some(ServerPort::FromClient(80))),
            ("-8", Some(ServerPort::FromClient(-8))),
            ("0", None),
            ("65536", None),
            ("+65536", None),
            ("http", None),
        ] {
            assert_eq!(parse_port(word), port, "{word:?}");
        }
    }
}
