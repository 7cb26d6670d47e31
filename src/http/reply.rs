//! Replies that the proxy makes itself: the built-in pages, byte for byte those of HAProxy 2.6, oddities included (407 is
//! "Unauthorized", the text of 501 begins with a dot). Each was taken from a running HAProxy.
//!
//! HAProxy writes a page in one of two ways. Normally the page goes through its header rewriting: lower-case names, and a
//! `connection: close` at the end of the head when it closes. When it cannot parse a request, or waits for one in vain, it
//! sends the raw page with `Connection: close` in the middle. Both are here.

/// How a built-in reply speaks of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyForm {
    /// The connection stays open (an HTTP/1.1 client).
    Keep,
    /// The connection stays open and the client, which speaks HTTP/1.0, has to be told.
    KeepHttp10,
    /// The connection is closed after the reply.
    Close,
    /// As HAProxy answers what it could not parse (400, 422) or never got (408 of `timeout http-request`); closes.
    Raw,
}

/// A built-in reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Builtin {
    /// Head and body.
    pub bytes: &'static [u8],
    /// Bytes of the head.
    pub head_bytes: usize,
}

impl Builtin {
    /// The head alone, for HEAD requests.
    pub fn head(&self) -> &'static [u8] {
        &self.bytes[..self.head_bytes]
    }
}

/// The built-in reply for a status; 200 is the answer to `monitor-uri`. A status without a page gets 500's.
pub fn builtin(status: u16, form: ReplyForm) -> Builtin {
    let page = PAGES
        .iter()
        .find(|page| page.status == status)
        .or_else(|| PAGES.iter().find(|page| page.status == 500));
    let bytes = page.map_or(&b""[..], |page| match form {
        ReplyForm::Keep => page.keep,
        ReplyForm::KeepHttp10 => page.keep_http10,
        ReplyForm::Close => page.close,
        ReplyForm::Raw => page.raw,
    });
    let head_bytes = bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .map_or(bytes.len(), |at| at + 4);
    Builtin { bytes, head_bytes }
}

struct Page {
    status: u16,
    keep: &'static [u8],
    keep_http10: &'static [u8],
    close: &'static [u8],
    raw: &'static [u8],
}

macro_rules! page {
    ($status:literal, $reason:literal, $length:literal, $text:literal) => {
        Page {
            status: $status,
            keep: page!(@lower $status, $reason, $length, $text, ""),
            keep_http10: page!(@lower $status, $reason, $length, $text, "connection: keep-alive\r\n"),
            close: page!(@lower $status, $reason, $length, $text, "connection: close\r\n"),
            raw: concat!(
                "HTTP/1.1 ", $status, " ", $reason, "\r\nContent-length: ", $length,
                "\r\nCache-Control: no-cache\r\nConnection: close\r\nContent-Type: text/html\r\n\r\n<html><body><h1>",
                $status, " ", $reason, "</h1>\n", $text, "\n</body></html>\n"
            )
            .as_bytes(),
        }
    };
    (@lower $status:literal, $reason:literal, $length:literal, $text:literal, $connection:literal) => {
        concat!(
            "HTTP/1.1 ", $status, " ", $reason, "\r\ncontent-length: ", $length,
            "\r\ncache-control: no-cache\r\ncontent-type: text/html\r\n", $connection, "\r\n<html><body><h1>",
            $status, " ", $reason, "</h1>\n", $text, "\n</body></html>\n"
        )
        .as_bytes()
    };
}

static PAGES: [Page; 19] = [
    page!(200, "OK", "58", "Service ready."),
    page!(
        400,
        "Bad request",
        "90",
        "Your browser sent an invalid request."
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
        "Your browser didn't send a complete request in time."
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
        "The server cannot process the contained instructions."
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

    #[test]
    fn pages_say_their_length() {
        for page in &PAGES {
            for form in [
                ReplyForm::Keep,
                ReplyForm::KeepHttp10,
                ReplyForm::Close,
                ReplyForm::Raw,
            ] {
                let reply = builtin(page.status, form);
                let head = String::from_utf8(reply.head().to_vec()).unwrap();
                let length = head
                    .lines()
                    .find_map(|line| {
                        line.to_ascii_lowercase()
                            .strip_prefix("content-length: ")
                            .map(str::to_owned)
                    })
                    .unwrap();
                assert_eq!(
                    length.parse::<usize>().unwrap(),
                    reply.bytes.len() - reply.head_bytes,
                    "{head}"
                );
                assert!(head.starts_with(&format!("HTTP/1.1 {} ", page.status)));
            }
        }
    }

    #[test]
    fn pages_are_those_of_haproxy() {
        let check = |status, form, expected: &str| {
            assert_eq!(
                String::from_utf8_lossy(builtin(status, form).bytes),
                expected
            );
        };
        check(
            503,
            ReplyForm::Keep,
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 107\r\ncache-control: no-cache\r\n\
             content-type: text/html\r\n\r\n<html><body><h1>503 Service Unavailable</h1>\n\
             No server is available to handle this request.\n</body></html>\n",
        );
        check(
            403,
            ReplyForm::Close,
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 93\r\ncache-control: no-cache\r\ncontent-type: text/html\r\n\
             connection: close\r\n\r\n<html><body><h1>403 Forbidden</h1>\n\
             Request forbidden by administrative rules.\n</body></html>\n",
        );
        check(
            400,
            ReplyForm::Raw,
            "HTTP/1.1 400 Bad request\r\nContent-length: 90\r\nCache-Control: no-cache\r\nConnection: close\r\n\
             Content-Type: text/html\r\n\r\n<html><body><h1>400 Bad request</h1>\n\
             Your browser sent an invalid request.\n</body></html>\n",
        );
        assert_eq!(builtin(999, ReplyForm::Keep), builtin(500, ReplyForm::Keep));
    }
}
