//! What was said, held against what may be said.

use super::super::strict::{self, Read};
use super::world::Party;

/// A request as a server has read it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: Vec<u8>,
    pub target: Vec<u8>,
}

/// What a server connection has carried.
#[derive(Default)]
struct Link {
    /// Bytes of `Party::received` that were read.
    at: usize,
    requests: Vec<Asked>,
    answered: usize,
    is_dishonest: bool,
    /// From here on anything goes: a tunnel may have begun.
    is_open: bool,
}

/// Reads along.
#[derive(Default)]
pub struct Judge {
    links: Vec<Link>,
    targets: usize,
}

impl Judge {
    /// A number that no target has had.
    pub fn next_target(&mut self) -> usize {
        self.targets += 1;
        self.targets - 1
    }

    fn link(&mut self, index: usize) -> &mut Link {
        while self.links.len() <= index {
            self.links.push(Link::default());
        }
        &mut self.links[index]
    }

    /// The server says what no request asked for: what comes of it is its own fault.
    pub fn is_dishonest(&mut self, index: usize) {
        self.link(index).is_dishonest = true;
    }

    /// Whether the server has read a request that it has not answered.
    pub fn owes_answer(&mut self, index: usize) -> bool {
        let link = self.link(index);
        !link.is_dishonest && link.answered < link.requests.len()
    }

    /// The server answers its oldest request: which?
    pub fn answered(&mut self, index: usize) -> Option<Asked> {
        let link = self.link(index);
        let asked = link
            .requests
            .get(link.answered)
            .filter(|_| !link.is_dishonest)?;
        link.answered += 1;
        Some(asked.clone())
    }

    /// Reads what has come on a server's connection.
    pub fn read_link(&mut self, index: usize, party: &Party) {
        let link = self.link(index);
        while !link.is_open && link.at < party.received.len() {
            let bytes = &party.received[link.at..];
            match strict::read_request(bytes) {
                Read::Whole(message) => {
                    link.at += message.length;
                    let is_tunnel =
                        message.start[0] == b"CONNECT" || !message.values("upgrade").is_empty();
                    link.is_open |= is_tunnel;
                    let [method, target, _] = message.start;
                    link.requests.push(Asked { method, target });
                    let ahead = link.requests.len() - link.answered;
                    assert!(
                        link.is_dishonest || ahead <= 1,
                        "a second request before the first is answered"
                    );
                }
                Read::Partial => break,
                Read::Refused(why) => panic!(
                    "a server is sent what is no request ({why}): {:?}",
                    String::from_utf8_lossy(bytes)
                ),
            }
        }
    }

    /// Reads all that a client has said and was told. `is_cut_short`: a server has not sent all of its answer; where
    /// only its end delimits it, a client on a socket pair, which knows no resets, cannot tell.
    pub fn judge_client(&self, client: &Party, is_cut_short: bool) {
        let (mut asked_at, mut at) = (0, 0);
        let told = &client.received;
        while at < told.len() {
            let (method, target, length) = match strict::read_request(&client.sent[asked_at..]) {
                Read::Whole(message) => {
                    let [method, target, _] = message.start;
                    (method, target, message.length)
                }
                // It was refused, or is answered before it is complete; what it asked for is not known to a strict reader.
                _ => return judge_last(client, at),
            };
            let (length_told, is_final) =
                match strict::read_response(&told[at..], &method, client.is_ended) {
                    Read::Whole(message) => {
                        let code = &message.start[1];
                        let is_tunnel = code == b"101" || (method == b"CONNECT" && code[0] == b'2');
                        if is_tunnel {
                            return;
                        }
                        if code == b"408" || code == b"400" {
                            // Said to a head that was not complete then: with a body, whatever was asked for.
                            return judge_last(client, at);
                        }
                        if let Some(meant) = message.body.strip_prefix(b"for:") {
                            let is_same = meant == target
                                || !target.starts_with(b"/")
                                || is_cut_short && target.starts_with(meant);
                            assert!(
                                is_same,
                                "the answer for {:?} to {:?}",
                                text(meant),
                                text(&target)
                            );
                        }
                        (message.length, code[0] != b'1')
                    }
                    Read::Partial => return,
                    Read::Refused(why) => panic!(
                        "a client is told what is no response ({why}): {:?}",
                        text(&told[at..])
                    ),
                };
            at += length_told;
            if is_final {
                asked_at += length;
            }
        }
    }
}

/// The last word to a client that has not said, or not in full, what it wants.
fn judge_last(client: &Party, at: usize) {
    let told = &client.received[at..];
    let line = told.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let is_response = line.starts_with(b"HTTP/1.") && line.get(9).is_some_and(u8::is_ascii_digit);
    assert!(
        is_response || line.len() < 10,
        "a client that said {:?} is told what is no response: {:?} after {:?}",
        text(&client.sent),
        text(told),
        text(&client.received[..at])
    );
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
