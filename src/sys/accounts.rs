//! User and group names to ids.

use std::ffi::{CString, c_char, c_int};
use std::mem::MaybeUninit;

/// Bytes for the strings of one entry; far more than any entry in practice, and a larger one is treated as unknown.
const BUFFER_BYTES: usize = 64 * 1024;

/// Id of a user; `None` when there is no such user.
pub fn user_id(name: &str) -> Option<u32> {
    find(name, libc::getpwnam_r, |entry: &libc::passwd| entry.pw_uid)
}

/// Id of a group; `None` when there is no such group.
pub fn group_id(name: &str) -> Option<u32> {
    find(name, libc::getgrnam_r, |entry: &libc::group| entry.gr_gid)
}

/// `getpwnam_r` and `getgrnam_r`: name, entry, bytes for its strings and their number, where to say what was found.
type Lookup<E> =
    unsafe extern "C" fn(*const c_char, *mut E, *mut c_char, usize, *mut *mut E) -> c_int;

fn find<E>(name: &str, lookup: Lookup<E>, id: fn(&E) -> u32) -> Option<u32> {
    let name = CString::new(name).ok()?;
    let mut entry = MaybeUninit::<E>::uninit();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut found = std::ptr::null_mut();
    // SAFETY: `name` is a C string; `entry` has room for an entry, `buffer` for `buffer.len()` chars, `found` for a pointer;
    // all of them live until the end of this function.
    let status = unsafe {
        lookup(
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
    // SAFETY: the lookup succeeded and set `found`, so it has filled in `entry`.
    Some(id(unsafe { entry.assume_init_ref() }))
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
