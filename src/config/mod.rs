//! Configuration text to model: lexer, one file a section, cross-checks, diagnostics with file and line.
//!
//! Order of use: [`load`] the files, [`parse`] them, print [`diag::render`] of what it says. Exit as HAProxy does: 1 when
//! there is no `Config`, 1 with `-dW` when there is a warning, 2 for `-c` on a configuration without any listener.
//! Not here: sockets, clocks, flags. The environment and the limits of the process are arguments.

pub mod diag;
mod condition;
mod lexer;
mod units;
pub mod model;

pub use diag::{Diag, Severity};
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
    /// `-dD`: diagnostic mode, `.diag` messages and diagnostic warnings are given.
    pub diagnostic: bool,
    /// `-dW`: what the global `zero-warning` does.
    pub zero_warning: bool,
    /// `-W`, `-Ws`: `HAPROXY_MWORKER` is defined.
    pub master_worker: bool,
    /// Hard limit of RLIMIT_NOFILE: `maxconn` is computed from it when the file has none; `None` is unlimited.
    pub descriptors_max: Option<u64>,
}

/// Reads the files and directories of `-f`, in order. A directory stands for its files that end in `.cfg`, in lexical order.
///
/// # Errors
/// One alert (HAProxy reports the first and exits with status 1).
pub fn load(_paths: &[String]) -> Result<Vec<SourceFile>, Diag> {
    todo!()
}

/// Parses files that were loaded. A `Config` is returned exactly when there is no alert.
///
/// With `zero_warning` (or the global keyword) a warning adds the alert that HAProxy adds.
pub fn parse(_files: &[SourceFile], _options: &ParseOptions) -> (Option<Config>, Vec<Diag>) {
    todo!()
}

/// `-cc CONDITION`: HAProxy exits with 0 for true, 1 for false, 2 for an error.
///
/// # Errors
/// The alert to print.
pub fn evaluate_condition(_condition: &str, _options: &ParseOptions) -> Result<bool, Diag> {
    todo!()
}
