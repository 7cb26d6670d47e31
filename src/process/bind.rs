//! Binding everything that a configuration listens on, before privileges are dropped.
//!
//! All failures of a start are told, not only the first. A port that an old process (`-sf`, `-st`) holds is asked for with
//! SIGTTOU, as HAProxy does, and tried again for a while.
//! Not here: how one socket is bound (net).

use std::os::fd::{AsFd, RawFd};
use std::thread;
use std::time::Duration;

use crate::config::Config;
use crate::config::model::{Mode, Pos, Proxy, ProxyKind, StatsSocket};
use crate::net::listener::{self, ListenError, ListenOptions, check_inherited, system_text};
use crate::net::takeover::Offered;
use crate::net::{Address, BoundListener, ListenerOwner};
use crate::peers::PeersSpec;
use crate::sys::{process, socket};

use super::daemon;
use super::reload::Inherited;
use super::report::Report;

/// How often, and how long after one another, an address is tried that an old process holds.
const RETRIES: u32 = 200;
const RETRY_MS: u64 = 10;

/// An address to listen on.
struct Wanted<'a> {
    owner: ListenerOwner,
    address: &'a Address,
    options: ListenOptions,
    /// As messages begin: `Binding [FILE:LINE] for frontend NAME`.
    title: String,
}

/// Reports inherited descriptors (`fd@`) that cannot be listened on; whether all are fine. HAProxy does so while it parses,
/// and in these words.
///
/// `held` are addresses that are listened on already (a reload): their numbers need not lead anywhere any more.
pub(super) fn check_descriptors(config: &Config, held: &[String], report: &mut Report) -> bool {
    let binds = config.proxies.iter().flat_map(|proxy| &proxy.binds);
    let at = |pos: &Pos| format!("{}:{}", pos.file, pos.line);
    let binds = binds.map(|bind| ("bind".to_owned(), &bind.address, at(&bind.pos)));
    let stats = config.global.stats_sockets.iter();
    let stats = stats.map(|stats| ("stats socket".to_owned(), &stats.address, at(&stats.pos)));
    let peers = config.peers.iter().flat_map(|section| {
        let keyword = peers_keyword(section);
        let listen = section.listen.iter();
        listen.map(move |address| (keyword.clone(), address, section.declared_at.clone()))
    });
    let mut files: Vec<String> = Vec::new();
    for (keyword, address, place) in binds.chain(stats).chain(peers) {
        let Address::Fd(fd) = *address else { continue };
        if held.contains(&address.to_string()) {
            continue;
        }
        let Err(error) = check_inherited(fd) else {
            continue;
        };
        report.alert(&format!(
            "config : parsing [{place}] : '{keyword}' : cannot use file descriptor '{fd}' : {}.",
            system_text(&error)
        ));
        let file = place.rsplit_once(':').map_or(&*place, |(file, _)| file);
        if !files.iter().any(|other| other == file) {
            files.push(file.to_owned());
        }
    }
    for file in &files {
        report.alert(&format!(
            "config : Error(s) found in configuration file : {file}"
        ));
    }
    if !files.is_empty() {
        report.alert("config : Fatal errors found in configuration.");
    }
    files.is_empty()
}

/// The line of a peers section that says where it listens, as HAProxy calls it.
fn peers_keyword(section: &PeersSpec) -> String {
    let mut members = section.members.iter();
    let local = members.find(|member| member.name == section.local_name);
    if local.is_some_and(|member| matches!(member.address, Some(Address::Fd(_)))) {
        return format!("peer {}", section.local_name);
    }
    let addresses: Vec<String> = section.listen.iter().map(Address::to_string).collect();
    format!("bind {}", addresses.join(","))
}

/// Closes the descriptors that were passed to us by number: the listeners hold copies.
pub(super) fn close_inherited(config: &Config) {
    let binds = config
        .proxies
        .iter()
        .flat_map(|proxy| &proxy.binds)
        .map(|bind| &bind.address);
    let stats = config
        .global
        .stats_sockets
        .iter()
        .map(|stats| &stats.address);
    let peers = config.peers.iter().flat_map(|section| &section.listen);
    for address in binds.chain(stats).chain(peers) {
        match *address {
            Address::Fd(fd @ 0..=2) => {
                // A standard descriptor keeps leading somewhere: its number must not be given to the next file.
                if let Ok(null) = daemon::open_null() {
                    let _ = socket::duplicate_to(null.as_fd(), fd);
                }
            }
            Address::Fd(fd) => socket::close_inherited(fd),
            _ => {}
        }
    }
}

/// Whether a configuration listens anywhere; a stats socket or a local peer is enough, as for HAProxy.
pub(super) fn has_listener(config: &Config) -> bool {
    let mut proxies = config.proxies.iter();
    proxies.any(|proxy| !proxy.disabled && !proxy.binds.is_empty())
        || !config.global.stats_sockets.is_empty()
        || config
            .peers
            .iter()
            .any(|section| !section.listen.is_empty() && !section.disabled)
}

/// For the check before a reload: tries to bind the internet addresses and the paths that are not held yet, and lets go of them again.
/// Whether all could be bound; failures are reported. What is at a path stays there. Abstract addresses are not tried.
pub(super) fn try_new_addresses(
    config: &Config,
    held: &[String],
    reuse_port: bool,
    report: &mut Report,
) -> bool {
    let mut all_good = true;
    for wanted in wanted(config, reuse_port) {
        if held.contains(&wanted.address.to_string()) {
            continue;
        }
        let tried = match wanted.address {
            Address::Inet(_) => {
                listener::listen(wanted.owner, wanted.address, &wanted.options).map(drop)
            }
            Address::Unix(path) => listener::try_unix(path, &wanted.options),
            Address::Abstract(_) | Address::Fd(_) => Ok(()),
        };
        if let Err(error) = tried {
            report.alert(&format!("{}: {error}", wanted.title));
            all_good = false;
        }
    }
    all_good
}

/// Sockets that listen already and are not bound again: they stay the very same.
pub(super) enum Held<'a> {
    /// None.
    Nothing,
    /// By a former image of this process (a reload).
    Inherited(&'a Inherited),
    /// By another process, which has handed them over (`-x`). What is left in the end is closed.
    Offered(Vec<Offered>),
}

impl Held<'_> {
    /// The socket for this address, if there is one that was not taken yet.
    fn take(
        &mut self,
        wanted: &Wanted<'_>,
        taken: &mut Vec<RawFd>,
    ) -> Option<Result<BoundListener, ListenError>> {
        let (owner, address, options) = (wanted.owner, wanted.address, &wanted.options);
        match self {
            Held::Nothing => None,
            Held::Inherited(inherited) => {
                let socket = inherited.listener(&address.to_string(), taken)?;
                Some(Ok(BoundListener::taken_over(owner, address, socket)))
            }
            Held::Offered(offered) => {
                let interface = options.interface.as_deref();
                let fits = |one: &Offered| one.fits(address, options.v6_only, interface);
                let socket = offered.remove(offered.iter().position(fits)?).socket;
                Some(listener::continue_listening(
                    owner, address, options, socket,
                ))
            }
        }
    }
}

/// Binds everything. Failures are reported; `None`: there were some.
///
/// `old_pids` are the processes that this one replaces; what is `held` is not bound again.
pub(super) fn bind_all(
    config: &Config,
    reuse_port: bool,
    old_pids: &[i32],
    mut held: Held<'_>,
    report: &mut Report,
) -> Option<Vec<BoundListener>> {
    let mut taken = Vec::new();
    let mut wanted = wanted(config, reuse_port);
    // Inherited descriptors first, before a number that somebody else should have passed is given to a socket of ours.
    wanted.sort_by_key(|wanted| match wanted.address {
        Address::Fd(_) => 0,
        Address::Inet(_) => 1,
        Address::Unix(_) | Address::Abstract(_) => 2,
    });
    let mut bound = Vec::with_capacity(wanted.len());
    let mut failures = Vec::new();
    let mut asked = false;
    for wanted in &wanted {
        let mut result = held
            .take(wanted, &mut taken)
            .unwrap_or_else(|| listener::listen(wanted.owner, wanted.address, &wanted.options));
        let mut tries = 0;
        while result.as_ref().is_err_and(|error| error.is_in_use())
            && !old_pids.is_empty()
            && tries < RETRIES
        {
            if !asked {
                asked = true;
                for failure in signal_all(old_pids, libc::SIGTTOU) {
                    report.warning(&failure);
                }
            }
            thread::sleep(Duration::from_millis(RETRY_MS));
            tries += 1;
            result = listener::listen(wanted.owner, wanted.address, &wanted.options);
        }
        match result {
            Ok(listener) => bound.push(listener),
            Err(error) => failures.push(format!("{}: {error}", wanted.title)),
        }
    }
    if failures.is_empty() {
        return Some(bound);
    }
    if asked {
        // Who could not be asked to stop listening need not be asked to go on.
        let _ = signal_all(old_pids, libc::SIGTTIN);
    }
    for failure in &failures {
        report.alert(failure);
    }
    report.main_alert("Some protocols failed to start their listeners! Exiting.");
    None
}

/// Binds the master sockets (`-S`), or goes on with those of a former image. Failures are reported.
pub(super) fn bind_master_sockets(
    sockets: &[StatsSocket],
    inherited: Option<&Inherited>,
    report: &mut Report,
) -> Option<Vec<BoundListener>> {
    // Whoever it belongs to is not asked: the master holds it.
    let owner = ListenerOwner::Stats(usize::MAX);
    let mut taken = Vec::new();
    let mut bound = Vec::with_capacity(sockets.len());
    for socket in sockets {
        let name = master_socket_name(&socket.address);
        let held = inherited.and_then(|inherited| inherited.listener(&name, &mut taken));
        let options = ListenOptions {
            backlog: 10,
            mode: socket.mode,
            uid: socket.uid,
            gid: socket.gid,
            ..ListenOptions::default()
        };
        let listener = match held {
            Some(held) => Ok(BoundListener::taken_over(owner, &socket.address, held)),
            None => listener::listen(owner, &socket.address, &options),
        };
        match listener {
            Ok(listener) => bound.push(listener),
            Err(error) => report.alert(&format!(
                "Binding [master-socket:0] for proxy MASTER: {error}"
            )),
        }
    }
    if bound.len() < sockets.len() {
        report.main_alert("Some protocols failed to start their listeners! Exiting.");
        return None;
    }
    Some(bound)
}

/// What a master socket is called where the master describes what it holds.
pub(super) fn master_socket_name(address: &Address) -> String {
    format!("-S {address}")
}

/// Sends a signal to processes; those that are gone already need none. Returns, in words, who could not be sent it.
pub(super) fn signal_all(pids: &[i32], signal: i32) -> Vec<String> {
    let mut failures = Vec::new();
    for &pid in pids {
        match process::kill(pid, signal) {
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
                failures.push(format!("Cannot tell the old process {pid} to end: {error}"));
            }
            _ => {}
        }
    }
    failures
}

fn wanted(config: &Config, reuse_port: bool) -> Vec<Wanted<'_>> {
    let mut wanted = Vec::new();
    for (index, stats) in config.global.stats_sockets.iter().enumerate() {
        wanted.push(Wanted {
            owner: ListenerOwner::Stats(index),
            address: &stats.address,
            options: ListenOptions {
                backlog: config.global.stats_maxconn,
                reuse_port,
                mode: stats.mode,
                uid: stats.uid,
                gid: stats.gid,
                ..ListenOptions::default()
            },
            title: format!(
                "Binding [{}:{}] for frontend GLOBAL",
                stats.pos.file, stats.pos.line
            ),
        });
    }
    for (index, proxy) in config
        .proxies
        .iter()
        .enumerate()
        .filter(|(_, proxy)| !proxy.disabled)
    {
        for bind in 0..proxy.binds.len() {
            wanted.push(wanted_bind(proxy, index, bind, reuse_port));
        }
    }
    for (index, section) in config
        .peers
        .iter()
        .enumerate()
        .filter(|(_, section)| !section.disabled)
    {
        wanted.extend(section.listen.iter().map(|address| Wanted {
            owner: ListenerOwner::Peers(index),
            address,
            options: ListenOptions {
                reuse_port,
                ..section.listen_options.clone()
            },
            title: format!(
                "Binding [{}] for proxy {}",
                section.declared_at, section.local_name
            ),
        }));
    }
    wanted
}

fn wanted_bind(
    proxy: &Proxy,
    proxy_index: usize,
    bind_index: usize,
    reuse_port: bool,
) -> Wanted<'_> {
    let bind = &proxy.binds[bind_index];
    let what = if proxy.kind == ProxyKind::Frontend {
        "frontend"
    } else {
        "proxy"
    };
    Wanted {
        owner: ListenerOwner::Proxy {
            proxy: proxy_index,
            bind: bind_index,
        },
        address: &bind.address,
        options: ListenOptions {
            backlog: bind
                .backlog
                .or(proxy.backlog)
                .or(bind.maxconn)
                .unwrap_or(proxy.maxconn),
            reuse_port,
            v6_only: bind.v6_only.unwrap_or(false),
            transparent: bind.transparent,
            interface: bind.interface.clone(),
            defer_accept: bind.defer_accept,
            fast_open: bind.fast_open,
            lazy_ack: proxy.mode == Mode::Http,
            mode: bind.mode,
            uid: bind.uid,
            gid: bind.gid,
        },
        title: format!(
            "Binding [{}:{}] for {what} {}",
            bind.pos.file, bind.pos.line, proxy.name
        ),
    }
}
