//! `option` lines (configuration manual, 4.2, "option …").
//!
//! Not here: `option httpchk` beyond its line (`check`).

use std::net::IpAddr;

use super::Target;
use crate::config::keywords::{self, Support};
use crate::config::line::{self, Line, Prefix};
use crate::config::model::{ConnectionMode, ForwardFor, LogFormat, OddNames, Options, ProxyKind};
use crate::config::suggest;
use crate::config::units;

/// Options that need servers; a frontend ignores them with a warning.
const BACKEND_ONLY: &[&str] = &[
    "abortonclose",
    "allbackups",
    "checkcache",
    "http-pretend-keepalive",
    "log-health-checks",
    "persist",
    "prefer-last-server",
    "redispatch",
    "srvtcpka",
    "tcp-smart-connect",
    "transparent",
    "accept-invalid-http-response",
    "h1-case-adjust-bogus-server",
    "httpchk",
    "tcp-check",
];

/// Options that need listeners; a backend ignores them with a warning.
const FRONTEND_ONLY: &[&str] = &[
    "accept-invalid-http-request",
    "clitcpka",
    "contstats",
    "disable-h2-upgrade",
    "dontlog-normal",
    "dontlognull",
    "h1-case-adjust-bogus-client",
    "http-ignore-probes",
    "http-use-proxy-header",
    "idle-close-on-response",
    "log-separate-errors",
    "logasap",
    "socket-stats",
    "tcp-smart-accept",
];

impl Target<'_> {
    /// `option NAME …`, `no option NAME`, `default option NAME`.
    pub fn option(&mut self, line: &Line, prefix: Prefix) {
        let (name, pos) = (line.arg(1), &line.pos);
        if name.is_empty() {
            self.report
                .tight_alert(pos, "'option' expects an option name.");
            return;
        }
        if self.option_gone(line) {
            return;
        }
        if prefix != Prefix::None && !keywords::SWITCHES.contains(&name) {
            let text = format!("negation/default is not supported for option '{name}'.");
            self.report.tight_alert(pos, text);
            return;
        }
        let support = keywords::support(keywords::OPTIONS, name);
        if support.is_some() {
            if BACKEND_ONLY.contains(&name) && self.needs_backend(name, pos, "") {
                return;
            }
            if FRONTEND_ONLY.contains(&name) && self.needs_frontend(name, pos, "") {
                return;
            }
        }
        match support {
            None => {
                let suggestion = suggest::suggestion(suggest::nearest(keywords::OPTIONS, name));
                self.report.alert(
                    pos,
                    format!(
                        "unknown option '{name}'{}",
                        if suggestion.is_empty() {
                            "."
                        } else {
                            &suggestion
                        }
                    ),
                );
            }
            // Switching off what burdock does not have is no error.
            Some(Support::Refused(hint)) if prefix == Prefix::None => {
                self.report
                    .alert(pos, line::refused(&format!("option {name}"), hint));
            }
            Some(Support::Refused(_)) => {}
            Some(Support::NoEffect(_)) if prefix != Prefix::None => {}
            Some(Support::NoEffect(reason)) => {
                self.report.notice(
                    pos,
                    format!("'option {name}' has no effect in burdock: {reason}."),
                );
            }
            Some(Support::Full) => self.option_with_effect(line, prefix),
        }
    }

    fn option_gone(&mut self, line: &Line) -> bool {
        let text = match line.arg(1) {
            "forceclose" => {
                "option 'forceclose' is not supported any more since HAProxy 2.0, please just remove it, or use 'option \
                 httpclose' if absolutely needed."
            }
            "http-tunnel" => {
                "option 'http-tunnel' is not supported any more since HAProxy 2.1, please just remove it, it shouldn't be \
                 needed."
            }
            _ => return false,
        };
        self.report.tight_alert(&line.pos, text);
        true
    }

    fn option_with_effect(&mut self, line: &Line, prefix: Prefix) {
        match line.arg(1) {
            "httplog" => self.httplog(line),
            "tcplog" if !line.too_many(0, 1, self.report) => {
                self.log_format(LogFormat::Tcp, &line.pos)
            }
            "redispatch" => {
                self.settings.options.redispatch = match (prefix, line.arg(2)) {
                    (Prefix::None, "") => -1,
                    (Prefix::None, interval) => {
                        i32::try_from(units::leading_number(interval)).unwrap_or(0)
                    }
                    _ => 0,
                };
            }
            "forwardfor" => {
                if let Some(forward) = self.address_header(line, "X-Forwarded-For") {
                    self.settings.options.forward_for = Some(forward);
                }
            }
            "originalto" => {
                if let Some(original) = self.address_header(line, "X-Original-To") {
                    self.settings.options.original_to = Some(original);
                }
            }
            "httpchk" => self.httpchk(line),
            "http-restrict-req-hdr-names" => self.restrict_names(line),
            // A plain connection, which is what a check without `option httpchk` is.
            "tcp-check" if !line.too_many(0, 1, self.report) => self.settings.check.http = false,
            "tcpka" if !line.too_many(0, 1, self.report) => {
                let kind = self.kind;
                let options = &mut self.settings.options;
                options.client_keepalive |= kind.is_none_or(ProxyKind::is_frontend);
                options.server_keepalive |= kind.is_none_or(ProxyKind::is_backend);
            }
            "http-keep-alive" | "http-server-close" | "httpclose" => {
                self.connection_mode(line, prefix)
            }
            name => {
                if !line.too_many(0, 1, self.report) {
                    // The defaults of all switches are off.
                    let on = prefix == Prefix::None;
                    if let Some(switch) = switch(&mut self.settings.options, name) {
                        *switch = on;
                    }
                }
            }
        }
    }

    /// `option http-restrict-req-hdr-names preserve|delete|reject`.
    fn restrict_names(&mut self, line: &Line) {
        let choice = match line.arg(2) {
            "preserve" => Some(OddNames::Preserve),
            "delete" => Some(OddNames::Delete),
            "reject" => Some(OddNames::Reject),
            _ => None,
        };
        if let Some(choice) = choice {
            if !line.too_many(2, 0, self.report) {
                self.settings.options.odd_names = choice;
            }
            return;
        }
        let complaint = match line.arg(2) {
            "" => "missing parameter. option 'http-restrict-req-hdr-names' expects 'preserve', 'reject' or 'delete' option."
                .to_owned(),
            other => format!(
                "invalid parameter '{other}'. option 'http-restrict-req-hdr-names' expects 'preserve', 'reject' or 'delete' \
                 option."
            ),
        };
        self.report.alert(&line.pos, complaint);
    }

    fn connection_mode(&mut self, line: &Line, prefix: Prefix) {
        if line.too_many(0, 1, self.report) {
            return;
        }
        let mode = match line.arg(1) {
            "http-server-close" => ConnectionMode::ServerClose,
            "httpclose" => ConnectionMode::Close,
            _ => ConnectionMode::KeepAlive,
        };
        let options = &mut self.settings.options;
        if prefix == Prefix::None {
            options.connection = mode;
        } else if options.connection == mode {
            options.connection = ConnectionMode::KeepAlive;
        }
    }

    fn httplog(&mut self, line: &Line) {
        let clf = match line.arg(2) {
            "" => false,
            "clf" => true,
            _ => {
                self.report
                    .alert(&line.pos, "keyword 'httplog' only supports option 'clf'.");
                return;
            }
        };
        if clf && !line.arg(3).is_empty() {
            let extra = line.arg(3);
            self.report.alert(
                &line.pos,
                format!("'option httplog' cannot handle unexpected argument '{extra}'."),
            );
            return;
        }
        if self.kind == Some(ProxyKind::Backend) {
            let name = self.name;
            self.report.warning(
                &line.pos,
                format!("backend '{name}' : 'option httplog' directive is ignored in backends."),
            );
        }
        self.log_format(LogFormat::Http { clf }, &line.pos);
    }

    /// `option forwardfor` and `option originalto`: a header with an address.
    fn address_header(&mut self, line: &Line, header: &str) -> Option<ForwardFor> {
        let mut forward = ForwardFor {
            except: None,
            header: header.into(),
            if_none: false,
        };
        let option = line.arg(1);
        let is_forward = option == "forwardfor";
        let mut at = 2;
        while !line.arg(at).is_empty() {
            let value = line.arg(at + 1);
            let problem = match line.arg(at) {
                "except" => {
                    forward.except = network(value);
                    at += 2;
                    match forward.except {
                        Some(_) => continue,
                        None => format!(
                            "'option {option} except' expects <address>[/mask] as argument."
                        ),
                    }
                }
                "header" if value.is_empty() => {
                    format!("'option {option} header' expects <header_name> as argument.")
                }
                "header" => {
                    forward.header = value.to_owned();
                    at += 2;
                    continue;
                }
                "if-none" if is_forward => {
                    forward.if_none = true;
                    at += 1;
                    continue;
                }
                _ if is_forward => format!(
                    "'option {option}' only supports optional values: 'except', 'header' and 'if-none'."
                ),
                _ => format!(
                    "'option {option}' only supports optional values: 'except' and 'header'."
                ),
            };
            self.report.alert(&line.pos, problem);
            return None;
        }
        Some(forward)
    }
}

/// The field of an option that is on or off.
fn switch<'o>(options: &'o mut Options, name: &str) -> Option<&'o mut bool> {
    Some(match name {
        "abortonclose" => &mut options.abort_on_close,
        "accept-invalid-http-request" => &mut options.accept_invalid_request,
        "accept-invalid-http-response" => &mut options.accept_invalid_response,
        "allbackups" => &mut options.all_backups,
        "clitcpka" => &mut options.client_keepalive,
        "http-pretend-keepalive" => &mut options.pretend_keepalive,
        "dontlog-normal" => &mut options.dont_log_normal,
        "dontlognull" => &mut options.dont_log_null,
        "http-buffer-request" => &mut options.buffer_request,
        "http-ignore-probes" => &mut options.ignore_probes,
        "http-no-delay" => &mut options.no_delay,
        "log-health-checks" => &mut options.log_health_checks,
        "log-separate-errors" => &mut options.log_separate_errors,
        "logasap" => &mut options.log_asap,
        "nolinger" => &mut options.no_linger,
        "persist" => &mut options.persist,
        "prefer-last-server" => &mut options.prefer_last_server,
        "socket-stats" => &mut options.socket_stats,
        "srvtcpka" => &mut options.server_keepalive,
        _ => return None,
    })
}

/// `ADDRESS[/MASK]`: an address and the length of its prefix; a mask in dots may be given for IPv4.
fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, mask) = text
        .split_once('/')
        .map_or((text, None), |(address, mask)| (address, Some(mask)));
    let address: IpAddr = address.parse().ok()?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let length = match mask {
        None => bits,
        Some(mask) => match mask.parse::<u8>() {
            Ok(length) => length,
            Err(_) => {
                let mask = u32::from(mask.parse::<std::net::Ipv4Addr>().ok()?);
                let ones = mask.leading_ones();
                // A mask with holes has no length.
                (mask.count_ones() == ones && address.is_ipv4()).then_some(ones as u8)?
            }
        },
    };
    (length <= bits).then_some((address, length))
}
