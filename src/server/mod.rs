//! Configuration, start and stop of a node.
//!
//! [`admin`] answers probes, [`backup`] takes backups and restores them, [`config`] resolves what a node runs with, [`directory`] guards its data, [`node`] starts and stops it, `reshard` moves its data to another number of shards, [`mod@serve`] is the
//! server binary's main work, [`tools`] what it does with a node's files.

pub mod admin;
pub mod backup;
pub mod cli;
pub mod config;
pub mod directory;
pub mod error;
mod facts;
pub mod node;
mod recover;
mod reshard;
pub mod serve;
pub mod tools;
