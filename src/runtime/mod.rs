//! Drives shards.
