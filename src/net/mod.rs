//! Addresses, listeners, connections.

pub mod address;

pub use address::Address;
