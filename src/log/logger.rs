//! The logger: opens targets, builds lines, sends them.
//!
//! A line's text is built once; each target then gets its own header, the text cut to its length, and a newline, with
//! one system call. Both buffers are allocated when targets are opened. An event
//! loop may have the datagrams of a turn leave together ([`Logger::hold_lines`]).

use std::fmt::{self, Write as _};
use std::io;
use std::time::SystemTime;

use socket2::Domain;

use super::LogFormat;
use super::httplog;
use super::outlet::{self, Outlet};
use super::target::{LineFormat, Sampling, Severity, TargetAddress, TargetSpec};
use crate::net::Address;
use crate::sample::Captures;
use crate::sample::format::{DateText, Line, Moment, Record, Zone};
use crate::sys::output;

/// Room for a line's header: two dates, a host name and a tag.
const HEADER_BYTES_MAX: usize = 1024;

/// Longest line on the console: what a pipe takes whole.
const CONSOLE_BYTES_MAX: usize = 4096;

/// Who is speaking: what line headers say about this process.
#[derive(Clone, Debug)]
pub struct Identity {
    /// `log-tag` of the global section; the program's name by default.
    pub tag: String,
    /// `log-send-hostname`.
    pub hostname: Option<String>,
    /// Process id shown in headers; see [`Logger::set_pid`].
    pub pid: u32,
}

/// The targets of one proxy, or of the global section: what [`Logger::add`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetSet(usize);

impl TargetSet {
    /// No target.
    pub const NONE: TargetSet = TargetSet(0);
}

#[derive(Debug)]
struct Target {
    spec: TargetSpec,
    outlet: Outlet,
}

/// The targets of one set, and their tag.
#[derive(Debug, Default)]
struct Set {
    /// Positions in `Logger::targets`, each with the lines of this set that a round of its sample has seen.
    targets: Vec<(usize, u32)>,
    tag: String,
}

/// Sends log lines; the module of the folder tells its promises.
#[derive(Debug)]
pub struct Logger {
    hostname: Option<String>,
    default_tag: String,
    /// Process id in decimal.
    pid: String,
    targets: Vec<Target>,
    sets: Vec<Set>,
    udp: outlet::UdpSockets,
    clock: Clock,
    text: Line,
    /// Structured data of the line: `log-format-sd`.
    structured: Line,
    packet: Line,
    dropped: u64,
    /// Datagrams wait for `flush`.
    holds_lines: bool,
    /// Some do.
    has_held: bool,
    console: bool,
}

/// The time that lines carry, and its text.
#[derive(Debug)]
struct Clock {
    now: Moment,
    now_text: DateText,
    /// Text of the second in which the last logged stream began.
    stream_text: DateText,
}

impl Logger {
    /// A logger without targets. Reads the time zone: to be called before `chroot`.
    pub fn new(identity: Identity) -> Self {
        let now = Moment::from(SystemTime::now());
        Self {
            hostname: identity.hostname,
            default_tag: identity.tag,
            pid: identity.pid.to_string(),
            targets: Vec::new(),
            sets: vec![Set::default()],
            udp: outlet::UdpSockets::default(),
            clock: Clock {
                now,
                now_text: DateText::new(now.secs),
                stream_text: DateText::new(now.secs),
            },
            text: Line::with_limit(0),
            structured: Line::with_limit(0),
            packet: Line::with_limit(0),
            dropped: 0,
            holds_lines: false,
            has_held: false,
            console: false,
        }
    }

    /// Opens `targets` and returns the set of them. `tag` is the proxy's `log-tag`, if it has one. Equal targets are
    /// opened once. To be called before `chroot` and before privileges are dropped.
    ///
    /// A unix socket that nobody listens on yet is no error: lines to it are dropped until it can be connected to.
    ///
    /// # Errors
    /// A socket cannot be created, or an address cannot be one of a log target.
    pub fn add(&mut self, targets: &[TargetSpec], tag: Option<&str>) -> io::Result<TargetSet> {
        if targets.is_empty() {
            return Ok(TargetSet::NONE);
        }
        let mut set = Set {
            targets: Vec::new(),
            tag: tag.unwrap_or(&self.default_tag).to_owned(),
        };
        for spec in targets {
            let known = self.targets.iter().position(|target| target.spec == *spec);
            let index = match known {
                Some(index) => index,
                None => {
                    let outlet = self.open(&spec.address)?;
                    self.targets.push(Target {
                        spec: spec.clone(),
                        outlet,
                    });
                    self.targets.len() - 1
                }
            };
            set.targets.push((index, 0));
        }
        let longest = self
            .targets
            .iter()
            .map(|target| target.spec.len as usize)
            .max()
            .unwrap_or(0);
        self.text = Line::with_limit(longest);
        self.structured = Line::with_limit(longest);
        self.packet = Line::with_limit(longest.max(HEADER_BYTES_MAX) + 1);
        self.sets.push(set);
        Ok(TargetSet(self.sets.len() - 1))
    }

    fn open(&mut self, address: &TargetAddress) -> io::Result<Outlet> {
        match address {
            TargetAddress::Fd(fd) | TargetAddress::Datagram(Address::Fd(fd)) => Ok(Outlet::fd(*fd)),
            TargetAddress::Datagram(Address::Inet(address)) => {
                self.udp.open(Domain::for_address(*address))?;
                Ok(Outlet::udp((*address).into()))
            }
            TargetAddress::Datagram(Address::Unix(path)) => {
                Outlet::unix(socket2::SockAddr::unix(path)?)
            }
            TargetAddress::Datagram(Address::Abstract(name)) => {
                Outlet::unix(crate::net::connection::abstract_address(name)?)
            }
        }
    }

    /// Changes the process id in headers, after a fork.
    pub fn set_pid(&mut self, pid: u32) {
        self.pid = pid.to_string();
    }

    /// Tells the time. Called once a turn of the event loop; lines carry the time told last.
    pub fn set_time(&mut self, now: SystemTime) {
        self.clock.now = Moment::from(now);
        self.clock.now_text.update(self.clock.now.secs, Zone::Local);
    }

    /// Whether a line to `set` goes anywhere.
    pub fn has_targets(&self, set: TargetSet) -> bool {
        self.sets
            .get(set.0)
            .is_some_and(|set| !set.targets.is_empty())
    }

    /// Sends one line of text, without its newline. Control characters in it are escaped.
    pub fn notice(&mut self, severity: Severity, set: TargetSet, text: fmt::Arguments<'_>) {
        if !self.has_targets(set) {
            return;
        }
        self.text.clear();
        self.structured.clear();
        // A line takes what fits and never fails.
        let _ = self.text.write_fmt(text);
        self.send(severity, set);
    }

    /// Says important things on standard error too, while somebody may watch it.
    pub fn set_console(&mut self, console: bool) {
        self.console = console;
    }

    /// Says `text` on standard error, if the console is on: `[WARNING]  (pid) : text.` Nothing is said to a terminal or
    /// pipe that does not take it at once.
    pub fn tell_console(&mut self, severity: Severity, text: fmt::Arguments<'_>) {
        const STDERR: i32 = 2;
        if !self.console || !output::is_writable(STDERR) {
            return;
        }
        let label = match severity {
            Severity::Emergency => "[ALERT]   ",
            Severity::Notice | Severity::Info | Severity::Debug => "[NOTICE]  ",
            _ => "[WARNING] ",
        };
        let mut line = Line::with_limit(CONSOLE_BYTES_MAX);
        let _ = write!(line, "{label} ({}) : {text}", self.pid);
        line.truncate(CONSOLE_BYTES_MAX - 1);
        line.push_byte(b'\n');
        // Nobody is there to be told that nobody is there.
        let _ = output::write(STDERR, line.as_bytes());
    }

    /// Sends the line of a finished stream in one of the built-in formats, `structured` with it.
    pub fn stream(
        &mut self,
        severity: Severity,
        set: TargetSet,
        format: &LogFormat,
        (record, captures): (&Record<'_>, &Captures),
        structured: &[u8],
    ) {
        if !self.has_targets(set) {
            return;
        }
        self.text.clear();
        let date = &mut self.clock.stream_text;
        httplog::write(&mut self.text, date, format, record, captures);
        self.structured.clear();
        self.structured.push(structured);
        self.send(severity, set);
    }

    /// Sends a line that was written already.
    pub fn line(&mut self, severity: Severity, set: TargetSet, text: &[u8], structured: &[u8]) {
        if !self.has_targets(set) {
            return;
        }
        self.text.clear();
        self.text.push(text);
        self.structured.clear();
        self.structured.push(structured);
        self.send(severity, set);
    }

    /// From now on lines that go to UDP addresses leave with `flush`, those of one turn of an event loop together.
    pub fn hold_lines(&mut self) {
        self.holds_lines = true;
    }

    /// Sends the lines that were held. To be called before the loop sleeps, and at its end.
    pub fn flush(&mut self) {
        if std::mem::take(&mut self.has_held) {
            for target in &mut self.targets {
                self.dropped += target.outlet.flush(&self.udp);
            }
        }
    }

    /// Lines that were dropped because a target was full, absent or broken (`DroppedLogs` of `show info`).
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether a unix socket lost its listener and could not be connected again, as after `chroot`.
    pub fn has_lost_target(&self) -> bool {
        self.targets.iter().any(|target| target.outlet.is_lost())
    }

    /// Connects unix sockets anew, for this process and for all that share them by having been forked.
    pub fn reconnect(&mut self) {
        for target in &mut self.targets {
            target.outlet.reconnect();
        }
    }

    /// Sends `self.text` to the targets of `set`.
    fn send(&mut self, severity: Severity, set: TargetSet) {
        let set = &mut self.sets[set.0];
        for (index, seen) in &mut set.targets {
            let target = &mut self.targets[*index];
            let is_left_out = |sample: &Sampling| !sample.takes(seen);
            if severity as u8 > target.spec.level
                || target.spec.sample.as_ref().is_some_and(is_left_out)
            {
                continue;
            }
            let severity = target.spec.min_level.max(severity as u8);
            let packet = &mut self.packet;
            packet.clear();
            let speaker = Speaker {
                hostname: self.hostname.as_deref(),
                tag: &set.tag,
                pid: &self.pid,
            };
            let structured = self.structured.as_bytes();
            write_header(
                packet,
                &target.spec,
                severity,
                &speaker,
                &self.clock,
                structured,
            );
            packet.push(self.text.as_bytes());
            packet.truncate(target.outlet.text_bytes_max(target.spec.len as usize));
            packet.push_byte(b'\n');
            let line = packet.as_bytes();
            let is_held =
                self.holds_lines && target.outlet.hold(line, &self.udp, &mut self.dropped);
            self.has_held |= is_held;
            if !is_held
                && !target
                    .outlet
                    .send(packet.as_bytes(), &self.udp, self.clock.now.secs)
            {
                self.dropped += 1;
            }
        }
    }
}

/// Who a header names.
struct Speaker<'a> {
    hostname: Option<&'a str>,
    tag: &'a str,
    pid: &'a str,
}

/// Appends the header that `spec.format` asks for; `severity` is already raised to the target's minimum.
fn write_header(
    line: &mut Line,
    spec: &TargetSpec,
    severity: u8,
    speaker: &Speaker<'_>,
    clock: &Clock,
    structured: &[u8],
) {
    let priority = u64::from(spec.facility) * 8 + u64::from(severity);
    let format = match (spec.format, speaker.hostname) {
        (LineFormat::Unspecified, None) => LineFormat::Local,
        (LineFormat::Unspecified, Some(_)) => LineFormat::Rfc3164,
        (format, _) => format,
    };
    match format {
        LineFormat::Raw => {}
        LineFormat::Priority => write_angled(line, priority),
        LineFormat::Short => write_angled(line, u64::from(severity)),
        LineFormat::Timed => {
            write_angled(line, u64::from(severity));
            write_iso_date(line, clock);
        }
        LineFormat::Iso => write_iso_date(line, clock),
        LineFormat::Local | LineFormat::Rfc3164 | LineFormat::Unspecified => {
            write_angled(line, priority);
            line.push(clock.now_text.syslog());
            line.push_byte(b' ');
            if format == LineFormat::Rfc3164 {
                line.push(speaker.hostname.unwrap_or("localhost").as_bytes());
                line.push_byte(b' ');
            }
            line.push(speaker.tag.as_bytes());
            line.push_byte(b'[');
            line.push(speaker.pid.as_bytes());
            line.push(b"]: ");
        }
        LineFormat::Rfc5424 => {
            write_angled(line, priority);
            line.push(b"1 ");
            write_iso_date(line, clock);
            line.push(speaker.hostname.unwrap_or("-").as_bytes());
            line.push_byte(b' ');
            line.push(speaker.tag.as_bytes());
            line.push_byte(b' ');
            line.push(speaker.pid.as_bytes());
            // No message id.
            line.push(b" - ");
            line.push(if structured.is_empty() {
                b"-"
            } else {
                structured
            });
            line.push_byte(b' ');
        }
    }
}

fn write_angled(line: &mut Line, number: u64) {
    line.push_byte(b'<');
    line.push_number(number);
    line.push_byte(b'>');
}

/// `2026-11-22T13:39:54.078219+00:00 `.
fn write_iso_date(line: &mut Line, clock: &Clock) {
    line.push(clock.now_text.iso());
    line.push_byte(b'.');
    line.push_padded(clock.now.micros, 6);
    line.push(clock.now_text.iso_zone());
    line.push_byte(b' ');
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
    use std::os::unix::net::UnixDatagram;
    use std::time::Duration;

    use super::*;

    fn spec(address: TargetAddress, format: LineFormat) -> TargetSpec {
        TargetSpec {
            address,
            format,
            facility: 18,
            level: 7,
            min_level: 0,
            len: 1024,
            sample: None,
        }
    }

    fn logger(hostname: Option<&str>) -> Logger {
        let hostname = hostname.map(str::to_owned);
        let mut logger = Logger::new(Identity {
            tag: "burdock".to_owned(),
            hostname,
            pid: 42,
        });
        logger.set_time(SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_354_794_078_219));
        logger
    }

    fn udp_receiver() -> (UdpSocket, TargetAddress) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .expect("a timeout");
        let address: SocketAddr = socket.local_addr().expect("its address");
        (socket, TargetAddress::Datagram(Address::Inet(address)))
    }

    fn receive(socket: &UdpSocket) -> String {
        let mut bytes = [0; 2048];
        let len = socket.recv(&mut bytes).expect("a line");
        String::from_utf8_lossy(&bytes[..len]).into_owned()
    }

    /// What comes before the text.
    fn header(format: LineFormat, hostname: Option<&str>) -> String {
        let (socket, address) = udp_receiver();
        let mut logger = logger(hostname);
        let set = logger
            .add(&[spec(address, format)], Some("tag"))
            .expect("a target");
        logger.notice(Severity::Alert, set, format_args!("text"));
        let line = receive(&socket);
        line.strip_suffix("text\n")
            .expect("the text and a newline")
            .to_owned()
    }

    #[test]
    fn headers_are_those_of_haproxy() {
        let now = Moment {
            secs: 1_795_354_794,
            micros: 78_219,
        };
        let date = DateText::new(now.secs);
        let syslog = String::from_utf8_lossy(date.syslog()).into_owned();
        let iso = [date.iso(), b".078219", date.iso_zone()]
            .map(|part| String::from_utf8_lossy(part).into_owned())
            .concat();
        let cases = [
            (LineFormat::Raw, None, String::new()),
            (LineFormat::Short, None, "<1>".to_owned()),
            (LineFormat::Priority, None, "<145>".to_owned()),
            (LineFormat::Timed, None, format!("<1>{iso} ")),
            (LineFormat::Iso, None, format!("{iso} ")),
            (
                LineFormat::Local,
                Some("host"),
                format!("<145>{syslog} tag[42]: "),
            ),
            (
                LineFormat::Unspecified,
                None,
                format!("<145>{syslog} tag[42]: "),
            ),
            (
                LineFormat::Unspecified,
                Some("host"),
                format!("<145>{syslog} host tag[42]: "),
            ),
            (
                LineFormat::Rfc3164,
                None,
                format!("<145>{syslog} localhost tag[42]: "),
            ),
            (
                LineFormat::Rfc5424,
                None,
                format!("<145>1 {iso} - tag 42 - - "),
            ),
            (
                LineFormat::Rfc5424,
                Some("host"),
                format!("<145>1 {iso} host tag 42 - - "),
            ),
        ];
        for (format, hostname, expected) in cases {
            assert_eq!(
                header(format, hostname),
                expected,
                "{format:?} {hostname:?}"
            );
        }
    }

    #[test]
    fn severities_are_filtered_and_capped() {
        let (socket, address) = udp_receiver();
        let mut logger = logger(None);
        let filtering = TargetSpec {
            level: 5,
            min_level: 3,
            ..spec(address, LineFormat::Short)
        };
        let set = logger.add(&[filtering], None).expect("a target");
        for severity in [Severity::Info, Severity::Notice, Severity::Emergency] {
            logger.notice(severity, set, format_args!("x"));
        }
        assert_eq!(
            (receive(&socket), receive(&socket)),
            ("<5>x\n".to_owned(), "<3>x\n".to_owned())
        );
        assert_eq!(logger.dropped(), 0);
    }

    #[test]
    fn held_lines_leave_together_and_in_order() {
        let (socket, address) = udp_receiver();
        let mut logger = logger(None);
        let long = TargetSpec {
            len: 60_000,
            sample: None,
            ..spec(address, LineFormat::Raw)
        };
        let set = logger.add(&[long], None).expect("a target");
        logger.hold_lines();
        logger.notice(Severity::Info, set, format_args!("first"));
        socket.set_nonblocking(true).expect("nonblocking");
        let nothing = socket.recv(&mut [0; 16]).map_err(|error| error.kind());
        assert_eq!(nothing, Err(io::ErrorKind::WouldBlock));
        logger.flush();
        socket.set_nonblocking(false).expect("blocking");
        assert_eq!(receive(&socket), "first\n");
        // More lines than a batch takes, and one that fits none.
        for number in 0..100 {
            logger.notice(Severity::Info, set, format_args!("{number}"));
            if number == 50 {
                let long = "x".repeat(20_000);
                logger.notice(Severity::Info, set, format_args!("{long}"));
            }
        }
        logger.flush();
        for number in 0..100 {
            assert_eq!(receive(&socket), format!("{number}\n"));
            if number == 50 {
                assert!(receive(&socket).starts_with("xxx"));
            }
        }
        assert_eq!(logger.dropped(), 0);
    }

    #[test]
    fn a_held_line_that_cannot_be_sent_keeps_none_of_the_others() {
        let (socket, address) = udp_receiver();
        let mut logger = logger(None);
        // Longer than a datagram over IPv4 may be, and short enough for its target.
        let long = TargetSpec {
            len: 65_535,
            sample: None,
            ..spec(address, LineFormat::Raw)
        };
        let set = logger.add(&[long], None).expect("a target");
        logger.hold_lines();
        logger.notice(Severity::Info, set, format_args!("before"));
        let text = "x".repeat(65_535);
        logger.notice(Severity::Info, set, format_args!("{text}"));
        logger.notice(Severity::Info, set, format_args!("after"));
        logger.flush();
        assert_eq!(receive(&socket), "before\n");
        assert_eq!(receive(&socket), "after\n");
        assert_eq!(logger.dropped(), 1);
    }

    #[test]
    fn long_and_hostile_text_stays_one_bounded_line() {
        let (socket, address) = udp_receiver();
        let mut logger = logger(None);
        let short = TargetSpec {
            len: 80,
            sample: None,
            ..spec(address.clone(), LineFormat::Raw)
        };
        let set = logger
            .add(&[short, spec(address, LineFormat::Raw)], None)
            .expect("targets");
        logger.notice(
            Severity::Info,
            set,
            format_args!("a\nb{}", "y".repeat(2000)),
        );
        let (first, second) = (receive(&socket), receive(&socket));
        assert!(first.starts_with("a#0Aby"));
        assert_eq!((first.len(), second.len()), (81, 1025));
    }

    #[test]
    fn no_target_takes_nothing() {
        let mut logger = logger(None);
        assert_eq!(logger.add(&[], None).expect("no target"), TargetSet::NONE);
        assert!(!logger.has_targets(TargetSet::NONE));
        logger.notice(Severity::Info, TargetSet::NONE, format_args!("nowhere"));
        assert_eq!(logger.dropped(), 0);
    }

    #[test]
    fn a_unix_socket_may_come_late_go_and_fill_up() {
        let folder = std::env::temp_dir().join(format!("burdock-log-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("socket");
        let mut logger = logger(None);
        let target = spec(
            TargetAddress::Datagram(Address::Unix(path.clone())),
            LineFormat::Raw,
        );
        let set = logger.add(&[target], None).expect("a target");
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        logger.set_time(start);
        logger.notice(Severity::Info, set, format_args!("nobody listens"));
        assert_eq!(logger.dropped(), 1);

        for turn in 1..3_u64 {
            let receiver = UnixDatagram::bind(&path).expect("a receiver");
            logger.set_time(start + Duration::from_secs(turn));
            logger.notice(Severity::Info, set, format_args!("there"));
            let mut bytes = [0; 64];
            let len = receiver.recv(&mut bytes).expect("a line");
            assert_eq!(
                (&bytes[..len], logger.dropped()),
                (&b"there\n"[..], turn),
                "one line a restart is lost"
            );
            drop(receiver);
            std::fs::remove_file(&path).expect("removed");
            logger.notice(Severity::Info, set, format_args!("gone"));
        }

        let receiver = UnixDatagram::bind(&path).expect("a receiver");
        logger.set_time(start + Duration::from_secs(9));
        let before = logger.dropped();
        for _ in 0..10_000 {
            logger.notice(Severity::Info, set, format_args!("flood"));
        }
        assert!(logger.dropped() > before, "a full socket drops");
        drop(receiver);
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn a_full_pipe_drops_and_tears_at_most_one_line() {
        use std::io::Read;
        use std::os::fd::AsRawFd;
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        let mut logger = logger(None);
        let set = logger
            .add(
                &[spec(TargetAddress::Fd(writer.as_raw_fd()), LineFormat::Raw)],
                None,
            )
            .expect("a target");
        for _ in 0..10_000 {
            logger.notice(Severity::Info, set, format_args!("{}", "z".repeat(100)));
        }
        assert!(logger.dropped() > 0);
        drop(writer);
        let mut all = String::new();
        reader.read_to_string(&mut all).expect("what was taken");
        assert!(
            all.lines().all(|line| line.len() == 100),
            "lines up to PIPE_BUF are written whole or not at all"
        );
    }
}
