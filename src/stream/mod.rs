//! How a request travels: accept, rules, connect, forward, log; for HTTP and for TCP.
