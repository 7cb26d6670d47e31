//! crypt(3): hashes of passwords.
//!
//! The library is looked for when the first hash is read (`libcrypt.so.1` or `.so.2`), so that burdock neither needs it to be built nor
//! to be started without hashes.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::OnceLock;

/// Room that `crypt_r` wants: libxcrypt's `struct crypt_data` has 32768 bytes, that of glibc 131232.
const DATA_BYTES: usize = 131_232;

type CryptR = unsafe extern "C" fn(*const c_char, *const c_char, *mut c_void) -> *mut c_char;

static CRYPT: OnceLock<Option<CryptR>> = OnceLock::new();

fn library() -> Option<CryptR> {
    *CRYPT.get_or_init(|| {
        for name in [c"libcrypt.so.1", c"libcrypt.so.2"] {
            const FLAGS: c_int = libc::RTLD_NOW | libc::RTLD_LOCAL;
            // SAFETY: `name` is a string that ends with NUL; loading the system's crypt library runs no code of ours.
            let handle = unsafe { libc::dlopen(name.as_ptr(), FLAGS) };
            if handle.is_null() {
                continue;
            }
            // SAFETY: `handle` was just returned by dlopen and is never closed.
            let symbol = unsafe { libc::dlsym(handle, c"crypt_r".as_ptr()) };
            if !symbol.is_null() {
                // SAFETY: crypt_r has this signature in every library of that name (crypt(3)); the handle stays open.
                return Some(unsafe { std::mem::transmute::<*mut c_void, CryptR>(symbol) });
            }
        }
        None
    })
}

/// Whether there is a crypt(3) on this machine.
pub fn is_available() -> bool {
    library().is_some()
}

/// Whether `password` has this hash. False for hashes that the library does not know.
pub fn matches(password: &[u8], hash: &str) -> bool {
    let (Some(crypt), Ok(password), Ok(hash)) =
        (library(), CString::new(password), CString::new(hash))
    else {
        return false;
    };
    // Zeroed, as crypt_r wants it, and aligned for the integers in it.
    let mut data = vec![0u64; DATA_BYTES.div_ceil(8)];
    // SAFETY: both strings end with NUL and live through the call; `data` is zeroed and large enough for every crypt_data.
    let result = unsafe { crypt(password.as_ptr(), hash.as_ptr(), data.as_mut_ptr().cast()) };
    if result.is_null() {
        return false;
    }
    // SAFETY: the result points to a string in `data`, which ends with NUL and is still there.
    let result = unsafe { CStr::from_ptr(result) };
    result == hash.as_c_str() && !result.to_bytes().starts_with(b"*")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_system() {
        assert!(is_available(), "libcrypt.so.1 is part of every Debian");
        // From the specification of these hashes.
        let sha512 = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1";
        assert!(matches(b"Hello world!", sha512));
        assert!(!matches(b"wrong", sha512));
        assert!(!matches(b"Hello world!", "*0"));
        assert!(!matches(b"Hello world!", ""));
        assert!(!matches(b"a\0b", sha512));
    }
}
