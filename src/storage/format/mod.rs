//! The on-disk format.
