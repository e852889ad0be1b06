//! The commands of Redis that this store does not have, and why: a client is told so by name, and not that there is no such command.
//!
//! The names are those of Redis 7.0, by the families of its documentation.

use super::CommandError;

/// Commands that are absent for one reason.
struct Family {
    reason: &'static str,
    /// With blanks between them.
    names: &'static str,
}

const STRINGS_ONLY: &str = "Corduroy holds strings only";

static FAMILIES: &[Family] = &[
    Family {
        reason: STRINGS_ONLY,
        names: "hdel hexists hget hgetall hincrby hincrbyfloat hkeys hlen hmget hmset hrandfield hscan hset hsetnx hstrlen \
            hvals",
    },
    Family {
        reason: STRINGS_ONLY,
        names: "blmove blmpop blpop brpop brpoplpush lindex linsert llen lmove lmpop lpop lpos lpush lpushx lrange lrem lset \
            ltrim rpop rpoplpush rpush rpushx sort sort_ro",
    },
    Family {
        reason: STRINGS_ONLY,
        names: "sadd scard sdiff sdiffstore sinter sintercard sinterstore sismember smembers smismember smove spop srandmember \
            srem sscan sunion sunionstore",
    },
    Family {
        reason: STRINGS_ONLY,
        names: "bzmpop bzpopmax bzpopmin zadd zcard zcount zdiff zdiffstore zincrby zinter zintercard zinterstore zlexcount \
            zmpop zmscore zpopmax zpopmin zrandmember zrange zrangebylex zrangebyscore zrangestore zrank zrem \
            zremrangebylex zremrangebyrank zremrangebyscore zrevrange zrevrangebylex zrevrangebyscore zrevrank zscan \
            zscore zunion zunionstore",
    },
    Family {
        reason: STRINGS_ONLY,
        names: "geoadd geodist geohash geopos georadius georadius_ro georadiusbymember georadiusbymember_ro geosearch \
            geosearchstore",
    },
    Family {
        reason: STRINGS_ONLY,
        names: "xack xadd xautoclaim xclaim xdel xgroup xinfo xlen xpending xrange xread xreadgroup xrevrange xsetid xtrim",
    },
    Family {
        reason: STRINGS_ONLY,
        names: "pfadd pfcount pfdebug pfmerge pfselftest",
    },
    Family {
        reason: "Corduroy has no commands on single bits",
        names: "bitcount bitfield bitfield_ro bitop bitpos getbit setbit",
    },
    Family {
        reason: "Corduroy does not compare two values",
        names: "lcs",
    },
    Family {
        reason: "Corduroy has no publish and subscribe",
        names: "psubscribe publish pubsub punsubscribe spublish ssubscribe subscribe sunsubscribe unsubscribe",
    },
    Family {
        reason: "Corduroy runs no scripts",
        names: "eval eval_ro evalsha evalsha_ro fcall fcall_ro function script",
    },
    Family {
        reason: "Corduroy loads no modules",
        names: "module",
    },
    Family {
        reason: "Corduroy has no users",
        names: "acl",
    },
    Family {
        reason: "Corduroy does not replicate with Redis",
        names: "failover psync replconf replicaof slaveof sync",
    },
    Family {
        reason: "every acknowledged write is in Corduroy's log already",
        names: "bgrewriteaof bgsave save",
    },
    Family {
        reason: "Corduroy does not read or write Redis's serialized values",
        names: "dump migrate restore restore-asking",
    },
    Family {
        reason: "a database is a keyspace, and keys and names stay with it: COPY takes DB",
        names: "move swapdb",
    },
    Family {
        reason: "a node is stopped by a signal",
        names: "shutdown",
    },
    Family {
        reason: "Corduroy does not show one client's commands to another",
        names: "monitor",
    },
];

/// Subcommands that are absent, of commands that are there.
static SUBCOMMANDS: &[Family] = &[
    Family {
        reason: "Corduroy does not hold clients up",
        names: "client|pause client|unblock client|unpause",
    },
    Family {
        reason: "Corduroy does not tell clients what has changed",
        names: "client|caching client|getredir client|tracking client|trackinginfo",
    },
    Family {
        reason: "the layout is the node's own",
        names: "cluster|addslots cluster|addslotsrange cluster|bumpepoch cluster|count-failure-reports cluster|countkeysinslot \
            cluster|delslots cluster|delslotsrange cluster|failover cluster|flushslots cluster|forget \
            cluster|getkeysinslot cluster|links cluster|meet cluster|replicas cluster|replicate cluster|reset \
            cluster|saveconfig cluster|set-config-epoch cluster|setslot cluster|slaves",
    },
    Family {
        reason: "`corduroy-cli status` tells where memory is",
        names: "memory|doctor memory|malloc-stats memory|purge memory|stats",
    },
];

/// The error for a command of this name, if Redis has it.
#[cold]
pub(super) fn find(name: &[u8]) -> Option<CommandError> {
    find_in(FAMILIES, |candidate| {
        name.eq_ignore_ascii_case(candidate.as_bytes())
    })
}

/// The error for a subcommand of this name, if Redis has it.
#[cold]
pub(super) fn find_subcommand(command: &str, name: &[u8]) -> Option<CommandError> {
    find_in(SUBCOMMANDS, |candidate| {
        candidate
            .split_once('|')
            .is_some_and(|(container, subcommand)| {
                container == command && name.eq_ignore_ascii_case(subcommand.as_bytes())
            })
    })
}

fn find_in(families: &[Family], is_it: impl Fn(&str) -> bool) -> Option<CommandError> {
    families.iter().find_map(|family| {
        let name = family
            .names
            .split_ascii_whitespace()
            .find(|name| is_it(name))?;
        Some(CommandError::Unsupported {
            name,
            reason: family.reason,
        })
    })
}

/// Every name, for tests and documentation.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FAMILIES
        .iter()
        .chain(SUBCOMMANDS)
        .flat_map(|family| family.names.split_ascii_whitespace())
}
