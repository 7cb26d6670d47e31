//! Lessons and catching up, byte by byte, between a session and a reader made of the codec alone.

use std::collections::BTreeMap;

use super::*;
use crate::peers::context::{Cursor, LearningRules};
use crate::peers::shard::Shard;
use crate::peers::wire::{UpdateForm, decode_define, decode_frame, decode_update};
use crate::stick::Table;
use crate::stick::spec::ServerKeyKind;
use crate::stick::{DataType, Inserted, Key, KeyType, StoredType, TableSpec};

fn table(entries: u32) -> Table {
    let spec = TableSpec {
        name: "app".into(),
        wire_name: "app".into(),
        key_type: KeyType::Integer,
        key_len: 4,
        size: 2_000,
        expire_ms: 60_000,
        nopurge: false,
        expire_absolute: false,
        store: vec![StoredType {
            data_type: DataType::Gpc0,
            elements: 1,
            period_ms: 0,
        }],
        server_key_kind: ServerKeyKind::Name,
        peers: Some("mesh".into()),
    };
    let mut table = Table::create(&spec, [1, 2], 0).unwrap();
    for number in 0..entries {
        write(&mut table, number, number, 0);
    }
    table
}

fn write(table: &mut Table, key: u32, value: u32, now_ms: u64) {
    let spec = table.spec().clone();
    let key = key.to_be_bytes();
    let entry = match table.lookup_or_insert(Key::new(&spec, &key).unwrap(), now_ms) {
        Some(Inserted::Found(entry) | Inserted::New(entry)) => entry,
        None => panic!("the table is full"),
    };
    table.set_value(entry, DataType::Gpc0, 0, value.into());
    table.touch_local(entry, now_ms);
}

/// What a reader makes of a session's output.
#[derive(Default)]
struct Reader {
    bytes: Vec<u8>,
    layout: Option<wire::Layout>,
    /// Values by key, the last one received.
    values: BTreeMap<u32, u64>,
    updates: Vec<(UpdateForm, u32, Option<u32>)>,
    controls: Vec<Control>,
}

impl Reader {
    /// What the reader would acknowledge.
    fn last_id(&self) -> u32 {
        self.updates.last().map_or(0, |&(_, id, _)| id)
    }

    fn read(&mut self) {
        while let Ok(Some((frame, taken))) = decode_frame(&self.bytes) {
            match frame {
                Frame::Control(control) => self.controls.push(control),
                Frame::Define(body) => self.layout = decode_define(body).unwrap().layout,
                Frame::Update(form, body) => {
                    let update = decode_update(form, body, &self.layout.unwrap()).unwrap();
                    let key = u32::from_be_bytes(update.key.try_into().unwrap());
                    let Some(wire::Value::Unsigned(value)) =
                        update.fields().next().map(|field| field.value)
                    else {
                        panic!("one number an update");
                    };
                    self.values.insert(key, value);
                    self.updates
                        .push((form, update.id.unwrap(), update.expire_ms));
                }
                _ => {}
            }
            self.bytes.drain(..taken);
        }
    }
}

struct Peer {
    session: Session,
    tables: Vec<Table>,
    cursors: Vec<Cursor>,
    reader: Reader,
    learning: LearningRules,
    shard: Option<Shard>,
}

impl Peer {
    fn with<T>(
        &mut self,
        now_ms: u64,
        call: impl FnOnce(&mut Session, &mut Context<'_>) -> T,
    ) -> T {
        let shared = &[0, 1][..self.tables.len()];
        let mut context = Context {
            now_ms,
            tables: &mut self.tables,
            shared,
            cursors: &mut self.cursors,
            local_name: "us",
            up_to_date: true,
            updates_max: 200,
            learning: &self.learning,
            shard: self.shard,
            fault: None,
        };
        call(&mut self.session, &mut context)
    }

    fn connect(tables: Vec<Table>, cursors: Vec<Cursor>, now_ms: u64) -> Peer {
        let mut peer = Peer {
            session: Session::accepted(now_ms),
            tables,
            cursors,
            reader: Reader::default(),
            learning: LearningRules::default(),
            shard: None,
        };
        peer.input(b"HAProxyS 2.1\nus\npeer 1 1\n", now_ms);
        peer.with(now_ms, |session, context| session.accept(1, context));
        let mut out = [0; 16];
        let count = peer.with(now_ms, |session, context| {
            session.poll_output(&mut out, context)
        });
        assert!(out[..count].starts_with(b"200\n"));
        peer
    }

    fn input(&mut self, bytes: &[u8], now_ms: u64) {
        let consumed = self.with(now_ms, |session, context| {
            session.handle_input(bytes, context)
        });
        assert_eq!(consumed.bytes, bytes.len());
    }

    fn ack(&mut self, id: u32, now_ms: u64) {
        let mut out = [0; 16];
        let count = wire::encode_ack(&mut out, 1, id).unwrap();
        self.input(&out[..count], now_ms);
    }

    /// One call for output with so much room.
    fn output(&mut self, room: usize, now_ms: u64) -> usize {
        let mut out = vec![0; room];
        let count = self.with(now_ms, |session, context| {
            session.poll_output(&mut out, context)
        });
        self.reader.bytes.extend(&out[..count]);
        self.reader.read();
        count
    }

    fn output_all(&mut self, now_ms: u64) {
        while self.output(20_000, now_ms) > 0 || self.session.has_more_output() {}
    }
}

#[test]
fn a_lesson_to_a_slow_reader_ends_early_and_goes_on_as_updates() {
    let mut peer = Peer::connect(vec![table(1_000)], vec![Cursor::default()], 0);
    peer.input(&[0, 0], 0);
    let mut now_ms = 0;
    while !peer.reader.controls.contains(&Control::ResyncFinished) {
        now_ms += 100;
        assert!(now_ms <= 3_100, "the lesson takes too long");
        peer.output(200, now_ms);
    }
    assert!(now_ms >= 3_000);
    let taught = peer.reader.values.len();
    assert!(taught > 0 && taught < 1_000, "{taught}");
    assert_eq!(
        peer.output(20_000, now_ms),
        0,
        "nothing before the confirmation"
    );
    // A change meanwhile, and an ack that means nothing now.
    write(&mut peer.tables[0], 5, 5_005, now_ms);
    peer.ack(3, now_ms);
    assert_eq!(peer.cursors[0].acked, 0);
    peer.input(&[0, 3], now_ms);
    assert!(matches!(
        std::iter::from_fn(|| peer.session.poll_event()).last(),
        Some(SessionEvent::LessonTaught(_))
    ));
    peer.output_all(now_ms);
    assert_eq!(peer.reader.values.len(), 1_000);
    assert_eq!(peer.reader.values[&5], 5_005);
    assert!(
        peer.reader
            .updates
            .iter()
            .all(|(form, ..)| form.explicit_id)
    );
    let untimed = peer.reader.updates.iter().filter(|(form, ..)| !form.timed);
    assert_eq!(untimed.count(), 1, "the change alone carries no lifetime");
    // An old ack cannot vouch for what a reader had not got when it sent it.
    peer.ack(1_001, now_ms);
    assert_eq!(peer.cursors[0].acked, 0);
    assert!(peer.cursors[0].owed);
    // That of the last update of the sweep does, for all of them and for the change.
    peer.ack(peer.reader.last_id(), now_ms);
    let acked = |id| Cursor {
        pushed: id,
        acked: id,
        owed: false,
    };
    assert_eq!(peer.cursors[0], acked(1_001));
    write(&mut peer.tables[0], 6, 6_006, now_ms);
    peer.output_all(now_ms);
    peer.ack(1_002, now_ms);
    assert_eq!(peer.cursors[0], acked(1_002));
}

/// The peer was told that its lesson is over, and will not ask again: what it had not got then is sent after a cut.
#[test]
fn the_rest_of_a_lesson_outlives_its_session() {
    // All is acknowledged, half of it is learnt: the update log alone would say that nothing is left to send.
    let mut peer = Peer::connect(vec![table(1_000)], vec![Cursor::default()], 0);
    peer.output_all(0);
    peer.ack(1_000, 0);
    peer.input(&[0, 0], 0);
    peer.reader = Reader {
        layout: peer.reader.layout,
        ..Reader::default()
    };
    let mut now_ms = 0;
    while !peer.reader.controls.contains(&Control::ResyncFinished) {
        now_ms += 100;
        peer.output(200, now_ms);
    }
    peer.input(&[0, 3], now_ms);
    peer.output(2_000, now_ms);
    assert!(peer.reader.values.len() < 900);
    for _ in 0..2 {
        let Peer {
            tables, cursors, ..
        } = peer;
        assert!(cursors[0].owed);
        peer = Peer::connect(tables, cursors, now_ms);
        peer.output_all(now_ms);
        assert_eq!(peer.reader.values.len(), 1_000);
    }
    peer.ack(peer.reader.last_id(), now_ms);
    assert!(!peer.cursors[0].owed);
    let Peer {
        tables, cursors, ..
    } = peer;
    let mut again = Peer::connect(tables, cursors, now_ms);
    again.output_all(now_ms);
    assert_eq!(again.reader.values.len(), 0);
}

#[test]
fn a_confirmed_lesson_is_not_pushed_again_and_one_cut_short_is() {
    let mut peer = Peer::connect(vec![table(100)], vec![Cursor::default()], 0);
    peer.input(&[0, 0], 0);
    peer.output_all(0);
    assert_eq!(peer.reader.updates.len(), 100);
    let unconfirmed = peer.cursors.clone();
    write(&mut peer.tables[0], 7, 7_007, 10);
    peer.input(&[0, 3], 10);
    peer.output_all(10);
    assert_eq!(peer.reader.updates.len(), 101, "only what changed since");
    assert_eq!(peer.reader.values[&7], 7_007);
    let Peer {
        tables, cursors, ..
    } = peer;
    let mut confirmed = Peer::connect(tables, cursors, 20);
    confirmed.output_all(20);
    assert_eq!(
        confirmed.reader.updates.len(),
        1,
        "what was not acknowledged"
    );
    let Peer { tables, .. } = confirmed;
    let mut cut = Peer::connect(tables, unconfirmed, 20);
    cut.output_all(20);
    assert_eq!(cut.reader.values.len(), 100);
}

#[test]
fn a_cursor_that_fell_out_of_the_log_catches_up() {
    let mut peer = Peer::connect(vec![table(500)], vec![Cursor::default()], 0);
    peer.output_all(0);
    peer.ack(500, 0);
    assert_eq!(peer.cursors[0].acked, 500);
    let Peer {
        mut tables,
        cursors,
        ..
    } = peer;
    for round in 0..200_000u32 {
        write(&mut tables[0], round % 300, round, 10);
        let id = tables[0].local_update_id();
        tables[0].set_pushed(id);
        if tables[0].is_behind(500) && round % 300 == 299 {
            break;
        }
    }
    assert!(tables[0].is_behind(500));
    let mut peer = Peer::connect(tables, cursors, 20);
    peer.output_all(20);
    assert_eq!(
        peer.reader.values.len(),
        300,
        "what changed, and nothing else"
    );
    for key in 0..300 {
        let entry = peer.tables[0]
            .lookup(
                Key::new(peer.tables[0].spec(), &u32::to_be_bytes(key)).unwrap(),
                20,
            )
            .unwrap();
        let held = peer.tables[0].value(entry, DataType::Gpc0, 0);
        assert_eq!(peer.reader.values.get(&key).copied(), held);
    }
    let local = peer.tables[0].local_update_id();
    assert_eq!(peer.cursors[0].pushed, local);
    assert_eq!(peer.cursors[0].acked, 500);
    assert_eq!(peer.reader.updates.len(), 301, "the last one twice");
    peer.ack(local, 20);
    assert_eq!(peer.cursors[0].acked, 500, "no update had this id");
    peer.ack(peer.reader.last_id(), 20);
    assert_eq!(peer.cursors[0].acked, local, "a sweep is acknowledged");
    write(&mut peer.tables[0], 1, 1, 30);
    peer.output_all(30);
    peer.ack(local + 1, 30);
    assert_eq!(peer.cursors[0].acked, local + 1);
}

#[test]
fn garbled_acks_change_nothing() {
    let mut peer = Peer::connect(vec![table(10)], vec![Cursor::default()], 0);
    peer.output_all(0);
    for id in [0, 11, 1 << 24, 5 << 24, u32::MAX] {
        peer.ack(id, 0);
        assert_eq!(peer.cursors[0].acked, 0, "{id}");
    }
    peer.ack(4, 0);
    peer.ack(3, 0);
    assert_eq!(peer.cursors[0].acked, 4);
}

#[test]
fn heartbeats_wait_for_updates_and_silence_ends_the_session() {
    let mut peer = Peer::connect(vec![table(0)], vec![Cursor::default()], 0);
    let mut beats = Vec::new();
    for now_ms in (0..4_900).step_by(100) {
        if now_ms == 2_000 {
            write(&mut peer.tables[0], 1, 1, now_ms);
        }
        let before = peer.reader.controls.len();
        peer.output(1_000, now_ms);
        if peer.reader.controls.len() > before {
            beats.push(now_ms);
        }
    }
    assert_eq!(
        beats,
        [],
        "the update at 2000 put the heartbeat off; the first went with the status"
    );
    peer.with(4_999, |session, context| session.handle_timeout(context));
    assert!(peer.session.close_reason().is_none());
    peer.with(5_000, |session, context| session.handle_timeout(context));
    assert_eq!(peer.session.close_reason(), Some(&CloseReason::Silence));
}

/// A HAProxy of 3.3 or later says nothing at all while it is taught, heartbeats included, until it confirms.
#[test]
fn silence_in_a_lesson_is_borne_longer() {
    let mut peer = Peer::connect(vec![table(10)], vec![Cursor::default()], 0);
    let is_alive = |peer: &mut Peer, now_ms: u64| {
        peer.with(now_ms, |session, context| session.handle_timeout(context));
        peer.output_all(now_ms);
        peer.session.close_reason().is_none()
    };
    peer.input(&[0, 0], 1_000);
    for now_ms in (1_000..=14_000).step_by(500) {
        assert!(is_alive(&mut peer, now_ms), "{now_ms}");
    }
    assert!(peer.reader.controls.contains(&Control::ResyncFinished));
    assert_eq!(peer.reader.values.len(), 10);
    // It confirms; from then on five seconds of silence are enough.
    peer.input(&[0, 3], 14_000);
    assert!(is_alive(&mut peer, 18_999));
    assert!(!is_alive(&mut peer, 19_000));
    assert_eq!(peer.session.close_reason(), Some(&CloseReason::Silence));
    // One that never confirms is given up, too.
    let mut peer = Peer::connect(vec![table(10)], vec![Cursor::default()], 0);
    peer.input(&[0, 0], 0);
    peer.output_all(0);
    assert!(is_alive(&mut peer, 14_999));
    assert!(!is_alive(&mut peer, 15_000));
}

/// Sends `messages` as a peer would and says what the table holds of a key.
fn value_of(peer: &Peer, table: usize, key: u32, data_type: DataType) -> Option<u64> {
    let table = &peer.tables[table];
    let key = key.to_be_bytes();
    let entry = table.lookup(Key::new(table.spec(), &key).unwrap(), 0)?;
    table.value(entry, data_type, 0)
}

#[test]
fn a_peer_with_a_shard_is_sent_its_part_and_is_in_step_with_it() {
    let mut parts: Vec<BTreeMap<u32, u64>> = Vec::new();
    for number in 1..=3 {
        let mut peer = Peer::connect(vec![table(0)], vec![Cursor::default()], 0);
        peer.shard = Shard::of(number, 3);
        for key in 0..300 {
            write(&mut peer.tables[0], key, key, 0);
        }
        peer.output_all(0);
        let live = std::mem::take(&mut peer.reader.values);
        // What is behind the last update sent is of other parts, and does not count as behind.
        peer.ack(peer.reader.last_id(), 0);
        assert_eq!(peer.cursors[0].acked, 300);
        peer.input(&[0, 0], 0);
        peer.output_all(0);
        assert_eq!(peer.reader.values, live, "a lesson brings the same part");
        parts.push(live);
    }
    let sizes: Vec<usize> = parts.iter().map(BTreeMap::len).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 300, "each key once: {sizes:?}");
    assert!(sizes.iter().all(|&size| size > 60), "{sizes:?}");
    assert_eq!(Shard::of(4, 3), None);
    assert_eq!(Shard::of(0, 3), None);
}

#[test]
fn write_to_writes_what_nobody_calculates_with_and_recv_only_learns_gauges() {
    let spec = |name: &str, store: &[DataType]| TableSpec {
        name: name.into(),
        wire_name: name.into(),
        store: store
            .iter()
            .map(|&data_type| StoredType {
                data_type,
                elements: 1,
                period_ms: 0,
            })
            .collect(),
        ..table(0).spec().clone()
    };
    let all = [
        DataType::ServerId,
        DataType::Gpt0,
        DataType::Gpc0,
        DataType::ConnCur,
        DataType::ServerKey,
    ];
    let tables = ["app", "copy"].map(|name| Table::create(&spec(name, &all), [1, 2], 0).unwrap());
    let mut peer = Peer::connect(tables.into(), vec![Cursor::default()], 0);
    peer.learning.write_to = vec![(0, 1)];
    let mut out = [0; 200];
    let stored = all.map(|data_type| wire::Announced {
        data_type: data_type as u32,
        elements: 1,
        period_ms: 0,
    });
    let message = |key: u32, out: &mut [u8]| {
        let mut end = wire::encode_define(
            out,
            1,
            b"app",
            KeyType::Integer,
            4,
            60_000,
            stored.into_iter(),
        )
        .unwrap();
        let key = key.to_be_bytes();
        let mut writer =
            wire::UpdateWriter::new(&mut out[end..], 1, None, KeyType::Integer, 4, &key);
        for number in [7, 8, 9, 10] {
            writer.value(wire::Value::Unsigned(number));
        }
        writer.value(wire::Value::String(1, b"s1"));
        end += writer.finish().unwrap();
        end
    };
    let count = message(5, &mut out);
    peer.input(&out[..count], 0);
    assert_eq!(value_of(&peer, 0, 5, DataType::Gpc0), Some(9));
    assert_eq!(value_of(&peer, 0, 5, DataType::ConnCur), Some(0));
    assert_eq!(value_of(&peer, 1, 5, DataType::Gpt0), Some(8));
    assert_eq!(value_of(&peer, 1, 5, DataType::Gpc0), Some(0));
    assert_eq!(value_of(&peer, 1, 5, DataType::ConnCur), Some(0));
    let table = &peer.tables[1];
    let key = 5u32.to_be_bytes();
    let entry = table
        .lookup(Key::new(table.spec(), &key).unwrap(), 0)
        .unwrap();
    assert_eq!(table.server(entry), (7, Some(&b"s1"[..])));
    assert_eq!(table.local_update_id(), 0, "it is not sent on");
    peer.learning.recv_only = vec![0];
    let count = message(6, &mut out);
    peer.input(&out[..count], 0);
    assert_eq!(value_of(&peer, 0, 6, DataType::ConnCur), Some(10));
}

/// Ids go on behind 2^32 - 1 with 0, for the sender as for who acknowledges.
#[test]
fn ids_wrap_without_ceremony() {
    let mut table = table(0);
    table.begin_ids_at(u32::MAX - 3);
    let cursor = Cursor {
        pushed: u32::MAX - 3,
        acked: u32::MAX - 3,
        owed: false,
    };
    for key in 0..8 {
        write(&mut table, key, key, 0);
    }
    let mut peer = Peer::connect(vec![table], vec![cursor], 0);
    peer.output_all(0);
    let ids: Vec<u32> = peer.reader.updates.iter().map(|&(_, id, _)| id).collect();
    assert_eq!(ids, [u32::MAX - 2, u32::MAX - 1, u32::MAX, 0, 1, 2, 3, 4]);
    peer.ack(u32::MAX, 0);
    peer.ack(u32::MAX - 2, 0); // an old one, late
    peer.ack(5, 0); // one that was never given
    assert_eq!(peer.cursors[0].acked, u32::MAX);
    let Peer {
        tables, cursors, ..
    } = peer;
    let mut again = Peer::connect(tables, cursors, 0);
    again.output_all(0);
    assert_eq!(again.reader.values.len(), 5, "what was not acknowledged");
    again.ack(4, 0);
    assert_eq!(again.cursors[0].acked, 4);
}

/// Messages are looked at several at a time. What is wrong with a later one is found when its turn comes: those before it
/// count, and `show peers errors` names its place.
#[test]
fn a_violation_behind_good_messages_ends_the_session_after_them() {
    let reserved = [255, 0x80, 3, 1, 2, 3];
    let cut_short = [10, 0x80, 3, 1, 2, 3];
    for (good, bad) in [0, 1, 5, 15, 16, 17, 40]
        .map(|good| (good, reserved))
        .into_iter()
        .chain([1, 5, 15, 16, 17, 40].map(|good| (good, cut_short)))
    {
        let mut teacher = connected(good);
        teacher.with(0, |session, context| session.teach(context));
        let (mut bytes, mut out) = (Vec::new(), vec![0; 20_000]);
        loop {
            match teacher.with(0, |session, context| session.poll_output(&mut out, context)) {
                0 => break,
                count => bytes.extend_from_slice(&out[..count]),
            }
        }
        let bad_at = bytes.len();
        bytes.extend(bad);
        let mut learner = connected(0);
        let before = learner.session.counters.bytes_received;
        learner.input(&bytes, 1);
        assert_eq!(learner.tables[0].used(), good);
        let (offset, first) = learner.session.violation.clone().unwrap();
        assert_eq!(offset, before + bad_at as u64, "{good}");
        assert_eq!(first, bad);
    }
}

fn connected(entries: u32) -> Peer {
    Peer::connect(vec![table(entries)], vec![Cursor::default()], 0)
}

/// A definition in the middle of what is looked at together: the entries behind it belong to another table.
#[test]
fn entries_behind_a_definition_go_to_its_table() {
    let entry = |key: u32, value: u8| {
        let mut message = vec![10, 0x80, 9, 0, 0, 0, 1];
        message.extend(key.to_be_bytes());
        message.push(value);
        message
    };
    let define = |id: u8, name: &[u8]| {
        let mut body = vec![id, name.len() as u8];
        body.extend_from_slice(name);
        body.extend([2, 4, 4, 0]);
        let mut message = vec![10, 0x82, body.len() as u8];
        message.extend(body);
        message
    };
    let mut learner = connected(0);
    let bytes = [
        define(1, b"app"),
        entry(1, 11),
        define(2, b"nobody's"),
        entry(2, 12),
        vec![10, 0x83, 1, 1],
        entry(3, 13),
    ]
    .concat();
    learner.input(&bytes, 1);
    assert_eq!(learner.session.close_reason(), None);
    let values = [1, 2, 3].map(|key| value_of(&learner, 0, key, DataType::Gpc0));
    assert_eq!(values, [Some(11), None, Some(13)]);
}

/// What is kept of servers, ready to be sent, is given up when a name takes another one's place: in the table's dictionary, which holds 500
/// names here, or in the session's, which holds 128.
#[test]
fn updates_name_the_servers_of_now() {
    let stored = |data_type| StoredType {
        data_type,
        elements: 1,
        period_ms: 0,
    };
    let mut spec = table(0).spec().clone();
    spec.store = vec![stored(DataType::ServerId), stored(DataType::ServerKey)];
    let mut named = Table::create(&spec, [1, 2], 0).unwrap();
    let entries = [1_u32, 2].map(|key| {
        let key = key.to_be_bytes();
        let inserted = named.lookup_or_insert(Key::new(&spec, &key).unwrap(), 0);
        inserted.unwrap().entry()
    });
    let mut peer = Peer::connect(vec![named], vec![Cursor::default()], 0);
    let (mut layout, mut sent) = (None, 0);
    for round in 0..700 {
        let name = format!("s{round}");
        let expected = [(round % 5, name.as_bytes()), (9, b"stays")];
        for (entry, (id, name)) in entries.into_iter().zip(expected) {
            peer.tables[0].set_server(entry, id, Some(name));
            peer.tables[0].touch_local(entry, 0);
        }
        let mut out = vec![0; 20_000];
        let count = peer.with(0, |session, context| session.poll_output(&mut out, context));
        let mut rest = &out[..count];
        while let Ok(Some((frame, taken))) = decode_frame(rest) {
            match frame {
                Frame::Define(body) => layout = decode_define(body).unwrap().layout,
                Frame::Update(form, body) => {
                    let update = decode_update(form, body, &layout.unwrap()).unwrap();
                    let (id, name) = expected[usize::from(update.key[3]) - 1];
                    assert_eq!(update.server_id, Some(id));
                    assert_eq!(update.string.map(|(_, string)| string), Some(name));
                    sent += 1;
                }
                _ => {}
            }
            rest = &rest[taken..];
        }
        let id = peer.tables[0].local_update_id();
        peer.ack(id, 0);
    }
    assert_eq!(sent, 2 * 700);
    // A name takes the place of the one that was sent last, and nothing is sent in between.
    let mut numbers = Vec::new();
    for number in 1..2_000 {
        let name = format!("again{number}");
        peer.tables[0].set_server(entries[0], 1, Some(name.as_bytes()));
        let place = peer.tables[0].server_number(entries[0]).0;
        numbers.push(place);
        if number > 1 && place != numbers[0] {
            continue;
        }
        peer.tables[0].touch_local(entries[0], 0);
        let mut out = vec![0; 20_000];
        let count = peer.with(0, |session, context| session.poll_output(&mut out, context));
        let said = out[..count]
            .windows(name.len())
            .any(|it| it == name.as_bytes());
        assert!(said, "{name}");
        sent += 1;
    }
    assert!(sent > 2 * 700 + 1, "places are used again");
}

/// Updates are looked at before those in front of them are taken in, and those may select another table.
#[test]
fn what_is_looked_at_ahead_belongs_to_the_table_selected_then() {
    let define = |out: &mut Vec<u8>, id: u64, name: &[u8]| {
        let mut room = [0; 100];
        let gpc0 = wire::Announced {
            data_type: DataType::Gpc0 as u32,
            elements: 1,
            period_ms: 0,
        };
        let stored = [gpc0].into_iter();
        let count =
            wire::encode_define(&mut room, id, name, KeyType::Integer, 4, 60_000, stored).unwrap();
        out.extend_from_slice(&room[..count]);
    };
    let update = |out: &mut Vec<u8>, number: u32| {
        let (mut room, key) = ([0; 100], number.to_be_bytes());
        let mut writer =
            wire::UpdateWriter::new(&mut room, number, None, KeyType::Integer, 4, &key);
        writer.value(wire::Value::Unsigned(u64::from(number)));
        let count = writer.finish().unwrap();
        out.extend_from_slice(&room[..count]);
    };
    for run in 1..40 {
        let mut bytes = Vec::new();
        for number in 0..160 {
            if number % run == 0 {
                let (id, name): (u64, &[u8]) = match number / run % 2 {
                    0 => (1, b"app"),
                    _ => (2, b"other"),
                };
                define(&mut bytes, id, name);
            }
            update(&mut bytes, number + 1);
        }
        let mut spec = table(0).spec().clone();
        spec.wire_name = "other".into();
        let tables = vec![table(0), Table::create(&spec, [3, 4], 0).unwrap()];
        let mut peer = Peer::connect(tables, vec![Cursor::default(); 2], 0);
        let mut at = 0;
        while at < bytes.len() {
            let consumed = peer.with(0, |session, context| {
                session.handle_input(&bytes[at..], context)
            });
            assert!(consumed.bytes > 0 && peer.session.close_reason().is_none());
            at += consumed.bytes;
        }
        for number in 0..160 {
            let key = u32::to_be_bytes(number + 1);
            for (at, table) in peer.tables.iter().enumerate() {
                let entry = table.lookup(Key::new(table.spec(), &key).unwrap(), 0);
                let value = entry.and_then(|entry| table.value(entry, DataType::Gpc0, 0));
                let is_here = number / run % 2 == at as u32;
                let expected = is_here.then_some(u64::from(number + 1));
                assert_eq!(value, expected, "runs of {run}, update {number}");
            }
        }
    }
}
