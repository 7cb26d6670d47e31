//! burdock: a low-latency HTTP/1 and TCP proxy whose stickiness survives everything.
//!
//! The folders are the design; an arrow never points up this list (see ARCHITECTURE.md). Everything is public so that
//! tests, benches and fuzz targets reach the pure parts; nothing here is a stable library interface.

pub mod flags;

pub mod process;

pub mod runtime;

pub mod stream;

pub mod check;

pub mod stats;

pub mod backend;

pub mod config;

pub mod log;

pub mod rules;

pub mod peers;

pub mod sample;

pub mod net;

pub mod stick;

pub mod reactor;

pub mod http;

pub mod sys;
