//! Files that come back: after a kill, after a boot, with pages of different moments, with damage.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;

use super::super::cell::{Slot, crash};
use super::super::tests::{Random, stored, string_table};
use super::*;
use crate::stick::{EntryIndex, Key, KeyBuf, Position, Rate};
use crate::sys::memory::Cells;

const EXPIRE_MS: u32 = 600_000;
const BOOT: Boot = Boot([7, 8]);
const NEXT_BOOT: Boot = Boot([9, 10]);

fn moment(boot: Boot, now_ms: u64, wall_ms: u64) -> Moment {
    Moment {
        boot,
        now_ms,
        wall_ms,
    }
}

const START: Moment = Moment {
    boot: BOOT,
    now_ms: 5_000_000,
    wall_ms: 1_700_000_000_000,
};

fn spec() -> TableSpec {
    let mut spec = string_table(400, EXPIRE_MS);
    spec.store.push(stored(DataType::Gpc0Rate));
    spec.store.sort_by_key(|stored| stored.data_type);
    spec
}

fn file(spec: &TableSpec) -> Memory {
    Memory::create(c"file", bytes_in_file(spec).unwrap() as usize).unwrap()
}

fn fd(memory: &Memory) -> OwnedFd {
    memory.fd().try_clone_to_owned().unwrap()
}

fn create(memory: &Memory, spec: &TableSpec) -> Table {
    Table::create_in_file(fd(memory), spec, [1, 2], START).unwrap()
}

fn bind(table: &mut Table, key: &str, id: i32, name: &str, now_ms: u64) -> EntryIndex {
    let key = KeyBuf::new(table.spec(), key.as_bytes()).unwrap();
    let entry = table
        .lookup_or_insert(key.as_key(), now_ms)
        .unwrap()
        .entry();
    table.set_server(entry, id, Some(name.as_bytes()));
    table.touch_local(entry, now_ms);
    entry
}

fn find(table: &Table, key: &str, now_ms: u64) -> Option<EntryIndex> {
    table.lookup(Key::new(table.spec(), key.as_bytes()).unwrap(), now_ms)
}

/// Every entry as text: key, id, name.
fn bindings(table: &Table, now_ms: u64) -> BTreeSet<String> {
    let text = |entry| {
        let (id, name) = table.server(entry);
        let key = table.key(entry);
        let key = key.as_bytes().escape_ascii();
        format!("{key} {id} {}", name.unwrap_or_default().escape_ascii())
    };
    table.scan(0, u32::MAX, now_ms).map(text).collect()
}

#[test]
fn a_file_of_this_boot_is_as_it_was_and_has_no_history() {
    let spec = spec();
    let memory = file(&spec);
    let mut table = create(&memory, &spec);
    let entry = bind(&mut table, "a", 3, "three", START.now_ms);
    table.refer(entry);
    bind(&mut table, "b", 4, "four", START.now_ms + 1_000);
    table.note_alive(START.now_ms + 2_000, START.wall_ms + 2_000);
    let at = Position {
        acked: 2,
        pid: 5,
        owed: false,
    };
    table.note_position(77, at);
    table.set_learnt();
    drop(table);
    // The wall clock does not matter within a boot.
    let now = moment(BOOT, START.now_ms + 5_000, 3);
    let (table, revived) = Table::revive(fd(&memory), &spec, now).unwrap();
    let expected = Revived {
        kept: 2,
        away_ms: 3_000,
        ..Revived::default()
    };
    assert_eq!(revived, expected);
    table.check_invariants().unwrap();
    let entry = find(&table, "a", now.now_ms).unwrap();
    assert_eq!(table.server(entry), (3, Some(&b"three"[..])));
    assert_eq!(table.remaining_ms(entry, now.now_ms), EXPIRE_MS - 5_000);
    assert_eq!((table.use_count(entry), table.update_id(entry)), (0, None));
    assert_eq!((table.local_update_id(), table.pushed()), (0, 0));
    assert_eq!((table.position(77), table.has_learnt()), (None, false));
}

#[test]
fn another_boot_takes_off_what_the_wall_clock_says() {
    let spec = spec();
    let memory = file(&spec);
    let mut table = create(&memory, &spec);
    let old = START.now_ms;
    bind(&mut table, "old", 1, "one", old);
    let young = bind(&mut table, "young", 2, "two", old + 300_000);
    let rate = Rate {
        start_ms: (old + 299_900) as u32,
        current: 5,
        previous: 0,
    };
    assert!(table.set_rate(young, DataType::Gpc0Rate, 0, rate));
    table.note_alive(old + 300_000, START.wall_ms + 300_000);
    drop(table);
    let revive = |wall_ms: u64, expire_ms: u32| {
        let copy = copy_of(&memory);
        let spec = TableSpec {
            expire_ms,
            ..spec.clone()
        };
        let now = moment(NEXT_BOOT, 50_000, wall_ms);
        let (table, revived) = Table::revive(fd(&copy), &spec, now).unwrap();
        table.check_invariants().unwrap();
        let left = |key| find(&table, key, 50_000).map(|entry| table.remaining_ms(entry, 50_000));
        let rate = find(&table, "young", 50_000)
            .and_then(|entry| table.rate(entry, DataType::Gpc0Rate, 0));
        let age = rate.map(|rate| 50_000_u32.wrapping_sub(rate.start_ms));
        (left("old"), left("young"), age, revived)
    };
    let alive = START.wall_ms + 300_000;
    let (old, young, age, revived) = revive(alive + 100_000, EXPIRE_MS);
    assert_eq!((old, young), (Some(200_000), Some(500_000)));
    assert_eq!(age, Some(100_100));
    assert!(revived.rebooted && revived.away_ms == 100_000);
    let (old, young, _, revived) = revive(alive + 400_000, EXPIRE_MS);
    assert_eq!((old, young), (None, Some(200_000)));
    assert_eq!((revived.kept, revived.expired), (1, 1));
    // A clock that went back: no time has passed, and none is given.
    let (old, young, ..) = revive(alive - 86_400_000, EXPIRE_MS);
    assert_eq!((old, young), (Some(300_000), Some(600_000)));
    // Another lifetime is declared now.
    let (old, young, ..) = revive(alive, 60_000);
    assert_eq!((old, young), (Some(60_000), Some(60_000)));
    let (old, young, ..) = revive(alive, 0);
    assert_eq!((old, young), (Some(0), Some(0)));
}

fn words(memory: &Memory) -> Cells<AtomicU64> {
    memory.carve().take(memory.len() / 8).unwrap()
}

fn copy_of(memory: &Memory) -> Memory {
    let copy = Memory::create(c"copy", memory.len()).unwrap();
    for (from, to) in words(memory).iter().zip(words(&copy).iter()) {
        if from.get() != 0 {
            to.set(from.get());
        }
    }
    copy
}

/// Pages of different moments, as a machine that loses its power leaves them: nothing is invented and nothing is mixed.
#[test]
fn pages_of_different_moments_invent_nothing() {
    let mut dropped = 0;
    let mut kept = 0;
    for seed in 1..150 {
        let mut random = Random::new(seed);
        // An entry is no power of two long, so that some lie on two pages; few names, whose places are used again.
        let mut spec = spec();
        spec.size = 120 + random.below(200) as u32;
        spec.key_len = 40;
        let memory = file(&spec);
        let mut table = create(&memory, &spec);
        let mut ever = BTreeSet::new();
        let mut moments = vec![copy_of(&memory)];
        let mut now_ms = START.now_ms;
        for step in 0..1_500 {
            now_ms += random.below(2_000);
            let key = format!("key-{}-of-some-length", random.below(600));
            let id = random.below(1_000) as i32;
            let name = format!("server-{}", random.below(300));
            let entry = bind(&mut table, &key, id, &name, now_ms);
            // A full dictionary refuses names.
            let name = table.server(entry).1.unwrap_or_default().escape_ascii();
            ever.insert(format!("{key} {id} {name}"));
            table.expire(now_ms, 100);
            if step % 100 == 99 {
                table.note_alive(now_ms, now_ms - START.now_ms + START.wall_ms);
                moments.push(copy_of(&memory));
            }
        }
        drop(table);
        let torn = copy_of(moments.last().unwrap());
        for page in 0..torn.len() / 4096 {
            // Most pages are of the last moment, some of any earlier one.
            if random.one_in(3) {
                let from = words(&moments[random.below(moments.len() as u64) as usize]);
                let to = words(&torn);
                for word in 512 * page..512 * (page + 1) {
                    to[word].set(from[word].get());
                }
            }
        }
        let now = moment(NEXT_BOOT, 9_000, now_ms - START.now_ms + START.wall_ms);
        match Table::revive(fd(&torn), &spec, now) {
            Ok((mut table, revived)) => {
                table.check_invariants().unwrap();
                let found = bindings(&table, now.now_ms);
                let invented: Vec<_> = found.difference(&ever).collect();
                assert!(invented.is_empty(), "seed {seed}: {invented:?}");
                dropped += revived.damaged;
                kept += revived.kept;
                bind(&mut table, "it works", 1, "one", now.now_ms);
                table.expire(now.now_ms + 1_000_000, u32::MAX);
                table.check_invariants().unwrap();
                assert_eq!(table.used(), 0, "seed {seed}");
            }
            // The header's page can be that of the empty file.
            Err(error) => assert!(matches!(error, ReviveError::Damaged(_)), "{error}"),
        }
    }
    assert!(dropped > 100 && kept > 10_000, "{dropped} {kept}");
}

/// In the same boot any flipped bit of a key, a server or a proof is damage; one elsewhere does no harm.
#[test]
fn damage_is_refused_or_harmless() {
    let spec = spec();
    let memory = file(&spec);
    let mut table = create(&memory, &spec);
    for number in 0..300 {
        bind(
            &mut table,
            &format!("k{number}"),
            number,
            "server",
            START.now_ms,
        );
    }
    let before = bindings(&table, START.now_ms);
    drop(table);
    let now = moment(BOOT, START.now_ms + 1, START.wall_ms);
    let mut random = Random::new(5);
    let (mut refused, mut harmless) = (0, 0);
    for _ in 0..600 {
        let copy = copy_of(&memory);
        let cells = words(&copy);
        let at = random.below(cells.len() as u64 / 3) as usize;
        cells[at].set(cells[at].get() ^ 1 << random.below(64));
        match Table::revive(fd(&copy), &spec, now) {
            Err(_) => refused += 1,
            Ok((table, _)) => {
                table.check_invariants().unwrap();
                let found = bindings(&table, now.now_ms);
                assert!(found.is_subset(&before), "word {at}");
                harmless += 1;
            }
        }
    }
    assert!(refused > 50 && harmless > 50, "{refused} {harmless}");
}

fn refusal(memory: &Memory, spec: &TableSpec) -> String {
    let now = moment(BOOT, START.now_ms + 1, START.wall_ms);
    Table::revive(fd(memory), spec, now)
        .unwrap_err()
        .to_string()
}

#[test]
fn what_is_no_table_of_ours_is_named() {
    let spec = spec();
    let noise = Memory::create(c"noise", 8192).unwrap();
    words(&noise).iter().for_each(|word| word.set(0x0123_4567));
    assert_eq!(refusal(&noise, &spec), "it is damaged: it is no table");
    let short = Memory::create(c"short", 100).unwrap();
    assert_eq!(
        refusal(&short, &spec),
        "it is damaged: it is shorter than its header"
    );
    let memory = file(&spec);
    drop(create(&memory, &spec));
    let copy = copy_of(&memory);
    words(&copy)[Word::HashKey1 as usize].set(0);
    assert_eq!(
        refusal(&copy, &spec),
        "it is damaged: its header is not whole"
    );
    let mut other = spec.clone();
    other.size += 1;
    assert!(refusal(&memory, &other).starts_with("it has another layout: "));
    let anonymous = Table::create(&spec, [1, 2], 0).unwrap();
    assert!(refusal(&anonymous.memory, &spec).starts_with("it is damaged: "));
}

/// Whoever brings times into another boot may die at any store; the next one goes on.
#[test]
fn an_interrupted_revival_goes_on() {
    let spec = spec();
    let memory = file(&spec);
    let mut table = create(&memory, &spec);
    for number in 0..20 {
        bind(
            &mut table,
            &format!("k{number}"),
            number,
            "server",
            START.now_ms,
        );
    }
    table.note_alive(START.now_ms, START.wall_ms);
    drop(table);
    let now = moment(NEXT_BOOT, 1_000_000, START.wall_ms + 60_000);
    for stores in 0.. {
        let copy = copy_of(&memory);
        crash::after(stores);
        let done = catch_unwind(AssertUnwindSafe(|| {
            Table::revive(fd(&copy), &spec, now).is_ok()
        }));
        crash::never();
        let (table, _) = Table::revive(fd(&copy), &spec, now).unwrap();
        table.check_invariants().unwrap();
        // The one entry whose time was being moved may be moved twice: then it ends, or lives no longer than a lifetime.
        let right = table
            .scan(0, u32::MAX, now.now_ms)
            .filter(|&entry| table.remaining_ms(entry, now.now_ms) == EXPIRE_MS - 60_000)
            .count();
        assert!(right >= 19, "{stores} stores: {right}");
        if done.is_ok() {
            assert_eq!(right, 20);
            break;
        }
    }
}
