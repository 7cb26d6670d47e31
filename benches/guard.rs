//! How many instructions does a fixed set of requests take through parser, rules, table and peers codec?
//!
//! Not a bench of time: `scripts/guard.sh` runs each subject under callgrind, which counts the same instructions every time, and
//! compares with the committed figures (`perf/guard.txt`). `guard SUBJECT` runs one; without an argument it lists them; every
//! subject checks its answer. Preparation is outside of [`counted`] and is not counted.
//!
//! There is no floor here: the floors of the same pieces are in the other benches.

#![allow(missing_docs)] // the fixtures' items are shared by benches, not by a crate

#[path = "fixtures/heads.rs"]
pub mod heads;
#[path = "fixtures/hundred.rs"]
pub mod hundred;
#[path = "fixtures/line.rs"]
pub mod line;
#[path = "fixtures/nodes.rs"]
pub mod nodes;
#[path = "fixtures/table.rs"]
pub mod table;

use std::hint::black_box;
use std::io::IoSlice;

use burdock::http::{
    CookieHeader, ForwardPlan, Known, Parsed, Receiver, RequestHead, ResponseHead, next_cookie,
    prepare_request, prepare_response,
};
use burdock::rules::SetKind;
use burdock::sample::Scratch;
use burdock::stick::{Inserted, Key};
use heads::{BROWSER, RESPONSE, SMALL};

/// Operations of a subject: enough that what happens once a run does not show.
const OPERATIONS: u32 = 2_000;

/// What callgrind counts; `scripts/guard.sh` knows it by its name.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    work();
    black_box(());
}

const SUBJECTS: [(&str, fn()); 9] = [
    ("request-small", || request(SMALL)),
    ("request-browser", || request(BROWSER)),
    ("response", response),
    ("rules", rules),
    ("table-stick", table_stick),
    ("table-insert-full", table_insert_full),
    ("table-expire", table_expire),
    ("log-line", log_line),
    ("peers", peers),
];

fn main() {
    // cargo adds `--bench` to the arguments of a bench.
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .collect();
    for (name, run) in SUBJECTS {
        match wanted.as_slice() {
            [] => println!("{name}"),
            [one] if one == name => return run(),
            _ => {}
        }
    }
    if !wanted.is_empty() {
        eprintln!("guard: no subject {wanted:?}");
        std::process::exit(2);
    }
}

/// A request's head: parsed, its session cookie found, edited and laid out as it is forwarded.
fn request(input: &[u8]) {
    let mut head = RequestHead::new(101, 1024);
    let mut plan = ForwardPlan::new(16);
    counted(&mut || {
        for _ in 0..OPERATIONS {
            head.reset();
            assert_eq!(head.parse(black_box(input)), Ok(Parsed::Complete));
            assert!(has_cookie(&head, input));
            prepare_request(&mut head, input, false).expect("room");
            let address = b"192.168.100.7";
            let inserted = head.headers.insert(b"x-forwarded-for", address);
            inserted.expect("room");
            plan.clear();
            plan.push_request(&head, input);
            let mut slices = [IoSlice::new(&[]); 8];
            let count = plan.slices(input, &head.headers, &mut slices);
            assert!((1..=8).contains(&count));
            plan.sent(plan.remaining());
        }
    });
}

fn has_cookie(head: &RequestHead, input: &[u8]) -> bool {
    let mut lines = head.headers.find_known(input, Known::Cookie);
    let found = |(_, line)| next_cookie(line, &mut 0, b"PHPSESSID", CookieHeader::Cookie).is_some();
    lines.any(found)
}

/// A response's head: parsed, edited, laid out.
fn response() {
    let mut head = ResponseHead::new(101, 1024);
    let mut plan = ForwardPlan::new(16);
    let request = RequestHead::new(1, 0);
    let (asked, receiver) = (request.asked(), Receiver::of(&request));
    counted(&mut || {
        for _ in 0..OPERATIONS {
            head.reset();
            assert_eq!(head.parse(black_box(RESPONSE), asked), Ok(Parsed::Complete));
            prepare_response(&mut head, RESPONSE, receiver, true).expect("room");
            plan.clear();
            plan.push_response(&head, RESPONSE);
            assert_eq!(plan.remaining(), RESPONSE.len());
        }
    });
}

/// A hundred rules, 25 of each kind of condition.
fn rules() {
    let lines: String = hundred::CONDITIONS
        .iter()
        .map(|(_, condition)| {
            hundred::rules(*condition)
                .lines()
                .take(25)
                .fold(String::new(), |all, line| all + line + "\n")
        })
        .collect();
    let config = hundred::configured(&lines);
    let set = config.proxies[0].rules.of(SetKind::HttpRequest);
    assert_eq!(set.len(), 100);
    let head = hundred::request_head();
    let mut scratch = Scratch::new(16_384);
    counted(&mut || {
        for _ in 0..OPERATIONS / 20 {
            assert_eq!(hundred::held(black_box(set), &head, &mut scratch), 0);
        }
    });
}

const TABLE_SIZE: u32 = 1 << 13;

/// What a stick rule does for a known client: find the entry, read its server, touch it.
fn table_stick() {
    let mut table = table::full_table(TABLE_SIZE);
    let now_ms = u64::from(table::EXPIRE_MS) / 2;
    counted(&mut || {
        for number in 0..u64::from(OPERATIONS) {
            let bytes = table::cookie(table::scramble(number) % u64::from(TABLE_SIZE));
            let key = Key::new(table.spec(), &bytes).expect("a key");
            let entry = table.lookup(key, now_ms).expect("it is there");
            assert_eq!(table.server(entry).0, 1);
            table.touch_local(entry, now_ms + number / 20);
            table.set_pushed(table.local_update_id());
        }
    });
}

/// A new client, and a table that has to lose another one for it.
fn table_insert_full() {
    let mut table = table::full_table(TABLE_SIZE);
    let now_ms = u64::from(table::EXPIRE_MS) / 2;
    counted(&mut || {
        for number in 0..u64::from(OPERATIONS) {
            let fresh = u64::from(TABLE_SIZE) * 2 + number;
            let inserted = table::insert(&mut table, fresh, now_ms);
            assert!(matches!(inserted, Inserted::New(_)));
            table.set_server(inserted.entry(), 1, Some(b"app1"));
            table.touch_local(inserted.entry(), now_ms);
            table.set_pushed(table.local_update_id());
        }
    });
    assert_eq!(table.used(), TABLE_SIZE);
}

/// All entries expire, a thousand at a time.
fn table_expire() {
    let mut table = table::full_table(TABLE_SIZE);
    let now_ms = 2 * u64::from(table::EXPIRE_MS);
    counted(&mut || while table.expire(now_ms, 1000) {});
    assert_eq!(table.used(), 0);
}

/// The line of a request, as `option httplog` has it, up to the system call.
fn log_line() {
    let mut quiet = line::Quiet::open();
    let record = line::record();
    counted(&mut || {
        for _ in 0..OPERATIONS {
            quiet.write(black_box(&record));
        }
    });
    assert_eq!(quiet.dropped(), 0);
}

/// A lesson of a table: encoded by one node, decoded and applied by the other.
fn peers() {
    let full = nodes::full_table(OPERATIONS);
    let (mut a, mut b) = nodes::pair(full, nodes::table(OPERATIONS));
    let mut bytes = Vec::with_capacity(1 << 20);
    counted(&mut || {
        nodes::lesson(&mut a, &mut bytes);
        b.give(&bytes);
    });
    assert_eq!(b.tables[0].digest(), a.tables[0].digest());
}
