//! As much HTTP/1 as measuring needs: where a head ends, how long a body is, whether the connection stays.

/// Headers a head may have here; more is an error.
const HEADERS_MAX: usize = 48;

/// What came is not HTTP/1, or has a framing that is not offered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotOffered;

/// What was found in a request's head.
#[derive(Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// Bytes of the head, the empty line included.
    pub head_bytes: usize,
    /// Bytes of the body.
    pub body_bytes: usize,
    /// Whether the connection ends after the answer.
    pub close: bool,
}

/// What was found in a response's head.
#[derive(Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// Bytes of the head, the empty line included.
    pub head_bytes: usize,
    /// The status code.
    pub status: u16,
    /// Bytes of the body; `None`: until the connection ends.
    pub body_bytes: Option<usize>,
    /// Whether the connection ends after the body.
    pub close: bool,
    /// FNV-1a of the header `X-Server`; 0 without one.
    pub server_hash: u64,
}

/// Reads a request's head: `Ok(None)` when it is not complete, `Err` when it is none.
pub fn request_head(bytes: &[u8]) -> Result<Option<RequestHead>, NotOffered> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let head_bytes = match request.parse(bytes) {
        Ok(httparse::Status::Complete(count)) => count,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(NotOffered),
    };
    let mut found = RequestHead {
        head_bytes,
        body_bytes: 0,
        close: request.version == Some(0),
    };
    for header in request.headers.iter() {
        if header.name.eq_ignore_ascii_case("connection") {
            found.close = closes(header.value, found.close);
        } else if header.name.eq_ignore_ascii_case("content-length") {
            found.body_bytes = number(header.value).ok_or(NotOffered)?;
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(NotOffered);
        }
    }
    Ok(Some(found))
}

/// Reads a response's head: `Ok(None)` when it is not complete, `Err` when it is none or has a framing not offered here.
pub fn response_head(bytes: &[u8]) -> Result<Option<ResponseHead>, NotOffered> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let head_bytes = match response.parse(bytes) {
        Ok(httparse::Status::Complete(count)) => count,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(NotOffered),
    };
    let mut found = ResponseHead {
        head_bytes,
        status: response.code.unwrap_or(0),
        body_bytes: None,
        close: response.version == Some(0),
        server_hash: 0,
    };
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("connection") {
            found.close = closes(header.value, found.close);
        } else if header.name.eq_ignore_ascii_case("content-length") {
            found.body_bytes = Some(number(header.value).ok_or(NotOffered)?);
        } else if header.name.eq_ignore_ascii_case("x-server") {
            found.server_hash = fnv1a(header.value);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(NotOffered);
        }
    }
    found.close |= found.body_bytes.is_none();
    Ok(Some(found))
}

/// The value of a cookie in a `Cookie` header's value.
pub fn cookie<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header.split(';').find_map(|pair| {
        let (found, value) = pair.split_once('=')?;
        (found.trim() == name).then_some(value.trim())
    })
}

fn closes(value: &[u8], before: bool) -> bool {
    if value.eq_ignore_ascii_case(b"close") {
        true
    } else if value.eq_ignore_ascii_case(b"keep-alive") {
        false
    } else {
        before
    }
}

fn number(value: &[u8]) -> Option<usize> {
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

/// The hash that stands for a server: FNV-1a of its name.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_found_and_measured() {
        assert_eq!(request_head(b"GET / HTTP/1.1\r\nHost: a\r\n"), Ok(None));
        let request =
            request_head(b"POST / HTTP/1.1\r\ncontent-length: 3\r\nConnection: close\r\n\r\nabc")
                .unwrap()
                .unwrap();
        assert_eq!((request.body_bytes, request.close), (3, true));
        assert!(
            !request_head(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                .unwrap()
                .unwrap()
                .close
        );
        let response =
            response_head(b"HTTP/1.1 200 OK\r\nX-Server: a\r\nContent-Length: 9\r\n\r\n")
                .unwrap()
                .unwrap();
        assert_eq!(
            (response.status, response.body_bytes, response.close),
            (200, Some(9), false)
        );
        assert_ne!(response.server_hash, 0);
        assert!(
            response_head(b"HTTP/1.1 200 OK\r\n\r\n")
                .unwrap()
                .unwrap()
                .close
        );
        assert!(response_head(b"nonsense\r\n\r\n").is_err());
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        assert_eq!(cookie("a=1; PHPSESSID=xyz; b=2", "PHPSESSID"), Some("xyz"));
        assert_eq!(cookie("XPHPSESSID=1", "PHPSESSID"), None);
    }
}
