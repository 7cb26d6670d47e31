//! What health checks say of a server: written by the checks, shown by the stats socket and in logs.

use crate::config::model;

/// `rise` of a server that is not checked.
const RISE_DEFAULT: u32 = 2;

/// How the last check went (management manual, section 9.1, `check_status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum CheckStatus {
    #[default]
    Initializing,
    SocketError,
    Layer4Passed,
    Layer4Timeout,
    Layer4Problem,
    Layer7Timeout,
    Layer7Invalid,
    Layer7Passed,
    Layer7WrongStatus,
}

impl CheckStatus {
    /// Short name: `check_status` of `show stat`.
    pub fn name(self) -> &'static str {
        match self {
            CheckStatus::Initializing => "INI",
            CheckStatus::SocketError => "SOCKERR",
            CheckStatus::Layer4Passed => "L4OK",
            CheckStatus::Layer4Timeout => "L4TOUT",
            CheckStatus::Layer4Problem => "L4CON",
            CheckStatus::Layer7Timeout => "L7TOUT",
            CheckStatus::Layer7Invalid => "L7RSP",
            CheckStatus::Layer7Passed => "L7OK",
            CheckStatus::Layer7WrongStatus => "L7STS",
        }
    }

    /// In words: `check_desc` of `show stat`, and the reason in logs.
    pub fn describe(self) -> &'static str {
        match self {
            CheckStatus::Initializing => "Initializing",
            CheckStatus::SocketError => "Socket error",
            CheckStatus::Layer4Passed => "Layer4 check passed",
            CheckStatus::Layer4Timeout => "Layer4 timeout",
            CheckStatus::Layer4Problem => "Layer4 connection problem",
            CheckStatus::Layer7Timeout => "Layer7 timeout",
            CheckStatus::Layer7Invalid => "Layer7 invalid response",
            CheckStatus::Layer7Passed => "Layer7 check passed",
            CheckStatus::Layer7WrongStatus => "Layer7 wrong status",
        }
    }

    /// Its number in `show servers state`.
    pub fn number(self) -> u8 {
        match self {
            CheckStatus::Initializing => 1,
            CheckStatus::SocketError => 5,
            CheckStatus::Layer4Passed => 6,
            CheckStatus::Layer4Timeout => 7,
            CheckStatus::Layer4Problem => 8,
            CheckStatus::Layer7Timeout => 12,
            CheckStatus::Layer7Invalid => 13,
            CheckStatus::Layer7Passed => 15,
            CheckStatus::Layer7WrongStatus => 17,
        }
    }

    /// The status with this number.
    pub fn from_number(number: u8) -> Option<CheckStatus> {
        use CheckStatus::*;
        [
            Initializing,
            SocketError,
            Layer4Passed,
            Layer4Timeout,
            Layer4Problem,
            Layer7Timeout,
            Layer7Invalid,
            Layer7Passed,
            Layer7WrongStatus,
        ]
        .into_iter()
        .find(|status| status.number() == number)
    }

    /// `srv_check_result` of `show servers state`: 0 unknown, 2 failed, 3 passed.
    pub fn result_number(self) -> u8 {
        match self {
            CheckStatus::Initializing => 0,
            CheckStatus::Layer4Passed | CheckStatus::Layer7Passed => 3,
            _ => 2,
        }
    }
}

/// The last check of a server, and its rise and fall counter.
#[derive(Clone, Debug, Default)]
pub struct CheckReport {
    /// How it went.
    pub status: CheckStatus,
    /// Status code of an HTTP check that got an answer (`check_code`).
    pub code: Option<u16>,
    /// How long it took, milliseconds; `None` before the first.
    pub duration_ms: Option<u64>,
    /// Details: an error, the reason phrase of the answer (`last_chk`).
    pub detail: String,
    /// Rise and fall counter, 0 to `rise + fall - 1`; up from `rise` on (`check_health`).
    pub health: u32,
    /// A check is under way.
    pub running: bool,
    /// Checks pause for maintenance. HAProxy says so too of a server that is disabled at start and not checked at all.
    pub paused: bool,
}

impl CheckReport {
    /// The report at start: up, and one failure away from counting as down, unless the server is disabled.
    pub fn new(spec: &model::Server) -> CheckReport {
        let rise = spec.check.as_ref().map_or(RISE_DEFAULT, |check| check.rise);
        CheckReport {
            health: if spec.disabled { 0 } else { rise },
            paused: spec.disabled,
            ..CheckReport::default()
        }
    }
}
