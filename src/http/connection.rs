//! Hop-by-hop: who keeps which connection, and which headers of the message are only for this hop.
//!
//! What HAProxy 2.6 sends (seen with a recording server behind it), and we too:
//!
//! | to the server | client speaks 1.1 | client speaks 1.0 |
//! |---|---|---|
//! | `http-keep-alive` | no Connection header | `connection: keep-alive` |
//! | `http-server-close`, `httpclose` | `connection: close` | no Connection header |
//! | an upgrade | `connection: Upgrade` | – |
//!
//! | to the client | response is 1.1 | response is 1.0 |
//! |---|---|---|
//! | kept, client speaks 1.1 | no Connection header | `connection: keep-alive` |
//! | kept, client speaks 1.0 | `connection: keep-alive` | `connection: keep-alive` |
//! | closed after it | `connection: close` | no Connection header |
//!
//! The version of a message is never changed. What differs from HAProxy, on purpose: the headers that a Connection header names
//! are removed, as RFC 9110 section 7.6.1 demands (HAProxy forwards them); Keep-Alive and Proxy-Connection too; an HTTP/1.0
//! client is never sent chunks (HAProxy does so), it gets the data and a close.

use super::Version;
use super::body::{BodyForm, Framing};
use super::header::{HeaderTable, Known, NoRoom};
use super::method::Method;
use super::request::RequestHead;
use super::response::ResponseHead;

/// Prepares a request for the server: removes what is for the hop from the client only, and says what the server needs to
/// know about this hop. Call it before any header of our own is added, so that nobody can name ours away.
///
/// `keep_server`: the server connection may be used again after this (`http-keep-alive`).
pub fn prepare_request(
    head: &mut RequestHead,
    buffer: &[u8],
    keep_server: bool,
) -> Result<(), NoRoom> {
    let upgrades = head.upgrade;
    remove_hop_headers(&mut head.headers, buffer, head.connection.others, upgrades);
    let word: Option<&[u8]> = match (upgrades, keep_server, head.version) {
        (true, _, _) => Some(b"Upgrade"),
        (false, true, Version::Http10) => Some(b"keep-alive"),
        (false, false, Version::Http11) => Some(b"close"),
        _ => None,
    };
    head.headers.settle_connection(buffer, word)
}

/// How a response goes to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The client connection stays open after this response.
    pub keep_client: bool,
    /// What the body's bytes are turned into.
    pub body: BodyForm,
}

/// What of a request its client's view of the response depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// The client's version.
    pub version: Version,
    /// The client asked for the head only.
    pub wants_head: bool,
    /// The server was asked for the head only: the same, unless a rule changed the method.
    pub asked_head: bool,
}

impl Receiver {
    /// The client that sent this.
    pub fn of(request: &RequestHead) -> Receiver {
        Receiver {
            version: request.version,
            wants_head: request.client_method == Method::Head,
            asked_head: request.method == Method::Head,
        }
    }
}

/// Prepares a response for the client in the same way, and tells what has to be done with body and connection.
///
/// `keep_client`: the request and the configuration allow to keep the client connection. For an interim response only the
/// hop's headers are removed.
pub fn prepare_response(
    head: &mut ResponseHead,
    buffer: &[u8],
    receiver: Receiver,
    keep_client: bool,
) -> Result<Delivery, NoRoom> {
    head.settle_edits(buffer);
    let client_version = receiver.version;
    // An Upgrade header has a meaning in 101 and 426; in others it only advertises what this hop could do.
    let upgrades = matches!(head.status, 101 | 426) && head.upgrade;
    remove_hop_headers(&mut head.headers, buffer, head.connection.others, upgrades);
    let mut delivery = Delivery {
        keep_client: keep_client
            && head.framing != Framing::UntilClose
            && !head.is_tunnel
            && !head.closes_client,
        body: BodyForm::Chunked,
    };
    if client_version == Version::Http10 || head.version == Version::Http10 {
        // A reader of HTTP/1.0 does not know chunks.
        head.headers.remove_known(Known::TransferEncoding);
        if head.framing == Framing::Chunked {
            delivery = Delivery {
                keep_client: false,
                body: BodyForm::DataOnly,
            };
        }
    }
    if head.is_interim() {
        head.headers.settle_connection(buffer, None)?;
        return Ok(delivery);
    }
    settle_body(head, receiver, &mut delivery)?;
    let word: Option<&[u8]> = match (upgrades, delivery.keep_client) {
        (true, true) if head.status == 426 && client_version == Version::Http11 => Some(b"Upgrade"),
        (true, _) if head.status == 101 => Some(b"Upgrade"),
        _ if head.is_tunnel => None,
        (_, true) if client_version == Version::Http10 || head.version == Version::Http10 => {
            Some(b"keep-alive")
        }
        (_, false) if head.version == Version::Http11 => Some(b"close"),
        _ => None,
    };
    head.headers.settle_connection(buffer, word)?;
    Ok(delivery)
}

/// A rule may have changed the method or the status, on which the framing of the response depends: the client must find the body
/// that it expects. HAProxy leaves it with a length that no bytes follow when a body is missing.
fn settle_body(
    head: &mut ResponseHead,
    receiver: Receiver,
    delivery: &mut Delivery,
) -> Result<(), NoRoom> {
    if head.is_tunnel {
        return Ok(());
    }
    let is_bodiless = |status: u16| matches!(status, 204 | 304);
    let has_none = receiver.asked_head || is_bodiless(head.received_status);
    let expects_none = receiver.wants_head || is_bodiless(head.status);
    if has_none == expects_none && head.status == head.received_status {
        return Ok(());
    }
    if head.status == 204 || (has_none && !expects_none) {
        head.headers.remove_known(Known::ContentLength);
        head.headers.remove_known(Known::TransferEncoding);
    }
    if expects_none && !has_none {
        delivery.body = BodyForm::Nothing;
    } else if has_none && !expects_none {
        head.headers.insert_own(b"content-length", b"0")?;
    }
    Ok(())
}

/// Removes what a hop's sender says to its receiver only (RFC 9110 section 7.6.1). Connection itself is settled afterwards.
fn remove_hop_headers(
    headers: &mut HeaderTable,
    buffer: &[u8],
    has_nominated: bool,
    upgrades: bool,
) {
    if has_nominated {
        headers.remove_nominated(buffer);
    }
    for index in 0..headers.lines().len() {
        let line = headers.lines()[index];
        let removed = match line.known {
            Known::KeepAlive | Known::ProxyConnection => true,
            Known::Upgrade => !upgrades,
            // Trailers are forwarded, so the wish for them may be, too; other codings are not ours to promise.
            Known::Te => !headers
                .value(&line, buffer)
                .eq_ignore_ascii_case(b"trailers"),
            _ => false,
        };
        if removed {
            headers.remove(index);
        }
    }
}
