//! Parts of a request target, as HAProxy's `path`, `query`, `urlp` and `base` see them. Pure functions on slices.

/// The path of a target: from the first `/` (after the authority of an absolute target) to `?` or the end, a fragment cut off;
/// `None` for `*` and for an authority.
pub fn path(target: &[u8]) -> Option<&[u8]> {
    let _ = target;
    todo!()
}

/// What follows the first `?`; empty when there is none.
pub fn query(target: &[u8]) -> &[u8] {
    let _ = target;
    todo!()
}

/// Path and query (`pathq`).
pub fn path_and_query(target: &[u8]) -> Option<&[u8]> {
    let _ = target;
    todo!()
}

/// The authority of an absolute target (`http://HOST:PORT/…`).
pub fn authority(target: &[u8]) -> Option<&[u8]> {
    let _ = target;
    todo!()
}

/// Value of the first parameter `name` in the query (`urlp`); parameters are separated by `&`, or by `;`, or by
/// `separator` when one is given.
pub fn parameter<'a>(target: &'a [u8], name: &[u8], separator: Option<u8>) -> Option<&'a [u8]> {
    let _ = (target, name, separator);
    todo!()
}
