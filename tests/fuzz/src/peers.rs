//! The peers protocol: the decoder, a session of a group, and two groups of which one passes on what the other was sent.

use burdock::peers::group::{Action, Group, SessionId, Settings, StartState};
use burdock::peers::hello::{self, HelloStep, StatusStep};
use burdock::peers::wire::{self, Frame, MESSAGE_BYTES_MAX, UpdateForm, UpdateWriter, Value};
use burdock::peers::{MemberSpec, PeersSpec};
use burdock::stick::spec::{DataClass, ServerKeyKind};
use burdock::stick::{DataType, Inserted, Key, KeyType, StoredType, Table, TableSpec};

use super::input::Input;

/// Most bytes of one input that a session is fed: what an input can do does not depend on more.
const INPUT_BYTES_MAX: usize = 1 << 16;

/// Everything that reads bytes of a peer, on its own: nothing reads beyond its message, and a message that is cut short
/// is incomplete, never another message.
pub fn decode(bytes: &[u8]) {
    let mut input = Input(bytes);
    match input.below(4) {
        0 => decode_lines(input.0),
        1 => decode_bodies(input),
        _ => decode_stream(input.0),
    }
}

fn decode_lines(bytes: &[u8]) {
    match hello::decode_hello(bytes, "us") {
        HelloStep::Complete(hello, taken) => {
            assert!(taken <= bytes.len() && bytes[taken - 1] == b'\n');
            assert!(!hello.name.contains(&b'\n') && !hello.name.contains(&b' '));
            for end in 0..taken {
                let cut = hello::decode_hello(&bytes[..end], "us");
                assert_eq!(cut, HelloStep::Incomplete, "cut at {end}");
            }
        }
        HelloStep::Refused(status, text) => {
            assert!((501..=503).contains(&status.code()));
            assert!(text.len() < 4 * hello::HELLO_BYTES_MAX + 100);
        }
        HelloStep::Incomplete => assert!(bytes.len() < hello::HELLO_BYTES_MAX),
        HelloStep::TooLong => assert!(bytes.len() >= hello::HELLO_BYTES_MAX),
    }
    match hello::decode_status(bytes) {
        StatusStep::Complete(_, taken) => assert_eq!(bytes[taken - 1], b'\n'),
        StatusStep::Malformed => {}
        StatusStep::Incomplete => assert!(bytes.len() < hello::STATUS_BYTES_MAX),
    }
    let _ = wire::explain(bytes);
}

/// A definition and the body of an update that follows it, without heads that a mutation would spoil.
fn decode_bodies(mut input: Input<'_>) {
    let count = input.number().into();
    let definition = input.bytes(count);
    let Ok(definition) = wire::decode_define(definition) else {
        return;
    };
    assert!(!definition.name.is_empty());
    let Some(layout) = definition.layout else {
        return;
    };
    for form in FORMS {
        let Ok(update) = wire::decode_update(form, input.0, &layout) else {
            continue;
        };
        assert!(update.key.len() <= input.0.len());
        assert_eq!(update.id.is_some(), form.explicit_id);
        assert_eq!(update.expire_ms.is_some(), form.timed);
        let mut last = None;
        for field in update.fields() {
            assert!(last < Some((field.data_type, field.element)));
            last = Some((field.data_type, field.element));
            assert!(field.data_type < wire::DATA_TYPES_KNOWN);
            if let Value::Slot(slot) | Value::String(slot, _) = field.value {
                assert!((1..=wire::DICTIONARY_SLOTS).contains(&slot.into()));
            }
        }
        // The same fields to the last, if it was complete, and not complete without its last byte if that was needed.
        assert_eq!(update.fields().count(), update.fields().count());
    }
}

const FORMS: [UpdateForm; 4] = [
    UpdateForm {
        explicit_id: true,
        timed: true,
    },
    UpdateForm {
        explicit_id: true,
        timed: false,
    },
    UpdateForm {
        explicit_id: false,
        timed: true,
    },
    UpdateForm {
        explicit_id: false,
        timed: false,
    },
];

fn decode_stream(bytes: &[u8]) {
    let mut rest = bytes;
    let mut layout = None;
    while let Ok(Some((frame, taken))) = wire::decode_frame(rest) {
        assert!((2..=MESSAGE_BYTES_MAX).contains(&taken) && taken <= rest.len());
        for end in (0..taken).rev().take(16) {
            assert_eq!(wire::decode_frame(&rest[..end]), Ok(None), "cut at {end}");
        }
        let _ = wire::explain(&rest[..taken.min(64)]);
        match frame {
            Frame::Define(body) => layout = wire::decode_define(body).ok().and_then(|it| it.layout),
            Frame::Update(form, body) => {
                let _ = wire::decode_update_id(form, body);
                if let Some(layout) = &layout
                    && let Ok(update) = wire::decode_update(form, body, layout)
                {
                    let _ = update.fields().count();
                }
            }
            Frame::Switch(body) => drop(wire::decode_switch(body)),
            Frame::Ack(body) => drop(wire::decode_ack(body)),
            Frame::Extension(kind, body) => drop(wire::extension::decode(kind, body)),
            Frame::Control(_) | Frame::Error(_) | Frame::Unknown => {}
        }
        rest = &rest[taken..];
    }
}

fn stored(data_type: DataType) -> StoredType {
    StoredType {
        data_type,
        elements: if data_type.is_array() { 3 } else { 1 },
        period_ms: match data_type.class() {
            DataClass::Rate => 10_000,
            _ => 0,
        },
    }
}

fn table(name: &str, key_type: KeyType, key_len: u32, store: &[DataType], size: u32) -> TableSpec {
    TableSpec {
        name: name.into(),
        wire_name: name.into(),
        key_type,
        key_len,
        size,
        expire_ms: 300_000,
        nopurge: false,
        expire_absolute: false,
        store: store.iter().copied().map(stored).collect(),
        server_key_kind: ServerKeyKind::Name,
        peers: Some("mesh".into()),
    }
}

/// `a` sticks, `b` stores everything by address, `c` is of binary keys, full at once, and refuses.
fn specs() -> [TableSpec; 3] {
    use DataType::{Gpc0, HttpReqRate, ServerId, ServerKey};
    let mut refusing = table("c", KeyType::Binary, 5, &[Gpc0], 4);
    refusing.nopurge = true;
    refusing.expire_ms = 0;
    [
        table(
            "a",
            KeyType::String,
            8,
            &[ServerId, HttpReqRate, ServerKey],
            16,
        ),
        table("b", KeyType::Ip, 4, &DataType::ALL, 16),
        refusing,
    ]
}

fn group(local_name: &str, start: StartState) -> Group {
    let member = |name: &str| MemberSpec {
        name: name.into(),
        address: None,
        ..MemberSpec::default()
    };
    let spec = PeersSpec {
        name: "mesh".into(),
        local_name: local_name.into(),
        members: vec![member("us"), member("evil"), member("good")],
        tables: vec![0, 1, 2],
        ..PeersSpec::default()
    };
    let settings = Settings {
        updates_max: 50,
        pid: 1,
        seed: 7,
        start,
        extension: true,
        fault: None,
    };
    Group::new(&spec, settings)
}

/// A group, its tables and its clock.
struct Node {
    group: Group,
    tables: Vec<Table>,
    now_ms: u64,
}

impl Node {
    fn new(name: &str, start: StartState) -> Node {
        let create =
            |spec: &TableSpec| Table::create(spec, [1, 2], 0).expect("cannot create a table");
        let mut tables: Vec<Table> = specs().iter().map(create).collect();
        if start == StartState::Complete {
            tables.iter_mut().for_each(Table::set_learnt);
        }
        let mut group = group(name, start);
        group.start(0, &mut tables);
        Node {
            group,
            tables,
            now_ms: 0,
        }
    }

    /// A connection over which a hello of `name` has been taken. `manner`: bit 0, it is of version 2.0; bit 1, it is a burdock
    /// and says so.
    fn accepted(&mut self, name: &str, manner: u8) -> SessionId {
        let id = self.group.accepted(None, self.now_ms, &mut self.tables);
        let id = id.expect("a group that runs accepts");
        let minor = 1 - (manner & 1);
        let mut hello = format!("HAProxyS 2.{minor}\nus\n{name} 77 1\n").into_bytes();
        if manner & 2 != 0 {
            hello = hello::offer_extension(hello);
        }
        let consumed = self.input(id, &hello);
        assert_eq!(consumed, hello.len());
        id
    }

    /// Hands bytes over until the session wants no more of them; how many it took.
    fn input(&mut self, id: SessionId, bytes: &[u8]) -> usize {
        let mut taken = 0;
        loop {
            let consumed =
                self.group
                    .handle_input(id, &bytes[taken..], self.now_ms, &mut self.tables);
            taken += consumed.bytes;
            assert!(taken <= bytes.len());
            self.drain();
            if !consumed.more {
                return taken;
            }
        }
    }

    fn output(&mut self, id: SessionId, room: usize) -> Vec<u8> {
        let mut out = vec![0xaa; room + 8];
        let count = self
            .group
            .poll_output(id, &mut out[..room], self.now_ms, &mut self.tables);
        assert!(count <= room && out[room..] == [0xaa; 8]);
        out.truncate(count);
        self.drain();
        out
    }

    fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
        self.group.handle_timeout(self.now_ms, &mut self.tables);
        for table in &mut self.tables {
            table.expire(self.now_ms, 10);
        }
        self.drain();
    }

    /// Neither actions nor events may pile up unseen.
    fn drain(&mut self) {
        while let Some(action) = self.group.poll_action() {
            assert!(
                matches!(action, Action::Close { .. }),
                "nobody has an address"
            );
        }
        let events = std::iter::from_fn(|| self.group.poll_event());
        for event in events.take(1_000) {
            assert!(
                !event.text.contains('\n') && event.text.len() < 2_000,
                "{event}"
            );
        }
    }

    /// Changes an entry as a request would.
    fn write(&mut self, input: &mut Input<'_>) {
        let table = &mut self.tables[input.below(3)];
        let key = [input.byte() % 24; 4];
        let spec = table.spec().clone();
        let Some(key) = Key::new(&spec, &key) else {
            return;
        };
        let Some(Inserted::Found(entry) | Inserted::New(entry)) =
            table.lookup_or_insert(key, self.now_ms)
        else {
            return;
        };
        let value = input.byte();
        table.set_server(entry, value.into(), Some(&[b's', value]));
        table.set_value(entry, DataType::Gpc0, 0, value.into());
        table.touch_local(entry, self.now_ms);
    }

    fn check(&self) {
        for table in &self.tables {
            if let Err(error) = table.check_invariants() {
                panic!("{}: {error}", table.spec().name);
            }
        }
    }
}

/// What we said is a status line and whole messages behind it, the last one perhaps not complete yet.
fn check_said(said: &[u8]) {
    let Some(mut rest) = said.strip_prefix(b"200\n") else {
        return assert!(said.is_empty(), "no status before messages: {said:?}");
    };
    while !rest.is_empty() {
        match wire::decode_frame(rest) {
            Ok(Some((frame, taken))) => {
                assert_ne!(frame, Frame::Unknown);
                rest = &rest[taken..];
            }
            other => panic!("what we sent is not the protocol: {other:?} in {rest:?}"),
        }
    }
}

/// A peer that knows a name: its bytes in any pieces, between them time, changes here, and little room for answers.
pub fn session(bytes: &[u8]) {
    let mut input = Input(&bytes[..bytes.len().min(INPUT_BYTES_MAX)]);
    let start = [StartState::Fresh, StartState::Complete][input.below(2)];
    let mut node = Node::new("us", start);
    let mut id = node.accepted("evil", input.byte());
    let mut waiting: Vec<u8> = Vec::new();
    let mut said = Vec::new();
    while !input.is_empty() {
        match input.below(8) {
            0 => said.extend(node.output(id, MESSAGE_BYTES_MAX)),
            1 => {
                let room = input.byte().into();
                said.extend(node.output(id, room));
            }
            2 => node.wait(u64::from(input.number()) / 8),
            3 => node.write(&mut input),
            4 => {
                // Its next connection, which replaces this one.
                said.extend(node.output(id, MESSAGE_BYTES_MAX));
                check_said(&said);
                said.clear();
                waiting.clear();
                id = node.accepted("evil", input.byte());
            }
            _ => {
                let count = usize::from(input.byte()) * 4 + 1;
                waiting.extend(input.bytes(count));
                let taken = node.input(id, &waiting);
                waiting.drain(..taken);
                assert!(
                    waiting.len() <= MESSAGE_BYTES_MAX,
                    "what is kept is one message at most"
                );
            }
        }
    }
    said.extend(node.output(id, MESSAGE_BYTES_MAX));
    check_said(&said);
    node.check();
}

/// The encoder fed by the decoder: what a peer sends is applied, taught on to another node, and must be the same there.
pub fn relay(bytes: &[u8]) {
    let mut input = Input(&bytes[..bytes.len().min(INPUT_BYTES_MAX)]);
    let room = usize::from(input.number()).max(64);
    let mut first = Node::new("us", StartState::Complete);
    let manner = input.byte();
    let evil = first.accepted("evil", manner);
    let mut second = Node::new("good", StartState::Complete);
    first.input(evil, input.0);
    reencode(&first);
    let there = first.accepted("good", manner >> 2 & 2);
    let here = {
        let id = second
            .group
            .accepted(None, 0, &mut second.tables)
            .expect("accepted");
        let mut hello = b"HAProxyS 2.1\ngood\nus 1 1\n".to_vec();
        if manner & 8 != 0 {
            hello = hello::offer_extension(hello);
        }
        let taken = second.input(id, &hello);
        assert!(taken > 0);
        id
    };
    // The lesson that `good` asks for, in pieces of `room` bytes; what it answers goes back.
    first.input(there, &[0, 0]);
    let mut pipe = Vec::new();
    let mut greeted = false;
    for round in 0.. {
        assert!(round < 20_000, "a lesson that does not end");
        let mut out = first.output(
            there,
            room.max(MESSAGE_BYTES_MAX * usize::from(round % 2 == 0)),
        );
        if !greeted && !out.is_empty() {
            assert!(out.starts_with(b"200\n"), "{out:?}");
            out.drain(..4);
            greeted = true;
        }
        pipe.extend(&out);
        let taken = second.input(here, &pipe);
        pipe.drain(..taken);
        let answer = second.output(here, MESSAGE_BYTES_MAX);
        let answer = answer.strip_prefix(b"200\n").unwrap_or(&answer);
        first.input(there, answer);
        let busy = first
            .group
            .session(there)
            .is_some_and(|session| session.is_teaching());
        if !busy && out.is_empty() && answer.is_empty() && round % 2 == 1 {
            break;
        }
    }
    assert!(pipe.is_empty(), "an incomplete message: {pipe:?}");
    assert!(
        second.group.session(here).is_some(),
        "what we teach must not offend the learner"
    );
    for (position, table) in first.tables.iter().enumerate() {
        same(table, &second.tables[position]);
    }
    first.check();
    second.check();
}

/// Every entry of `taught` is in `learnt`, with its values.
fn same(taught: &Table, learnt: &Table) {
    let spec = taught.spec().clone();
    let mut scan = taught.scan(0, u32::MAX, 0);
    let entries: Vec<_> = (&mut scan).collect();
    assert_eq!(entries.len(), learnt.used() as usize, "{}", spec.name);
    for entry in entries {
        let key = taught.key(entry);
        let Some(other) = learnt.lookup(key.as_key(), 0) else {
            panic!("{}: {key:?} was not taught", spec.name);
        };
        assert_eq!(taught.server(entry), learnt.server(other), "{}", spec.name);
        for stored in &spec.store {
            for element in 0..stored.elements {
                let values = [(taught, entry), (learnt, other)].map(|(table, entry)| {
                    let value = table.value(entry, stored.data_type, element);
                    (value, table.rate(entry, stored.data_type, element))
                });
                let [ours, theirs] = values;
                assert_eq!(ours, theirs, "{} {:?}", spec.name, stored.data_type);
            }
        }
    }
}

/// Every entry as an update of its own, in every room: either it fits and reads back, or nothing is claimed.
fn reencode(node: &Node) {
    for table in &node.tables {
        let spec = table.spec();
        let mut scan = table.scan(0, 4, 0);
        let entries: Vec<_> = (&mut scan).collect();
        for entry in entries {
            let key = table.key(entry);
            for room in [0, 1, 4, 5, 9, 20, MESSAGE_BYTES_MAX] {
                let mut out = vec![0; room];
                let key_len = spec.wire_key_len() as usize;
                let mut writer =
                    UpdateWriter::new(&mut out, 7, Some(9), spec.key_type, key_len, key.as_bytes());
                writer.value(Value::Unsigned(
                    table.value(entry, DataType::Gpc0, 0).unwrap_or(0),
                ));
                let Ok(count) = writer.finish() else {
                    assert!(room < MESSAGE_BYTES_MAX);
                    continue;
                };
                let Ok(Some((Frame::Update(form, body), taken))) =
                    wire::decode_frame(&out[..count])
                else {
                    panic!("no update: {:?}", &out[..count]);
                };
                assert_eq!(taken, count);
                assert_eq!(form, FORMS[0]);
                assert_eq!(wire::decode_update_id(form, body), Ok(Some(7)));
            }
        }
    }
}
