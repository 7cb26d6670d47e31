//! Whole connections: clients and servers say what the fuzzer likes, in slices of any size on both sides, through the real streams of a
//! worker on real sockets; only the clock is played.
//!
//! What must hold: servers are sent strict requests, one at a time; clients are sent strict responses, no more than they asked for, and from a
//! server that is honest the answer to their own request and no other; the loop comes to rest; when all timeouts have passed nothing is left.

mod judge;
mod world;

use super::input::Input;
use judge::{Asked, Judge};
use world::{Party, World};

/// Clients at a time.
const CLIENTS_MAX: usize = 4;

/// Steps of one input; a longer one only repeats what shorter ones do.
const STEPS_MAX: usize = 300;

const REQUESTS: [&str; 14] = [
    "GET {} HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST {} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "POST {} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "HEAD {} HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET {} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "POST {} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    "GET {} HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
    "GET {} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "PUT {} HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n",
    "GET {} HTTP/1.1\r\nHost: a\r\nConnection: host, x\r\nX: y\r\nCookie: s=1; t=2\r\n\r\n",
    "POST {} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: t\r\n\r\n1;x=y\r\na\r\n0\r\nt: u\r\n\r\n",
    "GET http://a{} HTTP/1.1\r\nHost: a\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
];

const RESPONSES: [&str; 12] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nt: u\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\n\r\nuntil the end",
    "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "HTTP/1.1 417 No\r\nContent-Length: 0\r\nSet-Cookie: s=1\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\nConnection: content-length\r\n\r\nabc",
];

/// The target.
pub fn connection(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut world = World::new(input.byte());
    let mut judge = Judge::default();
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        step(&mut world, &mut judge, &mut input);
        settle(&mut world, &mut judge);
    }
    for party in world.clients.iter_mut().chain(&mut world.links) {
        party.flush(usize::MAX);
        party.is_stalled = false;
    }
    settle(&mut world, &mut judge);
    if world.is_http {
        let is_cut_short = world.links.iter().any(Party::has_left_unsent);
        for client in &world.clients {
            judge.judge_client(client, is_cut_short);
        }
    }
    if bytes.last().is_some_and(|last| last % 2 == 0) {
        // Otherwise the timeouts have to do it all.
        world.clients.iter_mut().for_each(Party::close);
        world.links.iter_mut().for_each(Party::close);
    }
    world.run_down();
}

fn settle(world: &mut World, judge: &mut Judge) {
    world.run();
    if !world.is_http {
        return;
    }
    for (index, link) in world.links.iter().enumerate() {
        judge.read_link(index, link);
    }
}

fn step(world: &mut World, judge: &mut Judge, input: &mut Input<'_>) {
    let operation = input.below(20);
    let which = input.byte();
    let clients = world.clients.len();
    let client = usize::from(which) % clients.max(1);
    let link = usize::from(which) % world.links.len().max(1);
    if operation < 9 && clients == 0 {
        return world.connect_client();
    }
    if (9..17).contains(&operation) && world.links.is_empty() {
        return;
    }
    match operation {
        0 if clients < CLIENTS_MAX => world.connect_client(),
        0..=2 => {
            let text = REQUESTS[input.below(REQUESTS.len() as u16)];
            let number = judge.next_target();
            let target = format!("/c{client}.{number}");
            let text = text.replace("{}", &target);
            world.clients[client].say(text.as_bytes(), input.byte());
        }
        3 => {
            let count = input.below(64);
            let raw = input.bytes(count);
            world.clients[client].say(raw, 0);
        }
        4 => world.clients[client].flush(1 + input.below(64)),
        5 => world.clients[client].flush(usize::MAX),
        6 => world.clients[client].say(&[b'x'; 3000], 0),
        7 if which < 128 => world.clients[client].is_stalled ^= true,
        7 => world.clients[client].shut(),
        8 => world.clients[client].close(),
        9..=11 => {
            let form = input.byte();
            answer(world, judge, link, form);
        }
        12 => {
            let text = RESPONSES[input.below(RESPONSES.len() as u16)];
            judge.is_dishonest(link);
            world.links[link].say(text.as_bytes(), input.byte());
        }
        13 => {
            let count = input.below(64);
            judge.is_dishonest(link);
            let raw = input.bytes(count);
            world.links[link].say(raw, 0);
        }
        14 => world.links[link].flush(1 + input.below(64)),
        15 if which < 64 => world.links[link].is_stalled ^= true,
        15 => world.links[link].shut(),
        16 => world.links[link].close(),
        17 => world.refuses ^= true,
        18 => world.pass(u64::from(input.number()) % 3000),
        _ => world.pass_to_next_timer(),
    }
}

/// The answer of an honest server to the oldest request that it has read and not answered, if there is one.
fn answer(world: &mut World, judge: &mut Judge, link: usize, form: u8) {
    if form >= 240 && judge.owes_answer(link) {
        return world.links[link].say(b"HTTP/1.1 100 Continue\r\n\r\n", 0);
    }
    let Some(Asked { method, target, .. }) = judge.answered(link) else {
        return;
    };
    let body = [b"for:", &target[..]].concat();
    let is_head = method == b"HEAD";
    let connection = ["", "Connection: close\r\n"][usize::from(form & 8 != 0)];
    let head = match form % 3 {
        0 => format!("Content-Length: {}\r\n", body.len()),
        1 => "Transfer-Encoding: chunked\r\n".into(),
        _ => String::new(),
    };
    let mut bytes = format!("HTTP/1.1 200 OK\r\n{head}{connection}\r\n").into_bytes();
    match form % 3 {
        _ if is_head || method == b"CONNECT" => {}
        1 => {
            let (first, second) = body.split_at(body.len() / 2);
            for part in [first, second] {
                bytes.extend(format!("{:x}\r\n", part.len()).bytes());
                bytes.extend([part, b"\r\n"].concat());
            }
            bytes.extend(b"0\r\n\r\n");
        }
        _ => bytes.extend(&body),
    }
    let party = &mut world.links[link];
    party.say(&bytes, form / 16);
    if form % 3 == 2 && !is_head {
        party.shut_when_flushed = true;
    }
}
