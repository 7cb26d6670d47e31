//! Hop-by-hop: who keeps which connection, and which headers of the message are only for this hop.

use super::header::NoRoom;
use super::request::RequestHead;
use super::response::ResponseHead;

/// Prepares a request for the server: removes Connection, Keep-Alive, Proxy-Connection and everything that Connection
/// names (Upgrade stays, with its Connection header, when an upgrade is asked for), then says `connection: close` or
/// `keep-alive` where the server needs it. Call it before any header of our own is added.
///
/// `keep_server`: the server connection may be reused after this (`http-keep-alive`).
pub fn prepare_request(
    head: &mut RequestHead,
    buffer: &[u8],
    keep_server: bool,
) -> Result<(), NoRoom> {
    let _ = (head, buffer, keep_server);
    todo!()
}

/// Prepares a response for the client in the same way.
///
/// `keep_client`: the client connection stays open after this response. `client_version` decides which word says so.
pub fn prepare_response(
    head: &mut ResponseHead,
    buffer: &[u8],
    client_version: super::Version,
    keep_client: bool,
) -> Result<(), NoRoom> {
    let _ = (head, buffer, client_version, keep_client);
    todo!()
}

/// Whether the client connection can be kept after this exchange, whatever the configuration wants: both the request and
/// the response must be framed so that the client knows where the response ends.
pub fn client_can_stay(request: &RequestHead, response: &ResponseHead) -> bool {
    let _ = (request, response);
    todo!()
}
