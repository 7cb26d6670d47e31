//! A piece of a buffer by offsets: copied freely, borrows nothing.

/// Half-open range of byte offsets in some buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub struct ByteRange {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset after the last byte.
    pub end: u32,
}

impl ByteRange {
    /// The range `start..end`; both must fit 32 bits (buffers are far smaller).
    pub fn new(start: usize, end: usize) -> ByteRange {
        debug_assert!(start <= end && end <= u32::MAX as usize);
        ByteRange {
            start: start as u32,
            end: end as u32,
        }
    }

    /// Number of bytes.
    pub fn len(self) -> usize {
        (self.end.saturating_sub(self.start)) as usize
    }

    /// Whether there is no byte in it.
    pub fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// The bytes of `buffer` in this range; empty when the range does not lie in the buffer.
    pub fn of(self, buffer: &[u8]) -> &[u8] {
        buffer
            .get(self.start as usize..self.end as usize)
            .unwrap_or(&[])
    }

    /// The range of `part`, which must be a sub-slice of `buffer`.
    pub fn locate(part: &[u8], buffer: &[u8]) -> ByteRange {
        let start = (part.as_ptr() as usize).wrapping_sub(buffer.as_ptr() as usize);
        debug_assert!(start <= buffer.len() && start + part.len() <= buffer.len());
        ByteRange {
            start: start as u32,
            end: (start + part.len()) as u32,
        }
    }
}
