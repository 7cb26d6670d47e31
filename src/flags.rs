//! The command line, with HAProxy's flags (management manual, section 3).
//!
//! Where HAProxy prints its usage and exits with 1, so do we. A flag that HAProxy knows and that has no effect here is
//! accepted and told in a notice.
//! Not here: what the flags do.

use std::fmt;

/// What the command line asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// What to do instead of serving.
    pub action: Action,
    /// `-f` and what follows `--`, in order.
    pub files: Vec<String>,
    /// `-C`.
    pub directory: Option<String>,
    /// `-D`.
    pub daemon: bool,
    /// `-db` or `-d`: stay in the foreground whatever the configuration says.
    pub foreground: bool,
    /// `-W` or `-Ws`.
    pub master_worker: bool,
    /// `-Ws`: tell systemd.
    pub notify: bool,
    /// `-q`; `-V` takes it back.
    pub quiet: bool,
    /// `-V`.
    pub verbose: bool,
    /// `-dW`.
    pub zero_warning: bool,
    /// `-dD`.
    pub diagnostic: bool,
    /// `-dR`: listeners do not share their port.
    pub no_reuse_port: bool,
    /// `-n`.
    pub maxconn: Option<u32>,
    /// `-N`.
    pub proxy_maxconn: Option<u32>,
    /// `-L`.
    pub local_peer: Option<String>,
    /// `-p`.
    pub pidfile: Option<String>,
    /// `-sf`, `-st`: processes that this one replaces.
    pub old_pids: Vec<i32>,
    /// The old processes are told to end at once (`-st`) and not to finish (`-sf`).
    pub terminate_old: bool,
    /// `-x`: stats sockets of the process whose listening sockets are taken over. The last one counts.
    pub takeover: Vec<String>,
    /// `-S`: master sockets, each an address and its options.
    pub master_sockets: Vec<String>,
    /// Flags that were accepted and have no effect here, as they were written.
    pub without_effect: Vec<String>,
}

/// What to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Serve.
    #[default]
    Serve,
    /// `-c`: check the configuration.
    Check,
    /// `-cc CONDITION`.
    Condition(String),
    /// `-v`.
    Version,
    /// `-vv`.
    BuildOptions,
}

/// Why a command line cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlagError {
    /// Print the usage, after a line of explanation where there is one.
    Usage(Option<String>),
    /// An alert.
    Alert(String),
}

impl fmt::Display for FlagError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FlagError::Usage(text) => out.write_str(text.as_deref().unwrap_or_default()),
            FlagError::Alert(text) => out.write_str(text),
        }
    }
}

/// HAProxy's debugging flags that change nothing here. `-dM` and `-dK` carry their argument in the same word.
const NO_EFFECT: [&str; 10] = [
    "-d", "-dG", "-dL", "-dS", "-dV", "-de", "-dk", "-dp", "-dr", "-ds",
];

/// The usage, for a program called `name`.
pub fn usage(name: &str) -> String {
    format!(
        "Usage : {name} [-f <cfgfile|cfgdir>]* [ -vdVD ] [ -n <maxconn> ] [ -N <maxpconn> ]
        [ -p <pidfile> ] [ -m <max megs> ] [ -C <dir> ] [-- <cfgfile>*]
        -v displays version ; -vv shows known build options.
        -d stays in foreground, as -db does.
        -V enters verbose mode (disables quiet mode)
        -D goes daemon ; -C changes to <dir> before loading files.
        -W master-worker mode (always on; -W keeps the terminal and writes the pidfile).
        -Ws master-worker mode with systemd notify support.
        -q quiet mode : don't display messages
        -c check mode : only check config files and exit
        -cc check condition : evaluate a condition and exit
        -n sets the maximum total # of connections (uses ulimit -n)
        -N sets the default, per-proxy maximum # of connections (0)
        -L set local peer name (default to hostname)
        -p writes the pid of the master to this file
        -dR disables SO_REUSEPORT usage
        -dW fails if any warning is emitted
        -dD diagnostic mode : warn about suspicious configuration statements
        -sf/-st [pid ]* finishes/terminates old pids.
        -x <unix_socket> get listening sockets from a unix socket
        -S <bind>[,<bind options>...] master socket (commands to the master and its workers)
        Accepted without effect: -m <max megs>, -dM[<byte>], -dK<class>, -dL, -de, -dp, -dS, -dG, -dr, -dV.
"
    )
}

/// Reads the arguments that follow the program's name.
///
/// # Errors
/// See [`FlagError`]; HAProxy and burdock exit with 1 for each.
pub fn parse(arguments: &[String]) -> Result<Flags, FlagError> {
    let mut flags = Flags::default();
    let mut rest = arguments.iter().map(String::as_str).peekable();
    while let Some(flag) = rest.next() {
        match flag {
            "-v" => {
                return Ok(Flags {
                    action: Action::Version,
                    ..flags
                });
            }
            "-vv" => {
                return Ok(Flags {
                    action: Action::BuildOptions,
                    ..flags
                });
            }
            "-c" => flags.action = Action::Check,
            "-D" => flags.daemon = true,
            "-db" => flags.foreground = true,
            "-W" => flags.master_worker = true,
            "-Ws" => (flags.master_worker, flags.notify) = (true, true),
            "-q" => flags.quiet = true,
            "-V" => flags.verbose = true,
            "-dW" => flags.zero_warning = true,
            "-dD" => flags.diagnostic = true,
            "-dR" => flags.no_reuse_port = true,
            "--" => flags.files.extend(rest.by_ref().map(String::from)),
            "-sf" | "-st" => {
                flags.terminate_old = flag == "-st";
                while let Some(word) = rest.next_if(|word| !word.starts_with('-')) {
                    flags.old_pids.extend(old_pids(flag, word)?);
                }
            }
            "-cc" => match rest.next() {
                Some(condition) => flags.action = Action::Condition(condition.to_string()),
                None => return Err(FlagError::Usage(None)),
            },
            "-x" => match rest.next() {
                Some(path) => flags.takeover.push(path.to_string()),
                None => {
                    let text = "Unix socket path expected with the -x flag\n";
                    return Err(FlagError::Usage(Some(text.to_string())));
                }
            },
            "-S" => match rest.next() {
                Some(socket) => flags.master_sockets.push(socket.to_string()),
                None => {
                    let text = "'-S' expects an address, and options after commas";
                    return Err(FlagError::Usage(Some(text.to_string())));
                }
            },
            "-m" => {
                let value = argument(flag, rest.next())?;
                flags.without_effect.push(format!("-m {value}"));
            }
            "-f" => flags.files.push(argument(flag, rest.next())?),
            "-C" => flags.directory = Some(argument(flag, rest.next())?),
            "-L" => flags.local_peer = Some(argument(flag, rest.next())?),
            "-p" => flags.pidfile = Some(argument(flag, rest.next())?),
            "-n" => flags.maxconn = Some(number(flag, &argument(flag, rest.next())?)?),
            "-N" => flags.proxy_maxconn = Some(number(flag, &argument(flag, rest.next())?)?),
            _ if NO_EFFECT.contains(&flag)
                || flag.starts_with("-dM")
                || flag.starts_with("-dK") =>
            {
                flags.foreground |= flag == "-d";
                flags.without_effect.push(flag.to_string());
            }
            _ => return Err(FlagError::Usage(Some(format!("Unknown option '{flag}'.")))),
        }
    }
    if flags.verbose {
        flags.quiet = false;
    }
    Ok(flags)
}

fn argument(flag: &str, value: Option<&str>) -> Result<String, FlagError> {
    match value {
        Some(value) => Ok(value.to_string()),
        None => Err(FlagError::Alert(format!("'{flag}' expects an argument."))),
    }
}

/// A limit; 0 means that none was given, as for HAProxy.
fn number(flag: &str, value: &str) -> Result<u32, FlagError> {
    value
        .parse()
        .map_err(|_| FlagError::Alert(format!("'{flag}' expects a number, not '{value}'.")))
}

/// Pids in one argument: `-sf "$(pidof …)"` quotes them together.
fn old_pids(flag: &str, word: &str) -> Result<Vec<i32>, FlagError> {
    let pid = |text: &str| text.parse().ok().filter(|pid| *pid > 0);
    let unreadable = || {
        FlagError::Alert(format!(
            "{flag} option: some bytes unconsumed in PID list {{{word}}}"
        ))
    };
    word.split_whitespace()
        .map(|text| pid(text).ok_or_else(unreadable))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Flags, FlagError> {
        let words: Vec<String> = line.split_whitespace().map(String::from).collect();
        parse(&words)
    }

    #[test]
    fn the_flags_of_an_init_script() {
        let flags =
            read("-D -L haproxy1 -f a.cfg -f dir -p /run/x.pid -sf 12 13 -- b.cfg c.cfg").unwrap();
        assert!(flags.daemon && !flags.terminate_old);
        assert_eq!(flags.files, ["a.cfg", "dir", "b.cfg", "c.cfg"]);
        assert_eq!(flags.old_pids, [12, 13]);
        assert_eq!(flags.local_peer.as_deref(), Some("haproxy1"));
        assert_eq!(flags.pidfile.as_deref(), Some("/run/x.pid"));
    }

    #[test]
    fn an_empty_pid_list_is_fine_and_a_flag_ends_it() {
        assert_eq!(read("-sf -c -f x").unwrap().action, Action::Check);
        assert_eq!(
            read("-sf abc"),
            Err(FlagError::Alert(
                "-sf option: some bytes unconsumed in PID list {abc}".into()
            ))
        );
        assert!(matches!(read("-sf 0"), Err(FlagError::Alert(_))));
    }

    #[test]
    fn verbose_takes_quiet_back_and_debug_flags_are_noticed() {
        let flags = read("-q -V -dM0x50 -de -m 100").unwrap();
        assert!(!flags.quiet);
        assert_eq!(flags.without_effect, ["-dM0x50", "-de", "-m 100"]);
        assert!(read("-d").unwrap().foreground);
    }

    #[test]
    fn what_is_missing_or_unknown_is_said() {
        assert!(matches!(read("-f"), Err(FlagError::Alert(_))));
        assert!(matches!(read("-n abc"), Err(FlagError::Alert(_))));
        assert!(matches!(read("zork"), Err(FlagError::Usage(Some(_)))));
        assert!(matches!(read("-x"), Err(FlagError::Usage(Some(_)))));
        assert_eq!(
            read("-x /run/s -x /run/t").unwrap().takeover,
            ["/run/s", "/run/t"]
        );
        assert!(matches!(read("-S"), Err(FlagError::Usage(Some(_)))));
        let flags = read("-W -S /run/s,mode,600 -S 127.0.0.1:1").unwrap();
        assert_eq!(flags.master_sockets, ["/run/s,mode,600", "127.0.0.1:1"]);
    }
}
