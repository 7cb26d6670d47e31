//! The one thing that std and mio do not offer: a timer finer than a millisecond that epoll can wait for.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};

/// Nanoseconds of CLOCK_MONOTONIC.
pub fn monotonic_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec to write to; CLOCK_MONOTONIC always exists on Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// A one-shot timer (timerfd) to be registered for reading; it becomes readable when it fires.
pub struct Timer {
    file: File,
}

impl Timer {
    /// A timer that is not armed.
    pub fn new() -> io::Result<Timer> {
        // SAFETY: timerfd_create takes no pointer.
        let fd = unsafe {
            libc::timerfd_create(
                libc::CLOCK_MONOTONIC,
                libc::TFD_NONBLOCK | libc::TFD_CLOEXEC,
            )
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just created, is valid, and nobody else owns it.
        let file = unsafe { File::from_raw_fd(fd) };
        Ok(Timer { file })
    }

    /// Arms the timer for a moment of [`monotonic_ns`]; one that has passed fires at once.
    pub fn arm_at(&self, moment_ns: u64) -> io::Result<()> {
        let moment_ns = moment_ns.max(1); // zero would disarm
        let spec = libc::itimerspec {
            it_interval: libc::timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: libc::timespec {
                tv_sec: (moment_ns / 1_000_000_000) as libc::time_t,
                tv_nsec: (moment_ns % 1_000_000_000) as libc::c_long,
            },
        };
        // SAFETY: the descriptor is open as long as `self`; `spec` is valid for the call; no old value is asked for.
        let result = unsafe {
            libc::timerfd_settime(
                self.file.as_raw_fd(),
                libc::TFD_TIMER_ABSTIME,
                &spec,
                std::ptr::null_mut(),
            )
        };
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    /// Takes note of the firing, so that the next one is seen.
    pub fn acknowledge(&mut self) {
        let _ = self.file.read(&mut [0; 8]);
    }
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}
