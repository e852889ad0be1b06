//! Configuration, start and stop of a node.
pub mod config;
