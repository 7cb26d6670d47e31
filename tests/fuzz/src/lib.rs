//! Fuzz targets as plain functions of bytes: libFuzzer drives them here, `tests/fuzz_corpus.rs` runs the corpus through
//! them on a stable compiler.

pub mod connection;
pub mod http;
pub mod input;
pub mod peers;
pub mod proxy;
pub mod strict;

/// A target: it panics when something is wrong.
pub type Target = fn(&[u8]);

/// All targets; the name is that of the binary and of the folder of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("peers_decode", peers::decode),
    ("peers_session", peers::session),
    ("peers_relay", peers::relay),
    ("http_request", http::request),
    ("http_response", http::response),
    ("http_body", http::body),
    ("http_cookies", http::cookies),
    ("connection", connection::connection),
    ("proxy_header", proxy::header),
];
