//! `retry-on` (configuration manual, 4.2).

use super::Target;
use crate::config::line::Line;
use crate::config::model::{ProxyKind, RetryOn};

impl Target<'_> {
    /// `retry-on REASON …`
    pub fn retry_on(&mut self, line: &Line) {
        if self.kind == Some(ProxyKind::Frontend) {
            let text = "'retry-on' only available in backend or listen section";
            self.report.alert(&line.pos, text);
            return;
        }
        match reasons(line.from(1)) {
            Ok(reasons) => self.settings.retry_on = reasons,
            Err(text) => self.report.alert(&line.pos, text),
        }
    }
}

fn reasons(words: &[String]) -> Result<RetryOn, String> {
    if words.is_empty() {
        return Err("'retry-on' needs at least one keyword to specify when to retry".into());
    }
    if words.iter().any(|word| word == "none") {
        // The spelling is HAProxy's.
        return match words.len() {
            1 => Ok(RetryOn::NONE),
            _ => Err("'retry-on' 'none' keyworld only usable alone".into()),
        };
    }
    words.iter().try_fold(RetryOn::NONE, |all, word| {
        let reason = reason(word);
        reason
            .map(|reason| all.with(reason))
            .ok_or_else(|| format!("'retry-on': unknown keyword '{word}'"))
    })
}

fn reason(word: &str) -> Option<RetryOn> {
    Some(match word {
        "conn-failure" => RetryOn::CONNECT,
        "empty-response" => RetryOn::EMPTY,
        "junk-response" => RetryOn::JUNK,
        "response-timeout" => RetryOn::TIMEOUT,
        // There is no TLS, so no server refuses early data.
        "0rtt-rejected" => RetryOn::NONE,
        "all-retryable-errors" => RetryOn::ALL,
        status => RetryOn::status(status.parse().ok()?)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RetryOn, String> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        reasons(&words)
    }

    #[test]
    fn reasons_add_up() {
        let all = read("conn-failure 503 404").unwrap();
        assert!(all.has(RetryOn::CONNECT) && all.has_status(503) && all.has_status(404));
        assert!(!all.has(RetryOn::EMPTY) && !all.has_status(500) && !all.has_status(200));
        assert_eq!(read("none"), Ok(RetryOn::NONE));
        let all = read("all-retryable-errors").unwrap();
        assert!(
            [500, 502, 503, 504]
                .iter()
                .all(|status| all.has_status(*status))
        );
        assert!(
            ![401, 403, 404, 408, 425]
                .iter()
                .any(|status| all.has_status(*status))
        );
    }

    #[test]
    fn mistakes_are_told() {
        for (text, complaint) in [
            (
                "",
                "'retry-on' needs at least one keyword to specify when to retry",
            ),
            ("none 503", "'retry-on' 'none' keyworld only usable alone"),
            ("503 429", "'retry-on': unknown keyword '429'"),
        ] {
            assert_eq!(read(text), Err(complaint.to_owned()), "{text}");
        }
    }
}
