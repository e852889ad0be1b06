//! Configuration, start and stop of a node.
pub mod cli;
pub mod config;
