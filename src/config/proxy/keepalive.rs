//! `clitcpka-cnt`, `clitcpka-idle`, `clitcpka-intvl` and those of servers (configuration manual, 4.2).

use super::Target;
use crate::config::line::Line;
use crate::config::units::{self, TimeError};

impl Target<'_> {
    /// One of the six keywords.
    pub fn keepalive_line(&mut self, line: &Line) {
        let (word, text, pos) = (line.arg(0), line.arg(1), &line.pos);
        let is_client = word.starts_with("cli");
        let lacking = self.kind.filter(|kind| match is_client {
            true => !kind.is_frontend(),
            false => !kind.is_backend(),
        });
        if let Some(kind) = lacking {
            let side = if is_client { "frontend" } else { "backend" };
            let (title, name) = (kind.title(), self.name);
            let text =
                format!("{word} will be ignored because {title} '{name}' has no {side} capability");
            self.report.warning(pos, text);
        }
        if text.is_empty() {
            let text = format!("'{word}' expects an integer value");
            return self.report.alert(pos, text);
        }
        let is_count = word.ends_with("-cnt");
        let value = match is_count {
            true => count(word, text),
            false => seconds(word, text),
        };
        let value = match value {
            Ok(value) => Some(value).filter(|value| *value > 0),
            Err(text) => return self.report.alert(pos, text),
        };
        let options = &mut self.settings.options;
        let probes = match is_client {
            true => &mut options.client_probes,
            false => &mut options.server_probes,
        };
        match word.rsplit('-').next() {
            Some("cnt") => probes.count = value,
            Some("idle") => probes.idle_s = value,
            _ => probes.interval_s = value,
        }
    }
}

/// A number; a negative one is none.
fn count(word: &str, text: &str) -> Result<u32, String> {
    let digits = text.trim_start_matches(['-', '+']);
    match digits.chars().find(|c| !c.is_ascii_digit()) {
        Some(found) => Err(format!(
            "'{word}' : unexpected character '{found}' in integer value '{text}'"
        )),
        None => Ok(text.parse().unwrap_or(0)),
    }
}

/// A time in whole seconds, which is its unit too.
fn seconds(word: &str, text: &str) -> Result<u32, String> {
    match units::time_ms(text, 1000) {
        Ok(ms) => Ok(u32::try_from(ms.div_ceil(1000)).unwrap_or(u32::MAX)),
        Err(TimeError::Overflow) => Err(format!(
            "timer overflow in argument '{text}' to <{word}> (maximum value is 2147483647 ms or ~24.8 days)."
        )),
        Err(TimeError::Character(found)) => Err(format!(
            "unexpected character '{found}' in argument to <{word}>."
        )),
    }
}
