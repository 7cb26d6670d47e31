//! What is shown of the counters and of the process: `show stat`, `show info`, `show servers state` and `conn`, metrics for Prometheus.
//!
//! Everything here formats; it counts nothing and changes nothing. Names, order and layout are those of HAProxy 2.6, so that
//! the tools that read them need no change.
//!
//! Not here: counters (`backend/counters.rs`), the stats socket (`runtime/`), how metrics are sent (`stream/export.rs`).

pub mod info;
pub mod objects;
pub mod prometheus;
pub mod row;
pub mod servers;
pub mod show_stat;

pub use info::{Counted, InfoStyle, ProcessInfo, Vitals};
pub use objects::Style;
pub use row::Form;
pub use show_stat::{Filter, Position};
