//! Addresses, listeners, connections.

pub mod address;

pub use address::Address;
pub mod connection;
pub use connection::{Connection, ReadResult};
