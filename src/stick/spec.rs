//! What a table stores: key types, data types and the declaration of one table (configuration manual, "stick-table").

/// The type of a table's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// IPv4 address, 4 bytes in network order (`type ip`).
    Ip,
    /// IPv6 address, 16 bytes in network order (`type ipv6`).
    Ipv6,
    /// 32-bit integer (`type integer`).
    Integer,
    /// String of at most `len` bytes (`type string`).
    String,
    /// Exactly `len` bytes, padded with zeros on the right (`type binary`).
    Binary,
}

/// A data type that an entry may store. The discriminant is the number that the peers protocol uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)] // the names are the manual's own
pub enum DataType {
    ServerId = 0,
    Gpt0 = 1,
    Gpc0 = 2,
    Gpc0Rate = 3,
    ConnCnt = 4,
    ConnRate = 5,
    ConnCur = 6,
    SessCnt = 7,
    SessRate = 8,
    HttpReqCnt = 9,
    HttpReqRate = 10,
    HttpErrCnt = 11,
    HttpErrRate = 12,
    BytesInCnt = 13,
    BytesInRate = 14,
    BytesOutCnt = 15,
    BytesOutRate = 16,
    Gpc1 = 17,
    Gpc1Rate = 18,
    ServerKey = 19,
    HttpFailCnt = 20,
    HttpFailRate = 21,
    Gpt = 22,
    Gpc = 23,
    GpcRate = 24,
    GlitchCnt = 25,
    GlitchRate = 26,
}

/// One data type as a table stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredType {
    /// Which data type.
    pub data_type: DataType,
    /// Number of elements: 1, or the array size of `gpt(n)`, `gpc(n)`, `gpc_rate(n,period)` (1 to 100).
    pub elements: u32,
    /// Period of a rate in milliseconds; 0 for what is not a rate.
    pub period_ms: u32,
}

/// Whether `server_key` holds the server's name or its address (`srvkey name|addr`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ServerKeyKind {
    /// The server's name (default).
    #[default]
    Name,
    /// The server's address and port.
    Address,
}

/// The declaration of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSpec {
    /// Name as operators and rules use it: the proxy's name, or `SECTION/NAME` for a table of a peers section.
    pub name: String,
    /// Name on the wire of the peers protocol: the proxy's name, or `/NAME`.
    pub wire_name: String,
    /// Type of the keys.
    pub key_type: KeyType,
    /// Longest key in bytes: `len` for string and binary (32 when not given; the peers protocol announces `len` + 1 for
    /// string with `len`, and 32 for string without), else the size of the type. See `string_len_given`.
    pub key_len: u32,
    /// Most entries the table can hold. The suffixes k, m, g are powers of 1024.
    pub size: u32,
    /// Lifetime of an untouched entry in milliseconds; 0: entries never expire.
    pub expire_ms: u32,
    /// `nopurge`: a full table refuses new entries instead of evicting.
    pub nopurge: bool,
    /// What an entry stores, ascending by data type, each at most once.
    pub store: Vec<StoredType>,
    /// What `server_key` holds.
    pub server_key_kind: ServerKeyKind,
    /// Name of the peers section that replicates the table.
    pub peers: Option<String>,
}
