//! Where a request's keys and values come from: two small traits, so that the dialects know nothing of workloads.
//!
//! Lengths are asked for first, because every language says a length before the bytes; then the bytes are appended in place. Both are
//! called for each request, so neither should allocate.

use crate::workload::Operation;

/// The bytes of keys.
pub trait KeyBytes {
    /// How many bytes [`KeyBytes::append`] appends for the key of this number: at least 1.
    fn key_len(&self, operation: Operation, number: u64) -> usize;

    /// Appends the key's bytes. Counters ([`Operation::Add`]) are keys of their own, so their bytes must differ from those that
    /// the same number has in every other operation.
    fn append(&self, operation: Operation, number: u64, out: &mut Vec<u8>);
}

/// The bytes of values.
pub trait ValueBytes {
    /// Appends `len` bytes that say that this write, told apart by `stamp`, put them under the key of this number.
    fn append(&self, key: u64, stamp: u64, len: u32, out: &mut Vec<u8>);
}

impl<T: KeyBytes + ?Sized> KeyBytes for &T {
    fn key_len(&self, operation: Operation, number: u64) -> usize {
        (**self).key_len(operation, number)
    }

    fn append(&self, operation: Operation, number: u64, out: &mut Vec<u8>) {
        (**self).append(operation, number, out);
    }
}

impl<T: ValueBytes + ?Sized> ValueBytes for &T {
    fn append(&self, key: u64, stamp: u64, len: u32, out: &mut Vec<u8>) {
        (**self).append(key, stamp, len, out);
    }
}
