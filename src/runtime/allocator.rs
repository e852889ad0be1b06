//! How the process's allocator treats memory that is freed.
//!
//! glibc gives the end of its heap back to the kernel when enough of it is free, all at once, within some call of `free`: 64 MB took 20 ms on a
//! virtual machine, and the core stood still. What is large here has mappings of its own (the log's memory, large values) and goes back
//! to the kernel elsewhere; the rest (the index, connections, batches) is bounded and will be needed again. So the heap keeps it.

/// Memory of this many bytes and more is mapped for itself, and given back when it is freed.
const MMAP_THRESHOLD_BYTES: i32 = 4 << 20;

/// Keeps freed memory in the process. Called once, before there is a second thread.
pub fn keep_freed_memory() {
    #[cfg(target_env = "gnu")]
    {
        #[expect(
            unsafe_code,
            reason = "glibc's settings have no safe interface, see the argument"
        )]
        // SAFETY: both set a number that the allocator reads, and no other thread allocates yet.
        let set = unsafe {
            libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX) == 1
                && libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES) == 1
        };
        // It works without, only less evenly.
        debug_assert!(set, "glibc takes these settings");
    }
}
