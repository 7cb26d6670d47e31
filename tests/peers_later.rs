//! Peers as HAProxy 2.7 to 3.5 are, played byte by byte: no such HAProxy is packaged where the tests run.

#[path = "sim/loop_node.rs"]
pub mod loop_node;
#[path = "sim/raw_peer.rs"]
pub mod raw_peer;

use std::net::{SocketAddr, TcpListener};

use burdock::peers::wire::{
    Control, Frame, Layout, Update, Value, decode_ack, decode_define, decode_frame, decode_update,
};
use burdock::stick::spec::ServerKeyKind;
use burdock::stick::{DataType, KeyType, StoredType, TableSpec};
use loop_node::LoopNode;
use raw_peer::{Client, bytes};

/// A table `app` with keys of up to 32 characters that stores types, their elements and their periods in milliseconds.
fn table(store: &[(DataType, u32, u32)]) -> TableSpec {
    let store = store
        .iter()
        .map(|&(data_type, elements, period_ms)| StoredType {
            data_type,
            elements,
            period_ms,
        });
    TableSpec {
        name: "app".into(),
        wire_name: "app".into(),
        key_type: KeyType::String,
        key_len: 32,
        size: 1_000,
        expire_ms: 300_000,
        nopurge: false,
        expire_absolute: false,
        store: store.collect(),
        server_key_kind: ServerKeyKind::Name,
        peers: Some("mesh".into()),
    }
}

fn node(table: TableSpec) -> (LoopNode, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let members = [("later", None), ("us", Some(address))];
    let node = LoopNode::start("us", Some(listener), &members, &[table]);
    (node, address)
}

fn vint(mut value: u64) -> Vec<u8> {
    if value < 0xf0 {
        return vec![value as u8];
    }
    let mut out = vec![value as u8 | 0xf0];
    value = (value - 0xf0) >> 4;
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value = (value - 0x80) >> 7;
    }
    out.push(value as u8);
    out
}

fn vints(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| vint(*value)).collect()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[10, kind], &*vint(body.len() as u64), body].concat()
}

/// The peer's definition of `app` as its table 5: data types as bits, and their parameters.
fn define(data_types: u64, parameters: &[u64]) -> Vec<u8> {
    let head = [vints(&[5, 3]), b"app".to_vec(), vints(&[6, 33])].concat();
    let rest = [vints(&[data_types, 300_000]), vints(parameters)].concat();
    message(0x82, &[head, rest].concat())
}

fn update(id: u32, key: &str, values: &[u64]) -> Vec<u8> {
    let key = [&[key.len() as u8], key.as_bytes()].concat();
    message(0x80, &[&id.to_be_bytes(), &*key, &vints(values)].concat())
}

const fn bit(data_type: DataType) -> u64 {
    1 << data_type as u64
}

/// An update that the node sent: whether it names its id, the id, the key and the numbers in it.
#[derive(Debug, PartialEq)]
struct Sent {
    explicit_id: bool,
    id: Option<u32>,
    key: String,
    numbers: Vec<u64>,
}

/// Everything that the node has sent, its status line left out.
#[derive(Debug, Default)]
struct Said {
    updates: Vec<Sent>,
    /// Data types of the last definition, as a bit field.
    data_types: u64,
    controls: Vec<Control>,
    acks: Vec<u32>,
}

/// Reads all complete messages, which stay in `received`.
fn said(client: &Client) -> Said {
    let mut said = Said::default();
    let Some(mut rest) = client.received.strip_prefix(b"200\n") else {
        return said;
    };
    let mut layout: Option<Layout> = None;
    while let Some((frame, taken)) = decode_frame(rest).unwrap() {
        match frame {
            Frame::Define(body) => {
                let definition = decode_define(body).unwrap();
                said.data_types = definition.data_types;
                layout = definition.layout;
            }
            Frame::Update(form, body) => {
                let decoded = decode_update(form, body, &layout.unwrap()).unwrap();
                said.updates.push(Sent {
                    explicit_id: form.explicit_id,
                    id: decoded.id,
                    key: String::from_utf8(decoded.key.to_vec()).unwrap(),
                    numbers: numbers(&decoded),
                });
            }
            Frame::Control(control) => said.controls.push(control),
            Frame::Ack(body) => said.acks.push(decode_ack(body).unwrap().1),
            _ => {}
        }
        rest = &rest[taken..];
    }
    said
}

/// Values as numbers; of rates what does not change with time.
fn numbers(update: &Update<'_>) -> Vec<u64> {
    let value = |value| match value {
        Value::Unsigned(number) => vec![number],
        Value::Rate {
            current, previous, ..
        } => vec![current.into(), previous.into()],
        _ => vec![],
    };
    update
        .fields()
        .flat_map(|field| value(field.value))
        .collect()
}

/// A client whose session is established and that has told the node that it has nothing to teach.
fn established(node: &mut LoopNode, address: SocketAddr) -> Client {
    let mut client = Client::hello(address, "later");
    client.read_until(node, "the status", |client| {
        client.received.starts_with(b"200\n")
    });
    client.send(&bytes("00 02"));
    client
}

/// `glitch_cnt` and `glitch_rate` (3.0), and rates of bytes as they come: `brates-factor` (3.2) is announced to nobody.
#[test]
fn glitches_are_learnt_and_taught() {
    use DataType::{BytesInRate, GlitchCnt, GlitchRate, Gpc1};
    let store = [
        (BytesInRate, 1, 10_000),
        (Gpc1, 1, 0),
        (GlitchCnt, 1, 0),
        (GlitchRate, 1, 10_000),
    ];
    let (mut node, address) = node(table(&store));
    let mut client = established(&mut node, address);
    let bits = bit(BytesInRate) | bit(Gpc1) | bit(GlitchCnt) | bit(GlitchRate);
    assert_eq!(bits, 1 << 14 | 1 << 17 | 1 << 25 | 1 << 26);
    // Another period is no reason to refuse.
    client.send(&define(bits, &[14, 10_000, 26, 60_000]));
    client.send(&update(
        7,
        "k",
        &[500, 1_000, 0, 3, 4_294_967_295, 2_000, 11, 22],
    ));
    node.run_until("the update", |node| node.find(0, b"k").is_some());
    assert_eq!(node.value(0, b"k", Gpc1), Some(3));
    assert_eq!(node.value(0, b"k", GlitchCnt), Some(4_294_967_295));
    let entry = node.find(0, b"k").unwrap();
    let rate = |data_type| node.tables[0].rate(entry, data_type, 0).unwrap();
    assert_eq!(
        (rate(BytesInRate).current, rate(BytesInRate).previous),
        (1_000, 0)
    );
    assert_eq!(
        (rate(GlitchRate).current, rate(GlitchRate).previous),
        (11, 22)
    );
    let age_ms = rate(GlitchRate).age_ms(node.now_ms());
    assert!((2_000..20_000).contains(&age_ms), "{age_ms}");
    client.read_until(&mut node, "the ack", |client| said(client).acks == [7]);
    client.send(&bytes("00 00"));
    client.read_until(&mut node, "the lesson", |client| {
        said(client).updates.len() == 1
    });
    let said = said(&client);
    assert_eq!(said.data_types, bits);
    assert_eq!(
        said.updates[0].numbers,
        [1_000, 0, 3, 4_294_967_295, 11, 22]
    );
}

/// A table here that does not store them takes what it knows, from a definition with them as from one without.
#[test]
fn glitches_that_nobody_stores_are_dropped() {
    let (mut node, address) = node(table(&[(DataType::Gpc0, 1, 0)]));
    let mut client = established(&mut node, address);
    let bits = bit(DataType::Gpc0) | bit(DataType::GlitchCnt) | bit(DataType::GlitchRate);
    client.send(&define(bits, &[26, 10_000]));
    client.send(&update(1, "a", &[240, 9, 0, 1, 1]));
    client.send(&define(bit(DataType::Gpc0), &[]));
    client.send(&update(2, "b", &[241]));
    node.run_until("both", |node| node.find(0, b"b").is_some());
    assert_eq!(node.value(0, b"a", DataType::Gpc0), Some(240));
    assert_eq!(node.value(0, b"b", DataType::Gpc0), Some(241));
    client.read_until(&mut node, "the ack", |client| {
        said(client).acks.last() == Some(&2)
    });
}

/// Arrays of more and of fewer elements than ours: the surplus is dropped, what does not come stays.
#[test]
fn arrays_of_other_lengths_are_taken_element_by_element() {
    use DataType::{Gpc, GpcRate, Gpt};
    let store = [(Gpt, 3, 0), (Gpc, 2, 0), (GpcRate, 2, 10_000)];
    let (mut node, address) = node(table(&store));
    let mut client = established(&mut node, address);
    let bits = bit(Gpt) | bit(Gpc) | bit(GpcRate);
    client.send(&define(bits, &[22, 5, 23, 1, 24, 3, 10_000]));
    let rates = [0, 1, 2, 0, 3, 4, 0, 5, 6];
    client.send(&update(
        1,
        "k",
        &[&[10, 11, 12, 13, 14, 20][..], &rates].concat(),
    ));
    node.run_until("the first update", |node| node.find(0, b"k").is_some());
    let elements = |node: &LoopNode| {
        let entry = node.find(0, b"k").unwrap();
        let table = &node.tables[0];
        let values = |data_type, count| {
            (0..count).map(move |element| table.value(entry, data_type, element).unwrap())
        };
        let rates = (0..2).map(|element| table.rate(entry, GpcRate, element).unwrap().current);
        let all = values(Gpt, 3).chain(values(Gpc, 2));
        all.chain(rates.map(u64::from)).collect::<Vec<u64>>()
    };
    assert_eq!(elements(&node), [10, 11, 12, 20, 0, 1, 3]);
    client.send(&define(bits, &[22, 1, 23, 100, 24, 1, 10_000]));
    let counters: Vec<u64> = (100..200).collect();
    client.send(&update(
        2,
        "k",
        &[&[50][..], &counters, &[0, 7, 8]].concat(),
    ));
    node.run_until("the second update", |node| elements(node)[0] == 50);
    assert_eq!(elements(&node), [50, 11, 12, 100, 101, 7, 3]);
    assert!(!client.ended);
}

/// HAProxy 3.3 to 3.5 acknowledges the reverse of an id. Such an ack moves nothing; what was not acknowledged is sent again.
#[test]
fn garbled_acks_lose_nothing() {
    let (mut node, address) = node(table(&[(DataType::Gpc0, 1, 0)]));
    let write = |node: &mut LoopNode, key: &str, value: u64| {
        node.write(0, key.as_bytes(), |table, entry, _| {
            table.set_value(entry, DataType::Gpc0, 0, value);
        });
    };
    let mut client = established(&mut node, address);
    for number in 1..=5 {
        write(&mut node, &format!("k{number}"), number);
    }
    client.read_until(&mut node, "five updates", |client| {
        said(client).updates.len() >= 5
    });
    let first = said(&client).updates;
    // Never one whose id is to be counted: those are what it garbles.
    assert!(first.iter().all(|sent| sent.explicit_id), "{first:?}");
    let ids: Vec<u32> = first.iter().map(|sent| sent.id.unwrap()).collect();
    let ack = |id: [u8; 4]| [&bytes("0a 84 05 01")[..], &id].concat();
    client.send(&ack(ids[1].to_be_bytes()));
    client.send(&ack(ids[4].to_le_bytes()));
    client.send(&ack((ids[4] + 1).to_be_bytes()));
    // An answer to what was sent behind them shows that they have been read.
    client.send(&define(bit(DataType::Gpc0), &[]));
    client.send(&update(9, "theirs", &[1]));
    client.read_until(&mut node, "the ack", |client| said(client).acks == [9]);
    drop(client);
    let mut client = established(&mut node, address);
    client.read_until(&mut node, "what was not acknowledged", |client| {
        said(client).updates.len() >= 3
    });
    write(&mut node, "last", 6);
    client.read_until(&mut node, "the last", |client| {
        said(client).updates.iter().any(|sent| sent.key == "last")
    });
    let again = said(&client).updates;
    let keys: Vec<&str> = again.iter().map(|sent| &*sent.key).collect();
    assert_eq!(keys, ["k3", "k4", "k5", "last"]);
    assert_eq!(again[..3], first[2..]);
}

/// HAProxy 3.3 and later acknowledges nothing of a lesson, and says nothing at all while it learns. Nothing is taught twice.
#[test]
fn a_lesson_that_is_only_confirmed_is_not_sent_again() {
    let (mut node, address) = node(table(&[(DataType::Gpc0, 1, 0)]));
    let write = |node: &mut LoopNode, key: &str| {
        node.write(0, key.as_bytes(), |table, entry, _| {
            table.set_value(entry, DataType::Gpc0, 0, 1);
        });
    };
    for number in 0..300 {
        write(&mut node, &format!("k{number}"));
    }
    let mut client = Client::hello(address, "later");
    client.send(&bytes("00 00"));
    let is_end =
        |control: &Control| matches!(control, Control::ResyncFinished | Control::ResyncPartial);
    client.read_until(&mut node, "the end of the lesson", |client| {
        said(client).controls.iter().any(is_end)
    });
    assert_eq!(said(&client).updates.len(), 300);
    write(&mut node, "meanwhile");
    client.send(&bytes("00 03 00 02"));
    client.read_until(&mut node, "the live update", |client| {
        said(client).updates.len() > 300
    });
    write(&mut node, "after");
    client.read_until(&mut node, "the next one", |client| {
        said(client).updates.len() > 301
    });
    let updates = said(&client).updates;
    assert!(updates.iter().all(|sent| sent.explicit_id));
    let keys: Vec<&str> = updates[300..].iter().map(|sent| &*sent.key).collect();
    assert_eq!(keys, ["meanwhile", "after"]);
}

/// Key types that do not exist, other lengths and unknown names: their updates go nowhere, above all not into the table that was
/// selected before (as in HAProxy 3.x until March 2026).
#[test]
fn updates_behind_a_definition_that_is_refused_go_nowhere() {
    let (mut node, address) = node(table(&[(DataType::Gpc0, 1, 0)]));
    let mut client = established(&mut node, address);
    let head = |name: &str, key_type: u64, key_len: u64| {
        let name = [&vint(name.len() as u64), name.as_bytes()].concat();
        let rest = vints(&[key_type, key_len, bit(DataType::Gpc0), 300_000]);
        message(0x82, &[vec![6], name, rest].concat())
    };
    for (number, refused) in [
        head("app", 0, 33),
        head("app", 1, 33),
        head("app", 3, 33),
        head("app", 8, 33),
        head("app", u64::MAX, 33),
        head("app", 2, 4),
        head("app", 6, 32),
        head("app", 6, 34),
        head("App", 6, 33),
        head("/app", 6, 33),
    ]
    .into_iter()
    .enumerate()
    {
        let id = 100 + 2 * number as u32;
        client.send(&define(bit(DataType::Gpc0), &[]));
        client.send(&refused);
        client.send(&update(id, &format!("lost{number}"), &[1]));
        // The table is selected again by its number there.
        client.send(&message(0x83, &[5]));
        client.send(&update(id + 1, &format!("kept{number}"), &[1]));
        let (lost, kept) = (format!("lost{number}"), format!("kept{number}"));
        node.run_until("what is kept", |node| {
            node.find(0, kept.as_bytes()).is_some()
        });
        assert_eq!(node.find(0, lost.as_bytes()), None, "{number}");
        client.read_until(&mut node, "the ack", |client| {
            said(client).acks.last() == Some(&(id + 1))
        });
        let is_acknowledged = said(&client).acks.contains(&id);
        assert!(!is_acknowledged, "{number}");
    }
    assert!(!client.ended);
}

/// Keys that a table of ours would not make: too long, empty. All are acknowledged, and what is behind them is read.
#[test]
fn keys_of_any_length_are_cut_or_passed_over() {
    let (mut node, address) = node(table(&[(DataType::Gpc0, 1, 0)]));
    let mut client = established(&mut node, address);
    client.send(&define(bit(DataType::Gpc0), &[]));
    let long: String = ('a'..='z').cycle().take(200).collect();
    let keys = ["", &long[..32], &long[1..34], &long[2..], "behind"];
    for (number, key) in keys.into_iter().enumerate() {
        client.send(&update(1 + number as u32, key, &[7 + number as u64]));
    }
    node.run_until("the last one", |node| node.find(0, b"behind").is_some());
    let held = |key: &str| node.value(0, key.as_bytes(), DataType::Gpc0);
    assert_eq!(held(&long[..32]), Some(8));
    assert_eq!(held(&long[1..33]), Some(9), "its first 32 bytes");
    assert_eq!(held(&long[2..34]), Some(10), "its first 32 bytes");
    assert_eq!(node.tables[0].used(), 4, "an empty key is not stored");
    client.read_until(&mut node, "the ack", |client| {
        said(client).acks.last() == Some(&5)
    });
}
