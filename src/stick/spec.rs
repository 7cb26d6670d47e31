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

impl KeyType {
    /// Name in a configuration, in `show table` and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            KeyType::Ip => "ip",
            KeyType::Ipv6 => "ipv6",
            KeyType::Integer => "integer",
            KeyType::String => "string",
            KeyType::Binary => "binary",
        }
    }
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
    /// Longest key in bytes. string and binary: `len`; without it 31 for string (HAProxy counts the NUL in its default of
    /// 32) and 32 for binary. Else the size of the type. At most `stick::key::KEY_LEN_MAX`.
    pub key_len: u32,
    /// Most entries the table can hold. The suffixes k, m, g are powers of 1024.
    pub size: u32,
    /// Lifetime of an untouched entry in milliseconds; 0: entries never expire.
    pub expire_ms: u32,
    /// `nopurge`: a full table refuses new entries instead of evicting.
    pub nopurge: bool,
    /// `expire-absolute`, which is burdock's own: the lifetime counts from an entry's creation; no use of the entry extends it.
    pub expire_absolute: bool,
    /// What an entry stores, ascending by data type, each at most once.
    pub store: Vec<StoredType>,
    /// What `server_key` holds.
    pub server_key_kind: ServerKeyKind,
    /// Name of the peers section that replicates the table.
    pub peers: Option<String>,
}

/// What a data type holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataClass {
    /// Signed 32 bits (`server_id`).
    Signed32,
    /// Unsigned 32 bits.
    Unsigned32,
    /// Unsigned 64 bits.
    Unsigned64,
    /// Events per period.
    Rate,
    /// A string (`server_key`).
    Name,
}

impl DataType {
    /// All types, ascending by number.
    pub const ALL: [DataType; 27] = {
        use DataType::*;
        [
            ServerId,
            Gpt0,
            Gpc0,
            Gpc0Rate,
            ConnCnt,
            ConnRate,
            ConnCur,
            SessCnt,
            SessRate,
            HttpReqCnt,
            HttpReqRate,
            HttpErrCnt,
            HttpErrRate,
            BytesInCnt,
            BytesInRate,
            BytesOutCnt,
            BytesOutRate,
            Gpc1,
            Gpc1Rate,
            ServerKey,
            HttpFailCnt,
            HttpFailRate,
            Gpt,
            Gpc,
            GpcRate,
            GlitchCnt,
            GlitchRate,
        ]
    };

    /// The type with this number in the peers protocol.
    pub fn from_number(number: u64) -> Option<DataType> {
        usize::try_from(number)
            .ok()
            .and_then(|number| DataType::ALL.get(number))
            .copied()
    }

    /// Name in `store`, `show table` and `data.<name>`.
    pub fn name(self) -> &'static str {
        const NAMES: [&str; 27] = [
            "server_id",
            "gpt0",
            "gpc0",
            "gpc0_rate",
            "conn_cnt",
            "conn_rate",
            "conn_cur",
            "sess_cnt",
            "sess_rate",
            "http_req_cnt",
            "http_req_rate",
            "http_err_cnt",
            "http_err_rate",
            "bytes_in_cnt",
            "bytes_in_rate",
            "bytes_out_cnt",
            "bytes_out_rate",
            "gpc1",
            "gpc1_rate",
            "server_key",
            "http_fail_cnt",
            "http_fail_rate",
            "gpt",
            "gpc",
            "gpc_rate",
            "glitch_cnt",
            "glitch_rate",
        ];
        NAMES[self as usize]
    }

    /// The type with this name.
    pub fn from_name(name: &str) -> Option<DataType> {
        DataType::ALL
            .into_iter()
            .find(|data_type| data_type.name() == name)
    }

    /// What it holds (each element of it, for arrays).
    pub fn class(self) -> DataClass {
        use DataType::*;
        match self {
            ServerId => DataClass::Signed32,
            ServerKey => DataClass::Name,
            BytesInCnt | BytesOutCnt => DataClass::Unsigned64,
            Gpc0Rate | ConnRate | SessRate | HttpReqRate | HttpErrRate | BytesInRate
            | BytesOutRate | Gpc1Rate | HttpFailRate | GpcRate | GlitchRate => DataClass::Rate,
            Gpt0 | Gpc0 | ConnCnt | ConnCur | SessCnt | HttpReqCnt | HttpErrCnt | Gpc1
            | HttpFailCnt | Gpt | Gpc | GlitchCnt => DataClass::Unsigned32,
        }
    }

    /// Whether it takes a number of elements: `gpt(n)`, `gpc(n)`, `gpc_rate(n,period)`.
    pub fn is_array(self) -> bool {
        matches!(self, DataType::Gpt | DataType::Gpc | DataType::GpcRate)
    }
}

impl TableSpec {
    /// Key length as the peers protocol announces it: that of a string counts the terminating NUL.
    pub fn wire_key_len(&self) -> u32 {
        match self.key_type {
            KeyType::String => self.key_len.saturating_add(1),
            KeyType::Ip | KeyType::Ipv6 | KeyType::Integer | KeyType::Binary => self.key_len,
        }
    }

    /// How the table stores a type, if it does.
    pub fn stored(&self, data_type: DataType) -> Option<&StoredType> {
        self.store
            .iter()
            .find(|stored| stored.data_type == data_type)
    }
}
