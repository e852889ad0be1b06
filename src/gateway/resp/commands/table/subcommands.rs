//! The rows of subcommands, by command.

use super::{Command, commands};
use crate::gateway::resp::commands::{client, connection, describe, keys, server};

/// CLIENT's.
pub(super) static CLIENT: &[Command] = commands! {
    "client|getname" 2 [NOSCRIPT LOADING STALE] [] [CONNECTION]
        "connection" "2.6.9" "Get the current connection name"
        => client::getname;
    "client|help" 2 [LOADING STALE] [] [CONNECTION]
        "connection" "5.0.0" "Show helpful text about the different subcommands"
        => connection::help;
    "client|id" 2 [NOSCRIPT LOADING STALE] [] [CONNECTION]
        "connection" "5.0.0" "Returns the client ID for the current connection"
        => client::id;
    "client|info" 2 [NOSCRIPT LOADING STALE] [] [CONNECTION]
        "connection" "6.2.0" "Returns information about the current client connection."
        tips "nondeterministic_output"
        => client::info;
    "client|kill" -3 [ADMIN NOSCRIPT LOADING STALE] [] [CONNECTION]
        "connection" "2.4.0" "Kill the connection of a client"
        => client::kill;
    "client|list" -2 [ADMIN NOSCRIPT LOADING STALE] [] [CONNECTION]
        "connection" "2.4.0" "Get the list of client connections"
        tips "nondeterministic_output"
        => client::list;
    "client|no-evict" 3 [ADMIN NOSCRIPT LOADING STALE] [] [CONNECTION]
        "connection" "7.0.0" "Set client eviction mode for the current connection"
        => client::on_or_off;
    "client|no-touch" 3 [NOSCRIPT LOADING STALE] [] [CONNECTION]
        "connection" "7.2.0" "Do nothing: reads leave no trace"
        => client::on_or_off;
    "client|reply" 3 [NOSCRIPT LOADING STALE] [] [CONNECTION]
        "connection" "3.2.0" "Instruct the server whether to reply to commands"
        => client::reply;
    "client|setinfo" 4 [NOSCRIPT LOADING STALE] [] [CONNECTION]
        "connection" "7.2.0" "Set the name or the version of the client library"
        => client::setinfo;
    "client|setname" 3 [NOSCRIPT LOADING STALE] [] [CONNECTION]
        "connection" "2.6.9" "Set the current connection name"
        => client::setname;
};

/// CLUSTER's.
pub(super) static CLUSTER: &[Command] = commands! {
    "cluster|help" 2 [LOADING STALE] [] []
        "cluster" "5.0.0" "Show helpful text about the different subcommands"
        => connection::help;
    "cluster|info" 2 [STALE] [] []
        "cluster" "3.0.0" "Provides info about Redis Cluster node state"
        tips "nondeterministic_output"
        => server::cluster_info;
    "cluster|keyslot" 3 [STALE] [] []
        "cluster" "3.0.0" "Returns the hash slot of the specified key"
        => server::cluster_keyslot;
    "cluster|myid" 2 [STALE] [] []
        "cluster" "3.0.0" "Return the node id"
        => server::cluster_myid;
    "cluster|nodes" 2 [STALE] [] []
        "cluster" "3.0.0" "Get Cluster config for the node"
        tips "nondeterministic_output"
        => server::cluster_nodes;
    "cluster|shards" 2 [STALE] [] []
        "cluster" "7.0.0" "Get array of cluster slots to node mappings"
        tips "nondeterministic_output"
        => server::cluster_shards;
    "cluster|slots" 2 [STALE] [] []
        "cluster" "3.0.0" "Get array of Cluster slot to node mappings"
        tips "nondeterministic_output"
        => server::cluster_slots;
};

/// COMMAND's.
pub(super) static COMMAND: &[Command] = commands! {
    "command|count" 2 [LOADING STALE] [] [CONNECTION]
        "server" "2.8.13" "Get total number of Redis commands"
        => describe::count;
    "command|docs" -2 [LOADING STALE] [] [CONNECTION]
        "server" "7.0.0" "Get array of specific Redis command documentation"
        tips "nondeterministic_output_order"
        => describe::docs;
    "command|getkeys" -4 [LOADING STALE] [] [CONNECTION]
        "server" "2.8.13" "Extract keys given a full Redis command"
        => describe::getkeys;
    "command|getkeysandflags" -4 [LOADING STALE] [] [CONNECTION]
        "server" "7.0.0" "Extract keys and access flags given a full Redis command"
        => describe::getkeysandflags;
    "command|help" 2 [LOADING STALE] [] [CONNECTION]
        "server" "5.0.0" "Show helpful text about the different subcommands"
        => connection::help;
    "command|info" -2 [LOADING STALE] [] [CONNECTION]
        "server" "2.8.13" "Get array of specific Redis command details, or all when no argument is given."
        tips "nondeterministic_output_order"
        => describe::info;
    "command|list" -2 [LOADING STALE] [] [CONNECTION]
        "server" "7.0.0" "Get an array of Redis command names"
        tips "nondeterministic_output_order"
        => describe::list;
};

/// CONFIG's.
pub(super) static CONFIG: &[Command] = commands! {
    "config|get" -3 [ADMIN NOSCRIPT LOADING STALE] [] []
        "server" "2.0.0" "Get the values of configuration parameters"
        => server::config_get;
    "config|help" 2 [LOADING STALE] [] []
        "server" "5.0.0" "Show helpful text about the different subcommands"
        => connection::help;
    "config|resetstat" 2 [ADMIN NOSCRIPT LOADING STALE] [] []
        "server" "2.0.0" "Reset the stats returned by INFO"
        => server::config_resetstat;
    "config|rewrite" 2 [ADMIN NOSCRIPT LOADING STALE] [] []
        "server" "2.8.0" "Rewrite the configuration file with the in memory configuration"
        => server::config_rewrite;
    "config|set" -4 [ADMIN NOSCRIPT LOADING STALE] [] []
        "server" "2.0.0" "Set configuration parameters to the given values"
        tips "request_policy:all_nodes" "response_policy:all_succeeded"
        => server::config_set;
};

/// LATENCY's.
pub(super) static LATENCY: &[Command] = commands! {
    "latency|doctor" 2 [ADMIN NOSCRIPT LOADING STALE] [] []
        "server" "2.8.13" "Return a human readable latency analysis report."
        tips "nondeterministic_output" "request_policy:all_nodes" "response_policy:special"
        => server::latency_doctor;
    "latency|graph" 3 [ADMIN NOSCRIPT LOADING STALE] [] []
        "server" "2.8.13" "Return a latency graph for the event."
        tips "nondeterministic_output" "request_policy:all_nodes" "response_policy:special"
        => server::latency_graph;
    "latency|help" 2 [LOADING STALE] [] []
        "server" "2.8.13" "Show helpful text about the different subcommands."
        => connection::help;
    "latency|histogram" -2 [ADMIN NOSCRIPT LOADING STALE] [] []
        "server" "7.0.0" "Return the cumulative distribution of latencies of a subset of commands or all."
        tips "nondeterministic_output" "request_policy:all_nodes" "response_policy:special"
        => server::latency_histogram;
    "latency|history" 3 [ADMIN NOSCRIPT LOADING STALE] [] []
        "server" "2.8.13" "Return timestamp-latency samples for the event."
        tips "nondeterministic_output" "request_policy:all_nodes" "response_policy:special"
        => server::latency_empty;
    "latency|latest" 2 [ADMIN NOSCRIPT LOADING STALE] [] []
        "server" "2.8.13" "Return the latest latency samples for all events."
        tips "nondeterministic_output" "request_policy:all_nodes" "response_policy:special"
        => server::latency_empty;
    "latency|reset" -2 [ADMIN NOSCRIPT LOADING STALE] [] []
        "server" "2.8.13" "Reset latency data for one or more events."
        tips "request_policy:all_nodes" "response_policy:all_succeeded"
        => server::latency_reset;
};

/// MEMORY's.
pub(super) static MEMORY: &[Command] = commands! {
    "memory|help" 2 [LOADING STALE] [] []
        "server" "4.0.0" "Show helpful text about the different subcommands"
        => connection::help;
    "memory|usage" -3 [READONLY] [(2, 0, 1, "RO")] []
        "server" "4.0.0" "Estimate the memory usage of a key"
        => keys::memory_usage;
};

/// OBJECT's.
pub(super) static OBJECT: &[Command] = commands! {
    "object|encoding" 3 [READONLY] [(2, 0, 1, "RO")] [KEYSPACE]
        "generic" "2.2.3" "Inspect the internal encoding of a Redis object"
        tips "nondeterministic_output"
        => keys::object_encoding;
    "object|freq" 3 [READONLY] [(2, 0, 1, "RO")] [KEYSPACE]
        "generic" "4.0.0" "Get the logarithmic access frequency counter of a Redis object"
        tips "nondeterministic_output"
        => keys::object_freq;
    "object|help" 2 [LOADING STALE] [] [KEYSPACE]
        "generic" "6.2.0" "Show helpful text about the different subcommands"
        => connection::help;
    "object|idletime" 3 [READONLY] [(2, 0, 1, "RO")] [KEYSPACE]
        "generic" "2.2.3" "Get the time since a Redis object was last accessed"
        tips "nondeterministic_output"
        => keys::object_idletime;
    "object|refcount" 3 [READONLY] [(2, 0, 1, "RO")] [KEYSPACE]
        "generic" "2.2.3" "Get the number of references to the value of the key"
        tips "nondeterministic_output"
        => keys::object_refcount;
};

/// SLOWLOG's.
pub(super) static SLOWLOG: &[Command] = commands! {
    "slowlog|get" -2 [ADMIN LOADING STALE] [] []
        "server" "2.2.12" "Get the slow log's entries"
        tips "request_policy:all_nodes" "nondeterministic_output"
        => server::slowlog_get;
    "slowlog|help" 2 [LOADING STALE] [] []
        "server" "6.2.0" "Show helpful text about the different subcommands"
        => connection::help;
    "slowlog|len" 2 [ADMIN LOADING STALE] [] []
        "server" "2.2.12" "Get the slow log's length"
        tips "request_policy:all_nodes" "response_policy:agg_sum" "nondeterministic_output"
        => server::slowlog_len;
    "slowlog|reset" 2 [ADMIN LOADING STALE] [] []
        "server" "2.2.12" "Clear all entries from the slow log"
        tips "request_policy:all_nodes" "response_policy:all_succeeded"
        => server::slowlog_reset;
};
