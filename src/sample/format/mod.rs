//! Log formats: strings with variables (`%ci`) and expressions (`%[src]`), for log lines, unique ids, and the arguments of
//! many rules (configuration manual, section 8.2.6).
//!
//! A string is compiled once ([`Format::parse`]); [`Format::write`] appends the text to a line that truncates instead of
//! growing. The values of variables come from a [`Record`], those of expressions from the rest of the [`Context`](super::Context).
//!
//! The errors and the text are HAProxy's, compared on the same traffic. On purpose different: control characters never reach
//! a log line (HAProxy lets those of expressions pass, so that a client may write lines of its own).
//!
//! Not here: which lines are logged, syslog headers, the lines of `option httplog` and its kin, which are written without
//! being interpreted (`log`).

mod alias;
mod date;
mod line;
mod parse;
mod record;
mod termination;
mod write;

pub use alias::Alias;
pub use date::{DateText, Moment, Zone, date_text};
pub use line::Line;
pub use record::{Endpoint, Record, ServerName, Timers};
pub use termination::{Cause, CookieState, Phase, Termination};
pub use write::{Dates, Texts};

use super::{Expr, Place, Registry};

/// Flags of a variable: `%{+Q,-X}NAME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
struct Flags {
    /// `Q`: in double quotes.
    quote: bool,
    /// `X`: in hexadecimal.
    hex: bool,
    /// `E`: with a backslash before `"`, `\` and `]`.
    escape: bool,
}

/// A part of a format.
#[derive(Clone, Debug)]
enum Node {
    /// Text as it is.
    Text(Box<[u8]>),
    /// One space, unless the line is empty or ends with one.
    Separator,
    /// `%NAME`.
    Variable(Alias, Flags),
    /// `%[EXPRESSION]`.
    Sample(Expr, Flags),
}

/// What a format is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A log line: spaces are merged, what has no value is a dash.
    Log,
    /// `unique-id-format`: spaces are merged, what has no value is nothing.
    UniqueId,
    /// The argument of a rule: control characters of values are written as `%XX`, as in a URL.
    Rule,
}

/// A compiled format.
#[derive(Clone, Debug)]
pub struct Format {
    nodes: Box<[Node]>,
    purpose: Purpose,
    /// Of the expressions that look at bytes as they came over TCP: themselves and the text behind them.
    of_bytes: Box<[Box<str>]>,
}

impl Format {
    /// Compiles `text`. `places` is where it is evaluated, in one or the other; `is_http` is the mode of the proxy.
    ///
    /// # Errors
    /// In HAProxy's words, without what stands before them (`failed to parse log-format : `).
    pub fn parse(
        text: &[u8],
        purpose: Purpose,
        (places, is_http): (&[Place], bool),
        registry: &Registry,
    ) -> Result<Format, String> {
        parse::parse(text, purpose, (places, is_http), registry)
    }

    /// What HAProxy warns of where messages are those of HTTP.
    pub fn doubts(&self) -> impl Iterator<Item = String> + '_ {
        let doubt = |text| format!("L6 sample fetch <{text}> ignored in HTTP log-format string.");
        self.of_bytes.iter().map(doubt)
    }

    /// The text, if nothing in it depends on anything.
    pub fn constant(&self) -> Option<&[u8]> {
        match &*self.nodes {
            [] => Some(&[]),
            [Node::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether something in it needs a [`Record`] to be there when it is written.
    pub fn needs_record(&self) -> bool {
        self.nodes.iter().any(|node| match node {
            Node::Variable(..) => true,
            // The format of the unique id may have variables.
            Node::Sample(expr, _) => expr.fetch_name() == "unique-id",
            _ => false,
        })
    }

    /// Whether it shows the bytes received, which are counted only then.
    pub fn needs_uploaded(&self) -> bool {
        self.has(|alias| alias == Alias::BytesUploaded)
    }

    /// Whether it shows the address from which the server was connected to, which costs a system call.
    pub fn needs_server_source(&self) -> bool {
        self.has(|alias| {
            matches!(
                alias,
                Alias::BackendSourceAddress | Alias::BackendSourcePort
            )
        })
    }

    /// Whether it shows the address that the client connected to, which may cost a system call.
    pub fn needs_destination(&self) -> bool {
        self.has(|alias| matches!(alias, Alias::FrontendAddress | Alias::FrontendPort))
            || self.nodes.iter().any(|node| match node {
                Node::Sample(expr, _) => expr.needs_destination(),
                _ => false,
            })
    }

    fn has(&self, is_meant: impl Fn(Alias) -> bool) -> bool {
        self.nodes.iter().any(|node| match node {
            Node::Variable(alias, _) => is_meant(*alias),
            _ => false,
        })
    }
}
