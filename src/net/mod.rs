//! Addresses, listeners, connections.

pub mod address;

pub use address::Address;
pub mod connection;
pub use connection::{Connection, KeepaliveProbes, ReadResult, is_out_of_descriptors};
pub mod listener;
pub mod pipe;
pub use pipe::{Pipe, Pipes};
pub mod proxy_protocol;
pub use listener::{BoundListener, ListenerOwner};
pub mod takeover;
