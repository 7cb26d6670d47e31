//! User and group names to ids.

use std::ffi::CString;
use std::mem::MaybeUninit;

/// Bytes for the strings of one entry; far more than any entry in practice, and a larger one is treated as unknown.
const BUFFER_BYTES: usize = 64 * 1024;

/// Id of a user; `None` when there is no such user.
pub fn user_id(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    let mut entry = MaybeUninit::<libc::passwd>::uninit();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut found = std::ptr::null_mut();
    // SAFETY: `name` is a C string; `entry` has room for a passwd, `buffer` for `buffer.len()` chars, `found` for a pointer;
    // all of them live until the end of this function.
    let status = unsafe {
        libc::getpwnam_r(
            name.as_ptr(),
            entry.as_mut_ptr(),
            buffer.as_mut_ptr(),
            buffer.len(),
            &raw mut found,
        )
    };
    if status != 0 || found.is_null() {
        return None;
    }
    // SAFETY: getpwnam_r succeeded and set `found`, so it has filled in `entry`.
    Some(unsafe { entry.assume_init_ref() }.pw_uid)
}

/// Id of a group; `None` when there is no such group.
pub fn group_id(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    let mut entry = MaybeUninit::<libc::group>::uninit();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut found = std::ptr::null_mut();
    // SAFETY: `name` is a C string; `entry` has room for a group, `buffer` for `buffer.len()` chars, `found` for a pointer;
    // all of them live until the end of this function.
    let status = unsafe {
        libc::getgrnam_r(
            name.as_ptr(),
            entry.as_mut_ptr(),
            buffer.as_mut_ptr(),
            buffer.len(),
            &raw mut found,
        )
    };
    if status != 0 || found.is_null() {
        return None;
    }
    // SAFETY: getgrnam_r succeeded and set `found`, so it has filled in `entry`.
    Some(unsafe { entry.assume_init_ref() }.gr_gid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_zero_and_nobody_is_called_this() {
        assert_eq!(user_id("root"), Some(0));
        assert_eq!(group_id("root"), Some(0));
        assert_eq!(user_id("no such user"), None);
        assert_eq!(group_id("no\0such"), None);
    }
}
