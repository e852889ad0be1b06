//! What Redis clients may ask about this node and its configuration: INFO, CONFIG GET, CLUSTER.

use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

use super::config::{Config, SyncPolicy};
use super::directory::{DataDirectory, random};
use crate::gateway::resp::cluster::ClusterData;
use crate::gateway::resp::config::{ConfigData, Durability};
use crate::gateway::resp::session::Settings;
use crate::limits;
use crate::runtime::driver::NodeFacts;

/// What Redis clients may ask about this node.
pub(super) fn node_facts(config: &Config, directory: &DataDirectory) -> NodeFacts {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let process_id = process::id();
    let executable = std::env::current_exe().unwrap_or_default();
    let durability = match config.sync {
        SyncPolicy::Always => Durability::Always,
        SyncPolicy::Interval(interval) => Durability::Interval(interval.as_millis() as u64),
        SyncPolicy::Never => Durability::Never,
    };
    let settings = Settings::default();
    NodeFacts {
        config: ConfigData {
            host: config.listen.ip().to_string(),
            port: config.listen.port(),
            databases: settings.databases,
            connections_max: config.connections_max,
            idle_timeout_seconds: config.idle_timeout.map_or(0, |timeout| timeout.as_secs()),
            memory_bytes: config.memory,
            durability,
            directory: config.data.display().to_string(),
            slowlog_slower_than_us: limits::SLOWLOG_SLOWER_THAN_US,
            slowlog_len_max: limits::SLOWLOG_LEN,
            debug: config.debug_commands,
        },
        cluster: ClusterData {
            node_id: format!("{:040x}", u128::from_be_bytes(directory.manifest().node)),
            // Where clients have reached it already.
            host: String::new(),
            port: config.listen.port(),
        },
        process_id,
        run_id: format!("{:040x}", u128::from_be_bytes(random())),
        executable: executable.display().to_string(),
        config_file: String::new(),
        started_ms: now.as_millis() as u64,
    }
}
