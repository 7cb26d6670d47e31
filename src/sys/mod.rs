//! The few libc calls, each wrapped once, safe outside. The only place where `unsafe` is allowed.
#![allow(unsafe_code)]

pub mod accounts;
pub mod calendar;
#[cfg(test)]
pub mod counting;
pub mod crypt;
pub mod environment;
pub mod file;
pub mod host;
pub mod limits;
pub mod localtime;
pub mod memory;
pub mod output;
pub mod passing;
pub mod process;
pub mod random;
pub mod signal;
pub mod socket;
pub mod splice;
pub mod time;
