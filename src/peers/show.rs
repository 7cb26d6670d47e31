//! The text of `show peers`, line by line as HAProxy 2.6 prints it, so that tools that read its output read ours.
//!
//! Numbers that are addresses of HAProxy's memory are made up of positions here: they only have to be distinct.

use std::fmt::Write;

use super::group::{Group, LastStatus, Member, Running, SessionId, resync_flag};
use super::hello::Status;
use super::session::Session;
use super::wire::DICTIONARY_SLOTS;
use crate::stick::Table;

/// Bits of a member's `flags`, as HAProxy 2.6 numbers them.
mod member_flag {
    pub const TEACHING: u32 = 0x1;
    pub const LESSON_SENT: u32 = 0x8;
    pub const ASSIGNED: u32 = 0x100;
    pub const NOT_UP_TO_DATE: u32 = 0x200;
    pub const ALIVE: u32 = 0x2000_0000;
    pub const DOWNGRADED: u32 = 0x8000_0000;
}

/// What the text is made from, besides the group.
pub(super) struct View<'a> {
    pub now_ms: u64,
    pub local_time: &'a str,
    pub tables: &'a [Table],
    pub dictionaries: bool,
    /// Remote and local address of a session's connection.
    pub sockets: &'a dyn Fn(SessionId) -> Option<(String, String)>,
}

/// Appends a section.
pub(super) fn section(out: &mut String, group: &Group, view: &View<'_>) {
    if let Err(error) = write_section(out, group, view) {
        unreachable!("writing to a string does not fail: {error}");
    }
}

fn write_section(out: &mut String, group: &Group, view: &View<'_>) -> std::fmt::Result {
    let assigned = match group.resync.assigned {
        Some(_) => resync_flag::ASSIGNED,
        None => 0,
    };
    if !out.is_empty() {
        writeln!(out)?;
    }
    writeln!(
        out,
        "{:#x}: [{}] id={} disabled={} flags={:#x} resync_timeout={} task_calls=0",
        section_address(group),
        view.local_time,
        group.name,
        u32::from(group.running == Running::Disabled),
        group.resync.flags | assigned,
        delay(group.resync.deadline_ms, view.now_ms),
    )?;
    if let Some(text) = group.not_started_text() {
        writeln!(out, "  # {text}")?;
    }
    for (position, member) in group.members.iter().enumerate().rev() {
        write_member(out, group, position, member, view)?;
    }
    Ok(())
}

fn section_address(group: &Group) -> usize {
    std::ptr::from_ref(group) as usize
}

fn write_member(
    out: &mut String,
    group: &Group,
    position: usize,
    member: &Member,
    view: &View<'_>,
) -> std::fmt::Result {
    let session = member.session.and_then(|id| Some((id, group.session(id)?)));
    let sent = session.map_or(0, |(_, session)| session.counters.heartbeats_sent);
    let received = session.map_or(0, |(_, session)| session.counters.heartbeats_received);
    writeln!(
        out,
        "  {:#x}: id={}({},{}) addr={} last_status={} last_hdshk={}",
        section_address(group) + 64 * (position + 1),
        member.name,
        if member.is_local { "local" } else { "remote" },
        if session.is_some() {
            "active"
        } else {
            "inactive"
        },
        member.address,
        status_name(member.last_status),
        age(member.last_handshake_ms, view.now_ms),
    )?;
    let heartbeat = session
        .filter(|(_, session)| session.is_established())
        .map(|(_, session)| view.now_ms + session.heartbeat_in_ms(view.now_ms));
    writeln!(
        out,
        "        reconnect={} heartbeat={} confirm={} tx_hbt={} rx_hbt={} no_hbt={} new_conn={} proto_err={} coll={}",
        delay(group.redial_at_ms(member), view.now_ms),
        delay(heartbeat, view.now_ms),
        session.map_or(0, |(_, session)| session.confirms_due()),
        member.heartbeats_sent + sent,
        member.heartbeats_received + received,
        member.silences,
        member.dials,
        member.violations,
        member.collisions,
    )?;
    write!(
        out,
        "        flags={:#x}",
        member_flags(group, member, session)
    )?;
    if let Some((id, session)) = session {
        write_session(out, group, id, session, view)?;
    }
    writeln!(out)?;
    write_tables(
        out,
        group,
        member,
        session.map(|(_, session)| session),
        view,
    )
}

fn member_flags(group: &Group, member: &Member, session: Option<(SessionId, &Session)>) -> u32 {
    let mut flags = 0;
    let mut set = |condition: bool, flag: u32| flags |= if condition { flag } else { 0 };
    set(member.not_up_to_date, member_flag::NOT_UP_TO_DATE);
    set(member.speaks_2_0(), member_flag::DOWNGRADED);
    if let Some((id, session)) = session {
        let sent = session
            .sender()
            .is_some_and(|sender| sender.awaits_confirm());
        set(session.is_teaching() && !sent, member_flag::TEACHING);
        set(sent, member_flag::LESSON_SENT);
        set(group.resync.assigned == Some(id), member_flag::ASSIGNED);
        set(session.is_established(), member_flag::ALIVE);
    }
    flags
}

fn write_session(
    out: &mut String,
    group: &Group,
    id: SessionId,
    session: &Session,
    view: &View<'_>,
) -> std::fmt::Result {
    let state = if session.is_established() { 7 } else { 6 };
    write!(
        out,
        " appctx:{:#x} st0={state} st1=0 task_calls=0 state={}",
        std::ptr::from_ref(session) as usize,
        if session.is_connecting() {
            "CON"
        } else {
            "EST"
        },
    )?;
    // Of connections that were dialled from here, HAProxy shows no addresses.
    let sockets = (view.sockets)(id).filter(|_| !session.is_dialled());
    if let Some((remote, local)) = sockets {
        write!(out, "\n        xprt=RAW src={remote} addr={local}")?;
    }
    let (Some(receiver), Some(sender)) = (session.receiver(), session.sender()) else {
        return Ok(());
    };
    for (label, position) in [
        ("remote_table", receiver.selected),
        ("last_local_table", sender.selected),
    ] {
        let Some(position) = position else {
            continue;
        };
        write!(
            out,
            "\n        {label}:{:#x} id={} local_id={} remote_id={}",
            shared_address(group, position),
            view.tables[group.shared[position]].spec().name,
            position + 1,
            receiver.tables[position].remote_id.unwrap_or(0),
        )?;
    }
    Ok(())
}

fn shared_address(group: &Group, position: usize) -> usize {
    group.shared.as_ptr() as usize + 8 * position
}

fn write_tables(
    out: &mut String,
    group: &Group,
    member: &Member,
    session: Option<&Session>,
    view: &View<'_>,
) -> std::fmt::Result {
    if group.shared.is_empty() {
        return Ok(());
    }
    writeln!(out, "        shared tables:")?;
    let receiver = session.and_then(Session::receiver);
    let sender = session.and_then(Session::sender);
    for (position, &index) in group.shared.iter().enumerate().rev() {
        let table = &view.tables[index];
        let received = receiver.map(|receiver| &receiver.tables[position]);
        let cursor = member.cursors[position];
        writeln!(
            out,
            "          {:#x} local_id={} remote_id={} flags=0x0 remote_data={:#x}",
            shared_address(group, position),
            position + 1,
            received.and_then(|table| table.remote_id).unwrap_or(0),
            received.map_or(0, |table| table.remote_data),
        )?;
        writeln!(
            out,
            "              last_acked={} last_pushed={} last_get={} teaching_origin={} update={}",
            received.map_or(0, |table| table.last_acked),
            cursor.pushed,
            received.map_or(0, |table| table.last_id),
            sender.map_or(0, |sender| sender.tables[position].origin),
            cursor.acked,
        )?;
        let update = table.local_update_id();
        writeln!(
            out,
            "              table:{:#x} id={} update={update} localupdate={update} commitupdate={} refcnt=1",
            std::ptr::from_ref(table) as usize,
            table.spec().name,
            cursor.pushed,
        )?;
        if view.dictionaries {
            let sent = |slot| sender.and_then(|sender| sender.dictionary(slot));
            let received = |slot| receiver.and_then(|receiver| receiver.dictionary(slot));
            let used = (0..DICTIONARY_SLOTS).take_while(|&slot| sent(slot).is_some());
            write_dictionary(out, "TX", used.count(), &sent)?;
            write_dictionary(out, "RX", DICTIONARY_SLOTS, &received)?;
        } else {
            writeln!(
                out,
                "        Dictionary cache not dumped (use \"show peers dict\")"
            )?;
        }
    }
    Ok(())
}

fn write_dictionary<'a>(
    out: &mut String,
    direction: &str,
    count: usize,
    slot: &dyn Fn(usize) -> Option<&'a [u8]>,
) -> std::fmt::Result {
    writeln!(out, "        {direction} dictionary cache:")?;
    for index in 0..count {
        if index % 4 == 0 {
            write!(out, "        ")?;
        }
        match slot(index) {
            Some(string) => write!(out, "{index:5} -> {}", string.escape_ascii())?,
            None => write!(out, "{index:5} -> -")?,
        }
        if index % 4 == 3 || index + 1 == count {
            writeln!(out)?;
        }
    }
    Ok(())
}

fn status_name(status: LastStatus) -> &'static str {
    match status {
        LastStatus::None => "NONE",
        LastStatus::Connecting => "CONN",
        LastStatus::Handshake => "HSHK",
        LastStatus::Answered(status) => match status {
            Status::Accepted => "ESTA",
            Status::TryAgain => "RETR",
            Status::Protocol => "PROT",
            Status::Version => "VERS",
            Status::LocalName => "NAME",
            Status::RemoteName => "UNKN",
            Status::Other(_) => "NONE",
        },
    }
}

/// Time until `at_ms`.
fn delay(at_ms: Option<u64>, now_ms: u64) -> String {
    match at_ms {
        None => "<NEVER>".into(),
        Some(at_ms) if at_ms <= now_ms => "<PAST>".into(),
        Some(at_ms) => duration(at_ms - now_ms),
    }
}

/// Time since `since_ms`.
fn age(since_ms: Option<u64>, now_ms: u64) -> String {
    since_ms.map_or_else(
        || "<NEVER>".into(),
        |since_ms| duration(now_ms.saturating_sub(since_ms)),
    )
}

/// The two largest units, as HAProxy abbreviates durations.
fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}
