//! Cookies, read as HAProxy's `req.cook` and `res.cook` read them.

use super::header::HeaderTable;

/// Value of the first cookie `name` in the Cookie headers.
pub fn request_cookie<'a>(
    headers: &'a HeaderTable,
    buffer: &'a [u8],
    name: &[u8],
) -> Option<&'a [u8]> {
    let _ = (headers, buffer, name);
    todo!()
}

/// Value of the first cookie `name` in the Set-Cookie headers.
pub fn response_cookie<'a>(
    headers: &'a HeaderTable,
    buffer: &'a [u8],
    name: &[u8],
) -> Option<&'a [u8]> {
    let _ = (headers, buffer, name);
    todo!()
}
