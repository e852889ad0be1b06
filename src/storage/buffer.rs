//! Memory for one large thing: a frame that comes in, a record that is read back.
//!
//! A value of megabytes must not be copied about: copying 16 MiB, or touching so much fresh memory in pages of 4 KiB, holds a core up for
//! longer than a turn may last. So a large value stays where it was received. The buffer is an anonymous mapping of its own, advised to
//! use huge pages (filling it and giving it back then cost a fifth), is filled a slice at a time, and becomes [`Bytes`]: the log, answers
//! and the disk share it, and the last of them gives it back to the kernel.

use std::io;

use bytes::Bytes;
use memmap2::{Advice, MmapMut};

/// A mapping that is being filled from its start.
#[derive(Debug)]
pub struct LargeBuffer {
    map: MmapMut,
    len: usize,
}

impl LargeBuffer {
    /// Room for `capacity` bytes. Its pages cost nothing until they are filled.
    ///
    /// # Errors
    /// When the kernel refuses the mapping.
    pub fn new(capacity: usize) -> io::Result<LargeBuffer> {
        let map = MmapMut::map_anon(capacity.max(1))?;
        // Advice only: a kernel built without transparent huge pages answers with an error, and small pages serve.
        let _ = map.advise(Advice::HugePage);
        Ok(LargeBuffer { map, len: 0 })
    }

    /// Bytes that it takes at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.map.len()
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
        self.map[self.len..end].copy_from_slice(bytes);
        self.len = end;
    }

    /// What is in it, to be shared.
    #[must_use]
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(Filled(self))
    }
}

impl AsRef<[u8]> for LargeBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.map[..self.len]
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
