//! What came out of a run, as text and as JSON.

use std::fmt::Write;
use std::fs;

use hdrhistogram::Histogram;

use super::connection::{FAILURES, Failure};

/// The percentiles that are told.
const QUANTILES: [(f64, &str); 5] = [
    (0.5, "p50"),
    (0.9, "p90"),
    (0.99, "p99"),
    (0.999, "p99_9"),
    (1.0, "max"),
];

/// Counts and latencies of the measured time.
pub struct Report {
    /// Answers, failures not among them.
    pub answers: u64,
    /// Failed requests by [`Failure`].
    pub failures: [u64; FAILURES.len()],
    /// Answers with a status other than 2xx and 3xx.
    pub bad_status: u64,
    /// Answers from another server than the key's first.
    pub wrong_server: u64,
    /// Keys whose last answer came from another server than theirs.
    pub pinned: u64,
    /// Measured time, nanoseconds.
    pub elapsed_ns: u64,
    /// Nanoseconds from due to answered.
    pub latency_ns: Histogram<u64>,
    /// The same of each slice of the measured time, if they are told apart; in any order.
    pub slices_ns: Vec<Vec<u64>>,
    /// CPU time of the watched processes, nanoseconds.
    pub cpu_ns: Option<u64>,
}

impl Report {
    /// Nothing yet.
    pub fn new() -> Report {
        Report {
            answers: 0,
            failures: [0; FAILURES.len()],
            bad_status: 0,
            wrong_server: 0,
            pinned: 0,
            elapsed_ns: 0,
            latency_ns: Histogram::new(3).expect("three digits are allowed"),
            slices_ns: Vec::new(),
            cpu_ns: None,
        }
    }

    /// Takes note of a latency. `slice`: in which part of the measured time the request was due.
    pub fn record(&mut self, latency_ns: u64, slice: Option<usize>) {
        let _ = self.latency_ns.record(latency_ns);
        if let Some(slice) = slice {
            if self.slices_ns.len() <= slice {
                self.slices_ns.resize(slice + 1, Vec::new());
            }
            self.slices_ns[slice].push(latency_ns);
        }
    }

    /// Counts a failed request.
    pub fn count_failure(&mut self, failure: Failure) {
        for (count, (known, _)) in self.failures.iter_mut().zip(FAILURES) {
            *count += u64::from(known == failure);
        }
    }

    /// Whether every request was answered well and by the right server.
    pub fn is_clean(&self) -> bool {
        self.answers > 0 && self.failed() == 0 && self.bad_status == 0 && self.wrong_server == 0
    }

    fn failed(&self) -> u64 {
        self.failures.iter().sum()
    }

    fn per_second(&self) -> f64 {
        self.answers as f64 * 1e9 / self.elapsed_ns.max(1) as f64
    }

    fn cpu_us_per_request(&self) -> Option<f64> {
        Some(self.cpu_ns? as f64 / 1e3 / self.answers.max(1) as f64)
    }

    fn microseconds(&self, quantile: f64) -> f64 {
        self.latency_ns.value_at_quantile(quantile) as f64 / 1e3
    }

    /// A quantile of each slice, microseconds, as a JSON list; slices without a request are left out.
    fn of_slices(&self, quantile: f64) -> String {
        let of_slice = |slice: &Vec<u64>| {
            let mut sorted = slice.clone();
            sorted.sort_unstable();
            let place = (sorted.len() as f64 * quantile).ceil() as usize;
            let ns = sorted.get(place.saturating_sub(1))?;
            Some(format!("{:.1}", *ns as f64 / 1e3))
        };
        let values: Vec<String> = self.slices_ns.iter().filter_map(of_slice).collect();
        format!("[{}]", values.join(","))
    }

    /// For a person.
    pub fn text(&self) -> String {
        let mut text = format!(
            "{} answers, {:.0} a second",
            self.answers,
            self.per_second()
        );
        for (quantile, name) in QUANTILES {
            let _ = write!(
                text,
                ", {} {:.0} us",
                name.replace('_', "."),
                self.microseconds(quantile)
            );
        }
        if let Some(cpu) = self.cpu_us_per_request() {
            let _ = write!(text, ", {cpu:.1} us of CPU a request");
        }
        let _ = write!(
            text,
            "\nfailed {}, bad status {}, wrong server {}\n",
            self.failed(),
            self.bad_status,
            self.wrong_server
        );
        for (count, (_, name)) in self.failures.iter().zip(FAILURES) {
            if *count > 0 {
                let _ = writeln!(text, "  {name}: {count}");
            }
        }
        text
    }

    /// For a script.
    pub fn json(&self) -> String {
        let mut json = format!(
            "{{\"answers\":{},\"seconds\":{:.3},\"per_second\":{:.1}",
            self.answers,
            self.elapsed_ns as f64 / 1e9,
            self.per_second()
        );
        for (quantile, name) in QUANTILES {
            let _ = write!(json, ",\"{name}_us\":{:.1}", self.microseconds(quantile));
        }
        if let Some(cpu) = self.cpu_us_per_request() {
            let _ = write!(json, ",\"cpu_us\":{cpu:.3}");
        }
        if !self.slices_ns.is_empty() {
            let _ = write!(
                json,
                ",\"slices_p99_us\":{},\"slices_p99_9_us\":{}",
                self.of_slices(0.99),
                self.of_slices(0.999)
            );
        }
        for (count, (_, name)) in self.failures.iter().zip(FAILURES) {
            let _ = write!(json, ",\"failed_{name}\":{count}");
        }
        let _ = write!(
            json,
            ",\"failed\":{},\"bad_status\":{},\"wrong_server\":{},\"pinned\":{}}}",
            self.failed(),
            self.bad_status,
            self.wrong_server,
            self.pinned
        );
        json
    }
}

/// CPU time that a process has used in all its threads, nanoseconds; 0 when it is gone.
pub fn cpu_ns_of(pid: u32) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return 0;
    };
    let of_thread = |path: std::path::PathBuf| {
        let text = fs::read_to_string(path.join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    threads
        .filter_map(|thread| of_thread(thread.ok()?.path()))
        .sum()
}
