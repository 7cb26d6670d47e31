//! What checks write to the log, in HAProxy's words.

use super::schedule::Track;
use super::script::Verdict;
use crate::backend::Proxy;

/// `reason: …, code: …, info: "…", check duration: …ms`, as all lines say it.
fn reason(verdict: &Verdict, duration_ms: u64) -> String {
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

/// The line of a server that went up or down. The reason is left out when the check's own line has just said it.
pub(super) fn state_line(
    proxy: &Proxy,
    server: usize,
    is_up: bool,
    cause: Option<(&Verdict, u64)>,
) -> String {
    let server = &proxy.servers[server];
    let (active, backup) = proxy.usable_counts();
    let cause = cause.map_or_else(String::new, |(verdict, duration_ms)| {
        format!(", {}", reason(verdict, duration_ms))
    });
    let on_backup = if active == 0 && backup > 0 {
        " Running on backup."
    } else {
        ""
    };
    let head = format!(
        "{}erver {}/{} is {}{cause}. {active} active and {backup} backup servers {}.{on_backup}",
        if server.spec.backup { "Backup S" } else { "S" },
        proxy.spec.name,
        server.spec.name,
        if is_up { "UP" } else { "DOWN" },
        if is_up { "online" } else { "left" },
    );
    if is_up {
        format!(
            "{head} 0 sessions requeued, {} total in queue.",
            proxy.queue.len()
        )
    } else {
        // Who waited for this server alone is sent elsewhere in the same turn.
        let waiting = server.queue.len();
        format!(
            "{head} {} sessions active, {waiting} requeued, 0 remaining in queue.",
            server.sessions
        )
    }
}
