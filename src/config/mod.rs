//! Configuration text to model: lexer, one file a section, cross-checks, diagnostics with file and line.
//!
//! Order of use: [`load`] the files, [`parse`] them, print [`diag::render`] of what it says. Exit as HAProxy does: 1 when
//! there is no `Config`, 1 with `-dW` when there is a warning, 2 for `-c` on a configuration without any listener.
//! Not here: sockets, clocks, flags. The environment and the limits of the process are arguments.

mod condition;
mod cpu_map;
pub mod diag;
mod files;
mod global;
mod http_errors;
pub mod keywords;
mod lexer;
mod line;
mod listen;
mod log_line;
pub mod model;
mod parser;
mod peers;
mod proxy;
mod resolve;
mod suggest;
mod units;
mod unix_bind;
mod userlist;
mod variables;

pub use diag::{Diag, Severity};
pub use files::load;
pub use listen::master_socket;
pub use model::{Config, Pos};

/// A configuration file in memory.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// The name that diagnostics use: as given, or `DIRECTORY/FILE` for a file of a directory.
    pub name: String,
    /// Its bytes.
    pub text: Vec<u8>,
}

/// What the parser has to know about the process.
#[derive(Clone, Debug, Default)]
pub struct ParseOptions {
    /// The environment, for `"$NAME"` and `defined()`. `HAPROXY_LOCALPEER`, `HAPROXY_CFGFILES` are set by the parser.
    pub environment: Vec<(String, String)>,
    /// The host name: local peer name of last resort, `log-send-hostname`.
    pub host_name: String,
    /// `-L`.
    pub local_peer: Option<String>,
    /// `-n`: overrules `maxconn` of the file.
    pub maxconn: Option<u32>,
    /// `-N`: `maxconn` of proxies that have none; the global one by default.
    pub proxy_maxconn: Option<u32>,
    /// `-dD`: diagnostic mode, `.diag` messages and diagnostic warnings are given.
    pub diagnostic: bool,
    /// `-dW`: what the global `zero-warning` does.
    pub zero_warning: bool,
    /// `-W`, `-Ws`: `HAPROXY_MWORKER` is defined.
    pub master_worker: bool,
    /// Hard limit of RLIMIT_NOFILE: `maxconn` is computed from it when the file has none; `None` is unlimited.
    pub descriptors_max: Option<u64>,
    /// Wall-clock milliseconds since the epoch, for `date` in the global section.
    pub wall_ms: u64,
}

impl ParseOptions {
    /// The local peer's name before `localpeer` is known.
    fn local_peer_name(&self) -> &str {
        self.local_peer.as_deref().unwrap_or(&self.host_name)
    }
}

/// Parses files that were loaded. A `Config` is returned exactly when there is no alert.
///
/// With `zero_warning` (or the global keyword) a warning adds the alert that HAProxy adds.
pub fn parse(files: &[SourceFile], options: &ParseOptions) -> (Option<Config>, Vec<Diag>) {
    let mut parser = parser::Parser::new(options, files);
    for file in files {
        parser.read(file);
    }
    let config = resolve::resolve(&mut parser);
    let (aborted, zero_warning) = (parser.aborted, parser.global.zero_warning);
    let mut diags = parser.report.into_diags();
    let alert = |text: &str| Diag {
        severity: Severity::Alert,
        pos: None,
        text: text.into(),
    };
    if diag::any(&diags, Severity::Alert) {
        if !aborted {
            diags.push(alert("Fatal errors found in configuration."));
        }
        return (None, diags);
    }
    if zero_warning && diag::any(&diags, Severity::Warning) {
        diags.push(alert(
            "Some warnings were found and 'zero-warning' is set. Aborting.",
        ));
        return (None, diags);
    }
    (Some(config), diags)
}

/// `-cc CONDITION`: HAProxy exits with 0 for true, 1 for false, 2 for an error.
///
/// # Errors
/// The alert to print.
pub fn evaluate_condition(condition: &str, options: &ParseOptions) -> Result<bool, Diag> {
    let fail = |text: String| Diag {
        severity: Severity::Alert,
        pos: None,
        text: format!("Failed to evaluate condition: {text}"),
    };
    let environment: lexer::Environment = options.environment.iter().cloned().collect();
    let place = lexer::Place {
        file: "",
        line: 0,
        section: "",
    };
    let words =
        lexer::words(condition.as_bytes(), &environment, place).map_err(|error| match error {
            lexer::LexError::At(text)
            | lexer::LexError::TooManyWords(text)
            | lexer::LexError::NotUtf8(text) => fail(text),
        })?;
    condition::evaluate(&words.join(" "), &environment).map_err(|error| fail(error.text))
}
