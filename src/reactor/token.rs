//! Tokens: what an event is for. A token carries the kind of object, its slab index and a generation, so that a stale
//! event (the object closed earlier in the same turn, its slot already reused) cannot reach a successor.

/// Who an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A listening socket of a frontend.
    Listener = 0,
    /// The client side of a stream.
    Client = 1,
    /// A connection to a server, owned by a stream or idle in a pool.
    Server = 2,
    /// A listening socket of a peers section.
    PeerListener = 3,
    /// A connection to or from a peer.
    Peer = 4,
    /// A health check.
    Check = 5,
    /// A stats socket.
    StatsListener = 6,
    /// A client of a stats socket.
    StatsSession = 7,
    /// Signals and the line to the master.
    Control = 8,
    /// The worker's own periodic work.
    Housekeeping = 9,
    /// A line to another generation of the worker.
    Line = 10,
}

const KINDS: [Kind; 11] = [
    Kind::Listener,
    Kind::Client,
    Kind::Server,
    Kind::PeerListener,
    Kind::Peer,
    Kind::Check,
    Kind::StatsListener,
    Kind::StatsSession,
    Kind::Control,
    Kind::Housekeeping,
    Kind::Line,
];

/// An unpacked token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// Kind of object.
    pub kind: Kind,
    /// Its index among its kind.
    pub index: u32,
    /// How often the slot had been used before, modulo 2^24.
    pub generation: u32,
}

const GENERATION_MASK: u32 = (1 << 24) - 1;

impl Token {
    /// A token; the generation is cut to 24 bits.
    pub fn new(kind: Kind, index: u32, generation: u32) -> Token {
        Token {
            kind,
            index,
            generation: generation & GENERATION_MASK,
        }
    }

    /// Packs into what mio carries.
    pub fn pack(self) -> mio::Token {
        let word =
            (self.kind as u64) << 56 | u64::from(self.generation) << 32 | u64::from(self.index);
        mio::Token(word as usize)
    }

    /// Unpacks what mio hands back; `None` for a word that `pack` never made.
    pub fn unpack(token: mio::Token) -> Option<Token> {
        let word = token.0 as u64;
        let kind = *KINDS.get((word >> 56) as usize)?;
        Some(Token {
            kind,
            index: word as u32,
            generation: (word >> 32) as u32 & GENERATION_MASK,
        })
    }

    /// Whether `generation` (of any width) is this token's.
    pub fn is_generation(self, generation: u32) -> bool {
        self.generation == generation & GENERATION_MASK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_and_unpacks() {
        for kind in KINDS {
            for (index, generation) in [(0, 0), (u32::MAX, 0x1ff_ffff), (7, 1 << 24)] {
                let token = Token::new(kind, index, generation);
                assert_eq!(Token::unpack(token.pack()), Some(token));
                assert!(token.is_generation(generation));
            }
        }
        assert_eq!(Token::unpack(mio::Token(usize::MAX)), None);
    }
}
