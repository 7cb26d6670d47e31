//! Where an expression may be used: the places of a configuration, and what information each of them has at hand.
//!
//! The sets are those that `haproxy -dKsmp` prints beside every fetch.

/// A place of a configuration where expressions are evaluated, in the order of HAProxy's `-dKsmp` listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)] // each name is the one of `describe`
pub enum Place {
    FrontendTcpConnection,
    FrontendTcpSession,
    FrontendTcpContent,
    FrontendHttpRequest,
    FrontendHttpRequestBody,
    FrontendUseBackend,
    BackendTcpContent,
    BackendHttpRequest,
    BackendHttpRequestBody,
    /// `use-server`, `balance`, `stick on`, `stick match`, `stick store-request`.
    BackendServerSelection,
    /// `source … usesrc`.
    ServerSource,
    BackendTcpResponse,
    BackendHttpResponse,
    BackendHttpResponseBody,
    /// `stick store-response`.
    BackendStickStore,
    FrontendTcpResponse,
    FrontendHttpResponse,
    FrontendHttpResponseBody,
    Log,
    TcpCheck,
    ConfigParser,
    CliParser,
}

impl Place {
    /// The place in HAProxy's words, e.g. `frontend use-backend rule`.
    pub fn describe(self) -> &'static str {
        match self {
            Place::FrontendTcpConnection => "frontend tcp-request connection rule",
            Place::FrontendTcpSession => "frontend tcp-request session rule",
            Place::FrontendTcpContent => "frontend tcp-request content rule",
            Place::FrontendHttpRequest => "frontend http-request header rule",
            Place::FrontendHttpRequestBody => "frontend http-request body rule",
            Place::FrontendUseBackend => "frontend use-backend rule",
            Place::BackendTcpContent => "backend tcp-request content rule",
            Place::BackendHttpRequest => "backend http-request header rule",
            Place::BackendHttpRequestBody => "backend http-request body rule",
            Place::BackendServerSelection => "backend use-server, balance or stick-match rule",
            Place::ServerSource => "server source selection",
            Place::BackendTcpResponse => "backend tcp-response content rule",
            Place::BackendHttpResponse => "backend http-response header rule",
            Place::BackendHttpResponseBody => "backend http-response body rule",
            Place::BackendStickStore => "backend stick-store rule",
            Place::FrontendTcpResponse => "frontend tcp-response content rule",
            Place::FrontendHttpResponse => "frontend http-response header rule",
            Place::FrontendHttpResponseBody => "frontend http-response body rule",
            Place::Log => "logs",
            Place::TcpCheck => "backend tcp-check rule",
            Place::ConfigParser => "configuration parser",
            Place::CliParser => "CLI parser",
        }
    }
}

/// A set of places: bit n is the place with discriminant n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places(u32);

impl Places {
    /// Everywhere.
    pub const ALL: Places = Places((1 << (Place::CliParser as u32 + 1)) - 1);

    /// From a line of HAProxy's listing: one letter a place, `Y` where it is available.
    const fn listed(line: &str) -> Places {
        let letters = line.as_bytes();
        assert!(letters.len() == Place::CliParser as usize + 1);
        let mut set = 0;
        let mut place = 0;
        while place < letters.len() {
            if letters[place] == b'Y' {
                set |= 1 << place;
            }
            place += 1;
        }
        Places(set)
    }

    /// Whether the set has the place.
    pub const fn contains(self, place: Place) -> bool {
        self.0 & (1 << place as u32) != 0
    }

    /// The places that both sets have.
    pub const fn and(self, other: Places) -> Places {
        Places(self.0 & other.0)
    }
}

/// Where the information of a fetch comes from; it decides in which places it is available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each name is the one of `describe`
pub enum Source {
    Constant,
    Internal,
    Listener,
    Frontend,
    Backend,
    Client,
    HttpRequest,
    HttpResponse,
    /// The request's method: kept until the stream ends.
    RequestLine,
    ResponseLine,
    /// The server that was chosen.
    Server,
    /// The connection to the server.
    ServerAddress,
    /// What has come from the client, whatever it is.
    RequestBuffer,
    /// What has come from the server, whatever it is.
    ResponseBuffer,
    /// `payload`: the direction in which the expression is used.
    EitherBuffer,
    /// `hdr`, `cookie`: the message of the direction in which the expression is used.
    HttpEither,
}

impl Source {
    /// Whether what a fetch reads are bytes of a connection, and no HTTP message.
    pub fn is_bytes(self) -> bool {
        matches!(
            self,
            Source::RequestBuffer | Source::ResponseBuffer | Source::EitherBuffer
        )
    }

    /// The source in HAProxy's words, e.g. `HTTP request headers`.
    pub fn describe(self) -> &'static str {
        match self {
            Source::Constant => "internal constant",
            Source::Internal => "internal state",
            Source::Listener => "listener",
            Source::Frontend => "frontend",
            Source::Backend => "backend",
            Source::Client => "client address",
            Source::HttpRequest => "HTTP request headers",
            Source::HttpResponse => "HTTP response headers",
            Source::RequestLine => "HTTP request",
            Source::ResponseLine => "HTTP response",
            Source::Server => "server",
            Source::ServerAddress => "server address",
            Source::RequestBuffer => "request buffer",
            Source::ResponseBuffer => "response buffer",
            Source::EitherBuffer => "request buffer,response buffer",
            Source::HttpEither => "HTTP request headers,HTTP response headers",
        }
    }

    /// Where information of this source is available.
    pub const fn places(self) -> Places {
        match self {
            Source::Constant => Places::ALL,
            Source::Internal => Places::listed("YYYYYYYYYYYYYYYYYYYY.Y"),
            Source::Client => Places::listed("YYYYYYYYYYYYYYYYYYYY.."),
            Source::Listener | Source::Frontend => Places::listed("YYYYYYYYYYYYYYYYYYY..."),
            Source::Backend => Places::listed("......YYYYYYYYYYYYYY.."),
            Source::Server => Places::listed("..........YYYYYYYYYY.."),
            Source::HttpRequest | Source::RequestBuffer => Places::listed("..YYYYYYYYY..........."),
            Source::HttpResponse | Source::ResponseBuffer => {
                Places::listed("...........YYYYYYY.Y..")
            }
            Source::RequestLine => Places::listed("..YYYYYYYYYYYYYYYYY..."),
            Source::ResponseLine | Source::ServerAddress => {
                Places::listed("...........YYYYYYYYY..")
            }
            Source::HttpEither | Source::EitherBuffer => Places::listed("..YYYYYYYYYYYYYYYY.Y.."),
        }
    }
}
