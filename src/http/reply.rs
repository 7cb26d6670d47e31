//! Answers of our own: the built-in pages, byte for byte those of HAProxy 2.6, oddities included (407 is "Unauthorized", the text of
//! 501 begins with a dot). Each was taken from a running HAProxy.
//!
//! HAProxy answers in one of two ways. Normally a page goes through its header rewriting: lower-case names, and a
//! `connection: close` at the end of the head when it closes. When it cannot parse a request, or waits for one in vain, it
//! sends the raw page with `Connection: close` in the middle. Both are here.

use super::page::Page;

/// The statuses that have a built-in page, which `errorfile` and its kin may replace; 200 is the answer to `monitor-uri`.
pub const STATUSES: [u16; 19] = [
    200, 400, 401, 403, 404, 405, 407, 408, 410, 413, 421, 422, 425, 429, 500, 501, 502, 503, 504,
];

/// The built-in pages, in the order of [`STATUSES`].
pub fn builtin_pages() -> Vec<Page> {
    let parse = |page: &BuiltIn| Page::parse(page.text.as_bytes()).unwrap_or_default();
    PAGES.iter().map(parse).collect()
}

/// The answer to a request that cannot be parsed (400, 422) or never came (408); closes. Others get that of 400.
pub fn raw(status: u16) -> &'static str {
    let mut pages = PAGES.iter();
    pages
        .find(|page| page.status == status)
        .map_or(PAGES[1].raw, |page| page.raw)
}

struct BuiltIn {
    status: u16,
    /// The page, to be parsed.
    text: &'static str,
    raw: &'static str,
}

/// 400, 408 and 422 say `Connection: close` from the start.
macro_rules! page {
    ($status:literal, $reason:literal, $length:literal, $text:literal) => {
        page!($status, $reason, $length, $text, "")
    };
    ($status:literal, $reason:literal, $length:literal, $text:literal, $connection:literal) => {
        BuiltIn {
            status: $status,
            text: concat!(
                "HTTP/1.1 ", $status, " ", $reason, "\r\nContent-length: ", $length, "\r\nCache-Control: no-cache\r\n",
                $connection, "Content-Type: text/html\r\n\r\n<html><body><h1>", $status, " ", $reason, "</h1>\n", $text,
                "\n</body></html>\n"
            ),
            raw: concat!(
                "HTTP/1.1 ", $status, " ", $reason, "\r\nContent-length: ", $length,
                "\r\nCache-Control: no-cache\r\nConnection: close\r\nContent-Type: text/html\r\n\r\n<html><body><h1>",
                $status, " ", $reason, "</h1>\n", $text, "\n</body></html>\n"
            ),
        }
    };
}

static PAGES: [BuiltIn; STATUSES.len()] = [
    page!(200, "OK", "58", "Service ready."),
    page!(
        400,
        "Bad request",
        "90",
        "Your browser sent an invalid request.",
        "Connection: close\r\n"
    ),
    page!(
        401,
        "Unauthorized",
        "112",
        "You need a valid user and password to access this content."
    ),
    page!(
        403,
        "Forbidden",
        "93",
        "Request forbidden by administrative rules."
    ),
    page!(404, "Not Found", "83", "The resource could not be found."),
    page!(
        405,
        "Method Not Allowed",
        "146",
        "A request was made of a resource using a request method not supported by that resource"
    ),
    page!(
        407,
        "Unauthorized",
        "112",
        "You need a valid user and password to access this content."
    ),
    page!(
        408,
        "Request Time-out",
        "110",
        "Your browser didn't send a complete request in time.",
        "Connection: close\r\n"
    ),
    page!(
        410,
        "Gone",
        "114",
        "The resource is no longer available and will not be available again."
    ),
    page!(
        413,
        "Payload Too Large",
        "106",
        "The request entity exceeds the maximum allowed."
    ),
    page!(
        421,
        "Misdirected Request",
        "104",
        "Request sent to a non-authoritative server."
    ),
    page!(
        422,
        "Unprocessable Content",
        "116",
        "The server cannot process the contained instructions.",
        "Connection: close\r\n"
    ),
    page!(425, "Too Early", "80", "Your browser sent early data."),
    page!(
        429,
        "Too Many Requests",
        "117",
        "You have sent too many requests in a given amount of time."
    ),
    page!(
        500,
        "Internal Server Error",
        "97",
        "An internal server error occurred."
    ),
    page!(
        501,
        "Not Implemented",
        "136",
        ".The server does not support the functionality required to fulfill the request."
    ),
    page!(
        502,
        "Bad Gateway",
        "107",
        "The server returned an invalid or incomplete response."
    ),
    page!(
        503,
        "Service Unavailable",
        "107",
        "No server is available to handle this request."
    ),
    page!(
        504,
        "Gateway Time-out",
        "92",
        "The server didn't respond in time."
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Method;

    #[test]
    fn every_status_has_a_page_that_says_its_length() {
        for ((status, page), builtin) in STATUSES.iter().zip(builtin_pages()).zip(&PAGES) {
            assert_eq!(*status, builtin.status);
            // Page::parse compares the length that is said with the one that is there.
            assert!(!page.is_empty(), "{status}");
            assert_eq!(
                Page::parse(raw(*status).as_bytes()).map(|page| page.closes),
                Ok(true)
            );
            let start = format!("HTTP/1.1 {status} ");
            assert!(page.message(Method::Get).starts_with(start.as_bytes()));
        }
    }

    #[test]
    fn pages_are_those_of_haproxy() {
        let pages = builtin_pages();
        let check = |status: u16, closes: bool, expected: &str| {
            let index = STATUSES.iter().position(|other| *other == status).unwrap();
            let text = String::from_utf8_lossy(pages[index].message(Method::Get));
            assert_eq!((text.as_ref(), pages[index].closes), (expected, closes));
        };
        check(
            503,
            false,
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 107\r\ncache-control: no-cache\r\n\
             content-type: text/html\r\n\r\n<html><body><h1>503 Service Unavailable</h1>\n\
             No server is available to handle this request.\n</body></html>\n",
        );
        check(
            400,
            true,
            "HTTP/1.1 400 Bad request\r\ncontent-length: 90\r\ncache-control: no-cache\r\ncontent-type: text/html\r\n\r\n\
             <html><body><h1>400 Bad request</h1>\nYour browser sent an invalid request.\n</body></html>\n",
        );
        assert_eq!(
            raw(400),
            "HTTP/1.1 400 Bad request\r\nContent-length: 90\r\nCache-Control: no-cache\r\nConnection: close\r\n\
             Content-Type: text/html\r\n\r\n<html><body><h1>400 Bad request</h1>\n\
             Your browser sent an invalid request.\n</body></html>\n",
        );
    }
}
