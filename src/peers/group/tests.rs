//! Decisions of a group, one at a time. Whole groups are simulated in `tests/peers_sim.rs`.

use super::admit::{ANONYMOUS_MAX, REDIAL_REFUSED_MS};
use super::*;
use crate::net::Address;
use crate::peers::MemberSpec;

fn group(start: StartState) -> Group {
    let member = |name: &str| MemberSpec {
        name: name.into(),
        address: Some(Address::Abstract(name.into())),
        ..MemberSpec::default()
    };
    let spec = PeersSpec {
        name: "mesh".into(),
        local_name: "us".into(),
        members: vec![member("us"), member("a"), member("b")],
        tables: Vec::new(),
        ..PeersSpec::default()
    };
    let settings = Settings {
        updates_max: 200,
        pid: 1,
        seed: 1,
        start,
        extension: true,
        fault: None,
    };
    let mut group = Group::new(&spec, settings);
    group.start(0, &mut []);
    group
}

fn output(group: &mut Group, id: SessionId, now_ms: u64) -> Vec<u8> {
    let mut out = vec![0; 1000];
    let count = group.poll_output(id, &mut out, now_ms, &mut []);
    out.truncate(count);
    out
}

fn hello_from(group: &mut Group, name: &str, pid: u32, now_ms: u64) -> SessionId {
    let id = group.accepted(None, now_ms, &mut []).unwrap();
    let hello = hello::encode_hello(1, "us", name, pid);
    let consumed = group.handle_input(id, &hello, now_ms, &mut []);
    assert_eq!(consumed.bytes, hello.len());
    id
}

/// A connection that says hello; what it is answered.
fn dialled_by(group: &mut Group, name: &str, pid: u32, now_ms: u64) -> (SessionId, Vec<u8>) {
    let id = hello_from(group, name, pid, now_ms);
    (id, output(group, id, now_ms))
}

fn actions(group: &mut Group) -> Vec<Action> {
    std::iter::from_fn(|| group.poll_action()).collect()
}

/// Lets every due dial happen; the sessions that were begun.
fn dials(group: &mut Group, until_ms: u64) -> Vec<(SessionId, usize)> {
    let mut dialled = Vec::new();
    for now_ms in 0..=until_ms {
        group.handle_timeout(now_ms, &mut []);
        dialled.extend(
            actions(group)
                .into_iter()
                .filter_map(|action| match action {
                    Action::Dial { session, member } => Some((session, member)),
                    Action::Close { .. } => None,
                }),
        );
    }
    dialled
}

#[test]
fn the_newest_connection_of_a_peer_wins() {
    let mut group = group(StartState::Complete);
    let (first, answer) = dialled_by(&mut group, "a", 7, 0);
    assert_eq!(answer, b"200\n\x00\x04");
    let (second, answer) = dialled_by(&mut group, "a", 7, 10);
    assert_eq!(answer, b"200\n\x00\x04");
    assert!(group.session(first).is_none() && group.session(second).is_some());
    let closed = Action::Close {
        session: first,
        ending: Ending::Closed,
    };
    assert_eq!(actions(&mut group), [closed]);
    assert_eq!(group.members[1].collisions, 1);
    // It dies too, because the peer did the same: chance decides who dials first.
    group.disconnected(second, 20, &mut [], CloseReason::Connection("reset".into()));
    let redial_ms = group.members[1].redial_at_ms.unwrap() - 20;
    assert!((50..2_050).contains(&redial_ms), "{redial_ms}");
}

#[test]
fn who_took_tables_over_dials_at_once() {
    assert_eq!(dials(&mut group(StartState::Complete), 0).len(), 2);
    let mut fresh = group(StartState::Fresh);
    assert_eq!(dials(&mut fresh, 0), []);
    assert_eq!(dials(&mut fresh, FIRST_DIAL_MS_MAX).len(), 2);
}

#[test]
fn a_second_local_session_is_told_to_try_later() {
    let mut group = group(StartState::Predecessor);
    let (first, answer) = dialled_by(&mut group, "us", 7, 0);
    assert_eq!(answer, b"200\n\x00\x04");
    let (_, answer) = dialled_by(&mut group, "us", 8, 10);
    assert_eq!(answer, b"300\n");
    assert!(group.session(first).is_some());
    assert!(!group.is_up_to_date());
    group.handle_input(first, &[0, 1], 20, &mut []);
    assert!(group.is_up_to_date(), "the old process taught us");
    assert_eq!(output(&mut group, first, 20), [0, 3]);
}

#[test]
fn without_a_predecessor_peers_are_asked_after_five_seconds() {
    let mut group = group(StartState::Predecessor);
    group.shared = vec![];
    assert_eq!(group.resync.phase, Phase::FromLocal);
    group.handle_timeout(4_999, &mut []);
    assert_eq!(group.resync.phase, Phase::FromLocal);
    group.handle_timeout(5_000, &mut []);
    assert_ne!(group.resync.phase, Phase::FromLocal);
}

#[test]
fn another_process_of_a_peer_has_acknowledged_nothing() {
    let mut group = group(StartState::Complete);
    let acked = Cursor {
        owed: false,
        pushed: 9,
        acked: 9,
    };
    let (first, _) = dialled_by(&mut group, "a", 7, 0);
    group.members[1].cursors = vec![acked];
    group.disconnected(first, 5, &mut [], CloseReason::Silence);
    hello_from(&mut group, "a", 7, 10);
    assert_eq!(group.members[1].cursors, [acked], "the same process");
    hello_from(&mut group, "a", 8, 20);
    assert_eq!(group.members[1].cursors, [Cursor::default()]);
}

#[test]
fn a_refusal_is_told_once_and_dialled_again_rarely() {
    let mut group = group(StartState::Complete);
    let first = dials(&mut group, 600);
    assert_eq!(first.len(), 2, "both remote members");
    let (session, member) = first[0];
    group.connected(session);
    assert!(output(&mut group, session, 600).starts_with(b"HAProxyS 2.1\n"));
    group.handle_input(session, b"504\n", 600, &mut []);
    assert_eq!(
        group.members[member].last_status,
        LastStatus::Answered(Status::RemoteName)
    );
    let redial_ms = group.members[member].redial_at_ms.unwrap() - 600;
    assert!(redial_ms >= REDIAL_REFUSED_MS, "{redial_ms}");
    let told = group.poll_event().unwrap().to_string();
    assert!(
        told.contains("refused us with 504: it knows no peer named 'us'"),
        "{told}"
    );
    // A status of an older version: the next hello is one of that version.
    let (session, member) = first[1];
    group.connected(session);
    group.handle_input(session, b"502\n", 600, &mut []);
    group.members[member].redial_at_ms = Some(601);
    group.handle_timeout(601, &mut []);
    let again = group.members[member].session.unwrap();
    group.connected(again);
    assert!(output(&mut group, again, 601).starts_with(b"HAProxyS 2.0\n"));
}

#[test]
fn anonymous_connections_give_way_to_newer_ones() {
    let mut group = group(StartState::Complete);
    let ids: Vec<SessionId> = (0..40)
        .map(|now_ms| group.accepted(None, now_ms, &mut []).unwrap())
        .collect();
    let alive = ids
        .iter()
        .filter(|id| group.session(**id).is_some())
        .count();
    assert_eq!(alive, ANONYMOUS_MAX);
    assert!(group.session(ids[39]).is_some() && group.session(ids[0]).is_none());
}

/// However fast one address connects, another one has time for its hello.
#[test]
fn a_flood_from_one_address_keeps_no_other_one_out() {
    let mut group = group(StartState::Complete);
    let mut connect = |origin: u8| {
        let origin = Some(IpAddr::from([10, 0, 0, origin]));
        group.accepted(origin, 5, &mut []).unwrap()
    };
    let flood: Vec<SessionId> = (0..40).map(|_| connect(1)).collect();
    let slow = connect(2);
    let more: Vec<SessionId> = (0..1_000).map(|_| connect(1)).collect();
    assert!(group.session(slow).is_some());
    assert!(group.session(flood[39]).is_none() && group.session(more[0]).is_none());
    let alive = group.sessions.len();
    assert_eq!(alive, ANONYMOUS_MAX);
    let answer = |group: &mut Group, id| {
        group.handle_input(id, b"HAProxyS 2.1\nus\na 1 1\n", 6, &mut []);
        group.session(id).is_some_and(Session::is_established)
    };
    assert!(answer(&mut group, slow));
}

#[test]
fn who_has_only_a_part_is_not_the_last_one_asked() {
    let member = |name: &str, shard| MemberSpec {
        name: name.into(),
        address: Some(Address::Abstract(name.into())),
        shard,
        ..MemberSpec::default()
    };
    let spec = PeersSpec {
        name: "mesh".into(),
        local_name: "us".into(),
        members: vec![
            member("us", 0),
            member("a", 1),
            member("b", 2),
            member("c", 2),
        ],
        tables: vec![0],
        shards: 2,
        ..PeersSpec::default()
    };
    let settings = Settings {
        updates_max: 200,
        pid: 1,
        seed: 1,
        start: StartState::Fresh,
        extension: false,
        fault: None,
    };
    let table = crate::stick::TableSpec {
        name: "app".into(),
        wire_name: "app".into(),
        key_type: crate::stick::KeyType::Ip,
        key_len: 4,
        size: 10,
        expire_ms: 0,
        nopurge: false,
        expire_absolute: false,
        store: Vec::new(),
        server_key_kind: Default::default(),
        peers: Some("mesh".into()),
    };
    let tables = &mut [Table::create(&table, [1, 2], 0).unwrap()];
    let mut group = Group::new(&spec, settings);
    group.start(0, tables);
    let mut asked = Vec::new();
    let ids = ["a", "b", "c"].map(|name| {
        let id = group.accepted(None, 0, tables).unwrap();
        let hello = hello::encode_hello(1, "us", name, 7);
        group.handle_input(id, &hello, 0, tables);
        (name, id)
    });
    for _ in 0..3 {
        for (name, id) in ids {
            let mut out = [0; 1000];
            let count = group.poll_output(id, &mut out, 0, tables);
            let said = out[..count].strip_prefix(b"200\n").unwrap_or(&out[..count]);
            if said.starts_with(&[0, 0]) {
                asked.push(name);
                group.handle_input(id, &[0, 1], 0, tables);
            }
        }
    }
    // The first who came, and one of those who have the other part.
    assert_eq!(asked, ["a", "c"]);
    assert!(group.is_up_to_date());
}

/// A repair that goes on and on, an entry every few seconds, does not keep others from theirs for ever.
#[test]
fn a_repair_that_is_dragged_out_gives_way() {
    let mut group = group(StartState::Complete);
    for member in &mut group.members {
        member.agreements = vec![Default::default()];
    }
    let [slow, other] = [("a", 1), ("b", 2)].map(|(name, member)| {
        let (id, _) = dialled_by(&mut group, name, 7, 0);
        (id, member)
    });
    let is_repaired = |group: &mut Group, id| {
        let session = &group.slot_mut(id).expect("it is there").session;
        session.repair_progress_ms().is_some()
    };
    group.repair(slow.0, slow.1, 0, 0);
    assert!(is_repaired(&mut group, slow.0));
    for now_ms in (0..115_000).step_by(5_000) {
        let session = &mut group.slot_mut(slow.0).expect("it is there").session;
        session.request_repair(0, now_ms); // an entry has come
        group.repair(other.0, other.1, 0, now_ms);
        assert!(!is_repaired(&mut group, other.0), "at {now_ms} ms");
    }
    group.repair(other.0, other.1, 0, 120_000);
    assert!(is_repaired(&mut group, other.0) && !is_repaired(&mut group, slow.0));
}
