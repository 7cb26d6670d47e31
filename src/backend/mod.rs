//! Where requests go: servers, balance, queue, sticky rules, counters.
