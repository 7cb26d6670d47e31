//! The walk of `show stat` over all proxies: what is selected, and where a dump stands that is written in pieces.

use super::objects::{self, Style};
use super::row::{self, Form};
use crate::backend::{Proxy, Server};

/// What `show stat` selects: all by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Only the proxy with this id.
    pub proxy_id: Option<u32>,
    /// Sum of 1 frontends, 2 backends, 4 servers, 8 listeners.
    pub kinds: u32,
    /// Only the server or listener with this id; frontends and backends are not concerned.
    pub object_id: Option<u32>,
    /// `up`: no servers that are down or in maintenance.
    pub up: bool,
    /// `no-maint`: no servers in maintenance.
    pub no_maintenance: bool,
}

const FRONTENDS: u32 = 1;
const BACKENDS: u32 = 2;
const SERVERS: u32 = 4;
const LISTENERS: u32 = 8;

impl Default for Filter {
    fn default() -> Self {
        Self {
            proxy_id: None,
            kinds: u32::MAX,
            object_id: None,
            up: false,
            no_maintenance: false,
        }
    }
}

impl Filter {
    fn has(&self, kind: u32) -> bool {
        self.kinds & kind != 0
    }

    fn selects(&self, server: &Server) -> bool {
        self.object_id.is_none_or(|id| id == server.spec.id)
            && (!self.up || server.is_up())
            && (!self.no_maintenance || !server.admin.is_maintenance())
    }
}

/// Where a dump stands: which proxy, and which of its rows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Position {
    started: bool,
    any_row: bool,
    proxy: usize,
    part: Part,
}

/// The rows of a proxy, in order.
#[derive(Clone, Copy, Debug, Default)]
enum Part {
    #[default]
    Frontend,
    Listener(usize),
    Server(usize),
    Backend,
}

impl Position {
    /// Writes the next row, or what stands before the first or after the last; says whether anything is left.
    pub fn write_next(
        &mut self,
        out: &mut Vec<u8>,
        style: &Style,
        filter: &Filter,
        proxies: &[Proxy],
    ) -> bool {
        if !self.started {
            self.started = true;
            match style.form {
                Form::Csv => row::write_csv_header(out),
                Form::Json => out.push(b'['),
                Form::Typed => {}
            }
            return true;
        }
        let Some(proxy) = proxies.get(self.proxy) else {
            if style.form == Form::Json {
                out.extend_from_slice(b"]\n");
            }
            return false;
        };
        if proxy.spec.disabled || filter.proxy_id.is_some_and(|id| id != proxy.spec.id) {
            self.next_proxy();
            return true;
        }
        let start = out.len();
        if self.any_row && style.form == Form::Json {
            out.push(b',');
        }
        let row_start = out.len();
        self.write_part(out, style, filter, proxy);
        if out.len() == row_start {
            out.truncate(start);
        } else {
            self.any_row = true;
        }
        true
    }

    /// Writes the row at this position if it is selected, and moves on.
    fn write_part(&mut self, out: &mut Vec<u8>, style: &Style, filter: &Filter, proxy: &Proxy) {
        match self.part {
            Part::Frontend => {
                self.part = Part::Listener(0);
                if proxy.is_frontend() && filter.has(FRONTENDS) {
                    objects::write_frontend(out, style, proxy);
                }
            }
            Part::Listener(index) => match proxy.spec.binds.get(index) {
                Some(bind) => {
                    self.part = Part::Listener(index + 1);
                    let wanted =
                        filter.has(LISTENERS) && filter.object_id.is_none_or(|id| id == bind.id);
                    if proxy.spec.options.socket_stats && wanted {
                        objects::write_listener(out, style, proxy, index);
                    }
                }
                None => self.part = Part::Server(0),
            },
            Part::Server(index) => match proxy.servers.get(index) {
                Some(server) => {
                    self.part = Part::Server(index + 1);
                    if filter.has(SERVERS) && filter.selects(server) {
                        objects::write_server(out, style, proxy, server);
                    }
                }
                None => self.part = Part::Backend,
            },
            Part::Backend => {
                self.next_proxy();
                if proxy.is_backend() && filter.has(BACKENDS) {
                    objects::write_backend(out, style, proxy);
                }
            }
        }
    }

    fn next_proxy(&mut self) {
        self.proxy += 1;
        self.part = Part::Frontend;
    }
}
