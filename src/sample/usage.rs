//! Where an expression may be used: the places of a configuration, and what information each of them has at hand.

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

/// A set of places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places(pub u32);

impl Places {
    /// Everywhere.
    pub const ALL: Places = Places((1 << 22) - 1);

    /// Whether the set has the place.
    pub const fn contains(self, place: Place) -> bool {
        self.0 & (1 << place as u8) != 0
    }
}

impl Place {
    /// The place in HAProxy's words, e.g. `frontend use-backend rule`.
    pub fn describe(self) -> &'static str {
        todo!()
    }
}

/// Where the information of a fetch comes from; it decides in which places it is available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each name is the one of `describe`
pub enum Source {
    Constant,
    Internal,
    Listener,
    Layer4Client,
    HttpRequestHeaders,
    HttpResponseHeaders,
}

impl Source {
    /// The source in HAProxy's words, e.g. `HTTP request headers`.
    pub fn describe(self) -> &'static str {
        todo!()
    }

    /// Where information of this source is available.
    pub fn places(self) -> Places {
        todo!()
    }
}
