//! What the process is doing now, as fetches ask for it: connections, queues, servers that are up.
//!
//! The numbers are kept in layers above this one; [`State`] is how an expression reads them.
//!
//! Not here: the numbers (`backend`).

/// A number of a proxy. Frontend numbers come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each name is that of its fetch
pub enum ProxyFact {
    FeConn,
    FeReqRate,
    FeSessRate,
    AvgQueue,
    BeConn,
    BeConnFree,
    BeSessRate,
    ConnSlots,
    NbSrv,
    Queue,
    /// `timeout client`, milliseconds.
    ClientTimeout,
    /// `timeout server`, milliseconds.
    ServerTimeout,
    /// `timeout tunnel`, milliseconds.
    TunnelTimeout,
}

/// A number of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each name is that of its fetch
pub enum ServerFact {
    Conn,
    ConnFree,
    IsUp,
    Iweight,
    Queue,
    SessRate,
    Uweight,
    Weight,
}

/// The running proxies and servers; indices are those of the model.
pub trait State {
    /// A number of a proxy now; `None` when it has none.
    fn proxy(&self, proxy: usize, fact: ProxyFact, now_ms: u64) -> Option<i64>;
    /// A number of a server now; booleans are 0 and 1.
    fn server(&self, proxy: usize, server: usize, fact: ServerFact, now_ms: u64) -> Option<i64>;
    /// Name of the default backend of a proxy.
    fn default_backend(&self, proxy: usize) -> Option<&str>;
    /// Connections on one of a proxy's `bind`s now.
    fn listener_connections(&self, proxy: usize, bind: usize) -> Option<i64>;
    /// Name and `id` of a server.
    fn server_identity(&self, proxy: usize, server: usize) -> Option<(&str, u32)>;
    /// Index of the proxy with backend capability of that name.
    fn backend_named(&self, name: &[u8]) -> Option<usize>;
    /// Indices of `backend/server`.
    fn server_named(&self, backend: &[u8], server: &[u8]) -> Option<(usize, usize)>;
}
