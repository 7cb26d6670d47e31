//! The environment of the process.

use std::ffi::{OsStr, OsString};

/// Makes the environment what `wanted` says: variables that are not in it are removed, those that differ are set. Names
/// that no variable can have (empty, with `=` or a NUL) are left out, and so are values with a NUL.
pub fn replace(wanted: &[(String, String)]) {
    for (name, value) in std::env::vars_os() {
        let kept = wanted
            .iter()
            .find(|(wanted, _)| *wanted == name.to_string_lossy());
        match kept {
            // The same text, be it that what is not UTF-8 was replaced in what we were given.
            Some((_, text)) if *text == value.to_string_lossy() => {}
            Some((_, text)) => set(&name, text.as_str().into()),
            None if is_name(&name.to_string_lossy()) => {
                // SAFETY: the process has one thread, so nobody reads the environment meanwhile; the name is valid.
                unsafe { std::env::remove_var(&name) };
            }
            None => {}
        }
    }
    for (name, value) in wanted {
        if std::env::var_os(name).is_none() {
            set(OsStr::new(name), value.into());
        }
    }
}

fn set(name: &OsStr, value: OsString) {
    if is_name(&name.to_string_lossy()) && !value.to_string_lossy().contains('\0') {
        // SAFETY: the process has one thread, so nobody reads the environment meanwhile; name and value are valid.
        unsafe { std::env::set_var(name, value) };
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}
