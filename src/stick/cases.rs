//! Tests of single promises of a table, each with the case that shows it.

use super::header::Word;
use super::tests::{Random, stored, string_table};
use super::*;
use std::os::fd::OwnedFd;

const NOW: u64 = 50_000;

fn table(spec: &TableSpec) -> Table {
    Table::create(spec, [3, 4], NOW).unwrap()
}

fn insert(table: &mut Table, name: &str, now_ms: u64) -> Option<EntryIndex> {
    let key = KeyBuf::new(table.spec(), name.as_bytes()).unwrap();
    let inserted = table.lookup_or_insert(key.as_key(), now_ms)?;
    if let Inserted::New(entry) = inserted {
        table.touch(entry, now_ms);
    }
    Some(inserted.entry())
}

/// What its maker did not live to complete is gone; what was touched stays.
#[test]
fn an_entry_that_was_never_touched_dies_with_its_maker() {
    let spec = string_table(10, 1000);
    let mut old = table(&spec);
    insert(&mut old, "whole", NOW).unwrap();
    let key = KeyBuf::new(&spec, b"half").unwrap();
    old.lookup_or_insert(key.as_key(), NOW).unwrap();
    let new = Table::attach(fd(&old), &spec, NOW).unwrap();
    assert_eq!(names(&new, NOW), ["whole"]);
    new.check_invariants().unwrap();
}

fn find(table: &Table, name: &str, now_ms: u64) -> Option<EntryIndex> {
    table.lookup(
        KeyBuf::new(table.spec(), name.as_bytes()).unwrap().as_key(),
        now_ms,
    )
}

fn fd(table: &Table) -> OwnedFd {
    table.memory_fd().try_clone_to_owned().unwrap()
}

fn names(table: &Table, now_ms: u64) -> Vec<String> {
    let text = |entry| String::from_utf8(table.key(entry).as_bytes().to_vec()).unwrap();
    let mut names: Vec<_> = table.scan(0, u32::MAX, now_ms).map(text).collect();
    names.sort();
    names
}

/// Who remembers where an entry was is told when it is another one's place, or nobody's.
#[test]
fn an_entry_is_still_the_one_it_was() {
    let spec = string_table(2, 1000);
    let mut table = table(&spec);
    let key = KeyBuf::new(&spec, b"first").unwrap();
    let first = insert(&mut table, "first", NOW).unwrap();
    assert!(table.is_still(first, key.as_key(), NOW));
    assert!(table.is_still(first, key.as_key(), NOW + 999));
    assert!(!table.is_still(first, key.as_key(), NOW + 1000), "expired");
    let longer = KeyBuf::new(&spec, b"first one").unwrap();
    assert!(!table.is_still(first, longer.as_key(), NOW));
    table.delete(first, NOW + 1);
    assert!(!table.is_still(first, key.as_key(), NOW + 1), "deleted");
    let again = insert(&mut table, "first", NOW + 2).unwrap();
    assert!(table.is_still(again, key.as_key(), NOW + 2));
    for name in ["second", "third"] {
        insert(&mut table, name, NOW + 3).unwrap();
    }
    assert!(!table.is_still(again, key.as_key(), NOW + 3), "evicted");
    table.check_invariants().unwrap();
}

#[test]
fn an_entry_costs_at_most_96_bytes() {
    for size in [
        5 << 10,
        100 << 10,
        1 << 20,
        10 << 20,
        52_429,
        838_861,
        104_858,
    ] {
        let layout = layout::Layout::new(&string_table(size, 300_000)).unwrap();
        assert_eq!(8 * layout.stride, 64, "one cache line");
        let bytes =
            (layout.bytes_before_names() - 8 * layout::HEADER_WORDS) as f64 / f64::from(size);
        assert!(bytes <= 96.0, "size {size}: {bytes}");
    }
    let table = table(&string_table(5 << 10, 300_000));
    assert!(
        table.bytes_per_entry() <= 96.0,
        "{}",
        table.bytes_per_entry()
    );
}

#[test]
fn layouts_out_of_bounds_are_refused() {
    let good = string_table(10, 0);
    let refused = |spec: &TableSpec| Table::create(spec, [0, 0], NOW).is_err();
    assert!(!refused(&good));
    assert!(refused(&TableSpec {
        size: 0,
        ..good.clone()
    }));
    assert!(refused(&TableSpec {
        size: u32::MAX,
        ..good.clone()
    }));
    assert!(refused(&TableSpec {
        key_len: 0,
        ..good.clone()
    }));
    assert!(refused(&TableSpec {
        key_len: u32::MAX,
        ..good.clone()
    }));
    assert!(refused(&TableSpec {
        key_type: KeyType::Ip,
        ..good.clone()
    }));
    let store = |stored_type| TableSpec {
        store: vec![stored_type],
        ..string_table(10, 0)
    };
    assert!(refused(&store(StoredType {
        elements: 101,
        ..stored(DataType::Gpc)
    })));
    assert!(refused(&store(StoredType {
        elements: 2,
        ..stored(DataType::Gpc0)
    })));
    assert!(refused(&store(StoredType {
        period_ms: 0,
        ..stored(DataType::Gpc0Rate)
    })));
    let twice = vec![stored(DataType::Gpc0), stored(DataType::Gpc0)];
    assert!(refused(&TableSpec {
        store: twice,
        ..good
    }));
}

#[test]
fn a_full_table_loses_the_entry_touched_longest_ago() {
    for expire_ms in [0, 300_000] {
        let mut table = table(&string_table(4, expire_ms));
        for name in ["a", "b", "c", "d"] {
            insert(&mut table, name, NOW).unwrap();
        }
        // All within one millisecond: the order of touches still counts.
        for name in ["a", "c"] {
            let entry = find(&table, name, NOW).unwrap();
            table.touch_local(entry, NOW);
        }
        insert(&mut table, "e", NOW).unwrap();
        insert(&mut table, "f", NOW).unwrap();
        assert_eq!(names(&table, NOW), ["a", "c", "e", "f"]);
        insert(&mut table, "g", NOW).unwrap();
        assert_eq!(names(&table, NOW), ["c", "e", "f", "g"]);
        assert_eq!(table.counters().evictions, 3);
    }
}

#[test]
fn nopurge_refuses_until_something_expires() {
    let mut table = table(&TableSpec {
        nopurge: true,
        expire_absolute: false,
        ..string_table(2, 1000)
    });
    insert(&mut table, "a", NOW).unwrap();
    insert(&mut table, "b", NOW + 500).unwrap();
    assert_eq!(insert(&mut table, "c", NOW + 999), None);
    assert!(insert(&mut table, "c", NOW + 1000).is_some());
    assert_eq!(names(&table, NOW + 1000), ["b", "c"]);
    let counters = table.counters();
    assert_eq!(
        (counters.refusals, counters.expirations, counters.evictions),
        (1, 1, 0)
    );
}

#[test]
fn what_is_referred_to_stays() {
    let mut table = table(&string_table(2, 1000));
    let kept = insert(&mut table, "kept", NOW).unwrap();
    table.refer(kept);
    insert(&mut table, "b", NOW).unwrap();
    for round in 0..10 {
        insert(&mut table, &format!("new{round}"), NOW + round).unwrap();
    }
    assert!(!table.remove(kept));
    assert!(!table.expire(NOW + 60_000, 100));
    assert_eq!(names(&table, NOW + 60_000), ["kept"]);
    assert_eq!((table.use_count(kept), table.used()), (1, 1));
    table.release(kept, NOW + 60_000);
    assert_eq!(
        (table.used(), find(&table, "kept", NOW + 60_000)),
        (0, None)
    );
    table.check_invariants().unwrap();

    for name in ["a", "b"] {
        let entry = insert(&mut table, name, NOW + 60_000).unwrap();
        table.refer(entry);
    }
    assert_eq!(insert(&mut table, "c", NOW + 60_000), None);
    let entry = find(&table, "a", NOW + 60_000).unwrap();
    table.release(entry, NOW + 60_000);
    insert(&mut table, "c", NOW + 60_000).unwrap();
    assert_eq!(names(&table, NOW + 60_000), ["b", "c"]);
}

#[test]
fn what_peers_taught_is_not_announced_until_it_changes_here() {
    let mut table = table(&string_table(8, 1000));
    let learnt = insert(&mut table, "learnt", NOW).unwrap();
    table.touch_remote(learnt, NOW, Some(u32::MAX));
    assert_eq!(table.remaining_ms(learnt, NOW), 1000);
    table.touch_remote(learnt, NOW, Some(400));
    assert_eq!(table.remaining_ms(learnt, NOW + 100), 300);
    assert_eq!(
        (table.local_update_id(), table.update_id(learnt)),
        (0, None)
    );
    assert_eq!(table.next_update(0, 10), NextUpdate::UpToDate);
    table.touch_local(learnt, NOW);
    assert_eq!(table.next_update(0, 10), NextUpdate::Update(1, learnt));
    // Until a peer was sent it, one id stands for all changes; a change from a peer does not take it away.
    table.touch_local(learnt, NOW);
    table.touch_remote(learnt, NOW, None);
    assert_eq!(
        (table.local_update_id(), table.update_id(learnt)),
        (1, Some(1))
    );
    table.set_pushed(1);
    table.set_pushed(77); // was never given out
    table.touch_local(learnt, NOW);
    assert_eq!(table.next_update(1, 10), NextUpdate::Update(2, learnt));
    assert_eq!(table.next_update(0, 1), NextUpdate::Skipped(1));
}

#[test]
fn who_is_too_far_behind_is_told() {
    let mut table = table(&string_table(8, 0));
    let entry = insert(&mut table, "a", NOW).unwrap();
    let slots = table.log.len();
    for id in 1..=slots {
        table.touch_local(entry, NOW);
        table.set_pushed(id);
    }
    assert!(!table.is_behind(0));
    assert_eq!(
        table.next_update(0, slots),
        NextUpdate::Update(slots, entry)
    );
    table.touch_local(entry, NOW);
    assert!(table.is_behind(0) && !table.is_behind(1));
    assert!(!table.is_behind(slots + 1), "up to date");
    assert!(table.is_behind(slots + 2), "an id of the future");
}

#[test]
fn the_dictionary_is_bounded() {
    let mut table = table(&string_table(600, 0));
    let places = table.entries.layout.names;
    let entries: Vec<_> = (0..=places)
        .map(|number| insert(&mut table, &format!("k{number}"), NOW).unwrap())
        .collect();
    for number in 0..places {
        assert!(table.set_server_key(entries[number as usize], format!("s{number}").as_bytes()));
    }
    let last = entries[places as usize];
    table.set_server(last, 9, Some(b"one too many"));
    assert_eq!(table.server(last), (9, None));
    assert!(!table.set_server_key(last, &[b'x'; 256]));
    assert_eq!(table.counters().names_refused, 2);
    // A name that nobody uses any more makes room.
    assert!(table.remove(entries[5]));
    assert!(table.set_server_key(last, &[b'x'; 255]));
    assert_eq!(table.server(last).1, Some(&[b'x'; 255][..]));
    assert_eq!(table.server(entries[6]), (0, Some(&b"s6"[..])));
    table.check_invariants().unwrap();
    let again = Table::attach(fd(&table), table.spec(), NOW).unwrap();
    assert_eq!(again.server(last), (9, Some(&[b'x'; 255][..])));
}

#[test]
fn a_scan_sees_what_lives_throughout_exactly_once() {
    let mut table = table(&string_table(200, 1000));
    let mut random = Random::new(7);
    for number in 0..100 {
        insert(&mut table, &format!("stays{number}"), NOW).unwrap();
        insert(&mut table, &format!("goes{number}"), NOW).unwrap();
    }
    let mut seen = Vec::new();
    let mut cursor = Some(0);
    while let Some(at) = cursor {
        let mut scan = table.scan(at, 7, NOW);
        seen.extend(scan.by_ref().map(|entry| table.key(entry)));
        cursor = scan.next_cursor();
        for _ in 0..5 {
            if let Some(entry) = find(&table, &format!("goes{}", random.below(100)), NOW) {
                assert!(table.remove(entry));
            }
            insert(&mut table, &format!("goes{}", random.below(100)), NOW).unwrap();
            let entry = find(&table, &format!("stays{}", random.below(100)), NOW).unwrap();
            table.touch_local(entry, NOW);
        }
    }
    let mut stays: Vec<_> = seen
        .iter()
        .filter(|key| key.as_bytes().starts_with(b"stays"))
        .collect();
    stays.sort_by_key(|key| key.as_bytes().to_vec());
    assert_eq!(stays.len(), 100);
    stays.dedup();
    assert_eq!(stays.len(), 100);
}

#[test]
fn expiry_works_in_slices() {
    let mut table = table(&string_table(100, 1000));
    for number in 0..100 {
        insert(&mut table, &format!("k{number}"), NOW + number).unwrap();
    }
    assert_eq!(table.next_expiry_ms(), Some(NOW + 1000));
    assert!(!table.expire(NOW + 999, 10));
    assert!(table.expire(NOW + 1049, 10));
    assert_eq!((table.used(), names(&table, NOW + 1049).len()), (90, 50));
    assert!(!table.expire(NOW + 1049, 1000));
    assert_eq!(
        (table.used(), table.next_expiry_ms()),
        (50, Some(NOW + 1050))
    );
    // Long after, nobody having swept: the ring went around many times.
    assert_eq!(names(&table, NOW + 1_000_000).len(), 0);
    insert(&mut table, "late", NOW + 1_000_000).unwrap();
    table.check_invariants().unwrap();
    assert!(!table.expire(NOW + 1_000_000, 1000));
    assert_eq!(
        (
            names(&table, NOW + 1_000_000).len(),
            table.counters().expirations
        ),
        (1, 100)
    );
}

#[test]
fn time_may_stand_still_for_the_sweeper_but_not_for_others() {
    let mut table = table(&string_table(10, 1000));
    let reach = 4 * 1000 * 2;
    for step in 0..10 {
        insert(&mut table, &format!("k{step}"), NOW + step * reach).unwrap();
    }
    table.check_invariants().unwrap();
    let early = insert(&mut table, "early", NOW + 9 * reach + 10).unwrap();
    table.touch_remote(early, NOW + 9 * reach + 10, Some(5));
    assert_eq!(table.counters().expirations, 1);
    assert!(!table.expire(NOW + 9 * reach + 10, 1000));
    assert_eq!(names(&table, NOW + 9 * reach + 10), ["early", "k9"]);
    assert_eq!(table.next_expiry_ms(), Some(NOW + 9 * reach + 15));
    table.check_invariants().unwrap();
}

#[test]
fn another_table_is_not_attached() {
    let spec = string_table(10, 1000);
    let original = table(&spec);
    let error = |spec: &TableSpec| Table::attach(fd(&original), spec, NOW).unwrap_err();
    assert!(matches!(
        error(&TableSpec {
            size: 11,
            ..spec.clone()
        }),
        AttachError::OtherSpec
    ));
    assert!(matches!(
        error(&TableSpec {
            key_len: 31,
            ..spec.clone()
        }),
        AttachError::OtherSpec
    ));
    assert!(matches!(
        error(&TableSpec {
            store: Vec::new(),
            ..spec.clone()
        }),
        AttachError::OtherSpec
    ));
    let version = original.header.get(Word::Version);
    original.header.set(Word::Version, version + 1);
    assert!(matches!(error(&spec), AttachError::NotATable));
    original.header.set(Word::Version, version);
    assert!(
        Table::attach(
            fd(&original),
            &TableSpec {
                nopurge: true,
                expire_absolute: false,
                ..spec.clone()
            },
            NOW
        )
        .is_ok()
    );
    let null = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    assert!(matches!(
        Table::attach(null, &spec, NOW),
        Err(AttachError::Io(_))
    ));
}

#[test]
fn a_changed_expire_is_carried_over() {
    let spec = |expire_ms| string_table(10, expire_ms);
    let mut original = table(&spec(1000));
    insert(&mut original, "a", NOW).unwrap();
    insert(&mut original, "b", NOW + 300).unwrap();
    let remaining = |table: &Table| {
        table.check_invariants().unwrap();
        find(table, "b", NOW + 400).map(|entry| table.remaining_ms(entry, NOW + 400))
    };
    assert_eq!(
        remaining(&Table::attach(fd(&original), &spec(90_000), NOW + 400).unwrap()),
        Some(900)
    );
    assert_eq!(
        remaining(&Table::attach(fd(&original), &spec(500), NOW + 400).unwrap()),
        Some(500)
    );
    let mut forever = Table::attach(fd(&original), &spec(0), NOW + 400).unwrap();
    assert_eq!(remaining(&forever), Some(0));
    for number in 0..9 {
        insert(&mut forever, &format!("new{number}"), NOW + 400).unwrap();
    }
    assert_eq!((find(&forever, "a", NOW), forever.used()), (None, 10));
    assert_eq!(
        remaining(&Table::attach(fd(&original), &spec(700), NOW + 400).unwrap()),
        Some(700)
    );
}

#[test]
fn damage_is_dropped_not_believed() {
    let spec = TableSpec {
        store: DataType::ALL.into_iter().map(stored).collect(),
        ..string_table(20, 1000)
    };
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let mut table = table(&spec);
        for number in 0..20 {
            let entry = insert(&mut table, &format!("key{number}"), NOW).unwrap();
            table.set_server(entry, 1, Some(b"app"));
            table.touch_local(entry, NOW);
        }
        for _ in 0..1 + random.below(50) {
            let at = random.below(table.entries.cells.len() as u64) as usize;
            let cell = &table.entries.cells[at];
            cell::Slot::set(cell, random.below(u64::MAX) << random.below(64));
        }
        table.header.begin(1, header::Change::Structure);
        let mut again = Table::attach(fd(&table), &spec, NOW).unwrap();
        again
            .check_invariants()
            .unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        for number in 0..40 {
            insert(&mut again, &format!("key{number}"), NOW + number).unwrap();
        }
        again.expire(NOW + 10_000_000, 1000);
        again
            .check_invariants()
            .unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    }
}

#[test]
fn a_table_that_fills_and_empties_stays_fast() {
    // No tombstones: after a thousand times its size, an absent key is still found absent in a short run.
    let mut table = table(&string_table(64, 0));
    for number in 0..64_000 {
        insert(&mut table, &format!("n{number}"), NOW + number).unwrap();
    }
    let slots: Vec<bool> = table
        .index
        .0
        .iter()
        .map(|slot| cell::Slot::get(slot) != 0)
        .collect();
    assert_eq!(slots.iter().filter(|&&used| used).count(), 64);
    let longest = slots.split(|&used| !used).map(<[bool]>::len).max();
    assert!(longest < Some(40), "{longest:?}");
}

#[test]
fn a_rate_is_old_or_new_after_a_death() {
    let spec = TableSpec {
        store: vec![stored(DataType::Gpc0), stored(DataType::GpcRate)],
        ..string_table(2, 0)
    };
    let old = Rate {
        start_ms: NOW as u32,
        current: 5,
        previous: 6,
    };
    let new = old.add(NOW + 1200, 1000, 7);
    for stores in 0.. {
        let mut table = table(&spec);
        let entry = insert(&mut table, "a", NOW).unwrap();
        // An array of three: some lie across two words, some do not.
        for element in 0..3 {
            table.set_rate(entry, DataType::GpcRate, element, old);
        }
        let element = stores % 3;
        cell::crash::after(u64::from(stores / 3));
        let change = || table.rate_add(entry, DataType::GpcRate, element, 7, NOW + 1200);
        let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(change)).is_err();
        cell::crash::never();
        let again = Table::attach(fd(&table), &spec, NOW).unwrap();
        again.check_invariants().unwrap();
        for other in 0..3 {
            let rate = again.rate(entry, DataType::GpcRate, other).unwrap();
            let is_whole = rate == old || (other == element && rate == new);
            assert!(is_whole, "element {other} after {stores}: {rate:?}");
        }
        if !died {
            assert_eq!(again.rate(entry, DataType::GpcRate, element), Some(new));
            assert!(stores > 20, "{stores} deaths");
            break;
        }
    }
}

#[test]
fn references_and_gauges_die_with_their_owner() {
    let spec = TableSpec {
        store: vec![stored(DataType::ConnCnt), stored(DataType::ConnCur)],
        ..string_table(2, 1000)
    };
    for died_in_change in [false, true] {
        let mut table = table(&spec);
        let entry = insert(&mut table, "a", NOW).unwrap();
        table.refer(entry);
        table.add_value(entry, DataType::ConnCur, 0, 3);
        table.set_value(entry, DataType::ConnCnt, 0, 9);
        if died_in_change {
            table.header.begin(1, header::Change::Structure);
        }
        let mut again = Table::attach(fd(&table), &spec, NOW).unwrap();
        let value = |again: &Table, data_type| again.value(entry, data_type, 0);
        assert_eq!(
            (value(&again, DataType::ConnCur), again.use_count(entry)),
            (Some(0), 0)
        );
        assert_eq!(value(&again, DataType::ConnCnt), Some(9));
        assert_eq!(again.add_value(entry, DataType::ConnCur, 0, -1), Some(0));
        assert_eq!(again.add_value(entry, DataType::ConnCur, 0, 2), Some(2));
        assert!(again.remove(entry));
    }
}

#[test]
fn an_owner_of_the_same_epoch_as_an_old_one_sees_no_ghosts() {
    let mut table = table(&string_table(2, 0));
    let entry = insert(&mut table, "a", NOW).unwrap();
    table.refer(entry);
    for _ in 0..600 {
        table = Table::attach(fd(&table), &string_table(2, 0), NOW).unwrap();
        assert_eq!(table.use_count(entry), 0);
    }
}

#[test]
fn the_hot_path_allocates_nothing() {
    let mut table = table(&string_table(64, 1000));
    let spec = table.spec().clone();
    let mut round = |names: std::ops::Range<u32>, now_ms: u64| {
        for number in names {
            let bytes = number.to_be_bytes().map(|byte| byte | 0x40);
            let key = Key::new(&spec, &bytes).unwrap();
            let entry = table.lookup_or_insert(key, now_ms).unwrap().entry();
            table.refer(entry);
            table.set_server(
                entry,
                1,
                Some(if number % 2 == 0 { b"app1" } else { b"app2" }),
            );
            table.touch_local(entry, now_ms);
            table.touch_remote(entry, now_ms, Some(number));
            table.release(entry, now_ms);
            assert_eq!(table.lookup(key, now_ms), Some(entry));
            assert_eq!(table.key(entry).as_bytes(), bytes);
            table.next_update(table.local_update_id().wrapping_sub(3), 10);
            table.expire(now_ms, 2);
        }
    };
    round(100..200, NOW);
    let before = crate::sys::counting::allocations();
    round(150..400, NOW + 500);
    round(150..200, NOW + 5000);
    assert_eq!(crate::sys::counting::allocations() - before, 0);
}
