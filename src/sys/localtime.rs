//! The local time zone, for dates in logs.

/// Seconds east of UTC in the local time zone at `unix_secs`. Zero if the system does not say.
///
/// The C library reads the zone's file at the first call: call once before `chroot`.
pub fn utc_offset_secs(unix_secs: i64) -> i32 {
    let time: libc::time_t = unix_secs;
    let mut parts = std::mem::MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are valid for the call; localtime_r keeps neither and writes only `parts`, for which all
    // zeroes is a valid value should it fail and write nothing.
    let parts = unsafe {
        libc::localtime_r(&time, parts.as_mut_ptr());
        parts.assume_init()
    };
    i32::try_from(parts.tm_gmtoff).unwrap_or(0)
}
