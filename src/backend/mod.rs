//! Where requests go: servers, balance, queue, sticky rules, counters.

pub mod counters;
