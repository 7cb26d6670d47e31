//! `show servers state` and `show servers conn` (management manual, section 9.3).

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::row::Text;
use crate::backend::{Proxy, Server};
use crate::config::model::ServerPort;
use crate::net::Address;

/// What `show servers state` begins with: the format's version and the names of the columns.
pub const STATE_HEADER: &str = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight \
    srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state \
    srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr \
    srv_agent_addr srv_agent_port\n";

/// What `show servers conn` begins with.
pub const CONNECTIONS_HEADER: &str = "# bkname/svname bkid/svid addr port - purge_delay used_cur used_max need_est \
    unsafe_nb safe_nb idle_lim idle_cur idle_per_thr[1]\n";

const CHECK_RUNNING: u32 = 1;
const CHECK_CONFIGURED: u32 = 2;
const CHECK_ENABLED: u32 = 4;
const CHECK_PAUSED: u32 = 8;

/// Appends the line of a server for `show servers state`.
pub fn write_state(out: &mut Vec<u8>, proxy: &Proxy, server: &Server, now_ms: u64) {
    let report = &server.check;
    let mut check_state = 0;
    if server.spec.check.is_some() {
        check_state |= CHECK_CONFIGURED | CHECK_ENABLED;
        if report.running {
            check_state |= CHECK_RUNNING;
        }
    }
    if report.paused {
        check_state |= CHECK_PAUSED;
    }
    let (check_address, check_port) = match server
        .spec
        .check
        .as_ref()
        .and_then(|check| check.address.as_ref())
    {
        Some(Address::Inet(address)) if address.ip() == ip_of(server) => {
            ("-".to_owned(), address.port())
        }
        Some(Address::Inet(address)) => (address.ip().to_string(), address.port()),
        _ => ("-".to_owned(), 0),
    };
    // Writing to memory does not fail.
    let _ = writeln!(
        Text(out),
        "{} {} {} {} {} {} {} {} {} {} {} {} {} {check_state} 0 {} {} - {} - 0 {check_port} {check_address} - {check_port}",
        proxy.spec.id,
        proxy.spec.name,
        server.spec.id,
        server.spec.name,
        ip_text(server),
        server.health as u8,
        server.admin.0,
        server.weight,
        server.spec.weight,
        now_ms.saturating_sub(server.last_change_ms) / 1000,
        report.status.number(),
        report.status.result_number(),
        report.health,
        u8::from(proxy.spec.id_forced),
        u8::from(server.spec.id_forced),
        port(server),
    );
}

/// Appends the line of a server for `show servers conn`.
pub fn write_connections(out: &mut Vec<u8>, proxy: &Proxy, server: &Server) {
    let idle_limit = server.spec.pool_max.map_or(-1, i64::from);
    let _ = writeln!(
        Text(out),
        "{}/{} {}/{} {} {} - {} {} {} {} {} 0 {idle_limit} {} {}",
        proxy.spec.name,
        server.spec.name,
        proxy.spec.id,
        server.spec.id,
        ip_text(server),
        port(server),
        server.spec.pool_purge_ms,
        server.sessions,
        server.sessions_max,
        server.sessions_max,
        server.idle_connections,
        server.idle_connections,
        server.idle_connections,
    );
}

fn inet_of(server: &Server) -> Option<SocketAddr> {
    match server.address {
        Address::Inet(address) => Some(address),
        _ => None,
    }
}

fn ip_of(server: &Server) -> std::net::IpAddr {
    inet_of(server).map_or(std::net::Ipv4Addr::UNSPECIFIED.into(), |address| {
        address.ip()
    })
}

/// The address alone, `-` for a unix socket.
fn ip_text(server: &Server) -> String {
    inet_of(server).map_or_else(|| "-".to_owned(), |address| address.ip().to_string())
}

/// The port, or the offset to the client's.
fn port(server: &Server) -> i32 {
    match server.port {
        ServerPort::Fixed => inet_of(server).map_or(0, |address| address.port().into()),
        ServerPort::FromClient(offset) => offset,
    }
}
