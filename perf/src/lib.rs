//! Tools that measure burdock and show it at work, each a small program in `src/bin`:
//!
//! * `demo-app`: the application behind the demonstration; keeps sessions in its own memory.
//! * `backend`: a fast server of fixed answers, behind whatever is measured.
//! * `load`: the load generator, closed loop or open loop at a fixed rate.
//! * `peer`: a member of a peers group that measures what it is sent.
//! * `relay`: the floor under every measurement: a relay that only receives and sends.
//!
//! Here is what they share. Not here: what is measured and how it is compared (`scripts/bench.sh`).

pub mod args;
pub mod http;
pub mod sys;
