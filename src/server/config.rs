//! The effective configuration and where each value came from.
