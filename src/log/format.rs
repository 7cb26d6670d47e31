//! Which line a finished stream writes.

use std::rc::Rc;

use crate::sample::format::Format;

/// Which line a finished stream writes (configuration manual, section 8.2).
#[derive(Clone, Debug, Default)]
pub enum LogFormat {
    /// Neither `option httplog` nor `tcplog`: "Connect from IP:PORT to IP:PORT (FRONTEND/MODE)".
    #[default]
    Connect,
    /// `option tcplog`.
    Tcp,
    /// `option httplog`; `clf` when true.
    Http {
        /// `option httplog clf`.
        clf: bool,
    },
    /// `log-format`.
    Custom(Rc<Format>),
}

impl LogFormat {
    /// Whether it is the default line, which says that there is a stream and nothing of how it ended.
    pub fn is_connect(&self) -> bool {
        matches!(self, LogFormat::Connect)
    }

    /// The format of `log-format`.
    pub fn custom(&self) -> Option<&Format> {
        match self {
            LogFormat::Custom(format) => Some(format),
            _ => None,
        }
    }
}
