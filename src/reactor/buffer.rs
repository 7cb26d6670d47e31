//! Buffers: fixed-size byte buffers from a pool, attached to a stream only while bytes are in flight.

/// A buffer of `tune.bufsize` bytes with a window of unread bytes.
///
/// Invariant: `start <= end <= bytes.len()`.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// Whether there is memory behind it. A detached buffer is empty and has no room.
    pub fn is_attached(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// The unread bytes.
    pub fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The unread bytes, to be changed in place.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// Number of unread bytes.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether no byte is unread.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Bytes that can be read into it without moving anything.
    pub fn room(&self) -> usize {
        self.bytes.len() - self.end
    }

    /// Size of the buffer.
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// The free part behind the unread bytes.
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.bytes[self.end..]
    }

    /// Takes the first `count` bytes of `space` as filled.
    pub fn commit(&mut self, count: usize) {
        assert!(count <= self.room());
        self.end += count;
    }

    /// Forgets the first `count` unread bytes.
    pub fn consume(&mut self, count: usize) {
        assert!(count <= self.len());
        self.start += count;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Moves the unread bytes to the front. Offsets into `filled` stay right.
    pub fn compact(&mut self) {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
    }
}

/// The pool. It never holds more than `idle_max` unused buffers; what is beyond goes back to the allocator.
pub struct BufferPool {
    idle: Vec<Box<[u8]>>,
    buffer_bytes: usize,
    attached: usize,
}

impl BufferPool {
    /// A pool of buffers of `buffer_bytes`, of which at most `idle_max` are kept when unused.
    pub fn new(buffer_bytes: usize, idle_max: usize) -> BufferPool {
        BufferPool {
            idle: Vec::with_capacity(idle_max),
            buffer_bytes,
            attached: 0,
        }
    }

    /// Gives `buffer` memory, if it has none.
    pub fn attach(&mut self, buffer: &mut Buffer) {
        if buffer.is_attached() {
            return;
        }
        self.attached += 1;
        buffer.bytes = self
            .idle
            .pop()
            .unwrap_or_else(|| vec![0; self.buffer_bytes].into_boxed_slice());
        buffer.start = 0;
        buffer.end = 0;
    }

    /// Takes the memory back if no byte is unread.
    pub fn detach_if_empty(&mut self, buffer: &mut Buffer) {
        if buffer.is_empty() {
            self.detach(buffer);
        }
    }

    /// Takes the memory back, with whatever is unread.
    pub fn detach(&mut self, buffer: &mut Buffer) {
        let bytes = std::mem::take(buffer).bytes;
        if bytes.is_empty() {
            return;
        }
        self.attached -= 1;
        if self.idle.len() < self.idle.capacity() {
            self.idle.push(bytes);
        }
    }

    /// Size of a buffer.
    pub fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    /// Number of buffers in use.
    pub fn attached(&self) -> usize {
        self.attached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_consumes_and_compacts() {
        let mut pool = BufferPool::new(8, 1);
        let mut buffer = Buffer::default();
        assert_eq!(buffer.room(), 0);
        pool.attach(&mut buffer);
        buffer.space()[..6].copy_from_slice(b"abcdef");
        buffer.commit(6);
        buffer.consume(4);
        assert_eq!((buffer.filled(), buffer.room()), (&b"ef"[..], 2));
        buffer.compact();
        assert_eq!((buffer.filled(), buffer.room()), (&b"ef"[..], 6));
        pool.detach_if_empty(&mut buffer);
        assert!(buffer.is_attached());
        buffer.consume(2);
        pool.detach_if_empty(&mut buffer);
        assert!(!buffer.is_attached());
        assert_eq!(pool.attached(), 0);
    }

    #[test]
    fn keeps_no_more_than_it_may() {
        let mut pool = BufferPool::new(8, 1);
        let mut buffers = [Buffer::default(), Buffer::default()];
        buffers.iter_mut().for_each(|buffer| pool.attach(buffer));
        assert_eq!(pool.attached(), 2);
        buffers.iter_mut().for_each(|buffer| pool.detach(buffer));
        assert_eq!((pool.attached(), pool.idle.len()), (0, 1));
    }
}
