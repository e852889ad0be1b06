//! Memory for one large thing: a frame that comes in, a record that is read back.
//!
//! A value of megabytes must not be copied about: copying 16 MiB, or touching so much fresh memory, holds a core up for many milliseconds. So a
//! large value stays where it was received. The buffer is an anonymous mapping of its own, is filled a slice at a time, and becomes
//! [`Bytes`]: the log, answers and the disk share it. The last of them lets go of it, and because giving 16 MiB back to the kernel takes
//! a millisecond too, a buffer may have a [`Reaper`], who does it elsewhere.
//!
//! It has small pages, unlike the log's memory: it is filled while a core waits, and the first touch of a huge page can take long.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use memmap2::MmapMut;

/// Memory for large things.
pub trait Memory {
    /// A buffer for `capacity` bytes, which costs nothing to drop.
    ///
    /// # Errors
    /// When the kernel refuses the memory.
    fn large_buffer(&mut self, capacity: usize) -> io::Result<LargeBuffer>;
}

/// Takes mappings to where giving them back to the kernel holds nobody up.
pub type Reaper = Arc<dyn Fn(MmapMut) + Send + Sync>;

/// A mapping that is being filled from its start.
pub struct LargeBuffer {
    /// There until it is dropped.
    map: Option<MmapMut>,
    len: usize,
    reaper: Option<Reaper>,
}

impl LargeBuffer {
    /// Room for `capacity` bytes. Its pages cost nothing until they are filled.
    ///
    /// # Errors
    /// When the kernel refuses the mapping.
    pub fn new(capacity: usize) -> io::Result<LargeBuffer> {
        Ok(LargeBuffer {
            map: Some(MmapMut::map_anon(capacity.max(1))?),
            len: 0,
            reaper: None,
        })
    }

    /// Its memory is given back to the kernel by somebody else.
    #[must_use]
    pub fn reaped_by(mut self, reaper: Reaper) -> LargeBuffer {
        self.reaper = Some(reaper);
        self
    }

    /// Bytes that it takes at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.map.as_ref().map_or(0, |map| map.len())
    }

    /// Bytes in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends bytes, for which there must be room.
    pub fn extend(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        let map = self.map.as_mut().expect("a buffer in use has its memory");
        map[self.len..end].copy_from_slice(bytes);
        self.len = end;
    }

    /// Writes over bytes that are in it.
    pub fn overwrite(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        assert!(end <= self.len, "only what is there is written over");
        let map = self.map.as_mut().expect("a buffer in use has its memory");
        map[at..end].copy_from_slice(bytes);
    }

    /// What is in it, to be shared.
    #[must_use]
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(Filled(self))
    }
}

impl AsRef<[u8]> for LargeBuffer {
    fn as_ref(&self) -> &[u8] {
        self.map.as_ref().map_or(&[], |map| &map[..self.len])
    }
}

impl Drop for LargeBuffer {
    fn drop(&mut self) {
        if let (Some(reap), Some(map)) = (&self.reaper, self.map.take()) {
            reap(map);
        }
    }
}

impl fmt::Debug for LargeBuffer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("LargeBuffer")
            .field("len", &self.len)
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}

/// A buffer that is filled no further.
struct Filled(LargeBuffer);

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref()
    }
}

/// `part` as a handle on `whole`'s memory if it lies in it and makes up at least half of it: a handle keeps all of its memory, so a small
/// part of a large whole had better be copied.
#[must_use]
pub fn share_part(whole: &Bytes, part: &[u8]) -> Option<Bytes> {
    let (outer, inner) = (whole.as_ptr_range(), part.as_ptr_range());
    let lies_inside = outer.start <= inner.start && inner.end <= outer.end;
    (lies_inside && part.len() >= whole.len() / 2).then(|| whole.slice_ref(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A buffer that is in use is not reaped; one that nobody holds any more is, once.
    #[test]
    fn memory_goes_to_the_reaper_with_the_last_handle() {
        let (reaped, seen) = flume::unbounded();
        let mut buffer = LargeBuffer::new(100)
            .unwrap()
            .reaped_by(Arc::new(move |map| {
                reaped.send(map.len()).unwrap();
            }));
        buffer.extend(b"abc");
        let whole = buffer.freeze();
        let part = whole.slice(1..);
        drop(whole);
        assert!(seen.is_empty(), "a part of it is in use");
        drop(part);
        assert_eq!(seen.drain().collect::<Vec<_>>(), [100]);
    }

    /// A handle on a few bytes of a frame of 16 MiB would keep 16 MiB for as long as the value lives, and a client that sends such frames
    /// could fill the memory with nothing.
    #[test]
    fn only_a_good_part_of_a_buffer_is_shared() {
        let mut buffer = LargeBuffer::new(100).unwrap();
        buffer.extend(&[1; 60]);
        buffer.extend(&[2; 40]);
        assert_eq!((buffer.len(), buffer.capacity()), (100, 100));
        let whole = buffer.freeze();
        let shared = share_part(&whole, &whole[..60]).expect("more than half");
        assert_eq!(shared.as_ptr(), whole.as_ptr());
        assert_eq!(share_part(&whole, &whole[60..]), None, "less than half");
        assert_eq!(share_part(&whole, &[1; 60]), None, "somewhere else");
    }
}
