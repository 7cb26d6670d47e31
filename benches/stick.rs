//! What does a stick table cost a request, and how much of it is the memory's own latency?
//!
//! Each case runs on a table of 1,024 and of 1,048,576 entries (10,485,760 with `BURDOCK_BENCH_HUGE=1`), keys in random
//! order. Floor: reading one random cache line of as much memory as the table's entries have, its address known only from the
//! line before. A table needs at least two such lines: index and entry. An entry that expires or is evicted needs them too.
//! Beside it, what trees of the same keys take (`compare`): HAProxy keeps its tables in two trees, one by key and one by expiry, and this
//! is the thing to beat.
//! `cargo bench --bench stick`; every case checks its answers.

#![allow(missing_docs)] // criterion's macro makes a public function

#[path = "fixtures/table.rs"]
pub mod table;
#[path = "fixtures/trees.rs"]
pub mod trees;

use burdock::stick::{Inserted, Key, NextUpdate, Table, TableSpec};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};
use table::{EXPIRE_MS, cookie, full_table, insert, scramble};
use trees::BitTree;

fn attach(table: &Table, expire_ms: u32) {
    let fd = table
        .memory_fd()
        .try_clone_to_owned()
        .expect("a descriptor");
    let spec = TableSpec {
        expire_ms,
        ..table.spec().clone()
    };
    let again = Table::attach(fd, &spec, u64::from(EXPIRE_MS) / 2).expect("it is a table");
    assert_eq!(again.used(), table.used());
}

fn sizes() -> Vec<u32> {
    let mut sizes = vec![1 << 10, 1 << 20];
    if std::env::var_os("BURDOCK_BENCH_HUGE").is_some() {
        sizes.push(10 << 20);
    }
    sizes
}

/// One case: `run(state, n)` does the nth operation.
fn case<S>(
    criterion: &mut Criterion,
    name: &str,
    size: u32,
    state: &mut S,
    mut run: impl FnMut(&mut S, u64),
) {
    let mut count = 0;
    criterion.bench_with_input(BenchmarkId::new(name, size), &size, |bencher, _| {
        bencher.iter(|| {
            count += 1;
            run(state, count);
        });
    });
}

/// What the cases of one size share: the times that pass and the keys that are made go on from one case to the next.
struct Subject {
    table: Table,
    size: u32,
    now_ms: u64,
    /// The number of the last key that was made beside those of the full table.
    fresh: u64,
}

/// When the first entry of a full table is half through its life.
const START_MS: u64 = EXPIRE_MS as u64 / 2;

impl Subject {
    fn new(size: u32) -> Subject {
        Subject {
            table: full_table(size),
            size,
            now_ms: START_MS,
            fresh: u64::from(size) * 2,
        }
    }

    fn insert_fresh(&mut self) -> Inserted {
        self.fresh += 1;
        let inserted = insert(&mut self.table, self.fresh, self.now_ms);
        self.table.touch_local(inserted.entry(), self.now_ms);
        self.table.set_pushed(self.table.local_update_id());
        inserted
    }
}

fn random(count: u64, size: u32) -> u64 {
    scramble(count) % u64::from(size)
}

fn benches(criterion: &mut Criterion) {
    for size in sizes() {
        floors(criterion, size);
        let mut subject = Subject::new(size);
        lookups(criterion, &mut subject);
        update_log(criterion, &mut subject);
        inserts(criterion, &mut subject);
        attaches(criterion, &mut subject);
    }
}

fn floors(criterion: &mut Criterion, size: u32) {
    let mut lines = vec![[1u64; 8]; size as usize];
    let mut at = 0;
    case(
        criterion,
        "floor: a random line",
        size,
        &mut lines,
        |lines, count| {
            at = random(count + lines[at as usize][0], size);
        },
    );
    black_box(at);
    case(
        criterion,
        "floor: making a key",
        size,
        &mut (),
        |_, count| {
            black_box(cookie(random(count, size)));
        },
    );
}

fn lookups(criterion: &mut Criterion, subject: &mut Subject) {
    let size = subject.size;
    case(
        criterion,
        "lookup, found",
        size,
        subject,
        |subject, count| {
            let bytes = cookie(random(count, size));
            let key = Key::new(subject.table.spec(), &bytes).expect("a key");
            assert!(subject.table.lookup(key, START_MS).is_some());
        },
    );
    case(
        criterion,
        "lookup, not there",
        size,
        subject,
        |subject, count| {
            let bytes = cookie(random(count, size) + u64::from(size));
            let key = Key::new(subject.table.spec(), &bytes).expect("a key");
            assert!(subject.table.lookup(key, START_MS).is_none());
        },
    );
    // A stick-on request: find, read the server, touch. 20 of them a millisecond; what a peer would read is read.
    case(
        criterion,
        "lookup and touch",
        size,
        subject,
        |subject, count| {
            let Subject { table, now_ms, .. } = subject;
            *now_ms = (*now_ms).max(START_MS + count / 20);
            let bytes = cookie(random(count, size));
            let key = Key::new(table.spec(), &bytes).expect("a key");
            let entry = table.lookup(key, START_MS).expect("it is there");
            assert_eq!(table.server(entry).0, 1);
            table.touch_local(entry, *now_ms);
            table.set_pushed(table.local_update_id());
        },
    );
}

fn update_log(criterion: &mut Criterion, subject: &mut Subject) {
    let size = subject.size;
    let mut position = subject.table.local_update_id();
    let mut read = 0_u64;
    case(
        criterion,
        "reading the update log",
        size,
        subject,
        |subject, _| {
            let table = &mut subject.table;
            if table.is_behind(position) || position == table.local_update_id() {
                position = table.local_update_id().wrapping_sub(size / 2);
            }
            match table.next_update(position, 64) {
                NextUpdate::Update(id, entry) => {
                    assert_eq!(table.server(entry).0, 1);
                    position = id;
                    read += 1;
                }
                NextUpdate::Deletion(id, _) | NextUpdate::Skipped(id) => position = id,
                NextUpdate::UpToDate => position = table.local_update_id(),
            }
        },
    );
    assert!(read > 0, "updates were there to be read");
}

fn inserts(criterion: &mut Criterion, subject: &mut Subject) {
    let size = subject.size;
    case(
        criterion,
        "insert into a full table",
        size,
        subject,
        |subject, _| {
            let inserted = subject.insert_fresh();
            assert!(matches!(inserted, Inserted::New(_)) && subject.table.used() == size);
        },
    );
    case(
        criterion,
        "insert and remove",
        size,
        subject,
        |subject, count| {
            let first = random(count, size) as u32;
            let place = subject.table.scan(first, 1, subject.now_ms).next();
            let place = place.expect("the table is full");
            assert!(subject.table.remove(place));
            subject.insert_fresh();
        },
    );
}

fn attaches(criterion: &mut Criterion, subject: &mut Subject) {
    let size = subject.size;
    // Few of them: each takes seconds where there are ten million entries.
    let mut group = criterion.benchmark_group("attach");
    group.sample_size(10);
    group.bench_function(BenchmarkId::new("all whole", size), |bencher| {
        bencher.iter(|| attach(&subject.table, EXPIRE_MS));
    });
    // A changed `expire` makes the successor rebuild all that is derived, as a death in the middle of a change does.
    let mut count = 0;
    group.bench_function(BenchmarkId::new("all rebuilt", size), |bencher| {
        bencher.iter(|| {
            count += 1;
            attach(&subject.table, EXPIRE_MS + 1 + count % 2);
        });
    });
    group.finish();
}

/// Entries that expire in one call, as the worker has it expire them.
const EXPIRY_BUDGET: u32 = 1024;

/// What does an entry cost when it expires? Time goes on until some hundreds are due; each is replaced by a fresh one, so that the
/// table stays full and its entries' ends stay spread.
fn expiry(criterion: &mut Criterion) {
    for size in sizes() {
        let mut table = full_table(size);
        let (mut now_ms, mut fresh) = (u64::from(EXPIRE_MS), u64::from(size));
        // A full table's entries end within half of their time: some 256 of them in a step.
        let step_ms = (u64::from(EXPIRE_MS) / 2 * 256 / u64::from(size)).max(1);
        let mut group = criterion.benchmark_group("expiry, an entry");
        group.bench_function(BenchmarkId::new("expire", size), |bencher| {
            bencher.iter_custom(|count| {
                let (mut expired, mut spent) = (0, Duration::ZERO);
                while expired < count {
                    now_ms += step_ms;
                    let before = table.used();
                    let begun = Instant::now();
                    while table.expire(now_ms, EXPIRY_BUDGET) {}
                    spent += begun.elapsed();
                    let gone = before - table.used();
                    expired += u64::from(gone);
                    for _ in 0..gone {
                        let inserted = insert(&mut table, fresh, now_ms);
                        table.touch_local(inserted.entry(), now_ms);
                        fresh += 1;
                    }
                }
                assert_eq!(table.used(), size, "as many as expired are back");
                spent.mul_f64(count as f64 / expired as f64)
            });
        });
        group.finish();
    }
}

/// What do trees cost, as HAProxy keeps its tables in? Of bits, as its own are; and an ordered map of std, a B-tree, which touches
/// fewer lines than any binary tree and is kinder to trees than they deserve.
fn tree(criterion: &mut Criterion) {
    for size in sizes() {
        let keys = (0..u64::from(size)).map(|number| (cookie(number), number as u32));
        let tree: BTreeMap<[u8; 26], u32> = keys.collect();
        assert_eq!(tree.len(), size as usize);
        case(
            criterion,
            "compare: lookup in a B-tree",
            size,
            &mut (),
            |_, count| {
                let number = random(count, size);
                assert_eq!(tree.get(&cookie(number)), Some(&(number as u32)));
            },
        );
        drop(tree);
        let mut trees = Trees::full(size);
        case(
            criterion,
            "compare: lookup in a tree of bits",
            size,
            &mut trees,
            |trees, count| {
                let number = random(count, size);
                let found = trees.by_key.find(&cookie(number));
                assert_eq!(found, Some(number as u32));
            },
        );
        case(
            criterion,
            "compare: insert into full trees of bits",
            size,
            &mut trees,
            |trees, count| {
                assert!(trees.evict_first());
                trees.insert(u64::from(size) + count);
            },
        );
        assert_eq!(trees.by_key.len(), size as usize);
        assert_eq!(trees.by_end.len(), size as usize);
    }
}

/// A table's two trees: by key, and by the entry's end.
struct Trees {
    by_key: BitTree<[u8; 26]>,
    by_end: BitTree<[u8; 8]>,
    /// The numbers of the keys, at the places that the trees name.
    entries: Vec<u64>,
    /// The place that was freed last.
    free: Option<u32>,
}

impl Trees {
    fn full(size: u32) -> Trees {
        let mut trees = Trees {
            by_key: BitTree::with_capacity(size as usize + 1),
            by_end: BitTree::with_capacity(size as usize + 1),
            entries: Vec::with_capacity(size as usize + 1),
            free: None,
        };
        (0..u64::from(size)).for_each(|number| trees.insert(number));
        let some = (0..u64::from(size)).step_by(1 + size as usize / 1000);
        for number in some {
            let found = trees.by_key.find(&cookie(number));
            assert_eq!(found, Some(number as u32), "a tree has what was put in");
            assert_eq!(trees.by_key.find(&cookie(number + u64::from(size))), None);
        }
        trees
    }

    /// A new entry; it ends after all that are there.
    fn insert(&mut self, number: u64) {
        let place = self.free.take().unwrap_or(self.entries.len() as u32);
        match self.entries.get_mut(place as usize) {
            Some(entry) => *entry = number,
            None => self.entries.push(number),
        }
        self.by_key.insert(cookie(number), place);
        self.by_end.insert(number.to_be_bytes(), place);
    }

    /// Takes the entry out that ends first.
    fn evict_first(&mut self) -> bool {
        let (end, place) = self.by_end.first().expect("there are entries");
        let key = cookie(self.entries[place as usize]);
        self.free = Some(place);
        self.by_end.remove(&end) == Some(place) && self.by_key.remove(&key) == Some(place)
    }
}

fn config() -> Criterion {
    Criterion::default()
        .measurement_time(Duration::from_secs(2))
        .warm_up_time(Duration::from_millis(500))
}

criterion_group! { name = stick; config = config(); targets = benches, expiry, tree }
criterion_main!(stick);
