//! The clocks.

/// CLOCK_MONOTONIC in milliseconds: the same for all processes of the machine, unaffected by changes of the date.
pub fn monotonic_ms() -> u64 {
    let (seconds, nanoseconds) = read(libc::CLOCK_MONOTONIC);
    seconds as u64 * 1_000 + nanoseconds as u64 / 1_000_000
}

/// CLOCK_MONOTONIC in microseconds.
pub fn monotonic_us() -> u64 {
    let (seconds, nanoseconds) = read(libc::CLOCK_MONOTONIC);
    seconds as u64 * 1_000_000 + nanoseconds as u64 / 1_000
}

/// CPU time that this process has used, in microseconds.
pub fn cpu_us() -> u64 {
    let (seconds, nanoseconds) = read(libc::CLOCK_PROCESS_CPUTIME_ID);
    seconds as u64 * 1_000_000 + nanoseconds as u64 / 1_000
}

fn read(clock: libc::clockid_t) -> (i64, i64) {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec for the call to fill. The clocks named above always exist, so it cannot fail.
    unsafe { libc::clock_gettime(clock, &mut time) };
    (time.tv_sec, time.tv_nsec)
}
