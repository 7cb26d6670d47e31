//! Replies that the proxy makes itself: the built-in pages, byte for byte those of HAProxy 2.6.

/// The built-in reply for a status, head and body; 200 is the answer to `monitor-uri`. Statuses without one get 500's.
/// It says `Connection: close` or nothing about the connection as HAProxy's does.
pub fn builtin(status: u16) -> &'static [u8] {
    let _ = status;
    todo!()
}
