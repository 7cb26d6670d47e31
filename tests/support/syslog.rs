//! A syslog server that keeps what it is told.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{eventually, unique_loopback};

/// Receives syslog datagrams on a UDP port of its own.
pub struct Syslog {
    address: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Syslog {
    /// Binds a free port and starts to receive.
    pub fn start() -> Syslog {
        let socket = UdpSocket::bind((unique_loopback(), 0)).expect("cannot bind a UDP port");
        let address = socket.local_addr().expect("a bound socket has an address");
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .expect("cannot set a timeout");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (lines, stop) = (Arc::clone(&lines), Arc::clone(&stop));
            move || {
                let mut datagram = [0; 65_536];
                while !stop.load(Ordering::Relaxed) {
                    if let Ok(count) = socket.recv(&mut datagram) {
                        let line = String::from_utf8_lossy(&datagram[..count]).into_owned();
                        lines.lock().unwrap().push(line);
                    }
                }
            }
        });
        Syslog {
            address,
            lines,
            stop,
            thread: Some(thread),
        }
    }

    /// Where to log to: `log <address> local0`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All datagrams so far, priority and header included.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits for the first datagram that satisfies `test`; panics with all lines after ten seconds.
    pub fn wait_for(&self, what: &str, test: impl Fn(&str) -> bool) -> String {
        let limit = Duration::from_secs(10);
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually(what, limit, || {
                self.lines().into_iter().find(|line| test(line))
            })
        }));
        found.unwrap_or_else(|_| {
            panic!(
                "no log line with {what} among:\n{}",
                self.lines().join("\n")
            )
        })
    }

    /// Waits for a datagram that contains `part`.
    pub fn wait_for_text(&self, part: &str) -> String {
        self.wait_for(part, |line| line.contains(part))
    }

    /// All datagrams that were sent until now: a mark is sent behind them and waited for.
    pub fn lines_so_far(&self) -> Vec<String> {
        const MARK: &str = "mark of the end of a case";
        let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a UDP port");
        socket
            .send_to(MARK.as_bytes(), self.address)
            .expect("a datagram");
        self.wait_for_text(MARK);
        let mut lines = self.lines();
        lines.retain(|line| line != MARK);
        lines
    }

    /// Forgets what came so far.
    pub fn clear(&self) {
        self.lines.lock().unwrap().clear();
    }
}

impl Drop for Syslog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
