//! The few libc calls, each wrapped once, safe outside. The only place where `unsafe` is allowed.
#![allow(unsafe_code)]

pub mod localtime;
pub mod output;
