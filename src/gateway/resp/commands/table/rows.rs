//! The rows of the table: one a command, by group.

use super::{Command, commands, subcommands};
use crate::gateway::resp::commands::{
    Answer, Ask, CommandError, connection, describe, keys, server, strings, transactions,
};

/// Every command, by group.
pub static COMMANDS: &[Command] = commands! {
    // string
    "append" 3 [WRITE DENYOOM FAST] [(1, 0, 1, "RW" "insert")] [STRING]
        "string" "2.0.0" "Append a value to a key"
        => strings::append;
    "decr" 2 [WRITE DENYOOM FAST] [(1, 0, 1, "RW" "access" "update")] [STRING]
        "string" "1.0.0" "Decrement the integer value of a key by one"
        => strings::decr;
    "decrby" 3 [WRITE DENYOOM FAST] [(1, 0, 1, "RW" "access" "update")] [STRING]
        "string" "1.0.0" "Decrement the integer value of a key by the given number"
        => strings::decrby;
    "get" 2 [READONLY FAST] [(1, 0, 1, "RO" "access")] [STRING]
        "string" "1.0.0" "Get the value of a key"
        => strings::get;
    "getdel" 2 [WRITE FAST] [(1, 0, 1, "RW" "access" "delete")] [STRING]
        "string" "6.2.0" "Get the value of a key and delete the key"
        => strings::getdel;
    "getex" -2 [WRITE FAST] [(1, 0, 1, "RW" "access" "update")] [STRING]
        "string" "6.2.0" "Get the value of a key and optionally set its expiration"
        => strings::getex;
    "getrange" 4 [READONLY] [(1, 0, 1, "RO" "access")] [STRING]
        "string" "2.4.0" "Get a substring of the string stored at a key"
        => strings::getrange;
    "getset" 3 [WRITE DENYOOM FAST] [(1, 0, 1, "RW" "access" "update")] [STRING]
        "string" "1.0.0" "Set the string value of a key and return its old value"
        => strings::getset;
    "incr" 2 [WRITE DENYOOM FAST] [(1, 0, 1, "RW" "access" "update")] [STRING]
        "string" "1.0.0" "Increment the integer value of a key by one"
        => strings::incr;
    "incrby" 3 [WRITE DENYOOM FAST] [(1, 0, 1, "RW" "access" "update")] [STRING]
        "string" "1.0.0" "Increment the integer value of a key by the given amount"
        => strings::incrby;
    "incrbyfloat" 3 [WRITE DENYOOM FAST] [(1, 0, 1, "RW" "access" "update")] [STRING]
        "string" "2.6.0" "Increment the float value of a key by the given amount"
        => strings::incrbyfloat;
    "mget" -2 [READONLY FAST] [(1, -1, 1, "RO" "access")] [STRING]
        "string" "1.0.0" "Get the values of all the given keys"
        tips "request_policy:multi_shard"
        => strings::mget;
    "mset" -3 [WRITE DENYOOM] [(1, -1, 2, "OW" "update")] [STRING]
        "string" "1.0.1" "Set multiple keys to multiple values"
        tips "request_policy:multi_shard" "response_policy:all_succeeded"
        => strings::mset;
    "msetnx" -3 [WRITE DENYOOM] [(1, -1, 2, "OW" "insert")] [STRING]
        "string" "1.0.1" "Set multiple keys to multiple values, only if none of the keys exist"
        tips "request_policy:multi_shard" "response_policy:agg_min"
        => strings::msetnx;
    "psetex" 4 [WRITE DENYOOM] [(1, 0, 1, "OW" "update")] [STRING]
        "string" "2.6.0" "Set the value and expiration in milliseconds of a key"
        => strings::psetex;
    "set" -3 [WRITE DENYOOM] [(1, 0, 1, "RW" "access" "update" "variable_flags")] [STRING]
        "string" "1.0.0" "Set the string value of a key"
        => strings::set;
    "setex" 4 [WRITE DENYOOM] [(1, 0, 1, "OW" "update")] [STRING]
        "string" "2.0.0" "Set the value and expiration of a key"
        => strings::setex;
    "setnx" 3 [WRITE DENYOOM FAST] [(1, 0, 1, "OW" "insert")] [STRING]
        "string" "1.0.0" "Set the value of a key, only if the key does not exist"
        => strings::setnx;
    "setrange" 4 [WRITE DENYOOM] [(1, 0, 1, "RW" "update")] [STRING]
        "string" "2.2.0" "Overwrite part of a string at key starting at the specified offset"
        => strings::setrange;
    "strlen" 2 [READONLY FAST] [(1, 0, 1, "RO")] [STRING]
        "string" "2.2.0" "Get the length of the value stored in a key"
        => strings::strlen;
    "substr" 4 [READONLY] [(1, 0, 1, "RO" "access")] [STRING]
        "string" "1.0.0" "Get a substring of the string stored at a key"
        => strings::getrange;
    // generic
    "copy" -3 [WRITE DENYOOM] [(1, 0, 1, "RO" "access") (2, 0, 1, "OW" "update")] [KEYSPACE]
        "generic" "6.2.0" "Copy a key"
        => keys::copy;
    "del" -2 [WRITE] [(1, -1, 1, "RM" "delete")] [KEYSPACE]
        "generic" "1.0.0" "Delete a key"
        tips "request_policy:multi_shard" "response_policy:agg_sum"
        => keys::del;
    "delifeq" 3 [WRITE FAST] [(1, 0, 1, "RM" "delete")] [STRING]
        "string" "none" "Delete a key if its value is the given one"
        => keys::delifeq;
    "exists" -2 [READONLY FAST] [(1, -1, 1, "RO")] [KEYSPACE]
        "generic" "1.0.0" "Determine if a key exists"
        tips "request_policy:multi_shard" "response_policy:agg_sum"
        => keys::exists;
    "expire" -3 [WRITE FAST] [(1, 0, 1, "RW" "update")] [KEYSPACE]
        "generic" "1.0.0" "Set a key's time to live in seconds"
        => keys::expire;
    "expireat" -3 [WRITE FAST] [(1, 0, 1, "RW" "update")] [KEYSPACE]
        "generic" "1.2.0" "Set the expiration for a key as a UNIX timestamp"
        => keys::expireat;
    "expiretime" 2 [READONLY FAST] [(1, 0, 1, "RO" "access")] [KEYSPACE]
        "generic" "7.0.0" "Get the expiration Unix timestamp for a key"
        => keys::expiretime;
    "keys" 2 [READONLY] [] [KEYSPACE DANGEROUS]
        "generic" "1.0.0" "Find all keys matching the given pattern"
        tips "request_policy:all_shards" "nondeterministic_output_order"
        => keys::keys;
    "object" -2 [] [] []
        "generic" "2.2.3" "A container for object introspection commands"
        => container, subcommands::OBJECT;
    "persist" 2 [WRITE FAST] [(1, 0, 1, "RW" "update")] [KEYSPACE]
        "generic" "2.2.0" "Remove the expiration from a key"
        => keys::persist;
    "pexpire" -3 [WRITE FAST] [(1, 0, 1, "RW" "update")] [KEYSPACE]
        "generic" "2.6.0" "Set a key's time to live in milliseconds"
        => keys::pexpire;
    "pexpireat" -3 [WRITE FAST] [(1, 0, 1, "RW" "update")] [KEYSPACE]
        "generic" "2.6.0" "Set the expiration for a key as a UNIX timestamp specified in milliseconds"
        => keys::pexpireat;
    "pexpiretime" 2 [READONLY FAST] [(1, 0, 1, "RO" "access")] [KEYSPACE]
        "generic" "7.0.0" "Get the expiration Unix timestamp for a key in milliseconds"
        => keys::pexpiretime;
    "pttl" 2 [READONLY FAST] [(1, 0, 1, "RO" "access")] [KEYSPACE]
        "generic" "2.6.0" "Get the time to live for a key in milliseconds"
        tips "nondeterministic_output"
        => keys::pttl;
    "randomkey" 1 [READONLY] [] [KEYSPACE]
        "generic" "1.0.0" "Return a random key from the keyspace"
        tips "request_policy:all_shards" "nondeterministic_output"
        => keys::randomkey;
    "rename" 3 [WRITE] [(1, 0, 1, "RW" "access" "delete") (2, 0, 1, "OW" "update")] [KEYSPACE]
        "generic" "1.0.0" "Rename a key"
        => keys::rename;
    "renamenx" 3 [WRITE FAST] [(1, 0, 1, "RW" "access" "delete") (2, 0, 1, "OW" "insert")] [KEYSPACE]
        "generic" "1.0.0" "Rename a key, only if the new key does not exist"
        => keys::renamenx;
    "scan" -2 [READONLY] [] [KEYSPACE]
        "generic" "2.8.0" "Incrementally iterate the keys space"
        tips "nondeterministic_output" "request_policy:special"
        => keys::scan;
    "touch" -2 [READONLY FAST] [(1, -1, 1, "RO")] [KEYSPACE]
        "generic" "3.2.1" "Determine how many of the given keys exist"
        tips "request_policy:multi_shard" "response_policy:agg_sum"
        => keys::exists;
    "ttl" 2 [READONLY FAST] [(1, 0, 1, "RO" "access")] [KEYSPACE]
        "generic" "1.0.0" "Get the time to live for a key in seconds"
        tips "nondeterministic_output"
        => keys::ttl;
    "type" 2 [READONLY FAST] [(1, 0, 1, "RO")] [KEYSPACE]
        "generic" "1.0.0" "Determine the type stored at key"
        => keys::type_of;
    "unlink" -2 [WRITE FAST] [(1, -1, 1, "RM" "delete")] [KEYSPACE]
        "generic" "4.0.0" "Delete a key"
        tips "request_policy:multi_shard" "response_policy:agg_sum"
        => keys::del;
    "wait" 3 [NOSCRIPT] [] [CONNECTION]
        "generic" "3.0.0" "Wait until the earlier writes of the connection are acknowledged, and say how many replicas have them"
        tips "request_policy:all_shards" "response_policy:agg_min"
        => transactions::wait;
    "waitaof" 4 [NOSCRIPT] [] [CONNECTION]
        "generic" "7.2.0" "Wait until the earlier writes of the connection are acknowledged, and say whether they are on disk"
        tips "request_policy:all_shards" "response_policy:agg_min"
        => transactions::waitaof;
    // transactions
    "discard" 1 [NOSCRIPT LOADING STALE FAST ALLOW_BUSY] [] [TRANSACTION]
        "transactions" "2.0.0" "Discard all commands issued after MULTI"
        => transactions::discard;
    "exec" 1 [NOSCRIPT LOADING STALE SKIP_SLOWLOG] [] [TRANSACTION]
        "transactions" "1.2.0" "Execute all commands issued after MULTI"
        => transactions::exec;
    "multi" 1 [NOSCRIPT LOADING STALE FAST ALLOW_BUSY] [] [TRANSACTION]
        "transactions" "1.2.0" "Mark the start of a transaction block"
        => transactions::multi;
    "unwatch" 1 [NOSCRIPT LOADING STALE FAST ALLOW_BUSY] [] [TRANSACTION]
        "transactions" "2.2.0" "Forget about all watched keys"
        => transactions::unwatch;
    "watch" -2 [NOSCRIPT LOADING STALE FAST ALLOW_BUSY] [(1, -1, 1, "RO")] [TRANSACTION]
        "transactions" "2.2.0" "Watch the given keys to determine execution of the MULTI/EXEC block"
        => transactions::watch;
    // connection
    "auth" -2 [NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY] [] [CONNECTION]
        "connection" "1.0.0" "Authenticate to the server"
        => connection::auth;
    "client" -2 [] [] []
        "connection" "2.4.0" "A container for client connection commands"
        => container, subcommands::CLIENT;
    "echo" 2 [LOADING STALE FAST] [] [CONNECTION]
        "connection" "1.0.0" "Echo the given string"
        => connection::echo;
    "hello" -1 [NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY] [] [CONNECTION]
        "connection" "6.0.0" "Handshake with Redis"
        => connection::hello;
    "ping" -1 [FAST] [] [CONNECTION]
        "connection" "1.0.0" "Ping the server"
        tips "request_policy:all_shards" "response_policy:all_succeeded"
        => connection::ping;
    "quit" -1 [NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY] [] [CONNECTION]
        "connection" "1.0.0" "Close the connection"
        => connection::quit;
    "reset" 1 [NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY] [] [CONNECTION]
        "connection" "6.2.0" "Reset the connection"
        => connection::reset;
    "select" 2 [LOADING STALE FAST] [] [CONNECTION]
        "connection" "1.0.0" "Change the selected database for the current connection"
        => connection::select;
    // cluster
    "asking" 1 [FAST] [] [CONNECTION]
        "cluster" "3.0.0" "Sent by cluster clients after an -ASK redirect"
        => connection::asking;
    "cluster" -2 [] [] []
        "cluster" "3.0.0" "A container for cluster commands"
        => container, subcommands::CLUSTER;
    "readonly" 1 [LOADING STALE FAST] [] [CONNECTION]
        "cluster" "3.0.0" "Enables read queries for a connection to a cluster replica node"
        => connection::readonly;
    "readwrite" 1 [LOADING STALE FAST] [] [CONNECTION]
        "cluster" "3.0.0" "Disables read queries for a connection to a cluster replica node"
        => connection::readwrite;
    // server
    "command" -1 [LOADING STALE] [] [CONNECTION]
        "server" "2.8.13" "Get array of Redis command details"
        tips "nondeterministic_output_order"
        => describe::all, subcommands::COMMAND;
    "config" -2 [] [] []
        "server" "2.0.0" "A container for server configuration commands"
        => container, subcommands::CONFIG;
    "dbsize" 1 [READONLY FAST] [] [KEYSPACE]
        "server" "1.0.0" "Return the number of keys in the selected database"
        tips "request_policy:all_shards" "response_policy:agg_sum"
        => keys::dbsize;
    "debug" -2 [ADMIN NOSCRIPT LOADING STALE NO_MULTI] [] []
        "server" "1.0.0" "Hold a connection up, for tests"
        => server::debug;
    "flushall" -1 [WRITE] [] [KEYSPACE DANGEROUS]
        "server" "1.0.0" "Remove all keys from all databases"
        tips "request_policy:all_shards" "response_policy:all_succeeded"
        => keys::flushall;
    "flushdb" -1 [WRITE] [] [KEYSPACE DANGEROUS]
        "server" "1.0.0" "Remove all keys from the current database"
        tips "request_policy:all_shards" "response_policy:all_succeeded"
        => keys::flushdb;
    "info" -1 [LOADING STALE] [] [DANGEROUS]
        "server" "1.0.0" "Get information and statistics about the server"
        tips "nondeterministic_output" "request_policy:all_shards" "response_policy:special"
        => server::info;
    "lastsave" 1 [LOADING STALE FAST] [] [ADMIN DANGEROUS]
        "server" "1.0.0" "Get the UNIX time stamp of now: what is acknowledged is saved"
        tips "nondeterministic_output"
        => server::lastsave;
    "latency" -2 [] [] []
        "server" "2.8.13" "A container for latency diagnostics commands"
        => container, subcommands::LATENCY;
    "lolwut" -1 [READONLY FAST] [] []
        "server" "5.0.0" "Display the version"
        => server::lolwut;
    "memory" -2 [] [] []
        "server" "4.0.0" "A container for memory diagnostics commands"
        => container, subcommands::MEMORY;
    "role" 1 [NOSCRIPT LOADING STALE FAST] [] [ADMIN DANGEROUS]
        "server" "2.8.12" "Return the role of the instance in the context of replication"
        => server::role;
    "slowlog" -2 [] [] []
        "server" "2.2.12" "A container for slow log commands"
        => container, subcommands::SLOWLOG;
    "time" 1 [LOADING STALE FAST] [] []
        "server" "2.6.0" "Return the current server time"
        tips "nondeterministic_output"
        => server::time;
};

/// What a command that needs a subcommand says without one. Its arity asks for one, so it is never called.
fn container<'a>(ask: &Ask<'a, '_>) -> Answer<'a> {
    Err(CommandError::Arity(ask.command.name))
}
