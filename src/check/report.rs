//! What checks write to the log, in HAProxy's words. The lines of servers that go and come are in `backend::notices`.

use super::schedule::Track;
use super::script::Verdict;
use crate::backend::Proxy;

/// `reason: …, code: …, info: "…", check duration: …ms`, as all lines say it.
pub(super) fn reason(verdict: &Verdict, duration_ms: u64) -> String {
    let mut text = format!("reason: {}", verdict.status.describe());
    if let Some(code) = verdict.code {
        text.push_str(&format!(", code: {code}"));
    }
    if !verdict.detail.is_empty() {
        text.push_str(&format!(", info: \"{}\"", verdict.detail));
    }
    text.push_str(&format!(", check duration: {duration_ms}ms"));
    text
}

/// The line of one check, for `option log-health-checks`.
pub(super) fn check_line(
    proxy: &Proxy,
    server: usize,
    verdict: &Verdict,
    duration_ms: u64,
    track: &Track,
) -> String {
    let server = &proxy.servers[server];
    format!(
        "Health check for {}server {}/{} {}, {}, status: {}.",
        if server.spec.backup { "backup " } else { "" },
        proxy.spec.name,
        server.spec.name,
        if verdict.passed() {
            "succeeded"
        } else {
            "failed"
        },
        reason(verdict, duration_ms),
        track.describe(),
    )
}
