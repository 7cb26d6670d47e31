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

/// Writes a date in the form that strftime(3) knows by `format`; its length, or `None` when there is no room for it.
pub fn format_date(
    seconds: i64,
    is_local: bool,
    format: &std::ffi::CStr,
    out: &mut [u8],
) -> Option<usize> {
    let mut parts = std::mem::MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both functions read `seconds` and write a whole `tm`, or return null and write nothing that is used.
    let filled = unsafe {
        match is_local {
            true => libc::localtime_r(&seconds, parts.as_mut_ptr()),
            false => libc::gmtime_r(&seconds, parts.as_mut_ptr()),
        }
    };
    if filled.is_null() {
        return None;
    }
    // SAFETY: `out` has room for as many bytes as are said, `format` ends with a NUL, and `parts` was filled above.
    let length = unsafe {
        libc::strftime(
            out.as_mut_ptr().cast(),
            out.len(),
            format.as_ptr(),
            parts.as_ptr(),
        )
    };
    (length > 0).then_some(length)
}
