//! Reading and writing the atomics that a table's memory is made of.
//!
//! Every store is a Release: stores reach the memory in program order, so a process that dies leaves a prefix of them, and
//! a reader that sees an entry's sequence word change sees the change too. On x86-64 it costs what a plain store costs.

use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};

/// One cell of a table's memory.
pub(super) trait Slot {
    type Value: Copy;

    fn get(&self) -> Self::Value;

    fn set(&self, value: Self::Value);
}

impl Slot for AtomicU64 {
    type Value = u64;

    #[inline]
    fn get(&self) -> u64 {
        self.load(Relaxed)
    }

    #[inline]
    fn set(&self, value: u64) {
        #[cfg(test)]
        crash::before_store();
        self.store(value, Release);
    }
}

impl Slot for AtomicU32 {
    type Value = u32;

    #[inline]
    fn get(&self) -> u32 {
        self.load(Relaxed)
    }

    #[inline]
    fn set(&self, value: u32) {
        #[cfg(test)]
        crash::before_store();
        self.store(value, Release);
    }
}

/// The death of a process between two stores, for tests: a panic instead of the store that is one too many.
#[cfg(test)]
pub(super) mod crash {
    use std::cell::Cell;

    thread_local! {
        static STORES_LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
    }

    /// Lets `stores` more stores happen on this thread.
    pub fn after(stores: u64) {
        STORES_LEFT.set(stores);
    }

    /// Lives for ever again; returns how many stores were left.
    pub fn never() -> u64 {
        STORES_LEFT.replace(u64::MAX)
    }

    pub fn before_store() {
        let left = STORES_LEFT.get();
        if left == 0 {
            std::panic::resume_unwind(Box::new("killed"));
        }
        STORES_LEFT.set(left - 1);
    }
}
