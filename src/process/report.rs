//! Messages to the terminal, in HAProxy's form: `[ALERT]    (pid) : text`.
//!
//! The first warning or alert is preceded by two notices with the version and the executable's path, as HAProxy does.
//! Not here: messages of the parser (config renders its own), log lines.

use std::cell::RefCell;
use std::rc::Rc;

use crate::config::diag::{self, Diag, RenderContext, Severity};
use crate::log;
use crate::sys::{output, process};

/// Writes text to standard output (what was asked for). A closed pipe (`burdock -vv | head -1`) is no reason to complain.
pub(super) fn print(text: &str) {
    write_all(1, text);
}

/// Writes text to standard error as it is.
pub(super) fn print_error(text: &str) {
    write_all(2, text);
}

fn write_all(fd: i32, text: &str) {
    let mut rest = text.as_bytes();
    while let Ok(count @ 1..) = output::write(fd, rest) {
        rest = &rest[count..];
    }
}

/// Version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Writes messages to standard error, unless quiet.
#[derive(Clone, Debug)]
pub struct Report {
    quiet: bool,
    introduced: bool,
    warned: bool,
    program: String,
    executable: Option<String>,
    log: Rc<RefCell<StartupLog>>,
}

/// What was said since the start, or since a reload began, for `show startup-logs`. Copies of a report share it.
#[derive(Debug, Default)]
struct StartupLog {
    text: String,
    is_over: bool,
}

/// Most bytes that are kept.
const LOG_BYTES_MAX: usize = 64 * 1024;

impl Report {
    /// A report of the program called `program` (as typed).
    pub fn new(program: &str, quiet: bool) -> Report {
        let executable = std::env::current_exe()
            .ok()
            .map(|path| path.display().to_string());
        Report {
            quiet,
            introduced: false,
            warned: false,
            program: program.to_string(),
            executable,
            log: Rc::default(),
        }
    }

    /// What was said since the start, or since [`Report::begin_log`], up to [`Report::end_log`].
    pub fn log(&self) -> String {
        self.log.borrow().text.clone()
    }

    /// Another attempt begins: what was said before is forgotten.
    pub fn begin_log(&mut self) {
        *self.log.borrow_mut() = StartupLog::default();
        self.introduced = false;
    }

    /// The start, or the reload, is over.
    pub fn end_log(&mut self) {
        self.log.borrow_mut().is_over = true;
    }

    /// The program's name as it was typed, for messages like `[burdock.main()] …`.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// Whether there was a warning.
    pub fn has_warned(&self) -> bool {
        self.warned
    }

    /// Whether it says nothing.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Says nothing from now on.
    pub fn set_quiet(&mut self, quiet: bool) {
        self.quiet = quiet;
    }

    /// `[ALERT]`.
    pub fn alert(&mut self, text: &str) {
        self.line(Severity::Alert, text);
    }

    /// `[ALERT]` from the program's start, named as HAProxy names it.
    pub fn main_alert(&mut self, text: &str) {
        self.alert(&format!("[{}.main()] {text}", self.program));
    }

    /// `[WARNING]` from the program's start.
    pub fn main_warning(&mut self, text: &str) {
        self.warning(&format!("[{}.main()] {text}", self.program));
    }

    /// `[WARNING]`.
    pub fn warning(&mut self, text: &str) {
        self.line(Severity::Warning, text);
    }

    /// `[NOTICE]`.
    pub fn notice(&mut self, text: &str) {
        self.line(Severity::Notice, text);
    }

    /// The same by the severity of a log line; what is more than an alert there is one here.
    pub fn say(&mut self, severity: log::Severity, text: &str) {
        match severity {
            log::Severity::Warning => self.warning(text),
            log::Severity::Notice | log::Severity::Info | log::Severity::Debug => self.notice(text),
            _ => self.alert(text),
        }
    }

    /// What the parser has to say.
    pub fn diagnostics(&mut self, diags: &[Diag]) {
        for diag in diags {
            self.line(diag.severity, &format!("config : {}", diag.text));
        }
    }

    /// A line that another process has worded completely.
    pub fn relay(&mut self, line: &str) {
        let out = format!("{line}\n");
        self.remember(&out);
        if !self.quiet {
            print_error(&out);
        }
    }

    fn line(&mut self, severity: Severity, text: &str) {
        self.warned |= severity == Severity::Warning;
        let pid = process::pid().unsigned_abs();
        let mut out = String::new();
        if !self.introduced && severity >= Severity::Warning {
            self.introduced = true;
            out = diag::introduction(&self.context(pid));
        }
        out.push_str(&diag::render_message(severity, pid, text));
        self.remember(&out);
        if self.quiet {
            return;
        }
        // One write a message, so that those of two processes do not mix. A closed terminal is no reason to stop.
        print_error(&out);
    }

    fn remember(&self, text: &str) {
        let mut log = self.log.borrow_mut();
        if !log.is_over && log.text.len() + text.len() <= LOG_BYTES_MAX {
            log.text.push_str(text);
        }
    }

    fn context(&self, pid: u32) -> RenderContext<'_> {
        RenderContext {
            pid,
            program: "burdock",
            version: VERSION,
            executable: self.executable.as_deref(),
        }
    }
}
