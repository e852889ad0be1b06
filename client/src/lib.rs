//! Thin client.
