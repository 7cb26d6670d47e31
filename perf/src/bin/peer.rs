//! A peer that measures: it says hello to a node under a name that the node knows, and counts what it is sent.
//!
//! Blocking sockets and one thread: what it does is little beside what is measured. `scripts/bench-peers.sh` says what the
//! figures are for. Not here: starting nodes, comparing them.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use burdock_perf::args::Args;

const USAGE: &str = "\
usage: peer --do WHAT ...

  fill    --socket PATH --table T --entries N [--prefix P]
          makes local entries by `set table` on a stats socket; keys are P (session) and zeros and a number, 26 bytes in all
  live    --target ADDR --dialled NAME --name ME --entries N --pid PID[,PID]
          connects, asks for no lesson, takes N live updates
  lesson  --target ADDR --dialled NAME --name ME --pid PID[,PID] [--repeat N]
          connects, asks for lessons, takes them
  teach   --target ADDR --dialled NAME --name ME --entries N --seconds S
          connects and sends lessons of the entries that `fill` made, one after the other
  lag     --target ADDR --dialled NAME --name ME --socket PATH --table T [--entries N]
          from `set table` on the stats socket to the update here, N times

  watch   --socket PATH --table T --entries N --pid PID[,PID] --wake PID[,PID]
          sees that the table is empty, sends SIGCONT to those who are to fill it, waits until the table has N entries: seconds from the last look that sees none to the first that sees all; CPU of the processes
  touch   --mib N
          takes so much memory, writes to it, gives it back: a virtual machine may have to ask for it first

Prints one line of JSON.";

/// Bytes of one read.
const CHUNK_BYTES: usize = 256 * 1024;
/// How often `watch` looks.
const LOOK: Duration = Duration::from_millis(2);
/// Tables that a node may define.
const TABLES_MAX: usize = 1_000;
/// What takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(20);

fn main() -> io::Result<()> {
    let args = Args::parse(
        USAGE,
        &[],
        &[
            "do", "socket", "table", "entries", "target", "dialled", "name", "pid", "repeat",
            "prefix", "seconds", "mib", "wake",
        ],
    );
    let line = match args.required::<String>("do").as_str() {
        "fill" => fill(&args)?,
        "live" => live(&args)?,
        "lesson" => lesson(&args)?,
        "teach" => teach(&args)?,
        "lag" => lag(&args)?,
        "watch" => watch(&args)?,
        "touch" => touch(&args),
        other => format!("{{\"error\": \"nothing known to do: {other}\"}}"),
    };
    println!("{line}");
    Ok(())
}

/// Commands on one line that a stats socket with the default buffer takes.
const COMMANDS_PER_LINE: u64 = 60;

/// Length of the keys that are filled in: a prefix and as many digits as are left.
const KEY_BYTES: usize = 26;

fn fill(args: &Args) -> io::Result<String> {
    let (table, entries): (String, u64) = (args.required("table"), args.required("entries"));
    let prefix = args.value_or("prefix", "session".to_string());
    let begun = Instant::now();
    let mut socket = UnixStream::connect(args.required::<String>("socket"))?;
    let mut answers = socket.try_clone()?;
    // Somebody has to take the answers, or both sides wait for room.
    let drain = std::thread::spawn(move || io::copy(&mut answers, &mut io::sink()));
    socket.write_all(b"prompt\n")?;
    let mut line = String::new();
    for first in (0..entries).step_by(COMMANDS_PER_LINE as usize) {
        line.clear();
        for number in first..(first + COMMANDS_PER_LINE).min(entries) {
            let server = 1 + number % 2;
            let key = key(&prefix, number);
            line += &format!("set table {table} key {key} data.server_id {server};");
        }
        line.pop();
        line.push('\n');
        socket.write_all(line.as_bytes())?;
    }
    socket.write_all(b"quit\n")?;
    drain.join().map_err(|_| io::Error::other("no answers"))??;
    Ok(format!(
        "{{\"entries\": {entries}, \"seconds\": {:.3}}}",
        begun.elapsed().as_secs_f64()
    ))
}

/// The key with this number.
fn key(prefix: &str, number: u64) -> String {
    let digits = KEY_BYTES - prefix.len().min(KEY_BYTES);
    format!("{prefix}{number:0digits$}")
}

/// A connection to a stats socket that stays open.
fn prompt(path: &str) -> io::Result<BufReader<UnixStream>> {
    let mut socket = BufReader::new(UnixStream::connect(path)?);
    socket.get_ref().set_read_timeout(Some(TIMEOUT))?;
    command(&mut socket, "prompt")?;
    Ok(socket)
}

/// Sends a line of commands and waits for the prompt, "\n> ", that follows the answers, which are returned.
fn command(socket: &mut BufReader<UnixStream>, line: &str) -> io::Result<Vec<u8>> {
    socket.get_mut().write_all(line.as_bytes())?;
    socket.get_mut().write_all(b"\n")?;
    wait_for_prompt(socket)
}

fn wait_for_prompt(socket: &mut BufReader<UnixStream>) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    while !answer.ends_with(b"\n>") {
        if socket.read_until(b'>', &mut answer)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    socket.read_exact(&mut [0])?;
    Ok(answer)
}

/// A session with a node.
struct Session {
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// The node's number for the table that updates belong to, and the last id of each table that is not acknowledged.
    table: usize,
    ids: Vec<Option<u32>>,
    last_id: u32,
    /// What this turn says; kept for its memory.
    answer: Vec<u8>,
    updates: u64,
    finished: u64,
    bytes: u64,
    heartbeat: Instant,
}

impl Session {
    fn open(args: &Args) -> io::Result<Session> {
        let target: SocketAddr = args.required("target");
        let (dialled, name): (String, String) = (args.required("dialled"), args.required("name"));
        let mut stream = TcpStream::connect(target)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        write!(
            stream,
            "HAProxyS 2.1\n{dialled}\n{name} {} 1\n",
            std::process::id()
        )?;
        let mut status = [0; 4];
        stream.read_exact(&mut status)?;
        if status != *b"200\n" {
            let text = String::from_utf8_lossy(&status).into_owned();
            return Err(io::Error::other(format!("refused: {text}")));
        }
        let mut session = Session {
            stream,
            buffer: vec![0; 2 * CHUNK_BYTES],
            start: 0,
            end: 0,
            table: 0,
            ids: Vec::new(),
            last_id: 0,
            answer: Vec::new(),
            updates: 0,
            finished: 0,
            bytes: 0,
            heartbeat: Instant::now(),
        };
        session.stream.write_all(&[0, 4])?;
        Ok(session)
    }

    /// Reads once, takes all messages, acknowledges, answers.
    fn turn(&mut self) -> io::Result<()> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        match self.stream.read(&mut self.buffer[self.end..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.end += count;
                self.bytes += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        let (updates, finished) = (self.updates, self.finished);
        let mut answer = std::mem::take(&mut self.answer);
        answer.clear();
        while let Some(taken) = self.take(&mut answer) {
            self.start += taken;
        }
        if self.updates != updates && self.finished == finished {
            for (table, id) in self.ids.iter_mut().enumerate() {
                let Some(id) = id.take() else {
                    continue;
                };
                let mut body = Vec::new();
                put_vint(&mut body, table as u64);
                body.extend_from_slice(&id.to_be_bytes());
                answer.extend_from_slice(&[10, 0x84, body.len() as u8]);
                answer.extend_from_slice(&body);
            }
        }
        if self.heartbeat.elapsed() > Duration::from_secs(2) {
            self.heartbeat = Instant::now();
            answer.extend_from_slice(&[0, 4]);
        }
        let written = self.stream.write_all(&answer);
        self.answer = answer;
        written
    }

    /// Takes one message, if it is complete; its length.
    fn take(&mut self, answer: &mut Vec<u8>) -> Option<usize> {
        let bytes = &self.buffer[self.start..self.end];
        let (&class, &kind) = (bytes.first()?, bytes.get(1)?);
        if kind < 0x80 {
            match (class, kind) {
                (0, 0) => answer.extend_from_slice(&[0, 2]),
                (0, 1 | 2) => {
                    self.finished += 1;
                    answer.extend_from_slice(&[0, 3]);
                }
                _ => {}
            }
            return Some(2);
        }
        let mut at = 2;
        let length = vint(bytes, &mut at)? as usize;
        let body = bytes.get(at..at + length)?;
        match (class, kind) {
            (10, 0x82) => {
                let mut at = 0;
                self.table = vint(body, &mut at)? as usize;
                assert!(self.table < TABLES_MAX, "so many tables were not asked for");
                let known = self.ids.len().max(self.table + 1);
                self.ids.resize(known, None);
            }
            (10, 0x80 | 0x81 | 0x85 | 0x86) => {
                self.updates += 1;
                let id = self.ids.get_mut(self.table)?;
                self.last_id = match (kind, body.first_chunk::<4>()) {
                    (0x80 | 0x85, Some(bytes)) => u32::from_be_bytes(*bytes),
                    _ => self.last_id.wrapping_add(1),
                };
                *id = Some(self.last_id);
            }
            _ => {}
        }
        Some(at + length)
    }
}

fn vint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut next = || {
        let byte = bytes.get(*at).copied();
        *at += 1;
        byte.map(u64::from)
    };
    let mut value = next()?;
    if value < 0xf0 {
        return Some(value);
    }
    let mut shift = 4;
    loop {
        let byte = next()?;
        value = value.wrapping_add(byte << shift);
        if byte < 0x80 || shift > 50 {
            return Some(value);
        }
        shift += 7;
    }
}

fn put_vint(out: &mut Vec<u8>, mut value: u64) {
    if value < 0xf0 {
        return out.push(value as u8);
    }
    out.push(value as u8 | 0xf0);
    value = (value - 0xf0) >> 4;
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value = (value - 0x80) >> 7;
    }
    out.push(value as u8);
}

/// CPU time of these processes so far, in nanoseconds.
fn cpu_ns(args: &Args) -> u64 {
    let pids: String = args.value_or("pid", String::new());
    let of = |pid: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    pids.split(',').filter_map(of).sum()
}

fn outcome(session: &Session, begun: Instant, cpu_before: u64, args: &Args) -> String {
    let (seconds, entries) = (begun.elapsed().as_secs_f64(), session.updates.max(1));
    let cpu_ns = cpu_ns(args).saturating_sub(cpu_before);
    format!(
        "{{\"entries\": {}, \"seconds\": {seconds:.4}, \"per_second\": {:.0}, \"cpu_ns_each\": {:.1}, \"per_cpu_second\": {:.0}, \"bytes_each\": {:.1}}}",
        session.updates,
        entries as f64 / seconds,
        cpu_ns as f64 / entries as f64,
        entries as f64 * 1e9 / cpu_ns.max(1) as f64,
        session.bytes as f64 / entries as f64,
    )
}

fn live(args: &Args) -> io::Result<String> {
    let entries: u64 = args.required("entries");
    let cpu_before = cpu_ns(args);
    let begun = Instant::now();
    let mut session = Session::open(args)?;
    while session.updates < entries && begun.elapsed() < TIMEOUT {
        session.turn()?;
    }
    Ok(outcome(&session, begun, cpu_before, args))
}

fn lesson(args: &Args) -> io::Result<String> {
    let mut session = Session::open(args)?;
    let cpu_before = cpu_ns(args);
    let begun = Instant::now();
    for round in 1..=args.value_or("repeat", 1_u64) {
        if begun.elapsed() > TIMEOUT {
            break;
        }
        session.stream.write_all(&[0, 0])?;
        while session.finished < round && begun.elapsed() < TIMEOUT {
            session.turn()?;
        }
    }
    Ok(outcome(&session, begun, cpu_before, args))
}

/// Unasked lessons: timed updates of a string table `app` with server_id and server_key, as the bench declares it.
fn teach(args: &Args) -> io::Result<String> {
    let (entries, seconds): (u64, u64) = (args.required("entries"), args.required("seconds"));
    let mut session = Session::open(args)?;
    let mut reader = session.stream.try_clone()?;
    // What the node answers is not looked at, but must not stop it.
    let drain = std::thread::spawn(move || {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            match reader.read(&mut buffer) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return,
            }
        }
    });
    session.stream.write_all(&message(0x82, |body| {
        put_vint(body, 1);
        put_vint(body, 3);
        body.extend_from_slice(b"app");
        for number in [6, 33, 1 | 1 << 19, 3_600_000] {
            put_vint(body, number);
        }
    }))?;
    let begun = Instant::now();
    let (mut sent, mut out) = (0, Vec::with_capacity(CHUNK_BYTES));
    while begun.elapsed() < Duration::from_secs(seconds) {
        out.clear();
        while out.len() < CHUNK_BYTES / 4 {
            let (number, id) = (sent % entries.max(1), sent as u32 + 1);
            out.extend_from_slice(&message(0x85, |body| {
                body.extend_from_slice(&id.to_be_bytes());
                body.extend_from_slice(&3_000_000_u32.to_be_bytes());
                let key = key("session", number);
                body.push(key.len() as u8);
                body.extend_from_slice(key.as_bytes());
                body.extend_from_slice(&[1, 4, 1, 2, b's', b'1']);
            }));
            sent += 1;
        }
        session.stream.write_all(&out)?;
    }
    session.stream.shutdown(std::net::Shutdown::Both)?;
    let _ = drain.join();
    let per_second = sent as f64 / begun.elapsed().as_secs_f64();
    Ok(format!(
        "{{\"entries\": {sent}, \"per_second\": {per_second:.0}}}"
    ))
}

/// A message about tables.
fn message(kind: u8, fill: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut body = Vec::with_capacity(64);
    fill(&mut body);
    let mut message = vec![10, kind];
    put_vint(&mut message, body.len() as u64);
    message.append(&mut body);
    message
}

fn lag(args: &Args) -> io::Result<String> {
    let (table, path): (String, String) = (args.required("table"), args.required("socket"));
    let count: u64 = args.value_or("entries", 2_000);
    let mut session = Session::open(args)?;
    // What is old comes first.
    let quiet = Instant::now();
    while quiet.elapsed() < Duration::from_millis(1_500) {
        session.turn()?;
    }
    let mut socket = prompt(&path)?;
    let mut times_us = Vec::new();
    for number in 0..count {
        let wanted = session.updates + 1;
        let begun = Instant::now();
        let line = format!("set table {table} key lag{number} data.server_id 1\n");
        socket.get_mut().write_all(line.as_bytes())?;
        while session.updates < wanted {
            session.turn()?;
        }
        times_us.push(begun.elapsed().as_secs_f64() * 1e6);
        wait_for_prompt(&mut socket)?;
        std::thread::sleep(Duration::from_micros(300));
    }
    times_us.sort_by(f64::total_cmp);
    let at = |part: f64| times_us[((times_us.len() - 1) as f64 * part) as usize];
    Ok(format!(
        "{{\"updates\": {count}, \"p50_us\": {:.0}, \"p90_us\": {:.0}, \"p99_us\": {:.0}}}",
        at(0.5),
        at(0.9),
        at(0.99)
    ))
}

/// How many entries `show table` says that a table has.
fn used(socket: &mut BufReader<UnixStream>, table: &str) -> io::Result<u64> {
    let answer = command(socket, "show table")?;
    let text = String::from_utf8_lossy(&answer);
    let head = format!("table: {table},");
    let line = text.lines().find(|line| line.contains(&head));
    let used = line.and_then(|line| line.rsplit("used:").next()?.trim().parse().ok());
    used.ok_or_else(|| io::Error::other(format!("no table {table}")))
}

/// How long a table takes to fill, from the last look that sees it empty to the first that sees all.
fn watch(args: &Args) -> io::Result<String> {
    let (table, entries): (String, u64) = (args.required("table"), args.required("entries"));
    let mut socket = prompt(&args.required::<String>("socket"))?;
    let wake: String = args.required("wake");
    if used(&mut socket, &table)? != 0 {
        return Err(io::Error::other("it is not empty"));
    }
    let cpu_before = cpu_ns(args);
    let begun = Instant::now();
    let mut empty = begun;
    Command::new("kill")
        .arg("-CONT")
        .args(wake.split(','))
        .status()?;
    loop {
        let count = used(&mut socket, &table)?;
        let seen = Instant::now();
        if count >= entries {
            let seconds = seen.duration_since(empty).as_secs_f64();
            let cpu_each = cpu_ns(args).saturating_sub(cpu_before) as f64 / entries as f64;
            return Ok(format!(
                "{{\"entries\": {entries}, \"seconds\": {seconds:.4}, \"cpu_ns_each\": {cpu_each:.1}}}"
            ));
        }
        if count == 0 {
            empty = seen;
        }
        if begun.elapsed() > 3 * TIMEOUT {
            return Err(io::Error::other(format!("{count} entries of {entries}")));
        }
        std::thread::sleep(LOOK);
    }
}

fn touch(args: &Args) -> String {
    let mib: usize = args.required("mib");
    let memory = std::hint::black_box(vec![1_u8; mib << 20]);
    format!("{{\"bytes\": {}}}", memory.len())
}
