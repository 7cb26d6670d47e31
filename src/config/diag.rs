//! What the parser has to say: alerts, warnings and notices, and their text in HAProxy's form.
//!
//! A [`Diag`] holds the text that follows `config : `; [`render`] adds what precedes it, for a given process.
//! Not here: what makes a diagnostic; where it is printed; exit codes.

use super::model::Pos;

/// How grave a diagnostic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// `[NOTICE]`: told, never fatal.
    Notice,
    /// `[DIAG]`: a warning that is only given in diagnostic mode (`-dD`); never fatal.
    Diag,
    /// `[WARNING]`: fatal with `-dW` or `zero-warning`.
    Warning,
    /// `[ALERT]` all the same, but HAProxy goes on, and so does burdock (`'maxconn' already specified. Continuing.`).
    Remark,
    /// `[ALERT]`: the configuration cannot be used.
    Alert,
}

/// One diagnostic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diag {
    /// How grave it is.
    pub severity: Severity,
    /// The place it speaks of, when it has one. The text names it already, as HAProxy does.
    pub pos: Option<Pos>,
    /// The text after `config : `; further lines follow a `\n` and are rendered as they are.
    pub text: String,
}

/// What stands before the text of every diagnostic.
#[derive(Clone, Debug)]
pub struct RenderContext<'a> {
    /// Process id in parentheses.
    pub pid: u32,
    /// `burdock`; used in the two notices that precede the first message.
    pub program: &'a str,
    /// Version for the first of these notices.
    pub version: &'a str,
    /// Path of the executable, for the second; left out when unknown.
    pub executable: Option<&'a str>,
}

/// The label of a severity, padded as HAProxy pads it.
fn label(severity: Severity) -> &'static str {
    match severity {
        Severity::Notice => "[NOTICE]   ",
        Severity::Diag => "[DIAG]     ",
        Severity::Warning => "[WARNING]  ",
        Severity::Remark | Severity::Alert => "[ALERT]    ",
    }
}

/// One message in HAProxy's form: `[ALERT]    (pid) : text`, newline included.
pub fn render_message(severity: Severity, pid: u32, text: &str) -> String {
    format!("{}({pid}) : {text}\n", label(severity))
}

/// One line in HAProxy's form: `[ALERT]    (pid) : config : text`, newline included.
pub fn render_line(severity: Severity, pid: u32, text: &str) -> String {
    render_message(severity, pid, &format!("config : {text}"))
}

/// The two notices that precede the first warning or alert of a process.
pub fn introduction(context: &RenderContext<'_>) -> String {
    let version = format!("{} version is {}", context.program, context.version);
    let mut out = render_message(Severity::Notice, context.pid, &version);
    if let Some(path) = context.executable {
        let path = format!("path to executable is {path}");
        out.push_str(&render_message(Severity::Notice, context.pid, &path));
    }
    out
}

/// All diagnostics as HAProxy prints them on standard error; empty when there are none.
///
/// The notices with the version and the executable's path come before the first warning or alert, as they do there.
pub fn render(diags: &[Diag], context: &RenderContext<'_>) -> String {
    let mut out = String::new();
    let mut introduced = false;
    for diag in diags {
        if !introduced && diag.severity >= Severity::Warning {
            introduced = true;
            out.push_str(&introduction(context));
        }
        out.push_str(&render_line(diag.severity, context.pid, &diag.text));
    }
    out
}

/// Whether any diagnostic is of this severity.
pub fn any(diags: &[Diag], severity: Severity) -> bool {
    diags.iter().any(|diag| diag.severity == severity)
}

/// Collects diagnostics while a configuration is read.
#[derive(Debug, Default)]
pub struct Report {
    diags: Vec<Diag>,
    alerts: usize,
}

impl Report {
    /// Adds a diagnostic whose text is complete.
    pub fn push(&mut self, severity: Severity, pos: Option<&Pos>, text: impl Into<String>) {
        if severity == Severity::Alert {
            self.alerts += 1;
        }
        self.diags.push(Diag {
            severity,
            pos: pos.cloned(),
            text: text.into(),
        });
    }

    /// An error in HAProxy's most common form: `parsing [file:line] : text`.
    pub fn alert(&mut self, pos: &Pos, text: impl AsRef<str>) {
        self.push(
            Severity::Alert,
            Some(pos),
            format!("parsing [{}:{}] : {}", pos.file, pos.line, text.as_ref()),
        );
    }

    /// What HAProxy calls an alert without stopping at it, in the first form.
    pub fn remark(&mut self, pos: &Pos, text: impl AsRef<str>) {
        let place = format!("parsing [{}:{}] : ", pos.file, pos.line);
        self.push(Severity::Remark, Some(pos), place + text.as_ref());
    }

    /// HAProxy's other form, without a blank before the colon: `parsing [file:line]: text`.
    pub fn tight_alert(&mut self, pos: &Pos, text: impl AsRef<str>) {
        let place = format!("parsing [{}:{}]: ", pos.file, pos.line);
        self.push(Severity::Alert, Some(pos), place + text.as_ref());
    }

    /// A warning in the same form.
    pub fn warning(&mut self, pos: &Pos, text: impl AsRef<str>) {
        self.push(
            Severity::Warning,
            Some(pos),
            format!("parsing [{}:{}] : {}", pos.file, pos.line, text.as_ref()),
        );
    }

    /// A notice in the same form.
    pub fn notice(&mut self, pos: &Pos, text: impl AsRef<str>) {
        self.push(
            Severity::Notice,
            Some(pos),
            format!("parsing [{}:{}] : {}", pos.file, pos.line, text.as_ref()),
        );
    }

    /// Number of alerts so far.
    pub fn alerts(&self) -> usize {
        self.alerts
    }

    /// The diagnostics in the order in which they were found.
    pub fn into_diags(self) -> Vec<Diag> {
        self.diags
    }
}
