//! `cookie`, `dynamic-cookie-key`, `force-persist`, `ignore-persist` (configuration manual, 4.2).
//!
//! Not here: the servers' `cookie` (`server`), what becomes of it all (`backend::cookie`, `stream`).

use std::rc::Rc;

use super::{ProxyLines, Target};
use crate::config::diag::Severity;
use crate::config::line::Line;
use crate::config::model::{CookieMode, PersistCookie, PersistRule};
use crate::config::units::{self, TimeError};
use crate::sample::Place;

use super::simple::full_stop;

/// What a line says, before it is known to be consistent.
#[derive(Default)]
struct Words {
    cookie: PersistCookie,
    modes: u32,
    domains: String,
    attributes: String,
    http_only: bool,
    secure: bool,
}

impl Target<'_> {
    /// `cookie NAME [OPTION]…`; a later line replaces an earlier one.
    pub fn cookie(&mut self, line: &Line) {
        let alert = |target: &mut Self, text: &str| target.report.alert(&line.pos, text);
        if line.arg(1).is_empty() {
            return alert(self, "'cookie' expects <cookie_name> as argument.");
        }
        let mut words = Words::default();
        words.cookie.name = line.arg(1).into();
        let mut at = 2;
        while at < line.len() {
            match self.cookie_option(line, at, &mut words) {
                Some(next) => at = next,
                None => return,
            }
        }
        let cookie = &words.cookie;
        if words.modes > 1 {
            return alert(
                self,
                "cookie 'rewrite', 'insert' and 'prefix' modes are incompatible.",
            );
        }
        if cookie.mode == CookieMode::Rewrite && cookie.indirect {
            return alert(
                self,
                "cookie 'rewrite' and 'indirect' modes are incompatible.",
            );
        }
        if cookie.preserve && !(cookie.mode == CookieMode::Insert || cookie.indirect) {
            return alert(
                self,
                "cookie 'preserve' requires at least 'insert' or 'indirect'.",
            );
        }
        self.settings.cookie = Some(Rc::new(words.finish()));
    }

    /// One option; where the next one is. `None`: it is wrong, which is reported.
    fn cookie_option(&mut self, line: &Line, at: usize, words: &mut Words) -> Option<usize> {
        let cookie = &mut words.cookie;
        let mut mode = |mode| {
            if cookie.mode != mode {
                words.modes += 1;
            }
            cookie.mode = mode;
        };
        match line.arg(at) {
            "rewrite" => mode(CookieMode::Rewrite),
            "insert" => mode(CookieMode::Insert),
            "prefix" => mode(CookieMode::Prefix),
            "indirect" => cookie.indirect = true,
            "nocache" => cookie.no_cache = true,
            "postonly" => cookie.post_only = true,
            "preserve" => cookie.preserve = true,
            "dynamic" => cookie.dynamic = true,
            "httponly" => words.http_only = true,
            "secure" => words.secure = true,
            word @ ("maxidle" | "maxlife" | "domain" | "attr") => {
                let value = line.arg(at + 1);
                return match cookie_value(words, word, value) {
                    Ok(warning) => {
                        if let Some(text) = warning {
                            let (file, number) = (&line.pos.file, line.pos.line);
                            let text = format!("parsing [{file}:{number}]: {text}");
                            self.report.push(Severity::Warning, Some(&line.pos), text);
                        }
                        Some(at + 2)
                    }
                    Err(text) => {
                        self.report.tight_alert(&line.pos, text);
                        None
                    }
                };
            }
            _ => {
                let text = "'cookie' supports 'rewrite', 'insert', 'prefix', 'indirect', 'nocache', 'postonly', 'domain', \
                    'maxidle', 'dynamic', 'maxlife' and 'attr' options.";
                self.report.alert(&line.pos, text);
                return None;
            }
        }
        Some(at + 1)
    }

    /// `dynamic-cookie-key KEY`.
    pub fn dynamic_cookie_key(&mut self, line: &Line) {
        match line.arg(1) {
            "" => self.report.alert(
                &line.pos,
                "'dynamic-cookie-key' expects <secret_key> as argument.",
            ),
            key => self.settings.dynamic_cookie_key = Some(key.into()),
        }
    }
}

/// An option with a value; a warning about it.
fn cookie_value(words: &mut Words, word: &str, value: &str) -> Result<Option<String>, String> {
    let what = match word {
        "maxidle" => "<idletime> in seconds",
        "maxlife" => "<lifetime> in seconds",
        "domain" => "<domain>",
        _ => "<value>",
    };
    if value.is_empty() {
        return Err(format!("'{word}' expects {what} as argument."));
    }
    match word {
        "domain" => {
            words.domains += "; domain=";
            words.domains += value;
            let has_dot = value.contains('.');
            return Ok((!has_dot).then(|| {
                format!(
                    "domain '{value}' contains no embedded dot, this configuration may not work properly (see RFC6265#5.2.3)."
                )
            }));
        }
        "attr" => {
            if let Some(bad) = value.chars().find(|c| c.is_ascii_control() || *c == ';') {
                return Err(format!(
                    "character '%x{:02X}' is not permitted in attribute value.",
                    u32::from(bad)
                ));
            }
            words.attributes += "; ";
            words.attributes += value;
        }
        _ => {
            let seconds = units::time_ms(value, 1000).map_err(|error| match error {
                TimeError::Overflow => format!(
                    "timer overflow in argument <{value}> to <{word}>, maximum value is 2147483647 s (~68 years)."
                ),
                TimeError::Character(found) => {
                    format!("unexpected character '{found}' in argument to <{word}>.")
                }
            })? / 1000;
            let place = match word {
                "maxidle" => &mut words.cookie.idle_s,
                _ => &mut words.cookie.life_s,
            };
            *place = Some(seconds).filter(|seconds| *seconds > 0);
        }
    }
    Ok(None)
}

impl Words {
    fn finish(self) -> PersistCookie {
        let mut tail = format!("; path=/{}", self.domains);
        for (is_set, text) in [(self.http_only, "; HttpOnly"), (self.secure, "; Secure")] {
            if is_set {
                tail += text;
            }
        }
        tail += &self.attributes;
        let cookie = &self.cookie;
        let shows_state = cookie.mode != CookieMode::Observe
            || cookie.indirect
            || cookie.no_cache
            || cookie.post_only
            || cookie.preserve
            || cookie.dynamic
            || self.http_only
            || self.secure;
        PersistCookie {
            shows_state,
            tail: tail.into(),
            ..self.cookie
        }
    }
}

impl ProxyLines<'_> {
    /// `force-persist` and `ignore-persist`.
    pub fn persist_line(&mut self, index: usize, line: &Line) {
        let word = line.arg(0);
        if !matches!(line.arg(1), "if" | "unless") {
            let text =
                format!("'{word}' requires either 'if' or 'unless' followed by a condition.");
            return self.report.alert(&line.pos, text);
        }
        match self.rule_condition(index, line, 1, Place::BackendServerSelection) {
            Ok(condition) => self.proxies[index].persist_rules.push(PersistRule {
                is_force: word == "force-persist",
                condition,
            }),
            Err(error) => {
                let text = format!("error detected while parsing a '{word}' rule : {error}");
                self.report.alert(&line.pos, full_stop(text));
            }
        }
    }
}
