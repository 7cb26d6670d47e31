//! A body as far as it lies in the buffer behind its head: looked at, not consumed.
//!
//! Rules look into bodies (`req.body`) and wait for them (`wait-for-body`) before a byte of them is forwarded. They read what is there
//! anew each time, with a decoder of its own, so that whoever forwards the body later starts from its first byte.
//!
//! Not here: who waits, and for how long.

use super::body::{BodyDecoder, BodyForm, Framing};
use super::fault::HeadError;

/// What is there of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Held {
    /// Bytes of data, without their framing.
    pub data_bytes: u64,
    /// Its end is there too. A body that lasts until the close is never complete by what is there.
    pub is_complete: bool,
}

/// Measures a body that is still coming, without reading any of it twice.
#[derive(Clone, Debug)]
pub struct Measure {
    decoder: BodyDecoder,
    /// Bytes that are measured.
    at: usize,
    held: Held,
}

impl Measure {
    /// For a body that is delimited like this.
    pub fn new(framing: Framing) -> Measure {
        let decoder = BodyDecoder::new(framing, BodyForm::DataOnly);
        let held = Held {
            data_bytes: 0,
            is_complete: decoder.is_complete(),
        };
        Measure {
            decoder,
            at: 0,
            held,
        }
    }

    /// Measures what has come since the last call; `bytes` is the body from its start.
    ///
    /// # Errors
    /// The framing is faulty; the position is one of `bytes`.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Held, HeadError> {
        self.run(bytes, |_| {})
    }

    fn run(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) -> Result<Held, HeadError> {
        while !self.held.is_complete {
            let rest = bytes.get(self.at..).unwrap_or_default();
            let progress = self
                .decoder
                .advance(rest)
                .map_err(|error| error.after(self.at, self.held.data_bytes))?;
            for range in progress.forward() {
                each(range.of(rest));
            }
            self.held.data_bytes += progress.data_bytes;
            self.held.is_complete = progress.complete;
            self.at += progress.consumed;
            if progress.consumed == 0 {
                break;
            }
        }
        Ok(self.held)
    }
}

impl Held {
    /// Measures the body at the start of `bytes`.
    ///
    /// # Errors
    /// The framing is faulty; the position is one of `bytes`.
    pub fn measure(framing: Framing, bytes: &[u8]) -> Result<Held, HeadError> {
        Measure::new(framing).advance(bytes)
    }
}

/// The data of the body at the start of `bytes`, when it lies in one piece there.
pub fn one_piece(framing: Framing, bytes: &[u8]) -> Option<&[u8]> {
    match framing {
        Framing::None => Some(&[]),
        Framing::UntilClose => Some(bytes),
        Framing::Length(length) => {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            Some(&bytes[..length.min(bytes.len())])
        }
        Framing::Chunked => None,
    }
}

/// Hands out the data of the body at the start of `bytes`, piece by piece. Of a body with a fault, pieces before it may be missing.
pub fn pieces(framing: Framing, bytes: &[u8], each: impl FnMut(&[u8])) {
    // The fault is reported by whoever forwards the body.
    let _ = Measure::new(framing).run(bytes, each);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Fault;

    fn data(framing: Framing, bytes: &[u8]) -> Vec<u8> {
        let mut data = Vec::new();
        pieces(framing, bytes, |piece| data.extend_from_slice(piece));
        data
    }

    #[test]
    fn measures_what_is_there() {
        let check = |framing, bytes: &[u8], data_bytes, is_complete| {
            let wanted = Held {
                data_bytes,
                is_complete,
            };
            assert_eq!(Held::measure(framing, bytes), Ok(wanted), "{bytes:?}");
        };
        check(Framing::None, b"next", 0, true);
        check(Framing::Length(0), b"", 0, true);
        check(Framing::Length(3), b"ab", 2, false);
        check(Framing::Length(3), b"abcd", 3, true);
        check(Framing::UntilClose, b"abcd", 4, false);
        check(Framing::Chunked, b"", 0, false);
        check(Framing::Chunked, b"3\r\nab", 2, false);
        check(Framing::Chunked, b"3;x=y\r\nabc\r\n0\r\n", 3, false);
        check(
            Framing::Chunked,
            b"3\r\nabc\r\n0\r\nX: y\r\n\r\nnext",
            3,
            true,
        );
    }

    #[test]
    fn many_chunks_are_read_in_several_goes() {
        let bytes = [&b"1\r\na\r\n".repeat(100)[..], b"0\r\n\r\n"].concat();
        let held = Held::measure(Framing::Chunked, &bytes).unwrap();
        assert_eq!((held.data_bytes, held.is_complete), (100, true));
        assert_eq!(data(Framing::Chunked, &bytes), b"a".repeat(100));
    }

    #[test]
    fn cut_anywhere_it_measures_the_same() {
        let bytes = b"3;x=y\r\nabc\r\na\r\n0123456789\r\n0\r\nX: y\r\n\r\nnext";
        for cut in 0..=bytes.len() {
            let mut measure = Measure::new(Framing::Chunked);
            measure.advance(&bytes[..cut]).unwrap();
            let held = measure.advance(bytes).unwrap();
            assert_eq!((held.data_bytes, held.is_complete), (13, true), "{cut}");
        }
    }

    #[test]
    fn a_fault_is_where_it_is() {
        let bytes = [&b"1\r\na\r\n".repeat(50)[..], b"zz"].concat();
        let error = Held::measure(Framing::Chunked, &bytes).unwrap_err();
        assert_eq!((error.fault, error.position), (Fault::ChunkSize, 300));
    }
}
