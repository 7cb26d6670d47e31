//! What an operator is told of how far each peer is behind: `show peers lag` and `show peers errors`.
//!
//! Every line stands for itself (`section=… peer=…`), so that it can be picked out with grep; words are quoted.
//! Times are whole milliseconds. Not here: HAProxy's own `show peers` (`show`).

use std::fmt::{self, Write};

use super::group::behind::pending;
use super::group::watch::{Direction, LastResync};
use super::group::{Group, Member, Running};
use super::receive::ReceiveTable;
use super::send::SendTable;
use super::session::Session;
use super::wire;
use crate::stick::Table;

/// Appends the section's lines of `show peers lag`.
pub(super) fn write_lag(out: &mut String, group: &Group, tables: &[Table], now_ms: u64) {
    let written = group
        .members
        .iter()
        .filter(|member| !member.is_local)
        .try_for_each(|member| write_member(out, group, member, tables, now_ms));
    assert!(written.is_ok(), "writing to a string does not fail");
}

fn write_member(
    out: &mut String,
    group: &Group,
    member: &Member,
    tables: &[Table],
    now_ms: u64,
) -> fmt::Result {
    let session = member.session.and_then(|id| group.session(id));
    let watched = &member.watched;
    let counters = session.map(|session| session.counters).unwrap_or_default();
    writeln!(
        out,
        "section={} peer={} state=\"{}\" bytes_in={} bytes_out={} last_resync=\"{}\" last_error=\"{}\"",
        group.name,
        member.name,
        member_state(group, member, session, now_ms),
        watched.bytes_received + counters.bytes_received,
        watched.bytes_sent + counters.bytes_sent,
        watched
            .last_resync
            .as_ref()
            .map_or_else(|| "none".into(), |resync| resync_text(resync, now_ms)),
        watched.last_error.as_ref().map_or_else(
            || "none".into(),
            |(at_ms, text)| format!(
                "{}, {} ms ago",
                quotable(text),
                now_ms.saturating_sub(*at_ms)
            )
        ),
    )?;
    for (position, &index) in group.shared.iter().enumerate() {
        let table = &tables[index];
        let sent = session
            .and_then(Session::sender)
            .map(|sender| &sender.tables[position]);
        let received = session
            .and_then(Session::receiver)
            .map(|receiver| &receiver.tables[position]);
        // Who is not greeted yet has not said what it is.
        let is_extended = received.is_none() || session.is_none_or(Session::is_extended);
        let pending = pending(table, member.cursors[position], sent, is_extended);
        let oldest_ms = pending
            .oldest
            .and_then(|id| group.change_times[position].made_ms(id))
            .map_or(0, |at_ms| now_ms.saturating_sub(at_ms));
        let agreement = &member.agreements[position];
        let ((in_sync, differs_for_ms), not_compared) = match received {
            Some(received) if received.is_ignored() => {
                (("unknown", 0), "its definition does not fit ours".into())
            }
            None if agreement.verdict(now_ms).0 != "no" => {
                (("unknown", 0), "there is no connection".into())
            }
            _ => (agreement.verdict(now_ms), agreement.reason(now_ms)),
        };
        let not_compared = match is_extended || in_sync != "unknown" {
            true => not_compared,
            false => "it is no burdock, or an older one".into(),
        };
        let rtt = sent.and_then(|sent| sent.ack_rtt_ms);
        writeln!(
            out,
            "section={} peer={} table={} state=\"{}\" pending={} oldest_ms={} ack_rtt_ms={} updates_in={} updates_out={} bytes_in={} bytes_out={} in_sync={} differs_for_ms={} not_compared=\"{}\"",
            group.name,
            member.name,
            table.spec().name,
            table_state(session, sent, received, pending.count),
            pending.count,
            oldest_ms,
            rtt.map_or_else(|| "-".into(), |rtt_ms| rtt_ms.to_string()),
            received.map_or(0, |table| table.updates),
            sent.map_or(0, |table| table.updates),
            received.map_or(0, |table| table.bytes),
            sent.map_or(0, |table| table.bytes),
            in_sync,
            differs_for_ms,
            not_compared,
        )?;
    }
    Ok(())
}

fn member_state(group: &Group, member: &Member, session: Option<&Session>, now_ms: u64) -> String {
    match group.running {
        Running::Disabled => return "disabled".into(),
        Running::NoLocalMember => return "not started: no peer has the name of this node".into(),
        Running::Stopping(_) | Running::Stopped => return "this node stops".into(),
        Running::Started => {}
    }
    let Some(session) = session else {
        return match group.redial_at_ms(member) {
            Some(at_ms) => format!(
                "not connected, next attempt in {} ms",
                at_ms.saturating_sub(now_ms)
            ),
            None => "not connected, it is expected to dial".into(),
        };
    };
    if !session.is_established() {
        let what = if session.is_connecting() {
            "connecting"
        } else {
            "connected, not yet greeted"
        };
        return what.into();
    }
    if let Some((entries, since_ms)) = session.learning_progress() {
        let since_ms = now_ms.saturating_sub(since_ms);
        return format!("connected, teaches us: {entries} entries in {since_ms} ms");
    }
    match session.teaching_progress() {
        Some((entries, since_ms)) => {
            let since_ms = now_ms.saturating_sub(since_ms);
            let confirm = if session
                .sender()
                .is_some_and(|sender| sender.awaits_confirm())
            {
                ", not confirmed yet"
            } else {
                ""
            };
            format!("connected, is being taught: {entries} entries in {since_ms} ms{confirm}")
        }
        None => "connected".into(),
    }
}

fn resync_text(resync: &LastResync, now_ms: u64) -> String {
    let direction = match resync.direction {
        Direction::Learnt => "learnt",
        Direction::Taught => "taught",
    };
    format!(
        "{direction} {} entries in {} ms, {}, {} ms ago: {}",
        resync.entries,
        resync.duration_ms,
        resync.outcome,
        now_ms.saturating_sub(resync.ended_ms),
        resync.cause,
    )
}

/// Words for between quotes, on one line.
fn quotable(text: &str) -> String {
    text.replace('"', "'").replace(char::is_control, " ")
}

fn table_state(
    session: Option<&Session>,
    sent: Option<&SendTable>,
    received: Option<&ReceiveTable>,
    pending: u32,
) -> String {
    let (Some(session), Some(sent), Some(received)) = (session, sent, received) else {
        return "not connected".into();
    };
    let out = if session.is_teaching() && sent.is_sweeping() {
        "being taught"
    } else if sent.is_sweeping_all() {
        "being sent the rest of its lesson"
    } else if sent.is_sweeping() {
        "fell out of the update log, being sent all changes"
    } else if sent.awaits_end_of_sweep() {
        "was sent everything, has not acknowledged it yet"
    } else if pending > 0 {
        "behind"
    } else {
        "in step"
    };
    if received.is_ignored() {
        format!("{out}; what it sends is ignored, its definition does not fit ours")
    } else {
        out.into()
    }
}

/// Appends the section's lines of `show peers errors`.
pub(super) fn write_errors(out: &mut String, group: &Group, now_ms: u64) {
    let written = group
        .members
        .iter()
        .filter(|member| !member.is_local)
        .try_for_each(|member| write_error(out, group, member, now_ms));
    assert!(written.is_ok(), "writing to a string does not fail");
}

fn write_error(out: &mut String, group: &Group, member: &Member, now_ms: u64) -> fmt::Result {
    write!(
        out,
        "section={} peer={} bad_messages={}",
        group.name, member.name, member.violations
    )?;
    let Some(bad) = &member.watched.bad_message else {
        return writeln!(out);
    };
    writeln!(
        out,
        " last_ms_ago={} position={} reason=\"{}\" bytes=\"{}\"",
        now_ms.saturating_sub(bad.at_ms),
        bad.position,
        wire::explain(&bad.bytes),
        hex(&bad.bytes),
    )
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(3 * bytes.len());
    for byte in bytes {
        let blank = if text.is_empty() { "" } else { " " };
        // Writing to a string does not fail.
        let _ = write!(text, "{blank}{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_hex() {
        assert_eq!(hex(&[0x0a, 0x80, 0xff]), "0a 80 ff");
        assert_eq!(quotable("a \"b\"\n"), "a 'b' ");
    }
}
