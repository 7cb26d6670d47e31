//! The command: from the command line to a running service, or to a clear error and an exit code that is not zero.
//!
//! parse → limits → bind → tables → log sockets → daemonise → pidfile → master. Whatever can fail, fails before the command
//! that was typed has ended.
//! Not here: the flags' grammar, what the master does.

use std::path::Path;
use std::time::SystemTime;

use crate::config::model::StatsSocket;
use crate::config::{self, Config, ParseOptions, Severity, diag};
use crate::flags::{self, Action, Flags};
use crate::log::{Identity, Logger};
use crate::net::listener::system_text;
use crate::net::takeover;
use crate::sys::limits::Limit;
use crate::sys::{environment, host, limits as system_limits, process, signal, time};

use super::bind::{self, Held};
use super::caretaker::{self, Voice};
use super::console::Console;
use super::daemon::{self, Detached};
use super::inheritance::Inheritance;
use super::master::{Audience, Legacy, Master, Outcome};
use super::notify::ServiceManager;
use super::pidfile::Pidfile;
use super::reload::{self, CommandLine, Inherited};
use super::report::{self, Report, VERSION};
use super::tables::{self, TableMemories};
use super::{Limits, LogTargets};

/// Name under which burdock logs where `log-tag` says nothing.
const LOG_TAG: &str = "burdock";

/// HAProxy's code for a configuration that is right and would not start.
const NO_LISTENER: i32 = 2;

/// HAProxy's code for a condition (`-cc`) that cannot be evaluated.
const BAD_CONDITION: i32 = 2;

/// Why a start ends here: the exit code. What there was to say has been said.
struct End(i32);

/// Does what the flags ask for. `program` is the name that was typed. Returns twice where it forks.
pub(super) fn run(program: &str, flags: &Flags) -> Outcome {
    let mut report = Report::new(program, flags.quiet);
    let command_line = CommandLine::of_this_process();
    if let (Action::Serve, Some(inherited)) = (&flags.action, Inherited::from_environment()) {
        return match inherited {
            Ok(inherited) => go_on(inherited, &command_line, flags, report),
            Err(why) => {
                report.main_alert(&format!("This reload cannot go on : {why}."));
                Outcome::Exit(1)
            }
        };
    }
    let result = match &flags.action {
        Action::Version => {
            report::print(&version());
            Err(End(0))
        }
        Action::BuildOptions => {
            report::print(&(version() + &build_options()));
            Err(End(0))
        }
        Action::Condition(condition) => Err(evaluate(condition, flags, &mut report)),
        Action::Check => parse(flags, &held_addresses(), &mut report)
            .and_then(|config| check(&config, flags, &mut report)),
        Action::Serve => parse(flags, &[], &mut report)
            .and_then(|config| serve(config, flags, report, command_line)),
    };
    result.unwrap_or_else(|End(code)| Outcome::Exit(code))
}

/// A reload: the former image of this process left listeners, tables and workers. If the start fails all the same (the check
/// was good, something has changed since), the workers go on, and the next reload may be better.
fn go_on(
    mut inherited: Inherited,
    command_line: &CommandLine,
    flags: &Flags,
    mut report: Report,
) -> Outcome {
    if inherited.detached {
        report.set_quiet(true);
    }
    let listeners = inherited.listeners.iter();
    let held: Vec<String> = listeners.map(|(address, _)| address.clone()).collect();
    let mut log = None;
    let result = parse(flags, &held, &mut report).and_then(|config| {
        let mut report = report.clone();
        log = open_logs(&config, &mut report).ok();
        resume(config, flags, &mut report, &mut inherited, command_line)
    });
    match result {
        Ok(master) => {
            drop(inherited);
            master.run()
        }
        Err(End(_)) => {
            let specs = master_sockets(flags, &mut report).unwrap_or_default();
            let sockets = bind::bind_master_sockets(&specs, Some(&inherited), &mut report);
            let waiters = std::mem::take(&mut inherited.waiters);
            let console = Console::new(
                sockets.unwrap_or_default(),
                &specs,
                waiters,
                time::monotonic_ms(),
            );
            let manager = match flags.notify {
                true => command_line.service_manager(),
                false => ServiceManager::default(),
            };
            if let Some((log, _)) = &mut log {
                log.set_console(false);
            }
            let voice = Voice { report, log };
            caretaker::take_care(inherited, console, &manager, command_line, voice)
        }
    }
}

/// What follows parsing in a reload.
fn resume(
    config: Config,
    flags: &Flags,
    report: &mut Report,
    inherited: &mut Inherited,
    command_line: &CommandLine,
) -> Result<Master, End> {
    if !bind::has_listener(&config) {
        report.main_alert("No enabled listener found (check for 'bind' directives) ! Exiting.");
        return Err(End(1));
    }
    let limits = raise_descriptor_limit(&config, report)?;
    let reuse_port = !flags.no_reuse_port;
    let Some(listeners) =
        bind::bind_all(&config, reuse_port, &[], Held::Inherited(inherited), report)
    else {
        return Err(End(1));
    };
    let (mut log, log_targets) = open_logs(&config, report)?;
    log.set_console(!inherited.detached && !report.is_quiet());
    log.set_pid(process::pid().unsigned_abs());
    let mut say = |severity, text: &str| {
        report.say(severity, text);
        log.notice(severity, log_targets.global, format_args!("{text}"));
    };
    let tables = TableMemories::inherit(&config, inherited, &mut say);
    let tables = tables.map_err(|text| {
        report.main_alert(&text);
        End(1)
    })?;
    let inheritance = Inheritance {
        config,
        limits,
        listeners,
        tables,
        has_teacher: false,
        predecessor: None,
        draining: Vec::new(),
        log,
        log_targets,
        detached: inherited.detached,
    };
    let pidfile = take_pidfile(&inheritance.config, flags, inherited, report)?;
    let specs = master_sockets(flags, report)?;
    let Some(sockets) = bind::bind_master_sockets(&specs, Some(inherited), report) else {
        return Err(End(1));
    };
    let mut audience = Audience {
        master_worker: flags.master_worker || inheritance.config.global.master_worker,
        ..Audience::default()
    };
    if flags.notify {
        audience.service_manager = command_line.service_manager();
    }
    let copy = |error: std::io::Error| {
        report.main_alert(&format!(
            "Cannot take over a worker : {}.",
            system_text(&error)
        ));
        End(1)
    };
    let workers = inherited.workers.iter();
    let workers = workers
        .map(|worker| Ok(worker.with_line(worker.line.try_clone()?)))
        .collect::<std::io::Result<_>>()
        .map_err(copy)?;
    let master = Master::new(
        inheritance,
        report.clone(),
        audience,
        pidfile,
        Console::default(),
        command_line.clone(),
    );
    match master {
        Ok(master) => {
            // From here on nothing fails: until then the clients are the caretaker's to answer.
            let waiters = std::mem::take(&mut inherited.waiters);
            let console = Console::new(sockets, &specs, waiters, time::monotonic_ms());
            Ok(master.resume(Legacy {
                workers,
                history: inherited.history,
                console,
            }))
        }
        Err(error) => {
            report.main_alert(&format!(
                "Cannot receive signals : {}.",
                system_text(&error)
            ));
            Err(End(1))
        }
    }
}

/// The same pidfile, or, where the configuration names another one, that in its place.
fn take_pidfile(
    config: &Config,
    flags: &Flags,
    inherited: &Inherited,
    report: &mut Report,
) -> Result<Option<Pidfile>, End> {
    let Some(there) = &inherited.pidfile else {
        return Ok(None);
    };
    let asked = flags.pidfile.as_ref().map(Path::new);
    let asked = asked.or(config.global.pidfile.as_deref());
    let is_same =
        asked.is_some_and(|path| std::path::absolute(path).is_ok_and(|path| path == *there));
    if is_same && let Ok(pidfile) = Pidfile::keep(there) {
        return Ok(Some(pidfile));
    }
    let mut made = create_pidfile(config, flags, report)?;
    if let Some(made) = &mut made
        && made.write().is_err()
    {
        report.main_alert("Cannot write the pidfile.");
        return Err(End(1));
    }
    if !is_same && let Ok(old) = Pidfile::keep(there) {
        old.remove();
    }
    Ok(made)
}

fn version() -> String {
    format!("burdock version {VERSION} - runs HAProxy configurations, keeps stick tables\n")
}

fn build_options() -> String {
    let profile = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
    format!(
        "Build options :\n  TARGET  = {}-{}\n  PROFILE = {profile}\n\n\
         Feature list : +EPOLL +ACCEPT4 +TPROXY +PEERS -LUA -OPENSSL -PCRE -QUIC -THREAD -ZLIB\n\n\
         Default settings :\n  bufsize = 16384, maxrewrite = 1024\n\n\
         Peers protocol : 2.1\n\n\
         Available polling systems :\n      epoll : pref=300,  test result OK\nTotal: 1 (1 usable), will use epoll.\n",
        std::env::consts::ARCH,
        std::env::consts::OS,
    )
}

fn evaluate(condition: &str, flags: &Flags, report: &mut Report) -> End {
    match config::evaluate_condition(condition, &parse_options(flags)) {
        Ok(true) => End(0),
        Ok(false) => End(1),
        Err(diag) => {
            report.diagnostics(&[diag]);
            End(BAD_CONDITION)
        }
    }
}

fn parse_options(flags: &Flags) -> ParseOptions {
    let text = |name: std::ffi::OsString| name.to_string_lossy().into_owned();
    ParseOptions {
        environment: std::env::vars_os()
            .map(|(name, value)| (text(name), text(value)))
            .collect(),
        host_name: host::name().unwrap_or_default(),
        local_peer: flags.local_peer.clone(),
        maxconn: flags.maxconn.filter(|max| *max > 0),
        proxy_maxconn: flags.proxy_maxconn.filter(|max| *max > 0),
        diagnostic: flags.diagnostic,
        zero_warning: flags.zero_warning,
        master_worker: flags.master_worker,
        descriptors_max: system_limits::descriptors().ok().map(|limit| limit.hard),
        wall_ms: SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64),
    }
}

/// `-C`, then the files.
///
/// `held` are addresses that are listened on already, in a reload.
fn parse(flags: &Flags, held: &[String], report: &mut Report) -> Result<Config, End> {
    if let Some(directory) = &flags.directory
        && let Err(error) = std::env::set_current_dir(directory)
    {
        report.alert(&format!(
            "Could not change to directory {directory} : {}",
            system_text(&error)
        ));
        return Err(End(1));
    }
    for _ in flags.takeover.iter().skip(1) {
        report.warning("-x option already set, overwriting the value");
    }
    for flag in &flags.without_effect {
        report.notice(&format!(
            "'{flag}' is accepted and has no effect in burdock."
        ));
    }
    let files = config::load(&flags.files).map_err(|diag| {
        report.diagnostics(&[diag]);
        End(1)
    })?;
    if files.is_empty() {
        report::print(&version());
        report::print_error(&flags::usage(report.program()));
        return Err(End(1));
    }
    let (config, diags) = config::parse(&files, &parse_options(flags));
    report.diagnostics(&diags);
    let config = config.ok_or(End(1))?;
    if flags.zero_warning && diag::any(&diags, Severity::Warning) {
        return Err(End(1));
    }
    if !bind::check_descriptors(&config, held, report) {
        return Err(End(1));
    }
    master_sockets(flags, report)?;
    Ok(config)
}

/// In a check before a reload: the addresses that the running process listens on.
fn held_addresses() -> Vec<String> {
    std::env::var(reload::HELD)
        .map(|held| held.lines().map(String::from).collect())
        .unwrap_or_default()
}

/// `-c`: what would a start say?
fn check(config: &Config, flags: &Flags, report: &mut Report) -> Result<Outcome, End> {
    if !bind::has_listener(config) {
        if !flags.quiet {
            report::print(&format!(
                "Configuration file has no error but will not start (no listener) => exit({NO_LISTENER}).\n"
            ));
        }
        return Err(End(NO_LISTENER));
    }
    if let Err(text) = tables::check_directory(config) {
        report.main_alert(&text);
        return Err(End(1));
    }
    if std::env::var_os(reload::HELD).is_some() {
        if !bind::try_new_addresses(config, &held_addresses(), !flags.no_reuse_port, report) {
            return Err(End(1));
        }
        if let Err(text) = tables::try_new_files(config) {
            report.main_alert(&text);
            return Err(End(1));
        }
        report::print_error(&reload::greeting());
    }
    if !flags.quiet {
        if report.has_warned() {
            report::print("Warnings were found.\n");
        }
        report::print("Configuration file is valid\n");
    }
    if flags.verbose {
        let limit = descriptor_limit(config, report)?;
        let limits = count(config, limit, report)?;
        report::print(&format!("{limits}\n"));
    }
    Err(End(0))
}

fn serve(
    config: Config,
    flags: &Flags,
    mut report: Report,
    command_line: CommandLine,
) -> Result<Outcome, End> {
    if !bind::has_listener(&config) {
        report.main_alert("No enabled listener found (check for 'bind' directives) ! Exiting.");
        return Err(End(1));
    }
    environment::replace(&config.environment);
    for signal in [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGUSR1] {
        // Whoever started us may have had them ignored; a background job of a shell has.
        let _ = signal::restore_default(signal);
    }
    let limits = raise_descriptor_limit(&config, &mut report)?;
    let held = fetch_sockets(flags, &mut report)?;
    let Some(listeners) = bind::bind_all(
        &config,
        !flags.no_reuse_port,
        &flags.old_pids,
        held,
        &mut report,
    ) else {
        return Err(End(1));
    };
    let specs = master_sockets(flags, &mut report)?;
    let Some(sockets) = bind::bind_master_sockets(&specs, None, &mut report) else {
        return Err(End(1));
    };
    let console = Console::new(sockets, &specs, Vec::new(), time::monotonic_ms());
    bind::close_inherited(&config);
    let (mut log, log_targets) = open_logs(&config, &mut report)?;
    let mut say = |severity, text: &str| {
        report.say(severity, text);
        log.notice(severity, log_targets.global, format_args!("{text}"));
    };
    // Who is told to end by us only afterwards is not waited for.
    let tables = TableMemories::create(&config, flags.old_pids.is_empty(), &mut say);
    let tables = tables.map_err(|text| {
        report.main_alert(&text);
        End(1)
    })?;
    report.notice(&limits.to_string());

    let daemon = (flags.daemon || config.global.daemon) && !flags.foreground && !flags.notify;
    let master_worker = flags.master_worker || config.global.master_worker;
    let pidfile = if daemon || master_worker {
        create_pidfile(&config, flags, &mut report)?
    } else {
        None
    };
    let inheritance = Inheritance {
        config,
        limits,
        listeners,
        tables,
        has_teacher: !flags.old_pids.is_empty() && !flags.terminate_old,
        predecessor: None,
        draining: Vec::new(),
        log,
        log_targets,
        detached: daemon,
    };
    let mut audience = Audience {
        old_pids: flags.old_pids.clone(),
        old_signal: if flags.terminate_old {
            libc::SIGTERM
        } else {
            libc::SIGUSR1
        },
        master_worker,
        ..Audience::default()
    };
    if flags.notify {
        audience.service_manager = command_line.service_manager();
    }
    if daemon {
        match daemon::detach() {
            Ok(Detached::Command(code)) => return Ok(Outcome::Exit(code)),
            Ok(Detached::Daemon(announcement)) => audience.command = Some(announcement),
            Err(error) => {
                report.main_alert(&format!("Cannot fork : {}.", system_text(&error)));
                return Err(End(1));
            }
        }
    }
    run_master(
        inheritance,
        report,
        audience,
        pidfile,
        console,
        command_line,
    )
}

/// `-S`.
fn master_sockets(flags: &Flags, report: &mut Report) -> Result<Vec<StatsSocket>, End> {
    let sockets = flags.master_sockets.iter();
    sockets
        .map(|text| {
            config::master_socket(text).map_err(|diags| {
                report.diagnostics(&diags);
                End(1)
            })
        })
        .collect()
}

/// `-x`: the listening sockets of the process that is replaced. As in HAProxy, `/dev/null` stands for none.
fn fetch_sockets(flags: &Flags, report: &mut Report) -> Result<Held<'static>, End> {
    let Some(path) = flags.takeover.last().filter(|path| *path != "/dev/null") else {
        return Ok(Held::Nothing);
    };
    match takeover::fetch(path) {
        Ok(offered) => Ok(Held::Offered(offered)),
        Err(error) => {
            report.warning(&error.to_string());
            report.alert("Failed to get the sockets from the old process!");
            Err(End(1))
        }
    }
}

fn run_master(
    mut inheritance: Inheritance,
    mut report: Report,
    audience: Audience,
    mut pidfile: Option<Pidfile>,
    console: Console,
    command_line: CommandLine,
) -> Result<Outcome, End> {
    if let Some(pidfile) = &mut pidfile
        && let Err(error) = pidfile.write()
    {
        report.main_alert(&format!(
            "Cannot write the pidfile : {}.",
            system_text(&error)
        ));
        return Err(End(1));
    }
    inheritance.log.set_pid(process::pid().unsigned_abs());
    let master = Master::new(
        inheritance,
        report.clone(),
        audience,
        pidfile,
        console,
        command_line,
    );
    match master {
        Ok(master) => Ok(master.run()),
        Err(error) => {
            report.main_alert(&format!(
                "Cannot receive signals : {}.",
                system_text(&error)
            ));
            Err(End(1))
        }
    }
}

fn create_pidfile(
    config: &Config,
    flags: &Flags,
    report: &mut Report,
) -> Result<Option<Pidfile>, End> {
    let path = flags
        .pidfile
        .as_ref()
        .map(Path::new)
        .or(config.global.pidfile.as_deref());
    let Some(path) = path else { return Ok(None) };
    match Pidfile::create(path) {
        Ok(pidfile) => Ok(Some(pidfile)),
        Err(_) => {
            report.main_alert(&format!("Cannot create pidfile {}", path.display()));
            Err(End(1))
        }
    }
}

/// The descriptor limit that this process can have: `ulimit-n`, or what is there.
fn descriptor_limit(config: &Config, report: &mut Report) -> Result<Limit, End> {
    let limit = system_limits::descriptors().map_err(|error| {
        report.main_alert(&format!(
            "Cannot read the descriptor limit : {}.",
            system_text(&error)
        ));
        End(1)
    })?;
    let soft = config.global.ulimit_n.unwrap_or(limit.hard);
    Ok(Limit {
        soft,
        hard: limit.hard.max(soft),
    })
}

/// Counts, and sets the limit of descriptors to what is needed: a configuration that cannot be served does not start,
/// unless `no strict-limits` accepts that.
fn raise_descriptor_limit(config: &Config, report: &mut Report) -> Result<Limits, End> {
    let asked = descriptor_limit(config, report)?;
    let mut limits = count(config, asked, report)?;
    let wanted = config.global.ulimit_n.unwrap_or(limits.descriptors_needed);
    let there = system_limits::descriptors().unwrap_or(Limit { soft: 0, hard: 0 });
    if wanted > there.soft {
        let raised = Limit {
            soft: wanted,
            hard: there.hard.max(wanted),
        };
        if system_limits::set_descriptors(raised).is_err() {
            let text = format!(
                "Cannot raise FD limit to {wanted}, limit is {}.",
                there.hard
            );
            if config.global.strict_limits {
                let sessions = limits.sessions_max;
                report.main_alert(&format!(
                    "{text} (maxconn is {sessions}; 'no strict-limits' starts all the same)"
                ));
                return Err(End(1));
            }
            report.main_warning(&text);
            let _ = system_limits::set_descriptors(Limit {
                soft: there.hard,
                hard: there.hard,
            });
        }
    }
    limits.descriptors_max = system_limits::descriptors().map_or(there.soft, |limit| limit.soft);
    if limits.descriptors_max < limits.descriptors_needed {
        let Limits {
            descriptors_max,
            descriptors_needed,
            sessions_max,
            ..
        } = limits;
        let text = format!(
            "FD limit ({descriptors_max}) too low for maxconn={sessions_max}/maxsock={descriptors_needed}. \
             Please raise 'ulimit-n' to {descriptors_needed} or more to avoid any trouble."
        );
        report.main_alert(&text);
        if config.global.strict_limits {
            return Err(End(1));
        }
    }
    Ok(limits)
}

/// All limits; comes right after the configuration was read, for what the process holds by then is what that takes.
fn count(config: &Config, descriptors: Limit, report: &mut Report) -> Result<Limits, End> {
    let table_bytes = table_bytes(config, report)?;
    // Where the system does not tell, the program's own share stands for it.
    let read_bytes = process::private_bytes().unwrap_or(0);
    Ok(Limits::new(
        config,
        table_bytes,
        read_bytes,
        descriptors.soft,
    ))
}

fn table_bytes(config: &Config, report: &mut Report) -> Result<u64, End> {
    let mut sum = 0;
    for spec in &config.tables {
        let bytes = match config.global.table_directory {
            Some(_) => crate::stick::bytes_in_file(spec),
            None => crate::stick::bytes_needed(spec),
        };
        sum += bytes.map_err(|error| {
            report.main_alert(&format!(
                "Stick table '{}' is too large : {}.",
                spec.name,
                system_text(&error)
            ));
            End(1)
        })?;
    }
    Ok(sum)
}

/// Opens the log targets of all sections, while paths and privileges are there.
fn open_logs(config: &Config, report: &mut Report) -> Result<(Logger, LogTargets), End> {
    let global = &config.global;
    let mut log = Logger::new(Identity {
        tag: global
            .log_tag
            .clone()
            .unwrap_or_else(|| LOG_TAG.to_string()),
        hostname: global.log_hostname.clone(),
        pid: process::pid().unsigned_abs(),
    });
    log.set_time(SystemTime::now());
    log.set_console(!report.is_quiet());
    let mut failed = |error: std::io::Error| {
        report.main_alert(&format!(
            "Cannot open a log target : {}.",
            system_text(&error)
        ));
        End(1)
    };
    let all = log.add(&global.log, None).map_err(&mut failed)?;
    let mut proxies = Vec::with_capacity(config.proxies.len());
    for proxy in &config.proxies {
        proxies.push(
            log.add(&proxy.log, proxy.log_tag.as_deref())
                .map_err(&mut failed)?,
        );
    }
    Ok((
        log,
        LogTargets {
            global: all,
            proxies,
        },
    ))
}
