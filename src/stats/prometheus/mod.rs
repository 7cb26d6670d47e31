//! The metrics of `http-request use-service prometheus-exporter`: names, help, order and labels of HAProxy 2.6's exporter, so that
//! dashboards and alerts go on as they are.
//!
//! The text is written in pieces of bounded size and bounded work, however many objects there are: an `Export` is a place in it. Metrics are
//! the outer order, objects the inner one, as the format wants it, so that each number is asked for by itself. Objects may
//! change between two pieces, and only their state: there are as many of them as the configuration has.
//!
//! Not here: which requests get it, how it is sent (`stream::export`), what is counted (`backend`).

mod metrics;
mod names;
mod process;
mod selection;

use std::fmt::{self, Write as _};

use super::ProcessInfo;
use super::info::VERSION;
use super::row::Text;
use crate::backend::{Proxy, Server};
use crate::config::model::Bind;
use crate::stick::Table;
use metrics::{Metric, Number, OfProxy};
use selection::Scope;
pub use selection::Selection;

/// Objects that one piece looks at: those without a line cost time, too.
const VISITS_MAX: u32 = 4096;

/// What metrics are taken from.
pub struct Sources<'a> {
    /// The process.
    pub info: &'a ProcessInfo<'a>,
    /// All proxies, as in the configuration.
    pub proxies: &'a [Proxy],
    /// All tables, as in the configuration.
    pub tables: &'a [Table],
    /// Now, on the monotonic clock.
    pub now_ms: u64,
}

/// A place in the text: what is written before it, is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Export {
    selection: Selection,
    scope: usize,
    metric: usize,
    /// Help and type of the present metric are written.
    has_head: bool,
    /// The present object: a proxy or table, and a server or listener of the proxy.
    object: usize,
    part: usize,
    /// Lines of the present object that are written.
    lines: usize,
}

/// The piece has no room for the next line.
struct Full;

/// Where a piece is written.
struct Piece<'a> {
    out: &'a mut Vec<u8>,
    bytes_max: usize,
}

impl Export {
    /// The beginning of what is selected.
    pub fn new(selection: Selection) -> Export {
        Export {
            selection,
            scope: 0,
            metric: 0,
            has_head: false,
            object: 0,
            part: 0,
            lines: 0,
        }
    }

    /// Appends the next piece, whole lines of at most `bytes_max` in all; says whether anything may follow. A piece can be empty where little fits or
    /// many objects have nothing to say.
    pub fn write_piece(
        &mut self,
        out: &mut Vec<u8>,
        bytes_max: usize,
        sources: &Sources<'_>,
    ) -> bool {
        let bytes_max = out.len() + bytes_max;
        let mut piece = Piece { out, bytes_max };
        for _ in 0..VISITS_MAX {
            let Some(scope) = Scope::ALL.get(self.scope).copied() else {
                return false;
            };
            if !self.selection.has(scope) {
                self.scope += 1;
                continue;
            }
            if self.visit(scope, &mut piece, sources).is_err() {
                break;
            }
        }
        true
    }

    /// Writes what the present metric says of the present object, and goes on to the next of either.
    fn visit(
        &mut self,
        scope: Scope,
        piece: &mut Piece<'_>,
        sources: &Sources<'_>,
    ) -> Result<(), Full> {
        match scope {
            Scope::Global => self.visit_process(piece, sources),
            Scope::Frontend => {
                let all = metrics::FRONTEND;
                self.visit_proxy("frontend", all, Proxy::is_frontend, piece, sources)
            }
            Scope::Backend => {
                let all = metrics::BACKEND;
                self.visit_proxy("backend", all, Proxy::is_backend, piece, sources)
            }
            Scope::Listener => self.visit_listener(piece, sources),
            Scope::Server => self.visit_server(piece, sources),
            Scope::Sticktable => self.visit_table(piece, sources),
        }
    }

    fn visit_process(&mut self, piece: &mut Piece<'_>, sources: &Sources<'_>) -> Result<(), Full> {
        let Some(metric) = process::PROCESS.get(self.metric) else {
            self.next_scope();
            return Ok(());
        };
        let labels = match metric.name {
            "build_info" => Labels::Version,
            _ => Labels::None,
        };
        let number = (metric.value)(sources.info);
        self.write("process", metric, labels, number, piece)?;
        self.next_metric(process::PROCESS);
        Ok(())
    }

    fn visit_proxy(
        &mut self,
        prefix: &'static str,
        all: &[Metric<OfProxy>],
        has_side: fn(&Proxy) -> bool,
        piece: &mut Piece<'_>,
        sources: &Sources<'_>,
    ) -> Result<(), Full> {
        let Some(metric) = all.get(self.metric) else {
            self.next_scope();
            return Ok(());
        };
        let Some(proxy) = sources.proxies.get(self.object) else {
            self.next_metric(all);
            return Ok(());
        };
        if !proxy.spec.disabled && has_side(proxy) {
            let number = (metric.value)(proxy, sources.now_ms);
            let labels = Labels::Proxy(&proxy.spec.name);
            self.write(prefix, metric, labels, number, piece)?;
        }
        self.next_object();
        Ok(())
    }

    /// Listeners have lines under `option socket-stats` only.
    fn visit_listener(&mut self, piece: &mut Piece<'_>, sources: &Sources<'_>) -> Result<(), Full> {
        let Some(metric) = metrics::LISTENER.get(self.metric) else {
            self.next_scope();
            return Ok(());
        };
        let Some(proxy) = sources.proxies.get(self.object) else {
            self.next_metric(metrics::LISTENER);
            return Ok(());
        };
        let is_shown = proxy.spec.options.socket_stats && !proxy.spec.disabled;
        match proxy.spec.binds.get(self.part).filter(|_| is_shown) {
            Some(bind) => {
                let number = (metric.value)(proxy, self.part);
                let labels = Labels::Listener(&proxy.spec.name, bind);
                self.write("listener", metric, labels, number, piece)?;
                self.next_part();
            }
            None => self.next_object(),
        }
        Ok(())
    }

    fn visit_server(&mut self, piece: &mut Piece<'_>, sources: &Sources<'_>) -> Result<(), Full> {
        let Some(metric) = metrics::SERVER.get(self.metric) else {
            self.next_scope();
            return Ok(());
        };
        let Some(proxy) = sources.proxies.get(self.object) else {
            self.next_metric(metrics::SERVER);
            return Ok(());
        };
        let is_shown = proxy.is_backend() && !proxy.spec.disabled;
        match proxy.servers.get(self.part).filter(|_| is_shown) {
            Some(server) => {
                if !self.passes_over(server) {
                    let number = (metric.value)(proxy, server, sources.now_ms);
                    let labels = Labels::Server(&proxy.spec.name, &server.spec.name);
                    self.write("server", metric, labels, number, piece)?;
                }
                self.next_part();
            }
            None => self.next_object(),
        }
        Ok(())
    }

    /// Tables come in HAProxy's order: the last that was declared first.
    fn visit_table(&mut self, piece: &mut Piece<'_>, sources: &Sources<'_>) -> Result<(), Full> {
        let Some(metric) = metrics::TABLE.get(self.metric) else {
            self.next_scope();
            return Ok(());
        };
        let Some(table) = sources.tables.iter().rev().nth(self.object) else {
            self.next_metric(metrics::TABLE);
            return Ok(());
        };
        let spec = table.spec();
        let labels = Labels::Table(&spec.name, spec.key_type.name());
        let number = (metric.value)(table);
        self.write("sticktable", metric, labels, number, piece)?;
        self.next_object();
        Ok(())
    }

    fn passes_over(&self, server: &Server) -> bool {
        self.selection.no_maintenance && server.admin.is_maintenance()
    }

    fn next_part(&mut self) {
        self.part += 1;
        self.lines = 0;
    }

    fn next_object(&mut self) {
        self.object += 1;
        self.part = 0;
        self.lines = 0;
    }

    /// Metrics of the same name, one for each code, have one head.
    fn next_metric<F>(&mut self, all: &[Metric<F>]) {
        let name = |at: usize| all.get(at).map(|metric| metric.name);
        self.has_head &= name(self.metric) == name(self.metric + 1);
        self.metric += 1;
        (self.object, self.part, self.lines) = (0, 0, 0);
    }

    fn next_scope(&mut self) {
        self.scope += 1;
        self.metric = 0;
        self.has_head = false;
        (self.object, self.part, self.lines) = (0, 0, 0);
    }

    /// Writes the lines of one object, before the first of a metric its help and type.
    fn write<F>(
        &mut self,
        prefix: &str,
        metric: &Metric<F>,
        labels: Labels<'_>,
        number: Number,
        piece: &mut Piece<'_>,
    ) -> Result<(), Full> {
        let name = metric.name;
        if !self.has_head && !matches!(number, Number::Absent) {
            let help = match metric.help {
                "" => names::help(name),
                help => help,
            };
            let kind = names::kind(name);
            piece.write(format_args!(
                "# HELP haproxy_{prefix}_{name} {help}\n# TYPE haproxy_{prefix}_{name} {kind}\n"
            ))?;
            self.has_head = true;
        }
        match number {
            Number::Absent => Ok(()),
            Number::States(states, counts) => {
                for (state, count) in states.iter().zip(counts).skip(self.lines) {
                    let set = LabelSet(labels, Some(("state", state)));
                    piece.write(format_args!("haproxy_{prefix}_{name}{set} {count}\n"))?;
                    self.lines += 1;
                }
                Ok(())
            }
            number => {
                let set = LabelSet(labels, metric.code.map(|code| ("code", code)));
                let shown = Shown(&number);
                piece.write(format_args!("haproxy_{prefix}_{name}{set} {shown}\n"))
            }
        }
    }
}

impl Piece<'_> {
    /// Writes all of it, or nothing.
    fn write(&mut self, text: fmt::Arguments<'_>) -> Result<(), Full> {
        let before = self.out.len();
        // Writing to memory does not fail.
        let _ = Text(self.out).write_fmt(text);
        if self.out.len() > self.bytes_max {
            self.out.truncate(before);
            return Err(Full);
        }
        Ok(())
    }
}

/// Which object a line is about.
#[derive(Clone, Copy)]
enum Labels<'a> {
    None,
    Version,
    Proxy(&'a str),
    Listener(&'a str, &'a Bind),
    Server(&'a str, &'a str),
    Table(&'a str, &'a str),
}

/// The labels of a line in their braces: the object's, and one of the metric's own.
struct LabelSet<'a>(Labels<'a>, Option<(&'static str, &'a str)>);

impl fmt::Display for LabelSet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Labels::None => return Ok(()),
            Labels::Version => write!(f, "{{version=\"{VERSION}\"")?,
            Labels::Proxy(proxy) => write!(f, "{{proxy=\"{proxy}\"")?,
            Labels::Listener(proxy, bind) => {
                write!(f, "{{proxy=\"{proxy}\",listener=\"")?;
                match &bind.name {
                    Some(name) => write_escaped(f, name)?,
                    None => write!(f, "sock-{}", bind.id)?,
                }
                f.write_char('"')?;
            }
            Labels::Server(proxy, server) => {
                write!(f, "{{proxy=\"{proxy}\",server=\"{server}\"")?;
            }
            Labels::Table(name, kind) => write!(f, "{{name=\"{name}\",type=\"{kind}\"")?,
        }
        match self.1 {
            Some((name, value)) => write!(f, ",{name}=\"{value}\"}}"),
            None => f.write_char('}'),
        }
    }
}

/// Names of listeners are free, unlike those of proxies and servers. HAProxy writes them as they are, and a reader of the format then fails
/// at a quote.
fn write_escaped(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for character in text.chars() {
        match character {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            other => f.write_char(other)?,
        }
    }
    Ok(())
}

/// A number as the format has it.
struct Shown<'a>(&'a Number);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Number::Count(number) => write!(f, "{number}"),
            Number::Signed(number) => write!(f, "{number}"),
            Number::Millis(ms) => write!(f, "{}.{:03}000", ms / 1000, ms % 1000),
            Number::Nan | Number::Absent | Number::States(..) => f.write_str("NaN"),
        }
    }
}
