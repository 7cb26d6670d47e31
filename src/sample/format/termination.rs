//! The termination state: how a stream ended (configuration manual, section 8.5).

/// Who or what ended the stream: the first letter of the termination state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Cause {
    /// `-`: normal completion.
    #[default]
    Normal = b'-',
    /// `C`: the client unexpectedly aborted the connection.
    ClientAbort = b'C',
    /// `S`: the server aborted or refused the connection.
    ServerAbort = b'S',
    /// `P`: the proxy aborted: a security check, a limit, an invalid message.
    Proxy = b'P',
    /// `L`: answered by the proxy itself (redirect, statistics).
    Local = b'L',
    /// `R`: a resource of the proxy was exhausted.
    Resource = b'R',
    /// `I`: an internal error.
    Internal = b'I',
    /// `D`: killed because the server went down (`on-marked-down shutdown-sessions`).
    ServerDown = b'D',
    /// `U`: killed because a primary server came back (`on-marked-up shutdown-backup-sessions`).
    ServerUp = b'U',
    /// `K`: killed by an administrator.
    Killed = b'K',
    /// `c`: the client-side timeout expired while waiting for the client.
    ClientTimeout = b'c',
    /// `s`: the server-side timeout expired while waiting for the server.
    ServerTimeout = b's',
}

/// What the stream was doing when it ended: the second letter of the termination state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Phase {
    /// `-`: everything was transferred.
    #[default]
    Done = b'-',
    /// `R`: waiting for a complete, valid request from the client.
    Request = b'R',
    /// `Q`: waiting in the queue for a connection slot.
    Queue = b'Q',
    /// `C`: waiting for the connection to the server.
    Connect = b'C',
    /// `H`: waiting for complete, valid response headers from the server.
    Headers = b'H',
    /// `D`: the transfer of data was going on.
    Data = b'D',
    /// `L`: the last data were still on their way to the client after the server had finished.
    Last = b'L',
    /// `T`: the request was tarpitted.
    Tarpit = b'T',
}

/// How a stream ended. The first failure is the one that counts: [`Termination::set`] keeps what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Termination {
    /// First letter.
    pub cause: Cause,
    /// Second letter.
    pub phase: Phase,
}

impl Termination {
    /// A termination state.
    pub const fn new(cause: Cause, phase: Phase) -> Self {
        Self { cause, phase }
    }

    /// Notes how the stream ended, unless a cause is known already: the first failure explains those that follow it.
    pub fn set(&mut self, cause: Cause, phase: Phase) {
        if self.cause == Cause::Normal {
            self.cause = cause;
        }
        if self.phase == Phase::Done {
            self.phase = phase;
        }
    }

    /// The two letters (`%ts`).
    pub fn letters(self) -> [u8; 2] {
        [self.cause as u8, self.phase as u8]
    }

    /// Neither a failure nor a local answer.
    pub fn is_normal(self) -> bool {
        matches!(self.cause, Cause::Normal | Cause::Local)
    }
}

/// What the persistence cookie of the backend did: the third and fourth letter of `%tsc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CookieState {
    /// What the client sent: `N` no cookie, `I` invalid, `D` for a server that is down, `V` valid, `E` expired, `O` too old,
    /// `U` unknown; `-` without a persistence cookie.
    pub request: u8,
    /// What the response got: `N` none, `I` inserted, `U` updated, `P` provided by the server, `R` rewritten, `D` deleted; `-`.
    pub response: u8,
}

impl Default for CookieState {
    fn default() -> CookieState {
        CookieState {
            request: b'-',
            response: b'-',
        }
    }
}

impl CookieState {
    /// The two letters.
    pub fn letters(self) -> [u8; 2] {
        [self.request, self.response]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cause_stays() {
        let mut state = Termination::default();
        assert_eq!(&state.letters(), b"--");
        state.set(Cause::ServerAbort, Phase::Headers);
        state.set(Cause::ClientAbort, Phase::Data);
        assert_eq!(&state.letters(), b"SH");
    }
}
