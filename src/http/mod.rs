//! HTTP/1 as values: heads, bodies, edits, cookies, replies. Bytes in, bytes out, no sockets.
