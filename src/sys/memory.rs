//! Shared memory: a file descriptor mapped in full, seen as slices of atomics.
//!
//! Why atomics: other processes may map the same memory, so no `&u64` or `&mut u64` into it would be sound. Atomic cells cost
//! nothing more on one thread.
//! Invariants: a mapping lives as long as any [`Cells`] of it; the cells handed out by one [`Carver`] do not overlap, so no
//! memory is reached with two widths; an anonymous memory is sealed against shrinking, so no access can fault.
//! Not here: what the memory means.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::ops::{Deref, Range};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// An empty file in memory (memfd), for text that outlives an exec or that a child writes. Close-on-exec.
pub fn scratch_file(name: &CStr) -> io::Result<File> {
    // SAFETY: `name` is a NUL-terminated string; the call reads no other memory of ours.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor; nobody else owns it.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// The size of a huge page, on x86-64 and with the usual pages on arm64.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// A mapped descriptor.
#[derive(Debug)]
pub struct Memory {
    fd: OwnedFd,
    mapping: Arc<Mapping>,
}

impl Memory {
    /// New zeroed memory of `len` bytes that exists as long as a descriptor of it or a mapping does (memfd).
    /// `name` is what `/proc` shows. Pages are taken from the system when they are first written.
    pub fn create(name: &CStr, len: usize) -> io::Result<Memory> {
        // SAFETY: `name` is a NUL-terminated string; the flags are valid; the call reads no other memory of ours.
        let fd = unsafe {
            libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING)
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave us this descriptor; nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let size = libc::off_t::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: `fd` is open; the call touches no memory of ours.
        if unsafe { libc::ftruncate(fd.as_raw_fd(), size) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
        // SAFETY: `fd` is a memfd that allows sealing; F_ADD_SEALS takes an int and touches no memory of ours.
        if unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Memory::map(fd, len)
    }

    /// Maps all of an existing memory: a memfd of a predecessor, or a regular file, which the caller must keep from shrinking.
    pub fn open(fd: OwnedFd) -> io::Result<Memory> {
        // SAFETY: all zeros is a valid `stat`.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: `fd` is open and `stat` is ours to write.
        if unsafe { libc::fstat(fd.as_raw_fd(), &mut stat) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let len = usize::try_from(stat.st_size).map_err(|_| io::ErrorKind::InvalidData)?;
        Memory::map(fd, len)
    }

    fn map(fd: OwnedFd, len: usize) -> io::Result<Memory> {
        if len == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let place = Place::reserve(len)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the range is the part of our own reservation that begins at a huge page, nothing else is mapped there; `fd` is open and
        // has `len` bytes.
        let start = unsafe {
            libc::mmap(
                place.aligned,
                len,
                protection,
                libc::MAP_SHARED | libc::MAP_FIXED,
                fd.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        place.give_back_around(len);
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Memory {
            fd,
            mapping: Arc::new(Mapping { start, len }),
        })
    }

    /// Bytes mapped.
    pub fn len(&self) -> usize {
        self.mapping.len
    }

    /// Never: memory without bytes cannot be mapped.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The descriptor. Close-on-exec is set when we created it.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Takes pages for these bytes now, so that a later write cannot wait for them; many at once cost far less than one by one. A
    /// kernel that does not know how (before 5.14) leaves them to be taken on first use.
    pub fn populate(&self, bytes: Range<usize>) {
        let end = bytes.end.min(self.mapping.len);
        let start = bytes.start.min(end);
        self.advise(start - start % page_bytes()..end, libc::MADV_POPULATE_WRITE);
    }

    /// Takes huge pages for these bytes now, but for what lies behind the last whole one of the memory, and moves there what is in
    /// small ones. Mappings of the same memory in other processes follow as they touch it. Whatever the system's settings for
    /// transparent huge pages say, but it takes Linux 6.1.
    pub fn use_huge_pages(&self, bytes: Range<usize>) -> io::Result<()> {
        let whole = self.mapping.len - self.mapping.len % HUGE_PAGE_BYTES;
        let start = bytes.start - bytes.start % HUGE_PAGE_BYTES;
        let end = bytes.end.next_multiple_of(HUGE_PAGE_BYTES).min(whole);
        if start >= end {
            return Ok(());
        }
        // Where there is no page at all there is nothing to collapse, and the kernel refuses the whole range.
        for at in (start..end).step_by(HUGE_PAGE_BYTES) {
            self.advise(at..at + 1, libc::MADV_POPULATE_WRITE);
        }
        match self.advise(start..end, libc::MADV_COLLAPSE) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// `madvise` for a part of the mapping that begins at a page.
    fn advise(&self, bytes: Range<usize>, advice: libc::c_int) -> libc::c_int {
        assert!(bytes.end <= self.mapping.len, "what is mapped");
        // SAFETY: the range lies in our mapping; none of the kinds of advice in use changes what it contains.
        unsafe {
            let start = self.mapping.start.as_ptr().add(bytes.start);
            libc::madvise(start.cast(), bytes.len(), advice)
        }
    }

    /// Takes all pages now and keeps them from being swapped out while this mapping lives in this process.
    pub fn lock(&self) -> io::Result<()> {
        // SAFETY: the range is our mapping; locking changes no content.
        match unsafe { libc::mlock(self.mapping.start.as_ptr().cast(), self.mapping.len) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Starts cutting the memory into views, from its beginning.
    pub fn carve(&self) -> Carver<'_> {
        Carver {
            memory: self,
            at: 0,
        }
    }
}

/// Addresses that were reserved for a mapping that begins at a huge page: only there can the page tables refer to one.
struct Place {
    start: *mut libc::c_void,
    aligned: *mut libc::c_void,
    len: usize,
}

impl Place {
    fn reserve(len: usize) -> io::Result<Place> {
        let len = len
            .checked_add(HUGE_PAGE_BYTES)
            .ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: no address is asked for, so no mapping of ours is replaced; nothing can be read or written there.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let before = start.addr().next_multiple_of(HUGE_PAGE_BYTES) - start.addr();
        Ok(Place {
            start,
            aligned: start.wrapping_byte_add(before),
            len,
        })
    }

    /// Unmaps what lies before and behind the `len` bytes that are in use.
    fn give_back_around(self, len: usize) {
        let before = self.aligned.addr() - self.start.addr();
        let used = before + len.next_multiple_of(page_bytes());
        let rest = self.start.wrapping_byte_add(used);
        for (start, bytes) in [(self.start, before), (rest, self.len.saturating_sub(used))] {
            if bytes > 0 {
                // SAFETY: these pages are of our own reservation, and nothing was mapped over them.
                unsafe { libc::munmap(start, bytes) };
            }
        }
    }
}

fn page_bytes() -> usize {
    // SAFETY: the call takes no pointer.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).unwrap_or(4096)
}

#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is only reached through atomics and unmapped once, by the last owner, on whatever thread.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: start and length are those of our mmap; no view is left, each holds an Arc of this.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// What memory can be seen as: cells that any process may change at any time.
pub trait Cell: private::Sealed {}
impl Cell for AtomicU32 {}
impl Cell for AtomicU64 {}

mod private {
    pub trait Sealed {}
    impl Sealed for super::AtomicU32 {}
    impl Sealed for super::AtomicU64 {}
}

/// Cuts a memory into views that do not overlap.
#[derive(Debug)]
pub struct Carver<'a> {
    memory: &'a Memory,
    at: usize,
}

impl Carver<'_> {
    /// The next `count` cells, from the next multiple of 64 bytes on. An error if the memory ends before them.
    pub fn take<T: Cell>(&mut self, count: usize) -> io::Result<Cells<T>> {
        let mapping = &self.memory.mapping;
        let start = self.at.next_multiple_of(64);
        let end = count
            .checked_mul(size_of::<T>())
            .and_then(|bytes| bytes.checked_add(start));
        let end = end
            .filter(|&end| end <= mapping.len)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        self.at = end;
        // SAFETY: `start <= end <= len`, so the result lies in the mapping or one past its end.
        let first = unsafe { mapping.start.add(start) }.cast();
        Ok(Cells {
            first,
            count,
            mapping: Arc::clone(mapping),
            kind: PhantomData,
        })
    }
}

/// A slice of atomics in a mapped memory; it keeps the mapping alive.
#[derive(Debug)]
pub struct Cells<T: Cell> {
    first: NonNull<T>,
    count: usize,
    mapping: Arc<Mapping>,
    kind: PhantomData<T>,
}

// SAFETY: it is a shared slice of atomics and an Arc of a mapping that is Send and Sync.
unsafe impl<T: Cell> Send for Cells<T> {}
// SAFETY: as above.
unsafe impl<T: Cell> Sync for Cells<T> {}

impl<T: Cell> Cells<T> {
    /// Where the cells begin, in bytes from the start of the memory.
    pub fn offset(&self) -> usize {
        self.first.as_ptr().addr() - self.mapping.start.as_ptr().addr()
    }

    /// Asks for a cell to be in the cache soon; nothing else happens, and nothing at all where it does not exist.
    #[inline]
    pub fn prefetch(&self, index: usize) {
        #[cfg(target_arch = "x86_64")]
        if index < self.count {
            // SAFETY: `index < count`, so the address lies in the mapping; a prefetch changes nothing and cannot fault.
            unsafe {
                use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
                _mm_prefetch::<_MM_HINT_T0>(self.first.add(index).as_ptr().cast());
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = index;
    }
}

impl<T: Cell> Deref for Cells<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `first` is aligned (a multiple of 64 from the start of a page) and `count` cells fit into the mapping,
        // which our Arc keeps; every bit pattern is a valid atomic integer; others write to the memory only as atomics.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.count) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn a_second_mapping_sees_what_the_first_wrote() {
        let memory = Memory::create(c"test", 4096).unwrap();
        let cells: Cells<AtomicU64> = memory.carve().take(512).unwrap();
        cells[511].store(7, Relaxed);
        let again = Memory::open(memory.fd().try_clone_to_owned().unwrap()).unwrap();
        drop(memory);
        let cells_again: Cells<AtomicU64> = again.carve().take(512).unwrap();
        drop(again);
        assert_eq!(cells_again[511].load(Relaxed), 7);
        assert_eq!(cells[510].load(Relaxed), 0);
    }

    #[test]
    fn views_do_not_overlap_nor_leave_the_memory() {
        let memory = Memory::create(c"test", 4096).unwrap();
        let mut carver = memory.carve();
        let halves: Cells<AtomicU32> = carver.take(3).unwrap();
        let words: Cells<AtomicU64> = carver.take(4).unwrap();
        assert_eq!((halves.offset(), words.offset(), words.len()), (0, 64, 4));
        assert!(carver.take::<AtomicU64>(500).is_err());
        assert!(carver.take::<AtomicU64>(usize::MAX).is_err());
        assert_eq!(carver.take::<AtomicU64>(496).unwrap().offset(), 128);
    }

    #[test]
    fn the_memory_cannot_shrink() {
        let memory = Memory::create(c"test", 4096).unwrap();
        memory.populate(0..usize::MAX);
        // SAFETY: the descriptor is open; the call touches no memory of ours.
        assert_eq!(unsafe { libc::ftruncate(memory.fd().as_raw_fd(), 0) }, -1);
    }
}
